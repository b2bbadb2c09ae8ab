/* exchange.h: one request and its answer: its states, and what reads, routes, counts and answers it. */
#ifndef WEIR_GATEWAY_EXCHANGE_H
#define WEIR_GATEWAY_EXCHANGE_H

#include "gateway.h"

/* ---- sink: where an exchange's answer goes. The HTTP client is one; tests and sub-requests are others. */
struct sink;
struct sink_calls {
  /* headers: ready "name: value\r\n" lines without framing; length -1: unknown (chunked, or until close). */
  void (*start)(struct sink *s, int status, struct span headers, int64_t length);
  void (*write)(struct sink *s, struct span body);
  void (*end)(struct sink *s);                           /* whole and well */
  void (*cut)(struct sink *s);                           /* the answer cannot be ended well: close without a clean end */
  size_t (*waiting)(const struct sink *s);               /* bytes not taken yet */
};
struct sink { const struct sink_calls *calls; };
enum { SINK_HIGH = 64 * 1024, SINK_LOW = 16 * 1024 };    /* above: upstream is not read; below again: it is */

enum exchange_state {
  X_READING,                          /* the body is coming */
  X_BEGIN,
  X_SCANNING,                         /* multipart: its model part is looked for; else passed at once */
  X_ON_REQUEST, X_ROUTE, X_PICK, X_ON_ATTEMPT,
  X_RESERVE,                          /* what it may cost is reserved; perhaps it waits for money to come back */
  X_SEND,
  X_UNDER_WAY,                        /* an attempt runs */
  X_ON_RESPONSE,                      /* a whole answer or a held start is judged */
  X_STREAMING,                        /* past the content point */
  X_FAILED, X_ON_FAILURE, X_BACKOFF,
  X_ENDED,                            /* answer complete, or given up */
};
enum { MOST_TRIED = 24 };
struct exchange {
  struct worker *worker;
  struct generation *gen;
  struct sink *sink;
  struct client *client;              /* NULL when the sink is no HTTP client */
  struct exchange *next_spare;
  enum exchange_state state;
  enum { RUN_NONE, RUN_WAITS, RUN_READY } hook;  /* of the policy run for this state */
  int pins;                           /* the kernel still reads the body's memory */
  bool started;                       /* head was sent (head point) */
  bool committed;                     /* content was sent (content point) */
  bool early;                         /* the head was sent before the provider's */
  bool trace_told;                    /* what that head could not say has been said */
  bool raw;                           /* streamed through: no failover */
  const struct operation_info *metered;   /* raw, but its body was read, for what it may cost; NULL: it was not */
  bool gone;                          /* the client left */
  bool waits;                         /* counted by worker_wait */
  bool terminated;                    /* the client has its stream's terminator, or the whole answer */
  bool renewed, renewing;             /* a refused key was read again for it; is being read */
  bool waited;                        /* a retry-after was waited for once */
  bool error_forwarded;               /* the provider's own error event has ended the stream */
  bool counted_open;                  /* in weir_streams_open */
  bool scanning;                      /* multipart: its model part is looked for */
  enum dialect dialect;               /* of weir's own words to this caller */
  struct buf prefix;                  /* of a streamed request body: read, not sent yet */
  int64_t length_change;              /* multipart: by the model part's new value */
  bool body_chunked;                  /* a streamed request body goes upstream in chunks */
  struct arena arena;
  struct policy_req req;
  struct policy_run *run;             /* of the hook under way, and its decision; NULL: none. See exchange_run_back */
  struct http_head *head;             /* the request's, in the arena */
  struct span path, query;
  const struct operation_info *asked; /* that method and path name; NULL: none */
  struct span raw_path;               /* behind /{provider} */
  bool traced;                        /* the caller sent a traceparent: the provider gets one too */
  struct span body;                   /* whole, or what of a streamed one was read before routing */
  char *body_memory;                  /* owned; holds body. NULL: there is none, or it is not needed any more */
  size_t body_size, body_cap;
  size_t body_memory_cap;             /* 0: a small body, not the worker's to keep */
  bool body_done;                     /* all of the request body is here (or went through) */
  struct provider *raw_provider;
  struct chain {                      /* the route, as small as it is */
    struct alias *alias;
    struct candidate *candidates;     /* in the arena */
    size_t count;
    uint32_t next_on;
    struct chain_known *known;        /* of the models of its targets, in the arena: chain_facts */
  } route;
  size_t at;                          /* candidate */
  struct attempt *attempts[2];        /* live ones; [0] is the one under way */
  struct tried *tried;                /* failed attempts: MOST_TRIED in the arena, from the first failure on */
  const struct endpoint **tried_endpoint;
  const struct account **tried_account;
  picodollars *tried_cost;
  size_t tried_count;
  const struct account *home;         /* of a bound request: the first that was picked */
  struct span unbound;                /* its body without what a policy lets be lost; empty: it stays at home */
  struct span lost, loss;             /* of its bound state, left out from now on; all that was left out of what was sent, as the client is told */
  struct target *elsewhere;           /* what the next pick takes; NULL: as chance and health say */
  enum fault first_fault;
  int first_status;
  double first_retry_after;
  struct span first_why;
  struct policy_fault *failure;       /* of the attempt that just failed; NULL: none has */
  struct timer clock;
  uint64_t begun_ms, deadline_ms, resume_ms, heartbeat_ms;
  uint64_t room_until_ms;             /* so long it may wait for the limits of its targets; 0: it did not yet */
  uint64_t begun_ns, overhead_ns;
  uint64_t prompt_hash;               /* of its instructions, once it was asked for; 0: not, or there are none */
  struct event_state events;          /* what the client has seen of its stream */
  struct usage usage;                 /* of the attempt under way */
  bool usage_reported;
  bool usage_whole;                   /* not what a stream told at its beginning alone */
  struct reservation *reservation;    /* what is reserved for it; NULL: no policy counts it */
  picodollars cost, fees;             /* of the attempts that are settled; what of it was charged beside tokens */
  picodollars questions_cost;         /* of what its policies asked models */
  bool cost_unknown;                  /* of some of them no price is known, or no usage */
  bool wants_estimate, estimated;     /* x-weir-include: estimate; the answer is weir's own count (fit.c) */
  unsigned begun;                     /* attempts that were sent */
  int64_t sequence;                   /* names its record in the ledger; 0: not yet */
  uint64_t witness;                   /* a slot that lasts until its record is in the ring, so that a killed process leaves one; 0: none */
  picodollars estimate;               /* the most that was reserved at once for one attempt; 0: nothing was */
  int64_t output_limit;               /* set by weir; 0: none */
  struct kept_contents *contents;     /* of its contents, where they are kept */
  uint64_t deltas, delta_bytes;       /* of the attempt under way: pieces of text, thinking and tools that came, and their bytes */
  uint64_t answer_bytes;              /* of the body, as the client got it */
  int status;                         /* shown to the client; 0: none yet */
  struct span end_word;               /* how it ended */
  struct span served_model, target_name;
  uint64_t first_event_ns;
  struct fetch *fetch;
  struct ask *ask;                    /* what its waiting policy asks a model */
  struct ask *asker;                  /* whose question it is; NULL: a client's request, for which policies run */
  struct span parent_id, parent_policy;                  /* of who asks: lent, the parent ends later */
  bool newer_limit;                   /* how the question was written last */
  double asked_timeout;               /* x-weir-timeout, seconds; 0: none */
  char id[72];
  char trace[56];                     /* traceparent */
};
struct exchange *exchange_new(struct worker *w, struct sink *sink, struct client *c);
void exchange_begin(struct exchange *x);                 /* the request is here, whole or (raw) its head */
void exchange_body(struct exchange *x, struct span data, bool last);     /* raw: a piece of the request body */
bool exchange_body_room(const struct exchange *x);
double exchange_setting(const struct exchange *x, enum setting s);   /* nearest of alias, provider under way, defaults */
/* Body bytes for the client, counted. */
void contents_add(struct exchange *x, struct span body);  /* contents.c */
static inline void exchange_write(struct exchange *x, struct span body) {
  x->answer_bytes += body.n;
  if (x->contents) contents_add(x, body);
  x->sink->calls->write(x->sink, body);
}
void exchange_terminated(struct exchange *x);            /* the client has its stream's terminator */
void exchange_run(struct exchange *x);                   /* the switch: goes on as far as it can */
void exchange_cut(struct exchange *x);                   /* the drain is over */
void exchange_gone(struct exchange *x);                  /* the client left: everything is let go at once */
void exchange_scanned(struct exchange *x);               /* multipart: the provider is known */
void exchange_drained(struct exchange *x);               /* the sink has room again */
void exchange_fail(struct exchange *x, int status, struct span word, struct span code, const char *message, const char *hint)   /* weir's own refusal */
  __attribute__((cold));
