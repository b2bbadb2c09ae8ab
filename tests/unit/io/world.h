/* world.h: one loop with a listener and connected ends on it, over the ring, over epoll or over the simulation, so that one
   list of tests runs on both. */
#ifndef WEIR_TEST_WORLD_H
#define WEIR_TEST_WORLD_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>
#include "weir/io.h"

static enum loop_kind world_kind __attribute__((unused)) = LOOP_URING;       /* of worlds that are no simulation */

struct world {
  struct loop *loop;
  bool sim;
  int listener;
  uint16_t port;
  struct op accept;
  int accepted[512];
  unsigned accepted_count;
  int accept_end;                     /* result of the last accept with more=false */
};

/* An end: what came is kept, every done is counted. */
struct end {
  struct sock s;                      /* first, so that an op's owner is found from here */
  struct buf in;
  int recv_result, send_result, watch_result;
  unsigned recvs, sends, watches, closes;
  bool reading;                       /* ask again after each recv */
  bool freed_on_close;
};

static inline struct world *world_of(struct op *op) { return (struct world *)((char *)op - offsetof(struct world, accept)); }
static inline struct end *end_of_recv(struct op *op) { return (struct end *)((char *)op - offsetof(struct end, s.recv)); }
static inline struct end *end_of_send(struct op *op) { return (struct end *)((char *)op - offsetof(struct end, s.send.op)); }
static inline struct end *end_of_watch(struct op *op) { return (struct end *)((char *)op - offsetof(struct end, s.watch)); }

static inline void world_accepted(struct op *op, int result, struct span data, bool more) {
  struct world *w = world_of(op);
  (void)data;
  if (!more) {
    w->accept_end = result;
    return;
  }
  assert_true(result >= 0);
  assert_true(w->accepted_count < 512);
  w->accepted[w->accepted_count++] = result;
}

static inline void end_came(struct op *op, int result, struct span data, bool more) {
  struct end *e = end_of_recv(op);
  assert_false(more);
  assert_false(op_busy(op));
  e->recv_result = result;
  e->recvs++;
  if (result > 0 && data.n) assert_int_equal(data.n, result), buf_add(&e->in, data);
  if (result > 0 && e->reading) e->s.loop->calls->recv(e->s.loop, op, e->s.fd, false);
}

static inline void end_sent(struct op *op, int result, struct span data, bool more) {
  struct end *e = end_of_send(op);
  assert_false(more);
  assert_false(op_busy(op));
  assert_int_equal(data.n, 0);
  e->send_result = result;
  e->sends++;
}

static inline void end_watched(struct op *op, int result, struct span data, bool more) {
  struct end *e = end_of_watch(op);
  (void)data;
  assert_int_equal(more, op_busy(op));
  e->watch_result = result;
  e->watches++;
}

static inline void end_prepare(struct end *e, struct loop *l, int fd) {
  *e = (struct end){ .s = { .loop = l, .fd = fd } };
  e->s.recv.done = end_came;
  e->s.send.op.done = end_sent;
  e->s.watch.done = end_watched;
}

static inline struct world *world_new(const struct ring_options *ring, const struct sim_options *sim) {
  struct world *w = mem_zero(sizeof *w);
  const char *why = "";
  w->sim = sim != NULL;
  w->loop = sim ? sim_new(sim) : loop_new(world_kind, ring, &why);
  if (!w->loop) fail_msg("%s", why);
  if (sim) {
    w->port = 8080;
    w->listener = sim_listen(w->loop, w->port);
  } else {
    char text[128];
    struct sockaddr_in a;
    socklen_t n = sizeof a;
    w->listener = listen_open(SPAN("127.0.0.1:0"), text, sizeof text);
    assert_true(w->listener >= 0);
    assert_int_equal(getsockname(w->listener, (struct sockaddr *)&a, &n), 0);
    w->port = ntohs(a.sin_port);
  }
  w->accept.done = world_accepted;
  w->loop->calls->accept(w->loop, &w->accept, w->listener);
  return w;
}

/* Turns until the condition holds; a few hundred turns without it are a failure. A timer of 20 ms keeps a real
   wait from lasting for ever. */
static inline void world_tick(struct timer *t) { (void)t; }
#define world_until(w, cond)                                                              \
  do {                                                                                    \
    struct timer tick_ = { .done = world_tick };                                          \
    unsigned turns_ = 0;                                                                  \
    while (!(cond)) {                                                                     \
      if (turns_++ == 5000) fail_msg("never came true: %s", #cond);                       \
      timer_set(&(w)->loop->wheel, &tick_, (w)->loop->now_ms + 20);                       \
      loop_turn((w)->loop);                                                               \
    }                                                                                     \
    timer_stop(&(w)->loop->wheel, &tick_);                                                \
  } while (0)

/* Lets `ms` pass. */
static inline void world_pass(struct world *w, uint64_t ms) {
  uint64_t end = w->loop->now_ms + ms;
  world_until(w, w->loop->now_ms >= end);
}

static inline struct sockaddr_in world_address(uint16_t port) {
  return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static inline void end_dial(struct world *w, struct end *e, uint16_t port) {
  struct sockaddr_in a = world_address(port);      /* on the stack: the loop copies it */
  end_prepare(e, w->loop, w->loop->calls->socket(w->loop, AF_INET));
  assert_true(e->s.fd >= 0);
  w->loop->calls->connect(w->loop, &e->s.recv, e->s.fd, (struct sockaddr *)&a, sizeof a);
}

/* Two connected ends: near dialled, far was accepted. */
static inline void world_pair(struct world *w, struct end *near, struct end *far) {
  unsigned before = w->accepted_count;
  end_dial(w, near, w->port);
  world_until(w, near->recvs == 1 && w->accepted_count == before + 1);
  assert_int_equal(near->recv_result, 0);
  near->recvs = 0;
  end_prepare(far, w->loop, w->accepted[before]);
}

static inline void end_read(struct end *e) { e->s.loop->calls->recv(e->s.loop, &e->s.recv, e->s.fd, false); }
static inline void end_write(struct end *e, struct span bytes) {
  struct iovec part = { (void *)bytes.p, bytes.n };
  e->s.loop->calls->send(e->s.loop, &e->s.send, e->s.fd, &part, 1);
}

static inline void end_closed(struct sock *s) { ((struct end *)s)->closes++; }

static inline void end_over(struct world *w, struct end *e) {
  if (!e->closes) {
    sock_close(&e->s, end_closed);
    assert_int_equal(e->closes, 0);
    world_until(w, e->closes);
  }
  assert_int_equal(e->closes, 1);
  buf_free(&e->in);
}

static inline void world_free(struct world *w) {
  w->loop->calls->cancel(w->loop, &w->accept);
  world_until(w, !op_busy(&w->accept));
  w->loop->calls->close(w->loop, w->listener);
  assert_int_equal(w->loop->in_flight, 0);
  loop_free(w->loop);
  mem_free(w);
}

#endif
