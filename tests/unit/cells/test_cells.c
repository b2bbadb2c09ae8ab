/* One process: what a reservation does, what windows do to it, who refuses and what is said. */
#include "verify.h"
#include <pthread.h>

static struct cells_held held;

static enum cells_result reserve(const struct cells_scope *s, size_t n, int64_t amount, int64_t now) {
  struct cells_amount a = all(amount);
  return cells_reserve(cells, s, n, &a, SPAN("note"), now, &held);
}

static uint64_t reserved(const struct cells_scope *s, size_t n, int64_t amount, int64_t now) {
  assert_int_equal(reserve(s, n, amount, now), CELLS_OK);
  assert_int_not_equal(held.slot, 0);
  return held.slot;
}

static void settled(uint64_t slot, int64_t actual) {
  struct cells_amount a = all(actual);
  assert_int_equal(cells_settle(cells, slot, &a), CELLS_OK);
}

static void reserve_settle_release(void **state) {
  struct cells_scope s = scope_of("a", CELL_MONEY, WINDOW_TOTAL, 0, 100);
  (void)state;
  assert_true(opened.fresh);
  uint64_t a = reserved(&s, 1, 60, T0);
  assert_int_equal(held.left[0], 40);
  holds(cells, &s, T0, 0, 60);
  assert_int_equal(reserve(&s, 1, 41, T0), CELLS_CAPPED);
  uint64_t b = reserved(&s, 1, 40, T0);
  settled(a, 55);
  holds(cells, &s, T0, 55, 40);
  assert_int_equal(cells_release(cells, b), CELLS_OK);
  holds(cells, &s, T0, 55, 0);
  settled(reserved(&s, 1, 45, T0), 50);                   /* a provider that did not keep its limit: counted as it is */
  holds(cells, &s, T0, 105, 0);
  assert_int_equal(reserve(&s, 1, 1, T0), CELLS_CAPPED);
  reserved(&s, 1, 0, T0);                                  /* nothing is always affordable */
}

static void a_slot_ends_once(void **state) {
  struct cells_scope s = scope_of("a", CELL_MONEY, WINDOW_TOTAL, 0, 100);
  struct cells_amount one = money(1);
  (void)state;
  uint64_t a = reserved(&s, 1, 10, T0);
  settled(a, 7);
  assert_int_equal(cells_settle(cells, a, &one), CELLS_GONE);
  assert_int_equal(cells_release(cells, a), CELLS_GONE);
  assert_int_equal(cells_extend(cells, a, &s, 1, &one, T0, &held), CELLS_GONE);
  uint64_t b = reserved(&s, 1, 10, T0);                    /* the same place under another name */
  assert_int_not_equal(a, b);
  assert_int_equal(cells_settle(cells, a, &one), CELLS_GONE);
  assert_int_equal(cells_settle(cells, 0, &one), CELLS_GONE);
  assert_int_equal(cells_settle(cells, UINT64_MAX, &one), CELLS_GONE);
  holds(cells, &s, T0, 7, 10);
}

