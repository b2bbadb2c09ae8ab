#include "weir/log.h"
#include "lent.h"
#include "ring.h"
#include <errno.h>
#include <poll.h>
#include <unistd.h>

/* The ring; beside ring_start.c the only file that knows io_uring. One io_uring_enter per turn: it submits what
   callbacks prepared, waits, and brings the completions, which are copied out of the kernel's queue and then run
   from here.

   Sends. A send is prepared with MSG_DONTWAIT|MSG_WAITALL and IOSQE_CQE_SKIP_SUCCESS, so the kernel runs it while
   it takes the submission: when all bytes went out it says nothing, else it posts a completion (the bytes that
   went, -EAGAIN, an error) before the call goes on to wait. So once io_uring_enter returned, every send of the batch
   that has no completion in the queue is done. What fell short goes on as an ordinary send that waits for room.
   The kernel waits for a completion of something else, though; the loop therefore waits only when all sends of
   the batch are `lazy`, that is when nobody starts anything in their done, and else only looks. Before any
   callback runs the batch is judged, so that nobody ever sees a send in flight that is in truth done.
   ring_start.c tries this once on a socket pair; a kernel that behaves otherwise gets ordinary completions. */

enum { FIRST_BUFFERS = 16 };
enum { SKIP_LIMIT = 1 << 30 };        /* the kernel cuts a single send at 2 GB and would call that success */

static struct ring *ring_of(struct loop *l) { return (struct ring *)l; }

/* The table of ops in flight: user_data is slot | generation << 32 | kind << 56, so that a completion of an
   earlier owner of the slot is known as such. */

static void slots_grow(struct ring *r) {
  uint32_t old = r->slot_count, count = old ? old * 2 : 256;
  r->slots = mem_grow(r->slots, count * sizeof *r->slots);
  for (uint32_t i = count; i-- > (old ? old : 1);) {
    r->slots[i] = (struct ring_slot){ .next_free = r->first_free };
    r->first_free = i;
  }
  r->slots[0] = (struct ring_slot){ 0 };
  r->slot_count = count;
}

static void op_take(struct ring *r, struct op *op, enum ring_kind kind, int fd) {
  require(!op_busy(op));
  if (!r->first_free) slots_grow(r);
  op->slot = r->first_free;
  op->kind = (uint8_t)kind;
  op->fd = fd;
  op->cancelled = false;
  op->loop = &r->loop;
  struct ring_slot *s = &r->slots[op->slot];
  r->first_free = s->next_free;
  s->op = op;
  if (op != &r->wake) r->loop.in_flight++;
}

static uint64_t op_data(const struct ring *r, const struct op *op) {
  return op->slot | (uint64_t)r->slots[op->slot].generation << 32 | (uint64_t)op->kind << 56;
}

static struct op *op_of(const struct ring *r, uint64_t data) {
  uint32_t slot = (uint32_t)data, generation = (uint32_t)(data >> 32) & 0xFFFFFF;
  if (slot == 0 || slot >= r->slot_count) return NULL;
  return r->slots[slot].generation == generation ? r->slots[slot].op : NULL;
}

static enum ring_kind kind_of(uint64_t data) { return (enum ring_kind)(data >> 56); }

static void op_end(struct ring *r, struct op *op, int result, struct span data) {
  struct ring_slot *s = &r->slots[op->slot];
  s->op = NULL;
  s->generation = (s->generation + 1) & 0xFFFFFF;
  s->next_free = r->first_free;
  r->first_free = op->slot;
  op->slot = 0;
  if (op != &r->wake) r->loop.in_flight--;
  op->done(op, result, data, false);
}

/* Submission. */

/* Hands over what is prepared without waiting; no callback runs. */
static void submit(struct ring *r) {
  r->loop.stats.enters++;
  int n = io_uring_submit(&r->uring);
  if (n < 0 && n != -EINTR && n != -EAGAIN && n != -EBUSY) log_error("io_uring submit: %s", strerror(-n));
  if (!io_uring_sq_ready(&r->uring)) r->to_count = 0;
}

static void harvest(struct ring *r);

