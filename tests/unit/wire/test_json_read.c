/* What json_read and json_read_object accept and refuse. Documents are copied to memory of their
   exact size, so that a sanitizer sees a look beyond either end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "test_json_fixtures.h"
#include "weir/json.h"

static bool reads(struct span document, struct json *out, struct json_error *err) {
  char *p = mem_alloc(document.n);
  if (document.n) memcpy(p, document.p, document.n);
  struct json v = { JSON_NONE, { NULL, 0 } };
  bool ok = json_read(span_of(p, document.n), &v, err);
  *out = v;
  if (ok) out->text.p = document.p + (v.text.p - p);
  mem_free(p);
  return ok;
}

#define A(type, text) { type, { text, sizeof(text) - 1 } }
static const struct { enum json_type type; struct span text; } accepted[] = {
  A(JSON_NULL, "null"), A(JSON_TRUE, "true"), A(JSON_FALSE, "false"), A(JSON_STRING, "\"\""), A(JSON_ARRAY, "[]"),
  A(JSON_OBJECT, "{}"),
  A(JSON_NUMBER, "0"), A(JSON_NUMBER, "-0"), A(JSON_NUMBER, "123"), A(JSON_NUMBER, "-1"), A(JSON_NUMBER, "0.5"),
  A(JSON_NUMBER, "1.0e+10"),
  A(JSON_NUMBER, "1E22"), A(JSON_NUMBER, "0e+1"), A(JSON_NUMBER, "0E-0"), A(JSON_NUMBER, "1E400"),
  A(JSON_NUMBER, "-1e-9999"),
  A(JSON_NUMBER, "123456789012345678901234567890123456789012345678901234567890"), A(JSON_NUMBER, "10"),
  A(JSON_NUMBER, "100.001"),
  A(JSON_NUMBER, "-0.000000000000000000000000000000000000000000000000000000000000000000000000000001"),
  A(JSON_STRING, "\"a\""), A(JSON_STRING, "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
  A(JSON_STRING, "\"\\u0012\\uAbCd\\u0000\""),
  A(JSON_STRING, "\"\\ud83d\\ude00\""), A(JSON_STRING, "\"\\ud800\""), A(JSON_STRING, "\"\\udc00\\ud800x\""),
  A(JSON_STRING, "\"\\\\u000\""),
  A(JSON_STRING, "\"\x7F\""), A(JSON_STRING, "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\""),
  A(JSON_STRING, "\"\xEF\xBB\xBF\""), A(JSON_STRING, "\"\xE2\x80\xA8\xE2\x80\xA9\""),
  A(JSON_STRING, "\"\xEF\xBF\xBF\xF4\x8F\xBF\xBF\xED\x9F\xBF\xEE\x80\x80\""), A(JSON_STRING, "\"/* no comment */\""),
  A(JSON_ARRAY, "[1,2,3]"), A(JSON_ARRAY, "[[]   ]"), A(JSON_ARRAY, "[null, true ,false\t,\n\"x\"\r]"),
  A(JSON_ARRAY, "[[[[[]]]],{}]"), A(JSON_ARRAY, "[ 4]"), A(JSON_ARRAY, "[1\n]"),
  A(JSON_OBJECT, "{\"\":0}"), A(JSON_OBJECT, "{\"a\":{\"b\":[{\"c\":null}]}}"),
  A(JSON_OBJECT, "{ \"a\" : 1 , \"b\" : [ ] }"), A(JSON_OBJECT, "{\"a\":1,\"a\":1}"),
  A(JSON_OBJECT, "{\"a\\u0000b\":\"\\u0000\"}"), A(JSON_OBJECT, "{\n\"a\": []\n}"),
  A(JSON_ARRAY, "[-0,0.1,1e1,1E1,-1.5e-3]"),
};

