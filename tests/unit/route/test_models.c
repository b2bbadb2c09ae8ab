/* What is learned of models: counts that correct themselves, what is gone, what a provider adds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "weir/models.h"

static void counts_correct_themselves(void **state) {
  struct span name = SPAN("lab/dense");
  struct request_measure m = { { [PART_TEXT] = 100, [PART_FRAME] = 8 } }, cjk = { { [PART_OTHER] = 200, [PART_FRAME] = 8 } };
  struct token_count n;
  struct buf out = { 0 };
  (void)state;
  models_count(name, &m, &n);
  assert_int_equal(n.tokens, 108);
  assert_true(n.least < 100 && n.least > 80);
  for (int i = 0; i < 30; i++) {                         /* this tokenizer makes half as many again of text, and half of what is not ASCII */
    assert_true(models_learns(name));
    models_learn(name, &m, 158);
    models_learn(name, &cjk, 108);
  }
  models_count(name, &m, &n);
  assert_in_range(n.tokens, 155, 161);
  assert_true(n.least >= n.tokens * 0.85);
  models_count(name, &cjk, &n);
  assert_in_range(n.tokens, 104, 112);
  models_metrics_write(&out);
  buf_byte(&out, 0);
  assert_non_null(strstr(out.p, "weir_estimate_error_ratio{model=\"lab/dense\"} 0.0"));
  buf_free(&out);
  models_count(SPAN("lab/other"), &m, &n);
  assert_int_equal(n.tokens, 108);
}

static void nonsense_moves_little(void **state) {
  struct span name = SPAN("lab/odd");
  struct request_measure m = { { [PART_TEXT] = 100 } }, none = { { 0 } };
  struct token_count n;
  (void)state;
  for (int i = 0; i < 50; i++) models_learn(name, &m, INT64_MAX);
  models_learn(name, &none, 10);
  models_learn(name, &m, 0);
  models_learn(name, &m, -5);
  models_count(name, &m, &n);
  assert_int_equal(n.tokens, 400);
}

static void sampled(void **state) {
  struct span name = SPAN("lab/busy");
  struct request_measure m = { { [PART_TEXT] = 100 } };
  unsigned yes = 0;
  (void)state;
  for (int i = 0; i < 64; i++) models_learn(name, &m, 100);
  for (int i = 0; i < 640; i++) yes += models_learns(name);
  assert_int_equal(yes, 10);
}

static void gone_and_back(void **state) {
  struct span name = SPAN("lab/gone");
  (void)state;
  assert_true(models_vanished(name));
  assert_false(models_vanished(name));
  models_apart(true);
  assert_false(models_vanished(SPAN("lab/here")));
  models_apart(false);
  struct buf out = { 0 };
  models_metrics_write(&out);
  buf_byte(&out, 0);
  assert_non_null(strstr(out.p, "weir_model_state{model=\"lab/gone\",state=\"gone\"} 1"));
  buf_free(&out);
  models_back(name);
  assert_true(models_vanished(name));
  models_back(name);
  assert_true(models_tell(name, MODELS_DEPRECATED));
  assert_false(models_tell(name, MODELS_DEPRECATED));
  assert_true(models_tell(name, MODELS_UNKNOWN));
}

static void what_a_provider_adds(void **state) {
  struct span name = SPAN("lab/wrapped");
  (void)state;
  assert_int_equal(models_own_tokens(name), 0);
  models_beyond(name, -50);
  assert_int_equal(models_own_tokens(name), 0);
  models_beyond(name, 500);
  models_beyond(name, 300);
  assert_int_equal(models_own_tokens(name), 500);
  for (int i = 0; i < 64; i++) models_beyond(name, 100);
  assert_int_equal(models_own_tokens(name), 100);
  models_beyond(name, 1000000000);
  assert_int_equal(models_own_tokens(name), 20000);
  for (int i = 0; i < 64; i++) models_beyond(name, -1);
  assert_int_equal(models_own_tokens(name), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(counts_correct_themselves), cmocka_unit_test(nonsense_moves_little), cmocka_unit_test(sampled),
    cmocka_unit_test(gone_and_back), cmocka_unit_test(what_a_provider_adds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
