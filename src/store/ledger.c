/* ledger.c: the store's thread. It looks after the cells (what dead processes left, grants), takes records out of the ring into the
   database, and deletes what is too old. It sleeps while nothing happens; a worker that appends wakes it by one write, and none while
   it is awake. It may wait for the disk; nobody waits for it but a budget that has used up what was promised. */
#include "room.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { HURRY_MS = 20, GATHER_MS = 100, GATHER_LEAST_MS = 5, TEND_MS = 1000, AGAIN_MS = 1000, SYNC_MS = 100, BATCH = 2000, GRANT_BATCH = 256 };

struct keeping {
  struct keeping *next;
  char hash[80];
  size_t count;
  struct ledger_source *sources;
  struct arena arena;
};
struct ledger {
  struct cells *cells;
  char *dir;
  struct base base;
  struct batch batch;                 /* being filled; its memory is kept */
  bool open;                          /* the database is */
  pthread_t thread;
  int wake_fd;
  bool asleep, stop, lost, hurry;     /* atomic */
  bool follows;                       /* another process reads this ring, and does all of it */
  struct ledger_limits limits;        /* under the lock, as what follows it */
  struct contents contents;
  pthread_mutex_t lock;
  struct keeping *keepings;
  struct trim trim;
  char said[768];                     /* the last failure that was told, so that it is told once */
  int64_t gather_ms, tended_ms, tried_ms, synced_ms, drained_ms;
  bool unsynced;                      /* committed since the last full commit */
  bool more_to_trim;
  uint64_t records, orphans, grants, errors;             /* atomic */
  int64_t size;                       /* atomic */
};

static int64_t wall_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t steady_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void count(uint64_t *n, uint64_t by) { __atomic_add_fetch(n, by, __ATOMIC_RELAXED); }

/* ---- lost and found */
static void lose(struct ledger *l, const char *why) {
  char text[768];
  snprintf(text, sizeof text, "%s", why);
  if (l->open) base_undo(&l->base);
  base_close(&l->base);
  l->open = false;
  count(&l->errors, 1);
  l->tried_ms = steady_ms();
  if (strcmp(text, l->said)) log_error("ledger: %s", text);
  memcpy(l->said, text, sizeof text);
  __atomic_store_n(&l->lost, true, __ATOMIC_RELEASE);
}

static void lose_base(struct ledger *l) { lose(l, base_why(&l->base)); }

static bool open_base(struct ledger *l, const char **why) {
  if (!base_open(&l->base, l->dir, why)) return false;
  l->open = true;
  if (grants_seed(&l->base, l->cells, wall_ms())) return true;
  *why = "what was promised to budgets cannot be read, or counted";
  return false;
}

/* While one weir replaces another the older one goes on with the ring that both fill, until it ends. */
static bool follow(struct ledger *l) {
  bool was = l->follows;
  l->follows = !cells_drain_begin(l->cells);
  l->tried_ms = steady_ms();
  if (l->follows && !was) log_info("ledger: the process that this one replaces goes on writing it until it ends");
  return l->follows;
}

static void try_again(struct ledger *l) {
  const char *why;
  if (l->open || steady_ms() - l->tried_ms < (l->follows ? HURRY_MS : AGAIN_MS)) return;
  if (!l->lost && follow(l)) return;
  if (!open_base(l, &why)) {
    lose(l, why);
    return;
  }
  if (l->said[0]) log_info("ledger: %s is written again", l->dir);
  l->said[0] = 0;
  __atomic_store_n(&l->lost, false, __ATOMIC_RELEASE);
}

/* ---- what a turn does */
/* All that want one, in one commit that is on disk before any is told. */
static void grant(struct ledger *l) {
  struct cells_want *wants = mem_alloc(GRANT_BATCH * sizeof *wants);
  size_t n;
  do {
    for (n = 0; n < GRANT_BATCH && cells_want(l->cells, &wants[n]);) n++;
    if (!n) break;
    bool good = base_begin(&l->base, true);
    for (size_t i = 0; good && i < n; i++) good = grant_save(&l->base, &wants[i], wants[i].better, wall_ms());
    if (!good || !base_commit(&l->base)) {
      lose_base(l);                                      /* who waits asks again */
      break;
    }
    l->unsynced = false;
    l->synced_ms = steady_ms();
    for (size_t i = 0; i < n; i++) cells_grant(l->cells, &wants[i], wants[i].better);
    count(&l->grants, n);
  } while (n == GRANT_BATCH);
  mem_free(wants);
}

