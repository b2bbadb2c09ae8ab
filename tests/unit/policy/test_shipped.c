/* The shipped policies, driven through their hooks; their own tests (x.test.lua) run them over a gateway. */
#include "rig.h"

struct text { char bytes[16384]; };

static struct use *use_shipped(struct rig *r, const char *name, struct text *t, struct value_pair *options,
                               size_t count) {
  char path[64];
  snprintf(path, sizeof path, "policies/%s.lua", name);
  FILE *f = fopen(path, "r");
  if (!f) {
    print_message("skipped: %s is not below the working folder\n", path);
    skip();
  }
  t->bytes[fread(t->bytes, 1, sizeof t->bytes - 1, f)] = 0;
  fclose(f);
  struct use *u = rig_use(r, name, t->bytes);
  u->options = (struct value){ .type = VALUE_TABLE, .pairs = options, .count = count };
  return u;
}

static struct value string_of(const char *s) { return (struct value){ .type = VALUE_STRING, .s = span_cstr(s) }; }
static struct value number_of(double n) { return (struct value){ .type = VALUE_NUM, .d = n }; }
static struct value_pair item(int64_t i, struct value v) {
  return (struct value_pair){ { .type = VALUE_INT, .i = i }, v };
}
static struct value_pair option(const char *name, struct value v) { return (struct value_pair){ string_of(name), v }; }
static struct value table_of(struct value_pair *pairs, size_t n) {
  return (struct value){ .type = VALUE_TABLE, .pairs = pairs, .count = n };
}

static struct decision failure(struct rig *r, struct ask *a, const char *name, enum fault kind, int status,
                               double retry_after) {
  struct target t = {
    .provider = &r->providers[1], .endpoint = &r->endpoints[1], .model = SPAN("m"), .name = span_cstr(name)
  };
  struct policy_attempt at = { .number = 1, .target = &t, .arena = &a->arena };
  struct policy_fault f = {
    .kind = kind, .status = status, .target = t.name, .phase = "head", .retry_after = retry_after
  };
  ask_run(r, a, HOOK_FAILURE, (struct policy_subject){ .attempt = &at, .fault = &f });
  assert_false(a->run.decision.error);
  return a->run.decision;
}

static void test_fallback(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  struct text text;
  struct value_pair targets[2] = { item(1, string_of("lab/small")), item(2, string_of("lab/large")) };
  struct value_pair on[3] = { item(1, string_of("timeout")), item(2, number_of(503)),
                              item(3, string_of("rate_limited")) };
  struct value_pair options[3] = { option("targets", table_of(targets, 2)), option("on", table_of(on, 3)),
                                   option("retries", number_of(1)) };
  rig_init(&r);
  use_shipped(&r, "fallback", &text, options, 3);
  rig_load(&r);
  assert_int_equal(buf_size(&r.warnings), 0);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  assert_false(ask_request(&r, &a)->error);
  assert_int_equal(a.req.target_count, 3);
  assert_span(a.req.targets[0], "openai/gpt-5");
  assert_span(a.req.targets[1], "lab/small");
  assert_span(a.req.targets[2], "lab/large");
  struct decision d = failure(&r, &a, "openai/gpt-5", FAULT_TIMEOUT, 0, -1);
  assert_int_equal(d.kind, DECIDE_RETRY);
  assert_true(d.retry_after >= 0.125 && d.retry_after <= 0.25);
  assert_int_equal(failure(&r, &a, "openai/gpt-5", FAULT_TIMEOUT, 0, -1).kind, DECIDE_NEXT);
  assert_int_equal(failure(&r, &a, "lab/small", FAULT_OVERLOADED, 503, -1).kind, DECIDE_RETRY);
  assert_int_equal(failure(&r, &a, "lab/large", FAULT_RATE_LIMITED, 429, 60).kind, DECIDE_NEXT);
  d = failure(&r, &a, "lab/large", FAULT_RATE_LIMITED, 429, 2);
  assert_int_equal(d.kind, DECIDE_RETRY);
  assert_true(d.retry_after == 2);
  d = failure(&r, &a, "lab/large", FAULT_BAD_REQUEST, 400, -1);
  assert_int_equal(d.kind, DECIDE_FAIL);
  assert_span(d.message, "bad_request");
  ask_end(&a);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  a.req.operation = NULL;                              /* streamed through: nothing to route */
  assert_false(ask_request(&r, &a)->error);
  assert_int_equal(a.req.target_count, 0);
  ask_end(&a);
  rig_end(&r);
}

