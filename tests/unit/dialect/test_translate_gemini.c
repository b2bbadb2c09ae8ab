/* Gemini among the other dialects: requests, a case for each row of what both can say or only one of them; answers and streams. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "hear.h"

/* ---- requests */
struct row {
  const char *what;
  enum operation from, to;
  const char *model;                  /* as the provider knows it */
  const char *body;                   /* without its brackets, and without the model */
  const char *want;                   /* likewise; NULL: refused */
  const char *losses;                 /* or, of a refusal, the field */
};
#define C OP_CHAT
#define M OP_MESSAGES
#define G OP_GENERATE
#define THREE "gemini-3-flash"
#define U "{\"role\":\"user\",\"content\":\"hi\"}"
#define CU "\"messages\":[" U "]"
#define MU "\"max_tokens\":5,\"messages\":[" U "]"
#define GU "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}]"
#define TALK(parts) "\"messages\":[{\"role\":\"user\",\"content\":[" parts "]}]"
#define SAYS(parts) "\"contents\":[{\"role\":\"user\",\"parts\":[" parts "]}]"
#define GMORE(config) GU ",\"generationConfig\":{" config "}"
#define GTOOLS(list) GU ",\"tools\":[{\"functionDeclarations\":[" list "]}]"
#define GTALK(content, behind) "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]},{\"role\":\"model\",\"parts\":[" content "]},{\"role\":\"user\",\"parts\":[" behind "]}]"
#define CONFIG(c) ",\"generationConfig\":{" c "}"
#define CALL(id, name, arguments) "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"" name "\",\"arguments\":\"" arguments "\"}}"
#define STAND_IN ",\"thoughtSignature\":\"c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=\""
#define TOOL ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"additionalProperties\":false}}}]"
#define DECLARED ",\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"parametersJsonSchema\":{\"type\":\"object\",\"additionalProperties\":false}}]}]"
#define MODE(m) ",\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"" m "\"}}"

static const struct row rows[] = {
#include "translate_gemini_rows.h"
};

struct result { bool good; struct buf out; struct translating how; struct arena arena; };

static void translate(const struct row *c, const char *rest, struct result *r, const struct translating *with) {
  struct json_member members[128];
  struct json_error e;
  struct buf body = { 0 };
  size_t n = 0;
  *r = (struct result){ 0 };
  if (with) r->how = *with;
  r->how.arena = &r->arena;
  r->how.model = span_cstr(c->model ? c->model : "m");
  buf_printf(&body, "{%s}", rest);
  struct span text = arena_copy(&r->arena, buf_span(&body));
  buf_free(&body);
  if (!json_read_object(text, members, 128, &n, &e)) fail_msg("%s: the case is no JSON: %s at %zu in %.*s", c->what, e.why, e.at, SPAN_FMT(text));
  r->good = translate_request(operation_info(c->from), operation_info(c->to), members, n, &r->how, &r->out);
  if (r->good && !json_read_object(buf_span(&r->out), members, 128, &n, &e)) fail_msg("%s: no JSON came out: %.*s", c->what, SPAN_FMT(buf_span(&r->out)));
  if (!r->good) assert_true(buf_size(&r->out) == 0 && r->how.why.n);
}

static void result_end(struct result *r) {
  buf_free(&r->out);
  arena_end(&r->arena);
}

/* What is a loss is refused where losses are, and let through where a policy allows it. */
static unsigned strictly(const struct row *c) {
  struct result r;
  struct translating strict = { .strict = true };
  struct span words[8], left = span_cstr(c->losses), one;
  unsigned wrong = 0;
  translate(c, c->body, &r, &strict);
  if (r.good) print_message("%s: passes where losses are refused\n", c->what), wrong++;
  result_end(&r);
  strict.allowed = words;
  while (left.n && strict.allowed_count < 8) left = span_cut(left, ',', &one), words[strict.allowed_count++] = span_trim(one);
  translate(c, c->body, &r, &strict);
  if (!r.good || !span_eq(r.how.losses, span_cstr(c->losses))) print_message("%s: refused although allowed: %.*s\n", c->what, SPAN_FMT(r.how.why)), wrong++;
  result_end(&r);
  return wrong;
}

