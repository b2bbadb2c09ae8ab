/* Usage to money: worked examples, exactness against numbers from Python's fractions, and what must hold for any price. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "weir/price.h"

static const struct { int64_t rate, count; uint32_t discount; int64_t cost; } vectors[] = {
  { 3000000000000ll, 1ll, 1000000u, 3000000ll },
  { 1ll, 1ll, 1000000u, 1ll },
  { 1ll, 999999ll, 1000000u, 1ll },
  { 1ll, 1000001ll, 1000000u, 2ll },
  { 9223372036854775807ll, 1000000ll, 1000000u, 9223372036854775807ll },
  { 9223372036854775807ll, 1000001ll, 1000000u, 9223372036854775807ll },
  { 9223372036854775807ll, 1000000000000000ll, 4294967295u, 9223372036854775807ll },
  { 1250000000000ll, 272001ll, 900000u, 306001125000ll },
  { 7ll, 142857ll, 333333u, 1ll },
  { 1326920977893ll, 810112ll, 303820u, 326592708773ll },
  { 1098ll, 47ll, 2444391u, 1ll },
  { 585033575357898133ll, 615ll, 360489u, 129702373656524ll },
  { 6091003036ll, 1487ll, 2311260u, 20933825ll },
  { 56088452535ll, 9548738650ll, 2631646u, 1409441107801359ll },
  { 63599671ll, 7ll, 207993u, 93ll },
  { 313373898889137ll, 40755516653230ll, 1757997u, 9223372036854775807ll },
  { 2121956684620781ll, 9914853945ll, 3423083u, 9223372036854775807ll },
  { 189506ll, 75ll, 2395805u, 35ll },
  { 1575977ll, 102164ll, 2297407u, 369902ll },
  { 16460ll, 8845919669ll, 863854u, 125780458ll },
  { 2922295637ll, 459123744ll, 3259934u, 4373838171536ll },
  { 5151665532689ll, 407104716530737ll, 1257314u, 9223372036854775807ll },
  { 50602421548072ll, 269637315105ll, 343325u, 4684429669675812295ll },
};

static struct arena arena;
static int clean(void **state) { return (void)state, arena_end(&arena), 0; }

static picodollars usd(const char *text) {
  picodollars v;
  const char *why;
  assert_true(money_read(span_cstr(text), &v, &why));
  return v;
}

static struct price made(const struct price_draft *d) {
  struct price p;
  const char *why;
  if (!price_make(d, false, &arena, &p, &why)) fail_msg("%s", why);
  return p;
}

static void set(struct price_draft *d, enum meter m, int64_t above, const char *rate) {
  price_set(d, m, above, TIER_STANDARD, 0, usd(rate));
}

/* claude-sonnet-4-5 of August 2026 */
static struct price sonnet(void) {
  struct price_draft d = { 0 };
  set(&d, METER_INPUT, 0, "3"), set(&d, METER_OUTPUT, 0, "15"), set(&d, METER_CACHE_READ, 0, "0.3");
  set(&d, METER_CACHE_WRITE, 0, "3.75"), set(&d, METER_CACHE_WRITE_1H, 0, "6");
  set(&d, METER_INPUT, 200000, "6"), set(&d, METER_OUTPUT, 200000, "22.5"), set(&d, METER_CACHE_READ, 200000, "0.6");
  set(&d, METER_CACHE_WRITE, 200000, "7.5"), set(&d, METER_CACHE_WRITE_1H, 200000, "12");
  return made(&d);
}

static struct usage used(int64_t input, int64_t read, int64_t write, int64_t hour, int64_t output) {
  struct usage u = USAGE_NONE;
  u.input = input, u.cache_read = read, u.cache_write = write, u.cache_write_1h = hour, u.output = output;
  return u;
}

