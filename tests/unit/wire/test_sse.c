/* Event streams, each under every split in two and every size of pieces. What is expected comes from
   a reader written plainly after the standard's own words, a byte at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "test_json_fixtures.h"
#include "weir/sse.h"

enum { MOST_EVENTS = 256 };
struct seen {
  struct arena arena;
  struct span name[MOST_EVENTS], data[MOST_EVENTS];
  unsigned lines[MOST_EVENTS];
  size_t count, used;
};

static void seen_add(struct seen *to, struct span name, struct span data, unsigned lines) {
  if (!lines && !name.n) return;                  /* comments, ids and empty lines: may fall differently */
  assert_true(to->count < MOST_EVENTS);
  to->name[to->count] = arena_copy(&to->arena, name);
  to->data[to->count] = arena_copy(&to->arena, data);
  to->lines[to->count++] = lines;
}

static void plain_line(struct span line, struct span *name, struct buf *data, unsigned *lines) {
  struct span field, value = span_cut(line, ':', &field);
  if (value.n && value.p[0] == ' ') value = span_from(value, 1);
  if (span_eq(field, SPAN("event"))) *name = value;
  if (!span_eq(field, SPAN("data"))) return;
  if ((*lines)++) buf_byte(data, '\n');
  buf_add(data, value);
}

static void plain_read(struct span s, struct seen *to) {
  struct span name = { NULL, 0 };
  struct buf data = { 0 };
  unsigned lines = 0;
  size_t start = span_starts(s, SPAN("\xEF\xBB\xBF")) ? 3 : 0;
  for (size_t i = start; i < s.n; i++) {
    if (s.p[i] != '\r' && s.p[i] != '\n') continue;
    struct span line = span_of(s.p + start, i - start);
    if (s.p[i] == '\r' && i + 1 < s.n && s.p[i + 1] == '\n') i++;
    start = i + 1;
    if (line.n) {
      plain_line(line, &name, &data, &lines);
      continue;
    }
    seen_add(to, name, buf_span(&data), lines);
    to->used = start;
    buf_clear(&data);
    name.n = lines = 0;
  }
  buf_free(&data);
}

/* Feeds the stream so that the window ends at the places `next` gives; each window is memory of its own. */
static void feed(struct span s, size_t first, size_t step, struct seen *to) {
  struct sse sse = { 0 };
  struct sse_event e;
  size_t at = 0, end = first < s.n ? first : s.n;
  for (;;) {
    char *exact = mem_alloc(end - at);
    if (end > at) memcpy(exact, s.p + at, end - at);
    struct span window = span_of(exact, end - at);
    struct step did = sse_feed(&sse, window, &e);
    if (did.kind == STEP_EVENT) {
      assert_true(did.used > 0 && did.used <= window.n);
      assert_ptr_equal(e.raw.p, window.p);
      assert_int_equal(e.raw.n, did.used);
      struct span data = sse_data(&e, &to->arena);
      if (e.data_lines == 1) assert_ptr_equal(data.p, e.data.p);
      seen_add(to, e.name, data, e.data_lines);
    }
    mem_free(exact);
    at += did.used;
    if (did.kind == STEP_EVENT) continue;
    assert_int_equal(did.kind, STEP_MORE);
    assert_int_equal(did.used, 0);
    if (end == s.n) break;
    end = s.n - end < step ? s.n : end + step;
  }
  to->used = at;
}

static void same(struct span s, const struct seen *a, const struct seen *b) {
  if (a->count != b->count) fail_msg("%zu events, want %zu: %.*s", b->count, a->count, SPAN_FMT(s));
  for (size_t i = 0; i < a->count; i++)
    if (a->lines[i] != b->lines[i] || !span_eq(a->name[i], b->name[i]) || !span_eq(a->data[i], b->data[i]))
      fail_msg("event %zu is (%.*s)(%.*s)", i, SPAN_FMT(b->name[i]), SPAN_FMT(b->data[i]));
  if (a->used != b->used) fail_msg("%zu used, want %zu: %.*s", b->used, a->used, SPAN_FMT(s));
}