static void each_row(void **state) {
  (void)state;
  unsigned wrong = 0;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const struct row *c = &rows[i];
    struct buf want = { 0 };
    struct result r;
    translate(c, c->body, &r, NULL);
    struct span told = r.good ? r.how.losses : r.how.field;
    if (c->want) buf_printf(&want, c->to == G ? "{%s}" : "{\"model\":\"m\",%s}", c->want);
    bool same = (c->want != NULL) == r.good && span_eq(buf_span(&r.out), buf_span(&want)) && span_eq(told, span_cstr(c->losses));
    if (!same) print_message("%s:\n  {%s}\n  %.*s\n  %.*s\n  [%.*s] %.*s\n", c->what, c->body, SPAN_FMT(buf_span(&want)), SPAN_FMT(buf_span(&r.out)), SPAN_FMT(told), SPAN_FMT(r.how.why));
    wrong += !same;
    result_end(&r);
    if (c->want && *c->losses) wrong += strictly(c);
    buf_free(&want);
  }
  assert_int_equal(wrong, 0);
}

/* ---- answers */
static const struct translate_names names = { .id = SPAN("req_1"), .model = SPAN("asked"), .created = 7, .usage = true };

static void same(const struct buf *b, const char *want) {
  if (!span_eq(buf_span(b), span_cstr(want))) fail_msg("\n%.*s\nis not\n%s", SPAN_FMT(buf_span(b)), want);
}

static void whole_with(enum operation from, enum operation to, const char *body, const char *want, const char *losses, bool one_call) {
  struct buf out = { 0 }, lost = { 0 };
  const char *why = NULL;
  struct translate_names n = names;
  n.losses = &lost;
  n.one_call = one_call;
  bool good = translate_answer(operation_info(from), operation_info(to), span_cstr(body), &n, &out, &why);
  same(&lost, losses);
  buf_free(&lost);
  if (!want) assert_true(!good && why && !buf_size(&out));
  else if (!good) fail_msg("%s", why);
  else same(&out, want);
  struct answer_facts f;
  if (good) answer_read(operation_info(to), buf_span(&out), &f), assert_int_not_equal(f.fault, FAULT_INVALID);
  buf_free(&out);
}

static void whole(enum operation from, enum operation to, const char *body, const char *want) { whole_with(from, to, body, want, "", false); }

#define CHAT(message, finish, usage) "{\"id\":\"chatcmpl-req_1\",\"object\":\"chat.completion\",\"created\":7,\"model\":\"g\",\"choices\":[{\"index\":0,\"message\":{" \
  "\"role\":\"assistant\"," message "},\"logprobs\":null,\"finish_reason\":\"" finish "\"}]" usage "}"
#define MESSAGE(content, stop) "{\"id\":\"msg_req_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"g\",\"content\":[" content "],\"stop_reason\":\"" stop "\",\"stop_sequence\":null," \
  "\"usage\":{\"input_tokens\":0,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":0}}"
#define ANSWER(parts, finish) "{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[" parts "]},\"finishReason\":\"" finish "\"}],\"modelVersion\":\"g\",\"responseId\":\"r1\"}"

