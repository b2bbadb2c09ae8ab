#include "room.h"

/* req: the client's request. What it says is read from the body when it is asked for; what a policy changes is
   written down as edits, which the gateway splices into the body, and seen by every later read. */

static struct policy_req *req_of(const struct frame *f) { return f->subject->req; }

uint64_t req_serial(struct policy_vm *pv, struct policy_req *req) {
  if (req->serial && check(req->vm == pv)) return req->serial;
  req->vm = pv;
  return req->serial = ++pv->serial;
}

void policy_req_end(struct policy_req *req) {
  if (req->lua) luaL_unref(req->vm->lua, LUA_REGISTRYINDEX, req->lua);
  req->lua = 0;
  req->serial = 0;
}

/* ---- the body as edits left it */

const struct json_member *req_members(const struct policy_req *r, size_t *count) {
  *count = r->seen ? r->seen_count : r->member_count;
  return r->seen ? r->seen : r->members;
}

static struct json member_of(const struct policy_req *r, const char *word) {
  size_t count;
  const struct json_member *members = req_members(r, &count);
  const char *name = r->operation ? request_member(r->operation, members, count, span_cstr(word)) : NULL;
  return name ? json_member_of(members, count, span_cstr(name)) : (struct json){ JSON_NONE, { NULL, 0 } };
}

/* The first edit copies the members, with room for each word that can be written. */
enum { WORDS_WRITTEN = 8 };
static void seen_begin(struct policy_req *r) {
  r->seen = arena_alloc(r->arena, (r->member_count + WORDS_WRITTEN) * sizeof *r->seen);
  if (r->member_count) memcpy(r->seen, r->members, r->member_count * sizeof *r->seen);
  r->seen_count = r->member_count;
}

/* text.p NULL removes it. The name needs no escapes. */
static void seen_set(struct policy_req *r, struct span name, struct span text) {
  struct json_error err;
  struct json value = { JSON_NONE, text };
  size_t i = 0;
  if (text.p && !check(json_read(text, &value, &err))) return;
  if (!r->seen) seen_begin(r);
  while (i < r->seen_count && !json_string_is(r->seen[i].key, name)) i++;
  bool there = i < r->seen_count;
  if (!text.p) {
    if (there) memmove(&r->seen[i], &r->seen[i + 1], (--r->seen_count - i) * sizeof *r->seen);
    return;
  }
  if (!there) {
    if (!check(r->seen_count < r->member_count + WORDS_WRITTEN)) return;
    r->seen[r->seen_count++].key = (struct json){ JSON_STRING, arena_printf(r->arena, "\"%.*s\"", SPAN_FMT(name)) };
  }
  r->seen[i].value = value;
}

/* Writes the edit of `word`; json.p NULL removes. */
void req_edit(lua_State *L, struct frame *f, const char *word, struct span json) {
  struct policy_req *r = req_of(f);
  size_t count;
  const struct json_member *members = req_members(r, &count);
  const char *name = r->operation ? request_member(r->operation, members, count, span_cstr(word)) : NULL;
  if (!r->operation)
    luaL_error(L, "req.%s cannot be written: %s is streamed through, and its body is not read", word,
               lua_pushlstring(L, r->path.p, r->path.n));
  if (!name) luaL_error(L, "req.%s cannot be written: %s has no such field", word, r->operation->path);
  struct policy_edit *e = arena_alloc(r->arena, sizeof *e);
  *e = (struct policy_edit){ r->edits, span_cstr(word), json };
  r->edits = e;
  seen_set(r, span_cstr(name), e->json);
}

/* The same to what stands at index `value`; nil removes. */
static void edit(lua_State *L, struct frame *f, const char *word, int value) {
  req_edit(L, f, word, lua_isnil(L, value) ? span_of(NULL, 0) : json_encode_arena(L, value, req_of(f)->arena));
}

static void check_write(lua_State *L, const char *field) {
  struct frame *f = policy_of(L)->frame;
  if (f->hook == HOOK_ATTEMPT)
    luaL_error(L, "req.%s can be written in on_request alone; in on_attempt use attempt:set(\"%s\", value)", field,
               field);
  if (f->hook != HOOK_REQUEST)
    luaL_error(L, "req.%s can be written in on_request alone, not in %s", field, hook_words[f->hook]);
}

static int refuse_type(lua_State *L, const char *field, const char *wanted, int value) {
  return luaL_error(L, "req.%s is %s, not a %s", field, wanted, luaL_typename(L, value));
}

/* ---- reads */

