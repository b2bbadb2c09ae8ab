/* health.h: what pick.c asks of health.c. */
#ifndef ROUTE_HEALTH_H
#define ROUTE_HEALTH_H

#include "weir/route.h"

/* Until when the target is avoided; 0: it is not. */
uint64_t health_until(const struct health *h, const struct target *t, uint64_t now_ms);
/* Until when a limit of its account has not room enough for a request of so many tokens; 0: it has, or nothing is known. */
uint64_t health_short(const struct health *h, const struct target *t, int64_t tokens, uint64_t now_ms);

#endif