static void answers_of_gemini(void **state) {
  (void)state;
  whole(G, C, "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\\u00e9\"},{\"text\":\"b\"}]},\"finishReason\":\"STOP\"}],\"modelVersion\":\"g\",\"usageMetadata\":{"
        "\"promptTokenCount\":10,\"cachedContentTokenCount\":4,\"toolUsePromptTokenCount\":2,\"candidatesTokenCount\":3,\"thoughtsTokenCount\":7,\"totalTokenCount\":22}}",
        CHAT("\"content\":\"a\\u00e9b\",\"refusal\":null,\"annotations\":[]", "stop", ",\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":10,\"total_tokens\":22,"
             "\"prompt_tokens_details\":{\"cached_tokens\":4},\"completion_tokens_details\":{\"reasoning_tokens\":7}}"));
  whole(G, C, ANSWER("{\"functionCall\":{\"name\":\"f\",\"args\":{\"a\": 12345678901234567890}},\"thoughtSignature\":\"QQ==\"},{\"functionCall\":{\"id\":\"own\",\"name\":\"g\"}}", "STOP"),
        CHAT("\"content\":null,\"refusal\":null,\"tool_calls\":[{\"id\":\"call_r1_0\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\": 12345678901234567890}\"}},"
             "{\"id\":\"own\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}],\"annotations\":[],\"weir\":{\"thinking\":[{\"index\":0,\"type\":\"thinking\","
             "\"signature\":\"weir-gemini-call:QQ==\",\"bytes\":0}]}", "tool_calls", ""));
  whole(G, M, ANSWER("{\"text\":\"hm\",\"thought\":true},{\"text\":\"so\",\"thoughtSignature\":\"QQ==\"}", "MAX_TOKENS"),
        MESSAGE("{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"weir-gemini-thought:\"},{\"type\":\"text\",\"text\":\"so\",\"citations\":null},"
                "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"weir-gemini-text:QQ==\"}", "max_tokens"));
  whole(G, M, ANSWER("{\"functionCall\":{\"id\":\"a.b\",\"name\":\"f\",\"args\":{}}}", "STOP"),
        MESSAGE("{\"type\":\"tool_use\",\"id\":\"weirx_612e62\",\"name\":\"f\",\"input\":{}}", "tool_use"));
  whole(G, M, "{\"promptFeedback\":{\"blockReason\":\"OTHER\"},\"modelVersion\":\"g\"}", MESSAGE("", "refusal"));
  whole(G, C, ANSWER("{\"text\":\"a\"}", "SAFETY"), CHAT("\"content\":\"a\",\"refusal\":null,\"annotations\":[],\"weir\":{\"stop_reason\":\"SAFETY\"}", "content_filter", ""));
  whole(G, C, ANSWER("{\"text\":\"a\"}", "ODD"), CHAT("\"content\":\"a\",\"refusal\":null,\"annotations\":[],\"weir\":{\"stop_reason\":\"ODD\"}", "stop", ""));
  whole(G, C, ANSWER("{\"text\":\"a\"}", "MALFORMED_FUNCTION_CALL"), NULL);
}

static void answers_for_gemini(void **state) {
  (void)state;
#define GANSWER(parts, finish, usage) "{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[" parts "]},\"finishReason\":\"" finish "\",\"index\":0}]" usage ",\"modelVersion\":\"c\",\"responseId\":\"req_1\"}"
#define CSAYS(message, finish, more) "{\"id\":\"x\",\"model\":\"c\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\"," message "},\"finish_reason\":\"" finish "\"}]" more "}"
  whole(C, G, CSAYS("\"content\":\"a\\u00e9\",\"reasoning_content\":\"hm\"", "length", ",\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":7,\"total_tokens\":16,\"completion_tokens_details\":{\"reasoning_tokens\":3}}"),
        GANSWER("{\"text\":\"hm\",\"thought\":true},{\"text\":\"a\\u00e9\"}", "MAX_TOKENS", ",\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":4,\"thoughtsTokenCount\":3,\"totalTokenCount\":16}"));
  whole(C, G, CSAYS("\"content\":null,\"tool_calls\":[{\"id\":\"f:0\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}},"
        "{\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{\\\"a\\\":1.0}\"}}]", "tool_calls", ""),
        GANSWER("{\"functionCall\":{\"id\":\"f:0\",\"name\":\"f\",\"args\":{}}},{\"functionCall\":{\"id\":\"b\",\"name\":\"g\",\"args\":{\"a\":1.0}}}", "STOP", ""));
  whole(C, G, CSAYS("\"content\":\"\"", "content_filter", ""), GANSWER("", "SAFETY", ""));
  whole(C, G, CSAYS("\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{broken\"}}]", "tool_calls", ""), NULL);
  whole(M, G, "{\"type\":\"message\",\"model\":\"c\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"c2ln\"},{\"type\":\"text\",\"text\":\"a\"},"
        "{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{\"n\": 12345678901234567890}}],\"stop_reason\":\"tool_use\"}",
        GANSWER("{\"text\":\"hm\",\"thought\":true,\"thoughtSignature\":\"d2Vpci1tZXNzYWdlcy10aGlua2luZzpjMmxu\"},{\"text\":\"a\"},{\"functionCall\":{\"id\":\"t\",\"name\":\"f\",\"args\":{\"n\": 12345678901234567890}}}", "STOP", ""));
}

/* ---- streams */
static void frame(const char *lines, struct buf *out) {
  for (struct span left = span_cstr(lines), line; left.n;) {
    left = span_cut(left, '\n', &line);
    if (line.n) buf_printf(out, "data: %.*s\r\n\r\n", SPAN_FMT(line));
  }
}

