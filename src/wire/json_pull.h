/* json_pull.h: a document checked and used in the same pass, for what comes with every event of a stream.
   json_read looks at each byte once, and json_get again at those before its value. Here a reader enters the
   containers it knows and takes every other value whole:

     for (bool on = pull_enter(&p); on; on = pull_more(&p, '}')) { key = pull_key(&p); value = pull_value(&p); }

   What it is given has been checked as json_read would have, and the bytes behind it not yet: nothing that was read
   counts before pull_ended. Once the document is broken keys and values are JSON_NONE, and every loop ends.
   A document is only begun when it ends with a bracket. That one stops every step but the one past a bracket, so that
   no other asks whether the document is over. The usual way of a step is inline, so that a walk on a copy of its own
   keeps its place in registers. */
#ifndef WEIR_WIRE_JSON_PULL_H
#define WEIR_WIRE_JSON_PULL_H

#include "json_scan.h"

struct json_pull {
  const char *start, *end;
  const char *at;                     /* once it is broken pull_nothing, a byte that may stand nowhere */
  unsigned depth;                     /* containers that are open here */
  bool plain;                         /* the last string was short, ASCII and without escapes */
};
extern const char pull_nothing[1];
#define PULL_INLINE static inline __attribute__((always_inline))

/* The place behind the value at `at` with all that is in it, or NULL. */
const char *pull_far(const char *start, const char *at, const char *end, unsigned depth);

PULL_INLINE void pull_space(struct json_pull *p) {
  if ((unsigned char)*p->at <= ' ') p->at = scan_space(p->at, p->end);
}

PULL_INLINE bool pull_fail(struct json_pull *p) {
  p->at = pull_nothing;
  return false;
}
PULL_INLINE bool pull_broken(const struct json_pull *p) { return p->at == pull_nothing; }

PULL_INLINE void pull_begin(struct json_pull *p, struct span document) {
  while (document.n && scan_is_space(document.p[document.n - 1])) document.n--;
  *p = (struct json_pull){ document.p, document.p + document.n, document.p, 0, false };
  bool bracket = document.n && (p->end[-1] == '}' || p->end[-1] == ']');
  if (!bracket) pull_fail(p);
  else pull_space(p);
}

/* Whether that byte comes next: the first of a value, or punctuation. */
PULL_INLINE bool pull_is(const struct json_pull *p, char c) { return *p->at == c; }

PULL_INLINE bool pull_close(struct json_pull *p) {
  p->at++;
  if (--p->depth && p->at == p->end) return pull_fail(p);
  return false;
}

/* Into the container that pull_is has seen; true: it has a first member or item. */
PULL_INLINE bool pull_enter(struct json_pull *p) {
  char close = (char)(*p->at + 2);
  p->at++;
  p->depth++;
  pull_space(p);
  return pull_is(p, close) ? pull_close(p) : true;
}

/* On behind a value of the container that ends with `close`; true: another one comes. */
PULL_INLINE bool pull_more(struct json_pull *p, char close) {
  pull_space(p);
  if (pull_is(p, ',')) {
    p->at++;
    pull_space(p);
    return true;
  }
  return pull_is(p, close) ? pull_close(p) : pull_fail(p);
}

PULL_INLINE struct json pull_taken(struct json_pull *p, enum json_type type, const char *to) {
  const char *from = p->at;
  p->at = to;
  return (struct json){ type, span_of(from, (size_t)(to - from)) };
}

PULL_INLINE struct json pull_any(struct json_pull *p) {
  enum json_type type = scan_type(*p->at);
  const char *to = pull_broken(p) ? NULL : pull_far(p->start, p->at, p->end, p->depth);
  if (to && to < p->end) return pull_taken(p, type, to);
  return pull_fail(p), (struct json){ JSON_NONE, { NULL, 0 } };
}

#if WEIR_SIMD
/* Which of 16 bytes stop the plain content of a string. */
PULL_INLINE unsigned pull_stops(const char *at) {
  __m128i v = _mm_loadu_si128((const __m128i *)(const void *)at), quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
  __m128i slash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')), control = _mm_cmplt_epi8(v, _mm_set1_epi8(' '));
  return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(slash, control), quote));
}
#endif

/* At its opening quote. Most end a few bytes on, which is seen at one look. */
PULL_INLINE struct json pull_string(struct json_pull *p) {
  const char *at = p->at + 1, *to;
  unsigned stops = 0;
#if WEIR_SIMD
  if (__builtin_expect(p->end - at >= 16, 1)) stops = pull_stops(at);
  else if (p->end - p->start >= 16) stops = pull_stops(p->end - 16) >> (16 - (p->end - at));
#endif
  if (__builtin_expect(stops != 0, 1)) {
    to = at + __builtin_ctz(stops);
    p->plain = *to == '"';
  } else {
    to = scan_plain_some(at, p->end);
    p->plain = to < p->end && *to == '"';
  }
  return p->plain ? pull_taken(p, JSON_STRING, to + 1) : pull_any(p);
}

/* The end of a number of digits alone; NULL: it is something else. */
PULL_INLINE const char *pull_digits(const char *at) {
  const char *to = at;
  while ((unsigned)(*to - '0') <= 9) to++;
  bool other = to == at || *to == '.' || (*to | 0x20) == 'e' || (*at == '0' && to > at + 1);
  return other ? NULL : to;
}

PULL_INLINE struct json pull_value(struct json_pull *p) {
  const char *to;
  if (pull_is(p, '"')) return pull_string(p);
  if (pull_is(p, 'n') && p->end - p->at > 4 && memcmp(p->at, "null", 4) == 0) return pull_taken(p, JSON_NULL, p->at + 4);
  if ((to = pull_digits(p->at))) return pull_taken(p, JSON_NUMBER, to);
  return pull_any(p);
}

/* With its colon: a value comes next. */
PULL_INLINE struct json pull_key(struct json_pull *p) {
  struct json key = { JSON_NONE, { NULL, 0 } };
  if (pull_is(p, '"')) key = pull_string(p);
  pull_space(p);
  if (key.type == JSON_NONE || !pull_is(p, ':')) return pull_fail(p), (struct json){ JSON_NONE, { NULL, 0 } };
  p->at++;
  pull_space(p);
  return key;
}

/* Behind the document's value: whether it was whole, and nothing follows. */
PULL_INLINE bool pull_ended(const struct json_pull *p) { return p->at == p->end; }

/* The keys of one object, to tell one that stands twice as json_read_object does. */
enum { PULL_NAMES = 64 };
struct pull_names {
  uint64_t seen;                      /* a bit for each, some of them shared; all bits once one was not plain */
  size_t hashed;                      /* they are hashed once two share a bit */
  uint64_t hash[PULL_NAMES];
};
bool pull_name_far(struct pull_names *n, const struct json_member *members, size_t count);

/* The key of members[count], those before it being known; plain: as the pull had it. False: it is one of theirs. Two
   that differ in nothing but what json_read_object folds have one length, one first and one last letter. */
PULL_INLINE bool pull_name(struct pull_names *n, const struct json_member *members, size_t count, bool plain) {
  struct span key = members[count].key.text;
  unsigned first = (unsigned char)key.p[1] | 0x20u, last = (unsigned char)key.p[key.n - 2] | 0x20u;
  uint64_t bit = plain ? 1ull << ((key.n + first * 3 + last * 2) & 63) : ~0ull;     /* no two usual ones of a dialect share it */
  if ((n->seen & bit) && !pull_name_far(n, members, count)) return false;
  n->seen |= bit;
  return true;
}

#endif
