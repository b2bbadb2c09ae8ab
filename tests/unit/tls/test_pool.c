#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <semaphore.h>
#include "../../../src/tls/inside.h"
#include "peer.h"
#include "scene.h"

enum { CONNECTIONS = 24 };

/* A connection of the worker's side, as the gateway would hold it. */
struct connection {
  struct tls_job job;                   /* first: done gets its address */
  struct peer *peer;
  bool ended;
  struct connection *next_back;
};
static pthread_mutex_t back_lock = PTHREAD_MUTEX_INITIALIZER;
static struct connection *back;
static sem_t back_count;
static pthread_t worker;

static void hand_back(struct tls_job *j) {
  struct connection *c = (struct connection *)(void *)j;
  assert_false(pthread_equal(pthread_self(), worker));
  pthread_mutex_lock(&back_lock);
  c->next_back = back;
  back = c;
  pthread_mutex_unlock(&back_lock);
  sem_post(&back_count);
}

static struct connection *next_back(void) {
  sem_wait(&back_count);
  pthread_mutex_lock(&back_lock);
  struct connection *c = back;
  back = c->next_back;
  pthread_mutex_unlock(&back_lock);
  return c;
}

static void connection_start(struct connection *c, unsigned i, struct tls_pool *pool) {
  *c = (struct connection){ .peer = peer_new(i % 3 == 2 ? "stranger" : i % 3 ? "rsa" : "good middle", NULL) };
  peer_start(c->peer);
  c->job.tls = tls_new(trust, SPAN("good.test"), NULL);
  c->job.done = hand_back;
  tls_pool_submit(pool, &c->job);
}

static void many_at_once(void **state) {
  NEED_CERTS();
  struct tls_pool *pool = tls_pool_new(3);
  struct connection *all = mem_zero(CONNECTIONS * sizeof *all);
  unsigned ended = 0;
  worker = pthread_self();
  sem_init(&back_count, 0, 0);
  for (unsigned i = 0; i < CONNECTIONS; i++) connection_start(&all[i], i, pool);
  while (ended < CONNECTIONS) {
    struct connection *c = next_back();
    assert_false(c->ended);
    peer_take(c->peer, &c->job.out, NULL);
    if (c->job.step.kind != STEP_MORE) {
      c->ended = true;
      ended++;
      continue;
    }
    buf_add(&c->job.in, buf_span(&c->peer->sent));
    buf_clear(&c->peer->sent);
    tls_pool_submit(pool, &c->job);
  }
  tls_pool_free(pool);
  for (unsigned i = 0; i < CONNECTIONS; i++) {
    assert_int_equal(all[i].job.step.kind, i % 3 == 2 ? STEP_BAD : STEP_DONE);
    assert_int_equal(tls_failure_of(all[i].job.tls), i % 3 == 2 ? TLS_UNKNOWN_CA : TLS_NO_FAILURE);
    assert_int_equal(buf_size(&all[i].job.in), 0);
    tls_free(all[i].job.tls);
    peer_free(all[i].peer);
    buf_free(&all[i].job.in), buf_free(&all[i].job.out);
  }
  mem_free(all);
}

/* What is queued when the pool ends still comes back. */
static void ends_with_work_queued(void **state) {
  NEED_CERTS();
  struct tls_pool *pool = tls_pool_new(1);
  struct connection *all = mem_zero(CONNECTIONS * sizeof *all);
  int waiting;
  worker = pthread_self();
  sem_init(&back_count, 0, 0);
  for (unsigned i = 0; i < CONNECTIONS; i++) connection_start(&all[i], i, pool);
  tls_pool_free(pool);
  sem_getvalue(&back_count, &waiting);
  assert_int_equal(waiting, CONNECTIONS);
  for (unsigned i = 0; i < CONNECTIONS; i++) {
    struct connection *c = next_back();
    assert_int_equal(c->job.step.kind, STEP_MORE);
    assert_true(buf_size(&c->job.out) > 50);
    tls_free(c->job.tls);
    peer_free(c->peer);
    buf_free(&c->job.in), buf_free(&c->job.out);
  }
  mem_free(all);
}

static void ends_idle(void **state) {
  (void)state;
  tls_pool_free(tls_pool_new(4));
  tls_pool_free(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(many_at_once), cmocka_unit_test(ends_with_work_queued), cmocka_unit_test(ends_idle),
  };
  return cmocka_run_group_tests(tests, before_all, after_all);
}
