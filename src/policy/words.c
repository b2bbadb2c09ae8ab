#include "room.h"

int refuse_unknown(lua_State *L, const char *what, struct span word, const char *const *known, size_t count) {
  struct buf *b = scratch_begin(policy_of(L));
  unknown_word(b, what, word, known, count);
  luaL_where(L, 1);
  push_span(L, buf_span(b));
  lua_concat(L, 2);
  return lua_error(L);
}

int refuse_later(lua_State *L, const char *word) { return luaL_error(L, "%s is not in this version", word); }

unsigned check_fields(lua_State *L, int at, const char *what, const char *const *known, size_t count, bool items) {
  unsigned seen = 0;
  luaL_argexpected(L, lua_istable(L, at), at, "table");
  at = lua_absindex(L, at);
  lua_Integer n = (lua_Integer)lua_rawlen(L, at);
  for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) {
    lua_Integer item = items && lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;
    if (item >= 1 && item <= n) continue;
    if (lua_type(L, -2) != LUA_TSTRING)
      luaL_error(L, "%s: fields have names, this one is a %s", what, luaL_typename(L, -2));
    struct span word = check_span(L, -2);
    size_t i = 0;
    while (i < count && !span_eq(word, span_cstr(known[i]))) i++;
    if (i == count) refuse_unknown(L, what, word, known, count);
    seen |= 1u << i;
  }
  return seen;
}

static const char *hook_list_text(lua_State *L, unsigned hooks) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  unsigned left = hooks;
  for (int h = 0; h <= HOOK_COUNT; h++) {
    if (!(left & 1u << h)) continue;
    left &= ~(1u << h);
    if (hooks & ((1u << h) - 1)) luaL_addstring(&b, left ? ", " : " or ");
    luaL_addstring(&b, h == HOOK_COUNT ? "the text of the file outside of its hooks" : hook_words[h]);
  }
  luaL_pushresult(&b);
  return lua_tostring(L, -1);
}

struct frame *check_phase(lua_State *L, const char *word, unsigned hooks) {
  struct frame *f = policy_of(L)->frame;
  if (f && hooks & 1u << f->hook) return f;
  if (f && f->hook == HOOK_COUNT)
    luaL_error(L, "%s belongs inside %s; the file is only being loaded here", word, hook_list_text(L, hooks));
  luaL_error(L, "%s belongs in %s, not in %s", word, hook_list_text(L, hooks),
             f ? hook_words[f->hook] : "code that runs after its hook");
  return NULL;
}

uint32_t check_faults(lua_State *L, int at, const char *what) {
  if (!lua_istable(L, at)) luaL_error(L, "%s is a list of fault words, not a %s", what, luaL_typename(L, at));
  at = lua_absindex(L, at);
  uint32_t bits = 1u << FAULT_NONE;
  for (lua_Integer i = 1, n = (lua_Integer)lua_rawlen(L, at); i <= n; i++) {
    enum fault fault;
    size_t count;
    if (lua_rawgeti(L, at, i) != LUA_TSTRING)
      luaL_error(L, "%s is a list of fault words; number %d is a %s", what, (int)i, luaL_typename(L, -1));
    struct span word = check_span(L, -1);
    const char *const *known = fault_words(&count);
    if (!fault_named(word, &fault)) refuse_unknown(L, "fault", word, known, count);
    bits |= 1u << fault;
    lua_pop(L, 1);
  }
  return bits;
}
