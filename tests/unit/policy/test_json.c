/* weir.json: exact in both directions, and bounded. */
#include "rig.h"

static void test_decode(void **state) {
  (void)state;
  rig_lua(
      "local v = weir.json.decode(' "
      "{\"a\":[1,-2.5,1e3,\"x\\\\u00e9\\\\n\",true,null,{}],\"big\":9223372036854775807,"
      "\"bigger\":9223372036854775808,\"zero\":-0} ')\n"
      "assert(math.type(v.a[1]) == 'integer' and v.a[1] == 1 and v.a[2] == -2.5 and math.type(v.a[3]) == 'float' and "
      "v.a[3] == 1000)\n"
      "assert(v.a[4] == 'x\\xc3\\xa9\\n' and v.a[5] == true and v.a[6] == weir.json.null and #v.a == 7 and v.big == "
      "math.maxinteger)\n"
      "assert(math.type(v.bigger) == 'float' and 1 / v.zero < 0)\n"
      "assert(weir.json.decode('false') == false and weir.json.decode('null') == weir.json.null and "
      "weir.json.decode('\"s\"') == 's')\n"
      "local got, why = weir.json.decode('{\"a\":}') assert(got == nil and why:find('at byte 6', 1, true), why)\n"
      "got, why = weir.json.decode('') assert(got == nil and #why > 0)\n"
      "assert(weir.json.decode(('['):rep(200) .. (']'):rep(200)) == nil)\n"
      "assert(not pcall(weir.json.decode, nil))\n"
      "local n = 0 for k, item in pairs(weir.json.decode '[3,4]') do n = n + item end assert(n == 7)\n");
}

static void test_encode(void **state) {
  (void)state;
  rig_lua("local e = weir.json.encode\n"
          "assert(e { b = 1, a = { 1, 'x', true, weir.json.null }, c = {} } == "
          "'{\"a\":[1,\"x\",true,null],\"b\":1,\"c\":{}}')\n"
          "assert(e(weir.json.array {}) == '[]' and e {} == '{}' and e(nil) == 'null' and e 'a\"\\n' == "
          "'\"a\\\\\"\\\\n\"')\n"
          "assert(e(math.mininteger) == '-9223372036854775808' and e(0.1) == '0.1' and e '\\xff' == "
          "'\"\\xef\\xbf\\xbd\"')\n"
          "assert(e { Z = 1, a = 2, [''] = 3, A = 4 } == '{\"\":3,\"A\":4,\"Z\":1,\"a\":2}')\n");
  static const struct { const char *code, *said;
  } bad[] = {
    { "weir.json.encode { 1, a = 2 }", "both items and names" },
    { "weir.json.encode { [1] = 1, [3] = 3 }", "list with holes" },
    { "weir.json.encode { [2] = 1 }", "list with holes" },
    { "weir.json.encode { [true] = 1 }", "a key in JSON is a string, not a boolean" },
    { "weir.json.encode { print }", "a function can be no JSON" },
    { "weir.json.encode(1/0)", "JSON has no word for the number" },
    { "weir.json.encode(req)", "a userdata can be no JSON" },
    { "local t = {} t.t = t weir.json.encode(t)", "contains itself" },
    { "weir.json.encode(setmetatable({}, { __index = { a = 1 } }))", "stands for another" },
    { "local a = weir.json.array { 1 } a.x = 2 weir.json.encode(a)", "both items and names" },
    { "local a = weir.json.array {} a.x = 2 weir.json.encode(a)", "a JSON array has a field with a name" },
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) rig_raises(bad[i].code, bad[i].said);
}

/* One string that stands in many places is small in Lua and large as JSON. */
static void test_encode_is_bounded(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  char log[8192];
  rig_init(&r);
  r.conf.lua_memory = 1 << 20;
  rig_use(
      &r, "wide",
      "return { on_request = function(req) local s, t = ('x'):rep(100000), {} for i = 1, 20 do t[i] = s end "
      "weir.json.encode(t) end }");
  rig_load(&r);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct capture c = capture_begin();
  assert_true(ask_request(&r, &a)->error);
  assert_in(capture_end(c, log), "the JSON would be larger than 1048576 bytes (lua_memory)");
  ask_end(&a);
  rig_end(&r);
}

/* What comes in goes out the same, key order and number spelling aside. */
static void test_round_trip(void **state) {
  (void)state;
  rig_lua(
      "for _, text in ipairs { '{\"a\":[],\"b\":{},\"c\":[[],{}],\"d\":null}', '[]', '{}', '[1,2,[3]]', "
      "'\"\\\\u0000\"' } do\n"
      "  assert(weir.json.encode(weir.json.decode(text)) == text, text)\n"
      "end\n"
      "local list = weir.json.decode '[1]' table.remove(list) assert(weir.json.encode(list) == '[]')\n");
}

/* Encoding does not look into what stands behind a lock: a module that was required says so. */
static void test_deep_and_wide(void **state) {
  (void)state;
  rig_lua("local deep = 1 for i = 1, 127 do deep = { deep } end\n"
          "local text = weir.json.encode(deep) assert(#text == 255)\n"
          "assert(not pcall(weir.json.encode, { { deep } }))\n"
          "assert(weir.json.decode(text)[1][1] ~= nil)\n");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_decode),     cmocka_unit_test(test_encode),        cmocka_unit_test(test_encode_is_bounded),
    cmocka_unit_test(test_round_trip), cmocka_unit_test(test_deep_and_wide),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
