/* said_write_messages.c: an answer told in the messages dialect. Blocks stand one behind the other: of calls that a chat stream mixes
   the later ones wait until the earlier one is whole. */
#include "said.h"
#include "talk.h"
#include "write_impl.h"

static struct json_writer event_start(struct translation *t, struct span type) {
  struct json_writer w = { .out = t->out };
  event_begin(t->out, type);
  json_begin(&w, '{');
  field_str(&w, SPAN("type"), type);
  return w;
}

static void event_stop(struct translation *t, struct json_writer *w) {
  json_end(w, '}');
  event_end(t->out);
}

static int64_t up(int64_t n) { return n > 0 ? n : 0; }

static void usage_write(struct json_writer *w, const struct usage *u) {
  field_object(w, SPAN("usage"));
  field_int(w, SPAN("input_tokens"), up(u->input));
  field_int(w, SPAN("cache_creation_input_tokens"), up(u->cache_write) + up(u->cache_write_1h));
  field_int(w, SPAN("cache_read_input_tokens"), up(u->cache_read));
  field_int(w, SPAN("output_tokens"), up(u->output));
  if (u->reasoning >= 0) {
    field_object(w, SPAN("output_tokens_details"));
    field_int(w, SPAN("thinking_tokens"), u->reasoning);
    json_end(w, '}');
  }
  json_end(w, '}');
}

/* Bedrock says it in messages' own words, which tell more. */
static struct span own_reason(struct json v) {
  static const struct span words[] = { SPAN("end_turn"), SPAN("max_tokens"), SPAN("stop_sequence"), SPAN("tool_use"), SPAN("model_context_window_exceeded") };
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (v.type == JSON_STRING && json_string_is(v, words[i])) return words[i];
  return (struct span){ NULL, 0 };
}

static struct span reason_word(enum finish f, int64_t calls, bool refused) {
  if (refused || f == FINISH_FILTER) return SPAN("refusal");
  if (f == FINISH_LENGTH) return SPAN("max_tokens");
  return f == FINISH_CALLS || calls ? SPAN("tool_use") : SPAN("end_turn");
}

static void message_head(struct translation *t, struct json_writer *w) {
  json_begin(w, '{');
  field_id(w, "msg_", t->names.id);
  field_str(w, SPAN("type"), SPAN("message"));
  field_str(w, SPAN("role"), SPAN("assistant"));
  if (t->model.n) field_quoted(w, SPAN("model"), t->model);
  else field_str(w, SPAN("model"), t->names.model);
}

static void finish_write(struct translation *t, struct json_writer *w, enum finish f) {
  field_str(w, SPAN("stop_reason"), t->reason.n && !t->refused ? t->reason : reason_word(f, t->calls, t->refused));
  if (t->stop.n) field_quoted(w, SPAN("stop_sequence"), t->stop);
  else field_null(w, SPAN("stop_sequence"));
}

/* ---- streams */
void tell_messages_start(struct translation *t) {
  static const struct usage none = { 0 };
  struct json_writer w = event_start(t, SPAN("message_start"));
  t->started = true;
  json_key(&w, SPAN("message"));
  message_head(t, &w);
  field_raw(&w, SPAN("content"), SPAN("[]"));
  field_null(&w, SPAN("stop_reason"));
  field_null(&w, SPAN("stop_sequence"));
  struct usage zero = none;
  zero.reasoning = -1;
  usage_write(&w, &zero);                                /* the counts come with the end */
  json_end(&w, '}');
  event_stop(t, &w);
}

static void block_stop(struct translation *t) {
  if (t->open == OPEN_NONE) return;
  struct json_writer w = event_start(t, SPAN("content_block_stop"));
  field_int(&w, SPAN("index"), t->index++);
  event_stop(t, &w);
  t->open = OPEN_NONE;
}

static void block_start(struct translation *t, int kind, struct span block) {
  block_stop(t);
  struct json_writer w = event_start(t, SPAN("content_block_start"));
  field_int(&w, SPAN("index"), t->index);
  field_raw(&w, SPAN("content_block"), block);
  event_stop(t, &w);
  t->open = kind;
}

static void delta_tell(struct translation *t, struct span type, struct span member, struct span raw) {
  if (!raw.n) return;
  struct json_writer w = event_start(t, SPAN("content_block_delta"));
  field_int(&w, SPAN("index"), t->index);
  field_object(&w, SPAN("delta"));
  field_str(&w, SPAN("type"), type);
  field_quoted(&w, member, raw);
  json_end(&w, '}');
  event_stop(t, &w);
}

