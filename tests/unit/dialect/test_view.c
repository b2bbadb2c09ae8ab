/* Messages and tools in one shape, and back in the caller's words. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "weir/view.h"

static struct json_member members[32];
static size_t count;
static struct arena a;

static void read_body(const char *body) {
  struct json_error e;
  if (!json_read_object(span_cstr(body), members, 32, &count, &e)) fail_msg("%s: %s", body, e.why);
}

static void is(struct span given, const char *wanted) {
  if (!span_eq(given, span_cstr(wanted))) fail_msg("%.*s\nis not\n%s", SPAN_FMT(given), wanted);
}

static struct view seen(enum operation o, const char *body, const char *wanted) {
  struct view v;
  struct buf b = { 0 };
  read_body(body);
  assert_true(view_messages(operation_info(o), members, count, &a, &v));
  for (size_t i = 0; i < v.count; i++) {
    struct json j;
    if (i) buf_byte(&b, '\n');
    buf_add(&b, v.items[i].text);
    assert_true(json_read(v.items[i].text, &j, NULL));
  }
  is(buf_span(&b), wanted);
  buf_free(&b);
  return v;
}

/* What comes of it when a policy hands back these: "=3" is item 3 untouched. */
static struct view_written written(enum operation o, const struct view *v, const char *const *now, size_t n, const char **why) {
  struct view_new news[16];
  struct view_written w;
  for (size_t i = 0; i < n; i++) {
    news[i].same = now[i][0] == '=' ? now[i][1] - '0' : -1;
    struct span text = news[i].same >= 0 ? v->items[news[i].same].text : span_cstr(now[i]);
    assert_true(json_read(text, &news[i].value, NULL));
  }
  *why = NULL;
  view_messages_write(operation_info(o), members, count, v, news, n, &a, &w, why);
  return w;
}
#define WRITTEN(o, v, why, ...) written((o), (v), (const char *const[]){ __VA_ARGS__ }, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *), (why))

static void messages(void **state) {
  const char *why, *body = "{\"system\":\"Be brief.\",\"messages\":[{\"role\":\"user\",\"content\": \"Hi\"},"
    "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"},{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"f\",\"input\":{\"x\":1}}]},"
    "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"c1\",\"content\":\"3\"},{\"type\":\"text\",\"text\":\"And?\"}]}]}";
  struct view v = seen(OP_MESSAGES, body,
    "{\"role\":\"system\",\"content\":\"Be brief.\"}\n{\"role\":\"user\",\"content\": \"Hi\"}\n"
    "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"}],\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1}\"}}]}\n"
    "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"3\"}\n{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"And?\"}]}");
  (void)state;
  struct view_written w = WRITTEN(OP_MESSAGES, &v, &why, "=0", "=1", "=2", "=3", "=4");
  assert_null(why);
  is(w.list, "[{\"role\":\"user\",\"content\": \"Hi\"},"
    "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"},{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"f\",\"input\":{\"x\":1}}]},"
    "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"c1\",\"content\":\"3\"},{\"type\":\"text\",\"text\":\"And?\"}]}]");
  assert_false(w.instructions_set);
  /* A changed result, a call of the policy's own, another system text. */
  w = WRITTEN(OP_MESSAGES, &v, &why, "{\"role\":\"system\",\"content\":\"Be kind.\"}", "=1",
    "{\"role\":\"assistant\",\"content\":\"Look.\",\"tool_calls\":[{\"id\":\"c2\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]}",
    "{\"role\":\"tool\",\"tool_call_id\":\"c2\",\"content\":\"[gone]\"}", "=4");
  assert_null(why);
  is(w.list, "[{\"role\":\"user\",\"content\": \"Hi\"},{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"Look.\"},{\"type\":\"tool_use\",\"id\":\"c2\",\"name\":\"g\",\"input\":{}}]},"
    "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"c2\",\"content\":\"[gone]\"},{\"type\":\"text\",\"text\":\"And?\"}]}]");
  assert_true(w.instructions_set);
  is(w.instructions, "\"Be kind.\"");
  w = WRITTEN(OP_MESSAGES, &v, &why, "=0", "{\"role\":\"system\",\"content\":\"More.\"}", "=1");
  is(w.instructions, "[{\"type\":\"text\",\"text\":\"Be brief.\"},{\"type\":\"text\",\"text\":\"More.\"}]");
  is(w.list, "[{\"role\":\"user\",\"content\": \"Hi\"}]");
  w = WRITTEN(OP_MESSAGES, &v, &why, "=1");
  assert_true(w.instructions_set && !w.instructions.p);
  WRITTEN(OP_MESSAGES, &v, &why, "{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"g\",\"arguments\":\"{broken\"}}]}");
  assert_string_equal(why, "the arguments of a tool call are no JSON object");
  WRITTEN(OP_MESSAGES, &v, &why, "\"Hi\"");
  assert_non_null(why);
  arena_end(&a);
}

