/* said.c: answers from one dialect to another: what is the same whichever they are. */
#include "said.h"

void said_fault(struct translation *t, enum fault f, const char *why) {
  if (t->fault) return;
  t->fault = f;
  t->why = why;
}

static void list_add(struct translation *t, const struct said *s) {
  if (t->all_count == t->all_cap) {
    size_t cap = t->all_cap ? 2 * t->all_cap : 16;
    struct said *more = arena_alloc(&t->arena, cap * sizeof *more);
    if (t->all_count) memcpy(more, t->all, t->all_count * sizeof *more);
    t->all = more;
    t->all_cap = cap;
  }
  t->all[t->all_count++] = *s;
}

static const struct teller {
  void (*start)(struct translation *t);                  /* of a stream */
  void (*tell)(struct translation *t, const struct said *s);
  void (*whole)(struct translation *t);
} tellers[DIALECT_COUNT] = {
  [DIALECT_CHAT] = { tell_chat_start, tell_chat, tell_chat_whole },
  [DIALECT_MESSAGES] = { tell_messages_start, tell_messages, tell_messages_whole },
  [DIALECT_GEMINI] = { tell_gemini_start, tell_gemini, tell_gemini_whole },
};

static void chat_event(struct translation *t, struct span name, struct json data) {
  (void)name;
  hear_chat(t, data);
}

static void gemini_event(struct translation *t, struct span name, struct json data) {
  (void)name;
  hear_gemini(t, data);
}

static const struct hearer {
  void (*event)(struct translation *t, struct span name, struct json data);
  void (*whole)(struct translation *t, struct json document);
} hearers[DIALECT_COUNT] = {
  [DIALECT_CHAT] = { chat_event, hear_chat_whole },
  [DIALECT_MESSAGES] = { hear_messages, hear_messages_whole },
  [DIALECT_RESPONSES] = { hear_responses, hear_responses_whole }, [DIALECT_GEMINI] = { gemini_event, hear_gemini_whole },
  [DIALECT_CONVERSE] = { hear_converse, hear_converse_whole },
};

/* What takes thinking home goes through the client sealed. */
static struct said sealed(struct translation *t, const struct said *s) {
  struct said own = *s;
  if (s->kind != SAID_THINKING && s->kind != SAID_SIGNATURE && s->kind != SAID_REDACTED) return t->thought_begun &= s->kind != SAID_BREAK, own;
  if (!t->thought_begun || s->kind == SAID_REDACTED) seal_begin(&t->thought);
  t->thought_begun = s->kind != SAID_REDACTED;
  if (s->kind == SAID_THINKING) seal_text(&t->thought, s->v);
  else own.v = seal_close(&t->arena, &t->thought, t->names.provider, s->v);
  return own;
}

void said(struct translation *t, const struct said *given) {
  if (t->fault) return;
  const struct said own = sealed(t, given), *s = &own;
  if (t->ended) { said_fault(t, FAULT_PROTOCOL, "content after the end of the stream"); return; }
  if (s->kind == SAID_END) t->ended = true;
  if (t->whole) list_add(t, s);
  else tellers[t->to->dialect].tell(t, s);
}

void said_start(struct translation *t) {
  if (!t->started && !t->whole) tellers[t->to->dialect].start(t);
}

void said_lose(struct translation *t, struct span word) {
  struct buf *out = t->names.losses;
  if (out) loss_add(out, word);
}

bool said_custom(const struct translation *t, struct json name) {
  for (size_t i = 0; i < t->names.custom_count; i++)
    if (name.type == JSON_STRING && json_string_is(name, t->names.customs[i])) return true;
  return false;
}

/* ---- several answers at once */
static void lane_sync(const struct translation *t, struct translation *lane) {
  lane->out = t->out;
  lane->model = t->model;
  lane->usage = t->usage;
  lane->has_usage = t->has_usage;
  lane->heard_id = t->heard_id;
  lane->waiting = t->waiting;
  lane->ended = t->ended;
}

static void ends_begin(struct translation *t) {
  t->told_end = &t->told;
  t->items_end = &t->items;
  t->citations_end = &t->citations;
  t->others_end = &t->others;
  t->places_end = &t->places;
}

struct translation *said_lane(struct translation *t, int64_t choice) {
  bool takes = t->to->dialect == DIALECT_CHAT || t->to->dialect == DIALECT_GEMINI;
  struct translation **link = &t->lanes;
  if (choice <= 0) return t;
  if (!takes || choice >= EVENT_OPEN_CHOICES) { said_lose(t, SPAN("n")); return NULL; }
  while (*link && (*link)->choice != choice) link = &(*link)->lane_next;
  if (!*link) {
    struct translation *lane = *link = arena_zero(&t->arena, sizeof *lane);
    *lane = (struct translation){ .from = t->from, .to = t->to, .names = t->names, .most = t->most, .usage = USAGE_NONE, .choice = choice, .whole = t->whole };
    ends_begin(lane);
  }
  lane_sync(t, *link);
  return *link;
}

void said_lane_over(struct translation *t, const struct translation *lane) {
  if (lane == t) return;
  t->waiting = lane->waiting;
  if (lane->fault) said_fault(t, lane->fault, lane->why);
}

void said_lanes_sync(struct translation *t) {
  for (struct translation *lane = t->lanes; lane; lane = lane->lane_next) lane_sync(t, lane);
}