static void accepts(void **state) {
  static const char *const around[] = { "", " ", "\n\r\t ", "                                   " };
  (void)state;
  for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++)
    for (size_t before = 0; before < 4; before++)
      for (size_t after = 0; after < 4; after++) {
        struct buf b = { 0 };
        struct json v;
        struct json_error err;
        buf_printf(&b, "%s", around[before]);
        buf_add(&b, accepted[i].text);
        buf_printf(&b, "%s", around[after]);
        if (!reads(buf_span(&b), &v, &err)) fail_msg("%.*s: %s at %zu", SPAN_FMT(buf_span(&b)), err.why, err.at);
        assert_int_equal(v.type, accepted[i].type);
        assert_ptr_equal(v.text.p, b.p + strlen(around[before]));
        assert_int_equal(v.text.n, accepted[i].text.n);
        buf_add(&b, SPAN("x"));
        assert_false(reads(buf_span(&b), &v, &err));
        buf_free(&b);
      }
}

#define R(text, at, why) { { text, sizeof(text) - 1 }, at, why }
static const struct { struct span text; size_t at; const char *why; } refused[] = {
  R("", 0, "empty"), R(" ", 1, "empty"), R("\xEF\xBB\xBF{}", 0, "byte order mark"),
  R("\xEF\xBB\xBF", 0, "byte order mark"), R("\xFF\xFE[\0]\0", 0, "value"),
  R("[1]x", 3, "after the document"), R("{}}", 2, "after the document"), R("1 2", 2, "after the document"),
  R("[]\0", 2, "after the document"), R("\"a\"\"", 3, "after the document"),
  R("{} //", 3, "after the document"), R("01", 1, "after the document"), R("-012", 2, "after the document"),
  R("1.5.2", 3, "after the document"), R("0x42", 1, "after the document"),
  R("-", 1, "digit"), R("+1", 0, "value"), R(".5", 0, "value"), R("1.", 2, "digit"), R("[1.]", 3, "digit"),
  R("[-a]", 2, "digit"), R("1e", 2, "digit"), R("1e+", 3, "digit"), R("[1e+]", 4, "digit"),
  R("[1.e1]", 3, "digit"), R("--1", 1, "digit"), R("-Infinity", 1, "digit"), R("Infinity", 0, "value"),
  R("NaN", 0, "value"), R("[1 000]", 3, "expected"), R("[0e+-1]", 4, "digit"), R("1eE2", 2, "digit"),
  R("1\xEF\xBC\x91", 1, "after the document"), R("[1a]", 2, "expected"), R("-.5", 1, "digit"),
  R("[\xE2\x88\x92" "1]", 1, "value"),
  R("nul", 0, "word"), R("True", 0, "value"), R("tru", 0, "word"), R("falsy", 0, "word"), R("[nulL]", 1, "word"),
  R("truefalse", 4, "after the document"),
  R("[", 1, "value"), R("[1", 2, "ends"), R("[1,", 3, "value"), R("[1,]", 3, "value"), R("[,1]", 1, "value"),
  R("[1,,2]", 3, "value"), R("[\"\": 1]", 3, "']'"), R("[1}", 2, "']'"),
  R("]", 0, "value"), R("[1 2]", 3, "']'"), R("[a]", 1, "value"), R("[1:2]", 2, "']'"), R("['a']", 1, "value"),
  R("[*]", 1, "value"), R("[[1]", 4, "ends"), R("[\v1]", 1, "value"), R("[\f]", 1, "value"), R("[\0]", 1, "value"),
  R("{", 1, "key"), R("{\"a\"", 4, "':'"), R("{\"a\":", 5, "value"), R("{\"a\":1", 6, "ends"),
  R("{\"a\":1,", 7, "key"), R("{\"a\":1,}", 7, "key"), R("{,\"a\":1}", 1, "key"), R("{\"a\" 1}", 5, "':'"),
  R("{\"a\":1 \"b\":2}", 7, "'}'"), R("{\"a\":1]", 6, "'}'"), R("{a:1}", 1, "key"), R("{1:1}", 1, "key"),
  R("{'a':1}", 1, "key"), R("{\"a\"::1}", 5, "value"), R("{\"a\":1,,\"b\":2}", 7, "key"), R("{\"a\":1,1}", 7, "key"),
  R("{\"a\",1}", 4, "':'"), R("{null:1}", 1, "key"), R("{[]:1}", 1, "key"), R("{\"a\":1}{", 7, "after"),
  R("{\"a\" \xC2\xA0:1}", 5, "':'"), R("{\"a\":\"a", 7, "not closed"),
  R("\"", 1, "not closed"), R("\"a", 2, "not closed"), R("\"\\", 2, "not closed"), R("\"\\\"", 3, "not closed"),
  R("\"\\u", 1, "hex"), R("\"\\u00", 1, "hex"), R("\"\\u000g\"", 1, "hex"), R("\"\\u 123\"", 1, "hex"),
  R("\"\\u-123\"", 1, "hex"),
  R("\"\\x00\"", 1, "escape"), R("\"\\a\"", 1, "escape"), R("\"\\U0041\"", 1, "escape"), R("\"\\'\"", 1, "escape"),
  R("\"\\\n\"", 2, "control"), R("\"\\\xC3\xA9\"", 1, "escape"), R("\"\\ud83d\\u\"", 7, "hex"),
  R("\"\\0\"", 1, "escape"),
  R("\"\t\"", 1, "control"), R("\"\n\"", 1, "control"), R("\"a\0b\"", 2, "control"), R("\"\x1F\"", 1, "control"),
  R("{\"a\nb\":1}", 3, "control"),
  R("\"\x80\"", 1, "UTF-8"), R("\"\xC3\"", 1, "UTF-8"), R("\"\xC0\xAF\"", 1, "UTF-8"),
  R("\"\xE0\x9F\xBF  \"", 1, "UTF-8"), R("\"\xED\xA0\x80  \"", 1, "UTF-8"), R("\"\xF4\x90\x80\x80\"", 1, "UTF-8"),
  R("\"\xF8\x88\x80\x80\x80\"", 1, "UTF-8"),
  R("\"\xF0\x8F\xBF\xBF\"", 1, "UTF-8"), R("\"\xE2\x82\"", 1, "UTF-8"), R("\"\xE9t\xE9 \"", 1, "UTF-8"),
  R("\"\xFF\"", 1, "UTF-8"), R("\"a\xC3\xA9\xE2\x82\xAC\xE2\x82  \"", 7, "UTF-8"), R("{\"\xE9\":1}", 2, "UTF-8"),
  R("\xC3\xA9", 0, "value"),
  R("[12:345678901234567890]", 3, "']'"), R("[1.2/345678901234567890]", 4, "']'"),
  R("[1e2:345678901234567890]", 4, "']'"),
};

