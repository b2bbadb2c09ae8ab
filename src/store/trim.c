/* trim.c: what is old or too much goes, a few rows at a time, so that the store's thread never keeps the ring waiting. */
#include "room.h"
#include <time.h>

enum { ROWS = 500, PAGES = 500 };
static const int64_t JUMP_MS = 3600 * 1000, CALM_MS = 24 * 3600 * 1000;

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

static bool delete_before(struct base *b, int64_t sequence, int64_t *count) {
  sqlite3_stmt *s = NULL;
  if (sqlite3_prepare_v2(b->db, "DELETE FROM exchanges WHERE seq IN (SELECT seq FROM exchanges WHERE seq<? ORDER BY seq LIMIT ?)", -1, &s, NULL) != SQLITE_OK) return false;
  sqlite3_bind_int64(s, 1, sequence);
  sqlite3_bind_int(s, 2, ROWS);
  int r = sqlite3_step(s);
  sqlite3_finalize(s);
  *count = r == SQLITE_DONE ? sqlite3_changes(b->db) : 0;
  return r == SQLITE_DONE;
}

bool trim_step(struct base *b, struct trim *t, double keep, uint64_t max_size, bool *more) {
  int64_t free = base_number(b, "PRAGMA freelist_count"), count = 0;
  int64_t used = (base_number(b, "PRAGMA page_count") - free) * base_number(b, "PRAGMA page_size"), before = 0;
  *more = false;
  if (clock_calm(t) && keep > 0) before = (clock_ms(CLOCK_REALTIME) - (int64_t)(keep * 1000)) << LEDGER_SEQUENCE_BITS;
  if (used > (int64_t)max_size) before = INT64_MAX;
  if (before > 0 && base_number(b, "SELECT coalesce(min(seq),9223372036854775807) FROM exchanges") < before &&
      (!base_begin(b, false) || !delete_before(b, before, &count) || !base_commit(b))) return false;
  *more = count == ROWS;
  if (!*more && free <= PAGES) return true;
  return sqlite3_exec(b->db, "PRAGMA incremental_vacuum(500)", NULL, NULL, NULL) == SQLITE_OK;
}
