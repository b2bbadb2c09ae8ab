/* Policies that wait: what they ask for, how they go on, and how they are given up. */
#include "rig.h"

static enum policy_result begin(struct rig *r, struct ask *a) {
  return ask_run(r, a, HOOK_REQUEST, (struct policy_subject){ 0 });
}

static void test_sleep(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_init(&r);
  rig_use(
      &r, "one",
      "return { on_request = function(req) local got = { weir.sleep(0.25) } req:note('got', #got) weir.sleep(2) "
      "req:note('woke', weir.now()) end }");
  rig_use(&r, "two",
          "return { on_request = function(req) req:note('two', 1) weir.sleep(3) return weir.deny(418, 'tea') end }");
  rig_load(&r);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  assert_int_equal(begin(&r, &a), POLICY_WAITS);
  assert_int_equal(a.run.wait.kind, WAIT_SLEEP);
  assert_true(a.run.wait.seconds == 0.25);
  assert_int_equal(policy_run_resume(&a.run, NULL), POLICY_WAITS);
  assert_true(a.run.wait.seconds == 2);
  assert_span(ask_note(&a, "got"), "0");
  assert_null(ask_note(&a, "two").p);
  r.now += 2;
  assert_int_equal(policy_run_resume(&a.run, NULL), POLICY_WAITS);
  assert_span(ask_note(&a, "woke"), "1700000002.0");
  assert_span(ask_note(&a, "two"), "1");
  assert_int_equal(policy_run_resume(&a.run, NULL), POLICY_DONE);
  assert_int_equal(a.run.decision.kind, DECIDE_DENY);
  assert_int_equal(a.run.decision.status, 418);
  assert_int_equal(a.run.wait.kind, WAIT_NONE);
  ask_end(&a);
  rig_end(&r);
}

static bool has_header(const struct policy_wait *w, const char *name, const char *value) {
  for (size_t i = 0; i < w->header_count; i++)
    if (span_ieq(w->headers[i].name, span_cstr(name)) && span_eq(w->headers[i].value, span_cstr(value))) return true;
  return false;
}

static void test_fetch(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_with(&r, "return { on_request = function(req)\n"
               "  local got, err = weir.fetch { url = 'http://judge.internal/score', json = { text = "
               "req:text('user') }, timeout = 0.3, auth = 'judge', headers = { ['X-A'] = 'b', ['x-n'] = 7 } }\n"
               "  assert(not err)\n"
               "  req:note('got', { got.status, got.body, got.headers['Content-Type'], got.json.risk })\n"
               "  if got.json.risk > 0.9 then return weir.deny(451, 'refused by the judge') end\n"
               "end }");
  ask_init(&a, OP_CHAT, CHAT_BODY);
  assert_int_equal(begin(&r, &a), POLICY_WAITS);
  const struct policy_wait *w = &a.run.wait;
  assert_int_equal(w->kind, WAIT_FETCH);
  assert_span(w->url, "http://judge.internal/score");
  assert_span(w->method, "POST");
  assert_span(w->body, "{\"text\":\"hello\"}");
  assert_true(w->seconds == 0.3);
  assert_ptr_equal(w->auth, &r.secret);
  assert_int_equal(w->header_count, 3);
  assert_true(has_header(w, "content-type", "application/json"));
  assert_true(has_header(w, "x-a", "b"));
  assert_true(has_header(w, "x-n", "7"));
  struct http_head head = { .status = 200,
                            .count = 1,
                            .headers = { { SPAN("content-type"), SPAN("application/json") } } };
  struct policy_answer answer = { .ok = true, .status = 200, .head = &head, .body = SPAN(" {\"risk\": 0.95}") };
  assert_int_equal(policy_run_resume(&a.run, &answer), POLICY_DONE);
  assert_int_equal(a.run.decision.status, 451);
  assert_span(ask_note(&a, "got"), "[200,\" {\\\"risk\\\": 0.95}\",\"application/json\",0.95]");
  ask_end(&a);
  rig_end(&r);
}

