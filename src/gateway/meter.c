/* meter.c: what an attempt may cost before it is sent, and what it came to.
   Where policies attached budgets or limits, all of them are reserved in one step before a byte goes out, extended while a stream
   runs, and settled exactly once when the attempt ends, however it ends. Where they attached none, only the cost is worked out. */
#include "gateway.h"
#include <stdio.h>
#include "weir/ledger.h"

enum { LOOK_AGAIN_MS = 20, LOOK_SOON_MS = 3, SHRINK_MOST = 4 };          /* SOON: a grant takes as long as the disk */

struct reservation {
  struct cells_scope scopes[CELLS_MOST_SCOPES];
  const struct policy_charge *charges[CELLS_MOST_SCOPES];
  size_t count;
  struct request_bounds bounds;
  struct estimate estimate;           /* of the attempt under way */
  struct cells_amount reserved;
  uint64_t slot;                      /* 0: nothing is reserved */
  uint64_t counted;                   /* bytes of output that the stream has shown */
  uint64_t queue_until_ms;            /* monotonic; 0: not waiting */
  uint64_t turns;                     /* of the cells, when they were last asked */
  struct told_limit { int64_t cap, left, frees_ms; bool is; } limits[CELL_KINDS];      /* the tightest of each kind */
  bool asked_once;                    /* the exchange counts as a request already */
};

