/* match.h: many needles in one pass (Aho-Corasick over bytes). The automaton is immutable after
   match_new; the place in it is the caller's, so that a needle split over feeds is still found. */
#ifndef WEIR_MATCH_H
#define WEIR_MATCH_H

#include "weir/span.h"

struct match;
struct match *match_new(const struct span *needles, size_t count);  /* NULL when empty or over 1 MB of needles */
void match_free(struct match *m);
/* Feeds bytes; *state starts at 0. Gives the index of the needle that ended first, or -1, and in
   *end the number of bytes of `in` used up to its last byte (in.n when none). */
long match_feed(const struct match *m, uint32_t *state, struct span in, size_t *end);

#endif