static void test_fetch_forms(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_with(&r, "return { on_request = function(req)\n"
               "  local got, err = weir.fetch { url = 'https://x.example:8443/a?b=c' }\n"
               "  assert(got == nil and err == 'connection refused')\n"
               "  got, err = weir.fetch { url = 'http://x/', method = 'PUT', body = 'plain', headers = { "
               "['content-type'] = 'text/plain' } }\n"
               "  assert(got.json == nil and got.body == 'not json' and got.headers.x == nil)\n"
               "  got, err = weir.fetch { url = 'http://x/', json = {}, headers = { ['Content-Type'] = "
               "'application/vnd.x+json' } }\n"
               "  assert(got == nil and err == 'no answer came')\n"
               "end }");
  ask_init(&a, OP_CHAT, CHAT_BODY);
  assert_int_equal(begin(&r, &a), POLICY_WAITS);
  assert_span(a.run.wait.method, "GET");
  assert_null(a.run.wait.body.p);
  assert_null(a.run.wait.auth);
  assert_true(a.run.wait.seconds == 10);
  assert_int_equal(policy_run_resume(&a.run, &(struct policy_answer){ .why = "connection refused" }), POLICY_WAITS);
  assert_span(a.run.wait.method, "PUT");
  assert_span(a.run.wait.body, "plain");
  assert_int_equal(a.run.wait.header_count, 1);
  assert_int_equal(
      policy_run_resume(&a.run, &(struct policy_answer){ .ok = true, .status = 500, .body = SPAN("not json") }),
      POLICY_WAITS);
  assert_int_equal(a.run.wait.header_count, 1);
  assert_span(a.run.wait.body, "{}");
  assert_int_equal(policy_run_resume(&a.run, NULL), POLICY_DONE);
  assert_false(a.run.decision.error);
  ask_end(&a);
  rig_end(&r);
}

static void test_fetch_mistakes(void **state) {
  (void)state;
  rig_raises("weir.fetch 'http://x/'", "weir.fetch takes a table");
  rig_raises("weir.fetch { uri = 'http://x/' }", "unknown field of weir.fetch 'uri'; did you mean 'url'?");
  rig_raises("weir.fetch { }", "url is missing");
  rig_raises("weir.fetch { url = 'ftp://x/' }", "weir.fetch: url: ");
  rig_raises("weir.fetch { url = 'http://x/', json = {}, body = '' }", "json or body, not both");
  rig_raises("weir.fetch { url = 'http://x/', headers = { ['a b'] = 'c' } }", "is no header name");
  rig_raises("weir.fetch { url = 'http://x/', headers = { a = 'c\\r\\nd: e' } }", "has a line end");
  rig_raises("weir.fetch { url = 'http://x/', headers = { host = 'y' } }", "weir writes the header host itself");
  rig_raises("weir.fetch { url = 'http://x/', method = 'G T' }", "is no method");
  rig_raises("weir.fetch { url = 'http://x/', timeout = -1 }", "timeout is a number of seconds");
  rig_raises("weir.fetch { url = 'http://x/', auth = 'jugde' }", "did you mean 'judge'");
  rig_raises("weir.fetch { url = 'http://judge.internal/', auth = 'judge', headers = { Authorization = 'x' } }",
             "auth or a header authorization, not both");
  rig_raises("weir.fetch { url = 'http://evil.example/', auth = 'judge' }",
             "the secret 'judge' is sent to judge.internal alone");
  rig_raises("weir.sleep 'long'", "weir.sleep: the time is a number of seconds");
  rig_raises("weir.sleep(1e9)", "from 0 to 600");
  rig_raises("table.sort({ 2, 1 }, function(a, b) weir.sleep(1) return a < b end)",
             "cannot wait inside a function that sort");
}

static void test_pcall_may_wait(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_with(&r, "return { on_request = function(req)\n"
               "  local ok, why = pcall(function() weir.sleep(1) error('after', 0) end)\n"
               "  req:note('why', tostring(ok) .. ' ' .. why)\n"
               "end }");
  ask_init(&a, OP_CHAT, CHAT_BODY);
  assert_int_equal(begin(&r, &a), POLICY_WAITS);
  assert_int_equal(policy_run_resume(&a.run, NULL), POLICY_DONE);
  assert_span(ask_note(&a, "why"), "false after");
  ask_end(&a);
  rig_end(&r);
}

static void test_cancel(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_with(&r, "return { on_request = function(req) weir.fetch { url = 'http://x/' } req:note('went on', 1) end }");
  for (int i = 0; i < 200; i++) {
    ask_init(&a, OP_CHAT, CHAT_BODY);
    assert_int_equal(begin(&r, &a), POLICY_WAITS);
    policy_run_cancel(&a.run);
    policy_run_cancel(&a.run);
    assert_int_equal(a.run.wait.kind, WAIT_NONE);
    assert_null(a.req.notes);
    ask_end(&a);
  }
  while (policy_idle(r.vm)) {}
  assert_true(policy_memory(r.vm) < 1 << 20);
  rig_end(&r);
}

/* What a cancelled policy still runs (its to-be-closed variables) has no exchange any more. */
static void test_close_after_cancel(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  char log[8192];
  rig_with(&r, "local shared = weir.shared('closing')\n"
               "return { on_request = function(req)\n"
               "  local guard <close> = setmetatable({}, { __close = function() shared:set('why', select(2, "
               "pcall(function() return req.model end))) end })\n"
               "  weir.sleep(1)\n"
               "end, on_done = function(req) req:note('why', shared:get('why')) end }");
  ask_init(&a, OP_CHAT, CHAT_BODY);
  assert_int_equal(begin(&r, &a), POLICY_WAITS);
  struct capture c = capture_begin();
  policy_run_cancel(&a.run);
  capture_end(c, log);
  struct policy_usage usage = { .usage = USAGE_NONE };
  ask_run(&r, &a, HOOK_DONE, (struct policy_subject){ .usage = &usage });
  assert_in(ask_note(&a, "why"), "this req is stale");
  ask_end(&a);
  rig_end(&r);
}