int64_t worker_wall_ms(const struct worker *w) {
  struct timespec t;
  if (w->simulated) return 1700000000000 + (int64_t)w->loop->now_ms;
  clock_gettime(CLOCK_REALTIME_COARSE, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- what is known before */
static int64_t edited_limit(const struct exchange *x, const struct policy_edit *list, bool *found) {
  const char *name = request_member(x->req.operation, x->req.members, x->req.member_count, SPAN("max_tokens"));
  for (const struct policy_edit *e = list; e; e = e->next) {
    int64_t n;
    if (!span_eq(e->word, SPAN("max_tokens")) && !(name && span_eq(e->word, span_cstr(name)))) continue;
    *found = true;
    return e->json.p && json_i64((struct json){ JSON_NUMBER, e->json }, &n) ? n : -1;
  }
  return -1;
}

static const struct operation_info *operation_of(const struct exchange *x) { return x->req.operation ? x->req.operation : x->metered; }

/* The caller's output limit, or what policies made of it. */
static int64_t asked_limit(const struct exchange *x, const struct attempt *a) {
  bool found = false;
  if (!x->req.operation) return x->req.facts.max_tokens;
  int64_t n = edited_limit(x, a->view.edits, &found);
  if (!found) n = edited_limit(x, x->req.edits, &found);
  return found ? n : x->req.facts.max_tokens;
}

static int64_t edits_size(const struct policy_edit *list) {
  int64_t n = 0;
  for (const struct policy_edit *e = list; e; e = e->next) n += (int64_t)e->json.n;
  return n;
}

static void plan(struct exchange *x, struct attempt *a, struct reservation *m) {
  request_bounds(operation_of(x), x->body, x->req.members, x->req.member_count, x->asker ? ~0ull : x->body_keys, &m->bounds);
  struct request_bounds b = m->bounds;
  b.input += edits_size(x->req.edits) + edits_size(a->view.edits);
  struct estimate_of of = { .operation = operation_of(x), .bounds = b, .asked = asked_limit(x, a), .stream = x->req.stream && !x->raw,
                            .reasoning = x->req.facts.reasoning, .bills_cancelled = a->target.provider->quirks->bills_cancelled };
  if (x->raw && of.asked < 0) of.asked = a->model->max_output > 0 ? a->model->max_output : ESTIMATE_UNKNOWN_WINDOW;   /* nothing can be set in it */
  estimate_make(&of, a->model, &m->estimate);
}

/* ---- scopes */
static struct reservation *reservation_of(struct exchange *x) {
  if (x->reservation) return x->reservation;
  struct reservation *m = x->reservation = arena_zero(&x->arena, sizeof *m);
  for (const struct policy_charge *c = x->req.charges; c && m->count < CELLS_MOST_SCOPES; c = c->next) {
    bool of_client = c->cap->kind == CELL_REQUESTS || c->cap->kind == CELL_CONCURRENT;     /* a policy's question is none of its requests */
    if (c->cap->one_request || (x->asker && of_client)) continue;
    m->charges[m->count] = c;
    m->scopes[m->count++] = (struct cells_scope){ { c->cap->name, c->scope, c->cap->kind, c->cap->window }, c->cap->cap, false };
  }
  return m;
}

static bool counts_money(const struct exchange *x) {
  for (const struct policy_charge *c = x->req.charges; c; c = c->next)
    if (c->cap->kind == CELL_MONEY) return true;
  return false;
}

static struct cells_amount amount_of(const struct reservation *m, picodollars cost) {
  struct cells_amount n = { 0 };
  n.of[CELL_MONEY] = cost > 0 ? cost : 0;
  n.of[CELL_TOKENS] = m->estimate.input + m->estimate.output;
  n.of[CELL_REQUESTS] = !m->asked_once;
  n.of[CELL_CONCURRENT] = 1;
  return n;
}

/* ---- refusals */
static enum meter_result refuse(struct exchange *x, const struct policy_charge *c, const struct cells_refusal *r) {
  bool money = c->cap->kind == CELL_MONEY;
  struct buf why = { 0 };
  policy_cap_say(c->cap, c->scope, r, &why);
  double after = money ? -1 : r->frees_ms ? (double)(r->frees_ms - worker_wall_ms(x->worker)) / 1000 : 1;
  struct error e = { .status = 429, .word = money ? SPAN("capped") : SPAN("limited"), .message = arena_copy(&x->arena, buf_span(&why)),
                     .tried = x->tried, .tried_count = x->tried_count };
  buf_free(&why);
  answer_error(x, &e, money ? -1 : after > 0 ? after : 1);
  exchange_end(x, e.word);
  return METER_REFUSED;
}

static enum meter_result refuse_unpriced(struct exchange *x, const struct attempt *a) {
  struct error e = { .status = 400, .word = SPAN("capped"), .code = SPAN("unpriced"), .tried = x->tried, .tried_count = x->tried_count,
                     .hint = SPAN("give the model a price in weir.lua (provider { models = … } or prices), or set prices { unpriced = \"worst\" }") };
  e.message = arena_printf(&x->arena, "no price is known for %.*s, and a budget counts this request", SPAN_FMT(a->target.name));
  answer_error(x, &e, -1);
  exchange_end(x, e.word);
  return METER_REFUSED;
}

static enum meter_result refuse_busy(struct exchange *x) {
  exchange_fail(x, 503, SPAN("internal"), (struct span){ 0 }, "the counters of budgets cannot be reached", NULL);
  return METER_REFUSED;
}

/* ---- what the caller is told of its limits */
static void note_limits(struct exchange *x, struct reservation *m, const int64_t *left) {
  for (size_t i = 0; i < m->count; i++) {
    enum cell_kind kind = m->scopes[i].id.kind;
    struct told_limit *t = &m->limits[kind];
    if ((kind != CELL_REQUESTS && kind != CELL_TOKENS) || (t->is && t->left <= left[i])) continue;
    const struct cell_window *w = &m->scopes[i].id.window;
    int64_t now = worker_wall_ms(x->worker), frees = w->seconds ? now + w->seconds * 1000ll : now + 86400000;
    *t = (struct told_limit){ m->scopes[i].cap, left[i] > 0 ? left[i] : 0, frees, true };
  }
}

/* OpenAI: "6m0s"; Anthropic: a time. */
static void limit_headers(struct exchange *x, const struct told_limit *t, const char *what, struct buf *out) {
  char name[64], when[40];
  bool messages = x->dialect == DIALECT_MESSAGES;
  const char *parts[3] = { "limit", "remaining", "reset" };
  time_t at = (time_t)(t->frees_ms / 1000);
  struct tm tm;
  for (int i = 0; i < 3; i++) {
    if (messages) snprintf(name, sizeof name, "anthropic-ratelimit-%s-%s", what, parts[i]);
    else snprintf(name, sizeof name, "x-ratelimit-%s-%s", parts[i], what);
    if (i < 2) { http_write_header_u64(out, span_cstr(name), (uint64_t)(i ? t->left : t->cap)); continue; }
    if (messages) strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&at, &tm));
    else snprintf(when, sizeof when, "%llds", (long long)((t->frees_ms - worker_wall_ms(x->worker) + 999) / 1000));
    http_write_header(out, span_cstr(name), span_cstr(when));
  }
}

void meter_headers(struct exchange *x, struct buf *out) {
  const struct reservation *m = x->reservation;
  if (!m) return;
  if (m->limits[CELL_REQUESTS].is) limit_headers(x, &m->limits[CELL_REQUESTS], "requests", out);
  if (m->limits[CELL_TOKENS].is) limit_headers(x, &m->limits[CELL_TOKENS], "tokens", out);
}

