#include "weir/io.h"
#include "weir/log.h"
#include "lent.h"
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>

/* Sockets in memory behind the same waist. An end holds the bytes that came for it; what an end may do follows from
   its own state and its peer's alone, so a turn is: find the ops that can go on, choose some of them, run them. With
   a seed the choice, the order and the sizes are random, without one everything that can happen does, in the order
   it was asked for. The clock stands still while anything can go on. */

enum { FIRST_FD = 1 << 16, MOST_ENDS = 1 << 16, BACKLOG = 4096, READ_MOST = 16384, SOCKET_BUFFER = 65536, POISON = 0xDB };
#define FIRST_NS (1000ull * 1000 * 1000 * 1000)

enum sim_kind { SIM_ACCEPT, SIM_RECV, SIM_INTO, SIM_SEND, SIM_CONNECT, SIM_POLL };

struct end {
  bool used, listening, connected;
  bool over;                          /* the peer will write no more */
  bool reset;
  bool shut_read, shut_write;
  uint16_t port;
  struct end *peer;                   /* NULL: none, or gone */
  struct buf in;
  int fd;
  struct end **queue;                 /* of a listener: connected ends nobody accepted yet */
  unsigned queued;
  unsigned seen;                      /* poll bits already told */
};
struct flight {
  struct op *op;
  uint64_t serial;                    /* tells a later flight of the same op */
  char *into;
  size_t room;
  uint16_t port;
};
struct sim {
  struct loop loop;
  struct sim_options options;
  uint64_t random, serial;
  struct end **ends;
  unsigned end_count;
  struct flight *flights;             /* in the order asked for */
  unsigned flight_count, flight_cap;
  struct flight *ready;               /* scratch of a turn */
  unsigned ready_cap;
  char *lent;
  size_t lending;                     /* bytes of it that a recv's done is looking at */
};

static struct sim *sim_of(struct loop *l) { return (struct sim *)l; }

/* splitmix64 */
static uint64_t random_next(struct sim *s) {
  uint64_t z = s->random += 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}
static bool one_in(struct sim *s, unsigned n) { return s->options.seed && random_next(s) % n == 0; }
static size_t some_of(struct sim *s, size_t n) { return n > 1 && one_in(s, 2) ? 1 + random_next(s) % n : n; }

/* Ends. */

static struct end *end_of(struct sim *s, int fd) {
  unsigned i = (unsigned)(fd - FIRST_FD);
  return fd >= FIRST_FD && i < s->end_count && s->ends[i]->used ? s->ends[i] : NULL;
}

/* Takes the lowest free number, as kernels do, so that a descriptor used after its close meets somebody else. */
static struct end *end_new(struct sim *s) {
  unsigned i = 0;
  while (i < s->end_count && s->ends[i]->used) i++;
  if (i == MOST_ENDS) return NULL;
  if (i == s->end_count) {
    s->ends = mem_grow(s->ends, ++s->end_count * sizeof *s->ends);
    s->ends[i] = mem_alloc(sizeof *s->ends[i]);
  }
  *s->ends[i] = (struct end){ .used = true, .fd = FIRST_FD + (int)i };
  return s->ends[i];
}

static void link_up(struct end *a, struct end *b) {
  a->peer = b;
  b->peer = a;
  a->connected = b->connected = true;
}

static void end_reset(struct end *e) {
  struct end *peer = e->peer;
  e->reset = true;
  e->peer = NULL;
  if (peer) peer->reset = true, peer->peer = NULL;
}

/* As close(2): bytes that were never read make it a reset. */
static void end_close(struct end *e) {
  struct end *peer = e->peer;
  if (peer) {
    peer->peer = NULL;
    if (buf_size(&e->in)) peer->reset = true;
    else peer->over = true;
  }
  for (unsigned i = 0; i < e->queued; i++) {
    end_reset(e->queue[i]);
    end_close(e->queue[i]);
  }
  mem_free(e->queue);
  buf_free(&e->in);
  *e = (struct end){ 0 };
}

static struct end *listener_of(struct sim *s, uint16_t port) {
  for (unsigned i = 0; i < s->end_count; i++)
    if (s->ends[i]->listening && s->ends[i]->port == port) return s->ends[i];
  return NULL;
}

