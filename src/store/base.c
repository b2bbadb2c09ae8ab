/* base.c: the database as the store's thread has it open: who may write it, how it is laid out, what a failure means.
   Records are committed to the write-ahead log without waiting for the disk; what must survive a power loss asks for it (base_commit). */
#include "room.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Nobody reads SQLite's own count of its memory. */
static void __attribute__((constructor)) spare_the_count(void) { sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); }

enum { BUSY_MS = 2000, PAGE = 8192, CACHE_KB = 4096, PAGES_BEFORE_CHECKPOINT = 2000 };
static _Thread_local char text[768];

bool folders_make(const char *path) {
  char *p = mem_cstr(span_cstr(path));
  for (char *at = p + 1; *at; at++)
    if (*at == '/') {
      *at = 0;
      mkdir(p, 0755);
      *at = '/';
    }
  bool good = mkdir(p, 0700) == 0 || errno == EEXIST;
  mem_free(p);
  return good;
}

static bool fail(const char **why, const char *dir, const char *what) {
  snprintf(text, sizeof text, "%.400s: %.360s", dir, what);
  *why = text;
  return false;
}

/* Whoever writes it holds the lock; the kernel drops it with the process. */
static bool lock_take(struct base *b, const char *dir, const char **why) {
  char path[4096];
  snprintf(path, sizeof path, "%s/ledger.lock", dir);
  b->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (b->lock_fd < 0) return fail(why, path, strerrordesc_np(errno));
  if (!flock(b->lock_fd, LOCK_EX | LOCK_NB)) return true;
  return fail(why, dir, errno == EWOULDBLOCK ? "another weir writes the ledger there (give each its own `state`)" : strerrordesc_np(errno));
}

static bool run(struct base *b, const char *sql) { return sqlite3_exec(b->db, sql, NULL, NULL, NULL) == SQLITE_OK; }