/* Several exchanges wait at once, each in its own coroutine, and go on in any order. */
static void test_many_wait_at_once(void **state) {
  (void)state;
  enum { N = 300 };
  struct rig r;
  struct ask *a = calloc(N, sizeof *a);
  rig_with(
      &r,
      "return { on_request = function(req) req.state.n = req:text('user') weir.sleep(1) req:note('n', req.state.n .. "
      "req:text('user')) weir.sleep(1) end }");
  for (int i = 0; i < N; i++) {
    struct arena names = { 0 };
    struct span body =
        arena_printf(&names, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"%d\"}]}", i);
    ask_init(&a[i], OP_CHAT, body.p);
    a[i].req.body = arena_copy(&a[i].arena, body);
    struct json_error err;
    assert_true(json_read_object(a[i].req.body, a[i].members, 64, &a[i].req.member_count, &err));
    arena_end(&names);
    assert_int_equal(begin(&r, &a[i]), POLICY_WAITS);
  }
  for (int k = 0; k < N; k++) {
    int i = k * 7 % N;
    char wanted[16];
    assert_int_equal(policy_run_resume(&a[i].run, NULL), POLICY_WAITS);
    snprintf(wanted, sizeof wanted, "%d%d", i, i);
    assert_span(ask_note(&a[i], "n"), wanted);
  }
  for (int i = 0; i < N; i++) {
    if (i & 1) policy_run_cancel(&a[i].run);
    else assert_int_equal(policy_run_resume(&a[i].run, NULL), POLICY_DONE);
    ask_end(&a[i]);
  }
  free(a);
  rig_end(&r);
}

static void test_other_hooks_wait_too(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_with(
      &r,
      "return { on_failure = function(req, attempt, fault) weir.sleep(1) assert(fault.kind == 'timeout' and "
      "attempt.number == 1) return weir.next() end,\n"
      "  on_attempt = function(req, attempt) weir.sleep(1) attempt.headers['x-a'] = 'b' end,\n"
      "  on_response = function(req, response) weir.sleep(1) return weir.replace(response.text .. '!') end,\n"
      "  on_done = function(req, usage) weir.sleep(1) end }");
  struct target t = {
    .provider = &r.providers[1], .endpoint = &r.endpoints[1], .model = SPAN("small"), .name = SPAN("lab/small")
  };
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct policy_attempt at = { .number = 1, .target = &t, .arena = &a.arena };
  struct policy_fault fault = { .kind = FAULT_TIMEOUT, .phase = "head", .retry_after = -1 };
  struct policy_response response = { .status = 200, .text = SPAN("hi"), .usage = USAGE_NONE };
  struct policy_usage usage = { .usage = USAGE_NONE };
  assert_int_equal(ask_run(&r, &a, HOOK_FAILURE, (struct policy_subject){ .attempt = &at, .fault = &fault }),
                   POLICY_WAITS);
  assert_int_equal(policy_run_resume(&a.run, NULL), POLICY_DONE);
  assert_int_equal(a.run.decision.kind, DECIDE_NEXT);
  assert_int_equal(ask_run(&r, &a, HOOK_ATTEMPT, (struct policy_subject){ .attempt = &at }), POLICY_WAITS);
  assert_int_equal(policy_run_resume(&a.run, NULL), POLICY_DONE);
  assert_span(at.headers->value, "b");
  assert_int_equal(ask_run(&r, &a, HOOK_RESPONSE, (struct policy_subject){ .response = &response }), POLICY_WAITS);
  assert_int_equal(policy_run_resume(&a.run, NULL), POLICY_DONE);
  assert_span(a.run.decision.text, "hi!");
  char log[8192];
  struct capture c = capture_begin();
  assert_int_equal(ask_run(&r, &a, HOOK_DONE, (struct policy_subject){ .usage = &usage }), POLICY_DONE);
  assert_in(capture_end(c, log), "weir.sleep waits, and on_done may not wait");
  assert_int_equal(a.run.decision.kind, DECIDE_PASS);
  assert_false(a.run.decision.error);
  ask_end(&a);
  rig_end(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_sleep),
    cmocka_unit_test(test_fetch),
    cmocka_unit_test(test_fetch_forms),
    cmocka_unit_test(test_fetch_mistakes),
    cmocka_unit_test(test_pcall_may_wait),
    cmocka_unit_test(test_cancel),
    cmocka_unit_test(test_close_after_cancel),
    cmocka_unit_test(test_many_wait_at_once),
    cmocka_unit_test(test_other_hooks_wait_too),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