/* What is counted may leave its slot open: a witness, which nothing but its release ends. */
static void a_witness_stays(void **state) {
  struct cells_scope s = scope_of("a", CELL_MONEY, WINDOW_TOTAL, 0, 100);
  struct cells_amount seven = money(7), one = money(1);
  struct cells_figures f;
  (void)state;
  uint64_t a = reserved(&s, 1, 10, T0), b = reserved(&s, 0, 0, T0);
  assert_int_equal(cells_count(cells, a, &seven), CELLS_OK);
  holds(cells, &s, T0, 7, 0);
  assert_int_equal(cells_count(cells, a, &one), CELLS_OK);                 /* it has no cells any more */
  assert_int_equal(cells_extend(cells, a, &s, 1, &one, T0, &held), CELLS_GONE);
  assert_int_equal(cells_count(cells, b, &one), CELLS_OK);
  holds(cells, &s, T0, 7, 0);
  cells_figures(cells, &f);
  assert_int_equal(f.slots, 2);
  assert_int_equal(cells_release(cells, a), CELLS_OK);
  assert_int_equal(cells_release(cells, a), CELLS_GONE);
  assert_int_equal(cells_settle(cells, b, &one), CELLS_OK);
  assert_int_equal(cells_count(cells, b, &one), CELLS_GONE);
  cells_figures(cells, &f);
  assert_int_equal(f.slots, 0);
  for (int i = 0; i < 300; i++) {                          /* more than are kept for the next */
    uint64_t open[200];
    for (int k = 0; k < 200; k++) open[k] = reserved(&s, (size_t)(k & 1), 0, T0);
    for (int k = 0; k < 200; k++) assert_int_equal(cells_release(cells, open[k]), CELLS_OK);
  }
  cells_figures(cells, &f);
  assert_int_equal(f.slots, 0);
  assert_true(cells->f->items[ITEM_SLOT].used <= SPARES);
  holds(cells, &s, T0, 7, 0);
}

/* Slots that a process holds and does not use go with it, and are nobody's orphans. */
static void what_is_held_goes_with_its_process(void **state) {
  struct cells_scope s = scope_of("a", CELL_MONEY, WINDOW_TOTAL, 0, 100);
  struct cells_amount seven = money(7);
  struct cells_orphan o;
  struct cells_held h;
  (void)state;
  struct cells *other = open_cells();
  assert_int_equal(cells_reserve(other, &s, 1, &seven, SPAN("x"), T0, &h), CELLS_OK);
  assert_int_equal(cells_settle(cells, h.slot, &seven), CELLS_GONE);       /* another's */
  assert_int_equal(cells_settle(other, h.slot, &seven), CELLS_OK);
  assert_int_equal(cells_reserve(other, NULL, 0, &seven, SPAN("x"), T0, &h), CELLS_OK);
  assert_int_equal(cells_release(other, h.slot), CELLS_OK);
  assert_int_equal(cells->f->items[ITEM_SLOT].used, 1);
  cells_close(other);
  assert_int_equal(cells_tend(cells), 0);
  assert_false(cells_orphan(cells, &o));
  assert_int_equal(cells->f->items[ITEM_SLOT].used, 0);
  verify(cells);
}

static void all_scopes_or_none(void **state) {
  struct cells_scope s[3] = { scope_of("a", CELL_MONEY, WINDOW_DAY, 0, 100), scope_of("b", CELL_TOKENS, WINDOW_ROLLING, 60, 50),
                              scope_of("c", CELL_CONCURRENT, WINDOW_TOTAL, 0, 10) };
  struct cells_amount a = { .of = { 90, 50, 1, 1 } };
  (void)state;
  assert_int_equal(cells_reserve(cells, s, 3, &a, SPAN("one"), T0, &held), CELLS_OK);
  uint64_t one = held.slot;
  a.of[CELL_MONEY] = 5;
  assert_int_equal(cells_reserve(cells, s, 3, &a, SPAN("two"), T0, &held), CELLS_CAPPED);
  assert_int_equal(held.refusal.scope, 1);
  assert_int_equal(held.refusal.asked, 50);
  assert_int_equal(held.refusal.reserved, 50);
  assert_int_equal(held.refusal.spent, 0);
  assert_int_equal(held.refusal.cap, 50);
  holds(cells, &s[0], T0, 0, 90);
  holds(cells, &s[1], T0, 0, 50);
  holds(cells, &s[2], T0, 0, 1);
  a = (struct cells_amount){ .of = { 11, 13, 1, 1 } };
  assert_int_equal(cells_settle(cells, one, &a), CELLS_OK);
  holds(cells, &s[0], T0, 11, 0);
  holds(cells, &s[1], T0, 13, 0);
  holds(cells, &s[2], T0, 0, 0);                           /* what is over is no longer concurrent */
}

