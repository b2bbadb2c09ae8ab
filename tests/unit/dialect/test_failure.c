/* What refusals mean: bodies as the providers send them, statuses without one, waiting times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "weir/dialect.h"

#define OPENAI(type, code, message) "{\"error\":{\"message\":\"" message "\",\"type\":\"" type "\",\"param\":null,\"code\":" code "}}"
#define ANTHROPIC(type, message) "{\"type\":\"error\",\"error\":{\"type\":\"" type "\",\"message\":\"" message "\"},\"request_id\":\"req_1\"}"

struct body {
  enum dialect dialect;
  int status;
  const char *body;
  enum fault fault;
  const char *code, *message;         /* message NULL: not looked at */
};
static const struct body bodies[] = {
  /* OpenAI and its kin */
  { DIALECT_CHAT, 400, OPENAI("invalid_request_error", "\"unsupported_parameter\"", "m"), FAULT_BAD_REQUEST, "unsupported_parameter", "m" },
  { DIALECT_CHAT, 400, OPENAI("invalid_request_error", "\"context_length_exceeded\"", "m"), FAULT_CONTEXT_TOO_LONG, "context_length_exceeded", "m" },
  { DIALECT_RESPONSES, 400, OPENAI("invalid_request_error", "\"context_length_exceeded\"", "m"), FAULT_CONTEXT_TOO_LONG, "context_length_exceeded", "m" },
  { DIALECT_CHAT, 400, OPENAI("invalid_request_error", "null", "m \\\"q\\\""), FAULT_BAD_REQUEST, "invalid_request_error", "m \\\"q\\\"" },
  { DIALECT_CHAT, 400, OPENAI("invalid_request_error", "\"decimal_below_min_value\"", "m"), FAULT_BAD_REQUEST, "decimal_below_min_value", "m" },
  { DIALECT_CHAT, 401, OPENAI("invalid_request_error", "\"invalid_api_key\"", "m"), FAULT_AUTH, "invalid_api_key", "m" },
  { DIALECT_CHAT, 403, OPENAI("request_forbidden", "\"unsupported_country_region_territory\"", "m"), FAULT_AUTH, "unsupported_country_region_territory", "m" },
  { DIALECT_CHAT, 404, OPENAI("invalid_request_error", "\"model_not_found\"", "m"), FAULT_NOT_FOUND, "model_not_found", "m" },
  { DIALECT_CHAT, 404, OPENAI("invalid_request_error", "null", "m"), FAULT_NOT_FOUND, "invalid_request_error", "m" },
  { DIALECT_CHAT, 429, OPENAI("requests", "\"rate_limit_exceeded\"", "m"), FAULT_RATE_LIMITED, "rate_limit_exceeded", "m" },
  { DIALECT_CHAT, 429, OPENAI("tokens", "null", "m"), FAULT_RATE_LIMITED, "tokens", "m" },
  { DIALECT_CHAT, 429, OPENAI("insufficient_quota", "\"insufficient_quota\"", "m"), FAULT_QUOTA, "insufficient_quota", "m" },
  { DIALECT_CHAT, 429, OPENAI("engine_overloaded_error", "null", "m"), FAULT_OVERLOADED, "engine_overloaded_error", "m" },
  { DIALECT_CHAT, 429, OPENAI("exceeded_current_quota_error", "null", "m"), FAULT_QUOTA, "exceeded_current_quota_error", "m" },
  { DIALECT_CHAT, 500, OPENAI("server_error", "null", "m"), FAULT_OVERLOADED, "server_error", "m" },
  { DIALECT_CHAT, 503, OPENAI("server_error", "\"slow_down\"", "m"), FAULT_OVERLOADED, "slow_down", "m" },
  { DIALECT_CHAT, 400, OPENAI("image_generation_user_error", "\"moderation_blocked\"", "m"), FAULT_CONTENT_FILTERED, "moderation_blocked", "m" },
  /* Azure */
  { DIALECT_CHAT, 429, "{\"error\":{\"code\":\"429\",\"message\":\"m\"}}", FAULT_RATE_LIMITED, "429", "m" },
  { DIALECT_CHAT, 429, "{\"error\":{\"code\":\"RateLimitReached\",\"message\":\"m\"}}", FAULT_RATE_LIMITED, "RateLimitReached", "m" },
  { DIALECT_CHAT, 401, "{\"statusCode\":401,\"message\":\"m\"}", FAULT_AUTH, "", "m" },
  { DIALECT_CHAT, 404, "{\"error\":{\"code\":\"DeploymentNotFound\",\"message\":\"m\"}}", FAULT_NOT_FOUND, "DeploymentNotFound", "m" },
  { DIALECT_CHAT, 400, "{\"error\":{\"message\":\"m\",\"type\":null,\"param\":\"prompt\",\"code\":\"content_filter\",\"status\":400,\"innererror\":{\"code\":\"ResponsibleAIPolicyViolation\"}}}",
    FAULT_CONTENT_FILTERED, "content_filter", "m" },
  { DIALECT_CHAT, 400, "{\"error\":{\"message\":\"m\",\"code\":null,\"innererror\":{\"code\":\"ResponsibleAIPolicyViolation\"}}}", FAULT_CONTENT_FILTERED, "", "m" },
  /* Mistral, DeepSeek, Groq, Moonshot, Qwen, xAI, OpenRouter, Ollama, vLLM, LiteLLM */
  { DIALECT_CHAT, 429, "{\"object\":\"error\",\"message\":\"m\",\"type\":\"rate_limited\",\"param\":null,\"code\":\"1300\"}", FAULT_RATE_LIMITED, "1300", "m" },
  { DIALECT_CHAT, 429, "{\"object\":\"error\",\"message\":\"m\",\"type\":\"service_tier_capacity_exceeded\",\"param\":null,\"code\":\"3505\"}", FAULT_OVERLOADED, "3505", "m" },
  { DIALECT_CHAT, 400, "{\"object\":\"error\",\"message\":\"m\",\"type\":\"invalid_model\",\"param\":null,\"code\":\"1500\"}", FAULT_NOT_FOUND, "1500", "m" },
  { DIALECT_CHAT, 422, "{\"detail\":[{\"type\":\"extra_forbidden\",\"loc\":[\"body\",\"x\"],\"msg\":\"Extra inputs are not permitted\",\"input\":1}]}", FAULT_BAD_REQUEST, "", "Extra inputs are not permitted" },
  { DIALECT_CHAT, 422, "{\"object\":\"error\",\"message\":{\"detail\":[{\"msg\":\"deep\"}]},\"type\":\"invalid_request_error\"}", FAULT_BAD_REQUEST, "invalid_request_error", "deep" },
  { DIALECT_CHAT, 400, "{\"object\":\"error\",\"message\":\"Prompt contains 40000 tokens, too large for model with 32768 maximum context length\",\"type\":\"invalid_request_prompt\"}", FAULT_CONTEXT_TOO_LONG, "invalid_request_prompt", NULL },
  { DIALECT_CHAT, 402, OPENAI("unknown_error", "\"invalid_request_error\"", "Insufficient Balance"), FAULT_QUOTA, "invalid_request_error", NULL },
  { DIALECT_CHAT, 413, OPENAI("tokens", "\"rate_limit_exceeded\"", "Request too large for model"), FAULT_CONTEXT_TOO_LONG, "rate_limit_exceeded", NULL },
  { DIALECT_CHAT, 413, "", FAULT_BAD_REQUEST, "", "" },
  { DIALECT_CHAT, 400, "{\"error\":{\"message\":\"m\",\"type\":\"invalid_request_error\",\"code\":\"tool_use_failed\",\"failed_generation\":\"x\"}}", FAULT_BAD_REQUEST, "tool_use_failed", "m" },
  { DIALECT_CHAT, 498, OPENAI("capacity_exceeded", "null", "m"), FAULT_OVERLOADED, "capacity_exceeded", "m" },
  { DIALECT_CHAT, 400, OPENAI("model_decommissioned", "\"model_decommissioned\"", "m"), FAULT_NOT_FOUND, "model_decommissioned", "m" },
  { DIALECT_CHAT, 429, "{\"code\":\"Throttling.RateQuota\",\"message\":\"m\",\"request_id\":\"r\"}", FAULT_RATE_LIMITED, "Throttling.RateQuota", "m" },
  { DIALECT_CHAT, 400, "{\"code\":\"Arrearage\",\"message\":\"m\",\"request_id\":\"r\"}", FAULT_QUOTA, "Arrearage", "m" },
  { DIALECT_CHAT, 400, "{\"error\":{\"code\":\"data_inspection_failed\",\"message\":\"m\",\"type\":\"data_inspection_failed\"},\"id\":\"x\"}", FAULT_CONTENT_FILTERED, "data_inspection_failed", "m" },
  { DIALECT_CHAT, 400, "{\"error\":{\"code\":\"invalid_parameter_error\",\"message\":\"Range of input length should be [1, 30720]\",\"type\":\"invalid_request_error\"}}", FAULT_CONTEXT_TOO_LONG, "invalid_parameter_error", NULL },
  { DIALECT_CHAT, 400, "{\"code\":\"Client specified an invalid argument\",\"error\":\"This model's maximum prompt length is 131072 but the request contains 200000 tokens.\"}", FAULT_CONTEXT_TOO_LONG, "Client specified an invalid argument", NULL },
  { DIALECT_CHAT, 400, "{\"error\":\"text\"}", FAULT_BAD_REQUEST, "", "text" },
  { DIALECT_CHAT, 402, "{\"error\":{\"code\":402,\"message\":\"m\",\"metadata\":{}},\"user_id\":\"u\"}", FAULT_QUOTA, "402", "m" },
  { DIALECT_CHAT, 403, "{\"error\":{\"code\":403,\"message\":\"m\",\"metadata\":{\"reasons\":[\"violence\"],\"flagged_input\":\"x\"}}}", FAULT_CONTENT_FILTERED, "403", "m" },
  { DIALECT_CHAT, 403, "{\"error\":{\"message\":\"m\",\"type\":\"guardrail_triggered\",\"code\":null}}", FAULT_CONTENT_FILTERED, "guardrail_triggered", "m" },
  { DIALECT_CHAT, 429, "{\"error\":{\"code\":429,\"message\":\"Provider returned error\",\"metadata\":{\"provider_name\":\"x\",\"raw\":\"y\"}}}", FAULT_RATE_LIMITED, "429", NULL },
  { DIALECT_CHAT, 404, "{\"error\":{\"message\":\"m\",\"type\":\"not_found_error\",\"param\":null,\"code\":null}}", FAULT_NOT_FOUND, "not_found_error", "m" },
  { DIALECT_CHAT, 400, "{\"error\":{\"message\":\"This model's maximum context length is 4096 tokens. However, you requested 5000\",\"type\":\"BadRequestError\",\"param\":null,\"code\":400}}", FAULT_CONTEXT_TOO_LONG, "400", NULL },
  { DIALECT_CHAT, 400, "{\"object\":\"error\",\"message\":\"m\",\"type\":\"BadRequestError\",\"param\":null,\"code\":400}", FAULT_BAD_REQUEST, "400", "m" },
  { DIALECT_CHAT, 400, "{\"error\":{\"message\":\"the request exceeds the available context size\",\"type\":\"exceed_context_size_error\",\"code\":400}}", FAULT_CONTEXT_TOO_LONG, "400", NULL },
  { DIALECT_CHAT, 401, "{\"error\":{\"message\":\"litellm.AuthenticationError: x\",\"type\":null,\"param\":null,\"code\":\"401\"}}", FAULT_AUTH, "401", NULL },
  { DIALECT_CHAT, 400, "{\"error\":{\"message\":\"m\",\"type\":\"budget_exceeded\",\"param\":null,\"code\":\"400\"}}", FAULT_QUOTA, "400", "m" },
  { DIALECT_CHAT, 500, "{\"status\":\"failure\",\"message\":\"m\"}", FAULT_OVERLOADED, "", "m" },
  { DIALECT_CHAT, 400, "[{\"error\":{\"code\":400,\"message\":\"The input token count (2000000) exceeds the maximum\",\"status\":\"INVALID_ARGUMENT\"}}]", FAULT_CONTEXT_TOO_LONG, "400", NULL },
  { DIALECT_CHAT, 400, "{\"error\":{\"code\":400,\"message\":\"m\",\"status\":\"INVALID_ARGUMENT\"}}", FAULT_BAD_REQUEST, "400", "m" },
  { DIALECT_CHAT, 503, "{\"error\":{\"code\":503,\"message\":\"m\",\"status\":\"UNAVAILABLE\"}}", FAULT_OVERLOADED, "503", "m" },
  { DIALECT_CHAT, 429, "{\"error\":{\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\",\"details\":[{\"violations\":[{\"quotaId\":\"GenerateRequestsPerDayPerProject\"}]}]}}", FAULT_QUOTA, "429", "" },
  /* English is read for one thing only, and only beside the statuses it can come with */
  { DIALECT_CHAT, 400, OPENAI("invalid_request_error", "null", "you exceeded your rate limit and quota"), FAULT_BAD_REQUEST, "invalid_request_error", NULL },
  { DIALECT_CHAT, 429, OPENAI("requests", "null", "too many requests for this context window"), FAULT_RATE_LIMITED, "requests", NULL },
  { DIALECT_CHAT, 400, OPENAI("invalid_request_error", "null", "Please REDUCE the length of the messages."), FAULT_CONTEXT_TOO_LONG, "invalid_request_error", NULL },
  /* Anthropic */
  { DIALECT_MESSAGES, 400, ANTHROPIC("invalid_request_error", "max_tokens: required"), FAULT_BAD_REQUEST, "invalid_request_error", "max_tokens: required" },
  { DIALECT_MESSAGES, 400, ANTHROPIC("invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum"), FAULT_CONTEXT_TOO_LONG, "invalid_request_error", NULL },
  { DIALECT_MESSAGES, 400, ANTHROPIC("invalid_request_error", "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000"), FAULT_CONTEXT_TOO_LONG, "invalid_request_error", NULL },
  { DIALECT_MESSAGES, 401, ANTHROPIC("authentication_error", "invalid x-api-key"), FAULT_AUTH, "authentication_error", NULL },
  { DIALECT_MESSAGES, 402, ANTHROPIC("billing_error", "m"), FAULT_QUOTA, "billing_error", "m" },
  { DIALECT_MESSAGES, 403, ANTHROPIC("permission_error", "m"), FAULT_AUTH, "permission_error", "m" },
  { DIALECT_MESSAGES, 404, ANTHROPIC("not_found_error", "model: x"), FAULT_NOT_FOUND, "not_found_error", NULL },
  { DIALECT_MESSAGES, 413, ANTHROPIC("request_too_large", "m"), FAULT_BAD_REQUEST, "request_too_large", "m" },
  { DIALECT_MESSAGES, 429, ANTHROPIC("rate_limit_error", "m"), FAULT_RATE_LIMITED, "rate_limit_error", "m" },
  { DIALECT_MESSAGES, 429, "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"m\",\"details\":{\"error_code\":\"enforced_spend_limit_reached\"}}}", FAULT_QUOTA, "rate_limit_error", "m" },
  { DIALECT_MESSAGES, 500, ANTHROPIC("api_error", "m"), FAULT_OVERLOADED, "api_error", "m" },
  { DIALECT_MESSAGES, 504, ANTHROPIC("timeout_error", "m"), FAULT_TIMEOUT, "timeout_error", "m" },
  { DIALECT_MESSAGES, 529, ANTHROPIC("overloaded_error", "m"), FAULT_OVERLOADED, "overloaded_error", "m" },
  /* proxies and garbage */
  { DIALECT_CHAT, 502, "<html><body>Bad gateway: context length</body></html>", FAULT_OVERLOADED, "", "" },
  { DIALECT_CHAT, 401, "Unauthorized", FAULT_AUTH, "", "" },
  { DIALECT_CHAT, 503, "", FAULT_OVERLOADED, "", "" },
  { DIALECT_CHAT, 429, "{\"error\":", FAULT_RATE_LIMITED, "", "" },
  { DIALECT_CHAT, 400, "null", FAULT_BAD_REQUEST, "", "" },
};

