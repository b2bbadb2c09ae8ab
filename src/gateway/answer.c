/* answer.c: what the client is told: heads, weir's own words, and the record of an ended exchange. */
#include "gateway.h"
#include <stdio.h>

/* ---- heads */
static bool is(struct span name, const char *what) { return span_ieq(name, span_cstr(what)); }

/* Hop-by-hop, framing, and what binds a client to the provider's host rather than to weir. */
static bool header_stays(struct span n) {
  if (span_istarts(n, SPAN("x-weir-")) || span_istarts(n, SPAN("proxy-"))) return true;
  switch (n.n) {
  case 2: return is(n, "te");
  case 7: return is(n, "alt-svc") || is(n, "trailer") || is(n, "upgrade");
  case 10: return is(n, "connection") || is(n, "keep-alive") || is(n, "set-cookie");
  case 11: return is(n, "traceparent");
  case 12: return is(n, "x-request-id");
  case 13: return is(n, "server-timing");
  case 14: return is(n, "content-length");
  case 17: return is(n, "transfer-encoding");
  case 25: return is(n, "strict-transport-security");
  default: return false;
  }
}

static void own_headers(struct exchange *x, struct buf *out) {
  http_write_header(out, SPAN("x-request-id"), span_cstr(x->id));
  if (x->trace[0]) http_write_header(out, SPAN("traceparent"), span_of(x->trace, 55));
  cors_headers(x, out);
}

static void milliseconds(struct buf *out, uint64_t us) {
  char text[24];
  int n = 0, digits = 0;
  char *end = text + sizeof text, *p = end;
  for (; us || digits < 4; us /= 10, digits++) {
    if (digits == 3) *--p = '.';
    *--p = (char)('0' + us % 10);
  }
  n = (int)(end - p);
  buf_add(out, span_of(p, (size_t)n));
}

/* Where the time until this head went: weir's own share and the rest. */
static void timing_header(struct exchange *x, struct buf *out) {
  uint64_t total = (x->worker->loop->now_ns - x->begun_ns) / 1000, own = x->overhead_ns / 1000;
  buf_add(out, SPAN("server-timing: weir;dur="));
  milliseconds(out, x->overhead_ns ? own : total);
  if (x->overhead_ns) {                                  /* else nobody was asked */
    buf_add(out, SPAN(", upstream;dur="));
    milliseconds(out, total);
  }
  buf_add(out, SPAN("\r\n"));
}

