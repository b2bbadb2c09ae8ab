#include "weir/span.h"
#include <endian.h>
#include <stdlib.h>

bool span_ieq(struct span a, struct span b) { return a.n == b.n && span_istarts(a, b); }

bool span_istarts(struct span s, struct span with) {
  if (s.n < with.n) return false;
  for (size_t i = 0; i < with.n; i++)
    if (ascii_lower(s.p[i]) != ascii_lower(with.p[i])) return false;
  return true;
}

static bool blank(char c) { return c == ' ' || c == '\t'; }

struct span span_trim(struct span s) {
  while (s.n && blank(s.p[0])) s.p++, s.n--;
  while (s.n && blank(s.p[s.n - 1])) s.n--;
  return s;
}

size_t span_find(struct span s, char c) {
  const char *at = s.n ? memchr(s.p, c, s.n) : NULL;
  return at ? (size_t)(at - s.p) : s.n;
}

size_t span_search(struct span s, struct span needle) {
  const char *at = s.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
  return at ? (size_t)(at - s.p) : s.n;
}

struct span span_cut(struct span s, char c, struct span *head) {
  size_t at = span_find(s, c);
  *head = span_of(s.p, at);
  return at < s.n ? span_from(s, at + 1) : (struct span){ NULL, 0 };
}

bool span_u64(struct span s, uint64_t *out) {
  uint64_t v = 0;
  if (!s.n) return false;
  for (size_t i = 0; i < s.n; i++) {
    unsigned d = (unsigned char)s.p[i] - '0';
    if (d > 9 || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, d, &v)) return false;
  }
  *out = v;
  return true;
}

bool span_double(struct span s, double *out) {
  char text[64], *end;
  if (!s.n || s.n >= sizeof text) return false;
  for (size_t i = 0; i < s.n; i++)                 /* no hex, inf, nan, spaces: strtod takes them */
    if (!memchr("0123456789+-.eE", s.p[i], 15)) return false;
  memcpy(text, s.p, s.n);
  text[s.n] = 0;
  *out = strtod(text, &end);
  return *end == 0;
}

/* RFC 3629: no overlong forms, no surrogates, at most U+10FFFF. */
bool span_utf8(struct span s) {
  const unsigned char *p = (const unsigned char *)s.p, *end = p + s.n;
  while (p < end) {
    uint64_t eight;
    if (end - p >= 8 && (memcpy(&eight, p, 8), !(eight & 0x8080808080808080u))) { p += 8; continue; }
    unsigned c = *p++, low = 0x80, high = 0xBF, more;
    if (c < 0x80) continue;
    if (c < 0xC2 || c > 0xF4) return false;
    more = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
    if (c == 0xE0) low = 0xA0;
    if (c == 0xED) high = 0x9F;
    if (c == 0xF0) low = 0x90;
    if (c == 0xF4) high = 0x8F;
    if ((size_t)(end - p) < more) return false;
    for (; more; more--, low = 0x80, high = 0xBF)
      if (*p < low || *p++ > high) return false;
  }
  return true;
}

int span_cmp(struct span a, struct span b) {
  size_t n = a.n < b.n ? a.n : b.n;
  int c = n ? memcmp(a.p, b.p, n) : 0;
  return c ? c : a.n < b.n ? -1 : a.n > b.n;
}

/* Edit distance, without case; more than `most` is said as soon as it is sure. */
static unsigned distance(struct span a, struct span b, unsigned most) {
  unsigned row[65];
  if (a.n > 64 || b.n > 64) return most + 1;
  for (size_t j = 0; j <= b.n; j++) row[j] = (unsigned)j;
  for (size_t i = 1; i <= a.n; i++) {
    unsigned diagonal = row[0], least = row[0] = (unsigned)i;
    for (size_t j = 1; j <= b.n; j++) {
      unsigned swap = diagonal + (ascii_lower(a.p[i - 1]) != ascii_lower(b.p[j - 1]));
      unsigned best = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
      diagonal = row[j];
      row[j] = swap < best ? swap : best;
      if (row[j] < least) least = row[j];
    }
    if (least > most) return most + 1;
  }
  return row[b.n];
}

const char *span_nearest(struct span s, const char *const *words, size_t count) {
  unsigned best = (unsigned)(s.n < 4 ? 1 : s.n < 8 ? 2 : 3) + 1;   /* more slips than that are another word */
  const char *nearest = NULL;
  for (size_t i = 0; i < count; i++) {
    unsigned d = distance(s, span_cstr(words[i]), best);
    if (d < best) best = d, nearest = words[i];
  }
  return nearest;
}

/* wyhash-like mix of eight bytes at a time; seeded, since keys may come from peers. */
static uint64_t mix(uint64_t a, uint64_t b) {
  __uint128_t m = (__uint128_t)a * b;
  return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* Up to seven bytes as a number, by pieces of a size that is known; they may overlap, and are the same there. */
static uint64_t tail(const char *p, size_t n) {
  const unsigned char *b = (const unsigned char *)p;
  uint32_t low, high;
  if (n < 4) return n ? b[0] | (uint64_t)b[n / 2] << 8 * (n / 2) | (uint64_t)b[n - 1] << 8 * (n - 1) : 0;
  memcpy(&low, p, 4);
  memcpy(&high, p + n - 4, 4);
  return le32toh(low) | (uint64_t)le32toh(high) << 8 * (n - 4);
}

uint64_t span_hash(struct span s, uint64_t seed) {
  uint64_t h = seed ^ 0x9E3779B97F4A7C15u, w;
  const char *p = s.p;
  size_t n = s.n;
  for (; n >= 8; p += 8, n -= 8) {
    memcpy(&w, p, 8);
    h = mix(h ^ w, 0xD6E8FEB86659FD93u);
  }
  return mix(h ^ htole64(tail(p, n)), 0xA0761D6478BD642Fu ^ s.n);
}
