/* failed.c: what follows when an attempt failed: it is remembered, a policy is asked, and another is tried or the client told. */
#include "attempt.h"
#include "fit.h"
#include "state.h"
#include "worker.h"

enum { WAIT_MOST_S = 10 };             /* for the last target, where it says how long */

static uint64_t now_ms(const struct exchange *x) { return x->worker->loop->now_ms; }

static void note_tried(struct exchange *x, struct attempt *a, enum fault f) {
  meter_settle(a);
  if (x->tried_count >= MOST_TRIED) return;
  if (!x->tried) {
    x->tried = arena_alloc(&x->arena, MOST_TRIED * sizeof *x->tried);
    x->tried_endpoint = arena_alloc(&x->arena, MOST_TRIED * sizeof *x->tried_endpoint);
    x->tried_account = arena_alloc(&x->arena, MOST_TRIED * sizeof *x->tried_account);
    x->tried_cost = arena_alloc(&x->arena, MOST_TRIED * sizeof *x->tried_cost);
  }
  size_t i = x->tried_count++;
  x->tried[i] = (struct tried){ arena_copy(&x->arena, a->target.name), f, a->status, (unsigned)(now_ms(x) - a->begun_ms) };
  x->tried_endpoint[i] = a->target.endpoint;
  x->tried_account[i] = a->target.account;
  x->tried_cost[i] = a->cost;
}

/* ---- when a chain has nothing left */
static bool may_pass(const struct attempt *a) {
  return a && a->failing && a->ended && !a->cut && a->status >= 400 && a->status < 500 && !a->failure.account && a->head;
}

/* The provider's own refusal, byte for byte. */
static void pass_failure(struct exchange *x, struct attempt *a) {
  x->target_name = arena_copy(&x->arena, a->target.name);
  struct span body = buf_span(&a->window);
  answer_start(x, a->status, a->head, (int64_t)body.n);
  exchange_write(x, body);
  x->sink->calls->end(x->sink);
}

/* The same from a provider of another dialect, in the caller's words. */
static void say_failure(struct exchange *x, struct attempt *a) {
  struct span text = { NULL, 0 };
  if (a->failure.message.n) json_unescape((struct json){ JSON_STRING, arena_printf(&x->arena, "\"%.*s\"", SPAN_FMT(a->failure.message)) }, &x->arena, &text);
  struct error e = { .status = a->status, .fault = a->fault, .message = text, .tried = x->tried, .tried_count = x->tried_count };
  if (!text.n) e.message = arena_printf(&x->arena, "%.*s refused the request with status %d", SPAN_FMT(a->target.name), a->status);
  answer_error(x, &e, a->failure.retry_after);
}

bool exchange_give_up(struct exchange *x, struct span why) {
  struct attempt *a = x->attempts[0];
  enum fault f = x->first_fault;
  bool several = false;
  for (size_t i = 1; i < x->tried_count; i++) several |= !span_eq(x->tried[i].target, x->tried[0].target);
  bool chain = several && a && (x->route.next_on & 1u << a->fault);                 /* spent, not ended by a refusal */
  bool own_word = !x->started && may_pass(a) && !chain && !why.n;
  if (own_word && a->foreign) {
    f = a->fault;
    say_failure(x, a);
  } else if (own_word) {
    f = a->fault;
    pass_failure(x, a);
  } else {
    struct error e = { .fault = f, .message = why, .tried = x->tried, .tried_count = x->tried_count };
    if (!chain && a) e.fault = f = a->fault;
    e.status = fault_status(f);
    if (!e.message.n) {
      const char *what = a && a->why ? a->why : "";
      e.message = x->tried_count > 1 ? arena_printf(&x->arena, "all %zu attempts failed; the first: %s%s%.*s", x->tried_count, fault_word(f),
                                                    x->first_why.n ? ": " : "", SPAN_FMT(x->first_why))
                                     : arena_printf(&x->arena, "%.*s failed: %s%s%s", SPAN_FMT(x->tried[0].target), fault_word(f), *what ? ": " : "", what);
    }
    answer_error(x, &e, f == FAULT_RATE_LIMITED || f == FAULT_OVERLOADED ? x->first_retry_after : -1);
  }
  exchange_end(x, span_cstr(fault_word(f)));
  return false;
}

/* A refusal or a filtered answer is the provider's own word: when nothing else would be tried for it, it is the client's. */
bool exchange_final(struct exchange *x, enum fault f) {
  if ((f != FAULT_REFUSED && f != FAULT_CONTENT_FILTERED) || exchange_has(x, HOOK_FAILURE)) return false;
  return !(x->route.next_on & 1u << f) || x->at + 1 >= x->route.count;
}

/* ---- another try */
static bool pause_then_pick(struct exchange *x, uint64_t ms) {
  if (now_ms(x) + ms >= x->deadline_ms) return exchange_give_up(x, (struct span){ 0 });
  if (ms && !(x->waits = worker_wait(x->worker))) return exchange_give_up(x, (struct span){ 0 });
  exchange_drop_attempt(x);
  x->state = X_BACKOFF;
  if (!ms) return true;
  x->resume_ms = now_ms(x) + ms;
  exchange_clock(x);
  return false;
}

static void keep_target(struct exchange *x) {
  x->elsewhere = arena_alloc(&x->arena, sizeof *x->elsewhere);
  *x->elsewhere = x->attempts[0]->target;
}

static bool pause_then_again(struct exchange *x, uint64_t ms) {
  if (x->req.facts.bound) keep_target(x);                /* what it refers to lives at that account alone */
  return pause_then_pick(x, ms);
}

/* A key that is newer than the refused one, or will be: the same target again, before a policy or the chain is asked. */
static bool renew_then_pick(struct exchange *x) {
  x->renewed = x->renewing = true;
  keep_target(x);
  return pause_then_pick(x, 0);
}

