/* aws.c: what a provider needs that is signed for as AWS does: key id, secret key, session token, region; or a key of Bedrock's own, which
   is sent as it is. The usual variables are those of AWS's own tools. */
#include "load.h"
#include <stdlib.h>

static const char *given(const char *variable) {
  const char *value = getenv(variable);
  return value && *value ? value : NULL;
}

struct span aws_region(struct span own, struct span host) {
  static const struct span before = SPAN("bedrock-runtime."), behind = SPAN(".amazonaws.com");
  const char *region = given("AWS_REGION");
  if (own.n) return own;
  if (span_starts(host, before) && span_ends(host, behind) && host.n > before.n + behind.n) return span_of(host.p + before.n, host.n - before.n - behind.n);
  return span_cstr(region ? region : given("AWS_DEFAULT_REGION"));
}

struct span aws_url(struct load *l, struct span region) {
  bool china = span_starts(region, SPAN("cn-"));
  return arena_printf(&l->conf->arena, "https://bedrock-runtime.%.*s.amazonaws.com%s", SPAN_FMT(region), china ? ".cn" : "");
}

bool aws_in_environment(void) {
  bool key = given("AWS_BEARER_TOKEN_BEDROCK") || (given("AWS_ACCESS_KEY_ID") && given("AWS_SECRET_ACCESS_KEY"));
  return key && aws_region((struct span){ 0 }, (struct span){ 0 }).n;
}

static struct secret *variable_secret(struct load *l, const char *variable) {
  const char *why;
  if (!given(variable)) return NULL;
  struct secret *s = secret_from_environment(variable, &why), *kept = s ? secret_kept(l, s) : NULL;
  if (!s) problem_add(l, "environment variable '%s' %s", variable, why);
  secret_drop(s);
  return kept;
}

static void add(struct load *l, struct accounts *a, struct secret *s) {
  a->keys = list_add(&l->conf->arena, a->keys, &a->count, sizeof *a->keys);
  a->keys[a->count - 1] = s;
}

/* A signature gives nothing away, so it may go to any place; a key that is sent goes to the usual one alone. */
void aws_usual_key(struct load *l, struct endpoint_draft *e, bool usual_place) {
  struct secret *bearer = usual_place ? variable_secret(l, "AWS_BEARER_TOKEN_BEDROCK") : NULL;
  struct secret *key = bearer ? bearer : given("AWS_ACCESS_KEY_ID") ? variable_secret(l, "AWS_SECRET_ACCESS_KEY") : NULL;
  if (key) add(l, &e->accounts, key);
  else warning_add(l, "it has no key, and neither AWS_BEARER_TOKEN_BEDROCK nor AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY is set: its requests will be refused");
}

static bool holds(const char *variable, const struct secret *s) { return given(variable) && secret_eq(s, span_cstr(given(variable))); }

static bool counts_match(struct load *l, const struct endpoint_draft *e) {
  size_t n = e->accounts.count;
  if (e->ids.count && n && e->ids.count != n) return problem_add(l, "there are %zu key_id for %zu key: one for each is needed", e->ids.count, n), false;
  if (e->sessions.count && n && e->sessions.count != n) return problem_add(l, "there are %zu session for %zu key: one for each is needed", e->sessions.count, n), false;
  if (e->sessions.count && !e->ids.count) return problem_add(l, "session needs the key_id it was issued with"), false;
  if (e->ids.count && !n) return problem_add(l, "key_id needs its key: key = env \"AWS_SECRET_ACCESS_KEY\""), false;
  return true;
}

/* Without an id of its own a key that AWS_SECRET_ACCESS_KEY holds goes with AWS_ACCESS_KEY_ID; any other is one of Bedrock's own. */
void aws_accounts(struct load *l, const struct endpoint_draft *e, struct account *accounts) {
  if (!counts_match(l, e)) return;
  for (size_t i = 0; i < e->accounts.count; i++) {
    struct secret *id = e->ids.count ? e->ids.keys[i] : NULL, *session = e->sessions.count ? e->sessions.keys[i] : NULL;
    if (!id && holds("AWS_SECRET_ACCESS_KEY", e->accounts.keys[i])) id = variable_secret(l, "AWS_ACCESS_KEY_ID");
    if (!id) continue;
    if (!e->sessions.given && holds("AWS_ACCESS_KEY_ID", id)) session = variable_secret(l, "AWS_SESSION_TOKEN");
    struct span none = { NULL, 0 };
    struct secret *key = e->accounts.keys[i], *line = signing_make(secret_use(id), secret_use(key), session ? secret_use(session) : none);
    accounts[i].signs = true;
    accounts[i].auth_line = secret_kept(l, line);
    secret_drop(line);
    accounts[i].renewal = renewal_of_signing(l, id, key, session);
  }
}
