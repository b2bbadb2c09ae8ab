#include "scene.h"
#include <stdio.h>
#include <stdlib.h>

/* Text that means to hold the thread or to fill the memory. Each ends soon, in an error that says so, and the state
   serves the next call. */
enum { MOST_MS = 15, ATTEMPTS = 12 };
enum { T = 1 << VM_TIMEOUT, E = 1 << VM_ERROR, M = 1 << VM_MEMORY, OK = 1 << VM_OK };

struct attempt {
  unsigned ends;                      /* in one of these; what is slow enough may always run out of time. M also where a call that was
                                         ended leaves large buffers behind: they go with the next cycle of the collector alone */
  const char *text;
};

static const struct attempt loops[] = {
  { T, "while true do end" },
  { T, "repeat until false" },
  { T, "::a:: goto a" },
  { T, "::a:: do goto b end ::b:: goto a" },
  { T, "for i = 1, math.huge do end" },
  { T, "for i = 1, math.maxinteger do local x = i * 2 end" },
  { T, "local function f() return f() end f()" },
  { T, "local function f(...) return f(...) end f(1, 2, 3)" },
  { T, "for _ in function() return 1 end do end" },
  { T, "while true do local t = {} end" },
  { T, "while true do local f = function() end end" },
  { T, "local s = 'a' while true do s = s:sub(1, 1) .. 'b' end" },
  { T, "while true do math.sin(1) end" },
  { T | E, "while true do type(tostring(1)) end" },
};

static const struct attempt swallowers[] = {
  { T, "while true do pcall(function() while true do end end) end" },
  { T, "local function f() pcall(f) end while true do pcall(f) end" },
  { T, "local function f() pcall(f) pcall(f) end f()" },
  { T, "local function f() while true do pcall(f) end end f()" },
  { T, "local function loop() while true do end end xpcall(loop, loop)" },
  { T, "xpcall(error, function() while true do end end)" },
  { T, "local function h() while true do xpcall(h, h) end end xpcall(h, h)" },
  { T, "local function h() error(1) end while true do xpcall(h, h) end" },
  { T, "while true do pcall(error) end" },
  { T, "while true do pcall(error, setmetatable({}, { __tostring = function() while true do end end })) end" },
  { T | E, "while true do pcall(string.rep, 'x', 1000) end" },
  { T | E, "while true do pcall(string.find, ('a'):rep(30), ('a?'):rep(30) .. ('a'):rep(30)) end" },
  { E, "error(setmetatable({}, { __tostring = function() while true do end end }))" },
  { E, "error(setmetatable({}, { __tostring = function() error(setmetatable({}, { __tostring = error })) end }))" },
  { T, "pcall(pcall, pcall, pcall, function() while true do end end)" },
  { T, "for i = 1, 100 do pcall(function() for k = 1, 1e9 do end end) end" },
  { M | T, "while true do pcall(function() local t = {} while true do t[#t + 1] = {} end end) end" },
  { M | T, "xpcall(function() local t = {} while true do t[#t + 1] = {} end end, function() return 1 end) while true do end" },
};

static const struct attempt patterns[] = {
  { E, "string.find(('a'):rep(28), ('a?'):rep(28) .. ('a'):rep(28))" },
  { E, "string.match(('a'):rep(40), ('a*'):rep(30) .. 'b')" },
  { E, "string.find(('a'):rep(1000), ('.-'):rep(50) .. 'b')" },
  { E, "string.find(('a'):rep(1e6), '.-b')" },
  { E, "string.find(('a'):rep(1e6), '(a*)*b')" },
  { E, "string.gsub(('a'):rep(1e5), 'a*b', 'c')" },
  { E, "for x in string.gmatch(('a'):rep(1e5), '(a+)b') do end" },
  { E, "string.find(('('):rep(1e5), '%b()')" },
  { E, "string.find(('a'):rep(1e5), '(a*)%1%1b')" },
  { E, "string.find(('a'):rep(1e5), '[' .. ('b'):rep(1e5) .. 'a]*c')" },
  { E | T, "string.find(('ab'):rep(1e5), '%f[a].-%f[%z]x')" },
  { T | E, "local s = ('a'):rep(1e5) .. 'b' while true do s:find(s, 1, true) end" },
  { T | E | M, "while true do string.find(('a'):rep(1e6), ('a'):rep(5e5) .. 'b', 1, true) end" },
  { T, "string.gsub('a', 'a', function() while true do end end)" },
  { T, "string.gsub('a', 'a', setmetatable({}, { __index = function() while true do end end }))" },
  { T | E, "while true do string.gsub(('a'):rep(1000), 'a', '%0%0') end" },
  { M | E | T, "local s = 'a' while true do s = s:gsub('a', 'aaaaaaaaaa') end" },
  { M | E | T, "string.gsub(('a'):rep(1e5), 'a', ('b'):rep(1e5))" },
  { E, "string.gsub(('a'):rep(1e4), 'a', function() return string.find(('a'):rep(20), ('a?'):rep(20) .. ('a'):rep(20)) end)" },
  { E, "local function f(s) return (s:gsub('.', f)) end f('ab')" },
  { E, "string.find('a', ('('):rep(300))" },
  { E, "string.find('a', ('a-'):rep(300) .. 'b')" },
};

