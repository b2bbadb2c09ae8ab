#include "weir/http.h"
#include "weir/log.h"

enum { LONGEST_U64 = 20, LONGEST_HEX = 16 };

static char *put(char *at, struct span s) {
  if (s.n) memcpy(at, s.p, s.n);
  return at + s.n;
}

static struct span decimal(uint64_t v, char *text) {
  char *at = text + LONGEST_U64;
  do *--at = (char)('0' + v % 10);
  while (v /= 10);
  return span_of(at, (size_t)(text + LONGEST_U64 - at));
}

static struct span hexadecimal(uint64_t v, char *text) {
  char *at = text + LONGEST_HEX;
  do *--at = "0123456789abcdef"[v & 15];
  while (v >>= 4);
  return span_of(at, (size_t)(text + LONGEST_HEX - at));
}

void http_write_status(struct buf *b, int status) {
  if (status == 200) { buf_put(b, SPAN("HTTP/1.1 200 OK\r\n")); return; }
  require(status >= 100 && status <= 999);
  struct span reason = span_cstr(http_reason(status));
  char *start = buf_reserve(b, 15 + reason.n);
  char *at = put(start, SPAN("HTTP/1.1 "));
  *at++ = (char)('0' + status / 100);
  *at++ = (char)('0' + status / 10 % 10);
  *at++ = (char)('0' + status % 10);
  *at++ = ' ';
  at = put(put(at, reason), SPAN("\r\n"));
  buf_commit(b, (size_t)(at - start));
}

void http_write_header(struct buf *b, struct span name, struct span value) {
  char *at = buf_reserve(b, name.n + value.n + 4);
  put(put(put(put(at, name), SPAN(": ")), value), SPAN("\r\n"));
  buf_commit(b, name.n + value.n + 4);
}

void http_write_header_u64(struct buf *b, struct span name, uint64_t value) {
  char text[LONGEST_U64], *start = buf_reserve(b, name.n + LONGEST_U64 + 4);
  char *at = put(put(put(put(start, name), SPAN(": ")), decimal(value, text)), SPAN("\r\n"));
  buf_commit(b, (size_t)(at - start));
}

void http_write_end(struct buf *b) { buf_put(b, SPAN("\r\n")); }

void http_write_chunk(struct buf *b, struct span data) {
  if (!data.n) return;                       /* a chunk of size 0 would end the body */
  char text[LONGEST_HEX];
  struct span size = hexadecimal(data.n, text);
  char *at = buf_reserve(b, size.n + data.n + 4);
  put(put(put(put(at, size), SPAN("\r\n")), data), SPAN("\r\n"));
  buf_commit(b, size.n + data.n + 4);
}

void http_write_last_chunk(struct buf *b) { buf_add(b, SPAN("0\r\n\r\n")); }
