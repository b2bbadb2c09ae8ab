/* The parts of the configuration that need no file: addresses, money, places in a text, words that are near. */
#include "rig.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>
#include "../../../src/conf/load.h"

static void addresses(void **state) {
  static const struct { const char *spec; int family; bool local; } good[] = {
    { "127.0.0.1:8080", AF_INET, true }, { "127.9.9.9:1", AF_INET, true }, { "localhost:65535", AF_INET, true },
    { "0.0.0.0:80", AF_INET, false }, { "10.0.0.1:80", AF_INET, false }, { "[::1]:80", AF_INET6, true },
    { "[::]:80", AF_INET6, false }, { "[::ffff:127.0.0.1]:80", AF_INET6, true }, { "[fd00::1]:80", AF_INET6, false },
    { "[::ffff:128.0.0.1]:80", AF_INET6, false }, { "unix:/run/weir.sock", AF_UNIX, true },
  };
  static const char *const bad[] = {
    "", ":", "127.0.0.1", "127.0.0.1:", ":80", "*:80", "127.0.0.1:65536", "127.0.0.1:00080x", "127.0.0.1:000080",
      "127.0.0.1:-1", "127.1:80",
    "[127.0.0.1]:80", "[::1:80", "::1:80", "[]:80", "host:80", "unix:", "unix:run", "http://127.0.0.1:80",
      "127.0.0.1 :80",
  };
  struct sockaddr_storage a;
  socklen_t size;
  const char *why;
  (void)state;
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    if (!conf_address(span_cstr(good[i].spec), &a, &size, &why)) fail_msg("%s: %s", good[i].spec, why);
    assert_int_equal(a.ss_family, good[i].family);
    if (address_local(&a) != good[i].local) fail_msg("%s", good[i].spec);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (conf_address(span_cstr(bad[i]), &a, &size, &why)) fail_msg("%s", bad[i]);
  assert_true(conf_address(SPAN("[::1]:258"), &a, &size, &why));
  assert_int_equal(ntohs(((struct sockaddr_in6 *)&a)->sin6_port), 258);
  assert_int_equal(size, sizeof(struct sockaddr_in6));
  assert_true(conf_address(SPAN("unix:/a"), &a, &size, &why));
  assert_string_equal(((struct sockaddr_un *)&a)->sun_path, "/a");
  char path[200] = "unix:/";
  memset(path + 6, 'x', 106);
  assert_true(conf_address(span_of(path, 5 + 107), &a, &size, &why));
  assert_false(conf_address(span_of(path, 5 + 108), &a, &size, &why));
}

static bool trusts(const char *network, const char *peer) {
  struct network n;
  struct conf c = { .trusted = &n, .trusted_count = 1 };
  struct sockaddr_storage a = { 0 };
  assert_true(network_read(span_cstr(network), &n));
  a.ss_family = strchr(peer, ':') ? AF_INET6 : AF_INET;
  void *v4 = &((struct sockaddr_in *)&a)->sin_addr, *v6 = &((struct sockaddr_in6 *)&a)->sin6_addr;
  assert_int_equal(inet_pton(a.ss_family, peer, a.ss_family == AF_INET ? v4 : v6), 1);
  return conf_trusts(&c, &a);
}

static void networks(void **state) {
  static const char *const bad[] = { "", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0/8", "fd00::/129", "x",
    "10.0.0.0/8 ", "10.0.0.0/8x" };
  struct network n;
  (void)state;
  assert_true(trusts("10.0.0.0/8", "10.255.1.2"));
  assert_false(trusts("10.0.0.0/8", "11.0.0.0"));
  assert_true(trusts("10.128.0.0/9", "10.129.0.0"));
  assert_false(trusts("10.128.0.0/9", "10.127.0.0"));
  assert_true(trusts("10.1.2.3", "10.1.2.3"));
  assert_false(trusts("10.1.2.3", "10.1.2.2"));
  assert_true(trusts("10.1.2.3/32", "::ffff:10.1.2.3"));      /* as a dual-stack listener sees it */
  assert_true(trusts("0.0.0.0/0", "8.8.8.8"));
  assert_false(trusts("0.0.0.0/0", "2001::1"));
  assert_true(trusts("::/0", "8.8.8.8"));
  assert_true(trusts("fd00::/9", "fd7f::1"));
  assert_false(trusts("fd00::/9", "fd80::1"));
  assert_true(trusts("::1", "::1"));
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (network_read(span_cstr(bad[i]), &n)) fail_msg("%s", bad[i]);
  struct conf c = { .trusted = &n, .trusted_count = 1 };
  struct sockaddr_storage path = { .ss_family = AF_UNIX };
  assert_true(network_read(SPAN("::/0"), &n));
  assert_false(conf_trusts(&c, &path));
}

static void money(void **state) {
  static const struct { const char *text; int64_t pico; } good[] = {
    { "0", 0 }, { "1", 1000000000000 }, { "2.5", 2500000000000 }, { "0.000000000001", 1 }, { "1e-06", 1000000 },
      { ".5", 500000000000 },
    { "9223372.036854775807", INT64_MAX }, { "1.10", 1100000000000 }, { "25E1", 250000000000000 },
      { "0.0000000000010", 1 }, { "3.", 3000000000000 },
    { "1e+2", 100000000000000 }, { "0e40", 0 },
  };
  static const char *const bad[] = {
    "", ".", "-1", "+1", "1e", "1e-13", "0.0000000000001", "9223372.036854775808", "1.2.3", "1 ", "0x1", "inf",
      "nan", "1e41", "1e999999999999", "1,5",
    "1234567890123456789012345678901", "1e30",
  };
  int64_t v;
  const char *why;
  (void)state;
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    if (!money_read(span_cstr(good[i].text), &v, &why)) fail_msg("%s %s", good[i].text, why);
    if (v != good[i].pico) fail_msg("%s is %lld", good[i].text, (long long)v);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (money_read(span_cstr(bad[i]), &v, &why)) fail_msg("%s", bad[i]);
}

