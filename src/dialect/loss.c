/* loss.c: a request without the state that is valid only where it was made. What stays keeps its bytes. */
#include "gemini.h"

const char *const loss_words[LOSS_COUNT] = { "thinking", "previous_response_id", "conversation" };

static bool is_type(struct json part, struct span word) { return json_string_is(json_in(part, SPAN("type")), word); }

/* Thinking of a model that another account could not verify or read. */
static bool part_lost(struct json part) {
  if (is_type(part, SPAN("redacted_thinking"))) return true;
  return is_type(part, SPAN("thinking")) && string_full(json_in(part, SPAN("signature")));
}

static void item_add(struct buf *out, bool *first, struct span text) {
  if (!*first) buf_byte(out, ',');
  *first = false;
  buf_add(out, text);
}

/* A message's content without such parts; false: nothing is left of it. */
static bool content_write(struct json parts, struct buf *out) {
  struct json_iter i = json_iter(parts);
  bool first = true, any = false;
  buf_byte(out, '[');
  for (struct json key, part; json_next(&i, &key, &part); any = true)
    if (!part_lost(part)) item_add(out, &first, part.text);
  buf_byte(out, ']');
  return !first || !any;
}

static bool message_write(struct json message, struct buf *out) {
  struct json_iter i = json_iter(message);
  bool first = true, left = true;
  buf_byte(out, '{');
  for (struct json key, value; json_next(&i, &key, &value);) {
    if (json_string_is(key, SPAN("reasoning_details")) || json_string_is(key, SPAN("thinking_blocks")) || json_string_is(key, SPAN("weir"))) continue;
    item_add(out, &first, key.text);
    buf_byte(out, ':');
    if (json_string_is(key, SPAN("content")) && value.type == JSON_ARRAY) left &= content_write(value, out);
    else buf_add(out, value.text);
  }
  buf_byte(out, '}');
  return left;
}

void loss_messages(struct json list, struct buf *out) {
  struct json_iter i = json_iter(list);
  bool first = true;
  if (list.type != JSON_ARRAY) { buf_add(out, list.text); return; }
  buf_byte(out, '[');
  for (struct json key, item; json_next(&i, &key, &item);) {
    struct buf one = { 0 };
    if (is_type(item, SPAN("reasoning"))) continue;       /* an item of a responses input */
    if (item.type != JSON_OBJECT) item_add(out, &first, item.text);
    else if (message_write(item, &one)) item_add(out, &first, buf_span(&one));
    buf_free(&one);
  }
  buf_byte(out, ']');
}

static void gemini_write(const struct json_member *members, size_t count, uint32_t losses, struct buf *out) {
  struct arena a = { 0 };
  struct json_member *left = arena_alloc(&a, (count + 1) * sizeof *left);
  struct buf contents = { 0 };
  for (size_t i = 0; i < count; i++) {
    left[i] = members[i];
    if (!(losses >> LOSS_THINKING & 1) || !json_string_is(members[i].key, SPAN("contents"))) continue;
    gemini_unsigned(members[i].value, &contents);
    left[i].value.text = buf_span(&contents);
  }
  request_nest(left, count, out);
  buf_free(&contents);
  arena_end(&a);
}

void loss_write(const struct operation_info *o, const struct json_member *members, size_t count, uint32_t losses, struct buf *out) {
  const char *list = request_member(o, members, count, SPAN("messages"));
  bool first = true;
  if (o->dialect == DIALECT_GEMINI) { gemini_write(members, count, losses, out); return; }
  buf_byte(out, '{');
  for (size_t i = 0; i < count; i++) {
    struct json key = members[i].key;
    bool lost = false;
    for (unsigned k = LOSS_PREVIOUS_RESPONSE_ID; k < LOSS_COUNT; k++) lost |= (losses >> k & 1) && json_string_is(key, span_cstr(loss_words[k]));
    if (lost) continue;
    item_add(out, &first, key.text);
    buf_byte(out, ':');
    if (losses >> LOSS_THINKING & 1 && list && json_string_is(key, span_cstr(list))) loss_messages(members[i].value, out);
    else buf_add(out, members[i].value.text);
  }
  buf_byte(out, '}');
}
