/* converse.c: Bedrock's Converse. Its streams come in AWS's frames: the event's name stands in a header, an error is a message of
   another type. Names of errors begin with a small letter there and with a capital in HTTP's, so they are compared without case. */
#include "dialect_impl.h"

static const char *const overflow[] = {
  "input is too long", "prompt is too long", "too many input tokens", "exceeds the maximum", "exceed context limit", "context window", "maximum context length",
  "context length", "maximum number of tokens", NULL,
};

/* ---- frames to events */
static void error_write_plain(const struct aws_frame *f, bool exception, struct buf *out) {
  struct json document;
  struct json_writer w = { .out = out };
  struct span code = frame_string(f, exception ? SPAN(":exception-type") : SPAN(":error-code"));
  struct span message = frame_string(f, SPAN(":error-message"));
  if (!json_read(f->payload, &document, NULL)) document = json_absent;
  struct json text = json_in(document, SPAN("message")), status = json_in(document, SPAN("originalStatusCode"));
  if (text.type != JSON_STRING) text = json_in(document, SPAN("Message"));
  if (text.type != JSON_STRING) text = json_in(document, SPAN("originalMessage"));
  json_begin(&w, '{');
  field_object(&w, SPAN("error"));
  field_str(&w, SPAN("code"), code.n && span_utf8(code) ? code : SPAN(""));
  if (text.type == JSON_STRING) field_raw(&w, SPAN("message"), text.text);
  else field_str(&w, SPAN("message"), message.n && span_utf8(message) ? message : SPAN(""));
  if (json_count(status) >= 0) field_raw(&w, SPAN("status_code"), status.text);
  json_end(&w, '}');
  json_end(&w, '}');
}

/* What is neither an event nor an error (an initial response) says nothing here. */
static void frame_event(const struct aws_frame *f, struct arena *scratch, struct sse_event *out) {
  struct span type = frame_string(f, SPAN(":message-type"));
  bool exception = span_eq(type, SPAN("exception"));
  *out = (struct sse_event){ .raw = f->raw, .name = frame_string(f, SPAN(":event-type")), .data = f->payload, .data_lines = 1 };
  if (exception || span_eq(type, SPAN("error"))) {
    struct buf made = { 0 };
    error_write_plain(f, exception, &made);
    out->name = SPAN("error");
    out->data = arena_copy(scratch, buf_span(&made));
    buf_free(&made);
  } else if (!span_eq(type, SPAN("event"))) {
    out->data_lines = 0;
  }
}

struct step event_next(const struct operation_info *o, struct event_source *s, struct span window, struct arena *scratch, struct sse_event *out) {
  struct aws_frame f;
  if (o->dialect != DIALECT_CONVERSE) return sse_feed(&s->sse, window, out);
  struct step step = frame_feed(&s->frames, window, &f);
  if (step.kind == STEP_EVENT) frame_event(&f, scratch, out);
  return step;
}

const char *event_broken(const struct operation_info *o, const struct event_source *s) {
  return o->dialect == DIALECT_CONVERSE && s->frames.why ? s->frames.why : "an event of the stream is too large";
}

bool event_stream_is(const struct operation_info *o, struct span content_type) {
  return span_istarts(content_type, o->dialect == DIALECT_CONVERSE ? SPAN("application/vnd.amazon.eventstream") : SPAN("text/event-stream"));
}

/* ---- usage: what the cache did stands beside the input */
static int64_t either(struct json usage, const char *name, const char *older) {
  int64_t n = json_count(json_in(usage, span_cstr(name)));
  return n >= 0 ? n : json_count(json_in(usage, span_cstr(older)));
}

static void converse_usage(struct json usage, struct usage *out) {
  struct json details = json_in(usage, SPAN("cacheDetails")), key, item;
  struct json_iter i = json_iter(details);
  int64_t hour = 0, minutes = 0;
  bool told = false;
  *out = USAGE_NONE;
  out->input = json_count(json_in(usage, SPAN("inputTokens")));
  out->output = json_count(json_in(usage, SPAN("outputTokens")));
  out->cache_read = either(usage, "cacheReadInputTokens", "cacheReadInputTokenCount");
  out->cache_write = either(usage, "cacheWriteInputTokens", "cacheWriteInputTokenCount");
  while (details.type == JSON_ARRAY && json_next(&i, &key, &item)) {
    int64_t n = json_count(json_in(item, SPAN("inputTokens")));
    if (n < 0) continue;
    told = true;
    if (json_string_is(json_in(item, SPAN("ttl")), SPAN("1h"))) hour = usage_add(hour, n);
    else minutes = usage_add(minutes, n);
  }
  if (!told) return;
  out->cache_write_1h = hour;
  if (out->cache_write < 0) out->cache_write = minutes;
  else out->cache_write = out->cache_write > hour ? out->cache_write - hour : 0;
}

/* ---- events */
static enum fault converse_silence(struct span finish) {
  if (span_eq(finish, SPAN("guardrail_intervened")) || span_eq(finish, SPAN("content_filtered"))) return FAULT_CONTENT_FILTERED;
  if (span_eq(finish, SPAN("model_context_window_exceeded"))) return FAULT_CONTEXT_TOO_LONG;
  return span_starts(finish, SPAN("malformed_")) ? FAULT_INVALID : FAULT_EMPTY;
}