static const struct attempt library[] = {
  { E, "return ('x'):rep(1e9)" },
  { E, "return ('x'):rep(1e9, 'y')" },
  { E, "return ('x'):rep(math.maxinteger)" },
  { OK, "return (''):rep(math.maxinteger)" },
  { M | E, "return ('x'):rep(2e7)" },
  { T | E | M, "while true do local s = ('x'):rep(1e6) end" },
  { T | E | M, "while true do local s = ('x'):rep(4e6) end" },
  { T | E | M, "local s = ('x'):rep(1e6) while true do s:upper() end" },
  { T | E, "local s = ('x'):rep(1e6) while true do s:lower() s:reverse() end" },
  { T | E, "local s = ('x'):rep(1e6) while true do s:sub(2) end" },
  { T | E, "local s = ('x'):rep(1e5) while true do s:byte(1, -1) end" },
  { T | E, "while true do string.char(table.unpack({ 1, 2, 3 }, 1, 3)) end" },
  { T | E, "while true do string.format('%99.99f', 1e308) end" },
  { T | E, "local f = ('%99.99f'):rep(200) while true do f:format(table.unpack({}, 1, 200)) end" },
  { T | E | M, "local s = ('x'):rep(1e6) while true do string.format('%q', s) end" },
  { E | M, "string.format(('%s'):rep(100), table.unpack((function() local t, s = {}, ('x'):rep(1e6) for i = 1, 100 do t[i] = s end return t end)()))" },
  { E | M, "string.pack('c2000000000', 'x')" },
  { E | M, "string.pack(('c100000'):rep(10000), 'x')" },
  { T | E, "local s = ('x'):rep(1e5) while true do string.unpack('z', s .. '\\0') end" },
  { T | E, "local s = ('x'):rep(1e6) while true do utf8.len(s) end" },
  { T | E, "local s = ('x'):rep(1e6) while true do utf8.offset(s, -1e6) end" },
  { T | E, "local s = 'a' .. ('\\x80'):rep(1e6) while true do utf8.offset(s, 2) end" },
  { T | E, "local s = ('a'):rep(1e6) for _, c in utf8.codes(s) do end for _, c in utf8.codes(s) do end" },
  { T | E, "local s = 'a' .. ('\\x80'):rep(1e6) local f, a, b = utf8.codes(s) while true do pcall(f, s, 1) end" },
  { E | T, "local t = {} for i = 1, 100000 do t[i] = i end while true do table.insert(t, 1, 1) end" },
  { E | T, "local t = {} for i = 1, 100000 do t[i] = i end while true do table.remove(t, 1) end" },
  { E | T, "local t = setmetatable({}, { __len = function() return 1e15 end }) table.insert(t, 1, 1)" },
  { E | T, "local t = setmetatable({}, { __len = function() return math.maxinteger - 1 end, __index = function() return 'x' end }) table.concat(t)" },
  { E | T, "local t = setmetatable({}, { __len = function() return 1e15 end }) table.remove(t, 1)" },
  { E, "table.move({}, 1, 1e15, 2)" },
  { E, "table.unpack({}, 1, 1e8)" },
  { E, "table.unpack({}, math.mininteger, math.maxinteger)" },
  { E | T | M, "while true do table.unpack({}, 1, 200000) end" },
  { E | M | T, "table.concat(setmetatable({}, { __index = function() return ('x'):rep(1e5) end }), '', 1, 1e9)" },
  { E | T, "local t = {} for i = 1, 200000 do t[i] = (i * 7919) % 200003 end table.sort(t)" },
  { E | T, "local t = {} for i = 1, 20000 do t[i] = 'k' .. (i * 7919) % 20003 end table.sort(t)" },
  { E | T, "local t = {} for i = 1, 10000 do t[i] = i end table.sort(t, function() return true end)" },
  { E | T, "local t = {} for i = 1, 10000 do t[i] = i end local n = 0 table.sort(t, function() n = n * 1103515245 + 12345 return n % 7 < 3 end)" },
  { E | T, "local t = {} for i = 1, 200000 do t[i] = i % 2 end table.sort(t, function(a, b) return a <= b end)" },
  { T, "table.sort({ 1, 2, 3 }, function() while true do end end)" },
  { E | T, "local s = ('x'):rep(1e6) local t = {} for i = 1, 1000 do t[i] = i % 2 == 0 and s or s .. '' end table.sort(t)" },
  { E | T, "local t = setmetatable({}, { __len = function() return 2 ^ 31 - 2 | 0 end }) table.sort(t, function() return false end)" },
  { E | T, "local t = {} for i = 1, 8000 do t['k' .. i] = i end while true do for k in pairs(t) do end end" },
  { OK | E | T | M, "local t = {} for i = 1, 8000 do t[i + 0.5] = i end for k in pairs(t) do end" },
  { E | T, "local t = {} for i = 1, 100000 do t[i] = i end while true do for k in pairs(t) do break end end" },
  { T | E, "local s = ('1'):rep(1e6) while true do tonumber(s) end" },
  { T | E, "local s = ('1'):rep(1e6) while true do pcall(function() return s + 1 end) end" },
  { T | E, "while true do select('#', table.unpack({}, 1, 100)) end" },
  { E | T, "while true do print('x') end" },
  { E | T, "while true do warn('x') end" },
};

