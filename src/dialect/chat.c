/* chat.c: OpenAI chat completions, its older sibling completions, embeddings, and what the many
   compatible servers make of them. */
#include "dialect_impl.h"

static const char *const overflow[] = {
  "maximum context length", "context length", "context_length", "context window", "context size", "prompt is too long",
  "input is too long", "maximum prompt length", "reduce the length of the messages", "reduce your prompt",
  "range of input length should be", "maximum number of tokens allowed", "exceeds the maximum number of input tokens",
  "input token count", "longer than the maximum model length", NULL,
};

static enum fault chat_silence(struct span finish) {
  if (span_eq(finish, SPAN("content_filter"))) return FAULT_CONTENT_FILTERED;
  if (span_eq(finish, SPAN("refusal"))) return FAULT_REFUSED;
  if (span_eq(finish, SPAN("insufficient_system_resource")) || span_eq(finish, SPAN("error"))) return FAULT_OVERLOADED;
  return FAULT_EMPTY;
}

static bool media_type(struct span type) {
  static const struct span media[] = { SPAN("image_url"),    SPAN("image"),     SPAN("audio"),
                                       SPAN("output_audio"), SPAN("video_url"), SPAN("file") };
  for (size_t i = 0; i < sizeof media / sizeof *media; i++)
    if (span_eq(type, media[i])) return true;
  return false;
}

/* Every text in a part, in the order it stands there: a change of several is spliced from left to right. */
static void part_texts(struct pieces *p, enum delta_kind kind, int choice, struct json part) {
  struct json_iter i = json_iter(part);
  struct json key, item;
  if (part.type != JSON_OBJECT) return;
  while (json_next(&i, &key, &item)) {
    if (item.type != JSON_STRING || json_string_is(key, SPAN("type"))) continue;
    if (json_string_is(key, SPAN("text")) || json_string_is(key, SPAN("refusal")) ||
        json_string_is(key, SPAN("summary")) || json_string_is(key, SPAN("thinking")))
      piece_text(p, kind, choice, item);
  }
}

/* Mistral's reasoning models send content as an array of typed parts; thinking parts hold text parts again. */
static void parts_read(struct pieces *p, int choice, struct json parts) {
  struct json_iter i = json_iter(parts), inner;
  struct json key, part, item;
  while (json_next(&i, &key, &part)) {
    if (part.type == JSON_STRING) piece_text(p, DELTA_TEXT, choice, part);
    if (part.type != JSON_OBJECT) continue;
    struct span type = string_raw(json_in(part, SPAN("type")));
    struct json thinking = json_in(part, SPAN("thinking"));
    if (media_type(type)) {
      p->real = true;
    } else if (thinking.type == JSON_ARRAY) {
      for (inner = json_iter(thinking); json_next(&inner, &key, &item);) part_texts(p, DELTA_THINKING, choice, item);
    } else {
      part_texts(p, span_eq(type, SPAN("thinking")) ? DELTA_THINKING : DELTA_TEXT, choice, part);
    }
  }
}

static void tools_read(struct pieces *p, int choice, struct json calls) {
  struct json_iter i = json_iter(calls);
  struct json key, call;
  for (int place = 0; json_next(&i, &key, &call); place++) {
    int64_t index = json_count(json_in(call, SPAN("index")));
    struct json function = json_in(call, SPAN("function")), custom = json_in(call, SPAN("custom"));
    bool is_custom = function.type != JSON_OBJECT && custom.type == JSON_OBJECT;
    struct json about = is_custom ? custom : function;
    piece_tool(p, choice, index < 0 || index > INT32_MAX ? place : (int)index, json_in(call, SPAN("id")),
               json_in(about, SPAN("name")), json_in(about, is_custom ? SPAN("input") : SPAN("arguments")));
  }
}

/* Thinking is often told twice: as reasoning_content or reasoning, and again in OpenRouter's reasoning_details or
   LiteLLM's thinking_blocks. The plain string is the one that counts. */
static bool details_read(struct pieces *p, int choice, const struct json_pull *message, struct json details) {
  struct json_pull ahead = *message;
  struct json whole = pull_value(&ahead), key, item;
  struct json_iter i = json_iter(details);
  size_t before = p->content;
  if (string_full(json_in(whole, SPAN("reasoning"))) || string_full(json_in(whole, SPAN("reasoning_content"))))
    return false;
  if (details.type != JSON_ARRAY) return false;
  while (json_next(&i, &key, &item)) part_texts(p, DELTA_THINKING, choice, item);
  return p->content > before;
}

static bool any_item(struct json array) {
  struct json_pull p;
  if (array.type != JSON_ARRAY) return false;
  pull_begin(&p, array.text);
  return pull_enter(&p);
}

/* One member of a delta, or of the message of a whole answer: the same stand in both. `message` stands where the
   object starts. */