static void worked_examples(void **state) {
  struct price p = sonnet();
  struct usage u = used(100, 1000, 200, 50, 40);
  (void)state;
  assert_int_equal(price_of(&p, &u, 0), usd("0.00225"));
  u = used(250000, -1, -1, -1, 1000);
  assert_int_equal(price_of(&p, &u, 0), usd("1.5225"));
  u = used(200000, -1, -1, -1, 1000);                    /* not above */
  assert_int_equal(price_of(&p, &u, 0), usd("0.615"));
  u = used(1, 200000, -1, -1, 0);                        /* what was cached counts for the step */
  assert_int_equal(price_of(&p, &u, 0), usd("0.120006"));
  u = USAGE_NONE;
  assert_int_equal(price_of(&p, &u, 0), 0);
}

static void one_rate_as_python_has_it(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
    struct price_draft d = { 0 };
    price_set(&d, METER_INPUT, 0, TIER_STANDARD, 0, vectors[i].rate);
    price_set(&d, METER_OUTPUT, 0, TIER_STANDARD, 0, 0);
    struct price p = made(&d);
    struct usage u = used(vectors[i].count, -1, -1, -1, -1);
    p.discount = vectors[i].discount;
    if (price_of(&p, &u, 0) != vectors[i].cost) fail_msg("%zu: %lld", i, (long long)price_of(&p, &u, 0));
  }
}

static void parts_are_taken_out_of_their_whole(void **state) {
  struct usage u = used(100, 7, -1, -1, 50);
  int64_t n[METER_COUNT];
  (void)state;
  u.audio_in = 30, u.image_in = 90, u.reasoning = 20, u.audio_out = 10, u.image_out = 5, u.searches = 3;
  usage_meters(&u, n);
  assert_int_equal(n[METER_AUDIO_IN], 30);
  assert_int_equal(n[METER_IMAGE_IN], 70);
  assert_int_equal(n[METER_INPUT], 0);
  assert_int_equal(n[METER_CACHE_READ], 7);
  assert_int_equal(n[METER_CACHE_WRITE], 0);
  assert_int_equal(n[METER_REASONING], 20);
  assert_int_equal(n[METER_AUDIO_OUT], 10);
  assert_int_equal(n[METER_IMAGE_OUT], 5);
  assert_int_equal(n[METER_OUTPUT], 15);
  assert_int_equal(n[METER_SEARCH], 3);
  assert_int_equal(n[METER_REQUEST], 1);
  assert_int_equal(usage_input_total(&u), 107);
}

static void what_nobody_states_costs_as_its_kind(void **state) {
  struct price_draft d = { 0 };
  set(&d, METER_INPUT, 0, "1"), set(&d, METER_OUTPUT, 0, "4");
  struct price p = made(&d);
  (void)state;
  assert_int_equal(p.rates->of[METER_CACHE_READ], usd("1"));
  assert_int_equal(p.rates->of[METER_CACHE_WRITE_1H], usd("1"));
  assert_int_equal(p.rates->of[METER_REASONING], usd("4"));
  assert_int_equal(p.rates->of[METER_SEARCH], PRICE_SEARCH_ASSUMED * 1000000);
  assert_int_equal(p.rates->of[METER_REQUEST], 0);
  assert_true(p.rates->assumed & METER_BIT(METER_CACHE_READ));
  assert_false(p.rates->assumed & METER_BIT(METER_INPUT));
  struct usage u = used(10, 10, -1, -1, 1);
  u.searches = 2;
  assert_int_equal(price_of(&p, &u, 0), 10 * 1000000 * 2 + 4000000 + 2 * PRICE_SEARCH_ASSUMED);
  assert_int_equal(price_fees(&p, &u, 0), 2 * PRICE_SEARCH_ASSUMED);
  u.searches = -1;
  assert_int_equal(price_fees(&p, &u, 0), 0);
  set(&d, METER_REQUEST, 0, "10000");
  p = made(&d);
  p.discount = 500000;
  assert_int_equal(price_fees(&p, &u, 0), usd("0.005"));
}

