/* What a response head may hold and how its body is framed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include "weir/http.h"

static struct http_head h;

static enum http_error read_text(const char *text, const char *method) {
  static char *last;
  size_t n = strlen(text);
  mem_free(last);
  last = mem_alloc(n);
  memcpy(last, text, n);
  memset(&h, 0x5a, sizeof h);
  return http_read_response(span_of(last, n), span_cstr(method), &h);
}

static const struct {
  const char *line;
  enum http_error error;
  int status;
  const char *reason;
} lines[] = {
  { "HTTP/1.1 200 OK", HTTP_OK, 200, "OK" },
  { "HTTP/1.0 200 OK", HTTP_OK, 200, "OK" },
  { "HTTP/1.1 200 ", HTTP_OK, 200, "" },
  { "HTTP/1.1 200", HTTP_OK, 200, "" },
  { "HTTP/1.1 100 Continue", HTTP_OK, 100, "Continue" },
  { "HTTP/1.1 599 \xc3\xa9 and\ta tail", HTTP_OK, 599, "\xc3\xa9 and\ta tail" },
  { "HTTP/1.1 099 x", HTTP_BAD_STATUS_LINE, 0, "" },
  { "HTTP/1.1 600 x", HTTP_BAD_STATUS_LINE, 0, "" },
  { "HTTP/1.1 20 OK", HTTP_BAD_STATUS_LINE, 0, "" },
  { "HTTP/1.1 2000 OK", HTTP_BAD_STATUS_LINE, 0, "" },
  { "HTTP/1.1 2x0 OK", HTTP_BAD_STATUS_LINE, 0, "" },
  { "HTTP/1.1 20x OK", HTTP_BAD_STATUS_LINE, 0, "" },
  { "HTTP/1.1 200 O\x01\nK: x", HTTP_BAD_STATUS_LINE, 0, "" },
  { "HTTP/1.1 +20 OK", HTTP_BAD_STATUS_LINE, 0, "" },
  { "HTTP/1.1  200 OK", HTTP_BAD_STATUS_LINE, 0, "" },
  { "HTTP/1.1\t200 OK", HTTP_BAD_STATUS_LINE, 0, "" },
  { "HTTP/1.1 200\tOK", HTTP_BAD_STATUS_LINE, 0, "" },
  { "HTTP/1.1 200 O\rK", HTTP_BAD_STATUS_LINE, 0, "" },
  { "HTTP/1.1 200 O\nK", HTTP_BAD_STATUS_LINE, 0, "" },
  { "HTTP/1.1 200 O\x01K", HTTP_BAD_STATUS_LINE, 0, "" },
  { "HTTP/1.1 200 O\x7fK", HTTP_BAD_STATUS_LINE, 0, "" },
  { "\r\nHTTP/1.1 200 OK", HTTP_BAD_STATUS_LINE, 0, "" },
  { " HTTP/1.1 200 OK", HTTP_BAD_STATUS_LINE, 0, "" },
  { "http/1.1 200 OK", HTTP_BAD_STATUS_LINE, 0, "" },
  { "ICY 200 OK", HTTP_BAD_STATUS_LINE, 0, "" },
  { "HTTP/1.1", HTTP_BAD_STATUS_LINE, 0, "" },
  { "HTTP/1.1 ", HTTP_BAD_STATUS_LINE, 0, "" },
  { "", HTTP_BAD_STATUS_LINE, 0, "" },
  { "HTTP/2 200", HTTP_BAD_STATUS_LINE, 0, "" },
  { "HTTP/2.0 200 OK", HTTP_VERSION, 0, "" },
  { "HTTP/1.2 200 OK", HTTP_VERSION, 0, "" },
  { "HTTP/0.9 200 OK", HTTP_VERSION, 0, "" },
};

static void status_lines(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    char text[128];
    snprintf(text, sizeof text, "%s\r\nA: b\r\n\r\n", lines[i].line);
    enum http_error e = read_text(text, "GET");
    if (e != lines[i].error)
      fail_msg("\"%s\": %s, not %s", lines[i].line, http_error_text(e), http_error_text(lines[i].error));
    if (e) continue;
    assert_int_equal(h.status, lines[i].status);
    assert_true(span_eq(h.reason, span_cstr(lines[i].reason)));
    assert_int_equal(h.count, 1);
  }
}

#define NONE HTTP_NO_BODY
#define LENGTH HTTP_LENGTH
#define CHUNKED HTTP_CHUNKED
#define CLOSE HTTP_UNTIL_CLOSE

static const struct {
  const char *method, *head;
  enum http_error error;
  enum http_framing framing;
  uint64_t length;
  bool keep_alive;
} bodies[] = {
  { "GET", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n", HTTP_OK, LENGTH, 7, true },
  { "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", HTTP_OK, LENGTH, 0, true },
  { "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", HTTP_OK, CHUNKED, 0, true },
  { "GET", "HTTP/1.1 200 OK\r\n", HTTP_OK, CLOSE, 0, false },
  { "GET", "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n", HTTP_OK, CLOSE, 0, false },
  { "GET", "HTTP/1.0 200 OK\r\nContent-Length: 7\r\n", HTTP_OK, LENGTH, 7, false },
  { "GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 7\r\n", HTTP_OK, LENGTH, 7, true },
  { "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 7\r\n", HTTP_OK, LENGTH, 7, false },
  { "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n", HTTP_OK, NONE, 0, true },
  { "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", HTTP_OK, NONE, 0, true },
  { "HEAD", "HTTP/1.1 200 OK\r\n", HTTP_OK, NONE, 0, true },
  { "head", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n", HTTP_OK, LENGTH, 7, true },
  { "POST", "HTTP/1.1 204 No Content\r\n", HTTP_OK, NONE, 0, true },
  { "POST", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n", HTTP_OK, NONE, 0, true },
  { "POST", "HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n", HTTP_OK, NONE, 0, false },
  { "POST", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n", HTTP_OK, NONE, 0, false },
  { "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n", HTTP_OK, NONE, 0, true },
  { "POST", "HTTP/1.1 100 Continue\r\n", HTTP_OK, NONE, 0, true },
  { "POST", "HTTP/1.1 103 Early Hints\r\nContent-Length: 7\r\n", HTTP_OK, NONE, 0, false },
  { "GET", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n", HTTP_OK, LENGTH, 0, true },

  { "GET", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 7\r\n", HTTP_OK, LENGTH, 7, true },
  { "GET", "HTTP/1.1 200 OK\r\nContent-Length: 7, 7\r\n", HTTP_OK, LENGTH, 7, true },
  { "GET", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 8\r\n", HTTP_BAD_FRAMING, NONE, 0, false },
  { "GET", "HTTP/1.1 200 OK\r\nContent-Length: 7, 8\r\n", HTTP_BAD_FRAMING, NONE, 0, false },
  { "GET", "HTTP/1.1 200 OK\r\nContent-Length: 7,\r\n", HTTP_BAD_FRAMING, NONE, 0, false },
  { "GET", "HTTP/1.1 200 OK\r\nContent-Length: -7\r\n", HTTP_BAD_FRAMING, NONE, 0, false },
  { "GET", "HTTP/1.1 200 OK\r\nContent-Length:\r\n", HTTP_BAD_FRAMING, NONE, 0, false },
  { "GET", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n", HTTP_BAD_FRAMING, NONE, 0, false },
  { "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n", HTTP_BAD_FRAMING, NONE, 0,
    false },
  { "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n", HTTP_BAD_FRAMING, NONE, 0, false },
  { "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n", HTTP_TRANSFER_CODING, NONE, 0, false },
  { "GET", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n", HTTP_BAD_FRAMING, NONE, 0, false },
  { "GET", "HTTP/1.1 200 OK\r\nA : b\r\n", HTTP_BAD_HEADER, NONE, 0, false },
  { "GET", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n", HTTP_BAD_HEADER, NONE, 0, false },
  { "GET", "HTTP/1.1 200 OK\r\nA: b\nC: d\r\n", HTTP_BAD_HEADER, NONE, 0, false },
  { "GET", "HTTP/1.1 200 OK\r\nExpect: x\r\nHost: a b\r\n", HTTP_OK, CLOSE, 0, false },
};

static void response_bodies(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
    char text[256];
    snprintf(text, sizeof text, "%s\r\n", bodies[i].head);
    enum http_error e = read_text(text, bodies[i].method);
    if (e != bodies[i].error) fail_msg("%s: %s", bodies[i].head, http_error_text(e));
    if (!e && (h.framing != bodies[i].framing || h.length != bodies[i].length || h.keep_alive != bodies[i].keep_alive))
      fail_msg("%s %s: framing %u, length %u", bodies[i].method, bodies[i].head, h.framing, (unsigned)h.length);
  }
}

static void bare_line_ends(void **state) {
  (void)state;
  assert_int_equal(read_text("HTTP/1.1 200 OK\nContent-Length: 0\n\n", "GET"), HTTP_BAD_HEADER);
  assert_int_equal(read_text("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n", "GET"), HTTP_BAD_HEADER);
  assert_int_equal(read_text("HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", "GET"), HTTP_BAD_STATUS_LINE);
  assert_int_equal(read_text("\n\n", "GET"), HTTP_BAD_STATUS_LINE);
}

static void cut_heads(void **state) {
  (void)state;
  const char *text = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 5\r\n\r\n";
  for (size_t n = 0; n < strlen(text); n++) {
    char *copy = mem_alloc(n);
    memcpy(copy, text, n);
    assert_int_not_equal(http_read_response(span_of(copy, n), SPAN("GET"), &h), HTTP_OK);
    mem_free(copy);
  }
  assert_int_equal(read_text(text, "GET"), HTTP_OK);
  assert_true(span_eq(h.content_type, SPAN("text/event-stream")));
}

static void upgrades(void **state) {
  (void)state;
  assert_int_equal(read_text("HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", "GET"), HTTP_OK);
  assert_true(h.upgrade);
  assert_int_equal(h.framing, HTTP_NO_BODY);
  assert_int_equal(read_text("HTTP/1.1 200 x\r\nUpgrade: h2c\r\n\r\n", "GET"), HTTP_OK);
  assert_false(h.upgrade);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(status_lines), cmocka_unit_test(response_bodies), cmocka_unit_test(bare_line_ends),
    cmocka_unit_test(cut_heads), cmocka_unit_test(upgrades),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
