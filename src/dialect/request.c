/* request.c: what a request asks, read where it stands. */
#include "cursor.h"
#include "gemini.h"

/* The members that mean something, found in one pass over the body. */
struct body {
  const struct operation_info *operation;
  struct json model, stream, max_tokens, max_completion_tokens, max_output_tokens, stream_options, thinking, reasoning,
      output_config, reasoning_effort, enable_thinking, thinking_budget, previous_response_id, conversation, prompt,
      input, tools, messages, container, thread, metadata, litellm_metadata, user, safety_identifier;
};
/* Its place in b; NULL: it means nothing here. By its length there are a few. */
static struct json *field_of(struct body *b, struct json key) {
#define FIELD(name) if (key_is(key, SPAN(#name))) return &b->name
  switch (key.text.n - 2) {
  case 4: FIELD(user); break;
  case 5: FIELD(model); FIELD(input); FIELD(tools); break;
  case 6: FIELD(stream); FIELD(prompt); FIELD(thread); break;
  case 8: FIELD(messages); FIELD(metadata); FIELD(thinking); break;
  case 9: FIELD(reasoning); FIELD(container); break;
  case 10: FIELD(max_tokens); break;
  case 12: FIELD(conversation); break;
  case 13: FIELD(output_config); break;
  case 14: FIELD(stream_options); break;
  case 15: FIELD(enable_thinking); FIELD(thinking_budget); break;
  case 16: FIELD(reasoning_effort); FIELD(litellm_metadata); break;
  case 17: FIELD(max_output_tokens); FIELD(safety_identifier); break;
  case 20: FIELD(previous_response_id); break;
  case 21: FIELD(max_completion_tokens); break;
  }
  return NULL;
}

static void body_read(struct body *b, const struct json_member *members, size_t count) {
  char room[64];
  for (size_t i = 0; i < count; i++) {
    struct json key = key_escaped(members[i].key) ? key_plain(members[i].key, room) : members[i].key, *field = field_of(b, key);
    if (field) *field = members[i].value;
  }
}

static bool given(struct json v) { return v.type != JSON_NONE && v.type != JSON_NULL; }
static bool is_word(struct json v, struct span word) { return v.type == JSON_STRING && json_string_is(v, word); }

/* ---- limits */
/* The larger of two names for one limit counts, since servers differ in which one they obey. Some take a number below
   zero as no limit. */
static bool limit_take(struct json v, const char *wrong, struct request_facts *out, const char **why) {
  int64_t n;
  if (!given(v)) return true;
  if (v.type != JSON_NUMBER || !json_i64(v, &n)) {
    *why = wrong;
    return false;
  }
  if (n > out->max_tokens) out->max_tokens = n;
  return true;
}

static bool limit_read(const struct body *b, struct request_facts *out, const char **why) {
  const char *plain = "'max_tokens' must be a whole number";
  switch (b->operation->operation) {
  case OP_CHAT:
    return limit_take(b->max_tokens, plain, out, why) &&
           limit_take(b->max_completion_tokens, "'max_completion_tokens' must be a whole number", out, why);
  case OP_COMPLETIONS: case OP_MESSAGES: return limit_take(b->max_tokens, plain, out, why);
  case OP_RESPONSES: return limit_take(b->max_output_tokens, "'max_output_tokens' must be a whole number", out, why);
  default: return true;
  }
}

/* ---- reasoning */
static bool effort(struct json v) { return string_full(v) && !is_word(v, SPAN("none")); }

static bool reasoning_read(const struct body *b) {
  struct json reasoning = b->reasoning, type = json_in(b->thinking, SPAN("type"));
  if (string_full(type) && !is_word(type, SPAN("disabled"))) return true;
  if (effort(json_in(b->output_config, SPAN("effort")))) return true;
  if (b->operation->dialect == DIALECT_MESSAGES) return false;
  if (effort(b->reasoning_effort) || b->enable_thinking.type == JSON_TRUE) return true;
  if (json_count(b->thinking_budget) > 0) return true;
  if (reasoning.type != JSON_OBJECT || json_in(reasoning, SPAN("enabled")).type == JSON_FALSE) return false;
  struct json level = json_in(reasoning, SPAN("effort"));
  return !string_full(level) || effort(level);
}

/* ---- state that is valid only where it was made */
static bool has_file(struct json part) {
  return given(json_in(part, SPAN("file_id"))) || given(json_under(part, "file.file_id")) ||
         given(json_under(part, "source.file_id"));
}

/* One part of a message's content, of any dialect. */
static bool part_bound(struct json part) {
  if (part.type != JSON_OBJECT) return false;
  struct span type = string_raw(json_in(part, SPAN("type")));
  if (span_eq(type, SPAN("text")) || span_eq(type, SPAN("input_text"))) return false;
  if (span_eq(type, SPAN("thinking"))) return string_full(json_in(part, SPAN("signature")));
  if (span_eq(type, SPAN("redacted_thinking")) || span_eq(type, SPAN("container_upload"))) return true;
  if (span_ends(type, SPAN("_tool_result"))) return true;      /* of the provider's own tools: encrypted results */
  return has_file(part);
}

