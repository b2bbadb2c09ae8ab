/* on_request: what req shows, what is written, and what decides. */
#include "rig.h"
#include <time.h>

static void test_reads(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_with(&r, "return { on_request = function(req)\n"
               "  assert(req.id == 'req-1' and req.dialect == 'chat' and req.path == '/v1/chat/completions' and "
               "req.ip == '10.1.2.3')\n"
               "  assert(req.stream == true and req.model == 'smart' and req.user == 'u7' and req.session == nil)\n"
               "  assert(req.max_tokens == 50 and req.temperature == 0.5 and req.top_p == nil and req.stop == nil "
               "and req.attempts == 0)\n"
               "  assert(req.remaining == 30 and #req.tools == 1 and req.tools[1]['function'].name == 'add')\n"
               "  assert(#req.messages == 2 and req.messages[2].content == 'hello')\n"
               "  assert(req:text('user') == 'hello' and req:text('system') == 'be brief' and req:text() == 'be "
               "brief\\nhello')\n"
               "  assert(#req.targets == 2 and req.targets[1] == 'openai/gpt-5' and req.targets[2] == 'lab/small')\n"
               "  assert(req.headers['X-Team'] == 'red' and req.headers['x-two'] == 'a, b' and req.headers.nothing "
               "== nil)\n"
               "end }");
  ask_init(
      &a, OP_CHAT,
      "{\"model\":\"smart\",\"stream\":true,\"user\":\"u7\",\"temperature\":0.5,\"max_tokens\":50,\"top_p\":null,"
      "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"add\"}}],"
      "\"messages\":[{\"role\":\"system\",\"content\":\"be brief\"},{\"role\":\"user\",\"content\":\"hel\\u006co\"}]}");
  ask_header(&a, "x-team", "red");
  ask_header(&a, "X-Two", "a");
  ask_header(&a, "x-two", "b");
  struct decision *d = ask_request(&r, &a);
  assert_int_equal(d->kind, DECIDE_PASS);
  assert_false(d->error);
  ask_end(&a);
  rig_end(&r);
}

static void test_client_keys_are_hidden(void **state) {
  (void)state;
  static const char *const names[] = { "Authorization", "X-Api-Key", "x-goog-api-key",
                                       "API-KEY",       "Cookie",    "proxy-authorization" };
  struct rig r;
  struct ask a;
  rig_with(&r, "return { on_request = function(req)\n"
               "  for _, n in ipairs { 'authorization', 'Authorization', 'x-api-key', 'x-goog-api-key', 'api-key', "
               "'cookie', 'proxy-authorization' } do\n"
               "    assert(req.headers[n] == nil, n)\n"
               "  end\n"
               "  local seen = {}\n"
               "  for name, value in pairs(req.headers) do seen[#seen + 1] = name .. '=' .. value end\n"
               "  assert(table.concat(seen, ' ') == 'accept=json x-a=1', table.concat(seen, ' '))\n"
               "end }");
  ask_init(&a, OP_CHAT, CHAT_BODY);
  for (size_t i = 0; i < 6; i++) ask_header(&a, names[i], "secret");
  ask_header(&a, "X-A", "1");
  ask_header(&a, "Accept", "json");
  assert_false(ask_request(&r, &a)->error);
  ask_end(&a);
  rig_end(&r);
}

static void test_key_is_who_asks(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  struct key_tag tags[] = { { SPAN("zone"), SPAN("eu") } };
  struct key_hash hash = { .until = KEY_FOREVER };
  struct key k = { .name = SPAN("search-team"), .team = SPAN("search"), .hashes = &hash, .hash_count = 1, .tags = tags,
                   .tag_count = 1 };
  rig_with(&r, "return { on_request = function(req)\n"
               "  req:note('key', req.key or 'none')\n"
               "  if req.key then req.key.team, req.key.tags.zone = 'other', nil end\n"
               "  req:note('team', req.key and req.key.team .. req.key.tags.zone or 'none')\n"
               "end }");
  ask_init(&a, OP_CHAT, CHAT_BODY);
  a.req.key = &k;
  assert_false(ask_request(&r, &a)->error);
  assert_span(ask_note(&a, "key"), "{\"name\":\"search-team\",\"tags\":{\"zone\":\"eu\"},\"team\":\"search\"}");
  assert_span(ask_note(&a, "team"), "searcheu");          /* what a policy writes into it stays its own */
  ask_end(&a);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  assert_false(ask_request(&r, &a)->error);
  assert_span(ask_note(&a, "key"), "none");
  ask_end(&a);
  rig_end(&r);
}

