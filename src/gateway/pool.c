/* pool.c: connections to providers: found or made, kept, closed. */
#include "call.h"
#include "making.h"
#include "worker.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

enum {
  AGAIN_MS = 50,                      /* between two looks for a free descriptor */
  SEAL_AHEAD = 64 * 1024,             /* ciphertext made before the socket took what is there */
  SEAL_SLICE = 16 * 1024,
};

/* A question to the resolver outlives whoever asked. */
struct resolve_wait {
  struct resolve_ask ask;
  struct worker *worker;
  struct upstream *upstream;          /* NULL: it went away meanwhile */
};

static void connect_next(struct upstream *u);
static void upstream_ready(struct upstream *u);

/* ---- pools */
static struct pool *pool_new(struct worker *w, struct span key, struct span host, struct span tls_name, uint16_t port, bool tls,
                             struct tls_trust *trust, const struct proxy *via) {
  struct pool *p = mem_zero(sizeof *p);
  char name[300];
  int n = snprintf(name, sizeof name, "%.*s:%u", SPAN_FMT(host), port);
  p->worker = w;
  p->key = span_of(mem_cstr(key), key.n);
  p->host = mem_cstr(host);
  p->tls_name = mem_cstr(tls_name);
  p->name = mem_cstr(span_of(name, (size_t)n));
  p->port = port;
  p->dial = mem_cstr(via ? span_cstr(via->host) : host);
  p->dial_port = via ? via->port : port;
  if (via) p->via = mem_cstr(via->name);
  if (via && via->auth_line) p->proxy_auth = secret_ref(via->auth_line);
  p->tls = tls;
  p->trust = trust ? tls_trust_ref(trust) : NULL;
  p->idle_s = 55;
  p->idle_gauge = metrics_connections(w->metrics, span_cstr(p->name), "idle");
  p->busy_gauge = metrics_connections(w->metrics, span_cstr(p->name), "busy");
  table_set(&w->pools, p->key, p);
  siblings_join(p);
  return p;
}

struct pool *pool_of(struct worker *w, const struct endpoint *e, const struct conf *c, const struct provider *provider) {
  struct pool *p = table_get(&w->pools, e->pool_key);
  const struct proxy *via = w->simulated ? NULL : e->proxy;              /* its peers are the providers themselves */
  if (!p) p = pool_new(w, e->pool_key, e->url.host, e->tls_name, e->url.port, e->url.tls, e->trust, via);
  if (p->trust != e->trust) {                            /* a newer generation loaded the roots again */
    if (p->trust) tls_trust_drop(p->trust);
    p->trust = e->trust ? tls_trust_ref(e->trust) : NULL;
  }
  p->idle_s = conf_setting(c, NULL, provider, SET_IDLE_POOL);
  p->warm = (unsigned)conf_setting(c, NULL, provider, SET_WARM);
  return p;
}

struct pool *pool_for_url(struct worker *w, const struct url *u, const struct proxy *via, struct tls_trust *trust, struct arena *scratch) {
  struct span over = via ? via->key : (struct span){ 0 };
  struct span key = arena_printf(scratch, "fetch %s %.*s:%u|%.*s", u->tls ? "https" : "http", SPAN_FMT(u->host), u->port, SPAN_FMT(over));
  struct pool *p = table_get(&w->pools, key);
  return p ? p : pool_new(w, key, u->host, u->host, u->port, u->tls, trust, via);
}

void pool_close(struct pool *p) {
  p->warm = 0;
  timer_stop(&p->worker->loop->wheel, &p->warm_timer);
  for (struct upstream *u = p->all, *next; u; u = next) {
    next = u->all_next;
    if (!u->call) upstream_close(u);
  }
}

void pool_free(struct pool *p) {
  check(!p->all);
  siblings_leave(p);
  mem_free((char *)p->key.p);
  mem_free(p->host);
  mem_free(p->tls_name);
  mem_free(p->name);
  mem_free(p->via);
  mem_free(p->dial);
  secret_drop(p->proxy_auth);
  if (p->trust) tls_trust_drop(p->trust);
  mem_free(p);
}

/* ---- counts, read by other workers */
static void idle_add(struct pool *p, int n) {
  __atomic_store_n(&p->idle_count, p->idle_count + (unsigned)n, __ATOMIC_RELAXED);
  metrics_move(p->idle_gauge, n);
}

