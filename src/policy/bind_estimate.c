/* What a request may come to at a target: for the gateway, which reserves it, and for policies, as req.estimate and
   req:estimate_of("provider/model"). */
#include "room.h"
#include "weir/models.h"

static const struct policy_edit *newest(const struct policy_edit *list, struct span word, const char *name) {
  for (const struct policy_edit *e = list; e; e = e->next)
    if (span_eq(e->word, word) || (name && span_eq(e->word, span_cstr(name)))) return e;
  return NULL;
}

/* The caller's output limit, or what policies made of it; -1: none. */
static int64_t asked_limit(const struct policy_req *r, const struct policy_edit *more) {
  if (!more && !r->edits) return r->facts.max_tokens;
  const char *name = r->operation ? request_member(r->operation, r->members, r->member_count, SPAN("max_tokens")) : NULL;
  const struct policy_edit *e = newest(more, SPAN("max_tokens"), name);
  int64_t n;
  if (!e) e = newest(r->edits, SPAN("max_tokens"), name);
  if (!e) return r->facts.max_tokens;
  return e->json.p && json_i64((struct json){ JSON_NUMBER, e->json }, &n) ? n : -1;
}

static void bound_edits(const struct policy_req *r, const struct operation_info *o, const struct policy_edit *list, struct request_bounds *b) {
  for (const struct policy_edit *e = list; e; e = e->next) {
    const char *name = request_member(o, r->members, r->member_count, e->word);
    request_bounds_edit(o, name ? span_cstr(name) : e->word, e->json, b);
  }
}

static void estimate_of_req(struct policy_req *r, const struct operation_info *o, const struct policy_edit *more, const struct provider *p,
                            const struct model_facts *m, bool steps, struct estimate *out) {
  if (!r->bounded) request_bounds(o, r->body, r->members, r->member_count, r->body_keys, &r->bounds), r->bounded = true;
  struct estimate_of of = { .operation = o, .bounds = r->bounds, .asked = asked_limit(r, more), .stream = r->stream && r->operation,
                            .reasoning = r->facts.reasoning, .bills_cancelled = p->quirks->bills_cancelled };
  bound_edits(r, o, r->edits, &of.bounds);
  bound_edits(r, o, more, &of.bounds);
  if (of.bounds.output >= 0 && !p->quirks->short_completions) of.bounds.output = -1;
  of.stream &= steps || of.asked < 0;
  if (!r->operation && of.asked < 0) of.asked = m->max_output > 0 ? m->max_output : ESTIMATE_UNKNOWN_WINDOW;   /* nothing can be set in it */
  estimate_make(&of, m, out);
}

void policy_estimate(struct policy_req *r, const struct operation_info *o, const struct policy_edit *more, const struct provider *p,
                     const struct model_facts *m, struct estimate *out) {
  estimate_of_req(r, o, more, p, m, true, out);
}

/* ---- for policies */
static bool avoided(const struct policy_vm *pv, const struct candidate *c) {
  return pv->health && route_avoided(c, pv->health, *pv->now_ms);
}

static void push_count(lua_State *L, const char *name, int64_t n) {
  lua_pushinteger(L, n);
  lua_setfield(L, -2, name);
}

/* How many tokens of input there are likely to be, beside how many there can be at most. */
static int64_t counted(const struct policy_req *r, const struct candidate *c) {
  struct request_measure m;
  struct token_count n;
  request_measure(r->seen ? r->seen : r->members, r->seen ? r->seen_count : r->member_count, &m);
  models_count(c->name, &m, &n);
  return n.tokens;
}

static void push_money(lua_State *L, const char *name, picodollars v) {
  if (v == PRICE_UNKNOWN) return;
  amount_push(L, v);
  lua_setfield(L, -2, name);
}

/* Policies see what the caller asked for, not what is reserved of it at first. output: as if it answered at that length; -1: at its own. */
static void push_estimate(lua_State *L, struct policy_req *r, const struct policy_edit *more, const struct candidate *c, int64_t output) {
  struct policy_vm *pv = policy_of(L);
  struct model_facts m;
  struct estimate e;
  conf_model(pv->conf, c->provider, c->model, &m);
  estimate_of_req(r, r->operation, more, c->provider, &m, false, &e);
  if (output >= 0) {
    e.output = output;
    e.cost = estimate_cost(&e, &m.price);
  }
  lua_createtable(L, 0, 8);
  push_count(L, "input", e.input);
  push_count(L, "output", e.output);
  vm_spend(L, r->body.n / 8);
  struct usage likely = USAGE_NONE;                      /* nothing cached, at the standard tier */
  likely.input = counted(r, c);
  likely.output = e.output;
  push_count(L, "counted", likely.input);
  if (m.window) push_count(L, "window", m.window);
  push_money(L, "cost", e.cost);
  push_money(L, "likely", price_of(&m.price, &likely, (int64_t)policy_now(pv)));
  lua_pushboolean(L, e.cost == PRICE_UNKNOWN);
  lua_setfield(L, -2, "unpriced");
  lua_pushboolean(L, avoided(pv, c));
  lua_setfield(L, -2, "avoided");
}

/* req.estimate: of the first target, in an attempt's hooks of that attempt. nil where the body is not read, or no target is known. */
int estimate_get(lua_State *L, struct frame *f) {
  struct policy_vm *pv = policy_of(L);
  struct policy_req *r = f->subject->req;
  const struct policy_attempt *a = f->subject->attempt;
  struct route route = { .count = 0 };
  int status;
  if (!r->operation || !r->body.p) return lua_pushnil(L), 1;
  vm_spend(L, 200);
  if (a) {
    struct candidate c = { a->target->provider, a->target->model, a->target->name };
    push_estimate(L, r, a->edits, &c, -1);
    return 1;
  }
  const char *why = r->target_count ? route_names(pv->conf, r->operation, r->targets, r->target_count, r->arena, &route, &status)
                                    : route_model(pv->conf, r->operation, r->model, r->arena, &route, &status);
  if (why || !route.count) return lua_pushnil(L), 1;
  push_estimate(L, r, NULL, &route.candidates[0], -1);
  return 1;
}

/* req:estimate_of("provider/model", output) */
int estimate_of_call(lua_State *L) {
  static const char call[] = "req:estimate_of(target, output)";
  struct policy_vm *pv = policy_of(L);
  struct policy_req *r = check_handle(L, 1, &kind_req, call)->subject->req;
  struct route route = { .count = 0 };
  int status;
  check_phase(L, call, IN_REQUEST | IN_ATTEMPT);
  if (lua_type(L, 2) != LUA_TSTRING) return luaL_error(L, "%s: a target is a name \"provider/model\", not a %s", call, luaL_typename(L, 2));
  if (!r->operation || !r->body.p) return lua_pushnil(L), 1;
  struct span name = check_span(L, 2);
  if (!lua_isnoneornil(L, 3) && (!lua_isinteger(L, 3) || lua_tointeger(L, 3) < 0)) return luaL_error(L, "%s: output is a number of tokens", call);
  int64_t output = lua_isinteger(L, 3) ? lua_tointeger(L, 3) : -1;
  vm_spend(L, 200);
  if (route_names(pv->conf, r->operation, &name, 1, r->arena, &route, &status) || !route.count) return lua_pushnil(L), 1;
  push_estimate(L, r, NULL, &route.candidates[0], output);
  return 1;
}
