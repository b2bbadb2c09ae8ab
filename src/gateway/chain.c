/* chain.c: which targets an exchange tries, and in which order: what its model's name or its policies say, less what is too dear, and
   what has no room behind what has. */
#include "exchange.h"
#include "fit.h"
#include "worker.h"

static uint64_t now_ms(const struct exchange *x) { return x->worker->loop->now_ms; }

/* A model that is asked about again and again on the way is looked up once. */
struct chain_known {
  struct chain_known *next;
  const struct provider *provider;
  struct span model;
  struct model_facts facts;
};
const struct model_facts *chain_facts(struct exchange *x, const struct provider *p, struct span model) {
  struct chain_known *k = x->route.known;
  while (k && (k->provider != p || k->model.p != model.p || k->model.n != model.n)) k = k->next;
  if (k) return &k->facts;
  k = arena_alloc(&x->arena, sizeof *k);
  k->next = x->route.known;
  k->provider = p;
  k->model = model;
  conf_model(x->gen->conf, p, model, &k->facts);
  x->route.known = k;
  return &k->facts;
}

static void chain_set(struct exchange *x, const struct candidate *list, size_t count) {
  x->route.candidates = arena_alloc(&x->arena, count * sizeof *list);
  memcpy(x->route.candidates, list, count * sizeof *list);
  x->route.count = count;
}

/* A chain with max_price_factor: later targets that cost more than so many times what the first does are left out, and those of which
   it is not known. All are taken to read and write as much, at their usual prices. */
static void drop_dear(struct exchange *x) {
  struct chain *chain = &x->route;
  struct usage u = USAGE_NONE;
  struct estimate first;
  size_t kept = 1;
  int64_t now = worker_wall_ms(x->worker) / 1000;
  if (!chain->alias || chain->alias->max_price_factor <= 0 || !x->req.operation || chain->count < 2) return;
  const struct model_facts *m = chain_facts(x, chain->candidates[0].provider, chain->candidates[0].model);
  policy_estimate(&x->req, x->req.operation, NULL, chain->candidates[0].provider, m, &first);
  u.input = first.input;
  u.output = first.output;
  picodollars least = price_of(&m->price, &u, now);
  if (least == PRICE_UNKNOWN) return;
  for (size_t i = 1; i < chain->count; i++) {
    const struct candidate *c = &chain->candidates[i];
    picodollars cost = price_of(&chain_facts(x, c->provider, c->model)->price, &u, now);
    if (cost != PRICE_UNKNOWN && (double)cost <= (double)least * chain->alias->max_price_factor) chain->candidates[kept++] = *c;
    else log_info("%s: %.*s left out: %s", x->id, SPAN_FMT(c->name), cost == PRICE_UNKNOWN ? "its price is not known" : "it is dearer than max_price_factor allows");
  }
  chain->count = kept;
}

bool chain_find(struct exchange *x) {
  if (x->raw) {
    struct provider *p = x->raw_provider;
    struct candidate only = { p, x->req.model, p->name };
    chain_set(x, &only, 1);
  } else if (x->asker) {
    if (!ask_route(x)) return false;
  } else {
    int status = 404;
    struct policy_req *r = &x->req;
    if (!r->model.n && !r->target_count) {
      exchange_fail(x, 400, SPAN("bad_request"), SPAN("missing_required_parameter"), "'model' is missing from the request", NULL);
      return false;
    }
    if (operation_counts(r->operation) && fit_count(x)) return false;
    struct route found;
    const char *why = r->target_count ? route_names(x->gen->conf, r->operation, r->targets, r->target_count, &x->arena, &found, &status)
                                      : route_model(x->gen->conf, r->operation, r->model, &x->arena, &found, &status);
    if (why && status == 404 && !r->target_count) why = route_unknown(x->gen->conf, r->operation, r->model, r->key, &x->arena);
    if (why) {
      exchange_fail(x, status, status == 404 ? SPAN("not_found") : SPAN("bad_request"), status == 404 ? SPAN("model_not_found") : SPAN(""), why, NULL);
      return false;
    }
    bool stays = r->facts.bound && !request_may_lose(x);                 /* state that lives at one account goes to that alone */
    chain_set(x, found.candidates, stays ? 1 : found.count);
    x->route.alias = found.alias;
    x->route.next_on = r->next_on ? r->next_on : found.next_on;
    drop_dear(x);
    return fit_chain(x);
  }
  return true;
}

/* ---- room */
/* As providers count it ahead: the caller's limit, and a token for four bytes. */
int64_t chain_tokens(const struct exchange *x) {
  return (int64_t)(x->body_size / 4) + (x->req.facts.max_tokens > 0 ? x->req.facts.max_tokens : 0);
}

static uint64_t short_until(const struct exchange *x, size_t candidate) {
  return route_short(&x->route.candidates[candidate], x->worker->health, chain_tokens(x), now_ms(x));
}

/* A target whose limits have no room, as its provider told, gives way to one that has; where none has, room that comes back within
   `queue` is waited for. Behind that the provider decides: weir refuses nobody by its memory. False: it waits. */
bool chain_room(struct exchange *x) {
  uint64_t until = short_until(x, x->at), now = now_ms(x);
  struct candidate *list = x->route.candidates, first = list[x->at];
  if (!until || x->elsewhere) return true;
  for (size_t i = x->at + 1; i < x->route.count && !x->req.facts.bound; i++) {
    if (short_until(x, i)) continue;
    size_t moved = i - x->at;                            /* those before it go behind the others */
    struct candidate kept[ROUTE_MOST_TARGETS];
    if (!check(moved <= ROUTE_MOST_TARGETS)) return true;
    memcpy(kept, &list[x->at], moved * sizeof *kept);
    memmove(&list[x->at], &list[i], (x->route.count - i) * sizeof *list);
    memcpy(&list[x->route.count - moved], kept, moved * sizeof *kept);
    log_info("%s: %.*s waits behind others: its limits have no room", x->id, SPAN_FMT(first.name));
    return true;
  }
  double queue = conf_setting(x->gen->conf, x->route.alias, first.provider, SET_QUEUE);
  if (!x->room_until_ms) x->room_until_ms = now + (uint64_t)(queue * 1000);
  if (until > x->room_until_ms || until >= x->deadline_ms || !(x->waits = worker_wait(x->worker))) return true;
  x->resume_ms = until + 1;
  exchange_clock(x);
  return false;
}

/* Another account or endpoint of the same candidate that this exchange has not tried yet: as chance and health would pick it,
   else the first there is. It is kept for the next pick. */
static bool untried(const struct exchange *x, const struct target *t) {
  for (size_t i = 0; i < x->tried_count; i++)
    if (x->tried_endpoint[i] == t->endpoint && x->tried_account[i] == t->account) return false;
  return true;
}

bool chain_elsewhere(struct exchange *x) {
  const struct candidate *c = &x->route.candidates[x->at];
  struct target *t = arena_alloc(&x->arena, sizeof *t);
  if (x->req.facts.bound && !x->unbound.n) return false;
  x->elsewhere = t;
  route_pick(c, x->worker->health, chain_tokens(x), now_ms(x), worker_random(x->worker), t);
  if (untried(x, t)) return true;
  for (size_t e = 0; e < c->provider->endpoint_count; e++) {
    t->endpoint = &c->provider->endpoints[e];
    for (size_t i = 0; i < t->endpoint->account_count; i++) {
      t->account = &t->endpoint->accounts[i];
      if (untried(x, t)) return true;
    }
  }
  x->elsewhere = NULL;
  return false;
}
