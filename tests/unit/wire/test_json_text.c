/* What strings and numbers say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include "weir/json.h"

static struct json read_ok(struct span s) {
  struct json v = { JSON_NONE, { NULL, 0 } };
  if (!json_read(s, &v, NULL)) fail_msg("refused: %.*s", SPAN_FMT(s));
  return v;
}

#define S(json, text, whole) { { json, sizeof(json) - 1 }, { text, sizeof(text) - 1 }, whole }
static const struct { struct span json, text; bool whole; } strings[] = {
  S("\"\"", "", true), S("\"abc\"", "abc", true), S("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", true),
  S("\"\\u0041\"", "A", true), S("\"\\u00e9\"", "\xC3\xA9", true), S("\"\\u20AC\"", "\xE2\x82\xAC", true),
  S("\"\\uFFFF\"", "\xEF\xBF\xBF", true),
  S("\"\\u07ff\\u0800\"", "\xDF\xBF\xE0\xA0\x80", true), S("\"\\u0000x\"", "\0x", true),
  S("\"\\u007f\\u0080\"", "\x7F\xC2\x80", true),
  S("\"\\ud83d\\ude00\"", "\xF0\x9F\x98\x80", true), S("\"\\uD800\\uDC00\"", "\xF0\x90\x80\x80", true),
  S("\"\\udbff\\udfff\"", "\xF4\x8F\xBF\xBF", true),
  S("\"\\ud83d\"", "\xEF\xBF\xBD", false), S("\"\\ude00\"", "\xEF\xBF\xBD", false),
  S("\"a\\ud83dz\"", "a\xEF\xBF\xBDz", false),
  S("\"\\ud83d\\u0041\"", "\xEF\xBF\xBD" "A", false),
  S("\"\\ud83d\\ud83d\\ude00\"", "\xEF\xBF\xBD\xF0\x9F\x98\x80", false),
  S("\"\\ude00\\ud83d\"", "\xEF\xBF\xBD\xEF\xBF\xBD", false),
  S("\"\\ud83d\\ue000\"", "\xEF\xBF\xBD\xEE\x80\x80", false), S("\"\\ud83d\\n\"", "\xEF\xBF\xBD\n", false),
  S("\"\\ud83d\\\\ude00\"", "\xEF\xBF\xBD\\ude00", false),
  S("\"long plain run before \\n and after it too\"", "long plain run before \n and after it too", true),
  S("\"\xE2\x82\xAC\\u20ac\xE2\x82\xAC\"", "\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC", true),
  S("\"\\\\\\\\\"", "\\\\", true), S("\"\\\\n\"", "\\n", true),
};

static void unescapes(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
    struct arena a = { 0 };
    struct json v = read_ok(strings[i].json);
    struct span out;
    assert_int_equal(json_unescape(v, &a, &out), strings[i].whole);
    if (!span_eq(out, strings[i].text)) fail_msg("%.*s gives %.*s", SPAN_FMT(strings[i].json), SPAN_FMT(out));
    bool lent = !memchr(v.text.p, '\\', v.text.n);
    assert_int_equal(lent, out.p == v.text.p + 1);
    assert_int_equal(lent, a.total == 0);
    arena_end(&a);
  }
}

static void string_is(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
    for (size_t k = 0; k < sizeof strings / sizeof *strings; k++) {
      bool same = strings[i].whole && span_eq(strings[i].text, strings[k].text);
      if (json_string_is(read_ok(strings[i].json), strings[k].text) != same) fail_msg("%.*s",
        SPAN_FMT(strings[i].json));
    }
  assert_false(json_string_is(read_ok(SPAN("1")), SPAN("1")));
  assert_false(json_string_is((struct json){ JSON_NONE, { NULL, 0 } }, SPAN("")));
  assert_false(json_string_is(read_ok(SPAN("\"\\n\"")), SPAN("\\n")));
  assert_false(json_string_is(read_ok(SPAN("\"abc\"")), SPAN("ab")));
  assert_false(json_string_is(read_ok(SPAN("\"ab\"")), SPAN("abc")));
  assert_false(json_string_is(read_ok(SPAN("\"a\\u0062\"")), SPAN("abc")));
  assert_true(json_string_is(read_ok(SPAN("\"\\u0061b\"")), SPAN("ab")));
}

static void unescape_of_others(void **state) {
  struct arena a = { 0 };
  struct span out = SPAN("x");
  (void)state;
  assert_false(json_unescape(read_ok(SPAN("12")), &a, &out));
  assert_int_equal(out.n, 0);
  assert_false(json_unescape((struct json){ JSON_NONE, { NULL, 0 } }, &a, &out));
}

static void whole_numbers(void **state) {
  static const struct { const char *text; bool ok; int64_t v; } cases[] = {
    { "0", true, 0 }, { "-0", true, 0 }, { "1", true, 1 }, { "-1", true, -1 }, { "1e3", true, 1000 },
    { "2.0", true, 2 }, { "1.5e1", true, 15 }, { "100e-2", true, 1 }, { "0e999999999999999999", true, 0 },
    { "0.000e5", true, 0 }, { "1.50", false, 0 }, { "0.1", false, 0 }, { "1e-1", false, 0 }, { "10e-1", true, 1 },
    { "9223372036854775807", true, INT64_MAX }, { "9223372036854775808", false, 0 },
    { "-9223372036854775808", true, INT64_MIN }, { "-9223372036854775809", false, 0 },
    { "9223372036854775807.0", true, INT64_MAX }, { "9.223372036854775807e18", true, INT64_MAX },
    { "1e18", true, 1000000000000000000 }, { "1e19", false, 0 }, { "99999999999999999999", false, 0 },
    { "1e400", false, 0 }, { "1e99999999999999999999", false, 0 }, { "1e-99999999999999999999", false, 0 },
    { "0.00000000000000000001e20", true, 1 }, { "1000000000000000000000000000000e-30", true, 1 },
    { "128000", true, 128000 }, { "4E+2", true, 400 }, { "101.010e3", true, 101010 },
    { "\"1\"", false, 0 }, { "true", false, 0 },
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int64_t v = 42;
    assert_int_equal(json_i64(read_ok(span_cstr(cases[i].text)), &v), cases[i].ok);
    if (v != (cases[i].ok ? cases[i].v : 42)) fail_msg("%s gives %lld", cases[i].text, (long long)v);
  }
}

static void doubles(void **state) {
  static const char *const cases[] = {
    "0", "-0", "1", "-1.5", "0.1", "0.7", "1e22", "1e23", "-1E-22", "123456789012345678", "9007199254740993",
    "9007199254740992.9999999", "179769313486231570814527423731704356798070e267",
    "1.7976931348623157e308", "4.9e-324", "2.4703282292062327e-324", "2.4703282292062328e-324", "1e-400", "0e400",
    "3.141592653589793238462643383279", "2.2250738585072011e-308", "0.000001", "1e15", "999999999999999e22",
    "9007199254740992.99999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999",
    "1000000000000000000000000000000000000000000000000000000000000000000000000e-72",
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    double v = -1, want = strtod(cases[i], NULL);
    assert_true(json_f64(read_ok(span_cstr(cases[i])), &v));
    if (memcmp(&v, &want, sizeof v) != 0) fail_msg("%s gives %.17g", cases[i], v);
  }
  static const char *const out_of_range[] = { "1e400", "-1E400", "1.8e308", "1e999999999999999999999", "\"1\"",
    "null" };
  for (size_t i = 0; i < sizeof out_of_range / sizeof *out_of_range; i++) {
    double v = 42;
    assert_false(json_f64(read_ok(span_cstr(out_of_range[i])), &v));
    assert_true(v == 42);
  }
}

/* Half way between two doubles, then a digit after a thousand zeros: that digit decides. */
static void long_doubles(void **state) {
  struct buf b = { 0 };
  double v;
  (void)state;
  buf_add(&b, SPAN("9007199254740993."));
  for (int i = 0; i < 1000; i++) buf_byte(&b, '0');
  assert_true(json_f64(read_ok(buf_span(&b)), &v));
  assert_true(v == 9007199254740992.0);
  buf_byte(&b, '1');
  assert_true(json_f64(read_ok(buf_span(&b)), &v));
  assert_true(v == 9007199254740994.0);
  buf_clear(&b);
  for (int i = 0; i < 2000; i++) buf_byte(&b, (char)('1' + i % 9));
  buf_add(&b, SPAN("e-1990"));
  assert_true(json_f64(read_ok(buf_span(&b)), &v));
  buf_byte(&b, 0);
  assert_true(v == strtod(b.p, NULL));
  buf_free(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(unescapes), cmocka_unit_test(string_is), cmocka_unit_test(unescape_of_others),
    cmocka_unit_test(whole_numbers), cmocka_unit_test(doubles), cmocka_unit_test(long_doubles),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