static int block_index(struct json data) {
  int64_t index = json_count(json_in(data, SPAN("contentBlockIndex")));
  return index < 0 || index > INT32_MAX ? 0 : (int)index;
}

/* A block whole, or a piece of one: both are unions with one key, and the keys are the same but for what tools are given. */
static void block_read(struct pieces *p, int index, struct json block) {
  struct json thought = json_in(block, SPAN("reasoningContent")), call = json_in(block, SPAN("toolUse")), key, item;
  struct json cited = json_in(json_in(block, SPAN("citationsContent")), SPAN("content"));
  struct json_iter i = json_iter(cited);
  piece_text(p, DELTA_TEXT, 0, json_in(block, SPAN("text")));
  while (cited.type == JSON_ARRAY && json_next(&i, &key, &item)) piece_text(p, DELTA_TEXT, 0, json_in(item, SPAN("text")));
  if (thought.type == JSON_OBJECT) {
    struct json whole = json_in(thought, SPAN("reasoningText"));
    piece_text(p, DELTA_THINKING, 0, json_in(whole.type == JSON_OBJECT ? whole : thought, SPAN("text")));
  }
  if (call.type == JSON_OBJECT) piece_tool(p, 0, index, json_in(call, SPAN("toolUseId")), json_in(call, SPAN("name")), json_in(call, SPAN("input")));
  p->real |= json_in(block, SPAN("image")).type == JSON_OBJECT || json_in(block, SPAN("video")).type == JSON_OBJECT || json_in(block, SPAN("audio")).type == JSON_OBJECT;
}

static bool is_block(struct span name) { return span_starts(name, SPAN("contentBlock")); }

static void pieces_read(struct span name, struct json data, struct pieces *p) {
  if (span_eq(name, SPAN("contentBlockStart"))) block_read(p, block_index(data), json_in(data, SPAN("start")));
  else if (span_eq(name, SPAN("contentBlockDelta"))) block_read(p, block_index(data), json_in(data, SPAN("delta")));
  else if (span_eq(name, SPAN("messageStop")) && string_full(json_in(data, SPAN("stopReason")))) piece_finish(p, 0, string_raw(json_in(data, SPAN("stopReason"))));
}

static void converse_pieces(const struct operation_info *o, struct span name, struct json data, struct pieces *p) {
  struct json usage = json_in(data, SPAN("usage"));
  struct usage counts;
  (void)o;
  pieces_read(name, data, p);
  if (!span_eq(name, SPAN("metadata")) || usage.type != JSON_OBJECT) return;
  converse_usage(usage, &counts);
  piece_usage(p, &counts);
}

static void stop_read(struct reading *r, struct json data) {
  struct span finish = string_raw(json_in(data, SPAN("stopReason")));
  r->state->finished = true;
  r->out->class = EVENT_FINISH;
  r->out->finish = finish.n ? finish : SPAN("end_turn");
  r->out->fault = converse_silence(finish);
}

static void metadata_read(struct reading *r, struct json data) {
  struct json usage = json_in(data, SPAN("usage"));
  r->state->started = true;
  if (usage.type != JSON_OBJECT) return;
  r->out->has_usage = true;
  converse_usage(usage, &r->out->usage);
  usage_tier(json_under(data, "serviceTier.type"), &r->out->usage);
}

/* The end is the second of messageStop and metadata; either may come first. */
static void converse_event(struct reading *r, struct pieces *p) {
  struct json data = { JSON_OBJECT, r->data };
  bool finished = r->state->finished;
  if (span_eq(r->name, SPAN("error"))) { event_fail(DIALECT_CONVERSE, data, r->out); return; }
  if (finished && (is_block(r->name) || span_eq(r->name, SPAN("messageStop")))) { event_protocol(r->out, SPAN("an event came out of order")); return; }
  pieces_read(r->name, data, p);
  if (span_eq(r->name, SPAN("messageStop"))) stop_read(r, data);
  else if (span_eq(r->name, SPAN("metadata"))) metadata_read(r, data);
  else return;
  if (!r->state->finished || !r->state->started) return;
  r->out->terminal = r->state->terminated = true;
  if (r->out->class != EVENT_FINISH) r->out->class = EVENT_TERMINATOR;
}

static void converse_answer(const struct operation_info *o, struct json document, struct answer_parts *parts, struct pieces *p) {
  struct json content = json_under(document, "output.message.content"), finish = json_in(document, SPAN("stopReason"));
  struct json_iter i = json_iter(content);
  struct json key, block;
  (void)o;
  parts->shaped = content.type == JSON_ARRAY;
  parts->usage = json_in(document, SPAN("usage"));
  parts->tier = json_under(document, "serviceTier.type");
  for (int index = 0; parts->shaped && json_next(&i, &key, &block); index++) block_read(p, index, block);
  if (string_full(finish)) piece_finish(p, 0, string_raw(finish));
}

const struct dialect_impl dialect_converse = {
  .event = converse_event, .pieces = converse_pieces, .usage = converse_usage, .answer = converse_answer,
  .silence = converse_silence, .overflow = overflow,
};