static void known_bodies(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
    const struct body *b = &bodies[i];
    struct failure f;
    failure_read(b->dialect, b->status, NULL, span_cstr(b->body), &f);
    if (f.fault != b->fault) fail_msg("%d %s: '%s'", b->status, b->body, fault_word(f.fault));
    if (!span_eq(f.code, span_cstr(b->code))) fail_msg("%s: code '%.*s'", b->body, SPAN_FMT(f.code));
    if (b->message && !span_eq(f.message, span_cstr(b->message))) fail_msg("%s: message '%.*s'", b->body, SPAN_FMT(f.message));
    assert_int_equal(f.account, f.fault == FAULT_AUTH || f.fault == FAULT_QUOTA);
  }
}

static void statuses(void **state) {
  static const struct { int status; enum fault fault; } known[] = {
    { 301, FAULT_PROTOCOL }, { 400, FAULT_BAD_REQUEST }, { 401, FAULT_AUTH }, { 402, FAULT_QUOTA }, { 403, FAULT_AUTH }, { 404, FAULT_NOT_FOUND },
    { 405, FAULT_BAD_REQUEST }, { 408, FAULT_TIMEOUT }, { 409, FAULT_OVERLOADED }, { 413, FAULT_BAD_REQUEST }, { 415, FAULT_BAD_REQUEST },
    { 422, FAULT_BAD_REQUEST }, { 424, FAULT_OVERLOADED }, { 425, FAULT_OVERLOADED }, { 429, FAULT_RATE_LIMITED }, { 498, FAULT_OVERLOADED },
    { 499, FAULT_BAD_REQUEST }, { 500, FAULT_OVERLOADED }, { 502, FAULT_OVERLOADED }, { 503, FAULT_OVERLOADED }, { 504, FAULT_TIMEOUT },
    { 520, FAULT_OVERLOADED }, { 524, FAULT_TIMEOUT }, { 529, FAULT_OVERLOADED }, { 700, FAULT_PROTOCOL },
  };
  (void)state;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    for (enum dialect d = 0; d < DIALECT_COUNT; d++) {
      struct failure f;
      failure_read(d, known[i].status, NULL, SPAN(""), &f);
      assert_int_equal(f.fault, known[i].fault);
      assert_true(f.retry_after == -1);
    }
}

