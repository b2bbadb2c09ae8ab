/* What a client was told: a text that was changed is changed wherever it is said again, one that was not stays, and a stream can be
   closed with what the client saw. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "stream.h"
#include "weir/log.h"

/* A stream's events one after the other, each text that holds `bad` replaced by `good` (or left, when bad is NULL). */
struct run {
  struct told *told;
  struct event_state state;
  struct buf out;
  unsigned shown;                     /* texts that a policy sees */
  unsigned inputs;                    /* inputs of tools that it sees */
  int closed;
  bool known;                         /* told_event has always known */
};

static void pass(struct run *r, enum operation op, const struct sse_event *e, const char *bad, const char *good) {
  struct delta deltas[DELTA_MOST];
  struct arena a = { 0 };
  struct changes c = { .arena = &a };
  struct event_facts f;
  struct json data;
  event_read(operation_info(op), &r->state, e, &a, &f);
  struct span text = sse_data(e, &a), at = text;
  if (json_read(text, &data, NULL)) {
    size_t n = told_deltas(r->told, e->name, data, deltas, &r->closed);
    for (size_t i = 0; i < n; i++) {
      if (deltas[i].kind == DELTA_TOOL) r->inputs += deltas[i].tool_arguments.text.n > 2;
      if (deltas[i].kind > DELTA_THINKING) continue;
      struct span s = deltas[i].text.text;
      r->shown++;
      if (bad && span_search(s, span_cstr(bad)) < s.n) change_add(&c, s, span_cstr(good));
    }
    r->known &= told_event(r->told, e->name, data, &c);
  }
  if (e->name.n) buf_printf(&r->out, "event: %.*s\n", SPAN_FMT(e->name));
  buf_add(&r->out, SPAN("data: "));
  for (size_t i = 0; i < c.count; i++) {
    assert_true(c.of[i].from.p >= at.p && c.of[i].from.p + c.of[i].from.n <= text.p + text.n);
    buf_add(&r->out, span_of(at.p, (size_t)(c.of[i].from.p - at.p)));
    buf_add(&r->out, c.of[i].to);
    at = span_from(text, (size_t)(c.of[i].from.p + c.of[i].from.n - text.p));
  }
  buf_add(&r->out, at);
  buf_add(&r->out, SPAN("\n\n"));
  arena_end(&a);
}

static struct run run(enum operation op, struct span stream, size_t most, size_t events, const char *bad, const char *good) {
  struct run r = { .told = told_new(operation_info(op), most), .known = true };
  struct sse sse = { 0 };
  struct sse_event e;
  for (struct step s; events && (s = sse_feed(&sse, stream, &e)).kind == STEP_EVENT; stream = span_from(stream, s.used), events--) pass(&r, op, &e, bad, good);
  return r;
}

static void run_end(struct run *r) {
  told_free(r->told);
  buf_free(&r->out);
}

static size_t times(struct span text, const char *what) {
  size_t n = 0;
  for (size_t at; (at = span_search(text, span_cstr(what))) < text.n; n++) text = span_from(text, at + strlen(what));
  return n;
}

#define EV(type, rest) "event: " type "\ndata: {\"type\":\"" type "\"," rest "}\n\n"
#define PLACE "\"item_id\":\"m\",\"output_index\":0,\"content_index\":0"
#define PART(text) "{\"type\":\"output_text\",\"text\":\"" text "\",\"logprobs\":[{\"token\":\"x\"}]}"
#define ITEM(content) "\"output_index\":0,\"item\":{\"id\":\"m\",\"type\":\"message\",\"status\":\"s\",\"content\":[" content "]}"
#define OPEN EV("response.created", "\"response\":{\"id\":\"r\",\"status\":\"in_progress\",\"model\":\"m\",\"output\":[]}") EV("response.output_item.added", ITEM("")) \
  EV("response.content_part.added", PLACE ",\"part\":{\"type\":\"output_text\",\"text\":\"\"}")
#define DELTA(text) EV("response.output_text.delta", PLACE ",\"delta\":\"" text "\",\"logprobs\":[{\"token\":\"" text "\"}]")
#define CLOSE(text) EV("response.output_text.done", PLACE ",\"text\":\"" text "\"") EV("response.content_part.done", PLACE ",\"part\":" PART(text)) \
  EV("response.output_item.done", ITEM(PART(text))) \
  EV("response.completed", "\"response\":{\"id\":\"r\",\"status\":\"completed\",\"output\":[{\"id\":\"m\",\"type\":\"message\",\"content\":[" PART(text) "]}],\"output_text\":\"" text "\"}")
