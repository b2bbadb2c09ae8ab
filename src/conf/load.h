/* load.h: what the files of this folder share while one weir.lua is being read.

   The words of weir.lua are C functions that fill drafts and note problems; none of them raises, so
   that one load tells of as many mistakes as it can. A value that was already complained about is a
   `sink`: it can be called, indexed and stored anywhere without a second complaint. When all files
   have run, conf_finish checks what needs the whole picture and turns the drafts into the conf. */
#ifndef CONF_LOAD_H
#define CONF_LOAD_H

#include "weir/conf.h"
#include "weir/money.h"
#include "weir/vm.h"

enum { MOST_PROBLEMS = 50, MOST_INCLUDES = 16, LOAD_MS = 1000, LOAD_MEMORY = 64 << 20, OPTIONS_DEPTH = 32 };

struct place {
  const struct source *source;        /* NULL: no file */
  unsigned line;                      /* 0: the file as a whole */
};

struct problem {
  struct place at;
  struct span text;
  bool warning;
};

struct frame {                        /* a file being run; includes nest */
  struct frame *outer;
  const struct source *source;
  uint64_t device, inode;
};

struct accounts { struct secret **keys; size_t count; bool given; };
struct proxy_draft { const struct proxy *proxy; bool given; };   /* given without one: direct */
struct endpoint_draft {
  struct endpoint_draft *next;        /* all of this load */
  struct place at;
  struct span url, region, tls_name, ca;
  unsigned weight;
  struct accounts accounts, ids, sessions;               /* ids, sessions: of keys that sign */
  struct proxy_draft proxy;
  bool taken;                         /* stands in a provider */
  bool url_bad;                       /* was given and complained about */
};
struct provider_draft {
  struct place at;
  struct provider provider;           /* name, dialect, headers, models, settings */
  const struct catalogue_provider *known;
  struct catalogue_quirks quirks;     /* the catalogue's, changed by what weir.lua says */
  const char *auth;                   /* NULL: the usual one */
  struct span api_version;
  bool dialect_given, dialect_bad;
  struct endpoint_draft self;         /* what stands in the provider itself, the default of its endpoints */
  struct endpoint_draft **endpoints;
  size_t endpoint_count;
};
struct alias_draft {
  struct place at;
  struct alias alias;
  struct place *places;               /* of its targets */
  bool target_bad;                    /* one was complained about */
};
struct use_draft {
  struct place at;
  struct use use;
};
struct listener_draft {
  struct place at;
  struct listener listener;
};

struct secret_draft {
  struct place at;
  bool amended;
};
struct key_draft {
  struct place at;
  bool amended;
};

/* Words that may stand once. */
enum once {
  ONCE_ADMIN, ONCE_DEFAULT_PROVIDER, ONCE_WORKERS, ONCE_MEMORY, ONCE_LUA_MEMORY, ONCE_STATE, ONCE_RUNTIME,
  ONCE_TRUSTED_PROXIES, ONCE_LOG, ONCE_CORS, ONCE_PRICES, ONCE_LEDGER, ONCE_COUNT
};

struct load {
  struct conf *conf;
  struct arena scratch;               /* drafts and texts of problems: until the load ends */
  struct vm *vm;
  lua_State *lua;
  struct problem *problems;
  size_t problem_count, error_count;
  struct frame *frame;
  struct place at;                    /* where the word or field that is being read stands */
  enum { LEVEL_DEFAULTS, LEVEL_PROVIDER, LEVEL_MODEL } level;            /* of the settings that are being read */
  struct span within;                 /* "provider 'lab'": put before each reason; empty: none */
  struct place once[ONCE_COUNT];      /* where each stood; source NULL: not yet */
  struct provider_draft *providers;
  size_t provider_count;
  struct endpoint_draft *endpoints;
  struct alias_draft *aliases;
  size_t alias_count;
  struct use_draft *uses;
  size_t use_count;
  struct listener_draft *listeners;
  size_t listener_count;
  struct secret_draft *secrets;       /* of conf->secrets */
  size_t secret_count;
  struct key_draft *keys;             /* of conf->keys */
  size_t key_count;
  bool keys_only;                     /* conf_load_keys */
  bool story;                         /* conf_load_story: secrets are stand-ins */
  bool guarded;                       /* the running configuration has keys */
  struct origin *origins;
  struct place admin_at;
  struct span default_provider;
};

/* What names are made of. */
static inline bool name_char(char c) {
  return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') || c == '_' || c == '-' || c == '.';
}
#define SECRET_FORMS "env \"NAME\", credential \"NAME\", file \"PATH\" or command { … }"

