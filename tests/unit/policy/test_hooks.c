/* on_attempt, on_response, on_failure, on_done: what they see, decide, and in which order they run. */
#include "rig.h"

static struct target lab_target(struct rig *r) {
  return (struct target){
    .provider = &r->providers[1], .endpoint = &r->endpoints[1], .model = SPAN("small"), .name = SPAN("lab/small")
  };
}

static struct policy_attempt attempt_of(struct ask *a, const struct target *t) {
  return (struct policy_attempt){ .number = 2, .target = t, .deadline = 12.5, .arena = &a->arena };
}

static void test_attempt(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_with(&r, "return { on_attempt = function(req, attempt)\n"
               "  assert(attempt.number == 2 and attempt.target == 'lab/small' and attempt.provider == 'lab' and "
               "attempt.model == 'small')\n"
               "  assert(attempt.endpoint == 'http://127.0.0.1:8000/v1' and attempt.region == nil and "
               "attempt.deadline == 12.5)\n"
               "  attempt.headers['X-Team'] = 'red'; attempt.headers['x-old'] = nil; attempt.headers['x-n'] = 7\n"
               "  assert(attempt.headers['x-team'] == 'red' and attempt.headers['x-old'] == nil)\n"
               "  local seen = {} for k, v in pairs(attempt.headers) do seen[#seen + 1] = k .. '=' .. v end\n"
               "  assert(table.concat(seen, ' ') == 'x-n=7 x-team=red')\n"
               "  attempt.deadline = 3; assert(attempt.deadline == 3)\n"
               "  attempt:set('seed', 5); attempt:set('user', nil); attempt:set('options', { a = {} })\n"
               "end }");
  struct target t = lab_target(&r);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct policy_attempt at = attempt_of(&a, &t);
  ask_run(&r, &a, HOOK_ATTEMPT, (struct policy_subject){ .attempt = &at });
  assert_int_equal(a.run.decision.kind, DECIDE_PASS);
  assert_false(a.run.decision.error);
  assert_true(at.deadline == 3 && at.deadline_set);
  assert_span(at.headers->name, "x-n");
  assert_span(at.headers->value, "7");
  assert_span(at.headers->next->name, "x-old");
  assert_null(at.headers->next->value.p);
  assert_span(edit_of(at.edits, "seed"), "5");
  assert_span(edit_of(at.edits, "user"), "(removed)");
  assert_span(edit_of(at.edits, "options"), "{\"a\":{}}");
  ask_end(&a);
  rig_end(&r);
}

static void attempt_raises(const char *code, const char *part) {
  static double later;
  struct rig r;
  struct ask a;
  char *text = NULL, log[8192];
  assert_true(asprintf(&text, "return { on_attempt = function(req, attempt) %s end }", code) > 0);
  rig_with(&r, text);
  r.now += later += 10;
  struct target t = lab_target(&r);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct policy_attempt at = attempt_of(&a, &t);
  struct capture c = capture_begin();
  ask_run(&r, &a, HOOK_ATTEMPT, (struct policy_subject){ .attempt = &at });
  struct span said = capture_end(c, log);
  assert_in(said, part);
  assert_int_equal(a.run.decision.kind, DECIDE_DENY);
  assert_true(a.run.decision.error);
  assert_null(at.headers);
  ask_end(&a);
  rig_end(&r);
  free(text);
}

static void test_attempt_mistakes(void **state) {
  (void)state;
  attempt_raises("attempt.headers['Authorization'] = 'x'", "weir puts the provider's key in itself");
  attempt_raises("attempt.headers['host'] = 'x'", "weir writes the header host itself");
  attempt_raises("attempt.headers['a b'] = 'x'", "is no header name");
  attempt_raises("attempt.headers['x-a'] = 'x\\r\\ny: z'", "has a line end");
  attempt_raises("attempt.headers['x-weir-a'] = 'x'", "x-weir-");
  attempt_raises("attempt.headers['x'] = {}", "a header's value is a string");
  attempt_raises("attempt.deadline = 0", "above 0");
  attempt_raises("attempt:set('stream', true)", "the client's word");
  attempt_raises("attempt:set('model', 'x')", "the model is the target's");
  attempt_raises("attempt.set('seed', 1)", "call it with a colon");
  attempt_raises("attempt.targt = 1", "did you mean 'target'");
  attempt_raises("req.max_tokens = 5", "in on_attempt use attempt:set(\"max_tokens\", value)");
  attempt_raises("return weir.deny(400)", "weir.deny belongs in on_request, not in on_attempt");
}

