/* said_responses.c: answers of the responses dialect, heard. A response is a list of items, which may be open at once and tell
   everything again when they end; here each thing is said once, and item after item. */
#include "said.h"

static bool is(struct json v, const char *word) { return v.type == JSON_STRING && json_string_is(v, span_cstr(word)); }

enum { ITEMS_MOST = 8192 };           /* of a stream: each event looks for its own */

/* ---- items */
/* Keeps what is said until the item's turn comes. */
static void item_wait(struct translation *t, struct heard_item *i, const struct said *s) {
  struct said kept = *s;
  if (sizeof kept > said_room(t)) { said_fault(t, FAULT_INVALID, "the answer is larger than max_answer"); return; }
  if (i->count == i->cap) {
    i->cap = i->cap ? 2 * i->cap : 16;
    i->waiting = mem_grow(i->waiting, i->cap * sizeof kept);
  }
  t->waiting += sizeof kept;
  struct json *parts[] = { &kept.v, &kept.id, &kept.name, &kept.logprobs };
  for (size_t n = 0; n < sizeof parts / sizeof *parts; n++)
    if (parts[n]->type != JSON_NONE) parts[n]->text = said_keep(t, parts[n]->text);
  if (!t->fault) i->waiting[i->count++] = kept;
}

static void say(struct translation *t, struct heard_item *i, const struct said *s) {
  if (i == t->front || t->whole) said(t, s);
  else if (!t->fault) item_wait(t, i, s);
}

static void queue_say(struct translation *t, struct heard_item *i) {
  for (size_t n = 0; n < i->count; n++) said(t, &i->waiting[n]);
  mem_free(i->waiting);
  i->waiting = NULL;
  i->count = i->cap = 0;
}

/* The next item that is not over says what has waited. */
static void advance(struct translation *t) {
  while (t->front && t->front->over) {
    t->front = t->front->next;
    if (t->front) queue_say(t, t->front);
  }
}

static int64_t index_of(struct json data, const char *name) {
  int64_t n = json_count(json_in(data, span_cstr(name)));
  return n < 0 ? 0 : n;
}

static struct heard_item *item_at(struct translation *t, int64_t index) {
  struct heard_item *found = NULL;
  for (struct heard_item *i = t->items; i; i = i->next)
    if (i->index == index) found = i;
  return found;
}

static struct heard_item *item_new(struct translation *t, int64_t index, int kind) {
  struct heard_item *i = arena_zero(&t->arena, sizeof *i);
  if (sizeof *i > said_room(t) || (!t->whole && ++t->item_count > ITEMS_MOST)) said_fault(t, FAULT_INVALID, "the answer is larger than max_answer");
  else t->waiting += sizeof *i;
  *i = (struct heard_item){ .index = index, .kind = kind };
  *t->items_end = i;
  t->items_end = &i->next;
  if (!t->front) t->front = i;
  return i;
}

static int kind_of(struct json item) {
  struct json type = json_in(item, SPAN("type"));
  if (is(type, "message")) return ITEM_MESSAGE;
  if (is(type, "reasoning")) return ITEM_REASONING;
  if (is(type, "function_call")) return ITEM_CALL;
  return is(type, "custom_tool_call") ? ITEM_CUSTOM : ITEM_OTHER;
}

static struct heard_item *item_begin(struct translation *t, int64_t index, struct json item) {
  struct heard_item *i = item_new(t, index, kind_of(item));
  i->id = said_keep(t, string_raw(json_in(item, SPAN("id"))));
  if (string_full(json_in(item, SPAN("phase")))) said_lose(t, SPAN("phase"));
  if (i->kind != ITEM_CALL && i->kind != ITEM_CUSTOM) return i;
  struct json id = json_in(item, SPAN("call_id"));
  i->call = t->heard_calls++;
  say(t, i, &(struct said){ .kind = SAID_CALL, .call = i->call, .id = string_full(id) ? id : json_in(item, SPAN("id")), .name = json_in(item, SPAN("name")),
                            .custom = i->kind == ITEM_CUSTOM });
  return i;
}

/* ---- what stands in them */
static uint64_t bit(int64_t part) { return (uint64_t)1 << (part < 63 ? part : 63); }

static void text_say(struct translation *t, struct heard_item *i, int64_t part, enum said_kind kind, struct json text, struct json logprobs) {
  if (!string_full(text)) return;
  if (i->texts && i->part != part) say(t, i, &(struct said){ .kind = SAID_BREAK });
  i->texts |= bit(part);
  i->part = part;
  if (logprobs.type != JSON_ARRAY || json_iter(logprobs).at == json_iter(logprobs).end) logprobs = json_absent;
  say(t, i, &(struct said){ .kind = kind, .v = text, .logprobs = logprobs });
}

