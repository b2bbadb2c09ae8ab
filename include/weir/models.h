/* models.h: what the process learns of models while it serves: how their tokens are counted, which are gone. Shared by all workers,
   kept by name ("provider/model") over reloads. All of it is a guess that gets better, or a memory that may be wrong: nothing here may
   make a reservation smaller. */
#ifndef WEIR_MODELS_H
#define WEIR_MODELS_H

#include "weir/measure.h"

enum {
  MODELS_MOST = 512,                  /* names that are kept; what comes behind them is not learned of */
};
struct token_count {
  int64_t tokens;                     /* most likely */
  int64_t least;                      /* hardly fewer */
};
void models_count(struct span name, const struct request_measure *m, struct token_count *out);
/* Whether a request is worth measuring: all of a model's first ones, later some. Not thread-safe to the digit, and need not be. */
bool models_learns(struct span name);
/* What the provider says a request of that measure had as input. */
void models_learn(struct span name, const struct request_measure *m, int64_t reported);
/* Input that a provider reported beyond the bound of the body's bytes: its own prompt around it. The most of the newest times. */
void models_beyond(struct span name, int64_t tokens);
int64_t models_own_tokens(struct span name);
/* The provider says that it does not know the model. True when that is news. */
bool models_vanished(struct span name);
void models_back(struct span name);   /* it has answered after all */
enum models_told { MODELS_DEPRECATED, MODELS_UNKNOWN };
bool models_tell(struct span name, enum models_told what);    /* true the first time */
/* weir_estimate_error_ratio{model}, weir_model_state{model,state} */
void models_metrics_write(struct buf *out);
/* Until the next call this thread neither learns nor knows: for tests of policies that run beside a gateway at work. */
void models_apart(bool apart);

#endif
