/* foreign.h: what relay.c needs of foreign.c beside gateway.h. */
#ifndef WEIR_GATEWAY_FOREIGN_H
#define WEIR_GATEWAY_FOREIGN_H

#include "gateway.h"

/* The provider's bytes have ended well. True: its dialect has no event for that, and *out is what the client's says now. */
bool foreign_last(struct attempt *a, struct buf *out);
void foreign_head(struct attempt *a);                    /* an answer's head is here: what the client gets of it is said in its own dialect */

#endif
