/* pattern.h: Lua patterns, exactly as Lua 5.4 has them, but a match takes steps from the call's budget and raises when
   they are spent. Character classes are ASCII's, whatever the locale. */
#ifndef LUA_PATTERN_H
#define LUA_PATTERN_H

#include "room.h"

enum { MOST_CAPTURES = 32, KEPT_SETS = 4 };
struct set {
  const char *at, *end;               /* its '[' and what is behind its ']' */
  uint64_t bits[4];                   /* of the bytes in it */
  unsigned char kinds;                /* and the kinds of character in it */
  bool inverted;
};
enum lead { LEAD_UNKNOWN, LEAD_NONE, LEAD_BYTE, LEAD_CLASS, LEAD_SET };
struct pattern {
  lua_State *L;                       /* errors are raised there */
  const char *subject, *subject_end;
  const char *start, *end;            /* of the pattern, without its anchor; a NUL stands at the end of both */
  enum lead lead;                     /* what every match begins with */
  const char *lead_at;
  uint64_t steps;                     /* taken and not yet spent */
  int depth;                          /* recursion left */
  int level;                          /* captures begun */
  struct { const char *at; ptrdiff_t n; } capture[MOST_CAPTURES];
  unsigned set_count;                 /* seen; the last KEPT_SETS are kept */
  struct set sets[KEPT_SETS];
};
enum { CAPTURE_OPEN = -1, CAPTURE_POSITION = -2 };

/* Subject and text must stay where they are. */
void pattern_init(struct pattern *p, lua_State *L, struct span subject, struct span text);
/* Where a match that begins at s ends, or NULL. */
const char *pattern_at(struct pattern *p, const char *s);
/* The first place from s on where a match may begin; past the end of the subject when there is none. */
const char *pattern_skip(struct pattern *p, const char *s);
/* Takes what the matches have used from the budget. */
void pattern_spend(struct pattern *p);

#endif
