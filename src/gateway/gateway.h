/* gateway.h: the rooms of the gateway and what they share.

   Glossary
     client     an accepted socket; keeps alive, one exchange at a time
     exchange   one request and its answer; has a source (the request read whole, or streamed in), a
                sink (where the answer goes), and up to two live attempts
     attempt    one try of an exchange at a target; owns a call
     call       one HTTP request and its response on a leased connection
     upstream   a connection to a provider: in its pool when idle, in a call when leased
     pool       the connections of one worker to one endpoint

   Who may free what: a worker owns its clients, pools and upstreams; a client owns its exchange; an
   exchange owns its attempts. A struct with ops in flight goes only through sock_close. */
#ifndef WEIR_GATEWAY_H
#define WEIR_GATEWAY_H

#include <pthread.h>
#include "weir/conf.h"
#include "weir/dialect.h"
#include "weir/estimate.h"
#include "weir/http.h"
#include "weir/io.h"
#include "weir/log.h"
#include "weir/metrics.h"
#include "weir/policy.h"
#include "weir/route.h"
#include "weir/table.h"
#include "weir/tls.h"
#include "weir/translate.h"

#define container(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

struct gateway;
struct worker;
struct client;
struct exchange;
struct attempt;
struct upstream;
struct pool;
struct call;

/* One loaded set of weir.lua and policies. Workers and exchanges hold references; the last one hands it to
   gateway->retire, so that Lua states are closed off the workers. */
struct generation {
  int refs;
  unsigned number;
  struct conf *conf;
  unsigned worker_count;
  struct policy_vm **vms;             /* one per worker */
  struct trust_entry { struct span path; struct tls_trust *trust; } *trusts;   /* by CA path; "" = system roots */
  size_t trust_count;
  struct generation *next;            /* in the retired list */
};
struct generation *generation_load(const char *file, unsigned workers, unsigned number, struct buf *errors, struct buf *warnings);
/* The same from a configuration that is loaded already; takes its reference. */
struct generation *generation_of(struct conf *c, unsigned workers, unsigned number, struct buf *errors, struct buf *warnings);
void generation_drop(struct gateway *g, struct generation *gen);   /* by reference count */
void generation_free(struct generation *gen);
void generation_publish(struct gateway *g, struct generation *gen);  /* takes the reference */
void generation_bury(struct gateway *g);                           /* housekeeping: closes what was retired */

/* The process. The main thread is housekeeping: its own loop, with names, admin, control socket and signals. */
struct gateway {
  struct worker *workers;
  unsigned worker_count;
  struct generation *newest;          /* housekeeping's; each worker is offered its own reference */
  struct generation *retired;         /* lock-free stack, emptied by housekeeping */
  struct resolver *resolver;          /* NULL: only literal addresses (simulation) */
  struct tls_pool *shakes;
  struct tls_trust *system_trust;     /* atomic; for weir.fetch; loaded after the start, NULL until then */
  struct log_sink *access_log;        /* NULL: off */
  struct metrics *metrics;            /* housekeeping's own shard */
  struct loop *house;                 /* housekeeping's loop; NULL in a simulation */
  enum loop_kind loop_kind;           /* as asked for */
  const char *config_file;            /* as given by --config, or NULL */
  unsigned generations;               /* loaded so far */
  bool (*tests)(const struct conf *c, struct buf *errors);               /* run before a reload is accepted */
  struct conf *started;               /* what listeners, workers and folders were made from */
  bool draining;                      /* atomic, as the next one */
  bool handed_over;                   /* a successor has the listeners: what was accepted here is still served */
  struct upgrade *upgrade;            /* one that is under way */
  uint64_t drain_due_ms;
  unsigned workers_left;              /* atomic: threads still running */
  uint64_t held;                      /* atomic: bytes of large request bodies */
  struct cells *cells;                /* budgets and limits; NULL: nothing is counted */
  struct ledger *ledger;              /* NULL: no records are kept */
  uint64_t memory_default;            /* a quarter of RAM */
  int64_t memory_base;                /* what the newest configuration and the process itself hold */
  unsigned most_clients;              /* what the descriptor limit allows; 0: no limit */
  struct siblings *siblings;          /* pools of all workers by endpoint; lend.c has the lock */
  unsigned waiting, most_waiting;     /* atomic: requests that wait for a connection's turn, a policy or a retry; 0: no limit */
  uint64_t short_said_ms;             /* atomic: when descriptors were last said to be short */
  struct reload *reload;              /* one at a time */
  struct admin *admin;
  struct control *control;
  int *listeners;
  size_t listener_count;
  struct listener *bound;             /* the same as they were opened; NULL in a simulation */
  int admin_fd;
  char *runtime_dir;
};

