#include "weir/io.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096, FIRST_PASSED = 3 };

bool address_split(struct span spec, struct span *host, uint16_t *port) {
  uint64_t number;
  size_t colon = spec.n;
  while (colon && spec.p[colon - 1] != ':') colon--;
  if (!colon) return false;
  struct span name = span_of(spec.p, colon - 1), digits = span_from(spec, colon);
  if (!name.n || digits.n > 5 || !span_u64(digits, &number) || number > 65535) return false;
  bool bracketed = name.p[0] == '[';
  if (bracketed) {
    if (name.n < 4 || name.p[name.n - 1] != ']') return false;
    name = span_of(name.p + 1, name.n - 2);
  }
  if (!bracketed && span_find(name, ':') < name.n) return false;     /* v6 needs its brackets */
  *host = name;
  *port = (uint16_t)number;
  return true;
}

static struct span unix_text(const struct sockaddr_un *u, socklen_t n, char *text, size_t size) {
  size_t most = n > offsetof(struct sockaddr_un, sun_path) ? n - offsetof(struct sockaddr_un, sun_path) : 0;
  bool hidden = most && !u->sun_path[0];           /* an abstract name, shown as the usual tools do */
  int length = (int)(hidden ? most - 1 : strnlen(u->sun_path, most));
  int wrote = snprintf(text, size, "unix:%s%.*s", hidden ? "@" : "", length, u->sun_path + hidden);
  return span_of(text, wrote < 0 ? 0 : (size_t)wrote < size ? (size_t)wrote : size - 1);
}

struct span address_text(const struct sockaddr *a, socklen_t n, char *text, size_t size) {
  char host[INET6_ADDRSTRLEN] = "?";
  int wrote;
  if (!size) return (struct span){ 0 };
  if (a->sa_family == AF_UNIX) return unix_text((const struct sockaddr_un *)a, n, text, size);
  if (a->sa_family == AF_INET6) {
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)a;
    inet_ntop(AF_INET6, &six->sin6_addr, host, sizeof host);
    wrote = snprintf(text, size, "[%s]:%u", host, ntohs(six->sin6_port));
  } else if (a->sa_family == AF_INET) {
    const struct sockaddr_in *four = (const struct sockaddr_in *)a;
    inet_ntop(AF_INET, &four->sin_addr, host, sizeof host);
    wrote = snprintf(text, size, "%s:%u", host, ntohs(four->sin_port));
  } else {
    wrote = snprintf(text, size, "(no address)");
  }
  return span_of(text, wrote < 0 ? 0 : (size_t)wrote < size ? (size_t)wrote : size - 1);
}

/* The spec as an address; false with the reason in text. */
static bool spec_address(struct span spec, struct address *out, char *text, size_t size) {
  struct span host;
  uint16_t port;
  char name[INET6_ADDRSTRLEN];
  *out = (struct address){ 0 };
  if (span_starts(spec, SPAN("unix:"))) {
    struct sockaddr_un *u = (struct sockaddr_un *)&out->to;
    struct span path = span_from(spec, 5);
    if (!path.n || path.n >= sizeof u->sun_path)
      return snprintf(text, size, "a Unix socket's path has 1 to %zu bytes", sizeof u->sun_path - 1), false;
    u->sun_family = AF_UNIX;
    memcpy(u->sun_path, path.p, path.n);
    out->n = sizeof *u;
    return true;
  }
  struct sockaddr_in *four = (struct sockaddr_in *)&out->to;
  struct sockaddr_in6 *six = (struct sockaddr_in6 *)&out->to;
  bool split = address_split(spec, &host, &port) && host.n < sizeof name;
  if (split) snprintf(name, sizeof name, "%.*s", SPAN_FMT(host));
  if (split && inet_pton(AF_INET, name, &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(port);
    return out->n = sizeof *four, true;
  }
  if (split && inet_pton(AF_INET6, name, &six->sin6_addr) == 1) {
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    return out->n = sizeof *six, true;
  }
  snprintf(text, size, "not an address to listen on: write 127.0.0.1:8080, [::1]:8080 or unix:/path");
  return false;
}

/* True when fd is a listening stream socket bound to this address. */
static bool bound_to(int fd, const struct address *want) {
  struct sockaddr_storage have = { 0 };
  socklen_t n = sizeof have, m = sizeof(int);
  int listening = 0;
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &m) || !listening) return false;
  if (getsockname(fd, (struct sockaddr *)&have, &n) || have.ss_family != want->to.ss_family) return false;
  const struct sockaddr_in *a = (void *)&have, *b = (const void *)&want->to;
  const struct sockaddr_in6 *c = (void *)&have, *d = (const void *)&want->to;
  const struct sockaddr_un *e = (void *)&have, *f = (const void *)&want->to;
  switch (have.ss_family) {
  case AF_INET: return a->sin_port == b->sin_port && a->sin_addr.s_addr == b->sin_addr.s_addr;
  case AF_INET6: return c->sin6_port == d->sin6_port && !memcmp(&c->sin6_addr, &d->sin6_addr, sizeof c->sin6_addr);
  default: return !strncmp(e->sun_path, f->sun_path, sizeof e->sun_path);
  }
}

