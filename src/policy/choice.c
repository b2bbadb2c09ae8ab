#include "room.h"
#include "weir/translate.h"
#include <math.h>

/* A choice is checked where it is made, so that a mistake names the line that made it, and taken when the hook
   returns it. It is in the exchange's memory, so it is good only in the call that made it. Of more choices than
   MOST_CHOICES in one call the oldest are forgotten. */
enum { CHOSE_ROUTE = DECIDE_FAIL + 1, CHOSE_LOSS, CHOICE_KINDS };
enum { MOST_CHOICES = 64 };
struct choice {
  struct choice *next;
  uint64_t serial;                                     /* its own */
  int kind;
  int status;
  bool is_json;
  uint32_t next_on;
  double seconds;                                      /* retry_after, after, hold; -1 not given */
  double tokens, bytes;                                /* of hold, and of replace in on_chunk */
  bool until_done;
  size_t back;
  const char *as, *word;
  struct span text, code;                              /* text: the message, the answer, the new text */
  struct span *targets;
  size_t target_count;
};
static const struct { const char *word; unsigned hooks; } words[CHOICE_KINDS] = {
  [DECIDE_DENY] = { "weir.deny", IN_REQUEST },      [DECIDE_ANSWER] = { "weir.answer", IN_REQUEST },
  [DECIDE_SKIP] = { "weir.skip", IN_ATTEMPT },      [DECIDE_ACCEPT] = { "weir.accept", IN_RESPONSE },
  [DECIDE_REJECT] = { "weir.reject", IN_RESPONSE }, [DECIDE_REPLACE] = { "weir.replace", IN_RESPONSE | IN_CHUNK },
  [DECIDE_HOLD] = { "weir.hold", IN_RESPONSE | IN_CHUNK },
  [DECIDE_DROP] = { "weir.drop", IN_CHUNK },        [DECIDE_STOP] = { "weir.stop", IN_CHUNK },
  [DECIDE_RETRY] = { "weir.retry", IN_FAILURE },    [DECIDE_NEXT] = { "weir.next", IN_FAILURE },
  [DECIDE_FAIL] = { "weir.fail", IN_FAILURE },      [CHOSE_ROUTE] = { "weir.route", IN_REQUEST },
  [CHOSE_LOSS] = { "weir.allow_loss", IN_REQUEST },
};

/* ---- made */

/* What lasts as long as the call at least: of a chunk there may be many. */
static struct arena *arena_of_call(const struct frame *f) {
  struct policy_req *req = f->subject->req;
  return f->hook == HOOK_CHUNK && req->scratch ? req->scratch : req->arena;
}

static struct choice *choice_room(const struct frame *f) {
  struct choice **at = f->choices;
  for (int i = 1; i < MOST_CHOICES && *at; i++) at = &(*at)->next;
  struct choice *oldest = *at;
  *at = NULL;
  return oldest ? oldest : arena_alloc(arena_of_call(f), sizeof *oldest);
}

static struct choice *choice_in(lua_State *L, int kind, unsigned hooks) {
  struct frame *f = check_phase(L, words[kind].word, hooks);
  f->chose = true;
  struct choice *c = choice_room(f);
  *c = (struct choice){
    .next = *f->choices, .serial = ++policy_of(L)->serial, .kind = kind, .seconds = -1, .tokens = -1, .bytes = -1
  };
  *f->choices = c;
  kind_push(L, KIND_CHOICE, c->serial, (unsigned)kind);
  return c;
}

static struct choice *choice_new(lua_State *L, int kind) { return choice_in(L, kind, words[kind].hooks); }

static struct arena *arena_of(lua_State *L) { return policy_of(L)->frame->subject->req->arena; }

static struct span check_text(lua_State *L, int at, const char *what, struct arena *a) {
  if (lua_type(L, at) != LUA_TSTRING) luaL_error(L, "%s is a string, not a %s", what, luaL_typename(L, at));
  return arena_copy(a, check_span(L, at));
}

