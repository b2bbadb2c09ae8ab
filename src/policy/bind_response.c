#include "room.h"

/* response: a whole answer, or the held start of a stream. Of a whole one everything is read from its body
   when it is asked for. */

static const struct policy_response *response_of(lua_State *L, const struct frame *f) {
  const struct policy_response *r = asked_of(L, f);
  return r ? r : f->subject->response;
}

/* What it answers; NULL when that is not known. */
static const struct operation_info *operation_of(lua_State *L, const struct frame *f) {
  const struct operation_info *o = response_of(L, f)->operation;
  return o ? o : f->subject->req->operation;
}

/* The whole answer's document; NONE for a stream or what is no JSON. */
static struct json document_of(lua_State *L, const struct policy_response *r) {
  struct json none = { JSON_NONE, { NULL, 0 } }, v;
  struct json_error err;
  vm_spend(L, r->body.n / 16);
  return r->done && r->body.n && json_read(r->body, &v, &err) ? v : none;
}

static int get_status(lua_State *L, struct frame *f) { return lua_pushinteger(L, response_of(L, f)->status), 1; }
static int get_finish(lua_State *L, struct frame *f) { return push_span_or_nil(L, response_of(L, f)->finish), 1; }
static int get_model(lua_State *L, struct frame *f) { return push_span_or_nil(L, response_of(L, f)->model), 1; }
static int get_done(lua_State *L, struct frame *f) { return lua_pushboolean(L, response_of(L, f)->done), 1; }
static int get_usage(lua_State *L, struct frame *f) { return usage_push(L, &response_of(L, f)->usage), 1; }
static int get_json(lua_State *L, struct frame *f) { return json_push(L, document_of(L, response_of(L, f))), 1; }

static int get_headers(lua_State *L, struct frame *f) {
  (void)f;
  kind_push_like(L, KIND_RESPONSE_HEADERS);
  return 1;
}

static int push_said(lua_State *L, struct frame *f, struct span given, bool thinking) {
  const struct operation_info *o = operation_of(L, f);
  struct json document;
  if (given.p || !response_of(L, f)->done || !o) return push_span(L, given), 1;
  document = document_of(L, response_of(L, f));
  struct buf *b = scratch_begin(policy_of(L));
  if (document.type != JSON_NONE) answer_text(o, document, thinking, b);
  push_span(L, buf_span(b));
  return 1;
}

/* What an earlier policy put in its place, if one did. */
static int get_text(lua_State *L, struct frame *f) {
  const struct decision *d = &f->run->decision;
  if (d->kind == DECIDE_REPLACE && !asked_of(L, f)) return push_span(L, d->text), 1;
  return push_said(L, f, response_of(L, f)->text, false);
}
static int get_thinking(lua_State *L, struct frame *f) { return push_said(L, f, response_of(L, f)->thinking, true); }

/* ---- tool calls of a whole answer: { id, name, arguments } each, arguments as the text they are */

static void set_part(lua_State *L, const char *name, struct json v) {
  if (v.type == JSON_NONE || v.type == JSON_NULL) return;
  if (v.type == JSON_STRING) json_text_push(L, v);
  else push_span(L, v.text);                           /* messages has arguments as an object: its bytes */
  lua_setfield(L, -2, name);
}

