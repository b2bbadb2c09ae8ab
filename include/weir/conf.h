/* conf.h: weir.lua as an immutable struct. Loaded by one thread, read by all, dropped with the last
   reference. Everything in it lives in its arena. */
#ifndef WEIR_CONF_H
#define WEIR_CONF_H

#include <sys/socket.h>

#include "weir/dialect.h"
#include "weir/keys.h"
#include "weir/log.h"
#include "weir/price.h"
#include "weir/secret.h"
#include "weir/translate.h"
#include "weir/url.h"

struct tls_trust;
struct vm;

/* Clocks and bounds of `defaults`; the same words may stand in provider and model, the nearest wins
   (model, provider, defaults). Seconds or bytes or counts, all as double. */
enum setting {
  SET_CONNECT, SET_TLS, SET_HEAD, SET_FIRST_EVENT, SET_FIRST_EVENT_REASONING, SET_BETWEEN_EVENTS, SET_TOTAL,
  SET_HOLD_HEAD, SET_IDLE_POOL, SET_QUEUE, SET_DRAIN, SET_HEADER_TIME, SET_CLIENT_IDLE, SET_MAX_HEAD, SET_MAX_BODY,
  SET_HOLD_ANSWER, SET_MAX_ANSWER, SET_WARM,
  SET_LOSS,                           /* loss: 0 "tell", 1 "strict" */
  SET_BUDGET,                         /* budgets: tokens of thinking for each effort, from minimal to max */
  SET_BUDGET_LAST = SET_BUDGET + TRANSLATE_BUDGETS - 1,
  SET_COUNT
};
struct settings {
  double value[SET_COUNT];
  uint32_t given;                     /* bit per setting: stands here */
};
extern const char *const setting_words[SET_COUNT];

/* A Lua value of weir.lua that a policy gets as its options: plain data, no functions. */
enum value_type { VALUE_NIL, VALUE_BOOL, VALUE_INT, VALUE_NUM, VALUE_STRING, VALUE_TABLE, VALUE_MONEY };
struct value {
  enum value_type type;
  bool b;
  int64_t i;                          /* INT, MONEY (picodollars) */
  double d;
  struct span s;
  struct value_pair *pairs;           /* TABLE, in the order: 1..n, numbers, strings bytewise */
  size_t count;
};
struct value_pair { struct value key, value; };

/* Files as they were read for this load: each once, so that all states are built from the same bytes. */
struct source {
  struct source *next;
  struct span path, bytes;
};
struct sources {
  struct arena arena;
  struct source *list;
  struct span folder;                 /* of weir.lua; "" when there is none */
};
/* NULL and *why when the file cannot be read. Relative paths are below the folder. */
const struct source *sources_read(struct sources *s, struct span path, const char **why);
/* Finds and reads policy NAME: policies/NAME.lua beside weir.lua, then the shipped folder
   ($WEIR_POLICIES, /usr/share/weir/policies, ../policies beside the binary's folder). */
const struct source *sources_policy(struct sources *s, struct span name, const char **why);

/* An HTTP proxy on the way to a provider. */
struct proxy {
  const char *host;                   /* IPv6 without its brackets */
  uint16_t port;
  struct span name;                   /* "host:port" */
  struct secret *auth_line;           /* "proxy-authorization: Basic …\r\n"; NULL: none */
  struct span key;                    /* equal for those that can share connections; tells no secret */
  const char *bad;                    /* of the environment: why it cannot be used; NULL: it can */
};