/* Long streams are not cut everywhere: at about `most` places, and pieces of about as many sizes. */
static size_t under_splits(struct span s, size_t most) {
  struct seen *want = mem_zero(sizeof *want), *got = mem_zero(sizeof *got);
  size_t count;
  plain_read(s, want);
  for (size_t n = 0; n <= 2 * s.n; n += 1 + s.n / most) {
    got->count = got->used = 0;
    if (n <= s.n) feed(s, n, s.n, got);
    else feed(s, n - s.n, n - s.n, got);
    same(s, want, got);
    arena_end(&got->arena);
  }
  count = want->count;
  arena_end(&want->arena);
  mem_free(want);
  mem_free(got);
  return count;
}

static void streams(void **state) {
  static const struct { const char *text; size_t events; } cases[] = {
    { "", 0 }, { "\n", 0 }, { "data: a\n\n", 1 }, { "data:a\n\n", 1 }, { "data:  a\n\n", 1 }, { "data\n\n", 1 },
    { "data:\n\n", 1 }, { "data: \n\n", 1 }, { "data:\ta\n\n", 1 },
    { "data: a\r\n\r\n", 1 }, { "data: a\r\r", 1 }, { "data: a\r\n\n", 1 }, { "data: a\n\r\n", 1 },
    { "data: a\r\n\r", 1 }, { "data: a\n\r", 1 }, { "data: a\r\n", 0 }, { "data: a\n", 0 }, { "data: a", 0 },
    { "\xEF\xBB\xBF" "data: a\n\n", 1 }, { "\xEF\xBB\xBF\xEF\xBB\xBF" "data: a\n\n", 0 },
    { "data: a\n\n\xEF\xBB\xBF" "data: b\n\n", 1 }, { "\xEF\xBB", 0 }, { "\xEF\ndata: a\n\n", 1 },
    { "\xEF\xBB\rdata: a\n\n", 1 }, { "\xEF\xBB" "data: a\n\n", 0 },
    { "\n\xEF\xBB\xBF" "data: a\n\n", 0 },
    { "\xEF\xBB\xBF\n\ndata: a\n\n", 1 }, { "\xEF\xBB\xBF\r\n", 0 },
    { "event: x\ndata: a\n\n", 1 }, { "data: a\nevent: x\n\n", 1 }, { "event: x\nevent:y\ndata: a\n\n", 1 },
    { "event: x\nevent\ndata: a\n\n", 1 }, { "event: x\n\n", 1 }, { "event:\n\n", 0 },
    { "data: a\ndata: b\n\n", 1 }, { "data\ndata\n\n", 1 }, { "data: a\r\ndata: b\rdata: c\n\n", 1 },
    { "data: a\nid: 7\n: note\ndata: b\nretry: 1\ndata\n\ndata: c\n\n", 2 },
    { ": note\n\n", 0 }, { ":\n\n", 0 }, { ": note\ndata: a\n\n", 1 }, { "data: a\n: data: b\n\n", 1 },
    { "id: 1\nretry: 2\nother: 3\n\n", 0 },
    { "Data: a\n\n", 0 }, { " data: a\n\n", 0 }, { "data : a\n\n", 0 }, { "dataa: a\n\n", 0 }, { "dat: a\n\n", 0 },
    { "events: a\n\n", 0 }, { "data: a:b: c\n\n", 1 },
    { "data: a\n\ndata: b\n\ndata: c\n\n", 3 }, { "data: a\r\rdata: b\r\rdata: c\r\r", 3 },
    { "data: a\r\n\r\ndata: b\r\n\r\n", 2 }, { "data: a\n\n\n\n\ndata: b\n\n", 2 }, { "\r\r\n\n\r\n\rdata: b\n\r", 1 },
    { "data: {\"a\":\"\xF0\x9F\x98\x80\"}\n\ndata: [DONE]\n\n", 2 },
    { "id:1\nevent:result\n:HTTP_STATUS/200\ndata:{\"output\":{}}\n\n", 1 },
    { "data: sixteen bytes and more, so that steps of sixteen find it\n"
      "data: and here once again, longer than one step\r\n\r\n"
      "event: response.output_text.delta\r\ndata: 0123456789abcdef\r\n\r\n", 2 },
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) assert_int_equal(under_splits(span_cstr(cases[i].text),
    1000), cases[i].events);
  assert_int_equal(under_splits(SPAN("data: a\0b\nid: \0\n\n\0\n\n"), 100), 1);
}

