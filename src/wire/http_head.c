#include "http_chars.h"
#include "http_fields.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { LONGEST_METHOD = 32 };

/* Place of the first LF at or behind p that a blank line follows, or NULL. */
static const char *blank_line(const char *p, const char *end) {
#ifdef __SSE2__
  const __m128i lf = _mm_set1_epi8('\n'), cr = _mm_set1_epi8('\r');
  for (; end - p >= 18; p += 16) {
    __m128i first = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)p), lf);
    if (!_mm_movemask_epi8(first)) continue;
    __m128i second = _mm_loadu_si128((const __m128i *)(p + 1));
    __m128i third = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(p + 2)), lf);
    __m128i rest = _mm_or_si128(_mm_cmpeq_epi8(second, lf), _mm_and_si128(_mm_cmpeq_epi8(second, cr), third));
    int found = _mm_movemask_epi8(_mm_and_si128(first, rest));
    if (found) return p + __builtin_ctz((unsigned)found);
  }
#endif
  while ((p = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL)) {
    if (end - p > 1 && p[1] == '\n') return p;
    if (end - p > 2 && p[1] == '\r' && p[2] == '\n') return p;
    p++;
  }
  return NULL;
}

/* A blank line made of a bare LF ends the head too, so that its reader refuses it at once instead of
   a peer waiting for an answer until its time is up. */
size_t http_head_end(struct span window, size_t *scanned) {
  size_t at = *scanned, n = window.n;
  const char *p = window.p;
  if (!at || p[at - 1] == '\n')                      /* only leading CRLFs have been seen */
    while (n - at >= 2 && p[at] == '\r' && p[at + 1] == '\n') at += 2;
  const char *found = n > at ? blank_line(p + at, p + n) : NULL;
  if (found) {
    *scanned = (size_t)(found - p);
    return *scanned + (found[1] == '\n' ? 2 : 3);
  }
  size_t keep = 0;                                   /* a line end, or the start of one, is looked at again */
  if (n > at && (p[n - 1] == '\n' || (p[n - 1] == '\r' && n - at == 1))) keep = 1;
  else if (n - at > 1 && p[n - 1] == '\r' && p[n - 2] == '\n') keep = 2;
  *scanned = n - keep;
  return 0;
}

static bool ends_whole(struct span head) { return span_ends(head, SPAN("\r\n\r\n")); }

static bool digit(char c) { return c >= '0' && c <= '9'; }

/* Reads "HTTP/x.y" at p, where at least 8 bytes are. */
static enum http_error version_read(const char *p, enum http_error malformed, int *minor) {
  if (memcmp(p, "HTTP/", 5) != 0 || !digit(p[5]) || p[6] != '.' || !digit(p[7])) return malformed;
  *minor = p[7] - '0';
  return p[5] == '1' && *minor < 2 ? HTTP_OK : HTTP_VERSION;
}

static void head_clear(struct http_head *out) {
  out->method = out->target = out->reason = out->host = out->content_type = (struct span){ NULL, 0 };
  out->status = out->minor = 0;
  out->count = 0;
  out->framing = HTTP_NO_BODY;
  out->length = 0;
  out->keep_alive = out->expect_continue = out->upgrade = false;
  memset(out->first, 0, sizeof out->first);
}

static void connection_settle(const struct fields *f, struct http_head *out) {
  out->keep_alive = !f->close && (out->minor || f->keep_alive);
  out->upgrade = out->minor && f->upgrade && f->names_upgrade;
}

/* "http://authority/path" to its origin form; the "/" of an empty path is lent from the "//". */
static enum http_error absolute_reduce(struct http_head *out) {
  struct span t = out->target, rest;
  struct authority authority;
  const char *why;
  if (span_istarts(t, SPAN("http://"))) rest = span_from(t, 7);
  else if (span_istarts(t, SPAN("https://"))) rest = span_from(t, 8);
  else return HTTP_BAD_REQUEST_LINE;
  size_t n = span_find(rest, '/');
  out->host = span_of(rest.p, n);
  if (!authority_read(out->host, &authority, &why)) return HTTP_BAD_REQUEST_LINE;
  out->target = n < rest.n ? span_from(rest, n) : span_of(rest.p - 1, 1);
  return HTTP_OK;
}

static enum http_error target_settle(struct http_head *out) {
  if (span_eq(out->method, SPAN("CONNECT"))) return HTTP_BAD_REQUEST_LINE;
  if (out->target.p[0] == '/') return HTTP_OK;
  if (span_eq(out->target, SPAN("*")))
    return span_eq(out->method, SPAN("OPTIONS")) ? HTTP_OK : HTTP_BAD_REQUEST_LINE;
  return absolute_reduce(out);
}

/* Reads the request line and gives where the headers start. As with headers, the CR at the end of
   the head stops every scan. */
static enum http_error request_line(const char **at, const char *end, struct http_head *out) {
  const char *p = *at, *start = p;
  while (char_is(*p, CHAR_TOKEN)) p++;
  out->method = span_of(start, (size_t)(p - start));
  if (!out->method.n || out->method.n > LONGEST_METHOD || *p != ' ') return HTTP_BAD_REQUEST_LINE;
  for (start = ++p; char_is(*p, CHAR_TARGET);) p++;
  out->target = span_of(start, (size_t)(p - start));
  if (out->target.n > HTTP_LONGEST_TARGET) return HTTP_TARGET_TOO_LONG;
  if (!out->target.n || *p != ' ' || end - p < 13) return HTTP_BAD_REQUEST_LINE;
  enum http_error e = version_read(p + 1, HTTP_BAD_REQUEST_LINE, &out->minor);
  if (e == HTTP_BAD_REQUEST_LINE || p[9] != '\r' || p[10] != '\n') return HTTP_BAD_REQUEST_LINE;
  if (e) return e;
  *at = p + 11;
  return target_settle(out);
}

