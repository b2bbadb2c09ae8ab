/* The waist's promises, on the ring, on epoll and on the simulation (in order, and with seeds). */
#include "world.h"

enum { SEEDS = 20 };
static const struct sim_options *sim_wanted;       /* NULL: the kernel */

static struct world *open_world(void) { return world_new(NULL, sim_wanted); }

static struct buf pattern(size_t n) {
  struct buf b = { 0 };
  char *p = buf_reserve(&b, n);
  for (size_t i = 0; i < n; i++) p[i] = (char)(i * 31 + i / 251);
  buf_commit(&b, n);
  return b;
}

static void test_echo(void **state) {
  (void)state;
  struct world *w = open_world();
  struct end a, b;
  world_pair(w, &a, &b);
  end_read(&b);
  end_write(&a, SPAN("hello"));
  assert_int_equal(a.sends, 0);                    /* no callback inside a call */
  world_until(w, a.sends == 1 && b.recvs >= 1);
  assert_int_equal(a.send_result, 5);
  b.reading = a.reading = true;
  if (!op_busy(&b.s.recv)) end_read(&b);
  world_until(w, buf_size(&b.in) == 5);
  assert_true(span_eq(buf_span(&b.in), SPAN("hello")));
  end_read(&a);
  end_write(&b, SPAN("good day"));
  world_until(w, buf_size(&a.in) == 8);
  assert_true(span_eq(buf_span(&a.in), SPAN("good day")));
  world_until(w, b.sends == 1);
  end_over(w, &a);
  end_over(w, &b);
  world_free(w);
}

static void test_parts(void **state) {
  (void)state;
  struct world *w = open_world();
  struct end a, b;
  world_pair(w, &a, &b);
  struct iovec parts[SEND_PARTS] = { { "one ", 4 }, { NULL, 0 }, { "two ", 4 }, { "three", 5 } };
  a.s.loop->calls->send(w->loop, &a.s.send, a.s.fd, parts, SEND_PARTS);
  b.reading = true;
  end_read(&b);
  world_until(w, buf_size(&b.in) == 13 && a.sends);
  assert_true(span_eq(buf_span(&b.in), SPAN("one two three")));
  assert_int_equal(a.send_result, 13);
  end_write(&a, SPAN(""));
  world_until(w, a.sends == 2);
  assert_int_equal(a.send_result, 0);
  end_over(w, &a);
  end_over(w, &b);
  world_free(w);
}

/* 8 MB in one send against a reader that takes a piece every few turns: done once, with all of it. */
static void test_large_to_slow_reader(void **state) {
  (void)state;
  enum { SIZE = 8 << 20 };
  struct world *w = open_world();
  struct end a, b;
  struct buf bytes = pattern(SIZE);
  world_pair(w, &a, &b);
  struct span half = span_of(bytes.p, SIZE / 2);
  struct iovec parts[2] = { { bytes.p, half.n }, { bytes.p + half.n, SIZE - half.n } };
  w->loop->calls->send(w->loop, &a.s.send, a.s.fd, parts, 2);
  world_pass(w, 50);
  assert_int_equal(a.sends, 0);                    /* nobody reads, so it waits */
  while (buf_size(&b.in) < SIZE) {
    end_read(&b);
    world_until(w, !op_busy(&b.s.recv));
    assert_true(b.recv_result > 0);
  }
  world_until(w, a.sends == 1);
  assert_int_equal(a.send_result, SIZE);
  assert_memory_equal(b.in.p + b.in.at, bytes.p, SIZE);
  assert_true(w->loop->stats.short_sends > 0);
  buf_free(&bytes);
  end_over(w, &a);
  end_over(w, &b);
  world_free(w);
}

static void test_recv_into(void **state) {
  (void)state;
  struct world *w = open_world();
  struct end a, b;
  char own[64] = "";
  size_t have = 0;
  world_pair(w, &a, &b);
  end_write(&a, SPAN("into my own memory"));
  while (have < 18) {
    w->loop->calls->recv_into(w->loop, &b.s.recv, b.s.fd, own + have, sizeof own - have);
    world_until(w, !op_busy(&b.s.recv));
    assert_true(b.recv_result > 0);
    have += (size_t)b.recv_result;
  }
  assert_int_equal(buf_size(&b.in), 0);
  assert_string_equal(own, "into my own memory");
  end_over(w, &a);
  end_over(w, &b);
  world_free(w);
}

