/* key: who may ask, and for what. A hash is never quoted: what stands there by mistake may be the key itself. */
#include "load.h"

#define HASH_FORM "\"sha256:\" and the 64 hex digits of the key's SHA-256 (weir key mint makes both)"
#define UNTIL_FORM "a day such as \"2027-01-31\" or a time such as \"2027-01-31T12:00:00Z\", in UTC"

static bool read_until(struct load *l, const struct field *f, void *into) {
  struct span text;
  struct field plain = { f->name, read_span, 0 };
  int64_t *until = (int64_t *)((char *)into + f->offset);
  if (!read_span(l, &plain, &text)) return false;
  if (key_until_read(text, until)) return true;
  return problem_add(l, "%s must be %s, not \"%.*s\"", f->name, UNTIL_FORM, SPAN_FMT(text)), false;
}

static bool read_expires(struct load *l, const struct field *f, void *into) {
  struct key *k = into;
  struct field text = { f->name, read_span, offsetof(struct key, expires) };
  struct field end = { f->name, read_until, offsetof(struct key, until) };
  return read_until(l, &end, into) && read_span(l, &text, k);
}

/* ---- hash */
struct hashes {
  struct key_hash list[KEY_MOST_HASHES];
  size_t count;
  bool bad;
};

static bool hash_bad(struct load *l, struct hashes *out, const char *wanted) {
  if (wanted) problem_type(l, "hash", wanted);
  out->bad = true;
  return false;
}

/* A text, or { text, expires = … } for one that is being rotated out; on top of the stack. */
static bool hash_add(struct load *l, struct hashes *out) {
  static const struct field fields[] = { { "expires", read_until, offsetof(struct key_hash, until) } };
  lua_State *L = l->lua;
  if (out->count == KEY_MOST_HASHES) return problem_add(l, "hash holds more than %d", KEY_MOST_HASHES), hash_bad(l, out, NULL);
  struct key_hash *h = &out->list[out->count];
  h->until = KEY_FOREVER;
  bool table = lua_istable(L, -1);
  if (table) fields_read(l, -1, fields, 1, h, NULL, true);
  if (table) lua_rawgeti(L, -1, 1);
  struct span text = { NULL, 0 };
  bool string = lua_type(L, -1) == LUA_TSTRING;
  if (string) text.p = lua_tolstring(L, -1, &text.n);
  bool good = string && key_hash_read(text, h->digest);
  if (string && !good) problem_add(l, "hash must be " HASH_FORM);
  if (!good) hash_bad(l, out, string ? NULL : HASH_FORM);
  if (table) lua_pop(L, 1);
  for (size_t i = 0; good && i < out->count; i++)
    if (!memcmp(out->list[i].digest, h->digest, SHA256_SIZE)) problem_add(l, "a hash stands twice in it");
  out->count += good;
  return good;
}

static bool read_hashes(struct load *l, const struct field *f, void *into) {
  struct hashes *out = (struct hashes *)((char *)into + f->offset);
  lua_State *L = l->lua;
  if (!lua_istable(L, -1)) return hash_add(l, out);
  fields_read(l, -1, NULL, 0, NULL, NULL, true);
  size_t count = lua_rawlen(L, -1);
  if (!count) return problem_add(l, "hash is an empty list"), hash_bad(l, out, NULL);
  for (size_t i = 0; i < count && !out->bad; i++) {
    lua_rawgeti(L, -1, (lua_Integer)i + 1);
    hash_add(l, out);
    lua_pop(L, 1);
  }
  return !out->bad;
}

/* ---- models, tags */
static bool read_models(struct load *l, const struct field *f, void *into) {
  struct key *k = into;
  lua_State *L = l->lua;
  const char *why;
  if (!lua_istable(L, -1)) return problem_type(l, f->name, "a list such as { \"smart\", \"openai/*\" }"), false;
  fields_read(l, -1, NULL, 0, NULL, NULL, true);
  size_t count = lua_rawlen(L, -1);
  if (!count) problem_add(l, "models is an empty list; leave it out and the key may use every model");
  struct place at = l->at;
  for (size_t i = 0; i < count; i++, l->at = at) {
    struct span text;
    struct field plain = { "a model", read_span, 0 };
    lua_rawgeti(L, -1, (lua_Integer)i + 1);
    if (read_span(l, &plain, &text)) {
      if (at.source) l->at.line = line_of_string(at.source->bytes, at.line, text);
      if ((why = key_pattern_refused(text))) problem_add(l, "model \"%.*s\": %s", SPAN_FMT(text), why);
      k->models = list_add(&l->conf->arena, k->models, &k->model_count, sizeof *k->models);
      k->models[k->model_count - 1] = text;
    }
    lua_pop(L, 1);
  }
  return true;
}

