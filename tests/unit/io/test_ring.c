/* What a loop on the kernel can show, and what only the ring can: buffers running out, completions of the past, other threads, refusals. */
#include "world.h"
#include "weir/log.h"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include "../../../src/io/ring.h"

static uint64_t wall_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static double cpu_seconds(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void pairs(struct world *w, struct end *near, struct end *far, int n) {
  for (int i = 0; i < n; i++) world_pair(w, &near[i], &far[i]);
}
static void pairs_over(struct world *w, struct end *near, struct end *far, int n) {
  for (int i = 0; i < n; i++) end_over(w, &near[i]), end_over(w, &far[i]);
}

/* Two buffers for forty readers: all get their bytes, and readers without data do not make the loop spin. */
static void test_two_buffers(void **state) {
  (void)state;
  enum { MANY = 40 };
  const struct ring_options two = { .entries = 256, .buffers = 2, .buffer_size = 1024 };
  struct world *w = world_new(&two, NULL);
  static struct end near[MANY], far[MANY];
  static char text[MANY][5000];
  pairs(w, near, far, MANY);
  for (int i = 0; i < MANY; i++) {
    memset(text[i], 'a' + i % 26, sizeof text[i]);
    far[i].reading = true;
    end_read(&far[i]);
  }
  for (int i = 0; i < MANY; i += 2) end_write(&near[i], span_of(text[i], sizeof text[i]));
  for (int i = 0; i < MANY; i += 2) {
    world_until(w, buf_size(&far[i].in) == sizeof text[i]);
    assert_memory_equal(far[i].in.p, text[i], sizeof text[i]);
  }
  assert_true(w->loop->stats.no_buffers > 0);
  uint64_t turns = w->loop->stats.turns, enters = w->loop->stats.enters;
  world_pass(w, 100);
  assert_true(w->loop->stats.turns - turns < 50);
  assert_true(w->loop->stats.enters - enters < 50);
  for (int i = 1; i < MANY; i += 2) {
    assert_int_equal(far[i].recvs, 0);
    end_write(&near[i], SPAN("late"));
    world_until(w, buf_size(&far[i].in) == 4);
  }
  pairs_over(w, near, far, MANY);
  world_free(w);
}

static struct op *op_of_place(struct ring *r, uint64_t data) { return r->slots[(uint32_t)data].op; }

/* Cancelling and closing readers that wait for a buffer. */
static void test_close_while_starved(void **state) {
  (void)state;
  enum { MANY = 30 };
  const struct ring_options two = { .entries = 256, .buffers = 1, .buffer_size = 512 };
  struct world *w = world_new(&two, NULL);
  static struct end near[MANY], far[MANY];
  static char text[4000];
  pairs(w, near, far, MANY);
  for (int i = 0; i < MANY; i++) end_write(&near[i], span_of(text, sizeof text)), far[i].reading = true;
  world_pass(w, 5);
  for (int i = 0; i < MANY; i++) end_read(&far[i]);
  for (int i = 0; i < 3; i++) loop_turn(w->loop);
  assert_true(w->loop->stats.no_buffers > 0);
  struct end *starved = NULL;
  struct ring *r = (struct ring *)w->loop;
  for (int i = 0; i < MANY; i++)
    if (op_of_place(r, r->starved[r->starved_count - 1]) == &far[i].s.recv) starved = &far[i];
  assert_true(r->starved_count > 5 && starved);
  unsigned before = starved->recvs;
  w->loop->calls->cancel(w->loop, &starved->s.recv);
  world_until(w, starved->recvs > before);
  assert_int_equal(starved->recv_result, IO_CANCELLED);
  end_read(starved);
  for (int i = 0; i < MANY; i += 2) {
    sock_close(&far[i].s, end_closed);
    unsigned recvs = far[i].recvs;
    loop_turn(w->loop);
    assert_int_equal(recvs, far[i].recvs);
  }
  for (int i = 0; i < MANY; i += 2) world_until(w, far[i].closes == 1);
  for (int i = 1; i < MANY; i += 2) world_until(w, buf_size(&far[i].in) == sizeof text);
  pairs_over(w, near, far, MANY);
  world_free(w);
}

/* More ops than the submission queue holds, asked for in one breath; and all of them ready at once. */
static void test_more_ops_than_entries(void **state) {
  (void)state;
  enum { MANY = 250 };
  const struct ring_options small = { .entries = 16, .buffers = 8, .buffer_size = 4096 };
  struct world *w = world_new(&small, NULL);
  static struct end near[MANY], far[MANY];
  pairs(w, near, far, MANY);
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < MANY; i++) {
      end_read(&far[i]);
      w->loop->calls->poll(w->loop, &far[i].s.watch, far[i].s.fd, POLLRDHUP);
      end_write(&near[i], SPAN("all at once"));
    }
    for (int i = 0; i < MANY; i++) {
      world_until(w, near[i].sends == (unsigned)round + 1 && far[i].recvs == (unsigned)round + 1);
      assert_int_equal(near[i].send_result, 11);
      assert_true(span_eq(buf_span(&far[i].in), SPAN("all at once")));
      buf_clear(&far[i].in);
      w->loop->calls->cancel(w->loop, &far[i].s.watch);
    }
    for (int i = 0; i < MANY; i++) world_until(w, !op_busy(&far[i].s.watch));
  }
  pairs_over(w, near, far, MANY);
  world_free(w);
}

