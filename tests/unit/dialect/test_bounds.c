/* The most that a request can come to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "weir/dialect.h"

enum { MEMBERS = 64 };
static struct json_member members[MEMBERS];

static struct request_bounds bounds_of(enum operation op, const char *body) {
  struct request_bounds b;
  size_t count;
  uint64_t keys;
  assert_true(json_read_object_keys(span_cstr(body), members, MEMBERS, &count, NULL, &keys));
  request_bounds(operation_info(op), span_cstr(body), members, count, keys, &b);
  return b;
}

/* No tokenizer makes more tokens of a text than it has bytes: whatever is read stands in the body, byte for byte or longer. So the
   bound is never below the body, wherever the text stands and however it is escaped. */
static void test_input_is_at_least_the_bytes(void **state) {
  static const char *const forms[] = {
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"%s\"}]}]}",
    "{\"model\":\"m\",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"%s\"}}],\"messages\":[]}",
    "{\"model\":\"m\",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"description\":\"%s\"}}}",
  };
  char text[3001], body[4000];
  unsigned seed = 1;
  (void)state;
  for (int round = 0; round < 200; round++) {
    size_t n = 0, bytes = 0, want = (size_t)(seed = seed * 1103515245u + 12345u) % 2000;
    while (bytes < want) {
      unsigned c = (seed = seed * 1103515245u + 12345u) >> 16;
      if (c % 7 == 0) n += (size_t)sprintf(text + n, "\\u00%02x", c & 0x1f), bytes++;
      else if (c % 5 == 0) n += (size_t)sprintf(text + n, "\xe6\xb0\xb4"), bytes += 3;
      else text[n++] = (char)('0' + c % 10), bytes++;
      if (n > sizeof text - 16) break;
    }
    text[n] = 0;
    snprintf(body, sizeof body, forms[round % 4], text);
    struct request_bounds b = bounds_of(OP_CHAT, body);
    assert_true(b.input >= (int64_t)bytes && b.input >= (int64_t)strlen(body));
    assert_false(b.beyond);
  }
}

static void test_what_the_body_does_not_hold(void **state) {
  static const struct { enum operation op; const char *body; bool beyond; int64_t searches; } known[] = {
    { OP_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"an \\\"image_url\\\" in words\"}]}", false, 0 },
    { OP_CHAT, "{\"messages\":[{\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,AAAA\"}}]}]}", true, 0 },
    { OP_CHAT, "{\"messages\":[{\"content\":[{\"type\":\"file\",\"file\":{\"file_id\":\"f\"}}]}]}", true, 0 },
    { OP_CHAT, "{\"messages\":[{\"content\":[{\"type\":\"file\",\"file\":{\"file_data\":\"data:application/pdf;base64,AA\"}}]}]}", true, 0 },
    { OP_CHAT, "{\"messages\":[{\"content\":[{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"AA\",\"format\":\"wav\"}}]}]}", false, 0 },
    { OP_CHAT, "{\"messages\":[{\"role\":\"assistant\",\"audio\":{\"id\":\"audio_1\"}}]}", true, 0 },
    { OP_CHAT, "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"properties\":{\"url\":{},\"image\":{},\"source\":{}}}}}]}", false, 0 },
    { OP_CHAT, "{\"web_search_options\":{}}", true, 16 },
    { OP_CHAT, "{\"data_sources\":[{\"type\":\"azure_search\"}]}", true, 0 },
    { OP_RESPONSES, "{\"previous_response_id\":\"r\"}", true, 0 },
    { OP_RESPONSES, "{\"previous_response_id\":null}", false, 0 },
    { OP_RESPONSES, "{\"conversation\":\"c\"}", true, 0 },
    { OP_RESPONSES, "{\"prompt\":{\"id\":\"p\"}}", true, 0 },
    { OP_RESPONSES, "{\"input\":[{\"type\":\"item_reference\",\"id\":\"x\"}]}", true, 0 },
    { OP_RESPONSES, "{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_image\",\"image_url\":\"https://x\"}]}]}", true, 0 },
    { OP_RESPONSES, "{\"tools\":[{\"type\":\"web_search\"}]}", true, 16 },
    { OP_RESPONSES, "{\"tools\":[{\"type\":\"file_search\",\"vector_store_ids\":[\"v\"]},{\"type\":\"function\",\"name\":\"f\"}]}", true, 16 },
    { OP_MESSAGES, "{\"tools\":[{\"type\":\"web_search_20250305\",\"name\":\"web_search\",\"max_uses\":3}]}", true, 3 },
    { OP_MESSAGES, "{\"tools\":[{\"name\":\"f\",\"input_schema\":{}}]}", false, 0 },
    { OP_MESSAGES, "{\"messages\":[{\"content\":[{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"data\":\"AA\"}}]}]}", true, 0 },
    { OP_MESSAGES, "{\"messages\":[{\"content\":[{\"type\":\"document\",\"source\":{\"type\":\"url\",\"url\":\"https://x\"}}]}]}", true, 0 },
    { OP_MESSAGES, "{\"messages\":[{\"content\":[{\"type\":\"document\",\"source\":{\"type\":\"text\",\"data\":\"words\"}}]}]}", false, 0 },
    { OP_MESSAGES, "{\"container\":\"c\"}", true, 0 },
    { OP_MESSAGES, "{\"thread\":{\"type\":\"continue\",\"previous_message_id\":\"m\"}}", true, 0 },
    { OP_MESSAGES, "{\"thread\":{\"type\":\"create\"}}", false, 0 },
    { OP_MESSAGES, "{\"mcp_servers\":[{}]}", true, 0 },
    { OP_MESSAGES, "{\"mcp_\\u0073ervers\":[{}]}", true, 0 },              /* however it is written */
    { OP_CHAT, "{\"\\u0077eb_search_options\":{}}", true, 16 },
    { OP_CHAT, "{\"\\u0074ool\\u0073\":[{\"type\":\"function\",\"function\":{\"parameters\":{\"properties\":{\"url\":{}}}}}]}", false, 0 },
    { OP_CHAT, "{\"messages\":[{\"content\":[{\"file\":{\"file\\u005fid\":\"f\"}}]}]}", true, 0 },
    { OP_CHAT, "{\"messages\":[{\"content\":[{\"type\":\"image_url\",\"\\u0069mage_url\" : {\"ur\\u006c\":\"https://x\"}}]}]}", true, 0 },
    { OP_MESSAGES, "{\"messages\":[{\"content\":[{\"type\":\"image\",\"sourc\\u0065\":{\"type\":\"base64\",\"data\":\"AA\"}}]}]}", true, 0 },
    { OP_MESSAGES, "{\"messages\":[{\"content\":[{\"input\":{\"\\u00e9t\\u00e9\":\"\\u0069mage_url\",\"\\u0069mage_urls\":1}}]}]}", false, 0 },
  };
  (void)state;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    struct request_bounds b = bounds_of(known[i].op, known[i].body);
    if (b.beyond != known[i].beyond || b.searches != known[i].searches) fail_msg("%s: beyond %d, searches %lld", known[i].body, b.beyond, (long long)b.searches);
  }
}

