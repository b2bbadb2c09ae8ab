/* view_write.c: what policies made of messages and tools, in the words of the client's dialect. */
#include "view_impl.h"

struct writing {
  const struct operation_info *operation;
  const struct view *was;
  const struct view_new *now;
  size_t count, at;
  struct json list;                   /* as the body has it */
  struct span *items;                 /* its items, in place */
  struct json instructions;           /* as the body has them */
  struct arena *arena;
  struct buf out;                     /* the list, open */
  struct buf system;                  /* instructions: JSON items of text blocks (messages) */
  size_t systems;
  bool system_same;                   /* all of it is what stood there */
  bool results;                       /* messages: a user message of tool results is open */
  const char *why;
};

static struct span *items_of(struct json list, struct arena *a) {
  struct json_iter i = json_iter(list);
  struct span *items = arena_alloc(a, (list_length(list) + 1) * sizeof *items);
  size_t n = 0;
  for (struct json key, item; list.type == JSON_ARRAY && json_next(&i, &key, &item);) items[n++] = item.text;
  return items;
}

/* All that was made of one item of the body stands here still: it goes back as it came. Gives how many. */
static size_t untouched(const struct writing *w) {
  int same = w->now[w->at].same, from;
  size_t n = 0;
  if (same < 0 || (from = w->was->items[same].from) < 0) return 0;
  if (same > 0 && w->was->items[same - 1].from == from) return 0;        /* not its first */
  while ((size_t)same + n < w->was->count && w->was->items[same + (int)n].from == from) {
    if (w->at + n >= w->count || w->now[w->at + n].same != same + (int)n) return 0;
    n++;
  }
  return n;
}

static bool is_system(struct json message) {
  struct json role = json_in(message, SPAN("role"));
  return is_word(role, SPAN("system")) || is_word(role, SPAN("developer"));
}

static bool is_gemini(const struct writing *w) { return w->operation->dialect == DIALECT_GEMINI; }

static struct json content_of(struct json message) { return json_in(message, SPAN("content")); }

/* ---- messages */
/* A content as blocks without their list: of a string, one text block, unless it is empty. */
static void blocks_add(struct buf *to, struct json content) {
  struct json_iter i = json_iter(content);
  if (content.type == JSON_STRING && string_full(content)) {
    item_comma(to);
    buf_add(to, SPAN("{\"type\":\"text\",\"text\":"));
    buf_add(to, content.text);
    buf_byte(to, '}');
  }
  for (struct json key, part; content.type == JSON_ARRAY && json_next(&i, &key, &part);) {
    item_comma(to);
    buf_add(to, part.text);
  }
}

static bool call_block(struct writing *w, struct json call) {
  struct json f = json_in(call, SPAN("function")), arguments = json_in(f, SPAN("arguments")), input;
  struct span text = SPAN("{}");
  if (string_full(arguments)) json_unescape(arguments, w->arena, &text);
  if (!json_read(text, &input, NULL) || input.type != JSON_OBJECT) return w->why = "the arguments of a tool call are no JSON object", false;
  item_comma(&w->out);
  struct object_out o = object_begin(&w->out);
  object_put(&o, SPAN("type"), SPAN("\"tool_use\""));
  OBJECT_COPY(&o, call, SPAN("type"), SPAN("function"), SPAN("index"));
  if (json_in(f, SPAN("name")).type != JSON_NONE) object_put(&o, SPAN("name"), json_in(f, SPAN("name")).text);
  object_put(&o, SPAN("input"), text);
  object_end(&o);
  return true;
}

static void results_close(struct writing *w) {
  if (w->results) buf_add(&w->out, SPAN("]}"));
  w->results = false;
}

static void result_add(struct writing *w, struct json message) {
  if (!w->results) {
    item_comma(&w->out);
    buf_add(&w->out, is_gemini(w) ? SPAN("{\"role\":\"user\",\"parts\":[") : SPAN("{\"role\":\"user\",\"content\":["));
  }
  w->results = true;
  if (is_gemini(w)) { gemini_result_add(&w->out, message); return; }
  item_comma(&w->out);
  struct object_out o = object_begin(&w->out);
  struct json id = json_in(message, SPAN("tool_call_id")), content = content_of(message);
  object_put(&o, SPAN("type"), SPAN("\"tool_result\""));
  if (id.type != JSON_NONE) object_put(&o, SPAN("tool_use_id"), id.text);
  if (content.type != JSON_NONE) object_put(&o, SPAN("content"), content.text);
  OBJECT_COPY(&o, message, SPAN("role"), SPAN("tool_call_id"), SPAN("content"));
  object_end(&o);
}