static const struct attempt memory[] = {
  { M | T, "local s = 'x' while true do s = s .. s end" },
  { M | E | T, "local t = {} while true do t[#t + 1] = ('x'):rep(100) .. #t end" },
  { M | T, "local t = {} while true do t[#t + 1] = {} end" },
  { M | T, "local t = {} for i = 1, 1e9 do t[i] = i end" },
  { M | T, "local t = {} while true do t = { t } end" },
  { M | T, "local t = {} while true do t[#t + 1] = function() return t end end" },
  { M | T, "local t = {} while true do t[{}] = true end" },
  { M | T, "local s = '' while true do s = s .. 'x' end" },
  { M | T, "local t = {} while true do t[#t + 1] = tostring(#t) .. 'x' end" },
  { M | T | E, "local f f = function(n) return table.unpack({ f(n + 1), f(n + 2) }) end f(1)" },
  { M | E, "local t = {} for i = 1, 100 do t[i] = ('x'):rep(1e6) end" },
  { M | E | T, "while true do local t = {} for i = 1, 7 do t[i] = ('x'):rep(1e6) .. i end end" },
};

/* Integer keys that meet in one place of the hash, whatever its size; to move n of them takes n * n. */
static const struct attempt collisions[] = {
  { M | T, "local t = {} for i = 1, 70000 do t[i * 131071] = 1 end" },
  { M | T, "local t = {} for i = 1, 70000 do t[i * 65535] = 1 end" },
  { M | T, "local t = {} for i = 1, 70000 do t[i * 32767] = 1 end" },
  { M | T, "local t = {} for i = 1, 70000 do t[-i * 131071 * 65535] = 1 end" },
  { M | T, "local t = {} local f <const> = function(k) t[k] = 1 end for i = 1, 70000 do f(i * 131071) end" },
  { M | T | E, "local t = setmetatable({}, { __index = function(t, k) return k end }) for i = 1, 70000 do t[i * 131071.0] = t[i] end" },
  { M | T, "while true do pcall(function() local t = {} for i = 1, 70000 do t[i * 131071] = 1 end end) end" },
};