static void refuses(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    struct json v;
    struct json_error err;
    if (reads(refused[i].text, &v, &err)) fail_msg("accepted: %.*s", SPAN_FMT(refused[i].text));
    if (err.at != refused[i].at ||
      !strstr(err.why, refused[i].why)) fail_msg("%.*s: %s at %zu", SPAN_FMT(refused[i].text), err.why, err.at);
    assert_false(json_read(refused[i].text, &v, NULL));
  }
}

/* A cut document is never whole; numbers are the exception at top level, so they stand in a list. */
static void refuses_every_prefix(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
    struct buf b = { 0 };
    struct json v;
    struct json_error err;
    buf_add(&b, SPAN("["));
    buf_add(&b, accepted[i].text);
    buf_add(&b, SPAN("]"));
    assert_true(reads(buf_span(&b), &v, &err));
    for (size_t n = 0; n < buf_size(&b); n++) {
      assert_false(reads(span_of(b.p, n), &v, &err));
      assert_in_range(err.at, 0, n);
    }
    buf_free(&b);
  }
}

/* A byte of each kind at each place of a string of each length: the steps of sixteen and what is
   left over must agree. */
static void strings_at_every_length(void **state) {
  static const struct { struct span bytes; bool ok; } parts[] = {
    { { "x", 1 }, true }, { { "\\n", 2 }, true }, { { "\xC3\xA9", 2 }, true }, { { "\xE2\x82\xAC", 3 }, true },
    { { "\xF0\x9F\x98\x80", 4 }, true }, { { "\\u00e9", 6 }, true },
    { { "\xE2\x82\xAC\xE2\x82\xAC", 6 }, true }, { { "\xE2\x82\xAC\xE2\x82", 5 }, false }, { { "\x01", 1 }, false },
    { { "\xC3", 1 }, false }, { { "\xED\xA0\x80", 3 }, false }, { { "\\q", 2 }, false }, { { "\0", 1 }, false },
  };
  (void)state;
  for (size_t part = 0; part < sizeof parts / sizeof *parts; part++)
    for (size_t n = 0; n < 40; n++)
      for (size_t place = 0; place <= n; place++) {
        char text[64] = "\"";
        memset(text + 1, 'a', n);
        memcpy(text + 1 + place, parts[part].bytes.p, parts[part].bytes.n);
        memset(text + 1 + place + parts[part].bytes.n, 'b', n - place);
        size_t total = 1 + parts[part].bytes.n + n;
        text[total++] = '"';
        struct json v;
        struct json_error err;
        assert_int_equal(reads(span_of(text, total), &v, &err), parts[part].ok);
        if (!parts[part].ok) assert_int_equal(err.at, part == 7 ? 4 + place : 1 + place);
        assert_false(reads(span_of(text, total - 1), &v, &err));
      }
}

