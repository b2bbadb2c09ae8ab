/* Messages of AWS event streams: worked bytes, every split, every broken byte. Checksums come from zlib. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include "../../frames.h"
#include "weir/frame.h"

static const char event[] =
  "0000009400000057b4ab9aee0b3a6576656e742d74797065070011636f6e74656e74426c6f636b44656c74610d3a636f6e74656e742d7479706507001061"
  "70706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b22636f6e74656e74426c6f636b496e646578223a302c2264"
  "656c7461223a7b2274657874223a224869227d7d1f944657";
static const char exception[] =
  "0000008800000061de0175f40f3a657863657074696f6e2d747970650700137468726f74746c696e67457863657074696f6e0d3a636f6e74656e742d7479"
  "70650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d74797065070009657863657074696f6e7b226d657373616765223a22736c6f"
  "7720646f776e227d832ee072";

static void add_hex(struct buf *b, const char *hex) {
  for (; *hex; hex += 2) {
    unsigned v;
    assert_int_equal(sscanf(hex, "%2x", &v), 1);
    buf_byte(b, (char)v);
  }
}

static void worked_examples(void **state) {
  (void)state;
  struct buf b = { 0 };
  struct frame_reader r = { 0 };
  struct aws_frame f;
  add_hex(&b, event);
  add_hex(&b, exception);
  struct step s = frame_feed(&r, buf_span(&b), &f);
  assert_true(s.kind == STEP_EVENT && s.used == 148 && f.raw.n == 148);
  assert_true(span_eq(f.payload, SPAN("{\"contentBlockIndex\":0,\"delta\":{\"text\":\"Hi\"}}")));
  assert_true(span_eq(frame_string(&f, SPAN(":event-type")), SPAN("contentBlockDelta")));
  assert_true(span_eq(frame_string(&f, SPAN(":message-type")), SPAN("event")));
  assert_true(frame_string(&f, SPAN(":exception-type")).p == NULL);
  s = frame_feed(&r, span_from(buf_span(&b), 148), &f);
  assert_true(s.kind == STEP_EVENT && s.used == 136);
  assert_true(span_eq(frame_string(&f, SPAN(":exception-type")), SPAN("throttlingException")));
  assert_true(span_eq(f.payload, SPAN("{\"message\":\"slow down\"}")));
  assert_true(frame_feed(&r, SPAN(""), &f).kind == STEP_MORE);
  buf_free(&b);
}

/* The window grows a byte at a time, in memory of its own. */
static void every_split(void **state) {
  (void)state;
  struct buf b = { 0 };
  struct frame_reader r = { 0 };
  struct aws_frame f;
  size_t at = 0, found = 0;
  add_hex(&b, event);
  add_message(&b, SPAN(""), SPAN(""));
  add_hex(&b, exception);
  struct span all = buf_span(&b);
  for (size_t end = 0; end <= all.n; end++) {
    char *window = mem_alloc(end - at + 1);
    memcpy(window, all.p + at, end - at);
    struct step s = frame_feed(&r, span_of(window, end - at), &f);
    assert_true(s.kind == STEP_EVENT || (s.kind == STEP_MORE && !s.used));
    if (s.kind == STEP_EVENT) at += s.used, found++;
    mem_free(window);
  }
  assert_true(found == 3 && at == all.n);
  buf_free(&b);
}

/* Whatever byte is another one, nothing but MORE and BAD is said, and BAD stays. */
static void every_broken_byte(void **state) {
  (void)state;
  struct buf b = { 0 };
  struct aws_frame f;
  add_hex(&b, event);
  add_hex(&b, exception);
  for (size_t i = 0; i < 148; i++) {
    struct frame_reader r = { 0 };
    b.p[b.at + i] ^= 0x10;
    struct step s = frame_feed(&r, buf_span(&b), &f);
    assert_true(s.kind == STEP_BAD && r.why);
    b.p[b.at + i] ^= 0x10;
    assert_true(frame_feed(&r, buf_span(&b), &f).kind == STEP_BAD);
  }
  buf_free(&b);
}

