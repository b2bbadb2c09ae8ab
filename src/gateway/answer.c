/* answer.c: what the client is told: heads and weir's own words. */
#include "attempt.h"
#include "exchange.h"
#include "worker.h"
#include <stdio.h>

/* ---- heads */
static inline bool is(struct span name, struct span what) { return name.n == what.n && span_ieq(name, what); }

/* Hop-by-hop, framing, and what binds a client to the provider's host rather than to weir. */
static bool header_stays(const struct http_head *from, size_t at) {
  struct span n = from->headers[at].name;
  switch ((enum http_name)from->names[at]) {
  case HTTP_CONNECTION: case HTTP_CONTENT_LENGTH: case HTTP_KEEP_ALIVE: case HTTP_TE: case HTTP_TRACEPARENT: case HTTP_TRAILER:
  case HTTP_TRANSFER_ENCODING: case HTTP_UPGRADE: case HTTP_X_REQUEST_ID: return true;
  case HTTP_CONTENT_TYPE: return false;
  default: break;
  }
  switch (ascii_lower(n.p[0])) {
  case 'a': return is(n, SPAN("alt-svc"));
  case 'p': return span_istarts(n, SPAN("proxy-"));
  case 's': return is(n, SPAN("set-cookie")) || is(n, SPAN("server-timing")) || is(n, SPAN("strict-transport-security"));
  case 'x': return span_istarts(n, SPAN("x-weir-"));
  default: return false;
  }
}

/* Where weir itself limits the caller, what the provider says of weir's account would mislead it. */
static bool is_limit_header(struct span n) {
  return span_istarts(n, SPAN("x-ratelimit-")) || span_istarts(n, SPAN("anthropic-ratelimit-"));
}

static void own_headers(struct exchange *x, struct buf *out) {
  http_write_line(out, SPAN("x-request-id: "), span_cstr(x->id));
  if (x->trace[0]) http_write_line(out, SPAN("traceparent: "), span_of(x->trace, 55));
  if (x->estimated) buf_put(out, SPAN("x-weir-estimated: input_tokens\r\n"));
  cors_headers(x, out);
}

static void milliseconds(struct buf *out, uint64_t us) {
  char text[24], *end = text + sizeof text, *p = end;
  for (int digits = 0; us || digits < 4; us /= 10, digits++) {
    if (digits == 3) *--p = '.';
    *--p = (char)('0' + us % 10);
  }
  buf_put(out, span_of(p, (size_t)(end - p)));
}

/* Where the time until this head went: weir's own share and the rest. */
static void timing_header(struct exchange *x, struct buf *out) {
  uint64_t total = (x->worker->loop->now_ns - x->begun_ns) / 1000, own = x->overhead_ns / 1000;
  buf_put(out, SPAN("server-timing: weir;dur="));
  milliseconds(out, x->overhead_ns ? own : total);
  if (x->overhead_ns) {                                  /* else nobody was asked */
    buf_put(out, SPAN(", upstream;dur="));
    milliseconds(out, total);
  }
  buf_put(out, SPAN("\r\n"));
}

static void target_headers(struct exchange *x, struct buf *out) {
  struct attempt *a = x->attempts[0];
  struct span name = a ? a->target.name : x->target_name;
  size_t attempts = x->tried_count + (a && x->state != X_FAILED && x->state != X_ON_FAILURE ? 1 : 0);
  if (name.n && http_value_ok(name)) http_write_line(out, SPAN("x-weir-target: "), name);
  if (attempts <= 1) buf_put(out, SPAN("x-weir-attempts: 1\r\n"));
  else http_write_header_u64(out, SPAN("x-weir-attempts"), attempts);
  if (x->loss.n) http_write_header(out, SPAN("x-weir-loss"), x->loss);
  if (a && a->head) {
    struct span id = http_known(a->head, HTTP_X_REQUEST_ID);
    if (!id.p) id = http_header(a->head, SPAN("request-id"));
    if (!id.p) id = http_header(a->head, SPAN("x-amzn-requestid"));
    if (id.p) http_write_line(out, SPAN("x-weir-upstream-id: "), id);
  }
}

