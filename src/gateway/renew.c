/* renew.c: a provider refuses a key that came from a file or a program: it is read again, on a thread of its own, and the
   same target is asked once more. */
#include "attempt.h"
#include "exchange.h"
#include "worker.h"

enum { LOOK_MS = 10 };

struct job {
  struct conf *conf;                  /* a reference: account and provider are its own */
  const struct account *account;
  const struct provider *provider;
};

static void *renew(void *arg) {
  struct job *j = arg;
  const char *why;
  struct span name = j->provider->name;
  if (account_renew(j->account, &why)) log_info("provider %.*s refused its key; it was read again and is another one", SPAN_FMT(name));
  else if (why) log_warn("provider %.*s refused its key, which cannot be read again: %s", SPAN_FMT(name), why);
  else log_warn("provider %.*s refused its key; it was read again and is the same", SPAN_FMT(name));
  conf_drop(j->conf);
  mem_free(j);
  return NULL;
}

static bool begin(const struct exchange *x, const struct target *t) {
  pthread_t thread;
  if (!account_renew_begin(t->account, x->worker->loop->now_ms)) return false;
  struct job *j = mem_alloc(sizeof *j);
  *j = (struct job){ conf_ref(x->gen->conf), t->account, t->provider };
  if (!pthread_create(&thread, NULL, renew, j)) return pthread_detach(thread), true;
  account_renew_end(t->account);
  conf_drop(j->conf);
  mem_free(j);
  return false;
}

bool renew_wanted(const struct exchange *x, const struct attempt *a) {
  const struct account *account = a->target.account;
  bool refused = a->status == 401 || (a->status == 403 && a->target.provider->dialect == DIALECT_CONVERSE);   /* AWS says so of keys that are old */
  if (!refused || a->fault != FAULT_AUTH || !account || !account->renewal || x->renewed || x->raw || x->worker->simulated) return false;
  return account_line(account) != a->key_line || account_renews(account) || begin(x, &a->target);
}

bool renew_waits(struct exchange *x) {
  if (!x->renewing || !account_renews(x->elsewhere->account)) return x->renewing = false;
  x->resume_ms = x->worker->loop->now_ms + LOOK_MS;
  exchange_clock(x);
  return true;
}
