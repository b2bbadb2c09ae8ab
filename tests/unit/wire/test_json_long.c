/* The long ways in each kind of block against a plain reading, a byte at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "../../../src/wire/json_scan.h"

static uint64_t state_of_random = 88172645463325252u;
static unsigned random_below(unsigned n) {
  state_of_random ^= state_of_random << 13;
  state_of_random ^= state_of_random >> 7;
  state_of_random ^= state_of_random << 17;
  return (unsigned)(state_of_random >> 33) % n;
}

/* The closing quote, or NULL where the string is refused; at: inside the string. */
static const char *plain_rest(const char *at, const char *end, bool *plain) {
  const char *start = at;
  *plain = true;
  for (; at < end; at++) {
    unsigned unit;
    if (*at == '"') return span_utf8(span_of(start, (size_t)(at - start))) ? at : NULL;
    if ((unsigned char)*at < 0x20) return NULL;
    *plain = *plain && (signed char)*at > 0 && *at != '\\';
    if (*at != '\\') continue;
    if (end - at < 2 || !memchr("\"\\/bfnrtu", at[1], 9)) return NULL;
    if (at[1] == 'u' && (end - at < 6 || !scan_hex4(at + 2, &unit))) return NULL;
    at += at[1] == 'u' ? 5 : 1;
  }
  return NULL;
}

typedef const char *rest_checked(struct reader *r, const char *at, bool *plain);

static void same_rest(rest_checked *way, const char *name, struct span s, const char *at) {
  struct reader r = { .start = s.p, .end = s.p + s.n, .error = { SIZE_MAX, NULL } };
  bool plain, want_plain;
  const char *want = plain_rest(at, r.end, &want_plain), *got = way(&r, at, &plain);
  if (got != want) fail_msg("%s: %ld, want %ld (%s): %.*s", name, (long)(got - s.p), (long)(want - s.p), r.error.why,
    SPAN_FMT(s));
  if (want) assert_true(want_plain || !plain);
  if (want) assert_null(r.error.why);
  else assert_true(r.error.why && r.error.at <= s.n);
}

/* Pieces that strings are made of, some of them broken; wide ones are drawn only for some strings. */
static void add_piece(struct buf *b, unsigned seldom_broken) {
  static const char *const good[] = { "a", "plain run of text", "\\n", "\\\"", "\\\\", "\\\\\\\\\\\\", "\\u00e9",
    "\\ud83d", "\\t\\r\\b\\f\\/", "\xC3\xA9", "\xE2\x80\x94",
                                      "\xF0\x9F\x98\x80", "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E", "\xED\x9F\xBF",
                                      "\xF4\x8F\xBF\xBF", "\xE0\xA0\x80", "\xF0\x90\x80\x80", "\x7F", "{[]}",
                                      "/u\\n\\u12ABx" };
  static const char *const broken[] = { "\\", "\\x", "\\u12", "\\u12g4", "\x01", "\n", "\x80", "\xC3", "\xE2\x80",
    "\xF0\x9F\x98", "\xED\xA0\x80", "\xC0\xAF", "\xF4\x90\x80\x80", "\xE0\x9F\xBF", "\xF0\x8F\xBF\xBF",
                                        "\xFF", "\xF5\x80\x80\x80", "\xC1\xBF", "\xBF", "\\\xC3\xA9",
                                        "\xF8\x88\x80\x80\x80", "\"" };
  static char plain[256];
  if (!*plain) memset(plain, 'p', sizeof plain - 1);
  unsigned kind = random_below(seldom_broken);
  if (!kind) buf_add(b, span_cstr(broken[random_below(sizeof broken / sizeof *broken)]));
  else if (kind % 3 == 0) buf_add(b, span_of(plain, random_below(sizeof plain - 1)));
  else buf_add(b, span_cstr(good[random_below(sizeof good / sizeof *good)]));
}

