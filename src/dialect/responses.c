/* responses.c: OpenAI Responses. */
#include "dialect_impl.h"

static const char *const overflow[] = {
  "maximum context length", "context length", "context window", "prompt is too long", "input is too long",
  "maximum prompt length", "exceeds the maximum number of input tokens", NULL,
};

static enum fault responses_silence(struct span finish) {
  return span_eq(finish, SPAN("content_filter")) ? FAULT_CONTENT_FILTERED : FAULT_EMPTY;
}

static void responses_usage(struct json usage, struct usage *out) {
  static const struct usage_names names = { SPAN("input_tokens"), SPAN("input_tokens_details"), SPAN("output_tokens"),
                                            SPAN("output_tokens_details") };
  usage_read_openai(usage, &names, out);
}

enum kind {
  KIND_OTHER, KIND_TEXT, KIND_THINKING, KIND_ARGUMENTS, KIND_MEDIA, KIND_ITEM, KIND_ITEM_DONE, KIND_CREATED,
  KIND_OPENED, KIND_COMPLETED, KIND_INCOMPLETE, KIND_FAILED, KIND_ERROR,
};

static enum kind kind_of(struct span type) {
  static const struct { struct span type; enum kind kind; } kinds[] = {
    { SPAN("response.output_text.delta"), KIND_TEXT },
    { SPAN("response.function_call_arguments.delta"), KIND_ARGUMENTS },
    { SPAN("response.reasoning_summary_text.delta"), KIND_THINKING },
    { SPAN("response.reasoning_text.delta"), KIND_THINKING },
    { SPAN("response.refusal.delta"), KIND_TEXT },
    { SPAN("response.custom_tool_call_input.delta"), KIND_ARGUMENTS },
    { SPAN("response.mcp_call_arguments.delta"), KIND_ARGUMENTS },
    { SPAN("response.code_interpreter_call_code.delta"), KIND_ARGUMENTS },
    { SPAN("response.audio.delta"), KIND_MEDIA },
    { SPAN("response.audio.transcript.delta"), KIND_TEXT },
    { SPAN("response.image_generation_call.partial_image"), KIND_MEDIA },
    { SPAN("response.output_item.added"), KIND_ITEM },
    { SPAN("response.output_item.done"), KIND_ITEM_DONE },
    { SPAN("response.created"), KIND_CREATED },
    { SPAN("response.in_progress"), KIND_OPENED },
    { SPAN("response.queued"), KIND_OPENED },
    { SPAN("response.completed"), KIND_COMPLETED },
    { SPAN("response.incomplete"), KIND_INCOMPLETE },
    { SPAN("response.failed"), KIND_FAILED },
    { SPAN("error"), KIND_ERROR },
  };
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (span_eq(type, kinds[i].type)) return kinds[i].kind;
  return KIND_OTHER;
}

/* The top level members of an event that mean something. */
struct event_members { struct json type, sequence, delta, output_index, item, response; };

PULL_INLINE void member_sort(struct event_members *m, struct json key, struct json value) {
  char room[64];
again:
  if (key_is(key, SPAN("type"))) m->type = value;
  else if (key_is(key, SPAN("delta"))) m->delta = value;
  else if (key_is(key, SPAN("sequence_number"))) m->sequence = value;
  else if (key_is(key, SPAN("output_index"))) m->output_index = value;
  else if (key_is(key, SPAN("item"))) m->item = value;
  else if (key_is(key, SPAN("response"))) m->response = value;
  else if (key_escaped(key)) {
    key = key_plain(key, room);
    if (!key_escaped(key)) goto again;
  }
}

static enum kind members_kind(const struct event_members *m, struct span name) {
  struct span type = string_raw(m->type);
  return kind_of(type.n ? type : name);
}

static int output_index(const struct event_members *m) {
  int64_t index = json_count(m->output_index);
  return index < 0 || index > INT32_MAX ? 0 : (int)index;
}

/* Texts of a list of parts: message content, reasoning summary or content. */
static void parts_read(struct pieces *p, enum delta_kind kind, int index, struct json parts) {
  struct json_iter i = json_iter(parts);
  struct json key, part;
  if (parts.type == JSON_STRING) piece_text(p, kind, index, parts);
  while (json_next(&i, &key, &part)) {
    if (part.type != JSON_OBJECT) continue;
    struct json text = json_in(part, SPAN("text"));
    piece_text(p, kind, index, text.type == JSON_STRING ? text : json_in(part, SPAN("refusal")));
    if (span_eq(string_raw(json_in(part, SPAN("type"))), SPAN("output_audio"))) p->real = true;
  }
}

