/* read.c: the ledger as commands read it, while a weir writes to it or not. */
#include "room.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

struct ledger_reader {
  sqlite3 *db;
  const char *older;                  /* the table of rows of layout 1; NULL: there is none */
  bool batches;
};
static _Thread_local char text[768];

static const char *explain(sqlite3 *db, const char *path) {
  int os = db ? sqlite3_system_errno(db) : 0;
  snprintf(text, sizeof text, "%.400s: %s%s%s%s", path, db ? sqlite3_errmsg(db) : "out of memory", os ? " (" : "", os ? strerrordesc_np(os) : "", os ? ")" : "");
  return text;
}

/* A database that no weir of today has opened has none but the older table. */
static bool tables_find(struct ledger_reader *r, sqlite3_stmt *s) {
  int step;
  while ((step = sqlite3_step(s)) == SQLITE_ROW) {
    const char *name = (const char *)sqlite3_column_text(s, 0);
    if (!strcmp(name, "batches")) r->batches = true;
    if (!strcmp(name, "exchanges_1")) r->older = "exchanges_1";
    if (!strcmp(name, "exchanges")) r->older = "exchanges";
  }
  return step == SQLITE_DONE && (r->batches || r->older);
}

struct ledger_reader *ledger_read_open(const char *dir, const char **why) {
  struct ledger_reader *r = mem_zero(sizeof *r);
  char path[4096];
  snprintf(path, sizeof path, "%s/" LEDGER_FILE, dir);
  sqlite3_stmt *s = NULL;
  bool there = !access(path, F_OK);
  if (!there) snprintf(text, sizeof text, "%.400s: %s: no ledger was kept there (is `state` the folder of the running weir?)", path, strerrordesc_np(errno));
  bool good = there && sqlite3_open_v2(path, &r->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK;
  if (good) sqlite3_busy_timeout(r->db, 5000);
  good = good && sqlite3_prepare_v2(r->db, "SELECT name FROM sqlite_master WHERE type='table'", -1, &s, NULL) == SQLITE_OK && tables_find(r, s);
  if (!good && there) explain(r->db, path);
  sqlite3_finalize(s);
  *why = text;
  if (good) return r;
  ledger_read_close(r);
  return NULL;
}

void ledger_read_close(struct ledger_reader *r) {
  if (!r) return;
  sqlite3_close(r->db);
  mem_free(r);
}

typedef bool each_row(void *arg, const struct ledger_row *row);
struct want { struct span id; enum ledger_column column; int64_t from, to; };        /* id p NULL: of that range */

static const struct ledger_row *row_clear(struct ledger_row *row) {
  memset(row->text, 0, sizeof row->text);
  for (int i = 0; i < L_COLUMNS; i++) row->number[i] = -1;
  return row;
}

static bool wanted(const struct want *w, const struct ledger_row *row) {
  if (w->id.p) return span_eq(row->text[w->column], w->id);
  return row->number[L_SEQUENCE] >= w->from && row->number[L_SEQUENCE] < w->to;
}

/* ---- batches */
struct batch_said { struct span conf; int64_t generation; };

static int column_of(struct span name, int *hint) {
  for (int i = 0; i < L_COLUMNS; i++) {
    int c = *hint + i < L_COLUMNS ? *hint + i : *hint + i - L_COLUMNS;
    size_t n = strlen(columns[c].name);
    if (n != name.n || memcmp(columns[c].name, name.p, n)) continue;
    *hint = c + 1 < L_COLUMNS ? c + 1 : 0;
    return c;
  }
  return -1;
}

/* Members come in the same order in each record, so the search goes on where the last one was found. */
static void row_of_json(struct json record, struct ledger_row *row, struct arena *a) {
  struct json_iter i = json_iter(record);
  struct json key, value;
  int hint = 0;
  row_clear(row);
  while (json_next(&i, &key, &value)) {
    int c = column_of(span_of(key.text.p + 1, key.text.n - 2), &hint);
    if (c < 0) continue;
    if (columns[c].kind == COLUMN_NUMBER) json_i64(value, &row->number[c]);
    else if (columns[c].kind == COLUMN_JSON) row->text[c] = value.text;
    else if (value.type == JSON_STRING) json_unescape(value, a, &row->text[c]);
  }
}

/* What records leave out: what their batch says, and what follows from the rest. */
static void row_complete(struct ledger_row *row, const struct batch_said *b) {
  int64_t ms = row->number[L_MS];
  if (!row->text[L_CONF].p && b->conf.n) row->text[L_CONF] = b->conf;
  if (row->number[L_GENERATION] < 0) row->number[L_GENERATION] = b->generation;
  if (row->number[L_ENDED] < 0 && ms >= 0 && ms < INT64_MAX >> 1) row->number[L_ENDED] = ledger_begun_ms(row->number[L_SEQUENCE]) + ms;
}

static bool batch_rows(struct span records, const struct batch_said *b, const struct want *w, each_row *each, void *arg) {
  struct arena a = { 0 };
  struct ledger_row row;
  struct json all, record, key;
  bool on = true;
  if (!json_read(records, &all, NULL) || all.type != JSON_ARRAY) return true;
  for (struct json_iter i = json_iter(all); on && json_next(&i, &key, &record);) {
    row_of_json(record, &row, &a);
    row_complete(&row, b);
    if (wanted(w, &row)) on = each(arg, &row);
    arena_reset(&a);
  }
  arena_end(&a);
  return on;
}

static struct batch_said said_of(sqlite3_stmt *s) {
  struct batch_said b = { .generation = -1 };
  if (sqlite3_column_count(s) == 1 || sqlite3_column_type(s, 1) != SQLITE_TEXT) return b;
  b.conf = span_of((const char *)sqlite3_column_text(s, 1), (size_t)sqlite3_column_bytes(s, 1));
  b.generation = sqlite3_column_int64(s, 2);
  return b;
}

/* An id stands in the text as it is: it has no character that JSON would escape. */
static bool batches_read(struct ledger_reader *r, const struct want *w, each_row *each, void *arg, bool *on) {
  sqlite3_stmt *s = NULL;
  int step = SQLITE_DONE;
  bool good = sqlite3_prepare_v2(r->db, "SELECT records,conf,generation FROM batches WHERE n>=? AND first<? ORDER BY n", -1, &s, NULL) == SQLITE_OK ||
    sqlite3_prepare_v2(r->db, "SELECT records FROM batches WHERE n>=? AND first<? ORDER BY n", -1, &s, NULL) == SQLITE_OK;       /* of layout 4 */
  if (!good) return false;
  sqlite3_bind_int64(s, 1, w->from);
  sqlite3_bind_int64(s, 2, w->to);
  while (*on && (step = sqlite3_step(s)) == SQLITE_ROW) {
    struct span records = span_of((const char *)sqlite3_column_text(s, 0), (size_t)sqlite3_column_bytes(s, 0));
    if (w->id.p && span_search(records, w->id) == records.n) continue;
    struct batch_said said = said_of(s);
    *on = batch_rows(records, &said, w, each, arg);
  }
  sqlite3_finalize(s);
  return step == SQLITE_ROW || step == SQLITE_DONE;
}

/* ---- the rows of layout 1 */
static void row_of_table(sqlite3_stmt *s, struct ledger_row *row) {
  row_clear(row);
  for (int i = 0; i <= L_ORPHAN; i++) {
    int type = sqlite3_column_type(s, i);
    if (type == SQLITE_INTEGER) row->number[i] = sqlite3_column_int64(s, i);
    if (type == SQLITE_TEXT) row->text[i] = span_of((const char *)sqlite3_column_text(s, i), (size_t)sqlite3_column_bytes(s, i));
  }
}

static bool older_read(struct ledger_reader *r, const struct want *w, each_row *each, void *arg, bool *on) {
  struct ledger_row row;
  struct buf sql = { 0 };
  sqlite3_stmt *s = NULL;
  int step = SQLITE_DONE;
  buf_add(&sql, SPAN("SELECT "));
  columns_older(&sql);
  buf_printf(&sql, " FROM %s WHERE seq>=? AND seq<? ORDER BY seq", r->older);
  struct span words = buf_span(&sql);
  int prepared = sqlite3_prepare_v2(r->db, words.p, (int)words.n, &s, NULL);
  buf_free(&sql);
  if (prepared != SQLITE_OK) return false;
  sqlite3_bind_int64(s, 1, w->from);
  sqlite3_bind_int64(s, 2, w->to);
  while (*on && (step = sqlite3_step(s)) == SQLITE_ROW) {
    row_of_table(s, &row);
    if (wanted(w, &row)) *on = each(arg, &row);
  }
  sqlite3_finalize(s);
  return step == SQLITE_ROW || step == SQLITE_DONE;
}

bool ledger_read_contents(struct ledger_reader *r, struct span id, int64_t sequence, struct arena *a, struct ledger_kept *out) {
  sqlite3_stmt *s = NULL;
  if (sqlite3_prepare_v2(r->db, "SELECT request,answer,cut FROM contents WHERE id=? AND seq=?", -1, &s, NULL) != SQLITE_OK) return false;
  sqlite3_bind_text(s, 1, id.p, (int)id.n, SQLITE_STATIC);
  sqlite3_bind_int64(s, 2, sequence);
  bool there = sqlite3_step(s) == SQLITE_ROW;
  if (there) {
    out->request = arena_copy(a, span_of((const char *)sqlite3_column_text(s, 0), (size_t)sqlite3_column_bytes(s, 0)));
    out->answer = arena_copy(a, span_of((const char *)sqlite3_column_text(s, 1), (size_t)sqlite3_column_bytes(s, 1)));
    out->cut = sqlite3_column_int(s, 2);
  }
  sqlite3_finalize(s);
  return there;
}

static bool read_all(struct ledger_reader *r, const struct want *w, each_row *each, void *arg, const char **why) {
  bool on = true, good = !r->older || older_read(r, w, each, arg, &on);
  good = good && (!on || !r->batches || batches_read(r, w, each, arg, &on));
  if (!good) *why = explain(r->db, LEDGER_FILE);
  return good;
}

bool ledger_read_range(struct ledger_reader *r, int64_t from_ms, int64_t to_ms, each_row *each, void *arg, const char **why) {
  const int64_t most = INT64_MAX >> LEDGER_SEQUENCE_BITS;
  struct want w = { .from = (from_ms < 0 ? 0 : from_ms > most ? most : from_ms) << LEDGER_SEQUENCE_BITS };
  w.to = to_ms >= most ? INT64_MAX : (to_ms < 0 ? 0 : to_ms) << LEDGER_SEQUENCE_BITS;
  return read_all(r, &w, each, arg, why);
}

bool ledger_read_id(struct ledger_reader *r, struct span id, each_row *each, void *arg, const char **why) {
  struct want w = { .id = id, .column = L_ID, .to = INT64_MAX }, children = { .id = id, .column = L_PARENT, .to = INT64_MAX };
  if (!id.n) return true;
  return read_all(r, &w, each, arg, why) && read_all(r, &children, each, arg, why);
}