/* Summaries stand apart by an empty line. */
static void thought_say(struct translation *t, struct heard_item *i, uint64_t part, struct json text) {
  static const struct json apart = { JSON_STRING, { "\"\\n\\n\"", 6 } };
  if (!string_full(text)) return;
  if (i->thought && !(i->summaries & part)) say(t, i, &(struct said){ .kind = SAID_THINKING, .v = apart });
  i->thought = true;
  i->summaries |= part;
  say(t, i, &(struct said){ .kind = SAID_THINKING, .v = text });
}

static void arguments_say(struct translation *t, struct heard_item *i, struct json text) {
  if (!string_full(text) || (i->kind != ITEM_CALL && i->kind != ITEM_CUSTOM)) return;
  i->argued = true;
  say(t, i, &(struct said){ .kind = SAID_ARGUMENTS, .call = i->call, .v = text });
}

static void notes_say(struct translation *t, struct heard_item *i, int64_t part, struct json notes) {
  struct json_iter n = json_iter(notes);
  struct json key, note;
  while (notes.type == JSON_ARRAY && !(i->notes & bit(part)) && json_next(&n, &key, &note))
    if (note.type == JSON_OBJECT) say(t, i, &(struct said){ .kind = SAID_CITATION, .v = note });
  i->notes |= bit(part);
}

/* A part as it stands whole: what of it has not been said yet. */
static void part_say(struct translation *t, struct heard_item *i, int64_t at, struct json part) {
  struct json type = json_in(part, SPAN("type"));
  bool known = is(type, "output_text") || is(type, "refusal");
  if (!known && type.type == JSON_STRING) said_lose(t, SPAN("audio"));
  if (i->texts & bit(at)) {
    notes_say(t, i, at, json_in(part, SPAN("annotations")));
  } else if (is(type, "refusal")) {
    text_say(t, i, at, SAID_REFUSAL, json_in(part, SPAN("refusal")), json_absent);
  } else if (known) {
    text_say(t, i, at, SAID_TEXT, json_in(part, SPAN("text")), json_in(part, SPAN("logprobs")));
    notes_say(t, i, at, json_in(part, SPAN("annotations")));
  }
}

static void parts_say(struct translation *t, struct heard_item *i, struct json parts) {
  struct json_iter n = json_iter(parts);
  struct json key, part;
  for (int64_t at = 0; parts.type == JSON_ARRAY && json_next(&n, &key, &part); at++) part_say(t, i, at, part);
}

enum { RAW_THOUGHTS = 32 };           /* bits of summaries from here on are of reasoning that is told itself */
static uint64_t thought_bit(int64_t part, bool raw) { return bit((part < RAW_THOUGHTS ? part : RAW_THOUGHTS - 1) + (raw ? RAW_THOUGHTS : 0)); }

static void thoughts_say(struct translation *t, struct heard_item *i, struct json list, bool raw) {
  struct json_iter n = json_iter(list);
  struct json key, part;
  for (int64_t at = 0; list.type == JSON_ARRAY && json_next(&n, &key, &part); at++)
    if (!(i->summaries & thought_bit(at, raw))) thought_say(t, i, thought_bit(at, raw), json_in(part, SPAN("text")));
}

/* What takes the reasoning home: the item's id and its content, which nobody else can read. */
static void sealed_say(struct translation *t, struct heard_item *i, struct json item) {
  struct span id = string_raw(json_in(item, SPAN("id"))), content = string_raw(json_in(item, SPAN("encrypted_content")));
  if (!content.n || !id.n) return;
  struct span string = arena_printf(&t->arena, "\"%.*s:%.*s\"", SPAN_FMT(id), SPAN_FMT(content));
  say(t, i, &(struct said){ .kind = i->thought ? SAID_SIGNATURE : SAID_REDACTED, .v = { JSON_STRING, string } });
}

static void item_end(struct translation *t, struct heard_item *i, struct json item) {
  if (i->over) return;
  if (i->kind == ITEM_MESSAGE) {
    parts_say(t, i, json_in(item, SPAN("content")));
  } else if (i->kind == ITEM_REASONING) {
    thoughts_say(t, i, json_in(item, SPAN("summary")), false);
    thoughts_say(t, i, json_in(item, SPAN("content")), true);
    sealed_say(t, i, item);
  } else if (i->kind == ITEM_OTHER) {
    if (item.type == JSON_OBJECT) say(t, i, &(struct said){ .kind = SAID_OTHER, .v = item });
  } else if (!i->argued) {
    arguments_say(t, i, json_in(item, i->kind == ITEM_CUSTOM ? SPAN("input") : SPAN("arguments")));
  }
  say(t, i, &(struct said){ .kind = SAID_BREAK });
  i->over = true;
  if (i == t->front) advance(t);
}

