/* link.c: see link.h. */
#include "link.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "../gateway/pool.h"

enum { READ_AT_ONCE = 16 * 1024 };

struct names {
  struct loop *loop;
  struct resolver *resolver;
};

uint64_t link_now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- names */
struct names *names_open(const char **why) {
  struct ring_options o = { .entries = 256, .buffers = 16, .buffer_size = 4096 };
  struct names *n = mem_zero(sizeof *n);
  n->loop = loop_new(LOOP_ANY, &o, why);
  if (n->loop) n->resolver = resolver_new(n->loop, why);
  if (n->resolver) return n;
  if (n->loop) loop_free(n->loop);
  mem_free(n);
  return NULL;
}

void names_close(struct names *n) {
  if (!n) return;
  resolver_free(n->resolver);
  while (n->loop->in_flight) loop_turn(n->loop);
  loop_free(n->loop);
  mem_free(n);
}

struct name_question {
  struct resolve_ask ask;
  bool answered;
};

static void answered(struct resolve_ask *a) { ((struct name_question *)((char *)a - offsetof(struct name_question, ask)))->answered = true; }

static bool literal(struct span host, uint16_t port, struct address *out) {
  char text[64];
  struct sockaddr_in *v4 = (struct sockaddr_in *)&out->to;
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->to;
  if (host.n >= sizeof text) return false;
  snprintf(text, sizeof text, "%.*s", SPAN_FMT(host));
  memset(out, 0, sizeof *out);
  if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    out->n = sizeof *v4;
  } else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    out->n = sizeof *v6;
  }
  return out->n;
}

bool names_find(struct names *n, struct span host, uint16_t port, struct link_to *out, char *why, size_t why_size) {
  out->count = literal(host, port, &out->addresses[0]);
  if (out->count) return true;
  if (!n) return snprintf(why, why_size, "DNS: no resolver for %.*s", SPAN_FMT(host)), false;
  struct name_question q = { .ask.done = answered };
  resolver_ask(n->resolver, &q.ask, n->loop, host);
  while (!q.answered) loop_turn(n->loop);
  int found = q.ask.found ? resolver_cached(n->resolver, host, port, out->addresses) : 0;
  if (found > 0) return out->count = found, true;
  return snprintf(why, why_size, "DNS: %s", q.ask.why[0] ? q.ask.why : "no address"), false;
}

bool names_find_endpoint(struct names *n, const struct endpoint *e, struct link_to *out, char *why, size_t why_size) {
  out->via = e->proxy;
  out->url = &e->url;
  if (e->proxy) return names_find(n, span_cstr(e->proxy->host), e->proxy->port, out, why, why_size);
  return names_find(n, e->url.host, e->url.port, out, why, why_size);
}

/* ---- the descriptor */
static bool wait_for(struct link *k, short what, uint64_t due_ns) {
  for (;;) {
    uint64_t now = link_now_ns();
    struct pollfd p = { k->fd, what, 0 };
    int n = poll(&p, 1, now >= due_ns ? 0 : (int)((due_ns - now + 999999) / 1000000));
    if (n > 0) return true;
    if (n < 0 && errno == EINTR) continue;
    snprintf(k->why, sizeof k->why, "%s", n < 0 ? strerror(errno) : "timed out");
    return false;
  }
}

static uint64_t due_in(double seconds) { return link_now_ns() + (uint64_t)(seconds * 1e9); }

static bool send_all(struct link *k, struct span bytes) {
  uint64_t due = due_in(k->wait_s);
  while (bytes.n) {
    ssize_t n = send(k->fd, bytes.p, bytes.n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) bytes = span_from(bytes, (size_t)n);
    else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
      if (!wait_for(k, POLLOUT, due)) return false;
    } else return snprintf(k->why, sizeof k->why, "sending: %s", strerror(errno)), false;
  }
  return true;
}

/* Bytes into *in: as link_read answers. */
static int receive(struct link *k, struct buf *in, uint64_t due) {
  for (;;) {
    ssize_t n = recv(k->fd, buf_reserve(in, READ_AT_ONCE), READ_AT_ONCE, MSG_DONTWAIT);
    if (n > 0) return buf_commit(in, (size_t)n), 1;
    if (!n) return 0;
    if (errno != EAGAIN && errno != EINTR) return snprintf(k->why, sizeof k->why, "the connection was reset: %s", strerror(errno)), -1;
    if (!wait_for(k, POLLIN, due)) return -1;
  }
}

