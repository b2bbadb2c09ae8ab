/* From what a client sent to its key, and what that key may ask for. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include "weir/keys.h"

static void digest_of(const char *text, unsigned char out[SHA256_SIZE]) {
  struct sha256 h;
  sha256_init(&h);
  sha256_feed(&h, span_cstr(text));
  sha256_end(&h, out);
}

/* Keys of these texts, named k0, k1, …; all without an end. */
enum { MOST = 3000 };
struct ring {
  struct arena arena;
  struct keys keys;
  struct key list[MOST];
  struct key_hash hashes[MOST];
};
static struct ring ring;

static void ring_begin(const char *const *texts, size_t count) {
  arena_end(&ring.arena);
  memset(&ring, 0, sizeof ring);
  for (size_t i = 0; i < count; i++) {
    digest_of(texts[i], ring.hashes[i].digest);
    ring.hashes[i].until = KEY_FOREVER;
    ring.list[i] = (struct key){ .name = arena_printf(&ring.arena, "k%zu", i), .hashes = &ring.hashes[i], .hash_count = 1,
                                 .until = KEY_FOREVER };
  }
  ring.keys = (struct keys){ .list = ring.list, .count = count };
  keys_index(&ring.keys, &ring.arena);
}

static enum key_verdict find(const char *text, int64_t now, const struct key **out) {
  *out = NULL;
  return keys_find(&ring.keys, span_cstr(text), now, out);
}

static void by_its_hash(void **state) {
  (void)state;
  static const char *const texts[] = { "alpha", "beta" };
  const struct key *k;
  ring_begin(texts, 2);
  assert_int_equal(find("alpha", 5, &k), KEY_GOOD);
  assert_ptr_equal(k, &ring.list[0]);
  assert_int_equal(find("beta", 5, &k), KEY_GOOD);
  assert_ptr_equal(k, &ring.list[1]);
  static const char *const others[] = { "", "alph", "alphaa", "Alpha", "alpha ", "gamma" };
  for (size_t i = 0; i < 6; i++) {
    assert_int_equal(find(others[i], 5, &k), KEY_UNKNOWN);
    assert_null(k);
  }
  char hex[KEY_HASH_TEXT + 1];                           /* its hash is not the key */
  key_hash_write(ring.hashes[0].digest, hex);
  assert_int_equal(find(hex, 5, &k), KEY_UNKNOWN);
  assert_int_equal(find(hex + 7, 5, &k), KEY_UNKNOWN);
  ring_begin(NULL, 0);
  assert_int_equal(find("alpha", 5, &k), KEY_UNKNOWN);
  assert_null(keys_owner(&ring.keys, ring.hashes[0].digest));
}

/* A hash that differs in one bit, wherever it is, is another's. */
static void every_bit_counts(void **state) {
  (void)state;
  static const char *const texts[] = { "alpha" };
  const struct key *k;
  unsigned char digest[SHA256_SIZE];
  ring_begin(texts, 1);
  memcpy(digest, ring.hashes[0].digest, sizeof digest);
  for (int bit = 0; bit < 256; bit++) {
    ring.hashes[0].digest[bit / 8] ^= (unsigned char)(1 << bit % 8);
    keys_index(&ring.keys, &ring.arena);
    assert_int_equal(find("alpha", 5, &k), KEY_UNKNOWN);
    assert_null(keys_owner(&ring.keys, digest));
    memcpy(ring.hashes[0].digest, digest, sizeof digest);
  }
}

/* Many, and many that fall on one place: the first eight bytes decide the place. */
static void many_keys(void **state) {
  (void)state;
  static char names[MOST][16];
  static const char *texts[MOST];
  const struct key *k;
  for (int i = 0; i < MOST; i++) {
    snprintf(names[i], sizeof names[i], "%d", i);
    texts[i] = names[i];
  }
  ring_begin(texts, MOST);
  for (int i = 0; i < MOST; i++) {
    assert_int_equal(find(texts[i], 5, &k), KEY_GOOD);
    assert_ptr_equal(k, &ring.list[i]);
  }
  assert_int_equal(find("3000", 5, &k), KEY_UNKNOWN);
  ring_begin(texts, 20);
  for (int i = 0; i < 20; i++) memset(ring.hashes[i].digest, 7, 8);
  keys_index(&ring.keys, &ring.arena);
  for (int i = 0; i < 20; i++) assert_ptr_equal(keys_owner(&ring.keys, ring.hashes[i].digest), &ring.list[i]);
}

