/* stream.h: a recorded or written stream run through the reader, and what came out of it. */
#ifndef TEST_DIALECT_STREAM_H
#define TEST_DIALECT_STREAM_H

#include <stdio.h>
#include <stdlib.h>
#include "weir/dialect.h"
#include "weir/log.h"

struct seen {
  struct event_state state;
  unsigned events, real, lifecycle, finishes, terminators, errors;
  int first_real;                     /* number of the event, -1 none */
  int ended_at;                       /* number of the event after which the stream might end, -1 none */
  enum fault fault;                   /* of the first error */
  enum fault silence;                 /* fault beside the last finish */
  char code[128], message[512], finish[64], model[128];
  struct usage usage;
  bool has_usage;
  uint64_t deltas, delta_bytes;
  struct buf text, thinking, arguments, names;
  unsigned delta_finishes, delta_usages;
};

static inline void seen_end(struct seen *s) {
  buf_free(&s->text);
  buf_free(&s->thinking);
  buf_free(&s->arguments);
  buf_free(&s->names);
}

static inline void keep(char *into, size_t size, struct span s) { snprintf(into, size, "%.*s", SPAN_FMT(s)); }

static inline bool starts(const struct buf *b, const char *with) { return !*with || span_starts(buf_span(b), span_cstr(with)); }
static inline bool ends(const struct buf *b, const char *with) { return !*with || span_ends(buf_span(b), span_cstr(with)); }

static inline void append(struct buf *b, struct json string) {
  struct arena a = { 0 };
  struct span text;
  if (string.type != JSON_STRING) return;
  json_unescape(string, &a, &text);
  buf_add(b, text);
  arena_end(&a);
}

static inline void seen_deltas(struct seen *s, const struct operation_info *o, const struct sse_event *e, struct arena *scratch) {
  struct delta deltas[DELTA_MOST];
  struct json data;
  if (!json_read(sse_data(e, scratch), &data, NULL)) return;
  size_t n = event_deltas(o, e->name, data, deltas);
  for (size_t i = 0; i < n; i++) {
    struct delta *d = &deltas[i];
    switch (d->kind) {
    case DELTA_TEXT: append(&s->text, d->text); break;
    case DELTA_THINKING: append(&s->thinking, d->text); break;
    case DELTA_TOOL:
      append(&s->arguments, d->tool_arguments);
      if (d->tool_name.type == JSON_STRING && buf_size(&s->names)) buf_byte(&s->names, ' ');
      append(&s->names, d->tool_name);
      break;
    case DELTA_FINISH: s->delta_finishes++; break;
    case DELTA_USAGE: s->delta_usages++; break;
    }
  }
}

/* Read at once with its facts the event has the same pieces. */
static inline void seen_at_once(const struct operation_info *o, struct event_state before, const struct sse_event *e, struct arena *scratch) {
  struct delta at_once[DELTA_MOST], deltas[DELTA_MOST];
  struct event_facts f;
  struct json data;
  if (!event_gives_deltas(o) || !json_read(sse_data(e, scratch), &data, NULL)) return;
  size_t n = event_read_deltas(o, &before, e, scratch, &f, at_once), count = event_deltas(o, e->name, data, deltas);
  require(n == count);
  for (size_t i = 0; i < n; i++) {
    require(at_once[i].kind == deltas[i].kind && at_once[i].choice == deltas[i].choice && at_once[i].tool_index == deltas[i].tool_index);
    require(span_eq(at_once[i].text.text, deltas[i].text.text) && span_eq(at_once[i].finish, deltas[i].finish));
    require(span_eq(at_once[i].tool_arguments.text, deltas[i].tool_arguments.text) && span_eq(at_once[i].tool_id.text, deltas[i].tool_id.text));
    require(at_once[i].usage.input == deltas[i].usage.input && at_once[i].usage.output == deltas[i].usage.output);
  }
}

static inline void seen_event(struct seen *s, const struct operation_info *o, const struct sse_event *e) {
  struct event_facts f;
  struct arena scratch = { 0 };
  struct event_state before = s->state;
  event_read(o, &s->state, e, &scratch, &f);
  seen_at_once(o, before, e, &scratch);
  int number = (int)s->events++;
  s->lifecycle += f.class == EVENT_LIFECYCLE;
  s->terminators += f.class == EVENT_TERMINATOR;
  s->finishes += f.finish.n > 0;
  if (f.real) s->real++;
  if (f.real && s->first_real < 0) s->first_real = number;
  if (f.class == EVENT_ERROR && !s->errors++) {
    s->fault = f.fault;
    keep(s->code, sizeof s->code, f.code);
    keep(s->message, sizeof s->message, f.message);
  }
  if (f.finish.n) keep(s->finish, sizeof s->finish, f.finish), s->silence = f.fault;
  if (f.model.n) keep(s->model, sizeof s->model, f.model);
  if (f.has_usage) usage_merge(&s->usage, &f.usage), s->has_usage = true;
  s->deltas += f.deltas;
  s->delta_bytes += f.delta_bytes;
  if (event_may_end(o, &s->state) && s->ended_at < 0) s->ended_at = number;
  seen_deltas(s, o, e, &scratch);
  arena_end(&scratch);
}

static inline struct seen stream_read(enum operation op, struct span stream) {
  struct seen s = { .first_real = -1, .ended_at = -1, .usage = USAGE_NONE };
  struct sse sse = { 0 };
  struct sse_event e;
  for (struct step step; (step = sse_feed(&sse, stream, &e)).kind == STEP_EVENT; stream = span_from(stream, step.used))
    seen_event(&s, operation_info(op), &e);
  return s;
}

/* One JSON payload per line, framed as that dialect's servers do; chat streams get their [DONE]. */
static inline void stream_frame(enum operation op, struct span lines, struct buf *out) {
  const struct operation_info *o = operation_info(op);
  while (lines.n) {
    struct span line;
    struct json data;
    lines = span_cut(lines, '\n', &line);
    if (!line.n) continue;
    struct span name = { NULL, 0 };
    if (o->dialect != DIALECT_CHAT && json_read(line, &data, NULL)) {
      struct json type = json_get(data, SPAN("type"));
      name = span_of(type.text.p + 1, type.text.n - 2);
    }
    sse_write(out, name, line);
  }
  if (o->dialect == DIALECT_CHAT) sse_write(out, SPAN(""), SPAN("[DONE]"));
}

/* A recorded answer of a provider. Where there are none the test is skipped, and does not count as passed. */
static inline void recording_read(const char *path, struct buf *out) {
  const char *root = getenv("WEIR_FIXTURES");
  char full[512];
  snprintf(full, sizeof full, "%s/%s", root ? root : "../shared/fixtures", path);
  FILE *f = fopen(full, "rb");
  if (!f) print_message("no recording %s\n", full), skip();
  for (size_t n = 1; n; buf_commit(out, n)) n = fread(buf_reserve(out, 65536), 1, 65536, f);
  fclose(f);
}

#endif
