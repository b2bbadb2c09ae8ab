#include "scene.h"

/* The calls themselves: values in and out, messages, waiting, the pool, memory. */

static void load(lua_State *L, const char *text) {
  if (!vm_load(L, span_cstr(text), "test.lua", 0)) fail_msg("%s", lua_tostring(L, -1));
}

static void test_values(void **state) {
  lua_State *L = vm_state(*state);
  lua_settop(L, 0);
  lua_pushliteral(L, "below");
  for (int wanted = LUA_MULTRET; wanted < 6; wanted++) {
    load(L, "local a, b = ... return a, b, a + b");
    lua_pushinteger(L, 2);
    lua_pushinteger(L, 3);
    assert_int_equal(vm_call(L, 2, wanted), VM_OK);
    int count = wanted == LUA_MULTRET ? 3 : wanted;
    assert_int_equal(lua_gettop(L), 1 + count);
    static const int sums[] = { 2, 3, 5 };
    for (int i = 0; i < count; i++)
      if (i < 3) assert_int_equal(lua_tointeger(L, i + 2), sums[i]);
      else assert_true(lua_isnil(L, i + 2));
    lua_settop(L, 1);
  }
  lua_pushnil(L);
  assert_int_equal(vm_call(L, 0, 0), VM_ERROR);
  assert_non_null(strstr(lua_tostring(L, -1), "attempt to call a nil value"));
  assert_int_equal(lua_gettop(L), 2);
}

static void test_many_values(void **state) {
  assert_int_equal(run(*state, "return table.unpack({}, 1, 5000)"), VM_OK);
  assert_int_equal(lua_gettop(vm_state(*state)), 5000);
  expect_text(*state, "return 'fine'", "fine");
}

static void test_messages(void **state) {
  expect_error(*state, "local function inner() error('bad') end\nfunction outer() inner() end\nouter()",
               "test.lua:1: bad\n\t[C]: in global 'error'\n\ttest.lua:1: in upvalue 'inner'\n\ttest.lua:2: in global 'outer'\n\ttest.lua:3: in main chunk");
  expect_error(*state, "local x = nil\nreturn x.y", "test.lua:2: attempt to index a nil value (local 'x')\n\ttest.lua:2: in main chunk");
  expect_error(*state, "error({})", "(error object is a table value)\n\t");
  expect_error(*state, "error()", "(error object is a nil value)");
  expect_error(*state, "error(nil)", "(error object is a nil value)");
  expect_error(*state, "error(12)", "12\n\t");
  expect_error(*state, "error(print)", "(error object is a function value)");
  expect_error(*state, "error(setmetatable({ 5 }, { __tostring = function(t) return 'code ' .. t[1] end }))", "code 5\n\t");
  expect_error(*state, "error(setmetatable({}, { __tostring = function() error('again') end }))", "(error object is a table value)");
  expect_error(*state, "error(setmetatable({}, { __tostring = function() return 5 end }))", "5\n\t");
  expect_error(*state, "error(('x'):rep(100000))", "xxx");
  assert_true(strlen(told(*state)) < 5000);
  expect_error(*state, "local function f(n) if n == 0 then error('deep') end return (f(n - 1)) end f(1000)", "deep\n\t");
  assert_true(strlen(told(*state)) < 2000);
}

static int wait_for(lua_State *L) {
  return lua_yield(L, lua_gettop(L));
}

static void with_wait(struct vm *vm) {
  lua_pushcfunction(vm_state(vm), wait_for);
  lua_setglobal(vm_state(vm), "wait");
}

