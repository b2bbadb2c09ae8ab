#include "weir/price.h"

const struct price_model *price_table_find(const struct price_table *t, struct span name) { return table_get(&t->names, name); }

void price_table_free(struct price_table *t) { table_free(&t->names); }

static bool counts_as_worst(const struct price_model *m, struct span provider) {
  bool tokens = m->price.count && m->price.stated & METER_BIT(METER_INPUT) && m->price.stated & METER_BIT(METER_OUTPUT);
  return tokens && (!provider.n || span_eq(m->provider, provider));
}

static bool worst_of(const struct price_table *t, struct span provider, struct price_rates *into) {
  bool any = false;
  for (size_t i = 0; i < t->count; i++) {
    const struct price_model *m = &t->models[i];
    if (!counts_as_worst(m, provider)) continue;
    any = true;
    for (size_t k = 0; k < m->price.count; k++)
      for (int meter = 0; meter < METER_COUNT; meter++) {
        const struct price_rates *r = &m->price.rates[k];
        bool guessed = meter >= METER_TOKENS && r->assumed & METER_BIT(meter);
        if (!guessed && r->of[meter] > into->of[meter]) into->of[meter] = r->of[meter];
      }
  }
  return any;
}

void price_table_worst(const struct price_table *t, struct span provider, struct arena *a, struct price *out) {
  struct price_rates *r = arena_zero(a, sizeof *r);
  *out = (struct price){ .discount = PRICE_PPM, .fast = PRICE_PPM, .us = PRICE_PPM };
  r->tier = TIER_STANDARD;
  if (!worst_of(t, provider, r) && !worst_of(t, (struct span){ 0 }, r)) return;
  if (r->of[METER_SEARCH] < PRICE_SEARCH_ASSUMED * PRICE_PPM) r->of[METER_SEARCH] = PRICE_SEARCH_ASSUMED * PRICE_PPM;
  r->assumed = METER_BIT(METER_COUNT) - 1;
  out->rates = r;
  out->count = 1;
  out->stated = METERS_OF_INPUT | METERS_OF_OUTPUT;
  out->tiers = 1u << TIER_STANDARD;
}