/* Every byte after a backslash, at places that fall differently into blocks. */
static void every_escape(void **state) {
  (void)state;
  for (size_t before = 0; before < 140; before += 23)
    for (unsigned c = 0; c < 256; c++) {
      char text[256] = "\"";
      size_t n = 1 + before;
      memset(text + 1, 'a', before);
      text[n++] = '\\';
      text[n++] = (char)c;
      memcpy(text + n, "0041\"", 5);
      struct json v;
      struct json_error err;
      bool ok = c && strchr("\"\\/bfnrtu", (int)c);
      assert_int_equal(reads(span_of(text, n + 5), &v, &err), ok);
    }
}

/* Against the plain check of span.c: all two and three byte beginnings, and four byte ones at the edges. */
static void utf8_as_span_utf8(void **state) {
  static const unsigned char edges[] = { 0x00, 0x22, 0x5C, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF };
  (void)state;
  for (unsigned first = 0x80; first < 0x100; first++)
    for (unsigned second = 0; second < 0x100; second++)
      for (size_t third = 0; third < sizeof edges; third++)
        for (size_t fourth = 0; fourth < sizeof edges; fourth++) {
          unsigned char text[] = { '"', (unsigned char)first, (unsigned char)second, edges[third], edges[fourth], '"' };
          struct span s = span_of((char *)text, sizeof text);
          struct json v;
          if (memchr(text + 1, '"', 4) || memchr(text + 1, '\\', 4) || second < 0x20 || !edges[third] ||
            !edges[fourth]) continue;
          assert_int_equal(json_read(s, &v, NULL), span_utf8(s));
        }
}

static struct span nested(struct buf *b, struct span open, size_t depth, struct span inner, struct span close) {
  buf_clear(b);
  for (size_t i = 0; i < depth; i++) buf_add(b, open);
  buf_add(b, inner);
  for (size_t i = 0; i < depth; i++) buf_add(b, close);
  return buf_span(b);
}