static void member_read(struct pieces *p, int choice, const struct json_pull *message, struct json key, struct json item,
                        bool *thought) {
  char room[64];
again:
  if (key_is(key, SPAN("content"))) {
    if (item.type == JSON_ARRAY) parts_read(p, choice, item);
    else piece_text(p, DELTA_TEXT, choice, item);
  } else if (key_is(key, SPAN("role"))) {
    return;
  } else if (key_is(key, SPAN("reasoning_content")) || key_is(key, SPAN("reasoning"))) {
    if (!*thought) piece_text(p, DELTA_THINKING, choice, item);
    *thought |= string_full(item);
  } else if (key_is(key, SPAN("tool_calls"))) {
    tools_read(p, choice, item);
  } else if (key_is(key, SPAN("refusal"))) {
    piece_text(p, DELTA_TEXT, choice, item);
  } else if (key_is(key, SPAN("reasoning_details")) || key_is(key, SPAN("thinking_blocks"))) {
    if (!*thought) *thought = details_read(p, choice, message, item);
  } else if (key_is(key, SPAN("function_call"))) {
    piece_tool(p, choice, 0, json_absent, json_in(item, SPAN("name")), json_in(item, SPAN("arguments")));
  } else if (key_is(key, SPAN("audio"))) {
    if (string_full(json_in(item, SPAN("data")))) p->real = true;
    piece_text(p, DELTA_TEXT, choice, json_in(item, SPAN("transcript")));
  } else if (key_is(key, SPAN("images"))) {
    p->real |= any_item(item);
  } else if (key_escaped(key)) {
    key = key_plain(key, room);
    if (!key_escaped(key)) goto again;
  }
}

/* The object that comes next. */
static void message_read(struct pieces *p, int choice, struct json_pull *pull) {
  const struct json_pull message = *pull;
  bool thought = false;
  for (bool on = pull_enter(pull); on; on = pull_more(pull, '}')) {
    struct json key = pull_key(pull), item = pull_value(pull);
    if (item.type > JSON_NULL) member_read(p, choice, &message, key, item, &thought);
  }
}

static void state_choice(struct event_state *s, int choice, bool finished) {
  if (choice >= EVENT_OPEN_CHOICES) return;
  uint64_t bit = (uint64_t)1 << (choice % 64), *word = &s->choices[choice / 64];
  *word = finished ? *word & ~bit : *word | bit;
}

/* The index may stand behind the delta: the pieces of the choice get it when it is known. */
static void pieces_renumber(struct pieces *p, size_t from, int choice) {
  for (size_t i = from; p->out && i < p->count && i < DELTA_MOST; i++) p->out[i].choice = choice;
}

struct choice { int number; struct json finish; };

static void choice_member(struct pieces *p, bool completions, struct choice *c, struct json key, struct json_pull *pull) {
  char room[64];
again:
  if (key_is(key, SPAN("delta")) || key_is(key, SPAN("message"))) {
    if (!completions && pull_is(pull, '{')) {
      message_read(p, c->number, pull);
      return;
    }
  } else if (key_is(key, SPAN("index"))) {
    int64_t index = json_count(pull_value(pull));
    if (index >= 0 && index <= INT32_MAX) c->number = (int)index;
    return;
  } else if (key_is(key, SPAN("finish_reason"))) {
    c->finish = pull_value(pull);
    return;
  } else if (key_is(key, SPAN("text")) && completions) {
    piece_text(p, DELTA_TEXT, c->number, pull_value(pull));
    return;
  } else if (key_escaped(key)) {
    key = key_plain(key, room);
    if (!key_escaped(key)) goto again;
  }
  pull_value(pull);
}

static void choice_read(struct pieces *p, struct event_state *s, bool completions, int place, struct json_pull *pull) {
  struct choice c = { place, json_absent };
  size_t from = p->count;
  for (bool on = pull_enter(pull); on; on = pull_more(pull, '}')) {
    struct json key = pull_key(pull);
    choice_member(p, completions, &c, key, pull);
  }
  if (c.number != place) pieces_renumber(p, from, c.number);
  bool ended = string_full(c.finish);
  if (ended) piece_finish(p, c.number, string_raw(c.finish));
  if (s) state_choice(s, c.number, ended);
}

/* The array that comes next. */
static void choices_pull(struct pieces *p, struct event_state *s, const struct operation_info *o, struct json_pull *pull) {
  struct json_pull own = *pull;
  bool on = pull_enter(&own);
  for (int place = 0; on; on = pull_more(&own, ']'), place++)
    if (pull_is(&own, '{')) choice_read(p, s, o->operation == OP_COMPLETIONS, place, &own);
    else pull_value(&own);
  *pull = own;
}