static double check_seconds(lua_State *L, int at, const char *what) {
  double s = lua_type(L, at) == LUA_TNUMBER ? lua_tonumber(L, at) : -1;
  if (!(s >= 0 && s <= 86400 * 366)) luaL_error(L, "%s is a number of seconds from 0 on", what);
  return s;
}

/* weir.deny(status, message, { code, retry_after }) */
static int deny_call(lua_State *L) {
  static const char *const fields[] = { "code", "retry_after" };
  struct choice *c = choice_new(L, DECIDE_DENY);
  int isnum, made = lua_gettop(L);
  lua_Integer status = lua_tointegerx(L, 1, &isnum);
  if (!isnum || status < 400 || status > 599) return luaL_error(L, "weir.deny: the status is a number from 400 to 599");
  c->status = (int)status;
  if (made > 2 && !lua_isnil(L, 2)) c->text = check_text(L, 2, "weir.deny: the message", arena_of(L));
  if (made > 3 && !lua_isnil(L, 3)) {
    check_fields(L, 3, "field of weir.deny", fields, 2, false);
    if (lua_getfield(L, 3, "retry_after") != LUA_TNIL) c->seconds = check_seconds(L, -1, "weir.deny: retry_after");
    if (lua_getfield(L, 3, "code") != LUA_TNIL) c->code = check_text(L, -1, "weir.deny: code", arena_of(L));
  }
  return lua_settop(L, made), 1;
}

void refusal_push(lua_State *L, const char *word, struct span message, double retry_after) {
  struct choice *c = choice_in(L, DECIDE_DENY, IN_REQUEST | IN_ATTEMPT);
  c->status = 429;
  c->word = word;
  c->text = message;
  c->seconds = retry_after;
}

/* weir.answer(text or table) */
static int answer_call(lua_State *L) {
  struct choice *c = choice_new(L, DECIDE_ANSWER);
  c->is_json = lua_istable(L, 1);
  if (c->is_json) c->text = json_encode_arena(L, 1, arena_of(L));
  else c->text = check_text(L, 1, "weir.answer: the answer, unless it is a table,", arena_of(L));
  return 1;
}

/* Of a list that some target cannot serve (it speaks another dialect) those that can, as an alias' targets are
   taken; all of them when none can: that is the client's matter, who gets the reason. */
static size_t servable(struct policy_vm *pv, struct policy_req *req, struct span *names, size_t n) {
  struct span kept[ROUTE_MOST_TARGETS];
  struct route route;
  size_t count = 0;
  int status;
  for (size_t i = 0; i < n; i++)
    if (!route_names(pv->conf, req->operation, &names[i], 1, req->arena, &route, &status)) kept[count++] = names[i];
  if (count) memcpy(names, kept, count * sizeof *names);
  return count ? count : n;
}

size_t check_targets(lua_State *L, int at, struct policy_vm *pv, struct policy_req *req,
                     struct span out[ROUTE_MOST_TARGETS]) {
  struct route route;
  int status = 0;
  size_t n = lua_rawlen(L, at);
  if (!n || n > ROUTE_MOST_TARGETS)
    luaL_error(L, "targets are a list of 1 to %d names \"provider/model\", this one has %d", ROUTE_MOST_TARGETS,
               (int)n);
  for (size_t i = 0; i < n; i++) {
    if (lua_rawgeti(L, at, (lua_Integer)i + 1) != LUA_TSTRING)
      luaL_error(L, "target %d is a %s; targets are names \"provider/model\"", (int)i + 1, luaL_typename(L, -1));
    out[i].p = lua_tolstring(L, -1, &out[i].n);        /* the list keeps them alive */
    lua_pop(L, 1);
  }
  if (!req->operation) return n;
  const char *why = route_names(pv->conf, req->operation, out, n, req->arena, &route, &status);
  if (why && status == 404) luaL_error(L, "%s", why);
  return why ? servable(pv, req, out, n) : n;
}

