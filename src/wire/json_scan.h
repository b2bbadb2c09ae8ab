/* json_scan.h: the byte scanners that reader, walker and writer of JSON share. Short things are looked
   at 16 bytes at a time, long ones in blocks of 64, where each question ("which bytes are quotes?") is
   answered by a word with a bit per byte: escapes and quotes then cost arithmetic, not branches that
   no predictor gets right. SSE2 where it is there (every x86-64), plain words elsewhere or with
   WEIR_SCALAR defined; both need little-endian words, as x86-64 and aarch64 have them.
   Loads never leave [at, end): what is left over is looked at singly or copied to a padded block. */
#ifndef WEIR_WIRE_JSON_SCAN_H
#define WEIR_WIRE_JSON_SCAN_H

#include "weir/json.h"

#if defined(__SSE2__) && !defined(WEIR_SCALAR)
#define SCAN_SSE2 1
#include <emmintrin.h>
#else
#define SCAN_SSE2 0
#endif

/* JSON's white space, and nothing else. */
static inline bool scan_is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

static inline const char *scan_space_run(const char *at, const char *end) {
#if SCAN_SSE2
  for (; end - at >= 16; at += 16) {             /* indented documents: long runs of spaces */
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m128i low = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8(' ')), _mm_cmpeq_epi8(v, _mm_set1_epi8('\n')));
    __m128i high = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('\r')), _mm_cmpeq_epi8(v, _mm_set1_epi8('\t')));
    unsigned mask = (unsigned)_mm_movemask_epi8(_mm_or_si128(low, high)) ^ 0xFFFFu;
    if (mask) return at + __builtin_ctz(mask);
  }
#endif
  while (at < end && scan_is_space(*at)) at++;
  return at;
}

static inline const char *scan_space(const char *at, const char *end) {
  if (at == end || (unsigned char)*at > ' ') return at;
  if (end - at > 1 && (unsigned char)at[1] > ' ') return at + scan_is_space(*at);
  return scan_space_run(at, end);
}

static inline const char *scan_digits(const char *at, const char *end) {
#if SCAN_SSE2
  for (; end - at >= 16; at += 16) {
    __m128i v = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)(const void *)at), _mm_set1_epi8('0'));
    unsigned mask = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(v, _mm_set1_epi8(10)), v));
    if (mask) return at + __builtin_ctz(mask);
  }
#endif
  while (at < end && (unsigned)(*at - '0') <= 9) at++;
  return at;
}

/* The first byte of string content that is not plain: a quote, a backslash, a control, or part of
   a character outside ASCII. Signed comparison catches the last two at once. */
static inline const char *scan_plain(const char *at, const char *end) {
#if SCAN_SSE2
  const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(' ');
  for (; end - at >= 16; at += 16) {
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash));
    unsigned mask = (unsigned)_mm_movemask_epi8(_mm_or_si128(stop, _mm_cmplt_epi8(v, space)));
    if (mask) return at + __builtin_ctz(mask);
  }
#endif
  while (at < end && (signed char)*at >= ' ' && *at != '"' && *at != '\\') at++;
  return at;
}

/* The same, but it may give up after 64 plain bytes. */
static inline const char *scan_plain_some(const char *at, const char *end) {
  return scan_plain(at, end - at > 64 ? at + 64 : end);
}

/* 64 bytes, and the words that tell of them: bit i is byte i. */
#if SCAN_SSE2
struct scan_block {
  __m128i v[4];
};
static inline struct scan_block scan_load(const char *p) {
  const __m128i *from = (const __m128i *)(const void *)p;
  return (struct scan_block){ { _mm_loadu_si128(from), _mm_loadu_si128(from + 1), _mm_loadu_si128(from + 2), _mm_loadu_si128(from + 3) } };
}
/* The word of a test of the vector v. Written out, since -O2 keeps even a loop of four. */
#define SCAN_PART(b, i, test) ({ __m128i v = (b)->v[i]; (uint64_t)(unsigned)_mm_movemask_epi8(test) << 16 * (i); })
#define SCAN_WORD(b, test) (SCAN_PART(b, 0, test) | SCAN_PART(b, 1, test) | SCAN_PART(b, 2, test) | SCAN_PART(b, 3, test))
#define SCAN_IS(c) _mm_cmpeq_epi8(v, _mm_set1_epi8(c))
#define SCAN_IS_WITH(bit, c) _mm_cmpeq_epi8(_mm_or_si128(v, _mm_set1_epi8(bit)), _mm_set1_epi8(c))    /* once that bit is set */
#define SCAN_EITHER(x, y) _mm_or_si128(x, y)
#define SCAN_CONTROL _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1F)), v)
#define SCAN_WIDE v
/* Whether a test holds for any byte: dearer to answer for each than for all at once. */
#define SCAN_HOLDS(b, i, test) ({ __m128i v = (b)->v[i]; test; })
#define SCAN_ANY(b, test) \
  (_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(SCAN_HOLDS(b, 0, test), SCAN_HOLDS(b, 1, test)), \
                                  _mm_or_si128(SCAN_HOLDS(b, 2, test), SCAN_HOLDS(b, 3, test)))) != 0)
