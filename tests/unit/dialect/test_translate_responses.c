/* Chat and messages clients at a provider of responses: a case for each row of requests; whole answers and streams, written ones, the
   recordings, and shaken ones; free-text tools and sealed signatures, which are of all dialects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "hear.h"

#define C OP_CHAT
#define M OP_MESSAGES
static const struct row { const char *what; enum operation from; const char *body, *want, *losses; } rows[] = {
#include "translate_responses_rows.h"
};

struct result { bool good; struct buf out; struct translating how; struct arena arena; };

static void ask(enum operation from, enum operation to, const char *rest, struct result *r, const struct translating *with) {
  struct json_member members[128];
  struct json_error e;
  struct buf body = { 0 };
  size_t n;
  *r = (struct result){ 0 };
  if (with) r->how = *with;
  r->how.arena = &r->arena;
  r->how.model = SPAN("m");
  buf_printf(&body, "{\"model\":\"m\",%s}", rest);
  struct span text = arena_copy(&r->arena, buf_span(&body));
  buf_free(&body);
  if (!json_read_object(text, members, 128, &n, &e)) fail_msg("the case is no JSON: %s at %zu in %.*s", e.why, e.at, SPAN_FMT(text));
  r->good = translate_request(operation_info(from), operation_info(to), members, n, &r->how, &r->out);
  if (r->good && !json_read_object(buf_span(&r->out), members, 128, &n, &e)) fail_msg("no JSON came out: %.*s", SPAN_FMT(buf_span(&r->out)));
}

static void result_end(struct result *r) {
  buf_free(&r->out);
  arena_end(&r->arena);
}

static void each_row(void **state) {
  (void)state;
  unsigned wrong = 0;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const struct row *c = &rows[i];
    struct buf want = { 0 };
    struct result r;
    struct translating unknown = { .reasoning = -1 }, strict = { .strict = true, .reasoning = -1 };
    ask(c->from, OP_RESPONSES, c->body, &r, &unknown);
    struct span told = r.good ? r.how.losses : r.how.field;
    if (c->want) buf_printf(&want, "{\"model\":\"m\",%s}", c->want);
    bool same = (c->want != NULL) == r.good && span_eq(buf_span(&r.out), buf_span(&want)) && span_eq(told, span_cstr(c->losses));
    if (!same) print_message("%s:\n  %.*s\n  [%.*s] %.*s\n", c->what, SPAN_FMT(buf_span(&r.out)), SPAN_FMT(told), SPAN_FMT(r.how.why));
    wrong += !same;
    result_end(&r);
    ask(c->from, OP_RESPONSES, c->body, &r, &strict);
    if (c->want && r.good != !*c->losses) print_message("%s: where losses are refused: %d\n", c->what, r.good), wrong++;
    result_end(&r);
    buf_free(&want);
  }
  assert_int_equal(wrong, 0);
}

/* Encrypted reasoning is asked for of models that are known to think; one that is known not to hears nothing of it. */
static void models_that_think(void **state) {
  (void)state;
  struct result r;
  struct translating thinks = { .reasoning = 1 }, never = { .reasoning = 0 };
  ask(C, OP_RESPONSES, "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]", &r, &thinks);
  assert_true(span_search(buf_span(&r.out), SPAN("\"include\":[\"reasoning.encrypted_content\"]")) < buf_size(&r.out));
  result_end(&r);
  ask(M, OP_RESPONSES, "\"max_tokens\":50,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"thinking\":{\"type\":\"disabled\"}", &r, &never);
  assert_true(span_search(buf_span(&r.out), SPAN("reasoning")) == buf_size(&r.out));
  result_end(&r);
}

/* ---- answers */
static const struct span sql[] = { SPAN("sql") };
static struct buf lost;
static const struct translate_names names = { .id = SPAN("req_1"), .model = SPAN("asked"), .created = 7, .usage = true, .customs = sql, .custom_count = 1, .losses = &lost };

static void same(struct span got, const char *want) {
  if (!span_eq(got, span_cstr(want))) fail_msg("\n%.*s\nis not\n%s", SPAN_FMT(got), want);
}