static struct io_uring_sqe *entry(struct ring *r) {
  struct io_uring_sqe *e = io_uring_get_sqe(&r->uring);
  for (int tries = 0; !e && tries < 1000; tries++) {
    submit(r);
    if ((e = io_uring_get_sqe(&r->uring))) break;
    harvest(r);                                    /* a full queue of completions may be what holds it up */
  }
  require(e);
  return e;
}

static struct io_uring_sqe *entry_for(struct ring *r, struct op *op, enum ring_kind kind, int fd) {
  struct io_uring_sqe *e = entry(r);
  if (op) op_take(r, op, kind, fd);
  return e;
}

static void recv_arm(struct ring *r, struct op *op, bool soon) {
  struct io_uring_sqe *e = entry(r);
  io_uring_prep_recv(e, op->fd, NULL, 0, 0);
  if (!soon) e->ioprio |= IORING_RECVSEND_POLL_FIRST;
  e->flags |= IOSQE_BUFFER_SELECT;
  e->buf_group = BUFFER_GROUP;
  io_uring_sqe_set_data64(e, op_data(r, op));
}

static void accept_arm(struct ring *r, struct op *op) {
  struct io_uring_sqe *e = entry(r);
  io_uring_prep_multishot_accept(e, op->fd, NULL, NULL, SOCK_CLOEXEC);
  io_uring_sqe_set_data64(e, op_data(r, op));
}

static void poll_arm(struct ring *r, struct op *op) {
  struct io_uring_sqe *e = entry(r);
  io_uring_prep_poll_multishot(e, op->fd, op->mask);
  io_uring_sqe_set_data64(e, op_data(r, op));
}

static void ring_accept(struct loop *l, struct op *op, int fd) {
  kernel_shrink(fd);
  kernel_nodelay(fd);
  op_take(ring_of(l), op, KIND_ACCEPT, fd);
  accept_arm(ring_of(l), op);
}

static void ring_recv(struct loop *l, struct op *op, int fd, bool soon) {
  op_take(ring_of(l), op, KIND_RECV, fd);
  recv_arm(ring_of(l), op, soon || op->ready);
}

static void ring_recv_into(struct loop *l, struct op *op, int fd, char *p, size_t n) {
  struct ring *r = ring_of(l);
  struct io_uring_sqe *e = entry_for(r, op, KIND_READ, fd);
  io_uring_prep_recv(e, fd, p, n < MOST_READ ? n : MOST_READ, 0);
  if (!op->ready) e->ioprio |= IORING_RECVSEND_POLL_FIRST;
  io_uring_sqe_set_data64(e, op_data(r, op));
}

static void ring_poll(struct loop *l, struct op *op, int fd, unsigned mask) {
  op_take(ring_of(l), op, KIND_POLL, fd);
  op->mask = mask;
  poll_arm(ring_of(l), op);
}

static void ring_connect(struct loop *l, struct op *op, int fd, const struct sockaddr *to, socklen_t n) {
  struct ring *r = ring_of(l);
  require(n <= sizeof r->to[0]);
  if (r->to_count == ADDRESSES) submit(r);
  require(r->to_count < ADDRESSES);
  struct sockaddr_storage *copy = memcpy(&r->to[r->to_count], to, n);
  struct io_uring_sqe *e = entry_for(r, op, KIND_CONNECT, fd);
  io_uring_prep_connect(e, fd, (struct sockaddr *)copy, n);
  io_uring_sqe_set_data64(e, op_data(r, op));
  r->to_count = (unsigned)(copy - r->to) + 1;      /* taking the entry may have submitted and reset it */
}

/* Buffers: 128 lie ready, but only as many circulate as were ever needed at once, so that few pages are warm. */

static void buffer_give(struct ring *r, unsigned id) {
  lent_hide(r->buffers + (size_t)id * r->buffer_size, r->buffer_size);
  io_uring_buf_ring_add(r->buffer_ring, r->buffers + (size_t)id * r->buffer_size, r->buffer_size, (unsigned short)id,
                        io_uring_buf_ring_mask(r->ring_slots), 0);
  io_uring_buf_ring_advance(r->buffer_ring, 1);
}

static void buffers_publish(struct ring *r, unsigned count) {
  while (r->published < count && r->published < r->buffer_count) buffer_give(r, r->published++);
}

/* A send of what a recv just lent points into the buffer and holds it until the batch is judged, which saves the
   copy. When many are held at once the next recvs would go without, so then the bytes are copied instead. */