static void rest_of_strings(void **state) {
  (void)state;
  for (int round = 0; round < 60000; round++) {
    struct buf b = { 0 };
    unsigned before = random_below(5), pieces = random_below(40), seldom = 1 + random_below(60);
    for (unsigned i = 0; i < before; i++) buf_byte(&b, i + 1 == before ? '"' : '[');
    size_t at = buf_size(&b);
    while (pieces--) add_piece(&b, seldom);
    if (random_below(8)) buf_byte(&b, '"');
    for (unsigned i = random_below(70) * random_below(2); i > 0; i--) buf_byte(&b,
      (char)("]\xC3\x80\" "[random_below(5)]));
    char *exact = mem_alloc(buf_size(&b));
    if (buf_size(&b)) memcpy(exact, b.p, buf_size(&b));
    struct span s = span_of(exact, buf_size(&b));
    same_rest(scan_rest_checked_base, "base", s, exact + at);
#if WEIR_SIMD > 1
    if (__builtin_cpu_supports("avx2")) same_rest(scan_rest_checked_avx2, "avx2", s, exact + at);
    if (scan_avx512()) same_rest(scan_rest_checked_avx512, "avx512", s, exact + at);
#endif
    mem_free(exact);
    buf_free(&b);
  }
}

static void add_value(struct buf *b, unsigned depth) {
  unsigned kind = random_below(depth ? 6 : 3), count = random_below(5);
  if (kind == 0) buf_add(b, SPAN("-12.5e3"));
  else if (kind == 1) buf_add(b, SPAN("null"));
  else if (kind == 2) {
    buf_byte(b, '"');
    for (unsigned i = random_below(4); i > 0; i--) add_piece(b, 1000000);
    buf_byte(b, '"');
  } else if (kind == 3) {
    buf_byte(b, '[');
    for (unsigned i = 0; i < count; i++) buf_add(b, i ? SPAN(", ") : SPAN("")), add_value(b, depth - 1);
    buf_byte(b, ']');
  } else {
    buf_byte(b, '{');
    for (unsigned i = 0; i < count; i++) buf_add(b, i ? SPAN(",\"k\\\\\":") : SPAN("\"\\\"}\":")), add_value(b,
      depth - 1);
    buf_byte(b, '}');
  }
}

/* The place after the value that starts at `at`, in a valid document. */
static const char *plain_skip(const char *at) {
  unsigned depth = 0;
  do {
    if (*at == '"')
      for (at++; *at != '"'; at++) at += *at == '\\';
    depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
    at++;
  } while (depth);
  return at;
}

static void same_skips(struct span s) {
  const char *end = s.p + s.n;
  for (const char *at = s.p; at < end; at++) {
    if (*at == '{' || *at == '[') {
      assert_ptr_equal(scan_container_base(at, end), plain_skip(at));
#if WEIR_SIMD > 1
      if (__builtin_cpu_supports("avx2")) assert_ptr_equal(scan_container_avx2(at, end), plain_skip(at));
      if (scan_avx512()) assert_ptr_equal(scan_container_avx512(at, end), plain_skip(at));
#endif
    }
    if (*at != '"') continue;
    const char *close = plain_skip(at) - 1;
    assert_ptr_equal(scan_string(at + 1, end), close);
    assert_ptr_equal(scan_rest_base(at + 1, end), close);
#if WEIR_SIMD > 1
    if (__builtin_cpu_supports("avx2")) assert_ptr_equal(scan_rest_avx2(at + 1, end), close);
    if (scan_avx512()) assert_ptr_equal(scan_rest_avx512(at + 1, end), close);
#endif
    at = close;
  }
}

static void skips(void **state) {
  (void)state;
  for (int round = 0; round < 6000; round++) {
    struct buf b = { 0 };
    buf_byte(&b, '[');
    for (unsigned i = random_below(6); i > 0; i--) add_value(&b, 1 + random_below(6)), buf_byte(&b, ',');
    buf_add(&b, SPAN("0]"));
    struct json v;
    char *exact = mem_alloc(buf_size(&b));
    memcpy(exact, b.p, buf_size(&b));
    assert_true(json_read(span_of(exact, buf_size(&b)), &v, NULL));
    same_skips(v.text);
    mem_free(exact);
    buf_free(&b);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test(rest_of_strings), cmocka_unit_test(skips) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