/* Cut into pieces of any size a stream says the same; cut short it has no end. */
static void any_pieces_of(const char *lines, enum operation from, enum operation to) {
  struct buf framed = { 0 };
  frame(lines, &framed);
  struct heard whole_one = hear(from, to, buf_span(&framed), framed.end, &names);
  assert_false(whole_one.fault || whole_one.provider);
  for (size_t step = 1; step < 300; step += 1 + step / 5) {
    struct heard h = hear(from, to, buf_span(&framed), step, &names);
    assert_true(!h.fault && span_eq(buf_span(&h.out), buf_span(&whole_one.out)));
    buf_free(&h.out);
  }
  struct seen s = stream_read(to, buf_span(&whole_one.out));
  assert_true(s.ended_at >= 0 && !s.errors);
  seen_end(&s);
  for (size_t n = 0; n + 3 < buf_size(&framed); n += 1 + buf_size(&framed) / 61) {
    struct heard h = hear(from, to, span_of(framed.p, n), n + 1, &names);
    s = stream_read(to, buf_span(&h.out));
    if (s.ended_at >= 0 || s.errors) fail_msg("cut at %zu of %zu: %.*s", n, buf_size(&framed), SPAN_FMT(buf_span(&h.out)));
    seen_end(&s);
    buf_free(&h.out);
  }
  buf_free(&whole_one.out);
  buf_free(&framed);
}

static void any_pieces(const char *lines, enum operation to) { any_pieces_of(lines, G, to); }

#define PART(p) "{\"candidates\":[{\"content\":{\"parts\":[" p "]}}]}\n"
#define LAST(p, f) "{\"candidates\":[{\"content\":{\"parts\":[" p "]},\"finishReason\":\"" f "\"}],\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":2,\"totalTokenCount\":9,\"thoughtsTokenCount\":4}}\n"
#define PIECE(rest) PART("{\"functionCall\":{" rest "}}")

/* Arguments that come as places and values. */
static void partial_arguments(void **state) {
  (void)state;
  static const enum operation to[] = { C, M };
  for (int i = 0; i < 2; i++) {
    struct buf framed = { 0 };
    frame(PIECE("\"name\":\"f\",\"willContinue\":true") PIECE("\"partialArgs\":[{\"jsonPath\":\"$.a.b\",\"stringValue\":\"x\\u00e9\",\"willContinue\":true}],\"willContinue\":true")
          PIECE("\"partialArgs\":[{\"jsonPath\":\"$.a.b\",\"stringValue\":\"y\"},{\"jsonPath\":\"$.list[0].n\",\"numberValue\":1.50},{\"jsonPath\":\"$.list[1]\",\"boolValue\":true},"
                "{\"jsonPath\":\"$.a['c d']\",\"nullValue\":\"NULL_VALUE\"}],\"willContinue\":true") PIECE("") PIECE("\"name\":\"g\",\"args\":{\"q\":1}") LAST("", "STOP"), &framed);
    struct heard h = hear(G, to[i], buf_span(&framed), framed.end, &names);
    if (h.fault || h.provider) fail_msg("%s", h.why);
    struct seen s = stream_read(to[i], buf_span(&h.out));
    same(&s.names, "f g");
    same(&s.arguments, "{\"a\":{\"b\":\"x\\u00e9y\",\"c d\":null},\"list\":[{\"n\":1.50},true]}{\"q\":1}");
    assert_int_equal(s.usage.output, 6);
    assert_int_equal(s.usage.reasoning, 4);
    assert_int_equal(s.terminators, 1);
    seen_end(&s);
    buf_free(&h.out);
    buf_free(&framed);
  }
}

static void streams_in_pieces(void **state) {
  (void)state;
  static const char lines[] = PART("{\"text\":\"h\\u00e9\",\"thought\":true}") PART("{\"text\":\"one \"}") PART("{\"text\":\"two\"}")
    PART("{\"functionCall\":{\"name\":\"f\",\"args\":{\"a\":[1,{}]}},\"thoughtSignature\":\"QQ==\"}") LAST("{\"text\":\"\",\"thoughtSignature\":\"Qg==\"}", "STOP");
  any_pieces(lines, C);
  any_pieces(lines, M);
}

#define ITEMS(list) "{\"candidates\":[" list "],\"modelVersion\":\"g\"}"
#define ITEM(index, parts, more) "{\"index\":" index ",\"content\":{\"parts\":[" parts "]}" more "}"
#define CHOICES(list) "{\"model\":\"c\",\"choices\":[" list "]}\n"
#define CHOICE(index, delta, finish) "{\"index\":" index ",\"delta\":{" delta "},\"finish_reason\":" finish "}"