/* Descriptors passed by a predecessor are listed by number in WEIR_LISTEN_FDS ("3,7"); those of a service manager
   are LISTEN_FDS many from 3 on, if LISTEN_PID is this process. */
static bool in_list(const char *variable, int fd) {
  struct span rest = span_cstr(getenv(variable)), one;
  uint64_t number;
  while (rest.n) {
    rest = span_cut(rest, ',', &one);
    if (span_u64(span_trim(one), &number) && number == (uint64_t)fd) return true;
  }
  return false;
}

static int inherited(const struct address *want) {
  const char *list = getenv("WEIR_LISTEN_FDS"), *count = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
  struct span rest = span_cstr(list), one;
  while (rest.n) {
    uint64_t fd;
    rest = span_cut(rest, ',', &one);
    if (span_u64(span_trim(one), &fd) && fd <= INT32_MAX && bound_to((int)fd, want)) return (int)fd;
  }
  uint64_t passed = 0, whose = 0;
  if (!count || !pid || !span_u64(span_cstr(pid), &whose) || whose != (uint64_t)getpid()) return -1;
  if (!span_u64(span_cstr(count), &passed) || passed > 1024) return -1;
  for (int fd = FIRST_PASSED; fd < FIRST_PASSED + (int)passed; fd++)
    if (bound_to(fd, want)) return fd;
  return -1;
}

/* A path left behind by a process that is gone may go; one that somebody listens on, or that is no socket, may not. */
static bool path_clear(const struct address *a, char *text, size_t size) {
  const struct sockaddr_un *u = (const struct sockaddr_un *)&a->to;
  struct stat st;
  if (lstat(u->sun_path, &st)) return true;
  if (!S_ISSOCK(st.st_mode)) return snprintf(text, size, "%s exists and is no socket", u->sun_path), false;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  bool stale = fd >= 0 && connect(fd, (const struct sockaddr *)u, a->n) < 0 && errno == ECONNREFUSED;
  if (fd >= 0) close(fd);
  if (stale && unlink(u->sun_path) == 0) return true;
  return snprintf(text, size, "%s is in use by another process", u->sun_path), false;
}

/* ---- paths that this process made; the listeners of a process are all opened by one thread */
struct made {
  struct made *next;
  dev_t device;
  ino_t inode;
  char path[sizeof ((struct sockaddr_un *)0)->sun_path + 1];
};
static struct made *made;

static void path_made(const struct address *a) {
  const struct sockaddr_un *u = (const struct sockaddr_un *)&a->to;
  struct stat st;
  if (lstat(u->sun_path, &st)) return;
  struct made *m = mem_zero(sizeof *m);
  *m = (struct made){ .next = made, .device = st.st_dev, .inode = st.st_ino };
  memcpy(m->path, u->sun_path, sizeof u->sun_path);
  made = m;
}