static void twice_the_same_cell_counts_twice(void **state) {
  struct cells_scope s[2] = { scope_of("a", CELL_MONEY, WINDOW_TOTAL, 0, 100), scope_of("a", CELL_MONEY, WINDOW_TOTAL, 0, 100) };
  (void)state;
  assert_int_equal(reserve(s, 2, 51, T0), CELLS_CAPPED);
  assert_int_equal(held.refusal.scope, 1);
  uint64_t a = reserved(s, 2, 50, T0);
  holds(cells, s, T0, 0, 100);
  settled(a, 30);
  holds(cells, s, T0, 60, 0);
}

static void extend(void **state) {
  struct cells_scope s[2] = { scope_of("a", CELL_MONEY, WINDOW_TOTAL, 0, 100), scope_of("b", CELL_MONEY, WINDOW_TOTAL, 0, 80) };
  struct cells_amount more = money(30);
  (void)state;
  uint64_t a = reserved(s, 2, 40, T0);
  assert_int_equal(cells_extend(cells, a, s, 2, &more, T0, &held), CELLS_OK);
  assert_int_equal(held.left[1], 10);
  assert_int_equal(cells_extend(cells, a, s, 2, &more, T0, &held), CELLS_CAPPED);
  assert_int_equal(held.refusal.scope, 1);
  holds(cells, &s[0], T0, 0, 70);                          /* what the first had got was taken back */
  assert_int_equal(cells_extend(cells, a, s, 1, &more, T0, &held), CELLS_GONE);
  holds(cells, &s[0], T0, 0, 70);
  settled(a, 66);
  holds(cells, &s[1], T0, 66, 0);
}

static void identity(void **state) {
  char big[300];
  struct cells_scope a = scope_of("a", CELL_MONEY, WINDOW_TOTAL, 0, 100), b = a;
  (void)state;
  reserved(&a, 1, 1, T0);
  b.id.value = SPAN("other");
  holds(cells, &b, T0, 0, 0);
  b = a, b.id.name = SPAN("at"), b.id.value = SPAN("eam");  /* the same letters, cut elsewhere */
  holds(cells, &b, T0, 0, 0);
  b = a, b.id.window.kind = WINDOW_DAY;
  holds(cells, &b, T0, 0, 0);
  b = a, b.id.kind = CELL_TOKENS;
  holds(cells, &b, T0, 0, 0);
  b = a, b.cap = 5;
  holds(cells, &b, T0, 0, 1);
  memset(big, 'x', sizeof big);
  a.id.name = b.id.name = span_of(big, 200);
  a.id.value = span_of(big, 300), b.id.value = span_of(big, 299);
  reserved(&a, 1, 7, T0);
  holds(cells, &a, T0, 0, 7);
  holds(cells, &b, T0, 0, 0);
  a.id.value = SPAN("x\0y"), b.id.value = SPAN("x\0z");
  reserved(&a, 1, 3, T0);
  holds(cells, &a, T0, 0, 3);
  holds(cells, &b, T0, 0, 0);
}

static void fixed_windows_turn(void **state) {
  struct cells_scope s = scope_of("a", CELL_MONEY, WINDOW_DAY, 0, 100);
  int64_t next = 1700006400000;                            /* 2023-11-15 */
  (void)state;
  uint64_t a = reserved(&s, 1, 60, T0), b = reserved(&s, 1, 40, T0);
  assert_int_equal(reserve(&s, 1, 1, T0), CELLS_CAPPED);
  assert_int_equal(held.refusal.frees_ms, next);
  settled(a, 60);
  assert_int_equal(reserve(&s, 1, 1, next - 1), CELLS_CAPPED);
  uint64_t d = reserved(&s, 1, 100, next);                 /* what is still open belongs to yesterday */
  holds(cells, &s, next, 0, 100);
  settled(b, 40);
  holds(cells, &s, next, 0, 100);
  settled(d, 9);
  holds(cells, &s, next, 9, 0);
  holds(cells, &s, T0, 9, 0);                              /* the clock went back: today stays */
  struct cell_state x = state_at(cells, &s, next);
  assert_int_equal(x.start_ms, next);
  assert_int_equal(x.end_ms, next + 86400000);
}

