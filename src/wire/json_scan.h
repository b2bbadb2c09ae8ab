/* json_scan.h: the byte scanners that reader, walker and writer of JSON share. Short things are looked
   at 16 bytes at a time, long ones in blocks of 64 (json_long.h). Loads never leave [at, end).
   WEIR_SIMD says what may be used, 0: plain words (all there is but on x86-64), 1: SSE2, which every
   x86-64 has, 2: AVX2 for what is long, where the processor turns out to have it. */
#ifndef WEIR_WIRE_JSON_SCAN_H
#define WEIR_WIRE_JSON_SCAN_H

#include "weir/json.h"

#ifndef __SSE2__
#undef WEIR_SIMD
#define WEIR_SIMD 0
#elif !defined(WEIR_SIMD)
#define WEIR_SIMD 2
#endif
#if WEIR_SIMD
#include <emmintrin.h>
#endif

/* JSON's white space, and nothing else. */
static inline bool scan_is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

static inline const char *scan_space_run(const char *at, const char *end) {
#if WEIR_SIMD
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
#if WEIR_SIMD
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
#if WEIR_SIMD
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

/* A document being read. reader_fail notes the error and gives NULL. */
struct reader {
  const char *start, *end;
  struct json_error error;
  uint64_t keys;                      /* json_key_bit of every key seen, but of the top level's */
};
const char *reader_fail(struct reader *r, const char *at, const char *why);
/* One value with all that is in it, at its first byte, inside `depth` containers: the place behind it, or NULL. */
const char *reader_value(struct reader *r, const char *at, unsigned depth);

/* The long ways, json_long.h, of each kind that is compiled, and of the best one here.
   scan_rest_checked: `at` stands in a string and is not escaped, and what stands before it in the
   string is plain ASCII; so are the three bytes before it even at the string's start, since two
   strings are always a quote, a comma or colon, and a quote apart. Gives the closing quote, or NULL
   once it has failed; *plain is set only when the rest is plain too.
   scan_rest: the same in validated text. scan_container: in validated text, gives the place past the
   container whose first bracket stands at `at`. */
#define SCAN_LONG(kind) \
  const char *scan_rest_checked_##kind(struct reader *r, const char *at, bool *plain); \
  const char *scan_rest_##kind(const char *at, const char *end); \
  const char *scan_container_##kind(const char *at, const char *end);
SCAN_LONG(base)
#if WEIR_SIMD > 1
SCAN_LONG(avx2)
SCAN_LONG(avx512)
static inline bool scan_avx512(void) { return __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512bw"); }
#define SCAN_BEST(name) (scan_avx512() ? name##_avx512 : __builtin_cpu_supports("avx2") ? name##_avx2 : name##_base)
#else
#define SCAN_BEST(name) name##_base
#endif

/* In validated text: the quote that closes the string whose content starts at `at`. */
static inline const char *scan_string(const char *at, const char *end) {
#if WEIR_SIMD
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
  return SCAN_BEST(scan_rest)(at, end);
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

/* Whether json_string_is can hold: unescaping only shortens, and the first byte is what it is or a
   backslash. */
static inline bool scan_may_be(struct json string, struct span text) {
  size_t n = string.text.n - 2;
  if (n < text.n || !text.n) return n == text.n;
  return string.text.p[1] == text.p[0] || string.text.p[1] == '\\';
}

/* Whether two validated strings are one name once unescaped and folded as json_read_object says. */
bool scan_same_name(struct json a, struct json b);

/* A hash that agrees with it. Setting bit 5 of every byte folds a little too much (not only letters
   meet), which a hash may do, and takes eight bytes at once; the last eight may overlap those before.
   scan_name_hash is for any name, scan_plain_hash for plain ASCII without escapes. */
uint64_t scan_name_hash(struct json name, uint64_t seed);

static inline uint64_t scan_eight(const char *p) {
  uint64_t v;
  memcpy(&v, p, 8);
  return v;
}

static inline uint64_t scan_name_mix(uint64_t hash, uint64_t eight) {
  __uint128_t m = (__uint128_t)((eight | 0x2020202020202020u) ^ hash) * 0x9E3779B97F4A7C15u;
  return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static inline uint64_t scan_plain_hash(struct json name, uint64_t seed) {
  const unsigned char *p = (const unsigned char *)name.text.p + 1;
  size_t n = name.text.n - 2;
  uint32_t low, high;
  uint64_t last = 0;
  if (n >= 8) {
    for (size_t i = 0; i + 8 < n; i += 8) seed = scan_name_mix(seed, scan_eight((const char *)p + i));
    last = scan_eight((const char *)p + n - 8);
  } else if (n >= 4) {
    memcpy(&low, p, 4);
    memcpy(&high, p + n - 4, 4);
    last = low | (uint64_t)high << 8 * (n - 4);
  } else if (n) {
    last = p[0] | (uint64_t)p[n / 2] << 8 * (n / 2) | (uint64_t)p[n - 1] << 8 * (n - 1);
  }
  return scan_name_mix(seed ^ n, last);
}

#endif
