/* The first byte says request or response and the method asked with; the second how the window
   grows; the rest is what a peer sent. */
#include <stdlib.h>
#include "weir/http.h"

#define MUST(cond) do { if (!(cond)) abort(); } while (0)

static bool within(struct span s, struct span all) {
  return !s.p || (s.p >= all.p && s.p + s.n <= all.p + all.n);
}

static size_t end_when_growing(struct span text, size_t step) {
  size_t scanned = 0;
  for (size_t n = 0;; n = n + step < text.n ? n + step : text.n) {
    size_t end = http_head_end(span_of(text.p, n), &scanned);
    MUST(scanned <= n && end <= n);
    if (end || n == text.n) return end;
  }
}

/* What is accepted holds only what the rules let stand, whoever reads it next. */
static void head_check(struct span head, const struct http_head *h) {
  for (size_t i = 0; i < head.n; i++) {
    unsigned char c = (unsigned char)head.p[i];
    MUST(c != '\n' || (i && head.p[i - 1] == '\r'));
    MUST(c != '\r' || head.p[i + 1] == '\n');
    MUST(c >= 0x20 || c == '\t' || c == '\r' || c == '\n');
    MUST(c != 0x7f);
  }
  MUST(h->count <= HTTP_MOST_HEADERS);
  MUST(within(h->method, head) && within(h->target, head) && within(h->reason, head) && within(h->host, head));
  MUST(within(h->content_type, head));
  for (size_t i = 0; i < h->count; i++) {
    MUST(within(h->headers[i].name, head) && within(h->headers[i].value, head));
    MUST(http_token_ok(h->headers[i].name) && http_value_ok(h->headers[i].value));
    MUST(span_eq(h->headers[i].value, span_trim(h->headers[i].value)));
    if (h->names[i]) MUST(http_known(h, h->names[i]).p == http_header(h, h->headers[i].name).p);
    else MUST(!span_ieq(h->headers[i].name, SPAN("host")) && !span_ieq(h->headers[i].name, SPAN("authorization")));
  }
  bool coded = http_header(h, SPAN("transfer-encoding")).p, counted = http_header(h, SPAN("content-length")).p;
  MUST(!(coded && counted));
  MUST(h->framing != HTTP_CHUNKED || coded);
  MUST(h->framing != HTTP_LENGTH || counted);
  if (h->framing == HTTP_NO_BODY && h->method.p) MUST(!coded && !counted);
}

static bool same(const struct http_head *a, const struct http_head *b) {
  bool equal = span_eq(a->method, b->method) && span_eq(a->target, b->target) && a->status == b->status &&
               a->minor == b->minor && a->count == b->count && a->framing == b->framing && a->length == b->length &&
               a->keep_alive == b->keep_alive && a->expect_continue == b->expect_continue && a->upgrade == b->upgrade;
  for (size_t i = 0; equal && i < a->count; i++)
    equal = span_eq(a->headers[i].name, b->headers[i].name) && span_eq(a->headers[i].value, b->headers[i].value);
  return equal;
}

/* Written again it reads the same. */
static void round_trip(const struct http_head *h, struct span method) {
  static struct http_head again;
  struct buf b = { 0 };
  if (h->method.p) buf_printf(&b, "%.*s %.*s HTTP/1.%d\r\n", SPAN_FMT(h->method), SPAN_FMT(h->target), h->minor);
  else http_write_status(&b, h->status);
  for (size_t i = 0; i < h->count; i++) http_write_header(&b, h->headers[i].name, h->headers[i].value);
  http_write_end(&b);
  size_t scanned = 0;
  MUST(http_head_end(buf_span(&b), &scanned) == buf_size(&b));
  if (h->method.p) MUST(!http_read_request(buf_span(&b), &again) && same(h, &again));
  else if (h->minor) MUST(!http_read_response(buf_span(&b), method, &again) && same(h, &again));
  buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct http_head h;
  if (size < 2) return 0;
  struct span text = span_of((const char *)data + 2, size - 2), method = data[0] & 2 ? SPAN("HEAD") : SPAN("POST");
  size_t scanned = 0, end = http_head_end(text, &scanned);
  MUST(end <= text.n);
  MUST(end_when_growing(text, 1u + data[1]) == end && end_when_growing(text, 1) == end);
  char *copy = mem_alloc(end ? end : text.n);               /* exactly its size: nothing behind it may be read */
  struct span head = span_of(copy, end ? end : text.n);
  if (head.n) memcpy(copy, text.p, head.n);
  enum http_error e = data[0] & 1 ? http_read_response(head, method, &h) : http_read_request(head, &h);
  MUST(http_error_text(e));
  if (!e) {
    MUST(end);
    head_check(head, &h);
    round_trip(&h, method);
    for (size_t i = 0; i < h.count; i++) {
      MUST(within(http_param(h.headers[i].value, SPAN("q")), head));
      http_header_lists(&h, h.headers[i].name, SPAN("close"));
    }
  }
  mem_free(copy);
  return 0;
}
