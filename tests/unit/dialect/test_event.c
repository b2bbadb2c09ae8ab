/* What single events mean: class, fault, pieces. Recorded streams are in test_recordings.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "stream.h"

static struct event_facts read_one(enum operation op, struct event_state *state, const char *name, const char *data, struct arena *a) {
  struct sse_event e = { .name = span_cstr(name), .data = span_cstr(data), .data_lines = 1 };
  struct event_facts f;
  event_read(operation_info(op), state, &e, a, &f);
  return f;
}

#define CHAT(delta) "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":null}]}"
#define CHAT_END(finish) "{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"" finish "\"}]}"

struct one {
  enum operation op;
  const char *name, *data;
  enum event_class class;
  bool real;
  enum fault fault;
  unsigned deltas, bytes;
};
static const struct one events[] = {
  /* chat: no content yet */
  { OP_CHAT, "", CHAT("{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}"), EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_CHAT, "", CHAT("{\"role\":\"assistant\",\"content\":null}"), EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_CHAT, "", CHAT("{\"reasoning_content\":\"\",\"content\":null}"), EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_CHAT, "", CHAT("{\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"\",\"arguments\":\"\"}}]}"), EVENT_LIFECYCLE, false, FAULT_NONE, 1, 0 },
  { OP_CHAT, "", CHAT("{\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":\"x\"}]}"), EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_CHAT, "", CHAT("{\"content\":[]}"), EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_CHAT, "", "{\"choices\":[],\"prompt_filter_results\":[{\"prompt_index\":0}]}", EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_CHAT, "", "{\"choices\":[],\"usage\":{\"prompt_tokens\":1}}", EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_CHAT, "", "{\"error\":null,\"choices\":[]}", EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_CHAT, "", "{}", EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_CHAT, "", "{\"choices\":[{\"text\":\"not a chat field\"}]}", EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  /* chat: content */
  { OP_CHAT, "", CHAT("{\"content\":\"hi\"}"), EVENT_REAL, true, FAULT_NONE, 1, 2 },
  { OP_CHAT, "", CHAT("{\"content\":\" \"}"), EVENT_REAL, true, FAULT_NONE, 1, 1 },
  { OP_CHAT, "", CHAT("{\"content\":\"\\n\\u00e9\\u20ac\\ud83d\\ude00\\u0041\\u07ff\\u0800\"}"), EVENT_REAL, true, FAULT_NONE, 1, 1 + 2 + 3 + 4 + 1 + 2 + 3 },
  { OP_CHAT, "", CHAT("{\"\\u0063ontent\":\"hi\"}"), EVENT_REAL, true, FAULT_NONE, 1, 2 },
  { OP_CHAT, "", "{\"\\u0063hoices\":[{\"d\\u0065lta\":{\"content\":\"hi\"}}]}", EVENT_REAL, true, FAULT_NONE, 1, 2 },
  { OP_CHAT, "", CHAT("{\"reasoning\":\"hm\"}"), EVENT_REAL, true, FAULT_NONE, 1, 2 },
  { OP_CHAT, "", CHAT("{\"reasoning\":\"hm\",\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"hm\"}]}"), EVENT_REAL, true, FAULT_NONE, 1, 2 },
  { OP_CHAT, "", CHAT("{\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"hmhm\"}],\"reasoning\":\"hm\"}"), EVENT_REAL, true, FAULT_NONE, 1, 2 },
  { OP_CHAT, "", CHAT("{\"reasoning_details\":[{\"text\":\"hm\"}],\"thinking_blocks\":[{\"thinking\":\"hm\"}]}"), EVENT_REAL, true, FAULT_NONE, 1, 2 },
  { OP_CHAT, "", CHAT("{\"reasoning\":\"hm\",\"reasoning_content\":\"hmm\"}"), EVENT_REAL, true, FAULT_NONE, 1, 2 },
  { OP_CHAT, "", CHAT("{\"reasoning\":\"\",\"reasoning_content\":\"hmm\"}"), EVENT_REAL, true, FAULT_NONE, 1, 3 },
  { OP_CHAT, "", CHAT("{\"reasoning_details\":[{\"type\":\"reasoning.summary\",\"summary\":\"hm!\"}]}"), EVENT_REAL, true, FAULT_NONE, 1, 3 },
  { OP_CHAT, "", CHAT("{\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"abc\",\"signature\":\"s\"}]}"), EVENT_REAL, true, FAULT_NONE, 1, 3 },
  { OP_CHAT, "", CHAT("{\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]},{\"type\":\"text\",\"text\":\"c\"}]}"), EVENT_REAL, true, FAULT_NONE, 3, 3 },
  { OP_CHAT, "", CHAT("{\"content\":[{\"type\":\"image_url\",\"image_url\":\"data:\"}]}"), EVENT_REAL, true, FAULT_NONE, 0, 0 },
  { OP_CHAT, "", CHAT("{\"refusal\":\"no\"}"), EVENT_REAL, true, FAULT_NONE, 1, 2 },
  { OP_CHAT, "", CHAT("{\"audio\":{\"id\":\"a\",\"transcript\":\"yes\"}}"), EVENT_REAL, true, FAULT_NONE, 1, 3 },
  { OP_CHAT, "", CHAT("{\"audio\":{\"data\":\"AAAA\"}}"), EVENT_REAL, true, FAULT_NONE, 0, 0 },
  { OP_CHAT, "", CHAT("{\"images\":[{\"type\":\"image_url\"}]}"), EVENT_REAL, true, FAULT_NONE, 0, 0 },
  { OP_CHAT, "", CHAT("{\"tool_calls\":[{\"index\":1,\"id\":\"\",\"function\":{\"arguments\":\"{\\\"a\\\"\"}}]}"), EVENT_REAL, true, FAULT_NONE, 1, 4 },
  { OP_CHAT, "", CHAT("{\"tool_calls\":[{\"index\":0,\"id\":\"x\",\"type\":\"custom\",\"custom\":{\"name\":\"sql\",\"input\":\"S\"}}]}"), EVENT_REAL, true, FAULT_NONE, 1, 4 },
  { OP_CHAT, "", CHAT("{\"function_call\":{\"name\":\"f\"}}"), EVENT_REAL, true, FAULT_NONE, 1, 1 },
  { OP_CHAT, "", "{\"choices\":[{\"message\":{\"content\":\"whole\"}}]}", EVENT_REAL, true, FAULT_NONE, 1, 5 },
  { OP_CHAT, "", "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}},{\"index\":1,\"delta\":{\"content\":\"b\"}}]}", EVENT_REAL, true, FAULT_NONE, 2, 2 },
  /* chat: why it ended */
  { OP_CHAT, "", CHAT_END("stop"), EVENT_FINISH, false, FAULT_EMPTY, 0, 0 },
  { OP_CHAT, "", CHAT_END("length"), EVENT_FINISH, false, FAULT_EMPTY, 0, 0 },
  { OP_CHAT, "", CHAT_END("model_length"), EVENT_FINISH, false, FAULT_EMPTY, 0, 0 },
  { OP_CHAT, "", CHAT_END("content_filter"), EVENT_FINISH, false, FAULT_CONTENT_FILTERED, 0, 0 },
  { OP_CHAT, "", CHAT_END("insufficient_system_resource"), EVENT_FINISH, false, FAULT_OVERLOADED, 0, 0 },
  { OP_CHAT, "", CHAT_END("error"), EVENT_ERROR, false, FAULT_OVERLOADED, 0, 0 },
  { OP_CHAT, "", "{\"choices\":[{\"delta\":{\"content\":\"bye\"},\"finish_reason\":\"stop\"}]}", EVENT_REAL, true, FAULT_EMPTY, 1, 3 },
  { OP_CHAT, "", "[DONE]", EVENT_TERMINATOR, false, FAULT_NONE, 0, 0 },
  { OP_CHAT, "", " [DONE] ", EVENT_TERMINATOR, false, FAULT_NONE, 0, 0 },
  /* chat: errors */
  { OP_CHAT, "", "{\"error\":{\"message\":\"m\",\"type\":\"server_error\",\"code\":null}}", EVENT_ERROR, false, FAULT_OVERLOADED, 0, 0 },
  { OP_CHAT, "", "{\"error\":{\"message\":\"m\",\"code\":\"rate_limit_exceeded\"}}", EVENT_ERROR, false, FAULT_RATE_LIMITED, 0, 0 },
  { OP_CHAT, "", "{\"error\":{\"message\":\"m\",\"code\":429}}", EVENT_ERROR, false, FAULT_RATE_LIMITED, 0, 0 },
  { OP_CHAT, "", "{\"error\":{\"message\":\"m\",\"code\":\"502\"}}", EVENT_ERROR, false, FAULT_OVERLOADED, 0, 0 },
  { OP_CHAT, "", "{\"id\":\"x\",\"error\":{\"code\":502,\"message\":\"m\"},\"choices\":[{\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}", EVENT_ERROR, false, FAULT_OVERLOADED, 0, 0 },
  { OP_CHAT, "", "{\"error\":\"out of memory\"}", EVENT_ERROR, false, FAULT_OVERLOADED, 0, 0 },
  { OP_CHAT, "", "{\"error\":{\"message\":\"This model's maximum context length is 8192 tokens\",\"type\":\"BadRequestError\",\"code\":400}}", EVENT_ERROR, false, FAULT_CONTEXT_TOO_LONG, 0, 0 },
  { OP_CHAT, "error", "{\"error\":{\"message\":\"m\",\"type\":\"invalid_request_error\",\"code\":\"tool_use_failed\",\"status_code\":400}}", EVENT_ERROR, false, FAULT_BAD_REQUEST, 0, 0 },
  { OP_CHAT, "error", "{\"code\":\"DataInspectionFailed\",\"message\":\"m\",\"request_id\":\"r\"}", EVENT_ERROR, false, FAULT_CONTENT_FILTERED, 0, 0 },
  { OP_CHAT, "", "{\"object\":\"error\",\"message\":\"m\",\"type\":\"InternalServerError\",\"code\":500}", EVENT_ERROR, false, FAULT_OVERLOADED, 0, 0 },
  { OP_CHAT, "", "[]", EVENT_ERROR, false, FAULT_PROTOCOL, 0, 0 },
  { OP_CHAT, "", "\"text\"", EVENT_ERROR, false, FAULT_PROTOCOL, 0, 0 },
  { OP_CHAT, "", "{\"choices\":[", EVENT_ERROR, false, FAULT_PROTOCOL, 0, 0 },
  { OP_CHAT, "", "", EVENT_ERROR, false, FAULT_PROTOCOL, 0, 0 },
  { OP_CHAT, "", "{\"choices\":[],\"Choices\":[]}", EVENT_ERROR, false, FAULT_PROTOCOL, 0, 0 },
  /* completions */
  { OP_COMPLETIONS, "", "{\"object\":\"text_completion\",\"choices\":[{\"text\":\"hi\",\"index\":0,\"finish_reason\":null}]}", EVENT_REAL, true, FAULT_NONE, 1, 2 },
  { OP_COMPLETIONS, "", "{\"choices\":[{\"text\":\"\",\"index\":0,\"finish_reason\":\"stop\"}]}", EVENT_FINISH, false, FAULT_EMPTY, 0, 0 },
  { OP_COMPLETIONS, "", "[DONE]", EVENT_TERMINATOR, false, FAULT_NONE, 0, 0 },
  /* messages, once started and with block 0 open */
  { OP_MESSAGES, "message_start", "{\"type\":\"message_start\",\"message\":{\"model\":\"m\",\"content\":[],\"usage\":{\"input_tokens\":1}}}", EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_MESSAGES, "ping", "{\"type\":\"ping\"}", EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_MESSAGES, "new_thing", "{\"type\":\"new_thing\",\"delta\":{\"text\":\"x\"}}", EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_MESSAGES, "content_block_start", "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}", EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_MESSAGES, "content_block_start", "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}", EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_MESSAGES, "content_block_start", "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"redacted_thinking\",\"data\":\"x\"}}", EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_MESSAGES, "content_block_start", "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"hi\"}}", EVENT_REAL, true, FAULT_NONE, 1, 2 },
  { OP_MESSAGES, "content_block_start", "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"add\",\"input\":{}}}", EVENT_REAL, true, FAULT_NONE, 1, 3 },
  { OP_MESSAGES, "content_block_start", "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"add\",\"input\":{\"a\":1}}}", EVENT_REAL, true, FAULT_NONE, 1, 10 },
  { OP_MESSAGES, "content_block_start", "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"web_search_tool_result\",\"content\":[]}}", EVENT_REAL, true, FAULT_NONE, 0, 0 },
  { OP_MESSAGES, "content_block_delta", "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}", EVENT_REAL, true, FAULT_NONE, 1, 2 },
  { OP_MESSAGES, "", "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}", EVENT_REAL, true, FAULT_NONE, 1, 2 },
  { OP_MESSAGES, "content_block_delta", "{\"index\":0,\"delta\":{\"t\\u0065xt\":\"hi\"}}", EVENT_REAL, true, FAULT_NONE, 1, 2 },
  { OP_MESSAGES, "content_block_delta", "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\"}}", EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_MESSAGES, "content_block_delta", "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}}", EVENT_REAL, true, FAULT_NONE, 1, 2 },
  { OP_MESSAGES, "content_block_delta", "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"x\"}}", EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_MESSAGES, "content_block_delta", "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"citations_delta\",\"citation\":{\"cited_text\":\"x\"}}}", EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_MESSAGES, "content_block_delta", "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\"}}", EVENT_REAL, true, FAULT_NONE, 1, 1 },
  { OP_MESSAGES, "content_block_delta", "{\"type\":\"content_block_delta\",\"index\":7,\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}", EVENT_ERROR, false, FAULT_PROTOCOL, 0, 0 },
  { OP_MESSAGES, "message_delta", "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":9}}", EVENT_FINISH, false, FAULT_EMPTY, 0, 0 },
  { OP_MESSAGES, "message_delta", "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\"},\"usage\":{\"output_tokens\":9}}", EVENT_FINISH, false, FAULT_EMPTY, 0, 0 },
  { OP_MESSAGES, "message_delta", "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"refusal\"},\"usage\":{\"output_tokens\":9}}", EVENT_FINISH, false, FAULT_REFUSED, 0, 0 },
  { OP_MESSAGES, "message_delta", "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"model_context_window_exceeded\"},\"usage\":{}}", EVENT_FINISH, false, FAULT_CONTEXT_TOO_LONG, 0, 0 },
  { OP_MESSAGES, "message_stop", "{\"type\":\"message_stop\"}", EVENT_TERMINATOR, false, FAULT_NONE, 0, 0 },
  { OP_MESSAGES, "", "[DONE]", EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_MESSAGES, "error", "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}", EVENT_ERROR, false, FAULT_OVERLOADED, 0, 0 },
  { OP_MESSAGES, "error", "{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"m\"}}", EVENT_ERROR, false, FAULT_OVERLOADED, 0, 0 },
  { OP_MESSAGES, "error", "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"prompt is too long: 9 tokens > 8 maximum\"}}", EVENT_ERROR, false, FAULT_CONTEXT_TOO_LONG, 0, 0 },
  { OP_MESSAGES, "ping", "{", EVENT_ERROR, false, FAULT_PROTOCOL, 0, 0 },
  /* responses */
  { OP_RESPONSES, "response.created", "{\"type\":\"response.created\",\"response\":{\"model\":\"m\",\"output\":[]}}", EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_RESPONSES, "response.output_item.added", "{\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"type\":\"message\",\"content\":[]}}", EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_RESPONSES, "response.output_item.added", "{\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"type\":\"reasoning\",\"summary\":[]}}", EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_RESPONSES, "response.output_item.added", "{\"type\":\"response.output_item.added\",\"output_index\":1,\"item\":{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"\"}}", EVENT_REAL, true, FAULT_NONE, 1, 1 },
  { OP_RESPONSES, "response.output_item.added", "{\"type\":\"response.output_item.added\",\"output_index\":1,\"item\":{\"type\":\"web_search_call\",\"id\":\"c\"}}", EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_RESPONSES, "response.content_part.added", "{\"type\":\"response.content_part.added\",\"part\":{\"type\":\"output_text\",\"text\":\"\"}}", EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_RESPONSES, "response.output_text.delta", "{\"type\":\"response.output_text.delta\",\"delta\":\"hi\"}", EVENT_REAL, true, FAULT_NONE, 1, 2 },
  { OP_RESPONSES, "response.output_text.delta", "{\"type\":\"response.output_text.delta\",\"delta\":\"\"}", EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_RESPONSES, "response.output_text.done", "{\"type\":\"response.output_text.done\",\"text\":\"hi\"}", EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
  { OP_RESPONSES, "response.reasoning_summary_text.delta", "{\"type\":\"response.reasoning_summary_text.delta\",\"delta\":\"hm\"}", EVENT_REAL, true, FAULT_NONE, 1, 2 },
  { OP_RESPONSES, "response.refusal.delta", "{\"type\":\"response.refusal.delta\",\"delta\":\"no\"}", EVENT_REAL, true, FAULT_NONE, 1, 2 },
  { OP_RESPONSES, "response.function_call_arguments.delta", "{\"type\":\"response.function_call_arguments.delta\",\"delta\":\"{}\"}", EVENT_REAL, true, FAULT_NONE, 1, 2 },
  { OP_RESPONSES, "response.image_generation_call.partial_image", "{\"type\":\"response.image_generation_call.partial_image\",\"partial_image_b64\":\"x\"}", EVENT_REAL, true, FAULT_NONE, 0, 0 },
  { OP_RESPONSES, "response.completed", "{\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[]}}", EVENT_TERMINATOR, false, FAULT_EMPTY, 0, 0 },
  { OP_RESPONSES, "response.completed", "{\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"late\"}]}]}}", EVENT_TERMINATOR, true, FAULT_EMPTY, 0, 0 },
  { OP_RESPONSES, "response.incomplete", "{\"type\":\"response.incomplete\",\"response\":{\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"content_filter\"}}}", EVENT_TERMINATOR, false, FAULT_CONTENT_FILTERED, 0, 0 },
  { OP_RESPONSES, "response.incomplete", "{\"type\":\"response.incomplete\",\"response\":{\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"max_output_tokens\"}}}", EVENT_TERMINATOR, false, FAULT_EMPTY, 0, 0 },
  { OP_RESPONSES, "response.failed", "{\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"m\"}}}", EVENT_ERROR, false, FAULT_OVERLOADED, 0, 0 },
  { OP_RESPONSES, "response.failed", "{\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"invalid_prompt\",\"message\":\"m\"}}}", EVENT_ERROR, false, FAULT_CONTENT_FILTERED, 0, 0 },
  { OP_RESPONSES, "error", "{\"type\":\"error\",\"code\":\"rate_limit_exceeded\",\"message\":\"m\",\"param\":null,\"sequence_number\":1}", EVENT_ERROR, false, FAULT_RATE_LIMITED, 0, 0 },
  { OP_RESPONSES, "error", "{\"type\":\"error\",\"error\":{\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\",\"message\":\"m\"}}", EVENT_ERROR, false, FAULT_QUOTA, 0, 0 },
  { OP_RESPONSES, "", "[DONE]", EVENT_LIFECYCLE, false, FAULT_NONE, 0, 0 },
};

