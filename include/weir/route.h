/* route.h: from a model name to what is tried, in order. Pure: time and chance are arguments. */
#ifndef WEIR_ROUTE_H
#define WEIR_ROUTE_H

#include "weir/conf.h"

enum { ROUTE_MOST_TARGETS = 16 };

/* A model name with its provider; endpoint and account are picked per attempt. */
struct candidate {
  struct provider *provider;
  struct span model;                  /* as the provider knows it */
  struct span name;                   /* "provider/model" */
};
struct route {
  struct alias *alias;                /* NULL when no alias was asked */
  struct candidate candidates[ROUTE_MOST_TARGETS];
  size_t count;
  uint32_t next_on;                   /* bit per enum fault: go on to the next candidate */
};
/* INTERFACE 2: alias; provider/model; whole name at the default provider (on another dialect's path: the first
   provider of that dialect). NULL is success; else a message for the caller that names the nearest known names,
   in the arena. *status: 404, or 400 when the provider's dialect cannot serve the operation. Of an alias those
   targets are taken that can serve it. Names in *out are lent from the conf and from `model`. */
const char *route_model(const struct conf *c, const struct operation_info *o, struct span model, struct arena *a,
                        struct route *out, int *status);
/* The same message for a caller with that key: it names only what the key may use. NULL: any key. */
const char *route_unknown(const struct conf *c, const struct operation_info *o, struct span model, const struct key *k,
                          struct arena *a);
/* A policy's list of "provider/model" names (or one alias). A name that has a '/' must start with a configured
   provider here: it is written by who knows them. next_on is the alias's or the default. */
const char *route_names(const struct conf *c, const struct operation_info *o, const struct span *names, size_t count,
                        struct arena *a, struct route *out, int *status);
/* The provider for a path without a model: default_provider, or the first one of that dialect (chat and
   responses are one here); NULL when there is none. For chat, which is also the guess for a request that does
   not say, any default_provider. */
struct provider *route_provider(const struct conf *c, enum dialect d);

struct target {
  struct provider *provider;
  struct endpoint *endpoint;
  struct account *account;
  struct span model, name;
};
/* What a worker remembers of accounts and endpoints that just refused, so that the next pick goes elsewhere.
   Names are kept, not pointers, so it outlives a reload; at most 1024 at a time. */
struct health;
struct health *health_new(void);
void health_free(struct health *h);
/* The target (this model at this account of this endpoint) answered 429 with retry-after: avoid it until then,
   when there is another. A later `until` wins. */
void health_avoid(struct health *h, const struct target *t, uint64_t now_ms, uint64_t until_ms);
/* The same for all accounts and models of the target's endpoint: it could not be reached. */
void health_avoid_endpoint(struct health *h, const struct target *t, uint64_t now_ms, uint64_t until_ms);
void health_good(struct health *h, const struct target *t);           /* both are forgotten */
/* What an answer of the target said of its account's limits, and that a request of about so many tokens went there since: a target
   without room is avoided before it answers 429. At most 512 are remembered. */
void health_told(struct health *h, const struct target *t, uint64_t now_ms, const struct limits_told *l);
void health_sent(struct health *h, const struct target *t, uint64_t now_ms, int64_t tokens);
/* Weighted pick among the candidate's endpoints and their accounts, leaving out the avoided and those without room for a request of
   so many tokens when another is left; when none is, the one that is avoided for the shortest time. h may be NULL. chance: a uniform
   random number. */
void route_pick(const struct candidate *c, const struct health *h, int64_t tokens, uint64_t now_ms, uint64_t chance,
                struct target *out);
/* When the first of the candidate's accounts has room again, where none has now; 0: one has. */
uint64_t route_short(const struct candidate *c, const struct health *h, int64_t tokens, uint64_t now_ms);
bool route_avoided(const struct candidate *c, const struct health *h, uint64_t now_ms);   /* all of them are */
/* What is worth another target: the retryable faults, and those about weir's own account (auth, quota). */
uint32_t route_default_next_on(void);
/* Backoff before try n (from 1): full jitter over base 0.25 s doubling to 8 s; chance uniform. Milliseconds. */
uint64_t route_backoff_ms(unsigned n, uint64_t chance);

#endif
