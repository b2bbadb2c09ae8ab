/* policy.h: the Lua side of weir. One policy_vm per worker and generation; it is used by its worker's
   thread alone. The gateway fills plain structs, starts a hook, and gets a decision or a wait: a
   policy never touches a descriptor, the exchange runs what it asks for.

   How to drive it:
     struct policy_run run = { 0 };
     r = policy_run_start(vm, &run, HOOK_REQUEST, &subject);
     while (r == POLICY_WAITS) { … do run.wait, later: r = policy_run_resume(&run, &answer); }
     use run.decision;
   A run that is no longer wanted while it waits is ended by policy_run_cancel. While it waits, the run and
   what its subject points to stay where they are; the thread has called vm_thread_enter. */
#ifndef WEIR_POLICY_H
#define WEIR_POLICY_H

#include "weir/cells.h"
#include "weir/conf.h"
#include "weir/dialect.h"
#include "weir/estimate.h"
#include "weir/route.h"

enum hook { HOOK_REQUEST, HOOK_ATTEMPT, HOOK_RESPONSE, HOOK_CHUNK, HOOK_FAILURE, HOOK_DONE, HOOK_COUNT };
extern const char *const hook_words[HOOK_COUNT];         /* "on_request", … */

struct policy_vm;
/* Runs every `use` of the configuration in a fresh sandbox. NULL and "file:line: reason" lines in *errors on failure.
   Warnings (NULL: not looked for): upvalues assigned inside hooks, which are per worker and die at reload. conf must
   outlive it; a module that a policy requires is read through conf->sources, so it belongs to one thread meanwhile. */
struct policy_vm *policy_vm_new(struct conf *conf, struct buf *errors, struct buf *warnings);
void policy_vm_free(struct policy_vm *vm);
/* Whether any policy defines the hook: one that nobody defines is not called and costs nothing. */
bool policy_has(const struct policy_vm *vm, enum hook h);
size_t policy_memory(const struct policy_vm *vm);
bool policy_idle(struct policy_vm *vm);                  /* a little garbage collection; true while there is more */
bool policy_idle_wanted(const struct policy_vm *vm);     /* whether policy_idle would do anything */
/* The one clock policies see (unix seconds); the real one by default. */
/* Where its budgets and limits are counted; NULL (the default): they only attach. */
bool policy_counts(const struct policy_vm *vm);          /* some policy has a budget or a limit */
void policy_set_cells(struct policy_vm *vm, struct cells *cells);
/* What its worker remembers of targets, and its clock. Both outlive it. */
void policy_set_health(struct policy_vm *vm, const struct health *h, const uint64_t *now_ms);
void policy_set_clock(struct policy_vm *vm, double (*now)(void *arg), void *arg);

/* ---- what hooks see. Spans live as long as the exchange (its arena) unless said otherwise. */
struct policy_note { struct policy_note *next; struct span key, value, policy; };    /* value: plain text */
/* Newest first. word: model max_tokens temperature top_p stop tools messages, or by attempt:set any field of the body.
   json: its new value; p NULL removes it. */
struct policy_edit { struct policy_edit *next; struct span word, json; };
struct policy_header { struct policy_header *next; struct span name, value; };       /* value.p NULL: removed */

/* What a policy asks to be held of a stream's content: a piece goes on when so many bytes of its choice came behind it, or when it has
   waited for so long; with several policies, when all of them let it go. */
struct policy_hold {
  struct policy_hold *next;
  const void *owner;                                     /* private: one per policy, its newest counts */
  double bytes, seconds;                                 /* -1: not given; both: never released before the end */
};

/* One cap of a weir.budget or weir.limit. Lives as long as its policy_vm. */
enum { CAP_MARKS = 4 };
struct policy_cap {
  struct span name;
  enum cell_kind kind;
  struct cell_window window;
  int64_t cap;                                           /* picodollars, or a count */
  int64_t *cell;                                         /* cell_id.hint */
  bool one_request;                                      /* a budget for each request: it has no cell */
  double soft[CAP_MARKS];
  unsigned soft_count;
};
struct policy_charge {
  struct policy_charge *next;
  const struct policy_cap *cap;
  struct span scope;
  int64_t end_ms;                                        /* of the cell's window, as it stood when it was attached; 0: it was never used */
};
/* "the budget 'team-day' of 'search' is 20 USD a day, of which …" */
void policy_cap_say(const struct policy_cap *cap, struct span scope, const struct cells_refusal *r, struct buf *out);

