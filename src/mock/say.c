/* say.c: what the mock answers, in each dialect. Written by hand from the formats, not with weir's own writers: a reader should
   not be tested against the writer that shares its misunderstandings. */
#include "mock.h"

static const char story[] = "A weir stands in a stream: it regulates the flow and it measures the flow.";

static struct span text_of(const struct spec *s, struct arena *a) {
  struct span text = s->text.p ? s->text : span_cstr(story);
  if (!s->size) return text;
  char *p = arena_alloc(a, s->size + 1);
  for (unsigned i = 0; i < s->size; i++) p[i] = text.n ? text.p[i % text.n] : 'x';
  return span_of(p, s->size);
}

static void add_usage_chat(struct buf *b, const struct spec *s) {
  buf_printf(b, "\"usage\":{\"prompt_tokens\":%ld,\"completion_tokens\":%ld,\"total_tokens\":%ld", s->input, s->output, s->input + s->output);
  if (s->cached >= 0) buf_printf(b, ",\"prompt_tokens_details\":{\"cached_tokens\":%ld}", s->cached);
  if (s->reasoning >= 0) buf_printf(b, ",\"completion_tokens_details\":{\"reasoning_tokens\":%ld}", s->reasoning);
  buf_byte(b, '}');
}

static void add_usage_messages(struct buf *b, const struct spec *s) {
  buf_printf(b, "\"usage\":{\"input_tokens\":%ld,\"output_tokens\":%ld", s->input, s->output);
  if (s->cached >= 0) buf_printf(b, ",\"cache_read_input_tokens\":%ld", s->cached);
  buf_byte(b, '}');
}

static void add_usage_responses(struct buf *b, const struct spec *s) {
  buf_printf(b, "\"usage\":{\"input_tokens\":%ld,\"input_tokens_details\":{\"cached_tokens\":%ld},\"output_tokens\":%ld,\"output_tokens_details\":{\"reasoning_tokens\":%ld},\"total_tokens\":%ld}",
             s->input, s->cached < 0 ? 0 : s->cached, s->output, s->reasoning < 0 ? 0 : s->reasoning, s->input + s->output);
}

static void add_string(struct buf *b, const char *before, struct span text, const char *behind) {
  buf_add(b, span_cstr(before));
  json_write_string(b, text);
  buf_add(b, span_cstr(behind));
}

static struct span finish_of(const struct spec *s, const char *usual) { return s->finish.p ? s->finish : span_cstr(usual); }

/* ---- whole answers */
static void chat_whole(const struct ask *q, const struct spec *s, struct span text, struct buf *b) {
  add_string(b, "{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":", q->model, ",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",");
  if (s->tools) {
    buf_add(b, SPAN("\"content\":null,\"tool_calls\":["));
    for (unsigned i = 0; i < s->tools; i++)
      buf_printf(b, "%s{\"id\":\"call_%u\",\"type\":\"function\",\"function\":{\"name\":\"tool_%u\",\"arguments\":\"{\\\"n\\\":%u}\"}}", i ? "," : "", i, i, i);
    buf_add(b, SPAN("],\"refusal\":null}"));
  } else if (s->refuse) {
    buf_add(b, SPAN("\"content\":null,\"refusal\":\"I will not.\"}"));
  } else {
    add_string(b, "\"content\":", text, ",\"refusal\":null}");
  }
  add_string(b, ",\"logprobs\":null,\"finish_reason\":", finish_of(s, s->tools ? "tool_calls" : "stop"), "}]");
  if (s->input >= 0) buf_byte(b, ','), add_usage_chat(b, s);
  buf_add(b, SPAN(",\"system_fingerprint\":\"fp_mock\"}"));
}

static void messages_whole(const struct ask *q, const struct spec *s, struct span text, struct buf *b) {
  add_string(b, "{\"id\":\"msg_mock\",\"type\":\"message\",\"role\":\"assistant\",\"model\":", q->model, ",\"content\":[");
  if (!s->tools && text.n) add_string(b, "{\"type\":\"text\",\"text\":", text, "}");
  for (unsigned i = 0; i < s->tools; i++) buf_printf(b, "%s{\"type\":\"tool_use\",\"id\":\"toolu_%u\",\"name\":\"tool_%u\",\"input\":{\"n\":%u}}", i ? "," : "", i, i, i);
  add_string(b, "],\"stop_reason\":", finish_of(s, s->tools ? "tool_use" : "end_turn"), ",\"stop_sequence\":null,");
  add_usage_messages(b, s);
  buf_byte(b, '}');
}

