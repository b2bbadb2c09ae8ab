/* write_question.c: a question of weir's own, as a request in the dialect of who is asked. */
#include "dialect_impl.h"

enum { UNTOLD_LIMIT = 4096 };         /* max_tokens of messages, which must be there */

struct asking {
  struct json_writer w;
  const struct question *q;
  struct json more;                   /* what the caller adds; it counts for more than what stands here */
};

/* Begins a member unless the caller's own takes its place. */
static bool begins(struct asking *a, const char *name) {
  struct span key = span_cstr(name);
  if (a->more.type == JSON_OBJECT && json_get(a->more, key).type != JSON_NONE) return false;
  json_key(&a->w, key);
  return true;
}

static bool is_system(const struct question_turn *t) { return span_eq(t->role, SPAN("system")); }

static void turns_write(struct asking *a, const char *member, bool system) {
  if (!begins(a, member)) return;
  json_begin(&a->w, '[');
  for (size_t i = 0; i < a->q->turn_count; i++) {
    const struct question_turn *t = &a->q->turns[i];
    if (!system && is_system(t)) continue;
    json_begin(&a->w, '{');
    field_str(&a->w, SPAN("role"), t->role);
    field_str(&a->w, SPAN("content"), t->text);
    json_end(&a->w, '}');
  }
  json_end(&a->w, ']');
}

/* messages has no turn of the system: its texts stand apart. */
static void system_write(struct asking *a) {
  struct buf text = { 0 };
  for (size_t i = 0; i < a->q->turn_count; i++) {
    if (!is_system(&a->q->turns[i])) continue;
    if (buf_size(&text)) buf_add(&text, SPAN("\n\n"));
    buf_add(&text, a->q->turns[i].text);
  }
  if (buf_size(&text) && begins(a, "system")) json_str(&a->w, buf_span(&text));
  buf_free(&text);
}

static void limit_write(struct asking *a, const char *member, int64_t none) {
  int64_t n = a->q->max_tokens > 0 ? a->q->max_tokens : none;
  if (n > 0 && begins(a, member)) json_int(&a->w, n);
}

static void number_write(struct asking *a, const char *member, double v) {
  if (v >= 0 && begins(a, member)) json_num(&a->w, v);
}

static void stops_write(struct asking *a, const char *member) {
  if (!a->q->stop_count || !begins(a, member)) return;
  json_begin(&a->w, '[');
  for (size_t i = 0; i < a->q->stop_count; i++) json_str(&a->w, a->q->stops[i]);
  json_end(&a->w, ']');
}

static void more_write(struct asking *a) {
  struct json_iter i = json_iter(a->more);
  for (struct json key, value; a->more.type == JSON_OBJECT && json_next(&i, &key, &value);) {
    struct arena scratch = { 0 };
    struct span name;
    json_unescape(key, &scratch, &name);
    field_raw(&a->w, name, value.text);
    arena_end(&scratch);
  }
}

void question_write(const struct operation_info *o, const struct question *q, struct buf *out) {
  struct asking a = { .w = { .out = out }, .q = q };
  if (!q->more.n || !json_read(q->more, &a.more, NULL)) a.more = (struct json){ 0 };
  json_begin(&a.w, '{');
  if (begins(&a, "model")) json_str(&a.w, q->model);
  switch (o->operation) {
  case OP_RESPONSES:
    turns_write(&a, "input", true);
    limit_write(&a, "max_output_tokens", 0);
    if (begins(&a, "store")) json_bool(&a.w, false);     /* nobody will come back to it */
    break;
  case OP_MESSAGES:
    system_write(&a);
    turns_write(&a, "messages", false);
    limit_write(&a, "max_tokens", UNTOLD_LIMIT);
    stops_write(&a, "stop_sequences");
    break;
  default:
    turns_write(&a, "messages", true);
    limit_write(&a, q->newer_limit ? "max_completion_tokens" : "max_tokens", 0);
    stops_write(&a, "stop");
    break;
  }
  number_write(&a, "temperature", q->temperature);
  number_write(&a, "top_p", q->top_p);
  more_write(&a);
  json_end(&a.w, '}');
}
