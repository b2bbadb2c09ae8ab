/* zone.h: time zones for calendar windows, read from the system's zone files. libc knows one zone per process; a
   budget may have its own. */
#ifndef WEIR_ZONE_H
#define WEIR_ZONE_H

#include "weir/span.h"

struct zone;
/* "Europe/Berlin", as in /usr/share/zoneinfo ($TZDIR). "UTC" needs no file. NULL, and why. Immutable, so any thread may use
   it. */
struct zone *zone_load(struct span name, const char **why);
/* The same of the bytes of a zone file (RFC 8536), for who has them. */
struct zone *zone_read(struct span file, const char **why);
void zone_free(struct zone *z);
/* Seconds east of UTC at that time. z NULL: UTC. */
int32_t zone_offset(const struct zone *z, int64_t unix_seconds);

#endif
