/* upstream.c: the bytes of a connection to a provider, plain or in records. */
#include "call.h"
#include "pool.h"
#include "worker.h"

enum {
  SEAL_AHEAD = 64 * 1024,             /* ciphertext made before the socket took what is there */
  SEAL_SLICE = 16 * 1024,
};

/* ---- bytes out */
static void mark_dirty(struct upstream *u) {
  if (u->dirty) return;
  u->dirty = true;
  u->next_dirty = u->pool->worker->dirty_up;
  u->pool->worker->dirty_up = u;
}

static void out_add(struct upstream *u, struct span bytes) {
  if (!u->out.p) u->out = worker_buf(u->pool->worker);
  if (u->tls) tls_seal(u->tls, bytes, &u->out);
  else buf_add(&u->out, bytes);
}

/* TLS: encrypts what is left of the lent parts, a bounded piece ahead of the socket. */
static void seal_parts(struct upstream *u) {
  while (u->part_count && buf_size(&u->out) < SEAL_AHEAD) {
    struct iovec *p = &u->parts[0];
    size_t n = p->iov_len < SEAL_SLICE ? p->iov_len : SEAL_SLICE;
    out_add(u, span_of(p->iov_base, n));
    p->iov_base = (char *)p->iov_base + n;
    p->iov_len -= n;
    if (!p->iov_len) memmove(u->parts, u->parts + 1, sizeof *p * (size_t)--u->part_count);
  }
}

void upstream_send(struct upstream *u, struct span bytes, const struct iovec *parts, int count) {
  if (bytes.n) out_add(u, bytes);
  for (int i = 0; i < count; i++)
    if (parts[i].iov_len) u->parts[u->part_count++] = parts[i];
  if (u->tls) seal_parts(u);
  mark_dirty(u);
}

static void send_done(struct op *op, int result, struct span data, bool more) {
  struct upstream *u = container(op, struct upstream, sock.send.op);
  (void)data;
  (void)more;
  worker_buf_back(u->pool->worker, &u->flying);
  if (u->unpin) {
    u->unpin(u->unpin_arg);
    u->unpin = NULL;
  }
  if (result < 0) {                                      /* the reader hears of it as well, with what came before */
    u->part_count = 0;
    if (!u->shake_running) upstream_read(u, true);       /* else when the handshake asks: the other thread has its input */
    return;
  }
  if (u->tls) seal_parts(u);
  if (buf_size(&u->out)) { mark_dirty(u); return; }
  if (u->call && u->state == UP_BUSY) call_sent(u->call);
}

void upstream_flush(struct upstream *u) {
  u->dirty = false;
  if (op_busy(&u->sock.send.op) || u->state == UP_CLOSED || u->sock.fd < 0) return;
  struct iovec iov[SEND_PARTS];
  int n = 0;
  if (buf_size(&u->out)) {
    struct buf full = u->out;
    u->out = (struct buf){ 0 };
    u->flying = full;
    struct span s = buf_span(&u->flying);
    iov[n++] = (struct iovec){ (void *)s.p, s.n };
  }
  if (!u->tls && u->part_count) {
    for (int i = 0; i < u->part_count; i++) iov[n++] = u->parts[i];
    u->part_count = 0;
    struct call *c = u->call;
    if (c && c->pin) {
      c->pin(c->pin_arg);
      u->unpin = c->unpin;
      u->unpin_arg = c->pin_arg;
    }
  }
  if (!n) return;
  u->sock.send.op.done = send_done;
  u->sock.send.lazy = !u->part_count && !u->unpin && u->call && !u->call->streamed;      /* nothing waits for its end */
  u->sock.loop->calls->send(u->sock.loop, &u->sock.send, u->sock.fd, iov, n);
}

/* ---- bytes in */
static void peer_ended(struct upstream *u, int result) {
  struct call *c = u->call;
  switch (u->state) {
  case UP_BUSY:
    if (c) { call_peer_ended(c, result); return; }
    break;
  case UP_TUNNEL:
    tunnel_ended(u);
    return;
  case UP_SHAKING:
    upstream_fail(u, FAULT_TLS, "TLS: the peer closed the connection during the handshake");
    return;
  case UP_IDLE: {
    struct pool *p = u->pool;
    upstream_close(u);
    keep_warm(p);
    return;
  }
  default: break;
  }
  upstream_close(u);
}

/* Plaintext for whoever leases the connection. False: the connection is no longer to be touched. */
static bool deliver(struct upstream *u, struct span plain) {
  if (!plain.n) return true;
  if (u->state != UP_BUSY || !u->call) {                 /* a server that talks unasked */
    upstream_close(u);
    return false;
  }
  call_bytes(u->call, plain);
  return u->state == UP_BUSY || u->state == UP_IDLE;
}

/* Opens records in place; bytes of an unfinished record are left in u->in. */
static bool open_records(struct upstream *u, char *bytes, size_t n) {
  size_t at = 0;
  while (at < n) {
    struct span plain = { 0 };
    struct step s = tls_open(u->tls, bytes + at, n - at, &plain);
    if (s.kind == STEP_MORE) break;
    at += s.used;
    if (s.kind == STEP_EVENT) {
      u->behind = at < n;
      if (!deliver(u, plain)) return false;
      continue;
    }
    if (s.kind == STEP_DONE) peer_ended(u, IO_END);
    else peer_ended(u, IO_RESET);
    return false;
  }
  if (bytes == u->in.p + u->in.at) {
    buf_consume(&u->in, at);
    if (!buf_size(&u->in)) buf_free(&u->in);             /* an idle stream holds no buffer */
  } else if (at < n) {
    buf_add(&u->in, span_of(bytes + at, n - at));
  }
  return true;
}

static bool take(struct upstream *u, struct span data) {
  if (u->state == UP_TUNNEL) {
    tunnel_bytes(u, data);
    return false;                                        /* it reads on by itself */
  }
  if (u->state == UP_SHAKING) {
    shake_bytes(u, data);
    return false;                                        /* read on when the handshake asks */
  }
  if (!u->tls) return deliver(u, data);
  if (!buf_size(&u->in)) return open_records(u, (char *)data.p, data.n);    /* the loop's buffer is ours to write for this turn */
  buf_add(&u->in, data);
  return open_records(u, u->in.p + u->in.at, buf_size(&u->in));
}

static void recv_done(struct op *op, int result, struct span data, bool more) {
  struct upstream *u = container(op, struct upstream, sock.recv);
  (void)more;
  if (u->state == UP_LENDING) { lend_parted(u, result); return; }
  if (u->state == UP_FAILED) return;                     /* its timer tells the call, and closes it */
  if (result <= 0) {
    if (u->call) u->call->unclosed = u->tls != NULL;
    peer_ended(u, result);
    return;
  }
  if (!take(u, data)) return;
  if (u->state == UP_IDLE || (u->state == UP_BUSY && u->call && !u->call->paused)) upstream_read(u, data.n >= 16384);
}

void upstream_read(struct upstream *u, bool soon) {
  if (op_busy(&u->sock.recv) || u->state == UP_CLOSED || u->sock.fd < 0) return;
  u->sock.recv.done = recv_done;
  u->sock.loop->calls->recv(u->sock.loop, &u->sock.recv, u->sock.fd, soon);
}
