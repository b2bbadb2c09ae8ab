#include "room.h"

static const struct delta *delta_of(const struct frame *f) { return f->subject->chunk; }

static int get_kind(lua_State *L, struct frame *f) {
  static const char *const words[] = { "text", "thinking", "tool", "usage", "finish" };
  lua_pushstring(L, words[delta_of(f)->kind]);
  return 1;
}

static int get_text(lua_State *L, struct frame *f) {
  const struct delta *d = delta_of(f);
  if (d->kind != DELTA_TEXT && d->kind != DELTA_THINKING) lua_pushnil(L);
  else if (f->replaced) push_span(L, f->text);
  else json_text_push(L, d->text);
  return 1;
}

static void set_text(lua_State *L, const char *name, struct json v) {
  if (v.type != JSON_STRING) return;
  json_text_push(L, v);
  lua_setfield(L, -2, name);
}

static int get_tool(lua_State *L, struct frame *f) {
  const struct delta *d = delta_of(f);
  if (d->kind != DELTA_TOOL) return lua_pushnil(L), 1;
  lua_createtable(L, 0, 4);
  lua_pushinteger(L, d->tool_index);
  lua_setfield(L, -2, "index");
  set_text(L, "id", d->tool_id);
  set_text(L, "name", d->tool_name);
  set_text(L, "arguments", d->tool_arguments);
  return 1;
}

static int get_usage(lua_State *L, struct frame *f) {
  const struct delta *d = delta_of(f);
  if (d->kind == DELTA_USAGE) usage_push(L, &d->usage);
  else lua_pushnil(L);
  return 1;
}

static int get_finish(lua_State *L, struct frame *f) {
  const struct delta *d = delta_of(f);
  push_span_or_nil(L, d->kind == DELTA_FINISH ? d->finish : span_of(NULL, 0));
  return 1;
}

static int get_choice(lua_State *L, struct frame *f) {
  lua_pushinteger(L, delta_of(f)->choice);
  return 1;
}

static const struct field fields[] = {
  { "kind", get_kind, NULL }, { "text", get_text, NULL }, { "tool", get_tool, NULL }, { "usage", get_usage, NULL },
  { "finish", get_finish, NULL }, { "choice", get_choice, NULL },
};
const struct kind kind_chunk = {
  .name = "chunk", .id = KIND_CHUNK, .of_exchange = true, .fields = fields, .count = sizeof fields / sizeof *fields
};
