/* write_responses.c: what weir itself says in the responses dialect. */
#include "write_impl.h"

struct stream {
  const struct saying *saying;
  struct buf *out;
  int64_t sequence;                   /* of the next event */
};

static void part_fields(struct json_writer *w, struct span text) {
  json_begin(w, '{');
  field_str(w, SPAN("type"), SPAN("output_text"));
  field_str(w, SPAN("text"), text);
  field_raw(w, SPAN("annotations"), SPAN("[]"));
  field_raw(w, SPAN("logprobs"), SPAN("[]"));
  json_end(w, '}');
}

static void item_fields(struct json_writer *w, const struct saying *s, bool done) {
  json_begin(w, '{');
  field_id(w, "msg_", s->id);
  field_str(w, SPAN("type"), SPAN("message"));
  field_str(w, SPAN("status"), done ? SPAN("completed") : SPAN("in_progress"));
  field_str(w, SPAN("role"), SPAN("assistant"));
  field_array(w, SPAN("content"));
  if (done) part_fields(w, s->text);
  json_end(w, ']');
  json_end(w, '}');
}

/* reason: of an incomplete response, else empty. */
static void response_fields(struct json_writer *w, const struct saying *s, struct span status, struct span reason,
                            bool item) {
  bool ended = !span_eq(status, SPAN("in_progress"));
  json_begin(w, '{');
  field_id(w, "resp_", s->id);
  field_str(w, SPAN("object"), SPAN("response"));
  field_int(w, SPAN("created_at"), s->created);
  field_str(w, SPAN("status"), status);
  field_bool(w, SPAN("background"), false);
  field_null(w, SPAN("error"));
  if (reason.n) {
    field_object(w, SPAN("incomplete_details"));
    field_str(w, SPAN("reason"), reason);
    json_end(w, '}');
  } else {
    field_null(w, SPAN("incomplete_details"));
  }
  field_null(w, SPAN("instructions"));
  field_null(w, SPAN("max_output_tokens"));
  field_str(w, SPAN("model"), s->model);
  field_array(w, SPAN("output"));
  if (item) item_fields(w, s, true);
  json_end(w, ']');
  field_bool(w, SPAN("parallel_tool_calls"), true);
  field_null(w, SPAN("previous_response_id"));
  field_raw(w, SPAN("reasoning"), SPAN("{\"effort\":null,\"summary\":null}"));
  field_bool(w, SPAN("store"), false);
  field_null(w, SPAN("temperature"));
  field_raw(w, SPAN("text"), SPAN("{\"format\":{\"type\":\"text\"}}"));
  field_str(w, SPAN("tool_choice"), SPAN("auto"));
  field_raw(w, SPAN("tools"), SPAN("[]"));
  field_null(w, SPAN("top_p"));
  field_str(w, SPAN("truncation"), SPAN("disabled"));
  if (ended && !reason.n)
    field_raw(w, SPAN("usage"),
              SPAN("{\"input_tokens\":0,\"input_tokens_details\":{\"cache_write_tokens\":0,\"cached_tokens\":0},"
                   "\"output_tokens\":0,\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":0}"));
  else
    field_null(w, SPAN("usage"));
  field_null(w, SPAN("user"));
  field_raw(w, SPAN("metadata"), SPAN("{}"));
  json_end(w, '}');
}

static struct json_writer event_start(struct stream *t, struct span type) {
  struct json_writer w = { .out = t->out };
  event_begin(t->out, type);
  json_begin(&w, '{');
  field_str(&w, SPAN("type"), type);
  field_int(&w, SPAN("sequence_number"), t->sequence++);
  return w;
}
static void event_stop(struct json_writer *w) {
  json_end(w, '}');
  event_end(w->out);
}

static void response_event(struct stream *t, struct span type, struct span status, struct span reason, bool item) {
  struct json_writer w = event_start(t, type);
  json_key(&w, SPAN("response"));
  response_fields(&w, t->saying, status, reason, item);
  event_stop(&w);
}

static void item_event(struct stream *t, struct span type, bool done) {
  struct json_writer w = event_start(t, type);
  field_int(&w, SPAN("output_index"), 0);
  json_key(&w, SPAN("item"));
  item_fields(&w, t->saying, done);
  event_stop(&w);
}

/* An event of the one content part; what is said under `name`, or a whole part when name is empty. */
static void part_event(struct stream *t, struct span type, struct span name, struct span text) {
  struct json_writer w = event_start(t, type);
  json_key(&w, SPAN("item_id"));
  struct buf id = { 0 };
  buf_add(&id, SPAN("msg_"));
  buf_add(&id, t->saying->id);
  json_str(&w, buf_span(&id));
  buf_free(&id);
  field_int(&w, SPAN("output_index"), 0);
  field_int(&w, SPAN("content_index"), 0);
  if (name.n) {
    field_str(&w, name, text);
    field_raw(&w, SPAN("logprobs"), SPAN("[]"));
  } else {
    json_key(&w, SPAN("part"));
    part_fields(&w, text);
  }
  event_stop(&w);
}

void responses_stream(const struct saying *s, struct buf *out) {
  struct stream t = { s, out, 0 };
  struct span none = { NULL, 0 };
  response_event(&t, SPAN("response.created"), SPAN("in_progress"), none, false);
  response_event(&t, SPAN("response.in_progress"), SPAN("in_progress"), none, false);
  item_event(&t, SPAN("response.output_item.added"), false);
  part_event(&t, SPAN("response.content_part.added"), none, SPAN(""));
  if (s->text.n) part_event(&t, SPAN("response.output_text.delta"), SPAN("delta"), s->text);
  part_event(&t, SPAN("response.output_text.done"), SPAN("text"), s->text);
  part_event(&t, SPAN("response.content_part.done"), none, s->text);
  item_event(&t, SPAN("response.output_item.done"), true);
  response_event(&t, SPAN("response.completed"), SPAN("completed"), none, true);
}

void responses_whole(const struct saying *s, struct buf *out) {
  struct json_writer w = { .out = out };
  response_fields(&w, s, SPAN("completed"), (struct span){ NULL, 0 }, true);
}

void responses_bare(struct json_writer *w, const struct saying *s, struct span status, struct span reason) {
  response_fields(w, s, status, reason, false);
}