/* The completion queue (8 x 16) runs over while nobody looks: nothing is lost, failed sends are seen as such. */
static void test_full_completion_queue(void **state) {
  (void)state;
  enum { MANY = 200, BIG = 8 << 20 };
  const struct ring_options small = { .entries = 16, .buffers = 8, .buffer_size = 4096 };
  struct world *w = world_new(&small, NULL);
  static struct end near[MANY], far[MANY];
  char *big = mem_zero(BIG);
  pairs(w, near, far, MANY);
  for (int i = 0; i < MANY; i++) end_write(&near[i], span_of(big, BIG));      /* each falls short at once */
  world_pass(w, 10);
  for (int i = 0; i < MANY; i++) assert_int_equal(near[i].sends, 0);
  assert_int_equal(w->loop->stats.short_sends, MANY);
  mem_free(near[0].in.p);
  pairs_over(w, near, far, MANY);
  mem_free(big);
  world_free(w);
}

/* A completion that carries an earlier generation of a slot, or a slot of nobody, meets nobody. */
static void test_generation(void **state) {
  (void)state;
  struct world *w = world_new(NULL, NULL);
  struct ring *r = (struct ring *)w->loop;
  struct end a, b;
  world_pair(w, &a, &b);
  end_read(&a);
  uint64_t now = a.s.recv.slot | (uint64_t)r->slots[a.s.recv.slot].generation << 32 | (uint64_t)a.s.recv.kind << 56;
  uint64_t stale[] = { now - (1ull << 32), now + (1ull << 32), (now & ~0xFFFFFFFFull) | 0xFFFFFF, (now & ~0xFFFFFFFFull) };
  for (size_t i = 0; i < sizeof stale / sizeof *stale; i++) {
    struct io_uring_sqe *e = io_uring_get_sqe(&r->uring);
    io_uring_prep_nop(e);
    io_uring_sqe_set_data64(e, stale[i]);
  }
  world_until(w, w->loop->stats.stale == 4);
  assert_int_equal(a.recvs, 0);
  assert_true(op_busy(&a.s.recv));
  uint32_t slot = a.s.recv.slot, generation = r->slots[slot].generation;
  w->loop->calls->cancel(w->loop, &a.s.recv);
  world_until(w, a.recvs == 1);
  end_read(&a);                                    /* the slot is reused, under another generation */
  assert_int_equal(a.s.recv.slot, slot);
  assert_int_not_equal(r->slots[slot].generation, generation);
  end_over(w, &a);
  end_over(w, &b);
  world_free(w);
}

/* Posts from other threads: none lost, none twice, a sleeping loop wakes, and one that is awake is not written to. */
enum { POSTERS = 3, EACH = 20000 };
static unsigned ran;
struct numbered {
  struct message m;
  unsigned runs;
};
static void numbered_run(struct message *m) { ((struct numbered *)m)->runs++, ran++; }

struct poster {
  struct loop *loop;
  struct numbered *notes;
};
static void *post_all(void *arg) {
  struct poster *p = arg;
  for (int i = 0; i < EACH; i++) {
    p->notes[i].m.run = numbered_run;
    loop_post(p->loop, &p->notes[i].m);
    if (i % 1000 == 0) usleep(500);                /* now and then the loop falls asleep */
  }
  return NULL;
}

