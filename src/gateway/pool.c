/* pool.c: connections to providers: found or made, kept, closed. */
#include "call.h"
#include "making.h"
#include "worker.h"
#include <stdio.h>
#include <unistd.h>

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

void upstream_free(struct upstream *u) {
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
  if (u->making) connect_forget(u->making);
  if (u->sock.fd >= 0) sock_close(&u->sock, socket_closed);
  else upstream_free(u);
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

void upstream_ready(struct upstream *u) {
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

size_t upstream_waiting(const struct upstream *u) { return buf_size(&u->out) + buf_size(&u->flying); }
