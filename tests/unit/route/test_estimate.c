/* What an attempt may come to, and how it is made to fit. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "weir/estimate.h"

enum { IN = 3, WRITE = 4, WRITE_1H = 6, OUT = 15, AUDIO_IN = 40, AUDIO_OUT = 80, PRIORITY = 10 };     /* USD a million */
static struct arena arena;

static struct model_facts model(int64_t window, int64_t max_output) {
  struct price_draft d = { 0 };
  struct model_facts m = { .window = window, .max_output = max_output, .thinking = THINKING_SHOWN };
  const char *why;
  price_set(&d, METER_INPUT, 0, TIER_STANDARD, 0, IN * MONEY_USD);
  price_set(&d, METER_CACHE_WRITE, 0, TIER_STANDARD, 0, WRITE * MONEY_USD);
  price_set(&d, METER_CACHE_WRITE_1H, 0, TIER_STANDARD, 0, WRITE_1H * MONEY_USD);
  price_set(&d, METER_AUDIO_IN, 0, TIER_STANDARD, 0, AUDIO_IN * MONEY_USD);
  price_set(&d, METER_OUTPUT, 0, TIER_STANDARD, 0, OUT * MONEY_USD);
  price_set(&d, METER_AUDIO_OUT, 0, TIER_STANDARD, 0, AUDIO_OUT * MONEY_USD);
  price_set(&d, METER_INPUT, 0, TIER_PRIORITY, 0, PRIORITY * MONEY_USD);
  if (!price_make(&d, false, &arena, &m.price, &why)) fail_msg("%s", why);
  m.price.discount = m.price.fast = m.price.us = PRICE_PPM;
  return m;
}

static struct estimate_of request(enum operation op) {
  return (struct estimate_of){ .operation = operation_info(op), .asked = -1,
                               .bounds = { .input = 1000, .choices = 1, .output = -1, .tiers = 1u << TIER_STANDARD } };
}

static struct estimate made(const struct estimate_of *of, const struct model_facts *m) {
  struct estimate e;
  estimate_make(of, m, &e);
  return e;
}

static void test_output(void **state) {
  struct model_facts m = model(8000, 500), unknown = model(0, 0);
  struct estimate_of of = request(OP_CHAT);
  (void)state;
  struct estimate e = made(&of, &m);
  assert_true(e.output == 500 && e.limit && !e.extends);
  e = made(&of, &unknown);
  assert_true(e.output == ESTIMATE_UNKNOWN_OUTPUT && e.limit);
  of.stream = true;
  e = made(&of, &unknown);
  assert_true(e.output == ESTIMATE_STEP && !e.limit && e.extends);
  e = made(&of, &m);
  assert_true(e.output == 500 && e.extends);
  assert_true(e.most == 500);
  of.asked = 100000;                                     /* the caller's limit need not be there at once */
  e = made(&of, &unknown);
  assert_true(e.output == ESTIMATE_STEP && e.extends && !e.limit && e.most == 100000);
  of.asked = 77;
  e = made(&of, &m);
  assert_true(e.output == 77 && e.extends && e.most == 77);
  of.asked = -1;
  m.thinking = THINKING_HIDDEN;
  e = made(&of, &m);
  assert_true(e.limit && !e.extends && e.hidden);
  m.thinking = THINKING_WHEN_ASKED;
  assert_true(made(&of, &m).extends);
  of.reasoning = true;
  assert_false(made(&of, &m).extends);
  of.reasoning = false;
  of.bills_cancelled = true;
  assert_false(made(&of, &m).extends);
  of.bills_cancelled = false;
  of.bounds.later = true;
  assert_false(made(&of, &m).extends);                   /* it goes on in the background */
  of.bounds.later = false;
  of.bounds.choices = 3;
  e = made(&of, &m);
  assert_true(e.output == 1500 && e.choices == 3 && e.limit && !e.extends);
  of.asked = 77;
  e = made(&of, &m);
  assert_true(e.output == 231 && !e.limit && !e.extends);
  of.asked = 1000000;
  assert_int_equal(made(&of, &m).output, 1500);
  of = request(OP_COMPLETIONS);
  of.bounds.output = 16;
  assert_int_equal(made(&of, &m).output, 16);
  of = request(OP_EMBEDDINGS);
  of.bounds.no_output = true;
  assert_int_equal(made(&of, &m).output, 0);
}

static void test_input(void **state) {
  struct model_facts m = model(8000, 500), unknown = model(0, 0);
  struct estimate_of of = request(OP_CHAT);
  (void)state;
  assert_int_equal(made(&of, &m).input, 1000);
  of.bounds.input = 100000;
  assert_int_equal(made(&of, &m).input, 8000);           /* more than the window is refused by the provider */
  of.bounds.input = 1000, of.bounds.beyond = true;
  assert_int_equal(made(&of, &m).input, 8000);
  assert_int_equal(made(&of, &unknown).input, 1000 + ESTIMATE_UNKNOWN_WINDOW);
}

static picodollars per_million(int64_t n, int usd) { return n * usd * (MONEY_USD / 1000000); }

static void test_only_what_can_be_charged(void **state) {
  struct model_facts m = model(8000, 500);
  struct estimate_of chat = request(OP_CHAT), messages = request(OP_MESSAGES);
  (void)state;
  assert_int_equal(made(&messages, &m).cost, per_million(1000, IN) + per_million(500, OUT));
  assert_int_equal(made(&chat, &m).cost, per_million(1000, WRITE) + per_million(500, OUT));      /* its cache is written unasked */
  messages.bounds.caches = true;
  assert_int_equal(made(&messages, &m).cost, per_million(1000, WRITE) + per_million(500, OUT));
  messages.bounds.caches_1h = true;
  assert_int_equal(made(&messages, &m).cost, per_million(1000, WRITE_1H) + per_million(500, OUT));
  chat.bounds.audio_in = chat.bounds.audio_out = true;
  assert_int_equal(made(&chat, &m).cost, per_million(1000, AUDIO_IN) + per_million(500, AUDIO_OUT));
  chat = request(OP_CHAT);
  chat.bounds.tiers = ~0u;
  assert_int_equal(made(&chat, &m).cost, per_million(1000, PRIORITY) + per_million(500, OUT));
  m.price.count = 0;
  assert_int_equal(made(&chat, &m).cost, PRICE_UNKNOWN);
}

static void test_fits(void **state) {
  struct model_facts m = model(8000, 500);
  struct estimate_of of = request(OP_MESSAGES);
  (void)state;
  struct estimate e = made(&of, &m);
  assert_true(estimate_shrink(&e, &m.price, per_million(1000, IN) + per_million(100, OUT), INT64_MAX));
  assert_true(e.output == 100 && e.cost == per_million(1000, IN) + per_million(100, OUT));
  e = made(&of, &m);
  assert_true(estimate_shrink(&e, &m.price, INT64_MAX, 1016));
  assert_int_equal(e.output, ESTIMATE_LEAST);
  e = made(&of, &m);
  assert_false(estimate_shrink(&e, &m.price, INT64_MAX, 1015));
  assert_false(estimate_shrink(&e, &m.price, per_million(1000, IN), INT64_MAX));
  of.asked = 400;
  e = made(&of, &m);
  assert_false(estimate_shrink(&e, &m.price, per_million(1000, IN) + per_million(399, OUT), INT64_MAX));        /* the caller's own word */
  assert_int_equal(estimate_more(&e, &m.price, 100), per_million(100, OUT));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_output), cmocka_unit_test(test_input), cmocka_unit_test(test_only_what_can_be_charged), cmocka_unit_test(test_fits),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  arena_end(&arena);
  return failed;
}