/* Connects `from` to whoever listens on the port; 0 or an io_result. */
static int end_connect(struct sim *s, struct end *from, uint16_t port) {
  struct end *listener = listener_of(s, port), *other;
  if (from->connected || from->listening) return IO_FAILED;
  if (!listener || listener->queued == BACKLOG) return IO_REFUSED;
  if (!(other = end_new(s))) return IO_NO_DESCRIPTORS;
  link_up(from, other);
  listener->queue = mem_grow(listener->queue, (listener->queued + 1) * sizeof *listener->queue);
  listener->queue[listener->queued++] = other;
  return 0;
}

static struct end *end_accept(struct end *listener) {
  struct end *e = listener->queue[0];
  memmove(listener->queue, listener->queue + 1, --listener->queued * sizeof *listener->queue);
  return e;
}

static size_t room_to(const struct sim *s, const struct end *e) {
  if (!e->peer) return s->options.socket_buffer;   /* into the void, which answers with a reset */
  size_t has = buf_size(&e->peer->in);
  return has < s->options.socket_buffer ? s->options.socket_buffer - has : 0;
}

static bool can_read(const struct end *e) { return buf_size(&e->in) || e->over || e->reset || e->shut_read || !e->connected; }
static bool cannot_write(const struct end *e) { return e->reset || e->shut_write || !e->connected; }

/* Writes to the peer; a peer that is gone takes the bytes and makes the next try fail. */
static size_t end_write(const struct sim *s, struct end *e, const char *p, size_t n) {
  size_t room = room_to(s, e);
  if (n > room) n = room;
  if (e->peer) buf_add(&e->peer->in, span_of(p, n));
  else if (n) e->reset = true;
  return n;
}

static unsigned poll_state(const struct sim *s, const struct end *e) {
  unsigned state = 0;
  if (e->listening) return e->queued ? POLLIN : 0;
  if (can_read(e)) state |= POLLIN;
  if (e->over || e->reset || e->shut_read) state |= POLLRDHUP;
  if (e->reset) state |= POLLERR | POLLHUP;
  if ((e->over && e->shut_write) || !e->connected) state |= POLLHUP;
  if (room_to(s, e) || e->reset) state |= POLLOUT;
  return state;
}

/* Flights. */

static struct flight *take(struct loop *l, struct op *op, enum sim_kind kind, int fd) {
  struct sim *s = sim_of(l);
  require(!op_busy(op));
  if (s->flight_count == s->flight_cap) {
    s->flight_cap = s->flight_cap ? s->flight_cap * 2 : 16;
    s->flights = mem_grow(s->flights, s->flight_cap * sizeof *s->flights);
  }
  struct flight *f = &s->flights[s->flight_count++];
  *f = (struct flight){ .op = op, .serial = ++s->serial };
  op->slot = 1;
  op->kind = (uint8_t)kind;
  op->cancelled = false;
  op->loop = l;
  op->fd = fd;
  l->in_flight++;
  return f;
}

static struct flight *flight_find(struct sim *s, uint64_t serial) {
  for (unsigned i = 0; i < s->flight_count; i++)
    if (s->flights[i].serial == serial) return &s->flights[i];
  return NULL;
}

static void finish(struct sim *s, struct flight *f, int result, struct span data) {
  struct op *op = f->op;
  memmove(f, f + 1, (size_t)(s->flights + --s->flight_count - f) * sizeof *f);
  op->slot = 0;
  s->loop.in_flight--;
  if (op->kind == SIM_SEND) sending_back(&s->loop, (struct op_send *)op);
  op->done(op, result, data, false);
}

static bool can_go_on(const struct sim *s, const struct flight *f) {
  const struct op *op = f->op;
  struct end *e = end_of((struct sim *)s, op->fd);
  if (op->cancelled || !e) return true;
  switch ((enum sim_kind)op->kind) {
  case SIM_ACCEPT: return e->queued || !e->listening;
  case SIM_RECV: case SIM_INTO: return can_read(e);
  case SIM_SEND: return cannot_write(e) || room_to(s, e) || !((const struct op_send *)op)->way->wanted;
  case SIM_CONNECT: return true;
  case SIM_POLL: break;
  }
  e->seen &= poll_state(s, e);
  return (poll_state(s, e) & ~e->seen & (op->mask | POLLERR | POLLHUP)) != 0;
}

