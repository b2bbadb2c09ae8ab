/* Weighted picks, what is avoided, backoff. Chance is a seeded generator, so each run is the same. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include "weir/route.h"

static uint64_t seed = 1;

static uint64_t chance(void) {                                /* splitmix64 */
  uint64_t z = seed += 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

static struct account many[] = { { .index = 0 }, { .index = 1 }, { .index = 2 } };
static struct endpoint endpoints[] = {
  { .text = SPAN("https://a/v1"), .weight = 3, .accounts = many, .account_count = 1 },
  { .text = SPAN("https://b/v1"), .weight = 1, .accounts = many, .account_count = 3 },
  { .text = SPAN("https://c/v1"), .weight = 6, .accounts = many, .account_count = 2 },
};
static struct provider provider = { .name = SPAN("p"), .endpoints = endpoints, .endpoint_count = 3 };
static const struct candidate candidate = { &provider, SPAN("m"), SPAN("p/m") };

enum { DRAWS = 60000 };
struct counts { int at[3][3]; };

static struct counts draw(const struct health *h, uint64_t now_ms) {
  struct counts c = { 0 };
  for (int i = 0; i < DRAWS; i++) {
    struct target t = { 0 };
    route_pick(&candidate, h, 0, now_ms, chance(), &t);
    assert_ptr_equal(t.provider, &provider);
    assert_true(span_eq(t.model, SPAN("m")) && span_eq(t.name, SPAN("p/m")));
    c.at[t.endpoint - endpoints][t.account->index]++;
  }
  return c;
}

/* Within 3 % of all draws; the seed is fixed, so it holds always or never. */
static void share_is(int got, double wanted) {
  double share = (double)got / DRAWS;
  if (share < wanted - 0.01 || share > wanted + 0.01) fail_msg("%.3f is not %.3f", share, wanted);
}

static struct target target(int endpoint, int account) {
  return (struct target){ &provider, &endpoints[endpoint], &many[account], SPAN("m"), SPAN("p/m") };
}

static void by_weight_then_evenly(void **state) {
  (void)state;
  struct counts c = draw(NULL, 0);
  share_is(c.at[0][0], 0.3);
  for (int i = 0; i < 3; i++) share_is(c.at[1][i], 0.1 / 3);
  for (int i = 0; i < 2; i++) share_is(c.at[2][i], 0.3);
  assert_int_equal(c.at[0][1] + c.at[0][2] + c.at[2][2], 0);
}

static void the_ends_of_chance(void **state) {
  static const uint64_t ends[] = { 0, 1, UINT64_MAX / 2, UINT64_MAX - 1, UINT64_MAX };
  (void)state;
  for (size_t i = 0; i < 5; i++) {
    struct target t = { 0 };
    route_pick(&candidate, NULL, 0, 0, ends[i], &t);
    assert_non_null(t.account);
  }
  struct target t;
  route_pick(&candidate, NULL, 0, 0, 0, &t);
  assert_ptr_equal(t.endpoint, &endpoints[0]);
  route_pick(&candidate, NULL, 0, 0, UINT64_MAX, &t);
  assert_ptr_equal(t.endpoint, &endpoints[2]);
  assert_int_equal(t.account->index, 1);
}

static void an_avoided_account_is_left_out(void **state) {
  struct health *h = health_new();
  struct target t = target(2, 0);
  (void)state;
  health_avoid(h, &t, 1000, 5000);
  struct counts c = draw(h, 1000);
  assert_int_equal(c.at[2][0], 0);
  share_is(c.at[2][1], 0.6);
  share_is(c.at[0][0], 0.3);
  assert_int_equal(draw(h, 4999).at[2][0], 0);
  share_is(draw(h, 5000).at[2][0], 0.3);                      /* its time is over */
  health_good(h, &t);
  share_is(draw(h, 1000).at[2][0], 0.3);
  health_avoid(h, &t, 1000, 900);                             /* past already */
  share_is(draw(h, 800).at[2][0], 0.3);
  health_free(h);
}

static void an_endpoint_without_a_free_account_gives_its_weight_away(void **state) {
  struct health *h = health_new();
  struct target a = target(2, 0), b = target(2, 1);
  (void)state;
  health_avoid(h, &a, 0, 100);
  health_avoid(h, &b, 0, 100);
  struct counts c = draw(h, 1);
  assert_int_equal(c.at[2][0] + c.at[2][1], 0);
  share_is(c.at[0][0], 0.75);
  health_free(h);
}

