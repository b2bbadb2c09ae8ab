/* How keys are written, made, and put into files. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "weir/keys.h"

static void names(void **state) {
  (void)state;
  static const char *const good[] = { "a", "search-team", "A.b_c-9", "-x", "x..y",
                                      "1234567890123456789012345678901234567890123456789012345678901234" };
  static const char *const bad[] = { "", ".", "..", ".a", "a/b", "a b", "é", "a\n", "a:", "../x",
                                     "12345678901234567890123456789012345678901234567890123456789012345" };
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_null(key_name_refused(span_cstr(good[i])));
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (!key_name_refused(span_cstr(bad[i]))) fail_msg("'%s' is taken for a name", bad[i]);
  assert_non_null(key_name_refused(span_of("a\0b", 3)));
}

static void patterns(void **state) {
  (void)state;
  static const char *const good[] = { "*", "a", "a*", "openai/*", "a b" }, *const bad[] = { "", "**", "*a", "a*b", "a**" };
  for (size_t i = 0; i < 5; i++) {
    assert_null(key_pattern_refused(span_cstr(good[i])));
    assert_non_null(key_pattern_refused(span_cstr(bad[i])));
  }
}

static void hashes(void **state) {
  (void)state;
  static const char text[] = "sha256:00ff10a9" "0123456789abcdef0123456789abcdef0123456789abcdef01234567";
  unsigned char digest[SHA256_SIZE], again[SHA256_SIZE];
  char written[KEY_HASH_TEXT + 1], upper[KEY_HASH_TEXT + 1];
  assert_true(key_hash_read(span_cstr(text), digest));
  assert_int_equal(digest[1], 0xff);
  assert_int_equal(digest[3], 0xa9);
  key_hash_write(digest, written);
  assert_string_equal(written, text);
  for (int i = 0; i <= KEY_HASH_TEXT; i++) upper[i] = text[i] >= 'a' && text[i] <= 'f' && i >= 7 ? (char)(text[i] - 32) : text[i];
  assert_true(key_hash_read(span_cstr(upper), again));
  assert_memory_equal(digest, again, SHA256_SIZE);
  assert_false(key_hash_read(span_of(text, KEY_HASH_TEXT - 1), digest));
  assert_false(key_hash_read(span_of(text, KEY_HASH_TEXT + 1), digest));
  for (int i = 0; i < KEY_HASH_TEXT; i++) {
    memcpy(written, text, sizeof written);
    written[i] = 'g';
    assert_false(key_hash_read(span_cstr(written), digest));
  }
}

static void ends(void **state) {
  (void)state;
  static const struct { const char *text; int64_t until; } good[] = {
    { "1970-01-01", 86400 }, { "2027-01-31", 1801440000 }, { "2028-02-29", 1835481600 }, { "2000-02-29", 951868800 },
    { "9999-12-31", 253402300800 }, { "1970-01-01T00:00:01Z", 1 }, { "2026-01-02T03:04:05Z", 1767323045 },
    { "2027-01-31T23:59:59Z", 1801439999 },
  };
  static const char *const bad[] = {
    "", "2027", "2027-1-31", "2027-13-01", "2027-00-01", "2027-01-00", "2027-01-32", "2027-04-31", "2027-02-29", "2100-02-29",
    "1969-12-31", "2027/01/31", "2027-01-31 ", " 2027-01-31", "2027-01-3x", "2027-01-31T24:00:00Z", "2027-01-31T12:60:00Z",
    "2027-01-31T12:00:60Z", "2027-01-31T12:00:00", "2027-01-31T12:00:00+", "2027-01-31 12:00:00Z", "2027-01-31t12:00:00z",
    "20270131", "+027-01-31", "-027-01-31",
  };
  int64_t until;
  char text[KEY_UNTIL_TEXT + 1];
  setenv("TZ", "America/New_York", 1);                   /* UTC whatever the machine's clock shows */
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    assert_true(key_until_read(span_cstr(good[i].text), &until));
    if (until != good[i].until) fail_msg("%s gives %lld", good[i].text, (long long)until);
    if (strlen(good[i].text) == 10) continue;
    key_until_write(until, text);
    assert_string_equal(text, good[i].text);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (key_until_read(span_cstr(bad[i]), &until)) fail_msg("'%s' is taken for an end", bad[i]);
}

