#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../../src/lua/room.h"

enum { MOST = 200 };

static void fill(unsigned char *p, size_t n, unsigned char with) { memset(p, with, n); }
static void assert_filled(const unsigned char *p, size_t n, unsigned char with) {
  for (size_t i = 0; i < n; i++) assert_int_equal(p[i], with);
}

/* Every size has all its bytes to itself, also when it is made of what another size gave back. */
static void test_sizes(void **state) {
  (void)state;
  struct pieces s = { 0 };
  unsigned char *p[MOST + 1];
  for (int round = 0; round < 3; round++) {
    for (size_t n = 1; n <= MOST; n++) fill(p[n] = piece_new(&s, n, round == 1), n, (unsigned char)n);
    for (size_t n = 1; n <= MOST; n++) assert_filled(p[n], n, (unsigned char)n);
    for (size_t n = round ? MOST : 1; n >= 1 && n <= MOST; n += round ? (size_t)-1 : 1) piece_free(&s, p[n], n);
  }
  pieces_end(&s);
}

static void test_resize(void **state) {
  (void)state;
  struct pieces s = { 0 };
  for (size_t had = 1; had <= MOST; had++)
    for (size_t wants = 1; wants <= MOST; wants += 7) {
      unsigned char *p = piece_new(&s, had, false);
      fill(p, had, 0x5A);
      p = piece_resize(&s, p, had, wants, false);
      assert_filled(p, had < wants ? had : wants, 0x5A);
      fill(p, wants, 0xA5);
      piece_free(&s, p, wants);
    }
  pieces_end(&s);
}

/* What is kept for the next one has a bound, and the same piece serves again. */
static void test_kept(void **state) {
  (void)state;
  struct pieces s = { 0 };
  enum { MANY = 20000 };
  void **p = mem_alloc(MANY * sizeof *p);
  for (size_t i = 0; i < MANY; i++) p[i] = piece_new(&s, 56, false);
  for (size_t i = 0; i < MANY; i++) piece_free(&s, p[i], 56);
  assert_in_range(s.kept, PIECE_MOST ? 200 << 10 : 0, 300 << 10);
  void *one = piece_new(&s, 50, false);
  size_t kept = s.kept;
  piece_free(&s, one, 50);
  assert_true(!PIECE_MOST || piece_new(&s, 56, false) == one);
  assert_int_equal(s.kept, kept);
  if (PIECE_MOST) piece_free(&s, one, 56);
  mem_free(p);
  pieces_end(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test(test_sizes), cmocka_unit_test(test_resize), cmocka_unit_test(test_kept) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
