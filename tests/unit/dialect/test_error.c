/* weir's own errors, in every dialect: valid JSON, the fields clients read, the status they expect. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "stream.h"

static struct json parsed(const struct buf *b) {
  struct json v = { JSON_NONE, { NULL, 0 } };
  struct json_error err;
  if (!json_read(buf_span(b), &v, &err)) fail_msg("%.*s: %s at %zu", SPAN_FMT(buf_span(b)), err.why, err.at);
  return v;
}

/* want NULL: the member is null. */
static void string_is(struct json v, const char *path, const char *want) {
  struct json at = json_at(v, path);
  bool same = want ? at.type == JSON_STRING && json_string_is(at, span_cstr(want)) : at.type == JSON_NULL;
  if (!same) fail_msg("%s is %.*s, not %s, in %.*s", path, SPAN_FMT(at.text), want ? want : "null", SPAN_FMT(v.text));
}

static void number_is(struct json v, const char *path, int64_t want) {
  int64_t n = -1;
  if (!json_i64(json_at(v, path), &n) || n != want) fail_msg("%s is %d, not %d", path, (int)n, (int)want);
}

struct shape {
  enum dialect dialect;
  int status;
  enum fault fault;
  const char *word, *code;
  int sent;
  const char *type, *openai_code;
};
static const struct shape shapes[] = {
  { DIALECT_CHAT, 400, FAULT_BAD_REQUEST, "", "", 400, "invalid_request_error", NULL },
  { DIALECT_CHAT, 400, FAULT_BAD_REQUEST, "", "unsupported_parameter", 400, "invalid_request_error", "unsupported_parameter" },
  { DIALECT_CHAT, 400, FAULT_CONTEXT_TOO_LONG, "", "", 400, "invalid_request_error", "context_length_exceeded" },
  { DIALECT_CHAT, 400, FAULT_CONTENT_FILTERED, "", "", 400, "invalid_request_error", "content_filter" },
  { DIALECT_CHAT, 401, FAULT_AUTH, "", "", 401, "invalid_request_error", "invalid_api_key" },
  { DIALECT_CHAT, 401, FAULT_NONE, "", "", 401, "invalid_request_error", "invalid_api_key" },
  { DIALECT_CHAT, 0, FAULT_AUTH, "", "", 502, "api_error", "auth" },
  { DIALECT_CHAT, 502, FAULT_QUOTA, "", "", 502, "api_error", "quota" },
  { DIALECT_CHAT, 403, FAULT_NONE, "denied", "", 403, "permission_error", "denied" },
  { DIALECT_CHAT, 451, FAULT_NONE, "denied", "judged", 451, "invalid_request_error", "judged" },
  { DIALECT_CHAT, 404, FAULT_NOT_FOUND, "", "", 404, "invalid_request_error", "model_not_found" },
  { DIALECT_CHAT, 413, FAULT_BAD_REQUEST, "", "", 413, "invalid_request_error", "request_too_large" },
  { DIALECT_CHAT, 429, FAULT_RATE_LIMITED, "", "", 429, "rate_limit_error", "rate_limit_exceeded" },
  { DIALECT_CHAT, 429, FAULT_NONE, "limited", "", 429, "rate_limit_error", "rate_limit_exceeded" },
  { DIALECT_CHAT, 429, FAULT_NONE, "capped", "", 429, "insufficient_quota", "insufficient_quota" },
  { DIALECT_CHAT, 402, FAULT_NONE, "capped", "", 429, "insufficient_quota", "insufficient_quota" },
  { DIALECT_CHAT, 500, FAULT_NONE, "internal", "", 500, "server_error", "internal" },
  { DIALECT_CHAT, 0, FAULT_CONNECTION, "", "", 502, "server_error", "connection" },
  { DIALECT_CHAT, 0, FAULT_EMPTY, "", "", 502, "server_error", "empty" },
  { DIALECT_CHAT, 0, FAULT_OVERLOADED, "", "", 503, "server_error", "overloaded" },
  { DIALECT_CHAT, 503, FAULT_NONE, "", "", 503, "server_error", "overloaded" },
  { DIALECT_CHAT, 0, FAULT_TIMEOUT, "", "", 504, "server_error", "timeout" },
  { DIALECT_RESPONSES, 0, FAULT_TLS, "", "", 502, "server_error", "tls" },
  { DIALECT_MESSAGES, 400, FAULT_BAD_REQUEST, "", "", 400, "invalid_request_error", NULL },
  { DIALECT_MESSAGES, 401, FAULT_AUTH, "", "", 401, "authentication_error", NULL },
  { DIALECT_MESSAGES, 0, FAULT_AUTH, "", "", 502, "api_error", NULL },
  { DIALECT_MESSAGES, 429, FAULT_NONE, "capped", "", 402, "billing_error", NULL },
  { DIALECT_MESSAGES, 403, FAULT_NONE, "denied", "", 403, "permission_error", NULL },
  { DIALECT_MESSAGES, 404, FAULT_NOT_FOUND, "", "", 404, "not_found_error", NULL },
  { DIALECT_MESSAGES, 413, FAULT_NONE, "", "", 413, "request_too_large", NULL },
  { DIALECT_MESSAGES, 429, FAULT_RATE_LIMITED, "", "", 429, "rate_limit_error", NULL },
  { DIALECT_MESSAGES, 0, FAULT_OVERLOADED, "", "", 529, "overloaded_error", NULL },
  { DIALECT_MESSAGES, 0, FAULT_TIMEOUT, "", "", 504, "timeout_error", NULL },
  { DIALECT_MESSAGES, 0, FAULT_PROTOCOL, "", "", 502, "api_error", NULL },
};

