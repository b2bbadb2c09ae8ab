/* step.h: what every incremental parser of weir answers.
   A parser is fed lent bytes and tells how many it used; it neither allocates nor reads nor closes.
   Spans in its output point into the bytes just fed. BAD is sticky. */
#ifndef WEIR_STEP_H
#define WEIR_STEP_H

#include "weir/span.h"

enum step_kind { STEP_MORE, STEP_EVENT, STEP_DONE, STEP_BAD };
struct step {
  enum step_kind kind;
  size_t used;
};

#endif
