/* request.c: what a request asks, read where it stands. */
#include "dialect_impl.h"

struct body {
  const struct operation_info *operation;
  const struct json_member *members;
  size_t count;
};

static struct json member(const struct body *b, struct span name) { return json_member_of(b->members, b->count, name); }
static bool given(struct json v) { return v.type != JSON_NONE && v.type != JSON_NULL; }
static bool is_word(struct json v, struct span word) { return v.type == JSON_STRING && json_string_is(v, word); }

/* String content that can be used as it stands; empty otherwise. */
static struct span plain_string(struct json v) {
  struct span s = string_raw(v);
  return s.n && !memchr(s.p, '\\', s.n) ? s : (struct span){ NULL, 0 };
}

/* ---- limits */
struct limit_name { struct span name; const char *why; };
static const struct limit_name limits[] = {
  { SPAN("max_tokens"), "'max_tokens' must be a whole number" },
  { SPAN("max_completion_tokens"), "'max_completion_tokens' must be a whole number" },
  { SPAN("max_output_tokens"), "'max_output_tokens' must be a whole number" },
};

static bool limit_counts(const struct operation_info *o, size_t i) {
  static const unsigned char known[OP_COUNT] = { [OP_CHAT] = 3, [OP_COMPLETIONS] = 1, [OP_RESPONSES] = 4, [OP_MESSAGES] = 1 };
  return known[o->operation] >> i & 1;
}

/* The larger of two names for one limit counts, since servers differ in which one they obey. Below zero means no limit to some. */
static bool limit_read(const struct body *b, struct request_facts *out, const char **why) {
  out->max_tokens = -1;
  for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
    struct json v = member(b, limits[i].name);
    int64_t n;
    if (!given(v) || !limit_counts(b->operation, i)) continue;
    if (v.type != JSON_NUMBER || !json_i64(v, &n)) {
      *why = limits[i].why;
      return false;
    }
    if (n > out->max_tokens) out->max_tokens = n;
  }
  return true;
}

/* ---- reasoning */
static bool effort(struct json v) { return string_full(v) && !is_word(v, SPAN("none")); }

static bool reasoning_read(const struct body *b) {
  struct json thinking = member(b, SPAN("thinking")), reasoning = member(b, SPAN("reasoning"));
  struct json type = json_get(thinking, SPAN("type"));
  if (string_full(type) && !is_word(type, SPAN("disabled"))) return true;
  if (effort(json_get(member(b, SPAN("output_config")), SPAN("effort")))) return true;
  if (b->operation->dialect == DIALECT_MESSAGES) return false;
  if (effort(member(b, SPAN("reasoning_effort"))) || member(b, SPAN("enable_thinking")).type == JSON_TRUE) return true;
  if (json_count(member(b, SPAN("thinking_budget"))) > 0) return true;
  if (reasoning.type != JSON_OBJECT || json_get(reasoning, SPAN("enabled")).type == JSON_FALSE) return false;
  struct json level = json_get(reasoning, SPAN("effort"));
  return !string_full(level) || effort(level);
}

/* ---- state that is valid only where it was made */
static bool has_file(struct json part) {
  return given(json_get(part, SPAN("file_id"))) || given(json_at(part, "file.file_id")) || given(json_at(part, "source.file_id"));
}

/* One part of a message's content, of any dialect. */
static bool part_bound(struct json part) {
  if (part.type != JSON_OBJECT) return false;
  struct span type = string_raw(json_get(part, SPAN("type")));
  if (span_eq(type, SPAN("text")) || span_eq(type, SPAN("input_text"))) return false;
  if (span_eq(type, SPAN("thinking"))) return string_full(json_get(part, SPAN("signature")));
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
    struct json inner = json_get(part, SPAN("content"));       /* tool_result */
    if (inner.type == JSON_ARRAY && parts_bound(inner)) return true;
  }
  return false;
}

static bool message_bound(struct json message) {
  struct json_iter i = json_iter(message);
  struct json key, item;
  while (json_next(&i, &key, &item)) {
    if (!given(item)) continue;
    if (json_string_is(key, SPAN("content"))) {
      if (parts_bound(item)) return true;
    } else if (json_string_is(key, SPAN("audio"))) {
      if (given(json_get(item, SPAN("id")))) return true;
    } else if (json_string_is(key, SPAN("reasoning_details")) || json_string_is(key, SPAN("thinking_blocks"))) {
      struct json_iter d = json_iter(item);
      struct json detail;
      while (json_next(&d, &key, &detail))
        if (string_full(json_get(detail, SPAN("signature"))) || string_full(json_get(detail, SPAN("data")))) return true;
    }
  }
  return false;
}

