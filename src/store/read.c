/* read.c: the ledger as commands read it, while a weir writes to it or not. */
#include "room.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

struct ledger_reader { sqlite3 *db; };
static _Thread_local char text[768];

static const char *explain(sqlite3 *db, const char *path) {
  int os = db ? sqlite3_system_errno(db) : 0;
  snprintf(text, sizeof text, "%.400s: %s%s%s%s", path, db ? sqlite3_errmsg(db) : "out of memory", os ? " (" : "", os ? strerrordesc_np(os) : "", os ? ")" : "");
  return text;
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
  good = good && sqlite3_prepare_v2(r->db, "SELECT 1 FROM exchanges LIMIT 1", -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) != SQLITE_CANTOPEN;
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

static void row_fill(sqlite3_stmt *s, struct ledger_row *row) {
  for (int i = 0; i < L_COLUMNS; i++) {
    int type = sqlite3_column_type(s, i);
    row->number[i] = type == SQLITE_INTEGER ? sqlite3_column_int64(s, i) : -1;
    row->text[i] = (struct span){ 0 };
    if (type == SQLITE_TEXT) row->text[i] = span_of((const char *)sqlite3_column_text(s, i), (size_t)sqlite3_column_bytes(s, i));
  }
}

static sqlite3_stmt *select_of(struct ledger_reader *r, const char *where) {
  struct buf sql = { 0 };
  sqlite3_stmt *s = NULL;
  buf_add(&sql, SPAN("SELECT "));
  columns_list(&sql);
  buf_printf(&sql, " FROM exchanges WHERE %s ORDER BY seq", where);
  struct span q = buf_span(&sql);
  sqlite3_prepare_v2(r->db, q.p, (int)q.n, &s, NULL);
  buf_free(&sql);
  return s;
}

static bool rows_each(struct ledger_reader *r, sqlite3_stmt *s, bool (*each)(void *arg, const struct ledger_row *row), void *arg, const char **why) {
  struct ledger_row row;
  int result = SQLITE_DONE;
  while ((result = sqlite3_step(s)) == SQLITE_ROW) {
    row_fill(s, &row);
    if (!each(arg, &row)) break;
  }
  bool good = result == SQLITE_ROW || result == SQLITE_DONE;
  if (!good) *why = explain(r->db, LEDGER_FILE);
  sqlite3_finalize(s);
  return good;
}

bool ledger_read_range(struct ledger_reader *r, int64_t from_ms, int64_t to_ms, bool (*each)(void *arg, const struct ledger_row *row), void *arg, const char **why) {
  const int64_t most = INT64_MAX >> LEDGER_SEQUENCE_BITS;
  sqlite3_stmt *s = select_of(r, "seq>=? AND seq<?");
  if (!s) return *why = explain(r->db, LEDGER_FILE), false;
  sqlite3_bind_int64(s, 1, (from_ms < 0 ? 0 : from_ms > most ? most : from_ms) << LEDGER_SEQUENCE_BITS);
  sqlite3_bind_int64(s, 2, to_ms >= most ? INT64_MAX : (to_ms < 0 ? 0 : to_ms) << LEDGER_SEQUENCE_BITS);
  return rows_each(r, s, each, arg, why);
}

bool ledger_read_id(struct ledger_reader *r, struct span id, bool (*each)(void *arg, const struct ledger_row *row), void *arg, const char **why) {
  sqlite3_stmt *s = select_of(r, "id=?1 OR parent=?1");
  if (!s) return *why = explain(r->db, LEDGER_FILE), false;
  sqlite3_bind_text(s, 1, id.p, (int)id.n, SQLITE_STATIC);
  return rows_each(r, s, each, arg, why);
}
