/* write.c: answers, endings, heartbeats and model lists that weir writes itself. */
#include "gemini.h"
#include "write_impl.h"
#include <time.h>

void field_id(struct json_writer *w, const char *prefix, struct span id) {
  struct buf b = { 0 };
  struct span start = span_cstr(prefix);
  if (!span_starts(id, start)) buf_add(&b, start);
  buf_add(&b, id);
  field_str(w, SPAN("id"), buf_span(&b));
  buf_free(&b);
}

void answer_write(const struct operation_info *o, bool stream, struct span id, struct span model, struct span text,
                  int64_t created, struct buf *out) {
  struct saying s = { o, id, model, text, created, NULL };
  bool streamed = stream && o->streams;
  if (o->dialect == DIALECT_GEMINI) { (streamed ? gemini_stream : gemini_whole)(&s, out); return; }
  switch (o->operation) {
  case OP_EMBEDDINGS: embeddings_whole(&s, out); break;
  case OP_RESPONSES: (streamed ? responses_stream : responses_whole)(&s, out); break;
  case OP_MESSAGES: case OP_COUNT_TOKENS: (streamed ? messages_stream : messages_whole)(&s, out); break;
  case OP_INPUT_TOKENS: buf_add(out, SPAN("{\"object\":\"response.input_tokens\",\"input_tokens\":0}")); break;
  default: (streamed ? chat_stream : chat_whole)(&s, out); break;
  }
}

void stop_write(const struct operation_info *o, const struct event_state *s, const struct told *t, struct span as,
                struct span id, struct span model, int64_t created, struct buf *out) {
  struct saying saying = { o, id, model, { NULL, 0 }, created, t };
  bool filter = span_eq(as, SPAN("filter"));
  if (s->terminated) return;
  switch (o->dialect) {
  case DIALECT_RESPONSES: responses_stop(&saying, s, filter, out); break;
  case DIALECT_GEMINI:    gemini_stop(&saying, s, filter, out); break;
  case DIALECT_MESSAGES:  messages_stop(&saying, s, filter, out); break;
  default:                chat_stop(&saying, s, filter, out); break;
  }
}

void heartbeat_write(enum dialect d, struct buf *out) {
  if (d == DIALECT_MESSAGES) sse_write(out, SPAN("ping"), SPAN("{\"type\":\"ping\"}"));
  else if (d != DIALECT_GEMINI) buf_add(out, SPAN(": ping\n\n"));       /* its clients read no comments */
}

static void model_write(struct json_writer *w, enum dialect d, struct span name, int64_t created) {
  if (d == DIALECT_GEMINI) { gemini_model(w, name); return; }
  json_begin(w, '{');
  if (d == DIALECT_MESSAGES) {
    char when[32] = "1970-01-01T00:00:00Z";
    time_t t = (time_t)created;
    struct tm tm;
    if (gmtime_r(&t, &tm)) strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
    field_str(w, SPAN("type"), SPAN("model"));
    field_str(w, SPAN("id"), name);
    field_str(w, SPAN("display_name"), name);
    field_str(w, SPAN("created_at"), span_cstr(when));
    field_str(w, SPAN("lifecycle"), SPAN("active"));
  } else {
    field_str(w, SPAN("id"), name);
    field_str(w, SPAN("object"), SPAN("model"));
    field_int(w, SPAN("created"), created);
    field_str(w, SPAN("owned_by"), SPAN("weir"));
  }
  json_end(w, '}');
}

void models_write(enum dialect d, const struct span *names, size_t count, int64_t created, struct buf *out) {
  struct json_writer w = { .out = out };
  json_begin(&w, '{');
  if (d != DIALECT_MESSAGES && d != DIALECT_GEMINI) field_str(&w, SPAN("object"), SPAN("list"));
  field_array(&w, d == DIALECT_GEMINI ? SPAN("models") : SPAN("data"));
  for (size_t i = 0; i < count; i++) model_write(&w, d, names[i], created);
  json_end(&w, ']');
  if (d == DIALECT_MESSAGES) {
    field_bool(&w, SPAN("has_more"), false);
    if (count) field_str(&w, SPAN("first_id"), names[0]), field_str(&w, SPAN("last_id"), names[count - 1]);
    else field_null(&w, SPAN("first_id")), field_null(&w, SPAN("last_id"));
  }
  json_end(&w, '}');
}
