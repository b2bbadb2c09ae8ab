/* The end of a reservation. The owner claims its slot by one atomic step, so it ends once; then it writes what it came to
   and asks; then the cells are moved by whoever has the lock next, which is nearly always itself. */
#include "room.h"
#include "weir/log.h"

static int64_t tag_state(int64_t tag) { return tag & 0xFF; }

/* actual NULL: all that was reserved. An open reservation of a dead process holds none of a concurrent cell. */
static void settle(struct cells *c, struct slot *s, const int64_t *actual) {
  for (int64_t i = 0; i < s->count; i++) {
    struct entry *e = &s->entry[i];
    struct cell *x = cell_at(c, e->cell);
    enum cell_kind k = cell_kind_of(x);
    int64_t spent = k == CELL_CONCURRENT ? 0 : actual ? actual[k] : e->amount;
    cell_add(c, x, e->epoch, spent, -e->amount);
    put(c, &x->refs, x->refs - 1);
  }
  __atomic_add_fetch(&c->f->turns, 1, __ATOMIC_RELEASE);
}

static void slot_end(struct cells *c, int64_t at, bool orphan) {
  struct slot *s = slot_at(c, at);
  put(c, &s->tag, (s->tag & ~(int64_t)0xFF) | (orphan ? SLOT_ORPHAN : SLOT_FREE));
  if (orphan) {
    put(c, &s->link, c->f->orphans);
    put(c, &c->f->orphans, at);
    put(c, &c->f->orphan_count, c->f->orphan_count + 1);
  } else {
    item_give(c, ITEM_SLOT, at);
  }
  commit(c);
}

/* Rare: someone could not get the lock when it settled. Those who are just about to take it are served too. */
void settle_asked(struct cells *c) {
  for (int64_t i = 1; i <= c->f->items[ITEM_SLOT].high; i++) {
    struct slot *s = slot_at(c, i);
    if (tag_state(__atomic_load_n(&s->tag, __ATOMIC_ACQUIRE)) != SLOT_ASKED) continue;
    settle(c, s, s->actual);
    slot_end(c, i, false);
  }
}

/* What was asked for counts; what was not is spent as it was reserved. */
size_t settle_dead(struct cells *c, int64_t instance) {
  size_t found = 0;
  for (int64_t i = 1; i <= c->f->items[ITEM_SLOT].high; i++) {
    struct slot *s = slot_at(c, i);
    int64_t state = tag_state(__atomic_load_n(&s->tag, __ATOMIC_ACQUIRE));
    if (s->owner != instance || state == SLOT_FREE || state == SLOT_ORPHAN) continue;
    settle(c, s, state == SLOT_ASKED ? s->actual : NULL);
    slot_end(c, i, state != SLOT_ASKED);                   /* one that was ended is no orphan, though nobody had come to it yet */
    found += state != SLOT_ASKED;
  }
  put(c, &c->f->instances[instance], 0);
  commit(c);
  return found;
}

static enum cells_result end(struct cells *c, uint64_t name, const struct cells_amount *actual) {
  int64_t at = (int64_t)(name & SLOT_MASK), tag = (int64_t)(name >> SLOT_BITS) << 8;
  if (at < 1 || (size_t)at > item_specs[ITEM_SLOT].most) return CELLS_GONE;
  struct slot *s = slot_at(c, at);
  int64_t open = tag | SLOT_OPEN;
  if (!check(at <= __atomic_load_n(&c->f->items[ITEM_SLOT].high, __ATOMIC_ACQUIRE))) return CELLS_GONE;
  if (!__atomic_compare_exchange_n(&s->tag, &open, tag | SLOT_CLAIMED, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) return CELLS_GONE;
  for (int k = 0; k < CELL_KINDS; k++) s->actual[k] = actual->of[k] > 0 ? actual->of[k] : 0;
  __atomic_store_n(&s->tag, tag | SLOT_ASKED, __ATOMIC_RELEASE);
  if (!lock_take(c)) {
    __atomic_store_n(&c->f->asked, 1, __ATOMIC_RELEASE);
    return CELLS_OK;
  }
  if (__atomic_load_n(&s->tag, __ATOMIC_ACQUIRE) == (tag | SLOT_ASKED)) {       /* else it was served meanwhile */
    settle(c, s, s->actual);
    slot_end(c, at, false);
  }
  lock_drop(c);
  return CELLS_OK;
}

enum cells_result cells_settle(struct cells *c, uint64_t slot, const struct cells_amount *actual) { return end(c, slot, actual); }

enum cells_result cells_release(struct cells *c, uint64_t slot) { return end(c, slot, &(struct cells_amount){ { 0 } }); }

/* ---- orphans */
static void orphan_fill(const struct cells *c, const struct slot *s, struct cells_orphan *out) {
  for (int64_t i = 0; i < s->count; i++) {
    enum cell_kind k = cell_kind_of(cell_at(c, s->entry[i].cell));
    if (s->entry[i].amount > out->amount.of[k]) out->amount.of[k] = s->entry[i].amount;
  }
  memcpy(out->note, s->note, (size_t)s->note_size);
  out->note_size = (size_t)s->note_size;
}

bool cells_orphan(struct cells *c, struct cells_orphan *out) {
  *out = (struct cells_orphan){ 0 };
  if (!__atomic_load_n(&c->f->orphans, __ATOMIC_ACQUIRE) || !lock_take(c)) return false;
  int64_t at = c->f->orphans;
  if (at) {
    orphan_fill(c, slot_at(c, at), out);
    out->slot = (uint64_t)(slot_at(c, at)->tag >> 8) << SLOT_BITS | (uint64_t)at;
  }
  lock_drop(c);
  return at != 0;
}

void cells_orphan_done(struct cells *c, uint64_t name) {
  int64_t at = (int64_t)(name & SLOT_MASK);
  if (!lock_take(c)) return;
  int64_t *link = &c->f->orphans;
  while (*link && *link != at) link = &slot_at(c, *link)->link;
  if (*link && slot_at(c, at)->tag >> 8 == (int64_t)(name >> SLOT_BITS)) {
    struct slot *s = slot_at(c, at);
    put(c, link, s->link);
    put(c, &s->tag, (s->tag & ~(int64_t)0xFF) | SLOT_FREE);
    item_give(c, ITEM_SLOT, at);
    put(c, &c->f->orphan_count, c->f->orphan_count - 1);
  }
  lock_drop(c);
}
