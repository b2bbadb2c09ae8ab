/* messages.c: Anthropic Messages. */
#include "dialect_impl.h"

static const char *const overflow[] = {
  "prompt is too long", "input is too long", "exceed context limit", "context window", "maximum context length",
  "context length", NULL,
};

static enum fault messages_silence(struct span finish) {
  if (span_eq(finish, SPAN("refusal"))) return FAULT_REFUSED;
  if (span_eq(finish, SPAN("model_context_window_exceeded"))) return FAULT_CONTEXT_TOO_LONG;
  return FAULT_EMPTY;
}

static void messages_counts(struct json key, struct json item, struct json *split, struct usage *out) {
  if (json_string_is(key, SPAN("input_tokens"))) out->input = json_count(item);
  else if (json_string_is(key, SPAN("output_tokens"))) out->output = json_count(item);
  else if (json_string_is(key, SPAN("cache_read_input_tokens"))) out->cache_read = json_count(item);
  else if (json_string_is(key, SPAN("cache_creation_input_tokens"))) out->cache_write = json_count(item);
  else if (json_string_is(key, SPAN("cache_creation"))) *split = item;
  else if (json_string_is(key, SPAN("output_tokens_details")))
    out->reasoning = json_count(json_in(item, SPAN("thinking_tokens")));
}

static void messages_split(struct json split, struct usage *out) {
  if (split.type != JSON_OBJECT) return;
  int64_t short_lived = json_count(json_in(split, SPAN("ephemeral_5m_input_tokens")));
  int64_t hour = json_count(json_in(split, SPAN("ephemeral_1h_input_tokens")));
  if (short_lived < 0 && hour < 0) return;
  if (hour < 0) hour = 0;
  if (short_lived < 0) short_lived = out->cache_write > hour ? out->cache_write - hour : 0;
  out->cache_write = short_lived;
  out->cache_write_1h = hour;
}

static void count_up(int64_t *into, int64_t more) {
  if (more > 0) *into = (*into > 0 ? *into : 0) + more;
}

/* The counts leave out what was spent on compaction and on an advisor: those are told in a list beside. */
static void iterations_add(struct json iterations, struct usage *out) {
  struct json_iter i = json_iter(iterations), inner;
  struct json none, one, key, item;
  if (iterations.type != JSON_ARRAY) return;
  while (json_next(&i, &none, &one)) {
    struct span type = string_raw(json_in(one, SPAN("type")));
    struct json split = json_absent;
    struct usage u = USAGE_NONE;
    if (!span_starts(type, SPAN("compaction")) && !span_starts(type, SPAN("advisor"))) continue;
    for (inner = json_iter(one); json_next(&inner, &key, &item);) messages_counts(key, item, &split, &u);
    messages_split(split, &u);
    count_up(&out->input, u.input);
    count_up(&out->cache_read, u.cache_read);
    count_up(&out->cache_write, u.cache_write);
    count_up(&out->cache_write_1h, u.cache_write_1h);
    count_up(&out->output, u.output);
  }
}

/* Of each kind a count: "web_search_requests", "web_fetch_requests", … */
static void server_tools(struct json tools, struct usage *out) {
  struct json_iter i = json_iter(tools);
  struct json key, item;
  while (tools.type == JSON_OBJECT && json_next(&i, &key, &item)) {
    if (json_string_is(key, SPAN("web_search_requests"))) out->searches = json_count(item);
    else count_up(&out->tool_calls, json_count(item));
  }
}

static void messages_usage(struct json usage, struct usage *out) {
  struct json_iter i = json_iter(usage);
  struct json key, item, split = json_absent, iterations = json_absent;
  *out = USAGE_NONE;
  while (json_next(&i, &key, &item)) {
    if (json_string_is(key, SPAN("server_tool_use"))) server_tools(item, out);
    else if (json_string_is(key, SPAN("service_tier"))) usage_tier(item, out);
    else if (json_string_is(key, SPAN("speed"))) out->fast = json_string_is(item, SPAN("fast")) ? 1 : 2;
    else if (json_string_is(key, SPAN("inference_geo"))) out->us = json_string_is(item, SPAN("us")) ? 1 : 2;
    else if (json_string_is(key, SPAN("iterations"))) iterations = item;
    else messages_counts(key, item, &split, out);
  }
  messages_split(split, out);
  iterations_add(iterations, out);
}

enum kind {
  KIND_OTHER, KIND_START, KIND_BLOCK, KIND_DELTA, KIND_BLOCK_STOP, KIND_MESSAGE_DELTA, KIND_STOP, KIND_ERROR,
};

static enum kind kind_of(struct span type) {
  if (span_eq(type, SPAN("content_block_delta"))) return KIND_DELTA;
  if (span_eq(type, SPAN("content_block_start"))) return KIND_BLOCK;
  if (span_eq(type, SPAN("content_block_stop"))) return KIND_BLOCK_STOP;
  if (span_eq(type, SPAN("message_start"))) return KIND_START;
  if (span_eq(type, SPAN("message_delta"))) return KIND_MESSAGE_DELTA;
  if (span_eq(type, SPAN("message_stop"))) return KIND_STOP;
  return span_eq(type, SPAN("error")) ? KIND_ERROR : KIND_OTHER;
}

