/* Iteration and paths inside accepted documents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "test_json_fixtures.h"
#include "weir/json.h"

static struct json read_ok(struct span s) {
  struct json v = { JSON_NONE, { NULL, 0 } };
  struct json_error err = { 0, "" };
  if (!json_read(s, &v, &err)) fail_msg("%s at %zu: %.*s", err.why, err.at, SPAN_FMT(s));
  return v;
}

#define EVENT \
  "{\"id\":\"chatcmpl-D8Z5oo6uDh67AD85p73ksdT1KxhE0\",\"object\":\"chat.completion.chunk\",\"created\":1770933892," \
  "\"model\":\"gpt-4.1-nano-2025-04-14\",\"choices\":[" \
  "{\"index\":0,\"delta\":{\"content\":\"a \\\"b\\\" ]}\",\"t\\u006fol\":[]}," \
  "\"logprobs\":null,\"finish_reason\":false}, " \
  "{\"index\":1,\"delta\":{ },\"last\":[[1,[2]],{\"x\":[3,{}]}]}],\"usage\":-1.5e3}"

static void paths(void **state) {
  static const struct { const char *path, *text; enum json_type type; } cases[] = {
    { "choices.0.delta.content", "\"a \\\"b\\\" ]}\"", JSON_STRING },
    { "choices.0.delta.tool", "[]", JSON_ARRAY },
    { "choices.0.delta.tool.0", NULL, JSON_NONE },
    { "choices.0.logprobs", "null", JSON_NULL },
    { "choices.0.logprobs.x", NULL, JSON_NONE },
    { "choices.0.finish_reason", "false", JSON_FALSE },
    { "choices.1.delta", "{ }", JSON_OBJECT },
    { "choices.1.delta.content", NULL, JSON_NONE },
    { "choices.1.index", "1", JSON_NUMBER },
    { "choices.1.last.0.1.0", "2", JSON_NUMBER },
    { "choices.1.last.1.x", "[3,{}]", JSON_ARRAY },
    { "choices.1.last.1.x.1", "{}", JSON_OBJECT },
    { "choices.2", NULL, JSON_NONE },
    { "choices.x", NULL, JSON_NONE },
    { "choices.", NULL, JSON_NONE },
    { "choices.-1", NULL, JSON_NONE },
    { "choices.18446744073709551616", NULL, JSON_NONE },
    { "usage", "-1.5e3", JSON_NUMBER },
    { "usage.x", NULL, JSON_NONE },
    { "id.x", NULL, JSON_NONE },
    { "Usage", NULL, JSON_NONE },
    { "usag", NULL, JSON_NONE },
    { "usages", NULL, JSON_NONE },
    { "id", "\"chatcmpl-D8Z5oo6uDh67AD85p73ksdT1KxhE0\"", JSON_STRING },
  };
  (void)state;
  for (size_t pad = 0; pad < 40; pad++) {            /* every alignment of the sixteen byte steps */
    struct buf b = { 0 };
    buf_printf(&b, "{\"%0*d\":%*s", (int)pad + 1, 0, (int)pad, "");
    buf_add(&b, SPAN(EVENT));
    buf_printf(&b, "%*s}", (int)pad % 5, "");
    struct json_iter i = json_iter(read_ok(buf_span(&b)));
    struct json key, event;
    assert_true(json_next(&i, &key, &event));
    assert_true(span_eq(event.text, SPAN(EVENT)));
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
      struct json found = json_at(event, cases[n].path);
      if (found.type != cases[n].type || !span_eq(found.text, span_cstr(cases[n].text)))
        fail_msg("%s: %.*s", cases[n].path, SPAN_FMT(found.text));
    }
    buf_free(&b);
  }
}

static void paths_at_the_edges(void **state) {
  struct json none = { JSON_NONE, { NULL, 0 } }, v = read_ok(SPAN(" [1,{\"\":{\"0\":7}},\"s\"] "));
  (void)state;
  assert_int_equal(json_at(none, "a").type, JSON_NONE);
  assert_int_equal(json_get(none, SPAN("a")).type, JSON_NONE);
  assert_ptr_equal(json_at(v, "").text.p, v.text.p);
  assert_true(span_eq(json_at(v, "1..0").text, SPAN("7")));
  assert_int_equal(json_at(v, "1..1").type, JSON_NONE);
  assert_int_equal(json_at(v, "2.0").type, JSON_NONE);
  assert_int_equal(json_get(v, SPAN("0")).type, JSON_NONE);
  assert_true(span_eq(json_get(json_at(v, "1"), SPAN("")).text, SPAN("{\"0\":7}")));
  assert_int_equal(json_get(read_ok(SPAN("{}")), SPAN("")).type, JSON_NONE);
  assert_int_equal(json_at(read_ok(SPAN("[ ]")), "0").type, JSON_NONE);
  assert_int_equal(json_at(read_ok(SPAN("12")), "0").type, JSON_NONE);
  v = read_ok(SPAN("{\"a\":1,\"\\u0061\":2,\"b\":3}"));
  assert_true(span_eq(json_get(v, SPAN("a")).text, SPAN("1")));      /* the first one */
  assert_true(span_eq(json_get(v, SPAN("b")).text, SPAN("3")));
}

