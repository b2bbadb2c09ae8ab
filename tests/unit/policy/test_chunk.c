/* on_chunk: what a chunk shows, what may be decided on it, and what it costs. */
#include "rig.h"
#include <time.h>

static struct delta text_delta(const char *json) {
  return (struct delta){ .kind = DELTA_TEXT, .text = { JSON_STRING, span_cstr(json) } };
}

static struct decision chunk(struct rig *r, struct ask *a, struct delta d) {
  struct decision out;
  enum decision_kind kind = policy_chunk(r->vm, &a->req, &d, &out);
  assert_int_equal(kind, out.kind);
  return out;
}

static void test_views(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_with(&r, "return { on_chunk = function(req, chunk)\n"
               "  req:note(chunk.kind, { chunk.choice, chunk.text or 0, chunk.tool or 0, chunk.usage or 0, "
               "chunk.finish or 0 })\n"
               "end }");
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct delta text = text_delta("\"a\\n\\u00e9\"");
  text.choice = 1;
  chunk(&r, &a, text);
  chunk(&r, &a, (struct delta){ .kind = DELTA_THINKING, .text = { JSON_STRING, SPAN("\"hm\"") } });
  chunk(&r, &a,
        (struct delta){ .kind = DELTA_TOOL,
                        .tool_index = 2,
                        .tool_id = { JSON_STRING, SPAN("\"c1\"") },
                        .tool_name = { JSON_STRING, SPAN("\"add\"") },
                        .tool_arguments = { JSON_STRING, SPAN("\"{\\\"\"") } });
  chunk(&r, &a, (struct delta){ .kind = DELTA_USAGE, .usage = { 1, -1, -1, -1, 2, -1 } });
  chunk(&r, &a, (struct delta){ .kind = DELTA_FINISH, .finish = SPAN("stop") });
  assert_span(ask_note(&a, "text"), "[1,\"a\\n\xc3\xa9\",0,0,0]");
  assert_span(ask_note(&a, "thinking"), "[0,\"hm\",0,0,0]");
  assert_span(ask_note(&a, "tool"), "[0,0,{\"arguments\":\"{\\\"\",\"id\":\"c1\",\"index\":2,\"name\":\"add\"},0,0]");
  assert_span(ask_note(&a, "usage"), "[0,0,0,{\"input\":1,\"output\":2},0]");
  assert_span(ask_note(&a, "finish"), "[0,0,0,0,\"stop\"]");
  ask_end(&a);
  rig_end(&r);
}

static void test_decisions(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  struct arena scratch = { 0 };
  rig_init(&r);
  rig_use(&r, "one", "return { on_chunk = function(req, chunk)\n"
                     "  if chunk.text == 'drop' then return weir.drop() end\n"
                     "  if chunk.text == 'bad' then return weir.replace('good') end\n"
                     "  if chunk.text == 'end' then return weir.stop('enough', 'length') end\n"
                     "end }");
  rig_use(&r, "two", "return { on_chunk = function(req, chunk)\n"
                     "  req:note('two', chunk.text)\n"
                     "  if chunk.text == 'good' then return weir.replace('better') end\n"
                     "end }");
  rig_load(&r);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  assert_int_equal(chunk(&r, &a, text_delta("\"plain\"")).kind, DECIDE_PASS);
  assert_span(ask_note(&a, "two"), "plain");
  assert_int_equal(chunk(&r, &a, text_delta("\"drop\"")).kind, DECIDE_DROP);
  assert_span(ask_note(&a, "two"), "plain");
  a.req.scratch = &scratch;
  struct decision d = chunk(&r, &a, text_delta("\"bad\""));
  assert_int_equal(d.kind, DECIDE_REPLACE);
  assert_span(d.text, "better");
  assert_span(d.policy, "two");
  assert_span(ask_note(&a, "two"), "good");
  assert_true(scratch.total > 0);
  d = chunk(&r, &a, text_delta("\"end\""));
  arena_end(&scratch);                                 /* a stop outlives the event's scratch */
  assert_int_equal(d.kind, DECIDE_STOP);
  assert_span(d.as, "length");
  assert_span(d.message, "enough");
  ask_end(&a);
  rig_end(&r);
}

static void chunk_raises(const char *code, struct delta delta, const char *part) {
  static double later;
  struct rig r;
  struct ask a;
  char *text = NULL, log[8192];
  assert_true(asprintf(&text, "return { on_chunk = function(req, chunk) %s end }", code) > 0);
  rig_with(&r, text);
  r.now += later += 10;
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct capture c = capture_begin();
  struct decision d = chunk(&r, &a, delta);
  assert_in(capture_end(c, log), part);
  assert_int_equal(d.kind, DECIDE_STOP);
  assert_span(d.as, "error");
  assert_true(d.error);
  ask_end(&a);
  rig_end(&r);
  free(text);
}

