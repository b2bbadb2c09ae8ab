#include "pattern.h"

/* string.find, match, gmatch and gsub. */

static struct span check_text(lua_State *L, int arg) {
  struct span s;
  s.p = luaL_checklstring(L, arg, &s.n);
  return s;
}

/* Argument `arg`, a place counted from 1 or backwards from the end, as an offset. */
static size_t check_offset(lua_State *L, int arg, size_t n) {
  lua_Integer at = luaL_optinteger(L, arg, 1);
  if (at > 0) return (size_t)at - 1;
  if (at == 0 || at < -(lua_Integer)n) return 0;
  return n + (size_t)at;
}

/* Pushes capture i; the match s..e counts as the first when there is none. */
static void capture_push(struct pattern *m, int i, const char *s, const char *e) {
  if (i >= m->level) {
    if (i) luaL_error(m->L, "invalid capture index %%%d", i + 1);
    lua_pushlstring(m->L, s, (size_t)(e - s));
    return;
  }
  ptrdiff_t n = m->capture[i].n;
  if (n == CAPTURE_OPEN) luaL_error(m->L, "unfinished capture");
  if (n == CAPTURE_POSITION) lua_pushinteger(m->L, m->capture[i].at - m->subject + 1);
  else lua_pushlstring(m->L, m->capture[i].at, (size_t)n);
}

/* The number of values pushed. s NULL: no captures, no values. */
static int captures_push(struct pattern *m, const char *s, const char *e) {
  int count = m->level == 0 && s ? 1 : m->level;
  luaL_checkstack(m->L, count, "too many captures");
  for (int i = 0; i < count; i++) capture_push(m, i, s, e);
  m->steps += s ? 8 + (uint64_t)(e - s) / 32 : 8;
  return count;
}

static bool is_plain(struct span text) {
  for (size_t i = 0; i < text.n; i++)
    if (strchr("^$*+?.([%-", text.p[i]) && text.p[i]) return false;
  return true;
}

static int find_plain(lua_State *L, struct span subject, size_t from, struct span needle) {
  struct span in = span_from(subject, from);
  vm_spend(L, 4 + (in.n + needle.n) / 16);
  const char *at = memmem(in.p, in.n, needle.p, needle.n);
  if (!at) return lua_pushnil(L), 1;
  lua_pushinteger(L, at - subject.p + 1);
  lua_pushinteger(L, at - subject.p + (lua_Integer)needle.n);
  return 2;
}

static int search(lua_State *L, bool find) {
  struct span subject = check_text(L, 1), text = check_text(L, 2);
  size_t from = check_offset(L, 3, subject.n);
  if (from > subject.n) return lua_pushnil(L), 1;
  if (find && (lua_toboolean(L, 4) || is_plain(text))) return find_plain(L, subject, from, text);
  struct pattern m;
  bool anchored = text.n && *text.p == '^';
  pattern_init(&m, L, subject, anchored ? span_from(text, 1) : text);
  const char *s = subject.p + from, *e = NULL;
  for (; s <= m.subject_end; s++) {
    if (!anchored) s = pattern_skip(&m, s);
    e = pattern_at(&m, s);
    if (e || anchored) break;
  }
  pattern_spend(&m);
  if (!e) return lua_pushnil(L), 1;
  if (!find) return captures_push(&m, s, e);
  lua_pushinteger(L, s - subject.p + 1);
  lua_pushinteger(L, e - subject.p);
  return captures_push(&m, NULL, NULL) + 2;
}

int pattern_find(lua_State *L) { return search(L, true); }
int pattern_match(lua_State *L) { return search(L, false); }

/* ---- gmatch. Upvalues: subject, pattern, this: */
struct matches {
  struct pattern m;
  const char *at, *last;              /* where the last match ended: an empty one there is none */
};

static int gmatch_step(lua_State *L) {
  struct matches *g = lua_touserdata(L, lua_upvalueindex(3));
  struct pattern *m = &g->m;
  m->L = L;
  for (const char *s = g->at; s <= m->subject_end; s++) {
    s = pattern_skip(m, s);
    const char *e = pattern_at(m, s);
    if (!e || e == g->last) continue;
    g->at = g->last = e;
    pattern_spend(m);
    return captures_push(m, s, e);
  }
  g->at = m->subject_end + 1;
  pattern_spend(m);
  return 0;
}

