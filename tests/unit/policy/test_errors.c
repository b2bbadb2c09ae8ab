/* What a policy does wrong: the road it takes, what is said about it, and that the vm goes on. */
#include "rig.h"
#include <time.h>

static void test_roads(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  char log[8192];
  rig_init(&r);
  rig_use(
      &r, "strict",
      "local policy = { on_error = 'deny' }\n\nfunction policy.on_request(req)\n  local x\n  if req.model == 'bad' "
      "then return x.y end\nend\nreturn policy");
  rig_use(
      &r, "lenient",
      "return { on_error = 'pass', on_request = function(req) if req.model == 'smart' then error('lenient') end end }");
  rig_use(&r, "last", "return { on_request = function(req) req:note('last', 1) end }");
  rig_load(&r);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct capture c = capture_begin();
  assert_int_equal(ask_request(&r, &a)->kind, DECIDE_PASS);
  struct span said = capture_end(c, log);
  assert_false(a.run.decision.error);
  assert_span(ask_note(&a, "last"), "1");
  assert_in(said,
            "policies/lenient.lua:1: lenient (policy 'lenient' in on_request, request req-1; on_error = \"pass\")");
  ask_end(&a);
  ask_init(&a, OP_CHAT, "{\"model\":\"bad\",\"messages\":[]}");
  c = capture_begin();
  struct decision *d = ask_request(&r, &a);
  said = capture_end(c, log);
  assert_int_equal(d->kind, DECIDE_DENY);
  assert_int_equal(d->status, 500);
  assert_true(d->error);
  assert_span(d->policy, "strict");
  assert_span(d->code, "policy_error");
  assert_in(d->message, "the policy 'strict' failed");
  assert_null(ask_note(&a, "last").p);
  assert_in(said, "policies/strict.lua:5: attempt to index a nil value (local 'x')");
  assert_in(said, "mend the policy, or write on_error = \"pass\"");
  assert_in(said, "in function <policies/strict.lua:3>");
  ask_end(&a);
  struct buf metrics = { 0 };
  policy_metrics_write(&metrics);
  assert_in(buf_span(&metrics), "weir_policy_errors_total{policy=\"strict\",hook=\"on_request\"} 1\n");
  assert_in(buf_span(&metrics), "weir_policy_errors_total{policy=\"lenient\",hook=\"on_request\"} 1\n");
  buf_free(&metrics);
  rig_end(&r);
}

static void test_repeated_failures_are_not_all_logged(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  char log[8192];
  rig_init(&r);
  rig_use(&r, "often", "return { on_request = function(req) error('again', 0) end }");
  rig_load(&r);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct capture c = capture_begin();
  for (int i = 0; i < 50; i++) ask_request(&r, &a);
  r.now += 1.5;
  ask_request(&r, &a);
  struct span said = capture_end(c, log);
  int lines = 0;
  for (struct span s = said; s.n; s = span_from(s, 1)) lines += span_starts(s, SPAN("again ("));
  assert_int_equal(lines, 6);
  assert_in(said, "policy 'often' failed in on_request 45 times more");
  struct buf metrics = { 0 };
  policy_metrics_write(&metrics);
  assert_in(buf_span(&metrics), "{policy=\"often\",hook=\"on_request\"} 51\n");
  buf_free(&metrics);
  ask_end(&a);
  rig_end(&r);
}

static void test_limits_leave_the_vm_usable(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  char log[8192];
  rig_init(&r);
  r.conf.lua_memory = 1 << 20;
  rig_use(&r, "hog", "local policy = {}\nfunction policy.on_request(req)\n"
                     "  if req.model == 'loop' then while true do end end\n"
                     "  if req.model == 'held' then pcall(function() while true do end end) while true do end end\n"
                     "  if req.model == 'eat' then local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(256 << 10) .. i "
                     "end end\n"
                     "  if req.model == 'deep' then local function f(n) return 1 + f(n) end f(1) end\n"
                     "  if req.model == 'steps' then return ('a'):rep(1e4):find(('a?'):rep(28) .. ('b'):rep(28)) end\n"
                     "  return weir.deny(499, 'well')\nend\nreturn policy");
  rig_load(&r);
  static const struct { const char *model, *said;
  } bad[] = {
    { "loop", "stopped after 5 ms" },  { "held", "do less in one call" },  { "eat", "raise lua_memory" },
    { "deep", "policies/hog.lua:6:" }, { "steps", "policies/hog.lua:7:" },
  };
  for (size_t i = 0; i < 5; i++) {
    struct arena names = { 0 };
    ask_init(&a, OP_CHAT, arena_printf(&names, "{\"model\":\"%s\",\"messages\":[]}", bad[i].model).p);
    struct timespec from, to;
    r.now += 10;
    struct capture c = capture_begin();
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    struct decision *d = ask_request(&r, &a);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    assert_in(capture_end(c, log), bad[i].said);
    assert_true(d->error);
    assert_true((double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) * 1e-9 < 2);
    ask_end(&a);
    arena_end(&names);
    ask_init(&a, OP_CHAT, CHAT_BODY);
    assert_int_equal(ask_request(&r, &a)->status, 499);
    assert_false(a.run.decision.error);
    ask_end(&a);
  }
  rig_end(&r);
}