static void money_header(struct buf *out, struct span start, picodollars v) {
  char text[MONEY_TEXT];
  http_write_line(out, start, span_of(text, money_text(v, text)));
}

/* What is known of the cost: of a whole answer all of it, of a stream what may come. */
static void money_headers(struct exchange *x, struct buf *out) {
  struct attempt *a = x->attempts[0];
  if (x->output_limit) http_write_header_u64(out, SPAN("x-weir-output-limit"), (uint64_t)x->output_limit);
  if (x->wants_estimate && x->estimate > 0) money_header(out, SPAN("x-weir-estimate-usd: "), x->estimate);
  if (a && a->ended && !a->stream) meter_settle(a);
  if (!x->cost_unknown && (a ? a->settled : x->cost > 0)) money_header(out, SPAN("x-weir-cost-usd: "), x->cost);
}

void answer_start(struct exchange *x, int status, const struct http_head *from, int64_t length) {
  struct attempt *a = x->attempts[0];
  if (a) x->target_name = arena_copy(&x->arena, a->target.name);
  if (x->started) return;                                /* the early head is out: only the body is left to say */
  struct buf out = worker_buf(x->worker);
  bool decoded = a && a->unpack && !a->packed;
  bool cors = x->gen->conf->origin_count > 0;            /* whom the provider would let in is not the question */
  for (size_t i = 0; i < from->count; i++) {
    struct span name = from->headers[i].name;
    if (x->reservation && is_limit_header(name)) continue;
    if (header_stays(from, i) || (decoded && is(name, SPAN("content-encoding"))) || (cors && span_istarts(name, SPAN("access-control-")))) continue;
    buf_put(&out, name);
    http_write_line(&out, SPAN(": "), from->headers[i].value);
  }
  own_headers(x, &out);
  target_headers(x, &out);
  money_headers(x, &out);
  meter_headers(x, &out);
  timing_header(x, &out);
  x->status = status;
  x->started = true;
  x->sink->calls->start(x->sink, status, buf_span(&out), length);
  worker_buf_back(x->worker, &out);
}

/* ---- the early head: a stream that is still silent says 200, then heartbeats */
void answer_early(struct exchange *x) {
  struct buf out = worker_buf(x->worker);
  if (!x->started) {
    http_write_header(&out, SPAN("x-request-id"), span_cstr(x->id));
    cors_headers(x, &out);
    buf_add(&out, SPAN("x-weir-early: 1\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"));
    x->status = 200;
    x->started = x->early = true;
    x->sink->calls->start(x->sink, 200, buf_span(&out), -1);
    buf_clear(&out);
  }
  heartbeat_write(x->dialect, &out);
  exchange_write(x, buf_span(&out));
  worker_buf_back(x->worker, &out);
}

/* The words are those of the headers, without their "x-weir-". */
bool answer_traced(const struct exchange *x) {
  bool room = x->started && x->req.stream && !x->raw && x->dialect != DIALECT_GEMINI && !(x->attempts[0] && x->attempts[0]->packed);
  return room && !x->trace_told && x->head && http_header_lists(x->head, SPAN("x-weir-include"), SPAN("trace"));
}

void answer_trace(struct exchange *x) {
  if (!answer_traced(x)) return;
  if (x->attempts[0]) meter_settle(x->attempts[0]);
  struct buf headers = worker_buf(x->worker), out = worker_buf(x->worker);
  struct json_writer w = { .out = &out };
  x->trace_told = true;
  if (x->trace[0]) http_write_header(&headers, SPAN("traceparent"), span_of(x->trace, 55));
  target_headers(x, &headers);
  money_headers(x, &headers);
  timing_header(x, &headers);
  buf_add(&out, SPAN(": weir "));
  json_begin(&w, '{');
  for (struct span left = buf_span(&headers), line, name; left.n;) {
    left = span_cut(left, '\n', &line);
    struct span value = span_trim(span_cut(line, ':', &name));
    json_key(&w, span_istarts(name, SPAN("x-weir-")) ? span_from(name, 7) : name);
    json_str(&w, span_of(value.p, value.n && value.p[value.n - 1] == '\r' ? value.n - 1 : value.n));
  }
  json_end(&w, '}');
  buf_add(&out, SPAN("\n\n"));
  exchange_write(x, buf_span(&out));
  worker_buf_back(x->worker, &out);
  worker_buf_back(x->worker, &headers);
}

