/* A process that is killed, or stopped, after any instruction of any step: it is traced and stepped to there. */
#include "verify.h"
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

#if defined __SANITIZE_ADDRESS__
enum { KILLS = 12 };                                       /* each step costs some 20 us */
#else
enum { KILLS = 48 };
#endif
enum { SCOPES = 6, RESERVE = 1, EXTEND, COUNT, RELEASE, DONE, TEND };
static struct cells_scope scopes[SCOPES];
static volatile int *phase, *stop_at;                      /* shared with the child: what it does, where it waits to be stepped */
static uint64_t seed = 7;
static char names[SCOPES][32];

static uint64_t chance(uint64_t below) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (seed >> 33) % below;
}

/* New cells for each life, of all kinds of windows. */
static void scopes_make(int life) {
  static const enum window_kind w[SCOPES] = { WINDOW_TOTAL, WINDOW_ROLLING, WINDOW_DAY, WINDOW_SESSION, WINDOW_TOTAL, WINDOW_ROLLING };
  static const enum cell_kind k[SCOPES] = { CELL_MONEY, CELL_TOKENS, CELL_MONEY, CELL_MONEY, CELL_CONCURRENT, CELL_MONEY };
  for (int i = 0; i < SCOPES; i++) {
    snprintf(names[i], sizeof names[i], "life %d cell %d", life, i);
    scopes[i] = scope_of(names[i], k[i], w[i], 60, 100);
  }
}

static void comes_to(int n) {
  *phase = n;
  if (*stop_at == n) raise(SIGSTOP);
}

/* The child's whole life: reserve 40, extend to 60, settle at 33, end the slot that stayed. */
static void live(struct cells *c, struct cells_scope *s) {
  struct cells_amount amount = all(40), more = all(20), actual = all(33);
  struct cells_held h;
  comes_to(RESERVE);
  if (cells_reserve(c, s, SCOPES, &amount, SPAN("life"), T0, &h) != CELLS_OK) _exit(2);
  comes_to(EXTEND);
  if (cells_extend(c, h.slot, s, SCOPES, &more, T0, &h) != CELLS_OK) _exit(3);
  comes_to(COUNT);
  if (cells_count(c, h.slot, &actual) != CELLS_OK) _exit(4);
  comes_to(RELEASE);
  if (cells_release(c, h.slot) != CELLS_OK) _exit(6);
  comes_to(DONE);
}

/* A child that waits at the begin of that step. A first life in other cells has bound what the linker binds late. */
static pid_t child(int at) {
  *stop_at = -1;
  pid_t p = fork();
  if (p) return p;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  struct cells_scope other[SCOPES];
  struct cells_opened o;
  const char *why;
  struct cells *c = cells_open(path, &o, &why);
  if (!c) _exit(5);
  memcpy(other, scopes, sizeof other);
  for (int i = 0; i < SCOPES; i++) other[i].id.value = SPAN("warm");
  live(c, other);
  if (ptrace(PTRACE_TRACEME, 0, 0, 0)) _exit(77);
  *stop_at = at;
  if (at == TEND) {
    raise(SIGSTOP);
    cells_tend(c);
  } else {
    live(c, scopes);
  }
  raise(SIGSTOP);
  _exit(0);
}

static bool begin(pid_t p) {
  int status;
  while (waitpid(p, &status, 0) < 0 && errno == EINTR) {}
  if (WIFEXITED(status) && WEXITSTATUS(status) != 77) fail_msg("the child ended with %d", WEXITSTATUS(status));
  return WIFSTOPPED(status);
}

/* False: it has ended. */
static bool step(pid_t p) {
  int status;
  if (ptrace(PTRACE_SINGLESTEP, p, 0, 0)) return false;
  if (waitpid(p, &status, 0) < 0) return false;
  if (WIFEXITED(status) && WEXITSTATUS(status)) fail_msg("the child ended with %d", WEXITSTATUS(status));
  return WIFSTOPPED(status);
}

