/* test_script.c: what scripted providers and fetched services say, and what they were sent. */
#include "test_room.h"

/* ---- what came */
static void record(struct buf *list, const char *first, struct span name, const struct http_head *head, struct span body) {
  struct json_writer w = { .out = list };
  struct json document;
  struct json_error e;
  if (buf_size(list)) buf_byte(list, ',');
  json_begin(&w, '{');
  json_key(&w, span_cstr(first)), json_str(&w, name);
  json_key(&w, SPAN("method")), json_str(&w, head->method);
  json_key(&w, SPAN("path")), json_str(&w, head->target);
  json_key(&w, SPAN("headers"));
  json_begin(&w, '{');
  for (size_t i = 0; i < head->count; i++) {
    char lower[64];
    struct span n = head->headers[i].name;
    if (n.n > sizeof lower || span_eq(n, SPAN("x-test-provider"))) continue;
    for (size_t k = 0; k < n.n; k++) lower[k] = ascii_lower(n.p[k]);
    json_key(&w, span_of(lower, n.n)), json_str(&w, head->headers[i].value);
  }
  json_end(&w, '}');
  json_key(&w, SPAN("body")), json_str(&w, body);
  if (json_read(body, &document, &e)) json_key(&w, SPAN("json")), json_raw(&w, document.text);
  json_end(&w, '}');
}

/* ---- heads */
/* The answer's own `headers` come with those that every answer has. */
static void add_head(lua_State *L, int answer, struct buf *out, int status, const char *type, size_t length) {
  http_write_status(out, status);
  http_write_header(out, SPAN("content-type"), span_cstr(type));
  double retry_after = answer ? test_field_number(L, answer, "retry_after", -1) : -1;
  if (retry_after >= 0) buf_printf(out, "retry-after: %g\r\n", retry_after);
  if (answer && lua_getfield(L, answer, "headers") == LUA_TTABLE) {
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
      const char *value = lua_type(L, -1) == LUA_TSTRING || lua_type(L, -1) == LUA_TNUMBER ? lua_tostring(L, -1) : NULL;
      struct span name = lua_type(L, -2) == LUA_TSTRING ? span_cstr(lua_tostring(L, -2)) : (struct span){ 0 };
      if (value && http_token_ok(name) && http_value_ok(span_cstr(value))) http_write_header(out, name, span_cstr(value));
    }
  }
  if (answer) lua_pop(L, 1);
  if (length != SIZE_MAX) http_write_header_u64(out, SPAN("content-length"), length);
  else buf_add(out, SPAN("transfer-encoding: chunked\r\n"));
  http_write_end(out);
}