struct policy_req {
  struct arena *arena;
  const struct operation_info *operation;                /* NULL: a raw route, streamed through: body is not here */
  struct span id, path, ip;
  struct span method;
  struct http_head *head;                                /* the client's headers; keys are not shown to Lua */
  struct span body;
  struct json_member *members;                           /* of the body; 0 when raw */
  size_t member_count;
  uint64_t body_keys;                                    /* which keys may stand in it (json_read_object_keys); ~0: any */
  struct request_bounds bounds;                          /* private to policy_estimate, with `bounded` */
  bool bounded;
  struct request_facts facts;
  struct span model;                                     /* as asked, plain text; changed by req.model = … */
  bool stream;
  struct span session, user;
  struct span prompt;                                    /* the caller's name for what it asks (x-weir-prompt) */
  const struct key *key;                                 /* whose request it is; NULL: no key was given, and none was asked for */
  struct policy_note *notes, *tags;                      /* newest first */
  struct policy_edit *edits;
  struct policy_charge *charges;                         /* budgets and limits that this exchange counts in, with all its attempts */
  struct span *targets;                                  /* names, set by weir.route or req.targets, in the arena; at most ROUTE_MOST_TARGETS */
  size_t target_count;                                   /* 0: as the model name says */
  uint32_t next_on;                                      /* of weir.route: bits by fault, and FAULT_NONE; 0: not given */
  uint32_t losses;                                       /* of weir.allow_loss: bits of enum loss */
  struct span *allowed;                                  /* and every word of it, for translation; in the arena */
  size_t allowed_count;
  unsigned attempts;                                     /* started so far */
  double deadline;                                       /* unix seconds; req.remaining = deadline - now */
  uint64_t random;                                       /* seed of weir.random; it moves on as numbers are drawn */
  struct arena *scratch;                                 /* where policy_chunk puts decision.text; NULL: arena */
  int lua;                                               /* private: reference to its tables of req.state, 0 none */
  struct policy_vm *vm;                                  /* private */
  uint64_t serial;                                       /* private: names the exchange to its handles */
  struct json_member *seen;                              /* private: members as edits left them; NULL: no edit yet */
  size_t seen_count;                                     /* private */
  struct policy_hold *holds;                             /* of on_chunk */
  struct policy_feed *feeds;                             /* private: places of matchers in this exchange's chunks */
  struct policy_tape *tape;                              /* what its policies read (weir/tape.h); NULL: nobody wants to know */
};
struct policy_attempt {
  unsigned number;                                       /* from 1 */
  const struct target *target;
  double deadline;                                       /* seconds from now; written by attempt.deadline = … */
  bool deadline_set;
  struct policy_header *headers;                         /* to add, replace or remove upstream; newest first */
  struct policy_edit *edits;                             /* attempt:set */
  struct policy_charge *charges;                         /* budgets and limits that this attempt alone counts in */
  struct arena *arena;                                   /* the attempt's */
};
/* The most that this request may come to at that model, as it stands with all edits and `more` (of the attempt, or NULL). o: the
   request's operation, or what a raw one is known to be. */
void policy_estimate(struct policy_req *r, const struct operation_info *o, const struct policy_edit *more, const struct provider *p,
                     const struct model_facts *m, struct estimate *out);
struct policy_tool { struct span id, name, arguments; };
struct policy_response {
  int status;
  const struct http_head *head;
  struct span body;                                      /* whole answer, decoded of its framing; empty for a stream */
  struct span text, thinking;                            /* stream: of its held start; whole: made on access */
  struct span model, finish;
  struct usage usage;
  bool done;                                             /* false: the held start of a stream */
  bool stream;                                           /* of a stream, whole or not: tools are here */
  const struct policy_tool *tools;                       /* as far as they came */
  size_t tool_count;
  const struct operation_info *operation;                /* what it answers; NULL: the request's */
};
struct policy_fault {
  enum fault kind;
  int status;
  struct span code, target;
  const char *phase;                                     /* "connect" "head" "first_event" "stream" */
  double retry_after;                                    /* -1 unknown */
};
struct policy_usage {
  struct usage usage;
  bool reported;
  picodollars cost;                                      /* of all attempts; -1: not known */
  unsigned attempts;
  struct span end;                                       /* fault word or done, client_gone, denied, … */
};
struct policy_subject {                                  /* what a hook gets; NULL where it gets none */
  struct policy_req *req;                                /* always */
  struct policy_attempt *attempt;                        /* on_attempt, on_failure */
  struct policy_response *response;                      /* on_response */
  const struct delta *chunk;                             /* on_chunk; lent for the call */
  struct policy_fault *fault;                            /* on_failure */
  struct policy_usage *usage;                            /* on_done */
};

