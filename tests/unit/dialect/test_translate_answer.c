/* Answers from one dialect to another: written ones, the recordings, and streams that were shaken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "hear.h"

static const struct translate_names names = { .id = SPAN("req_1"), .model = SPAN("asked"), .created = 7, .usage = true };
static const struct operation_info *other(enum operation o) { return operation_info(o == OP_CHAT ? OP_MESSAGES : OP_CHAT); }

static int64_t usage_input_total_of(const struct usage *u) {
  const int64_t counts[] = { u->input, u->cache_read, u->cache_write, u->cache_write_1h };
  int64_t n = 0;
  for (int i = 0; i < 4; i++) n += counts[i] > 0 ? counts[i] : 0;
  return n;
}

static void same(const struct buf *b, const char *want) {
  if (!span_eq(buf_span(b), span_cstr(want))) fail_msg("\n%.*s\nis not\n%s", SPAN_FMT(buf_span(b)), want);
}

/* ---- whole answers */
static void whole(enum operation from, const char *body, const char *want) {
  struct buf out = { 0 };
  const char *why = NULL;
  bool good = translate_answer(operation_info(from), other(from), span_cstr(body), &names, &out, &why);
  if (!want) assert_true(!good && why && !buf_size(&out));
  else if (!good) fail_msg("%s", why);
  else same(&out, want);
  struct answer_facts f;
  if (good) answer_read(other(from), buf_span(&out), &f), assert_int_not_equal(f.fault, FAULT_INVALID);
  buf_free(&out);
}

#define CHAT(message, finish, usage) "{\"id\":\"chatcmpl-req_1\",\"object\":\"chat.completion\",\"created\":7,\"model\":\"c\",\"choices\":[{\"index\":0,\"message\":{" \
  "\"role\":\"assistant\"," message "},\"logprobs\":null,\"finish_reason\":\"" finish "\"}]" usage "}"
#define MESSAGE(content, rest) "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"c\",\"content\":[" content "]," rest "}"
#define NO_USAGE ",\"usage\":{\"input_tokens\":0,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":0}}"
#define TOLD(content, stop) "{\"id\":\"msg_req_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"c\",\"content\":[" content "],\"stop_reason\":\"" stop "\",\"stop_sequence\":null"