static void depth(void **state) {
  struct buf b = { 0 };
  struct json v;
  struct json_error err;
  struct json_member members[1];
  size_t count;
  (void)state;
  assert_true(reads(nested(&b, SPAN("["), JSON_DEPTH, SPAN(""), SPAN("]")), &v, &err));
  assert_true(reads(nested(&b, SPAN("[ "), JSON_DEPTH, SPAN("1"), SPAN("]")), &v, &err));
  assert_false(reads(nested(&b, SPAN("["), JSON_DEPTH + 1, SPAN(""), SPAN("]")), &v, &err));
  assert_int_equal(err.at, JSON_DEPTH);
  assert_string_equal(err.why, "nested too deep");
  assert_true(reads(nested(&b, SPAN("{\"a\":"), JSON_DEPTH, SPAN("1"), SPAN("}")), &v, &err));
  assert_false(reads(nested(&b, SPAN("{\"a\":"), JSON_DEPTH, SPAN("{}"), SPAN("}")), &v, &err));
  assert_true(json_read_object(nested(&b, SPAN("{\"a\":"), JSON_DEPTH, SPAN("1"), SPAN("}")), members, 1, &count,
    &err));
  assert_false(json_read_object(nested(&b, SPAN("{\"a\":"), JSON_DEPTH, SPAN("[]"), SPAN("}")), members, 1, &count,
    &err));
  assert_true(reads(nested(&b, SPAN("[{\"a\":"), JSON_DEPTH / 2, SPAN("1"), SPAN("}]")), &v, &err));
  assert_false(reads(nested(&b, SPAN("["), 1000000, SPAN(""), SPAN("")), &v, &err));
  buf_clear(&b);
  buf_byte(&b, '[');                                /* width is not depth */
  for (int i = 0; i < 1000; i++) buf_add(&b, SPAN("[[]],"));
  buf_add(&b, SPAN("{}]"));
  assert_true(reads(buf_span(&b), &v, &err));
  buf_free(&b);
}

static void members_in_order(void **state) {
  struct json_member m[4];
  struct json_error err;
  size_t count;
  struct span text = SPAN(" { \"model\" : \"gpt\\n\" ,\n\"n\":1e3,\"messages\":[{\"a\":\"]}\"} ],\"\":null } ");
  (void)state;
  assert_true(json_read_object(text, m, 4, &count, &err));
  assert_int_equal(count, 4);
  static const struct { const char *key, *value; enum json_type type; } want[] = {
    { "\"model\"", "\"gpt\\n\"", JSON_STRING }, { "\"n\"", "1e3", JSON_NUMBER },
    { "\"messages\"", "[{\"a\":\"]}\"} ]", JSON_ARRAY }, { "\"\"", "null", JSON_NULL },
  };
  for (size_t i = 0; i < 4; i++) {
    assert_true(span_eq(m[i].key.text, span_cstr(want[i].key)));
    assert_int_equal(m[i].key.type, JSON_STRING);
    assert_true(span_eq(m[i].value.text, span_cstr(want[i].value)));
    assert_int_equal(m[i].value.type, want[i].type);
  }
  assert_int_equal(json_member_of(m, count, SPAN("n")).type, JSON_NUMBER);
  assert_int_equal(json_member_of(m, count, SPAN("")).type, JSON_NULL);
  assert_int_equal(json_member_of(m, count, SPAN("N")).type, JSON_NONE);
  assert_int_equal(json_member_of(m, count, SPAN("mode")).type, JSON_NONE);
  assert_false(json_read_object(text, m, 3, &count, &err));
  assert_string_equal(err.why, "too many members");
  assert_int_equal(count, 0);
  assert_true(json_read_object(SPAN("{}"), m, 0, &count, NULL));
  assert_int_equal(count, 0);
  assert_false(json_read_object(SPAN("[]"), m, 4, &count, &err));
  assert_string_equal(err.why, "not an object");
  assert_false(json_read_object(SPAN("{\"a\":1} x"), m, 4, &count, &err));
  assert_int_equal(err.at, 8);
}

