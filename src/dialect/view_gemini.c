/* view_gemini.c: contents of gemini as messages for policies, and back. A text stays a part with its signature; calls and results are those
   of chat, a call's signature beside it. */
#include "view_impl.h"

static struct json other_name(struct json object, struct span camel, struct span snake) {
  struct json v = json_in(object, camel);
  return v.type != JSON_NONE ? v : json_in(object, snake);
}
static struct json call_of(struct json part) { return other_name(part, SPAN("functionCall"), SPAN("function_call")); }
static struct json result_of(struct json part) { return other_name(part, SPAN("functionResponse"), SPAN("function_response")); }
static bool is_said(struct json part) { return json_in(part, SPAN("text")).type == JSON_STRING && json_in(part, SPAN("thought")).type != JSON_TRUE; }

/* ---- read */
static void call_view(struct buf *to, struct json part) {
  struct json call = call_of(part), name = json_in(call, SPAN("name")), id = json_in(call, SPAN("id")), args = json_in(call, SPAN("args"));
  struct object_out o = object_begin(to);
  if (id.type == JSON_STRING) object_put(&o, SPAN("id"), id.text);
  object_put(&o, SPAN("type"), SPAN("\"function\""));
  object_key(&o, SPAN("function"));
  struct object_out f = object_begin(to);
  object_put(&f, SPAN("name"), name.type == JSON_STRING ? name.text : SPAN("\"\""));
  object_key(&f, SPAN("arguments"));
  json_write_string(to, args.type == JSON_OBJECT ? args.text : SPAN("{}"));
  object_end(&f);
  OBJECT_COPY(&o, part, SPAN("functionCall"), SPAN("function_call"));
  object_end(&o);
}

static void part_view(struct buf *to, struct json part) {
  item_comma(to);
  if (!is_said(part)) { buf_add(to, part.text); return; }
  struct object_out o = object_begin(to);
  object_put(&o, SPAN("type"), SPAN("\"text\""));
  OBJECT_COPY(&o, part, SPAN("type"));
  object_end(&o);
}

static void result_view(struct buf *to, struct json part) {
  struct json result = result_of(part), id = json_in(result, SPAN("id")), response = json_in(result, SPAN("response")), output = json_in(response, SPAN("output"));
  struct object_out o = object_begin(to);
  object_put(&o, SPAN("role"), SPAN("\"tool\""));
  if (id.type == JSON_STRING) object_put(&o, SPAN("tool_call_id"), id.text);
  object_key(&o, SPAN("content"));
  if (output.type == JSON_STRING) buf_add(to, output.text);
  else json_write_string(to, response.type == JSON_NONE ? SPAN("") : response.text);
  OBJECT_COPY(&o, result, SPAN("id"), SPAN("response"), SPAN("role"), SPAN("content"));
  object_end(&o);
}

/* The texts and what is neither call nor result, as the content of one message; a text alone is a string. */
static bool content_view(struct buf *to, struct json parts) {
  struct json_iter i = json_iter(parts);
  struct json only = json_absent;
  struct buf list = { 0 };
  size_t n = 0;
  buf_byte(&list, '[');
  for (struct json key, part; parts.type == JSON_ARRAY && json_next(&i, &key, &part);) {
    if (call_of(part).type == JSON_OBJECT || result_of(part).type == JSON_OBJECT) continue;
    only = n++ ? json_absent : part;
    part_view(&list, part);
  }
  buf_byte(&list, ']');
  struct json_iter members = json_iter(only);
  struct json key, v;
  bool plain = is_said(only) && json_next(&members, &key, &v) && !json_next(&members, &key, &v);
  buf_add(to, plain ? json_in(only, SPAN("text")).text : buf_span(&list));
  buf_free(&list);
  return n;
}

static struct span message_view(struct json content, struct arena *a) {
  struct json parts = json_in(content, SPAN("parts")), key, part;
  struct json_iter i = json_iter(parts);
  struct buf b = { 0 }, said = { 0 }, calls = { 0 };
  bool any = content_view(&said, parts);
  buf_byte(&calls, '[');
  while (parts.type == JSON_ARRAY && json_next(&i, &key, &part))
    if (call_of(part).type == JSON_OBJECT) item_comma(&calls), call_view(&calls, part);
  struct object_out o = object_begin(&b);
  object_put(&o, SPAN("role"), is_word(json_in(content, SPAN("role")), SPAN("model")) ? SPAN("\"assistant\"") : SPAN("\"user\""));
  if (any || buf_size(&calls) < 2) object_put(&o, SPAN("content"), buf_span(&said));
  if (buf_size(&calls) > 1) buf_byte(&calls, ']'), object_put(&o, SPAN("tool_calls"), buf_span(&calls));
  OBJECT_COPY(&o, content, SPAN("role"), SPAN("parts"), SPAN("content"), SPAN("tool_calls"));
  object_end(&o);
  buf_free(&said);
  buf_free(&calls);
  return text_keep(&b, a);
}

