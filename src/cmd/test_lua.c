/* test_lua.c: `t`: what a policy test says and sees. t.request, t.stream and t.advance yield to the driver, which turns the
   simulated gateway outside of any Lua call; everything else answers at once. */
#include "test_lua.h"
#include <stdio.h>
#include <stdlib.h>
#include "test_room.h"
#include "../gateway/exchange.h"
#include "../gateway/worker.h"

static struct test *test_of(lua_State *L) { return vm_owner(L); }

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
  if (lua_istable(L, 2)) test_write_value(L, 2, &t->uses, 0);
  buf_byte(&t->uses, '\n');
  return 0;
}

/* Lines of weir.lua: aliases, keys, clocks, secrets. */
static int t_config(lua_State *L) {
  struct test *t = test_of(L);
  if (t->scene) return luaL_error(L, "t.config comes before the first request");
  buf_add(&t->uses, check_text(L, 1));
  buf_byte(&t->uses, '\n');
  return 0;
}

static bool known_provider(const struct test *t, struct span name) {
  for (size_t i = 0; i < t->provider_count; i++)
    if (span_eq(t->providers[i], name)) return true;
  return false;
}

static bool add_provider(struct test *t, struct span name) {
  if (known_provider(t, name)) return true;
  if (t->provider_count == MOST_PROVIDERS) return false;
  t->providers[t->provider_count++] = arena_copy(&t->arena, name);
  return true;
}

/* The tables from stack index `from` on as a list in the registry. */
static int answers_ref(lua_State *L, int from) {
  int top = lua_gettop(L);
  lua_createtable(L, top - from + 1, 0);
  for (int i = from; i <= top; i++) {
    luaL_checktype(L, i, LUA_TTABLE);
    lua_pushvalue(L, i);
    lua_rawseti(L, -2, i - from + 1);
  }
  return luaL_ref(L, LUA_REGISTRYINDEX);
}

static int t_upstream(lua_State *L) {
  struct test *t = test_of(L);
  struct span target = check_text(L, 1), provider;
  if (!span_cut(target, '/', &provider).n) return luaL_error(L, "t.upstream names a target: \"provider/model\"");
  if (t->scene && !known_provider(t, provider)) return luaL_error(L, "t.upstream of a new provider comes before the first request");
  if (!add_provider(t, provider)) return luaL_error(L, "too many providers");
  struct upstream_script *u = arena_zero(&t->arena, sizeof *u);
  *u = (struct upstream_script){ t->scripts, arena_copy(&t->arena, target), answers_ref(L, 2), 0 };
  t->scripts = u;
  return 0;
}

/* t.model("provider/model", { window, max_output, price = { input = usd(3), … } }) */
static int t_model(lua_State *L) {
  struct test *t = test_of(L);
  struct span target = check_text(L, 1), provider, model = span_cut(target, '/', &provider);
  luaL_checktype(L, 2, LUA_TTABLE);
  if (!model.n) return luaL_error(L, "t.model names a target: \"provider/model\"");
  if (t->scene) return luaL_error(L, "t.model comes before the first request");
  if (!add_provider(t, provider)) return luaL_error(L, "too many providers");
  size_t i = 0;
  while (!span_eq(t->providers[i], provider)) i++;
  buf_printf(&t->models[i], "[\"%.*s\"] = ", SPAN_FMT(model));
  test_write_value(L, 2, &t->models[i], 0);
  buf_byte(&t->models[i], ',');
  return 0;
}

static int t_reply_to(lua_State *L) {
  struct test *t = test_of(L);
  const char *why;
  bool new_port = true;
  luaL_checktype(L, 2, LUA_TTABLE);
  struct reply_to *r = arena_zero(&t->arena, sizeof *r);
  r->text = arena_copy(&t->arena, check_text(L, 1));
  if (!url_split(r->text, &r->url, &why)) return luaL_error(L, "t.reply_to: %s", why);
  if (r->url.tls) return luaL_error(L, "t.reply_to: a test has no TLS: use http://");
  for (struct reply_to *q = t->replies; q; q = q->next) new_port &= q->url.port != r->url.port;
  if (t->scene && new_port) return luaL_error(L, "t.reply_to of a new port comes before the first request");
  r->answers = answers_ref(L, 2);
  r->next = t->replies;
  t->replies = r;
  return 0;
}

static int t_counter(lua_State *L) { return lua_pushinteger(L, (lua_Integer)policy_counter(check_text(L, 1))), 1; }

