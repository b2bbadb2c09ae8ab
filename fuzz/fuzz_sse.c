/* An event stream whole and under splits that its own bytes choose: the same events, every byte in one
   raw span, nothing read beyond a window; and what was read, written and read again. */
#include <stdio.h>
#include <stdlib.h>
#include "weir/log.h"
#include "weir/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Everything the stream said, one event after the other, and how many bytes it used. */
struct said {
  struct buf text;
  size_t used;
};

static void say(struct said *s, struct span name, struct span joined, unsigned lines) {
  if (!lines && !name.n) return;                  /* empty lines may fall differently: a CR, then its LF */
  buf_printf(&s->text, "%zu %zu %u ", name.n, joined.n, lines);
  buf_add(&s->text, name);
  buf_add(&s->text, joined);
}

/* The standard's own words, a byte at a time. */
static void plain(struct span s, struct said *to) {
  struct span name = { NULL, 0 };
  struct buf joined = { 0 };
  unsigned lines = 0;
  size_t start = span_starts(s, SPAN("\xEF\xBB\xBF")) ? 3 : 0;
  for (size_t i = start; i < s.n; i++) {
    if (s.p[i] != '\r' && s.p[i] != '\n') continue;
    struct span field, value = span_cut(span_of(s.p + start, i - start), ':', &field);
    bool blank = i == start;
    if (s.p[i] == '\r' && i + 1 < s.n && s.p[i + 1] == '\n') i++;
    start = i + 1;
    if (value.n && value.p[0] == ' ') value = span_from(value, 1);
    if (span_eq(field, SPAN("event"))) name = value;
    if (span_eq(field, SPAN("data"))) {
      if (lines++) buf_byte(&joined, '\n');
      buf_add(&joined, value);
    }
    if (!blank) continue;
    say(to, name, buf_span(&joined), lines);
    to->used = start;
    buf_clear(&joined);
    name.n = lines = 0;
  }
  buf_free(&joined);
}

static void again(struct span name, struct span joined) {
  struct buf b = { 0 };
  struct sse sse = { 0 };
  struct sse_event e;
  struct arena a = { 0 };
  sse_write(&b, name, joined);
  struct step did = sse_feed(&sse, buf_span(&b), &e);
  require(did.kind == STEP_EVENT && did.used == buf_size(&b));
  require(span_eq(e.name, name) && span_eq(sse_data(&e, &a), joined));
  buf_free(&b);
  arena_end(&a);
}

/* Windows end where `random` says, and are memory of their own; seed 0: one window. */
static void split(struct span s, uint64_t random, struct said *to) {
  struct sse sse = { 0 };
  struct sse_event e;
  for (size_t at = 0, end = random ? 0 : s.n;;) {
    char *exact = mem_alloc(end - at);
    if (end > at) memcpy(exact, s.p + at, end - at);
    struct step did = sse_feed(&sse, span_of(exact, end - at), &e);
    require(did.kind == STEP_EVENT || did.kind == STEP_MORE);
    require(did.kind == STEP_EVENT ? did.used && did.used <= end - at : !did.used);
    if (did.kind == STEP_EVENT) {
      struct arena a = { 0 };
      require(e.raw.p == exact && e.raw.n == did.used);
      struct span joined = sse_data(&e, &a);
      require(e.data_lines > 1 || joined.p == e.data.p);
      say(to, e.name, joined, e.data_lines);
      if (e.data_lines && !memchr(joined.n ? joined.p : "", '\r', joined.n)) again(e.name, joined);
      (void)sse_is_done(&e);
      arena_end(&a);
    }
    mem_free(exact);
    at += did.used;
    to->used = at;
    if (did.kind == STEP_EVENT) continue;
    if (end == s.n) return;
    random = random * 6364136223846793005u + 1442695040888963407u;
    size_t step = 1 + (random >> 33) % (random >> 62 ? 4 : 40);
    end = s.n - end < step ? s.n : end + step;
  }
}

static void written(struct span name, struct span text) {
  struct buf b = { 0 };
  struct sse sse = { 0 };
  struct sse_event e;
  sse_write(&b, name, text);
  size_t first = buf_size(&b);
  sse_write_comment(&b, text);
  require(sse_feed(&sse, buf_span(&b), &e).used == first && e.data_lines > 0);
  struct step did = sse_feed(&sse, span_from(buf_span(&b), first), &e);
  require(did.used == buf_size(&b) - first && !e.data_lines && !e.name.n);
  buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  struct span s = span_of((const char *)data, n);
  struct said want = { 0 }, got = { 0 };
  plain(s, &want);
  for (uint64_t seed = 0; seed < 4; seed++) {
    got.used = 0;
    buf_clear(&got.text);
    split(s, seed ? span_hash(s, seed) | 1 : 0, &got);
    require(got.used == want.used && span_eq(buf_span(&got.text), buf_span(&want.text)));
  }
  written(span_of(s.p, n / 4), span_from(s, n / 4));
  buf_free(&want.text);
  buf_free(&got.text);
  return 0;
}
