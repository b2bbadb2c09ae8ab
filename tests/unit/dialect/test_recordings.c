/* Recorded streams and answers of the providers, each with its figures counted by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "stream.h"

struct recording {
  const char *path;
  enum operation op;
  unsigned events, real;              /* events: [DONE] included */
  int first_real;
  const char *finish, *model;
  int64_t usage[6];                   /* input, cache_read, cache_write, cache_write_1h, output, reasoning */
  size_t text_bytes;
  const char *text_start, *text_end, *thinking, *arguments, *names;
};
static const struct recording streams[] = {
  { "openai-chat/openai-text.chunks.txt", OP_CHAT, 304, 300, 1, "stop", "gpt-4.1-nano-2025-04-14", { 16, 0, -1, -1, 300, 0 },
    1730, "**Holiday Name:** Harmony Day\n\n**Date:** Celebrated annually", "xperiences and mutual respect.", "", "", "" },
  { "azure/azure-model-router.1.chunks.txt", OP_CHAT, 9, 4, 2, "stop", "gpt-5-nano-2025-08-07", { 15, 0, -1, -1, 78, 64 },
    19, "Capital of Denmark.", "", "", "", "" },
  { "mistral/mistral-text.chunks.txt", OP_CHAT, 9, 6, 1, "stop", "mistral-small-latest", { 13, -1, -1, -1, 8, -1 },
    38, "Hello, world! This is a test response.", "", "", "", "" },
  { "mistral/mistral-reasoning.chunks.txt", OP_CHAT, 5, 3, 0, "stop", "magistral-medium-2507", { 10, -1, -1, -1, 46, -1 },
    9, "2 + 2 = 4", "", "The user is asking for 2+2. This is basic arithmetic. 2+2=4.", "", "" },
  { "deepseek/deepseek-tool-call.chunks.txt", OP_CHAT, 53, 50, 1, "tool_calls", "deepseek-reasoner", { 19, 320, -1, -1, 83, 39 },
    0, "", "", NULL, "{\"location\": \"San Francisco\"}", "weather" },
  { "qwen/alibaba-tool-call.chunks.txt", OP_CHAT, 7, 3, 0, "tool_calls", "qwen3-max", { 295, 0, -1, -1, 22, -1 },
    0, "", "", "", "{\"location\": \"San Francisco\"}", "weather" },
  { "groq/groq-tool-call.chunks.txt", OP_CHAT, 4, 1, 1, "tool_calls", "llama-3.3-70b-versatile", { 210, -1, -1, -1, 15, -1 },
    0, "", "", "", "{}", "weather" },
  { "xai/xai-tool-call.chunks.txt", OP_CHAT, 9, 6, 0, "tool_calls", "grok-3-mini", { 1, 290, -1, -1, 222, 196 },
    0, "", "", "First, the user is", "{\"location\":\"San Francisco\"}", "weather" },
  { "anthropic/anthropic-text.chunks.txt", OP_MESSAGES, 12, 6, 3, "end_turn", "claude-sonnet-4-5-20250929", { 12, 0, 0, 0, 30, -1 },
    108, "Hello! I'm doing well, thank you for asking. How are you doing today?", "? Is there anything I can help you with?", "", "", "" },
  { "anthropic/anthropic-json-other-tool.1.chunks.txt", OP_MESSAGES, 13, 3, 1, "tool_use", "claude-haiku-4-5-20251001", { 843, 0, 0, 0, 28, -1 },
    0, "", "", "", "{\"location\": \"San Francisco\"}", "weather" },
  { "anthropic/anthropic-tool-no-args.chunks.txt", OP_MESSAGES, 13, 3, 2, "tool_use", "claude-sonnet-4-5-20250929", { 565, 0, 0, 0, 48, -1 },
    35, "I'll update the issue list for you.", "", "", "", "updateIssueList" },
  { "anthropic/anthropic-clear-thinking.1.chunks.txt", OP_MESSAGES, 22, 12, 3, "end_turn", "claude-sonnet-4-5-20250929", { 69, 0, 0, 0, 53, -1 },
    14, "925 ÷ 5 = 185", "", "The previous result was 925. Now I need to divide that by 5.\n\n925 ÷ 5 = 185", "", "" },
  { "anthropic/anthropic-web-search-tool.1.chunks.txt", OP_MESSAGES, 120, 62, 1, "end_turn", "claude-sonnet-4-20250514", { 15665, 0, 0, 0, 795, -1 },
    2402, "Based on my search results, here are the key tech news devel", "ir first international retail expansion.", "",
    "{\"query\": \"tech news today September 26 2025\"}", "web_search" },
  { "anthropic/anthropic-refusal.chunks.txt", OP_MESSAGES, 4, 0, -1, "refusal", "claude-fable-5", { 18, 0, 0, 0, 5, -1 }, 0, "", "", "", "", "" },
  { "openai-responses/azure-tool-call.1.chunks.txt", OP_RESPONSES, 12, 7, 2, "completed", "gpt-5.1", { 45, 0, -1, -1, 24, 0 },
    0, "", "", "", "{\"location\":\"San Francisco\"}", "weather" },
  { "openai-responses/openai-custom-tool.1.chunks.txt", OP_RESPONSES, 8, 4, 2, "completed", "gpt-5.2-codex", { 50, 0, -1, -1, 20, 0 },
    0, "", "", "", "SELECT * FROM users WHERE age > 25", "write_sql" },
  { "openai-responses/openai-phase.1.chunks.txt", OP_RESPONSES, 17, 4, 4, "completed", "gpt-5.3-codex", { 4040, 3072, -1, -1, 463, 64 },
    25, "Got itHere are a few **AI", "", "", "", "" },
};

