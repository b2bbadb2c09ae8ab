/* Questions of weir's own, in each dialect: read back by its reader, with the members it must have and no key twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "weir/dialect.h"
#include "weir/log.h"

static const struct question_turn turns[] = {
  { SPAN("system"), SPAN("Be \"brief\".") }, { SPAN("user"), SPAN("Hé\n") }, { SPAN("assistant"), SPAN("Yes?") },
  { SPAN("system"), SPAN("And kind.") },     { SPAN("user"), SPAN("") },
};
static const struct span stops[] = { SPAN("END"), SPAN("\"") };
static const struct question all = {
  .model = SPAN("m/\"x\""), .turns = turns, .turn_count = 5, .max_tokens = 7, .temperature = 0, .top_p = 0.5, .stops = stops, .stop_count = 2,
};

static void says(enum operation o, const struct question *q, const char *wanted) {
  struct buf b = { 0 };
  struct json_member members[32];
  struct json_error e;
  struct request_facts f;
  const char *why;
  size_t n;
  question_write(operation_info(o), q, &b);
  if (!span_eq(buf_span(&b), span_cstr(wanted))) fail_msg("%.*s\nis not\n%s", SPAN_FMT(buf_span(&b)), wanted);
  assert_true(json_read_object(buf_span(&b), members, 32, &n, &e));
  assert_true(request_read(operation_info(o), members, n, &f, &why));
  assert_false(f.stream || f.bound);
  buf_free(&b);
}

static void chat(void **state) {
  (void)state;
  struct question q = all;
  says(OP_CHAT, &q, "{\"model\":\"m/\\\"x\\\"\",\"messages\":[{\"role\":\"system\",\"content\":\"Be \\\"brief\\\".\"},{\"role\":\"user\",\"content\":\"Hé\\n\"},"
       "{\"role\":\"assistant\",\"content\":\"Yes?\"},{\"role\":\"system\",\"content\":\"And kind.\"},{\"role\":\"user\",\"content\":\"\"}],"
       "\"max_tokens\":7,\"stop\":[\"END\",\"\\\"\"],\"temperature\":0,\"top_p\":0.5}");
  q = (struct question){ .model = SPAN("x"), .turns = turns + 2, .turn_count = 1, .temperature = -1, .top_p = -1 };
  says(OP_CHAT, &q, "{\"model\":\"x\",\"messages\":[{\"role\":\"assistant\",\"content\":\"Yes?\"}]}");
  q.max_tokens = 3;
  q.newer_limit = true;
  says(OP_CHAT, &q, "{\"model\":\"x\",\"messages\":[{\"role\":\"assistant\",\"content\":\"Yes?\"}],\"max_completion_tokens\":3}");
}

static void messages(void **state) {
  (void)state;
  struct question q = all;
  says(OP_MESSAGES, &q, "{\"model\":\"m/\\\"x\\\"\",\"system\":\"Be \\\"brief\\\".\\n\\nAnd kind.\",\"messages\":[{\"role\":\"user\",\"content\":\"Hé\\n\"},"
       "{\"role\":\"assistant\",\"content\":\"Yes?\"},{\"role\":\"user\",\"content\":\"\"}],\"max_tokens\":7,\"stop_sequences\":[\"END\",\"\\\"\"],"
       "\"temperature\":0,\"top_p\":0.5}");
  q = (struct question){ .model = SPAN("x"), .turns = turns + 1, .turn_count = 1, .temperature = -1, .top_p = -1 };
  says(OP_MESSAGES, &q, "{\"model\":\"x\",\"messages\":[{\"role\":\"user\",\"content\":\"Hé\\n\"}],\"max_tokens\":4096}");
}

static void responses(void **state) {
  (void)state;
  struct question q = all;
  q.turn_count = 2;
  says(OP_RESPONSES, &q, "{\"model\":\"m/\\\"x\\\"\",\"input\":[{\"role\":\"system\",\"content\":\"Be \\\"brief\\\".\"},{\"role\":\"user\",\"content\":\"Hé\\n\"}],"
       "\"max_output_tokens\":7,\"store\":false,\"temperature\":0,\"top_p\":0.5}");
}

/* What the caller adds takes the place of weir's own word for it. */
static void more(void **state) {
  (void)state;
  struct question q = { .model = SPAN("x"), .turns = turns + 1, .turn_count = 1, .max_tokens = 5, .temperature = 1, .top_p = -1,
                        .more = SPAN("{\"seed\":1,\"max_tokens\":9,\"temp\\u0065rature\":0.25,\"a\\\"b\":{\"c\":[null]}}") };
  says(OP_CHAT, &q, "{\"model\":\"x\",\"messages\":[{\"role\":\"user\",\"content\":\"Hé\\n\"}],\"seed\":1,\"max_tokens\":9,\"temperature\":0.25,\"a\\\"b\":{\"c\":[null]}}");
  q.more = SPAN("{\"store\":true}");
  says(OP_RESPONSES, &q, "{\"model\":\"x\",\"input\":[{\"role\":\"user\",\"content\":\"Hé\\n\"}],\"max_output_tokens\":5,\"temperature\":1,\"store\":true}");
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test(chat), cmocka_unit_test(messages), cmocka_unit_test(responses), cmocka_unit_test(more) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