/* The top level members of an event that mean something. */
struct event_members { struct json type, index, delta, block, message, usage; };

PULL_INLINE void member_sort(struct event_members *m, struct json key, struct json value) {
  char room[64];
again:
  if (key_is(key, SPAN("type"))) m->type = value;
  else if (key_is(key, SPAN("index"))) m->index = value;
  else if (key_is(key, SPAN("delta"))) m->delta = value;
  else if (key_is(key, SPAN("content_block"))) m->block = value;
  else if (key_is(key, SPAN("message"))) m->message = value;
  else if (key_is(key, SPAN("usage"))) m->usage = value;
  else if (key_escaped(key)) {
    key = key_plain(key, room);
    if (!key_escaped(key)) goto again;
  }
}

static enum kind members_kind(const struct event_members *m, struct span name) {
  struct span type = string_raw(m->type);
  return kind_of(type.n ? type : name);
}

static int block_index(const struct event_members *m) {
  int64_t index = json_count(m->index);
  return index < 0 || index > INT32_MAX ? 0 : (int)index;
}

/* A block as it starts in a stream, or as it stands whole in an answer. */
static void block_read(struct pieces *p, int index, struct json block) {
  struct span type = string_raw(json_in(block, SPAN("type")));
  if (span_eq(type, SPAN("text"))) {
    piece_text(p, DELTA_TEXT, 0, json_in(block, SPAN("text")));
  } else if (span_eq(type, SPAN("thinking"))) {
    piece_text(p, DELTA_THINKING, 0, json_in(block, SPAN("thinking")));
  } else if (span_ends(type, SPAN("tool_use"))) {          /* tool_use, server_tool_use, mcp_tool_use */
    piece_tool(p, 0, index, json_in(block, SPAN("id")), json_in(block, SPAN("name")), json_in(block, SPAN("input")));
  } else if (span_ends(type, SPAN("_tool_result")) || span_eq(type, SPAN("image")) || span_eq(type, SPAN("document")) ||
             span_eq(type, SPAN("container_upload"))) {
    p->real = true;
  }
}

/* The object that comes next. */
static void delta_pull(struct pieces *p, int index, struct json_pull *pull) {
  struct json_pull own = *pull;
  char room[64];
  for (bool on = pull_enter(&own); on; on = pull_more(&own, '}')) {
    struct json key = pull_key(&own), item = pull_value(&own);
  again:
    if (key_is(key, SPAN("type"))) continue;
    if (key_is(key, SPAN("text"))) piece_text(p, DELTA_TEXT, 0, item);
    else if (key_is(key, SPAN("thinking"))) piece_text(p, DELTA_THINKING, 0, item);
    else if (key_is(key, SPAN("partial_json"))) piece_tool(p, 0, index, json_absent, json_absent, item);
    else if (key_escaped(key)) {
      key = key_plain(key, room);
      if (!key_escaped(key)) goto again;
    }
  }
  *pull = own;
}

static void delta_read(struct pieces *p, int index, struct json delta) {
  struct json_pull pull;
  if (delta.type != JSON_OBJECT) return;
  pull_begin(&pull, delta.text);
  delta_pull(p, index, &pull);
}

/* Before the event has told its kind, and perhaps its index. */
static void messages_inside(struct reading *r, struct json_pull *delta, struct pieces *p) {
  (void)r;
  delta_pull(p, 0, delta);
}

static void delta_take(struct reading *r, struct pieces *p, int index, struct json delta) {
  if (!r->inside) delta_read(p, index, delta);
  for (size_t i = 0; p->out && i < p->count && i < DELTA_MOST; i++) p->out[i].tool_index = index;
}

/* ---- the tracker: which blocks are open */
static unsigned block_find(const struct event_state *s, int index) {
  unsigned i = 0;
  while (i < s->block_count && s->blocks[i] != index) i++;
  return i;
}

static bool block_open(struct event_state *s, int index) {
  if (block_find(s, index) < s->block_count) return true;
  if (s->block_count == EVENT_OPEN_BLOCKS) return false;
  s->blocks[s->block_count++] = index;
  return true;
}

static void block_close(struct event_state *s, int index) {
  unsigned i = block_find(s, index);
  if (i == s->block_count) return;
  s->block_count--;
  memmove(&s->blocks[i], &s->blocks[i + 1], (s->block_count - i) * sizeof s->blocks[0]);
}

/* Blocks beyond the bits are taken for known. */
static bool ever_begun(const struct event_state *s, int index) {
  return index >= EVENT_OPEN_CHOICES || (s->begun[index / 64] >> (index % 64) & 1);
}

/* A second message_start that follows the first at once is seen in the wild and does no harm; behind a block it would begin the message
   anew. */
static bool message_begin(struct event_state *s) {
  bool first = !s->begun[0] && !s->begun[1];
  s->started = true;
  return first;
}

