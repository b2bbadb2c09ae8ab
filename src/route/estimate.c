#include "weir/estimate.h"

static int64_t times(int64_t a, int64_t b) {
  int64_t product;
  return __builtin_mul_overflow(a, b, &product) ? INT64_MAX / 4 : product;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

picodollars estimate_cost(const struct estimate *e, const struct price *p) {
  struct price_bounds b = e->bounds;
  if (!p || !p->count) return PRICE_UNKNOWN;
  b.input = e->input;
  b.output = e->output;
  return price_worst(p, &b);
}

/* Which meters can run. Outside of messages a provider may write to its cache unasked. */
static struct price_bounds price_bounds_of(const struct estimate_of *of) {
  const struct request_bounds *b = &of->bounds;
  struct price_bounds p = { .searches = b->searches, .meters = ~0u, .tiers = b->tiers | 1u << TIER_UNTOLD, .fast = b->fast };
  if (!b->caches && of->operation->dialect == DIALECT_MESSAGES) p.meters &= ~METER_BIT(METER_CACHE_WRITE);
  if (!b->caches_1h) p.meters &= ~METER_BIT(METER_CACHE_WRITE_1H);
  if (!b->audio_in && !b->beyond) p.meters &= ~METER_BIT(METER_AUDIO_IN);
  if (!b->beyond) p.meters &= ~METER_BIT(METER_IMAGE_IN);
  if (!b->audio_out) p.meters &= ~METER_BIT(METER_AUDIO_OUT);
  return p;
}

void estimate_make(const struct estimate_of *of, const struct model_facts *m, struct estimate *out) {
  const struct request_bounds *b = &of->bounds;
  *out = (struct estimate){ .input = b->input, .bounds = price_bounds_of(of), .choices = b->choices };
  if (b->beyond) out->input = m->window > 0 ? m->window : b->input + ESTIMATE_UNKNOWN_WINDOW;
  else if (m->window > 0) out->input = least(b->input, m->window);
  out->hidden = model_hides(m, of->reasoning);
  if (operation_counts(of->operation)) out->input = 0;
  if (!b->no_output) {
    int64_t asked = of->asked >= 0 ? of->asked : b->output, own = m->max_output > 0 ? m->max_output : INT64_MAX;
    out->most = asked >= 0 ? least(asked, own) : own;
    out->extends = of->stream && !out->hidden && !of->bills_cancelled && b->choices == 1 && !b->later;
    out->limit = !out->extends && asked < 0;
    if (out->extends) out->output = least(ESTIMATE_STEP, out->most);
    else out->output = times(out->most < INT64_MAX ? out->most : ESTIMATE_UNKNOWN_OUTPUT, b->choices);
  }
  out->cost = estimate_cost(out, &m->price);
}

static bool fits(const struct estimate *e, const struct price *p, int64_t output, picodollars cost_left, int64_t tokens_left) {
  struct estimate with = *e;
  with.output = output;
  return e->input + output <= tokens_left && (cost_left == INT64_MAX || estimate_cost(&with, p) <= cost_left);
}

bool estimate_shrink(struct estimate *e, const struct price *p, picodollars cost_left, int64_t tokens_left) {
  if (!e->limit && !e->extends) return false;
  int64_t low = 0, high = e->output;
  while (low < high) {                                   /* the price never falls with the output */
    int64_t middle = low + (high - low + 1) / 2;
    if (fits(e, p, middle, cost_left, tokens_left)) low = middle;
    else high = middle - 1;
  }
  if (low < ESTIMATE_LEAST) return false;
  e->output = low;
  e->cost = estimate_cost(e, p);
  return true;
}

picodollars estimate_more(const struct estimate *e, const struct price *p, int64_t output) {
  struct estimate with = *e;
  picodollars now = estimate_cost(e, p);
  with.output += output;
  return now == PRICE_UNKNOWN ? PRICE_UNKNOWN : estimate_cost(&with, p) - now;
}
