/* The two locks, and the undo log. */
#include "room.h"
#include "weir/log.h"
#include <errno.h>
#include <sched.h>
#include <time.h>

/* The lock is held for less than a microsecond. Spinning covers that; the pauses cover an owner that lost its processor;
   an owner that does not move for longer is stopped. */
enum { SPINS = 200, PAUSE_NS = 50000, PATIENCE_MS = 20 };

bool lock_init(struct file *f) {
  pthread_mutexattr_t a;
  if (pthread_mutexattr_init(&a)) return false;
  bool good = !pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED) && !pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST) &&
              !pthread_mutex_init(&f->lock.mutex, &a) && !pthread_mutex_init(&f->ring_lock.mutex, &a);
  pthread_mutexattr_destroy(&a);
  return good;
}

static void relax(void) {
#if defined __x86_64__
  __builtin_ia32_pause();
#elif defined __aarch64__
  __asm__ volatile("yield");
#endif
}

static int64_t clock_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A trylock and pauses instead of a timed lock, since that one counts on the wall clock in old C libraries. */
static int try_for_a_while(struct cells *c, pthread_mutex_t *m) {
  int e = EBUSY;
  for (int i = 0; i < SPINS; i++) {
    if ((e = pthread_mutex_trylock(m)) != EBUSY) return e;
    for (int k = 0; k < 8; k++) relax();
  }
  if (__atomic_load_n(&c->stuck, __ATOMIC_RELAXED)) return EBUSY;
  for (int64_t until = clock_ms() + PATIENCE_MS; clock_ms() < until;) {
    nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NS }, NULL);
    if ((e = pthread_mutex_trylock(m)) != EBUSY) return e;
  }
  return e;
}

/* Whether its owner died is in *dead. */
static bool mutex_take(struct cells *c, pthread_mutex_t *m, bool *dead) {
  int e = try_for_a_while(c, m);
  *dead = e == EOWNERDEAD;
  if (e == 0 || *dead) {
    if (__atomic_load_n(&c->stuck, __ATOMIC_RELAXED)) __atomic_store_n(&c->stuck, false, __ATOMIC_RELAXED);
    return true;
  }
  check(e == EBUSY);
  __atomic_store_n(&c->stuck, true, __ATOMIC_RELAXED);
  __atomic_add_fetch(&c->f->busy, 1, __ATOMIC_RELAXED);
  return false;
}

bool lock_take(struct cells *c) {
  bool dead;
  if (!mutex_take(c, &c->f->lock.mutex, &dead)) return false;
  if (dead) {                                    /* killed in here, the next one does it again: undoing twice is undoing once */
    undo(c);
    __atomic_store_n(&c->f->asked, 1, __ATOMIC_RELAXED);   /* it may have been half through them */
    pthread_mutex_consistent(&c->f->lock.mutex);
  }
  if (__atomic_load_n(&c->f->asked, __ATOMIC_RELAXED) && __atomic_exchange_n(&c->f->asked, 0, __ATOMIC_ACQ_REL)) settle_asked(c);
  return true;
}

void lock_drop(struct cells *c) {
  commit(c);
  pthread_mutex_unlock(&c->f->lock.mutex);
}

/* Nothing is to be undone here: what a dead producer wrote is behind the head. */
bool ring_lock_take(struct cells *c) {
  bool dead;
  if (!mutex_take(c, &c->f->ring_lock.mutex, &dead)) return false;
  if (dead) pthread_mutex_consistent(&c->f->ring_lock.mutex);
  return true;
}

void ring_lock_drop(struct cells *c) { pthread_mutex_unlock(&c->f->ring_lock.mutex); }

/* Only the compiler could reorder these: a killed thread's stores up to some instruction are seen, later ones are not. The
   log can hold the largest step there is (UNDO_WORDS); a word that it cannot hold is not written. */
bool put(struct cells *c, int64_t *word, int64_t value) {
  struct file *f = c->f;
  int64_t n = f->undo_count;
  if (*word == value) return true;
  if (!check(n < UNDO_WORDS)) return false;
  f->undo[n] = (struct undo){ word - (int64_t *)(void *)c->base, *word };
  __atomic_store_n(&f->undo_count, n + 1, __ATOMIC_RELEASE);
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  __atomic_store_n(word, value, __ATOMIC_RELEASE);
  return true;
}

void commit(struct cells *c) {
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  if (c->f->undo_count) __atomic_store_n(&c->f->undo_count, 0, __ATOMIC_RELEASE);
}

/* Newest first, so that of several values of one word the oldest stays. The count goes last. */
void undo(struct cells *c) {
  for (int64_t n = c->f->undo_count; n-- > 0;) {
    struct undo *u = &c->f->undo[n];
    __atomic_store_n((int64_t *)(void *)c->base + u->at, u->old, __ATOMIC_RELEASE);
  }
  commit(c);
}