static int get_id(lua_State *L, struct frame *f) { return push_span(L, req_of(f)->id), 1; }
static int get_path(lua_State *L, struct frame *f) { return push_span(L, req_of(f)->path), 1; }
static int get_ip(lua_State *L, struct frame *f) { return push_span_or_nil(L, req_of(f)->ip), 1; }
static int get_model(lua_State *L, struct frame *f) { return push_span(L, req_of(f)->model), 1; }
static int get_user(lua_State *L, struct frame *f) { return push_span_or_nil(L, req_of(f)->user), 1; }
static int get_session(lua_State *L, struct frame *f) { return push_span_or_nil(L, req_of(f)->session), 1; }
static int get_wants_json(lua_State *L, struct frame *f) {
  const struct policy_req *r = req_of(f);
  lua_pushboolean(L, r->operation && request_wants_json(r->operation, r->members, r->member_count));
  return 1;
}
static int get_json_schema(lua_State *L, struct frame *f) {
  const struct policy_req *r = req_of(f);
  struct json none = { JSON_NONE, { NULL, 0 } };
  json_push(L, r->operation ? request_schema(r->operation, r->members, r->member_count) : none);
  return 1;
}
static int get_stream(lua_State *L, struct frame *f) { return lua_pushboolean(L, req_of(f)->stream), 1; }
static int get_attempts(lua_State *L, struct frame *f) { return lua_pushinteger(L, req_of(f)->attempts), 1; }

static int get_dialect(lua_State *L, struct frame *f) {
  const struct operation_info *o = req_of(f)->operation;
  if (o) lua_pushstring(L, dialect_word(o->dialect));
  else lua_pushnil(L);
  return 1;
}

static int get_remaining(lua_State *L, struct frame *f) {
  double left = req_of(f)->deadline - policy_now(policy_of(L));
  lua_pushnumber(L, left > 0 ? left : 0);
  return 1;
}

static int get_member(lua_State *L, struct frame *f, const char *word) {
  struct json v = member_of(req_of(f), word);
  if (v.type == JSON_NULL) v.type = JSON_NONE;
  json_push(L, v);
  return 1;
}
static int get_max_tokens(lua_State *L, struct frame *f) { return get_member(L, f, "max_tokens"); }
static int get_temperature(lua_State *L, struct frame *f) { return get_member(L, f, "temperature"); }
static int get_top_p(lua_State *L, struct frame *f) { return get_member(L, f, "top_p"); }
static int get_stop(lua_State *L, struct frame *f) { return get_member(L, f, "stop"); }

static int get_headers(lua_State *L, struct frame *f) {
  kind_push(L, KIND_REQ_HEADERS, req_of(f)->serial, 0);
  return 1;
}

/* The tables of all instances hang on one of the exchange's, each under its instance's number. */
static int get_state(lua_State *L, struct frame *f) {
  struct policy_req *r = req_of(f);
  lua_Integer place = (lua_Integer)f->instance->index + 1;
  if (!r->lua) {
    lua_newtable(L);
    r->lua = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, r->lua);
  if (lua_rawgeti(L, -1, place) != LUA_TNIL) return 1;
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_rawseti(L, -4, place);
  return 1;
}

static void set_field(lua_State *L, const char *name, struct span value) {
  if (!value.n) return;
  push_span(L, value);
  lua_setfield(L, -2, name);
}

/* Whose request it is; nothing in it is secret. */
static int get_key(lua_State *L, struct frame *f) {
  const struct key *k = req_of(f)->key;
  if (!k) return lua_pushnil(L), 1;
  lua_createtable(L, 0, 4);
  set_field(L, "name", k->name);
  set_field(L, "team", k->team);
  set_field(L, "user", k->user);
  lua_createtable(L, 0, (int)k->tag_count);
  for (size_t i = 0; i < k->tag_count; i++) {
    push_span(L, k->tags[i].name);
    push_span(L, k->tags[i].value);
    lua_rawset(L, -3);
  }
  lua_setfield(L, -2, "tags");
  return 1;
}

static const struct policy_note *note_find(const struct policy_note *n, struct span key) {
  while (n && !span_eq(n->key, key)) n = n->next;
  return n;
}

/* Those of the key, and over them what was tagged: a client cannot tag what its key does, a policy can. */
static int get_tags(lua_State *L, struct frame *f) {
  const struct policy_note *tags = req_of(f)->tags;
  const struct key *k = req_of(f)->key;
  lua_newtable(L);
  for (size_t i = 0; k && i < k->tag_count; i++) {
    push_span(L, k->tags[i].name);
    push_span(L, k->tags[i].value);
    lua_rawset(L, -3);
  }
  for (const struct policy_note *t = tags; t; t = t->next) {
    if (note_find(tags, t->key) != t) continue;
    push_span(L, t->key);
    push_span(L, t->value);
    lua_rawset(L, -3);
  }
  return 1;
}

