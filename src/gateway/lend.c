/* lend.c: what the pools of all workers to one endpoint do for each other: an idle connection of one serves a request of
   another, the connections that are kept warm are counted over all of them, and requests wait for their turn at making one.

   A loan is a message that goes to the worker with idle connections and comes back, with one or without. A connection
   belongs to one thread at any time: its owner first ends the read that waits for it in its own ring, and only what that
   leaves with not a byte read changes hands. The asker waits for a few milliseconds; what comes later is idle with it. */
#include "call.h"
#include "making.h"
#include "worker.h"

enum {
  LOAN_WAIT_MS = 20,                  /* a lender that is busy for longer is not waited for */
  OPENING_MOST = 64,                  /* TLS connections to one endpoint that are made at a time, over all workers */
  WARM_FOR_MS = 300000,               /* a pool that was not used for so long is not kept warm */
  WARM_AGAIN_MS = 1000, WARM_AGAIN_MOST = 6,   /* pause after a failure, doubled so many times at most */
};

struct siblings {
  struct siblings *next;
  struct span key;
  unsigned members;                   /* under the lock */
  unsigned warming;                   /* atomic: connections of all that are made ahead */
  struct pool *of[];                  /* atomic, by worker; NULL: none */
};
static pthread_mutex_t siblings_lock = PTHREAD_MUTEX_INITIALIZER;       /* of the lists of all gateways; taken once per pool */

struct loan {
  struct message message;
  struct pool *from, *to;
  struct upstream *asker;             /* NULL: nobody waits any more */
  struct upstream *got;
};

/* ---- siblings */
void siblings_join(struct pool *p) {
  struct gateway *g = p->worker->gateway;
  pthread_mutex_lock(&siblings_lock);
  struct siblings *s = g->siblings;
  while (s && !span_eq(s->key, p->key)) s = s->next;
  if (!s) {
    s = mem_zero(sizeof *s + (g->worker_count + 1) * sizeof *s->of);
    s->key = span_of(mem_cstr(p->key), p->key.n);
    s->next = g->siblings;
    g->siblings = s;
  }
  s->members++;
  __atomic_store_n(&s->of[p->worker->number], p, __ATOMIC_RELEASE);
  p->siblings = s;
  pthread_mutex_unlock(&siblings_lock);
}

void siblings_leave(struct pool *p) {
  struct siblings *s = p->siblings;
  pthread_mutex_lock(&siblings_lock);
  __atomic_store_n(&s->of[p->worker->number], NULL, __ATOMIC_RELEASE);
  if (!--s->members) {
    struct siblings **at = &p->worker->gateway->siblings;
    while (*at != s) at = &(*at)->next;
    *at = s->next;
    mem_free((char *)s->key.p);
    mem_free(s);
  }
  pthread_mutex_unlock(&siblings_lock);
}

/* The one with most idle connections. Without TLS a connection costs less than what it takes to pass one on, so one whose
   owner uses others at the moment is left to it. */
static struct pool *lender_of(const struct pool *p) {
  const struct gateway *g = p->worker->gateway;
  struct pool *best = NULL;
  unsigned most = 0;
  if (p->worker->draining || __atomic_load_n(&g->draining, __ATOMIC_RELAXED)) return NULL;
  for (unsigned i = 0; i < g->worker_count; i++) {
    struct pool *q = __atomic_load_n(&p->siblings->of[i], __ATOMIC_ACQUIRE);
    if (!q || q == p || (!p->tls && __atomic_load_n(&q->busy_count, __ATOMIC_RELAXED))) continue;
    unsigned idle = __atomic_load_n(&q->idle_count, __ATOMIC_RELAXED);
    if (idle <= most) continue;
    most = idle;
    best = q;
  }
  return best;
}

/* ---- loans */
static void loan_late(struct timer *t) {
  struct upstream *u = container(t, struct upstream, timer);
  lend_forget(u);
  upstream_open(u);
}

void lend_forget(struct upstream *u) {
  if (u->loan) u->loan->asker = NULL;
  u->loan = NULL;
}

static void loan_answered(struct message *m) {
  struct loan *l = container(m, struct loan, message);
  struct upstream *u = l->asker, *got = l->got;
  l->to->worker->loans--;
  if (got) upstream_adopt(l->to, got);
  bool ended = l->to->worker->ended_all;
  mem_free(l);
  if (ended) {                                           /* its thread too: nobody turns the loop any more */
    if (got) upstream_discard(got);
    return;
  }
  if (u) {
    u->loan = NULL;
    timer_stop(&u->sock.loop->wheel, &u->timer);
  }
  if (!got) {
    if (u) upstream_open(u);
  } else if (u) {
    struct call *c = u->call;
    u->call = NULL;
    c->conn = NULL;
    upstream_close(u);
    upstream_serve(got, c);
  } else {
    upstream_idle(got);
  }
}

static void loan_back(struct loan *l) {
  l->message.run = loan_answered;
  loop_post(l->to->worker->loop, &l->message);
}

/* ---- on the lender's thread */
static void give(struct upstream *u) {
  struct loan *l = u->loan;
  u->loan = NULL;
  upstream_part(u);
  l->got = u;
  loan_back(l);
}

static void loan_try(struct loan *l) {
  struct upstream *u = l->from->worker->draining ? NULL : l->from->idle;
  while (u && (u->dirty || op_busy(&u->sock.send.op) || buf_size(&u->in) || buf_size(&u->out))) u = u->next;
  if (!u) { loan_back(l); return; }
  upstream_unlist(u);
  u->state = UP_LENDING;
  u->loan = l;
  if (op_busy(&u->sock.recv)) u->sock.loop->calls->cancel(u->sock.loop, &u->sock.recv);
  else give(u);
}