static void messages_whole(void **state) {
  (void)state;
  whole(OP_MESSAGES, MESSAGE("{\"type\":\"text\",\"text\":\"a\\u00e9\"},{\"type\":\"text\",\"text\":\"b\"}", "\"stop_reason\":\"end_turn\",\"usage\":{\"input_tokens\":3,"
        "\"cache_read_input_tokens\":10,\"cache_creation_input_tokens\":5,\"output_tokens\":2}"),
        CHAT("\"content\":\"a\\u00e9b\",\"refusal\":null,\"annotations\":[]", "stop", ",\"usage\":{\"prompt_tokens\":18,\"completion_tokens\":2,\"total_tokens\":20,"
             "\"prompt_tokens_details\":{\"cached_tokens\":10,\"cache_write_tokens\":5}}"));
  whole(OP_MESSAGES, MESSAGE("{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{\"a\": 12345678901234567890}},{\"type\":\"tool_use\",\"id\":\"toolu_2\",\"name\":\"g\",\"input\":{}}",
                             "\"stop_reason\":\"tool_use\""),
        CHAT("\"content\":null,\"refusal\":null,\"tool_calls\":[{\"id\":\"toolu_1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\": 12345678901234567890}\"}},"
             "{\"id\":\"toolu_2\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}],\"annotations\":[]", "tool_calls", ""));
  whole(OP_MESSAGES, MESSAGE("{\"type\":\"thinking\",\"thinking\":\"h\\u00e9\",\"signature\":\"c2ln\"},{\"type\":\"redacted_thinking\",\"data\":\"AA\"},{\"type\":\"text\",\"text\":\"4\"}",
                             "\"stop_reason\":\"stop_sequence\",\"stop_sequence\":\"END\""),
        CHAT("\"content\":\"4\",\"refusal\":null,\"reasoning_content\":\"h\\u00e9\",\"annotations\":[],\"weir\":{\"thinking\":[{\"index\":0,\"type\":\"thinking\",\"signature\":\"c2ln\",\"bytes\":3},"
             "{\"index\":1,\"type\":\"redacted_thinking\",\"data\":\"AA\"}],\"stop_reason\":\"stop_sequence\",\"stop_sequence\":\"END\"}", "stop", ""));
  whole(OP_MESSAGES, MESSAGE("{\"type\":\"text\",\"text\":\"\\u00e9 \"},{\"type\":\"text\",\"text\":\"cat\",\"citations\":[{\"type\":\"web_search_result_location\",\"url\":\"u\",\"title\":null,\"cited_text\":\"x\"}]}",
                             "\"stop_reason\":\"refusal\",\"stop_details\":{\"type\":\"refusal\",\"category\":null}"),
        CHAT("\"content\":\"\\u00e9 cat\",\"refusal\":null,\"annotations\":[{\"type\":\"url_citation\",\"url_citation\":{\"url\":\"u\",\"title\":\"\",\"start_index\":2,\"end_index\":5}}],"
             "\"weir\":{\"citations\":[{\"index\":0,\"citation\":{\"type\":\"web_search_result_location\",\"url\":\"u\",\"title\":null,\"cited_text\":\"x\"}}],\"stop_reason\":\"refusal\","
             "\"stop_details\":{\"type\":\"refusal\",\"category\":null}}", "content_filter", ""));
  whole(OP_MESSAGES, MESSAGE("{\"type\":\"web_fetch_tool_result\",\"content\":1}", "\"stop_reason\":\"pause_turn\""),
        CHAT("\"content\":\"\",\"refusal\":null,\"annotations\":[],\"weir\":{\"blocks\":[{\"index\":0,\"block\":{\"type\":\"web_fetch_tool_result\",\"content\":1}}],\"stop_reason\":\"pause_turn\"}", "stop", ""));
}

#define SAYS(message, finish) "{\"id\":\"x\",\"model\":\"c\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\"," message "},\"finish_reason\":\"" finish "\"}]}"
static void chat_whole(void **state) {
  (void)state;
  whole(OP_CHAT, SAYS("\"content\":\"a\\ud83d\\ude00\"", "stop"), TOLD("{\"type\":\"text\",\"text\":\"a\\ud83d\\ude00\",\"citations\":null}", "end_turn") NO_USAGE);
  whole(OP_CHAT, SAYS("\"content\":null,\"tool_calls\":[{\"id\":\"f:0\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}},"
                      "{\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\" {\\\"a\\\":1.0}\"}}]", "stop"),
        TOLD("{\"type\":\"tool_use\",\"id\":\"weirx_663a30\",\"name\":\"f\",\"input\":{}},{\"type\":\"tool_use\",\"id\":\"b\",\"name\":\"g\",\"input\": {\"a\":1.0}}", "tool_use") NO_USAGE);
  whole(OP_CHAT, SAYS("\"content\":\"4\",\"reasoning_content\":\"hm\"", "length"),
        TOLD("{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"\"},{\"type\":\"text\",\"text\":\"4\",\"citations\":null}", "max_tokens") NO_USAGE);
  whole(OP_CHAT, SAYS("\"content\":null,\"refusal\":\"no\"", "stop"), TOLD("{\"type\":\"text\",\"text\":\"no\",\"citations\":null}", "refusal") NO_USAGE);
  whole(OP_CHAT, SAYS("\"content\":\"\"", "content_filter"), TOLD("", "refusal") NO_USAGE);
  whole(OP_CHAT, SAYS("\"content\":\"a\"", "odd"), TOLD("{\"type\":\"text\",\"text\":\"a\",\"citations\":null}", "end_turn") NO_USAGE);
  whole(OP_CHAT, SAYS("\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{broken\"}}]", "tool_calls"), NULL);
  whole(OP_CHAT, SAYS("\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"[1]\"}}]", "tool_calls"), NULL);
  whole(OP_CHAT, "[]", NULL);
}