static void single_events(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
    const struct one *e = &events[i];
    struct event_state s = { .started = true, .block_count = 1 };
    if (span_starts(span_cstr(e->data), SPAN("{\"type\":\"content_block_start\""))) s.block_count = 0;
    struct arena a = { 0 };
    struct event_facts f = read_one(e->op, &s, e->name, e->data, &a);
    if (f.class != e->class || f.real != e->real || f.fault != e->fault || f.deltas != e->deltas || f.delta_bytes != e->bytes)
      fail_msg("%s %s: class %d real %d fault '%s' deltas %u bytes %u", e->name, e->data, f.class, f.real, fault_word(f.fault),
               (unsigned)f.deltas, (unsigned)f.delta_bytes);
    assert_int_equal(f.terminal, e->class == EVENT_TERMINATOR || strcmp(e->name, "response.failed") == 0);
    assert_int_equal(event_may_end(operation_info(e->op), &s), e->class == EVENT_TERMINATOR);
    assert_null(a.blocks);                         /* nothing is allocated for an event of one line */
    struct delta deltas[DELTA_MOST];
    struct json data;
    unsigned content = 0;
    size_t n = json_read(span_cstr(e->data), &data, NULL) ? event_deltas(operation_info(e->op), span_cstr(e->name), data, deltas) : 0;
    for (size_t k = 0; k < n; k++) content += deltas[k].kind <= DELTA_TOOL;
    if (e->fault != FAULT_PROTOCOL && content != e->deltas) fail_msg("%s: %u content deltas", e->data, content);
  }
}

