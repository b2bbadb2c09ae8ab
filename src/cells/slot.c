/* Reservations: all scopes or none. What was done for the scopes before the one that refuses is undone from the log. */
#include "room.h"
#include "weir/log.h"

static void refuse(struct cells *c, const struct cells_scope *s, size_t i, const struct cell *x, int64_t asked, int64_t spent,
                   int64_t reserved, struct cells_refusal *r) {
  int64_t excess = sum(sum(sum(spent, reserved), asked), -s->cap);
  *r = (struct cells_refusal){ .scope = i, .asked = asked, .cap = s->cap, .spent = spent, .reserved = reserved,
                               .granted = x->granted, .frees_ms = asked > s->cap ? 0 : cell_frees_ms(c, x, excess) };
}

/* One scope's amount, into that epoch of its cell. Nothing on top of what is used is never refused. */
static enum cells_result take(struct cells *c, const struct cells_scope *s, size_t i, int64_t cell, int64_t epoch, int64_t amount,
                              int64_t now_ms, struct cells_held *out) {
  struct cell *x = cell_at(c, cell);
  int64_t spent = 0, reserved = 0, better = 0;
  cell_used(x, epoch, &spent, &reserved);
  int64_t used = sum(spent, reserved), all = sum(used, amount);
  if (!check(amount >= 0) || (amount && (all > s->cap || all == INT64_MAX))) {
    refuse(c, s, i, x, amount, spent, reserved, &out->refusal);
    return CELLS_CAPPED;
  }
  if (s->durable && grant_wanted(x, s->cap, amount, used, &better)) {
    out->wants |= !x->want || all > x->granted;
    if (amount && all > x->granted) {
      refuse(c, s, i, x, amount, spent, reserved, &out->refusal);
      return CELLS_UNGRANTED;
    }
    want_push(c, cell, all, better);
  }
  cell_add(c, x, epoch, 0, amount);
  put(c, &x->used_ms, now_ms);
  put(c, &x->cap, s->cap);
  out->left[i] = s->cap - all;
  return CELLS_OK;
}

static struct cell_window window_in(const struct cell *x, const struct cells_scope *s) {
  struct cell_window w = cell_window_of(x);
  w.zone = s->id.window.zone;
  return w;
}

static bool scopes_valid(const struct cells_scope *scopes, size_t count) {
  if (count > CELLS_MOST_SCOPES) return false;
  for (size_t i = 0; i < count; i++)
    if (!check(window_valid(&scopes[i].id))) return false;
  return true;
}

/* ---- slots. What lies in one that is held is its holder's alone: only its tag says that it is open. */
static int64_t slot_hold(struct cells *c) {
  int64_t i = item_take(c, ITEM_SLOT);
  if (!i) return 0;
  struct slot *s = slot_at(c, i);
  s->owner = c->instance;
  put(c, &s->tag, (s->tag & ~(int64_t)0xFF) | SLOT_HELD);
  commit(c);
  return i;
}

static void slot_keep(struct cells *c, int64_t at) {
  if (!spare_put(c, at)) slot_free(c, at);
}

static void slot_fill(struct slot *s, struct span note, size_t count) {
  s->count = (int64_t)count;
  s->counted = 0;
  s->note_size = note.n > CELLS_NOTE ? CELLS_NOTE : (int64_t)note.n;
  if (note.n) memcpy(s->note, note.p, (size_t)s->note_size);
}

static int64_t tag_open(const struct slot *s) { return ((s->tag >> 8) + 1) << 8 | SLOT_OPEN; }
static uint64_t slot_name(const struct slot *s, int64_t at) { return (uint64_t)(s->tag >> 8) << SLOT_BITS | (uint64_t)at; }

/* One that is held, and has no cells: nothing to be undone. */
static void slot_open(struct cells *c, int64_t at, struct span note, struct cells_held *out) {
  struct slot *s = slot_at(c, at);
  slot_fill(s, note, 0);
  __atomic_store_n(&s->tag, tag_open(s), __ATOMIC_RELEASE);
  out->slot = slot_name(s, at);
}

/* The refusal took back what the scopes before it did; the wish for a grant is kept. slot: that was to be opened, or 0. */
static enum cells_result refused(struct cells *c, enum cells_result r, int64_t slot, int64_t cell, const struct cell_window *w, int64_t now_ms,
                                 struct cells_held *out) {
  int64_t better = 0, used = sum(out->refusal.spent, out->refusal.reserved);
  undo(c);
  if (r == CELLS_UNGRANTED) {                              /* the window's turn was undone too, and is made again */
    cell_turn(c, cell_at(c, cell), w, now_ms);
    grant_wanted(cell_at(c, cell), out->refusal.cap, out->refusal.asked, used, &better);
    want_push(c, cell, sum(used, out->refusal.asked), better);
  }
  out->wants = r == CELLS_UNGRANTED;
  if (slot) slot_keep(c, slot);
  lock_drop(c);
  return r;
}