#else
struct scan_block {
  uint64_t v[8];
};
static inline struct scan_block scan_load(const char *p) {
  struct scan_block b;
  memcpy(&b, p, sizeof b);
  return b;
}
#define SCAN_ALL(byte) ((unsigned char)(byte) * 0x0101010101010101u)
/* The word of a test of v, eight bytes, whose high bits are the answer; the multiplication gathers them. */
#define SCAN_WORD(b, test) \
  ({ uint64_t word_ = 0; for (int i_ = 0; i_ < 8; i_++) { uint64_t v = (b)->v[i_]; \
     word_ |= ((test) >> 7 & SCAN_ALL(1)) * 0x0102040810204080u >> 56 << 8 * i_; } word_; })
#define SCAN_ZERO(x) (~((((x) & SCAN_ALL(0x7F)) + SCAN_ALL(0x7F)) | (x)))
#define SCAN_IS(c) SCAN_ZERO(v ^ SCAN_ALL(c))
#define SCAN_IS_WITH(bit, c) SCAN_ZERO((v | SCAN_ALL(bit)) ^ SCAN_ALL(c))
#define SCAN_EITHER(x, y) ((x) | (y))
#define SCAN_CONTROL SCAN_ZERO(v & SCAN_ALL(0xE0))
#define SCAN_WIDE v
#define SCAN_ANY(b, test) (SCAN_WORD(b, test) != 0)
#endif

/* Where 64 bytes from `at` on can be loaded: there, or in a copy filled up with zeros. */
static inline const char *scan_pad(char pad[64], const char *at, const char *end) {
  if (__builtin_expect(end - at >= 64, 1)) return at;
  memset(pad, 0, 64);
  memcpy(pad, at, (size_t)(end - at));
  return pad;
}

/* Which bytes are escaped by a backslash, *carry being whether the first is, and then whether the
   next block's first is. In a run of backslashes every second one escapes, from the first on. Adding
   its start to a run clears it (the carry runs through), which tells apart the runs that start at an
   even place, whose even bits escape, from the others, whose odd ones do. */
static inline uint64_t scan_escaped(uint64_t slash, uint64_t *carry) {
  const uint64_t even = 0x5555555555555555u;
  uint64_t s = slash & ~*carry, starts = s & ~(s << 1) & even;
  uint64_t from_even = s & ~(s + starts);
  uint64_t escapes = s & (from_even ^ ~even), escaped = escapes << 1 | *carry;
  *carry = escapes >> 63;
  return escaped;
}

/* Every bit becomes the parity of those up to it: from quotes to what lies between them. */
static inline uint64_t scan_between(uint64_t quotes) {
  quotes ^= quotes << 1;
  quotes ^= quotes << 2;
  quotes ^= quotes << 4;
  quotes ^= quotes << 8;
  quotes ^= quotes << 16;
  quotes ^= quotes << 32;
  return quotes;
}

static inline unsigned scan_count(uint64_t v) {   /* the instruction for it is not in every x86-64 */
  v -= v >> 1 & 0x5555555555555555u;
  v = (v & 0x3333333333333333u) + (v >> 2 & 0x3333333333333333u);
  return (unsigned)(((v + (v >> 4)) & 0x0F0F0F0F0F0F0F0Fu) * 0x0101010101010101u >> 56);
}

/* In validated text: the quote that closes the string in which `at` stands; at is not escaped.
   No bound is needed where bytes are looked at singly, since the quote is there. */