/* Everything json_read refuses or accepts inside a value is refused or accepted as a member's value. */
static void object_agrees_with_read(void **state) {
  struct json_member m[2];
  struct json v;
  size_t count;
  (void)state;
  for (size_t i = 0; i < sizeof accepted / sizeof *accepted + sizeof refused / sizeof *refused; i++) {
    size_t of_accepted = sizeof accepted / sizeof *accepted;
    struct buf b = { 0 };
    buf_add(&b, SPAN("{\"a\":"));
    buf_add(&b, i < of_accepted ? accepted[i].text : refused[i - of_accepted].text);
    buf_add(&b, SPAN("}"));
    assert_int_equal(json_read_object(buf_span(&b), m, 2, &count, NULL), json_read(buf_span(&b), &v, NULL));
    buf_free(&b);
  }
  assert_true(json_read_object(SPAN("{\"x\":{\"a\":1,\"a\":2}}"), m, 2, &count,
    NULL));   /* only the top level is judged */
}

static void duplicate_keys(void **state) {
  static const struct { const char *text; bool ok; } cases[] = {
    { "{\"model\":1,\"model\":2}", false }, { "{\"model\":1,\"Model\":2}", false },
    { "{\"model\":1,\"MODEL\":2}", false }, { "{\"model\":1,\"mod\\u0065l\":2}", false },
    { "{\"\\u006dodel\":1,\"x\":3,\"MODEL\":2}", false }, { "{\"\\u004dodel\":1,\"model\":2}", false },
    { "{\"\\u006D\":1,\"\\u006d\":2}", false }, { "{\"\":1,\"\":2}", false },
    { "{\"a/b\":1,\"A\\/B\":2}", false }, { "{\"\xC3\xA9\":1,\"\\u00e9\":2}", false },
    { "{\"\\ud83d\\ude00\":1,\"\xF0\x9F\x98\x80\":2}", false }, { "{\"\\u0000\":1,\"\\u0000\":2}", false },
    { "{\"mess\":1,\"me\xC5\xBFs\":2}", false }, { "{\"tokens\":1,\"to\\u212Aens\":2}", false },
    { "{\"tokens\":1,\"TO\xE2\x84\xAA" "EN\\u017f\":2}", false },
    { "{\"max_completion_tokens\":1,\"b\":2,\"max_completion_tokenS\":3}", false },
    { "{\"\\ud800\":1,\"\\udfff\":2}", false },
    { "{\"model\":1,\"models\":2}", true }, { "{\"a\":1,\"\\u0000a\":2}", true }, { "{\"[\":1,\"{\":2}", true },
    { "{\"@\":1,\"`\":2}", true }, { "{\"a\\n\":1,\"an\":2}", true }, { "{\"\":1,\" \":2}", true },
    { "{\"\xC3\x89\":1,\"\xC3\xA9\":2}", true }, { "{\"a\xC5\":1}", false }, { "{\"\xC5\xBE\":1,\"s\":2}", true },
    { "{\"\xE2\x84\xAB\":1,\"k\":2}", true }, { "{\"\xE2\x84\xAB\":1,\"\xE2\x84\xAB\":2}", false },
    { "{\"max_completion_token0\":1,\"max_completion_token1\":3}", true },
    { "{\"abcdefgh\":1,\"abcdefgh\\u0000\":3}", true }, { "{\"abcdefgh\":1,\"abcdefg\\u0068\":3}", false },
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct json_member m[8];
    struct json_error err = { 0, "" };
    size_t count;
    if (json_read_object(span_cstr(cases[i].text), m, 8, &count, &err) != cases[i].ok) fail_msg("%s: %s", cases[i].text,
      err.why);
  }
}