static void test_posts_from_threads(void **state) {
  (void)state;
  struct world *w = world_new(NULL, NULL);
  pthread_t threads[POSTERS];
  struct poster posters[POSTERS];
  ran = 0;
  for (int i = 0; i < POSTERS; i++) {
    posters[i] = (struct poster){ w->loop, mem_zero(EACH * sizeof(struct numbered)) };
    assert_int_equal(pthread_create(&threads[i], NULL, post_all, &posters[i]), 0);
  }
  while (ran < POSTERS * EACH) loop_turn(w->loop); /* no timer: only the posts can wake it */
  for (int i = 0; i < POSTERS; i++) {
    pthread_join(threads[i], NULL);
    for (int j = 0; j < EACH; j++) assert_int_equal(posters[i].notes[j].runs, 1);
    mem_free(posters[i].notes);
  }
  world_free(w);
}

static void *post_late(void *arg) {
  struct poster *p = arg;
  usleep(100000);
  loop_post(p->loop, &p->notes->m);
  return NULL;
}

static void test_a_post_wakes_a_sleeper(void **state) {
  (void)state;
  struct world *w = world_new(NULL, NULL);
  struct numbered note = { .m.run = numbered_run };
  struct poster p = { w->loop, &note };
  pthread_t thread;
  uint64_t start = wall_ms();
  double cpu = cpu_seconds();
  for (int i = 0; i < 5; i++) {
    note.runs = 0;
    assert_int_equal(pthread_create(&thread, NULL, post_late, &p), 0);
    while (!note.runs) loop_turn(w->loop);
    pthread_join(thread, NULL);
  }
  assert_true(wall_ms() - start >= 500);
  assert_true(cpu_seconds() - cpu < 0.1);          /* it slept, it did not spin */
  world_free(w);
}

/* The price of a send: none of its own when lazy, one look when not; its done is never later than other callbacks. */
static bool sent_before_recv;
static struct end *sender;
static void recv_after_send(struct op *op, int result, struct span data, bool more) {
  sent_before_recv = sender->sends == 1;
  end_came(op, result, data, more);
}

static void test_lazy_sends(void **state) {
  (void)state;
  struct world *w = world_new(NULL, NULL);
  struct end a, b;
  world_pair(w, &a, &b);
  for (int lazy = 0; lazy < 2; lazy++) {
    sender = &a;
    a.sends = b.recvs = 0;
    a.s.send.lazy = lazy;
    b.s.recv.done = recv_after_send;
    sent_before_recv = false;
    end_read(&b);
    for (int i = 0; i < 2; i++) {                  /* the arming of recv is out of the way */
      struct numbered note = { .m.run = numbered_run };
      loop_post(w->loop, &note.m);
      loop_turn(w->loop);
    }
    uint64_t enters = w->loop->stats.enters;
    end_write(&a, SPAN("x"));
    while (!b.recvs) loop_turn(w->loop);
    assert_int_equal(w->loop->stats.enters - enters, 1);      /* send and what it caused came in one call */
    assert_true(sent_before_recv);
    assert_int_equal(a.send_result, 1);
  }
  end_over(w, &a);
  end_over(w, &b);
  world_free(w);
}

/* With nothing else going on: what is not lazy is done without waiting, what is lazy is done when something comes, in
   the same system call that waited. A message from outside is what comes. */
static void test_sends_alone(void **state) {
  (void)state;
  struct world *w = world_new(NULL, NULL);
  struct end a, b;
  world_pair(w, &a, &b);
  wheel_turn(&w->loop->wheel, w->loop->now_ms + 1000);      /* no place of an old timer may end the wait */
  assert_true(wheel_next(&w->loop->wheel) == UINT64_MAX);
  for (int lazy = 0; lazy < 2; lazy++) {
    struct numbered note = { .m.run = numbered_run };
    struct poster p = { w->loop, &note };
    pthread_t thread;
    a.sends = 0;
    a.s.send.lazy = lazy;
    assert_int_equal(pthread_create(&thread, NULL, post_late, &p), 0);
    uint64_t enters = w->loop->stats.enters;
    end_write(&a, SPAN("y"));
    loop_turn(w->loop);
    assert_int_equal(a.sends, 1);
    assert_int_equal(note.runs, lazy);
    assert_int_equal(w->loop->stats.enters - enters, 1);
    pthread_join(thread, NULL);
    while (!note.runs) loop_turn(w->loop);
  }
  end_over(w, &a);
  end_over(w, &b);
  world_free(w);
}

