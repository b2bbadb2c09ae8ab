/* worker.c: one loop and what hangs on it; the turn of the loop; connections handed over. */
#include "attempt.h"
#include "client.h"
#include "pool.h"
#include "worker.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/un.h>
#include <unistd.h>
#include "weir/vm.h"

enum { CHORES_MS = 1000, COLLECT_MS = 2, COLLECT_PUT_OFF = 20 };
enum { SHORT_SAY_MS = 10000, ACCEPT_AGAIN_MS = 100 };
enum { SPARE_BUF = 4096, SPARE_BUF_MOST = 65536, SPARE_BUFS = 32 };

/* ---- memory and chance */
struct buf worker_buf(struct worker *w) {
  struct buf b = { 0 };
  if (w->spare_buf_count) {
    b = w->spare_bufs[--w->spare_buf_count];
    mem_note(MEM_BUFFERS, (int64_t)b.cap);
    return b;
  }
  buf_reserve(&b, SPARE_BUF);
  return b;
}

void worker_buf_back(struct worker *w, struct buf *b) {
  if (!b->p) return;
  if (w->spare_buf_count < SPARE_BUFS && b->cap <= SPARE_BUF_MOST) {
    buf_clear(b);
    mem_note(MEM_BUFFERS, -(int64_t)b->cap);               /* nobody's: what it may hold is not held */
    w->spare_bufs[w->spare_buf_count++] = *b;
    *b = (struct buf){ 0 };
  } else {
    buf_free(b);
  }
}

struct delta *worker_deltas(struct worker *w) {
  if (!w->deltas) w->deltas = mem_alloc(DELTA_MOST * sizeof *w->deltas);
  return w->deltas;
}

/* The block of an exchange or attempt that is over, or is made from it: between them it is nobody's. */
void spare_arena(const struct arena *a, bool spare) { mem_note(MEM_ARENAS, spare ? -(int64_t)a->total : (int64_t)a->total); }

/* ---- bodies of requests */
enum { SPARE_BODY_MOST = 2 << 20 };

/* Sizes in steps, so that a body that is kept as long as its stream lasts takes little more than its length. */
static unsigned block_size(size_t n) { return n ? (unsigned)((n - 1) / BODY_STEP) : 0; }
static int64_t block_bytes(size_t n) { return block_size(n) < BODY_SIZES ? (block_size(n) + 1) * BODY_STEP : (int64_t)n; }

char *worker_block(struct worker *w, size_t n) {
  unsigned size = block_size(n);
  mem_note(MEM_ARENAS, block_bytes(n));
  if (size < BODY_SIZES && w->spare_blocks[size].count) return w->spare_blocks[size].p[--w->spare_blocks[size].count];
  return mem_alloc((size_t)block_bytes(n));
}

void worker_block_back(struct worker *w, char *p, size_t n) {
  unsigned size = block_size(n);
  mem_note(MEM_ARENAS, -block_bytes(n));
  if (size < BODY_SIZES && w->spare_blocks[size].count < BODY_SPARES) w->spare_blocks[size].p[w->spare_blocks[size].count++] = p;
  else mem_free(p);
}

/* One bound for all that the process holds of requests and answers (`memory`). `held` is the sum of the large bodies that are lent out;
   configurations lie in arenas as well, so what there was of them before the first request does not count. */
static uint64_t others_held(const struct gateway *g) {
  int64_t n = -g->memory_base;
  for (int k = 0; k < MEM_KINDS; k++) n += mem_held((enum mem_kind)k);
  return n > 0 ? (uint64_t)n : 0;
}

static uint64_t memory_most(const struct worker *w) { return w->gen->conf->memory ? w->gen->conf->memory : w->gateway->memory_default; }

bool worker_full(const struct worker *w) {
  uint64_t most = memory_most(w);
  return most && others_held(w->gateway) + __atomic_load_n(&w->gateway->held, __ATOMIC_RELAXED) > most;
}

static bool memory_take(struct worker *w, size_t n) {
  uint64_t most = memory_most(w);
  uint64_t held = __atomic_add_fetch(&w->gateway->held, n, __ATOMIC_RELAXED);
  if (!most || held + others_held(w->gateway) <= most) return true;
  __atomic_sub_fetch(&w->gateway->held, n, __ATOMIC_RELAXED);
  return false;
}

