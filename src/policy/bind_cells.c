/* weir.budget and weir.limit: made while a policy loads, attached to an exchange in on_request, or to one attempt in on_attempt. What
   they attach is counted by the gateway, for each attempt: a policy never settles. */
#include "room.h"
#include <stdio.h>
#include <time.h>
#include "weir/money.h"
#include "weir/tape.h"
#include "weir/zone.h"

/* A budget is one cap, a limit up to three. */
enum { CAPS_MOST = 3, LONGEST_NAME = 128, LONGEST_SCOPE = 512 };
struct caps {
  struct caps *next;                   /* in the vm: charges point into it, so it lives as long */
  struct zone *zone;
  struct span name;
  unsigned count;
  struct policy_cap of[CAPS_MOST];
  int64_t cells[CAPS_MOST];            /* policy_cap.cell */
  char text[];
};
struct caps_handle { const void *tag; struct caps *caps; };
static const char caps_tag, budget_metatable_key, limit_metatable_key;

void caps_drop(struct policy_vm *pv) {
  for (struct caps *c = pv->caps, *next; c; c = next) {
    next = c->next;
    zone_free(c->zone);
    mem_free(c);
  }
}

/* ---- windows */
static const struct { const char *word; struct cell_window window; const char *each; } windows[] = {
  { "minute", { WINDOW_ROLLING, 60, NULL }, "a minute" }, { "hour", { WINDOW_ROLLING, 3600, NULL }, "an hour" },
  { "day", { WINDOW_DAY, 0, NULL }, "a day" },            { "month", { WINDOW_MONTH, 0, NULL }, "a month" },
  { "total", { WINDOW_TOTAL, 0, NULL }, "in all" },       { "session", { WINDOW_SESSION, 0, NULL }, "a session" },
};
enum { WINDOWS = sizeof windows / sizeof *windows };

/* The value on top: a word or a number of seconds. request: that word is taken too, elsewhere. */
static struct cell_window check_window(lua_State *L, const char *what, bool request) {
  const char *known[WINDOWS + 1] = { [WINDOWS] = "request" };
  if (lua_type(L, -1) == LUA_TNUMBER) {
    lua_Number s = lua_tonumber(L, -1);
    if (!(s >= 1 && s <= 10 * 366 * 86400.0)) luaL_error(L, "%s is a number of seconds from 1 on", what);
    return (struct cell_window){ WINDOW_ROLLING, (uint32_t)s, NULL };
  }
  if (lua_type(L, -1) != LUA_TSTRING) luaL_error(L, "%s is a word or a number of seconds, not a %s", what, luaL_typename(L, -1));
  for (size_t i = 0; i < WINDOWS; i++) {
    if (span_eq(check_span(L, -1), span_cstr(windows[i].word))) return windows[i].window;
    known[i] = windows[i].word;
  }
  refuse_unknown(L, "window", check_span(L, -1), known, WINDOWS + request);
  return windows[0].window;
}

static const char *window_each(const struct cell_window *w, char room[32]) {
  for (size_t i = 0; i < WINDOWS; i++)
    if (windows[i].window.kind == w->kind && windows[i].window.seconds == w->seconds) return windows[i].each;
  snprintf(room, 32, "in %u s", w->seconds);
  return room;
}

/* ---- making */
/* Leaves the handle on the stack; the name is the instance's unless the table names another. */
static struct caps *caps_new(lua_State *L, const char *call, const void *metatable) {
  struct frame *f = check_phase(L, call, IN_LOAD);
  struct policy_vm *pv = policy_of(L);
  struct span name = f->instance->name;
  if (lua_getfield(L, 1, "name") != LUA_TNIL) name = check_span(L, -1);
  if (!name.n || name.n > LONGEST_NAME) luaL_error(L, "%s: a name has 1 to %d bytes", call, LONGEST_NAME);
  struct caps_handle *h = lua_newuserdatauv(L, sizeof *h, 0);
  struct caps *c = mem_zero(sizeof *c + name.n);
  memcpy(c->text, name.p, name.n);
  c->name = span_of(c->text, name.n);
  c->next = pv->caps;
  pv->caps = c;
  *h = (struct caps_handle){ &caps_tag, c };
  lua_rawgetp(L, LUA_REGISTRYINDEX, metatable);
  lua_setmetatable(L, -2);
  return c;
}