static const char whole[] = OPEN DELTA("a ") DELTA("bad") DELTA(" \\u00e9") CLOSE("a bad \\u00e9");
static const char late[] = OPEN CLOSE("all bad");

static void repeats_follow(void **state) {
  (void)state;
  struct run r = run(OP_RESPONSES, span_cstr(whole), 1 << 20, SIZE_MAX, "bad", "\"g\\n\"");
  struct span out = buf_span(&r.out);
  assert_true(r.known);
  assert_int_equal(r.shown, 3);
  assert_int_equal(times(out, "bad"), 0);
  assert_int_equal(times(out, "\"a g\\n \\u00e9\""), 5);
  assert_int_equal(times(out, "\"logprobs\":[{\"token\":\"a \"}]"), 1);   /* beside what was not changed they stay */
  assert_int_equal(times(out, "\"token\":\"x\""), 0);
  run_end(&r);
}

static void untouched_stays(void **state) {
  static const char *const streams[] = { whole, late };
  (void)state;
  for (size_t i = 0; i < 2; i++) {
    struct run r = run(OP_RESPONSES, span_cstr(streams[i]), 1 << 20, SIZE_MAX, NULL, NULL);
    assert_true(span_eq(buf_span(&r.out), span_cstr(streams[i])));
    assert_int_equal(r.closed, -1);
    run_end(&r);
  }
}

/* Without pieces the text is shown once, where it first stands. */
static void first_said_at_its_end(void **state) {
  (void)state;
  struct run r = run(OP_RESPONSES, span_cstr(late), 1 << 20, SIZE_MAX, "bad", "\"\"");
  assert_int_equal(r.shown, 1);
  assert_int_equal(times(buf_span(&r.out), "bad"), 0);
  run_end(&r);
}

/* What a tool gets is shown once, wherever a server tells it. */
static void input_is_seen_once(void **state) {
#define CALL(args) "{\"type\":\"function_call\",\"id\":\"f\",\"name\":\"n\",\"arguments\":\"" args "\"}"
#define ADDED(args) EV("response.output_item.added", "\"output_index\":0,\"item\":" CALL(args))
#define PIECE EV("response.function_call_arguments.delta", "\"output_index\":0,\"delta\":\"{}\"")
#define ARGS EV("response.function_call_arguments.done", "\"output_index\":0,\"arguments\":\"{}\"")
#define OVER(args) EV("response.output_item.done", "\"output_index\":0,\"item\":" CALL(args))
#define END EV("response.completed", "\"response\":{\"status\":\"completed\",\"output\":[" CALL("{}") "]}")
  static const char *const streams[] = {
    ADDED("") PIECE ARGS OVER("{}") END, ADDED("") ARGS OVER("{}") END, ADDED("") OVER("{}") END, ADDED("{}") OVER("{}") END, ADDED("") OVER("") END, END,
  };
  (void)state;
  for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
    struct run r = run(OP_RESPONSES, span_cstr(streams[i]), 1 << 20, SIZE_MAX, NULL, NULL);
    assert_int_equal(r.inputs, 1);
    assert_true(span_eq(buf_span(&r.out), span_cstr(streams[i])));
    run_end(&r);
  }
}

static void more_than_may_be_kept(void **state) {
  (void)state;
  struct run r = run(OP_RESPONSES, span_cstr(whole), 300, SIZE_MAX, NULL, NULL);
  assert_true(r.known);
  assert_true(span_eq(buf_span(&r.out), span_cstr(whole)));
  run_end(&r);
  r = run(OP_RESPONSES, span_cstr(whole), 300, SIZE_MAX, "bad", "\"good\"");
  assert_false(r.known);
  run_end(&r);
}

