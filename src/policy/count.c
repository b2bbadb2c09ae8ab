#include "room.h"
#include "shared.h"
#include "weir/models.h"
#include <pthread.h>

/* Entries are made under the lock, never freed, and counted without it. */
enum { MOST_COUNTERS = 1000, LINES_PER_SECOND = 5 };
struct error_count {
  struct error_count *next;
  struct span policy;
  enum hook hook;
  uint64_t count;
  pthread_mutex_t lock;                                /* of the rest */
  double second;
  unsigned lines;
  uint64_t missed;
};
struct counter {
  struct counter *next;
  struct span name;
  uint64_t count;
};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
struct counts { struct error_count *errors; struct counter *counters; };
static struct counts process;
static __thread struct counts *own;    /* of a thread whose policies are only tried */

static struct counts *counts(void) { return own ? own : &process; }

struct error_count *error_count_of(struct span policy, enum hook h) {
  struct error_count **at = &counts()->errors, *found;
  pthread_mutex_lock(&lock);
  while (*at && ((*at)->hook != h || !span_eq((*at)->policy, policy))) at = &(*at)->next;
  if (!*at) {
    struct error_count *c = mem_zero(sizeof *c);
    c->policy = span_of(mem_cstr(policy), policy.n);
    c->hook = h;
    pthread_mutex_init(&c->lock, NULL);
    *at = c;
  }
  found = *at;
  pthread_mutex_unlock(&lock);
  return found;
}

bool error_count_add(struct error_count *c, double now, uint64_t *missed) {
  __atomic_fetch_add(&c->count, 1, __ATOMIC_RELAXED);
  pthread_mutex_lock(&c->lock);
  if (!(now - c->second >= 0 && now - c->second < 1)) c->second = now, c->lines = 0;
  bool tell = c->lines < LINES_PER_SECOND;
  *missed = c->missed;
  c->lines += tell;
  c->missed = tell ? 0 : c->missed + 1;
  pthread_mutex_unlock(&c->lock);
  return tell;
}

struct counter *counter_of(struct span name) {
  struct counter **at = &counts()->counters, *found;
  size_t n = 0;
  pthread_mutex_lock(&lock);
  for (; *at && !span_eq((*at)->name, name); n++) at = &(*at)->next;
  if (!*at && n < MOST_COUNTERS) {
    *at = mem_zero(sizeof **at);
    (*at)->name = span_of(mem_cstr(name), name.n);
  }
  found = *at;
  pthread_mutex_unlock(&lock);
  return found;
}

void counter_add(struct counter *c, uint64_t n) { __atomic_fetch_add(&c->count, n, __ATOMIC_RELAXED); }

/* ---- a world of one thread's own */
uint64_t policy_counter(struct span name) {
  for (const struct counter *c = counts()->counters; c; c = c->next)
    if (span_eq(c->name, name)) return __atomic_load_n(&c->count, __ATOMIC_RELAXED);
  return 0;
}

static void counts_free(struct counts *c) {
  for (struct error_count *e = c->errors, *next; e; e = next) {
    next = e->next;
    pthread_mutex_destroy(&e->lock);
    mem_free((char *)e->policy.p);
    mem_free(e);
  }
  for (struct counter *k = c->counters, *next; k; k = next) {
    next = k->next;
    mem_free((char *)k->name.p);
    mem_free(k);
  }
  mem_free(c);
}

void policy_world_begin(void) {
  require(!own);
  own = mem_zero(sizeof *own);
  shared_world_begin();
  models_apart(true);
}

void policy_world_end(void) {
  struct counts *ended = own;
  own = NULL;
  models_apart(false);
  counts_free(ended);
  shared_world_end();
}

static void label_write(struct buf *out, struct span s) {
  for (size_t i = 0; i < s.n; i++) {
    if (s.p[i] == '\\' || s.p[i] == '"') buf_byte(out, '\\');
    if (s.p[i] == '\n') buf_add(out, SPAN("\\n"));
    else buf_byte(out, s.p[i]);
  }
}

void policy_metrics_write(struct buf *out) {
  pthread_mutex_lock(&lock);
  if (process.errors)
    buf_add(
        out,
        SPAN(
            "# HELP weir_policy_errors_total Hooks of policies that failed.\n# TYPE weir_policy_errors_total "
            "counter\n"));
  for (const struct error_count *error = process.errors; error; error = error->next) {
    buf_add(out, SPAN("weir_policy_errors_total{policy=\""));
    label_write(out, error->policy);
    buf_printf(out, "\",hook=\"%s\"} %llu\n", hook_words[error->hook],
               (unsigned long long)__atomic_load_n(&error->count, __ATOMIC_RELAXED));
  }
  for (const struct counter *counter = process.counters; counter; counter = counter->next)
    buf_printf(out, "# TYPE weir_policy_%.*s_total counter\nweir_policy_%.*s_total %llu\n", SPAN_FMT(counter->name),
               SPAN_FMT(counter->name), (unsigned long long)__atomic_load_n(&counter->count, __ATOMIC_RELAXED));
  pthread_mutex_unlock(&lock);
}