static const struct attempt metatables[] = {
  { E, "local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x" },
  { E, "local a, b = {}, {} setmetatable(a, { __index = b }) setmetatable(b, { __index = a }) return a.x" },
  { E | M, "local t = setmetatable({}, { __index = function(t, k) return t[k] end }) return t.x" },
  { T, "local t = setmetatable({}, { __index = function() while true do end end }) return t.x" },
  { T, "local t = setmetatable({}, { __newindex = function() while true do end end }) t.x = 1" },
  { T, "local t = setmetatable({}, { __eq = function() while true do end end }) return t == setmetatable({}, getmetatable(t))" },
  { T, "local t = setmetatable({}, { __lt = function() while true do end end }) return t < t" },
  { T, "local t = setmetatable({}, { __le = function() while true do end end }) return t <= t" },
  { T, "local t = setmetatable({}, { __concat = function() while true do end end }) return t .. t" },
  { T, "local t = setmetatable({}, { __len = function() while true do end end }) return #t" },
  { T, "local t = setmetatable({}, { __len = function() while true do end end }) return table.unpack(t)" },
  { T, "local t = setmetatable({}, { __call = function() while true do end end }) return t()" },
  { T, "local t = setmetatable({}, { __unm = function() while true do end end }) return -t" },
  { T, "local t = setmetatable({}, { __pairs = function() while true do end end }) pairs(t)" },
  { T, "local t = setmetatable({}, { __tostring = function() while true do end end }) return tostring(t)" },
  { T, "local t = setmetatable({}, { __tostring = function() while true do end end }) return string.format('%s', t)" },
  { T, "local t = setmetatable({}, { __tostring = function() while true do end end }) print(t)" },
  { T, "local t = setmetatable({}, { __add = function() while true do end end }) return '1' + t" },
  { E, "local t = setmetatable({}, { __name = ('x'):rep(1e6) }) return t + 1" },
  { E, "local t = setmetatable({}, { __name = ('x'):rep(1e6) }) string.rep(t)" },
  { E, "setmetatable({}, { __gc = function() while true do end end })" },
  { E, "local m = {} while true do local t = setmetatable({}, m) m.__gc = function() while true do end end end" },
  { T, "do local x <close> = setmetatable({}, { __close = function() while true do end end }) end" },
  { E, "local x <close> = setmetatable({}, { __close = function() while true do end end }) error('x')" },
  { E, "local x <close> = setmetatable({}, { __close = function() error('y') end }) error('x')" },
  { T, "local c = setmetatable({}, { __close = function() while true do end end }) local x <close>, y = c while true do end" },
  { T, "local c = setmetatable({}, { __close = function() while true do end end }) for a in print, nil, nil, c do break end" },
  { T, "while true do pcall(function() local x <close> = setmetatable({}, { __close = function() while true do end end }) error(1) end) end" },
  { T, "local c = setmetatable({}, { __close = function(x) local y <close> = x end }) local z <close> = c while true do end" },
  { E | M, "local c c = setmetatable({}, { __close = function() local y <close> = c end }) local z <close> = c" },
};

static const struct attempt recursions[] = {
  { E | M, "local function f() return 1 + f() end f()" },
  { E | M, "local function f() f() end f()" },
  { T | M, "local function f(...) return f(1, ...) end f()" },
  { E, "local function f() table.sort({ 1, 2, 3 }, f) end f()" },
  { E, "local function f() string.gsub('a', 'a', f) end f()" },
  { E, "local t t = setmetatable({}, { __tostring = function() return tostring(t) end }) return tostring(t)" },
  { E | M | T, "local t t = setmetatable({}, { __concat = function(a, b) return a .. b end }) return t .. 'x'" },
  { E | M | T, "local t t = setmetatable({}, { __eq = function(a, b) return a == b end }) return t == setmetatable({}, getmetatable(t))" },
  { E | M | T, "local function f() return pcall(f) end f() while true do end" },
  { E | M | T, "local function f(n) pcall(f, n + 1) error(n) end f(1)" },
  { M | T, "local c = setmetatable({}, { __close = function() while true do end end })"
           " local function f() local a <close>, b = c local d <close> = c return 1 + f() end pcall(f) while true do end" },
  { E | M | T, "local c = setmetatable({}, { __close = function() end }) local n = 0"
           " local function f() n = n + 1 local a <close> = c if n > 50000 then while true do end end return 1 + f() end f()" },
  { E | M | T, "local c = setmetatable({}, { __close = function() while true do end end }) local n = 0"
           " table.sort({ 1, 2 }, function() local function f() n = n + 1 local a <close> = c if n > 20000 then while true do end end return 1 + f() end f() end)" },
};