/* ---- errors */
void answer_error(struct exchange *x, struct error *e, double retry_after) {
  struct buf body = { 0 };
  e->id = span_cstr(x->id);
  e->retry_after = retry_after > 0 ? retry_after : 0;
  bool packed = x->committed && x->attempts[0] && x->attempts[0]->packed;      /* no event of weir's own can stand in what the provider has packed */
  bool streaming = x->started && x->req.stream && x->req.operation && !packed;
  if (streaming) {
    answer_trace(x);
    error_write_event(x->req.operation, &x->events, e, &body);
    exchange_write(x, buf_span(&body));
    x->sink->calls->end(x->sink);
    buf_free(&body);
    return;
  }
  if (x->started) {
    x->sink->calls->cut(x->sink);
    return;
  }
  int status = error_write(x->dialect, e, &body);
  struct buf out = { 0 };
  buf_add(&out, SPAN("content-type: application/json\r\n"));
  own_headers(x, &out);
  if (e->tried_count) target_headers(x, &out), money_headers(x, &out);
  timing_header(x, &out);
  meter_headers(x, &out);
  if (status == 401) buf_add(&out, SPAN("www-authenticate: Bearer\r\n"));
  if (retry_after >= 0) http_write_header_u64(&out, SPAN("retry-after"), (uint64_t)(retry_after + 0.999));
  else if (e->tried_count || span_eq(e->word, SPAN("denied")) || span_eq(e->word, SPAN("capped")) || span_eq(e->word, SPAN("internal"))) buf_add(&out, SPAN("x-should-retry: false\r\n"));
  x->status = status;
  x->started = true;
  x->sink->calls->start(x->sink, status, buf_span(&out), (int64_t)buf_size(&body));
  exchange_write(x, buf_span(&body));
  x->sink->calls->end(x->sink);
  buf_free(&out);
  buf_free(&body);
}

/* ---- weir's own answers */
void answer_text_of_weir(struct exchange *x, struct span text, struct span json) {
  struct buf body = { 0 }, head = { 0 };
  bool stream = x->req.stream && !json.p && x->req.operation;
  if (x->started && json.p) {
    struct error e = { .status = 500, .word = SPAN("internal"), .message = SPAN("a policy answered with a table after the stream had begun") };
    answer_error(x, &e, -1);
    return;
  }
  if (json.p) buf_add(&body, json);
  else if (x->req.operation) answer_write(x->req.operation, stream, span_cstr(x->id), x->served_model.n ? x->served_model : x->req.model, text, time(NULL), &body);
  else buf_add(&body, text);
  if (x->attempts[0]) x->target_name = arena_copy(&x->arena, x->attempts[0]->target.name);         /* it answered, a policy put this in its place */
  if (!x->started) {
    buf_add(&head, stream ? SPAN("content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n") : SPAN("content-type: application/json\r\n"));
    own_headers(x, &head);
    if (x->attempts[0]) target_headers(x, &head), money_headers(x, &head);
    timing_header(x, &head);
    x->status = 200;
    x->started = true;
    x->sink->calls->start(x->sink, 200, buf_span(&head), (int64_t)buf_size(&body));
  }
  x->committed = x->terminated = true;
  answer_trace(x);
  exchange_write(x, buf_span(&body));
  x->sink->calls->end(x->sink);
  buf_free(&body);
  buf_free(&head);
}