static void kill_and_wait(pid_t p) {
  kill(p, SIGKILL);
  waitpid(p, NULL, 0);
}

static bool can_trace(void) {
#if defined __SANITIZE_THREAD__
  print_message("skipped: its runtime takes a hundred times as many steps\n");
  return false;
#endif
  scopes_make(1000);
  pid_t p = child(RESERVE);
  bool can = begin(p);
  kill_and_wait(p);
  cells_tend(cells);
  if (!can) print_message("skipped: tracing is not allowed here\n");
  return can;
}

/* How long the step takes; it may be in a call that the kernel finishes, so a few more or less do not matter. */
static long length(int at) {
  pid_t p = child(at);
  long n = 0;
  assert_true(begin(p));
  while (step(p) && (at == TEND ? n < 3000 : *phase == at)) n++;
  kill_and_wait(p);
  cells_tend(cells);
  orphans_end(cells);
  return n;
}

/* Either what was under way happened, or it did not: in all cells the same, and in what is left of its slot. */
static void lived(int at, bool *happened) {
  static const int64_t without[] = { 0, 0, 40, 60, 33, 33 }, with[] = { 0, 40, 60, 33, 33, 33 };
  struct cells_orphan o;
  int64_t spent = state_at(cells, &scopes[0], T0).spent;
  if (spent != without[at] && spent != with[at]) fail_msg("phase %d: spent %ld", at, spent);
  for (int i = 0; i < SCOPES; i++) holds(cells, &scopes[i], T0, scopes[i].id.kind == CELL_CONCURRENT ? 0 : spent, 0);
  if (cells_orphan(cells, &o) && (o.amount.of[CELL_MONEY] != spent || o.amount.of[CELL_TOKENS] != spent || o.note_size != 4))
    fail_msg("phase %d: spent %ld, the orphan has %ld", at, spent, o.amount.of[CELL_MONEY]);
  size_t left = orphans_end(cells);
  if (at == RELEASE ? left > 1 : left != (spent > 0 && at != DONE)) fail_msg("phase %d: spent %ld, %zu orphans", at, spent, left);
  *happened = at == RELEASE ? !left : without[at] != with[at] && spent == with[at];
}

static void killed_anywhere(void **state) {
  int at[DONE + 1][2] = { 0 };
  long steps[DONE];
  (void)state;
  if (!can_trace()) skip();
  for (int i = RESERVE; i < DONE; i++) scopes_make(-i), steps[i] = length(i);
  for (int life = 0; life < KILLS; life++) {
    int which = RESERVE + life % 4;
    bool happened;
    scopes_make(life);
    pid_t p = child(which);
    assert_true(begin(p));
    long n = life / 4 % 4 ? (long)chance((uint64_t)steps[which]) : steps[which] - (long)chance(80);   /* around the moment itself too */
    for (; n > 0 && step(p); n--) {}
    kill_and_wait(p);
    cells_tend(cells);
    lived(*phase, &happened);
    at[*phase][happened]++;
    verify(cells);
  }
  print_message("%ld, %ld, %ld and %ld instructions; killed before and after the moment: reserve %d %d, extend %d %d, settle %d %d, release %d %d\n",
                steps[1], steps[2], steps[3], steps[4], at[1][0], at[1][1], at[2][0], at[2][1], at[3][0], at[3][1], at[4][0], at[4][1]);
}

