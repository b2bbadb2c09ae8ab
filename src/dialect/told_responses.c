/* told_responses.c: responses says a text in pieces, again when the text ends, when its part ends, when its item ends,
   and in the whole response. All the places of one text are one part here. */
#include "told_impl.h"

static const struct told_family families[] = {
  { SPAN("response.output_text.delta"), SPAN("response.output_text.done"), SPAN("text"), SPAN("output_text"), TOLD_CONTENT },
  { SPAN("response.refusal.delta"), SPAN("response.refusal.done"), SPAN("refusal"), SPAN("refusal"), TOLD_CONTENT },
  { SPAN("response.reasoning_summary_text.delta"), SPAN("response.reasoning_summary_text.done"), SPAN("text"), SPAN("summary_text"), TOLD_SUMMARY },
  { SPAN("response.reasoning_text.delta"), SPAN("response.reasoning_text.done"), SPAN("text"), SPAN("reasoning_text"), TOLD_CONTENT },
  { SPAN("response.function_call_arguments.delta"), SPAN("response.function_call_arguments.done"), SPAN("arguments"), SPAN(""), TOLD_INPUT },
  { SPAN("response.custom_tool_call_input.delta"), SPAN("response.custom_tool_call_input.done"), SPAN("input"), SPAN(""), TOLD_INPUT },
  { SPAN("response.mcp_call_arguments.delta"), SPAN("response.mcp_call_arguments.done"), SPAN("arguments"), SPAN(""), TOLD_INPUT },
  { SPAN("response.code_interpreter_call_code.delta"), SPAN("response.code_interpreter_call_code.done"), SPAN("code"), SPAN(""), TOLD_INPUT },
};
enum { FAMILIES = sizeof families / sizeof *families };

static const struct told_family *family_of_part(struct json part) {
  struct span type = string_raw(json_in(part, SPAN("type")));
  for (size_t i = 0; i < FAMILIES; i++)
    if (families[i].part.n && span_eq(type, families[i].part)) return &families[i];
  return NULL;
}

/* ---- what is known of items and parts */
struct told_part *told_part_find(const struct told *t, int item, enum told_list list, int index) {
  for (size_t i = t->part_count; i-- > 0;) {
    struct told_part *p = &t->parts[i];
    if (p->item == item && p->list == list && p->index == index) return p;
  }
  return NULL;
}

static struct told_part *part_get(struct told *t, int item, enum told_list list, int index) {
  struct told_part *p = told_part_find(t, item, list, index);
  if (p) return p;
  if (t->part_count == TOLD_PARTS) t->full = true;
  if (!told_room(t, sizeof *p)) return NULL;
  if (t->part_count == t->part_cap) {
    t->part_cap = t->part_cap ? 2 * t->part_cap : 4;
    t->parts = mem_grow(t->parts, t->part_cap * sizeof *p);
  }
  p = &t->parts[t->part_count++];
  *p = (struct told_part){ .item = item, .index = index, .list = list };
  return p;
}

static struct told_item *item_get(struct told *t, int index) {
  for (size_t i = t->item_count; i-- > 0;)
    if (t->items[i].index == index) return &t->items[i];
  if (t->item_count == TOLD_ITEMS) t->full = true;
  if (!told_room(t, sizeof *t->items)) return NULL;
  if (t->item_count == t->item_cap) {
    t->item_cap = t->item_cap ? 2 * t->item_cap : 4;
    t->items = mem_grow(t->items, t->item_cap * sizeof *t->items);
  }
  struct told_item *it = &t->items[t->item_count++];
  *it = (struct told_item){ .index = index };
  return it;
}

/* ---- a walk over the texts of one event, as it comes in or as it goes out */
struct walk {
  struct told *t;
  struct delta *out;                  /* coming in: texts that no policy has seen are added here */
  size_t count;
  struct changes *c;                  /* going out */
};

/* Beside a text that was changed its tokens may not stand. */
static void tokens_drop(struct walk *w, struct json holder) {
  struct json tokens = json_in(holder, SPAN("logprobs"));
  if (tokens.type == JSON_ARRAY && json_iter(tokens).at != json_iter(tokens).end) change_add(w->c, tokens.text, SPAN("[]"));
}

static void said(struct walk *w, struct told_part *p, struct span string) {
  struct span text = span_of(string.p + 1, string.n - 2);
  p->said = true;
  if (told_room(w->t, text.n)) buf_add(&p->text, text);
}

static struct span quoted(struct walk *w, const struct buf *text) { return string_of(w->c->arena, buf_span(text)).text; }

