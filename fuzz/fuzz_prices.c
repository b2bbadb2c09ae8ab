/* The reader of price files: whatever it takes, each price is whole, costs nothing below zero, and the worst is the worst. */
#include <stdio.h>
#include <stdlib.h>
#include "weir/log.h"
#include "weir/price.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void priced(const struct price *p, uint64_t random) {
  struct usage u = USAGE_NONE;
  u.input = (int64_t)(random % 400000), u.cache_read = (int64_t)(random >> 8) % 1000, u.cache_write_1h = (int64_t)(random >> 20) % 1000;
  u.output = (int64_t)(random >> 30) % 100000, u.reasoning = u.output / 3, u.searches = (int64_t)(random >> 50) % 4;
  u.tier = (uint16_t)(random % TIER_COUNT), u.fast = random % 3, u.us = random % 2;
  struct price_bounds b = PRICE_BOUNDS(usage_input_total(&u), u.output);
  b.searches = u.searches;
  picodollars cost = price_of(p, &u, (int64_t)(random % 86400)), worst = price_worst(p, &b);
  require((cost == PRICE_UNKNOWN) == (worst == PRICE_UNKNOWN));
  require(cost >= PRICE_UNKNOWN && cost <= worst);
  for (size_t i = 0; i < p->count; i++)
    for (int m = 0; m < METER_COUNT; m++) require(p->rates[i].of[m] >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  struct span text = span_of((const char *)data, n);
  struct arena a = { 0 };
  struct buf odd = { 0 };
  struct price_table t;
  struct price worst;
  const char *why = NULL;
  size_t at;
  if (price_file_read(text, &a, &t, &odd, &why, &at)) {
    for (size_t i = 0; i < t.count; i++) {
      require(price_table_find(&t, t.models[i].name) != NULL);
      for (uint64_t k = 0; k < 4; k++) priced(&t.models[i].price, span_hash(text, k));
    }
    price_table_worst(&t, (struct span){ 0 }, &a, &worst);
    priced(&worst, span_hash(text, 9));
    price_table_free(&t);
  } else {
    require(why && at <= n && !t.count);
  }
  arena_end(&a);
  buf_free(&odd);
  return 0;
}
