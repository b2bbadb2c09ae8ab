/* Everything at once, by a seed: connections that write, read, pause, cancel, reset and close in any order. Each op is
   done once, bytes arrive in order, nothing runs after a close, nothing is left at the end. */
#include "world.h"
#include <stdlib.h>

enum { SIDES = 60, TURNS = 2500, MOST_SEND = 300000 };
static char pattern[MOST_SEND + 65536];            /* byte i of a stream is pattern[i % 65536] */
static const struct sim_options *sim_wanted;
static uint64_t dice;
static unsigned roll(unsigned n) {
  dice = dice * 6364136223846793005u + 1442695040888963407u;
  return (unsigned)(dice >> 33) % n;
}

struct side {
  struct end end;                     /* s.fd -1: nobody */
  uint64_t wrote, read;
  bool dialling, closed;
};
static struct side sides[SIDES];
static uint64_t bytes_read, closes, resets, cancels;

static struct side *side_of(struct end *e) { return (struct side *)e; }

static void side_came(struct op *op, int result, struct span data, bool more) {
  struct side *x = side_of(end_of_recv(op));
  (void)more;
  assert_false(x->closed);
  x->end.recv_result = result;
  if (x->dialling) {
    x->dialling = false;
    assert_int_equal(result, 0);
    return;
  }
  if (result > 0) {
    assert_int_equal(data.n, result);
    assert_memory_equal(data.p, pattern + x->read % 65536, data.n);
    x->read += data.n;
    bytes_read += data.n;
  } else {
    assert_true(result == IO_END || result == IO_RESET || result == IO_CANCELLED);
  }
}

static void side_sent(struct op *op, int result, struct span data, bool more) {
  struct side *x = side_of(end_of_send(op));
  (void)data, (void)more;
  assert_false(x->closed);
  assert_true(result > 0 || result == IO_RESET || result == IO_CANCELLED);
  x->end.send_result = result;
  if (result > 0) x->wrote += (uint64_t)result;
}

static void side_watched(struct op *op, int result, struct span data, bool more) {
  struct side *x = side_of(end_of_watch(op));
  (void)data;
  assert_false(x->closed);
  assert_true(more || result == IO_CANCELLED);
}

static void side_prepare(struct world *w, struct side *x, int fd) {
  *x = (struct side){ 0 };
  x->end.s = (struct sock){ .loop = w->loop, .fd = fd };
  x->end.s.recv.done = side_came;
  x->end.s.send.op.done = side_sent;
  x->end.s.watch.done = side_watched;
  x->end.recv_result = x->end.send_result = 1;
}

static struct side *free_side(void) {
  for (int i = 0; i < SIDES; i++)
    if (sides[i].end.s.fd < 0 && !sides[i].end.s.closing) return &sides[i];
  return NULL;
}

static void side_closed(struct sock *s) {
  struct side *x = side_of((struct end *)s);
  assert_true(x->closed);
  assert_int_equal(s->fd, -1);
  x->closed = false;
  closes++;
}

