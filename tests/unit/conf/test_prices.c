/* Prices in weir.lua, from a file and from the shipped table: which one holds, and what is said when they are wrong. */
#include <time.h>
#include <utime.h>
#include "rig.h"

static struct model_facts facts(const struct conf *c, const char *provider, const char *model) {
  struct model_facts m;
  const struct provider *p = conf_provider(c, span_cstr(provider));
  assert_non_null(p);
  conf_model(c, p, span_cstr(model), &m);
  return m;
}

/* What a thousand tokens in and a thousand out cost. */
static void costs(const struct conf *c, const char *provider, const char *model, enum price_source source, const char *usd) {
  struct model_facts m = facts(c, provider, model);
  struct usage u = USAGE_NONE;
  char text[MONEY_TEXT];
  u.input = u.output = 1000;
  assert_int_equal(m.source, source);
  if (source == PRICED_NOT) {
    assert_int_equal(price_of(&m.price, &u, 0), PRICE_UNKNOWN);
    return;
  }
  money_text(price_of(&m.price, &u, 0), text);
  if (strcmp(text, usd)) fail_msg("%s/%s costs %s, not %s", provider, model, text, usd);
}

static const char providers[] =
  "provider \"openai\" { key = env \"SECRET_A\" } provider \"anthropic\" { key = env \"SECRET_A\" } provider \"qwen\" { key = env \"SECRET_A\" }\n"
  "provider \"vllm\" {} provider \"azure\" { key = env \"SECRET_A\", url = \"https://x.openai.azure.com/openai/v1\" }\n"
  "provider \"lab\" { dialect = \"chat\", url = \"http://127.0.0.1:1/v1\" }\n";

static void the_shipped_table(void **state) {
  struct conf *c = rig_good(providers);
  (void)state;
  assert_span(c->prices.shipped_from, "built in");
  assert_span(c->prices.dated, "2026-08-01");
  assert_true(c->prices.shipped.count > 60);
  costs(c, "openai", "gpt-5", PRICED_SHIPPED, "0.01125");
  costs(c, "openai", "gpt-5-2025-08-07", PRICED_SHIPPED, "0.01125");
  costs(c, "openai", "gpt-5-2025-08-7x", PRICED_NOT, "");
  costs(c, "openai", "gpt-5-turbo", PRICED_NOT, "");
  costs(c, "openai", "gpt-5-20250807", PRICED_NOT, "");
  costs(c, "anthropic", "claude-sonnet-4-5-20250929", PRICED_SHIPPED, "0.018");
  costs(c, "anthropic", "claude-sonnet-4-20250514", PRICED_SHIPPED, "0.018");
  costs(c, "anthropic", "gpt-5", PRICED_NOT, "");
  costs(c, "lab", "gpt-5", PRICED_NOT, "");
  costs(c, "vllm", "anything", PRICED_FREE, "0");
  struct model_facts m = facts(c, "openai", "gpt-5");
  assert_int_equal(m.window, 272000);
  assert_int_equal(m.max_output, 128000);
  assert_int_equal(m.reasoning, 1);
  assert_true(model_hides(&m, false));
  m = facts(c, "openai", "gpt-4.1");
  assert_false(model_hides(&m, true));
  m = facts(c, "anthropic", "claude-opus-4-5");
  assert_false(model_hides(&m, false));
  assert_true(model_hides(&m, true));
  m = facts(c, "lab", "who");
  assert_true(model_hides(&m, false));
  assert_int_equal(m.window, 0);
  assert_int_equal(m.reasoning, -1);
  conf_drop(c);
}

/* The table is data: each price in it is whole, and its names are providers of the catalogue. */
static void the_shipped_table_is_sound(void **state) {
  struct conf *c = rig_good(providers);
  (void)state;
  for (size_t i = 0; i < c->prices.shipped.count; i++) {
    const struct price_model *m = &c->prices.shipped.models[i];
    assert_non_null(catalogue_provider(m->provider));
    if (!m->price.count || !m->window || m->reasoning < 0) fail_msg("%.*s", SPAN_FMT(m->name));
    const struct price_rates *r = m->price.rates;
    assert_true(r->of[METER_INPUT] > 0 && r->of[METER_CACHE_READ] <= r->of[METER_INPUT]);
  }
  conf_drop(c);
}