static inline const char *scan_string_rest(const char *at, const char *end) {
  uint64_t carry = 0;
  for (; end - at >= 64; at += 64) {
    struct scan_block b = scan_load(at);
    uint64_t slash = SCAN_WORD(&b, SCAN_IS('\\')), quote = SCAN_WORD(&b, SCAN_IS('"'));
    if (slash | carry) quote &= ~scan_escaped(slash, &carry);
    if (quote) return at + __builtin_ctzll(quote);
  }
  for (at += carry; *at != '"'; at++) at += *at == '\\';
  return at;
}

/* The same from the start of a string's content; *escaped is set when it holds an escape. */
static inline const char *scan_string(const char *at, const char *end, bool *escaped) {
#if SCAN_SSE2
  for (const char *soon = end - at > 48 ? at + 48 : end; soon - at >= 16; at += 16) {
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')), _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
    unsigned mask = (unsigned)_mm_movemask_epi8(stop);
    if (!mask) continue;
    at += __builtin_ctz(mask);
    if (*at == '"') return at;
    break;
  }
#else
  for (const char *soon = end - at > 24 ? at + 24 : end; at < soon && *at != '\\'; at++)
    if (*at == '"') return at;
#endif
  const char *close = scan_string_rest(at, end);
  *escaped = memchr(at, '\\', (size_t)(close - at)) != NULL;
  return close;
}

/* Length of the character outside ASCII that starts at `at`, or 0 when it is not valid UTF-8
   (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF). */
static inline size_t scan_utf8(const char *at, const char *end) {
  const unsigned char *p = (const unsigned char *)at;
  size_t left = (size_t)(end - at);
  unsigned c = p[0];
  if (left < 2 || (p[1] & 0xC0) != 0x80) return 0;
  if (c < 0xE0) return c >= 0xC2 ? 2 : 0;
  if (left < 3 || (p[2] & 0xC0) != 0x80) return 0;
  if (c < 0xF0) return (c == 0xE0 && p[1] < 0xA0) || (c == 0xED && p[1] > 0x9F) ? 0 : 3;
  if (left < 4 || (p[3] & 0xC0) != 0x80 || c > 0xF4) return 0;
  return (c == 0xF0 && p[1] < 0x90) || (c == 0xF4 && p[1] > 0x8F) ? 0 : 4;
}

/* Of the 64 bytes from p on those that may not stand, in UTF-8, after the three before them (which are
   read too): a bit each. A character that is cut shows in what stands after it. */
uint64_t scan_utf8_wrong(const char *p);
/* The first character from `at` on that is not valid; there is one. */
const char *scan_utf8_first_wrong(const char *at, const char *end);

static inline enum json_type scan_type(char first) {
  switch (first) {
  case '"': return JSON_STRING;
  case '{': return JSON_OBJECT;
  case '[': return JSON_ARRAY;
  case 't': return JSON_TRUE;
  case 'f': return JSON_FALSE;
  case 'n': return JSON_NULL;
  default:  return JSON_NUMBER;
  }
}

static inline bool scan_hex4(const char *p, unsigned *out) {
  unsigned v = 0;
  for (int i = 0; i < 4; i++) {
    unsigned c = (unsigned char)p[i], d = c - '0';
    if (d > 9) {
      d = (c | 0x20) - 'a';
      if (d > 5) return false;
      d += 10;
    }
    v = v << 4 | d;
  }
  *out = v;
  return true;
}

/* Bytes of a validated string's content, unescaped one by one; a lone surrogate escape gives U+FFFD. */
struct scan_text {
  const char *at, *end;
  unsigned left;                                 /* bytes of `bytes` still to come */
  bool lone;                                     /* a lone surrogate was met */
  unsigned char bytes[4];                        /* last byte first */
};
static inline struct scan_text scan_text(struct json string) {
  return (struct scan_text){ .at = string.text.p + 1, .end = string.text.p + string.text.n - 1 };
}
int scan_text_next(struct scan_text *t);         /* 0..255, or -1 at the end */

/* Whether two validated strings are one name once unescaped and folded as json_read_object says,
   and a hash that agrees with it. */
bool scan_same_name(struct json a, struct json b);
uint32_t scan_name_hash(struct json name, bool plain);

#endif