/* house.c: the process from start to end. Gives the exit code: 0, 1 configuration refused, 2 the machine refuses. */
struct run_options {
  const char *config;                 /* NULL: the search order */
  bool watch;
  enum loop_kind loop;
  /* Runs the tests that lie beside the policies of a configuration; false and lines in *errors when one fails. May be NULL. */
  bool (*tests)(const struct conf *c, struct buf *errors);
};
int gateway_run(const struct run_options *o);
/* reload.c: loads on a thread of its own; done runs on housekeeping's loop, text is lent for the call. One that comes while another
   runs waits for a fresh load after it. */
typedef void reload_done(void *arg, bool accepted, struct span text);
void reload_start(struct gateway *g, reload_done *done, void *arg);
void reload_free(struct gateway *g);
/* admin.c: /livez /readyz /metrics on housekeeping's loop. control.c: control.sock in the runtime directory. */
struct admin *admin_open(struct gateway *g, int fd);
void admin_close(struct admin *a);                       /* ends its connections; memory goes when the loop has turned */
struct control *control_open(struct gateway *g, const char *runtime_dir, const char **why);   /* NULL: another weir lives there, or no permission */
void control_close(struct control *c);
/* A successor accepts there now; same_folder: and control.sock is its own. Connections that are open are answered. */
void control_leave(struct control *c, bool same_folder);
bool control_inherited(const struct control *c);         /* it is that of the process before this one */
void control_descriptors(const struct control *c, int *lock, int *control);
void admin_leave(struct admin *a);
/* upgrade.c: starts the program again and hands over to it. done runs on housekeeping's loop, as a reload's. */
void upgrade_start(struct gateway *g, reload_done *done, void *arg);
void upgrade_stop(struct gateway *g);                    /* what is under way is given up */
/* Of the new process: before anything else. Then what it may take; -1: none. */
void upgrade_begin(void);
int upgrade_lock(const char *path);
int upgrade_control(void);
bool upgrade_waiting(void);                              /* the one before still serves */
void upgrade_ready(bool same_folder);                    /* it serves: the one before may go */
void house_hand_over(struct gateway *g, bool same_folder);
/* From another process: sends one command ("reload") to the weir of that runtime directory and prints its answer to *out.
   0 accepted, 1 refused, 2 no weir there, 3 there may be one, which could not be asked. */
int control_ask(const char *runtime_dir, const char *command, struct buf *out);
/* admin.c: true when every worker waits for events, or began its turn within the last 5 s. A line for each in *out, which may be NULL. */
bool gateway_live(const struct gateway *g, struct buf *out);
/* notify.c: to the service manager at $NOTIFY_SOCKET, if there is one. After ready it gets signs of life while gateway_live, if it
   wants them. */
void notify_ready(struct gateway *g);
void notify_reloading(void);
void notify_reloaded(struct gateway *g, struct span refused);   /* refused: why, or empty */
void notify_stopping(double drain_s);
void notify_leave(void);                                 /* nothing more from this process: a successor has said that it is ready */
void notify_end(struct gateway *g);

/* ---- worker */
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

/* ---- client */
enum client_state { CLIENT_IDLE, CLIENT_HEAD, CLIENT_BODY, CLIENT_BUSY, CLIENT_LINGER, CLIENT_CLOSED };
struct client {
  struct sock sock;
  struct sink sink;
  struct worker *worker;
  struct client *next, **link, *next_dirty;
  struct exchange *exchange;
  struct exchange *lent;              /* the kernel receives into its body: pinned, also when it has ended */
  struct buf in;                      /* bytes not understood yet: a partial head, or pipelined requests */
  struct buf out, flying;             /* filled; being sent */
  size_t scanned;
  struct timer timer;
  uint64_t due_ms;                    /* when the timer means it */
  enum client_state state;
  bool fresh;                         /* nothing was understood yet: a PROXY header may come */
  bool dirty, pumping, minor0, keep_alive, chunked, ended, half_closed;
  struct http_body body;              /* decoder of the request body */
  size_t lingered;
  unsigned listener;                  /* number of the one it came in by */
  char ip[46];
};
struct client *client_open(struct worker *w, int fd, struct span ip);
void client_flush(struct client *c);
void client_close(struct client *c);
void client_refuse(struct client *c, int status, const char *message);   /* syntax errors: answer in JSON, then close */
void client_next(struct client *c);                      /* the exchange has ended: read on, or close */
void client_read_on(struct client *c);                   /* a streamed request body has room again */
void client_drain(struct client *c);