static void it_ends(void **state) {
  (void)state;
  static const char *const texts[] = { "new", "old" };
  const struct key *k;
  int64_t until;
  ring_begin(texts, 2);
  ring.list[0].hash_count = 2;                           /* one key with two hashes, the second in its grace */
  ring.keys.count = 1;
  ring.hashes[1].until = 1000;
  assert_true(key_until_read(SPAN("2027-01-31"), &until));
  ring.list[0].until = until;
  keys_index(&ring.keys, &ring.arena);
  assert_int_equal(find("old", 999, &k), KEY_GOOD);
  assert_ptr_equal(k, &ring.list[0]);
  assert_int_equal(find("old", 1000, &k), KEY_EXPIRED);
  assert_null(k);
  assert_int_equal(find("new", 1000, &k), KEY_GOOD);
  assert_int_equal(find("new", 1801439999, &k), KEY_GOOD);               /* 2027-01-31T23:59:59Z */
  assert_int_equal(find("new", 1801440000, &k), KEY_EXPIRED);
  assert_int_equal(find("old", 1801440000, &k), KEY_EXPIRED);
}

/* ---- in a request */
struct sent { const char *name, *value; };
static enum key_verdict asked(const char *target, const struct sent *list, size_t count, const struct key **out) {
  struct http_head h = { .target = span_cstr(target), .count = count };
  for (size_t i = 0; i < count; i++) h.headers[i] = (struct http_header){ span_cstr(list[i].name), span_cstr(list[i].value) };
  *out = NULL;
  return keys_of_request(&ring.keys, &h, 5, out);
}
#define ASKED(target, ...) asked(target, (const struct sent[]){ __VA_ARGS__ }, sizeof((const struct sent[]){ __VA_ARGS__ }) / sizeof(struct sent), &k)

static void where_it_stands(void **state) {
  (void)state;
  static const char *const texts[] = { "alpha", "be+ta/=", "over" };
  const struct key *k;
  ring_begin(texts, 3);
  ring.list[2].until = 3;
  static const struct sent places[] = {
    { "Authorization", "Bearer alpha" }, { "authorization", "bearer   alpha" }, { "AUTHORIZATION", "BEARER alpha" },
    { "x-api-key", "alpha" }, { "X-Api-Key", "alpha" }, { "x-goog-api-key", "alpha" }, { "Api-Key", "alpha" },
  };
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    assert_int_equal(asked("/v1/models", &places[i], 1, &k), KEY_GOOD);
    assert_ptr_equal(k, &ring.list[0]);
  }
  static const char *const targets[] = { "/v1?key=alpha", "/?a=b&key=alpha", "/?%6bey=alpha", "/?key=%61lph%61", "/?key=alpha&key=x" };
  for (size_t i = 0; i < 5; i++) assert_int_equal(asked(targets[i], NULL, 0, &k), KEY_GOOD);
  assert_int_equal(asked("/?key=be%2Bta%2f%3D", NULL, 0, &k), KEY_GOOD);
  assert_ptr_equal(k, &ring.list[1]);
  assert_int_equal(asked("/?key=be+ta/=", NULL, 0, &k), KEY_GOOD);
  static const struct sent none[] = {
    { "authorization", "alpha" }, { "authorization", "Basic alpha" }, { "authorization", "Bearer" }, { "authorization", "Bearer " },
    { "x-api-key", "" }, { "apikey", "alpha" }, { "x-api-kex", "alpha" }, { "cookie", "alpha" }, { "proxy-authorization", "Bearer alpha" },
  };
  for (size_t i = 0; i < sizeof none / sizeof *none; i++) assert_int_equal(asked("/v1/models?keys=alpha", &none[i], 1, &k), KEY_NONE);
  assert_int_equal(asked("/v1/models?key=", NULL, 0, &k), KEY_NONE);
  assert_int_equal(asked("/v1/models?key=%6", NULL, 0, &k), KEY_UNKNOWN);
  assert_int_equal(ASKED("/", { "x-api-key", "Bearer alpha" }), KEY_UNKNOWN);
}