static void whole(enum operation from, enum operation to, const char *body, const char *want, const char *losses) {
  struct buf out = { 0 };
  const char *why = NULL;
  buf_clear(&lost);
  bool good = translate_answer(operation_info(from), operation_info(to), span_cstr(body), &names, &out, &why);
  if (!want) assert_true(!good && why && !buf_size(&out));
  else if (!good) fail_msg("%s", why);
  else same(buf_span(&out), want);
  same(buf_span(&lost), losses);
  struct answer_facts f;
  if (good) answer_read(operation_info(to), buf_span(&out), &f), assert_int_not_equal(f.fault, FAULT_INVALID);
  buf_free(&out);
  buf_free(&lost);
}

#define RESPONSE(output, rest) "{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"completed\",\"model\":\"p\",\"output\":[" output "]" rest "}"
#define INCOMPLETE(output, reason) "{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"" reason "\"},\"model\":\"p\",\"output\":[" output "]}"
#define TEXT(text, more) "{\"type\":\"message\",\"id\":\"msg_1\",\"role\":\"assistant\",\"status\":\"completed\",\"content\":[{\"type\":\"output_text\",\"text\":\"" text "\"" more "}]}"
#define CALL(id, name, arguments) "{\"type\":\"function_call\",\"id\":\"fc_1\",\"call_id\":\"" id "\",\"name\":\"" name "\",\"arguments\":\"" arguments "\"}"
#define CUSTOM(id, name, input) "{\"type\":\"custom_tool_call\",\"id\":\"ct_1\",\"call_id\":\"" id "\",\"name\":\"" name "\",\"input\":\"" input "\"}"
#define CHAT(message, probable, finish, usage) "{\"id\":\"chatcmpl-req_1\",\"object\":\"chat.completion\",\"created\":7,\"model\":\"p\",\"choices\":[{\"index\":0,\"message\":{" \
  "\"role\":\"assistant\"," message "},\"logprobs\":" probable ",\"finish_reason\":\"" finish "\"}]" usage "}"
#define MESSAGE(content, stop, more) "{\"id\":\"msg_req_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"p\",\"content\":[" content "],\"stop_reason\":\"" stop "\",\"stop_sequence\":null," \
  "\"usage\":{\"input_tokens\":0,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":0}" more "}"

