/* ask.c: what a policy asks a model through weir: an exchange of its own, whose source is the policy's question and whose sink
   is the policy's wait. It is routed, tried, failed over and recorded as a client's is. No policy runs for it, so it cannot ask
   on; it ends with the exchange that asked. */
#include "exchange.h"
#include "worker.h"

struct ask {
  struct sink sink;
  struct worker *worker;
  struct exchange *parent;
  struct exchange *child;             /* NULL: it has ended */
  const struct question *question;    /* the waiting run's */
  struct span policy;
  struct arena arena;
  struct http_head *head;             /* of the answer */
  struct buf body;
  bool whole;                         /* the answer ended well */
  struct policy_response response;
  struct policy_fault fault;
  struct timer told;
};

struct exchange *ask_parent(const struct exchange *child) { return child->asker->parent; }

/* ---- the sink */
static struct ask *ask_of(const struct sink *s) { return container((struct sink *)s, struct ask, sink); }

static void sink_start(struct sink *s, int status, struct span headers, int64_t length) {
  struct ask *a = ask_of(s);
  struct buf head = { 0 };
  (void)length;
  http_write_status(&head, status);
  buf_add(&head, headers);
  http_write_end(&head);
  struct http_head *h = a->worker->head;
  if (check(http_read_response(buf_span(&head), SPAN("POST"), h) == HTTP_OK)) a->head = http_head_keep(h, &a->arena);
  buf_free(&head);
}

static void sink_write(struct sink *s, struct span body) { buf_add(&ask_of(s)->body, body); }
static void sink_end(struct sink *s) { ask_of(s)->whole = true; }
static void sink_cut(struct sink *s) { (void)s; }
static size_t sink_waiting(const struct sink *s) { return (void)s, 0; }

static const struct sink_calls ask_sink = { sink_start, sink_write, sink_end, sink_cut, sink_waiting };

/* ---- its end */
static void ask_free(struct ask *a) {
  timer_stop(&a->worker->loop->wheel, &a->told);
  buf_free(&a->body);
  arena_end(&a->arena);
  mem_free(a);
}

/* The answer is lent to the policy for the resume. It comes from a timer: the exchange may end within the call that began it. */
static void tell(struct timer *t) {
  struct ask *a = container(t, struct ask, told);
  struct exchange *parent = a->parent;
  bool good = a->response.done;
  struct policy_answer answer = { .ok = good, .response = good ? &a->response : NULL, .fault = good ? NULL : &a->fault };
  parent->ask = NULL;
  exchange_resume(parent, &answer);                      /* it may be gone behind this */
  ask_free(a);
}

static void read_answer(struct ask *a, const struct exchange *x) {
  struct answer_facts f;
  struct span body = buf_span(&a->body);
  answer_read(x->req.operation, body, &f);
  a->response = (struct policy_response){ .status = x->status, .head = a->head, .body = body, .model = f.model, .finish = f.finish,
                                          .usage = f.usage, .done = true, .operation = x->req.operation };
}

/* What the exchange ended with, as its caller would have been told. */
static void read_fault(struct ask *a, const struct exchange *x, struct span word) {
  struct policy_fault *f = &a->fault;
  enum fault kind;
  if (!fault_named(word, &kind)) kind = FAULT_OVERLOADED;                /* weir itself could not */
  *f = x->failure && x->failure->kind == kind ? *x->failure : (struct policy_fault){ .kind = kind, .status = x->first_status, .phase = "head", .retry_after = x->first_retry_after };
  f->code = arena_copy(&a->arena, f->code);
  f->target = arena_copy(&a->arena, f->target.n ? f->target : x->tried_count ? x->tried[0].target : a->question->model);
  struct json document;
  struct span why = { 0 };
  if (json_read(buf_span(&a->body), &document, NULL)) json_unescape(json_at(document, "error.message"), &a->arena, &why);
  const char *said = arena_printf(&a->arena, "%s: weir.ask of the policy '%.*s' failed: %.*s%s%.*s", a->parent->id, SPAN_FMT(a->policy), SPAN_FMT(word), why.n ? ": " : "", SPAN_FMT(why)).p;
  if (kind == FAULT_NOT_FOUND || kind == FAULT_BAD_REQUEST) log_warn("%s", said);        /* a mistake of the policy */
  else log_info("%s", said);
}

void ask_ended(struct exchange *x, struct span word) {
  struct ask *a = x->asker;
  a->child = NULL;
  if (a->whole && a->head && x->status >= 200 && x->status < 300) read_answer(a, x);
  else read_fault(a, x, word);
  timer_set(&x->worker->loop->wheel, &a->told, x->worker->loop->now_ms);
}

void ask_cancel(struct exchange *parent) {
  struct ask *a = parent->ask;
  parent->ask = NULL;
  if (a->child) exchange_gone(a->child);
  ask_free(a);
}

/* ---- its route: names as policies write them, each with the operation that its provider serves */
static bool add_target(struct exchange *x, struct span name, struct candidate *list, const char **why, int *status) {
  const struct conf *c = x->gen->conf;
  enum dialect first = c->default_provider ? c->default_provider->dialect : DIALECT_CHAT;
  enum operation tried[] = { operation_own(first)->operation, OP_CHAT, OP_MESSAGES };
  for (size_t i = 0; i < sizeof tried / sizeof *tried; i++) {
    struct route found = { 0 };
    *why = route_names(c, operation_info(tried[i]), &name, 1, &x->arena, &found, status);
    if (*why) continue;
    *list = found.candidates[0];
    return true;
  }
  return false;
}

