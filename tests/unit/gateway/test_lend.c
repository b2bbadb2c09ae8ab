/* Two workers on one simulated loop: idle connections of one serve calls of the other. Whatever the order of events, each call ends
   once, no connection is used by two, and none is lost: what the server has open is idle with one of the workers. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "../../../src/gateway/call.h"
#include "../../../src/gateway/pool.h"
#include "../../../src/gateway/worker.h"

enum { PORT = 9000, SERVED_MOST = 64 };

struct served {
  int fd;                             /* -1: closed */
  struct buf in;
};
struct stage {
  struct loop *loop;
  struct gateway gateway;
  struct generation gen;
  struct worker workers[2];
  struct pool *pools[2];
  int listener;
  struct served served[SERVED_MOST];
  unsigned connections;
  bool silent;                        /* requests are read and not answered */
};
struct asked {
  struct call call;
  int ended, failed;
};

static void on_head(struct call *c, const struct http_head *h) { (void)c; assert_int_equal(h->status, 200); }
static void on_body(struct call *c, struct span data) { (void)c; (void)data; }
static void on_end(struct call *c) { container(c, struct asked, call)->ended++; }
static void on_fail(struct call *c, enum fault f, const char *phase, const char *why) {
  (void)f; (void)phase; (void)why;
  container(c, struct asked, call)->failed++;
}
static const struct call_calls calls = { on_head, on_body, on_end, on_fail, NULL };

static void turn_end(struct loop *l) {
  struct gateway *g = ((struct worker *)l->owner)->gateway;
  for (unsigned i = 0; i < 2; i++) {
    l->owner = &g->workers[i];
    worker_turn_end(l);
  }
}

static struct stage *stage_new(uint64_t seed) {
  struct stage *s = mem_zero(sizeof *s);
  struct sim_options o = { .seed = seed };
  struct url u = { .host = SPAN("provider"), .port = PORT };
  struct arena scratch = { 0 };
  s->loop = sim_new(&o);
  s->gateway.workers = s->workers;
  s->gateway.worker_count = 2;
  s->gen.refs = 100;
  s->gateway.newest = &s->gen;
  s->listener = sim_listen(s->loop, PORT);
  for (unsigned i = 0; i < 2; i++) {
    s->workers[i].simulated = true;
    assert_true(worker_init(&s->workers[i], &s->gateway, i, s->loop));
    s->pools[i] = pool_for_url(&s->workers[i], &u, NULL, NULL, &scratch);
  }
  s->loop->turn_end = turn_end;
  arena_end(&scratch);
  return s;
}

/* The server: answers whole requests at once. */
static void serve(struct stage *s) {
  char bytes[4096];
  for (int fd; (fd = sim_accept(s->loop, s->listener)) >= 0;) {
    assert_true(s->connections < SERVED_MOST);
    s->served[s->connections++] = (struct served){ .fd = fd };
  }
  for (unsigned i = 0; i < s->connections; i++) {
    struct served *v = &s->served[i];
    bool ended = false;
    if (v->fd < 0) continue;
    buf_add(&v->in, span_of(bytes, sim_read(s->loop, v->fd, bytes, sizeof bytes, &ended)));
    size_t end = span_search(buf_span(&v->in), SPAN("\r\n\r\n"));
    if (!s->silent && end < buf_size(&v->in)) {
      buf_consume(&v->in, end + 4);
      assert_int_equal(buf_size(&v->in), 0);             /* never two requests at a time on one connection */
      sim_write(s->loop, v->fd, SPAN("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"));
    }
    if (!ended) continue;
    s->loop->calls->close(s->loop, v->fd);
    v->fd = -1;
  }
}

static unsigned open_at_server(const struct stage *s) {
  unsigned n = 0;
  for (unsigned i = 0; i < s->connections; i++) n += s->served[i].fd >= 0;
  return n;
}

static unsigned idle(const struct stage *s) { return s->pools[0]->idle_count + s->pools[1]->idle_count; }

static bool settled(const struct stage *s) {
  for (unsigned i = 0; i < 2; i++)
    for (const struct upstream *u = s->pools[i]->all; u; u = u->all_next)
      if (u->state != UP_IDLE) return false;
  return !s->workers[0].loans && !s->workers[1].loans && idle(s) == open_at_server(s);
}

/* Not beyond: the simulation's clock would go to where idle connections are closed. */
static void settle(struct stage *s) {
  uint64_t from = s->loop->now_ms;
  for (int i = 0; i < 5000 && !settled(s); i++) {
    loop_turn(s->loop);
    serve(s);
  }
  assert_true(settled(s));
  assert_true(s->loop->now_ms - from < 10000);
}

static struct asked *ask(struct stage *s, unsigned worker) {
  struct asked *a = mem_zero(sizeof *a);
  a->call.calls = &calls;
  a->call.worker = &s->workers[worker];
  a->call.pool = s->pools[worker];
  a->call.method = SPAN("GET");
  a->call.connect_s = 3;
  buf_add(&a->call.head_bytes, SPAN("GET / HTTP/1.1\r\nhost: provider\r\n\r\n"));
  call_start(&a->call);
  return a;
}

