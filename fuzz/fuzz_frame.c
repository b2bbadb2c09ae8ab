/* Messages of AWS event streams. The bytes as they are, whole and under splits that they choose themselves: the same messages, nothing
   read beyond a window. Byte soup hardly ever has a right checksum, so the bytes are made into messages too: those come out as
   they went in, and with one byte changed they do not. */
#include "../tests/frames.h"
#include "weir/frame.h"
#include "weir/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* How often the headers can be taken off, and whether nothing is left. */
static bool walk(struct span headers) {
  const char *end = headers.p + headers.n;
  struct frame_header h;
  size_t left = headers.n;
  while (frame_header_next(&headers, &h)) {
    require(headers.n < left && h.name.n && h.value.p + h.value.n <= end && headers.p + headers.n == end);
    left = headers.n;
  }
  return !headers.n;
}

/* seed 0: one window. Gives the hash of all that was read. */
static uint64_t feed(struct span s, uint64_t random, bool *bad) {
  struct frame_reader r = { 0 };
  uint64_t all = 1;
  for (size_t at = 0, end = random ? 0 : s.n;;) {
    struct aws_frame f;
    char *exact = mem_alloc(end - at + 1);
    if (end > at) memcpy(exact, s.p + at, end - at);
    struct step did = frame_feed(&r, span_of(exact, end - at), &f);
    if (did.kind == STEP_EVENT) {
      require(did.used <= end - at && f.raw.p == exact && f.raw.n == did.used && f.headers.n + f.payload.n + FRAME_LEAST == did.used && walk(f.headers));
      all = span_hash(f.headers, all) ^ span_hash(f.payload, all + 1);
      (void)frame_string(&f, SPAN(":event-type"));
    }
    mem_free(exact);
    at += did.used;
    *bad = did.kind == STEP_BAD;
    if (did.kind == STEP_EVENT) continue;
    require(!did.used);
    if (*bad || end == s.n) return all;
    random = random * 6364136223846793005u + 1442695040888963407u;
    size_t step = 1 + (random >> 33) % (random >> 62 ? 4 : 40);
    end = s.n - end < step ? s.n : end + step;
  }
}

static void same_under_splits(struct span s) {
  bool bad, other;
  uint64_t want = feed(s, 0, &bad);
  for (uint64_t seed = 1; seed < 4; seed++) require(feed(s, span_hash(s, seed) | 1, &other) == want && other == bad);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  struct span s = span_of((const char *)data, n);
  struct buf b = { 0 };
  struct frame_reader r = { 0 };
  struct aws_frame f;
  same_under_splits(s);
  if (n < 3) return 0;
  size_t cut = data[0] < n - 3 ? data[0] : n - 3;
  struct span headers = span_of(s.p + 3, cut), payload = span_from(s, 3 + cut);
  add_message(&b, headers, payload);
  struct step did = frame_feed(&r, buf_span(&b), &f);
  require(did.kind == (walk(headers) ? did.kind : STEP_BAD));
  if (did.kind == STEP_EVENT) require(span_eq(f.headers, headers) && span_eq(f.payload, payload) && did.used == buf_size(&b));
  add_message(&b, SPAN(""), headers);
  same_under_splits(buf_span(&b));
  if (data[2]) {
    struct frame_reader again = { 0 };
    b.p[b.at + data[1] * 31u % (FRAME_LEAST + n - 3)] ^= (char)data[2];
    require(frame_feed(&again, buf_span(&b), &f).kind == STEP_BAD);
  }
  buf_free(&b);
  return 0;
}
