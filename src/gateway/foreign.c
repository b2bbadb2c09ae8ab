/* foreign.c: an attempt at a provider that speaks another dialect than the client.
   The request is translated when it is sent, after policies and weir have changed it in the client's own words. The answer is translated
   as it comes in, so that all behind it (what is held, judged, changed and relayed) is in the client's dialect; faults, usage and the
   model's name are read from what the provider said. */
#include "attempt.h"
#include "exchange.h"
#include "foreign.h"
#include "worker.h"
#include "weir/translate.h"

struct foreign {
  const struct operation_info *operation;                /* what the provider is asked */
  struct translation *translation;                       /* of a stream, once it has begun */
  struct event_source source;
  struct event_state events;
  struct buf window;                                     /* the unfinished event */
  struct span *customs;                                  /* tools that take free text and went as functions */
  size_t custom_count;
  bool one_call;                                         /* of the answer's calls the first is kept */
  struct span lost;                                      /* of the request */
  struct buf losses;                                     /* of the answer, as far as it is known */
  enum fault silence;                                    /* what a stream without content is, as its provider said why it ended */
  bool over;                                             /* nothing more is read */
};

const struct operation_info *foreign_operation(const struct attempt *a) { return a->foreign ? a->foreign->operation : a->exchange->req.operation; }

/* Of the model, where it is served in another one than the provider's others. */
static enum dialect dialect_of(struct attempt *a) {
  a->model = chain_facts(a->exchange, a->target.provider, a->target.model);
  return a->model->dialect;
}

/* Thinking that another provider signed comes home to none of those that get the client's own bytes, and would be refused there. */
static void leave_sealed(struct exchange *x) {
  static const struct span mark = SPAN(TRANSLATE_SEAL);
  if (!x->req.facts.bound || x->req.operation->operation != OP_MESSAGES || span_search(x->body, mark) == x->body.n) return;
  x->req.losses |= 1u << LOSS_THINKING;
  if (request_may_lose(x)) request_lose(x);
}

void foreign_begin(struct attempt *a) {
  const struct operation_info *own = a->exchange->req.operation, *o;
  if (!own || a->exchange->raw) return;
  o = operation_at(own, dialect_of(a));
  if (o == own) leave_sealed(a->exchange);
  if (!o || o == own) return;
  a->foreign = mem_zero(sizeof *a->foreign);
  a->foreign->operation = o;
}

void foreign_free(struct foreign *f) {
  if (!f) return;
  translation_free(f->translation);
  buf_free(&f->window);
  buf_free(&f->losses);
  mem_free(f);
}

/* ---- the request */
static struct span joined(struct exchange *x, struct span a, struct span b) {
  if (!a.n || !b.n) return a.n ? a : b;
  return arena_printf(&x->arena, "%.*s, %.*s", SPAN_FMT(a), SPAN_FMT(b));
}

/* Of the chat dialect only OpenAI's own models insist on the newer name, and many servers know the older one alone. */
static bool old_limit_name(const struct provider *p) {
  return p->quirks->old_limit_name || !p->quirks->new_limit_name;
}

bool foreign_translate(struct attempt *a, struct span body, struct translating *t) {
  struct exchange *x = a->exchange;
  struct provider *p = a->target.provider;
  struct json_error e;
  struct buf out = { 0 };
  size_t n = 0;
  int64_t *budgets = arena_alloc(&x->arena, TRANSLATE_BUDGETS * sizeof *budgets);
  for (int i = 0; i < TRANSLATE_BUDGETS; i++) budgets[i] = (int64_t)exchange_setting(x, SET_BUDGET + i);
  *t = (struct translating){ .arena = &x->arena, .budgets = budgets, .model = a->target.model, .provider = p->name, .stream = x->req.stream, .max_output = a->model ? a->model->max_output : 0,
                             .reasoning = a->model ? a->model->reasoning : -1,
                             .old_limit_name = old_limit_name(p), .ask_usage = provider_takes_usage_option(p),
                             .strict = exchange_setting(x, SET_LOSS) > 0, .allowed = x->req.allowed, .allowed_count = x->req.allowed_count };
  if (!json_read_object(body, x->worker->members, MOST_MEMBERS, &n, &e)) {
    t->why = arena_printf(&x->arena, "the request body is no JSON object: %s", e.why);
    return false;
  }
  bool good = translate_request(x->req.operation, a->foreign->operation, x->worker->members, n, t, &out);
  if (good) {
    a->body = arena_copy(&x->arena, buf_span(&out));
    a->foreign->lost = x->loss = joined(x, x->lost, t->losses);
    a->foreign->customs = t->customs;
    a->foreign->custom_count = t->custom_count;
    a->foreign->one_call = t->one_call;
    if (t->limit) x->output_limit = t->limit;
  }
  buf_free(&out);
  return good;
}

void foreign_widen(const struct attempt *a, struct estimate *e) {
  if (!a->foreign || a->foreign->operation->operation != OP_RESPONSES || e->output <= 0 || e->output >= TRANSLATE_LEAST) return;
  e->output = TRANSLATE_LEAST;
  e->cost = estimate_cost(e, &a->model->price);
}

/* ---- whole answers */
static struct translate_names names_of(struct attempt *a) {
  struct exchange *x = a->exchange;
  struct foreign *f = a->foreign;
  return (struct translate_names){ .id = span_cstr(x->id), .model = x->req.model, .provider = a->target.provider->name, .created = time(NULL),
                                   .usage = x->req.facts.wants_usage, .customs = f->customs, .custom_count = f->custom_count, .one_call = f->one_call, .losses = &f->losses };
}

