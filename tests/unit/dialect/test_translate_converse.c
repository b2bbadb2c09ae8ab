/* Requests of chat and messages said to Bedrock's Converse: a case for each row of what it can say, nearly say, or not; and its answers, whole
   and in frames, written ones and the recordings, under every split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "../../frames.h"
#include "hear.h"

/* ---- requests */
struct row { const char *what; enum operation from; const char *body, *want, *losses, *model; };
#define C OP_CHAT
#define M OP_MESSAGES
static const struct row rows[] = {
#include "translate_converse_rows.h"
};

static bool translate(const struct row *c, struct span body, struct translating *how, struct buf *out) {
  struct json_member members[128];
  struct json_error e;
  size_t n;
  how->model = span_cstr(c->model);
  if (!json_read_object(body, members, 128, &n, &e)) fail_msg("%s: the case is no JSON: %s", c->what, e.why);
  bool good = translate_request(operation_info(c->from), operation_info(OP_CONVERSE), members, n, how, out);
  if (good && !json_read_object(buf_span(out), members, 128, &n, &e)) fail_msg("%s: no JSON came out: %.*s", c->what, SPAN_FMT(buf_span(out)));
  if (!good) assert_true(buf_size(out) == 0 && how->why.n);
  return good;
}

/* What is a loss is refused where losses are, and let through where a policy allows it. */
static unsigned strictly(const struct row *c, struct span body, struct arena *a) {
  struct translating strict = { .arena = a, .strict = true };
  struct buf out = { 0 };
  unsigned wrong = 0;
  if (translate(c, body, &strict, &out)) print_message("%s: passes where losses are refused\n", c->what), wrong++;
  struct span words[8], left = span_cstr(c->losses), one;
  strict = (struct translating){ .arena = a, .strict = true, .allowed = words };
  while (left.n && strict.allowed_count < 8) left = span_cut(left, ',', &one), words[strict.allowed_count++] = span_trim(one);
  if (!translate(c, body, &strict, &out) || !span_eq(strict.losses, span_cstr(c->losses))) print_message("%s: refused although allowed: %.*s\n", c->what, SPAN_FMT(strict.why)), wrong++;
  buf_free(&out);
  return wrong;
}

static void each_row(void **state) {
  (void)state;
  unsigned wrong = 0;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const struct row *c = &rows[i];
    struct buf body = { 0 }, want = { 0 }, out = { 0 };
    struct arena a = { 0 };
    struct translating how = { .arena = &a };
    buf_printf(&body, "{\"model\":\"m\",%s}", c->body);
    buf_printf(&want, "{%s}", c->want ? c->want : "");
    bool good = translate(c, buf_span(&body), &how, &out);
    struct span told = good ? how.losses : how.field;
    bool same = good == (c->want != NULL) && (!good || span_eq(buf_span(&out), buf_span(&want))) && span_eq(told, span_cstr(c->losses));
    if (!same) print_message("%s:\n  %.*s\n  %.*s\n  [%.*s] %.*s\n", c->what, SPAN_FMT(buf_span(&body)), SPAN_FMT(buf_span(&out)), SPAN_FMT(told), SPAN_FMT(how.why));
    wrong += !same;
    if (c->want && *c->losses) wrong += strictly(c, buf_span(&body), &a);
    buf_free(&body), buf_free(&want), buf_free(&out);
    arena_end(&a);
  }
  assert_int_equal(wrong, 0);
}

static void paths(void **state) {
  (void)state;
  struct buf b = { 0 };
  operation_path(operation_info(OP_CONVERSE), SPAN("/x"), SPAN("arn:aws:bedrock:us-east-1:1:inference-profile/us.acme.x-v1:0"), true, &b);
  assert_true(span_eq(buf_span(&b), SPAN("/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.acme.x-v1%3A0/converse-stream")));
  buf_clear(&b);
  operation_path(operation_info(OP_CONVERSE), SPAN("/x"), SPAN("a-b_c.d~e"), false, &b);
  assert_true(span_eq(buf_span(&b), SPAN("/model/a-b_c.d~e/converse")));
  buf_free(&b);
  assert_null(operation_by_path(SPAN("/model/{model}/converse")));
  assert_true(operation_at(operation_info(C), DIALECT_CONVERSE) == operation_info(OP_CONVERSE) && operation_at(operation_info(M), DIALECT_CONVERSE) == operation_info(OP_CONVERSE));
  assert_null(operation_at(operation_info(OP_EMBEDDINGS), DIALECT_CONVERSE));
  assert_null(operation_at(operation_info(OP_COUNT_TOKENS), DIALECT_CONVERSE));
}

