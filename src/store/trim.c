/* trim.c: what is old or too much goes, a few rows at a time, so that the store's thread never keeps the ring waiting. */
#include "room.h"
#include <stdio.h>
#include <time.h>

enum { ROWS = 500, BATCHES = 16, CONTENTS = 100, PAGES = 500 };
static const int64_t JUMP_MS = 3600 * 1000, CALM_MS = 24 * 3600 * 1000, GRANTS_MS = 3600 * 1000;

static int64_t clock_ms(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A clock that was set forward by mistake must not empty the ledger: for a day nothing is deleted for its age. */
static bool clock_calm(struct trim *t) {
  int64_t boot = clock_ms(CLOCK_BOOTTIME), offset = clock_ms(CLOCK_REALTIME) - boot, by = offset - t->offset_ms;
  if (t->offset_ms && (by > JUMP_MS || by < -JUMP_MS)) {
    log_warn("ledger: the clock was set %s by %lld s: nothing is deleted for its age until it has stood for a day", by > 0 ? "forward" : "back",
             (long long)((by > 0 ? by : -by) / 1000));
    t->calm_ms = boot + CALM_MS;
    t->offset_ms = offset;
  }
  if (!t->offset_ms) t->offset_ms = offset;
  return boot >= t->calm_ms;
}

/* A batch goes when the last of its records is old. */
static bool delete_before(struct base *b, const char *table, const char *key, int64_t sequence, int most, bool *more) {
  char sql[160];
  sqlite3_stmt *s = NULL;
  snprintf(sql, sizeof sql, "DELETE FROM %s WHERE %s IN (SELECT %s FROM %s WHERE %s<? ORDER BY %s LIMIT ?)", table, key, key, table, key, key);
  if (sqlite3_prepare_v2(b->db, sql, -1, &s, NULL) != SQLITE_OK) return false;
  sqlite3_bind_int64(s, 1, sequence);
  sqlite3_bind_int(s, 2, most);
  int r = sqlite3_step(s);
  sqlite3_finalize(s);
  *more |= r == SQLITE_DONE && sqlite3_changes(b->db) == most;
  return r == SQLITE_DONE;
}

static int64_t old_at(double keep) { return (clock_ms(CLOCK_REALTIME) - (int64_t)(keep * 1000)) << LEDGER_SEQUENCE_BITS; }

static bool contents_trim(struct base *b, int64_t before, bool *more) {
  int64_t oldest = before > 0 ? base_number(b, "SELECT min(seq) FROM contents") : 0;
  if (oldest <= 0 || oldest >= before) return true;
  return base_begin(b, false) && delete_before(b, "contents", "seq", before, CONTENTS, more) && base_commit(b);
}

static bool delete_all_before(struct base *b, int64_t before, bool *more) {
  static const struct { const char *table, *key, *oldest; int most; } all[] = {
    { "exchanges_1", "seq", "SELECT min(seq) FROM exchanges_1", ROWS }, { "orphans", "seq", "SELECT min(seq) FROM orphans", ROWS },
    { "batches", "n", "SELECT min(n) FROM batches", BATCHES } };
  for (size_t i = b->older ? 0 : 1; i < sizeof all / sizeof *all; i++) {
    int64_t oldest = base_number(b, all[i].oldest);      /* 0 where there is none */
    if (oldest <= 0 || oldest >= before) continue;
    if (!base_begin(b, false) || !delete_before(b, all[i].table, all[i].key, before, all[i].most, more) || !base_commit(b)) return false;
  }
  return true;
}

/* What goes next when there is too much: rows of the older table while it has any. */
static int64_t next_cut(struct base *b, int64_t over) {
  char sql[96];
  int64_t n = over / BATCH_BYTES + 1;
  int64_t cut = b->older ? base_number(b, "SELECT max(seq) FROM (SELECT seq FROM exchanges_1 ORDER BY seq LIMIT 500)") : 0;
  snprintf(sql, sizeof sql, "SELECT max(n) FROM (SELECT n FROM batches ORDER BY n LIMIT %d)", n < BATCHES ? (int)n : BATCHES);
  if (cut <= 0) cut = base_number(b, sql);
  return cut > 0 ? cut + 1 : 0;
}

/* Promises to windows that are over, at the start and every hour. */
static bool promises_trim(struct base *b, struct trim *t) {
  int64_t boot = clock_ms(CLOCK_BOOTTIME);
  if (t->grants_ms && boot - t->grants_ms < GRANTS_MS) return true;
  t->grants_ms = boot;
  return grants_trim(b, clock_ms(CLOCK_REALTIME));
}

bool trim_step(struct base *b, struct trim *t, const struct ledger_limits *l, bool *more) {
  int64_t free = base_number(b, "PRAGMA freelist_count");
  int64_t used = (base_number(b, "PRAGMA page_count") - free) * base_number(b, "PRAGMA page_size"), before = 0;
  *more = false;
  bool calm = clock_calm(t);
  if (calm && !promises_trim(b, t)) return false;
  if (calm && l->keep > 0) before = old_at(l->keep);
  if (used > (int64_t)l->max_size) {
    int64_t cut = next_cut(b, used - (int64_t)l->max_size);
    before = cut > before ? cut : before;
  }
  int64_t contents = calm && l->contents_keep > 0 ? old_at(l->contents_keep) : 0;
  if (!contents_trim(b, contents > before ? contents : before, more)) return false;
  if (before > 0 && !delete_all_before(b, before, more)) return false;
  if (!*more && free <= PAGES) return true;
  return sqlite3_exec(b->db, "PRAGMA incremental_vacuum(500)", NULL, NULL, NULL) == SQLITE_OK;
}