static void own_words(void **state) {
  struct conf *c = rig_good(
    "provider \"openai\" { key = env \"SECRET_A\", discount = 0.9 }\n"
    "provider \"lab\" { dialect = \"chat\", url = \"http://127.0.0.1:1/v1\", price = { input = usd(1), output = usd(2) },\n"
    "  models = { big = { window = 1000, max_output = 100, reasoning = true, hidden = false, price = { input = usd(3), output = usd(15), cache_read = usd(\"0.3\"),\n"
    "    cache_write = usd(3.75), cache_write_1h = usd(6), per_search = usd(0.01), per_request = usd(\"0.001\"), fast = 2, us = 1.1,\n"
    "    long = { { above = 100, input = usd(6) }, { above = 200, input = usd(7), output = usd(30) } }, priority = { input = usd(5), long = { above = 100, input = usd(9) } },\n"
    "    off_peak = { from = \"16:30\", to = \"0:30\", output = usd(8) } } }, free = { price = { input = usd(0), output = usd(0) } }, small = { window = 7 } } }\n");
  (void)state;
  costs(c, "openai", "gpt-5", PRICED_SHIPPED, "0.010125");
  costs(c, "lab", "small", PRICED_PROVIDER, "0.003");
  costs(c, "lab", "other", PRICED_PROVIDER, "0.003");
  costs(c, "lab", "free", PRICED_MODEL, "0");
  struct model_facts m = facts(c, "lab", "big");
  assert_int_equal(m.source, PRICED_MODEL);
  assert_int_equal(m.price.fast, 2000000);
  assert_int_equal(m.price.us, 1100000);
  assert_false(model_hides(&m, true));
  const struct { int64_t input; enum service_tier tier; int64_t now; enum meter meter; const char *usd; } want[] = {
    { 100, TIER_STANDARD, 0, METER_INPUT, "3" }, { 101, TIER_STANDARD, 0, METER_INPUT, "6" }, { 201, TIER_STANDARD, 0, METER_INPUT, "7" },
    { 201, TIER_STANDARD, 43200, METER_OUTPUT, "30" }, { 1, TIER_STANDARD, 43200, METER_OUTPUT, "15" }, { 1, TIER_STANDARD, 0, METER_OUTPUT, "8" },
    { 1, TIER_STANDARD, 1800, METER_OUTPUT, "15" }, { 1, TIER_PRIORITY, 43200, METER_INPUT, "5" }, { 101, TIER_PRIORITY, 43200, METER_INPUT, "9" },
    { 1, TIER_STANDARD, 43200, METER_CACHE_WRITE_1H, "6" }, { 1, TIER_STANDARD, 43200, METER_SEARCH, "10000" }, { 1, TIER_STANDARD, 43200, METER_REQUEST, "1000" },
  };
  for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
    char text[MONEY_TEXT];
    money_text(price_rates_at(&m.price, want[i].input, want[i].tier, want[i].now)->of[want[i].meter], text);
    if (strcmp(text, want[i].usd)) fail_msg("%zu: %s is not %s", i, text, want[i].usd);
  }
  conf_drop(c);
}

static void not_charged_yet(void **state) {
  (void)state;
  struct loaded l = rig_load("provider \"vllm\" { price = { input = usd(3), output = usd(1), per_search = usd(1), per_image_out = usd(0.04) } }");
  assert_non_null(l.conf);
  assert_non_null(strstr(l.warnings, "weir.lua:1: provider 'vllm': per_image_out is not charged in this version"));
  assert_null(strstr(l.warnings, "per_search"));
  conf_drop(l.conf);
}

