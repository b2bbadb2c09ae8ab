/* URLs of providers and targets of requests. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "weir/url.h"

/* A copy of exactly its size, so that a sanitizer sees any byte read behind it; in the arena of the
   test, which ends with it. */
static struct arena arena;
static struct span lent(const char *text) {
  static char *copies[1024];
  static size_t count;
  size_t n = strlen(text);
  char **at = &copies[count++ % 1024];
  mem_free(*at);
  *at = mem_alloc(n);
  memcpy(*at, text, n);
  return span_of(*at, n);
}

static bool same(struct span s, const char *text) { return text ? s.p && span_eq(s, span_cstr(text)) : !s.p; }

static const struct {
  const char *text;
  bool tls;
  const char *host;
  bool ipv6;
  uint16_t port;
  bool given;
  const char *path, *query, *header;
} urls[] = {
  { "http://a", false, "a", false, 80, false, "", NULL, "a" },
  { "https://a/", true, "a", false, 443, false, "", NULL, "a" },
  { "HTTPS://Api.Openai.com/v1", true, "Api.Openai.com", false, 443, false, "/v1", NULL, "Api.Openai.com" },
  { "https://a/v1/", true, "a", false, 443, false, "/v1", NULL, "a" },
  { "https://a/v1//", true, "a", false, 443, false, "/v1", NULL, "a" },
  { "http://127.0.0.1:8000/v1", false, "127.0.0.1", false, 8000, true, "/v1", NULL, "127.0.0.1:8000" },
  { "http://a:80/x", false, "a", false, 80, true, "/x", NULL, "a" },
  { "http://a:443/x", false, "a", false, 443, true, "/x", NULL, "a:443" },
  { "https://a:443/x", true, "a", false, 443, true, "/x", NULL, "a" },
  { "https://a:65535", true, "a", false, 65535, true, "", NULL, "a:65535" },
  { "http://[::1]", false, "::1", true, 80, false, "", NULL, "[::1]" },
  { "http://[2001:db8::1]:8080/x", false, "2001:db8::1", true, 8080, true, "/x", NULL, "[2001:db8::1]:8080" },
  { "http://[::ffff:1.2.3.4]", false, "::ffff:1.2.3.4", true, 80, false, "", NULL, "[::ffff:1.2.3.4]" },
  { "https://a/openai?api-version=2024-10-21", true, "a", false, 443, false, "/openai", "api-version=2024-10-21", "a" },
  { "https://a/x/?", true, "a", false, 443, false, "/x", "", "a" },
  { "https://a?b=/c?d", true, "a", false, 443, false, "", "b=/c?d", "a" },
  { "https://a_b.c-d.e./x%2Fy/z", true, "a_b.c-d.e.", false, 443, false, "/x%2Fy/z", NULL, "a_b.c-d.e." },
  { "http://a/.../..a/b..?..", false, "a", false, 80, false, "/.../..a/b..", "..", "a" },
  { "http://1.2.3.4.example", false, "1.2.3.4.example", false, 80, false, "", NULL, "1.2.3.4.example" },
  { "http://0xyz", false, "0xyz", false, 80, false, "", NULL, "0xyz" },
  { "http://a/@:x", false, "a", false, 80, false, "/@:x", NULL, "a" },
};

static void splits_urls(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
    struct url u;
    const char *why = NULL;
    if (!url_split(lent(urls[i].text), &u, &why)) fail_msg("%s: %s", urls[i].text, why);
    if (u.tls != urls[i].tls || !same(u.host, urls[i].host) || u.ipv6 != urls[i].ipv6 || u.port != urls[i].port ||
        u.port_given != urls[i].given || !span_eq(u.path, span_cstr(urls[i].path)) || !same(u.query, urls[i].query))
      fail_msg("%s: host %.*s port %u path %.*s", urls[i].text, SPAN_FMT(u.host), u.port, SPAN_FMT(u.path));
    if (!same(url_host_header(&u, &arena), urls[i].header)) fail_msg("%s: Host", urls[i].text);
  }
  arena_end(&arena);
}

