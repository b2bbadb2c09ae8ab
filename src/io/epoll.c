#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <unistd.h>
#include "epoll.h"
#include "kernel.h"
#include "lent.h"
#include "weir/log.h"

/* The same waist over epoll, for kernels and containers that refuse io_uring.

   A descriptor is put in the kernel's set once, edge-triggered, for all it can tell; what it tells is kept in its
   `spot` until a call says EAGAIN, so a connection costs no further call of control. A turn waits, marks the spots of
   what came, and then looks at the spots that were marked before its first callback: what a callback asks for has its
   turn in the next one. Listeners are level-triggered, since several processes may accept from one.

   Descriptors may be closed by others, or go to another loop, once no operation of theirs is in flight here. So one that
   has none when a turn ends leaves the set: a spot that says it is in the set speaks of the descriptor that is there. */

enum { EVENTS = 256, ACCEPTS = 64 };
enum { ALL_EVENTS = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET };
enum { ENDS = EPOLLRDHUP | EPOLLHUP | EPOLLERR };

enum epoll_kind { KIND_ACCEPT, KIND_RECV, KIND_INTO, KIND_CONNECT, KIND_POLL, KIND_SEND };
enum { FLYING = 1, ENDED = 2 };       /* op.slot: in flight; it has ended, and its done has not run yet */

struct spot {                         /* what the loop knows of a descriptor */
  struct op *in, *out, *poll;         /* recv or accept; connect or send; poll */
  char *into;                         /* of a recv_into */
  size_t room;
  uint32_t generation;                /* of the descriptor, so that what is told of its predecessor is known as such */
  uint32_t set;                       /* what the kernel was asked to tell; 0: it is not in the set */
  uint32_t ends;                      /* of ENDS, what was ever told */
  uint32_t news;                      /* told, and not yet to the poll */
  unsigned ops;                       /* in flight, or whose done has not run */
  bool readable, writable;            /* told, and no call said EAGAIN since */
  bool unsure;                        /* a short read does not mean that nothing is left: its end, or urgent bytes */
  bool marked;                        /* in the list of those to look at */
};
struct ending {
  struct op *op;
  int result;
};
struct epoll {
  struct loop loop;
  int fd, wake_fd;
  struct spot *spots;                 /* by descriptor */
  unsigned spot_count;
  struct ending *ended;               /* done has to run */
  unsigned ended_count, ended_cap;
  struct place { int fd; uint32_t generation; } *marked, *idle;
  unsigned marked_count, marked_cap, idle_count, idle_cap;
  bool prompt;                        /* something has ended that is not a lazy send */
  char *buffer;
  size_t buffer_size, lending;        /* bytes of it that a recv's done is looking at */
  bool cut_sends;                     /* only where TORTURED */
  char description[400];
};

static struct epoll *epoll_of(struct loop *l) { return (struct epoll *)l; }

/* Spots. */

static struct spot *spot_at(struct epoll *e, int fd) {
  unsigned at = (unsigned)fd;
  require(fd >= 0);
  if (at >= e->spot_count) {
    unsigned count = e->spot_count ? e->spot_count : 64;
    while (count <= at) count *= 2;
    e->spots = mem_grow(e->spots, count * sizeof *e->spots);
    memset(e->spots + e->spot_count, 0, (count - e->spot_count) * sizeof *e->spots);
    e->spot_count = count;
  }
  return &e->spots[at];
}

/* A descriptor of this number is new, or gone. */
static void spot_clear(struct epoll *e, int fd) {
  struct spot *s = spot_at(e, fd);
  check(!s->ops);
  *s = (struct spot){ .generation = s->generation + 1 };
}

static struct spot *spot_find(struct epoll *e, struct place p) {
  struct spot *s = (unsigned)p.fd < e->spot_count ? &e->spots[p.fd] : NULL;
  return s && s->generation == p.generation ? s : NULL;
}

static void place_add(struct place **list, unsigned *count, unsigned *cap, struct place p) {
  if (*count == *cap) {
    *cap = *cap ? *cap * 2 : 64;
    *list = mem_grow(*list, *cap * sizeof **list);
  }
  (*list)[(*count)++] = p;
}

static void mark(struct epoll *e, int fd) {
  struct spot *s = spot_at(e, fd);
  if (s->marked) return;
  s->marked = true;
  place_add(&e->marked, &e->marked_count, &e->marked_cap, (struct place){ fd, s->generation });
}

/* Ops. */

