/* view.c: what a request says, in one shape for policies. */
#include "view_impl.h"

void object_copy(struct object_out *o, struct json from, const struct span *but, size_t count) {
  struct json_iter i = json_iter(from);
  for (struct json key, v; from.type == JSON_OBJECT && json_next(&i, &key, &v);) {
    bool left_out = false;
    for (size_t k = 0; k < count; k++) left_out |= json_string_is(key, but[k]);
    if (left_out) continue;
    if (o->any) buf_byte(o->to, ',');
    o->any = true;
    buf_add(o->to, key.text);
    buf_byte(o->to, ':');
    buf_add(o->to, v.text);
  }
}

struct span text_keep(struct buf *text, struct arena *a) {
  struct span s = arena_copy(a, buf_span(text));
  buf_free(text);
  return s;
}

bool has_type(struct json part, struct span word) { return is_word(json_in(part, SPAN("type")), word); }

size_t list_length(struct json list) {
  struct json_iter i = json_iter(list);
  size_t n = 0;
  for (struct json key, v; list.type == JSON_ARRAY && json_next(&i, &key, &v);) n++;
  return n;
}

void parts_renamed(struct buf *to, struct json content, const struct span *from, size_t count, struct span into) {
  struct json_iter i = json_iter(content);
  if (content.type != JSON_ARRAY) { buf_add(to, content.type == JSON_NONE ? SPAN("\"\"") : content.text); return; }
  buf_byte(to, '[');
  for (struct json key, part; json_next(&i, &key, &part);) {
    bool text = false;
    for (size_t k = 0; k < count; k++) text |= has_type(part, from[k]);
    item_comma(to);
    if (!text) { buf_add(to, part.text); continue; }
    struct object_out o = object_begin(to);
    object_key(&o, SPAN("type"));
    json_write_string(to, into);
    OBJECT_COPY(&o, part, SPAN("type"));
    object_end(&o);
  }
  buf_byte(to, ']');
}

/* ---- the list that is made */
struct making { struct view *out; struct arena *arena; size_t cap; };

static void add(struct making *m, struct span text, int from) {
  struct view *v = m->out;
  if (v->count == m->cap) {
    m->cap = m->cap ? 2 * m->cap : 16;
    struct view_item *more = arena_alloc(m->arena, m->cap * sizeof *more);
    if (v->count) memcpy(more, v->items, v->count * sizeof *more);
    v->items = more;
  }
  v->items[v->count++] = (struct view_item){ text, from };
}

static void add_item(void *m, struct span text, int from) { add(m, text, from); }

static void add_made(struct making *m, struct buf *text, int from) { add(m, text_keep(text, m->arena), from); }

static void add_said(struct making *m, const char *role, struct json content, int from) {
  struct buf b = { 0 };
  buf_printf(&b, "{\"role\":\"%s\",\"content\":", role);
  buf_add(&b, content.text);
  buf_byte(&b, '}');
  add_made(m, &b, from);
}

/* ---- messages */
/* A tool_use block as a call of chat. */
static void call_view(struct buf *to, struct json block) {
  struct json input = json_in(block, SPAN("input"));
  struct object_out call = object_begin(to);
  OBJECT_COPY(&call, block, SPAN("type"), SPAN("name"), SPAN("input"));
  object_put(&call, SPAN("type"), SPAN("\"function\""));
  object_key(&call, SPAN("function"));
  struct object_out f = object_begin(to);
  object_put(&f, SPAN("name"), json_in(block, SPAN("name")).type == JSON_STRING ? json_in(block, SPAN("name")).text : SPAN("\"\""));
  object_key(&f, SPAN("arguments"));
  json_write_string(to, input.type == JSON_NONE ? SPAN("{}") : input.text);
  object_end(&f);
  object_end(&call);
}

static bool any_of_type(struct json list, struct span word) {
  struct json_iter i = json_iter(list);
  for (struct json key, part; list.type == JSON_ARRAY && json_next(&i, &key, &part);)
    if (has_type(part, word)) return true;
  return false;
}

/* The parts of a list that are not of that type, as a list. */
static void parts_but(struct buf *to, struct json list, struct span word) {
  struct json_iter i = json_iter(list);
  buf_byte(to, '[');
  for (struct json key, part; json_next(&i, &key, &part);) {
    if (has_type(part, word)) continue;
    item_comma(to);
    buf_add(to, part.text);
  }
  buf_byte(to, ']');
}