static void test_views_of_other_dialects(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_with(&r, "return { on_request = function(req)\n"
               "  req:note('seen', { req.dialect, req.messages, req.max_tokens or 0, req:text('user'), "
               "req:text('system'), req.targets })\n"
               "end }");
  ask_init(&a, OP_RESPONSES,
           "{\"model\":\"gpt-5\",\"input\":\"hi\",\"instructions\":\"short\",\"max_output_tokens\":9}");
  assert_false(ask_request(&r, &a)->error);
  assert_span(ask_note(&a, "seen"),
              "[\"responses\",[{\"content\":\"short\",\"role\":\"system\"},{\"content\":\"hi\",\"role\":\"user\"}],9,\"hi\",\"short\",[\"openai/gpt-5\"]]");
  ask_end(&a);
  ask_init(
      &a, OP_MESSAGES,
      "{\"model\":\"c\",\"max_tokens\":7,\"system\":\"short\",\"messages\":[{\"role\":\"user\","
      "\"content\":[{\"type\":\"text\",\"text\":\"hi\"}]}]}");
  assert_false(ask_request(&r, &a)->error);
  assert_span(
      ask_note(&a, "seen"),
      "[\"messages\",[{\"content\":\"short\",\"role\":\"system\"},{\"content\":[{\"text\":\"hi\",\"type\":\"text\"}],\"role\":\"user\"}],7,\"hi\",\"short\","
      "[\"anthropic/c\"]]");
  ask_end(&a);
  ask_init(&a, OP_EMBEDDINGS, "{\"model\":\"e\",\"input\":[\"a\",\"b\"]}");
  assert_false(ask_request(&r, &a)->error);
  assert_in(ask_note(&a, "seen"), "[\"chat\",[\"a\",\"b\"],0,");
  ask_end(&a);
  rig_end(&r);
}

static void test_raw_route(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_with(&r, "return { on_request = function(req)\n"
               "  assert(req.dialect == nil and req.messages == nil and req.max_tokens == nil and req.model == '' "
               "and req:text() == '')\n"
               "  assert(#req.targets == 0)\n"
               "  local ok, why = pcall(function() req.max_tokens = 3 end)\n"
               "  assert(not ok and why:find('streamed through', 1, true), why)\n"
               "end }");
  ask_init(&a, OP_CHAT, "{}");
  a.req.operation = NULL;
  a.req.member_count = 0;
  a.req.body = SPAN("");
  assert_false(ask_request(&r, &a)->error);
  ask_end(&a);
  rig_end(&r);
}