static void months(void **state) {
  struct cells_scope s = scope_of("a", CELL_MONEY, WINDOW_MONTH, 0, 100);
  (void)state;
  reserved(&s, 1, 1, 1709164800000 - 1);                   /* 2024-02-29 less a ms */
  assert_int_equal(state_at(cells, &s, 1709164800000).start_ms, 1706745600000);
  assert_int_equal(state_at(cells, &s, 1709164800000).end_ms, 1709251200000);
  holds(cells, &s, 1709164800000, 0, 1);
  holds(cells, &s, 1709251200000, 0, 0);
  assert_int_equal(state_at(cells, &s, 1735689599999).end_ms, 1735689600000);       /* December 2024 */
}

static void an_open_reservation_over_the_turn(void **state) {
  struct cells_scope s = scope_of("a", CELL_MONEY, WINDOW_FIXED, 10, 100);
  struct cells_amount more = money(20);
  int64_t t = 1700000000000;
  (void)state;
  uint64_t a = reserved(&s, 1, 70, t);
  reserved(&s, 1, 90, t + 10000);
  assert_int_equal(cells_extend(cells, a, &s, 1, &more, t + 10000, &held), CELLS_OK);    /* in its own window, which had room */
  assert_int_equal(cells_extend(cells, a, &s, 1, &more, t + 10000, &held), CELLS_CAPPED);
  holds(cells, &s, t + 10000, 0, 90);
  assert_int_equal(cells_extend(cells, a, &s, 1, &more, t + 20000, &held), CELLS_CAPPED);/* nobody knows its window: the whole moves */
  assert_int_equal(held.refusal.asked, 110);
  more = money(10);
  assert_int_equal(cells_extend(cells, a, &s, 1, &more, t + 20000, &held), CELLS_OK);
  holds(cells, &s, t + 20000, 0, 100);
  settled(a, 95);
  holds(cells, &s, t + 20000, 95, 0);
}

/* Whatever stands in it, the cell that is meant is found, and it says which one that is. */
static void a_hint_is_only_a_hint(void **state) {
  struct cells_scope a = scope_of("a", CELL_MONEY, WINDOW_TOTAL, 0, 100), b = scope_of("b", CELL_MONEY, WINDOW_TOTAL, 0, 100);
  char longer[200];
  int64_t of_a = 0, of_b = 0, of_long = 0;
  (void)state;
  a.id.hint = &of_a, b.id.hint = &of_b;
  settled(reserved(&a, 1, 1, T0), 1);
  settled(reserved(&b, 1, 2, T0), 2);
  assert_true(of_a > 0 && of_b > 0 && of_a != of_b);
  const int64_t wrong[] = { of_b, 0, -1, 77777777, INT64_MAX, INT64_MIN };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    int64_t right = of_a;
    a.id.hint = &(int64_t){ wrong[i] };
    holds(cells, &a, T0, 1, 0);
    assert_int_equal(*a.id.hint, right);
  }
  struct cells_scope tokens = scope_of("a", CELL_TOKENS, WINDOW_TOTAL, 0, 100), day = scope_of("a", CELL_MONEY, WINDOW_DAY, 0, 100);
  tokens.id.hint = day.id.hint = &of_a;                    /* the same texts, another cell */
  holds(cells, &tokens, T0, 0, 0);
  holds(cells, &day, T0, 0, 0);
  memset(longer, 'x', sizeof longer);
  b.id.value = span_of(longer, sizeof longer), b.id.hint = &of_long;
  settled(reserved(&b, 1, 3, T0), 3);
  holds(cells, &b, T0, 3, 0);
  longer[sizeof longer - 1] = 'y';
  holds(cells, &b, T0, 0, 0);
}

