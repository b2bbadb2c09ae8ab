/* weir.matcher: many needles in one pass, and over the pieces of a stream. */
#include "rig.h"

static void test_find(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_with(&r, "local m = weir.matcher { 'AKIA', 'he', 'she' }\nlocal none = weir.matcher {}\n"
               "return { on_request = function(req)\n"
               "  local needle, at = m:find('ushers') assert(needle == 'she' and at == 2, at)\n"
               "  needle, at = m:find('xxAKIAhe') assert(needle == 'AKIA' and at == 3)\n"
               "  assert(m:find('akia') == nil and m:find('') == nil and none:find('anything') == nil)\n"
               "  assert(m:find('xhe') == 'he')\n"
               "  assert(not pcall(m.find, m, nil) and not pcall(m.find, nil, 'x'))\n"
               "end }");
  ask_init(&a, OP_CHAT, CHAT_BODY);
  assert_false(ask_request(&r, &a)->error);
  ask_end(&a);
  rig_end(&r);
}

static const char feeding[] =
  "local m = weir.matcher { 'secret', 'key' }\n"
  "return { on_chunk = function(req, chunk)\n"
  "  local needle, at = m:feed(req, chunk.text)\n"
  "  if needle then req:note('found', needle .. ' ' .. at) end\n"
  "end }";

static void feed(struct rig *r, struct ask *a, int choice, const char *text) {
  char json[128];
  struct decision out;
  snprintf(json, sizeof json, "\"%s\"", text);
  struct delta d = { .kind = DELTA_TEXT, .choice = choice, .text = { JSON_STRING, span_cstr(json) } };
  policy_chunk(r->vm, &a->req, &d, &out);
  assert_int_equal(out.kind, DECIDE_PASS);
}

/* Every way to cut the text in three. */
static void test_feed_over_any_split(void **state) {
  (void)state;
  static const char text[] = "the secret is out";
  struct rig r;
  struct ask a;
  rig_with(&r, feeding);
  for (size_t i = 0; i <= sizeof text - 1; i++)
    for (size_t j = i; j <= sizeof text - 1; j++) {
      char one[32], two[32], three[32];
      ask_init(&a, OP_CHAT, CHAT_BODY);
      snprintf(one, sizeof one, "%.*s", (int)i, text);
      snprintf(two, sizeof two, "%.*s", (int)(j - i), text + i);
      snprintf(three, sizeof three, "%s", text + j);
      feed(&r, &a, 0, one);
      feed(&r, &a, 0, two);
      feed(&r, &a, 0, three);
      struct span found = ask_note(&a, "found");
      char wanted[32];
      size_t from = i >= 10 ? 0 : j >= 10 ? i : j;       /* where the piece that ends the needle begins */
      snprintf(wanted, sizeof wanted, "secret %d", 5 - (int)from);
      assert_span(found, wanted);
      ask_end(&a);
    }
  rig_end(&r);
}

static void test_feed_keeps_things_apart(void **state) {
  (void)state;
  struct rig r;
  struct ask a, b;
  rig_with(&r, feeding);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  ask_init(&b, OP_CHAT, CHAT_BODY);
  feed(&r, &a, 0, "sec");
  feed(&r, &b, 0, "ret");                              /* another exchange */
  feed(&r, &a, 1, "ret");                              /* another choice */
  assert_null(ask_note(&a, "found").p);
  assert_null(ask_note(&b, "found").p);
  a.req.attempts = 1;
  feed(&r, &a, 0, "ret");                              /* another attempt's answer */
  assert_null(ask_note(&a, "found").p);
  feed(&r, &a, 0, "key sec");                          /* found, and read on to the end */
  assert_span(ask_note(&a, "found"), "key 1");
  feed(&r, &a, 0, "ret");
  assert_span(ask_note(&a, "found"), "secret -2");
  ask_end(&a);
  ask_end(&b);
  rig_end(&r);
}

static void test_two_policies_feed_the_same_needles(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_init(&r);
  rig_use(
      &r, "one",
      "local m = weir.matcher { 'secret' }\nreturn { on_chunk = function(req, chunk) if m:feed(req, chunk.text) then "
      "req:note('one', 1) end end }");
  rig_use(
      &r, "two",
      "local m = weir.matcher { 'secret' }\nreturn { on_chunk = function(req, chunk) if m:feed(req, chunk.text) then "
      "req:note('two', 1) end end }");
  rig_load(&r);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  feed(&r, &a, 0, "sec");
  feed(&r, &a, 0, "ret");
  assert_span(ask_note(&a, "one"), "1");
  assert_span(ask_note(&a, "two"), "1");
  ask_end(&a);
  rig_end(&r);
}

static void fails(const char *code, const char *said) {
  struct rig r;
  rig_init(&r);
  rig_use(&r, "guard", code);
  assert_false(rig_try(&r));
  assert_in(buf_span(&r.errors), said);
  rig_end(&r);
}

static void test_mistakes(void **state) {
  (void)state;
  fails("weir.matcher { 'a', 7 }", "needle 2 is a number, not a string");
  fails("weir.matcher { '' }", "needle 1 is empty");
  fails("weir.matcher 'a'", "table expected");
  fails("weir.matcher { ('x'):rep(100000) }", "too many or too long");
  fails("local m = weir.matcher { 'a' } m:fnd('x')", "did you mean 'find'");
  fails("local m = weir.matcher { 'a' } m:feed(nil, 'x')", "the req is missing");
}

/* Automata are shared by vms and go with the last of them; leaks are the sanitizer's to see. */
static void test_shared_by_vms(void **state) {
  (void)state;
  struct rig r[3];
  struct ask a;
  for (int i = 0; i < 3; i++) rig_with(&r[i], feeding);
  rig_end(&r[0]);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  feed(&r[1], &a, 0, "a key");
  assert_span(ask_note(&a, "found"), "key 3");
  ask_end(&a);
  rig_end(&r[1]);
  rig_end(&r[2]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_find),
    cmocka_unit_test(test_feed_over_any_split),
    cmocka_unit_test(test_feed_keeps_things_apart),
    cmocka_unit_test(test_two_policies_feed_the_same_needles),
    cmocka_unit_test(test_mistakes),
    cmocka_unit_test(test_shared_by_vms),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
