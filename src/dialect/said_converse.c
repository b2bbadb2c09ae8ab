/* said_converse.c: answers of Bedrock's Converse, heard. Blocks of text and of thinking have no start. */
#include "said.h"

static bool is(struct json v, const char *word) { return v.type == JSON_STRING && json_string_is(v, span_cstr(word)); }

static void say(struct translation *t, enum said_kind kind, struct json v) {
  if (string_full(v) || v.type == JSON_OBJECT) said(t, &(struct said){ .kind = kind, .v = v });
}

/* A page's address is put where both dialects look for it; all else stays as it came. */
static void cite(struct translation *t, struct json citation) {
  struct json url = json_under(citation, "location.web.url"), title = json_in(citation, SPAN("title"));
  struct buf made = { 0 };
  if (citation.type != JSON_OBJECT) return;
  if (!string_full(url) || json_iter(citation).at == json_iter(citation).end) { say(t, SAID_CITATION, citation); return; }
  buf_add(&made, SPAN("{\"url\":"));
  buf_add(&made, url.text);
  if (title.type != JSON_STRING) buf_add(&made, SPAN(",\"title\":\"\""));
  buf_byte(&made, ',');
  buf_add(&made, span_from(citation.text, 1));
  say(t, SAID_CITATION, (struct json){ JSON_OBJECT, said_keep(t, buf_span(&made)) });
  buf_free(&made);
}

static void thought_hear(struct translation *t, struct json thought) {
  struct json whole = json_in(thought, SPAN("reasoningText"));
  if (whole.type != JSON_OBJECT) whole = thought;
  say(t, SAID_THINKING, json_in(whole, SPAN("text")));
  say(t, SAID_SIGNATURE, json_in(whole, SPAN("signature")));
  say(t, SAID_REDACTED, json_in(thought, SPAN("redactedContent")));
}

static int64_t call_hear(struct translation *t, struct json call) {
  int64_t number = t->calls++;
  said(t, &(struct said){ .kind = SAID_CALL, .call = number, .id = json_in(call, SPAN("toolUseId")), .name = json_in(call, SPAN("name")) });
  return number;
}

static bool ran_there(struct json call) { return is(json_in(call, SPAN("type")), "server_tool_use"); }

/* ---- whole answers */
static void block_hear(struct translation *t, struct json block) {
  struct json call = json_in(block, SPAN("toolUse")), thought = json_in(block, SPAN("reasoningContent")), cited = json_in(block, SPAN("citationsContent"));
  struct json key, item;
  if (json_in(block, SPAN("text")).type == JSON_STRING) {
    say(t, SAID_TEXT, json_in(block, SPAN("text")));
  } else if (thought.type == JSON_OBJECT) {
    thought_hear(t, thought);
  } else if (call.type == JSON_OBJECT && !ran_there(call)) {
    int64_t number = call_hear(t, call);
    if (json_in(call, SPAN("input")).type == JSON_OBJECT) said(t, &(struct said){ .kind = SAID_ARGUMENTS, .call = number, .v = json_in(call, SPAN("input")) });
  } else if (cited.type == JSON_OBJECT) {
    struct json content = json_in(cited, SPAN("content")), list = json_in(cited, SPAN("citations"));
    struct json_iter i = json_iter(content);
    while (content.type == JSON_ARRAY && json_next(&i, &key, &item)) say(t, SAID_TEXT, json_in(item, SPAN("text")));
    for (i = json_iter(list); list.type == JSON_ARRAY && json_next(&i, &key, &item);) cite(t, item);
  } else {
    say(t, SAID_OTHER, block);
  }
  said(t, &(struct said){ .kind = SAID_BREAK });
}

static enum finish finish_of(struct json v) {
  if (is(v, "max_tokens") || is(v, "model_context_window_exceeded")) return FINISH_LENGTH;
  if (is(v, "tool_use")) return FINISH_CALLS;
  return is(v, "guardrail_intervened") || is(v, "content_filtered") ? FINISH_FILTER : FINISH_STOP;
}

