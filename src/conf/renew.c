/* Keys that a file or a program gives, read again when a provider refuses them. The configuration stays as it is: what is
   newer stands beside it, and what is older is kept to its end, since others may be sending it. */
#include "load.h"

enum { RENEW_AGAIN_MS = 60000 };

struct kept {
  struct kept *next;
  struct secret *secret;
};
/* One of what a line is made of, and where it is read again; neither path nor arguments: it stays. */
struct part {
  const struct secret *secret;        /* the newest reading; NULL: there is none */
  const char *path;
  char *const *arguments;
};
enum { PART_KEY, PART_ID, PART_SESSION, PARTS };
struct renewal {
  struct secret *line;                /* atomic: its header line; NULL: the account's own */
  uint64_t asked_ms;                  /* atomic; 0: never */
  bool running;                       /* atomic */
  struct kept *kept;                  /* of whoever runs it */
  const char *header;                 /* NULL: it signs */
  struct part parts[PARTS];           /* of a header the key alone */
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

static struct part part_of(const struct load *l, const struct secret *secret) {
  const struct origin *o = l->origins;
  while (o && o->secret != secret) o = o->next;
  return (struct part){ secret, o ? o->path : NULL, o ? o->arguments : NULL };
}

static bool renews(const struct part *p) { return p->path || p->arguments; }

static struct renewal *renewal_make(struct load *l, const char *header, const struct part parts[PARTS]) {
  if (!renews(&parts[PART_KEY]) && !renews(&parts[PART_ID]) && !renews(&parts[PART_SESSION])) return NULL;
  struct renewal *r = arena_zero(&l->conf->arena, sizeof *r);
  r->header = header;
  memcpy(r->parts, parts, sizeof r->parts);
  arena_on_end(&l->conf->arena, renewal_end, r);
  return r;
}

struct renewal *renewal_of(struct load *l, struct secret *secret, const char *header) {
  return renewal_make(l, header, (struct part[PARTS]){ [PART_KEY] = part_of(l, secret) });
}

struct renewal *renewal_of_signing(struct load *l, struct secret *id, struct secret *key, struct secret *session) {
  return renewal_make(l, NULL, (struct part[PARTS]){ part_of(l, key), part_of(l, id), part_of(l, session) });
}

/* No secret holds a line end, so three of them are lines. */
struct secret *signing_make(struct span id, struct span key, struct span session) {
  size_t n = id.n + key.n + session.n + 2;
  char *text = mem_alloc(n);
  memcpy(text, id.p, id.n);
  text[id.n] = '\n';
  memcpy(text + id.n + 1, key.p, key.n);
  text[id.n + 1 + key.n] = '\n';
  if (session.n) memcpy(text + n - session.n, session.p, session.n);
  struct secret *secret = secret_new(span_of(text, n));
  secret_wipe(text, n);
  mem_free(text);
  return secret;
}

struct signing account_signing(const struct secret *line) {
  struct signing s;
  struct span left = span_cut(secret_use(line), '\n', &s.id);
  s.session = span_cut(left, '\n', &s.key);
  return s;
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

static void part_renew(struct renewal *r, struct part *p, const char **why) {
  struct secret *fresh = p->path ? file_secret(p->path, true, why) : command_secret(p->arguments, COMMAND_MS, why);
  if (fresh && !secret_eq(p->secret, secret_use(fresh))) keep(r, fresh), p->secret = fresh;
  else secret_drop(fresh);
}

static struct span bytes_of(const struct part *p) { return p->secret ? secret_use(p->secret) : (struct span){ NULL, 0 }; }

bool account_renew(const struct account *a, const char **why) {
  struct renewal *r = a->renewal;
  bool newer = false;
  *why = NULL;
  for (int i = 0; i < PARTS && !*why; i++)
    if (renews(&r->parts[i])) part_renew(r, &r->parts[i], why);
  if (!*why) {
    struct span key = bytes_of(&r->parts[PART_KEY]);
    struct secret *line = r->header ? auth_line_make(r->header, key) : signing_make(bytes_of(&r->parts[PART_ID]), key, bytes_of(&r->parts[PART_SESSION]));
    newer = !secret_eq(account_line(a), secret_use(line));
    if (newer) keep(r, line), __atomic_store_n(&r->line, line, __ATOMIC_RELEASE);
    else secret_drop(line);
  }
  account_renew_end(a);
  return newer;
}

void account_renew_end(const struct account *a) { __atomic_store_n(&a->renewal->running, false, __ATOMIC_RELEASE); }
