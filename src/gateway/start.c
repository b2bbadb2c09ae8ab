/* start.c: the held start of a stream as on_response sees it: what was said in it, and how much more a policy wants of it. */
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

static void add_tool(struct attempt *a, struct start *s, const struct delta *d, struct arena *scratch) {
  struct start_tool *t = tool_of(s, d);
  if (!t) return;
  if (d->tool_id.type == JSON_STRING && !t->id.n) t->id = arena_copy(&a->arena, plain(d->tool_id, scratch));
  if (d->tool_name.type == JSON_STRING && !t->name.n) t->name = arena_copy(&a->arena, plain(d->tool_name, scratch));
  buf_add(&t->arguments, plain(d->tool_arguments, scratch));
}

void start_add(struct attempt *a, const struct sse_event *e, const struct event_facts *f) {
  struct exchange *x = a->exchange;
  struct arena *scratch = &x->worker->scratch;
  struct json document;
  if (!exchange_has(x, HOOK_RESPONSE)) return;
  if (!a->start) a->start = mem_zero(sizeof *a->start);
  struct start *s = a->start;
  s->pieces += (double)f->deltas;
  s->bytes += (double)f->delta_bytes;
  s->done |= f->terminal;
  if (f->finish.n) s->finish = arena_copy(&a->arena, f->finish);
  struct span data = sse_data(e, scratch);
  if (!data.n || sse_is_done(e) || !json_read(data, &document, NULL)) return;
  struct delta *deltas = worker_deltas(x->worker);
  if (!s->told) s->told = told_new(x->req.operation, (size_t)exchange_setting(x, SET_MAX_ANSWER));
  int closed;
  size_t n = told_deltas(s->told, e->name, document, deltas, &closed);
  for (size_t i = 0; i < n; i++) {
    if (deltas[i].kind == DELTA_TEXT) buf_add(&s->text, plain(deltas[i].text, scratch));
    else if (deltas[i].kind == DELTA_THINKING) buf_add(&s->thinking, plain(deltas[i].text, scratch));
    else if (deltas[i].kind == DELTA_TOOL) add_tool(a, s, &deltas[i], scratch);
  }
}

/* The amounts that were named are all there. Time is another matter. */
static bool met(const struct start *s, const struct hold_wish *w) {
  bool amount = w->tokens >= 0 || w->bytes >= 0;
  return s->done || (!w->until_done && amount && s->pieces >= w->tokens && s->bytes >= w->bytes);
}

bool start_wanting(const struct attempt *a) { return a->start && a->start->wanting; }

bool start_enough(const struct attempt *a) {
  const struct start *s = a->start;
  return met(s, &s->wish) || buf_size(&a->held) > (size_t)exchange_setting(a->exchange, SET_MAX_ANSWER);
}

bool start_hold(struct attempt *a, const struct hold_wish *w) {
  struct start *s = a->start;
  bool over = buf_size(&a->held) > (size_t)exchange_setting(a->exchange, SET_MAX_ANSWER);
  bool time_only = w->tokens < 0 && w->bytes < 0 && !w->until_done;
  if (!s || over || met(s, w) || w->seconds == 0 || (time_only && w->seconds < 0)) return false;
  s->wish = *w;
  s->wanting = true;
  a->hold_due_ms = w->seconds > 0 ? a->exchange->worker->loop->now_ms + (uint64_t)(w->seconds * 1000) + 1 : 0;
  return true;
}

void start_show(struct attempt *a, struct policy_response *r) {
  struct start *s = a->start;
  r->stream = true;
  if (!s) return;
  s->wanting = false;
  r->done = s->done;
  r->text = buf_span(&s->text);
  r->thinking = buf_span(&s->thinking);
  r->finish = s->finish;
  r->tool_count = s->tool_count;
  struct policy_tool *tools = s->tool_count ? arena_alloc(&a->arena, s->tool_count * sizeof *tools) : NULL;
  for (size_t i = 0; i < s->tool_count; i++)
    tools[i] = (struct policy_tool){ s->tools[i].id, s->tools[i].name, buf_span(&s->tools[i].arguments) };
  r->tools = tools;
}
