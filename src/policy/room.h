/* room.h: what the files of this folder share.

   Glossary
     instance   one `use` of a policy file, with its own environment and locals
     frame      what runs right now in a vm: which instance, hook and exchange; NULL between hooks
     handle     what a policy holds of req, attempt, chunk, …: a light userdata, so it costs no memory and nobody has
                to free it. It carries a kind and a serial, not a pointer: it is good only while the frame is of the
                same exchange (req, chunk) or the same call (the others)
     choice     what weir.deny and its like return, until it is taken as a decision: a handle too

   Errors are raised with luaL_error only where a protected call is running; functions that say so never raise. */
#ifndef POLICY_ROOM_H
#define POLICY_ROOM_H

#include "weir/log.h"
#include "weir/match.h"
#include "weir/policy.h"
#include "weir/vm.h"

enum { LOAD_MS = 1000, CALL_MS = 5 };

struct instance {
  struct span name;                    /* `as`, or the policy's own; conf's arena */
  struct span file;
  const struct use *use;
  size_t index;
  bool pass;                           /* on_error = "pass" */
  bool options_read;
  bool told_unreturned;
  int hooks[HOOK_COUNT];               /* registry references; LUA_NOREF: not defined */
  unsigned lines[HOOK_COUNT];          /* where each begins */
  struct error_count *errors[HOOK_COUNT];
};
struct hook_list { struct instance **of; size_t count; };

struct frame {
  struct instance *instance;
  enum hook hook;                      /* HOOK_COUNT: the file is being loaded */
  const struct policy_subject *subject;
  struct policy_run *run;              /* NULL while loading and in on_chunk */
  uint64_t serial;
  struct choice **choices;             /* made in this call, the newest first: of the run, or of this chunk */
  bool chose;                          /* a decision was made, returned or not */
  bool replaced;                       /* on_chunk: the text is what an earlier policy put there */
  struct span text;
};

enum kind_id {
  KIND_REQ, KIND_REQ_HEADERS, KIND_ATTEMPT, KIND_ATTEMPT_HEADERS, KIND_RESPONSE, KIND_RESPONSE_HEADERS, KIND_CHUNK,
  KIND_FAULT, KIND_USAGE, KIND_CHOICE, KINDS
};

struct policy_vm {
  struct vm *vm;
  lua_State *lua;
  struct conf *conf;
  struct instance *instances;
  size_t instance_count;
  struct hook_list lists[HOOK_COUNT];  /* in the order of calling */
  struct frame *frame;
  uint64_t serial;                     /* of the newest exchange, run, choice or answer of weir.ask */
  const void **names[KINDS];           /* of each kind's fields, then of its methods: Lua's strings of them, NULL at the end */
  const void *json_null;               /* the userdata weir.json.null */
  double (*now)(void *arg);
  void *now_arg;
  struct buf scratch;                  /* text on its way into Lua: here, so that an error leaks nothing */
  struct arena text;                   /* the same for what is unescaped */
  struct arena view;                   /* and for messages on their way; emptied before each use */
  size_t text_limit;                   /* bytes of JSON that a policy may make */
  struct buf *errors, *warnings;       /* while loading */
  struct held *matches;                /* automata that its matchers use */
  struct caps *caps;                   /* what weir.budget and weir.limit made */
  struct cells *cells;                 /* NULL: nothing is counted here */
  const struct health *health;         /* of its worker; NULL: none */
  const uint64_t *now_ms;              /* the clock health goes by */
};
static inline struct policy_vm *policy_of(lua_State *L) { return vm_owner(L); }
struct buf *scratch_begin(struct policy_vm *pv);         /* empty; good until the next call of it */
void push_span(lua_State *L, struct span s);
void push_span_or_nil(lua_State *L, struct span s);
void push_text(lua_State *L, int at);                    /* what tostring makes of the value */
struct span check_span(lua_State *L, int at);            /* a string argument; numbers are not taken for one */
double policy_now(struct policy_vm *pv);