static void test_skip(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_init(&r);
  rig_use(&r, "one", "return { on_attempt = function(req, attempt) return weir.skip('too far') end }");
  rig_use(&r, "two", "return { on_attempt = function(req, attempt) req:note('ran', 1) end }");
  rig_load(&r);
  struct target t = lab_target(&r);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct policy_attempt at = attempt_of(&a, &t);
  ask_run(&r, &a, HOOK_ATTEMPT, (struct policy_subject){ .attempt = &at });
  assert_int_equal(a.run.decision.kind, DECIDE_SKIP);
  assert_span(a.run.decision.message, "too far");
  assert_null(a.req.notes);
  ask_end(&a);
  rig_end(&r);
}

/* ---- on_response */

static struct policy_response whole(const char *body) {
  return (struct policy_response){ .status = 200,
                                   .body = span_cstr(body),
                                   .usage = { 3, -1, -1, -1, 4, -1 },
                                   .finish = SPAN("stop"),
                                   .model = SPAN("m-1"),
                                   .done = true };
}

static void response_sees(enum operation o, const char *ask_body, const char *body, const char *code) {
  struct rig r;
  struct ask a;
  struct http_head head = { .status = 200, .count = 1, .headers = { { SPAN("X-Up"), SPAN("1") } } };
  char *text = NULL;
  assert_true(asprintf(&text, "return { on_response = function(req, response)\n%s\nend }", code) > 0);
  rig_with(&r, text);
  ask_init(&a, o, ask_body);
  struct policy_response response = whole(body);
  response.head = &head;
  ask_run(&r, &a, HOOK_RESPONSE, (struct policy_subject){ .response = &response });
  bool bad = a.run.decision.error;
  ask_end(&a);
  rig_end(&r);
  free(text);
  if (bad) fail_msg("the Lua code raised; see the log above");
}

static void test_response_views(void **state) {
  (void)state;
  response_sees(OP_CHAT, CHAT_BODY,
    "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"h\\u0069\",\"tool_calls\":[{\"id\":\"c1\","
    "\"type\":\"function\",\"function\":{\"name\":\"add\",\"arguments\":\"{\\\"a\\\":1}\"}}]}}]}",
    "assert(response.status == 200 and response.text == 'hi' and response.finish == 'stop' and response.model == "
    "'m-1' and response.done)\n"
    "assert(response.usage.input == 3 and response.usage.output == 4 and response.usage.reasoning == nil)\n"
    "assert(response.headers['x-up'] == '1' and response.json.choices[1].message.role == 'assistant' and "
    "response.thinking == '')\n"
    "local t = response.tools assert(#t == 1 and t[1].id == 'c1' and t[1].name == 'add' and t[1].arguments == "
    "'{\"a\":1}')");
  response_sees(OP_MESSAGES, "{\"model\":\"c\",\"max_tokens\":7,\"messages\":[]}",
    "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\","
    "\"signature\":\"s\"},{\"type\":\"text\",\"text\":\"hi\"},{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"add\","
    "\"input\":{\"a\":1}}]}",
    "assert(response.text == 'hi' and response.thinking == 'hm' and response.tools[1].arguments == '{\"a\":1}' and "
    "response.tools[1].name == 'add')");
  response_sees(OP_RESPONSES, "{\"model\":\"g\",\"input\":\"x\"}",
    "{\"object\":\"response\",\"status\":\"completed\",\"output\":[{\"type\":\"message\",\"role\":\"assistant\","
    "\"content\":[{\"type\":\"output_text\",\"text\":\"hi\"}]},{\"type\":\"function_call\",\"call_id\":\"k\","
    "\"name\":\"add\",\"arguments\":\"{}\"}]}",
    "assert(response.text == 'hi' and response.tools[1].id == 'k' and response.tools[1].arguments == '{}')");
  response_sees(OP_CHAT, CHAT_BODY, "<html>",
                "assert(response.json == nil and response.text == '' and #response.tools == 0)");
}