enum { MOST_MEMBERS = 256 };          /* of a request body's top level */

/* ---- exchange */
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
  picodollars cost;                   /* of the attempts that are settled */
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
void exchange_fail(struct exchange *x, int status, struct span word, struct span code, const char *message, const char *hint);   /* weir's own refusal */
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
enum dialect request_dialect(const struct http_head *h);                  /* the caller's, as path and headers tell */
void request_choose_id(struct exchange *x);
bool request_is_whole(const struct http_head *h, struct span path);       /* JSON on a known route */
bool request_is_metered(const struct exchange *x, const struct http_head *h);  /* the same under a provider's own name, where budgets count */
/* multipart: the model part is looked for in what came so far; when it is found, or cannot come, the exchange goes on */
void request_scan(struct exchange *x);
/* Bound state: whether the request can do without it (weir.allow_loss), and from now on it does. */
bool request_may_lose(struct exchange *x);
void request_lose(struct exchange *x);
/* Head and body parts for a target; gives the number of parts, at most SEND_PARTS - 1. */
int request_compose(struct exchange *x, struct attempt *a, struct buf *head, struct iovec *body);
bool request_ready(struct exchange *x, struct attempt *a, struct translating *t);     /* for its target; false: it cannot be said in its dialect, *t tells */

/* peer.c: whom a client is, where trusted_proxies stand before it. */
enum peer_start { PEER_MORE, PEER_PLAIN, PEER_TOLD, PEER_STRANGER, PEER_BROKEN };
/* The first bytes of a connection: may they be a PROXY header, are they none, was one read (*used, and c->ip is what it says), did
   it come from an address that may send none, is it broken? */
enum peer_start peer_header(struct client *c, struct span window, size_t *used);
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
/* counters.c: the cells in the runtime directory, and the thread that looks after them */
bool counters_open(struct gateway *g, const char **why);
void counters_close(struct gateway *g);

/* chain.c: the targets of an exchange */
bool chain_find(struct exchange *x);                     /* false: there are none; refused and ended */
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
void meter_settle(struct attempt *a);                    /* once; a second time is nothing */
int64_t worker_wall_ms(const struct worker *w);          /* Unix time */

/* answer.c: the answer's head, errors, the records of an ended exchange */
void answer_headers(struct exchange *x, const struct http_head *from, struct buf *out);
void answer_start(struct exchange *x, int status, const struct http_head *from, int64_t length);   /* head, once */
void answer_error(struct exchange *x, struct error *e, double retry_after);   /* whole error answer, or the error event of a running stream */
void answer_text_of_weir(struct exchange *x, struct span text, struct span json);   /* weir.answer, weir.replace */
void answer_early(struct exchange *x);                   /* head before the provider's, or one more heartbeat */
/* For who asked (x-weir-include: trace): what the head could not say (the cost; after an early head the rest of the headers) as a
   comment, once, before the stream ends. The attempt is settled by then. */
void answer_trace(struct exchange *x);
bool answer_traced(const struct exchange *x);            /* it has a trace to tell yet */
void answer_record(struct exchange *x);                  /* record.c: metrics, access log, ledger */