/* ---- reserving */
/* A budget for each request has no cell: it is compared with what the exchange has cost so far and may cost yet. */
static enum meter_result each_request(struct exchange *x, struct attempt *a, struct reservation *m) {
  for (const struct policy_charge *c = x->req.charges; c; c = c->next) {
    if (!c->cap->one_request) continue;
    picodollars left = c->cap->cap - x->cost, cost = estimate_cost(&m->estimate, &a->model->price);
    if (cost <= left || estimate_shrink(&m->estimate, &a->model->price, left, INT64_MAX)) continue;
    struct cells_refusal r = { .asked = cost, .cap = c->cap->cap, .spent = x->cost };
    return refuse(x, c, &r);
  }
  return METER_GO;
}

/* What the refused cell has left bounds the output anew. */
static bool shrink(const struct attempt *a, struct reservation *m, const struct cells_refusal *r) {
  int64_t left = r->cap - r->spent - r->reserved;
  switch (m->scopes[r->scope].id.kind) {
  case CELL_MONEY: return estimate_shrink(&m->estimate, &a->model->price, left, INT64_MAX);
  case CELL_TOKENS: return estimate_shrink(&m->estimate, &a->model->price, INT64_MAX, left);
  default: return false;
  }
}

static enum meter_result wait_for_room(struct exchange *x, struct reservation *m, uint64_t ms) {
  uint64_t now = x->worker->loop->now_ms;
  if (!m->queue_until_ms) m->queue_until_ms = now + (uint64_t)(exchange_setting(x, SET_QUEUE) * 1000) + 1;
  if (now >= m->queue_until_ms) return METER_REFUSED;
  x->resume_ms = now + ms;
  exchange_clock(x);
  return METER_WAITS;
}

/* What others hold may come back; what is spent does not before its window turns. */
static enum meter_result capped(struct exchange *x, struct reservation *m, const struct cells_refusal *r) {
  bool may_return = r->reserved > 0 && r->asked <= r->cap - r->spent;
  if (may_return && wait_for_room(x, m, LOOK_AGAIN_MS) == METER_WAITS) return METER_WAITS;
  return refuse(x, m->charges[r->scope], r);
}

static enum meter_result refuse_lost(struct exchange *x) {
  exchange_fail(x, 503, SPAN("internal"), SPAN("store_lost"), "the ledger cannot be written, so what this request costs could be forgotten",
                "weir's log says why; defaults { on_store_loss = \"pass\" } goes on meanwhile");
  return METER_REFUSED;
}

/* Budgets outlive the machine's power where there is a ledger to promise it. False: it is lost, and nothing goes without it. */
static bool set_durable(struct exchange *x, struct reservation *m) {
  const struct ledger *ledger = x->worker->gateway->ledger;
  bool lost = ledger && ledger_lost(ledger), money = false;
  for (size_t i = 0; i < m->count; i++) {
    bool is = m->scopes[i].id.kind == CELL_MONEY;
    m->scopes[i].durable = ledger && !lost && is;
    money |= is;
  }
  return !lost || !money || x->gen->conf->pass_on_store_loss;
}

static enum meter_result reserve_cells(struct exchange *x, struct attempt *a, struct reservation *m) {
  struct cells *cells = x->worker->gateway->cells;
  struct cells_held held;
  char note[CELLS_NOTE];
  size_t size = ledger_note(note, story_sequence(x), span_cstr(x->id), x->req.key ? x->req.key->name : (struct span){ 0 }, a->target.name, x->req.model);
  if (!set_durable(x, m)) return refuse_lost(x);
  for (unsigned tries = 0;; tries++) {
    picodollars cost = estimate_cost(&m->estimate, &a->model->price);
    m->reserved = amount_of(m, cost);
    m->estimate.cost = cost;
    enum cells_result r = cells_reserve(cells, m->scopes, m->count, &m->reserved, span_of(note, size), worker_wall_ms(x->worker), &held);
    if (held.wants) ledger_wanted(x->worker->gateway->ledger);
    switch (r) {
    case CELLS_OK:
      m->slot = held.slot;
      m->asked_once = true;
      m->queue_until_ms = 0;
      if (cost > x->estimate) x->estimate = cost;
      note_limits(x, m, held.left);
      return METER_GO;
    case CELLS_CAPPED:
      if (tries < SHRINK_MOST && shrink(a, m, &held.refusal)) continue;
      return capped(x, m, &held.refusal);
    case CELLS_UNGRANTED: return wait_for_room(x, m, LOOK_SOON_MS) == METER_WAITS ? METER_WAITS : refuse_busy(x);
    case CELLS_BUSY: return wait_for_room(x, m, LOOK_AGAIN_MS) == METER_WAITS ? METER_WAITS : refuse_busy(x);
    default: return refuse_busy(x);
    }
  }
}