static void responses(void **state) {
  const char *why, *body = "{\"instructions\":\"Be brief.\",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"Hi\"}]},"
    "{\"type\":\"reasoning\",\"id\":\"r1\",\"summary\":[]},{\"type\":\"function_call\",\"id\":\"fc\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"{}\"},"
    "{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"3\"},{\"type\":\"message\",\"role\":\"assistant\",\"id\":\"m\",\"content\":[{\"type\":\"output_text\",\"text\":\"Three.\"}]}]}";
  struct view v = seen(OP_RESPONSES, body,
    "{\"role\":\"system\",\"content\":\"Be brief.\"}\n{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Hi\"}]}\n{\"type\":\"reasoning\",\"id\":\"r1\",\"summary\":[]}\n"
    "{\"role\":\"assistant\",\"id\":\"fc\",\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}\n"
    "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"3\"}\n{\"role\":\"assistant\",\"id\":\"m\",\"content\":[{\"type\":\"text\",\"text\":\"Three.\"}]}");
  (void)state;
  struct view_written w = WRITTEN(OP_RESPONSES, &v, &why, "{\"role\":\"system\",\"content\":\"Be kind.\"}", "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Hello\"}]}", "=2",
    "{\"role\":\"assistant\",\"id\":\"fc\",\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]}", "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"4\"}",
    "{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"Four.\"}]}", "{\"role\":\"user\",\"content\":\"Sure?\"}");
  assert_null(why);
  is(w.list, "[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"Hello\"}]},{\"type\":\"reasoning\",\"id\":\"r1\",\"summary\":[]},"
    "{\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"g\",\"arguments\":\"{}\",\"id\":\"fc\"},{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"4\"},"
    "{\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"Four.\"}]},{\"role\":\"user\",\"content\":\"Sure?\"}]");
  is(w.instructions, "\"Be kind.\"");
  w = WRITTEN(OP_RESPONSES, &v, &why, "=0", "=3", "=4", "=5");
  is(w.list, "[{\"type\":\"function_call\",\"id\":\"fc\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"{}\"},{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"3\"},"
    "{\"type\":\"message\",\"role\":\"assistant\",\"id\":\"m\",\"content\":[{\"type\":\"output_text\",\"text\":\"Three.\"}]}]");
  assert_false(w.instructions_set);
  v = seen(OP_RESPONSES, "{\"input\":\"Hi\"}", "{\"role\":\"user\",\"content\":\"Hi\"}");
  w = WRITTEN(OP_RESPONSES, &v, &why, "{\"role\":\"system\",\"content\":\"Be kind.\"}", "=0");
  is(w.list, "[{\"role\":\"user\",\"content\":\"Hi\"}]");
  is(w.instructions, "\"Be kind.\"");
  arena_end(&a);
}

static void completions(void **state) {
  const char *why;
  struct view v = seen(OP_COMPLETIONS, "{\"prompt\":\"Once\"}", "{\"role\":\"user\",\"content\":\"Once\"}");
  (void)state;
  is(WRITTEN(OP_COMPLETIONS, &v, &why, "{\"role\":\"user\",\"content\":\"Twice\"}").list, "\"Twice\"");
  v = seen(OP_COMPLETIONS, "{\"prompt\":[\"a\", \"b\"]}", "{\"role\":\"user\",\"content\":\"a\"}\n{\"role\":\"user\",\"content\":\"b\"}");
  is(WRITTEN(OP_COMPLETIONS, &v, &why, "=0", "{\"role\":\"user\",\"content\":\"c\"}").list, "[\"a\",\"c\"]");
  WRITTEN(OP_COMPLETIONS, &v, &why, "{\"role\":\"system\",\"content\":\"c\"}");
  assert_string_equal(why, "a prompt is the user's text alone");
  read_body("{\"prompt\":[1,2]}");
  assert_false(view_messages(operation_info(OP_COMPLETIONS), members, count, &a, &v));
  read_body("{\"messages\":[]}");
  assert_false(view_messages(operation_info(OP_CHAT), members, count, &a, &v));
  arena_end(&a);
}

static void tools(void **state) {
  struct view v;
  struct json list;
  struct view_new now[3];
  (void)state;
  assert_true(json_read(SPAN("[{\"name\":\"f\",\"description\":\"d\",\"input_schema\":{\"type\":\"object\"},\"cache_control\":{\"type\":\"ephemeral\"}},{\"type\":\"web_search_20250305\",\"name\":\"web_search\"}]"), &list, NULL));
  assert_true(view_tools(operation_info(OP_MESSAGES), list, &a, &v));
  is(v.items[0].text, "{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\":\"object\"}},\"cache_control\":{\"type\":\"ephemeral\"}}");
  is(v.items[1].text, "{\"type\":\"web_search_20250305\",\"name\":\"web_search\"}");
  assert_true(json_read(SPAN("{\"type\":\"function\",\"function\":{\"name\":\"g\"}}"), &now[0].value, NULL));
  assert_true(json_read(v.items[1].text, &now[1].value, NULL));
  now[0].same = -1, now[1].same = 1;
  is(view_tools_write(operation_info(OP_MESSAGES), list, now, 2, &a), "[{\"name\":\"g\",\"input_schema\":{\"type\":\"object\",\"properties\":{}}},{\"type\":\"web_search_20250305\",\"name\":\"web_search\"}]");
  assert_true(json_read(SPAN("[{\"type\":\"function\",\"name\":\"f\",\"parameters\":{},\"strict\":true}]"), &list, NULL));
  assert_true(view_tools(operation_info(OP_RESPONSES), list, &a, &v));
  is(v.items[0].text, "{\"type\":\"function\",\"function\":{\"name\":\"f\",\"strict\":true,\"parameters\":{}}}");
  is(view_tools_write(operation_info(OP_RESPONSES), list, now, 1, &a), "[{\"type\":\"function\",\"name\":\"g\"}]");
  assert_false(view_tools(operation_info(OP_CHAT), list, &a, &v));
  arena_end(&a);
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test(messages), cmocka_unit_test(responses), cmocka_unit_test(completions), cmocka_unit_test(tools) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
