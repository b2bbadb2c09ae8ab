/* LiteLLM's price file: the fields it has, the ways it can be odd, and the whole file where there is one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include "weir/price.h"

static struct arena arena;
static struct price_table table;
static struct buf odd;
static int clean(void **state) {
  (void)state;
  price_table_free(&table);
  arena_end(&arena);
  buf_free(&odd);
  return 0;
}

static void load(const char *text) {
  const char *why = "";
  size_t at = 0;
  if (!price_file_read(span_cstr(text), &arena, &table, &odd, &why, &at)) fail_msg("%s at %zu", why, at);
}

static const struct price_model *model(const char *name) {
  const struct price_model *m = price_table_find(&table, span_cstr(name));
  if (!m) fail_msg("no %s", name);
  return m;
}

static void odd_is(const char *text) {
  if (!span_eq(buf_span(&odd), span_cstr(text))) fail_msg("odd is\n%.*snot\n%s", SPAN_FMT(buf_span(&odd)), text);
}

/* USD per million, as text, of the rates that hold for that many tokens. */
static void rate_is(const char *name, enum meter meter, int64_t input, enum service_tier tier, const char *usd) {
  const struct price_rates *r = price_rates_at(&model(name)->price, input, tier, 12 * 3600);
  char text[MONEY_TEXT];
  assert_non_null(r);
  money_text(r->of[meter], text);
  if (strcmp(text, usd)) fail_msg("%s %s is %s, not %s", name, meter_word(meter), text, usd);
}

static void fields(void **state) {
  (void)state;
  load("{ \"sample_spec\": { \"input_cost_per_token\": 0 }, \"fallback_generalizations\": [],"
       "\"a\": { \"litellm_provider\": \"openai\", \"mode\": \"chat\", \"max_input_tokens\": 272000, \"max_output_tokens\": 128000.0, \"max_tokens\": 5, \"supports_reasoning\": true,"
       " \"input_cost_per_token\": 1.25e-06, \"output_cost_per_token\": \"0.00001\", \"cache_read_input_token_cost\": 1.25e-07, \"input_cost_per_token_priority\": 2.5e-06,"
       " \"input_cost_per_token_above_200k_tokens\": 3e-06, \"input_cost_per_token_above_200k_tokens_priority\": 5e-06, \"output_cost_per_token_flex\": 5e-06, \"output_cost_per_token_batches\": 4e-06,"
       " \"cache_creation_input_token_cost\": 2e-6, \"cache_creation_input_token_cost_above_1hr\": 3e-6, \"cache_creation_input_token_cost_above_1hr_above_200k_tokens\": 6e-6,"
       " \"search_context_cost_per_query\": { \"search_context_size_low\": 0.01, \"search_context_size_medium\": 0.02, \"search_context_size_high\": 0.03 },"
       " \"provider_specific_entry\": { \"us\": 1.1, \"fast\": 6.0 }, \"input_dbu_cost_per_token\": 1, \"source\": \"x\" },"
       "\"e\": { \"mode\": \"embedding\", \"input_cost_per_token\": 2e-08 }, \"xai/x\": { \"litellm_provider\": \"xai\", \"input_cost_per_token\": 1e-6, \"output_cost_per_token\": 2e-6,"
       " \"input_cost_per_token_above_128k_tokens\": 2e-6, \"input_cost_per_token_cache_hit\": 1e-7 }, \"w\": { \"mode\": \"audio_transcription\", \"input_cost_per_second\": 0.0001 },"
       "\"q\": { \"mode\": \"chat\", \"tiered_pricing\": [{ \"range\": [0, 32000.0], \"input_cost_per_token\": 1e-6, \"output_cost_per_token\": 5e-6 }, { \"range\": [32000.0, 1e6], \"input_cost_per_token\": 2e-6, \"output_cost_per_token\": 9e-6 }] },"
       "\"n\": { \"mode\": \"chat\", \"input_cost_per_token\": 2e-6, \"output_cost_per_token\": 3e-6, \"off_peak_pricing\": { \"hours_utc\": \"16:30-00:30\", \"output_cost_per_token\": 1e-6 } },"
       "\"o\": { \"litellm_provider\": \"openai\", \"input_cost_per_token\": 1e-6, \"output_cost_per_token\": 2e-6 },"
       "\"s-search-preview\": { \"litellm_provider\": \"openai\", \"input_cost_per_token\": 1e-6, \"output_cost_per_token\": 2e-6, \"search_context_cost_per_query\": { \"search_context_size_medium\": 0.025 } },"
       "\"sizes\": { \"max_input_tokens\": 10 } }");
  odd_is("");
  assert_int_equal(table.count, 9);
  assert_int_equal(model("a")->window, 272000);
  assert_int_equal(model("a")->max_output, 128000);
  assert_int_equal(model("a")->reasoning, 1);
  assert_true(span_eq(model("a")->provider, SPAN("openai")));
  rate_is("a", METER_INPUT, 1, TIER_STANDARD, "1.25"), rate_is("a", METER_INPUT, 200000, TIER_STANDARD, "1.25");
  rate_is("a", METER_INPUT, 200001, TIER_STANDARD, "3"), rate_is("a", METER_INPUT, 1, TIER_PRIORITY, "2.5");
  rate_is("a", METER_INPUT, 200001, TIER_PRIORITY, "5"), rate_is("a", METER_OUTPUT, 1, TIER_PRIORITY, "10");
  rate_is("a", METER_OUTPUT, 1, TIER_FLEX, "5"), rate_is("a", METER_OUTPUT, 1, TIER_BATCH, "4");
  rate_is("a", METER_CACHE_READ, 200001, TIER_STANDARD, "0.125"), rate_is("a", METER_CACHE_WRITE, 200001, TIER_STANDARD, "2");
  rate_is("a", METER_CACHE_WRITE_1H, 1, TIER_STANDARD, "3"), rate_is("a", METER_CACHE_WRITE_1H, 200001, TIER_STANDARD, "6");
  rate_is("a", METER_SEARCH, 1, TIER_STANDARD, "20000");
  assert_int_equal(model("a")->price.fast, 6000000);
  assert_int_equal(model("a")->price.us, 1100000);
  rate_is("e", METER_INPUT, 1, TIER_STANDARD, "0.02"), rate_is("e", METER_OUTPUT, 1, TIER_STANDARD, "0");
  rate_is("xai/x", METER_INPUT, 127999, TIER_STANDARD, "1"), rate_is("xai/x", METER_INPUT, 128000, TIER_STANDARD, "2");
  rate_is("xai/x", METER_CACHE_READ, 1, TIER_STANDARD, "0.1");
  rate_is("o", METER_SEARCH, 1, TIER_STANDARD, "10000"), rate_is("s-search-preview", METER_REQUEST, 1, TIER_STANDARD, "25000");
  rate_is("w", METER_SECOND_IN, 0, TIER_STANDARD, "100");
  rate_is("q", METER_INPUT, 32000, TIER_STANDARD, "1"), rate_is("q", METER_OUTPUT, 32001, TIER_STANDARD, "9");
  rate_is("n", METER_OUTPUT, 1, TIER_STANDARD, "3");
  assert_int_equal(price_rates_at(&model("n")->price, 1, TIER_STANDARD, 17 * 3600)->of[METER_OUTPUT], MONEY_USD);
  assert_int_equal(model("sizes")->price.count, 0);
  assert_int_equal(model("sizes")->reasoning, -1);
}

