/* said_write_chat.c: an answer told in the chat dialect. What chat has no word for stands under "weir": signatures of thinking, citations,
   the provider's own reason to stop. A client that sends its messages back as it got them brings the signatures home (talk_chat.c). */
#include "said.h"
#include "write_impl.h"

static bool is(struct json v, const char *word) { return v.type == JSON_STRING && json_string_is(v, span_cstr(word)); }

static void head_write(struct translation *t, struct json_writer *w, struct span object) {
  json_begin(w, '{');
  field_id(w, "chatcmpl-", t->names.id);
  field_str(w, SPAN("object"), object);
  field_int(w, SPAN("created"), t->names.created);
  if (t->model.n) field_quoted(w, SPAN("model"), t->model);
  else field_str(w, SPAN("model"), t->names.model);
}

static int64_t up(int64_t n) { return n > 0 ? n : 0; }

static void usage_write(struct json_writer *w, const struct usage *u) {
  int64_t written = up(u->cache_write) + up(u->cache_write_1h), input = up(u->input) + up(u->cache_read) + written, output = up(u->output);
  field_object(w, SPAN("usage"));
  field_int(w, SPAN("prompt_tokens"), input);
  field_int(w, SPAN("completion_tokens"), output);
  field_int(w, SPAN("total_tokens"), input + output);
  field_object(w, SPAN("prompt_tokens_details"));
  field_int(w, SPAN("cached_tokens"), up(u->cache_read));
  if (written) field_int(w, SPAN("cache_write_tokens"), written);
  json_end(w, '}');
  if (u->reasoning >= 0) {
    field_object(w, SPAN("completion_tokens_details"));
    field_int(w, SPAN("reasoning_tokens"), u->reasoning);
    json_end(w, '}');
  }
  json_end(w, '}');
}

static struct span finish_word(enum finish f) {
  static const struct span words[] = { SPAN("stop"), SPAN("stop"), SPAN("length"), SPAN("tool_calls"), SPAN("content_filter") };
  return words[f];
}

/* ---- under "weir" */
static void thinking_write(struct json_writer *w, int64_t index, bool redacted, struct span value, uint64_t bytes) {
  json_begin(w, '{');
  field_int(w, SPAN("index"), index);
  field_str(w, SPAN("type"), redacted ? SPAN("redacted_thinking") : SPAN("thinking"));
  if (value.n) field_raw(w, redacted ? SPAN("data") : SPAN("signature"), value);
  if (!redacted) field_int(w, SPAN("bytes"), (int64_t)bytes);
  json_end(w, '}');
}

static bool says_more(const struct said *s) {
  return is(s->v, "stop_sequence") || is(s->v, "pause_turn") || is(s->v, "refusal") || is(s->v, "model_context_window_exceeded") ||
         (string_full(s->v) && !(is(s->v, "end_turn") || is(s->v, "max_tokens") || is(s->v, "tool_use") || is(s->v, "STOP") || is(s->v, "MAX_TOKENS")));
}

static void reason_write(struct json_writer *w, const struct said *s) {
  field_raw(w, SPAN("stop_reason"), s->v.text);
  if (s->stop.type == JSON_STRING) field_raw(w, SPAN("stop_sequence"), s->stop.text);
  if (s->details.type == JSON_OBJECT) field_raw(w, SPAN("stop_details"), s->details.text);
}

/* As chat has it, but that its places count from the start of its part. */
static bool is_chats(struct json c) { return is(json_in(c, SPAN("type")), "url_citation") && json_count(json_in(c, SPAN("start_index"))) >= 0; }

/* Of the answer's text so many characters before the block it stands in, and behind it. */
static void annotation_write(struct json_writer *w, struct json c, uint64_t from, uint64_t to) {
  json_begin(w, '{');
  field_str(w, SPAN("type"), SPAN("url_citation"));
  field_object(w, SPAN("url_citation"));
  field_raw(w, SPAN("url"), json_in(c, SPAN("url")).text);
  field_raw(w, SPAN("title"), json_in(c, SPAN("title")).type == JSON_STRING ? json_in(c, SPAN("title")).text : SPAN("\"\""));
  int64_t start = json_count(json_in(c, SPAN("start_index"))), end = json_count(json_in(c, SPAN("end_index")));
  field_int(w, SPAN("start_index"), (int64_t)from + (start > 0 ? start : 0));
  field_int(w, SPAN("end_index"), end >= 0 ? (int64_t)from + end : (int64_t)to);
  json_end(w, '}');
  json_end(w, '}');
}