static struct error error_of(const struct shape *s) {
  return (struct error){
    .status = s->status, .fault = s->fault, .word = span_cstr(s->word), .code = span_cstr(s->code),
    .message = SPAN("it \"failed\"\n"), .id = SPAN("req-1"),
  };
}

static void bodies(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    const struct shape *s = &shapes[i];
    struct error e = error_of(s);
    struct buf b = { 0 };
    int sent = error_write(s->dialect, &e, &b);
    struct json v = parsed(&b);
    if (sent != s->sent) fail_msg("%s: %d, not %d", b.p, sent, s->sent);
    string_is(v, "error.type", s->type);
    string_is(v, "error.message", "it \"failed\"\n");
    string_is(v, "error.weir.id", "req-1");
    assert_int_equal(json_at(v, "error.weir.tried").type, JSON_ARRAY);
    bool silent = s->fault == FAULT_NONE && strcmp(s->word, "capped") != 0 && strcmp(s->word, "limited") != 0;
    assert_int_equal(json_at(v, "error.weir.hint").type, silent ? JSON_NULL : JSON_STRING);
    if (s->word[0] || s->fault) string_is(v, "error.weir.fault", s->word[0] ? s->word : fault_word(s->fault));
    if (s->dialect == DIALECT_MESSAGES) {
      string_is(v, "type", "error");
      string_is(v, "request_id", "req-1");
    } else {
      string_is(v, "error.code", s->openai_code);
      string_is(v, "error.param", NULL);
    }
    buf_free(&b);
  }
}

static void hints(void **state) {
  struct { struct error error; const char *want; } cases[] = {
    { { .fault = FAULT_CONTEXT_TOO_LONG }, "a retry will not help: make the prompt smaller, or ask a model with a larger window" },
    { { .fault = FAULT_TIMEOUT }, "a retry may pass; so may a smaller prompt, a faster model or a larger x-weir-timeout" },
    { { .status = 401, .word = SPAN("auth") }, "send a key of this weir that is valid and may ask for this model" },
    { { .fault = FAULT_AUTH, .tried_count = 1 }, "a retry will not help: weir's own account was refused; another provider may answer" },
    { { .status = 429, .word = SPAN("limited"), .fault = FAULT_NONE }, "a retry after the pause that retry-after tells may pass" },
    { { .status = 403, .word = SPAN("denied") }, NULL },
    { { .status = 403, .word = SPAN("denied"), .hint = SPAN("ask legal") }, "ask legal" },
  };
  static const struct tried one = { SPAN("a/x"), FAULT_AUTH, 401, 1 };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct buf b = { 0 };
    if (cases[i].error.tried_count) cases[i].error.tried = &one;
    error_write(DIALECT_MESSAGES, &cases[i].error, &b);
    string_is(parsed(&b), "error.weir.hint", cases[i].want);
    buf_free(&b);
  }
}

static const struct tried tries[] = {
  { SPAN("openai/gpt-5"), FAULT_AUTH, 401, 120 },
  { SPAN("lab/\"x\""), FAULT_CONNECTION, 0, 3000 },
};