bool state_backoff(struct exchange *x) {
  if (renew_waits(x)) return false;
  x->state = X_PICK;
  return true;
}

/* What weir does when no policy says otherwise: elsewhere at once; the last target's short retry-after is waited for once. */
static bool decide_failure(struct exchange *x) {
  struct attempt *a = x->attempts[0];
  if (x->raw || !(x->route.next_on & 1u << a->fault) || x->tried_count >= MOST_TRIED) return exchange_give_up(x, (struct span){ 0 });
  if (chain_elsewhere(x)) return pause_then_pick(x, 0);
  if (x->at + 1 < x->route.count) {
    x->at++;
    return pause_then_pick(x, 0);
  }
  double after = a->failure.retry_after;
  if (!x->waited && after >= 0 && after <= WAIT_MOST_S && (a->fault == FAULT_RATE_LIMITED || a->fault == FAULT_OVERLOADED)) {
    x->waited = true;
    return pause_then_again(x, (uint64_t)(after * 1000) + worker_random(x->worker) % 100);
  }
  return exchange_give_up(x, (struct span){ 0 });
}

static void remember_health(struct exchange *x, struct attempt *a) {
  uint64_t now = now_ms(x);
  switch (a->fault) {
  case FAULT_RATE_LIMITED: case FAULT_OVERLOADED:
    health_avoid(x->worker->health, &a->target, now, now + (uint64_t)((a->failure.retry_after > 0 ? a->failure.retry_after : 1) * 1000));
    break;
  case FAULT_AUTH: case FAULT_QUOTA: health_avoid(x->worker->health, &a->target, now, now + 30000); break;
  case FAULT_CONNECTION: case FAULT_TLS: case FAULT_TIMEOUT: health_avoid_endpoint(x->worker->health, &a->target, now, now + 2000); break;
  default: break;
  }
}

/* ---- the states */
/* Past the content point nothing can be hidden: the stream ends with its dialect's error event, a whole answer is cut. */
static bool fail_visibly(struct exchange *x) {
  struct attempt *a = x->attempts[0];
  if (!chunks_flush(a)) return false;
  if (x->error_forwarded) {
    x->sink->calls->end(x->sink);
  } else if (a->stream && !x->raw) {
    struct error e = { .status = fault_status(a->fault), .fault = a->fault, .message = arena_copy(&x->arena, span_cstr(a->why ? a->why : "")),
                       .tried = x->tried, .tried_count = x->tried_count };
    if (!e.message.n) e.message = arena_printf(&x->arena, "the stream failed: %s", fault_word(a->fault));
    answer_error(x, &e, -1);
  } else {
    x->sink->calls->cut(x->sink);
  }
  exchange_end(x, span_cstr(fault_word(a->fault)));
  return false;
}

bool state_failed(struct exchange *x) {
  struct attempt *a = x->attempts[0];
  if (x->terminated) {                                   /* the client has everything: the provider's manners do not matter */
    a->fault = FAULT_NONE;
    x->sink->calls->end(x->sink);
    exchange_end(x, SPAN("done"));
    return false;
  }
  note_tried(x, a, a->fault);
  metrics_attempt(x->worker->metrics, a->target.name, a->fault);
  log_info("%s: %.*s failed: %s in %s after %u ms%s%s", x->id, SPAN_FMT(a->target.name), fault_word(a->fault), a->phase ? a->phase : "head",
           (unsigned)(now_ms(x) - a->begun_ms), a->why ? ": " : "", a->why ? a->why : "");
  if (!x->first_fault) {
    x->first_fault = a->fault;
    x->first_status = a->status;
    x->first_retry_after = a->failure.retry_after;
    x->first_why = a->why ? arena_copy(&x->arena, span_cstr(a->why)) : (struct span){ 0 };
  }
  remember_health(x, a);
  fit_failed(x, a);
  if (x->committed) return fail_visibly(x);
  if (!x->failure) x->failure = arena_alloc(&x->arena, sizeof *x->failure);
  *x->failure = (struct policy_fault){ a->fault, a->status, arena_copy(&x->arena, a->failure.code), a->target.name, a->phase ? a->phase : "head", a->failure.retry_after };
  if (x->tried_count < MOST_TRIED && renew_wanted(x, a)) return renew_then_pick(x);
  if (exchange_has(x, HOOK_FAILURE)) {
    x->state = X_ON_FAILURE;
    return true;
  }
  return decide_failure(x);
}

bool state_on_failure(struct exchange *x) {
  struct attempt *a = x->attempts[0];
  struct policy_subject s = { .req = &x->req, .attempt = &a->view, .fault = x->failure };
  if (!exchange_hook(x, HOOK_FAILURE, &s) || exchange_denied(x)) return false;
  const struct decision *d = &x->run->decision;
  if (x->raw && d->kind != DECIDE_FAIL) return exchange_give_up(x, (struct span){ 0 });
  switch (d->kind) {
  case DECIDE_RETRY: {
    if (x->tried_count >= MOST_TRIED) return exchange_give_up(x, (struct span){ 0 });
    double after = d->retry_after >= 0 ? d->retry_after : a->failure.retry_after;         /* the policy's, the provider's, weir's own */
    return pause_then_again(x, after >= 0 ? (uint64_t)(after * 1000) : route_backoff_ms((unsigned)x->tried_count, worker_random(x->worker)));
  }
  case DECIDE_NEXT:
    if (++x->at >= x->route.count || x->tried_count >= MOST_TRIED) return exchange_give_up(x, (struct span){ 0 });
    return pause_then_pick(x, 0);
  case DECIDE_FAIL: return exchange_give_up(x, arena_copy(&x->arena, d->message));
  default: return decide_failure(x);
  }
}
