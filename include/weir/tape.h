/* tape.h: what policies read of the world while they decided, so that the decision can be run again: values of weir.shared, budgets and
   limits, the time, the seed of weir.random, what weir.fetch and weir.ask gave; and which answers on_response refused or replaced
   (["reject","provider/model",["policy","why"]], "replace"), since those are kept nowhere. It hangs on the exchange (policy_req.tape) and stands
   in the ledger's record as JSON: [["shared:get","map/key",value],…,"full"], the last word when something found no room.
   Of on_request, on_attempt, on_response and on_failure; on_chunk is called too often, and on_done decides nothing. */
#ifndef WEIR_TAPE_H
#define WEIR_TAPE_H

#include "weir/json.h"
#include "weir/mem.h"

enum { TAPE_MOST = 6144, TAPE_VALUE = 2048, TAPE_PLAYED = 256 };          /* bytes of all; of one value; entries that are looked at */

struct tape_entry { struct tape_entry *next; struct span json; };
struct policy_tape {                  /* zeroed: empty, recording */
  struct arena *arena;                /* the exchange's */
  struct tape_entry *first, *last;
  size_t size;
  bool full;                          /* something is missing: nothing is added any more */
  bool plays;                         /* it was recorded: nothing is read of this world */
  bool seeded;                        /* weir.random was used */
  struct json entries[TAPE_PLAYED];   /* playing: lent */
  bool used[TAPE_PLAYED];
  size_t count;
  unsigned missing;                   /* readings that do not stand on it */
};
struct policy_tape *tape_new(struct arena *a);           /* without room for playing */
void tape_write(const struct policy_tape *t, struct buf *out);           /* as in the record; nothing when it is empty */

/* One that plays. Entries are taken by what was read, in their order. False: it is none. */
bool tape_play(struct policy_tape *t, struct span json);
struct json tape_take(struct policy_tape *t, const char *what, struct span name);        /* JSON_NONE: it was not read then */
/* The same, and what stands before it counts as read: by a hook that is not run again. JSON_NONE: it does not stand there, and nothing changes. */
struct json tape_skip(struct policy_tape *t, const char *what, struct span name);

/* json: a valid value. Longer ones than TAPE_VALUE make the tape full. */
void tape_keep(struct policy_tape *t, const char *what, struct span name, struct span json);

#endif