static enum step_kind prelude(uint32_t total, uint32_t headers) {
  struct buf b = { 0 };
  struct frame_reader r = { 0 };
  struct aws_frame f;
  add_u32(&b, total);
  add_u32(&b, headers);
  add_crc(&b, 0);
  enum step_kind k = frame_feed(&r, buf_span(&b), &f).kind;
  buf_free(&b);
  return k;
}

static void lengths(void **state) {
  (void)state;
  assert_int_equal(prelude(16, 0), STEP_MORE);
  assert_int_equal(prelude(15, 0), STEP_BAD);
  assert_int_equal(prelude(0, 0), STEP_BAD);
  assert_int_equal(prelude(20, 4), STEP_MORE);
  assert_int_equal(prelude(20, 5), STEP_BAD);
  assert_int_equal(prelude(20, 0xffffffff), STEP_BAD);
  assert_int_equal(prelude(16 + (24 << 20), 0), STEP_MORE);
  assert_int_equal(prelude(17 + (24 << 20), 0), STEP_BAD);
  assert_int_equal(prelude(16 + (128 << 10), 128 << 10), STEP_MORE);
  assert_int_equal(prelude(17 + (128 << 10), (128 << 10) + 1), STEP_BAD);
}

static enum step_kind with_headers(struct span headers, struct aws_frame *f) {
  static struct buf b;
  struct frame_reader r = { 0 };
  buf_clear(&b);
  add_message(&b, headers, SPAN("x"));
  return frame_feed(&r, buf_span(&b), f).kind;
}

static void header_types(void **state) {
  (void)state;
  static const char all[] = "\1a\0\1b\1\1c\2\7\1d\3\0\1\1e\4\0\0\0\2\1f\5\0\0\0\0\0\0\0\3\1g\6\0\2xy\1h\7\0\3abc"
                            "\1i\10\0\0\0\0\0\0\0\4\1j\11" "0123456789abcdef" "\1k\7\0";
  static const size_t sizes[] = { 0, 0, 1, 2, 4, 8, 2, 3, 8, 16, 0 };
  struct aws_frame f;
  assert_int_equal(with_headers(span_of(all, sizeof all), &f), STEP_EVENT);
  struct span left = f.headers;
  struct frame_header h;
  for (unsigned i = 0; i < 11; i++) {
    assert_true(frame_header_next(&left, &h));
    assert_true(h.name.n == 1 && h.name.p[0] == (char)('a' + i) && h.type == (i == 10 ? FRAME_STRING : i) && h.value.n == sizes[i]);
  }
  assert_false(frame_header_next(&left, &h));
  assert_true(!left.n && span_eq(frame_string(&f, SPAN("h")), SPAN("abc")) && !frame_string(&f, SPAN("g")).p && frame_string(&f, SPAN("k")).p);
  for (size_t n = 1; n < sizeof all; n++) {              /* cut anywhere but between two */
    enum step_kind k = with_headers(span_of(all, n), &f);
    left = span_of(all, n);
    while (frame_header_next(&left, &h)) continue;
    assert_int_equal(k, left.n ? STEP_BAD : STEP_EVENT);
  }
  assert_int_equal(with_headers(span_of("\1a\12", 3), &f), STEP_BAD);                 /* no such type */
  assert_int_equal(with_headers(span_of("\0\0", 2), &f), STEP_BAD);                   /* no name */
  assert_int_equal(with_headers(span_of("\1a\0\1a\1", 6), &f), STEP_BAD);             /* twice */
  struct buf many = { 0 };
  for (int i = 0; i < FRAME_HEADER_COUNT; i++) buf_byte(&many, 1), buf_byte(&many, (char)('!' + i)), buf_byte(&many, 0);
  assert_int_equal(with_headers(buf_span(&many), &f), STEP_EVENT);
  buf_byte(&many, 1), buf_byte(&many, ' '), buf_byte(&many, 0);
  assert_int_equal(with_headers(buf_span(&many), &f), STEP_BAD);
  buf_free(&many);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(worked_examples), cmocka_unit_test(every_split), cmocka_unit_test(every_broken_byte),
    cmocka_unit_test(lengths), cmocka_unit_test(header_types),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