static void responses_object(const struct ask *q, const struct spec *s, struct span text, const char *status, struct buf *b) {
  bool done = span_eq(span_cstr(status), SPAN("completed"));
  buf_printf(b, "{\"id\":\"resp_mock\",\"object\":\"response\",\"created_at\":1700000000,\"status\":\"%s\",\"error\":null,\"incomplete_details\":null,\"instructions\":null,", status);
  add_string(b, "\"metadata\":{},\"model\":", q->model, ",\"output\":[");
  if (done) add_string(b, "{\"id\":\"msg_mock\",\"type\":\"message\",\"status\":\"completed\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":", text, ","
             "\"annotations\":[],\"logprobs\":[]}]}");
  buf_add(b, SPAN("],\"parallel_tool_calls\":true,\"temperature\":1.0,\"tool_choice\":\"auto\",\"tools\":[],\"top_p\":1.0,"));
  if (done && s->input >= 0) add_usage_responses(b, s);
  else buf_add(b, SPAN("\"usage\":null"));
  buf_byte(b, '}');
}

static void embeddings_whole(const struct ask *q, const struct spec *s, struct buf *b) {
  struct json body;
  struct json_error e;
  bool base64 = json_read(q->body, &body, &e) && json_string_is(json_get(body, SPAN("encoding_format")), SPAN("base64"));
  add_string(b, "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":", base64 ? SPAN("AACAPwAAAEAAAEBA") : SPAN(""), "");
  if (!base64) {                                         /* 1, 2, 3; above the same as little-endian float32 */
    b->end -= 2;
    buf_add(b, SPAN("[1.0,2.0,3.0]"));
  }
  add_string(b, "}],\"model\":", q->model, ",");
  buf_printf(b, "\"usage\":{\"prompt_tokens\":%ld,\"total_tokens\":%ld}}", s->input, s->input);
}

static void add_usage_gemini(struct buf *b, const struct spec *s) {
  long thoughts = s->reasoning < 0 ? 0 : s->reasoning;
  buf_printf(b, "\"usageMetadata\":{\"promptTokenCount\":%ld,\"candidatesTokenCount\":%ld,\"totalTokenCount\":%ld", s->input, s->output - thoughts, s->input + s->output);
  if (s->cached >= 0) buf_printf(b, ",\"cachedContentTokenCount\":%ld", s->cached);
  if (s->reasoning >= 0) buf_printf(b, ",\"thoughtsTokenCount\":%ld", s->reasoning);
  buf_byte(b, '}');
}

/* A whole answer, or a piece of one; finish NULL: more comes. */
static void gemini_answer(const struct ask *q, const struct spec *s, struct span text, unsigned tools, unsigned tool, const char *finish, struct buf *b) {
  buf_add(b, SPAN("{\"candidates\":[{\"content\":{\"parts\":["));
  if (!tools) add_string(b, "{\"text\":", text, "}");
  for (unsigned i = 0; i < tools; i++) buf_printf(b, "%s{\"functionCall\":{\"name\":\"tool_%u\",\"args\":{\"n\":%u}}}", i ? "," : "", tool + i, tool + i);
  buf_add(b, SPAN("],\"role\":\"model\"}"));
  if (finish) add_string(b, ",\"finishReason\":", finish_of(s, finish), "");
  buf_add(b, SPAN(",\"index\":0}],"));
  if (s->input >= 0) add_usage_gemini(b, s), buf_byte(b, ',');
  add_string(b, "\"modelVersion\":", q->model, ",\"responseId\":\"mock\"}");
}

void say_whole(const struct ask *q, const struct spec *s, struct buf *out) {
  struct arena a = { 0 };
  struct span text = s->empty ? SPAN("") : text_of(s, &a);
  switch (q->route) {
  case ROUTE_CHAT: chat_whole(q, s, text, out); break;
  case ROUTE_COMPLETIONS:
    add_string(out, "{\"id\":\"cmpl-mock\",\"object\":\"text_completion\",\"created\":1700000000,\"model\":", q->model, ",\"choices\":[{\"index\":0,");
    add_string(out, "\"text\":", text, ",\"logprobs\":null,\"finish_reason\":\"stop\"}],");
    add_usage_chat(out, s);
    buf_byte(out, '}');
    break;
  case ROUTE_EMBEDDINGS: embeddings_whole(q, s, out); break;
  case ROUTE_RESPONSES: responses_object(q, s, text, "completed", out); break;
  case ROUTE_MESSAGES: messages_whole(q, s, text, out); break;
  case ROUTE_COUNT_TOKENS: buf_printf(out, "{\"input_tokens\":%ld}", s->input); break;
  case ROUTE_CONVERSE: converse_whole(s, text, out); break;
  case ROUTE_GENERATE:
    if (q->list) buf_byte(out, '[');
    gemini_answer(q, s, text, s->tools, 0, s->refuse ? "SAFETY" : "STOP", out);
    if (q->list) buf_byte(out, ']');
    break;
  case ROUTE_GEMINI_TOKENS: buf_printf(out, "{\"totalTokens\":%ld}", s->input); break;
  case ROUTE_GEMINI_EMBED: buf_add(out, SPAN("{\"embedding\":{\"values\":[1.0,2.0,3.0]}}")); break;
  case ROUTE_ECHO: buf_add(out, q->body); break;
  }
  arena_end(&a);
}

void say_error(const struct ask *q, const struct spec *s, struct buf *out) {
  struct span type = s->type.p ? s->type : SPAN("server_error");
  if (q->route == ROUTE_CONVERSE) { buf_add(out, SPAN("{\"message\":\"the mock was told to fail\"}")); return; }
  if (q->route == ROUTE_MESSAGES || q->route == ROUTE_COUNT_TOKENS) {
    add_string(out, "{\"type\":\"error\",\"error\":{\"type\":",
               s->status == 429 ? SPAN("rate_limit_error") : s->status == 529 ? SPAN("overloaded_error") : s->type.p ? type : SPAN("api_error"), ",\"message\":\"the mock was told to fail\"},"
                          "\"request_id\":\"req_mock\"}");
    return;
  }
  if (q->route >= ROUTE_GENERATE && q->route <= ROUTE_GEMINI_EMBED) {
    struct span status = s->code.p ? s->code : s->status == 429 ? SPAN("RESOURCE_EXHAUSTED") : s->status == 503 ? SPAN("UNAVAILABLE") : s->status < 500 ? SPAN("INVALID_ARGUMENT") : SPAN("INTERNAL");
    buf_printf(out, "{\"error\":{\"code\":%d,\"message\":\"the mock was told to fail\"", s->status);
    add_string(out, ",\"status\":", status, "}}");
    return;
  }
  add_string(out, "{\"error\":{\"message\":\"the mock was told to fail\",\"type\":", type, ",\"param\":null,\"code\":");
  if (s->code.p) json_write_string(out, s->code);
  else buf_add(out, SPAN("null"));
  buf_add(out, SPAN("}}"));
}

void say_error_event(const struct ask *q, struct buf *out) {
  if (q->route == ROUTE_CONVERSE) converse_error_event(out);
  else if (q->route == ROUTE_MESSAGES) buf_add(out, SPAN("event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n"));
  else if (q->route == ROUTE_GENERATE) buf_add(out, SPAN("data: {\"error\":{\"code\":503,\"message\":\"The model is overloaded\",\"status\":\"UNAVAILABLE\"}}\r\n\r\n"));
  else if (q->route == ROUTE_RESPONSES) buf_add(out, SPAN("event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"The server had an error\",\"param\":null,"
             "\"sequence_number\":99}\n\n"));
  else buf_add(out, SPAN("data: {\"error\":{\"message\":\"The server had an error\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n"));
}

/* ---- streams */
struct stream {
  struct arena *a;
  struct pieces *out;
  struct buf b;
  size_t room;
  int sequence;
};

static void piece(struct stream *t) {
  struct pieces *p = t->out;
  if (p->count == t->room) {
    size_t room = t->room ? t->room * 2 : 64;
    struct span *list = arena_alloc(t->a, room * sizeof *list);
    if (p->count) memcpy(list, p->list, p->count * sizeof *list);
    p->list = list;
    t->room = room;
  }
  p->list[p->count++] = arena_copy(t->a, buf_span(&t->b));
  buf_clear(&t->b);
}

/* Text cut into `events` pieces of about equal length, or at its words. */
size_t say_cut(const struct spec *s, struct span text, size_t at) {
  if (s->events) {
    size_t each = (text.n + s->events - 1) / s->events;
    return at + (each ? each : 1) < text.n ? at + (each ? each : 1) : text.n;
  }
  size_t end = at + 1;
  while (end < text.n && text.p[end] != ' ') end++;
  return end;
}

static void chat_chunk(struct stream *t, const struct ask *q, struct span delta, const char *finish) {
  add_string(&t->b, "data: {\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":", q->model,
             ",\"system_fingerprint\":\"fp_mock\",\"choices\":[{\"index\":0,\"delta\":");
  buf_add(&t->b, delta);
  buf_printf(&t->b, ",\"logprobs\":null,\"finish_reason\":%s}]%s}\n\n", finish, q->wants_usage ? ",\"usage\":null" : "");
  piece(t);
}

static void chat_tools(struct stream *t, const struct ask *q, const struct spec *s) {
  for (unsigned i = 0; i < s->tools; i++) {
    chat_chunk(t, q, arena_printf(t->a, "{\"tool_calls\":[{\"index\":%u,\"id\":\"call_%u\",\"type\":\"function\",\"function\":{\"name\":\"tool_%u\",\"arguments\":\"\"}}]}", i, i, i), "null");
    chat_chunk(t, q, arena_printf(t->a, "{\"tool_calls\":[{\"index\":%u,\"function\":{\"arguments\":\"{\\\"n\\\"\"}}]}", i), "null");
    chat_chunk(t, q, arena_printf(t->a, "{\"tool_calls\":[{\"index\":%u,\"function\":{\"arguments\":\":%u}\"}}]}", i, i), "null");
  }
}

static void chat_stream(struct stream *t, const struct ask *q, const struct spec *s, struct span text) {
  chat_chunk(t, q, SPAN("{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}"), "null");
  t->out->first = t->out->count;
  chat_tools(t, q, s);
  for (size_t at = 0; !s->tools && at < text.n;) {
    size_t end = say_cut(s, text, at);
    struct buf delta = { 0 };
    add_string(&delta, "{\"content\":", span_of(text.p + at, end - at), "}");
    chat_chunk(t, q, buf_span(&delta), "null");
    buf_free(&delta);
    at = end;
  }
  struct buf finish = { 0 };
  json_write_string(&finish, finish_of(s, s->tools ? "tool_calls" : "stop"));
  buf_byte(&finish, 0);
  chat_chunk(t, q, SPAN("{}"), finish.p);
  buf_free(&finish);
  if (q->wants_usage && s->input >= 0) {
    add_string(&t->b, "data: {\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":", q->model, ",\"choices\":[],");
    add_usage_chat(&t->b, s);
    buf_add(&t->b, SPAN("}\n\n"));
    piece(t);
  }
  if (!s->no_done) buf_add(&t->b, SPAN("data: [DONE]\n\n")), piece(t);
}

static void completions_stream(struct stream *t, const struct ask *q, const struct spec *s, struct span text) {
  for (size_t at = 0; at < text.n;) {
    size_t end = say_cut(s, text, at);
    add_string(&t->b, "data: {\"id\":\"cmpl-mock\",\"object\":\"text_completion\",\"created\":1700000000,\"model\":", q->model, ",\"choices\":[{\"index\":0,\"text\":");
    json_write_string(&t->b, span_of(text.p + at, end - at));
    buf_printf(&t->b, ",\"logprobs\":null,\"finish_reason\":%s}]}\n\n", end == text.n ? "\"stop\"" : "null");
    piece(t);
    at = end;
  }
  if (!s->no_done) buf_add(&t->b, SPAN("data: [DONE]\n\n")), piece(t);
}

static void messages_stream(struct stream *t, const struct ask *q, const struct spec *s, struct span text) {
  add_string(&t->b, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_mock\",\"type\":\"message\",\"role\":\"assistant\",\"model\":", q->model, ","
             "\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,");
  buf_printf(&t->b, "\"usage\":{\"input_tokens\":%ld,\"output_tokens\":1}}}\n\n", s->input);
  piece(t);
  buf_printf(&t->b, "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":%s}\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\n",
             s->tools ? "{\"type\":\"tool_use\",\"id\":\"toolu_0\",\"name\":\"tool_0\",\"input\":{}}" : "{\"type\":\"text\",\"text\":\"\"}");
  piece(t);
  t->out->first = t->out->count;
  if (s->tools) buf_add(&t->b, SPAN("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"n\\\":0}"
             "\"}}\n\n")), piece(t);
  for (size_t at = 0; !s->tools && at < text.n;) {
    size_t end = say_cut(s, text, at);
    add_string(&t->b, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":", span_of(text.p + at, end - at), "}}\n\n");
    piece(t);
    at = end;
  }
  buf_add(&t->b, SPAN("event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"));
  add_string(&t->b, "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":", finish_of(s, s->tools ? "tool_use" : "end_turn"), ",\"stop_sequence\":null},");
  buf_printf(&t->b, "\"usage\":{\"output_tokens\":%ld}}\n\n", s->output);
  piece(t);
  if (!s->no_done) buf_add(&t->b, SPAN("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")), piece(t);
}

