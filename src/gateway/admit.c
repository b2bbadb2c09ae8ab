/* admit.c: who may ask, and for what: client keys at the door. Nothing is opened upstream and no policy runs for one who is
   refused here. */
#include "client.h"
#include "worker.h"

enum { LONGEST_SHOWN = 120 };

static bool refuse(struct exchange *x, int status, const char *code, const char *message) {
  exchange_fail(x, status, SPAN("auth"), span_cstr(code), message, NULL);
  return false;
}

static const char *why_not(enum key_verdict v) {
  switch (v) {
  case KEY_EXPIRED: return "the API key has expired";
  case KEY_UNKNOWN: return "the API key is not known here";
  default: return "an API key is needed: in Authorization: Bearer, x-api-key, x-goog-api-key or api-key";
  }
}

/* A stranger's body is not waited for. */
bool admit_caller(struct exchange *x) {
  const struct conf *c = x->gen->conf;
  const struct listener *bound = x->worker->gateway->bound;
  bool asks = conf_asks(c, bound ? &bound[x->client->listener] : &c->listeners[0]);
  const char *why = NULL;
  if (!asks && !c->keys.count) return true;
  enum key_verdict v = keys_of_request(&c->keys, x->head, time(NULL), &x->req.key);
  if (v == KEY_GOOD || !asks) return true;
  target_split(x->head->target, &x->path, &x->query, &why);
  return refuse(x, 401, "invalid_api_key", why_not(v));
}

/* The start of what a client wrote, cut between characters. */
static struct span shown(struct span s) {
  if (s.n <= LONGEST_SHOWN) return s;
  s.n = LONGEST_SHOWN;
  while (s.n && ((unsigned char)s.p[s.n] & 0xC0) == 0x80) s.n--;
  return s;
}

/* By the name as it is asked, or, of a name without a provider, by what it stands for: "gpt-5" at the default provider is
   "openai/gpt-5". Where a policy routes it to is the policy's matter. */
bool admit_model(struct exchange *x, struct span model) {
  const struct key *k = x->req.key;
  struct route route;
  int status;
  if (!k || !model.n || key_allows(k, model)) return true;
  bool known = !route_model(x->gen->conf, x->req.operation, model, &x->arena, &route, &status);
  if (known && !route.alias && key_allows(k, route.candidates[0].name)) return true;
  const char *said = arena_printf(&x->arena, "this API key may not use model '%.*s'; GET /v1/models lists what it may", SPAN_FMT(shown(model))).p;
  return refuse(x, 403, "permission_denied", said);
}

/* What is passed through unread may name any model of its provider. */
bool admit_unread(struct exchange *x, const struct provider *p) {
  if (!x->req.key || key_allows_provider(x->req.key, p->name)) return true;
  const char *said = arena_printf(&x->arena, "this API key may not use %.*s: it goes to the provider unread, which takes a key that may use every model of it ('%.*s/*')",
                                  SPAN_FMT(shown(x->path)), SPAN_FMT(p->name)).p;
  return refuse(x, 403, "permission_denied", said);
}
