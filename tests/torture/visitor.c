/* visitor.c: clients that send in pieces, pipeline, read slowly and go away. */
#include <stdio.h>
#include <sys/socket.h>
#include "storm.h"

enum { MOST_PIPELINED = 3 };
struct visitor {
  struct visitor *next;
  int fd;                             /* 0: gone */
  struct buf out, in, body;
  struct asked *asked[MOST_PIPELINED];
  unsigned count, at;                 /* of them; the one whose answer comes */
  bool headed, slow, last;            /* last: the answer said that the connection closes behind it */
  struct http_head *head;             /* of the answer that comes */
  struct http_body decoder;
  uint64_t due_ms, leaves_ms;         /* leaves_ms 0: stays */
  size_t leaves_at;                   /* bytes of an answer after which it goes; SIZE_MAX: stays */
  size_t got;
};

/* ---- requests */
static void options(struct storm *s, struct asked *a, struct buf *b) {
  static const char *const headers[] = { "x-ask: 1\r\n", "x-wait: 1\r\n", "x-fetch: 1\r\n", "x-slow: 1\r\n", "x-start: 1\r\n", "x-start: done\r\n", "x-hold: bytes\r\n",
                                         "x-hold: time\r\n", "x-weir-timeout: 4\r\n", "x-fail: 1\r\n" };
  if (one_in(s, 15) && a->speech != SPEECH_RAW) a->answers = true, buf_add(b, SPAN("x-answer: 1\r\n"));
  while (one_in(s, 3)) buf_add(b, span_cstr(headers[chance(s, one_in(s, 6) ? 10 : 8)]));
}

static void body_of(struct storm *s, struct asked *a, struct buf *body) {
  static const char *const chat_models[] = { "chain", "a/x", "b/y", "unknown" };
  const char *model = a->speech == SPEECH_MESSAGES ? "m/c" : chat_models[chance(s, one_in(s, 5) ? 4 : 2)];
  if (a->speech == SPEECH_RAW) buf_printf(body, "id=%s;", a->id);
  else if (a->speech == SPEECH_RESPONSES) buf_printf(body, "{\"model\":\"%s\",\"stream\":%s,\"input\":\"id=%s;", model, a->stream ? "true" : "false", a->id);
  else buf_printf(body, "{\"model\":\"%s\",\"max_tokens\":9,\"stream\":%s,\"messages\":[{\"role\":\"user\",\"content\":\"id=%s;", model, a->stream ? "true" : "false", a->id);
  size_t n = one_in(s, 4) ? chance(s, 150000) : chance(s, 500);
  for (size_t i = 0; i < n; i++) buf_byte(body, (char)('a' + (i * 7 + n) % 26));
  if (a->speech != SPEECH_RAW) buf_add(body, a->speech == SPEECH_RESPONSES ? SPAN("\"}") : SPAN("\"}]}"));
}

static struct asked *ask(struct storm *s, struct buf *out) {
  static const char *const paths[] = { "/v1/chat/completions", "/v1/responses", "/v1/messages", "/a/files" };
  struct asked *a = &s->asked[s->asked_count];
  struct buf body = { 0 };
  snprintf(a->id, sizeof a->id, "s%llu-%u", (unsigned long long)(s->seed % 1000000), s->asked_count++);
  a->speech = (enum speech)chance(s, 4);
  a->stream = a->speech != SPEECH_RAW && !one_in(s, 4);
  s->seen.requests++;
  buf_printf(out, "POST %s HTTP/1.1\r\nhost: x\r\nx-request-id: %s\r\ncontent-type: application/json\r\n", paths[a->speech], a->id);
  options(s, a, out);
  body_of(s, a, &body);
  if (one_in(s, 3)) {
    buf_add(out, SPAN("transfer-encoding: chunked\r\n\r\n"));
    for (struct span left = buf_span(&body); left.n;) {
      size_t n = 1 + chance(s, 8000);
      if (n > left.n) n = left.n;
      http_write_chunk(out, span_of(left.p, n));
      left = span_from(left, n);
    }
    http_write_last_chunk(out);
  } else {
    http_write_header_u64(out, SPAN("content-length"), buf_size(&body));
    http_write_end(out);
    buf_add(out, buf_span(&body));
  }
  buf_free(&body);
  return a;
}

void visitor_come(struct storm *s) {
  int fd = sim_connect(s->loop, 1);
  if (fd < 0) return;
  struct visitor *v = arena_zero(&s->arena, sizeof *v);
  v->fd = fd;
  v->head = mem_zero(sizeof *v->head);
  v->slow = one_in(s, 5);
  v->leaves_at = one_in(s, 5) ? chance(s, 20000) : SIZE_MAX;
  if (one_in(s, 6)) v->leaves_ms = s->loop->now_ms + chance(s, 9000);
  unsigned most = one_in(s, 3) ? MOST_PIPELINED : 1;
  while (v->count < most && s->asked_count < MOST_ASKED) {
    v->asked[v->count] = ask(s, &v->out);
    v->count++;
  }
  v->next = s->visitors;
  s->visitors = v;
}