static struct http_head head_of(const struct http_header *headers, size_t count) {
  struct http_head h = { .count = count };
  for (size_t i = 0; i < count; i++) h.headers[i] = headers[i];
  return h;
}

static double wait_of(const char *name, const char *value) {
  struct http_head h = head_of(&(struct http_header){ span_cstr(name), span_cstr(value) }, 1);
  return retry_after_read(&h, 784111777);            /* Sun, 06 Nov 1994 08:49:37 GMT */
}

static void waits(void **state) {
  static const struct { const char *name, *value; double seconds; } known[] = {
    { "Retry-After", "7", 7 }, { "retry-after", "0.25", 0.25 }, { "retry-after", "0", 0 }, { "retry-after", " 12 ", 12 },
    { "retry-after-ms", "1500", 1.5 }, { "x-ms-retry-after-ms", "20", 0.02 },
    { "retry-after", "Sun, 06 Nov 1994 08:49:47 GMT", 10 }, { "retry-after", "Sunday, 06-Nov-94 08:50:37 GMT", 60 },
    { "retry-after", "Sun Nov  6 08:49:38 1994", 1 }, { "retry-after", "Sun, 06 Nov 1994 08:00:00 GMT", 0 },
    { "retry-after", "Mon, 07 Nov 1994 08:49:37 GMT", 86400 },
    { "retry-after", "", -1 }, { "retry-after", "soon", -1 }, { "retry-after", "-5", -1 }, { "retry-after", "1e999", -1 },
    { "retry-after-ms", "x", -1 }, { "retry-after-ms", "1e999", -1 }, { "retry-after", "Sun, 32 Nov 1994 08:49:37 GMT", -1 },
    { "retry-after", "Sun, 06 Foo 1994 08:49:37 GMT", -1 }, { "retry-after", "Sun, 06 Nov 1994 25:49:37 GMT", -1 },
    { "retry-after", "Sun, 06 Nov 1994 08:49:37 CET", -1 }, { "retry-after", "Sun, 06 Nov 99999 08:49:37 GMT", -1 }, { "x-other", "5", -1 },
  };
  (void)state;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    double got = wait_of(known[i].name, known[i].value);
    if (got != known[i].seconds) fail_msg("%s: %s gives %f", known[i].name, known[i].value, got);
  }
}