static void content_read(struct json content, int from, struct arena *a, void (*add)(void *to, struct span text, int from), void *to) {
  struct json parts = json_in(content, SPAN("parts")), key, part;
  struct json_iter i = json_iter(parts);
  bool results = false, other = false;
  while (parts.type == JSON_ARRAY && json_next(&i, &key, &part)) {
    struct buf b = { 0 };
    if (result_of(part).type != JSON_OBJECT) { other = true; continue; }
    results = true;
    result_view(&b, part);
    add(to, text_keep(&b, a), from);
  }
  if (other || !results) add(to, message_view(content, a), from);
}

void gemini_view(struct json system, struct json contents, struct arena *a, void (*add)(void *to, struct span text, int from), void *to) {
  struct json_iter i = json_iter(contents);
  struct json key, content;
  int from = 0;
  if (system.type == JSON_OBJECT) {
    struct buf b = { 0 };
    buf_add(&b, SPAN("{\"role\":\"system\",\"content\":"));
    content_view(&b, json_in(system, SPAN("parts")));
    buf_byte(&b, '}');
    add(to, text_keep(&b, a), VIEW_INSTRUCTIONS);
  }
  if (contents.type == JSON_OBJECT) content_read(contents, 0, a, add, to);
  while (contents.type == JSON_ARRAY && json_next(&i, &key, &content)) content_read(content, from++, a, add, to);
}

/* ---- written */
void gemini_parts_add(struct buf *to, struct json content) {
  struct json_iter i = json_iter(content);
  if (content.type == JSON_STRING && string_full(content)) {
    item_comma(to);
    buf_add(to, SPAN("{\"text\":"));
    buf_add(to, content.text);
    buf_byte(to, '}');
  }
  for (struct json key, part; content.type == JSON_ARRAY && json_next(&i, &key, &part);) {
    item_comma(to);
    if (!has_type(part, SPAN("text"))) { buf_add(to, part.text); continue; }
    struct object_out o = object_begin(to);
    OBJECT_COPY(&o, part, SPAN("type"));
    object_end(&o);
  }
}

static bool call_add(struct buf *to, struct json call, struct arena *a, const char **why) {
  struct json f = json_in(call, SPAN("function")), arguments = json_in(f, SPAN("arguments")), id = json_in(call, SPAN("id")), name = json_in(f, SPAN("name")), args;
  struct span text = SPAN("{}");
  if (string_full(arguments)) json_unescape(arguments, a, &text);
  if (!json_read(text, &args, NULL) || args.type != JSON_OBJECT) return *why = "the arguments of a tool call are no JSON object", false;
  item_comma(to);
  struct object_out o = object_begin(to);
  object_key(&o, SPAN("functionCall"));
  struct object_out c = object_begin(to);
  if (id.type == JSON_STRING) object_put(&c, SPAN("id"), id.text);
  if (name.type == JSON_STRING) object_put(&c, SPAN("name"), name.text);
  object_put(&c, SPAN("args"), text);
  object_end(&c);
  OBJECT_COPY(&o, call, SPAN("id"), SPAN("type"), SPAN("function"), SPAN("index"));
  object_end(&o);
  return true;
}

void gemini_result_add(struct buf *to, struct json message) {
  struct json id = json_in(message, SPAN("tool_call_id")), content = json_in(message, SPAN("content"));
  item_comma(to);
  buf_add(to, SPAN("{\"functionResponse\":"));
  struct object_out o = object_begin(to);
  if (id.type == JSON_STRING) object_put(&o, SPAN("id"), id.text);
  OBJECT_COPY(&o, message, SPAN("role"), SPAN("tool_call_id"), SPAN("content"));
  object_key(&o, SPAN("response"));
  struct object_out r = object_begin(to);
  object_put(&r, SPAN("output"), content.type == JSON_NONE ? SPAN("\"\"") : content.text);
  object_end(&r);
  object_end(&o);
  buf_byte(to, '}');
}

