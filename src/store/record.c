/* record.c: a record as it is written by who has it. Nearly all of it is names of columns, small numbers, and texts that JSON takes as they
   are, so these are written without a look at each byte. */
#include "room.h"
#include "weir/money.h"
#include "weir/record.h"

/* Room that is asked for beside a text's own: a column's name, a number, brackets, and what is written at once though it is longer than
   what is kept of it. */
enum { FIELD_MOST = 96, ESCAPED = 6 };                   /* ESCAPED: what a byte may become */

static bool fits(struct record *r, size_t n) {
  if (__builtin_expect((size_t)(r->end - r->at) >= n + FIELD_MOST && !r->full, 1)) return true;
  r->full = true;
  return false;
}

#define ADD(r, text) (memcpy((r)->at, text, sizeof text - 1), (r)->at += sizeof text - 1)

static void key(struct record *r, enum ledger_column c) {
  memcpy(r->at, columns[c].key, sizeof columns[c].key);
  r->at += columns[c].key_size;
}

/* Two digits at a time: sequences and costs have many. */
static void number(struct record *r, uint64_t v) {
  static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657585960616263"
                              "6465666768697071727374757677787980818283848586878889909192939495969798" "99";
  enum { DIGITS = 20 };
  char text[2 * DIGITS], *p = text + DIGITS;
  for (; v > 99; v /= 100) memcpy(p -= 2, pairs + v % 100 * 2, 2);
  if (v > 9) memcpy(p -= 2, pairs + v * 2, 2);
  else *--p = (char)('0' + v);
  memset(text + DIGITS, 0, DIGITS);
  memcpy(r->at, p, DIGITS);
  r->at += text + DIGITS - p;
}

/* Whether none of eight characters is a control character, a quote, a backslash, or no ASCII. May say no without a reason. */
static bool plain(uint64_t w) {
  const uint64_t one = 0x0101010101010101u;
  return !((w | (w - 0x20 * one) | ((w ^ 0x22 * one) - one) | ((w ^ 0x5C * one) - one)) & 0x80 * one);
}

/* The rest of a text, from a character on that JSON may not take as it is. */
static void escaped(struct record *r, struct span s) {
  struct buf out = { 0 };
  json_write_escaped(&out, s);
  struct span more = buf_span(&out);
  if (fits(r, more.n)) memcpy(r->at, more.p, more.n), r->at += more.n;
  buf_free(&out);
}

/* How much of the text was plain, and is written. The last eight characters of a longer one overlap those before them. */
static size_t plain_part(char *at, struct span s) {
  uint64_t w;
  size_t i = 0;
  for (; i + sizeof w <= s.n; i += sizeof w) {
    memcpy(&w, s.p + i, sizeof w);
    if (!plain(w)) return i;
    memcpy(at + i, &w, sizeof w);
  }
  if (i == s.n) return i;
  if (i) i = s.n - sizeof w;
  memset(&w, ' ', sizeof w);
  if (i) memcpy(&w, s.p + i, sizeof w);
  else memcpy(&w, s.p, s.n);
  if (!plain(w)) return i;
  memcpy(at + i, &w, sizeof w);
  return s.n;
}

static void string(struct record *r, struct span s) {
  if (r->most && s.n > r->most) s.n = r->most;
  if (!fits(r, s.n)) return;
  *r->at++ = '"';
  size_t n = plain_part(r->at, s);
  struct span rest = span_from(s, n);
  r->at += n;
  if (r->most && rest.n > r->most / ESCAPED) rest.n = r->most / ESCAPED;
  if (rest.n) escaped(r, rest);
  if (!r->full) *r->at++ = '"';
}

/* ---- fields */
void record_begin(struct record *r, char *room, size_t size, int64_t sequence) {
  struct record_head head = { .sequence = sequence, .version = RECORD_VERSION };
  *r = (struct record){ room, room + sizeof head, room + (size < CELLS_RECORD ? size : CELLS_RECORD), sequence < 0, false, 0 };
  memcpy(r->start, &head, sizeof head);
  if (!fits(r, 0)) return;
  ADD(r, "{\"seq\":");
  number(r, (uint64_t)sequence);
}

void record_conf(struct record *r, unsigned generation, struct span hash) {
  struct record_head head;
  if (hash.n != RECORD_CONF) return;
  memcpy(&head, r->start, sizeof head);
  head.generation = generation;
  memcpy(head.conf, hash.p, RECORD_CONF);
  memcpy(r->start, &head, sizeof head);
}