static void ended_add(struct epoll *e, struct op *op, int result) {
  if (e->ended_count == e->ended_cap) {
    e->ended_cap = e->ended_cap ? e->ended_cap * 2 : 64;
    e->ended = mem_grow(e->ended, e->ended_cap * sizeof *e->ended);
  }
  e->ended[e->ended_count++] = (struct ending){ op, result };
  op->slot = ENDED;
  e->prompt = true;
}

static struct spot *op_take(struct loop *l, struct op *op, enum epoll_kind kind, int fd) {
  struct spot *s = spot_at(epoll_of(l), fd);
  require(!op_busy(op));
  op->slot = FLYING;
  op->kind = (uint8_t)kind;
  op->fd = fd;
  op->cancelled = false;
  op->loop = l;
  l->in_flight++;
  s->ops++;
  return s;
}

static void op_end(struct epoll *e, struct op *op, int result, struct span data) {
  struct spot *s = spot_at(e, op->fd);
  if (!--s->ops && s->set) place_add(&e->idle, &e->idle_count, &e->idle_cap, (struct place){ op->fd, s->generation });
  op->slot = 0;
  e->loop.in_flight--;
  e->loop.stats.completions++;
  op->done(op, result, data, false);
}

static void op_leave(struct spot *s, const struct op *op) {
  if (s->in == op) s->in = NULL;
  if (s->out == op) s->out = NULL;
  if (s->poll == op) s->poll = NULL;
}

static int control(const struct epoll *e, int how, int fd, uint32_t events) {
  struct epoll_event event = { .events = events, .data.u64 = (uint32_t)fd | (uint64_t)e->spots[fd].generation << 32 };
  return epoll_ctl(e->fd, how, fd, &event);
}

/* Puts the descriptor in the set; what it has to tell already comes with the next wait. Ends the op when that fails. */
static bool watched(struct epoll *e, struct op *op, uint32_t events) {
  struct spot *s = spot_at(e, op->fd);
  if (s->set == events) return true;
  if (control(e, EPOLL_CTL_ADD, op->fd, events) && (errno != EEXIST || control(e, EPOLL_CTL_MOD, op->fd, events))) {
    int error = errno == ENOSPC ? ENOMEM : errno;
    op_leave(s, op);
    ended_add(e, op, kernel_result(error));
    return false;
  }
  s->set = events;
  return true;
}

static void unwatch(struct epoll *e, int fd) {
  struct spot *s = spot_at(e, fd);
  if (!s->set) return;
  (void)control(e, EPOLL_CTL_DEL, fd, 0);          /* it may be closed */
  s->set = s->ends = s->news = 0;
  s->readable = s->writable = s->unsure = false;
}

/* Accepting. An accept from a blocking listener waits when the connection that was told has gone; its time limit is the
   shortest there is then. It cannot be made non-blocking: that would show in all processes that share it. */

static void epoll_accept(struct loop *l, struct op *op, int fd) {
  struct epoll *e = epoll_of(l);
  struct timeval least = { .tv_usec = 1 };
  kernel_shrink(fd);
  kernel_nodelay(fd);
  (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &least, sizeof least);
  op_take(l, op, KIND_ACCEPT, fd)->in = op;
  (void)watched(e, op, EPOLLIN);
}

static bool another_waits(int fd) {
  struct pollfd p = { .fd = fd, .events = POLLIN };
  return poll(&p, 1, 0) == 1 && p.revents & POLLIN;
}

static void accept_run(struct epoll *e, struct op *op) {
  int fd = op->fd;
  spot_at(e, fd)->readable = false;                /* told again while there is more */
  for (int i = 0; i < ACCEPTS && spot_at(e, fd)->in == op && (!i || another_waits(fd)); i++) {
    int got = accept4(fd, NULL, NULL, SOCK_CLOEXEC), error = errno;
    if (got < 0 && kernel_accept_transient(error)) continue;
    if (got < 0) {
      op_leave(spot_at(e, fd), op);
      unwatch(e, fd);
      op_end(e, op, kernel_result(error), (struct span){ 0 });
      return;
    }
    spot_clear(e, got);
    e->loop.stats.completions++;
    op->done(op, got, (struct span){ 0 }, true);
  }
}

/* Receiving. */

static void read_arm(struct loop *l, struct op *op, enum epoll_kind kind, int fd, char *p, size_t n) {
  struct epoll *e = epoll_of(l);
  struct spot *s = op_take(l, op, kind, fd);
  require(!s->in);
  s->in = op;
  s->into = p;
  s->room = n < MOST_READ ? n : MOST_READ;
  if (watched(e, op, ALL_EVENTS) && s->readable) mark(e, fd);
}