/* One process dies with a reservation open, the next one while it settles that. */
static void killed_while_it_settles_the_dead(void **state) {
  (void)state;
  if (!can_trace()) skip();
  for (int life = 0; life < KILLS / 3; life++) {
    struct cells_amount amount = all(40);
    struct cells_held h;
    scopes_make(life);
    struct cells *dead = open_cells();
    assert_int_equal(cells_reserve(dead, scopes, SCOPES, &amount, SPAN("x"), T0, &h), CELLS_OK);
    pid_t p = child(TEND);
    assert_true(begin(p));
    cells_close(dead);
    for (long n = (long)chance(3000); n > 0 && step(p); n--) {}
    kill_and_wait(p);
    cells_tend(cells);
    for (int i = 0; i < SCOPES; i++) holds(cells, &scopes[i], T0, scopes[i].id.kind == CELL_CONCURRENT ? 0 : 40, 0);
    assert_int_equal(orphans_end(cells), 1);
    verify(cells);
  }
}

static int64_t clock_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Stopped within a step, which the undo log shows; then killed, or let go on. */
static void stopped_in_the_lock(bool killed) {
  struct cells_scope mine = scope_of("mine", CELL_MONEY, WINDOW_TOTAL, 0, 1000);
  struct cells_amount ten = all(10), four = all(4);
  struct cells_held h;
  bool happened;
  int64_t spent = state_at(cells, &mine, T0).spent;
  assert_int_equal(cells_reserve(cells, &mine, 1, &ten, SPAN("x"), T0, &h), CELLS_OK);
  uint64_t slot = h.slot, stays[2];
  for (int i = 0; i < 2; i++) assert_int_equal(cells_reserve(cells, &mine, 1, &ten, SPAN("x"), T0, &h), CELLS_OK), stays[i] = h.slot;
  pid_t p = child(EXTEND);
  assert_true(begin(p));
  while (__atomic_load_n(&cells->f->undo_count, __ATOMIC_ACQUIRE) < 5) assert_true(step(p));
  assert_int_equal(ptrace(PTRACE_DETACH, p, 0, SIGSTOP), 0);
  int64_t begun = clock_ms();
  assert_int_equal(cells_reserve(cells, &mine, 1, &ten, SPAN("x"), T0, &h), CELLS_BUSY);
  for (int i = 0; i < 20; i++) assert_int_equal(cells_reserve(cells, &mine, 1, &ten, SPAN("x"), T0, &h), CELLS_BUSY);
  assert_int_equal(cells_settle(cells, slot, &four), CELLS_OK);            /* does not wait for anyone */
  assert_int_equal(cells_settle(cells, slot, &four), CELLS_GONE);
  for (int i = 0; i < 2; i++) assert_int_equal(cells_count(cells, stays[i], &four), CELLS_OK);
  assert_int_equal(cells_count(cells, stays[0], &four), CELLS_GONE);
  assert_int_equal(cells_release(cells, stays[0]), CELLS_OK);              /* though it is not counted yet */
  assert_int_equal(cells_release(cells, stays[0]), CELLS_GONE);
  assert_int_equal(cells_append(cells, SPAN("record")), CELLS_OK);
  if (clock_ms() - begun > 1000) fail_msg("%ld ms", clock_ms() - begun);
  kill(p, killed ? SIGKILL : SIGCONT);
  if (!killed) {                                           /* it stops once more at its end */
    while (*phase != DONE) usleep(1000);
    kill(p, SIGKILL);
  }
  waitpid(p, NULL, 0);
  cells_tend(cells);
  holds(cells, &mine, T0, spent + 12, 0);
  assert_int_equal(cells_release(cells, stays[1]), CELLS_OK);
  assert_int_equal(cells_release(cells, stays[1]), CELLS_GONE);
  lived(killed ? EXTEND : DONE, &happened);
  assert_false(happened);
  verify(cells);
}

static void stopped(void **state) {
  (void)state;
  if (!can_trace()) skip();
  scopes_make(1);
  stopped_in_the_lock(true);
  scopes_make(2);
  stopped_in_the_lock(false);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, rig_up, rig_down)
  const struct CMUnitTest tests[] = { T(killed_anywhere), T(killed_while_it_settles_the_dead), T(stopped) };
  phase = mmap(NULL, 2 * sizeof *phase, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  stop_at = phase + 1;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