/* ---- streams */
static enum operation client_of(enum operation from) { return other(from)->operation; }
static struct heard listen(enum operation from, struct span stream, size_t step) { return hear(from, client_of(from), stream, step, &names); }

static struct heard stream(enum operation from, const char *lines) {
  struct buf framed = { 0 };
  stream_frame(from, span_cstr(lines), &framed);
  struct heard h = listen(from, buf_span(&framed), framed.end);
  buf_free(&framed);
  return h;
}

#define CHUNK(delta) "{\"model\":\"c\",\"choices\":[{\"index\":0,\"delta\":{" delta "},\"finish_reason\":null}]}\n"
#define PIECE(i, start, text) CHUNK("\"tool_calls\":[{\"index\":" #i "," start "\"function\":{" text "}}]")
#define ENDS(word) "{\"model\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"" word "\"}]}\n"

/* Calls that are mixed come one behind the other, whole, in the order in which they began. */
static void mixed_calls(void **state) {
  (void)state;
  struct heard h = stream(OP_CHAT, CHUNK("\"role\":\"assistant\",\"content\":\"\"") CHUNK("\"content\":\"so\"") PIECE(0, "\"id\":\"a\",", "\"name\":\"f\",\"arguments\":\"\"")
    PIECE(1, "\"id\":\"b\",", "\"name\":\"g\",\"arguments\":\"{\\\"x\\\"\"") PIECE(0, "", "\"arguments\":\"{\\\"y\\\":\"") PIECE(1, "", "\"arguments\":\":2}\"")
    PIECE(0, "", "\"arguments\":\"1}\"") PIECE(2, "\"id\":\"\",", "\"name\":\"h\"") ENDS("tool_calls")
    "{\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":7,\"total_tokens\":16,\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n");
  assert_false(h.fault || h.provider);
  struct seen s = legal(client_of(OP_CHAT), &h);
  same(&s.text, "so");
  same(&s.arguments, "{\"y\":1}{\"x\":2}");
  same(&s.names, "f g h");
  assert_string_equal(s.finish, "tool_use");
  assert_int_equal(s.usage.input, 5);
  assert_int_equal(s.usage.cache_read, 4);
  assert_int_equal(s.usage.output, 7);
  assert_int_equal(s.terminators, 1);
  seen_end(&s);
  buf_free(&h.out);
}

static void faults(void **state) {
  (void)state;
  static const struct { enum operation from; const char *lines; enum fault fault; } cases[] = {
    { OP_CHAT, CHUNK("\"content\":\"a\""), FAULT_PROTOCOL },                                      /* [DONE] without a finish */
    { OP_CHAT, CHUNK("\"content\":\"a\"") ENDS("stop") CHUNK("\"content\":\"b\""), FAULT_PROTOCOL },
    { OP_CHAT, PIECE(0, "\"id\":\"a\",", "\"name\":\"f\",\"arguments\":\"{br\"") ENDS("tool_calls"), FAULT_INVALID },
    { OP_CHAT, PIECE(0, "\"id\":\"a\",", "\"name\":\"f\",\"arguments\":\"{br\"") CHUNK("\"content\":\"b\"") ENDS("stop"), FAULT_INVALID },
    { OP_CHAT, PIECE(0, "\"id\":\"a\",", "\"name\":\"f\",\"arguments\":\"{br\"") ENDS("length"), FAULT_NONE },
    { OP_CHAT, PIECE(0, "", "\"arguments\":\"{}\"") ENDS("tool_calls"), FAULT_PROTOCOL },
    { OP_CHAT, PIECE(0, "\"id\":\"a\",", "\"arguments\":\"{}\"") ENDS("tool_calls"), FAULT_INVALID },   /* never a name */
    { OP_CHAT, PIECE(0, "\"id\":\"a\",", "\"name\":\"f\"") PIECE(0, "\"id\":\"b\",", "\"name\":\"g\",\"arguments\":\"{}\"") ENDS("tool_calls"), FAULT_NONE },
    { OP_MESSAGES, "{\"type\":\"message_start\",\"message\":{\"model\":\"c\"}}\n{\"type\":\"message_stop\"}\n", FAULT_PROTOCOL },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct heard h = stream(cases[i].from, cases[i].lines);
    if (h.fault != cases[i].fault || h.provider) fail_msg("%zu: %s (%s)", i, fault_word(h.fault), h.why);
    struct seen s = legal(client_of(cases[i].from), &h);
    assert_int_equal(s.ended_at >= 0, !h.fault);
    seen_end(&s);
    buf_free(&h.out);
  }
}

