#include "room.h"

#include <limits.h>
#include <lualib.h>

/* The string library but for patterns (search.c). The functions that do the work are Lua's own; before they run, they
   are charged for what they will touch. */

static size_t length(lua_State *L, int arg) {
  return lua_type(L, arg) == LUA_TSTRING ? lua_rawlen(L, arg) : 0;
}

/* Functions that look at each byte of their first argument. */
static int each_byte(lua_State *L) {
  vm_spend(L, 4 + length(L, 1) / 4);
  return stock_call(L);
}

/* Functions that make one value of each argument or result. */
static int char_of(lua_State *L) {
  vm_spend(L, 4 + 2 * (uint64_t)lua_gettop(L));
  return stock_call(L);
}

static int byte_of(lua_State *L) {
  int count = stock_call(L);
  vm_spend(L, 4 + 2 * (uint64_t)count);
  return count;
}

static int sub(lua_State *L) {
  int count = stock_call(L);
  vm_spend(L, 4 + lua_rawlen(L, -1) / 32);
  return count;
}

/* One copy is made, and then what is there is doubled. */
static int rep(lua_State *L) {
  struct span text, between;
  luaL_Buffer b;
  text.p = luaL_checklstring(L, 1, &text.n);
  lua_Integer times = luaL_checkinteger(L, 2);
  between.p = luaL_optlstring(L, 3, "", &between.n);
  size_t one = text.n + between.n;
  if (times <= 0 || one == 0) return lua_pushliteral(L, ""), 1;
  if (one > (size_t)(INT_MAX / times)) return luaL_error(L, "resulting string too large");
  size_t all = one * (size_t)times - between.n, have = one;
  vm_spend(L, 4 + all / 32);
  char *p = luaL_buffinitsize(L, &b, all + between.n);
  memcpy(p, text.p, text.n);
  memcpy(p + text.n, between.p, between.n);
  for (size_t n; have < all; have += n) {
    n = have < all - have ? have : all - have;
    memcpy(p + have, p, n);
  }
  luaL_pushresultsize(&b, all);
  return 1;
}

/* ---- format */
static uint64_t conversion_cost(lua_State *L, char c, int arg) {
  switch (c) {
    case 'a': case 'A': case 'e': case 'E': case 'f': case 'g': case 'G': return 1000;
    case 's': return 20 + length(L, arg) / 16;
    case 'q': return 20 + length(L, arg);
    default: return 60;
  }
}

static int format(lua_State *L) {
  struct span text;
  text.p = luaL_checklstring(L, 1, &text.n);
  vm_spend(L, 4 + text.n);
  int arg = 1, top = lua_gettop(L);
  for (size_t i = 0; i < text.n; i++) {
    if (text.p[i] != '%' || text.p[++i] == '%') continue;
    i += strspn(text.p + i, "-+ #0123456789.");
    if (++arg > top) break;                        /* which the function below will say */
    if (text.p[i] == 'p') return luaL_error(L, "invalid conversion '%%p' to 'format': addresses are not shown");
    if (text.p[i] == 's' && !lua_isstring(L, arg)) {
      size_t n;
      vm_tostring_push(L, arg, &n);
      lua_replace(L, arg);
    }
    vm_spend(L, conversion_cost(L, text.p[i], arg));
  }
  return stock_call(L);
}

/* ---- pack, packsize, unpack: a format may ask for many bytes by numbers alone ("c1000000") */
static void pack_spend(lua_State *L) {
  size_t n;
  const char *p = luaL_checklstring(L, 1, &n);
  uint64_t bytes = 0, number = 0;
  vm_spend(L, 4 + n);
  for (size_t i = 0; i < n; i++) {
    bool digit = p[i] >= '0' && p[i] <= '9';
    if (digit && number < UINT32_MAX) number = number * 10 + (uint64_t)(p[i] - '0');
    if (digit && i + 1 < n) continue;
    bytes += number;
    number = 0;
  }
  vm_spend(L, 10 * n + bytes / 4);
}

static int pack(lua_State *L) {
  uint64_t bytes = 0;
  pack_spend(L);
  for (int i = lua_gettop(L); i > 1; i--) bytes += length(L, i);
  vm_spend(L, bytes / 16);
  return stock_call(L);
}

static int unpack(lua_State *L) {
  pack_spend(L);
  int count = stock_call(L);
  for (int i = 1; i < count; i++)
    if (lua_type(L, -i) == LUA_TSTRING) vm_spend(L, lua_rawlen(L, -i) / 32);
  return count;
}

static int packsize(lua_State *L) {
  pack_spend(L);
  return stock_call(L);
}

void library_string(lua_State *L) {
  static const struct wrapped list[] = {
    { "byte", byte_of }, { "char", char_of }, { "format", format }, { "lower", each_byte }, { "pack", pack },
    { "packsize", packsize }, { "reverse", each_byte }, { "sub", sub }, { "unpack", unpack }, { "upper", each_byte }, { NULL, NULL }
  };
  static const luaL_Reg own[] = {
    { "find", pattern_find }, { "gmatch", pattern_gmatch }, { "gsub", pattern_gsub }, { "match", pattern_match }, { "rep", rep },
    { NULL, NULL }
  };
  static const char *const as_they_are[] = { "len", NULL };
  lua_pushcfunction(L, luaopen_string);
  lua_call(L, 0, 1);
  lua_newtable(L);
  names_wrap(L, list);
  names_copy(L, as_they_are);
  luaL_setfuncs(L, own, 0);
  lua_remove(L, -2);
  lua_pushliteral(L, "");                          /* the metatable that luaopen_string gave to strings, for arithmetic */
  require(lua_getmetatable(L, -1));
  lua_pushvalue(L, -3);
  lua_setfield(L, -2, "__index");
  lua_pushboolean(L, false);
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 2);
}
