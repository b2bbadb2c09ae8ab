/* meter.c: what an attempt may cost before it is sent, and what it came to.
   Where policies attached budgets or limits, all of them are reserved in one step before a byte goes out, extended while a stream
   runs, and settled exactly once when the attempt ends, however it ends. Where they attached none, only the cost is worked out. */
#include "attempt.h"
#include "exchange.h"
#include "fit.h"
#include "foreign.h"
#include "story.h"
#include "worker.h"
#include <stdio.h>
#include "weir/ledger.h"

/* SOON: a grant takes as long as the disk. STORE: what `queue` says is of room that others hold; the disk and the lock are waited for
   so long at least. */
enum { LOOK_AGAIN_MS = 20, LOOK_SOON_MS = 3, STORE_MS = 2000, SHRINK_MOST = 4 };

struct charged { const struct policy_charge *charge; bool own; };       /* own: for this attempt alone */
struct reservation {
  struct cells_scope *scopes;
  struct charged *charged;            /* one for each scope */
  size_t count, most;
  struct estimate estimate;           /* of the attempt under way */
  struct cells_amount reserved;
  uint64_t slot;                      /* 0: nothing is reserved */
  uint64_t queue_until_ms;            /* monotonic; 0: not waiting */
  uint64_t store_until_ms;            /* the same, for the store and the lock */
  struct told_limit { int64_t cap, left, frees_ms; bool is; } limits[CELL_KINDS];      /* the tightest of each kind */
  bool asked_once;                    /* the exchange counts as a request already */
};

