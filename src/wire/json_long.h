/* json_long.h: what is long, in blocks of 64 bytes. Compiled once per kind of block: the file that
   includes this defines LONG(name), and with BLOCK_AVX2 or BLOCK_AVX512 also how its functions are to be compiled. */
#include "json_block.h"
#include "json_utf8.h"

/* Escapes in a block, the usual ones (\" \\ \n) being `known`. Some letters differ in one bit. */
static bool escapes_ok(struct reader *r, const char *at, const struct block *b, uint64_t escaped, uint64_t known) {
  known |= BLOCK_WORD(b, either(either(is(v, '/'), is(v, 'r')), either(is_folded(v, 4, 'f'), is_folded(v, 1, 'u'))));
  uint64_t bad = escaped & ~known, unicode = escaped & BLOCK_WORD(b, is(v, 'u'));
  unsigned unit;
  if (bad) return reader_fail(r, at + __builtin_ctzll(bad) - 1, "unknown escape") != NULL;
  for (; unicode; unicode &= unicode - 1) {
    const char *u = at + __builtin_ctzll(unicode);
    if (r->end - u < 5 || !scan_hex4(u + 1, &unit)) return reader_fail(r, u - 1, "\\u without four hex digits") != NULL;
  }
  return true;
}

/* The first character from `at` on that is not UTF-8, there being one. */
static const char *first_wrong(const char *at, const char *end) {
  for (size_t n; at < end; at += n) {
    n = (signed char)*at >= 0 ? 1 : scan_utf8(at, end);
    if (!n) break;
  }
  return at;
}

/* Where the 64 bytes from `at` on and three before them can be looked at: there, or in a copy with
   zeros in place of what is not there. */
static inline const char *block_at(const char *start, const char *at, const char *end, char pad[4 + BLOCK]) {
  size_t before = at - start < 3 ? (size_t)(at - start) : 3, after = end - at < BLOCK ? (size_t)(end - at) : BLOCK;
  if (__builtin_expect(before == 3 && after == BLOCK, 1)) return at;
  memset(pad, 0, 4 + BLOCK);
  memcpy(pad + 4 - before, at - before, before + after);
  return pad + 4;
}

/* Every block goes one straight way whether it holds escapes or not, since in prose that branch would be
   mispredicted half the time; only after some blocks without any (an image in base 64, say) it is worth
   asking first. UTF-8 is checked in blocks that need it, and in the one after a character that is cut. */
const char *LONG(scan_rest_checked)(struct reader *r, const char *at, bool *plain) {
  enum { QUIET = 4 };
  const char *start = at;
  uint64_t carry = 0, escapes = 0, stop = 0;
  unsigned quiet = QUIET;
  bool wide_end = false;
  char pad[4 + BLOCK];
  const struct constants *c = constants_kept();
  const char *fourth = r->start + 3;
  const size_t size = (size_t)(r->end - r->start), whole = size < BLOCK + 3 ? 0 : size - BLOCK - 2;   /* places from the fourth on where all is there */
  *plain = true;
  for (; !stop; at += BLOCK) {
    const char *p = __builtin_expect((size_t)(at - fourth) < whole, 1) ? at : block_at(r->start, at, r->end, pad);
    struct block b = block_load(p);
    if (quiet < QUIET || BLOCK_ANY(&b, either(at_most(v, part_load(c->control)), either(is_kept(v, c->quote), is_kept(v, c->slash))))) {
      uint64_t slash = BLOCK_WORD(&b, is_kept(v, c->slash)), quote = BLOCK_WORD(&b, is_kept(v, c->quote));
      uint64_t escaped = block_escaped(slash, &carry), known = slash | quote | BLOCK_WORD(&b, is_kept(v, c->line));
      stop = (quote & ~escaped) | BLOCK_WORD(&b, at_most(v, part_load(c->control)));
      escaped &= (stop - 1) & ~stop;
      escapes |= escaped;
      quiet = slash | quote ? 0 : quiet + 1;
      if ((escaped & ~known) && !escapes_ok(r, at, &b, escaped, known)) return NULL;
    }
    bool wide = BLOCK_ANY(&b, is_wide(v));
    if (wide | wide_end) {
      *plain = false;
      if (utf8_wrong(c, p) & (stop ^ (stop - 1))) return reader_fail(r, first_wrong(start, r->end), "not UTF-8");
    }
    wide_end = (signed char)p[BLOCK - 1] < 0;
  }
  at += __builtin_ctzll(stop) - BLOCK;
  if (at >= r->end) return reader_fail(r, r->end, "the string is not closed");
  if (*at != '"') return reader_fail(r, at, "control character in a string");
  if (escapes) *plain = false;
  return at;
}

const char *LONG(scan_rest)(const char *at, const char *end) {
  const struct constants *c = constants_kept();
  uint64_t carry = 0;
  for (; end - at >= BLOCK; at += BLOCK) {
    struct block b = block_load(at);
    uint64_t escaped = block_escaped(BLOCK_WORD(&b, is_kept(v, c->slash)), &carry);
    uint64_t quote = BLOCK_WORD(&b, is_kept(v, c->quote)) & ~escaped;
    if (quote) return at + __builtin_ctzll(quote);
  }
  for (at += carry; *at != '"'; at++) at += *at == '\\';    /* it is there, so no bound is needed */
  return at;
}

/* Bit 5 makes both kinds of bracket one. Each block is one step unless the end can lie in it. */
const char *LONG(scan_container)(const char *at, const char *end) {
  const struct constants *c = constants_kept();
  char pad[4 + BLOCK];
  unsigned depth = 0;
  uint64_t inside = 0, carry = 0;                 /* inside: all bits when the block starts in a string */
  for (;; at += BLOCK) {
    struct block b = block_load(end - at >= BLOCK ? at : block_at(at, at, end, pad));
    uint64_t escaped = block_escaped(BLOCK_WORD(&b, is_kept(v, c->slash)), &carry);
    uint64_t quote = BLOCK_WORD(&b, is_kept(v, c->quote)) & ~escaped;
    if (inside && !quote) continue;
    uint64_t strings = block_between(quote) ^ inside;
    uint64_t opens = BLOCK_WORD(&b, is_folded(v, 0x20, '{')) & ~strings;
    uint64_t closes = BLOCK_WORD(&b, is_folded(v, 0x20, '}')) & ~strings;
    unsigned most = block_count(closes);
    inside = 0 - (strings >> 63);
    if (depth > most) {
      depth += block_count(opens) - most;
      continue;
    }
    for (; closes; closes &= closes - 1) {
      uint64_t before = (closes & -closes) - 1;
      depth += block_count(opens & before) - 1;
      opens &= ~before;
      if (!depth) return at + __builtin_ctzll(closes) + 1;
    }
    depth += block_count(opens);
  }
}
