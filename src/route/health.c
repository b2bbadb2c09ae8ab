/* Targets and endpoints to be avoided for a while. Keys are hashes of names, since configurations come
   and go; the seed is the worker's own, so that no client can choose names that meet. */
#include "health.h"
#include <sys/random.h>

enum { SLOTS = 1024, PROBES = 16, LIMIT_SLOTS = 512 };

/* What a provider last said is left of an account's limits, less what was sent since. */
struct limit_slot {
  uint64_t key;
  int64_t requests, tokens;
  uint64_t requests_until_ms, tokens_until_ms;           /* then the limit is whole again: 0 untold */
};

struct health {
  uint64_t seed;
  uint64_t latest_ms;                 /* nothing is avoided beyond it: the usual state needs no hashing */
  struct { uint64_t key, until_ms; } slots[SLOTS];     /* until 0: free */
  uint64_t limits_until_ms;           /* nothing is known of limits beyond it */
  struct limit_slot limits[LIMIT_SLOTS];               /* both until 0: free */
};

struct health *health_new(void) {
  struct health *h = mem_zero(sizeof *h);
  if (getrandom(&h->seed, sizeof h->seed, 0) != sizeof h->seed) h->seed = (uintptr_t)h;
  return h;
}

void health_free(struct health *h) { mem_free(h); }

static uint64_t endpoint_key(const struct health *h, const struct target *t) {
  return span_hash(t->endpoint->text, span_hash(t->provider->name, h->seed));
}

/* Two endpoints of one URL with keys of their own are two, hence the place. */
static uint64_t target_key(const struct health *h, const struct target *t) {
  uint64_t place[2] = { (uint64_t)(t->endpoint - t->provider->endpoints), t->account->index };
  return span_hash(t->model, span_hash(span_of((const char *)place, sizeof place), endpoint_key(h, t)));
}

static uint64_t until(const struct health *h, uint64_t key) {
  for (size_t i = 0; i < PROBES; i++) {
    size_t at = (key + i) % SLOTS;
    if (h->slots[at].until_ms && h->slots[at].key == key) return h->slots[at].until_ms;
  }
  return 0;
}

/* In a full neighbourhood what ends first gives way: forgetting early is harmless. */
static void set(struct health *h, uint64_t key, uint64_t now_ms, uint64_t until_ms) {
  if (until_ms > h->latest_ms) h->latest_ms = until_ms;
  size_t best = key % SLOTS;
  for (size_t i = 0; i < PROBES; i++) {
    size_t at = (key + i) % SLOTS;
    if (h->slots[at].until_ms && h->slots[at].key == key) {
      if (h->slots[at].until_ms < until_ms) h->slots[at].until_ms = until_ms;
      return;
    }
    if (h->slots[at].until_ms <= now_ms) h->slots[at].until_ms = 0;
    if (h->slots[at].until_ms < h->slots[best].until_ms) best = at;
  }
  h->slots[best].key = key;
  h->slots[best].until_ms = until_ms;
}

static void forget(struct health *h, uint64_t key) {
  for (size_t i = 0; i < PROBES; i++)
    if (h->slots[(key + i) % SLOTS].key == key) h->slots[(key + i) % SLOTS].until_ms = 0;
}

void health_avoid(struct health *h, const struct target *t, uint64_t now_ms, uint64_t until_ms) {
  if (until_ms > now_ms) set(h, target_key(h, t), now_ms, until_ms);
}

void health_avoid_endpoint(struct health *h, const struct target *t, uint64_t now_ms, uint64_t until_ms) {
  if (until_ms > now_ms) set(h, endpoint_key(h, t), now_ms, until_ms);
}

void health_good(struct health *h, const struct target *t) {
  if (!h->latest_ms) return;
  forget(h, target_key(h, t));
  forget(h, endpoint_key(h, t));
}

uint64_t health_until(const struct health *h, const struct target *t, uint64_t now_ms) {
  if (!h || h->latest_ms <= now_ms) return 0;
  uint64_t a = until(h, target_key(h, t)), b = until(h, endpoint_key(h, t));
  if (b > a) a = b;
  return a > now_ms ? a : 0;
}

/* ---- limits */
static uint64_t later(uint64_t a, uint64_t b) { return a > b ? a : b; }
static uint64_t over_ms(const struct limit_slot *s) { return later(s->requests_until_ms, s->tokens_until_ms); }

static struct limit_slot *limit_find(const struct health *h, uint64_t key) {
  for (size_t i = 0; i < PROBES; i++) {
    const struct limit_slot *s = &h->limits[(key + i) % LIMIT_SLOTS];
    if (s->key == key && over_ms(s)) return (struct limit_slot *)s;
  }
  return NULL;
}

/* In a full neighbourhood what is whole again soonest gives way. */
static struct limit_slot *limit_make(struct health *h, uint64_t key) {
  struct limit_slot *best = limit_find(h, key);
  if (best) return best;
  best = &h->limits[key % LIMIT_SLOTS];
  for (size_t i = 1; i < PROBES; i++) {
    struct limit_slot *s = &h->limits[(key + i) % LIMIT_SLOTS];
    if (over_ms(s) < over_ms(best)) best = s;
  }
  *best = (struct limit_slot){ .key = key };
  return best;
}

void health_told(struct health *h, const struct target *t, uint64_t now_ms, const struct limits_told *l) {
  struct limit_slot *s = limit_make(h, target_key(h, t));
  if (l->requests >= 0 && l->requests_reset >= 0) s->requests = l->requests, s->requests_until_ms = now_ms + (uint64_t)(l->requests_reset * 1000);
  if (l->tokens >= 0 && l->tokens_reset >= 0) s->tokens = l->tokens, s->tokens_until_ms = now_ms + (uint64_t)(l->tokens_reset * 1000);
  h->limits_until_ms = later(h->limits_until_ms, over_ms(s));
}

void health_sent(struct health *h, const struct target *t, uint64_t now_ms, int64_t tokens) {
  struct limit_slot *s = h->limits_until_ms > now_ms ? limit_find(h, target_key(h, t)) : NULL;
  if (!s) return;
  s->requests--;
  s->tokens -= tokens;
}

uint64_t health_short(const struct health *h, const struct target *t, int64_t tokens, uint64_t now_ms) {
  const struct limit_slot *s = h && h->limits_until_ms > now_ms ? limit_find(h, target_key(h, t)) : NULL;
  uint64_t short_until = 0;
  if (!s) return 0;
  if (s->requests_until_ms > now_ms && s->requests < 1) short_until = s->requests_until_ms;
  if (s->tokens_until_ms > now_ms && (s->tokens < 1 || s->tokens < tokens)) short_until = later(short_until, s->tokens_until_ms);
  return short_until;
}
