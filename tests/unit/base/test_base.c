#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "weir/match.h"
#include "weir/mem.h"
#include "weir/secret.h"
#include "weir/table.h"

static uint32_t seed = 7;
static uint32_t chance(uint32_t below) {
  seed = seed * 1664525u + 1013904223u;
  return (seed >> 8) % below;
}

/* ---- match */
static long naive(const struct span *needles, size_t count, struct span in, size_t *end) {
  for (*end = 1; *end <= in.n; ++*end)
    for (size_t i = 0; i < count; i++)
      if (span_ends(span_of(in.p, *end), needles[i])) return (long)i;
  *end = in.n;
  return -1;
}

static void match_is_the_naive_search(void **state) {
  (void)state;
  for (int round = 0; round < 3000; round++) {
    char text[40], words[4][6];
    struct span needles[4];
    size_t count = 1 + chance(4), n = chance(40), end, want_end;
    for (size_t i = 0; i < count; i++) {
      needles[i] = span_of(words[i], 1 + chance(5));
      for (size_t k = 0; k < needles[i].n; k++) words[i][k] = (char)('a' + chance(2));
    }
    for (size_t i = 0; i < n; i++) text[i] = (char)('a' + chance(2));
    struct match *m = match_new(needles, count);
    long want = naive(needles, count, span_of(text, n), &want_end);
    uint32_t at = 0;
    long got = match_feed(m, &at, span_of(text, n), &end);
    assert_int_equal(got >= 0, want >= 0);
    assert_int_equal(end, want_end);
    if (got >= 0) assert_true(span_ends(span_of(text, end), needles[got]));
    at = 0;                                              /* the same in two pieces */
    size_t cut = n ? chance((uint32_t)n + 1) : 0, first, second;
    long a = match_feed(m, &at, span_of(text, cut), &first);
    if (a < 0) {
      a = match_feed(m, &at, span_of(text + cut, n - cut), &second);
      first += second;
    }
    assert_int_equal(a >= 0, want >= 0);
    assert_int_equal(first, want_end);
    match_free(m);
  }
  assert_null(match_new((struct span[]){ SPAN("") }, 1));
  assert_null(match_new(NULL, 0));
}

/* ---- table */
static void table_keeps_what_is_set(void **state) {
  (void)state;
  static char keys[500][8];
  static uintptr_t want[500];
  struct table t = { 0 };
  for (size_t i = 0; i < 500; i++) snprintf(keys[i], sizeof keys[i], "k%zu", i);
  for (int step = 0; step < 20000; step++) {
    size_t i = chance(500);
    want[i] = chance(3) ? step + 1u : 0;
    table_set(&t, span_cstr(keys[i]), (void *)want[i]);
  }
  size_t live = 0, seen = 0;
  for (size_t i = 0; i < 500; i++) {
    assert_int_equal((uintptr_t)table_get(&t, span_cstr(keys[i])), want[i]);
    live += want[i] != 0;
  }
  for (size_t at = 0; table_next(&t, &at);) seen++;
  assert_int_equal(seen, live);
  assert_null(table_get(&t, SPAN("absent")));
  table_set(&t, SPAN(""), &t);
  assert_ptr_equal(table_get(&t, SPAN("")), &t);
  table_free(&t);
}

/* ---- memory */
static void buf_holds_a_queue(void **state) {
  (void)state;
  struct buf b = { 0 };
  unsigned char in = 0, out = 0;
  for (int step = 0; step < 20000; step++) {
    size_t n = chance(300);
    if (chance(2)) {
      for (size_t i = 0; i < n; i++) buf_byte(&b, (char)in++);
    } else {
      struct span s = buf_span(&b);
      if (n > s.n) n = s.n;
      for (size_t i = 0; i < n; i++) assert_int_equal((unsigned char)s.p[i], out++);
      buf_consume(&b, n);
    }
  }
  buf_free(&b);
  buf_printf(&b, "%s-%d", "a", 7);
  assert_true(span_eq(buf_span(&b), SPAN("a-7")));
  buf_free(&b);
}

static int released;
static void release(void *arg) { released = released * 10 + *(int *)arg; }

static void arena_releases_newest_first(void **state) {
  (void)state;
  static int one = 1, two = 2;
  struct arena a = { 0 };
  arena_on_end(&a, release, &one);
  for (int i = 0; i < 2000; i++) {
    size_t n = chance(i % 50 ? 100 : 30000);
    char *p = arena_alloc(&a, n);
    assert_int_equal((uintptr_t)p % 16, 0);
    memset(p, i, n);
  }
  arena_on_end(&a, release, &two);
  assert_true(span_eq(arena_printf(&a, "%d", 42), SPAN("42")));
  arena_end(&a);
  assert_int_equal(released, 21);
  assert_non_null(arena_alloc(&a, 1));
  arena_end(&a);
}