static const char *bad_urls[] = {
  "", "a", "//a", "http:", "http:/a", "http:a", "ftp://a", "ws://a", "httpss://a", " http://a", "http ://a",
  "http://", "https:///x", "http://?x", "http://:80", "http://.", "http://.a", "http://a..b", "http://a..",
  "http://u@a", "http://u:p@a/", "http://@a", "http://a#x", "http://a/x#", "http://a/?x#y", "http://#", "http://a b",
  "http://a/b c", "http://a/?b c", "http://a\t", "http://a/\x01", "http://a/\x7f", "http://a\n", "http://a/\r\n",
  "http://a,b", "http://a;b", "http://a%41", "http://a\\b", "http://a/\\b", "http://\xc3\xa9", "http://a/\xc3\xa9",
  "http://a|b", "http://a=b", "http://a!b", "http://a~b", "http://a*b", "http://a'b", "http://a/%", "http://a/%4",
  "http://a/%4g", "http://a/%g4", "http://a/?%", "http://a/?%x0", "http://a/%%41", "http://a:", "http://a:/",
  "http://a:0", "http://a:65536", "http://a:99999", "http://a:100000", "http://a:+1", "http://a:-1", "http://a:1x",
  "http://a:x", "http://a:1:2", "http://a: 1", "http://a:0x50", "http://a:000080", "http://[", "http://[]",
  "http://[::1", "http://[::1]x", "http://[::1]x80", "http://1.1.1.1.1.1.1.1.1.1", "http://[::1]:", "http://[:::]",
  "http://[::g]", "http://[1.2.3.4]", "http://[0000000000000000000000000000000000000000000000000000000000000000]",
  "http://[fe80::1%25lo]", "http://[1:2:3:4:5:6:7:8:9]", "http://::1", "http://a]", "http://[a]", "http://127.1",
  "http://1", "http://2130706433", "http://0x7f.1", "http://0x7f000001", "http://1.2.3.4.5", "http://1.2.3.256",
  "http://01.2.3.4", "http://1.2.3", "http://1.2.3.0x4", "http://0x", "http://1.2.3.", "http://a.1", "http://a/.",
  "http://a/..", "http://a/../b", "http://a/./b", "http://a/%2e%2E/b", "http://a/b/%2e", "http://a/b%2f..%2Fc",
  "http://a/%00", "http://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/",
};

static void refuses_urls(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof bad_urls / sizeof *bad_urls; i++) {
    struct url u;
    const char *why = NULL;
    if (url_split(lent(bad_urls[i]), &u, &why)) fail_msg("%s was taken", bad_urls[i]);
    assert_non_null(why);
  }
}

static void says_why(void **state) {
  (void)state;
  struct url u;
  const char *why;
  assert_false(url_split(SPAN("http://user@a/"), &u, &why));
  assert_string_equal(why, "user info is not allowed");
  assert_false(url_split(SPAN("http://a:0/"), &u, &why));
  assert_string_equal(why, "the port is not a number from 1 to 65535");
  assert_false(url_split(SPAN("http:///x"), &u, &why));
  assert_string_equal(why, "the host is empty");
}

static void hosts_have_a_bound(void **state) {
  (void)state;
  struct buf b = { 0 };
  struct url u;
  const char *why;
  buf_printf(&b, "http://");
  for (int i = 0; i < 126; i++) buf_printf(&b, "a.");
  buf_byte(&b, 'a');
  assert_int_equal(buf_size(&b), 7 + 253);
  assert_true(url_split(buf_span(&b), &u, &why));
  buf_add(&b, SPAN("."));
  assert_true(url_split(buf_span(&b), &u, &why));
  buf_add(&b, SPAN("a"));
  assert_false(url_split(buf_span(&b), &u, &why));
  buf_free(&b);
  assert_false(url_split((struct span){ NULL, 0 }, &u, &why));
  assert_false(url_split(span_of("http://a\0b", 10), &u, &why));
}

