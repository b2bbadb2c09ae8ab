/* Which endpoint and account one attempt uses, and how long the next one waits. */
#include "health.h"

enum { BACKOFF_MS = 250, BACKOFF_MOST_MS = 8000 };

/* The upper half of a uniform number, scaled to 0..n-1. */
static uint64_t below(uint64_t chance, uint64_t n) { return (uint64_t)((__uint128_t)chance * n >> 64); }

static struct target target_of(const struct candidate *c, size_t endpoint, size_t account) {
  struct endpoint *e = &c->provider->endpoints[endpoint];
  return (struct target){ c->provider, e, &e->accounts[account], c->model, c->name };
}

/* What is asked of all of a candidate's accounts. */
struct asked { const struct candidate *c; const struct health *h; int64_t tokens; uint64_t now_ms; };

static uint64_t until(const struct asked *q, const struct target *t) {
  uint64_t avoided = health_until(q->h, t, q->now_ms), without_room = health_short(q->h, t, q->tokens, q->now_ms);
  return avoided > without_room ? avoided : without_room;
}

/* Accounts of the endpoint that are avoided until `level` at the latest (0: not at all). */
static size_t accounts_at(const struct asked *q, size_t endpoint, uint64_t level) {
  size_t n = 0;
  for (size_t i = 0; i < q->c->provider->endpoints[endpoint].account_count; i++) {
    struct target t = target_of(q->c, endpoint, i);
    n += until(q, &t) <= level;
  }
  return n;
}

/* The soonest time at which one of them is not avoided any more; 0 when one is free now. */
static uint64_t soonest(const struct asked *q, uint64_t (*at)(const struct asked *q, const struct target *t)) {
  uint64_t least = UINT64_MAX;
  for (size_t e = 0; e < q->c->provider->endpoint_count; e++)
    for (size_t i = 0; i < q->c->provider->endpoints[e].account_count; i++) {
      struct target t = target_of(q->c, e, i);
      uint64_t this = at(q, &t);
      if (this < least) least = this;
    }
  return least;
}

static uint64_t room_at(const struct asked *q, const struct target *t) { return health_short(q->h, t, q->tokens, q->now_ms); }

uint64_t route_short(const struct candidate *c, const struct health *h, int64_t tokens, uint64_t now_ms) {
  struct asked q = { c, h, tokens, now_ms };
  return soonest(&q, room_at);
}

bool route_avoided(const struct candidate *c, const struct health *h, uint64_t now_ms) {
  struct asked q = { c, h, 0, now_ms };
  return soonest(&q, until) > now_ms;
}

/* Endpoints by their weight, then its accounts evenly. One draw serves both: what is left of it within
   the endpoint's share is uniform again. */
void route_pick(const struct candidate *c, const struct health *h, int64_t tokens, uint64_t now_ms, uint64_t chance,
                struct target *out) {
  const struct provider *p = c->provider;
  if (p->endpoint_count == 1 && p->endpoints[0].account_count == 1) {     /* nothing to choose from */
    *out = target_of(c, 0, 0);
    return;
  }
  struct asked q = { c, h, tokens, now_ms };
  uint64_t level = soonest(&q, until), total = 0, at;
  size_t e = 0, n;
  for (size_t i = 0; i < p->endpoint_count; i++)
    if (accounts_at(&q, i, level)) total += p->endpoints[i].weight;
  at = below(chance, total);
  uint64_t rest = (uint64_t)((__uint128_t)chance * total);        /* the lower half: uniform within a unit of weight */
  for (; e + 1 < p->endpoint_count; e++) {
    if (!accounts_at(&q, e, level)) continue;
    if (at < p->endpoints[e].weight) break;
    at -= p->endpoints[e].weight;
  }
  n = below(rest, accounts_at(&q, e, level));
  for (size_t i = 0; i < p->endpoints[e].account_count; i++) {
    *out = target_of(c, e, i);
    if (until(&q, out) <= level && !n--) return;
  }
}

uint64_t route_backoff_ms(unsigned n, uint64_t chance) {
  uint64_t most = BACKOFF_MS;
  for (; n > 1 && most < BACKOFF_MOST_MS; n--) most *= 2;
  return below(chance, most + 1);
}
