/* Requests and answers that are made to cost more than they are worth: what translation keeps and how long it looks is bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "weir/translate.h"

enum { ENOUGH = 96 << 20 };           /* bytes: far above what these need, far below what squares of them were */

struct result { bool good; struct buf out; struct translating how; struct arena arena; };

static void ask(enum operation from, enum operation to, struct buf *body, struct result *r) {
  struct json_member members[64];
  struct json_error e;
  size_t n;
  *r = (struct result){ .how = { .arena = &r->arena, .model = SPAN("m"), .reasoning = -1 } };
  if (!json_read_object(buf_span(body), members, 64, &n, &e)) fail_msg("the case is no JSON: %s at %zu", e.why, e.at);
  r->good = translate_request(operation_info(from), operation_info(to), members, n, &r->how, &r->out);
  if (r->arena.total > ENOUGH) fail_msg("%zu bytes for a body of %zu", r->arena.total, buf_size(body));
}

static void result_end(struct result *r, struct buf *body) {
  buf_free(&r->out);
  arena_end(&r->arena);
  buf_free(body);
}

static void list(struct buf *b, int count, const char *item) {
  for (int i = 0; i < count; i++) buf_printf(b, "%s%s", i ? "," : "", item);
}

static void many_unknown_fields(void **state) {
  struct buf body = { 0 };
  struct result r;
  (void)state;
  buf_add(&body, SPAN("{\"model\":\"m\",\"max_tokens\":5,\"messages\":["));
  for (int i = 0; i < 20000; i++) buf_printf(&body, "%s{\"role\":\"user\",\"content\":\"a\",\"own_%d\":1}", i ? "," : "", i);
  buf_add(&body, SPAN("]}"));
  ask(OP_CHAT, OP_MESSAGES, &body, &r);
  assert_true(r.good && span_starts(r.how.losses, SPAN("own_0, own_1, ")) && span_ends(r.how.losses, SPAN(", unknown")));
  assert_in_range(r.how.losses.n, 2000, 2300);
  result_end(&r, &body);
}

static void thoughts_in_many_pieces(void **state) {
  struct buf body = { 0 };
  struct result r;
  (void)state;
  buf_add(&body, SPAN("{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]},{\"role\":\"model\",\"parts\":["));
  list(&body, 20000, "{\"text\":\"abc\",\"thought\":true}");
  buf_add(&body, SPAN(",{\"text\":\"so\"}]},{\"role\":\"user\",\"parts\":[{\"text\":\"go on\"}]}]}"));
  ask(OP_GENERATE, OP_CHAT, &body, &r);
  assert_true(r.good);
  result_end(&r, &body);
}

static void many_instructions(void **state) {
  struct buf body = { 0 };
  struct result r;
  (void)state;
  buf_add(&body, SPAN("{\"model\":\"m\",\"messages\":["));
  list(&body, 10000, "{\"role\":\"system\",\"content\":\"a\\\"b\"}");
  buf_add(&body, SPAN(",{\"role\":\"user\",\"content\":\"hi\"}]}"));
  ask(OP_CHAT, OP_RESPONSES, &body, &r);
  assert_true(r.good && span_search(buf_span(&r.out), SPAN("\"instructions\":\"a\\\"b\\n\\na\\\"b\\n\\n")) < buf_size(&r.out));
  result_end(&r, &body);
}

/* Each result looks for its call. What a long talk has passes; what would take minutes is refused. */
static void many_calls(int count, bool good, enum operation to, const char *field) {
  struct buf body = { 0 };
  struct result r;
  bool gemini = to == OP_CHAT;
  buf_add(&body, gemini ? SPAN("{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]},{\"role\":\"model\",\"parts\":[")
                        : SPAN("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["));
  list(&body, count, gemini ? "{\"functionCall\":{\"name\":\"f\"}}" : "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}");
  buf_add(&body, gemini ? SPAN("]},{\"role\":\"user\",\"parts\":[") : SPAN("]},"));
  list(&body, count, gemini ? "{\"functionResponse\":{\"name\":\"f\",\"response\":{\"output\":\"1\"}}}" : "{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"1\"}");
  buf_add(&body, gemini ? SPAN("]}]}") : SPAN("]}"));
  ask(gemini ? OP_GENERATE : OP_CHAT, to, &body, &r);
  assert_int_equal(r.good, good);
  if (!good) assert_true(span_eq(r.how.field, span_cstr(field)));
  result_end(&r, &body);
}

static void calls_and_results(void **state) {
  (void)state;
  many_calls(1500, true, OP_CHAT, "");
  many_calls(16000, false, OP_CHAT, "contents");
  many_calls(1500, true, OP_GENERATE, "");
  many_calls(16000, false, OP_GENERATE, "messages");
}