static bool lent_now(const struct ring *r, const struct iovec *v) {
  const char *p = v->iov_base;
  return v->iov_len && p >= r->lending.p && p < r->lending.p + r->lending.n;
}

static bool within_buffer(const struct ring *r, const struct iovec *v, unsigned id) {
  size_t at = (size_t)((const char *)v->iov_base - r->buffers);
  return v->iov_len && at < r->buffers_bytes && at / r->buffer_size == id;
}

/* Moves the parts that lie in buffer `id` to memory of the send's own. */
static void send_own(struct ring *r, struct op_send *s, unsigned id) {
  size_t n = 0;
  for (size_t i = 0; i < s->way->msg.msg_iovlen; i++)
    if (within_buffer(r, &s->way->msg.msg_iov[i], id)) n += s->way->msg.msg_iov[i].iov_len;
  char *to = s->way->copy = mem_alloc(n);
  for (size_t i = 0; i < s->way->msg.msg_iovlen; i++) {
    struct iovec *v = &s->way->msg.msg_iov[i];
    if (!within_buffer(r, v, id)) continue;
    memcpy(to, v->iov_base, v->iov_len);
    v->iov_base = to;
    to += v->iov_len;
  }
}

static void send_hold(struct ring *r, struct op_send *s) {
  bool lent = false;
  for (size_t i = 0; i < s->way->msg.msg_iovlen; i++) lent |= lent_now(r, &s->way->msg.msg_iov[i]);
  if (!lent) return;
  unsigned id = (unsigned)((size_t)(r->lending.p - r->buffers) / r->buffer_size);
  if (r->held * 2 >= r->buffer_count || s->way->wanted > SKIP_LIMIT) {
    send_own(r, s, id);
    return;
  }
  if (!r->holds[id]++) r->held++;
  s->way->lent = (uint16_t)(id + 1);
}

static void send_let_go(struct ring *r, struct op_send *s) {
  if (!s->way->lent) return;
  unsigned id = s->way->lent - 1u;
  s->way->lent = 0;
  if (--r->holds[id]) return;
  r->held--;
  buffer_give(r, id);
}

static void send_end(struct ring *r, struct op_send *s, int result) {
  send_let_go(r, s);
  sending_back(&r->loop, s);
  op_end(r, &s->op, result, (struct span){ 0 });
}

/* Sends. */

static void send_prepare(const struct ring *r, struct op_send *s, struct io_uring_sqe *e, int flags) {
  unsigned most = r->cut_sends ? MOST_SENT : SKIP_LIMIT;
  flags |= MSG_WAITALL | MSG_NOSIGNAL;
  if (s->way->msg.msg_iovlen == 1 || r->cut_sends) {
    io_uring_prep_send(e, s->op.fd, s->way->msg.msg_iov->iov_base, s->way->msg.msg_iov->iov_len, flags);
    if (s->way->msg.msg_iov->iov_len > most) e->len = most;
  } else {
    io_uring_prep_sendmsg(e, s->op.fd, &s->way->msg, (unsigned)flags);
  }
}

static void rest_arm(struct ring *r, struct op_send *s) {
  struct io_uring_sqe *e = entry(r);
  s->op.kind = KIND_REST;
  send_prepare(r, s, e, 0);
  e->ioprio |= IORING_RECVSEND_POLL_FIRST;
  io_uring_sqe_set_data64(e, op_data(r, &s->op));
}

static void ring_send(struct loop *l, struct op_send *s, int fd, const struct iovec *parts, int count) {
  struct ring *r = ring_of(l);
  require(count > 0 && count <= SEND_PARTS);
  op_take(r, &s->op, KIND_SEND, fd);
  sending_take(l, s, parts, count);
  send_hold(r, s);
  if (s->way->wanted > SKIP_LIMIT) {
    rest_arm(r, s);
    return;
  }
  struct io_uring_sqe *e = entry(r);
  s->way->place = r->uring.sq.sqe_tail - 1;
  send_prepare(r, s, e, MSG_DONTWAIT);
  io_uring_sqe_set_data64(e, op_data(r, &s->op));
  if (!r->skip) return;
  e->flags |= IOSQE_CQE_SKIP_SUCCESS;
  s->way->next.batch = NULL;
  *r->batch_end = s;
  r->batch_end = &s->way->next.batch;
  if (!s->lazy) r->prompt = true;
}

