/* Whom proxies speak for: PROXY headers, each also under every shorter window, and forwarded nodes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "weir/peer.h"

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define REQUEST "GET / HTTP/1.1\r\n\r\n"
#define FROM4 "\xC0\x00\x02\x01" "\xC6\x33\x64\x02" "\xDC\x04" "\x01\xBB"
#define FROM6 "\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\x01" "\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\x02" "\xDC\x04" "\x01\xBB"
#define MAPPED "\0\0\0\0\0\0\0\0\0\0\xFF\xFF\xC0\x00\x02\x09" "\0\0\0\0\0\0\0\0\0\0\xFF\xFF\xC0\x00\x02\x08" "\0\x01" "\0\x02"
#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define LEFT(text, rest) SPAN(text rest), sizeof(text) - 1

static const struct {
  const char *what;
  struct span bytes;
  size_t used;
  enum step_kind kind;
  const char *ip;
  uint16_t port;
} cases[] = {
  { "v1, v4", LEFT("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", REQUEST), STEP_DONE, "192.0.2.1", 56324 },
  { "v1, v6", LEFT("PROXY TCP6 2001:DB8:0::1 2001:db8::2 0 65535\r\n", REQUEST), STEP_DONE, "2001:db8::1", 0 },
  { "v1, v6 of v4", LEFT("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", ""), STEP_DONE, "192.0.2.1", 1 },
  { "v1, unknown", LEFT("PROXY UNKNOWN\r\n", REQUEST), STEP_DONE, "", 0 },
  { "v1, unknown and more", LEFT("PROXY UNKNOWN 1.1.1.1 x y\r\n", REQUEST), STEP_DONE, "", 0 },
  { "v1, the longest", LEFT("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", "x"),
    STEP_DONE, "", 0 },
  { "v1, too long", LEFT("", "PROXY UNKNOWN " HUNDRED "\r\n"), STEP_BAD, "", 0 },
  { "v1, without an end", LEFT("", "PROXY " HUNDRED HUNDRED), STEP_BAD, "", 0 },
  { "v1, a bare line feed", LEFT("", "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\nGET"), STEP_BAD, "", 0 },
  { "v1, another protocol", LEFT("", "PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n"), STEP_BAD, "", 0 },
  { "v1, v6 in TCP4", LEFT("", "PROXY TCP4 ::1 ::2 1 2\r\n"), STEP_BAD, "", 0 },
  { "v1, v4 in TCP6", LEFT("", "PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n"), STEP_BAD, "", 0 },
  { "v1, no address", LEFT("", "PROXY TCP4 a 2.2.2.2 1 2\r\n"), STEP_BAD, "", 0 },
  { "v1, no other address", LEFT("", "PROXY TCP4 1.1.1.1 2.2.2 1 2\r\n"), STEP_BAD, "", 0 },
  { "v1, a space too many", LEFT("", "PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n"), STEP_BAD, "", 0 },
  { "v1, a field too many", LEFT("", "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n"), STEP_BAD, "", 0 },
  { "v1, a field too few", LEFT("", "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n"), STEP_BAD, "", 0 },
  { "v1, no port", LEFT("", "PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n"), STEP_BAD, "", 0 },
  { "v1, a zero before", LEFT("", "PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n"), STEP_BAD, "", 0 },
  { "v1, a NUL", LEFT("", "PROXY TCP4 1.1.1.1\0 2.2.2.2 1 2\r\n"), STEP_BAD, "", 0 },

  { "v2, v4", LEFT(V2 "\x21\x11\0\x0C" FROM4, REQUEST), STEP_DONE, "192.0.2.1", 56324 },
  { "v2, v6", LEFT(V2 "\x21\x21\0\x24" FROM6, REQUEST), STEP_DONE, "2001:db8::1", 56324 },
  { "v2, v6 of v4", LEFT(V2 "\x21\x21\0\x24" MAPPED, ""), STEP_DONE, "192.0.2.9", 1 },
  { "v2, with extensions", LEFT(V2 "\x21\x11\0\x16" FROM4 "\x03\0\x04" "abcd" "\x04\0\0", REQUEST), STEP_DONE, "192.0.2.1", 56324 },
  { "v2, local", LEFT(V2 "\x20\0\0\0", REQUEST), STEP_DONE, "", 0 },
  { "v2, local with addresses", LEFT(V2 "\x20\x11\0\x0C" FROM4, REQUEST), STEP_DONE, "", 0 },
  { "v2, unspecified", LEFT(V2 "\x21\0\0\x03" "abc", REQUEST), STEP_DONE, "", 0 },
  { "v2, datagrams", LEFT(V2 "\x21\x12\0\x0C" FROM4, REQUEST), STEP_DONE, "", 0 },
  { "v2, paths too short", LEFT("", V2 "\x21\x31\0\x0C" FROM4), STEP_BAD, "", 0 },
  { "v2, v4 too short", LEFT("", V2 "\x21\x11\0\x0B" FROM4), STEP_BAD, "", 0 },
  { "v2, v6 too short", LEFT("", V2 "\x21\x21\0\x0C" FROM4), STEP_BAD, "", 0 },
  { "v2, too long", LEFT("", V2 "\x21\x11\x10\x01"), STEP_BAD, "", 0 },
  { "v2, another version", LEFT("", V2 "\x11\x11\0\x0C" FROM4), STEP_BAD, "", 0 },
  { "v2, another command", LEFT("", V2 "\x22\x11\0\x0C" FROM4), STEP_BAD, "", 0 },
  { "v2, another family", LEFT("", V2 "\x21\x41\0\x0C" FROM4), STEP_BAD, "", 0 },
  { "v2, another transport", LEFT("", V2 "\x21\x13\0\x0C" FROM4), STEP_BAD, "", 0 },
  { "v2, not whole", LEFT("", V2 "\x21\x11\0\x0D" FROM4), STEP_MORE, "", 0 },

  { "a request", LEFT("", REQUEST), STEP_DONE, "", 0 },
  { "a POST", LEFT("", "POST / HTTP/1.1\r\n"), STEP_DONE, "", 0 },
  { "a method that begins so", LEFT("", "PROXYING / HTTP/1.1\r\n"), STEP_DONE, "", 0 },
  { "in lower case", LEFT("", "proxy tcp4"), STEP_DONE, "", 0 },
  { "empty lines", LEFT("", "\r\n\r\n" REQUEST), STEP_DONE, "", 0 },
  { "nearly v2", LEFT("", "\r\n\r\n\0\r\nQUIT\r"), STEP_DONE, "", 0 },
  { "TLS", LEFT("", "\x16\x03\x01"), STEP_DONE, "", 0 },
};

static void test_headers(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct proxy_header h;
    struct step s = proxy_header_read(cases[i].bytes, &h);
    if (s.kind != cases[i].kind || s.used != cases[i].used || strcmp(h.ip, cases[i].ip) || h.port != cases[i].port)
      fail_msg("%s: kind %d, used %zu, \"%s\" %u", cases[i].what, s.kind, s.used, h.ip, h.port);
    bool settled = false;
    for (size_t n = 0; n < cases[i].bytes.n; n++) {
      struct step part = proxy_header_read(span_of(cases[i].bytes.p, n), &h);
      if (part.kind == STEP_MORE ? settled || part.used : part.kind != s.kind || part.used != s.used)
        fail_msg("%s: at %zu bytes kind %d, used %zu", cases[i].what, n, part.kind, part.used);
      settled |= part.kind != STEP_MORE;
    }
  }
}

/* Nodes of a line, joined by spaces; "-" for one that names no address. */
static void nodes(const char *line, bool rfc7239, const char *wanted) {
  struct forwarded f = { span_cstr(line), rfc7239 };
  struct buf all = { 0 };
  char ip[PEER_TEXT];
  while (forwarded_next(&f, ip)) buf_printf(&all, "%s%s", buf_size(&all) ? " " : "", ip[0] ? ip : "-");
  buf_byte(&all, 0);
  if (strcmp(buf_span(&all).p, wanted)) fail_msg("%s: \"%s\", not \"%s\"", line, buf_span(&all).p, wanted);
  buf_free(&all);
}