/* ---- calls */
static struct span call_id(struct translation *t, struct arena *a, struct span raw, int64_t number) {
  struct span id = { NULL, 0 };
  json_unescape(string_of(a, raw), a, &id);
  return id.n ? id_narrow(a, id) : arena_printf(a, "toolu_%.*s_%lld", SPAN_FMT(t->names.id), (long long)number);
}

static void call_start(struct translation *t, struct call_told *c) {
  struct buf block = { 0 };
  struct json_writer w = { .out = &block };
  struct arena scratch = { 0 };
  json_begin(&w, '{');
  field_str(&w, SPAN("type"), SPAN("tool_use"));
  field_str(&w, SPAN("id"), call_id(t, &scratch, c->id, t->calls));
  field_quoted(&w, SPAN("name"), c->name);
  field_raw(&w, SPAN("input"), SPAN("{}"));
  json_end(&w, '}');
  block_start(t, OPEN_CALL, buf_span(&block));
  buf_free(&block);
  arena_end(&scratch);
  c->open = true;
  t->calls++;
}

static void call_pieces(struct translation *t, struct call_told *c) {
  if (!buf_size(&c->arguments)) return;
  delta_tell(t, SPAN("input_json_delta"), SPAN("partial_json"), span_from(buf_span(&c->arguments), c->sent));
  c->sent = buf_size(&c->arguments);
}

static void custom_close(struct translation *t, struct call_told *c) {
  if (!c->custom || c->closed) return;
  c->closed = true;
  t->waiting += 3;
  buf_add(&c->arguments, SPAN("\\\"}"));
}

static bool call_whole(struct translation *t, const struct call_told *c) {
  struct span plain;
  return said_object(t, buf_span(&c->arguments), &plain);
}

static void call_stop(struct translation *t, struct call_told *c) {
  c->over = true;
  t->waiting -= buf_size(&c->arguments);
  buf_free(&c->arguments);
  block_stop(t);
}

/* Tells what may be told now: the first call that is not over, and those behind it once it is whole. all: nothing more will come for
   any of them; broken: the last may end in the middle, since the answer was cut at its limit. */
static void calls_tell(struct translation *t, bool all, bool broken) {
  for (struct call_told *c = t->told; c && !t->fault; c = c->next) {
    if (c->over) continue;
    if (!c->open && !c->name.n) {
      if (all) said_fault(t, FAULT_INVALID, "the answer calls a tool without a name");
      return;
    }
    if (!c->open) call_start(t, c);
    if (all) custom_close(t, c);
    call_pieces(t, c);
    if (!all && !c->next) return;
    if (call_whole(t, c) && (all || buf_size(&c->arguments))) call_stop(t, c);
    else if (!all) return;
    else if (broken && !c->next) call_stop(t, c);
    else said_fault(t, FAULT_INVALID, "the arguments of a tool call are no JSON object");
  }
}

static struct call_told *call_find(struct translation *t, int64_t call) {
  struct call_told *found = NULL;
  for (struct call_told *c = t->told; c; c = c->next)
    if (c->call == call) found = c;
  return found;
}

/* Some servers number all calls 0: another id is another call. */
static struct call_told *call_of(struct translation *t, const struct said *s) {
  struct call_told *c = call_find(t, s->call);
  struct span id = string_raw(s->id);
  if (c && (c->over || (id.n && c->id.n && !span_eq(id, c->id)))) c = NULL;
  if (c) return c;
  c = arena_zero(&t->arena, sizeof *c);
  c->call = s->call;
  *t->told_end = c;
  t->told_end = &c->next;
  return c;
}

static void call_hear(struct translation *t, const struct said *s) {
  struct call_told *c = call_find(t, s->call);
  if (s->kind == SAID_ARGUMENTS && (!c || c->over)) { said_fault(t, FAULT_PROTOCOL, "arguments of a tool call that was not begun, or is over"); return; }
  if (s->kind == SAID_CALL) c = call_of(t, s);
  if (s->kind == SAID_CALL && string_full(s->id) && !c->id.n) c->id = said_keep(t, string_raw(s->id));
  if (s->kind == SAID_CALL && string_full(s->name) && !c->name.n) c->name = said_keep(t, string_raw(s->name));
  if (s->kind == SAID_CALL && s->custom && !c->custom) {  /* free text has no place of its own here */
    c->custom = true;
    said_lose(t, SPAN("custom"));
    buf_add(&c->arguments, SPAN("{\\\"input\\\":\\\""));
    t->waiting += buf_size(&c->arguments);
  }
  if (s->kind == SAID_ARGUMENTS && s->v.type == JSON_STRING && c->custom) {
    size_t had = buf_size(&c->arguments);
    if (2 * string_raw(s->v).n > said_room(t)) { said_fault(t, FAULT_INVALID, "the answer is larger than max_answer"); return; }
    json_write_escaped(&c->arguments, string_raw(s->v));
    t->waiting += buf_size(&c->arguments) - had;
  } else if (s->kind == SAID_ARGUMENTS && s->v.type == JSON_STRING) {
    struct span piece = string_raw(s->v);
    if (piece.n > said_room(t)) { said_fault(t, FAULT_INVALID, "the answer is larger than max_answer"); return; }
    t->waiting += piece.n;
    buf_add(&c->arguments, piece);
  } else if (s->kind == SAID_ARGUMENTS) {                /* an object in place of a text */
    size_t had = buf_size(&c->arguments);
    json_write_escaped(&c->arguments, s->v.text);
    t->waiting += buf_size(&c->arguments) - had;
  }
  calls_tell(t, false, false);
}

