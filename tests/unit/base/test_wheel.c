#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "weir/wheel.h"

enum { TIMERS = 300 };
static struct wheel wheel;
static struct timer timers[TIMERS];
static uint64_t due[TIMERS], ran[TIMERS];   /* due 0: not armed */
static uint32_t seed;

static uint32_t chance(uint32_t below) {
  seed = seed * 1664525u + 1013904223u;
  return (seed >> 8) % below;
}

static void run(struct timer *t) {
  size_t i = (size_t)(t - timers);
  assert_int_not_equal(due[i], 0);
  assert_true(due[i] <= wheel.now_ms);
  ran[i] = wheel.now_ms;
  due[i] = 0;
  if (chance(8) == 0) {                                  /* a callback may stop or arm its neighbours */
    size_t k = chance(TIMERS);
    timer_stop(&wheel, &timers[k]);
    due[k] = 0;
  }
}

static uint64_t far_or_near(void) {
  switch (chance(4)) {
  case 0: return 1 + chance(64);
  case 1: return 1 + chance(5000);
  case 2: return 1 + chance(400000);
  default: return 1 + (uint64_t)chance(1u << 24) * 3;    /* beyond the last level */
  }
}

/* No timer runs early; none is left behind; the wheel never sleeps past the earliest. */
static void against_a_list(void **state) {
  (void)state;
  for (seed = 1; seed < 40; seed++) {
    uint32_t start = seed;
    wheel_init(&wheel, 1000 * seed);
    for (size_t i = 0; i < TIMERS; i++) timers[i] = (struct timer){ .done = run }, due[i] = 0;
    for (int step = 0; step < 400; step++) {
      for (int k = 0; k < 5; k++) {
        size_t i = chance(TIMERS);
        if (chance(5) == 0) {
          timer_stop(&wheel, &timers[i]);
          due[i] = 0;
        } else {
          due[i] = wheel.now_ms + far_or_near();
          timer_set(&wheel, &timers[i], due[i]);
        }
      }
      uint64_t earliest = UINT64_MAX;
      for (size_t i = 0; i < TIMERS; i++)
        if (due[i] && due[i] < earliest) earliest = due[i];
      uint64_t next = wheel_next(&wheel);
      if (earliest != UINT64_MAX) assert_true(wheel.now_ms + next <= earliest);
      uint64_t to = wheel.now_ms + (chance(3) ? chance(200) : chance(3000000));
      wheel_turn(&wheel, to);
      assert_int_equal(wheel.now_ms, to);
      for (size_t i = 0; i < TIMERS; i++) {
        assert_true(!due[i] || due[i] > to);
        assert_int_equal(timer_armed(&timers[i]), due[i] != 0);
      }
    }
    seed = start;
  }
}

static void runs_at_its_time(void **state) {
  (void)state;
  static const uint64_t after[] = { 1, 63, 64, 65, 4095, 4096, 4097, 262143, 262144, 16777215, 16777216, 40000000 };
  for (size_t k = 0; k < sizeof after / sizeof *after; k++) {
    wheel_init(&wheel, 777);
    timers[0] = (struct timer){ .done = run };
    seed = 3;
    due[0] = 777 + after[k];
    ran[0] = 0;
    timer_set(&wheel, &timers[0], due[0]);
    while (!ran[0]) {                                    /* as a loop would: sleep as long as the wheel allows */
      uint64_t next = wheel_next(&wheel);
      assert_int_not_equal(next, UINT64_MAX);
      wheel_turn(&wheel, wheel.now_ms + (next ? next : 1));
    }
    assert_int_equal(ran[0], 777 + after[k]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test(against_a_list), cmocka_unit_test(runs_at_its_time) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