static void chat_whole(void **state) {
  (void)state;
  whole(OP_RESPONSES, C, RESPONSE(TEXT("a\\u00e9", ",\"annotations\":[],\"logprobs\":[]"), ",\"usage\":{\"input_tokens\":9,\"input_tokens_details\":{\"cached_tokens\":4},\"output_tokens\":5,"
        "\"output_tokens_details\":{\"reasoning_tokens\":3},\"total_tokens\":14}"),
        CHAT("\"content\":\"a\\u00e9\",\"refusal\":null,\"annotations\":[]", "null", "stop", ",\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5,\"total_tokens\":14,"
             "\"prompt_tokens_details\":{\"cached_tokens\":4},\"completion_tokens_details\":{\"reasoning_tokens\":3}}"), "");
  whole(OP_RESPONSES, C, RESPONSE("{\"type\":\"reasoning\",\"id\":\"rs_1\",\"encrypted_content\":\"gA\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"h\"},{\"type\":\"summary_text\",\"text\":\"m\"}]},"
                                  CALL("call_1", "add", "{\\\"a\\\": 1.0}") "," CALL("call_2", "now", ""), ""),
        CHAT("\"content\":null,\"refusal\":null,\"reasoning_content\":\"h\\n\\nm\",\"tool_calls\":[{\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"add\",\"arguments\":\"{\\\"a\\\": 1.0}\"}},"
             "{\"id\":\"call_2\",\"type\":\"function\",\"function\":{\"name\":\"now\",\"arguments\":\"{}\"}}],\"annotations\":[],\"weir\":{\"thinking\":[{\"index\":0,\"type\":\"thinking\","
             "\"signature\":\"rs_1:gA\",\"bytes\":4}]}", "null", "tool_calls", ""), "");
  whole(OP_RESPONSES, C, RESPONSE(CUSTOM("c1", "sql", "SELECT \\\"a\\\""), ""),
        CHAT("\"content\":null,\"refusal\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":\"custom\",\"custom\":{\"name\":\"sql\",\"input\":\"SELECT \\\"a\\\"\"}}],\"annotations\":[]", "null", "tool_calls", ""), "");
  whole(OP_RESPONSES, C, RESPONSE(TEXT("\\u00e9 ", "") "," TEXT("cat", ",\"annotations\":[{\"type\":\"url_citation\",\"url\":\"u\",\"title\":\"t\",\"start_index\":0,\"end_index\":3},"
                                  "{\"type\":\"file_citation\",\"file_id\":\"f\"}],\"logprobs\":[{\"token\":\"cat\",\"logprob\":-0.10,\"top_logprobs\":[]}]"), ""),
        CHAT("\"content\":\"\\u00e9 cat\",\"refusal\":null,\"annotations\":[{\"type\":\"url_citation\",\"url_citation\":{\"url\":\"u\",\"title\":\"t\",\"start_index\":2,\"end_index\":5}}],"
             "\"weir\":{\"citations\":[{\"index\":0,\"citation\":{\"type\":\"file_citation\",\"file_id\":\"f\"}}]}",
             "{\"content\":[{\"token\":\"cat\",\"logprob\":-0.10,\"top_logprobs\":[]}],\"refusal\":null}", "stop", ""), "");
  whole(OP_RESPONSES, C, INCOMPLETE(TEXT("a", ""), "max_output_tokens"), CHAT("\"content\":\"a\",\"refusal\":null,\"annotations\":[]", "null", "length", ""), "");
  whole(OP_RESPONSES, C, INCOMPLETE(TEXT("a", ""), "content_filter"), CHAT("\"content\":\"a\",\"refusal\":null,\"annotations\":[]", "null", "content_filter", ""), "");
  whole(OP_RESPONSES, C, INCOMPLETE(TEXT("a", ""), "odd"), CHAT("\"content\":\"a\",\"refusal\":null,\"annotations\":[],\"weir\":{\"stop_reason\":\"odd\"}", "null", "stop", ""), "");
  whole(OP_RESPONSES, C, RESPONSE("{\"type\":\"message\",\"phase\":\"final_answer\",\"content\":[{\"type\":\"refusal\",\"refusal\":\"no\"}]},{\"type\":\"web_search_call\",\"id\":\"ws_1\",\"status\":\"completed\"}", ""),
        CHAT("\"content\":\"\",\"refusal\":\"no\",\"annotations\":[],\"weir\":{\"blocks\":[{\"index\":0,\"block\":{\"type\":\"web_search_call\",\"id\":\"ws_1\",\"status\":\"completed\"}}]}", "null", "stop", ""), "phase");
  whole(OP_RESPONSES, C, "{\"status\":\"queued\",\"model\":\"p\",\"output\":[]}", NULL, "");
}

static void messages_whole(void **state) {
  (void)state;
  whole(OP_RESPONSES, M, RESPONSE("{\"type\":\"reasoning\",\"id\":\"rs_1\",\"encrypted_content\":\"gA\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"hm\"}]}," TEXT("a", "") ","
                                  CALL("call:1", "add", "{\\\"a\\\": 1.0}") ",{\"type\":\"reasoning\",\"id\":\"rs_2\",\"encrypted_content\":\"gB\",\"summary\":[]}," CUSTOM("c2", "dig", "a\\\"\\nb"), ""),
        MESSAGE("{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"rs_1:gA\"},{\"type\":\"text\",\"text\":\"a\",\"citations\":null},{\"type\":\"tool_use\",\"id\":\"weirx_63616c6c3a31\",\"name\":\"add\",\"input\":{\"a\": 1.0}},"
                "{\"type\":\"redacted_thinking\",\"data\":\"rs_2:gB\"},{\"type\":\"tool_use\",\"id\":\"c2\",\"name\":\"dig\",\"input\":{\"input\":\"a\\\"\\nb\"}}", "tool_use", ""), "custom");
  whole(OP_RESPONSES, M, RESPONSE(TEXT("a", ",\"annotations\":[{\"type\":\"url_citation\",\"url\":\"u\"}]") ",{\"type\":\"web_search_call\",\"id\":\"ws_1\"}", ""),
        MESSAGE("{\"type\":\"text\",\"text\":\"a\",\"citations\":null}", "end_turn", ",\"weir\":{\"annotations\":[{\"type\":\"url_citation\",\"url\":\"u\"}],\"blocks\":[{\"type\":\"web_search_call\",\"id\":\"ws_1\"}]}"),
        "annotations, tools");
  whole(OP_RESPONSES, M, RESPONSE("{\"type\":\"message\",\"content\":[{\"type\":\"refusal\",\"refusal\":\"no\"}]}", ""), MESSAGE("{\"type\":\"text\",\"text\":\"no\",\"citations\":null}", "refusal", ""), "");
  whole(OP_RESPONSES, M, INCOMPLETE(TEXT("a", ""), "max_output_tokens"), MESSAGE("{\"type\":\"text\",\"text\":\"a\",\"citations\":null}", "max_tokens", ""), "");
  whole(OP_RESPONSES, M, RESPONSE(CALL("a", "f", "{broken"), ""), NULL, "");
}

