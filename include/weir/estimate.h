/* estimate.h: what an attempt may come to before it is sent, and the output limit that makes it so. Pure.
   Input is bounded by the bytes of the body, or by the model's window; output, for streams of models that show all they make, by a first
   step that is extended as they go; else by what the caller asked for, else by a limit that weir sets. */
#ifndef WEIR_ESTIMATE_H
#define WEIR_ESTIMATE_H

#include "weir/conf.h"
#include "weir/price.h"

enum {
  ESTIMATE_STEP = 2048,               /* output tokens that a stream reserves at first, and by which it is extended */
  ESTIMATE_UNKNOWN_OUTPUT = 4096,     /* output limit for a model whose own is not known */
  ESTIMATE_UNKNOWN_WINDOW = 200000,   /* the input of one whose window is not known, when its body does not bound it */
  ESTIMATE_LEAST = 16,                /* output below this is no answer */
};
struct estimate {
  int64_t input, output;              /* tokens, at most */
  picodollars cost;                   /* of both, at most; PRICE_UNKNOWN */
  int64_t most;                       /* output of one choice: as the caller or the model limits it; INT64_MAX: not known */
  bool limit;                         /* weir tells the provider `output` as its limit */
  bool extends;                       /* output is a first step: weir counts along, extends or ends the stream */
  bool hidden;                        /* what was made but not told cannot be counted along */
  struct price_bounds bounds;         /* but input and output */
  int64_t choices;                    /* that share `output` */
};
struct estimate_of {
  const struct operation_info *operation;
  struct request_bounds bounds;
  int64_t asked;                      /* the caller's output limit, -1 none */
  bool stream, reasoning;             /* asked for */
  bool bills_cancelled;               /* the provider charges for what comes after a cancel */
};
void estimate_make(const struct estimate_of *of, const struct model_facts *m, struct estimate *out);
picodollars estimate_cost(const struct estimate *e, const struct price *p);
/* Makes output smaller until cost and tokens fit into what is left, where the output is weir's to choose. false: not above ESTIMATE_LEAST. */
bool estimate_shrink(struct estimate *e, const struct price *p, picodollars cost_left, int64_t tokens_left);
/* What more output costs, beside what the estimate holds. */
picodollars estimate_more(const struct estimate *e, const struct price *p, int64_t output);

#endif
