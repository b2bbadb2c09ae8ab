#include "room.h"

/* weir.ask: a question that goes through weir like a client's. What it says is copied into the run's own memory, since
   the policy may change its tables while it waits; so is the answer, which is good until the hook has returned. */
enum { ASK_TIMEOUT = 30, MOST_TURNS = 1024, MOST_STOPS = 16, MOST_TOKENS = 1 << 24, MOST_KEPT = 64 << 20 };

static struct span text_copy(lua_State *L, int at, struct arena *a) { return arena_copy(a, check_span(L, at)); }

static struct span turn_role(lua_State *L, int turn, int n) {
  static const char *const roles[] = { "system", "user", "assistant", "developer" };
  if (lua_getfield(L, turn, "role") != LUA_TSTRING) luaL_error(L, "weir.ask: message %d has no role", n);
  struct span role = check_span(L, -1);
  for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
    if (span_eq(role, span_cstr(roles[i]))) return i == 3 ? SPAN("system") : span_cstr(roles[i]);
  luaL_error(L, "weir.ask: message %d is of role \"%s\"; a question has system, user and assistant", n, role.p);
  return role;
}

/* Parts of type text, as the dialects have them. */
static struct span parts_text(lua_State *L, int parts, int n, struct arena *a) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, parts); i++) {
    if (lua_rawgeti(L, parts, i) != LUA_TTABLE || lua_getfield(L, -1, "text") != LUA_TSTRING)
      luaL_error(L, "weir.ask: part %d of message %d is no text; a question is made of text alone", (int)i, n);
    lua_remove(L, -2);
    luaL_addvalue(&b);
  }
  luaL_pushresult(&b);
  return text_copy(L, -1, a);
}

static struct question_turn turn_read(lua_State *L, int messages, int n, struct arena *a) {
  static const char *const fields[] = { "role", "content" };
  struct question_turn t;
  if (lua_rawgeti(L, messages, n) != LUA_TTABLE)
    luaL_error(L, "weir.ask: message %d is a %s; messages are tables: { role = \"user\", content = \"…\" }", n,
               luaL_typename(L, -1));
  int turn = lua_gettop(L);
  check_fields(L, turn, "field of a message of weir.ask", fields, 2, false);
  t.role = turn_role(L, turn, n);
  int type = lua_getfield(L, turn, "content");
  if (type == LUA_TSTRING) t.text = text_copy(L, -1, a);
  else if (type == LUA_TTABLE) t.text = parts_text(L, lua_gettop(L), n, a);
  else luaL_error(L, "weir.ask: the content of message %d is a string, not a %s", n, luaL_typename(L, -1));
  lua_settop(L, turn - 1);
  return t;
}

static void turns_read(lua_State *L, struct question *q, struct arena *a) {
  if (lua_getfield(L, 1, "messages") != LUA_TTABLE || !lua_rawlen(L, -1))
    luaL_error(L, "weir.ask: messages is a list: messages = { { role = \"user\", content = \"…\" } }");
  int messages = lua_gettop(L);
  q->turn_count = lua_rawlen(L, messages);
  if (q->turn_count > MOST_TURNS) luaL_error(L, "weir.ask: more than %d messages", MOST_TURNS);
  struct question_turn *turns = arena_alloc(a, q->turn_count * sizeof *turns);
  for (size_t i = 0; i < q->turn_count; i++) turns[i] = turn_read(L, messages, (int)i + 1, a);
  q->turns = turns;
  lua_settop(L, 1);
}

static double number_read(lua_State *L, const char *name, double most) {
  double v = -1;
  if (lua_getfield(L, 1, name) != LUA_TNIL) {
    v = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
    if (!(v >= 0 && v <= most)) luaL_error(L, "weir.ask: %s is a number from 0 to %d", name, (int)most);
  }
  lua_pop(L, 1);
  return v;
}

static void stops_read(lua_State *L, struct question *q, struct arena *a) {
  int type = lua_getfield(L, 1, "stop"), stop = lua_gettop(L);
  size_t n = type == LUA_TTABLE ? lua_rawlen(L, stop) : type == LUA_TSTRING;
  if (type != LUA_TNIL && (!n || n > MOST_STOPS))
    luaL_error(L, "weir.ask: stop is a string or a list of 1 to %d of them", MOST_STOPS);
  struct span *stops = n ? arena_alloc(a, n * sizeof *stops) : NULL;
  for (size_t i = 0; i < n; i++) {
    if (type == LUA_TTABLE) lua_rawgeti(L, stop, (lua_Integer)i + 1);
    if (lua_type(L, -1) != LUA_TSTRING) luaL_error(L, "weir.ask: stop is a list of strings");
    stops[i] = text_copy(L, -1, a);
  }
  q->stops = stops;
  q->stop_count = n;
  lua_settop(L, 1);
}

