/* Processes with threads that reserve, extend, settle and release at random and are killed at random, against sums that
   each keeps in shared memory: spent and reserved are never above the cap, afterwards nothing is reserved, and what is spent is
   to the last unit what some choice of "the step under way happened" or "did not" for each thread says. */
#include "verify.h"
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { CELLS = 6, TOTALS = 3, ROLLING = 4, PROCESSES = 2, THREADS = 2, WORKERS = PROCESSES * THREADS, OPEN = 5, ROUNDS = 24 };

/* What this worker's reservations come to if it is killed now: all that is settled, and what is open in full. `with`: if the
   step under way has happened. Two copies and which of them is valid, so that a kill finds one whole. */
struct sums { int64_t without[CELLS], with[CELLS]; };
struct journal { struct sums copy[2]; uint32_t which; uint64_t steps, refusals; };
static struct shared { struct journal of[WORKERS]; int64_t now; bool stop; } *shared;
static struct cells_scope scopes[CELLS];

struct worker {
  struct cells *c;
  struct journal *j;
  uint64_t seed;
  struct { uint64_t slot; struct cells_scope scope[CELLS]; size_t place[CELLS], count; int64_t held; char user[20]; } open[OPEN];
};

static uint64_t chance(uint64_t *seed, uint64_t below) {
  *seed = *seed * 6364136223846793005u + 1442695040888963407u;
  return (*seed >> 33) % below;
}

static void scopes_make(void) {
  static char names[CELLS][20];
  static const enum window_kind w[CELLS] = { WINDOW_TOTAL, WINDOW_TOTAL, WINDOW_TOTAL, WINDOW_FIXED, WINDOW_ROLLING, WINDOW_TOTAL };
  static const enum cell_kind k[CELLS] = { CELL_MONEY, CELL_TOKENS, CELL_MONEY, CELL_MONEY, CELL_TOKENS, CELL_CONCURRENT };
  static const int64_t caps[CELLS] = { 40000000, 20000000, 60000000, 9000, 12000, 5000 };
  for (int i = 0; i < CELLS; i++) {
    snprintf(names[i], sizeof names[i], "cell%d", i);
    scopes[i] = scope_of(names[i], k[i], w[i], i == 3 ? 7 : 60, caps[i]);
  }
}

/* without: as it was. with: this much more in those cells. */
static void under_way(struct worker *w, int n, int64_t delta) {
  uint32_t which = w->j->which;
  struct sums *to = &w->j->copy[!which], *from = &w->j->copy[which];
  *to = *from;
  for (size_t i = 0; i < w->open[n].count; i++) to->with[w->open[n].place[i]] += delta;
  __atomic_store_n(&w->j->which, !which, __ATOMIC_SEQ_CST);
}

static void came_out(struct worker *w, bool happened) {
  uint32_t which = w->j->which;
  struct sums *to = &w->j->copy[!which], *from = &w->j->copy[which];
  for (int i = 0; i < CELLS; i++) to->without[i] = to->with[i] = happened ? from->with[i] : from->without[i];
  __atomic_store_n(&w->j->which, !which, __ATOMIC_SEQ_CST);
  w->j->steps++;
}

static void reserve(struct worker *w, int n, int64_t now) {
  struct cells_held h;
  w->open[n].count = 0;
  for (size_t i = 0; i < CELLS; i++) {
    if (!chance(&w->seed, 2)) continue;
    w->open[n].place[w->open[n].count] = i;
    w->open[n].scope[w->open[n].count++] = scopes[i];
    if (i != ROLLING || chance(&w->seed, 2)) continue;     /* one of many users, so that cells are made and evicted too */
    snprintf(w->open[n].user, sizeof w->open[n].user, "user %d", (int)chance(&w->seed, 6000));
    w->open[n].scope[w->open[n].count - 1].id.value = span_cstr(w->open[n].user);
  }
  w->open[n].held = 1 + (int64_t)chance(&w->seed, 1000);
  struct cells_amount a = all(w->open[n].held);
  under_way(w, n, w->open[n].held);
  enum cells_result r = cells_reserve(w->c, w->open[n].scope, w->open[n].count, &a, SPAN("model"), now, &h);
  came_out(w, r == CELLS_OK);
  w->open[n].slot = r == CELLS_OK ? h.slot : 0;
  w->j->refusals += r == CELLS_CAPPED;
}

static void extend(struct worker *w, int n, int64_t now) {
  struct cells_held h;
  int64_t more = (int64_t)chance(&w->seed, 300);
  struct cells_amount a = all(more);
  under_way(w, n, more);
  enum cells_result r = cells_extend(w->c, w->open[n].slot, w->open[n].scope, w->open[n].count, &a, now, &h);
  came_out(w, r == CELLS_OK);
  if (r == CELLS_OK) w->open[n].held += more;
}

static void settle(struct worker *w, int n) {
  int64_t actual = chance(&w->seed, 4) ? (int64_t)chance(&w->seed, (uint64_t)w->open[n].held + 1) : 0;
  struct cells_amount a = all(actual);
  under_way(w, n, actual - w->open[n].held);
  bool stays = chance(&w->seed, 2);
  enum cells_result r = stays ? cells_count(w->c, w->open[n].slot, &a) : actual ? cells_settle(w->c, w->open[n].slot, &a) : cells_release(w->c, w->open[n].slot);
  came_out(w, r == CELLS_OK);
  if (stays && r == CELLS_OK) r = cells_release(w->c, w->open[n].slot);
  if (r != CELLS_OK) _exit(9);
  w->open[n].slot = 0;
}

