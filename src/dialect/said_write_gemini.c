/* said_write_gemini.c: an answer told in the gemini dialect. A call is told whole or not at all, so its arguments wait until they are; the
   reason why the answer ends stands in the last event, with the usage, and the stream ends with its bytes. */
#include "gemini.h"
#include "said.h"

static int64_t up(int64_t n) { return n > 0 ? n : 0; }

static void usage_write(struct json_writer *w, const struct usage *u) {
  int64_t input = up(u->input) + up(u->cache_read) + up(u->cache_write) + up(u->cache_write_1h), output = up(u->output), thought = up(u->reasoning);
  if (thought > output) thought = output;
  field_object(w, SPAN("usageMetadata"));
  field_int(w, SPAN("promptTokenCount"), input);
  if (u->cache_read > 0) field_int(w, SPAN("cachedContentTokenCount"), u->cache_read);
  field_int(w, SPAN("candidatesTokenCount"), output - thought);
  if (u->reasoning >= 0) field_int(w, SPAN("thoughtsTokenCount"), thought);
  field_int(w, SPAN("totalTokenCount"), input + output);
  json_end(w, '}');
}

static struct span reason_word(const struct translation *t, enum finish f) {
  if (t->refused || f == FINISH_FILTER) return SPAN("SAFETY");
  return f == FINISH_LENGTH ? SPAN("MAX_TOKENS") : SPAN("STOP");
}

static void tail_write(struct translation *t, struct json_writer *w) {
  if (t->model.n) field_quoted(w, SPAN("modelVersion"), t->model);
  else field_str(w, SPAN("modelVersion"), t->names.model);
  field_str(w, SPAN("responseId"), t->names.id);
}

/* ---- one event: a candidate with parts */
static void candidate_open(struct json_writer *w) {
  json_begin(w, '{');
  field_object(w, SPAN("content"));
  field_str(w, SPAN("role"), SPAN("model"));
  field_array(w, SPAN("parts"));
}

static struct json_writer event_open(struct translation *t) {
  struct json_writer w = { .out = t->out };
  if (!t->whole) buf_add(t->out, SPAN("data: "));
  json_begin(&w, '{');
  field_array(&w, SPAN("candidates"));
  if (!t->whole) candidate_open(&w);
  return w;
}

static void parts_close(struct json_writer *w) {
  json_end(w, ']');
  json_end(w, '}');
}

static void candidate_close(const struct translation *t, struct json_writer *w) {
  field_int(w, SPAN("index"), t->choice);
  json_end(w, '}');
}

static void event_close(struct translation *t, struct json_writer *w) {
  if (!t->whole) candidate_close(t, w);
  json_end(w, ']');
  if (t->finish && t->has_usage) usage_write(w, &t->usage);
  tail_write(t, w);
  json_end(w, '}');
  if (!t->whole) buf_add(t->out, SPAN("\r\n\r\n"));
}

static void text_part(struct json_writer *w, struct span raw, bool thought, struct json signature) {
  json_begin(w, '{');
  field_quoted(w, SPAN("text"), raw);
  if (thought) field_bool(w, SPAN("thought"), true);
  if (signature.type == JSON_STRING) field_raw(w, SPAN("thoughtSignature"), signature.text);
  json_end(w, '}');
}

static void call_part(struct json_writer *w, struct span id, struct span name, struct span arguments) {
  json_begin(w, '{');
  field_object(w, SPAN("functionCall"));
  if (id.n) field_quoted(w, SPAN("id"), id);
  field_quoted(w, SPAN("name"), name);
  field_raw(w, SPAN("args"), arguments);
  json_end(w, '}');
  json_end(w, '}');
}

/* ---- calls on their way */
/* All that wait and are whole are told, in the order in which they began. all: nothing more will come for any of them; broken: the last
   may end in the middle, since the answer was cut at its limit; what is there of it cannot be said. */