static void tool_add(lua_State *L, struct json id, struct json name, struct json arguments) {
  luaL_checkstack(L, 4, NULL);
  lua_createtable(L, 0, 3);
  set_part(L, "id", id);
  set_part(L, "name", name);
  set_part(L, "arguments", arguments);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

static void chat_tools(lua_State *L, struct json document) {
  struct json_iter choices = json_iter(json_at(document, "choices"));
  for (struct json key, choice, call; json_next(&choices, &key, &choice);) {
    struct json_iter calls = json_iter(json_at(choice, "message.tool_calls"));
    while (json_next(&calls, &key, &call)) {
      struct json function = json_get(call, SPAN("function")), custom = json_get(call, SPAN("custom"));
      if (function.type == JSON_OBJECT)
        tool_add(L, json_get(call, SPAN("id")), json_get(function, SPAN("name")),
                 json_get(function, SPAN("arguments")));
      else tool_add(L, json_get(call, SPAN("id")), json_get(custom, SPAN("name")), json_get(custom, SPAN("input")));
    }
    struct json old = json_at(choice, "message.function_call");
    if (old.type == JSON_OBJECT)
      tool_add(L, (struct json){ 0 }, json_get(old, SPAN("name")), json_get(old, SPAN("arguments")));
  }
}

static void responses_tools(lua_State *L, struct json document) {
  struct json_iter items = json_iter(json_at(document, "output"));
  for (struct json key, item; json_next(&items, &key, &item);) {
    struct json type = json_get(item, SPAN("type"));
    bool function = json_string_is(type, SPAN("function_call"));
    if (!function && !json_string_is(type, SPAN("custom_tool_call"))) continue;
    tool_add(L, json_get(item, SPAN("call_id")), json_get(item, SPAN("name")),
             json_get(item, function ? SPAN("arguments") : SPAN("input")));
  }
}

static void messages_tools(lua_State *L, struct json document) {
  struct json_iter blocks = json_iter(json_at(document, "content"));
  for (struct json key, block; json_next(&blocks, &key, &block);)
    if (json_string_is(json_get(block, SPAN("type")), SPAN("tool_use")))
      tool_add(L, json_get(block, SPAN("id")), json_get(block, SPAN("name")), json_get(block, SPAN("input")));
}

static void gemini_tools(lua_State *L, struct json document) {
  struct json_iter parts = json_iter(json_at(document, "candidates.0.content.parts"));
  for (struct json key, part; json_next(&parts, &key, &part);) {
    struct json call = json_get(part, SPAN("functionCall"));
    if (call.type == JSON_OBJECT) tool_add(L, json_get(call, SPAN("id")), json_get(call, SPAN("name")), json_get(call, SPAN("args")));
  }
}

static void set_span(lua_State *L, const char *name, struct span s) {
  if (!s.n) return;
  push_span(L, s);
  lua_setfield(L, -2, name);
}

static int stream_tools(lua_State *L, const struct policy_response *r) {
  lua_createtable(L, (int)r->tool_count, 0);
  for (size_t i = 0; i < r->tool_count; i++) {
    lua_createtable(L, 0, 3);
    set_span(L, "id", r->tools[i].id);
    set_span(L, "name", r->tools[i].name);
    push_span(L, r->tools[i].arguments);
    lua_setfield(L, -2, "arguments");
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static int get_tools(lua_State *L, struct frame *f) {
  static void (*const by_dialect[DIALECT_COUNT])(lua_State *, struct json) = {
    [DIALECT_CHAT] = chat_tools, [DIALECT_RESPONSES] = responses_tools, [DIALECT_MESSAGES] = messages_tools,
    [DIALECT_GEMINI] = gemini_tools,
  };
  const struct operation_info *o = operation_of(L, f);
  if (response_of(L, f)->stream) return stream_tools(L, response_of(L, f));
  struct json document = document_of(L, response_of(L, f));
  if (!response_of(L, f)->done) return lua_pushnil(L), 1;
  lua_newtable(L);
  if (o && document.type != JSON_NONE) by_dialect[o->dialect](L, document);
  return 1;
}

static const struct field fields[] = {
  { "status", get_status, NULL },     { "headers", get_headers, NULL }, { "text", get_text, NULL },
  { "thinking", get_thinking, NULL }, { "tools", get_tools, NULL },     { "json", get_json, NULL },
  { "finish", get_finish, NULL },     { "usage", get_usage, NULL },     { "model", get_model, NULL },
  { "done", get_done, NULL },
};
const struct kind kind_response = {
  .name = "response", .id = KIND_RESPONSE, .fields = fields, .count = sizeof fields / sizeof *fields
};
