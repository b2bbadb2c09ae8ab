/* said_messages.c: answers of the messages dialect, heard. */
#include "said.h"

static bool is(struct json v, const char *word) { return v.type == JSON_STRING && json_string_is(v, span_cstr(word)); }

static void say(struct translation *t, enum said_kind kind, struct json v) {
  if (v.type == JSON_STRING || v.type == JSON_OBJECT) said(t, &(struct said){ .kind = kind, .v = v });
}

static void cited(struct translation *t, struct json block) {
  struct json list = json_in(block, SPAN("citations")), key, item;
  struct json_iter i = json_iter(list);
  while (list.type == JSON_ARRAY && json_next(&i, &key, &item)) say(t, SAID_CITATION, item);
}

/* A block as it starts, or as it stands whole in an answer. */
static void block_hear(struct translation *t, struct heard_block *b, struct json block) {
  struct json type = json_in(block, SPAN("type"));
  if (is(type, "text")) {
    b->kind = HEARD_TEXT;
    if (string_full(json_in(block, SPAN("text")))) say(t, SAID_TEXT, json_in(block, SPAN("text")));
    cited(t, block);
  } else if (is(type, "thinking")) {
    struct json signature = json_in(block, SPAN("signature"));
    b->kind = HEARD_THINKING;
    if (string_full(json_in(block, SPAN("thinking")))) say(t, SAID_THINKING, json_in(block, SPAN("thinking")));
    if (string_full(signature)) say(t, SAID_SIGNATURE, signature);
  } else if (is(type, "redacted_thinking")) {
    b->kind = HEARD_OTHER;
    say(t, SAID_REDACTED, json_in(block, SPAN("data")));
  } else if (is(type, "tool_use")) {
    struct json input = json_in(block, SPAN("input"));
    b->kind = HEARD_CALL;
    b->call = t->calls++;
    said(t, &(struct said){ .kind = SAID_CALL, .call = b->call, .id = json_in(block, SPAN("id")), .name = json_in(block, SPAN("name")) });
    b->argued = input.type == JSON_OBJECT && json_iter(input).at != json_iter(input).end;
    if (b->argued) said(t, &(struct said){ .kind = SAID_ARGUMENTS, .call = b->call, .v = input });
  } else if (!t->whole && json_in(block, SPAN("input")).type == JSON_OBJECT) {
    b->kind = HEARD_HOSTED;
    b->object = said_keep(t, block.text);
  } else {
    b->kind = HEARD_OTHER;
    say(t, SAID_OTHER, block);
  }
}

/* The block as it stands in a whole answer: with what came of its input. */
static void hosted_say(struct translation *t, const struct heard_block *b) {
  struct json block = { JSON_OBJECT, b->object }, key, value;
  struct span input;
  struct buf whole = { 0 };
  struct json_writer w = { .out = &whole };
  struct json_iter i = json_iter(block);
  if (!b->object.n) return;
  bool came = buf_size(&b->input) > 0, good = said_object(t, buf_span(&b->input), &input);
  if (came && !good) said_lose(t, SPAN("tools"));        /* broken off */
  json_begin(&w, '{');
  while (json_next(&i, &key, &value)) {
    bool is_input = came && good && json_string_is(key, SPAN("input"));
    struct span name = { NULL, 0 };
    json_unescape(key, &t->arena, &name);
    field_raw(&w, name, is_input ? input : value.text);
  }
  json_end(&w, '}');
  say(t, SAID_OTHER, (struct json){ JSON_OBJECT, arena_copy(&t->arena, buf_span(&whole)) });
  buf_free(&whole);
}

static void block_over(struct translation *t, const struct heard_block *b) {
  static const struct json nothing = { JSON_STRING, { "\"{}\"", 4 } };
  if (b->kind == HEARD_HOSTED) hosted_say(t, b);
  if (b->kind == HEARD_CALL && !b->argued) said(t, &(struct said){ .kind = SAID_ARGUMENTS, .call = b->call, .v = nothing });
  said(t, &(struct said){ .kind = SAID_BREAK });
}

static struct heard_block *block_at(struct translation *t, struct json data) {
  int64_t index = json_count(json_in(data, SPAN("index")));
  for (size_t i = 0; i < t->block_count; i++)
    if (t->blocks[i].index == (index < 0 ? 0 : index)) return &t->blocks[i];
  return NULL;
}

