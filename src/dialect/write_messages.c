/* write_messages.c: what weir itself says in the messages dialect. */
#include "write_impl.h"

/* A message; before its end the content is empty and there is no stop reason. */
static void message_write(struct json_writer *w, const struct saying *s, bool whole) {
  json_begin(w, '{');
  field_id(w, "msg_", s->id);
  field_str(w, SPAN("type"), SPAN("message"));
  field_str(w, SPAN("role"), SPAN("assistant"));
  field_str(w, SPAN("model"), s->model);
  field_array(w, SPAN("content"));
  if (whole) {
    json_begin(w, '{');
    field_str(w, SPAN("type"), SPAN("text"));
    field_str(w, SPAN("text"), s->text);
    field_null(w, SPAN("citations"));
    json_end(w, '}');
  }
  json_end(w, ']');
  if (whole) field_str(w, SPAN("stop_reason"), SPAN("end_turn"));
  else field_null(w, SPAN("stop_reason"));
  field_null(w, SPAN("stop_sequence"));
  field_raw(w, SPAN("usage"), SPAN("{\"input_tokens\":0,\"cache_creation_input_tokens\":0,"
                                   "\"cache_read_input_tokens\":0,\"output_tokens\":0}"));
  json_end(w, '}');
}

static struct json_writer event_start(struct buf *out, struct span type) {
  struct json_writer w = { .out = out };
  event_begin(out, type);
  json_begin(&w, '{');
  field_str(&w, SPAN("type"), type);
  return w;
}
static void event_stop(struct json_writer *w) {
  json_end(w, '}');
  event_end(w->out);
}

static void start_write(const struct saying *s, struct buf *out) {
  struct json_writer w = event_start(out, SPAN("message_start"));
  json_key(&w, SPAN("message"));
  message_write(&w, s, false);
  event_stop(&w);
}

static void block_stop_write(struct buf *out, int index) {
  struct json_writer w = event_start(out, SPAN("content_block_stop"));
  field_int(&w, SPAN("index"), index);
  event_stop(&w);
}

static void end_write(struct buf *out, struct span reason, int64_t output_tokens) {
  struct json_writer w = event_start(out, SPAN("message_delta"));
  field_object(&w, SPAN("delta"));
  field_str(&w, SPAN("stop_reason"), reason);
  field_null(&w, SPAN("stop_sequence"));
  json_end(&w, '}');
  field_object(&w, SPAN("usage"));
  field_int(&w, SPAN("output_tokens"), output_tokens);
  json_end(&w, '}');
  event_stop(&w);
}

static void stop_event(struct buf *out) {
  struct json_writer w = event_start(out, SPAN("message_stop"));
  event_stop(&w);
}

void messages_stream(const struct saying *s, struct buf *out) {
  start_write(s, out);
  struct json_writer w = event_start(out, SPAN("content_block_start"));
  field_int(&w, SPAN("index"), 0);
  field_raw(&w, SPAN("content_block"), SPAN("{\"type\":\"text\",\"text\":\"\"}"));
  event_stop(&w);
  w = event_start(out, SPAN("content_block_delta"));
  field_int(&w, SPAN("index"), 0);
  field_object(&w, SPAN("delta"));
  field_str(&w, SPAN("type"), SPAN("text_delta"));
  field_str(&w, SPAN("text"), s->text);
  json_end(&w, '}');
  event_stop(&w);
  block_stop_write(out, 0);
  end_write(out, SPAN("end_turn"), 0);
  stop_event(out);
}

/* output_tokens is cumulative and must be there: as the provider last told it. */
void messages_stop(const struct saying *s, const struct event_state *state, bool filter, struct buf *out) {
  if (!state->started) start_write(s, out);
  for (unsigned i = state->block_count; i-- > 0;) block_stop_write(out, state->blocks[i]);
  if (!state->finished) end_write(out, filter ? SPAN("refusal") : SPAN("max_tokens"), state->output);
  stop_event(out);
}

void messages_whole(const struct saying *s, struct buf *out) {
  struct json_writer w = { .out = out };
  if (s->operation->operation == OP_COUNT_TOKENS) buf_add(out, SPAN("{\"input_tokens\":0}"));
  else message_write(&w, s, true);
}