/* ---- streams, piece by piece */
static void chat_event(struct buf *b, struct span model, struct span delta, const char *finish) {
  buf_add(b, SPAN("data: {\"id\":\"chatcmpl-test\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":"));
  json_write_string(b, model);
  buf_printf(b, ",\"choices\":[{\"index\":0,\"delta\":{%.*s},\"finish_reason\":", SPAN_FMT(delta));
  if (finish) json_write_string(b, span_cstr(finish));
  else buf_add(b, SPAN("null"));
  buf_add(b, SPAN("}]}\n\n"));
}

static void named_text(struct buf *b, const char *name, struct span text) {
  json_write_string(b, span_cstr(name));
  buf_byte(b, ':');
  json_write_string(b, text);
}

/* { thinking = "…" }, { tool = { index, id, name, arguments } }, { usage = {…} }, { finish = "length" }, { raw = "data: …\n\n" }. */
static bool special_event(lua_State *L, int i, struct span model, struct arena *a, struct buf *b) {
  struct buf delta = { 0 };
  struct span text;
  bool finished = false;
  if (test_field_text(L, i, "raw", a, &text)) {
    buf_add(b, text);
  } else if (test_field_text(L, i, "thinking", a, &text)) {
    named_text(&delta, "reasoning_content", text);
    chat_event(b, model, buf_span(&delta), NULL);
  } else if (test_field_text(L, i, "finish", a, &text)) {
    chat_event(b, model, SPAN(""), arena_cstr(a, text));
    finished = true;
  } else if (lua_getfield(L, i, "tool") == LUA_TTABLE) {
    int tool = lua_gettop(L);
    buf_printf(&delta, "\"tool_calls\":[{\"index\":%d", (int)test_field_number(L, tool, "index", 0));
    if (test_field_text(L, tool, "id", a, &text)) buf_byte(&delta, ','), named_text(&delta, "id", text);
    buf_add(&delta, SPAN(",\"type\":\"function\",\"function\":{"));
    bool named = test_field_text(L, tool, "name", a, &text);
    if (named) named_text(&delta, "name", text);
    if (test_field_text(L, tool, "arguments", a, &text)) buf_add(&delta, named ? SPAN(",") : SPAN("")), named_text(&delta, "arguments", text);
    buf_add(&delta, SPAN("}}]"));
    chat_event(b, model, buf_span(&delta), NULL);
    lua_pop(L, 1);
  } else {
    lua_pop(L, 1);
    if (lua_getfield(L, i, "usage") == LUA_TTABLE) {
      buf_add(b, SPAN("data: {\"id\":\"chatcmpl-test\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":"));
      json_write_string(b, model);
      buf_add(b, SPAN(",\"choices\":[],\"usage\":"));
      test_write_json(L, -1, b, 0);
      buf_add(b, SPAN("}\n\n"));
    }
    lua_pop(L, 1);
  }
  buf_free(&delta);
  return finished;
}

/* What gathered goes out as one chunk, `after` seconds behind the one before. */
static void part_add(struct scene_reply *out, struct buf *events, double after) {
  if (!buf_size(events)) return;
  http_write_chunk(&scene_part(out, after)->bytes, buf_span(events));
  buf_clear(events);
}

/* Strings are pieces of text, numbers seconds between them, tables other events. How it ends: well, or as `ends` says. */
static void stream_parts(lua_State *L, int answer, struct span model, struct arena *a, struct scene_reply *out) {
  struct buf events = { 0 };
  struct span text, ends = SPAN("well");
  double gap = 0;
  bool finished = false;
  test_field_text(L, answer, "ends", a, &ends);
  lua_getfield(L, answer, "stream");
  if (!lua_istable(L, -1) && test_field_text(L, answer, "text", a, &text)) {
    lua_pop(L, 1);
    lua_createtable(L, 1, 0);
    lua_pushlstring(L, text.p, text.n);
    lua_rawseti(L, -2, 1);
  }
  for (lua_Unsigned k = 1; lua_istable(L, -1) && k <= lua_rawlen(L, -1); k++) {
    int type = lua_rawgeti(L, -1, (lua_Integer)k);
    if (type == LUA_TNUMBER) {
      part_add(out, &events, gap);
      gap = lua_tonumber(L, -1);
    } else if (type == LUA_TSTRING) {
      struct buf delta = { 0 };
      size_t n;
      const char *s = lua_tolstring(L, -1, &n);
      named_text(&delta, "content", span_of(s, n));
      chat_event(&events, model, buf_span(&delta), NULL);
      buf_free(&delta);
    } else if (type == LUA_TTABLE) {
      finished |= special_event(L, lua_gettop(L), model, a, &events);
    }
    if (type != LUA_TNUMBER) part_add(out, &events, gap), gap = 0;
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  if (span_eq(ends, SPAN("error"))) buf_add(&events, SPAN("data: {\"error\":{\"message\":\"scripted\",\"type\":\"server_error\",\"code\":null}}\n\n"));
  if (span_eq(ends, SPAN("well"))) {
    if (!finished) chat_event(&events, model, SPAN(""), "stop");
    buf_add(&events, SPAN("data: [DONE]\n\n"));
  }
  part_add(out, &events, gap);
  out->reset = span_eq(ends, SPAN("cut"));
  if (!out->reset && !span_eq(ends, SPAN("open"))) http_write_last_chunk(&scene_part(out, 0)->bytes);
  buf_free(&events);
}

/* ---- whole answers */
static void whole_body(lua_State *L, int answer, struct span model, struct arena *a, struct buf *b) {
  struct buf text = { 0 };
  struct span one, finish = SPAN("stop");
  test_field_text(L, answer, "finish", a, &finish);
  lua_getfield(L, answer, "stream");
  if (test_field_text(L, answer, "text", a, &one)) buf_add(&text, one);
  for (lua_Unsigned k = 1; lua_istable(L, -1) && k <= lua_rawlen(L, -1); k++) {
    if (lua_rawgeti(L, -1, (lua_Integer)k) == LUA_TSTRING) buf_add(&text, span_cstr(lua_tostring(L, -1)));
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  buf_add(b, SPAN("{\"id\":\"chatcmpl-test\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":"));
  json_write_string(b, model);
  buf_add(b, SPAN(",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"));
  json_write_string(b, buf_span(&text));
  buf_add(b, SPAN("},\"finish_reason\":"));
  json_write_string(b, finish);
  buf_add(b, SPAN("}],\"usage\":"));
  if (lua_getfield(L, answer, "usage") == LUA_TTABLE) test_write_json(L, -1, b, 0);
  else buf_add(b, SPAN("{\"prompt_tokens\":3,\"completion_tokens\":5,\"total_tokens\":8}"));
  lua_pop(L, 1);
  buf_byte(b, '}');
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

/* True: the fault is no HTTP answer. */
static bool fails_below(struct span fault, struct scene_reply *out) {
  if (span_eq(fault, SPAN("timeout"))) out->kind = REPLY_SILENCE;
  else if (span_eq(fault, SPAN("connection")) || span_eq(fault, SPAN("tls"))) out->kind = REPLY_RESET;
  else if (span_eq(fault, SPAN("protocol"))) buf_add(&out->bytes, SPAN("HTTP/1.1 two hundred\r\n\r\n")), out->close = true;
  return out->kind != REPLY_BYTES || out->close;
}

static void script_reply(struct test *t, int answer, struct span body, bool stream, struct scene_reply *out) {
  lua_State *L = t->L;
  struct json document;
  struct json_error e;
  struct span model = SPAN("model"), given = { 0 }, fault = { 0 };
  struct buf b = { 0 };
  if (json_read(body, &document, &e)) json_unescape(json_get(document, SPAN("model")), &t->arena, &model);
  int status = (int)test_field_number(L, answer, "status", 200);
  out->delay = test_field_number(L, answer, "delay", 0);
  if (test_field_text(L, answer, "fault", &t->arena, &fault)) {
    if (fails_below(fault, out)) return;
    if (status_of_fault(fault)) status = status_of_fault(fault);
    if (span_eq(fault, SPAN("invalid"))) given = SPAN("this is no JSON");
    if (span_eq(fault, SPAN("context_too_long"))) status = 400, given = SPAN("{\"error\":{\"message\":\"too long\",\"type\":\"invalid_request_error\",\"code\":\"context_length_exceeded\"}}");
    if (span_eq(fault, SPAN("content_filtered"))) given = SPAN("{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":\"content_filter\"}]}");
  }
  bool sse = stream && status == 200 && !given.p && !test_field_text(L, answer, "body", &t->arena, &given);
  if (sse) {
    add_head(L, answer, &out->bytes, status, "text/event-stream", SIZE_MAX);
    stream_parts(L, answer, model, &t->arena, out);
    return;
  }
  if (test_field_text(L, answer, "body", &t->arena, &given) || given.p) buf_add(&b, given);
  else if (status != 200) buf_printf(&b, "{\"error\":{\"message\":\"scripted\",\"type\":\"server_error\",\"code\":null}}");
  else whole_body(L, answer, model, &t->arena, &b);
  add_head(L, answer, &out->bytes, status, "application/json", buf_size(&b));
  buf_add(&out->bytes, buf_span(&b));
  buf_free(&b);
}

/* Pushes the next of a script's answers; false, and nothing pushed, when that is no table. */
static bool next_answer(lua_State *L, int answers, unsigned *at) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, answers);
  lua_Unsigned n = lua_rawlen(L, -1);
  lua_rawgeti(L, -1, *at < n ? (lua_Integer)++*at : (lua_Integer)n);
  lua_remove(L, -2);
  if (lua_istable(L, -1)) return true;
  lua_pop(L, 1);
  return false;
}

void test_provider_answers(void *arg, const struct http_head *head, struct span body, struct scene_reply *out) {
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
  record(&t->sent, "target", target, head, body);
  for (struct upstream_script *u = t->scripts; u; u = u->next) {
    if (!span_eq(u->target, target)) continue;
    if (next_answer(L, u->answers, &u->at)) {
      script_reply(t, lua_gettop(L), body, stream, out);
      lua_pop(L, 1);
    }
    return;
  }
  struct span text = arena_printf(&t->arena, "{\"error\":{\"message\":\"the test scripts no upstream for %.*s\",\"type\":\"invalid_request_error\",\"code\":null}}", SPAN_FMT(target));
  add_head(L, 0, &out->bytes, 400, "application/json", text.n);
  buf_add(&out->bytes, text);
}

void test_fetch_answers(void *arg, const struct http_head *head, struct span body, struct scene_reply *out) {
  struct test *t = arg;
  lua_State *L = t->L;
  struct span host, path, given = { 0 }, fault;
  span_cut(head->host, ':', &host);
  span_cut(head->target, '?', &path);
  for (struct reply_to *r = t->replies; r; r = r->next) {
    if (!span_ieq(r->url.host, host) || !span_eq(r->url.path.n ? r->url.path : SPAN("/"), path)) continue;
    struct buf b = { 0 };
    record(&t->fetched, "url", r->text, head, body);
    if (!next_answer(L, r->answers, &r->at)) break;
    int i = lua_gettop(L);
    out->delay = test_field_number(L, i, "delay", 0);
    if (test_field_text(L, i, "fault", &t->arena, &fault) && fails_below(fault, out)) {
      lua_settop(L, i - 1);
      return;
    }
    lua_getfield(L, i, "json");
    if (!lua_isnil(L, -1)) test_write_json(L, -1, &b, 0);
    else if (test_field_text(L, i, "body", &t->arena, &given)) buf_add(&b, given);
    add_head(L, i, &out->bytes, (int)test_field_number(L, i, "status", 200), "application/json", buf_size(&b));
    buf_add(&out->bytes, buf_span(&b));
    lua_settop(L, i - 1);
    buf_free(&b);
    return;
  }
  out->kind = REPLY_RESET;
}
