/* Which model goes where, and what is said when it goes nowhere. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include "weir/route.h"

/* A configuration by hand: route is pure and knows no files. */
static struct model_data models[] = { { .name = SPAN("gpt-5") } };
static struct provider providers[] = {
  { .name = SPAN("claude"), .dialect = DIALECT_MESSAGES, .number = 0 },
  { .name = SPAN("openai"), .dialect = DIALECT_CHAT, .number = 1, .models = models, .model_count = 1 },
  { .name = SPAN("lab"), .dialect = DIALECT_RESPONSES, .number = 2 },
};
static struct span mixed[] = { SPAN("claude/opus"), SPAN("openai/gpt-5"), SPAN("lab/a/b") };
static struct span theirs[] = { SPAN("claude/opus") };
static struct span shadow[] = { SPAN("openai/real") };
static struct alias aliases[] = {
  { .name = SPAN("smart"), .targets = mixed, .target_count = 3, .next_on = 1u << FAULT_TIMEOUT },
  { .name = SPAN("thinker"), .targets = theirs, .target_count = 1 },
  { .name = SPAN("openai/fake"), .targets = shadow, .target_count = 1 },
};
static struct conf conf = { .providers = providers, .provider_count = 3, .aliases = aliases, .alias_count = 3 };

struct found { const char *why; int status; struct route route; char names[512]; };

static void names_join(struct found *f) {
  size_t n = 0;
  f->names[0] = 0;
  for (size_t i = 0; !f->why && i < f->route.count; i++) {
    const struct candidate *c = &f->route.candidates[i];
    n += (size_t)snprintf(f->names + n, sizeof f->names - n, "%s%.*s=%.*s:%.*s", i ? " " : "", SPAN_FMT(c->name),
                          SPAN_FMT(c->provider->name), SPAN_FMT(c->model));
  }
}

static struct found ask(const struct conf *c, enum operation o, const char *model) {
  static struct arena a;
  struct found f = { .status = 0 };
  arena_end(&a);
  f.why = route_model(c, operation_info(o), span_cstr(model), &a, &f.route, &f.status);
  names_join(&f);
  return f;
}

static void names(void **state) {
  static const struct { enum operation o; const char *model, *route; } list[] = {
    { OP_CHAT, "openai/gpt-5", "openai/gpt-5=openai:gpt-5" },
    { OP_CHAT, "gpt-5", "openai/gpt-5=openai:gpt-5" },
    { OP_CHAT, "lab/a/b", "lab/a/b=lab:a/b" },
    { OP_RESPONSES, "openai/x", "openai/x=openai:x" },
    { OP_EMBEDDINGS, "lab/x", "lab/x=lab:x" },
    { OP_MESSAGES, "claude/opus", "claude/opus=claude:opus" },
    { OP_MESSAGES, "opus", "claude/opus=claude:opus" },
    { OP_COUNT_TOKENS, "opus", "claude/opus=claude:opus" },
    { OP_CHAT, "meta-llama/Llama-3", "openai/meta-llama/Llama-3=openai:meta-llama/Llama-3" },
    { OP_CHAT, "openai/", "openai/openai/=openai:openai/" },
    { OP_CHAT, "smart", "claude/opus=claude:opus openai/gpt-5=openai:gpt-5 lab/a/b=lab:a/b" },
    { OP_RESPONSES, "smart", "openai/gpt-5=openai:gpt-5 lab/a/b=lab:a/b" },
    { OP_MESSAGES, "smart", "claude/opus=claude:opus openai/gpt-5=openai:gpt-5 lab/a/b=lab:a/b" },
    { OP_COUNT_TOKENS, "smart", "claude/opus=claude:opus" },
    { OP_MESSAGES, "thinker", "claude/opus=claude:opus" },
    { OP_CHAT, "openai/fake", "openai/real=openai:real" },
  };
  (void)state;
  conf.default_provider = NULL;
  for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
    struct found f = ask(&conf, list[i].o, list[i].model);
    if (f.why) fail_msg("%s: %s", list[i].model, f.why);
    if (strcmp(f.names, list[i].route)) fail_msg("%s: %s", list[i].model, f.names);
  }
}

