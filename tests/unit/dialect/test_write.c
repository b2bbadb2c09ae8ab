/* What weir says itself: whole answers, streams, endings, heartbeats, model lists. All of it is read
   back by the reader of its dialect, and the fields that the SDKs of the dialect need are there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "stream.h"

static const enum operation streaming[] = { OP_CHAT, OP_COMPLETIONS, OP_RESPONSES, OP_MESSAGES };
static const char said[] = "Say \"hi\"\nto \xC3\xA9 \xF0\x9F\x98\x80";

static void write_answer(enum operation op, bool stream, struct span text, struct buf *out) {
  answer_write(operation_info(op), stream, SPAN("r-1"), SPAN("m/x"), text, 1700000000, out);
}

static void has_fields(struct json v, const char *const *paths) {
  for (; *paths; paths++)
    if (json_at(v, *paths).type == JSON_NONE) fail_msg("%s is missing in %.*s", *paths, SPAN_FMT(v.text));
}

static const char *const chat_fields[] = { "id", "object", "created", "model", "choices.0.index", "choices.0.message.role", "choices.0.message.content",
  "choices.0.message.refusal", "choices.0.finish_reason", "choices.0.logprobs", "usage.prompt_tokens", "usage.completion_tokens", "usage.total_tokens", NULL };
static const char *const completions_fields[] = { "id", "object", "created", "model", "choices.0.index", "choices.0.text", "choices.0.finish_reason", "choices.0.logprobs",
  "usage.total_tokens", NULL };
static const char *const responses_fields[] = { "id", "object", "created_at", "status", "error", "incomplete_details", "instructions", "model", "output.0.id",
  "output.0.type", "output.0.role", "output.0.status", "output.0.content.0.type", "output.0.content.0.text", "output.0.content.0.annotations",
  "parallel_tool_calls", "tool_choice", "tools", "temperature", "top_p", "metadata", "usage.input_tokens", "usage.input_tokens_details.cached_tokens",
  "usage.output_tokens_details.reasoning_tokens", "usage.total_tokens", NULL };
static const char *const messages_fields[] = { "id", "type", "role", "model", "content.0.type", "content.0.text", "stop_reason", "stop_sequence",
  "usage.input_tokens", "usage.output_tokens", NULL };
static const char *const *const fields[OP_COUNT] = {
  [OP_CHAT] = chat_fields, [OP_COMPLETIONS] = completions_fields, [OP_RESPONSES] = responses_fields, [OP_MESSAGES] = messages_fields,
};

static void whole(void **state) {
  (void)state;
  for (size_t i = 0; i < 4; i++) {
    const struct operation_info *o = operation_info(streaming[i]);
    struct buf b = { 0 }, text = { 0 };
    struct answer_facts f;
    struct json v;
    write_answer(streaming[i], false, span_cstr(said), &b);
    assert_true(json_read(buf_span(&b), &v, NULL));
    has_fields(v, fields[streaming[i]]);
    answer_read(o, buf_span(&b), &f);
    assert_int_equal(f.fault, FAULT_NONE);
    assert_true(f.has_usage && span_eq(f.model, SPAN("m/x")) && f.finish.n);
    assert_true(f.usage.input == 0 && f.usage.output == 0);
    answer_text(o, v, false, &text);
    assert_true(span_eq(buf_span(&text), span_cstr(said)));
    buf_free(&b);
    buf_free(&text);
  }
}

static void streams(void **state) {
  (void)state;
  for (size_t i = 0; i < 4; i++) {
    struct buf b = { 0 };
    write_answer(streaming[i], true, span_cstr(said), &b);
    struct seen s = stream_read(streaming[i], buf_span(&b));
    assert_int_equal(s.errors, 0);
    assert_int_equal(s.real, 1);
    assert_int_equal(s.finishes, 1);
    assert_int_equal(s.terminators, 1);
    assert_int_equal(s.ended_at, (int)s.events - 1);
    assert_true(span_eq(buf_span(&s.text), span_cstr(said)));
    assert_true(s.has_usage);
    assert_int_equal(s.state.block_count, 0);
    if (streaming[i] == OP_RESPONSES) assert_int_equal(s.state.sequence, (int)s.events - 1);
    seen_end(&s);
    buf_free(&b);
  }
}

static void order_of_responses(void **state) {
  static const char *const order[] = { "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
    "response.output_text.delta", "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed" };
  struct buf b = { 0 };
  struct sse sse = { 0 };
  struct sse_event e;
  struct json v;
  size_t n = 0;
  (void)state;
  write_answer(OP_RESPONSES, true, SPAN("hi"), &b);
  struct span rest = buf_span(&b);
  for (struct step step; (step = sse_feed(&sse, rest, &e)).kind == STEP_EVENT; rest = span_from(rest, step.used), n++) {
    int64_t sequence = -1;
    assert_true(n < sizeof order / sizeof *order);
    assert_true(span_eq(e.name, span_cstr(order[n])));
    assert_true(json_read(e.data, &v, NULL) && json_string_is(json_get(v, SPAN("type")), e.name));
    assert_true(json_i64(json_get(v, SPAN("sequence_number")), &sequence) && sequence == (int64_t)n);
  }
  assert_int_equal(n, sizeof order / sizeof *order);
  has_fields(json_get(v, SPAN("response")), responses_fields);
  buf_free(&b);
}

static void nothing_said_is_still_legal(void **state) {
  (void)state;
  for (size_t i = 0; i < 4; i++) {
    struct buf b = { 0 };
    write_answer(streaming[i], true, SPAN(""), &b);
    struct seen s = stream_read(streaming[i], buf_span(&b));
    assert_int_equal(s.errors + s.real, 0);
    assert_int_equal(s.ended_at, (int)s.events - 1);
    seen_end(&s);
    buf_free(&b);
  }
}

static void not_for_texts(void **state) {
  struct buf b = { 0 };
  struct json v;
  (void)state;
  write_answer(OP_EMBEDDINGS, true, SPAN("hi"), &b);
  assert_true(json_read(buf_span(&b), &v, NULL) && json_at(v, "data").type == JSON_ARRAY);
  buf_clear(&b);
  write_answer(OP_COUNT_TOKENS, true, SPAN("hi"), &b);
  assert_true(json_read(buf_span(&b), &v, NULL) && json_at(v, "input_tokens").type == JSON_NUMBER);
  buf_free(&b);
}

/* ---- stopping: a stream cut after any of its events and closed by stop_write is a legal one */
static void closes(enum operation op, struct span stream, const char *as, const char *finish) {
  struct span rest = stream;
  for (size_t cut = 0;; cut++) {
    struct sse sse = { 0 };
    struct sse_event e;
    struct buf b = { 0 };
    size_t kept = stream.n - rest.n;
    struct seen before = stream_read(op, span_of(stream.p, kept));
    if (before.state.terminated) {
      seen_end(&before);
      return;
    }
    buf_add(&b, span_of(stream.p, kept));
    stop_write(operation_info(op), &before.state, NULL, span_cstr(as), SPAN("r-1"), SPAN("m"), 1700000000, &b);
    struct seen after = stream_read(op, buf_span(&b));
    if (after.errors || after.ended_at != (int)after.events - 1 || after.terminators != 1 || !after.state.finished || after.state.block_count)
      fail_msg("cut %zu: %.*s", cut, SPAN_FMT(buf_span(&b)));
    if (!before.state.finished) assert_string_equal(after.finish, finish);
    for (size_t i = 0; i < EVENT_OPEN_CHOICES / 64; i++) assert_true(after.state.choices[i] == 0);
    assert_int_equal(after.real, before.real);
    if (op == OP_RESPONSES) assert_int_equal(after.state.sequence, before.state.started ? before.state.sequence + 1 : 1);
    seen_end(&before);
    seen_end(&after);
    buf_free(&b);
    struct step step = sse_feed(&sse, rest, &e);
    if (step.kind != STEP_EVENT) return;
    rest = span_from(rest, step.used);
  }
}

