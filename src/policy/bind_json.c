#include "room.h"
#include <math.h>
#include <stdlib.h>

/* Decoding is exact but for whole numbers beyond 64 bit, which become floats: objects and arrays are tables
   (arrays carry a mark, so that an empty one stays an array), null is weir.json.null. Encoding: a marked table
   or one with items 1..n is an array, one with names an object, an empty one without a mark `{}`. Keys are
   written in bytewise order. */

static const char array_key, null_key;

/* In steps of the library (about 4 ns): what a value costs. */
enum { STEPS_PER_VALUE = 16, BYTES_PER_STEP = 16 };

static void mark_array(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
  lua_setmetatable(L, -2);
}

static bool is_marked(lua_State *L, int at) {
  if (!lua_getmetatable(L, at)) return false;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
  bool same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same;
}

/* ---- decoding */

void json_text_push(lua_State *L, struct json v) {
  struct policy_vm *pv = policy_of(L);
  struct span s;
  vm_spend(L, v.text.n / BYTES_PER_STEP);
  json_unescape(v, &pv->text, &s);
  push_span(L, s);
  if (pv->text.total) arena_end(&pv->text);
}

static void push_number(lua_State *L, struct span text, struct json v) {
  int64_t i;
  double d = 0;
  bool whole = true;
  for (size_t k = 0; k < text.n; k++) whole &= text.p[k] == '-' || (text.p[k] >= '0' && text.p[k] <= '9');
  if (whole && !span_eq(text, SPAN("-0")) && json_i64(v, &i)) lua_pushinteger(L, i);
  else json_f64(v, &d), lua_pushnumber(L, d);
}

static void push_below(lua_State *L, struct json v) {
  struct json key, item;
  struct json_iter i = json_iter(v);
  luaL_checkstack(L, 4, "the JSON is nested too deeply");
  lua_newtable(L);
  if (v.type == JSON_ARRAY) mark_array(L);
  for (lua_Integer n = 1; json_next(&i, &key, &item); n++) {
    if (i.object) json_text_push(L, key);
    json_push(L, item);
    if (i.object) lua_rawset(L, -3);
    else lua_rawseti(L, -2, n);
  }
}

void json_push(lua_State *L, struct json v) {
  vm_spend(L, STEPS_PER_VALUE);
  switch (v.type) {
  case JSON_NONE:   lua_pushnil(L); break;
  case JSON_NULL:   lua_rawgetp(L, LUA_REGISTRYINDEX, &null_key); break;
  case JSON_FALSE:  lua_pushboolean(L, false); break;
  case JSON_TRUE:   lua_pushboolean(L, true); break;
  case JSON_NUMBER: push_number(L, v.text, v); break;
  case JSON_STRING: json_text_push(L, v); break;
  default:          push_below(L, v);
  }
}

bool json_document_push(lua_State *L, struct span text, struct json_error *err) {
  struct json v;
  vm_spend(L, text.n / BYTES_PER_STEP);
  if (!json_read(text, &v, err)) return false;
  json_push(L, v);
  return true;
}

static int decode_call(lua_State *L) {
  struct json_error err;
  if (json_document_push(L, check_span(L, 1), &err)) return 1;
  lua_pushnil(L);
  lua_pushfstring(L, "%s at byte %I", err.why, (LUAI_UACINT)err.at + 1);
  return 2;
}

/* ---- encoding */

struct encoder {
  struct buf *out;
  size_t limit;                                        /* of buf_size(out) */
};
static void encode(lua_State *L, int at, struct encoder *e, int depth);

static void encode_number(lua_State *L, int at, struct encoder *e) {
  if (lua_isinteger(L, at)) {
    buf_printf(e->out, "%lld", (long long)lua_tointeger(L, at));
    return;
  }
  double d = lua_tonumber(L, at);
  if (!isfinite(d)) luaL_error(L, "JSON has no word for the number %f", d);
  json_write_f64(e->out, d);
}

/* How many keys it has, and whether they are the items 1..n. */
static size_t key_count(lua_State *L, int at, bool *items) {
  size_t count = 0, n = lua_rawlen(L, at), whole = 0;
  for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1), count++) {
    int type = lua_type(L, -2);
    if (type == LUA_TNUMBER && lua_isinteger(L, -2)) whole++;
    else if (type != LUA_TSTRING) luaL_error(L, "a key in JSON is a string, not a %s", luaL_typename(L, -2));
  }
  *items = count && whole == count;
  if (whole && whole < count) luaL_error(L, "a table with both items and names can be no JSON");
  if (whole && n != count) luaL_error(L, "a list with holes can be no JSON; put weir.json.null there");
  return count;
}

static int span_order(const void *a, const void *b) {
  return span_cmp(*(const struct span *)a, *(const struct span *)b);
}