static void check_zone(lua_State *L, struct caps *c, const char *call) {
  const char *why;
  if (lua_getfield(L, 1, "zone") == LUA_TNIL) return;
  c->zone = zone_load(check_span(L, -1), &why);
  if (!c->zone) luaL_error(L, "%s: zone: %s", call, why);
  for (unsigned i = 0; i < c->count; i++) c->of[i].window.zone = c->zone;
}

static void check_soft(lua_State *L, struct policy_cap *cap) {
  if (lua_getfield(L, 1, "soft") == LUA_TNIL) return;
  lua_Unsigned n = lua_istable(L, -1) ? lua_rawlen(L, -1) : CAP_MARKS + 1;
  if (n > CAP_MARKS) luaL_error(L, "weir.budget: soft is a list of up to %d shares of the cap: soft = { 0.8 }", CAP_MARKS);
  for (lua_Unsigned i = 0; i < n; i++) {
    lua_rawgeti(L, -1, (lua_Integer)i + 1);
    double share = lua_tonumber(L, -1);
    if (!(share > 0 && share <= 1)) luaL_error(L, "weir.budget: a soft mark is a share of the cap, above 0 and up to 1");
    cap->soft[cap->soft_count++] = share;
    lua_pop(L, 1);
  }
}

/* weir.budget { name, window, cap = usd(20), soft = { 0.8 }, zone } */
static int budget_call(lua_State *L) {
  static const char *const fields[] = { "name", "window", "cap", "soft", "zone" };
  if (!lua_istable(L, 1)) return luaL_error(L, "weir.budget takes a table: weir.budget { window = \"day\", cap = usd(20) }");
  check_fields(L, 1, "field of weir.budget", fields, 5, false);
  struct caps *c = caps_new(L, "weir.budget", &budget_metatable_key);
  int made = lua_gettop(L);
  struct policy_cap *cap = &c->of[c->count++];
  *cap = (struct policy_cap){ .name = c->name, .kind = CELL_MONEY, .cell = &c->cells[0] };
  lua_getfield(L, 1, "cap");
  if (!amount_at(L, -1, &cap->cap)) return luaL_error(L, "weir.budget: cap is money: cap = usd(20)");
  bool request = lua_getfield(L, 1, "window") == LUA_TSTRING && span_eq(check_span(L, -1), SPAN("request"));
  if (request) cap->one_request = true;
  else cap->window = check_window(L, "weir.budget: window", true);
  check_soft(L, cap);
  check_zone(L, c, "weir.budget");
  return lua_settop(L, made), 1;
}

/* weir.limit { name, per, requests | tokens | concurrent, zone } */
static int limit_call(lua_State *L) {
  static const char *const fields[] = { "name", "per", "requests", "tokens", "concurrent", "zone" };
  static const enum cell_kind kinds[CAPS_MOST] = { CELL_REQUESTS, CELL_TOKENS, CELL_CONCURRENT };
  if (!lua_istable(L, 1)) return luaL_error(L, "weir.limit takes a table: weir.limit { per = \"minute\", requests = 60 }");
  check_fields(L, 1, "field of weir.limit", fields, 6, false);
  struct caps *c = caps_new(L, "weir.limit", &limit_metatable_key);
  int made = lua_gettop(L);
  struct cell_window window = windows[0].window;
  if (lua_getfield(L, 1, "per") != LUA_TNIL) window = check_window(L, "weir.limit: per", false);
  for (unsigned i = 0; i < CAPS_MOST; i++) {
    int whole = 0;
    if (lua_getfield(L, 1, fields[2 + i]) == LUA_TNIL) continue;
    lua_Integer n = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &whole) : 0;
    if (!whole || n < 0) return luaL_error(L, "weir.limit: %s is a whole number from 0 on", fields[2 + i]);
    c->of[c->count] = (struct policy_cap){ .name = c->name, .kind = kinds[i], .cap = n, .window = window, .cell = &c->cells[c->count] };
    c->count++;
    if (kinds[i] == CELL_CONCURRENT) c->of[c->count - 1].window = (struct cell_window){ WINDOW_TOTAL, 0, NULL };
  }
  if (!c->count) return luaL_error(L, "weir.limit says what is limited: requests, tokens or concurrent");
  check_zone(L, c, "weir.limit");
  return lua_settop(L, made), 1;
}

