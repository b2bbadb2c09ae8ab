/* The first byte is the framing, the next two say how the input is cut, the rest is the body. */
#include <stdlib.h>
#include "weir/http.h"

#define MUST(cond) do { if (!(cond)) abort(); } while (0)

struct outcome {
  enum step_kind kind;
  size_t used;
  struct buf data;
  bool may_end;
};

/* Feeds pieces of first, then step, then first … bytes. */
static struct outcome feed(const struct http_head *head, struct span text, size_t first, size_t step) {
  struct outcome o = { .kind = STEP_MORE };
  struct http_body b;
  struct span out;
  http_body_init(&b, head);
  buf_reserve(&o.data, 1);                         /* so that no span of it is NULL */
  for (size_t piece = first; o.kind == STEP_MORE && text.n; piece = piece == first ? step : first) {
    size_t n = piece < text.n ? piece : text.n;
    char *copy = mem_alloc(n);
    memcpy(copy, text.p, n);
    struct span in = span_of(copy, n);
    do {
      struct step s = http_body_feed(&b, in, &out);
      MUST(s.used <= in.n);
      MUST(s.kind != STEP_MORE || s.used == in.n);
      if (s.kind == STEP_EVENT) {
        MUST(out.n && out.p >= in.p && out.p + out.n <= in.p + s.used);
        buf_add(&o.data, out);
      }
      in = span_from(in, s.used);
      o.used += s.used;
      o.kind = s.kind;
    } while (o.kind == STEP_EVENT);
    mem_free(copy);
    text = span_from(text, n);
  }
  MUST(b.total == buf_size(&o.data));
  o.may_end = http_body_may_end(&b);
  if (o.kind == STEP_BAD || o.kind == STEP_DONE)
    for (int i = 0; i < 2; i++) {
      struct step s = http_body_feed(&b, SPAN("0\r\n\r\n"), &out);
      MUST(s.kind == o.kind && !s.used);
    }
  MUST(o.kind != STEP_DONE || o.may_end);
  MUST(o.kind != STEP_BAD || !o.may_end);
  return o;
}

static void same(struct outcome *a, struct outcome *b) {
  MUST(a->kind == b->kind && a->used == b->used && a->may_end == b->may_end);
  MUST(span_eq(buf_span(&a->data), buf_span(&b->data)));
}

/* Decoded bytes written as chunks of `step` decode to themselves. */
static void round_trip(struct span data, size_t step) {
  struct http_head head = { .framing = HTTP_CHUNKED };
  struct buf b = { 0 };
  for (size_t at = 0; at < data.n; at += step)
    http_write_chunk(&b, span_of(data.p + at, data.n - at < step ? data.n - at : step));
  http_write_last_chunk(&b);
  struct outcome o = feed(&head, buf_span(&b), step, 3);
  MUST(o.kind == STEP_DONE && o.used == buf_size(&b) && span_eq(buf_span(&o.data), data));
  buf_free(&o.data);
  buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 3) return 0;
  struct span text = span_of((const char *)data + 3, size - 3);
  struct http_head head = { .framing = data[0] & 3 ? HTTP_CHUNKED : (enum http_framing)(data[0] >> 2 & 3) };
  if (head.framing == HTTP_LENGTH) head.length = data[0] >> 4;
  struct outcome whole = feed(&head, text, text.n + 1, text.n + 1), bytes = feed(&head, text, 1, 1);
  struct outcome pieces = feed(&head, text, 1u + data[1], 1u + data[2]);
  same(&whole, &bytes);
  same(&whole, &pieces);
  round_trip(buf_span(&whole.data), 1u + data[1]);
  buf_free(&whole.data);
  buf_free(&bytes.data);
  buf_free(&pieces.data);
  return 0;
}
