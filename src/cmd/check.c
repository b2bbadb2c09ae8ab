#include "cmd.h"
#include <stdio.h>
#include "../gateway/worker.h"
#include "weir/vm.h"

static void print(FILE *to, struct span text) { fprintf(to, "%.*s", SPAN_FMT(text)); }

static void explain_target(const struct conf *c, const struct route *r, const struct candidate *k) {
  const struct provider *p = k->provider;
  struct model_facts m;
  conf_model(c, p, k->model, &m);
  printf("  %.*s  (%s)\n", SPAN_FMT(k->name), dialect_word(m.dialect));
  for (size_t i = 0; i < p->endpoint_count; i++) {
    const struct endpoint *e = &p->endpoints[i];
    printf("    %.*s%s%.*s  weight %u, %zu account%s\n", SPAN_FMT(e->text), e->region.n ? "  region " : "", SPAN_FMT(e->region), e->weight, e->account_count, e->account_count == 1 ? "" : "s");
    if (e->proxy) printf("      through the proxy %.*s\n", SPAN_FMT(e->proxy->name));
  }
  static const enum setting shown[] = { SET_CONNECT, SET_TLS, SET_HEAD, SET_FIRST_EVENT, SET_FIRST_EVENT_REASONING, SET_BETWEEN_EVENTS, SET_TOTAL };
  printf("    clocks:");
  for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) printf(" %s %g", setting_words[shown[i]], conf_setting(c, r->alias, p, shown[i]));
  printf("\n");
  if (r->alias && r->alias->latency_budget > 0) printf("    latency_budget %g over all attempts\n", r->alias->latency_budget);
  explain_price(c, p, k->model);
}

/* ---- a saved request run through on_request: what the policies decide, without sending anything */
static void print_decision(const struct policy_req *r, const struct decision *d) {
  for (const struct policy_edit *e = r->edits; e; e = e->next) printf("  sets %.*s to %.*s\n", SPAN_FMT(e->word), SPAN_FMT(e->json));
  for (const struct policy_note *n = r->notes; n; n = n->next) printf("  notes %.*s = %.*s\n", SPAN_FMT(n->key), SPAN_FMT(n->value));
  for (size_t i = 0; i < r->target_count; i++) printf("  routes to %.*s\n", SPAN_FMT(r->targets[i]));
  if (d->kind == DECIDE_DENY) printf("  %.*s denies with %d: %.*s\n", SPAN_FMT(d->policy), d->status, SPAN_FMT(d->message));
  else if (d->kind == DECIDE_ANSWER) printf("  %.*s answers itself\n", SPAN_FMT(d->policy));
  else printf("  the request goes on\n");
}

/* weir.fetch is not made and weir.sleep not waited for: the policy sees the one fail and the other end. */
static int run_request(struct generation *gen, const struct operation_info *o, struct span model, const char *path) {
  struct buf body = { 0 };
  struct arena a = { 0 };
  struct json_member members[MOST_MEMBERS];
  struct json_error e;
  struct http_head head = { .method = SPAN("POST"), .target = span_cstr(o->path) };
  struct policy_req r = { .arena = &a, .operation = o, .id = SPAN("check"), .path = span_cstr(o->path), .ip = SPAN("127.0.0.1"), .method = SPAN("POST"), .head = &head };
  const char *why = NULL;
  if (!file_read(path, &body)) return fprintf(stderr, "%s cannot be read\n", path), 1;
  r.body = buf_span(&body);
  r.members = members;
  if (!json_read_object(r.body, members, MOST_MEMBERS, &r.member_count, &e)) why = e.why;
  else if (!request_read(o, members, r.member_count, &r.facts, &why)) why = why ? why : "it is no request of this route";
  if (why) return buf_free(&body), fprintf(stderr, "%s: %s\n", path, why), 1;
  r.stream = r.facts.stream;
  r.model = model;
  printf("%s, asking for %.*s, through the policies:\n", path, SPAN_FMT(model));
  struct policy_run run = { 0 };
  struct policy_subject s = { .req = &r };
  struct policy_answer none = { .why = "weir check makes no calls" };
  enum policy_result result = POLICY_DONE;
  if (policy_has(gen->vms[0], HOOK_REQUEST)) result = policy_run_start(gen->vms[0], &run, HOOK_REQUEST, &s);
  while (result == POLICY_WAITS) {
    if (run.wait.kind == WAIT_FETCH) printf("  would fetch %.*s\n", SPAN_FMT(run.wait.url));
    result = policy_run_resume(&run, run.wait.kind == WAIT_FETCH ? &none : NULL);
  }
  print_decision(&r, &run.decision);
  policy_req_end(&r);
  arena_end(&a);
  buf_free(&body);
  return 0;
}

static int explain(struct generation *gen, const char *model, const char *request) {
  const struct conf *c = gen->conf;
  size_t i = 0;
  struct arena a = { 0 };
  struct route r = { 0 };
  int status = 0;
  const char *why = NULL;
  static const enum operation asked[] = { OP_CHAT, OP_MESSAGES };
  for (; i < 2; i++) {                                   /* the model may live at a provider of either family */
    r = (struct route){ 0 };
    why = route_model(c, operation_info(asked[i]), span_cstr(model), &a, &r, &status);
    if (!why && operation_served(operation_info(asked[i]), r.candidates[0].provider->dialect)) break;
  }
  if (why) {
    fprintf(stderr, "%s\n", why);
  } else {
    printf("%s%s goes to, in this order:\n", r.alias ? "alias " : "", model);
    for (size_t k = 0; k < r.count; k++) explain_target(c, &r, &r.candidates[k]);
    uint32_t next_on = r.next_on ? r.next_on : route_default_next_on();
    printf("the next one is tried on:");
    for (int f = 1; f < FAULT_COUNT; f++)
      if (next_on & 1u << f) printf(" %s", fault_word((enum fault)f));
    printf("\nprices are in USD per million tokens, those that begin with per_ for one; ?: nobody states it, so it is taken from the like\n");
  }
  arena_end(&a);
  if (why) return 1;
  return request ? run_request(gen, operation_info(asked[i < 2 ? i : 1]), span_cstr(model), request) : 0;
}

int cmd_check(struct args *a) {
  const char *file = args_value(a, "--config"), *model = args_value(a, "--explain"), *request = args_value(a, "--request");
  bool machine = args_flag(a, "--system"), providers = args_flag(a, "--providers");
  if ((machine || providers) && model) return fprintf(stderr, "weir check: --system and --providers go without --explain\n"), 2;
  if (request && !model) return fprintf(stderr, "weir check: --request needs --explain MODEL\n"), 2;
  if (!args_done(a, "check")) return 2;
  if (machine || providers) {
    int found = machine ? check_system(file) : 0;
    return providers ? check_providers(file) | found : found;
  }
  vm_thread_enter();
  struct buf errors = { 0 }, warnings = { 0 };
  struct generation *gen = generation_load(file, 1, 1, &errors, &warnings);
  print(stderr, buf_span(&warnings));
  print(stderr, buf_span(&errors));
  int code = gen ? 0 : 1;
  if (gen && model) code = explain(gen, model, request);
  else if (gen) printf("%.*s: good: %zu provider(s), %zu alias(es), %zu policy use(s)\n", SPAN_FMT(gen->conf->file.n ? gen->conf->file : SPAN("(no file)")),
                       gen->conf->provider_count, gen->conf->alias_count, gen->conf->use_count);
  if (gen && !model) check_prices(gen->conf);
  if (gen) generation_free(gen);
  buf_free(&errors);
  buf_free(&warnings);
  return code;
}
