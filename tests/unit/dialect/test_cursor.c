/* The one-way walk agrees with the walker of weir/json.h, at every length around its near limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "../../../src/dialect/cursor.h"
#include "weir/json.h"

static void string_is(const char *content) {
  struct buf b = { 0 };
  struct json v;
  buf_printf(&b, "\"%s\" , \"next\"", content);
  size_t n = strlen(content) + 2;
  const char *at = b.p;
  v = cursor_value(&at);
  if (v.text.n != n || at != b.p + n) fail_msg("'%s': %zu bytes, not %zu", content, v.text.n, n);
  assert_int_equal(v.type, JSON_STRING);
  at = cursor_next(at);
  assert_true(*at == '"' && at[1] == 'n');
  buf_free(&b);
}

static void strings(void **state) {
  static const char *const tails[] = { "", "\\\"", "\\\\", "\\\\\\\"", "\\\\\\\\", "\\n", "x\\\"y\\\\", "\\u0022" };
  (void)state;
  for (size_t n = 0; n < 80; n++)
    for (size_t t = 0; t < sizeof tails / sizeof *tails; t++) {
      char text[200] = "";
      memset(text, 'a', n);
      strcpy(text + n, tails[t]);
      string_is(text);
      strcat(text, "bbbb");
      string_is(text);
      memmove(text + strlen(tails[t]), text, n + 1);
      memcpy(text, tails[t], strlen(tails[t]));
      text[n + strlen(tails[t])] = 0;
      string_is(text);
    }
}

static void walk_equals(struct json v) {
  struct json_iter i = json_iter(v);
  struct json key, item;
  const char *at = v.text.p;
  if (v.type != JSON_OBJECT && v.type != JSON_ARRAY) return;
  bool object = v.type == JSON_OBJECT;
  for (at = cursor_enter(at); *at != (object ? '}' : ']'); at = cursor_next(at)) {
    struct json mine = object ? cursor_key(&at) : (struct json){ JSON_NONE, { NULL, 0 } };
    assert_true(json_next(&i, &key, &item));
    if (object) assert_true(mine.text.p == key.text.p && mine.text.n == key.text.n);
    mine = cursor_value(&at);
    assert_int_equal(mine.type, item.type);
    assert_true(mine.text.p == item.text.p && mine.text.n == item.text.n);
    walk_equals(item);
  }
  assert_false(json_next(&i, &key, &item));
  assert_ptr_equal(at + 1, v.text.p + v.text.n);
}

static void documents(void **state) {
  static const char *const all[] = {
    "{}", "[]", "[ ]", "{ }", "{\"a\":1}", " {\t\"a\" :\r\n[1 , -2.5e3,true , false,null,\"x\"] , \"b\\\"\":{\"c\":[[],{}]}}\n",
    "[\"]\",\"}\\\\\",{\"[\":\"{\"},0]", "{\"a\":{\"b\":{\"c\":{\"d\":[1,[2,[3,[\"four\"]]]]}}},\"e\":12}", "[1,2,3]", "[\"\"]", "{\"\":\"\"}",
  };
  (void)state;
  for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
    struct json v;
    assert_true(json_read(span_cstr(all[k]), &v, NULL));
    walk_equals(v);
    const char *at = v.text.p;
    assert_int_equal(cursor_value(&at).text.n, v.text.n);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test(strings), cmocka_unit_test(documents) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