/* ---- answers */
static const struct translate_names names = { .id = SPAN("req_1"), .model = SPAN("asked"), .created = 7, .usage = true };

static void same(const char *what, struct span got, const char *want) {
  if (!span_eq(got, span_cstr(want))) fail_msg("%s\n%.*s\nis not\n%s", what, SPAN_FMT(got), want);
}

static void whole(enum operation to, const char *body, const char *want) {
  struct buf out = { 0 };
  const char *why = NULL;
  bool good = translate_answer(operation_info(OP_CONVERSE), operation_info(to), span_cstr(body), &names, &out, &why);
  if (!want) assert_true(!good && why && !buf_size(&out));
  else if (!good) fail_msg("%s", why);
  else same(body, buf_span(&out), want);
  struct answer_facts f;
  if (good) answer_read(operation_info(to), buf_span(&out), &f), assert_int_not_equal(f.fault, FAULT_INVALID);
  buf_free(&out);
}

#define ANSWER(content, stop, more) "{\"output\":{\"message\":{\"role\":\"assistant\",\"content\":[" content "]}},\"stopReason\":\"" stop "\"" more "}"
#define USAGE ",\"usage\":{\"inputTokens\":3,\"outputTokens\":2,\"totalTokens\":20,\"cacheReadInputTokens\":10,\"cacheWriteInputTokens\":5,\"cacheDetails\":[{\"ttl\":\"1h\",\"inputTokens\":4},{\"ttl\":\"5m\",\"inputTokens\":1}]}"
#define TO_CHAT(message, finish, usage) "{\"id\":\"chatcmpl-req_1\",\"object\":\"chat.completion\",\"created\":7,\"model\":\"asked\",\"choices\":[{\"index\":0,\"message\":{" \
  "\"role\":\"assistant\"," message "},\"logprobs\":null,\"finish_reason\":\"" finish "\"}]" usage "}"
#define TO_MESSAGES(content, stop, which) "{\"id\":\"msg_req_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"asked\",\"content\":[" content "],\"stop_reason\":\"" stop \
  "\",\"stop_sequence\":" which ",\"usage\":{\"input_tokens\":0,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":0}}"
#define THOUGHT "{\"reasoningContent\":{\"reasoningText\":{\"text\":\"h\\u00e9\",\"signature\":\"c2ln\"}}},{\"reasoningContent\":{\"redactedContent\":\"AA\"}}"
#define CALLS "{\"toolUse\":{\"toolUseId\":\"t1\",\"name\":\"f\",\"input\":{\"a\": 12345678901234567890}}},{\"toolUse\":{\"toolUseId\":\"t2\",\"name\":\"g\",\"input\":{}}}"

