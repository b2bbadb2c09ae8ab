/* record.h: an exchange's record on its way from a worker to the store, through the cells' ring. A worker only copies into it what
   it has; what can be worked out from that, and all that is text of figures, is made by the store's thread.

     version    1 byte, RECORD_VERSION
     sequence   8 bytes
     fields     a tag: the column's number, twice, and one more for a text; then the number in groups of seven bits, lowest first,
                or the text's length in two bytes and the text. In any order; a number below 0 is left out.
     lists      texts that hold fields without tags: names and values (L_NOTES, L_TAGS, L_KEY_TAGS), or for each failed try its target, and
                fault, status, milliseconds, cost + 1 (L_FAILED). L_READS is JSON.

   Columns keep their numbers while a ring of an older weir may be there, which lasts until the machine starts again. */
#ifndef WEIR_RECORD_H
#define WEIR_RECORD_H

#include "weir/ledger.h"

enum { RECORD_VERSION = 1, RECORD_HEAD = 9 };

struct record {
  char *start, *at, *end;
  char *list;                         /* the list that is open; NULL: none */
  bool full;                          /* something found no room: the record is no good */
  size_t most;                        /* longer texts are cut to so many bytes; 0: none */
};

static inline void record_begin(struct record *r, char *room, size_t size, int64_t sequence) {
  *r = (struct record){ room, room + RECORD_HEAD, room + size, NULL, false, 0 };
  *room = RECORD_VERSION;
  memcpy(room + 1, &sequence, sizeof sequence);
}

static inline bool record_room(struct record *r, size_t n) {
  if ((size_t)(r->end - r->at) >= n) return true;
  r->full = true;
  return false;
}

static inline void record_varint(struct record *r, uint64_t v) {
  if (!record_room(r, 10)) return;
  for (; v > 127; v >>= 7) *r->at++ = (char)(v | 128);
  *r->at++ = (char)v;
}

static inline void record_bytes(struct record *r, struct span s) {
  if (r->most && s.n > r->most) s.n = r->most;
  uint16_t n = (uint16_t)s.n;
  if (s.n > UINT16_MAX || !record_room(r, s.n + sizeof n)) {
    r->full = true;
    return;
  }
  memcpy(r->at, &n, sizeof n);
  if (n) memcpy(r->at + sizeof n, s.p, n);
  r->at += sizeof n + n;
}

static inline void record_unsigned(struct record *r, enum ledger_column c, uint64_t v) {
  if (!record_room(r, 1)) return;
  *r->at++ = (char)(c << 1);
  record_varint(r, v);
}

static inline void record_number(struct record *r, enum ledger_column c, int64_t v) {
  if (v >= 0) record_unsigned(r, c, (uint64_t)v);
}

static inline void record_text(struct record *r, enum ledger_column c, struct span s) {
  if (!s.n || !record_room(r, 1)) return;
  *r->at++ = (char)(c << 1 | 1);
  record_bytes(r, s);
}

/* What is put in between by record_bytes and record_varint is the list's. */
static inline void record_list(struct record *r, enum ledger_column c) {
  if (!record_room(r, 3)) return;
  *r->at++ = (char)(c << 1 | 1);
  r->list = r->at;
  r->at += sizeof(uint16_t);
}

static inline void record_list_end(struct record *r) {
  if (!r->list) return;
  size_t size = (size_t)(r->at - r->list) - sizeof(uint16_t);
  uint16_t n = (uint16_t)size;
  r->full |= size > UINT16_MAX;
  memcpy(r->list, &n, sizeof n);
  r->list = NULL;
}

static inline struct span record_span(const struct record *r) { return span_of(r->start, (size_t)(r->at - r->start)); }

#endif