/* A comment, an id or a retry line alone says nothing. */
static void comments(void **state) {
  static const char *const silent[] = { ": OPENROUTER PROCESSING\n\n", ": keep-alive\n\n", "\n", "id: 1\n\n", "retry: 5\n\n", "event: ping\n\n" };
  (void)state;
  for (size_t i = 0; i < sizeof silent / sizeof *silent; i++)
    for (enum operation op = OP_CHAT; op < OP_COUNT; op++) {
      struct seen s = stream_read(op, span_cstr(silent[i]));
      assert_int_equal(s.errors + s.real + s.terminators, 0);
      seen_end(&s);
    }
}

/* Data may stand in many lines. */
static void data_in_lines(void **state) {
  struct seen s = stream_read(OP_CHAT, SPAN("data: {\"choices\":[\ndata: {\"delta\":{\"content\":\"hi\"}}]}\n\ndata: [DONE]\n\n"));
  (void)state;
  assert_int_equal(s.real, 1);
  assert_int_equal(s.errors, 0);
  assert_int_equal(s.ended_at, 1);
  assert_true(span_eq(buf_span(&s.text), SPAN("hi")));
  seen_end(&s);
}

static void finish_alone_is_no_end(void **state) {
  struct seen s = stream_read(OP_CHAT, SPAN("data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\ndata: " CHAT_END("stop") "\n\n"));
  (void)state;
  assert_true(s.state.finished);
  assert_int_equal(s.ended_at, -1);
  seen_end(&s);
}

