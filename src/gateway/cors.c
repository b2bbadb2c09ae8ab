/* cors.c: calls from web pages in browsers (the Fetch standard's CORS protocol), for the origins that `cors` names. Keys
   travel in headers that the page sets itself, so weir never lets a browser add its own credentials. */
#include "exchange.h"
#include "worker.h"

enum { PREFLIGHT_S = 600, MOST_ASKED_HEADERS = 4096 };

/* What a page may read besides what every page may; a browser takes no "x-weir-*". */
static const struct span exposed = SPAN(
  "x-request-id, retry-after, x-should-retry, server-timing, traceparent, x-weir-target, x-weir-attempts, x-weir-upstream-id, "
  "x-weir-cost-usd, x-weir-estimate-usd, x-weir-loss, x-weir-output-limit, x-weir-early");

/* The origin as it may be told back; p NULL: none, or one that is not to be helped. */
static struct span allowed_origin(const struct conf *c, const struct http_head *h) {
  struct span origin = http_header(h, SPAN("origin"));
  if (!origin.n) return (struct span){ 0 };
  if (c->any_origin) return SPAN("*");
  for (size_t i = 0; i < c->origin_count; i++)
    if (span_eq(c->origins[i], origin)) return c->origins[i];
  return (struct span){ 0 };
}

/* Caches must not show one origin's answer to another. */
static void vary(const struct conf *c, struct buf *out) {
  if (!c->any_origin) buf_add(out, SPAN("vary: origin\r\n"));
}

void cors_headers(const struct exchange *x, struct buf *out) {
  const struct conf *c = x->gen->conf;
  if (!c->origin_count || !x->head) return;
  struct span origin = allowed_origin(c, x->head);
  vary(c, out);
  if (!origin.p) return;
  http_write_header(out, SPAN("access-control-allow-origin"), origin);
  http_write_header(out, SPAN("access-control-expose-headers"), exposed);
}

static bool list_ok(struct span s) {
  for (size_t i = 0; i < s.n; i++)
    if (s.p[i] <= ' ' ? s.p[i] != ' ' && s.p[i] != '\t' : s.p[i] == 0x7f || strchr("\"(){}<>@:;\\/[]?=", s.p[i])) return false;
  return s.n <= MOST_ASKED_HEADERS;
}

bool cors_preflight(struct exchange *x) {
  const struct conf *c = x->gen->conf;
  const struct http_head *h = x->head;
  if (!c->origin_count || !span_eq(h->method, SPAN("OPTIONS"))) return false;
  struct span headers = http_header(h, SPAN("access-control-request-headers"));
  if (!http_header(h, SPAN("origin")).p || !http_header(h, SPAN("access-control-request-method")).p) return false;
  const char *why = NULL;
  target_split(h->target, &x->path, &x->query, &why);
  if (!allowed_origin(c, h).p || !list_ok(headers)) {
    exchange_fail(x, 403, SPAN("bad_request"), (struct span){ 0 }, "cors does not name this origin", NULL);
    return true;
  }
  struct buf out = worker_buf(x->worker);
  if (!x->id[0]) request_choose_id(x);
  http_write_header(&out, SPAN("x-request-id"), span_cstr(x->id));
  cors_headers(x, &out);
  buf_add(&out, SPAN("access-control-allow-methods: GET, HEAD, POST, PUT, PATCH, DELETE\r\n"));
  if (headers.n) http_write_header(&out, SPAN("access-control-allow-headers"), headers);
  http_write_header_u64(&out, SPAN("access-control-max-age"), PREFLIGHT_S);
  x->status = 204;
  x->started = x->committed = x->terminated = true;
  x->sink->calls->start(x->sink, 204, buf_span(&out), 0);
  x->sink->calls->end(x->sink);
  worker_buf_back(x->worker, &out);
  exchange_end(x, SPAN("done"));
  return true;
}
