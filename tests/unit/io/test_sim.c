/* What only the simulation promises: the same seed gives the same run, time moves when all wait, peers by hand. */
#include "world.h"
#include <string.h>
#include <time.h>

enum { CONNECTIONS = 6, MESSAGES = 10 };

/* An echo service and clients that write by hand; the trace is the order and size of everything that happened. */
struct service {
  struct end end;
  struct run *run;
  unsigned number;
};
struct run {
  struct world *w;
  struct buf trace;
  struct service services[CONNECTIONS];
  unsigned closed;
};
static void service_closed(struct sock *s) { ((struct service *)s)->run->closed++; }

static void service_came(struct op *op, int result, struct span data, bool more) {
  struct service *s = (struct service *)end_of_recv(op);
  (void)more;
  buf_printf(&s->run->trace, "%u:r%d ", s->number, result);
  if (result > 0) end_write(&s->end, data);
  else sock_close(&s->end.s, service_closed);
}
static void service_sent(struct op *op, int result, struct span data, bool more) {
  struct service *s = (struct service *)end_of_send(op);
  (void)data, (void)more;
  buf_printf(&s->run->trace, "%u:s%d ", s->number, result);
  if (result > 0) end_read(&s->end);
}

static struct buf trace_of(const struct sim_options *o) {
  struct run run = { .w = world_new(NULL, o) };
  struct loop *l = run.w->loop;
  int fds[CONNECTIONS];
  char back[CONNECTIONS][MESSAGES * 16 + 1];
  size_t got[CONNECTIONS] = { 0 };
  for (int i = 0; i < CONNECTIONS; i++) fds[i] = sim_connect(l, run.w->port), assert_true(fds[i] >= 0);
  world_until(run.w, run.w->accepted_count == CONNECTIONS);
  for (unsigned i = 0; i < CONNECTIONS; i++) {
    struct service *s = &run.services[i];
    end_prepare(&s->end, l, run.w->accepted[i]);
    s->run = &run;
    s->number = i;
    s->end.s.recv.done = service_came;
    s->end.s.send.op.done = service_sent;
    end_read(&s->end);
  }
  for (int m = 0; m < MESSAGES; m++)
    for (int i = 0; i < CONNECTIONS; i++) {
      assert_int_equal(sim_write(l, fds[i], SPAN("sixteen bytes..\n")), 16);
      if (m % 3 == 0) loop_turn(l);
    }
  bool ended;
  for (int i = 0; i < CONNECTIONS; i++) {
    while (got[i] < MESSAGES * 16) {
      assert_true(sim_busy(l) || got[i]);
      loop_turn(l);
      got[i] += sim_read(l, fds[i], back[i] + got[i], sizeof back[i] - got[i], &ended);
      assert_false(ended);
    }
    for (int m = 0; m < MESSAGES; m++) assert_memory_equal(back[i] + m * 16, "sixteen bytes..\n", 16);
    l->calls->close(l, fds[i]);
  }
  world_until(run.w, run.closed == CONNECTIONS);
  world_free(run.w);
  return run.trace;
}

static void test_same_seed_same_run(void **state) {
  (void)state;
  struct sim_options o = { .most_read = 24 };
  struct buf traces[4];
  static const uint64_t seeds[] = { 7, 7, 8, 0 };
  for (int i = 0; i < 4; i++) o.seed = seeds[i], traces[i] = trace_of(&o);
  assert_true(span_eq(buf_span(&traces[0]), buf_span(&traces[1])));
  assert_false(span_eq(buf_span(&traces[0]), buf_span(&traces[2])));
  assert_false(span_eq(buf_span(&traces[0]), buf_span(&traces[3])));
  for (int i = 0; i < 4; i++) buf_free(&traces[i]);
}

static void ring_the_bell(struct timer *t);
struct bell {
  struct timer timer;
  struct loop *loop;
  uint64_t at_ms;
};
static void ring_the_bell(struct timer *t) { ((struct bell *)t)->at_ms = ((struct bell *)t)->loop->now_ms; }

/* An hour passes at once when nobody can do anything, and not a moment while somebody can. */
static void test_time(void **state) {
  (void)state;
  struct world *w = world_new(NULL, &(struct sim_options){ .most_read = 1 });
  struct bell bell = { .timer.done = ring_the_bell, .loop = w->loop };
  struct end a, b;
  struct timespec before, after;
  world_pair(w, &a, &b);
  uint64_t start = w->loop->now_ms;
  timer_set(&w->loop->wheel, &bell.timer, start + 3600 * 1000);
  b.reading = true;
  end_read(&b);
  end_write(&a, SPAN("byte by byte"));
  for (int i = 0; i < 12; i++) loop_turn(w->loop);
  assert_int_equal(w->loop->now_ms, start);
  clock_gettime(CLOCK_MONOTONIC, &before);
  for (int i = 0; i < 100 && !bell.at_ms; i++) loop_turn(w->loop);
  clock_gettime(CLOCK_MONOTONIC, &after);
  assert_int_equal(bell.at_ms, start + 3600 * 1000);
  assert_true(after.tv_sec - before.tv_sec < 2);
  end_over(w, &a);
  end_over(w, &b);
  world_free(w);
}