static void usage_equals(const char *path, const struct usage *a, const int64_t want[6]) {
  if (memcmp(a, want, 6 * sizeof *want) == 0) return;
  fail_msg("%s: usage %d %d %d %d %d %d", path, (int)a->input, (int)a->cache_read, (int)a->cache_write, (int)a->cache_write_1h,
           (int)a->output, (int)a->reasoning);
}

static void text_equals(const char *path, const struct buf *got, const char *want) {
  if (want && !span_eq(buf_span(got), span_cstr(want))) fail_msg("%s: '%.*s', not '%s'", path, SPAN_FMT(buf_span(got)), want);
}

static void stream_is(const struct recording *r, struct span lines) {
  struct buf framed = { 0 };
  stream_frame(r->op, lines, &framed);
  struct seen s = stream_read(r->op, buf_span(&framed));
  printf("%s: %u events, %u real, %u lifecycle\n", r->path, s.events, s.real, s.lifecycle);
  assert_int_equal(s.errors, 0);
  assert_int_equal(s.events, r->events);
  assert_int_equal(s.real, r->real);
  assert_int_equal(s.first_real, r->first_real);
  assert_int_equal(s.finishes, 1);
  assert_int_equal(s.terminators, 1);
  assert_int_equal(s.delta_finishes, 1);
  assert_true(s.delta_usages >= 1);
  assert_string_equal(s.finish, r->finish);
  assert_string_equal(s.model, r->model);
  assert_int_equal(s.ended_at, (int)r->events - 1);            /* at the last event and not before */
  usage_equals(r->path, &s.usage, r->usage);
  assert_int_equal(buf_size(&s.text), r->text_bytes);
  assert_true(starts(&s.text, r->text_start));
  assert_true(ends(&s.text, r->text_end));
  text_equals(r->path, &s.thinking, r->thinking);
  text_equals(r->path, &s.arguments, r->arguments);
  text_equals(r->path, &s.names, r->names);
  assert_int_equal(s.delta_bytes, buf_size(&s.text) + buf_size(&s.thinking) + buf_size(&s.arguments) + strlen(r->names));
  assert_true(s.deltas >= s.real - (span_starts(span_cstr(r->path), SPAN("anthropic/anthropic-web")) ? 1 : 0));
  seen_end(&s);
  buf_free(&framed);
}

static void recorded_streams(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
    struct buf lines = { 0 };
    recording_read(streams[i].path, &lines);
    stream_is(&streams[i], buf_span(&lines));
    buf_free(&lines);
  }
}

/* Cut anywhere before its last event, a recorded stream may not end. */
static void cut_streams_have_no_end(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
    struct buf lines = { 0 }, framed = { 0 };
    recording_read(streams[i].path, &lines);
    stream_frame(streams[i].op, buf_span(&lines), &framed);
    for (size_t n = 0; n + 2 < buf_size(&framed); n += 1 + buf_size(&framed) / 97) {
      struct seen s = stream_read(streams[i].op, span_of(framed.p, n));
      assert_false(event_may_end(operation_info(streams[i].op), &s.state));
      assert_int_equal(s.errors, 0);
      seen_end(&s);
    }
    buf_free(&lines);
    buf_free(&framed);
  }
}

static void recorded_error(void **state) {
  struct buf lines = { 0 }, framed = { 0 };
  (void)state;
  recording_read("openai-responses/openai-error.1.chunks.txt", &lines);
  stream_frame(OP_RESPONSES, buf_span(&lines), &framed);
  struct seen s = stream_read(OP_RESPONSES, buf_span(&framed));
  assert_int_equal(s.events, 4);
  assert_int_equal(s.errors, 2);
  assert_int_equal(s.real, 0);
  assert_int_equal(s.fault, FAULT_QUOTA);
  assert_string_equal(s.code, "insufficient_quota");
  assert_true(strstr(s.message, "You exceeded your current quota") != NULL);
  assert_int_equal(s.ended_at, -1);
  assert_int_equal(s.state.sequence, 3);
  seen_end(&s);
  buf_free(&lines);
  buf_free(&framed);
}

