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

void said_start(struct translation *t) {
  if (t->started) return;
  switch (t->to->dialect) {
  case DIALECT_MESSAGES: tell_messages_start(t); break;
  default: tell_chat_start(t); break;
  }
}

void said(struct translation *t, const struct said *s) {
  if (t->fault) return;
  if (t->ended) { said_fault(t, FAULT_PROTOCOL, "content after the end of the stream"); return; }
  if (s->kind == SAID_END) t->ended = true;
  if (t->whole) list_add(t, s);
  else if (t->to->dialect == DIALECT_MESSAGES) tell_messages(t, s);
  else tell_chat(t, s);
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
  if (s.n > t->most - t->waiting) { said_fault(t, FAULT_INVALID, "the answer is larger than max_answer"); return (struct span){ NULL, 0 }; }
  t->waiting += s.n;
  return arena_copy(&t->arena, s);
}

bool said_object(struct translation *t, struct span raw, struct span *plain) {
  struct buf quoted = { 0 };
  struct json document, string;
  bool good = false;
  buf_byte(&quoted, '"');
  buf_add(&quoted, raw);
  buf_byte(&quoted, '"');
  *plain = SPAN("{}");
  if (json_read(buf_span(&quoted), &string, NULL)) {
    struct span text = { NULL, 0 };
    bool clean = json_unescape(string, &t->arena, &text);
    size_t white = 0;
    while (white < text.n && memchr(" \t\r\n", text.p[white], 4)) white++;
    good = white == text.n || (clean && json_read(text, &document, NULL) && document.type == JSON_OBJECT);
    if (good && white < text.n) *plain = arena_copy(&t->arena, text);
  }
  buf_free(&quoted);
  return good;
}

/* ---- whole answers */
static void hear_whole(struct translation *t, struct json document) {
  switch (t->from->dialect) {
  case DIALECT_MESSAGES: hear_messages_whole(t, document); break;
  case DIALECT_GEMINI: hear_gemini_whole(t, document); break;
  case DIALECT_CONVERSE: hear_converse_whole(t, document); break;
  default: hear_chat_whole(t, document); break;
  }
}

bool translate_answer(const struct operation_info *from, const struct operation_info *to, struct span body, const struct translate_names *n,
                      struct buf *out, const char **why) {
  struct translation t = { .from = from, .to = to, .names = *n, .most = SIZE_MAX, .out = out, .usage = USAGE_NONE, .whole = true };
  struct json document;
  *why = "the answer is no JSON object";
  if (!json_read(body, &document, NULL) || document.type != JSON_OBJECT) return false;
  hear_whole(&t, document);
  if (!t.fault) (to->dialect == DIALECT_MESSAGES ? tell_messages_whole : tell_chat_whole)(&t);
  *why = t.why;
  if (t.fault) buf_clear(out);
  arena_end(&t.arena);
  return !t.fault;
}

/* ---- streams */
struct translation *translation_new(const struct operation_info *from, const struct operation_info *to, const struct translate_names *n,
                                    size_t most) {
  struct translation *t = mem_zero(sizeof *t);
  *t = (struct translation){ .from = from, .to = to, .most = most, .usage = USAGE_NONE };
  t->names = (struct translate_names){ arena_copy(&t->arena, n->id), arena_copy(&t->arena, n->model), n->created, n->usage };
  t->told_end = &t->told;
  t->citations_end = &t->citations;
  return t;
}

void translation_free(struct translation *t) {
  if (!t) return;
  for (struct call_told *c = t->told; c; c = c->next) buf_free(&c->arguments);
  arena_end(&t->arena);
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
    switch (t->from->dialect) {
    case DIALECT_MESSAGES: hear_messages(t, e->name, data); break;
    case DIALECT_GEMINI: hear_gemini(t, data); break;
    case DIALECT_CONVERSE: hear_converse(t, e->name, data); break;
    default: hear_chat(t, data); break;
    }
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