/* ---- what a refusal says */
static void add_figure(struct buf *out, enum cell_kind kind, int64_t n) {
  if (kind == CELL_MONEY) {
    money_add_text(out, n);
    buf_add(out, SPAN(" USD"));
  } else {
    buf_printf(out, "%lld", (long long)n);
  }
}

void policy_cap_say(const struct policy_cap *cap, struct span scope, const struct cells_refusal *r, struct buf *out) {
  static const char *const of[CELL_KINDS] = { [CELL_TOKENS] = " tokens", [CELL_REQUESTS] = " requests", [CELL_CONCURRENT] = " requests at once" };
  char room[32];
  buf_printf(out, "the %s '%.*s'", cap->kind == CELL_MONEY ? "budget" : "limit", SPAN_FMT(cap->name));
  if (scope.n) buf_printf(out, " of '%.*s'", SPAN_FMT(scope));
  buf_add(out, SPAN(" is "));
  add_figure(out, cap->kind, cap->cap);
  buf_printf(out, "%s%s%s", of[cap->kind] ? of[cap->kind] : "", cap->kind == CELL_CONCURRENT ? "" : " ",
             cap->one_request ? "a request" : cap->kind == CELL_CONCURRENT ? "" : window_each(&cap->window, room));
  if (!cap->one_request && cap->kind != CELL_CONCURRENT) buf_add(out, SPAN(", of which ")), add_figure(out, cap->kind, r->spent), buf_add(out, SPAN(" are spent"));
  if (!cap->one_request && r->reserved) buf_add(out, cap->kind == CELL_CONCURRENT ? SPAN(", and ") : SPAN(" and ")), add_figure(out, cap->kind, r->reserved), buf_add(out, SPAN(" reserved by others"));
  if (r->asked) buf_add(out, SPAN("; this request may need ")), add_figure(out, cap->kind, r->asked);
  if (!r->frees_ms || cap->one_request) return;
  char when[32];
  time_t t = (time_t)(r->frees_ms / 1000);
  struct tm tm;
  strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
  buf_printf(out, "; %s at %s", cap->window.kind == WINDOW_ROLLING ? "room comes back" : "it begins anew", when);
}

/* ---- attaching */
static struct caps *check_caps(lua_State *L, const char *call) {
  struct caps_handle *h = lua_touserdata(L, 1);
  if (!h || lua_type(L, 1) != LUA_TUSERDATA || lua_rawlen(L, 1) != sizeof *h || h->tag != &caps_tag)
    luaL_error(L, "%s: call it with a colon on what weir.budget or weir.limit gave", call);
  return h->caps;
}

/* A scope is a text; with none all share one cell. */
static struct span check_scope(lua_State *L, int at, const char *call, struct arena *a) {
  if (lua_isnoneornil(L, at)) return SPAN("");
  if (!lua_isstring(L, at)) luaL_error(L, "%s: the scope is a string, not a %s", call, luaL_typename(L, at));
  struct span s;
  s.p = lua_tolstring(L, at, &s.n);
  if (s.n > LONGEST_SCOPE) luaL_error(L, "%s: a scope has at most %d bytes", call, LONGEST_SCOPE);
  return s.n ? arena_copy(a, s) : SPAN("");
}

