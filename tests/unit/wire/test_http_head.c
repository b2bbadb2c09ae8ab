/* Where a head ends, and what a request head may hold. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include "weir/http.h"

static struct http_head h;

/* Reads a copy of exactly its size, so that a sanitizer sees any byte read behind it. The copy lives
   until the next read, since the head points into it. */
static enum http_error read_span(struct span text) {
  static char *last;
  mem_free(last);
  last = mem_alloc(text.n);
  if (text.n) memcpy(last, text.p, text.n);
  memset(&h, 0x5a, sizeof h);
  return http_read_request(span_of(last, text.n), &h);
}

static enum http_error read_text(const char *text) { return read_span(span_cstr(text)); }

static void assert_span(struct span s, const char *text) {
  if (!span_eq(s, span_cstr(text))) fail_msg("got \"%.*s\", not \"%s\"", SPAN_FMT(s), text);
}

static const struct {
  const char *what;
  struct span text;
  size_t end;                         /* 0: not complete */
} ends[] = {
  { "nothing", { "", 0 }, 0 },
  { "a plain head", SPAN("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 27 },
  { "a body behind it", SPAN("GET / HTTP/1.1\r\nHost: a\r\n\r\nbody\r\n\r\n"), 27 },
  { "one LF short", SPAN("GET / HTTP/1.1\r\nHost: a\r\n\r"), 0 },
  { "one line", SPAN("GET / HTTP/1.1\r\n"), 0 },
  { "leading empty lines", SPAN("\r\n\r\nGET / HTTP/1.1\r\n\r\n"), 22 },
  { "only empty lines", SPAN("\r\n\r\n\r\n\r\n"), 0 },
  { "only empty lines and a CR", SPAN("\r\n\r\n\r"), 0 },
  { "bare LFs", SPAN("GET / HTTP/1.1\nHost: a\n\nx"), 24 },
  { "bare LF, then CRLF", SPAN("GET / HTTP/1.1\n\r\nx"), 17 },
  { "CRLF, then bare LF", SPAN("GET / HTTP/1.1\r\n\nx"), 17 },
  { "bare LFs at the start", SPAN("\n\nGET"), 2 },
  { "a bare LF behind an empty line", SPAN("\r\n\n\r\nGET"), 5 },
  { "CR CR LF is no line end", SPAN("GET / HTTP/1.1\r\n\r\r\n\r\n"), 21 },
  { "lines of one byte", SPAN("GET / HTTP/1.1\nA\nB\nHost: a and something long\n\n"), 47 },
  { "the end at a block's seam", SPAN("GET /0 HTTP/1.1\r\n\r\nGET /0123456789 HTTP/1.1\r\n\r\n"), 19 },
  { "a long one", SPAN("GET / HTTP/1.1\r\nA: 0123456789012345678901234567890123456789\r\nB: 01234567890123\r\n\r\n"),
    82 },
};

static void head_end_whole(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    size_t scanned = 0, end = http_head_end(ends[i].text, &scanned);
    if (end != ends[i].end) fail_msg("%s: %zu, not %zu", ends[i].what, end, ends[i].end);
  }
}

/* Every pair of cuts: the window grows in three steps, and the end is found at the first that has it. */
static void head_end_any_split(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    struct span text = ends[i].text;
    for (size_t a = 0; a <= text.n; a++)
      for (size_t b = a; b <= text.n; b++) {
        size_t cuts[] = { a, b, text.n }, scanned = 0, end = 0;
        for (int k = 0; k < 3 && !end; k++) {
          end = http_head_end(span_of(text.p, cuts[k]), &scanned);
          assert_true(scanned <= cuts[k]);
          if (end ? end > cuts[k] : ends[i].end && ends[i].end <= cuts[k]) fail_msg("%s at %zu", ends[i].what, cuts[k]);
        }
        if (end != ends[i].end) fail_msg("%s cut at %zu, %zu: %zu", ends[i].what, a, b, end);
      }
  }
}

static void head_end_looks_once(void **state) {
  (void)state;
  struct span text = SPAN("GET / HTTP/1.1\r\nHost: a\r\nAccept: something rather long that goes on\r\n");
  size_t scanned = 0;
  for (size_t n = 0; n <= text.n; n++) {
    assert_int_equal(http_head_end(span_of(text.p, n), &scanned), 0);
    assert_true(scanned + 2 >= n);
  }
}

