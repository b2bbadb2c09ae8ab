/* weir.ask as the gateway meets it: the question, and the answer in whatever dialect it came. */
#include "rig.h"

static enum policy_result begin(struct rig *r, struct ask *a) {
  return ask_run(r, a, HOOK_REQUEST, (struct policy_subject){ 0 });
}

static void assert_turn(const struct question *q, size_t i, const char *role, const char *text) {
  assert_true(i < q->turn_count);
  assert_span(q->turns[i].role, role);
  assert_span(q->turns[i].text, text);
}

static const char asking[] = "return { on_request = function(req)\n"
                             "  local messages = { { role = 'developer', content = 'Be brief.' }, { role = 'user', content = { { type = 'text', text = 'a' }, { text = 'b' } } } }\n"
                             "  local question = { model = 'judge/x', messages = messages, max_tokens = 9, temperature = 0.5, top_p = 1, stop = { 'x', 'y' },\n"
                             "    fields = { seed = 1 }, timeout = 2 }\n"
                             "  local r, f = weir.ask(question)\n"
                             "  assert(f == nil)\n"
                             "  req:note('first', { r.status, r.text, r.thinking, r.finish, r.model, r.done, r.headers['X-A'], r.json.id, r.usage.output })\n"
                             "  req:note('tools', r.tools)\n"
                             "  local again, fault = weir.ask { model = 'smart', messages = { { role = 'user', content = r.text } }, stop = 'z' }\n"
                             "  assert(again == nil)\n"
                             "  req:note('second', { fault.kind, fault.status, fault.code, fault.target, fault.phase, fault.retry_after })\n"
                             "  assert(not pcall(function() return fault.kin end))\n"
                             "  req:note('still', r.text)\n"
                             "  req.state.kept = r\n"
                             "end, on_attempt = function(req) req:note('later', select(2, pcall(function() return req.state.kept.text end))) end }";

static struct policy_response messages_answer(struct http_head *head) {
  static const char body[] = "{\"id\":\"m1\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\"},"
                             "{\"type\":\"text\",\"text\":\"yes\"},{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"add\",\"input\":{\"a\":1}}]}";
  assert_int_equal(http_read_response(SPAN("HTTP/1.1 200 OK\r\nx-a: b\r\ncontent-length: 1\r\n\r\n"), SPAN("POST"), head), HTTP_OK);
  return (struct policy_response){ .status = 200, .head = head, .body = SPAN(body), .model = SPAN("m"), .finish = SPAN("end_turn"), .done = true,
                                   .usage = { .output = 5, .input = -1 }, .operation = operation_info(OP_MESSAGES) };
}

static void test_ask(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  struct http_head head;
  rig_with(&r, asking);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  assert_int_equal(begin(&r, &a), POLICY_WAITS);
  const struct policy_wait *w = &a.run.wait;
  const struct question *q = w->question;
  assert_int_equal(w->kind, WAIT_ASK);
  assert_span(w->policy, "guard");
  assert_true(w->seconds == 2);
  assert_span(q->model, "judge/x");
  assert_int_equal(q->turn_count, 2);
  assert_turn(q, 0, "system", "Be brief.");
  assert_turn(q, 1, "user", "ab");
  assert_true(q->max_tokens == 9 && q->temperature == 0.5 && q->top_p == 1 && q->stop_count == 2);
  assert_span(q->stops[1], "y");
  assert_span(q->more, "{\"seed\":1}");
  struct policy_response answer = messages_answer(&head);
  struct policy_answer good = { .ok = true, .response = &answer };
  assert_int_equal(policy_run_resume(&a.run, &good), POLICY_WAITS);
  memset(&head, 0, sizeof head);                       /* it was lent for the resume alone */
  memset(&answer, 0, sizeof answer);
  assert_span(ask_note(&a, "first"), "[200,\"yes\",\"hm\",\"end_turn\",\"m\",true,\"b\",\"m1\",5]");
  assert_span(ask_note(&a, "tools"), "[{\"arguments\":\"{\\\"a\\\":1}\",\"id\":\"t\",\"name\":\"add\"}]");
  assert_true(w->seconds == 30 && w->question->temperature == -1 && w->question->max_tokens == 0 && w->question->stop_count == 1);
  assert_turn(w->question, 0, "user", "yes");
  struct policy_fault fault = { FAULT_RATE_LIMITED, 429, SPAN("slow"), SPAN("a/b"), "head", 3 };
  assert_int_equal(policy_run_resume(&a.run, &(struct policy_answer){ .fault = &fault }), POLICY_DONE);
  assert_false(a.run.decision.error);
  assert_span(ask_note(&a, "second"), "[\"rate_limited\",429,\"slow\",\"a/b\",\"head\",3]");
  assert_span(ask_note(&a, "still"), "yes");
  struct target target = { .provider = &r.providers[1], .endpoint = &r.endpoints[1], .model = SPAN("m"), .name = SPAN("lab/m") };
  struct policy_attempt attempt = { .number = 1, .target = &target, .arena = &a.arena };
  ask_run(&r, &a, HOOK_ATTEMPT, (struct policy_subject){ .attempt = &attempt });
  assert_in(ask_note(&a, "later"), "this response is stale");
  ask_end(&a);
  rig_end(&r);
}