void exchange_end(struct exchange *x, struct span word);
void exchange_clock(struct exchange *x);                 /* arms the timer for the earliest of its clocks */
bool exchange_has(const struct exchange *x, enum hook h);               /* whether a policy has that hook for it */
void exchange_wait_over(struct exchange *x);             /* what a policy waits for is given up, and its run with it */
void exchange_resume(struct exchange *x, const struct policy_answer *a); /* what the waiting policy asked for is here */
void exchange_waited(struct exchange *x);                /* what it waited for is here, or not wanted any more */
void exchange_body_drop(struct exchange *x);             /* nobody will read it again */
void exchange_run_back(struct exchange *x);              /* the decision of its last hook is not needed any more */
void exchange_pin(void *x);
void exchange_unpin(void *x);
/* From the attempt; each may free the attempt before it returns: */
void exchange_attempt_failed(struct exchange *x);
bool exchange_final(struct exchange *x, enum fault f);   /* refused, content_filtered: the client gets the provider's own answer */
void exchange_answer_ready(struct exchange *x);          /* whole answer, or the held start of a stream, stands in the attempt */

/* request.c: understanding the request, composing what goes upstream */
bool request_understand(struct exchange *x);             /* path, operation, facts, id; false: refused and ended */
void request_asked(struct exchange *x);                  /* from the head alone: x->asked, and x->dialect as path and headers tell */
void request_choose_id(struct exchange *x);
bool request_is_metered(const struct exchange *x, const struct http_head *h);  /* JSON under a provider's own name, where budgets count */
/* multipart: the model part is looked for in what came so far; when it is found, or cannot come, the exchange goes on */
void request_scan(struct exchange *x);
/* Bound state: whether the request can do without it (weir.allow_loss), and from now on it does. */
bool request_may_lose(struct exchange *x);
void request_lose(struct exchange *x);
/* Head and body parts for a target; gives the number of parts, at most SEND_PARTS - 1. */
int request_compose(struct exchange *x, struct attempt *a, struct buf *head, struct iovec *body);
bool request_ready(struct exchange *x, struct attempt *a, struct translating *t);     /* for its target; false: it cannot be said in its dialect, *t tells */

