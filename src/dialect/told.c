/* told.c: what a stream's client was told, and what must change with a text that a policy changed. */
#include "told_impl.h"

/* ---- changes */
void change_add(struct changes *c, struct span from, struct span to) {
  if (c->count == c->cap) {
    size_t cap = c->cap ? 2 * c->cap : 16;
    struct change *more = arena_alloc(c->arena, cap * sizeof *more);
    if (c->count) memcpy(more, c->of, c->count * sizeof *more);
    c->of = more;
    c->cap = cap;
  }
  size_t at = c->count++;
  for (; at && c->of[at - 1].from.p > from.p; at--) c->of[at] = c->of[at - 1];
  c->of[at] = (struct change){ from, to };
}

const struct change *change_of(const struct changes *c, struct span from) {
  for (size_t i = 0; i < c->count; i++)
    if (c->of[i].from.p == from.p) return &c->of[i];
  return NULL;
}

static bool change_within(const struct changes *c, struct json v) {
  for (size_t i = 0; v.text.p && i < c->count; i++)
    if (c->of[i].from.p >= v.text.p && c->of[i].from.p < v.text.p + v.text.n) return true;
  return false;
}

/* ---- memory */
struct told *told_new(const struct operation_info *o, size_t most) {
  struct told *t = mem_zero(sizeof *t);
  t->operation = o;
  t->most = most;
  return t;
}

static void texts_drop(struct told *t) {
  for (size_t i = 0; i < t->part_count; i++) buf_free(&t->parts[i].text);
  mem_free(t->parts);
  mem_free(t->items);
  t->parts = NULL;
  t->items = NULL;
  t->part_count = t->item_count = t->part_cap = t->item_cap = 0;
}

void told_free(struct told *t) {
  if (!t) return;
  texts_drop(t);
  arena_end(&t->arena);
  mem_free(t);
}

bool told_room(struct told *t, size_t n) {
  if (t->full || n > t->most - t->size) t->full = true;
  else t->size += n;
  return !t->full;
}

struct span told_keep(struct told *t, struct span s) {
  return s.n && told_room(t, s.n) ? arena_copy(&t->arena, s) : (struct span){ NULL, 0 };
}

/* ---- chat: one chunk may say thinking in several members, and the tokens beside the text */
static const struct span twins[] = { SPAN("reasoning_content"), SPAN("reasoning"), SPAN("reasoning_details"),
                                     SPAN("thinking_blocks") };
enum { TWINS = sizeof twins / sizeof *twins, TWIN_MOST = 64 };

/* The texts of one member: the string itself, or those in its list of details. */
static size_t twin_texts(struct json member, struct json out[TWIN_MOST]) {
  struct json_iter i = json_iter(member), inner;
  struct json key, item, name, v;
  size_t n = 0;
  if (string_full(member)) out[n++] = member;
  if (member.type != JSON_ARRAY) return n;
  while (json_next(&i, &key, &item))
    for (inner = json_iter(item); item.type == JSON_OBJECT && json_next(&inner, &name, &v);)
      if (string_full(v) && n < TWIN_MOST && !json_string_is(name, SPAN("type")) &&
          (json_string_is(name, SPAN("text")) || json_string_is(name, SPAN("summary")) || json_string_is(name, SPAN("thinking"))))
        out[n++] = v;
  return n;
}

/* What the client gets of a member that policies saw, as one JSON string. */
static struct span twin_said(const struct changes *c, const struct json *texts, size_t n) {
  struct buf b = { 0 };
  buf_byte(&b, '"');
  for (size_t i = 0; i < n; i++) {
    const struct change *ch = change_of(c, texts[i].text);
    struct span s = ch ? ch->to : texts[i].text;
    buf_add(&b, span_of(s.p + 1, s.n - 2));
  }
  buf_byte(&b, '"');
  struct span said = arena_copy(c->arena, buf_span(&b));
  buf_free(&b);
  return said;
}

static void message_twins(struct json message, struct changes *c) {
  struct json texts[TWIN_MOST], members[TWINS];
  int seen = -1;
  if (message.type != JSON_OBJECT) return;
  for (int i = 0; i < TWINS; i++) {
    members[i] = json_get(message, twins[i]);
    if (seen < 0 && change_within(c, members[i])) seen = i;
  }
  if (seen < 0) return;
  struct span said = twin_said(c, texts, twin_texts(members[seen], texts));
  for (int i = 0; i < TWINS; i++) {
    size_t n = i == seen ? 0 : twin_texts(members[i], texts);
    for (size_t k = 0; k < n; k++) change_add(c, texts[k].text, k ? SPAN("\"\"") : said);
  }
}

static void chat_follow(struct json data, struct changes *c) {
  static const struct span tokens[] = { SPAN("logprobs"), SPAN("token_ids") };
  struct json choices = json_in(data, SPAN("choices")), key, choice;
  struct json_iter i = json_iter(choices);
  while (choices.type == JSON_ARRAY && json_next(&i, &key, &choice)) {
    if (choice.type != JSON_OBJECT || !change_within(c, choice)) continue;
    message_twins(json_get(choice, SPAN("delta")), c);
    message_twins(json_get(choice, SPAN("message")), c);
    for (size_t k = 0; k < sizeof tokens / sizeof *tokens; k++) {
      struct json v = json_get(choice, tokens[k]);
      if (v.type > JSON_NULL) change_add(c, v.text, SPAN("null"));
    }
  }
}

static void chat_open(struct told *t, struct json data) {
  struct json id = json_in(data, SPAN("id")), model = json_in(data, SPAN("model")), created = json_in(data, SPAN("created"));
  if (!string_full(id)) return;
  t->opened = true;
  arena_room(&t->arena, id.text.n + model.text.n + created.text.n + 3 * 16);       /* of a chat it keeps nothing else */
  t->id = told_keep(t, id.text);
  if (string_full(model)) t->model = told_keep(t, model.text);
  if (created.type == JSON_NUMBER) t->created = told_keep(t, created.text);
}

/* ---- all of them */
size_t told_deltas(struct told *t, struct span name, struct json data, struct delta out[DELTA_MOST], int *closed) {
  size_t n = event_deltas(t->operation, name, data, out);
  *closed = -1;
  if (t->operation->dialect == DIALECT_RESPONSES) return told_responses_deltas(t, name, data, out, n, closed);
  if (!t->opened && t->operation->dialect == DIALECT_CHAT) chat_open(t, data);
  for (size_t i = 0; i < n && t->operation->dialect == DIALECT_GEMINI; i++)
    if (out[i].kind == DELTA_TOOL) out[i].tool_index = t->calls++;
  return n;
}

void told_seen(struct told *t, struct json data) {
  if (!t->opened) chat_open(t, data);
}

bool told_event(struct told *t, struct span name, struct json data, struct changes *c) {
  if (c->count) t->changed = true;
  if (t->operation->dialect == DIALECT_CHAT && c->count) chat_follow(data, c);
  if (t->operation->dialect != DIALECT_RESPONSES) return true;
  if (!t->full) told_responses_event(t, name, data, c);
  if (t->full && t->parts) texts_drop(t);
  return !t->full || !t->changed;
}