static void test_cancel(void **state) {
  (void)state;
  struct world *w = open_world();
  struct end a, b;
  struct buf bytes = pattern(16 << 20);
  world_pair(w, &a, &b);
  end_read(&a);
  w->loop->calls->poll(w->loop, &a.s.watch, a.s.fd, POLLRDHUP);
  end_write(&a, buf_span(&bytes));
  world_pass(w, 30);
  assert_int_equal(a.recvs + a.sends + a.watches, 0);
  w->loop->calls->cancel(w->loop, &a.s.recv);
  w->loop->calls->cancel(w->loop, &a.s.watch);
  w->loop->calls->cancel(w->loop, &a.s.send.op);
  w->loop->calls->cancel(w->loop, &a.s.send.op);   /* twice is once */
  assert_int_equal(a.recvs + a.sends + a.watches, 0);
  world_until(w, a.recvs == 1 && a.sends == 1 && a.watches == 1);
  assert_int_equal(a.recv_result, IO_CANCELLED);
  assert_int_equal(a.send_result, IO_CANCELLED);
  assert_int_equal(a.watch_result, IO_CANCELLED);
  w->loop->calls->cancel(w->loop, &a.s.recv);      /* idle: let be */
  world_pass(w, 30);
  assert_int_equal(a.recvs + a.sends + a.watches, 3);
  end_read(&a);                                    /* asked for and taken back in one breath */
  w->loop->calls->cancel(w->loop, &a.s.recv);
  world_until(w, a.recvs == 2);
  assert_int_equal(a.recv_result, IO_CANCELLED);
  buf_free(&bytes);
  end_over(w, &a);
  end_over(w, &b);
  world_free(w);
}

static void test_half_close(void **state) {
  (void)state;
  struct world *w = open_world();
  struct end a, b;
  world_pair(w, &a, &b);
  end_write(&a, SPAN("last words"));
  w->loop->calls->shutdown(w->loop, a.s.fd, SHUT_WR);   /* what was sent before goes first */
  b.reading = true;
  end_read(&b);
  world_until(w, b.recvs && b.recv_result <= 0);
  assert_int_equal(b.recv_result, IO_END);
  assert_true(span_eq(buf_span(&b.in), SPAN("last words")));
  a.reading = true;
  end_read(&a);
  end_write(&b, SPAN("still heard"));
  world_until(w, buf_size(&a.in) == 11);
  assert_int_equal(b.send_result, 11);
  end_over(w, &b);
  world_until(w, a.recv_result <= 0);
  assert_int_equal(a.recv_result, IO_END);
  end_over(w, &a);
  world_free(w);
}

static void nothing(struct message *m) { (void)m; }

/* A relay that sends on what it was lent, without a copy: the bytes arrive unharmed although the reader is slow, other
   recvs use the same buffers meanwhile, and two sends share one of them. */
struct relay {
  struct end from;
  struct end *to, *also;
};
static void relay_came(struct op *op, int result, struct span data, bool more) {
  struct relay *r = (struct relay *)end_of_recv(op);
  (void)more;
  r->from.recv_result = result;
  r->from.recvs++;
  if (result <= 0) return;
  struct span half = span_of(data.p, data.n / 2), rest = span_from(data, data.n / 2);
  struct iovec parts[3] = { { (void *)half.p, half.n }, { "", 0 }, { (void *)rest.p, rest.n } };
  r->to->s.loop->calls->send(r->to->s.loop, &r->to->s.send, r->to->s.fd, parts, 3);
  if (r->also) end_write(r->also, data);
}
static void relay_sent(struct op *op, int result, struct span data, bool more) {
  struct end *e = end_of_send(op);
  (void)data, (void)more;
  assert_true(result > 0);
  e->sends++;
}

static void test_lent_data_goes_on(void **state) {
  (void)state;
  const size_t SIZE = sim_wanted ? 1 << 20 : 12 << 20;
  struct world *w = open_world();
  struct buf bytes = pattern(SIZE);
  struct end a, near, far, near2, far2;
  struct relay r = { 0 };
  world_pair(w, &a, &r.from);
  world_pair(w, &near, &far);
  world_pair(w, &near2, &far2);
  r.to = &near;
  r.also = &near2;
  r.from.s.recv.done = relay_came;
  near.s.send.op.done = near2.s.send.op.done = relay_sent;
  far2.reading = true;
  end_read(&far2);
  end_write(&a, buf_span(&bytes));
  for (unsigned turns = 0; buf_size(&far.in) < SIZE || buf_size(&far2.in) < SIZE; turns++) {
    assert_true(turns < 2000000);
    bool sending = op_busy(&near.s.send.op) || op_busy(&near2.s.send.op);
    if (!sending && !op_busy(&r.from.s.recv)) end_read(&r.from);
    if (turns % 40 == 39 && !op_busy(&far.s.recv)) end_read(&far);   /* slow */
    struct message go = { .run = nothing };        /* keeps the turn from waiting */
    loop_post(w->loop, &go);
    loop_turn(w->loop);
  }
  assert_memory_equal(far.in.p + far.in.at, bytes.p, SIZE);
  assert_memory_equal(far2.in.p + far2.in.at, bytes.p, SIZE);
  assert_true(w->loop->stats.short_sends > 0);
  buf_free(&bytes);
  struct end *all[] = { &a, &r.from, &near, &far, &near2, &far2 };
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) end_over(w, all[i]);
  world_free(w);
}