static void test_edits(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_with(&r, "return { on_request = function(req)\n"
               "  req.model = 'gpt-5'\n"
               "  assert(req.model == 'gpt-5' and req.targets[1] == 'openai/gpt-5')\n"
               "  req.max_tokens = 10.0; assert(req.max_tokens == 10)\n"
               "  req.temperature = 0.25; req.top_p = nil\n"
               "  req.stop = 'END'; assert(req.stop[1] == 'END')\n"
               "  req.tools = nil; assert(req.tools == nil) req.tools = nil\n"
               "  for i = 1, 300 do req.max_tokens = i req.top_p = 0.5 req.top_p = nil req.stop = 'x' "
               "req.temperature = nil end\n"
               "  req.max_tokens = 10; req.temperature = 0.25; req.stop = { 'END' }\n"
               "  assert(req.max_tokens == 10 and req.temperature == 0.25 and req.stop[1] == 'END' and req.top_p == "
               "nil)\n"
               "  local m = req.messages; m[2].content = 'bye'; assert(req.messages[2].content == 'hello'); "
               "req.messages = m\n"
               "  assert(req.messages[2].content == 'bye' and req:text('user') == 'bye')\n"
               "end }");
  ask_init(
      &a, OP_CHAT,
      "{\"model\":\"smart\",\"max_tokens\":50,\"top_p\":1,\"tools\":[{\"type\":\"function\","
      "\"function\":{\"name\":\"f\",\"parameters\":{}}}],"
      "\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"hello\"}]}");
  assert_false(ask_request(&r, &a)->error);
  assert_span(a.req.model, "gpt-5");
  assert_span(edit_of(a.req.edits, "model"), "\"gpt-5\"");
  assert_span(edit_of(a.req.edits, "max_tokens"), "10");
  assert_span(edit_of(a.req.edits, "temperature"), "0.25");
  assert_span(edit_of(a.req.edits, "top_p"), "(removed)");
  assert_span(edit_of(a.req.edits, "stop"), "[\"END\"]");
  assert_span(edit_of(a.req.edits, "tools"), "(removed)");
  assert_span(edit_of(a.req.edits, "messages"),
              "[{\"content\":\"s\",\"role\":\"system\"},{\"content\":\"bye\",\"role\":\"user\"}]");
  assert_span(edit_of(a.req.edits, "user"), "(none)");
  ask_end(&a);
  rig_end(&r);
}

static void test_bad_writes(void **state) {
  (void)state;
  rig_raises("req.model = ''", "req.model is a string that is not empty");
  rig_raises("req.model = nil", "req.model is a string");
  rig_raises("req.max_tokens = 0", "whole number from 1 on");
  rig_raises("req.max_tokens = 1.5", "whole number from 1 on");
  rig_raises("req.max_tokens = '9'", "not a string");
  rig_raises("req.temperature = 'hot'", "req.temperature is a number");
  rig_raises("req.messages = {}", "req.messages is a list with something in it");
  rig_raises("req.messages = nil", "req.messages is a list");
  rig_raises("req.id = 'x'", "req.id cannot be written; these can be: model messages tools");
  rig_raises("req.headers['x'] = '1'", "attempt.headers");
  rig_raises("req.text = 1", "req.text cannot be written");
  rig_raises("req.targets = 'lab/x'", "req.targets is a list");
  rig_raises("req.targets = { 'labb/x' }", "lab");
}

static void test_deny(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_init(&r);
  rig_use(
      &r, "first",
      "return { on_request = function(req) if req.max_tokens == 50 then return weir.deny(403, 'no', { code = 'c', "
      "retry_after = 2.5 }) end return weir.deny(429) end }");
  rig_use(&r, "second", "return { on_request = function(req) req:note('ran', 'yes') end }");
  rig_load(&r);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct decision *d = ask_request(&r, &a);
  assert_int_equal(d->kind, DECIDE_DENY);
  assert_int_equal(d->status, 403);
  assert_span(d->message, "no");
  assert_span(d->code, "c");
  assert_span(d->policy, "first");
  assert_true(d->retry_after == 2.5);
  assert_false(d->error);
  assert_null(ask_note(&a, "ran").p);
  ask_end(&a);
  ask_init(&a, OP_CHAT, "{\"model\":\"m\",\"messages\":[]}");
  d = ask_request(&r, &a);
  assert_int_equal(d->status, 429);
  assert_span(d->message, "refused by the policy 'first'");
  assert_true(d->retry_after == -1);
  ask_end(&a);
  rig_end(&r);
}

static void test_answer(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_with(
      &r,
      "return { on_request = function(req) if req.model == 'smart' then return weir.answer 'hi' end return "
      "weir.answer { b = 1, a = { 2 } } end }");
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct decision *d = ask_request(&r, &a);
  assert_int_equal(d->kind, DECIDE_ANSWER);
  assert_span(d->text, "hi");
  assert_null(d->json.p);
  ask_end(&a);
  ask_init(&a, OP_CHAT, "{\"model\":\"m\",\"messages\":[]}");
  d = ask_request(&r, &a);
  assert_span(d->json, "{\"a\":[2],\"b\":1}");
  ask_end(&a);
  rig_end(&r);
}