static void iteration(void **state) {
  struct json key, item;
  struct json_iter i = json_iter(read_ok(SPAN("[ 1 , \"x,]\" ,[2,[3]], {\"a\":[4]} ,true,false,null,-1e5 ]")));
  static const char *const items[] = { "1", "\"x,]\"", "[2,[3]]", "{\"a\":[4]}", "true", "false", "null", "-1e5" };
  static const enum json_type types[] = { JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT, JSON_TRUE, JSON_FALSE,
    JSON_NULL, JSON_NUMBER };
  (void)state;
  for (size_t n = 0; n < 8; n++) {
    assert_true(json_next(&i, &key, &item));
    assert_int_equal(key.type, JSON_NONE);
    assert_int_equal(item.type, types[n]);
    assert_true(span_eq(item.text, span_cstr(items[n])));
  }
  assert_false(json_next(&i, &key, &item));
  assert_false(json_next(&i, &key, &item));
  i = json_iter(read_ok(SPAN("{ \"a\" : 1 ,\"\\\"}\":{} }")));
  assert_true(json_next(&i, &key, &item));
  assert_true(span_eq(key.text, SPAN("\"a\"")) && span_eq(item.text, SPAN("1")));
  assert_true(json_next(&i, &key, &item));
  assert_int_equal(key.type, JSON_STRING);
  assert_true(span_eq(key.text, SPAN("\"\\\"}\"")) && span_eq(item.text, SPAN("{}")));
  assert_false(json_next(&i, &key, &item));
  static const char *const empty[] = { "[]", "{}", "[ ]", "{\n}", "1", "\"[1]\"", "null" };
  for (size_t n = 0; n < 7; n++) {
    i = json_iter(read_ok(span_cstr(empty[n])));
    assert_false(json_next(&i, &key, &item));
  }
  i = json_iter((struct json){ JSON_NONE, { NULL, 0 } });
  assert_false(json_next(&i, &key, &item));
}

/* The document put together again from what iteration gives: the same bytes but for white space. */
static void rebuild(struct buf *out, struct json v) {
  struct json_iter i = json_iter(v);
  struct json key, item;
  bool first = true;
  if (v.type != JSON_ARRAY && v.type != JSON_OBJECT) {
    buf_add(out, v.text);
    return;
  }
  for (buf_byte(out, v.text.p[0]); json_next(&i, &key, &item); first = false) {
    if (!first) buf_byte(out, ',');
    if (i.object) buf_add(out, key.text), buf_byte(out, ':');
    rebuild(out, item);
  }
  buf_byte(out, v.text.p[v.text.n - 1]);
}

static void without_space(struct buf *out, struct span s) {
  bool inside = false;
  for (size_t i = 0; i < s.n; i++) {
    if (inside && s.p[i] == '\\') buf_byte(out, s.p[i++]);
    else if (s.p[i] == '"') inside = !inside;
    if (inside || !memchr(" \t\r\n", s.p[i], 4)) buf_byte(out, s.p[i]);
  }
}

static void same_when_rebuilt(const char *path, struct span text) {
  struct buf built = { 0 }, plain = { 0 };
  char *exact = mem_alloc(text.n);
  memcpy(exact, text.p, text.n);
  rebuild(&built, read_ok(span_of(exact, text.n)));
  without_space(&plain, text);
  if (!span_eq(buf_span(&built), buf_span(&plain))) fail_msg("%s: %.*s", path, SPAN_FMT(text));
  mem_free(exact);
  buf_free(&built);
  buf_free(&plain);
}

static void lines_rebuilt(const char *path, struct span text) {
  struct span line;
  while (text.n) {
    text = span_cut(text, '\n', &line);
    if (line.n) same_when_rebuilt(path, line);
  }
}

static void rebuilt(void **state) {
  (void)state;
  same_when_rebuilt("event", SPAN(EVENT));
  for (size_t depth = 1; depth <= JSON_DEPTH; depth++) {
    struct buf b = { 0 };
    for (size_t i = 0; i < depth; i++) buf_printf(&b, "%s", i % 2 && i < depth ? "{\"\\\"]\":" : "[");
    buf_add(&b, SPAN("\"{[\\\\\""));
    for (size_t i = depth; i-- > 0;) buf_printf(&b, "%s", i % 2 ? ",\"k\":0}" : ",[]]");
    same_when_rebuilt("nested", buf_span(&b));
    buf_free(&b);
  }
  fixtures_each(".json", same_when_rebuilt);
  fixtures_each(".chunks.txt", lines_rebuilt);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(paths), cmocka_unit_test(paths_at_the_edges), cmocka_unit_test(iteration),
    cmocka_unit_test(rebuilt),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
