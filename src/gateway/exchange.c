/* exchange.c: the life of a request as one switch over its states. */
#include "attempt.h"
#include "client.h"
#include "fit.h"
#include "foreign.h"
#include "state.h"
#include "story.h"
#include "worker.h"
#include <stdio.h>
#include "weir/tape.h"

enum { HEARTBEAT_MS = 15000, AFTER_TERMINATOR_MS = 1000 };

static uint64_t now_ms(const struct exchange *x) { return x->worker->loop->now_ms; }

double exchange_setting(const struct exchange *x, enum setting s) {
  const struct attempt *a = x->attempts[0];
  return conf_setting(x->gen->conf, x->route.alias, a ? a->target.provider : NULL, s);
}

/* ---- begin and end */
static void clock_run(struct timer *t);

struct exchange *exchange_new(struct worker *w, struct sink *sink, struct client *c) {
  struct exchange *x = w->spare_exchanges;
  struct arena arena = { 0 };
  if (x) {
    w->spare_exchanges = x->next_spare;
    arena = x->arena;                                    /* with its one block */
    spare_arena(&arena, false);
  } else {
    x = mem_alloc(sizeof *x);
  }
  memset(x, 0, sizeof *x);
  x->arena = arena;
  x->worker = w;
  x->gen = w->gen;
  __atomic_add_fetch(&x->gen->refs, 1, __ATOMIC_RELAXED);
  x->sink = sink;
  x->client = c;
  x->begun_ms = w->loop->now_ms;
  x->begun_ns = w->loop->now_ns;
  if (w->gateway->ledger) story_sequence(x);
  x->clock.done = clock_run;
  x->usage = USAGE_NONE;
  x->first_retry_after = -1;
  x->req.arena = &x->arena;
  x->req.scratch = &w->scratch;
  x->req.ip = c ? span_cstr(c->ip) : (struct span){ 0 };
  x->req.random = worker_random(w);
  __atomic_add_fetch(&w->open_exchanges, 1, __ATOMIC_RELAXED);
  worker_active(w);
  return x;
}

static void exchange_free(struct exchange *x) {
  struct worker *w = x->worker;
  exchange_run_back(x);
  exchange_body_drop(x);
  buf_free(&x->prefix);
  arena_reset(&x->arena);
  spare_arena(&x->arena, true);
  generation_drop(w->gateway, x->gen);
  x->next_spare = w->spare_exchanges;
  w->spare_exchanges = x;
  __atomic_sub_fetch(&w->open_exchanges, 1, __ATOMIC_RELAXED);
}

void exchange_body_drop(struct exchange *x) {
  if (!x->body_memory) return;
  if (x->body_memory_cap) {
    worker_body_back(x->worker, x->body_memory, x->body_memory_cap);
  } else {
    worker_block_back(x->worker, x->body_memory, x->body_cap);
  }
  x->body_memory = NULL;
  x->body_memory_cap = 0;
}

/* A run is the exchange's from its first hook on. When a stream is released it goes back: many are open, few of them in a hook. */
static struct policy_run *run_of(struct exchange *x) {
  struct worker *w = x->worker;
  if (x->run) return x->run;
  return x->run = w->spare_run_count ? w->spare_runs[--w->spare_run_count] : mem_alloc(sizeof *x->run);
}

void exchange_run_back(struct exchange *x) {
  struct worker *w = x->worker;
  if (!x->run || !check(x->hook != RUN_WAITS)) return;
  if (w->spare_run_count < sizeof w->spare_runs / sizeof *w->spare_runs) w->spare_runs[w->spare_run_count++] = x->run;
  else mem_free(x->run);
  x->run = NULL;
}

void exchange_pin(void *x) { ((struct exchange *)x)->pins++; }

void exchange_unpin(void *arg) {
  struct exchange *x = arg;
  if (!--x->pins && x->state == X_ENDED) exchange_free(x);
}

void exchange_waited(struct exchange *x) {
  if (x->waits) worker_wait_over(x->worker);
  x->waits = false;
}

void exchange_wait_over(struct exchange *x) {
  exchange_waited(x);
  if (x->hook == RUN_WAITS) {
    if (x->fetch) fetch_cancel(x);
    if (x->ask) ask_cancel(x);
    policy_run_cancel(x->run);
    x->resume_ms = 0;
  }
  x->hook = RUN_NONE;
}

static void let_go(struct exchange *x) {
  exchange_wait_over(x);
  for (int i = 0; i < 2; i++)
    if (x->attempts[i]) attempt_stop(x->attempts[i]);
  x->attempts[0] = x->attempts[1] = NULL;
}

