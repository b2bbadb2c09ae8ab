/* write_gemini.c: what weir itself says in the gemini dialect. */
#include "gemini.h"
#include "write_impl.h"
#include <stdio.h>

static void answer_one(struct json_writer *w, const struct saying *s, int index, struct span text, struct span finish, bool usage) {
  json_begin(w, '{');
  field_array(w, SPAN("candidates"));
  json_begin(w, '{');
  field_object(w, SPAN("content"));
  field_str(w, SPAN("role"), SPAN("model"));
  field_array(w, SPAN("parts"));
  json_begin(w, '{');
  field_str(w, SPAN("text"), text);
  json_end(w, '}');
  json_end(w, ']');
  json_end(w, '}');
  field_str(w, SPAN("finishReason"), finish);
  field_int(w, SPAN("index"), index);
  json_end(w, '}');
  json_end(w, ']');
  if (usage) field_raw(w, SPAN("usageMetadata"), SPAN("{\"promptTokenCount\":0,\"candidatesTokenCount\":0,\"totalTokenCount\":0}"));
  field_str(w, SPAN("modelVersion"), s->model);
  field_str(w, SPAN("responseId"), s->id);
  json_end(w, '}');
}

void gemini_whole(const struct saying *s, struct buf *out) {
  struct json_writer w = { .out = out };
  switch (s->operation->operation) {
  case OP_GEMINI_TOKENS: buf_add(out, SPAN("{\"totalTokens\":0}")); return;
  case OP_GEMINI_EMBED: buf_add(out, SPAN("{\"embedding\":{\"values\":[]}}")); return;
  case OP_GEMINI_EMBEDS: buf_add(out, SPAN("{\"embeddings\":[]}")); return;
  case OP_GENERATE_ARRAY: json_begin(&w, '['); break;
  default: break;
  }
  answer_one(&w, s, 0, s->text, SPAN("STOP"), true);
  if (s->operation->operation == OP_GENERATE_ARRAY) json_end(&w, ']');
}

static void event_write(const struct saying *s, int index, struct span text, struct span finish, bool usage, struct buf *out) {
  struct json_writer w = { .out = out };
  buf_add(out, SPAN("data: "));
  answer_one(&w, s, index, text, finish, usage);
  buf_add(out, SPAN("\r\n\r\n"));
}

void gemini_stream(const struct saying *s, struct buf *out) { event_write(s, 0, s->text, SPAN("STOP"), true, out); }

void gemini_stop(const struct saying *s, const struct event_state *state, bool filter, struct buf *out) {
  struct span finish = filter ? SPAN("SAFETY") : SPAN("MAX_TOKENS"), none = { NULL, 0 };
  bool any = state->finished;
  for (int choice = 0; choice < EVENT_OPEN_CHOICES; choice++) {
    if (!(state->choices[choice / 64] >> (choice % 64) & 1)) continue;
    event_write(s, choice, none, finish, false, out);
    any = true;
  }
  if (!any) event_write(s, 0, none, finish, false, out);
}

void gemini_model(struct json_writer *w, struct span name) {
  struct buf full = { 0 };
  buf_add(&full, SPAN("models/"));
  buf_add(&full, name);
  json_begin(w, '{');
  field_str(w, SPAN("name"), buf_span(&full));
  field_str(w, SPAN("displayName"), name);
  field_raw(w, SPAN("supportedGenerationMethods"), SPAN("[\"generateContent\",\"countTokens\"]"));
  json_end(w, '}');
  buf_free(&full);
}

/* ---- errors */
struct span gemini_status(int status) {
  switch (status) {
  case 401: return SPAN("UNAUTHENTICATED");
  case 403: return SPAN("PERMISSION_DENIED");
  case 404: return SPAN("NOT_FOUND");
  case 408: case 504: return SPAN("DEADLINE_EXCEEDED");
  case 409: return SPAN("ABORTED");
  case 402: case 429: return SPAN("RESOURCE_EXHAUSTED");
  case 499: return SPAN("CANCELLED");
  case 501: return SPAN("UNIMPLEMENTED");
  case 503: return SPAN("UNAVAILABLE");
  default: return status < 500 ? SPAN("INVALID_ARGUMENT") : SPAN("INTERNAL");
  }
}

void gemini_details(struct json_writer *w, double retry_after) {
  field_array(w, SPAN("details"));
  if (retry_after > 0) {
    char text[32];
    snprintf(text, sizeof text, "%.3gs", retry_after);
    json_begin(w, '{');
    field_str(w, SPAN("@type"), SPAN("type.googleapis.com/google.rpc.RetryInfo"));
    field_str(w, SPAN("retryDelay"), span_cstr(text));
    json_end(w, '}');
  }
  json_end(w, ']');
}