static bool calling_add(struct writing *w, struct json message, struct json calls) {
  struct json_iter i = json_iter(calls);
  bool good = true;
  item_comma(&w->out);
  struct object_out o = object_begin(&w->out);
  OBJECT_COPY(&o, message, SPAN("content"), SPAN("tool_calls"));
  object_put(&o, SPAN("content"), SPAN("["));
  blocks_add(&w->out, content_of(message));
  for (struct json key, call; good && json_next(&i, &key, &call);) good = call_block(w, call);
  buf_byte(&w->out, ']');
  object_end(&o);
  return good;
}

static bool messages_add(struct writing *w, struct json message) {
  struct json role = json_in(message, SPAN("role")), calls = json_in(message, SPAN("tool_calls"));
  if (is_word(role, SPAN("tool"))) return result_add(w, message), true;
  if (w->results && is_word(role, SPAN("user"))) {       /* what the user says beside the results */
    (is_gemini(w) ? gemini_parts_add : blocks_add)(&w->out, content_of(message));
    return results_close(w), true;
  }
  results_close(w);
  if (is_gemini(w)) return gemini_message_add(&w->out, message, w->arena, &w->why);
  if (calls.type == JSON_ARRAY) return calling_add(w, message, calls);
  item_comma(&w->out);
  buf_add(&w->out, message.text);
  return true;
}

/* ---- responses */
static const struct span text_type[] = { SPAN("text") };

static void call_items(struct writing *w, struct json message, struct json calls) {
  struct json_iter i = json_iter(calls);
  bool alone = list_length(calls) == 1 && content_of(message).type == JSON_NONE;
  for (struct json key, call; json_next(&i, &key, &call);) {
    struct json f = json_in(call, SPAN("function")), id = json_in(call, SPAN("id"));
    item_comma(&w->out);
    struct object_out o = object_begin(&w->out);
    object_put(&o, SPAN("type"), SPAN("\"function_call\""));
    if (id.type != JSON_NONE) object_put(&o, SPAN("call_id"), id.text);
    OBJECT_COPY(&o, f, SPAN("type"));
    if (alone) OBJECT_COPY(&o, message, SPAN("role"), SPAN("content"), SPAN("tool_calls"), SPAN("type"), SPAN("name"), SPAN("arguments"), SPAN("call_id"));
    object_end(&o);
  }
}

static bool responses_add(struct writing *w, struct json message) {
  struct json role = json_in(message, SPAN("role")), content = content_of(message), calls = json_in(message, SPAN("tool_calls"));
  bool tool = is_word(role, SPAN("tool")), talks = content.type == JSON_STRING ? string_full(content) : content.type == JSON_ARRAY;
  if (role.type != JSON_STRING) { item_comma(&w->out); buf_add(&w->out, message.text); return true; }
  if (tool || talks || calls.type != JSON_ARRAY) {
    item_comma(&w->out);
    struct object_out o = object_begin(&w->out);
    struct json id = json_in(message, SPAN("tool_call_id"));
    if (tool) object_put(&o, SPAN("type"), SPAN("\"function_call_output\""));
    if (tool && id.type != JSON_NONE) object_put(&o, SPAN("call_id"), id.text);
    if (tool) OBJECT_COPY(&o, message, SPAN("role"), SPAN("content"), SPAN("tool_call_id"), SPAN("type"));
    else OBJECT_COPY(&o, message, SPAN("content"), SPAN("tool_calls"));
    object_key(&o, tool ? SPAN("output") : SPAN("content"));
    parts_renamed(&w->out, content, text_type, 1, is_word(role, SPAN("assistant")) ? SPAN("output_text") : SPAN("input_text"));
    object_end(&o);
  }
  if (calls.type == JSON_ARRAY) call_items(w, message, calls);
  return true;
}

/* ---- prompts */
static bool prompts_add(struct writing *w, struct json message) {
  struct json content = content_of(message);
  if (!is_word(json_in(message, SPAN("role")), SPAN("user")) || content.type != JSON_STRING) return w->why = "a prompt is the user's text alone", false;
  item_comma(&w->out);
  buf_add(&w->out, content.text);
  return true;
}

/* ---- instructions */
static bool takes_system(const struct writing *w) {
  bool messages = w->operation->dialect == DIALECT_MESSAGES || is_gemini(w), responses = w->operation->dialect == DIALECT_RESPONSES;
  const struct view_new *n = &w->now[w->at];
  if (!is_system(n->value) || (!messages && !responses)) return false;
  if (n->same >= 0 && w->was->items[n->same].from >= 0) return false;    /* it stands in the list itself */
  if (messages) return true;
  return w->at == 0 && content_of(n->value).type == JSON_STRING;         /* responses has one string; others are items */
}

static void system_take(struct writing *w) {
  const struct view_new *n = &w->now[w->at++];
  w->system_same = !w->systems++ && n->same >= 0;
  (is_gemini(w) ? gemini_parts_add : blocks_add)(&w->system, content_of(n->value));
}

