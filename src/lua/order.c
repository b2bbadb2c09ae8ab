#include "room.h"

#include <math.h>

/* pairs in an order that depends on nothing but what is in the table: 1..n, then numbers, then strings bytewise.
   The keys are taken when the loop begins; what is removed meanwhile is left out, what is added is not seen. */
struct key {
  lua_Integer place;                  /* in the table of keys */
  bool text;
  uint64_t head;                      /* of a text: its first eight bytes, as a number in their order */
  struct span s;
  lua_Integer i;
  lua_Number d;                       /* NAN (no key can be one): it is an integer */
};
struct walk {
  lua_Integer at, sequence;           /* 1..sequence come first */
  size_t next, count;
  struct key keys[];
};

static int integer_cmp(lua_Integer a, lua_Integer b) { return (a > b) - (a < b); }

static int mixed_cmp(lua_Integer i, lua_Number d) {
  if (d >= 0x1p63) return -1;
  if (d < -0x1p63) return 1;
  lua_Number whole = floor(d);
  int c = integer_cmp(i, (lua_Integer)whole);
  return c ? c : whole < d ? -1 : 0;
}

static int key_cmp(lua_State *L, const struct key *a, const struct key *b) {
  if (a->text != b->text) return a->text - b->text;
  if (a->text) {
    if (a->head != b->head) return a->head < b->head ? -1 : 1;
    vm_spend(L, 4 + (a->s.n < b->s.n ? a->s.n : b->s.n) / 32);
    return span_cmp(a->s, b->s);
  }
  if (isnan(a->d)) return isnan(b->d) ? integer_cmp(a->i, b->i) : mixed_cmp(a->i, b->d);
  return isnan(b->d) ? -mixed_cmp(b->i, a->d) : (a->d > b->d) - (a->d < b->d);
}

static void sink(lua_State *L, struct key *keys, size_t at, size_t count) {
  struct key k = keys[at];
  for (size_t child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && key_cmp(L, &keys[child], &keys[child + 1]) < 0) child++;
    if (key_cmp(L, &k, &keys[child]) >= 0) break;
    keys[at] = keys[child];
  }
  keys[at] = k;
}

static uint64_t head_of(struct span s) {
  unsigned char bytes[8] = { 0 };
  uint64_t head = 0;
  memcpy(bytes, s.p, s.n < 8 ? s.n : 8);
  for (int i = 0; i < 8; i++) head = head << 8 | bytes[i];
  return head;
}

static void keys_sort(lua_State *L, struct key *keys, size_t count) {
  unsigned levels = 1;
  while (count >> levels) levels++;
  vm_spend(L, (uint64_t)count * levels * 4);
  for (size_t i = count / 2; i-- > 0;) sink(L, keys, i, count);
  for (size_t end = count; end-- > 1;) {
    struct key last = keys[end];
    keys[end] = keys[0];
    keys[0] = last;
    sink(L, keys, 0, end);
  }
}

/* Of the table at index 2: the end of its sequence, and how many keys it has besides. */
static size_t keys_count(lua_State *L, lua_Integer *sequence) {
  size_t all = 0;
  lua_Integer n = 0;
  while (lua_rawgeti(L, 2, n + 1) != LUA_TNIL) lua_pop(L, 1), n++;
  lua_pop(L, 1);
  for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
    int type = lua_type(L, -2);
    if (type != LUA_TNUMBER && type != LUA_TSTRING)
      luaL_error(L, "pairs has no order for a key that is a %s; only numbers and strings have one", luaL_typename(L, -2));
    all++;
  }
  *sequence = n;
  vm_spend(L, 4 + (uint64_t)n + 3 * all);
  return all - (size_t)n;
}

/* Into the walk, and into the table of keys at index `list`. */
static void keys_take(lua_State *L, struct walk *w, int list) {
  size_t taken = 0;
  for (lua_pushnil(L); lua_next(L, 2) && taken < w->count;) {
    lua_pop(L, 1);
    struct key k = { .place = (lua_Integer)taken + 1, .text = lua_type(L, -1) == LUA_TSTRING, .d = NAN };
    if (k.text) k.s.p = lua_tolstring(L, -1, &k.s.n), k.head = head_of(k.s);
    else if (lua_isinteger(L, -1)) k.i = lua_tointeger(L, -1);
    else k.d = lua_tonumber(L, -1);
    if (!k.text && isnan(k.d) && k.i >= 1 && k.i <= w->sequence) continue;
    w->keys[taken++] = k;
    lua_pushvalue(L, -1);
    lua_rawseti(L, list, k.place);
  }
  lua_settop(L, list);
}

/* Upvalues: the table, its walk, the table of keys. */
static int step(lua_State *L) {
  struct walk *w = lua_touserdata(L, lua_upvalueindex(2));
  lua_settop(L, 0);
  while (w->at < w->sequence) {
    lua_pushinteger(L, ++w->at);
    if (lua_rawgeti(L, lua_upvalueindex(1), w->at) != LUA_TNIL) return 2;
    lua_settop(L, 0);
  }
  while (w->next < w->count) {
    lua_rawgeti(L, lua_upvalueindex(3), w->keys[w->next++].place);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 2;
    lua_settop(L, 0);
  }
  return 0;
}

static int custom_over(lua_State *L, int status, lua_KContext extra) {
  (void)L, (void)status, (void)extra;
  return 3;
}

int pairs_in_order(lua_State *L) {
  luaL_checkany(L, 1);
  if (luaL_getmetafield(L, 1, "__pairs") != LUA_TNIL) {
    lua_pushvalue(L, 1);
    lua_callk(L, 1, 3, 0, custom_over);
    return custom_over(L, LUA_OK, 0);
  }
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  if (!frozen_push(L, 1)) lua_pushvalue(L, 1);     /* 2: what holds the fields. It is not given out */
  lua_Integer sequence;
  size_t count = keys_count(L, &sequence);
  struct walk *w = lua_newuserdatauv(L, sizeof *w + count * sizeof *w->keys, 0);
  *w = (struct walk){ .sequence = sequence, .count = count };
  if (count) {
    lua_createtable(L, (int)count, 0);
    keys_take(L, w, 4);
    keys_sort(L, w->keys, count);
  } else {
    lua_pushnil(L);
  }
  lua_pushcclosure(L, step, 3);
  lua_insert(L, 1);
  lua_pushnil(L);
  return 3;
}
