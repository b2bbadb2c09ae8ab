/* gzip and deflate: the same text under any split; what is broken, cut, or too large is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <zlib.h>
#include "../../../src/gateway/attempt.h"

enum { GZIP = 31, ZLIB = 15, BARE = -15, TEXT = 100000 };

static struct span text_made(void) {
  static char text[TEXT];
  uint32_t seed = 7;
  for (size_t i = 0; i < TEXT; i++) seed = seed * 1664525 + 1013904223, text[i] = (char)('a' + (seed >> 24) % (i % 7000 < 3500 ? 3 : 26));
  return span_of(text, TEXT);
}

static void pack(struct span text, int bits, struct buf *out) {
  z_stream z = { 0 };
  assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
  z.next_in = (Bytef *)text.p;
  z.avail_in = (uInt)text.n;
  size_t most = deflateBound(&z, text.n);
  z.next_out = (Bytef *)buf_reserve(out, most);
  z.avail_out = (uInt)most;
  assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
  buf_commit(out, most - z.avail_out);
  deflateEnd(&z);
}

/* In pieces of `size` bytes. */
static bool unpack_all(const char *encoding, struct span packed, size_t size, size_t most, struct buf *out, bool *ended) {
  struct unpack *u = unpack_new(span_cstr(encoding));
  const char *why = NULL;
  bool good = true;
  assert_non_null(u);
  while (good && packed.n) {
    size_t n = size < packed.n ? size : packed.n;
    good = unpack_feed(u, span_of(packed.p, n), most, out, &why);
    packed = span_from(packed, n);
  }
  assert_true(good == !why);
  *ended = unpack_ended(u);
  unpack_free(u);
  return good;
}

static void any_split(void **state) {
  (void)state;
  static const struct { const char *name; int bits; } kinds[] = { { "gzip", GZIP }, { "X-GZIP", GZIP }, { "deflate", ZLIB }, { "deflate", BARE } };
  static const size_t sizes[] = { 2, 3, 7, 100, 4096, SIZE_MAX };
  struct span text = text_made();
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      struct buf packed = { 0 }, out = { 0 };
      bool ended;
      pack(text, kinds[k].bits, &packed);
      assert_true(unpack_all(kinds[k].name, buf_span(&packed), sizes[i], SIZE_MAX, &out, &ended));
      assert_true(ended && span_eq(buf_span(&out), text));
      buf_free(&packed);
      buf_free(&out);
    }
}

static void members_of_gzip(void **state) {
  (void)state;
  struct buf packed = { 0 }, out = { 0 };
  bool ended;
  pack(SPAN("one, "), GZIP, &packed);
  pack(SPAN("two"), GZIP, &packed);
  assert_true(unpack_all("gzip", buf_span(&packed), SIZE_MAX, SIZE_MAX, &out, &ended));
  assert_true(ended && span_eq(buf_span(&out), SPAN("one, two")));
  buf_free(&packed);
  buf_free(&out);
}

static void wrong(void **state) {
  (void)state;
  struct buf packed = { 0 }, out = { 0 };
  bool ended;
  assert_null(unpack_new(SPAN("br")));
  assert_null(unpack_new(SPAN("gzip, gzip")));
  assert_false(unpack_all("gzip", SPAN("this is no gzip at all"), SIZE_MAX, SIZE_MAX, &out, &ended));
  pack(text_made(), GZIP, &packed);
  assert_true(unpack_all("gzip", span_of(packed.p, buf_size(&packed) - 5), 64, SIZE_MAX, &out, &ended));
  assert_false(ended);
  packed.p[buf_size(&packed) / 2] ^= 0x55;
  assert_false(unpack_all("gzip", buf_span(&packed), 64, SIZE_MAX, &out, &ended));
  buf_free(&packed);
  buf_free(&out);
}

static void a_bomb_is_bounded(void **state) {
  (void)state;
  enum { LARGE = 8 << 20, MOST = 100000 };
  struct buf packed = { 0 }, out = { 0 };
  bool ended;
  char *zeros = mem_zero(LARGE);
  pack(span_of(zeros, LARGE), GZIP, &packed);
  assert_true(buf_size(&packed) < MOST);
  assert_false(unpack_all("gzip", buf_span(&packed), SIZE_MAX, MOST, &out, &ended));
  assert_true(buf_size(&out) <= MOST + 16384 && out.cap < 4 * MOST);
  mem_free(zeros);
  buf_free(&packed);
  buf_free(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(any_split), cmocka_unit_test(members_of_gzip), cmocka_unit_test(wrong), cmocka_unit_test(a_bomb_is_bounded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
