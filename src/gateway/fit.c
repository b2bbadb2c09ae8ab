/* fit.c: the catalogue of models at work: windows, abilities, models that are gone, tokens counted ahead. */
#include "attempt.h"
#include "exchange.h"
#include "fit.h"
#include "worker.h"
#include "weir/models.h"
#include <stdio.h>

enum {
  SMALL = 256,                        /* bytes of a body that fits everywhere */
  LEARNED_MOST = 64 * 1024,           /* of one that is measured only to learn from it */
};


/* As policies have left it. */
static const struct json_member *members_of(const struct policy_req *r, size_t *count) {
  *count = r->seen ? r->seen_count : r->member_count;
  return r->seen ? r->seen : r->members;
}

/* A request against one model after the other: it is measured once, when somebody's window may be too small for its bytes. */
struct fitting {
  struct exchange *x;
  unsigned needs;
  bool needs_known, measured;
  struct request_measure measure;
  int64_t tokens, window;             /* of the one with the largest window that it is beyond */
  struct span largest;
};

static void measure(struct fitting *f) {
  size_t count;
  const struct json_member *members = members_of(&f->x->req, &count);
  if (!f->measured) request_measure(members, count, &f->measure);
  f->measured = true;
}

enum fits { FITS, FITS_NOT, FITS_HARDLY, FITS_NEVER };   /* NOT: it lacks something; HARDLY, NEVER: beyond its window, as counted; surely */

static enum fits window_fit(struct fitting *f, const struct candidate *c, const struct model_facts *m) {
  struct token_count n;
  bool edited = f->x->req.seen != NULL;
  if (m->window <= 0 || (!edited && (int64_t)f->x->body_size <= m->window)) return FITS;      /* no token is shorter than a byte */
  measure(f);
  models_count(c->name, &f->measure, &n);
  if (n.tokens <= m->window) return FITS;
  if (m->window > f->window) f->window = m->window, f->tokens = n.tokens, f->largest = c->name;
  return n.least > m->window ? FITS_NEVER : FITS_HARDLY;
}

static unsigned needs(struct fitting *f) {
  struct policy_req *r = &f->x->req;
  size_t count;
  const struct json_member *members = members_of(r, &count);
  if (!f->needs_known) f->needs = request_needs(r->operation, members, count, r->seen ? ~0ull : r->body_keys);
  f->needs_known = true;
  return f->needs;
}

static const char *lacks(unsigned missing) {
  for (int i = 0; i < ABLE_COUNT; i++)
    if (missing & ABLE_BIT(i)) return ability_words[i];
  return "";
}

static enum fits fit_of(struct fitting *f, const struct candidate *c, const char **why) {
  struct exchange *x = f->x;
  const struct model_facts *m = chain_facts(x, c->provider, c->model);
  if (!m->window && x->route.alias && models_tell(c->name, MODELS_UNKNOWN))
    log_info("%.*s: its window is not known, so no request is measured against it; say it in provider { models = … }", SPAN_FMT(c->name));
  enum fits beyond = window_fit(f, c, m);
  *why = "the request is beyond its window";
  if (beyond != FITS) return beyond;
  *why = m->able.cannot ? lacks(needs(f) & m->able.cannot) : "";      /* of most models nothing is known to lack */
  return **why ? FITS_NOT : FITS;
}

static bool refuse_too_long(struct fitting *f) {
  struct exchange *x = f->x;
  struct error e = { .status = 400, .fault = FAULT_CONTEXT_TOO_LONG };
  e.message = arena_printf(&x->arena, "prompt is too long: %lld tokens > %lld maximum, the window of %.*s, as weir counts them", (long long)f->tokens,
                           (long long)f->window, SPAN_FMT(f->largest));
  answer_error(x, &e, -1);
  exchange_end(x, span_cstr(fault_word(e.fault)));
  return false;
}

bool fit_chain(struct exchange *x) {
  struct policy_req *r = &x->req;
  struct fitting f = { .x = x };
  enum fits fits[ROUTE_MOST_TARGETS];
  struct candidate kept[ROUTE_MOST_TARGETS], *list = x->route.candidates;
  size_t count = x->route.count, n = 0;
  enum fits best = FITS_NEVER;
  if (!r->operation || operation_embeds(r->operation) || operation_counts(r->operation)) return true;
  if (!r->seen && x->body_size <= SMALL && count < 2) return true;
  for (size_t i = 0; i < count; i++) {
    const char *why = "";
    fits[i] = fit_of(&f, &list[i], &why);
    if (fits[i] < best) best = fits[i];
    if (fits[i] && count > 1) log_info("%s: %.*s does not fit: %s%s", x->id, SPAN_FMT(list[i].name), fits[i] == FITS_NOT ? "no " : "", why);
  }
  if (best == FITS_NEVER && f.window) return refuse_too_long(&f);
  for (size_t i = 0; i < count; i++)
    if (fits[i] == FITS || (best > FITS && fits[i] != FITS_NEVER)) kept[n++] = list[i];
  memcpy(list, kept, n * sizeof *kept);
  x->route.count = n;
  return true;
}