/* All streams of up to six parts out of those that matter. */
static void every_short_stream(void **state) {
  static const char letters[4] = { '\r', '\n', 'd', ':' };
  (void)state;
  for (size_t n = 1; n <= 6; n++)
    for (unsigned code = 0; code < 1u << 2 * n; code++) {
      struct buf b = { 0 };
      for (size_t i = 0; i < n; i++) {
        char c = letters[code >> 2 * i & 3];
        buf_add(&b, c == 'd' ? SPAN("data") : span_of(&c, 1));
      }
      under_splits(buf_span(&b), 1000);
      buf_free(&b);
    }
}

static void one(const char *text, const char *name, const char *data, unsigned lines) {
  struct sse sse = { 0 };
  struct sse_event e;
  struct arena a = { 0 };
  struct step did = sse_feed(&sse, span_cstr(text), &e);
  assert_int_equal(did.kind, STEP_EVENT);
  assert_int_equal(did.used, strlen(text));
  assert_true(span_eq(e.raw, span_cstr(text)));
  assert_true(span_eq(e.name, span_cstr(name)));
  assert_int_equal(e.data_lines, lines);
  assert_true(span_eq(sse_data(&e, &a), span_cstr(data)));
  arena_end(&a);
}

static void events(void **state) {
  (void)state;
  one("data: a\n\n", "", "a", 1);
  one("\xEF\xBB\xBF" "event: x\r\ndata:a\r\n\r\n", "x", "a", 1);
  one("\xEF\xBB\xBF" "data:a\rdata: b\r\r", "", "a\nb", 2);
  one("data: a\nid: 1\ndata\ndata:  b\n\n", "", "a\n\n b", 3);
  one("event: x\nevent:\n: c\n\n", "", "", 0);
  one("\n", "", "", 0);
}

static void line_feed_of_its_own(void **state) {
  struct sse sse = { 0 };
  struct sse_event e;
  (void)state;
  assert_int_equal(sse_feed(&sse, SPAN("data: a\r\n\r"), &e).kind, STEP_EVENT);
  assert_int_equal(e.raw.n, 10);
  struct step did = sse_feed(&sse, SPAN("\ndata: b\r"), &e);
  assert_int_equal(did.kind, STEP_EVENT);
  assert_int_equal(did.used, 1);
  assert_int_equal(e.data_lines + e.name.n, 0);
  assert_int_equal(sse_feed(&sse, SPAN("data: b\r"), &e).kind, STEP_MORE);
  assert_int_equal(sse_feed(&sse, SPAN("data: b\r\n"), &e).kind, STEP_MORE);
  assert_int_equal(sse_feed(&sse, SPAN("data: b\r\n\r\n"), &e).used, 11);
}

/* An event may be SSE_LARGEST bytes long and no longer; the stream is broken then for good. */
static void largest(void **state) {
  char *p = mem_alloc(SSE_LARGEST + 16);
  struct sse_event e;
  (void)state;
  memset(p, 'a', SSE_LARGEST + 16);
  memcpy(p, "data:", 5);
  memcpy(p + SSE_LARGEST - 2, "\n\n", 2);
  struct sse whole = { 0 }, cut = { 0 };
  assert_int_equal(sse_feed(&whole, span_of(p, SSE_LARGEST + 16), &e).used, SSE_LARGEST);
  assert_int_equal(sse_feed(&cut, span_of(p, SSE_LARGEST - 1), &e).kind, STEP_MORE);
  assert_int_equal(sse_feed(&cut, span_of(p, SSE_LARGEST), &e).used, SSE_LARGEST);
  memcpy(p + SSE_LARGEST - 2, "a\n\n", 3);
  whole = cut = (struct sse){ 0 };
  assert_int_equal(sse_feed(&whole, span_of(p, SSE_LARGEST + 16), &e).kind, STEP_BAD);
  assert_int_equal(sse_feed(&cut, span_of(p, SSE_LARGEST), &e).kind, STEP_MORE);
  assert_int_equal(sse_feed(&cut, span_of(p, SSE_LARGEST + 1), &e).kind, STEP_BAD);
  assert_int_equal(sse_feed(&cut, SPAN("data: a\n\n"), &e).kind, STEP_BAD);
  assert_int_equal(sse_feed(&whole, SPAN(""), &e).kind, STEP_BAD);
  mem_free(p);
}