static void test_mistakes(void **state) {
  (void)state;
  struct delta text = text_delta("\"x\""), tool = { .kind = DELTA_TOOL },
               finish = { .kind = DELTA_FINISH, .finish = SPAN("stop") };
  chunk_raises("return weir.replace('x')", tool, "can only be stopped");
  chunk_raises("return weir.drop()", finish, "can only be stopped");
  chunk_raises("return weir.replace(7)", text, "the new text is a string, not a number");
  chunk_raises("return weir.stop('x', 'lenght')", text, "did you mean 'length'");
  chunk_raises("return weir.stop()", text, "weir.stop: the reason is a string");
  chunk_raises("return weir.deny(400)", text, "weir.deny belongs in on_request, not in on_chunk");
  chunk_raises("weir.sleep(1)", text, "weir.sleep waits, and on_chunk may not wait");
  chunk_raises("weir.fetch { url = 'http://x/' }", text, "weir.fetch waits, and on_chunk may not wait");
  chunk_raises("return weir.hold { tokens = 1 }", text, "unknown field of weir.hold in on_chunk 'tokens'");
  chunk_raises("return weir.hold {}", text, "weir.hold says how much or for how long: bytes, seconds");
  chunk_raises("return weir.hold { bytes = -1 }", text, "bytes is a number from 0 on");
  chunk_raises("return weir.hold(7)", text, "weir.hold takes a table");
  chunk_raises("return weir.replace('x', { behind = 1 })", text, "unknown field of weir.replace 'behind'");
  chunk_raises("return 'stop'", text, "policies/guard.lua:1: on_chunk returned a string");
  chunk_raises("return chunk.txt", text, "unknown field of chunk 'txt'; did you mean 'text'?");
  chunk_raises("chunk.text = 'y'", text, "chunk.text cannot be written");
}

static void test_stale_chunk(void **state) {
  (void)state;
  struct rig r;
  struct ask a, b;
  rig_with(&r, "local kept\n"
               "return { on_chunk = function(req, chunk)\n"
               "  if kept then req:note('why', select(2, pcall(function() return kept.text end))) end\n"
               "  kept = kept or chunk\n"
               "end, on_done = function(req) req:note('why', select(2, pcall(function() return kept.text end))) end }");
  ask_init(&a, OP_CHAT, CHAT_BODY);
  ask_init(&b, OP_CHAT, CHAT_BODY);
  chunk(&r, &a, text_delta("\"secret\""));
  chunk(&r, &b, text_delta("\"x\""));                  /* another exchange's chunk is not shown */
  assert_in(ask_note(&b, "why"), "this chunk is stale");
  struct policy_usage usage = { .usage = USAGE_NONE };
  ask_run(&r, &a, HOOK_DONE, (struct policy_subject){ .usage = &usage });
  assert_in(ask_note(&a, "why"), "this chunk is stale");
  ask_end(&a);
  ask_end(&b);
  rig_end(&r);
}

static void test_pass_road(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  char log[8192];
  rig_init(&r);
  rig_use(&r, "one", "return { on_error = 'pass', on_chunk = function() error('x') end }");
  rig_use(&r, "two", "return { on_chunk = function(req, chunk) return weir.replace('two') end }");
  rig_load(&r);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct capture c = capture_begin();
  struct decision d = chunk(&r, &a, text_delta("\"x\""));
  capture_end(c, log);
  assert_int_equal(d.kind, DECIDE_REPLACE);
  assert_span(d.text, "two");
  ask_end(&a);
  rig_end(&r);
}

/* Most chunks need nothing of Lua's memory: a stream must not leave garbage behind. */
static void test_empty_hook_leaves_no_garbage(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_with(&r, "return { on_chunk = function(req, chunk) end }");
  ask_init(&a, OP_CHAT, CHAT_BODY);
  for (int i = 0; i < 100; i++) chunk(&r, &a, text_delta("\"x\""));
  size_t before = policy_memory(r.vm), arena = a.arena.total;
  for (int i = 0; i < 10000; i++) chunk(&r, &a, text_delta("\"x\""));
  assert_int_equal(policy_memory(r.vm), before);
  assert_int_equal(a.arena.total, arena);
  ask_end(&a);
  rig_end(&r);
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void cost(const char *what, const char *text) {
  enum { N = 200000 };
  struct rig r;
  struct ask a;
  struct decision out;
  rig_with(&r, text);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct delta d = text_delta("\"a usual piece of text\"");
  policy_chunk(r.vm, &a.req, &d, &out);
  double best = 1;
  for (int round = 0; round < 5; round++) {
    double from = seconds();
    for (int i = 0; i < N; i++) policy_chunk(r.vm, &a.req, &d, &out);
    double took = (seconds() - from) / N;
    if (took < best) best = took;
  }
  print_message("%s: %.0f ns\n", what, best * 1e9);
  assert_true(best < 20e-6);                           /* a broken fast road, not a slow machine */
  ask_end(&a);
  rig_end(&r);
}

static void test_cost(void **state) {
  (void)state;
  cost("an empty on_chunk", "return { on_chunk = function(req, chunk) end }");
  cost("an on_chunk that reads chunk.text", "return { on_chunk = function(req, chunk) local t = chunk.text end }");
  cost(
      "an on_chunk that feeds a matcher",
      "local m = weir.matcher { 'AKIA', 'BEGIN PRIVATE KEY' }\nreturn { on_chunk = function(req, chunk) if "
      "chunk.text and m:feed(req, chunk.text) then return weir.drop() end end }");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_views),     cmocka_unit_test(test_decisions),
    cmocka_unit_test(test_mistakes),  cmocka_unit_test(test_stale_chunk),
    cmocka_unit_test(test_pass_road), cmocka_unit_test(test_empty_hook_leaves_no_garbage),
    cmocka_unit_test(test_cost),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