static void *work(void *arg) {
  struct worker *w = arg;
  while (!__atomic_load_n(&shared->stop, __ATOMIC_RELAXED)) {
    int n = (int)chance(&w->seed, OPEN);
    int64_t now = __atomic_load_n(&shared->now, __ATOMIC_RELAXED) - (int64_t)chance(&w->seed, 2000);      /* clocks differ */
    if (!w->open[n].slot) reserve(w, n, now);
    else if (chance(&w->seed, 3) == 0) extend(w, n, now);
    else settle(w, n);
  }
  return NULL;
}

static pid_t process(int number, int round) {
  pid_t p = fork();
  if (p) return p;
  prctl(PR_SET_PDEATHSIG, SIGKILL);                        /* a test that failed leaves nobody behind */
  static struct worker w[THREADS];
  pthread_t t[THREADS];
  struct cells_opened o;
  const char *why;
  struct cells *c = cells_open(path, &o, &why);
  if (!c) _exit(8);
  for (int i = 0; i < THREADS; i++) {
    w[i].c = c;
    w[i].j = &shared->of[number * THREADS + i];
    w[i].seed = (uint64_t)(round * 100 + number * 10 + i);
    if (pthread_create(&t[i], NULL, work, &w[i])) _exit(7);
  }
  for (int i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
  _exit(0);
}

/* Read while all are at work. */
static void below_the_caps(void) {
  for (int i = 0; i < CELLS; i++) {
    struct cell_state s;
    if (cells_read(cells, &scopes[i].id, shared->now, &s) != CELLS_OK) continue;
    if (s.spent + s.reserved > scopes[i].cap) fail_msg("cell %d: spent %ld, reserved %ld", i, s.spent, s.reserved);
  }
}

static int64_t said(int worker, int choice, int cell) {
  const struct journal *j = &shared->of[worker];
  const struct sums *s = &j->copy[j->which];
  return choice >> worker & 1 ? s->with[cell] : s->without[cell];
}

/* What everyone's journal says, by some choice that is right for all cells at once. Then journals begin with that choice. */
static void sums_agree(void) {
  for (int choice = 0; choice < 1 << WORKERS; choice++) {
    bool right = true;
    for (int i = 0; i < TOTALS; i++) {
      int64_t sum = 0;
      for (int w = 0; w < WORKERS; w++) sum += said(w, choice, i);
      right &= state_at(cells, &scopes[i], shared->now).spent == sum;
    }
    if (!right) continue;
    for (int w = 0; w < WORKERS; w++) {
      struct journal *j = &shared->of[w];
      struct sums *s = &j->copy[j->which];
      for (int i = 0; i < CELLS; i++) s->without[i] = s->with[i] = said(w, choice, i);
    }
    return;
  }
  fail_msg("no choice of steps explains what is spent");
}

static void round_of(int round, uint64_t *seed) {
  pid_t p[PROCESSES];
  shared->stop = false;
  for (int i = 0; i < PROCESSES; i++) p[i] = process(i, round);
  for (int i = 0; i < PROCESSES; i++) {
    for (int k = (int)chance(seed, 8); k >= 0; k--) {
      usleep(1000 + (useconds_t)chance(seed, 2000));
      __atomic_add_fetch(&shared->now, (int64_t)chance(seed, 3000), __ATOMIC_RELAXED);
      below_the_caps();
    }
    if (round % 4) kill(p[i], SIGKILL);                    /* else it ends by itself, with reservations open */
    else __atomic_store_n(&shared->stop, true, __ATOMIC_RELAXED);
    if (i == 0) cells_tend(cells);                         /* the dead are buried while others work */
  }
  for (int i = 0; i < PROCESSES; i++) {
    int status;
    waitpid(p[i], &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status)) fail_msg("a process ended with %d", WEXITSTATUS(status));
  }
  if (round % 3 == 0) {                                    /* nobody is left: the file is found by the next who comes */
    cells_close(cells);
    cells = open_cells();
  } else {
    cells_tend(cells);
  }
  orphans_end(cells);
  verify(cells);
  for (int i = 0; i < CELLS; i++) assert_int_equal(state_at(cells, &scopes[i], shared->now).reserved, 0);
  sums_agree();
  below_the_caps();
}

static void model(void **state) {
  uint64_t seed = 3, steps = 0, refusals = 0;
  (void)state;
  scopes_make();
  shared->now = T0;
  for (int round = 1; round <= ROUNDS; round++) round_of(round, &seed);
  for (int w = 0; w < WORKERS; w++) steps += shared->of[w].steps, refusals += shared->of[w].refusals;
  struct cells_figures f;
  cells_figures(cells, &f);
  print_message("%lu steps, %lu refused, %lu busy, %zu cells, %lu evicted, spent %ld of %ld\n", steps, refusals, f.busy, f.cells,
                f.evicted, state_at(cells, &scopes[0], shared->now).spent, scopes[0].cap);
  assert_true(steps > 1000 && refusals > 0);
  assert_int_equal(f.slots, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(model, rig_up, rig_down) };
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
