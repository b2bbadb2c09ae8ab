/* test_lua.c: `t`: what a policy test says and sees. t.request, t.stream and t.advance yield to the driver, which turns the
   simulated gateway outside of any Lua call; everything else answers at once. */
#include "test_lua.h"
#include <stdio.h>
#include <stdlib.h>
#include "scene.h"
#include "weir/vm.h"

enum { FIRST_PORT = 20000, MOST_PROVIDERS = 32, CALL_MS = 1000, MOST_DEPTH = 64 };

struct reply_to { struct reply_to *next; struct url url; struct span text; int answer; };   /* answer: registry reference */
struct upstream_script { struct upstream_script *next; struct span target; int answers; unsigned at; };
struct test {
  struct arena arena;
  struct vm *vm;
  lua_State *L;                       /* registry access */
  const char *folder;
  struct scene *scene;
  struct buf uses;                    /* lines of weir.lua */
  struct span providers[MOST_PROVIDERS];
  size_t provider_count;
  struct upstream_script *scripts;
  struct reply_to *replies;
  struct buf ended_notes;             /* of the exchange that ended last, as JSON */
  struct span ended_word;
  struct span failure;                /* first failure of t.equal or t.ok */
};

static struct test *test_of(lua_State *L) { return vm_owner(L); }

/* ---- Lua values as text of weir.lua */
static void write_value(lua_State *L, int i, struct buf *out, int depth) {
  if (depth > MOST_DEPTH) luaL_error(L, "options are nested too deeply");
  i = lua_absindex(L, i);
  switch (lua_type(L, i)) {
  case LUA_TBOOLEAN: buf_add(out, lua_toboolean(L, i) ? SPAN("true") : SPAN("false")); return;
  case LUA_TNUMBER:
    if (lua_isinteger(L, i)) buf_printf(out, "%lld", (long long)lua_tointeger(L, i));
    else buf_printf(out, "%.17g", lua_tonumber(L, i));
    return;
  case LUA_TSTRING: {
    size_t n;
    const char *s = lua_tolstring(L, i, &n);
    buf_byte(out, '"');
    for (size_t k = 0; k < n; k++) buf_printf(out, "\\%03u", (unsigned char)s[k]);
    buf_byte(out, '"');
    return;
  }
  case LUA_TTABLE:
    buf_byte(out, '{');
    for (lua_pushnil(L); lua_next(L, i); lua_pop(L, 1)) {
      buf_byte(out, '[');
      write_value(L, -2, out, depth + 1);
      buf_add(out, SPAN("]="));
      write_value(L, -1, out, depth + 1);
      buf_byte(out, ',');
    }
    buf_byte(out, '}');
    return;
  default: luaL_error(L, "options are plain data, not a %s", luaL_typename(L, i));
  }
}

/* Runs outside of any protected call, so it raises nothing: what JSON cannot say is null. */
static void write_json(lua_State *L, int i, struct buf *out, int depth) {
  if (depth > MOST_DEPTH || lua_isfunction(L, i) || !lua_checkstack(L, 8)) {
    buf_add(out, SPAN("null"));
    return;
  }
  i = lua_absindex(L, i);
  if (lua_type(L, i) != LUA_TTABLE) {
    size_t n;
    const char *s = lua_type(L, i) == LUA_TSTRING ? lua_tolstring(L, i, &n) : NULL;
    if (s) json_write_string(out, span_of(s, n));
    else if (lua_isnil(L, i)) buf_add(out, SPAN("null"));
    else write_value(L, i, out, depth);
    return;
  }
  bool array = lua_rawlen(L, i) > 0, first = true;
  buf_byte(out, array ? '[' : '{');
  for (lua_Unsigned k = 1; array && k <= lua_rawlen(L, i); k++) {
    if (k > 1) buf_byte(out, ',');
    lua_rawgeti(L, i, (lua_Integer)k);
    write_json(L, -1, out, depth + 1);
    lua_pop(L, 1);
  }
  if (!array) lua_pushnil(L);
  for (; !array && lua_next(L, i); lua_pop(L, 1)) {
    if (!first) buf_byte(out, ',');
    first = false;
    lua_pushvalue(L, -2);
    size_t n;
    const char *s = lua_tolstring(L, -1, &n);
    json_write_string(out, span_of(s, n));
    lua_pop(L, 1);
    buf_byte(out, ':');
    write_json(L, -1, out, depth + 1);
  }
  buf_byte(out, array ? ']' : '}');
}