/* Memory that ends at any point, while loading or in any hook, is an error of that call and nothing more. */
static void test_memory_ends_anywhere(void **state) {
  (void)state;
  static const char text[] =
    "local m, s, c = weir.matcher { 'needle' }, weir.shared('starved'), weir.counter 'starved'\n"
    "local function all(req)\n"
    "  req:note('k', { req.messages, req.headers.a, req.tags, req.targets }) req:tag('t', 1) req.state.x = { req:text(), ('z'):rep(6000) }\n"
    "  s:set('k', req:text()) s:get('k') c:add(1) m:find(req:text()) weir.sorted { b = 1, a = 2 }\n"
    "end\n"
    "return {\n"
    "  on_request = function(req) all(req) req.max_tokens = 5 weir.sleep(1) all(req) return weir.route { 'lab/x', 'lab/y' } end,\n"
    "  on_chunk = function(req, chunk) all(req) m:feed(req, chunk.text) return weir.replace(chunk.text .. 'x') end,\n"
    "  on_done = function(req, usage) all(req) end,\n"
    "}";
  struct delta delta = { .kind = DELTA_TEXT, .text = { JSON_STRING, SPAN("\"need\\n\"") } };
  struct policy_usage usage = { .usage = USAGE_NONE };
  struct decision d;
  unsigned well = 0, unloaded = 0, failed = 0;
  char log[8192];
  struct capture c = capture_begin();
  for (size_t memory = 20000; well < 20 && memory < 1 << 20; memory += 331) {
    struct rig r;
    struct ask a;
    rig_init(&r);
    r.conf.lua_memory = memory;
    rig_use(&r, "starved", text);
    if (!rig_try(&r)) {
      unloaded++;
      rig_end(&r);
      continue;
    }
    ask_init(&a, OP_CHAT, CHAT_BODY);
    ask_header(&a, "a", "b");
    if (ask_run(&r, &a, HOOK_REQUEST, (struct policy_subject){ 0 }) == POLICY_WAITS) policy_run_resume(&a.run, NULL);
    bool bad = a.run.decision.error;
    for (int i = 0; i < 3; i++) policy_chunk(r.vm, &a.req, &delta, &d), bad |= d.error;
    ask_run(&r, &a, HOOK_DONE, (struct policy_subject){ .usage = &usage });
    well += !bad;
    failed += bad;
    ask_end(&a);
    rig_end(&r);
  }
  capture_end(c, log);
  assert_int_equal(well, 20);
  assert_true(unloaded > 20 && failed > 0);
}

static void test_unknown_names(void **state) {
  (void)state;
  rig_raises("return req.modle", "unknown field of req 'modle'; did you mean 'model'?");
  rig_raises("req.max_token = 5", "unknown field of req 'max_token'; did you mean 'max_tokens'?");
  rig_raises("return req:nte('a')", "did you mean 'note'");
  rig_raises("return weir.rout {}", "unknown word of weir 'rout'; did you mean 'route'?");
  rig_raises("return weir.deny(403, 'no', { cod = 'x' })", "did you mean 'code'");
  rig_raises("return req:text('usr')", "unknown role 'usr'; did you mean 'user'?");
  rig_raises("return req[1]", "fields of req have names, this one is a number");
  rig_raises("return weir.json.deocde", "unknown word of weir.json 'deocde'; did you mean 'decode'?");
  rig_raises("weir.log.wran('x')", "unknown word of weir.log 'wran'; did you mean 'warn'?");
}