char *worker_body(struct worker *w, size_t n, size_t *cap) {
  if (!memory_take(w, n)) return NULL;
  for (size_t i = 0; i < sizeof w->spare_bodies / sizeof *w->spare_bodies; i++) {
    struct spare_body *s = &w->spare_bodies[i];
    if (s->cap < n || s->cap / 4 > n) continue;
    char *p = s->p;
    __atomic_add_fetch(&w->gateway->held, s->cap - n, __ATOMIC_RELAXED);
    *cap = s->cap;
    *s = (struct spare_body){ 0 };
    w->spare_bodies_used = true;
    return p;
  }
  *cap = n;
  char *p = mem_try(n);
  if (!p) __atomic_sub_fetch(&w->gateway->held, n, __ATOMIC_RELAXED);
  return p;
}

void worker_body_back(struct worker *w, char *p, size_t cap) {
  if (!p) return;
  __atomic_sub_fetch(&w->gateway->held, cap, __ATOMIC_RELAXED);
  for (size_t i = 0; cap <= SPARE_BODY_MOST && i < sizeof w->spare_bodies / sizeof *w->spare_bodies; i++) {
    if (w->spare_bodies[i].p) continue;
    w->spare_bodies[i] = (struct spare_body){ p, cap };
    return;
  }
  mem_free(p);
}

void worker_trim(struct worker *w) {
  for (size_t i = 0; !w->spare_bodies_used && i < sizeof w->spare_bodies / sizeof *w->spare_bodies; i++) {
    mem_free(w->spare_bodies[i].p);
    w->spare_bodies[i] = (struct spare_body){ 0 };
  }
  w->spare_bodies_used = false;
}

/* ---- bounds of the process */
bool worker_wait(struct worker *w) {
  struct gateway *g = w->gateway;
  unsigned n = __atomic_add_fetch(&g->waiting, 1, __ATOMIC_RELAXED);
  if (!g->most_waiting || n <= g->most_waiting) return true;
  worker_wait_over(w);
  return false;
}

void worker_wait_over(struct worker *w) { __atomic_sub_fetch(&w->gateway->waiting, 1, __ATOMIC_RELAXED); }