void exchange_end(struct exchange *x, struct span word) {
  if (!check(x->state != X_ENDED)) return;
  const struct attempt *a = x->attempts[0];
  if (a && x->committed && !a->fault) metrics_attempt(x->worker->metrics, a->target.name, FAULT_NONE);
  if (a) meter_settle(x->attempts[0]);
  if (x->asker) ask_parent(x)->questions_cost = money_sum(ask_parent(x)->questions_cost, x->cost);
  let_go(x);
  x->state = X_ENDED;
  x->end_word = word;
  timer_stop(&x->worker->loop->wheel, &x->clock);
  struct policy_vm *vm = x->gen->vms[x->worker->number];
  if (exchange_has(x, HOOK_DONE) && x->req.path.p) {
    struct policy_usage u = { x->usage, x->usage_reported, x->cost_unknown ? PRICE_UNKNOWN : x->cost, x->req.attempts, word };
    struct policy_subject s = { .req = &x->req, .usage = &u };
    policy_run_start(vm, run_of(x), HOOK_DONE, &s);
  }
  answer_record(x);
  if (x->worker->on_end) x->worker->on_end(x->worker->on_end_arg, x);
  policy_req_end(&x->req);
  struct client *c = x->client;
  bool gone = x->gone;
  if (x->asker && !gone) ask_ended(x, word);
  if (!x->pins) exchange_free(x);
  if (c && !gone) client_next(c);
}

void exchange_gone(struct exchange *x) {
  x->gone = true;
  exchange_end(x, x->terminated ? SPAN("done") : SPAN("client_gone"));
}

/* The process ends before the answer does: an error, or the dialect's error event, never a silent cut. */
void exchange_cut(struct exchange *x) {
  struct error e = { .status = 503, .word = SPAN("drained"), .message = SPAN("weir is shutting down"), .tried = x->tried, .tried_count = x->tried_count };
  if (!x->id[0]) request_choose_id(x);
  if (x->terminated) {
    x->sink->calls->end(x->sink);
    exchange_end(x, SPAN("done"));
    return;
  }
  answer_error(x, &e, 1);
  exchange_end(x, e.word);
}

void exchange_fail(struct exchange *x, int status, struct span word, struct span code, const char *message, const char *hint) {
  struct error e = { .status = status, .word = word, .code = code, .message = arena_copy(&x->arena, span_cstr(message)), .hint = span_cstr(hint) };
  if (!x->id[0]) request_choose_id(x);
  answer_error(x, &e, status == 503 ? 1 : -1);
  exchange_end(x, word);
}

/* ---- clocks: one timer for all of them, armed for the earliest, looked at when it fires */
static uint64_t earliest(uint64_t a, uint64_t b) { return !b ? a : !a || b < a ? b : a; }

void exchange_clock(struct exchange *x) {
  uint64_t due = earliest(earliest(x->deadline_ms, x->resume_ms), x->heartbeat_ms);
  if (x->attempts[0]) due = earliest(earliest(due, x->attempts[0]->phase_due_ms), x->attempts[0]->hold_due_ms);
  if (!due || (timer_armed(&x->clock) && x->clock.due_ms <= due)) return;
  timer_set(&x->worker->loop->wheel, &x->clock, due);
}

static void deadline_over(struct exchange *x) {
  if (x->attempts[0] && x->attempts[0]->begun && x->state != X_FAILED && x->state != X_ON_FAILURE) {
    x->attempts[0]->phase_due_ms = 0;
    attempt_fault(x->attempts[0], FAULT_TIMEOUT, x->committed ? "stream" : "head", "the latency budget is spent");
    return;
  }
  struct error e = { .status = 504, .fault = FAULT_TIMEOUT, .message = SPAN("the latency budget is spent"), .tried = x->tried, .tried_count = x->tried_count };
  answer_error(x, &e, -1);
  exchange_end(x, SPAN("timeout"));
}