bool ask_route(struct exchange *x) {
  const struct span *names = &x->req.model;
  size_t count = 1;
  int status = 404;
  const char *why = "the model has no targets";
  x->route.alias = conf_alias(x->gen->conf, x->req.model);
  if (x->route.alias) names = x->route.alias->targets, count = x->route.alias->target_count;
  x->route.candidates = arena_alloc(&x->arena, (count + 1) * sizeof *x->route.candidates);
  for (size_t i = 0; i < count; i++) x->route.count += add_target(x, names[i], &x->route.candidates[x->route.count], &why, &status);
  if (x->route.alias) x->route.next_on = x->route.alias->next_on;
  if (x->route.count) return true;
  exchange_fail(x, status, status == 404 ? SPAN("not_found") : SPAN("bad_request"), (struct span){ 0 }, why, NULL);
  return false;
}

/* ---- its request, in the dialect of the target that is tried next */
bool ask_compose(struct exchange *x) {
  const struct provider *p = x->route.candidates[x->at].provider;
  const struct operation_info *o = operation_question(p->dialect);
  struct policy_req *r = &x->req;
  struct question q = *x->asker->question;
  struct json_error e;
  const char *why = NULL;
  bool newer = span_eq(p->name, SPAN("openai")) || span_eq(p->name, SPAN("azure"));
  if (r->operation == o && x->newer_limit == newer) return true;
  struct buf body = { 0 };
  q.newer_limit = x->newer_limit = newer;
  question_write(o, &q, &body);
  x->body = r->body = arena_copy(&x->arena, buf_span(&body));
  r->body_keys = ~0ull;
  r->bounded = false;
  x->body_size = x->body.n;
  buf_free(&body);
  r->operation = o;
  x->dialect = o->dialect;
  x->path = r->path = span_cstr(o->path);
  size_t n = 0;
  if (json_read_object(x->body, x->worker->members, MOST_MEMBERS, &n, &e)) {
    r->members = arena_alloc(&x->arena, n * sizeof *r->members);
    memcpy(r->members, x->worker->members, n * sizeof *r->members);
    r->member_count = n;
    if (request_read(o, r->members, n, &r->facts, &why)) {
      if (r->facts.bound) x->route.count = x->at + 1;    /* by members that the policy added */
      return true;
    }
  }
  exchange_fail(x, 400, SPAN("bad_request"), (struct span){ 0 }, why ? why : e.why, NULL);
  return false;
}

/* ---- its begin */
/* Nothing of the client's head goes to a model that it did not ask. */
static struct http_head *head_of(struct exchange *x) {
  static const struct http_header own[] = {
    { SPAN("content-type"), SPAN("application/json") }, { SPAN("accept"), SPAN("application/json") }, { SPAN("user-agent"), SPAN("weir/" WEIR_VERSION) },
  };
  struct http_head *h = arena_zero(&x->arena, offsetof(struct http_head, headers) + sizeof own);
  h->method = SPAN("POST");
  h->minor = 1;
  h->count = sizeof own / sizeof *own;
  memcpy(h->headers, own, sizeof own);
  return h;
}

static struct exchange *child_of(struct ask *a, double seconds) {
  struct exchange *parent = a->parent, *x = exchange_new(parent->worker, &a->sink, NULL);
  generation_drop(x->worker->gateway, x->gen);           /* the one the policy is of, whatever is newest */
  x->gen = parent->gen;
  __atomic_add_fetch(&x->gen->refs, 1, __ATOMIC_RELAXED);
  x->asker = a;
  x->head = x->req.head = head_of(x);
  x->req.method = x->head->method;
  x->req.ip = parent->req.ip;
  x->req.key = parent->req.key;
  x->req.user = parent->req.user;
  x->req.session = parent->req.session;
  x->req.charges = parent->req.charges;
  x->req.model = arena_copy(&x->arena, a->question->model);
  request_choose_id(x);
  memcpy(x->trace + 3, parent->trace + 3, 32);           /* one trace, a span of its own */
  memcpy(x->trace + 53, parent->trace + 53, 2);
  x->traced = parent->traced;
  x->parent_id = parent->req.id;
  x->parent_policy = a->policy;
  x->body_done = true;
  double left = ((double)parent->deadline_ms - (double)x->begun_ms) / 1000 + 1;            /* who asks runs out of time first */
  x->asked_timeout = parent->deadline_ms && left < seconds ? left : seconds > 0 ? seconds : 0.001;      /* 0 would be none */
  return x;
}

void ask_start(struct exchange *parent) {
  const struct policy_wait *w = &parent->run->wait;
  struct ask *a = mem_zero(sizeof *a);
  a->sink.calls = &ask_sink;
  a->worker = parent->worker;
  a->parent = parent;
  a->question = w->question;
  a->policy = w->policy;
  a->told.done = tell;
  parent->ask = a;
  a->child = child_of(a, w->seconds);
  a->child->state = X_ROUTE;
  exchange_run(a->child);
}
