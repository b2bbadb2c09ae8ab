/* What is read of requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "weir/dialect.h"

enum { MEMBERS = 64 };
static struct json_member members[MEMBERS];
static size_t count;

static void body_is(const char *body) { assert_true(json_read_object(span_cstr(body), members, MEMBERS, &count, NULL)); }

static struct request_facts facts_of(enum operation op, const char *body) {
  struct request_facts f;
  const char *why = NULL;
  body_is(body);
  if (!request_read(operation_info(op), members, count, &f, &why)) fail_msg("%s: %s", body, why);
  return f;
}

static void plain(void **state) {
  struct request_facts f = facts_of(OP_CHAT, "{\"model\":\"gpt-5\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":true,\"max_tokens\":7,\"user\":\"u1\",\"metadata\":{\"session_id\":\"s1\"}}");
  (void)state;
  assert_true(span_eq(f.model.text, SPAN("\"gpt-5\"")));
  assert_true(f.stream);
  assert_false(f.reasoning || f.wants_usage || f.bound);
  assert_int_equal(f.max_tokens, 7);
  assert_true(span_eq(f.user, SPAN("u1")) && span_eq(f.session, SPAN("s1")));
  f = facts_of(OP_EMBEDDINGS, "{\"input\":\"x\",\"stream\":true}");
  assert_int_equal(f.model.type, JSON_NONE);
  assert_false(f.stream);                          /* it has no stream */
  assert_int_equal(f.max_tokens, -1);
  f = facts_of(OP_MESSAGES, "{\"model\":\"c\",\"max_tokens\":5,\"stream\":null,\"metadata\":{\"user_id\":\"me\"},\"user\":\"a\\u0062\"}");
  assert_true(span_eq(f.user, SPAN("a\\u0062")) && span_eq(f.session, SPAN("me")));
  assert_false(f.stream);
}

static void limits(void **state) {
  static const struct { enum operation op; const char *body; int64_t most; } known[] = {
    { OP_CHAT, "{\"max_completion_tokens\":9}", 9 }, { OP_CHAT, "{\"max_tokens\":20,\"max_completion_tokens\":9}", 20 },
    { OP_CHAT, "{\"max_tokens\":null}", -1 }, { OP_CHAT, "{\"max_tokens\":-1}", -1 }, { OP_CHAT, "{\"max_output_tokens\":9}", -1 },
    { OP_CHAT, "{\"max_tokens\":0}", 0 }, { OP_CHAT, "{\"max_tokens\":2.0}", 2 }, { OP_RESPONSES, "{\"max_output_tokens\":16}", 16 },
    { OP_RESPONSES, "{\"max_tokens\":16}", -1 }, { OP_MESSAGES, "{\"max_tokens\":1024}", 1024 }, { OP_COMPLETIONS, "{\"max_tokens\":3}", 3 },
    { OP_EMBEDDINGS, "{\"max_tokens\":\"ignored\"}", -1 },
  };
  (void)state;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) assert_int_equal(facts_of(known[i].op, known[i].body).max_tokens, known[i].most);
}

static void wrong(void **state) {
  static const struct { enum operation op; const char *body, *why; } known[] = {
    { OP_CHAT, "{\"model\":7}", "'model' must be a string" }, { OP_CHAT, "{\"model\":null}", "'model' must be a string" },
    { OP_CHAT, "{\"stream\":\"true\"}", "'stream' must be true or false" }, { OP_CHAT, "{\"max_tokens\":\"7\"}", "'max_tokens' must be a whole number" },
    { OP_CHAT, "{\"max_completion_tokens\":1.5}", "'max_completion_tokens' must be a whole number" },
    { OP_RESPONSES, "{\"max_output_tokens\":99999999999999999999}", "'max_output_tokens' must be a whole number" },
  };
  (void)state;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    struct request_facts f;
    const char *why = NULL;
    body_is(known[i].body);
    assert_false(request_read(operation_info(known[i].op), members, count, &f, &why));
    assert_string_equal(why, known[i].why);
  }
}

static void reasoning(void **state) {
  static const struct { enum operation op; const char *body; bool wanted; } known[] = {
    { OP_CHAT, "{\"reasoning_effort\":\"low\"}", true }, { OP_CHAT, "{\"reasoning_effort\":\"none\"}", false }, { OP_CHAT, "{\"reasoning_effort\":null}", false },
    { OP_CHAT, "{\"thinking\":{\"type\":\"enabled\"}}", true }, { OP_CHAT, "{\"thinking\":{\"type\":\"disabled\"}}", false },
    { OP_CHAT, "{\"enable_thinking\":true}", true }, { OP_CHAT, "{\"enable_thinking\":false}", false }, { OP_CHAT, "{\"thinking_budget\":100}", true },
    { OP_CHAT, "{\"reasoning\":{\"max_tokens\":5}}", true }, { OP_CHAT, "{\"reasoning\":{\"enabled\":false}}", false }, { OP_CHAT, "{\"reasoning\":{\"effort\":\"none\"}}", false },
    { OP_RESPONSES, "{\"reasoning\":{\"effort\":\"high\"}}", true }, { OP_RESPONSES, "{\"reasoning\":{\"effort\":\"none\"}}", false }, { OP_RESPONSES, "{\"reasoning\":null}", false },
    { OP_MESSAGES, "{\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1024}}", true }, { OP_MESSAGES, "{\"thinking\":{\"type\":\"adaptive\"}}", true },
    { OP_MESSAGES, "{\"output_config\":{\"effort\":\"max\"}}", true }, { OP_MESSAGES, "{\"output_config\":{\"format\":{}}}", false }, { OP_MESSAGES, "{}", false },
  };
  (void)state;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (facts_of(known[i].op, known[i].body).reasoning != known[i].wanted) fail_msg("%s", known[i].body);
}

