/* Requests from one dialect to another: a case for each row of what both, or only one of them, can say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include "weir/log.h"
#include "weir/translate.h"

struct row {
  const char *what;
  enum operation from;
  const char *body;                   /* of it: what stands behind the model */
  const char *want;                   /* of the other dialect; NULL: refused */
  const char *losses;                 /* or, of a refusal, the field */
};
#define U "{\"role\":\"user\",\"content\":\"hi\"}"
#define CU "\"messages\":[" U "]"
#define C OP_CHAT
#define M OP_MESSAGES
static const struct row rows[] = {
#include "translate_rows.h"
};

static const struct operation_info *other(const struct operation_info *o) { return operation_info(o->operation == OP_CHAT ? OP_MESSAGES : OP_CHAT); }

struct result { bool good; struct buf out; struct translating how; struct arena arena; };

static void translate(enum operation from, struct span body, struct result *r, const struct translating *with) {
  struct json_member members[128];
  struct json_error e;
  size_t n;
  *r = (struct result){ 0 };
  if (with) r->how = *with;
  r->how.arena = &r->arena;
  r->how.model = SPAN("m");
  if (!json_read_object(body, members, 128, &n, &e)) fail_msg("the case is no JSON: %s at %zu in %.*s", e.why, e.at, SPAN_FMT(body));
  r->good = translate_request(operation_info(from), other(operation_info(from)), members, n, &r->how, &r->out);
  if (r->good && !json_read_object(buf_span(&r->out), members, 128, &n, &e)) fail_msg("no JSON came out: %.*s", SPAN_FMT(buf_span(&r->out)));
  if (!r->good) assert_true(buf_size(&r->out) == 0 && r->how.why.n);
}

static void result_end(struct result *r) {
  buf_free(&r->out);
  arena_end(&r->arena);
}

static struct span body_of(const char *rest, struct buf *b) {
  buf_clear(b);
  buf_printf(b, "{\"model\":\"m\",%s}", rest);
  return buf_span(b);
}

static void each_row(void **state) {
  (void)state;
  unsigned wrong = 0;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const struct row *c = &rows[i];
    struct buf body = { 0 }, want = { 0 };
    struct result r;
    translate(c->from, body_of(c->body, &body), &r, NULL);
    struct span told = r.good ? r.how.losses : r.how.field;
    if (c->want) body_of(c->want, &want);
    bool same = (c->want != NULL) == r.good && span_eq(buf_span(&r.out), buf_span(&want)) && span_eq(told, span_cstr(c->losses));
    if (!same)
      print_message("%s:\n  %.*s\n  %.*s\n  [%.*s] %.*s\n", c->what, SPAN_FMT(buf_span(&body)), SPAN_FMT(buf_span(&r.out)), SPAN_FMT(told), SPAN_FMT(r.how.why));
    wrong += !same;
    result_end(&r);
    if (c->want && *c->losses) {                         /* what is a loss is refused where losses are, and let through where a policy allows it */
      struct translating strict = { .strict = true };
      translate(c->from, buf_span(&body), &r, &strict);
      if (r.good) print_message("%s: passes where losses are refused\n", c->what), wrong++;
      result_end(&r);
      struct span words[8], left = span_cstr(c->losses), one;
      strict.allowed = words;
      while (left.n && strict.allowed_count < 8) left = span_cut(left, ',', &one), words[strict.allowed_count++] = span_trim(one);
      translate(c->from, buf_span(&body), &r, &strict);
      if (!r.good || !span_eq(r.how.losses, span_cstr(c->losses))) print_message("%s: refused although allowed: %.*s\n", c->what, SPAN_FMT(r.how.why)), wrong++;
      result_end(&r);
    }
    buf_free(&body);
    buf_free(&want);
  }
  assert_int_equal(wrong, 0);
}

/* What is said exactly in both comes back as it went, byte for byte. */
static void there_and_back(void **state) {
  (void)state;
  size_t tried = 0;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const struct row *c = &rows[i];
    struct buf body = { 0 };
    struct result r, back;
    if (!c->want || *c->losses || !strncmp(c->what, "once", 4)) continue;
    translate(c->from, body_of(c->body, &body), &r, NULL);
    translate(other(operation_info(c->from))->operation, buf_span(&r.out), &back, NULL);
    if (!back.good || back.how.losses.n) fail_msg("%s: back: %.*s %.*s", c->what, SPAN_FMT(back.how.why), SPAN_FMT(back.how.losses));
    struct result again;
    translate(c->from, buf_span(&back.out), &again, NULL);
    if (!span_eq(buf_span(&again.out), buf_span(&r.out))) fail_msg("%s:\n%.*s\n%.*s", c->what, SPAN_FMT(buf_span(&r.out)), SPAN_FMT(buf_span(&again.out)));
    tried++;
    result_end(&r), result_end(&back), result_end(&again);
    buf_free(&body);
  }
  assert_true(tried > 20);
}

/* What may not be said can be left out where a policy allows it. */
static void allowed(void **state) {
  (void)state;
  struct buf body = { 0 };
  struct result r;
  struct span words[] = { SPAN("logit_bias"), SPAN("n"), SPAN("input_audio") };
  struct translating how = { .allowed = words, .allowed_count = 3 };
  translate(C, body_of("\"max_tokens\":5,\"n\":3,\"logit_bias\":{\"5\":1},\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
                       "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"AA\",\"format\":\"wav\"}}]}]", &body), &r, &how);
  assert_true(r.good);
  assert_true(span_eq(r.how.losses, SPAN("input_audio, n, logit_bias")));
  assert_true(span_eq(buf_span(&r.out), SPAN("{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}]}")));
  result_end(&r);
  buf_free(&body);
}

/* The output limit that messages needs: the model's own, else one of weir's; usage and the older name where chat servers want them. */
static void options(void **state) {
  (void)state;
  struct buf body = { 0 };
  struct result r;
  struct translating how = { .max_output = 64000 };
  translate(C, body_of(CU, &body), &r, &how);
  assert_true(r.good && r.how.limit == 64000 && span_eq(r.how.losses, SPAN("max_tokens")));
  result_end(&r);
  how = (struct translating){ .ask_usage = true, .old_limit_name = true };
  translate(M, body_of("\"max_tokens\":7,\"stream\":true," CU, &body), &r, &how);
  assert_true(span_eq(buf_span(&r.out), SPAN("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":7,\"stream\":true,"
                                             "\"stream_options\":{\"include_usage\":true}}")));
  result_end(&r);
  buf_free(&body);
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test(each_row), cmocka_unit_test(there_and_back), cmocka_unit_test(allowed), cmocka_unit_test(options) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