static void choices_read(struct pieces *p, struct event_state *s, const struct operation_info *o, struct json choices) {
  struct json_pull pull;
  if (choices.type != JSON_ARRAY) return;
  pull_begin(&pull, choices.text);
  choices_pull(p, s, o, &pull);
}

static const struct usage_names usage_names = { SPAN("prompt_tokens"), SPAN("prompt_tokens_details"),
                                                SPAN("completion_tokens"), SPAN("completion_tokens_details") };

static void chat_usage(struct json usage, struct usage *out) { usage_read_openai(usage, &usage_names, out); }

/* The top level members of a chunk or an answer that mean something. */
struct chat_members { struct json choices, usage, error, model, groq, object, data, tier; };

static void members_none(struct chat_members *m) {
  m->choices.type = m->usage.type = m->error.type = m->model.type = JSON_NONE;
  m->groq.type = m->object.type = m->data.type = m->tier.type = JSON_NONE;
}

static void member_sort_escaped(struct chat_members *m, const struct json_member *member);

PULL_INLINE void member_sort(struct chat_members *m, const struct json_member *member) {
  switch (member->key.text.n) {
  case sizeof "\"data\"" - 1:
    if (key_is(member->key, SPAN("data"))) m->data = member->value;
    return;
  case sizeof "\"usage\"" - 1:
    if (key_is(member->key, SPAN("usage"))) m->usage = member->value;
    else if (key_is(member->key, SPAN("model"))) m->model = member->value;
    else if (key_is(member->key, SPAN("error"))) m->error = member->value;
    return;
  case sizeof "\"object\"" - 1:
    if (key_is(member->key, SPAN("object"))) m->object = member->value;
    else if (key_is(member->key, SPAN("x_groq"))) m->groq = member->value;
    return;
  case sizeof "\"choices\"" - 1:
    if (key_is(member->key, SPAN("choices"))) m->choices = member->value;
    return;
  case sizeof "\"service_tier\"" - 1:
    if (key_is(member->key, SPAN("service_tier"))) m->tier = member->value;
    break;
  }
  if (key_escaped(member->key)) member_sort_escaped(m, member);
}

static void member_sort_escaped(struct chat_members *m, const struct json_member *member) {
  char room[64];
  struct json_member plain = { key_plain(member->key, room), member->value };
  if (!key_escaped(plain.key)) member_sort(m, &plain);
}

static void members_of(struct json document, struct chat_members *m) {
  struct json_iter i = json_iter(document);
  struct json_member member;
  members_none(m);
  if (document.type != JSON_OBJECT) return;
  while (json_next(&i, &member.key, &member.value)) member_sort(m, &member);
  if (m->usage.type != JSON_OBJECT) m->usage = json_in(m->groq, SPAN("usage"));
}

/* {"object":"error",…} is how older vLLM and Mistral say it. */
static bool flat_error(const struct chat_members *m) {
  return m->choices.type == JSON_NONE && json_string_is(m->object, SPAN("error"));
}

/* What a chunk carries only because usage was asked for. The member goes with the comma before it, or as the first one with the one
   behind it: what is left is the chunk as it is without. */
static void usage_traces(struct reading *r, const struct chat_members *m) {
  if (m->usage.type == JSON_OBJECT) {
    r->out->usage_only = m->choices.type == JSON_ARRAY && !any_item(m->choices);
    return;
  }
  for (size_t i = 0; i < r->count; i++) {
    if (r->members[i].value.text.p != m->usage.text.p) continue;
    const char *from = i ? r->members[i - 1].value.text.p + r->members[i - 1].value.text.n : r->members[i].key.text.p;
    const char *to = i || r->count == 1 ? m->usage.text.p + m->usage.text.n : r->members[1].key.text.p;
    r->out->usage_null = span_of(from, (size_t)(to - from));
  }
}

static void chat_inside(struct reading *r, struct json_pull *value, struct pieces *p) {
  choices_pull(p, r->state, r->operation, value);
}

static void chat_event(struct reading *r, struct pieces *p) {
  struct chat_members m;
  struct json document = { JSON_OBJECT, r->data };
  members_none(&m);
  for (size_t i = 0; i < r->count; i++) member_sort(&m, &r->members[i]);
  if (json_truthy(m.error) || flat_error(&m) || span_eq(r->name, SPAN("error"))) {
    memcpy(r->state->choices, r->choices, sizeof r->choices);
    pieces_forget(p);
    event_fail(DIALECT_CHAT, document, r->out);
    return;
  }
  if (!r->inside) choices_read(p, r->state, r->operation, m.choices);
  if (m.usage.type == JSON_OBJECT || m.usage.type == JSON_NULL) usage_traces(r, &m);
  if (m.usage.type != JSON_OBJECT && m.groq.type == JSON_OBJECT) m.usage = json_in(m.groq, SPAN("usage"));
  if (m.usage.type == JSON_OBJECT) {
    r->out->has_usage = true;
    chat_usage(m.usage, &r->out->usage);
    usage_tier(m.tier, &r->out->usage);
  }
  r->out->model = string_raw(m.model);
  if (!p->finish.n) return;
  r->state->finished = true;
  if (span_eq(p->finish, SPAN("error"))) {         /* Mistral, OpenRouter: generation failed */
    r->out->class = EVENT_ERROR;
    r->out->fault = FAULT_OVERLOADED;
    r->out->code = p->finish;
    return;
  }
  r->out->class = EVENT_FINISH;
  r->out->finish = p->finish;
  r->out->fault = chat_silence(p->finish);
}

