/* attempt.c: one try at a target: the request composed and sent, the answer taken as far as the content point. */
#include "attempt.h"
#include "client.h"
#include "foreign.h"
#include "pool.h"
#include "worker.h"

enum { FAILURE_MOST = 256 * 1024 };   /* of a refusal's body that is kept */

static const struct call_calls attempt_calls;
static void read_failure(struct attempt *a);

/* ---- clocks */
static void phase_clock(struct attempt *a, enum setting s) {
  a->phase_due_ms = a->exchange->worker->loop->now_ms + (uint64_t)(exchange_setting(a->exchange, s) * 1000);
  if (a->deadline_ms && a->deadline_ms < a->phase_due_ms) a->phase_due_ms = a->deadline_ms;
  exchange_clock(a->exchange);
}

void attempt_timer(struct attempt *a, uint64_t now_ms) {
  struct exchange *x = a->exchange;
  if (x->terminated) {
    x->sink->calls->end(x->sink);
    exchange_end(x, SPAN("done"));
    return;
  }
  if (a->failing) {                                      /* its status already says what it is */
    read_failure(a);
    return;
  }
  if (a->call.paused && !a->judging && (!a->deadline_ms || now_ms < a->deadline_ms)) {   /* the client is slow, not the provider */
    phase_clock(a, SET_BETWEEN_EVENTS);
    return;
  }
  const char *phase = !a->status ? "head" : x->committed ? "stream" : "first_event";
  attempt_fault(a, FAULT_TIMEOUT, phase,
                a->deadline_ms && now_ms >= a->deadline_ms ? "the attempt's deadline is over"
                : !a->status ? "no answer in time" : x->committed ? "no further event in time" : "no first event in time");
}

/* ---- failing */
void attempt_fault(struct attempt *a, enum fault f, const char *phase, const char *why) {
  struct exchange *x = a->exchange;
  if (x->state == X_FAILED || x->state == X_ON_FAILURE || x->state == X_ENDED) return;
  if (x->hook == RUN_WAITS) exchange_wait_over(x);       /* a policy still judges what has just fallen apart */
  a->fault = f;
  a->phase = phase;
  a->why = why ? arena_cstr(&a->arena, span_cstr(why)) : NULL;
  a->phase_due_ms = a->hold_due_ms = 0;
  call_stop(&a->call);
  exchange_attempt_failed(x);
}

void attempt_stop(struct attempt *a) {
  meter_settle(a);
  if (!a->call.ended) call_stop(&a->call);
  worker_buf_back(a->exchange->worker, &a->call.head_bytes);
  worker_buf_back(a->exchange->worker, &a->window);
  buf_free(&a->held);
  buf_free(&a->raw);
  buf_free(&a->plain);
  unpack_free(a->unpack);
  tap_free(a->tap);
  foreign_free(a->foreign);
  start_free(a->start);
  chunks_free(a->chunks);
  struct worker *w = a->exchange->worker;
  arena_reset(&a->arena);
  spare_arena(&a->arena, true);
  a->next_spare = w->spare_attempts;
  w->spare_attempts = a;
}

/* ---- sending */
void attempt_start(struct exchange *x) {
  struct attempt *a = x->attempts[0];
  x->begun++;
  struct call *c = &a->call;
  const struct conf *conf = x->gen->conf;
  c->calls = &attempt_calls;
  c->worker = x->worker;
  c->pool = pool_of(x->worker, a->target.endpoint, conf, a->target.provider);
  c->method = x->req.method;
  c->connect_s = exchange_setting(x, SET_CONNECT);
  c->tls_s = exchange_setting(x, SET_TLS);
  c->pin = exchange_pin;
  c->unpin = exchange_unpin;
  c->pin_arg = x;
  c->streamed = x->raw && (!x->body_done || x->body_chunked || buf_size(&x->prefix));
  c->body_parts = request_compose(x, a, &c->head_bytes, c->body);
  if (!x->tried_count) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    x->overhead_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec - x->worker->loop->now_ns;
  }
  phase_clock(a, !x->req.stream ? SET_HEAD : x->req.facts.reasoning ? SET_FIRST_EVENT_REASONING : SET_FIRST_EVENT);
  call_start(c);
}

/* ---- the answer's head */
static struct attempt *attempt_of(struct call *c) { return container(c, struct attempt, call); }

