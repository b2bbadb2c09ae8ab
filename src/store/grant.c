/* grant.c: what was promised to durable budgets. When the cells' file is gone (a reboot, a power loss) it counts as spent. */
#include "room.h"

bool grant_save(struct base *b, const struct cells_want *w, int64_t total, int64_t now_ms) {
  sqlite3_bind_text(b->promise, 1, w->name, -1, SQLITE_STATIC);
  sqlite3_bind_text(b->promise, 2, w->value, -1, SQLITE_STATIC);
  int64_t figures[] = { w->kind, w->window.kind, w->window.seconds, w->epoch_ms, w->end_ms, total, now_ms };
  for (int i = 0; i < 7; i++) sqlite3_bind_int64(b->promise, 3 + i, figures[i]);
  int r = sqlite3_step(b->promise);
  sqlite3_reset(b->promise);
  return r == SQLITE_DONE;
}

/* A cell of the file itself says that it was seeded: a process that died on the way is no loss. */
static const struct cell_id marker = { { "weir:seeded", 11 }, { "", 0 }, CELL_REQUESTS, { WINDOW_TOTAL, 0, NULL }, NULL };

static struct span text_of(sqlite3_stmt *s, int i) {
  const char *p = (const char *)sqlite3_column_text(s, i);
  return span_of(p ? p : "", (size_t)sqlite3_column_bytes(s, i));
}

bool grants_seed(struct base *b, struct cells *c, int64_t now_ms) {
  struct cell_state state;
  sqlite3_stmt *s = NULL;
  int r;
  if (cells_read(c, &marker, now_ms, &state) != CELLS_OK) return false;
  if (state.spent) return true;
  if (sqlite3_prepare_v2(b->db, "SELECT name,value,kind,window,seconds,epoch,ends,total FROM grants WHERE ends=0 OR ends>?", -1, &s, NULL) != SQLITE_OK) return false;
  sqlite3_bind_int64(s, 1, now_ms);
  while ((r = sqlite3_step(s)) == SQLITE_ROW) {
    struct cell_id id = { .kind = (enum cell_kind)sqlite3_column_int(s, 2) };
    id.window = (struct cell_window){ (enum window_kind)sqlite3_column_int(s, 3), (uint32_t)sqlite3_column_int64(s, 4), NULL };
    id.name = text_of(s, 0);
    id.value = text_of(s, 1);
    cells_seed(c, &id, sqlite3_column_int64(s, 5), sqlite3_column_int64(s, 6), sqlite3_column_int64(s, 7), now_ms);
  }
  sqlite3_finalize(s);
  if (r != SQLITE_DONE) return false;
  return cells_seed(c, &marker, 0, 0, 1, now_ms) == CELLS_OK;
}

/* A promise can matter for three windows after it was last renewed, and some days more, since clocks are set; that of WINDOW_TOTAL for ever. */
bool grants_trim(struct base *b, int64_t now_ms) {
  const int64_t day = 86400000;
  const struct { enum window_kind kind; int64_t stays_ms; } kinds[] = {
    { WINDOW_SESSION, 30 * day }, { WINDOW_ROLLING, day }, { WINDOW_FIXED, day }, { WINDOW_DAY, 4 * day }, { WINDOW_MONTH, 70 * day },
  };
  sqlite3_stmt *s = NULL;
  bool good = base_begin(b, false) && sqlite3_prepare_v2(b->db, "DELETE FROM grants WHERE window=? AND ? - at > ? + seconds*3000", -1, &s, NULL) == SQLITE_OK;
  for (size_t i = 0; good && i < sizeof kinds / sizeof *kinds; i++) {
    int64_t figures[] = { kinds[i].kind, now_ms, kinds[i].stays_ms };
    for (int k = 0; k < 3; k++) sqlite3_bind_int64(s, k + 1, figures[k]);
    good = sqlite3_step(s) == SQLITE_DONE;
    sqlite3_reset(s);
  }
  sqlite3_finalize(s);
  return good && base_commit(b);
}