static void told_in_full(void **state) {
  struct error e = { .fault = FAULT_AUTH, .message = SPAN("m"), .id = SPAN("r"), .hint = SPAN("look at the key"), .param = SPAN("model"), .tried = tries, .tried_count = 2 };
  struct buf b = { 0 };
  (void)state;
  assert_int_equal(error_write(DIALECT_CHAT, &e, &b), 502);
  struct json v = parsed(&b);
  string_is(v, "error.param", "model");
  string_is(v, "error.weir.fault", "auth");
  string_is(v, "error.weir.hint", "look at the key");
  string_is(v, "error.weir.tried.0.target", "openai/gpt-5");
  string_is(v, "error.weir.tried.0.fault", "auth");
  number_is(v, "error.weir.tried.0.status", 401);
  number_is(v, "error.weir.tried.0.ms", 120);
  string_is(v, "error.weir.tried.1.target", "lab/\"x\"");
  string_is(v, "error.weir.tried.1.fault", "connection");
  assert_int_equal(json_at(v, "error.weir.tried.1.status").type, JSON_NULL);
  buf_clear(&b);
  e = (struct error){ .status = 400, .word = SPAN("bad_request"), .param = SPAN("thread.previous_message_id"), .message = SPAN("m"), .id = SPAN("r") };
  error_write(DIALECT_MESSAGES, &e, &b);
  string_is(parsed(&b), "error.details.error_code", "thread_not_found");
  buf_clear(&b);
  e.param = SPAN("thread");
  error_write(DIALECT_MESSAGES, &e, &b);
  string_is(parsed(&b), "error.details.unsupported.0", "thread");
  buf_free(&b);
}

/* What a provider says about weir's account is never the client's status, whatever the caller passes. */
static void account_faults_do_not_leak(void **state) {
  static const int statuses[] = { 401, 402, 403, 429 };
  (void)state;
  for (size_t i = 0; i < 4; i++)
    for (enum dialect d = 0; d < DIALECT_COUNT; d++)
      for (enum fault f = FAULT_AUTH; f <= FAULT_QUOTA; f++) {
        struct error e = { .status = statuses[i], .fault = f, .message = SPAN("m"), .id = SPAN("r"), .tried = tries, .tried_count = 1 };
        struct buf b = { 0 };
        assert_int_equal(error_write(d, &e, &b), 502);
        if (d == DIALECT_GEMINI) string_is(parsed(&b), "error.status", "INTERNAL"), number_is(parsed(&b), "error.code", 502);
        else string_is(parsed(&b), "error.type", "api_error");
        buf_free(&b);
      }
}

/* The event is one event, ends with a blank line, and is read back as the fault it tells. */
static void events(void **state) {
  static const enum operation ops[] = { OP_CHAT, OP_COMPLETIONS, OP_RESPONSES, OP_MESSAGES };
  static const enum fault faults[] = { FAULT_OVERLOADED, FAULT_RATE_LIMITED, FAULT_TIMEOUT, FAULT_CONTENT_FILTERED };
  (void)state;
  for (size_t i = 0; i < 4; i++)
    for (size_t k = 0; k < 4; k++) {
      struct event_state s = { .started = true, .sequence = 41 };
      struct error e = { .fault = faults[k], .message = SPAN("line\nbreak"), .id = SPAN("r"), .tried = tries, .tried_count = 2 };
      struct buf b = { 0 };
      error_write_event(operation_info(ops[i]), &s, &e, &b);
      assert_true(span_ends(buf_span(&b), SPAN("\n\n")));
      struct seen seen = stream_read(ops[i], buf_span(&b));
      assert_int_equal(seen.events, 1);
      assert_int_equal(seen.errors, 1);
      assert_string_equal(seen.message, "line\\nbreak");
      if (ops[i] != OP_MESSAGES || faults[k] != FAULT_CONTENT_FILTERED) {
        enum fault want = ops[i] != OP_MESSAGES && faults[k] == FAULT_TIMEOUT ? FAULT_OVERLOADED : faults[k];   /* server_error is all that dialect says */
        assert_int_equal(seen.fault, want);
      }
      assert_false(event_may_end(operation_info(ops[i]), &seen.state));
      if (ops[i] == OP_RESPONSES) {
        assert_int_equal(seen.state.sequence, 42);
        assert_true(span_starts(buf_span(&b), SPAN("event: error\ndata: {\"type\":\"error\",\"sequence_number\":42,\"message\":")));
      }
      if (ops[i] == OP_MESSAGES) assert_true(span_starts(buf_span(&b), SPAN("event: error\ndata: {\"type\":\"error\",\"error\":{")));
      if (ops[i] == OP_CHAT) assert_true(span_starts(buf_span(&b), SPAN("data: {\"error\":{")));
      seen_end(&seen);
      buf_free(&b);
    }
}

static void first_sequence_number(void **state) {
  struct event_state s = { 0 };
  struct error e = { .fault = FAULT_TIMEOUT, .message = SPAN("m"), .id = SPAN("r") };
  struct buf b = { 0 };
  (void)state;
  error_write_event(operation_info(OP_RESPONSES), &s, &e, &b);
  assert_true(span_search(buf_span(&b), SPAN("\"sequence_number\":0,")) < buf_size(&b));
  buf_free(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(bodies), cmocka_unit_test(hints), cmocka_unit_test(told_in_full), cmocka_unit_test(account_faults_do_not_leak), cmocka_unit_test(events),
    cmocka_unit_test(first_sequence_number),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