static void tiers_and_hours(void **state) {
  struct price_draft d = { 0 };
  set(&d, METER_INPUT, 0, "2"), set(&d, METER_OUTPUT, 0, "8"), set(&d, METER_INPUT, 1000, "4"), set(&d, METER_OUTPUT, 1000, "12");
  price_set(&d, METER_INPUT, 0, TIER_PRIORITY, 0, usd("3"));
  price_set(&d, METER_INPUT, 1000, TIER_PRIORITY, 0, usd("7"));
  price_set(&d, METER_INPUT, 0, TIER_FLEX, 0, usd("1"));
  unsigned night = price_hours(&d, 16 * 60 + 30, 30);    /* DeepSeek's old night: 16:30 to 00:30 UTC */
  price_set(&d, METER_INPUT, 0, TIER_STANDARD, night, usd("0.5"));
  struct price p = made(&d);
  struct usage u = used(1000, -1, -1, -1, 1000);
  int64_t noon = 12 * 3600, evening = 16 * 3600 + 30 * 60, late = 86400 + 29 * 60 + 59;
  (void)state;
  assert_int_equal(price_of(&p, &u, noon), usd("0.010"));
  assert_int_equal(price_of(&p, &u, evening - 1), usd("0.010"));
  assert_int_equal(price_of(&p, &u, evening), usd("0.0085"));
  assert_int_equal(price_of(&p, &u, late), usd("0.0085"));
  assert_int_equal(price_of(&p, &u, late + 1), usd("0.010"));
  u.tier = TIER_PRIORITY;
  assert_int_equal(price_of(&p, &u, noon), usd("0.011"));
  u.tier = TIER_FLEX;
  assert_int_equal(price_of(&p, &u, noon), usd("0.009"));
  u.tier = TIER_BATCH;                                   /* has no price of its own: the standard one */
  assert_int_equal(price_of(&p, &u, noon), usd("0.010"));
  u.input = 1001, u.tier = TIER_PRIORITY;
  assert_int_equal(price_of(&p, &u, noon), usd("0.019007"));
  u.tier = TIER_FLEX;                                    /* above the step flex states nothing */
  assert_int_equal(price_of(&p, &u, noon), usd("0.016004"));
  u.tier = TIER_STANDARD;                                /* nor does the night */
  assert_int_equal(price_of(&p, &u, evening), usd("0.016004"));
}

static void factors(void **state) {
  struct price p = sonnet();
  struct usage u = used(1000000, -1, -1, -1, 0);
  (void)state;
  p.fast = 2000000, p.us = 1100000, p.discount = 900000;
  assert_int_equal(price_of(&p, &u, 0), usd("5.4"));
  u.fast = 1, u.us = 1;
  assert_int_equal(price_of(&p, &u, 0), usd("11.88"));
  u.fast = 2, u.us = 2;
  assert_int_equal(price_of(&p, &u, 0), usd("5.4"));
}

static void unknown_is_no_zero(void **state) {
  struct price_draft d = { 0 };
  struct price p = { 0 };
  struct usage u = used(1, -1, -1, -1, 1);
  struct price_bounds b = PRICE_BOUNDS(1, 1);
  const char *why;
  (void)state;
  assert_int_equal(price_of(NULL, &u, 0), PRICE_UNKNOWN);
  assert_int_equal(price_of(&p, &u, 0), PRICE_UNKNOWN);
  assert_int_equal(price_worst(&p, &b), PRICE_UNKNOWN);
  assert_false(price_make(&d, false, &arena, &p, &why));
  assert_int_equal(p.count, 0);
  set(&d, METER_INPUT, 0, "1");
  assert_false(price_make(&d, false, &arena, &p, &why));
  assert_string_equal(why, "the price of output is missing");
  assert_true(price_make(&d, true, &arena, &p, &why));
  d.count = 0;
  set(&d, METER_OUTPUT, 0, "1");
  assert_false(price_make(&d, false, &arena, &p, &why));
  d.count = 0;
  set(&d, METER_PICTURE_OUT, 0, "40000");                /* 4 cents an image: no word about tokens */
  assert_true(price_make(&d, false, &arena, &p, &why));
  assert_int_equal(price_of(&p, &u, 0), PRICE_UNKNOWN);
  assert_int_equal(price_worst(&p, &b), PRICE_UNKNOWN);
  int64_t n[METER_COUNT] = { [METER_PICTURE_OUT] = 3 };
  assert_int_equal(price_of_meters(&p, n, 0, TIER_UNTOLD, 0), usd("0.12"));
}