/* An item of a responses input. */
static bool item_bound(struct json item) {
  struct span type = string_raw(json_get(item, SPAN("type")));
  if (!type.n || span_eq(type, SPAN("message"))) return message_bound(item);
  if (span_eq(type, SPAN("function_call")) || span_eq(type, SPAN("custom_tool_call"))) return false;
  if (span_ends(type, SPAN("_output"))) return parts_bound(json_get(item, SPAN("output")));
  return true;                                     /* references, reasoning, compaction, hosted tools */
}

static bool list_bound(struct json list, bool (*bound)(struct json)) {
  struct json_iter i = json_iter(list);
  struct json key, item;
  if (list.type != JSON_ARRAY) return false;
  while (json_next(&i, &key, &item))
    if (item.type == JSON_OBJECT && bound(item)) return true;
  return false;
}

static bool tool_bound(struct json tool) { return given(json_get(tool, SPAN("vector_store_ids"))); }

static bool bound_read(const struct body *b) {
  switch (b->operation->operation) {
  case OP_RESPONSES:
    return given(member(b, SPAN("previous_response_id"))) || given(member(b, SPAN("conversation"))) ||
           given(member(b, SPAN("prompt"))) || list_bound(member(b, SPAN("input")), item_bound) ||
           list_bound(member(b, SPAN("tools")), tool_bound);
  case OP_CHAT: return list_bound(member(b, SPAN("messages")), message_bound);
  case OP_MESSAGES: case OP_COUNT_TOKENS:
    return member(b, SPAN("container")).type == JSON_STRING || list_bound(member(b, SPAN("messages")), message_bound);
  default: return false;
  }
}

static void who_read(const struct body *b, struct request_facts *out) {
  struct json metadata = member(b, SPAN("metadata"));
  struct span by_metadata = plain_string(json_get(metadata, SPAN("user_id")));
  out->user = plain_string(member(b, SPAN("user")));
  if (!out->user.n) out->user = plain_string(member(b, SPAN("safety_identifier")));
  if (!out->user.n) out->user = by_metadata;
  out->session = plain_string(json_get(metadata, SPAN("session_id")));
  if (!out->session.n) out->session = by_metadata;
}

bool request_read(const struct operation_info *o, const struct json_member *members, size_t count, struct request_facts *out,
                  const char **why) {
  struct body b = { o, members, count };
  struct json stream = member(&b, SPAN("stream")), model = member(&b, SPAN("model"));
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
  out->wants_usage = json_get(member(&b, SPAN("stream_options")), SPAN("include_usage")).type == JSON_TRUE;
  out->reasoning = reasoning_read(&b);
  out->bound = bound_read(&b);
  who_read(&b, out);
  return true;
}

/* ---- names */
struct member_name { struct span word; const char *names[OP_COUNT]; };

const char *request_member(const struct operation_info *o, const struct json_member *members, size_t count, struct span word) {
  static const struct member_name known[] = {
    { SPAN("model"), { "model", "model", "model", "model", "model", "model" } },
    { SPAN("messages"), { "messages", "prompt", "input", "input", "messages", "messages" } },
    { SPAN("max_tokens"), { "max_completion_tokens", "max_tokens", NULL, "max_output_tokens", "max_tokens", NULL } },
    { SPAN("temperature"), { "temperature", "temperature", NULL, "temperature", "temperature", NULL } },
    { SPAN("top_p"), { "top_p", "top_p", NULL, "top_p", "top_p", NULL } },
    { SPAN("stop"), { "stop", "stop", NULL, NULL, "stop_sequences", NULL } },
    { SPAN("tools"), { "tools", NULL, NULL, "tools", "tools", "tools" } },
    { SPAN("system"), { NULL, NULL, NULL, "instructions", "system", "system" } },
  };
  if (o->operation == OP_CHAT && span_eq(word, SPAN("max_tokens")) && json_member_of(members, count, word).type != JSON_NONE &&
      json_member_of(members, count, SPAN("max_completion_tokens")).type == JSON_NONE)
    return "max_tokens";
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (span_eq(word, known[i].word)) return known[i].names[o->operation];
  return NULL;
}