static void busy_add(struct pool *p, int n) {
  __atomic_store_n(&p->busy_count, p->busy_count + (unsigned)n, __ATOMIC_RELAXED);
  metrics_move(p->busy_gauge, n);
}

static void idle_unlink(struct upstream *u) {
  if (!u->link) return;
  *u->link = u->next;
  if (u->next) u->next->link = u->link;
  u->link = NULL;
  idle_add(u->pool, -1);
}

static void all_unlink(struct upstream *u) {
  *u->all_link = u->all_next;
  if (u->all_next) u->all_next->all_link = u->all_link;
}

static void all_link(struct pool *p, struct upstream *u) {
  u->pool = p;
  u->all_next = p->all;
  u->all_link = &p->all;
  if (u->all_next) u->all_next->all_link = &u->all_next;
  p->all = u;
}

/* ---- a connection's end */
static void making_free(struct upstream *u) {
  struct making *m = u->making;
  if (!m) return;
  u->making = NULL;
  buf_free(&m->job.in);
  buf_free(&m->job.out);
  mem_free(m->addresses);
  mem_free(m);
}

static void upstream_free(struct upstream *u) {
  if (u->shake_running || u->sock.closing || u->sock.fd >= 0) return;    /* each of them calls here again; the descriptor goes first */
  if (u->unpin) u->unpin(u->unpin_arg);
  all_unlink(u);
  if (u->tls) tls_free(u->tls);
  making_free(u);
  buf_free(&u->in);
  buf_free(&u->plain);
  worker_buf_back(u->pool->worker, &u->out);
  worker_buf_back(u->pool->worker, &u->flying);
  mem_free(u);
}

static void socket_closed(struct sock *s) {
  struct upstream *u = container(s, struct upstream, sock);
  s->fd = -1;
  upstream_free(u);
}

static void dirty_unlink(struct upstream *u) {
  if (!u->dirty) return;
  struct upstream **at = &u->pool->worker->dirty_up;
  while (*at && *at != u) at = &(*at)->next_dirty;
  if (*at) *at = u->next_dirty;
  u->dirty = false;
}

void upstream_close(struct upstream *u) {
  if (u->state == UP_CLOSED) return;
  struct worker *w = u->pool->worker;
  if (u->state == UP_BUSY) busy_add(u->pool, -1);
  if (u->state == UP_LENDING) lend_broken(u);
  else lend_forget(u);
  turn_leave(u);
  warm_over(u, false);
  idle_unlink(u);
  dirty_unlink(u);
  timer_stop(&w->loop->wheel, &u->timer);
  u->state = UP_CLOSED;
  u->call = NULL;
  turn_over(u);
  if (u->making && u->making->resolving) u->making->resolving->upstream = NULL;
  if (u->making) u->making->resolving = NULL;
  if (u->sock.fd >= 0) sock_close(&u->sock, socket_closed);
  else upstream_free(u);
}

/* ---- failing before the request could be sent */
static void failed_timer(struct timer *t) {
  struct upstream *u = container(t, struct upstream, timer);
  struct call *c = u->call;
  enum fault f = u->making->fail;
  char why[sizeof u->making->why];
  memcpy(why, u->making->why, sizeof why);
  if (!c) log_info("warming a connection to %s failed: %s", u->pool->name, why);
  upstream_close(u);
  if (c) {
    c->conn = NULL;
    call_connect_failed(c, f, why);
  }
}

void upstream_fail(struct upstream *u, enum fault f, const char *why) {
  turn_over(u);
  u->making->fail = f;
  if (why != u->making->why) snprintf(u->making->why, sizeof u->making->why, "%s", why);
  u->state = UP_FAILED;
  u->timer.done = failed_timer;
  timer_set(&u->pool->worker->loop->wheel, &u->timer, u->pool->worker->loop->now_ms);
}

/* ---- connecting: each address gets its share of what is left of the connect clock */
static void connect_timer(struct timer *t) {
  struct upstream *u = container(t, struct upstream, timer);
  u->making->timed_out = true;
  u->sock.loop->calls->cancel(u->sock.loop, &u->sock.watch);
}

static void shake_timer(struct timer *t) {
  struct upstream *u = container(t, struct upstream, timer);
  upstream_fail(u, FAULT_TLS, "the TLS handshake took too long");
}