static void clock_run(struct timer *t) {
  struct exchange *x = container(t, struct exchange, clock);
  uint64_t now = now_ms(x);
  struct attempt *a = x->attempts[0];
  if (x->heartbeat_ms && now >= x->heartbeat_ms) {
    x->heartbeat_ms = x->committed ? 0 : now + HEARTBEAT_MS;
    if (!x->committed) answer_early(x);
  }
  if (x->deadline_ms && now >= x->deadline_ms) {
    x->deadline_ms = 0;
    deadline_over(x);
    return;
  }
  if (x->resume_ms && now >= x->resume_ms) {
    x->resume_ms = 0;
    exchange_waited(x);
    exchange_clock(x);
    if (x->hook == RUN_WAITS) exchange_resume(x, NULL);
    else exchange_run(x);
    return;
  }
  if (a && a->hold_due_ms && now >= a->hold_due_ms && !relay_time(a)) return;
  if (a && a->phase_due_ms && now >= a->phase_due_ms) {
    a->phase_due_ms = 0;
    exchange_clock(x);
    attempt_timer(a, now);
    return;
  }
  exchange_clock(x);
}

/* ---- hooks */
/* May end the exchange: only so many of the process wait at a time. */
static void wait_begin(struct exchange *x) {
  x->waits = worker_wait(x->worker);
  if (!x->waits) {
    policy_run_cancel(x->run);
    exchange_fail(x, 503, SPAN("overloaded"), (struct span){ 0 }, "too many requests wait for policies already", NULL);
    return;
  }
  x->hook = RUN_WAITS;
  exchange_clock(x);                                     /* the exchange's own goes on */
  if (x->run->wait.kind == WAIT_FETCH) { fetch_start(x); return; }
  if (x->run->wait.kind == WAIT_ASK) { ask_start(x); return; }
  double s = x->run->wait.seconds;
  x->resume_ms = now_ms(x) + (uint64_t)((s < 0 ? 0 : s > 86400 ? 86400 : s) * 1000) + 1;
  exchange_clock(x);
}

static struct policy_vm *vm_of_exchange(const struct exchange *x) { return x->gen->vms[x->worker->number]; }

bool exchange_has(const struct exchange *x, enum hook h) { return !x->asker && policy_has(vm_of_exchange(x), h); }

/* True when the hook's decision is in x->run->decision; false while its policy waits. */
bool exchange_hook(struct exchange *x, enum hook h, const struct policy_subject *s) {
  if (x->hook == RUN_READY) {
    x->hook = RUN_NONE;
    return true;
  }
  x->req.attempts = (unsigned)x->tried_count;
  if (!x->req.tape && x->worker->gateway->ledger) x->req.tape = tape_new(&x->arena);
  if (policy_run_start(vm_of_exchange(x), run_of(x), h, s) == POLICY_DONE) return true;
  wait_begin(x);
  return false;
}

void exchange_resume(struct exchange *x, const struct policy_answer *answer) {
  exchange_waited(x);
  if (policy_run_resume(x->run, answer) == POLICY_WAITS) { wait_begin(x); return; }
  x->hook = RUN_READY;
  exchange_run(x);
}

/* A denial can come from any hook that may wait: a policy that failed with on_error = "deny" ends there. */
bool exchange_denied(struct exchange *x) {
  const struct decision *d = &x->run->decision;
  if (d->kind != DECIDE_DENY) return false;
  struct error e = { .status = d->status, .word = d->error ? SPAN("internal") : d->word.n ? d->word : SPAN("denied"), .message = d->message, .code = d->code,
                     .tried = x->tried, .tried_count = x->tried_count };
  if (span_eq(e.word, SPAN("limited"))) meter_limited(x);
  answer_error(x, &e, d->retry_after);
  exchange_end(x, e.word);
  return true;
}

/* ---- the states; each gives whether the switch goes on */
static bool begin(struct exchange *x) {
  if (!request_understand(x)) return false;
  x->state = X_SCANNING;
  if (!x->scanning) return true;
  request_scan(x);                                       /* what came with the head may hold it already */
  return false;
}

/* The clocks of the whole exchange: the defaults' before its route is known, then the nearest of alias, provider, defaults. */
static void settle_clocks(struct exchange *x, const struct provider *p) {
  const struct conf *c = x->gen->conf;
  double total = conf_setting(c, x->route.alias, p, SET_TOTAL), hold_head = conf_setting(c, x->route.alias, p, SET_HOLD_HEAD);
  if (x->asked_timeout > 0 && x->asked_timeout < total) total = x->asked_timeout;
  if (x->route.alias && x->route.alias->latency_budget > 0 && x->route.alias->latency_budget < total) total = x->route.alias->latency_budget;
  x->deadline_ms = x->begun_ms + (uint64_t)(total * 1000);
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  x->req.deadline = (double)t.tv_sec + (double)t.tv_nsec / 1e9 + ((double)x->deadline_ms - (double)now_ms(x)) / 1000;
  if (x->req.stream && !x->raw && !x->started) x->heartbeat_ms = hold_head > 0 ? x->begun_ms + (uint64_t)(hold_head * 1000) : 0;
}