enum decision_kind {
  DECIDE_PASS,
  DECIDE_DENY, DECIDE_ANSWER,                            /* on_request; weir.route only sets req->targets */
  DECIDE_SKIP,                                           /* on_attempt */
  DECIDE_ACCEPT, DECIDE_REJECT,                          /* on_response */
  DECIDE_REPLACE,                                        /* on_response, on_chunk */
  DECIDE_HOLD,                                           /* on_response; of on_chunk it is in req->holds */
  DECIDE_DROP, DECIDE_STOP,                              /* on_chunk */
  DECIDE_RETRY, DECIDE_NEXT, DECIDE_FAIL,                /* on_failure */
};
struct decision {
  enum decision_kind kind;
  struct span policy;                                    /* instance that decided */
  int status;                                            /* DENY */
  struct span message;                                   /* DENY; why of SKIP REJECT STOP FAIL */
  struct span code;                                      /* DENY */
  double retry_after;                                    /* DENY, RETRY; -1 not given */
  struct span text;                                      /* ANSWER, REPLACE: plain text */
  struct span json;                                      /* ANSWER with a table: the whole body as JSON */
  size_t back;                                           /* REPLACE, DROP of on_chunk: so many bytes of the choice's text before the chunk go too,
                                                            as far as they are held */
  struct hold_wish { double tokens, bytes, seconds; bool until_done; } hold;   /* HOLD; -1: not given */
  struct span word;                                      /* DENY by a budget or limit: "capped", "limited"; empty: denied */
  struct span as;                                        /* STOP: "length" "filter" "error" */
  /* The policy failed and says on_error = "deny": DENY (500) in on_request, on_attempt and on_response, STOP as "error"
     in on_chunk, FAIL in on_failure. In on_done there is nothing left to decide. */
  bool error;
};

/* ---- what a waiting policy asked for */
enum wait_kind { WAIT_NONE, WAIT_SLEEP, WAIT_FETCH, WAIT_ASK };
struct policy_wait {
  enum wait_kind kind;
  double seconds;                                        /* SLEEP; FETCH, ASK: timeout (default 10, 30) */
  struct span url, method, body;                         /* FETCH; lent until resume or cancel, as headers are */
  struct http_header *headers;
  size_t header_count;
  const struct auth_secret *auth;                        /* NULL or the secret whose host is the url's (checked) */
  const struct question *question;                       /* ASK; good until the run ends */
  struct span policy;                                    /* ASK: the instance that asks */
};
struct policy_answer {                                   /* lent for policy_run_resume */
  bool ok;
  const char *why;                                       /* FETCH, when not ok */
  int status;                                            /* FETCH */
  const struct http_head *head;
  struct span body;
  const struct policy_response *response;                /* ASK, when ok: a whole answer */
  const struct policy_fault *fault;                      /* ASK, when not ok */
};

enum policy_result { POLICY_DONE, POLICY_WAITS };
struct policy_run {
  struct policy_vm *vm;
  enum hook hook;
  struct policy_subject subject;
  struct decision decision;                              /* valid when DONE */
  struct policy_wait wait;                               /* valid when WAITS */
  unsigned at;                                           /* private: place of the running policy in the hook's order */
  void *co;                                              /* private: its coroutine */
  struct arena kept;                                     /* private: what it asked and was answered; ends with the run */
  uint64_t serial;                                       /* private: names the run to its handles */
  struct choice *choices;                                /* private: decisions that its policies made */
  struct asked *asked;                                   /* private: answers of weir.ask; in kept */
  const struct policy_answer *answer;                    /* private: during policy_run_resume */
};
/* Runs the hook of each policy in its order until one ends the chain: deny and answer, skip, reject, drop and stop, any
   answer of on_failure. accept, hold and replace let the later ones see and decide too; they see the replaced text. A hold counts for
   more than accept and for less than the others; of several the longest of each bound. Errors,
   limits and time-outs take the policy's on_error road, are logged with their traceback and counted. on_chunk and
   on_done cannot wait (that is an error of the policy). */
enum policy_result policy_run_start(struct policy_vm *vm, struct policy_run *run, enum hook h,
                                    const struct policy_subject *s);
enum policy_result policy_run_resume(struct policy_run *run, const struct policy_answer *a);
void policy_run_cancel(struct policy_run *run);
/* Of a run that waits, with a tape that plays: the answer it got then. False: it is not on the tape, and *out is one that failed. */
bool tape_played(const struct policy_run *run, struct arena *a, struct policy_answer *out);
/* on_response refused or replaced an answer, which is kept nowhere then: puts that on the tape. t may be NULL. */
void tape_verdict(struct policy_tape *t, struct span target, const struct decision *d);
/* The hot one: on_chunk for one delta. out->text of a REPLACE lives in req->scratch. */
enum decision_kind policy_chunk(struct policy_vm *vm, struct policy_req *req, const struct delta *d,
                                struct decision *out);
/* The exchange ends: what Lua kept of it is let go; handles that a policy kept raise from now on. */
void policy_req_end(struct policy_req *req);

/* ---- for tests of policies: the global usd of a state that is no policy's, and the money that stands at a place of its stack */
struct lua_State;
void policy_money_setup(struct lua_State *L);
bool policy_money_at(struct lua_State *L, int at, picodollars *out);

/* ---- process-wide, outlive generations: weir.shared maps, weir.counter, error counts */
/* weir_policy_errors_total{policy,hook}, weir_policy_NAME_total */
void policy_metrics_write(struct buf *out);
/* Between the two this thread's policies count and share apart from the process's, for tests that run beside a gateway at work. Their vms
   are closed before the end. */
void policy_world_begin(void);
void policy_world_end(void);
uint64_t policy_counter(struct span name);               /* of weir.counter, in this thread's world or the process's; 0: none */

#endif
