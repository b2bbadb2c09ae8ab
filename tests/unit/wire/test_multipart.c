/* Finding a part of a form; every case also under every shorter window. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "weir/http.h"

#define FORM "--b\r\nContent-Disposition: form-data; "
#define PART(name) FORM "name=\"" name "\"\r\n\r\n"
#define FILE_PART FORM "name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n"

static const struct {
  const char *what;
  struct span body;
  enum step_kind kind;
  const char *value;
} cases[] = {
  { "the only part", SPAN(PART("model") "whisper-1\r\n--b--\r\n"), STEP_EVENT, "whisper-1" },
  { "no line end behind the form", SPAN(PART("model") "whisper-1\r\n--b--"), STEP_EVENT, "whisper-1" },
  { "the second part", SPAN(PART("x") "y\r\n" PART("model") "m\r\n--b--\r\n"), STEP_EVENT, "m" },
  { "another part behind it", SPAN(PART("model") "m\r\n" PART("x") "y\r\n--b--\r\n"), STEP_EVENT, "m" },
  { "a file before it", SPAN(FILE_PART "RIFF\0\r\n-\r\n--\n\r\n" PART("model") "m\r\n--b--\r\n"), STEP_EVENT, "m" },
  { "the first of two", SPAN(PART("model") "m\r\n" PART("model") "n\r\n--b--\r\n"), STEP_EVENT, "m" },
  { "an empty value", SPAN(PART("model") "\r\n--b--\r\n"), STEP_EVENT, "" },
  { "line ends in a value", SPAN(PART("model") "a\r\nb\n\r\r\n\r\n--b--\r\n"), STEP_EVENT, "a\r\nb\n\r\r\n" },
  { "dashes in a value", SPAN(PART("model") "--a\r\n--\r\n--b--\r\n"), STEP_EVENT, "--a\r\n--" },
  { "an empty line before", SPAN("\r\n" PART("model") "m\r\n--b--\r\n"), STEP_EVENT, "m" },
  { "a name without quotes", SPAN("--b\r\ncontent-disposition:form-data;name=model\r\n\r\nm\r\n--b--"), STEP_EVENT,
    "m" },
  { "other headers",
    SPAN("--b\r\nContent-Type: text/plain\r\nContent-Disposition: form-data; name=\"model\"\r\nX: y\r\n"
         "Content-Transfer-Encoding: 8bit\r\n\r\nm\r\n--b--"), STEP_EVENT, "m" },
  { "an encoded part that is not asked for", SPAN(FORM "name=\"x\"\r\n"
    "Content-Transfer-Encoding: base64\r\n\r\neA==\r\n" PART("model") "m\r\n--b--"), STEP_EVENT, "m" },

  { "no such part", SPAN(PART("x") "y\r\n--b--\r\n"), STEP_DONE, NULL },
  { "a name in another case", SPAN(PART("Model") "y\r\n--b--\r\n"), STEP_DONE, NULL },
  { "an empty form", SPAN("--b--\r\n"), STEP_DONE, NULL },

  { "nothing", { "", 0 }, STEP_MORE, NULL },
  { "a part that has not ended", SPAN(PART("model") "whisper-1\r\n--b"), STEP_MORE, NULL },
  { "headers that have not ended", SPAN(FORM "name=\"model\"\r\n"), STEP_MORE, NULL },
  { "one dash of the end", SPAN(PART("x") "y\r\n--b-"), STEP_MORE, NULL },

  { "a preamble", SPAN("hello\r\n" PART("model") "m\r\n--b--"), STEP_BAD, NULL },
  { "two empty lines before", SPAN("\r\n\r\n" PART("model") "m\r\n--b--"), STEP_BAD, NULL },
  { "another boundary", SPAN("--c\r\n"), STEP_BAD, NULL },
  { "a longer boundary", SPAN("--bb\r\n"), STEP_BAD, NULL },
  { "padding", SPAN("--b \r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b--"), STEP_BAD, NULL },
  { "LF behind the boundary", SPAN("--b\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b--"), STEP_BAD,
    NULL },
  { "LF in the headers", SPAN(FORM "name=\"model\"\n\r\nm\r\n--b--"), STEP_BAD, NULL },
  { "LF behind another header", SPAN("--b\r\nX: y\nContent-Disposition: form-data; name=x\r\n\r\nm\r\n--b--"),
    STEP_BAD, NULL },
  { "space in another header's name", SPAN(FORM "name=\"model\"\r\nX Y: z\r\n\r\nm\r\n--b--"), STEP_BAD, NULL },
  { "LF behind the headers", SPAN(FORM "name=\"model\"\r\n\nm\r\n--b--"), STEP_BAD, NULL },
  { "LF before a boundary", SPAN(PART("x") "y\n--b\r\n"), STEP_BAD, NULL },
  { "CR before a boundary", SPAN(PART("x") "y\r--b\r\n"), STEP_BAD, NULL },
  { "a boundary in a line", SPAN(PART("x") "y--b\r\n"), STEP_BAD, NULL },
  { "a boundary at once", SPAN(PART("x") "--b\r\n"), STEP_BAD, NULL },
  { "a boundary that goes on", SPAN(PART("model") "y\r\n--bc\r\n--b--"), STEP_BAD, NULL },
  { "padding behind the value", SPAN(PART("model") "y\r\n--b \r\n"), STEP_BAD, NULL },
  { "one dash", SPAN(PART("model") "y\r\n--b-\r\n"), STEP_BAD, NULL },
  { "no headers", SPAN("--b\r\n\r\nm\r\n--b--"), STEP_BAD, NULL },
  { "no disposition", SPAN("--b\r\nContent-Type: text/plain\r\n\r\nm\r\n--b--"), STEP_BAD, NULL },
  { "two dispositions", SPAN(FORM "name=\"x\"\r\n"
                             "Content-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b--"), STEP_BAD, NULL },
  { "another disposition", SPAN("--b\r\nContent-Disposition: attachment; name=\"model\"\r\n\r\nm\r\n--b--"), STEP_BAD,
    NULL },
  { "no name", SPAN("--b\r\nContent-Disposition: form-data\r\n\r\nm\r\n--b--"), STEP_BAD, NULL },
  { "two names", SPAN(FORM "name=x; name=model\r\n\r\nm\r\n--b--"), STEP_BAD, NULL },
  { "an extended name", SPAN(FORM "name=x; name*=utf-8''model\r\n\r\nm\r\n--b--"), STEP_BAD, NULL },
  { "an escape in a name", SPAN(FORM "name=\"mo\\del\"\r\n\r\nm\r\n--b--"), STEP_BAD, NULL },
  { "a file of that name", SPAN(FORM "name=\"model\"; filename=\"x\"\r\n\r\nm\r\n--b--"), STEP_BAD, NULL },
  { "a file of that name, twice",
    SPAN(FORM "name=\"model\"; filename=x; filename=y\r\n\r\nm\r\n--b--"), STEP_BAD, NULL },
  { "an extended file of that name",
    SPAN(FORM "name=\"model\"; filename*=utf-8''x\r\n\r\nm\r\n--b--"), STEP_BAD, NULL },
  { "an encoded value", SPAN(FORM "name=\"model\"\r\n"
                             "Content-Transfer-Encoding: base64\r\n\r\nbQ==\r\n--b--"), STEP_BAD, NULL },
  { "a folded header", SPAN("--b\r\nContent-Disposition: form-data;\r\n name=\"model\"\r\n\r\nm\r\n--b--"), STEP_BAD,
    NULL },
  { "space before a colon", SPAN("--b\r\nContent-Disposition : form-data; name=\"model\"\r\n\r\nm\r\n--b--"),
    STEP_BAD, NULL },
  { "no colon", SPAN("--b\r\nContent-Disposition\r\n\r\nm\r\n--b--"), STEP_BAD, NULL },
  { "a control in a header", SPAN(FORM "name=\"model\"; x=\"\x01\"\r\n\r\nm\r\n--b--"), STEP_BAD, NULL },
  { "NUL in a name", SPAN(FORM "name=\"model\0\"\r\n\r\nm\r\n--b--"), STEP_BAD, NULL },
};

/* In a window of exactly that size, so that a sanitizer sees any byte read behind it. */
static struct step find(struct span body, size_t n, struct span boundary, struct span *out) {
  static char *last;
  mem_free(last);
  last = mem_alloc(n);
  if (n) memcpy(last, body.p, n);
  return multipart_find(span_of(last, n), boundary, SPAN("model"), out);
}