int64_t base_number(struct base *b, const char *sql) {
  sqlite3_stmt *s = NULL;
  int64_t n = -1;
  if (sqlite3_prepare_v2(b->db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) n = sqlite3_column_int64(s, 0);
  sqlite3_finalize(s);
  return n;
}

/* The table of an older layout stays as it is: its rows are read, and go when they are old. A weir that died on the way begins again. */
static bool lay_out(struct base *b, int64_t layout) {
  struct buf sql = { 0 };
  bool older = base_number(b, "SELECT count(*) FROM sqlite_master WHERE type='table' AND name='exchanges_1'") > 0 || layout == 1;
  b->older = older;
  if (!run(b, "CREATE TABLE IF NOT EXISTS contents(n INTEGER PRIMARY KEY, seq INTEGER, id TEXT, request TEXT, answer TEXT, cut INTEGER);"
              "CREATE INDEX IF NOT EXISTS contents_id ON contents(id);CREATE INDEX IF NOT EXISTS contents_seq ON contents(seq)")) return false;
  if (layout == BASE_LAYOUT) return true;
  buf_add(&sql, SPAN("BEGIN IMMEDIATE;"));
  if (layout < 3) buf_add(&sql, SPAN("DROP TABLE IF EXISTS orphans;"));
  if (layout >= 2) buf_add(&sql, SPAN("DROP VIEW exchanges;ALTER TABLE batches ADD COLUMN conf TEXT;ALTER TABLE batches ADD COLUMN generation INTEGER;"));
  if (layout == 1)
    buf_add(&sql, SPAN("DROP INDEX IF EXISTS exchanges_id;DROP INDEX IF EXISTS exchanges_parent;ALTER TABLE exchanges RENAME TO exchanges_1;"));
  buf_add(&sql, SPAN("CREATE TABLE IF NOT EXISTS batches(n INTEGER PRIMARY KEY, first INTEGER, records TEXT, conf TEXT, generation INTEGER);"
                     "CREATE TABLE IF NOT EXISTS drained(one INTEGER PRIMARY KEY, ring INTEGER, place INTEGER);"
                     "CREATE TABLE IF NOT EXISTS orphans(seq INTEGER PRIMARY KEY, id TEXT, cost INTEGER, n INTEGER);"
                     "CREATE TABLE IF NOT EXISTS grants(name TEXT, value TEXT, kind INTEGER, window INTEGER, seconds INTEGER, epoch INTEGER, "
                     "ends INTEGER, total INTEGER, at INTEGER, PRIMARY KEY(name, value, kind, window, seconds, epoch)) WITHOUT ROWID;"));
  columns_view(&sql, older);
  buf_printf(&sql, ";PRAGMA user_version=%d;COMMIT", BASE_LAYOUT);
  buf_byte(&sql, 0);
  bool good = run(b, buf_span(&sql).p);
  if (!good) base_undo(b);
  buf_free(&sql);
  return good;
}

static bool prepare_one(struct base *b, sqlite3_stmt **s, const char *sql) {
  return sqlite3_prepare_v3(b->db, sql, -1, SQLITE_PREPARE_PERSISTENT, s, NULL) == SQLITE_OK;
}

static bool prepare(struct base *b) {
  return prepare_one(b, &b->insert, "INSERT INTO batches(n,first,records,conf,generation) VALUES(?,?,?,?,?)") &&
    prepare_one(b, &b->content, "INSERT INTO contents(seq,id,request,answer,cut) VALUES(?,?,?,?,?)") &&
    prepare_one(b, &b->drained, "INSERT OR REPLACE INTO drained(one,ring,place) VALUES(1,?,?)") &&
    prepare_one(b, &b->orphan_find, "SELECT n,cost,id FROM orphans WHERE seq=?") &&
    prepare_one(b, &b->orphan, "INSERT OR REPLACE INTO orphans(seq,id,cost,n) VALUES(?,?,?,?)") &&
    prepare_one(b, &b->orphan_more, "UPDATE batches SET records=? WHERE n=?") &&
    prepare_one(b, &b->promise, "INSERT INTO grants(name,value,kind,window,seconds,epoch,ends,total,at) VALUES(?,?,?,?,?,?,?,?,?) "
                "ON CONFLICT DO UPDATE SET total=max(total,excluded.total),at=excluded.at,ends=excluded.ends");
}

/* Pages and auto_vacuum have to be said before the first table. */
static bool settings(struct base *b) {
  char sql[256];
  snprintf(sql, sizeof sql, "PRAGMA page_size=%d;PRAGMA synchronous=NORMAL;PRAGMA auto_vacuum=INCREMENTAL;PRAGMA journal_mode=WAL;PRAGMA cache_size=-%d;PRAGMA wal_autocheckpoint=%d;"
           "PRAGMA journal_size_limit=67108864", PAGE, CACHE_KB, PAGES_BEFORE_CHECKPOINT);
  sqlite3_busy_timeout(b->db, BUSY_MS);
  return run(b, sql);
}

const char *base_why(const struct base *b) {
  int code = b->db ? sqlite3_errcode(b->db) : SQLITE_NOMEM, os = b->db ? sqlite3_system_errno(b->db) : 0;
  const char *what = b->db ? sqlite3_errmsg(b->db) : "out of memory", *remedy = "";
  switch (code & 0xFF) {
  case SQLITE_FULL: remedy = ": the disk is full"; break;
  case SQLITE_CORRUPT: case SQLITE_NOTADB: remedy = "; move ledger.db, ledger.db-wal and ledger.db-shm away: a new one is made within seconds, "
    "budgets keep counting; or repair it with sqlite3 .recover"; break;
  case SQLITE_READONLY: case SQLITE_CANTOPEN: case SQLITE_PERM: remedy = ": weir must be able to write the state directory and all in it"; break;
  case SQLITE_BUSY: case SQLITE_LOCKED: remedy = ": another program holds a write lock on it"; break;
  default: break;
  }
  bool tell = os && (code & 0xFF) != SQLITE_CORRUPT && (code & 0xFF) != SQLITE_NOTADB && (code & 0xFF) != SQLITE_BUSY;
  snprintf(text, sizeof text, "%s%s%s%s%s", what, tell ? " (" : "", tell ? strerrordesc_np(os) : "", tell ? ")" : "", remedy);
  return text;
}

static bool fail_base(struct base *b, const char *path, const char **why) {
  char told[640];
  snprintf(told, sizeof told, "%s", base_why(b));
  return fail(why, path, told);
}

bool base_open(struct base *b, const char *dir, const char **why) {
  char path[4096];
  *b = (struct base){ .lock_fd = -1 };
  if (!folders_make(dir)) return fail(why, dir, strerrordesc_np(errno));
  if (!lock_take(b, dir, why)) return base_close(b), false;
  snprintf(path, sizeof path, "%s/" LEDGER_FILE, dir);
  mode_t mask = umask(0077);
  bool good = sqlite3_open_v2(path, &b->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK && settings(b);
  int64_t layout = good ? base_number(b, "PRAGMA user_version") : -1;
  bool other = good && layout > BASE_LAYOUT;
  good = good && layout >= 0 && !other && lay_out(b, layout) && prepare(b) && drained_load(b);
  umask(mask);
  if (good) return true;
  if (other) fail(why, path, "a newer weir has made it");
  else fail_base(b, path, why);
  base_close(b);
  return false;
}

void base_close(struct base *b) {
  sqlite3_finalize(b->insert);
  sqlite3_finalize(b->content);
  sqlite3_finalize(b->drained);
  sqlite3_finalize(b->orphan_find);
  sqlite3_finalize(b->orphan);
  sqlite3_finalize(b->orphan_more);
  sqlite3_finalize(b->promise);
  sqlite3_close(b->db);
  if (b->lock_fd >= 0) close(b->lock_fd);
  *b = (struct base){ .lock_fd = -1 };
}

/* `synchronous` has no effect within a transaction, so it is set before. */
bool base_begin(struct base *b, bool full) {
  b->full = full;
  return (!full || run(b, "PRAGMA synchronous=FULL")) && run(b, "BEGIN IMMEDIATE");
}

static void begun_over(struct base *b) {
  if (b->full) run(b, "PRAGMA synchronous=NORMAL");
  b->full = false;
}

void base_undo(struct base *b) {
  if (!b->db) return;
  if (!sqlite3_get_autocommit(b->db)) run(b, "ROLLBACK");
  begun_over(b);
}

bool base_commit(struct base *b) {
  bool good = run(b, "COMMIT");
  if (good) begun_over(b);
  return good;
}
