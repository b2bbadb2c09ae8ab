/* close_responses.c: weir.stop in the responses dialect. What is open is told again as the client saw it and ends as
   incomplete, innermost first, then the response does. */
#include "told_impl.h"
#include "write_impl.h"

struct closing {
  const struct saying *saying;
  const struct told *told;
  struct buf *out;
  int64_t sequence;                   /* of the next event */
};

static struct json_writer event_start(struct closing *c, struct span type) {
  struct json_writer w = { .out = c->out };
  event_begin(c->out, type);
  json_begin(&w, '{');
  field_str(&w, SPAN("type"), type);
  field_int(&w, SPAN("sequence_number"), c->sequence++);
  return w;
}
static void event_stop(struct json_writer *w) {
  json_end(w, '}');
  event_end(w->out);
}

/* ---- values */
static void field_text(struct json_writer *w, struct span name, const struct told_part *p) { field_quoted(w, name, buf_span(&p->text)); }

static bool is_output_text(const struct told_part *p) { return span_eq(p->family->part, SPAN("output_text")); }

static void part_write(struct json_writer *w, const struct told_part *p) {
  json_begin(w, '{');
  field_str(w, SPAN("type"), p->family->part);
  field_text(w, span_eq(p->family->part, SPAN("refusal")) ? SPAN("refusal") : SPAN("text"), p);
  if (is_output_text(p)) {
    field_raw(w, SPAN("annotations"), SPAN("[]"));
    field_raw(w, SPAN("logprobs"), SPAN("[]"));
  }
  json_end(w, '}');
}

/* Parts of one list in the order of their index. */
static const struct told_part *part_next(const struct told *t, int item, enum told_list list, int after) {
  const struct told_part *next = NULL;
  for (size_t i = 0; i < t->part_count; i++) {
    const struct told_part *p = &t->parts[i];
    if (p->item == item && p->list == list && p->index > after && p->family && (!next || p->index < next->index)) next = p;
  }
  return next;
}

static void parts_write(struct json_writer *w, const struct told *t, int item, enum told_list list, struct span name) {
  field_array(w, name);
  for (const struct told_part *p = part_next(t, item, list, -1); p; p = part_next(t, item, list, p->index)) part_write(w, p);
  json_end(w, ']');
}

/* An item that was begun, with what it got until now. */
static void item_write(struct json_writer *w, const struct told *t, const struct told_item *it) {
  struct json item = { JSON_OBJECT, it->item }, key, value;
  struct json_iter i = json_iter(item);
  const struct told_part *input = told_part_find(t, it->index, TOLD_INPUT, 0);
  bool status = false;
  json_begin(w, '{');
  while (json_next(&i, &key, &value)) {
    struct span name = string_raw(key);
    if (span_eq(name, SPAN("status"))) status = true, field_str(w, name, SPAN("incomplete"));
    else if (span_eq(name, SPAN("content")) && part_next(t, it->index, TOLD_CONTENT, -1)) parts_write(w, t, it->index, TOLD_CONTENT, name);
    else if (span_eq(name, SPAN("summary"))) parts_write(w, t, it->index, TOLD_SUMMARY, name);
    else if (input && input->family && buf_size(&input->text) && span_eq(name, input->family->member)) field_text(w, name, input);
    else field_raw(w, name, value.text);
  }
  if (!status && !json_string_is(json_in(item, SPAN("type")), SPAN("reasoning"))) field_str(w, SPAN("status"), SPAN("incomplete"));
  json_end(w, '}');
}

/* ---- events */
static void place_fields(struct json_writer *w, const struct told_item *it, const struct told_part *p) {
  if (it->id.n) field_raw(w, SPAN("item_id"), it->id);
  field_int(w, SPAN("output_index"), it->index);
  if (p->list != TOLD_INPUT) field_int(w, p->list == TOLD_SUMMARY ? SPAN("summary_index") : SPAN("content_index"), p->index);
}

