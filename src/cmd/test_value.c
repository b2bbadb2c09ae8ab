/* test_value.c: Lua values as text of weir.lua, as JSON, and back. */
#include "test_room.h"

/* ---- Lua values as text of weir.lua */
void test_write_value(lua_State *L, int i, struct buf *out, int depth) {
  if (depth > MOST_DEPTH) luaL_error(L, "options are nested too deeply");
  i = lua_absindex(L, i);
  switch (lua_type(L, i)) {
  case LUA_TBOOLEAN: buf_add(out, lua_toboolean(L, i) ? SPAN("true") : SPAN("false")); return;
  case LUA_TNUMBER:
    if (lua_isinteger(L, i)) buf_printf(out, "%lld", (long long)lua_tointeger(L, i));
    else buf_printf(out, "%.17g", lua_tonumber(L, i));
    return;
  case LUA_TSTRING: {
    size_t n;
    const char *s = lua_tolstring(L, i, &n);
    buf_byte(out, '"');
    for (size_t k = 0; k < n; k++) buf_printf(out, "\\%03u", (unsigned char)s[k]);
    buf_byte(out, '"');
    return;
  }
  case LUA_TUSERDATA: {
    picodollars money;
    if (!policy_money_at(L, i, &money)) break;
    buf_add(out, SPAN("usd(\""));
    money_add_text(out, money);
    buf_add(out, SPAN("\")"));
    return;
  }
  case LUA_TTABLE:
    buf_byte(out, '{');
    for (lua_pushnil(L); lua_next(L, i); lua_pop(L, 1)) {
      buf_byte(out, '[');
      test_write_value(L, -2, out, depth + 1);
      buf_add(out, SPAN("]="));
      test_write_value(L, -1, out, depth + 1);
      buf_byte(out, ',');
    }
    buf_byte(out, '}');
    return;
  default: break;
  }
  luaL_error(L, "options are plain data, not a %s", luaL_typename(L, i));
}

/* Runs outside of any protected call, so it raises nothing: what JSON cannot say is null. */
void test_write_json(lua_State *L, int i, struct buf *out, int depth) {
  if (depth > MOST_DEPTH || lua_isfunction(L, i) || !lua_checkstack(L, 8)) {
    buf_add(out, SPAN("null"));
    return;
  }
  i = lua_absindex(L, i);
  if (lua_type(L, i) != LUA_TTABLE) {
    size_t n;
    const char *s = lua_type(L, i) == LUA_TSTRING ? lua_tolstring(L, i, &n) : NULL;
    if (s) json_write_string(out, span_of(s, n));
    else if (lua_isnil(L, i)) buf_add(out, SPAN("null"));
    else test_write_value(L, i, out, depth);
    return;
  }
  bool array = lua_rawlen(L, i) > 0, first = true;
  buf_byte(out, array ? '[' : '{');
  for (lua_Unsigned k = 1; array && k <= lua_rawlen(L, i); k++) {
    if (k > 1) buf_byte(out, ',');
    lua_rawgeti(L, i, (lua_Integer)k);
    test_write_json(L, -1, out, depth + 1);
    lua_pop(L, 1);
  }
  if (!array) lua_pushnil(L);
  for (; !array && lua_next(L, i); lua_pop(L, 1)) {
    if (!first) buf_byte(out, ',');
    first = false;
    lua_pushvalue(L, -2);
    size_t n;
    const char *s = lua_tolstring(L, -1, &n);
    json_write_string(out, span_of(s, n));
    lua_pop(L, 1);
    buf_byte(out, ':');
    test_write_json(L, -1, out, depth + 1);
  }
  buf_byte(out, array ? ']' : '}');
}

void test_push_json(lua_State *L, struct json v, struct arena *a) {
  double d;
  int64_t n;
  struct span s;
  luaL_checkstack(L, 6, "JSON too deep");
  switch (v.type) {
  case JSON_TRUE: case JSON_FALSE: lua_pushboolean(L, v.type == JSON_TRUE); return;
  case JSON_NUMBER:
    if (json_i64(v, &n)) lua_pushinteger(L, n);
    else lua_pushnumber(L, json_f64(v, &d) ? d : 0);
    return;
  case JSON_STRING:
    json_unescape(v, a, &s);
    lua_pushlstring(L, s.p, s.n);
    return;
  case JSON_ARRAY: case JSON_OBJECT: {
    struct json_iter it = json_iter(v);
    struct json key, item;
    lua_newtable(L);
    for (lua_Integer i = 1; json_next(&it, &key, &item); i++) {
      test_push_json(L, item, a);
      if (v.type == JSON_ARRAY) { lua_rawseti(L, -2, i); continue; }
      json_unescape(key, a, &s);
      lua_pushlstring(L, s.p, s.n);
      lua_insert(L, -2);
      lua_rawset(L, -3);
    }
    return;
  }
  default: lua_pushnil(L);
  }
}

/* ---- fields of an answer table, at stack index i */
bool test_field_text(lua_State *L, int i, const char *name, struct arena *a, struct span *out) {
  lua_getfield(L, i, name);
  size_t n;
  bool there = lua_type(L, -1) == LUA_TSTRING;
  const char *s = there ? lua_tolstring(L, -1, &n) : NULL;
  if (there) *out = arena_copy(a, span_of(s, n));
  lua_pop(L, 1);
  return there;
}

double test_field_number(lua_State *L, int i, const char *name, double absent) {
  lua_getfield(L, i, name);
  double d = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : absent;
  lua_pop(L, 1);
  return d;
}