static void send_succeeded(struct ring *r, struct op_send *s) {
  send_end(r, s, s->way->wanted < INT32_MAX ? (int)s->way->wanted : INT32_MAX);
}

/* A completion for a send: the first try that fell short, or the rest that waited for room. */
static void send_came(struct ring *r, struct op *op, const struct io_uring_cqe *c) {
  struct op_send *s = (struct op_send *)op;
  if (c->res > 0) send_advance(s, (size_t)c->res);
  if (c->res >= 0 && s->way->sent == s->way->wanted) {
    send_succeeded(r, s);
    return;
  }
  if (op->cancelled) {
    send_end(r, s, IO_CANCELLED);
    return;
  }
  if (c->res <= 0 && c->res != -EAGAIN && c->res != -EINTR) {
    send_end(r, s, c->res ? kernel_result(-c->res) : IO_RESET);
    return;
  }
  if (op->kind == KIND_SEND) r->loop.stats.short_sends++;
  if (s->way->lent) {
    send_own(r, s, s->way->lent - 1u);
    send_let_go(r, s);
  }
  rest_arm(r, s);
}

/* Ends the sends of the batch that the kernel took and said nothing about. */
static void batch_judge(struct ring *r) {
  if (!r->batch) return;
  uint32_t head = r->uring.sq.sqe_tail - io_uring_sq_ready(&r->uring);
  for (unsigned i = 0; i < r->got_count; i++) {
    if (kind_of(r->got[i].user_data) != KIND_SEND) continue;
    struct op *op = op_of(r, r->got[i].user_data);
    if (op) ((struct op_send *)op)->way->failed = true;
  }
  struct op_send *taken = NULL, **taken_end = &taken;
  while (r->batch && (int32_t)(r->batch->way->place - head) < 0) {
    struct op_send *s = r->batch;
    r->batch = s->way->next.batch;
    if (s->way->failed) continue;
    *taken_end = s;
    taken_end = &s->way->next.batch;
  }
  *taken_end = NULL;
  if (!r->batch) r->batch_end = &r->batch;
  while (taken) {
    struct op_send *s = taken;
    taken = s->way->next.batch;
    send_succeeded(r, s);
  }
}

/* A recv without a buffer fails at once even while its socket has nothing, so arming it again blindly would spin:
   it waits here, and as many go on per turn as there are buffers, which are all back by then. */
static void starve(struct ring *r, struct op *op) {
  r->loop.stats.no_buffers++;
  buffers_publish(r, r->published * 2);
  if (r->starved_count == r->starved_cap) {
    r->starved_cap = r->starved_cap ? r->starved_cap * 2 : 64;
    r->starved = mem_grow(r->starved, r->starved_cap * sizeof *r->starved);
  }
  r->starved[r->starved_count++] = op_data(r, op);
}

static void starved_go_on(struct ring *r) {
  if (!r->starved_count) return;
  unsigned n = 0, now = r->starved_count < r->published ? r->starved_count : r->published;
  for (; n < now; n++) {
    struct op *op = op_of(r, r->starved[n]);
    if (!check(op)) continue;
    if (op->cancelled) op_end(r, op, IO_CANCELLED, (struct span){ 0 });
    else recv_arm(r, op, false);
  }
  r->starved_count -= n;
  memmove(r->starved, r->starved + n, r->starved_count * sizeof *r->starved);
}

/* Completions. */

static void recv_came(struct ring *r, struct op *op, const struct io_uring_cqe *c) {
  struct span data = { 0 };
  if (c->res == -ENOBUFS) {
    starve(r, op);
    return;
  }
  if (c->res > 0 && check(c->flags & IORING_CQE_F_BUFFER))
    data = span_of(r->buffers + (size_t)(c->flags >> IORING_CQE_BUFFER_SHIFT) * r->buffer_size, (size_t)c->res);
  op->ready = c->flags & IORING_CQE_F_SOCK_NONEMPTY;
  lent_show(data.p, data.n);
  r->lending = data;
  op_end(r, op, c->res < 0 ? kernel_result(-c->res) : c->res, data);
  r->lending = (struct span){ 0 };
}

