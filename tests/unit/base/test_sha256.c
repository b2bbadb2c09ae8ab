#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "weir/mem.h"
#include "weir/sha256.h"

static void digest_is(const char *hex, struct span bytes, size_t step) {
  struct sha256 s;
  unsigned char out[SHA256_SIZE];
  char text[SHA256_HEX];
  sha256_init(&s);
  for (size_t at = 0; at < bytes.n; at += step)
    sha256_feed(&s, span_of(bytes.p + at, bytes.n - at < step ? bytes.n - at : step));
  sha256_end(&s, out);
  sha256_hex(out, text);
  assert_string_equal(text, hex);
  sha256_hex_of(bytes, text);
  assert_string_equal(text, hex);
}

/* FIPS 180-4 and its examples. */
static void known_answers(void **state) {
  (void)state;
  digest_is("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", SPAN(""), 1);
  digest_is("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", SPAN("abc"), 3);
  digest_is("248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            SPAN("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), 56);
  digest_is("cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1",
            SPAN("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
                 "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu"), 7);
}

static void a_million_in_any_pieces(void **state) {
  static const size_t steps[] = { 1, 3, 63, 64, 65, 1000, 1000000 };
  char *bytes = mem_alloc(1000000);
  (void)state;
  memset(bytes, 'a', 1000000);
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
    digest_is("cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0", span_of(bytes, 1000000), steps[i]);
  mem_free(bytes);
}

/* Where the length does not fit behind the last byte, and one beside it. */
static void lengths_around_a_block(void **state) {
  static const struct { size_t n; const char *hex; } list[] = {
    { 55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318" },
    { 56, "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a" },
    { 63, "7d3e74a05d7db15bce4ad9ec0658ea98e3f06eeecf16b4c6fff2da457ddc2f34" },
    { 64, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb" },
    { 65, "635361c48bb9eab14198e76ea8ab7f1a41685d6ad62aa9146d301d4f17eb0ae0" },
  };
  char bytes[65];
  (void)state;
  memset(bytes, 'a', sizeof bytes);
  for (size_t i = 0; i < sizeof list / sizeof *list; i++) digest_is(list[i].hex, span_of(bytes, list[i].n), 17);
}

/* RFC 4231, cases 1, 2, 3 and 6: a short key, one that is text, a block of data, a key longer than a block. */
static void hmac(void **state) {
  (void)state;
  char key[131], data[50];
  unsigned char out[SHA256_SIZE];
  char hex[SHA256_HEX];
  memset(key, 0x0b, 20);
  sha256_hmac(span_of(key, 20), SPAN("Hi There"), out);
  sha256_hex(out, hex);
  assert_string_equal(hex, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  sha256_hmac(SPAN("Jefe"), SPAN("what do ya want for nothing?"), out);
  sha256_hex(out, hex);
  assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  memset(key, 0xaa, sizeof key);
  memset(data, 0xdd, sizeof data);
  sha256_hmac(span_of(key, 20), span_of(data, sizeof data), out);
  sha256_hex(out, hex);
  assert_string_equal(hex, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
  sha256_hmac(span_of(key, 131), SPAN("Test Using Larger Than Block-Size Key - Hash Key First"), out);
  sha256_hex(out, hex);
  assert_string_equal(hex, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(known_answers), cmocka_unit_test(hmac), cmocka_unit_test(a_million_in_any_pieces),
      cmocka_unit_test(lengths_around_a_block),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
