/* row.c: a record of the ring becomes a JSON object of the database: names instead of numbers, words, what follows from the rest. */
#include <stdio.h>
#include "room.h"
#include "weir/dialect.h"
#include "weir/record.h"

/* Room for a field's name and figures; for one failed try besides its target; what a byte of text may become, with the commas of lists. */
enum { FIELD_MOST = 96, FAILED_MOST = 256, ESCAPED = 6 };
struct reading { const char *at, *end; bool bad; };

static uint64_t take_varint(struct reading *r) {
  uint64_t v = 0;
  for (unsigned shift = 0; r->at < r->end && shift < 64; shift += 7) {
    unsigned char c = (unsigned char)*r->at++;
    v |= (uint64_t)(c & 127) << shift;
    if (c < 128) return v;
  }
  r->bad = true;
  return 0;
}

static struct span take_bytes(struct reading *r) {
  uint16_t n = 0;
  if ((size_t)(r->end - r->at) >= sizeof n) memcpy(&n, r->at, sizeof n);
  if ((size_t)(r->end - r->at) < sizeof n + n) {
    r->bad = true;
    return (struct span){ 0 };
  }
  struct span s = span_of(r->at + sizeof n, n);
  r->at += sizeof n + n;
  return s;
}

/* ---- writing: the room is there, row_write has reserved it */
static void add(struct buf *out, const char *p, size_t n) {
  memcpy(out->p + out->end, p, n);
  out->end += n;
}
#define ADD(out, text) add(out, text, sizeof text - 1)

static void number(struct buf *out, uint64_t v) {
  char text[20], *p = text + sizeof text;
  do *--p = (char)('0' + v % 10); while (v /= 10);
  add(out, p, (size_t)(text + sizeof text - p));
}

/* Whether none of eight characters is a control character, a quote, a backslash, or no ASCII. May say no without a reason. */
static bool plain(uint64_t w) {
  const uint64_t one = 0x0101010101010101u;
  return !((w | (w - 0x20 * one) | ((w ^ 0x22 * one) - one) | ((w ^ 0x5C * one) - one)) & 0x80 * one);
}

/* Nearly all texts are names without a character that JSON would escape. Up to eight more bytes than it needs are written. */
static void text(struct buf *out, struct span s) {
  char *at = out->p + out->end;
  uint64_t w;
  *at++ = '"';
  for (; s.n >= sizeof w; s = span_from(s, sizeof w), at += sizeof w) {
    memcpy(&w, s.p, sizeof w);
    if (!plain(w)) break;
    memcpy(at, &w, sizeof w);
  }
  if (s.n < sizeof w) {
    memset(&w, ' ', sizeof w);
    if (s.n) memcpy(&w, s.p, s.n);
    if (plain(w)) {
      memcpy(at, &w, sizeof w);
      at += s.n;
      s.n = 0;
    }
  }
  out->end = (size_t)(at - out->p);
  json_write_escaped(out, s);
  ADD(out, "\"");
}

/* Newest first: the first of a name counts. */
static void pairs_write(struct buf *out, struct span list, struct reading *r) {
  struct reading i = { list.p, list.p + list.n, false };
  ADD(out, "{");
  for (bool some = false; i.at < i.end && !i.bad;) {
    struct reading before = { list.p, i.at, false };
    struct span key = take_bytes(&i), value = take_bytes(&i);
    bool newer = i.bad;
    while (!newer && before.at < before.end) {
      newer = span_eq(take_bytes(&before), key);
      take_bytes(&before);
    }
    if (newer || !value.n) continue;
    if (some) ADD(out, ",");
    text(out, key);
    ADD(out, ":");
    text(out, value);
    some = true;
  }
  ADD(out, "}");
  r->bad |= i.bad;
}

static void failed_write(struct buf *out, struct span list, struct reading *r) {
  struct reading i = { list.p, list.p + list.n, false };
  char money[MONEY_TEXT];
  ADD(out, "[");
  for (bool some = false; i.at < i.end && !i.bad; some = true) {
    struct span target = take_bytes(&i);
    uint64_t fault = take_varint(&i), status = take_varint(&i), ms = take_varint(&i), cost = take_varint(&i);
    i.bad |= fault >= FAULT_COUNT || cost > INT64_MAX;
    if (i.bad) break;
    buf_reserve(out, FAILED_MOST + ESCAPED * (target.n + (size_t)(i.end - i.at)));       /* many short ones take more than was reserved */
    if (some) ADD(out, ",");
    ADD(out, "{\"target\":");
    text(out, target);
    ADD(out, ",\"fault\":");
    text(out, span_cstr(fault_word((enum fault)fault)));
    if (status) ADD(out, ",\"status\":"), number(out, status);
    ADD(out, ",\"ms\":");
    number(out, ms);
    if (cost > 1) {
      ADD(out, ",\"cost\":");
      text(out, span_of(money, money_text((picodollars)(cost - 1), money)));
    }
    ADD(out, "}");
  }
  ADD(out, "]");
  r->bad |= i.bad;
}