/* weir.route { "a/x", "b/y", next_on = { … } } */
static int route_call(lua_State *L) {
  static const char *const fields[] = { "next_on" };
  struct span names[ROUTE_MOST_TARGETS];
  struct choice *c = choice_new(L, CHOSE_ROUTE);
  struct policy_vm *pv = policy_of(L);
  int made = lua_gettop(L);
  if (!lua_istable(L, 1)) return luaL_error(L, "weir.route takes a list: weir.route { \"provider/model\", … }");
  bool next = check_fields(L, 1, "field of weir.route", fields, 1, true);
  c->target_count = check_targets(L, 1, pv, pv->frame->subject->req, names);
  c->targets = arena_alloc(arena_of(L), c->target_count * sizeof *names);
  for (size_t i = 0; i < c->target_count; i++) c->targets[i] = arena_copy(arena_of(L), names[i]);
  if (next && lua_getfield(L, 1, "next_on") != LUA_TNIL) c->next_on = check_faults(L, lua_gettop(L), "next_on");
  return lua_settop(L, made), 1;
}

static bool loss_translates(struct span word) {
  for (size_t i = 0; i < translate_word_count; i++)
    if (span_eq(word, span_cstr(translate_words[i]))) return true;
  return false;
}

static int loss_refuse(lua_State *L, struct span word) {
  bool near = span_nearest(word, translate_words, translate_word_count) && !span_nearest(word, loss_words, LOSS_COUNT);
  return refuse_unknown(L, "field that may be lost", word, near ? translate_words : loss_words, near ? translate_word_count : LOSS_COUNT);
}

static void loss_allow(struct policy_req *req, struct span word) {
  for (size_t i = 0; i < req->allowed_count; i++)
    if (span_eq(req->allowed[i], word)) return;
  if (!req->allowed) req->allowed = arena_alloc(req->arena, (LOSS_COUNT + translate_word_count) * sizeof *req->allowed);
  req->allowed[req->allowed_count++] = arena_copy(req->arena, word);
}

/* weir.allow_loss { "thinking", … }. It holds from the call on, so that a policy may return another decision. */
static int allow_loss_call(lua_State *L) {
  struct frame *f = check_phase(L, words[CHOSE_LOSS].word, words[CHOSE_LOSS].hooks);
  bool chose = f->chose;
  uint32_t losses = 0;
  if (!lua_istable(L, 1) || !lua_rawlen(L, 1)) return luaL_error(L, "weir.allow_loss takes a list: weir.allow_loss { \"thinking\" }");
  check_fields(L, 1, "field of weir.allow_loss", NULL, 0, true);
  for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, 1); i++) {
    unsigned k = 0;
    if (lua_rawgeti(L, 1, i) != LUA_TSTRING) return luaL_error(L, "weir.allow_loss: %d is a %s, not the name of a field", (int)i, luaL_typename(L, -1));
    while (k < LOSS_COUNT && !span_eq(check_span(L, -1), span_cstr(loss_words[k]))) k++;
    if (k < LOSS_COUNT) losses |= 1u << k;
    else if (!loss_translates(check_span(L, -1))) return loss_refuse(L, check_span(L, -1));
    loss_allow(f->subject->req, check_span(L, -1));
    lua_pop(L, 1);
  }
  f->subject->req->losses |= losses;
  choice_new(L, CHOSE_LOSS);
  f->chose = chose;
  return 1;
}