static void content_after_the_end(void **state) {
  struct seen s = stream_read(OP_CHAT, SPAN("data: [DONE]\n\n: bye\n\ndata: [DONE]\n\ndata: " CHAT("{\"content\":\"hi\"}") "\n\n"));
  (void)state;
  assert_int_equal(s.errors, 1);
  assert_int_equal(s.fault, FAULT_PROTOCOL);
  seen_end(&s);
}

static void messages_out_of_order(void **state) {
  static const char *const wrong[] = {
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"x\"}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{}}\n\n",
  };
  (void)state;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    struct seen s = stream_read(OP_MESSAGES, span_cstr(wrong[i]));
    assert_int_equal(s.fault, FAULT_PROTOCOL);
    assert_int_equal(s.ended_at, -1);
    seen_end(&s);
  }
}

/* What responses may not say: pieces of an item that is not open, an item or the response begun again. Pieces without a place are
   not judged, nor is what look-alikes leave out. */
static void responses_out_of_order(void **state) {
#define OPENED "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{}}\n\n"
#define ITEM(n) "data: {\"type\":\"response.output_item.added\",\"output_index\":" #n ",\"item\":{\"type\":\"message\",\"content\":[]}}\n\n"
#define PIECE(n) "data: {\"type\":\"response.output_text.delta\",\"output_index\":" #n ",\"delta\":\"x\"}\n\n"
#define ITEM_DONE(n) "data: {\"type\":\"response.output_item.done\",\"output_index\":" #n ",\"item\":{\"type\":\"message\"}}\n\n"
  static const struct { const char *stream; unsigned errors; } known[] = {
    { OPENED ITEM(0) PIECE(0) ITEM(1) PIECE(1) PIECE(0) ITEM_DONE(0) ITEM_DONE(1), 0 },
    { OPENED OPENED ITEM(0) PIECE(0), 0 }, { OPENED ITEM(0) OPENED, 1 }, { OPENED ITEM(0) PIECE(0) ITEM_DONE(0) OPENED, 1 },
    { OPENED PIECE(0), 1 }, { OPENED ITEM(0) PIECE(1), 1 }, { OPENED ITEM(0) ITEM(0), 1 }, { OPENED ITEM(3) PIECE(3) ITEM_DONE(3) PIECE(3), 1 },
    { OPENED "data: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n", 0 },
    { OPENED ITEM(400) PIECE(400) PIECE(401), 0 },
  };
  (void)state;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    struct seen s = stream_read(OP_RESPONSES, span_cstr(known[i].stream));
    if (s.errors != known[i].errors || (s.errors && s.fault != FAULT_PROTOCOL)) fail_msg("%u errors: %s", s.errors, known[i].stream);
    seen_end(&s);
  }
}