static void test_held_start(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_with(&r, "return { on_response = function(req, response)\n"
               "  assert(not response.done and response.text == 'Dear' and response.tools == nil and response.json "
               "== nil and response.finish == nil)\n"
               "  return weir.reject('a letter') end }");
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct policy_response held = { .status = 200, .text = SPAN("Dear"), .usage = USAGE_NONE };
  ask_run(&r, &a, HOOK_RESPONSE, (struct policy_subject){ .response = &held });
  assert_int_equal(a.run.decision.kind, DECIDE_REJECT);
  assert_span(a.run.decision.message, "a letter");
  ask_end(&a);
  rig_end(&r);
}

/* replace and accept let the others see and decide; reject has the last word. */
static void test_response_chain(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_init(&r);
  rig_use(&r, "one", "return { on_response = function(req, response) return weir.replace(response.text:upper()) end }");
  rig_use(&r, "two",
          "return { on_response = function(req, response) req:note('two', response.text) return weir.accept() end }");
  rig_use(
      &r, "three",
      "return { on_response = function(req, response) if req.model == 'strict' then return weir.reject() end end }");
  rig_load(&r);
  struct policy_response response = whole("{\"choices\":[{\"message\":{\"content\":\"abc\"}}]}");
  ask_init(&a, OP_CHAT, CHAT_BODY);
  ask_run(&r, &a, HOOK_RESPONSE, (struct policy_subject){ .response = &response });
  assert_int_equal(a.run.decision.kind, DECIDE_REPLACE);
  assert_span(a.run.decision.text, "ABC");
  assert_span(a.run.decision.policy, "one");
  assert_span(ask_note(&a, "two"), "ABC");
  ask_end(&a);
  ask_init(&a, OP_CHAT, "{\"model\":\"strict\",\"messages\":[]}");
  ask_run(&r, &a, HOOK_RESPONSE, (struct policy_subject){ .response = &response });
  assert_int_equal(a.run.decision.kind, DECIDE_REJECT);
  ask_end(&a);
  rig_end(&r);
}

static void test_accept(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_with(&r, "return { on_response = function(req, response) return weir.accept() end }");
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct policy_response response = whole("{}");
  ask_run(&r, &a, HOOK_RESPONSE, (struct policy_subject){ .response = &response });
  assert_int_equal(a.run.decision.kind, DECIDE_ACCEPT);
  ask_end(&a);
  rig_end(&r);
}

/* ---- on_failure */

static void failure(const char *code, struct decision *out) {
  struct rig r;
  struct ask a;
  char *text = NULL;
  static char message[64];
  assert_true(asprintf(&text, "return { on_failure = function(req, attempt, fault)\n%s\nend }", code) > 0);
  rig_init(&r);
  rig_use(&r, "one", text);
  rig_use(&r, "two", "return { on_failure = function(req, attempt, fault) return weir.fail('two') end }");
  rig_load(&r);
  struct target t = lab_target(&r);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct policy_attempt at = attempt_of(&a, &t);
  struct policy_fault fault = { .kind = FAULT_RATE_LIMITED,
                                .status = 429,
                                .code = SPAN("slow"),
                                .target = SPAN("lab/small"),
                                .phase = "head",
                                .retry_after = 1.5 };
  ask_run(&r, &a, HOOK_FAILURE, (struct policy_subject){ .attempt = &at, .fault = &fault });
  *out = a.run.decision;
  snprintf(message, sizeof message, "%.*s", SPAN_FMT(out->message));
  out->message = span_cstr(message);
  ask_end(&a);
  rig_end(&r);
  free(text);
}

static void test_failure(void **state) {
  (void)state;
  struct decision d;
  failure(
      "assert(fault.kind == 'rate_limited' and fault.status == 429 and fault.code == 'slow' and fault.target == "
      "'lab/small')\n"
      "assert(fault.phase == 'head' and fault.retry_after == 1.5 and attempt.number == 2)\nreturn weir.retry { after "
      "= 0.5 }",
      &d);
  assert_int_equal(d.kind, DECIDE_RETRY);
  assert_true(d.retry_after == 0.5);
  failure("return weir.retry()", &d);
  assert_int_equal(d.kind, DECIDE_RETRY);
  assert_true(d.retry_after == -1);
  failure("return weir.next()", &d);
  assert_int_equal(d.kind, DECIDE_NEXT);
  failure("return weir.fail 'enough'", &d);
  assert_int_equal(d.kind, DECIDE_FAIL);
  assert_span(d.message, "enough");
  failure("", &d);                                     /* the first answer wins; with none the next is asked */
  assert_int_equal(d.kind, DECIDE_FAIL);
  assert_span(d.message, "two");
  struct capture c = capture_begin();
  char log[8192];
  failure("attempt.headers['x'] = '1'", &d);
  assert_in(capture_end(c, log), "belongs in on_attempt, not in on_failure");
  assert_int_equal(d.kind, DECIDE_FAIL);
  assert_true(d.error);
}

