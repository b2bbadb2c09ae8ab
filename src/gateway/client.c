/* client.c: an accepted socket: requests in, one after the other, and their answers out. */
#include "attempt.h"
#include "client.h"
#include "worker.h"
#include <poll.h>
#include <stdio.h>

enum {
  LET_GO_S = 5,                       /* an idle connection, while a successor has the listener already */
  PIPELINE_MOST = 64 * 1024,          /* requests that wait behind the one being served */
  DIRECT_FROM = 16 * 1024,            /* a body with more than this to come is received in place */
  SMALL_BODY = 16 * 1024,             /* up to here a body's memory is not worth keeping for the next one */
  HEAD_MORE = 1024,                   /* what is usually kept of a request beside its head: one block holds both */
  COUNTS_MORE = 512,                  /* and of its budgets */
  LINGER_MS = 1000, LINGER_MOST = 1 << 20,     /* RFC 9112 9.6 */
  LEAST_RATE = 16 * 1024,             /* bytes a second that a reader of what is left of an answer takes at least */
  LOOP_BUFFER = 16384,
};

static void read_on(struct client *c);
static void pump_waiting(struct client *c);

static const struct conf *conf_of(const struct client *c) { return c->worker->gen->conf; }
static double setting(const struct client *c, enum setting s) { return conf_setting(conf_of(c), NULL, NULL, s); }

/* ---- the clock: armed lazily, since most requests are over long before it matters */
static void clock_set(struct client *c, double seconds) {
  struct loop *l = c->sock.loop;
  c->due_ms = l->now_ms + (uint64_t)(seconds * 1000);
  if (!timer_armed(&c->timer) || c->timer.due_ms > c->due_ms) timer_set(&l->wheel, &c->timer, c->due_ms);
}

static void clock_run(struct timer *t) {
  struct client *c = container(t, struct client, timer);
  struct loop *l = c->sock.loop;
  if ((c->state == CLIENT_BUSY && c->exchange) || c->state == CLIENT_CLOSED) return;      /* armed again afterwards */
  if (c->due_ms > l->now_ms) { timer_set(&l->wheel, t, c->due_ms); return; }
  switch (c->state) {
  case CLIENT_HEAD: client_refuse(c, 408, "the request head took too long"); return;
  case CLIENT_BODY: client_refuse(c, 408, "the request body took too long"); return;
  default: client_close(c);
  }
}

/* ---- bytes out */
static void mark_dirty(struct client *c) {
  if (c->dirty || c->state == CLIENT_CLOSED) return;
  c->dirty = true;
  c->next_dirty = c->worker->dirty;
  c->worker->dirty = c;
}

static struct buf *out_of(struct client *c) {
  if (!c->out.p) c->out = worker_buf(c->worker);
  mark_dirty(c);
  return &c->out;
}

static size_t waiting(const struct client *c) { return buf_size(&c->out) + buf_size(&c->flying); }

/* Between exchanges: a slow reader of the last answer gets its time, one that stopped reading is let go. */
static void rest_clock(struct client *c) { clock_set(c, setting(c, SET_CLIENT_IDLE) + (double)(waiting(c) / LEAST_RATE)); }

static void linger(struct client *c) {
  c->state = CLIENT_LINGER;
  c->sock.loop->calls->shutdown(c->sock.loop, c->sock.fd, SHUT_WR);
  if (c->half_closed) { client_close(c); return; }
  clock_set(c, LINGER_MS / 1000.0);
  if (!c->pumping) buf_free(&c->in);                     /* else it is being walked through */
  read_on(c);
}

static void discard(struct client *c, size_t n) {
  c->lingered += n;
  if (c->lingered > LINGER_MOST) client_close(c);
  else read_on(c);
}

static void sent(struct op *op, int result, struct span data, bool more) {
  struct client *c = container(op, struct client, sock.send.op);
  (void)data;
  (void)more;
  worker_buf_back(c->worker, &c->flying);
  if (result < 0) { client_close(c); return; }
  if (buf_size(&c->out)) { mark_dirty(c); return; }
  if (c->state == CLIENT_LINGER) return;
  if (c->ended) {
    if (!c->keep_alive) linger(c);
    else pump_waiting(c);
    return;
  }
  if (c->exchange) exchange_drained(c->exchange);
}