/* peer.c: whom a client is, behind the proxies that are trusted */
void peer_choose(struct exchange *x);                    /* req.ip, from the head and the client's address */

/* who.c: session, user, tags, time limit, as headers and body tell them */
bool who_of_head(struct exchange *x);                    /* false: x-weir-timeout is no number */
void who_of_body(struct exchange *x);                    /* of one that was read: req.members and req.facts are set */

/* renew.c: a key that was refused is read again, where it came from a file or a program. */
bool renew_wanted(const struct exchange *x, const struct attempt *a);    /* once per exchange: the same target is worth another try */
bool renew_waits(struct exchange *x);                    /* it is being read: the exchange looks again later */

/* cors.c: calls from web pages */
void cors_headers(const struct exchange *x, struct buf *out);            /* of an answer; nothing without `cors` */
bool cors_preflight(struct exchange *x);                 /* true: it was one, and is answered and ended */

/* admit.c: who may ask, and for what. false: refused and ended */
bool admit_caller(struct exchange *x);                   /* from the head alone: x->head and req.method are set; sets req.key */
bool admit_model(struct exchange *x, struct span model); /* on a route that is read: req.operation is set */
bool admit_unread(struct exchange *x, const struct provider *p);         /* on one that is passed through */

/* chain.c: the targets of an exchange */
bool chain_find(struct exchange *x);                     /* false: there are none; refused and ended */
const struct model_facts *chain_facts(struct exchange *x, const struct provider *p, struct span model);   /* conf_model, once; model: where it stands is its name */
/* The next target has room as far as its provider told, or as much as any. False: it waits for that. */
bool chain_room(struct exchange *x);
bool chain_elsewhere(struct exchange *x);                /* another account or endpoint of the same candidate, kept for the next pick */
int64_t chain_tokens(const struct exchange *x);          /* that the request is likely to be counted with */

/* meter.c: what attempts may cost, and what they came to */
enum meter_result { METER_GO, METER_WAITS, METER_NEXT, METER_REFUSED };
/* For the attempt that is about to be sent. WAITS: the exchange's clock runs it again; NEXT: what counts at this target alone has
   nothing left, and there is another target; REFUSED: the exchange has ended. */
enum meter_result meter_reserve(struct exchange *x);
bool meter_room(struct attempt *a, const struct event_facts *f);          /* false: the stream has to end before this event */
/* The limits that hold for the caller, in its dialect's usual headers. */
void meter_headers(struct exchange *x, struct buf *out);
/* A limit refuses it: what the caller is told of its limits. */
void meter_limited(struct exchange *x);
void meter_settle(struct attempt *a);                    /* once; a second time is nothing */

/* answer.c: the answer's head, errors, the records of an ended exchange */
void answer_headers(struct exchange *x, const struct http_head *from, struct buf *out);
void answer_start(struct exchange *x, int status, const struct http_head *from, int64_t length);   /* head, once */
void answer_error(struct exchange *x, struct error *e, double retry_after) __attribute__((cold));   /* whole error answer, or the error event of a running stream */
void answer_text_of_weir(struct exchange *x, struct span text, struct span json);   /* weir.answer, weir.replace */
void answer_early(struct exchange *x);                   /* head before the provider's, or one more heartbeat */
/* For who asked (x-weir-include: trace): what the head could not say (the cost; after an early head the rest of the headers) as a
   comment, once, before the stream ends. The attempt is settled by then. */
void answer_trace(struct exchange *x);
bool answer_traced(const struct exchange *x);            /* it has a trace to tell yet */
void answer_record(struct exchange *x);                  /* record.c: metrics, access log, ledger */

/* fetch.c: what a waiting policy asked for */
void fetch_start(struct exchange *x);
void fetch_cancel(struct exchange *x);
/* ask.c: the same for weir.ask: an exchange of its own, the child. */
void ask_start(struct exchange *x);
void ask_cancel(struct exchange *x);                     /* the child ends now */
void ask_ended(struct exchange *child, struct span word);                /* from exchange_end; it is freed behind this */
bool ask_route(struct exchange *child);                  /* false: refused and ended, as the next */
bool ask_compose(struct exchange *child);                /* its body for the candidate that is next */
struct exchange *ask_parent(const struct exchange *child);

#endif