/* ---- attempt */
struct call_calls;
struct call {
  const struct call_calls *calls;
  struct worker *worker;
  struct pool *pool;
  struct upstream *conn;
  struct span method;
  struct buf head_bytes;              /* request head; kept for the stale retry */
  struct iovec body[SEND_PARTS - 1];
  int body_parts;
  bool streamed;                      /* the request body comes piece by piece: no stale retry once a piece went */
  bool sent;                          /* on a connection that stood, as far as it went */
  bool sent_all, reused, retried, got_bytes, got_head, ended, paused;
  bool unclosed;                      /* TLS whose connection ended without a close_notify: a body that lasts until then may be cut (RFC 9112 9.8) */
  uint64_t sent_ms;
  struct http_body decoder;
  double connect_s, tls_s;
  void (*pin)(void *arg), (*unpin)(void *arg);           /* who holds the body's memory while the kernel reads it */
  void *pin_arg;
};
struct call_calls {
  void (*head)(struct call *c, const struct http_head *h);               /* once, not for 1xx */
  void (*body)(struct call *c, struct span data);                        /* lent; may end the call */
  void (*end)(struct call *c);                                           /* whole; the connection is back in its pool */
  void (*fail)(struct call *c, enum fault f, const char *phase, const char *why);
  void (*room)(struct call *c);                                          /* a streamed request body may go on; may be NULL */
};
void call_start(struct call *c);                         /* pool, head_bytes, body set; never calls back inside */
void call_write(struct call *c, struct span piece);      /* streamed body, already framed */
void call_written(struct call *c);                       /* no more pieces */
size_t call_waiting(const struct call *c);
void call_pause(struct call *c);                         /* backpressure: do not read on */
void call_resume(struct call *c);
void call_stop(struct call *c);                          /* no callback after this; the connection is closed unless it ended */

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
  struct model_facts facts; const struct model_facts *model;       /* model: the facts once it is about to be sent; until then NULL */
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

void foreign_begin(struct attempt *a);                   /* foreign.c: sets a->foreign where the provider speaks another dialect */
const struct operation_info *foreign_operation(const struct attempt *a);  /* what the provider is asked */
bool foreign_translate(struct attempt *a, struct span body, struct translating *t);   /* into a->body; false: it cannot be said, t tells */
bool foreign_answer(struct attempt *a, const char **why);                /* a whole one, in a->window */
void foreign_feed(struct attempt *a, struct span data);  /* bytes of a stream. The attempt may be gone behind it */
void foreign_facts(const struct attempt *a, struct event_facts *f);      /* of an event in the client's dialect: what the provider knew better */
void foreign_free(struct foreign *f);                    /* NULL is fine */
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

/* ---- pool and upstream */
enum upstream_state {
  UP_RESOLVING, UP_CONNECTING, UP_TUNNEL, UP_SHAKING, UP_IDLE, UP_BUSY, UP_FAILED, UP_CLOSED,
  UP_WAITING,                         /* for a loan of another worker, or for its turn to be made */
  UP_LENDING,                         /* parts from its loop, to go to another worker */
};
struct upstream {
  struct sock sock;
  struct pool *pool;
  struct call *call;                  /* NULL: idle, or being warmed */
  struct upstream *next, **link;      /* in pool->idle; next alone in pool->waiting */
  struct loan *loan;                  /* UP_WAITING, UP_LENDING; NULL: none */
  struct upstream *next_dirty, *all_next, **all_link;
  enum upstream_state state;
  bool dirty, junk;                   /* junk: bytes came that nobody asked for: never reused */
  bool behind;                        /* more records stand behind the bytes being delivered */
  bool shake_running;
  bool queued, opening;               /* in pool->waiting; counted in pool->opening */
  bool warming;                       /* made ahead of its use */
  unsigned uses;
  struct buf in;                      /* TLS: bytes that are no whole record yet */
  struct buf plain;                   /* a response head that is not whole yet */
  size_t scanned;
  struct buf out, flying;             /* filled; being sent */
  struct iovec parts[SEND_PARTS - 1]; /* large body, lent by the call, sent after out */
  int part_count;
  void (*unpin)(void *arg);           /* runs when the kernel no longer reads the lent parts */
  void *unpin_arg;
  struct tls *tls;
  struct making *making;              /* making.h; NULL once it stands */
  struct timer timer;
  uint64_t idle_since_ms;
};
struct pool {
  struct worker *worker;
  struct span key;                    /* owned */
  char *host, *tls_name, *name;       /* owned; name "host:port" for metrics */
  char *via, *dial;                   /* owned; the proxy as "host:port", NULL: none; the host that is connected to */
  struct secret *proxy_auth;          /* a reference; the header line for the proxy, or NULL */
  uint16_t port, dial_port;
  bool tls;
  struct tls_trust *trust;
  struct upstream *idle;              /* newest first */
  struct upstream *all;
  unsigned idle_count, busy_count;    /* atomic: other workers look */
  struct siblings *siblings;          /* the pools of all workers to this endpoint */
  struct upstream *waiting, **waiting_last;    /* for their turn, oldest first */
  unsigned opening;                   /* connections that are being made */
  bool warming;                       /* one is made ahead */
  unsigned warm_failed;               /* in a row */
  uint64_t warm_from_ms;              /* no earlier: the last one failed */
  struct timer warm_timer;
  int64_t *idle_gauge, *busy_gauge;   /* the shard's */
  double idle_s;
  unsigned warm;                      /* idle ones to have, over all workers */
  struct tls_session session;
  uint64_t used_ms;
};
/* The worker's pool for an endpoint; clocks are those of the newest configuration that asked. */
struct pool *pool_of(struct worker *w, const struct endpoint *e, const struct conf *c, const struct provider *p);
struct pool *pool_for_url(struct worker *w, const struct url *u, const struct proxy *via, struct tls_trust *trust, struct arena *scratch);
/* Over a proxy and without TLS a request names its target whole ("GET http://host/path") and bears the proxy's credentials. */
static inline bool pool_absolute(const struct pool *p) { return p->via && !p->tls; }
void pool_close(struct pool *p);                         /* closes every connection; the pool may go when `all` is empty */
void pool_free(struct pool *p);
/* A connection for the call, an idle one unless fresh. Answers by call_connected (may be inside this call) or
   call_connect_failed (never inside). */
