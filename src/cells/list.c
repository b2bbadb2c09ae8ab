/* Reading cells: one, all, and the figures of the file. */
#include "room.h"

/* As if its window had turned by now; the cell stays as it is. Without a zone a calendar window that has passed is empty. */
static void state_of(struct cells *c, struct cell *x, const struct cell_window *w, int64_t now_ms, struct cell_state *out) {
  cell_turn(c, x, w, now_ms);
  *out = (struct cell_state){ .spent = x->spent, .reserved = x->reserved, .granted = x->granted, .start_ms = x->start, .end_ms = x->end };
  if (w->kind == WINDOW_ROLLING) {
    out->start_ms = (x->start - PARTS) * window_part_ms(w->seconds);
    out->end_ms = x->spent || x->reserved ? cell_frees_ms(c, x, 1) : 0;
  }
  undo(c);
}

enum cells_result cells_read(struct cells *c, const struct cell_id *id, int64_t now_ms, struct cell_state *out) {
  *out = (struct cell_state){ 0 };
  if (!lock_take(c)) return CELLS_BUSY;
  int64_t i = cell_find(c, id, false, now_ms, NULL, 0);
  if (i) {
    struct cell_window w = cell_window_of(cell_at(c, i));
    w.zone = id->window.zone;
    state_of(c, cell_at(c, i), &w, now_ms, out);
  }
  lock_drop(c);
  return CELLS_OK;
}

bool cells_each(struct cells *c, size_t *at, int64_t now_ms, struct cell_listed *out) {
  bool found = false;
  if (!lock_take(c)) return false;
  while (!found && *at < (size_t)c->f->items[ITEM_CELL].high) {
    struct cell *x = cell_at(c, (int64_t)++*at);
    if (x->name_size < 0) continue;
    struct cell_window w = cell_window_of(x);
    *out = (struct cell_listed){ .kind = cell_kind_of(x), .window = w.kind, .seconds = w.seconds, .cap = x->cap };
    cell_texts(x, out->name, out->value);
    state_of(c, x, &w, now_ms, &out->state);
    found = true;
  }
  lock_drop(c);
  return found;
}

uint64_t cells_turns(const struct cells *c) { return (uint64_t)__atomic_load_n(&c->f->turns, __ATOMIC_ACQUIRE); }

/* Words that others change meanwhile: each is right, not all of one moment. */
static size_t word(const int64_t *w) {
  int64_t n = __atomic_load_n(w, __ATOMIC_RELAXED);
  return n > 0 ? (size_t)n : 0;
}

void cells_figures(const struct cells *c, struct cells_figures *out) {
  const struct file *f = c->f;
  size_t tail = word(&f->ring_tail), head = word(&f->ring_head), slots = word(&f->items[ITEM_SLOT].used), held = spares_held(c);
  *out = (struct cells_figures){
    .cells = word(&f->items[ITEM_CELL].used), .slots = slots > held ? slots - held : 0, .orphans = word(&f->orphan_count),
    .ledger_bytes = head - tail, .ledger_room = RING_SIZE, .busy = word(&f->busy), .evicted = word(&f->evicted),
  };
}