static void tell_bad(struct ledger *l) {
  count(&l->errors, 1);
  log_error("ledger: a record cannot be read and is left out");
}

static bool take_records(struct ledger *l, struct batch *k, struct span record, size_t *n, uint64_t *fresh) {
  for (;;) {
    if (batch_add(k, record)) ++*fresh;
    else tell_bad(l);
    bool last = ++*n == BATCH || !cells_drain(l->cells, &record);
    if ((last || buf_size(&k->text) > BATCH_BYTES) && !batch_save(&l->base, k, wall_ms())) return false;
    if (last) return true;
  }
}

/* One transaction; false: nothing more is there, or the database failed. */
static bool drain_batch(struct ledger *l) {
  struct batch *k = &l->batch;
  struct base *b = &l->base;
  struct span record;
  uint64_t fresh = 0;
  size_t n = 0;
  if (!cells_drain_begin(l->cells)) {                    /* from the first that is not acknowledged */
    lose(l, "another weir reads the ring of this runtime directory");
    return false;
  }
  if (b->ring == cells_ring_name(l->cells)) cells_drain_skip(l->cells, b->place);
  b->ring = cells_ring_name(l->cells);
  if (!cells_drain(l->cells, &record)) return cells_drained(l->cells), false;
  bool full = steady_ms() - l->synced_ms >= SYNC_MS, good = base_begin(b, full) && take_records(l, k, record, &n, &fresh);
  int64_t place = cells_drain_place(l->cells);
  good = good && drained_save(b, b->ring, place);
  buf_clear(&k->text);
  if (!good || !base_commit(b)) return lose_base(l), false;
  b->place = place;
  cells_drained(l->cells);
  count(&l->records, fresh);
  l->unsynced = !full;
  if (full) l->synced_ms = steady_ms();
  return n == BATCH;
}

static size_t drain(struct ledger *l) {
  struct cells_figures f;
  cells_figures(l->cells, &f);
  while (l->open && drain_batch(l)) {}
  if (l->open) __atomic_store_n(&l->drained_ms, steady_ms(), __ATOMIC_RELAXED);
  return f.ledger_bytes;
}

/* After the ring: the record of an exchange goes before what is known of its slot alone. A slot is given back when its row is there. */
static void take_orphans(struct ledger *l) {
  struct recent recent = { 0 };
  struct cells_orphan o;
  while (l->open && cells_orphan(l->cells, &o)) {
    bool fresh = false;
    if (!base_begin(&l->base, true) || !orphan_save(&l->base, &o, wall_ms(), &recent, &fresh) || !base_commit(&l->base)) {
      lose_base(l);
      break;
    }
    cells_orphan_done(l->cells, o.slot);
    count(&l->orphans, fresh);
  }
  recent_free(&recent);
}

static void sync_now(struct ledger *l) {
  if (!l->unsynced || steady_ms() - l->synced_ms < SYNC_MS) return;
  bool good = base_begin(&l->base, true) && sqlite3_exec(l->base.db, "PRAGMA application_id=1464158546", NULL, NULL, NULL) == SQLITE_OK && base_commit(&l->base);
  if (!good) {
    lose_base(l);
    return;
  }
  l->unsynced = false;
  l->synced_ms = steady_ms();
}

static void tidy(struct ledger *l) {
  pthread_mutex_lock(&l->lock);
  struct ledger_limits limits = l->limits;
  pthread_mutex_unlock(&l->lock);
  if (!trim_step(&l->base, &l->trim, &limits, &l->more_to_trim)) {
    lose_base(l);
    return;
  }
  int64_t pages = base_number(&l->base, "PRAGMA page_count"), size = base_number(&l->base, "PRAGMA page_size");
  __atomic_store_n(&l->size, pages * size, __ATOMIC_RELAXED);
}