/* What shows in the answer alone: in the head where that is not out yet, in the trace and the record always. */
static void losses_tell(struct attempt *a, size_t had) {
  struct exchange *x = a->exchange;
  struct foreign *f = a->foreign;
  if (buf_size(&f->losses) == had) return;
  struct buf all = { 0 };
  struct span lists[] = { f->lost, buf_span(&f->losses) }, one;
  for (size_t i = 0; i < 2; i++)
    for (struct span left = lists[i]; left.n;) {
      left = span_cut(left, ',', &one);
      loss_add(&all, span_trim(one));
    }
  x->loss = arena_copy(&x->arena, buf_span(&all));
  buf_free(&all);
}

bool foreign_answer(struct attempt *a, const char **why) {
  struct translate_names n = names_of(a);
  struct buf out = { 0 };
  bool good = translate_answer(a->foreign->operation, a->exchange->req.operation, buf_span(&a->window), &n, &out, why);
  losses_tell(a, 0);
  buf_free(&a->window);
  a->window = out;
  return good;
}

/* ---- streams */
void foreign_head(struct attempt *a) {
  for (size_t i = 0; a->stream && i < a->head->count; i++)
    if (span_ieq(a->head->headers[i].name, SPAN("content-type"))) a->head->headers[i].value = SPAN("text/event-stream; charset=utf-8");
}

static void take_facts(struct attempt *a, const struct event_facts *f) {
  struct exchange *x = a->exchange;
  if (f->has_usage) {
    usage_merge(&x->usage, &f->usage);
    x->usage_reported = true;
    x->usage_whole |= event_usage_whole(a->foreign->operation, &a->foreign->events, f);
  }
  if (f->model.n && !x->served_model.n) x->served_model = arena_copy(&x->arena, f->model);
  if (f->finish.n && f->fault) a->foreign->silence = f->fault;
}

/* The attempt fails once what came before has been relayed. */
static void stop_here(struct attempt *a, enum fault f, const char *why) {
  a->foreign->over = true;
  a->cut = f;
  a->why = arena_cstr(&a->arena, span_cstr(why));
}

static void provider_failed(struct attempt *a, const struct event_facts *f) {
  enum fault fault = f->fault ? f->fault : FAULT_OVERLOADED;
  bool account = fault == FAULT_AUTH || fault == FAULT_QUOTA;            /* what it says of weir's own account stays here */
  struct span said = { NULL, 0 };
  a->failure.retry_after = f->retry_after > 0 ? f->retry_after : -1;
  a->failure.code = arena_copy(&a->arena, f->code);
  if (f->message.n && !account) said = arena_copy(&a->arena, f->message);
  stop_here(a, fault, said.n ? arena_cstr(&a->arena, said) : "the provider reported an error in its stream");
}

static void event_take(struct attempt *a, const struct sse_event *e, struct buf *out) {
  struct foreign *f = a->foreign;
  struct exchange *x = a->exchange;
  struct event_facts facts;
  const char *why = NULL;
  event_read(f->operation, &f->events, e, &x->worker->scratch, &facts);
  take_facts(a, &facts);
  if (facts.class == EVENT_ERROR) {
    provider_failed(a, &facts);
  } else {
    enum fault fault = translation_event(f->translation, e, out, &why);
    if (fault) stop_here(a, fault, why);
  }
  arena_reset(&x->worker->scratch);
}

void foreign_feed(struct attempt *a, struct span data) {
  struct foreign *f = a->foreign;
  struct exchange *x = a->exchange;
  struct buf out = { 0 };
  struct sse_event e;
  struct step s = { 0 };
  size_t had = buf_size(&f->losses);
  if (f->over) return;
  if (!f->translation) {
    struct translate_names n = names_of(a);
    f->translation = translation_new(f->operation, x->req.operation, &n, (size_t)exchange_setting(x, SET_MAX_ANSWER));
  }
  buf_add(&f->window, data);
  size_t at = 0;
  struct span window = buf_span(&f->window);
  while (!f->over && (s = event_next(f->operation, &f->source, span_from(window, at), &x->worker->scratch, &e)).kind == STEP_EVENT) {
    event_take(a, &e, &out);
    at += s.used;
  }
  buf_consume(&f->window, at);
  if (!buf_size(&f->window)) buf_free(&f->window);
  if (!f->over && s.kind == STEP_BAD) stop_here(a, FAULT_PROTOCOL, event_broken(f->operation, &f->source));
  losses_tell(a, had);
  if (buf_size(&out)) relay_feed(a, buf_span(&out));     /* the attempt may be gone behind it */
  else if (f->over) relay_cut(a, a->cut);
  buf_free(&out);
}

bool foreign_ended(const struct attempt *a) {
  return a->foreign && a->foreign->events.terminated && !a->events.terminated && event_may_end(a->exchange->req.operation, &a->events);
}

bool foreign_last(struct attempt *a, struct buf *out) {
  struct foreign *f = a->foreign;
  const char *why = NULL;
  if (f && f->operation->dialect == DIALECT_CONVERSE && buf_size(&f->window)) return false;       /* within a frame */
  if (!f || !f->translation || f->over || f->events.terminated || !event_may_end(f->operation, &f->events)) return false;
  f->over = true;
  enum fault fault = translation_end(f->translation, out, &why);
  if (fault) stop_here(a, fault, why);
  return true;
}

/* What the client's dialect would make of the end is less than what the provider said. */
void foreign_facts(const struct attempt *a, struct event_facts *f) {
  if (!a->foreign) return;
  if (f->finish.n && f->fault && a->foreign->silence) f->fault = a->foreign->silence;
  f->has_usage = false;                                  /* counted as the provider told it */
}
