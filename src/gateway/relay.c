/* relay.c: a stream from provider to client, event by event.
   Before the content point events are held, so that a failure stays invisible; after it each one is forwarded in the
   bytes it came in, unless a policy changed it. The unfinished event is always held back: an error event of weir's own
   could not be put behind half an event. */
#include "attempt.h"
#include "exchange.h"
#include "foreign.h"
#include "story.h"
#include "worker.h"

enum { HELD_MOST = 64 * 1024 };       /* lifecycle events before content */

static void gap_clock(struct attempt *a) {
  struct exchange *x = a->exchange;
  double s = exchange_setting(x, SET_BETWEEN_EVENTS);
  uint64_t due = x->worker->loop->now_ms + (uint64_t)(s * 1000);
  if (a->deadline_ms && a->deadline_ms < due && !x->committed) due = a->deadline_ms;
  if (!x->terminated) a->phase_due_ms = due;             /* the timer is armed already and looks again when it fires */
  exchange_clock(x);
}

static void note_facts(struct exchange *x, const struct event_facts *f) {
  if (f->has_usage) {
    usage_merge(&x->usage, &f->usage);
    x->usage_reported = true;
    x->usage_whole |= event_usage_whole(x->req.operation, &x->attempts[0]->events, f);
  }
  if (f->model.n && !x->served_model.n) x->served_model = arena_copy(&x->arena, f->model);
  x->deltas += f->deltas;
  x->delta_bytes += f->delta_bytes;
}

static void backpressure(struct attempt *a) {
  if (a->exchange->sink->calls->waiting(a->exchange->sink) > SINK_HIGH) call_pause(&a->call);
}

/* Weir asked for the usage, its client did not: the chunk that tells it is not passed on, and "usage":null goes from the others. What
   is left is the stream of a call without the option, byte for byte. */
static void usage_traces_out(struct attempt *a, struct sse_event *e, const struct event_facts *f) {
  struct arena *scratch = &a->exchange->worker->scratch;
  struct span cut = f->usage_null, data = sse_data(e, scratch);
  if (f->usage_only) {
    *e = (struct sse_event){ .raw = span_of(e->raw.p, 0), .data = data, .data_lines = 1 };    /* on_chunk may still look at it */
    return;
  }
  size_t before = (size_t)(cut.p - data.p), behind = data.n - before - cut.n;
  char *rest = arena_alloc(scratch, before + behind);
  memcpy(rest, data.p, before);
  memcpy(rest + before, cut.p + cut.n, behind);
  struct buf out = { 0 };
  if (e->data_lines == 1) {
    size_t head = (size_t)(e->data.p - e->raw.p);
    buf_add(&out, span_of(e->raw.p, head));
    buf_add(&out, span_of(rest, before + behind));
    buf_add(&out, span_from(e->raw, head + e->data.n));
    e->raw = arena_copy(scratch, buf_span(&out));
    e->data = span_of(e->raw.p + head, before + behind);
  } else {
    sse_write(&out, e->name, span_of(rest, before + behind));
    e->raw = arena_copy(scratch, buf_span(&out));
    e->data = span_of(rest, before + behind);
  }
  buf_free(&out);
}

/* ---- after the content point */
/* What a packed stream says goes to the client in the provider's own bytes, as they come. */
static void relay_write(struct attempt *a, struct span s) {
  if (!a->packed) exchange_write(a->exchange, s);
}

/* Forwards the whole events at the start of `window`; gives the bytes used, or SIZE_MAX when the exchange has ended
   or failed, after which nothing of it may be touched. */