/* ---- the response */
/* Items that a server keeps for itself have places in the stream and none in the response, so the id says which one it is. */
static struct heard_item *item_named(struct translation *t, struct json item, int64_t at) {
  struct span id = string_raw(json_in(item, SPAN("id")));
  for (struct heard_item *i = t->items; i; i = i->next)
    if (id.n && span_eq(i->id, id)) return i;
  struct heard_item *there = item_at(t, at);
  return there && (!id.n || !there->id.n) ? there : NULL;
}

static int64_t length_of(struct json list) {
  struct json_iter n = json_iter(list);
  struct json key, item;
  int64_t count = 0;
  while (list.type == JSON_ARRAY && json_next(&n, &key, &item)) count++;
  return count;
}

/* What the response holds beside what has been heard: all of it, from servers that tell it here alone. */
static void output_say(struct translation *t, struct json output) {
  struct json_iter n = json_iter(output);
  struct json key, item;
  int64_t unheard = length_of(output);
  for (struct heard_item *i = t->items; i; i = i->next) unheard--;
  for (int64_t at = 0; output.type == JSON_ARRAY && json_next(&n, &key, &item); at++) {
    struct heard_item *i = t->whole ? NULL : item_named(t, item, at);
    if (!i && item.type == JSON_OBJECT && (t->whole || unheard-- > 0)) i = item_begin(t, at, item);
    if (i) item_end(t, i, item);
  }
}

static void finish_say(struct translation *t, struct json response) {
  struct json reason = json_under(response, "incomplete_details.reason");
  struct said s = { .kind = SAID_FINISH, .finish = t->heard_calls ? FINISH_CALLS : FINISH_STOP };
  if (is(reason, "max_output_tokens")) s.finish = FINISH_LENGTH;
  else if (is(reason, "content_filter")) s.finish = FINISH_FILTER;
  else if (string_full(reason)) s.v = reason;            /* a word of its own */
  else if (is(json_in(response, SPAN("status")), "incomplete")) s.finish = FINISH_LENGTH;
  said(t, &s);
}

static void end_hear(struct translation *t, struct json response) {
  if (t->ended) return;
  said_model(t, json_in(response, SPAN("model")));
  said_usage(t, DIALECT_RESPONSES, json_in(response, SPAN("usage")));
  output_say(t, json_in(response, SPAN("output")));
  for (struct heard_item *i = t->items; i; i = i->next) item_end(t, i, json_absent);     /* those that the server forgot to end */
  finish_say(t, response);
  said(t, &(struct said){ .kind = SAID_END });
}

/* ---- events */
enum event { HEAR_NOTHING, HEAR_START, HEAR_END, HEAR_ITEM, HEAR_ITEM_END, HEAR_TEXT, HEAR_TEXT_END, HEAR_REFUSAL, HEAR_REFUSAL_END, HEAR_SUMMARY, HEAR_SUMMARY_END,
             HEAR_THOUGHT, HEAR_THOUGHT_END, HEAR_INPUT, HEAR_ARGUMENTS_END, HEAR_INPUT_END, HEAR_NOTE, HEAR_PART_END };

static enum event event_of(struct span type) {
  static const struct { struct span type; enum event event; } events[] = {
    { SPAN("response.created"), HEAR_START }, { SPAN("response.in_progress"), HEAR_START },
    { SPAN("response.completed"), HEAR_END }, { SPAN("response.incomplete"), HEAR_END },
    { SPAN("response.output_item.added"), HEAR_ITEM }, { SPAN("response.output_item.done"), HEAR_ITEM_END },
    { SPAN("response.output_text.delta"), HEAR_TEXT }, { SPAN("response.output_text.done"), HEAR_TEXT_END },
    { SPAN("response.refusal.delta"), HEAR_REFUSAL }, { SPAN("response.refusal.done"), HEAR_REFUSAL_END },
    { SPAN("response.reasoning_summary_text.delta"), HEAR_SUMMARY }, { SPAN("response.reasoning_summary_text.done"), HEAR_SUMMARY_END },
    { SPAN("response.reasoning_text.delta"), HEAR_THOUGHT }, { SPAN("response.reasoning_text.done"), HEAR_THOUGHT_END },
    { SPAN("response.function_call_arguments.delta"), HEAR_INPUT }, { SPAN("response.function_call_arguments.done"), HEAR_ARGUMENTS_END },
    { SPAN("response.custom_tool_call_input.delta"), HEAR_INPUT }, { SPAN("response.custom_tool_call_input.done"), HEAR_INPUT_END },
    { SPAN("response.output_text.annotation.added"), HEAR_NOTE }, { SPAN("response.content_part.done"), HEAR_PART_END },
  };
  for (size_t i = 0; i < sizeof events / sizeof *events; i++)
    if (span_eq(type, events[i].type)) return events[i].event;
  return HEAR_NOTHING;
}