/* ---- words.c: refusals that name what would be right. They raise. */
int refuse_unknown(lua_State *L, const char *what, struct span word, const char *const *known, size_t count);
int refuse_later(lua_State *L, const char *word);        /* "… is not in this version" */
/* Every key of the options table at index `at` is one of known; items: 1..n may stand there too. Gives which do, a bit each. */
unsigned check_fields(lua_State *L, int at, const char *what, const char *const *known, size_t count, bool items);
/* The frame, which must be of one of those hooks (a bit each); the message names the hook it was. */
struct frame *check_phase(lua_State *L, const char *word, unsigned hooks);
enum {
  IN_REQUEST = 1 << HOOK_REQUEST,
  IN_ATTEMPT = 1 << HOOK_ATTEMPT,
  IN_RESPONSE = 1 << HOOK_RESPONSE,
  IN_CHUNK = 1 << HOOK_CHUNK,
  IN_FAILURE = 1 << HOOK_FAILURE,
  IN_DONE = 1 << HOOK_DONE,
  IN_LOAD = 1 << HOOK_COUNT,
  IN_HOOKS = IN_LOAD - 1,
  IN_WAITING = IN_REQUEST | IN_ATTEMPT | IN_RESPONSE | IN_FAILURE,
};
/* The fault words of the list at index `at` as bits. */
uint32_t check_faults(lua_State *L, int at, const char *what);

/* ---- env.c: what a policy file's globals are. In this order: */
void env_names(lua_State *L);                            /* the library is whole */
void env_setup(lua_State *L);                            /* and frozen */
void env_begin(lua_State *L);                            /* a `use` begins */
void env_push(lua_State *L);                             /* a fresh environment, writable */
void env_end(lua_State *L);                              /* what was pushed since, and the modules, are read-only now */
int module_require(lua_State *L);

/* ---- upvalues.c. Never raises. */
void upvalues_warn(lua_State *L, int function, const char *hook, struct buf *warnings);

/* ---- handle.c */
struct field {
  const char *name;
  int (*get)(lua_State *L, struct frame *f);             /* pushes one value */
  void (*set)(lua_State *L, struct frame *f, int value); /* NULL: read only */
};
struct kind {
  const char *name;
  enum kind_id id;
  bool of_exchange;                                      /* good in every hook of the exchange, not only in one call */
  const struct field *fields;
  size_t count;
  const luaL_Reg *methods;                               /* ends with NULL */
  /* A map instead of fields: any key, at stack index 2 (value at 3); list pushes all of it as a table, for pairs. */
  int (*index)(lua_State *L, struct frame *f);
  void (*newindex)(lua_State *L, struct frame *f);
  int (*list)(lua_State *L, struct frame *f);
};
extern const struct kind kind_req, kind_req_headers, kind_attempt, kind_attempt_headers, kind_response,
    kind_response_headers, kind_chunk, kind_fault, kind_usage, kind_choice;
void handles_setup(lua_State *L);                        /* also the global getmetatable */
void handles_drop(struct policy_vm *pv);
/* Neither allocates nor raises. extra: 0 to 255, told by kind_at. */
void kind_push(lua_State *L, enum kind_id kind, uint64_t serial, unsigned extra);
/* False: what stands at that index is no handle of the kind. */
bool kind_at(lua_State *L, int at, enum kind_id kind, uint64_t *serial, unsigned *extra);
/* A handle of an answer of weir.ask, which is good as long as the run; `of` too. */
void asked_push(lua_State *L, enum kind_id kind, const void *of);
/* In a field's get: what the handle at index 1 shows, when that is an answer of weir.ask; NULL: the frame's subject. */
const void *asked_of(lua_State *L, const struct frame *f);
/* In a field's get: a handle of another kind, of the same. */
void kind_push_like(lua_State *L, enum kind_id kind);
/* The frame that the handle at index `at` is good in; raises for another thing or a stale one. */
struct frame *check_handle(lua_State *L, int at, const struct kind *k, const char *call);
uint64_t req_serial(struct policy_vm *pv, struct policy_req *req);       /* given on first use */