/* Tools that take free text and went as functions come back as what they are. */
static void free_text(void **state) {
  (void)state;
  struct result r;
  ask(C, M, "\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}},{\"type\":\"custom\",\"custom\":{\"name\":\"sql\"}}]", &r, NULL);
  assert_true(r.good && r.how.custom_count == 1 && span_eq(r.how.customs[0], SPAN("sql")));
  result_end(&r);
  whole(M, C, "{\"model\":\"p\",\"content\":[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"sql\",\"input\":{\"input\":\"SELECT \\\"a\\\"\"}},{\"type\":\"tool_use\",\"id\":\"b\",\"name\":\"sql\",\"input\":{\"q\":1}}],\"stop_reason\":\"tool_use\"}",
        CHAT("\"content\":null,\"refusal\":null,\"tool_calls\":[{\"id\":\"a\",\"type\":\"custom\",\"custom\":{\"name\":\"sql\",\"input\":\"SELECT \\\"a\\\"\"}},"
             "{\"id\":\"b\",\"type\":\"custom\",\"custom\":{\"name\":\"sql\",\"input\":\"{\\\"q\\\":1}\"}}],\"annotations\":[]", "null", "tool_calls", ""), "");
}

/* ---- streams */
static struct span framed(struct buf *b, const char *lines) {
  buf_clear(b);
  stream_frame(OP_RESPONSES, span_cstr(lines), b);
  return buf_span(b);
}

#define CREATED "{\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"status\":\"in_progress\",\"model\":\"p\",\"output\":[]}}\n"
#define ADDED(at, item) "{\"type\":\"response.output_item.added\",\"output_index\":" at ",\"item\":" item "}\n"
#define DONE(at, item) "{\"type\":\"response.output_item.done\",\"output_index\":" at ",\"item\":" item "}\n"
#define DELTA(kind, at, more, text) "{\"type\":\"response." kind ".delta\",\"output_index\":" at "," more "\"delta\":\"" text "\"}\n"
#define END(output, more) "{\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"model\":\"p\",\"output\":[" output "]" more "}}\n"

