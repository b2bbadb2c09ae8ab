/* said_chat.c: answers of the chat dialect, heard. Each of several choices is an answer. */
#include "said.h"

static bool is(struct json v, const char *word) { return v.type == JSON_STRING && json_string_is(v, span_cstr(word)); }

static void say(struct translation *t, enum said_kind kind, struct json v) {
  if (string_full(v)) said(t, &(struct said){ .kind = kind, .v = v, .logprobs = kind == SAID_TEXT ? probable_take(t) : json_absent });
}

/* Mistral's content is a list of typed parts; a thinking part holds text parts again. */
static void parts_hear(struct translation *t, enum said_kind kind, struct json parts) {
  struct json_iter i = json_iter(parts);
  struct json key, part;
  while (json_next(&i, &key, &part)) {
    struct json thinking = json_in(part, SPAN("thinking"));
    if (part.type == JSON_STRING) say(t, kind, part);
    if (thinking.type == JSON_ARRAY) parts_hear(t, SAID_THINKING, thinking);
    else if (thinking.type == JSON_STRING) say(t, SAID_THINKING, thinking);
    else if (is(json_in(part, SPAN("type")), "refusal")) say(t, SAID_REFUSAL, json_in(part, SPAN("refusal")));
    else if (part.type == JSON_OBJECT) say(t, kind, json_in(part, SPAN("text")));
  }
}

static void call_hear(struct translation *t, struct json call, int64_t place) {
  struct json function = json_in(call, SPAN("function"));
  int64_t index = json_count(json_in(call, SPAN("index")));
  struct said s = { .kind = SAID_CALL, .call = index >= 0 ? index : place, .id = json_in(call, SPAN("id")) };
  if (call.type != JSON_OBJECT) return;
  s.custom = function.type != JSON_OBJECT && json_in(call, SPAN("custom")).type == JSON_OBJECT;
  if (s.custom) function = json_in(call, SPAN("custom"));
  struct json arguments = json_in(function, s.custom ? SPAN("input") : SPAN("arguments"));
  s.name = json_in(function, SPAN("name"));
  if (string_full(s.id) || string_full(s.name)) said(t, &s);
  if (string_full(arguments) || arguments.type == JSON_OBJECT) said(t, &(struct said){ .kind = SAID_ARGUMENTS, .call = s.call, .v = arguments });
}

static struct json thought_of(struct json m) {
  struct json text = json_in(m, SPAN("reasoning_content"));
  return string_full(text) ? text : json_in(m, SPAN("reasoning"));
}

/* A delta, or the message of a whole answer. */
static void message_hear(struct translation *t, struct json m) {
  struct json content = json_in(m, SPAN("content")), calls = json_in(m, SPAN("tool_calls")), thought = thought_of(m), key, item;
  struct json details = json_in(m, SPAN("reasoning_details")), one = json_in(m, SPAN("function_call"));
  if (string_full(thought)) say(t, SAID_THINKING, thought);
  else if (details.type == JSON_ARRAY) parts_hear(t, SAID_THINKING, details);
  if (content.type == JSON_ARRAY) parts_hear(t, SAID_TEXT, content);
  else say(t, SAID_TEXT, content);
  say(t, SAID_REFUSAL, json_in(m, SPAN("refusal")));
  say(t, SAID_TEXT, json_under(m, "audio.transcript"));
  if (json_in(m, SPAN("audio")).type == JSON_OBJECT) said_lose(t, SPAN("audio"));
  if (json_under(m, "images.0").type == JSON_OBJECT) said_lose(t, SPAN("image"));
  struct json_iter i = json_iter(calls);
  for (int64_t n = 0; calls.type == JSON_ARRAY && json_next(&i, &key, &item); n++) call_hear(t, item, n);
  if (one.type == JSON_OBJECT) {
    struct json arguments = json_in(one, SPAN("arguments")), name = json_in(one, SPAN("name"));
    if (string_full(name)) said(t, &(struct said){ .kind = SAID_CALL, .name = name });
    if (string_full(arguments)) said(t, &(struct said){ .kind = SAID_ARGUMENTS, .v = arguments });
  }
  struct json notes = json_in(m, SPAN("annotations"));
  for (i = json_iter(notes); notes.type == JSON_ARRAY && json_next(&i, &key, &item);)
    if (item.type == JSON_OBJECT) said(t, &(struct said){ .kind = SAID_CITATION, .v = item });
}

static enum finish finish_of(struct json v) {
  if (is(v, "length")) return FINISH_LENGTH;
  if (is(v, "tool_calls") || is(v, "function_call")) return FINISH_CALLS;
  if (is(v, "content_filter") || is(v, "refusal")) return FINISH_FILTER;
  return FINISH_STOP;
}

static void finish_hear(struct translation *t, struct json choice) {
  struct json finish = json_in(choice, SPAN("finish_reason"));
  if (string_full(finish)) said(t, &(struct said){ .kind = SAID_FINISH, .v = finish, .finish = finish_of(finish) });
}

static void choices_hear(struct translation *t, struct json data, struct span member) {
  struct json choices = json_in(data, SPAN("choices")), key, choice;
  struct json_iter i = json_iter(choices);
  for (int64_t place = 0; choices.type == JSON_ARRAY && json_next(&i, &key, &choice); place++) {
    int64_t index = json_count(json_in(choice, SPAN("index")));
    struct translation *lane = choice.type == JSON_OBJECT ? said_lane(t, index >= 0 ? index : place) : NULL;
    if (!lane || lane->fault) continue;
    if (lane->to->dialect == DIALECT_GEMINI) probable_hear(lane, json_under(choice, "logprobs.content"));
    said_start(lane);
    message_hear(lane, json_in(choice, member));
    probable_rest(lane);
    finish_hear(lane, choice);
    said_lane_over(t, lane);
  }
}

void hear_chat(struct translation *t, struct json data) {
  struct json usage = json_in(data, SPAN("usage"));
  if (t->ended) return;
  said_model(t, json_in(data, SPAN("model")));
  said_usage(t, DIALECT_CHAT, usage.type == JSON_OBJECT ? usage : json_under(data, "x_groq.usage"));
  choices_hear(t, data, SPAN("delta"));
}

void hear_chat_whole(struct translation *t, struct json document) {
  said_model(t, json_in(document, SPAN("model")));
  said_usage(t, DIALECT_CHAT, json_in(document, SPAN("usage")));
  choices_hear(t, document, SPAN("message"));
}
