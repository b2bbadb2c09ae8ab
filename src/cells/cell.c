/* The arithmetic of one cell: its window's turn, what is used of it, what moves. */
#include "room.h"

enum { MOST_SECONDS = 10 * 366 * 86400 };

int64_t sum(int64_t a, int64_t b) {
  int64_t s;
  return __builtin_add_overflow(a, b, &s) ? (b < 0 ? INT64_MIN : INT64_MAX) : s;
}

enum cell_kind cell_kind_of(const struct cell *x) { return (enum cell_kind)(x->spec & 0xFF); }

struct cell_window cell_window_of(const struct cell *x) {
  return (struct cell_window){ .kind = (enum window_kind)(x->spec >> 8 & 0xFF), .seconds = (uint32_t)(x->spec >> 32) };
}

bool window_valid(const struct cell_id *id) {
  const struct cell_window *w = &id->window;
  if ((unsigned)id->kind >= CELL_KINDS || (unsigned)w->kind > WINDOW_MONTH) return false;
  return (w->kind != WINDOW_ROLLING && w->kind != WINDOW_FIXED) || (w->seconds > 0 && w->seconds <= MOST_SECONDS);
}

static struct block *block_of(const struct cells *c, const struct cell *x) { return block_at(c, x->block); }

/* The parts that left the window give back what was in them. */
static void rolling_turn(struct cells *c, struct cell *x, int64_t part) {
  struct block *b = block_of(c, x);
  int64_t from = x->start + 1;
  if (part <= x->start) return;                            /* also when the clock went back */
  if (part - from >= BUCKETS) from = part - BUCKETS + 1;
  for (int64_t p = from; p <= part && (x->spent || x->reserved); p++) {
    int64_t *spent = &b->part[p % BUCKETS].spent, *reserved = &b->part[p % BUCKETS].reserved;
    add(c, &x->spent, -*spent);
    add(c, &x->reserved, -*reserved);
    put(c, spent, 0);
    put(c, reserved, 0);
  }
  put(c, &x->start, part);
}

/* Windows neither overlap nor go back: where a zone was changed or its rules are odd, the old end stands. */
static void turn(struct cells *c, struct cell *x, int64_t start, int64_t end, int64_t now_ms) {
  if (start < x->end) start = x->end;
  if (start > now_ms) start = now_ms;
  if (end <= now_ms) end = now_ms + 1000;
  put(c, &x->before, x->start);
  put(c, &x->before_spent, x->spent);
  put(c, &x->before_reserved, x->reserved);
  put(c, &x->start, start);
  put(c, &x->end, end);
  put(c, &x->spent, 0);
  put(c, &x->reserved, 0);
}

void cell_turn_to(struct cells *c, struct cell *x, int64_t start, int64_t end, int64_t now_ms) { turn(c, x, start, end, now_ms); }

int64_t cell_grant_epoch(const struct cell *x, int64_t now_ms) {
  struct cell_window w = cell_window_of(x);
  if (w.kind != WINDOW_ROLLING) return x->start;
  int64_t length = (int64_t)w.seconds * 1000, newest = x->start * window_part_ms(w.seconds);
  return (now_ms > newest ? now_ms : newest) / length * length;
}

void cell_turn(struct cells *c, struct cell *x, const struct cell_window *w, int64_t now_ms) {
  int64_t start = 0, end = 0;
  if (now_ms < 1) now_ms = 1;
  switch (w->kind) {
  case WINDOW_TOTAL: return;
  case WINDOW_ROLLING:
    rolling_turn(c, x, now_ms / window_part_ms(w->seconds));
    break;
  case WINDOW_SESSION:
    end = now_ms + CELLS_SESSION_IDLE_MS;
    if (!x->end || (now_ms >= x->end && !x->refs)) turn(c, x, now_ms, end, now_ms);
    else if (end > x->end + 1000) put(c, &x->end, end);
    break;
  case WINDOW_FIXED: case WINDOW_DAY: case WINDOW_MONTH:
    if (now_ms < x->end) return;
    window_bounds(w, now_ms, &start, &end);
    turn(c, x, start, end, now_ms);
    break;
  }
  int64_t epoch = cell_grant_epoch(x, now_ms);
  if (epoch != x->grant_epoch) {
    put(c, &x->grant_epoch, epoch);
    put(c, &x->granted, 0);
  }
}

bool cell_used(const struct cell *x, int64_t epoch, int64_t *spent, int64_t *reserved) {
  bool rolling = cell_window_of(x).kind == WINDOW_ROLLING, now = rolling ? x->start - epoch < BUCKETS : epoch == x->start;
  if (!now && (rolling || epoch != x->before)) return false;
  *spent = now ? x->spent : x->before_spent;
  *reserved = now ? x->reserved : x->before_reserved;
  return true;
}

/* Of an epoch that is not known any more nothing is counted here; the ledger has it. */
void cell_add(struct cells *c, struct cell *x, int64_t epoch, int64_t spent, int64_t reserved) {
  if (cell_window_of(x).kind == WINDOW_ROLLING) {
    if (x->start - epoch >= BUCKETS) return;
    struct block *b = block_of(c, x);
    put(c, &b->part[epoch % BUCKETS].spent, sum(b->part[epoch % BUCKETS].spent, spent));
    add(c, &b->part[epoch % BUCKETS].reserved, reserved);
  } else if (epoch != x->start) {
    if (epoch != x->before) return;
    put(c, &x->before_spent, sum(x->before_spent, spent));
    add(c, &x->before_reserved, reserved);
    return;
  }
  put(c, &x->spent, sum(x->spent, spent));
  add(c, &x->reserved, reserved);
}

/* When `excess` has left the window; 0: only what others do can help. */
int64_t cell_frees_ms(const struct cells *c, const struct cell *x, int64_t excess) {
  struct cell_window w = cell_window_of(x);
  if (cell_kind_of(x) == CELL_CONCURRENT || w.kind == WINDOW_TOTAL) return 0;
  if (w.kind != WINDOW_ROLLING) return x->end;
  const struct block *b = block_of(c, x);
  int64_t left = 0, p = x->start < PARTS ? 0 : x->start - PARTS;
  for (; p < x->start; p++) {
    left = sum(left, sum(b->part[p % BUCKETS].spent, b->part[p % BUCKETS].reserved));
    if (left >= excess) break;
  }
  return (p + BUCKETS) * window_part_ms(w.seconds);
}

bool cell_idle(const struct cell *x, int64_t now_ms) {
  if (x->refs || x->want) return false;
  if (!x->spent && !x->reserved) return true;
  struct cell_window w = cell_window_of(x);
  if (w.kind == WINDOW_TOTAL) return false;
  if (w.kind == WINDOW_ROLLING) return now_ms / window_part_ms(w.seconds) - x->start >= BUCKETS;
  return now_ms >= x->end;
}