/* Addresses are copied until the kernel took them, however many connects are asked for in one turn. */
static void test_many_connects(void **state) {
  (void)state;
  enum { MANY = 100 };
  struct world *w = world_new(NULL, NULL);
  static struct end ends[MANY];
  for (int i = 0; i < MANY; i++) end_dial(w, &ends[i], i % 3 ? w->port : 1);
  for (int i = 0; i < MANY; i++) {
    world_until(w, ends[i].recvs == 1);
    assert_int_equal(ends[i].recv_result, i % 3 ? 0 : IO_REFUSED);
  }
  for (int i = 0; i < MANY; i++) end_over(w, &ends[i]);
  world_pass(w, 5);
  while (w->accepted_count) w->loop->calls->close(w->loop, w->accepted[--w->accepted_count]);
  world_free(w);
}

/* A kernel whose sends always complete is served all the same. */
static void test_without_skipping(void **state) {
  (void)state;
  struct world *w = world_new(NULL, NULL);
  struct end a, b;
  enum { BIG = 8 << 20 };
  char *big = mem_zero(BIG);
  assert_true(((struct ring *)w->loop)->skip);     /* this kernel is not one */
  ((struct ring *)w->loop)->skip = false;
  world_pair(w, &a, &b);
  b.reading = true;
  end_read(&b);
  end_write(&a, SPAN("abc"));
  world_until(w, a.sends == 1 && buf_size(&b.in) == 3);
  end_write(&a, span_of(big, BIG));
  world_until(w, a.sends == 2 && buf_size(&b.in) == 3 + BIG);
  assert_int_equal(a.send_result, BIG);
  end_over(w, &b);
  world_pass(w, 5);
  end_write(&a, SPAN("abc"));
  world_until(w, a.sends == 3);
  end_write(&a, SPAN("abc"));
  world_until(w, a.sends == 4);
  assert_int_equal(a.send_result, IO_RESET);
  mem_free(big);
  end_over(w, &a);
  world_free(w);
}

static void test_descriptors_are_closed(void **state) {
  (void)state;
  int before = dup(0);
  for (int round = 0; round < 3; round++) {
    struct world *w = world_new(NULL, NULL);
    static struct end near[20], far[20];
    pairs(w, near, far, 20);
    pairs_over(w, near, far, 20);
    world_free(w);
  }
  close(before);
  int after = dup(0);
  close(after);
  assert_int_equal(before, after);
}

/* A loop whose thread has ended is freed by another. */
static void *make_a_loop(void *arg) {
  struct world *w = world_new(NULL, NULL);
  struct end a, b;
  world_pair(w, &a, &b);
  end_over(w, &a);
  end_over(w, &b);
  w->loop->calls->cancel(w->loop, &w->accept);
  world_until(w, !op_busy(&w->accept));
  close(w->listener);
  *(struct loop **)arg = w->loop;
  mem_free(w);
  return NULL;
}

static void test_freed_by_another_thread(void **state) {
  (void)state;
  int before = dup(0);
  close(before);
  for (int i = 0; i < 3; i++) {
    struct loop *l = NULL;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, make_a_loop, &l), 0);
    pthread_join(thread, NULL);
    uint64_t start = wall_ms();
    loop_free(l);
    assert_true(wall_ms() - start < 500);
  }
  int after = dup(0);
  close(after);
  assert_int_equal(before, after);
}

/* Running out of descriptors ends accepting with its own word, and the owner can go on later. */
static void test_out_of_descriptors(void **state) {
  (void)state;
  struct world *w = world_new(NULL, NULL);
  struct rlimit old, none;
  struct end a;
  getrlimit(RLIMIT_NOFILE, &old);
  end_prepare(&a, w->loop, w->loop->calls->socket(w->loop, AF_INET));
  int next = dup(0);
  close(next);
  none = (struct rlimit){ (rlim_t)next, old.rlim_max };
  setrlimit(RLIMIT_NOFILE, &none);
  assert_int_equal(w->loop->calls->socket(w->loop, AF_INET), IO_NO_DESCRIPTORS);
  struct sockaddr_in to = world_address(w->port);
  w->loop->calls->connect(w->loop, &a.s.recv, a.s.fd, (struct sockaddr *)&to, sizeof to);
  world_until(w, w->accept_end);
  assert_int_equal(w->accept_end, IO_NO_DESCRIPTORS);
  assert_false(op_busy(&w->accept));
  setrlimit(RLIMIT_NOFILE, &old);
  w->loop->calls->accept(w->loop, &w->accept, w->listener);
  world_until(w, w->accepted_count == 1);
  w->loop->calls->close(w->loop, w->accepted[0]);
  end_over(w, &a);
  world_free(w);
}