/* What HEAD and 304 tell is the length of a body that does not come. */
static int64_t told_length(const struct exchange *x, const struct http_head *h) {
  uint64_t n;
  if (h->framing == HTTP_LENGTH) return (int64_t)h->length;
  if (h->framing != HTTP_NO_BODY) return -1;
  if (span_u64(http_header(h, SPAN("content-length")), &n) && n <= INT64_MAX) return (int64_t)n;
  return h->status == 304 || span_eq(x->req.method, SPAN("HEAD")) ? -1 : 0;
}

/* The body goes to the client as it comes, from here on: nothing can be taken back. */
static void flow(struct attempt *a) {
  struct exchange *x = a->exchange;
  const struct http_head *h = a->head;
  a->flowing = true;
  if (x->raw) tap_begin(a);
  x->committed = true;
  x->state = X_STREAMING;
  x->heartbeat_ms = 0;
  answer_start(x, a->status, h, a->unpack && !a->packed ? -1 : told_length(x, h));
  exchange_write(x, buf_span(&a->window));
  worker_buf_back(x->worker, &a->window);
}

/* An encoding that comes although `identity` was asked for. The client gets its bytes as they are, and what stands in them is read beside;
   but decoded where something of weir's own may have to stand among them. One that weir cannot read goes by where nobody reads. False:
   the attempt may be gone. */
static bool take_encoding(struct attempt *a, const struct http_head *h) {
  struct exchange *x = a->exchange;
  struct span e = http_header(h, SPAN("content-encoding"));
  if (x->raw || !e.n || span_ieq(e, SPAN("identity"))) return true;
  bool own = x->started || x->asker || a->foreign || (a->stream && (exchange_has(x, HOOK_CHUNK) || a->usage_asked || x->reservation));
  a->unpack = unpack_new(e);
  a->packed = a->unpack && !own;
  if (a->unpack || a->failing) return true;
  if (own || exchange_has(x, HOOK_RESPONSE)) {
    attempt_fault(a, FAULT_INVALID, "head", "the answer has a content-encoding that weir cannot read");
    return false;
  }
  flow(a);
  return true;
}

static void on_head(struct call *c, const struct http_head *h) {
  struct attempt *a = attempt_of(c);
  struct exchange *x = a->exchange;
  if (h->status == 407 && pool_absolute(c->pool)) {      /* it is weir that the proxy wants something of, not the client */
    attempt_fault(a, FAULT_CONNECTION, "head", arena_printf(&a->arena, "the proxy %s asks for %scredentials (407)", c->pool->via, c->pool->proxy_auth ? "other " : "").p);
    return;
  }
  a->head = http_head_keep(h, &a->arena);
  a->status = h->status;
  struct limits_told limits;
  if (limits_read(h, (double)worker_wall_ms(x->worker) / 1000, &limits)) health_told(x->worker->health, &a->target, x->worker->loop->now_ms, &limits);
  a->failing = !x->raw && (h->status < 200 || h->status > 299);
  a->stream = !x->raw && !a->failing && x->req.stream && event_stream_is(foreign_operation(a), h->content_type);
  if (a->foreign) foreign_head(a);
  if (!a->stream) phase_clock(a, SET_BETWEEN_EVENTS);
  if (!take_encoding(a, h)) return;
  if (x->raw) flow(a);
}

/* ---- its body */
static void whole_piece(struct attempt *a, struct span data) {
  struct exchange *x = a->exchange;
  if (!a->window.p) a->window = worker_buf(x->worker);
  buf_add(&a->window, data);
  bool judged = x->asker || a->foreign || exchange_has(x, HOOK_RESPONSE);
  if (buf_size(&a->window) <= (size_t)exchange_setting(x, judged ? SET_MAX_ANSWER : SET_HOLD_ANSWER)) return;
  if (judged) attempt_fault(a, FAULT_INVALID, "head", "the answer is larger than max_answer");
  else if (x->req.stream) attempt_fault(a, FAULT_INVALID, "head", "the answer is no event stream");
  else flow(a);
}