static void rolling_windows(void **state) {
  struct cells_scope s = scope_of("a", CELL_TOKENS, WINDOW_ROLLING, 60, 100);
  (void)state;
  settled(reserved(&s, 1, 40, T0), 30);
  settled(reserved(&s, 1, 40, T0 + 20000), 40);
  uint64_t open = reserved(&s, 1, 30, T0 + 30000);
  holds(cells, &s, T0 + 30000, 70, 30);
  assert_int_equal(reserve(&s, 1, 31, T0 + 40000), CELLS_CAPPED);
  assert_int_equal(held.refusal.frees_ms, T0 + 20000 + 61000);             /* the first 30 are not enough */
  assert_int_equal(reserve(&s, 1, 30, T0 + 60999), CELLS_CAPPED);
  assert_int_equal(held.refusal.frees_ms, T0 + 61000);
  settled(reserved(&s, 1, 30, T0 + 61000), 30);
  holds(cells, &s, T0 + 61000, 70, 30);
  holds(cells, &s, T0 + 81000, 30, 30);
  holds(cells, &s, T0 + 91000, 30, 0);                                     /* what is open leaves too */
  uint64_t late = reserved(&s, 1, 5, T0 + 95000);
  settled(open, 30);                                                        /* its part is gone: nothing to move */
  holds(cells, &s, T0 + 95000, 30, 5);
  settled(late, 6);
  holds(cells, &s, T0 + 95000, 36, 0);
  holds(cells, &s, T0, 36, 0);                                             /* the clock went back */
  holds(cells, &s, T0 + 900000, 0, 0);
}

static void sessions(void **state) {
  struct cells_scope s = scope_of("a", CELL_MONEY, WINDOW_SESSION, 0, 100);
  int64_t t = T0;
  (void)state;
  for (int i = 0; i < 5; i++, t += CELLS_SESSION_IDLE_MS - 1000) settled(reserved(&s, 1, 20, t), 20);
  assert_int_equal(reserve(&s, 1, 1, t), CELLS_CAPPED);
  holds(cells, &s, t + CELLS_SESSION_IDLE_MS, 0, 0);
}

static void a_cap_is_the_callers(void **state) {
  struct cells_scope s = scope_of("a", CELL_MONEY, WINDOW_TOTAL, 0, 100);
  (void)state;
  settled(reserved(&s, 1, 100, T0), 100);
  s.cap = 150;
  reserved(&s, 1, 50, T0);
  s.cap = 10;
  assert_int_equal(reserve(&s, 1, 1, T0), CELLS_CAPPED);
  s.cap = CELLS_NO_CAP;
  reserved(&s, 1, INT64_MAX / 2, T0);
  assert_int_equal(reserve(&s, 1, INT64_MAX / 2 + 1, T0), CELLS_CAPPED);     /* rather than beyond the end of numbers */
  s.cap = -5;
  assert_int_equal(reserve(&s, 1, 1, T0), CELLS_CAPPED);
}

static void bad_arguments(void **state) {
  struct cells_scope s[CELLS_MOST_SCOPES + 1];
  (void)state;
  for (size_t i = 0; i <= CELLS_MOST_SCOPES; i++) s[i] = scope_of("a", CELL_MONEY, WINDOW_TOTAL, 0, 100);
  assert_int_equal(reserve(s, CELLS_MOST_SCOPES + 1, 1, T0), CELLS_FULL);
  settled(reserved(s, CELLS_MOST_SCOPES, 1, T0), 1);
  holds(cells, s, T0, CELLS_MOST_SCOPES, 0);
  settled(reserved(s, 0, 1, T0), 1);
}