static void calling_view(struct making *m, struct json message, struct json content, int from) {
  struct buf b = { 0 }, rest = { 0 };
  struct json_iter i = json_iter(content);
  parts_but(&rest, content, SPAN("tool_use"));
  struct object_out o = object_begin(&b);
  OBJECT_COPY(&o, message, SPAN("content"));
  if (buf_size(&rest) > 2) object_put(&o, SPAN("content"), buf_span(&rest));
  object_put(&o, SPAN("tool_calls"), SPAN("["));
  for (struct json key, part; json_next(&i, &key, &part);) {
    if (!has_type(part, SPAN("tool_use"))) continue;
    item_comma(&b);
    call_view(&b, part);
  }
  buf_byte(&b, ']');
  object_end(&o);
  buf_free(&rest);
  add_made(m, &b, from);
}

/* Each result is a message of the tool; what the user says beside them stands behind. */
static void results_view(struct making *m, struct json message, struct json content, int from) {
  struct json_iter i = json_iter(content);
  struct buf rest = { 0 };
  for (struct json key, part; json_next(&i, &key, &part);) {
    struct buf b = { 0 };
    if (!has_type(part, SPAN("tool_result"))) continue;
    struct object_out o = object_begin(&b);
    object_put(&o, SPAN("role"), SPAN("\"tool\""));
    struct json id = json_in(part, SPAN("tool_use_id")), said = json_in(part, SPAN("content"));
    if (id.type != JSON_NONE) object_put(&o, SPAN("tool_call_id"), id.text);
    object_put(&o, SPAN("content"), said.type == JSON_NONE ? SPAN("\"\"") : said.text);
    OBJECT_COPY(&o, part, SPAN("type"), SPAN("tool_use_id"), SPAN("content"));
    object_end(&o);
    add_made(m, &b, from);
  }
  parts_but(&rest, content, SPAN("tool_result"));
  if (buf_size(&rest) > 2) {
    struct buf b = { 0 };
    struct object_out o = object_begin(&b);
    OBJECT_COPY(&o, message, SPAN("content"));
    object_put(&o, SPAN("content"), buf_span(&rest));
    object_end(&o);
    add_made(m, &b, from);
  }
  buf_free(&rest);
}

static void messages_view(struct making *m, struct json system, struct json list) {
  struct json_iter i = json_iter(list);
  int from = 0;
  if (system.type == JSON_STRING || system.type == JSON_ARRAY) add_said(m, "system", system, VIEW_INSTRUCTIONS);
  for (struct json key, message; list.type == JSON_ARRAY && json_next(&i, &key, &message); from++) {
    struct json content = json_in(message, SPAN("content"));
    if (any_of_type(content, SPAN("tool_use"))) calling_view(m, message, content, from);
    else if (any_of_type(content, SPAN("tool_result"))) results_view(m, message, content, from);
    else add(m, message.text, from);
  }
}

/* ---- responses */
static void call_item_view(struct making *m, struct json item, int from) {
  struct buf b = { 0 };
  struct object_out o = object_begin(&b);
  object_put(&o, SPAN("role"), SPAN("\"assistant\""));
  OBJECT_COPY(&o, item, SPAN("type"), SPAN("call_id"), SPAN("name"), SPAN("arguments"), SPAN("role"));
  object_put(&o, SPAN("tool_calls"), SPAN("["));
  struct object_out call = object_begin(&b);
  struct json id = json_in(item, SPAN("call_id")), name = json_in(item, SPAN("name")), arguments = json_in(item, SPAN("arguments"));
  if (id.type != JSON_NONE) object_put(&call, SPAN("id"), id.text);
  object_put(&call, SPAN("type"), SPAN("\"function\""));
  object_key(&call, SPAN("function"));
  struct object_out f = object_begin(&b);
  if (name.type != JSON_NONE) object_put(&f, SPAN("name"), name.text);
  if (arguments.type != JSON_NONE) object_put(&f, SPAN("arguments"), arguments.text);
  object_end(&f);
  object_end(&call);
  buf_byte(&b, ']');
  object_end(&o);
  add_made(m, &b, from);
}

static const struct span said_types[] = { SPAN("input_text"), SPAN("output_text") };

static void output_item_view(struct making *m, struct json item, int from) {
  struct buf b = { 0 };
  struct object_out o = object_begin(&b);
  struct json id = json_in(item, SPAN("call_id"));
  object_put(&o, SPAN("role"), SPAN("\"tool\""));
  if (id.type != JSON_NONE) object_put(&o, SPAN("tool_call_id"), id.text);
  object_key(&o, SPAN("content"));
  parts_renamed(&b, json_in(item, SPAN("output")), said_types, 2, SPAN("text"));
  OBJECT_COPY(&o, item, SPAN("type"), SPAN("call_id"), SPAN("output"), SPAN("role"));
  object_end(&o);
  add_made(m, &b, from);
}