/* A single one that is a string stays one. */
static void system_write(struct writing *w, struct view_written *out) {
  struct json only = { JSON_NONE, { NULL, 0 } };
  bool had = w->instructions.type != JSON_NONE;
  for (size_t i = 0; i < w->count && only.type == JSON_NONE; i++)
    if (is_system(w->now[i].value) && (w->now[i].same < 0 || w->was->items[w->now[i].same].from < 0)) only = content_of(w->now[i].value);
  if (w->systems ? w->system_same && w->systems == 1 : !had) return;
  out->instructions_set = true;
  if (!w->systems) return;
  if (is_gemini(w)) {
    out->instructions = arena_printf(w->arena, "{\"parts\":[%.*s]}", SPAN_FMT(buf_span(&w->system)));
    return;
  }
  if (w->systems == 1) {
    out->instructions = arena_copy(w->arena, only.text);
    return;
  }
  struct buf list = { 0 };
  buf_byte(&list, '[');
  buf_add(&list, buf_span(&w->system));
  buf_byte(&list, ']');
  out->instructions = text_keep(&list, w->arena);
}

static bool add_one(struct writing *w) {
  struct json message = w->now[w->at++].value;
  if (message.type != JSON_OBJECT) return w->why = "a message is a table with a role", false;
  switch (w->operation->operation) {
  case OP_RESPONSES: case OP_INPUT_TOKENS: return responses_add(w, message);
  case OP_COMPLETIONS: return prompts_add(w, message);
  default: return messages_add(w, message);
  }
}

bool view_messages_write(const struct operation_info *o, const struct json_member *members, size_t count, const struct view *was, const struct view_new *now,
                         size_t n, struct arena *a, struct view_written *out, const char **why) {
  const char *name = request_member(o, members, count, SPAN("messages")), *system = request_member(o, members, count, SPAN("system"));
  struct writing w = { .operation = o, .was = was, .now = now, .count = n, .arena = a };
  bool good = true, one = o->operation == OP_COMPLETIONS;
  *out = (struct view_written){ 0 };
  w.list = json_member_of(members, count, span_cstr(name));
  w.items = items_of(w.list, a);
  if (system) w.instructions = json_member_of(members, count, span_cstr(system));
  if (w.instructions.type == JSON_NULL) w.instructions.type = JSON_NONE;
  buf_byte(&w.out, '[');
  while (good && w.at < n) {
    size_t same = w.list.type == JSON_ARRAY ? untouched(&w) : 0;
    if (same) {
      results_close(&w);
      item_comma(&w.out);
      buf_add(&w.out, w.items[was->items[now[w.at].same].from]);
      w.at += same;
    } else if (takes_system(&w)) {
      system_take(&w);
    } else {
      good = add_one(&w);
    }
  }
  results_close(&w);
  buf_byte(&w.out, ']');
  if (good && one && n == 1 && w.list.type != JSON_ARRAY) out->list = arena_copy(a, content_of(now[0].value).text);
  else out->list = arena_copy(a, buf_span(&w.out));
  if (good && system) system_write(&w, out);
  *why = w.why;
  buf_free(&w.out);
  buf_free(&w.system);
  return good;
}

/* ---- tools */
static void tool_write(struct buf *to, struct json tool, bool messages) {
  struct json f = json_in(tool, SPAN("function")), schema = json_in(f, SPAN("parameters"));
  if (!has_type(tool, SPAN("function")) || f.type != JSON_OBJECT) { buf_add(to, tool.text); return; }
  struct object_out o = object_begin(to);
  if (!messages) object_put(&o, SPAN("type"), SPAN("\"function\""));
  OBJECT_COPY(&o, f, SPAN("parameters"), SPAN("type"));
  if (messages) object_put(&o, SPAN("input_schema"), schema.type == JSON_OBJECT ? schema.text : SPAN("{\"type\":\"object\",\"properties\":{}}"));
  else if (schema.type != JSON_NONE) object_put(&o, SPAN("parameters"), schema.text);
  OBJECT_COPY(&o, tool, SPAN("type"), SPAN("function"));
  object_end(&o);
}

struct span view_tools_write(const struct operation_info *o, struct json was, const struct view_new *now, size_t n, struct arena *a) {
  if (o->dialect == DIALECT_GEMINI) return gemini_tools_write(was, now, n, a);
  struct buf b = { 0 };
  struct span *items = items_of(was, a);
  buf_byte(&b, '[');
  for (size_t i = 0; i < n; i++) {
    item_comma(&b);
    if (now[i].same >= 0) buf_add(&b, items[now[i].same]);
    else tool_write(&b, now[i].value, o->dialect == DIALECT_MESSAGES);
  }
  buf_byte(&b, ']');
  return text_keep(&b, a);
}
