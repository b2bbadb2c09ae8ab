/* request_text.c: the text a request carries, by role, for policies that look at it. */
#include "cursor.h"
#include "gemini.h"

enum role { ROLE_SYSTEM = 1, ROLE_USER = 2, ROLE_ASSISTANT = 4, ROLE_TOOL = 8, ROLE_ALL = 15 };

struct gather {
  struct buf *out;
  struct arena scratch;
  unsigned wanted;
  bool any;
};

static enum role role_of(struct span word) {
  if (span_eq(word, SPAN("system")) || span_eq(word, SPAN("developer"))) return ROLE_SYSTEM;
  if (span_eq(word, SPAN("assistant"))) return ROLE_ASSISTANT;
  if (span_eq(word, SPAN("tool")) || span_eq(word, SPAN("function"))) return ROLE_TOOL;
  return ROLE_USER;
}

static void text_add(struct gather *g, enum role role, struct json string) {
  struct span text;
  if (!(g->wanted & role) || !string_full(string)) return;
  json_unescape(string, &g->scratch, &text);
  if (g->any) buf_byte(g->out, '\n');
  g->any = true;
  buf_add(g->out, text);
}

/* The string in which a part carries text, or NONE. */
static struct json part_text(struct json part) {
  struct json text = json_in(part, SPAN("text"));
  if (text.type != JSON_STRING) text = json_in(part, SPAN("refusal"));
  if (text.type == JSON_STRING) return text;
  struct json source = json_in(part, SPAN("source"));         /* a document given as plain text */
  return json_string_is(json_in(source, SPAN("type")), SPAN("text")) ? json_in(source, SPAN("data")) : json_absent;
}

/* Content: a string, or a list of parts, which hold content again in tool results and documents. Depth of both is
   bounded by the reader of the document. */
static void content_add(struct gather *g, enum role role, struct json content) {
  struct json_iter i = json_iter(content);
  struct json key, part;
  if (content.type == JSON_STRING) text_add(g, role, content);
  if (content.type != JSON_ARRAY) return;
  while (json_next(&i, &key, &part)) {
    if (part.type == JSON_STRING) text_add(g, role, part);
    if (part.type != JSON_OBJECT) continue;
    struct span type = string_raw(json_in(part, SPAN("type")));
    enum role inner = span_ends(type, SPAN("tool_result")) ? ROLE_TOOL : role;
    text_add(g, inner, part_text(part));
    content_add(g, inner, json_in(part, SPAN("content")));
    content_add(g, inner, json_under(part, "source.content"));
  }
}

static void messages_add(struct gather *g, struct json messages) {
  struct json_iter i = json_iter(messages);
  struct json key, message;
  if (messages.type != JSON_ARRAY) return;
  while (json_next(&i, &key, &message)) {
    enum role role = role_of(string_raw(json_in(message, SPAN("role"))));
    content_add(g, role, json_in(message, SPAN("content")));
  }
}

static void input_add(struct gather *g, struct json input) {
  struct json_iter i = json_iter(input);
  struct json key, item;
  if (input.type == JSON_STRING) text_add(g, ROLE_USER, input);
  if (input.type != JSON_ARRAY) return;
  while (json_next(&i, &key, &item)) {
    struct span type = string_raw(json_in(item, SPAN("type")));
    if (span_ends(type, SPAN("_output"))) content_add(g, ROLE_TOOL, json_in(item, SPAN("output")));
    else content_add(g, role_of(string_raw(json_in(item, SPAN("role")))), json_in(item, SPAN("content")));
  }
}

static void gemini_add(void *arg, enum gemini_role role, struct json text) {
  static const enum role roles[] = { [GEMINI_SYSTEM] = ROLE_SYSTEM, [GEMINI_USER] = ROLE_USER, [GEMINI_MODEL] = ROLE_ASSISTANT, [GEMINI_TOOL] = ROLE_TOOL };
  text_add(arg, roles[role], text);
}

void request_text(const struct operation_info *o, const struct json_member *members, size_t count, struct span role,
                  struct buf *out) {
  struct gather g = { .out = out, .wanted = role.n ? role_of(role) : ROLE_ALL };
  if (role.n && g.wanted == ROLE_USER && !span_eq(role, SPAN("user"))) return;       /* no such role */
  if (o->dialect == DIALECT_GEMINI) {
    gemini_texts(members, count, gemini_add, &g);
    arena_end(&g.scratch);
    return;
  }
  switch (o->operation) {
  case OP_COMPLETIONS: content_add(&g, ROLE_USER, json_member_of(members, count, SPAN("prompt"))); break;
  case OP_EMBEDDINGS:  content_add(&g, ROLE_USER, json_member_of(members, count, SPAN("input"))); break;
  case OP_RESPONSES: case OP_INPUT_TOKENS:
    content_add(&g, ROLE_SYSTEM, json_member_of(members, count, SPAN("instructions")));
    input_add(&g, json_member_of(members, count, SPAN("input")));
    break;
  default:
    if (o->dialect == DIALECT_MESSAGES) content_add(&g, ROLE_SYSTEM, json_member_of(members, count, SPAN("system")));
    messages_add(&g, json_member_of(members, count, SPAN("messages")));
  }
  arena_end(&g.scratch);
}

struct span request_instructions(const struct operation_info *o, const struct json_member *members, size_t count) {
  const char *name = request_member(o, members, count, SPAN("system"));
  struct json messages = json_member_of(members, count, SPAN("messages"));
  if (name) return json_member_of(members, count, span_cstr(name)).text;
  const char *at = messages.type == JSON_ARRAY ? cursor_enter(messages.text.p) : "";
  struct json role = { .type = JSON_NONE }, content = role;
  if (*at != '{') return (struct span){ NULL, 0 };
  for (at = cursor_enter(at); *at != '}' && (role.type == JSON_NONE || content.type == JSON_NONE); at = cursor_next(at)) {
    struct json key = cursor_key(&at), value = cursor_value(&at);
    if (role.type == JSON_NONE && json_string_is(key, SPAN("role"))) role = value;
    else if (content.type == JSON_NONE && json_string_is(key, SPAN("content"))) content = value;
  }
  return json_string_is(role, SPAN("system")) || json_string_is(role, SPAN("developer")) ? content.text : (struct span){ NULL, 0 };
}