void client_flush(struct client *c) {
  c->dirty = false;
  if (c->state == CLIENT_CLOSED || op_busy(&c->sock.send.op) || !buf_size(&c->out)) return;
  c->flying = c->out;
  c->out = (struct buf){ 0 };
  struct span s = buf_span(&c->flying);
  struct iovec iov = { (void *)s.p, s.n };
  c->sock.send.op.done = sent;
  /* In the middle of an answer nothing waits for this send: the loop may sleep before it tells of its end. */
  c->sock.send.lazy = !c->ended && c->exchange && !(c->exchange->attempts[0] && c->exchange->attempts[0]->call.paused);
  c->sock.loop->calls->send(c->sock.loop, &c->sock.send, c->sock.fd, &iov, 1);
}

/* ---- the sink */
static struct client *client_of(const struct sink *s) { return container((struct sink *)s, struct client, sink); }

static void sink_start(struct sink *s, int status, struct span headers, int64_t length) {
  struct client *c = client_of(s);
  struct buf *b = out_of(c);
  http_write_status(b, status);
  buf_add(b, headers);
  c->chunked = false;
  if (status == 204 || (status == 304 && length < 0)) {}
  else if (length >= 0) http_write_header_u64(b, SPAN("content-length"), (uint64_t)length);
  else if (c->minor0) c->keep_alive = false;
  else {
    c->chunked = true;
    buf_add(b, SPAN("transfer-encoding: chunked\r\n"));
  }
  if (c->state != CLIENT_BUSY || c->worker->draining) c->keep_alive = false;   /* body not read: it cannot be reused */
  if (!c->keep_alive) buf_add(b, SPAN("connection: close\r\n"));
  else if (c->minor0) buf_add(b, SPAN("connection: keep-alive\r\n"));
  http_write_end(b);
}

static void sink_write(struct sink *s, struct span body) {
  struct client *c = client_of(s);
  if (!body.n || (c->exchange && span_eq(c->exchange->req.method, SPAN("HEAD")))) return;
  struct buf *b = out_of(c);
  if (c->chunked) http_write_chunk(b, body);
  else buf_add(b, body);
}

static void sink_end(struct sink *s) {
  struct client *c = client_of(s);
  if (c->chunked && !(c->exchange && span_eq(c->exchange->req.method, SPAN("HEAD")))) http_write_last_chunk(out_of(c));
  c->ended = true;
}

/* Ends the connection where the answer broke off: what was written still goes out, a clean end does not. */
static void sink_cut(struct sink *s) {
  struct client *c = client_of(s);
  c->keep_alive = false;
  c->ended = true;
}

static size_t sink_waiting(const struct sink *s) { return waiting(client_of(s)); }

static const struct sink_calls client_sink = { sink_start, sink_write, sink_end, sink_cut, sink_waiting };

/* ---- refusals of what is no request at all */
void client_refuse(struct client *c, int status, const char *message) {
  struct exchange *x = c->exchange;
  c->keep_alive = false;
  if (!x) {
    x = exchange_new(c->worker, &c->sink, c);
    c->exchange = x;
  }
  c->ended = c->chunked = false;
  exchange_fail(x, status, SPAN("bad_request"), (struct span){ 0 }, message, NULL);
}

/* ---- bytes in */
static void arm_body_memory(struct client *c, struct exchange *x) {
  size_t length = (size_t)c->body.left;
  if (c->body.framing != HTTP_LENGTH || !length) return;
  if (length <= SMALL_BODY) {
    x->body_memory = worker_block(c->worker, length);
  } else {
    x->body_memory = worker_body(c->worker, length, &x->body_memory_cap);
    if (!x->body_memory) return;
  }
  x->body = span_of(x->body_memory, 0);
  x->body_cap = length;
}

static bool body_add(struct client *c, struct exchange *x, struct span piece) {
  if (x->body_size + piece.n > x->body_cap) {            /* chunked: grows, never past max_body */
    size_t cap = x->body_cap ? x->body_cap * 2 : 8192;
    while (cap < x->body_size + piece.n) cap *= 2;
    char *grown = worker_body(c->worker, cap, &cap);
    if (!grown) return false;
    if (x->body_size) memcpy(grown, x->body.p, x->body_size);
    exchange_body_drop(x);
    x->body_memory = grown;
    x->body_memory_cap = cap;
    x->body_cap = cap;
    x->body.p = grown;
  }
  memcpy((char *)x->body.p + x->body_size, piece.p, piece.n);
  x->body_size += piece.n;
  clock_set(c, setting(c, SET_CLIENT_IDLE));
  return true;
}