/* Several answers at once, whole. */
static void several_whole(void **state) {
  (void)state;
  static const char two[] = ITEMS(ITEM("0", "{\"text\":\"a\"}", ",\"finishReason\":\"STOP\"") "," ITEM("1", "{\"text\":\"b\"},{\"functionCall\":{\"name\":\"f\",\"args\":{}}}", ",\"finishReason\":\"STOP\""));
  whole(G, C, two, "{\"id\":\"chatcmpl-req_1\",\"object\":\"chat.completion\",\"created\":7,\"model\":\"g\",\"choices\":["
        "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a\",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"stop\"},"
        "{\"index\":1,\"message\":{\"role\":\"assistant\",\"content\":\"b\",\"refusal\":null,\"tool_calls\":[{\"id\":\"call_req_1_1000\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}],"
        "\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"tool_calls\"}]}");
  whole_with(G, M, two, MESSAGE("{\"type\":\"text\",\"text\":\"a\",\"citations\":null}", "end_turn"), "n", false);
  whole(C, G, "{\"model\":\"c\",\"choices\":[{\"index\":0,\"message\":{\"content\":\"a\"},\"finish_reason\":\"stop\"},{\"index\":1,\"message\":{\"content\":\"b\"},\"finish_reason\":\"length\"}],"
        "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}",
        "{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"a\"}]},\"finishReason\":\"STOP\",\"index\":0},"
        "{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"b\"}]},\"finishReason\":\"MAX_TOKENS\",\"index\":1}],"
        "\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":2,\"totalTokenCount\":5},\"modelVersion\":\"c\",\"responseId\":\"req_1\"}");
  whole(C, G, "{\"model\":\"c\",\"choices\":[{\"index\":0,\"message\":{\"content\":\"a\"},\"finish_reason\":\"stop\"},{\"index\":1,\"message\":{\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{br\"}}]},"
        "\"finish_reason\":\"tool_calls\"}]}", NULL);
}

/* What one choice of a stream says, joined. */
static void choice_said(enum operation o, const struct buf *stream, int choice, const char *want) {
  struct buf text = { 0 };
  struct sse sse = { 0 };
  struct sse_event e;
  struct span left = buf_span(stream);
  for (struct step s; (s = sse_feed(&sse, left, &e)).kind == STEP_EVENT; left = span_from(left, s.used)) {
    struct delta deltas[DELTA_MOST];
    struct arena scratch = { 0 };
    struct json data;
    size_t n = json_read(sse_data(&e, &scratch), &data, NULL) ? event_deltas(operation_info(o), e.name, data, deltas) : 0;
    for (size_t i = 0; i < n; i++) {
      if (deltas[i].choice != choice) continue;
      if (deltas[i].kind == DELTA_TEXT) append(&text, deltas[i].text);
      if (deltas[i].kind == DELTA_TOOL) append(&text, deltas[i].tool_name), append(&text, deltas[i].tool_arguments);
      if (deltas[i].kind == DELTA_FINISH) buf_byte(&text, '|'), buf_add(&text, deltas[i].finish);
    }
    arena_end(&scratch);
  }
  same(&text, want);
  buf_free(&text);
}

/* Said by turns, and each with its own end; one that never says why it ended leaves the stream without an end. */
static void several_streamed(void **state) {
  (void)state;
  static const char gemini[] = ITEMS(ITEM("0", "{\"text\":\"a\"}", "")) "\n" ITEMS(ITEM("1", "{\"text\":\"x\"}", "") "," ITEM("0", "{\"text\":\"b\"}", "")) "\n"
    ITEMS(ITEM("0", "", ",\"finishReason\":\"STOP\"")) "\n" ITEMS(ITEM("1", "{\"functionCall\":{\"name\":\"f\",\"args\":{}}}", ",\"finishReason\":\"MAX_TOKENS\"")) "\n";
  static const char chat[] = CHOICES(CHOICE("0", "\"role\":\"assistant\"", "null") "," CHOICE("1", "\"content\":\"x\"", "null")) CHOICES(CHOICE("0", "\"content\":\"ab\"", "null"))
    CHOICES(CHOICE("1", "\"tool_calls\":[{\"index\":0,\"id\":\"i\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]", "null")) CHOICES(CHOICE("0", "", "\"stop\""))
    CHOICES(CHOICE("1", "\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"}\"}}]", "\"tool_calls\"")) "{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n[DONE]\n";
  static const char open[] = CHOICES(CHOICE("0", "\"content\":\"a\"", "\"stop\"") "," CHOICE("1", "\"content\":\"x\"", "null")) "[DONE]\n";
  struct buf framed = { 0 };
  any_pieces_of(gemini, G, C);
  any_pieces_of(chat, C, G);
  frame(gemini, &framed);
  struct heard h = hear(G, C, buf_span(&framed), framed.end, &names);
  choice_said(C, &h.out, 0, "ab|stop");
  choice_said(C, &h.out, 1, "xf{}|length");
  buf_free(&h.out), buf_free(&framed);
  frame(chat, &framed);
  h = hear(C, G, buf_span(&framed), framed.end, &names);
  choice_said(G, &h.out, 0, "ab|STOP");
  choice_said(G, &h.out, 1, "xf|STOP");
  buf_free(&h.out), buf_free(&framed);
  frame(open, &framed);
  h = hear(C, G, buf_span(&framed), framed.end, &names);
  assert_int_equal(h.fault, FAULT_PROTOCOL);
  struct seen s = stream_read(G, buf_span(&h.out));
  assert_true(s.ended_at < 0);
  seen_end(&s);
  buf_free(&h.out), buf_free(&framed);
}

