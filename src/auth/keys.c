/* keys.c: from what a client sent to the key it is. */
#include "weir/keys.h"
#include "weir/url.h"
#include "hex.h"

static size_t place_of(const unsigned char digest[SHA256_SIZE], size_t cap) {
  uint64_t h;
  memcpy(&h, digest, sizeof h);
  return (size_t)h & (cap - 1);
}

/* Looks at every byte whatever they are: the time it takes tells nothing about how much of a hash was right. */
static bool same(const unsigned char *a, const unsigned char *b) {
  volatile unsigned char differs = 0;
  for (size_t i = 0; i < SHA256_SIZE; i++) differs |= a[i] ^ b[i];
  return !differs;
}

static void slot_add(struct keys *k, const struct key *key, const struct key_hash *hash) {
  size_t i = place_of(hash->digest, k->cap);
  while (k->slots[i].key) i = (i + 1) & (k->cap - 1);
  k->slots[i] = (struct key_slot){ key, hash };
}

void keys_index(struct keys *k, struct arena *a) {
  size_t hashes = 0;
  for (size_t i = 0; i < k->count; i++) hashes += k->list[i].hash_count;
  k->cap = hashes ? 16 : 0;
  while (k->cap && k->cap < hashes * 2) k->cap *= 2;
  k->slots = arena_zero(a, k->cap * sizeof *k->slots);
  for (size_t i = 0; i < k->count; i++)
    for (size_t j = 0; j < k->list[i].hash_count; j++) slot_add(k, &k->list[i], &k->list[i].hashes[j]);
}

static const struct key_slot *slot_find(const struct keys *k, const unsigned char digest[SHA256_SIZE]) {
  if (!k->cap) return NULL;
  for (size_t i = place_of(digest, k->cap); k->slots[i].key; i = (i + 1) & (k->cap - 1))
    if (same(k->slots[i].hash->digest, digest)) return &k->slots[i];
  return NULL;
}

const struct key *keys_owner(const struct keys *k, const unsigned char digest[SHA256_SIZE]) {
  const struct key_slot *s = slot_find(k, digest);
  return s ? s->key : NULL;
}

enum key_verdict keys_find(const struct keys *k, struct span text, int64_t now, const struct key **out) {
  struct sha256 h;
  unsigned char digest[SHA256_SIZE];
  if (!k->cap || !text.n || text.n > KEY_LONGEST) return KEY_UNKNOWN;
  sha256_init(&h);
  sha256_feed(&h, text);
  sha256_end(&h, digest);
  const struct key_slot *s = slot_find(k, digest);
  if (!s) return KEY_UNKNOWN;
  if (now >= s->key->until || now >= s->hash->until) return KEY_EXPIRED;
  *out = s->key;
  return KEY_GOOD;
}

/* ---- where it stands in a request */
/* The key in a header's value; empty when the header carries none. */
static struct span key_in(struct http_header h) {
  switch (h.name.n) {
  case 7: return span_ieq(h.name, SPAN("api-key")) ? h.value : SPAN("");
  case 9: return span_ieq(h.name, SPAN("x-api-key")) ? h.value : SPAN("");
  case 13:
    if (!span_ieq(h.name, SPAN("authorization")) || !span_istarts(h.value, SPAN("bearer "))) return SPAN("");
    return span_trim(span_from(h.value, 7));
  case 14: return span_ieq(h.name, SPAN("x-goog-api-key")) ? h.value : SPAN("");
  default: return SPAN("");
  }
}

/* A parameter's value without its percent escapes, in out; empty when it is longer than a key. */
static struct span decoded(struct span value, char out[KEY_LONGEST]) {
  size_t n = 0;
  for (size_t i = 0; i < value.n; i++) {
    int high = value.p[i] == '%' && i + 2 < value.n ? hex_digit(value.p[i + 1]) : -1;
    int low = high >= 0 ? hex_digit(value.p[i + 2]) : -1;
    if (n == KEY_LONGEST) return SPAN("");
    out[n++] = low >= 0 ? (char)(high << 4 | low) : value.p[i];
    if (low >= 0) i += 2;
  }
  return span_of(out, n);
}

enum key_verdict keys_of_request(const struct keys *k, const struct http_head *h, int64_t now, const struct key **out) {
  char text[KEY_LONGEST];
  struct span path, query = span_cut(h->target, '?', &path), given;
  enum key_verdict best = KEY_NONE, v;
  for (size_t i = 0; i < h->count; i++) {
    if (!(given = key_in(h->headers[i])).n) continue;
    if ((v = keys_find(k, given, now, out)) == KEY_GOOD) return v;
    if (v > best) best = v;
  }
  given = query.n ? query_value(query, SPAN("key")) : SPAN("");
  if (!given.n) return best;
  v = keys_find(k, decoded(given, text), now, out);
  return v > best ? v : best;
}

/* ---- what it may ask for */
static bool matches(struct span pattern, struct span model) {
  bool open = pattern.n && pattern.p[pattern.n - 1] == '*';
  return open ? span_starts(model, span_of(pattern.p, pattern.n - 1)) : span_eq(pattern, model);
}

bool key_allows(const struct key *k, struct span model) {
  for (size_t i = 0; i < k->model_count; i++)
    if (matches(k->models[i], model)) return true;
  return !k->model_count;
}

/* An open pattern that ends at or before the '/' of "openai/…" matches all that may follow. */
static bool covers(struct span pattern, struct span provider) {
  if (!pattern.n || pattern.p[pattern.n - 1] != '*') return false;
  struct span start = span_of(pattern.p, pattern.n - 1);
  if (start.n <= provider.n) return span_starts(provider, start);
  return start.n == provider.n + 1 && start.p[provider.n] == '/' && span_starts(start, provider);
}

bool key_allows_provider(const struct key *k, struct span provider) {
  for (size_t i = 0; i < k->model_count; i++)
    if (covers(k->models[i], provider)) return true;
  return !k->model_count;
}