static void recv_run(struct sim *s, struct flight *f, struct end *e) {
  bool into = f->op->kind == SIM_INTO;
  size_t have = buf_size(&e->in), most = into ? f->room : s->options.most_read;
  if (!have || e->shut_read) {
    finish(s, f, e->reset ? IO_RESET : e->connected ? IO_END : IO_FAILED, (struct span){ 0 });
    return;
  }
  size_t n = some_of(s, have < most ? have : most);
  char *to = into ? f->into : s->lent;
  lent_show(s->lent, n);
  memcpy(to, e->in.p + e->in.at, n);
  buf_consume(&e->in, n);
  if (!into) s->lending = n;
  finish(s, f, (int)n, into ? (struct span){ 0 } : span_of(to, n));
  s->lending = 0;
  memset(s->lent, POISON, into ? 0 : n);           /* it was lent for the time of done */
  lent_hide(s->lent, s->options.most_read);
}

/* Moves what fits; true when the send is at its end. */
static bool send_move(struct sim *s, struct op_send *o, struct end *e, bool partly) {
  while (o->way->msg.msg_iovlen) {
    struct iovec *v = o->way->msg.msg_iov;
    size_t n = end_write(s, e, v->iov_base, partly ? some_of(s, v->iov_len) : v->iov_len);
    o->way->sent += n;
    v->iov_base = (char *)v->iov_base + n;
    v->iov_len -= n;
    if (v->iov_len) {
      s->loop.stats.short_sends++;
      return false;
    }
    o->way->msg.msg_iov++;
    o->way->msg.msg_iovlen--;
  }
  return true;
}

static void send_run(struct sim *s, struct flight *f, struct end *e) {
  struct op_send *o = (struct op_send *)f->op;
  if (o->way->sent < o->way->wanted && cannot_write(e)) {
    finish(s, f, e->connected ? IO_RESET : IO_FAILED, (struct span){ 0 });
    return;
  }
  if (send_move(s, o, e, true)) finish(s, f, o->way->wanted < INT32_MAX ? (int)o->way->wanted : INT32_MAX, (struct span){ 0 });
}

static void accept_run(struct sim *s, struct flight *f, struct end *e) {
  struct op *op = f->op;
  if (!e->listening) {
    finish(s, f, IO_FAILED, (struct span){ 0 });
    return;
  }
  for (size_t n = some_of(s, e->queued); n && e->queued && !op->cancelled; n--)
    op->done(op, end_accept(e)->fd, (struct span){ 0 }, true);
}

static void run(struct sim *s, struct flight *f) {
  struct op *op = f->op;
  struct end *e = end_of(s, op->fd);
  unsigned state;
  s->loop.stats.completions++;
  if (op->cancelled || !e) {
    finish(s, f, op->cancelled ? IO_CANCELLED : IO_FAILED, (struct span){ 0 });
    return;
  }
  switch ((enum sim_kind)op->kind) {
  case SIM_ACCEPT: accept_run(s, f, e); break;
  case SIM_RECV: case SIM_INTO: recv_run(s, f, e); break;
  case SIM_SEND: send_run(s, f, e); break;
  case SIM_CONNECT: finish(s, f, end_connect(s, e, f->port), (struct span){ 0 }); break;
  case SIM_POLL:
    state = poll_state(s, e) & (op->mask | POLLERR | POLLHUP);
    e->seen |= state;
    op->done(op, (int)state, (struct span){ 0 }, true);
  }
}

/* The turn. */

static unsigned ready_find(struct sim *s) {
  unsigned n = 0;
  if (s->ready_cap < s->flight_count) {
    s->ready_cap = s->flight_cap;
    s->ready = mem_grow(s->ready, s->ready_cap * sizeof *s->ready);
  }
  for (unsigned i = 0; i < s->flight_count; i++)
    if (can_go_on(s, &s->flights[i])) s->ready[n++] = s->flights[i];
  return n;
}

static void shuffle(struct sim *s, unsigned n) {
  for (unsigned i = n; i > 1; i--) {
    unsigned j = (unsigned)(random_next(s) % i);
    struct flight swap = s->ready[i - 1];
    s->ready[i - 1] = s->ready[j];
    s->ready[j] = swap;
  }
}

