#include "room.h"

#include <lualib.h>

/* The utf8 library: Lua's own functions, charged by the bytes they pass. */

static int by_arguments(lua_State *L) {
  vm_spend(L, 4 + 20 * (uint64_t)lua_gettop(L));
  return stock_call(L);
}

static int by_results(lua_State *L) {
  int count = stock_call(L);
  vm_spend(L, 4 + 4 * (uint64_t)count);
  return count;
}

static size_t length(lua_State *L, int arg) {
  return lua_type(L, arg) == LUA_TSTRING ? lua_rawlen(L, arg) : 0;
}

/* len and codes look at all of the text at most. */
static int by_text(lua_State *L) {
  vm_spend(L, 4 + length(L, 1) / 2);
  return stock_call(L);
}

/* It moves from its third argument on, or from one end. */
static int offset(lua_State *L) {
  lua_Integer count = lua_isinteger(L, 2) ? lua_tointeger(L, 2) : 0, n = (lua_Integer)length(L, 1);
  lua_Integer from = lua_isinteger(L, 3) ? lua_tointeger(L, 3) : count > 0 ? 1 : n + 1;
  int results = stock_call(L);
  lua_Integer to = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : count > 0 ? n : 1;
  if (from < 0) from += n + 1;
  vm_spend(L, 4 + (uint64_t)(to > from ? to - from : from - to) / 2);
  return results;
}

void library_utf8(lua_State *L) {
  static const struct wrapped list[] = {
    { "char", by_arguments }, { "codepoint", by_results }, { "codes", by_text }, { "len", by_text }, { "offset", offset }, { NULL, NULL }
  };
  static const char *const as_they_are[] = { "charpattern", NULL };
  lua_pushcfunction(L, luaopen_utf8);
  lua_call(L, 0, 1);
  lua_newtable(L);
  names_wrap(L, list);
  names_copy(L, as_they_are);
  lua_remove(L, -2);
}