static void citations_write(struct json_writer *w, const struct citation_told *list, int64_t index, uint64_t from, uint64_t to) {
  bool any = false, other = false;
  for (const struct citation_told *c = list; c; c = c->next) {
    struct json v = { JSON_OBJECT, c->object };
    other |= !is_chats(v);
    if (json_in(v, SPAN("url")).type != JSON_STRING) continue;
    if (!any) field_array(w, SPAN("annotations"));
    any = true;
    annotation_write(w, v, from, to);
  }
  if (any) json_end(w, ']');
  if (!other) return;
  field_object(w, SPAN("weir"));
  field_array(w, SPAN("citations"));
  for (const struct citation_told *c = list; c; c = c->next) {
    if (is_chats((struct json){ JSON_OBJECT, c->object })) continue;
    json_begin(w, '{');
    field_int(w, SPAN("index"), index++);
    field_raw(w, SPAN("citation"), c->object);
    json_end(w, '}');
  }
  json_end(w, ']');
  json_end(w, '}');
}

static uint64_t characters_of(struct json v) {
  struct arena scratch = { 0 };
  struct span text;
  uint64_t n = 0;
  json_unescape(v, &scratch, &text);
  for (size_t i = 0; i < text.n; i++) n += ((unsigned char)text.p[i] & 0xC0) != 0x80;
  arena_end(&scratch);
  return n;
}

/* ---- streams */
static struct json_writer delta_begin(struct translation *t) {
  struct json_writer w = { .out = t->out };
  event_begin(t->out, SPAN(""));
  head_write(t, &w, SPAN("chat.completion.chunk"));
  field_array(&w, SPAN("choices"));
  json_begin(&w, '{');
  field_int(&w, SPAN("index"), t->choice);
  field_object(&w, SPAN("delta"));
  return w;
}

static void probabilities_write(struct json_writer *w, struct span list) {
  if (!list.n) { field_null(w, SPAN("logprobs")); return; }
  field_object(w, SPAN("logprobs"));
  field_raw(w, SPAN("content"), list);
  field_null(w, SPAN("refusal"));
  json_end(w, '}');
}

static void delta_end_with(struct translation *t, struct json_writer *w, struct span finish, struct span probabilities) {
  json_end(w, '}');
  probabilities_write(w, probabilities);
  if (finish.n) field_str(w, SPAN("finish_reason"), finish);
  else field_null(w, SPAN("finish_reason"));
  json_end(w, '}');
  json_end(w, ']');
  if (t->names.usage) field_null(w, SPAN("usage"));
  json_end(w, '}');
  event_end(t->out);
}

static void delta_end(struct translation *t, struct json_writer *w, struct span finish) { delta_end_with(t, w, finish, (struct span){ NULL, 0 }); }

static void delta_string(struct translation *t, struct span name, const struct said *s) {
  if (!string_full(s->v) && !s->logprobs.text.n) return;
  struct json_writer w = delta_begin(t);
  field_raw(&w, name, s->v.text);
  delta_end_with(t, &w, (struct span){ NULL, 0 }, s->logprobs.text);
}

void tell_chat_start(struct translation *t) {
  t->started = true;
  struct json_writer w = delta_begin(t);
  field_str(&w, SPAN("role"), SPAN("assistant"));
  field_str(&w, SPAN("content"), SPAN(""));
  delta_end(t, &w, (struct span){ NULL, 0 });
}

static void piece_tell(struct translation *t, const struct said *s) {
  struct json_writer w = delta_begin(t);
  struct span text = t->custom ? SPAN("input") : SPAN("arguments");
  field_array(&w, SPAN("tool_calls"));
  json_begin(&w, '{');
  field_int(&w, SPAN("index"), s->call);
  if (s->kind == SAID_CALL) {
    field_raw(&w, SPAN("id"), s->id.type == JSON_STRING ? s->id.text : SPAN("\"\""));
    field_str(&w, SPAN("type"), t->custom ? SPAN("custom") : SPAN("function"));
  }
  field_object(&w, t->custom ? SPAN("custom") : SPAN("function"));
  if (s->kind == SAID_CALL) field_raw(&w, SPAN("name"), s->name.type == JSON_STRING ? s->name.text : SPAN("\"\""));
  if (s->kind == SAID_CALL) field_str(&w, text, SPAN(""));
  else if (s->v.type == JSON_STRING) field_raw(&w, text, s->v.text);
  else field_str(&w, text, s->v.text);
  json_end(&w, '}');
  json_end(&w, '}');
  json_end(&w, ']');
  delta_end(t, &w, (struct span){ NULL, 0 });
}