/* ---- what weir adds to the body */
static void own_edit(struct attempt *a, struct span member, struct span json) {
  struct policy_edit *e = arena_alloc(&a->arena, sizeof *e);
  *e = (struct policy_edit){ a->own, member, json };
  a->own = e;
}

/* In the operation's own field; some servers of the chat dialect know the older name alone. */
static void set_limit(struct exchange *x, struct attempt *a, int64_t limit) {
  const char *name = x->req.operation ? request_member(x->req.operation, x->req.members, x->req.member_count, SPAN("max_tokens")) : NULL;
  if (!name) return;
  if (x->req.operation->operation == OP_CHAT && a->target.provider->quirks->old_limit_name) name = "max_tokens";
  own_edit(a, span_cstr(name), arena_printf(&a->arena, "%lld", (long long)limit));
  x->output_limit = limit;
}

static void ask_usage(struct exchange *x, struct attempt *a) {
  struct json given = x->req.facts.stream_options;
  enum operation o = x->req.operation->operation;
  if ((o != OP_CHAT && o != OP_COMPLETIONS) || !x->req.stream || x->req.facts.wants_usage || !provider_takes_usage_option(a->target.provider)) return;
  struct span json = SPAN("{\"include_usage\":true}");
  if (given.type == JSON_OBJECT && given.text.n > 2) {   /* one member more than the client's; an include_usage of its own is false, and left out */
    struct buf out = { 0 };
    struct json_iter i = json_iter(given);
    struct json key, item;
    buf_add(&out, SPAN("{\"include_usage\":true"));
    while (json_next(&i, &key, &item)) {
      if (json_string_is(key, SPAN("include_usage"))) continue;
      buf_byte(&out, ',');
      buf_add(&out, key.text);
      buf_byte(&out, ':');
      buf_add(&out, item.text);
    }
    buf_byte(&out, '}');
    json = arena_copy(&a->arena, buf_span(&out));
    buf_free(&out);
  }
  own_edit(a, SPAN("stream_options"), json);
  a->usage_asked = true;
}

/* What flows through unread has no bound. Reading costs nothing anywhere; whatever else it is, is a matter of unpriced requests. */
static enum meter_result reserve_unread(struct exchange *x, struct attempt *a, struct reservation *m) {
  bool reads = span_eq(x->req.method, SPAN("GET")) || span_eq(x->req.method, SPAN("HEAD")) || span_eq(x->req.method, SPAN("DELETE"));
  if (!reads && counts_money(x) && x->gen->conf->prices.unpriced != UNPRICED_PASS) return refuse_unpriced(x, a);
  m->estimate = (struct estimate){ .cost = 0 };
  return m->count && x->worker->gateway->cells ? reserve_cells(x, a, m) : METER_GO;
}

static enum meter_result reserve(struct exchange *x) {
  struct attempt *a = x->attempts[0];
  const struct conf *c = x->gen->conf;
  struct model_facts *facts = arena_alloc(&a->arena, sizeof *facts);
  conf_model(c, a->target.provider, a->target.model, facts);
  a->model = facts;
  if (!x->req.charges) return METER_GO;
  struct reservation *m = reservation_of(x);
  if (!operation_of(x)) return reserve_unread(x, a, m);
  if (!x->raw) ask_usage(x, a);
  if (!facts->price.count && counts_money(x) && c->prices.unpriced == UNPRICED_REFUSE) return refuse_unpriced(x, a);
  plan(x, a, m);
  enum meter_result r = each_request(x, a, m);
  if (r == METER_GO && m->count && x->worker->gateway->cells) r = reserve_cells(x, a, m);
  if (r == METER_GO && m->estimate.limit && m->estimate.output > 0) set_limit(x, a, m->estimate.output / m->bounds.choices);
  return r;
}

enum meter_result meter_reserve(struct exchange *x) {
  enum meter_result r = reserve(x);
  if (r == METER_GO && x->worker->gateway->ledger) story_begin(x);
  return r;
}

