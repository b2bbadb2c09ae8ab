#include "room.h"

/* The metatable of a kind stands in the registry under the kind's address; its functions have the kind as
   their first upvalue and the table name -> place of the field or method as their second. */

static const struct kind *kind_upvalue(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

static struct handle *handle_at(lua_State *L, int at, const struct kind *k) {
  struct handle *h = lua_touserdata(L, at);
  bool full = h && lua_type(L, at) == LUA_TUSERDATA && lua_rawlen(L, at) >= sizeof *h;
  return full && h->kind == k ? h : NULL;
}

static struct frame *live_frame(lua_State *L, const struct handle *h) {
  struct frame *f = policy_of(L)->frame;
  if (!f || f->hook == HOOK_COUNT) return NULL;
  if (h->kind == &kind_chunk && f->hook != HOOK_CHUNK) return NULL;
  return h->serial == (h->kind->of_exchange ? f->subject->req->serial : f->serial) ? f : NULL;
}

static struct frame *need_frame(lua_State *L, const struct handle *h) {
  struct frame *f = live_frame(L, h);
  if (!f && h->kind->of_exchange && h->kind != &kind_chunk)
    luaL_error(L, "this %s is stale: it is of another exchange, and good only in hooks of its own", h->kind->name);
  if (!f)
    luaL_error(L,
               "this %s is stale: it is good only in the call that was given it; keep the values you need in req.state",
               h->kind->name);
  return f;
}

struct frame *check_handle(lua_State *L, int at, const struct kind *k, const char *call) {
  struct handle *h = handle_at(L, at, k);
  if (!h)
    luaL_error(L, "%s: the %s is missing before it, not a %s; call it with a colon", call, k->name,
               luaL_typename(L, at));
  return need_frame(L, h);
}

static int unknown_field(lua_State *L, const struct kind *k) {
  const char *known[64];
  char what[64];
  size_t n = 0;
  if (lua_type(L, 2) != LUA_TSTRING)
    return luaL_error(L, "fields of %s have names, this one is a %s", k->name, luaL_typename(L, 2));
  for (size_t i = 0; i < k->count && n < 64; i++) known[n++] = k->fields[i].name;
  for (const luaL_Reg *m = k->methods; m && m->name && n < 64; m++) known[n++] = m->name;
  snprintf(what, sizeof what, "field of %s", k->name);
  return refuse_unknown(L, what, check_span(L, 2), known, n);
}

static int handle_index(lua_State *L) {
  const struct kind *k = kind_upvalue(L);
  struct handle *h = handle_at(L, 1, k);
  if (!h) return luaL_error(L, "not a %s", k->name);
  struct frame *f = need_frame(L, h);
  if (k->index) return k->index(L, f);
  lua_pushvalue(L, 2);
  int type = lua_rawget(L, lua_upvalueindex(2));
  if (type == LUA_TFUNCTION) return 1;
  if (type != LUA_TNUMBER) return unknown_field(L, k);
  return k->fields[lua_tointeger(L, -1)].get(L, f);
}

static int read_only(lua_State *L, const struct kind *k, const char *name) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  bool any = false;
  for (size_t i = 0; i < k->count; i++) {
    if (!k->fields[i].set) continue;
    luaL_addstring(&b, any ? " " : "; these can be: ");
    luaL_addstring(&b, k->fields[i].name);
    any = true;
  }
  luaL_pushresult(&b);
  return luaL_error(L, "%s.%s cannot be written%s", k->name, name, lua_tostring(L, -1));
}

static int handle_newindex(lua_State *L) {
  const struct kind *k = kind_upvalue(L);
  struct handle *h = handle_at(L, 1, k);
  if (!h) return luaL_error(L, "not a %s", k->name);
  struct frame *f = need_frame(L, h);
  if (k->index && !k->newindex)
    return luaL_error(L, "%s cannot be written; set headers of an attempt in on_attempt: attempt.headers", k->name);
  if (k->newindex) return k->newindex(L, f), 0;
  lua_pushvalue(L, 2);
  int type = lua_rawget(L, lua_upvalueindex(2));
  if (type == LUA_TNIL) return unknown_field(L, k);
  const struct field *field = type == LUA_TNUMBER ? &k->fields[lua_tointeger(L, -1)] : NULL;
  if (!field || !field->set) return read_only(L, k, lua_tostring(L, 2));
  field->set(L, f, 3);
  return 0;
}

static int handle_pairs(lua_State *L) {
  const struct kind *k = kind_upvalue(L);
  struct handle *h = handle_at(L, 1, k);
  if (!h || !k->list) return luaL_error(L, "pairs cannot walk %s; read its fields by name", k->name);
  lua_getglobal(L, "pairs");
  k->list(L, need_frame(L, h));
  lua_call(L, 1, 3);
  return 3;
}

static void set_function(lua_State *L, const struct kind *k, const char *name, lua_CFunction f, int names) {
  lua_pushlightuserdata(L, (void *)k);
  lua_pushvalue(L, names);
  lua_pushcclosure(L, f, 2);
  lua_setfield(L, -2, name);
}

void handle_setup(lua_State *L, const struct kind *k) {
  lua_createtable(L, 0, (int)k->count + 4);
  int names = lua_gettop(L);
  for (size_t i = 0; i < k->count; i++) {
    lua_pushinteger(L, (lua_Integer)i);
    lua_setfield(L, names, k->fields[i].name);
  }
  if (k->methods) luaL_setfuncs(L, k->methods, 0);
  lua_createtable(L, 0, 6);
  set_function(L, k, "__index", handle_index, names);
  set_function(L, k, "__newindex", handle_newindex, names);
  set_function(L, k, "__pairs", handle_pairs, names);
  lua_pushstring(L, k->name);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "__name");
  lua_setfield(L, -2, "__metatable");
  lua_rawsetp(L, LUA_REGISTRYINDEX, k);
  lua_pop(L, 1);
}

static void push(lua_State *L, struct handle made, int values) {
  struct handle *h = lua_newuserdatauv(L, sizeof *h, values);
  *h = made;
  lua_rawgetp(L, LUA_REGISTRYINDEX, made.kind);
  lua_setmetatable(L, -2);
}

void kind_push(lua_State *L, const struct kind *k, uint64_t serial, int values) {
  push(L, (struct handle){ k, serial, NULL }, values);
}

void kind_push_of(lua_State *L, const struct kind *k, uint64_t serial, const void *of) {
  push(L, (struct handle){ k, serial, of }, 0);
}

const void *handle_of(lua_State *L) { return ((const struct handle *)lua_touserdata(L, 1))->of; }