/* Milliseconds are the exact word where both stand; a date is measured by the answer's own clock. */
static void waits_together(void **state) {
  const struct http_header both[] = { { SPAN("retry-after"), SPAN("2") }, { SPAN("retry-after-ms"), SPAN("1200") } };
  const struct http_header dated[] = { { SPAN("date"), SPAN("Sun, 06 Nov 1994 08:49:37 GMT") }, { SPAN("retry-after"), SPAN("Sun, 06 Nov 1994 08:50:07 GMT") } };
  struct http_head h = head_of(both, 2);
  struct failure f;
  (void)state;
  assert_true(retry_after_read(&h, 0) == 1.2);
  h = head_of(dated, 2);
  failure_read(DIALECT_CHAT, 429, &h, SPAN(""), &f);
  assert_true(f.retry_after == 30);
}

static void amazon_error_type(void **state) {
  const struct http_header type = { SPAN("x-amzn-ErrorType"), SPAN("ThrottlingException:http://x/") };
  struct http_head h = head_of(&type, 1);
  struct failure f;
  (void)state;
  failure_read(DIALECT_MESSAGES, 400, &h, SPAN("{\"message\":\"m\"}"), &f);
  assert_int_equal(f.fault, FAULT_RATE_LIMITED);
  assert_true(span_eq(f.code, SPAN("ThrottlingException")));
  assert_true(span_eq(f.message, SPAN("m")));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(known_bodies), cmocka_unit_test(statuses), cmocka_unit_test(waits), cmocka_unit_test(waits_together),
    cmocka_unit_test(amazon_error_type),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