static void oddities(void **state) {
  (void)state;
  load("{ \"a\": 7, \"b\": { \"mode\": \"chat\", \"input_cost_per_token\": -1e-6, \"output_cost_per_token\": 1e-6 }, \"c\": { \"input_cost_per_token\": 1e-6 },"
       "\"d\": { \"input_cost_per_token\": \"much\", \"output_cost_per_token\": [], \"new_cost_per_wish\": 3 }, \"e\\n\": { \"input_cost_per_token\": 1e-6, \"output_cost_per_token\": 2e300 },"
       "\"f\": { \"input_cost_per_token\": 1e-6, \"output_cost_per_token\": 2e-6, \"input_cost_per_token_above_xk_tokens\": 1, \"input_cost_per_token_above_0k_tokens\": 1, \"tiered_pricing\": 3, \"off_peak_pricing\": { \"windows\": [] },"
       " \"provider_specific_entry\": { \"fast\": -2 } }, \"g\": { \"input_cost_per_token\": 1e-6, \"output_cost_per_token\": 2e-6 }, \"g\": { \"input_cost_per_token\": 3e-6, \"output_cost_per_token\": 2e-6 },"
       "\"h\": { \"tiered_pricing\": [7, { \"range\": [\"x\"] }, { \"max_results_range\": [0, 25], \"input_cost_per_query\": 1 }] }, \"\": {} }");
  odd_is("a: it is no object; it is left out\nb: input_cost_per_token is below zero; it is left out\nb: the price of input is missing\nc: the price of output is missing\n"
         "d: input_cost_per_token is no price; it is left out\nd: output_cost_per_token is no price; it is left out\nd: new_cost_per_wish is not known to weir: it is not charged\n"
         "e?: output_cost_per_token is no price; it is left out\ne?: the price of output is missing\n"
         "f: input_cost_per_token_above_xk_tokens is not known to weir: it is not charged\nf: input_cost_per_token_above_0k_tokens has no step that can be read; it is left out\n"
         "f: tiered_pricing is no list; it is left out\nf: off_peak_pricing has no hours_utc such as \"16:30-00:30\"; it is left out\nf: fast is no factor; it is left out\n"
         "g: it stands twice; the last one counts\nh: tiered_pricing has a row without a range; it is left out\nh: tiered_pricing has a row without a range; it is left out\n");
  assert_int_equal(model("b")->price.count, 0);          /* known, and not free */
  assert_int_equal(model("c")->price.count, 0);
  rate_is("g", METER_INPUT, 1, TIER_STANDARD, "3");
}

