/* sock_close: whatever is in flight, no done of the owner runs after it and closed runs once, later. */
#include "world.h"

enum { SEEDS = 30, BIG = 16 << 20 };
enum flying { RECV = 1, WATCH = 2, SEND_SMALL = 4, SEND_LARGE = 8, ALL_FLYING = 16 };
static const struct sim_options *sim_wanted;
static char *big;

static struct world *open_world(void) { return world_new(NULL, sim_wanted); }

static void set_flying(struct world *w, struct end *e, int what) {
  if (what & RECV) end_read(e);
  if (what & WATCH) w->loop->calls->poll(w->loop, &e->s.watch, e->s.fd, POLLRDHUP);
  if (what & SEND_LARGE) end_write(e, span_of(big, BIG));
  else if (what & SEND_SMALL) end_write(e, SPAN("goodbye"));
}

/* After: descriptor gone, owner's done put back, nothing more happens. */
static void assert_closed_once(struct world *w, struct end *e) {
  world_until(w, e->closes);
  unsigned recvs = e->recvs, sends = e->sends, watches = e->watches;
  world_pass(w, 10);
  assert_int_equal(e->closes, 1);
  assert_int_equal(recvs + sends + watches, e->recvs + e->sends + e->watches);
  assert_int_equal(e->s.fd, -1);
  assert_false(e->s.closing || op_busy(&e->s.recv) || op_busy(&e->s.watch) || op_busy(&e->s.send.op));
  assert_true(e->s.recv.done == end_came && e->s.watch.done == end_watched && e->s.send.op.done == end_sent);
}

static void test_with_ops_in_flight(void **state) {
  (void)state;
  struct world *w = open_world();
  for (int what = 0; what < ALL_FLYING; what++)
    for (int armed = 0; armed < 2; armed++) {
      struct end a, b;
      world_pair(w, &a, &b);
      set_flying(w, &a, what);
      if (armed) world_pass(w, 2);                 /* the ops reach the kernel first */
      unsigned before = a.recvs + a.sends + a.watches;
      assert_int_equal(before, armed && (what & SEND_SMALL) && !(what & SEND_LARGE));
      b.reading = true;
      end_read(&b);
      sock_close(&a.s, end_closed);
      assert_int_equal(a.closes, 0);
      assert_closed_once(w, &a);
      assert_int_equal(a.recvs + a.sends + a.watches, before);
      world_until(w, b.recvs && b.recv_result <= 0);
      if ((what & SEND_SMALL) && !(what & SEND_LARGE)) assert_true(span_eq(buf_span(&b.in), SPAN("goodbye")));
      end_over(w, &b);
    }
  world_free(w);
}

/* Closing from inside the owner's own done, with the other ops still in flight and data on its way. */
static void close_in_done(struct op *op, int result, struct span data, bool more) {
  struct end *e = end_of_recv(op);
  (void)result, (void)data, (void)more;
  e->recvs++;
  sock_close(&e->s, end_closed);
  assert_int_equal(e->closes, 0);
}

static void test_from_inside_done(void **state) {
  (void)state;
  struct world *w = open_world();
  struct end a, b;
  world_pair(w, &a, &b);
  a.s.recv.done = close_in_done;
  set_flying(w, &a, RECV | WATCH | SEND_LARGE);
  world_pass(w, 5);
  end_write(&b, SPAN("x"));
  world_until(w, a.closes);
  assert_int_equal(a.recvs, 1);
  assert_int_equal(a.sends + a.watches, 0);
  a.s.recv.done = end_came;
  assert_closed_once(w, &a);
  end_over(w, &b);
  world_free(w);
}

