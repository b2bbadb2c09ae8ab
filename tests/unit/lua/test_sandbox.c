#include "scene.h"
#include <stdio.h>

/* What Lua code can reach, and that it can change none of it. */

static const char *const globals[] = {
  "_G", "_VERSION", "assert", "error", "getmetatable", "ipairs", "math", "pairs", "pcall", "print", "rawequal", "rawget", "rawlen",
  "rawset", "select", "setmetatable", "string", "table", "tonumber", "tostring", "type", "utf8", "warn", "xpcall", NULL
};
static const char *const strings[] = {
  "byte", "char", "find", "format", "gmatch", "gsub", "len", "lower", "match", "pack", "packsize", "rep", "reverse", "sub", "unpack",
  "upper", NULL
};
static const char *const tables[] = { "concat", "insert", "move", "pack", "remove", "sort", "unpack", NULL };
static const char *const numbers[] = {
  "abs", "acos", "asin", "atan", "ceil", "cos", "deg", "exp", "floor", "fmod", "huge", "log", "max", "maxinteger", "min", "mininteger",
  "modf", "pi", "rad", "sin", "sqrt", "tan", "tointeger", "type", "ult", NULL
};
static const char *const texts[] = { "char", "charpattern", "codepoint", "codes", "len", "offset", NULL };

/* pairs sorts, so the two lists run side by side. */
static void expect_names(struct vm *vm, const char *table, const char *const *names) {
  char text[200];
  snprintf(text, sizeof text, "local t = {} for k in pairs(%s) do t[#t + 1] = k end return table.unpack(t)", table);
  assert_int_equal(run(vm, text), VM_OK);
  lua_State *L = vm_state(vm);
  int i = 0;
  for (; names[i]; i++) {
    if (i >= lua_gettop(L)) fail_msg("%s lacks %s", table, names[i]);
    assert_string_equal(lua_tostring(L, i + 1), names[i]);
  }
  assert_int_equal(lua_gettop(L), i);
}

static void expect_all_names(struct vm *vm) {
  expect_names(vm, "_G", globals);
  expect_names(vm, "string", strings);
  expect_names(vm, "table", tables);
  expect_names(vm, "math", numbers);
  expect_names(vm, "utf8", texts);
}

static void test_names(void **state) {
  struct vm_limits limits = { 0 };
  struct vm *open = vm_new(&limits);
  expect_all_names(open);
  expect_all_names(*state);
  vm_free(open);
}

/* Nothing hangs behind the names: not the registry's tables, not the metatables. */
static void test_no_way_out(void **state) {
  expect_text(*state, "return tostring(getmetatable(''))", "false");
  expect_text(*state, "return tostring(getmetatable(_G))", "false");
  expect_text(*state, "return tostring(getmetatable(string))", "false");
  expect_text(*state, "return tostring(getmetatable(_ENV))", "false");
  expect_text(*state, "return tostring(load) .. tostring(next) .. tostring(math.random) .. tostring(string.dump)", "nilnilnilnil");
  expect_text(*state, "return type(_G._G) .. tostring(_G._G == _G) .. tostring(_G.string == string)", "tabletruetrue");
  expect_text(*state, "for k, v in pairs(_G) do if type(v) ~= 'function' and type(v) ~= 'table' and k ~= '_VERSION' then return k end end return 'none'", "none");
}

static void test_frozen(void **state) {
  static const char *const attempts[] = {
    "local _, t = pairs(string) t.rep = nil", "local _, t = pairs(_G) rawset(t, 'print', nil)", "local _, t = ipairs(math) t.pi = 3",
    "_G.print = nil", "_G.new = 1", "_G[1] = 1", "string.rep = nil", "string.new = 1", "table.sort = print", "math.pi = 3", "utf8.new = 1",
    "rawset(_G, 'x', 1)", "rawset(string, 'rep', 1)", "rawset(math, 'pi', 3)", "table.insert(string, 1)", "table.move({1}, 1, 1, 1, math)",
    "('').rep = 1", "getmetatable('').__index = {}", "setmetatable(_G, {})", "setmetatable(string, nil)", "setmetatable(_ENV, {})", NULL
  };
  for (int i = 0; attempts[i]; i++)
    if (run(*state, attempts[i]) != VM_ERROR) fail_msg("%s did not fail", attempts[i]);
  expect_all_names(*state);
  expect_error(*state, "string.rep = nil", "test.lua:1: 'rep' cannot be assigned");
  expect_text(*state, "return ('x'):rep(3) .. rawlen(_G) .. #_G .. tostring(rawget(string, 'rep') == string.rep)", "xxx00true");
  expect_text(*state, "return rawget(_G, 'math').type(1)", "integer");
}

static int called(lua_State *L) { return lua_pushliteral(L, "called"), 1; }

