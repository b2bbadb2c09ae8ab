/* Body decoding: every case whole, byte by byte, and under every cut in two and three. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include "weir/http.h"

struct outcome {
  enum step_kind kind;
  size_t used;
  struct buf data;
  struct http_body body;
};

/* Feeds the pieces [0, a), [a, b), [b, n) as copies of exactly their size. */
static struct outcome feed(struct http_head *head, struct span text, size_t a, size_t b) {
  struct outcome o = { .kind = STEP_MORE };
  size_t cuts[] = { 0, a, b, text.n };
  http_body_init(&o.body, head);
  for (int i = 0; i < 3 && o.kind == STEP_MORE; i++) {
    size_t n = cuts[i + 1] - cuts[i];
    char *copy = mem_alloc(n);
    if (n) memcpy(copy, text.p + cuts[i], n);
    struct span in = span_of(copy, n), out;
    do {
      struct step s = http_body_feed(&o.body, in, &out);
      assert_true(s.used <= in.n);
      if (s.kind == STEP_EVENT) {
        assert_true(out.n > 0 && out.p >= in.p && out.p + out.n <= in.p + s.used);
        buf_add(&o.data, out);
      }
      if (s.kind == STEP_MORE) assert_int_equal(s.used, in.n);
      in = span_from(in, s.used);
      o.used += s.used;
      o.kind = s.kind;
    } while (o.kind == STEP_EVENT);
    mem_free(copy);
  }
  return o;
}

static void outcome_check(const char *what, struct outcome *o, enum step_kind kind, size_t used, struct span data) {
  if (o->kind != kind) fail_msg("%s: kind %d, not %d", what, o->kind, kind);
  if (o->used != used) fail_msg("%s: used %zu, not %zu", what, o->used, used);
  if (!span_eq(buf_span(&o->data), data)) fail_msg("%s: \"%.*s\"", what, SPAN_FMT(buf_span(&o->data)));
  assert_int_equal(o->body.total, data.n);
  struct span out, more = SPAN("5\r\nhello\r\n0\r\n\r\n");
  if (kind == STEP_DONE || kind == STEP_BAD)                        /* both stay what they are */
    for (int i = 0; i < 2; i++) {
      struct step s = http_body_feed(&o->body, more, &out);
      assert_int_equal(s.kind, kind);
      assert_int_equal(s.used, 0);
    }
  if (kind != STEP_DONE && o->body.framing != HTTP_UNTIL_CLOSE) assert_false(http_body_may_end(&o->body));
  if (kind == STEP_DONE) assert_true(http_body_may_end(&o->body));
  buf_free(&o->data);
}

static void every_split(const char *what, struct http_head *head, struct span text, enum step_kind kind, size_t used,
                        struct span data) {
  for (size_t a = 0; a <= text.n; a++)
    for (size_t b = a; b <= text.n; b++) {
      struct outcome o = feed(head, text, a, b);
      outcome_check(what, &o, kind, used, data);
    }
}

#define MORE STEP_MORE
#define DONE STEP_DONE
#define BAD STEP_BAD

