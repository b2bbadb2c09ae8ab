/* What must hold of a file of cells between two steps, whoever died where. */
#ifndef CELLS_VERIFY_H
#define CELLS_VERIFY_H

#include "rig.h"
#include "../../../src/cells/room.h"

static inline void list_length(struct cells *c, enum item_kind k, const char *what) {
  const struct items *t = &c->f->items[k];
  int64_t n = 0;
  for (int64_t i = t->free; i && n <= t->high; n++) i = *(int64_t *)item_at(c, k, i);
  if (n + t->used != t->high) fail_msg("%s: %ld free, %ld used, %ld ever", what, n, t->used, t->high);
  if (t->high > t->ready) fail_msg("%s: %ld of %ld", what, t->high, t->ready);
}

static inline void one_cell(struct cells *c, int64_t i, const int64_t *refs, const int64_t *open, const int64_t *before) {
  struct cell *x = cell_at(c, i);
  int64_t spent = 0, reserved = 0;
  if (x->refs != refs[i]) fail_msg("cell %ld: %ld refs, %ld slots", i, x->refs, refs[i]);
  if (x->reserved != open[i]) fail_msg("cell %ld: %ld reserved, %ld in slots", i, x->reserved, open[i]);
  if (x->before_reserved != before[i]) fail_msg("cell %ld: %ld reserved before, %ld in slots", i, x->before_reserved, before[i]);
  if (x->spent < 0 || x->reserved < 0) fail_msg("cell %ld: spent %ld, reserved %ld", i, x->spent, x->reserved);
  if (!x->block) return;
  struct block *b = item_at(c, ITEM_BLOCK, x->block);
  for (int p = 0; p < BUCKETS; p++) spent += b->part[p].spent, reserved += b->part[p].reserved;
  if (spent != x->spent || reserved != x->reserved) fail_msg("cell %ld: its parts hold %ld and %ld", i, spent, reserved);
}

/* Sums of slots against cells, lists against counts. Nobody else may be at work. */
static inline void verify(struct cells *c) {
  struct file *f = c->f;
  int64_t high = f->items[ITEM_CELL].high, chained = 0;
  int64_t *refs = calloc(3 * (size_t)(high + 1), sizeof *refs), *open = refs + high + 1, *before = open + high + 1;
  assert_true(lock_take(c));
  assert_int_equal(f->undo_count, 0);
  for (int64_t i = 1; i <= f->items[ITEM_SLOT].high; i++) {
    struct slot *s = slot_at(c, i);
    int64_t state = s->tag & 0xFF;
    for (int64_t k = 0; state != SLOT_FREE && state != SLOT_HELD && state != SLOT_ORPHAN && k < s->count; k++) {
      struct entry *e = &s->entry[k];
      struct cell *x = cell_at(c, e->cell);
      bool rolling = x->block != 0;
      refs[e->cell]++;
      if (rolling ? x->start - e->epoch < BUCKETS : x->start == e->epoch) open[e->cell] += e->amount;
      else if (!rolling && x->before == e->epoch) before[e->cell] += e->amount;
    }
  }
  for (size_t h = 0; h < HEADS; h++)
    for (int64_t i = f->heads[h]; i; i = cell_at(c, i)->link, chained++) one_cell(c, i, refs, open, before);
  assert_int_equal(chained, f->items[ITEM_CELL].used);
  list_length(c, ITEM_CELL, "cells");
  list_length(c, ITEM_SLOT, "slots");
  list_length(c, ITEM_BLOCK, "blocks");
  lock_drop(c);
  free(refs);
}

/* All orphans are taken; gives how many there were. */
static inline size_t orphans_end(struct cells *c) {
  struct cells_orphan o;
  size_t n = 0;
  for (; cells_orphan(c, &o); n++) cells_orphan_done(c, o.slot);
  return n;
}

#endif