static void keep_generations(struct ledger *l) {
  pthread_mutex_lock(&l->lock);
  struct keeping *k = l->keepings;
  l->keepings = NULL;
  pthread_mutex_unlock(&l->lock);
  while (k) {
    struct keeping *next = k->next;
    if (!kept_write(l->dir, k->hash, k->sources, k->count)) {
      count(&l->errors, 1);
      log_error("ledger: %s/generations/%.12s cannot be written (%s): weir why will not know this configuration", l->dir, k->hash, strerrordesc_np(errno));
    }
    arena_end(&k->arena);
    mem_free(k);
    k = next;
  }
}

static void once_a_second(struct ledger *l, bool last) {
  int64_t now = steady_ms();
  if (now - l->tended_ms < TEND_MS && !last) return;
  l->tended_ms = now;
  cells_tend(l->cells);
  take_orphans(l);
  if (l->open) tidy(l);
}

/* What cannot be written is let go: it is no account of anything. */
static void take_contents(struct ledger *l) {
  pthread_mutex_lock(&l->lock);
  struct contents taken = l->contents;
  l->contents = (struct contents){ 0 };
  pthread_mutex_unlock(&l->lock);
  if (!contents_save(&l->base, &taken)) lose_base(l);
}

static size_t turn(struct ledger *l, bool last) {
  size_t taken = 0;
  try_again(l);
  keep_generations(l);
  if (l->open) grant(l);
  if (l->open) taken = drain(l);
  if (l->open) take_contents(l);
  once_a_second(l, last);
  if (l->open && l->more_to_trim) tidy(l);
  if (l->open) sync_now(l);
  return taken;
}

/* ---- the thread */
static void wait_for(struct ledger *l, int64_t ms) {
  struct pollfd p = { l->wake_fd, POLLIN, 0 };
  uint64_t n;
  if (poll(&p, 1, (int)ms) > 0 && read(l->wake_fd, &n, sizeof n) < 0 && errno != EAGAIN) return;
}

static bool ring_waits(struct ledger *l) {
  struct cells_figures f;
  cells_figures(l->cells, &f);
  return l->open && f.ledger_bytes > 0;
}

/* A busy ring is taken in shorter pauses, so that it is never more than a quarter full between two. */
static void adapt(struct ledger *l, size_t taken) {
  struct cells_figures f;
  cells_figures(l->cells, &f);
  if (taken > f.ledger_room / 4) l->gather_ms /= 2;
  else if (taken < f.ledger_room / 16) l->gather_ms *= 2;
  if (l->gather_ms < GATHER_LEAST_MS) l->gather_ms = GATHER_LEAST_MS;
  if (l->gather_ms > GATHER_MS) l->gather_ms = GATHER_MS;
}

static void *run(void *arg) {
  struct ledger *l = arg;
  while (!__atomic_load_n(&l->stop, __ATOMIC_ACQUIRE)) {
    size_t taken = turn(l, false);
    if (taken || l->more_to_trim || l->unsynced) {
      adapt(l, taken);
      wait_for(l, l->gather_ms);
      continue;
    }
    __atomic_store_n(&l->asleep, true, __ATOMIC_SEQ_CST);
    bool often = l->follows || __atomic_load_n(&l->hurry, __ATOMIC_RELAXED);
    if (!ring_waits(l)) wait_for(l, often ? HURRY_MS : TEND_MS);
    if (__atomic_exchange_n(&l->asleep, false, __ATOMIC_SEQ_CST)) continue;
    wait_for(l, l->gather_ms);                           /* woken for a record: more will come */
  }
  turn(l, true);
  return NULL;
}

static void wake(struct ledger *l) {
  uint64_t one = 1;
  while (write(l->wake_fd, &one, sizeof one) < 0 && errno == EINTR) {}
}

bool ledger_lost(const struct ledger *l) { return __atomic_load_n(&l->lost, __ATOMIC_ACQUIRE); }

/* The ring's lock was dropped before, so whoever reads `asleep` as false here is seen by the look at the ring that follows its setting. */
void ledger_appended(struct ledger *l) {
  if (__atomic_load_n(&l->asleep, __ATOMIC_SEQ_CST) && __atomic_exchange_n(&l->asleep, false, __ATOMIC_SEQ_CST)) wake(l);
}

