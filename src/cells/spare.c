/* Slots that are held by this process and not open: so that most are opened and ended without the lock. They go with the process, as all
   that it has open. */
#include "room.h"

static struct spares *row_of(struct cells *c) {
  static unsigned threads;
  static _Thread_local unsigned number;
  if (!number) number = __atomic_add_fetch(&threads, 1, __ATOMIC_RELAXED);
  struct spares *s = &c->spares[number % SPARE_ROWS];
  return __atomic_exchange_n(&s->busy, true, __ATOMIC_ACQUIRE) ? NULL : s;
}

static void row_leave(struct spares *s) { __atomic_store_n(&s->busy, false, __ATOMIC_RELEASE); }

int64_t spare_take(struct cells *c) {
  struct spares *s = row_of(c);
  if (!s) return 0;
  int64_t slot = s->count ? s->slots[--s->count] : 0;
  row_leave(s);
  return slot;
}

bool spare_put(struct cells *c, int64_t slot) {
  struct spares *s = row_of(c);
  if (!s) return false;
  bool room = s->count < SPARES;
  if (room) s->slots[s->count++] = slot;
  row_leave(s);
  return room;
}

size_t spares_held(const struct cells *c) {
  size_t n = 0;
  for (int i = 0; i < SPARE_ROWS; i++) n += __atomic_load_n(&c->spares[i].count, __ATOMIC_RELAXED);
  return n;
}