static void stops(void **state) {
  static const struct { enum operation op; const char *length, *filter; } known[] = {
    { OP_CHAT, "length", "content_filter" }, { OP_COMPLETIONS, "length", "content_filter" },
    { OP_RESPONSES, "max_output_tokens", "content_filter" }, { OP_MESSAGES, "max_tokens", "refusal" },
  };
  (void)state;
  for (size_t i = 0; i < 4; i++) {
    struct buf b = { 0 };
    write_answer(known[i].op, true, SPAN("hello"), &b);
    closes(known[i].op, buf_span(&b), "length", known[i].length);
    closes(known[i].op, buf_span(&b), "filter", known[i].filter);
    buf_free(&b);
  }
}

static void stops_recorded_streams(void **state) {
  static const struct { const char *path; enum operation op; const char *finish; } known[] = {
    { "deepseek/deepseek-tool-call.chunks.txt", OP_CHAT, "length" }, { "anthropic/anthropic-web-search-tool.1.chunks.txt", OP_MESSAGES, "max_tokens" },
    { "anthropic/anthropic-clear-thinking.1.chunks.txt", OP_MESSAGES, "max_tokens" }, { "openai-responses/azure-tool-call.1.chunks.txt", OP_RESPONSES, "max_output_tokens" },
  };
  (void)state;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    struct buf lines = { 0 }, framed = { 0 };
    recording_read(known[i].path, &lines);
    stream_frame(known[i].op, buf_span(&lines), &framed);
    closes(known[i].op, buf_span(&framed), "length", known[i].finish);
    buf_free(&lines);
    buf_free(&framed);
  }
}