void pool_lease(struct pool *p, struct call *c, bool fresh);
/* Sends head bytes (copied) and parts (lent until unpin, or until the call lets the connection go). */
void upstream_send(struct upstream *u, struct span bytes, const struct iovec *parts, int count);
size_t upstream_waiting(const struct upstream *u);
void upstream_flush(struct upstream *u);
void upstream_read(struct upstream *u, bool soon);
void upstream_idle(struct upstream *u);                  /* back to its pool */
void upstream_close(struct upstream *u);                 /* from its call too: no callback follows */
/* Between pool.c and tunnel.c: */
void upstream_fail(struct upstream *u, enum fault f, const char *why);   /* before its request was sent; the call hears of it later */
void upstream_shake(struct upstream *u, struct span in); /* the way to the provider stands: TLS, with what came already */
void tunnel_request(struct buf *out, struct span host, uint16_t port, const struct secret *auth);   /* CONNECT; auth may be NULL */
void tunnel_start(struct upstream *u);                   /* the proxy is connected */
void tunnel_bytes(struct upstream *u, struct span data);
void tunnel_ended(struct upstream *u);
void upstream_open(struct upstream *u);                  /* lend.c: at once, or when its turn comes */
void upstream_resolve(struct upstream *u);               /* its turn has come */
void upstream_serve(struct upstream *u, struct call *c); /* one that is unlisted, or was adopted */
void upstream_warm(struct pool *p);
void pool_let_one_go(struct worker *w);                  /* lend.c: descriptors are short: the oldest idle connection closes */
/* lend.c: between the pools of all workers to one endpoint */
void siblings_join(struct pool *p);
void siblings_leave(struct pool *p);
bool lend_ask(struct upstream *u);                       /* false: nobody has an idle one */
void lend_parted(struct upstream *u, int result);        /* UP_LENDING: its read has ended */
void lend_broken(struct upstream *u);                    /* UP_LENDING: it is being closed */
void lend_forget(struct upstream *u);                    /* it waits for its loan no longer */
void turn_leave(struct upstream *u);                     /* it waits for its turn no longer */
void turn_over(struct upstream *u);                      /* it stands, or never will: the next one's turn */
struct upstream *turn_for_any(const struct pool *p);     /* waits longest, and may have a connection that was used before */
void keep_warm(struct pool *p);
void warm_over(struct upstream *u, bool well);
/* and what it needs of pool.c: out of the idle list; off this thread; into a pool of this one */
void upstream_unlist(struct upstream *u);
void upstream_part(struct upstream *u);
void upstream_adopt(struct pool *p, struct upstream *u);
void upstream_discard(struct upstream *u);               /* adopted, but no loop turns any more */
/* call.c, told by the connection: */
void call_connected(struct call *c, struct upstream *u);
void call_connect_failed(struct call *c, enum fault f, const char *why);
void call_bytes(struct call *c, struct span bytes);
void call_peer_ended(struct call *c, int result);
void call_sent(struct call *c);                          /* everything given to upstream_send is out */

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
