/* batch.c: records that were taken out of the ring together are one row. What is in it is found by the time of its writing: no record of
   a batch began after it. So nothing has to be kept in order but the end of a table, and a record costs what its bytes cost. */
#include <stdio.h>
#include "room.h"

enum { RECENT_BYTES = 8 << 20 };                         /* more than the ring can have held */

/* Of another configuration than the batch's, as while an older one ends: it says so itself. */
static void conf_add(struct buf *out, const struct record_head *head) {
  out->end--;
  buf_printf(out, ",\"generation\":%u,\"conf\":\"%.*s\"}", (unsigned)head->generation, RECORD_CONF, head->conf);
}

bool batch_add(struct batch *k, struct span record) {
  struct record_head head;
  bool first = !buf_size(&k->text);
  if (record.n < sizeof head + 2) return false;
  memcpy(&head, record.p, sizeof head);
  struct span json = span_from(record, sizeof head);
  if (head.version != RECORD_VERSION || head.size != record.n || head.sequence < 0) return false;
  char *at = buf_reserve(&k->text, json.n + 1);
  *at = first ? '[' : ',';
  memcpy(at + 1, json.p, json.n);
  buf_commit(&k->text, json.n + 1);
  if (first) k->of = head;
  else if (head.generation != k->of.generation || memcmp(head.conf, k->of.conf, sizeof head.conf) != 0) conf_add(&k->text, &head);
  if (first || head.sequence < k->first) k->first = head.sequence;
  if (first || head.sequence > k->last) k->last = head.sequence;
  return true;
}

bool batch_save(struct base *b, struct batch *k, int64_t now_ms) {
  int64_t n = now_ms << LEDGER_SEQUENCE_BITS;
  if (!buf_size(&k->text)) return true;
  if (n < k->last) n = k->last;                          /* the clock was set back */
  if (n <= b->newest) n = b->newest + 1;
  buf_byte(&k->text, ']');
  struct span text = buf_span(&k->text);
  sqlite3_bind_int64(b->insert, 1, n);
  sqlite3_bind_int64(b->insert, 2, k->first);
  sqlite3_bind_text(b->insert, 3, text.p, (int)text.n, SQLITE_STATIC);
  if (k->of.conf[0]) sqlite3_bind_text(b->insert, 4, k->of.conf, RECORD_CONF, SQLITE_STATIC), sqlite3_bind_int64(b->insert, 5, k->of.generation);
  else sqlite3_bind_null(b->insert, 4), sqlite3_bind_null(b->insert, 5);
  int r = sqlite3_step(b->insert);
  sqlite3_reset(b->insert);
  buf_clear(&k->text);
  b->newest = n;
  return r == SQLITE_DONE;
}

bool drained_save(struct base *b, int64_t ring, int64_t place) {
  sqlite3_bind_int64(b->drained, 1, ring);
  sqlite3_bind_int64(b->drained, 2, place);
  int r = sqlite3_step(b->drained);
  sqlite3_reset(b->drained);
  return r == SQLITE_DONE;
}

bool drained_load(struct base *b) {
  b->newest = base_number(b, "SELECT coalesce(max(n),0) FROM batches");
  b->ring = base_number(b, "SELECT coalesce(max(ring),0) FROM drained");
  b->place = base_number(b, "SELECT coalesce(max(place),0) FROM drained");
  return b->newest >= 0 && b->place >= 0;
}

/* ---- what was written last */
static void recent_add(struct recent *r, struct span text) {
  for (size_t at; (at = span_search(text, SPAN("{\"seq\":"))) < text.n;) {
    size_t n = 0;
    text = span_from(text, at + 7);
    while (n < text.n && text.p[n] >= '0' && text.p[n] <= '9') n++;
    if (n) table_set(&r->by_sequence, arena_copy(&r->arena, span_of(text.p, n)), r);
  }
}

static bool recent_load(struct recent *r, struct base *b) {
  sqlite3_stmt *s = NULL;
  size_t size = 0;
  int step = SQLITE_DONE;
  if (r->loaded) return true;
  if (sqlite3_prepare_v2(b->db, "SELECT records FROM batches ORDER BY n DESC", -1, &s, NULL) != SQLITE_OK) return false;
  while (size < RECENT_BYTES && (step = sqlite3_step(s)) == SQLITE_ROW) {
    struct span text = span_of((const char *)sqlite3_column_text(s, 0), (size_t)sqlite3_column_bytes(s, 0));
    recent_add(r, text);
    size += text.n;
  }
  sqlite3_finalize(s);
  r->loaded = step == SQLITE_ROW || step == SQLITE_DONE;
  return r->loaded;
}

bool recent_has(struct recent *r, struct base *b, int64_t sequence) {
  char text[24];
  if (!recent_load(r, b)) return false;
  return table_get(&r->by_sequence, span_of(text, (size_t)snprintf(text, sizeof text, "%lld", (long long)sequence)));
}

void recent_free(struct recent *r) {
  table_free(&r->by_sequence);
  arena_end(&r->arena);
  *r = (struct recent){ 0 };
}

/* ---- orphans: a batch of one, with a note of where it is */
enum { NOTE_ID, NOTE_PARTS = 4 };                        /* ledger_note */