/* Every choice that was begun and not ended gets its end, in the order of their numbers. */
static void stops_all_choices(void **state) {
  struct buf b = { 0 };
  (void)state;
  struct seen s = stream_read(OP_CHAT, SPAN("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}},{\"index\":2,\"delta\":{\"content\":\"b\"}}]}\n\n"
                                           "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"c\"},\"finish_reason\":\"stop\"}]}\n\n"));
  stop_write(operation_info(OP_CHAT), &s.state, NULL, SPAN("filter"), SPAN("r"), SPAN("m"), 1, &b);
  struct span rest = buf_span(&b);
  size_t zero = span_search(rest, SPAN("\"index\":0,")), two = span_search(rest, SPAN("\"index\":2,"));
  assert_true(zero < two && two < rest.n);
  assert_int_equal(span_search(rest, SPAN("\"index\":1,")), rest.n);
  assert_true(span_ends(rest, SPAN("data: [DONE]\n\n")));
  seen_end(&s);
  buf_free(&b);
}

static void nothing_to_stop(void **state) {
  struct event_state s = { .terminated = true };
  struct buf b = { 0 };
  (void)state;
  stop_write(operation_info(OP_CHAT), &s, NULL, SPAN("length"), SPAN("r"), SPAN("m"), 1, &b);
  assert_int_equal(buf_size(&b), 0);
}

static void heartbeats(void **state) {
  (void)state;
  for (size_t i = 0; i < 4; i++) {
    struct buf b = { 0 };
    heartbeat_write(operation_info(streaming[i])->dialect, &b);
    struct seen s = stream_read(streaming[i], buf_span(&b));
    assert_int_equal(s.events, 1);
    assert_int_equal(s.lifecycle, 1);
    assert_true(span_ends(buf_span(&b), SPAN("\n\n")));
    assert_int_equal(span_starts(buf_span(&b), SPAN("event: ping\n")), streaming[i] == OP_MESSAGES);
    seen_end(&s);
    buf_free(&b);
  }
}

static void models(void **state) {
  static const char *const openai[] = { "object", "data.1.id", "data.1.object", "data.1.created", "data.1.owned_by", NULL };
  static const char *const anthropic[] = { "data.1.id", "data.1.type", "data.1.display_name", "data.1.created_at", "data.1.lifecycle", "has_more", "first_id", "last_id", NULL };
  static const char *const google[] = { "models.1.displayName", "models.1.supportedGenerationMethods.0", NULL };
  const struct span names[] = { SPAN("smart"), SPAN("openai/gpt-\"5\"") };
  (void)state;
  for (enum dialect d = 0; d < DIALECT_COUNT; d++) {
    struct buf b = { 0 };
    struct json v;
    models_write(d, names, 2, 1700000000, &b);
    assert_true(json_read(buf_span(&b), &v, NULL));
    has_fields(v, d == DIALECT_GEMINI ? google : d == DIALECT_MESSAGES ? anthropic : openai);
    if (d == DIALECT_GEMINI) assert_true(json_string_is(json_at(v, "models.1.name"), SPAN("models/openai/gpt-\"5\"")));
    else assert_true(json_string_is(json_at(v, "data.1.id"), names[1]));
    if (d == DIALECT_MESSAGES) assert_true(json_string_is(json_at(v, "data.0.created_at"), SPAN("2023-11-14T22:13:20Z")));
    buf_clear(&b);
    models_write(d, NULL, 0, 0, &b);
    assert_true(json_read(buf_span(&b), &v, NULL) && json_at(v, d == DIALECT_GEMINI ? "models" : "data").type == JSON_ARRAY);
    buf_free(&b);
  }
}