/* A thinking block and a call without arguments, as chat clients get them, byte for byte. */
static void chunks(void **state) {
  (void)state;
  struct heard h = stream(OP_MESSAGES, "{\"type\":\"message_start\",\"message\":{\"model\":\"c\",\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n"
    "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n"
    "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}}\n"
    "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"c2ln\"}}\n"
    "{\"type\":\"content_block_stop\",\"index\":0}\n"
    "{\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{}}}\n"
    "{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"\"}}\n"
    "{\"type\":\"ping\"}\n"
    "{\"type\":\"content_block_stop\",\"index\":1}\n"
    "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":9}}\n{\"type\":\"message_stop\"}\n");
#define HEAD "data: {\"id\":\"chatcmpl-req_1\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"c\",\"choices\":["
#define DELTA(d, f) HEAD "{\"index\":0,\"delta\":{" d "},\"logprobs\":null,\"finish_reason\":" f "}],\"usage\":null}\n\n"
  same(&h.out, DELTA("\"role\":\"assistant\",\"content\":\"\"", "null") DELTA("\"reasoning_content\":\"hm\"", "null")
       DELTA("\"weir\":{\"thinking\":[{\"index\":0,\"type\":\"thinking\",\"signature\":\"c2ln\",\"bytes\":2}]}", "null")
       DELTA("\"tool_calls\":[{\"index\":0,\"id\":\"toolu_1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]", "null") ": ping\n\n"
       DELTA("\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}]", "null") DELTA("", "\"tool_calls\"")
       HEAD "],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":9,\"total_tokens\":12,\"prompt_tokens_details\":{\"cached_tokens\":0}}}\n\ndata: [DONE]\n\n");
  buf_free(&h.out);
}

/* ---- recordings */
static const struct { const char *path; enum operation op; } recordings[] = {
  { "openai-chat/openai-text.chunks.txt", OP_CHAT }, { "azure/azure-model-router.1.chunks.txt", OP_CHAT }, { "mistral/mistral-text.chunks.txt", OP_CHAT },
  { "mistral/mistral-reasoning.chunks.txt", OP_CHAT }, { "deepseek/deepseek-tool-call.chunks.txt", OP_CHAT }, { "qwen/alibaba-tool-call.chunks.txt", OP_CHAT },
  { "groq/groq-tool-call.chunks.txt", OP_CHAT }, { "xai/xai-tool-call.chunks.txt", OP_CHAT }, { "anthropic/anthropic-text.chunks.txt", OP_MESSAGES },
  { "anthropic/anthropic-json-other-tool.1.chunks.txt", OP_MESSAGES }, { "anthropic/anthropic-tool-no-args.chunks.txt", OP_MESSAGES },
  { "anthropic/anthropic-clear-thinking.1.chunks.txt", OP_MESSAGES }, { "anthropic/anthropic-web-search-tool.1.chunks.txt", OP_MESSAGES },
  { "anthropic/anthropic-refusal.chunks.txt", OP_MESSAGES },
};
enum { RECORDINGS = sizeof recordings / sizeof *recordings };