void worker_short(struct worker *w, const char *doing) {
  uint64_t *said = &w->gateway->short_said_ms, last = __atomic_load_n(said, __ATOMIC_RELAXED), now = w->loop->now_ms;
  if (last && now < last + SHORT_SAY_MS) return;
  if (!__atomic_compare_exchange_n(said, &last, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return;
  log_warn("out of file descriptors in %s: it is tried again; raise LimitNOFILE (ulimit -n) if this stays", doing);
}

/* xoshiro256**: for ids, jitter and choice, not for secrets. */
uint64_t worker_random(struct worker *w) {
  uint64_t *s = w->random, r = s[1] * 5, t = s[1] << 17;
  r = (r << 7 | r >> 57) * 9;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = s[3] << 45 | s[3] >> 19;
  return r;
}

/* ---- generations: taken between two turns, so that nothing can fail after the decision to reload */
static void take_offered(struct worker *w) {
  if (!__atomic_load_n(&w->offered, __ATOMIC_RELAXED)) return;
  struct generation *old = w->gen;
  w->gen = __atomic_exchange_n(&w->offered, NULL, __ATOMIC_ACQUIRE);
  policy_set_health(w->gen->vms[w->number], w->health, &w->loop->now_ms);
  generation_drop(w->gateway, old);
}

static void offer_heard(struct message *m) { __atomic_store_n(&container(m, struct worker, reload)->reload_posted, false, __ATOMIC_SEQ_CST); }

/* The reference is counted here: a worker that first looked at a shared pointer and then counted could come too late. */
void worker_offer(struct worker *w, struct generation *gen) {
  __atomic_add_fetch(&gen->refs, 1, __ATOMIC_RELAXED);
  struct generation *missed = __atomic_exchange_n(&w->offered, gen, __ATOMIC_ACQ_REL);
  if (missed) generation_drop(w->gateway, missed);
  if (w->loop && !__atomic_exchange_n(&w->reload_posted, true, __ATOMIC_SEQ_CST)) loop_post(w->loop, &w->reload);   /* an idle one takes it at once */
}

/* ---- the turn */
static void flush_all(struct worker *w) {
  while (w->dirty_up) {
    struct upstream *u = w->dirty_up;
    w->dirty_up = u->next_dirty;
    upstream_flush(u);
  }
  while (w->dirty) {
    struct client *c = w->dirty;
    w->dirty = c->next_dirty;
    client_flush(c);
  }
}

/* Garbage is collected a step at a time while no completion comes in; where that never happens, seldom and all the same. */
static void collect(struct timer *t) {
  struct worker *w = container(t, struct worker, collect);
  bool quiet = w->loop->stats.completions == w->collect_seen;
  if (quiet || ++w->collect_put_off > COLLECT_PUT_OFF) {
    w->collect_put_off = 0;
    policy_idle(w->gen->vms[w->number]);
  }                                                      /* worker_turn_end arms it again */
}

static void collect_arm(struct worker *w) {
  if (timer_armed(&w->collect) || !policy_idle_wanted(w->gen->vms[w->number])) return;
  w->collect_seen = w->loop->stats.completions;
  w->collect.done = collect;
  timer_set(&w->loop->wheel, &w->collect, w->loop->now_ms + COLLECT_MS);
}

/* What need not be done at once; not armed again when nothing has happened since. */
static void chores(struct timer *t) {
  struct worker *w = container(t, struct worker, chores);
  bool more = w->open_exchanges || w->spare_bodies_used;
  worker_trim(w);
  for (size_t i = 0; i < sizeof w->spare_bodies / sizeof *w->spare_bodies; i++) more |= w->spare_bodies[i].p != NULL;
  mem_settle();
  metrics_memory(w->metrics, "lua", (int64_t)policy_memory(w->gen->vms[w->number]));
  if (more) worker_active(w);
}

void worker_active(struct worker *w) {
  if (timer_armed(&w->chores) || w->simulated) return;
  w->chores.done = chores;
  timer_set(&w->loop->wheel, &w->chores, w->loop->now_ms + CHORES_MS);
}

void worker_turn_end(struct loop *l) {
  struct worker *w = l->owner;
  take_offered(w);
  flush_all(w);
  if (!w->simulated) collect_arm(w);
}

/* ---- connections in */
struct handover {
  struct message message;
  struct worker *worker;
  int fd;
  unsigned listener;
};

static struct span peer_ip(int fd, char *text, size_t size) {
  struct sockaddr_storage a;
  socklen_t n = sizeof a;
  if (getpeername(fd, (struct sockaddr *)&a, &n) < 0) return (struct span){ 0 };
  if (a.ss_family == AF_UNIX) return SPAN("unix");
  const void *ip = a.ss_family == AF_INET ? (const void *)&((struct sockaddr_in *)&a)->sin_addr : (const void *)&((struct sockaddr_in6 *)&a)->sin6_addr;
  if (!inet_ntop(a.ss_family, ip, text, (socklen_t)size)) return (struct span){ 0 };
  struct span s = span_cstr(text);                       /* a listener on [::] tells v4 clients as v6 */
  return span_istarts(s, SPAN("::ffff:")) && span_find(s, '.') < s.n ? span_from(s, 7) : s;
}

static unsigned clients_of(const struct gateway *g) {
  unsigned n = 0;
  for (unsigned i = 0; i < g->worker_count; i++) n += __atomic_load_n(&g->workers[i].open_clients, __ATOMIC_RELAXED);
  return n;
}

/* It is counted in open_clients already. */
static void adopt(struct worker *w, int fd, unsigned listener) {
  char text[INET6_ADDRSTRLEN];
  struct span ip = w->simulated ? SPAN("127.0.0.1") : peer_ip(fd, text, sizeof text);
  if (w->draining && !w->gateway->handed_over) {
    __atomic_sub_fetch(&w->open_clients, 1, __ATOMIC_RELAXED);
    w->loop->calls->close(w->loop, fd);
    return;
  }
  struct client *c = client_open(w, fd, ip);
  c->listener = listener;
  if (w->gateway->most_clients && clients_of(w->gateway) > w->gateway->most_clients) client_refuse(c, 503, "too many connections: each may need two descriptors");
}

void worker_adopt(struct worker *w, int fd, unsigned listener) {
  __atomic_add_fetch(&w->open_clients, 1, __ATOMIC_RELAXED);
  adopt(w, fd, listener);
}

static void handed_over(struct message *m) {
  struct handover *h = container(m, struct handover, message);
  adopt(h->worker, h->fd, h->listener);
  mem_free(h);
}

/* A connection that is busy weighs twice as much as one that is only kept. */
static unsigned load_of(const struct worker *w) {
  return __atomic_load_n(&w->open_clients, __ATOMIC_RELAXED) + __atomic_load_n(&w->open_exchanges, __ATOMIC_RELAXED);
}

static struct worker *least_loaded(struct gateway *g) {
  struct worker *best = &g->workers[0];
  for (unsigned i = 1; i < g->worker_count; i++)
    if (load_of(&g->workers[i]) < load_of(best)) best = &g->workers[i];
  return best;
}

struct accept_op {
  struct op op;
  struct worker *worker;
  struct timer again;
  int fd;
};

static void accept_arm(struct accept_op *a);

/* No more from here: who connects from now on is refused at once, or served by the process that inherited the listener. */
static void listener_close(struct accept_op *a) {
  a->worker->loop->calls->close(a->worker->loop, a->fd);
  a->fd = -1;
}

static void accept_again(struct timer *t) { accept_arm(container(t, struct accept_op, again)); }

static void accepted(struct op *op, int result, struct span data, bool more) {
  struct accept_op *a = container(op, struct accept_op, op);
  struct worker *w = a->worker;
  unsigned listener = (unsigned)(a - w->accepts);
  (void)data;
  if (result >= 0) {
    struct worker *to = least_loaded(w->gateway);
    __atomic_add_fetch(&to->open_clients, 1, __ATOMIC_SEQ_CST);          /* now: more may be accepted before it looks */
    if (to != w && __atomic_load_n(&w->gateway->draining, __ATOMIC_SEQ_CST)) {     /* it may not look any more */
      __atomic_sub_fetch(&to->open_clients, 1, __ATOMIC_RELAXED);
      __atomic_add_fetch(&w->open_clients, 1, __ATOMIC_RELAXED);
      to = w;
    }
    if (to == w) {
      adopt(w, result, listener);
    } else {
      struct handover *h = mem_zero(sizeof *h);
      h->message.run = handed_over;
      h->worker = to;
      h->fd = result;
      h->listener = listener;
      loop_post(to->loop, &h->message);
    }
  } else if (result == IO_CANCELLED) {
    if (w->draining && w->gateway->handed_over)
      for (int fd; (fd = listen_next(a->fd)) >= 0;) worker_adopt(w, fd, listener);
    if (w->draining) listener_close(a);
    return;
  } else if (result == IO_NO_DESCRIPTORS) {
    worker_short(w, "accepting connections");
  } else {
    log_warn("accepting connections: %s", io_result_text(result));
  }
  if (more) return;
  if (result >= 0) accept_arm(a);
  else timer_set(&w->loop->wheel, &a->again, w->loop->now_ms + ACCEPT_AGAIN_MS);     /* out of descriptors: some will close */
}

static void accept_arm(struct accept_op *a) {
  if (a->worker->draining) return;
  a->op.done = accepted;
  a->worker->loop->calls->accept(a->worker->loop, &a->op, a->fd);
}

void worker_accept(struct worker *w, const int *fds, size_t count) {
  w->accepts = mem_zero((count + 1) * sizeof *w->accepts);
  w->accept_count = count;
  for (size_t i = 0; i < count; i++) {
    w->accepts[i].worker = w;
    w->accepts[i].fd = fds[i];
    w->accepts[i].again.done = accept_again;
    accept_arm(&w->accepts[i]);
  }
}

/* ---- life */
bool worker_init(struct worker *w, struct gateway *g, unsigned number, struct loop *loop) {
  w->gateway = g;
  w->number = number;
  w->loop = loop;
  loop->owner = w;
  loop->turn_end = worker_turn_end;
  w->reload.run = offer_heard;
  w->health = health_new();
  if (!w->metrics) w->metrics = metrics_new();
  w->head = mem_zero(sizeof *w->head);
  w->members = mem_zero(MOST_MEMBERS * sizeof *w->members);
  if (getrandom(w->random, sizeof w->random, 0) != sizeof w->random) return false;
  vm_thread_enter();
  w->gen = g->newest;                                    /* nobody publishes before all workers stand */
  __atomic_add_fetch(&w->gen->refs, 1, __ATOMIC_RELAXED);
  if (w->gen->vms) policy_set_health(w->gen->vms[number], w->health, &loop->now_ms);
  return true;
}

void worker_drain(struct worker *w) {
  if (w->draining) return;
  w->draining = true;
  for (size_t i = 0; i < w->accept_count; i++) {
    timer_stop(&w->loop->wheel, &w->accepts[i].again);
    if (op_busy(&w->accepts[i].op)) w->loop->calls->cancel(w->loop, &w->accepts[i].op);
    else listener_close(&w->accepts[i]);
  }
  for (struct client *c = w->clients, *next; c; c = next) {
    next = c->next;
    client_drain(c);
  }
  timer_stop(&w->loop->wheel, &w->collect);
  for (size_t at = 0;;) {
    struct table_entry *e = table_next(&w->pools, &at);
    if (!e) break;
    pool_close(e->value);
  }
}

/* Nobody is left, is on the way, or may still come out of the kernel. */
bool worker_idle(const struct worker *w) {
  if (w->clients || __atomic_load_n(&w->open_clients, __ATOMIC_SEQ_CST)) return false;
  for (size_t i = 0; i < w->accept_count; i++)
    if (op_busy(&w->accepts[i].op)) return false;
  return true;
}

void worker_cut(struct worker *w) {
  for (struct client *c = w->clients, *next; c; c = next) {
    next = c->next;
    if (c->exchange) exchange_cut(c->exchange);
  }
}

void worker_close_all(struct worker *w) {
  worker_drain(w);
  for (struct client *c = w->clients, *next; c; c = next) {
    next = c->next;
    client_close(c);
  }
  for (size_t at = 0;;) {
    struct table_entry *e = table_next(&w->pools, &at);
    if (!e) break;
    struct pool *p = e->value;
    for (struct upstream *u = p->all, *next; u; u = next) {
      next = u->all_next;
      upstream_close(u);
    }
  }
}

bool worker_quiet(const struct worker *w) {
  if (w->clients || w->open_exchanges || w->asking || w->loans) return false;
  for (size_t i = 0; i < w->accept_count; i++)
    if (op_busy(&w->accepts[i].op)) return false;
  for (size_t at = 0;;) {
    struct table_entry *e = table_next(&w->pools, &at);
    if (!e) return true;
    if (((struct pool *)e->value)->all) return false;
  }
}

void worker_free(struct worker *w) {
  for (size_t at = 0;;) {
    struct table_entry *e = table_next(&w->pools, &at);
    if (!e) break;
    pool_free(e->value);
  }
  table_free(&w->pools);
  while (w->spare_clients) {
    struct client *c = w->spare_clients;
    w->spare_clients = c->next;
    mem_free(c);
  }
  while (w->spare_exchanges) {
    struct exchange *x = w->spare_exchanges;
    w->spare_exchanges = x->next_spare;
    spare_arena(&x->arena, false);
    arena_end(&x->arena);
    mem_free(x);
  }
  while (w->spare_attempts) {
    struct attempt *a = w->spare_attempts;
    w->spare_attempts = a->next_spare;
    spare_arena(&a->arena, false);
    arena_end(&a->arena);
    mem_free(a);
  }
  while (w->spare_run_count) mem_free(w->spare_runs[--w->spare_run_count]);
  w->spare_bodies_used = false;
  worker_trim(w);
  for (int size = 0; size < BODY_SIZES; size++)
    while (w->spare_blocks[size].count) mem_free(w->spare_blocks[size].p[--w->spare_blocks[size].count]);
  while (w->spare_buf_count) mem_free(w->spare_bufs[--w->spare_buf_count].p);
  health_free(w->health);
  arena_end(&w->scratch);
  mem_free(w->accepts);
  mem_free(w->head);
  mem_free(w->members);
  mem_free(w->deltas);
  if (w->gen) generation_drop(w->gateway, w->gen);
  if (w->offered) generation_drop(w->gateway, w->offered);
  w->gen = w->offered = NULL;
}