static void test_x_forwarded_for(void **state) {
  (void)state;
  nodes("192.0.2.1", false, "192.0.2.1");
  nodes(" 192.0.2.1 ,\t2001:DB8::1,10.0.0.1", false, "192.0.2.1 2001:db8::1 10.0.0.1");
  nodes("192.0.2.1:8080, [2001:db8::1]:80, [2001:db8::1]", false, "192.0.2.1 2001:db8::1 2001:db8::1");
  nodes("::ffff:192.0.2.1", false, "192.0.2.1");
  nodes("unknown, 192.0.2.1", false, "- 192.0.2.1");
  nodes(", ,192.0.2.1,,", false, "192.0.2.1");
  nodes("", false, "");
  nodes("192.0.2.1:, 192.0.2.1:x, 192.0.2, 192.0.2.256, [192.0.2.1], [::1, [::1]x, ]", false, "- - - - - - - -");
  nodes("\"192.0.2.1\"", false, "-");
  nodes("fe80::1%eth0", false, "-");
}

static void test_forwarded(void **state) {
  (void)state;
  nodes("for=192.0.2.60;proto=http;by=203.0.113.43", true, "192.0.2.60");
  nodes("For=\"[2001:db8:cafe::17]:4711\"", true, "2001:db8:cafe::17");
  nodes("for=192.0.2.43, for=198.51.100.17;by=x", true, "192.0.2.43 198.51.100.17");
  nodes("proto=https ; for = 192.0.2.43:80", true, "192.0.2.43");
  nodes("for=unknown, for=_hidden, for=\"_a,b;for=1.1.1.1\", for=192.0.2.1", true, "- - - 192.0.2.1");
  nodes("by=192.0.2.1, proto=https", true, "- -");
  nodes("for=1.1.1.1;for=2.2.2.2", true, "-");
  nodes("192.0.2.1", true, "-");
  nodes("for=\"1.1.1.1", true, "-");
  nodes("for=\"1.1.1.1\\\", for=2.2.2.2", true, "-");
  nodes("x=\"\\\", for=9.9.9.9\";for=192.0.2.1", true, "192.0.2.1");
  nodes("for=", true, "-");
  nodes("for", true, "-");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_headers),
    cmocka_unit_test(test_x_forwarded_for),
    cmocka_unit_test(test_forwarded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