static void stays_over_a_restart(void **state) {
  struct cells_scope s = scope_of("a", CELL_MONEY, WINDOW_TOTAL, 0, 100), c = scope_of("c", CELL_CONCURRENT, WINDOW_TOTAL, 0, 2);
  struct cells_scope both[2] = { s, c };
  struct cells_orphan o;
  (void)state;
  settled(reserved(&s, 1, 10, T0), 10);
  reserved(both, 2, 2, T0);
  cells_close(cells);
  cells = open_cells();
  assert_false(opened.fresh);
  assert_int_equal(opened.orphans, 1);
  holds(cells, &s, T0, 12, 0);                             /* what was open is settled at its reservation */
  holds(cells, &c, T0, 0, 0);
  assert_true(cells_orphan(cells, &o));
  assert_int_equal(o.amount.of[CELL_MONEY], 2);
  assert_memory_equal(o.note, "note", o.note_size);
  assert_true(cells_orphan(cells, &o));                    /* until it is done */
  cells_orphan_done(cells, o.slot);
  cells_orphan_done(cells, o.slot);
  assert_false(cells_orphan(cells, &o));
  struct cells_figures f;
  cells_figures(cells, &f);
  assert_int_equal(f.slots, 0);
  assert_int_equal(f.cells, 2);
  assert_int_equal(f.orphans, 0);
}

static void two_open_it(void **state) {
  struct cells_scope s = scope_of("a", CELL_MONEY, WINDOW_TOTAL, 0, 100);
  struct cells_amount one = money(1);
  (void)state;
  uint64_t mine = reserved(&s, 1, 10, T0);
  struct cells *other = open_cells();
  assert_false(opened.fresh);
  assert_int_equal(opened.orphans, 0);
  holds(other, &s, T0, 0, 10);
  assert_int_equal(cells_extend(other, mine, &s, 1, &one, T0, &held), CELLS_GONE);
  assert_int_equal(cells_reserve(other, &s, 1, &one, SPAN("x"), T0, &held), CELLS_OK);
  holds(cells, &s, T0, 0, 11);
  cells_close(other);
  holds(cells, &s, T0, 0, 11);
  assert_int_equal(cells_tend(cells), 1);
  holds(cells, &s, T0, 1, 10);
  assert_int_equal(cells_tend(cells), 0);
  settled(mine, 3);
  holds(cells, &s, T0, 4, 0);
}

static void another_layout_or_boot_begins_anew(void **state) {
  static const long places[] = { 0, 8, 20 };               /* magic, layout, boot */
  struct cells_scope s = scope_of("a", CELL_MONEY, WINDOW_TOTAL, 0, 100);
  const char *why = NULL;
  (void)state;
  for (size_t i = 0; i < 3; i++) {
    settled(reserved(&s, 1, 10, T0), 10);
    FILE *f = fopen(path, "r+");
    fseek(f, places[i], SEEK_SET);
    fputc('?', f);
    fclose(f);
    assert_null(cells_open(path, &opened, &why));          /* not while we have it */
    assert_non_null(strstr(why, "another version"));
    cells_close(cells);
    cells = open_cells();
    assert_true(opened.fresh);
    holds(cells, &s, T0, 0, 0);
  }
  assert_null(cells_open("/nowhere/cells", &opened, &why));
  assert_non_null(strstr(why, "/nowhere/cells: "));
}