/* What will be tried: what a policy set, else what the model's name stands for. */
static int get_targets(lua_State *L, struct frame *f) {
  struct policy_vm *pv = policy_of(L);
  struct policy_req *r = req_of(f);
  struct route route = { .count = 0 };
  int status;
  const char *why = NULL;
  lua_newtable(L);
  if (r->operation)
    why = r->target_count ? route_names(pv->conf, r->operation, r->targets, r->target_count, r->arena, &route, &status)
                          : route_model(pv->conf, r->operation, r->model, r->arena, &route, &status);
  bool resolved = r->operation && !why;
  size_t count = resolved ? route.count : r->target_count;
  for (size_t i = 0; i < count; i++) {
    push_span(L, resolved ? route.candidates[i].name : r->targets[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

/* ---- writes */

static void set_model(lua_State *L, struct frame *f, int value) {
  struct policy_req *r = req_of(f);
  check_write(L, "model");
  if (lua_type(L, value) != LUA_TSTRING || !lua_rawlen(L, value))
    refuse_type(L, "model", "a string that is not empty", value);
  edit(L, f, "model", value);
  r->model = arena_copy(r->arena, check_span(L, value));
}

static void set_max_tokens(lua_State *L, struct frame *f, int value) {
  check_write(L, "max_tokens");
  int whole = 1;
  lua_Integer n = lua_isnil(L, value) ? 1 : lua_type(L, value) == LUA_TNUMBER ? lua_tointegerx(L, value, &whole) : 0;
  if (!whole || n < 1) refuse_type(L, "max_tokens", "a whole number from 1 on, or nil to leave it out", value);
  lua_settop(L, value);
  if (!lua_isnil(L, value)) {
    lua_pushinteger(L, n);
    lua_replace(L, value);
  }
  edit(L, f, "max_tokens", value);
}

static void set_number(lua_State *L, struct frame *f, const char *word, int value) {
  check_write(L, word);
  if (lua_type(L, value) != LUA_TNUMBER && !lua_isnil(L, value))
    refuse_type(L, word, "a number, or nil to leave it out", value);
  edit(L, f, word, value);
}
static void set_temperature(lua_State *L, struct frame *f, int value) { set_number(L, f, "temperature", value); }
static void set_top_p(lua_State *L, struct frame *f, int value) { set_number(L, f, "top_p", value); }

static void check_list(lua_State *L, const char *word, int value) {
  if (!lua_istable(L, value)) refuse_type(L, word, "a list", value);
  if (!lua_rawlen(L, value))
    luaL_error(L, "req.%s is a list with something in it%s", word,
               strcmp(word, "messages") ? ", or nil to leave it out" : "");
}

static void set_stop(lua_State *L, struct frame *f, int value) {
  check_write(L, "stop");
  if (lua_type(L, value) == LUA_TSTRING) {             /* a list says the same everywhere */
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, value);
    lua_rawseti(L, -2, 1);
    lua_replace(L, value);
  }
  if (!lua_isnil(L, value)) check_list(L, "stop", value);
  edit(L, f, "stop", value);
}

static void set_tools(lua_State *L, struct frame *f, int value) {
  check_write(L, "tools");
  if (!lua_isnil(L, value)) check_list(L, "tools", value);
  if (lua_isnil(L, value) || !tools_write(L, f, value)) edit(L, f, "tools", value);
}

static void set_messages(lua_State *L, struct frame *f, int value) {
  check_write(L, "messages");
  if (lua_type(L, value) != LUA_TSTRING) check_list(L, "messages", value);
  if (lua_type(L, value) == LUA_TSTRING || !messages_write(L, f, value)) edit(L, f, "messages", value);
}

static void set_targets(lua_State *L, struct frame *f, int value) {
  struct policy_req *r = req_of(f);
  struct span names[ROUTE_MOST_TARGETS];
  check_write(L, "targets");
  if (!lua_istable(L, value)) refuse_type(L, "targets", "a list of names \"provider/model\"", value);
  size_t n = check_targets(L, value, policy_of(L), r, names);
  struct span *kept = arena_alloc(r->arena, n * sizeof *kept);          /* the names may lie in what stood there */
  for (size_t i = 0; i < n; i++) kept[i] = arena_copy(r->arena, names[i]);
  r->targets = kept;
  r->target_count = n;
}

/* ---- calls */

static int text_call(lua_State *L) {
  static const char *const roles[] = { "system", "user", "assistant", "tool" };
  const struct policy_req *r = req_of(check_handle(L, 1, &kind_req, "req:text(role)"));
  struct span role = lua_isnoneornil(L, 2) ? SPAN("") : check_span(L, 2);
  size_t i = 0, count;
  while (i < 4 && !span_eq(role, span_cstr(roles[i]))) i++;
  if (i == 4 && role.n) return refuse_unknown(L, "role", role, roles, 4);
  struct buf *b = scratch_begin(policy_of(L));
  const struct json_member *members = req_members(r, &count);
  vm_spend(L, r->body.n / 16);
  if (r->operation) request_text(r->operation, members, count, role, b);
  push_span(L, buf_span(b));
  return 1;
}

/* The text of what a policy notes; a table is noted as JSON. */
static struct span note_text(lua_State *L, int at, struct arena *a) {
  if (lua_istable(L, at)) return json_encode_arena(L, at, a);
  push_text(L, at);
  return arena_copy(a, check_span(L, -1));
}

enum { LONGEST_NOTE = 4096, MOST_NOTES = 64 };
static int note(lua_State *L, struct frame *f, struct policy_note **list, const char *call) {
  struct policy_req *r = req_of(f);
  size_t count = 0;
  if (lua_type(L, 2) != LUA_TSTRING)
    return luaL_error(L, "%s: the key is a string, not a %s", call, luaL_typename(L, 2));
  const struct policy_note *found = note_find(*list, check_span(L, 2));
  if (lua_gettop(L) < 3) {
    push_span_or_nil(L, found ? found->value : span_of(NULL, 0));
    return 1;
  }
  if (lua_isnil(L, 3)) return luaL_error(L, "%s: the value is nil", call);
  for (const struct policy_note *n = *list; n; n = n->next) count++;
  if (count >= MOST_NOTES) return luaL_error(L, "%s: more than %d of them in one exchange", call, MOST_NOTES);
  struct policy_note *n = arena_alloc(r->arena, sizeof *n);
  *n = (struct policy_note){ *list, arena_copy(r->arena, check_span(L, 2)), note_text(L, 3, r->arena),
                             f->instance->name };
  if (n->key.n > LONGEST_NOTE || n->value.n > LONGEST_NOTE)
    return luaL_error(L, "%s: more than %d bytes", call, LONGEST_NOTE);
  *list = n;
  return 0;
}

static int note_call(lua_State *L) {
  struct frame *f = check_handle(L, 1, &kind_req, "req:note(key, value)");
  return note(L, f, &req_of(f)->notes, "req:note(key, value)");
}

static int tag_call(lua_State *L) {
  struct frame *f = check_handle(L, 1, &kind_req, "req:tag(key, value)");
  const struct key *k = req_of(f)->key;
  if (lua_gettop(L) == 2 && lua_type(L, 2) == LUA_TSTRING && !note_find(req_of(f)->tags, check_span(L, 2)))
    for (size_t i = 0; k && i < k->tag_count; i++)
      if (span_eq(k->tags[i].name, check_span(L, 2))) return push_span(L, k->tags[i].value), 1;
  return note(L, f, &req_of(f)->tags, "req:tag(key, value)");
}

static const struct field fields[] = {
  { "id", get_id, NULL },
  { "dialect", get_dialect, NULL },
  { "path", get_path, NULL },
  { "stream", get_stream, NULL },
  { "wants_json", get_wants_json, NULL },
  { "json_schema", get_json_schema, NULL },
  { "model", get_model, set_model },
  { "key", get_key, NULL },
  { "user", get_user, NULL },
  { "session", get_session, NULL },
  { "tags", get_tags, NULL },
  { "headers", get_headers, NULL },
  { "messages", messages_get, set_messages },
  { "tools", tools_get, set_tools },
  { "max_tokens", get_max_tokens, set_max_tokens },
  { "temperature", get_temperature, set_temperature },
  { "top_p", get_top_p, set_top_p },
  { "stop", get_stop, set_stop },
  { "targets", get_targets, set_targets },
  { "estimate", estimate_get, NULL },
  { "attempts", get_attempts, NULL },
  { "remaining", get_remaining, NULL },
  { "ip", get_ip, NULL },
  { "state", get_state, NULL },
};
static const luaL_Reg methods[] = { { "text", text_call }, { "note", note_call }, { "tag", tag_call }, { "estimate_of", estimate_of_call }, { NULL, NULL } };
const struct kind kind_req = {
  .name = "req", .id = KIND_REQ, .of_exchange = true, .fields = fields, .count = sizeof fields / sizeof *fields, .methods = methods,
};
