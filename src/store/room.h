/* room.h: what the files of this folder share: the open database, and what goes in and out of it. */
#ifndef STORE_ROOM_H
#define STORE_ROOM_H

#include <sqlite3.h>
#include "weir/ledger.h"
#include "weir/record.h"
#include "weir/log.h"
#include "weir/table.h"

/* ---- base.c: the database, opened for writing */
struct base {
  sqlite3 *db;
  sqlite3_stmt *insert, *drained, *orphan_find, *orphan, *orphan_more, *promise, *content;
  bool full;                          /* the transaction under way */
  int lock_fd;                        /* of ledger.lock: one weir writes */
  bool older;                         /* there is a table exchanges_1 */
  int64_t newest;                     /* batch */
  int64_t ring, place;                /* how far which ring is in here: cells_ring_name, cells_drain_place */
};
/* PRAGMA user_version. 1: a table `exchanges` instead of batches; it stays, as exchanges_1. 2: never released. 3: fewer columns in the view. 4: no columns
   of batches for what their records have in common */
enum { BASE_LAYOUT = 5 };
/* False: *why, in a text that lives until the next call. */
bool base_open(struct base *b, const char *dir, const char **why);
void base_close(struct base *b);
bool base_begin(struct base *b, bool full);              /* full: its commit is on disk when it returns */
bool base_commit(struct base *b);                        /* false: base_why, then base_undo */
void base_undo(struct base *b);
const char *base_why(const struct base *b);              /* of the last failure, with what to do about it */
int64_t base_number(struct base *b, const char *sql);    /* one figure; -1 when it cannot be had */

/* ---- columns.c: what a record may have */
enum column_kind { COLUMN_TEXT, COLUMN_NUMBER, COLUMN_JSON };
struct column { const char *name; char key[24]; size_t key_size; enum column_kind kind; };          /* key: as it stands in JSON, behind another */
extern const struct column columns[L_COLUMNS];
void columns_view(struct buf *sql, bool older);          /* CREATE VIEW exchanges …; older: there is a table exchanges_1 */
void columns_older(struct buf *sql);                     /* "seq","ended",… of that table */

/* ---- batch.c: records that are committed together. Both within a transaction. */
enum { BATCH_BYTES = 64 * 1024 };
struct batch { struct buf text; int64_t first, last; struct record_head of; };           /* sequences; text "[{…},…"; of: the first record's */
bool batch_add(struct batch *b, struct span record);     /* as record_end gave it. False: it is no record, and left out */
bool batch_save(struct base *b, struct batch *k, int64_t now_ms);          /* and empties it */
bool drained_save(struct base *b, int64_t ring, int64_t place);            /* how far the ring is in here, to be committed with it */
bool drained_load(struct base *b);
/* Those of the sequences of what was written last: a slot's record may be among them, though its process died before it gave the slot back. */
struct recent { struct table by_sequence; struct arena arena; bool loaded; };
bool recent_has(struct recent *r, struct base *b, int64_t sequence);
void recent_free(struct recent *r);
bool orphan_save(struct base *b, const struct cells_orphan *o, int64_t now_ms, struct recent *recent, bool *fresh);

/* ---- grant.c */
bool grant_save(struct base *b, const struct cells_want *w, int64_t total, int64_t now_ms);
bool grants_seed(struct base *b, struct cells *c, int64_t now_ms);          /* once for each cells file */
bool grants_trim(struct base *b, int64_t now_ms);

/* ---- trim.c: one small step of deleting. False: the database failed. */
struct trim { int64_t offset_ms, calm_ms, grants_ms; };                     /* zeroed: fresh */
bool trim_step(struct base *b, struct trim *t, const struct ledger_limits *l, bool *more);

/* ---- hide.c: the text with what looks like a secret left out */
void secrets_hide(struct span text, struct buf *out);

/* ---- contents.c. push: under a lock of the caller's; false: too much waits. save takes all of them out. */
struct content;
struct contents { struct content *first, **last; size_t waiting; };
bool contents_push(struct contents *c, int64_t sequence, struct span id, struct span request, struct span answer, bool cut);
bool contents_save(struct base *b, struct contents *c);
void contents_drop(struct contents *c);

/* ---- sources.c */
struct kept;
bool kept_write(const char *dir, const char *hash, const struct ledger_source *sources, size_t count);
bool folders_make(const char *path);

#endif
