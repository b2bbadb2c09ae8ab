/* Loading: options, mistakes in the file, require, and the warning about changed upvalues. */
#include "rig.h"
#include <sys/stat.h>

static void load_fails(const char *text, const char *said) {
  struct rig r;
  rig_init(&r);
  rig_use(&r, "guard", text);
  if (rig_try(&r)) fail_msg("this was accepted: %s", text);
  struct span errors = buf_span(&r.errors);
  assert_in(errors, said);
  assert_true(span_ends(errors, SPAN("\n")));
  rig_end(&r);
}

static void test_mistakes(void **state) {
  (void)state;
  load_fails("return {", "policies/guard.lua:1: unexpected symbol");
  load_fails("\nlocal x = nil\nx.y = 1", "policies/guard.lua:3: attempt to index a nil value");
  load_fails("local policy = {}\n", "policies/guard.lua:1: a policy file ends with return and a table");
  load_fails("local policy = {}\nfunction policy.on_requst() end\nreturn policy",
             "policies/guard.lua:2: unknown field of a policy 'on_requst'; did you mean 'on_request'?");
  load_fails("return {\n  on_request = 5 }", "policies/guard.lua:2: on_request is a function, not a number");
  load_fails("return { on_error = 'dney' }",
             "policies/guard.lua:1: on_error is \"deny\" or \"pass\"; did you mean 'deny'?");
  load_fails("return { on_error = true }", "on_error is \"deny\" or \"pass\"");
  load_fails("return { function() end }", "the table of a policy has names alone");
  load_fails("weir.budget {}", "weir.budget: cap is money: cap = usd(20)");
  load_fails("weir.budget { cap = usd(1), window = 'dya' }", "unknown window 'dya'");
  load_fails("weir.limit { per = 'day' }", "weir.limit says what is limited");
  load_fails("weir.limit { requests = 1.5 }", "requests is a whole number");
  load_fails("weir.deny(400)", "weir.deny belongs inside on_request; the file is only being loaded here");
  load_fails("weir.fetch { url = 'http://x/' }", "belongs inside on_request, on_attempt, on_response or on_failure");
  load_fails("local x = weir.random()", "weir.random (it is seeded per exchange) belongs inside");
  load_fails("while true do end", "stopped after 1000 ms");
  load_fails("error({})", "weir.lua:3: use \"guard\": ");
  load_fails("error('no place', 0)", "weir.lua:3: use \"guard\": no place");
  load_fails("\x1bLua", "guard");
}

static void test_all_files_are_told(void **state) {
  (void)state;
  struct rig r;
  rig_init(&r);
  rig_use(&r, "one", "return 1");
  rig_use(&r, "two", "return {}");
  rig_use(&r, "three", "return 3");
  assert_false(rig_try(&r));
  assert_in(buf_span(&r.errors), "policies/one.lua:1: ");
  assert_in(buf_span(&r.errors), "policies/three.lua:1: ");
  rig_end(&r);
}

/* ---- options */

static struct value_pair string_option(const char *name, const char *v) {
  return (struct value_pair){ { .type = VALUE_STRING, .s = span_cstr(name) },
                              { .type = VALUE_STRING, .s = span_cstr(v) } };
}
static struct value_pair number_option(const char *name, double v) {
  return (struct value_pair){ { .type = VALUE_STRING, .s = span_cstr(name) }, { .type = VALUE_NUM, .d = v } };
}

static const char options_text[] =
  "local options = weir.options { needles = {}, status = weir.required 'number', word = 'w', on = true }\n"
  "return { on_request = function(req) req:note('options', options) end }";

static bool load_with(struct rig *r, const char *text, struct value_pair *pairs, size_t count) {
  rig_init(r);
  struct use *u = rig_use(r, "guard", text);
  u->options.pairs = pairs;
  u->options.count = count;
  return rig_try(r);
}

static void test_options(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  struct value_pair items[2] = { { { .type = VALUE_INT, .i = 1 }, { .type = VALUE_STRING, .s = SPAN("x") } },
                                 { { .type = VALUE_INT, .i = 2 }, { .type = VALUE_BOOL, .b = false } } };
  struct value_pair given[2] = { number_option("status", 451),
                                 { { .type = VALUE_STRING, .s = SPAN("needles") },
                                   { .type = VALUE_TABLE, .pairs = items, .count = 2 } } };
  if (!load_with(&r, options_text, given, 2)) fail_msg("%.*s", SPAN_FMT(buf_span(&r.errors)));
  ask_init(&a, OP_CHAT, CHAT_BODY);
  assert_false(ask_request(&r, &a)->error);
  assert_span(ask_note(&a, "options"), "{\"needles\":[\"x\",false],\"on\":true,\"status\":451,\"word\":\"w\"}");
  ask_end(&a);
  rig_end(&r);
}

