/* again.h: a decision of the ledger run again: on_request, on_attempt, on_response (of an answer that was kept) and on_failure of the policies,
   with what they read then. */
#ifndef CMD_AGAIN_H
#define CMD_AGAIN_H

#include "weir/conf.h"
#include "weir/ledger.h"

struct again_step { struct again_step *next; struct span text; };
struct again {
  struct arena *arena;                /* of all texts */
  struct again_step *steps, **last;   /* what happened, a line each */
  struct span outcome;                /* "provider/model", or how it ended without one: "denied", "answered", … */
  const char *unjudged;               /* why on_response saw no answer, or not all that it judged then; NULL: it did, or there is none */
  bool chunks;                        /* a stream, and some policy has an on_chunk, which is not run */
  unsigned missing;                   /* readings that were not recorded then */
  bool cut;                           /* not all that was read then was recorded */
};
/* kept: its contents, heeded when they are whole; NULL: they are not there. False: the policies do not load, or no route can be made; *out says why, a line each. */
bool again_run(struct again *out, struct arena *a, struct conf *c, const struct ledger_row *row, const struct ledger_kept *kept);
/* How it was, in the words of `outcome`. */
struct span again_was(const struct ledger_row *row);

#endif