static void no_price_file(void **state) {
  static const char *const bad[] = { "", "[]", "7", "{", "{\"a\":}", "{\"a\":{}} x" };
  const char *why;
  size_t at;
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    why = NULL;
    assert_false(price_file_read(span_cstr(bad[i]), &arena, &table, &odd, &why, &at));
    assert_non_null(why);
    assert_int_equal(table.count, 0);
  }
  load("{}");
}

static void the_dearest_of_a_provider(void **state) {
  struct price p;
  struct usage u = USAGE_NONE;
  (void)state;
  load("{ \"a\": { \"litellm_provider\": \"x\", \"input_cost_per_token\": 1e-6, \"output_cost_per_token\": 9e-6 }, \"b\": { \"litellm_provider\": \"x\", \"input_cost_per_token\": 2e-6, \"output_cost_per_token\": 4e-6, \"output_cost_per_token_above_200k_tokens\": 11e-6 },"
       "\"c\": { \"litellm_provider\": \"y\", \"input_cost_per_token\": 7e-6, \"output_cost_per_token\": 70e-6 } }");
  u.input = 1000000, u.output = 1000000;
  price_table_worst(&table, SPAN("x"), &arena, &p);
  assert_int_equal(price_of(&p, &u, 0), 13 * MONEY_USD);
  price_table_worst(&table, SPAN("z"), &arena, &p);
  assert_int_equal(price_of(&p, &u, 0), 77 * MONEY_USD);
  price_table_free(&table);
  load("{}");
  price_table_worst(&table, SPAN("z"), &arena, &p);
  assert_int_equal(price_of(&p, &u, 0), PRICE_UNKNOWN);
}

/* ---- the whole file */
static bool whole_file(struct buf *out) {
  const char *given = getenv("WEIR_PRICES");
  const char *places[] = { given && *given ? given : "", "../shared/data/litellm-prices.json" };
  for (size_t i = 0; i < 2; i++) {
    FILE *f = *places[i] ? fopen(places[i], "r") : NULL;
    if (!f) continue;
    for (size_t n; (n = fread(buf_reserve(out, 65536), 1, 65536, f)) > 0;) buf_commit(out, n);
    fclose(f);
    return true;
  }
  return false;
}

static void whole(void **state) {
  struct buf text = { 0 };
  const char *why = "";
  size_t at = 0, priced = 0;
  (void)state;
  if (!whole_file(&text)) {
    printf("skipped: no price file at $WEIR_PRICES or ../shared/data/litellm-prices.json\n");
    skip();
  }
  assert_true(price_file_read(buf_span(&text), &arena, &table, &odd, &why, &at));
  for (size_t i = 0; i < table.count; i++) priced += table.models[i].price.count > 0;
  printf("%zu models, %zu with a price, %zu KB, odd:\n%.*s", table.count, priced, arena.total / 1024, SPAN_FMT(buf_span(&odd)));
  assert_true(table.count > 2500 && priced > table.count * 9 / 10);
  rate_is("gpt-5", METER_INPUT, 1, TIER_STANDARD, "1.25"), rate_is("gpt-5", METER_OUTPUT, 1, TIER_STANDARD, "10");
  rate_is("gpt-5", METER_CACHE_READ, 1, TIER_FLEX, "0.0625"), rate_is("gpt-5", METER_OUTPUT, 1, TIER_PRIORITY, "20");
  rate_is("claude-sonnet-4-5", METER_CACHE_WRITE_1H, 1, TIER_STANDARD, "6"), rate_is("claude-sonnet-4-5", METER_CACHE_WRITE_1H, 200001, TIER_STANDARD, "12");
  rate_is("claude-sonnet-4-5", METER_OUTPUT, 200001, TIER_STANDARD, "22.5"), rate_is("claude-sonnet-4-5", METER_SEARCH, 1, TIER_STANDARD, "10000");
  rate_is("xai/grok-4", METER_OUTPUT, 1, TIER_STANDARD, "15"), rate_is("dashscope/qwen-flash", METER_INPUT, 256001, TIER_STANDARD, "0.25");
  rate_is("dashscope/qwen-plus-2025-07-28", METER_REASONING, 1, TIER_STANDARD, "4"), rate_is("text-embedding-3-small", METER_INPUT, 1, TIER_STANDARD, "0.02");
  struct usage u = { .input = 100, .cache_read = 1000, .cache_write = 200, .cache_write_1h = 50, .output = 40 };
  assert_int_equal(price_of(&model("claude-sonnet-4-5")->price, &u, 0), 2250000000);
  buf_free(&text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_teardown(fields, clean), cmocka_unit_test_teardown(oddities, clean), cmocka_unit_test_teardown(no_price_file, clean),
    cmocka_unit_test_teardown(the_dearest_of_a_provider, clean), cmocka_unit_test_teardown(whole, clean),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