static void epoll_recv(struct loop *l, struct op *op, int fd, bool soon) {
  (void)soon;                                      /* the kernel has told, or will */
  read_arm(l, op, KIND_RECV, fd, epoll_of(l)->buffer, epoll_of(l)->buffer_size);
}

static void epoll_recv_into(struct loop *l, struct op *op, int fd, char *p, size_t n) {
  read_arm(l, op, KIND_INTO, fd, p, n);
}

static void read_run(struct epoll *e, struct spot *s, struct op *op) {
  bool lent = op->kind == KIND_RECV;
  char *p = s->into;
  size_t room = s->room;
  ssize_t n;
  if (lent) lent_show(p, room);
  while ((n = recv(op->fd, p, room, MSG_DONTWAIT)) < 0 && errno == EINTR) {}
  int result = n >= 0 ? (int)n : errno == EAGAIN ? 0 : kernel_result(errno);
  bool nothing = n < 0 && errno == EAGAIN;
  if (nothing || (n >= 0 && (size_t)n < room && !s->unsure)) s->readable = false;
  if (nothing && lent) lent_hide(p, room);
  if (nothing) return;
  op->ready = s->readable;
  s->in = NULL;
  struct span data = lent && n > 0 ? span_of(p, (size_t)n) : (struct span){ 0 };
  if (lent) lent_hide(p + data.n, room - data.n);
  e->lending = data.n;
  op_end(e, op, result, data);
  e->lending = 0;
  if (lent) lent_hide(p, data.n);
}

/* Sending: at once, as far as it goes. */