enum cells_result cells_reserve(struct cells *c, const struct cells_scope *scopes, size_t count,
                                const struct cells_amount *amount, struct span note, int64_t now_ms, struct cells_held *out) {
  int64_t cells[CELLS_MOST_SCOPES], at = count ? 0 : spare_take(c);
  out->slot = 0;
  out->wants = false;
  if (at) return slot_open(c, at, note, out), CELLS_OK;
  if (!scopes_valid(scopes, count)) return CELLS_FULL;
  if (!lock_take(c)) return CELLS_BUSY;
  at = spare_take(c);
  if (!at) at = slot_hold(c);
  for (size_t i = 0; at && i < count; i++) {
    cells[i] = cell_find(c, &scopes[i].id, true, now_ms, cells, i);
    if (!cells[i]) slot_keep(c, at), at = 0;
  }
  if (!at) {
    undo(c);
    return lock_drop(c), CELLS_FULL;
  }
  struct slot *s = slot_at(c, at);
  for (size_t i = 0; i < count; i++) {
    struct cell *x = cell_at(c, cells[i]);
    struct cell_window w = window_in(x, &scopes[i]);
    cell_turn(c, x, &w, now_ms);
    s->entry[i] = (struct entry){ cells[i], x->start, amount->of[cell_kind_of(x)] };
    enum cells_result r = take(c, &scopes[i], i, cells[i], x->start, s->entry[i].amount, now_ms, out);
    if (r != CELLS_OK) return refused(c, r, at, cells[i], &w, now_ms, out);
    put(c, &x->refs, x->refs + 1);
  }
  slot_fill(s, note, count);
  put(c, &s->tag, tag_open(s));
  out->slot = slot_name(s, at);
  lock_drop(c);
  return CELLS_OK;
}

/* The epoch that more of this entry goes to: its own; else today's, where the whole then moves. */
static enum cells_result entry_extend(struct cells *c, const struct cells_scope *scope, size_t i, struct entry *e, int64_t more,
                                      int64_t now_ms, struct cells_held *out) {
  struct cell *x = cell_at(c, e->cell);
  struct cell_window w = window_in(x, scope);
  int64_t spent, reserved, amount = more, epoch = e->epoch;
  cell_turn(c, x, &w, now_ms);
  if (!cell_used(x, epoch, &spent, &reserved)) {
    amount = sum(e->amount, more);
    epoch = x->start;
  }
  enum cells_result r = take(c, scope, i, e->cell, epoch, amount, now_ms, out);
  if (r != CELLS_OK) return r;
  put(c, &e->epoch, epoch);
  put(c, &e->amount, sum(e->amount, more));
  return CELLS_OK;
}

enum cells_result cells_extend(struct cells *c, uint64_t slot, const struct cells_scope *scopes, size_t count,
                               const struct cells_amount *more, int64_t now_ms, struct cells_held *out) {
  int64_t at = (int64_t)(slot & SLOT_MASK);
  out->slot = slot;
  out->wants = false;
  if (!scopes_valid(scopes, count)) return CELLS_FULL;
  if (!lock_take(c)) return CELLS_BUSY;
  if (at < 1 || at > c->f->items[ITEM_SLOT].high) return lock_drop(c), CELLS_GONE;
  struct slot *s = slot_at(c, at);
  int64_t tag = __atomic_load_n(&s->tag, __ATOMIC_ACQUIRE);
  if (tag != ((int64_t)(slot >> SLOT_BITS) << 8 | SLOT_OPEN) || s->owner != c->instance || s->count != (int64_t)count)
    return lock_drop(c), CELLS_GONE;
  for (size_t i = 0; i < count; i++) {
    int64_t cell = s->entry[i].cell;
    enum cells_result r = entry_extend(c, &scopes[i], i, &s->entry[i], more->of[cell_kind_of(cell_at(c, cell))], now_ms, out);
    struct cell_window w = window_in(cell_at(c, cell), &scopes[i]);
    if (r != CELLS_OK) return refused(c, r, 0, cell, &w, now_ms, out);
  }
  lock_drop(c);
  return CELLS_OK;
}