/* An item of the output: as it is added in a stream (nearly empty), or whole in an answer. */
static void item_read(struct pieces *p, int index, struct json item) {
  struct span type = string_raw(json_in(item, SPAN("type")));
  if (span_eq(type, SPAN("message"))) {
    parts_read(p, DELTA_TEXT, index, json_in(item, SPAN("content")));
  } else if (span_eq(type, SPAN("reasoning"))) {
    parts_read(p, DELTA_THINKING, index, json_in(item, SPAN("summary")));
    parts_read(p, DELTA_THINKING, index, json_in(item, SPAN("content")));
  } else if (span_ends(type, SPAN("_call")) || span_eq(type, SPAN("mcp_approval_request"))) {
    struct json arguments = json_in(item, SPAN("arguments")), id = json_in(item, SPAN("call_id"));
    if (arguments.type != JSON_STRING) arguments = json_in(item, SPAN("input"));
    if (arguments.type != JSON_STRING) arguments = json_in(item, SPAN("code"));
    if (!string_full(id)) id = json_in(item, SPAN("id"));
    struct json name = json_in(item, SPAN("name"));
    if (string_full(name) || string_full(arguments)) piece_tool(p, index, index, id, name, arguments);
    if (string_full(json_in(item, SPAN("result")))) p->real = true;          /* a generated image */
  }
}

static void output_read(struct pieces *p, struct json output) {
  struct json_iter i = json_iter(output);
  struct json key, item;
  if (output.type != JSON_ARRAY) return;
  for (int index = 0; json_next(&i, &key, &item); index++) item_read(p, index, item);
}

static void content_read(struct pieces *p, enum kind kind, const struct event_members *m) {
  int index = output_index(m);
  switch (kind) {
  case KIND_TEXT:      piece_text(p, DELTA_TEXT, index, m->delta); break;
  case KIND_THINKING:  piece_text(p, DELTA_THINKING, index, m->delta); break;
  case KIND_ARGUMENTS: piece_tool(p, index, index, json_absent, json_absent, m->delta); break;
  case KIND_MEDIA:     p->real = true; break;
  case KIND_ITEM:      item_read(p, index, m->item); break;
  default: break;
  }
}

/* There is no finish reason here: it is the status, or why the response is incomplete. */
static struct span finish_of(struct json response) {
  struct span reason = string_raw(json_under(response, "incomplete_details.reason"));
  return reason.n ? reason : string_raw(json_in(response, SPAN("status")));
}

/* What its own tools did is told by the items: opening a page that was found is not charged. */
static void tools_in(struct json output, int64_t *searches, int64_t *calls) {
  static const struct span hosted[] = { SPAN("file_search_call"), SPAN("code_interpreter_call"), SPAN("image_generation_call"), SPAN("mcp_call") };
  struct json_iter i = json_iter(output);
  struct json key, item;
  while (output.type == JSON_ARRAY && json_next(&i, &key, &item)) {
    struct json type = json_in(item, SPAN("type"));
    for (size_t k = 0; k < sizeof hosted / sizeof *hosted; k++) *calls += json_string_is(type, hosted[k]);
    if (!json_string_is(type, SPAN("web_search_call"))) continue;
    struct span action = string_raw(json_under(item, "action.type"));
    *searches += !action.n || span_eq(action, SPAN("search"));
  }
}

/* false: the response tells no usage. */
static bool response_usage(struct json response, struct usage *out) {
  struct json usage = json_in(response, SPAN("usage"));
  if (usage.type != JSON_OBJECT) return false;
  responses_usage(usage, out);
  usage_tier(json_in(response, SPAN("service_tier")), out);
  int64_t searches = 0, calls = 0;
  tools_in(json_in(response, SPAN("output")), &searches, &calls);
  if (searches) out->searches = searches;
  if (calls) out->tool_calls = calls;
  return true;
}

static void take_end(struct reading *r, struct pieces *p, const struct event_members *m, enum kind kind) {
  struct span finish = finish_of(m->response);
  if (!finish.n) finish = kind == KIND_COMPLETED ? SPAN("completed") : SPAN("incomplete");
  if (!r->state->said) {                           /* some servers tell the text only here */
    struct pieces whole = { 0 };
    output_read(&whole, json_in(m->response, SPAN("output")));
    p->real = whole.real;
  }
  r->state->finished = r->state->terminated = true;
  r->out->class = EVENT_TERMINATOR;
  r->out->terminal = true;
  r->out->finish = p->finish = finish;
  r->out->fault = responses_silence(finish);
  r->out->model = string_raw(json_in(m->response, SPAN("model")));
  r->out->has_usage = response_usage(m->response, &r->out->usage);
}