static void asked_free(struct asked *a) {
  worker_buf_back(a->call.worker, &a->call.head_bytes);
  mem_free(a);
}

static void asked_well(struct asked *a) {
  assert_int_equal(a->ended, 1);
  assert_int_equal(a->failed, 0);
  asked_free(a);
}

static void stage_free(struct stage *s) {
  for (unsigned i = 0; i < 2; i++) worker_close_all(&s->workers[i]);
  for (int i = 0; i < 100 && !(worker_quiet(&s->workers[0]) && worker_quiet(&s->workers[1])); i++) {
    loop_turn(s->loop);
    serve(s);
  }
  assert_true(worker_quiet(&s->workers[0]) && worker_quiet(&s->workers[1]));
  for (int i = 0; i < 20; i++) {
    loop_turn(s->loop);
    serve(s);
  }
  assert_int_equal(open_at_server(s), 0);
  for (unsigned i = 0; i < s->connections; i++) buf_free(&s->served[i].in);
  for (unsigned i = 0; i < 2; i++) {
    worker_free(&s->workers[i]);
    metrics_free(s->workers[i].metrics);
  }
  assert_null(s->gateway.siblings);
  s->loop->turn_end = NULL;
  s->loop->calls->close(s->loop, s->listener);
  loop_free(s->loop);
  mem_free(s);
}

static void test_lent(void **state) {
  (void)state;
  struct stage *s = stage_new(0);
  for (unsigned i = 0; i < 20; i++) {
    struct asked *a = ask(s, i % 2);
    settle(s);
    asked_well(a);
    assert_int_equal(s->pools[i % 2]->idle_count, 1);
    assert_int_equal(s->pools[(i + 1) % 2]->idle_count, 0);
  }
  assert_int_equal(s->connections, 1);
  stage_free(s);
}

static void test_two_want_one(void **state) {
  (void)state;
  struct stage *s = stage_new(0);
  struct asked *first = ask(s, 0);
  settle(s);
  asked_well(first);
  struct asked *a = ask(s, 1), *b = ask(s, 1), *c = ask(s, 0);
  settle(s);
  asked_well(a);
  asked_well(b);
  asked_well(c);
  assert_int_equal(s->connections, 3);
  assert_int_equal(idle(s), 3);
  stage_free(s);
}

/* The asker goes away while the loan is on its way: the connection stays where it arrived. */
static void test_nobody_waits(void **state) {
  (void)state;
  for (int after = 0; after < 4; after++) {
    struct stage *s = stage_new(0);
    struct asked *first = ask(s, 0);
    settle(s);
    asked_well(first);
    s->silent = true;
    struct asked *a = ask(s, 1);
    for (int i = 0; i < after; i++) loop_turn(s->loop);
    call_stop(&a->call);
    s->silent = false;
    settle(s);
    assert_int_equal(a->ended + a->failed, 0);
    asked_free(a);
    struct asked *b = ask(s, 0);
    settle(s);
    asked_well(b);
    stage_free(s);
  }
}

/* The provider closes the idle connection as it is asked for. */
static void test_gone_meanwhile(void **state) {
  (void)state;
  for (int before = 0; before < 4; before++) {
    struct stage *s = stage_new(0);
    struct asked *first = ask(s, 0);
    settle(s);
    asked_well(first);
    struct asked *a = ask(s, 1);
    for (int i = 0; i < before; i++) loop_turn(s->loop);
    if (s->served[0].fd >= 0) s->loop->calls->close(s->loop, s->served[0].fd);
    s->served[0].fd = -1;
    settle(s);
    asked_well(a);
    stage_free(s);
  }
}

static void test_any_order(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 150; seed++) {
    struct stage *s = stage_new(seed);
    struct asked *all[30];
    uint64_t r = seed * 0x9E3779B97F4A7C15u;
    bool stopped[30] = { false };
    for (int i = 0; i < 30; i++) {
      r = r * 6364136223846793005u + 1442695040888963407u;
      all[i] = ask(s, (unsigned)(r >> 40) & 1);
      for (unsigned n = (unsigned)(r >> 50) % 8; n--;) {
        loop_turn(s->loop);
        serve(s);
      }
      unsigned j = (unsigned)(r >> 33) % 30;
      if ((r >> 20) % 5 || j > (unsigned)i || all[j]->ended || stopped[j]) continue;
      call_stop(&all[j]->call);
      stopped[j] = true;
    }
    settle(s);
    for (int i = 0; i < 30; i++) {
      assert_int_equal(all[i]->ended, !stopped[i]);
      assert_int_equal(all[i]->failed, 0);
      asked_free(all[i]);
    }
    stage_free(s);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_lent), cmocka_unit_test(test_two_want_one), cmocka_unit_test(test_nobody_waits), cmocka_unit_test(test_gone_meanwhile),
    cmocka_unit_test(test_any_order),
  };
  return cmocka_run_group_tests_name("lending", tests, NULL, NULL);
}