static void plain_piece(struct attempt *a, struct span data) {
  struct exchange *x = a->exchange;
  struct call *c = &a->call;
  if (a->stream) {
    if (a->foreign) foreign_feed(a, data);
    else relay_feed(a, data);
    return;
  }
  phase_clock(a, SET_BETWEEN_EVENTS);
  if (a->flowing) {
    tap_feed(a, data);
    exchange_write(x, data);
    if (x->sink->calls->waiting(x->sink) > SINK_HIGH) call_pause(c);
  } else if (a->failing) {
    size_t room = FAILURE_MOST - buf_size(&a->window);
    buf_add(&a->window, span_of(data.p, data.n < room ? data.n : room));
    if (data.n > room) a->cut = FAULT_INVALID;           /* too long to be passed on as it is */
  } else {
    whole_piece(a, data);
  }
}

/* One piece holds at most max_answer, as does a whole answer, so that a few bytes cannot become gigabytes. */
static void encoded_piece(struct attempt *a, struct span data) {
  struct exchange *x = a->exchange;
  struct buf plain = { 0 };
  const char *why = NULL;
  size_t most = (size_t)exchange_setting(x, SET_MAX_ANSWER), had = buf_size(&a->plain);
  if (a->flowing && a->packed) { plain_piece(a, data); return; }         /* nobody reads it any more */
  if (!unpack_feed(a->unpack, data, had < most ? most - had : 0, &plain, &why) && !a->failing) {
    attempt_fault(a, FAULT_PROTOCOL, !a->stream ? "head" : x->committed ? "stream" : "first_event", why);
  } else if (!a->packed) {
    if (buf_size(&plain)) plain_piece(a, buf_span(&plain));
  } else if (a->stream) {
    if (x->committed) exchange_write(x, data);
    else buf_add(&a->raw, data);
    if (buf_size(&a->raw) > most) attempt_fault(a, FAULT_PROTOCOL, "first_event", "too much came before any content");
    else if (buf_size(&plain)) relay_feed(a, buf_span(&plain));
  } else {
    buf_add(&a->plain, buf_span(&plain));
    plain_piece(a, data);
  }
  buf_free(&plain);
}

static void on_body(struct call *c, struct span data) {
  struct attempt *a = attempt_of(c);
  if (a->unpack) encoded_piece(a, data);
  else plain_piece(a, data);
}

/* What the answer says, whatever the client gets of it. */
static struct span text_of(const struct attempt *a) { return buf_span(a->packed ? &a->plain : &a->window); }

static void read_failure(struct attempt *a) {
  failure_read(a->target.provider->dialect, a->status, a->head, text_of(a), &a->failure);
  enum fault f = a->failure.fault ? a->failure.fault : FAULT_PROTOCOL;
  attempt_fault(a, f, "head", arena_printf(&a->arena, "status %d", a->status).p);
}

/* A 2xx to a stream request that is no event stream: an error the provider hid in it, or nothing usable. */
static void read_unasked(struct attempt *a) {
  struct span body = text_of(a);
  struct json_error e;
  struct json document;
  if (json_read(body, &document, &e) && json_get(document, SPAN("error")).type > JSON_FALSE)
    failure_read(a->target.provider->dialect, 0, a->head, body, &a->failure);     /* its 2xx says nothing, as in an error event */
  attempt_fault(a, a->failure.fault ? a->failure.fault : body.n ? FAULT_INVALID : FAULT_EMPTY, "head", "the answer is no event stream");
}

static void read_whole(struct attempt *a) {
  struct exchange *x = a->exchange;
  struct span body = text_of(a);
  struct answer_facts f;
  if (a->unpack && !unpack_ended(a->unpack)) { attempt_fault(a, FAULT_PROTOCOL, "head", "the encoded answer is cut short"); return; }
  if (!body.n) { attempt_fault(a, FAULT_EMPTY, "head", "the answer is empty"); return; }
  answer_read(foreign_operation(a), body, &f);
  if (f.has_usage) {
    usage_merge(&x->usage, &f.usage);
    x->usage_reported = x->usage_whole = true;
  }
  if (f.model.n) x->served_model = arena_copy(&x->arena, f.model);
  if (f.fault && !exchange_final(x, f.fault)) {
    attempt_fault(a, f.fault, "head", f.fault == FAULT_INVALID ? "the answer is not what this route answers" : f.fault == FAULT_EMPTY ? "the answer holds nothing" : NULL);
    return;
  }
  if (a->foreign) {
    const char *why = NULL;
    f.finish = arena_copy(&a->arena, f.finish);
    f.model = x->served_model;
    if (!foreign_answer(a, &why)) { attempt_fault(a, FAULT_INVALID, "head", why); return; }
    body = buf_span(&a->window);
  }
  if (exchange_has(x, HOOK_RESPONSE)) {
    struct answer_facts client = f;                      /* policies read it in the client's words */
    if (a->foreign) answer_read(x->req.operation, body, &client);
    a->response = arena_alloc(&a->arena, sizeof *a->response);
    *a->response = (struct policy_response){ .status = a->status, .head = a->head, .body = body, .model = f.model, .finish = client.finish, .usage = f.usage, .done = true };
  }
  a->phase_due_ms = 0;
  exchange_answer_ready(x);
}