bool gemini_message_add(struct buf *to, struct json message, struct arena *a, const char **why) {
  struct json calls = json_in(message, SPAN("tool_calls")), key, call;
  struct json_iter i = json_iter(calls);
  bool good = true;
  item_comma(to);
  struct object_out o = object_begin(to);
  object_put(&o, SPAN("role"), is_word(json_in(message, SPAN("role")), SPAN("assistant")) ? SPAN("\"model\"") : SPAN("\"user\""));
  object_put(&o, SPAN("parts"), SPAN("["));
  gemini_parts_add(to, json_in(message, SPAN("content")));
  while (good && calls.type == JSON_ARRAY && json_next(&i, &key, &call)) good = call_add(to, call, a, why);
  buf_byte(to, ']');
  object_end(&o);
  return good;
}

/* ---- tools: the functions of all lists, and what Google runs itself as it stands */
static struct json functions_of(struct json tool) { return other_name(tool, SPAN("functionDeclarations"), SPAN("function_declarations")); }

static struct span function_view(struct json f, struct arena *a) {
  struct json schema = other_name(f, SPAN("parametersJsonSchema"), SPAN("parameters_json_schema"));
  struct buf b = { 0 };
  if (schema.type == JSON_NONE) schema = json_in(f, SPAN("parameters"));
  buf_add(&b, SPAN("{\"type\":\"function\",\"function\":"));
  struct object_out o = object_begin(&b);
  OBJECT_COPY(&o, f, SPAN("parametersJsonSchema"), SPAN("parameters_json_schema"), SPAN("parameters"));
  if (schema.type != JSON_NONE) object_put(&o, SPAN("parameters"), schema.text);
  object_end(&o);
  buf_byte(&b, '}');
  return text_keep(&b, a);
}

void gemini_tools_view(struct json tools, struct arena *a, void (*add)(void *to, struct span text, int from), void *to) {
  struct json_iter i = json_iter(tools), inner;
  struct json key, tool, f;
  for (int from = 0; json_next(&i, &key, &tool); from++) {
    struct json list = functions_of(tool);
    if (list.type != JSON_ARRAY) { add(to, tool.text, from); continue; }
    for (inner = json_iter(list); json_next(&inner, &key, &f);) add(to, function_view(f, a), from);
  }
}

/* The body's own texts of the items of the view. */
struct own { struct json text; bool function; };
static struct own *own_items(struct json tools, struct arena *a, size_t *count) {
  struct json_iter i = json_iter(tools), inner;
  struct own *items = NULL;
  size_t n = 0;
  for (struct json key, tool; json_next(&i, &key, &tool);) n += functions_of(tool).type == JSON_ARRAY ? list_length(functions_of(tool)) : 1;
  items = arena_alloc(a, (n + 1) * sizeof *items);
  *count = 0;
  i = json_iter(tools);
  for (struct json key, tool, f; json_next(&i, &key, &tool);) {
    struct json list = functions_of(tool);
    if (list.type != JSON_ARRAY) { items[(*count)++] = (struct own){ tool, false }; continue; }
    for (inner = json_iter(list); json_next(&inner, &key, &f);) items[(*count)++] = (struct own){ f, true };
  }
  return items;
}

static void function_write(struct buf *to, struct json tool) {
  struct json f = json_in(tool, SPAN("function")), schema = json_in(f, SPAN("parameters"));
  item_comma(to);
  struct object_out o = object_begin(to);
  OBJECT_COPY(&o, f, SPAN("parameters"));
  if (schema.type != JSON_NONE) object_put(&o, SPAN("parametersJsonSchema"), schema.text);
  object_end(&o);
}

struct span gemini_tools_write(struct json was, const struct view_new *now, size_t n, struct arena *a) {
  struct buf functions = { 0 }, others = { 0 };
  size_t count;
  const struct own *items = own_items(was, a, &count);
  for (size_t i = 0; i < n; i++) {
    bool known = now[i].same >= 0 && (size_t)now[i].same < count, function = known ? items[now[i].same].function : has_type(now[i].value, SPAN("function"));
    struct json own = known ? items[now[i].same].text : json_absent;
    struct buf *to = function ? &functions : &others;
    if (own.type != JSON_NONE) item_comma(to), buf_add(to, own.text);
    else if (function) function_write(to, now[i].value);
    else item_comma(to), buf_add(to, now[i].value.text);
  }
  struct buf b = { 0 };
  buf_byte(&b, '[');
  if (buf_size(&functions)) buf_add(&b, SPAN("{\"functionDeclarations\":[")), buf_add(&b, buf_span(&functions)), buf_add(&b, SPAN("]}"));
  if (buf_size(&functions) && buf_size(&others)) buf_byte(&b, ',');
  buf_add(&b, buf_span(&others));
  buf_byte(&b, ']');
  buf_free(&functions);
  buf_free(&others);
  return text_keep(&b, a);
}