static void the_worst_by_hand(void **state) {
  struct price p = sonnet();
  struct price_bounds b = PRICE_BOUNDS(100000, 2048);
  (void)state;
  assert_int_equal(price_worst(&p, &b), usd("0.63072"));                  /* all of it written for an hour */
  b.meters = ~(METER_BIT(METER_CACHE_WRITE_1H) | METER_BIT(METER_CACHE_WRITE));
  assert_int_equal(price_worst(&p, &b), usd("0.33072"));
  b.input = 200001;
  assert_int_equal(price_worst(&p, &b), usd("1.246086"));
  b.searches = 1;
  assert_int_equal(price_worst(&p, &b), usd("1.296086"));
  b.input = INT64_MAX, b.output = INT64_MAX, b.searches = INT64_MAX;
  assert_int_equal(price_worst(&p, &b), MONEY_MOST);
}

/* ---- any price, any usage */
static uint64_t seed = 2463534242;
static uint64_t chance(uint64_t below) {
  seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
  return below ? seed % below : 0;
}

/* rising: rates do not fall above a step, so that more never costs less. */
static struct price any_price(bool rising) {
  static const int64_t steps[] = { 0, 50, 128000, 200000 };
  struct price_draft d = { 0 };
  uint64_t most = chance(4) ? 50 * (uint64_t)MONEY_USD : INT64_MAX / 64;
  unsigned night = chance(2) ? price_hours(&d, (unsigned)chance(1440), (unsigned)chance(1440)) : 0;
  int64_t base[METER_COUNT];
  for (int m = 0; m < METER_COUNT; m++) base[m] = (int64_t)chance(most);
  for (int s = 0; s < 4; s++)
    for (int m = 0; m < METER_COUNT; m++) {
      bool must = !s && (rising || m == METER_INPUT || m == METER_OUTPUT);
      if (rising) base[m] += (int64_t)chance(most);
      int64_t rate = rising ? base[m] : (int64_t)chance(most);
      if (must || chance(3)) price_set(&d, (enum meter)m, steps[s], TIER_STANDARD, 0, rate);
      if (!rising && d.count < 140 && !chance(6)) price_set(&d, (enum meter)m, steps[s], (enum service_tier)(1 + chance(4)), 0, (int64_t)chance(most));
      if (!rising && d.count < 140 && night && !chance(8)) price_set(&d, (enum meter)m, steps[s], TIER_STANDARD, night, (int64_t)chance(most));
    }
  struct price p = made(&d);
  if (chance(2)) p.discount = (uint32_t)chance(3000000);
  if (chance(2)) p.fast = PRICE_PPM + (uint32_t)chance(9000000), p.us = PRICE_PPM + (uint32_t)chance(1000000);
  return p;
}

static int64_t any_count(void) {
  static const uint64_t mosts[] = { 3, 100, 300000, 2000000, 1000000000000000 };
  return chance(8) ? (int64_t)chance(mosts[chance(5)]) : -1;
}

static struct usage any_usage(void) {
  struct usage u = used(any_count(), any_count(), any_count(), any_count(), any_count());
  u.reasoning = any_count(), u.audio_in = any_count(), u.image_in = any_count(), u.audio_out = any_count(), u.image_out = any_count();
  u.searches = (int64_t)chance(5) - 1;
  u.tier = (uint16_t)chance(TIER_COUNT), u.fast = (uint16_t)chance(3), u.us = (uint16_t)chance(3);
  return u;
}

