/* notify.c: what a service manager is told of this process: one datagram of lines to $NOTIFY_SOCKET each time (sd_notify(3)), and
   signs of life where it asks for them ($WATCHDOG_USEC). Housekeeping's alone. Without the variables nothing happens. */
#include "gateway.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { SEND_WAIT_MS = 1000, STOP_SPARE_S = 30, SIGN_LEAST_MS = 10 };

static struct {
  struct gateway *gateway;
  struct timer sign;
  uint64_t sign_ms;
  bool late;                          /* it was said that a worker hangs */
  bool left;                          /* a successor speaks now */
} notify;

static bool manager(struct sockaddr_un *a, socklen_t *n) {
  const char *path = getenv("NOTIFY_SOCKET");
  size_t length = path ? strlen(path) : 0;
  *a = (struct sockaddr_un){ .sun_family = AF_UNIX };
  if (length < 2 || length >= sizeof a->sun_path || (*path != '/' && *path != '@')) return false;
  memcpy(a->sun_path, path, length);
  if (*path == '@') a->sun_path[0] = 0;                  /* an abstract name */
  *n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
  return true;
}

static void tell(const struct buf *lines) {
  struct sockaddr_un a;
  socklen_t n;
  struct timeval wait = { .tv_usec = SEND_WAIT_MS % 1000 * 1000, .tv_sec = SEND_WAIT_MS / 1000 };
  struct span text = buf_span(lines);
  if (notify.left || !manager(&a, &n)) return;
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
  if (fd < 0 || sendto(fd, text.p, text.n, MSG_NOSIGNAL, (struct sockaddr *)&a, n) < 0)
    log_warn("the service manager could not be told at $NOTIFY_SOCKET: %s", strerror(errno));
  if (fd >= 0) close(fd);
}

/* ---- signs of life */
static void sign(struct timer *t) {
  struct gateway *g = notify.gateway;
  struct buf b = { 0 };
  bool live = gateway_live(g, NULL);
  if (live) {
    buf_add(&b, SPAN("WATCHDOG=1\n"));
    tell(&b);
    buf_free(&b);
  } else if (!notify.late) {
    log_error("a worker hangs: the service manager's watchdog gets no sign of life until it goes on");
  }
  notify.late = !live;
  timer_set(&g->house->wheel, t, g->house->now_ms + notify.sign_ms);
}

/* The variables are meant for the process that the manager started; one that took over from it has them from there. */
static bool signs_wanted(uint64_t *every_us) {
  const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
  uint64_t whose;
  if (!us || !span_u64(span_cstr(us), every_us) || !*every_us) return false;
  return !pid || getenv("WEIR_LISTEN_FDS") || (span_u64(span_cstr(pid), &whose) && whose == (uint64_t)getpid());
}

/* ---- what is said */
static void add_state(struct buf *b, const struct gateway *g) {
  const struct conf *c = g->newest->conf;
  buf_printf(b, "serves on %.*s%s; %u worker%s, %zu provider%s, generation %u", SPAN_FMT(c->listeners[0].spec),
             c->listener_count > 1 ? " and others" : "", g->worker_count, g->worker_count == 1 ? "" : "s", c->provider_count,
             c->provider_count == 1 ? "" : "s", g->newest->number);
}

void notify_ready(struct gateway *g) {
  struct buf b = { 0 };
  uint64_t every_us;
  buf_printf(&b, "READY=1\nMAINPID=%d\nSTATUS=", (int)getpid());
  add_state(&b, g);
  tell(&b);
  buf_free(&b);
  notify.gateway = g;
  if (!signs_wanted(&every_us)) return;
  notify.sign_ms = every_us / 2000 > SIGN_LEAST_MS ? every_us / 2000 : SIGN_LEAST_MS;
  notify.sign.done = sign;
  timer_set(&g->house->wheel, &notify.sign, g->house->now_ms);
}

void notify_reloading(void) {
  struct timespec t;
  struct buf b = { 0 };
  clock_gettime(CLOCK_MONOTONIC, &t);
  buf_printf(&b, "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=loads its files again",
             (unsigned long long)t.tv_sec * 1000000 + (unsigned long long)t.tv_nsec / 1000);
  tell(&b);
  buf_free(&b);
}

/* READY ends the manager's reload either way: the old generation serves on. */
void notify_reloaded(struct gateway *g, struct span refused) {
  struct buf b = { 0 };
  struct span line;
  if (g->draining) return;
  span_cut(refused, '\n', &line);
  buf_add(&b, SPAN("READY=1\nSTATUS="));
  add_state(&b, g);
  if (line.n) buf_printf(&b, "; the last reload was refused: %.*s", SPAN_FMT(line));
  tell(&b);
  buf_free(&b);
}

/* A drain may be longer than the unit's TimeoutStopSec. */
void notify_stopping(double drain_s) {
  struct buf b = { 0 };
  buf_printf(&b, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%.0f\nSTATUS=drains for at most %g s", (drain_s + STOP_SPARE_S) * 1e6, drain_s);
  tell(&b);
  buf_free(&b);
}

void notify_leave(void) { notify.left = true; }

void notify_end(struct gateway *g) {
  timer_stop(&g->house->wheel, &notify.sign);
  notify.gateway = NULL;
  notify.late = notify.left = false;
}
