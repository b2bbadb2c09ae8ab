#include "room.h"

/* A frozen table is the table that everybody holds, emptied, with what it held in a table behind it. Reads go there
   by __index, writes are refused by __newindex, and our rawget, rawlen, rawset and pairs know the mark. */
static const char behind_key, environment_key;

bool frozen_push(lua_State *L, int at) {
  if (!lua_istable(L, at) || !lua_getmetatable(L, at)) return false;
  bool frozen = lua_rawgetp(L, -1, &behind_key) == LUA_TTABLE;
  lua_remove(L, -2);
  if (!frozen) lua_pop(L, 1);
  return frozen;
}

static int refuse(lua_State *L) {
  if (lua_type(L, 2) != LUA_TSTRING) return luaL_error(L, "this table is read-only");
  return luaL_error(L, "'%s' cannot be assigned: globals and library tables are read-only", lua_tostring(L, 2));
}

static int length(lua_State *L) {
  if (frozen_push(L, 1)) lua_pushinteger(L, luaL_len(L, -1));
  return 1;
}

/* Moves all of table `from` to the table on the top. */
static void contents_move(lua_State *L, int from) {
  for (lua_pushnil(L); lua_next(L, from);) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, -4);
  }
  for (lua_pushnil(L); lua_next(L, from);) {
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushnil(L);
    lua_rawset(L, from);
  }
}

/* The frozen table keeps the metamethods it had (a table that is called, say). */
static void metatable_make(lua_State *L, int table, int behind) {
  lua_createtable(L, 0, 5);
  if (lua_getmetatable(L, table)) {
    for (lua_pushnil(L); lua_next(L, -2);) {
      lua_pushvalue(L, -2);
      lua_insert(L, -2);
      lua_rawset(L, -5);
    }
    lua_setmetatable(L, behind);
  }
  lua_pushvalue(L, behind);
  lua_setfield(L, -2, "__index");
  lua_pushvalue(L, behind);
  lua_rawsetp(L, -2, &behind_key);
  lua_pushcfunction(L, refuse);
  lua_setfield(L, -2, "__newindex");
  lua_pushcfunction(L, length);
  lua_setfield(L, -2, "__len");
  lua_pushboolean(L, false);
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, table);
}

static void table_freeze(lua_State *L, int table) {
  luaL_checkstack(L, 8, "frozen tables lie too deep in each other");
  if (frozen_push(L, table)) return lua_pop(L, 1);
  lua_newtable(L);
  int behind = lua_gettop(L);
  contents_move(L, table);
  metatable_make(L, table, behind);
  for (lua_pushnil(L); lua_next(L, behind); lua_pop(L, 1))
    if (lua_istable(L, -1)) table_freeze(L, lua_gettop(L));
  lua_pop(L, 1);
}

/* ---- environments: they see the globals and keep their own. All share one metatable. */
static void environment_metatable(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &environment_key) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_createtable(L, 0, 2);
  lua_pushglobaltable(L);
  lua_setfield(L, -2, "__index");
  lua_pushboolean(L, false);
  lua_setfield(L, -2, "__metatable");
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &environment_key);
}

static void environment_push(lua_State *L) {
  lua_newtable(L);
  environment_metatable(L);
  lua_setmetatable(L, -2);
}

/* What lauxlib takes the names of functions from must be the tables that hold them. */
static void names_follow(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    if (!frozen_push(L, -1)) continue;
    lua_pushvalue(L, -3);
    lua_insert(L, -2);
    lua_rawset(L, -5);
  }
  lua_pop(L, 1);
}

static int freeze(lua_State *L) {
  lua_pushglobaltable(L);
  table_freeze(L, 1);
  names_follow(L);
  environment_metatable(L);                        /* environments and the methods of strings are spared one step */
  frozen_push(L, 1);
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, "");
  if (!lua_getmetatable(L, -1)) return 0;
  lua_getfield(L, -1, "__index");
  if (frozen_push(L, -1)) lua_setfield(L, -3, "__index");
  return 0;
}

void vm_freeze(struct vm *vm) {
  if (vm->frozen) return;
  size_t cap = vm_lift(vm);
  lua_pushcfunction(vm->main, freeze);
  lua_call(vm->main, 0, 0);
  vm_unlift(vm, cap);
  vm->frozen = true;
}

struct loading {
  struct span text;
  const char *name;
};

/* Arguments: struct loading, the environment or nil. */
static int load(lua_State *L) {
  struct loading *l = lua_touserdata(L, 1);
  lua_pushfstring(L, "@%s", l->name);
  if (luaL_loadbufferx(L, l->text.p, l->text.n, lua_tostring(L, -1), "t") != LUA_OK) return lua_error(L);
  if (lua_isnil(L, 2)) environment_push(L);
  else lua_pushvalue(L, 2);
  lua_setupvalue(L, -2, 1);
  return 1;
}

bool vm_load(lua_State *L, struct span text, const char *name, int env) {
  struct loading l = { text, name };
  env = env ? lua_absindex(L, env) : 0;
  lua_pushcfunction(L, load);
  lua_pushlightuserdata(L, &l);
  if (env) lua_pushvalue(L, env);
  else lua_pushnil(L);
  return lua_pcall(L, 2, 1, 0) == LUA_OK;
}