static void reset(struct world *w, struct end *e) {
  struct linger hard = { .l_onoff = 1 };
  if (w->sim) sim_reset(w->loop, e->s.fd);
  else assert_int_equal(setsockopt(e->s.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0), close(e->s.fd), e->s.fd = -1;
}

static void test_reset(void **state) {
  (void)state;
  struct world *w = open_world();
  struct end a, b;
  struct buf bytes = pattern(16 << 20);
  world_pair(w, &a, &b);
  end_read(&a);
  end_write(&a, buf_span(&bytes));
  world_pass(w, 20);
  reset(w, &b);
  world_until(w, a.recvs == 1 && a.sends == 1);
  assert_int_equal(a.send_result, IO_RESET);
  assert_true(a.recv_result == IO_RESET || a.recv_result == IO_END);   /* TCP tells the error once only */
  end_write(&a, SPAN("into the void"));
  world_until(w, a.sends == 2);
  assert_int_equal(a.send_result, IO_RESET);
  buf_free(&bytes);
  end_over(w, &a);
  end_over(w, &b);
  world_free(w);
}

static void test_reset_while_reading(void **state) {
  (void)state;
  struct world *w = open_world();
  struct end a, b;
  world_pair(w, &a, &b);
  end_read(&a);
  world_pass(w, 5);
  reset(w, &b);
  world_until(w, a.recvs == 1);
  assert_int_equal(a.recv_result, IO_RESET);
  end_over(w, &a);
  end_over(w, &b);
  world_free(w);
}

static void test_refused(void **state) {
  (void)state;
  struct world *w = open_world();
  struct end a;
  uint16_t nobody = 1;
  end_dial(w, &a, nobody);
  world_until(w, a.recvs == 1);
  assert_int_equal(a.recv_result, IO_REFUSED);
  end_over(w, &a);
  world_free(w);
}

static void test_accept_burst(void **state) {
  (void)state;
  enum { MANY = 200 };
  struct world *w = open_world();
  static struct end ends[MANY];
  for (int i = 0; i < MANY; i++) end_dial(w, &ends[i], w->port);
  world_until(w, w->accepted_count == MANY);
  for (int i = 0; i < MANY; i++) {
    world_until(w, ends[i].recvs == 1);
    assert_int_equal(ends[i].recv_result, 0);
    assert_true(w->accepted[i] >= 0);
    for (int j = 0; j < i; j++) assert_int_not_equal(w->accepted[i], w->accepted[j]);
    end_over(w, &ends[i]);
    w->loop->calls->close(w->loop, w->accepted[i]);
  }
  assert_true(op_busy(&w->accept));
  world_free(w);
}

/* A watch for the peer's leaving tells it, whether the peer leaves before or after it was set; and tells it once. */
static void test_watch(void **state) {
  (void)state;
  struct world *w = open_world();
  for (int before = 0; before < 2; before++) {
    struct end a, b;
    world_pair(w, &a, &b);
    if (before) w->loop->calls->shutdown(w->loop, b.s.fd, SHUT_WR), world_pass(w, 10);
    w->loop->calls->poll(w->loop, &a.s.watch, a.s.fd, POLLRDHUP);
    if (!before) {
      end_write(&b, SPAN("bytes do not matter"));
      world_pass(w, 20);
      assert_int_equal(a.watches, 0);
      w->loop->calls->shutdown(w->loop, b.s.fd, SHUT_WR);
    }
    world_until(w, a.watches);
    assert_true(a.watch_result & POLLRDHUP);
    assert_true(op_busy(&a.s.watch));
    world_pass(w, 50);
    assert_true(a.watches < 3);                    /* no spinning on a state that stays */
    end_over(w, &a);
    end_over(w, &b);
  }
  world_free(w);
}

struct alarm {
  struct timer timer;
  struct world *w;
  uint64_t at_ms;
  int *order, place;
};
static void alarm_rang(struct timer *t) {
  struct alarm *a = (struct alarm *)t;
  a->at_ms = a->w->loop->now_ms;
  a->place = ++*a->order;
}

static void test_timers(void **state) {
  (void)state;
  struct world *w = open_world();
  int order = 0;
  uint64_t start = w->loop->now_ms;
  struct alarm late = { .timer.done = alarm_rang, .w = w, .order = &order }, soon = late, never = late;
  timer_set(&w->loop->wheel, &late.timer, start + 120);
  timer_set(&w->loop->wheel, &soon.timer, start + 40);
  timer_set(&w->loop->wheel, &never.timer, start + 60);
  timer_stop(&w->loop->wheel, &never.timer);
  for (int i = 0; i < 1000 && order < 2; i++) loop_turn(w->loop);
  assert_int_equal(soon.place, 1);
  assert_int_equal(late.place, 2);
  assert_int_equal(never.place, 0);
  assert_true(soon.at_ms >= start + 40 && late.at_ms >= start + 120);
  assert_true(w->loop->now_ns / 1000000 == w->loop->now_ms);
  if (w->sim) assert_true(late.at_ms == start + 120);
  world_free(w);
}

struct note {
  struct message m;
  struct world *w;
  int *order, place;
  uint64_t turn;
  struct note *then;
};
static void note_run(struct message *m) {
  struct note *n = (struct note *)m;
  n->place = ++*n->order;
  n->turn = n->w->loop->stats.turns;
  if (n->then) loop_post(n->w->loop, &n->then->m);
}

static void test_posts(void **state) {
  (void)state;
  struct world *w = open_world();
  int order = 0;
  struct note third = { { .run = note_run }, w, &order, 0, 0, NULL }, second = third, first = third;
  first.then = &third;
  loop_post(w->loop, &first.m);
  loop_post(w->loop, &second.m);
  assert_int_equal(order, 0);
  for (int i = 0; i < 2; i++) loop_turn(w->loop);  /* none of these may sleep for ever */
  assert_int_equal(first.place, 1);
  assert_int_equal(second.place, 2);
  assert_int_equal(third.place, 3);
  assert_int_equal(first.turn, second.turn);
  assert_true(third.turn > first.turn);
  world_free(w);
}

static int flushes;
static void flush(struct loop *l) { flushes++; (void)l; }

static void test_turn_end_runs_each_turn(void **state) {
  (void)state;
  struct world *w = open_world();
  flushes = 0;
  w->loop->turn_end = flush;
  uint64_t turns = w->loop->stats.turns;
  world_pass(w, 30);
  assert_int_equal(flushes, w->loop->stats.turns - turns);
  assert_true(flushes > 0);
  world_free(w);
}

#define ALL(name) { "ring: " #name, name, on_ring, NULL, NULL }, { "epoll: " #name, name, on_epoll, NULL, NULL }, \
                  { "sim: " #name, name, on_sim, NULL, NULL }, \
                  { "seeds: " #name, seeded_##name, NULL, NULL, NULL }
#define SEEDED(name)                                                                      \
  static void seeded_##name(void **state) {                                               \
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {                                      \
      struct sim_options o = { .seed = seed, .most_read = 1 + (unsigned)seed * seed * 37, .socket_buffer = 4096u << seed % 6 }; \
      sim_wanted = &o;                                                                    \
      name(state);                                                                        \
    }                                                                                     \
    sim_wanted = NULL;                                                                    \
  }
SEEDED(test_echo) SEEDED(test_parts) SEEDED(test_large_to_slow_reader) SEEDED(test_recv_into) SEEDED(test_cancel)
SEEDED(test_half_close) SEEDED(test_reset) SEEDED(test_reset_while_reading) SEEDED(test_refused)
SEEDED(test_lent_data_goes_on) SEEDED(test_accept_burst) SEEDED(test_watch) SEEDED(test_timers) SEEDED(test_posts) SEEDED(test_turn_end_runs_each_turn)

static int on_ring(void **state) { (void)state; sim_wanted = NULL; world_kind = LOOP_URING; return 0; }
static int on_epoll(void **state) { (void)state; sim_wanted = NULL; world_kind = LOOP_EPOLL; return 0; }
static int on_sim(void **state) {
  static const struct sim_options plain;
  (void)state;
  sim_wanted = &plain;
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
    ALL(test_echo), ALL(test_parts), ALL(test_large_to_slow_reader), ALL(test_recv_into), ALL(test_cancel),
    ALL(test_half_close), ALL(test_reset), ALL(test_reset_while_reading), ALL(test_refused), ALL(test_accept_burst), ALL(test_lent_data_goes_on),
    ALL(test_watch), ALL(test_timers), ALL(test_posts), ALL(test_turn_end_runs_each_turn),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
