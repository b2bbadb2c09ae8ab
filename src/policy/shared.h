/* shared.h: maps that all workers and generations of the process see. Bounded in entries and bytes: the entry
   that was not used for longest goes first. Safe from any thread; nothing here raises or waits. */
#ifndef POLICY_SHARED_H
#define POLICY_SHARED_H

#include "weir/mem.h"

enum { SHARED_ENTRIES = 10000, SHARED_BYTES = 64 << 20, SHARED_LONGEST_KEY = 1024, SHARED_LONGEST_VALUE = 64 << 10 };
enum shared_type { SHARED_NONE, SHARED_BOOL, SHARED_INT, SHARED_NUM, SHARED_STRING };
struct shared_value {
  enum shared_type type;
  bool b;
  int64_t i;
  double d;
  struct span s;
};
struct shared_map;
struct shared_map *shared_map_of(struct span name);      /* made when there is none; NULL: too many. Never freed, but in a world */
struct span shared_name(const struct shared_map *m);
void shared_configure(struct shared_map *m, size_t entries, double ttl);   /* the newest word counts; ttl 0: none */
/* A string's bytes are appended to *text. `now` is unix seconds. ttl: -1 the map's, 0 none. */
bool shared_get(struct shared_map *m, struct span key, double now, struct shared_value *out, struct buf *text);
void shared_set(struct shared_map *m, struct span key, const struct shared_value *v, double now, double ttl);
/* Atomic. An absent entry counts as 0 and begins its ttl; later additions do not prolong it. */
enum shared_added { SHARED_ADDED, SHARED_NO_INTEGER, SHARED_OVERFLOW };
enum shared_added shared_add(struct shared_map *m, struct span key, int64_t n, double now, double ttl, int64_t *sum);
/* From here on this thread finds maps of its own, until the end, when they are freed: nothing may hold one then. */
void shared_world_begin(void);
void shared_world_end(void);
bool shared_delete(struct shared_map *m, struct span key, double now);

#endif