/* In on_response there are two responses: what is judged, and what the judge said. */
static void test_beside_a_response(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  struct http_head head;
  rig_init(&r);
  rig_use(&r, "first", "return { on_response = function(req, response) return weir.replace('put there') end }");
  rig_use(&r, "second", "return { on_response = function(req, response)\n"
                        "  local said = weir.ask { model = 'judge/x', messages = { { role = 'user', content = response.text } } }\n"
                        "  req:note('both', { response.text, said.text, response.headers['x-a'] or 'none', said.headers['x-a'], #response.tools, #said.tools })\n"
                        "end }");
  rig_load(&r);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct policy_response judged = { .status = 200, .body = SPAN("{\"choices\":[{\"message\":{\"content\":\"own\"}}]}"), .done = true };
  assert_int_equal(ask_run(&r, &a, HOOK_RESPONSE, (struct policy_subject){ .response = &judged }), POLICY_WAITS);
  assert_turn(a.run.wait.question, 0, "user", "put there");
  struct policy_response answer = messages_answer(&head);
  assert_int_equal(policy_run_resume(&a.run, &(struct policy_answer){ .ok = true, .response = &answer }), POLICY_DONE);
  assert_span(ask_note(&a, "both"), "[\"put there\",\"yes\",\"none\",\"b\",0,1]");
  assert_int_equal(a.run.decision.kind, DECIDE_REPLACE);
  ask_end(&a);
  rig_end(&r);
}

static void test_given_up(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_with(&r, asking);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  assert_int_equal(begin(&r, &a), POLICY_WAITS);
  policy_run_cancel(&a.run);
  assert_int_equal(a.run.wait.kind, WAIT_NONE);
  ask_end(&a);
  rig_end(&r);
}

#define SAID "messages = { { role = 'user', content = 'x' } }"

static void test_mistakes(void **state) {
  (void)state;
  rig_raises("weir.ask 'smart'", "weir.ask takes a table");
  rig_raises("weir.ask { " SAID " }", "model is the name of a model");
  rig_raises("weir.ask { model = 'smart' }", "messages is a list");
  rig_raises("weir.ask { model = 'smart', messages = {} }", "messages is a list");
  rig_raises("weir.ask { model = 'smart', messages = { 'x' } }", "message 1 is a string");
  rig_raises("weir.ask { model = 'smart', messages = { { content = 'x' } } }", "message 1 has no role");
  rig_raises("weir.ask { model = 'smart', messages = { { role = 'tool', content = 'x' } } }", "has system, user and assistant");
  rig_raises("weir.ask { model = 'smart', messages = { { role = 'user', contents = 'x' } } }", "did you mean 'content'");
  rig_raises("weir.ask { model = 'smart', messages = { { role = 'user', content = 7 } } }", "is a string, not a number");
  rig_raises("weir.ask { model = 'smart', messages = { { role = 'user', content = { { type = 'image' } } } } }", "part 1 of message 1 is no text");
  rig_raises("weir.ask { model = 'smart', " SAID ", max_token = 1 }", "did you mean 'max_tokens'");
  rig_raises("weir.ask { model = 'smart', " SAID ", max_tokens = 'few' }", "max_tokens is a number");
  rig_raises("weir.ask { model = 'smart', " SAID ", temperature = 0/0 }", "temperature is a number from 0 to 2");
  rig_raises("weir.ask { model = 'smart', " SAID ", stop = { 1 } }", "stop is a list of strings");
  rig_raises("weir.ask { model = 'smart', " SAID ", stop = {} }", "stop is a string or a list");
  rig_raises("weir.ask { model = 'smart', " SAID ", fields = { stream = true } }", "fields may not hold stream");
  rig_raises("weir.ask { model = 'smart', " SAID ", fields = { 1 } }", "not a list");
  rig_raises("weir.ask { model = 'smart', " SAID ", timeout = 1e9 }", "timeout is a number of seconds");
  rig_raises("string.gsub('x', 'x', function() weir.ask { model = 'smart', " SAID " } end)", "cannot wait inside a function that sort");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_ask), cmocka_unit_test(test_beside_a_response), cmocka_unit_test(test_given_up), cmocka_unit_test(test_mistakes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