/* As in epoll.c: a time limit instead of a flag that all who share the listener would see. */
int listen_next(int fd) {
  struct timeval least = { .tv_usec = 1 };
  struct pollfd p = { .fd = fd, .events = POLLIN };
  (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &least, sizeof least);
  return poll(&p, 1, 0) == 1 && p.revents & POLLIN ? accept4(fd, NULL, NULL, SOCK_CLOEXEC) : -1;
}

static bool name_of(int fd, struct address *a) {
  *a = (struct address){ .n = sizeof a->to };
  return getsockname(fd, (struct sockaddr *)&a->to, &a->n) == 0;
}

bool listen_made(int fd) {
  struct address a;
  if (!name_of(fd, &a) || a.to.ss_family != AF_UNIX) return false;
  for (const struct made *m = made; m; m = m->next)
    if (!strncmp(m->path, ((struct sockaddr_un *)&a.to)->sun_path, sizeof ((struct sockaddr_un *)&a.to)->sun_path)) return true;
  return false;
}

void listen_rest_close(const int *used, size_t count) {
  struct span rest = span_cstr(getenv("WEIR_LISTEN_FDS")), one;
  while (rest.n) {
    uint64_t number;
    struct address a;
    bool wanted = false;
    rest = span_cut(rest, ',', &one);
    if (!span_u64(span_trim(one), &number) || number > INT32_MAX || !name_of((int)number, &a)) continue;
    for (size_t i = 0; i < count; i++) wanted |= used[i] == (int)number;
    if (wanted) continue;
    if (a.to.ss_family == AF_UNIX && in_list("WEIR_LISTEN_PATHS", (int)number)) unlink(((struct sockaddr_un *)&a.to)->sun_path);
    close((int)number);
  }
}

void listen_leave(void) {
  for (struct made *m; (m = made); mem_free(m)) made = m->next;
}

void listen_tidy(void) {
  struct stat st;
  for (const struct made *m = made; m; m = m->next)
    if (!lstat(m->path, &st) && st.st_dev == m->device && st.st_ino == m->inode) unlink(m->path);
  listen_leave();
}

static void tell_refused(const struct address *a, int error, char *text, size_t size) {
  const char *hint = "";
  if (error == EACCES && a->to.ss_family == AF_UNIX) hint = ": weir's user may not write in that folder";
  else if (error == EACCES) hint = ": a port below net.ipv4.ip_unprivileged_port_start needs CAP_NET_BIND_SERVICE, or a .socket unit";
  else if (error == EADDRNOTAVAIL) hint = ": no interface of this machine has it";
  snprintf(text, size, "%s%s", strerror(error), hint);
}

static int bind_new(const struct address *a, char *text, size_t size) {
  int one = 1;
  if (a->to.ss_family == AF_UNIX && !path_clear(a, text, size)) return -1;
  int fd = socket(a->to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && a->to.ss_family != AF_UNIX) (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (fd >= 0 && a->to.ss_family == AF_INET6) (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
  if (fd >= 0 && bind(fd, (const struct sockaddr *)&a->to, a->n) == 0 && listen(fd, BACKLOG) == 0) return fd;
  tell_refused(a, errno, text, size);
  if (fd >= 0) close(fd);
  return -1;
}

int listen_open(struct span spec, char *text, size_t text_size) {
  struct address a;
  int one = 1;
  if (!spec_address(spec, &a, text, text_size)) return -1;
  int fd = inherited(&a);
  if (fd >= 0) (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
  bool made_once = fd >= 0 && in_list("WEIR_LISTEN_PATHS", fd);
  if (fd < 0 && (fd = bind_new(&a, text, text_size)) >= 0) made_once = true;
  if (made_once && a.to.ss_family == AF_UNIX) path_made(&a);
  if (fd >= 0) (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}
