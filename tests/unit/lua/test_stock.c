#include "scene.h"
#include <stdio.h>

#include <lualib.h>

/* The same text in Lua's own state and in ours: same results, same errors. What is meant to differ is in test_sandbox. */

static const char *const texts[] = {
  /* the language */
  "return 1 // 0.0, -1 // 0.0, 7 // 2, -7 // 2, 7 % -3, -7 % 3, 7.5 % -2, 2^10, 7 / 2", "return 1 // 0", "return 1 % 0", "return 1 < '2'",
  "return '10' + 5, '0x10' * 2, '3' // 2, -'2', '7' % 4, 2 ^ '3', '10' / 4, '1e1' - 1", "return 'a' + 1", "return {} + '1'", "return '1' + {}",
  "return '3' | 4, '0xff' & 15, '1' << 3, ~'0'", "return '1.5' | 1", "return 1.5 | 1", "return 'a' .. 1 .. 2.0 .. -0.0", "return 1 .. {}",
  "return #'abc', #{ 1, 2, 3 }", "return #5", "local a <const> = 5 return a", "goto done do return 1 end ::done:: return 2",
  "local t = setmetatable({}, { __index = function(t, k) return k .. '!' end, __newindex = function(t, k, v) rawset(t, k, v + 1) end }) t.x = 1 return t.x, t.y",
  "local log = {} do local a <close> = setmetatable({}, { __close = function(_, e) log[#log + 1] = tostring(e) end }) end return log",
  "local log = {} pcall(function() local a <close> = setmetatable({}, { __close = function(_, e) log[#log + 1] = e end }) error('x', 0) end) return log",
  "return pcall(function() local a <close> = setmetatable({}, { __close = function() error('second', 0) end }) error('first', 0) end)",
  "local x <close> = 5", "return (function(...) return select('#', ...), ... end)(nil, nil)", "return math.maxinteger + 1 == math.mininteger",
  "return 1e15, 1e16, 123456789012345678, 0.1, 1/3, -1e-300, 2^53, 2^63, math.pi, 1e308 * 10, -1e308 * 10", "return 0x7fffffffffffffff, 0xffffffffffffffff, 0x1p4",
  "return 'a' < 'b', 'a' < 'B', '' < 'a', 'a\\0b' < 'a\\0c', 'Z' < 'a'", "return 1 == 1.0, '1' == 1, 0.0 == -0.0, 0/0 == 0/0",
  "local a, b, c = (function() return 1, 2, 3 end)() return a, b, c", "for i = 3, 1 do return i end return 'none'", "for i = 1, 2, 0 do end",
  "local s = 0 for i = 10, 1, -3 do s = s + i end return s", "for i = 1.0, 2 do return i end", "for i = 'a', 2 do end", "error('at level', 2)", "error('none', 0)", "error()",
  "error({ 1, 2 })", "local t = nil; t.x = 1", "local t = {} t[nil] = 1", "local t = {} t[0/0] = 1", "undefined.x = 1", "undefined()", "('x')()", "return ('x').y.z",
  "local function f() error('inner') end f()", "string.rep()", "('x'):rep({})", "('x'):bad()", "return #undefined", "return -{}", "return {} < {}", "return {} < 1", "return {} == {}",
  /* basic functions */
  "return assert(1, 2, 3)", "assert(false)", "assert(nil, 'told')", "assert(false, { 1 })", "assert()", "return select(2, 'a', 'b', 'c')", "return select(-1, 'a', 'b')", "select(0)",
  "return select('#')", "return type(nil), type(type), type({}), type('')", "type()", "return tonumber('0x1p4'), tonumber(' 10 '), tonumber('10a'), tonumber('1e'), tonumber('')",
  "return tonumber('ff', 16), tonumber('zz', 36), tonumber('8', 8), tonumber('-7', 8), tonumber(' 11 ', 2)", "return tonumber('1', 99)", "return tonumber(5, 10)", "tonumber()",
  "return tonumber('1e1'), tonumber('0x'), tonumber('1 2'), tonumber('nan'), tonumber('inf'), tonumber('\\0')", "return tonumber({}), tonumber(nil)",
  "return rawequal('a', 'a'), rawequal({}, {}), rawlen({ 1, 2 }), rawlen('abc'), rawget({ 5 }, 1)", "rawlen(5)", "rawget(5, 1)", "rawset({}, 1)", "return rawset({}, 1, 2)", "rawset({}, nil, 1)",
  "return getmetatable({}), getmetatable(setmetatable({}, { __metatable = 5 }))", "setmetatable({})", "setmetatable({}, 5)", "setmetatable(5, {})",
  "return tostring(1), tostring(1.5), tostring(nil), tostring(true), tostring('x'), tostring(-0.0), tostring(1e100), tostring(2^31)",
  "return pcall(error, 'x'), pcall(error)", "return pcall(pcall)", "return pcall(pcall, error, 5)", "return xpcall(error, function(m) return m, 2 end, 'x')", "return xpcall(error, type, nil)",
  "return xpcall(function(...) return ... end, print, 1, nil, 3)", "return pcall(function() return pcall(error, 'in') end)", "return pcall(5)", "return ipairs({})",
  "local o = {} for i, v in ipairs({ 1, 2, nil, 4 }) do o[#o + 1] = v end return o", "local o = {} for i, v in ipairs(setmetatable({}, { __index = function(_, i) if i < 4 then return i * i end end })) do o[i] = v end return o",
  "ipairs()", "return next == nil or true", "return _VERSION", "return pcall(ipairs, nil)",
  /* string */
  "return ('abc'):byte(), ('abc'):byte(2, 3), ('abc'):byte(-1), ('abc'):byte(10), ('abc'):byte(0, 9)", "return string.char(), string.char(97, 98, 0, 255)", "string.char(256)", "string.char(-1)",
  "return ('hello'):sub(2), ('hello'):sub(-3), ('hello'):sub(2, -2), ('hello'):sub(0), ('hello'):sub(10), ('hello'):sub(-100, 2), ('hello'):sub(3, 2)", "return ('hello'):sub(math.mininteger, math.maxinteger)",
  "return ('x'):rep(0), ('x'):rep(-1), ('x'):rep(3), ('ab'):rep(3, ','), ('x'):rep(1, ','), (''):rep(5, '-'), (''):rep(0), ('ab'):rep(7), ('a'):rep(2, 'bcd')", "return ('x'):rep(1e15)", "return ('x'):rep(1.5)", "return ('abc'):rep('2')",
  "return ('abc'):reverse(), (''):reverse(), ('AbC'):lower(), ('AbC'):upper(), ('\\xe4'):upper(), ('abc'):len()", "return (5):rep(2)", "return string.upper(12), string.len(1.5), string.reverse(123)",
  "return ('%d %5d %-5d| %05d %+d %x %X %o %i'):format(1, 2, 3, 4, 5, 255, 255, 8, 7)", "return ('%s %10s %-10s| %.2s %q'):format('a', 'b', 'c', 'defg', 'h\\n\\0\\r\"\\\\')", "return ('%g %f %.3f %e %a %G'):format(1.5, 2.5, 1/3, 1e10, 1.0, 1e-10)",
  "return ('%c%c'):format(65, 0), ('%%'):format()", "return ('%q %q %q %q'):format(1, 1.5, true, nil)", "return ('%q'):format(1/0)", "return ('%q'):format(math.mininteger)", "return ('%q'):format({})", "return ('%5q'):format('x')", "return ('%d'):format('10')", "return ('%d'):format(1.5)", "return ('%d'):format('x')",
  "return ('%d'):format(3.0)", "return ('%s'):format()", "return ('%y'):format(1)", "return ('%'):format(1)", "return ('%123d'):format(1)", "return ('%.123f'):format(1)", "return ('%0000000000000000000000d'):format(1)", "return ('%s %s'):format(nil, true)", "return ('%5s|%-5s|%.1s'):format(true, nil, 12.5)",
  "return ('%s'):format(setmetatable({}, { __tostring = function() return 'mine' end }))", "return ('%20s'):format('a\\0b')", "return ('%s'):format('a\\0b')", "return ('%i'):format(-5)", "return ('%5.2s|'):format('abc')", "return ('%s'):format(('x'):rep(200)), ('%150s'):format('x')", "return ('%99d'):format(7), ('%.99f'):format(1/3), ('%99.99f'):format(-1e308)",
  "return ('%#x %#o % d'):format(255, 8, 5)", "return ('%'):rep(3):format()", "return ('%-+ #0d'):format(3)", "return ('%x'):format(-1)",
  "return string.pack('<i4 >i2 z s1 d', 1, 2, 'abc', 'de', 1.5)", "return string.unpack('<i4', '\\1\\0\\0\\0')", "return string.unpack('<i2 z B', '\\1\\0ab\\0\\7')", "return string.packsize('<i4 i8 !8 d'), string.packsize('c10')", "string.pack('i17', 1)", "string.unpack('i4', 'abc')", "string.pack('z', 'a\\0b')",
  "return string.pack('i1', 127), string.pack('B', 255), string.pack('j', -1), string.pack('n', 0.5), string.pack('<I3', 70000), string.pack('!4 i1 Xi4 i4', 1, 2)", "string.pack('i1', 200)", "return string.unpack('<s2', '\\3\\0abcd')", "return string.pack('c5', 'abc')", "string.pack('c2', 'abc')", "return string.unpack('c0', '')", "string.packsize('z')", "return string.unpack('B', 'abc', -1)", "string.unpack('B', 'abc', 5)", "string.pack('q', 1)",
  "return string.pack('f d n', 1.5, '2.5', 3), string.pack('i4', '7'), string.pack('i8', 3.0)", "return string.pack('i4', 'x')", "return string.pack('i4')", "return string.pack('s4', 12)",
  /* patterns; more of them in the fuzzer */
  "return ('hello world'):find('o w'), ('hello'):find('l+'), ('hello'):find('xyz'), ('hello'):find(''), ('hello'):find('', 10), ('hello'):find('', 6)", "return ('a.b'):find('.', 1, true), ('a.b'):find('%.'), ('a.b'):find('b', -1)",
  "return ('key = value'):match('^(%w+)%s*=%s*(%w+)$')", "return ('2024-01-31'):match('(%d+)-(%d+)-(%d+)')", "return ('  x  '):match('^%s*(.-)%s*$')", "return ('f(a(b)c)d'):match('%b()')", "return ('THE (quick) fox'):find('%f[%a]%a+%f[%A]', 5)", "return ('abab'):match('(ab)%1')", "return ('x'):match('()')", "return ('abc'):match('()b()')",
  "local o = {} for k, v in ('a=1, b=2'):gmatch('(%w+)=(%w+)') do o[#o + 1] = k .. v end return o", "local o = {} for w in ('one two'):gmatch('%a+') do o[#o + 1] = w end return o", "local o = {} for p in ('abc'):gmatch('()') do o[#o + 1] = p end return o", "local o = {} for w in ('abc'):gmatch('.', 2) do o[#o + 1] = w end return o", "local o = {} for w in ('abc'):gmatch('.', -1) do o[#o + 1] = w end return o", "local o = {} for w in ('abc'):gmatch('x*', 9) do o[#o + 1] = w end return o",
  "return ('hello'):gsub('l', 'L'), ('hello'):gsub('l', 'L', 1), ('hello'):gsub('', '-'), ('hello'):gsub('x', 'y')", "return ('hello world'):gsub('(%w+) (%w+)', '%2 %1')", "return ('abc'):gsub('%w', '%0%0'), ('abc'):gsub('%w', '%%')", "return ('$name is $x'):gsub('%$(%w+)', { name = 'bob' })", "return ('abc'):gsub('.', function(c) if c == 'b' then return 'X' end end)", "return ('abc'):gsub('.', function() return false end)", "return ('abc'):gsub('.', function() return {} end)", "return ('abc'):gsub('.', { a = 1, b = true })", "return ('abc'):gsub('.', { a = 1.5 })",
  "return ('abc'):gsub('(.)', '%2')", "return ('abc'):gsub('.', '%')", "return ('abc'):gsub('.', '%x')", "return ('abc'):gsub('.', 5)", "return ('abc'):gsub('.', nil)", "return ('abc'):gsub('.')", "return ('abc'):gsub('.', 'x', 0)", "return ('abc'):gsub('.', 'x', -1)", "return ('abc'):gsub('b*', '-')", "return ('abc'):gsub('()', '%1')", "return ('abc'):gsub('(a)(b)', '%1%2%0')",
  "return ('x'):find('['), 1", "return ('x'):find('%'), 1", "return ('x'):find('(x'), 1", "return ('x'):find('x)'), 1", "return ('x'):find('%1'), 1", "return ('x'):find('%f'), 1", "return ('x'):find('%b'), 1", "return ('x'):find('%bx'), 1", "return ('x'):find(('('):rep(33)), 1", "return ('x'):find(('a?'):rep(300)), 1", "return ('a'):rep(400):find(('a?'):rep(300)), 1", "return ('a'):rep(400):find(('a-'):rep(300) .. 'b'), 1",
  "return ('a-b'):find('[a%-]+'), ('a]b'):find('[]]'), ('a^b'):find('[b^]'), ('a-z'):find('[a-]+'), ('x'):find('[^%s]')", "return ('\\0a\\0'):find('%z'), ('\\0a'):find('[%z]a'), ('a\\0b'):match('a%Zb'), ('a\\0b'):find('\\0')", "return ('caf\\xc3\\xa9'):find('[\\x80-\\xff]+')", "return (12345):find(3), (12.5):match('%d+')", "return ('x'):find(nil)", "return string.find('x')", "return ('abc'):find('b', 1, 'yes')", "return ('^a'):find('^^a'), ('a$'):find('a$$'), ('a$b'):find('$b')", "return ('+'):find('+'), ('*a'):find('*a'), ('?'):find('^?')",
  /* table */
  "local t = { 1, 2, 3 } table.insert(t, 4) table.insert(t, 1, 0) return t", "table.insert({ 1 }, 5, 2)", "table.insert({ 1 })", "table.insert({}, 1, 2, 3)", "table.insert(nil, 1)", "table.insert({}, 'x', 1)", "table.insert({ 1 }, 0, 2)",
  "local t = { 1, 2, 3 } return table.remove(t), table.remove(t, 1), t", "return table.remove({})", "local t = { 1, 2 } return table.remove(t, 3), t", "return table.remove({}, 0)", "local t = { [0] = 'z' } return table.remove(t, 0), t[0]", "return table.remove({ 1 }, 1.5)",
  "return table.concat({ 1, 2, 3 }), table.concat({ 'a', 'b' }, ', '), table.concat({}, 'x'), table.concat({ 1, 2, 3 }, '-', 2), table.concat({ 1, 2, 3 }, '-', 2, 2), table.concat({ 1 }, '', 2), table.concat({ 1.5, -0.0 }, ' ')", "table.concat({ 1, {} })", "table.concat({ 1, nil, 3 }, ',', 1, 3)", "table.concat({}, {})", "table.concat(5)",
  "return table.concat(setmetatable({}, { __index = function(_, i) return i end, __len = function() return 5 end }), ' ')", "return table.unpack({ 1, 2, 3 })", "return table.unpack({ 1, 2, 3 }, 2), table.unpack({ 1, 2, 3 }, 2, 5)", "return table.unpack({}, 1, 0)", "table.unpack({}, 1, 1e7)", "table.unpack()", "return table.unpack('abc', 1, 2)", "return (table.pack()).n, table.pack(1, nil, 3)", "table.unpack({}, math.mininteger, math.maxinteger)",
  "return table.move({ 1, 2, 3 }, 1, 3, 2), table.move({ 1, 2, 3 }, 2, 3, 1), table.move({ 1, 2, 3 }, 1, 3, 1, {}), table.move({ 1 }, 1, 0, 5)", "table.move({}, 1, math.maxinteger, 2)", "table.move({}, math.mininteger, 0, 1)", "table.move({}, 1, 2)", "table.move(1, 1, 2, 3)", "table.move({}, 1, 2, math.maxinteger)",
  "local t = { 3, 1, 2 } table.sort(t) return t", "local t = { 3, 1, 2 } table.sort(t, function(a, b) return a > b end) return t", "local t = { 'b', 'a', 'C' } table.sort(t) return t", "table.sort({ 1, 'a' })", "table.sort({ {}, {} })", "table.sort({ 1, 2 }, 5)", "table.sort(5)", "local t = {} table.sort(t) return t", "table.sort({ 3, 1, 2, 5, 4 }, function() return true end)", "table.sort({ 1, nil, 3 })",
  /* math */
  "return math.floor(1.5), math.floor(-1.5), math.ceil(1.5), math.floor(2^70), math.abs(-3), math.abs(math.mininteger), math.max(1, 2.5), math.min(3, 1, 2)", "math.max()", "math.floor('x')", "return math.fmod(7, 3), math.fmod(-7, 3), math.fmod(7, 3.5)", "math.fmod(1, 0)", "return math.modf(3.7), math.modf(-3.7), math.modf(1/0)", "return math.sqrt(2), math.exp(1), math.log(8, 2), math.log(100, 10), math.log(2.718)", "return math.tointeger(3.0), math.tointeger(3.5), math.tointeger('8'), math.tointeger({})", "return math.type(1), math.type(1.0), math.type('1')", "math.type()", "return math.ult(1, -1)", "return math.sin(1), math.cos(1), math.tan(1), math.asin(1), math.acos(1), math.atan(1, 2), math.deg(1), math.rad(180)", "return math.huge, -math.huge, math.pi, math.maxinteger, math.mininteger",
  /* utf8 */
  "return utf8.char(), utf8.char(72, 228, 8364, 128512)", "utf8.char(-1)", "return utf8.len('h\\u{e4}\\u{20ac}'), utf8.len('\\xff'), utf8.len('abc', 2), utf8.len('abc', 4), utf8.len('abc', -1)", "utf8.len('abc', 10)", "utf8.len(nil)", "return utf8.codepoint('h\\u{20ac}', 1, -1)", "utf8.codepoint('\\xff')", "return utf8.codepoint('abc', 2)", "utf8.codepoint('abc', 9)", "return utf8.offset('h\\u{20ac}x', 3), utf8.offset('h\\u{20ac}x', -1), utf8.offset('abc', 5), utf8.offset('abc', 0, 2), utf8.offset('h\\u{20ac}', 0, 3)", "utf8.offset('\\u{20ac}', 1, 2)", "utf8.offset('abc', 1, 9)", "utf8.offset({}, 1)", "utf8.offset('abc')", "local o = {} for p, c in utf8.codes('h\\u{20ac}x') do o[#o + 1] = p .. ':' .. c end return o", "for p in utf8.codes('\\xff') do end", "return utf8.charpattern", "utf8.codes()", "return utf8.len('\\u{7fffffff}', 1, -1, true), utf8.len('\\u{7fffffff}')", "local o = {} for c in ('h\\u{20ac}'):gmatch(utf8.charpattern) do o[#o + 1] = c end return o",
  /* many at once, from a sequence of numbers that is the same on both sides */
#define NUMBERS "local seed = 7 local function num(n) seed = (seed * 1103515245 + 12345) % 2147483648 return (seed >> 8) % n end local o = {} "
  NUMBERS "for round = 1, 60 do local t = {} for i = 1, num(150) do t[i] = num(40) end table.sort(t) o[#o + 1] = table.concat(t, ' ') end return o",
  NUMBERS "for round = 1, 60 do local t = {} for i = 1, num(90) do t[i] = { num(6), i } end table.sort(t, function(a, b) return a[1] < b[1] end) for i, v in ipairs(t) do o[#o + 1] = v[2] end end return table.concat(o, ' ')",
  NUMBERS "for round = 1, 200 do local t = {} for i = 1, num(12) do t[i] = num(9) end local ok, e = pcall(table.sort, t, function(a, b) return num(2) == 0 end) o[#o + 1] = tostring(ok) .. tostring(e) .. table.concat(t, ' ') end return o",
  NUMBERS "local s = 'abcdefghij' for i = 1, 500 do local a, b = num(30) - 15, num(30) - 15 o[#o + 1] = s:sub(a, b) .. table.concat({ s:byte(a, b) }, ',') end return o",
  NUMBERS "for i = 1, 300 do local t = {} for k = 1, num(6) do t[k] = k end local a, b, c = num(8) - 1, num(8) - 1, num(8) - 1 o[#o + 1] = tostring(pcall(table.insert, t, a, 'x')) .. tostring(pcall(table.remove, t, b)) .. tostring(pcall(table.move, t, a, b, c)) for k = -3, 15 do o[#o + 1] = tostring(t[k]) end end return table.concat(o, ' ')",
  NUMBERS "local p = { 'a', 'b', '.', '%a', '[ab]', '[^a]', '%d', 'c' } local q = { '', '', '*', '+', '-', '?' } local s = 'abcab1cabbaacb' for i = 1, 1500 do local x = '' for k = 1, 1 + num(4) do local y = p[1 + num(#p)] .. q[1 + num(#q)] if num(3) == 0 then y = '(' .. y .. ')' end x = x .. y end"
          " o[#o + 1] = x .. ' ' .. table.concat({ s:find(x) }, ',') .. ' ' .. s:gsub(x, '<%0>') .. ' ' .. table.concat({ s:match(x, num(10)) }, ';') end return o",
  NUMBERS "local f = { '%5d', '%-8x', '%03d', '%+i', '%o', '%X', '%c', '%5.1f', '%g', '%e', '%.0f', '%a' } for i = 1, 500 do o[#o + 1] = f[1 + num(#f)]:format(num(200)) end return o",
  NUMBERS "for i = 1, 300 do local a, b = (num(2000) - 1000) / (1 + num(7)), num(50) - 25 o[#o + 1] = a .. ' ' .. a % (b + 0.5) .. ' ' .. a // (b + 0.5) .. ' ' .. math.floor(a) .. ' ' .. tostring(a < b) .. (a + b) end return o",
};

