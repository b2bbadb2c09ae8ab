/* Which endpoint and account one attempt uses, and how long the next one waits. */
#include "health.h"

enum { BACKOFF_MS = 250, BACKOFF_MOST_MS = 8000 };

/* The upper half of a uniform number, scaled to 0..n-1. */
static uint64_t below(uint64_t chance, uint64_t n) { return (uint64_t)((__uint128_t)chance * n >> 64); }

static struct target target_of(const struct candidate *c, size_t endpoint, size_t account) {
  struct endpoint *e = &c->provider->endpoints[endpoint];
  return (struct target){ c->provider, e, &e->accounts[account], c->model, c->name };
}

/* Accounts of the endpoint that are avoided until `level` at the latest (0: not at all). */
static size_t accounts_at(const struct candidate *c, const struct health *h, uint64_t now_ms, size_t endpoint,
                          uint64_t level) {
  size_t n = 0;
  for (size_t i = 0; i < c->provider->endpoints[endpoint].account_count; i++) {
    struct target t = target_of(c, endpoint, i);
    n += health_until(h, &t, now_ms) <= level;
  }
  return n;
}

/* The soonest time at which one of them is not avoided any more; 0 when one is free now. */
static uint64_t soonest(const struct candidate *c, const struct health *h, uint64_t now_ms) {
  uint64_t least = UINT64_MAX;
  for (size_t e = 0; e < c->provider->endpoint_count; e++)
    for (size_t i = 0; i < c->provider->endpoints[e].account_count; i++) {
      struct target t = target_of(c, e, i);
      uint64_t until = health_until(h, &t, now_ms);
      if (until < least) least = until;
    }
  return least;
}

/* Endpoints by their weight, then its accounts evenly. One draw serves both: what is left of it within
   the endpoint's share is uniform again. */
void route_pick(const struct candidate *c, const struct health *h, uint64_t now_ms, uint64_t chance,
                struct target *out) {
  const struct provider *p = c->provider;
  uint64_t level = soonest(c, h, now_ms), total = 0, at;
  size_t e = 0, n;
  for (size_t i = 0; i < p->endpoint_count; i++)
    if (accounts_at(c, h, now_ms, i, level)) total += p->endpoints[i].weight;
  at = below(chance, total);
  uint64_t rest = (uint64_t)((__uint128_t)chance * total);        /* the lower half: uniform within a unit of weight */
  for (; e + 1 < p->endpoint_count; e++) {
    if (!accounts_at(c, h, now_ms, e, level)) continue;
    if (at < p->endpoints[e].weight) break;
    at -= p->endpoints[e].weight;
  }
  n = below(rest, accounts_at(c, h, now_ms, e, level));
  for (size_t i = 0; i < p->endpoints[e].account_count; i++) {
    *out = target_of(c, e, i);
    if (health_until(h, out, now_ms) <= level && !n--) return;
  }
}

uint64_t route_backoff_ms(unsigned n, uint64_t chance) {
  uint64_t most = BACKOFF_MS;
  for (; n > 1 && most < BACKOFF_MOST_MS; n--) most *= 2;
  return below(chance, most + 1);
}
