/* What is known of a provider's model: sizes, price, and where the price stands. */
#include "load.h"

enum { LONGEST_KEY = 256 };

static const struct price_model *joined(const struct price_table *t, struct span head, struct span model) {
  char key[LONGEST_KEY];
  if (head.n + 1 + model.n > sizeof key) return NULL;
  memcpy(key, head.p, head.n);
  key[head.n] = '/';
  memcpy(key + head.n + 1, model.p, model.n);
  return price_table_find(t, span_of(key, head.n + 1 + model.n));
}

/* The file calls one provider by several words: "openai", "text-completion-openai"; "fireworks_ai", "fireworks_ai-embedding-models". */
static bool serves(struct span word, struct span provider) {
  static const struct span before = SPAN("text-completion-");
  if (span_starts(word, before)) word = span_from(word, before.n);
  if (!span_starts(word, provider)) return false;
  struct span rest = span_from(word, provider.n);
  return !rest.n || rest.p[0] == '-' || span_eq(rest, SPAN("_text")) || span_eq(rest, SPAN("_converse"));
}

static const struct price_model *in_table(const struct price_table *t, const struct provider *p, struct span model) {
  if (!model.n || !t->count) return NULL;                /* a request that was not read names none */
  struct span name = span_cstr(p->quirks->price_name);
  const struct price_model *m = joined(t, p->name, model);
  if (!m && name.n) m = joined(t, name, model);
  if (m || !name.n) return m;
  m = price_table_find(t, model);
  return m && serves(m->provider, name) ? m : NULL;
}

static bool digits(struct span s) {
  for (size_t i = 0; i < s.n; i++)
    if (s.p[i] < '0' || s.p[i] > '9') return false;
  return s.n > 0;
}

/* The name without its date, where the provider's names are known to be so. */
static bool family_of(const struct provider *p, struct span model, struct span *out) {
  struct span tail;
  if (p->quirks->dated_dashes && model.n > 11) {
    tail = span_from(model, model.n - 11);               /* -2025-08-07 */
    *out = span_of(model.p, model.n - 11);
    if (tail.p[0] == '-' && tail.p[5] == '-' && tail.p[8] == '-' && digits(span_of(tail.p + 1, 4)) && digits(span_of(tail.p + 6, 2)) &&
        digits(span_of(tail.p + 9, 2))) return true;
  }
  if (!p->quirks->dated_digits || model.n <= 9) return false;
  tail = span_from(model, model.n - 9);                  /* -20250929 */
  *out = span_of(model.p, model.n - 9);
  return (tail.p[0] == '-' || tail.p[0] == '@') && digits(span_from(tail, 1));
}

static const struct model_data *own(const struct provider *p, struct span model) {
  for (size_t i = 0; i < p->model_count; i++)
    if (span_eq(p->models[i].name, model)) return &p->models[i];
  return NULL;
}

static void price_take(struct model_facts *out, const struct price *price, enum price_source source, struct span as) {
  if (out->price.count || !price->count) return;
  out->price = *price;
  out->source = source;
  out->priced_as = as;
}

static void abilities_take(struct abilities *out, struct abilities more) {
  uint16_t known = out->can | out->cannot;
  out->can |= (uint16_t)(more.can & ~known);
  out->cannot |= (uint16_t)(more.cannot & ~known);
}

static void facts_take(struct model_facts *out, const struct price_model *m, enum price_source source) {
  if (!m) return;
  price_take(out, &m->price, source, m->name);
  if (!out->window) out->window = m->window;
  if (!out->max_output) out->max_output = m->max_output;
  if (out->reasoning < 0) out->reasoning = m->reasoning;
  if (!out->deprecated) out->deprecated = m->deprecated;
  abilities_take(&out->able, m->able);
  if (out->responses < 0) out->responses = m->responses;
}

static const struct price_rates nothing = { .tier = TIER_STANDARD };

static bool runs_here(const struct provider *p) {
  if (!p->quirks->free) return false;
  for (size_t i = 0; i < p->endpoint_count; i++)
    if (p->endpoints[i].url.tls) return false;           /* somebody else's, it seems */
  return true;
}

static void thinking_take(const struct provider *p, const struct model_data *m, struct model_facts *out) {
  out->thinking = out->reasoning == 0 ? THINKING_SHOWN : p->quirks->thinking;
  if (m && m->hidden >= 0) out->thinking = m->hidden ? THINKING_HIDDEN : THINKING_SHOWN;
}

/* A provider that speaks responses is asked in it for all its models, but for those that weir.lua says otherwise of. */
static void dialect_take(const struct provider *p, const struct model_data *m, struct model_facts *out) {
  bool own = m && m->responses >= 0;
  out->dialect = p->dialect;
  if (p->dialect == DIALECT_CHAT && out->responses > 0) out->dialect = DIALECT_RESPONSES;
  if (p->dialect == DIALECT_RESPONSES && own && !m->responses) out->dialect = DIALECT_CHAT;
}

void conf_model(const struct conf *c, const struct provider *p, struct span model, struct model_facts *out) {
  const struct model_data *m = own(p, model);
  const struct price free_of_charge = { .rates = (struct price_rates *)&nothing, .count = 1, .stated = METERS_OF_INPUT | METERS_OF_OUTPUT,
                                        .tiers = 1u << TIER_STANDARD, .discount = PRICE_PPM, .fast = PRICE_PPM, .us = PRICE_PPM };
  struct span family, none = { 0 };
  *out = (struct model_facts){ .reasoning = -1, .responses = -1 };
  if (m) {
    out->window = m->window, out->max_output = m->max_output, out->reasoning = m->reasoning;
    out->able = m->able, out->deprecated = m->deprecated, out->region = m->region;
    out->responses = m->responses;
    price_take(out, &m->price, PRICED_MODEL, none);
  }
  price_take(out, &p->price, PRICED_PROVIDER, none);
  facts_take(out, in_table(&c->prices.file, p, model), PRICED_FILE);
  facts_take(out, in_table(&c->prices.shipped, p, model), PRICED_SHIPPED);
  if (family_of(p, model, &family)) {
    facts_take(out, in_table(&c->prices.file, p, family), PRICED_FILE);
    facts_take(out, in_table(&c->prices.shipped, p, family), PRICED_SHIPPED);
  }
  if (runs_here(p)) price_take(out, &free_of_charge, PRICED_FREE, none);
  price_take(out, &p->worst, PRICED_WORST, none);
  if (out->price.count) out->price.discount = p->discount;
  thinking_take(p, m, out);
  dialect_take(p, m, out);
}

picodollars conf_cost(const struct provider *p, const struct model_facts *m, struct usage *u, int64_t now) {
  bool own_price = m->source == PRICED_MODEL || m->source == PRICED_PROVIDER;
  usage_reasoning(u, p->quirks->reasoning);
  if (p->quirks->tells_cost && u->cost >= 0 && !own_price) return u->cost;
  return price_of(&m->price, u, now);
}

picodollars conf_fees(const struct provider *p, const struct model_facts *m, const struct usage *u, int64_t now) {
  bool own_price = m->source == PRICED_MODEL || m->source == PRICED_PROVIDER;
  return p->quirks->tells_cost && u->cost >= 0 && !own_price ? 0 : price_fees(&m->price, u, now);
}
