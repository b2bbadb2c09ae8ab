/* again_play.h: a decision that is being run again (again.c), and its judgement of an answer (again_answer.c). */
#ifndef CMD_AGAIN_PLAY_H
#define CMD_AGAIN_PLAY_H

#include "again.h"
#include "weir/policy.h"
#include "weir/tape.h"

struct play {
  struct again *out;
  struct arena *arena;
  const struct ledger_row *row;
  const struct ledger_kept *kept;     /* NULL: not kept, or not whole */
  bool cut;                           /* not whole */
  struct conf *conf;
  struct policy_vm *vm;
  struct policy_req req;
  struct policy_tape tape;
  struct route route;
  struct json_iter failed;            /* of the record, those not met yet */
};
void play_say(struct play *p, struct span text);
/* The hook's decision, with what it read then; lent from *run. */
const struct decision *play_hook(struct play *p, struct policy_run *run, enum hook h, const struct policy_subject *s);
struct span play_denial(struct play *p, const struct decision *d);       /* says it; the outcome */

enum judgement { JUDGED_GOOD, JUDGED_BAD, JUDGED_END };                  /* END: out->outcome says how */
/* on_response over the answer of that attempt, where it was kept. With none, and where nobody judges: GOOD. */
enum judgement play_judge(struct play *p, struct policy_attempt *view);
/* An attempt that failed as `invalid`: says who had refused its answer, when that was it. */
void play_refused(struct play *p, struct span target);

#endif