static void wrong_words(void **state) {
  static const struct { const char *text, *errors; } list[] = {
    { "price = { input = 3, output = usd(1) }", "weir.lua:1: provider 'vllm': input must be money such as usd(2.5), not a number\n" },
    { "price = { input = usd(3) }", "weir.lua:1: provider 'vllm': price: the price of output is missing (a price of nothing is usd(0))\n" },
    { "price = { input = usd(3), output = usd(1), inptu = usd(1) }", "weir.lua:1: provider 'vllm': unknown field 'inptu'; did you mean 'input'?\n" },
    { "price = usd(3)", "weir.lua:1: provider 'vllm': price must be a table such as { input = usd(3), output = usd(15) }, not money\n" },
    { "price = { input = usd(3), output = usd(1), long = { input = usd(1) } }", "weir.lua:1: provider 'vllm': long: above is missing: from how many tokens of input it holds\n" },
    { "price = { input = usd(3), output = usd(1), off_peak = { from = \"25:00\", to = \"1:00\" } }", "weir.lua:1: provider 'vllm': from must be a time of the day in UTC such as \"16:30\"\n" },
    { "price = { input = usd(3), output = usd(1), off_peak = { from = \"1:00\" } }", "weir.lua:1: provider 'vllm': off_peak: from and to must be two times of the day\n" },
    { "price = { input = usd(3), output = usd(1), flex = { fast = 2 } }", "weir.lua:1: provider 'vllm': unknown field 'fast'; known: long, input," },
    { "price = { input = usd(3), output = usd(1), per_page = usd(10000000) }", "weir.lua:1: usd(10000000) is more than 9,223,372 dollars\n" },
    { "price = { input = usd(3), output = usd(1), per_page = usd(10) }", "weir.lua:1: provider 'vllm': per_page is more than 9 dollars for one\n" },
    { "discount = 0", "weir.lua:1: provider 'vllm': discount must be from 1e-06 to 100, not 0\n" },
    { "models = { m = { hidden = 1 } }", "weir.lua:1: provider 'vllm': model 'm': hidden must be true or false, not a number\n" },
  };
  (void)state;
  for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
    char text[512];
    snprintf(text, sizeof text, "provider \"vllm\" { %s }", list[i].text);
    struct loaded l = rig_load(text);
    conf_drop(l.conf);
    if (!strstr(l.errors, list[i].errors)) fail_msg("%s\ngives\n%s", text, l.errors);
  }
  rig_bad("prices { \"a.json\", unpriced = \"free\" }", "weir.lua:1: prices: unpriced must be \"refuse\", \"worst\" or \"pass\", not \"free\"\n"
          "weir.lua:1: prices: 'a.json': No such file or directory\n");
  rig_bad("prices(7)", "weir.lua:1: prices: the file must be a string, not a number\n");
  rig_bad("prices { unpriced = \"pass\" }\nprices { unpriced = \"pass\" }", "weir.lua:2: prices: 'prices' stands twice; the first is at weir.lua:1\n");
  rig_write("bad.json", "{ \"a\":\n {]} }");
  rig_bad("prices \"bad.json\"", "weir.lua:1: prices: 'bad.json' is no price file: key expected (line 2)\n");
  rig_write("bad.json", "{}");
  rig_bad("prices \"bad.json\"", "weir.lua:1: prices: 'bad.json' holds no price\n");
}

static const char file[] =
  "{ \"gpt-5\": { \"litellm_provider\": \"openai\", \"mode\": \"chat\", \"input_cost_per_token\": 2e-6, \"output_cost_per_token\": 2e-5, \"max_input_tokens\": 5 },\n"
  "  \"gpt-9\": { \"litellm_provider\": \"text-completion-openai\", \"mode\": \"chat\", \"input_cost_per_token\": 3e-6, \"output_cost_per_token\": 3e-5 },\n"
  "  \"azure/gpt-5\": { \"litellm_provider\": \"azure\", \"input_cost_per_token\": 4e-6, \"output_cost_per_token\": 4e-5, \"supports_reasoning\": true },\n"
  "  \"dashscope/qwen-plus\": { \"litellm_provider\": \"dashscope\", \"input_cost_per_token\": 5e-6, \"output_cost_per_token\": 5e-5 },\n"
  "  \"lab/small\": { \"input_cost_per_token\": 1e-6, \"output_cost_per_token\": 1e-6 }, \"openai/o3\": { \"litellm_provider\": \"openai\", \"max_output_tokens\": 77 },\n"
  "  \"odd\": 7 }\n";