static void sim_turn(struct loop *l, uint64_t most_ms) {
  struct sim *s = sim_of(l);
  unsigned n = ready_find(s);
  uint64_t now_ns = l->now_ns;
  if (!n && most_ms != UINT64_MAX) now_ns += most_ms * 1000000;
  loop_woke(l, now_ns);
  if (s->options.seed) shuffle(s, n);
  for (unsigned i = 0; i < n; i++) {
    if (i && one_in(s, 4)) continue;               /* the first always runs, so that every turn gets on */
    struct flight *f = flight_find(s, s->ready[i].serial);
    if (f && can_go_on(s, f)) run(s, f);
  }
}

/* The waist. */

static void sim_accept_op(struct loop *l, struct op *op, int fd) { take(l, op, SIM_ACCEPT, fd); }

static void sim_recv(struct loop *l, struct op *op, int fd, bool soon) {
  (void)soon;
  take(l, op, SIM_RECV, fd);
}

static void sim_recv_into(struct loop *l, struct op *op, int fd, char *p, size_t n) {
  struct flight *f = take(l, op, SIM_INTO, fd);
  f->into = p;
  f->room = n;
}

/* What a recv is lending is copied at once; the ring holds on to it instead. */
static void lent_own(struct sim *s, struct op_send *o) {
  size_t n = 0;
  for (size_t i = 0; i < o->way->msg.msg_iovlen; i++) n += o->way->parts[i].iov_len;
  char *to = o->way->copy = mem_alloc(n);
  for (size_t i = 0; i < o->way->msg.msg_iovlen; i++) {
    struct iovec *v = &o->way->parts[i];
    const char *p = v->iov_base;
    if (!v->iov_len || p < s->lent || p >= s->lent + s->lending) continue;
    v->iov_base = memcpy(to, p, v->iov_len);
    to += v->iov_len;
  }
}

static void sim_send(struct loop *l, struct op_send *o, int fd, const struct iovec *parts, int count) {
  require(count > 0 && count <= SEND_PARTS);
  take(l, &o->op, SIM_SEND, fd);
  sending_take(l, o, parts, count);
  if (sim_of(l)->lending) lent_own(sim_of(l), o);
}

static void sim_connect_op(struct loop *l, struct op *op, int fd, const struct sockaddr *to, socklen_t n) {
  struct flight *f = take(l, op, SIM_CONNECT, fd);
  if (to->sa_family == AF_INET && n >= sizeof(struct sockaddr_in)) f->port = ntohs(((const struct sockaddr_in *)to)->sin_port);
  if (to->sa_family == AF_INET6 && n >= sizeof(struct sockaddr_in6)) f->port = ntohs(((const struct sockaddr_in6 *)to)->sin6_port);
}

static void sim_poll(struct loop *l, struct op *op, int fd, unsigned mask) {
  struct end *e = end_of(sim_of(l), fd);
  take(l, op, SIM_POLL, fd);
  op->mask = mask;
  if (e) e->seen = 0;
}

static void sim_cancel(struct loop *l, struct op *op) {
  struct sim *s = sim_of(l);
  struct end *e = end_of(s, op->fd);
  if (!op_busy(op) || op->cancelled) return;
  struct op_send *o = (struct op_send *)op;
  if (op->kind == SIM_SEND && e && !cannot_write(e) && send_move(s, o, e, false)) return;   /* it was out already */
  op->cancelled = true;
}

static int sim_socket(struct loop *l, int family) {
  (void)family;
  struct end *e = end_new(sim_of(l));
  return e ? e->fd : IO_NO_DESCRIPTORS;
}

static void sim_shutdown(struct loop *l, int fd, int how) {
  struct sim *s = sim_of(l);
  struct end *e = end_of(s, fd);
  if (!check(e)) return;
  for (unsigned i = 0; i < s->flight_count && e->connected; i++)     /* what was sent earlier goes first */
    if (s->flights[i].op->fd == fd && s->flights[i].op->kind == SIM_SEND && !cannot_write(e))
      send_move(s, (struct op_send *)s->flights[i].op, e, false);
  e->listening = false;
  if (!e->connected) return;
  if (how != SHUT_WR) e->shut_read = true;
  if (how == SHUT_RD) return;
  e->shut_write = true;
  if (e->peer) e->peer->over = true;
}

