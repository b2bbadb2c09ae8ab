/* Grants: how far a durable cell may be used before the store has promised more on disk. The list of cells that want one
   is a list in the file; the store's thread takes from it. */
#include "room.h"

/* A power loss costs what was promised and not used, so a promise is a sixteenth of what is left; four requests' worth at
   least, so that the disk is not asked for each. The next is asked for when half of it is used. */
bool grant_wanted(const struct cell *x, int64_t cap, int64_t amount, int64_t used, int64_t *better) {
  int64_t left = cap > used ? cap - used : 0, slice = amount > INT64_MAX / 64 ? amount : amount * 4;
  if (cap == CELLS_NO_CAP) slice = amount > INT64_MAX / 64 ? amount : amount * 64;
  else if (left / 16 > slice) slice = left / 16;
  int64_t all = sum(used, amount), low = sum(all, slice / 2);
  *better = sum(all, slice);
  if (*better > cap) *better = cap;
  if (*better < all) *better = all;
  if (low > *better) low = *better;
  return x->granted < low;
}

void want_push(struct cells *c, int64_t cell, int64_t asked, int64_t better) {
  struct cell *x = cell_at(c, cell);
  if (asked < 1) asked = 1;
  if (better < asked) better = asked;
  if (!x->want) {
    put(c, &x->want_link, c->f->wants);
    put(c, &c->f->wants, cell);
  }
  if (asked > x->want) put(c, &x->want, asked);
  if (better > x->want_better) put(c, &x->want_better, better);
}

bool cells_want(struct cells *c, struct cells_want *out) {
  if (!__atomic_load_n(&c->f->wants, __ATOMIC_ACQUIRE) || !lock_take(c)) return false;
  int64_t i = c->f->wants;
  if (i) {
    struct cell *x = cell_at(c, i);
    *out = (struct cells_want){ .kind = cell_kind_of(x), .window = cell_window_of(x), .epoch_ms = x->grant_epoch,
                                .granted = x->granted, .asked = x->want, .better = x->want_better };
    if (out->window.kind == WINDOW_FIXED || out->window.kind == WINDOW_DAY || out->window.kind == WINDOW_MONTH) out->end_ms = x->end;
    cell_texts(x, out->name, out->value);
    put(c, &c->f->wants, x->want_link);
    put(c, &x->want, 0);
    put(c, &x->want_better, 0);
    put(c, &x->want_link, 0);
  }
  lock_drop(c);
  return i != 0;
}

enum cells_result cells_grant(struct cells *c, const struct cells_want *w, int64_t total) {
  struct cell_id id = { span_cstr(w->name), span_cstr(w->value), w->kind, w->window, NULL };
  if (!lock_take(c)) return CELLS_BUSY;
  int64_t i = cell_find(c, &id, false, 0, NULL, 0);
  struct cell *x = i ? cell_at(c, i) : NULL;
  if (x && x->grant_epoch == w->epoch_ms && total > x->granted) put(c, &x->granted, total);
  __atomic_add_fetch(&c->f->turns, 1, __ATOMIC_RELEASE);
  lock_drop(c);
  return CELLS_OK;
}

/* What is used never was above the newest promise, so of several promises the largest counts. In a rolling window it was
   spent when its epoch ended, or now: no part of it leaves too early. A calendar window whose turn began in some zone begins there. */
enum cells_result cells_seed(struct cells *c, const struct cell_id *id, int64_t epoch_ms, int64_t end_ms, int64_t total, int64_t now_ms) {
  if (!window_valid(id) || id->kind == CELL_CONCURRENT || total < 0) return CELLS_FULL;
  if (!lock_take(c)) return CELLS_BUSY;
  int64_t i = cell_find(c, id, true, now_ms, NULL, 0);
  if (!i) return lock_drop(c), CELLS_FULL;
  struct cell *x = cell_at(c, i);
  if (!x->end && epoch_ms <= now_ms && now_ms < end_ms) cell_turn_to(c, x, epoch_ms, end_ms, now_ms);
  cell_turn(c, x, &id->window, now_ms);
  int64_t epoch = x->start;
  bool counts = id->window.kind == WINDOW_SESSION || epoch_ms == x->start;
  if (id->window.kind == WINDOW_ROLLING) {
    int64_t last = epoch_ms + (int64_t)id->window.seconds * 1000 - 1, part = last / window_part_ms(id->window.seconds);
    if (part < epoch) epoch = part;
    counts = x->start - epoch < BUCKETS;
  }
  if (counts && total > x->spent) cell_add(c, x, epoch, total - x->spent, 0);
  if (x->grant_epoch == epoch_ms && total > x->granted) put(c, &x->granted, total);
  lock_drop(c);
  return CELLS_OK;
}
