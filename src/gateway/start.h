/* start.h: what was said in the start of a stream, as on_response sees it; of one that runs, or of one that was kept. */
#ifndef WEIR_GATEWAY_START_H
#define WEIR_GATEWAY_START_H

#include "weir/policy.h"
#include "weir/sse.h"

struct start;
struct start *start_new(const struct operation_info *o, size_t most);    /* most: as of told_new */
void start_free(struct start *s);                        /* NULL is fine */
/* Adds an event. What is kept of it is in the arena or the start's own; deltas is room. */
void start_event(struct start *s, const struct sse_event *e, const struct event_facts *f, struct delta deltas[DELTA_MOST], struct arena *a,
                 struct arena *scratch);
/* The amounts that were named are all there, or the stream has ended. Time is another matter. */
bool start_met(const struct start *s, const struct hold_wish *w);
/* The fields of *r that it knows; lent from the start and the arena. */
void start_tell(const struct start *s, struct arena *a, struct policy_response *r);

#endif