static void tools_by_name(void **state) {
  struct buf body = { 0 };
  struct result r;
  (void)state;
  buf_add(&body, SPAN("{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}],\"tools\":[{\"functionDeclarations\":["));
  list(&body, 11000, "{\"name\":\"a\\u0062c\"}");
  buf_add(&body, SPAN("]}],\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"ANY\",\"allowedFunctionNames\":["));
  list(&body, 11000, "\"a\\u0062d\"");
  buf_add(&body, SPAN("]}}}"));
  ask(OP_GENERATE, OP_CHAT, &body, &r);
  assert_false(r.good);
  result_end(&r, &body);
}

/* ---- answers */
static enum fault hear(struct translation *t, const char *text) {
  struct sse_event e = { .raw = span_cstr(text), .data = span_cstr(text), .data_lines = 1 };
  struct buf out = { 0 };
  const char *why = NULL;
  enum fault f = translation_event(t, &e, &out, &why);
  buf_free(&out);
  return f;
}

static const struct translate_names names = { .id = SPAN("req_1"), .model = SPAN("m") };

static int64_t arenas(void) {
  mem_settle();
  return mem_held(MEM_ARENAS);
}

/* A call that waits for its end is looked at with every piece of the next one. */
static void calls_side_by_side(void **state) {
  struct translation *t = translation_new(operation_info(OP_CHAT), operation_info(OP_MESSAGES), &names, 16 << 20);
  int64_t before = arenas();
  (void)state;
#define PIECE(index, name, text) "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":" index "," name "\"arguments\":\"" text "\"}}]}}]}"
  assert_int_equal(hear(t, PIECE("0", "\"id\":\"a\",\"function\":{\"name\":\"f\",", "{\\\"a\\\":\\\"")), FAULT_NONE);
  for (int i = 0; i < 2000; i++) assert_int_equal(hear(t, PIECE("0", "\"function\":{", "x\\\\ny")), FAULT_NONE);
  assert_int_equal(hear(t, PIECE("1", "\"id\":\"b\",\"function\":{\"name\":\"g\",", "{\\\"a\\\":\\\"")), FAULT_NONE);
  for (int i = 0; i < 2000; i++) assert_int_equal(hear(t, PIECE("1", "\"function\":{", "x")), FAULT_NONE);
  assert_true(arenas() - before < 2 << 20);
  translation_free(t);
}

/* Items behind the first wait for it, up to as much as an answer may be. */
static void items_that_wait(void **state) {
  struct translation *t = translation_new(operation_info(OP_RESPONSES), operation_info(OP_CHAT), &names, 64 << 10);
  enum fault f = FAULT_NONE;
  (void)state;
  hear(t, "{\"type\":\"response.created\",\"response\":{}}");
  hear(t, "{\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"type\":\"message\",\"id\":\"a\"}}");
  hear(t, "{\"type\":\"response.output_item.added\",\"output_index\":1,\"item\":{\"type\":\"message\",\"id\":\"b\"}}");
  for (int i = 0; i < 2000 && !f; i++) f = hear(t, "{\"type\":\"response.output_text.delta\",\"output_index\":1,\"content_index\":0,\"delta\":\"a\"}");
  assert_int_equal(f, FAULT_INVALID);
  translation_free(t);
}

/* Places that share all their steps but the last. */
static void deep_arguments(void **state) {
  struct translation *t = translation_new(operation_info(OP_GENERATE), operation_info(OP_CHAT), &names, 16 << 20);
  struct buf event = { 0 };
  (void)state;
  buf_add(&event, SPAN("{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\",\"partialArgs\":["));
  for (int i = 0; i < 2000; i++) {
    buf_printf(&event, "%s{\"numberValue\":1,\"jsonPath\":\"$", i ? "," : "");
    for (int k = 0; k < 100; k++) buf_add(&event, SPAN(".a"));
    buf_printf(&event, ".b%d\"}", i);
  }
  buf_add(&event, SPAN("]}}]}}]}"));
  buf_byte(&event, 0);
  assert_int_equal(hear(t, event.p), FAULT_INVALID);
  translation_free(t);
  buf_free(&event);
}

/* A list of counts as long as it likes. */
static void counts_without_end(void **state) {
  struct json v;
  struct usage u;
  struct buf g = { 0 }, c = { 0 };
  (void)state;
  buf_add(&g, SPAN("{\"promptTokenCount\":5,\"promptTokensDetails\":["));
  list(&g, 10000, "{\"modality\":\"AUDIO\",\"tokenCount\":1000000000000000}");
  buf_add(&g, SPAN("]}"));
  assert_true(json_read(buf_span(&g), &v, NULL));
  usage_read(DIALECT_GEMINI, v, &u);
  assert_true(u.audio_in == 1000000000000000);
  buf_add(&c, SPAN("{\"inputTokens\":5,\"cacheDetails\":["));
  list(&c, 10000, "{\"ttl\":\"1h\",\"inputTokens\":1000000000000000},{\"inputTokens\":1000000000000000}");
  buf_add(&c, SPAN("]}"));
  assert_true(json_read(buf_span(&c), &v, NULL));
  usage_read(DIALECT_CONVERSE, v, &u);
  assert_true(u.cache_write_1h == 1000000000000000 && u.cache_write == 1000000000000000);
  buf_free(&g);
  buf_free(&c);
}