static void plain_came(struct ring *r, struct op *op, const struct io_uring_cqe *c) {
  op->ready = c->flags & IORING_CQE_F_SOCK_NONEMPTY;
  op_end(r, op, c->res < 0 ? kernel_result(-c->res) : c->res, (struct span){ 0 });
}

static void multishot_came(struct ring *r, struct op *op, const struct io_uring_cqe *c) {
  bool more = c->flags & IORING_CQE_F_MORE, accepting = op->kind == KIND_ACCEPT;
  if (more) {
    if (c->res >= 0 && (accepting || !op->cancelled)) op->done(op, c->res, (struct span){ 0 }, true);
    return;
  }
  bool goes_on = !op->cancelled && (c->res >= 0 || (accepting && kernel_accept_transient(-c->res)));
  if (!goes_on && accepting && c->res >= 0)        /* the last one before the cancel is a connection all the same */
    op->done(op, c->res, (struct span){ 0 }, true);
  if (!goes_on) {
    op_end(r, op, op->cancelled ? IO_CANCELLED : kernel_result(-c->res), (struct span){ 0 });
    return;
  }
  if (accepting) accept_arm(r, op);
  else poll_arm(r, op);
  if (c->res >= 0) op->done(op, c->res, (struct span){ 0 }, true);
}

static void came(struct ring *r, const struct io_uring_cqe *c) {
  struct op *op = op_of(r, c->user_data);
  r->loop.stats.completions++;
  if (op) {
    switch ((enum ring_kind)op->kind) {
    case KIND_RECV: recv_came(r, op, c); break;
    case KIND_ACCEPT: case KIND_POLL: multishot_came(r, op, c); break;
    case KIND_SEND: case KIND_REST: send_came(r, op, c); break;
    default: plain_came(r, op, c);
    }
  } else if (kind_of(c->user_data) == KIND_CLOSE) {
    check(c->res != -EBADF);                       /* somebody closed what was not theirs any more */
  } else if (kind_of(c->user_data) != KIND_NONE) {
    r->loop.stats.stale++;
  }
  unsigned id = c->flags >> IORING_CQE_BUFFER_SHIFT;
  if ((c->flags & IORING_CQE_F_BUFFER) && !r->holds[id]) buffer_give(r, id);
}

/* Moves the completions out of the kernel's queue, also those that found it full, so that what a send did is known
   completely before the batch is judged. */
static void harvest(struct ring *r) {
  for (;;) {
    unsigned head, seen = 0;
    struct io_uring_cqe *c;
    io_uring_for_each_cqe(&r->uring, head, c) {
      if (r->got_count == r->got_cap) {
        r->got_cap = r->got_cap ? r->got_cap * 2 : 256;
        r->got = mem_grow(r->got, r->got_cap * sizeof *r->got);
      }
      r->got[r->got_count++] = *c;
      seen++;
    }
    io_uring_cq_advance(&r->uring, seen);
    if (!io_uring_cq_has_overflow(&r->uring)) return;
    r->loop.stats.enters++;
    io_uring_get_events(&r->uring);
  }
}

static void enter(struct ring *r, uint64_t most_ms) {
  int n;
  bool wait = most_ms && !r->prompt && !r->starved_count && !r->got_count;
  r->loop.stats.enters++;
  if (wait) {
    struct io_uring_cqe *c;
    uint64_t ms = most_ms < LONGEST_WAIT_MS ? most_ms : LONGEST_WAIT_MS;
    struct __kernel_timespec t = { .tv_sec = (int64_t)(ms / 1000), .tv_nsec = (int64_t)(ms % 1000) * 1000000 };
    n = io_uring_submit_and_wait_timeout(&r->uring, &c, 1, &t, NULL);
  } else {
    n = io_uring_submit_and_get_events(&r->uring);
  }
  if (n < 0 && n != -ETIME && n != -EINTR && n != -EAGAIN && n != -EBUSY) log_error("io_uring: %s", strerror(-n));
  r->prompt = false;
  if (!io_uring_sq_ready(&r->uring)) r->to_count = 0;
}

