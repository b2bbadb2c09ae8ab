/* Writers, byte classes, header lists and parameters. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include "weir/http.h"

static struct buf b;

static void assert_written(const char *text) {
  if (!span_eq(buf_span(&b), span_cstr(text))) fail_msg("wrote \"%.*s\", not \"%s\"", SPAN_FMT(buf_span(&b)), text);
  buf_clear(&b);
}

static void writes_status_lines(void **state) {
  (void)state;
  http_write_status(&b, 200);
  assert_written("HTTP/1.1 200 OK\r\n");
  http_write_status(&b, 431);
  assert_written("HTTP/1.1 431 Request Header Fields Too Large\r\n");
  http_write_status(&b, 599);
  assert_written("HTTP/1.1 599 \r\n");
  http_write_status(&b, 100);
  http_write_end(&b);
  assert_written("HTTP/1.1 100 Continue\r\n\r\n");
}

static void writes_headers(void **state) {
  (void)state;
  http_write_header(&b, SPAN("a"), SPAN("b c"));
  http_write_header(&b, SPAN("empty"), (struct span){ NULL, 0 });
  http_write_header_u64(&b, SPAN("n"), 0);
  http_write_header_u64(&b, SPAN("n"), 1234567890);
  http_write_header_u64(&b, SPAN("n"), UINT64_MAX);
  assert_written("a: b c\r\nempty: \r\nn: 0\r\nn: 1234567890\r\nn: 18446744073709551615\r\n");
}

static void writes_chunks(void **state) {
  (void)state;
  char data[0x1a2b];
  memset(data, 'x', sizeof data);
  http_write_chunk(&b, SPAN("hello"));
  http_write_chunk(&b, SPAN(""));
  http_write_chunk(&b, SPAN("0123456789abcdef"));
  http_write_last_chunk(&b);
  assert_written("5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n");
  http_write_chunk(&b, span_of(data, sizeof data));
  assert_true(span_starts(buf_span(&b), SPAN("1a2b\r\nxxx")));
  assert_int_equal(buf_size(&b), sizeof data + 8);
  buf_free(&b);
}

/* What is written reads back as it was given. */
static void heads_round_trip(void **state) {
  (void)state;
  struct http_head h;
  http_write_status(&b, 404);
  http_write_header(&b, SPAN("content-type"), SPAN("text/plain"));
  http_write_header_u64(&b, SPAN("content-length"), 77);
  http_write_end(&b);
  assert_int_equal(http_read_response(buf_span(&b), SPAN("GET"), &h), HTTP_OK);
  assert_int_equal(h.status, 404);
  assert_int_equal(h.length, 77);
  assert_true(span_eq(h.reason, SPAN("Not Found")));
  assert_true(span_eq(http_header(&h, SPAN("Content-Type")), SPAN("text/plain")));
  buf_free(&b);
}

static void every_error_has_a_status_and_a_text(void **state) {
  (void)state;
  static const int statuses[] = {
    [HTTP_BAD_REQUEST_LINE] = 400, [HTTP_BAD_HEADER] = 400, [HTTP_BAD_HOST] = 400, [HTTP_BAD_FRAMING] = 400,
    [HTTP_BAD_CHUNK] = 400, [HTTP_TARGET_TOO_LONG] = 414, [HTTP_EXPECTATION] = 417, [HTTP_HEAD_TOO_LARGE] = 431,
    [HTTP_TRANSFER_CODING] = 501, [HTTP_VERSION] = 505, [HTTP_BAD_STATUS_LINE] = 502,
  };
  for (int e = HTTP_BAD_REQUEST_LINE; e <= HTTP_BAD_STATUS_LINE; e++) {
    assert_int_equal(http_error_status((enum http_error)e), statuses[e]);
    assert_non_null(http_error_text((enum http_error)e));
    assert_true(http_reason(statuses[e])[0] != 0);
    for (int other = HTTP_OK; other < e; other++)
      assert_string_not_equal(http_error_text((enum http_error)e), http_error_text((enum http_error)other));
  }
  assert_string_equal(http_reason(200), "OK");
  assert_string_equal(http_reason(299), "");
}

/* The bytes of RFC 9110 5.6.2 and 5.5, spelt out once more. */
static void byte_classes(void **state) {
  (void)state;
  const char *token = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  for (int c = 0; c < 256; c++) {
    char text[3] = { 'a', (char)c, 'b' };
    assert_int_equal(http_token_ok(span_of(text, 3)), c && strchr(token, c));
    assert_int_equal(http_value_ok(span_of(text, 3)), c == 9 || (c >= 0x20 && c != 0x7f));
  }
  assert_false(http_token_ok(SPAN("")));
  assert_true(http_value_ok(SPAN("")));
}