static void chat_twins(void **state) {
  static const char stream[] =
    "data: {\"id\":\"c\",\"created\":5,\"model\":\"m\",\"choices\":[{\"index\":0,\"logprobs\":{\"content\":[]},\"delta\":{\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"bad\"},"
    "{\"summary\":\"bad\"}],\"reasoning\":\"bad\",\"content\":\"ok\"}},{\"index\":1,\"logprobs\":{},\"delta\":{\"reasoning\":\"ok\",\"reasoning_details\":[{\"text\":\"ok\"}]}}]}\n\n";
  (void)state;
  struct run r = run(OP_CHAT, span_cstr(stream), 1 << 20, SIZE_MAX, "bad", "\"new\"");
  struct span out = buf_span(&r.out);
  assert_int_equal(times(out, "bad"), 0);
  assert_int_equal(times(out, "\"text\":\"new\"") + times(out, "\"reasoning\":\"new\""), 2);
  assert_int_equal(times(out, "\"summary\":\"\""), 1);
  assert_int_equal(times(out, "\"logprobs\":null"), 1);
  assert_int_equal(times(out, "\"logprobs\":{}"), 1);
  assert_int_equal(times(out, "\"ok\""), 3);
  struct buf b = { 0 };
  stop_write(operation_info(OP_CHAT), &r.state, r.told, SPAN("length"), SPAN("r"), SPAN("other"), 1, &b);
  assert_int_equal(times(buf_span(&b), "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":5,\"model\":\"m\""), 2);
  buf_free(&b);
  run_end(&r);
}

/* Cut after any event, a stream ends legally, with the text as it was told in every place. */
static void closes_anywhere(void **state) {
  (void)state;
  for (size_t events = 0; events < 9; events++) {
    struct run r = run(OP_RESPONSES, span_cstr(whole), 1 << 20, events, "bad", "\"good\"");
    struct buf b = { 0 };
    stop_write(operation_info(OP_RESPONSES), &r.state, r.told, SPAN("filter"), SPAN("r"), SPAN("m"), 1, &b);
    buf_add(&r.out, buf_span(&b));
    struct span out = buf_span(&r.out);
    struct seen s = stream_read(OP_RESPONSES, out);
    if (s.errors || s.terminators != 1 || s.ended_at != (int)s.events - 1 || times(out, "bad")) fail_msg("cut %zu: %.*s", events, SPAN_FMT(out));
    assert_string_equal(s.finish, "content_filter");
    assert_int_equal(times(out, "output_item.added\",\"out"), times(out, "event: response.output_item.done\n"));
    assert_int_equal(times(out, "event: response.content_part.added\n"), times(out, "event: response.content_part.done\n"));
    if (events == 5) assert_int_equal(times(out, "\"a good\""), 4);      /* text, part, item, response */
    if (events > 1) assert_true(times(buf_span(&b), "\"id\":\"m\",\"type\":\"message\"") > 0);
    seen_end(&s);
    buf_free(&b);
    run_end(&r);
  }
}

/* Recorded streams: untouched they stay, and every text can be taken out of all its places. */
static void recorded(void **state) {
  static const struct { const char *path; enum operation op; } known[] = {
    { "openai-responses/openai-phase.1.chunks.txt", OP_RESPONSES }, { "openai-responses/azure-tool-call.1.chunks.txt", OP_RESPONSES }, { "openai-responses/openai-custom-tool.1.chunks.txt", OP_RESPONSES },
    { "deepseek/deepseek-tool-call.chunks.txt", OP_CHAT }, { "anthropic/anthropic-web-search-tool.1.chunks.txt", OP_MESSAGES },
  };
  (void)state;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    struct buf lines = { 0 }, framed = { 0 };
    recording_read(known[i].path, &lines);
    stream_frame(known[i].op, buf_span(&lines), &framed);
    struct run same = run(known[i].op, buf_span(&framed), 1 << 24, SIZE_MAX, NULL, NULL);
    assert_true(span_eq(buf_span(&same.out), buf_span(&framed)));
    struct run r = run(known[i].op, buf_span(&framed), 1 << 24, SIZE_MAX, "", "\"~\"");
    struct run again = run(known[i].op, buf_span(&r.out), 1 << 24, SIZE_MAX, "~", "\"~\"");
    assert_true(r.known && again.known && r.shown == same.shown && again.shown == r.shown);
    assert_true(span_eq(buf_span(&again.out), buf_span(&r.out)));
    run_end(&same);
    run_end(&r);
    run_end(&again);
    buf_free(&lines);
    buf_free(&framed);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(repeats_follow), cmocka_unit_test(untouched_stays), cmocka_unit_test(first_said_at_its_end), cmocka_unit_test(input_is_seen_once), cmocka_unit_test(more_than_may_be_kept),
    cmocka_unit_test(chat_twins), cmocka_unit_test(closes_anywhere), cmocka_unit_test(recorded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