static void calls_tell(struct translation *t, bool all, bool broken) {
  for (struct call_told *c = t->told; c && !t->fault; c = c->next) {
    struct span plain;
    if (c->over) continue;
    bool good = c->name.n && said_object(t, buf_span(&c->arguments), &plain);
    if (!good && !all) return;
    if (good) {
      struct json_writer w = event_open(t);
      call_part(&w, c->id, c->name, plain);
      parts_close(&w);
      event_close(t, &w);
    } else if (!c->name.n) {
      said_fault(t, FAULT_INVALID, "the answer calls a tool without a name");
    } else if (!broken || c->next) {
      said_fault(t, FAULT_INVALID, "the arguments of a tool call are no JSON object");
    }
    c->over = true;
    t->waiting -= buf_size(&c->arguments);
    buf_free(&c->arguments);
  }
}

static struct call_told *call_find(struct translation *t, int64_t call) {
  struct call_told *found = NULL;
  for (struct call_told *c = t->told; c; c = c->next)
    if (c->call == call) found = c;
  return found;
}

static void call_hear(struct translation *t, const struct said *s) {
  struct call_told *c = call_find(t, s->call);
  struct span id = string_raw(s->id);
  if (s->kind == SAID_ARGUMENTS && (!c || c->over)) { said_fault(t, FAULT_PROTOCOL, "arguments of a tool call that was not begun, or is over"); return; }
  if (!c || c->over || (s->kind == SAID_CALL && id.n && c->id.n && !span_eq(id, c->id))) {
    c = arena_zero(&t->arena, sizeof *c);
    c->call = s->call;
    *t->told_end = c;
    t->told_end = &c->next;
  }
  if (s->kind == SAID_CALL && id.n && !c->id.n) c->id = said_keep(t, id);
  if (s->kind == SAID_CALL && string_full(s->name) && !c->name.n) c->name = said_keep(t, string_raw(s->name));
  if (s->kind == SAID_CALL) return;
  size_t had = buf_size(&c->arguments);
  if (s->v.text.n > said_room(t)) { said_fault(t, FAULT_INVALID, "the answer is larger than max_answer"); return; }
  if (s->v.type == JSON_STRING) buf_add(&c->arguments, string_raw(s->v));
  else json_write_escaped(&c->arguments, s->v.text);
  t->waiting += buf_size(&c->arguments) - had;
}

/* ---- streams */
static void text_tell_with(struct translation *t, struct span raw, bool thought, struct json signature, struct span probable) {
  if (raw.n || !probable.n) calls_tell(t, true, false);
  if (t->fault) return;
  struct json_writer w = event_open(t);
  text_part(&w, raw, thought, signature);
  parts_close(&w);
  probable_write_gemini(&w, probable);
  event_close(t, &w);
}

static void text_tell(struct translation *t, struct span raw, bool thought, struct json signature) {
  text_tell_with(t, raw, thought, signature, (struct span){ NULL, 0 });
}

static void last_tell(struct translation *t) {
  struct json_writer w = event_open(t);
  text_part(&w, (struct span){ NULL, 0 }, false, json_absent);
  parts_close(&w);
  ground_write(t, &w);
  field_str(&w, SPAN("finishReason"), reason_word(t, t->finish));
  event_close(t, &w);
}

static void end_tell(struct translation *t) {
  if (!said_finished(t)) { t->ended = false; said_fault(t, FAULT_PROTOCOL, "the stream ended without saying why"); return; }
  said_lanes_sync(t);
  last_tell(t);
  for (struct translation *lane = t->lanes; lane; lane = lane->lane_next) last_tell(lane);
}

/* Nothing is said before there is something to say. */
void tell_gemini_start(struct translation *t) { t->started = true; }

void tell_gemini(struct translation *t, const struct said *s) {
  if (t->finish && s->kind < SAID_BREAK) { said_fault(t, FAULT_PROTOCOL, "content after the finish"); return; }
  t->started = true;
  switch (s->kind) {
  case SAID_REFUSAL: t->refused = true; text_tell(t, string_raw(s->v), false, json_absent); break;
  case SAID_TEXT:
    ground_text(t, s->v);
    text_tell_with(t, string_raw(s->v), false, json_absent, s->logprobs.text);
    break;
  case SAID_THINKING: text_tell(t, string_raw(s->v), true, json_absent); break;
  case SAID_SIGNATURE: text_tell(t, (struct span){ NULL, 0 }, true, signature_wrap(&t->arena, SIGNED_BY_MESSAGES, s->v)); break;
  case SAID_REDACTED: text_tell(t, (struct span){ NULL, 0 }, true, signature_wrap(&t->arena, REDACTED_BY_MESSAGES, s->v)); break;
  case SAID_CALL: case SAID_ARGUMENTS: call_hear(t, s); break;
  case SAID_BREAK:
    ground_break(t);
    calls_tell(t, false, false);
    break;
  case SAID_CITATION: ground_cite(t, s->v); break;
  case SAID_OTHER: said_lose(t, SPAN("tools")); break;
  case SAID_FINISH:
    if (t->finish) break;
    calls_tell(t, true, s->finish == FINISH_LENGTH || s->finish == FINISH_FILTER);
    if (!t->fault) t->finish = s->finish;
    break;
  case SAID_END: end_tell(t); break;
  }
}

