/* metrics.h: counters and histograms, one shard per thread that counts; reading merges the shards.
   A shard is written by its thread alone and may be read by any (relaxed atomics). */
#ifndef WEIR_METRICS_H
#define WEIR_METRICS_H

#include "weir/dialect.h"

struct metrics;                                          /* one shard */
struct metrics *metrics_new(void);
void metrics_free(struct metrics *m);

/* model: a configured or catalogue name, else "other" (the caller bounds it). status: HTTP status shown to the client, 0 = none
   was sent. */
void metrics_request(struct metrics *m, enum dialect d, struct span model, int status);
void metrics_attempt(struct metrics *m, struct span target, enum fault f);
void metrics_served(struct metrics *m, struct span target, struct span version);   /* weir_served_total{target,version}: the model version that answered; at most 256 versions, else "other" */
void metrics_overhead(struct metrics *m, uint64_t ns);
void metrics_first_event(struct metrics *m, uint64_t ns);
void metrics_streams(struct metrics *m, int change);
void metrics_tokens(struct metrics *m, struct span model, const struct usage *u);
void metrics_spend(struct metrics *m, struct span model, int64_t amount);   /* picodollars */
void metrics_lost(struct metrics *m);                    /* a record that the ledger had no room for */
/* A gauge that its owner keeps at hand, since it moves with every request. state: "idle" "busy". */
int64_t *metrics_connections(struct metrics *m, struct span endpoint, const char *state);
void metrics_move(int64_t *gauge, int change);
void metrics_reload(struct metrics *m, bool accepted);
void metrics_memory(struct metrics *m, const char *kind, int64_t bytes);           /* gauge, set */

/* The exposition of all shards together (Prometheus text 0.0.4), names as INTERFACE 5. */
void metrics_write(struct metrics *const *shards, size_t count, struct buf *out);

#endif
