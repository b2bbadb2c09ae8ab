/* json_utf8.h: UTF-8 in blocks (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF), by looking
   at each byte and at the three before it. utf8_wrong gives a bit for each of the 64 bytes from p on
   that may not stand there; three bytes before p are read too. A character that is cut shows in what
   stands after it. For the kinds of block see json_block.h. */
#ifndef WEIR_WIRE_JSON_UTF8_H
#define WEIR_WIRE_JSON_UTF8_H

#include "json_block.h"

#if defined BLOCK_AVX512 || defined BLOCK_AVX2
/* What may be wrong with two bytes in a row. Each table tells for a half byte which of these it allows,
   so what all three allow is the case. CONTINUED is wrong unless a lead two or three back wants it. */
enum {
  CUT = 1,                            /* a lead, then no continuation */
  STRAY = 2,                          /* ASCII, then a continuation */
  LONG_2 = 4, LONG_3 = 8,             /* overlong: C0, C1; E0 then 80..9F */
  SURROGATE = 16,                     /* ED then A0..BF */
  EDGE_4 = 32,                        /* F0 or F5..FF then 80..8F */
  BEYOND = 64,                        /* F4..FF then 90..BF */
  CONTINUED = 128,                    /* two continuations */
};
/* A table of sixteen, as often as the shuffle wants it. */
#ifdef BLOCK_AVX512
#define VECTOR(name) _mm512_##name
static inline part both(part a, part b) { return _mm512_and_si512(a, b); }
static inline part other(part a, part b) { return _mm512_xor_si512(a, b); }
static inline part table_of(const uint8_t half[16]) { return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)half)); }
#else
#define VECTOR(name) _mm256_##name
static inline part both(part a, part b) { return _mm256_and_si256(a, b); }
static inline part other(part a, part b) { return _mm256_xor_si256(a, b); }
static inline part table_of(const uint8_t half[16]) { return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)half)); }
#endif
#define TABLE(...) table_of((const uint8_t[16]){ __VA_ARGS__ })

/* Not zero where a byte may not stand. */
static inline part utf8_wrong_part(const struct constants *c, const char *p) {
  enum { ANY = CUT | STRAY | CONTINUED, HIGH = ANY | BEYOND | EDGE_4, THEN = STRAY | LONG_2 | CONTINUED };
  const part first_high = TABLE(STRAY, STRAY, STRAY, STRAY, STRAY, STRAY, STRAY, STRAY,
                                CONTINUED, CONTINUED, CONTINUED, CONTINUED,
                                CUT | LONG_2, CUT, CUT | LONG_3 | SURROGATE, CUT | EDGE_4 | BEYOND);
  const part first_low = TABLE(ANY | LONG_2 | LONG_3 | EDGE_4, ANY | LONG_2, ANY, ANY, ANY | BEYOND, HIGH, HIGH, HIGH,
                               HIGH, HIGH, HIGH, HIGH, HIGH, HIGH | SURROGATE, HIGH, HIGH);
  const part second_high = TABLE(CUT, CUT, CUT, CUT, CUT, CUT, CUT, CUT,
                                 THEN | LONG_3 | EDGE_4, THEN | LONG_3 | BEYOND,
                                 THEN | SURROGATE | BEYOND, THEN | SURROGATE | BEYOND, CUT, CUT, CUT, CUT);
  part v = part_load(p), one = part_load(p - 1), two = part_load(p - 2), three = part_load(p - 3);
  part half = part_load(c->half), one_low = both(one, half);
  part one_high = both(VECTOR(srli_epi16)(one, 4), half), v_high = both(VECTOR(srli_epi16)(v, 4), half);
  part high = VECTOR(shuffle_epi8)(first_high, one_high), low = VECTOR(shuffle_epi8)(first_low, one_low);
  part allowed = both(both(high, low), VECTOR(shuffle_epi8)(second_high, v_high));
  /* The subtractions leave the high bit of bytes from E0, and F0, on. */
  part wanted = with(VECTOR(subs_epu8)(two, part_load(c->after_2)), VECTOR(subs_epu8)(three, part_load(c->after_3)));
  return other(allowed, both(wanted, part_load(c->top)));
}
#ifdef BLOCK_AVX512
static inline uint64_t utf8_wrong(const struct constants *c, const char *p) {
  part wrong = utf8_wrong_part(c, p);
  return _mm512_test_epi8_mask(wrong, wrong);
}
#else
static inline uint64_t utf8_wrong(const struct constants *c, const char *p) {
  part low = utf8_wrong_part(c, p), high = utf8_wrong_part(c, p + 32), any = either(low, high);
  if (__builtin_expect(_mm256_testz_si256(any, any), 1)) return 0;
  return ~(found_bits(equal(low, part_of(0))) | found_bits(equal(high, part_of(0))) << 32);
}
#endif

#elif WEIR_SIMD
/* v > c for bytes of one sign, such as those of characters outside ASCII. */
static inline part above(part v, unsigned char c) { return _mm_cmpgt_epi8(v, part_of(c)); }
static inline part both(part a, part b) { return _mm_and_si128(a, b); }
static inline part without(part a, part b) { return _mm_andnot_si128(b, a); }

static inline uint64_t utf8_wrong_part(const char *p) {
  part v = part_load(p), one = part_load(p - 1), two = part_load(p - 2), three = part_load(p - 3);
  /* The subtractions leave something where a lead so far back wants a continuation. */
  part wanted = either(_mm_subs_epu8(two, part_of(0xDF)), _mm_subs_epu8(three, part_of(0xEF)));
  wanted = either(wanted, _mm_subs_epu8(one, part_of(0xBF)));
  part other = equal(equal(wanted, part_of(0)), _mm_cmpgt_epi8(part_of(0xC0), v));
  part no_lead = either(equal(both(v, part_of(0xFE)), part_of(0xC0)), without(above(v, 0xF4), above(v, 0xFF)));
  part high = above(v, 0x9F), not_low = above(v, 0x8F);
  part overlong = either(without(is(one, '\xE0'), high), without(is(one, '\xF0'), not_low));
  part beyond = either(both(is(one, '\xED'), high), both(is(one, '\xF4'), not_low));
  return found_bits(either(either(other, no_lead), either(overlong, beyond)));
}
static inline uint64_t utf8_wrong(const struct constants *c, const char *p) {
  (void)c;
  uint64_t low = utf8_wrong_part(p) | utf8_wrong_part(p + 16) << 16;
  return low | utf8_wrong_part(p + 32) << 32 | utf8_wrong_part(p + 48) << 48;
}

#else
static inline uint64_t utf8_wrong(const struct constants *c, const char *text) {
  (void)c;
  const unsigned char *p = (const unsigned char *)text;
  uint64_t wrong = 0;
  for (int i = 0; i < BLOCK; i++) {
    unsigned v = p[i], one = p[i - 1];
    bool wanted = one >= 0xC0 || p[i - 2] >= 0xE0 || p[i - 3] >= 0xF0, no_lead = (v & 0xFE) == 0xC0 || v > 0xF4;
    bool overlong = (one == 0xE0 && v < 0xA0) || (one == 0xF0 && v < 0x90);
    bool beyond = (one == 0xED && v > 0x9F) || (one == 0xF4 && v > 0x8F);
    wrong |= (uint64_t)((wanted != ((v & 0xC0) == 0x80)) | no_lead | overlong | beyond) << i;
  }
  return wrong;
}
#endif

#endif
