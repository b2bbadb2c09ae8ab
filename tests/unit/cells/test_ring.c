/* The ledger's ring: order, fullness, one reader, producers that are killed at any moment. */
#include "verify.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static char big[CELLS_RECORD + 1];

static void in_order(void **state) {
  struct span r;
  (void)state;
  assert_false(cells_drain(cells, &r));                    /* without the role there is nothing to see */
  assert_true(cells_drain_begin(cells));
  assert_false(cells_drain(cells, &r));
  assert_int_equal(cells_append(cells, SPAN("one")), CELLS_OK);
  assert_int_equal(cells_append(cells, SPAN("")), CELLS_OK);
  assert_int_equal(cells_append(cells, span_of(big, sizeof big)), CELLS_FULL);
  assert_int_equal(cells_append(cells, span_of(big, CELLS_RECORD)), CELLS_OK);
  assert_true(cells_drain(cells, &r) && span_eq(r, SPAN("one")));
  assert_true(cells_drain(cells, &r) && r.n == 0);
  cells_drained(cells);
  assert_true(cells_drain(cells, &r) && r.n == CELLS_RECORD);
  assert_true(cells_drain_begin(cells));                   /* what was not acknowledged comes again */
  assert_true(cells_drain(cells, &r) && r.n == CELLS_RECORD);
  assert_false(cells_drain(cells, &r));
}

/* Records that tell their number and size, many times around. */
static void around_and_full(void **state) {
  int64_t in = 0, out = 0, full = 0;
  struct cells_figures f;
  struct span r;
  (void)state;
  assert_true(cells_drain_begin(cells));
  for (int round = 0; round < 60; round++) {
    for (;;) {
      size_t n = sizeof in + (size_t)(in * 7919 % 3000);
      memcpy(big, &in, sizeof in);
      if (cells_append(cells, span_of(big, n)) != CELLS_OK) break;
      in++;
    }
    full++;
    cells_figures(cells, &f);
    assert_true(f.ledger_bytes <= f.ledger_room && f.ledger_bytes + 6100 > f.ledger_room);
    for (int64_t stop = out + 100 + round * 7; out < stop && cells_drain(cells, &r); out++) {
      assert_int_equal(r.n, sizeof out + (size_t)(out * 7919 % 3000));
      assert_memory_equal(r.p, &out, sizeof out);
    }
    cells_drained(cells);
  }
  while (cells_drain(cells, &r)) out++;
  assert_int_equal(in, out);
  assert_true(full == 60 && in > 5000);
}

static void one_reader(void **state) {
  struct span r;
  (void)state;
  assert_true(cells_drain_begin(cells));
  struct cells *other = open_cells();
  assert_false(cells_drain_begin(other));
  assert_int_equal(cells_append(other, SPAN("from the other")), CELLS_OK);
  assert_true(cells_drain(cells, &r) && span_eq(r, SPAN("from the other")));
  cells_close(cells);                                      /* not acknowledged, so the next one has it */
  cells = other;
  assert_true(cells_drain_begin(cells));
  assert_true(cells_drain(cells, &r) && span_eq(r, SPAN("from the other")));
}

/* Producers, each with its own numbers: what it was told is in is there, once, whole, in its order; of what it was not told
   there may be one more. */
enum { PRODUCERS = 3, LIVES = 30 };
struct record { int64_t producer, number, size; };
static volatile int64_t *told;                             /* shared: how many appends returned OK */

static pid_t produce(int number) {
  pid_t p = fork();
  if (p) return p;
  struct cells_opened o;
  const char *why;
  static char bytes[2048];
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  struct cells *c = cells_open(path, &o, &why);
  if (!c) _exit(1);
  for (int64_t n = told[number];;) {
    struct record r = { number, n, (int64_t)sizeof r + n * 31 % 1900 };
    memset(bytes, (int)(n & 0xFF), sizeof bytes);
    memcpy(bytes, &r, sizeof r);
    if (cells_append(c, span_of(bytes, (size_t)r.size)) == CELLS_OK) told[number] = ++n;
  }
}

static void take_all(int64_t *taken) {
  struct span s;
  while (cells_drain(cells, &s)) {
    struct record r;
    assert_true(s.n >= sizeof r);
    memcpy(&r, s.p, sizeof r);
    assert_true(r.producer >= 0 && r.producer < PRODUCERS);
    assert_int_equal(r.number, taken[r.producer]);
    assert_int_equal(r.size, s.n);
    for (size_t i = sizeof r; i < s.n; i++) assert_int_equal((unsigned char)s.p[i], r.number & 0xFF);
    taken[r.producer]++;
  }
  cells_drained(cells);
}

static void killed_producers(void **state) {
  int64_t taken[PRODUCERS] = { 0 }, sum = 0;
  uint64_t seed = 5;
  (void)state;
  assert_true(cells_drain_begin(cells));
  for (int i = 0; i < PRODUCERS; i++) told[i] = 0;
  for (int life = 0; life < LIVES; life++) {
    pid_t p[PRODUCERS];
    for (int i = 0; i < PRODUCERS; i++) p[i] = produce(i);
    for (int i = 0; i < PRODUCERS; i++) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      usleep(500 + (useconds_t)(seed >> 33) % 3000);
      take_all(taken);
      kill(p[i], SIGKILL);
    }
    for (int i = 0; i < PRODUCERS; i++) waitpid(p[i], NULL, 0);
    take_all(taken);
    for (int i = 0; i < PRODUCERS; i++) {
      if (taken[i] != told[i] && taken[i] != told[i] + 1) fail_msg("producer %d: %ld taken of %ld", i, taken[i], told[i]);
      told[i] = taken[i];
    }
    assert_int_equal(cells_append(cells, SPAN("")), CELLS_OK);             /* a dead owner of the lock is no obstacle */
    struct span s;
    assert_true(cells_drain(cells, &s) && s.n == 0);
    cells_drained(cells);
  }
  for (int i = 0; i < PRODUCERS; i++) sum += taken[i];
  print_message("%ld records of killed producers\n", sum);
  assert_true(sum > LIVES);
}

/* Stopped while it holds the ring's lock: others are told, and not held up. */
static void stopped_producer(void **state) {
  struct span r;
  int status;
  (void)state;
  pid_t p = fork();
  if (!p) {
    struct cells_opened o;
    const char *why;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct cells *c = cells_open(path, &o, &why);
    if (!c || cells_append(c, SPAN("whole")) != CELLS_OK || !ring_lock_take(c)) _exit(1);
    raise(SIGSTOP);
    _exit(1);
  }
  assert_int_equal(waitpid(p, &status, WUNTRACED), p);
  assert_true(WIFSTOPPED(status));
  for (int i = 0; i < 50; i++) assert_int_equal(cells_append(cells, SPAN("mine")), CELLS_BUSY);
  assert_true(cells_drain_begin(cells));
  assert_true(cells_drain(cells, &r) && span_eq(r, SPAN("whole")));          /* the reader needs no lock */
  kill(p, SIGKILL);
  waitpid(p, NULL, 0);
  assert_int_equal(cells_append(cells, SPAN("mine")), CELLS_OK);
  assert_true(cells_drain(cells, &r) && span_eq(r, SPAN("mine")));
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, rig_up, rig_down)
  const struct CMUnitTest tests[] = { T(in_order), T(around_and_full), T(one_reader), T(killed_producers), T(stopped_producer) };
  told = mmap(NULL, PRODUCERS * sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
