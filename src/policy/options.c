#include "room.h"

/* weir.options { name = default, other = weir.required "number" } gives the options of this `use`. What the
   policy declares is what it can be given: names and types of weir.lua are checked against it. */
struct required { const void *tag; const char *type; };
static const char required_tag;
static const char *const types[] = { "string", "number", "boolean", "table", "money" };
enum { TYPES = sizeof types / sizeof *types };

int required_call(lua_State *L) {
  check_phase(L, "weir.required", IN_LOAD);
  struct span type = check_span(L, 1);
  size_t i = 0;
  while (i < TYPES && !span_eq(type, span_cstr(types[i]))) i++;
  if (i == TYPES) return refuse_unknown(L, "type", type, types, TYPES);
  struct required *r = lua_newuserdatauv(L, sizeof *r, 0);
  *r = (struct required){ &required_tag, types[i] };
  return 1;
}

static const char *required_type(lua_State *L, int at) {
  const struct required *r = lua_touserdata(L, at);
  return r && lua_type(L, at) == LUA_TUSERDATA && lua_rawlen(L, at) == sizeof *r && r->tag == &required_tag ? r->type
                                                                                                            : NULL;
}

/* Raises with the place of the `use` in weir.lua: that is where the mistake stands. */
static int refuse_option(lua_State *L, const struct use *use, const char *what) {
  lua_pushfstring(L, "%s:%d: use \"%s\": %s", lua_pushlstring(L, use->file.p, use->file.n), (int)use->line,
                  lua_pushlstring(L, use->policy.p, use->policy.n), what);
  return lua_error(L);
}

static const char *type_of(lua_State *L, int at) {
  int64_t v;
  return amount_at(L, at, &v) ? "money" : luaL_typename(L, at);
}

static void value_push(lua_State *L, const struct value *v) {
  luaL_checkstack(L, 4, "options are nested too deeply");
  switch (v->type) {
  case VALUE_NIL:    lua_pushnil(L); break;
  case VALUE_BOOL:   lua_pushboolean(L, v->b); break;
  case VALUE_INT:    lua_pushinteger(L, v->i); break;
  case VALUE_NUM:    lua_pushnumber(L, v->d); break;
  case VALUE_STRING: push_span(L, v->s); break;
  case VALUE_MONEY:  amount_push(L, v->i); break;
  case VALUE_TABLE:
    lua_createtable(L, 0, (int)v->count);
    for (size_t i = 0; i < v->count; i++) {
      value_push(L, &v->pairs[i].key);
      value_push(L, &v->pairs[i].value);
      lua_rawset(L, -3);
    }
  }
}

static void refuse_unknown_option(lua_State *L, const struct use *use, struct span word, int declared) {
  const char *known[64];
  size_t n = 0;
  for (lua_pushnil(L); n < 64 && lua_next(L, declared); lua_pop(L, 1)) known[n++] = lua_tostring(L, -2);
  struct buf *b = scratch_begin(policy_of(L));
  if (n) unknown_word(b, "option", word, known, n);
  else buf_printf(b, "unknown option '%.*s'; this policy takes none", SPAN_FMT(word));
  push_span(L, buf_span(b));
  refuse_option(L, use, lua_tostring(L, -1));
}

/* Every given option is declared. */
static void check_given(lua_State *L, const struct use *use, int declared) {
  for (size_t i = 0; i < use->options.count; i++) {
    const struct value *key = &use->options.pairs[i].key;
    if (key->type != VALUE_STRING) refuse_option(L, use, "options have names, and one of these has none");
    if (declared) {
      push_span(L, key->s);
      bool known = lua_rawget(L, declared) != LUA_TNIL;
      lua_pop(L, 1);
      if (known) continue;
    }
    if (!declared) lua_newtable(L);
    refuse_unknown_option(L, use, key->s, declared ? declared : lua_gettop(L));
  }
}

void options_unread(lua_State *L, const struct use *use) { check_given(L, use, 0); }

static const struct value *given_option(const struct use *use, struct span name) {
  for (size_t i = 0; i < use->options.count; i++) {
    const struct value_pair *p = &use->options.pairs[i];
    if (p->key.type == VALUE_STRING && span_eq(p->key.s, name) && p->value.type != VALUE_NIL) return &p->value;
  }
  return NULL;
}

/* The declaration is on top; replaces it by the value. */
static void option_push(lua_State *L, const struct use *use, struct span name) {
  const struct value *given = given_option(use, name);
  const char *required = required_type(L, -1), *wanted = required ? required : type_of(L, -1);
  if (!given && required)
    refuse_option(L, use, lua_pushfstring(L, "the option '%s' (a %s) is missing", name.p, required));
  if (!given) return;
  lua_pop(L, 1);
  value_push(L, given);
  if (strcmp(type_of(L, -1), wanted))
    refuse_option(L, use,
                  lua_pushfstring(L, "the option '%s' is a %s, not a %s", name.p, wanted, type_of(L, -1)));
}

int options_call(lua_State *L) {
  struct frame *f = check_phase(L, "weir.options", IN_LOAD);
  if (!lua_istable(L, 1)) return luaL_error(L, "weir.options takes a table: weir.options { name = default, … }");
  if (f->instance->options_read) return luaL_error(L, "weir.options stands once in a policy");
  f->instance->options_read = true;
  lua_settop(L, 1);
  for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1))
    if (lua_type(L, -2) != LUA_TSTRING)
      return luaL_error(L, "weir.options: options have names, this one is a %s", luaL_typename(L, -2));
  check_given(L, f->instance->use, 1);
  lua_newtable(L);
  for (lua_pushnil(L); lua_next(L, 1);) {
    option_push(L, f->instance->use, check_span(L, 3));
    lua_pushvalue(L, 3);
    lua_insert(L, -2);
    lua_rawset(L, 2);
    lua_settop(L, 3);
  }
  return 1;
}
