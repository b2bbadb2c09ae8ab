/* json_utf8.c: UTF-8 inside strings (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF), by
   looking at each byte and at the three before it. */
#include "json_scan.h"

const char *scan_utf8_first_wrong(const char *at, const char *end) {
  while (at < end) {
    size_t n = (signed char)*at >= 0 ? 1 : scan_utf8(at, end);
    if (!n) break;
    at += n;
  }
  return at;
}

#if SCAN_SSE2

static __m128i load(const char *p) { return _mm_loadu_si128((const __m128i *)(const void *)p); }
static __m128i byte(unsigned c) { return _mm_set1_epi8((char)c); }
static __m128i equal(__m128i v, unsigned c) { return _mm_cmpeq_epi8(v, byte(c)); }
/* v > c for bytes of one sign, such as those of characters outside ASCII. */
static __m128i above(__m128i v, unsigned c) { return _mm_cmpgt_epi8(v, byte(c)); }
static __m128i either(__m128i a, __m128i b) { return _mm_or_si128(a, b); }
static __m128i both(__m128i a, __m128i b) { return _mm_and_si128(a, b); }
static __m128i without(__m128i a, __m128i b) { return _mm_andnot_si128(b, a); }

/* All bits set in the wrong ones of 16 bytes. Saturating subtraction leaves something where a lead so
   far back wants a continuation here. */
static inline uint64_t wrong16(const char *p) {
  __m128i v = load(p), one = load(p - 1), two = load(p - 2), three = load(p - 3);
  __m128i wanted = either(_mm_subs_epu8(one, byte(0xBF)), either(_mm_subs_epu8(two, byte(0xDF)), _mm_subs_epu8(three, byte(0xEF))));
  __m128i other = _mm_cmpeq_epi8(equal(wanted, 0), _mm_cmpgt_epi8(byte(0xC0), v));
  __m128i no_lead = either(equal(both(v, byte(0xFE)), 0xC0), without(above(v, 0xF4), above(v, 0xFF)));
  __m128i high = above(v, 0x9F), not_low = above(v, 0x8F);
  __m128i overlong = either(without(equal(one, 0xE0), high), without(equal(one, 0xF0), not_low));
  __m128i beyond = either(both(equal(one, 0xED), high), both(equal(one, 0xF4), not_low));
  return (unsigned)_mm_movemask_epi8(either(either(other, no_lead), either(overlong, beyond)));
}

uint64_t scan_utf8_wrong(const char *p) { return wrong16(p) | wrong16(p + 16) << 16 | wrong16(p + 32) << 32 | wrong16(p + 48) << 48; }

#else

uint64_t scan_utf8_wrong(const char *text) {
  const unsigned char *p = (const unsigned char *)text;
  uint64_t wrong = 0;
  for (int i = 0; i < 64; i++) {
    unsigned c = p[i], one = p[i - 1];
    bool wanted = one >= 0xC0 || p[i - 2] >= 0xE0 || p[i - 3] >= 0xF0, no_lead = (c & 0xFE) == 0xC0 || c > 0xF4;
    bool overlong = (one == 0xE0 && c < 0xA0) || (one == 0xF0 && c < 0x90);
    bool beyond = (one == 0xED && c > 0x9F) || (one == 0xF4 && c > 0x8F);
    wrong |= (uint64_t)((wanted != ((c & 0xC0) == 0x80)) | no_lead | overlong | beyond) << i;
  }
  return wrong;
}

#endif
