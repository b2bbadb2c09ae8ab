#include "room.h"
#include "weir/tape.h"
#include <math.h>

/* ---- time and chance: only through weir, so that a decision can be run again */

static int now_call(lua_State *L) {
  struct policy_vm *pv = policy_of(L);
  struct policy_tape *t = tape_of(pv);
  char text[40];
  double now = policy_now(pv);
  if (t && t->plays) json_f64(tape_take(t, "now", SPAN("")), &now);
  else if (t && !t->full) tape_keep(t, "now", SPAN(""), span_of(text, (size_t)snprintf(text, sizeof text, "%.6f", now)));
  lua_pushnumber(L, now);
  return 1;
}

/* SplitMix64 over the exchange's seed. */
static uint64_t draw(uint64_t *state) {
  uint64_t z = *state += 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

/* Where its numbers begin, which all others follow from. */
static void seed(struct policy_tape *t, uint64_t *state) {
  char text[24];
  struct span digits = { 0 };
  if (!t || t->seeded) return;
  t->seeded = true;
  if (!t->plays) {
    tape_keep(t, "random", SPAN(""), span_of(text, (size_t)snprintf(text, sizeof text, "\"%llu\"", (unsigned long long)*state)));
    return;
  }
  struct json v = tape_take(t, "random", SPAN(""));
  if (v.type == JSON_STRING && v.text.n > 2) digits = span_of(v.text.p + 1, v.text.n - 2);
  span_u64(digits, state);
}

/* weir.random(), (m), (m, n), as math.random */
static int random_call(lua_State *L) {
  struct frame *f = check_phase(L, "weir.random (it is seeded per exchange)", IN_HOOKS);
  uint64_t *state = &f->subject->req->random;
  seed(f->subject->req->tape, state);
  lua_Integer low = 1, high;
  switch (lua_gettop(L)) {
  case 0: lua_pushnumber(L, (lua_Number)(draw(state) >> 11) * 0x1p-53); return 1;
  case 1: high = luaL_checkinteger(L, 1); break;
  default: low = luaL_checkinteger(L, 1), high = luaL_checkinteger(L, 2);
  }
  if (low > high)
    return luaL_error(L, "weir.random: the interval from %I to %I is empty", (LUAI_UACINT)low, (LUAI_UACINT)high);
  uint64_t range = (uint64_t)high - (uint64_t)low + 1, r = draw(state);
  if (range) {
    uint64_t least = -range % range;                   /* below it the first numbers would come more often */
    while (r < least) r = draw(state);
    r %= range;
  }
  lua_pushinteger(L, (lua_Integer)((uint64_t)low + r));
  return 1;
}

/* ---- weir.sorted */

static int sort_in_place(lua_State *L, int list) {
  lua_getglobal(L, "table");
  lua_getfield(L, -1, "sort");
  lua_pushvalue(L, list);
  lua_call(L, 1, 0);
  lua_settop(L, list);
  return 1;
}

/* A list: a new list of its items in order. Another table: its keys in order, numbers before strings. */
static int sorted_call(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_Integer n = luaL_len(L, 1), i = 0;
  lua_newtable(L);
  if (n > 0) {
    for (i = 1; i <= n; i++) {
      vm_spend(L, 10);
      lua_geti(L, 1, i);
      lua_rawseti(L, 2, i);
    }
    return sort_in_place(L, 2);
  }
  lua_getglobal(L, "pairs");                           /* it walks in order */
  lua_pushvalue(L, 1);
  lua_call(L, 1, 3);
  for (;;) {
    lua_pushvalue(L, 3);
    lua_pushvalue(L, 4);
    lua_pushvalue(L, 5);
    lua_call(L, 2, 1);
    if (lua_isnil(L, -1)) return lua_settop(L, 2), 1;
    lua_replace(L, 5);
    lua_pushvalue(L, 5);
    lua_rawseti(L, 2, ++i);
  }
}

/* ---- log */

static int tell(lua_State *L, enum log_level level) {
  struct frame *f = policy_of(L)->frame;
  struct span id = f && f->hook != HOOK_COUNT ? f->subject->req->id : span_of("-", 1);
  struct span name = f ? f->instance->name : span_of("-", 1);
  const struct policy_tape *tape = tape_of(policy_of(L));
  luaL_Buffer b;
  int n = lua_gettop(L);
  vm_spend(L, 500);                                    /* a system call */
  luaL_buffinit(L, &b);
  for (int i = 1; i <= n; i++) {
    if (i > 1) luaL_addchar(&b, ' ');
    push_text(L, i);
    luaL_addvalue(&b);
  }
  luaL_pushresult(&b);
  if (tape && tape->plays) return 0;                     /* it was told then */
  log_line(level, "policy %.*s, request %.*s: %s", SPAN_FMT(name), SPAN_FMT(id), lua_tostring(L, -1));
  return 0;
}
static int info_call(lua_State *L) { return tell(L, LOG_INFO); }
static int warn_call(lua_State *L) { return tell(L, LOG_WARN); }
static int error_call(lua_State *L) { return tell(L, LOG_ERROR); }

/* ---- counters */

struct counter_handle {
  const void *tag;
  struct counter *counter;
};
static const char counter_tag, counter_metatable_key;

static int counter_add_call(lua_State *L) {
  struct counter_handle *h = lua_touserdata(L, 1);
  if (!h || lua_type(L, 1) != LUA_TUSERDATA || lua_rawlen(L, 1) < sizeof *h || h->tag != &counter_tag)
    return luaL_error(L, "counter:add(n): call it with a colon on what weir.counter gave");
  int whole = 1;
  lua_Integer n = lua_isnoneornil(L, 2) ? 1 : lua_tointegerx(L, 2, &whole);
  if (!whole || n < 0) return luaL_error(L, "counter:add(n): n is a whole number from 0 on");
  counter_add(h->counter, (uint64_t)n);
  return 0;
}

static int counter_other(lua_State *L) {
  static const char *const known[] = { "add" };
  if (lua_type(L, 2) != LUA_TSTRING) return luaL_error(L, "a counter has no items; call counter:add(n)");
  return refuse_unknown(L, "method of a counter", check_span(L, 2), known, 1);
}

static bool metric_name_ok(struct span s) {
  if (!s.n || s.n > 100) return false;
  for (size_t i = 0; i < s.n; i++) {
    char c = s.p[i];
    if (!((c >= 'a' && c <= 'z') || c == '_' || (i && c >= '0' && c <= '9'))) return false;
  }
  return true;
}

static int counter_call(lua_State *L) {
  struct span name = check_span(L, 1);
  if (!metric_name_ok(name))
    return luaL_error(L, "weir.counter: a name is made of a-z, 0-9 and _, as metrics are, not '%s'", name.p);
  if (span_eq(name, SPAN("errors")))
    return luaL_error(L, "weir.counter: weir_policy_errors_total is weir's own; choose another name");
  struct counter *c = counter_of(name);
  if (!c) return luaL_error(L, "weir.counter: there are too many counters in this process");
  struct counter_handle *h = lua_newuserdatauv(L, sizeof *h, 0);
  *h = (struct counter_handle){ &counter_tag, c };
  lua_rawgetp(L, LUA_REGISTRYINDEX, &counter_metatable_key);
  lua_setmetatable(L, -2);
  return 1;
}

static void counter_setup(lua_State *L) {
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, counter_add_call);
  lua_setfield(L, -2, "add");
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, counter_other);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, "counter");
  lua_setfield(L, -2, "__name");
  lua_pushliteral(L, "counter");
  lua_setfield(L, -2, "__metatable");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &counter_metatable_key);
}