static size_t relay_events(struct attempt *a, struct span window) {
  struct exchange *x = a->exchange;
  struct worker *w = x->worker;
  bool judged = exchange_has(x, HOOK_CHUNK), at_once = judged && !a->foreign && event_gives_deltas(x->req.operation);
  size_t at = 0, sent = 0;
  struct sse_event e;
  struct step s;
  while ((s = sse_feed(&a->sse, span_from(window, at), &e)).kind == STEP_EVENT) {
    struct event_facts f;
    size_t count = CHUNKS_UNREAD;
    if (at_once && e.data_lines == 1) count = event_read_deltas(x->req.operation, &a->events, &e, &w->scratch, &f, worker_deltas(w));
    else event_read(x->req.operation, &a->events, &e, &w->scratch, &f);
    foreign_facts(a, &f);
    note_facts(x, &f);
    if (f.class == EVENT_ERROR && f.fault == FAULT_PROTOCOL && !x->terminated) {      /* not the provider's error event: unreadable */
      relay_write(a, span_of(window.p + sent, at - sent));
      char *why = f.message.n ? arena_cstr(&a->arena, f.message) : NULL;
      attempt_fault(a, FAULT_PROTOCOL, "stream", why ? why : "an event of the stream is not valid JSON");
      return SIZE_MAX;
    }
    if (!x->terminated && !meter_room(a, &f)) {                            /* the money for more of it is not there */
      relay_write(a, span_of(window.p + sent, at - sent));
      log_info("%s: ended at its reservation", x->id);
      chunks_stop(a, SPAN("length"), SPAN("the budget is spent"), 429, SPAN("capped"));
      return SIZE_MAX;
    }
    a->told_end |= f.terminal;
    if ((f.terminal || f.class == EVENT_ERROR) && !x->terminated && !judged && answer_traced(x)) {
      relay_write(a, span_of(window.p + sent, at - sent));
      sent = at;
      answer_trace(x);
    }
    bool other = a->usage_asked && (f.usage_only || f.usage_null.n);
    if (other) {
      relay_write(a, span_of(window.p + sent, at - sent));
      usage_traces_out(a, &e, &f);
      sent = at + s.used;
    }
    at += s.used;
    if (!judged) {
      x->events = a->events;
      if (other) relay_write(a, e.raw);
    } else if (!x->terminated) {
      if (!chunks_event(a, &e, &f, other ? CHUNKS_UNREAD : count)) return SIZE_MAX;
      sent = at;
    } else {                                             /* behind the end no policy is asked, so nothing that says something is sent */
      if (!f.real && f.class != EVENT_ERROR) relay_write(a, e.raw);
      sent = at;
    }
    if (f.class == EVENT_ERROR && !x->terminated) {      /* said in the provider's own words: forwarded, and the end of it */
      relay_write(a, span_of(window.p + sent, at - sent));
      x->error_forwarded = true;
      attempt_fault(a, f.fault ? f.fault : FAULT_OVERLOADED, "stream", "the provider reported an error in its stream");
      return SIZE_MAX;
    }
    if (!f.terminal && !x->terminated && foreign_ended(a)) {
      if (!chunks_flush(a)) return SIZE_MAX;
      exchange_terminated(x);
    }
    if (f.terminal && !x->terminated) exchange_terminated(x);
    arena_reset(&w->scratch);
  }
  relay_write(a, span_of(window.p + sent, at - sent));
  if (s.kind == STEP_BAD) {
    attempt_fault(a, FAULT_PROTOCOL, "stream", "an event of the stream is too large");
    return SIZE_MAX;
  }
  return at;
}

/* ---- before it */
/* Holds events until one is real, and on while a policy wants to see more of them. Gives the bytes used; SIZE_MAX: the attempt has
   failed; *ready: the start can be judged. */
static size_t hold_events(struct attempt *a, struct span window, bool *ready) {
  struct exchange *x = a->exchange;
  bool more = start_wanting(a);                          /* content was seen: it may end now */
  size_t at = 0;
  struct sse_event e;
  struct step s = { 0 };
  while (!*ready && (s = sse_feed(&a->sse, span_from(window, at), &e)).kind == STEP_EVENT) {
    struct event_facts f;
    event_read(x->req.operation, &a->events, &e, &x->worker->scratch, &f);
    foreign_facts(a, &f);
    enum fault fault = f.class == EVENT_ERROR ? (f.fault ? f.fault : FAULT_OVERLOADED)
                       : !more && !f.real && (f.finish.n || f.terminal) ? (f.fault ? f.fault : FAULT_EMPTY) : FAULT_NONE;
    bool final = f.class != EVENT_ERROR && exchange_final(x, fault);
    if (fault && !final) {
      if (f.has_usage) note_facts(x, &f);
      a->failure.retry_after = f.retry_after > 0 ? f.retry_after : -1;
      a->failure.code = arena_copy(&a->arena, f.code);
      bool account = fault == FAULT_AUTH || fault == FAULT_QUOTA;          /* what the provider says of weir's own account stays here */
      char *why = f.message.n && !account ? arena_cstr(&a->arena, f.message) : NULL;
      arena_reset(&x->worker->scratch);
      attempt_fault(a, fault, more ? "stream" : "first_event", why ? why : f.class == EVENT_ERROR ? "the stream began with an error" : "the stream ended without content");
      return SIZE_MAX;
    }
    note_facts(x, &f);
    buf_add(&a->held, e.raw);
    at += s.used;
    if (more || f.real || final) start_add(a, &e, &f);
    a->spent = !meter_room(a, &f);                       /* it is judged with what is there, and ends behind it */
    *ready = a->spent || (more ? start_enough(a) : f.real || final);
    arena_reset(&x->worker->scratch);
  }
  if (!*ready && (s.kind == STEP_BAD || (!more && buf_size(&a->held) > HELD_MOST))) {
    attempt_fault(a, FAULT_PROTOCOL, "first_event", s.kind == STEP_BAD ? "an event of the stream is too large" : "too much came before any content");
    return SIZE_MAX;
  }
  return at;
}

