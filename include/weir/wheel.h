/* wheel.h: timer wheel. Time is milliseconds given by the caller; nothing here reads a clock.
   A timer is embedded in its owner and is either armed in one wheel or not. */
#ifndef WEIR_WHEEL_H
#define WEIR_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#define WHEEL_LEVELS 4
#define WHEEL_SLOTS  64

struct timer;
typedef void timer_done(struct timer *t);
struct timer {                        /* zeroed: not armed */
  struct timer *next, **link;
  uint64_t due_ms;
  timer_done *done;
};
struct wheel {
  uint64_t now_ms;
  struct timer *slots[WHEEL_LEVELS][WHEEL_SLOTS];
  uint64_t busy[WHEEL_LEVELS];        /* a bit per slot that holds a timer */
  struct timer *far;                  /* beyond the last level */
  struct timer *running;              /* private to wheel_turn */
};
void wheel_init(struct wheel *w, uint64_t now_ms);
void timer_set(struct wheel *w, struct timer *t, uint64_t due_ms);   /* arms or moves */
void timer_stop(struct wheel *w, struct timer *t);
static inline bool timer_armed(const struct timer *t) { return t->link != 0; }
/* Runs every timer due at or before now_ms; a timer that is run is no longer armed. */
void wheel_turn(struct wheel *w, uint64_t now_ms);
/* Milliseconds until something may be due (never later than the first timer), or UINT64_MAX. */
uint64_t wheel_next(const struct wheel *w);

#endif
