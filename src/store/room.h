/* room.h: what the files of this folder share: the open database, and what goes in and out of it. */
#ifndef STORE_ROOM_H
#define STORE_ROOM_H

#include <sqlite3.h>
#include "weir/ledger.h"
#include "weir/log.h"

/* ---- base.c: the database, opened for writing */
struct base {
  sqlite3 *db;
  sqlite3_stmt *insert, *same, *orphan, *promise;
  bool full;                          /* the transaction under way */
  int lock_fd;                        /* of ledger.lock: one weir writes */
};
enum { BASE_LAYOUT = 1 };             /* PRAGMA user_version */
/* False: *why, in a text that lives until the next call. */
bool base_open(struct base *b, const char *dir, const char **why);
void base_close(struct base *b);
bool base_begin(struct base *b, bool full);              /* full: its commit is on disk when it returns */
bool base_commit(struct base *b);                        /* false: base_why, then base_undo */
void base_undo(struct base *b);
const char *base_why(const struct base *b);              /* of the last failure, with what to do about it */
int64_t base_number(struct base *b, const char *sql);    /* one figure; -1 when it cannot be had */

/* ---- columns.c: a record's members and the table's columns */
enum column_kind { COLUMN_TEXT, COLUMN_NUMBER, COLUMN_MONEY, COLUMN_FLAG, COLUMN_JSON };
struct column { const char *name, *member; enum column_kind kind; };
extern const struct column columns[L_COLUMNS];
void columns_create(struct buf *sql);
void columns_list(struct buf *sql);                      /* "seq,ended,…" */

/* ---- row.c. Both within a transaction. */
enum row_result { ROW_NEW, ROW_KNOWN, ROW_BAD, ROW_FAILED };               /* BAD: no such record; FAILED: the database */
enum row_result row_insert(struct base *b, struct span record, struct arena *scratch);
enum row_result row_orphan(struct base *b, const struct cells_orphan *o, int64_t now_ms);

/* ---- grant.c */
bool grant_save(struct base *b, const struct cells_want *w, int64_t total, int64_t now_ms);
bool grants_seed(struct base *b, struct cells *c, int64_t now_ms);          /* once for each cells file */
bool grants_trim(struct base *b, int64_t now_ms);

/* ---- trim.c: one small step of deleting. False: the database failed. */
struct trim { int64_t offset_ms, calm_ms; bool jumped; };                   /* zeroed: fresh */
bool trim_step(struct base *b, struct trim *t, double keep, uint64_t max_size, bool *more);

/* ---- sources.c */
struct kept;
bool kept_write(const char *dir, const char *hash, const struct ledger_source *sources, size_t count);
bool folders_make(const char *path);

#endif