static void the_first_good_one(void **state) {
  (void)state;
  static const char *const texts[] = { "alpha", "beta", "over" };
  const struct key *k;
  ring_begin(texts, 3);
  ring.list[2].until = 3;
  assert_int_equal(ASKED("/?key=beta", { "api-key", "nobody" }, { "authorization", "Bearer over" }), KEY_GOOD);
  assert_ptr_equal(k, &ring.list[1]);
  assert_int_equal(ASKED("/?key=beta", { "x-api-key", "x" }, { "authorization", "Bearer alpha" }), KEY_GOOD);
  assert_ptr_equal(k, &ring.list[0]);
  assert_int_equal(ASKED("/", { "x-api-key", "beta" }, { "authorization", "Bearer alpha" }), KEY_GOOD);
  assert_ptr_equal(k, &ring.list[1]);
  assert_int_equal(ASKED("/?key=nobody", { "x-api-key", "over" }), KEY_EXPIRED);
  assert_int_equal(ASKED("/?key=over", { "x-api-key", "nobody" }), KEY_EXPIRED);
  assert_int_equal(ASKED("/", { "x-api-key", "nobody" }), KEY_UNKNOWN);
}

static void long_ones(void **state) {
  (void)state;
  static char longest[KEY_LONGEST + 2], target[3 * KEY_LONGEST + 32] = "/?key=";
  const char *texts[] = { longest };
  const struct key *k;
  memset(longest, 'k', KEY_LONGEST);
  ring_begin(texts, 1);
  assert_int_equal(ASKED("/", { "x-api-key", longest }), KEY_GOOD);
  for (int i = 0; i < KEY_LONGEST; i++) strcat(target, "%6b");
  assert_int_equal(asked(target, NULL, 0, &k), KEY_GOOD);
  strcat(target, "k");
  assert_int_equal(asked(target, NULL, 0, &k), KEY_UNKNOWN);
  longest[KEY_LONGEST] = 'k';
  ring_begin(texts, 1);
  assert_int_equal(ASKED("/", { "x-api-key", longest }), KEY_UNKNOWN);
}

/* ---- models */
static void what_it_may_ask_for(void **state) {
  (void)state;
  struct span models[] = { SPAN("smart"), SPAN("openai/*"), SPAN("lab/gpt-*"), SPAN("mist*"), SPAN("é*") };
  struct key k = { .models = models, .model_count = 5 };
  static const char *const yes[] = { "smart", "openai/", "openai/gpt-5", "openai/a/b", "lab/gpt-", "lab/gpt-5", "mist", "mistral/x", "élan", "é" };
  static const char *const no[] = { "smarter", "Smart", "smar", "openai", "openai2/x", "OpenAI/x", "lab/gpt", "lab/", "lab/o3", "mis", "", "*", "gpt-5", "x/smart" };
  for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
    if (!key_allows(&k, span_cstr(yes[i]))) fail_msg("'%s' is not allowed", yes[i]);
  for (size_t i = 0; i < sizeof no / sizeof *no; i++)
    if (key_allows(&k, span_cstr(no[i]))) fail_msg("'%s' is allowed", no[i]);
  assert_true(key_allows_provider(&k, SPAN("openai")));
  assert_true(key_allows_provider(&k, SPAN("mistral")));
  assert_true(key_allows_provider(&k, SPAN("mist")));
  assert_false(key_allows_provider(&k, SPAN("lab")));
  assert_false(key_allows_provider(&k, SPAN("smart")));
  assert_false(key_allows_provider(&k, SPAN("openai2")));
  assert_false(key_allows_provider(&k, SPAN("opena")));
  struct span all[] = { SPAN("*") };
  k = (struct key){ .models = all, .model_count = 1 };
  assert_true(key_allows(&k, SPAN("anything")) && key_allows(&k, SPAN("")) && key_allows_provider(&k, SPAN("p")));
  struct span partly[] = { SPAN("open*"), SPAN("p/"), SPAN("q") };
  k = (struct key){ .models = partly, .model_count = 3 };
  assert_true(key_allows_provider(&k, SPAN("openai")));
  assert_false(key_allows_provider(&k, SPAN("p")) || key_allows_provider(&k, SPAN("q")));
  k = (struct key){ .model_count = 0 };
  assert_true(key_allows(&k, SPAN("anything")) && key_allows_provider(&k, SPAN("p")));
}

static int end(void **state) {
  (void)state;
  arena_end(&ring.arena);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(by_its_hash), cmocka_unit_test(every_bit_counts), cmocka_unit_test(many_keys), cmocka_unit_test(it_ends),
    cmocka_unit_test(where_it_stands), cmocka_unit_test(the_first_good_one), cmocka_unit_test(long_ones),
    cmocka_unit_test(what_it_may_ask_for),
  };
  return cmocka_run_group_tests(tests, NULL, end);
}