static void options_fail(const char *text, struct value_pair *pairs, size_t count, const char *said) {
  struct rig r;
  assert_false(load_with(&r, text, pairs, count));
  assert_in(buf_span(&r.errors), said);
  rig_end(&r);
}

static void test_option_mistakes(void **state) {
  (void)state;
  struct value_pair status = number_option("status", 1);
  struct value_pair typo[2] = { status, number_option("statsu", 1) };
  struct value_pair type[2] = { status, number_option("word", 1) };
  struct value_pair required[1] = { string_option("status", "x") };
  struct value_pair nameless[2] = { status, { { .type = VALUE_INT, .i = 1 }, { .type = VALUE_INT, .i = 1 } } };
  struct value_pair money[1] = { { { .type = VALUE_STRING, .s = SPAN("day") }, { .type = VALUE_MONEY, .i = 1 } } };
  options_fail(options_text, NULL, 0, "weir.lua:3: use \"guard\": the option 'status' (a number) is missing");
  options_fail(options_text, typo, 2, "weir.lua:3: use \"guard\": unknown option 'statsu'; did you mean 'status'?");
  options_fail(options_text, type, 2, "weir.lua:3: use \"guard\": the option 'word' is a string, not a number");
  options_fail(options_text, required, 1, "the option 'status' is a number, not a string");
  options_fail(options_text, nameless, 2, "options have names");
  options_fail("local o = weir.options { day = 1 } return {}", money, 1,
               "the option 'day' is a number, not a money");
  options_fail("return {}", &status, 1, "unknown option 'status'; this policy takes none");
  options_fail("weir.options {} weir.options {} return {}", NULL, 0, "policies/guard.lua:1: weir.options stands once");
  options_fail("weir.options { a = weir.required 'nmber' } return {}", NULL, 0, "did you mean 'number'");
  options_fail("weir.options { 1 } return {}", NULL, 0, "options have names");
}

/* Each `use` has locals and options of its own. */
static void test_two_uses_of_one_file(void **state) {
  (void)state;
  static const char text[] = "local options = weir.options { n = 'x' }\nlocal count = 0\n"
                             "return { on_request = function(req) count = count + 1 req:note(options.n, count) end }";
  struct value_pair first = string_option("n", "a"), second = string_option("n", "b");
  struct rig r;
  struct ask a;
  rig_init(&r);
  struct use *one = rig_use(&r, "count", text), *two = rig_use(&r, "count", text);
  one->options = (struct value){ .type = VALUE_TABLE, .pairs = &first, .count = 1 };
  two->options = (struct value){ .type = VALUE_TABLE, .pairs = &second, .count = 1 };
  two->name = SPAN("again");
  rig_load(&r);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  ask_request(&r, &a);
  assert_span(ask_note(&a, "a"), "1");
  assert_span(ask_note(&a, "b"), "1");
  assert_span(a.req.notes->policy, "again");
  ask_end(&a);
  rig_end(&r);
}

/* ---- require */

