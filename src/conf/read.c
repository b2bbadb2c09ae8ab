/* Typed values from Lua's stack, each mistake noted with the line of its field. */
#include "load.h"
#include <math.h>
#include <stdlib.h>

const char *kind_of(lua_State *L, int index) {
  int64_t money;
  bool secret;
  secret_at(L, index, &secret);
  if (secret) return "a secret";
  if (money_at(L, index, &money)) return "money";
  switch (lua_type(L, index)) {
  case LUA_TNONE: case LUA_TNIL: return "nothing";
  case LUA_TBOOLEAN: return lua_toboolean(L, index) ? "true" : "false";
  case LUA_TNUMBER: return "a number";
  case LUA_TSTRING: return "a string";
  case LUA_TTABLE: return "a table";
  case LUA_TFUNCTION: return "a function";
  default: return "a word of another kind";
  }
}

void problem_type(struct load *l, const char *name, const char *wanted) {
  if (!sink_is(l->lua, -1)) problem_add(l, "%s must be %s, not %s", name, wanted, kind_of(l->lua, -1));
}

static bool plain(struct span s) {
  for (size_t i = 0; i < s.n; i++)
    if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f) return false;
  return span_utf8(s);
}

static bool text_at_top(struct load *l, const char *name, struct span *out) {
  if (lua_type(l->lua, -1) != LUA_TSTRING) return problem_type(l, name, "a string"), false;
  out->p = lua_tolstring(l->lua, -1, &out->n);
  if (!out->n) return problem_add(l, "%s is empty", name), false;
  if (!plain(*out)) return problem_add(l, "%s holds a control character, or bytes that are not UTF-8", name), false;
  *out = arena_copy(&l->conf->arena, *out);
  return true;
}

bool read_span(struct load *l, const struct field *f, void *into) {
  struct span text;
  if (!text_at_top(l, f->name, &text)) return false;
  *(struct span *)((char *)into + f->offset) = text;
  return true;
}

bool read_bool(struct load *l, const struct field *f, void *into) {
  if (!lua_isboolean(l->lua, -1)) return problem_type(l, f->name, "true or false"), false;
  *(bool *)((char *)into + f->offset) = lua_toboolean(l->lua, -1);
  return true;
}

bool read_number(struct load *l, const char *name, const char *unit, double low, double high, double *out) {
  if (lua_type(l->lua, -1) != LUA_TNUMBER) return problem_type(l, name, "a number"), false;
  double v = lua_tonumber(l->lua, -1);
  if (v >= low && v <= high) return *out = v, true;
  problem_add(l, "%s must be from %.15g to %.15g%s%s, not %.15g", name, low, high, *unit ? " " : "", unit, v);
  return false;
}

bool read_whole(struct load *l, const char *name, const char *unit, uint64_t low, uint64_t high, uint64_t *out) {
  double v;
  if (!read_number(l, name, unit, (double)low, (double)high, &v)) return false;
  if (v != floor(v)) return problem_add(l, "%s must be a whole number, not %.15g", name, v), false;
  *out = (uint64_t)v;
  return true;
}

bool argument_name(struct load *l, const char *word, const char *example, struct span *out) {
  lua_State *L = l->lua;
  lua_settop(L, lua_gettop(L) > 1 ? lua_gettop(L) : 1);
  lua_pushvalue(L, 1);
  bool text = lua_type(L, 1) == LUA_TSTRING;
  if (!text && !sink_is(L, 1)) problem_add(l, "%s takes a string: %s", word, example);
  bool good = text && text_at_top(l, word, out);
  lua_pop(L, 1);
  return good;
}

/* ---- the members of a table */
struct place place_of_key(struct load *l, struct span key) {
  struct place at = l->at;
  if (at.source && at.line) at.line = line_of_key(at.source->bytes, at.line, key);
  return at;
}

static bool known(struct span key, const char *const *names, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (span_eq(key, span_cstr(names[i]))) return true;
  return false;
}

static int by_bytes(const void *a, const void *b) { return span_cmp(*(const struct span *)a, *(const struct span *)b); }