struct account {
  unsigned index;
  struct secret *key;                 /* NULL: none (a local server) */
  struct secret *auth_line;           /* "authorization: Bearer …\r\n" or "x-api-key: …\r\n", ready to send, as it was loaded */
  bool signs;                         /* SigV4: auth_line is none to send, but what it signs with (account_signing) */
  struct renewal *renewal;            /* where its key came from, when that is a file or a program; else NULL */
};
struct endpoint {
  struct url url;                     /* path is the base, "/v1" */
  struct span text;                   /* as written */
  struct span host_header, host_line; /* line: what ends the request line, and the host's: " HTTP/1.1\r\nhost: …\r\n" */
  struct span tls_name;               /* name the certificate must carry; the host by default */
  struct span ca;                     /* PEM path; empty: system roots */
  struct span region;                 /* converse: where it is signed for */
  bool deployments;                   /* Azure's classic paths: …/deployments/MODEL/chat/completions?api-version= */
  unsigned weight;                    /* ≥ 1 */
  struct account *accounts;           /* its own, or the provider's */
  size_t account_count;
  const struct proxy *proxy;          /* NULL: direct */
  struct span pool_key;               /* equal for those that can share connections: scheme, host, port, TLS name, CA, proxy */
  struct tls_trust *trust;            /* attached by the gateway before the conf is published; it holds the reference */
};
struct model_data {                   /* provider { models = { ["gpt-5"] = {…} } } */
  struct span name;
  int64_t window, max_output;         /* 0: not given */
  int8_t reasoning, hidden;           /* 1, 0, -1: not given */
  int8_t responses;                   /* served in the dialect responses alone: 1; 0: in chat; -1: not given */
  struct price price;                 /* count 0: not given */
  struct abilities able;
  int32_t deprecated;                 /* 20260514; 0: not given */
  struct span region;                 /* where it runs; empty: where its endpoints say */
};
struct provider {
  struct span name, others;           /* others: "name/other", all its models that nobody has listed */
  enum dialect dialect;
  bool catalogue;                     /* known by name */
  struct endpoint *endpoints;
  size_t endpoint_count;
  struct http_header *headers;        /* added to each request */
  size_t header_count;
  struct http_header when_absent;     /* added when the client sent none of that name; name empty: none */
  struct model_data *models;
  size_t model_count;
  struct price price;                 /* of all its models that have none of their own; count 0: not given */
  uint32_t discount;                  /* its own factor on all prices, in millionths */
  struct price worst;                 /* what a model without a price is taken to cost; count 0: such a model has no price */
  const struct catalogue_quirks *quirks;   /* never NULL; the catalogue's with what weir.lua says of it */
  const char *auth_header;            /* how a key is sent, as in the catalogue */
  struct span auth_name;              /* the header's name alone */
  int8_t usage_option;                /* 1, 0, -1: as its quirks say */
  struct settings settings;
  unsigned number;                    /* place in conf->providers */
};
struct alias {                        /* model "alias" { … } */
  struct span name;
  struct span *targets;               /* "provider/model", checked to exist */
  size_t target_count;
  uint32_t next_on;                   /* bit per enum fault; 0: the default set */
  double latency_budget;              /* seconds over all attempts; 0: none but `total` */
  double max_price_factor;            /* a later target may cost at most so many times what the first does; 0: no matter */
  struct settings settings;
};
struct use {
  struct span policy, name;           /* name: `as`, or the policy's own */
  struct value options;               /* TABLE */
  const struct source *source;
  unsigned line;                      /* in weir.lua */
  struct span file;
};
struct auth_secret {                  /* secret "judge" { env …, host = … } */
  struct span name, host;
  struct secret *secret;
};
struct listener {
  struct span spec;
  bool open;                          /* never asks for a key */
  bool local;                         /* loopback, or a path */
};
struct network { unsigned char ip[16]; unsigned bits; };   /* v4 as v4-mapped */

/* What a request to a model without a known price meets where a budget is to be charged. */
enum unpriced { UNPRICED_REFUSE, UNPRICED_WORST, UNPRICED_PASS };
struct prices {
  struct price_table shipped, file;   /* names of shipped: "openai/gpt-5" */
  struct span shipped_from;           /* "built in", or the file policies/prices.lua that was read instead */
  struct span dated;                  /* of the shipped table: "2026-08-01" */
  struct span path;                   /* of the file; empty: none is named */
  int64_t modified;                   /* unix time of its last change */
  size_t priced, odd_count;           /* models with a price in it; lines in odd */
  struct span odd;                    /* "NAME: what", one a line */
  double max_age;                     /* seconds; 0: not watched */
  enum unpriced unpriced;
};