static bool understood(struct exchange *x) {
  x->asked_timeout = x->req.deadline;
  settle_clocks(x, NULL);
  x->state = exchange_has(x, HOOK_REQUEST) ? X_ON_REQUEST : X_ROUTE;
  return true;
}

static bool on_request(struct exchange *x) {
  struct policy_subject s = { .req = &x->req };
  if (!exchange_hook(x, HOOK_REQUEST, &s) || exchange_denied(x)) return false;
  if (x->run->decision.kind == DECIDE_ANSWER) {
    answer_text_of_weir(x, x->run->decision.text, x->run->decision.json);
    exchange_end(x, SPAN("done"));
    return false;
  }
  x->state = X_ROUTE;
  return true;
}

static bool route(struct exchange *x) {
  if (!chain_find(x)) return false;
  if (!x->route.next_on) x->route.next_on = route_default_next_on();
  settle_clocks(x, x->route.candidates[0].provider);
  x->state = X_PICK;
  return true;
}

static struct attempt *attempt_new(struct exchange *x, const struct target *t) {
  struct worker *w = x->worker;
  struct attempt *a = w->spare_attempts;
  struct arena arena = { 0 };
  if (a) {
    w->spare_attempts = a->next_spare;
    arena = a->arena;
    spare_arena(&arena, false);
  } else {
    a = mem_alloc(sizeof *a);
  }
  memset(a, 0, sizeof *a);
  a->arena = arena;
  a->exchange = x;
  a->target = *t;
  a->target.name = x->route.candidates[x->at].name;
  a->begun_ms = now_ms(x);
  a->view = (struct policy_attempt){ .number = (unsigned)x->tried_count + 1, .target = &a->target, .arena = &a->arena };
  a->view.deadline = (double)(x->deadline_ms - a->begun_ms) / 1000;
  a->failure.retry_after = -1;
  return a;
}

static bool pick(struct exchange *x) {
  struct target t = { 0 };
  if (!chain_room(x)) return false;
  if (x->asker && !ask_compose(x)) return false;
  if (x->elsewhere) t = *x->elsewhere;
  else route_pick(&x->route.candidates[x->at], x->worker->health, chain_tokens(x), now_ms(x), worker_random(x->worker), &t);
  x->elsewhere = NULL;
  if (x->req.facts.bound && !x->home) x->home = t.account;
  else if (x->unbound.n && x->req.facts.bound && t.account != x->home) request_lose(x);
  x->attempts[0] = attempt_new(x, &t);
  foreign_begin(x->attempts[0]);
  x->usage = USAGE_NONE;                                 /* told of the attempt that answers */
  x->usage_reported = x->usage_whole = false;
  x->deltas = x->delta_bytes = 0;
  x->served_model = (struct span){ 0 };
  x->state = exchange_has(x, HOOK_ATTEMPT) ? X_ON_ATTEMPT : X_RESERVE;
  return true;
}

void exchange_drop_attempt(struct exchange *x) {
  attempt_stop(x->attempts[0]);
  x->attempts[0] = NULL;
}

static bool skip(struct exchange *x, struct span why) {
  log_info("%s: %.*s skipped: %.*s", x->id, SPAN_FMT(x->attempts[0]->target.name), SPAN_FMT(why));
  exchange_drop_attempt(x);
  if (++x->at < x->route.count) {
    x->state = X_PICK;
    return true;
  }
  if (x->tried_count) return exchange_give_up(x, (struct span){ 0 });
  exchange_fail(x, 503, SPAN("denied"), (struct span){ 0 }, "every target was skipped by a policy", NULL);
  return false;
}

static bool on_attempt(struct exchange *x) {
  struct attempt *a = x->attempts[0];
  struct policy_subject s = { .req = &x->req, .attempt = &a->view };
  if (!exchange_hook(x, HOOK_ATTEMPT, &s)) return false;
  const struct decision *d = &x->run->decision;
  if (d->kind == DECIDE_DENY && d->word.n && !d->error && x->at + 1 < x->route.count) return skip(x, d->message);      /* a budget of this target alone */
  if (exchange_denied(x)) return false;
  if (d->kind == DECIDE_SKIP) return skip(x, d->message);
  x->state = X_RESERVE;
  return true;
}

static bool reserve(struct exchange *x) {
  switch (meter_reserve(x)) {
  case METER_GO: x->state = X_SEND; return true;
  case METER_NEXT: return skip(x, SPAN("a budget or limit of this target has nothing left"));
  default: return false;
  }
}