/* Refusals, each in a process of its own that ends with 0 when the text names what it should. */
static int in_child(int (*body)(void)) {
  int status;
  fflush(NULL);
  pid_t pid = fork();
  if (!pid) _exit(body());
  assert_int_equal(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int seccomp_refuses(void) {
  struct sock_filter filter[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
  const char *why = "";
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return 77;
  if (loop_new(LOOP_URING, NULL, &why)) return 2;
  if (!strstr(why, "seccomp") || !strstr(why, "weir-seccomp.json")) return 3;
  struct loop *l = loop_new(LOOP_ANY, NULL, &why), *asked = loop_new(LOOP_EPOLL, NULL, &why);
  if (!l || !loop_substitute(l) || loop_substitute(asked)) return 4;
  if (strcmp(loop_description(asked), "epoll, as asked")) return 5;
  return strstr(loop_description(l), "epoll, since io_uring blocked by seccomp") ? 0 : 6;
}

static int nofile_refuses(void) {
  const char *why = "";
  struct rlimit none = { 0, 0 };
  if (setrlimit(RLIMIT_NOFILE, &none)) return 77;
  if (ring_new(NULL, &why)) return 2;
  return strstr(why, "RLIMIT_NOFILE is 0") ? 0 : 3;
}

/* Locked memory is accounted per user, root excepted: as nobody, with too little of it. */
static int memlock_refuses(void) {
  const char *why = "";
  struct rlimit little = { 4096, 4096 };
  if (geteuid() == 0 && (setgid(65534) || setuid(65534))) return 77;
  if (setrlimit(RLIMIT_MEMLOCK, &little)) return 77;
  if (ring_new(NULL, &why)) return 77;             /* a kernel that does not count */
  return strstr(why, "RLIMIT_MEMLOCK is 4 KiB") && strstr(why, "LimitMEMLOCK=64M") ? 0 : 3;
}

/* Enough for a small ring only: it is made smaller and says so. */
static int memlock_halves(void) {
  const char *why = "";
  struct rlimit some = { 300 << 10, 300 << 10 };
  struct ring_options large = { .entries = 4096 };
  if (geteuid() == 0 && (setgid(65534) || setuid(65534))) return 77;
  if (setrlimit(RLIMIT_MEMLOCK, &some)) return 77;
  struct loop *l = ring_new(&large, &why);
  if (!l) return 2;
  if (strstr(loop_description(l), "4096 entries")) return 77;
  return strstr(loop_description(l), " entries") ? 0 : 3;
}

static void test_refusals(void **state) {
  (void)state;
  static const struct { const char *name; int (*body)(void); } cases[] = {
    { "seccomp", seccomp_refuses }, { "descriptors", nofile_refuses }, { "memlock", memlock_refuses },
    { "memlock, halved", memlock_halves },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int got = in_child(cases[i].body);
    if (got == 77) print_message("skipped: refusal by %s cannot be shown here\n", cases[i].name);
    else if (got) fail_msg("%s: %d", cases[i].name, got);
  }
}

static void test_description(void **state) {
  (void)state;
  struct world *w = world_new(NULL, NULL);
  assert_non_null(strstr(loop_description(w->loop), "io_uring"));
  assert_string_equal(io_result_text(IO_RESET), "connection reset");
  assert_string_equal(io_result_text(IO_FAILED), "input/output error");
  assert_string_equal(io_result_text(-99), "unknown result");
  assert_string_equal(io_result_text(12), "ok");
  world_free(w);
}

static int on_ring(void **state) { (void)state; world_kind = LOOP_URING; return 0; }
static int on_epoll(void **state) { (void)state; world_kind = LOOP_EPOLL; return 0; }
#define BOTH(name) { "ring: " #name, name, on_ring, NULL, NULL }, { "epoll: " #name, name, on_epoll, NULL, NULL }
#define RING(name) { "ring: " #name, name, on_ring, NULL, NULL }

int main(void) {
  const struct CMUnitTest tests[] = {
    RING(test_two_buffers), RING(test_close_while_starved), BOTH(test_more_ops_than_entries), BOTH(test_full_completion_queue),
    RING(test_generation), BOTH(test_posts_from_threads), BOTH(test_a_post_wakes_a_sleeper), BOTH(test_lazy_sends),
    BOTH(test_sends_alone), BOTH(test_many_connects), RING(test_without_skipping), BOTH(test_descriptors_are_closed),
    BOTH(test_freed_by_another_thread), BOTH(test_out_of_descriptors), RING(test_refusals), RING(test_description),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