static const char *const cap_words[CELL_KINDS] = { [CELL_MONEY] = "budget", [CELL_TOKENS] = "tokens", [CELL_REQUESTS] = "requests", [CELL_CONCURRENT] = "concurrent" };

static bool look_now(struct policy_vm *pv, const struct policy_cap *cap, struct span scope, struct cell_state *out) {
  struct cell_id id = { cap->name, scope, cap->kind, cap->window, cap->cell };
  return !cap->one_request && pv->cells && cells_read(pv->cells, &id, (int64_t)(policy_now(pv) * 1000), out) == CELLS_OK;
}

/* On the tape: [spent, reserved, end of the window]. */
static void keep(struct policy_vm *pv, const struct policy_cap *cap, struct span scope, const struct cell_state *s) {
  struct policy_tape *t = tape_of(pv);
  struct buf name = { 0 };
  char text[72];
  if (!t || t->full || t->plays) return;
  buf_printf(&name, "%.*s/%.*s", SPAN_FMT(cap->name), SPAN_FMT(scope));
  int n = snprintf(text, sizeof text, "[%lld,%lld,%lld]", (long long)s->spent, (long long)s->reserved, (long long)s->end_ms);
  tape_keep(t, cap_words[cap->kind], buf_span(&name), span_of(text, (size_t)n));
  buf_free(&name);
}

static bool play(struct policy_tape *t, const struct policy_cap *cap, struct span scope, struct cell_state *out) {
  int64_t *const figures[] = { &out->spent, &out->reserved, &out->end_ms };
  struct buf name = { 0 };
  struct json key, figure;
  size_t n = 0;
  buf_printf(&name, "%.*s/%.*s", SPAN_FMT(cap->name), SPAN_FMT(scope));
  struct json v = tape_take(t, cap_words[cap->kind], buf_span(&name));
  buf_free(&name);
  for (struct json_iter i = json_iter(v); v.type == JSON_ARRAY && n < 3 && json_next(&i, &key, &figure);) json_i64(figure, figures[n++]);
  return n == 3;
}

/* False: it is not known, as of one that was never used. */
static bool look(struct policy_vm *pv, const struct policy_cap *cap, struct span scope, struct cell_state *out) {
  struct policy_tape *t = tape_of(pv);
  *out = (struct cell_state){ 0 };
  if (!t || !t->plays) return look_now(pv, cap, scope, out);
  return !cap->one_request && play(t, cap, scope, out);
}

static double mark_of(const struct policy_cap *cap, const struct cell_state *s) {
  double used = cap->cap > 0 ? ((double)s->spent + (double)s->reserved) / (double)cap->cap : 1, mark = 0;
  for (unsigned i = 0; i < cap->soft_count; i++)
    if (used >= cap->soft[i] && cap->soft[i] > mark) mark = cap->soft[i];
  return mark;
}

/* A cell with nothing left refuses at once. What others have reserved may come back: that is the gateway's to wait for. */
static bool spent(const struct policy_cap *cap, const struct cell_state *s) {
  if (cap->kind == CELL_CONCURRENT || cap->kind == CELL_REQUESTS) return cap->cap <= 0 || (cap->kind == CELL_REQUESTS && s->spent >= cap->cap);
  return s->spent >= cap->cap;
}

/* One cell is charged once, whoever attached it. */
static struct policy_charge *attach(lua_State *L, struct policy_req *r, struct policy_attempt *a, const struct policy_cap *cap, struct span scope,
                                    const char *call) {
  struct policy_charge **lists[2] = { &r->charges, a ? &a->charges : NULL };
  unsigned n = 0;
  for (int i = 0; i < 2 && lists[i]; i++)
    for (struct policy_charge *c = *lists[i]; c; c = c->next, n++)
      if (c->cap == cap && span_eq(c->scope, scope)) return c;
  if (n >= CELLS_MOST_SCOPES) luaL_error(L, "%s: more than %d budgets and limits in one exchange", call, CELLS_MOST_SCOPES);
  struct policy_charge *c = arena_alloc(a ? a->arena : r->arena, sizeof *c), **list = lists[a != NULL];
  *c = (struct policy_charge){ *list, cap, scope, 0 };
  return *list = c;
}

