// links: src/base/span.c
/* A target with a planted bug. When a run does not find it, the fuzzing itself is broken. */
#include <stdlib.h>
#include <stdio.h>
#include "weir/span.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 3 && data[0] == 'b' && data[1] == 'u' && data[2] == 'g') {
    fputs("canary found\n", stderr);
    abort();
  }
  return 0;
}