static void finish_hear(struct translation *t, struct json holder) {
  struct json reason = json_in(holder, SPAN("stopReason")), more = json_in(holder, SPAN("additionalModelResponseFields")), stop = json_in(more, SPAN("stop_sequence"));
  if (is(reason, "malformed_model_output") || is(reason, "malformed_tool_use")) { said_fault(t, FAULT_INVALID, "the model's output cannot be read"); return; }
  if (stop.type != JSON_STRING) stop = json_under(more, "delta.stop_sequence");
  if (string_full(reason)) said(t, &(struct said){ .kind = SAID_FINISH, .v = reason, .finish = finish_of(reason), .stop = stop });
}

void hear_converse_whole(struct translation *t, struct json document) {
  struct json content = json_under(document, "output.message.content"), key, block;
  struct json_iter i = json_iter(content);
  said_usage(t, DIALECT_CONVERSE, json_in(document, SPAN("usage")));
  while (content.type == JSON_ARRAY && json_next(&i, &key, &block)) block_hear(t, block);
  finish_hear(t, document);
}

/* ---- streams: blocks of calls alone are kept in mind */
static struct heard_block *block_at(struct translation *t, int64_t index) {
  for (size_t i = 0; i < t->block_count; i++)
    if (t->blocks[i].index == index) return &t->blocks[i];
  return NULL;
}

static void start_hear(struct translation *t, int64_t index, struct json start) {
  struct json call = json_in(start, SPAN("toolUse"));
  if (call.type != JSON_OBJECT) return;
  if (t->block_count == OPEN_MOST) { said_fault(t, FAULT_PROTOCOL, "too many blocks are open"); return; }
  struct heard_block *b = &t->blocks[t->block_count++];
  *b = (struct heard_block){ .index = index, .kind = ran_there(call) ? HEARD_OTHER : HEARD_CALL };
  if (b->kind == HEARD_CALL) b->call = call_hear(t, call);
}

static void delta_hear(struct translation *t, int64_t index, struct json delta) {
  struct json call = json_in(delta, SPAN("toolUse")), thought = json_in(delta, SPAN("reasoningContent"));
  struct heard_block *b = block_at(t, index);
  if (call.type == JSON_OBJECT && !b) said_fault(t, FAULT_PROTOCOL, "arguments of a tool call that was not begun, or is over");
  if (call.type == JSON_OBJECT && b && b->kind == HEARD_CALL && string_full(json_in(call, SPAN("input")))) {
    b->argued = true;
    said(t, &(struct said){ .kind = SAID_ARGUMENTS, .call = b->call, .v = json_in(call, SPAN("input")) });
  }
  say(t, SAID_TEXT, json_in(delta, SPAN("text")));
  if (thought.type == JSON_OBJECT) thought_hear(t, thought);
  cite(t, json_in(delta, SPAN("citation")));
}

static void stop_hear(struct translation *t, int64_t index) {
  static const struct json nothing = { JSON_STRING, { "\"{}\"", 4 } };
  struct heard_block *b = block_at(t, index);
  if (b && b->kind == HEARD_CALL && !b->argued) said(t, &(struct said){ .kind = SAID_ARGUMENTS, .call = b->call, .v = nothing });
  if (b) *b = t->blocks[--t->block_count];
  said(t, &(struct said){ .kind = SAID_BREAK });
}

void hear_converse(struct translation *t, struct span name, struct json data) {
  int64_t index = json_count(json_in(data, SPAN("contentBlockIndex")));
  if (index < 0) index = 0;
  if (span_eq(name, SPAN("messageStart"))) {
    said_start(t);
  } else if (span_eq(name, SPAN("contentBlockStart"))) {
    start_hear(t, index, json_in(data, SPAN("start")));
  } else if (span_eq(name, SPAN("contentBlockDelta"))) {
    delta_hear(t, index, json_in(data, SPAN("delta")));
  } else if (span_eq(name, SPAN("contentBlockStop"))) {
    stop_hear(t, index);
  } else if (span_eq(name, SPAN("messageStop"))) {
    said(t, &(struct said){ .kind = SAID_BREAK });
    finish_hear(t, data);
  } else if (span_eq(name, SPAN("metadata"))) {
    said_usage(t, DIALECT_CONVERSE, json_in(data, SPAN("usage")));
    t->told_usage = true;
  }
  if (t->finish && t->told_usage && !t->ended) said(t, &(struct said){ .kind = SAID_END });
}