static void test_later_words(void **state) {
  (void)state;
  static const char *const words[] = { "kv" };
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    char code[64], said[64];
    snprintf(code, sizeof code, "return weir.%s", words[i]);
    snprintf(said, sizeof said, "weir.%s is not in this version", words[i]);
    rig_raises(code, said);
  }
  rig_raises("weir.allow_loss 'thinking'", "weir.allow_loss takes a list");
  rig_raises("weir.allow_loss {}", "weir.allow_loss takes a list");
  rig_raises("weir.allow_loss { 'thinkng' }", "did you mean 'thinking'");
  rig_raises("weir.allow_loss { 7 }", "not the name of a field");
  rig_raises("weir.allow_loss { 'thinking', strict = true }", "strict");
  rig_raises("return req:estimate_of(7)", "a target is a name");
  rig_raises("return usd(1) < 2", "money and a number do not go together");
  rig_raises("return usd(-1)", "usd(…)");
}

static void test_wrong_phase(void **state) {
  (void)state;
  rig_raises("return weir.skip('x')", "weir.skip belongs in on_attempt, not in on_request");
  rig_raises("return weir.replace('x')", "weir.replace belongs in on_response or on_chunk, not in on_request");
  rig_raises("return weir.retry()", "weir.retry belongs in on_failure, not in on_request");
  rig_raises("weir.matcher { 'x' }",
             "weir.matcher (build it once, and keep it in a local) belongs in the text of the file");
  rig_raises("weir.options {}", "weir.options belongs in the text of the file outside of its hooks, not in on_request");
  rig_raises("require 'util'", "require belongs in the text of the file");
  rig_raises("return 5",
             "policies/guard.lua:1: on_request returned a number; it returns nothing, or a decision made by weir");
  rig_raises("return {}", "on_request returned a table");
}

static void test_kept_decision(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  char log[8192];
  rig_with(
      &r,
      "local kept\nreturn { on_request = function(req) kept = weir.deny(400) end, on_chunk = function(req, chunk) "
      "return kept end }");
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct delta delta = { .kind = DELTA_TEXT, .text = { JSON_STRING, SPAN("\"x\"") } };
  struct decision d;
  struct capture c = capture_begin();
  ask_request(&r, &a);
  policy_chunk(r.vm, &a.req, &delta, &d);
  assert_in(capture_end(c, log), "on_chunk returned a decision (weir.deny) that was made in another call");
  assert_int_equal(d.kind, DECIDE_STOP);
  ask_end(&a);
  rig_end(&r);
}

/* Of several decisions of one call any may be returned, but the oldest of very many; each policy, and each run, has its own. */
static void test_which_decision(void **state) {
  (void)state;
  static const struct { const char *code; int status; } cases[] = {
    { "local a, b = weir.deny(401), weir.deny(402) weir.deny(403) return b", 402 },
    { "local a = weir.deny(401) for i = 1, 63 do weir.deny(402) end return a", 401 },
    { "local a for i = 1, 1000 do a = weir.deny(400 + i % 100) end return a", 400 },
    { "local a = weir.deny(401) weir.sleep(1) weir.deny(402) return a", 401 },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct rig r;
    struct ask a, other;
    char *text = NULL;
    assert_true(asprintf(&text, "return { on_request = function(req)\n%s\nend }", cases[i].code) > 0);
    rig_with(&r, text);
    ask_init(&a, OP_CHAT, CHAT_BODY);
    ask_init(&other, OP_CHAT, CHAT_BODY);
    struct policy_subject s = { .req = &a.req };
    bool waits = policy_run_start(r.vm, &a.run, HOOK_REQUEST, &s) == POLICY_WAITS;
    if (waits) {                                         /* another exchange decides meanwhile */
      struct policy_subject t = { .req = &other.req };
      assert_int_equal(policy_run_start(r.vm, &other.run, HOOK_REQUEST, &t), POLICY_WAITS);
      policy_run_resume(&other.run, NULL);
      policy_run_resume(&a.run, NULL);
    }
    assert_int_equal(waits, i == 3);
    assert_int_equal(a.run.decision.status, cases[i].status);
    ask_end(&a);
    ask_end(&other);
    rig_end(&r);
    free(text);
  }
  rig_raises("local a = weir.deny(401) for i = 1, 64 do weir.deny(402) end return a",
             "returned a decision (weir.deny) that was made in another call");
}

