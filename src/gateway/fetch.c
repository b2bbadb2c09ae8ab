/* fetch.c: the HTTP call a waiting policy asked for. */
#include "call.h"
#include "exchange.h"
#include "pool.h"
#include "worker.h"

enum { FETCH_MOST = 4 << 20 };        /* bytes of an answer a policy may get */

struct fetch {
  struct call call;
  struct exchange *exchange;
  struct arena arena;
  struct http_head *head;
  struct buf body;
  struct timer timer;
};

static void fetch_free(struct fetch *f) {
  timer_stop(&f->call.worker->loop->wheel, &f->timer);
  worker_buf_back(f->call.worker, &f->call.head_bytes);
  buf_free(&f->body);
  arena_end(&f->arena);
  mem_free(f);
}

/* The answer is lent to the policy for the resume; it copies what it keeps. */
static void finish(struct fetch *f, const struct policy_answer *a) {
  struct exchange *x = f->exchange;
  x->fetch = NULL;
  timer_stop(&f->call.worker->loop->wheel, &f->timer);
  exchange_resume(x, a);
  fetch_free(f);
}

static void give_up(struct fetch *f, const char *why) {
  struct policy_answer a = { .why = arena_cstr(&f->arena, span_cstr(why)) };
  if (!f->call.ended) call_stop(&f->call);
  finish(f, &a);
}

static void on_head(struct call *c, const struct http_head *h) {
  struct fetch *f = container(c, struct fetch, call);
  f->head = http_head_keep(h, &f->arena);
}

static void on_body(struct call *c, struct span data) {
  struct fetch *f = container(c, struct fetch, call);
  if (buf_size(&f->body) + data.n > FETCH_MOST) { give_up(f, "the answer is larger than 4 MB"); return; }
  buf_add(&f->body, data);
}

static void on_end(struct call *c) {
  struct fetch *f = container(c, struct fetch, call);
  struct policy_answer a = { .ok = true, .status = f->head->status, .head = f->head, .body = buf_span(&f->body) };
  finish(f, &a);
}

static void on_fail(struct call *c, enum fault fault, const char *phase, const char *why) {
  struct fetch *f = container(c, struct fetch, call);
  (void)phase;
  give_up(f, why ? why : fault_word(fault));
}

static const struct call_calls fetch_calls = { on_head, on_body, on_end, on_fail, NULL };

static void timed_out(struct timer *t) { give_up(container(t, struct fetch, timer), "timeout"); }

static void bad_url(struct timer *t) { give_up(container(t, struct fetch, timer), "the url is no absolute http or https URL"); }
static void no_way(struct timer *t) { give_up(container(t, struct fetch, timer), "the environment names a proxy that cannot be used"); }
static void no_trust(struct timer *t) { give_up(container(t, struct fetch, timer), "the system's roots are not loaded"); }

static void compose(struct fetch *f, const struct policy_wait *w, const struct url *u) {
  struct buf *out = &f->call.head_bytes;
  *out = worker_buf(f->call.worker);
  buf_add(out, w->method);
  buf_byte(out, ' ');
  if (pool_absolute(f->call.pool)) buf_add(out, SPAN("http://")), buf_add(out, url_host_header(u, &f->arena));
  buf_add(out, u->path.n ? u->path : SPAN("/"));
  if (u->query.n) buf_byte(out, '?'), buf_add(out, u->query);
  buf_add(out, SPAN(" HTTP/1.1\r\n"));
  http_write_header(out, SPAN("host"), url_host_header(u, &f->arena));
  for (size_t i = 0; i < w->header_count; i++) http_write_header(out, w->headers[i].name, w->headers[i].value);
  if (pool_absolute(f->call.pool) && f->call.pool->proxy_auth) buf_add(out, secret_use(f->call.pool->proxy_auth));
  if (w->auth) {
    buf_add(out, SPAN("authorization: Bearer "));
    buf_add(out, secret_use(w->auth->secret));
    buf_add(out, SPAN("\r\n"));
  }
  buf_add(out, SPAN("accept-encoding: identity\r\n"));
  if (w->body.p || span_eq(w->method, SPAN("POST"))) http_write_header_u64(out, SPAN("content-length"), w->body.n);
  http_write_end(out);
  buf_add(out, w->body);
}

void fetch_start(struct exchange *x) {
  const struct policy_wait *w = &x->run->wait;
  struct worker *worker = x->worker;
  struct fetch *f = mem_zero(sizeof *f);
  struct url u;
  const char *why;
  f->exchange = x;
  f->call.worker = worker;
  f->call.calls = &fetch_calls;
  x->fetch = f;
  double seconds = w->seconds > 0 ? w->seconds : 10;
  f->timer.done = timed_out;
  timer_set(&worker->loop->wheel, &f->timer, worker->loop->now_ms + (uint64_t)(seconds * 1000) + 1);
  struct span url = arena_copy(&f->arena, w->url);
  struct tls_trust *trust = __atomic_load_n(&worker->gateway->system_trust, __ATOMIC_ACQUIRE);
  bool good = url_split(url, &u, &why);
  if (worker->simulated) u.tls = false;                  /* its peers speak plainly */
  const struct proxy *via = good && !worker->simulated ? conf_proxy(x->gen->conf, &u) : NULL;
  if (!good || (u.tls && !trust) || (via && via->bad)) {
    f->call.ended = true;
    f->timer.done = !good ? bad_url : via && via->bad ? no_way : no_trust;
    timer_set(&worker->loop->wheel, &f->timer, worker->loop->now_ms);
    return;
  }
  f->call.pool = pool_for_url(worker, &u, via, u.tls ? trust : NULL, &f->arena);
  f->call.method = arena_copy(&f->arena, w->method);
  f->call.connect_s = f->call.tls_s = seconds;
  compose(f, w, &u);
  call_start(&f->call);
}

void fetch_cancel(struct exchange *x) {
  struct fetch *f = x->fetch;
  x->fetch = NULL;
  if (!f->call.ended) call_stop(&f->call);
  fetch_free(f);
}
