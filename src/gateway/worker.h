/* worker.h: a thread with its loop, and what it keeps between uses. */
#ifndef WEIR_GATEWAY_WORKER_H
#define WEIR_GATEWAY_WORKER_H

#include "gateway.h"

enum { MOST_MEMBERS = 256 };          /* of a request body's top level */

enum { BODY_STEP = 512, BODY_SIZES = 4, BODY_SPARES = 16 };          /* small bodies: sizes in bytes, blocks kept of each */
struct worker {
  struct gateway *gateway;
  unsigned number;
  pthread_t thread;
  struct loop *loop;
  struct generation *gen;             /* the one new exchanges get */
  struct generation *offered;         /* atomic: with its reference, taken between two turns */
  struct table pools;                 /* pool_key -> struct pool */
  struct health *health;
  struct metrics *metrics;
  struct client *clients;             /* all of them */
  struct client *dirty;               /* have bytes to send */
  struct upstream *dirty_up;
  struct client *spare_clients;
  struct exchange *spare_exchanges;
  struct policy_run *spare_runs[8]; unsigned spare_run_count;      /* most hooks end where they begin: a few serve all exchanges */
  struct attempt *spare_attempts;
  struct buf spare_bufs[32];          /* memory for send buffers, between uses */
  unsigned spare_buf_count;
  struct {
    char *p[BODY_SPARES];
    unsigned count;
  } spare_blocks[BODY_SIZES];         /* memory for small bodies, between uses */
  struct spare_body { char *p; size_t cap; } spare_bodies[4];            /* large ones cost a page fault per 4 KB when new */
  bool spare_bodies_used;             /* since the last beat: else they are given back */
  unsigned open_clients, open_exchanges;   /* atomic; the first is read by who hands over */
  struct timer chores;                /* once a second while there is something to do: an idle worker sleeps */
  struct timer collect;               /* Lua's garbage, in moments when nothing else happens */
  uint64_t collect_seen;              /* completions when it was armed */
  unsigned collect_put_off;
  uint64_t random[4];
  int64_t last_sequence;              /* of the records made here */
  struct accept_op *accepts;          /* worker 0: one per listener */
  size_t accept_count;
  bool simulated;                     /* descriptors are the simulation's own */
  void (*on_end)(void *arg, const struct exchange *x);   /* a tap for tests: sees every exchange as it ends; may be NULL */
  void *on_end_arg;
  struct http_head *head;             /* scratch of the parser */
  struct json_member *members;        /* scratch: MOST_MEMBERS */
  struct arena scratch;               /* emptied after each event run */
  struct delta *deltas;               /* scratch: DELTA_MOST; NULL until one is wanted */
  struct message stop, reload, ended;
  bool stop_posted, reload_posted;    /* atomic: a message is posted once at a time */
  enum { STOP_NOT, STOP_DRAIN, STOP_NOW } stop_wanted;    /* atomic */
  bool draining, stopping;
  bool ended_all;                     /* all threads have ended: what is left is only freed */
  unsigned loans;                     /* asked for and not answered */
  unsigned asking;                    /* questions for names that are not answered */
};
bool worker_init(struct worker *w, struct gateway *g, unsigned number, struct loop *loop);
/* A connection accepted here or handed over; any thread's descriptor, this worker's thread. */
void worker_adopt(struct worker *w, int fd, unsigned listener);
void worker_accept(struct worker *w, const int *fds, size_t count);     /* when all workers stand; takes the descriptors */
void worker_offer(struct worker *w, struct generation *gen);           /* from housekeeping */
void worker_turn_end(struct loop *l);
void worker_drain(struct worker *w);                     /* no new requests; idle clients close */
bool worker_idle(const struct worker *w);                /* no client is left: drained */
bool worker_quiet(const struct worker *w);               /* nothing is in flight: may be freed */
void worker_free(struct worker *w);                      /* clients and pools are closed; loop has turned until quiet */
void worker_cut(struct worker *w);                       /* what still runs is told so; a turn later it may be closed */
void worker_close_all(struct worker *w);
uint64_t worker_random(struct worker *w);
struct buf worker_buf(struct worker *w);
void worker_buf_back(struct worker *w, struct buf *b);
/* Memory for a small body of n bytes: the smallest come and go in blocks of a few sizes. */
char *worker_block(struct worker *w, size_t n);
void worker_block_back(struct worker *w, char *p, size_t n);
void spare_arena(const struct arena *a, bool spare);
struct delta *worker_deltas(struct worker *w);           /* of the event being read */
bool worker_full(const struct worker *w);                /* `memory` is reached: no new work */
char *worker_body(struct worker *w, size_t n, size_t *cap);            /* NULL: no memory */
void worker_body_back(struct worker *w, char *p, size_t cap);
/* One more request that waits; false: too many of the process do. */
bool worker_wait(struct worker *w);
void worker_wait_over(struct worker *w);
void worker_active(struct worker *w);                    /* there will be something to tidy up */
void worker_short(struct worker *w, const char *doing);  /* out of descriptors: said now and then */
void worker_trim(struct worker *w);                      /* once a second: what was not used goes back */
int64_t worker_wall_ms(const struct worker *w);          /* Unix time */

#endif