/* The whole of it is needed to tell the text in it. */
static void unwrapped_tell(struct translation *t) {
  if (!t->unwrapping) return;
  t->unwrapping = false;
  piece_tell(t, &(struct said){ .kind = SAID_ARGUMENTS, .call = t->unwrapped, .v = said_unwrapped(t, buf_span(&t->wrapped)) });
  buf_clear(&t->wrapped);
}

static void call_tell(struct translation *t, const struct said *s) {
  if (s->kind == SAID_CALL) {
    unwrapped_tell(t);
    t->unwrapping = !s->custom && said_custom(t, s->name);
    t->unwrapped = s->call;
    t->custom = s->custom || t->unwrapping;
    piece_tell(t, s);
  } else if (!t->unwrapping) {
    piece_tell(t, s);
  } else if (s->v.text.n > said_room(t)) {
    said_fault(t, FAULT_INVALID, "the answer is larger than max_answer");
  } else {
    t->waiting += s->v.text.n;
    if (s->v.type == JSON_STRING) buf_add(&t->wrapped, string_raw(s->v));
    else json_write_escaped(&t->wrapped, s->v.text);
  }
}

static void delta_thinking(struct translation *t, bool redacted, struct span value) {
  struct json_writer w = delta_begin(t);
  field_object(&w, SPAN("weir"));
  field_array(&w, SPAN("thinking"));
  thinking_write(&w, t->thinking_count++, redacted, value, t->thinking_bytes);
  json_end(&w, ']');
  json_end(&w, '}');
  delta_end(t, &w, (struct span){ NULL, 0 });
}

static void block_over(struct translation *t) {
  unwrapped_tell(t);
  if (t->thinking_bytes || t->signature.n) delta_thinking(t, false, t->signature);
  t->thinking_bytes = 0;
  t->signature.n = 0;
  if (t->citations) {
    struct json_writer w = delta_begin(t);
    citations_write(&w, t->citations, t->citation_count, t->block_start, t->characters);
    for (const struct citation_told *c = t->citations; c; c = c->next) t->citation_count++;
    delta_end(t, &w, (struct span){ NULL, 0 });
  }
  t->citations = NULL;
  t->citations_end = &t->citations;
  t->block_start = t->characters;
}

static void citation_keep(struct translation *t, struct json v) {
  struct citation_told *c = arena_zero(&t->arena, sizeof *c);
  c->object = said_keep(t, v.text);
  if (!c->object.n) return;
  *t->citations_end = c;
  t->citations_end = &c->next;
}

static void other_tell(struct translation *t, struct json v) {
  struct json_writer w = delta_begin(t);
  field_object(&w, SPAN("weir"));
  field_array(&w, SPAN("blocks"));
  json_begin(&w, '{');
  field_int(&w, SPAN("index"), t->other_count++);
  field_raw(&w, SPAN("block"), v.text);
  json_end(&w, '}');
  json_end(&w, ']');
  json_end(&w, '}');
  delta_end(t, &w, (struct span){ NULL, 0 });
}

static void finish_tell(struct translation *t, const struct said *s) {
  if (t->finish) return;                                 /* told again with newer counts */
  unwrapped_tell(t);
  t->finish = s->finish;
  struct json_writer w = delta_begin(t);
  if (says_more(s)) {
    field_object(&w, SPAN("weir"));
    reason_write(&w, s);
    json_end(&w, '}');
  }
  delta_end(t, &w, finish_word(s->finish));
}

static void end_tell(struct translation *t) {
  if (!said_finished(t)) { t->ended = false; said_fault(t, FAULT_PROTOCOL, "the stream ended without saying why"); return; }
  if (t->names.usage) {
    struct json_writer w = { .out = t->out };
    event_begin(t->out, SPAN(""));
    head_write(t, &w, SPAN("chat.completion.chunk"));
    field_raw(&w, SPAN("choices"), SPAN("[]"));
    usage_write(&w, &t->usage);
    json_end(&w, '}');
    event_end(t->out);
  }
  sse_write(t->out, (struct span){ NULL, 0 }, SPAN("[DONE]"));
}