static void test_route(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_init(&r);
  rig_use(
      &r, "one",
      "return { on_request = function(req) return weir.route { 'lab/x', 'openai/y', next_on = { 'timeout', 'empty' } "
      "} end }");
  rig_use(&r, "two", "return { on_request = function(req)\n"
                     "  assert(#req.targets == 2 and req.targets[1] == 'lab/x')\n"
                     "  local kept = {}\n"
                     "  for _, name in ipairs(req.targets) do if name ~= 'openai/y' then kept[#kept + 1] = name end "
                     "end\n"
                     "  req.targets = kept\n"
                     "end }");
  rig_load(&r);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct decision *d = ask_request(&r, &a);
  assert_int_equal(d->kind, DECIDE_PASS);
  assert_false(d->error);
  assert_int_equal(a.req.target_count, 1);
  assert_span(a.req.targets[0], "lab/x");
  assert_int_equal(a.req.next_on, 1u << FAULT_NONE | 1u << FAULT_TIMEOUT | 1u << FAULT_EMPTY);
  ask_end(&a);
  rig_end(&r);
}

static void test_route_mistakes(void **state) {
  (void)state;
  rig_raises("return weir.route { 'opena/gpt-5' }", "openai");
  rig_raises("return weir.route { 'lab/x', next_on = { 'time_out' } }", "did you mean 'timeout'");
  rig_raises("return weir.route { 'lab/x', nexton = {} }", "did you mean 'next_on'");
  rig_raises("return weir.route { }", "1 to 16 names");
  rig_raises("return weir.route { 7 }", "target 1 is a number");
  rig_raises("return weir.route 'lab/x'", "weir.route takes a list");
  rig_lua("local c = weir.route { 'smart' } assert(c ~= nil)");
}

/* What was checked counts, whatever becomes of the list. */
static void test_route_list_changed_after(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_with(
      &r,
      "return { on_request = function(req) local t = { 'lab/x', 'lab/y' } local c = weir.route(t) t[2] = false "
      "return c end }");
  ask_init(&a, OP_CHAT, CHAT_BODY);
  assert_false(ask_request(&r, &a)->error);
  assert_int_equal(a.req.target_count, 2);
  assert_span(a.req.targets[1], "lab/y");
  ask_end(&a);
  rig_end(&r);
}

/* Targets that cannot serve the request are left out while another is there. */
static void test_route_over_dialects(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_with(
      &r,
      "return { on_request = function(req) if req.model == 'all' then return weir.route { 'anthropic/c', 'lab/x', "
      "'openai/y' } end return weir.route { 'anthropic/c' } end }");
  ask_init(&a, OP_RESPONSES, "{\"model\":\"all\",\"input\":\"\"}");
  assert_false(ask_request(&r, &a)->error);
  assert_int_equal(a.req.target_count, 2);
  assert_span(a.req.targets[0], "lab/x");
  ask_end(&a);
  ask_init(&a, OP_CHAT, "{\"model\":\"all\",\"messages\":[]}");      /* is translated */
  assert_false(ask_request(&r, &a)->error);
  assert_int_equal(a.req.target_count, 3);
  ask_end(&a);
  ask_init(&a, OP_RESPONSES, "{\"model\":\"x\",\"input\":\"\"}");
  assert_false(ask_request(&r, &a)->error);
  assert_int_equal(a.req.target_count, 1);
  assert_span(a.req.targets[0], "anthropic/c");
  ask_end(&a);
  rig_end(&r);
}

static void test_notes_tags_state(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_init(&r);
  rig_use(
      &r, "one",
      "return { on_request = function(req) req:note('k', 1) req:note('k', true) req:tag('team', 'red') req.state.n = "
      "5 assert(req.state.n == 5) end,\n"
      "  on_done = function(req, usage) assert(req.state.n == 5) req:note('end', req.state.n) end }");
  rig_use(
      &r, "two",
      "return { on_request = function(req) assert(req:note('k') == 'true' and req:note('none') == nil) "
      "assert(req.tags.team == 'red') assert(req.state.n == nil)\n"
      "  assert(req:tag('team') == 'red') end }");
  rig_load(&r);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  assert_false(ask_request(&r, &a)->error);
  assert_span(a.req.notes->key, "k");
  assert_span(a.req.notes->value, "true");
  assert_span(a.req.notes->policy, "one");
  assert_span(a.req.tags->value, "red");
  struct policy_usage usage = { .usage = USAGE_NONE };
  ask_run(&r, &a, HOOK_DONE, (struct policy_subject){ .usage = &usage });
  assert_span(ask_note(&a, "end"), "5");
  ask_end(&a);
  rig_end(&r);
}