static const struct {
  const char *target, *path, *query;
} targets[] = {
  { "/", "/", NULL },
  { "/v1/chat/completions", "/v1/chat/completions", NULL },
  { "/v1/", "/v1/", NULL },
  { "/v1?a=b&c=%2e%2e/..", "/v1", "a=b&c=%2e%2e/.." },
  { "/v1?", "/v1", "" },
  { "/v1?a?b", "/v1", "a?b" },
  { "/a?include[]=x|y", "/a", "include[]=x|y" },
  { "//a//b", "//a//b", NULL },
  { "/v1beta/models/gemini-2.0:generateContent", "/v1beta/models/gemini-2.0:generateContent", NULL },
  { "/model/arn%3Aaws%3Abedrock%2Fx/converse", "/model/arn%3Aaws%3Abedrock%2Fx/converse", NULL },
  { "/a%20b/c%25", "/a%20b/c%25", NULL },
  { "/.../.a/a./..a/a..", "/.../.a/a./..a/a..", NULL },
  { "/.;a=b/..", NULL, NULL }, { "/a;b=../c;.", "/a;b=../c;.", NULL },
  { "/%2ea/%2e%2e%2e", "/%2ea/%2e%2e%2e", NULL },
  { "", NULL, NULL }, { "*", NULL, NULL }, { "v1", NULL, NULL }, { "?a", NULL, NULL }, { "http://a/", NULL, NULL },
  { "/a b", NULL, NULL }, { "/a#b", NULL, NULL }, { "/a?b#c", NULL, NULL }, { "/a\tb", NULL, NULL }, { "/\x7f", NULL,
  NULL },
  { "/a\r\nb", NULL, NULL }, { "/\xc3\xa9", NULL, NULL }, { "/a\\b", NULL, NULL }, { "/a?b\\c", NULL, NULL }, { "/<",
  NULL, NULL },
  { "/%", NULL, NULL }, { "/%1", NULL, NULL }, { "/%zz", NULL, NULL }, { "/a?%", NULL, NULL }, { "/a?b=%2", NULL,
  NULL },
  { "/a?b=%2g", NULL, NULL }, { "/%u0041", NULL, NULL },
  { "/.", NULL, NULL }, { "/..", NULL, NULL }, { "/./", NULL, NULL }, { "/../", NULL, NULL }, { "/a/./b", NULL, NULL },
  { "/a/../b", NULL, NULL }, { "/a/..", NULL, NULL }, { "/a/..?b", NULL, NULL }, { "/%2e", NULL, NULL }, { "/%2E.",
  NULL, NULL },
  { "/.%2e/a", NULL, NULL }, { "/a/%2e%2e/b", NULL, NULL }, { "/a%2f..%2fb", NULL, NULL }, { "/a/..%2Fb", NULL, NULL },
  { "/a%5c..%5Cb", NULL, NULL }, { "/a/..;/b", NULL, NULL }, { "/a/..;x=y/b", NULL, NULL }, { "/a/%2e%2e%3bx/b", NULL,
  NULL },
  { "/a%00b", NULL, NULL }, { "/a;b/..", NULL, NULL }, { "/..%3f", "/..%3f", NULL },
};

static void splits_targets(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
    struct span path, query;
    const char *why = NULL;
    bool ok = target_split(lent(targets[i].target), &path, &query, &why);
    if (ok != (targets[i].path != NULL)) fail_msg("%s: %s", targets[i].target, ok ? "taken" : why);
    if (!ok) assert_non_null(why);
    if (ok && !(same(path, targets[i].path) && same(query, targets[i].query)))
      fail_msg("%s: %.*s ? %.*s", targets[i].target, SPAN_FMT(path), SPAN_FMT(query));
  }
}

static const struct {
  const char *query, *name, *without, *value;
} queries[] = {
  { "", "key", "", NULL },
  { "a=b", "key", "a=b", NULL },
  { "key=s", "key", "", "s" },
  { "key=s&a=b", "key", "a=b", "s" },
  { "a=b&key=s", "key", "a=b", "s" },
  { "a=b&key=s&c=d", "key", "a=b&c=d", "s" },
  { "key=s&a=b&key=t&c&key", "key", "a=b&c", "s" },
  { "key", "key", "", "" },
  { "key=", "key", "", "" },
  { "key=a=b", "key", "", "a=b" },
  { "%6bey=s&a", "key", "a", "s" },
  { "%6B%65%79=s&a", "key", "a", "s" },
  { "k%65=s", "key", "k%65=s", NULL },
  { "keys=s&ke=t&xkey=u&Key=v", "key", "keys=s&ke=t&xkey=u&Key=v", NULL },
  { "a=key&b=key=c", "key", "a=key&b=key=c", NULL },
  { "&&key=s&&", "key", "&&&", "s" },
  { "key=%26x&a", "key", "a", "%26x" },
  { "alt=sse&key=s", "alt", "key=s", "sse" },
};

static void queries_lose_a_name(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
    struct span query = lent(queries[i].query), name = span_cstr(queries[i].name);
    struct span without = query_without(query, name, &arena), value = query_value(query, name);
    if (!same(without, queries[i].without)) fail_msg("%s: %.*s", queries[i].query, SPAN_FMT(without));
    if (!same(value, queries[i].value)) fail_msg("%s: %.*s", queries[i].query, SPAN_FMT(value));
    assert_null(query_value(without, name).p);
  }
  struct span none = { NULL, 0 };
  assert_null(query_without(none, SPAN("key"), &arena).p);
  assert_null(query_value(none, SPAN("key")).p);
  arena_end(&arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(splits_urls), cmocka_unit_test(refuses_urls), cmocka_unit_test(says_why),
    cmocka_unit_test(hosts_have_a_bound),
    cmocka_unit_test(splits_targets), cmocka_unit_test(queries_lose_a_name),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