enum contents_scope { CONTENTS_TEAM, CONTENTS_KEY, CONTENTS_USER, CONTENTS_MODEL, CONTENTS_SCOPES };
/* Records of exchanges. AUTO: where `state` can be written; else weir warns and keeps none. */
enum ledger_mode { LEDGER_AUTO, LEDGER_OFF, LEDGER_ON };
struct ledger_conf {
  enum ledger_mode mode;
  double keep;                        /* seconds */
  uint64_t max_size;                  /* bytes */
  /* Whose requests and answers are kept too: patterns as of key { models }. None: nobody's. */
  struct contents_conf {
    struct span *names[CONTENTS_SCOPES];
    size_t counts[CONTENTS_SCOPES];
    double keep;                      /* seconds */
    uint64_t size;                    /* bytes of each request, and of each answer */
    bool any;                         /* one of them is given */
  } contents;
};

struct conf {
  int refs;
  struct arena arena;
  struct sources sources;
  char hash[65];                      /* of all sources, hex: names the generation */
  struct span file;                   /* "" when started without one */
  struct listener *listeners;
  size_t listener_count;
  struct listener admin;
  struct secret *admin_token;
  struct provider *providers;
  size_t provider_count;
  struct provider *default_provider;  /* NULL: first of the path's dialect */
  struct alias *aliases;
  size_t alias_count;
  struct use *uses;
  size_t use_count;
  struct auth_secret *secrets;
  size_t secret_count;
  struct keys keys;
  struct prices prices;
  struct settings defaults;           /* all given */
  unsigned workers;                   /* 0: cores */
  uint64_t memory, lua_memory;        /* 0: default */
  struct span state_dir, runtime_dir;
  struct network *trusted;
  size_t trusted_count;
  bool trusted_unix;                  /* "unix" stands among them: whoever comes over a path */
  struct span *origins;               /* cors: as browsers write them; "*" stands alone */
  size_t origin_count;
  bool any_origin;
  const struct proxy *proxy_http, *proxy_https;          /* of the environment; NULL: none */
  struct span proxy_none;             /* $NO_PROXY */
  struct ledger_conf ledger;
  bool pass_on_store_loss;            /* on_store_loss = "pass": budgets are counted without the store while it is lost */
  enum log_level log_level;
  struct span access_log;             /* "stdout", "stderr", "off" or a path */
  struct watched *watched;            /* private: what conf_files_changed looks at */
  uint64_t fingerprint;               /* of those, as they were when they were read */
};

/* file NULL: the search order ($WEIR_CONFIG, ./weir.lua, /etc/weir/weir.lua), and with none found the providers
   whose key variables are set. On failure NULL and messages "file:line: reason" one a line in *errors; warnings
   go to *warnings. It may take seconds (`command` secrets): never on a worker. */
struct conf *conf_load(const char *file, struct buf *errors, struct buf *warnings);
/* The same for one that takes the place of `running`. A listener off loopback that is not open and for which there is
   no key is an error at the start; where the running one has keys it is a warning, since a load that takes the last one
   away must not fail: the key would stay good. */
struct conf *conf_reload(const char *file, const struct conf *running, struct buf *errors, struct buf *warnings);
/* For commands that look back: no secret is read and no program run, so it loads without the environment that weir runs in.
   Never to serve with. */
struct conf *conf_load_story(const char *file, struct buf *errors);
/* Only keys, listeners, file and runtime_dir; all other words are passed over, so that no secret is asked for and
   nothing is run. For commands about keys. A file is needed. */
