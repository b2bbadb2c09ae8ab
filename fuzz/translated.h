/* translated.h: what must hold of any answer and any stream that is said in another dialect, for the targets that do so. */
#ifndef FUZZ_TRANSLATED_H
#define FUZZ_TRANSLATED_H

#include "weir/translate.h"

/* What comes out of a whole answer is taken by the client's own reader, or there is a reason why nothing does. */
void answer_translated(const struct operation_info *from, const struct operation_info *to, struct span body, const struct translate_names *names);
/* A stream is the same given at once and `step` bytes at a time, and in order whatever came. */
void stream_translated(const struct operation_info *from, const struct operation_info *to, struct span bytes, size_t step, const struct translate_names *names);

#endif