static const struct {
  const char *line;
  enum http_error error;
} lines[] = {
  { "GET / HTTP/1.1", HTTP_OK },
  { "POST /v1/chat/completions?a=b&c[]=d|e HTTP/1.1", HTTP_OK },
  { "GET / HTTP/1.0", HTTP_OK },
  { "\r\n\r\nGET / HTTP/1.1", HTTP_OK },
  { "!#$%&'*+-.^_`|~09azAZ / HTTP/1.1", HTTP_OK },
  { "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1", HTTP_OK },
  { "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "G(T / HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "G\xc3\xa9T / HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { " GET / HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "\nGET / HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "\rGET / HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET  / HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET\t/ HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET /\tHTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET /  HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET / HTTP/1.1 ", HTTP_BAD_REQUEST_LINE },
  { "GET / HTTP/1.1\r", HTTP_BAD_REQUEST_LINE },
  { "GET / HTTP/1.1\nX: y", HTTP_BAD_REQUEST_LINE },
  { "GET / ", HTTP_BAD_REQUEST_LINE },
  { "GET /", HTTP_BAD_REQUEST_LINE },
  { "GET", HTTP_BAD_REQUEST_LINE },
  { "GET  HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET / b HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET /#x HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET /\\x HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET /\"x HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET /<x HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET /x> HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET /\x01 HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET /\x7f HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET /\xc3\xa9 HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET / http/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET / HTTP/1", HTTP_BAD_REQUEST_LINE },
  { "GET / HTTP/11", HTTP_BAD_REQUEST_LINE },
  { "GET / HTTP/1.", HTTP_BAD_REQUEST_LINE },
  { "GET / HTTP/1.12", HTTP_BAD_REQUEST_LINE },
  { "GET / HTTP/1,1", HTTP_BAD_REQUEST_LINE },
  { "GET / HTTP/1.x", HTTP_BAD_REQUEST_LINE },
  { "GET / HTTP/1./", HTTP_BAD_REQUEST_LINE },
  { "GET / HTTP/1.1 \nA: b", HTTP_BAD_REQUEST_LINE },
  { "GET / HTTP/+.1", HTTP_BAD_REQUEST_LINE },
  { "GET / HTTQ/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET / HTTP/1.2", HTTP_VERSION },
  { "GET / HTTP/0.9", HTTP_VERSION },
  { "GET / HTTP/2.0", HTTP_VERSION },
  { "GET / HTTP/9.9", HTTP_VERSION },
  { "PRI * HTTP/2.0", HTTP_VERSION },
  { "OPTIONS * HTTP/1.1", HTTP_OK },
  { "GET * HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "OPTIONS ** HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "CONNECT a.b:443 HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "CONNECT / HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET a.b:443 HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET v1/models HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET ?a=b HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET http://a.b/c HTTP/1.1", HTTP_OK },
  { "GET HTTPS://a.b:1/ HTTP/1.1", HTTP_OK },
  { "GET http://[::1]:8080/ HTTP/1.1", HTTP_OK },
  { "GET http://a.b HTTP/1.1", HTTP_OK },
  { "GET http://a.b?x HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET http:// HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET http:///x HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET http://u@a.b/ HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET http://a,b/ HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET http://a:x/ HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET ftp://a.b/ HTTP/1.1", HTTP_BAD_REQUEST_LINE },
  { "GET http:/a.b/ HTTP/1.1", HTTP_BAD_REQUEST_LINE },
};

static void request_lines(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    char text[256];
    snprintf(text, sizeof text, "%s\r\nHost: h\r\n\r\n", lines[i].line);
    enum http_error e = read_text(text);
    if (e != lines[i].error)
      fail_msg("\"%s\": %s, not %s", lines[i].line, http_error_text(e), http_error_text(lines[i].error));
  }
}

#define GET "GET / HTTP/1.1\r\nHost: h\r\n"
#define GET0 "GET / HTTP/1.0\r\n"

static const struct {
  const char *what;
  struct span text;                   /* without the blank line */
  enum http_error error;
} heads[] = {
  { "an empty value", SPAN(GET "A:\r\n"), HTTP_OK },
  { "an empty value with blanks", SPAN(GET "A: \t \r\n"), HTTP_OK },
  { "no blank behind the colon", SPAN(GET "A:b\r\n"), HTTP_OK },
  { "a colon in a value", SPAN(GET "A: b:c\r\n"), HTTP_OK },
  { "all token bytes in a name", SPAN(GET "!#$%&'*+-.^_`|~09azAZ: b\r\n"), HTTP_OK },
  { "high bytes in a value", SPAN(GET "A: \x80\xff\xc3\xa9 tail that is long enough for a block \xff\r\n"), HTTP_OK },
  { "a tab in a value", SPAN(GET "A: b\tc and a tail that is long enough\tfor a block\r\n"), HTTP_OK },
  { "no name", SPAN(GET ": b\r\n"), HTTP_BAD_HEADER },
  { "no colon", SPAN(GET "A\r\n"), HTTP_BAD_HEADER },
  { "space before the colon", SPAN(GET "A : b\r\n"), HTTP_BAD_HEADER },
  { "tab before the colon", SPAN(GET "A\t: b\r\n"), HTTP_BAD_HEADER },
  { "space in a name", SPAN(GET "A B: b\r\n"), HTTP_BAD_HEADER },
  { "high byte in a name", SPAN(GET "A\xe9: b\r\n"), HTTP_BAD_HEADER },
  { "NUL in a name", SPAN(GET "A\0: b\r\n"), HTTP_BAD_HEADER },
  { "slash in a name", SPAN(GET "A/B: b\r\n"), HTTP_BAD_HEADER },
  { "a folded line", SPAN(GET "A: b\r\n c\r\n"), HTTP_BAD_HEADER },
  { "a line folded by a tab", SPAN(GET "A: b\r\n\tc\r\n"), HTTP_BAD_HEADER },
  { "a blank before the first line", SPAN("GET / HTTP/1.1\r\n Host: h\r\n"), HTTP_BAD_HEADER },
  { "a line of a blank", SPAN(GET " \r\n"), HTTP_BAD_HEADER },
  { "a bare LF in a value", SPAN(GET "A: b\nC: d\r\n"), HTTP_BAD_HEADER },
  { "a bare LF in a long value", SPAN(GET "A: 0123456789012345678901\nC: 0123456789012345678\r\n"), HTTP_BAD_HEADER },
  { "a bare CR in a value", SPAN(GET "A: b\rC: d\r\n"), HTTP_BAD_HEADER },
  { "a bare CR at the end of a value", SPAN(GET "A: b\r\r\n"), HTTP_BAD_HEADER },
  { "a bare CR before a whole line", SPAN(GET "A: b\rCC: d\r\n"), HTTP_BAD_HEADER },
  { "a control before a bare LF", SPAN(GET "A: b\x01\nC: d\r\n"), HTTP_BAD_HEADER },
  { "NUL in a value", SPAN(GET "A: b\0c\r\n"), HTTP_BAD_HEADER },
  { "NUL in a long value", SPAN(GET "A: 01234567890123456789\0 123456789012345678\r\n"), HTTP_BAD_HEADER },
  { "a control in a value", SPAN(GET "A: b\x1b[0m\r\n"), HTTP_BAD_HEADER },
  { "a control in a long value", SPAN(GET "A: 0123456789012345678\x1f 0123456789012345\r\n"), HTTP_BAD_HEADER },
  { "DEL in a value", SPAN(GET "A: b\x7f\r\n"), HTTP_BAD_HEADER },
  { "DEL in a long value", SPAN(GET "A: 0123456789012345678\x7f 0123456789012345\r\n"), HTTP_BAD_HEADER },
  { "vertical tab before a value", SPAN(GET "A: \vb\r\n"), HTTP_BAD_HEADER },
  { "an empty line within", SPAN(GET "\r\nA: b\r\n"), HTTP_BAD_HEADER },

  { "no Host", SPAN("GET / HTTP/1.1\r\n"), HTTP_BAD_HOST },
  { "no Host in HTTP/1.0", SPAN(GET0), HTTP_OK },
  { "a Host in HTTP/1.0", SPAN(GET0 "Host: h\r\n"), HTTP_OK },
  { "two Hosts", SPAN(GET "Host: h\r\n"), HTTP_BAD_HOST },
  { "two Hosts in HTTP/1.0", SPAN(GET0 "Host: h\r\nhOST: h\r\n"), HTTP_BAD_HOST },
  { "absolute form and no Host", SPAN("GET http://a/ HTTP/1.1\r\n"), HTTP_BAD_HOST },
  { "absolute form and a bad Host", SPAN("GET http://a/ HTTP/1.1\r\nHost: a b\r\n"), HTTP_BAD_HOST },

  { "a length", SPAN(GET "Content-Length: 5\r\n"), HTTP_OK },
  { "a length of 0", SPAN(GET "Content-Length: 0\r\n"), HTTP_OK },
  { "the largest length", SPAN(GET "Content-Length: 9223372036854775807\r\n"), HTTP_OK },
  { "a length over it", SPAN(GET "Content-Length: 9223372036854775808\r\n"), HTTP_BAD_FRAMING },
  { "a length over 64 bits", SPAN(GET "Content-Length: 18446744073709551621\r\n"), HTTP_BAD_FRAMING },
  { "an empty length", SPAN(GET "Content-Length:\r\n"), HTTP_BAD_FRAMING },
  { "a positive length", SPAN(GET "Content-Length: +5\r\n"), HTTP_BAD_FRAMING },
  { "a negative length", SPAN(GET "Content-Length: -5\r\n"), HTTP_BAD_FRAMING },
  { "a hex length", SPAN(GET "Content-Length: 0x5\r\n"), HTTP_BAD_FRAMING },
  { "a length with a fraction", SPAN(GET "Content-Length: 5.0\r\n"), HTTP_BAD_FRAMING },
  { "a length with a blank", SPAN(GET "Content-Length: 5 5\r\n"), HTTP_BAD_FRAMING },
  { "a list of equal lengths", SPAN(GET "Content-Length: 5, 5\r\n"), HTTP_BAD_FRAMING },
  { "a list of one length", SPAN(GET "Content-Length: 5,\r\n"), HTTP_BAD_FRAMING },
  { "equal lengths", SPAN(GET "Content-Length: 5\r\ncontent-length: 5\r\n"), HTTP_BAD_FRAMING },
  { "unequal lengths", SPAN(GET "Content-Length: 5\r\nContent-Length: 6\r\n"), HTTP_BAD_FRAMING },

  { "chunked", SPAN(GET "Transfer-Encoding: chunked\r\n"), HTTP_OK },
  { "Chunked", SPAN(GET "TRANSFER-ENCODING: \tChunkeD \r\n"), HTTP_OK },
  { "chunked and a length", SPAN(GET "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), HTTP_BAD_FRAMING },
  { "a length and chunked", SPAN(GET "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), HTTP_BAD_FRAMING },
  { "a length and gzip", SPAN(GET "Content-Length: 5\r\nTransfer-Encoding: gzip\r\n"), HTTP_BAD_FRAMING },
  { "chunked in HTTP/1.0", SPAN(GET0 "Transfer-Encoding: chunked\r\n"), HTTP_BAD_FRAMING },
  { "gzip in HTTP/1.0", SPAN(GET0 "Transfer-Encoding: gzip\r\n"), HTTP_BAD_FRAMING },
  { "chunked, chunked", SPAN(GET "Transfer-Encoding: chunked, chunked\r\n"), HTTP_BAD_FRAMING },
  { "chunked twice", SPAN(GET "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), HTTP_BAD_FRAMING },
  { "chunked, gzip", SPAN(GET "Transfer-Encoding: chunked, gzip\r\n"), HTTP_BAD_FRAMING },
  { "chunked, then gzip", SPAN(GET "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n"), HTTP_BAD_FRAMING },
  { "chunked with a parameter", SPAN(GET "Transfer-Encoding: chunked;a=b\r\n"), HTTP_BAD_FRAMING },
  { "chunked and more", SPAN(GET "Transfer-Encoding: chunked x\r\n"), HTTP_BAD_FRAMING },
  { "quoted chunked", SPAN(GET "Transfer-Encoding: \"chunked\"\r\n"), HTTP_TRANSFER_CODING },
  { "no coding", SPAN(GET "Transfer-Encoding:\r\n"), HTTP_BAD_FRAMING },
  { "an empty coding", SPAN(GET "Transfer-Encoding: , chunked\r\n"), HTTP_BAD_FRAMING },
  { "an empty coding behind", SPAN(GET "Transfer-Encoding: chunked,\r\n"), HTTP_BAD_FRAMING },
  { "gzip", SPAN(GET "Transfer-Encoding: gzip\r\n"), HTTP_TRANSFER_CODING },
  { "gzip, chunked", SPAN(GET "Transfer-Encoding: gzip, chunked\r\n"), HTTP_TRANSFER_CODING },
  { "gzip, then chunked", SPAN(GET "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"), HTTP_TRANSFER_CODING },
  { "identity", SPAN(GET "Transfer-Encoding: identity\r\n"), HTTP_TRANSFER_CODING },
  { "xchunked", SPAN(GET "Transfer-Encoding: xchunked\r\n"), HTTP_TRANSFER_CODING },
  { "chunkedx", SPAN(GET "Transfer-Encoding: chunkedx\r\n"), HTTP_TRANSFER_CODING },
  { "control before chunked", SPAN(GET "Transfer-Encoding: \vchunked\r\n"), HTTP_BAD_HEADER },

  { "100-continue", SPAN(GET "Expect: 100-Continue\r\n"), HTTP_OK },
  { "another expectation", SPAN(GET "Expect: 200-ok\r\n"), HTTP_EXPECTATION },
  { "an empty expectation", SPAN(GET "Expect:\r\n"), HTTP_EXPECTATION },
  { "two expectations", SPAN(GET "Expect: 100-continue\r\nExpect: x\r\n"), HTTP_EXPECTATION },
};

static void request_heads(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
    char text[512];
    size_t n = heads[i].text.n;
    memcpy(text, heads[i].text.p, n);
    memcpy(text + n, "\r\n", 2);
    enum http_error e = read_span(span_of(text, n + 2));
    if (e != heads[i].error)
      fail_msg("%s: %s, not %s", heads[i].what, http_error_text(e), http_error_text(heads[i].error));
  }
}

static const struct {
  const char *host;
  bool ok;
} hosts[] = {
  { "a", true }, { "a.b-c_d.e", true }, { "a.b.", true }, { "a:1", true }, { "a:65535", true }, { "127.0.0.1:8080",
  true },
  { "127.1", true }, { "[::1]", true }, { "[::1]:80", true }, { "[1:2:3:4:5:6:1.2.3.4]", true }, { "A.B", true },
  { "", false }, { ".", false }, { ".a", false }, { "a..b", false }, { "a..", false }, { "a b", false }, { "a,b",
  false },
  { "a/b", false }, { "a?b", false }, { "a#b", false }, { "u@a", false }, { "a%41", false }, { "a\\b", false },
  { "a;b", false },
  { "\xc3\xa9", false }, { ":80", false }, { "a:", false }, { "a:0", false }, { "a:65536", false }, { "a:x", false },
  { "a:+1", false }, { "a:1:2", false }, { "a:000001", false }, { "[::1", false }, { "[::1]x", false }, { "[::1]:",
  false },
  { "[]", false }, { "[::g]", false }, { "[fe80::1%25eth0]", false }, { "::1", false }, { "http://a", false },
  { "a\"", false },
  { "0123456789012345678901234567890123456789012345678901234567890123", false },
  { "012345678901234567890123456789012345678901234567890123456789012", true },
};

static void request_hosts(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
    char text[256];
    snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", hosts[i].host);
    enum http_error e = read_text(text);
    if (e != (hosts[i].ok ? HTTP_OK : HTTP_BAD_HOST)) fail_msg("\"%s\": %s", hosts[i].host, http_error_text(e));
    if (hosts[i].ok) assert_span(h.host, hosts[i].host);
  }
}

static void request_fills_all_fields(void **state) {
  (void)state;
  assert_int_equal(read_text("\r\nPOST /v1/x?y=z HTTP/1.1\r\nhost: a.b:8080\r\nContent-Type:  text/plain; a=b \t\r\n"
                             "content-type: second\r\nCONTENT-LENGTH: 42\r\nX-Empty:\r\n\r\n"), HTTP_OK);
  assert_span(h.method, "POST");
  assert_span(h.target, "/v1/x?y=z");
  assert_int_equal(h.minor, 1);
  assert_int_equal(h.status, 0);
  assert_null(h.reason.p);
  assert_span(h.host, "a.b:8080");
  assert_span(h.content_type, "text/plain; a=b");
  assert_int_equal(h.framing, HTTP_LENGTH);
  assert_int_equal(h.length, 42);
  assert_true(h.keep_alive);
  assert_false(h.expect_continue);
  assert_false(h.upgrade);
  assert_int_equal(h.count, 5);
  assert_span(h.headers[0].name, "host");
  assert_span(h.headers[1].value, "text/plain; a=b");
  assert_span(h.headers[4].name, "X-Empty");
  assert_span(h.headers[4].value, "");
  assert_non_null(h.headers[4].value.p);
}

static void request_without_body(void **state) {
  (void)state;
  assert_int_equal(read_text("POST / HTTP/1.1\r\nHost: h\r\n\r\n"), HTTP_OK);
  assert_int_equal(h.framing, HTTP_NO_BODY);
  assert_int_equal(h.length, 0);
  assert_null(h.content_type.p);
  assert_int_equal(read_text(GET "Transfer-Encoding: chunked\r\n\r\n"), HTTP_OK);
  assert_int_equal(h.framing, HTTP_CHUNKED);
  assert_int_equal(read_text(GET "Content-Length: 0\r\n\r\n"), HTTP_OK);
  assert_int_equal(h.framing, HTTP_LENGTH);
  assert_int_equal(read_text(GET0 "\r\n"), HTTP_OK);
  assert_null(h.host.p);
  assert_int_equal(h.minor, 0);
}

static void absolute_targets(void **state) {
  (void)state;
  assert_int_equal(read_text("GET http://a.b:81/c?d HTTP/1.1\r\nHost: other\r\n\r\n"), HTTP_OK);
  assert_span(h.target, "/c?d");
  assert_span(h.host, "a.b:81");
  assert_int_equal(read_text("GET hTTps://[::1] HTTP/1.1\r\nHost: other\r\n\r\n"), HTTP_OK);
  assert_span(h.target, "/");
  assert_span(h.host, "[::1]");
  assert_int_equal(read_text("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"), HTTP_OK);
  assert_span(h.target, "*");
}

static const struct {
  const char *version, *headers;
  bool keep_alive, upgrade, expect;
} connections[] = {
  { "1.1", "", true, false, false },
  { "1.1", "Connection: keep-alive\r\n", true, false, false },
  { "1.1", "Connection: close\r\n", false, false, false },
  { "1.1", "Connection: CLOSE\r\n", false, false, false },
  { "1.1", "Connection: x, close , y\r\n", false, false, false },
  { "1.1", "Connection: keep-alive\r\nConnection: close\r\n", false, false, false },
  { "1.1", "Connection: close2\r\n", true, false, false },
  { "1.1", "Connection: x close\r\n", true, false, false },
  { "1.1", "Connection: ,,\r\n", true, false, false },
  { "1.0", "", false, false, false },
  { "1.0", "Connection: Keep-Alive\r\n", true, false, false },
  { "1.0", "Connection: keep-alive, close\r\n", false, false, false },
  { "1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", true, true, false },
  { "1.1", "Upgrade: websocket\r\nConnection: keep-alive, upgrade\r\n", true, true, false },
  { "1.1", "Upgrade: websocket\r\n", true, false, false },
  { "1.1", "Connection: upgrade\r\n", true, false, false },
  { "1.0", "Connection: upgrade\r\nUpgrade: websocket\r\n", false, false, false },
  { "1.1", "Expect: 100-continue\r\n", true, false, true },
  { "1.0", "Expect: 100-continue\r\n", false, false, false },
};

static void connection_rules(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof connections / sizeof *connections; i++) {
    char text[256];
    snprintf(text, sizeof text, "GET / HTTP/%s\r\nHost: h\r\n%s\r\n", connections[i].version, connections[i].headers);
    assert_int_equal(read_text(text), HTTP_OK);
    if (h.keep_alive != connections[i].keep_alive || h.upgrade != connections[i].upgrade ||
        h.expect_continue != connections[i].expect)
      fail_msg("%s %s", connections[i].version, connections[i].headers);
  }
}

static enum http_error read_buf(struct buf *b) {
  enum http_error e = read_span(buf_span(b));
  buf_free(b);
  return e;
}

static enum http_error read_with_headers(int count) {
  struct buf b = { 0 };
  buf_printf(&b, "GET / HTTP/1.1\r\nHost: h\r\n");
  for (int i = 1; i < count; i++) buf_printf(&b, "X-%d: %d\r\n", i, i);
  buf_printf(&b, "\r\n");
  return read_buf(&b);
}

static enum http_error read_with_target(int size) {
  struct buf b = { 0 };
  buf_printf(&b, "GET /%0*d HTTP/1.1\r\nHost: h\r\n\r\n", size - 1, 0);
  return read_buf(&b);
}

static void bounds(void **state) {
  (void)state;
  assert_int_equal(read_with_headers(HTTP_MOST_HEADERS), HTTP_OK);
  assert_int_equal(h.count, HTTP_MOST_HEADERS);
  assert_span(h.headers[99].value, "99");
  assert_int_equal(read_with_headers(HTTP_MOST_HEADERS + 1), HTTP_HEAD_TOO_LARGE);
  assert_int_equal(read_with_target(HTTP_LONGEST_TARGET), HTTP_OK);
  assert_int_equal(h.target.n, HTTP_LONGEST_TARGET);
  assert_int_equal(read_with_target(HTTP_LONGEST_TARGET + 1), HTTP_TARGET_TOO_LONG);
}

/* Every byte value in every place: what is refused and accepted must not depend on block seams. */
static void values_of_every_size(void **state) {
  (void)state;
  for (int size = 1; size < 70; size++)
    for (int at = 0; at < size; at++)
      for (int c = 0; c < 256; c++) {
        char text[128], value[70];
        int n = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: h\r\nA:");
        memset(value, 'v', (size_t)size);
        value[at] = (char)c;
        memcpy(text + n, value, (size_t)size);
        memcpy(text + n + size, "\r\n\r\n", 4);
        bool ok = c == '\t' || (c >= 0x20 && c != 0x7f);
        enum http_error e = http_read_request(span_of(text, (size_t)(n + size + 4)), &h);
        if (e != (ok ? HTTP_OK : HTTP_BAD_HEADER)) fail_msg("byte %d at %d of %d: %s", c, at, size, http_error_text(e));
        if (ok) assert_true(span_eq(h.headers[1].value, span_trim(span_of(value, (size_t)size))));
      }
}

/* A head cut short anywhere is refused and nothing behind it is read. */
static void cut_heads(void **state) {
  (void)state;
  struct span text = SPAN("\r\nPOST http://a.b:81/c?d HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
                          "Content-Length: 3\r\n\r\n");
  for (size_t n = 0; n < text.n; n++) assert_int_not_equal(read_span(span_of(text.p, n)), HTTP_OK);
  assert_int_equal(read_span(text), HTTP_OK);
  assert_int_equal(read_text("\r\n\r\n"), HTTP_BAD_REQUEST_LINE);
  assert_int_equal(read_text("\r\n\r\n\r\n"), HTTP_BAD_REQUEST_LINE);
  assert_int_not_equal(http_read_request(span_of(NULL, 0), &h), HTTP_OK);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(head_end_whole), cmocka_unit_test(head_end_any_split), cmocka_unit_test(head_end_looks_once),
    cmocka_unit_test(request_lines), cmocka_unit_test(request_heads), cmocka_unit_test(request_hosts),
    cmocka_unit_test(request_fills_all_fields), cmocka_unit_test(request_without_body),
    cmocka_unit_test(absolute_targets), cmocka_unit_test(connection_rules), cmocka_unit_test(bounds),
    cmocka_unit_test(values_of_every_size), cmocka_unit_test(cut_heads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