static void on_end(struct call *c) {
  struct attempt *a = attempt_of(c);
  struct exchange *x = a->exchange;
  a->ended = true;
  if (a->stream) { relay_end(a); return; }
  if (a->flowing && c->unclosed) {                       /* nothing in it tells whether that was all */
    attempt_fault(a, FAULT_CONNECTION, "stream", "the connection ended without the close of its TLS");
    return;
  }
  if (a->flowing) {
    tap_end(a);
    health_good(x->worker->health, &a->target);
    x->terminated = true;
    x->sink->calls->end(x->sink);
    exchange_end(x, SPAN("done"));
  } else if (a->failing) {
    read_failure(a);
  } else if (x->req.stream) {
    read_unasked(a);
  } else {
    read_whole(a);
  }
}

static void on_fail(struct call *c, enum fault f, const char *phase, const char *why) {
  struct attempt *a = attempt_of(c);
  if (a->stream) {                                       /* words that came in one burst with the cut are delivered first */
    a->why = arena_cstr(&a->arena, span_cstr(why));
    relay_cut(a, f);
    return;
  }
  if (a->failing) {                                      /* its status already says what it is */
    read_failure(a);
    return;
  }
  if (f == FAULT_OVERLOADED) a->failure.retry_after = 1;                 /* weir itself: too much waits already */
  attempt_fault(a, f, a->head ? "stream" : phase, why);
}

/* A streamed request body: what was read goes out once the connection stands, and asks for more. */
static void push_body(struct exchange *x) {
  struct call *c = &x->attempts[0]->call;
  if (!c->conn || c->conn->state != UP_BUSY || !c->streamed) return;
  if (buf_size(&x->prefix)) {
    if (x->body_chunked) {
      struct buf framed = { 0 };
      http_write_chunk(&framed, buf_span(&x->prefix));
      call_write(c, buf_span(&framed));
      buf_free(&framed);
    } else {
      call_write(c, buf_span(&x->prefix));
    }
    buf_free(&x->prefix);
  }
  if (!x->body_done) return;
  if (x->body_chunked) call_write(c, SPAN("0\r\n\r\n"));
  call_written(c);
}

static void on_room(struct call *c) {
  struct exchange *x = attempt_of(c)->exchange;
  push_body(x);
  if (x->client && !x->body_done && x->client->state == CLIENT_BODY) client_read_on(x->client);
}

static const struct call_calls attempt_calls = { on_head, on_body, on_end, on_fail, on_room };

/* ---- accepted */
void attempt_accept(struct attempt *a) {
  struct exchange *x = a->exchange;
  health_good(x->worker->health, &a->target);
  if (a->stream) { relay_release(a); return; }
  struct span body = buf_span(&a->window);
  x->committed = x->terminated = true;
  answer_start(x, a->status, a->head, (int64_t)body.n);
  exchange_write(x, body);
  x->sink->calls->end(x->sink);
  exchange_end(x, SPAN("done"));
}

/* ---- a streamed request body */
void exchange_body(struct exchange *x, struct span data, bool last) {
  buf_add(&x->prefix, data);
  if (last) x->body_done = true;
  if (x->scanning) request_scan(x);
  else if (x->attempts[0] && x->state != X_PICK && x->state != X_ON_ATTEMPT && x->state != X_RESERVE) push_body(x);
}

bool exchange_body_room(const struct exchange *x) {
  const struct attempt *a = x->attempts[0];
  return buf_size(&x->prefix) + (a ? call_waiting(&a->call) : 0) < SINK_HIGH;
}