static void number_write(struct buf *out, enum ledger_column c, uint64_t v, struct reading *r) {
  char hex[20];
  switch (c) {
  case L_DIALECT:
    r->bad |= v >= DIALECT_COUNT;
    if (!r->bad) text(out, span_cstr(dialect_word((enum dialect)v)));
    break;
  case L_PROMPT:
    hex[0] = '#';
    for (int i = 16; i > 0; i--, v >>= 4) hex[i] = "0123456789abcdef"[v & 15];
    text(out, span_of(hex, 17));
    break;
  default:
    r->bad |= columns[c].kind != COLUMN_NUMBER || v > INT64_MAX;
    number(out, v);
  }
}

/* It is JSON already. */
static void json_add(struct buf *out, struct span s, struct reading *r) {
  struct json all;
  if (s.n && json_read(s, &all, NULL)) add(out, s.p, s.n);
  else r->bad = true;
}

/* What policies read may hold what they fetched. A private key that was cut takes all behind it with it. */
static void reads_write(struct buf *out, struct span s, struct reading *r) {
  struct buf shown = { 0 };
  struct json all;
  secrets_hide(s, &shown);
  bool whole = json_read(buf_span(&shown), &all, NULL);
  json_add(out, whole || !json_read(s, &all, NULL) ? buf_span(&shown) : SPAN("[\"full\"]"), r);
  buf_free(&shown);
}

static void text_write(struct buf *out, enum ledger_column c, struct span s, struct reading *r) {
  if (c == L_READS) reads_write(out, s, r);
  else if (c == L_FAILED) failed_write(out, s, r);
  else if (columns[c].kind == COLUMN_JSON) pairs_write(out, s, r);
  else if (columns[c].kind == COLUMN_TEXT) text(out, s);
  else r->bad = true;
}

static void field_write(struct buf *out, enum ledger_column c, bool is_text, int64_t *ms, struct reading *r) {
  add(out, columns[c].key, columns[c].key_size);
  if (is_text) {
    struct span s = take_bytes(r);
    if (!r->bad && s.n) text_write(out, c, s, r);
    else r->bad = true;                                  /* an empty one is not written */
    return;
  }
  uint64_t v = take_varint(r);
  if (c == L_MS) *ms = v > INT64_MAX >> LEDGER_SEQUENCE_BITS ? 0 : (int64_t)v;
  number_write(out, c, v, r);
}

bool row_write(struct buf *out, struct span record, int64_t *sequence) {
  struct reading r = { record.p + RECORD_HEAD, record.p + record.n, false };
  size_t before = buf_size(out);
  int64_t ms = 0;
  if (record.n < RECORD_HEAD || record.p[0] != RECORD_VERSION) return false;
  memcpy(sequence, record.p + 1, sizeof *sequence);
  if (*sequence < 0) return false;
  buf_reserve(out, FIELD_MOST);
  ADD(out, "{\"seq\":");
  number(out, (uint64_t)*sequence);
  while (r.at < r.end && !r.bad) {
    unsigned tag = (unsigned char)*r.at++, c = tag >> 1;
    r.bad |= c >= L_COLUMNS;
    buf_reserve(out, FIELD_MOST + ESCAPED * (size_t)(r.end - r.at));
    if (!r.bad) field_write(out, (enum ledger_column)c, tag & 1, &ms, &r);
  }
  buf_reserve(out, FIELD_MOST);
  add(out, columns[L_ENDED].key, columns[L_ENDED].key_size);
  number(out, (uint64_t)(ledger_begun_ms(*sequence) + ms));
  ADD(out, "}");
  if (r.bad) out->end -= buf_size(out) - before;
  return !r.bad;
}

/* ---- orphans */
size_t ledger_note(char out[CELLS_NOTE], int64_t sequence, struct span id, struct span key, struct span target, struct span model) {
  const struct span parts[] = { id, key, target, model };
  char text[20], *p = text + sizeof text;
  size_t n = 0;
  for (uint64_t v = (uint64_t)sequence; p == text + sizeof text || v; v /= 10) *--p = (char)('0' + v % 10);
  n = (size_t)(text + sizeof text - p);
  memcpy(out, p, n);
  for (size_t i = 0; i < sizeof parts / sizeof *parts && n < CELLS_NOTE; i++) {
    size_t room = CELLS_NOTE - n - 1, take = parts[i].n < room ? parts[i].n : room;
    out[n++] = '\t';
    if (take) memcpy(out + n, parts[i].p, take);
    n += take;
  }
  return n;
}