static struct http_head head_of(const char *text) {
  struct http_head h;
  assert_int_equal(http_read_request(span_cstr(text), &h), HTTP_OK);
  return h;
}

static void finds_headers(void **state) {
  (void)state;
  struct http_head h = head_of("GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\nEmpty:\r\n\r\n");
  assert_true(span_eq(http_header(&h, SPAN("x-A")), SPAN("1")));
  assert_non_null(http_header(&h, SPAN("empty")).p);
  assert_int_equal(http_header(&h, SPAN("empty")).n, 0);
  assert_null(http_header(&h, SPAN("x-")).p);
  assert_null(http_header(&h, SPAN("x-ab")).p);
}

static void knows_headers(void **state) {
  static const char *const names[HTTP_NAMES] = {
    [HTTP_ACCEPT_ENCODING] = "accept-encoding", [HTTP_ANTHROPIC_VERSION] = "anthropic-version", [HTTP_API_KEY] = "api-key",
    [HTTP_AUTHORIZATION] = "authorization", [HTTP_CONNECTION] = "connection", [HTTP_CONTENT_LENGTH] = "content-length",
    [HTTP_CONTENT_TYPE] = "content-type", [HTTP_COOKIE] = "cookie", [HTTP_EXPECT] = "expect", [HTTP_FORWARDED] = "forwarded", [HTTP_HOST] = "host",
    [HTTP_KEEP_ALIVE] = "keep-alive", [HTTP_LITELLM_CUSTOMER_ID] = "x-litellm-customer-id", [HTTP_LITELLM_END_USER_ID] = "x-litellm-end-user-id",
    [HTTP_LITELLM_METADATA] = "x-litellm-spend-logs-metadata", [HTTP_LITELLM_SESSION_ID] = "x-litellm-session-id",
    [HTTP_LITELLM_TAGS] = "x-litellm-tags", [HTTP_LITELLM_TIMEOUT] = "x-litellm-timeout", [HTTP_ORIGIN] = "origin",
    [HTTP_PORTKEY_METADATA] = "x-portkey-metadata", [HTTP_PORTKEY_TIMEOUT] = "x-portkey-request-timeout",
    [HTTP_PORTKEY_TRACE_ID] = "x-portkey-trace-id", [HTTP_TE] = "te", [HTTP_TRACEPARENT] = "traceparent", [HTTP_TRAILER] = "trailer",
    [HTTP_TRANSFER_ENCODING] = "transfer-encoding", [HTTP_UPGRADE] = "upgrade", [HTTP_VIA] = "via", [HTTP_WEIR_INCLUDE] = "x-weir-include",
    [HTTP_WEIR_PROMPT] = "x-weir-prompt", [HTTP_WEIR_SESSION] = "x-weir-session", [HTTP_WEIR_TAGS] = "x-weir-tags",
    [HTTP_WEIR_TIMEOUT] = "x-weir-timeout", [HTTP_X_API_KEY] = "x-api-key", [HTTP_X_FORWARDED_FOR] = "x-forwarded-for",
    [HTTP_X_GOOG_API_KEY] = "x-goog-api-key", [HTTP_X_REAL_IP] = "x-real-ip", [HTTP_X_REQUEST_ID] = "x-request-id",
  };
  (void)state;
  for (unsigned known = HTTP_OTHER + 1; known < HTTP_NAMES; known++) {
    static char text[256];                                 /* the head points into it */
    char name[64];
    size_t n = strlen(names[known]);
    for (size_t wrong = 0; wrong <= n; wrong++) {          /* each byte another one, and at last none */
      for (size_t i = 0; i <= n; i++) name[i] = i % 2 && names[known][i] >= 'a' ? (char)(names[known][i] - 32) : names[known][i];
      if (wrong < n) name[wrong] = name[wrong] == '!' ? '#' : '!';
      snprintf(text, sizeof text, "GET / HTTP/1.0\r\nx: 0\r\n%s: 1\r\n%s: 2\r\n\r\n", name, name);
      struct http_head h;
      enum http_error e = http_read_request(span_cstr(text), &h);
      if (wrong == n && (known == HTTP_HOST || known == HTTP_CONTENT_LENGTH || known == HTTP_TRANSFER_ENCODING || known == HTTP_EXPECT)) {
        assert_int_not_equal(e, HTTP_OK);                  /* twice, or not so */
        continue;
      }
      assert_int_equal(e, HTTP_OK);
      assert_int_equal(h.names[0], HTTP_OTHER);
      assert_int_equal(h.names[1], wrong < n ? HTTP_OTHER : known);
      assert_int_equal(h.names[2], h.names[1]);
      assert_true(wrong < n ? !http_known(&h, known).p : span_eq(http_known(&h, known), SPAN("1")));
    }
  }
  struct http_head h = head_of("POST / HTTP/1.1\r\nhOst: h\r\ncontent-Length: 3\r\nEXPECT: 100-continue\r\n\r\n");
  assert_true(span_eq(http_known(&h, HTTP_HOST), SPAN("h")) && span_eq(http_known(&h, HTTP_CONTENT_LENGTH), SPAN("3")));
  assert_true(span_eq(http_known(&h, HTTP_EXPECT), SPAN("100-continue")));
  h = head_of("POST / HTTP/1.1\r\nHost: h\r\nTransfer-encodinG: chunked\r\n\r\n");
  assert_true(span_eq(http_known(&h, HTTP_TRANSFER_ENCODING), SPAN("chunked")));
}

