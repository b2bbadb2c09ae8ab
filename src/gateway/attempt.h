/* attempt.h: one try at a target, and how its answer reaches the client. */
#ifndef WEIR_GATEWAY_ATTEMPT_H
#define WEIR_GATEWAY_ATTEMPT_H

#include "call.h"

struct attempt {
  struct call call;
  struct exchange *exchange;
  struct attempt *next_spare;
  struct target target;
  struct arena arena;                 /* of a stream emptied when it is released */
  struct policy_attempt view;
  struct policy_response *response;   /* while it is judged; in the arena */
  enum fault fault;
  struct failure failure;
  const char *phase, *why;
  const struct secret *key_line;      /* what it was sent with; NULL: none */
  int status;
  uint64_t begun_ms, phase_due_ms;
  uint64_t deadline_ms;               /* set by a policy; 0: the exchange's */
  const struct model_facts *model;    /* once it is about to be sent; until then NULL */
  picodollars cost;                   /* once settled; PRICE_UNKNOWN */
  bool begun;                         /* a request was on its way */
  bool settled;
  struct tap *tap;                    /* reads the usage of a raw answer; NULL: nobody does */
  bool stopped;                       /* weir ended the stream before its provider did */
  bool told_end;                      /* the stream's terminator was read */
  bool spent;                         /* the held start has no more money: it is judged as it is */
  struct http_head *head;             /* the response's, in the arena */
  struct buf window;                  /* stream: the unfinished event; whole: the answer so far */
  struct buf held;                    /* stream: events before the content point */
  struct foreign *foreign;            /* the provider speaks another dialect; NULL: the client's own */
  struct span body;                   /* foreign: the request as it is sent */
  struct unpack *unpack;              /* NULL: the answer is not encoded, or goes by unread */
  bool packed;                        /* the client gets the encoded bytes, and what stands in them is read beside; else it gets the decoded ones */
  struct buf raw;                     /* packed stream: its bytes before the content point */
  struct buf plain;                   /* packed whole answer or refusal: decoded */
  struct start *start;                /* what the held start says, for on_response; NULL: nobody asks */
  struct sse sse;
  struct event_state events;          /* as far as it came in; the exchange's is what went out */
  struct chunks *chunks;              /* what policies see of it, from the content point on; NULL: none has on_chunk */
  uint64_t hold_due_ms;               /* what policies hold goes on; 0: no matter of time */
  struct policy_edit *own;            /* what weir itself sets in the body: names of the operation's own members */
  struct request_measure *measured;   /* fit.c: of a request that something is to be learned from; else NULL */
  bool usage_asked;                   /* weir asked for the usage of this stream, its client did not: traces of that are taken out */
  bool stream;                        /* the answer is an event stream */
  bool flowing;                       /* the body goes straight through: raw, encoded, or over hold_answer */
  bool failing;                       /* a non-2xx body is being read */
  bool judging;                       /* the held start waits for on_response: nothing is relayed */
  bool ended;                         /* the provider's bytes ended well */
  enum fault cut;                     /* they broke off while the held start was judged; or a refusal is too long to be kept */
};
void attempt_start(struct exchange *x);
void attempt_stop(struct attempt *a);                    /* and free */
void attempt_timer(struct attempt *a, uint64_t now_ms);  /* its phase clock has run out */
void attempt_accept(struct attempt *a);                  /* the judged answer goes to the client */
/* Fails the attempt: may free it before it returns. */
void attempt_fault(struct attempt *a, enum fault f, const char *phase, const char *why);
/* relay.c: events of a stream. Each may free the attempt before it returns. */
void relay_feed(struct attempt *a, struct span data);
void relay_release(struct attempt *a);                   /* the held start is accepted: content point */
/* on_response wants to see more of the start. True: on with it, *accepted as it is, or judged again with what is there. */
bool relay_hold(struct attempt *a, const struct hold_wish *wish, bool *accepted);
bool relay_time(struct attempt *a);                      /* hold_due_ms is over; false: the attempt may be gone */
void relay_end(struct attempt *a);                       /* the provider's bytes ended */
void relay_cut(struct attempt *a, enum fault f);         /* they broke off; a->why says how */
/* tap.c: the usage of what flows through unread */
const struct operation_info *tap_operation(struct span method, struct span path, const struct provider *p);   /* that a raw path is; NULL: none */
void tap_begin(struct attempt *a);                       /* its head is here */
void tap_feed(struct attempt *a, struct span data);
void tap_end(struct attempt *a);                         /* it is whole */
bool tap_counts(const struct tap *t);                    /* it reads a stream, event by event. NULL: no */
void tap_free(struct tap *t);

/* start.c: the held start. It is wanted until start_show tells it. */
void start_add(struct attempt *a, const struct sse_event *e, const struct event_facts *f);
bool start_hold(struct attempt *a, const struct hold_wish *w);          /* false: all of it is there, or no more will be kept */
bool start_wanting(const struct attempt *a);
bool start_enough(const struct attempt *a);
void start_show(struct attempt *a, struct policy_response *r);
void start_free(struct start *s);
/* unpack.c: gzip and deflate, bounded. */
struct unpack *unpack_new(struct span encoding);         /* NULL: not one of them */
/* Adds to *out what the piece holds. False and *why: it is broken, or holds more than `most` bytes. */
bool unpack_feed(struct unpack *u, struct span packed, size_t most, struct buf *out, const char **why);
bool unpack_ended(const struct unpack *u);
void unpack_free(struct unpack *u);                      /* NULL is fine */

/* chunks.c: a stream that on_chunk sees. All false when the exchange has ended, and nothing of it may be touched. */
#define CHUNKS_UNREAD SIZE_MAX         /* else the number of worker_deltas that event_read_deltas gave */
bool chunks_event(struct attempt *a, const struct sse_event *e, const struct event_facts *f, size_t count);
bool chunks_flush(struct attempt *a);                    /* what is held goes out: the stream ends here */
bool chunks_time(struct attempt *a);
/* Ends the stream as its dialect ends one: as = "length", "filter" (or "error": weir's error). What is held is left out. The exchange
   has ended then, as `word`. */
void chunks_stop(struct attempt *a, struct span as, struct span why, int status, struct span word);
void chunks_free(struct chunks *k);

#endif
