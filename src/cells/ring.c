/* The ledger's ring: records of any size in order, each behind its size. Producers write behind the head under a lock and
   then move the head; the one reader moves the tail. So whoever dies, a record is there whole or not at all. */
#include "room.h"

enum { SKIP = -1, SIZE_WORD = sizeof(int64_t) };           /* SKIP: the rest of the round is empty, the record begins the next */

static char *ring_at(const struct cells *c, int64_t place) { return ring_start(c) + (place & (RING_SIZE - 1)); }
static int64_t room_of(int64_t size) { return SIZE_WORD + (size + SIZE_WORD - 1) / SIZE_WORD * SIZE_WORD; }

static bool write_record(struct cells *c, struct span record) {
  struct file *f = c->f;
  int64_t head = f->ring_head, tail = __atomic_load_n(&f->ring_tail, __ATOMIC_ACQUIRE), need = room_of((int64_t)record.n);
  int64_t to_end = RING_SIZE - (head & (RING_SIZE - 1)), skip = to_end < need ? to_end : 0, size = (int64_t)record.n, none = SKIP;
  if (RING_SIZE - (head - tail) < skip + need) return false;
  if (skip) memcpy(ring_at(c, head), &none, SIZE_WORD);
  memcpy(ring_at(c, head + skip), &size, SIZE_WORD);
  if (record.n) memcpy(ring_at(c, head + skip) + SIZE_WORD, record.p, record.n);
  __atomic_store_n(&f->ring_head, head + skip + need, __ATOMIC_RELEASE);
  return true;
}

enum cells_result cells_append(struct cells *c, struct span record) {
  if (record.n > CELLS_RECORD) return CELLS_FULL;
  if (!ring_lock_take(c)) return CELLS_BUSY;
  bool written = write_record(c, record);
  ring_lock_drop(c);
  return written ? CELLS_OK : CELLS_FULL;
}

bool cells_drain_begin(struct cells *c) {
  if (!c->reads && !byte_lock(c, READER_BYTE)) return false;
  c->reads = true;
  c->ring_read = __atomic_load_n(&c->f->ring_tail, __ATOMIC_ACQUIRE);
  return true;
}

bool cells_drain(struct cells *c, struct span *record) {
  int64_t size;
  if (!c->reads || c->ring_read == __atomic_load_n(&c->f->ring_head, __ATOMIC_ACQUIRE)) return false;
  memcpy(&size, ring_at(c, c->ring_read), SIZE_WORD);
  if (size == SKIP) {
    c->ring_read += RING_SIZE - (c->ring_read & (RING_SIZE - 1));
    memcpy(&size, ring_at(c, c->ring_read), SIZE_WORD);
  }
  *record = span_of(ring_at(c, c->ring_read) + SIZE_WORD, (size_t)size);
  c->ring_read += room_of(size);
  return true;
}

void cells_drained(struct cells *c) {
  if (c->reads) __atomic_store_n(&c->f->ring_tail, c->ring_read, __ATOMIC_RELEASE);
}

int64_t cells_ring_name(const struct cells *c) { return (int64_t)c->f->seed; }
int64_t cells_drain_place(const struct cells *c) { return c->ring_read; }

void cells_drain_skip(struct cells *c, int64_t place) {
  if (c->reads && place > c->ring_read && place <= __atomic_load_n(&c->f->ring_head, __ATOMIC_ACQUIRE)) c->ring_read = place;
}