static const struct {
  struct span text;
  enum step_kind kind;
  size_t used;
  struct span data;
} chunked[] = {
  { SPAN("0\r\n\r\n"), DONE, 5, SPAN("") },
  { SPAN("000\r\n\r\n"), DONE, 7, SPAN("") },
  { SPAN("5\r\nhello\r\n0\r\n\r\n"), DONE, 15, SPAN("hello") },
  { SPAN("5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n"), DONE, 15, SPAN("hello") },
  { SPAN("1\r\na\r\n2\r\nbc\r\n00003\r\ndef\r\n0\r\n\r\n"), DONE, 30, SPAN("abcdef") },
  { SPAN("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"), DONE, 35, SPAN("01234567890123456789") },
  { SPAN("000000000000003\r\nabc\r\n000000003\r\ndef\r\n0\r\n\r\n"), DONE, 43, SPAN("abcdef") },
  { SPAN("0000000000000002\r\n\r\n\r\n0\r\n\r\n"), DONE, 27, SPAN("\r\n") },
  { SPAN("3;x\r\nabc\r\n0\r\n\r\n"), DONE, 15, SPAN("abc") },
  { SPAN("3;x=\"y z\";\tq\xff\r\nabc\r\n0;last\r\n\r\n"), DONE, 30, SPAN("abc") },
  { SPAN("0\r\nA: b\r\n\r\n"), DONE, 11, SPAN("") },
  { SPAN("0\r\nA: b\r\nContent-Length: 5\r\nC:\r\n\r\nx"), DONE, 34, SPAN("") },
  { SPAN(""), MORE, 0, SPAN("") },
  { SPAN("5"), MORE, 1, SPAN("") },
  { SPAN("5\r\nhel"), MORE, 6, SPAN("hel") },
  { SPAN("5\r\nhello"), MORE, 8, SPAN("hello") },
  { SPAN("5\r\nhello\r\n"), MORE, 10, SPAN("hello") },
  { SPAN("5\r\nhello\r\n0\r\n"), MORE, 13, SPAN("hello") },
  { SPAN("5\r\nhello\r\n0\r\nA: b\r\n"), MORE, 19, SPAN("hello") },
  { SPAN("7fffffffffffffff\r\nab"), MORE, 20, SPAN("ab") },

  { SPAN("\r\n"), BAD, 0, SPAN("") },                               /* no size */
  { SPAN(";x\r\n"), BAD, 0, SPAN("") },
  { SPAN("+5\r\nhello\r\n"), BAD, 0, SPAN("") },
  { SPAN("-5\r\nhello\r\n"), BAD, 0, SPAN("") },
  { SPAN("0x5\r\nhello\r\n"), BAD, 1, SPAN("") },
  { SPAN("g\r\n"), BAD, 0, SPAN("") },
  { SPAN("5g\r\n"), BAD, 1, SPAN("") },
  { SPAN("5_0\r\n"), BAD, 1, SPAN("") },
  { SPAN(" 5\r\nhello\r\n"), BAD, 0, SPAN("") },
  { SPAN("\t5\r\nhello\r\n"), BAD, 0, SPAN("") },
  { SPAN("5 \r\nhello\r\n"), BAD, 1, SPAN("") },
  { SPAN("5\t\r\nhello\r\n"), BAD, 1, SPAN("") },
  { SPAN("5 ;x\r\nhello\r\n"), BAD, 1, SPAN("") },
  { SPAN("5\nhello\r\n"), BAD, 1, SPAN("") },                       /* bare LF and CR */
  { SPAN("5\r\r\nhello\r\n"), BAD, 2, SPAN("") },
  { SPAN("5\rhello\r\n"), BAD, 2, SPAN("") },
  { SPAN("5;x\nhello\r\n"), BAD, 3, SPAN("") },
  { SPAN("5;x\ry\r\nhello\r\n"), BAD, 4, SPAN("") },
  { SPAN("5;x\0y\r\nhello\r\n"), BAD, 3, SPAN("") },
  { SPAN("5;x\x7f\r\nhello\r\n"), BAD, 3, SPAN("") },
  { SPAN("5\r\nhello0\r\n\r\n"), BAD, 8, SPAN("hello") },           /* CRLF behind the data */
  { SPAN("5\r\nhello\n0\r\n\r\n"), BAD, 8, SPAN("hello") },
  { SPAN("5\r\nhello\r0\r\n\r\n"), BAD, 9, SPAN("hello") },
  { SPAN("5\r\nhello\r\n\r\n0\r\n\r\n"), BAD, 10, SPAN("hello") },
  { SPAN("1\r\naXX1\r\nb\r\n0\r\n\r\n"), BAD, 4, SPAN("a") },       /* what follows would be a chunk again */
  { SPAN("1\r\na\rX1\r\nb\r\n0\r\n\r\n"), BAD, 5, SPAN("a") },
  { SPAN("1\r\naX\n1\r\nb\r\n0\r\n\r\n"), BAD, 4, SPAN("a") },
  { SPAN("1\r\na\r\n1X\nb\r\n0\r\n\r\n"), BAD, 7, SPAN("a") },
  { SPAN("1\r\na\r\n1\rXb\r\n0\r\n\r\n"), BAD, 8, SPAN("a") },
  { SPAN("5\r\nhello world\r\n"), BAD, 8, SPAN("hello") },
  { SPAN("00000000000000005\r\nhello\r\n"), BAD, 16, SPAN("") },    /* 17 digits */
  { SPAN("10000000000000000\r\n"), BAD, 16, SPAN("") },
  { SPAN("8000000000000000\r\n"), BAD, 16, SPAN("") },              /* over INT64_MAX */
  { SPAN("ffffffffffffffff\r\n"), BAD, 16, SPAN("") },
  { SPAN("0\r\n\n"), BAD, 3, SPAN("") },                            /* trailers */
  { SPAN("0\n\r\n"), BAD, 1, SPAN("") },
  { SPAN("0\r\n\r\r\n"), BAD, 4, SPAN("") },
  { SPAN("0\r\nGET / HTTP/1.1\r\n\r\n"), BAD, 6, SPAN("") },
  { SPAN("0\r\n: b\r\n\r\n"), BAD, 3, SPAN("") },
  { SPAN("0\r\nA : b\r\n\r\n"), BAD, 4, SPAN("") },
  { SPAN("0\r\nA: b\nC: d\r\n\r\n"), BAD, 7, SPAN("") },
  { SPAN("0\r\nA: b\rC: d\r\n\r\n"), BAD, 8, SPAN("") },
  { SPAN("0\r\nA: b\0\r\n\r\n"), BAD, 7, SPAN("") },
  { SPAN("0\r\nA: b\r\n c\r\n\r\n"), BAD, 9, SPAN("") },
  { SPAN("0\r\nA\r\n\r\n"), BAD, 4, SPAN("") },
};