void record_number(struct record *r, enum ledger_column c, int64_t v) {
  if (v < 0 || !fits(r, 0)) return;
  key(r, c);
  number(r, (uint64_t)v);
}

void record_text(struct record *r, enum ledger_column c, struct span s) {
  if (!s.n || !fits(r, 0)) return;
  key(r, c);
  string(r, s);
}

void record_word(struct record *r, enum ledger_column c, struct span s) {
  if (!s.n || !fits(r, s.n)) return;
  key(r, c);
  *r->at++ = '"';
  memcpy(r->at, s.p, s.n);
  r->at += s.n;
  *r->at++ = '"';
}

void record_prompt(struct record *r, uint64_t hash) {
  char hex[17] = "#";
  for (int i = 16; i > 0; i--, hash >>= 4) hex[i] = "0123456789abcdef"[hash & 15];
  record_word(r, L_PROMPT, span_of(hex, sizeof hex));
}

/* What policies read may hold what they fetched. A private key that was cut takes all behind it with it. */
void record_reads(struct record *r, struct span json) {
  struct buf shown = { 0 };
  struct json all;
  if (!json.n) return;
  secrets_hide(json, &shown);
  struct span text = json_read(buf_span(&shown), &all, NULL) ? buf_span(&shown) : SPAN("[\"full\"]");
  if (fits(r, text.n)) {
    key(r, L_READS);
    memcpy(r->at, text.p, text.n);
    r->at += text.n;
  }
  buf_free(&shown);
}

/* ---- lists */
static void list(struct record *r, enum ledger_column c, char open) {
  r->some = false;
  if (!fits(r, 0)) return;
  key(r, c);
  *r->at++ = open;
}

static bool item(struct record *r) {
  if (!fits(r, 0)) return false;
  if (r->some) *r->at++ = ',';
  return r->some = true;
}

static void list_end(struct record *r, char close) {
  if (fits(r, 0)) *r->at++ = close;
}

void record_pairs(struct record *r, enum ledger_column c) { list(r, c, '{'); }
void record_pairs_end(struct record *r) { list_end(r, '}'); }

void record_pair(struct record *r, struct span name, struct span value) {
  if (!value.n || !item(r)) return;
  string(r, name);
  if (fits(r, 0)) *r->at++ = ':';
  string(r, value);
}

void record_failed(struct record *r) { list(r, L_FAILED, '['); }
void record_failed_end(struct record *r) { list_end(r, ']'); }

void record_try(struct record *r, struct span target, enum fault f, int status, int64_t ms, int64_t cost) {
  char money[MONEY_TEXT];
  if (!item(r)) return;
  ADD(r, "{\"target\":");
  string(r, target);
  if (!fits(r, 0)) return;
  ADD(r, ",\"fault\":");
  string(r, span_cstr(fault_word(f)));
  if (!fits(r, 0)) return;
  if (status > 0) ADD(r, ",\"status\":"), number(r, (uint64_t)status);
  ADD(r, ",\"ms\":");
  number(r, ms > 0 ? (uint64_t)ms : 0);
  if (cost > 0) ADD(r, ",\"cost\":"), string(r, span_of(money, money_text(cost, money)));
  list_end(r, '}');
}

_Static_assert(CELLS_RECORD <= UINT16_MAX, "record_head.size");
struct span record_end(struct record *r) {
  list_end(r, '}');
  if (r->full) return (struct span){ 0 };
  uint16_t size = (uint16_t)(r->at - r->start);
  memcpy(r->start + offsetof(struct record_head, size), &size, sizeof size);
  return span_of(r->start, size);
}

/* ---- orphans */
size_t ledger_note(char out[CELLS_NOTE], int64_t sequence, struct span id, struct span key_name, struct span target, struct span model) {
  const struct span parts[] = { id, key_name, target, model };
  size_t n = sizeof sequence;
  memcpy(out, &sequence, sizeof sequence);
  for (size_t i = 0; i < sizeof parts / sizeof *parts && n < CELLS_NOTE; i++) {
    size_t left = CELLS_NOTE - n, take = parts[i].n < left ? parts[i].n : left;
    if (take) memcpy(out + n, parts[i].p, take);
    n += take;
    if (n < CELLS_NOTE) out[n++] = '\t';
  }
  return n;
}
