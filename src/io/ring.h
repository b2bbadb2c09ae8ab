/* ring.h: the ring's insides, shared by ring.c (which runs it) and ring_start.c (which starts it). */
#ifndef WEIR_IO_RING_H
#define WEIR_IO_RING_H

#include <liburing.h>
#include "kernel.h"

enum ring_kind { KIND_NONE, KIND_READ, KIND_ACCEPT, KIND_RECV, KIND_CONNECT, KIND_POLL, KIND_SEND, KIND_REST, KIND_CLOSE };
enum { BUFFER_GROUP = 0, ADDRESSES = 16 };

struct ring_slot {
  struct op *op;                      /* NULL: free */
  uint32_t generation;                /* 24 bits; of the op in flight, or of the next */
  uint32_t next_free;
};
struct ring {
  struct loop loop;
  struct io_uring uring;
  unsigned entries;
  bool started;                       /* uring is there */
  bool deferred, skip;                /* DEFER_TASKRUN; sends that went out whole post no completion */
  bool cut_sends;                     /* only where TORTURED: no send takes more than MOST_SENT at once */
  struct ring_slot *slots;
  uint32_t slot_count, first_free;    /* slot 0 is nobody's */
  struct op_send *batch, **batch_end; /* sends prepared and not judged yet, in order */
  bool prompt;                        /* one of them is not lazy */
  struct io_uring_cqe *got;           /* completions of this turn */
  unsigned got_count, got_cap;
  struct io_uring_buf_ring *buffer_ring;
  char *buffers;
  unsigned buffer_count, buffer_size, ring_slots, published;
  size_t buffer_ring_bytes, buffers_bytes;
  uint16_t *holds;                    /* per buffer: sends that still point into it */
  unsigned held;                      /* buffers that are held */
  struct span lending;                /* what a recv's done is looking at */
  uint64_t *starved;                  /* user_data of recvs that found no buffer, oldest first */
  unsigned starved_count, starved_cap;
  struct sockaddr_storage to[ADDRESSES];   /* of connects that the kernel has not taken yet */
  unsigned to_count;
  int wake_fd;                        /* an eventfd; other threads write it */
  struct op wake;
  uint64_t wake_value;
  bool ending;
  pid_t thread;                       /* the only one that may enter the ring */
  char description[64];
};

/* Both queues, buffers and the wake descriptor, nothing armed; NULL and *why on failure. */
struct ring *ring_made(const struct ring_options *o, const struct loop_calls *calls, const char **why);
void ring_drop(struct ring *r);

const char *ring_description(const struct loop *l);     /* NULL: not a ring */

#endif