/* Items that are open at once are told one after the other. */
static const char mixed[] = CREATED
  ADDED("0", "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[]}")
  DELTA("reasoning_summary_text", "0", "\"summary_index\":0,", "h") DELTA("reasoning_summary_text", "0", "\"summary_index\":1,", "m")
  ADDED("1", "{\"type\":\"function_call\",\"id\":\"fc_1\",\"call_id\":\"a\",\"name\":\"f\",\"arguments\":\"\"}")
  DELTA("function_call_arguments", "1", "", "{\\\"x\\\":")
  ADDED("2", "{\"type\":\"message\",\"id\":\"m_1\",\"content\":[]}") DELTA("output_text", "2", "\"content_index\":0,", "so")
  DONE("0", "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"encrypted_content\":\"gA\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"h\"},{\"type\":\"summary_text\",\"text\":\"m\"}]}")
  ADDED("3", "{\"type\":\"function_call\",\"id\":\"fc_2\",\"call_id\":\"b\",\"name\":\"g\",\"arguments\":\"\"}")
  DELTA("function_call_arguments", "1", "", "1}")
  DONE("3", "{\"type\":\"function_call\",\"id\":\"fc_2\",\"call_id\":\"b\",\"name\":\"g\",\"arguments\":\"{}\"}")
  DONE("2", "{\"type\":\"message\",\"id\":\"m_1\",\"content\":[{\"type\":\"output_text\",\"text\":\"so\",\"annotations\":[{\"type\":\"url_citation\",\"url\":\"u\",\"title\":\"t\",\"start_index\":0,\"end_index\":2}]}]}")
  DONE("1", "{\"type\":\"function_call\",\"id\":\"fc_1\",\"call_id\":\"a\",\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1}\"}")
  ADDED("4", "{\"type\":\"web_search_call\",\"id\":\"ws_1\"}") DONE("4", "{\"type\":\"web_search_call\",\"id\":\"ws_1\",\"status\":\"completed\"}")
  END("", ",\"usage\":{\"input_tokens\":3,\"output_tokens\":9,\"total_tokens\":12}");

static bool holds(const struct buf *b, const char *what) { return span_search(buf_span(b), span_cstr(what)) < buf_size(b); }

static void items_at_once(void **state) {
  (void)state;
  struct buf b = { 0 };
  struct span stream = framed(&b, mixed);
  for (int to = 0; to < 2; to++) {
    enum operation client = to ? M : C;
    struct heard h = hear(OP_RESPONSES, client, stream, 1, &names);
    if (h.fault || h.provider) fail_msg("%s", h.why);
    struct seen s = legal(client, &h);
    same(buf_span(&s.thinking), "h\n\nm");
    same(buf_span(&s.text), "so");
    same(buf_span(&s.arguments), "{\"x\":1}{}");
    same(buf_span(&s.names), "f g");
    assert_int_equal(s.terminators, 1);
    assert_int_equal(s.usage.output, 9);
    assert_true(holds(&h.out, to ? "\"type\":\"signature_delta\",\"signature\":\"rs_1:gA\"" : "\"signature\":\"rs_1:gA\",\"bytes\":4"));
    assert_true(holds(&h.out, to ? "\"weir\":{\"annotations\":[{\"type\":\"url_citation\"" : "\"annotations\":[{\"type\":\"url_citation\",\"url_citation\":{\"url\":\"u\",\"title\":\"t\",\"start_index\":0,\"end_index\":2}}]"));
    assert_true(holds(&h.out, "\"type\":\"web_search_call\""));
    assert_true(holds(&h.out, to ? "\"stop_reason\":\"tool_use\"" : "\"finish_reason\":\"tool_calls\""));
    same(buf_span(&lost), to ? "annotations, tools" : "");
    buf_clear(&lost);
    seen_end(&s);
    buf_free(&h.out);
  }
  buf_free(&lost);
  buf_free(&b);
}

/* What only the ends of parts and items tell, or the response alone, is said too, and nothing twice. */
static void told_late(void **state) {
  (void)state;
  static const char *const streams[] = {
    CREATED ADDED("0", "{\"type\":\"message\",\"content\":[]}") "{\"type\":\"response.output_text.done\",\"output_index\":0,\"content_index\":0,\"text\":\"so\"}\n"
      DONE("0", "{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"so\"}]}") END("{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"so\"}]}", ""),
    CREATED ADDED("0", "{\"type\":\"message\",\"content\":[]}") DONE("0", "{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"so\"}]}") END("", ""),
    CREATED END("{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"so\"}]}", ""),
    CREATED ADDED("0", "{\"type\":\"message\",\"content\":[]}") DELTA("output_text", "0", "\"content_index\":0,", "so") END("{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"so\"}]}", ""),
  };
  struct buf b = { 0 };
  for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
    struct heard h = hear(OP_RESPONSES, C, framed(&b, streams[i]), 4096, &names);
    struct seen s = legal(C, &h);
    if (h.fault || s.terminators != 1 || !span_eq(buf_span(&s.text), SPAN("so"))) fail_msg("%zu: %.*s", i, SPAN_FMT(buf_span(&h.out)));
    seen_end(&s);
    buf_free(&h.out);
  }
  buf_free(&b);
}

