#include "weir/io.h"
#include "weir/log.h"
#include "weir/table.h"
#include <ares.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* c-ares owns its sockets and opens and closes them as it likes. They hang in one epoll descriptor, so that the loop
   polls a single one for as long as the resolver lives. */

enum { ASK_MS = 5000, TRY_MS = 1200, TRIES = 3, LEAST_TTL = 1, MOST_TTL = 300, FAILURE_TTL = 1, MOST_NAMES = 1024,
       SWEEP_AT = 512, ROUNDS = 64 };

struct name {                         /* one cached answer */
  char host[256];
  uint64_t until_ms;
  unsigned count, turn;               /* count 0: known to fail */
  char why[96];
  struct address list[RESOLVE_MOST];
};
struct question {                     /* one name that c-ares looks for */
  struct question *next;
  struct resolver *resolver;
  struct resolve_ask *waiting;
  struct timer limit;
  char host[256];
};
struct resolver {
  struct loop *loop;
  ares_channel channel;
  int epoll;
  bool ending;
  struct op watch;
  struct timer retry;                 /* when c-ares wants to look at its own clock */
  struct message again;               /* more events than one turn should take */
  bool again_posted;
  struct question *questions;
  struct timespec configured;         /* time stamp of resolv.conf when it was read */
  bool own_servers;
  pthread_mutex_t lock;               /* guards what follows */
  struct table names;
};

static uint64_t clock_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Lower case, NUL at the end; false when it is too long for a name. */
static bool host_key(struct span host, char key[256]) {
  if (!host.n || host.n > 255) return false;
  for (size_t i = 0; i < host.n; i++) key[i] = ascii_lower(host.p[i]);
  key[host.n] = 0;
  return strlen(key) == host.n;
}

static void port_set(struct address *a, uint16_t port) {
  if (a->to.ss_family == AF_INET) ((struct sockaddr_in *)&a->to)->sin_port = htons(port);
  else ((struct sockaddr_in6 *)&a->to)->sin6_port = htons(port);
}