static void shake_submit(struct upstream *u) {
  u->shake_running = true;
  tls_pool_submit(u->pool->worker->gateway->shakes, &u->making->job);
}

static void shake_done(struct tls_job *j) {              /* on the handshake thread */
  struct making *m = container(j, struct making, job);
  loop_post(m->upstream->sock.loop, &m->shaken);
}

static void shaken_run(struct message *m) {
  struct upstream *u = container(m, struct making, shaken)->upstream;
  u->shake_running = false;
  if (u->state == UP_CLOSED) { upstream_free(u); return; }
  if (u->state != UP_SHAKING) return;
  if (buf_size(&u->making->job.out)) {
    buf_add(&u->out, buf_span(&u->making->job.out));
    buf_clear(&u->making->job.out);
    if (!u->dirty) {
      u->dirty = true;
      u->next_dirty = u->pool->worker->dirty_up;
      u->pool->worker->dirty_up = u;
    }
  }
  if (u->making->job.step.kind == STEP_BAD) {
    enum tls_failure f = tls_failure_of(u->tls);
    char why[96];
    if (f == TLS_ALERT) snprintf(why, sizeof why, "TLS: the peer sent alert %u", tls_alert_of(u->tls));
    else snprintf(why, sizeof why, "TLS: %s", tls_failure_text(f));
    u->pool->session.valid = false;
    upstream_fail(u, FAULT_TLS, why);
    return;
  }
  if (u->making->job.step.kind == STEP_DONE) {
    tls_session_save(u->tls, &u->pool->session);
    buf_add(&u->in, buf_span(&u->making->job.in));
    upstream_ready(u);
    return;
  }
  if (buf_size(&u->making->job.in) && u->making->job.step.used) { shake_submit(u); return; }
  upstream_read(u, false);
}

void upstream_shake(struct upstream *u, struct span in) {
  struct pool *p = u->pool;
  u->state = UP_SHAKING;
  u->tls = tls_new(p->trust, span_cstr(p->tls_name), &p->session);
  u->making->job.tls = u->tls;
  u->making->job.done = shake_done;
  buf_add(&u->making->job.in, in);
  u->making->shaken.run = shaken_run;
  double seconds = u->call ? u->call->tls_s : 5;
  u->timer.done = shake_timer;
  timer_set(&u->sock.loop->wheel, &u->timer, u->sock.loop->now_ms + (uint64_t)(seconds * 1000));
  shake_submit(u);
}

static void connect_why(struct upstream *u, const char *what) {
  const struct pool *p = u->pool;
  snprintf(u->making->why, sizeof u->making->why, "connect to %s%s: %s", p->via ? "the proxy " : "", p->via ? p->via : p->name, what);
}

static void connect_done(struct op *op, int result, struct span data, bool more) {
  struct upstream *u = container(op, struct upstream, sock.watch);
  (void)data;
  (void)more;
  timer_stop(&u->sock.loop->wheel, &u->timer);
  if (result >= 0) {
    if (u->pool->tls && u->pool->via) tunnel_start(u);
    else if (u->pool->tls) upstream_shake(u, (struct span){ 0 });
    else upstream_ready(u);
    return;
  }
  u->sock.loop->calls->close(u->sock.loop, u->sock.fd);
  u->sock.fd = -1;
  connect_why(u, u->making->timed_out ? "timed out" : io_result_text(result));
  connect_next(u);
}

static void connect_again(struct timer *t) { connect_next(container(t, struct upstream, timer)); }

/* No descriptor is free: an idle connection is let go for it, and until the connect clock is over others may close too. */
static void connect_later(struct upstream *u) {
  struct worker *w = u->pool->worker;
  struct loop *l = w->loop;
  worker_short(w, "connecting to a provider");
  if (l->now_ms + AGAIN_MS > u->making->phase_due_ms) { upstream_fail(u, FAULT_OVERLOADED, "weir is out of file descriptors"); return; }
  pool_let_one_go(w);
  u->making->address_at--;
  u->state = UP_CONNECTING;
  u->timer.done = connect_again;
  timer_set(&l->wheel, &u->timer, l->now_ms + AGAIN_MS);
}

