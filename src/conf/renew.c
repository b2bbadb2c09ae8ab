/* Keys that a file or a program gives, read again when a provider refuses them. The configuration stays as it is: what is
   newer stands beside it, and what is older is kept to its end, since others may be sending it. */
#include "load.h"

enum { RENEW_AGAIN_MS = 60000 };

struct kept {
  struct kept *next;
  struct secret *secret;
};
struct renewal {
  const struct secret *key;           /* the newest reading, to tell whether another differs */
  struct secret *line;                /* atomic: its header line; NULL: the account's own */
  uint64_t asked_ms;                  /* atomic; 0: never */
  bool running;                       /* atomic */
  struct kept *kept;                  /* of whoever runs it */
  const char *header, *path;          /* path NULL: the program's */
  char *const *arguments;
};

void secret_origin(struct load *l, struct secret *secret, const char *path, char *const *arguments) {
  struct origin *o = arena_zero(&l->scratch, sizeof *o);
  size_t n = 0;
  *o = (struct origin){ .next = l->origins, .secret = secret };
  if (path) o->path = arena_cstr(&l->conf->arena, span_cstr(path));
  while (arguments && arguments[n]) n++;
  if (arguments) o->arguments = arena_zero(&l->conf->arena, (n + 1) * sizeof *o->arguments);
  for (size_t i = 0; i < n; i++) o->arguments[i] = arena_cstr(&l->conf->arena, span_cstr(arguments[i]));
  l->origins = o;
}

static void renewal_end(void *arg) {
  struct renewal *r = arg;
  while (r->kept) {
    struct kept *k = r->kept;
    r->kept = k->next;
    secret_drop(k->secret);
    mem_free(k);
  }
}

struct renewal *renewal_of(struct load *l, struct secret *secret, const char *header) {
  const struct origin *o = l->origins;
  while (o && o->secret != secret) o = o->next;
  if (!o) return NULL;
  struct renewal *r = arena_zero(&l->conf->arena, sizeof *r);
  *r = (struct renewal){ .key = secret, .header = header, .path = o->path, .arguments = o->arguments };
  arena_on_end(&l->conf->arena, renewal_end, r);
  return r;
}

const struct secret *account_line(const struct account *a) {
  const struct secret *newer = a->renewal ? __atomic_load_n(&a->renewal->line, __ATOMIC_ACQUIRE) : NULL;
  return newer ? newer : a->auth_line;
}

bool account_renews(const struct account *a) { return a->renewal && __atomic_load_n(&a->renewal->running, __ATOMIC_ACQUIRE); }

bool account_renew_begin(const struct account *a, uint64_t now_ms) {
  struct renewal *r = a->renewal;
  if (!r) return false;
  uint64_t last = __atomic_load_n(&r->asked_ms, __ATOMIC_RELAXED);
  if (__atomic_load_n(&r->running, __ATOMIC_ACQUIRE) || (last && now_ms - last < RENEW_AGAIN_MS)) return false;
  if (!__atomic_compare_exchange_n(&r->asked_ms, &last, now_ms ? now_ms : 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) return false;
  __atomic_store_n(&r->running, true, __ATOMIC_RELEASE);
  return true;
}

static void keep(struct renewal *r, struct secret *secret) {
  struct kept *k = mem_alloc(sizeof *k);
  *k = (struct kept){ r->kept, secret };
  r->kept = k;
}

bool account_renew(const struct account *a, const char **why) {
  struct renewal *r = a->renewal;
  *why = NULL;
  struct secret *key = r->path ? file_secret(r->path, true, why) : command_secret(r->arguments, COMMAND_MS, why);
  bool newer = key && !secret_eq(r->key, secret_use(key));
  if (newer) {
    struct secret *line = auth_line_make(r->header, secret_use(key));
    keep(r, key);
    keep(r, line);
    r->key = key;
    __atomic_store_n(&r->line, line, __ATOMIC_RELEASE);
  } else {
    secret_drop(key);
  }
  account_renew_end(a);
  return newer;
}

void account_renew_end(const struct account *a) { __atomic_store_n(&a->renewal->running, false, __ATOMIC_RELEASE); }
