#include "http_fields.h"
#include "http_chars.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

const char *value_end(const char *p, const char *end) {
#ifdef __SSE2__
  const __m128i control = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t'), del = _mm_set1_epi8(0x7f);
  for (; end - p >= 16; p += 16) {
    __m128i x = _mm_loadu_si128((const __m128i *)p);
    __m128i low = _mm_andnot_si128(_mm_cmpeq_epi8(x, tab), _mm_cmpeq_epi8(_mm_min_epu8(x, control), x));
    int bad = _mm_movemask_epi8(_mm_or_si128(low, _mm_cmpeq_epi8(x, del)));
    if (bad) return p + __builtin_ctz((unsigned)bad);
  }
#endif
  while (char_is(*p, CHAR_VALUE)) p++;
  (void)end;
  return p;
}

/* Behind the letters, digits and dashes at p, of which nearly all names are made. */
static const char *plain_name(const char *p, const char *end) {
#ifdef __SSE2__
  for (; end - p >= 16; p += 16) {
    __m128i x = _mm_loadu_si128((const __m128i *)p);
    __m128i letter = _mm_sub_epi8(_mm_or_si128(x, _mm_set1_epi8(0x20)), _mm_set1_epi8('a')), digit = _mm_sub_epi8(x, _mm_set1_epi8('0'));
    letter = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(25)), letter);
    digit = _mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(9)), digit);
    int plain = _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(letter, digit), _mm_cmpeq_epi8(x, _mm_set1_epi8('-'))));
    if (plain != 0xFFFF) return p + __builtin_ctz(~(unsigned)plain);
  }
#endif
  (void)end;
  return p;
}

static void connection_note(struct fields *f, struct span value) {
  for (struct span item, rest = value; rest.p;) {
    rest = span_cut(rest, ',', &item);
    item = span_trim(item);
    if (span_ieq(item, SPAN("close"))) f->close = true;
    else if (span_ieq(item, SPAN("keep-alive"))) f->keep_alive = true;
    else if (span_ieq(item, SPAN("upgrade"))) f->names_upgrade = true;
  }
}

/* A list of lengths counts as several lines would (RFC 9110 8.6). */
static void length_note(struct fields *f, struct span value) {
  for (struct span item, rest = value; rest.p;) {
    uint64_t length;
    rest = span_cut(rest, ',', &item);
    if (!span_u64(span_trim(item), &length) || length > INT64_MAX) f->bad_length = true;
    else if (f->lengths && length != f->length) f->bad_length = true;
    else f->length = length;
    f->lengths++;
  }
}

static void coding_note(struct fields *f, struct span value) {
  f->coding_seen = true;
  for (struct span item, rest = value; rest.p;) {
    rest = span_cut(rest, ',', &item);
    item = span_trim(item);
    if (!item.n || f->chunked) f->bad_coding = true;
    if (span_ieq(item, SPAN("chunked"))) f->chunked = true;
    else if (span_istarts(item, SPAN("chunked")) && !http_token_ok(item)) f->bad_coding = true;
    else f->other_codings++;
  }
}

static void field_note(struct http_head *out, struct fields *f, enum http_name name, struct span value) {
  switch (name) {
  case HTTP_HOST: f->host = value, f->hosts++; return;
  case HTTP_EXPECT:
    if (span_ieq(value, SPAN("100-continue"))) f->expect_continue = true;
    else f->expect_other = true;
    return;
  case HTTP_UPGRADE: f->upgrade = true; return;
  case HTTP_CONNECTION: connection_note(f, value); return;
  case HTTP_CONTENT_TYPE:
    if (!out->content_type.p) out->content_type = value;
    return;
  case HTTP_CONTENT_LENGTH: length_note(f, value); return;
  case HTTP_TRANSFER_ENCODING: coding_note(f, value); return;
  default: return;
  }
}

/* The blank line at the end is a fence: no scan of a name or a value can pass its CR. */
enum http_error http_fields_read(const char *p, const char *end, struct http_head *out, struct fields *f) {
  size_t count = 0;
  while (*p != '\r') {
    const char *name = p, *value, *stop;
    for (p = plain_name(p, end); char_is(*p, CHAR_TOKEN);) p++;
    if (p == name || *p != ':') return HTTP_BAD_HEADER;
    if (count == HTTP_MOST_HEADERS) return HTTP_HEAD_TOO_LARGE;
    struct http_header *h = &out->headers[count];
    h->name = span_of(name, (size_t)(p - name));
    for (value = p + 1; *value == ' ' || *value == '\t';) value++;
    p = stop = value_end(value, end);
    if (p[0] != '\r' || p[1] != '\n') return HTTP_BAD_HEADER;
    while (stop > value && (stop[-1] == ' ' || stop[-1] == '\t')) stop--;
    h->value = span_of(value, (size_t)(stop - value));
    enum http_name known = http_name_of(h->name);
    out->names[count++] = (uint8_t)known;
    if (known) {
      if (!out->first[known]) out->first[known] = (uint8_t)count;
      field_note(out, f, known, h->value);
    }
    p += 2;
  }
  out->count = count;
  return p + 2 == end ? HTTP_OK : HTTP_BAD_HEADER;
}

enum http_error fields_framing(const struct fields *f, struct http_head *out) {
  if (f->bad_length || f->bad_coding) return HTTP_BAD_FRAMING;
  if (f->coding_seen) {
    if (f->lengths || !out->minor) return HTTP_BAD_FRAMING;
    if (f->other_codings) return HTTP_TRANSFER_CODING;
    out->framing = HTTP_CHUNKED;
  } else if (f->lengths) {
    out->framing = HTTP_LENGTH;
    out->length = f->length;
  }
  return HTTP_OK;
}