static void body_complete(struct client *c) {
  struct exchange *x = c->exchange;
  c->state = CLIENT_BUSY;
  if (x->raw) { exchange_body(x, (struct span){ 0 }, true); return; }
  x->body.n = x->body_size;
  x->body_done = true;
  exchange_begin(x);
}

static size_t body_step(struct client *c, struct span in) {
  struct exchange *x = c->exchange;
  size_t used = 0;
  while (c->state == CLIENT_BODY) {
    if (x->raw && !exchange_body_room(x)) return used;
    struct span piece = { 0 };
    struct step s = http_body_feed(&c->body, span_from(in, used), &piece);
    used += s.used;
    if (s.kind == STEP_MORE) return used;
    if (s.kind == STEP_BAD) { client_refuse(c, 400, "broken chunked framing in the request body"); return used; }
    if (s.kind == STEP_DONE) { body_complete(c); return used; }
    if (x->raw) {
      clock_set(c, setting(c, SET_CLIENT_IDLE));
      exchange_body(x, piece, false);
      if (c->exchange != x) return used;                 /* it was answered before its body ended */
    } else if (c->body.total > setting(c, SET_MAX_BODY)) {
      client_refuse(c, 413, "the request body is larger than max_body");
    } else if (!body_add(c, x, piece)) {
      client_refuse(c, 503, "no memory for the request body");
    }
  }
  return used;
}

static bool method_has_body(struct span m) {
  return span_eq(m, SPAN("POST")) || span_eq(m, SPAN("PUT")) || span_eq(m, SPAN("PATCH"));
}

/* What the head alone can be refused for. */
static bool head_acceptable(struct client *c, const struct http_head *h, bool whole) {
  if (worker_full(c->worker)) {
    client_refuse(c, 503, "no memory for another request: weir holds as much as `memory` allows");
  } else if (h->upgrade) {
    client_refuse(c, 501, "Upgrade is not supported: weir speaks HTTP/1.1 with event streams");
  } else if (whole && method_has_body(h->method) && h->framing == HTTP_NO_BODY) {
    client_refuse(c, 411, "a request body with Content-Length or chunked framing is needed");
  } else if (whole && h->framing == HTTP_LENGTH && (double)h->length > setting(c, SET_MAX_BODY)) {
    client_refuse(c, 413, "the request body is larger than max_body");
  } else {
    return true;
  }
  return false;
}

static void head_understood(struct client *c, struct exchange *x, const struct http_head *h) {
  c->minor0 = h->minor == 0;
  c->keep_alive = h->keep_alive;
  c->ended = c->chunked = false;
  arena_room(&x->arena, http_head_kept(h) + HEAD_MORE + (policy_counts(x->gen->vms[x->worker->number]) ? COUNTS_MORE : 0));
  x->head = http_head_keep(h, &x->arena);
  x->req.method = x->head->method;
  peer_choose(x);
  request_asked(x);
  bool empty = h->framing == HTTP_NO_BODY || (h->framing == HTTP_LENGTH && !h->length);
  c->state = empty ? CLIENT_BUSY : CLIENT_BODY;
  bool whole = x->asked || request_is_metered(x, h);
  if (cors_preflight(x) || !admit_caller(x) || !head_acceptable(c, h, whole)) return;
  http_body_init(&c->body, h);
  clock_set(c, setting(c, SET_CLIENT_IDLE));
  if (whole && !empty) {
    if (h->expect_continue) buf_add(out_of(c), SPAN("HTTP/1.1 100 Continue\r\n\r\n"));
    x->state = X_READING;
    arm_body_memory(c, x);
    if (c->body.framing == HTTP_LENGTH && !x->body_cap) client_refuse(c, 503, "no memory for the request body");
    return;
  }
  x->body_done = empty;
  if (!whole && h->expect_continue && !empty) buf_add(out_of(c), SPAN("HTTP/1.1 100 Continue\r\n\r\n"));
  exchange_begin(x);
}

/* What may stand before the first request of a connection. True: there is none, or no more of it. */
static bool first_bytes(struct client *c, struct span window, size_t *used) {
  enum peer_start start = peer_header(c, window, used);
  switch (start) {
  case PEER_MORE: return false;
  case PEER_PLAIN: break;
  case PEER_TOLD:
    c->state = CLIENT_IDLE;                              /* a request is not under way by that */
    clock_set(c, setting(c, SET_CLIENT_IDLE));
    break;
  case PEER_STRANGER:
  case PEER_BROKEN:
    *used = window.n;
    client_refuse(c, 400, start == PEER_BROKEN ? "the PROXY header is broken" : "a PROXY header from an address that trusted_proxies does not name");
    break;
  }
  c->fresh = false;
  return true;
}

