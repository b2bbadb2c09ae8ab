/* json_block.h: 64 bytes at once. A question to all of them ("which are quotes?") is answered by a word
   with a bit per byte, so that escapes and quotes cost arithmetic and not branches, which in prose no
   predictor gets right. A block is looked at in parts of one of four kinds: 64 or 32 bytes (AVX-512, AVX2, for a
   file that defines BLOCK_AVX512 or BLOCK_AVX2), 16 (SSE2) or 8 (a plain word, which must be little-endian). */
#ifndef WEIR_WIRE_JSON_BLOCK_H
#define WEIR_WIRE_JSON_BLOCK_H

#include "json_scan.h"

/* A test of the part v gives what was found: a part with the high bit of each byte as its answer, or with AVX-512 a word of
   bits. BLOCK_WORD gathers them for all 64 bytes, BLOCK_ANY tells whether there is any, which is cheaper. Both are written
   out, since -O2 keeps even a loop of two. */
#define BLOCK_PART(b, i, test) ({ part v = (b)->v[i]; (test); })
#define BLOCK_BITS(b, i, test) (found_bits(BLOCK_PART(b, i, test)) << (i) * sizeof(part))

#ifdef BLOCK_AVX512
#include <immintrin.h>
typedef __m512i part;
typedef __mmask64 found;
static inline part part_load(const char *p) { return _mm512_loadu_si512(p); }
static inline part part_of(unsigned char c) { return _mm512_set1_epi8((char)c); }
static inline part with(part a, part b) { return _mm512_or_si512(a, b); }
static inline uint64_t found_bits(found f) { return f; }
static inline found equal(part a, part b) { return _mm512_cmpeq_epi8_mask(a, b); }
static inline found either(found a, found b) { return a | b; }
static inline found at_most(part v, part most) { return _mm512_cmple_epu8_mask(v, most); }
static inline found is_wide(part v) { return _mm512_movepi8_mask(v); }
#define BLOCK_LOADS LOAD(0)
#define BLOCK_WORD(b, test) BLOCK_BITS(b, 0, test)
#define BLOCK_ANY(b, test) (BLOCK_WORD(b, test) != 0)
#elif defined BLOCK_AVX2
#include <immintrin.h>
typedef __m256i part;
static inline part part_load(const char *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
static inline part part_of(unsigned char c) { return _mm256_set1_epi8((char)c); }
static inline uint64_t found_bits(part v) { return (unsigned)_mm256_movemask_epi8(v); }
static inline part equal(part a, part b) { return _mm256_cmpeq_epi8(a, b); }
static inline part either(part a, part b) { return _mm256_or_si256(a, b); }
static inline part at_most(part v, part most) { return equal(_mm256_min_epu8(v, most), v); }
#define BLOCK_LOADS LOAD(0), LOAD(1)
#define BLOCK_WORD(b, test) (BLOCK_BITS(b, 0, test) | BLOCK_BITS(b, 1, test))
#define BLOCK_ANY(b, test) (found_bits(either(BLOCK_PART(b, 0, test), BLOCK_PART(b, 1, test))) != 0)
#elif WEIR_SIMD
typedef __m128i part;
static inline part part_load(const char *p) { return _mm_loadu_si128((const __m128i *)(const void *)p); }
static inline part part_of(unsigned char c) { return _mm_set1_epi8((char)c); }
static inline uint64_t found_bits(part v) { return (unsigned)_mm_movemask_epi8(v); }
static inline part equal(part a, part b) { return _mm_cmpeq_epi8(a, b); }
static inline part either(part a, part b) { return _mm_or_si128(a, b); }
static inline part at_most(part v, part most) { return equal(_mm_min_epu8(v, most), v); }
#define BLOCK_LOADS LOAD(0), LOAD(1), LOAD(2), LOAD(3)
#define BLOCK_WORD(b, test) \
  (BLOCK_BITS(b, 0, test) | BLOCK_BITS(b, 1, test) | BLOCK_BITS(b, 2, test) | BLOCK_BITS(b, 3, test))
#define BLOCK_ANY(b, test) \
  (found_bits(either(either(BLOCK_PART(b, 0, test), BLOCK_PART(b, 1, test)), \
                    either(BLOCK_PART(b, 2, test), BLOCK_PART(b, 3, test)))) != 0)
#else
typedef uint64_t part;
static inline part part_of(unsigned char c) { return c * 0x0101010101010101u; }
static inline part part_load(const char *p) {
  part v;
  memcpy(&v, p, sizeof v);
  return v;
}
/* The multiplication brings each byte's bit to a place of its own in the highest byte. */
static inline uint64_t found_bits(part v) { return (v >> 7 & part_of(1)) * 0x0102040810204080u >> 56; }
static inline part is_zero(part v) { return ~(((v & part_of(0x7F)) + part_of(0x7F)) | v); }
static inline part equal(part a, part b) { return is_zero(a ^ b); }
static inline part either(part a, part b) { return a | b; }
static inline part at_most(part v, part most) { return is_zero(v & ~most); }     /* most: a power of two less one */
#define BLOCK_LOADS LOAD(0), LOAD(1), LOAD(2), LOAD(3), LOAD(4), LOAD(5), LOAD(6), LOAD(7)
#define BLOCK_WORD(b, test) \
  (BLOCK_BITS(b, 0, test) | BLOCK_BITS(b, 1, test) | BLOCK_BITS(b, 2, test) | BLOCK_BITS(b, 3, test) | \
   BLOCK_BITS(b, 4, test) | BLOCK_BITS(b, 5, test) | BLOCK_BITS(b, 6, test) | BLOCK_BITS(b, 7, test))
#define BLOCK_ANY(b, test) (BLOCK_WORD(b, test) != 0)
#endif

#ifndef BLOCK_AVX512
typedef part found;
static inline part with(part a, part b) { return either(a, b); }
static inline found is_wide(part v) { return v; }
#endif
static inline found is(part v, char c) { return equal(v, part_of((unsigned char)c)); }
/* Equal to c once the bits of `fold` are set. */
static inline found is_folded(part v, char fold, char c) { return is(with(v, part_of((unsigned char)fold)), c); }

/* What every block is compared with, in memory: the compiler would make each of them anew for every block, with three instructions. */
#define EACH(c) { [0 ... sizeof(part) - 1] = (char)(c) }
struct constants {
  char quote[sizeof(part)], slash[sizeof(part)], line[sizeof(part)], control[sizeof(part)];
  char half[sizeof(part)], after_2[sizeof(part)], after_3[sizeof(part)], top[sizeof(part)];                    /* json_utf8.h */
};
static const struct constants constants = {
  EACH('"'), EACH('\\'), EACH('n'), EACH(0x1F), EACH(0x0F), EACH(0xE0 - 0x80), EACH(0xF0 - 0x80), EACH(0x80),
};
static inline const struct constants *constants_kept(void) {
  const struct constants *c = &constants;
  __asm__("" : "+r"(c));                         /* else it knows what stands there */
  return c;
}
static inline found is_kept(part v, const char *kept) { return equal(v, part_load(kept)); }

enum { BLOCK = 64 };
struct block {
  part v[BLOCK / sizeof(part)];
};
static inline struct block block_load(const char *p) {
#define LOAD(i) part_load(p + (i) * sizeof(part))
  return (struct block){ { BLOCK_LOADS } };
}

/* Which bytes are escaped by a backslash, *carry being whether the first is, and then whether the
   next block's first is. In a run of backslashes every second one escapes, from the first on. The bits
   behind backslashes, with all odd places set, less the backslashes: a run that starts at an odd place
   borrows through itself and one that starts at an even place does not, so that against the odd places
   what is left tells every second bit of either, and the one behind a run of an odd length. */
static inline uint64_t block_escaped(uint64_t slash, uint64_t *carry) {
  const uint64_t odd = 0xAAAAAAAAAAAAAAAAu;
  uint64_t s = slash & ~*carry, codes = ((s << 1 | odd) - s) ^ odd, escaped = codes ^ (slash | *carry);
  *carry = (codes & slash) >> 63;
  return escaped;
}

/* Every bit becomes the parity of those up to it: from quotes to what lies between them. */
static inline uint64_t block_between(uint64_t quotes) {
  quotes ^= quotes << 1;
  quotes ^= quotes << 2;
  quotes ^= quotes << 4;
  quotes ^= quotes << 8;
  quotes ^= quotes << 16;
  return quotes ^ quotes << 32;
}

static inline unsigned block_count(uint64_t v) {  /* the instruction for it is not in every x86-64 */
  v -= v >> 1 & 0x5555555555555555u;
  v = (v & 0x3333333333333333u) + (v >> 2 & 0x3333333333333333u);
  return (unsigned)(((v + (v >> 4)) & 0x0F0F0F0F0F0F0F0Fu) * 0x0101010101010101u >> 56);
}

#endif
