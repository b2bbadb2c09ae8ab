/* span.h: lent bytes. A span never owns; whoever lends the bytes says how long they live. */
#ifndef WEIR_SPAN_H
#define WEIR_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
  const char *p;
  size_t n;
};

#define SPAN(literal) ((struct span){ (literal), sizeof(literal) - 1 })
#define SPAN_FMT(s)   (int)(s).n, (s).p /* for "%.*s" */

static inline struct span span_of(const char *p, size_t n) { return (struct span){ p, n }; }
static inline struct span span_cstr(const char *s) { return (struct span){ s, s ? strlen(s) : 0 }; }
static inline struct span span_from(struct span s, size_t at) { return (struct span){ s.p + at, s.n - at }; }
static inline bool span_eq(struct span a, struct span b) { return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0); }
static inline bool span_starts(struct span s, struct span with) { return s.n >= with.n && memcmp(s.p, with.p, with.n) == 0; }
static inline bool span_ends(struct span s, struct span with) {
  return s.n >= with.n && memcmp(s.p + s.n - with.n, with.p, with.n) == 0;
}

/* ASCII only, whatever the locale. */
static inline char ascii_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c; }
bool span_ieq(struct span a, struct span b);
bool span_istarts(struct span s, struct span with);

/* Without leading and trailing space and tab. */
struct span span_trim(struct span s);

/* Place of the first c or needle, or s.n when there is none. */
size_t span_find(struct span s, char c);
size_t span_search(struct span s, struct span needle);

/* Cuts s at the first c: *head gets what stands before it, the rest is returned
   (empty, with p NULL, when there was no c). */
struct span span_cut(struct span s, char c, struct span *head);

/* Whole span as an unsigned decimal number, digits only; false on anything else or overflow. */
bool span_u64(struct span s, uint64_t *out);
/* Whole span as a decimal number such as "1", "0.3", "2e3"; false on anything else. */
bool span_double(struct span s, double *out);

bool span_utf8(struct span s);

/* Lexical order, bytewise. */
int span_cmp(struct span a, struct span b);

/* Of `count` words the one nearest to `s`, or NULL when none is near enough to be a slip. */
const char *span_nearest(struct span s, const char *const *words, size_t count);

uint64_t span_hash(struct span s, uint64_t seed);

#endif
