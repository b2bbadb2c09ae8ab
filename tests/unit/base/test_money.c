/* Money as text and as whole picodollars. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "weir/money.h"

static const struct { const char *text; int64_t v; const char *shown; } exact[] = {
  { "0", 0, "0" }, { "0.0", 0, "0" }, { "2.5", 2500000000000, "2.5" }, { "20", 20000000000000, "20" },
  { "1e-06", 1000000, "0.000001" }, { "1.5e-6", 1500000, "0.0000015" }, { "0.000000000001", 1, "0.000000000001" },
  { "9223372.036854775807", INT64_MAX, "9223372.036854775807" }, { "1E2", 100000000000000, "100" }, { "1e+2", 100000000000000, "100" },
  { ".5", 500000000000, "0.5" }, { "5.", 5000000000000, "5" }, { "0.10", 100000000000, "0.1" }, { "0e40", 0, "0" },
  { "1000000000000000000e-18", MONEY_USD, "1" },
};
static const char *const refused[] = {
  "", ".", "-1", "+1", "1.2.3", "1e", "1e-", "1e41", "0x10", "nan", "inf", "1 ", " 1", "1,5", "9223372.036854775808", "1e30",
  "0.0000000000001", "1e-13", "1111111111111111111111111111111",
};

static void decimals(void **state) {
  const char *why;
  (void)state;
  for (size_t i = 0; i < sizeof exact / sizeof *exact; i++) {
    picodollars v = -7;
    char text[MONEY_TEXT];
    assert_true(money_read(span_cstr(exact[i].text), &v, &why));
    assert_int_equal(v, exact[i].v);
    assert_int_equal(money_text(v, text), strlen(exact[i].shown));
    assert_string_equal(text, exact[i].shown);
  }
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    picodollars v = -7;
    if (money_read(span_cstr(refused[i]), &v, &why)) fail_msg("'%s' is %lld", refused[i], (long long)v);
    assert_int_equal(v, -7);
    assert_true(*why != 0);
  }
}

/* Any amount, written and read again, is itself. */
static void round_trip(void **state) {
  uint64_t random = 88172645463325252u;
  const char *why;
  (void)state;
  for (int i = 0; i < 100000; i++) {
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    picodollars v = (picodollars)(random >> 1 >> (random % 61)), again = -1;
    char text[MONEY_TEXT];
    size_t n = money_text(v, text);
    assert_true(n < MONEY_TEXT && text[n] == 0);
    if (!money_read(span_of(text, n), &again, &why) || again != v) fail_msg("%lld is '%s' is %lld", (long long)v, text, (long long)again);
  }
}

static void scaled_and_rounded_up(void **state) {
  static const struct { const char *text; int places; int64_t v; } cases[] = {
    { "1.5e-06", 6, 1500000000000 }, { "3e-06", 6, 3000000000000 }, { "1e-18", 6, 1 }, { "1.1e-18", 6, 2 }, { "1e-30", 6, 1 },
    { "6.000000000000001e-07", 6, 600000000001 }, { "0", 6, 0 }, { "0.0", 6, 0 }, { "5.46875e-07", 6, 546875000000 }, { "9.2", 6, 9200000000000000000 },
  };
  picodollars v;
  const char *why;
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_true(money_read_scaled(span_cstr(cases[i].text), cases[i].places, &v, &why));
    assert_int_equal(v, cases[i].v);
  }
  assert_false(money_read_scaled(SPAN("9.3"), 6, &v, &why));
  assert_false(money_read_scaled(SPAN("-1e-6"), 6, &v, &why));
}

static void shown(void **state) {
  char text[MONEY_TEXT];
  struct buf b = { 0 };
  (void)state;
  money_text(-1500000000000, text);
  assert_string_equal(text, "-1.5");
  money_text(INT64_MIN, text);
  assert_string_equal(text, "-9223372.036854775808");
  money_add_text(&b, 2250000000);
  assert_true(span_eq(buf_span(&b), SPAN("0.00225")));
  buf_free(&b);
  assert_int_equal(money_sum(INT64_MAX - 1, 2), MONEY_MOST);
  assert_int_equal(money_sum(INT64_MIN + 1, -2), INT64_MIN);
  assert_int_equal(money_sum(5, -7), -2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(decimals), cmocka_unit_test(round_trip), cmocka_unit_test(scaled_and_rounded_up), cmocka_unit_test(shown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