void tell_chat(struct translation *t, const struct said *s) {
  if (!t->started) tell_chat_start(t);
  switch (s->kind) {
  case SAID_TEXT:
    t->characters += characters_of(s->v);
    delta_string(t, SPAN("content"), s);
    break;
  case SAID_REFUSAL: delta_string(t, SPAN("refusal"), s); break;
  case SAID_THINKING:
    t->thinking_bytes += string_bytes(s->v);
    delta_string(t, SPAN("reasoning_content"), s);
    break;
  case SAID_SIGNATURE: t->signature = said_keep(t, s->v.text); break;
  case SAID_REDACTED: delta_thinking(t, true, s->v.text); break;
  case SAID_CALL: case SAID_ARGUMENTS: call_tell(t, s); break;
  case SAID_CITATION: citation_keep(t, s->v); break;
  case SAID_OTHER: other_tell(t, s->v); break;
  case SAID_BREAK: block_over(t); break;
  case SAID_FINISH: finish_tell(t, s); break;
  case SAID_END: end_tell(t); break;
  }
}

/* ---- whole answers */
/* Joined strings keep their escapes. false: none was said. */
static bool strings_write(struct translation *t, struct json_writer *w, struct span name, enum said_kind kind) {
  struct buf text = { 0 };
  bool any = false;
  buf_byte(&text, '"');
  for (size_t i = 0; i < t->all_count; i++) {
    if (t->all[i].kind != kind) continue;
    any |= string_full(t->all[i].v);
    buf_add(&text, string_raw(t->all[i].v));
  }
  buf_byte(&text, '"');
  if (any) field_raw(w, name, buf_span(&text));
  buf_free(&text);
  return any;
}

static bool any_calls(const struct translation *t) {
  for (size_t i = 0; i < t->all_count; i++)
    if (t->all[i].kind == SAID_CALL) return true;
  return false;
}

/* Of a tool that takes free text: as it came, or out of the function it was made. */
static void input_write(struct translation *t, struct json_writer *w, const struct said *call, struct json arguments) {
  json_key(w, SPAN("input"));
  if (call->custom || arguments.type == JSON_NONE) {
    json_raw(w, arguments.type == JSON_STRING ? arguments.text : SPAN("\"\""));
  } else if (arguments.type == JSON_STRING) {
    json_raw(w, said_unwrapped(t, string_raw(arguments)).text);
  } else {
    struct json text = json_in(arguments, SPAN("input"));
    if (text.type == JSON_STRING) json_raw(w, text.text);
    else json_str(w, arguments.text);
  }
}

static void calls_write(struct translation *t, struct json_writer *w) {
  bool any = false;
  for (size_t i = 0; i < t->all_count; i++) {
    const struct said *s = &t->all[i];
    if (s->kind != SAID_CALL) continue;
    if (!any) field_array(w, SPAN("tool_calls"));
    any = true;
    struct json arguments = i + 1 < t->all_count && s[1].kind == SAID_ARGUMENTS ? s[1].v : json_absent;
    bool custom = s->custom || said_custom(t, s->name);
    json_begin(w, '{');
    field_raw(w, SPAN("id"), s->id.type == JSON_STRING ? s->id.text : SPAN("\"\""));
    field_str(w, SPAN("type"), custom ? SPAN("custom") : SPAN("function"));
    field_object(w, custom ? SPAN("custom") : SPAN("function"));
    field_raw(w, SPAN("name"), s->name.type == JSON_STRING ? s->name.text : SPAN("\"\""));
    if (custom) input_write(t, w, s, arguments);
    else if (arguments.type == JSON_STRING) field_raw(w, SPAN("arguments"), arguments.text);
    else field_str(w, SPAN("arguments"), arguments.type == JSON_OBJECT ? arguments.text : SPAN("{}"));
    json_end(w, '}');
    json_end(w, '}');
  }
  if (any) json_end(w, ']');
}