static void connect_next(struct upstream *u) {
  struct loop *l = u->sock.loop;
  while (u->making->address_at < u->making->address_count) {
    struct address *a = &u->making->addresses[u->making->address_at++];
    int fd = l->calls->socket(l, a->to.ss_family);
    if (fd < 0) {
      connect_why(u, io_result_text(fd));
      if (fd == IO_NO_DESCRIPTORS) { connect_later(u); return; }
      continue;
    }
    uint64_t left = u->making->phase_due_ms > l->now_ms ? u->making->phase_due_ms - l->now_ms : 0;
    if (!left) { l->calls->close(l, fd); break; }
    u->sock.fd = fd;
    u->state = UP_CONNECTING;
    u->making->timed_out = false;
    u->timer.done = connect_timer;
    timer_set(&l->wheel, &u->timer, l->now_ms + left / (uint64_t)(u->making->address_count - u->making->address_at + 1) + 1);
    u->sock.watch.done = connect_done;
    l->calls->connect(l, &u->sock.watch, fd, (struct sockaddr *)&a->to, a->n);
    return;
  }
  upstream_fail(u, u->making->timed_out ? FAULT_TIMEOUT : FAULT_CONNECTION, u->making->why[0] ? u->making->why : "connect timed out");
}

static bool literal_address(const char *host, uint16_t port, struct address *out) {
  struct sockaddr_in *v4 = (struct sockaddr_in *)&out->to;
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->to;
  memset(&out->to, 0, sizeof out->to);
  if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    out->n = sizeof *v4;
    return true;
  }
  if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    out->n = sizeof *v6;
    return true;
  }
  return false;
}

static void resolved(struct resolve_ask *a) {
  struct resolve_wait *wait = container(a, struct resolve_wait, ask);
  wait->worker->asking--;
  struct upstream *u = wait->upstream;
  if (u) {
    struct pool *p = u->pool;
    u->making->resolving = NULL;
    timer_stop(&u->sock.loop->wheel, &u->timer);
    int n = a->found ? resolver_cached(p->worker->gateway->resolver, span_cstr(p->dial), p->dial_port, u->making->addresses) : 0;
    u->making->address_count = n > 0 ? n : 0;
    if (n > 0) {
      connect_next(u);
    } else {
      char why[112];
      snprintf(why, sizeof why, "DNS: %s", a->why[0] ? a->why : "no address");
      upstream_fail(u, FAULT_CONNECTION, why);
    }
  }
  mem_free(wait);
}

/* The question goes on without us: its answer will be in the cache. */
static void lookup_timer(struct timer *t) {
  struct upstream *u = container(t, struct upstream, timer);
  if (u->making->resolving) u->making->resolving->upstream = NULL;
  u->making->resolving = NULL;
  upstream_fail(u, FAULT_TIMEOUT, "DNS: the name look-up took too long");
}

void upstream_resolve(struct upstream *u) {
  struct pool *p = u->pool;
  struct resolver *r = p->worker->gateway->resolver;
  u->making->addresses = mem_alloc(RESOLVE_MOST * sizeof *u->making->addresses);
  const char *host = p->worker->simulated ? "127.0.0.1" : p->dial;       /* a simulation matches by port alone */
  u->making->address_count = literal_address(host, p->dial_port, &u->making->addresses[0]) ? 1
                     : r ? resolver_cached(r, span_cstr(p->dial), p->dial_port, u->making->addresses) : -1;
  if (u->making->address_count > 0) { connect_next(u); return; }
  if (u->making->address_count < 0) {
    char why[112];
    snprintf(why, sizeof why, "DNS: no address for %.80s", p->dial);
    upstream_fail(u, FAULT_CONNECTION, why);
    return;
  }
  struct resolve_wait *wait = mem_zero(sizeof *wait);
  wait->upstream = u;
  wait->worker = p->worker;
  p->worker->asking++;
  wait->ask.done = resolved;
  u->making->resolving = wait;
  u->timer.done = lookup_timer;
  timer_set(&u->sock.loop->wheel, &u->timer, u->making->phase_due_ms);
  resolver_ask(r, &wait->ask, p->worker->loop, span_cstr(p->dial));
}

