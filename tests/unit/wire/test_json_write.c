/* Writers: what they write reads back, and misuse leaves the document valid. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "weir/json.h"
#include "weir/log.h"

static void wrote(struct buf *b, const char *want) {
  if (!span_eq(buf_span(b), span_cstr(want))) fail_msg("wrote %.*s, want %s", SPAN_FMT(buf_span(b)), want);
  buf_clear(b);
}

static void strings(void **state) {
#define W(text, json) { { text, sizeof(text) - 1 }, json }
  static const struct { struct span text; const char *json; } cases[] = {
    W("", "\"\""), W("abc", "\"abc\""), W("\"\\/\b\f\n\r\t", "\"\\\"\\\\/\\b\\f\\n\\r\\t\""),
    W("\0\x01\x1F\x7F", "\"\\u0000\\u0001\\u001f\x7F\""),
    W("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\""),
    W("a\xFF" "b", "\"a\xEF\xBF\xBD" "b\""), W("\xC3", "\"\xEF\xBF\xBD\""),
    W("\xE2\x82", "\"\xEF\xBF\xBD\""), W("\xE2\x82\"", "\"\xEF\xBF\xBD\\\"\""),
    W("\xED\xA0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""), W("\xF4\x8F\xBFz", "\"\xEF\xBF\xBDz\""),
    W("\xF0\x9F\x98z", "\"\xEF\xBF\xBDz\""),
    W("\xC0\xAF", "\"\xEF\xBF\xBD\xEF\xBF\xBD\""), W("\xF4\x90\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""),
    W("\x80\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\""),
    W("a run of plain text, longer than sixteen, then \n", "\"a run of plain text, longer than sixteen, then \\n\""),
  };
  struct buf b = { 0 };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    json_write_string(&b, cases[i].text);
    wrote(&b, cases[i].json);
    json_write_escaped(&b, cases[i].text);
    assert_int_equal(buf_size(&b), strlen(cases[i].json) - 2);
    assert_memory_equal(b.p, cases[i].json + 1, buf_size(&b));
    buf_clear(&b);
  }
  buf_free(&b);
}

/* Any bytes become a valid string, and valid text comes back as it was. */
static void strings_read_back(void **state) {
  unsigned random = 1;
  (void)state;
  for (int round = 0; round < 20000; round++) {
    static const unsigned char likely[] = { 0, 9, 10, 31, '"', '\\', 'a', 0x7F, 0x80, 0xBF, 0xC3, 0xA9, 0xE2, 0x82,
      0xAC, 0xED, 0xF0, 0x9F, 0xF4, 0xFF };
    char text[64];
    struct buf b = { 0 };
    struct arena a = { 0 };
    struct json v;
    struct span out, in = span_of(text, (random >> 8) % 50);
    for (size_t i = 0; i < in.n; i++) random = random * 1103515245 + 12345,
      text[i] = (char)likely[(random >> 16) % sizeof likely];
    random = random * 1103515245 + 12345;
    json_write_string(&b, in);
    assert_true(json_read(buf_span(&b), &v, NULL));
    assert_true(json_unescape(v, &a, &out));
    assert_int_equal(span_eq(in, out), span_utf8(in));
    arena_end(&a);
    buf_free(&b);
  }
}

static void doubles(void **state) {
  static const struct { double v; const char *text; } cases[] = {
    { 0, "0" }, { -0.0, "-0" }, { 1, "1" }, { -1.5, "-1.5" }, { 0.1, "0.1" }, { 0.7, "0.7" }, { 1e21, "1e21" },
    { 1e20, "100000000000000000000" }, { 123456789012345680000.0, "123456789012345680000" },
    { 1e-6, "0.000001" }, { 1e-7, "1e-7" }, { 1.5e-7, "1.5e-7" }, { -1.25e300, "-1.25e300" },
    { 9007199254740991.0, "9007199254740991" }, { 0.1 + 0.2, "0.30000000000000004" }, { 1.0 / 3, "0.3333333333333333" },
    { 5e-324, "5e-324" }, { 1.7976931348623157e308, "1.7976931348623157e308" },
    { 2.2250738585072014e-308, "2.2250738585072014e-308" }, { 5.684341886080802e-14, "5.684341886080802e-14" },
    { 100, "100" }, { 1234.5, "1234.5" }, { 0.00012, "0.00012" }, { 9.5367431640625e-07, "9.5367431640625e-7" },
    { NAN, "null" }, { INFINITY, "null" }, { -INFINITY, "null" },
  };
  struct buf b = { 0 };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    json_write_f64(&b, cases[i].v);
    wrote(&b, cases[i].text);
  }
  buf_free(&b);
}

static double double_of(uint64_t bits) {
  double v;
  memcpy(&v, &bits, sizeof v);
  return v;
}

