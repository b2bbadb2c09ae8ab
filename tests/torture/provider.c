/* provider.c: scripted providers: good streams and all ways to break one, in random pieces at random times. */
#include <stdio.h>
#include <stdlib.h>
#include "storm.h"

enum fate { FATE_WELL, FATE_CLOSE, FATE_RESET, FATE_SILENCE };
struct peer {
  struct storm *storm;
  unsigned number;
  int listener;
  struct link {
    int fd;                           /* 0: free */
    struct buf in, out;
    size_t scanned;
    bool busy, close;
    enum fate fate;
    size_t fate_at;                   /* bytes of `out` that still go before it */
    uint64_t due_ms;
  } links[CONNECTIONS];
};

static uint64_t now_ms(const struct peer *p) { return p->storm->loop->now_ms; }

void providers_open(struct storm *s) {
  s->providers = mem_zero(PROVIDERS * sizeof *s->providers);
  for (unsigned i = 0; i < PROVIDERS; i++) {
    struct peer *p = &s->providers[i];
    p->storm = s;
    p->number = i;
    p->listener = sim_listen(s->loop, (uint16_t)(FIRST_PORT + i));
  }
}

static void link_close(struct peer *p, struct link *l) {
  p->storm->loop->calls->close(p->storm->loop, l->fd);
  buf_free(&l->in);
  buf_free(&l->out);
  *l = (struct link){ 0 };
}

void providers_close(struct storm *s) {
  for (unsigned i = 0; i < PROVIDERS; i++)
    for (unsigned k = 0; k < CONNECTIONS; k++)
      if (s->providers[i].links[k].fd) link_close(&s->providers[i], &s->providers[i].links[k]);
  mem_free(s->providers);
}

/* ---- what is told */
static void words(struct storm *s, struct buf *b) {
  size_t n = one_in(s, 20) ? 2000 + chance(s, 4000) : 1 + chance(s, 30);
  for (size_t i = 0; i < n; i++) buf_byte(b, (char)('a' + chance(s, 26)));
}

static void chat_events(struct storm *s, struct buf *b, size_t n, bool ended) {
  buf_add(b, SPAN("data: {\"id\":\"c\",\"model\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"));
  for (size_t i = 0; i < n; i++) {
    if (one_in(s, 12)) buf_add(b, SPAN(": keep-alive\n\n"));
    buf_add(b, SPAN("data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\""));
    words(s, b);
    buf_add(b, SPAN("\"}}]}\n\n"));
  }
  if (!ended) return;
  buf_add(b, SPAN("data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5}}\n\n"));
  buf_add(b, SPAN("data: [DONE]\n\n"));
}

static void responses_events(struct storm *s, struct buf *b, size_t n, bool ended) {
  unsigned number = 2;
  buf_add(b, SPAN("event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"r\",\"status\":\"in_progress\",\"output\":[]}}\n\n"));
  buf_add(b, SPAN("event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"sequence_number\":1,\"output_index\":0,"
                  "\"item\":{\"id\":\"m\",\"type\":\"message\",\"status\":\"in_progress\",\"role\":\"assistant\",\"content\":[]}}\n\n"));
  for (size_t i = 0; i < n; i++) {
    buf_printf(b, "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":%u,\"item_id\":\"m\",\"output_index\":0,\"content_index\":0,\"delta\":\"", number++);
    words(s, b);
    buf_add(b, SPAN("\"}\n\n"));
  }
  if (ended) buf_printf(b, "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":%u,\"response\":{\"id\":\"r\",\"status\":\"completed\",\"output\":[]}}\n\n", number);
}