static void the_default_provider(void **state) {
  (void)state;
  conf.default_provider = &providers[2];
  assert_string_equal(ask(&conf, OP_CHAT, "gpt-5").names, "lab/gpt-5=lab:gpt-5");
  assert_string_equal(ask(&conf, OP_MESSAGES, "opus").names, "claude/opus=claude:opus");
  conf.default_provider = &providers[0];
  assert_string_equal(ask(&conf, OP_CHAT, "gpt-5").names, "openai/gpt-5=openai:gpt-5");
  assert_string_equal(ask(&conf, OP_CHAT, "openai/gpt-5").names, "openai/gpt-5=openai:gpt-5");
  conf.default_provider = NULL;
}

static void refusals(void **state) {
  struct conf none = { 0 }, only_claude = { .providers = providers, .provider_count = 1 };
  struct conf with_aliases = only_claude;
  (void)state;
  with_aliases.aliases = aliases + 1;
  with_aliases.alias_count = 1;
  struct found f = ask(&conf, OP_RESPONSES, "claude/opus");
  assert_int_equal(f.status, 400);
  assert_string_equal(f.why, "model 'claude/opus' is at a provider of dialect messages, which does not serve "
                             "/v1/responses: translation of that is not in this version; ask for it at /v1/messages");
  f = ask(&conf, OP_COUNT_TOKENS, "lab/x");
  assert_int_equal(f.status, 400);
  assert_string_equal(f.why, "model 'lab/x' is at a provider of dialect responses, which does not serve "
                             "/v1/messages/count_tokens: translation of that is not in this version; ask for it at /v1/responses");
  assert_string_equal(ask(&conf, OP_CHAT, "claude/opus").names, "claude/opus=claude:opus");        /* translated */
  assert_string_equal(ask(&conf, OP_MESSAGES, "lab/x").names, "lab/x=lab:x");
  f = ask(&conf, OP_EMBEDDINGS, "thinker");
  assert_int_equal(f.status, 400);
  assert_string_equal(f.why, "model 'thinker' is at a provider of dialect messages, which does not serve "
    "/v1/embeddings: translation "
                      "of that is not in this version; ask for it at /v1/messages");
  f = ask(&none, OP_CHAT, "gpt-5");
  assert_int_equal(f.status, 404);
  assert_string_equal(f.why, "model 'gpt-5' is not known here, and no provider of dialect chat is configured");
  f = ask(&with_aliases, OP_CHAT, "thinkr");
  assert_int_equal(f.status, 404);
  assert_string_equal(f.why, "model 'thinkr' is not known here; did you mean 'thinker'?");
  f = ask(&with_aliases, OP_RESPONSES, "gpt-5");
  assert_string_equal(f.why, "model 'gpt-5' is not known here, and no provider of dialect responses is configured; "
    "known: 'thinker'");
  f = ask(&conf, OP_CHAT, "");
  assert_int_equal(f.status, 404);
  assert_string_equal(f.why, "model '' is not known here; known: 'smart', 'thinker', 'openai/fake', 'openai/gpt-5'");
}

static void a_key_is_told_of_what_it_may_use(void **state) {
  struct span few[] = { SPAN("openai/*"), SPAN("thinkr") };
  struct key k = { .models = few, .model_count = 2 }, every = { 0 };
  const struct operation_info *chat = operation_info(OP_CHAT);
  struct conf with_aliases = { .providers = providers, .provider_count = 1, .aliases = aliases + 1, .alias_count = 1 };
  struct arena a = { 0 };
  (void)state;
  assert_string_equal(route_unknown(&with_aliases, chat, SPAN("thinkr"), &every, &a),
                      "model 'thinkr' is not known here; did you mean 'thinker'?");
  assert_null(strstr(route_unknown(&with_aliases, chat, SPAN("thinkr"), &k, &a), "thinker"));
  assert_string_equal(route_unknown(&conf, chat, SPAN(""), &k, &a),
                      "model '' is not known here; known: 'openai/fake', 'openai/gpt-5'");
  arena_end(&a);
}

static void long_names_are_cut_between_characters(void **state) {
  struct conf none = { 0 };
  char model[400];
  (void)state;
  for (size_t i = 0; i + 2 < sizeof model; i += 2) memcpy(model + i, "é", 2);
  model[1] = 'x', model[0] = 'x';
  model[398] = 0;
  memmove(model, model + 1, 398);                             /* characters now lie across the cut */
  struct found f = ask(&none, OP_CHAT, model);
  assert_true(strlen(f.why) < 220);
  assert_true(span_utf8(span_cstr(f.why)));
}

