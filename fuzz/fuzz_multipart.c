/* A form of boundary "b" in which the part "model" is looked for; then its first line as a header
   value whose boundary is used for the rest. */
#include <stdlib.h>
#include "weir/http.h"

#define MUST(cond) do { if (!(cond)) abort(); } while (0)

static struct step find(struct span text, size_t n, struct span boundary, struct buf *value) {
  struct span out = { NULL, 0 };
  char *copy = mem_alloc(n);
  if (n) memcpy(copy, text.p, n);
  struct step s = multipart_find(span_of(copy, n), boundary, SPAN("model"), &out);
  MUST(s.used <= n);
  if (s.kind == STEP_EVENT) {
    MUST(out.p >= copy && out.p + out.n <= copy + n && out.p + out.n == copy + s.used);
    for (struct span rest = out; span_search(rest, boundary) < rest.n; rest = span_from(rest, 1))
      MUST(!span_starts(rest, SPAN("--")) || !span_starts(span_from(rest, 2), boundary));
    buf_add(value, out);
  }
  mem_free(copy);
  return s;
}

/* A growing window says MORE until it says what the whole one says, from then on always. */
static void growing(struct span text, struct span boundary) {
  struct buf whole = { 0 }, part = { 0 };
  buf_reserve(&whole, 1);                          /* so that no span of them is NULL */
  buf_reserve(&part, 1);
  struct step last = find(text, text.n, boundary, &whole);
  bool settled = false;
  for (size_t n = 0; n < text.n; n++) {
    struct step s = find(text, n, boundary, &part);
    MUST(s.kind == STEP_MORE ? !settled : s.kind == last.kind && s.used == last.used);
    if (s.kind == STEP_EVENT) MUST(span_eq(buf_span(&part), buf_span(&whole)));
    if (s.kind != STEP_MORE) settled = true;
    buf_clear(&part);
  }
  buf_free(&whole);
  buf_free(&part);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size > 2048) return 0;                       /* every prefix is fed */
  struct span text = span_of((const char *)data, size), line;
  growing(text, SPAN("b"));
  struct span rest = span_cut(text, '\n', &line);
  struct span boundary = http_param(line, SPAN("boundary"));
  if (rest.p && boundary.p) growing(rest, boundary);
  return 0;
}
