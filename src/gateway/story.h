/* story.h: story.c: the ledger as the gateway uses it. */
#ifndef WEIR_STORY_H
#define WEIR_STORY_H

#include "gateway.h"

void story_open(struct gateway *g);                      /* behind the cells */
void story_generation(struct gateway *g, const struct conf *c);          /* its sources and limits are told to it */
void story_metrics(struct gateway *g, struct buf *out);
int64_t story_sequence(struct exchange *x);
size_t story_note(struct exchange *x, char note[CELLS_NOTE]);           /* of a slot of its attempt */
void story_witness(struct exchange *x, uint64_t slot);   /* that of what it reserved is its witness from now on, where there is a ledger */
void story_begin(struct exchange *x);                    /* an attempt is about to be sent */
void story_end(struct exchange *x);                      /* its record is in the ring */
/* Works out x->prompt_hash, while the request's body is still there. False: it begins with no instructions. */
bool story_prompt(struct exchange *x);

#endif