static void loan_asked(struct message *m) { loan_try(container(m, struct loan, message)); }

/* The read of a connection that is to be lent has ended. Anything but the cancel: it is of no use to anybody. */
void lend_parted(struct upstream *u, int result) {
  struct loan *l = u->loan;
  if (result == IO_CANCELLED) { give(u); return; }
  u->loan = NULL;
  upstream_close(u);
  loan_try(l);
}

/* It is closed before it could part: the process ends. */
void lend_broken(struct upstream *u) {
  struct loan *l = u->loan;
  u->loan = NULL;
  if (l) loan_back(l);
}

/* ---- on the asker's */
bool lend_ask(struct upstream *u) {
  struct pool *from = lender_of(u->pool);
  if (!from) return false;
  struct loan *l = mem_zero(sizeof *l);
  l->from = from;
  l->to = u->pool;
  l->asker = u;
  l->message.run = loan_asked;
  u->loan = l;
  u->state = UP_WAITING;
  u->timer.done = loan_late;
  timer_set(&u->sock.loop->wheel, &u->timer, u->sock.loop->now_ms + LOAN_WAIT_MS);
  u->pool->worker->loans++;
  loop_post(from->worker->loop, &l->message);
  return true;
}

/* ---- warm. TLS alone is worth it: a plain connect costs less than keeping it. */
static void warm_timer(struct timer *t) { keep_warm(container(t, struct pool, warm_timer)); }

static unsigned idle_of_all(const struct pool *p) {
  unsigned n = 0;
  for (unsigned i = 0; i < p->worker->gateway->worker_count; i++) {
    struct pool *q = __atomic_load_n(&p->siblings->of[i], __ATOMIC_ACQUIRE);
    if (q) n += __atomic_load_n(&q->idle_count, __ATOMIC_RELAXED);
  }
  return n;
}

void keep_warm(struct pool *p) {
  struct loop *l = p->worker->loop;
  if (!p->tls || !p->warm || p->worker->draining || p->warming || p->waiting) return;
  if (l->now_ms - p->used_ms > WARM_FOR_MS || l->now_ms < p->warm_from_ms) return;
  unsigned warming = __atomic_fetch_add(&p->siblings->warming, 1, __ATOMIC_RELAXED);
  if (idle_of_all(p) + warming >= p->warm) {
    __atomic_sub_fetch(&p->siblings->warming, 1, __ATOMIC_RELAXED);
    return;
  }
  p->warming = true;
  upstream_warm(p);
}

void warm_over(struct upstream *u, bool well) {
  struct pool *p = u->pool;
  struct loop *l = p->worker->loop;
  if (!u->warming) return;
  u->warming = p->warming = false;
  __atomic_sub_fetch(&p->siblings->warming, 1, __ATOMIC_RELAXED);
  if (well) { p->warm_failed = 0; return; }
  p->warm_from_ms = l->now_ms + ((uint64_t)WARM_AGAIN_MS << p->warm_failed);
  if (p->warm_failed < WARM_AGAIN_MOST) p->warm_failed++;
  if (p->worker->draining) return;
  p->warm_timer.done = warm_timer;
  timer_set(&l->wheel, &p->warm_timer, p->warm_from_ms);
}

/* ---- turns: so many TLS connections to an endpoint are made at a time, the next ones wait */
void turn_leave(struct upstream *u) {
  struct pool *p = u->pool;
  if (!u->queued) return;
  struct upstream **at = &p->waiting;
  while (*at != u) at = &(*at)->next;
  *at = u->next;
  if (p->waiting_last == &u->next) p->waiting_last = at;
  u->queued = false;
  worker_wait_over(p->worker);
}

void turn_over(struct upstream *u) {
  struct pool *p = u->pool;
  if (!u->opening) return;
  u->opening = false;
  p->opening--;
  struct upstream *next = p->waiting;
  if (!next) return;
  turn_leave(next);
  upstream_open(next);
}

static void turn_timer(struct timer *t) {
  struct upstream *u = container(t, struct upstream, timer);
  turn_leave(u);
  upstream_fail(u, FAULT_OVERLOADED, "too many connections to the provider are being made: none was free in time");
}

void upstream_open(struct upstream *u) {
  struct pool *p = u->pool;
  struct worker *w = p->worker;
  unsigned n = w->gateway->worker_count, most = n < OPENING_MOST ? OPENING_MOST / n : 1;
  if (!p->tls || p->opening < most) {
    u->opening = true;
    p->opening++;
    upstream_resolve(u);
  } else if (!worker_wait(w)) {
    upstream_fail(u, FAULT_OVERLOADED, "too many requests wait for a connection");
  } else {
    u->state = UP_WAITING;
    u->queued = true;
    u->next = NULL;
    if (!p->waiting) p->waiting_last = &p->waiting;
    *p->waiting_last = u;
    p->waiting_last = &u->next;
    u->timer.done = turn_timer;
    timer_set(&w->loop->wheel, &u->timer, u->making->phase_due_ms);
  }
}

/* Whoever waits longest for a connection, and may use one that was used before. */
struct upstream *turn_for_any(const struct pool *p) {
  struct upstream *u = p->waiting;
  while (u && (!u->call || u->call->streamed || u->call->retried)) u = u->next;
  return u;
}

/* The oldest idle connection of the worker. */
void pool_let_one_go(struct worker *w) {
  struct upstream *oldest = NULL;
  for (size_t at = 0;;) {
    struct table_entry *e = table_next(&w->pools, &at);
    if (!e) break;
    for (struct upstream *u = ((struct pool *)e->value)->idle; u; u = u->next)
      if (!oldest || u->idle_since_ms < oldest->idle_since_ms) oldest = u;
  }
  if (oldest) upstream_close(oldest);
}