static void recording(size_t i, struct buf *framed) {
  struct buf lines = { 0 };
  recording_read(recordings[i].path, &lines);
  stream_frame(recordings[i].op, buf_span(&lines), framed);
  buf_free(&lines);
}

static void recorded(void **state) {
  (void)state;
  for (size_t i = 0; i < RECORDINGS; i++) {
    struct buf framed = { 0 };
    enum operation op = recordings[i].op;
    recording(i, &framed);
    struct seen before = stream_read(op, buf_span(&framed));
    struct heard first = listen(op, buf_span(&framed), 1);
    if (first.fault || first.provider) fail_msg("%s: %s", recordings[i].path, first.why);
    struct seen s = legal(client_of(op), &first);
    assert_int_equal(s.terminators, 1);
    assert_int_equal(s.finishes, 1);
    assert_true(span_eq(buf_span(&s.text), buf_span(&before.text)));
    assert_true(span_eq(buf_span(&s.thinking), buf_span(&before.thinking)));
    bool hosted = strstr(recordings[i].path, "web-search") != NULL;      /* its calls are the provider's own business */
    if (!hosted) assert_true(span_eq(buf_span(&s.names), buf_span(&before.names)));
    if (!hosted && buf_size(&before.arguments)) assert_true(span_eq(buf_span(&s.arguments), buf_span(&before.arguments)));
    if (buf_size(&before.names) && !buf_size(&before.arguments) && op == OP_MESSAGES) same(&s.arguments, "{}");
    assert_int_equal(usage_input_total_of(&s.usage), usage_input_total_of(&before.usage));
    assert_int_equal(s.usage.output, before.usage.output);
    for (size_t step = 2; step <= buf_size(&framed); step = step < 80 ? step + 1 : step * 3) {
      struct heard h = listen(op, buf_span(&framed), step);
      assert_true(span_eq(buf_span(&h.out), buf_span(&first.out)));
      buf_free(&h.out);
    }
    seen_end(&s), seen_end(&before);
    buf_free(&first.out);
    buf_free(&framed);
  }
}

/* Events left out, doubled, swapped, and bytes turned over. */
static uint64_t seed = 88172645463325252ull;
static unsigned chance(unsigned n) {
  seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
  return (unsigned)(seed >> 11) % n;
}

static void shake(struct span whole, struct buf *out) {
  struct span parts[512], left = whole;
  size_t n = 0;
  while (left.n && n < 512) {
    size_t at = span_search(left, SPAN("\n\n"));
    size_t used = at < left.n ? at + 2 : left.n;
    parts[n++] = span_of(left.p, used);
    left = span_from(left, used);
  }
  for (unsigned k = 1 + chance(3); k && n > 2; k--) {
    size_t a = chance((unsigned)n), b = chance((unsigned)n);
    struct span keep = parts[a];
    if (chance(2)) parts[a] = parts[b];
    if (chance(2)) parts[b] = keep;
    if (!chance(4)) parts[a].n = 0;
  }
  for (size_t i = 0; i < n; i++) buf_add(out, parts[i]);
  if (!chance(3) && buf_size(out)) out->p[out->at + chance((unsigned)buf_size(out))] = "{}[]\",:0nt\\"[chance(11)];
}

static void shaken(void **state) {
  (void)state;
  for (size_t i = 0; i < RECORDINGS; i++) {
    struct buf framed = { 0 };
    recording(i, &framed);
    for (int k = 0; k < 200; k++) {
      struct buf other_way = { 0 };
      shake(buf_span(&framed), &other_way);
      struct heard h = listen(recordings[i].op, buf_span(&other_way), 4096);
      struct seen s = legal(client_of(recordings[i].op), &h);
      seen_end(&s);
      buf_free(&h.out);
      buf_free(&other_way);
    }
    buf_free(&framed);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(messages_whole), cmocka_unit_test(chat_whole), cmocka_unit_test(mixed_calls), cmocka_unit_test(faults),
    cmocka_unit_test(chunks), cmocka_unit_test(recorded), cmocka_unit_test(shaken),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
