#include "room.h"

static struct policy_attempt *attempt_of(const struct frame *f) { return f->subject->attempt; }

static int get_number(lua_State *L, struct frame *f) { return lua_pushinteger(L, attempt_of(f)->number), 1; }
static int get_deadline(lua_State *L, struct frame *f) { return lua_pushnumber(L, attempt_of(f)->deadline), 1; }
static int get_target(lua_State *L, struct frame *f) { return push_span(L, attempt_of(f)->target->name), 1; }
static int get_model(lua_State *L, struct frame *f) { return push_span(L, attempt_of(f)->target->model), 1; }

static int get_provider(lua_State *L, struct frame *f) {
  const struct target *t = attempt_of(f)->target;
  push_span_or_nil(L, t->provider ? t->provider->name : span_of(NULL, 0));
  return 1;
}

static int get_endpoint(lua_State *L, struct frame *f) {
  const struct target *t = attempt_of(f)->target;
  push_span_or_nil(L, t->endpoint ? t->endpoint->text : span_of(NULL, 0));
  return 1;
}

static int get_region(lua_State *L, struct frame *f) {
  const struct target *t = attempt_of(f)->target;
  push_span_or_nil(L, t->endpoint ? t->endpoint->region : span_of(NULL, 0));
  return 1;
}

static int get_headers(lua_State *L, struct frame *f) {
  kind_push(L, KIND_ATTEMPT_HEADERS, f->serial, 0);
  return 1;
}

static void set_deadline(lua_State *L, struct frame *f, int value) {
  check_phase(L, "writing attempt.deadline", IN_ATTEMPT);
  double s = lua_type(L, value) == LUA_TNUMBER ? lua_tonumber(L, value) : 0;
  if (!(s > 0)) luaL_error(L, "attempt.deadline is a number of seconds from now, above 0");
  attempt_of(f)->deadline = s;
  attempt_of(f)->deadline_set = true;
}

/* attempt:set(field, value): any field of the body, for this try alone. */
static int set_call(lua_State *L) {
  struct frame *f = check_handle(L, 1, &kind_attempt, "attempt:set(field, value)");
  struct policy_attempt *a = attempt_of(f);
  check_phase(L, "attempt:set", IN_ATTEMPT);
  if (lua_type(L, 2) != LUA_TSTRING || !lua_rawlen(L, 2))
    return luaL_error(L, "attempt:set(field, value): the field's name is a string");
  luaL_checkany(L, 3);
  struct span field = check_span(L, 2);
  if (!f->subject->req->operation)
    return luaL_error(L, "attempt:set: this path is streamed through, and its body is not read");
  if (span_eq(field, SPAN("stream")))
    return luaL_error(L, "attempt:set: whether an answer streams is the client's word");
  if (span_eq(field, SPAN("model")))
    return luaL_error(L, "attempt:set: the model is the target's; choose targets in on_request with weir.route");
  struct policy_edit *e = arena_alloc(a->arena, sizeof *e);
  *e = (struct policy_edit){ a->edits, arena_copy(a->arena, field),
                             lua_isnil(L, 3) ? span_of(NULL, 0) : json_encode_arena(L, 3, a->arena) };
  a->edits = e;
  return 0;
}

static const struct field fields[] = {
  { "number", get_number, NULL },
  { "target", get_target, NULL },
  { "provider", get_provider, NULL },
  { "model", get_model, NULL },
  { "endpoint", get_endpoint, NULL },
  { "region", get_region, NULL },
  { "deadline", get_deadline, set_deadline },
  { "headers", get_headers, NULL },
};
static const luaL_Reg methods[] = { { "set", set_call }, { NULL, NULL } };
const struct kind kind_attempt = {
  .name = "attempt", .id = KIND_ATTEMPT, .fields = fields, .count = sizeof fields / sizeof *fields, .methods = methods
};