static void whole_windows(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct span out = { NULL, 0 };
    struct step s = find(cases[i].body, cases[i].body.n, SPAN("b"), &out);
    if (s.kind != cases[i].kind) fail_msg("%s: %d, not %d", cases[i].what, s.kind, cases[i].kind);
    assert_true(s.used <= cases[i].body.n);
    if (s.kind == STEP_EVENT && !span_eq(out, span_cstr(cases[i].value))) fail_msg("%s: %.*s", cases[i].what,
      SPAN_FMT(out));
  }
}

/* A shorter window says MORE or what the whole one says. */
static void growing_windows(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    enum step_kind last = STEP_MORE;
    for (size_t n = 0; n <= cases[i].body.n; n++) {
      struct span out;
      struct step s = find(cases[i].body, n, SPAN("b"), &out);
      if (last != STEP_MORE && s.kind != last) fail_msg("%s at %zu: %d after %d", cases[i].what, n, s.kind, last);
      if (s.kind == STEP_EVENT && !span_eq(out, span_cstr(cases[i].value))) fail_msg("%s at %zu", cases[i].what, n);
      last = s.kind;
    }
    assert_int_equal(last, cases[i].kind);
  }
}

static void used_is_the_end_of_the_value(void **state) {
  (void)state;
  struct span body = SPAN("\r\n" PART("x") "y\r\n" PART("model") "whisper-1\r\n--b--\r\n"), out;
  struct step s = multipart_find(body, SPAN("b"), SPAN("model"), &out);
  assert_int_equal(s.kind, STEP_EVENT);
  assert_ptr_equal(body.p + s.used, out.p + out.n);
  assert_true(span_starts(span_from(body, s.used), SPAN("\r\n--b--")));
}