struct conf *conf_load_keys(const char *file, struct buf *errors);
/* The file that would be loaded for --config `given` (NULL: the search order); NULL when there is none. */
const char *conf_find(const char *given);
/* The runtime directory of a configuration that names none. */
struct span conf_default_runtime(struct arena *a);
/* A folder named in the weir.lua at `file`, as an absolute path. */
struct span conf_folder_path(struct arena *a, const char *file, struct span folder);
struct conf *conf_ref(struct conf *c);
void conf_drop(struct conf *c);
/* For --watch: whether its files (weir.lua, included ones, policies, secret files) or the set an include names
   differ from *fingerprint, which is then set to what they are now. Zero stands for what was read at the load.
   So a caller that polls gets true once per change, and the files are quiet while it gets false. */
bool conf_files_changed(const struct conf *c, uint64_t *fingerprint);

/* The environment's proxy for a URL by the usual rules ($HTTPS_PROXY, $HTTP_PROXY, $ALL_PROXY, $NO_PROXY); NULL: none.
   Loopback has none. It may be one that cannot be used (`bad`): then the URL must not be asked for directly either. */
const struct proxy *conf_proxy(const struct conf *c, const struct url *u);
/* The header line to send now: that of the newest reading. It lives as long as the conf; NULL: none. */
const struct secret *account_line(const struct account *a);
/* Of an account that signs: the parts of its line. Lent by it. */
struct signing { struct span id, key, session; };        /* session empty: none */
struct signing account_signing(const struct secret *line);
/* What is asked of an endpoint for a model, behind its base: "/chat/completions", "/deployments/MODEL/chat/completions". */
void endpoint_path(const struct endpoint *e, const struct operation_info *o, struct span model, bool stream, struct buf *out);
/* A provider refused it (401; 403 where that is said of keys). Begin gives true to one caller a minute, who then has a thread call account_renew, which blocks
   and says whether the key is another one (else *why it could not be read, or NULL), or calls account_renew_end. */
bool account_renew_begin(const struct account *a, uint64_t now_ms);
bool account_renew(const struct account *a, const char **why);
void account_renew_end(const struct account *a);
bool account_renews(const struct account *a);            /* it is being read */
struct provider *conf_provider(const struct conf *c, struct span name);
struct alias *conf_alias(const struct conf *c, struct span name);
/* The nearest of alias (may be NULL), provider (may be NULL), defaults. */
double conf_setting(const struct conf *c, const struct alias *a, const struct provider *p, enum setting s);
/* A listener's spec as an address: "127.0.0.1:8080", "[::1]:8080", "localhost:8080", "unix:/path". false: *why says
   what is wrong. */
bool conf_address(struct span spec, struct sockaddr_storage *out, socklen_t *size, const char **why);
bool conf_trusts(const struct conf *c, const struct sockaddr_storage *peer);
/* Whether who comes in at a listener must have a key: unless it is open, off loopback always, on loopback once there is
   any key. bound: as it was when it was opened; what the configuration says of that address now goes before it. */
bool conf_asks(const struct conf *c, const struct listener *bound);
/* What needs a restart between two configurations ("listen, workers"), into *out; false when nothing. */
bool conf_restart_needed(const struct conf *running, const struct conf *next, struct buf *out);