/* A bit may be set for a key that is not there, never missing for one that is, however it is written. */
static void keys_below_the_top(void **state) {
  static const struct { const char *text, *key; } cases[] = {
    { "{\"a\":{\"signature\":1}}", "signature" }, { "{\"a\":{\"b\":[{\"signature\":1}]}}", "signature" },
    { "{\"a\":[[{\"\":1}]]}", "" },
    { "{\"a\":{\"signatur\\u0065\":1}}", "signature" }, { "{\"a\":[{\"\\u0073ignature\":1}]}", "signature" },
    { "{\"a\":[{\"\\u00e9\":1}]}", "\xC3\xA9" }, { "{\"a\":[{\"\xC3\xA9\":1}]}", "\xC3\xA9" },
    { "{\"x\":{},\"y\":{\"z\":{},\"file_id\":{}}}", "file_id" },
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct json_member m[4];
    size_t count;
    uint64_t keys = 0;
    assert_true(json_read_object_keys(span_cstr(cases[i].text), m, 4, &count, NULL, &keys));
    assert_true(keys & json_key_bit(span_cstr(cases[i].key)));
  }
  struct json_member m[4];
  size_t count;
  uint64_t keys = 0;
  struct span text = SPAN("{\"model\":\"signature\",\"messages\":[{\"role\":\"file_id\"}],\"signature\":{}}");   /* values are no keys */
  assert_true(json_read_object_keys(text, m, 4, &count, NULL, &keys));
  assert_false(keys & json_key_bit(SPAN("signature")));
  assert_false(keys & json_key_bit(SPAN("file_id")));
}

/* As many members as may be, the last one a duplicate of each in turn. */
static void many_members(void **state) {
  static struct json_member m[JSON_MOST_MEMBERS];
  struct buf b = { 0 };
  struct json_error err;
  size_t count, before_last = 0;
  (void)state;
  for (int twin = -1; twin < JSON_MOST_MEMBERS - 1; twin = twin < 0 ? 0 : twin + 93) {
    buf_clear(&b);
    for (int i = 0; i < JSON_MOST_MEMBERS; i++) {
      before_last = buf_size(&b) + 1;
      if (i < JSON_MOST_MEMBERS - 1 || twin < 0) buf_printf(&b, "%c\"key-number-%d\":%d", i ? ',' : '{', i, i);
      else buf_printf(&b, ",\"KEY-numbe\\u0072-%d\":0", twin);
    }
    buf_byte(&b, '}');
    assert_int_equal(json_read_object(buf_span(&b), m, SIZE_MAX, &count, &err), twin < 0);
    if (twin >= 0) assert_string_equal(err.why, "the key stands twice");
    if (twin >= 0) assert_int_equal(err.at, before_last);
    if (twin < 0) assert_int_equal(count, JSON_MOST_MEMBERS);
  }
  b.end--;
  buf_add(&b, SPAN(",\"one more\":1}"));
  assert_false(json_read_object(buf_span(&b), m, SIZE_MAX, &count, &err));
  buf_free(&b);
}

/* Recorded answers are all valid; cut anywhere they are not. */
static void fixture_reads(const char *path, struct span text) {
  struct json v;
  struct json_error err;
  if (!reads(text, &v, &err)) fail_msg("%s: %s at %zu", path, err.why, err.at);
  assert_int_equal(v.type, JSON_OBJECT);
  size_t end = (size_t)(v.text.p + v.text.n - text.p);
  for (size_t cut = 0; cut < end; cut += 1 + cut / 64) assert_false(reads(span_of(text.p, cut), &v, &err));
}

static void fixture_lines(const char *path, struct span text) {
  struct span line;
  while (text.n) {
    text = span_cut(text, '\n', &line);
    if (line.n) fixture_reads(path, line);
  }
}

static void fixtures(void **state) {
  (void)state;
  fixtures_each(".json", fixture_reads);
  fixtures_each(".chunks.txt", fixture_lines);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(accepts), cmocka_unit_test(refuses), cmocka_unit_test(refuses_every_prefix),
    cmocka_unit_test(strings_at_every_length), cmocka_unit_test(every_escape), cmocka_unit_test(utf8_as_span_utf8),
    cmocka_unit_test(depth), cmocka_unit_test(members_in_order),
    cmocka_unit_test(object_agrees_with_read), cmocka_unit_test(duplicate_keys),
    cmocka_unit_test(keys_below_the_top), cmocka_unit_test(many_members),
    cmocka_unit_test(fixtures),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