static void an_avoided_endpoint_is_left_out_for_all(void **state) {
  struct health *h = health_new();
  struct target t = target(1, 2);
  const struct candidate other = { &provider, SPAN("other"), SPAN("p/other") };
  (void)state;
  health_avoid_endpoint(h, &t, 0, 100);
  struct counts c = draw(h, 1);
  assert_int_equal(c.at[1][0] + c.at[1][1] + c.at[1][2], 0);
  share_is(c.at[0][0], 3 / 9.0);
  for (int i = 0; i < 1000; i++) {
    struct target got;
    route_pick(&other, h, 0, 1, chance(), &got);
    assert_ptr_not_equal(got.endpoint, &endpoints[1]);
  }
  health_good(h, &t);
  share_is(draw(h, 1).at[1][0], 0.1 / 3);
  health_free(h);
}

static void models_are_told_apart(void **state) {
  struct health *h = health_new();
  struct target t = target(0, 0);
  (void)state;
  t.model = SPAN("other");
  health_avoid(h, &t, 0, 100);
  share_is(draw(h, 1).at[0][0], 0.3);
  health_free(h);
}

/* Two endpoints of one URL, each with its own key, as two accounts that are weighed. */
static void endpoints_of_one_url_are_two(void **state) {
  struct endpoint twins[] = {
    { .text = SPAN("https://a/v1"), .weight = 1, .accounts = many, .account_count = 1 },
    { .text = SPAN("https://a/v1"), .weight = 1, .accounts = many, .account_count = 1 },
  };
  struct provider p = { .name = SPAN("p"), .endpoints = twins, .endpoint_count = 2 };
  const struct candidate c = { &p, SPAN("m"), SPAN("p/m") };
  struct target t = { &p, &twins[0], many, SPAN("m"), SPAN("p/m") };
  struct health *h = health_new();
  (void)state;
  health_avoid(h, &t, 0, 100);
  for (int i = 0; i < 100; i++) {
    route_pick(&c, h, 0, 1, chance(), &t);
    assert_ptr_equal(t.endpoint, &twins[1]);
  }
  health_free(h);
}

static void with_none_left_the_soonest(void **state) {
  struct health *h = health_new();
  (void)state;
  for (int e = 0; e < 3; e++)
    for (size_t i = 0; i < endpoints[e].account_count; i++) {
      struct target t = target(e, (int)i);
      health_avoid(h, &t, 0, e == 1 && i == 1 ? 50 : 100);
    }
  assert_int_equal(draw(h, 1).at[1][1], DRAWS);
  share_is(draw(h, 60).at[1][1], 1);                          /* free, the others are not */
  share_is(draw(h, 100).at[0][0], 0.3);
  health_free(h);
}

static void a_later_time_wins_and_memory_is_bounded(void **state) {
  struct health *h = health_new();
  struct target t = target(0, 0);
  char name[32];
  (void)state;
  health_avoid(h, &t, 0, 100);
  health_avoid(h, &t, 0, 50);
  assert_int_equal(draw(h, 60).at[0][0], 0);
  health_free(h);
  h = health_new();
  for (int i = 0; i < 20000; i++) {                           /* more names than it keeps */
    t.model = span_of(name, (size_t)snprintf(name, sizeof name, "m%d", i));
    health_avoid(h, &t, 0, 1000);
  }
  t.model = SPAN("m");
  health_avoid(h, &t, 0, 2000);
  assert_int_equal(draw(h, 1).at[0][0], 0);
  health_free(h);
  health_free(NULL);
}

static void backoff(void **state) {
  static const uint64_t most[] = { 250, 250, 500, 1000, 2000, 4000, 8000, 8000, 8000 };
  (void)state;
  for (unsigned n = 0; n < 9; n++) {
    uint64_t sum = 0, top = 0;
    for (int i = 0; i < 4000; i++) {
      uint64_t ms = route_backoff_ms(n, chance());
      assert_true(ms <= most[n]);
      sum += ms;
      if (ms > top) top = ms;
    }
    assert_true(top > most[n] * 9 / 10);                      /* full jitter: all of it */
    assert_true(sum / 4000 > most[n] * 45 / 100 && sum / 4000 < most[n] * 55 / 100);
    assert_int_equal(route_backoff_ms(n, 0), 0);
    assert_int_equal(route_backoff_ms(n, UINT64_MAX), most[n]);
  }
  assert_int_equal(route_backoff_ms(4000000000u, UINT64_MAX), 8000);
}

