/* Token counts of every shape the providers send, made disjoint. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "weir/dialect.h"

struct shape {
  enum dialect dialect;
  const char *json;
  int64_t usage[6];                   /* input, cache_read, cache_write, cache_write_1h, output, reasoning */
};
static const struct shape shapes[] = {
  { DIALECT_CHAT, "{\"prompt_tokens\":9,\"completion_tokens\":7,\"total_tokens\":16}", { 9, -1, -1, -1, 7, -1 } },
  { DIALECT_CHAT, "{\"prompt_tokens\":8,\"total_tokens\":8}", { 8, -1, -1, -1, -1, -1 } },
  { DIALECT_CHAT, "{\"prompt_tokens\":100,\"completion_tokens\":20,\"total_tokens\":120,\"prompt_tokens_details\":{\"cached_tokens\":60,\"cache_write_tokens\":30},\"completion_tokens_details\":{\"reasoning_tokens\":15}}",
    { 10, 60, 30, -1, 20, 15 } },
  /* xAI: reasoning beside the output, as the total shows */
  { DIALECT_CHAT, "{\"prompt_tokens\":291,\"completion_tokens\":26,\"total_tokens\":513,\"prompt_tokens_details\":{\"cached_tokens\":290},\"completion_tokens_details\":{\"reasoning_tokens\":196}}",
    { 1, 290, -1, -1, 222, 196 } },
  /* xAI: more cached tokens than input */
  { DIALECT_CHAT, "{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15,\"prompt_tokens_details\":{\"cached_tokens\":290}}", { 10, 290, -1, -1, 5, -1 } },
  { DIALECT_CHAT, "{\"prompt_tokens\":10,\"completion_tokens\":50,\"total_tokens\":380,\"prompt_tokens_details\":{\"cached_tokens\":290},\"completion_tokens_details\":{\"reasoning_tokens\":30}}", { 10, 290, -1, -1, 80, 30 } },
  /* Perplexity: more reasoning than output */
  { DIALECT_CHAT, "{\"prompt_tokens\":33,\"completion_tokens\":7163,\"total_tokens\":7196,\"reasoning_tokens\":73997}", { 33, -1, -1, -1, 81160, 73997 } },
  /* no total: inside */
  { DIALECT_CHAT, "{\"prompt_tokens\":10,\"completion_tokens\":50,\"completion_tokens_details\":{\"reasoning_tokens\":30}}", { 10, -1, -1, -1, 50, 30 } },
  /* DeepSeek, Mistral, Moonshot, Qwen names */
  { DIALECT_CHAT, "{\"prompt_tokens\":339,\"completion_tokens\":83,\"prompt_cache_hit_tokens\":320,\"prompt_cache_miss_tokens\":19}", { 19, 320, -1, -1, 83, -1 } },
  { DIALECT_CHAT, "{\"prompt_tokens\":50,\"completion_tokens\":1,\"num_cached_tokens\":20}", { 30, 20, -1, -1, 1, -1 } },
  { DIALECT_CHAT, "{\"prompt_tokens\":50,\"completion_tokens\":1,\"prompt_token_details\":{\"cached_tokens\":20}}", { 30, 20, -1, -1, 1, -1 } },
  { DIALECT_CHAT, "{\"prompt_tokens\":50,\"completion_tokens\":1,\"cached_tokens\":20}", { 30, 20, -1, -1, 1, -1 } },
  { DIALECT_CHAT, "{\"prompt_tokens\":50,\"completion_tokens\":1,\"prompt_tokens_details\":{\"cached_tokens\":10,\"cache_creation_input_tokens\":30}}", { 10, 10, 30, -1, 1, -1 } },
  /* nonsense is not reported rather than believed */
  { DIALECT_CHAT, "{\"prompt_tokens\":-4,\"completion_tokens\":\"7\",\"prompt_tokens_details\":null}", { -1, -1, -1, -1, -1, -1 } },
  { DIALECT_CHAT, "{\"prompt_tokens\":9223372036854775807,\"completion_tokens\":1e300}", { -1, -1, -1, -1, -1, -1 } },
  { DIALECT_CHAT, "{\"prompt_tokens\":5,\"completion_tokens\":3.0}", { 5, -1, -1, -1, 3, -1 } },
  { DIALECT_CHAT, "{}", { -1, -1, -1, -1, -1, -1 } },
  { DIALECT_CHAT, "null", { -1, -1, -1, -1, -1, -1 } },
  { DIALECT_RESPONSES, "{\"input_tokens\":100,\"input_tokens_details\":{\"cached_tokens\":40,\"cache_write_tokens\":10},\"output_tokens\":30,\"output_tokens_details\":{\"reasoning_tokens\":20},\"total_tokens\":130}",
    { 50, 40, 10, -1, 30, 20 } },
  { DIALECT_MESSAGES, "{\"input_tokens\":100,\"cache_creation_input_tokens\":250,\"cache_read_input_tokens\":1000,\"cache_creation\":{\"ephemeral_5m_input_tokens\":200,\"ephemeral_1h_input_tokens\":50},\"output_tokens\":40}",
    { 100, 1000, 200, 50, 40, -1 } },
  { DIALECT_MESSAGES, "{\"input_tokens\":100,\"cache_creation_input_tokens\":250,\"cache_read_input_tokens\":1000,\"output_tokens\":40,\"output_tokens_details\":{\"thinking_tokens\":4}}",
    { 100, 1000, 250, -1, 40, 4 } },
  { DIALECT_MESSAGES, "{\"cache_creation_input_tokens\":250,\"cache_creation\":{\"ephemeral_1h_input_tokens\":50}}", { -1, -1, 200, 50, -1, -1 } },
  { DIALECT_MESSAGES, "{\"output_tokens\":15}", { -1, -1, -1, -1, 15, -1 } },
};