static void folder_write(const char *folder, const char *name, const char *text) {
  char path[256];
  snprintf(path, sizeof path, "%s/policies/%s.lua", folder, name);
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static void test_require(void **state) {
  (void)state;
  char folder[] = "/tmp/weir-policy-XXXXXX", path[64];
  struct rig r;
  struct ask a;
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/policies", folder);
  mkdir(path, 0700);
  folder_write(
      folder, "util",
      "local util = { words = { 'a', 'b' }, nested = { deep = { 1 } } }\nlocal calls = 0\nfunction util.next_call() "
      "calls = calls + 1 return calls end\nleaked = 1\nreturn util");
  folder_write(folder, "nothing", "local x = 1");
  folder_write(folder, "around", "return require 'about'");
  folder_write(folder, "about", "return require 'around'");
  folder_write(folder, "broken", "return }");
  static const char user[] =
    "local util = require 'util'\nassert(util == require 'util' and require 'nothing' == true and leaked == nil)\n"
    "return { on_request = function(req)\n"
    "  req:note('calls', (req:note('calls') or '') .. util.next_call())\n"
    "  assert(#util.words == 2 and util.words[2] == 'b' and table.concat(util.words, ',') == 'a,b' and "
    "util.nested.deep[1] == 1)\n"
    "  local seen = {} for _, w in pairs(util.words) do seen[#seen + 1] = w end assert(table.concat(seen) == 'ab')\n"
    "  seen = {} for _, w in ipairs(util.words) do seen[#seen + 1] = w end assert(table.concat(seen) == 'ab')\n"
    "  for _, write in ipairs { function() util.words = 1 end, function() util.words[1] = 'x' end, function() "
    "util.new = 1 end, function() util.nested.deep[2] = 1 end } do\n"
    "    local ok, why = pcall(write) assert(not ok and why:find('read-only once loaded', 1, true), why)\n"
    "  end\n"
    "end }";
  rig_init(&r);
  r.conf.sources.folder = span_cstr(folder);
  rig_use(&r, "one", user);
  rig_use(&r, "two", user);
  rig_load(&r);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  assert_false(ask_request(&r, &a)->error);
  assert_span(ask_note(&a, "calls"), "11");            /* each `use` has a module of its own */
  ask_end(&a);
  rig_end(&r);
  static const struct { const char *text, *said;
  } bad[] = {
    { "require 'missing'", "require \"missing\": it is not in policies/" },
    { "require '../util'", "require \"../util\": " },
    { "require 'around'", "the module requires itself" },
    { "require 'broken'", "broken.lua:1: unexpected symbol" },
    { "require(7)", "string expected" },
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    rig_init(&r);
    r.conf.sources.folder = span_cstr(folder);
    rig_use(&r, "user", bad[i].text);
    assert_false(rig_try(&r));
    assert_in(buf_span(&r.errors), bad[i].said);
    rig_end(&r);
  }
  char command[128];
  snprintf(command, sizeof command, "rm -r %s", folder);
  assert_int_equal(system(command), 0);
}

/* ---- upvalues */

static void test_upvalue_warnings(void **state) {
  (void)state;
  struct rig r;
  rig_init(&r);
  rig_use(&r, "counting",
          "local count, table_of, quiet, nested, helped = 0, {}, 0, 0, 0\n"       /* 1 */
          "quiet = 1\n"
          "local function helper()\n"
          "  helped = helped + 1\n"                                                /* 4 */
          "end\n"
          "local policy = {}\n"
          "function policy.on_request(req)\n"
          "  local mine = 0\n"
          "  mine = quiet + 1\n"
          "  count = count + 1\n"                                                  /* 10 */
          "  helper()\n"
          "end\n"
          "function policy.on_chunk(req, chunk)\n"
          "  table_of.last = 1\n"                                                  /* 14 */
          "  local text = 'a long constant string of more than forty characters, which is dumped otherwise'\n"
          "  local function inner() nested = 1.5 return 7 end\n"                   /* 16 */
          "  inner()\n"
          "end\n"
          "return policy");
  rig_load(&r);
  struct span w = buf_span(&r.warnings);
  assert_in(w, "policies/counting.lua:10: 'count' is changed inside on_request");
  assert_in(w, "policies/counting.lua:4: 'helped' is changed inside on_request");
  assert_in(w, "policies/counting.lua:14: 'table_of' is changed inside on_chunk");
  assert_in(w, "policies/counting.lua:16: 'nested' is changed inside on_chunk");
  assert_in(w, "weir.shared");
  static const char *const silent[] = { "'mine'", "'quiet'", "'helper'", "'_ENV'", "'policy'" };
  for (size_t i = 0; i < 5; i++) assert_int_equal(span_search(w, span_cstr(silent[i])), w.n);
  rig_end(&r);
}

static void test_no_policies(void **state) {
  (void)state;
  struct rig r;
  rig_init(&r);
  rig_load(&r);
  for (int h = 0; h < HOOK_COUNT; h++) assert_false(policy_has(r.vm, (enum hook)h));
  assert_true(policy_memory(r.vm) > 0 && policy_memory(r.vm) < 1 << 19);
  rig_end(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_mistakes),
    cmocka_unit_test(test_all_files_are_told),
    cmocka_unit_test(test_options),
    cmocka_unit_test(test_option_mistakes),
    cmocka_unit_test(test_two_uses_of_one_file),
    cmocka_unit_test(test_require),
    cmocka_unit_test(test_upvalue_warnings),
    cmocka_unit_test(test_no_policies),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
