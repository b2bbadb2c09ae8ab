#include "weir/wheel.h"
#include <stddef.h>
#include <string.h>

/* Level l has 64 slots of 64^l ms. A timer sits in the level whose span covers its distance and
   moves one level down when its slot comes round, so that arming and stopping are O(1). */
enum { SHIFT = 6, MASK = WHEEL_SLOTS - 1 };
#define SPAN_OF(level) (1ull << (SHIFT * ((level) + 1)))

void wheel_init(struct wheel *w, uint64_t now_ms) {
  memset(w, 0, sizeof *w);
  w->now_ms = now_ms;
}

static void hang(struct timer **list, struct timer *t) {
  t->next = *list;
  if (t->next) t->next->link = &t->next;
  t->link = list;
  *list = t;
}

static void place(struct wheel *w, struct timer *t) {
  uint64_t due = t->due_ms > w->now_ms ? t->due_ms : w->now_ms + 1;
  for (int l = 0; l < WHEEL_LEVELS; l++) {
    /* The distance is counted in slots of this level, else the current slot could be hit again. */
    if ((due >> (SHIFT * l)) - (w->now_ms >> (SHIFT * l)) >= WHEEL_SLOTS) continue;
    unsigned slot = (due >> (SHIFT * l)) & MASK;
    w->busy[l] |= 1ull << slot;
    hang(&w->slots[l][slot], t);
    return;
  }
  hang(&w->far, t);
}

void timer_stop(struct wheel *w, struct timer *t) {
  (void)w;                                         /* busy bits are cleared lazily */
  if (!t->link) return;
  *t->link = t->next;
  if (t->next) t->next->link = t->link;
  t->next = NULL;
  t->link = NULL;
}

void timer_set(struct wheel *w, struct timer *t, uint64_t due_ms) {
  timer_stop(w, t);
  t->due_ms = due_ms;
  place(w, t);
}

/* The list being run hangs in the wheel, so that a timer's own callback may stop its neighbours. */
static void take_slot(struct wheel *w, struct timer **list) {
  w->running = *list;
  *list = NULL;
  if (w->running) w->running->link = &w->running;
  while (w->running) {
    struct timer *t = w->running;
    timer_stop(w, t);
    if (t->due_ms <= w->now_ms) t->done(t);
    else place(w, t);
  }
}

static void tick(struct wheel *w) {
  for (int l = WHEEL_LEVELS - 1; l >= 0; l--) {
    if (l && (w->now_ms & (SPAN_OF(l - 1) - 1))) continue;
    if (l == WHEEL_LEVELS - 1 && !(w->now_ms & (SPAN_OF(l - 1) - 1))) take_slot(w, &w->far);
    unsigned slot = (w->now_ms >> (SHIFT * l)) & MASK;
    if (!(w->busy[l] & 1ull << slot)) continue;
    w->busy[l] &= ~(1ull << slot);
    take_slot(w, &w->slots[l][slot]);
  }
}

void wheel_turn(struct wheel *w, uint64_t now_ms) {
  while (w->now_ms < now_ms) {
    uint64_t idle = wheel_next(w);
    if (idle > now_ms - w->now_ms) {               /* nothing between here and there */
      w->now_ms = now_ms;
      return;
    }
    w->now_ms += idle ? idle : 1;
    tick(w);
  }
}

uint64_t wheel_next(const struct wheel *w) {
  uint64_t best = UINT64_MAX;
  for (int l = 0; l < WHEEL_LEVELS; l++) {
    if (!w->busy[l]) continue;
    unsigned at = (w->now_ms >> (SHIFT * l)) & MASK;
    uint64_t turned = at == MASK ? w->busy[l] : w->busy[l] >> (at + 1) | w->busy[l] << (MASK - at);
    uint64_t slots = 1 + (uint64_t)__builtin_ctzll(turned);
    uint64_t base = w->now_ms >> (SHIFT * l);
    uint64_t due = (base + slots) << (SHIFT * l);
    if (due - w->now_ms < best) best = due - w->now_ms;
  }
  if (w->far) {                                    /* looked at when the last level turns */
    uint64_t step = SPAN_OF(WHEEL_LEVELS - 2), due = (w->now_ms / step + 1) * step;
    if (due - w->now_ms < best) best = due - w->now_ms;
  }
  return best;
}