/* One call was asked for: the first is kept. */
static void one_call(void **state) {
  (void)state;
  whole_with(G, C, ANSWER("{\"functionCall\":{\"id\":\"a\",\"name\":\"f\",\"args\":{}}},{\"functionCall\":{\"id\":\"b\",\"name\":\"g\"},\"thoughtSignature\":\"QQ==\"}", "STOP"),
             CHAT("\"content\":null,\"refusal\":null,\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}],\"annotations\":[]", "tool_calls", ""), "", true);
}

/* How likely words were, both ways: the bytes and the ids of tokens are told nowhere. */
static void probabilities(void **state) {
  (void)state;
  whole(G, C, ITEMS(ITEM("0", "{\"text\":\"ab\"}", ",\"finishReason\":\"STOP\",\"logprobsResult\":{\"chosenCandidates\":[{\"token\":\"a\",\"tokenId\":7,\"logProbability\":-0.10},{\"token\":\"b\"}],"
        "\"topCandidates\":[{\"candidates\":[{\"token\":\"a\",\"logProbability\":-0.10},{\"token\":\"c\",\"logProbability\":-2}]}]}")),
        "{\"id\":\"chatcmpl-req_1\",\"object\":\"chat.completion\",\"created\":7,\"model\":\"g\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"ab\",\"refusal\":null,\"annotations\":[]},"
        "\"logprobs\":{\"content\":[{\"token\":\"a\",\"logprob\":-0.10,\"bytes\":null,\"top_logprobs\":[{\"token\":\"a\",\"logprob\":-0.10,\"bytes\":null},{\"token\":\"c\",\"logprob\":-2,\"bytes\":null}]},"
        "{\"token\":\"b\",\"logprob\":0,\"bytes\":null,\"top_logprobs\":[]}],\"refusal\":null},\"finish_reason\":\"stop\"}]}");
#define LIKELY "\"logprobs\":{\"content\":[{\"token\":\"a\",\"logprob\":-0.5,\"bytes\":[97],\"top_logprobs\":[{\"token\":\"c\",\"logprob\":-2,\"bytes\":null}]}],\"refusal\":null}"
#define LIKELY_G "\"logprobsResult\":{\"topCandidates\":[{\"candidates\":[{\"token\":\"c\",\"logProbability\":-2}]}],\"chosenCandidates\":[{\"token\":\"a\",\"logProbability\":-0.5}]}"
  whole(C, G, "{\"model\":\"c\",\"choices\":[{\"index\":0,\"message\":{\"content\":\"a\"}," LIKELY ",\"finish_reason\":\"stop\"}]}",
        "{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"a\"}]}," LIKELY_G ",\"finishReason\":\"STOP\",\"index\":0}],\"modelVersion\":\"c\",\"responseId\":\"req_1\"}");
  static const char chat[] = CHOICES("{\"index\":0,\"delta\":{\"content\":\"a\"}," LIKELY "}") CHOICES(CHOICE("0", "", "\"stop\"")) "[DONE]\n";
  static const char gemini[] = ITEMS(ITEM("0", "{\"text\":\"a\"}", "," LIKELY_G)) "\n" ITEMS(ITEM("0", "", ",\"finishReason\":\"STOP\"," LIKELY_G)) "\n";
  struct buf framed = { 0 };
  any_pieces_of(chat, C, G);
  any_pieces_of(gemini, G, C);
  frame(chat, &framed);
  struct heard h = hear(C, G, buf_span(&framed), framed.end, &names);
  assert_true(span_search(buf_span(&h.out), SPAN(LIKELY_G)) < buf_size(&h.out));
  buf_free(&h.out), buf_free(&framed);
  frame(gemini, &framed);
  h = hear(G, C, buf_span(&framed), framed.end, &names);
  static const struct span told = SPAN("\"logprobs\":{\"content\":[{\"token\":\"a\",\"logprob\":-0.5,\"bytes\":null,\"top_logprobs\":[{\"token\":\"c\",\"logprob\":-2,\"bytes\":null}]}],\"refusal\":null}");
  size_t first = span_search(buf_span(&h.out), told);
  assert_true(first < buf_size(&h.out) && span_search(span_from(buf_span(&h.out), first + 1), told) < buf_size(&h.out) - first - 1);
  buf_free(&h.out), buf_free(&framed);
}

