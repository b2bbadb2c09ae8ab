#include "http_chars.h"
#include "weir/http.h"

enum { MOST_SIZE_DIGITS = 16, MOST_EXTENSIONS = 4096, MOST_TRAILERS = 8192 };

/* What the next byte of a chunked body is. */
enum state {
  SIZE_FIRST,        /* the first digit of a chunk size */
  SIZE,              /* a further digit, or the end of the size; b->digits counts */
  EXTENSION,         /* within ";…" behind a size */
  SIZE_LF,
  DATA,
  DATA_CR,
  DATA_LF,
  TRAILER_FIRST,     /* the first byte of a trailer line, or the CR that ends the body */
  TRAILER_NAME,
  TRAILER_VALUE,
  TRAILER_LF,
  LAST_LF,
  ENDED,
  BROKEN,
};

void http_body_init(struct http_body *b, const struct http_head *head) {
  *b = (struct http_body){ .framing = head->framing };
  if (head->framing == HTTP_LENGTH) b->left = head->length;
}

static struct step lend(struct http_body *b, struct span in, size_t at, size_t n, struct span *out) {
  *out = span_of(in.p + at, n);
  b->total += n;
  return (struct step){ STEP_EVENT, at + n };
}

static struct step length_feed(struct http_body *b, struct span in, struct span *out) {
  if (!b->left) return (struct step){ STEP_DONE, 0 };
  if (!in.n) return (struct step){ STEP_MORE, 0 };
  size_t n = in.n < b->left ? in.n : (size_t)b->left;
  b->left -= n;
  return lend(b, in, 0, n, out);
}

static bool count_overhead(struct http_body *b, unsigned most) { return ++b->overhead <= most; }

/* The state after the digits of a size have ended with c. */
static enum state size_end(struct http_body *b, char c) {
  b->digits = 0;
  if (b->left > INT64_MAX) return BROKEN;          /* readers with signed sizes would take it for negative */
  if (c == '\r') return SIZE_LF;
  return c == ';' && count_overhead(b, MOST_EXTENSIONS) ? EXTENSION : BROKEN;
}

static enum state size_next(struct http_body *b, char c) {
  unsigned digit = hex_value(c);
  if (digit > 15) return b->digits ? size_end(b, c) : BROKEN;
  if (++b->digits > MOST_SIZE_DIGITS) return BROKEN;
  b->left = b->left << 4 | digit;
  return SIZE;
}

static enum state trailer_next(struct http_body *b, enum state state, char c) {
  if (state == TRAILER_FIRST && c == '\r') return LAST_LF;
  if (!count_overhead(b, MOST_TRAILERS)) return BROKEN;
  switch (state) {
  case TRAILER_FIRST: return char_is(c, CHAR_TOKEN) ? TRAILER_NAME : BROKEN;
  case TRAILER_NAME: return char_is(c, CHAR_TOKEN) ? TRAILER_NAME : c == ':' ? TRAILER_VALUE : BROKEN;
  case TRAILER_VALUE: return char_is(c, CHAR_VALUE) ? TRAILER_VALUE : c == '\r' ? TRAILER_LF : BROKEN;
  default: return c == '\n' ? TRAILER_FIRST : BROKEN;
  }
}

static enum state after_size(struct http_body *b) {
  if (b->left) return DATA;
  b->overhead = 0;                                 /* trailers have a bound of their own */
  return TRAILER_FIRST;
}

/* One byte of framing; every state but DATA, ENDED and BROKEN. */
static enum state framing_next(struct http_body *b, enum state state, char c) {
  switch (state) {
  case SIZE_FIRST:
  case SIZE: return size_next(b, c);
  case EXTENSION:
    if (c == '\r') return SIZE_LF;
    return char_is(c, CHAR_VALUE) && count_overhead(b, MOST_EXTENSIONS) ? EXTENSION : BROKEN;
  case SIZE_LF: return c == '\n' ? after_size(b) : BROKEN;
  case DATA_CR: return c == '\r' ? DATA_LF : BROKEN;
  case DATA_LF: return c == '\n' ? SIZE_FIRST : BROKEN;
  case LAST_LF: return c == '\n' ? ENDED : BROKEN;
  default: return trailer_next(b, state, c);
  }
}

/* The usual case, between two chunks that came in one read: CRLF, a size, CRLF. Gives where the data
   starts, or 0 with nothing changed when the bytes are anything else. */
static size_t next_chunk(struct http_body *b, struct span in) {
  size_t i = b->state == DATA_CR ? 2 : 0;
  if (b->state != DATA_CR && b->state != SIZE_FIRST) return 0;
  if (in.n < i + 3 || (i && (in.p[0] != '\r' || in.p[1] != '\n'))) return 0;
  uint64_t size = 0;
  size_t most = in.n - 2 < i + MOST_SIZE_DIGITS ? in.n - 2 : i + MOST_SIZE_DIGITS;
  for (unsigned digit; i < most && (digit = hex_value(in.p[i])) < 16; i++) size = size << 4 | digit;
  if (!size || size > INT64_MAX || in.p[i] != '\r' || in.p[i + 1] != '\n') return 0;
  b->left = size;
  b->state = DATA;
  return i + 2;
}

static struct step chunked_feed(struct http_body *b, struct span in, struct span *out) {
  for (size_t at = next_chunk(b, in);; at++) {
    if (b->state == ENDED) return (struct step){ STEP_DONE, at };
    if (b->state == BROKEN) return (struct step){ STEP_BAD, at ? at - 1 : 0 };
    if (at == in.n) return (struct step){ STEP_MORE, at };
    if (b->state == DATA) {
      size_t n = in.n - at < b->left ? in.n - at : (size_t)b->left;
      b->left -= n;
      if (!b->left) b->state = DATA_CR;
      return lend(b, in, at, n, out);
    }
    b->state = framing_next(b, b->state, in.p[at]);
  }
}

struct step http_body_feed(struct http_body *b, struct span in, struct span *out) {
  switch (b->framing) {
  case HTTP_LENGTH: return length_feed(b, in, out);
  case HTTP_CHUNKED: return chunked_feed(b, in, out);
  case HTTP_UNTIL_CLOSE: return in.n ? lend(b, in, 0, in.n, out) : (struct step){ STEP_MORE, 0 };
  default: return (struct step){ STEP_DONE, 0 };
  }
}

bool http_body_may_end(const struct http_body *b) {
  switch (b->framing) {
  case HTTP_LENGTH: return !b->left;
  case HTTP_CHUNKED: return b->state == ENDED;
  default: return true;
  }
}
