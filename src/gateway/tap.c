/* tap.c: the usage of an answer that flows through unread: raw routes that are a known operation under a provider's own name. What
   cannot be read is no fault here: the bytes are on their way. */
#include "attempt.h"
#include "exchange.h"
#include "worker.h"

struct tap {
  const struct operation_info *operation;
  bool stream, over;                  /* over: it cannot be read, or is too long to be kept */
  struct buf window;                  /* the unfinished event; the whole answer */
  struct sse sse;
  struct event_state events;
};

/* The operation whose path this provider serves here. */
const struct operation_info *tap_operation(struct span method, struct span path, const struct provider *p) {
  if (!span_eq(method, SPAN("POST"))) return NULL;
  for (enum operation o = 0; o < OP_COUNT; o++) {
    const struct operation_info *info = operation_info(o);
    if (operation_served(info, p->dialect) && span_ends(path, span_cstr(info->suffix))) return info;
  }
  return NULL;
}

void tap_begin(struct attempt *a) {
  struct exchange *x = a->exchange;
  const struct operation_info *o = tap_operation(x->req.method, x->raw_path.p ? x->raw_path : x->path, a->target.provider);
  if (!o || a->status >= 400) return;
  a->tap = mem_zero(sizeof *a->tap);
  a->tap->operation = o;
  a->tap->stream = span_istarts(a->head->content_type, SPAN("text/event-stream"));
}

bool tap_counts(const struct tap *t) { return t && t->stream && !t->over; }

void tap_free(struct tap *t) {
  if (!t) return;
  buf_free(&t->window);
  mem_free(t);
}

static void take(struct exchange *x, const struct usage *u, bool has_usage, struct span model) {
  if (has_usage) usage_merge(&x->usage, u), x->usage_reported = true;
  if (model.n && !x->served_model.n) x->served_model = arena_copy(&x->arena, model);
}

static void read_events(struct attempt *a) {
  struct tap *t = a->tap;
  struct exchange *x = a->exchange;
  struct arena *scratch = &x->worker->scratch;
  struct sse_event e;
  struct step s;
  size_t at = 0;
  while ((s = sse_feed(&t->sse, span_from(buf_span(&t->window), at), &e)).kind == STEP_EVENT) {
    struct event_facts f;
    event_read(t->operation, &t->events, &e, scratch, &f);
    take(x, &f.usage, f.has_usage, f.model);
    x->usage_whole |= event_usage_whole(t->operation, &t->events, &f);
    x->deltas += f.deltas;
    x->delta_bytes += f.delta_bytes;
    a->told_end |= f.terminal;
    arena_reset(scratch);
    at += s.used;
  }
  buf_consume(&t->window, at);
  t->over |= s.kind == STEP_BAD;
}

void tap_feed(struct attempt *a, struct span data) {
  struct tap *t = a->tap;
  if (!t || t->over) return;
  buf_add(&t->window, data);
  if (t->stream) read_events(a);
  else t->over = buf_size(&t->window) > (size_t)exchange_setting(a->exchange, SET_MAX_ANSWER);
  if (t->over || !buf_size(&t->window)) buf_free(&t->window);
}

void tap_end(struct attempt *a) {
  struct tap *t = a->tap;
  struct answer_facts f;
  if (!t || t->over || t->stream || !buf_size(&t->window)) return;
  answer_read(t->operation, buf_span(&t->window), &f);
  take(a->exchange, &f.usage, f.has_usage, f.model);
  a->exchange->usage_whole |= f.has_usage;
}