/* A duplicated message_start is seen in the wild and does no harm until something was begun; a block begins once and ends where it was. */
static void messages_begun_twice(void **state) {
  struct event_state s = { 0 };
  struct arena a = { 0 };
  (void)state;
#define BEGIN read_one(OP_MESSAGES, &s, "", "{\"type\":\"message_start\",\"message\":{}}", &a).class
#define BLOCK(n) read_one(OP_MESSAGES, &s, "", "{\"type\":\"content_block_start\",\"index\":" #n ",\"content_block\":{\"type\":\"text\",\"text\":\"\"}}", &a).class
#define END(n) read_one(OP_MESSAGES, &s, "", "{\"type\":\"content_block_stop\",\"index\":" #n "}", &a).class
  assert_int_equal(BEGIN, EVENT_LIFECYCLE);
  assert_int_equal(BEGIN, EVENT_LIFECYCLE);
  assert_int_equal(END(0), EVENT_ERROR);
  assert_int_equal(BLOCK(0), EVENT_LIFECYCLE);
  assert_int_equal(BLOCK(0), EVENT_ERROR);
  assert_int_equal(END(0), EVENT_LIFECYCLE);
  assert_int_equal(END(0), EVENT_LIFECYCLE);
  assert_int_equal(END(1), EVENT_ERROR);
  assert_int_equal(END(500), EVENT_LIFECYCLE);
  assert_int_equal(BEGIN, EVENT_ERROR);
}