static bool literal(const char *host, struct address *out) {
  struct sockaddr_in *four = (struct sockaddr_in *)&out->to;
  struct sockaddr_in6 *six = (struct sockaddr_in6 *)&out->to;
  char bare[INET6_ADDRSTRLEN];
  size_t n = strlen(host), brackets = host[0] == '[' && n > 2 && host[n - 1] == ']';
  if (n - 2 * brackets >= sizeof bare) return false;
  memcpy(bare, host + brackets, n - 2 * brackets);
  bare[n - 2 * brackets] = 0;
  *out = (struct address){ 0 };
  if (!brackets && inet_pton(AF_INET, bare, &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    return out->n = sizeof *four, true;
  }
  if (inet_pton(AF_INET6, bare, &six->sin6_addr) != 1) return false;
  six->sin6_family = AF_INET6;
  return out->n = sizeof *six, true;
}

/* The cache. */

static struct name *fresh(struct resolver *r, const char *key) {
  struct name *n = table_get(&r->names, span_cstr(key));
  return n && n->until_ms > clock_ms() ? n : NULL;
}

int resolver_cached(struct resolver *r, struct span host, uint16_t port, struct address out[RESOLVE_MOST]) {
  char key[256];
  int count = 0;
  if (!host_key(host, key)) return -1;
  if (literal(key, &out[0])) return port_set(&out[0], port), 1;
  if (!r) return -1;
  pthread_mutex_lock(&r->lock);
  struct name *n = fresh(r, key);
  if (n && !n->count) count = -1;
  if (n && n->count) {
    count = (int)n->count;
    for (unsigned i = 0; i < n->count; i++) out[i] = n->list[(n->turn + i) % n->count];
    n->turn++;
  }
  pthread_mutex_unlock(&r->lock);
  for (int i = 0; i < count; i++) port_set(&out[i], port);
  return count;
}

static void name_drop(struct resolver *r, struct name *n) {
  table_set(&r->names, span_cstr(n->host), NULL);
  mem_free(n);
}

/* Names that policies make up must not fill the memory: what has expired goes, and if that is not enough, anything. */
static void sweep(struct resolver *r) {
  struct table_entry *e;
  uint64_t now = clock_ms();
  bool crowded = r->names.live >= MOST_NAMES;
  size_t at = 0;
  if (r->names.live < SWEEP_AT) return;
  while ((e = table_next(&r->names, &at))) {
    struct name *n = e->value;
    if (n->until_ms <= now || crowded) name_drop(r, n);
  }
}

static void name_keep(struct resolver *r, const char *host, const struct address *list, unsigned count, unsigned ttl,
                      const char *why) {
  pthread_mutex_lock(&r->lock);
  struct name *n = table_get(&r->names, span_cstr(host));
  if (!n) {
    sweep(r);
    n = mem_zero(sizeof *n);
    strcpy(n->host, host);
    table_set(&r->names, span_cstr(n->host), n);
  }
  n->until_ms = clock_ms() + ttl * 1000u;
  n->count = count;
  snprintf(n->why, sizeof n->why, "%s", why);
  if (count) memcpy(n->list, list, count * sizeof *list);
  pthread_mutex_unlock(&r->lock);
}

/* Answers. */

static void answered(struct message *m) {
  struct resolve_ask *a = (struct resolve_ask *)((char *)m - offsetof(struct resolve_ask, message));
  a->done(a);
}

static void deliver(struct resolve_ask *a) {
  a->message.run = answered;
  loop_post(a->back, &a->message);
}

static void deliver_all(struct question *q, const char *why) {
  while (q->waiting) {
    struct resolve_ask *a = q->waiting;
    q->waiting = a->next;
    a->found = !*why;
    snprintf(a->why, sizeof a->why, "%s", why);
    deliver(a);
  }
}

static const char *status_text(int status) {
  switch (status) {
  case ARES_ENOTFOUND: return "NXDOMAIN";
  case ARES_ENODATA: return "no address";
  case ARES_ETIMEOUT: return "name servers timed out";
  case ARES_ESERVFAIL: return "SERVFAIL";
  case ARES_EREFUSED: case ARES_ECONNREFUSED: return "name servers refused";
  case ARES_EBADNAME: return "not a name";
  case ARES_EDESTRUCTION: case ARES_ECANCELLED: return "shut down while asking";
  default: return ares_strerror(status);
  }
}

/* Whether this machine has a way to the address at all; connecting a datagram socket sends nothing. */
static bool routable(const struct address *a) {
  struct address to = *a;
  port_set(&to, 443);
  int fd = socket(to.to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  bool way = fd >= 0 && connect(fd, (struct sockaddr *)&to.to, to.n) == 0;
  if (fd >= 0) close(fd);
  return way;
}

/* Copies the answer, the addresses without a way out left off, or all of them when none has one. */
static unsigned list_take(const struct ares_addrinfo *info, struct address list[RESOLVE_MOST], unsigned *ttl) {
  unsigned count = 0, most = MOST_TTL;
  for (int all = 0; all < 2 && !count; all++)
    for (const struct ares_addrinfo_node *n = info->nodes; n && count < RESOLVE_MOST; n = n->ai_next) {
      struct address a = { .n = n->ai_addrlen };
      if ((n->ai_family != AF_INET && n->ai_family != AF_INET6) || n->ai_addrlen > sizeof a.to) continue;
      memcpy(&a.to, n->ai_addr, n->ai_addrlen);
      if (n->ai_ttl >= 0 && (unsigned)n->ai_ttl < most) most = (unsigned)n->ai_ttl;
      if (all || routable(&a)) list[count++] = a;
    }
  for (const struct ares_addrinfo_cname *c = info->cnames; c; c = c->next)
    if (c->ttl >= 0 && (unsigned)c->ttl < most) most = (unsigned)c->ttl;
  *ttl = most < LEAST_TTL ? LEAST_TTL : most;
  return count;
}

/* RFC 6761, 6.3: localhost is this machine, whether or not there is a hosts file that says so. */
static unsigned loopback(const char *host, struct address list[RESOLVE_MOST]) {
  bool local = span_ieq(span_cstr(host), SPAN("localhost")) || span_ends(span_cstr(host), SPAN(".localhost"));
  return local && literal("127.0.0.1", &list[0]) && literal("::1", &list[1]) ? 2 : 0;
}

static void question_answered(void *arg, int status, int timeouts, struct ares_addrinfo *info) {
  struct question *q = arg, **link = &q->resolver->questions;
  struct address list[RESOLVE_MOST];
  unsigned ttl = FAILURE_TTL, count = 0;
  char why[96] = "";
  (void)timeouts;
  if (status == ARES_SUCCESS && info) count = list_take(info, list, &ttl);
  if (info) ares_freeaddrinfo(info);
  if (!count && (count = loopback(q->host, list))) status = ARES_SUCCESS, ttl = FAILURE_TTL;
  if (status == ARES_SUCCESS && !count) status = ARES_ENODATA, ttl = FAILURE_TTL;
  if (!count) snprintf(why, sizeof why, "%s for %.60s", status_text(status), q->host);
  if (!q->resolver->ending) name_keep(q->resolver, q->host, list, count, ttl, why);
  while (*link != q) link = &(*link)->next;
  *link = q->next;
  timer_stop(&q->resolver->loop->wheel, &q->limit);
  deliver_all(q, why);
  mem_free(q);
}

/* c-ares may go on; whoever waits has waited long enough. */
static void question_late(struct timer *t) {
  struct question *q = (struct question *)((char *)t - offsetof(struct question, limit));
  char why[96];
  snprintf(why, sizeof why, "name servers timed out for %.60s", q->host);
  deliver_all(q, why);
}

/* Driving c-ares. */

static void retry_arm(struct resolver *r) {
  struct timeval most = { .tv_sec = ASK_MS / 1000 }, t;
  timer_stop(&r->loop->wheel, &r->retry);
  if (!r->questions || r->ending) return;
  const struct timeval *next = ares_timeout(r->channel, &most, &t);
  timer_set(&r->loop->wheel, &r->retry, r->loop->now_ms + (uint64_t)next->tv_sec * 1000 + (uint64_t)next->tv_usec / 1000 + 1);
}

/* Until nothing is readable: the poll tells of changes only. */
static void events_run(struct resolver *r) {
  struct epoll_event events[16];
  for (int round = 0; round < ROUNDS; round++) {
    int n = epoll_wait(r->epoll, events, 16, 0);
    if (n <= 0) {
      retry_arm(r);
      return;
    }
    for (int i = 0; i < n; i++) {
      bool in = events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP), out = events[i].events & EPOLLOUT;
      ares_process_fd(r->channel, in ? events[i].data.fd : ARES_SOCKET_BAD, out ? events[i].data.fd : ARES_SOCKET_BAD);
    }
  }
  if (!r->again_posted) loop_post(r->loop, &r->again);
  r->again_posted = true;
}

static void retried(struct timer *t) {
  struct resolver *r = (struct resolver *)((char *)t - offsetof(struct resolver, retry));
  ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
  events_run(r);
}

static void resolver_gone(struct resolver *r) {
  if (op_busy(&r->watch) || r->again_posted) return;
  close(r->epoll);
  pthread_mutex_destroy(&r->lock);
  mem_free(r);
}

static void events_again(struct message *m) {
  struct resolver *r = (struct resolver *)((char *)m - offsetof(struct resolver, again));
  r->again_posted = false;
  if (r->ending) resolver_gone(r);
  else events_run(r);
}

static void watched(struct op *op, int result, struct span data, bool more) {
  struct resolver *r = (struct resolver *)((char *)op - offsetof(struct resolver, watch));
  (void)data;
  if (r->ending) {
    if (!more) resolver_gone(r);
    return;
  }
  if (!more) log_error("the resolver lost its poll (%s) and is slow from now on", io_result_text(result));
  events_run(r);
}

static void socket_wants(void *arg, ares_socket_t fd, int readable, int writable) {
  struct resolver *r = arg;
  struct epoll_event e = { .events = (readable ? EPOLLIN : 0) | (writable ? EPOLLOUT : 0), .data.fd = fd };
  if (!e.events) (void)epoll_ctl(r->epoll, EPOLL_CTL_DEL, fd, NULL);
  else if (epoll_ctl(r->epoll, EPOLL_CTL_MOD, fd, &e) && errno == ENOENT) check(!epoll_ctl(r->epoll, EPOLL_CTL_ADD, fd, &e));
}

static int channel_open(struct resolver *r) {
  struct ares_options o = { .sock_state_cb = socket_wants, .sock_state_cb_data = r, .timeout = TRY_MS, .tries = TRIES };
  struct stat st;
  r->configured = stat("/etc/resolv.conf", &st) ? (struct timespec){ 0 } : st.st_mtim;
  return ares_init_options(&r->channel, &o, ARES_OPT_SOCK_STATE_CB | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES);
}

/* A machine that moved to another network has other name servers. */
static void channel_refresh(struct resolver *r) {
  struct stat st;
  if (r->own_servers || r->questions || stat("/etc/resolv.conf", &st)) return;
  if (st.st_mtim.tv_sec == r->configured.tv_sec && st.st_mtim.tv_nsec == r->configured.tv_nsec) return;
  ares_channel old = r->channel;
  if (channel_open(r) == ARES_SUCCESS) ares_destroy(old);
  else r->channel = old;
}

static void question_start(struct resolver *r, struct resolve_ask *a) {
  static const struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
  channel_refresh(r);
  struct question *q = mem_zero(sizeof *q);
  q->resolver = r;
  q->waiting = a;
  q->limit.done = question_late;
  memcpy(q->host, a->host, sizeof q->host);
  q->next = r->questions;
  r->questions = q;
  timer_set(&r->loop->wheel, &q->limit, r->loop->now_ms + ASK_MS);
  ares_getaddrinfo(r->channel, a->host, NULL, &hints, question_answered, q);   /* may answer at once: q may be gone */
  retry_arm(r);
}

/* Answers from the cache what another ask brought there meanwhile. */
static bool answer_cached(struct resolver *r, struct resolve_ask *a) {
  pthread_mutex_lock(&r->lock);
  struct name *n = fresh(r, a->host);
  if (n) {
    a->found = n->count > 0;
    memcpy(a->why, n->why, sizeof a->why);
  }
  pthread_mutex_unlock(&r->lock);
  if (n) deliver(a);
  return n != NULL;
}

static void asked(struct message *m) {
  struct resolve_ask *a = (struct resolve_ask *)((char *)m - offsetof(struct resolve_ask, message));
  struct resolver *r = a->resolver;
  if (answer_cached(r, a)) return;
  for (struct question *q = r->questions; q; q = q->next) {
    if (strcmp(q->host, a->host)) continue;
    a->next = q->waiting;
    q->waiting = a;
    if (!timer_armed(&q->limit)) timer_set(&r->loop->wheel, &q->limit, r->loop->now_ms + ASK_MS);
    return;
  }
  question_start(r, a);
}

void resolver_ask(struct resolver *r, struct resolve_ask *a, struct loop *back, struct span host) {
  struct address unused;
  bool name = host_key(host, a->host);
  a->resolver = r;
  a->back = back;
  a->next = NULL;
  a->found = name && literal(a->host, &unused);
  snprintf(a->why, sizeof a->why, "%s", a->found ? "" : name ? "no resolver" : "not a name");
  if (a->found || !name || !r) {
    deliver(a);
    return;
  }
  a->message.run = asked;
  loop_post(r->loop, &a->message);
}

/* Start and end. */

static void library_start(void) { (void)ares_library_init(ARES_LIB_INIT_ALL); }

struct resolver *resolver_new(struct loop *l, const char **why) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  if (l->calls->simulated) return *why = "a simulated loop has no name servers", NULL;
  pthread_once(&once, library_start);
  struct resolver *r = mem_zero(sizeof *r);
  r->loop = l;
  r->epoll = epoll_create1(EPOLL_CLOEXEC);
  int status = r->epoll < 0 ? ARES_ENOMEM : channel_open(r);
  if (status != ARES_SUCCESS) {
    *why = r->epoll < 0 ? strerror(errno) : ares_strerror(status);
    if (r->epoll >= 0) close(r->epoll);
    mem_free(r);
    return NULL;
  }
  pthread_mutex_init(&r->lock, NULL);
  r->watch.done = watched;
  r->retry.done = retried;
  r->again.run = events_again;
  l->calls->poll(l, &r->watch, r->epoll, POLLIN);
  return r;
}

bool resolver_servers(struct resolver *r, const char *servers) {
  r->own_servers = true;
  return ares_set_servers_ports_csv(r->channel, servers) == ARES_SUCCESS;
}

void resolver_free(struct resolver *r) {
  struct table_entry *e;
  size_t at = 0;
  if (!r) return;
  r->ending = true;
  timer_stop(&r->loop->wheel, &r->retry);
  ares_destroy(r->channel);                        /* answers every question that is open */
  while ((e = table_next(&r->names, &at))) mem_free(e->value);
  table_free(&r->names);
  r->loop->calls->cancel(r->loop, &r->watch);
  resolver_gone(r);
}
