#include "room.h"
#include <math.h>

/* A wait is written into the run and the coroutine yields; the exchange does what it says and resumes. What
   the record lends (url, headers, body) stays on this call's stack until then. */
enum { LONGEST_WAIT = 600, FETCH_TIMEOUT = 10, MOST_HEADERS = 64 };

struct policy_wait *wait_begin(lua_State *L, const char *word) {
  struct frame *f = policy_of(L)->frame;
  if (f && (f->hook == HOOK_CHUNK || f->hook == HOOK_DONE))
    luaL_error(
        L, "%s waits, and %s may not wait: bytes are flowing; use on_request, on_attempt, on_response or on_failure",
        word, hook_words[f->hook]);
  f = check_phase(L, word, IN_WAITING);
  if (!lua_isyieldable(L))
    luaL_error(
        L,
        "%s cannot wait inside a function that sort, gsub or another library function calls back; in %s, call it "
        "outside",
        word, hook_words[f->hook]);
  f->run->wait = (struct policy_wait){ 0 };
  return &f->run->wait;
}

double check_wait(lua_State *L, int at, const char *what) {
  double s = lua_type(L, at) == LUA_TNUMBER ? lua_tonumber(L, at) : -1;
  if (!(s >= 0 && s <= LONGEST_WAIT)) luaL_error(L, "%s is a number of seconds from 0 to %d", what, LONGEST_WAIT);
  return s;
}

static int sleep_done(lua_State *L, int status, lua_KContext context) {
  (void)L, (void)status, (void)context;
  return 0;
}

static int sleep_call(lua_State *L) {
  struct policy_wait *w = wait_begin(L, "weir.sleep");
  w->seconds = check_wait(L, 1, "weir.sleep: the time");
  w->kind = WAIT_SLEEP;
  return lua_yieldk(L, 0, 0, sleep_done);
}

/* ---- fetch */

static struct span field_string(lua_State *L, const char *name) {
  struct span s = { NULL, 0 };
  int type = lua_getfield(L, 1, name);
  if (type != LUA_TNIL && type != LUA_TSTRING)
    luaL_error(L, "weir.fetch: %s is a string, not a %s", name, luaL_typename(L, -1));
  if (type == LUA_TSTRING) s.p = lua_tolstring(L, -1, &s.n);
  return s;                                            /* stays on the stack */
}

static void fetch_auth(lua_State *L, const struct url *url, struct policy_wait *w) {
  struct conf *conf = policy_of(L)->conf;
  struct span name = field_string(L, "auth");
  if (!name.p) return;
  const char **known = lua_newuserdatauv(L, conf->secret_count * sizeof *known + 1, 0);
  for (size_t i = 0; i < conf->secret_count; i++) {
    known[i] = lua_pushlstring(L, conf->secrets[i].name.p, conf->secrets[i].name.n);
    luaL_checkstack(L, 8, NULL);
    if (span_eq(conf->secrets[i].name, name)) w->auth = &conf->secrets[i];
  }
  if (!w->auth) refuse_unknown(L, "secret", name, known, conf->secret_count);
  for (size_t i = 0; i < w->header_count; i++)
    if (span_ieq(w->headers[i].name, SPAN("authorization")))
      luaL_error(L, "weir.fetch: auth or a header authorization, not both");
  if (!span_ieq(w->auth->host, url->host)) {
    lua_pushlstring(L, w->auth->host.p, w->auth->host.n);
    luaL_error(L, "weir.fetch: the secret '%s' is sent to %s alone, not to this url", name.p, lua_tostring(L, -1));
  }
}

static void header_put(lua_State *L, struct policy_wait *w, struct span name, struct span value) {
  if (w->header_count == MOST_HEADERS) luaL_error(L, "weir.fetch: more than %d headers", MOST_HEADERS);
  w->headers[w->header_count++] = (struct http_header){ name, value };
}

