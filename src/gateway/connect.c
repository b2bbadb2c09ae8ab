/* connect.c: how a connection to a provider is made: its name, its addresses, its handshake. */
#include "call.h"
#include "making.h"
#include "worker.h"
#include <arpa/inet.h>
#include <stdio.h>

enum { AGAIN_MS = 50 };               /* between two looks for a free descriptor */

/* A question to the resolver outlives whoever asked. */
struct resolve_wait {
  struct resolve_ask ask;
  struct worker *worker;
  struct upstream *upstream;          /* NULL: it went away meanwhile */
};

static void connect_next(struct upstream *u);

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

static void shake_done(struct tls_job *j) {              /* on the handshake thread */
  struct making *m = container(j, struct making, job);
  loop_post(m->upstream->sock.loop, &m->shaken);
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

void shake_bytes(struct upstream *u, struct span data) {
  buf_add(&u->making->job.in, data);
  if (!u->shake_running) shake_submit(u);
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

void connect_forget(struct making *m) {
  if (m->resolving) m->resolving->upstream = NULL;
  m->resolving = NULL;
}