/* Characters of chat's are bytes there; what cites no page, and blocks of a provider's own tools, are named. */
static void sources(void **state) {
  (void)state;
#define CITES(start, end) "{\"type\":\"url_citation\",\"url_citation\":{\"url\":\"https://x.example\",\"title\":\"X\",\"start_index\":" start ",\"end_index\":" end "}}"
#define GROUND(supports) "\"groundingMetadata\":{\"groundingChunks\":[{\"web\":{\"uri\":\"https://x.example\",\"title\":\"X\"}}],\"groundingSupports\":[" supports "]}"
#define GROUNDED(parts, supports) "{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[" parts "]}," GROUND(supports) ",\"finishReason\":\"STOP\",\"index\":0}],\"modelVersion\":\"c\",\"responseId\":\"req_1\"}"
#define SUPPORT(part, start, end, text) "{\"segment\":{" part "\"startIndex\":" start ",\"endIndex\":" end ",\"text\":\"" text "\"},\"groundingChunkIndices\":[0]}"
#define CSAID(message) "{\"model\":\"c\",\"choices\":[{\"index\":0,\"message\":{" message "},\"finish_reason\":\"stop\"}]}"
  whole(C, G, CSAID("\"content\":\"\\u00e9\xc3\xa9 is it\",\"annotations\":[" CITES("1", "4") "]"), GROUNDED("{\"text\":\"\\u00e9\xc3\xa9 is it\"}", SUPPORT("", "2", "6", "\xc3\xa9 i")));
  whole(C, G, CSAID("\"reasoning_content\":\"hm\",\"content\":\"it\",\"annotations\":[" CITES("0", "2") "]"),
        GROUNDED("{\"text\":\"hm\",\"thought\":true},{\"text\":\"it\"}", SUPPORT("\"partIndex\":1,", "0", "2", "it")));
  whole_with(C, G, CSAID("\"content\":\"it\",\"annotations\":[" CITES("0", "3") "]"), GROUNDED("{\"text\":\"it\"}", ""), "annotations", false);
  whole_with(M, G, "{\"type\":\"message\",\"model\":\"c\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"web_search\",\"input\":{}},{\"type\":\"text\",\"text\":\"bc\",\"citations\":["
             "{\"type\":\"web_search_result_location\",\"url\":\"https://x.example\",\"title\":\"X\",\"encrypted_index\":\"e\",\"cited_text\":\"t\"},{\"type\":\"char_location\",\"cited_text\":\"t\"}]}],\"stop_reason\":\"end_turn\"}",
             GROUNDED("{\"text\":\"a\"},{\"text\":\"bc\"}", SUPPORT("\"partIndex\":1,", "0", "2", "bc")), "tools, annotations", false);
  static const char chat[] = CHOICES(CHOICE("0", "\"content\":\"\\u00e9a\"", "null")) CHOICES(CHOICE("0", "\"content\":\"bc\"", "null")) CHOICES(CHOICE("0", "\"annotations\":[" CITES("1", "3") "]", "\"stop\"")) "[DONE]\n";
  struct buf framed = { 0 };
  any_pieces_of(chat, C, G);
  frame(chat, &framed);
  struct heard h = hear(C, G, buf_span(&framed), framed.end, &names);
  assert_true(span_search(buf_span(&h.out), SPAN(GROUND(SUPPORT("", "2", "4", "ab")) ",\"finishReason\":\"STOP\"")) < buf_size(&h.out));
  buf_free(&h.out), buf_free(&framed);
}

