#include "room.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Each calling thread has a slot in which the number of its call stands, odd while it runs, and two timers that signal that
   thread and no other. `turn` counts the thread's own CPU time, so a thread that has little to do is hardly ever woken: every
   4 ms used (the kernel looks at its ticks) the handler sees which call runs, and notes what the clock says when it sees a number
   first. Then `left` rings when that call will have used its time at the earliest. So a call ends up to 4 ms late and never early. With
   no calls for a while the turns stop, and the next call starts them again. All words of a slot belong to its thread; the handler runs on it. */
enum { TURN_NS = 4000000, LEAST_LEFT_NS = 100000, QUIET_TURNS = 16 };
#define CLOCK_SIGNAL (SIGRTMIN + 1)
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid           /* glibc has no name for it yet */
#endif

struct slot {
  timer_t turn, left;
  struct vm *vm;                      /* innermost that has a call running */
  unsigned depth;
  uint64_t count;
  _Atomic uint64_t number;            /* the rest is for the handler too */
  _Atomic unsigned call_ms;
  atomic_bool parked;                 /* no turns */
  uint64_t seen;
  int64_t seen_ns;
  unsigned quiet;                     /* turns without a new call */
};

static pthread_key_t leaving;
static _Thread_local struct slot *mine;

/* ---- the handler: calls only what a handler may */
static int64_t cpu_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void timer_arm(timer_t timer, int64_t first_ns, int64_t every_ns) {
  const int64_t second = 1000000000;
  struct itimerspec t = { .it_value = { first_ns / second, first_ns % second }, .it_interval = { every_ns / second, every_ns % second } };
  timer_settime(timer, 0, &t, NULL);
}

static void call_look(struct slot *s, uint64_t number) {
  int64_t now = cpu_ns();
  if (number != s->seen) s->seen_ns = now;
  int64_t left = s->seen_ns + s->call_ms * 1000000ll - now;
  if (left <= 0) vm_run_interrupt(s->vm);
  else timer_arm(s->left, left < LEAST_LEFT_NS ? LEAST_LEFT_NS : left, 0);
}

static void look(int signal_number) {
  (void)signal_number;
  struct slot *s = mine;
  if (!s) return;
  int before = errno;
  uint64_t number = s->number;
  if (number & 1) call_look(s, number);
  s->quiet = number == s->seen ? s->quiet + 1 : 0;
  s->seen = number;
  if (s->quiet >= QUIET_TURNS && !(number & 1)) {
    timer_arm(s->turn, 0, 0);
    s->parked = true;
  }
  errno = before;
}

/* ---- the threads */
static void slot_leave(void *arg) {
  struct slot *s = arg;
  mine = NULL;
  timer_delete(s->turn);
  timer_delete(s->left);
  mem_free(s);
}

static void clock_ready(void) {
  struct sigaction act = { .sa_handler = look, .sa_flags = SA_RESTART };
  sigemptyset(&act.sa_mask);
  require(sigaction(CLOCK_SIGNAL, &act, NULL) == 0);
  require(pthread_key_create(&leaving, slot_leave) == 0);
}

static timer_t timer_made(clockid_t clock) {
  struct sigevent to = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = CLOCK_SIGNAL };
  to.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
  timer_t timer;
  require(timer_create(clock, &to, &timer) == 0);
  return timer;
}

void vm_thread_enter(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  sigset_t ours;
  sigemptyset(&ours);
  sigaddset(&ours, CLOCK_SIGNAL);
  pthread_sigmask(SIG_UNBLOCK, &ours, NULL);
  if (mine) return;
  pthread_once(&once, clock_ready);
  struct slot *s = mem_zero(sizeof *s);
  s->turn = timer_made(CLOCK_THREAD_CPUTIME_ID);
  s->left = timer_made(CLOCK_MONOTONIC);
  s->parked = true;
  require(pthread_setspecific(leaving, s) == 0);
  mine = s;
}

static void unpark(struct slot *s) {
  s->parked = false;
  s->quiet = 0;
  timer_arm(s->turn, TURN_NS, TURN_NS);
}

/* ---- calls */
void clock_begin(struct clock_call *c, struct vm *vm) {
  if (!mine) vm_thread_enter();
  struct slot *s = mine;
  c->outer = s->vm;
  if (!vm->depth++) {
    vm->doomed = 0;
    vm->outgrown = false;
    if (!vm->steps_given) vm->steps_left = (uint64_t)vm->call_ms * STEPS_PER_MS;
    else vm->steps_left = vm->steps_given;
  }
  s->vm = vm;
  atomic_signal_fence(memory_order_seq_cst);     /* the handler finds it while the number is odd */
  if (s->depth++) {
    if (c->outer->doomed) vm->doomed = 1;
    return;
  }
  atomic_store_explicit(&s->call_ms, vm->call_ms, memory_order_relaxed);
  atomic_store_explicit(&s->number, ++s->count, memory_order_relaxed);
  atomic_signal_fence(memory_order_seq_cst);     /* the number first: who parks sees it, or it sees who parked */
  if (atomic_load_explicit(&s->parked, memory_order_relaxed)) unpark(s);
}

void clock_end(struct clock_call *c, struct vm *vm) {
  struct slot *s = mine;
  bool doomed = vm->doomed;
  if (!--s->depth) atomic_store_explicit(&s->number, ++s->count, memory_order_relaxed);
  atomic_signal_fence(memory_order_seq_cst);
  s->vm = c->outer;
  if (!--vm->depth) vm->doomed = 0;
  if (doomed && c->outer && c->outer != vm) vm_run_interrupt(c->outer);
}
