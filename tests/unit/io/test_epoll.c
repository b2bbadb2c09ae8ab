/* What only epoll can get wrong: descriptors that others close or take, events of the past, a listener that several share. */
#include "world.h"
#include <fcntl.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>

static uint64_t wall_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void nothing(struct message *m) { (void)m; }
static void turn(struct loop *l) {
  struct message go = { .run = nothing };          /* it does not wait */
  loop_post(l, &go);
  loop_turn(l);
}

/* A descriptor goes to another loop between two of its reads, and back; meanwhile the first loop hears nothing of it. */
static void test_goes_to_another_loop(void **state) {
  (void)state;
  struct world *w = world_new(NULL, NULL), *other = world_new(NULL, NULL);
  struct end a, b;
  world_pair(w, &a, &b);
  for (int round = 0; round < 3; round++) {
    struct world *at = round % 2 ? other : w;
    unsigned recvs = b.recvs;
    b.s.loop = at->loop;
    end_read(&b);
    turn(at->loop);
    end_write(&a, SPAN("abc"));
    turn(w->loop);
    world_until(at, b.recvs == recvs + 1);
    assert_int_equal(b.recv_result, 3);
    turn(at->loop);
    end_write(&a, SPAN("late"));                   /* lies there for the next loop */
    turn(w->loop);
    uint64_t turns = at->loop->stats.turns;
    world_pass(at, 60);
    assert_true(at->loop->stats.turns - turns < 20);
    struct world *next = round % 2 ? w : other;
    b.s.loop = next->loop;
    end_read(&b);
    world_until(next, b.recvs == recvs + 2);
    assert_int_equal(b.recv_result, 4);
    turn(next->loop);
  }
  b.s.loop = w->loop;
  end_over(w, &a);
  end_over(w, &b);
  world_free(other);
  world_free(w);
}

/* Somebody else closes an idle descriptor, and its number is given to another one. */
static void test_number_used_again(void **state) {
  (void)state;
  struct world *w = world_new(NULL, NULL);
  struct end a, b, c, d;
  world_pair(w, &a, &b);
  world_pair(w, &c, &d);
  end_read(&b);
  end_write(&a, SPAN("x"));
  world_until(w, b.recvs == 1);
  turn(w->loop);
  int number = b.s.fd;
  close(number);
  assert_int_equal(dup2(d.s.fd, number), number);
  close(d.s.fd);
  d.s.fd = number;
  end_read(&d);
  end_write(&c, SPAN("for d"));
  world_until(w, d.recvs == 1);
  assert_true(span_eq(buf_span(&d.in), SPAN("for d")));
  end_over(w, &a);
  end_over(w, &c);
  end_over(w, &d);
  buf_free(&b.in);
  world_free(w);
}

/* A connection that is closed here and lives on elsewhere, as in a process that was just forked, stays in the kernel's set;
   who has its number next hears nothing of it. */
static struct end *heir;
static int of_heir, kept;
static void reopens(struct op *op, int result, struct span data, bool more) {
  struct end *e = end_of_recv(op);
  struct loop *l = op->loop;
  int number = e->s.fd;
  end_came(op, result, data, more);
  kept = dup(number);
  l->calls->close(l, number);
  assert_int_equal(dup(of_heir), number);
  end_prepare(heir, l, number);
  e->s.fd = -1;
  l->calls->poll(l, &heir->s.watch, number, POLLIN);
}

static void test_events_of_the_past(void **state) {
  (void)state;
  struct world *w = world_new(NULL, NULL);
  struct end a, b, c, d, e;
  world_pair(w, &a, &b);
  world_pair(w, &c, &d);
  heir = &e;
  of_heir = b.s.fd;
  end_read(&d);
  turn(w->loop);
  turn(w->loop);
  d.s.recv.done = reopens;
  w->loop->calls->cancel(w->loop, &d.s.recv);
  turn(w->loop);
  assert_int_equal(d.recv_result, IO_CANCELLED);
  end_write(&c, SPAN("3"));
  world_pass(w, 10);
  assert_int_equal(e.watches, 0);
  assert_true(w->loop->stats.stale > 0);
  close(kept);
  end_write(&a, SPAN("1"));
  world_until(w, e.watches);
  end_over(w, &e);
  end_over(w, &a);
  end_over(w, &b);
  end_over(w, &c);
  buf_free(&d.in);
  world_free(w);
}