static void thinking_whole(struct translation *t, struct json_writer *w) {
  uint64_t bytes = 0;
  int64_t index = 0;
  struct span signature = { NULL, 0 };
  field_array(w, SPAN("thinking"));
  for (size_t i = 0; i < t->all_count; i++) {
    const struct said *s = &t->all[i];
    if (s->kind == SAID_THINKING) bytes += string_bytes(s->v);
    else if (s->kind == SAID_SIGNATURE) signature = s->v.text;
    else if (s->kind == SAID_REDACTED) thinking_write(w, index++, true, s->v.text, 0);
    else if (s->kind == SAID_BREAK && (bytes || signature.n)) thinking_write(w, index++, false, signature, bytes), bytes = 0, signature.n = 0;
  }
  json_end(w, ']');
}

static void objects_whole(struct translation *t, struct json_writer *w, enum said_kind kind, struct span list, struct span name) {
  int64_t index = 0;
  for (size_t i = 0; i < t->all_count; i++) {
    if (t->all[i].kind != kind || is_chats(t->all[i].v)) continue;
    if (!index) field_array(w, list);
    json_begin(w, '{');
    field_int(w, SPAN("index"), index++);
    field_raw(w, name, t->all[i].v.text);
    json_end(w, '}');
  }
  if (index) json_end(w, ']');
}

static void annotations_whole(struct translation *t, struct json_writer *w) {
  uint64_t characters = 0, start = 0;
  field_array(w, SPAN("annotations"));
  for (size_t i = 0, first = 0; i < t->all_count; i++) {
    if (t->all[i].kind == SAID_TEXT) characters += characters_of(t->all[i].v);
    if (t->all[i].kind != SAID_BREAK) continue;
    for (; first < i; first++)
      if (t->all[first].kind == SAID_CITATION && json_in(t->all[first].v, SPAN("url")).type == JSON_STRING)
        annotation_write(w, t->all[first].v, start, characters);
    start = characters;
  }
  json_end(w, ']');
}

static void more_whole(struct translation *t, struct json_writer *w, const struct said *finish) {
  bool thinking = false, any = finish && says_more(finish);
  for (size_t i = 0; i < t->all_count; i++) {
    enum said_kind k = t->all[i].kind;
    thinking |= k == SAID_SIGNATURE || k == SAID_REDACTED;
    any |= (k == SAID_CITATION && !is_chats(t->all[i].v)) || k == SAID_OTHER;
  }
  if (!thinking && !any) return;
  field_object(w, SPAN("weir"));
  if (thinking) thinking_whole(t, w);
  objects_whole(t, w, SAID_CITATION, SPAN("citations"), SPAN("citation"));
  objects_whole(t, w, SAID_OTHER, SPAN("blocks"), SPAN("block"));
  if (finish && says_more(finish)) reason_write(w, finish);
  json_end(w, '}');
}

static void probabilities_whole(struct translation *t, struct json_writer *w) {
  struct buf list = probable_whole(t);
  probabilities_write(w, buf_span(&list));
  buf_free(&list);
}

static void choice_whole(struct translation *t, struct json_writer *w) {
  const struct said *finish = NULL;
  for (size_t i = 0; i < t->all_count; i++)
    if (t->all[i].kind == SAID_FINISH) finish = &t->all[i];
  json_begin(w, '{');
  field_int(w, SPAN("index"), t->choice);
  field_object(w, SPAN("message"));
  field_str(w, SPAN("role"), SPAN("assistant"));
  if (!strings_write(t, w, SPAN("content"), SAID_TEXT)) {
    if (any_calls(t)) field_null(w, SPAN("content"));
    else field_str(w, SPAN("content"), SPAN(""));
  }
  if (!strings_write(t, w, SPAN("refusal"), SAID_REFUSAL)) field_null(w, SPAN("refusal"));
  strings_write(t, w, SPAN("reasoning_content"), SAID_THINKING);
  calls_write(t, w);
  annotations_whole(t, w);
  more_whole(t, w, finish);
  json_end(w, '}');
  probabilities_whole(t, w);
  field_str(w, SPAN("finish_reason"), finish_word(finish ? finish->finish : any_calls(t) ? FINISH_CALLS : FINISH_STOP));
  json_end(w, '}');
}

void tell_chat_whole(struct translation *t) {
  struct json_writer w = { .out = t->out };
  head_write(t, &w, SPAN("chat.completion"));
  field_array(&w, SPAN("choices"));
  choice_whole(t, &w);
  for (struct translation *lane = t->lanes; lane; lane = lane->lane_next) choice_whole(lane, &w);
  json_end(&w, ']');
  if (t->has_usage) usage_write(&w, &t->usage);
  json_end(&w, '}');
}