static void encode_object(lua_State *L, int at, size_t count, struct encoder *e, int depth) {
  struct span *keys = lua_newuserdatauv(L, count * sizeof *keys + 1, 0);
  size_t n = 0;
  for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) keys[n++] = check_span(L, -2);   /* the table keeps them alive */
  qsort(keys, n, sizeof *keys, span_order);
  buf_byte(e->out, '{');
  for (size_t i = 0; i < n; i++) {
    if (i) buf_byte(e->out, ',');
    json_write_string(e->out, keys[i]);
    buf_byte(e->out, ':');
    push_span(L, keys[i]);
    lua_rawget(L, at);
    encode(L, lua_gettop(L), e, depth + 1);
    lua_pop(L, 1);
  }
  buf_byte(e->out, '}');
  lua_pop(L, 1);
}

static void encode_array(lua_State *L, int at, size_t count, struct encoder *e, int depth) {
  buf_byte(e->out, '[');
  for (size_t i = 1; i <= count; i++) {
    if (i > 1) buf_byte(e->out, ',');
    lua_rawgeti(L, at, (lua_Integer)i);
    encode(L, lua_gettop(L), e, depth + 1);
    lua_pop(L, 1);
  }
  buf_byte(e->out, ']');
}

/* Its own fields would be missed. */
static void refuse_standin(lua_State *L, int at) {
  if (luaL_getmetafield(L, at, "__index") == LUA_TNIL) return;
  if (lua_istable(L, -1))
    luaL_error(L, "a table that stands for another (a module, an object) can be no JSON; copy its fields");
  lua_pop(L, 1);
}

static void encode_table(lua_State *L, int at, struct encoder *e, int depth) {
  bool items, marked = is_marked(L, at);
  if (depth >= JSON_DEPTH) luaL_error(L, "the table is nested deeper than %d, or contains itself", JSON_DEPTH);
  luaL_checkstack(L, 8, "the table is nested too deeply");
  if (!marked) refuse_standin(L, at);
  size_t count = key_count(L, at, &items);
  vm_spend(L, (uint64_t)count * STEPS_PER_VALUE);
  if (marked && count && !items) luaL_error(L, "a JSON array has a field with a name");
  if (marked || items) encode_array(L, at, count, e, depth);
  else encode_object(L, at, count, e, depth);
}

static void encode(lua_State *L, int at, struct encoder *e, int depth) {
  int type = lua_type(L, at);
  if (type != LUA_TTABLE) vm_spend(L, STEPS_PER_VALUE + (type == LUA_TSTRING ? lua_rawlen(L, at) / BYTES_PER_STEP : 0));
  switch (type) {
  case LUA_TNIL:     buf_add(e->out, SPAN("null")); break;
  case LUA_TBOOLEAN: buf_add(e->out, lua_toboolean(L, at) ? SPAN("true") : SPAN("false")); break;
  case LUA_TNUMBER:  encode_number(L, at, e); break;
  case LUA_TSTRING:  json_write_string(e->out, check_span(L, at)); break;
  case LUA_TTABLE:   encode_table(L, at, e, depth); break;
  case LUA_TUSERDATA:
    if (lua_touserdata(L, at) == policy_of(L)->json_null) {
      buf_add(e->out, SPAN("null"));
      break;
    }                                                  /* fall through */
  default: luaL_error(L, "a %s can be no JSON", luaL_typename(L, at));
  }
  if (buf_size(e->out) > e->limit)
    luaL_error(L, "the JSON would be larger than %I bytes (lua_memory)", (LUAI_UACINT)e->limit);
}

void json_encode(lua_State *L, int at, struct buf *out) {
  struct encoder e = { out, policy_of(L)->text_limit };
  encode(L, lua_absindex(L, at), &e, 0);
}

struct span json_encode_arena(lua_State *L, int at, struct arena *a) {
  struct buf *b = scratch_begin(policy_of(L));
  json_encode(L, at, b);
  return arena_copy(a, buf_span(b));
}

static int encode_call(lua_State *L) {
  luaL_checkany(L, 1);
  struct buf *b = scratch_begin(policy_of(L));
  json_encode(L, 1, b);
  push_span(L, buf_span(b));
  return 1;
}

static int array_call(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  if (lua_getmetatable(L, 1) && !is_marked(L, 1))
    return luaL_error(L, "weir.json.array: the table has a metatable already");
  lua_settop(L, 1);
  mark_array(L);
  return 1;
}

void json_setup(lua_State *L) {
  static const luaL_Reg words[] = {
    { "decode", decode_call }, { "encode", encode_call }, { "array", array_call }, { NULL, NULL }
  };
  lua_newtable(L);
  lua_pushliteral(L, "JSON array");
  lua_setfield(L, -2, "__metatable");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &array_key);
  luaL_newlib(L, words);
  policy_of(L)->json_null = lua_newuserdatauv(L, 0, 0);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &null_key);
  lua_setfield(L, -2, "null");
}