/* What a value is, whole. */
static void write_value(lua_State *L, int at, int depth, struct buf *out) {
  size_t n;
  at = lua_absindex(L, at);
  switch (lua_type(L, at)) {
    case LUA_TNUMBER:
      if (lua_isinteger(L, at)) buf_printf(out, "i%lld", (long long)lua_tointeger(L, at));
      else buf_printf(out, "f%a", lua_tonumber(L, at));
      break;
    case LUA_TSTRING: {
      const char *p = lua_tolstring(L, at, &n);
      buf_printf(out, "s%zu:", n);
      buf_add(out, span_of(p, n));
      break;
    }
    case LUA_TBOOLEAN: buf_printf(out, lua_toboolean(L, at) ? "true" : "false"); break;
    case LUA_TTABLE: {
      buf_printf(out, "{");
      for (lua_Integer i = -1; depth < 3 && i <= (lua_Integer)lua_rawlen(L, at) + 1; i++) {
        lua_rawgeti(L, at, i);
        write_value(L, -1, depth + 1, out);
        buf_printf(out, ",");
        lua_pop(L, 1);
      }
      buf_printf(out, "}");
      break;
    }
    default: buf_printf(out, "%s", luaL_typename(L, at));
  }
}

static void write_all(lua_State *L, struct buf *out) {
  for (int i = 1; i <= lua_gettop(L); i++) {
    write_value(L, i, 0, out);
    buf_printf(out, "; ");
  }
  buf_byte(out, 0);
}