void ledger_wanted(struct ledger *l) {
  __atomic_store_n(&l->asleep, true, __ATOMIC_SEQ_CST);   /* so that it does not take it for a record and wait for more */
  wake(l);
}

/* ---- start and end */
struct ledger *ledger_open(const struct ledger_options *o, const char **why) {
  struct ledger *l = mem_zero(sizeof *l);
  *l = (struct ledger){ .cells = o->cells, .dir = mem_cstr(span_cstr(o->dir)), .limits = o->limits, .gather_ms = GATHER_MS, .base.lock_fd = -1 };
  pthread_mutex_init(&l->lock, NULL);
  l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  bool good = l->wake_fd >= 0 && (follow(l) || open_base(l, why));
  if (l->wake_fd < 0) *why = strerrordesc_np(errno);
  if (!good && o->needed && l->wake_fd >= 0) {
    lose(l, *why);
    good = true;
  }
  if (good) {
    turn(l, true);                                       /* what a dead process left, before any traffic */
    good = pthread_create(&l->thread, NULL, run, l) == 0;
    if (!good) *why = "no thread for it";
  }
  if (good) return l;
  base_close(&l->base);
  if (l->wake_fd >= 0) close(l->wake_fd);
  mem_free(l->dir);
  mem_free(l);
  return NULL;
}

void ledger_hurry(struct ledger *l) {
  __atomic_store_n(&l->hurry, true, __ATOMIC_RELAXED);
  wake(l);
}

void ledger_close(struct ledger *l) {
  if (!l) return;
  __atomic_store_n(&l->stop, true, __ATOMIC_RELEASE);
  wake(l);
  pthread_join(l->thread, NULL);
  base_close(&l->base);
  contents_drop(&l->contents);
  buf_free(&l->batch.text);
  close(l->wake_fd);
  pthread_mutex_destroy(&l->lock);
  mem_free(l->dir);
  mem_free(l);
}

void ledger_limit(struct ledger *l, const struct ledger_limits *limits) {
  pthread_mutex_lock(&l->lock);
  l->limits = *limits;
  pthread_mutex_unlock(&l->lock);
}

bool ledger_contents(struct ledger *l, int64_t sequence, struct span id, struct span request, struct span answer, bool cut) {
  pthread_mutex_lock(&l->lock);
  bool good = contents_push(&l->contents, sequence, id, request, answer, cut);
  pthread_mutex_unlock(&l->lock);
  return good;
}

void ledger_keep(struct ledger *l, const char *hash, const struct ledger_source *sources, size_t n) {
  struct keeping *k = mem_zero(sizeof *k);
  snprintf(k->hash, sizeof k->hash, "%s", hash);
  k->sources = arena_alloc(&k->arena, (n + 1) * sizeof *k->sources);
  for (; k->count < n; k->count++)
    k->sources[k->count] = (struct ledger_source){ arena_copy(&k->arena, sources[k->count].name), arena_copy(&k->arena, sources[k->count].bytes) };
  pthread_mutex_lock(&l->lock);
  k->next = l->keepings;
  l->keepings = k;
  pthread_mutex_unlock(&l->lock);
  wake(l);
}

void ledger_figures(struct ledger *l, struct ledger_figures *out) {
  struct cells_figures f;
  cells_figures(l->cells, &f);
  int64_t since = steady_ms() - __atomic_load_n(&l->drained_ms, __ATOMIC_RELAXED);
  *out = (struct ledger_figures){
    .records = __atomic_load_n(&l->records, __ATOMIC_RELAXED), .orphans = __atomic_load_n(&l->orphans, __ATOMIC_RELAXED),
    .grants = __atomic_load_n(&l->grants, __ATOMIC_RELAXED), .errors = __atomic_load_n(&l->errors, __ATOMIC_RELAXED),
    .lost = ledger_lost(l), .waiting = f.ledger_bytes, .lag = f.ledger_bytes ? (double)since / 1000 : 0,
    .size = __atomic_load_n(&l->size, __ATOMIC_RELAXED),
  };
}