/* ---- problem.c */
void problem_add(struct load *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void warning_add(struct load *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* As problem_add, with unknown_word's text. */
void problem_unknown(struct load *l, const char *what, struct span word, const char *const *known, size_t count);
void problems_write(struct load *l, struct buf *errors, struct buf *warnings);
/* "file:line", for a second place in a message; in the scratch arena. */
const char *place_text(struct load *l, struct place at);

/* Room for one more item at the end of an array in the arena; the new item is zeroed and may move the
   others. items = list_add(…); the new one is items[count - 1]. */
void *list_add(struct arena *a, void *items, size_t *count, size_t size);

/* ---- locate.c: where in the text of a statement a field or a string stands */
/* The line of `key =` or `["key"] =` in the statement that starts on `line`; `line` when not found. */
unsigned line_of_key(struct span text, unsigned line, struct span key);
unsigned line_of_string(struct span text, unsigned line, struct span string);
/* Next name of a `require "name"` from *at on; false at the end. */
bool require_next(struct span text, size_t *at, struct span *name);

/* ---- run.c */
void load_run(struct load *l, const struct source *main);
/* Runs a file that returns a value, with the words of weir.lua, in a state of its own; take finds the value on top of the stack. */
void load_table(struct load *l, const struct source *source, void (*take)(struct load *l));
struct load *load_of(lua_State *L);
/* The start of each word: notes where it stands. */
struct load *word_enter(lua_State *L);
/* Pushes the value that stands for one already complained about; 1. */
int sink_push(lua_State *L);
bool sink_is(lua_State *L, int index);
/* What `provider "name"` gives: a value that is called with the table. */
struct handle {
  void (*amend)(struct load *l, size_t index);           /* the table is at stack index 2 */
  size_t index;
  struct place at;
  struct span within;
  bool amended;
};
int handle_push(lua_State *L, void (*amend)(struct load *l, size_t index), size_t index);
/* false, and a problem, when the word stood before. */
bool word_once(struct load *l, enum once which, const char *word);

/* ---- read.c: typed values from the top of the stack. false: a problem was noted (or before) */
struct field {
  const char *name;
  bool (*read)(struct load *l, const struct field *f, void *into);  /* value on top; NULL: not in this version */
  size_t offset;                      /* of what is read, in *into */
};
/* Reads the named members of the table at `index` in the order of `fields`; settings (NULL: none) may stand among them.
   items: members without a name are the caller's. What is left over is unknown. */
void fields_read(struct load *l, int index, const struct field *fields, size_t count, void *into,
                 struct settings *settings, bool items);
/* Not empty, UTF-8 without control characters; a copy in conf's arena. */
bool read_span(struct load *l, const struct field *f, void *into);
bool read_bool(struct load *l, const struct field *f, void *into);
bool read_number(struct load *l, const char *name, const char *unit, double low, double high, double *out);
bool read_whole(struct load *l, const char *name, const char *unit, uint64_t low, uint64_t high, uint64_t *out);
/* "must be a string, not a number" */
void problem_type(struct load *l, const char *name, const char *wanted);
const char *kind_of(lua_State *L, int index);
/* The first argument as a name; false: a problem was noted. */
bool argument_name(struct load *l, const char *word, const char *example, struct span *out);
/* The names in a table, bytewise, in conf's arena; other keys are a problem. */
struct span *keys_sorted(struct load *l, int index, size_t *count);
struct place place_of_key(struct load *l, struct span key);

/* ---- words, one function each: lua_CFunction */
int word_listen(lua_State *L);
int word_admin(lua_State *L);
int word_provider(lua_State *L);
int word_endpoint(lua_State *L);
int word_default_provider(lua_State *L);
int word_key(lua_State *L);
int word_model(lua_State *L);
int word_use(lua_State *L);
int word_include(lua_State *L);
int word_defaults(lua_State *L);
int word_secret(lua_State *L);
int word_workers(lua_State *L);
int word_memory(lua_State *L);
int word_lua_memory(lua_State *L);
int word_state(lua_State *L);
int word_runtime(lua_State *L);
int word_trusted_proxies(lua_State *L);
int word_log(lua_State *L);
int word_ledger(lua_State *L);
int word_cors(lua_State *L);
int word_env(lua_State *L);
int word_credential(lua_State *L);
int word_file(lua_State *L);
int word_command(lua_State *L);
int word_minutes(lua_State *L);
int word_hours(lua_State *L);
int word_days(lua_State *L);
int word_kb(lua_State *L);
int word_mb(lua_State *L);
int word_usd(lua_State *L);
int word_prices(lua_State *L);

/* ---- secrets.c */
/* The secret at the top of the stack, lent; NULL when it is none, or one that could not be had (*bad). */
struct secret *secret_at(lua_State *L, int index, bool *is);
/* Takes a reference that the conf holds to its end. */
struct secret *secret_kept(struct load *l, struct secret *secret);
/* `key`: one secret or a list. */
bool read_accounts(struct load *l, const struct field *f, void *into);
/* The variable is set. NULL and *why when it cannot be a key. */
struct secret *secret_from_environment(const char *name, const char **why);
struct secret *file_secret(const char *path, bool guarded, const char **why);
enum { COMMAND_MS = 10000 };
/* Output of a program run without a shell; NULL and *why. */
struct secret *command_secret(char *const *arguments, unsigned limit_ms, const char **why);

/* ---- value.c */
bool value_read(struct load *l, int index, struct value *out);
bool money_at(lua_State *L, int index, picodollars *out);

/* ---- price.c */
bool read_price(struct load *l, const struct field *f, void *into);        /* a struct price at f->offset */
bool read_discount(struct load *l, const struct field *f, void *into);     /* millionths, a uint32_t */

/* ---- prices.c */
void prices_finish(struct load *l);                     /* after the providers */

/* ---- quirks.c: fields of a provider that say how it counts, charges and takes a key; into a struct provider_draft */
bool read_auth(struct load *l, const struct field *f, void *into);
bool read_thinking(struct load *l, const struct field *f, void *into);
bool read_reasoning(struct load *l, const struct field *f, void *into);
bool read_limit_name(struct load *l, const struct field *f, void *into);
bool read_dated_names(struct load *l, const struct field *f, void *into);
bool read_price_name(struct load *l, const struct field *f, void *into);
bool header_name_ok(struct span name);                  /* a token of RFC 9110 */

/* ---- defaults.c */
void settings_fill(struct settings *s);
/* Whether `word` is a setting (or one of the words beside them); reads it from the top of the stack. */
bool setting_read(struct load *l, struct span word, struct settings *s);
/* All words that setting_read takes. */
const char *const *setting_names(size_t *count);

/* ---- provider.c, target.c, model.c, use.c, key.c, finish.c: drafts to the conf */
/* The table on top of the stack, names to { window, max_output, reasoning, hidden, price }, into a list in conf's arena. */
bool models_read(struct load *l, const char *what, struct model_data **models, size_t *count);
size_t provider_draft_add(struct load *l, struct span name);
void providers_finish(struct load *l);
void aliases_finish(struct load *l);
void uses_finish(struct load *l);
void keys_finish(struct load *l);
void conf_finish(struct load *l);
void conf_finish_keys(struct load *l);                  /* after keys_only */

/* ---- renew.c: where secrets came from, to read them again */
struct origin {
  struct origin *next;
  const struct secret *secret;
  const char *path;
  char **arguments;
};
void secret_origin(struct load *l, struct secret *secret, const char *path, char *const *arguments);
struct renewal *renewal_of(struct load *l, struct secret *secret, const char *header);   /* NULL: of the environment, or a credential */
/* The same of what signs, each from where it came; session may be NULL. */
struct renewal *renewal_of_signing(struct load *l, struct secret *id, struct secret *key, struct secret *session);
/* Them in one secret. */
struct secret *signing_make(struct span id, struct span key, struct span session);
/* target.c: "authorization: Bearer …\r\n", never outside of memory that is wiped. */
struct secret *auth_line_make(const char *header, struct span key);

/* ---- aws.c: where requests are signed for AWS, or bear a key of Bedrock's */
/* What is written, else what the host tells, else AWS_REGION; empty: none. */
struct span aws_region(struct span own, struct span host);
struct span aws_url(struct load *l, struct span region);
bool aws_in_environment(void);                          /* a key and a region */
void aws_usual_key(struct load *l, struct endpoint_draft *e, bool usual_place);
void aws_accounts(struct load *l, const struct endpoint_draft *e, struct account *accounts);

/* ---- proxy.c */
bool read_proxy(struct load *l, const struct field *f, void *into);       /* a struct proxy_draft */
void proxies_read(struct load *l);                      /* the environment's */

/* ---- cors.c */
void cors_finish(struct load *l);

/* ---- address.c */
bool network_read(struct span text, struct network *out);
bool network_holds(const struct network *n, const struct sockaddr_storage *a);
bool address_local(const struct sockaddr_storage *a);                      /* loopback, or a path */

/* ---- watch.c */
/* Remembers how the file, or the set of files a pattern names, is now: before it is read. */
void watch_add(struct conf *c, struct span path, bool pattern);
void watch_finish(struct conf *c);
/* Files that match, sorted bytewise; count 0 when there are none. In the arena. *why is set when a folder is there and cannot be
   read: what would be in it is not known to be nothing. */
struct span *glob_sorted(struct arena *a, struct span pattern, size_t *count, const char **why);

/* ---- source.c */
const char *error_text(int number);                                        /* of errno; static */
struct span path_folder(struct span path);                                 /* "." when it has none */
struct span path_join(struct arena *a, struct span folder, struct span path);
/* As sources_read, for a path as the process sees it. */
const struct source *sources_read_at(struct sources *s, struct span path, const char **why);
/* Folders that policies are looked for in, in order. */
size_t policy_folders(struct sources *s, struct span out[4]);

/* ---- catalogue.c */
bool catalogue_later(struct span name);                 /* a provider of a later version */

#endif