static void shapes_read(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    struct json v;
    struct usage u;
    assert_true(json_read(span_cstr(shapes[i].json), &v, NULL));
    usage_read(shapes[i].dialect, v, &u);
    if (memcmp(&u, shapes[i].usage, sizeof shapes[i].usage) != 0)
      fail_msg("%s: %d %d %d %d %d %d", shapes[i].json, (int)u.input, (int)u.cache_read, (int)u.cache_write, (int)u.cache_write_1h, (int)u.output, (int)u.reasoning);
  }
}

static void usage_is(const struct usage *u, int64_t input, int64_t read, int64_t write, int64_t hour, int64_t output, int64_t reasoning) {
  int64_t want[] = { input, read, write, hour, output, reasoning };
  assert_memory_equal(u, want, sizeof want);
}

static void merging(void **state) {
  struct usage u = USAGE_NONE;
  (void)state;
  usage_merge(&u, &(struct usage){ 12, 0, 0, -1, 1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0 });
  usage_merge(&u, &(struct usage){ -1, -1, -1, -1, 30, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0 });
  usage_is(&u, 12, 0, 0, -1, 30, -1);
  usage_merge(&u, &(struct usage){ 15665, 3, -1, -1, 795, 7, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0 });
  usage_is(&u, 15665, 3, 0, -1, 795, 7);
  usage_merge(&u, &USAGE_NONE);
  usage_is(&u, 15665, 3, 0, -1, 795, 7);
}

/* message_delta restates all cache writes as one number: the hour's share must not be counted twice. */
static void merging_a_restated_split(void **state) {
  struct usage u = USAGE_NONE;
  (void)state;
  usage_merge(&u, &(struct usage){ 100, 0, 200, 50, 1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0 });
  usage_merge(&u, &(struct usage){ 100, 0, 250, -1, 40, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0 });
  usage_is(&u, 100, 0, 200, 50, 40, -1);
  usage_merge(&u, &(struct usage){ -1, -1, 30, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0 });
  usage_is(&u, 100, 0, 0, 30, 40, -1);
}