/* ---- the table */

static const char *const later[] = { "kv" };
enum { LATER = sizeof later / sizeof *later, MOST_WORDS = 64 };

/* __index of weir and the tables in it; upvalue: what the table is called. */
static int unknown_word_of(lua_State *L) {
  const char *known[MOST_WORDS];
  const char *name = lua_tostring(L, lua_upvalueindex(1));
  size_t n = 0;
  if (lua_type(L, 2) != LUA_TSTRING) return luaL_error(L, "%s has no items, only words", name);
  struct span s = check_span(L, 2);
  for (size_t i = 0; i < LATER && !strcmp(name, "weir"); i++)
    if (span_eq(s, span_cstr(later[i]))) return refuse_later(L, lua_pushfstring(L, "weir.%s", later[i]));
  for (lua_pushnil(L); n < MOST_WORDS && lua_next(L, 1); lua_pop(L, 1)) known[n++] = lua_tostring(L, -2);
  return refuse_unknown(L, lua_pushfstring(L, "word of %s", name), s, known, n);
}

/* Of the table on top. */
static void refuse_other_words(lua_State *L, const char *name) {
  lua_createtable(L, 0, 1);
  lua_pushstring(L, name);
  lua_pushcclosure(L, unknown_word_of, 1);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
}

static int seconds_of(lua_State *L, const char *word, double unit) {
  if (lua_type(L, 1) != LUA_TNUMBER) return luaL_error(L, "%s takes a number, not a %s", word, luaL_typename(L, 1));
  if (lua_isinteger(L, 1) && lua_tointeger(L, 1) < (1ll << 40) && lua_tointeger(L, 1) > -(1ll << 40))
    lua_pushinteger(L, lua_tointeger(L, 1) * (lua_Integer)unit);
  else
    lua_pushnumber(L, lua_tonumber(L, 1) * unit);
  return 1;
}
static int minutes_call(lua_State *L) { return seconds_of(L, "minutes", 60); }
static int hours_call(lua_State *L) { return seconds_of(L, "hours", 3600); }
static int days_call(lua_State *L) { return seconds_of(L, "days", 86400); }
static int kb_call(lua_State *L) { return seconds_of(L, "kb", 1024); }
static int mb_call(lua_State *L) { return seconds_of(L, "mb", 1048576); }

static void values_setup(lua_State *L) {
  static const luaL_Reg values[] = {
    { "minutes", minutes_call }, { "hours", hours_call }, { "days", days_call },         { "kb", kb_call },
    { "mb", mb_call },           { "require", module_require }, { NULL, NULL },
  };
  lua_pushglobaltable(L);
  luaL_setfuncs(L, values, 0);
  lua_pop(L, 1);
}

void weir_setup(lua_State *L) {
  static const luaL_Reg words[] = {
    { "options", options_call }, { "required", required_call }, { "now", now_call }, { "random", random_call },
    { "sorted", sorted_call }, { "counter", counter_call }, { NULL, NULL },
  };
  static const luaL_Reg log[] = {
    { "info", info_call }, { "warn", warn_call }, { "error", error_call }, { NULL, NULL }
  };
  luaL_newlib(L, words);
  luaL_newlib(L, log);
  refuse_other_words(L, "weir.log");
  lua_setfield(L, -2, "log");
  json_setup(L);
  refuse_other_words(L, "weir.json");
  lua_setfield(L, -2, "json");
  choice_setup(L);
  wait_setup(L);
  ask_setup(L);
  match_setup(L);
  shared_setup(L);
  cells_setup(L);
  money_setup(L);
  counter_setup(L);
  refuse_other_words(L, "weir");
  lua_setglobal(L, "weir");
  values_setup(L);
}