struct span *keys_sorted(struct load *l, int index, size_t *count) {
  lua_State *L = l->lua;
  struct span *keys = NULL, key;
  bool odd = false;
  *count = 0;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING) { odd = true; continue; }
    key.p = lua_tolstring(L, -2, &key.n);
    keys = list_add(&l->conf->arena, keys, count, sizeof *keys);
    keys[*count - 1] = arena_copy(&l->conf->arena, key);
  }
  if (*count) qsort(keys, *count, sizeof *keys, by_bytes);
  if (odd) problem_add(l, "a value stands here without a name: write [\"name\"] = …");
  return keys;
}

/* What no reader took: names in the order of bytes, since Lua's own order changes from run to run. */
static void leftovers(struct load *l, int index, const char *const *names, size_t count, size_t shown, bool items) {
  lua_State *L = l->lua;
  struct span *unknown = NULL;
  size_t unknown_count = 0, length = lua_rawlen(L, index);
  bool nameless = false, odd = false;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    struct span key;
    if (lua_isinteger(L, -2)) {
      bool item = lua_tointeger(L, -2) >= 1 && (size_t)lua_tointeger(L, -2) <= length;
      nameless |= item && !items;
      odd |= !item;
    } else if (lua_type(L, -2) == LUA_TSTRING) {
      key.p = lua_tolstring(L, -2, &key.n);
      if (known(key, names, count)) continue;
      unknown = list_add(&l->scratch, unknown, &unknown_count, sizeof *unknown);
      unknown[unknown_count - 1] = arena_copy(&l->scratch, key);
    } else {
      odd = true;
    }
  }
  if (unknown_count) qsort(unknown, unknown_count, sizeof *unknown, by_bytes);
  struct place at = l->at;
  for (size_t i = 0; i < unknown_count; i++, l->at = at) {
    l->at = place_of_key(l, unknown[i]);
    problem_unknown(l, "field", unknown[i], names, shown);
  }
  if (nameless) problem_add(l, "a value stands here without the name of its field");
  if (odd) problem_add(l, "a key is neither a name nor in the sequence 1, 2, 3, …");
}

/* All names that may stand; those of later versions at the end, *shown without them. */
static const char **names_of(struct load *l, const struct field *fields, size_t count, bool settings, size_t *all,
                             size_t *shown) {
  size_t more = 0, n = 0;
  const char *const *setting = setting_names(&more);
  if (!settings) more = 0;
  const char **names = arena_alloc(&l->scratch, (count + more + 1) * sizeof *names);
  for (size_t i = 0; i < count; i++)
    if (fields[i].read) names[n++] = fields[i].name;
  for (size_t i = 0; i < more; i++) names[n++] = setting[i];
  *shown = n;
  for (size_t i = 0; i < count; i++)
    if (!fields[i].read) names[n++] = fields[i].name;
  *all = n;
  return names;
}

/* Pushes the member and puts l->at to where it stands; false, and nothing pushed, when there is none. */
static bool member_push(struct load *l, int index, const char *name) {
  lua_pushstring(l->lua, name);
  if (lua_rawget(l->lua, index) != LUA_TNIL) return l->at = place_of_key(l, span_cstr(name)), true;
  lua_pop(l->lua, 1);
  return false;
}

void fields_read(struct load *l, int index, const struct field *fields, size_t count, void *into,
                 struct settings *settings, bool items) {
  struct place at = l->at;
  size_t all, shown, words;
  const char *const *setting = setting_names(&words);
  index = lua_absindex(l->lua, index);
  luaL_checkstack(l->lua, 8, NULL);
  for (size_t i = 0; i < count; i++, l->at = at) {
    if (!member_push(l, index, fields[i].name)) continue;
    if (fields[i].read) fields[i].read(l, &fields[i], into);
    else problem_add(l, "'%s' is not in this version", fields[i].name);
    lua_pop(l->lua, 1);
  }
  for (size_t i = 0; settings && i < words; i++, l->at = at) {
    if (!member_push(l, index, setting[i])) continue;
    setting_read(l, span_cstr(setting[i]), settings);
    lua_pop(l->lua, 1);
  }
  const char **names = names_of(l, fields, count, settings != NULL, &all, &shown);
  leftovers(l, index, names, all, shown, items);
}
