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
  struct usage usage;                 /* input, cache_read, cache_write, cache_write_1h, output, reasoning */
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
    if (memcmp(&u, &shapes[i].usage, sizeof u) != 0)
      fail_msg("%s: %d %d %d %d %d %d", shapes[i].json, (int)u.input, (int)u.cache_read, (int)u.cache_write, (int)u.cache_write_1h, (int)u.output, (int)u.reasoning);
  }
}

static void usage_is(const struct usage *u, int64_t input, int64_t read, int64_t write, int64_t hour, int64_t output, int64_t reasoning) {
  struct usage want = { input, read, write, hour, output, reasoning };
  assert_memory_equal(u, &want, sizeof want);
}

static void merging(void **state) {
  struct usage u = USAGE_NONE;
  (void)state;
  usage_merge(&u, &(struct usage){ 12, 0, 0, -1, 1, -1 });
  usage_merge(&u, &(struct usage){ -1, -1, -1, -1, 30, -1 });
  usage_is(&u, 12, 0, 0, -1, 30, -1);
  usage_merge(&u, &(struct usage){ 15665, 3, -1, -1, 795, 7 });
  usage_is(&u, 15665, 3, 0, -1, 795, 7);
  usage_merge(&u, &USAGE_NONE);
  usage_is(&u, 15665, 3, 0, -1, 795, 7);
}

/* message_delta restates all cache writes as one number: the hour's share must not be counted twice. */
static void merging_a_restated_split(void **state) {
  struct usage u = USAGE_NONE;
  (void)state;
  usage_merge(&u, &(struct usage){ 100, 0, 200, 50, 1, -1 });
  usage_merge(&u, &(struct usage){ 100, 0, 250, -1, 40, -1 });
  usage_is(&u, 100, 0, 200, 50, 40, -1);
  usage_merge(&u, &(struct usage){ -1, -1, 30, -1, -1, -1 });
  usage_is(&u, 100, 0, 0, 30, 40, -1);
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test(shapes_read), cmocka_unit_test(merging), cmocka_unit_test(merging_a_restated_split) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