/* Whole answers that are none. */
static void answers_without_content(void **state) {
  static const struct { enum operation op; const char *body; enum fault fault; } known[] = {
    { OP_CHAT, "", FAULT_INVALID }, { OP_CHAT, "<html>", FAULT_INVALID }, { OP_CHAT, "[]", FAULT_INVALID }, { OP_CHAT, "{}", FAULT_INVALID },
    { OP_CHAT, "{\"choices\":[]}", FAULT_EMPTY }, { OP_CHAT, "\n\n {\"choices\":[{\"message\":{\"content\":\"\"},\"finish_reason\":\"stop\"}]}", FAULT_EMPTY },
    { OP_CHAT, "{\"choices\":[{\"message\":{\"content\":null},\"finish_reason\":\"content_filter\"}]}", FAULT_CONTENT_FILTERED },
    { OP_CHAT, "{\"choices\":[{\"message\":{\"content\":null,\"refusal\":\"no\"},\"finish_reason\":\"stop\"}]}", FAULT_NONE },
    { OP_CHAT, "{\"choices\":[{\"message\":{\"content\":null,\"tool_calls\":[{\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]},\"finish_reason\":\"tool_calls\"}]}", FAULT_NONE },
    { OP_CHAT, "{\"error\":{\"code\":429,\"message\":\"m\"}}", FAULT_RATE_LIMITED }, { OP_CHAT, "{\"error\":{\"message\":\"m\",\"code\":\"insufficient_quota\"}}", FAULT_QUOTA },
    { OP_CHAT, "{\"request_id\":\"x\"}", FAULT_NONE }, { OP_COMPLETIONS, "{\"choices\":[{\"text\":\"\",\"finish_reason\":\"length\"}]}", FAULT_EMPTY },
    { OP_COMPLETIONS, "{\"choices\":[{\"text\":\"x\"}]}", FAULT_NONE }, { OP_EMBEDDINGS, "{\"data\":[]}", FAULT_EMPTY }, { OP_EMBEDDINGS, "{\"data\":[{\"embedding\":\"AAAA\"}]}", FAULT_NONE },
    { OP_EMBEDDINGS, "{\"object\":\"list\"}", FAULT_INVALID }, { OP_MESSAGES, "{\"content\":[],\"stop_reason\":\"end_turn\"}", FAULT_EMPTY },
    { OP_MESSAGES, "{\"content\":[],\"stop_reason\":\"refusal\"}", FAULT_REFUSED }, { OP_MESSAGES, "{\"content\":[{\"type\":\"text\",\"text\":\"\"}],\"stop_reason\":\"max_tokens\"}", FAULT_EMPTY },
    { OP_MESSAGES, "{\"content\":[{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}],\"stop_reason\":\"tool_use\"}", FAULT_NONE },
    { OP_MESSAGES, "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}", FAULT_OVERLOADED }, { OP_MESSAGES, "{\"choices\":[]}", FAULT_INVALID },
    { OP_COUNT_TOKENS, "{\"input_tokens\":5}", FAULT_NONE }, { OP_COUNT_TOKENS, "{}", FAULT_INVALID },
    { OP_RESPONSES, "{\"status\":\"completed\",\"output\":[]}", FAULT_EMPTY }, { OP_RESPONSES, "{\"status\":\"queued\",\"output\":[]}", FAULT_NONE },
    { OP_RESPONSES, "{\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"content_filter\"},\"output\":[]}", FAULT_CONTENT_FILTERED },
    { OP_RESPONSES, "{\"status\":\"failed\",\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"m\"},\"output\":[]}", FAULT_RATE_LIMITED },
    { OP_RESPONSES, "{\"status\":\"completed\",\"error\":null,\"output\":[{\"type\":\"message\",\"content\":[{\"type\":\"refusal\",\"refusal\":\"no\"}]}]}", FAULT_NONE },
    { OP_RESPONSES, "{\"status\":\"completed\",\"output\":[{\"type\":\"image_generation_call\",\"result\":\"AAAA\"}]}", FAULT_NONE },
  };
  (void)state;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    struct answer_facts f;
    answer_read(operation_info(known[i].op), span_cstr(known[i].body), &f);
    if (f.fault != known[i].fault) fail_msg("%s: '%s'", known[i].body, fault_word(f.fault));
  }
}

static void several_choices(void **state) {
  struct buf b = { 0 };
  struct json v;
  struct answer_facts f;
  struct span body = SPAN("{\"choices\":[{\"index\":0,\"message\":{\"content\":\"a\",\"reasoning_content\":\"t\"}},{\"index\":1,\"message\":{\"content\":[{\"type\":\"text\",\"text\":\"b\"},{\"type\":\"text\",\"text\":\"c\"}]}}]}");
  (void)state;
  answer_read(operation_info(OP_CHAT), body, &f);
  assert_false(f.has_tools);
  assert_true(json_read(body, &v, NULL));
  answer_text(operation_info(OP_CHAT), v, false, &b);
  assert_true(span_eq(buf_span(&b), SPAN("a\nbc")));
  buf_clear(&b);
  answer_text(operation_info(OP_CHAT), v, true, &b);
  assert_true(span_eq(buf_span(&b), SPAN("t")));
  buf_free(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(whole), cmocka_unit_test(streams), cmocka_unit_test(order_of_responses), cmocka_unit_test(nothing_said_is_still_legal),
    cmocka_unit_test(not_for_texts), cmocka_unit_test(stops), cmocka_unit_test(stops_recorded_streams), cmocka_unit_test(stops_all_choices),
    cmocka_unit_test(nothing_to_stop), cmocka_unit_test(heartbeats), cmocka_unit_test(models), cmocka_unit_test(answers_without_content),
    cmocka_unit_test(several_choices),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
