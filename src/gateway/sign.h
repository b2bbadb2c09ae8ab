/* sign.h: requests to providers whose account signs them (SigV4). */
#ifndef WEIR_GATEWAY_SIGN_H
#define WEIR_GATEWAY_SIGN_H

#include "gateway.h"

/* Adds date, session token and signature to a head that is complete but for them and its last line. path: where path and query stand in
   it, as they are sent. parts: the body. Nothing for accounts that do not sign. */
void sign_head(struct exchange *x, const struct attempt *a, size_t path_at, size_t path_end, const struct iovec *parts, int count, struct buf *head);

#endif