static void refused(const char *name, struct value_pair *options, size_t count, const char *said) {
  struct rig r;
  struct text text;
  rig_init(&r);
  use_shipped(&r, name, &text, options, count);
  assert_false(rig_try(&r));
  assert_in(buf_span(&r.errors), said);
  rig_end(&r);
}

static void test_fallback_mistakes(void **state) {
  (void)state;
  struct value_pair on[1] = { item(1, string_of("time_out")) };
  struct value_pair typo[1] = { option("on", table_of(on, 1)) }, name[1] = { option("retrys", number_of(1)) };
  refused("fallback", typo, 1, "weir.lua:3: use \"fallback\": on: 'time_out' is neither a fault word nor a status");
  refused("fallback", name, 1, "did you mean 'retries'");
}

static struct span arm_of(struct rig *r, struct ask *a, const char *session, uint64_t random) {
  ask_init(a, OP_CHAT, CHAT_BODY);
  a->req.session = span_cstr(session);
  a->req.random = random;
  assert_false(ask_request(r, a)->error);
  assert_int_equal(a->req.target_count, 1);
  assert_true(span_eq(ask_note(a, "arm"), a->req.targets[0]));
  return a->req.targets[0];
}

static void test_ab(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  struct text text;
  struct value_pair targets[2] = { option("openai/gpt-5", number_of(3)), option("lab/small", number_of(1)) };
  struct value_pair options[1] = { option("targets", table_of(targets, 2)) };
  int lab[2] = { 0, 0 };
  rig_init(&r);
  use_shipped(&r, "ab", &text, options, 1);
  rig_load(&r);
  assert_int_equal(buf_size(&r.warnings), 0);
  for (int by = 0; by < 2; by++)                       /* with sessions, and without */
    for (int i = 0; i < 2000; i++) {
      char session[32] = "";
      if (!by) snprintf(session, sizeof session, "session-%d", i);
      lab[by] += span_eq(arm_of(&r, &a, session, (uint64_t)i * 7919 + 1), SPAN("lab/small"));
      ask_end(&a);
    }
  assert_in_range(lab[0], 400, 600);                   /* a quarter of 2000 */
  assert_in_range(lab[1], 400, 600);
  bool first = span_eq(arm_of(&r, &a, "the same", 1), SPAN("lab/small"));
  ask_end(&a);
  for (uint64_t i = 2; i < 50; i++) {
    assert_int_equal(span_eq(arm_of(&r, &a, "the same", i), SPAN("lab/small")), first);
    ask_end(&a);
  }
  rig_end(&r);
}

static void test_ab_options(void **state) {
  (void)state;
  struct rig r;
  struct ask a;
  struct text text;
  struct value_pair targets[1] = { option("lab/small", number_of(1)) };
  struct value_pair options[2] = { option("targets", table_of(targets, 1)), option("model", string_of("other")) };
  struct value_pair bad[2] = { option("targets", table_of(targets, 1)), option("by", string_of("sesion")) };
  struct value_pair none[1] = { option("targets", table_of(NULL, 0)) };
  rig_init(&r);
  use_shipped(&r, "ab", &text, options, 2);
  rig_load(&r);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  assert_false(ask_request(&r, &a)->error);
  assert_int_equal(a.req.target_count, 0);
  ask_end(&a);
  rig_end(&r);
  refused("ab", bad, 2, "by is \"session\", \"user\" or \"random\"");
  refused("ab", none, 1, "all weights are 0");
  refused("ab", NULL, 0, "the option 'targets' (a table) is missing");
}

/* The files of tests are Lua, and hold functions; weir test runs them. */
static void test_their_tests_load(void **state) {
  (void)state;
  static const char *const names[] = { "fallback.test", "ab.test", "validate.test", "guard.test", "redact.test", "judge.test", "json_schema.test" };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    struct rig r;
    struct text text;
    struct vm *vm = vm_new(&(struct vm_limits){ 0 });
    lua_State *L = vm_state(vm);
    rig_init(&r);
    use_shipped(&r, names[i], &text, NULL, 0);
    if (!vm_load(L, span_cstr(text.bytes), names[i], 0) || vm_call(L, 0, 1) != VM_OK)
      fail_msg("%s", lua_tostring(L, -1));
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1), count++) assert_true(lua_isfunction(L, -1));
    assert_true(count >= 4);
    rig_end(&r);
    vm_free(vm);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_fallback),   cmocka_unit_test(test_fallback_mistakes), cmocka_unit_test(test_ab),
    cmocka_unit_test(test_ab_options), cmocka_unit_test(test_their_tests_load),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