static double slowest;

static void try(struct vm *vm, const struct attempt *a) {
  double best = 1e9;
  for (int i = 0; i < ATTEMPTS && best > MOST_MS * SLOWER; i++) {    /* others may hold the processor */
    double from = cpu_ms();
    enum vm_result result = run(vm, a->text);
    double took = cpu_ms() - from;
    if (took < best) best = took;
    unsigned ends = a->ends == OK ? OK : SLOWER > 1 ? T | E | M | (a->ends & OK) : a->ends | T;
    if (!(ends & 1u << result)) fail_msg("%s: ended as %d: %s", a->text, result, told(vm) ? told(vm) : "");
    if (result != VM_OK && lua_type(vm_state(vm), -1) != LUA_TSTRING) fail_msg("%s: no message", a->text);
    if (result != VM_OK) assert_int_equal(lua_gettop(vm_state(vm)), 1);
    expect_text(vm, "local t = {} for i = 1, 100 do t[i] = 'x' .. i end return table.concat(t):match('x50x51')", "x50x51");
  }
  if (best > MOST_MS * SLOWER) fail_msg("%s: %.1f ms", a->text, best);
  if (best > slowest) slowest = best;
  if (getenv("TELL")) print_message("%6.2f ms %7zu bytes  %.90s\n", best, vm_memory(vm), a->text);
}

#define TEST(list) \
  static void test_##list(void **state) { \
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) try(*state, &list[i]); \
  }
TEST(loops)
TEST(swallowers)
TEST(patterns)
TEST(library)
TEST(memory)
TEST(collisions)
TEST(metatables)
TEST(recursions)

/* The most that one table can hold the thread up, past its clock. */
static void test_worst_table(void **state) {
  double best = 1e9;
  for (int i = 0; i < ATTEMPTS && best > 60 * SLOWER; i++) {
    double from = cpu_ms();
    run(*state, "local t = {} for i = 1, 70000 do t[i * 8191] = 1 end");
    if (cpu_ms() - from < best) best = cpu_ms() - from;
  }
  if (best > 60 * SLOWER) fail_msg("%.1f ms", best);
}

static void test_large_tables_of_a_file(void **state) {
  struct vm *vm = *state;
  vm_set_call_ms(vm, 1000 * SLOWER);
  expect_text(vm, "local t = {} for i = 1, 30000 do t['k' .. i] = i end return t.k30000", "30000");
  vm_set_call_ms(vm, 5 * SLOWER);
  assert_int_equal(run(vm, "local t = {} for i = 1, 9000 do t[-i] = i end"), VM_MEMORY);
  assert_non_null(strstr(told(vm), "test.lua:1: a table grew over 8192 fields"));
  expect_text(vm, "local t = {} for i = 1, 8192 do t[-i] = i end return t[-8192]", "8192");
  expect_text(vm, "return #('x'):rep(24 * 16384)", "393216");
  expect_text(vm, "local t = {} for i = 1, 20000 do t[i] = i end return #t", "20000");
}

static void test_slowest(void **state) {
  (void)state;
  print_message("slowest end: %.1f ms of CPU time\n", slowest);
  assert_true(slowest > 1);
}

int main(void) {
  log_set_level(LOG_OFF);
  vm_thread_enter();
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_loops), cmocka_unit_test(test_swallowers), cmocka_unit_test(test_patterns), cmocka_unit_test(test_library),
    cmocka_unit_test(test_memory), cmocka_unit_test(test_collisions), cmocka_unit_test(test_worst_table),
    cmocka_unit_test(test_large_tables_of_a_file), cmocka_unit_test(test_metatables), cmocka_unit_test(test_recursions), cmocka_unit_test(test_slowest),
  };
  return cmocka_run_group_tests(tests, vm_setup, vm_teardown);
}
