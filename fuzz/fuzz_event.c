/* fuzz_event.c: everything of a dialect that reads what a peer sent, over byte soup.
   Byte 0 picks the operation, byte 1 what the rest is (stream, answer, failure, request), byte 2 how
   a stream is split. A stream must give the same facts under any split; its pieces must lie inside
   the event, in order and apart from each other, since the relay splices them from left to right;
   and one that was in order must be legal once stop_write has closed it. */
#include "weir/dialect.h"
#include "weir/log.h"

static void pieces_check(const struct operation_info *o, const struct sse_event *e, const struct event_facts *f,
                         struct arena *scratch) {
  struct delta deltas[DELTA_MOST];
  struct span data = sse_data(e, scratch);
  struct json document;
  if (!json_read(data, &document, NULL)) return;
  size_t n = event_deltas(o, e->name, document, deltas), content = 0;
  const char *at = data.p;
  require(n <= DELTA_MOST);
  for (size_t i = 0; i < n; i++) {
    content += deltas[i].kind <= DELTA_TOOL;
    if (deltas[i].kind > DELTA_THINKING) continue;
    struct span text = deltas[i].text.text;
    require(deltas[i].text.type == JSON_STRING && text.n > 2);
    require(text.p >= at && text.p + text.n <= data.p + data.n);
    at = text.p + text.n;
  }
  if (f->class != EVENT_ERROR) require(content == f->deltas);
  if (f->class == EVENT_REAL) require(f->real);
}

/* A hash of what the stream's events are, and its state in *s. */
static uint64_t stream_facts(const struct operation_info *o, struct span stream, size_t step, struct event_state *s,
                             bool *errors) {
  struct sse sse = { 0 };
  struct sse_event e;
  uint64_t hash = 0;
  size_t at = 0;
  if (!stream.n) stream = SPAN("");                      /* what closes a stream may be nothing */
  for (size_t given = 0; given < stream.n || !given;) {
    given = stream.n - given > step ? given + step : stream.n;
    for (struct step r; (r = sse_feed(&sse, span_of(stream.p + at, given - at), &e)).kind == STEP_EVENT; at += r.used) {
      struct event_facts f;
      struct arena scratch = { 0 };
      event_read(o, s, &e, &scratch, &f);
      *errors |= f.class == EVENT_ERROR;
      if (e.data_lines) {
        uint64_t facts[] = { f.class,     f.real,   f.terminal,    f.fault,   f.finish.n,              f.code.n,
                             f.message.n, f.deltas, f.delta_bytes, f.model.n, (uint64_t)f.usage.output };
        hash = span_hash(span_of((const char *)facts, sizeof facts), hash);
        pieces_check(o, &e, &f, &scratch);
      }
      arena_end(&scratch);
    }
    if (!stream.n) break;
  }
  return hash;
}

/* An event on its way to a client whose every text, or every second one, a policy has changed: it stays JSON, the changes lie in order
   and apart, and what was in order can be closed in order. */
static void told_event_check(struct told *t, const struct sse_event *e, bool *known) {
  static unsigned turn;
  struct delta deltas[DELTA_MOST];
  struct arena a = { 0 };
  struct changes c = { .arena = &a };
  struct span data = sse_data(e, &a), at = data;
  struct json document;
  struct buf out = { 0 };
  int closed;
  if (json_read(data, &document, NULL)) {
    size_t n = told_deltas(t, e->name, document, deltas, &closed);
    require(n <= DELTA_MOST);
    for (size_t i = 0; i < n; i++)
      if (deltas[i].kind <= DELTA_THINKING && turn++ % 3) change_add(&c, deltas[i].text.text, SPAN("\"~\""));
    *known &= told_event(t, e->name, document, &c);
    for (size_t i = 0; i < c.count; i++) {
      require(c.of[i].from.p >= at.p && c.of[i].from.p + c.of[i].from.n <= data.p + data.n);
      buf_add(&out, span_of(at.p, (size_t)(c.of[i].from.p - at.p)));
      buf_add(&out, c.of[i].to);
      at = span_from(data, (size_t)(c.of[i].from.p + c.of[i].from.n - data.p));
    }
    buf_add(&out, at);
    require(json_read(buf_span(&out), &document, NULL));
  }
  buf_free(&out);
  arena_end(&a);
}