/* Members as the target's dialect has them. */
static void more_read(lua_State *L, struct question *q, struct arena *a) {
  static const char *const own[] = { "model", "stream" };
  if (lua_getfield(L, 1, "fields") != LUA_TNIL) {
    if (!lua_istable(L, -1)) luaL_error(L, "weir.ask: fields is a table: fields = { seed = 1 }");
    for (size_t i = 0; i < 2; i++)
      if (lua_getfield(L, 2, own[i]) != LUA_TNIL) luaL_error(L, "weir.ask: fields may not hold %s", own[i]);
      else lua_pop(L, 1);
    q->more = json_encode_arena(L, 2, a);
    if (*q->more.p != '{') luaL_error(L, "weir.ask: fields is a table with names, not a list");
  }
  lua_settop(L, 1);
}

/* ---- the answer */

static const struct policy_response *response_keep(const struct policy_response *r, struct arena *a) {
  struct policy_response *kept = arena_alloc(a, sizeof *kept);
  *kept = *r;
  kept->head = r->head ? http_head_keep(r->head, a) : NULL;
  kept->body = arena_copy(a, r->body);
  kept->model = arena_copy(a, r->model);
  kept->finish = arena_copy(a, r->finish);
  return kept;
}

static const struct policy_fault *fault_keep(const struct policy_fault *f, struct arena *a) {
  struct policy_fault *kept = arena_alloc(a, sizeof *kept);
  *kept = *f;
  kept->code = arena_copy(a, f->code);
  kept->target = arena_copy(a, f->target);
  return kept;
}

static int ask_done(lua_State *L, int status, lua_KContext context) {
  (void)status, (void)context;
  static const struct policy_fault none = { .kind = FAULT_CONNECTION, .phase = "connect", .retry_after = -1 };
  struct frame *f = policy_of(L)->frame;
  const struct policy_answer *a = f->run->answer;
  struct arena *kept = &f->run->kept;
  if (a && a->ok && a->response) {
    asked_push(L, KIND_RESPONSE, response_keep(a->response, kept));
    return 1;
  }
  lua_pushnil(L);
  asked_push(L, KIND_FAULT, fault_keep(a && a->fault ? a->fault : &none, kept));
  return 2;
}

/* weir.ask { model, messages, max_tokens, temperature, top_p, stop, fields, timeout } */
static int ask_call(lua_State *L) {
  static const char *const fields[] = { "model", "messages", "max_tokens", "temperature", "top_p", "stop", "fields", "timeout" };
  struct policy_wait *w = wait_begin(L, "weir.ask");
  struct frame *f = policy_of(L)->frame;
  struct arena *a = &f->run->kept;
  if (a->total > MOST_KEPT) return luaL_error(L, "weir.ask: the answers of this call hold more than %d MB", MOST_KEPT >> 20);
  struct question *q = arena_alloc(a, sizeof *q);
  *q = (struct question){ 0 };
  if (!lua_istable(L, 1))
    return luaL_error(L, "weir.ask takes a table: weir.ask { model = \"provider/model\", messages = { … } }");
  lua_settop(L, 1);
  check_fields(L, 1, "field of weir.ask", fields, sizeof fields / sizeof *fields, false);
  if (lua_getfield(L, 1, "model") != LUA_TSTRING || !lua_rawlen(L, -1))
    return luaL_error(L, "weir.ask: model is the name of a model: \"provider/model\" or an alias");
  q->model = text_copy(L, -1, a);
  lua_settop(L, 1);
  turns_read(L, q, a);
  double limit = number_read(L, "max_tokens", MOST_TOKENS);
  q->max_tokens = limit > 0 ? (int64_t)limit : 0;
  q->temperature = number_read(L, "temperature", 2);
  q->top_p = number_read(L, "top_p", 1);
  stops_read(L, q, a);
  more_read(L, q, a);
  w->seconds = lua_getfield(L, 1, "timeout") == LUA_TNIL ? ASK_TIMEOUT : check_wait(L, -1, "weir.ask: timeout");
  w->question = q;
  w->policy = f->instance->name;
  w->kind = WAIT_ASK;
  return lua_yieldk(L, 0, 0, ask_done);
}

void ask_setup(lua_State *L) {
  lua_pushcfunction(L, ask_call);
  lua_setfield(L, -2, "ask");
}