static int why_choice(lua_State *L, int kind, const char *what) {
  struct choice *c = choice_new(L, kind);
  if (lua_gettop(L) > 1 && !lua_isnil(L, 1)) c->text = check_text(L, 1, what, arena_of(L));
  return 1;
}
static int skip_call(lua_State *L) { return why_choice(L, DECIDE_SKIP, "weir.skip: the reason"); }
static int reject_call(lua_State *L) { return why_choice(L, DECIDE_REJECT, "weir.reject: the reason"); }
static int fail_call(lua_State *L) { return why_choice(L, DECIDE_FAIL, "weir.fail: the reason"); }
static int accept_call(lua_State *L) { return choice_new(L, DECIDE_ACCEPT), 1; }
static int next_call(lua_State *L) { return choice_new(L, DECIDE_NEXT), 1; }

/* A tool's name and arguments, a finish or a usage are not text: changing them would break what the client builds
   from them. */
static void check_text_chunk(lua_State *L, const struct frame *f, const char *word) {
  if (f->hook != HOOK_CHUNK) return;
  enum delta_kind kind = f->subject->chunk->kind;
  if (kind != DELTA_TEXT && kind != DELTA_THINKING)
    luaL_error(L, "%s is for text and thinking; a chunk of another kind can only be stopped: weir.stop", word);
}

static double check_amount(lua_State *L, int at, const char *name, double most) {
  double n = -1;
  if (lua_getfield(L, at, name) != LUA_TNIL) {
    n = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
    if (!(n >= 0 && n <= most)) luaL_error(L, "%s is a number from 0 on", name);
  }
  lua_pop(L, 1);
  return n;
}

static void check_hold(lua_State *L, int at, struct choice *c) {
  c->bytes = check_amount(L, at, "bytes", 1e9);
  c->seconds = check_amount(L, at, "seconds", 86400);
}

/* weir.hold { bytes, seconds } in on_chunk, { tokens, bytes, seconds, until_done } in on_response */
static int hold_call(lua_State *L) {
  static const char *const of_chunk[] = { "bytes", "seconds" };
  static const char *const of_response[] = { "bytes", "seconds", "tokens", "until_done" };
  struct choice *c = choice_new(L, DECIDE_HOLD);
  struct frame *f = policy_of(L)->frame;
  bool chunk = f->hook == HOOK_CHUNK;
  if (!lua_istable(L, 1)) return luaL_error(L, "weir.hold takes a table: weir.hold { bytes = 64 }");
  check_fields(L, 1, chunk ? "field of weir.hold in on_chunk" : "field of weir.hold", chunk ? of_chunk : of_response, chunk ? 2 : 4, false);
  check_hold(L, 1, c);
  if (!chunk) {
    c->tokens = check_amount(L, 1, "tokens", 1e9);
    c->until_done = (lua_getfield(L, 1, "until_done"), lua_toboolean(L, -1));
    lua_pop(L, 1);
  }
  if (c->bytes < 0 && c->seconds < 0 && c->tokens < 0 && !c->until_done)
    return luaL_error(L, "weir.hold says how much or for how long: %s", chunk ? "bytes, seconds" : "tokens, bytes, seconds, until_done");
  return 1;
}

/* weir.replace(text); in on_chunk weir.replace(text, { back, bytes, seconds }) */
static void check_replace(lua_State *L, struct choice *c, const struct frame *f) {
  static const char *const fields[] = { "back", "bytes", "seconds" };
  if (f->hook != HOOK_CHUNK) luaL_error(L, "weir.replace takes a text alone outside of on_chunk");
  check_fields(L, 2, "field of weir.replace", fields, 3, false);
  double back = check_amount(L, 2, "back", 1e9);
  c->back = back > 0 ? (size_t)back : 0;
  check_hold(L, 2, c);
}

static int replace_call(lua_State *L) {
  int given = lua_gettop(L);
  struct choice *c = choice_new(L, DECIDE_REPLACE);
  struct frame *f = policy_of(L)->frame;
  c->text = check_text(L, 1, "weir.replace: the new text", arena_of_call(f));
  check_text_chunk(L, f, "weir.replace");
  if (given > 1 && !lua_isnil(L, 2)) check_replace(L, c, f);
  return 1;
}