static bool fetch_headers(lua_State *L, struct policy_wait *w) {
  bool typed = false;
  w->headers = lua_newuserdatauv(L, MOST_HEADERS * sizeof *w->headers, 0);
  int type = lua_getfield(L, 1, "headers"), headers = lua_gettop(L);
  if (type == LUA_TNIL) return false;
  if (type != LUA_TTABLE) luaL_error(L, "weir.fetch: headers is a table, not a %s", luaL_typename(L, -1));
  luaL_checkstack(L, MOST_HEADERS + 8, NULL);
  for (lua_pushnil(L); lua_next(L, headers);) {
    if (lua_type(L, -2) != LUA_TSTRING || !lua_isstring(L, -1))
      luaL_error(L, "weir.fetch: headers are names and strings");
    struct span name = check_span(L, -2), value;
    value.p = lua_tolstring(L, -1, &value.n);
    check_header(L, name, value, true, "weir.fetch: headers");
    typed |= span_ieq(name, SPAN("content-type"));
    header_put(L, w, name, value);
    lua_insert(L, -2);                                 /* the value stays below the key: it may be a number's text */
  }
  return typed;
}

static void fetch_body(lua_State *L, struct policy_wait *w, bool typed) {
  w->body = field_string(L, "body");
  if (lua_getfield(L, 1, "json") == LUA_TNIL) return;
  if (w->body.p) luaL_error(L, "weir.fetch: json or body, not both");
  struct buf *b = scratch_begin(policy_of(L));
  json_encode(L, lua_gettop(L), b);
  push_span(L, buf_span(b));
  w->body = check_span(L, -1);
  if (!typed) header_put(L, w, SPAN("content-type"), SPAN("application/json"));
}

static void push_answer(lua_State *L, const struct policy_answer *a) {
  struct json_error err;
  lua_createtable(L, 0, 4);
  lua_pushinteger(L, a->status);
  lua_setfield(L, -2, "status");
  headers_push(L, a->head);
  lua_setfield(L, -2, "headers");
  push_span(L, a->body);
  lua_setfield(L, -2, "body");
  size_t at = 0;
  while (at < a->body.n && memchr(" \t\r\n", a->body.p[at], 4)) at++;
  bool looks = at < a->body.n && memchr("{[", a->body.p[at], 2);
  if (looks && json_document_push(L, a->body, &err)) lua_setfield(L, -2, "json");
}

static int fetch_done(lua_State *L, int status, lua_KContext context) {
  (void)status, (void)context;
  const struct policy_answer *a = policy_of(L)->frame->run->answer;
  if (a && a->ok) return push_answer(L, a), 1;
  lua_pushnil(L);
  lua_pushstring(L, a && a->why ? a->why : "no answer came");
  return 2;
}

/* weir.fetch { url, method, headers, json or body, timeout, auth } */
static int fetch_call(lua_State *L) {
  static const char *const fields[] = { "url", "method", "headers", "json", "body", "timeout", "auth" };
  const char *why = NULL;
  struct url url;
  struct policy_wait *w = wait_begin(L, "weir.fetch");
  if (!lua_istable(L, 1)) return luaL_error(L, "weir.fetch takes a table: weir.fetch { url = \"http://…\", … }");
  lua_settop(L, 1);
  check_fields(L, 1, "field of weir.fetch", fields, sizeof fields / sizeof *fields, false);
  w->url = field_string(L, "url");
  if (!w->url.p) return luaL_error(L, "weir.fetch: url is missing");
  if (!url_split(w->url, &url, &why)) return luaL_error(L, "weir.fetch: url: %s", why);
  bool typed = fetch_headers(L, w);
  fetch_body(L, w, typed);
  w->method = field_string(L, "method");
  if (!w->method.p) w->method = w->body.p ? SPAN("POST") : SPAN("GET");
  if (!http_token_ok(w->method)) return luaL_error(L, "weir.fetch: '%s' is no method", w->method.p);
  fetch_auth(L, &url, w);
  w->seconds = lua_getfield(L, 1, "timeout") == LUA_TNIL ? FETCH_TIMEOUT : check_wait(L, -1, "weir.fetch: timeout");
  w->kind = WAIT_FETCH;
  return lua_yieldk(L, 0, 0, fetch_done);
}

void wait_setup(lua_State *L) {
  static const luaL_Reg words[] = { { "fetch", fetch_call }, { "sleep", sleep_call }, { NULL, NULL } };
  luaL_setfuncs(L, words, 0);
}