static bool connect_one(struct link *k, const struct address *a, uint64_t due) {
  int one = 1, error = 0;
  socklen_t n = sizeof error;
  k->fd = socket(a->to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (k->fd < 0) return snprintf(k->why, sizeof k->why, "%s", strerror(errno)), false;
  if (a->to.ss_family != AF_UNIX) setsockopt(k->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (!connect(k->fd, (const struct sockaddr *)&a->to, a->n)) return true;
  error = errno;
  if (error == EINPROGRESS) {
    error = 0;
    if (wait_for(k, POLLOUT, due)) getsockopt(k->fd, SOL_SOCKET, SO_ERROR, &error, &n);
    else error = ETIMEDOUT;
  }
  if (!error) return true;
  char text[96];
  struct span to = address_text((const struct sockaddr *)&a->to, a->n, text, sizeof text);
  snprintf(k->why, sizeof k->why, "connect to %.*s: %s", SPAN_FMT(to), strerror(error));
  close(k->fd);
  k->fd = -1;
  return false;
}

static bool shake_failed(struct link *k) {
  enum tls_failure f = tls_failure_of(k->tls);
  if (f == TLS_ALERT) snprintf(k->why, sizeof k->why, "TLS: the peer sent alert %u", tls_alert_of(k->tls));
  else snprintf(k->why, sizeof k->why, "TLS: %s", tls_failure_text(f));
  return false;
}

static bool shake(struct link *k, const struct link_to *to, uint64_t due) {
  struct buf out = { 0 };
  bool good = true;
  k->tls = tls_new(to->trust, to->tls_name, NULL);
  for (;;) {
    struct step s = tls_shake(k->tls, buf_span(&k->in), &out);
    buf_consume(&k->in, s.used);
    if (buf_size(&out) && !send_all(k, buf_span(&out))) { good = false; break; }
    buf_clear(&out);
    if (s.kind == STEP_BAD) { good = shake_failed(k); break; }
    if (s.kind == STEP_DONE) break;
    if (buf_size(&k->in) && s.used) continue;
    int n = receive(k, &k->in, due);
    if (n > 0) continue;
    if (!n) snprintf(k->why, sizeof k->why, "TLS: the peer ended the handshake");
    good = false;
    break;
  }
  buf_free(&out);
  return good;
}

/* CONNECT, as tunnel.c in the gateway has it. */
static bool tunnel(struct link *k, const struct link_to *to, uint64_t due) {
  struct buf out = { 0 };
  size_t scanned = 0, size = 0;
  struct http_head *h = mem_alloc(sizeof *h);
  tunnel_request(&out, to->url->host, to->url->port, to->via->auth_line);
  bool good = send_all(k, buf_span(&out));
  secret_wipe(out.p, out.cap);
  buf_clear(&out);
  while (good && !size && buf_size(&out) < READ_AT_ONCE) {
    good = receive(k, &out, due) > 0;
    size = http_head_end(buf_span(&out), &scanned);
  }
  good = good && size && http_read_response(span_of(buf_span(&out).p, size), SPAN("HEAD"), h) == HTTP_OK;
  if (!good) snprintf(k->why, sizeof k->why, "the proxy %.*s did not answer CONNECT", SPAN_FMT(to->via->name));
  else if (h->status < 200 || h->status > 299 || size < buf_size(&out)) {
    snprintf(k->why, sizeof k->why, "the proxy %.*s answered CONNECT with %d", SPAN_FMT(to->via->name), h->status);
    good = false;
  }
  mem_free(h);
  buf_free(&out);
  if (!good) link_close(k);
  return good;
}

bool link_open(struct link *k, const struct link_to *to, double connect_s, double tls_s) {
  uint64_t begun = link_now_ns(), due = due_in(connect_s);
  double wait_s = k->wait_s > 0 ? k->wait_s : 600;
  *k = (struct link){ .fd = -1, .wait_s = wait_s };
  for (int i = 0; i < to->count && k->fd < 0; i++) {
    uint64_t now = link_now_ns();
    if (now >= due) break;
    connect_one(k, &to->addresses[i], now + (due - now) / (uint64_t)(to->count - i));
  }
  if (k->fd < 0) {
    if (!k->why[0]) snprintf(k->why, sizeof k->why, "connect timed out");
    return false;
  }
  k->connect_ms = (double)(link_now_ns() - begun) / 1e6;
  if (!to->trust) return true;
  if (to->via && !tunnel(k, to, due)) return false;
  begun = link_now_ns();
  k->wait_s = tls_s;
  bool good = shake(k, to, due_in(tls_s));
  k->wait_s = wait_s;
  k->tls_ms = (double)(link_now_ns() - begun) / 1e6;
  if (!good) link_close(k);
  return good;
}

bool link_send(struct link *k, struct span bytes) {
  if (!k->tls) return send_all(k, bytes);
  struct buf sealed = { 0 };
  tls_seal(k->tls, bytes, &sealed);
  bool good = send_all(k, buf_span(&sealed));
  buf_free(&sealed);
  return good;
}

int link_read(struct link *k, struct span *out) {
  uint64_t due = due_in(k->wait_s);
  buf_consume(&k->in, k->used);
  k->used = 0;
  for (;;) {
    if (k->tls && buf_size(&k->in)) {
      struct step s = tls_open(k->tls, k->in.p + k->in.at, buf_size(&k->in), out);
      k->used = s.used;
      if (s.kind == STEP_EVENT && out->n) return 1;
      if (s.kind == STEP_DONE) return 0;
      if (s.kind == STEP_BAD) return snprintf(k->why, sizeof k->why, "TLS: a broken record"), -1;
      buf_consume(&k->in, s.used);
      k->used = 0;
      if (s.kind == STEP_EVENT) continue;
    }
    int n = receive(k, &k->in, due);
    if (n <= 0) return n;
    if (k->tls) continue;
    *out = buf_span(&k->in);
    k->used = out->n;
    return 1;
  }
}

void link_close(struct link *k) {
  if (k->fd >= 0) close(k->fd);
  if (k->tls) tls_free(k->tls);
  buf_free(&k->in);
  k->fd = -1;
  k->tls = NULL;
  k->used = 0;
}