static void grows_and_evicts(void **state) {
  struct cells_scope s = scope_of("a", CELL_TOKENS, WINDOW_ROLLING, 60, 100);
  struct cells_figures f;
  char value[32];
  (void)state;
  for (int i = 0; i < 5000; i++) {
    snprintf(value, sizeof value, "user %d", i);
    s.id.value = span_cstr(value);
    settled(reserved(&s, 1, 10, T0), i % 100);
  }
  cells_figures(cells, &f);
  assert_true(f.cells + f.evicted == 5000 && f.cells > 4900);              /* some had spent nothing */
  for (int i = 0; i < 5000; i++) {
    snprintf(value, sizeof value, "user %d", i);
    s.id.value = span_cstr(value);
    holds(cells, &s, T0, i % 100, 0);
  }
  size_t before = f.cells;
  for (int i = 5000; i < 9000; i++) {                      /* two minutes later those are nobody's any more */
    snprintf(value, sizeof value, "user %d", i);
    s.id.value = span_cstr(value);
    reserved(&s, 1, 10, T0 + 120000);
  }
  cells_figures(cells, &f);
  assert_true(f.cells < before + 1200 && f.evicted > 2500);
  for (int i = 5000; i < 9000; i++) {
    snprintf(value, sizeof value, "user %d", i);
    s.id.value = span_cstr(value);
    holds(cells, &s, T0 + 120000, 0, 10);
  }
}

static void listing(void **state) {
  struct cells_scope s[2] = { scope_of("a", CELL_MONEY, WINDOW_DAY, 0, 100), scope_of("b", CELL_TOKENS, WINDOW_ROLLING, 60, 50) };
  struct cell_listed l;
  size_t at = 0, n = 0;
  (void)state;
  reserved(s, 2, 5, T0);
  while (cells_each(cells, &at, T0, &l)) {
    assert_string_equal(l.name, n ? "b" : "a");
    assert_string_equal(l.value, "team");
    assert_int_equal(l.cap, n ? 50 : 100);
    assert_int_equal(l.state.reserved, 5);
    n++;
  }
  assert_int_equal(n, 2);
}

static void *reserve_and_settle(void *arg) {
  struct cells_scope s[3] = { scope_of("a", CELL_MONEY, WINDOW_TOTAL, 0, 1000), scope_of("b", CELL_TOKENS, WINDOW_ROLLING, 60, 900),
                              scope_of("c", CELL_CONCURRENT, WINDOW_TOTAL, 0, 3) };
  struct cells_amount a = { .of = { 7, 7, 1, 1 } }, more = { .of = { 1, 1, 0, 0 } };
  struct cells_held h;
  int64_t *spent = arg;
  for (int i = 0; i < 4000; i++) {
    enum cells_result r = cells_reserve(cells, s, 3, &a, SPAN("t"), T0, &h);
    if (r == CELLS_CAPPED || r == CELLS_BUSY) continue;
    uint64_t slot = h.slot;
    cells_extend(cells, slot, s, 3, &more, T0, &h);
    struct cells_amount actual = all(i % 7);
    if (i % 5 && cells_settle(cells, slot, &actual) == CELLS_OK) *spent += i % 7;
    else cells_release(cells, slot);
  }
  return NULL;
}

static void threads(void **state) {
  struct cells_scope a = scope_of("a", CELL_MONEY, WINDOW_TOTAL, 0, 1000), b = scope_of("b", CELL_TOKENS, WINDOW_ROLLING, 60, 900);
  int64_t spent[4] = { 0 };
  pthread_t t[4];
  (void)state;
  for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&t[i], NULL, reserve_and_settle, &spent[i]), 0);
  for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
  int64_t sum = spent[0] + spent[1] + spent[2] + spent[3];
  holds(cells, &a, T0, sum, 0);
  holds(cells, &b, T0, sum, 0);
  assert_true(sum > 880 && sum <= 900);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, rig_up, rig_down)
  const struct CMUnitTest tests[] = {
    T(reserve_settle_release), T(a_slot_ends_once), T(a_witness_stays), T(what_is_held_goes_with_its_process), T(all_scopes_or_none), T(twice_the_same_cell_counts_twice), T(extend), T(identity),
    T(fixed_windows_turn), T(months), T(an_open_reservation_over_the_turn), T(a_hint_is_only_a_hint), T(rolling_windows), T(sessions), T(a_cap_is_the_callers),
    T(bad_arguments), T(stays_over_a_restart), T(two_open_it), T(another_layout_or_boot_begins_anew), T(grows_and_evicts), T(listing),
    T(threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
