#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include "weir/log.h"
#include "lent.h"
#include "refused.h"
#include "ring.h"

void ring_drop(struct ring *r) {
  if (r->started) io_uring_queue_exit(&r->uring);
  if (r->buffer_ring) munmap(r->buffer_ring, r->buffer_ring_bytes);
  lent_show(r->buffers, r->buffers_bytes);         /* others may get these addresses */
  if (r->buffers) munmap(r->buffers, r->buffers_bytes);
  if (r->wake_fd >= 0) close(r->wake_fd);
  mem_free(r->slots);
  mem_free(r->got);
  mem_free(r->starved);
  mem_free(r->holds);
  mem_free(r);
}

static int queue_start(struct ring *r, unsigned flags) {
  struct io_uring_params p = { .flags = flags | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
                               .cq_entries = r->entries * 8 };
  return -io_uring_queue_init_params(r->entries, &r->uring, &p);
}

static int buffers_start(struct ring *r) {
  struct io_uring_buf_reg reg = { .ring_addr = (uintptr_t)r->buffer_ring, .ring_entries = r->ring_slots, .bgid = BUFFER_GROUP };
  io_uring_buf_ring_init(r->buffer_ring);
  return -io_uring_register_buf_ring(&r->uring, &reg, 0);
}

/* Queues and buffers of one size; gives errno and the step that failed. */
static int ring_start(struct ring *r, const char **step) {
  *step = "setup";
  int error = r->deferred ? queue_start(r, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN) : EINVAL;
  if (error == EINVAL) r->deferred = false, error = queue_start(r, IORING_SETUP_COOP_TASKRUN);
  if (error) return error;
  *step = "buffers";
  error = buffers_start(r);
  if (error) io_uring_queue_exit(&r->uring);
  r->started = !error;
  return error;
}

static void *pages(size_t n) {
  void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  require(p != MAP_FAILED);
  return p;
}

static void buffers_map(struct ring *r) {
  for (r->ring_slots = 1; r->ring_slots < r->buffer_count;) r->ring_slots *= 2;
  r->buffer_ring_bytes = r->ring_slots * sizeof(struct io_uring_buf);
  r->buffers_bytes = (size_t)r->buffer_count * r->buffer_size;
  r->buffer_ring = pages(r->buffer_ring_bytes);
  r->buffers = pages(r->buffers_bytes);
  r->holds = mem_zero(r->buffer_count * sizeof *r->holds);
}

static const char *lacking(struct ring *r) {
  static const struct { int op; const char *name; } needed[] = {
    { IORING_OP_RECV, "recv" }, { IORING_OP_SEND, "send" }, { IORING_OP_SENDMSG, "sendmsg" }, { IORING_OP_READ, "read" },
    { IORING_OP_ACCEPT, "accept" }, { IORING_OP_CONNECT, "connect" }, { IORING_OP_POLL_ADD, "poll" },
    { IORING_OP_CLOSE, "close" }, { IORING_OP_ASYNC_CANCEL, "cancel" },
    { IORING_OP_SEND_ZC, "what came with 6.0" },   /* never used; a mark of the version */
  };
  if (!(r->uring.features & IORING_FEAT_EXT_ARG)) return "waiting with a timeout";
  if (!(r->uring.features & IORING_FEAT_NODROP)) return "completions that are never dropped";
  struct io_uring_probe *p = io_uring_get_probe_ring(&r->uring);
  const char *name = p ? NULL : "the list of its operations";
  for (size_t i = 0; p && !name && i < sizeof needed / sizeof *needed; i++)
    if (!io_uring_opcode_supported(p, needed[i].op)) name = needed[i].name;
  io_uring_free_probe(p);
  return name;
}

static char zeros[32768];

/* One send of `n` bytes that skips its completion; gives the completion's result, or 0 when there was none. */
static int send_tried(struct ring *r, int fd, size_t n) {
  struct io_uring_sqe *e = io_uring_get_sqe(&r->uring);
  struct io_uring_cqe *c;
  io_uring_prep_send(e, fd, zeros, n, MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL);
  e->flags |= IOSQE_CQE_SKIP_SUCCESS;
  if (io_uring_submit(&r->uring) != 1) return -EIO;
  if (io_uring_peek_cqe(&r->uring, &c)) return 0;
  int result = c->res;
  io_uring_cqe_seen(&r->uring, c);
  return result;
}

/* True when sends behave as the head of this file says. */
static bool sends_skip(struct ring *r) {
  int pair[2], small = 4096;
  size_t most = sizeof zeros;
  if (!(r->uring.features & IORING_FEAT_CQE_SKIP)) return false;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) return false;
  (void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
  bool whole = send_tried(r, pair[0], 1) == 0;
  int part = send_tried(r, pair[0], most), none = send_tried(r, pair[0], most);
  close(pair[1]);
  int broken = send_tried(r, pair[0], 1);
  close(pair[0]);
  return whole && part > 0 && part < (int)most && none == -EAGAIN && broken == -EPIPE;
}

struct ring *ring_made(const struct ring_options *o, const struct loop_calls *calls, const char **why) {
  struct ring *r = mem_zero(sizeof *r);
  const char *step;
  r->entries = o->entries ? o->entries : ENTRIES;
  r->buffer_count = o->buffers ? o->buffers : BUFFERS;
  r->buffer_size = o->buffer_size ? o->buffer_size : BUFFER_SIZE;
  r->thread = gettid();
  r->deferred = !o->plain;
  if (TORTURED) {
    static unsigned rings;
    r->cut_sends = __atomic_fetch_add(&rings, 1, __ATOMIC_RELAXED) % 2;
    r->deferred &= !r->cut_sends;
  }
  r->batch_end = &r->batch;
  r->wake_fd = eventfd(0, EFD_CLOEXEC);
  buffers_map(r);
  int error = r->wake_fd < 0 ? (step = "wake", errno) : ring_start(r, &step);
  while (error == ENOMEM && r->entries / 2 >= LEAST_ENTRIES) {
    r->entries /= 2;
    error = ring_start(r, &step);
  }
  size_t need = r->entries * (64 + 8 * 16 + 4) + r->buffer_ring_bytes;
  const char *missing = error ? NULL : lacking(r);
  if (error || missing) {
    *why = error ? refused_text(step, error, need) : refused_missing(missing);
    ring_drop(r);
    return NULL;
  }
  io_uring_register_ring_fd(&r->uring);            /* only a saving; without it the plain descriptor is used */
  r->skip = !r->cut_sends && sends_skip(r);
  loop_init(&r->loop, calls, kernel_clock_ns());
  snprintf(r->description, sizeof r->description, "io_uring, %s, %u entries%s",
           r->deferred ? "DEFER_TASKRUN" : "COOP_TASKRUN", r->entries, r->skip ? "" : ", every send completes");
  return r;
}
