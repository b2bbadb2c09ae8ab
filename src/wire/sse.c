/* sse.c: event streams, each byte looked at once. */
#include "weir/sse.h"

#if defined(__SSE2__) && (!defined(WEIR_SIMD) || WEIR_SIMD)
#include <emmintrin.h>
#define LINE_SSE2 1
#else
#define LINE_SSE2 0
#endif

#if LINE_SSE2
/* Which of the 16 bytes at `at` end a line. */
static inline __m128i ends_at(const char *at) {
  __m128i v = _mm_loadu_si128((const __m128i *)(const void *)at);
  return _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('\r')), _mm_cmpeq_epi8(v, _mm_set1_epi8('\n')));
}
static inline unsigned bits(__m128i v) { return (unsigned)_mm_movemask_epi8(v); }
#endif

/* The first CR or LF, or end. */
static inline const char *line_end(const char *at, const char *end) {
#if LINE_SSE2
  for (; end - at >= 64; at += 64) {
    __m128i near = _mm_or_si128(ends_at(at), ends_at(at + 16)), far = _mm_or_si128(ends_at(at + 32), ends_at(at + 48));
    if (bits(_mm_or_si128(near, far))) break;
  }
  const char *from = at;
  for (; end - at >= 16; at += 16) {
    unsigned mask = bits(ends_at(at));
    if (mask) return at + __builtin_ctz(mask);
  }
  if (at > from && at < end) {                           /* the last ones, and some of those before them again */
    unsigned mask = bits(ends_at(end - 16));
    return mask ? end - 16 + __builtin_ctz(mask) : end;
  }
#endif
  while (at < end && *at != '\n' && *at != '\r') at++;
  return at;
}

static const char *past_line_end(const char *at, const char *end) {
  bool crlf = *at == '\r' && end - at > 1 && at[1] == '\n';
  return at + 1 + crlf;
}

/* Whether the line is a field of that name; *value is what stands after the colon and one space. */
static inline bool field_is(struct span line, struct span name, struct span *value) {
  if (!span_starts(line, name)) return false;
  *value = span_from(line, name.n);
  if (!value->n) return true;
  if (value->p[0] != ':') return false;
  *value = span_from(*value, 1 + (value->n > 1 && value->p[1] == ' '));
  return true;
}

static inline void line_read(struct sse *s, const char *start, struct span line) {
  struct span value;
  if (field_is(line, SPAN("data"), &value)) {
    if (!s->data_lines++) s->data_at = (size_t)(value.p - start), s->data_n = value.n;
  } else if (field_is(line, SPAN("event"), &value)) {
    s->name_at = (size_t)(value.p - start), s->name_n = value.n;
  }
}

static struct step stream_bad(struct sse *s) {
  s->bad = true;
  return (struct step){ STEP_BAD, 0 };
}

static struct step event_out(struct sse *s, const char *start, size_t used, struct sse_event *out) {
  *out = (struct sse_event){
    .raw = span_of(start, used),
    .name = span_of(start + s->name_at, s->name_n),
    .data = span_of(start + s->data_at, s->data_n),
    .data_lines = s->data_lines,
  };
  *s = (struct sse){ .started = true };
  return (struct step){ STEP_EVENT, used };
}

/* Whether it is known if a BOM starts the stream; one that does is no part of the first line. */
static bool stream_start(struct sse *s, struct span window) {
  static const char bom[3] = "\xEF\xBB\xBF";
  size_t n = window.n < sizeof bom ? window.n : sizeof bom;
  bool like = n && memcmp(window.p, bom, n) == 0;
  if (!n || (like && n < sizeof bom)) return false;
  s->started = true;
  if (like) s->scanned = s->line = sizeof bom;
  return true;
}

struct step sse_feed(struct sse *s, struct span window, struct sse_event *out) {
  const struct step more = { STEP_MORE, 0 };
  if (s->bad) return stream_bad(s);
  if (s->scanned >= window.n || (!s->started && !stream_start(s, window))) return more;
  const char *start = window.p, *end = start + window.n, *at = start + s->scanned, *line = start + s->line;
  if (s->after_cr && *at == '\n') line = ++at;
  for (; at < end; line = at) {
    const char *stop = line_end(at, end);
    if (stop == end) break;
    at = past_line_end(stop, end);
    if (stop > line) line_read(s, start, span_of(line, (size_t)(stop - line)));
    else if (stop - start >= SSE_LARGEST) return stream_bad(s);
    else return event_out(s, start, (size_t)(at - start), out);
  }
  s->after_cr = line == end && end[-1] == '\r';
  s->scanned = window.n;
  s->line = (size_t)(line - start);
  return window.n > SSE_LARGEST ? stream_bad(s) : more;
}

/* Copies the value of each data: line, from the first on, with LF between them. Gives their size. */
static size_t join(const struct sse_event *e, char *to) {
  const char *end = e->raw.p + e->raw.n, *at = e->data.p + e->data.n;
  size_t n = e->data.n;
  memcpy(to, e->data.p, n);
  while (at < end) {
    const char *line = at = past_line_end(at, end);
    struct span value;
    at = line_end(line, end);
    if (!field_is(span_of(line, (size_t)(at - line)), SPAN("data"), &value)) continue;
    to[n++] = '\n';
    memcpy(to + n, value.p, value.n);
    n += value.n;
  }
  return n;
}

struct span sse_data(const struct sse_event *e, struct arena *a) {
  if (e->data_lines < 2) return e->data;
  char *to = arena_alloc(a, e->raw.n);
  return span_of(to, join(e, to));
}

bool sse_is_done(const struct sse_event *e) {
  return e->data_lines == 1 && span_eq(span_trim(e->data), SPAN("[DONE]"));
}

static void write_lines(struct buf *b, struct span field, struct span text) {
  const char *at = text.n ? text.p : "", *end = at + text.n;
  for (;;) {
    const char *stop = line_end(at, end);
    buf_add(b, field);
    buf_add(b, span_of(at, (size_t)(stop - at)));
    buf_byte(b, '\n');
    if (stop == end) return;
    at = past_line_end(stop, end);
  }
}

void sse_write(struct buf *b, struct span name, struct span data) {
  if (name.n) name.n = (size_t)(line_end(name.p, name.p + name.n) - name.p);
  if (name.n) write_lines(b, SPAN("event: "), name);
  write_lines(b, SPAN("data: "), data);
  buf_byte(b, '\n');
}

void sse_write_comment(struct buf *b, struct span text) {
  write_lines(b, SPAN(": "), text);
  buf_byte(b, '\n');
}