/* ---- what a request can come to */
static struct request_bounds bounds_of(enum operation o, struct span body) {
  struct json_member members[64];
  struct request_bounds b;
  size_t n;
  assert_true(json_read_object(body, members, 64, &n, NULL));
  request_bounds(operation_info(o), body, members, n, ~0ull, &b);
  return b;
}

static void bounds_do_not_wrap(void **state) {
  struct buf body = { 0 };
  (void)state;
  buf_add(&body, SPAN("{\"messages\":[],\"tools\":["));
  list(&body, 10000, "{\"type\":\"web_search_20250305\",\"max_uses\":1000000000000000}");
  buf_add(&body, SPAN("]}"));
  assert_true(bounds_of(OP_MESSAGES, buf_span(&body)).searches == 1000000000000000);
  buf_clear(&body);
  buf_add(&body, SPAN("{\"best_of\":1000000000000000,\"prompt\":["));
  list(&body, 10000, "\"a\"");
  buf_add(&body, SPAN("]}"));
  assert_true(bounds_of(OP_COMPLETIONS, buf_span(&body)).choices == INT64_MAX);
  buf_free(&body);
  assert_true(bounds_of(OP_GENERATE, SPAN("{\"contents\":[],\"tools\":{\"googleSearch\":{}}}")).beyond);
}

/* A name that would move up in the path is only a name. */
static void names_in_paths(void **state) {
  static const struct { enum operation o; const char *model, *path; } cases[] = {
    { OP_CONVERSE, "..", "/model/%25../converse" }, { OP_CONVERSE, "../x", "/model/..%2Fx/converse" }, { OP_CONVERSE, "a?b#c\r\n", "/model/a%3Fb%23c%0D%0A/converse" },
    { OP_GENERATE, "models/..", "/v1beta/models/%25..:generateContent" },
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct buf path = { 0 };
    operation_path(operation_info(cases[i].o), SPAN("/x"), span_cstr(cases[i].model), false, &path);
    if (!span_eq(buf_span(&path), span_cstr(cases[i].path))) fail_msg("%s: %.*s", cases[i].model, SPAN_FMT(buf_span(&path)));
    buf_free(&path);
  }
}

/* A field that weir's own flat names read like is refused, and one that is written with escapes is the field. */
static void names_of_gemini(void **state) {
  static const struct { const char *body; bool good; int64_t limit; } cases[] = {
    { "{\"contents\":[],\"generationConfig\":{\"maxOutputTokens\":7}}", true, 7 },
    { "{\"contents\":[],\"generation\\u0043onfig\":{\"max\\u004futputTokens\":7}}", true, 7 },
    { "{\"contents\":[],\"generation_config\":{\"max_output_tokens\":7}}", true, 7 },
    { "{\"contents\":[],\"generationConfig.maxOutputTokens\":1}", false, 0 },
    { "{\"contents\":[],\"generation_config.maxOutput\\u0054okens\":1}", false, 0 },
    { "{\"contents\":[],\"generationConfig\":{\"maxOutputTokens\":7},\"generation\\u0043onfig\":{}}", false, 0 },
    { "{\"contents\":[],\"a\\\"b\\u000a\":1}", true, -1 },
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct json_member members[16], *flat;
    struct request_facts facts;
    struct arena a = { 0 };
    const char *why = NULL;
    size_t n;
    bool good = json_read_object(span_cstr(cases[i].body), members, 16, &n, NULL) && request_flat(operation_info(OP_GENERATE), members, n, &a, &flat, &n, &why) &&
                request_read(operation_info(OP_GENERATE), flat, n, &facts, &why);
    if (good != cases[i].good || (good && facts.max_tokens != cases[i].limit)) fail_msg("%s: %d", cases[i].body, good);
    arena_end(&a);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(many_unknown_fields), cmocka_unit_test(thoughts_in_many_pieces), cmocka_unit_test(many_instructions), cmocka_unit_test(calls_and_results),
    cmocka_unit_test(tools_by_name), cmocka_unit_test(calls_side_by_side), cmocka_unit_test(items_that_wait), cmocka_unit_test(deep_arguments),
    cmocka_unit_test(counts_without_end), cmocka_unit_test(bounds_do_not_wrap), cmocka_unit_test(names_of_gemini), cmocka_unit_test(names_in_paths),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