/* ---- the catalogue */
struct catalogue_provider {
  const char *name, *url, *key_variable;
  const char *auth_header;            /* "authorization" (Bearer), "x-api-key", "api-key"; "name: scheme" for another scheme */
  enum dialect dialect;
  const char *extra_header;           /* "anthropic-version: 2023-06-01" when the client sent none; NULL */
  const struct catalogue_quirks *quirks;
};
/* What must be known of a provider to count and charge rightly. */
enum thinking { THINKING_HIDDEN, THINKING_SHOWN, THINKING_WHEN_ASKED };  /* of reasoning models: kept back, sent, kept back if asked for */
struct catalogue_quirks {
  const char *price_name;             /* how LiteLLM's file calls it; NULL: only by its own name */
  enum reasoning_rule reasoning;
  enum thinking thinking;
  bool usage_option;                  /* takes stream_options.include_usage */
  bool old_limit_name;                /* its chat knows `max_tokens` alone */
  bool new_limit_name;                /* its chat may insist on `max_completion_tokens`; neither: it takes either name */
  bool short_completions;             /* its /v1/completions makes 16 tokens unless told otherwise */
  bool usage_always;                  /* streams tell their usage unasked */
  bool tells_cost;                    /* what its usage says it cost is what it charges */
  bool bills_cancelled;               /* goes on and charges when the connection is closed (or it is not known to stop) */
  bool free;                          /* runs on machines of one's own: no price per token */
  bool local;                         /* a server of one's own: works without a key, and is used only where weir.lua names it */
  bool deployments;                   /* with an api_version the model stands in the path (Azure) */
  bool proven;                        /* recorded answers of it go through weir's tests; else its row is what it says of itself */
  const char *url_form;               /* it has no url of its own: how the user's looks; NULL */
  bool dated_dashes, dated_digits;    /* "-2025-08-07", "-20250929" behind a name are the same model at the same price */
};
extern const struct catalogue_quirks catalogue_no_quirks;                /* of a provider that is not in the catalogue */
const struct catalogue_provider *catalogue_provider(struct span name);
const struct catalogue_provider *catalogue_at(size_t i);                /* NULL at the end */

/* ---- what is known of a model */
enum price_source { PRICED_NOT, PRICED_MODEL, PRICED_PROVIDER, PRICED_FILE, PRICED_SHIPPED, PRICED_FREE, PRICED_WORST };
struct model_facts {
  struct price price;                 /* count 0: unknown. With the provider's discount; rates lent from the conf */
  enum price_source source;           /* WORST: it is unknown, and taken for the dearest (prices { unpriced = "worst" }) */
  struct span priced_as;              /* FILE, SHIPPED: the entry's name there */
  int64_t window, max_output;         /* 0 unknown */
  int8_t reasoning;                   /* 1, 0, -1 unknown */
  struct abilities able;
  int32_t deprecated;                 /* the day its provider ends it, 20260514; 0 unknown */
  struct span region;                 /* lent from the conf */
  enum thinking thinking;             /* of a model whose output is all visible: SHOWN */
  int8_t responses;                   /* 1, 0, -1 unknown */
  enum dialect dialect;               /* in which its provider serves it to clients of chat and messages */
};
/* The price is the first of: the model's own in weir.lua, the provider's, the file's, the shipped table's; then those of its family, by
   the provider's rules for dated names. Sizes and reasoning are each the first that is known. No allocation. */
void conf_model(const struct conf *c, const struct provider *p, struct span model, struct model_facts *out);
/* Whether tokens may be charged that the client never sees. */
static inline bool model_hides(const struct model_facts *m, bool reasoning_asked) {
  return m->thinking == THINKING_HIDDEN || (m->thinking == THINKING_WHEN_ASKED && reasoning_asked);
}
/* Settles the last usage of an attempt: adds reasoning that the provider counts apart (u changes), takes the provider's own word on
   the cost where it is known to be good, else prices it. PRICE_UNKNOWN when nothing does. */
picodollars conf_cost(const struct provider *p, const struct model_facts *m, struct usage *u, int64_t now);
/* What of that is charged beside tokens, as price_fees; 0 where the provider says the cost as one. */
picodollars conf_fees(const struct provider *p, const struct model_facts *m, const struct usage *u, int64_t now);
static inline bool provider_takes_usage_option(const struct provider *p) {
  return p->dialect == DIALECT_CHAT && (p->usage_option >= 0 ? p->usage_option : p->quirks->usage_option);
}
/* "prices 'x.json' are 40 days old, older than max_age (30 days)" into *out; false when they are not. */
bool conf_prices_old(const struct conf *c, int64_t now, struct buf *out);

/* "unknown field 'modle'; did you mean 'model'?" into *out; with none that is near, the known words. */
void unknown_word(struct buf *out, const char *what, struct span word, const char *const *known, size_t count);

#endif