/* 0: it waits for room; else its result. */
static int send_some(const struct epoll *e, struct op_send *o) {
  while (o->way->sent < o->way->wanted) {
    struct msghdr m = o->way->msg;
    struct iovec one = o->way->msg.msg_iov[0];
    if (e->cut_sends) {
      if (one.iov_len > MOST_SENT) one.iov_len = MOST_SENT;
      m.msg_iov = &one;
      m.msg_iovlen = 1;
    }
    ssize_t n = sendmsg(o->op.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return 0;
    if (n < 0) return kernel_result(errno);
    send_advance(o, (size_t)n);
  }
  return 1;
}

static int sent_result(const struct op_send *o) { return o->way->wanted < INT32_MAX ? (int)o->way->wanted : INT32_MAX; }

/* What a recv is lending right now will not be there when the rest goes out. */
static void send_own(const struct epoll *e, struct op_send *o) {
  size_t n = 0;
  char *to;
  for (size_t i = 0; i < o->way->msg.msg_iovlen; i++) n += o->way->msg.msg_iov[i].iov_len;
  if (!e->lending) return;
  to = o->way->copy = mem_alloc(n);
  for (size_t i = 0; i < o->way->msg.msg_iovlen; i++) {
    struct iovec *v = &o->way->msg.msg_iov[i];
    const char *p = v->iov_base;
    if (!v->iov_len || p < e->buffer || p >= e->buffer + e->lending) continue;
    v->iov_base = memcpy(to, p, v->iov_len);
    to += v->iov_len;
  }
}

static void epoll_send(struct loop *l, struct op_send *o, int fd, const struct iovec *parts, int count) {
  struct epoll *e = epoll_of(l);
  require(count > 0 && count <= SEND_PARTS);
  struct spot *s = op_take(l, &o->op, KIND_SEND, fd);
  require(!s->out);
  sending_take(l, o, parts, count);
  int result = send_some(e, o);
  if (result) {
    bool prompt = e->prompt || result < 0 || !o->lazy;
    ended_add(e, &o->op, result < 0 ? result : sent_result(o));
    e->prompt = prompt;
    return;
  }
  l->stats.short_sends++;
  send_own(e, o);
  s->out = &o->op;
  s->writable = false;
  (void)watched(e, &o->op, ALL_EVENTS);
}

static void send_end(struct epoll *e, struct op_send *o, int result) {
  sending_back(&e->loop, o);
  op_end(e, &o->op, result, (struct span){ 0 });
}

static void rest_run(struct epoll *e, struct spot *s, struct op_send *o) {
  int result = send_some(e, o);
  if (!result) {
    s->writable = false;
    return;
  }
  s->out = NULL;
  send_end(e, o, result < 0 ? result : sent_result(o));
}

/* Connecting and polling. */

static void epoll_connect(struct loop *l, struct op *op, int fd, const struct sockaddr *to, socklen_t n) {
  struct epoll *e = epoll_of(l);
  struct spot *s = op_take(l, op, KIND_CONNECT, fd);
  require(!s->out);
  int error = connect(fd, to, n) ? errno : 0;
  if (error != EINPROGRESS && error != EINTR) {
    ended_add(e, op, error ? kernel_result(error) : 0);
    return;
  }
  s->out = op;
  s->writable = false;
  (void)watched(e, op, ALL_EVENTS);
}

static void connect_run(struct epoll *e, struct spot *s, struct op *op) {
  int error = 0;
  socklen_t n = sizeof error;
  s->out = NULL;
  if (getsockopt(op->fd, SOL_SOCKET, SO_ERROR, &error, &n)) error = errno;
  op_end(e, op, error ? kernel_result(error) : 0, (struct span){ 0 });
}

/* What was told before this poll is told to it again: ends never go away, all else the kernel is asked for once more. */
static void epoll_poll(struct loop *l, struct op *op, int fd, unsigned mask) {
  struct epoll *e = epoll_of(l);
  struct spot *s = op_take(l, op, KIND_POLL, fd);
  require(!s->poll);
  op->mask = mask;
  s->poll = op;
  bool known = s->set != 0;
  s->news = 0;
  if (!watched(e, op, ALL_EVENTS) || !known) return;
  s = spot_at(e, fd);
  if (mask & ~(unsigned)ENDS) (void)control(e, EPOLL_CTL_MOD, fd, ALL_EVENTS);
  s->news = s->ends;
  if (s->news & (mask | EPOLLERR | EPOLLHUP)) mark(e, fd);
}

static void poll_run(struct epoll *e, struct spot *s, struct op *op) {
  int told = (int)(s->news & (op->mask | EPOLLERR | EPOLLHUP));
  s->news = 0;
  e->loop.stats.completions++;
  op->done(op, told, (struct span){ 0 }, true);
}

/* The turn. */

/* What ended since the last turn; sends first, so that nobody sees one in flight that is in truth done. */
static void ended_run(struct epoll *e) {
  unsigned count = e->ended_count;
  for (int others = 0; others < 2; others++)
    for (unsigned i = 0; i < count; i++) {
      struct ending x = e->ended[i];               /* a callback may make the array move */
      if (!x.op || (x.op->kind != KIND_SEND) != others) continue;
      e->ended[i].op = NULL;
      if (others) op_end(e, x.op, x.result, (struct span){ 0 });
      else send_end(e, (struct op_send *)x.op, x.result);
    }
  e->ended_count -= count;
  if (e->ended_count) memmove(e->ended, e->ended + count, e->ended_count * sizeof *e->ended);
}

static void event_take(struct epoll *e, const struct epoll_event *event) {
  struct place p = { (int)(uint32_t)event->data.u64, (uint32_t)(event->data.u64 >> 32) };
  if (p.fd == e->wake_fd) return;                  /* edge-triggered: nobody has to read it */
  struct spot *s = spot_find(e, p);
  if (!s || !s->set) {
    e->loop.stats.stale++;
    return;
  }
  s->ends |= event->events & ENDS;
  s->news |= event->events;
  s->unsure |= event->events & (ENDS | EPOLLPRI);
  s->readable |= (event->events & (EPOLLIN | ENDS)) != 0;
  s->writable |= (event->events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0;
  mark(e, p.fd);
}

/* Each callback may close the descriptor, or make the table move. */
static void look(struct epoll *e, struct place p) {
  struct spot *s = spot_find(e, p);
  if (s && s->out && s->writable) {
    if (s->out->kind == KIND_CONNECT) connect_run(e, s, s->out);
    else rest_run(e, s, (struct op_send *)s->out);
    s = spot_find(e, p);
  }
  if (s && s->in && s->readable) {
    if (s->in->kind == KIND_ACCEPT) accept_run(e, s->in);
    else read_run(e, s, s->in);
    s = spot_find(e, p);
  }
  if (s && s->poll && s->news & (s->poll->mask | EPOLLERR | EPOLLHUP)) poll_run(e, s, s->poll);
}

static void marked_run(struct epoll *e) {
  unsigned count = e->marked_count;
  for (unsigned i = 0; i < count; i++) {
    struct spot *s = spot_find(e, e->marked[i]);
    if (s) s->marked = false;
  }
  for (unsigned i = 0; i < count; i++) look(e, e->marked[i]);
  e->marked_count -= count;
  if (e->marked_count) memmove(e->marked, e->marked + count, e->marked_count * sizeof *e->marked);
}

static void idle_sweep(struct epoll *e) {
  for (unsigned i = 0; i < e->idle_count; i++) {
    struct spot *s = spot_find(e, e->idle[i]);
    if (s && !s->ops) unwatch(e, e->idle[i].fd);
  }
  e->idle_count = 0;
}

static void epoll_turn(struct loop *l, uint64_t most_ms) {
  struct epoll *e = epoll_of(l);
  struct epoll_event events[EVENTS];
  bool wait = most_ms && !e->prompt && !e->marked_count;
  l->stats.enters++;
  int n = epoll_wait(e->fd, events, EVENTS, wait ? (int)(most_ms < LONGEST_WAIT_MS ? most_ms : LONGEST_WAIT_MS) : 0);
  if (n < 0 && errno != EINTR) log_error("epoll: %s", strerror(errno));
  e->prompt = false;
  loop_woke(l, kernel_clock_ns());
  for (int i = 0; i < n; i++) event_take(e, &events[i]);
  ended_run(e);
  marked_run(e);
  idle_sweep(e);
}

/* The rest of the waist. */

static void epoll_cancel(struct loop *l, struct op *op) {
  struct epoll *e = epoll_of(l);
  if (!op_busy(op) || op->cancelled) return;
  op->cancelled = true;
  e->prompt = true;
  if (op->slot == ENDED) return;                   /* with what came first */
  op_leave(spot_at(e, op->fd), op);
  if (op->kind == KIND_ACCEPT) unwatch(e, op->fd);
  ended_add(e, op, IO_CANCELLED);
}

static int epoll_socket(struct loop *l, int family) {
  int fd = kernel_socket(family, SOCK_NONBLOCK);
  if (fd >= 0) spot_clear(epoll_of(l), fd);
  return fd;
}

static void epoll_shutdown(struct loop *l, int fd, int how) {
  (void)l;
  (void)shutdown(fd, how);
}

static void epoll_close(struct loop *l, int fd) {
  struct epoll *e = epoll_of(l);
  spot_clear(e, fd);
  check(close(fd) == 0 || errno != EBADF);         /* somebody closed what was not theirs any more */
}

static void epoll_wake(struct loop *l) { kernel_wake(epoll_of(l)->wake_fd); }

static void epoll_drop(struct epoll *e) {
  if (e->fd >= 0) close(e->fd);
  if (e->wake_fd >= 0) close(e->wake_fd);
  if (e->buffer) lent_show(e->buffer, e->buffer_size);
  mem_free(e->buffer);
  mem_free(e->spots);
  mem_free(e->ended);
  mem_free(e->marked);
  mem_free(e->idle);
  mem_free(e);
}

static void epoll_free(struct loop *l) { epoll_drop(epoll_of(l)); }

static const struct loop_calls epoll_calls = {
  .accept = epoll_accept, .recv = epoll_recv, .recv_into = epoll_recv_into, .send = epoll_send, .connect = epoll_connect,
  .poll = epoll_poll, .cancel = epoll_cancel, .socket = epoll_socket, .shutdown = epoll_shutdown, .close = epoll_close,
  .turn = epoll_turn, .wake = epoll_wake, .free = epoll_free,
};

struct loop *epoll_new(const struct ring_options *o, const char *reason, const char **why) {
  static _Thread_local char text[128];
  struct epoll *e = mem_zero(sizeof *e);
  e->fd = epoll_create1(EPOLL_CLOEXEC);
  e->wake_fd = e->fd < 0 ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.u64 = (uint32_t)e->wake_fd };
  if (e->wake_fd < 0 || epoll_ctl(e->fd, EPOLL_CTL_ADD, e->wake_fd, &event)) {
    snprintf(text, sizeof text, "epoll: %s", strerror(errno));
    *why = text;
    epoll_drop(e);
    return NULL;
  }
  e->buffer_size = o && o->buffer_size ? o->buffer_size : BUFFER_SIZE;
  e->buffer = mem_alloc(e->buffer_size);
  lent_hide(e->buffer, e->buffer_size);
  if (TORTURED) {
    static unsigned loops;
    e->cut_sends = __atomic_fetch_add(&loops, 1, __ATOMIC_RELAXED) % 2;
  }
  loop_init(&e->loop, &epoll_calls, kernel_clock_ns());
  snprintf(e->description, sizeof e->description, "epoll, %s", reason);
  return &e->loop;
}

const char *epoll_description(const struct loop *l) {
  return l->calls == &epoll_calls ? ((const struct epoll *)l)->description : NULL;
}