static void test_waiting(void **state) {
  (void)state;
  struct vm_limits limits = { 0 };
  struct vm *vm = vm_new(&limits);
  with_wait(vm);
  vm_freeze(vm);
  lua_State *L = vm_state(vm), *co = vm_coroutine(vm);
  int n;
  load(L, "local a = ... local b, c = wait(a, a + 1) local ok, d = pcall(wait, b + c) local e = table.unpack({ xpcall(wait, print, d) }, 2) return ok, d, e");
  lua_xmove(L, co, 1);
  lua_pushinteger(co, 10);
  assert_int_equal(vm_resume(co, 1, &n), VM_YIELD);
  assert_int_equal(n, 2);
  assert_int_equal(lua_tointeger(co, -1), 11);
  lua_pop(co, n);
  lua_pushinteger(co, 3);
  lua_pushinteger(co, 4);
  assert_int_equal(vm_resume(co, 2, &n), VM_YIELD);
  assert_int_equal(n, 1);
  assert_int_equal(lua_tointeger(co, -1), 7);
  lua_pop(co, n);
  lua_pushliteral(co, "d");
  assert_int_equal(vm_resume(co, 1, &n), VM_YIELD);
  lua_pop(co, n);
  lua_pushliteral(co, "e");
  assert_int_equal(vm_resume(co, 1, &n), VM_OK);
  assert_int_equal(n, 3);
  assert_true(lua_toboolean(co, -3));
  assert_string_equal(lua_tostring(co, -2), "d");
  assert_string_equal(lua_tostring(co, -1), "e");
  vm_coroutine_drop(vm, co);
  /* An error after a wait; and one in vm_call, which cannot wait. */
  co = vm_coroutine(vm);
  load(L, "wait() error('late')");
  lua_xmove(L, co, 1);
  assert_int_equal(vm_resume(co, 0, &n), VM_YIELD);
  assert_int_equal(vm_resume(co, 0, &n), VM_ERROR);
  assert_string_equal(lua_tostring(co, -1), "test.lua:1: late\n\t[C]: in global 'error'\n\ttest.lua:1: in main chunk");
  vm_coroutine_drop(vm, co);
  expect_error(vm, "wait()", "test.lua:1: this call may not wait\n\t[C]: in global 'wait'\n");
  expect_text(vm, "return 'fine'", "fine");
  vm_free(vm);
}

static int closed(lua_State *L) {
  int *count = vm_owner(L);
  ++*count;
  return 0;
}

/* Given back while it waits: what is to be closed is closed, and the coroutine serves again. */
static void test_dropped_while_waiting(void **state) {
  (void)state;
  struct vm_limits limits = { 0 };
  struct vm *vm = vm_new(&limits);
  lua_State *L = vm_state(vm);
  int count = 0, n;
  vm_set_owner(vm, &count);
  with_wait(vm);
  lua_pushcfunction(L, closed);
  lua_setglobal(L, "closed");
  for (int i = 0; i < 3; i++) {
    lua_State *co = vm_coroutine(vm);
    load(L, "local x <close> = setmetatable({}, { __close = closed }) wait()");
    lua_xmove(L, co, 1);
    assert_int_equal(vm_resume(co, 0, &n), VM_YIELD);
    vm_coroutine_drop(vm, co);
    assert_ptr_equal(vm_coroutine(vm), co);
    vm_coroutine_drop(vm, co);
  }
  assert_int_equal(count, 3);
  /* One that never began, one whose end hangs. */
  lua_State *co = vm_coroutine(vm);
  load(L, "return 1");
  lua_xmove(L, co, 1);
  vm_coroutine_drop(vm, co);
  co = vm_coroutine(vm);
  load(L, "local x <close> = setmetatable({}, { __close = function() while true do end end }) wait()");
  lua_xmove(L, co, 1);
  assert_int_equal(vm_resume(co, 0, &n), VM_YIELD);
  double from = cpu_ms();
  vm_coroutine_drop(vm, co);
  assert_true(cpu_ms() - from < 100 * SLOWER);
  assert_ptr_not_equal(vm_coroutine(vm), co);
  vm_free(vm);
}

static void test_pool(void **state) {
  struct vm *vm = *state;
  lua_State *many[100], *one = vm_coroutine(vm);
  vm_coroutine_drop(vm, one);
  assert_ptr_equal(vm_coroutine(vm), one);
  vm_coroutine_drop(vm, one);
  lua_gc(vm_state(vm), LUA_GCCOLLECT);
  size_t before = vm_memory(vm);
  for (int i = 0; i < 100; i++) many[i] = vm_coroutine(vm);
  lua_gc(vm_state(vm), LUA_GCCOLLECT);
  for (int i = 0; i < 100; i++) {
    lua_pushinteger(many[i], i);
    for (int k = 0; k < i; k++) assert_ptr_not_equal(many[i], many[k]);
  }
  for (int i = 0; i < 100; i++) {
    assert_int_equal(lua_tointeger(many[i], -1), i);
    vm_coroutine_drop(vm, many[i]);
  }
  lua_gc(vm_state(vm), LUA_GCCOLLECT);
  assert_true(vm_memory(vm) < before + 100 * 1100);
}