static void minted(void **state) {
  (void)state;
  char text[KEY_MINTED + 1], other[KEY_MINTED + 1];
  unsigned char digest[SHA256_SIZE], own[SHA256_SIZE];
  struct sha256 h;
  unsigned seen[256] = { 0 };
  for (int n = 0; n < 2000; n++) {
    assert_true(key_mint(text, digest));
    assert_int_equal(strlen(text), 48);
    assert_memory_equal(text, "weir_", 5);
    assert_int_equal(strspn(text + 5, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), 43);
    for (int i = 5; i < 47; i++) seen[(unsigned char)text[i]]++;
    assert_non_null(strchr("AEIMQUYcgkosw048", text[47]));               /* 256 bits: the last digit has four of its six */
    if (n) assert_string_not_equal(text, other);
    memcpy(other, text, sizeof other);
  }
  sha256_init(&h);
  sha256_feed(&h, span_cstr(text));
  sha256_end(&h, own);
  assert_memory_equal(own, digest, SHA256_SIZE);
  for (const char *c = "AZaz09-_"; *c; c++)              /* 84,000 digits over 64: 1312 each, give or take */
    if (seen[(unsigned char)*c] < 1000 || seen[(unsigned char)*c] > 1650) fail_msg("'%c' %u times", *c, seen[(unsigned char)*c]);
}

static void as_text(void **state) {
  (void)state;
  struct key_hash h[2] = { { .until = KEY_FOREVER }, { .until = 1767323045 } };
  struct span models[] = { SPAN("a"), SPAN("b/*") };
  struct key_tag tags[] = { { SPAN("end"), SPAN("x\"y\\z\n\x01""2") }, { SPAN("n.1"), SPAN("ü") } };
  struct key k = { .name = SPAN("n"), .hashes = h, .hash_count = 1 };
  struct buf out = { 0 };
  memset(h[0].digest, 0xaa, SHA256_SIZE);
#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define Z64 "0000000000000000000000000000000000000000000000000000000000000000"
  key_write(&k, &out);
  buf_byte(&out, 0);
  assert_string_equal(out.p, "key \"n\" {\n  hash = \"sha256:" A64 "\",\n}\n");
  buf_clear(&out);
  k = (struct key){ .name = SPAN("n"), .team = SPAN("t"), .user = SPAN("u"), .hashes = h, .hash_count = 2, .models = models,
                    .model_count = 2, .tags = tags, .tag_count = 2, .expires = SPAN("2027-01-31") };
  key_write(&k, &out);
  buf_byte(&out, 0);
  assert_string_equal(out.p, "key \"n\" {\n  hash = {\n    \"sha256:" A64 "\",\n    { \"sha256:" Z64
                      "\", expires = \"2026-01-02T03:04:05Z\" },\n  },\n  team = \"t\",\n  user = \"u\",\n  models = { \"a\", \"b/*\" },\n"
                      "  tags = { [\"end\"] = \"x\\\"y\\\\z\\010\\0012\", [\"n.1\"] = \"ü\" },\n  expires = \"2027-01-31\",\n}\n");
  buf_free(&out);
}

/* ---- files */
static char folder[64];

static int folder_begin(void **state) {
  (void)state;
  snprintf(folder, sizeof folder, "/tmp/weir-auth-XXXXXX");
  return !mkdtemp(folder) || chdir(folder);
}

static int folder_end(void **state) {
  (void)state;
  char command[96];
  snprintf(command, sizeof command, "rm -r '%s'", folder);
  return chdir("/") || system(command);
}