static void keep_rest(struct attempt *a, bool own, struct span data, size_t used) {
  if (own) {
    buf_consume(&a->window, used);
    if (!buf_size(&a->window)) buf_free(&a->window);     /* an idle stream holds no buffer */
  } else if (used < data.n) {
    buf_add(&a->window, span_from(data, used));
  }
}

static void start_ready(struct attempt *a) {
  struct exchange *x = a->exchange;
  a->judging = true;
  a->phase_due_ms = a->hold_due_ms = 0;
  if (!exchange_has(x, HOOK_RESPONSE)) return;
  if (!a->response) a->response = arena_alloc(&a->arena, sizeof *a->response);
  *a->response = (struct policy_response){ .status = a->status, .head = a->head, .model = x->served_model, .usage = x->usage };
  start_show(a, a->response);
}

/* on_response wants more of the start. True when that is there already: it is asked again. */
bool relay_hold(struct attempt *a, const struct hold_wish *wish, bool *accepted) {
  bool ready = false;
  *accepted = a->spent || !start_hold(a, wish);
  if (*accepted) return true;
  a->judging = false;
  size_t used = buf_size(&a->window) ? hold_events(a, buf_span(&a->window), &ready) : 0;
  if (used == SIZE_MAX) return false;
  keep_rest(a, true, (struct span){ 0 }, used);
  if (ready) {
    start_ready(a);
    return true;
  }
  if (a->ended) { relay_end(a); return false; }
  if (a->cut) { relay_cut(a, a->cut); return false; }
  gap_clock(a);
  call_resume(&a->call);
  return false;
}

/* What a policy has asked to hold has waited long enough. False: the attempt may be gone. */
bool relay_time(struct attempt *a) {
  struct exchange *x = a->exchange;
  a->hold_due_ms = 0;
  if (x->committed) return chunks_time(a);
  if (a->judging) return true;
  exchange_clock(x);
  start_ready(a);
  exchange_answer_ready(x);
  return false;
}

void relay_feed(struct attempt *a, struct span data) {
  struct exchange *x = a->exchange;
  bool own = buf_size(&a->window) > 0;
  if (own || a->judging) buf_add(&a->window, data);
  if (a->judging) { call_pause(&a->call); return; }
  struct span window = own ? buf_span(&a->window) : data;
  if (x->committed) {
    size_t used = relay_events(a, window);
    if (used == SIZE_MAX) return;
    keep_rest(a, own, data, used);
    if (a->cut) { relay_cut(a, a->cut); return; }        /* seen behind these bytes */
    if (used) gap_clock(a);
    backpressure(a);
    return;
  }
  bool ready = false;
  size_t used = hold_events(a, window, &ready);
  if (used == SIZE_MAX) return;
  keep_rest(a, own, data, used);
  if (!ready) {
    if (a->cut) relay_cut(a, a->cut);
    else if (start_wanting(a)) gap_clock(a);
    return;
  }
  start_ready(a);
  exchange_answer_ready(x);
}

/* Past the content point the request cannot be needed again, unless a policy may still read it. */
static void forget_request(struct exchange *x) {
  bool read_still = x->pins || !x->attempts[0]->call.sent_all;           /* TLS takes it piece by piece */
  if (read_still || exchange_has(x, HOOK_CHUNK) || exchange_has(x, HOOK_DONE)) return;
  if (x->worker->gateway->ledger) story_prompt(x);       /* its record tells it */
  exchange_body_drop(x);
  x->body = x->req.body = (struct span){ 0 };
  x->req.member_count = 0;
}

