/* state.h: between exchange.c, whose switch runs the states, and the files that hold some of them. A state's function says whether the
   switch goes on. */
#ifndef WEIR_GATEWAY_STATE_H
#define WEIR_GATEWAY_STATE_H

#include "exchange.h"

bool state_failed(struct exchange *x);                   /* failed.c */
bool state_on_failure(struct exchange *x);
bool state_backoff(struct exchange *x);
/* Nothing more is tried: the client gets the provider's own refusal, or the first fault and what was tried, or `why`. Always false. */
bool exchange_give_up(struct exchange *x, struct span why);

void exchange_drop_attempt(struct exchange *x);          /* the one under way */
bool exchange_hook(struct exchange *x, enum hook h, const struct policy_subject *s);     /* false: its policies wait, or the exchange has ended */
bool exchange_denied(struct exchange *x);                /* by the hook that has just run; refused and ended */

#endif
