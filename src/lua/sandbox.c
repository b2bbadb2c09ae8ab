#include "room.h"

#include <lualib.h>

/* The allow-list. What stands here is all that Lua code can reach: stock functions that are quick whatever they
   are given are taken as they are, the others are weir's own or are charged before they run. */
static const char *const base_names[] = { "assert", "error", "getmetatable", "ipairs", "rawequal", "select", "tonumber", "type", "_VERSION", NULL };
static const char *const math_names[] = {
  "abs", "acos", "asin", "atan", "ceil", "cos", "deg", "exp", "floor", "fmod", "huge", "log", "max", "maxinteger", "min",
  "mininteger", "modf", "pi", "rad", "sin", "sqrt", "tan", "tointeger", "type", "ult", NULL
};

void names_copy(lua_State *L, const char *const *names) {
  for (; *names; names++) {
    require(lua_getfield(L, -2, *names) != LUA_TNIL);
    lua_setfield(L, -2, *names);
  }
}

void names_wrap(lua_State *L, const struct wrapped *list) {
  for (; list->name; list++) {
    require(lua_getfield(L, -2, list->name) == LUA_TFUNCTION);
    lua_pushcclosure(L, list->f, 1);
    lua_setfield(L, -2, list->name);
  }
}

int stock_call(lua_State *L) { return lua_tocfunction(L, lua_upvalueindex(1))(L); }

void library_math(lua_State *L) {
  lua_pushcfunction(L, luaopen_math);
  lua_call(L, 0, 1);
  lua_newtable(L);
  names_copy(L, math_names);
  lua_remove(L, -2);
}

/* Metamethods are looked up by the interned names that the state made when it was born. Once the bytes of one of them
   are changed in place, no text that Lua code can write is that name any more. There is no other way to have no weak
   tables: what is in them depends on the collector, so decisions could not be re-run, and a chain of them takes
   time by its square in a collection, which nothing can interrupt. */
static void weak_tables_end(lua_State *L) {
  lua_pushliteral(L, "__mode");
  char *name = (char *)(uintptr_t)lua_tostring(L, -1);
  memset(name, '\xff', 6);
  lua_pop(L, 1);
}

/* Where lauxlib looks for the name of a function that it cannot tell from the call. */
static void names_open(lua_State *L) {
  static const char *const libraries[] = { "_G", "string", "table", "math", "utf8", NULL };
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_pushvalue(L, -2);
  lua_insert(L, -2);
  names_copy(L, libraries);
  lua_pop(L, 2);
}

void sandbox_open(lua_State *L) {
  weak_tables_end(L);
  lua_pushcfunction(L, luaopen_base);
  lua_call(L, 0, 1);
  lua_newtable(L);
  names_copy(L, base_names);
  library_base(L);
  library_string(L);
  lua_setfield(L, -2, "string");
  library_table(L);
  lua_setfield(L, -2, "table");
  library_math(L);
  lua_setfield(L, -2, "math");
  library_utf8(L);
  lua_setfield(L, -2, "utf8");
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "_G");
  names_open(L);
  lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
}
