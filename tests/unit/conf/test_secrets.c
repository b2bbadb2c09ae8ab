/* Secrets of every kind, the refused ones, and that none shows. rig_load checks each message for the bytes. */
#include "rig.h"
#include <signal.h>
#include <time.h>
#include "../../../src/conf/load.h"

/* The key of a provider whose key is written as `form`. */
static void key_is(const char *form, const char *wanted) {
  char text[512];
  snprintf(text, sizeof text, "provider \"vllm\" { key = %s }", form);
  struct conf *c = rig_good(text);
  assert_span(secret_use(c->providers->endpoints->accounts->key), wanted);
  conf_drop(c);
}

static void key_refused(const char *form, const char *why) {
  char text[512], errors[1024];
  snprintf(text, sizeof text, "provider \"vllm\" { key = %s }", form);
  snprintf(errors, sizeof errors, "weir.lua:1: %s\n", why);
  rig_bad(text, errors);
}

static void from_the_environment(void **state) {
  (void)state;
  key_is("env \"SECRET_A\"", "sk-do-not-show-1");
  key_refused("env \"NO_SUCH_VARIABLE\"", "environment variable 'NO_SUCH_VARIABLE' is not set");
  setenv("SECRET_C", "", 1);
  key_refused("env \"SECRET_C\"", "environment variable 'SECRET_C' is empty");
  setenv("SECRET_C", "do-not-show\r\nx-evil: 1", 1);
  key_refused("env \"SECRET_C\"", "environment variable 'SECRET_C' holds a control character");
  setenv("SECRET_C", "do-not-show\x7f", 1);
  key_refused("env \"SECRET_C\"", "environment variable 'SECRET_C' holds a control character");
  setenv("SECRET_C", "do-not-show\n", 1);
  key_refused("env \"SECRET_C\"", "environment variable 'SECRET_C' holds a control character");
  key_refused("env()", "env takes a string: env \"OPENAI_API_KEY\"");
  key_refused("env \"\"", "env is empty");
}

static void from_a_file(void **state) {
  (void)state;
  rig_write("a.key", "sk-do-not-show-4\n");
  key_refused("file \"a.key\"", "secret file 'a.key': may be read by everybody; take that away with chmod o-rwx");
  assert_int_equal(chmod("a.key", 0640), 0);
  key_is("file \"a.key\"", "sk-do-not-show-4");
  rig_write("a.key", "sk-do-not-show-4\r\n\n");
  key_is("file \"a.key\"", "sk-do-not-show-4");
  rig_write("a.key", "do-not-show\nsecond\n");
  key_refused("file \"a.key\"", "secret file 'a.key': holds a control character");
  rig_write("a.key", "\n");
  key_refused("file \"a.key\"", "secret file 'a.key': is empty");
  key_refused("file \"none.key\"", "secret file 'none.key': No such file or directory");
  key_refused("file \".\"", "secret file '.': is no regular file");
  assert_int_equal(mkfifo("pipe", 0600), 0);
  key_refused("file \"pipe\"", "secret file 'pipe': is no regular file");
  FILE *f = fopen("a.key", "w");
  for (int i = 0; i < 70000; i++) fputc('x', f);
  fclose(f);
  key_refused("file \"a.key\"", "secret file 'a.key': is longer than 64 KB");
  /* Relative to the file that names it. */
  rig_write("sub/b.key", "sk-do-not-show-5");
  assert_int_equal(chmod("sub/b.key", 0600), 0);
  rig_write("sub/more.lua", "provider \"ollama\" { key = file \"b.key\" }");
  struct conf *c = rig_good("include \"sub/more.lua\"");
  assert_span(secret_use(c->providers->endpoints->accounts->key), "sk-do-not-show-5");
  conf_drop(c);
}

static void from_a_credential(void **state) {
  (void)state;
  key_refused("credential \"k\"", "credential 'k': CREDENTIALS_DIRECTORY is not set; systemd sets it for "
    "LoadCredential=");
  rig_write("creds/k", "sk-do-not-show-6\n");
  setenv("CREDENTIALS_DIRECTORY", "creds", 1);
  key_is("credential \"k\"", "sk-do-not-show-6");
  key_refused("credential \"none\"", "credential 'none': No such file or directory");
  key_refused("credential \"../weir.lua\"", "credential '../weir.lua' must be a plain name");
  key_refused("credential \".\"", "credential '.' must be a plain name");
}