/* ---- bindings that call back */
static int call_back(lua_State *L) {
  lua_pushvalue(L, 1);
  enum vm_result result = vm_call(L, 0, 1);
  lua_pushinteger(L, result);
  lua_insert(L, -2);
  return 2;
}

static int call_back_on_main(lua_State *L) {
  lua_State *M = vm_state(vm_of(L));
  lua_pushvalue(L, 1);
  lua_xmove(L, M, 1);
  lua_pushinteger(L, lua_pcall(M, 0, 0, 0));
  lua_settop(M, 0);
  return 1;
}

static void test_calling_back(void **state) {
  (void)state;
  struct vm_limits limits = { 0 };
  struct vm *vm = vm_new(&limits);
  lua_pushcfunction(vm_state(vm), call_back);
  lua_setglobal(vm_state(vm), "call");
  lua_pushcfunction(vm_state(vm), call_back_on_main);
  lua_setglobal(vm_state(vm), "main");
  expect_text(vm, "local r, v = call(function() return 'in' end) return r .. v", "0in");
  expect_text(vm, "local r, v = call(function() error('inner', 0) end) return r .. v:match('^%a+')", "2inner");
  expect_text(vm, "local r = 0 local function f(n) if n == 0 then return 'bottom' end local _, v = call(function() return f(n - 1) end) return v end return f(20)", "bottom");
  expect_text(vm, "return main(function() error('x') end)", "2");
  for (int i = 0; i < 3; i++) {
    double from = cpu_ms();
    assert_int_equal(run(vm, "while true do call(function() while true do end end) end"), VM_TIMEOUT);
    assert_int_equal(run(vm, "while true do pcall(call, function() pcall(call, function() while true do end end) end) end"), VM_TIMEOUT);
    assert_int_equal(run(vm, "while true do main(function() while true do end end) end"), VM_TIMEOUT);
    assert_int_equal(run(vm, "while true do main(function() while true do pcall(function() while true do end end) end end) end"), VM_TIMEOUT);
    assert_true(cpu_ms() - from < 200 * SLOWER);
    expect_text(vm, "return 'fine'", "fine");
  }
  vm_free(vm);
}

/* ---- limits */
static void test_memory(void **state) {
  (void)state;
  struct vm_limits limits = { .memory = 1 << 20, .call_ms = 1000 };
  struct vm *vm = vm_new(&limits);
  lua_State *L = vm_state(vm);
  size_t at_first = vm_memory(vm);
  assert_true(at_first < 40000);
  for (int i = 0; i < 5; i++) {
    assert_int_equal(run(vm, "local t = {} for i = 1, 1e7 do t[i] = { i } end"), VM_MEMORY);
    assert_non_null(strstr(told(vm), "test.lua:1: over the limit of 1024 KB of Lua memory\n\ttest.lua:1: in main chunk"));
    assert_true(vm_memory(vm) <= 1 << 20);
    assert_int_equal(run(vm, "pcall(function() local t = {} for i = 1, 1e7 do t[i] = { i } end end) return 'held'"), VM_MEMORY);
    expect_text(vm, "local t = {} for i = 1, 5000 do t[i] = { i } end return #t", "5000");
  }
  lua_settop(L, 0);
  lua_gc(L, LUA_GCCOLLECT);
  assert_true(vm_memory(vm) < at_first + 20000);
  vm_free(vm);
}

static void test_idle(void **state) {
  struct vm *vm = *state;
  for (int i = 0; i < 10000 && vm_idle(vm); i++) {}
  assert_false(vm_idle(vm));
  assert_int_equal(run(vm, "local t = {} for i = 1, 30000 do t[i] = { i } end"), VM_OK);
  lua_settop(vm_state(vm), 0);
  size_t before = vm_memory(vm);
  int turns = 0;
  int long_ones = 0;                                     /* the machine may stop any one of them */
  for (bool more = true; more; turns++) {
    double from = cpu_ms();
    more = vm_idle(vm);
    long_ones += cpu_ms() - from > 2 * SLOWER;
  }
  assert_true(turns > 3);
  assert_true(long_ones <= 1 + turns / 20);
  assert_true(vm_memory(vm) < before / 2);
}