static void push_json(lua_State *L, struct json v, struct arena *a) {
  double d;
  int64_t n;
  struct span s;
  luaL_checkstack(L, 6, "JSON too deep");
  switch (v.type) {
  case JSON_TRUE: case JSON_FALSE: lua_pushboolean(L, v.type == JSON_TRUE); return;
  case JSON_NUMBER:
    if (json_i64(v, &n)) lua_pushinteger(L, n);
    else lua_pushnumber(L, json_f64(v, &d) ? d : 0);
    return;
  case JSON_STRING:
    json_unescape(v, a, &s);
    lua_pushlstring(L, s.p, s.n);
    return;
  case JSON_ARRAY: case JSON_OBJECT: {
    struct json_iter it = json_iter(v);
    struct json key, item;
    lua_newtable(L);
    for (lua_Integer i = 1; json_next(&it, &key, &item); i++) {
      push_json(L, item, a);
      if (v.type == JSON_ARRAY) { lua_rawseti(L, -2, i); continue; }
      json_unescape(key, a, &s);
      lua_pushlstring(L, s.p, s.n);
      lua_insert(L, -2);
      lua_rawset(L, -3);
    }
    return;
  }
  default: lua_pushnil(L);
  }
}

/* ---- fields of an answer table, at stack index i */
static bool field_text(lua_State *L, int i, const char *name, struct arena *a, struct span *out) {
  lua_getfield(L, i, name);
  size_t n;
  bool there = lua_type(L, -1) == LUA_TSTRING;
  const char *s = there ? lua_tolstring(L, -1, &n) : NULL;
  if (there) *out = arena_copy(a, span_of(s, n));
  lua_pop(L, 1);
  return there;
}

static double field_number(lua_State *L, int i, const char *name, double absent) {
  lua_getfield(L, i, name);
  double d = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : absent;
  lua_pop(L, 1);
  return d;
}

/* ---- scripted providers */
static void add_head(struct buf *out, int status, const char *type, double retry_after, size_t length) {
  http_write_status(out, status);
  http_write_header(out, SPAN("content-type"), span_cstr(type));
  if (retry_after >= 0) buf_printf(out, "retry-after: %g\r\n", retry_after);
  http_write_header_u64(out, SPAN("content-length"), length);
  http_write_end(out);
}