/* What a policy holds is no table, and says what it is. */
static void test_handles(void **state) {
  (void)state;
  rig_lua("local d, null = weir.deny(400), weir.json.null\n"
          "assert(tostring(d) == 'decision' and getmetatable(d) == 'decision' and type(d) == 'userdata')\n"
          "assert(tostring(null) == 'userdata' and getmetatable(null) == nil and type(null) == 'userdata')\n"
          "assert(req.headers == req.headers and d ~= weir.deny(400) and req ~= req.headers and req ~= null)\n"
          "local t = { [req] = 1, [null] = 2 }\n"
          "assert(t[req] == 1 and t[null] == 2 and t[d] == nil)\n"
          "assert(not pcall(rawset, req, 'x', 1) and not pcall(rawget, req, 'x') and not pcall(setmetatable, d, {}))");
  rig_raises("return weir.deny(400).status", "a decision has no fields; return it from the hook");
  rig_raises("weir.deny(400).status = 401", "a decision has no fields; return it from the hook");
  rig_raises("local x = weir.json.null return x.y", "attempt to index a userdata value (local 'x')");
  rig_raises("return req[req]", "fields of req have names, this one is a userdata");
  rig_raises("return req[1]", "fields of req have names, this one is a number");
  rig_raises("for k in pairs(req) do end", "pairs cannot walk req; read its fields by name");
  rig_raises("req.text(req.headers)", "req:text(role): the req is missing before it, not a userdata");
  rig_raises("req.text(weir.json.null)", "req:text(role): the req is missing before it, not a userdata");
  rig_raises("return weir.json.null", "on_request returned a userdata");
  rig_raises("return req", "on_request returned a userdata");
}

/* A policy keeps handles; what it reads from them later is refused, whoever's they are. */
static void test_stale_handles(void **state) {
  (void)state;
  struct rig r;
  struct ask a, b;
  rig_with(&r, "local kept = {}\n"
               "local function why(f, ...) return select(2, pcall(f, ...)) end\n"
               "return {\n"
               "  on_request = function(req)\n"
               "    if kept.req then\n"
               "      req:note('read', why(function() return kept.req.model end))\n"
               "      req:note('write', why(function() kept.req.max_tokens = 1 end))\n"
               "      req:note('call', why(function() return kept.req:text() end))\n"
               "      req:note('headers', why(function() return kept.headers['x-a'] end))\n"
               "      req:note('pairs', why(function() for k in pairs(kept.headers) do end end))\n"
               "      req:note('attempt', why(function() return kept.attempt.target end))\n"
               "      req:note('sent', why(function() kept.sent['x-a'] = '1' end))\n"
               "    end\n"
               "    kept.req, kept.headers = req, req.headers\n"
               "  end,\n"
               "  on_attempt = function(req, attempt) kept.attempt, kept.sent = attempt, attempt.headers end,\n"
               "}");
  struct target t = {
    .provider = &r.providers[1], .endpoint = &r.endpoints[1], .model = SPAN("small"), .name = SPAN("lab/small")
  };
  ask_init(&a, OP_CHAT, CHAT_BODY);
  ask_init(&b, OP_CHAT, CHAT_BODY);
  struct policy_attempt at = { .number = 1, .target = &t, .arena = &a.arena };
  ask_request(&r, &a);
  ask_run(&r, &a, HOOK_ATTEMPT, (struct policy_subject){ .attempt = &at });
  ask_end(&a);
  memset(&a, 0xAA, sizeof a);
  memset(&at, 0xAA, sizeof at);
  assert_false(ask_request(&r, &b)->error);
  static const char *const notes[] = { "read", "write", "call", "headers", "pairs", "attempt", "sent" };
  for (size_t i = 0; i < 7; i++) assert_in(ask_note(&b, notes[i]), "is stale");
  ask_end(&b);
  rig_end(&r);
}

static void test_sandbox(void **state) {
  (void)state;
  rig_lua(
      "for _, name in ipairs { 'io', 'os', 'debug', 'coroutine', 'load', 'loadfile', 'dofile', 'collectgarbage', "
      "'next', 'package' } do assert(_ENV[name] == nil, name) end\n"
      "assert(string.dump == nil and math.random == nil)\n"
      "for _, write in ipairs { function() weir.deny = 1 end, function() weir.log.info = 1 end, function() "
      "weir.json.null = 1 end, function() string.format = 1 end,\n"
      "    function() some_global = 1 end, function() weir = 1 end, function() rawset(weir, 'deny', 1) end } do\n"
      "  local ok, why = pcall(write) assert(not ok, why)\n"
      "end\n"
      "assert(getmetatable(req) == 'req' and not pcall(setmetatable, req, {}))\n"
      "assert(tostring(req) == 'req' and type(req) == 'userdata')\n"
      "assert(getmetatable(weir) == false and type(getmetatable(_ENV)) == 'string')");
  rig_raises("some_global = 1",
             "'some_global' is a global, and they are read-only once the file is loaded; write local some_global");
}