static void text_tell(struct translation *t, const struct said *s) {
  bool thinking = s->kind == SAID_THINKING;
  calls_tell(t, true, false);
  if (t->fault) return;
  if (thinking && t->open != OPEN_THINKING) block_start(t, OPEN_THINKING, SPAN("{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}"));
  if (!thinking && t->open != OPEN_TEXT) block_start(t, OPEN_TEXT, SPAN("{\"type\":\"text\",\"text\":\"\"}"));
  if (thinking) delta_tell(t, SPAN("thinking_delta"), SPAN("thinking"), string_raw(s->v));
  else delta_tell(t, SPAN("text_delta"), SPAN("text"), string_raw(s->v));
}

/* It may be all there is of a thinking block. */
static void signature_tell(struct translation *t, const struct said *s) {
  calls_tell(t, true, false);
  if (t->fault) return;
  if (t->open != OPEN_THINKING) block_start(t, OPEN_THINKING, SPAN("{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}"));
  delta_tell(t, SPAN("signature_delta"), SPAN("signature"), string_raw(s->v));
}

/* An item of responses is over. */
static void break_tell(struct translation *t) {
  struct call_told *last = NULL;
  for (struct call_told *c = t->told; c; c = c->next) last = c;
  if (last && last->custom && !last->over) custom_close(t, last), calls_tell(t, false, false);
  if (t->open == OPEN_TEXT || t->open == OPEN_THINKING) block_stop(t);
}

static void redacted_tell(struct translation *t, struct json data) {
  struct buf block = { 0 };
  calls_tell(t, true, false);
  if (t->fault) return;
  buf_printf(&block, "{\"type\":\"redacted_thinking\",\"data\":%.*s}", SPAN_FMT(data.text));
  block_start(t, OPEN_REDACTED, buf_span(&block));
  block_stop(t);
  buf_free(&block);
}

/* What has no place in the dialect stands under "weir", and is named. */
static void object_keep(struct translation *t, struct citation_told ***end, struct json v) {
  struct citation_told *c = arena_zero(&t->arena, sizeof *c);
  c->object = said_keep(t, v.text);
  if (!c->object.n) return;
  **end = c;
  *end = &c->next;
}

static void objects_write(struct json_writer *w, struct span name, const struct citation_told *list) {
  if (!list) return;
  field_array(w, name);
  for (; list; list = list->next) json_raw(w, list->object);
  json_end(w, ']');
}

static void kept_write(const struct translation *t, struct json_writer *w) {
  if (!t->citations && !t->others) return;
  field_object(w, SPAN("weir"));
  objects_write(w, SPAN("annotations"), t->citations);
  objects_write(w, SPAN("blocks"), t->others);
  json_end(w, '}');
}

static void object_tell(struct translation *t, const struct said *s) {
  if (s->kind == SAID_CITATION) object_keep(t, &t->citations_end, s->v), said_lose(t, SPAN("annotations"));
  else object_keep(t, &t->others_end, s->v), said_lose(t, SPAN("tools"));
}

static void end_tell(struct translation *t) {
  if (!t->finish) { t->ended = false; said_fault(t, FAULT_PROTOCOL, "the stream ended without saying why"); return; }
  struct json_writer w = event_start(t, SPAN("message_delta"));
  field_object(&w, SPAN("delta"));
  finish_write(t, &w, t->finish);
  json_end(&w, '}');
  usage_write(&w, &t->usage);
  kept_write(t, &w);
  event_stop(t, &w);
  w = event_start(t, SPAN("message_stop"));
  event_stop(t, &w);
}