/* Places are looked for in so much text, and so often; what is beyond is named. */
static void sources_bounded(void **state) {
  (void)state;
  static const struct { size_t text, cites, segments; const char *losses; } cases[] = {
    { 10, 128, 128, "" }, { 10, 129, 128, "annotations" }, { 200 << 10, 1, 1, "" }, { 300 << 10, 1, 0, "annotations" },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct buf body = { 0 }, out = { 0 }, lost = { 0 };
    struct translate_names n = names;
    const char *why = NULL;
    size_t segments = 0;
    n.losses = &lost;
    buf_add(&body, SPAN("{\"choices\":[{\"index\":0,\"message\":{\"content\":\""));
    for (size_t k = 0; k < cases[i].text; k++) buf_byte(&body, 'a');
    buf_add(&body, SPAN("\",\"annotations\":["));
    for (size_t k = 0; k < cases[i].cites; k++) buf_printf(&body, "%s" CITES("0", "%zu"), k ? "," : "", cases[i].text);
    buf_add(&body, SPAN("]},\"finish_reason\":\"stop\"}]}"));
    assert_true(translate_answer(operation_info(C), operation_info(G), buf_span(&body), &n, &out, &why));
    for (struct span left = buf_span(&out); span_search(left, SPAN("\"segment\"")) < left.n; segments++) left = span_from(left, span_search(left, SPAN("\"segment\"")) + 1);
    assert_int_equal(segments, cases[i].segments);
    same(&lost, cases[i].losses);
    assert_true(buf_size(&out) < cases[i].text + 40000);          /* a long segment's text is not told twice */
    buf_free(&body), buf_free(&out), buf_free(&lost);
  }
}

static void streams_that_fail(void **state) {
  (void)state;
  static const struct { const char *lines; enum fault fault, provider; } cases[] = {
    { PART("{\"text\":\"a\"}") LAST("", "MALFORMED_FUNCTION_CALL"), FAULT_INVALID, FAULT_NONE },
    { PART("{\"text\":\"a\"}") "{\"error\":{\"code\":503,\"message\":\"busy\",\"status\":\"UNAVAILABLE\"}}\n", FAULT_NONE, FAULT_OVERLOADED },
    { PART("{\"text\":\"a\"}") "[]\n", FAULT_NONE, FAULT_PROTOCOL },
    { PART("{\"text\":\"a\"}") LAST("", "STOP") PART("{\"text\":\"b\"}"), FAULT_PROTOCOL, FAULT_NONE },
  };
  for (size_t i = 0; i < 2 * (sizeof cases / sizeof *cases); i++) {
    struct buf framed = { 0 };
    frame(cases[i / 2].lines, &framed);
    struct heard h = hear(G, i % 2 ? M : C, buf_span(&framed), framed.end, &names);
    if (h.fault != cases[i / 2].fault || h.provider != cases[i / 2].provider) fail_msg("%zu: %s %s (%s)", i, fault_word(h.fault), fault_word(h.provider), h.why);
    struct seen s = stream_read(i % 2 ? M : C, buf_span(&h.out));
    assert_true(s.ended_at < 0);
    seen_end(&s);
    buf_free(&h.out);
    buf_free(&framed);
  }
}

static void recorded(void **state) {
  (void)state;
  static const char *const files[] = { "gemini/google-text.chunks.txt", "gemini/google-tool-call.chunks.txt", "gemini/google-stream-no-args-tool-call.chunks.txt" };
  for (int i = 0; i < 3; i++) {
    struct buf lines = { 0 };
    recording_read(files[i], &lines);
    buf_byte(&lines, 0);
    any_pieces(lines.p, C);
    any_pieces(lines.p, M);
    buf_free(&lines);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_row), cmocka_unit_test(answers_of_gemini), cmocka_unit_test(answers_for_gemini), cmocka_unit_test(partial_arguments), cmocka_unit_test(streams_in_pieces),
    cmocka_unit_test(streams_that_fail), cmocka_unit_test(recorded), cmocka_unit_test(several_whole), cmocka_unit_test(several_streamed), cmocka_unit_test(one_call),
    cmocka_unit_test(probabilities), cmocka_unit_test(sources), cmocka_unit_test(sources_bounded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