static size_t head_step(struct client *c, struct span window) {
  if (!window.n) return 0;
  if (c->state == CLIENT_IDLE) {
    c->state = CLIENT_HEAD;
    c->scanned = 0;
    c->minor0 = false;
    clock_set(c, setting(c, SET_HEADER_TIME));
  }
  size_t before = 0;
  if (c->fresh && (!first_bytes(c, window, &before) || before)) return before;
  size_t size = http_head_end(window, &c->scanned), most = (size_t)setting(c, SET_MAX_HEAD);
  if (!size && window.n <= most) return 0;
  if (!size || size > most) {
    client_refuse(c, 431, "the request head is larger than max_head");
    return window.n;
  }
  struct exchange *x = exchange_new(c->worker, &c->sink, c);
  c->exchange = x;
  enum http_error e = http_read_request(span_of(window.p, size), c->worker->head);
  if (e != HTTP_OK) client_refuse(c, http_error_status(e), http_error_text(e));
  else head_understood(c, x, c->worker->head);
  return size;
}

/* Goes through a window of bytes as far as the state allows; gives what was used. */
static size_t pump(struct client *c, struct span window) {
  size_t used = 0;
  c->pumping = true;
  for (;;) {
    struct span rest = span_from(window, used);
    enum client_state before = c->state;
    size_t n = 0;
    if (c->state == CLIENT_IDLE || c->state == CLIENT_HEAD) {
      if (waiting(c) > SINK_HIGH) break;                 /* answers pile up: no further request for now */
      n = head_step(c, rest);
    } else if (c->state == CLIENT_BODY) {
      n = body_step(c, rest);
    } else {
      break;
    }
    used += n;
    if (!n && c->state == before) break;
  }
  c->pumping = false;
  return used;
}

static void pump_waiting(struct client *c) {
  if (c->pumping) return;
  if (buf_size(&c->in)) {
    size_t used = pump(c, buf_span(&c->in));
    if (c->state == CLIENT_CLOSED) return;
    buf_consume(&c->in, used);
    if (!buf_size(&c->in)) buf_free(&c->in);
  }
  read_on(c);
}

static void left(struct client *c) {
  c->half_closed = true;
  client_close(c);
}

static void watched(struct op *op, int result, struct span data, bool more) {
  struct client *c = container(op, struct client, sock.watch);
  (void)data;
  (void)more;
  if (result < 0 || (result & (POLLRDHUP | POLLHUP | POLLERR))) left(c);
}

static void received(struct op *op, int result, struct span data, bool more) {
  struct client *c = container(op, struct client, sock.recv);
  (void)more;
  if (result <= 0) { left(c); return; }
  if (c->state == CLIENT_LINGER) { discard(c, data.n); return; }
  if (buf_size(&c->in) || c->state == CLIENT_BUSY) {
    buf_add(&c->in, data);
    pump_waiting(c);
    return;
  }
  size_t used = pump(c, data);
  if (c->state == CLIENT_CLOSED) return;
  if (used < data.n) buf_add(&c->in, span_from(data, used));
  read_on(c);
}

/* A large body of known length goes straight to where it will stay. */
static void received_body(struct op *op, int result, struct span data, bool more) {
  struct client *c = container(op, struct client, sock.recv);
  struct exchange *x = c->lent;
  (void)data;
  (void)more;
  c->lent = NULL;
  exchange_unpin(x);
  if (result <= 0) { left(c); return; }
  if (c->state != CLIENT_BODY) { discard(c, (size_t)result); return; }   /* refused meanwhile: x may be gone */
  x->body_size += (size_t)result;
  c->body.left -= (uint64_t)result;
  c->body.total += (uint64_t)result;
  clock_set(c, setting(c, SET_CLIENT_IDLE));
  if (!c->body.left) body_complete(c);
  if (c->state != CLIENT_CLOSED) read_on(c);
}

/* The one place that asks for more: never while the bytes could not be used, and always while a leaving
   client has to be seen. */
