/* From what a source states to rates that are whole: each step, tier and hour has all meters. */
#include "weir/price.h"

void price_set(struct price_draft *d, enum meter m, int64_t above, enum service_tier tier, unsigned hours, picodollars per_million) {
  struct price_item item = { above, (uint8_t)m, (uint8_t)(tier == TIER_UNTOLD ? TIER_STANDARD : tier), (uint8_t)hours, per_million };
  for (size_t i = 0; i < d->count; i++) {
    struct price_item *old = &d->items[i];
    if (old->above == above && old->meter == item.meter && old->tier == item.tier && old->hours == item.hours) { *old = item; return; }
  }
  if (d->count == PRICE_MOST_ITEMS) { d->overflow = true; return; }
  d->items[d->count++] = item;
}

unsigned price_hours(struct price_draft *d, unsigned from, unsigned to) {
  for (unsigned i = 0; i < d->hours_count; i++)
    if (d->hours[i].from == from && d->hours[i].to == to) return i + 1;
  if (d->hours_count == PRICE_MOST_HOURS) return d->overflow = true, 0;
  d->hours[d->hours_count].from = (uint16_t)from;
  d->hours[d->hours_count].to = (uint16_t)to;
  return (unsigned)++d->hours_count;
}

/* The nearest that is stated: at this step before one below it, of this hour before all day, of this tier before standard. So a long
   input is never charged at the lower rate because only that one is cheaper at night. */
static const struct price_item *stated(const struct price_draft *d, int m, int64_t above, int tier, unsigned hours) {
  const struct price_item *best = NULL;
  for (size_t i = 0; i < d->count; i++) {
    const struct price_item *p = &d->items[i];
    bool fits = p->meter == m && p->above <= above && (p->tier == tier || p->tier == TIER_STANDARD) && (!p->hours || p->hours == hours);
    if (!fits || (best && p->above < best->above)) continue;
    bool nearer = !best || p->above > best->above || (p->hours && !best->hours);
    if (nearer || (p->hours == best->hours && p->tier == tier)) best = p;
  }
  return best;
}

/* What a meter costs when nobody says: as this one. METER_COUNT: nothing. */
static int stands_for(int m) {
  static const uint8_t others[METER_TOKENS] = {
    [METER_INPUT] = METER_COUNT, [METER_CACHE_READ] = METER_INPUT, [METER_CACHE_WRITE] = METER_INPUT,
    [METER_CACHE_WRITE_1H] = METER_CACHE_WRITE, [METER_AUDIO_IN] = METER_INPUT, [METER_IMAGE_IN] = METER_INPUT,
    [METER_OUTPUT] = METER_COUNT, [METER_REASONING] = METER_OUTPUT, [METER_AUDIO_OUT] = METER_OUTPUT,
    [METER_IMAGE_OUT] = METER_OUTPUT,
  };
  return m < METER_TOKENS ? others[m] : METER_COUNT;
}

static picodollars rate_of(const struct price_draft *d, int m, const struct price_rates *r, unsigned hours, bool *assumed) {
  *assumed = false;
  for (int k = m; k != METER_COUNT; k = stands_for(k)) {
    const struct price_item *p = stated(d, k, r->above, r->tier, hours);
    if (p) return *assumed = k != m, p->rate;
  }
  if (m != METER_SEARCH) return 0;
  *assumed = true;
  return PRICE_SEARCH_ASSUMED * PRICE_PPM;
}

/* The steps in rising order, 0 first. */
static size_t steps_of(const struct price_draft *d, int64_t steps[PRICE_MOST_STEPS + 1]) {
  size_t n = 1;
  steps[0] = 0;
  for (size_t i = 0; i < d->count; i++) {
    size_t at = 0;
    while (at < n && steps[at] < d->items[i].above) at++;
    if (at < n && steps[at] == d->items[i].above) continue;
    if (n > PRICE_MOST_STEPS) return 0;
    memmove(&steps[at + 1], &steps[at], (n - at) * sizeof *steps);
    steps[at] = d->items[i].above;
    n++;
  }
  return n;
}

static void rates_fill(const struct price_draft *d, struct price_rates *r, unsigned hours) {
  if (hours) r->from = d->hours[hours - 1].from, r->to = d->hours[hours - 1].to;
  for (int m = 0; m < METER_COUNT; m++) {
    bool assumed;
    r->of[m] = rate_of(d, m, r, hours, &assumed);
    if (assumed) r->assumed |= METER_BIT(m);
  }
}

static const char *lacks(const struct price_draft *d, const struct price *p, bool no_output) {
  bool tokens = p->stated & (METERS_OF_INPUT | METERS_OF_OUTPUT), in = stated(d, METER_INPUT, 0, TIER_STANDARD, 0);
  if (d->overflow) return "it has too many steps, tiers and hours";
  if (!p->stated) return "it names no price";
  if (tokens && !in) return "the price of input is missing";
  if (tokens && !no_output && !stated(d, METER_OUTPUT, 0, TIER_STANDARD, 0)) return "the price of output is missing";
  return NULL;
}

bool price_make(const struct price_draft *d, bool no_output, struct arena *a, struct price *out, const char **why) {
  int64_t steps[PRICE_MOST_STEPS + 2];
  *out = (struct price){ .discount = PRICE_PPM, .fast = d->fast ? d->fast : PRICE_PPM, .us = d->us ? d->us : PRICE_PPM };
  out->tiers = 1u << TIER_STANDARD;
  for (size_t i = 0; i < d->count; i++) {
    out->stated |= METER_BIT(d->items[i].meter);
    out->tiers |= 1u << d->items[i].tier;
  }
  if ((*why = lacks(d, out, no_output))) return false;
  size_t step_count = steps_of(d, steps);
  if (!step_count) return *why = "it has too many steps of input", false;
  struct price_rates *r = out->rates = arena_zero(a, step_count * (size_t)__builtin_popcount(out->tiers) * (d->hours_count + 1) * sizeof *r);
  for (size_t s = 0; s < step_count; s++)
    for (int t = TIER_STANDARD; t < TIER_COUNT; t++)
      for (unsigned h = 0; h <= d->hours_count && out->tiers & 1u << t; h++, r++) {
        r->above = steps[s];
        r->tier = (uint16_t)t;
        rates_fill(d, r, h);
      }
  out->count = (size_t)(r - out->rates);
  return true;
}
