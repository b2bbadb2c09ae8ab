#include "room.h"

static const char *const key_headers[] = {
  "authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie", "proxy-authorization",
};
/* weir writes these itself, from the connection, the target and its account. */
static const char *const own_headers[] = {
  "host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect",
  "proxy-connection", "proxy-authenticate", "accept-encoding",
};

static bool among(struct span name, const char *const *words, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (span_ieq(name, span_cstr(words[i]))) return true;
  return false;
}
#define AMONG(name, words) among(name, words, sizeof(words) / sizeof *(words))

void check_header(lua_State *L, struct span name, struct span value, bool keys, const char *what) {
  if (!http_token_ok(name)) luaL_error(L, "%s: '%s' is no header name", what, name.p);
  if (AMONG(name, own_headers)) luaL_error(L, "%s: weir writes the header %s itself", what, name.p);
  if (!keys && AMONG(name, key_headers))
    luaL_error(L, "%s: %s carries a key, and weir puts the provider's key in itself", what, name.p);
  if (span_istarts(name, SPAN("x-weir-"))) luaL_error(L, "%s: headers x-weir-… are between weir and its "
                                                         "clients", what);
  if (value.p && !http_value_ok(value))
    luaL_error(L, "%s: the value of %s has a line end or another control character", what, name.p);
}

/* ---- maps of a head's headers */

/* The lines of one name, joined; nothing is copied outside of Lua. */
static bool push_header(lua_State *L, const struct http_head *head, struct span name) {
  int lines = 0;
  luaL_checkstack(L, 4, NULL);
  for (size_t i = 0; head && i < head->count; i++) {
    if (!span_ieq(head->headers[i].name, name)) continue;
    if (lines++) lua_pushliteral(L, ", ");
    push_span(L, head->headers[i].value);
    if (lines > 1) lua_concat(L, 3);
  }
  return lines;
}

static void push_lower(lua_State *L, struct span name) {
  luaL_Buffer b;
  char *p = luaL_buffinitsize(L, &b, name.n);
  for (size_t i = 0; i < name.n; i++) p[i] = ascii_lower(name.p[i]);
  luaL_pushresultsize(&b, name.n);
}

static int header_index(lua_State *L, const struct http_head *head, bool secret) {
  if (lua_type(L, 2) != LUA_TSTRING) return luaL_error(L, "header names are strings, not a %s", luaL_typename(L, 2));
  struct span name = check_span(L, 2);
  if ((secret && AMONG(name, key_headers)) || !push_header(L, head, name)) lua_pushnil(L);
  return 1;
}

static int header_list(lua_State *L, const struct http_head *head, bool secret) {
  lua_newtable(L);
  for (size_t i = 0; head && i < head->count; i++) {
    struct span name = head->headers[i].name;
    if (secret && AMONG(name, key_headers)) continue;
    push_lower(L, name);
    push_header(L, head, name);
    lua_rawset(L, -3);
  }
  return 1;
}

static int req_header(lua_State *L, struct frame *f) { return header_index(L, f->subject->req->head, true); }
static int req_header_list(lua_State *L, struct frame *f) { return header_list(L, f->subject->req->head, true); }
const struct kind kind_req_headers = {
  .name = "req.headers", .id = KIND_REQ_HEADERS, .of_exchange = true, .index = req_header, .list = req_header_list
};

static const struct http_head *response_head(lua_State *L, const struct frame *f) {
  const struct policy_response *of = asked_of(L, f);
  return (of ? of : f->subject->response)->head;
}
static int response_header(lua_State *L, struct frame *f) { return header_index(L, response_head(L, f), false); }
static int response_header_list(lua_State *L, struct frame *f) { return header_list(L, response_head(L, f), false); }
const struct kind kind_response_headers = { .name = "response.headers",
                                            .id = KIND_RESPONSE_HEADERS,
                                            .index = response_header,
                                            .list = response_header_list };

/* The answer of weir.fetch is no handle: it may be kept. */
static int any_case(lua_State *L) {
  if (lua_type(L, 2) != LUA_TSTRING) return 0;
  push_lower(L, check_span(L, 2));
  lua_rawget(L, 1);
  return 1;
}

static const char any_case_key;
void headers_push(lua_State *L, const struct http_head *head) {
  header_list(L, head, false);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &any_case_key) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushcfunction(L, any_case);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "headers");
    lua_setfield(L, -2, "__metatable");
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &any_case_key);
  }
  lua_setmetatable(L, -2);
}

/* ---- attempt.headers: what goes upstream besides the client's own */

static const struct policy_header *attempt_header_find(const struct policy_attempt *a, struct span name) {
  for (const struct policy_header *h = a->headers; h; h = h->next)
    if (span_ieq(h->name, name)) return h;
  return NULL;
}

static int attempt_header(lua_State *L, struct frame *f) {
  if (lua_type(L, 2) != LUA_TSTRING) return luaL_error(L, "header names are strings, not a %s", luaL_typename(L, 2));
  const struct policy_header *h = attempt_header_find(f->subject->attempt, check_span(L, 2));
  push_span_or_nil(L, h ? h->value : span_of(NULL, 0));
  return 1;
}

static void attempt_header_set(lua_State *L, struct frame *f) {
  struct policy_attempt *a = f->subject->attempt;
  struct span value = { NULL, 0 };
  check_phase(L, "setting a header of attempt.headers", IN_ATTEMPT);
  if (lua_type(L, 2) != LUA_TSTRING) luaL_error(L, "header names are strings, not a %s", luaL_typename(L, 2));
  if (lua_type(L, 3) == LUA_TNUMBER || lua_type(L, 3) == LUA_TSTRING) value.p = lua_tolstring(L, 3, &value.n);
  else if (!lua_isnil(L, 3))
    luaL_error(L, "a header's value is a string, or nil to remove it, not a %s", luaL_typename(L, 3));
  struct span name = check_span(L, 2);
  check_header(L, name, value, false, "attempt.headers");
  struct policy_header *h = arena_alloc(a->arena, sizeof *h);
  *h = (struct policy_header){ a->headers, arena_copy(a->arena, name), value.p ? arena_copy(a->arena, value) : value };
  a->headers = h;
}

static int attempt_header_list(lua_State *L, struct frame *f) {
  const struct policy_attempt *a = f->subject->attempt;
  lua_newtable(L);
  for (const struct policy_header *h = a->headers; h; h = h->next) {
    if (attempt_header_find(a, h->name) != h || !h->value.p) continue;
    push_lower(L, h->name);
    push_span(L, h->value);
    lua_rawset(L, -3);
  }
  return 1;
}
const struct kind kind_attempt_headers = {
  .name = "attempt.headers", .id = KIND_ATTEMPT_HEADERS, .index = attempt_header, .newindex = attempt_header_set, .list = attempt_header_list,
};