static void usage_option(void **state) {
  (void)state;
  assert_true(facts_of(OP_CHAT, "{\"stream_options\":{\"include_usage\":true}}").wants_usage);
  assert_false(facts_of(OP_CHAT, "{\"stream_options\":{\"include_usage\":false}}").wants_usage);
  assert_false(facts_of(OP_CHAT, "{\"stream_options\":null}").wants_usage);
}

static void bound(void **state) {
  static const struct { enum operation op; const char *body; bool bound; } known[] = {
    { OP_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"file_id\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x\"}}]}]}", false },
    { OP_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file\":{\"file_id\":\"f\"}}]}]}", true },
    { OP_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file\":{\"file_data\":\"f\"}}]}]}", false },
    { OP_CHAT, "{\"messages\":[{\"role\":\"assistant\",\"audio\":{\"id\":\"a\"}}]}", true },
    { OP_CHAT, "{\"messages\":[{\"role\":\"assistant\",\"content\":\"x\",\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"}]}]}", true },
    { OP_CHAT, "{\"messages\":[{\"role\":\"assistant\",\"content\":\"x\",\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":\"s\"}]}]}", true },
    { OP_CHAT, "{\"messages\":[{\"role\":\"assistant\",\"content\":\"x\",\"reasoning_content\":\"t\"}]}", false },
    { OP_RESPONSES, "{\"previous_response_id\":\"r\"}", true }, { OP_RESPONSES, "{\"previous_response_id\":null}", false },
    { OP_RESPONSES, "{\"conversation\":{\"id\":\"c\"}}", true }, { OP_RESPONSES, "{\"prompt\":{\"id\":\"p\"}}", true }, { OP_RESPONSES, "{\"input\":\"hi\"}", false },
    { OP_RESPONSES, "{\"input\":[{\"role\":\"user\",\"content\":\"x\"},{\"type\":\"function_call\",\"call_id\":\"c\"},{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":\"x\"}]}", false },
    { OP_RESPONSES, "{\"input\":[{\"type\":\"item_reference\",\"id\":\"x\"}]}", true }, { OP_RESPONSES, "{\"input\":[{\"type\":\"reasoning\",\"id\":\"x\",\"encrypted_content\":\"y\"}]}", true },
    { OP_RESPONSES, "{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_image\",\"file_id\":\"f\"}]}]}", true },
    { OP_RESPONSES, "{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_image\",\"image_url\":\"https://x\",\"file_id\":null}]}]}", false },
    { OP_RESPONSES, "{\"input\":[{\"type\":\"function_call_output\",\"output\":[{\"type\":\"input_file\",\"file_id\":\"f\"}]}]}", true },
    { OP_RESPONSES, "{\"input\":\"x\",\"tools\":[{\"type\":\"file_search\",\"vector_store_ids\":[\"v\"]}]}", true },
    { OP_MESSAGES, "{\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"}]}]}", true },
    { OP_MESSAGES, "{\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":\"redacted_thinking\",\"data\":\"t\"}]}]}", true },
    { OP_MESSAGES, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"document\",\"source\":{\"type\":\"file\",\"file_id\":\"f\"}}]}]}", true },
    { OP_MESSAGES, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t\",\"content\":[{\"type\":\"image\",\"source\":{\"type\":\"file\",\"file_id\":\"f\"}}]}]}]}", true },
    { OP_MESSAGES, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t\",\"content\":\"x\"}]}]}", false },
    { OP_MESSAGES, "{\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":\"web_search_tool_result\",\"content\":[]}]}]}", true },
    { OP_MESSAGES, "{\"thread\":{\"type\":\"continue\",\"previous_message_id\":\"m\"},\"messages\":[]}", true }, { OP_MESSAGES, "{\"thread\":{\"type\":\"create\"}}", false },
    { OP_MESSAGES, "{\"container\":\"c\",\"messages\":[]}", true }, { OP_MESSAGES, "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", false },
  };
  (void)state;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (facts_of(known[i].op, known[i].body).bound != known[i].bound) fail_msg("%s", known[i].body);
}

static void text_is(enum operation op, const char *body, const char *role, const char *want) {
  struct buf b = { 0 };
  body_is(body);
  request_text(operation_info(op), members, count, span_cstr(role), &b);
  if (!span_eq(buf_span(&b), span_cstr(want))) fail_msg("%s of %s: '%.*s', not '%s'", role, body, SPAN_FMT(buf_span(&b)), want);
  buf_free(&b);
}