/* An error object that is a table has no text on our side. */
static void write_error(lua_State *L, struct buf *out) {
  struct span s = { 0 };
  if (lua_type(L, -1) == LUA_TSTRING) s.p = lua_tolstring(L, -1, &s.n);
  else s = SPAN("(error object is a");
  size_t end = span_search(s, SPAN("\n\t"));
  s.n = end < s.n ? end : s.n;
  if (span_starts(s, SPAN("(error object is a"))) s = SPAN("(error object is a");
  buf_add(out, s);
  buf_byte(out, 0);
}

static void test_same(void **state) {
  struct vm *vm = *state;
  int differing = 0;
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    lua_State *S = luaL_newstate();
    luaL_openlibs(S);
    struct buf ours = { 0 }, theirs = { 0 };
    if (luaL_loadbufferx(S, texts[i], strlen(texts[i]), "@test.lua", "t") == LUA_OK && lua_pcall(S, 0, LUA_MULTRET, 0) == LUA_OK) write_all(S, &theirs);
    else write_error(S, &theirs);
    lua_State *L = vm_state(vm);
    lua_settop(L, 0);
    if (vm_load(L, span_cstr(texts[i]), "test.lua", 0) && vm_call(L, 0, LUA_MULTRET) == VM_OK) write_all(L, &ours);
    else write_error(L, &ours);
    bool same = span_eq(buf_span(&ours), buf_span(&theirs));
    if (!same) print_error("%s\n  ours:   %.3000s\n  theirs: %.3000s\n", texts[i], ours.p, theirs.p);
    differing += !same;
    buf_free(&ours);
    buf_free(&theirs);
    lua_close(S);
  }
  assert_int_equal(differing, 0);
}

static int vm_setup_patient(void **state) {
  struct vm_limits limits = { .call_ms = 5000 };
  struct vm *vm = vm_new(&limits);
  vm_freeze(vm);
  *state = vm;
  return 0;
}

int main(void) {
  log_set_level(LOG_OFF);
  const struct CMUnitTest tests[] = { cmocka_unit_test(test_same) };
  return cmocka_run_group_tests(tests, vm_setup_patient, vm_teardown);
}