/* ---- bind_head.c */
/* All headers as a table, by lower-case name, lines of one name joined; found under any case. */
void headers_push(lua_State *L, const struct http_head *head);
/* Raises for a name or value that may not be sent, or that is weir's own to send. keys: headers that carry keys
   are fine. */
void check_header(lua_State *L, struct span name, struct span value, bool keys, const char *what);

/* ---- bind_json.c */
void json_setup(lua_State *L);                           /* leaves the table weir.json */
void json_push(lua_State *L, struct json v);             /* a validated value; nil for JSON_NONE */
void json_text_push(lua_State *L, struct json v);        /* what a JSON string says */
bool json_document_push(lua_State *L, struct span text, struct json_error *err);   /* false: nothing is pushed */
void json_encode(lua_State *L, int at, struct buf *out); /* appended; raises what JSON cannot say */
struct span json_encode_arena(lua_State *L, int at, struct arena *a);

/* ---- choice.c: decisions, made and taken */
void choice_setup(lua_State *L);                         /* sets weir.deny … in the table on top */
/* Takes what a hook returned (at index `at`) into *out. Never raises; false: *why says what is wrong with it. */
bool choice_take(lua_State *L, int at, struct frame *f, struct decision *out, struct buf *why);
/* Names that a policy wants tried, checked against the configuration. The list is at index `at`. */
size_t check_targets(lua_State *L, int at, struct policy_vm *pv, struct policy_req *req,
                     struct span out[ROUTE_MOST_TARGETS]);

void refusal_push(lua_State *L, const char *word, struct span message, double retry_after);   /* a denial that ends as `word`: capped, limited */
void usage_push(lua_State *L, const struct usage *u);     /* bind_fault.c: a table of what is there */

/* ---- options.c */
int options_call(lua_State *L);
int required_call(lua_State *L);
void options_unread(lua_State *L, const struct use *use);   /* the file did not call weir.options: none may be given */

/* ---- bind_wait.c. Both raise. */
struct policy_wait *wait_begin(lua_State *L, const char *word);          /* of the running policy, which may wait here */
double check_wait(lua_State *L, int at, const char *what);

/* ---- the rest of weir.*: each sets its words in the table on top */
void weir_setup(lua_State *L);
void wait_setup(lua_State *L);
void ask_setup(lua_State *L);
void match_setup(lua_State *L);
void shared_setup(lua_State *L);
void cells_setup(lua_State *L);
void caps_drop(struct policy_vm *pv);

/* ---- bind_req.c, for bind_view.c */
const struct json_member *req_members(const struct policy_req *r, size_t *count);         /* as edits left them */
void req_edit(lua_State *L, struct frame *f, const char *word, struct span json);         /* json.p NULL removes. Raises */
/* ---- bind_view.c: messages and tools in one shape. write: false where the dialect's own shape is to be written */
int messages_get(lua_State *L, struct frame *f);
int tools_get(lua_State *L, struct frame *f);
bool messages_write(lua_State *L, struct frame *f, int value);
bool tools_write(lua_State *L, struct frame *f, int value);

/* ---- bind_estimate.c */
int estimate_get(lua_State *L, struct frame *f);
int estimate_of_call(lua_State *L);

/* ---- bind_money.c */
void money_setup(lua_State *L);                          /* the global usd */
void amount_push(lua_State *L, int64_t picodollars);
bool amount_at(lua_State *L, int at, int64_t *picodollars);   /* false: another thing stands there */
void matches_drop(struct policy_vm *pv);

/* ---- tape.c: of the frame that runs; NULL: nothing is recorded or played */
struct policy_tape *tape_of(struct policy_vm *pv);
void tape_answer(const struct policy_run *run, const struct policy_answer *a);           /* what it waited for is here */

/* ---- count.c: process-wide */
struct error_count;
struct error_count *error_count_of(struct span policy, enum hook h);
/* One more; whether to log it too (a policy that fails on every chunk would fill the log). *missed: how many were
   not logged since the last one that was. */
bool error_count_add(struct error_count *c, double now, uint64_t *missed);
struct counter;
struct counter *counter_of(struct span name);            /* NULL: there are too many */
void counter_add(struct counter *c, uint64_t n);

#endif