static void start_hear(struct translation *t, struct json data) {
  int64_t index = json_count(json_in(data, SPAN("index")));
  if (t->block_count == OPEN_MOST) { said_fault(t, FAULT_PROTOCOL, "too many blocks are open"); return; }
  struct heard_block *b = &t->blocks[t->block_count++];
  *b = (struct heard_block){ .index = index < 0 ? 0 : index };
  block_hear(t, b, json_in(data, SPAN("content_block")));
}

static void delta_hear(struct translation *t, struct heard_block *b, struct json delta) {
  struct json type = json_in(delta, SPAN("type"));
  if (is(type, "text_delta")) say(t, SAID_TEXT, json_in(delta, SPAN("text")));
  else if (is(type, "thinking_delta")) say(t, SAID_THINKING, json_in(delta, SPAN("thinking")));
  else if (is(type, "signature_delta")) say(t, SAID_SIGNATURE, json_in(delta, SPAN("signature")));
  else if (is(type, "citations_delta")) say(t, SAID_CITATION, json_in(delta, SPAN("citation")));
  else if (is(type, "input_json_delta") && b->kind == HEARD_HOSTED) {
    struct span piece = string_raw(json_in(delta, SPAN("partial_json")));
    if (piece.n > said_room(t)) { said_fault(t, FAULT_INVALID, "the answer is larger than max_answer"); return; }
    t->waiting += piece.n;
    buf_add(&b->input, piece);
  } else if (is(type, "input_json_delta") && b->kind == HEARD_CALL && string_full(json_in(delta, SPAN("partial_json")))) {
    b->argued = true;
    said(t, &(struct said){ .kind = SAID_ARGUMENTS, .call = b->call, .v = json_in(delta, SPAN("partial_json")) });
  }
}

static enum finish finish_of(struct json v) {
  if (is(v, "max_tokens") || is(v, "model_context_window_exceeded")) return FINISH_LENGTH;
  if (is(v, "tool_use")) return FINISH_CALLS;
  return is(v, "refusal") ? FINISH_FILTER : FINISH_STOP;
}

static void finish_hear(struct translation *t, struct json holder) {
  struct json reason = json_in(holder, SPAN("stop_reason"));
  if (string_full(reason))
    said(t, &(struct said){ .kind = SAID_FINISH, .v = reason, .finish = finish_of(reason), .stop = json_in(holder, SPAN("stop_sequence")),
                            .details = json_in(holder, SPAN("stop_details")) });
}

void hear_messages(struct translation *t, struct span name, struct json data) {
  struct json type = json_in(data, SPAN("type"));
  struct heard_block *b;
  if (type.type != JSON_STRING) type = json_absent;
  struct span word = type.type == JSON_STRING ? string_raw(type) : name;
  if (span_eq(word, SPAN("message_start"))) {
    said_model(t, json_under(data, "message.model"));
    said_usage(t, DIALECT_MESSAGES, json_under(data, "message.usage"));
    said_start(t);
  } else if (span_eq(word, SPAN("content_block_start"))) {
    start_hear(t, data);
  } else if (span_eq(word, SPAN("content_block_delta"))) {
    if ((b = block_at(t, data))) delta_hear(t, b, json_in(data, SPAN("delta")));
  } else if (span_eq(word, SPAN("content_block_stop"))) {
    if (!(b = block_at(t, data))) return;
    block_over(t, b);
    buf_free(&b->input);
    *b = t->blocks[--t->block_count];
  } else if (span_eq(word, SPAN("message_delta"))) {
    said_usage(t, DIALECT_MESSAGES, json_in(data, SPAN("usage")));
    finish_hear(t, json_in(data, SPAN("delta")));
  } else if (span_eq(word, SPAN("message_stop"))) {
    if (!t->ended) said(t, &(struct said){ .kind = SAID_END });
  } else if (span_eq(word, SPAN("ping"))) {
    heartbeat_write(t->to->dialect, t->out);
  }
}

void hear_messages_whole(struct translation *t, struct json document) {
  struct json content = json_in(document, SPAN("content")), key, block;
  struct json_iter i = json_iter(content);
  said_model(t, json_in(document, SPAN("model")));
  said_usage(t, DIALECT_MESSAGES, json_in(document, SPAN("usage")));
  while (content.type == JSON_ARRAY && json_next(&i, &key, &block)) {
    struct heard_block b = { 0 };
    block_hear(t, &b, block);
    block_over(t, &b);
  }
  finish_hear(t, document);
}