/* Blocks are closed by index, and a closed one takes no more. */
static void messages_blocks(void **state) {
  struct event_state s = { .started = true };
  struct arena a = { 0 };
  (void)state;
#define START(n) read_one(OP_MESSAGES, &s, "", "{\"type\":\"content_block_start\",\"index\":" #n ",\"content_block\":{\"type\":\"text\",\"text\":\"\"}}", &a)
#define DELTA(n) read_one(OP_MESSAGES, &s, "", "{\"type\":\"content_block_delta\",\"index\":" #n ",\"delta\":{\"text\":\"x\"}}", &a).class
#define STOP(n) read_one(OP_MESSAGES, &s, "", "{\"type\":\"content_block_stop\",\"index\":" #n "}", &a)
  START(0), START(1), START(5);
  assert_int_equal(s.block_count, 3);
  assert_int_equal(DELTA(1), EVENT_REAL);
  STOP(1);
  assert_int_equal(DELTA(1), EVENT_ERROR);
  assert_int_equal(DELTA(5), EVENT_REAL);
  STOP(0), STOP(5), STOP(9);
  assert_int_equal(s.block_count, 0);
}

/* More pieces than a policy can be shown are refused rather than shown in part. */
static void too_many_pieces(void **state) {
  struct buf b = { 0 };
  struct event_state s = { 0 };
  struct event_facts f;
  (void)state;
  buf_add(&b, SPAN("{\"choices\":["));
  for (int i = 0; i < DELTA_MOST; i++) buf_printf(&b, "%s{\"index\":%d,\"delta\":{\"content\":\"x\"}}", i ? "," : "", i);
  size_t at = buf_size(&b);
  buf_add(&b, SPAN("]}"));
  struct sse_event e = { .data = buf_span(&b), .data_lines = 1 };
  event_read(operation_info(OP_CHAT), &s, &e, NULL, &f);
  assert_int_equal(f.class, EVENT_REAL);
  assert_int_equal(f.deltas, DELTA_MOST);
  b.end = at;
  buf_add(&b, SPAN(",{\"index\":64,\"delta\":{\"content\":\"x\"}}]}"));
  e.data = buf_span(&b);
  event_read(operation_info(OP_CHAT), &s, &e, NULL, &f);
  assert_int_equal(f.class, EVENT_ERROR);
  assert_int_equal(f.fault, FAULT_PROTOCOL);
  buf_free(&b);
}