static void message_item_view(struct making *m, struct json item, int from) {
  struct buf b = { 0 };
  struct object_out o = object_begin(&b);
  OBJECT_COPY(&o, item, SPAN("type"), SPAN("content"));
  object_key(&o, SPAN("content"));
  parts_renamed(&b, json_in(item, SPAN("content")), said_types, 2, SPAN("text"));
  object_end(&o);
  add_made(m, &b, from);
}

static void responses_view(struct making *m, struct json instructions, struct json input) {
  struct json_iter i = json_iter(input);
  int from = 0;
  if (instructions.type == JSON_STRING) add_said(m, "system", instructions, VIEW_INSTRUCTIONS);
  if (input.type == JSON_STRING) add_said(m, "user", input, 0);
  for (struct json key, item; input.type == JSON_ARRAY && json_next(&i, &key, &item); from++) {
    struct json type = json_in(item, SPAN("type")), role = json_in(item, SPAN("role"));
    if (is_word(type, SPAN("function_call"))) call_item_view(m, item, from);
    else if (is_word(type, SPAN("function_call_output"))) output_item_view(m, item, from);
    else if (role.type == JSON_STRING && (type.type == JSON_NONE || is_word(type, SPAN("message")))) message_item_view(m, item, from);
    else add(m, item.text, from);
  }
}

/* ---- prompts: each text is the user's */
static bool prompts_view(struct making *m, struct json prompt) {
  struct json_iter i = json_iter(prompt), look = i;
  int from = 0;
  if (prompt.type == JSON_STRING) return add_said(m, "user", prompt, 0), true;
  for (struct json key, item; prompt.type == JSON_ARRAY && json_next(&look, &key, &item);)
    if (item.type != JSON_STRING) return false;
  for (struct json key, item; prompt.type == JSON_ARRAY && json_next(&i, &key, &item); from++) add_said(m, "user", item, from);
  return prompt.type == JSON_ARRAY;
}

bool view_messages(const struct operation_info *o, const struct json_member *members, size_t count, struct arena *a, struct view *out) {
  const char *name = request_member(o, members, count, SPAN("messages"));
  struct making m = { .out = out, .arena = a };
  *out = (struct view){ 0 };
  if (!name) return false;
  struct json list = json_member_of(members, count, span_cstr(name));
  switch (o->operation) {
  case OP_MESSAGES: case OP_COUNT_TOKENS: return messages_view(&m, json_member_of(members, count, SPAN("system")), list), true;
  case OP_RESPONSES: case OP_INPUT_TOKENS: return responses_view(&m, json_member_of(members, count, SPAN("instructions")), list), true;
  case OP_COMPLETIONS: return prompts_view(&m, list);
  case OP_GENERATE: case OP_GENERATE_ARRAY: return gemini_view(json_member_of(members, count, SPAN("systemInstruction")), list, a, add_item, &m), true;
  default: return false;
  }
}

/* ---- tools */
static void tool_view(struct making *m, struct json tool, bool messages, int from) {
  struct json schema = json_in(tool, messages ? SPAN("input_schema") : SPAN("parameters")), type = json_in(tool, SPAN("type"));
  bool function = messages ? schema.type == JSON_OBJECT && (type.type == JSON_NONE || is_word(type, SPAN("custom"))) : is_word(type, SPAN("function"));
  struct buf b = { 0 };
  if (!function) { add(m, tool.text, from); return; }
  struct object_out o = object_begin(&b);
  object_put(&o, SPAN("type"), SPAN("\"function\""));
  object_key(&o, SPAN("function"));
  struct object_out f = object_begin(&b);
  OBJECT_COPY(&f, tool, SPAN("type"), SPAN("input_schema"), SPAN("parameters"), SPAN("cache_control"));
  if (schema.type != JSON_NONE) object_put(&f, SPAN("parameters"), schema.text);
  object_end(&f);
  struct json cache = json_in(tool, SPAN("cache_control"));
  if (cache.type != JSON_NONE) object_put(&o, SPAN("cache_control"), cache.text);
  object_end(&o);
  add_made(m, &b, from);
}

bool view_tools(const struct operation_info *o, struct json tools, struct arena *a, struct view *out) {
  struct making m = { .out = out, .arena = a };
  struct json_iter i = json_iter(tools);
  int from = 0;
  *out = (struct view){ 0 };
  if (tools.type == JSON_ARRAY && o->dialect == DIALECT_GEMINI) return gemini_tools_view(tools, a, add_item, &m), true;
  if (tools.type != JSON_ARRAY || (o->dialect != DIALECT_MESSAGES && o->dialect != DIALECT_RESPONSES)) return false;
  for (struct json key, tool; json_next(&i, &key, &tool); from++) tool_view(&m, tool, o->dialect == DIALECT_MESSAGES, from);
  return true;
}
