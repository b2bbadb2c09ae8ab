/* fit.h: whether a model can take a request, before it is sent; and what is learned of models from what came back. */
#ifndef GATEWAY_FIT_H
#define GATEWAY_FIT_H

#include "gateway.h"

/* Of the chain, those that lack nothing that the request needs, as far as is known, go first; where there are none the providers
   decide, but of those whose window it is surely beyond. False: of all of them; refused and ended. */
bool fit_chain(struct exchange *x);
/* count_tokens, or input_tokens, for a model whose provider has no such route: answered by weir's own count. False: it has, or the model is not known. */
bool fit_count(struct exchange *x);
void fit_begin(struct attempt *a);                       /* about to be sent: measured, where there is something to learn */
void fit_told(struct attempt *a, const struct usage *u); /* it has ended, and the provider told its usage */
/* What the provider was seen to put around requests of this model is reserved too. */
void fit_widen(const struct attempt *a, struct estimate *e);
void fit_failed(struct exchange *x, const struct attempt *a);

#endif