static void lists_of_policies(void **state) {
  struct arena a = { 0 };
  struct route r;
  int status = 0;
  const struct operation_info *chat = operation_info(OP_CHAT);
  const struct span two[] = { SPAN("lab/x"), SPAN("gpt-5") }, one[] = { SPAN("smart") }, slip[] = { SPAN("lab/x"),
    SPAN("opnai/x") };
  const struct span wrong[] = { SPAN("claude/opus") }, nested[] = { SPAN("lab/x"), SPAN("smart") };
  (void)state;
  assert_null(route_names(&conf, chat, two, 2, &a, &r, &status));
  assert_int_equal(r.count, 2);
  assert_true(span_eq(r.candidates[1].name, SPAN("openai/gpt-5")));
  assert_int_equal(r.next_on, route_default_next_on());
  assert_null(r.alias);
  assert_null(route_names(&conf, chat, one, 1, &a, &r, &status));
  assert_int_equal(r.count, 3);
  assert_ptr_equal(r.alias, &aliases[0]);
  assert_int_equal(r.next_on, 1u << FAULT_TIMEOUT);
  assert_string_equal(route_names(&conf, chat, slip, 2, &a, &r, &status), "target 'opnai/x': unknown provider "
    "'opnai'; did you mean 'openai'?");
  assert_int_equal(status, 404);
  assert_non_null(route_names(&conf, operation_info(OP_EMBEDDINGS), wrong, 1, &a, &r, &status));
  assert_int_equal(status, 400);
  assert_null(route_names(&conf, chat, nested, 2, &a, &r, &status));     /* an alias only when it is alone */
  assert_true(span_eq(r.candidates[1].name, SPAN("openai/smart")));
  assert_string_equal(route_names(&conf, chat, NULL, 0, &a, &r, &status), "the list of targets is empty");
  arena_end(&a);
}

static void paths_without_a_model(void **state) {
  struct conf none = { 0 };
  (void)state;
  conf.default_provider = NULL;
  assert_ptr_equal(route_provider(&conf, DIALECT_CHAT), &providers[1]);
  assert_ptr_equal(route_provider(&conf, DIALECT_RESPONSES), &providers[1]);
  assert_ptr_equal(route_provider(&conf, DIALECT_MESSAGES), &providers[0]);
  conf.default_provider = &providers[2];
  assert_ptr_equal(route_provider(&conf, DIALECT_CHAT), &providers[2]);
  assert_ptr_equal(route_provider(&conf, DIALECT_MESSAGES), &providers[0]);
  conf.default_provider = NULL;
  struct conf claude = { .providers = providers, .provider_count = 1, .default_provider = providers };
  assert_ptr_equal(route_provider(&claude, DIALECT_CHAT), providers);
  claude.default_provider = NULL;
  assert_null(route_provider(&claude, DIALECT_CHAT));
  assert_null(route_provider(&none, DIALECT_MESSAGES));
  struct conf open = { .providers = providers + 1, .provider_count = 1, .default_provider = providers + 1 };
  assert_null(route_provider(&open, DIALECT_MESSAGES));
}

static void what_goes_on_by_default(void **state) {
  static const enum fault on[] = {
    FAULT_AUTH, FAULT_QUOTA, FAULT_RATE_LIMITED, FAULT_OVERLOADED, FAULT_TIMEOUT, FAULT_CONNECTION, FAULT_PROTOCOL,
      FAULT_TLS, FAULT_EMPTY,
    FAULT_INVALID,
  };
  uint32_t wanted = 0;
  (void)state;
  for (size_t i = 0; i < sizeof on / sizeof *on; i++) wanted |= 1u << on[i];
  assert_int_equal(route_default_next_on(), wanted);
  assert_int_equal(ask(&conf, OP_CHAT, "gpt-5").route.next_on, wanted);
  assert_int_equal(ask(&conf, OP_CHAT, "smart").route.next_on, 1u << FAULT_TIMEOUT);
  assert_int_equal(ask(&conf, OP_MESSAGES, "thinker").route.next_on, wanted);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(names), cmocka_unit_test(the_default_provider), cmocka_unit_test(refusals), cmocka_unit_test(a_key_is_told_of_what_it_may_use),
    cmocka_unit_test(long_names_are_cut_between_characters), cmocka_unit_test(lists_of_policies),
      cmocka_unit_test(paths_without_a_model),
    cmocka_unit_test(what_goes_on_by_default),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
