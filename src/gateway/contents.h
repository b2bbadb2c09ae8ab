/* contents.h: what was asked and answered, where weir.lua says that it is kept. */
#ifndef WEIR_CONTENTS_H
#define WEIR_CONTENTS_H

#include "gateway.h"

void contents_begin(struct exchange *x);                 /* while its request is there; later calls do nothing */
void contents_end(struct exchange *x);                   /* to the store */

#endif