static bool same(lua_State *L, int a, int b, int depth) {
  if (lua_rawequal(L, a, b)) return true;
  if (lua_type(L, a) == LUA_TNUMBER && lua_type(L, b) == LUA_TNUMBER) return lua_compare(L, a, b, LUA_OPEQ);
  if (lua_isuserdata(L, a) && lua_isuserdata(L, b)) return lua_compare(L, a, b, LUA_OPEQ);
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
  if (!lua_istable(L, i)) return lua_type(L, i) == LUA_TSTRING ? lua_pushfstring(L, "\"%s\"", lua_tostring(L, i)) : luaL_tolstring(L, i, NULL);
  char text[400];                                        /* an error may end this function: nothing is held */
  struct buf b = { 0 };
  test_write_json(L, i, &b, 0);
  snprintf(text, sizeof text, "%.*s%s", (int)(buf_size(&b) < 380 ? buf_size(&b) : 380), b.p + b.at, buf_size(&b) < 380 ? "" : "…");
  buf_free(&b);
  return lua_pushstring(L, text);
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
  lua_settop(L, 3);
  return lua_yield(L, 3);
}

static void push_t(lua_State *L) {
  static const luaL_Reg at_once[] = {
    { "use", t_use }, { "config", t_config }, { "counter", t_counter }, { "model", t_model }, { "upstream", t_upstream },
    { "reply_to", t_reply_to }, { "equal", t_equal }, { "ok", t_ok }, { NULL, NULL },
  };
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
    buf_printf(&text, "provider \"%.*s\" { dialect = \"chat\", url = \"http://127.0.0.1:%zu/v1\", headers = { [\"x-test-provider\"] = \"%.*s\" }, models = { %.*s } }\n", SPAN_FMT(t->providers[i]),
               FIRST_PORT + i, SPAN_FMT(t->providers[i]), SPAN_FMT(buf_span(&t->models[i])));
  buf_add(&text, buf_span(&t->uses));
  t->scene = scene_new(buf_span(&text), t->folder, 0, why);
  buf_free(&text);
  if (!t->scene) return false;
  for (size_t i = 0; i < t->provider_count; i++) scene_serve(t->scene, (uint16_t)(FIRST_PORT + i), test_provider_answers, t);
  for (struct reply_to *r = t->replies; r; r = r->next) {
    bool again = false;
    for (struct reply_to *q = t->replies; q != r; q = q->next) again |= q->url.port == r->url.port;
    if (!again) scene_serve(t->scene, r->url.port, test_fetch_answers, t);
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
    const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
    if (lua_type(L, -2) != LUA_TSTRING) continue;
    if (!strcmp(name, "headers")) {
      for (lua_pushnil(L); lua_istable(L, -2) && lua_next(L, -2); lua_pop(L, 1))
        if (lua_type(L, -2) == LUA_TSTRING && lua_tostring(L, -1)) buf_printf(&headers, "%s: %s\r\n", lua_tostring(L, -2), lua_tostring(L, -1));
      continue;
    }
    if (!first) buf_byte(&body, ',');
    first = false;
    json_write_string(&body, span_cstr(name));
    buf_byte(&body, ':');
    test_write_json(L, -1, &body, 0);
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

static void set_list(struct test *t, lua_State *L, const char *name, const struct buf *items) {
  struct buf whole = { 0 };
  struct json v;
  struct json_error e;
  buf_printf(&whole, "[%.*s]", SPAN_FMT(buf_span(items)));
  if (json_read(buf_span(&whole), &v, &e)) {
    test_push_json(L, v, &t->arena);
    lua_setfield(L, -2, name);
  }
  buf_free(&whole);
}

/* What the client had when: { at = seconds, body = "…", text = "…" }. */
static void set_pieces(struct test *t, lua_State *L, const struct scene_answer *a) {
  size_t from = 0;
  lua_createtable(L, (int)a->piece_count, 0);
  for (size_t i = 0; i < a->piece_count; i++) {
    struct span piece = span_of(a->body.p + from, a->pieces[i].upto - from), finish = { 0 }, error = { 0 };
    struct buf text = { 0 };
    from = a->pieces[i].upto;
    lua_createtable(L, 0, 3);
    lua_pushnumber(L, a->pieces[i].at);
    lua_setfield(L, -2, "at");
    set_text(L, "body", piece);
    read_stream(t, piece, &text, &finish, &error);
    set_text(L, "text", buf_size(&text) ? buf_span(&text) : SPAN(""));
    buf_free(&text);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "pieces");
}

static void set_headers(lua_State *L, const struct http_head *h) {
  lua_newtable(L);
  for (size_t i = 0; h && i < h->count; i++) {
    lua_pushlstring(L, h->headers[i].name.p, h->headers[i].name.n);
    lua_pushlstring(L, h->headers[i].value.p, h->headers[i].value.n);
    lua_rawset(L, -3);
  }
  lua_setfield(L, -2, "headers");
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
    test_push_json(L, v, &t->arena);
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
    test_push_json(L, json_get(v, SPAN("notes")), &t->arena);
    lua_setfield(L, -2, "notes");
    test_push_json(L, json_get(v, SPAN("tried")), &t->arena);
    lua_setfield(L, -2, "tried");
  }
  set_headers(L, a->head);
  set_pieces(t, L, a);
  set_list(t, L, "sent", &t->sent);
  set_list(t, L, "fetched", &t->fetched);
  set_list(t, L, "log", &t->log);
  buf_free(&text);
}

static void ask(struct test *t, lua_State *co, int i) {
  struct buf request = { 0 };
  struct scene_answer answer;
  buf_clear(&t->ended_notes);
  buf_clear(&t->sent);
  buf_clear(&t->fetched);
  buf_clear(&t->log);
  t->ended_word = (struct span){ 0 };
  compose(co, i, &request);
  scene_ask(t->scene, buf_span(&request), &t->arena, &answer);
  buf_free(&request);
  lua_settop(co, 0);
  push_answer(t, co, &answer);
}

/* t.stream(pieces, fields): an upstream of its own that streams these pieces, asked once; fields of the request and of the answer
   (`ends`) may follow. */
static bool stream(struct test *t, lua_State *co, struct buf *why) {
  lua_createtable(co, 0, 1);
  lua_pushvalue(co, 2);
  lua_setfield(co, -2, "stream");
  if (lua_istable(co, 3) && lua_getfield(co, 3, "ends") == LUA_TSTRING) lua_setfield(co, -2, "ends");
  lua_settop(co, 4);
  lua_createtable(co, 1, 0);
  lua_insert(co, -2);
  lua_rawseti(co, -2, 1);
  int answers = luaL_ref(co, LUA_REGISTRYINDEX);
  struct span target = t->provider_count ? arena_printf(&t->arena, "%.*s/stream-under-test", SPAN_FMT(t->providers[0])) : SPAN("one/stream-under-test");
  struct upstream_script *u = arena_zero(&t->arena, sizeof *u);
  *u = (struct upstream_script){ t->scripts, target, answers, 0 };
  t->scripts = u;
  if (!start_scene(t, why)) return false;
  lua_newtable(co);
  int request = lua_gettop(co);
  for (lua_pushnil(co); lua_istable(co, 3) && lua_next(co, 3); lua_pop(co, 1)) {
    if (lua_type(co, -2) == LUA_TSTRING && !strcmp(lua_tostring(co, -2), "ends")) continue;
    lua_pushvalue(co, -2);
    lua_pushvalue(co, -2);
    lua_rawset(co, request);
  }
  lua_settop(co, request);
  lua_pushlstring(co, target.p, target.n);
  lua_setfield(co, request, "model");
  lua_pushboolean(co, 1);
  lua_setfield(co, request, "stream");
  if (lua_getfield(co, request, "messages") == LUA_TNIL) {
    lua_createtable(co, 1, 0);
    lua_createtable(co, 0, 2);
    lua_pushliteral(co, "user");
    lua_setfield(co, -2, "role");
    lua_pushliteral(co, "hello");
    lua_setfield(co, -2, "content");
    lua_rawseti(co, -2, 1);
    lua_setfield(co, request, "messages");
  }
  lua_settop(co, request);
  ask(t, co, request);
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

static void log_taken(void *arg, enum log_level level, struct span text) {
  static const char *const words[] = { "debug", "info", "warn", "error" };
  struct test *t = arg;
  struct buf line = { 0 };
  buf_printf(&line, "%s %.*s", words[level], SPAN_FMT(text));
  if (buf_size(&t->log)) buf_byte(&t->log, ',');
  json_write_string(&t->log, buf_span(&line));
  buf_free(&line);
}

static bool open_test(struct test *t, const char *path, struct span text, struct buf *why) {
  policy_world_begin();
  log_tap_thread(log_taken, t);
  struct vm_limits limits = { .memory = 64 << 20, .call_ms = CALL_MS };
  t->vm = vm_new(&limits);
  t->L = vm_state(t->vm);
  vm_set_owner(t->vm, t);
  policy_money_setup(t->L);
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
  log_tap_thread(NULL, NULL);
  policy_world_end();
  for (size_t i = 0; i < t->provider_count; i++) buf_free(&t->models[i]);
  buf_free(&t->uses);
  buf_free(&t->ended_notes);
  buf_free(&t->sent);
  buf_free(&t->fetched);
  buf_free(&t->log);
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