int pattern_gmatch(lua_State *L) {
  struct span subject = check_text(L, 1), text = check_text(L, 2);
  size_t from = check_offset(L, 3, subject.n);
  lua_settop(L, 2);
  struct matches *g = lua_newuserdatauv(L, sizeof *g, 0);
  pattern_init(&g->m, L, subject, text);
  g->at = subject.p + (from > subject.n ? subject.n + 1 : from);
  g->last = NULL;
  lua_pushcclosure(L, gmatch_step, 3);
  return 1;
}

/* ---- gsub */
struct substitution {
  struct pattern m;
  luaL_Buffer out;
  int type;                           /* of argument 3, what to put there */
};

static void out_add(struct substitution *g, const char *p, size_t n) {
  g->m.steps += n / 32;
  luaL_addlstring(&g->out, p, n);
}

static void out_add_value(struct substitution *g) {
  g->m.steps += lua_rawlen(g->m.L, -1) / 32;
  luaL_addvalue(&g->out);
}

static void add_template(struct substitution *g, const char *s, const char *e) {
  struct span text;
  text.p = lua_tolstring(g->m.L, 3, &text.n);
  for (;;) {
    size_t at = span_find(text, '%');
    out_add(g, text.p, at);
    if (at == text.n) return;
    char c = text.p[at + 1];                       /* a NUL stands at the end */
    if (c == '%') luaL_addchar(&g->out, c);
    else if (c == '0') out_add(g, s, (size_t)(e - s));
    else if (c >= '1' && c <= '9') capture_push(&g->m, c - '1', s, e), out_add_value(g);
    else luaL_error(g->m.L, "invalid use of '%%' in replacement string");
    g->m.steps += 2;
    text = span_from(text, at + 2);
  }
}

/* False: the match stays as it was. */
static bool replacement_add(struct substitution *g, const char *s, const char *e) {
  lua_State *L = g->m.L;
  if (g->type == LUA_TFUNCTION) {
    lua_pushvalue(L, 3);
    lua_call(L, captures_push(&g->m, s, e), 1);
  } else if (g->type == LUA_TTABLE) {
    capture_push(&g->m, 0, s, e);
    lua_gettable(L, 3);
  } else {
    return add_template(g, s, e), true;
  }
  g->m.steps += 10;
  if (!lua_toboolean(L, -1)) {
    lua_pop(L, 1);
    return out_add(g, s, (size_t)(e - s)), false;
  }
  if (!lua_isstring(L, -1)) luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
  lua_tostring(L, -1);
  return out_add_value(g), true;
}

int pattern_gsub(lua_State *L) {
  struct substitution g;
  struct span subject = check_text(L, 1), text = check_text(L, 2);
  g.type = lua_type(L, 3);
  lua_Integer most = luaL_optinteger(L, 4, (lua_Integer)subject.n + 1), count = 0;
  luaL_argexpected(L, g.type == LUA_TNUMBER || g.type == LUA_TSTRING || g.type == LUA_TFUNCTION || g.type == LUA_TTABLE, 3,
                   "string/function/table");
  bool anchored = text.n && *text.p == '^', changed = false;
  pattern_init(&g.m, L, subject, anchored ? span_from(text, 1) : text);
  luaL_buffinit(L, &g.out);
  const char *s = subject.p, *last = NULL, *end = g.m.subject_end;
  while (count < most) {
    const char *from = s, *e;
    if (!anchored) s = pattern_skip(&g.m, s);
    if (s > from) out_add(&g, from, (size_t)(s - from));
    e = pattern_at(&g.m, s);
    if (e && e != last) {
      count++;
      changed |= replacement_add(&g, s, e);
      s = last = e;
      pattern_spend(&g.m);
    } else if (s < end) {
      luaL_addchar(&g.out, *s++);
    } else {
      break;
    }
    if (anchored) break;
  }
  if (changed) {
    out_add(&g, s, (size_t)(end - s));
    luaL_pushresult(&g.out);
  } else {
    lua_pushvalue(L, 1);
  }
  pattern_spend(&g.m);
  lua_pushinteger(L, count);
  return 2;
}