static bool done(const char *text) {
  struct sse sse = { 0 };
  struct sse_event e;
  assert_int_equal(sse_feed(&sse, span_cstr(text), &e).kind, STEP_EVENT);
  return sse_is_done(&e);
}

static void is_done(void **state) {
  (void)state;
  assert_true(done("data: [DONE]\n\n"));
  assert_true(done("data:[DONE]\n\n"));
  assert_true(done("event: x\r\ndata:   [DONE] \t\r\n\r\n"));
  assert_false(done("data: [DONE]x\n\n"));
  assert_false(done("data: \"[DONE]\"\n\n"));
  assert_false(done("data: [DONE\n\n"));
  assert_false(done("data: a\ndata: [DONE]\n\n"));
  assert_false(done(": [DONE]\n\n"));
  assert_false(done("event: [DONE]\n\n"));
}

static void wrote(struct buf *b, const char *want) {
  if (!span_eq(buf_span(b), span_cstr(want))) fail_msg("wrote %.*s", SPAN_FMT(buf_span(b)));
  buf_clear(b);
}

static void writes(void **state) {
  struct buf b = { 0 };
  (void)state;
  sse_write(&b, SPAN(""), SPAN("{}"));
  wrote(&b, "data: {}\n\n");
  sse_write(&b, SPAN("message_stop"), SPAN(" a"));
  wrote(&b, "event: message_stop\ndata:  a\n\n");
  sse_write(&b, (struct span){ NULL, 0 }, (struct span){ NULL, 0 });
  wrote(&b, "data: \n\n");
  sse_write(&b, SPAN("x\ndata: y"), SPAN("a\r\nb\n\rc\n"));
  wrote(&b, "event: x\ndata: a\ndata: b\ndata: \ndata: c\ndata: \n\n");
  sse_write_comment(&b, SPAN("ping"));
  wrote(&b, ": ping\n\n");
  sse_write_comment(&b, SPAN("a\ndata: b"));
  wrote(&b, ": a\n: data: b\n\n");
  sse_write_comment(&b, SPAN(""));
  wrote(&b, ": \n\n");
  buf_free(&b);
}

/* Recorded payloads in the framing of their provider. */
static void fixture_stream(const char *path, struct span text, struct span end, bool named) {
  struct buf b = { 0 };
  struct span line;
  size_t lines = 0;
  while (text.n && lines < 100) {
    text = span_cut(text, '\n', &line);
    if (!line.n) continue;
    if (named) buf_printf(&b, "event: %.*s%.*s", 20, line.p, SPAN_FMT(end));
    buf_add(&b, SPAN("data: "));
    buf_add(&b, line);
    buf_add(&b, end);
    buf_add(&b, end);
    lines++;
  }
  buf_add(&b, SPAN("data: [DONE]\n\n"));
  if (under_splits(buf_span(&b), 300) != lines + 1) fail_msg("%s", path);
  buf_free(&b);
}

static void fixture_framings(const char *path, struct span text) {
  fixture_stream(path, text, SPAN("\n"), false);
  fixture_stream(path, text, SPAN("\r\n"), true);
  fixture_stream(path, text, SPAN("\r"), false);
}

static void fixtures(void **state) {
  (void)state;
  fixtures_each(".chunks.txt", fixture_framings);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(streams), cmocka_unit_test(every_short_stream), cmocka_unit_test(events),
    cmocka_unit_test(line_feed_of_its_own), cmocka_unit_test(largest), cmocka_unit_test(is_done),
    cmocka_unit_test(writes), cmocka_unit_test(fixtures),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
