/* foreign.h: an attempt at a provider that speaks another dialect than the client. */
#ifndef WEIR_GATEWAY_FOREIGN_H
#define WEIR_GATEWAY_FOREIGN_H

#include "gateway.h"

void foreign_begin(struct attempt *a);                   /* sets a->foreign where the provider speaks another dialect */
const struct operation_info *foreign_operation(const struct attempt *a);  /* what the provider is asked */
bool foreign_translate(struct attempt *a, struct span body, struct translating *t);   /* into a->body; false: it cannot be said, t tells */
bool foreign_answer(struct attempt *a, const char **why);                /* a whole one, in a->window */
void foreign_feed(struct attempt *a, struct span data);  /* bytes of a stream. The attempt may be gone behind it */
void foreign_facts(const struct attempt *a, struct event_facts *f);      /* of an event in the client's dialect: what the provider knew better */
void foreign_free(struct foreign *f);                    /* NULL is fine */
/* The provider has said that it is at its end, and the client has all of it, in a dialect without an event for that. */
bool foreign_ended(const struct attempt *a);
/* The provider's bytes have ended well. True: its dialect has no event for that, and *out is what the client's says now. */
bool foreign_last(struct attempt *a, struct buf *out);
void foreign_head(struct attempt *a);                    /* an answer's head is here: what the client gets of it is said in its own dialect */

void foreign_widen(const struct attempt *a, struct estimate *e);         /* where the provider will be asked for more output than the client asked for */

#endif