static bool parts_bound(struct json parts) {
  struct json_iter i = json_iter(parts);
  struct json key, part;
  if (parts.type != JSON_ARRAY) return false;
  while (json_next(&i, &key, &part)) {
    if (part_bound(part)) return true;
    struct json inner = json_in(part, SPAN("content"));       /* tool_result */
    if (inner.type == JSON_ARRAY && parts_bound(inner)) return true;
  }
  return false;
}

static bool details_bound(struct json details) {
  struct json_iter i = json_iter(details);
  struct json key, detail;
  while (details.type == JSON_ARRAY && json_next(&i, &key, &detail))
    if (string_full(json_in(detail, SPAN("signature"))) || string_full(json_in(detail, SPAN("data")))) return true;
  return false;
}

static bool message_member_bound(struct json key, struct json item) {
  if (key_is(key, SPAN("content"))) return parts_bound(item);
  if (key_is(key, SPAN("audio"))) return given(json_in(item, SPAN("id")));
  if (key_is(key, SPAN("weir"))) return details_bound(json_in(item, SPAN("thinking")));   /* said_write_chat.c */
  return (key_is(key, SPAN("reasoning_details")) || key_is(key, SPAN("thinking_blocks"))) && details_bound(item);
}

/* The object at *at, which is moved past it unless it is bound. Most of a body is text of messages: it is passed over
   once. */
static bool message_bound(const char **at) {
  char room[64];
  for (*at = cursor_enter(*at); **at != '}'; *at = cursor_next(*at)) {
    struct json key = cursor_key(at), item = cursor_value(at);
    if (item.type == JSON_STRING) continue;
    if (key_escaped(key)) key = key_plain(key, room);
    if (message_member_bound(key, item)) return true;
  }
  ++*at;
  return false;
}

/* An item of a responses input. */
static bool item_bound(const char **at) {
  const char *start = *at;
  struct json item = cursor_value(at);
  struct span type = string_raw(json_in(item, SPAN("type")));
  if (!type.n || span_eq(type, SPAN("message"))) return message_bound(&start);
  if (span_eq(type, SPAN("function_call")) || span_eq(type, SPAN("custom_tool_call"))) return false;
  if (span_ends(type, SPAN("_output"))) return parts_bound(json_in(item, SPAN("output")));
  return true;                                     /* references, reasoning, compaction, hosted tools */
}

static bool list_bound(struct json list, bool (*bound)(const char **at)) {
  if (list.type != JSON_ARRAY) return false;
  const char *at = cursor_enter(list.text.p);
  for (; *at != ']'; at = cursor_next(at))
    if (*at != '{') cursor_value(&at);
    else if (bound(&at)) return true;
  return false;
}

static bool tool_bound(const char **at) { return given(json_in(cursor_value(at), SPAN("vector_store_ids"))); }

/* Keys without which nothing below a body's top level is bound: files, signatures and encrypted parts, audio by id, results of the
   provider's own tools, items that only refer. */
static bool may_be_bound(uint64_t keys) {
#define KEY(name) json_key_bit(SPAN(name))
  const uint64_t rare = KEY("file_id") | KEY("signature") | KEY("data") | KEY("id") | KEY("tool_use_id") | KEY("vector_store_ids") |
                        KEY("encrypted_content") | KEY("call_id") | KEY("summary");
  return keys & rare;
}

static bool bound_read(const struct body *b, uint64_t keys) {
  bool deep = b->operation->dialect == DIALECT_RESPONSES || may_be_bound(keys);
  switch (b->operation->operation) {
  case OP_RESPONSES: case OP_INPUT_TOKENS:
    return given(b->previous_response_id) || given(b->conversation) ||
           given(b->prompt) || list_bound(b->input, item_bound) ||
           list_bound(b->tools, tool_bound);
  case OP_CHAT: return deep && list_bound(b->messages, message_bound);
  case OP_MESSAGES: case OP_COUNT_TOKENS:
    return b->container.type == JSON_STRING || given(json_in(b->thread, SPAN("previous_message_id"))) || (deep && list_bound(b->messages, message_bound));
  default: return false;
  }
}

static void who_read(const struct body *b, struct request_facts *out) {
  struct span by_metadata = string_raw(json_in(b->metadata, SPAN("user_id")));
  out->metadata = b->metadata;
  out->litellm_metadata = b->litellm_metadata;
  out->user = string_raw(b->user);
  if (!out->user.n) out->user = string_raw(b->safety_identifier);
  if (!out->user.n) out->user = by_metadata;
  out->session = string_raw(json_in(b->metadata, SPAN("session_id")));
  if (!out->session.n) out->session = by_metadata;
}

bool request_read(const struct operation_info *o, const struct json_member *members, size_t count,
                  struct request_facts *out, const char **why) {
  return request_read_keys(o, members, count, ~0ull, out, why);
}

