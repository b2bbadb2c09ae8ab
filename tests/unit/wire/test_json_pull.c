/* The walk that checks on its way takes what json_read takes, refuses what it refuses, and gives the same values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "../../../src/wire/json_pull.h"

/* Goes into everything; v: the value that json_read saw there, or NONE when it refused the document. */
static void walk(struct json_pull *p, struct json v) {
  struct json_iter i = json_iter(v);
  struct json key, item;
  bool object = pull_is(p, '{');
  for (bool on = pull_enter(p); on; on = pull_more(p, object ? '}' : ']')) {
    bool known = json_next(&i, &key, &item);
    if (object) {
      struct json mine = pull_key(p);
      if (known) assert_true(mine.text.p == key.text.p && mine.text.n == key.text.n);
    }
    if (pull_is(p, '{') || pull_is(p, '[')) {
      walk(p, known ? item : (struct json){ JSON_NONE, { NULL, 0 } });
      continue;
    }
    struct json mine = pull_value(p);
    if (known) assert_true(mine.type == item.type && mine.text.p == item.text.p && mine.text.n == item.text.n);
  }
}

static bool pulled(struct span text, struct json document, bool whole) {
  struct json_pull p;
  pull_begin(&p, text);
  if (!pull_is(&p, '{') && !pull_is(&p, '[')) return false;
  if (whole) {                                           /* the first member alone, the rest at once */
    bool object = pull_is(&p, '{');
    for (bool on = pull_enter(&p); on; on = pull_more(&p, object ? '}' : ']')) {
      if (object) pull_key(&p);
      pull_value(&p);
    }
  } else {
    walk(&p, document);
  }
  return pull_ended(&p);
}

/* In memory of its own, so that a sanitizer sees a look behind its end. */
static void agrees(struct span text) {
  struct json document = { JSON_NONE, { NULL, 0 } };
  char *copy = mem_alloc(text.n + 1);
  if (text.n) memcpy(copy + 1, text.p, text.n);
  struct span own = span_of(copy + 1, text.n);
  bool good = json_read(own, &document, NULL);
  bool container = good && document.type >= JSON_ARRAY;
  if (!good) document.type = JSON_NONE;
  for (int whole = 0; whole < 2; whole++)
    if (pulled(own, document, whole) != container)
      fail_msg("'%.*s' is %s, and was %s", SPAN_FMT(text), container ? "good" : "bad", container ? "refused" : "taken");
  mem_free(copy);
}

static const char *const documents[] = {
  "{}", "[]", " {\n} ", "{\"a\":1}", "{\"a\" : \"b\" , \"c\":[1,2,{\"d\":null}]}", "[null,true,false,\"x\",-1.5e3,0,10]",
  "{\"a\":\"\\u00e9\\n\\\"\",\"\\u0062\":\"\xC3\xA9\"}", "[[[[[]]]],{\"a\":{\"b\":{}}}]", "{\"a\":0.5,\"b\":-0,\"c\":1e5,\"d\":12345678901234567890}",
  "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one two three four five six seven eight nine ten eleven twelve\"},\"finish_reason\":null}]}",
  "{\"a\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
};

static void every_cut_and_change(void **state) {
  static const char put[] = "{}[]\",:\\01n.e -x\x01\x80";
  (void)state;
  for (size_t d = 0; d < sizeof documents / sizeof *documents; d++) {
    struct span whole = span_cstr(documents[d]);
    char text[256];
    for (size_t n = 0; n <= whole.n; n++) agrees(span_of(whole.p, n));
    for (size_t at = 0; at < whole.n; at++)
      for (size_t c = 0; c < sizeof put - 1; c++) {
        memcpy(text, whole.p, whole.n);
        text[at] = put[c];
        agrees(span_of(text, whole.n));
        memmove(text + at + 1, whole.p + at, whole.n - at);    /* put in between */
        agrees(span_of(text, whole.n + 1));
        memcpy(text, whole.p, at);                             /* taken out */
        memcpy(text + at, whole.p + at + 1, whole.n - at - 1);
        agrees(span_of(text, whole.n - 1));
      }
  }
}

static void depth(void **state) {
  char text[4 * JSON_DEPTH];
  (void)state;
  for (size_t n = JSON_DEPTH - 2; n <= JSON_DEPTH + 2; n++) {
    memset(text, '[', n);
    memset(text + n, ']', n);
    struct json document;
    assert_int_equal(json_read(span_of(text, 2 * n), &document, NULL), n <= JSON_DEPTH);
    assert_int_equal(pulled(span_of(text, 2 * n), (struct json){ JSON_NONE, { NULL, 0 } }, true), n <= JSON_DEPTH);
  }
}

/* A key that stands twice, plainly, folded, or in escapes: as json_read_object has it. */
static void names(void **state) {
  static const char *const keys[] = { "a", "b", "A", "model", "Model", "\\u006dodel", "mod\xC5\xBFl", "mods", "modS", "mo\xC5\xBF", "mos", "",
                                      "id", "io", "k", "\xE2\x84\xAA", "a-key-that-is-longer-than-sixty-four-bytes-and-so-is-never-plain-to-the-pull",
                                      "A-key-that-is-longer-than-sixty-four-bytes-and-so-is-never-plain-to-the-pull" };
  enum { KEYS = sizeof keys / sizeof *keys };
  (void)state;
  for (size_t i = 0; i < KEYS; i++)
    for (size_t j = 0; j < KEYS; j++)
      for (size_t k = 0; k < KEYS; k++) {
        struct buf b = { 0 };
        struct json_member members[PULL_NAMES], read[PULL_NAMES];
        struct pull_names seen = { 0 };
        struct json_pull p;
        size_t n = 0, count;
        bool good = true;
        buf_printf(&b, "{\"%s\":1,\"%s\":2,\"%s\":3}", keys[i], keys[j], keys[k]);
        pull_begin(&p, buf_span(&b));
        for (bool on = pull_enter(&p); on; on = pull_more(&p, '}'), n++) {
          members[n].key = pull_key(&p);
          good &= pull_name(&seen, members, n, p.plain);
          members[n].value = pull_value(&p);
        }
        assert_true(pull_ended(&p));
        if (good != json_read_object(buf_span(&b), read, PULL_NAMES, &count, NULL)) fail_msg("%.*s", SPAN_FMT(buf_span(&b)));
        buf_free(&b);
      }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_cut_and_change),
    cmocka_unit_test(depth),
    cmocka_unit_test(names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
