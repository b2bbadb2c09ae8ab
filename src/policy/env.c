#include "room.h"

/* Registry keys are the addresses of these. */
static const char names_key, library_key, modules_key, open_key;

/* The names of the globals, taken before the freeze may hide them; their values, after it. */
void env_names(lua_State *L) {
  lua_newtable(L);
  lua_pushglobaltable(L);
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING) continue;
    lua_pushvalue(L, -2);
    lua_rawseti(L, -5, (lua_Integer)lua_rawlen(L, -5) + 1);
  }
  lua_pop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &names_key);
}

void env_setup(lua_State *L) {
  lua_newtable(L);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &names_key);
  lua_pushglobaltable(L);
  for (lua_Integer i = 1, n = (lua_Integer)lua_rawlen(L, -2); i <= n; i++) {
    lua_rawgeti(L, -2, i);
    lua_pushvalue(L, -1);
    lua_gettable(L, -3);
    lua_rawset(L, -5);
  }
  lua_pop(L, 2);
  lua_pushnil(L);
  lua_setfield(L, -2, "_G");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &library_key);
}

static int newindex_refused(lua_State *L) {
  push_text(L, 2);
  const char *name = lua_tostring(L, -1);
  return luaL_error(
      L,
      "'%s' is a global, and they are read-only once the file is loaded; write local %s, or use req.state or "
      "weir.shared",
      name, name);
}

/* An environment is two tables: an empty one that the file sees, and behind it one with the library and the
   file's own globals. While the file loads, new globals go into the first; freezing moves them. */
void env_push(lua_State *L) {
  lua_newtable(L);
  lua_createtable(L, 0, 4);
  lua_newtable(L);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &library_key);
  for (lua_pushnil(L); lua_next(L, -2);) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, -5);
  }
  lua_pop(L, 1);
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, "environment");
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &open_key);
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  lua_pop(L, 1);
}

static void env_freeze(lua_State *L, int env) {
  lua_getmetatable(L, env);
  lua_pushcfunction(L, newindex_refused);
  lua_setfield(L, -2, "__newindex");
  lua_getfield(L, -1, "__index");
  int behind = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, env); lua_pushnil(L)) {           /* each round takes the first that is left */
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, behind);
    lua_pushnil(L);
    lua_rawset(L, env);
  }
  lua_settop(L, behind - 2);
}

void env_begin(lua_State *L) {
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &modules_key);
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &open_key);
}

static int module_newindex(lua_State *L) {
  push_text(L, 2);
  return luaL_error(L, "'%s' cannot be assigned: it is in a required module, and these are read-only once loaded",
                    lua_tostring(L, -1));
}

/* Upvalue: the table behind the frozen one. */
static int module_pairs(lua_State *L) {
  lua_getglobal(L, "pairs");
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_call(L, 1, 3);
  return 3;
}

static int module_length(lua_State *L) {
  lua_pushinteger(L, luaL_len(L, lua_upvalueindex(1)));
  return 1;
}

static void set_behind(lua_State *L, const char *name, lua_CFunction f, int behind) {
  lua_pushvalue(L, behind);
  lua_pushcclosure(L, f, 1);
  lua_setfield(L, -2, name);
}

/* What a module gave is frozen as the library is: the table stays the one that everybody holds, its fields
   stand behind it. A table with a metatable is an object of its own and is left as it is. */
static void module_freeze(lua_State *L, int at) {
  at = lua_absindex(L, at);
  luaL_checkstack(L, 8, "the tables of a module lie too deep in each other");
  if (!lua_istable(L, at) || lua_getmetatable(L, at)) return;
  lua_newtable(L);
  int behind = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, at); lua_pushnil(L)) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, behind);
    lua_pushnil(L);
    lua_rawset(L, at);
  }
  lua_createtable(L, 0, 5);
  lua_pushvalue(L, behind);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, module_newindex);
  lua_setfield(L, -2, "__newindex");
  set_behind(L, "__pairs", module_pairs, behind);
  set_behind(L, "__len", module_length, behind);
  lua_pushliteral(L, "module");
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, at);
  for (lua_pushnil(L); lua_next(L, behind); lua_settop(L, behind + 1)) module_freeze(L, -1);
  lua_settop(L, behind - 1);
}

void env_end(lua_State *L) {
  int top = lua_gettop(L);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &open_key);
  for (lua_Integer i = 1, n = (lua_Integer)lua_rawlen(L, top + 1); i <= n; i++) {
    lua_rawgeti(L, top + 1, i);
    env_freeze(L, lua_gettop(L));
    lua_settop(L, top + 1);
  }
  lua_rawgetp(L, LUA_REGISTRYINDEX, &modules_key);
  for (lua_pushnil(L); lua_next(L, top + 2); lua_settop(L, top + 3)) module_freeze(L, -1);
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &open_key);
  lua_settop(L, top);
}

static void module_run(lua_State *L, const struct source *source) {
  lua_pushlstring(L, source->path.p, source->path.n);
  const char *path = lua_tostring(L, -1);
  env_push(L);
  if (!vm_load(L, source->bytes, path, lua_gettop(L))) lua_error(L);
  lua_call(L, 0, 1);
  if (lua_isnil(L, -1)) lua_pushboolean(L, true);
}

/* require "util": once per `use`, so that policies share no locals. */
int module_require(lua_State *L) {
  struct policy_vm *pv = policy_of(L);
  const char *why = NULL;
  check_phase(L, "require", IN_LOAD);
  struct span name = check_span(L, 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &modules_key);
  int modules = lua_gettop(L);
  lua_pushvalue(L, 1);
  int type = lua_rawget(L, modules);
  if (lua_islightuserdata(L, -1))
    return luaL_error(L, "require \"%s\": the module requires itself, over one or more files", name.p);
  if (type != LUA_TNIL) return 1;
  const struct source *source = sources_policy(&pv->conf->sources, name, &why);
  if (!source) return luaL_error(L, "require \"%s\": %s", name.p, why);
  lua_pushvalue(L, 1);
  lua_pushlightuserdata(L, (void *)&modules_key);
  lua_rawset(L, modules);
  module_run(L, source);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, -2);
  lua_rawset(L, modules);
  return 1;
}
