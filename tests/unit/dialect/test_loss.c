/* Requests without the state that is bound to an account: what goes, and that everything else stays as it was written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "weir/dialect.h"
#include "weir/log.h"

enum { THINKING = 1 << LOSS_THINKING, PREVIOUS = 1 << LOSS_PREVIOUS_RESPONSE_ID, CONVERSATION = 1 << LOSS_CONVERSATION, ALL = THINKING | PREVIOUS | CONVERSATION };

static bool bound(enum operation o, struct span body) {
  struct json_member members[32];
  struct json_error e;
  struct request_facts f;
  const char *why;
  size_t n;
  assert_true(json_read_object(body, members, 32, &n, &e));
  assert_true(request_read(operation_info(o), members, n, &f, &why));
  return f.bound;
}

static void leaves(enum operation o, uint32_t losses, const char *body, const char *wanted, bool still) {
  struct buf b = { 0 };
  struct json_member members[32];
  struct json_error e;
  size_t n;
  assert_true(json_read_object(span_cstr(body), members, 32, &n, &e));
  loss_write(operation_info(o), members, n, losses, &b);
  if (!span_eq(buf_span(&b), span_cstr(wanted))) fail_msg("%.*s\nis not\n%s", SPAN_FMT(buf_span(&b)), wanted);
  assert_true(bound(o, span_cstr(body)));
  if (bound(o, buf_span(&b)) != still) fail_msg("%s", wanted);
  buf_free(&b);
}

static void messages(void **state) {
  (void)state;
  leaves(OP_MESSAGES, ALL, "{\"model\" : \"x\", \"messages\":[{\"role\":\"assistant\",\"content\":[ {\"type\":\"thinking\",\"thinking\":\"a\",\"signature\":\"s\"} , {\"type\" : \"text\",\"text\":\"\\u0041 1.0\"}]}],\"t\":1.50}",
         "{\"model\":\"x\",\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\" : \"text\",\"text\":\"\\u0041 1.0\"}]}],\"t\":1.50}", false);
  leaves(OP_MESSAGES, THINKING, "{\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":\"redacted_thinking\",\"data\":\"x\"}]},{\"role\":\"user\",\"content\":[]},{\"role\":\"user\",\"content\":\"hi\"}]}",
         "{\"messages\":[{\"role\":\"user\",\"content\":[]},{\"role\":\"user\",\"content\":\"hi\"}]}", false);
  leaves(OP_MESSAGES, THINKING, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"unsigned\"},{\"type\":\"document\",\"source\":{\"type\":\"file\",\"file_id\":\"f\"}}]}]}",
         "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"unsigned\"},{\"type\":\"document\",\"source\":{\"type\":\"file\",\"file_id\":\"f\"}}]}]}", true);
  leaves(OP_MESSAGES, PREVIOUS, "{\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":\"redacted_thinking\",\"data\":\"x\"}]}]}",
         "{\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":\"redacted_thinking\",\"data\":\"x\"}]}]}", true);
}

static void chat(void **state) {
  (void)state;
  leaves(OP_CHAT, THINKING, "{\"messages\":[{\"role\":\"assistant\",\"content\":\"a\",\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":\"x\"}]},{\"role\":\"user\",\"content\":null}]}",
         "{\"messages\":[{\"role\":\"assistant\",\"content\":\"a\"},{\"role\":\"user\",\"content\":null}]}", false);
}

static void responses(void **state) {
  (void)state;
  leaves(OP_RESPONSES, ALL, "{\"previous\\u005fresponse_id\":\"r\",\"conversation\":{\"id\":\"c\"},\"input\":[{\"type\":\"reasoning\",\"id\":\"r\",\"summary\":[]},{\"role\":\"user\",\"content\":\"x\"}]}",
         "{\"input\":[{\"role\":\"user\",\"content\":\"x\"}]}", false);
  leaves(OP_RESPONSES, PREVIOUS, "{\"previous_response_id\":\"r\",\"conversation\":\"c\",\"input\":\"x\"}", "{\"conversation\":\"c\",\"input\":\"x\"}", true);
  leaves(OP_RESPONSES, ALL, "{\"previous_response_id\":\"r\",\"input\":\"x\"}", "{\"input\":\"x\"}", false);
  leaves(OP_RESPONSES, ALL, "{\"input\":[{\"type\":\"item_reference\",\"id\":\"i\"}]}", "{\"input\":[{\"type\":\"item_reference\",\"id\":\"i\"}]}", true);
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test(messages), cmocka_unit_test(chat), cmocka_unit_test(responses) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