/* Free text in pieces: as it is for chat, in { "input": … } for messages; and out of it again. */
static void free_text_streams(void **state) {
  (void)state;
  struct buf b = { 0 };
  static const char lines[] = CREATED ADDED("0", "{\"type\":\"custom_tool_call\",\"id\":\"ct\",\"call_id\":\"c\",\"name\":\"sql\",\"input\":\"\"}")
    DELTA("custom_tool_call_input", "0", "", "a\\\"") DELTA("custom_tool_call_input", "0", "", "\\n\\u00e9")
    DONE("0", "{\"type\":\"custom_tool_call\",\"id\":\"ct\",\"call_id\":\"c\",\"name\":\"sql\",\"input\":\"a\\\"\\n\\u00e9\"}") END("", "");
  struct heard h = hear(OP_RESPONSES, C, framed(&b, lines), 7, &names);
  assert_true(holds(&h.out, "\"type\":\"custom\",\"custom\":{\"name\":\"sql\",\"input\":\"\"}") && holds(&h.out, "\"custom\":{\"input\":\"\\n\\u00e9\"}"));
  buf_free(&h.out);
  h = hear(OP_RESPONSES, M, buf_span(&b), 7, &names);
  struct seen s = legal(M, &h);
  same(buf_span(&s.arguments), "{\"input\":\"a\\\"\\n\\u00e9\"}");
  same(buf_span(&lost), "custom");
  struct heard back = hear(M, C, buf_span(&h.out), 5, &names);
  assert_true(!back.fault && holds(&back.out, "\"type\":\"custom\",\"custom\":{\"name\":\"sql\",\"input\":\"\"}") && holds(&back.out, "\"custom\":{\"input\":\"a\\\"\\n\\u00e9\"}"));
  seen_end(&s);
  buf_free(&back.out);
  buf_free(&h.out);
  buf_free(&lost);
  buf_free(&b);
}

/* ---- sealed signatures: they go home to who made them, as they were */
static void sealed(void **state) {
  (void)state;
  struct translate_names from = names;
  from.provider = SPAN("lab");
  struct buf out = { 0 }, rest = { 0 };
  const char *why;
  assert_true(translate_answer(operation_info(OP_RESPONSES), operation_info(M), SPAN(RESPONSE("{\"type\":\"reasoning\",\"id\":\"rs_1\",\"encrypted_content\":\"g\\/A\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"h\\u00e9\"}]}," TEXT("a", ""), "")),
                               &from, &out, &why));
  struct json document, signature;
  assert_true(json_read(buf_span(&out), &document, NULL));
  signature = json_at(document, "content.0.signature");
  assert_true(span_starts(signature.text, SPAN("\"weir1:lab:")));
  static const struct { const char *provider, *thinking; int changed; bool home; } tries[] = {
    { "lab", "hé", 0, true }, { "other", "hé", 0, false }, { "lab", "he", 0, false }, { "lab", "hé", 1, false }, { "lab", "hé", 2, false },
  };
  for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
    struct translating how = { .provider = span_cstr(tries[i].provider), .reasoning = -1 };
    struct result r;
    struct span sign = tries[i].changed == 2 ? SPAN("\"rs_1:g/A\"") : signature.text;
    buf_clear(&rest);
    buf_printf(&rest, "\"max_tokens\":50,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"%s\",\"signature\":%.*s%s\"},"
               "{\"type\":\"text\",\"text\":\"a\"}]},{\"role\":\"user\",\"content\":\"hi\"}]", tries[i].thinking, (int)sign.n - 1, sign.p, tries[i].changed == 1 ? "x" : "");
    buf_byte(&rest, 0);
    ask(M, OP_RESPONSES, rest.p + rest.at, &r, &how);
    bool home = holds(&r.out, "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"hé\"}],\"encrypted_content\":\"g/A\"}");
    if (home != tries[i].home || !r.good || span_eq(r.how.losses, SPAN("thinking")) == home) fail_msg("%zu: %.*s [%.*s]", i, SPAN_FMT(buf_span(&r.out)), SPAN_FMT(r.how.losses));
    result_end(&r);
  }
  buf_free(&rest);
  buf_free(&out);
}