/* The target's dialect cannot say it: another target may. */
static bool unsaid(struct exchange *x, const struct translating *t) {
  struct span why = arena_copy(&x->arena, t->why);
  if (x->at + 1 < x->route.count || x->tried_count) return skip(x, why);
  struct error e = { .status = 400, .word = SPAN("bad_request"), .code = SPAN("unsupported_parameter"), .param = t->field, .message = why,
                     .hint = SPAN("ask a provider that speaks this dialect, leave the field out, or name it in weir.allow_loss") };
  answer_error(x, &e, -1);
  exchange_end(x, e.word);
  return false;
}

static bool send_attempt(struct exchange *x) {
  struct attempt *a = x->attempts[0];
  struct translating t = { 0 };
  if (!request_ready(x, a, &t)) return unsaid(x, &t);
  if (a->view.deadline_set) {
    double left = ((double)x->deadline_ms - (double)now_ms(x)) / 1000;
    if (a->view.deadline < left) a->deadline_ms = now_ms(x) + (uint64_t)(a->view.deadline * 1000);
  }
  x->state = X_UNDER_WAY;
  a->begun = true;
  fit_begin(a);
  health_sent(x->worker->health, &a->target, now_ms(x), chain_tokens(x));
  attempt_start(x);
  return false;
}

static bool on_response(struct exchange *x) {
  struct attempt *a = x->attempts[0];
  if (exchange_has(x, HOOK_RESPONSE)) {
    struct policy_subject s = { .req = &x->req, .attempt = &a->view, .response = a->response };
    if (!exchange_hook(x, HOOK_RESPONSE, &s) || exchange_denied(x)) return false;
    const struct decision *d = &x->run->decision;
    if (d->kind == DECIDE_REJECT || d->kind == DECIDE_REPLACE) tape_verdict(x->req.tape, a->target.name, d);
    if (d->kind == DECIDE_REJECT) {
      char *why = arena_cstr(&x->arena, d->message);
      attempt_fault(a, FAULT_INVALID, a->stream ? "first_event" : "head", why);
      return false;
    }
    if (d->kind == DECIDE_HOLD && a->stream) {
      bool accepted;
      x->state = X_UNDER_WAY;
      if (!relay_hold(a, &d->hold, &accepted)) return false;
      x->state = X_ON_RESPONSE;
      if (!accepted) return true;
    }
    if (d->kind == DECIDE_REPLACE) {
      answer_text_of_weir(x, d->text, (struct span){ 0 });
      exchange_end(x, SPAN("done"));
      return false;
    }
  }
  x->state = X_STREAMING;
  attempt_accept(a);
  return false;
}

void exchange_run(struct exchange *x) {
  for (bool on = true; on;) {
    switch (x->state) {
    case X_BEGIN: on = begin(x); break;
    case X_SCANNING: on = understood(x); break;
    case X_ON_REQUEST: on = on_request(x); break;
    case X_ROUTE: on = route(x); break;
    case X_BACKOFF: on = state_backoff(x); break;
    case X_PICK: on = pick(x); break;
    case X_ON_ATTEMPT: on = on_attempt(x); break;
    case X_RESERVE: on = reserve(x); break;
    case X_SEND: on = send_attempt(x); break;
    case X_ON_RESPONSE: on = on_response(x); break;
    case X_FAILED: on = state_failed(x); break;
    case X_ON_FAILURE: on = state_on_failure(x); break;
    case X_READING: case X_UNDER_WAY: case X_STREAMING: case X_ENDED: return;
    }
  }
}

/* ---- from its neighbours */
void exchange_begin(struct exchange *x) {
  x->state = X_BEGIN;
  exchange_run(x);
}

void exchange_scanned(struct exchange *x) { exchange_run(x); }

void exchange_attempt_failed(struct exchange *x) {
  x->state = X_FAILED;
  exchange_run(x);
}

void exchange_answer_ready(struct exchange *x) {
  x->state = X_ON_RESPONSE;
  exchange_run(x);
}

/* The client has its terminator: what the provider still sends is read for a moment, so that the connection can be reused. */
void exchange_terminated(struct exchange *x) {
  x->terminated = true;
  x->attempts[0]->phase_due_ms = now_ms(x) + AFTER_TERMINATOR_MS;
  exchange_clock(x);
}

void exchange_drained(struct exchange *x) {
  if (x->attempts[0] && x->sink->calls->waiting(x->sink) <= SINK_LOW) call_resume(&x->attempts[0]->call);
}