static void test_idle(void **state) {
  (void)state;
  struct loop *l = sim_new(NULL);
  struct timer t = { .done = world_tick };
  assert_false(sim_busy(l));
  loop_turn(l);                                    /* returns at once */
  timer_set(&l->wheel, &t, l->now_ms + 5);
  assert_true(sim_busy(l));
  while (timer_armed(&t)) loop_turn(l);
  assert_false(sim_busy(l));
  int listener = sim_listen(l, 80);
  assert_true(listener >= 0);
  assert_true(sim_listen(l, 80) < 0);
  assert_int_equal(sim_connect(l, 81), IO_REFUSED);
  assert_true(sim_accept(l, listener) < 0);
  assert_false(sim_busy(l));
  loop_free(l);                                    /* an open descriptor is no leak */
}

/* A server that is no loop user, and its manners: half-close, leaving bytes unread, reset. */
static void test_peers_by_hand(void **state) {
  (void)state;
  struct world *w = world_new(NULL, &(struct sim_options){ .socket_buffer = 8 });
  struct loop *l = w->loop;
  struct end a;
  char text[32];
  bool ended;
  int listener = sim_listen(l, 99);
  for (int manner = 0; manner < 4; manner++) {
    end_dial(w, &a, 99);
    world_until(w, a.recvs == 1);
    int fd = sim_accept(l, listener);
    assert_true(fd >= 0);
    end_write(&a, SPAN("more than eight"));
    loop_turn(l);
    assert_int_equal(a.sends, 0);
    if (manner != 1) {
      assert_int_equal(sim_read(l, fd, text, sizeof text, &ended), 8);
      loop_turn(l);
      assert_int_equal(sim_read(l, fd, text + 8, sizeof text - 8, &ended), 7);
      assert_memory_equal(text, "more than eight", 15);
      assert_int_equal(a.sends, 1);
    }
    assert_int_equal(sim_write(l, fd, SPAN("0123456789")), 8);
    end_read(&a);
    loop_turn(l);
    assert_int_equal(a.recv_result, 8);
    end_read(&a);
    loop_turn(l);
    assert_int_equal(a.recvs, 2);
    if (manner == 0) l->calls->shutdown(l, fd, SHUT_WR);
    else if (manner == 2) sim_reset(l, fd);
    else l->calls->close(l, fd);                   /* with manner 1: eight bytes unread */
    world_until(w, a.recvs == 3);
    assert_int_equal(a.recv_result, manner == 0 || manner == 3 ? IO_END : IO_RESET);
    world_until(w, !op_busy(&a.s.send.op));
    if (manner == 1) assert_int_equal(a.send_result, IO_RESET);      /* the seven bytes that did not fit */
    end_write(&a, SPAN("after"));
    world_until(w, !op_busy(&a.s.send.op));
    assert_int_equal(a.send_result, manner == 0 || manner == 3 ? 5 : IO_RESET);
    if (manner == 3) {                             /* the peer was gone, and says so now */
      end_write(&a, SPAN("again"));
      world_until(w, !op_busy(&a.s.send.op));
      assert_int_equal(a.send_result, IO_RESET);
    }
    if (manner == 0) assert_int_equal(sim_read(l, fd, text, sizeof text, &ended), 5);
    end_over(w, &a);
    if (manner == 0) assert_int_equal(sim_read(l, fd, text, sizeof text, &ended), 0), assert_true(ended);
    if (manner % 2 == 0) l->calls->close(l, fd);
  }
  l->calls->close(l, listener);
  world_free(w);
}

/* Lent bytes are gone after done: who kept the span reads rubbish. */
static struct span kept;
static void keep(struct op *op, int result, struct span data, bool more) {
  (void)op, (void)result, (void)more;
  kept = data;
}
static void test_lent_bytes_go(void **state) {
  (void)state;
#ifdef __SANITIZE_ADDRESS__
  skip();                                          /* there the touch itself is reported */
#endif
  struct world *w = world_new(NULL, &(struct sim_options){ 0 });
  struct end a, b;
  world_pair(w, &a, &b);
  b.s.recv.done = keep;
  end_read(&b);
  end_write(&a, SPAN("gone"));
  world_until(w, kept.n);
  assert_int_equal(kept.n, 4);
  assert_memory_not_equal(kept.p, "gone", 4);
  end_over(w, &a);
  end_over(w, &b);
  world_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_same_seed_same_run), cmocka_unit_test(test_time), cmocka_unit_test(test_idle),
    cmocka_unit_test(test_peers_by_hand), cmocka_unit_test(test_lent_bytes_go),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