/* The peer leaves at the same moment: completions are under way while the owner closes. */
static void test_while_the_peer_closes(void **state) {
  (void)state;
  struct world *w = open_world();
  for (int i = 0; i < 20; i++) {
    struct end a, b;
    world_pair(w, &a, &b);
    set_flying(w, &a, RECV | WATCH | SEND_LARGE);
    set_flying(w, &b, WATCH);
    world_pass(w, 2);
    sock_close(&b.s, end_closed);
    if (i % 2) loop_turn(w->loop);
    unsigned before = a.recvs + a.sends + a.watches;
    sock_close(&a.s, end_closed);
    assert_closed_once(w, &a);
    assert_int_equal(a.recvs + a.sends + a.watches, before);
    assert_closed_once(w, &b);
    buf_free(&a.in);
  }
  world_free(w);
}

/* A connect that nobody answers is an op as any other. */
static void test_while_connecting(void **state) {
  (void)state;
  struct world *w = open_world();
  struct end a;
  end_dial(w, &a, w->port);
  sock_close(&a.s, end_closed);
  assert_closed_once(w, &a);
  assert_int_equal(a.recvs, 0);
  world_pass(w, 5);
  for (unsigned i = 0; i < w->accepted_count; i++) w->loop->calls->close(w->loop, w->accepted[i]);
  world_free(w);
}

/* Memory may go in `closed`: freed there, so that a late touch is seen by the address sanitizer. */
static unsigned freed;
static void free_end(struct sock *s) { freed++; mem_free(s); }

static void test_memory_goes_in_closed(void **state) {
  (void)state;
  struct world *w = open_world();
  freed = 0;
  for (int what = 0; what < ALL_FLYING; what++) {
    struct end a, b, *heap = mem_alloc(sizeof *heap);
    world_pair(w, &a, &b);
    end_prepare(heap, w->loop, a.s.fd);
    set_flying(w, heap, what);
    if (what & 1) loop_turn(w->loop);
    sock_close(&heap->s, free_end);
    world_until(w, freed == (unsigned)what + 1);
    end_over(w, &b);
  }
  world_pass(w, 20);
  assert_int_equal(freed, ALL_FLYING);
  world_free(w);
}

static void test_without_descriptor(void **state) {
  (void)state;
  struct world *w = open_world();
  struct end a;
  end_prepare(&a, w->loop, -1);
  sock_close(&a.s, end_closed);
  assert_int_equal(a.closes, 0);
  assert_closed_once(w, &a);
  world_free(w);
}

#define SEEDED(name)                                                                      \
  static void seeded_##name(void **state) {                                               \
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {                                      \
      struct sim_options o = { .seed = seed, .most_read = 1 + (unsigned)seed * 37, .socket_buffer = 64u << seed % 10 }; \
      sim_wanted = &o;                                                                    \
      name(state);                                                                        \
    }                                                                                     \
    sim_wanted = NULL;                                                                    \
  }
SEEDED(test_with_ops_in_flight) SEEDED(test_from_inside_done) SEEDED(test_while_the_peer_closes)
SEEDED(test_while_connecting) SEEDED(test_memory_goes_in_closed) SEEDED(test_without_descriptor)

static int on_ring(void **state) { (void)state; sim_wanted = NULL; world_kind = LOOP_URING; return 0; }
static int on_epoll(void **state) { (void)state; sim_wanted = NULL; world_kind = LOOP_EPOLL; return 0; }
static int on_sim(void **state) {
  static const struct sim_options plain;
  (void)state;
  sim_wanted = &plain;
  return 0;
}
#define ALL(name) { "ring: " #name, name, on_ring, NULL, NULL }, { "epoll: " #name, name, on_epoll, NULL, NULL }, \
                  { "sim: " #name, name, on_sim, NULL, NULL }, \
                  { "seeds: " #name, seeded_##name, NULL, NULL, NULL }

int main(void) {
  const struct CMUnitTest tests[] = {
    ALL(test_with_ops_in_flight), ALL(test_from_inside_done), ALL(test_while_the_peer_closes),
    ALL(test_while_connecting), ALL(test_memory_goes_in_closed), ALL(test_without_descriptor),
  };
  big = mem_zero(BIG);
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  mem_free(big);
  return failed;
}