static void from_a_command(void **state) {
  (void)state;
  rig_write("out", "sk-do-not-show-7\n");
  key_is("command { \"cat\", \"out\" }", "sk-do-not-show-7");
  key_is("command { \"printf\", \"%s\", \"a b;$HOME\" }", "a b;$HOME");                       /* no shell */
  key_refused("command { \"cat\", \"/no/such/do-not-show\" }", "command 'cat': failed");
  key_refused("command { \"sh\", \"-c\", \"echo do-not-show >&2; exit 3\" }", "command 'sh': failed");
  key_refused("command { \"sh\", \"-c\", \"echo do-not-show; kill -9 $$\" }", "command 'sh': failed");
  key_refused("command { \"true\" }", "command 'true': is empty");
  key_refused("command { \"/no/such/program\" }", "command '/no/such/program': No such file or directory");
  key_refused("command { \"printf\", \"do-not-show\\nx\" }", "command 'printf': holds a control character");
  key_refused("command { \"head\", \"-c\", \"70000\", \"/dev/zero\" }", "command 'head': is longer than 64 KB");
  key_refused("command {}", "command takes its program and arguments: command { \"pass\", \"show\", \"openai\" }");
  key_refused("command \"pass\"", "command takes its program and arguments: command { \"pass\", \"show\", \"openai\" "
    "}");
  key_refused("command { \"cat\", 7 }", "command takes its program and arguments: command { \"pass\", \"show\", "
    "\"openai\" }");
  key_refused("command { \"a\\0b\" }", "command takes its program and arguments: command { \"pass\", \"show\", "
    "\"openai\" }");
}

static double seconds_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void a_command_that_takes_too_long_is_ended(void **state) {
  const char *why = NULL;
  char *slow[] = { "sleep", "30", NULL };
  char *closes[] = { "sh", "-c", "echo do-not-show; exec >&-; sleep 30", NULL };
  char *leaves[] = { "sh", "-c", "sleep 30 & echo $! > child; wait", NULL };
  (void)state;
  double begun = seconds_now();
  assert_null(command_secret(slow, 200, &why));
  assert_string_equal(why, "took too long");
  assert_null(command_secret(closes, 200, &why));
  assert_string_equal(why, "took too long");
  assert_null(command_secret(leaves, 300, &why));
  assert_string_equal(why, "took too long");
  assert_true(seconds_now() - begun < 5);
  int child = 0;
  FILE *f = fopen("child", "r");
  assert_non_null(f);
  assert_int_equal(fscanf(f, "%d", &child), 1);
  fclose(f);
  assert_true(child > 1);
  /* What the program had started went with it (a killed child may stay a zombie of init for a moment). */
  for (int i = 0; i < 100 && !kill(child, 0); i++) {
    char path[64], state_line[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", child);
    if ((f = fopen(path, "r"))) {
      if (!fgets(state_line, sizeof state_line, f)) state_line[0] = 0;
      fclose(f);
    }
    if (strstr(state_line, ") Z ")) return;
    usleep(20000);
  }
  assert_int_not_equal(kill(child, 0), 0);
}

static void lua_sees_no_bytes(void **state) {
  (void)state;
  conf_drop(rig_good("local s = env \"SECRET_A\"\n"
                     "assert(tostring(s) == \"secret\" and (\"%s\"):format(s) == \"secret\" and type(s) == "
                       "\"userdata\")\n"
                     "assert(not pcall(function() return s .. \"\" end) and not pcall(function() return #s end))\n"
                     "assert(not pcall(function() return s[1] end) and not pcall(function() return s < s end))\n"
                     "assert(not getmetatable(s) and not pcall(setmetatable, s, {}))\n"
                     "assert(not pcall(string.rep, s, 2) and s == s)\n"
                     "provider \"vllm\" { key = s }"));
  rig_bad("error(tostring(env \"SECRET_A\"), 0)", "weir.lua: secret\n");
  rig_bad("provider(env \"SECRET_A\")", "weir.lua:1: provider takes a string: provider \"openai\" { key = env "
    "\"OPENAI_API_KEY\" }\n");
  rig_bad("listen(env \"SECRET_A\")", "weir.lua:1: listen: the address must be a string, not a secret\n");
  rig_bad("use \"x\" { k = env \"SECRET_A\" }",
          "weir.lua:1: use 'x': a secret cannot be an option of a policy\n"
          "weir.lua:1: use 'x': it is not in policies/ beside weir.lua, nor among the shipped ones\n");
  rig_bad("local x = {} + env \"SECRET_A\"", "weir.lua:1: attempt to perform arithmetic on a table value\n");
}

static void one_secret_many_places(void **state) {
  (void)state;
  struct conf *c = rig_good("local k = env \"SECRET_A\"\nprovider \"vllm\" { key = { k, k } }\nprovider \"ollama\" { "
    "key = k }\n"
                            "admin { \"127.0.0.1:1\", token = k }\nsecret \"s\" { k, host = \"h\" }");
  assert_span(secret_use(c->admin_token), "sk-do-not-show-1");
  assert_ptr_equal(c->admin_token, c->secrets[0].secret);
  struct secret *kept = secret_ref(c->admin_token);
  conf_drop(conf_ref(c));
  assert_span(secret_use(c->providers[1].endpoints->accounts->key), "sk-do-not-show-1");
  conf_drop(c);
  assert_span(secret_use(kept), "sk-do-not-show-1");
  secret_drop(kept);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(from_the_environment, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(from_a_file, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(from_a_credential, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(from_a_command, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(a_command_that_takes_too_long_is_ended, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(lua_sees_no_bytes, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(one_secret_many_places, rig_begin, rig_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
