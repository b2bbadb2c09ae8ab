/* Grants: a durable cell is used only as far as was promised; after a power loss what was promised is spent. */
#include "verify.h"

static struct cells_held held;
static struct cells_scope scope;

static enum cells_result reserve(int64_t amount, int64_t now) {
  struct cells_amount a = all(amount);
  return cells_reserve(cells, &scope, 1, &a, SPAN("x"), now, &held);
}

static int durable_up(void **state) {
  if (rig_up(state)) return 1;
  scope = scope_of("day", CELL_MONEY, WINDOW_DAY, 0, 1000);
  scope.durable = true;
  return 0;
}

static void waits_for_its_grant(void **state) {
  struct cells_want w, none;
  (void)state;
  assert_int_equal(reserve(10, T0), CELLS_UNGRANTED);
  assert_true(held.wants);
  assert_int_equal(held.refusal.granted, 0);
  assert_int_equal(reserve(20, T0), CELLS_UNGRANTED);
  assert_true(cells_want(cells, &w));
  assert_false(cells_want(cells, &none));                  /* one wish for both */
  assert_string_equal(w.name, "day");
  assert_string_equal(w.value, "team");
  assert_int_equal(w.asked, 20);
  assert_int_equal(w.better, 100);                         /* and four times as much again */
  assert_int_equal(w.epoch_ms, 1699920000000);
  uint64_t turns = cells_turns(cells);
  assert_int_equal(cells_grant(cells, &w, w.better), CELLS_OK);
  assert_int_not_equal(cells_turns(cells), turns);
  assert_int_equal(reserve(10, T0), CELLS_OK);
  assert_false(held.wants);
  assert_int_equal(reserve(30, T0), CELLS_OK);
  assert_false(held.wants);
  assert_int_equal(reserve(30, T0), CELLS_OK);             /* enough for now, asked for more beforehand */
  assert_true(held.wants);
  assert_int_equal(reserve(5, T0), CELLS_OK);
  assert_false(held.wants);                                /* was told */
  assert_true(cells_want(cells, &w));
  assert_true(w.asked >= 70 && w.better > 100);
  assert_int_equal(cells_grant(cells, &w, 60), CELLS_OK);  /* never lowered */
  assert_int_equal(state_at(cells, &scope, T0).granted, 100);
  assert_int_equal(reserve(31, T0), CELLS_UNGRANTED);
  assert_int_equal(reserve(931, T0), CELLS_CAPPED);        /* the cap is the cap */
  verify(cells);
}

static void a_window_has_its_own(void **state) {
  struct cells_want w;
  int64_t next = T0 + 86400000;
  (void)state;
  reserve(10, T0);
  assert_true(cells_want(cells, &w));
  assert_int_equal(cells_grant(cells, &w, 1000), CELLS_OK);
  assert_int_equal(reserve(1000, T0), CELLS_OK);
  assert_int_equal(reserve(1, next), CELLS_UNGRANTED);
  assert_int_equal(cells_grant(cells, &w, 1000), CELLS_OK);/* of yesterday: too late */
  assert_int_equal(reserve(1, next), CELLS_UNGRANTED);
  assert_true(cells_want(cells, &w));
  assert_int_equal(w.epoch_ms, 1700006400000);
  assert_int_equal(cells_grant(cells, &w, 1000), CELLS_OK);
  assert_int_equal(reserve(1, next), CELLS_OK);
}

/* What the list of wishes tells of a cell finds it again, whatever its value was. */
static void odd_values(void **state) {
  struct cells_want w;
  char big[500];
  (void)state;
  memset(big, 'x', sizeof big);
  struct span values[] = { SPAN(""), SPAN("a\0b"), span_of(big, sizeof big), span_of(big, 127), span_of(big, 128) };
  for (size_t i = 0; i < 5; i++) {
    scope.id.value = values[i];
    assert_int_equal(reserve(10, T0), CELLS_UNGRANTED);
    assert_true(cells_want(cells, &w));
    assert_int_equal(cells_grant(cells, &w, w.asked), CELLS_OK);
    assert_int_equal(reserve(10, T0), CELLS_OK);
  }
}

static void others_are_undone_with_it(void **state) {
  struct cells_scope s[2] = { scope_of("limit", CELL_TOKENS, WINDOW_ROLLING, 60, 100), scope };
  struct cells_amount a = all(10);
  struct cells_want w;
  (void)state;
  assert_int_equal(cells_reserve(cells, s, 2, &a, SPAN("x"), T0, &held), CELLS_UNGRANTED);
  assert_int_equal(held.refusal.scope, 1);
  holds(cells, &s[0], T0, 0, 0);
  assert_true(cells_want(cells, &w));                      /* but the wish stays */
  verify(cells);
}

static void power_loss(void **state) {
  struct cells_want w;
  (void)state;
  reserve(10, T0);
  assert_true(cells_want(cells, &w));
  cells_grant(cells, &w, 400);
  reserve(10, T0);
  cells_close(cells);
  unlink(path);
  cells = open_cells();
  assert_true(opened.fresh);
  assert_int_equal(cells_seed(cells, &scope.id, w.epoch_ms, 0, 400, T0), CELLS_OK);
  assert_int_equal(cells_seed(cells, &scope.id, w.epoch_ms - 86400000, 0, 900, T0), CELLS_OK);      /* yesterday's is over */
  holds(cells, &scope, T0, 400, 0);
  assert_int_equal(reserve(1, T0), CELLS_UNGRANTED);
  assert_true(cells_want(cells, &w));
  assert_int_equal(w.asked, 401);
  assert_int_equal(cells_grant(cells, &w, 1000), CELLS_OK);
  assert_int_equal(reserve(601, T0), CELLS_CAPPED);
  assert_int_equal(reserve(600, T0), CELLS_OK);
}

/* A promise of a rolling window stays spent for a whole window after the end of its epoch, and one of the epoch that runs
   from now on. */
static void power_loss_of_a_rolling_window(void **state) {
  struct cells_want w;
  int64_t now = T0 + 3600000;
  (void)state;
  scope = scope_of("hour", CELL_MONEY, WINDOW_ROLLING, 3600, 1000);
  scope.durable = true;
  assert_int_equal(reserve(10, now), CELLS_UNGRANTED);
  assert_true(cells_want(cells, &w));
  cells_close(cells);
  unlink(path);
  cells = open_cells();
  int64_t epoch = w.epoch_ms;
  assert_int_equal(cells_seed(cells, &scope.id, epoch - 3600000, 0, 300, now), CELLS_OK);
  assert_int_equal(cells_seed(cells, &scope.id, epoch, 0, 500, now), CELLS_OK);
  assert_int_equal(cells_seed(cells, &scope.id, epoch - 10 * 3600000, 0, 900, now), CELLS_OK);
  holds(cells, &scope, now, 500, 0);
  holds(cells, &scope, epoch + 3600000, 200, 0);
  holds(cells, &scope, now + 61 * 60000, 0, 0);
  verify(cells);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, durable_up, rig_down)
  const struct CMUnitTest tests[] = { T(waits_for_its_grant), T(a_window_has_its_own), T(odd_values), T(others_are_undone_with_it), T(power_loss),
                                      T(power_loss_of_a_rolling_window) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