static void texts(void **state) {
  const char *chat = "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"developer\",\"content\":\"d\"},{\"content\":[{\"type\":\"text\",\"text\":\"a\\nb\"},"
                     "{\"type\":\"image_url\"},{\"type\":\"text\",\"text\":\"c\"}],\"role\":\"user\"},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[]},"
                     "{\"role\":\"assistant\",\"content\":\"re\"},{\"role\":\"tool\",\"content\":\"42\",\"tool_call_id\":\"x\"}]}";
  const char *messages = "{\"system\":[{\"type\":\"text\",\"text\":\"be\"}],\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"content\":[{\"type\":\"text\",\"text\":\"42\"}]},"
                         "{\"type\":\"text\",\"text\":\"q\"},{\"type\":\"document\",\"source\":{\"type\":\"text\",\"data\":\"doc\"}}]},{\"role\":\"assistant\",\"content\":\"r\"}]}";
  const char *responses = "{\"instructions\":\"i\",\"input\":[{\"role\":\"developer\",\"content\":\"d\"},{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"u\"}]},"
                          "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"a\"}]},{\"type\":\"function_call_output\",\"output\":\"o\"}]}";
  (void)state;
  text_is(OP_CHAT, chat, "system", "s\nd");
  text_is(OP_CHAT, chat, "user", "a\nb\nc");
  text_is(OP_CHAT, chat, "assistant", "re");
  text_is(OP_CHAT, chat, "tool", "42");
  text_is(OP_CHAT, chat, "", "s\nd\na\nb\nc\nre\n42");
  text_is(OP_CHAT, chat, "nobody", "");
  text_is(OP_MESSAGES, messages, "system", "be");
  text_is(OP_MESSAGES, messages, "user", "q\ndoc");
  text_is(OP_MESSAGES, messages, "tool", "42");
  text_is(OP_MESSAGES, messages, "", "be\n42\nq\ndoc\nr");
  text_is(OP_RESPONSES, responses, "system", "i\nd");
  text_is(OP_RESPONSES, responses, "user", "u");
  text_is(OP_RESPONSES, responses, "assistant", "a");
  text_is(OP_RESPONSES, responses, "tool", "o");
  text_is(OP_RESPONSES, "{\"input\":\"plain\"}", "user", "plain");
  text_is(OP_COMPLETIONS, "{\"prompt\":[\"a\",\"b\"]}", "user", "a\nb");
  text_is(OP_EMBEDDINGS, "{\"input\":[[1,2],\"x\"]}", "user", "x");
  text_is(OP_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"\\u00e9\\ud83d\\ude00\"}]}", "user", "\xC3\xA9\xF0\x9F\x98\x80");
  text_is(OP_CHAT, "{\"messages\":7}", "", "");
}

static void member_names(void **state) {
  static const struct { enum operation op; const char *body, *word, *name; } known[] = {
    { OP_CHAT, "{}", "messages", "messages" }, { OP_COMPLETIONS, "{}", "messages", "prompt" }, { OP_EMBEDDINGS, "{}", "messages", "input" },
    { OP_RESPONSES, "{}", "messages", "input" }, { OP_MESSAGES, "{}", "messages", "messages" },
    { OP_CHAT, "{}", "max_tokens", "max_completion_tokens" }, { OP_CHAT, "{\"max_tokens\":1}", "max_tokens", "max_tokens" },
    { OP_CHAT, "{\"max_tokens\":1,\"max_completion_tokens\":1}", "max_tokens", "max_completion_tokens" },
    { OP_COMPLETIONS, "{}", "max_tokens", "max_tokens" }, { OP_RESPONSES, "{}", "max_tokens", "max_output_tokens" },
    { OP_MESSAGES, "{}", "max_tokens", "max_tokens" }, { OP_EMBEDDINGS, "{}", "max_tokens", NULL }, { OP_COUNT_TOKENS, "{}", "max_tokens", NULL },
    { OP_MESSAGES, "{}", "stop", "stop_sequences" }, { OP_RESPONSES, "{}", "stop", NULL }, { OP_CHAT, "{}", "stop", "stop" },
    { OP_CHAT, "{}", "tools", "tools" }, { OP_COMPLETIONS, "{}", "tools", NULL }, { OP_CHAT, "{}", "temperature", "temperature" },
    { OP_RESPONSES, "{}", "system", "instructions" }, { OP_CHAT, "{}", "nonsense", NULL }, { OP_CHAT, "{}", "model", "model" },
  };
  (void)state;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    body_is(known[i].body);
    const char *got = request_member(operation_info(known[i].op), members, count, span_cstr(known[i].word));
    if (!known[i].name) assert_null(got);
    else assert_string_equal(got, known[i].name);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(plain), cmocka_unit_test(limits), cmocka_unit_test(wrong), cmocka_unit_test(reasoning), cmocka_unit_test(usage_option),
    cmocka_unit_test(bound), cmocka_unit_test(texts), cmocka_unit_test(member_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