static void test_answers(void **state) {
  static const struct { enum operation op; const char *body; int64_t choices; } known[] = {
    { OP_CHAT, "{\"n\":3}", 3 }, { OP_CHAT, "{\"n\":null}", 1 }, { OP_CHAT, "{\"n\":\"3\"}", 1 }, { OP_RESPONSES, "{\"n\":3}", 1 },
    { OP_COMPLETIONS, "{\"n\":2,\"best_of\":5}", 5 }, { OP_COMPLETIONS, "{\"prompt\":[\"a\",\"b\",\"c\"],\"n\":2}", 6 },
    { OP_COMPLETIONS, "{\"prompt\":[1,2,3]}", 1 }, { OP_COMPLETIONS, "{\"prompt\":[[1,2],[3]]}", 2 }, { OP_COMPLETIONS, "{\"prompt\":\"a\"}", 1 },
  };
  (void)state;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) assert_int_equal(bounds_of(known[i].op, known[i].body).choices, known[i].choices);
  assert_int_equal(bounds_of(OP_COMPLETIONS, "{\"prompt\":\"a\"}").output, 16);
  assert_int_equal(bounds_of(OP_CHAT, "{}").output, -1);
  assert_true(bounds_of(OP_EMBEDDINGS, "{\"input\":\"x\"}").no_output && bounds_of(OP_COUNT_TOKENS, "{}").no_output);
  assert_true(bounds_of(OP_RESPONSES, "{\"background\":true}").later && !bounds_of(OP_RESPONSES, "{\"background\":false}").later);
}

static void test_what_is_charged_otherwise(void **state) {
  (void)state;
  struct request_bounds b = bounds_of(OP_MESSAGES, "{\"system\":[{\"type\":\"text\",\"text\":\"x\",\"cache_control\":{\"type\":\"ephemeral\"}}]}");
  assert_true(b.caches && !b.caches_1h);
  b = bounds_of(OP_MESSAGES, "{\"tools\":[{\"name\":\"f\",\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}}]}");
  assert_true(b.caches && b.caches_1h);
  b = bounds_of(OP_MESSAGES, "{\"messages\":[{\"content\":[{\"cache\\u005fcontrol\":{\"type\":\"ephemeral\"}}]}]}");
  assert_true(b.caches && !b.caches_1h);
  b = bounds_of(OP_MESSAGES, "{\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}}");
  assert_true(b.caches && b.caches_1h);
  b = bounds_of(OP_MESSAGES, "{\"messages\":[{\"content\":\"cache_control 1h\"}],\"speed\":\"fast\"}");
  assert_true(!b.caches && !b.caches_1h && b.fast);
  b = bounds_of(OP_CHAT, "{\"modalities\":[\"text\",\"audio\"],\"audio\":{\"voice\":\"x\"}}");
  assert_true(b.audio_out && !b.audio_in && !b.beyond);
  assert_true(bounds_of(OP_CHAT, "{\"messages\":[{\"content\":[{\"type\":\"input_audio\",\"input_audio\":{}}]}]}").audio_in);
  assert_int_equal(bounds_of(OP_CHAT, "{}").tiers, ~0u);
  assert_int_equal(bounds_of(OP_CHAT, "{\"service_tier\":\"auto\"}").tiers, ~0u);
  assert_int_equal(bounds_of(OP_CHAT, "{\"service_tier\":\"default\"}").tiers, 1u << TIER_STANDARD);
  assert_int_equal(bounds_of(OP_CHAT, "{\"service_tier\":\"flex\"}").tiers, 1u << TIER_FLEX | 1u << TIER_STANDARD);
  assert_true(bounds_of(OP_CHAT, "{\"service_tier\":\"priority\"}").tiers & 1u << TIER_PRIORITY);
}