/* What stands beside the tokens: {dialect, json, audio_in, image_in, audio_out, image_out, searches, tool_calls, cost, tier, reasoning_place, fast, us}. */
static const struct { enum dialect dialect; const char *json; int64_t counts[7]; unsigned words[4]; } besides[] = {
  { DIALECT_CHAT, "{\"prompt_tokens\":9,\"completion_tokens\":7}", { -1, -1, -1, -1, -1, -1, -1 }, { 0, REASONING_UNTOLD, 0, 0 } },
  { DIALECT_CHAT, "{\"prompt_tokens\":90,\"completion_tokens\":70,\"total_tokens\":160,\"prompt_tokens_details\":{\"audio_tokens\":40,\"image_tokens\":20},\"completion_tokens_details\":{\"audio_tokens\":30,\"image_tokens\":1}}",
    { 40, 20, 30, 1, -1, -1, -1 }, { 0, REASONING_INSIDE, 0, 0 } },
  { DIALECT_CHAT, "{\"prompt_tokens\":291,\"completion_tokens\":26,\"total_tokens\":513,\"completion_tokens_details\":{\"reasoning_tokens\":196},\"cost_in_usd_ticks\":1234567}",
    { -1, -1, -1, -1, -1, -1, 123456700 }, { 0, REASONING_ADDED, 0, 0 } },
  { DIALECT_CHAT, "{\"prompt_tokens\":1,\"cost\":0.00014}", { -1, -1, -1, -1, -1, -1, 140000000 }, { 0, 0, 0, 0 } },
  { DIALECT_CHAT, "{\"prompt_tokens\":1,\"cost\":0.00001,\"is_byok\":true,\"cost_details\":{\"upstream_inference_cost\":0.0002}}", { -1, -1, -1, -1, -1, -1, 210000000 }, { 0, 0, 0, 0 } },
  { DIALECT_CHAT, "{\"prompt_tokens\":1,\"cost\":0,\"is_byok\":true}", { -1, -1, -1, -1, -1, -1, -1 }, { 0, 0, 0, 0 } },
  { DIALECT_CHAT, "{\"prompt_tokens\":1,\"num_search_queries\":7,\"cost\":{\"input_tokens_cost\":0.1,\"total_cost\":0.25}}", { -1, -1, -1, -1, 7, -1, 250000000000 }, { 0, 0, 0, 0 } },
  { DIALECT_CHAT, "{\"prompt_tokens\":1,\"cost\":-3}", { -1, -1, -1, -1, -1, -1, -1 }, { 0, 0, 0, 0 } },
  { DIALECT_MESSAGES, "{\"input_tokens\":1,\"service_tier\":\"priority\",\"speed\":\"fast\",\"inference_geo\":\"us\",\"server_tool_use\":{\"web_search_requests\":3,\"web_fetch_requests\":9}}",
    { -1, -1, -1, -1, 3, 9, -1 }, { TIER_PRIORITY, 0, 1, 1 } },
  { DIALECT_MESSAGES, "{\"input_tokens\":1,\"service_tier\":\"batch\",\"speed\":\"standard\",\"inference_geo\":\"global\",\"server_tool_use\":null}", { -1, -1, -1, -1, -1, -1, -1 }, { TIER_BATCH, 0, 2, 2 } },
};

static void what_stands_beside(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof besides / sizeof *besides; i++) {
    struct json v;
    struct usage u;
    const int64_t *c = besides[i].counts;
    const unsigned *w = besides[i].words;
    assert_true(json_read(span_cstr(besides[i].json), &v, NULL));
    usage_read(besides[i].dialect, v, &u);
    if (memcmp(&u.audio_in, c, 7 * sizeof *c) != 0)
      fail_msg("%s: %d %d %d %d %d %d %lld", besides[i].json, (int)u.audio_in, (int)u.image_in, (int)u.audio_out, (int)u.image_out, (int)u.searches, (int)u.tool_calls, (long long)u.cost);
    if (u.tier != w[0] || u.reasoning_place != w[1] || u.fast != w[2] || u.us != w[3]) fail_msg("%s: %u %u %u %u", besides[i].json, u.tier, u.reasoning_place, u.fast, u.us);
  }
}

/* Compaction and advisors are not in the counts at the top. */
static void iterations_are_added(void **state) {
  struct json v;
  struct usage u;
  (void)state;
  assert_true(json_read(SPAN("{\"input_tokens\":100,\"output_tokens\":10,\"iterations\":[{\"type\":\"compaction\",\"input_tokens\":5000,\"output_tokens\":300,\"cache_creation\":{\"ephemeral_5m_input_tokens\":7,\"ephemeral_1h_input_tokens\":8}},"
                             "{\"type\":\"message\",\"input_tokens\":100,\"output_tokens\":10},{\"type\":\"advisor_message\",\"input_tokens\":50,\"output_tokens\":5},7,{\"type\":\"fallback_message\",\"input_tokens\":9}]}"), &v, NULL));
  usage_read(DIALECT_MESSAGES, v, &u);
  usage_is(&u, 5150, -1, 7, 8, 315, -1);
}