/* ---- spans */
static void numbers(void **state) {
  (void)state;
  uint64_t u;
  double d;
  assert_true(span_u64(SPAN("18446744073709551615"), &u) && u == UINT64_MAX);
  assert_false(span_u64(SPAN("18446744073709551616"), &u));
  assert_false(span_u64(SPAN(""), &u));
  assert_false(span_u64(SPAN("+1"), &u));
  assert_false(span_u64(SPAN(" 1"), &u));
  assert_true(span_double(SPAN("0.3"), &d) && d == 0.3);
  assert_true(span_double(SPAN("2e3"), &d) && d == 2000);
  assert_false(span_double(SPAN("0x10"), &d));
  assert_false(span_double(SPAN("nan"), &d));
  assert_false(span_double(SPAN("1 "), &d));
}

static void utf8(void **state) {
  (void)state;
  static const char *const good[] = { "", "plain ascii text", "\xC2\x80", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF" };
  static const char *const bad[] = { "\x80", "\xC0\xAF", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xC2", "abcdefgh\xE2\x82" };
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_true(span_utf8(span_cstr(good[i])));
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(span_utf8(span_cstr(bad[i])));
}

static void words(void **state) {
  (void)state;
  static const char *const known[] = { "model", "provider", "listen", "include" };
  struct span head;
  assert_string_equal(span_nearest(SPAN("modle"), known, 4), "model");
  assert_string_equal(span_nearest(SPAN("provder"), known, 4), "provider");
  assert_null(span_nearest(SPAN("budget"), known, 4));
  assert_true(span_ieq(SPAN("Content-Length"), SPAN("content-length")));
  assert_true(span_eq(span_trim(SPAN(" \t x y\t ")), SPAN("x y")));
  assert_true(span_eq(span_cut(SPAN("a=b=c"), '=', &head), SPAN("b=c")));
  assert_true(span_eq(head, SPAN("a")));
  assert_null(span_cut(SPAN("abc"), '=', &head).p);
}

static void secrets(void **state) {
  (void)state;
  struct secret *s = secret_new(SPAN("hunter2"));
  assert_true(secret_eq(s, SPAN("hunter2")));
  assert_false(secret_eq(s, SPAN("hunter3")));
  assert_false(secret_eq(s, SPAN("hunter22")));
  assert_false(secret_eq(s, SPAN("")));
  secret_drop(secret_ref(s));
  assert_true(span_eq(secret_use(s), SPAN("hunter2")));
  secret_drop(s);
  secret_drop(NULL);
}

static void *counts(void *arg) {
  struct buf b = { 0 };
  buf_reserve(&b, 1000);                /* less than a thread gathers: told when it ends */
  *(struct buf *)arg = b;
  return NULL;
}

static void test_accounts(void **state) {
  (void)state;
  int64_t arenas = mem_held(MEM_ARENAS), buffers = mem_held(MEM_BUFFERS);
  struct arena a = { 0 };
  arena_alloc(&a, 100);
  arena_alloc(&a, 100000);
  assert_int_equal(mem_held(MEM_ARENAS) - arenas, (int64_t)a.total);
  arena_reset(&a);
  assert_int_equal(mem_held(MEM_ARENAS) - arenas, (int64_t)a.total);
  arena_end(&a);
  assert_int_equal(mem_held(MEM_ARENAS), arenas);
  struct buf b = { 0 }, other = { 0 };
  for (int i = 0; i < 1000; i++) buf_add(&b, SPAN("0123456789"));
  assert_int_equal(mem_held(MEM_BUFFERS) - buffers, (int64_t)b.cap);
  buf_free(&b);
  buf_free(&b);
  assert_int_equal(mem_held(MEM_BUFFERS), buffers);
  pthread_t t;
  assert_int_equal(pthread_create(&t, NULL, counts, &other), 0);
  assert_int_equal(pthread_join(t, NULL), 0);
  assert_int_equal(mem_held(MEM_BUFFERS) - buffers, (int64_t)other.cap);
  buf_free(&other);
  assert_int_equal(mem_held(MEM_BUFFERS), buffers);
}

/* Cells lie in their file where these say, and two processes may share it. */
static void hashes_stay(void **state) {
  static const uint64_t of_size[] = {
    0x41e79825ec4e18feu, 0x96574e0593ad19b9u, 0xe176889e543402a9u, 0xbc428c606ac42d6eu, 0xfea55ea1bc1d7171u,
    0x60c08958a2ec4009u, 0xda051f744cbe5fe4u, 0x675f69eb98f30cc2u, 0x9750dae52acb1c44u, 0x13fe5ad18ad67175u,
    0x79d52ed59524fbfcu, 0x513f82bd1e6e5a64u, 0x749f3aaf413547acu, 0x5eb089f6249eaa9au, 0xa100c7089209d3ccu,
    0xbe5494ce54deb8fdu, 0x6e88072002ccfe56u, 0x81613fc3fdb1fe8cu,
  };
  (void)state;
  for (size_t n = 0; n < sizeof of_size / sizeof *of_size; n++) assert_true(span_hash(span_of("names of sizes 0-17", n), 7) == of_size[n]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(hashes_stay), cmocka_unit_test(test_accounts), cmocka_unit_test(match_is_the_naive_search), cmocka_unit_test(table_keeps_what_is_set), cmocka_unit_test(buf_holds_a_queue),
    cmocka_unit_test(arena_releases_newest_first), cmocka_unit_test(numbers), cmocka_unit_test(utf8), cmocka_unit_test(words), cmocka_unit_test(secrets),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