/* What bindings put there is frozen as deep as it goes, and keeps its metamethods. */
static void test_frozen_bindings(void **state) {
  (void)state;
  struct vm_limits limits = { 0 };
  struct vm *vm = vm_new(&limits);
  lua_State *L = vm_state(vm);
  lua_newtable(L);
  lua_newtable(L);
  lua_pushinteger(L, 7);
  lua_rawseti(L, -2, 1);
  lua_setfield(L, -2, "inner");
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "self");
  lua_newtable(L);
  lua_pushcfunction(L, called);
  lua_setfield(L, -2, "__call");
  lua_setmetatable(L, -2);
  lua_setglobal(L, "bound");
  assert_true(vm_load(L, SPAN("held = bound.inner held[1] = 8 return 1"), "before", 0));
  assert_int_equal(vm_call(L, 0, 0), VM_OK);
  vm_freeze(vm);
  vm_freeze(vm);
  assert_int_equal(lua_gettop(L), 0);
  expect_text(vm, "return bound()", "called");
  expect_text(vm, "return bound.self.inner[1] .. #bound.inner .. rawlen(bound.inner)", "811");
  expect_text(vm, "for i, v in ipairs(bound.inner) do return i .. v end", "18");
  expect_error(vm, "bound.inner[1] = 9", "read-only");
  expect_error(vm, "rawset(bound.inner, 1, 9)", "read-only");
  expect_error(vm, "table.remove(bound.inner)", "read-only");
  expect_error(vm, "bound.inner = nil", "read-only");
  vm_free(vm);
}

static void test_environments(void **state) {
  struct vm *vm = *state;
  lua_State *L = vm_state(vm);
  expect_text(vm, "own = 5 return own .. tostring(_G.own)", "5nil");
  expect_text(vm, "return tostring(own)", "nil");
  expect_text(vm, "print = 1 return print .. type(_G.print)", "1function");
  expect_text(vm, "return type(print)", "function");
  lua_settop(L, 0);
  lua_newtable(L);
  lua_pushinteger(L, 42);
  lua_setfield(L, -2, "given");
  assert_true(vm_load(L, SPAN("mine = given return print"), "env", -1));
  assert_int_equal(vm_call(L, 0, 1), VM_OK);
  assert_true(lua_isnil(L, -1));
  lua_getfield(L, 1, "mine");
  assert_int_equal(lua_tointeger(L, -1), 42);
}

static int bytes_add(lua_State *L, const void *p, size_t n, void *arg) {
  (void)L;
  buf_add(arg, span_of(p, n));
  return 0;
}

static void test_loading(void **state) {
  lua_State *L = vm_state(*state);
  struct buf code = { 0 };
  lua_settop(L, 0);
  assert_false(vm_load(L, SPAN("return 1 +"), "policies/x.lua", 0));
  assert_string_equal(lua_tostring(L, -1), "policies/x.lua:1: unexpected symbol near <eof>");
  assert_true(vm_load(L, SPAN("return 1"), "x", 0));
  assert_int_equal(lua_dump(L, bytes_add, &code, 0), 0);
  assert_false(vm_load(L, buf_span(&code), "bytes", 0));
  assert_non_null(strstr(lua_tostring(L, -1), "attempt to load a binary chunk"));
  assert_int_equal(lua_gettop(L), 3);
  buf_free(&code);
}

static void test_metatables(void **state) {
  expect_error(*state, "setmetatable({}, { __gc = print })", "'__gc' is not available");
  expect_error(*state, "setmetatable({}, { __mode = 'k' })", "'__mode' is not available");
  expect_error(*state, "setmetatable({}, { __gc = false })", "'__gc' is not available");
  expect_error(*state, "setmetatable(setmetatable({}, { __metatable = 1 }), {})", "protected");
  expect_error(*state, "setmetatable('', {})", "table expected");
  expect_error(*state, "setmetatable({}, 1)", "nil or table expected");
  expect_text(*state, "local m = {} return tostring(getmetatable(setmetatable({}, m)) == m)", "true");
  expect_text(*state, "return getmetatable(setmetatable({}, { __metatable = 'mine' }))", "mine");
  /* Put in afterwards they mean nothing: no function is called, no entry is lost. */
  expect_text(*state,
              "local n, gc, mode = 0, {}, {} local g, w = setmetatable({}, gc), setmetatable({}, mode)"
              " gc.__gc = function() n = n + 1 end mode['__mo' .. 'de'] = 'kv' w[{}] = {} w[1] = {} g = nil"
              " for i = 1, 20000 do local t = { {} } end local seen = w[1] return n .. type(seen)", "0table");
}