/* A policy that leaves a lot of garbage beside what it keeps: no call's end takes long for it, and none runs out of memory. */
static void test_garbage_under_load(void **state) {
  (void)state;
  struct vm_limits limits = { .memory = 32 << 20, .call_ms = 1000 };
  struct vm *vm = vm_new(&limits);
  lua_State *L = vm_state(vm);
  assert_int_equal(run(vm, "local kept = {} for i = 1, 400 do kept[i] = {} for j = 1, 500 do kept[i][j] = { j } end end\n"
                           "return function() local t = {} for i = 1, 2000 do t[i] = { #kept } end end"), VM_OK);
  size_t highest = 0;
  int long_ones = 0;                                     /* a stop of the machine is not every twentieth call */
  double longest = 0, usual = 0;
  for (int i = 0; i < 600; i++) {
    double from = cpu_ms();
    lua_pushvalue(L, 1);
    assert_int_equal(vm_call(L, 0, 0), VM_OK);
    double took = cpu_ms() - from;
    if (took > longest) longest = took;
    long_ones += took > 9 * SLOWER;
    usual += took / 600;
    if (vm_memory(vm) > highest) highest = vm_memory(vm);
  }
  print_message("600 calls that leave 0.2 MB each beside 15 MB: %.2f ms of CPU each, the longest %.2f, %.1f MB at most\n", usual, longest, (double)highest / 1e6);
  assert_in_range(highest, 15 << 20, 32 << 20);
  assert_true(long_ones <= 600 / 20);
  vm_free(vm);
}

static void test_steps(void **state) {
  (void)state;
  struct vm_limits limits = { .steps = 1000 };
  struct vm *vm = vm_new(&limits);
  for (int i = 0; i < 3; i++) {
    expect_text(vm, "for i = 1, 10 do string.rep('x', 100) end return 'fine'", "fine");
    expect_error(vm, "for i = 1, 1000 do string.rep('x', 100) end", "all the work that one call may ask of them");
    expect_text(vm, "local n = 0 for i = 1, 1000 do if pcall(string.rep, 'x', 100) then n = n + 1 end end return n > 50 and n < 200 and 'some'", "some");
  }
  lua_State *L = vm_state(vm);
  load(L, "return 1");
  assert_int_equal(vm_call(L, 0, 0), VM_OK);
  vm_spend(L, 900);
  vm_free(vm);
}

static void test_time_given(void **state) {
  (void)state;
  struct vm_limits limits = { .call_ms = 1000 };
  struct vm *vm = vm_new(&limits);
  expect_text(vm, "local n = 0 for i = 1, 3e6 do n = n + i end return 'long'", "long");
  vm_set_call_ms(vm, 3);
  double from = cpu_ms();
  assert_int_equal(run(vm, "while true do end"), VM_TIMEOUT);
  assert_true(cpu_ms() - from >= 2.9);
  assert_non_null(strstr(told(vm), "stopped after 3 ms of CPU time"));
  vm_free(vm);
}

static void test_owner(void **state) {
  (void)state;
  int a = 0, b = 0;
  struct vm_limits limits = { 0 };
  struct vm *one = vm_new(&limits), *other = vm_new(&limits);
  vm_set_owner(one, &a);
  vm_set_owner(other, &b);
  lua_State *co = vm_coroutine(one);
  assert_ptr_equal(vm_owner(co), &a);
  assert_ptr_equal(vm_of(co), one);
  assert_ptr_equal(vm_owner(vm_state(other)), &b);
  vm_free(one);
  vm_free(other);
}

int main(void) {
  log_set_level(LOG_OFF);
  vm_thread_enter();
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_values), cmocka_unit_test(test_many_values), cmocka_unit_test(test_messages), cmocka_unit_test(test_waiting),
    cmocka_unit_test(test_dropped_while_waiting), cmocka_unit_test(test_pool), cmocka_unit_test(test_calling_back),
    cmocka_unit_test(test_memory), cmocka_unit_test(test_idle), cmocka_unit_test(test_garbage_under_load), cmocka_unit_test(test_steps), cmocka_unit_test(test_time_given),
    cmocka_unit_test(test_owner),
  };
  return cmocka_run_group_tests(tests, vm_setup, vm_teardown);
}
