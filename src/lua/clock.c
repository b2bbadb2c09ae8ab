#include "room.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* One monitor thread per process. Each calling thread has a slot in which the number of its call stands, odd while
   it runs; beginning and ending a call is a store each. The monitor looks every 4 ms, notes the CPU clock of the
   thread when it first sees a number, and when the same call has used its time since, dooms that number and signals
   the thread; so a call ends up to 4 ms late and never early. The handler acts only when the number is still the running one. With no calls for a while the monitor
   sleeps, and the next call wakes it. */
enum { TURN_NS = 4000000, LEAST_TURN_NS = 100000, QUIET_TURNS = 4 };
#define CLOCK_SIGNAL (SIGRTMIN + 1)

struct slot {
  struct slot *next;
  pid_t thread;
  clockid_t clock;
  _Atomic uint64_t number, doomed;
  _Atomic unsigned call_ms;
  /* the thread's own */
  struct vm *vm;                      /* innermost that has a call running */
  unsigned depth;
  uint64_t count;
  /* the monitor's own */
  uint64_t seen;
  int64_t seen_ns;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;   /* of the list and of parked */
static pthread_cond_t unparked = PTHREAD_COND_INITIALIZER;
static struct slot *slots;
static atomic_bool parked;
static pthread_key_t leaving;
static _Thread_local struct slot *mine;

/* ---- the monitor */
static int64_t cpu_ns(const struct slot *s) {
  struct timespec t;
  if (clock_gettime(s->clock, &t)) return 0;
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* True when there was something to see; *turn_ns is lowered to when the call will have used its time. */
static bool slot_look(struct slot *s, int64_t *turn_ns) {
  uint64_t number = atomic_load(&s->number);
  bool fresh = number != s->seen;
  s->seen = number;
  if (!(number & 1)) return fresh;
  if (atomic_load(&s->doomed) == number) return true;
  int64_t now = cpu_ns(s);
  if (fresh) s->seen_ns = now;
  int64_t left = s->seen_ns + atomic_load(&s->call_ms) * 1000000ll - now;
  if (left <= 0) {
    atomic_store(&s->doomed, number);
    syscall(SYS_tgkill, getpid(), s->thread, CLOCK_SIGNAL);
  } else if (left < *turn_ns) {
    *turn_ns = left;
  }
  return true;
}

static bool slots_look(int64_t *turn_ns) {
  bool busy = false;
  for (struct slot *s = slots; s; s = s->next) busy |= slot_look(s, turn_ns);
  return busy;
}

/* A call that begins stores its number and then reads parked; here parked is stored and then the numbers are read.
   All in one order, so one of the two sees the other. */
static void park(int64_t *turn_ns) {
  atomic_store(&parked, true);
  if (slots_look(turn_ns)) atomic_store(&parked, false);
  while (atomic_load(&parked)) pthread_cond_wait(&unparked, &lock);
}

static void *monitor_run(void *arg) {
  (void)arg;
  unsigned quiet = 0;
  for (;;) {
    int64_t turn_ns = TURN_NS;
    pthread_mutex_lock(&lock);
    quiet = slots_look(&turn_ns) ? 0 : quiet + 1;
    if (quiet >= QUIET_TURNS) park(&turn_ns);
    pthread_mutex_unlock(&lock);
    struct timespec turn = { 0, turn_ns < LEAST_TURN_NS ? LEAST_TURN_NS : turn_ns };
    nanosleep(&turn, NULL);
  }
  return NULL;
}

static void unpark(void) {
  pthread_mutex_lock(&lock);
  if (atomic_exchange(&parked, false)) pthread_cond_signal(&unparked);
  pthread_mutex_unlock(&lock);
}

/* ---- the threads */
static void interrupt(int number) {
  (void)number;
  struct slot *s = mine;
  uint64_t running = s ? atomic_load(&s->number) : 0;
  if (running & 1 && atomic_load(&s->doomed) == running) vm_run_interrupt(s->vm);
}

static void slot_leave(void *arg) {
  struct slot *s = arg;
  pthread_mutex_lock(&lock);
  for (struct slot **at = &slots; *at; at = &(*at)->next)
    if (*at == s) { *at = s->next; break; }
  pthread_mutex_unlock(&lock);
  mine = NULL;
  mem_free(s);
}

static void monitor_start(void) {
  struct sigaction act = { .sa_handler = interrupt, .sa_flags = SA_RESTART };
  sigset_t all, before;
  pthread_t thread;
  sigemptyset(&act.sa_mask);
  require(sigaction(CLOCK_SIGNAL, &act, NULL) == 0);
  require(pthread_key_create(&leaving, slot_leave) == 0);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  require(pthread_create(&thread, NULL, monitor_run, NULL) == 0);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_setname_np(thread, "weir-clock");
  pthread_detach(thread);
}

void vm_thread_enter(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  sigset_t ours;
  sigemptyset(&ours);
  sigaddset(&ours, CLOCK_SIGNAL);
  pthread_sigmask(SIG_UNBLOCK, &ours, NULL);
  if (mine) return;
  pthread_once(&once, monitor_start);
  struct slot *s = mem_zero(sizeof *s);
  s->thread = (pid_t)syscall(SYS_gettid);
  require(pthread_getcpuclockid(pthread_self(), &s->clock) == 0);
  require(pthread_setspecific(leaving, s) == 0);
  pthread_mutex_lock(&lock);
  s->next = slots;
  slots = s;
  pthread_mutex_unlock(&lock);
  mine = s;
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
  if (s->depth++) {
    if (c->outer->doomed) vm->doomed = 1;
    return;
  }
  atomic_store_explicit(&s->call_ms, vm->call_ms, memory_order_relaxed);
  atomic_store(&s->number, ++s->count);
  if (__builtin_expect(atomic_load(&parked), 0)) unpark();
}

void clock_end(struct clock_call *c, struct vm *vm) {
  struct slot *s = mine;
  bool doomed = vm->doomed;
  if (!--s->depth) atomic_store_explicit(&s->number, ++s->count, memory_order_release);
  s->vm = c->outer;
  if (!--vm->depth) vm->doomed = 0;
  if (doomed && c->outer && c->outer != vm) vm_run_interrupt(c->outer);
}
