/* start.c: the held start of a stream as on_response sees it: what was said in it, and how much more a policy wants of it. */
#include "start.h"
#include "attempt.h"
#include "exchange.h"
#include "worker.h"

enum { TOOLS_MOST = 256 };

struct start_tool {
  int choice, index;
  struct span id, name;
  struct buf arguments;
};
struct start {
  const struct operation_info *operation;
  struct told *told;                  /* tells what is said for the first time from what is said again */
  struct buf text, thinking;
  struct start_tool *tools;
  size_t tool_count, tool_cap;
  struct span finish;
  struct hold_wish wish;
  double pieces, bytes;               /* of text, thinking and tools */
  bool wanting;                       /* the wish counts; else the first real event is enough */
  bool done;                          /* the stream has ended */
};

struct start *start_new(const struct operation_info *o, size_t most) {
  struct start *s = mem_zero(sizeof *s);
  s->operation = o;
  s->told = told_new(o, most);
  return s;
}

void start_free(struct start *s) {
  if (!s) return;
  for (size_t i = 0; i < s->tool_count; i++) buf_free(&s->tools[i].arguments);
  mem_free(s->tools);
  told_free(s->told);
  buf_free(&s->text);
  buf_free(&s->thinking);
  mem_free(s);
}

static struct start_tool *tool_of(struct start *s, const struct delta *d) {
  for (size_t i = s->tool_count; i-- > 0;)
    if (s->tools[i].choice == d->choice && s->tools[i].index == d->tool_index) return &s->tools[i];
  if (s->tool_count == TOOLS_MOST) return NULL;
  if (s->tool_count == s->tool_cap) {
    s->tool_cap = s->tool_cap ? 2 * s->tool_cap : 4;
    s->tools = mem_grow(s->tools, s->tool_cap * sizeof *s->tools);
  }
  struct start_tool *t = &s->tools[s->tool_count++];
  *t = (struct start_tool){ .choice = d->choice, .index = d->tool_index };
  return t;
}

static struct span plain(struct json v, struct arena *a) {
  struct span text = v.text;                             /* an object is told as it stands */
  if (v.type == JSON_STRING) json_unescape(v, a, &text);
  return v.type == JSON_NONE ? (struct span){ NULL, 0 } : text;
}

static void add_tool(struct start *s, const struct delta *d, struct arena *a, struct arena *scratch) {
  struct start_tool *t = tool_of(s, d);
  if (!t) return;
  if (d->tool_id.type == JSON_STRING && !t->id.n) t->id = arena_copy(a, plain(d->tool_id, scratch));
  if (d->tool_name.type == JSON_STRING && !t->name.n) t->name = arena_copy(a, plain(d->tool_name, scratch));
  buf_add(&t->arguments, plain(d->tool_arguments, scratch));
}

void start_event(struct start *s, const struct sse_event *e, const struct event_facts *f, struct delta deltas[DELTA_MOST], struct arena *a,
                 struct arena *scratch) {
  struct json document;
  s->pieces += (double)f->deltas;
  s->bytes += (double)f->delta_bytes;
  s->done |= f->terminal;
  if (f->finish.n) s->finish = arena_copy(a, f->finish);
  struct span data = sse_data(e, scratch);
  if (!data.n || sse_is_done(e) || !json_read(data, &document, NULL)) return;
  int closed;
  size_t n = told_deltas(s->told, e->name, document, deltas, &closed);
  for (size_t i = 0; i < n; i++) {
    if (deltas[i].kind == DELTA_TEXT) buf_add(&s->text, plain(deltas[i].text, scratch));
    else if (deltas[i].kind == DELTA_THINKING) buf_add(&s->thinking, plain(deltas[i].text, scratch));
    else if (deltas[i].kind == DELTA_TOOL) add_tool(s, &deltas[i], a, scratch);
  }
}

void start_add(struct attempt *a, const struct sse_event *e, const struct event_facts *f) {
  struct exchange *x = a->exchange;
  if (!exchange_has(x, HOOK_RESPONSE)) return;
  if (!a->start) a->start = start_new(x->req.operation, (size_t)exchange_setting(x, SET_MAX_ANSWER));
  start_event(a->start, e, f, worker_deltas(x->worker), &a->arena, &x->worker->scratch);
}

bool start_met(const struct start *s, const struct hold_wish *w) {
  bool amount = w->tokens >= 0 || w->bytes >= 0;
  return s->done || (!w->until_done && amount && s->pieces >= w->tokens && s->bytes >= w->bytes);
}

bool start_wanting(const struct attempt *a) { return a->start && a->start->wanting; }

bool start_enough(const struct attempt *a) {
  const struct start *s = a->start;
  return start_met(s, &s->wish) || buf_size(&a->held) > (size_t)exchange_setting(a->exchange, SET_MAX_ANSWER);
}

bool start_hold(struct attempt *a, const struct hold_wish *w) {
  struct start *s = a->start;
  bool over = buf_size(&a->held) > (size_t)exchange_setting(a->exchange, SET_MAX_ANSWER);
  bool time_only = w->tokens < 0 && w->bytes < 0 && !w->until_done;
  if (!s || over || start_met(s, w) || w->seconds == 0 || (time_only && w->seconds < 0)) return false;
  s->wish = *w;
  s->wanting = true;
  a->hold_due_ms = w->seconds > 0 ? a->exchange->worker->loop->now_ms + (uint64_t)(w->seconds * 1000) + 1 : 0;
  return true;
}

void start_tell(const struct start *s, struct arena *a, struct policy_response *r) {
  r->stream = true;
  r->done = s->done;
  r->text = buf_span(&s->text);
  r->thinking = buf_span(&s->thinking);
  r->finish = s->finish;
  r->tool_count = s->tool_count;
  struct policy_tool *tools = s->tool_count ? arena_alloc(a, s->tool_count * sizeof *tools) : NULL;
  for (size_t i = 0; i < s->tool_count; i++)
    tools[i] = (struct policy_tool){ s->tools[i].id, s->tools[i].name, buf_span(&s->tools[i].arguments) };
  r->tools = tools;
}

void start_show(struct attempt *a, struct policy_response *r) {
  r->stream = true;
  if (!a->start) return;
  a->start->wanting = false;
  start_tell(a->start, &a->arena, r);
}
