/* call.c: one HTTP request and its response over a leased connection. */
#include "call.h"
#include "pool.h"
#include "worker.h"

enum {
  LONGEST_HEAD = 128 * 1024,          /* of a provider's response */
  STALE_WITHIN_MS = 1000,             /* a reused connection that ends so soon after the request was stale */
};

void call_start(struct call *c) {
  c->conn = NULL;
  c->sent = c->sent_all = c->reused = c->retried = c->got_bytes = c->got_head = c->ended = c->paused = c->unclosed = false;
  pool_lease(c->pool, c, c->streamed);                   /* a streamed body cannot be sent again: no connection that may be stale */
}

/* The request goes out whole again on a retry: head bytes and parts are kept as they were given. */
void call_connected(struct call *c, struct upstream *u) {
  c->got_bytes = c->got_head = c->sent_all = false;
  c->sent = true;
  c->sent_ms = c->worker->loop->now_ms;
  upstream_send(u, buf_span(&c->head_bytes), c->body, c->body_parts);
  if (c->streamed && c->calls->room) c->calls->room(c);
}

void call_connect_failed(struct call *c, enum fault f, const char *why) {
  c->ended = true;
  c->calls->fail(c, f, "connect", why);
}

void call_sent(struct call *c) {
  if (c->streamed) {
    if (c->calls->room) c->calls->room(c);
    return;
  }
  c->sent_all = true;
  c->sent_ms = c->worker->loop->now_ms;
}

void call_write(struct call *c, struct span piece) {
  c->retried = true;                                     /* a piece that went cannot be sent again */
  if (c->conn) upstream_send(c->conn, piece, NULL, 0);
}

void call_written(struct call *c) {
  c->streamed = false;
  if (!call_waiting(c)) call_sent(c);                    /* else the connection says when the last piece is out */
}

size_t call_waiting(const struct call *c) { return c->conn ? upstream_waiting(c->conn) : 0; }

void call_pause(struct call *c) { c->paused = true; }

void call_resume(struct call *c) {
  if (!c->paused) return;
  c->paused = false;
  if (c->conn && c->conn->state == UP_BUSY) upstream_read(c->conn, true);
}

void call_stop(struct call *c) {
  struct upstream *u = c->conn;
  c->conn = NULL;
  c->ended = true;
  if (u) upstream_close(u);
}

static void call_fail(struct call *c, enum fault f, const char *why) {
  call_stop(c);
  c->calls->fail(c, f, c->got_head ? "stream" : "head", why);
}

/* The response is whole: the connection is idle again before the owner hears of it. */
static void call_finish(struct call *c, bool reusable) {
  struct upstream *u = c->conn;
  c->conn = NULL;
  c->ended = true;
  if (reusable) upstream_idle(u);
  else upstream_close(u);
  c->calls->end(c);
}

static bool still(struct call *c, struct upstream *u) { return u->call == c && u->state == UP_BUSY; }

/* Whether anything came behind a whole answer: the rest of what was read, a further record, or what the socket still holds. Whoever
   leased the connection next would take it for an answer. */
static bool more_behind(const struct upstream *u, struct span rest) { return rest.n || u->behind || u->sock.recv.ready; }

/* Feeds the body decoder; the owner may stop the call in any callback, after which c is not touched. */
static void feed_body(struct call *c, struct upstream *u, struct span in, bool keep_alive) {
  for (;;) {
    struct span piece = { 0 };
    struct step s = http_body_feed(&c->decoder, in, &piece);
    in = span_from(in, s.used);
    switch (s.kind) {
    case STEP_EVENT:
      c->calls->body(c, piece);
      if (!still(c, u)) return;
      continue;
    case STEP_MORE:
      return;
    case STEP_DONE:
      call_finish(c, keep_alive && c->sent_all && !more_behind(u, in));
      return;
    case STEP_BAD:
      call_fail(c, FAULT_PROTOCOL, "broken chunked framing");
      return;
    }
  }
}

static void take_head(struct call *c, struct upstream *u, struct span window, size_t size) {
  struct http_head *h = c->worker->head;
  enum http_error e = http_read_response(span_of(window.p, size), c->method, h);
  struct span rest = span_from(window, size);
  u->scanned = 0;
  if (e != HTTP_OK) { call_fail(c, FAULT_PROTOCOL, http_error_text(e)); return; }
  if (h->status == 101) { call_fail(c, FAULT_PROTOCOL, "the provider switched protocols unasked"); return; }
  if (h->status < 200) {                                 /* 100 Continue, 103 Early Hints: not the answer */
    call_bytes(c, rest);
    return;
  }
  c->got_head = true;
  worker_buf_back(c->worker, &c->head_bytes);            /* no retry can need it any more */
  bool keep_alive = h->keep_alive && h->framing != HTTP_UNTIL_CLOSE;
  http_body_init(&c->decoder, h);
  u->junk = !keep_alive;
  c->calls->head(c, h);
  if (still(c, u)) feed_body(c, u, rest, keep_alive);
}

void call_bytes(struct call *c, struct span bytes) {
  struct upstream *u = c->conn;
  if (bytes.n) c->got_bytes = true;
  if (c->got_head) { feed_body(c, u, bytes, !u->junk); return; }
  struct buf kept = { 0 };
  struct span window = bytes;
  if (buf_size(&u->plain)) {
    buf_add(&u->plain, bytes);
    kept = u->plain;                                     /* taken out: callbacks may end the connection */
    u->plain = (struct buf){ 0 };
    window = buf_span(&kept);
  }
  size_t size = http_head_end(window, &u->scanned);
  if (size) {
    take_head(c, u, window, size);
    buf_free(&kept);
  } else if (window.n > LONGEST_HEAD) {
    buf_free(&kept);
    call_fail(c, FAULT_PROTOCOL, "the response head is too large");
  } else if (kept.p) {
    u->plain = kept;
  } else {
    buf_add(&u->plain, bytes);
  }
}

/* A reused connection that dies before a byte of the response was probably closed by the peer while it lay
   idle: one fresh try, if the request was not fully written or the end came at once. */
static bool was_stale(const struct call *c) {
  return c->reused && !c->retried && !c->got_bytes &&
         (!c->sent_all || c->worker->loop->now_ms - c->sent_ms <= STALE_WITHIN_MS);
}

void call_peer_ended(struct call *c, int result) {
  if (c->got_head && result == IO_END && http_body_may_end(&c->decoder)) {
    call_finish(c, false);
    return;
  }
  if (was_stale(c)) {
    struct upstream *u = c->conn;
    c->conn = NULL;
    c->retried = true;
    c->reused = false;
    upstream_close(u);
    pool_lease(c->pool, c, true);
    return;
  }
  call_fail(c, FAULT_CONNECTION, result == IO_END ? "the connection ended early" : "the connection was reset");
}