bool request_read_keys(const struct operation_info *o, const struct json_member *members, size_t count, uint64_t keys,
                       struct request_facts *out, const char **why) {
  struct body b = { .operation = o };
  if (o->dialect == DIALECT_GEMINI) return gemini_request(members, count, out, why);
  body_read(&b, members, count);
  struct json stream = b.stream, model = b.model;
  *out = (struct request_facts){ .max_tokens = -1 };
  if (model.type != JSON_NONE && model.type != JSON_STRING) {
    *why = "'model' must be a string";
    return false;
  }
  if (given(stream) && stream.type != JSON_TRUE && stream.type != JSON_FALSE) {
    *why = "'stream' must be true or false";
    return false;
  }
  if (!limit_read(&b, out, why)) return false;
  out->model = model;
  out->stream = o->streams && stream.type == JSON_TRUE;
  out->stream_options = b.stream_options;
  out->wants_usage = json_in(b.stream_options, SPAN("include_usage")).type == JSON_TRUE;
  out->reasoning = reasoning_read(&b);
  out->bound = bound_read(&b, keys);
  who_read(&b, out);
  return true;
}

/* ---- names */
#define CONFIG "generationConfig."
struct member_name { struct span word; const char *names[OP_COUNT]; };

const char *request_member(const struct operation_info *o, const struct json_member *members, size_t count,
                           struct span word) {
  static const struct member_name known[] = {
    { SPAN("model"), { "model", "model", "model", "model", "model", "model", "model", "model", "model", "model", "model" } },
    { SPAN("messages"), { "messages", "prompt", "input", "input", "messages", "messages", "contents", "contents", "contents", "content", "requests" } },
    { SPAN("max_tokens"), { "max_completion_tokens", "max_tokens", NULL, "max_output_tokens", "max_tokens", NULL, CONFIG "maxOutputTokens", CONFIG "maxOutputTokens" } },
    { SPAN("temperature"), { "temperature", "temperature", NULL, "temperature", "temperature", NULL, CONFIG "temperature", CONFIG "temperature" } },
    { SPAN("top_p"), { "top_p", "top_p", NULL, "top_p", "top_p", NULL, CONFIG "topP", CONFIG "topP" } },
    { SPAN("stop"), { "stop", "stop", NULL, NULL, "stop_sequences", NULL, CONFIG "stopSequences", CONFIG "stopSequences" } },
    { SPAN("tools"), { "tools", NULL, NULL, "tools", "tools", "tools", "tools", "tools" } },
    { SPAN("system"), { NULL, NULL, NULL, "instructions", "system", "system", "systemInstruction", "systemInstruction" } },
  };
  if (o->operation == OP_CHAT && span_eq(word, SPAN("max_tokens")) &&
      json_member_of(members, count, word).type != JSON_NONE &&
      json_member_of(members, count, SPAN("max_completion_tokens")).type == JSON_NONE)
    return "max_tokens";
  bool counts = o->operation == OP_INPUT_TOKENS;          /* a responses request that has no answer */
  if (counts && (span_eq(word, SPAN("max_tokens")) || span_eq(word, SPAN("temperature")) || span_eq(word, SPAN("top_p")))) return NULL;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (span_eq(word, known[i].word)) return known[i].names[counts ? OP_RESPONSES : o->operation];
  return NULL;
}

/* The object that says of which form the answer is to be. */
static struct json format_of(const struct operation_info *o, const struct json_member *members, size_t count) {
  if (o->dialect == DIALECT_CHAT) return json_member_of(members, count, SPAN("response_format"));
  if (o->dialect == DIALECT_RESPONSES) return json_under(json_member_of(members, count, SPAN("text")), "format");
  struct json format = json_under(json_member_of(members, count, SPAN("output_config")), "format");
  return format.type != JSON_NONE ? format : json_member_of(members, count, SPAN("output_format"));
}

bool request_wants_json(const struct operation_info *o, const struct json_member *members, size_t count) {
  if (o->dialect == DIALECT_GEMINI) return json_string_is(json_member_of(members, count, SPAN(CONFIG "responseMimeType")), SPAN("application/json"));
  struct json type = json_in(format_of(o, members, count), SPAN("type"));
  return json_string_is(type, SPAN("json_object")) || json_string_is(type, SPAN("json_schema"));
}

struct json request_schema(const struct operation_info *o, const struct json_member *members, size_t count) {
  if (o->dialect == DIALECT_GEMINI) {
    struct json schema = json_member_of(members, count, SPAN(CONFIG "responseJsonSchema"));
    return schema.type == JSON_OBJECT ? schema : json_absent;
  }
  struct json format = format_of(o, members, count), none = { 0 };
  if (!json_string_is(json_in(format, SPAN("type")), SPAN("json_schema"))) return none;
  struct json schema = o->dialect == DIALECT_CHAT ? json_under(format, "json_schema.schema") : json_in(format, SPAN("schema"));
  return schema.type == JSON_OBJECT ? schema : none;
}