/* A piece of a text. */
static void walk_piece(struct walk *w, const struct told_family *f, int item, int index, struct json holder, struct json v) {
  struct told_part *p = v.type == JSON_STRING ? part_get(w->t, item, f->list, index) : NULL;
  if (!p) return;
  p->family = f;
  if (w->out) {
    p->shown |= string_full(v);
    return;
  }
  const struct change *ch = change_of(w->c, v.text);
  if (ch) p->changed = true, tokens_drop(w, holder);
  said(w, p, ch ? ch->to : v.text);
}

/* No policy has seen it: it is a delta here. Where no more fit the event may not be sent. */
static void show(struct walk *w, const struct told_part *p, enum told_list list, struct json holder, struct json v) {
  const struct told_family *f = p->family ? p->family : family_of_part(holder);
  bool thinking = list == TOLD_SUMMARY || (f && span_eq(f->part, SPAN("reasoning_text")));
  struct delta d = { .kind = thinking ? DELTA_THINKING : DELTA_TEXT, .choice = p->item, .text = v, .usage = USAGE_NONE };
  if (list == TOLD_INPUT) d = (struct delta){ .kind = DELTA_TOOL, .choice = p->item, .tool_index = p->item, .tool_arguments = v, .usage = USAGE_NONE };
  if (w->count < DELTA_MOST) w->out[w->count++] = d;
  else w->t->full = w->t->changed = true;
}

/* A text that was told in pieces before, or else is told here for the first time. `delta`: event_deltas gives it. */
static void walk_whole(struct walk *w, int item, enum told_list list, int index, struct json holder, struct json v, bool delta) {
  struct told_part *p = string_full(v) ? part_get(w->t, item, list, index) : NULL;
  if (!p) return;
  if (w->out) {
    if (!p->shown && !delta) show(w, p, list, holder, v);
    p->shown = true;
    return;
  }
  const struct change *ch = change_of(w->c, v.text);
  if (ch) {
    buf_clear(&p->text);
    p->changed = true;
    said(w, p, ch->to);
    tokens_drop(w, holder);
  } else if (p->changed) {
    struct span to = quoted(w, &p->text);
    change_add(w->c, v.text, to);
    tokens_drop(w, holder);
  } else if (!p->said) {
    said(w, p, v.text);
  }
}

static struct json part_text(struct json part) {
  struct json text = json_in(part, SPAN("text"));
  return text.type == JSON_STRING ? text : json_in(part, SPAN("refusal"));
}

static void walk_parts(struct walk *w, int item, enum told_list list, struct json parts, bool delta) {
  struct json_iter i = json_iter(parts);
  struct json key, part;
  if (parts.type != JSON_ARRAY) return;
  for (int index = 0; json_next(&i, &key, &part); index++)
    walk_whole(w, item, list, index, part, part_text(part), delta);
}

static void walk_item(struct walk *w, int index, struct json item, bool delta) {
  walk_parts(w, index, TOLD_CONTENT, json_in(item, SPAN("content")), delta);
  walk_parts(w, index, TOLD_SUMMARY, json_in(item, SPAN("summary")), delta);
  if (!w->out || !span_ends(string_raw(json_in(item, SPAN("type"))), SPAN("_call"))) return;    /* no change ever reaches what tools get */
  for (size_t i = 0; i < FAMILIES; i++)
    if (families[i].list == TOLD_INPUT) walk_whole(w, index, TOLD_INPUT, 0, item, json_in(item, families[i].member), delta);
}

/* The place of an item in the stream: by its id, where it has one, since a response may leave out what it began. */
static int item_place(const struct told *t, struct json item, int position) {
  struct json id = json_in(item, SPAN("id"));
  for (size_t i = 0; string_full(id) && i < t->item_count; i++)
    if (span_eq(t->items[i].id, id.text)) return t->items[i].index;
  return position;
}

/* The SDK's shorthand, which some servers send: the texts of all messages. */
static void walk_shorthand(struct walk *w, struct json response) {
  struct json v = json_in(response, SPAN("output_text"));
  struct buf all = { 0 };
  bool changed = false;
  if (!w->c || !string_full(v)) return;
  for (size_t i = 0; i < w->t->part_count; i++) {
    const struct told_part *p = &w->t->parts[i];
    if (p->list != TOLD_CONTENT || (p->family && !span_eq(p->family->part, SPAN("output_text")))) continue;
    changed |= p->changed;
    buf_add(&all, buf_span(&p->text));
  }
  if (changed) change_add(w->c, v.text, quoted(w, &all));
  buf_free(&all);
}

static void walk_response(struct walk *w, struct json response) {
  struct json output = json_in(response, SPAN("output")), key, item;
  struct json_iter i = json_iter(output);
  for (int position = 0; output.type == JSON_ARRAY && json_next(&i, &key, &item); position++)
    walk_item(w, item_place(w->t, item, position), item, false);
  walk_shorthand(w, response);
}