/* ---- whole answers */
static size_t texts_whole(struct translation *t, struct json_writer *w, size_t i) {
  enum said_kind kind = t->all[i].kind;
  struct json signature = json_absent;
  struct buf text = { 0 };
  for (; i < t->all_count && t->all[i].kind == kind; i++) {
    buf_add(&text, string_raw(t->all[i].v));
    if (kind == SAID_TEXT) ground_text(t, t->all[i].v);
  }
  if (kind == SAID_THINKING && i < t->all_count && t->all[i].kind == SAID_SIGNATURE) signature = signature_wrap(&t->arena, SIGNED_BY_MESSAGES, t->all[i++].v);
  t->refused |= kind == SAID_REFUSAL;
  text_part(w, buf_span(&text), kind == SAID_THINKING, signature);
  buf_free(&text);
  return i;
}

static size_t call_whole(struct translation *t, struct json_writer *w, size_t i) {
  const struct said *s = &t->all[i++];
  struct span arguments = SPAN("{}");
  if (i < t->all_count && t->all[i].kind == SAID_ARGUMENTS) {
    struct json v = t->all[i++].v;
    if (v.type == JSON_OBJECT) arguments = v.text;
    else if (!said_object(t, string_raw(v), &arguments)) said_fault(t, FAULT_INVALID, "the arguments of a tool call are no JSON object");
  }
  if (!string_full(s->name)) said_fault(t, FAULT_INVALID, "the answer calls a tool without a name");
  call_part(w, string_raw(s->id), string_raw(s->name), arguments);
  return i;
}

static void candidate_whole(struct translation *t, struct json_writer *w) {
  size_t part = 0;
  struct buf list = probable_whole(t);
  t->finish = FINISH_STOP;
  candidate_open(w);
  for (size_t i = 0; i < t->all_count; part++) {
    switch (t->all[i].kind) {
    case SAID_TEXT: case SAID_THINKING: case SAID_REFUSAL:
      if (t->all[i].kind == SAID_TEXT) ground_part(t, part);
      i = texts_whole(t, w, i);
      continue;
    case SAID_SIGNATURE: text_part(w, (struct span){ NULL, 0 }, true, signature_wrap(&t->arena, SIGNED_BY_MESSAGES, t->all[i++].v)); continue;
    case SAID_REDACTED: text_part(w, (struct span){ NULL, 0 }, true, signature_wrap(&t->arena, REDACTED_BY_MESSAGES, t->all[i++].v)); continue;
    case SAID_CALL: i = call_whole(t, w, i); continue;
    case SAID_FINISH: t->finish = t->all[i].finish; break;
    case SAID_CITATION: ground_cite(t, t->all[i].v); break;
    case SAID_OTHER: said_lose(t, SPAN("tools")); break;
    case SAID_BREAK: ground_break(t); break;
    default: break;
    }
    i++, part--;                                         /* no part of it */
  }
  parts_close(w);
  probable_write_gemini(w, buf_span(&list));
  buf_free(&list);
  ground_write(t, w);
  field_str(w, SPAN("finishReason"), reason_word(t, t->finish));
  candidate_close(t, w);
}

void tell_gemini_whole(struct translation *t) {
  bool array = t->to->operation == OP_GENERATE_ARRAY;
  if (array) buf_byte(t->out, '[');
  struct json_writer w = event_open(t);
  said_lanes_sync(t);
  candidate_whole(t, &w);
  for (struct translation *lane = t->lanes; lane; lane = lane->lane_next) {
    candidate_whole(lane, &w);
    said_lane_over(t, lane);
  }
  event_close(t, &w);
  if (array) buf_byte(t->out, ']');
}