static void sim_close(struct loop *l, int fd) {
  struct sim *s = sim_of(l);
  struct end *e = end_of(s, fd);
  if (!check(e)) return;
  for (unsigned i = 0; i < s->flight_count; i++)
    check(s->flights[i].op->fd != fd);             /* the owner must have waited for it */
  end_close(e);
}

static void sim_wake(struct loop *l) { (void)l; }

static void sim_free(struct loop *l) {
  struct sim *s = sim_of(l);
  for (unsigned i = 0; i < s->end_count; i++) {
    if (s->ends[i]->used) end_close(s->ends[i]);
    mem_free(s->ends[i]);
  }
  mem_free(s->ends);
  mem_free(s->flights);
  mem_free(s->ready);
  lent_show(s->lent, s->options.most_read);
  mem_free(s->lent);
  mem_free(s);
}

static const struct loop_calls sim_calls = {
  .simulated = true, .accept = sim_accept_op, .recv = sim_recv, .recv_into = sim_recv_into, .send = sim_send, .connect = sim_connect_op,
  .poll = sim_poll, .cancel = sim_cancel, .socket = sim_socket, .shutdown = sim_shutdown, .close = sim_close,
  .turn = sim_turn, .wake = sim_wake, .free = sim_free,
};

struct loop *sim_new(const struct sim_options *o) {
  struct sim *s = mem_zero(sizeof *s);
  if (o) s->options = *o;
  if (!s->options.most_read) s->options.most_read = READ_MOST;
  if (!s->options.socket_buffer) s->options.socket_buffer = SOCKET_BUFFER;
  s->random = s->options.seed;
  s->lent = mem_alloc(s->options.most_read);
  lent_hide(s->lent, s->options.most_read);
  loop_init(&s->loop, &sim_calls, FIRST_NS);
  return &s->loop;
}

/* Test peers. */

int sim_listen(struct loop *l, uint16_t port) {
  struct sim *s = sim_of(l);
  if (listener_of(s, port)) return IO_FAILED;
  struct end *e = end_new(s);
  if (!e) return IO_NO_DESCRIPTORS;
  e->listening = true;
  e->port = port;
  return e->fd;
}

int sim_accept(struct loop *l, int listener) {
  struct end *e = end_of(sim_of(l), listener);
  return e && e->queued ? end_accept(e)->fd : IO_FAILED;
}

int sim_connect(struct loop *l, uint16_t port) {
  struct sim *s = sim_of(l);
  struct end *e = end_new(s);
  if (!e) return IO_NO_DESCRIPTORS;
  int result = end_connect(s, e, port);
  if (result == 0) return e->fd;
  end_close(e);
  return result;
}

size_t sim_write(struct loop *l, int fd, struct span bytes) {
  struct sim *s = sim_of(l);
  struct end *e = end_of(s, fd);
  return !check(e) || cannot_write(e) ? 0 : end_write(s, e, bytes.p, bytes.n);
}

size_t sim_read(struct loop *l, int fd, char *p, size_t n, bool *ended) {
  struct end *e = end_of(sim_of(l), fd);
  if (!check(e)) return *ended = true, 0;
  size_t have = buf_size(&e->in);
  if (n > have) n = have;
  if (n) memcpy(p, e->in.p + e->in.at, n), buf_consume(&e->in, n);
  *ended = !buf_size(&e->in) && (e->over || e->reset);
  return n;
}

void sim_reset(struct loop *l, int fd) {
  struct end *e = end_of(sim_of(l), fd);
  if (check(e)) end_reset(e);
}

bool sim_ready(struct loop *l) {
  struct sim *s = sim_of(l);
  if (l->posted) return true;
  for (unsigned i = 0; i < s->flight_count; i++)
    if (can_go_on(s, &s->flights[i])) return true;
  return false;
}

bool sim_busy(struct loop *l) { return wheel_next(&l->wheel) != UINT64_MAX || sim_ready(l); }

unsigned sim_open(struct loop *l) {
  struct sim *s = sim_of(l);
  unsigned n = 0;
  for (unsigned i = 0; i < s->end_count; i++) n += s->ends[i]->used;
  return n;
}