int64_t worker_wall_ms(const struct worker *w) {
  struct timespec t;
  if (w->simulated) return 1700000000000 + (int64_t)w->loop->now_ms;
  clock_gettime(CLOCK_REALTIME_COARSE, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- what is known before */
static const struct operation_info *operation_of(const struct exchange *x) { return x->req.operation ? x->req.operation : x->metered; }

/* ---- scopes: those of the exchange, then those of the attempt alone */
static void scope_add(struct exchange *x, struct reservation *m, const struct policy_charge *c, bool own) {
  bool of_client = c->cap->kind == CELL_REQUESTS || c->cap->kind == CELL_CONCURRENT;       /* a policy's question is none of its requests */
  if (c->cap->one_request || (x->asker && of_client) || m->count == m->most) return;
  if (c->cap->kind == CELL_REQUESTS && !own && m->asked_once) return;
  m->charged[m->count] = (struct charged){ c, own };
  m->scopes[m->count++] = (struct cells_scope){ { c->cap->name, c->scope, c->cap->kind, c->cap->window, c->cap->cell }, c->cap->cap, false };
}

static size_t charges_in(const struct policy_charge *c) {
  size_t n = 0;
  for (; c; c = c->next) n++;
  return n;
}

static struct reservation *reservation_of(struct exchange *x, const struct attempt *a) {
  struct reservation *m = x->reservation;
  size_t most = charges_in(x->req.charges) + charges_in(a->view.charges);
  if (!m) m = x->reservation = arena_zero(&x->arena, sizeof *m);
  if (most > CELLS_MOST_SCOPES) most = CELLS_MOST_SCOPES;
  if (most > m->most) {
    m->scopes = arena_alloc(&x->arena, most * sizeof *m->scopes);
    m->charged = arena_alloc(&x->arena, most * sizeof *m->charged);
    m->most = most;
  }
  m->count = 0;
  for (const struct policy_charge *c = x->req.charges; c; c = c->next) scope_add(x, m, c, false);
  for (const struct policy_charge *c = a->view.charges; c; c = c->next) scope_add(x, m, c, true);
  return m;
}

static bool has_money(const struct policy_charge *c) {
  while (c && c->cap->kind != CELL_MONEY) c = c->next;
  return c;
}

static bool counts_money(const struct exchange *x) { return has_money(x->req.charges) || has_money(x->attempts[0]->view.charges); }

static struct cells_amount amount_of(const struct reservation *m) {
  struct cells_amount n = { 0 };
  n.of[CELL_MONEY] = m->estimate.cost > 0 ? m->estimate.cost : 0;
  n.of[CELL_TOKENS] = m->estimate.input + m->estimate.output;
  n.of[CELL_REQUESTS] = 1;
  n.of[CELL_CONCURRENT] = 1;
  return n;
}

/* ---- refusals */
static bool others_left(const struct exchange *x) { return !x->raw && x->at + 1 < x->route.count; }

/* A caller that a limit refuses is told of its limits too, as they stand. */
void meter_limited(struct exchange *x) {
  int64_t now = worker_wall_ms(x->worker);
  struct cells *cells = x->worker->gateway->cells;
  if (!x->reservation) x->reservation = arena_zero(&x->arena, sizeof *x->reservation);
  for (const struct policy_charge *c = x->req.charges; cells && c; c = c->next) {
    struct cell_id id = { .name = c->cap->name, .value = c->scope, .kind = c->cap->kind, .window = c->cap->window };
    struct told_limit *t = &x->reservation->limits[id.kind];
    struct cell_state s;
    if ((id.kind != CELL_REQUESTS && id.kind != CELL_TOKENS) || cells_read(cells, &id, now, &s) != CELLS_OK) continue;
    int64_t left = c->cap->cap - s.spent - s.reserved;
    if (!t->is || left < t->left) *t = (struct told_limit){ c->cap->cap, most(left, 0), most(s.end_ms, now + 1000), true };
  }
}

static enum meter_result refuse(struct exchange *x, const struct policy_charge *c, bool own, const struct cells_refusal *r) {
  if (own && others_left(x)) return METER_NEXT;
  bool money = c->cap->kind == CELL_MONEY;
  struct buf why = { 0 };
  if (!money) meter_limited(x);
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

/* A path of which weir knows nothing: images, files, batches. */
static enum meter_result refuse_unread(struct exchange *x, const struct attempt *a) {
  struct error e = { .status = 400, .word = SPAN("capped"), .code = SPAN("unpriced"), .tried = x->tried, .tried_count = x->tried_count,
                     .hint = SPAN("prices { unpriced = \"pass\" } lets such requests through uncounted") };
  e.message = arena_printf(&x->arena, "no price is known for what %.*s is asked on this path, and a budget counts this request", SPAN_FMT(a->target.name));
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
    int64_t now = worker_wall_ms(x->worker), frees = w->seconds ? now + w->seconds * 1000ll : m->charged[i].charge->end_ms;
    if (frees <= now) frees = cells_window_end(w, now);  /* its first use, or it has turned since */
    if (frees <= now) frees = now + 86400000;
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
/* What the exchange, those it asked and who asked it have cost so far, and may cost yet. */
static picodollars so_far(const struct exchange *x) {
  picodollars sum = money_sum(x->cost, x->questions_cost);
  if (!x->asker) return sum;
  const struct exchange *parent = ask_parent(x);
  const struct attempt *a = parent->attempts[0];
  if (a && a->begun && !a->settled && parent->reservation && parent->reservation->estimate.cost > 0) sum = money_sum(sum, parent->reservation->estimate.cost);
  return money_sum(sum, so_far(parent));
}

/* A budget for each request has no cell: it is compared with what the exchange has cost so far and may cost yet. */
static enum meter_result each_request(struct exchange *x, struct attempt *a, struct reservation *m) {
  const struct policy_charge *lists[2] = { x->req.charges, a->view.charges };
  for (int own = 0; own < 2; own++)
    for (const struct policy_charge *c = lists[own]; c; c = c->next) {
      if (!c->cap->one_request) continue;
      picodollars spent = own ? 0 : so_far(x), left = c->cap->cap - spent, cost = m->estimate.cost;
      if (cost <= left || estimate_shrink(&m->estimate, &a->model->price, left, INT64_MAX)) continue;
      struct cells_refusal r = { .asked = cost, .cap = c->cap->cap, .spent = spent };
      return refuse(x, c, own, &r);
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

static enum meter_result wait_until(struct exchange *x, uint64_t *until_ms, uint64_t most_ms, uint64_t ms) {
  uint64_t now = x->worker->loop->now_ms;
  if (!*until_ms) *until_ms = now + most_ms + 1;
  if (now >= *until_ms) return METER_REFUSED;
  x->resume_ms = now + ms;
  exchange_clock(x);
  return METER_WAITS;
}

static uint64_t queue_ms(struct exchange *x) { return (uint64_t)(exchange_setting(x, SET_QUEUE) * 1000); }

static enum meter_result wait_for_room(struct exchange *x, struct reservation *m) {
  return wait_until(x, &m->queue_until_ms, queue_ms(x), LOOK_AGAIN_MS);
}

static enum meter_result wait_for_store(struct exchange *x, struct reservation *m, uint64_t ms) {
  uint64_t most_ms = queue_ms(x) > STORE_MS ? queue_ms(x) : STORE_MS;
  return wait_until(x, &m->store_until_ms, most_ms, ms) == METER_WAITS ? METER_WAITS : refuse_busy(x);
}

/* What others hold may come back; what is spent does not before its window turns. Another target is better than waiting. */
static enum meter_result capped(struct exchange *x, struct reservation *m, const struct cells_refusal *r) {
  const struct charged *c = &m->charged[r->scope];
  bool may_return = r->reserved > 0 && r->asked <= r->cap - r->spent && !(c->own && others_left(x));
  if (may_return && wait_for_room(x, m) == METER_WAITS) return METER_WAITS;
  return refuse(x, c->charge, c->own, r);
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
  size_t size = x->worker->gateway->ledger ? story_note(x, note) : 0;      /* nobody else reads it */
  if (!set_durable(x, m)) return refuse_lost(x);
  for (unsigned tries = 0;; tries++) {
    m->reserved = amount_of(m);
    enum cells_result r = cells_reserve(cells, m->scopes, m->count, &m->reserved, span_of(note, size), worker_wall_ms(x->worker), &held);
    if (held.wants) ledger_wanted(x->worker->gateway->ledger);
    switch (r) {
    case CELLS_OK:
      m->slot = held.slot;
      story_witness(x, held.slot);
      m->asked_once = true;
      m->queue_until_ms = m->store_until_ms = 0;
      if (m->estimate.cost > x->estimate) x->estimate = m->estimate.cost;
      note_limits(x, m, held.left);
      return METER_GO;
    case CELLS_CAPPED:
      if (tries < SHRINK_MOST && shrink(a, m, &held.refusal)) continue;
      return capped(x, m, &held.refusal);
    case CELLS_UNGRANTED: return wait_for_store(x, m, LOOK_SOON_MS);
    case CELLS_BUSY: return wait_for_store(x, m, LOOK_AGAIN_MS);
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
  if (a->usage_asked || (o != OP_CHAT && o != OP_COMPLETIONS) || !x->req.stream || x->req.facts.wants_usage || !provider_takes_usage_option(a->target.provider)) return;
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
  if (!reads && counts_money(x) && x->gen->conf->prices.unpriced != UNPRICED_PASS) return refuse_unread(x, a);
  m->estimate = (struct estimate){ .cost = reads ? 0 : PRICE_UNKNOWN };
  return m->count && x->worker->gateway->cells ? reserve_cells(x, a, m) : METER_GO;
}

/* For a caller that asked: the most that it may come to. Nothing is reserved. */
static void tell_estimate(struct exchange *x, const struct attempt *a) {
  struct estimate e;
  if (!x->wants_estimate || !operation_of(x)) return;
  policy_estimate(&x->req, operation_of(x), a->view.edits, a->target.provider, a->model, &e);
  if (e.extends) e.output = e.most < INT64_MAX ? e.most : ESTIMATE_UNKNOWN_OUTPUT;
  fit_widen(a, &e);
  foreign_widen(a, &e);
  e.cost = estimate_cost(&e, &a->model->price);
  if (e.cost > x->estimate) x->estimate = e.cost;
}

static enum meter_result reserve(struct exchange *x) {
  struct attempt *a = x->attempts[0];
  const struct conf *c = x->gen->conf;
  if (!a->model) a->model = chain_facts(x, a->target.provider, a->target.model);
  bool counted = x->req.charges || a->view.charges || x->reservation;
  bool told = x->worker->gateway->ledger && c->ledger.mode == LEDGER_ON;           /* the ledger was asked for: it shall know, not guess */
  if ((counted || told) && operation_of(x) && !x->raw && !a->foreign) ask_usage(x, a);
  if (!counted) return tell_estimate(x, a), METER_GO;
  struct reservation *m = reservation_of(x, a);
  if (!operation_of(x)) return reserve_unread(x, a, m);
  if (!a->model->price.count && counts_money(x) && c->prices.unpriced == UNPRICED_REFUSE) return refuse_unpriced(x, a);
  policy_estimate(&x->req, operation_of(x), a->view.edits, a->target.provider, a->model, &m->estimate);
  fit_widen(a, &m->estimate);
  foreign_widen(a, &m->estimate);
  enum meter_result r = each_request(x, a, m);
  if (r == METER_GO && m->count && x->worker->gateway->cells) r = reserve_cells(x, a, m);
  if (r == METER_GO && m->estimate.limit && m->estimate.output > 0) set_limit(x, a, m->estimate.output / m->estimate.choices);
  return r;
}

enum meter_result meter_reserve(struct exchange *x) {
  enum meter_result r = reserve(x);
  if (r == METER_GO && x->worker->gateway->ledger) story_begin(x);
  return r;
}

/* ---- while a stream runs */
/* What comes is made, and its provider charges for it: it does not wait for the disk, as a request does. Until the store has promised that
   much, a power loss forgets it; a stream that came faster than the disk writes was ended though its budget had room. */
static enum cells_result extend_cells(struct exchange *x, struct reservation *m, const struct cells_amount *more) {
  struct cells *cells = x->worker->gateway->cells;
  int64_t now = worker_wall_ms(x->worker);
  struct cells_held held;
  bool may = set_durable(x, m);
  enum cells_result r = cells_extend(cells, m->slot, m->scopes, m->count, more, now, &held);
  if (held.wants) ledger_wanted(x->worker->gateway->ledger);
  if (r != CELLS_UNGRANTED || !may) return r;
  for (size_t i = 0; i < m->count; i++) m->scopes[i].durable = false;
  return cells_extend(cells, m->slot, m->scopes, m->count, more, now, &held);
}

static bool extend(struct exchange *x, const struct attempt *a, struct reservation *m, int64_t by) {
  picodollars cost = estimate_more(&m->estimate, &a->model->price, by);
  struct cells_amount more = { .of = { [CELL_MONEY] = cost > 0 ? cost : 0, [CELL_TOKENS] = by } };
  picodollars sum = money_sum(m->estimate.cost > 0 ? m->estimate.cost : 0, more.of[CELL_MONEY]);
  for (const struct policy_charge *c = x->req.charges; c; c = c->next)
    if (c->cap->one_request && money_sum(so_far(x), sum) > c->cap->cap) return false;
  for (const struct policy_charge *c = a->view.charges; c; c = c->next)
    if (c->cap->one_request && sum > c->cap->cap) return false;
  if (m->slot && extend_cells(x, m, &more) != CELLS_OK) return false;
  for (int k = 0; k < CELL_KINDS; k++) m->reserved.of[k] += more.of[k];
  m->estimate.output += by;
  m->estimate.cost = money_sum(m->estimate.cost, cost);
  return true;
}

bool meter_room(struct attempt *a, const struct event_facts *f) {
  struct exchange *x = a->exchange;
  struct reservation *m = x->reservation;
  if (!m || !f->delta_bytes) return true;
  if (!m->estimate.extends) return true;
  struct estimate *e = &m->estimate;
  while (x->delta_bytes + x->deltas >= (uint64_t)e->output && e->output < e->most) {     /* each piece may end in a token that shows nothing */
    int64_t rest = e->most - e->output;
    if (!extend(x, a, m, least(ESTIMATE_STEP, rest)) && !extend(x, a, m, least(ESTIMATE_LEAST * 8, rest))) return false;
  }
  return true;
}

/* ---- settling */
/* Of a stream that was cut, tokens that the provider had made and weir had not seen. */
enum { UNDER_WAY = 32 };

/* Bytes to tokens where nobody told: half the bytes is more than any language needs, and less than the bound of one each. */
static int64_t tokens_of(uint64_t bytes) { return (int64_t)((bytes + 1) / 2); }

static int64_t output_seen(const struct exchange *x, const struct attempt *a, bool whole, bool counted) {
  if (counted) return most((int64_t)x->deltas, tokens_of(x->delta_bytes)) + (whole ? 0 : UNDER_WAY);
  return tokens_of(a->packed ? buf_size(&a->plain) : a->flowing ? x->answer_bytes : buf_size(&a->window));
}

/* What an attempt used as far as it can be known; false: what it reserved has to do. */
static bool used(struct exchange *x, struct attempt *a, struct usage *u) {
  const struct reservation *m = x->reservation;
  const struct operation_info *o = operation_of(x);
  const struct request_bounds *b = x->req.bounded ? &x->req.bounds : NULL;
  bool whole = !a->stopped && (a->ended || a->told_end), counted = a->stream || tap_counts(a->tap);
  *u = x->usage;
  if (o && operation_counts(o)) { u->input = 0; return true; }
  if (x->usage_whole && whole) return true;
  if ((b && b->later) || !o) return false;               /* told elsewhere, later; not to be read */
  if (model_hides(a->model, x->req.facts.reasoning)) return false;
  if (!whole && (!counted || a->target.provider->quirks->bills_cancelled)) return false;   /* a whole answer is made before it is sent */
  if (u->input < 0) {
    if (b && b->beyond && !m) return false;
    u->input = b && b->beyond ? m->estimate.input : tokens_of(x->body_size);
  }
  if (b && b->no_output) return true;
  int64_t seen = output_seen(x, a, whole, counted);
  u->output = most(u->output, m ? least(seen, m->estimate.output) : seen);
  return true;
}

/* Nothing went to the provider, or it says that nothing came of it. */
static bool costs_nothing(const struct attempt *a) {
  if (!a->begun || !a->call.sent || (a->status && (a->status < 200 || a->status > 299))) return true;
  return a->phase && (!strcmp(a->phase, "connect") || !strcmp(a->phase, "tls") || !strcmp(a->phase, "dns"));
}

/* Of an unread request the answer names the model. */
static bool named_later(struct exchange *x, struct attempt *a) {
  if (!x->raw || x->metered || !x->served_model.n) return a->model;
  a->model = chain_facts(x, a->target.provider, x->served_model);
  return true;
}

void meter_settle(struct attempt *a) {
  struct exchange *x = a->exchange;
  struct reservation *m = x->reservation;
  struct usage u = USAGE_NONE;
  if (a->settled) return;
  a->settled = true;
  bool free_of_cost = costs_nothing(a);
  bool known = !free_of_cost && used(x, a, &u);
  if (free_of_cost) a->cost = 0;
  else if (!known && m) a->cost = m->estimate.cost;
  else if (known && named_later(x, a)) a->cost = conf_cost(a->target.provider, a->model, &u, worker_wall_ms(x->worker) / 1000);
  else a->cost = PRICE_UNKNOWN;
  if (known) fit_told(a, &u);
  if (known && operation_of(x) && !operation_counts(operation_of(x))) x->usage = u;            /* as told, or as weir counted it */
  if (a->cost > 0) x->cost = money_sum(x->cost, a->cost);
  if (known && a->cost > 0) x->fees = money_sum(x->fees, conf_fees(a->target.provider, a->model, &u, worker_wall_ms(x->worker) / 1000));
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
  if (m->slot == x->witness) cells_count(x->worker->gateway->cells, m->slot, &actual);
  else cells_settle(x->worker->gateway->cells, m->slot, &actual);
  m->slot = 0;
}
