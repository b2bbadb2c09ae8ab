/* The words and tables that are promises: faults, dialects, operations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "weir/dialect.h"

static const char *const promised[] = {
  "auth", "quota", "rate_limited", "overloaded", "context_too_long", "content_filtered", "refused", "bad_request", "not_found",
  "timeout", "connection", "protocol", "tls", "empty", "invalid",
};

static void fault_words_stand(void **state) {
  size_t count;
  const char *const *words = fault_words(&count);
  (void)state;
  assert_int_equal(count, sizeof promised / sizeof *promised);
  for (size_t i = 0; i < count; i++) {
    enum fault f = FAULT_NONE;
    assert_string_equal(words[i], promised[i]);
    assert_true(fault_named(span_cstr(promised[i]), &f));
    assert_string_equal(fault_word(f), promised[i]);
  }
  enum fault untouched = FAULT_TLS;
  assert_false(fault_named(SPAN(""), &untouched) || fault_named(SPAN("Auth"), &untouched) || fault_named(SPAN("done"), &untouched));
  assert_int_equal(untouched, FAULT_TLS);
  assert_string_equal(fault_word(FAULT_NONE), "");
}

static void fault_statuses(void **state) {
  static const int statuses[FAULT_COUNT] = {
    [FAULT_NONE] = 500, [FAULT_AUTH] = 502, [FAULT_QUOTA] = 502, [FAULT_RATE_LIMITED] = 429, [FAULT_OVERLOADED] = 503,
    [FAULT_CONTEXT_TOO_LONG] = 400, [FAULT_CONTENT_FILTERED] = 400, [FAULT_REFUSED] = 400, [FAULT_BAD_REQUEST] = 400,
    [FAULT_NOT_FOUND] = 404, [FAULT_TIMEOUT] = 504, [FAULT_CONNECTION] = 502, [FAULT_PROTOCOL] = 502, [FAULT_TLS] = 502,
    [FAULT_EMPTY] = 502, [FAULT_INVALID] = 502,
  };
  static const enum fault again[] = { FAULT_RATE_LIMITED, FAULT_OVERLOADED, FAULT_TIMEOUT, FAULT_CONNECTION, FAULT_PROTOCOL, FAULT_TLS, FAULT_EMPTY, FAULT_INVALID };
  (void)state;
  for (enum fault f = FAULT_NONE; f < FAULT_COUNT; f++) {
    bool retryable = false;
    for (size_t i = 0; i < sizeof again / sizeof *again; i++) retryable |= again[i] == f;
    assert_int_equal(fault_status(f), statuses[f]);
    assert_int_equal(fault_retryable(f), retryable);
  }
}

static void dialects(void **state) {
  enum dialect d;
  bool later;
  (void)state;
  for (enum dialect want = 0; want < DIALECT_COUNT; want++) {
    assert_true(dialect_named(span_cstr(dialect_word(want)), &d, &later));
    assert_int_equal(d, want);
    assert_false(later);
  }
  assert_string_equal(dialect_word(DIALECT_MESSAGES), "messages");
  assert_false(dialect_named(SPAN("cohere"), &d, &later));
  assert_true(later);
  assert_false(dialect_named(SPAN("openai"), &d, &later));
  assert_false(later);
}

static void operations(void **state) {
  static const struct { enum operation op; const char *path, *suffix; enum dialect dialect; bool streams; } known[] = {
    { OP_CHAT, "/v1/chat/completions", "/chat/completions", DIALECT_CHAT, true },
    { OP_COMPLETIONS, "/v1/completions", "/completions", DIALECT_CHAT, true },
    { OP_EMBEDDINGS, "/v1/embeddings", "/embeddings", DIALECT_CHAT, false },
    { OP_RESPONSES, "/v1/responses", "/responses", DIALECT_RESPONSES, true },
    { OP_MESSAGES, "/v1/messages", "/messages", DIALECT_MESSAGES, true },
    { OP_COUNT_TOKENS, "/v1/messages/count_tokens", "/messages/count_tokens", DIALECT_MESSAGES, false },
    { OP_GENERATE, "/v1beta/models/{model}:generateContent", ":generateContent", DIALECT_GEMINI, true },
    { OP_GENERATE_ARRAY, "/v1beta/models/{model}:streamGenerateContent", ":streamGenerateContent", DIALECT_GEMINI, false },
    { OP_GEMINI_TOKENS, "/v1beta/models/{model}:countTokens", ":countTokens", DIALECT_GEMINI, false },
    { OP_GEMINI_EMBED, "/v1beta/models/{model}:embedContent", ":embedContent", DIALECT_GEMINI, false },
    { OP_GEMINI_EMBEDS, "/v1beta/models/{model}:batchEmbedContents", ":batchEmbedContents", DIALECT_GEMINI, false },
    { OP_CONVERSE, "/model/{model}/converse", "/converse", DIALECT_CONVERSE, true },
    { OP_INPUT_TOKENS, "/v1/responses/input_tokens", "/responses/input_tokens", DIALECT_RESPONSES, false },
  };
  (void)state;
  for (size_t i = 0; i < OP_COUNT; i++) {
    const struct operation_info *o = operation_info(known[i].op);
    assert_int_equal(o->operation, known[i].op);
    assert_string_equal(o->path, known[i].path);
    assert_string_equal(o->suffix, known[i].suffix);
    assert_int_equal(o->dialect, known[i].dialect);
    assert_int_equal(o->streams, known[i].streams);
    assert_ptr_equal(operation_by_path(span_cstr(known[i].path)), o->dialect == DIALECT_CONVERSE ? NULL : o);   /* no path of clients */
    bool openai = o->dialect == DIALECT_CHAT || o->dialect == DIALECT_RESPONSES;
    assert_int_equal(operation_served(o, DIALECT_CHAT), openai);
    assert_int_equal(operation_served(o, DIALECT_RESPONSES), openai);
    assert_int_equal(operation_served(o, DIALECT_MESSAGES), o->dialect == DIALECT_MESSAGES);
    assert_int_equal(operation_served(o, DIALECT_GEMINI), o->dialect == DIALECT_GEMINI);
  }
  assert_null(operation_by_path(SPAN("/v1/chat/completions/")));
  assert_null(operation_by_path(SPAN("/v1/files")));
  struct span model;
  assert_ptr_equal(operation_by_path(SPAN("/v1/models/a:b:countTokens")), operation_info(OP_GEMINI_TOKENS));
  assert_true(operation_path_model(SPAN("/v1/models/a:b:countTokens"), &model) && span_eq(model, SPAN("a:b")));
  assert_true(operation_path_model(SPAN("/v1beta/tunedModels/a:generateContent"), &model) && span_eq(model, SPAN("tunedModels/a")));
  assert_null(operation_by_path(SPAN("/v1beta/models/:generateContent")));
  assert_null(operation_by_path(SPAN("/v1beta/files:generateContent")));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(fault_words_stand), cmocka_unit_test(fault_statuses), cmocka_unit_test(dialects), cmocka_unit_test(operations),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