static void test_weak_tables_hold(void **state) {
  lua_State *L = vm_state(*state);
  assert_int_equal(run(*state, "local m = {} local t = setmetatable({}, m) m.__mode = 'v' t[1] = {} return t"), VM_OK);
  lua_gc(L, LUA_GCCOLLECT);
  assert_int_equal(lua_rawlen(L, 1), 1);
}

static void test_tostring(void **state) {
  expect_text(*state, "return tostring({}) .. tostring(print) .. tostring(function() end)", "tablefunctionfunction");
  expect_text(*state, "return tostring(setmetatable({}, { __name = 'x' }))", "table");
  expect_text(*state, "return tostring(setmetatable({}, { __tostring = function() return 'mine' end }))", "mine");
  expect_text(*state, "return string.format('%s %10s %s', {}, print, nil)", "table   function nil");
  expect_text(*state, "return tostring(nil) .. tostring(true) .. tostring(1) .. tostring(1.0) .. tostring('a')", "niltrue11.0a");
  expect_error(*state, "return string.format('%p', {})", "addresses");
  expect_error(*state, "return tostring(setmetatable({}, { __tostring = function() return {} end }))", "must return a string");
  expect_error(*state, "tostring()", "value expected");
}

static void test_pairs_order(void **state) {
  expect_text(*state,
              "local t, out = { 'a', 'b', nil, 'd', z = 1, [''] = 2, a = 3, B = 4, [2.5] = 5, [-1] = 6, [1e300] = 7, [-0.5] = 8, [10] = 9, ['a\\0'] = 10,"
              " ['\\xff'] = 11, [math.mininteger] = 12, [2^63] = 13, [math.maxinteger] = 14, [-2^70] = 15 }, {}"
              " for k, v in pairs(t) do out[#out + 1] = tostring(v) end return table.concat(out, ' ')",
              "a b 15 12 6 8 5 d 9 14 13 7 2 4 3 10 1 11");
  expect_text(*state, "local s = '' for k in pairs({}) do s = s .. k end return s", "");
  expect_text(*state, "local s = '' for k, v in pairs({ 5, 6, 7 }) do s = s .. k .. v end return s", "152637");
  expect_text(*state, "local t, s = { a = 1, b = 2, c = 3 }, '' for k, v in pairs(t) do s = s .. k t.b = nil t.d = 4 t[k] = nil end return s", "ac");
  expect_text(*state, "local t, s = { 1, 2, 3 }, '' for k, v in pairs(t) do s = s .. k t[2] = nil t[4] = 4 end return s", "13");
  expect_error(*state, "for k in pairs({ [true] = 1 }) do end", "no order for a key that is a boolean");
  expect_error(*state, "for k in pairs({ [{}] = 1 }) do end", "no order for a key that is a table");
  expect_error(*state, "for k in pairs({ 1, 2, [print] = 1 }) do end", "no order for a key that is a function");
  expect_error(*state, "pairs(nil)", "table expected");
  expect_error(*state, "pairs()", "value expected");
  expect_text(*state, "for a, b in pairs(setmetatable({}, { __pairs = function(t) return function(_, k) if not k then return 'x', 'y' end end, t, nil end })) do return a .. b end", "xy");
  expect_text(*state, "local t, last = {}, 0 for i = 1, 2000 do t[(i * 7919) % 10007 + 0.5] = true end"
                      " for k in pairs(t) do if k < last then return 'wrong' end last = k end return 'sorted'", "sorted");
}

static void test_pcall(void **state) {
  expect_text(*state, "local ok, e = pcall(error, { code = 5 }) return tostring(ok) .. e.code", "false5");
  expect_text(*state, "return select('#', pcall(function() return 1, nil, nil end))", "4");
  expect_text(*state, "local ok, e = xpcall(function() error('a', 0) end, function(m) return m .. 'b' end) return tostring(ok) .. e", "falseab");
  expect_text(*state, "local ok, e = xpcall(function() error('a', 0) end, function(m) error('c', 0) end) return tostring(ok) .. e", "falsec");
  expect_text(*state, "return select(2, xpcall(function(...) return select('#', ...) end, print, 1, 2, nil))", "3");
  expect_error(*state, "xpcall(print, 1)", "function expected");
  expect_error(*state, "pcall()", "value expected");
}

int main(void) {
  log_set_level(LOG_OFF);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_names), cmocka_unit_test(test_no_way_out), cmocka_unit_test(test_frozen), cmocka_unit_test(test_frozen_bindings),
    cmocka_unit_test(test_environments), cmocka_unit_test(test_loading), cmocka_unit_test(test_metatables),
    cmocka_unit_test(test_weak_tables_hold), cmocka_unit_test(test_tostring), cmocka_unit_test(test_pairs_order), cmocka_unit_test(test_pcall),
  };
  return cmocka_run_group_tests(tests, vm_setup, vm_teardown);
}