static void ring_turn(struct loop *l, uint64_t most_ms) {
  struct ring *r = ring_of(l);
  enter(r, most_ms);
  loop_woke(l, kernel_clock_ns());
  harvest(r);
  unsigned count = r->got_count;
  batch_judge(r);
  for (unsigned i = 0; i < count; i++) {
    struct io_uring_cqe c = r->got[i];             /* a callback may make the array move */
    came(r, &c);
  }
  r->got_count -= count;
  if (r->got_count) memmove(r->got, r->got + count, r->got_count * sizeof *r->got);
  starved_go_on(r);
}

/* The rest of the waist. */

static bool starving(const struct ring *r, const struct op *op) {
  uint64_t data = op_data(r, op);
  for (unsigned i = 0; i < r->starved_count; i++)
    if (r->starved[i] == data) return true;
  return false;
}

static void ring_cancel(struct loop *l, struct op *op) {
  struct ring *r = ring_of(l);
  if (!op_busy(op) || op->cancelled) return;
  op->cancelled = true;
  if (op->kind == KIND_SEND) r->prompt = true;     /* it ends by itself with the next submission */
  if (op->kind == KIND_SEND || (op->kind == KIND_RECV && starving(r, op))) return;
  struct io_uring_sqe *e = entry(r);
  io_uring_prep_cancel64(e, op_data(r, op), 0);
  e->flags |= IOSQE_CQE_SKIP_SUCCESS;
  io_uring_sqe_set_data64(e, 0);
}

static int ring_socket(struct loop *l, int family) {
  (void)l;
  return kernel_socket(family, 0);
}

/* A system call of its own, since the ring would give it to a kernel thread. A send that was asked for earlier goes
   first. */
static void ring_shutdown(struct loop *l, int fd, int how) {
  struct ring *r = ring_of(l);
  for (struct op_send *s = r->batch; s; s = s->way->next.batch) {
    if (s->op.fd != fd) continue;
    submit(r);
    break;
  }
  (void)shutdown(fd, how);
}

static void ring_close(struct loop *l, int fd) {
  struct io_uring_sqe *e = entry(ring_of(l));
  io_uring_prep_close(e, fd);
  e->flags |= IOSQE_CQE_SKIP_SUCCESS;
  io_uring_sqe_set_data64(e, (uint64_t)KIND_CLOSE << 56);
}

static void ring_wake(struct loop *l) { kernel_wake(ring_of(l)->wake_fd); }

static void wake_arm(struct ring *r) {
  int fd = r->wake_fd;
  struct io_uring_sqe *e = entry_for(r, &r->wake, KIND_READ, fd);
  io_uring_prep_read(e, fd, &r->wake_value, sizeof r->wake_value, 0);
  io_uring_sqe_set_data64(e, op_data(r, &r->wake));
}

static void woken(struct op *op, int result, struct span data, bool more) {
  (void)result, (void)data, (void)more;
  struct ring *r = ring_of(op->loop);
  if (!r->ending) wake_arm(r);
}

/* Start and end. */

/* Once its thread has ended, the kernel has cancelled what was in flight, and nobody else may enter the ring. */
static void ring_free(struct loop *l) {
  struct ring *r = ring_of(l);
  if (gettid() != r->thread) {
    ring_drop(r);
    return;
  }
  r->ending = true;
  ring_cancel(l, &r->wake);
  for (int i = 0; i < 100 && op_busy(&r->wake); i++) ring_turn(l, 10);
  submit(r);                                       /* closes that were asked for last */
  ring_drop(r);
}

static const struct loop_calls ring_calls = {
  .accept = ring_accept, .recv = ring_recv, .recv_into = ring_recv_into, .send = ring_send, .connect = ring_connect,
  .poll = ring_poll, .cancel = ring_cancel, .socket = ring_socket, .shutdown = ring_shutdown, .close = ring_close,
  .turn = ring_turn, .wake = ring_wake, .free = ring_free,
};

struct loop *ring_new(const struct ring_options *o, const char **why) {
  static const struct ring_options usual;
  struct ring *r = ring_made(o ? o : &usual, &ring_calls, why);
  if (!r) return NULL;
  buffers_publish(r, FIRST_BUFFERS);
  r->wake.done = woken;
  wake_arm(r);
  return &r->loop;
}

const char *ring_description(const struct loop *l) {
  return l->calls == &ring_calls ? ((const struct ring *)l)->description : NULL;
}
