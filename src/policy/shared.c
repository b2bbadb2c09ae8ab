#include "shared.h"
#include "weir/table.h"
#include <pthread.h>

/* One lock per map; nothing under it can fail or wait. The list runs from the entry that was used last to the
   one that goes first when the map is full. */
enum { MOST_MAPS = 256 };
struct entry {
  struct entry *newer, *older;
  struct span key;
  struct shared_value value;
  double until;                                        /* unix seconds; 0: stays */
};
struct shared_map {
  struct shared_map *next;
  struct span name;
  pthread_mutex_t lock;
  struct table table;
  struct entry *newest, *oldest;
  size_t most;
  double ttl;
  size_t bytes;
};
static pthread_mutex_t maps_lock = PTHREAD_MUTEX_INITIALIZER;
struct maps { struct shared_map *first; };
static struct maps process;
static __thread struct maps *own;      /* of a thread whose policies are only tried */

struct shared_map *shared_map_of(struct span name) {
  struct shared_map **at = own ? &own->first : &process.first, *found;
  size_t n = 0;
  pthread_mutex_lock(&maps_lock);
  for (; *at && !span_eq((*at)->name, name); n++) at = &(*at)->next;
  if (!*at && n < MOST_MAPS) {
    struct shared_map *m = mem_zero(sizeof *m);
    m->name = span_of(mem_cstr(name), name.n);
    m->most = SHARED_ENTRIES;
    pthread_mutex_init(&m->lock, NULL);
    *at = m;
  }
  found = *at;
  pthread_mutex_unlock(&maps_lock);
  return found;
}

static void entry_unlink(struct shared_map *m, struct entry *e) {
  *(e->newer ? &e->newer->older : &m->newest) = e->older;
  *(e->older ? &e->older->newer : &m->oldest) = e->newer;
}

static void entry_front(struct shared_map *m, struct entry *e) {
  e->newer = NULL;
  e->older = m->newest;
  *(m->newest ? &m->newest->newer : &m->oldest) = e;
  m->newest = e;
}

static size_t entry_size(const struct entry *e) {
  return sizeof *e + e->key.n + (e->value.type == SHARED_STRING ? e->value.s.n : 0);
}

static void value_free(struct shared_value *v) {
  if (v->type == SHARED_STRING) mem_free((char *)v->s.p);
  v->type = SHARED_NONE;
}

static void entry_free(struct shared_map *m, struct entry *e) {
  m->bytes -= entry_size(e);
  entry_unlink(m, e);
  table_set(&m->table, e->key, NULL);
  value_free(&e->value);
  mem_free((char *)e->key.p);
  mem_free(e);
}

static void shrink(struct shared_map *m) {
  while (m->oldest && (m->table.live > m->most || m->bytes > SHARED_BYTES)) entry_free(m, m->oldest);
}

struct span shared_name(const struct shared_map *m) { return m->name; }

void shared_configure(struct shared_map *m, size_t entries, double ttl) {
  pthread_mutex_lock(&m->lock);
  m->most = entries;
  m->ttl = ttl;
  shrink(m);
  pthread_mutex_unlock(&m->lock);
}

/* The live entry; one whose time is over goes. */
static struct entry *entry_find(struct shared_map *m, struct span key, double now) {
  struct entry *e = table_get(&m->table, key);
  if (e && e->until && now >= e->until) entry_free(m, e), e = NULL;
  if (e) entry_unlink(m, e), entry_front(m, e);
  return e;
}

static struct entry *entry_new(struct shared_map *m, struct span key, double now, double ttl) {
  struct entry *e = mem_zero(sizeof *e);
  if (ttl < 0) ttl = m->ttl;
  e->key = span_of(mem_cstr(key), key.n);
  e->until = ttl > 0 ? now + ttl : 0;
  table_set(&m->table, e->key, e);
  entry_front(m, e);
  m->bytes += entry_size(e);
  return e;
}

bool shared_get(struct shared_map *m, struct span key, double now, struct shared_value *out, struct buf *text) {
  pthread_mutex_lock(&m->lock);
  struct entry *e = entry_find(m, key, now);
  if (e) *out = e->value;
  if (e && e->value.type == SHARED_STRING) {
    buf_add(text, e->value.s);
    out->s = buf_span(text);
  }
  pthread_mutex_unlock(&m->lock);
  return e;
}

void shared_set(struct shared_map *m, struct span key, const struct shared_value *v, double now, double ttl) {
  pthread_mutex_lock(&m->lock);
  struct entry *e = entry_find(m, key, now);
  if (e) entry_free(m, e);
  e = entry_new(m, key, now, ttl);
  m->bytes -= entry_size(e);
  e->value = *v;
  if (v->type == SHARED_STRING) e->value.s = span_of(mem_cstr(v->s), v->s.n);
  m->bytes += entry_size(e);
  shrink(m);
  pthread_mutex_unlock(&m->lock);
}

enum shared_added shared_add(struct shared_map *m, struct span key, int64_t n, double now, double ttl, int64_t *sum) {
  enum shared_added result = SHARED_ADDED;
  pthread_mutex_lock(&m->lock);
  struct entry *e = entry_find(m, key, now);
  if (!e) {
    e = entry_new(m, key, now, ttl);
    e->value.type = SHARED_INT;
    shrink(m);
  }
  if (e->value.type != SHARED_INT) result = SHARED_NO_INTEGER;
  else if (__builtin_add_overflow(e->value.i, n, sum)) result = SHARED_OVERFLOW;
  else e->value.i = *sum;
  pthread_mutex_unlock(&m->lock);
  return result;
}

bool shared_delete(struct shared_map *m, struct span key, double now) {
  pthread_mutex_lock(&m->lock);
  struct entry *e = entry_find(m, key, now);
  if (e) entry_free(m, e);
  pthread_mutex_unlock(&m->lock);
  return e;
}

void shared_world_begin(void) { own = mem_zero(sizeof *own); }

void shared_world_end(void) {
  struct maps *ended = own;
  own = NULL;
  for (struct shared_map *m = ended->first, *next; m; m = next) {
    next = m->next;
    while (m->oldest) entry_free(m, m->oldest);
    table_free(&m->table);
    pthread_mutex_destroy(&m->lock);
    mem_free((char *)m->name.p);
    mem_free(m);
  }
  mem_free(ended);
}
