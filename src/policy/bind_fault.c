#include "room.h"

/* ---- fault: why an attempt failed */

static const struct policy_fault *fault_of(lua_State *L, const struct frame *f) {
  const struct policy_fault *of = asked_of(L, f);
  return of ? of : f->subject->fault;
}

static int get_kind(lua_State *L, struct frame *f) { return lua_pushstring(L, fault_word(fault_of(L, f)->kind)), 1; }
static int get_code(lua_State *L, struct frame *f) { return push_span_or_nil(L, fault_of(L, f)->code), 1; }
static int get_target(lua_State *L, struct frame *f) { return push_span_or_nil(L, fault_of(L, f)->target), 1; }
static int get_phase(lua_State *L, struct frame *f) { return lua_pushstring(L, fault_of(L, f)->phase), 1; }

static int get_status(lua_State *L, struct frame *f) {
  if (fault_of(L, f)->status) lua_pushinteger(L, fault_of(L, f)->status);
  else lua_pushnil(L);
  return 1;
}

static int get_retry_after(lua_State *L, struct frame *f) {
  if (fault_of(L, f)->retry_after >= 0) lua_pushnumber(L, fault_of(L, f)->retry_after);
  else lua_pushnil(L);
  return 1;
}

static const struct field fault_fields[] = {
  { "kind", get_kind, NULL },     { "status", get_status, NULL },
  { "code", get_code, NULL },     { "retry_after", get_retry_after, NULL },
  { "target", get_target, NULL }, { "phase", get_phase, NULL },
};
const struct kind kind_fault = { .name = "fault",
                                 .id = KIND_FAULT,
                                 .fields = fault_fields,
                                 .count = sizeof fault_fields / sizeof *fault_fields };

/* ---- usage: what the exchange used. Absent is nil, not 0. */

static const struct policy_usage *usage_of(const struct frame *f) { return f->subject->usage; }

static int push_tokens(lua_State *L, int64_t n) {
  if (n >= 0) lua_pushinteger(L, n);
  else lua_pushnil(L);
  return 1;
}

static int get_input(lua_State *L, struct frame *f) { return push_tokens(L, usage_of(f)->usage.input); }
static int get_cache_read(lua_State *L, struct frame *f) { return push_tokens(L, usage_of(f)->usage.cache_read); }
static int get_cache_write(lua_State *L, struct frame *f) { return push_tokens(L, usage_of(f)->usage.cache_write); }
static int get_cache_write_1h(lua_State *L, struct frame *f) {
  return push_tokens(L, usage_of(f)->usage.cache_write_1h);
}
static int get_output(lua_State *L, struct frame *f) { return push_tokens(L, usage_of(f)->usage.output); }
static int get_reasoning(lua_State *L, struct frame *f) { return push_tokens(L, usage_of(f)->usage.reasoning); }
static int get_cost(lua_State *L, struct frame *f) {
  if (usage_of(f)->cost >= 0) amount_push(L, usage_of(f)->cost);
  else lua_pushnil(L);
  return 1;
}
static int get_reported(lua_State *L, struct frame *f) { return lua_pushboolean(L, usage_of(f)->reported), 1; }
static int get_attempts(lua_State *L, struct frame *f) { return lua_pushinteger(L, usage_of(f)->attempts), 1; }
static int get_ended(lua_State *L, struct frame *f) { return push_span_or_nil(L, usage_of(f)->end), 1; }

static const struct field usage_fields[] = {
  { "input", get_input, NULL },
  { "cache_read", get_cache_read, NULL },
  { "cache_write", get_cache_write, NULL },
  { "cache_write_1h", get_cache_write_1h, NULL },
  { "output", get_output, NULL },
  { "reasoning", get_reasoning, NULL },
  { "cost", get_cost, NULL },
  { "reported", get_reported, NULL },
  { "attempts", get_attempts, NULL },
  { "ended", get_ended, NULL },
};
const struct kind kind_usage = { .name = "usage",
                                 .id = KIND_USAGE,
                                 .fields = usage_fields,
                                 .count = sizeof usage_fields / sizeof *usage_fields };

void usage_push(lua_State *L, const struct usage *u) {
  const struct { const char *name; int64_t n;
  } classes[] = {
    { "input", u->input },
    { "cache_read", u->cache_read },
    { "cache_write", u->cache_write },
    { "cache_write_1h", u->cache_write_1h },
    { "output", u->output },
    { "reasoning", u->reasoning },
  };
  lua_createtable(L, 0, 6);
  for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
    if (classes[i].n < 0) continue;
    lua_pushinteger(L, classes[i].n);
    lua_setfield(L, -2, classes[i].name);
  }
}