static void target_headers(struct exchange *x, struct buf *out) {
  struct attempt *a = x->attempts[0];
  struct span name = a ? a->target.name : x->target_name;
  size_t attempts = x->tried_count + (a && x->state != X_FAILED && x->state != X_ON_FAILURE ? 1 : 0);
  if (name.n && http_value_ok(name)) http_write_header(out, SPAN("x-weir-target"), name);
  http_write_header_u64(out, SPAN("x-weir-attempts"), attempts ? attempts : 1);
  if (x->loss.n) http_write_header(out, SPAN("x-weir-loss"), x->loss);
  if (a && a->head) {
    struct span id = http_header(a->head, SPAN("x-request-id"));
    if (!id.p) id = http_header(a->head, SPAN("request-id"));
    if (id.p) http_write_header(out, SPAN("x-weir-upstream-id"), id);
  }
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
    if (header_stays(name) || (decoded && is(name, "content-encoding")) || (cors && span_istarts(name, SPAN("access-control-")))) continue;
    http_write_header(&out, name, from->headers[i].value);
  }
  own_headers(x, &out);
  target_headers(x, &out);
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
void answer_trace(struct exchange *x) {
  if (!x->early || x->trace_told || !x->head || !http_header_lists(x->head, SPAN("x-weir-include"), SPAN("trace"))) return;
  struct buf headers = worker_buf(x->worker), out = worker_buf(x->worker);
  struct json_writer w = { .out = &out };
  x->trace_told = true;
  if (x->trace[0]) http_write_header(&headers, SPAN("traceparent"), span_of(x->trace, 55));
  target_headers(x, &headers);
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
  if (e->tried_count) target_headers(x, &out);
  timing_header(x, &out);
  if (status == 401) buf_add(&out, SPAN("www-authenticate: Bearer\r\n"));
  if (retry_after >= 0) http_write_header_u64(&out, SPAN("retry-after"), (uint64_t)(retry_after + 0.999));
  else if (e->tried_count || span_eq(e->word, SPAN("denied")) || span_eq(e->word, SPAN("internal"))) buf_add(&out, SPAN("x-should-retry: false\r\n"));
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
  if (!x->started) {
    buf_add(&head, stream ? SPAN("content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n") : SPAN("content-type: application/json\r\n"));
    own_headers(x, &head);
    if (x->attempts[0]) target_headers(x, &head);
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

/* ---- the record */
static struct span model_label(const struct exchange *x) {
  if (x->route.alias) return x->route.alias->name;
  if (!x->tried_count && !x->target_name.n) return SPAN("other");
  const struct candidate *c = x->route.count ? &x->route.candidates[x->at < x->route.count ? x->at : 0] : NULL;
  if (c && c->provider)
    for (size_t i = 0; i < c->provider->model_count; i++)
      if (span_eq(c->provider->models[i].name, c->model)) return c->name;
  return SPAN("other");
}

static void field(struct json_writer *w, const char *name, struct span value) {
  if (!value.n) return;
  json_key(w, span_cstr(name));
  json_str(w, value);
}

static void number(struct json_writer *w, const char *name, int64_t value) {
  if (value < 0) return;
  json_key(w, span_cstr(name));
  json_int(w, value);
}

static void write_tried(struct exchange *x, struct json_writer *w) {
  if (!x->tried_count) return;
  json_key(w, SPAN("failed"));
  json_begin(w, '[');
  for (size_t i = 0; i < x->tried_count; i++) {
    const struct tried *t = &x->tried[i];
    json_begin(w, '{');
    field(w, "target", t->target);
    field(w, "fault", span_cstr(fault_word(t->fault)));
    if (t->status) number(w, "status", t->status);
    number(w, "ms", t->ms);
    json_end(w, '}');
  }
  json_end(w, ']');
}

static void key_fields(const struct key *k, struct json_writer *w) {
  field(w, "key", k->name);
  field(w, "team", k->team);
  field(w, "user", k->user);
  if (!k->tag_count) return;
  json_key(w, SPAN("key_tags"));
  json_begin(w, '{');
  for (size_t i = 0; i < k->tag_count; i++) json_key(w, k->tags[i].name), json_str(w, k->tags[i].value);
  json_end(w, '}');
}

static void access_line(struct exchange *x, struct log_sink *log) {
  struct buf out = worker_buf(x->worker);
  struct json_writer w = { .out = &out };
  struct timespec t;
  struct tm tm;
  char when[40];
  clock_gettime(CLOCK_REALTIME, &t);
  gmtime_r(&t.tv_sec, &tm);
  size_t n = strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
  n += (size_t)snprintf(when + n, sizeof when - n, ".%03ldZ", t.tv_nsec / 1000000);
  json_begin(&w, '{');
  field(&w, "time", span_of(when, n));
  field(&w, "id", span_cstr(x->id));
  field(&w, "parent", x->parent_id);
  field(&w, "policy", x->parent_policy);
  field(&w, "ip", x->req.ip);
  if (x->req.key) key_fields(x->req.key, &w);
  field(&w, "method", x->req.method);
  field(&w, "path", x->path);
  field(&w, "model", x->req.model);
  number(&w, "status", x->status);
  field(&w, "end", x->end_word);
  field(&w, "target", x->target_name);
  field(&w, "served", x->served_model);
  field(&w, "loss", x->loss);
  if (x->raw) json_key(&w, SPAN("raw")), json_bool(&w, true);
  if (x->req.stream) json_key(&w, SPAN("stream")), json_bool(&w, true);
  number(&w, "ms", (int64_t)((x->worker->loop->now_ns - x->begun_ns) / 1000000));
  if (x->first_event_ns) number(&w, "first_event_ms", (int64_t)(x->first_event_ns / 1000000));
  number(&w, "bytes", (int64_t)x->answer_bytes);
  number(&w, "input", x->usage.input);
  number(&w, "cache_read", x->usage.cache_read);
  number(&w, "output", x->usage.output);
  number(&w, "reasoning", x->usage.reasoning);
  write_tried(x, &w);
  if (x->req.notes) {
    json_key(&w, SPAN("notes"));
    json_begin(&w, '{');
    for (const struct policy_note *note = x->req.notes; note; note = note->next) {
      bool newer = false;                                /* newest first: the first of a key counts */
      for (const struct policy_note *q = x->req.notes; q != note; q = q->next) newer |= span_eq(q->key, note->key);
      if (!newer) field(&w, note->key.p, note->value);
    }
    json_end(&w, '}');
  }
  number(&w, "generation", x->gen->number);
  json_end(&w, '}');
  log_sink_line(log, buf_span(&out));
  worker_buf_back(x->worker, &out);
}

void answer_record(struct exchange *x) {
  struct metrics *m = x->worker->metrics;
  metrics_request(m, x->dialect, model_label(x), x->status);
  if (x->counted_open) metrics_streams(m, -1);
  if (x->overhead_ns) metrics_overhead(m, x->overhead_ns);
  if (x->usage_reported) metrics_tokens(m, model_label(x), &x->usage);
  if (x->served_model.n && x->target_name.n) metrics_served(m, x->target_name, x->served_model);
  if (x->worker->gateway->access_log) access_line(x, x->worker->gateway->access_log);
}