void tell_messages(struct translation *t, const struct said *s) {
  if (t->finish && s->kind < SAID_BREAK) { said_fault(t, FAULT_PROTOCOL, "content after the finish"); return; }
  if (!t->started) tell_messages_start(t);
  switch (s->kind) {
  case SAID_REFUSAL: t->refused = true; text_tell(t, s); break;
  case SAID_TEXT: case SAID_THINKING: text_tell(t, s); break;
  case SAID_CALL: case SAID_ARGUMENTS: call_hear(t, s); break;
  case SAID_FINISH:
    if (t->finish) break;
    calls_tell(t, true, s->finish == FINISH_LENGTH || s->finish == FINISH_FILTER);
    if (t->fault) break;
    block_stop(t);
    t->finish = s->finish;
    t->reason = own_reason(s->v);
    t->stop = said_keep(t, string_raw(s->stop));
    break;
  case SAID_END: end_tell(t); break;
  case SAID_SIGNATURE: signature_tell(t, s); break;
  case SAID_REDACTED: redacted_tell(t, s->v); break;
  case SAID_CITATION: case SAID_OTHER: object_tell(t, s); break;
  case SAID_BREAK: break_tell(t); break;
  }
}

/* ---- whole answers */
static void text_whole(struct translation *t, struct json_writer *w, size_t *i, enum said_kind kind) {
  bool thinking = kind == SAID_THINKING;
  struct buf text = { 0 };
  struct span signature = SPAN("");
  for (; *i < t->all_count && t->all[*i].kind == kind; ++*i) buf_add(&text, string_raw(t->all[*i].v));
  if (thinking && *i < t->all_count && t->all[*i].kind == SAID_SIGNATURE) signature = string_raw(t->all[(*i)++].v);
  json_begin(w, '{');
  field_str(w, SPAN("type"), thinking ? SPAN("thinking") : SPAN("text"));
  field_quoted(w, thinking ? SPAN("thinking") : SPAN("text"), buf_span(&text));
  if (thinking) field_quoted(w, SPAN("signature"), signature);
  else field_null(w, SPAN("citations"));
  json_end(w, '}');
  buf_free(&text);
}

static void call_write(struct translation *t, struct json_writer *w, size_t *i) {
  const struct said *s = &t->all[(*i)++];
  struct span input = SPAN("{}");
  struct arena scratch = { 0 };
  if (s->custom) {
    struct json v = *i < t->all_count && t->all[*i].kind == SAID_ARGUMENTS ? t->all[(*i)++].v : json_absent;
    input = arena_printf(&t->arena, "{\"input\":\"%.*s\"}", SPAN_FMT(string_raw(v)));
    said_lose(t, SPAN("custom"));
  } else if (*i < t->all_count && t->all[*i].kind == SAID_ARGUMENTS) {
    struct json v = t->all[(*i)++].v;
    if (v.type == JSON_OBJECT) input = v.text;
    else if (!said_object(t, string_raw(v), &input)) said_fault(t, FAULT_INVALID, "the arguments of a tool call are no JSON object");
  }
  if (!string_full(s->name)) said_fault(t, FAULT_INVALID, "the answer calls a tool without a name");
  json_begin(w, '{');
  field_str(w, SPAN("type"), SPAN("tool_use"));
  field_str(w, SPAN("id"), call_id(t, &scratch, string_raw(s->id), t->calls++));
  field_quoted(w, SPAN("name"), string_raw(s->name));
  field_raw(w, SPAN("input"), input);
  json_end(w, '}');
  arena_end(&scratch);
}

static void redacted_whole(struct json_writer *w, struct json data) {
  json_begin(w, '{');
  field_str(w, SPAN("type"), SPAN("redacted_thinking"));
  field_raw(w, SPAN("data"), data.text);
  json_end(w, '}');
}

void tell_messages_whole(struct translation *t) {
  struct json_writer w = { .out = t->out };
  enum finish finish = FINISH_STOP;
  message_head(t, &w);
  field_array(&w, SPAN("content"));
  for (size_t i = 0; i < t->all_count;) {
    switch (t->all[i].kind) {
    case SAID_REFUSAL: t->refused = true; text_whole(t, &w, &i, SAID_REFUSAL); break;
    case SAID_SIGNATURE: text_whole(t, &w, &i, SAID_THINKING); break;    /* without a text of its own */
    case SAID_TEXT: case SAID_THINKING: text_whole(t, &w, &i, t->all[i].kind); break;
    case SAID_REDACTED: redacted_whole(&w, t->all[i++].v); break;
    case SAID_CALL: call_write(t, &w, &i); break;
    case SAID_FINISH:
      finish = t->all[i].finish;
      t->reason = own_reason(t->all[i].v), t->stop = string_raw(t->all[i++].stop);
      break;
    case SAID_CITATION: case SAID_OTHER: object_tell(t, &t->all[i++]); break;
    default: i++; break;
    }
  }
  json_end(&w, ']');
  finish_write(t, &w, finish);
  usage_write(&w, &t->usage);
  kept_write(t, &w);
  json_end(&w, '}');
}