/* Gives nil and the highest soft mark that is passed, or the refusal. What lets it pass is not put on the tape: what is not there has
   room. */
static int take(lua_State *L, const char *call) {
  struct caps *caps = check_caps(L, call);
  struct frame *f = check_phase(L, call, IN_REQUEST | IN_ATTEMPT);
  struct policy_req *r = check_handle(L, 2, &kind_req, call)->subject->req;
  struct policy_attempt *a = f->subject->attempt;
  struct policy_vm *pv = policy_of(L);
  struct span scope = check_scope(L, 3, call, a ? a->arena : r->arena);
  double mark = 0;
  vm_spend(L, 100);
  for (unsigned i = 0; i < caps->count; i++) {
    const struct policy_cap *cap = &caps->of[i];
    struct cell_state s;
    struct policy_charge *charge = attach(L, r, a, cap, scope, call);
    if (!look(pv, cap, scope, &s) && cap->cap > 0) continue;
    charge->end_ms = s.end_ms;
    double m = mark_of(cap, &s);
    if (m > 0 || spent(cap, &s)) keep(pv, cap, scope, &s);
    if (spent(cap, &s)) {
      struct cells_refusal refusal = { .cap = cap->cap, .spent = s.spent, .reserved = s.reserved, .frees_ms = s.end_ms };
      struct buf *b = scratch_begin(pv);
      policy_cap_say(cap, scope, &refusal, b);
      double after = cap->kind == CELL_MONEY ? -1 : s.end_ms ? (double)s.end_ms / 1000 - policy_now(pv) : 1;
      refusal_push(L, cap->kind == CELL_MONEY ? "capped" : "limited", arena_copy(r->arena, buf_span(b)), after);
      return 1;
    }
    if (m > mark) mark = m;
  }
  lua_pushnil(L);
  if (mark > 0) lua_pushnumber(L, mark);
  else lua_pushnil(L);
  return 2;
}
static int charge_call(lua_State *L) { return take(L, "budget:charge(req, scope)"); }
static int take_call(lua_State *L) { return take(L, "limit:take(req, scope)"); }

/* budget:left(scope): what may still be spent, reservations taken off; nil where it cannot be known. */
static int left_call(lua_State *L) {
  const char *call = "left(scope)";
  struct caps *caps = check_caps(L, call);
  struct policy_vm *pv = policy_of(L);
  struct frame *f = check_phase(L, call, IN_HOOKS);
  const struct policy_cap *cap = &caps->of[0];
  struct cell_state s;
  struct span scope = check_scope(L, 2, call, f->subject->req->arena);
  if (!look(pv, cap, scope, &s)) return lua_pushnil(L), 1;
  keep(pv, cap, scope, &s);
  int64_t left = cap->cap - s.spent - s.reserved;
  if (cap->kind == CELL_MONEY) amount_push(L, left > 0 ? left : 0);
  else lua_pushinteger(L, left > 0 ? left : 0);
  return 1;
}

static void metatable(lua_State *L, const void *key, const char *name, const luaL_Reg *methods) {
  lua_newtable(L);
  lua_newtable(L);
  luaL_setfuncs(L, methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__name");
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__metatable");
  lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

void cells_setup(lua_State *L) {
  static const luaL_Reg budget[] = { { "charge", charge_call }, { "left", left_call }, { NULL, NULL } };
  static const luaL_Reg limit[] = { { "take", take_call }, { "left", left_call }, { NULL, NULL } };
  static const luaL_Reg words[] = { { "budget", budget_call }, { "limit", limit_call }, { NULL, NULL } };
  metatable(L, &budget_metatable_key, "budget", budget);
  metatable(L, &limit_metatable_key, "limit", limit);
  luaL_setfuncs(L, words, 0);
}