/* ---- answers */
static void gone(struct storm *s, struct visitor *v, bool left) {
  if (v->headed) judge_answer(s, v->asked[v->at], v->head, buf_span(&v->body), false, left);
  else if (!left && !v->last && !s->draining && v->at < v->count) storm_fail(s, "%s: the connection was closed without an answer", v->asked[v->at]->id);
  if (left) s->seen.left++;
  s->loop->calls->close(s->loop, v->fd);
  v->fd = 0;
  buf_free(&v->out);
  buf_free(&v->in);
  buf_free(&v->body);
  mem_free(v->head);
}

static bool read_head(struct storm *s, struct visitor *v) {
  size_t scanned = 0, size = http_head_end(buf_span(&v->in), &scanned);
  if (!size) return false;
  struct span bytes = arena_copy(&s->arena, span_of(v->in.p + v->in.at, size));
  buf_consume(&v->in, size);
  enum http_error e = http_read_response(bytes, SPAN("POST"), v->head);
  if (e != HTTP_OK) storm_fail(s, "%s: no HTTP: %s: %.*s", v->asked[v->at]->id, http_error_text(e), SPAN_FMT(bytes));
  if (v->head->status < 200) return true;
  http_body_init(&v->decoder, v->head);
  v->headed = true;
  v->last = !v->head->keep_alive;
  return true;
}

/* True while there may be more in what came. */
static bool read_some(struct storm *s, struct visitor *v) {
  if (v->at == v->count) {
    if (buf_size(&v->in)) storm_fail(s, "bytes behind the last answer: %.*s", SPAN_FMT(buf_span(&v->in)));
    return false;
  }
  if (!v->headed) return read_head(s, v);
  struct span piece = { 0 };
  struct step step = http_body_feed(&v->decoder, buf_span(&v->in), &piece);
  if (step.kind == STEP_EVENT) buf_add(&v->body, piece);
  if (step.kind == STEP_BAD) storm_fail(s, "%s: broken chunks", v->asked[v->at]->id);
  buf_consume(&v->in, step.used);
  if (step.kind != STEP_DONE) return step.kind == STEP_EVENT;
  judge_answer(s, v->asked[v->at++], v->head, buf_span(&v->body), true, false);
  buf_clear(&v->body);
  v->headed = false;
  return true;
}

static void leave(struct storm *s, struct visitor *v) {
  if (one_in(s, 3)) sim_reset(s->loop, v->fd);
  gone(s, v, true);
}

static void look(struct storm *s, struct visitor *v) {
  char bytes[8192];
  bool ended = false, open = true;
  uint64_t now = s->loop->now_ms;
  if ((v->leaves_ms && now >= v->leaves_ms) || v->got >= v->leaves_at) { leave(s, v); return; }
  if (v->due_ms <= now) {
    struct span left = buf_span(&v->out);
    if (left.n && one_in(s, 2)) left.n = 1 + chance(s, one_in(s, 2) && left.n > 20 ? 20 : left.n);
    if (left.n) buf_consume(&v->out, sim_write(s->loop, v->fd, left));
    size_t most = one_in(s, 3) ? 4096 + chance(s, 4096) : sizeof bytes;
    size_t n = sim_read(s->loop, v->fd, bytes, most, &ended);
    buf_add(&v->in, span_of(bytes, n));
    v->got += n;
    while (read_some(s, v)) {}
    if (v->at == v->count && one_in(s, 2)) open = false;
    v->due_ms = now + (v->slow ? 100 + chance(s, 80) : one_in(s, 40) ? chance(s, 3000) : one_in(s, 4) ? 1 + chance(s, 20) : 0);
  }
  if (ended) {
    if (v->headed && v->decoder.framing == HTTP_UNTIL_CLOSE) v->at = v->count;
    gone(s, v, false);
  } else if (!open) {
    gone(s, v, true);
  } else {
    storm_wake(s, v->due_ms > now ? v->due_ms : now + 1);
    if (v->leaves_ms) storm_wake(s, v->leaves_ms);
  }
}

bool visitors_look(struct storm *s) {
  bool any = false;
  for (struct visitor *v = s->visitors; v; v = v->next) {
    if (v->fd) look(s, v);
    any |= v->fd != 0;
  }
  return any;
}

void visitors_close(struct storm *s) {
  for (struct visitor *v = s->visitors; v; v = v->next)
    if (v->fd) gone(s, v, true);
}