static void take_failure(struct reading *r, const struct event_members *m) {
  struct json error = json_in(m->response, SPAN("error"));
  event_fail(DIALECT_RESPONSES, error.type == JSON_OBJECT ? error : (struct json){ JSON_OBJECT, r->data }, r->out);
  r->out->terminal = true;
  r->state->finished = true;
  r->out->has_usage = response_usage(m->response, &r->out->usage);
}

/* Whether the event may come now: pieces belong to an item that is open, an item begins once, the response too. */
static bool in_order(struct event_state *s, enum kind kind, const struct event_members *m) {
  int index = output_index(m);
  bool kept = m->output_index.type == JSON_NUMBER && index < EVENT_OPEN_CHOICES;
  uint64_t bit = (uint64_t)1 << (index % 64), *word = &s->begun[kept ? index / 64 : 0];
  switch (kind) {
  case KIND_CREATED: return !s->said && !s->begun[0] && !s->begun[1];
  case KIND_TEXT: case KIND_THINKING: case KIND_ARGUMENTS: return !kept || (*word & bit);
  case KIND_ITEM:
    if (!kept) return true;
    if (*word & bit) return false;
    *word |= bit;
    return true;
  case KIND_ITEM_DONE:
    if (kept) *word &= ~bit;
    return true;
  default: return true;
  }
}

static void take_sequence(struct event_state *s, const struct event_members *m) {
  int64_t n = json_count(m->sequence);
  s->sequence = n >= 0 ? n : s->started ? s->sequence + 1 : 0;
  s->started = true;
}

static void responses_event(struct reading *r, struct pieces *p) {
  struct event_members m = { 0 };
  for (size_t i = 0; i < r->count; i++) member_sort(&m, r->members[i].key, r->members[i].value);
  enum kind kind = members_kind(&m, r->name);
  if (!in_order(r->state, kind, &m)) {
    event_protocol(r->out, SPAN("an event came out of order"));
    return;
  }
  take_sequence(r->state, &m);
  switch (kind) {
  case KIND_CREATED: case KIND_OPENED: r->out->model = string_raw(json_in(m.response, SPAN("model"))); break;
  case KIND_COMPLETED: case KIND_INCOMPLETE: take_end(r, p, &m, kind); break;
  case KIND_FAILED: take_failure(r, &m); break;
  case KIND_ERROR: event_fail(DIALECT_RESPONSES, (struct json){ JSON_OBJECT, r->data }, r->out); break;
  default: content_read(p, kind, &m); break;
  }
}

static void responses_pieces(const struct operation_info *o, struct span name, struct json data, struct pieces *p) {
  struct event_members m = { 0 };
  struct json_iter i = json_iter(data);
  struct json key, value;
  (void)o;
  while (json_next(&i, &key, &value)) member_sort(&m, key, value);
  enum kind kind = members_kind(&m, name);
  content_read(p, kind, &m);
  if (kind != KIND_COMPLETED && kind != KIND_INCOMPLETE) return;
  struct span finish = finish_of(m.response);
  piece_finish(p, 0, finish.n ? finish : kind == KIND_COMPLETED ? SPAN("completed") : SPAN("incomplete"));
  struct usage counts;
  if (response_usage(m.response, &counts)) piece_usage(p, &counts);
}

static void responses_answer(const struct operation_info *o, struct json document, struct answer_parts *parts,
                             struct pieces *p) {
  struct json output = json_in(document, SPAN("output")), status = json_in(document, SPAN("status"));
  if (o->operation == OP_INPUT_TOKENS) {
    parts->shaped = p->real = json_count(json_in(document, SPAN("input_tokens"))) >= 0;
    return;
  }
  parts->shaped = output.type == JSON_ARRAY;
  parts->pending = json_string_is(status, SPAN("queued")) || json_string_is(status, SPAN("in_progress"));
  parts->usage = json_in(document, SPAN("usage"));
  parts->tier = json_in(document, SPAN("service_tier"));
  tools_in(output, &parts->searches, &parts->tool_calls);
  parts->model = json_in(document, SPAN("model"));
  if (json_string_is(status, SPAN("failed")) || json_truthy(json_in(document, SPAN("error")))) parts->error = document;
  output_read(p, output);
  struct span finish = finish_of(document);
  if (finish.n) piece_finish(p, 0, finish);
}

const struct dialect_impl dialect_responses = {
  .event = responses_event, .pieces = responses_pieces, .usage = responses_usage, .answer = responses_answer,
  .silence = responses_silence, .overflow = overflow,
};