static bool block_begin(struct event_state *s, int index) {
  if (!s->started || block_find(s, index) < s->block_count || !block_open(s, index)) return false;
  if (index < EVENT_OPEN_CHOICES) s->begun[index / 64] |= (uint64_t)1 << (index % 64);
  return true;
}

/* Whether the event may come now; clients take blocks by index, so several may be open at once. */
static bool in_order(struct event_state *s, enum kind kind, const struct event_members *m) {
  switch (kind) {
  case KIND_START:      return message_begin(s);
  case KIND_BLOCK:      return block_begin(s, block_index(m));
  case KIND_DELTA:      return s->started && block_find(s, block_index(m)) < s->block_count;
  case KIND_BLOCK_STOP: block_close(s, block_index(m)); return s->started && ever_begun(s, block_index(m));
  case KIND_MESSAGE_DELTA: case KIND_STOP: return s->started;
  default:              return true;
  }
}

static void take_usage(struct reading *r, struct json usage) {
  if (usage.type != JSON_OBJECT) return;
  r->out->has_usage = true;
  messages_usage(usage, &r->out->usage);
  if (r->out->usage.output >= 0) r->state->output = r->out->usage.output;
}

static void take_finish(struct reading *r, struct pieces *p, struct json delta) {
  struct span finish = string_raw(json_in(delta, SPAN("stop_reason")));
  if (!finish.n) return;
  piece_finish(p, 0, finish);
  r->state->finished = true;
  r->out->class = EVENT_FINISH;
  r->out->finish = finish;
  r->out->fault = messages_silence(finish);
}

static void messages_event(struct reading *r, struct pieces *p) {
  struct event_members m = { 0 };
  for (size_t i = 0; i < r->count; i++) member_sort(&m, r->members[i].key, r->members[i].value);
  enum kind kind = members_kind(&m, r->name);
  bool good = in_order(r->state, kind, &m);
  if (kind != KIND_DELTA || !good) pieces_forget(p);     /* only there content stands in a delta */
  if (!good) {
    event_protocol(r->out, SPAN("an event came out of order"));
    return;
  }
  switch (kind) {
  case KIND_DELTA: delta_take(r, p, block_index(&m), m.delta); break;
  case KIND_BLOCK: block_read(p, block_index(&m), m.block); break;
  case KIND_START:
    r->out->model = string_raw(json_in(m.message, SPAN("model")));
    take_usage(r, json_in(m.message, SPAN("usage")));
    break;
  case KIND_MESSAGE_DELTA:
    take_finish(r, p, m.delta);
    take_usage(r, m.usage);
    break;
  case KIND_STOP:
    r->out->class = EVENT_TERMINATOR;
    r->out->terminal = true;
    r->state->terminated = true;
    break;
  case KIND_ERROR: event_fail(DIALECT_MESSAGES, (struct json){ JSON_OBJECT, r->data }, r->out); break;
  default: break;
  }
}

static void messages_pieces(const struct operation_info *o, struct span name, struct json data, struct pieces *p) {
  struct event_members m = { 0 };
  struct json_iter i = json_iter(data);
  struct json key, value, usage = json_absent;
  struct usage counts;
  (void)o;
  while (json_next(&i, &key, &value)) member_sort(&m, key, value);
  switch (members_kind(&m, name)) {
  case KIND_DELTA: delta_read(p, block_index(&m), m.delta); break;
  case KIND_BLOCK: block_read(p, block_index(&m), m.block); break;
  case KIND_START: usage = json_in(m.message, SPAN("usage")); break;
  case KIND_MESSAGE_DELTA: {
    struct span finish = string_raw(json_in(m.delta, SPAN("stop_reason")));
    if (finish.n) piece_finish(p, 0, finish);
    usage = m.usage;
    break;
  }
  default: break;
  }
  if (usage.type != JSON_OBJECT) return;
  messages_usage(usage, &counts);
  piece_usage(p, &counts);
}

static void messages_answer(const struct operation_info *o, struct json document, struct answer_parts *parts,
                            struct pieces *p) {
  struct json content = json_in(document, SPAN("content"));
  struct json_iter i = json_iter(content);
  struct json key, block;
  if (json_string_is(json_in(document, SPAN("type")), SPAN("error"))) parts->error = document;
  if (o->operation == OP_COUNT_TOKENS) {
    parts->shaped = p->real = json_count(json_in(document, SPAN("input_tokens"))) >= 0;
    return;
  }
  parts->shaped = content.type == JSON_ARRAY;
  parts->usage = json_in(document, SPAN("usage"));
  parts->model = json_in(document, SPAN("model"));
  if (!parts->shaped) return;
  for (int index = 0; json_next(&i, &key, &block); index++) block_read(p, index, block);
  struct span finish = string_raw(json_in(document, SPAN("stop_reason")));
  if (finish.n) piece_finish(p, 0, finish);
}

const struct dialect_impl dialect_messages = {
  .inner = { "delta", 5 }, .opens = '{', .inside = messages_inside,
  .event = messages_event, .pieces = messages_pieces, .usage = messages_usage, .answer = messages_answer,
  .silence = messages_silence, .overflow = overflow,
};