static void sequence_numbers(void **state) {
  struct event_state s = { 0 };
  struct arena a = { 0 };
  (void)state;
  read_one(OP_RESPONSES, &s, "", "{\"type\":\"response.created\",\"sequence_number\":4}", &a);
  assert_int_equal(s.sequence, 4);
  read_one(OP_RESPONSES, &s, "", "{\"type\":\"response.in_progress\"}", &a);
  assert_int_equal(s.sequence, 5);
}

static void deltas_in_order(void **state) {
  struct delta d[DELTA_MOST];
  struct json data;
  (void)state;
  assert_true(json_read(SPAN("{\"choices\":[{\"delta\":{\"content\":\"x\\ny\",\"tool_calls\":[{\"index\":3,\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
                             "\"index\":2,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6}}"), &data, NULL));
  assert_int_equal(event_deltas(operation_info(OP_CHAT), SPAN(""), data, d), 4);
  assert_int_equal(d[0].kind, DELTA_TEXT);
  assert_int_equal(d[0].choice, 2);
  assert_true(span_eq(d[0].text.text, SPAN("\"x\\ny\"")));
  assert_true(d[0].text.text.p > data.text.p && d[0].text.text.p < data.text.p + data.text.n);
  assert_int_equal(d[1].kind, DELTA_TOOL);
  assert_int_equal(d[1].tool_index, 3);
  assert_true(span_eq(d[1].tool_id.text, SPAN("\"c\"")) && span_eq(d[1].tool_name.text, SPAN("\"f\"")) && span_eq(d[1].tool_arguments.text, SPAN("\"{}\"")));
  assert_int_equal(d[2].kind, DELTA_FINISH);
  assert_true(span_eq(d[2].finish, SPAN("stop")));
  assert_int_equal(d[3].kind, DELTA_USAGE);
  assert_int_equal(d[3].usage.input, 5);
  assert_int_equal(d[3].usage.output, 6);
}

/* What was read of an event before it turned out to be broken, or an error, does not count. */
static void nothing_of_what_is_none(void **unused) {
  static const char *const cases[] = {
    "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]", "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}],\"choices\":[]}",
    "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}},{\"index\":1,\"delta\":{]", "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}],\"a\":01}",
    "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}],\"error\":{\"message\":\"no\"}}", "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}}",
  };
  (void)unused;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct event_state state = { 0 };
    struct arena a = { 0 };
    struct delta deltas[DELTA_MOST];
    struct event_facts f;
    struct sse_event e = { .data = span_cstr(cases[i]), .data_lines = 1 };
    size_t n = event_read_deltas(operation_info(OP_CHAT), &state, &e, &a, &f, deltas);
    if (n || f.class != EVENT_ERROR || f.real || f.deltas || state.choices[0] || state.said) fail_msg("%s", cases[i]);
    arena_end(&a);
  }
}