static void gemini_stream(struct stream *t, const struct ask *q, const struct spec *s, struct span text) {
  for (size_t at = 0, tool = 0; s->tools ? tool < s->tools : at < text.n; tool++) {
    size_t end = s->tools ? 0 : say_cut(s, text, at);
    buf_add(&t->b, SPAN("data: "));
    gemini_answer(q, s, span_of(text.p + at, end - at), s->tools ? 1 : 0, (unsigned)tool, NULL, &t->b);
    buf_add(&t->b, SPAN("\r\n\r\n"));
    piece(t);
    at = end;
  }
  buf_add(&t->b, SPAN("data: "));
  gemini_answer(q, s, SPAN(""), 0, 0, "STOP", &t->b);
  buf_add(&t->b, SPAN("\r\n\r\n"));
  if (!s->no_done) piece(t);
}

static void responses_event(struct stream *t, const char *type) {
  buf_printf(&t->b, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%d", type, type, t->sequence++);
}

static void responses_state(struct stream *t, const char *type, const char *status, const struct ask *q, const struct spec *s, struct span text) {
  responses_event(t, type);
  buf_add(&t->b, SPAN(",\"response\":"));
  responses_object(q, s, text, status, &t->b);
  buf_add(&t->b, SPAN("}\n\n"));
}

static void responses_stream(struct stream *t, const struct ask *q, const struct spec *s, struct span text) {
  responses_state(t, "response.created", "in_progress", q, s, text);
  responses_state(t, "response.in_progress", "in_progress", q, s, text);
  responses_event(t, "response.output_item.added");
  buf_add(&t->b, SPAN(",\"output_index\":0,\"item\":{\"id\":\"msg_mock\",\"type\":\"message\",\"status\":\"in_progress\",\"content\":[],\"role\":\"assistant\"}}\n\n"));
  responses_event(t, "response.content_part.added");
  buf_add(&t->b, SPAN(",\"item_id\":\"msg_mock\",\"output_index\":0,\"content_index\":0,\"part\":{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\"\"}}\n\n"));
  piece(t);
  t->out->first = t->out->count;
  for (size_t at = 0; at < text.n;) {
    size_t end = say_cut(s, text, at);
    responses_event(t, "response.output_text.delta");
    add_string(&t->b, ",\"item_id\":\"msg_mock\",\"output_index\":0,\"content_index\":0,\"delta\":", span_of(text.p + at, end - at), ",\"logprobs\":[]}\n\n");
    piece(t);
    at = end;
  }
  responses_event(t, "response.output_text.done");
  add_string(&t->b, ",\"item_id\":\"msg_mock\",\"output_index\":0,\"content_index\":0,\"text\":", text, ",\"logprobs\":[]}\n\n");
  responses_event(t, "response.content_part.done");
  add_string(&t->b, ",\"item_id\":\"msg_mock\",\"output_index\":0,\"content_index\":0,\"part\":{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":", text, "}}\n\n");
  responses_event(t, "response.output_item.done");
  add_string(&t->b, ",\"output_index\":0,\"item\":{\"id\":\"msg_mock\",\"type\":\"message\",\"status\":\"completed\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\","
             "\"annotations\":[],\"logprobs\":[],\"text\":", text, "}]}}\n\n");
  piece(t);
  if (!s->no_done) responses_state(t, "response.completed", "completed", q, s, text), piece(t);
}

void say_stream(const struct ask *q, const struct spec *s, struct arena *a, struct pieces *out) {
  struct stream t = { .a = a, .out = out };
  struct span text = s->empty ? SPAN("") : text_of(s, a);
  *out = (struct pieces){ 0 };
  switch (q->route) {
  case ROUTE_COMPLETIONS: completions_stream(&t, q, s, text); break;
  case ROUTE_MESSAGES: messages_stream(&t, q, s, text); break;
  case ROUTE_GENERATE: gemini_stream(&t, q, s, text); break;
  case ROUTE_RESPONSES: responses_stream(&t, q, s, text); break;
  case ROUTE_CONVERSE: converse_stream(s, text, a, out); break;
  default: chat_stream(&t, q, s, text);
  }
  buf_free(&t.b);
}