static void read_on(struct client *c) {
  struct loop *l = c->sock.loop;
  if (c->state == CLIENT_CLOSED || op_busy(&c->sock.recv)) return;
  struct exchange *x = c->exchange;
  if (c->state == CLIENT_BODY && x && !x->raw && x->body_cap && c->body.framing == HTTP_LENGTH && c->body.left > DIRECT_FROM) {
    c->sock.recv.done = received_body;
    c->lent = x;
    exchange_pin(x);
    l->calls->recv_into(l, &c->sock.recv, c->sock.fd, (char *)x->body.p + x->body_size, (size_t)c->body.left);
    return;
  }
  bool full = (c->state == CLIENT_BODY && x && x->raw && !exchange_body_room(x)) ||
              (c->state != CLIENT_LINGER && buf_size(&c->in) > PIPELINE_MOST);
  if (full) {
    if (!op_busy(&c->sock.watch)) {
      c->sock.watch.done = watched;
      l->calls->poll(l, &c->sock.watch, c->sock.fd, POLLRDHUP);
    }
    return;
  }
  c->sock.recv.done = received;
  l->calls->recv(l, &c->sock.recv, c->sock.fd, c->state == CLIENT_BODY);
}

void client_read_on(struct client *c) { pump_waiting(c); }

void client_next(struct client *c) {
  c->exchange = NULL;
  if (c->state == CLIENT_CLOSED) return;
  bool drained = c->worker->draining && !c->worker->gateway->handed_over;
  if (!c->keep_alive || c->state != CLIENT_BUSY || drained) {
    c->keep_alive = false;
    c->ended = true;
    if (!waiting(c)) { linger(c); return; }
    c->state = CLIENT_BUSY;                              /* `sent` lingers */
    rest_clock(c);
    return;
  }
  c->state = CLIENT_IDLE;
  rest_clock(c);
  if (c->worker->draining && !waiting(c)) clock_set(c, LET_GO_S);        /* its answer's head came before the drain and said that it may go on */
  pump_waiting(c);
}

/* What was asked is still answered; what waits for its next request is not waited for. */
void client_drain(struct client *c) {
  if (!c->worker->gateway->handed_over) c->keep_alive = false;
  if (c->state != CLIENT_IDLE) return;
  if (c->worker->gateway->handed_over) {                 /* its next request may be on the way, its first one is */
    if (!c->fresh && !waiting(c)) clock_set(c, LET_GO_S);
    return;
  }
  if (waiting(c)) c->state = CLIENT_BUSY;                /* `sent` lingers */
  else client_close(c);
}

/* ---- life */
static void closed(struct sock *s) {
  struct client *c = container(s, struct client, sock);
  struct worker *w = c->worker;
  *c->link = c->next;
  if (c->next) c->next->link = c->link;
  if (c->lent) exchange_unpin(c->lent);                  /* the kernel has let go of its body */
  buf_free(&c->in);
  worker_buf_back(w, &c->out);
  worker_buf_back(w, &c->flying);
  __atomic_sub_fetch(&w->open_clients, 1, __ATOMIC_RELAXED);
  c->next = w->spare_clients;
  w->spare_clients = c;
}

void client_close(struct client *c) {
  if (c->state == CLIENT_CLOSED) return;
  c->state = CLIENT_CLOSED;
  timer_stop(&c->sock.loop->wheel, &c->timer);
  if (c->dirty) {
    struct client **at = &c->worker->dirty;
    while (*at && *at != c) at = &(*at)->next_dirty;
    if (*at) *at = c->next_dirty;
    c->dirty = false;
  }
  if (c->exchange) exchange_gone(c->exchange);
  c->exchange = NULL;
  sock_close(&c->sock, closed);
}

struct client *client_open(struct worker *w, int fd, struct span ip) {
  struct client *c = w->spare_clients;
  if (c) w->spare_clients = c->next;
  else c = mem_alloc(sizeof *c);
  memset(c, 0, sizeof *c);
  c->worker = w;
  c->sock.loop = w->loop;
  c->sock.fd = fd;
  c->sink.calls = &client_sink;
  c->timer.done = clock_run;
  c->fresh = true;
  snprintf(c->ip, sizeof c->ip, "%.*s", SPAN_FMT(ip));
  c->next = w->clients;
  c->link = &w->clients;
  if (c->next) c->next->link = &c->next;
  w->clients = c;
  c->state = CLIENT_IDLE;
  clock_set(c, setting(c, SET_CLIENT_IDLE));
  read_on(c);
  return c;
}