static void finds_list_members(void **state) {
  (void)state;
  struct http_head h = head_of("GET / HTTP/1.1\r\nHost: h\r\nA: one,Two ,\tthree\r\nB: x\r\na: , four\r\nC:\r\n\r\n");
  assert_true(http_header_lists(&h, SPAN("A"), SPAN("one")));
  assert_true(http_header_lists(&h, SPAN("a"), SPAN("TWO")));
  assert_true(http_header_lists(&h, SPAN("a"), SPAN("three")));
  assert_true(http_header_lists(&h, SPAN("a"), SPAN("four")));
  assert_false(http_header_lists(&h, SPAN("a"), SPAN("on")));
  assert_false(http_header_lists(&h, SPAN("a"), SPAN("x")));
  assert_false(http_header_lists(&h, SPAN("b"), SPAN("one")));
  assert_false(http_header_lists(&h, SPAN("c"), SPAN("one")));
  assert_false(http_header_lists(&h, SPAN("d"), SPAN("one")));
}

static const struct {
  const char *value, *name, *param;   /* param NULL: absent */
} params[] = {
  { "multipart/form-data; boundary=x", "boundary", "x" },
  { "multipart/form-data;boundary=x", "boundary", "x" },
  { "multipart/form-data; BOUNDARY=x", "boundary", "x" },
  { "multipart/form-data \t;\t boundary=x ", "boundary", "x" },
  { "multipart/form-data; charset=utf-8; boundary=\"a b;c\"", "boundary", "a b;c" },
  { "multipart/form-data; a=\"; boundary=y\"; boundary=x", "boundary", "x" },
  { "multipart/form-data; a=\"\\\"; boundary=y\"; boundary=x", "boundary", "x" },
  { "form-data; name=\"\"", "name", "" },
  { "form-data; name=\"a\\\"b\"", "name", "\"a\\\"b\"" },
  { "form-data;; name=x;", "name", "x" },
  { "form-data; name=x; name*=y", "name*", "y" },
  { "form-data; filename=x", "name", NULL },
  { "form-data", "name", NULL },
  { "", "name", NULL },
  { "form-data;", "name", NULL },
  { "name=x", "name", NULL },
  { "form-data; name=x; name=y", "name", NULL },
  { "form-data; name=x; NAME=x", "name", NULL },
  { "form-data; name", "name", NULL },
  { "form-data; name=", "name", NULL },
  { "form-data; =x", "name", NULL },
  { "form-data; =y; name=x", "name", NULL },
  { "form-data; name =x", "name", NULL },
  { "form-data; name= x", "name", NULL },
  { "form-data; name=\"x", "name", NULL },
  { "form-data; name=\"x\\\"", "name", NULL },
  { "form-data; name=\"x\"y", "name", NULL },
  { "form-data; name=x y", "name", NULL },
  { "form-data; name=x; rest", "name", NULL },
};

static void finds_params(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof params / sizeof *params; i++) {
    size_t n = strlen(params[i].value);
    char *copy = mem_alloc(n);
    memcpy(copy, params[i].value, n);
    struct span s = http_param(span_of(copy, n), span_cstr(params[i].name));
    bool ok = params[i].param ? s.p && span_eq(s, span_cstr(params[i].param)) : !s.p;
    if (!ok) fail_msg("%s of %s: %.*s", params[i].name, params[i].value, SPAN_FMT(s));
    mem_free(copy);
  }
  assert_null(http_param((struct span){ NULL, 0 }, SPAN("name")).p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(writes_status_lines), cmocka_unit_test(writes_headers), cmocka_unit_test(writes_chunks),
    cmocka_unit_test(heads_round_trip), cmocka_unit_test(every_error_has_a_status_and_a_text),
    cmocka_unit_test(byte_classes), cmocka_unit_test(finds_headers), cmocka_unit_test(knows_headers), cmocka_unit_test(finds_list_members),
    cmocka_unit_test(finds_params),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
