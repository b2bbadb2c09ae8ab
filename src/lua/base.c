#include "room.h"

/* The basic functions that differ from Lua's own. */

/* An error that pcall may see. The end of a call and of its memory are none. */
static void caught(lua_State *L, int status) {
  if (status == LUA_ERRMEM) vm_run_abandon(L, VM_MEMORY);
  if (vm_of(L)->doomed) vm_run_abandon(L, VM_TIMEOUT);
}

static int pcall_over(lua_State *L, int status, lua_KContext below) {
  if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L) - (int)below;
  caught(L, status);
  lua_pushboolean(L, false);
  lua_pushvalue(L, -2);
  return 2;
}

static int pcall(lua_State *L) {
  luaL_checkany(L, 1);
  lua_pushboolean(L, true);
  lua_insert(L, 1);
  return pcall_over(L, lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, pcall_over), 0);
}

static int handler_over(lua_State *L, int status, lua_KContext below) {
  (void)below;
  if (status != LUA_OK && status != LUA_YIELD) caught(L, status);
  return 2;                                        /* false and what the handler gave, or its error */
}

static int xpcall_over(lua_State *L, int status, lua_KContext below) {
  if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L) - (int)below;
  caught(L, status);
  lua_pushboolean(L, false);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -3);
  return handler_over(L, lua_pcallk(L, 1, 1, 0, 0, handler_over), 0);
}

/* The handler runs after unwinding, since stock Lua runs it where nothing can interrupt it. */
static int xpcall(lua_State *L) {
  int count = lua_gettop(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_pushboolean(L, true);
  lua_pushvalue(L, 1);
  lua_rotate(L, 3, 2);
  return xpcall_over(L, lua_pcallk(L, count - 2, LUA_MULTRET, 0, 2, xpcall_over), 2);
}

const char *vm_tostring_push(lua_State *L, int at, size_t *n) {
  at = lua_absindex(L, at);
  if (luaL_callmeta(L, at, "__tostring")) {
    if (!lua_isstring(L, -1)) luaL_error(L, "'__tostring' must return a string");
    return lua_tolstring(L, -1, n);
  }
  int type = lua_type(L, at);
  if (type == LUA_TNUMBER || type == LUA_TSTRING) lua_pushvalue(L, at);
  else if (type == LUA_TBOOLEAN) lua_pushstring(L, lua_toboolean(L, at) ? "true" : "false");
  else if (type != LUA_TUSERDATA || luaL_getmetafield(L, at, "__name") == LUA_TNIL) lua_pushstring(L, luaL_typename(L, at));
  return lua_tolstring(L, -1, n);
}

static int tostring(lua_State *L) {
  size_t n;
  luaL_checkany(L, 1);
  vm_spend(L, 20);
  vm_tostring_push(L, 1, &n);
  return 1;
}

static int tell(lua_State *L, enum log_level level) {
  int count = lua_gettop(L);
  size_t n;
  luaL_Buffer line;
  vm_spend(L, 500);                                /* a system call */
  luaL_where(L, 1);
  luaL_buffinit(L, &line);
  for (int i = 1; i <= count; i++) {
    if (i > 1) luaL_addchar(&line, '\t');
    vm_tostring_push(L, i, &n);
    vm_spend(L, 20 + n / 16);
    luaL_addvalue(&line);
  }
  luaL_pushresult(&line);
  const char *p = lua_tolstring(L, -1, &n);
  log_line(level, "%s%.*s", lua_tostring(L, count + 1), (int)(n < 2048 ? n : 2048), p);
  return 0;
}

static int print(lua_State *L) { return tell(L, LOG_INFO); }
static int warn(lua_State *L) {
  luaL_checkstring(L, 1);
  return tell(L, LOG_WARN);
}

static int set_metatable(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_argexpected(L, lua_isnil(L, 2) || lua_istable(L, 2), 2, "nil or table");
  if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL) return luaL_error(L, "cannot change a protected metatable");
  static const char *const refused[] = { "__gc", "__mode" };
  for (int i = 0; i < 2 && lua_istable(L, 2); i++) {
    lua_pushstring(L, refused[i]);
    if (lua_rawget(L, 2) != LUA_TNIL) return luaL_error(L, "'%s' is not available: it would depend on the collector", refused[i]);
    lua_pop(L, 1);
  }
  lua_settop(L, 2);
  lua_setmetatable(L, 1);
  return 1;
}

static int raw_get(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  if (frozen_push(L, 1)) lua_replace(L, 1);
  lua_rawget(L, 1);
  return 1;
}

static int raw_set(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checkany(L, 2);
  luaL_checkany(L, 3);
  lua_settop(L, 3);
  if (frozen_push(L, 1)) return luaL_error(L, "this table is read-only");
  lua_rawset(L, 1);
  return 1;
}

static int raw_len(lua_State *L) {
  int type = lua_type(L, 1);
  luaL_argexpected(L, type == LUA_TTABLE || type == LUA_TSTRING, 1, "table or string");
  lua_pushinteger(L, (lua_Integer)lua_rawlen(L, frozen_push(L, 1) ? -1 : 1));
  return 1;
}

void library_base(lua_State *L) {
  static const luaL_Reg list[] = {
    { "pcall", pcall }, { "xpcall", xpcall }, { "tostring", tostring }, { "print", print }, { "warn", warn }, { "pairs", pairs_in_order },
    { "setmetatable", set_metatable }, { "rawget", raw_get }, { "rawset", raw_set }, { "rawlen", raw_len }, { NULL, NULL }
  };
  luaL_setfuncs(L, list, 0);
}