/* ---- order */

static void test_order_and_reverse(void **state) {
  (void)state;
  static const char text[] =
    "local function mark(req, what) req:note('order', (req:note('order') or '') .. what .. ' ') end\n"
    "local options = weir.options { n = 'x' }\n"
    "return { on_request = function(req) mark(req, 'r' .. options.n) end, on_attempt = function(req) mark(req, 'a' "
    ".. options.n) end,\n"
    "  on_response = function(req) mark(req, 's' .. options.n) end, on_chunk = function(req) mark(req, 'c' .. "
    "options.n) end,\n"
    "  on_failure = function(req) mark(req, 'f' .. options.n) end, on_done = function(req) mark(req, 'd' .. "
    "options.n) end }";
  static const char *const names[] = { "1", "2", "3" };
  static struct value_pair options[3];
  struct rig r;
  struct ask a;
  rig_init(&r);
  for (int i = 0; i < 3; i++) {
    struct use *u = rig_use(&r, "order", text);
    options[i] = (struct value_pair){ { .type = VALUE_STRING, .s = SPAN("n") },
                                      { .type = VALUE_STRING, .s = span_cstr(names[i]) } };
    u->name = span_cstr(names[i]);
    u->options.pairs = &options[i];
    u->options.count = 1;
  }
  rig_load(&r);
  struct target t = lab_target(&r);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct policy_attempt at = attempt_of(&a, &t);
  struct policy_response response = whole("{}");
  struct policy_fault fault = { .kind = FAULT_TIMEOUT, .phase = "head", .retry_after = -1 };
  struct policy_usage usage = { .usage = USAGE_NONE };
  struct delta delta = { .kind = DELTA_TEXT, .text = { JSON_STRING, SPAN("\"x\"") } };
  struct decision d;
  ask_run(&r, &a, HOOK_REQUEST, (struct policy_subject){ 0 });
  ask_run(&r, &a, HOOK_ATTEMPT, (struct policy_subject){ .attempt = &at });
  ask_run(&r, &a, HOOK_RESPONSE, (struct policy_subject){ .response = &response });
  policy_chunk(r.vm, &a.req, &delta, &d);
  ask_run(&r, &a, HOOK_FAILURE, (struct policy_subject){ .attempt = &at, .fault = &fault });
  ask_run(&r, &a, HOOK_DONE, (struct policy_subject){ .usage = &usage });
  assert_span(ask_note(&a, "order"), "r1 r2 r3 a1 a2 a3 s1 s2 s3 c1 c2 c3 f1 f2 f3 d3 d2 d1 ");
  ask_end(&a);
  rig_end(&r);
}

static void test_done(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_with(&r, "return { on_done = function(req, usage)\n"
               "  assert(usage.input == 10 and usage.cache_read == 0 and usage.cache_write == nil and "
               "usage.cache_write_1h == nil and usage.output == 5)\n"
               "  assert(usage.reasoning == 2 and tostring(usage.cost) == '0.25' and usage.reported == true and usage.attempts == "
               "2 and usage.ended == 'client_gone')\n"
               "  req:note('ok', true)\n"
               "end }");
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct policy_usage usage = {
    .usage = { 10, 0, -1, -1, 5, 2 }, .reported = true, .cost = MONEY_USD / 4, .attempts = 2, .end = SPAN("client_gone")
  };
  assert_int_equal(ask_run(&r, &a, HOOK_DONE, (struct policy_subject){ .usage = &usage }), POLICY_DONE);
  assert_span(ask_note(&a, "ok"), "true");
  ask_end(&a);
  rig_end(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_attempt),
    cmocka_unit_test(test_attempt_mistakes),
    cmocka_unit_test(test_skip),
    cmocka_unit_test(test_response_views),
    cmocka_unit_test(test_held_start),
    cmocka_unit_test(test_response_chain),
    cmocka_unit_test(test_accept),
    cmocka_unit_test(test_failure),
    cmocka_unit_test(test_order_and_reverse),
    cmocka_unit_test(test_done),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