/* Two policies of one vm share neither globals nor locals, and see the same library. */
static void test_policies_are_apart(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_init(&r);
  rig_use(
      &r, "one",
      "mine = 'one'\nstring_format = string.format\nreturn { on_request = function(req) req:note('one', mine) "
      "assert(yours == nil) end }");
  rig_use(
      &r, "two",
      "yours = 'two'\nreturn { on_request = function(req) req:note('two', yours) assert(mine == nil and "
      "string_format == nil) end }");
  rig_load(&r);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  assert_false(ask_request(&r, &a)->error);
  assert_span(ask_note(&a, "one"), "one");
  assert_span(ask_note(&a, "two"), "two");
  ask_end(&a);
  rig_end(&r);
}

static void test_helpers(void **state) {
  (void)state;
  rig_lua("local s = weir.sorted { 3, 1, 2 } assert(s[1] == 1 and s[3] == 3)\n"
          "local given = { 'b', 'a' } s = weir.sorted(given) assert(s[1] == 'a' and given[1] == 'b')\n"
          "s = weir.sorted { b = 1, a = 2, [-1] = 3 } assert(#s == 3 and s[1] == -1 and s[2] == 'a' and s[3] == 'b')\n"
          "assert(#weir.sorted {} == 0)\n"
          "assert(weir.now() == 1700000000)\n"
          "local seen = {} for i = 1, 2000 do local n = weir.random(3) assert(n >= 1 and n <= 3) seen[n] = true end "
          "assert(#seen == 3)\n"
          "local f = weir.random() assert(f >= 0 and f < 1) assert(math.type(weir.random(-5, 5)) == 'integer')\n"
          "assert(not pcall(weir.random, 2, 1))\n"
          "assert(minutes(2) == 120 and hours(1) == 3600 and days(7) == 604800 and kb(64) == 65536 and mb(1) == "
          "1048576 and minutes(0.5) == 30)\n"
          "assert(math.type(minutes(2)) == 'integer')\n"
          "weir.log.info('seen', { }, nil, 5)\n");
}

/* The same seed draws the same numbers; another exchange draws others. */
static void test_random_is_the_exchange_s(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  struct span drawn[3];
  struct arena keep = { 0 };
  rig_with(&r,
           "return { on_request = function(req) req:note('n', { weir.random(1000000), weir.random(1000000) }) end }");
  for (int i = 0; i < 3; i++) {
    ask_init(&a, OP_CHAT, CHAT_BODY);
    a.req.random = i == 2 ? 43 : 42;
    ask_request(&r, &a);
    drawn[i] = arena_copy(&keep, ask_note(&a, "n"));
    ask_end(&a);
  }
  assert_true(span_eq(drawn[0], drawn[1]));
  assert_false(span_eq(drawn[0], drawn[2]));
  arena_end(&keep);
  rig_end(&r);
}

static void test_counter(void **state) {
  (void)state;
  rig_lua("local c = weir.counter 'seen' c:add(2) c:add() weir.counter('seen'):add(4)");
  struct buf metrics = { 0 };
  policy_metrics_write(&metrics);
  assert_in(buf_span(&metrics), "# TYPE weir_policy_seen_total counter\nweir_policy_seen_total 7\n");
  buf_free(&metrics);
  rig_raises("weir.counter 'Bad-Name'", "a name is made of a-z, 0-9 and _");
  rig_raises("weir.counter 'errors'", "weir_policy_errors_total is weir's own");
  rig_raises("weir.counter('x'):add(-1)", "n is a whole number from 0 on");
  rig_raises("weir.counter('x'):ad(1)", "did you mean 'add'");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_roads),
    cmocka_unit_test(test_repeated_failures_are_not_all_logged),
    cmocka_unit_test(test_limits_leave_the_vm_usable),
    cmocka_unit_test(test_memory_ends_anywhere), cmocka_unit_test(test_unknown_names),
    cmocka_unit_test(test_later_words),
    cmocka_unit_test(test_wrong_phase),
    cmocka_unit_test(test_kept_decision),
    cmocka_unit_test(test_which_decision),
    cmocka_unit_test(test_handles),
    cmocka_unit_test(test_stale_handles),
    cmocka_unit_test(test_sandbox),
    cmocka_unit_test(test_policies_are_apart),
    cmocka_unit_test(test_helpers),
    cmocka_unit_test(test_random_is_the_exchange_s),
    cmocka_unit_test(test_counter),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
