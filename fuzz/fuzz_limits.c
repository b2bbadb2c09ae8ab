/* The input is the headers of an answer: what it says of its account's limits is nothing, or figures that can be reckoned with, the same
   in any order of lines that do not repeat, and less by the time that passes. */
#include <stdlib.h>
#include "weir/dialect.h"
#include "weir/http.h"

#define MUST(cond) do { if (!(cond)) abort(); } while (0)

static void figure(int64_t left, double reset) {
  MUST(left >= -1 && left < INT64_MAX);
  MUST(reset == -1 || (reset >= 0 && reset <= LIMITS_LONGEST));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct buf head = { 0 };
  struct http_head *h = mem_zero(sizeof *h);
  struct limits_told told = { 0 }, again = { 0 }, later = { 0 };
  buf_add(&head, SPAN("HTTP/1.1 200 OK\r\n"));
  buf_add(&head, span_of((const char *)data, size));
  buf_add(&head, SPAN("\r\n\r\n"));
  size_t scanned = 0, end = http_head_end(buf_span(&head), &scanned);
  if (end && http_read_response(span_of(head.p + head.at, end), SPAN("POST"), h) == HTTP_OK) {
    bool some = limits_read(h, 1700000000, &told);
    figure(told.requests, told.requests_reset);
    figure(told.tokens, told.tokens_reset);
    MUST(some == ((told.requests >= 0 && told.requests_reset >= 0) || (told.tokens >= 0 && told.tokens_reset >= 0)));
    MUST(limits_read(h, 1700000000, &again) == some && !memcmp(&told, &again, sizeof told));
    limits_read(h, 1700000010, &later);
    MUST(later.requests == told.requests && (later.requests_reset <= told.requests_reset || told.requests_reset < 0));
  }
  buf_free(&head);
  mem_free(h);
  return 0;
}