/* ---- recordings */
static const char *const recordings[] = { "openai-responses/azure-tool-call.1.chunks.txt", "openai-responses/openai-custom-tool.1.chunks.txt",
                                          "openai-responses/openai-phase.1.chunks.txt", "openai-responses/openai-error.1.chunks.txt" };
enum { RECORDINGS = sizeof recordings / sizeof *recordings };

static void recording(size_t i, struct buf *out) {
  struct buf lines = { 0 };
  recording_read(recordings[i], &lines);
  stream_frame(OP_RESPONSES, buf_span(&lines), out);
  buf_free(&lines);
}

static void recorded(void **state) {
  (void)state;
  for (size_t i = 0; i < 2 * RECORDINGS; i++) {
    struct buf stream = { 0 };
    enum operation to = i % 2 ? M : C;
    bool broken = strstr(recordings[i / 2], "error"), custom = strstr(recordings[i / 2], "custom");
    recording(i / 2, &stream);
    struct seen before = stream_read(OP_RESPONSES, buf_span(&stream));
    struct heard first = hear(OP_RESPONSES, to, buf_span(&stream), 1, &names);
    if (first.fault || !first.provider == broken) fail_msg("%s: %s", recordings[i / 2], first.why);
    struct seen s = legal(to, &first);
    assert_int_equal(s.terminators, !broken);
    assert_true(span_eq(buf_span(&s.text), buf_span(&before.text)));
    assert_true(span_eq(buf_span(&s.names), buf_span(&before.names)));
    if (!custom) assert_true(span_eq(buf_span(&s.arguments), buf_span(&before.arguments)));
    if (!broken) assert_int_equal(s.usage.output, before.usage.output);
    for (size_t step = 2; step <= buf_size(&stream); step = step < 80 ? step + 1 : step * 3) {
      struct heard h = hear(OP_RESPONSES, to, buf_span(&stream), step, &names);
      assert_true(span_eq(buf_span(&h.out), buf_span(&first.out)));
      buf_free(&h.out);
    }
    seen_end(&s), seen_end(&before);
    buf_free(&first.out);
    buf_free(&stream);
  }
  buf_free(&lost);
}

/* Whatever comes and in whatever order, what goes out is in order. */
static uint64_t seed = 88172645463325252ull;
static unsigned chance(unsigned n) {
  seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
  return (unsigned)(seed % n);
}

static void shaken(void **state) {
  (void)state;
  struct buf all = { 0 };
  for (int round = 0; round < 2000; round++) {
    struct span parts[64], left;
    struct buf other = { 0 };
    size_t n = 0;
    for (left = framed(&all, mixed); left.n && n < 64; n++) {
      size_t end = span_search(left, SPAN("\n\n")) + 2;
      parts[n] = span_of(left.p, end);
      left = span_from(left, end);
    }
    for (unsigned k = 1 + chance(4); k; k--) {
      size_t a = chance((unsigned)n), b = chance((unsigned)n);
      struct span keep_ = parts[a];
      if (chance(2)) parts[a] = parts[b];
      if (chance(2)) parts[b] = keep_;
      if (!chance(4)) parts[a].n = 0;
    }
    for (size_t i = 0; i < n; i++) buf_add(&other, parts[i]);
    for (int to = 0; to < 2; to++) {
      struct heard h = hear(OP_RESPONSES, to ? M : C, buf_span(&other), 4096, &names);
      struct seen s = legal(to ? M : C, &h);
      seen_end(&s);
      buf_free(&h.out);
    }
    buf_free(&other);
  }
  buf_free(&all);
  buf_free(&lost);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_row), cmocka_unit_test(models_that_think), cmocka_unit_test(chat_whole), cmocka_unit_test(messages_whole), cmocka_unit_test(free_text),
    cmocka_unit_test(items_at_once), cmocka_unit_test(told_late), cmocka_unit_test(free_text_streams), cmocka_unit_test(sealed), cmocka_unit_test(recorded), cmocka_unit_test(shaken),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