static void told_check(const struct operation_info *o, struct span stream, const struct event_state *s, size_t most) {
  struct told *t = told_new(o, most);
  struct sse sse = { 0 };
  struct sse_event e;
  struct event_state closed = *s;
  struct buf out = { 0 };
  bool known = true, errors = false;
  for (struct step r; (r = sse_feed(&sse, stream, &e)).kind == STEP_EVENT; stream = span_from(stream, r.used)) told_event_check(t, &e, &known);
  stop_write(o, s, t, SPAN("length"), SPAN("r"), SPAN("m"), 0, &out);
  stream_facts(o, buf_span(&out), SIZE_MAX, &closed, &errors);
  require(!errors && event_may_end(o, &closed));
  buf_free(&out);
  told_free(t);
}

static void stream_check(const struct operation_info *o, struct span stream, size_t step) {
  struct event_state whole = { 0 }, split = { 0 }, closed = { 0 };
  bool errors = false, split_errors = false, closed_errors = false;
  uint64_t a = stream_facts(o, stream, SIZE_MAX, &whole, &errors);
  uint64_t b = stream_facts(o, stream, step, &split, &split_errors);
  require(a == b && errors == split_errors);
  require(memcmp(&whole, &split, sizeof whole) == 0);
  if (errors || whole.terminated) return;
  told_check(o, stream, &whole, step % 2 ? 1 << 20 : 16 * step);
  struct buf out = { 0 };
  struct error e = { .fault = FAULT_TIMEOUT, .message = stream, .id = SPAN("r"), .hint = stream };
  stop_write(o, &whole, NULL, SPAN("length"), SPAN("r"), stream, 0, &out);
  closed = whole;
  stream_facts(o, buf_span(&out), SIZE_MAX, &closed, &closed_errors);
  require(!closed_errors && event_may_end(o, &closed) && closed.block_count == 0);
  buf_clear(&out);
  closed_errors = false;
  error_write_event(o, &whole, &e, &out);
  stream_facts(o, buf_span(&out), SIZE_MAX, &whole, &closed_errors);
  require(closed_errors && !event_may_end(o, &whole));
  buf_free(&out);
}

static void answer_check(const struct operation_info *o, struct span body) {
  struct answer_facts f;
  struct json document;
  struct buf text = { 0 };
  answer_read(o, body, &f);
  if (json_read(body, &document, NULL)) {
    answer_text(o, document, false, &text);
    answer_text(o, document, true, &text);
    if (f.fault == FAULT_INVALID) require(f.finish.n <= body.n);
  } else {
    require(f.fault == FAULT_INVALID);
  }
  require(!buf_size(&text) || span_utf8(buf_span(&text)));
  buf_free(&text);
}

static void failure_check(enum dialect d, struct span body, int status) {
  struct http_head head = { .count = 2 };
  struct failure f;
  head.headers[0] = (struct http_header){ SPAN("retry-after"), body };
  head.headers[1] = (struct http_header){ SPAN("date"), SPAN("Sun, 06 Nov 1994 08:49:37 GMT") };
  failure_read(d, status, &head, body, &f);
  require(f.fault > FAULT_NONE && f.fault < FAULT_COUNT);
  require(f.retry_after == -1 || (f.retry_after >= 0 && f.retry_after < 1e15));
  require(f.account == (f.fault == FAULT_AUTH || f.fault == FAULT_QUOTA));
  struct error e = { .status = status, .fault = f.fault, .message = f.message, .code = f.code, .id = SPAN("r") };
  struct buf out = { 0 };
  struct json document;
  error_write(d, &e, &out);
  require(json_read(buf_span(&out), &document, NULL));
  buf_free(&out);
}

static void request_check(const struct operation_info *o, struct span body) {
  static const char *const roles[] = { "", "system", "user", "assistant", "tool" };
  struct json_member members[64];
  struct request_facts f;
  struct buf text = { 0 };
  const char *why;
  size_t count;
  if (!json_read_object(body, members, 64, &count, NULL)) return;
  if (request_read(o, members, count, &f, &why)) require(f.max_tokens >= -1);
  for (size_t i = 0; i < 5; i++) request_text(o, members, count, span_cstr(roles[i]), &text);
  require(!buf_size(&text) || span_utf8(buf_span(&text)));
  request_member(o, members, count, SPAN("max_tokens"));
  buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n) {
  if (n < 3) return 0;
  const struct operation_info *o = operation_info(input[0] % OP_COUNT);
  struct span rest = span_of((const char *)input + 3, n - 3);
  log_set_level(LOG_OFF);
  switch (input[1] % 4) {
  case 0: if (o->streams && o->dialect != DIALECT_CONVERSE) stream_check(o, rest, input[2] + 1u); break;
  case 1: answer_check(o, rest); break;
  case 2: failure_check(o->dialect, rest, 300 + input[2]); break;
  case 3: request_check(o, rest); break;
  }
  return 0;
}