static void whole_answers(void **state) {
  (void)state;
  whole(C, ANSWER("{\"text\":\"a\\u00e9\"},{\"text\":\"b\"}", "end_turn", USAGE),
        TO_CHAT("\"content\":\"a\\u00e9b\",\"refusal\":null,\"annotations\":[]", "stop", ",\"usage\":{\"prompt_tokens\":18,\"completion_tokens\":2,\"total_tokens\":20,"
                "\"prompt_tokens_details\":{\"cached_tokens\":10,\"cache_write_tokens\":5}}"));
  whole(M, ANSWER("{\"text\":\"a\"},{\"text\":\"b\"}", "stop_sequence", ",\"additionalModelResponseFields\":{\"stop_sequence\":\"END\"}"),
        TO_MESSAGES("{\"type\":\"text\",\"text\":\"a\",\"citations\":null},{\"type\":\"text\",\"text\":\"b\",\"citations\":null}", "stop_sequence", "\"END\""));
  whole(C, ANSWER(THOUGHT ",{\"text\":\"4\"}", "stop_sequence", ",\"additionalModelResponseFields\":{\"stop_sequence\":\"END\"}"),
        TO_CHAT("\"content\":\"4\",\"refusal\":null,\"reasoning_content\":\"h\\u00e9\",\"annotations\":[],\"weir\":{\"thinking\":[{\"index\":0,\"type\":\"thinking\",\"signature\":\"c2ln\",\"bytes\":3},"
                "{\"index\":1,\"type\":\"redacted_thinking\",\"data\":\"AA\"}],\"stop_reason\":\"stop_sequence\",\"stop_sequence\":\"END\"}", "stop", ""));
  whole(M, ANSWER(THOUGHT ",{\"text\":\"4\"}", "model_context_window_exceeded", ""),
        TO_MESSAGES("{\"type\":\"thinking\",\"thinking\":\"h\\u00e9\",\"signature\":\"c2ln\"},{\"type\":\"redacted_thinking\",\"data\":\"AA\"},{\"type\":\"text\",\"text\":\"4\",\"citations\":null}",
                    "model_context_window_exceeded", "null"));
  whole(M, ANSWER("{\"reasoningContent\":{\"reasoningText\":{\"text\":\"\",\"signature\":\"c2ln\"}}},{\"text\":\"4\"}", "max_tokens", ""),
        TO_MESSAGES("{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"c2ln\"},{\"type\":\"text\",\"text\":\"4\",\"citations\":null}", "max_tokens", "null"));
  whole(C, ANSWER(CALLS, "tool_use", ""),
        TO_CHAT("\"content\":null,\"refusal\":null,\"tool_calls\":[{\"id\":\"t1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\": 12345678901234567890}\"}},"
                "{\"id\":\"t2\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}],\"annotations\":[]", "tool_calls", ""));
  whole(M, ANSWER(CALLS, "tool_use", ""),
        TO_MESSAGES("{\"type\":\"tool_use\",\"id\":\"t1\",\"name\":\"f\",\"input\":{\"a\": 12345678901234567890}},{\"type\":\"tool_use\",\"id\":\"t2\",\"name\":\"g\",\"input\":{}}", "tool_use", "null"));
  whole(M, ANSWER("{\"text\":\"a\"}", "guardrail_intervened", ""), TO_MESSAGES("{\"type\":\"text\",\"text\":\"a\",\"citations\":null}", "refusal", "null"));
  whole(C, ANSWER("{\"citationsContent\":{\"content\":[{\"text\":\"cat\"}],\"citations\":[{\"title\":\"t\",\"location\":{\"web\":{\"url\":\"u\"}}}]}},{\"audio\":{}}", "content_filtered", ""),
        TO_CHAT("\"content\":\"cat\",\"refusal\":null,\"annotations\":[{\"type\":\"url_citation\",\"url_citation\":{\"url\":\"u\",\"title\":\"t\",\"start_index\":0,\"end_index\":3}}],"
                "\"weir\":{\"citations\":[{\"index\":0,\"citation\":{\"url\":\"u\",\"title\":\"t\",\"location\":{\"web\":{\"url\":\"u\"}}}}],\"blocks\":[{\"index\":0,\"block\":{\"audio\":{}}}],"
                "\"stop_reason\":\"content_filtered\"}", "content_filter", ""));
  whole(C, ANSWER("{\"text\":\"a\"}", "malformed_tool_use", ""), NULL);
  whole(M, ANSWER("{\"toolUse\":{\"toolUseId\":\"t\",\"input\":{}}}", "tool_use", ""), NULL);
}

static void facts(void **state) {
  (void)state;
  struct answer_facts f;
  const struct operation_info *o = operation_info(OP_CONVERSE);
  answer_read(o, SPAN(ANSWER("{\"text\":\"a\"}", "end_turn", USAGE ",\"serviceTier\":{\"type\":\"flex\"}")), &f);
  assert_true(f.fault == FAULT_NONE && f.has_usage && f.usage.input == 3 && f.usage.output == 2 && f.usage.cache_read == 10 && f.usage.cache_write == 1 && f.usage.cache_write_1h == 4);
  assert_true(f.usage.tier == TIER_FLEX && span_eq(f.finish, SPAN("end_turn")));
  static const struct { const char *body; enum fault fault; } cases[] = {
    { ANSWER("", "end_turn", ""), FAULT_EMPTY }, { ANSWER("{\"text\":\"\"}", "max_tokens", ""), FAULT_EMPTY }, { ANSWER("", "guardrail_intervened", ""), FAULT_CONTENT_FILTERED },
    { ANSWER("", "model_context_window_exceeded", ""), FAULT_CONTEXT_TOO_LONG }, { ANSWER("", "malformed_model_output", ""), FAULT_INVALID },
    { ANSWER("{\"toolUse\":{\"toolUseId\":\"t\",\"name\":\"f\",\"input\":{}}}", "tool_use", ""), FAULT_NONE }, { "{\"message\":\"no\"}", FAULT_INVALID }, { "{}", FAULT_INVALID }, { "[", FAULT_INVALID },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    answer_read(o, span_cstr(cases[i].body), &f);
    if (f.fault != cases[i].fault) fail_msg("%s: %s", cases[i].body, fault_word(f.fault));
  }
}

