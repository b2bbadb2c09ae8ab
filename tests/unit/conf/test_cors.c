/* cors: origins as browsers write them. */
#include "rig.h"

static void load_one(const char *text, const char *messages, const char *origins) {
  struct buf errors = { 0 }, warnings = { 0 }, all = { 0 };
  rig_write("weir.lua", text);
  struct conf *c = conf_load("weir.lua", &errors, &warnings);
  buf_byte(&errors, 0);
  if (strcmp(buf_span(&errors).p, messages)) fail_msg("%s: %s", text, buf_span(&errors).p);
  for (size_t i = 0; c && i < c->origin_count; i++) buf_printf(&all, "%.*s ", SPAN_FMT(c->origins[i]));
  buf_byte(&all, 0);
  if (c) assert_string_equal(buf_span(&all).p, origins);
  if (c) assert_int_equal(c->any_origin, !strcmp(origins, "* "));
  conf_drop(c);
  buf_free(&errors);
  buf_free(&warnings);
  buf_free(&all);
}

static void test_origins(void **state) {
  (void)state;
  load_one("", "", "");
  load_one("cors {}", "", "");
  load_one("cors \"https://a.example\"", "", "https://a.example ");
  load_one("cors { \"HTTPS://A.example:443\", \"http://b:80\", \"http://b:81\", \"http://[::1]:5173\" }", "",
           "https://a.example http://b http://b:81 http://[::1]:5173 ");
  load_one("cors { \"capacitor://localhost\", \"chrome-extension://abcdef\", \"tauri://localhost\" }", "",
           "capacitor://localhost chrome-extension://abcdef tauri://localhost ");
  load_one("cors { \"*\" }", "", "* ");
}

static void test_refused(void **state) {
  (void)state;
#define FORM "it must be \"https://app.example\", as a browser writes an origin, or \"*\"\n"
  load_one("cors { \"https://a.example/\" }", "weir.lua:1: cors: \"https://a.example/\": an origin has no path, nor a \"/\" at its end\n", "");
  load_one("cors { \"https://a.example/x\" }", "weir.lua:1: cors: \"https://a.example/x\": an origin has no path, nor a \"/\" at its end\n", "");
  load_one("cors { \"a.example\" }", "weir.lua:1: cors: \"a.example\": " FORM, "");
  load_one("cors { \"null\" }", "weir.lua:1: cors: \"null\": " FORM, "");
  load_one("cors { \"https://*.example\" }", "weir.lua:1: cors: \"https://*.example\": the host is malformed\n", "");
  load_one("cors { \"app://a b\" }", "weir.lua:1: cors: \"app://a b\": " FORM, "");
  load_one("cors { \"app://a/b\" }", "weir.lua:1: cors: \"app://a/b\": " FORM, "");
  load_one("cors { \"://a\" }", "weir.lua:1: cors: \"://a\": " FORM, "");
  load_one("cors { \"*\", \"https://a\" }", "weir.lua:1: cors: \"*\" stands for every origin: write it alone\n", "");
  load_one("cors { origins = {} }", "weir.lua:1: cors: unknown field 'origins'\n", "");
  load_one("cors {} cors {}", "weir.lua:1: cors: 'cors' stands twice; the first is at weir.lua:1\n", "");
  load_one("cors(true)", "weir.lua:1: cors: an origin must be a string, not true\n", "");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_origins, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(test_refused, rig_begin, rig_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