static void the_file(void **state) {
  char text[1024];
  rig_write("list/p.json", file);
  snprintf(text, sizeof text, "prices { \"list/p.json\", unpriced = \"worst\" }\n%s", providers);
  struct conf *c = rig_good(text);
  (void)state;
  assert_span(c->prices.path, "list/p.json");
  assert_int_equal(c->prices.unpriced, UNPRICED_WORST);
  assert_int_equal(c->prices.file.count, 6);
  assert_int_equal(c->prices.priced, 5);
  assert_int_equal(c->prices.odd_count, 1);
  assert_span(c->prices.odd, "odd: it is no object; it is left out\n");
  costs(c, "openai", "gpt-5", PRICED_FILE, "0.022");
  costs(c, "openai", "gpt-9-2030-01-01", PRICED_FILE, "0.033");
  costs(c, "openai", "gpt-4.1", PRICED_SHIPPED, "0.01");
  costs(c, "openai", "o3", PRICED_SHIPPED, "0.01");
  costs(c, "azure", "gpt-5", PRICED_FILE, "0.044");
  costs(c, "qwen", "qwen-plus", PRICED_FILE, "0.055");
  costs(c, "lab", "small", PRICED_FILE, "0.002");
  costs(c, "openai", "unheard", PRICED_WORST, "0.022");
  costs(c, "lab", "unheard", PRICED_WORST, "0.055");
  costs(c, "vllm", "unheard", PRICED_FREE, "0");
  struct model_facts m = facts(c, "openai", "gpt-5");
  assert_int_equal(m.window, 5);
  assert_int_equal(m.max_output, 128000);
  assert_span(m.priced_as, "gpt-5");
  m = facts(c, "openai", "o3");
  assert_int_equal(m.max_output, 77);
  uint64_t seen = 0;
  assert_false(conf_files_changed(c, &seen));
  rig_write("list/p.json", "{ }");
  assert_true(conf_files_changed(c, &seen));
  conf_drop(c);
}

static void an_old_file(void **state) {
  struct buf old = { 0 };
  struct utimbuf then = { time(NULL) - 40 * 86400, time(NULL) - 40 * 86400 };
  (void)state;
  rig_write("p.json", file);
  assert_int_equal(utime("p.json", &then), 0);
  conf_drop(rig_good("prices \"p.json\"\nprovider \"vllm\" {}"));
  conf_drop(rig_good("prices { \"p.json\", max_age = days(41) }\nprovider \"vllm\" {}"));
  struct loaded l = rig_load("prices { \"p.json\", max_age = days(30) }\nprovider \"vllm\" {}");
  assert_non_null(l.conf);
  assert_string_equal(l.warnings, "weir.lua:1: prices: 'p.json' is 40 days old, older than max_age (30 days)\n");
  assert_false(conf_prices_old(l.conf, time(NULL) - 20 * 86400, &old));
  buf_free(&old);
  conf_drop(l.conf);
}

static void a_table_of_ones_own(void **state) {
  (void)state;
  rig_write("policies/prices.lua", "return { dated = \"2030-01-02\", openai = { x = { window = 5, price = { input = usd(1), output = usd(1) } } } }");
  struct conf *c = rig_good("provider \"openai\" { key = env \"SECRET_A\" }");
  assert_span(c->prices.shipped_from, "policies/prices.lua");
  costs(c, "openai", "x", PRICED_SHIPPED, "0.002");
  costs(c, "openai", "gpt-5", PRICED_NOT, "");
  conf_drop(c);
  rig_write("policies/prices.lua", "return { on_request = function() end }");
  struct loaded l = rig_load("provider \"vllm\" {}");
  assert_non_null(strstr(l.errors, "policies/prices.lua: a policies/prices.lua takes the place of the shipped prices"));
  rig_write("policies/prices.lua", "return { dated = \"2030-01-02\", openai = { x = { price = { input = 1 } } } }");
  l = rig_load("provider \"vllm\" {}");
  assert_non_null(strstr(l.errors, "'openai': model 'x': input must be money such as usd(2.5), not a number"));
  assert_int_equal(remove("policies/prices.lua"), 0);
}

/* What a usage costs at a provider with ways of its own. */
static void the_provider_s_word(void **state) {
  struct conf *c = rig_good("provider \"xai\" { key = env \"SECRET_A\" } provider \"openai\" { key = env \"SECRET_A\" }\n"
                            "provider \"perplexity\" { key = env \"SECRET_A\", price = { input = usd(1), output = usd(1) } }");
  const struct provider *xai = conf_provider(c, SPAN("xai")), *openai = conf_provider(c, SPAN("openai")), *perplexity = conf_provider(c, SPAN("perplexity"));
  struct model_facts grok = facts(c, "xai", "grok-4"), gpt = facts(c, "openai", "gpt-5"), sonar = facts(c, "perplexity", "sonar");
  struct usage u = { .input = 1000, .output = 10, .reasoning = 5, .cost = -1 };
  (void)state;
  assert_int_equal(conf_cost(xai, &grok, &u, 0), 3000000000 + 15 * 15000000);
  assert_int_equal(u.output, 15);
  assert_int_equal(conf_cost(xai, &grok, &u, 0), 3000000000 + 15 * 15000000);
  u.cost = 7;
  assert_int_equal(conf_cost(xai, &grok, &u, 0), 7);
  assert_int_equal(conf_cost(openai, &gpt, &u, 0), 1250000000 + 15 * 10000000);
  assert_int_equal(conf_cost(perplexity, &sonar, &u, 0), 1015000000);
  assert_true(provider_takes_usage_option(openai));
  assert_false(provider_takes_usage_option(perplexity));
  conf_drop(c);
}