/* ---- streams */
/* A line of { "name": { … } } for each event. */
static void add_lines(struct buf *b, struct span lines) {
  while (lines.n) {
    struct span line;
    struct json v, key, payload;
    lines = span_cut(lines, '\n', &line);
    if (!json_read(line, &v, NULL)) continue;
    struct json_iter i = json_iter(v);
    assert_true(json_next(&i, &key, &payload));
    add_event(b, "event", span_of(key.text.p + 1, key.text.n - 2), payload.text);
  }
}

/* The client's stream is legal, the same under every split; gives whether it ended. */
static bool stream_is(enum operation to, struct span stream, struct buf *out, struct usage *usage) {
  struct heard one = hear(OP_CONVERSE, to, stream, SIZE_MAX, &names);
  for (size_t step = 1; step < 80; step += 1 + step / 3) {
    struct heard other = hear(OP_CONVERSE, to, stream, step, &names);
    assert_true(span_eq(buf_span(&one.out), buf_span(&other.out)) && one.fault == other.fault && one.provider == other.provider && one.bad == other.bad);
    buf_free(&other.out);
  }
  struct seen s = legal(to, &one);
  seen_end(&s);
  if (usage) *usage = one.usage;
  *out = one.out;
  return s.ended_at >= 0;
}

static bool holds(const struct buf *b, const char *text) { return span_search(buf_span(b), span_cstr(text)) < buf_size(b); }

static void recordings(void **state) {
  (void)state;
  static const struct { const char *name, *chat, *messages; int64_t input, output; } known[] = {
    { "bedrock/amazon-bedrock-text.chunks.txt", "\"finish_reason\":\"stop\"", "\"stop_reason\":\"end_turn\"", 22, 55 },
    { "bedrock/amazon-bedrock-reasoning.chunks.txt", "\"type\":\"thinking\",\"signature\":\"Ep0C", "\"type\":\"signature_delta\"", -2, -2 },
    { "bedrock/amazon-bedrock-tool-call.1.chunks.txt", "\"id\":\"tool-use-id\"", "\"stop_reason\":\"tool_use\"", 125, 45 },
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    struct buf lines = { 0 }, stream = { 0 }, out;
    struct usage u;
    recording_read(known[i].name, &lines);
    add_lines(&stream, buf_span(&lines));
    assert_true(stream_is(C, buf_span(&stream), &out, &u) && holds(&out, known[i].chat));
    if (known[i].input >= 0) assert_true(u.input == known[i].input && u.output == known[i].output);
    buf_free(&out);
    assert_true(stream_is(M, buf_span(&stream), &out, &u) && holds(&out, known[i].messages));
    buf_free(&out), buf_free(&stream), buf_free(&lines);
  }
}

#define TEXT(t) "{\"contentBlockDelta\":{\"contentBlockIndex\":0,\"delta\":{\"text\":\"" t "\"},\"p\":\"abc\"}}\n"
#define STOPPED "{\"contentBlockStop\":{\"contentBlockIndex\":0}}\n"
#define FINISH "{\"messageStop\":{\"stopReason\":\"end_turn\"}}\n"
#define META "{\"metadata\":{\"usage\":{\"inputTokens\":1,\"outputTokens\":2}}}\n"

