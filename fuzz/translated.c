#include "translated.h"
#include "weir/log.h"

void answer_translated(const struct operation_info *from, const struct operation_info *to, struct span body, const struct translate_names *names) {
  struct answer_facts f;
  struct buf out = { 0 };
  const char *why = NULL;
  answer_read(from, body, &f);
  if (f.fault != FAULT_INVALID) {
    bool good = translate_answer(from, to, body, names, &out, &why);
    require(good == !why);
    if (good) answer_read(to, buf_span(&out), &f);
    require(!good || f.fault != FAULT_INVALID);
  }
  buf_free(&out);
}

static void translate(const struct operation_info *from, const struct operation_info *to, struct span bytes, size_t step, const struct translate_names *names, struct buf *out) {
  struct translation *t = translation_new(from, to, names, 1 << 16);
  struct event_source source = { 0 };
  struct event_state state = { 0 };
  struct sse_event e;
  const char *why;
  bool over = false;
  for (size_t at = 0, given = 0; given < bytes.n && !over;) {
    struct arena scratch = { 0 };
    given = bytes.n - given > step ? given + step : bytes.n;
    for (struct step s; !over && (s = event_next(from, &source, span_of(bytes.p + at, given - at), &scratch, &e)).kind != STEP_MORE; at += s.used) {
      struct event_facts f;
      require(s.kind == STEP_EVENT);                     /* no framing here is wrong, and no event too large */
      event_read(from, &state, &e, &scratch, &f);
      over = f.class == EVENT_ERROR || translation_event(t, &e, out, &why) != FAULT_NONE;
    }
    arena_end(&scratch);
  }
  if (!over && !state.terminated && event_may_end(from, &state)) translation_end(t, out, &why);
  translation_free(t);
}

static void in_order(const struct operation_info *o, struct span bytes) {
  struct event_state state = { 0 };
  struct sse sse = { 0 };
  struct sse_event e;
  for (struct step s; (s = sse_feed(&sse, bytes, &e)).kind == STEP_EVENT; bytes = span_from(bytes, s.used)) {
    struct event_facts f;
    struct arena scratch = { 0 };
    event_read(o, &state, &e, &scratch, &f);
    require(f.class != EVENT_ERROR);
    arena_end(&scratch);
  }
  require(!bytes.n);
}

void stream_translated(const struct operation_info *from, const struct operation_info *to, struct span bytes, size_t step, const struct translate_names *names) {
  struct buf whole = { 0 }, pieces = { 0 };
  translate(from, to, bytes, SIZE_MAX, names, &whole);
  translate(from, to, bytes, step, names, &pieces);
  require(span_eq(buf_span(&whole), buf_span(&pieces)));
  in_order(to, buf_span(&whole));
  buf_free(&whole), buf_free(&pieces);
}