static void text_close(struct closing *c, const struct told_item *it, const struct told_part *p) {
  struct json_writer w = event_start(c, p->family->done);
  place_fields(&w, it, p);
  if (span_eq(p->family->done, SPAN("response.function_call_arguments.done"))) {
    struct json name = json_in((struct json){ JSON_OBJECT, it->item }, SPAN("name"));
    if (name.type == JSON_STRING) field_raw(&w, SPAN("name"), name.text);
  }
  field_text(&w, p->family->member, p);
  if (is_output_text(p)) field_raw(&w, SPAN("logprobs"), SPAN("[]"));
  event_stop(&w);
}

static void part_close(struct closing *c, const struct told_item *it, const struct told_part *p) {
  struct json_writer w = event_start(c, p->list == TOLD_SUMMARY ? SPAN("response.reasoning_summary_part.done") : SPAN("response.content_part.done"));
  place_fields(&w, it, p);
  json_key(&w, SPAN("part"));
  part_write(&w, p);
  event_stop(&w);
}

static void item_close(struct closing *c, const struct told_item *it) {
  static const enum told_list lists[] = { TOLD_SUMMARY, TOLD_CONTENT, TOLD_INPUT };
  for (int i = 0; i < 3; i++)
    for (const struct told_part *p = part_next(c->told, it->index, lists[i], -1); p; p = part_next(c->told, it->index, lists[i], p->index)) {
      if (!p->done && !p->over) text_close(c, it, p);
      if (p->listed && !p->over) part_close(c, it, p);
    }
  struct json_writer w = event_start(c, SPAN("response.output_item.done"));
  field_int(&w, SPAN("output_index"), it->index);
  json_key(&w, SPAN("item"));
  item_write(&w, c->told, it);
  event_stop(&w);
}

static const struct told_item *item_next(const struct told *t, int after) {
  const struct told_item *next = NULL;
  for (size_t i = 0; i < t->item_count; i++)
    if (t->items[i].index > after && t->items[i].item.n && (!next || t->items[i].index < next->index)) next = &t->items[i];
  return next;
}

static void output_write(struct json_writer *w, const struct told *t) {
  json_begin(w, '[');
  for (const struct told_item *it = item_next(t, -1); it; it = item_next(t, it->index)) {
    if (it->over) json_raw(w, it->item);
    else item_write(w, t, it);
  }
  json_end(w, ']');
}

/* The provider's own object as it was begun: it repeats what was asked for. */
static void response_write(struct json_writer *w, const struct told *t, struct span reason) {
  struct json response = { JSON_OBJECT, t->response }, key, value;
  struct json_iter i = json_iter(response);
  json_begin(w, '{');
  while (json_next(&i, &key, &value)) {
    struct span name = string_raw(key);
    if (span_eq(name, SPAN("status")) || span_eq(name, SPAN("incomplete_details")) || span_eq(name, SPAN("output"))) continue;
    field_raw(w, name, value.text);
  }
  field_str(w, SPAN("status"), SPAN("incomplete"));
  field_object(w, SPAN("incomplete_details"));
  field_str(w, SPAN("reason"), reason);
  json_end(w, '}');
  json_key(w, SPAN("output"));
  output_write(w, t);
  json_end(w, '}');
}

void responses_stop(const struct saying *s, const struct event_state *state, bool filter, struct buf *out) {
  const struct told *t = s->told && s->told->response.n && !s->told->full ? s->told : NULL;
  struct closing c = { s, t, out, state->started ? state->sequence + 1 : 0 };
  struct span reason = filter ? SPAN("content_filter") : SPAN("max_output_tokens");
  if (!state->started) {
    struct json_writer w = event_start(&c, SPAN("response.created"));
    json_key(&w, SPAN("response"));
    responses_bare(&w, s, SPAN("in_progress"), (struct span){ NULL, 0 });
    event_stop(&w);
  }
  for (const struct told_item *it = t ? item_next(t, -1) : NULL; it; it = item_next(t, it->index))
    if (!it->over) item_close(&c, it);
  struct json_writer w = event_start(&c, SPAN("response.incomplete"));
  json_key(&w, SPAN("response"));
  if (t) response_write(&w, t, reason);
  else responses_bare(&w, s, SPAN("incomplete"), reason);
  event_stop(&w);
}