static struct target picked(const struct candidate *c, const struct health *h, int64_t tokens, uint64_t now_ms) {
  struct target t;
  route_pick(c, h, tokens, now_ms, chance(), &t);
  return t;
}

static void limits_are_remembered(void **state) {
  static struct endpoint one[] = { { .text = SPAN("https://a/v1"), .weight = 1, .accounts = many, .account_count = 2 } };
  static struct provider p = { .name = SPAN("q"), .endpoints = one, .endpoint_count = 1 };
  const struct candidate c = { &p, SPAN("m"), SPAN("q/m") }, other = { &p, SPAN("n"), SPAN("q/n") };
  struct target a = { &p, &one[0], &many[0], SPAN("m"), SPAN("q/m") }, b = a;
  struct health *h = health_new();
  (void)state;
  b.account = &many[1];
  health_told(h, &a, 1000, &(struct limits_told){ 0, -1, 5, -1 });
  assert_int_equal(route_short(&c, h, 0, 1000), 0);      /* the other account has room */
  for (int i = 0; i < 20; i++) assert_ptr_equal(picked(&c, h, 0, 1000).account, &many[1]);
  health_told(h, &b, 1000, &(struct limits_told){ 5, 100, 60, 2 });
  assert_int_equal(route_short(&c, h, 100, 1000), 0);
  assert_int_equal(route_short(&c, h, 101, 1000), 3000); /* not for so many tokens: until its tokens come back */
  assert_ptr_equal(picked(&c, h, 101, 1000).account, &many[1]);
  assert_false(route_avoided(&c, h, 1000));
  health_sent(h, &b, 1000, 100);
  assert_int_equal(route_short(&c, h, 0, 1000), 3000);   /* what was sent is not there any more */
  assert_true(route_avoided(&c, h, 1000));
  assert_int_equal(route_short(&c, h, 0, 3001), 0);
  for (int i = 0; i < 4; i++) health_sent(h, &b, 3001, 0);
  assert_int_equal(route_short(&c, h, 0, 3001), 6000);   /* the first account's request is back then */
  assert_ptr_equal(picked(&c, h, 0, 3001).account, &many[0]);
  health_told(h, &b, 3001, &(struct limits_told){ 9, -1, 60, -1 });
  assert_int_equal(route_short(&c, h, 0, 3001), 0);      /* the provider's word is newer */
  assert_int_equal(route_short(&other, h, 1000000, 1000), 0);            /* of another model nothing is known */
  assert_int_equal(route_short(&c, NULL, 0, 0), 0);
  health_free(h);
}

static void limits_are_bounded(void **state) {
  struct health *h = health_new();
  char names[3000][8];
  (void)state;
  for (int i = 0; i < 3000; i++) {
    struct target t = target(0, 0);
    t.model = span_of(names[i], (size_t)snprintf(names[i], 8, "m%d", i));
    health_told(h, &t, 1, &(struct limits_told){ 0, 0, i + 1, i + 1 });
  }
  struct candidate last = { &provider, span_cstr(names[2999]), SPAN("p/m2999") };
  static struct endpoint only[] = { { .text = SPAN("https://a/v1"), .weight = 3, .accounts = many, .account_count = 1 } };
  struct provider alone = { .name = SPAN("p"), .endpoints = only, .endpoint_count = 1 };
  last.provider = &alone;
  assert_int_equal(route_short(&last, h, 0, 1), 3000001);
  health_free(h);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(by_weight_then_evenly), cmocka_unit_test(the_ends_of_chance),
      cmocka_unit_test(an_avoided_account_is_left_out),
    cmocka_unit_test(an_endpoint_without_a_free_account_gives_its_weight_away),
      cmocka_unit_test(an_avoided_endpoint_is_left_out_for_all),
    cmocka_unit_test(models_are_told_apart), cmocka_unit_test(endpoints_of_one_url_are_two),
      cmocka_unit_test(with_none_left_the_soonest),
    cmocka_unit_test(a_later_time_wins_and_memory_is_bounded), cmocka_unit_test(backoff),
    cmocka_unit_test(limits_are_remembered), cmocka_unit_test(limits_are_bounded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