static void chunked_bodies(void **state) {
  (void)state;
  struct http_head head = { .framing = HTTP_CHUNKED };
  for (size_t i = 0; i < sizeof chunked / sizeof *chunked; i++)
    every_split(chunked[i].text.p, &head, chunked[i].text, chunked[i].kind, chunked[i].used, chunked[i].data);
}

static void other_framings(void **state) {
  (void)state;
  struct span text = SPAN("0\r\n\r\nhello");
  struct http_head none = { .framing = HTTP_NO_BODY }, close = { .framing = HTTP_UNTIL_CLOSE };
  every_split("no body", &none, text, DONE, 0, SPAN(""));
  every_split("until close", &close, text, MORE, text.n, text);
  for (size_t n = 0; n <= text.n + 2; n++) {
    struct http_head length = { .framing = HTTP_LENGTH, .length = n };
    size_t have = n < text.n ? n : text.n;
    every_split("length", &length, text, n <= text.n ? DONE : MORE, have, span_of(text.p, have));
  }
}

static void may_end(void **state) {
  (void)state;
  struct http_body b;
  struct span out;
  struct http_head head = { .framing = HTTP_LENGTH, .length = 2 };
  http_body_init(&b, &head);
  assert_false(http_body_may_end(&b));
  http_body_feed(&b, SPAN("ab"), &out);
  assert_true(http_body_may_end(&b));
  head = (struct http_head){ .framing = HTTP_UNTIL_CLOSE };
  http_body_init(&b, &head);
  assert_true(http_body_may_end(&b));
  head = (struct http_head){ .framing = HTTP_NO_BODY };
  http_body_init(&b, &head);
  assert_true(http_body_may_end(&b));
  head = (struct http_head){ .framing = HTTP_CHUNKED };
  http_body_init(&b, &head);
  http_body_feed(&b, SPAN("0\r\n\r"), &out);
  assert_false(http_body_may_end(&b));
  http_body_feed(&b, SPAN("\n"), &out);
  assert_true(http_body_may_end(&b));
}

static enum step_kind fed_kind(struct buf *text, size_t step) {
  struct http_head head = { .framing = HTTP_CHUNKED };
  struct http_body b;
  struct span rest = buf_span(text), out;
  enum step_kind kind = STEP_MORE;
  http_body_init(&b, &head);
  while ((kind == STEP_MORE || kind == STEP_EVENT) && rest.n) {
    struct step s = http_body_feed(&b, span_of(rest.p, step < rest.n ? step : rest.n), &out);
    rest = span_from(rest, s.used);
    kind = s.kind;
  }
  buf_free(text);
  return kind;
}

/* One chunk a line: `size` bytes of extension over two chunks. */
static enum step_kind with_extensions(int size, size_t step) {
  struct buf b = { 0 };
  buf_printf(&b, "1;%0*d\r\na\r\n", size / 2 - 1, 0);
  buf_printf(&b, "0;%0*d\r\n\r\n", size - size / 2 - 1, 0);
  return fed_kind(&b, step);
}

static enum step_kind with_trailers(int size, size_t step) {
  struct buf b = { 0 };
  buf_printf(&b, "1;%0*d\r\na\r\n0\r\n", 4000, 0);                  /* extensions do not count as trailers */
  buf_printf(&b, "A: %0*d\r\n", size / 2 - 5, 0);
  buf_printf(&b, "B: %0*d\r\n\r\n", size - size / 2 - 5, 0);
  return fed_kind(&b, step);
}

static void overhead_is_bounded(void **state) {
  (void)state;
  size_t steps[] = { 1, 7, 100000 };
  for (int i = 0; i < 3; i++) {
    assert_int_equal(with_extensions(4096, steps[i]), STEP_DONE);
    assert_int_equal(with_extensions(4097, steps[i]), STEP_BAD);
    assert_int_equal(with_trailers(8192, steps[i]), STEP_DONE);
    assert_int_equal(with_trailers(8193, steps[i]), STEP_BAD);
  }
}

static void writes_what_it_reads(void **state) {
  (void)state;
  char data[300];
  for (size_t i = 0; i < sizeof data; i++) data[i] = (char)i;
  struct http_head head = { .framing = HTTP_CHUNKED };
  struct buf b = { 0 };
  for (size_t n = 0, at = 0; at < sizeof data; n = n * 2 + 1) {
    size_t have = n < sizeof data - at ? n : sizeof data - at;
    http_write_chunk(&b, span_of(data + at, have));
    at += have;
  }
  http_write_last_chunk(&b);
  for (size_t a = 0; a <= buf_size(&b); a++) {
    struct outcome o = feed(&head, buf_span(&b), a, a);
    outcome_check("written", &o, STEP_DONE, buf_size(&b), span_of(data, sizeof data));
  }
  buf_free(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(chunked_bodies), cmocka_unit_test(other_framings), cmocka_unit_test(may_end),
    cmocka_unit_test(overhead_is_bounded), cmocka_unit_test(writes_what_it_reads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