/* ---- counting for those who ask */
/* What would be asked of whom: where that provider has no count of its own, weir's is the answer. */
static const struct operation_info *counted_for(const struct operation_info *o) {
  switch (o->operation) {
  case OP_INPUT_TOKENS: return operation_info(OP_CHAT);
  case OP_GEMINI_TOKENS: return operation_info(OP_GENERATE);
  default: return operation_info(OP_MESSAGES);
  }
}

static const char *count_form(const struct operation_info *o) {
  switch (o->operation) {
  case OP_INPUT_TOKENS: return "{\"object\":\"response.input_tokens\",\"input_tokens\":%lld}";
  case OP_GEMINI_TOKENS: return "{\"totalTokens\":%lld}";
  default: return "{\"input_tokens\":%lld}";
  }
}

/* Gemini takes what is to be counted as it is, or as the whole request it would be. */
static void measure_counted(struct exchange *x, struct request_measure *m) {
  size_t count;
  const struct json_member *members = members_of(&x->req, &count);
  struct json whole = json_member_of(members, count, SPAN("generateContentRequest"));
  if (whole.type == JSON_OBJECT && json_read_object(whole.text, x->worker->members, MOST_MEMBERS, &count, NULL)) members = x->worker->members;
  request_measure(members, count, m);
}

bool fit_count(struct exchange *x) {
  struct policy_req *r = &x->req;
  const struct operation_info *asked = counted_for(r->operation);
  struct route found;
  struct request_measure m;
  struct token_count n;
  char text[96];
  int status;
  const char *why = r->target_count ? route_names(x->gen->conf, asked, r->targets, r->target_count, &x->arena, &found, &status)
                                    : route_model(x->gen->conf, asked, r->model, &x->arena, &found, &status);
  if (why || operation_at(r->operation, found.candidates[0].provider->dialect)) return false;
  measure_counted(x, &m);
  models_count(found.candidates[0].name, &m, &n);
  x->target_name = found.candidates[0].name;
  x->estimated = true;
  int size = snprintf(text, sizeof text, count_form(r->operation), (long long)n.tokens);
  answer_text_of_weir(x, (struct span){ 0 }, arena_copy(&x->arena, span_of(text, (size_t)size)));
  exchange_end(x, SPAN("done"));
  return true;
}

/* ---- learning */
/* Names that callers invent are one model together. */
static struct span name_of(const struct attempt *a) {
  const struct model_facts *m = a->model;
  bool listed = a->exchange->route.alias || (m && (m->window || m->source == PRICED_MODEL || m->source == PRICED_FILE || m->source == PRICED_SHIPPED));
  if (listed) return a->target.name;
  return a->target.provider->others;
}

static void tell_deprecated(const struct attempt *a) {
  int32_t day = a->model->deprecated;
  if (!day || !models_tell(a->target.name, MODELS_DEPRECATED)) return;
  log_warn("%.*s: its provider ends this model on %04d-%02d-%02d, as the catalogue has it", SPAN_FMT(a->target.name), day / 10000, day / 100 % 100, day % 100);
}

void fit_begin(struct attempt *a) {
  struct exchange *x = a->exchange;
  size_t count;
  if (x->raw || !x->req.operation || x->worker->simulated || !a->model) return;
  tell_deprecated(a);
  if (x->body_size > LEARNED_MOST) return;
  if (!models_learns(name_of(a))) return;
  const struct json_member *members = members_of(&x->req, &count);
  a->measured = arena_alloc(&x->arena, sizeof *a->measured);      /* the attempt lets go of its own when a stream is released */
  request_measure(members, count, a->measured);
}

/* What is not in the body cannot be learned from it: only what is counted whole and stands in it whole. */
void fit_told(struct attempt *a, const struct usage *u) {
  struct exchange *x = a->exchange;
  int64_t input = usage_input_total(u);
  if (x->raw || x->worker->simulated || !x->req.operation || !x->usage_reported || u->input < 0 || input <= 0) return;
  models_back(a->target.name);
  if (x->req.bounded && x->req.bounds.beyond) return;
  if (a->measured && !x->req.facts.bound) models_learn(name_of(a), a->measured, input);
  if (x->req.bounded) models_beyond(name_of(a), input - x->req.bounds.input);
}

void fit_widen(const struct attempt *a, struct estimate *e) {
  int64_t own = models_own_tokens(name_of(a)), window = a->model->window;
  if (!own || (window && e->input >= window)) return;
  e->input = window && e->input + own > window ? window : e->input + own;
  e->cost = estimate_cost(e, &a->model->price);
}

static bool mentions_model(struct span text) {
  for (size_t i = 0; i + 5 <= text.n; i++)
    if (span_ieq(span_of(text.p + i, 5), SPAN("model"))) return true;
  return false;
}

void fit_failed(struct exchange *x, const struct attempt *a) {
  bool model = mentions_model(a->failure.code) || mentions_model(a->failure.message);
  if (a->fault != FAULT_NOT_FOUND || x->raw || x->worker->simulated || !model) return;
  struct span name = name_of(a);
  if (span_ends(name, SPAN("/other")) || !models_vanished(name)) return;
  log_warn("%.*s: its provider says that it does not know this model", SPAN_FMT(name));
}
