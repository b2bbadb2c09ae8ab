#include "room.h"
#include "shared.h"
#include "weir/tape.h"

/* weir.shared("name", { entries, ttl }) */
struct shared_handle {
  const void *tag;
  struct shared_map *map;
};
static const char shared_tag, metatable_key;
enum { STEPS = 50, LONGEST_NAME = 64, MOST_ENTRIES = 1000000 };

static struct shared_map *check_map(lua_State *L, const char *call) {
  struct shared_handle *h = lua_touserdata(L, 1);
  if (!h || lua_type(L, 1) != LUA_TUSERDATA || lua_rawlen(L, 1) < sizeof *h || h->tag != &shared_tag)
    luaL_error(L, "%s: call it with a colon on what weir.shared gave", call);
  vm_spend(L, STEPS);
  return h->map;
}

/* Keys are strings; a number stands for its text. */
static struct span check_key(lua_State *L, const char *call) {
  if (!lua_isstring(L, 2)) luaL_error(L, "%s: the key is a string, not a %s", call, luaL_typename(L, 2));
  struct span key;
  key.p = lua_tolstring(L, 2, &key.n);
  if (key.n > SHARED_LONGEST_KEY) luaL_error(L, "%s: a key has at most %d bytes", call, SHARED_LONGEST_KEY);
  return key;
}

static double check_ttl(lua_State *L, int at, const char *call) {
  if (lua_isnoneornil(L, at)) return -1;
  double ttl = lua_type(L, at) == LUA_TNUMBER ? lua_tonumber(L, at) : -1;
  if (!(ttl >= 0)) luaL_error(L, "%s: ttl is a number of seconds, 0 for ever", call);
  return ttl;
}

/* ---- recorded, and when a decision is run again taken from there: then no map is touched */
static void name_add(struct buf *b, struct shared_map *m, struct span key) {
  buf_add(b, shared_name(m));
  buf_byte(b, '/');
  buf_add(b, key);
}

static struct span tape_name(struct policy_vm *pv, struct shared_map *m, struct span key) {
  buf_clear(&pv->scratch);
  name_add(&pv->scratch, m, key);
  return buf_span(&pv->scratch);
}

static void keep(struct policy_vm *pv, struct shared_map *m, const char *what, struct span key, const struct shared_value *v) {
  struct policy_tape *t = tape_of(pv);
  if (!t || t->full) return;
  struct buf out = { 0 };
  struct json_writer w = { .out = &out };
  switch (v->type) {
  case SHARED_NONE:   json_null(&w); break;
  case SHARED_BOOL:   json_bool(&w, v->b); break;
  case SHARED_INT:    json_int(&w, v->i); break;
  case SHARED_NUM:    json_num(&w, v->d); break;
  case SHARED_STRING: json_str(&w, v->s);
  }
  struct buf name = { 0 };                               /* the value may stand in the scratch buffer */
  name_add(&name, m, key);
  tape_keep(t, what, buf_span(&name), buf_span(&out));
  buf_free(&name);
  buf_free(&out);
}

/* Pushes what was read then; true when nothing else is to be done. */
static bool played(lua_State *L, struct shared_map *m, const char *what, struct span key) {
  struct policy_vm *pv = policy_of(L);
  struct policy_tape *t = tape_of(pv);
  if (!t || !t->plays) return false;
  struct json v = tape_take(t, what, tape_name(pv, m, key));
  json_push(L, v);
  return true;
}

static int get_call(lua_State *L) {
  struct policy_vm *pv = policy_of(L);
  struct shared_map *m = check_map(L, "shared:get(key)");
  struct span key = check_key(L, "shared:get(key)");
  struct shared_value v = { 0 };
  if (played(L, m, "shared:get", key)) return 1;
  shared_get(m, key, policy_now(pv), &v, scratch_begin(pv));
  keep(pv, m, "shared:get", key, &v);
  switch (v.type) {
  case SHARED_NONE:   lua_pushnil(L); break;
  case SHARED_BOOL:   lua_pushboolean(L, v.b); break;
  case SHARED_INT:    lua_pushinteger(L, v.i); break;
  case SHARED_NUM:    lua_pushnumber(L, v.d); break;
  case SHARED_STRING: push_span(L, v.s);
  }
  return 1;
}

static int set_call(lua_State *L) {
  const char *call = "shared:set(key, value, ttl)";
  struct policy_vm *pv = policy_of(L);
  struct shared_map *m = check_map(L, call);
  struct span key = check_key(L, call);
  double ttl = check_ttl(L, 4, call), now = policy_now(pv);
  struct shared_value v = { .type = SHARED_STRING };
  switch (lua_type(L, 3)) {
  case LUA_TNONE: case LUA_TNIL:
    if (!tape_of(pv) || !tape_of(pv)->plays) shared_delete(m, key, now);
    return 0;
  case LUA_TBOOLEAN: v.type = SHARED_BOOL, v.b = lua_toboolean(L, 3); break;
  case LUA_TSTRING: v.s = check_span(L, 3); break;
  case LUA_TNUMBER:
    v.type = lua_isinteger(L, 3) ? SHARED_INT : SHARED_NUM;
    v.i = lua_tointeger(L, 3);
    v.d = lua_tonumber(L, 3);
    break;
  default:
    return luaL_error(
        L, "%s: a value is a string, a number or a boolean, not a %s; weir.json.encode makes a string of a table", call,
        luaL_typename(L, 3));
  }
  if (v.s.n > SHARED_LONGEST_VALUE)
    return luaL_error(L, "%s: a value has at most %d bytes", call, SHARED_LONGEST_VALUE);
  vm_spend(L, v.s.n / 16);
  struct policy_tape *t = tape_of(pv);
  if (t && t->plays) return 0;
  shared_set(m, key, &v, now, ttl);
  return 0;
}