static void asked_for_usage(void **state) {
  struct conf *c = rig_good("provider \"mistral\" { key = env \"SECRET_A\", usage_option = true } provider \"openai\" { key = env \"SECRET_A\", usage_option = false }\n"
                            "provider \"lab\" { dialect = \"chat\", url = \"http://127.0.0.1:1\" } provider \"m\" { dialect = \"messages\", url = \"http://127.0.0.1:1\" }");
  (void)state;
  assert_true(provider_takes_usage_option(conf_provider(c, SPAN("mistral"))));
  assert_false(provider_takes_usage_option(conf_provider(c, SPAN("openai"))));
  assert_true(provider_takes_usage_option(conf_provider(c, SPAN("lab"))));
  assert_false(provider_takes_usage_option(conf_provider(c, SPAN("m"))));
  conf_drop(c);
}

static void what_models_can_do(void **state) {
  struct conf *c = rig_good("provider \"openai\" { key = env \"SECRET_A\", models = { [\"gpt-5\"] = { images = false, prefill = true, window = 100, deprecated = \"2027-02-28\", "
                            "region = \"eu\" } } }\nprovider \"anthropic\" { key = env \"SECRET_A\" }");
  struct model_facts m;
  (void)state;
  conf_model(c, &c->providers[0], SPAN("gpt-5"), &m);
  assert_int_equal(m.able.cannot & ABLE_BIT(ABLE_IMAGES), ABLE_BIT(ABLE_IMAGES));
  assert_int_equal(m.able.can & ABLE_BIT(ABLE_IMAGES), 0);
  assert_true(m.able.can & ABLE_BIT(ABLE_PREFILL) && m.able.can & ABLE_BIT(ABLE_TOOLS) && m.able.cannot & ABLE_BIT(ABLE_TEMPERATURE));
  assert_int_equal(m.window, 100);
  assert_int_equal(m.deprecated, 20270228);
  assert_span(m.region, "eu");
  conf_model(c, &c->providers[1], SPAN("claude-opus-4-8-20260101"), &m);
  assert_true(m.able.can & ABLE_BIT(ABLE_PDF) && m.able.cannot & ABLE_BIT(ABLE_PREFILL));
  conf_model(c, &c->providers[1], SPAN("claude-sonnet-4"), &m);
  assert_int_equal(m.deprecated, 20260514);
  conf_model(c, &c->providers[1], SPAN("unheard-of"), &m);
  assert_int_equal(m.able.can | m.able.cannot, 0);
  assert_int_equal(m.deprecated, 0);
  conf_drop(c);
  rig_bad("provider \"openai\" { key = env \"SECRET_A\", models = { x = { deprecated = \"soon\" } } }",
          "weir.lua:1: provider 'openai': model 'x': deprecated must be a day such as \"2027-01-31\", not \"soon\"\n");
  rig_write("p.json", "{\"openai/y\":{\"litellm_provider\":\"openai\",\"mode\":\"chat\",\"input_cost_per_token\":1e-6,\"output_cost_per_token\":1e-6,"
                      "\"supports_vision\":true,\"supports_assistant_prefill\":false,\"deprecation_date\":\"2026-12-24\"}}");
  c = rig_good("provider \"openai\" { key = env \"SECRET_A\" }\nprices \"p.json\"");
  conf_model(c, c->providers, SPAN("y"), &m);
  assert_int_equal(m.able.can, ABLE_BIT(ABLE_IMAGES));
  assert_int_equal(m.able.cannot, ABLE_BIT(ABLE_PREFILL));
  assert_int_equal(m.deprecated, 20261224);
  conf_drop(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_models_can_do),
    cmocka_unit_test(the_shipped_table), cmocka_unit_test(the_shipped_table_is_sound), cmocka_unit_test(own_words), cmocka_unit_test(not_charged_yet), cmocka_unit_test(wrong_words),
    cmocka_unit_test(the_file), cmocka_unit_test(an_old_file), cmocka_unit_test(a_table_of_ones_own), cmocka_unit_test(the_provider_s_word),
    cmocka_unit_test(asked_for_usage),
  };
  return cmocka_run_group_tests(tests, rig_begin, rig_end);
}