struct answer {
  const char *path;
  enum operation op;
  const char *finish, *model;
  int64_t usage[6];
  bool tools;
  const char *text_start, *thinking_start;
};
static const struct answer answers[] = {
  { "openai-chat/openai-text.json", OP_CHAT, "stop", "gpt-4.1-nano-2025-04-14", { 16, 0, -1, -1, 363, 0 }, false, "**Holiday Name:** Galaxy Day", "" },
  { "deepseek/deepseek-reasoning.json", OP_CHAT, "stop", "deepseek-reasoner", { 18, 0, -1, -1, 345, 315 }, false,
    "The word \"strawberry\" contains three", "We are asked: \"How many 'r's" },
  { "groq/groq-reasoning.json", OP_CHAT, "stop", "qwen/qwen3-32b", { 17, -1, -1, -1, 649, 570 }, false,
    "The word \"strawberry\" contains **3**", "Okay, so the user is asking" },
  { "qwen/alibaba-reasoning.json", OP_CHAT, "stop", "qwen3-max", { 24, 0, -1, -1, 1668, 1353 }, false,
    "The word **\"strawberry\"** contains", "We are asked: \"How many" },
  { "anthropic/anthropic-text.json", OP_MESSAGES, "end_turn", "claude-sonnet-4-5-20250929", { 12, 0, 0, 0, 29, -1 }, false, "Hello! I'm doing well, thanks", "" },
  { "openai-responses/openai-reasoning-encrypted-content.1.json", OP_RESPONSES, "completed", NULL, { 865, 0, -1, -1, 163, 128 }, false, NULL, "**" },
};

static void recorded_answers(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
    const struct answer *a = &answers[i];
    const struct operation_info *o = operation_info(a->op);
    struct buf body = { 0 }, text = { 0 }, thinking = { 0 };
    struct answer_facts f;
    struct json document;
    recording_read(a->path, &body);
    answer_read(o, buf_span(&body), &f);
    assert_int_equal(f.fault, FAULT_NONE);
    assert_true(f.has_usage);
    assert_int_equal(f.has_tools, a->tools);
    usage_equals(a->path, &f.usage, a->usage);
    assert_true(span_eq(f.finish, span_cstr(a->finish)));
    if (a->model) assert_true(span_eq(f.model, span_cstr(a->model)));
    assert_true(json_read(buf_span(&body), &document, NULL));
    answer_text(o, document, false, &text);
    answer_text(o, document, true, &thinking);
    printf("%s: %zu bytes of text, %zu of thinking\n", a->path, buf_size(&text), buf_size(&thinking));
    assert_true(buf_size(&text) > 0);
    if (a->text_start) assert_true(span_starts(buf_span(&text), span_cstr(a->text_start)));
    assert_true(starts(&thinking, a->thinking_start));
    assert_int_equal(buf_size(&thinking) > 0, a->thinking_start[0] != 0);
    /* Cut short it is no answer. */
    answer_read(o, span_of(body.p, buf_size(&body) - 4), &f);
    assert_int_equal(f.fault, FAULT_INVALID);
    buf_free(&body);
    buf_free(&text);
    buf_free(&thinking);
  }
}

static void recorded_refusal_of_a_parameter(void **state) {
  struct buf body = { 0 };
  struct failure f;
  (void)state;
  recording_read("openai-chat/reasoning-model-legacy-parameter-error.json", &body);
  failure_read(DIALECT_CHAT, 400, NULL, buf_span(&body), &f);
  assert_int_equal(f.fault, FAULT_BAD_REQUEST);
  assert_true(span_eq(f.code, SPAN("unsupported_parameter")));
  assert_true(span_starts(f.message, SPAN("Unsupported parameter: 'max_tokens'")));
  assert_false(f.account);
  buf_free(&body);
}

static void recorded_limit_of_google(void **state) {
  struct buf body = { 0 };
  struct failure f;
  (void)state;
  recording_read("gemini/google-429-retry-info.json", &body);
  failure_read(DIALECT_CHAT, 429, NULL, buf_span(&body), &f);
  assert_int_equal(f.fault, FAULT_RATE_LIMITED);
  assert_true(f.retry_after > 34.3 && f.retry_after < 34.5);
  assert_true(span_eq(f.code, SPAN("429")));
  buf_free(&body);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(recorded_streams), cmocka_unit_test(cut_streams_have_no_end), cmocka_unit_test(recorded_error),
    cmocka_unit_test(recorded_answers), cmocka_unit_test(recorded_refusal_of_a_parameter), cmocka_unit_test(recorded_limit_of_google),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
