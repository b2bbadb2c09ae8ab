/* The input is a zone file. Whatever is taken as one gives offsets, days and months for any time that weir may live in. */
#include <stdlib.h>
#include "../src/cells/room.h"

#define MUST(cond) do { if (!(cond)) abort(); } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *why = NULL;
  struct zone *z = zone_read(span_of((const char *)data, size), &why);
  if (!z) MUST(why);
  for (int64_t t = 1500000000; z && t < 5000000000; t += 123456789) {
    int64_t start, end;
    zone_offset(z, t);
    for (enum window_kind k = WINDOW_DAY; k <= WINDOW_MONTH; k++) {
      window_bounds(&(struct cell_window){ k, 0, z }, t * 1000, &start, &end);
      MUST(end >= start);
    }
  }
  zone_free(z);
  return 0;
}
