/* gateway.h: the process, and what all its rooms share: worker.h, client.h, exchange.h, attempt.h, call.h, pool.h.

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
/* counters.c: the cells in the runtime directory, and the thread that looks after them */
bool counters_open(struct gateway *g, const char **why);
void counters_close(struct gateway *g);

#endif