static void never_above_the_worst(void **state) {
  (void)state;
  for (int i = 0; i < 5000; i++) {
    struct price p = any_price(false);
    for (int k = 0; k < 5; k++) {
      struct usage u = any_usage();
      struct price_bounds b = PRICE_BOUNDS(usage_input_total(&u) + (int64_t)chance(3), (u.output < 0 ? 0 : u.output) + (int64_t)chance(3));
      int64_t n[METER_COUNT];
      b.searches = u.searches < 0 ? 0 : u.searches;
      if (chance(2)) {                                   /* no wider than this usage needs */
        usage_meters(&u, n);
        b.meters = 0, b.tiers = 1u << u.tier, b.fast = u.fast == 1;
        for (int m = 0; m < METER_TOKENS; m++) b.meters |= n[m] ? METER_BIT(m) : 0;
      }
      picodollars worst = price_worst(&p, &b), cost = price_of(&p, &u, (int64_t)chance(200000));
      if (cost < 0 || cost > worst) fail_msg("%d.%d: %lld above %lld", i, k, (long long)cost, (long long)worst);
    }
    if (i % 100 == 99) arena_end(&arena);
  }
}

static void more_never_costs_less(void **state) {
  (void)state;
  for (int i = 0; i < 5000; i++) {
    struct price p = any_price(true);
    struct usage u = any_usage();
    int64_t *fields[] = { &u.cache_read, &u.cache_write, &u.cache_write_1h, &u.input, &u.output, &u.searches };
    u.audio_in = u.image_in = u.reasoning = u.audio_out = u.image_out = -1;
    picodollars before = price_of(&p, &u, 0);
    int64_t *one = fields[chance(6)];
    *one = (*one < 0 ? 0 : *one) + (int64_t)chance(100000);
    if (price_of(&p, &u, 0) < before) fail_msg("%d", i);
    if (i % 100 == 99) arena_end(&arena);
  }
}

static void too_much_of_it(void **state) {
  struct price_draft d = { 0 };
  struct price p;
  const char *why;
  (void)state;
  set(&d, METER_INPUT, 0, "1"), set(&d, METER_OUTPUT, 0, "1");
  for (int64_t step = 1; step <= PRICE_MOST_STEPS; step++) set(&d, METER_INPUT, step * 1000, "2");
  assert_true(price_make(&d, false, &arena, &p, &why));
  set(&d, METER_INPUT, 77, "2");
  assert_false(price_make(&d, false, &arena, &p, &why));
  d = (struct price_draft){ 0 };
  set(&d, METER_INPUT, 0, "1"), set(&d, METER_OUTPUT, 0, "1");
  for (unsigned i = 0; i < 4; i++) assert_int_equal(price_hours(&d, i, 100), i + 1);
  assert_int_equal(price_hours(&d, 2, 100), 3);
  assert_int_equal(price_hours(&d, 9, 100), 0);
  assert_false(price_make(&d, false, &arena, &p, &why));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_teardown(worked_examples, clean), cmocka_unit_test_teardown(one_rate_as_python_has_it, clean),
    cmocka_unit_test(parts_are_taken_out_of_their_whole), cmocka_unit_test_teardown(what_nobody_states_costs_as_its_kind, clean),
    cmocka_unit_test_teardown(tiers_and_hours, clean), cmocka_unit_test_teardown(factors, clean),
    cmocka_unit_test_teardown(unknown_is_no_zero, clean), cmocka_unit_test_teardown(the_worst_by_hand, clean),
    cmocka_unit_test_teardown(never_above_the_worst, clean), cmocka_unit_test_teardown(more_never_costs_less, clean),
    cmocka_unit_test_teardown(too_much_of_it, clean),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
