/* A target with a planted bug. When a run does not find it, the fuzzing itself is broken: no feedback, or runs that do
   not happen. Three bytes at once are out of reach of blind trying in a second, and near for one that is led. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 3 && data[0] == 'b' && data[1] == 'u' && data[2] == 'g') {
    fputs("canary found\n", stderr);
    abort();
  }
  return 0;
}