static enum step_kind with_boundary(struct span boundary) {
  struct buf b = { 0 };
  struct span out;
  buf_printf(&b, "--%.*s\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--%.*s--", SPAN_FMT(boundary),
    SPAN_FMT(boundary));
  enum step_kind kind = multipart_find(buf_span(&b), boundary, SPAN("model"), &out).kind;
  buf_free(&b);
  return kind;
}

static void boundaries(void **state) {
  (void)state;
  char text[71];
  memset(text, 'x', sizeof text);
  assert_int_equal(with_boundary(span_of(text, 70)), STEP_EVENT);
  assert_int_equal(with_boundary(span_of(text, 71)), STEP_BAD);
  assert_int_equal(with_boundary(SPAN("----WebKitFormBoundary7MA4YWxkTrZu0gW")), STEP_EVENT);
  assert_int_equal(with_boundary(SPAN("0aZ'()+_,-./:=? x")), STEP_EVENT);
  assert_int_equal(with_boundary(SPAN("")), STEP_BAD);
  assert_int_equal(with_boundary(SPAN("x ")), STEP_BAD);
  assert_int_equal(with_boundary(SPAN("a\r\nb")), STEP_BAD);
  assert_int_equal(with_boundary(SPAN("a\"b")), STEP_BAD);
  assert_int_equal(with_boundary(SPAN("a\xc3\xa9")), STEP_BAD);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(whole_windows), cmocka_unit_test(growing_windows),
    cmocka_unit_test(used_is_the_end_of_the_value), cmocka_unit_test(boundaries),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