static void broken(void **state) {
  (void)state;
  static const char *const unfinished[] = {
    TEXT("a"), TEXT("a") STOPPED, TEXT("a") STOPPED META, TEXT("a") FINISH TEXT("b") META, TEXT("a") FINISH FINISH META,
    "{\"contentBlockDelta\":{\"contentBlockIndex\":1,\"delta\":{\"toolUse\":{\"input\":\"{}\"}}}}\n" FINISH META,
    TEXT("a") "{\"messageStop\":{\"stopReason\":\"malformed_tool_use\"}}\n" META, TEXT("a") "{\"messageStop\":{}}\n" META,
  };
  for (size_t i = 0; i < sizeof unfinished / sizeof *unfinished; i++) {
    struct buf stream = { 0 }, out;
    add_lines(&stream, span_cstr(unfinished[i]));
    if (stream_is(C, buf_span(&stream), &out, NULL)) fail_msg("%s ended: %.*s", unfinished[i], SPAN_FMT(buf_span(&out)));
    buf_free(&out);
    if (stream_is(M, buf_span(&stream), &out, NULL)) fail_msg("%s ended: %.*s", unfinished[i], SPAN_FMT(buf_span(&out)));
    buf_free(&out), buf_free(&stream);
  }
}

/* Cut anywhere, but behind the frame that says why it ended, a stream has no end. */
static void cut_anywhere(void **state) {
  (void)state;
  struct buf stream = { 0 };
  add_lines(&stream, SPAN("{\"messageStart\":{\"role\":\"assistant\"}}\n" TEXT("a") STOPPED FINISH));
  size_t finished = buf_size(&stream);
  add_lines(&stream, SPAN(META));
  for (size_t n = 0; n <= buf_size(&stream); n++) {
    struct heard h = hear(OP_CONVERSE, C, span_of(buf_span(&stream).p, n), SIZE_MAX, &names);
    assert_int_equal(holds(&h.out, "[DONE]"), n == finished || n == buf_size(&stream));
    assert_true(!h.bad && !h.fault && !h.provider);
    buf_free(&h.out);
  }
  buf_free(&stream);
}

/* An unknown event says nothing, nor what is no event at all. */
static void unknown(void **state) {
  (void)state;
  struct buf stream = { 0 }, out;
  add_event(&stream, "event", SPAN("somethingNew"), SPAN("{\"x\":1}"));
  add_event(&stream, "other", SPAN("initial-response"), SPAN(""));
  add_lines(&stream, SPAN(TEXT("a") STOPPED META FINISH));
  assert_true(stream_is(C, buf_span(&stream), &out, NULL) && holds(&out, "[DONE]"));
  buf_free(&out), buf_free(&stream);
  add_lines(&stream, SPAN(TEXT("a") STOPPED FINISH));    /* nor is there a need for metadata */
  assert_true(stream_is(M, buf_span(&stream), &out, NULL) && holds(&out, "message_stop"));
  buf_free(&out);
  stream.end--;
  assert_false(stream_is(M, buf_span(&stream), &out, NULL));
  buf_free(&out), buf_free(&stream);
}

static void exceptions(void **state) {
  (void)state;
  static const struct { const char *type, *payload; enum fault fault; } cases[] = {
    { "throttlingException", "{\"message\":\"slow\"}", FAULT_RATE_LIMITED }, { "ThrottlingException", "{}", FAULT_RATE_LIMITED },
    { "validationException", "{\"message\":\"no\"}", FAULT_BAD_REQUEST }, { "validationException", "{\"message\":\"Input is too long for requested model.\"}", FAULT_CONTEXT_TOO_LONG },
    { "internalServerException", "", FAULT_OVERLOADED }, { "serviceUnavailableException", "oops", FAULT_OVERLOADED }, { "modelTimeoutException", "{}", FAULT_TIMEOUT },
    { "modelStreamErrorException", "{\"message\":\"x\",\"originalStatusCode\":429}", FAULT_RATE_LIMITED }, { "modelStreamErrorException", "{\"originalStatusCode\":500}", FAULT_OVERLOADED },
    { "modelStreamErrorException", "{}", FAULT_OVERLOADED }, { "newException", "{\"Message\":\"x\"}", FAULT_OVERLOADED },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct buf stream = { 0 };
    add_event(&stream, "exception", span_cstr(cases[i].type), span_cstr(cases[i].payload));
    struct heard h = hear(OP_CONVERSE, C, buf_span(&stream), SIZE_MAX, &names);
    if (h.provider != cases[i].fault) fail_msg("%s: %s", cases[i].type, fault_word(h.provider));
    buf_free(&h.out), buf_free(&stream);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_row), cmocka_unit_test(paths), cmocka_unit_test(whole_answers), cmocka_unit_test(facts), cmocka_unit_test(recordings),
    cmocka_unit_test(broken), cmocka_unit_test(cut_anywhere), cmocka_unit_test(unknown), cmocka_unit_test(exceptions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