static void test_edits_widen(void **state) {
  (void)state;
  struct request_bounds b = bounds_of(OP_CHAT, "{\"n\":2}"), before = b;
  request_bounds_edit(operation_info(OP_CHAT), SPAN("messages"), SPAN("[{\"role\":\"user\",\"content\":\"hello\"}]"), &b);
  assert_int_equal(b.input, before.input + 35);
  assert_false(b.beyond);
  request_bounds_edit(operation_info(OP_CHAT), SPAN("messages"), SPAN("[{\"content\":[{\"image_url\":{}}]}]"), &b);
  assert_true(b.beyond);
  assert_int_equal(b.choices, 2);
  request_bounds_edit(operation_info(OP_CHAT), SPAN("n"), SPAN("4"), &b);
  assert_int_equal(b.choices, 4);
  request_bounds_edit(operation_info(OP_CHAT), SPAN("stop"), (struct span){ 0 }, &b);
  assert_int_equal(b.choices, 4);
}

/* ---- what providers tell of their limits */
static struct limits_told told(const char *lines, bool *good) {
  static struct http_head h;
  char text[1024];
  struct limits_told l;
  snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\n%s\r\n", lines);
  assert_int_equal(http_read_response(span_cstr(text), SPAN("GET"), &h), HTTP_OK);
  *good = limits_read(&h, 1767225600, &l);               /* 2026-01-01T00:00:00Z */
  return l;
}

static void test_limits(void **state) {
  bool good;
  (void)state;
  struct limits_told l = told("x-ratelimit-limit-requests: 60\r\nX-RateLimit-Remaining-Requests: 59\r\nx-ratelimit-reset-requests: 1s\r\n"
                              "x-ratelimit-remaining-tokens: 149984\r\nx-ratelimit-reset-tokens: 6m0.5s\r\n", &good);
  assert_true(good && l.requests == 59 && l.tokens == 149984);
  assert_true(l.requests_reset == 1 && l.tokens_reset == 360.5);
  l = told("x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 20ms\r\n", &good);
  assert_true(good && l.requests == 0 && l.tokens == -1 && l.requests_reset > 0.0199 && l.requests_reset < 0.0201);
  l = told("X-RateLimit-Remaining: 5\r\nX-RateLimit-Reset: 1767225660000\r\n", &good);
  assert_true(good && l.requests == 5 && l.requests_reset == 60);
  l = told("anthropic-ratelimit-requests-remaining: 7\r\nanthropic-ratelimit-requests-reset: 2026-01-01T00:00:30Z\r\n"
           "anthropic-ratelimit-input-tokens-remaining: 900\r\nanthropic-ratelimit-input-tokens-reset: 2026-01-01T01:01:00.5+01:00\r\n"
           "anthropic-ratelimit-output-tokens-remaining: 100\r\nanthropic-ratelimit-output-tokens-reset: 2025-12-31T23:59:59Z\r\n", &good);
  assert_true(good && l.requests == 7 && l.requests_reset == 30 && l.tokens == 100 && l.tokens_reset == 0);
  told("x-ratelimit-remaining-requests: 0\r\n", &good);
  assert_false(good);                                    /* nobody knows until when */
  told("x-ratelimit-remaining-requests: none\r\nx-ratelimit-reset-requests: soon\r\nanthropic-ratelimit-: 1\r\nx-ratelimit-: 2\r\n", &good);
  assert_false(good);
  l = told("x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 1e300\r\n", &good);
  assert_true(!good && l.requests_reset == -1);          /* no account is avoided for ever */
  told("content-type: text/plain\r\n", &good);
  assert_false(good);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_input_is_at_least_the_bytes), cmocka_unit_test(test_what_the_body_does_not_hold), cmocka_unit_test(test_answers),
    cmocka_unit_test(test_what_is_charged_otherwise),   cmocka_unit_test(test_edits_widen),                 cmocka_unit_test(test_limits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
