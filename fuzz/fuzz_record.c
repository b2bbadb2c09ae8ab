/* The input is a record of the ledger's ring: whatever it is, it is left out whole, or becomes one JSON object that reads back. */
#include <stdlib.h>
#include "../src/store/room.h"
#include "weir/record.h"

#define MUST(cond) do { if (!(cond)) abort(); } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct buf out = { 0 };
  struct json j;
  int64_t sequence = -1;
  char *copy = mem_alloc(size + RECORD_HEAD);             /* what begins well is looked at further */
  memset(copy, 0, RECORD_HEAD);
  copy[0] = RECORD_VERSION;
  if (size) memcpy(copy + RECORD_HEAD, data, size);
  buf_add(&out, SPAN("["));
  bool good = row_write(&out, span_of(copy, size + RECORD_HEAD), &sequence);
  MUST(good || buf_size(&out) == 1);
  if (good) {
    MUST(sequence == 0);
    buf_byte(&out, ']');
    MUST(json_read(buf_span(&out), &j, NULL) && j.type == JSON_ARRAY);
  }
  buf_clear(&out);
  row_write(&out, span_of((const char *)data, size), &sequence);
  buf_free(&out);
  mem_free(copy);
  return 0;
}