/* Tier and searches stand beside the usage of chat and responses: in a whole answer, and in a stream's event. */
static void tier_and_searches_of_answers(void **state) {
  static const char response[] = "{\"object\":\"response\",\"status\":\"completed\",\"service_tier\":\"flex\",\"output\":[{\"type\":\"web_search_call\",\"action\":{\"type\":\"search\"}},"
    "{\"type\":\"web_search_call\",\"action\":{\"type\":\"open_page\"}},{\"type\":\"web_search_call\"},{\"type\":\"file_search_call\"},{\"type\":\"function_call\"},{\"type\":\"mcp_call\"},{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"hi\"}]}],\"usage\":{\"input_tokens\":5,\"output_tokens\":2,\"total_tokens\":7}}";
  static const char chunk[] = "{\"object\":\"chat.completion\",\"service_tier\":\"priority\",\"choices\":[{\"index\":0,\"message\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}";
  struct answer_facts f;
  struct event_facts e;
  struct event_state s = { 0 };
  struct arena scratch = { 0 };
  struct buf event = { 0 };
  (void)state;
  answer_read(operation_info(OP_RESPONSES), span_cstr(response), &f);
  assert_int_equal(f.usage.tier, TIER_FLEX);
  assert_int_equal(f.usage.searches, 2);
  assert_int_equal(f.usage.tool_calls, 2);
  answer_read(operation_info(OP_CHAT), span_cstr(chunk), &f);
  assert_int_equal(f.usage.tier, TIER_PRIORITY);
  assert_int_equal(f.usage.searches, -1);
  struct sse_event given = { .data = span_cstr(chunk), .data_lines = 1 };
  event_read(operation_info(OP_CHAT), &s, &given, &scratch, &e);
  assert_true(e.has_usage);
  assert_int_equal(e.usage.tier, TIER_PRIORITY);
  s = (struct event_state){ 0 };
  buf_printf(&event, "{\"type\":\"response.completed\",\"response\":%s}", response);
  given = (struct sse_event){ .data = buf_span(&event), .data_lines = 1 };
  event_read(operation_info(OP_RESPONSES), &s, &given, &scratch, &e);
  assert_true(e.has_usage);
  assert_int_equal(e.usage.tier, TIER_FLEX);
  assert_int_equal(e.usage.searches, 2);
  assert_int_equal(e.usage.tool_calls, 2);
  buf_free(&event);
  arena_end(&scratch);
}

/* Google tells of its searches beside the text that they ground. */
static void searches_of_gemini(void **state) {
  static const char body[] = "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hi\"}]},\"finishReason\":\"STOP\",\"groundingMetadata\":{\"webSearchQueries\":[\"a\",\"b\",\"c\"]}}],"
    "\"usageMetadata\":{\"promptTokenCount\":5,\"candidatesTokenCount\":2,\"totalTokenCount\":7}}";
  struct answer_facts f;
  struct event_facts e;
  struct event_state s = { 0 };
  struct arena scratch = { 0 };
  struct sse_event given = { .data = span_cstr(body), .data_lines = 1 };
  struct buf list = { 0 };
  (void)state;
  answer_read(operation_info(OP_GENERATE), span_cstr(body), &f);
  assert_int_equal(f.usage.searches, 3);
  buf_printf(&list, "[%s]", body);
  answer_read(operation_info(OP_GENERATE_ARRAY), buf_span(&list), &f);
  assert_int_equal(f.usage.searches, 3);
  event_read(operation_info(OP_GENERATE), &s, &given, &scratch, &e);
  assert_int_equal(e.usage.searches, 3);
  buf_free(&list);
  arena_end(&scratch);
}

/* Providers that count reasoning beside their output, by what is known of them. */
static void reasoning_by_rule(void **state) {
  struct usage u = { .input = 10, .output = 50, .reasoning = 30 };
  (void)state;
  usage_reasoning(&u, REASONING_AS_TOLD);
  assert_int_equal(u.output, 50);
  usage_reasoning(&u, REASONING_OUTSIDE);
  usage_reasoning(&u, REASONING_OUTSIDE);
  assert_int_equal(u.output, 80);
  u = (struct usage){ .input = 10, .output = 50, .reasoning = 30, .reasoning_place = REASONING_INSIDE };
  usage_reasoning(&u, REASONING_OUTSIDE);
  assert_int_equal(u.output, 50);
  usage_reasoning(&u, REASONING_ALWAYS_OUTSIDE);
  usage_reasoning(&u, REASONING_ALWAYS_OUTSIDE);
  assert_int_equal(u.output, 80);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(shapes_read), cmocka_unit_test(merging), cmocka_unit_test(merging_a_restated_split), cmocka_unit_test(what_stands_beside),
    cmocka_unit_test(iterations_are_added), cmocka_unit_test(tier_and_searches_of_answers), cmocka_unit_test(searches_of_gemini), cmocka_unit_test(reasoning_by_rule),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
