/* Plain values: units, money, and the options of policies. */
#include "load.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char money_name[] = "weir.usd";

/* ---- units */
static int unit(lua_State *L, const char *word, double factor) {
  struct load *l = word_enter(L);
  double v;
  lua_settop(L, 1);
  if (!read_number(l, word, "", 0, 1e15, &v)) return sink_push(L);
  v *= factor;
  if (v == floor(v) && v < 9e15) lua_pushinteger(L, (lua_Integer)v);
  else lua_pushnumber(L, v);
  return 1;
}

int word_minutes(lua_State *L) { return unit(L, "minutes", 60); }
int word_hours(lua_State *L) { return unit(L, "hours", 3600); }
int word_days(lua_State *L) { return unit(L, "days", 86400); }
int word_kb(lua_State *L) { return unit(L, "kb", 1024); }
int word_mb(lua_State *L) { return unit(L, "mb", 1024 * 1024); }

/* ---- money */
bool money_at(lua_State *L, int index, picodollars *out) {
  picodollars *money = luaL_testudata(L, index, money_name);
  if (money) *out = *money;
  return money != NULL;
}

static int money_tostring(lua_State *L) {
  char text[MONEY_TEXT];
  size_t n = money_text(*(picodollars *)luaL_checkudata(L, 1, money_name), text);
  lua_pushlstring(L, text, n);
  return 1;
}

static int money_equal(lua_State *L) {
  int64_t a, b;
  lua_pushboolean(L, money_at(L, 1, &a) && money_at(L, 2, &b) && a == b);
  return 1;
}

/* A float's shortest text that reads back is the text it was written with. */
static struct span number_text(lua_State *L, char text[48]) {
  double v = lua_tonumber(L, 1);
  int n = 0;
  if (lua_isinteger(L, 1)) return span_of(text, (size_t)snprintf(text, 48, "%lld", (long long)lua_tointeger(L, 1)));
  for (int digits = 1; digits <= 17; digits++) {
    n = snprintf(text, 48, "%.*g", digits, v);
    if (strtod(text, NULL) == v) break;
  }
  return span_of(text, (size_t)n);
}

int word_usd(lua_State *L) {
  struct load *l = word_enter(L);
  char text[48];
  const char *why;
  struct span given;
  lua_settop(L, 1);
  if (sink_is(L, 1)) return sink_push(L);
  if (lua_type(L, 1) == LUA_TNUMBER) given = number_text(L, text);
  else if (lua_type(L, 1) == LUA_TSTRING) given.p = lua_tolstring(L, 1, &given.n);
  else return problem_type(l, "usd", "a number or its decimal text"), sink_push(L);
  picodollars *money = lua_newuserdatauv(L, sizeof *money, 0);
  if (!money_read(given, money, &why))
    return problem_add(l, "usd(%.*s) %s", (int)(given.n > 40 ? 40 : given.n), given.p, why), sink_push(L);
  if (luaL_newmetatable(L, money_name)) {
    lua_pushcfunction(L, money_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushcfunction(L, money_equal);
    lua_setfield(L, -2, "__eq");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
  }
  lua_setmetatable(L, -2);
  return 1;
}

/* ---- options */
struct walk {
  struct load *l;
  unsigned depth;
  bool good;
};

static int rank(const struct value *key, size_t length) {
  if (key->type == VALUE_STRING) return 2;
  return key->type == VALUE_INT && key->i >= 1 && (uint64_t)key->i <= length ? 0 : 1;
}

static double number_of(const struct value *v) { return v->type == VALUE_INT ? (double)v->i : v->d; }

/* 1..n, other numbers, strings bytewise: the order in which pairs goes in a policy. */
static int by_key(const void *a, const void *b, void *length) {
  const struct value *x = &((const struct value_pair *)a)->key, *y = &((const struct value_pair *)b)->key;
  int p = rank(x, *(size_t *)length), q = rank(y, *(size_t *)length);
  if (p != q) return p - q;
  if (p == 2) return span_cmp(x->s, y->s);
  return (number_of(x) > number_of(y)) - (number_of(x) < number_of(y));
}

static void value_copy(struct walk *w, struct value *out);

static void refuse(struct walk *w, const char *what) {
  if (w->good && !sink_is(w->l->lua, -1)) problem_add(w->l, "%s cannot be an option of a policy", what);
  w->good = false;
}

static void table_copy(struct walk *w, struct value *out) {
  lua_State *L = w->l->lua;
  struct arena *a = &w->l->conf->arena;
  size_t length = lua_rawlen(L, -1);
  out->type = VALUE_TABLE;
  if (w->depth == OPTIONS_DEPTH) return refuse(w, "a table nested this deep, or that holds itself,");
  w->depth++;
  luaL_checkstack(L, 8, NULL);
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    struct value_pair pair = { 0 };
    struct place at = w->l->at;
    if (lua_type(L, -2) == LUA_TSTRING && at.source)
      w->l->at.line = line_of_key(at.source->bytes, at.line, span_cstr(lua_tostring(L, -2)));
    value_copy(w, &pair.value);
    w->l->at = at;
    lua_pushvalue(L, -2);
    if (lua_type(L, -1) == LUA_TNUMBER || lua_type(L, -1) == LUA_TSTRING) value_copy(w, &pair.key);
    else refuse(w, "a key that is neither a string nor a number");
    lua_pop(L, 1);
    if (!w->good) { lua_pop(L, 2); break; }
    out->pairs = list_add(a, out->pairs, &out->count, sizeof *out->pairs);
    out->pairs[out->count - 1] = pair;
  }
  w->depth--;
  if (out->count) qsort_r(out->pairs, out->count, sizeof *out->pairs, by_key, &length);
}

/* The value on top of the stack. */
static void value_copy(struct walk *w, struct value *out) {
  lua_State *L = w->l->lua;
  *out = (struct value){ 0 };
  switch (lua_type(L, -1)) {
  case LUA_TBOOLEAN:
    out->type = VALUE_BOOL;
    out->b = lua_toboolean(L, -1);
    return;
  case LUA_TNUMBER:
    out->type = lua_isinteger(L, -1) ? VALUE_INT : VALUE_NUM;
    if (out->type == VALUE_INT) out->i = lua_tointeger(L, -1);
    else out->d = lua_tonumber(L, -1);
    return;
  case LUA_TSTRING:
    out->type = VALUE_STRING;
    out->s.p = lua_tolstring(L, -1, &out->s.n);
    out->s = arena_copy(&w->l->conf->arena, out->s);
    return;
  case LUA_TTABLE:
    return table_copy(w, out);
  default:
    out->type = VALUE_MONEY;
    if (!money_at(L, -1, &out->i)) refuse(w, kind_of(L, -1));
  }
}

bool value_read(struct load *l, int index, struct value *out) {
  struct walk w = { l, 0, true };
  lua_pushvalue(l->lua, index);
  value_copy(&w, out);
  lua_pop(l->lua, 1);
  return w.good;
}
