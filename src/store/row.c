/* row.c: a record of the ring becomes a row. One that is drained twice (the process died before it could say that it had it) is one
   row: its sequence is the row's key. Should two exchanges ever share a sequence, the id tells them apart and the next free one is taken. */
#include "room.h"
#include <stdio.h>

enum { MOST_MEMBERS = 128, TRIES = 64 };

/* Members come in the order of the columns, so the search goes on where the last one was found. */
static int column_of(struct span member, int *hint, struct arena *scratch, struct json key) {
  struct span name = member;
  if (memchr(name.p, '\\', name.n) && !json_unescape(key, scratch, &name)) return -1;
  for (int i = 0; i < L_COLUMNS; i++) {
    int c = *hint + i < L_COLUMNS ? *hint + i : *hint + i - L_COLUMNS;
    size_t n = strlen(columns[c].member);
    if (n != name.n || memcmp(columns[c].member, name.p, n)) continue;
    *hint = c + 1 < L_COLUMNS ? c + 1 : 0;
    return c;
  }
  return -1;
}

static bool bind(sqlite3_stmt *s, int c, struct json v, struct arena *scratch) {
  struct span text;
  picodollars amount;
  const char *why;
  int64_t n;
  switch (columns[c].kind) {
  case COLUMN_NUMBER: return json_i64(v, &n) && sqlite3_bind_int64(s, c + 1, n) == SQLITE_OK;
  case COLUMN_FLAG: return sqlite3_bind_int(s, c + 1, v.type == JSON_TRUE) == SQLITE_OK;
  case COLUMN_JSON: return sqlite3_bind_text(s, c + 1, v.text.p, (int)v.text.n, SQLITE_STATIC) == SQLITE_OK;
  case COLUMN_MONEY:
    return v.type == JSON_STRING && json_unescape(v, scratch, &text) && money_read(text, &amount, &why) && sqlite3_bind_int64(s, c + 1, amount) == SQLITE_OK;
  default:
    if (v.type != JSON_STRING) return false;
    json_unescape(v, scratch, &text);
    return sqlite3_bind_text(s, c + 1, text.p ? text.p : "", (int)text.n, SQLITE_STATIC) == SQLITE_OK;
  }
}

static enum row_result step(struct base *b, int64_t sequence, struct span id) {
  for (int i = 0; i < TRIES; i++, sequence++) {
    sqlite3_bind_int64(b->insert, L_SEQUENCE + 1, sequence);
    int r = sqlite3_step(b->insert);
    sqlite3_reset(b->insert);
    if (r != SQLITE_DONE) return ROW_FAILED;
    if (sqlite3_changes(b->db)) return ROW_NEW;
    sqlite3_bind_int64(b->same, 1, sequence);
    bool same = sqlite3_step(b->same) == SQLITE_ROW && sqlite3_column_bytes(b->same, 0) == (int)id.n &&
      (!id.n || !memcmp(sqlite3_column_text(b->same, 0), id.p, id.n));
    sqlite3_reset(b->same);
    if (same) return ROW_KNOWN;
  }
  return ROW_BAD;
}

enum row_result row_insert(struct base *b, struct span record, struct arena *scratch) {
  struct json_member members[MOST_MEMBERS];
  size_t count;
  int hint = L_ID;
  int64_t sequence = -1;
  struct span id = { 0 };
  if (!json_read_object(record, members, MOST_MEMBERS, &count, NULL)) return ROW_BAD;
  if (!json_i64(json_member_of(members, count, SPAN("sequence")), &sequence) || sequence < 0) return ROW_BAD;
  sqlite3_clear_bindings(b->insert);
  for (size_t i = 0; i < count; i++) {
    struct span key = span_of(members[i].key.text.p + 1, members[i].key.text.n - 2);
    int c = column_of(key, &hint, scratch, members[i].key);
    if (c < 0 || members[i].value.type == JSON_NULL) continue;
    if (!bind(b->insert, c, members[i].value, scratch)) return ROW_BAD;
  }
  json_unescape(json_member_of(members, count, SPAN("id")), scratch, &id);
  return step(b, sequence, id);
}

/* ---- orphans */
size_t ledger_note(char out[CELLS_NOTE], int64_t sequence, struct span id, struct span key, struct span target, struct span model) {
  int n = snprintf(out, CELLS_NOTE, "%lld\t%.*s\t%.*s\t%.*s\t%.*s", (long long)sequence, SPAN_FMT(id), SPAN_FMT(key), SPAN_FMT(target), SPAN_FMT(model));
  return n < CELLS_NOTE ? (size_t)n : CELLS_NOTE - 1;
}

/* A slot that reserved no money says nothing of the cost; another one of the same exchange may. A name that was cut in the middle of a
   character is cut before it. */
enum row_result row_orphan(struct base *b, const struct cells_orphan *o, int64_t now_ms) {
  struct span rest = span_of(o->note, o->note_size), part[5];
  char number[24];
  for (int i = 0; i < 5; i++) {
    if (rest.n) rest = span_cut(rest, '\t', &part[i]);
    else part[i] = rest;
    while (part[i].n && !span_utf8(part[i])) part[i].n--;
  }
  uint64_t sequence;
  if (!span_u64(part[0], &sequence) || sequence > INT64_MAX || !part[1].n) {
    snprintf(number, sizeof number, "%llu", (unsigned long long)o->slot);
    sequence = (uint64_t)now_ms << LEDGER_SEQUENCE_BITS;
    part[1] = span_cstr(number);
  }
  sqlite3_clear_bindings(b->orphan);
  sqlite3_bind_int64(b->orphan, 1, (int64_t)sequence);
  for (int i = 1; i < 5; i++)
    if (part[i].n) sqlite3_bind_text(b->orphan, i + 1, part[i].p, (int)part[i].n, SQLITE_STATIC);
  if (o->amount.of[CELL_MONEY] > 0) sqlite3_bind_int64(b->orphan, 6, o->amount.of[CELL_MONEY]);
  sqlite3_bind_int64(b->orphan, 7, now_ms);
  int r = sqlite3_step(b->orphan);
  sqlite3_reset(b->orphan);
  if (r != SQLITE_DONE) return ROW_FAILED;
  return sqlite3_changes(b->db) ? ROW_NEW : ROW_KNOWN;
}