static void places(void **state) {
  static const char text[] =
    "local key = 1 -- model = 1\n"                                        /* 1 */
    "provider \"x\" {\n"                                                  /* 2 */
    "  a = 1, --[[ b = 2\n"                                               /* 3 */
    "  b = 2 ]] b = \"c = 3\",\n"                                         /* 4 */
    "  c == 4, ['d e'] = [[\n"                                            /* 5 */
    "  c = ]], c = { inner = \"v\\\"w\" },\n"                             /* 6 */
    "}\n"                                                                 /* 7 */
    "z = 1 } w = 2\n"                                                     /* 8 */
    "f { \"x\" } {\n"                                                     /* 9 */
    "  y = \"x2\" } v = 1";                                               /* 10 */
  static const struct { unsigned from; const char *key; unsigned line; } keys[] = {
    { 2, "a", 3 }, { 2, "b", 4 }, { 2, "c", 6 }, { 2, "d e", 5 }, { 2, "inner", 6 }, { 2, "z", 2 }, { 2, "model", 2 },
    { 8, "w", 8 }, { 9, "y", 10 }, { 9, "v", 9 }, { 1, "key", 1 }, { 99, "a", 99 }, { 10, "none", 10 }, { 0, "key", 1 },
  };
  (void)state;
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    unsigned line = line_of_key(SPAN(text), keys[i].from, span_cstr(keys[i].key));
    if (line != keys[i].line) fail_msg("%u: %s is at %u", keys[i].from, keys[i].key, line);
  }
  assert_int_equal(line_of_string(SPAN(text), 2, SPAN("v\\\"w")), 6);
  assert_int_equal(line_of_string(SPAN(text), 2, SPAN("x")), 2);
  assert_int_equal(line_of_string(SPAN(text), 9, SPAN("x2")), 10);
  assert_int_equal(line_of_key(SPAN(""), 1, SPAN("a")), 1);
}

/* Cut anywhere, the walk stays inside; the copy has no byte to spare behind it. */
static void places_in_cut_texts(void **state) {
  static const char text[] = "p 'a\\'b' { --[==[ x ]] ]==] [\"k\"] = [=[ ]] ]=], 'q\\\n', n = require(\"m\") } -- end";
  (void)state;
  for (size_t n = 0; n < sizeof text; n++) {
    char *copy = mem_alloc(n);
    struct span name;
    memcpy(copy, text, n);
    line_of_key(span_of(copy, n), 1, SPAN("k"));
    line_of_string(span_of(copy, n), 1, SPAN("q"));
    for (size_t at = 0; require_next(span_of(copy, n), &at, &name);) assert_true(name.n <= 1 && at <= n);
    mem_free(copy);
  }
}

static void requires(void **state) {
  static const char text[] = "-- require \"no\"\nlocal a = require \"one\"\nlocal b = require('two').x, [[require "
    "\"no\"]]\nrequire [[three]] require(x) xrequire 'no'";
  static const char *const wanted[] = { "one", "two", "three" };
  size_t at = 0, n = 0;
  struct span name;
  (void)state;
  while (require_next(SPAN(text), &at, &name)) {
    assert_true(n < 3);
    assert_span(name, wanted[n++]);
  }
  assert_int_equal(n, 3);
}

static void unknown_words(void **state) {
  static const char *const known[] = { "model", "provider" };
  struct buf out = { 0 };
  char word[200];
  (void)state;
  unknown_word(&out, "field", SPAN("modle"), known, 2);
  assert_span(buf_span(&out), "unknown field 'modle'; did you mean 'model'?");
  buf_clear(&out);
  unknown_word(&out, "word", SPAN("zzz"), known, 2);
  assert_span(buf_span(&out), "unknown word 'zzz'; known: model, provider");
  buf_clear(&out);
  unknown_word(&out, "word", SPAN("zzz"), NULL, 0);
  assert_span(buf_span(&out), "unknown word 'zzz'");
  buf_clear(&out);
  memset(word, 'x', sizeof word);
  unknown_word(&out, "word", span_of(word, sizeof word), NULL, 0);
  assert_true(buf_size(&out) < 110);
  buf_free(&out);
}

static void lists(void **state) {
  struct arena a = { 0 };
  int *items = NULL;
  size_t count = 0;
  (void)state;
  for (int i = 0; i < 100; i++) {
    items = list_add(&a, items, &count, sizeof *items);
    assert_int_equal(items[i], 0);
    items[i] = i + 1;
  }
  assert_int_equal(count, 100);
  for (int i = 0; i < 100; i++) assert_int_equal(items[i], i + 1);
  arena_end(&a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(addresses), cmocka_unit_test(networks), cmocka_unit_test(money), cmocka_unit_test(places),
    cmocka_unit_test(places_in_cut_texts), cmocka_unit_test(requires), cmocka_unit_test(unknown_words),
      cmocka_unit_test(lists),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
