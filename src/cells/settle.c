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

static int64_t tag_with(const struct slot *s, enum slot_state state) { return (s->tag & ~(int64_t)0xFF) | (int64_t)state; }

void slot_free(struct cells *c, int64_t at) {
  put(c, &slot_at(c, at)->tag, tag_with(slot_at(c, at), SLOT_FREE));
  item_give(c, ITEM_SLOT, at);
  commit(c);
}

static void slot_orphan(struct cells *c, int64_t at) {
  struct slot *s = slot_at(c, at);
  put(c, &s->tag, tag_with(s, SLOT_ORPHAN));
  put(c, &s->link, c->f->orphans);
  put(c, &c->f->orphans, at);
  put(c, &c->f->orphan_count, c->f->orphan_count + 1);
  commit(c);
}

/* It has no cells any more. Whether it stays open is said when that is sure: an open slot's owner asks for no lock. False: its owner has
   asked meanwhile for its end. */
static bool slot_stays(struct cells *c, struct slot *s, int64_t tag) {
  put(c, &s->count, 0);
  put(c, &s->counted, 1);
  commit(c);
  return __atomic_compare_exchange_n(&s->tag, &tag, (tag & ~(int64_t)0xFF) | SLOT_OPEN, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* Rare: someone could not get the lock when it settled. Those who are just about to take it are served too. */
void settle_asked(struct cells *c) {
  for (int64_t i = 1; i <= c->f->items[ITEM_SLOT].high; i++) {
    struct slot *s = slot_at(c, i);
    int64_t tag = __atomic_load_n(&s->tag, __ATOMIC_ACQUIRE);
    if (tag_state(tag) != SLOT_ASKED && tag_state(tag) != SLOT_ASKED_COUNT) continue;
    settle(c, s, s->actual);
    if (tag_state(tag) == SLOT_ASKED || !slot_stays(c, s, tag)) slot_free(c, i);
  }
}

/* What was asked for counts, and what was ended is no orphan, though nobody had come to it yet. What was not is spent as it was reserved. */
size_t settle_dead(struct cells *c, int64_t instance) {
  size_t found = 0;
  for (int64_t i = 1; i <= c->f->items[ITEM_SLOT].high; i++) {
    struct slot *s = slot_at(c, i);
    int64_t state = tag_state(__atomic_load_n(&s->tag, __ATOMIC_ACQUIRE));
    if (s->owner != instance || state == SLOT_FREE || state == SLOT_ORPHAN) continue;
    bool asked = state == SLOT_ASKED || state == SLOT_ASKED_COUNT, ended = state == SLOT_ASKED || state == SLOT_HELD;
    if (state != SLOT_HELD) settle(c, s, asked ? s->actual : NULL);
    if (state == SLOT_ASKED_COUNT) put(c, &s->counted, 1);
    if (ended) slot_free(c, i);
    else slot_orphan(c, i);
    found += !ended;
  }
  put(c, &c->f->instances[instance], 0);
  commit(c);
  return found;
}

static bool tag_change(struct slot *s, int64_t from, int64_t to) {
  return __atomic_compare_exchange_n(&s->tag, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* NULL: it is none of this process. *tag: its generation. */
static struct slot *slot_named(struct cells *c, uint64_t name, int64_t *tag) {
  int64_t at = (int64_t)(name & SLOT_MASK);
  *tag = (int64_t)(name >> SLOT_BITS) << 8;
  if (at < 1 || (size_t)at > item_specs[ITEM_SLOT].most) return NULL;
  if (!check(at <= __atomic_load_n(&c->f->items[ITEM_SLOT].high, __ATOMIC_ACQUIRE))) return NULL;
  struct slot *s = slot_at(c, at);
  return s->owner == c->instance ? s : NULL;
}

enum claimed { CLAIM_MINE, CLAIM_OTHERS, CLAIM_GONE };

/* OTHERS: it was to stay open once its cells are moved, and nobody has come to that yet: who does now ends it. */
static enum claimed claim(struct cells *c, struct slot *s, int64_t tag, bool stays) {
  while (!tag_change(s, tag | SLOT_OPEN, tag | SLOT_CLAIMED)) {
    if (!stays && tag_change(s, tag | SLOT_ASKED_COUNT, tag | SLOT_ASKED)) {
      __atomic_store_n(&c->f->asked, 1, __ATOMIC_RELEASE);
      return CLAIM_OTHERS;
    }
    if (__atomic_load_n(&s->tag, __ATOMIC_ACQUIRE) != (tag | SLOT_OPEN)) return CLAIM_GONE;
  }
  return CLAIM_MINE;
}

/* One that is claimed and has no cells. False: there are enough to keep. */
static bool witness_end(struct cells *c, struct slot *s, int64_t at, int64_t tag, bool stays) {
  __atomic_store_n(&s->tag, tag | (stays ? SLOT_OPEN : SLOT_HELD), __ATOMIC_RELEASE);
  return stays || spare_put(c, at);
}

static void asked_end(struct cells *c, struct slot *s, int64_t at, int64_t asked) {
  settle(c, s, s->actual);
  if (tag_state(asked) == SLOT_ASKED_COUNT && slot_stays(c, s, asked)) return;
  put(c, &s->tag, tag_with(s, SLOT_HELD));
  commit(c);
  if (!spare_put(c, at)) slot_free(c, at);
}

static enum cells_result end(struct cells *c, uint64_t name, const struct cells_amount *actual, bool stays) {
  int64_t at = (int64_t)(name & SLOT_MASK), tag;
  struct slot *s = slot_named(c, name, &tag);
  enum claimed claimed = s ? claim(c, s, tag, stays) : CLAIM_GONE;
  if (claimed != CLAIM_MINE) return claimed == CLAIM_GONE ? CELLS_GONE : CELLS_OK;
  if (!s->count && witness_end(c, s, at, tag, stays)) return CELLS_OK;
  int64_t asked = tag | (stays ? SLOT_ASKED_COUNT : SLOT_ASKED);
  for (int k = 0; k < CELL_KINDS; k++) s->actual[k] = actual->of[k] > 0 ? actual->of[k] : 0;
  __atomic_store_n(&s->tag, asked, __ATOMIC_RELEASE);
  if (!lock_take(c)) {
    __atomic_store_n(&c->f->asked, 1, __ATOMIC_RELEASE);
    return CELLS_OK;
  }
  if (__atomic_load_n(&s->tag, __ATOMIC_ACQUIRE) == asked) asked_end(c, s, at, asked);       /* else it was served meanwhile */
  lock_drop(c);
  return CELLS_OK;
}

enum cells_result cells_settle(struct cells *c, uint64_t slot, const struct cells_amount *actual) { return end(c, slot, actual, false); }

enum cells_result cells_count(struct cells *c, uint64_t slot, const struct cells_amount *actual) { return end(c, slot, actual, true); }

enum cells_result cells_release(struct cells *c, uint64_t slot) { return end(c, slot, &(struct cells_amount){ { 0 } }, false); }

/* ---- orphans */
static void orphan_fill(const struct cells *c, const struct slot *s, struct cells_orphan *out) {
  for (int k = 0; k < CELL_KINDS && s->counted; k++) out->amount.of[k] = s->actual[k];
  for (int64_t i = 0; i < s->count && !s->counted; i++) {
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
    put(c, &s->tag, tag_with(s, SLOT_FREE));
    item_give(c, ITEM_SLOT, at);
    put(c, &c->f->orphan_count, c->f->orphan_count - 1);
  }
  lock_drop(c);
}
