/* counters.c: the process's hold on the counters of budgets and limits, and, where there is no ledger, the thread that looks after
   them: what dead processes left is settled, whatever waits for the lock is done. It may wait; nobody else may. */
#include "gateway.h"
#include "story.h"
#include <stdio.h>
#include "weir/ledger.h"

enum { TEND_S = 1 };

static struct {
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  bool running, stop;
} counters = { .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER };

/* What a dead process had reserved is spent. */
static void tell_orphans(struct cells *c) {
  struct cells_orphan o;
  while (cells_orphan(c, &o)) {
    log_warn("a request of a process that died counts as it was reserved: %.*s", (int)o.note_size, o.note);
    cells_orphan_done(c, o.slot);
  }
}

static void *tend(void *arg) {
  struct gateway *g = arg;
  pthread_mutex_lock(&counters.lock);
  while (!counters.stop) {
    struct timespec due;
    clock_gettime(CLOCK_REALTIME, &due);
    due.tv_sec += TEND_S;
    pthread_cond_timedwait(&counters.wake, &counters.lock, &due);
    pthread_mutex_unlock(&counters.lock);
    cells_tend(g->cells);
    tell_orphans(g->cells);
    pthread_mutex_lock(&counters.lock);
  }
  pthread_mutex_unlock(&counters.lock);
  return NULL;
}

bool counters_open(struct gateway *g, const char **why) {
  char path[512];
  struct cells_opened opened;
  snprintf(path, sizeof path, "%s/cells", g->runtime_dir);
  g->cells = cells_open(path, &opened, why);
  if (!g->cells) return false;
  story_open(g);
  if (g->ledger) return true;                            /* its thread does all of it */
  tell_orphans(g->cells);
  counters.running = !pthread_create(&counters.thread, NULL, tend, g);
  return true;
}

void counters_close(struct gateway *g) {
  if (counters.running) {
    pthread_mutex_lock(&counters.lock);
    counters.stop = true;
    pthread_cond_signal(&counters.wake);
    pthread_mutex_unlock(&counters.lock);
    pthread_join(counters.thread, NULL);
  }
  ledger_close(g->ledger);
  g->ledger = NULL;
  cells_close(g->cells);
  g->cells = NULL;
}