static struct upstream *upstream_new(struct pool *p, struct call *c) {
  struct upstream *u = mem_zero(sizeof *u);
  u->making = mem_zero(sizeof *u->making);
  u->making->upstream = u;
  u->call = c;
  u->sock.loop = p->worker->loop;
  u->sock.fd = -1;
  all_link(p, u);
  u->making->phase_due_ms = p->worker->loop->now_ms + (uint64_t)((c ? c->connect_s : 3) * 1000);
  if (c) c->conn = u;
  return u;
}

void upstream_warm(struct pool *p) {
  struct upstream *u = upstream_new(p, NULL);
  u->warming = true;
  upstream_open(u);
}

static void upstream_ready(struct upstream *u) {
  struct pool *p = u->pool;
  timer_stop(&u->sock.loop->wheel, &u->timer);
  making_free(u);
  warm_over(u, true);
  turn_over(u);
  if (!u->call) {
    upstream_idle(u);
    keep_warm(p);
    return;
  }
  u->state = UP_BUSY;
  busy_add(p, 1);
  upstream_read(u, false);
  call_connected(u->call, u);
  keep_warm(p);
}

/* ---- lending: see lend.c */
void upstream_unlist(struct upstream *u) {
  idle_unlink(u);
  timer_stop(&u->sock.loop->wheel, &u->timer);
}

void upstream_part(struct upstream *u) {
  all_unlink(u);
  u->pool = NULL;
  u->sock.loop = NULL;
}

void upstream_adopt(struct pool *p, struct upstream *u) {
  all_link(p, u);
  u->sock.loop = p->worker->loop;
}

void upstream_discard(struct upstream *u) {
  close(u->sock.fd);
  u->sock.fd = -1;
  u->state = UP_CLOSED;
  upstream_free(u);
}

void upstream_serve(struct upstream *u, struct call *c) {
  struct pool *p = u->pool;
  u->state = UP_BUSY;
  busy_add(p, 1);
  u->call = c;
  c->conn = u;
  c->reused = true;
  upstream_read(u, false);
  call_connected(c, u);
  keep_warm(p);
}

void pool_lease(struct pool *p, struct call *c, bool fresh) {
  p->used_ms = p->worker->loop->now_ms;
  struct upstream *u = fresh ? NULL : p->idle;
  if (u) {
    idle_unlink(u);
    upstream_serve(u, c);
    return;
  }
  u = upstream_new(p, c);
  if (fresh || !lend_ask(u)) upstream_open(u);
}

static void idle_timer(struct timer *t) {
  struct upstream *u = container(t, struct upstream, timer);
  struct pool *p = u->pool;
  if (u->state != UP_IDLE) return;                       /* armed again when it becomes idle */
  uint64_t due = u->idle_since_ms + (uint64_t)(p->idle_s * 1000);
  if (due > u->sock.loop->now_ms) { timer_set(&u->sock.loop->wheel, &u->timer, due); return; }
  upstream_close(u);
  keep_warm(p);
}

void upstream_idle(struct upstream *u) {
  struct pool *p = u->pool;
  struct loop *l = u->sock.loop;
  if (u->state == UP_BUSY) busy_add(p, -1);
  u->call = NULL;
  u->uses++;
  if (p->worker->draining || u->junk) { u->state = UP_IDLE; upstream_close(u); return; }
  u->state = UP_IDLE;
  if (!buf_size(&u->out)) worker_buf_back(p->worker, &u->out);            /* else the end of a handshake made ahead still has to go */
  struct upstream *waits = turn_for_any(p);
  if (waits) {
    struct call *c = waits->call;
    waits->call = NULL;
    c->conn = NULL;
    upstream_close(waits);
    upstream_serve(u, c);
    return;
  }
  u->idle_since_ms = l->now_ms;
  u->next = p->idle;
  u->link = &p->idle;
  if (u->next) u->next->link = &u->next;
  p->idle = u;
  idle_add(p, 1);
  if (!timer_armed(&u->timer)) {
    u->timer.done = idle_timer;
    timer_set(&l->wheel, &u->timer, l->now_ms + (uint64_t)(p->idle_s * 1000));
  }
  upstream_read(u, false);                               /* sees the peer close it */
}

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

size_t upstream_waiting(const struct upstream *u) { return buf_size(&u->out) + buf_size(&u->flying); }

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
    buf_add(&u->making->job.in, data);
    if (!u->shake_running) shake_submit(u);
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