bool said_finished(const struct translation *t) {
  for (const struct translation *lane = t->lanes; lane; lane = lane->lane_next)
    if (!lane->finish) return false;
  return t->finish != FINISH_UNTOLD;
}

static void parts_free(struct translation *t) {
  for (struct translation *lane = t->lanes; lane; lane = lane->lane_next) parts_free(lane);
  for (struct call_told *c = t->told; c; c = c->next) buf_free(&c->arguments);
  for (struct heard_item *i = t->items; i; i = i->next) mem_free(i->waiting);
  for (size_t i = 0; i < t->block_count; i++) buf_free(&t->blocks[i].input);
  said_partial_free(t);
  buf_free(&t->wrapped);
  buf_free(&t->spoken);
  buf_free(&t->probable_text);
  arena_end(&t->arena);
}

struct json said_unwrapped(struct translation *t, struct span raw) {
  struct json document, string = json_absent, whole = string_of(&t->arena, raw);
  struct span text = { NULL, 0 };
  json_unescape(whole, &t->arena, &text);
  if (json_read(text, &document, NULL)) string = json_in(document, SPAN("input"));
  return string.type == JSON_STRING ? string : whole;
}

void said_usage(struct translation *t, enum dialect d, struct json usage) {
  struct usage u;
  if (usage.type != JSON_OBJECT) return;
  usage_read(d, usage, &u);
  usage_merge(&t->usage, &u);
  t->has_usage = true;
}

void said_model(struct translation *t, struct json model) {
  if (string_full(model) && !t->model.n) t->model = said_keep(t, string_raw(model));
}

struct span said_keep(struct translation *t, struct span s) {
  if (s.n > said_room(t)) { said_fault(t, FAULT_INVALID, "the answer is larger than max_answer"); return (struct span){ NULL, 0 }; }
  t->waiting += s.n;
  return arena_copy(&t->arena, s);
}

bool said_object(struct translation *t, struct span raw, struct span *plain) {
  struct buf quoted = { 0 };
  struct arena scratch = { 0 };                          /* it is asked again with every piece */
  struct json document, string;
  bool good = false;
  buf_quote(&quoted, raw);
  *plain = SPAN("{}");
  if (json_read(buf_span(&quoted), &string, NULL)) {
    struct span text = { NULL, 0 };
    bool clean = json_unescape(string, &scratch, &text);
    size_t white = 0;
    while (white < text.n && memchr(" \t\r\n", text.p[white], 4)) white++;
    good = white == text.n || (clean && json_read(text, &document, NULL) && document.type == JSON_OBJECT);
    if (good && white < text.n) *plain = arena_copy(&t->arena, text);
  }
  buf_free(&quoted);
  arena_end(&scratch);
  return good;
}

/* ---- whole answers */
bool translate_answer(const struct operation_info *from, const struct operation_info *to, struct span body, const struct translate_names *n,
                      struct buf *out, const char **why) {
  struct translation t = { .from = from, .to = to, .names = *n, .most = SIZE_MAX, .out = out, .usage = USAGE_NONE, .whole = true };
  ends_begin(&t);
  struct json document;
  *why = "the answer is no JSON object";
  if (!json_read(body, &document, NULL) || document.type != JSON_OBJECT) return false;
  hearers[from->dialect].whole(&t, document);
  if (!t.fault) tellers[to->dialect].whole(&t);
  *why = t.why;
  if (t.fault) buf_clear(out);
  parts_free(&t);
  return !t.fault;
}

/* ---- streams */
struct translation *translation_new(const struct operation_info *from, const struct operation_info *to, const struct translate_names *n,
                                    size_t most) {
  struct translation *t = mem_zero(sizeof *t);
  *t = (struct translation){ .from = from, .to = to, .most = most, .usage = USAGE_NONE };
  t->names = *n;
  t->names.id = arena_copy(&t->arena, n->id);
  t->names.model = arena_copy(&t->arena, n->model);
  t->names.provider = arena_copy(&t->arena, n->provider);
  ends_begin(t);
  return t;
}

void translation_free(struct translation *t) {
  if (!t) return;
  parts_free(t);
  mem_free(t);
}

static void event_hear(struct translation *t, const struct sse_event *e) {
  struct arena scratch = { 0 };
  struct json data;
  struct span text = sse_data(e, &scratch);
  if (!e->data_lines) {
    if (e->raw.n && e->raw.p[0] == ':') heartbeat_write(t->to->dialect, t->out);
  } else if (sse_is_done(e)) {
    if (t->from->dialect == DIALECT_CHAT && !t->ended) said(t, &(struct said){ .kind = SAID_END });
  } else if (!json_read(text, &data, NULL) || data.type != JSON_OBJECT) {
    said_fault(t, FAULT_PROTOCOL, "an event is no JSON object");
  } else {
    hearers[t->from->dialect].event(t, e->name, data);
  }
  arena_end(&scratch);
}

enum fault translation_end(struct translation *t, struct buf *out, const char **why) {
  t->out = out;
  if (!t->fault && !t->ended) said(t, &(struct said){ .kind = SAID_END });
  *why = t->why;
  return t->fault;
}

enum fault translation_event(struct translation *t, const struct sse_event *e, struct buf *out, const char **why) {
  t->out = out;
  if (!t->fault) event_hear(t, e);
  *why = t->why;
  return t->fault;
}
