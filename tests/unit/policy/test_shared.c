/* weir.shared: one map for all vms and threads of the process, bounded, over generations. */
#include "rig.h"
#include <pthread.h>

static void test_values(void **state) {
  (void)state;
  rig_lua("local s = weir.shared('values')\n"
          "assert(s:get('k') == nil)\n"
          "s:set('k', 'text') assert(s:get('k') == 'text') s:set('k', 1.5) assert(s:get('k') == 1.5) s:set('k', "
          "false) assert(s:get('k') == false)\n"
          "s:set('k', 7) assert(math.type(s:get('k')) == 'integer' and s:add('k', 3) == 10 and s:add('k') == 11)\n"
          "s:set('k', nil) assert(s:get('k') == nil) assert(s:add('n', -2) == -2)\n"
          "assert(s:delete('n') == true and s:delete('n') == false)\n"
          "s:set(5, 'five') assert(s:get('5') == 'five')\n"
          "s:set('', 'empty') assert(s:get('') == 'empty') s:set('z\\0z', 'zero') assert(s:get('z\\0z') == 'zero' "
          "and s:get('z') == nil)\n");
  rig_raises("weir.shared('values'):set('k', {})", "weir.json.encode makes a string of a table");
  rig_raises("local s = weir.shared('values') s:set('t', 'x') s:add('t', 1)", "no whole number");
  rig_raises("local s = weir.shared('values') s:set('t', math.maxinteger) s:add('t', 1)", "beyond 64 bit");
  rig_raises("weir.shared('values'):add('t', 0.5)", "n is a whole number");
  rig_raises("weir.shared('values'):get({})", "the key is a string, not a table");
  rig_raises("weir.shared('values'):get(('k'):rep(2000))", "at most 1024 bytes");
  rig_raises("weir.shared('values'):set('k', ('v'):rep(70000))", "at most 65536 bytes");
  rig_raises("weir.shared('values'):gt('k')", "did you mean 'get'");
  rig_raises("weir.shared('values', { entrys = 5 })", "did you mean 'entries'");
  rig_raises("weir.shared('values', { entries = 0 })", "entries is a number from 1");
  rig_raises("weir.shared {}", "weir.shared takes a name");
}

static const char timed[] =
  "local s = weir.shared('timed', { ttl = 10 })\n"
  "return { on_request = function(req) s:set('a', 1) s:set('b', 1, 5) s:set('c', 1, 0) s:add('window', 1, 8) "
  "req:note('window', s:add('window', 1, 8)) end,\n"
  "  on_done = function(req) req:note('left', { s:get('a') or 0, s:get('b') or 0, s:get('c') or 0, s:get('window') "
  "or 0 }) end }";

static void left(struct rig *r, double later, const char *wanted) {
  struct ask a;
  struct policy_usage usage = { .usage = USAGE_NONE };
  ask_init(&a, OP_CHAT, CHAT_BODY);
  r->now += later;
  ask_run(r, &a, HOOK_DONE, (struct policy_subject){ .usage = &usage });
  assert_span(ask_note(&a, "left"), wanted);
  ask_end(&a);
}

static void test_ttl(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  rig_with(&r, timed);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  ask_request(&r, &a);
  assert_span(ask_note(&a, "window"), "2");
  ask_end(&a);
  left(&r, 4, "[1,1,1,2]");
  left(&r, 1, "[1,0,1,2]");
  left(&r, 3, "[1,0,1,0]");
  left(&r, 2, "[0,0,1,0]");
  rig_end(&r);
}

/* The entry that was not used for longest goes. */
static void test_bounds(void **state) {
  (void)state;
  rig_lua("local s = weir.shared('small', { entries = 3 })\n"
          "s:set('a', 1) s:set('b', 2) s:set('c', 3) assert(s:get('a') == 1) s:set('d', 4)\n"
          "assert(s:get('b') == nil and s:get('a') == 1 and s:get('c') == 3 and s:get('d') == 4)\n"
          "for i = 1, 1000 do s:add('n' .. i, i) end\n"
          "assert(s:get('n1000') == 1000 and s:get('n998') == 998 and s:get('n997') == nil)\n"
          "weir.shared('small', { entries = 1 }) assert(s:get('n998') ~= nil and s:get('n1000') == nil)\n");
}

static void test_over_vms_and_generations(void **state) {
  (void)state;
  static const char text[] =
      "local s = weir.shared('lasting')\nreturn { on_request = function(req) req:note('n', s:add('n', 1)) end }";
  struct rig one, two;
  struct ask a;
  rig_with(&one, text);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  ask_request(&one, &a);
  ask_end(&a);
  rig_with(&two, text);
  rig_end(&one);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  ask_request(&two, &a);
  assert_span(ask_note(&a, "n"), "2");
  ask_end(&a);
  rig_end(&two);
}

enum { THREADS = 4, ROUNDS = 3000 };
static void *worker(void *arg) {
  struct rig r;
  struct ask a;
  (void)arg;
  rig_with(&r, "local s, few, c = weir.shared('busy'), weir.shared('few', { entries = 5 }), weir.counter 'busy'\n"
               "return { on_request = function(req) s:add('n', 1) c:add(1) local i = weir.random(20) few:set('k' .. "
               "i, ('v'):rep(i)) local v = few:get('k' .. weir.random(20)) assert(v == nil or #v <= 20) end }");
  ask_init(&a, OP_CHAT, CHAT_BODY);
  a.req.random = (uint64_t)(uintptr_t)&r;
  for (int i = 0; i < ROUNDS; i++)
    if (ask_request(&r, &a)->error) abort();
  ask_end(&a);
  rig_end(&r);
  return NULL;
}

static void test_threads(void **state) {
  (void)state;
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, worker, NULL), 0);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  rig_lua("assert(weir.shared('busy'):get('n') == 12000)");
  struct buf metrics = { 0 };
  policy_metrics_write(&metrics);
  assert_in(buf_span(&metrics), "weir_policy_busy_total 12000\n");
  buf_free(&metrics);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_values),  cmocka_unit_test(test_ttl),
    cmocka_unit_test(test_bounds),  cmocka_unit_test(test_over_vms_and_generations),
    cmocka_unit_test(test_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