/* Reads back exactly, and no text with one digit less does. */
static void doubles_shortest(void **state) {
  uint64_t random = 88172645463325252u;
  struct buf b = { 0 };
  (void)state;
  for (int round = 0; round < 60000; round++) {
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    double back, v = double_of(random);
    if (round < 4094) v = double_of((uint64_t)(round / 2 + 1) << 52);           /* all powers of two */
    else if (round < 20000) v = (double)(int64_t)(random >> 20) / 1e4;
    struct json json;
    if (!isfinite(v)) continue;
    if (round % 2) v = -v;
    buf_clear(&b);
    json_write_f64(&b, v);
    assert_true(json_read(buf_span(&b), &json, NULL));
    assert_true(json_f64(json, &back));
    if (memcmp(&v, &back, sizeof v) != 0) fail_msg("%.17g wrote %.*s", v, SPAN_FMT(buf_span(&b)));
    int digits = 0, zeros = 0;
    for (size_t i = 0; i < buf_size(&b) && b.p[i] != 'e'; i++)
      if (b.p[i] >= '0' && b.p[i] <= '9' && (digits || b.p[i] != '0')) digits++, zeros = b.p[i] == '0' ? zeros + 1 : 0;
    char shorter[64];
    if (digits - zeros < 2) continue;
    snprintf(shorter, sizeof shorter, "%.*e", digits - zeros - 2, v);
    if (strtod(shorter, NULL) == v) fail_msg("%.*s, but %s would do", SPAN_FMT(buf_span(&b)), shorter);
  }
  buf_free(&b);
}

static void writes_a_document(void **state) {
  struct buf b = { 0 };
  struct json_writer w = { .out = &b };
  (void)state;
  json_begin(&w, '{');
  json_key(&w, SPAN("a\"b"));
  json_str(&w, SPAN("x\ny"));
  json_key(&w, SPAN("list"));
  json_begin(&w, '[');
  json_int(&w, 0);
  json_int(&w, INT64_MIN);
  json_int(&w, INT64_MAX);
  json_num(&w, 0.5);
  json_begin(&w, '[');
  json_end(&w, ']');
  json_begin(&w, '{');
  json_end(&w, '}');
  json_bool(&w, true);
  json_bool(&w, false);
  json_null(&w);
  json_end(&w, ']');
  json_key(&w, SPAN("raw"));
  json_raw(&w, SPAN("{\"k\": 1E400}"));
  json_end(&w, '}');
  wrote(&b, "{\"a\\\"b\":\"x\\ny\",\"list\":[0,-9223372036854775808,9223372036854775807,0.5,[],{},true,false,null],"
            "\"raw\":{\"k\": 1E400}}");
  buf_free(&b);
}

enum call { KEY, VALUE, OBJECT, ARRAY, END_OBJECT, END_ARRAY, CALLS };

static void call(struct json_writer *w, enum call c) {
  switch (c) {
  case KEY:        json_key(w, SPAN("k")); break;
  case VALUE:      json_int(w, 1); break;
  case OBJECT:     json_begin(w, '{'); break;
  case ARRAY:      json_begin(w, '['); break;
  case END_OBJECT: json_end(w, '}'); break;
  default:         json_end(w, ']'); break;
  }
}

/* Every order of up to six calls: once what is open has been closed, the document is valid or empty. */
static void any_order_is_valid(void **state) {
  unsigned total = 1;
  (void)state;
  log_set_level(LOG_OFF);
  for (int n = 1; n <= 6; n++) {
    total *= CALLS;
    for (unsigned code = 0; code < total; code++) {
      struct buf b = { 0 };
      struct json_writer w = { .out = &b };
      struct json v;
      unsigned rest = code;
      for (int i = 0; i < n; i++, rest /= CALLS) call(&w, (enum call)(rest % CALLS));
      while (w.depth || w.skipped) json_end(&w, ']');
      if (buf_size(&b) && !json_read(buf_span(&b), &v, NULL)) fail_msg("calls %o: %.*s", code, SPAN_FMT(buf_span(&b)));
      buf_free(&b);
    }
  }
}

static void misuse(void **state) {
  struct buf b = { 0 };
  struct json_writer w = { .out = &b };
  (void)state;
  log_set_level(LOG_OFF);
  json_begin(&w, '{');
  json_str(&w, SPAN("no key"));
  json_begin(&w, '[');                              /* no key either: left out with all that is in it */
  json_int(&w, 1);
  json_begin(&w, '{');
  json_key(&w, SPAN("x"));
  json_int(&w, 1);
  json_end(&w, '}');
  json_end(&w, ']');
  json_key(&w, SPAN("a"));
  json_key(&w, SPAN("b"));
  json_int(&w, 2);
  json_key(&w, SPAN("c"));
  json_begin(&w, '(');
  json_int(&w, 3);
  json_end(&w, ')');
  json_key(&w, SPAN("d"));
  json_raw(&w, SPAN(""));
  json_key(&w, SPAN("e"));
  json_end(&w, ']');
  json_end(&w, '}');
  json_int(&w, 4);
  json_key(&w, SPAN("f"));
  wrote(&b, "{\"a\":2,\"c\":null,\"d\":null,\"e\":null}");
  w = (struct json_writer){ .out = &b };
  for (int i = 0; i < JSON_DEPTH + 3; i++) json_begin(&w, '[');
  for (int i = 0; i < JSON_DEPTH + 3; i++) json_end(&w, ']');
  struct json v;
  assert_true(json_read(buf_span(&b), &v, NULL));
  assert_int_equal(buf_size(&b), 2 * JSON_DEPTH);
  buf_free(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(strings), cmocka_unit_test(strings_read_back), cmocka_unit_test(doubles),
    cmocka_unit_test(doubles_shortest), cmocka_unit_test(writes_a_document),
    cmocka_unit_test(any_order_is_valid), cmocka_unit_test(misuse),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
