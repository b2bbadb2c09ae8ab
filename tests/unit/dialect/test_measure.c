/* What a request needs of a model, and about how much it says. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "weir/measure.h"

static struct json_member members[64];
static size_t count;
static uint64_t keys;

static void read_body(const char *body) {
  struct json_error e;
  if (!json_read_object_keys(span_cstr(body), members, 64, &count, &e, &keys)) fail_msg("%s: %s", body, e.why);
}

static unsigned needs(enum operation o, const char *body) {
  read_body(body);
  return request_needs(operation_info(o), members, count, keys);
}

static double tokens(const char *body, int part) {
  struct request_measure m;
  double sum = 0;
  read_body(body);
  request_measure(members, count, &m);
  for (int i = 0; i < PART_COUNT; i++) sum += part < 0 || part == i ? m.of[i] : 0;
  return sum;
}

static void what_is_needed(void **state) {
  (void)state;
#define IMAGES ABLE_BIT(ABLE_IMAGES)
#define PDF ABLE_BIT(ABLE_PDF)
  assert_int_equal(needs(OP_CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"image_url\"}]}"), 0);
  assert_int_equal(needs(OP_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x/y\"}}]}]}"), IMAGES);
  assert_int_equal(needs(OP_CHAT, "{\"messages\":[{\"content\":[{\"type\":\"file\",\"file\":{\"file_data\":\"data:application/pdf;base64,AA\"}}]}]}"), PDF);
  assert_int_equal(needs(OP_CHAT, "{\"messages\":[{\"content\":[{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"AA\",\"format\":\"wav\"}}]}]}"), ABLE_BIT(ABLE_AUDIO));
  assert_int_equal(needs(OP_MESSAGES, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"x\"}}]}]}"), IMAGES);
  assert_int_equal(needs(OP_MESSAGES, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"content\":[{\"type\":\"document\",\"source\":"
                                      "{\"type\":\"base64\",\"media_type\":\"application/pdf\",\"data\":\"AA\"}}]}]}]}"), PDF);
  assert_int_equal(needs(OP_MESSAGES, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"}]}"), ABLE_BIT(ABLE_PREFILL));
  assert_int_equal(needs(OP_RESPONSES, "{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_image\",\"image_url\":\"data:image/png;base64,AA\"}]}]}"), IMAGES);
  /* A caller's own data may look like anything. */
  assert_int_equal(needs(OP_MESSAGES, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"tool_use\",\"input\":{\"type\":\"image\",\"source\":1}}]}]}"), 0);
  assert_int_equal(needs(OP_CHAT, "{\"tools\":[],\"parallel_tool_calls\":true}"), 0);
  assert_int_equal(needs(OP_CHAT, "{\"tools\":[{}],\"parallel_tool_calls\":true}"), ABLE_BIT(ABLE_TOOLS) | ABLE_BIT(ABLE_PARALLEL_TOOLS));
  assert_int_equal(needs(OP_CHAT, "{\"temperature\":1.0}"), 0);
  assert_int_equal(needs(OP_CHAT, "{\"temperature\":0.5}"), ABLE_BIT(ABLE_TEMPERATURE));
  assert_int_equal(needs(OP_CHAT, "{\"response_format\":{\"type\":\"json_object\"}}"), 0);
  assert_int_equal(needs(OP_CHAT, "{\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a\",\"schema\":{}}}}"), ABLE_BIT(ABLE_JSON_SCHEMA));
  assert_int_equal(needs(OP_RESPONSES, "{\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"a\",\"schema\":{}}}}"), ABLE_BIT(ABLE_JSON_SCHEMA));
}

static void close_to(double is, double wanted) {
  if (is < wanted * 0.8 || is > wanted * 1.2) fail_msg("%g is not about %g", is, wanted);
}

static void how_much(void **state) {
  (void)state;
  /* Counted with a tokenizer of today: 27 tokens of text. */
  close_to(tokens("{\"messages\":[{\"role\":\"user\",\"content\":\"The quick brown fox jumps over the lazy dog. It was a bright day in April, and the clocks were striking thirteen.\"}]}", -1), 8 + 26);
  close_to(tokens("{\"model\":\"a long name of a model that nobody counts\",\"metadata\":{\"x\":\"neither is this counted at all\"},\"messages\":[]}", -1), 4);
  assert_true(tokens("{\"messages\":[{\"role\":\"user\",\"content\":\"\xe4\xbd\xa0\xe5\xa5\xbd\"}]}", PART_OTHER) > 1.5);
  assert_true(tokens("{\"messages\":[{\"role\":\"user\",\"content\":\"\\u4f60\\u597d\"}]}", PART_OTHER) > 1.5);
  /* A picture is not the text of its base64. */
  assert_true(tokens("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,AAAABBBBCCCCDDDD\"}}]}]}", PART_TEXT) < 1);
  close_to(tokens("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,AAAA\"}}]}]}", PART_MEDIA), 1000);
  assert_true(tokens("{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"x\"}}]}", PART_TOOLS) > 5);
  close_to(tokens("{\"prompt\":[1,2,3,4,5,6,7,8,9,10]}", PART_SIGNS), 10);
  /* A run of one character makes long tokens. */
  static char long_one[5000];
  size_t n = (size_t)snprintf(long_one, sizeof long_one, "{\"prompt\":\"");
  memset(long_one + n, 'x', 4000);
  memcpy(long_one + n + 4000, "\"}", 3);
  assert_true(tokens(long_one, -1) < 200);
}

/* Of letters and spaces as it is counted, byte by byte: what repeats the one before it more than four times counts less. */
static double letters_of(const char *text) {
  double sum = 0;
  unsigned run = 0;
  char before = 0;
  for (const char *p = text; *p; p++) {
    run = *p == before ? run + 1 : 0;
    before = *p;
    if (*p == ' ' || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')) sum += (run > 4 ? 1 / 16.0 : 1) / 4.8;
    if (*p == '\\') p++;
  }
  return sum;
}

static void counted_as_by_bytes(void **state) {
  static const char *const pieces[] = { "a", "b", " ", "Z", "@", "[", "`", "{", "0", ".", "\\n", "\\\"", "\\\\", "nn", "aaa", "aaaaaaa", "the quick brown fox", "\xc3\xa9" };
  uint64_t chance = 88172645463325252u;
  (void)state;
  for (int i = 0; i < 20000; i++) {
    char text[1024] = "", body[1100];
    do {
      chance ^= chance << 13, chance ^= chance >> 7, chance ^= chance << 17;
      strcat(text, pieces[(chance >> 33) % (sizeof pieces / sizeof *pieces)]);
    } while (strlen(text) < 900 && (chance >> 20 & 31));
    snprintf(body, sizeof body, "{\"prompt\":\"%s\"}", text);
    double told = tokens(body, PART_TEXT), wanted = letters_of(text);
    if (told < wanted - 1e-9 || told > wanted + 1e-9) fail_msg("%s: %f, not %f", text, told, wanted);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test(what_is_needed), cmocka_unit_test(how_much), cmocka_unit_test(counted_as_by_bytes) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