/* A poll that comes late is told of what is there: bytes, and an end that was told to a read. */
static void test_late_polls(void **state) {
  (void)state;
  struct world *w = world_new(NULL, NULL);
  struct end a, b;
  world_pair(w, &a, &b);
  end_write(&a, SPAN("there already"));
  world_until(w, a.sends == 1);
  for (unsigned i = 1; i <= 3; i++) {
    w->loop->calls->poll(w->loop, &b.s.watch, b.s.fd, POLLIN);
    assert_int_equal(b.watches, 2 * i - 2);
    world_until(w, b.watches == 2 * i - 1);
    assert_true(b.watch_result & POLLIN);
    w->loop->calls->cancel(w->loop, &b.s.watch);
    world_until(w, b.watches == 2 * i);
  }
  b.reading = true;
  end_read(&b);
  w->loop->calls->shutdown(w->loop, a.s.fd, SHUT_WR);
  world_until(w, b.recv_result == IO_END && b.recvs);
  end_read(&b);
  w->loop->calls->poll(w->loop, &b.s.watch, b.s.fd, POLLRDHUP);
  world_until(w, b.watches == 7);
  assert_true(b.watch_result & POLLRDHUP);
  end_over(w, &a);
  end_over(w, &b);
  world_free(w);
}

/* What another process that shares the listener took, nobody waits for; a turn never blocks in accept. */
static void test_shared_listener(void **state) {
  (void)state;
  struct world *w = world_new(NULL, NULL);
  int twin = dup(w->listener);
  assert_false(fcntl(w->listener, F_GETFL) & O_NONBLOCK);
  for (int i = 0; i < 20; i++) {
    struct end a;
    unsigned before = w->accepted_count;
    end_dial(w, &a, w->port);
    fcntl(twin, F_SETFL, O_NONBLOCK);
    int taken = i % 2 ? accept4(twin, NULL, NULL, SOCK_CLOEXEC) : -1;
    fcntl(twin, F_SETFL, 0);
    uint64_t start = wall_ms();
    world_until(w, a.recvs == 1);
    world_pass(w, 2);
    assert_true(wall_ms() - start < 400);
    assert_int_equal(w->accepted_count, before + (taken < 0));
    if (taken >= 0) close(taken);
    else w->loop->calls->close(w->loop, w->accepted[--w->accepted_count]);
    end_over(w, &a);
  }
  w->loop->calls->cancel(w->loop, &w->accept);
  world_until(w, !op_busy(&w->accept));
  struct end late;
  end_dial(w, &late, w->port);                     /* nobody accepts: it is not told again and again */
  world_until(w, late.recvs == 1);
  uint64_t turns = w->loop->stats.turns;
  world_pass(w, 100);
  assert_true(w->loop->stats.turns - turns < 20);
  end_over(w, &late);
  close(twin);
  world_free(w);
}

/* Urgent bytes cut reads short although more is there. */
static void test_urgent_bytes(void **state) {
  (void)state;
  struct world *w = world_new(NULL, NULL);
  struct end a, b;
  world_pair(w, &a, &b);
  assert_int_equal(send(a.s.fd, "before!", 7, MSG_OOB | MSG_NOSIGNAL), 7);
  assert_int_equal(send(a.s.fd, "after", 5, MSG_NOSIGNAL), 5);
  world_pass(w, 5);
  b.reading = true;
  end_read(&b);
  world_until(w, buf_size(&b.in) == 11);
  assert_true(span_eq(buf_span(&b.in), SPAN("beforeafter")));
  end_over(w, &a);
  end_over(w, &b);
  world_free(w);
}

/* What cannot be watched ends with an error, and does not hang. */
static void test_no_socket(void **state) {
  (void)state;
  struct world *w = world_new(NULL, NULL);
  struct end a;
  end_prepare(&a, w->loop, open("/dev/null", O_RDWR | O_CLOEXEC));
  end_read(&a);
  world_until(w, a.recvs == 1);
  assert_int_equal(a.recv_result, IO_FAILED);
  end_write(&a, SPAN("x"));
  world_until(w, a.sends == 1);
  assert_int_equal(a.send_result, IO_FAILED);
  end_over(w, &a);
  world_free(w);
}

static int on_epoll(void **state) { (void)state; world_kind = LOOP_EPOLL; return 0; }

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_goes_to_another_loop), cmocka_unit_test(test_number_used_again), cmocka_unit_test(test_events_of_the_past),
    cmocka_unit_test(test_late_polls), cmocka_unit_test(test_shared_listener), cmocka_unit_test(test_urgent_bytes),
    cmocka_unit_test(test_no_socket),
  };
  return cmocka_run_group_tests(tests, on_epoll, NULL);
}
