/* hear.h: what a client hears of a provider's stream in another dialect. */
#ifndef TEST_DIALECT_HEAR_H
#define TEST_DIALECT_HEAR_H

#include "stream.h"
#include "weir/translate.h"

struct heard {
  struct buf out;
  enum fault fault, provider;         /* found by the translation; of the provider's own error */
  const char *why;
  struct usage usage;
  bool bad;                           /* the framing is broken */
};

/* As the gateway does it: what is no error to the provider's own reader is translated, until something is. step: by how many bytes the
   window grows. */
static inline struct heard hear(enum operation provider, enum operation client, struct span stream, size_t step, const struct translate_names *names) {
  const struct operation_info *from = operation_info(provider);
  struct heard h = { .usage = USAGE_NONE };
  struct translation *t = translation_new(from, operation_info(client), names, 1 << 20);
  struct event_source source = { 0 };
  struct event_state state = { 0 };
  struct sse_event e;
  size_t at = 0, given = 0;
  while (given < stream.n && !h.fault && !h.provider && !h.bad) {
    struct arena scratch = { 0 };
    struct step s = { STEP_MORE, 0 };
    given = stream.n - given > step ? given + step : stream.n;
    for (; !h.fault && !h.provider && (s = event_next(from, &source, span_of(stream.p + at, given - at), &scratch, &e)).kind == STEP_EVENT; at += s.used) {
      struct event_facts f;
      event_read(from, &state, &e, &scratch, &f);
      if (f.has_usage) usage_merge(&h.usage, &f.usage);
      if (f.class == EVENT_ERROR) h.provider = f.fault ? f.fault : FAULT_OVERLOADED;
      else h.fault = translation_event(t, &e, &h.out, &h.why);
    }
    h.bad = s.kind == STEP_BAD;
    arena_end(&scratch);
  }
  bool within = from->dialect == DIALECT_CONVERSE && at < stream.n;      /* a frame */
  if (!h.fault && !h.provider && !h.bad && !within && !state.terminated && event_may_end(from, &state)) h.fault = translation_end(t, &h.out, &h.why);
  translation_free(t);
  return h;
}

/* Whatever came, the client's stream is in order; where it did not end an error event may end it. */
static inline struct seen legal(enum operation client, const struct heard *h) {
  struct seen s = stream_read(client, buf_span(&h->out));
  if (s.errors) fail_msg("%s: %.*s", s.message, SPAN_FMT(buf_span(&h->out)));
  if (s.ended_at < 0) {
    struct error e = { .status = 502, .fault = FAULT_PROTOCOL, .message = SPAN("cut") };
    struct buf end = { 0 };
    error_write_event(operation_info(client), &s.state, &e, &end);
    assert_true(buf_size(&end) > 0);
    buf_free(&end);
  }
  return s;
}

#endif