static struct span orphan_json(struct arena *a, int64_t sequence, const struct span part[NOTE_PARTS], int64_t cost, int64_t now_ms) {
  static const enum ledger_column of[NOTE_PARTS] = { L_ID, L_KEY, L_TARGET, L_MODEL };
  struct buf out = { 0 };
  struct json_writer w = { .out = &out };
  json_begin(&w, '[');
  json_begin(&w, '{');
  json_key(&w, SPAN("seq")), json_int(&w, sequence);
  for (int i = 0; i < NOTE_PARTS; i++)
    if (part[i].n) json_key(&w, span_cstr(columns[of[i]].name)), json_str(&w, part[i]);
  json_key(&w, SPAN("end")), json_str(&w, SPAN("internal"));
  json_key(&w, SPAN("orphan")), json_int(&w, 1);
  if (cost > 0) json_key(&w, SPAN("cost")), json_int(&w, cost);
  if (cost > 0) json_key(&w, SPAN("estimate")), json_int(&w, cost);
  json_key(&w, SPAN("ended")), json_int(&w, now_ms);
  json_end(&w, '}');
  json_end(&w, ']');
  struct span json = arena_copy(a, buf_span(&out));
  buf_free(&out);
  return json;
}

static bool done(sqlite3_stmt *s) {
  int r = sqlite3_step(s);
  sqlite3_reset(s);
  return r == SQLITE_DONE;
}

/* Where it stands already: its batch; 0: nowhere. *cost: what it was said to have cost; INT64_MAX: of another exchange. */
static int64_t orphan_find(struct base *b, int64_t sequence, struct span id, int64_t *cost) {
  int64_t n = 0;
  *cost = -1;
  sqlite3_bind_int64(b->orphan_find, 1, sequence);
  if (sqlite3_step(b->orphan_find) == SQLITE_ROW) {
    n = sqlite3_column_int64(b->orphan_find, 0);
    if (sqlite3_column_type(b->orphan_find, 1) == SQLITE_INTEGER) *cost = sqlite3_column_int64(b->orphan_find, 1);
    struct span was = span_of((const char *)sqlite3_column_text(b->orphan_find, 2), (size_t)sqlite3_column_bytes(b->orphan_find, 2));
    if (!span_eq(was, id)) *cost = INT64_MAX;
  }
  sqlite3_reset(b->orphan_find);
  return n;
}

static bool orphan_put(struct base *b, int64_t sequence, struct span id, int64_t cost, int64_t n) {
  sqlite3_bind_int64(b->orphan, 1, sequence);
  sqlite3_bind_text(b->orphan, 2, id.p, (int)id.n, SQLITE_STATIC);
  if (cost > 0) sqlite3_bind_int64(b->orphan, 3, cost);
  else sqlite3_bind_null(b->orphan, 3);
  sqlite3_bind_int64(b->orphan, 4, n);
  return done(b->orphan);
}

/* A slot that reserved no money says nothing of the cost; another one of the same exchange may. */
static bool orphan_write(struct base *b, int64_t sequence, const struct span part[NOTE_PARTS], int64_t cost, int64_t now_ms, struct recent *recent, bool *fresh) {
  struct arena a = { 0 };
  int64_t before, n = orphan_find(b, sequence, part[NOTE_ID], &before);
  bool good = true;
  if (!n && recent_has(recent, b, sequence)) return true;
  if (!n && !recent->loaded) return false;
  struct span json = orphan_json(&a, sequence, part, cost, now_ms);
  if (!n) {
    struct batch k = { .first = sequence, .last = sequence };
    buf_add(&k.text, span_of(json.p, json.n - 1));       /* batch_save ends it */
    good = batch_save(b, &k, now_ms) && orphan_put(b, sequence, part[NOTE_ID], cost, b->newest);
    buf_free(&k.text);
    *fresh = good;
  } else if (cost > before) {
    sqlite3_bind_text(b->orphan_more, 1, json.p, (int)json.n, SQLITE_STATIC);
    sqlite3_bind_int64(b->orphan_more, 2, n);
    good = done(b->orphan_more) && orphan_put(b, sequence, part[NOTE_ID], cost, n);
  }
  arena_end(&a);
  return good;
}

/* A name that was cut in the middle of a character is cut before it. */
bool orphan_save(struct base *b, const struct cells_orphan *o, int64_t now_ms, struct recent *recent, bool *fresh) {
  int64_t sequence = -1;
  struct span rest = span_of(o->note, o->note_size), part[NOTE_PARTS];
  char number[24];
  if (rest.n >= sizeof sequence) memcpy(&sequence, rest.p, sizeof sequence);
  rest = rest.n > sizeof sequence ? span_from(rest, sizeof sequence) : (struct span){ 0 };
  for (int i = 0; i < NOTE_PARTS; i++) {
    if (rest.n) rest = span_cut(rest, '\t', &part[i]);
    else part[i] = rest;
    while (part[i].n && !span_utf8(part[i])) part[i].n--;
  }
  *fresh = false;
  if (sequence < 0 || !part[NOTE_ID].n) {
    snprintf(number, sizeof number, "%llu", (unsigned long long)o->slot);
    sequence = now_ms << LEDGER_SEQUENCE_BITS;
    part[NOTE_ID] = span_cstr(number);
  }
  return orphan_write(b, sequence, part, o->amount.of[CELL_MONEY], now_ms, recent, fresh);
}