/* Some servers leave out the events that open an item. */
static struct heard_item *item_of(struct translation *t, struct json data, enum event e) {
  struct heard_item *i = item_at(t, index_of(data, "output_index"));
  if (i && !i->over) return i;
  if (e == HEAR_TEXT || e == HEAR_REFUSAL) return item_new(t, index_of(data, "output_index"), ITEM_MESSAGE);
  return e == HEAR_SUMMARY || e == HEAR_THOUGHT ? item_new(t, index_of(data, "output_index"), ITEM_REASONING) : NULL;
}

static void item_hear(struct translation *t, enum event e, struct json data) {
  struct heard_item *i = item_of(t, data, e);
  struct json delta = json_in(data, SPAN("delta"));
  int64_t part = index_of(data, "content_index"), summary = index_of(data, "summary_index");
  if (!i) return;
  switch (e) {
  case HEAR_TEXT: text_say(t, i, part, SAID_TEXT, delta, json_in(data, SPAN("logprobs"))); break;
  case HEAR_REFUSAL: text_say(t, i, part, SAID_REFUSAL, delta, json_absent); break;
  case HEAR_TEXT_END: if (!(i->texts & bit(part))) text_say(t, i, part, SAID_TEXT, json_in(data, SPAN("text")), json_in(data, SPAN("logprobs"))); break;
  case HEAR_REFUSAL_END: if (!(i->texts & bit(part))) text_say(t, i, part, SAID_REFUSAL, json_in(data, SPAN("refusal")), json_absent); break;
  case HEAR_SUMMARY: thought_say(t, i, thought_bit(summary, false), delta); break;
  case HEAR_THOUGHT: thought_say(t, i, thought_bit(part, true), delta); break;
  case HEAR_SUMMARY_END: if (!(i->summaries & thought_bit(summary, false))) thought_say(t, i, thought_bit(summary, false), json_in(data, SPAN("text"))); break;
  case HEAR_THOUGHT_END: if (!(i->summaries & thought_bit(part, true))) thought_say(t, i, thought_bit(part, true), json_in(data, SPAN("text"))); break;
  case HEAR_INPUT: arguments_say(t, i, delta); break;
  case HEAR_ARGUMENTS_END: if (!i->argued) arguments_say(t, i, json_in(data, SPAN("arguments"))); break;
  case HEAR_INPUT_END: if (!i->argued) arguments_say(t, i, json_in(data, SPAN("input"))); break;
  case HEAR_NOTE:
    i->notes |= bit(part);
    if (json_in(data, SPAN("annotation")).type == JSON_OBJECT) say(t, i, &(struct said){ .kind = SAID_CITATION, .v = json_in(data, SPAN("annotation")) });
    break;
  case HEAR_PART_END: part_say(t, i, part, json_in(data, SPAN("part"))); break;
  case HEAR_ITEM_END: item_end(t, i, json_in(data, SPAN("item"))); break;
  default: break;
  }
}

void hear_responses(struct translation *t, struct span name, struct json data) {
  struct json type = json_in(data, SPAN("type"));
  enum event e = event_of(string_full(type) ? string_raw(type) : name);
  if (t->ended) return;
  switch (e) {
  case HEAR_NOTHING: break;
  case HEAR_START:
    said_model(t, json_under(data, "response.model"));
    said_start(t);
    break;
  case HEAR_END: end_hear(t, json_in(data, SPAN("response"))); break;
  case HEAR_ITEM: {
    struct json item = json_in(data, SPAN("item"));
    struct heard_item *i = item_begin(t, index_of(data, "output_index"), item);
    if (string_full(json_in(item, SPAN("arguments")))) arguments_say(t, i, json_in(item, SPAN("arguments")));
    break;
  }
  default: item_hear(t, e, data);
  }
}

void hear_responses_whole(struct translation *t, struct json document) {
  struct json status = json_in(document, SPAN("status"));
  if (is(status, "queued") || is(status, "in_progress")) { said_fault(t, FAULT_INVALID, "the answer is not there yet: it was begun in the background"); return; }
  end_hear(t, document);
}
