#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "weir/metrics.h"

/* What a provider reports is believed up to 10^15 tokens an answer, so a counter can come to its end: there it stays. */
static void test_counters_stay_at_their_end(void **state) {
  (void)state;
  struct metrics *shards[2] = { metrics_new(), metrics_new() };
  struct usage most = USAGE_NONE;
  struct buf out = { 0 };
  most.input = most.output = 1000000000000000;
  for (int i = 0; i < 2 * 10000; i++) metrics_tokens(shards[i % 2], SPAN("a/x"), &most);
  metrics_write(shards, 2, &out);
  assert_true(span_search(buf_span(&out), SPAN("weir_tokens_total{model=\"a/x\",class=\"input\"} 9223372036854775807\n")) < buf_size(&out));
  assert_int_equal(span_search(buf_span(&out), SPAN("} -")), buf_size(&out));
  buf_free(&out);
  metrics_free(shards[0]);
  metrics_free(shards[1]);
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test(test_counters_stay_at_their_end) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