static bool read_tags(struct load *l, const struct field *f, void *into) {
  struct key *k = into;
  lua_State *L = l->lua;
  const char *why;
  if (!lua_istable(L, -1)) return problem_type(l, f->name, "a table such as { env = \"prod\" }"), false;
  struct span *names = keys_sorted(l, lua_gettop(L), &k->tag_count);
  k->tags = arena_zero(&l->conf->arena, k->tag_count * sizeof *k->tags);
  struct place at = l->at;
  for (size_t i = 0; i < k->tag_count; i++, l->at = at) {
    struct field plain = { arena_printf(&l->scratch, "tag '%.*s'", SPAN_FMT(names[i])).p, read_span, 0 };
    l->at = place_of_key(l, names[i]);
    if ((why = key_name_refused(names[i]))) problem_add(l, "%s: %s", plain.name, why);
    k->tags[i].name = names[i];
    lua_pushlstring(L, names[i].p, names[i].n);
    lua_rawget(L, -2);
    read_span(l, &plain, &k->tags[i].value);
    lua_pop(L, 1);
  }
  return true;
}

/* ---- the word */
struct key_fields {
  struct key key;
  struct hashes hashes;
};

static void key_amend(struct load *l, size_t index) {
  static const struct field fields[] = {
    { "hash", read_hashes, offsetof(struct key_fields, hashes) },
    { "team", read_span, offsetof(struct key, team) }, { "user", read_span, offsetof(struct key, user) },
    { "models", read_models, 0 }, { "tags", read_tags, 0 }, { "expires", read_expires, 0 },
  };
  struct key_fields t = { .key = l->conf->keys.list[index] };
  l->keys[index].amended = true;
  fields_read(l, 2, fields, sizeof fields / sizeof *fields, &t, NULL, false);
  if (!t.hashes.count && !t.hashes.bad) problem_add(l, "hash is missing: " HASH_FORM);
  t.key.hashes = arena_zero(&l->conf->arena, (t.hashes.count + 1) * sizeof *t.key.hashes);
  memcpy(t.key.hashes, t.hashes.list, t.hashes.count * sizeof *t.key.hashes);
  t.key.hash_count = t.hashes.count;
  l->conf->keys.list[index] = t.key;
}

int word_key(lua_State *L) {
  struct load *l = word_enter(L);
  struct keys *all = &l->conf->keys;
  struct span name;
  const char *why;
  if (!argument_name(l, "key", "key \"search-team\" { hash = \"sha256:…\" }", &name)) return sink_push(L);
  l->within = arena_printf(&l->scratch, "key '%.*s'", SPAN_FMT(name));
  if ((why = key_name_refused(name))) return problem_add(l, "%s", why), sink_push(L);
  for (size_t i = 0; i < all->count; i++)
    if (span_eq(all->list[i].name, name))
      return problem_add(l, "it stands twice; the first is at %s", place_text(l, l->keys[i].at)), sink_push(L);
  all->list = list_add(&l->conf->arena, all->list, &all->count, sizeof *all->list);
  all->list[all->count - 1] = (struct key){ .name = name, .until = KEY_FOREVER, .file = l->at.source->path, .line = l->at.line };
  l->keys = list_add(&l->scratch, l->keys, &l->key_count, sizeof *l->keys);
  l->keys[l->key_count - 1].at = l->at;
  return handle_push(L, key_amend, all->count - 1);
}

/* ---- once all is read */
void keys_finish(struct load *l) {
  struct keys *all = &l->conf->keys;
  keys_index(all, &l->conf->arena);
  for (size_t i = 0; i < all->count; i++) {
    const struct key *k = &all->list[i], *owner = k;
    l->at = l->keys[i].at;
    l->within = arena_printf(&l->scratch, "key '%.*s'", SPAN_FMT(k->name));
    if (!l->keys[i].amended) problem_add(l, "a table must follow: { hash = \"sha256:…\" }");
    for (size_t j = 0; owner == k && j < k->hash_count; j++) owner = keys_owner(all, k->hashes[j].digest);
    if (owner != k) problem_add(l, "its hash is that of key '%.*s' too", SPAN_FMT(owner->name));
  }
  l->within = (struct span){ 0 };
}
