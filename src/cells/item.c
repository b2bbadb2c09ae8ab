/* Tables of items in the file: taken, given back, grown in place. */
#include "room.h"
#include "weir/log.h"
#include <fcntl.h>

#define FILE_END PAGES(BLOCKS_AT + MOST_BLOCKS * sizeof(struct block))

/* Steps are about a megabyte, which a growing thread has to clear under the lock. */
const struct item_spec item_specs[ITEM_KINDS] = {
  [ITEM_CELL] = { CELLS_AT, sizeof(struct cell), MOST_CELLS, 2048 },
  [ITEM_SLOT] = { SLOTS_AT, sizeof(struct slot), MOST_SLOTS, 1024 },
  [ITEM_BLOCK] = { BLOCKS_AT, sizeof(struct block), MOST_BLOCKS, 512 },
};

size_t file_size(void) { return FILE_END; }

char *ring_start(const struct cells *c) { return c->base + RING_AT; }

int64_t file_layout(void) {
  int64_t sizes[] = { sizeof(struct file), sizeof(struct cell), sizeof(struct slot), sizeof(struct block), sizeof(pthread_mutex_t),
                      RING_SIZE, FILE_END, INSTANCES, BUCKETS, SLOT_ORPHAN, CELL_KINDS };
  return (int64_t)span_hash(span_of((const char *)sizes, sizeof sizes), 1);
}

/* Blocks first, then the count: done twice it is done once. */
bool item_ready(struct cells *c, enum item_kind k) {
  const struct item_spec *s = &item_specs[k];
  struct items *t = &c->f->items[k];
  if ((size_t)t->ready + s->step > s->most) return false;
  if (posix_fallocate(c->fd, (off_t)(s->at + (size_t)t->ready * s->size), (off_t)(s->step * s->size))) return false;
  return put(c, &t->ready, t->ready + (int64_t)s->step);
}

int64_t item_take(struct cells *c, enum item_kind k) {
  struct items *t = &c->f->items[k];
  int64_t i = t->free;
  if (i) {
    put(c, &t->free, *(int64_t *)item_at(c, k, i));
  } else {
    if (t->high == t->ready && !item_ready(c, k)) return 0;
    i = t->high + 1;
    put(c, &t->high, i);
  }
  put(c, &t->used, t->used + 1);
  return i;
}

void item_give(struct cells *c, enum item_kind k, int64_t i) {
  struct items *t = &c->f->items[k];
  put(c, item_at(c, k, i), t->free);
  put(c, &t->free, i);
  put(c, &t->used, t->used - 1);
}