static void assert_file(const char *path, mode_t mode, const char *text) {
  char got[64] = { 0 };
  struct stat st;
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_mode & 07777, mode);
  FILE *f = fopen(path, "r");
  assert_non_null(f);
  fread(got, 1, sizeof got - 1, f);
  fclose(f);
  assert_string_equal(got, text);
}

static int entries(const char *path) {
  int n = 0;
  DIR *d = opendir(path);
  assert_non_null(d);
  for (struct dirent *e; (e = readdir(d));) n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
  closedir(d);
  return n;
}

static void files(void **state) {
  (void)state;
  struct arena a = { 0 };
  struct stat st;
  const char *why = NULL;
  bool taken = true;
  mode_t mask = umask(0077);                             /* the modes are these, whatever the umask says */
  assert_true(key_file_write(SPAN("keys"), SPAN("a.b"), SPAN("one"), false, &a, &why, &taken));
  assert_false(taken);
  assert_int_equal(stat("keys", &st), 0);
  assert_int_equal(st.st_mode & 07777, 0750);
  assert_file("keys/a.b.lua", 0640, "one");
  assert_false(key_file_write(SPAN("keys"), SPAN("a.b"), SPAN("two"), false, &a, &why, &taken));
  assert_true(taken);
  assert_string_equal(why, "keys/a.b.lua: File exists");
  assert_file("keys/a.b.lua", 0640, "one");
  assert_true(key_file_write(SPAN("keys"), SPAN("a.b"), SPAN("two"), true, &a, &why, &taken));
  assert_file("keys/a.b.lua", 0640, "two");
  umask(0);
  assert_true(key_file_write(SPAN("keys"), SPAN("c"), SPAN("three"), true, &a, &why, &taken));
  assert_file("keys/c.lua", 0640, "three");
  umask(mask);
  assert_int_equal(entries("keys"), 2);                  /* nothing is left beside them */
  assert_true(key_file_remove(SPAN("keys"), SPAN("c"), &a, &why));
  assert_int_not_equal(access("keys/c.lua", F_OK), 0);
  assert_false(key_file_remove(SPAN("keys"), SPAN("c"), &a, &why));
  assert_string_equal(why, "keys/c.lua: No such file or directory");
  arena_end(&a);
}

static void what_cannot_be_written(void **state) {
  (void)state;
  struct arena a = { 0 };
  const char *why = NULL;
  bool taken;
  assert_false(key_file_write(SPAN("no/keys"), SPAN("a"), SPAN("one"), false, &a, &why, &taken));
  assert_string_equal(why, "no/keys: No such file or directory");
  FILE *f = fopen("keys", "w");
  assert_non_null(f);
  fclose(f);
  assert_false(key_file_write(SPAN("keys"), SPAN("a"), SPAN("one"), false, &a, &why, &taken));
  assert_string_equal(why, "keys: Not a directory");
  assert_false(taken);
  assert_int_equal(unlink("keys"), 0);
  assert_int_equal(mkdir("keys", 0750), 0);
  assert_int_equal(mkdir("keys/a.lua", 0750), 0);        /* the last step fails: what was begun is gone */
  assert_false(key_file_write(SPAN("keys"), SPAN("a"), SPAN("one"), true, &a, &why, &taken));
  assert_string_equal(why, "keys/a.lua: Is a directory");
  assert_int_equal(entries("keys"), 1);
  if (geteuid()) {
    assert_int_equal(chmod("keys", 0550), 0);
    assert_false(key_file_write(SPAN("keys"), SPAN("b"), SPAN("one"), false, &a, &why, &taken));
    assert_string_equal(why, "keys/b.lua: Permission denied");
    assert_int_equal(chmod("keys", 0750), 0);
  }
  arena_end(&a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(names), cmocka_unit_test(patterns), cmocka_unit_test(hashes), cmocka_unit_test(ends), cmocka_unit_test(minted),
    cmocka_unit_test(as_text), cmocka_unit_test_setup_teardown(files, folder_begin, folder_end),
    cmocka_unit_test_setup_teardown(what_cannot_be_written, folder_begin, folder_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
