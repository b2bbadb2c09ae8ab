/* weir check on prices: what a model costs and who says so; what the price file holds and how old it is. */
#include "cmd.h"
#include <stdio.h>
#include <time.h>
#include "weir/conf.h"

static double days_old(const struct prices *p) { return (double)(time(NULL) - p->modified) / 86400; }

/* Beside tokens a rate is shown for one of them, as weir.lua has it. */
static void rate_print(const struct price_rates *r, int m) {
  char text[MONEY_TEXT];
  money_text(m < METER_TOKENS ? r->of[m] : r->of[m] / PRICE_PPM, text);
  printf(" %s %s%s", meter_word((enum meter)m), text, r->assumed & METER_BIT(m) ? "?" : "");
}

static void rates_print(const struct price *p, const struct price_rates *r) {
  printf("     ");
  if (r->above) printf(" above %lld tokens of input,", (long long)r->above);
  if (r->tier != TIER_STANDARD) printf(" %s,", tier_word((enum service_tier)r->tier));
  if (r->from != r->to) printf(" from %02u:%02u to %02u:%02u UTC,", r->from / 60, r->from % 60, r->to / 60, r->to % 60);
  for (int m = 0; m < METER_COUNT; m++)
    if (p->stated & METER_BIT(m) || m == METER_CACHE_READ || m == METER_CACHE_WRITE) rate_print(r, m);
  printf("\n");
}

static void source_print(const struct conf *c, const struct model_facts *m) {
  const struct prices *p = &c->prices;
  switch (m->source) {
  case PRICED_NOT: printf("unknown\n"); break;
  case PRICED_MODEL: printf("weir.lua, of this model\n"); break;
  case PRICED_PROVIDER: printf("weir.lua, of all models of this provider\n"); break;
  case PRICED_FILE: printf("%.*s, %.1f days old, as '%.*s'\n", SPAN_FMT(p->path), days_old(p), SPAN_FMT(m->priced_as)); break;
  case PRICED_SHIPPED: printf("shipped table of %.*s (%.*s), as '%.*s'\n", SPAN_FMT(p->dated), SPAN_FMT(p->shipped_from), SPAN_FMT(m->priced_as)); break;
  case PRICED_FREE: printf("free of charge, since it runs on a machine of one's own\n"); break;
  case PRICED_WORST: printf("unknown, and so the dearest known (unpriced = \"worst\")\n"); break;
  }
}

static void sizes_print(const struct model_facts *m) {
  printf("    model:");
  if (m->window) printf(" window %lld", (long long)m->window);
  else printf(" window unknown");
  if (m->max_output) printf(", max_output %lld", (long long)m->max_output);
  else printf(", max_output unknown");
  printf(", %s, output %s\n", m->reasoning > 0 ? "reasoning" : m->reasoning < 0 ? "reasoning unknown" : "no reasoning",
         m->thinking == THINKING_SHOWN ? "all visible" : m->thinking == THINKING_HIDDEN ? "partly hidden" : "partly hidden when thinking is asked for");
}

static void abilities_print(const struct model_facts *m) {
  for (int yes = 1; yes >= 0; yes--) {
    bool any = false;
    for (int i = 0; i < ABLE_COUNT; i++) {
      if (!((yes ? m->able.can : m->able.cannot) & ABLE_BIT(i))) continue;
      printf("%s%s", any ? ", " : yes ? "    takes: " : "    takes no: ", ability_words[i]);
      any = true;
    }
    if (any) printf("\n");
  }
  if (m->deprecated) printf("    its provider ends it on %04d-%02d-%02d\n", m->deprecated / 10000, m->deprecated / 100 % 100, m->deprecated % 100);
  if (m->region.n) printf("    region %.*s\n", SPAN_FMT(m->region));
}

void explain_price(const struct conf *c, const struct provider *p, struct span model) {
  struct model_facts m;
  conf_model(c, p, model, &m);
  sizes_print(&m);
  abilities_print(&m);
  printf("    provider: %s, %s after a cancel\n", usage_words(p), cancel_words(p));
  printf("    price: ");
  source_print(c, &m);
  if (m.price.discount != PRICE_PPM && m.price.count) printf("      times %.6g (discount)\n", m.price.discount / (double)PRICE_PPM);
  if (m.source == PRICED_FREE) return;
  for (size_t i = 0; i < m.price.count; i++) rates_print(&m.price, &m.price.rates[i]);
  if (m.price.fast != PRICE_PPM && m.price.count) printf("      times %.6g at speed fast\n", m.price.fast / (double)PRICE_PPM);
  if (m.price.us != PRICE_PPM && m.price.count) printf("      times %.6g when kept in the US\n", m.price.us / (double)PRICE_PPM);
}

/* Of what chains name: models whose provider has said when it ends them. */
static void check_endings(const struct conf *c) {
  for (size_t i = 0; i < c->alias_count; i++)
    for (size_t k = 0; k < c->aliases[i].target_count; k++) {
      struct span head, model = span_cut(c->aliases[i].targets[k], '/', &head);
      const struct provider *p = conf_provider(c, head);
      struct model_facts m;
      if (!p) continue;
      conf_model(c, p, model, &m);
      if (m.deprecated) printf("model \"%.*s\": the provider of %.*s ends it on %04d-%02d-%02d\n", SPAN_FMT(c->aliases[i].name), SPAN_FMT(c->aliases[i].targets[k]),
                               m.deprecated / 10000, m.deprecated / 100 % 100, m.deprecated % 100);
    }
}

void check_prices(const struct conf *c) {
  static const char *const words[] = { "refuse", "worst", "pass" };
  const struct prices *p = &c->prices;
  check_endings(c);
  printf("prices: shipped table of %.*s (%.*s), %zu models; unpriced = \"%s\"\n", SPAN_FMT(p->dated), SPAN_FMT(p->shipped_from), p->shipped.count, words[p->unpriced]);
  if (!p->path.n) return;
  printf("prices: %.*s: %zu models, %zu with a price, %.1f days old", SPAN_FMT(p->path), p->file.count, p->priced, days_old(p));
  if (p->odd_count) printf("; %zu odd:\n", p->odd_count);
  else printf("\n");
  for (struct span rest = p->odd, line; rest.n;) {
    rest = span_cut(rest, '\n', &line);
    printf("  %.*s\n", SPAN_FMT(line));
  }
}