/* What stands in a delta is content in one kind of event alone, wherever its kind and index stand. */
static void a_delta_before_its_kind(void **unused) {
  static const struct { const char *data; bool open; unsigned deltas; enum event_class class; } cases[] = {
    { "{\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"},\"index\":0,\"type\":\"content_block_delta\"}", true, 1, EVENT_REAL },
    { "{\"delta\":{\"text\":\"hi\"},\"index\":1,\"type\":\"content_block_delta\"}", true, 0, EVENT_ERROR },
    { "{\"delta\":{\"text\":\"hi\",\"stop_reason\":\"end_turn\"},\"type\":\"message_delta\"}", true, 1, EVENT_FINISH },
    { "{\"delta\":{\"text\":\"hi\"},\"type\":\"ping\"}", true, 0, EVENT_LIFECYCLE },
    { "{\"delta\":{\"text\":\"hi\"},\"type\":\"content_block_delta\",\"index\":0]", true, 0, EVENT_ERROR },
  };
  (void)unused;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct event_state state = { .started = true, .begun = { 1 }, .block_count = 1 };
    struct arena a = { 0 };
    struct delta deltas[DELTA_MOST];
    struct event_facts f;
    struct sse_event e = { .data = span_cstr(cases[i].data), .data_lines = 1 };
    size_t n = event_read_deltas(operation_info(OP_MESSAGES), &state, &e, &a, &f, deltas);
    if (n != cases[i].deltas || f.class != cases[i].class || f.real != (f.class == EVENT_REAL)) fail_msg("%s: %zu deltas, class %d", cases[i].data, n, f.class);
    arena_end(&a);
  }
  struct event_state state = { .started = true, .begun = { 3 }, .blocks = { 0, 1 }, .block_count = 2 };
  struct sse_event e = { .data = SPAN("{\"delta\":{\"partial_json\":\"{}\"},\"index\":1,\"type\":\"content_block_delta\"}"), .data_lines = 1 };
  struct delta deltas[DELTA_MOST];
  struct event_facts f;
  struct arena a = { 0 };
  assert_int_equal(event_read_deltas(operation_info(OP_MESSAGES), &state, &e, &a, &f, deltas), 1);
  assert_int_equal(deltas[0].tool_index, 1);
  arena_end(&a);
}

/* A member that stands twice in an answer is the last one, as clients have it. */
static void an_answer_with_members_twice(void **unused) {
  struct answer_facts f;
  (void)unused;
  answer_read(operation_info(OP_CHAT), SPAN("{\"choices\":[{\"message\":{\"content\":\"x\"}}],\"choices\":[]}"), &f);
  assert_int_equal(f.fault, FAULT_EMPTY);
  answer_read(operation_info(OP_CHAT), SPAN("{\"choices\":[{\"message\":{\"content\":\"x\"}}],\"\\u0063hoices\":[]}"), &f);
  assert_int_equal(f.fault, FAULT_EMPTY);
  answer_read(operation_info(OP_CHAT), SPAN("{\"choices\":[],\"choices\":[{\"message\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}"), &f);
  assert_int_equal(f.fault, FAULT_NONE);
  assert_true(span_eq(f.finish, SPAN("stop")));
  answer_read(operation_info(OP_CHAT), SPAN("{\"usage\":{\"prompt_tokens\":1},\"choices\":[],\"\\u0075sage\":{\"prompt_tokens\":2}}"), &f);
  assert_int_equal(f.usage.input, 2);
  answer_read(operation_info(OP_CHAT), SPAN("{\"usage\":{\"prompt_tokens\":1},\"choices\":[],\"usage\":{\"prompt_tokens\":3}}"), &f);
  assert_int_equal(f.usage.input, 3);
  answer_read(operation_info(OP_CHAT), SPAN("{\"usage\":{\"prompt_tokens\":1},\"choices\":[],\"usage\":null,\"x_groq\":{\"usage\":{\"prompt_tokens\":4}}}"), &f);
  assert_int_equal(f.usage.input, 4);
  answer_read(operation_info(OP_EMBEDDINGS), SPAN("{\"data\":[{\"embedding\":[0.5]}],\"usage\":{\"prompt_tokens\":5}}"), &f);
  assert_true(f.fault == FAULT_NONE && f.usage.input == 5);
  answer_read(operation_info(OP_CHAT), SPAN("{\"choices\":[{\"message\":{\"content\":\"x\"}}]} ]"), &f);
  assert_int_equal(f.fault, FAULT_INVALID);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(single_events), cmocka_unit_test(nothing_of_what_is_none), cmocka_unit_test(a_delta_before_its_kind), cmocka_unit_test(an_answer_with_members_twice), cmocka_unit_test(comments), cmocka_unit_test(data_in_lines), cmocka_unit_test(finish_alone_is_no_end),
    cmocka_unit_test(content_after_the_end), cmocka_unit_test(messages_out_of_order), cmocka_unit_test(responses_out_of_order),
    cmocka_unit_test(messages_begun_twice), cmocka_unit_test(messages_blocks),
    cmocka_unit_test(too_many_pieces), cmocka_unit_test(sequence_numbers), cmocka_unit_test(deltas_in_order),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