/* Nor is what the attempt has kept for its judgement: thousands of streams are open. */
static void forget_answer(struct attempt *a) {
  if (a->why || a->cut || a->view.charges || answer_traced(a->exchange)) return; /* how it was cut, budgets of its own, what a trace tells lie there */
  a->head = NULL;
  a->response = NULL;
  a->own = a->view.edits = NULL;
  a->view.headers = NULL;
  arena_end(&a->arena);
}

void relay_release(struct attempt *a) {
  struct exchange *x = a->exchange;
  struct worker *w = x->worker;
  a->judging = false;
  x->committed = true;
  x->heartbeat_ms = 0;
  x->first_event_ns = w->loop->now_ns - x->begun_ns;
  metrics_first_event(w->metrics, x->first_event_ns);
  metrics_streams(w->metrics, 1);
  x->counted_open = true;
  x->deltas = x->delta_bytes = 0;                        /* counted again as they are released */
  answer_start(x, a->status, a->head, -1);
  if (a->packed) exchange_write(x, buf_span(&a->raw));
  buf_free(&a->raw);
  forget_request(x);
  gap_clock(a);
  /* What was held goes the way of every other event, so that on_chunk sees it at its release. */
  struct buf rest = a->window;
  a->window = a->held;
  a->held = (struct buf){ 0 };
  a->sse = (struct sse){ 0 };
  a->events = (struct event_state){ 0 };
  buf_add(&a->window, buf_span(&rest));
  buf_free(&rest);
  start_free(a->start);
  a->start = NULL;
  exchange_run_back(x);
  forget_answer(a);
  size_t used = relay_events(a, buf_span(&a->window));
  if (used == SIZE_MAX) return;
  keep_rest(a, true, (struct span){ 0 }, used);
  if (a->ended) { relay_end(a); return; }
  if (a->cut) { relay_cut(a, a->cut); return; }
  call_resume(&a->call);
  backpressure(a);
}

/* What the end of the provider's bytes says in the client's dialect goes the way of all events. False: the attempt may be gone, or is
   being judged. */
static bool last_words(struct attempt *a) {
  struct exchange *x = a->exchange;
  struct buf last = { 0 };
  bool ready = false;
  if (!foreign_last(a, &last)) return true;
  buf_add(&a->window, buf_span(&last));
  buf_free(&last);
  if (a->judging) return false;
  size_t used = x->committed ? relay_events(a, buf_span(&a->window)) : hold_events(a, buf_span(&a->window), &ready);
  if (used == SIZE_MAX) return false;
  keep_rest(a, true, (struct span){ 0 }, used);
  if (!ready) return true;
  start_ready(a);
  exchange_answer_ready(x);
  return false;
}

void relay_end(struct attempt *a) {
  struct exchange *x = a->exchange;
  if (!last_words(a) || a->judging) return;              /* looked at again when the held start is released */
  if (a->cut && !x->terminated) { relay_cut(a, a->cut); return; }
  if (!x->committed) {
    bool some = start_wanting(a), any = buf_size(&a->held) + buf_size(&a->window);
    attempt_fault(a, any ? FAULT_PROTOCOL : FAULT_EMPTY, some ? "stream" : "first_event", some ? "the stream ended without its terminator" : "the stream ended before any content");
    return;
  }
  if (!x->terminated && !event_may_end(x->req.operation, &a->events)) {
    attempt_fault(a, FAULT_PROTOCOL, "stream", "the stream ended without its terminator");
    return;
  }
  if (!x->terminated && !chunks_flush(a)) return;        /* no event of the end came, for which what is held would have gone out */
  x->terminated = true;
  if (!a->chunks) relay_write(a, buf_span(&a->window));   /* what stood behind the last whole event, if anything */
  x->sink->calls->end(x->sink);
  exchange_end(x, SPAN("done"));
}

void relay_cut(struct attempt *a, enum fault f) {
  a->cut = f;
  if (a->judging) return;
  attempt_fault(a, f, a->exchange->committed || start_wanting(a) ? "stream" : "first_event", a->why);
}