static enum http_error request_rules(const struct fields *f, struct http_head *out) {
  struct authority authority;
  const char *why;
  if (f->hosts > 1 || (!f->hosts && out->minor)) return HTTP_BAD_HOST;
  if (f->hosts && !authority_read(f->host, &authority, &why)) return HTTP_BAD_HOST;
  if (!out->host.p) out->host = f->host;
  if (f->lengths > 1) return HTTP_BAD_FRAMING;
  enum http_error e = fields_framing(f, out);
  if (e) return e;
  if (f->expect_other) return HTTP_EXPECTATION;
  out->expect_continue = out->minor && f->expect_continue;
  connection_settle(f, out);
  return HTTP_OK;
}

enum http_error http_read_request(struct span head, struct http_head *out) {
  struct fields f = { 0 };
  head_clear(out);
  out->bytes = head;
  if (!ends_whole(head)) return HTTP_BAD_HEADER;
  const char *p = head.p, *end = head.p + head.n;
  while (end - p >= 2 && p[0] == '\r' && p[1] == '\n') p += 2;
  if (p == end) return HTTP_BAD_REQUEST_LINE;
  enum http_error e = request_line(&p, end, out);
  if (e) return e;
  e = http_fields_read(p, end, out, &f);
  return e ? e : request_rules(&f, out);
}

/* The space behind the status may be missing with the reason: it is often forgotten and cannot be
   read in two ways. */
static enum http_error status_line(const char **at, const char *end, struct http_head *out) {
  const char *p = *at;
  if (end - p < 16) return HTTP_BAD_STATUS_LINE;
  enum http_error e = version_read(p, HTTP_BAD_STATUS_LINE, &out->minor);
  if (e) return e;
  if (p[8] != ' ' || p[9] < '1' || p[9] > '5' || !digit(p[10]) || !digit(p[11])) return HTTP_BAD_STATUS_LINE;
  out->status = (p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0');
  const char *reason = p + 12, *stop = reason;
  if (*reason == ' ') stop = value_end(++reason, end);
  if (stop[0] != '\r' || stop[1] != '\n') return HTTP_BAD_STATUS_LINE;
  out->reason = span_of(reason, (size_t)(stop - reason));
  *at = stop + 2;
  return HTTP_OK;
}

static enum http_error response_rules(const struct fields *f, struct span method, struct http_head *out) {
  enum http_error e = fields_framing(f, out);
  if (e) return e;
  connection_settle(f, out);
  bool never = out->status < 200 || out->status == 204;
  if (never || out->status == 304 || span_eq(method, SPAN("HEAD"))) {
    /* A peer that announces a body where there can be none may send one: do not use it again. */
    if (never && (out->framing == HTTP_CHUNKED || out->length)) out->keep_alive = false;
    out->framing = HTTP_NO_BODY;
    out->length = 0;
  } else if (out->framing == HTTP_NO_BODY) {
    out->framing = HTTP_UNTIL_CLOSE;
    out->keep_alive = false;
  }
  return HTTP_OK;
}

enum http_error http_read_response(struct span head, struct span method, struct http_head *out) {
  struct fields f = { 0 };
  head_clear(out);
  out->bytes = head;
  if (!ends_whole(head)) return span_starts(head, SPAN("HTTP/")) ? HTTP_BAD_HEADER : HTTP_BAD_STATUS_LINE;
  const char *p = head.p, *end = head.p + head.n;
  enum http_error e = status_line(&p, end, out);
  if (e) return e;
  e = http_fields_read(p, end, out, &f);
  return e ? e : response_rules(&f, method, out);
}

/* Every span of a head points into its bytes, so that one copy and one distance move them all. */
static struct span moved(struct span s, const char *from, const char *to) { return s.p ? span_of(to + (s.p - from), s.n) : s; }

static size_t struct_size(const struct http_head *h) { return offsetof(struct http_head, headers) + h->count * sizeof h->headers[0]; }

size_t http_head_kept(const struct http_head *h) { return struct_size(h) + h->bytes.n + 32; }

struct http_head *http_head_keep(const struct http_head *h, struct arena *a) {
  size_t size = struct_size(h);
  struct http_head *kept = arena_alloc(a, size);
  const char *from = h->bytes.p;
  memcpy(kept, h, size);
  kept->bytes = arena_copy(a, h->bytes);
  const char *to = kept->bytes.p;
  kept->method = moved(h->method, from, to);
  kept->target = h->target.p >= from && h->target.p < from + h->bytes.n ? moved(h->target, from, to) : h->target;
  kept->reason = moved(h->reason, from, to);
  kept->host = moved(h->host, from, to);
  kept->content_type = moved(h->content_type, from, to);
  for (size_t i = 0; i < h->count; i++) {
    kept->headers[i].name.p = to + (h->headers[i].name.p - from);
    kept->headers[i].value.p = to + (h->headers[i].value.p - from);
  }
  return kept;
}