static void close_side(struct side *x, bool hard, bool sim) {
  struct linger now = { .l_onoff = 1 };
  if (hard && sim) sim_reset(x->end.s.loop, x->end.s.fd);
  else if (hard) setsockopt(x->end.s.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  resets += hard;
  sock_close(&x->end.s, side_closed);
  x->closed = true;
}

static void act(struct world *w, struct side *x) {
  struct sock *s = &x->end.s;
  if (s->fd < 0 || x->closed || x->dialling) return;
  switch (roll(12)) {
  case 0: case 1: case 2: case 3:
    if (!op_busy(&s->recv) && x->end.recv_result > 0) w->loop->calls->recv(w->loop, &s->recv, s->fd, roll(2));
    break;
  case 4: case 5: case 6:
    if (op_busy(&s->send.op) || x->end.send_result <= 0) break;
    const char *p = pattern + x->wrote % 65536;
    size_t n = 1 + roll(roll(8) ? 2000 : MOST_SEND - 1), half = roll((unsigned)n);
    struct iovec parts[2] = { { (void *)p, half }, { (void *)(p + half), n - half } };
    s->send.lazy = roll(2);
    w->loop->calls->send(w->loop, &s->send, s->fd, parts, 2);
    break;
  case 7:
    if (!op_busy(&s->watch)) w->loop->calls->poll(w->loop, &s->watch, s->fd, POLLRDHUP);
    break;
  case 8:
    w->loop->calls->cancel(w->loop, roll(2) ? &s->recv : &s->watch), cancels++;
    if (x->end.recv_result == IO_CANCELLED) x->end.recv_result = 1;
    break;
  case 9:
    if (x->end.recv_result <= 0 || x->end.send_result <= 0 || !roll(20)) close_side(x, !roll(4), w->sim);
    break;
  case 10:
    if (!roll(30)) w->loop->calls->shutdown(w->loop, s->fd, SHUT_WR), x->end.send_result = IO_RESET;
    break;
  }
}

static void fill(struct world *w) {
  struct side *x;
  struct sockaddr_in to = world_address(w->port);
  while (w->accepted_count && (x = free_side())) side_prepare(w, x, w->accepted[--w->accepted_count]);
  if (w->accepted_count > 20 || !(x = free_side())) return;
  side_prepare(w, x, w->loop->calls->socket(w->loop, AF_INET));
  x->dialling = true;
  w->loop->calls->connect(w->loop, &x->end.s.recv, x->end.s.fd, (struct sockaddr *)&to, sizeof to);
}

static void nothing(struct message *m) { (void)m; }

static void storm(const struct ring_options *ring, uint64_t seed) {
  struct world *w = world_new(ring, sim_wanted);
  dice = seed;
  bytes_read = closes = resets = cancels = 0;
  for (int i = 0; i < SIDES; i++) sides[i] = (struct side){ .end.s.fd = -1 };
  for (int turn = 0; turn < TURNS; turn++) {
    struct message go = { .run = nothing };
    fill(w);
    for (unsigned i = roll(SIDES); i; i--) act(w, &sides[roll(SIDES)]);
    if (roll(8)) loop_post(w->loop, &go), loop_turn(w->loop);
  }
  for (int i = 0; i < SIDES; i++)
    if (sides[i].end.s.fd >= 0 && !sides[i].closed) close_side(&sides[i], false, w->sim);
  for (int i = 0; i < SIDES; i++) world_until(w, !sides[i].end.s.closing);
  world_pass(w, 20);
  while (w->accepted_count) w->loop->calls->close(w->loop, w->accepted[--w->accepted_count]);
  assert_int_equal(w->loop->in_flight, 1);         /* accept */
  assert_true(bytes_read > 100000 && closes > 50 && resets > 5 && cancels > 50);
  world_free(w);
}

static void test_ring(void **state) {
  static const struct ring_options usual, plain = { .plain = true }, few = { .entries = 32, .buffers = 3, .buffer_size = 2000 };
  (void)state;
  sim_wanted = NULL;
  for (uint64_t seed = 1; seed <= 3; seed++) {
    storm(&usual, seed);
    storm(&few, seed);
    storm(&plain, seed);
  }
}

static void test_epoll(void **state) {
  static const struct ring_options usual, few = { .buffer_size = 2000 };
  (void)state;
  sim_wanted = NULL;
  world_kind = LOOP_EPOLL;
  for (uint64_t seed = 1; seed <= 5; seed++) {
    storm(&usual, seed);
    storm(&few, seed);
  }
  world_kind = LOOP_URING;
}

static void test_sim(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 25; seed++) {
    struct sim_options o = { .seed = seed, .most_read = 100 + (unsigned)seed * 500, .socket_buffer = 1000 + (unsigned)seed * 3000 };
    sim_wanted = &o;
    storm(NULL, seed + 100);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test(test_ring), cmocka_unit_test(test_epoll), cmocka_unit_test(test_sim) };
  for (size_t i = 0; i < 65536; i++) pattern[i] = (char)(i * 31 + i / 251);
  for (size_t i = 65536; i < sizeof pattern; i++) pattern[i] = pattern[i - 65536];
  return cmocka_run_group_tests(tests, NULL, NULL);
}