/* ---- events */
static int place_of(struct json data, struct span name) {
  int64_t n = json_count(json_in(data, name));
  return n < 0 || n > INT32_MAX ? 0 : (int)n;
}

static int index_in(struct json data, enum told_list list) {
  return list == TOLD_INPUT ? 0 : place_of(data, list == TOLD_SUMMARY ? SPAN("summary_index") : SPAN("content_index"));
}

/* True when the event is one of a text. */
static bool walk_text(struct walk *w, struct span type, struct json data, int item) {
  for (size_t i = 0; i < FAMILIES; i++) {
    const struct told_family *f = &families[i];
    bool piece = span_eq(type, f->delta);
    if (!piece && !span_eq(type, f->done)) continue;
    int index = index_in(data, f->list);
    if (piece) {
      walk_piece(w, f, item, index, data, json_in(data, SPAN("delta")));
      return true;
    }
    walk_whole(w, item, f->list, index, data, json_in(data, f->member), false);
    struct told_part *p = told_part_find(w->t, item, f->list, index);
    if (p && !p->family) p->family = f;
    if (p && w->c) p->done = true;
    return true;
  }
  return false;
}

static bool walk_part(struct walk *w, struct span type, struct json data, int item) {
  bool summary = span_starts(type, SPAN("response.reasoning_summary_part.")), added = span_ends(type, SPAN("_part.added"));
  enum told_list list = summary ? TOLD_SUMMARY : TOLD_CONTENT;
  if (!added && !span_ends(type, SPAN("_part.done"))) return false;
  int index = index_in(data, list);
  struct json part = json_in(data, SPAN("part"));
  struct told_part *p = part_get(w->t, item, list, index);
  if (p && !p->family) p->family = family_of_part(part);
  walk_whole(w, item, list, index, part, part_text(part), false);
  p = told_part_find(w->t, item, list, index);
  if (p && w->c) added ? (p->listed = true) : (p->over = true);
  return true;
}

static struct span item_as_told(struct walk *w, struct json item) {
  struct buf b = { 0 };
  const char *at = item.text.p, *end = at + item.text.n;
  for (size_t i = 0; i < w->c->count; i++) {
    struct change ch = w->c->of[i];
    if (ch.from.p < at || ch.from.p >= end) continue;
    buf_add(&b, span_of(at, (size_t)(ch.from.p - at)));
    buf_add(&b, ch.to);
    at = ch.from.p + ch.from.n;
  }
  buf_add(&b, span_of(at, (size_t)(end - at)));
  struct span s = told_keep(w->t, buf_span(&b));
  buf_free(&b);
  return s;
}

static bool walk_items(struct walk *w, struct span type, struct json data, int index) {
  bool added = span_eq(type, SPAN("response.output_item.added"));
  struct json item = json_in(data, SPAN("item"));
  if (!added && !span_eq(type, SPAN("response.output_item.done"))) return false;
  if (item.type != JSON_OBJECT) return true;
  walk_item(w, index, item, added);
  struct told_item *it = w->c ? item_get(w->t, index) : NULL;
  if (!it) return true;
  struct json id = json_in(item, SPAN("id"));
  if (string_full(id) && !it->id.n) it->id = told_keep(w->t, id.text);
  it->item = item_as_told(w, item);
  it->over = !added;
  return true;
}

static void walk_event(struct walk *w, struct span type, struct json data) {
  int item = place_of(data, SPAN("output_index"));
  if (walk_text(w, type, data, item) || walk_part(w, type, data, item) || walk_items(w, type, data, item)) return;
  struct json response = json_in(data, SPAN("response"));
  if (response.type != JSON_OBJECT) return;
  walk_response(w, response);
  bool start = span_eq(type, SPAN("response.created")) || span_eq(type, SPAN("response.in_progress"));
  if (w->c && start && !w->t->response.n) w->t->response = told_keep(w->t, response.text);
}

static struct span type_of(struct span name, struct json data) {
  struct span type = string_raw(json_in(data, SPAN("type")));
  return type.n ? type : name;
}

size_t told_responses_deltas(struct told *t, struct span name, struct json data, struct delta *out, size_t count, int *closed) {
  struct walk w = { t, out, count, NULL };
  struct span type = type_of(name, data);
  if (span_eq(type, SPAN("response.output_item.done"))) *closed = place_of(data, SPAN("output_index"));
  if (!t->full) walk_event(&w, type, data);
  return w.count;
}

void told_responses_event(struct told *t, struct span name, struct json data, struct changes *c) {
  struct walk w = { t, NULL, 0, c };
  walk_event(&w, type_of(name, data), data);
}