static int drop_call(lua_State *L) {
  choice_new(L, DECIDE_DROP);
  check_text_chunk(L, policy_of(L)->frame, "weir.drop");
  return 1;
}

/* weir.stop(why, "length" | "filter" | "error") */
static int stop_call(lua_State *L) {
  static const char *const kinds[] = { "length", "filter", "error" };
  struct choice *c = choice_new(L, DECIDE_STOP);
  int made = lua_gettop(L);
  c->text = check_text(L, 1, "weir.stop: the reason", arena_of(L));
  c->as = "filter";
  if (made > 2 && !lua_isnil(L, 2)) {
    struct span as = check_span(L, 2);
    size_t i = 0;
    while (i < 3 && !span_eq(as, span_cstr(kinds[i]))) i++;
    if (i == 3) return refuse_unknown(L, "way to stop", as, kinds, 3);
    c->as = kinds[i];
  }
  return 1;
}

/* weir.retry { after = seconds } */
static int retry_call(lua_State *L) {
  static const char *const fields[] = { "after" };
  struct choice *c = choice_new(L, DECIDE_RETRY);
  int made = lua_gettop(L);
  if (made == 1 || lua_isnil(L, 1)) return 1;
  check_fields(L, 1, "field of weir.retry", fields, 1, false);
  if (lua_getfield(L, 1, "after") != LUA_TNIL) c->seconds = check_seconds(L, -1, "weir.retry: after");
  return lua_settop(L, made), 1;
}

void choice_setup(lua_State *L) {
  static const luaL_Reg calls[] = {
    { "deny", deny_call },
    { "answer", answer_call },
    { "route", route_call },
    { "skip", skip_call },
    { "accept", accept_call },
    { "reject", reject_call },
    { "replace", replace_call },
    { "drop", drop_call },
    { "hold", hold_call },
    { "stop", stop_call },
    { "retry", retry_call },
    { "next", next_call },
    { "fail", fail_call },
    { "allow_loss", allow_loss_call },
    { NULL, NULL },
  };
  luaL_setfuncs(L, calls, 0);
}

/* ---- taken */

const struct kind kind_choice = { .name = "decision", .id = KIND_CHOICE };

static bool route_take(const struct choice *c, struct policy_req *req) {
  req->targets = c->targets;
  req->target_count = c->target_count;
  req->next_on = c->next_on;
  return true;
}

bool choice_take(lua_State *L, int at, struct frame *f, struct decision *out, struct buf *why) {
  if (lua_isnil(L, at)) return true;
  uint64_t serial;
  unsigned kind;
  const struct choice *c = *f->choices;
  if (!kind_at(L, at, KIND_CHOICE, &serial, &kind)) {
    buf_printf(why, "%s returned a %s; it returns nothing, or a decision made by weir.…", hook_words[f->hook],
               luaL_typename(L, at));
    return false;
  }
  while (c && c->serial != serial) c = c->next;
  if (!c) {
    buf_printf(why, "%s returned a decision (%s) that was made in another call; make it anew each time",
               hook_words[f->hook], words[kind].word);
    return false;
  }
  if (c->kind == CHOSE_ROUTE) return route_take(c, f->subject->req);
  if (c->kind == CHOSE_LOSS) return true;
  *out = (struct decision){ .kind = (enum decision_kind)c->kind,
                            .policy = f->instance->name,
                            .status = c->status,
                            .retry_after = c->seconds,
                            .code = c->code };
  if (c->kind == DECIDE_ANSWER && c->is_json) out->json = c->text;
  else if (c->kind == DECIDE_ANSWER || c->kind == DECIDE_REPLACE) out->text = c->text;
  else out->message = c->text;
  if (c->as) out->as = span_cstr(c->as);
  if (c->word) out->word = span_cstr(c->word);
  out->back = c->back;
  out->hold = (struct hold_wish){ c->tokens, c->bytes, c->seconds, c->until_done };
  return true;
}