static void chat_pieces(const struct operation_info *o, struct span name, struct json data, struct pieces *p) {
  struct chat_members m;
  struct usage usage;
  members_of(data, &m);
  if (json_truthy(m.error) || flat_error(&m) || span_eq(name, SPAN("error"))) return;
  choices_read(p, NULL, o, m.choices);
  if (m.usage.type != JSON_OBJECT) return;
  chat_usage(m.usage, &usage);
  piece_usage(p, &usage);
}

/* What the members say but for the choices, which have been read. */
static void parts_of(const struct operation_info *o, const struct chat_members *m, struct json document,
                     struct answer_parts *parts, struct pieces *p) {
  parts->usage = m->usage;
  parts->tier = m->tier;
  parts->model = m->model;
  if (json_truthy(m->error) || flat_error(m)) parts->error = document;
  if (o->operation == OP_EMBEDDINGS) {
    parts->shaped = m->data.type == JSON_ARRAY;
    p->real = any_item(m->data);
    return;
  }
  parts->shaped = m->choices.type == JSON_ARRAY;
  parts->pending = !parts->shaped && string_full(json_in(document, SPAN("request_id")));   /* xAI's deferred */
}

static void chat_answer(const struct operation_info *o, struct json document, struct answer_parts *parts,
                        struct pieces *p) {
  struct chat_members m;
  members_of(document, &m);
  if (o->operation != OP_EMBEDDINGS) choices_read(p, NULL, o, m.choices);
  parts_of(o, &m, document, parts, p);
}

/* Reads the value of that key on the way, when it is one to be read so: *value is where it stands. */
static bool whole_member(const struct operation_info *o, struct json key, struct json_pull *pull, struct answer_parts *parts,
                         struct pieces *p, struct json *value) {
  struct json_pull own = *pull;
  if (key_is(key, SPAN("choices")) && pull_is(pull, '[') && o->operation != OP_EMBEDDINGS) {
    pieces_forget(p);
    choices_pull(p, NULL, o, &own);
  } else if (key_is(key, SPAN("usage")) && pull_is(pull, '{')) {
    usage_pull_openai(&own, &usage_names, &parts->counts);
  } else {
    return false;
  }
  enum json_type type = scan_type(*pull->at);
  if (pull_broken(&own)) pull_fail(pull), *value = json_absent;
  else *value = pull_taken(pull, type, own.at);
  return true;
}

/* Of a member that stands twice the last one counts. */
static bool chat_whole(const struct operation_info *o, struct span body, struct answer_parts *parts, struct pieces *p) {
  struct json_pull pull;
  struct chat_members m;
  members_none(&m);
  pull_begin(&pull, body);
  struct json document = { JSON_OBJECT, { pull.at, 0 } };
  const char *choices = NULL, *usage = NULL;             /* those that were read */
  if (!pull_is(&pull, '{')) return false;
  for (bool on = pull_enter(&pull); on; on = pull_more(&pull, '}')) {
    struct json_member member = { pull_key(&pull), json_absent };
    bool read = whole_member(o, member.key, &pull, parts, p, &member.value);
    if (!read) member.value = pull_value(&pull);
    else if (member.value.type == JSON_ARRAY) choices = member.value.text.p;
    else usage = member.value.text.p;
    member_sort(&m, &member);
  }
  document.text.n = (size_t)(pull.at - document.text.p);
  if (!pull_ended(&pull)) return false;
  parts->counted = m.usage.type == JSON_OBJECT && m.usage.text.p == usage;
  if (m.usage.type != JSON_OBJECT) m.usage = json_in(m.groq, SPAN("usage"));
  if (o->operation != OP_EMBEDDINGS && m.choices.type != JSON_NONE && m.choices.text.p != choices) {
    pieces_forget(p);
    choices_read(p, NULL, o, m.choices);
  }
  parts_of(o, &m, document, parts, p);
  return true;
}

const struct dialect_impl dialect_chat = {
  .inner = { "choices", 7 }, .opens = '[', .inside = chat_inside, .whole = chat_whole, .event = chat_event, .pieces = chat_pieces, .usage = chat_usage, .answer = chat_answer,
  .silence = chat_silence, .overflow = overflow,
};
