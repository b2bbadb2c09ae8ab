/* The input says what is written into a record, and how much room it has: it is none, or an object that reads back with what was written;
   nothing is written beyond the room, and a batch of it and another reads back too. And as a record of the ring it is left out, or taken. */
#include <stdlib.h>
#include "../src/store/room.h"

#define MUST(cond) do { if (!(cond)) abort(); } while (0)

struct script { const uint8_t *at, *end; };

static unsigned byte_of(struct script *s) { return s->at < s->end ? *s->at++ : 0; }

static struct span text_of(struct script *s) {
  size_t n = byte_of(s), left = (size_t)(s->end - s->at);
  const uint8_t *p = s->at;
  if (n > left) n = left;
  s->at += n;
  return span_of((const char *)p, n);
}

static int64_t number_of(struct script *s) {
  int64_t v = 0;
  size_t left = (size_t)(s->end - s->at), n = left < sizeof v ? left : sizeof v;
  unsigned shift = byte_of(s) % 64;
  memcpy(&v, s->at, n > 1 ? n - 1 : 0);
  return v >> shift;
}

static void pairs(struct record *r, enum ledger_column c, struct script *s) {
  record_pairs(r, c);
  for (unsigned n = byte_of(s) % 4; n; n--) {
    struct span name = text_of(s);
    record_pair(r, name, text_of(s));
  }
  record_pairs_end(r);
}

static void tries(struct record *r, struct script *s) {
  record_failed(r);
  for (unsigned n = byte_of(s) % 4; n; n--) {
    struct span target = text_of(s);
    enum fault f = (enum fault)(byte_of(s) % FAULT_COUNT);
    int status = (int)byte_of(s) * 4;
    int64_t ms = number_of(s);
    record_try(r, target, f, status, ms, number_of(s));
  }
  record_failed_end(r);
}

/* What was written last into the first of the columns that was: to be found again. */
struct wrote { bool text, number; struct span s; int64_t v; };

static struct span write_all(char *room, size_t size, struct script s, struct wrote *w) {
  struct record r;
  unsigned done = 0;
  *w = (struct wrote){ 0 };
  record_begin(&r, room, size, 77);
  while (s.at < s.end) {
    unsigned op = byte_of(&s) % 7;
    if (done & 1u << op) { text_of(&s); continue; }
    done |= 1u << op;
    if (op == 0) w->s = text_of(&s), w->text = true, record_text(&r, L_USER, w->s);
    if (op == 1) w->v = number_of(&s), w->number = true, record_number(&r, L_COST, w->v);
    if (op == 2) record_prompt(&r, (uint64_t)number_of(&s));
    if (op == 3) pairs(&r, L_TAGS, &s);
    if (op == 4) tries(&r, &s);
    if (op == 5) record_conf(&r, byte_of(&s), SPAN("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"));
    if (op == 6) record_reads(&r, SPAN("[[\"fetch\",\"sk-0123456789abcdef0123456789\"]]"));
  }
  return record_end(&r);
}

static void reads_back(struct span json, const struct wrote *w) {
  struct arena a = { 0 };
  struct json j;
  struct span s;
  int64_t v;
  MUST(json_read(json, &j, NULL) && j.type == JSON_OBJECT);
  MUST(json_i64(json_get(j, SPAN("seq")), &v) && v == 77);
  if (w->text && w->s.n && span_utf8(w->s)) MUST(json_unescape(json_get(j, SPAN("user")), &a, &s) && span_eq(s, w->s));
  if (w->number && w->v >= 0) MUST(json_i64(json_get(j, SPAN("cost")), &v) && v == w->v);
  struct span reads = json_get(j, SPAN("reads")).text;
  MUST(!reads.n || span_search(reads, SPAN("sk-0123456789abcdef")) == reads.n);
  arena_end(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct script s = { data, data + size };
  size_t most = sizeof(struct record_head) + byte_of(&s) * 64;
  char *room = mem_alloc(most);                           /* so that a byte beyond it is seen */
  struct batch k = { 0 };
  struct json j;
  struct wrote w;
  struct span record = write_all(room, most, s, &w);
  MUST(record.n <= most);
  if (record.n) {
    reads_back(span_from(record, sizeof(struct record_head)), &w);
    MUST(batch_add(&k, record) && batch_add(&k, record));
  }
  MUST(!size || batch_add(&k, span_of((const char *)data, size < 40 ? size : 40)) == false);
  if (buf_size(&k.text)) {
    buf_byte(&k.text, ']');
    MUST(json_read(buf_span(&k.text), &j, NULL) && j.type == JSON_ARRAY);
  }
  buf_free(&k.text);
  mem_free(room);
  return 0;
}