static void test_unreturned_decision_is_told(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  char log[8192];
  rig_with(&r, "local policy = {}\nfunction policy.on_request(req)\n  weir.deny(403, 'no')\nend\nreturn policy");
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct capture c = capture_begin();
  assert_int_equal(ask_request(&r, &a)->kind, DECIDE_PASS);
  assert_int_equal(ask_request(&r, &a)->kind, DECIDE_PASS);
  struct span said = capture_end(c, log);
  assert_in(said, "policies/guard.lua:2: on_request made a decision and did not return it");
  size_t at = span_search(said, SPAN("did not return it"));
  struct span rest = span_from(said, at + 1);
  assert_int_equal(span_search(rest, SPAN("did not return it")), rest.n);
  ask_end(&a);
  rig_end(&r);
}

static void test_no_hook_no_call(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_with(&r, "return { on_done = function() end }");
  assert_false(policy_has(r.vm, HOOK_REQUEST));
  assert_true(policy_has(r.vm, HOOK_DONE));
  ask_init(&a, OP_CHAT, CHAT_BODY);
  assert_int_equal(ask_request(&r, &a)->kind, DECIDE_PASS);
  assert_int_equal(a.req.lua, 0);
  ask_end(&a);
  rig_end(&r);
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void cost(const char *what, const char *text) {
  enum { N = 50000 };
  struct rig r;
  struct ask a;
  double best = 1;
  rig_with(&r, text);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  for (int round = 0; round < 5; round++) {
    double from = seconds();
    for (int i = 0; i < N; i++) {
      ask_request(&r, &a);
      policy_req_end(&a.req);
      a.req.target_count = 0;
      if (i % 64 == 0) arena_end(&a.arena), a.req.model = SPAN("smart");
    }
    double took = (seconds() - from) / N;
    if (took < best) best = took;
  }
  print_message("%s: %.0f ns\n", what, best * 1e9);
  assert_true(best < 50e-6);
  assert_false(a.run.decision.error);
  ask_end(&a);
  rig_end(&r);
}

/* With the handle of a new exchange each time, and the collector's part. */
static void test_cost(void **state) {
  (void)state;
  cost("an empty on_request", "return { on_request = function(req) end }");
  cost("an on_request that reads req.model", "return { on_request = function(req) local m = req.model end }");
  cost(
      "an on_request that reads req.model and routes",
      "return { on_request = function(req) if req.model == 'smart' then return weir.route { 'openai/gpt-5', "
      "'lab/small' } end end }");
  cost(
      "the same, the name made anew",
      "return { on_request = function(req) if req.model == '' then return weir.deny(400, 'no model') end return "
      "weir.route { 'lab/' .. req.model } end }");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_reads),
    cmocka_unit_test(test_client_keys_are_hidden),
    cmocka_unit_test(test_key_is_who_asks),
    cmocka_unit_test(test_views_of_other_dialects),
    cmocka_unit_test(test_raw_route),
    cmocka_unit_test(test_edits),
    cmocka_unit_test(test_bad_writes),
    cmocka_unit_test(test_deny),
    cmocka_unit_test(test_answer),
    cmocka_unit_test(test_route),
    cmocka_unit_test(test_route_mistakes),
    cmocka_unit_test(test_route_list_changed_after),
    cmocka_unit_test(test_route_over_dialects),
    cmocka_unit_test(test_notes_tags_state),
    cmocka_unit_test(test_unreturned_decision_is_told),
    cmocka_unit_test(test_no_hook_no_call),
    cmocka_unit_test(test_cost),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
