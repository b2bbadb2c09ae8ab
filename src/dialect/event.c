/* event.c: what is the same for all dialects when a stream's event is read. */
#include "dialect_impl.h"

const struct dialect_impl *dialect_impl(enum dialect d) {
  static const struct dialect_impl *const all[DIALECT_COUNT] = { &dialect_chat, &dialect_responses, &dialect_messages, &dialect_gemini, &dialect_converse };
  return all[d];
}

void event_protocol(struct event_facts *out, struct span why) {
  out->class = EVENT_ERROR;
  out->fault = FAULT_PROTOCOL;
  out->message = why;
}

void event_fail(enum dialect d, struct json document, struct event_facts *out) {
  struct failure f;
  error_read(d, 0, document, &f);
  out->class = EVENT_ERROR;
  out->fault = f.fault;
  out->code = f.code;
  out->message = f.message;
  out->retry_after = f.retry_after > 0 ? f.retry_after : 0;
}

/* [DONE] ends the chat dialect; elsewhere some servers add it and clients skip it. */
static void done_read(const struct operation_info *o, struct event_state *s, struct event_facts *out) {
  if (o->dialect != DIALECT_CHAT) return;
  out->class = EVENT_TERMINATOR;
  out->terminal = true;
  s->terminated = true;
}

static void facts_finish(struct event_state *s, const struct pieces *p, bool ended_before, struct event_facts *out) {
  if (out->class == EVENT_ERROR) {
    out->real = false;
    return;
  }
  out->real = p->real;
  out->deltas = p->content;
  out->delta_bytes = p->bytes;
  if (p->count + out->has_usage > DELTA_MOST) event_protocol(out, SPAN("an event holds too many pieces"));
  else if (p->real && ended_before) event_protocol(out, SPAN("content after the end of the stream"));
  else if (p->real && out->class < EVENT_TERMINATOR) out->class = EVENT_REAL;
  if (p->real) s->said = true;
}

static struct json inner_read(const struct dialect_impl *d, struct reading *r, struct json_pull *pull, struct pieces *p) {
  struct json_pull own = *pull;
  d->inside(r, &own, p);
  r->inside = true;
  if (pull_broken(&own)) return pull_fail(pull), json_absent;
  return pull_taken(pull, scan_type(d->opens), own.at);
}

/* The data's members, and what its dialect reads of them on the way. False: it is no object, or a key stands twice in it. */
static bool members_read(struct reading *r, struct json_member members[EVENT_MEMBERS], struct pieces *p) {
  const struct dialect_impl *d = dialect_impl(r->operation->dialect);
  struct span inner = d->inner;
  struct json_pull pull;
  struct pull_names names;
  size_t count = 0;
  names.seen = names.hashed = 0;
  pull_begin(&pull, r->data);
  if (!pull_is(&pull, '{')) return false;
  for (bool on = pull_enter(&pull); on; on = pull_more(&pull, '}'), count++) {
    if (count == EVENT_MEMBERS) return false;
    struct json_member *m = &members[count];
    m->key = pull_key(&pull);
    if (pull_broken(&pull) || !pull_name(&names, members, count, pull.plain)) return false;
    if (inner.n && pull_is(&pull, d->opens) && key_is(m->key, inner)) m->value = inner_read(d, r, &pull, p);
    else m->value = pull_value(&pull);
  }
  r->count = count;
  return pull_ended(&pull);
}

static void take(const struct operation_info *o, struct event_state *s, const struct sse_event *e, struct arena *scratch,
                 struct event_facts *out, struct pieces *p) {
  static const struct event_facts blank = { .class = EVENT_LIFECYCLE, .usage = { -1, -1, -1, -1, -1, -1 } };
  struct json_member members[EVENT_MEMBERS];
  *out = blank;
  if (!e->data_lines) return;
  struct span data = e->data_lines == 1 ? e->data : sse_data(e, scratch);
  if ((!data.n || data.p[0] != '{') && sse_is_done(e)) {
    done_read(o, s, out);
    return;
  }
  struct reading r = { .operation = o, .state = s, .name = e->name, .data = data, .members = members, .out = out };
  memcpy(r.choices, s->choices, sizeof r.choices);
  bool ended_before = s->terminated;
  if (!members_read(&r, members, p)) {
    memcpy(s->choices, r.choices, sizeof r.choices);
    pieces_forget(p);
    event_protocol(out, SPAN("an event is no JSON object"));
    return;
  }
  dialect_impl(o->dialect)->event(&r, p);
  facts_finish(s, p, ended_before, out);
}

void event_read(const struct operation_info *o, struct event_state *s, const struct sse_event *e, struct arena *scratch,
                struct event_facts *out) {
  struct pieces p = { 0 };
  take(o, s, e, scratch, out, &p);
}

size_t event_read_deltas(const struct operation_info *o, struct event_state *s, const struct sse_event *e,
                         struct arena *scratch, struct event_facts *out, struct delta deltas[DELTA_MOST]) {
  struct pieces p = { .out = deltas };
  take(o, s, e, scratch, out, &p);
  if (out->has_usage) piece_usage(&p, &out->usage);
  return p.count < DELTA_MOST ? p.count : DELTA_MOST;
}

/* Gemini has no event for the end: it may come when every candidate has finished. Converse tells usage behind the finish, or not at all. */
bool event_may_end(const struct operation_info *o, const struct event_state *s) {
  bool open = false;
  if (!o->streams || s->terminated) return true;
  if (o->dialect == DIALECT_CONVERSE) return s->finished;
  for (size_t i = 0; i < sizeof s->choices / sizeof *s->choices; i++) open |= s->choices[i] != 0;
  return o->dialect == DIALECT_GEMINI && s->finished && !open;
}

bool event_usage_whole(const struct operation_info *o, const struct event_state *s, const struct event_facts *f) {
  if (!f->has_usage) return false;
  if (o->dialect == DIALECT_GEMINI) return s->finished && f->usage.output >= 0;
  return o->dialect != DIALECT_MESSAGES || (f->finish.n && f->usage.output >= 0);
}

size_t event_deltas(const struct operation_info *o, struct span name, struct json data, struct delta out[DELTA_MOST]) {
  struct pieces p = { .out = out };
  if (data.type != JSON_OBJECT) return 0;
  dialect_impl(o->dialect)->pieces(o, name, data, &p);
  return p.count < DELTA_MOST ? p.count : DELTA_MOST;
}