static void chat_event(struct buf *b, struct span model, struct span text, const char *finish) {
  buf_add(b, SPAN("data: {\"id\":\"chatcmpl-test\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":"));
  json_write_string(b, model);
  buf_add(b, SPAN(",\"choices\":[{\"index\":0,\"delta\":{"));
  if (text.p) buf_add(b, SPAN("\"content\":")), json_write_string(b, text);
  buf_printf(b, "},\"finish_reason\":%s}]}\n\n", finish);
}

static void stream_body(lua_State *L, int answer, struct span model, struct arena *a, struct buf *b) {
  lua_getfield(L, answer, "stream");
  struct span text;
  if (lua_istable(L, -1)) {
    for (lua_Unsigned k = 1; k <= lua_rawlen(L, -1); k++) {
      lua_rawgeti(L, -1, (lua_Integer)k);
      size_t n;
      const char *s = lua_tolstring(L, -1, &n);
      if (s) chat_event(b, model, span_of(s, n), "null");
      lua_pop(L, 1);
    }
  } else if (field_text(L, answer, "text", a, &text)) {
    chat_event(b, model, text, "null");
  }
  lua_pop(L, 1);
  chat_event(b, model, (struct span){ 0 }, "\"stop\"");
  buf_add(b, SPAN("data: [DONE]\n\n"));
}

static void whole_body(lua_State *L, int answer, struct span model, struct arena *a, struct buf *b) {
  struct buf text = { 0 };
  struct span one;
  lua_getfield(L, answer, "stream");
  if (field_text(L, answer, "text", a, &one)) buf_add(&text, one);
  for (lua_Unsigned k = 1; lua_istable(L, -1) && k <= lua_rawlen(L, -1); k++) {
    lua_rawgeti(L, -1, (lua_Integer)k);
    buf_add(&text, span_cstr(lua_tostring(L, -1)));
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  buf_add(b, SPAN("{\"id\":\"chatcmpl-test\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":"));
  json_write_string(b, model);
  buf_add(b, SPAN(",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"));
  json_write_string(b, buf_span(&text));
  buf_add(b, SPAN("},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5,\"total_tokens\":8}}"));
  buf_free(&text);
}

static int status_of_fault(struct span word) {
  static const struct { const char *word; int status; } map[] = {
    { "auth", 401 }, { "quota", 402 }, { "rate_limited", 429 }, { "overloaded", 503 }, { "bad_request", 400 }, { "not_found", 404 },
  };
  for (size_t i = 0; i < sizeof map / sizeof *map; i++)
    if (span_eq(word, span_cstr(map[i].word))) return map[i].status;
  return 0;
}

static void script_reply(struct test *t, int answer, struct span body, bool stream, struct scene_reply *out) {
  lua_State *L = t->L;
  struct json document;
  struct json_error e;
  struct span model = SPAN("model"), given = { 0 }, fault = { 0 };
  struct buf b = { 0 };
  if (json_read(body, &document, &e)) json_unescape(json_get(document, SPAN("model")), &t->arena, &model);
  int status = (int)field_number(L, answer, "status", 200);
  out->delay = field_number(L, answer, "delay", 0);
  if (field_text(L, answer, "fault", &t->arena, &fault)) {
    if (span_eq(fault, SPAN("timeout"))) out->kind = REPLY_SILENCE;
    else if (span_eq(fault, SPAN("connection")) || span_eq(fault, SPAN("tls"))) out->kind = REPLY_RESET;
    else if (span_eq(fault, SPAN("protocol"))) buf_add(&out->bytes, SPAN("HTTP/1.1 two hundred\r\n\r\n")), out->close = true;
    if (out->kind != REPLY_BYTES || out->close) return;
    if (status_of_fault(fault)) status = status_of_fault(fault);
    if (span_eq(fault, SPAN("invalid"))) given = SPAN("this is no JSON");
    if (span_eq(fault, SPAN("context_too_long"))) status = 400, given = SPAN("{\"error\":{\"message\":\"too long\",\"type\":\"invalid_request_error\",\"code\":\"context_length_exceeded\"}}");
    if (span_eq(fault, SPAN("content_filtered"))) given = SPAN("{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":\"content_filter\"}]}");
  }
  bool sse = stream && status == 200 && !given.p;
  if (field_text(L, answer, "body", &t->arena, &given) || given.p) buf_add(&b, given);
  else if (status != 200) buf_printf(&b, "{\"error\":{\"message\":\"scripted\",\"type\":\"server_error\",\"code\":null}}");
  else if (sse) stream_body(L, answer, model, &t->arena, &b);
  else whole_body(L, answer, model, &t->arena, &b);
  add_head(&out->bytes, status, sse ? "text/event-stream" : "application/json", field_number(L, answer, "retry_after", -1), buf_size(&b));
  buf_add(&out->bytes, buf_span(&b));
  buf_free(&b);
}

/* The next scripted answer for the target that this request is for; past the last one, the last one again. */
static void provider_answers(void *arg, const struct http_head *head, struct span body, struct scene_reply *out) {
  struct test *t = arg;
  lua_State *L = t->L;
  struct json document;
  struct json_error e;
  struct span model = { 0 }, provider = http_header(head, SPAN("x-test-provider"));
  bool stream = false;
  if (json_read(body, &document, &e)) {
    json_unescape(json_get(document, SPAN("model")), &t->arena, &model);
    stream = json_get(document, SPAN("stream")).type == JSON_TRUE;
  }
  struct span target = arena_printf(&t->arena, "%.*s/%.*s", SPAN_FMT(provider), SPAN_FMT(model));
  for (struct upstream_script *u = t->scripts; u; u = u->next) {
    if (!span_eq(u->target, target)) continue;
    lua_rawgeti(L, LUA_REGISTRYINDEX, u->answers);
    lua_Unsigned n = lua_rawlen(L, -1);
    lua_rawgeti(L, -1, u->at < n ? (lua_Integer)++u->at : (lua_Integer)n);
    if (lua_istable(L, -1)) script_reply(t, lua_gettop(L), body, stream, out);
    lua_pop(L, 2);
    return;
  }
  struct span text = arena_printf(&t->arena, "{\"error\":{\"message\":\"the test scripts no upstream for %.*s\",\"type\":\"invalid_request_error\",\"code\":null}}", SPAN_FMT(target));
  add_head(&out->bytes, 400, "application/json", -1, text.n);
  buf_add(&out->bytes, text);
}

static void fetch_answers(void *arg, const struct http_head *head, struct span body, struct scene_reply *out) {
  struct test *t = arg;
  lua_State *L = t->L;
  struct span host, path, given = { 0 };
  (void)body;
  span_cut(head->host, ':', &host);
  span_cut(head->target, '?', &path);
  for (struct reply_to *r = t->replies; r; r = r->next) {
    if (!span_ieq(r->url.host, host) || !span_eq(r->url.path.n ? r->url.path : SPAN("/"), path)) continue;
    struct buf b = { 0 };
    lua_rawgeti(L, LUA_REGISTRYINDEX, r->answer);
    int i = lua_gettop(L);
    out->delay = field_number(L, i, "delay", 0);
    lua_getfield(L, i, "json");
    if (!lua_isnil(L, -1)) write_json(L, -1, &b, 0);
    else if (field_text(L, i, "body", &t->arena, &given)) buf_add(&b, given);
    add_head(&out->bytes, (int)field_number(L, i, "status", 200), "application/json", -1, buf_size(&b));
    buf_add(&out->bytes, buf_span(&b));
    lua_settop(L, i - 1);
    buf_free(&b);
    return;
  }
  out->kind = REPLY_RESET;
}

/* ---- the words of t that answer at once */
static struct span check_text(lua_State *L, int i) {
  size_t n;
  const char *s = luaL_checklstring(L, i, &n);
  return span_of(s, n);
}

static int t_use(lua_State *L) {
  struct test *t = test_of(L);
  if (t->scene) return luaL_error(L, "t.use comes before the first request");
  buf_printf(&t->uses, "use \"%.*s\" ", SPAN_FMT(check_text(L, 1)));
  if (lua_istable(L, 2)) write_value(L, 2, &t->uses, 0);
  buf_byte(&t->uses, '\n');
  return 0;
}

static bool add_provider(struct test *t, struct span name) {
  for (size_t i = 0; i < t->provider_count; i++)
    if (span_eq(t->providers[i], name)) return true;
  if (t->provider_count == MOST_PROVIDERS) return false;
  t->providers[t->provider_count++] = arena_copy(&t->arena, name);
  return true;
}

static int t_upstream(lua_State *L) {
  struct test *t = test_of(L);
  struct span target = check_text(L, 1), provider;
  if (!span_cut(target, '/', &provider).n) return luaL_error(L, "t.upstream names a target: \"provider/model\"");
  if (t->scene && !add_provider(t, provider)) return luaL_error(L, "too many providers");
  if (!t->scene && !add_provider(t, provider)) return luaL_error(L, "too many providers");
  struct upstream_script *u = arena_zero(&t->arena, sizeof *u);
  *u = (struct upstream_script){ t->scripts, arena_copy(&t->arena, target), 0, 0 };
  lua_createtable(L, lua_gettop(L) - 1, 0);
  for (int i = 2; i < lua_gettop(L); i++) {
    luaL_checktype(L, i, LUA_TTABLE);
    lua_pushvalue(L, i);
    lua_rawseti(L, -2, i - 1);
  }
  u->answers = luaL_ref(L, LUA_REGISTRYINDEX);
  t->scripts = u;
  return 0;
}

static int t_reply_to(lua_State *L) {
  struct test *t = test_of(L);
  const char *why;
  luaL_checktype(L, 2, LUA_TTABLE);
  struct reply_to *r = arena_zero(&t->arena, sizeof *r);
  r->text = arena_copy(&t->arena, check_text(L, 1));
  if (!url_split(r->text, &r->url, &why)) return luaL_error(L, "t.reply_to: %s", why);
  lua_pushvalue(L, 2);
  r->answer = luaL_ref(L, LUA_REGISTRYINDEX);
  r->next = t->replies;
  t->replies = r;
  if (t->scene) return luaL_error(L, "t.reply_to comes before the first request");
  return 0;
}

static bool same(lua_State *L, int a, int b, int depth) {
  if (lua_rawequal(L, a, b)) return true;
  if (lua_type(L, a) == LUA_TNUMBER && lua_type(L, b) == LUA_TNUMBER) return lua_compare(L, a, b, LUA_OPEQ);
  if (!lua_istable(L, a) || !lua_istable(L, b) || depth > MOST_DEPTH) return false;
  luaL_checkstack(L, 6, "too deep");
  for (int turn = 0; turn < 2; turn++) {                 /* each holds what the other holds */
    int from = turn ? b : a, to = turn ? a : b;
    for (lua_pushnil(L); lua_next(L, from);) {
      lua_pushvalue(L, -2);
      lua_rawget(L, to);
      bool equal = same(L, lua_gettop(L) - 1, lua_gettop(L), depth + 1);
      lua_pop(L, 2);
      if (!equal) return lua_pop(L, 1), false;
    }
  }
  return true;
}

static const char *shown(lua_State *L, int i) {
  if (lua_type(L, i) == LUA_TSTRING) return lua_pushfstring(L, "\"%s\"", lua_tostring(L, i));
  return luaL_tolstring(L, i, NULL);
}

static int t_equal(lua_State *L) {
  lua_settop(L, 3);
  if (same(L, 1, 2, 0)) return 0;
  const char *got = shown(L, 1), *want = shown(L, 2), *why = lua_tostring(L, 3);
  return luaL_error(L, "expected %s, got %s%s%s", want, got, why ? ": " : "", why ? why : "");
}

static int t_ok(lua_State *L) {
  if (lua_toboolean(L, 1)) return 0;
  const char *why = lua_tostring(L, 2);
  return luaL_error(L, "%s", why ? why : "expected something true");
}

/* ---- the words that let the gateway run: yielded as (word, argument) */
static int t_yield(lua_State *L) {
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_settop(L, 2);
  return lua_yield(L, 2);
}

static void push_t(lua_State *L) {
  static const luaL_Reg at_once[] = { { "use", t_use }, { "upstream", t_upstream }, { "reply_to", t_reply_to }, { "equal", t_equal }, { "ok", t_ok }, { NULL, NULL } };
  static const char *const later[] = { "request", "stream", "advance" };
  luaL_newlib(L, at_once);
  for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
    lua_pushstring(L, later[i]);
    lua_pushcclosure(L, t_yield, 1);
    lua_setfield(L, -2, later[i]);
  }
}

/* ---- running */
static void note_end(void *arg, const struct exchange *x) {
  struct test *t = arg;
  struct json_writer w = { .out = &t->ended_notes };
  buf_clear(&t->ended_notes);
  t->ended_word = arena_copy(&t->arena, x->end_word);
  json_begin(&w, '{');
  json_key(&w, SPAN("notes"));
  json_begin(&w, '{');
  for (const struct policy_note *n = x->req.notes; n; n = n->next) {
    bool newer = false;
    for (const struct policy_note *q = x->req.notes; q != n; q = q->next) newer |= span_eq(q->key, n->key);
    if (!newer) json_key(&w, n->key), json_str(&w, n->value);
  }
  json_end(&w, '}');
  json_key(&w, SPAN("tried"));
  json_begin(&w, '[');
  for (size_t i = 0; i < x->tried_count; i++) {
    json_begin(&w, '{');
    json_key(&w, SPAN("target")), json_str(&w, x->tried[i].target);
    json_key(&w, SPAN("fault")), json_str(&w, span_cstr(fault_word(x->tried[i].fault)));
    json_key(&w, SPAN("status")), json_int(&w, x->tried[i].status);
    json_end(&w, '}');
  }
  json_end(&w, ']');
  json_end(&w, '}');
}

static bool start_scene(struct test *t, struct buf *why) {
  struct buf text = { 0 };
  if (t->scene) return true;
  buf_add(&text, SPAN("listen \"127.0.0.1:1\"\nadmin \"127.0.0.1:2\"\nlog { access = \"off\" }\n"));
  if (!t->provider_count) add_provider(t, SPAN("one"));
  for (size_t i = 0; i < t->provider_count; i++)
    buf_printf(&text, "provider \"%.*s\" { dialect = \"chat\", url = \"http://127.0.0.1:%zu/v1\", headers = { [\"x-test-provider\"] = \"%.*s\" } }\n", SPAN_FMT(t->providers[i]), FIRST_PORT + i,
               SPAN_FMT(t->providers[i]));
  buf_add(&text, buf_span(&t->uses));
  t->scene = scene_new(buf_span(&text), t->folder, 0, why);
  buf_free(&text);
  if (!t->scene) return false;
  for (size_t i = 0; i < t->provider_count; i++) scene_serve(t->scene, (uint16_t)(FIRST_PORT + i), provider_answers, t);
  for (struct reply_to *r = t->replies; r; r = r->next) {
    bool again = false;
    for (struct reply_to *q = t->replies; q != r; q = q->next) again |= q->url.port == r->url.port;
    if (!again) scene_serve(t->scene, r->url.port, fetch_answers, t);
  }
  scene_worker(t->scene)->on_end = note_end;
  scene_worker(t->scene)->on_end_arg = t;
  return true;
}

/* The body of t.request{…}: its fields but headers, as JSON; the first provider's model when none is named. */
static void compose(lua_State *L, int i, struct buf *out) {
  struct buf body = { 0 }, headers = { 0 };
  bool first = true;
  buf_byte(&body, '{');
  for (lua_pushnil(L); lua_next(L, i); lua_pop(L, 1)) {
    const char *name = lua_tostring(L, -2);
    if (!strcmp(name, "headers")) {
      for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) buf_printf(&headers, "%s: %s\r\n", lua_tostring(L, -2), lua_tostring(L, -1));
      continue;
    }
    if (!first) buf_byte(&body, ',');
    first = false;
    json_write_string(&body, span_cstr(name));
    buf_byte(&body, ':');
    write_json(L, -1, &body, 0);
  }
  buf_byte(&body, '}');
  buf_printf(out, "POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n%.*s\r\n", buf_size(&body), SPAN_FMT(buf_span(&headers)));
  buf_add(out, buf_span(&body));
  buf_free(&body);
  buf_free(&headers);
}

/* The text a client would put together, the finish it saw, and an error in the stream. */
static void read_stream(struct test *t, struct span body, struct buf *text, struct span *finish, struct span *error) {
  struct sse sse = { 0 };
  struct sse_event e;
  struct step s;
  while ((s = sse_feed(&sse, body, &e)).kind == STEP_EVENT) {
    struct json v;
    struct json_error bad;
    struct span piece;
    body = span_from(body, s.used);
    if (!e.data.n || !json_read(e.data, &v, &bad)) continue;
    struct json content = json_at(v, "choices.0.delta.content"), reason = json_at(v, "choices.0.finish_reason"), message = json_at(v, "error.message");
    if (content.type == JSON_STRING) json_unescape(content, &t->arena, &piece), buf_add(text, piece);
    if (reason.type == JSON_STRING) json_unescape(reason, &t->arena, finish);
    if (message.type == JSON_STRING) json_unescape(message, &t->arena, error);
  }
}

static void set_text(lua_State *L, const char *name, struct span s) {
  if (!s.p) return;
  lua_pushlstring(L, s.p, s.n);
  lua_setfield(L, -2, name);
}

static void push_answer(struct test *t, lua_State *L, const struct scene_answer *a) {
  struct json v;
  struct json_error e;
  struct buf text = { 0 };
  struct span finish = { 0 }, error = { 0 };
  lua_newtable(L);
  lua_pushinteger(L, a->status);
  lua_setfield(L, -2, "status");
  set_text(L, "body", a->body);
  if (!a->head || !a->complete) set_text(L, "error", SPAN("the answer was cut"));
  bool stream = a->head && span_istarts(a->head->content_type, SPAN("text/event-stream"));
  if (stream) {
    read_stream(t, a->body, &text, &finish, &error);
  } else if (json_read(a->body, &v, &e)) {
    struct json content = json_at(v, "choices.0.message.content"), reason = json_at(v, "choices.0.finish_reason"), message = json_at(v, "error.message");
    struct span s;
    push_json(L, v, &t->arena);
    lua_setfield(L, -2, "json");
    if (content.type == JSON_STRING) json_unescape(content, &t->arena, &s), buf_add(&text, s);
    if (reason.type == JSON_STRING) json_unescape(reason, &t->arena, &finish);
    if (message.type == JSON_STRING) json_unescape(message, &t->arena, &error);
  }
  set_text(L, "text", buf_size(&text) ? buf_span(&text) : a->status == 200 ? SPAN("") : (struct span){ 0 });
  set_text(L, "finish", finish);
  set_text(L, "error", error);
  uint64_t attempts = 0;
  if (a->head) {
    set_text(L, "target", http_header(a->head, SPAN("x-weir-target")));
    span_u64(http_header(a->head, SPAN("x-weir-attempts")), &attempts);
  }
  lua_pushinteger(L, (lua_Integer)attempts);
  lua_setfield(L, -2, "attempts");
  set_text(L, "decision", t->ended_word);
  if (json_read(buf_span(&t->ended_notes), &v, &e)) {
    push_json(L, json_get(v, SPAN("notes")), &t->arena);
    lua_setfield(L, -2, "notes");
    push_json(L, json_get(v, SPAN("tried")), &t->arena);
    lua_setfield(L, -2, "tried");
  }
  buf_free(&text);
}

static void ask(struct test *t, lua_State *co, int i) {
  struct buf request = { 0 };
  struct scene_answer answer;
  buf_clear(&t->ended_notes);
  t->ended_word = (struct span){ 0 };
  compose(co, i, &request);
  scene_ask(t->scene, buf_span(&request), &t->arena, &answer);
  buf_free(&request);
  lua_settop(co, 0);
  push_answer(t, co, &answer);
}

/* t.stream{…}: an upstream of its own that streams these pieces, asked once. */
static bool stream(struct test *t, lua_State *co, struct buf *why) {
  lua_createtable(co, 0, 1);
  lua_pushvalue(co, 2);
  lua_setfield(co, -2, "stream");
  lua_createtable(co, 1, 0);
  lua_insert(co, -2);
  lua_rawseti(co, -2, 1);
  int answers = luaL_ref(co, LUA_REGISTRYINDEX);
  struct span target = t->provider_count ? arena_printf(&t->arena, "%.*s/stream-under-test", SPAN_FMT(t->providers[0])) : SPAN("one/stream-under-test");
  struct upstream_script *u = arena_zero(&t->arena, sizeof *u);
  *u = (struct upstream_script){ t->scripts, target, answers, 0 };
  t->scripts = u;
  if (!start_scene(t, why)) return false;
  lua_settop(co, 0);
  lua_newtable(co);
  lua_pushlstring(co, target.p, target.n);
  lua_setfield(co, 1, "model");
  lua_pushboolean(co, 1);
  lua_setfield(co, 1, "stream");
  lua_createtable(co, 1, 0);
  lua_createtable(co, 0, 2);
  lua_pushliteral(co, "user");
  lua_setfield(co, -2, "role");
  lua_pushliteral(co, "hello");
  lua_setfield(co, -2, "content");
  lua_rawseti(co, -2, 1);
  lua_setfield(co, 1, "messages");
  ask(t, co, 1);
  return true;
}

static bool perform(struct test *t, lua_State *co, struct buf *why) {
  const char *word = lua_tostring(co, 1);
  if (!strcmp(word, "advance")) {
    double seconds = lua_tonumber(co, 2);
    if (!start_scene(t, why)) return false;
    scene_advance(t->scene, seconds);
    lua_settop(co, 0);
    return true;
  }
  if (!lua_istable(co, 2)) {
    buf_printf(why, "t.%s takes a table", word);
    return false;
  }
  if (!strcmp(word, "stream")) return stream(t, co, why);
  if (!start_scene(t, why)) return false;
  ask(t, co, 2);
  return true;
}

static bool open_test(struct test *t, const char *path, struct span text, struct buf *why) {
  struct vm_limits limits = { .memory = 64 << 20, .call_ms = CALL_MS };
  t->vm = vm_new(&limits);
  t->L = vm_state(t->vm);
  vm_set_owner(t->vm, t);
  if (!vm_load(t->L, text, path, 0) || vm_call(t->L, 0, 1) != VM_OK || !lua_istable(t->L, -1)) {
    const char *message = lua_isstring(t->L, -1) ? lua_tostring(t->L, -1) : "a test file returns a table of functions";
    buf_printf(why, "%s", message);
    return false;
  }
  return true;
}

static void close_test(struct test *t) {
  if (t->scene) scene_free(t->scene);
  if (t->vm) vm_free(t->vm);
  buf_free(&t->uses);
  buf_free(&t->ended_notes);
  arena_end(&t->arena);
}

static int by_name(const void *a, const void *b) { return span_cmp(*(const struct span *)a, *(const struct span *)b); }

bool test_names(const char *path, struct span text, struct buf *names, struct buf *why) {
  struct test t = { 0 };
  bool good = open_test(&t, path, text, why);
  struct span list[1000];
  size_t n = 0;
  for (lua_pushnil(t.L); good && n < 1000 && lua_next(t.L, -2); lua_pop(t.L, 1))
    if (lua_isfunction(t.L, -1) && lua_type(t.L, -2) == LUA_TSTRING) list[n++] = span_cstr(lua_tostring(t.L, -2));
  qsort(list, n, sizeof *list, by_name);
  for (size_t i = 0; i < n; i++) buf_add(names, list[i]), buf_byte(names, '\n');
  close_test(&t);
  return good;
}

bool test_run(const char *path, struct span text, const char *folder, const char *name, struct buf *why) {
  struct test t = { .folder = folder };
  bool good = open_test(&t, path, text, why);
  if (good) {
    lua_State *co = vm_coroutine(t.vm);
    int results = 0;
    lua_getfield(t.L, -1, name);
    lua_xmove(t.L, co, 1);
    push_t(co);
    enum vm_result r = vm_resume(co, 1, &results);
    while (r == VM_YIELD && perform(&t, co, why)) r = vm_resume(co, lua_gettop(co), &results);
    good = r == VM_OK;
    if (!good && r != VM_YIELD) buf_printf(why, "%s", lua_isstring(co, -1) ? lua_tostring(co, -1) : "failed");
    vm_coroutine_drop(t.vm, co);
  }
  close_test(&t);
  return good;
}