static int add_call(lua_State *L) {
  const char *call = "shared:add(key, n, ttl)";
  struct shared_map *m = check_map(L, call);
  struct span key = check_key(L, call);
  double ttl = check_ttl(L, 4, call);
  int64_t sum = 0;
  int whole = 1;
  lua_Integer n = lua_isnoneornil(L, 3) ? 1 : lua_tointegerx(L, 3, &whole);
  if (!whole) return luaL_error(L, "%s: n is a whole number", call);
  if (played(L, m, "shared:add", key)) return 1;
  switch (shared_add(m, key, n, policy_now(policy_of(L)), ttl, &sum)) {
  case SHARED_NO_INTEGER: return luaL_error(L, "%s: what stands there is no whole number", call);
  case SHARED_OVERFLOW: return luaL_error(L, "%s: the sum is beyond 64 bit", call);
  default: break;
  }
  keep(policy_of(L), m, "shared:add", key, &(struct shared_value){ .type = SHARED_INT, .i = sum });
  lua_pushinteger(L, sum);
  return 1;
}

static int delete_call(lua_State *L) {
  struct shared_map *m = check_map(L, "shared:delete(key)");
  struct span key = check_key(L, "shared:delete(key)");
  if (played(L, m, "shared:delete", key)) return 1;
  struct shared_value was = { .type = SHARED_BOOL, .b = shared_delete(m, key, policy_now(policy_of(L))) };
  keep(policy_of(L), m, "shared:delete", key, &was);
  lua_pushboolean(L, was.b);
  return 1;
}

static int method(lua_State *L) {
  static const char *const known[] = { "get", "set", "add", "delete" };
  static const lua_CFunction calls[] = { get_call, set_call, add_call, delete_call };
  if (lua_type(L, 2) != LUA_TSTRING) return luaL_error(L, "a shared map has no items of its own; call shared:get(key)");
  struct span word = check_span(L, 2);
  for (size_t i = 0; i < 4; i++)
    if (span_eq(word, span_cstr(known[i]))) return lua_pushcfunction(L, calls[i]), 1;
  return refuse_unknown(L, "method of a shared map", word, known, 4);
}

static void configure(lua_State *L, struct shared_map *m) {
  static const char *const fields[] = { "entries", "ttl" };
  double entries = SHARED_ENTRIES, ttl = 0;
  check_fields(L, 2, "field of weir.shared", fields, 2, false);
  if (lua_getfield(L, 2, "entries") != LUA_TNIL) entries = lua_tonumber(L, -1);
  if (lua_getfield(L, 2, "ttl") != LUA_TNIL) ttl = check_ttl(L, -1, "weir.shared");
  if (!(entries >= 1 && entries <= MOST_ENTRIES))
    luaL_error(L, "weir.shared: entries is a number from 1 to %d", MOST_ENTRIES);
  shared_configure(m, (size_t)entries, ttl);
}

static int shared_call(lua_State *L) {
  if (lua_type(L, 1) != LUA_TSTRING)
    return luaL_error(L, "weir.shared takes a name: weir.shared(\"name\", { entries = 10000, ttl = 60 })");
  struct span name = check_span(L, 1);
  if (!name.n || name.n > LONGEST_NAME) return luaL_error(L, "weir.shared: a name has 1 to %d bytes", LONGEST_NAME);
  lua_settop(L, 2);
  struct shared_map *m = shared_map_of(name);
  if (!m) return luaL_error(L, "weir.shared: there are too many maps in this process; put many keys into few maps");
  if (!lua_isnil(L, 2)) configure(L, m);
  struct shared_handle *h = lua_newuserdatauv(L, sizeof *h, 0);
  *h = (struct shared_handle){ &shared_tag, m };
  lua_rawgetp(L, LUA_REGISTRYINDEX, &metatable_key);
  lua_setmetatable(L, -2);
  return 1;
}

void shared_setup(lua_State *L) {
  static const luaL_Reg words[] = { { "shared", shared_call }, { NULL, NULL } };
  lua_newtable(L);
  lua_pushcfunction(L, method);
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, "shared");
  lua_setfield(L, -2, "__name");
  lua_pushliteral(L, "shared");
  lua_setfield(L, -2, "__metatable");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &metatable_key);
  luaL_setfuncs(L, words, 0);
}
