#include "inside.h"
#include <signal.h>

enum { STACK = 256 * 1024 };            /* RSA-4096 in BearSSL takes some 20 KB of it */

struct tls_pool {
  pthread_mutex_t lock;
  pthread_cond_t work;
  struct tls_job *first, **last;
  bool ending;
  unsigned threads;
  pthread_t thread[];
};

static void job_run(struct tls_job *j) {
  j->step = tls_shake(j->tls, buf_span(&j->in), &j->out);
  buf_consume(&j->in, j->step.used);
  j->done(j);
}

static void *pool_thread(void *arg) {
  struct tls_pool *p = arg;
  pthread_mutex_lock(&p->lock);
  for (;;) {
    while (!p->first && !p->ending) pthread_cond_wait(&p->work, &p->lock);
    struct tls_job *j = p->first;
    if (!j) break;
    p->first = j->next;
    if (!p->first) p->last = &p->first;
    pthread_mutex_unlock(&p->lock);
    j->next = NULL;
    job_run(j);
    pthread_mutex_lock(&p->lock);
  }
  pthread_mutex_unlock(&p->lock);
  return NULL;
}

struct tls_pool *tls_pool_new(unsigned threads) {
  struct tls_pool *p = mem_zero(sizeof *p + threads * sizeof *p->thread);
  pthread_attr_t attr;
  sigset_t all, before;
  pthread_mutex_init(&p->lock, NULL);
  pthread_cond_init(&p->work, NULL);
  p->last = &p->first;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, STACK);
  sigfillset(&all);                     /* signals are for the threads that know what to do with them */
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (p->threads < threads && !pthread_create(&p->thread[p->threads], &attr, pool_thread, p)) p->threads++;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attr);
  if (p->threads < threads) log_warn("tls: %u of %u handshake threads could be started", p->threads, threads);
  require(p->threads);
  return p;
}

void tls_pool_submit(struct tls_pool *p, struct tls_job *j) {
  j->next = NULL;
  pthread_mutex_lock(&p->lock);
  *p->last = j;
  p->last = &j->next;
  pthread_cond_signal(&p->work);
  pthread_mutex_unlock(&p->lock);
}

void tls_pool_free(struct tls_pool *p) {
  if (!p) return;
  pthread_mutex_lock(&p->lock);
  p->ending = true;
  pthread_cond_broadcast(&p->work);
  pthread_mutex_unlock(&p->lock);
  for (unsigned i = 0; i < p->threads; i++) pthread_join(p->thread[i], NULL);
  pthread_mutex_destroy(&p->lock);
  pthread_cond_destroy(&p->work);
  mem_free(p);
}
