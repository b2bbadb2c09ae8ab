#include "cmd.h"
#include <stdio.h>
#include "../gateway/gateway.h"

static void print(FILE *to, struct span text) { fprintf(to, "%.*s", SPAN_FMT(text)); }

static void explain_target(const struct conf *c, const struct route *r, const struct candidate *k) {
  const struct provider *p = k->provider;
  printf("  %.*s  (%s)\n", SPAN_FMT(k->name), dialect_word(p->dialect));
  for (size_t i = 0; i < p->endpoint_count; i++) {
    const struct endpoint *e = &p->endpoints[i];
    printf("    %.*s%s%.*s  weight %u, %zu account%s\n", SPAN_FMT(e->text), e->region.n ? "  region " : "", SPAN_FMT(e->region), e->weight, e->account_count, e->account_count == 1 ? "" : "s");
  }
  static const enum setting shown[] = { SET_CONNECT, SET_TLS, SET_HEAD, SET_FIRST_EVENT, SET_FIRST_EVENT_REASONING, SET_BETWEEN_EVENTS, SET_TOTAL };
  printf("    clocks:");
  for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) printf(" %s %g", setting_words[shown[i]], conf_setting(c, r->alias, p, shown[i]));
  printf("\n");
}

static int explain(const struct conf *c, const char *model) {
  struct arena a = { 0 };
  struct route r = { 0 };
  int status = 0;
  const char *why = NULL;
  static const enum operation asked[] = { OP_CHAT, OP_MESSAGES };
  for (size_t i = 0; i < 2; i++) {                       /* the model may live at a provider of either family */
    r = (struct route){ 0 };
    why = route_model(c, operation_info(asked[i]), span_cstr(model), &a, &r, &status);
    if (!why) break;
  }
  if (why) {
    fprintf(stderr, "%s\n", why);
  } else {
    printf("%s%s goes to, in this order:\n", r.alias ? "alias " : "", model);
    for (size_t i = 0; i < r.count; i++) explain_target(c, &r, &r.candidates[i]);
    uint32_t next_on = r.next_on ? r.next_on : route_default_next_on();
    printf("the next one is tried on:");
    for (int f = 1; f < FAULT_COUNT; f++)
      if (next_on & 1u << f) printf(" %s", fault_word((enum fault)f));
    printf("\nprices are not in this version\n");
  }
  arena_end(&a);
  return why ? 1 : 0;
}

int cmd_check(struct args *a) {
  const char *file = args_value(a, "--config"), *model = args_value(a, "--explain");
  if (args_flag(a, "--system") || args_flag(a, "--providers")) return fprintf(stderr, "weir check --system and --providers are not in this version\n"), 2;
  if (!args_done(a, "check")) return 2;
  struct buf errors = { 0 }, warnings = { 0 };
  struct generation *gen = generation_load(file, 1, 1, &errors, &warnings);
  print(stderr, buf_span(&warnings));
  print(stderr, buf_span(&errors));
  int code = gen ? 0 : 1;
  if (gen && model) code = explain(gen->conf, model);
  else if (gen) printf("%.*s: good: %zu provider(s), %zu alias(es), %zu policy use(s)\n", SPAN_FMT(gen->conf->file.n ? gen->conf->file : SPAN("(no file)")),
                       gen->conf->provider_count, gen->conf->alias_count, gen->conf->use_count);
  if (gen) generation_free(gen);
  buf_free(&errors);
  buf_free(&warnings);
  return code;
}