static void messages_events(struct storm *s, struct buf *b, size_t n, bool ended) {
  buf_add(b, SPAN("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"c\",\"content\":[],\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n"));
  buf_add(b, SPAN("event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"));
  for (size_t i = 0; i < n; i++) {
    if (one_in(s, 12)) buf_add(b, SPAN("event: ping\ndata: {\"type\": \"ping\"}\n\n"));
    buf_add(b, SPAN("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\""));
    words(s, b);
    buf_add(b, SPAN("\"}}\n\n"));
  }
  if (!ended) return;
  buf_add(b, SPAN("event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"));
  buf_add(b, SPAN("event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":5}}\n\n"));
  buf_add(b, SPAN("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
}

static void events(struct storm *s, enum speech speech, struct buf *b, size_t n, bool ended) {
  switch (speech) {
  case SPEECH_RESPONSES: responses_events(s, b, n, ended); break;
  case SPEECH_MESSAGES: messages_events(s, b, n, ended); break;
  default: chat_events(s, b, n, ended);
  }
}

static void error_event(enum speech speech, struct buf *b) {
  if (speech == SPEECH_MESSAGES) buf_add(b, SPAN("event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n"));
  else if (speech == SPEECH_RESPONSES) buf_add(b, SPAN("event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"busy\",\"param\":null,\"sequence_number\":9}\n\n"));
  else buf_add(b, SPAN("data: {\"error\":{\"message\":\"busy\",\"type\":\"server_error\",\"code\":null}}\n\n"));
}

static struct story *stream_told(struct storm *s, enum speech speech) {
  struct story *t = arena_zero(&s->arena, sizeof *t);
  size_t n = one_in(s, 8) ? 100 + chance(s, 200) : chance(s, 40);
  unsigned kind = (unsigned)chance(s, 12);
  t->stream = true;
  t->status = 200;
  events(s, speech, &t->body, kind == 0 ? 0 : n, kind > 2);
  t->limit = buf_size(&t->body);
  t->legal = kind > 2;
  if (kind == 1) {
    error_event(speech, &t->body);
    t->limit = buf_size(&t->body);
    t->legal = true;
  } else if (kind == 2) {
    buf_add(&t->body, one_in(s, 2) ? SPAN("data: {\"choices\":[{\"ind\n\n") : SPAN("data: \xff\xfe{}\n\n"));
    events(s, speech, &t->body, 2, true);
  }
  return t;
}

static void whole_body(struct storm *s, enum speech speech, struct buf *b) {
  bool large = one_in(s, 6);
  buf_add(b, speech == SPEECH_CHAT       ? SPAN("{\"id\":\"c\",\"object\":\"chat.completion\",\"model\":\"x\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"")
             : speech == SPEECH_MESSAGES ? SPAN("{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"c\",\"content\":[{\"type\":\"text\",\"text\":\"")
                                         : SPAN("{\"id\":\"r\",\"object\":\"response\",\"status\":\"completed\",\"model\":\"x\",\"output\":[{\"type\":\"message\",\"id\":\"m\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\""));
  for (size_t i = large ? 60 + chance(s, 40) : 1; i; i--) {
    words(s, b);
    if (large) for (int k = 0; k < 5000; k++) buf_byte(b, (char)('A' + k % 26));
  }
  buf_add(b, speech == SPEECH_CHAT       ? SPAN("\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5,\"total_tokens\":8}}")
             : speech == SPEECH_MESSAGES ? SPAN("\"}],\"stop_reason\":\"end_turn\",\"usage\":{\"input_tokens\":3,\"output_tokens\":5}}")
                                         : SPAN("\"}]}],\"usage\":{\"input_tokens\":3,\"output_tokens\":5,\"total_tokens\":8}}"));
}

static struct story *whole_told(struct storm *s, enum speech speech) {
  struct story *t = arena_zero(&s->arena, sizeof *t);
  unsigned kind = (unsigned)chance(s, 10);
  t->status = 200;
  t->legal = true;
  if (speech == SPEECH_RAW) {
    for (size_t n = chance(s, 100000); n; n--) buf_byte(&t->body, (char)chance(s, 256));
  } else {
    whole_body(s, speech, &t->body);
    if (kind == 0) t->body.end -= buf_size(&t->body) / 2, t->legal = buf_size(&t->body) > 262144;   /* over hold_answer it flows unread */
    if (kind == 1) buf_clear(&t->body), t->legal = false;
  }
  t->limit = buf_size(&t->body);
  return t;
}

static struct story *refusal_told(struct storm *s, enum speech speech) {
  static const int statuses[] = { 400, 401, 404, 408, 429, 500, 502, 503, 529 };
  struct story *t = arena_zero(&s->arena, sizeof *t);
  t->status = statuses[chance(s, sizeof statuses / sizeof *statuses)];
  t->legal = true;
  if (one_in(s, 4)) buf_add(&t->body, SPAN("<html>no</html>"));
  else buf_printf(&t->body, speech == SPEECH_MESSAGES ? "{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"no %u\"}}" : "{\"error\":{\"message\":\"no %u\",\"type\":\"x\",\"code\":null}}", (unsigned)chance(s, 1000));
  t->limit = buf_size(&t->body);
  return t;
}

/* ---- framing */
static void respond(struct peer *p, struct link *l, struct story *t) {
  struct storm *s = p->storm;
  unsigned framing = (unsigned)chance(s, t->stream ? 2 : 3);      /* chunked, until close, length */
  struct span body = buf_span(&t->body);
  l->close = framing == 1 || one_in(s, 5);
  if (one_in(s, 10)) buf_add(&l->out, SPAN("HTTP/1.1 103 Early Hints\r\n\r\n"));
  http_write_status(&l->out, t->status);
  buf_add(&l->out, t->stream ? SPAN("content-type: text/event-stream\r\n") : SPAN("content-type: application/json\r\n"));
  if (t->status == 429 && one_in(s, 2)) buf_add(&l->out, SPAN("retry-after: 1\r\n"));
  if (l->close) buf_add(&l->out, SPAN("connection: close\r\n"));
  if (framing == 2) http_write_header_u64(&l->out, SPAN("content-length"), body.n);
  if (framing == 0) buf_add(&l->out, SPAN("transfer-encoding: chunked\r\n"));
  http_write_end(&l->out);
  if (framing != 0) buf_add(&l->out, body);
  bool each = one_in(s, 2);                              /* a chunk for each event, as most providers do */
  while (framing == 0 && body.n) {
    size_t n = each ? span_search(body, SPAN("\n\n")) + 2 : 1 + chance(s, one_in(s, 2) ? 40 : 9000);
    if (n > body.n) n = body.n;
    http_write_chunk(&l->out, span_of(body.p, n));
    body = span_from(body, n);
  }
  if (framing == 0) http_write_last_chunk(&l->out);
  if (framing != 1 && one_in(s, 25)) buf_add(&l->out, SPAN("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"));   /* nobody's answer */
  t->open_end = framing == 1;
}

static struct asked *asked_by(struct storm *s, struct span body) {
  size_t at = span_search(body, SPAN("id=s"));
  if (at == body.n) return NULL;
  struct span id = span_from(body, at + 3);
  for (unsigned i = 0; i < s->asked_count; i++)
    if (span_starts(id, span_cstr(s->asked[i].id)) && id.n > strlen(s->asked[i].id) && id.p[strlen(s->asked[i].id)] == ';') return &s->asked[i];
  return NULL;
}

static void answer(struct peer *p, struct link *l, struct span body) {
  struct storm *s = p->storm;
  struct asked *a = p->number == JUDGE ? NULL : asked_by(s, body);
  struct story *t;
  if (p->number != JUDGE && !a) storm_fail(s, "provider %u was sent a request of nobody: %.*s", p->number, (int)(body.n < 300 ? body.n : 300), body.p);
  if (!a) t = whole_told(s, SPEECH_CHAT);
  else if (a->speech == SPEECH_RAW) t = one_in(s, 5) ? refusal_told(s, a->speech) : whole_told(s, a->speech);
  else if (one_in(s, 6)) t = refusal_told(s, a->speech);
  else if (a->stream && !one_in(s, 15)) t = stream_told(s, a->speech);
  else t = whole_told(s, a->speech);
  respond(p, l, t);
  if (a) {
    t->next = a->stories;
    a->stories = t;
  } else {
    buf_free(&t->body);
  }
  l->busy = true;
  l->fate = one_in(s, 3) ? FATE_CLOSE + (enum fate)chance(s, 3) : FATE_WELL;
  l->fate_at = l->fate == FATE_WELL ? buf_size(&l->out) : chance(s, buf_size(&l->out) + 1);
  if (one_in(s, 4)) l->due_ms = now_ms(p) + chance(s, 6000);       /* thinks before the first byte */
}

/* ---- a connection */
static void link_request(struct peer *p, struct link *l) {
  struct storm *s = p->storm;
  static struct http_head head;
  struct http_body decoder;
  struct buf body = { 0 };
  size_t scanned = 0, size = http_head_end(buf_span(&l->in), &scanned), used = size;
  if (!size) return;
  enum http_error e = http_read_request(span_of(l->in.p + l->in.at, size), &head);
  if (e != HTTP_OK) storm_fail(s, "provider %u was sent no HTTP: %s", p->number, http_error_text(e));
  http_body_init(&decoder, &head);
  for (struct span in = span_from(buf_span(&l->in), size);;) {
    struct span piece = { 0 };
    struct step step = http_body_feed(&decoder, in, &piece);
    in = span_from(in, step.used);
    used += step.used;
    if (step.kind == STEP_EVENT) { buf_add(&body, piece); continue; }
    if (step.kind == STEP_BAD) storm_fail(s, "provider %u was sent broken framing", p->number);
    if (step.kind == STEP_DONE) {
      answer(p, l, buf_span(&body));
      buf_consume(&l->in, used);
    }
    break;
  }
  buf_free(&body);
}

static void link_write(struct peer *p, struct link *l) {
  struct storm *s = p->storm;
  if (!l->busy || l->due_ms > now_ms(p)) return;
  size_t n = l->fate_at;
  if (n && one_in(s, 2)) n = 1 + chance(s, one_in(s, 2) ? 20 : n);
  if (n > l->fate_at) n = l->fate_at;
  n = sim_write(s->loop, l->fd, span_of(l->out.p + l->out.at, n));
  buf_consume(&l->out, n);
  l->fate_at -= n;
  l->due_ms = now_ms(p) + (one_in(s, 60) ? chance(s, 7000) : one_in(s, 3) ? chance(s, 30) : n ? 0 : 20);
  if (l->fate_at) return;
  if (l->fate == FATE_SILENCE) { l->due_ms = UINT64_MAX; return; }
  if (l->fate == FATE_RESET) sim_reset(s->loop, l->fd);
  if (l->fate != FATE_WELL || l->close) { link_close(p, l); return; }
  buf_clear(&l->out);
  l->busy = false;
  l->due_ms = 0;
}

static void link_look(struct peer *p, struct link *l) {
  char bytes[4096];
  bool ended = false;
  size_t n, most = one_in(p->storm, 6) ? 0 : one_in(p->storm, 3) ? 1 + chance(p->storm, 100) : sizeof bytes;   /* a busy peer reads little */
  if (most && (n = sim_read(p->storm->loop, l->fd, bytes, most, &ended))) buf_add(&l->in, span_of(bytes, n));
  if (ended) { link_close(p, l); return; }
  if (!l->busy) link_request(p, l);
  link_write(p, l);
  if (l->fd && l->busy && l->due_ms != UINT64_MAX) storm_wake(p->storm, l->due_ms);
  else if (l->fd && (!most || buf_size(&l->in))) storm_wake(p->storm, now_ms(p) + 1);
}

void providers_look(struct storm *s) {
  for (unsigned i = 0; i < PROVIDERS; i++) {
    struct peer *p = &s->providers[i];
    for (int fd; (fd = sim_accept(s->loop, p->listener)) >= 0;) {
      unsigned k = 0;
      while (k < CONNECTIONS && p->links[k].fd) k++;
      if (k == CONNECTIONS) storm_fail(s, "more connections to a provider than there are requests");
      p->links[k] = (struct link){ .fd = fd };
    }
    for (unsigned k = 0; k < CONNECTIONS; k++)
      if (p->links[k].fd) link_look(p, &p->links[k]);
  }
}