/* ---- while a stream runs */
static bool extend(struct exchange *x, const struct attempt *a, struct reservation *m, int64_t by) {
  struct cells_held held;
  picodollars cost = estimate_more(&m->estimate, &a->model->price, by);
  struct cells_amount more = { .of = { [CELL_MONEY] = cost > 0 ? cost : 0, [CELL_TOKENS] = by } };
  for (const struct policy_charge *c = x->req.charges; c; c = c->next)
    if (c->cap->one_request && x->cost + m->estimate.cost + more.of[CELL_MONEY] > c->cap->cap) return false;
  if (m->slot) {
    enum cells_result r = cells_extend(x->worker->gateway->cells, m->slot, m->scopes, m->count, &more, worker_wall_ms(x->worker), &held);
    if (held.wants) ledger_wanted(x->worker->gateway->ledger);
    if (r != CELLS_OK) return false;
  }
  for (int k = 0; k < CELL_KINDS; k++) m->reserved.of[k] += more.of[k];
  m->estimate.output += by;
  m->estimate.cost = money_sum(m->estimate.cost, cost);
  return true;
}

bool meter_room(struct attempt *a, const struct event_facts *f) {
  struct exchange *x = a->exchange;
  struct reservation *m = x->reservation;
  if (!m || !f->delta_bytes) return true;
  m->counted += f->delta_bytes;
  if (!m->estimate.extends) return true;
  while (m->counted >= (uint64_t)m->estimate.output)
    if (!extend(x, a, m, ESTIMATE_STEP) && !extend(x, a, m, ESTIMATE_LEAST * 8)) return false;
  return true;
}

/* ---- settling */
/* Bytes to tokens where nobody told: half the bytes is more than any language needs, and less than the bound of one each. */
static int64_t tokens_of(uint64_t bytes) { return (int64_t)((bytes + 1) / 2); }

/* What an attempt used as far as it can be known; false: what it reserved has to do. */
static bool used(struct exchange *x, struct attempt *a, struct usage *u) {
  bool whole = !a->stopped && (a->ended || x->terminated);
  int64_t seen = (int64_t)x->deltas;
  *u = x->usage;
  if (x->usage_reported && whole) return true;
  if (model_hides(a->model, x->req.facts.reasoning)) return false;
  if (!whole && a->target.provider->quirks->bills_cancelled) return false;
  if (!x->committed && !a->stream) return false;         /* a whole answer that did not come */
  if (x->reservation && tokens_of(x->reservation->counted) / 2 > seen) seen = tokens_of(x->reservation->counted) / 2;
  if (u->input < 0) u->input = tokens_of(x->body_size);
  if (u->output < seen) u->output = seen;
  return true;
}

static bool never_sent(const struct attempt *a) {
  return a->phase && (!strcmp(a->phase, "connect") || !strcmp(a->phase, "tls") || !strcmp(a->phase, "dns"));
}

/* Of an unread request the answer names the model. */
static bool named_later(struct exchange *x, struct attempt *a) {
  if (!x->raw || x->metered || !x->served_model.n) return a->model;
  struct model_facts *facts = arena_alloc(&a->arena, sizeof *facts);
  conf_model(x->gen->conf, a->target.provider, x->served_model, facts);
  a->model = facts;
  return true;
}

void meter_settle(struct attempt *a) {
  struct exchange *x = a->exchange;
  struct reservation *m = x->reservation;
  struct usage u = USAGE_NONE;
  if (a->settled) return;
  a->settled = true;
  bool free_of_cost = !a->begun || never_sent(a) || a->status >= 400;
  bool known = !free_of_cost && used(x, a, &u);
  if (free_of_cost) a->cost = 0;
  else if (!known && m) a->cost = m->estimate.cost;
  else if (known && named_later(x, a)) a->cost = conf_cost(a->target.provider, a->model, &u, worker_wall_ms(x->worker) / 1000);
  else a->cost = PRICE_UNKNOWN;
  if (a->cost > 0) x->cost = money_sum(x->cost, a->cost);
  x->cost_unknown |= a->cost == PRICE_UNKNOWN;
  if (!m || !m->slot) return;
  struct cells_amount actual = m->reserved;
  actual.of[CELL_CONCURRENT] = 0;
  if (free_of_cost) actual.of[CELL_MONEY] = actual.of[CELL_TOKENS] = 0;
  else if (known) {
    int64_t out = u.output > 0 ? u.output : 0;
    actual.of[CELL_MONEY] = a->cost > 0 ? a->cost : 0;
    actual.of[CELL_TOKENS] = usage_input_total(&u) + out;
  }
  cells_settle(x->worker->gateway->cells, m->slot, &actual);
  m->slot = 0;
  m->counted = 0;
}
