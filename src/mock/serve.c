/* serve.c: the mock's connections: a request in, its spec, the answer out at its pace. */
#include "mock.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "serve.h"
#include "weir/log.h"

enum { BODY_MOST = 128 << 20 };

struct peer {
  struct sock sock;
  struct mock *mock;
  struct peer *next, **link;
  struct buf in, body, out;
  size_t scanned;
  struct http_head head;
  struct http_body decoder;
  struct arena arena;
  struct timer timer;
  struct ask ask;
  struct spec spec;
  struct pieces pieces;
  size_t at;                          /* next piece */
  enum { READING_HEAD, READING_BODY, ANSWERING, STREAMING, STUCK } state;
  bool keep_alive, chunked, last, ending, sending;
};

static void stream_next(struct peer *p);
static void read_on(struct peer *p);

/* ---- the end of a connection */
static void closed(struct sock *s) {
  struct peer *p = container(s, struct peer, sock);
  *p->link = p->next;
  if (p->next) p->next->link = p->link;
  buf_free(&p->in);
  buf_free(&p->body);
  buf_free(&p->out);
  arena_end(&p->arena);
  p->mock->open--;
  mem_free(p);
}

static void hang_up(struct peer *p) {
  if (p->ending) return;
  p->ending = true;
  timer_stop(&p->sock.loop->wheel, &p->timer);
  sock_close(&p->sock, closed);
}

static void reset(struct peer *p) {
  struct linger now = { 1, 0 };
  setsockopt(p->sock.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  hang_up(p);
}

/* ---- bytes out, at most `split` at a time */
static void answered(struct peer *p) {
  if (!p->keep_alive || p->spec.close) { hang_up(p); return; }
  p->state = READING_HEAD;
  p->scanned = 0;
  arena_end(&p->arena);
  buf_free(&p->body);
  read_on(p);
  feed_peer(p);
}

static void push(struct peer *p);

static void sent(struct op *op, int result, struct span data, bool more) {
  struct peer *p = container(op, struct peer, sock.send.op);
  (void)data;
  (void)more;
  p->sending = false;
  if (result < 0) { hang_up(p); return; }
  buf_consume(&p->out, (size_t)result);
  if (buf_size(&p->out)) push(p);
  else if (p->last) answered(p);
  else if (p->state == STREAMING) stream_next(p);
}

static void push(struct peer *p) {
  if (p->sending || p->ending) return;
  struct span s = buf_span(&p->out);
  if (!s.n) return;
  if (p->spec.split && s.n > p->spec.split) s.n = p->spec.split;
  struct iovec iov = { (void *)s.p, s.n };
  p->sending = true;
  p->sock.send.op.done = sent;
  p->sock.loop->calls->send(p->sock.loop, &p->sock.send, p->sock.fd, &iov, 1);
}

static void start_head(struct peer *p, int status, struct span type, int64_t length) {
  struct buf *b = &p->out;
  http_write_status(b, status);
  http_write_header(b, SPAN("content-type"), type);
  http_write_header(b, p->ask.route == ROUTE_CONVERSE ? SPAN("x-amzn-requestid") : SPAN("x-request-id"), arena_printf(&p->arena, "mock-%lu", ++p->mock->requests));
  if (p->ask.route == ROUTE_CONVERSE && status != 200) http_write_header(b, SPAN("x-amzn-errortype"), converse_error_kind(&p->spec));
  if (p->spec.retry_after >= 0) http_write_header(b, SPAN("retry-after"), arena_printf(&p->arena, "%g", p->spec.retry_after));
  p->chunked = length < 0 && p->head.minor == 1 && !p->spec.no_length;
  if (length >= 0 && !p->spec.no_length) http_write_header_u64(b, SPAN("content-length"), (uint64_t)length);
  else if (p->chunked) buf_add(b, SPAN("transfer-encoding: chunked\r\n"));
  else p->keep_alive = false;
  if (!p->keep_alive) buf_add(b, SPAN("connection: close\r\n"));
  http_write_end(b);
}

static void write_body(struct peer *p, struct span s) {
  if (p->chunked) http_write_chunk(&p->out, s);
  else buf_add(&p->out, s);
}

/* ---- streams */
static void at_time(struct peer *p, unsigned ms, timer_done *done) {
  p->timer.done = done;
  timer_set(&p->sock.loop->wheel, &p->timer, p->sock.loop->now_ms + ms);
}

static void next_timer(struct timer *t) {
  struct peer *p = container(t, struct peer, timer);
  if (p->at < p->pieces.count) write_body(p, p->pieces.list[p->at++]);
  push(p);
}

/* What happens instead of piece `at` (counted from the first with content); true when the stream goes no further. */
static bool misbehave(struct peer *p) {
  const struct spec *s = &p->spec;
  unsigned k = p->at < p->pieces.first ? 0 : (unsigned)(p->at - p->pieces.first);   /* pieces with content that are out */
  bool before = p->at == 0;
#define NOW(word) (s->word && ((s->word == ~0u && before) || (p->at >= p->pieces.first && k == s->word)))
  if (NOW(stall)) { p->state = STUCK; return true; }
  if (NOW(reset)) { reset(p); return true; }
  if (NOW(cut)) { hang_up(p); return true; }
  if (NOW(end) || NOW(error) || NOW(bad)) {
    struct buf b = { 0 };
    if (NOW(error)) say_error_event(&p->ask, &b);
    if (NOW(bad) && p->ask.route == ROUTE_CONVERSE) buf_add(&b, SPAN("these are twelve bytes, and more, of no frame"));
    else if (NOW(bad)) buf_add(&b, SPAN("data: {\"choices\":[{\"delta\":{\"content\":\n\n"));
    write_body(p, buf_span(&b));
    buf_free(&b);
    p->at = p->pieces.count;
  }
#undef NOW
  return false;
}

static void stream_next(struct peer *p) {
  if (misbehave(p)) return;
  if (p->at >= p->pieces.count) {
    if (p->chunked) http_write_last_chunk(&p->out);
    p->last = true;
    if (buf_size(&p->out)) push(p);
    else answered(p);
    return;
  }
  unsigned wait = p->at == p->pieces.first ? (p->spec.first ? p->spec.first : p->spec.gap) : p->at > p->pieces.first ? p->spec.gap : 0;
  if (wait) { at_time(p, wait, next_timer); return; }
  write_body(p, p->pieces.list[p->at++]);
  push(p);
}

/* ---- recorded answers */
static struct span read_file(struct peer *p, struct span name) {
  if (!p->mock->play_folder || span_search(name, SPAN("..")) < name.n) return (struct span){ 0 };
  struct span path = arena_printf(&p->arena, "%s/%.*s", p->mock->play_folder, SPAN_FMT(name));
  int fd = open(path.p, O_RDONLY | O_CLOEXEC);
  struct stat st;
  if (fd < 0) return (struct span){ 0 };
  struct span all = { 0 };
  if (!fstat(fd, &st)) {
    char *bytes = arena_alloc(&p->arena, (size_t)st.st_size + 1);
    ssize_t n = read(fd, bytes, (size_t)st.st_size);
    if (n >= 0) all = span_of(bytes, (size_t)n);
  }
  close(fd);
  return all;
}

/* { "name": payload } */
static void converse_line(struct span line, struct buf *b) {
  struct json v, key, payload;
  if (!json_read(line, &v, NULL)) return;
  struct json_iter i = json_iter(v);
  if (json_next(&i, &key, &payload)) converse_frame(b, false, span_of(key.text.p + 1, key.text.n - 2), payload.text);
}

/* One JSON payload a line, framed as the route's dialect frames it; a file that is framed already (.sse) goes out as it is. */
static void play_lines(struct peer *p, struct span all, bool framed) {
  struct buf b = { 0 };
  size_t room = 2;
  for (size_t i = 0; i < all.n; i++) room += all.p[i] == '\n';
  p->pieces.list = arena_alloc(&p->arena, room * sizeof *p->pieces.list);
  p->pieces.count = p->pieces.first = 0;
  if (framed) {
    p->pieces.list[p->pieces.count++] = all;
    return;
  }
  bool named = p->ask.route == ROUTE_RESPONSES || p->ask.route == ROUTE_MESSAGES;
  while (all.n) {
    struct span line;
    struct json v;
    struct json_error e;
    all = span_cut(all, '\n', &line);
    if (!line.n) continue;
    struct span type = { 0 };
    if (p->ask.route == ROUTE_CONVERSE) converse_line(line, &b);
    else if (named && json_read(line, &v, &e)) json_unescape(json_get(v, SPAN("type")), &p->arena, &type);
    if (p->ask.route != ROUTE_CONVERSE) sse_line(&b, type, line);
    p->pieces.list[p->pieces.count++] = arena_copy(&p->arena, buf_span(&b));
    buf_clear(&b);
  }
  if (!named && p->ask.route != ROUTE_CONVERSE && !p->spec.no_done) p->pieces.list[p->pieces.count++] = SPAN("data: [DONE]\n\n");
  buf_free(&b);
}

/* ---- answering */
static void answer_body(struct peer *p, int status, struct span type, struct span body) {
  start_head(p, status, type, (int64_t)body.n);
  if (p->spec.cut && status == 200) {                    /* a whole answer cut in its middle */
    buf_add(&p->out, span_of(body.p, body.n / 2));
    p->keep_alive = false;
  } else {
    buf_add(&p->out, body);
  }
  p->last = true;
  push(p);
}

static void answer_now(struct timer *t) {
  struct peer *p = container(t, struct peer, timer);
  const struct spec *s = &p->spec;
  struct buf body = { 0 };
  p->state = ANSWERING;
  p->last = false;
  if (s->hang) { p->state = STUCK; return; }
  if (s->drop) { reset(p); return; }
  if (s->status != 200) {
    say_error(&p->ask, s, &body);
    answer_body(p, s->status, s->html ? SPAN("text/html") : SPAN("application/json"), s->html ? SPAN("<html><body>Bad gateway</body></html>") : buf_span(&body));
  } else if (s->html) {
    answer_body(p, 200, SPAN("text/html"), SPAN("<html><body>Welcome</body></html>"));
  } else if (s->garbage) {
    answer_body(p, 200, p->ask.stream ? SPAN("text/event-stream") : SPAN("application/json"), p->ask.stream ? SPAN("data: {\"choices\": oops\n\n") : SPAN("{\"choices\":[{\"mess"));
  } else if (p->ask.stream && !s->json) {
    p->state = STREAMING;
    p->at = 0;
    if (s->play.n) play_lines(p, read_file(p, s->play), span_ends(s->play, SPAN(".sse")));
    else say_stream(&p->ask, s, &p->arena, &p->pieces);
    start_head(p, 200, p->ask.route == ROUTE_CONVERSE ? SPAN("application/vnd.amazon.eventstream") : SPAN("text/event-stream"), -1);
    push(p);
  } else if (s->empty && !p->ask.stream && !s->text.p) {
    answer_body(p, 200, SPAN("application/json"), SPAN(""));
  } else if (s->play.n) {
    answer_body(p, 200, SPAN("application/json"), read_file(p, s->play));
  } else {
    say_whole(&p->ask, s, &body);
    struct span type = p->ask.route == ROUTE_ECHO && p->head.content_type.n ? p->head.content_type : SPAN("application/json");
    answer_body(p, 200, type, buf_span(&body));
  }
  buf_free(&body);
}

static struct span next_of_script(struct mock *m) {
  struct span line = m->script_at;
  if (!line.n) return (struct span){ 0 };
  size_t end = span_find(line, '\n');
  if (end + 1 < line.n) m->script_at = span_from(line, end + 1);         /* the last line stays */
  return span_of(line.p, end);
}

static bool choose_spec(struct peer *p, const char **why) {
  struct span header = http_header(&p->head, SPAN("x-mock")), model = p->ask.model;
  size_t semicolon = span_find(model, ';');
  p->spec = spec_default();
  struct span text = header.p ? header : semicolon < model.n ? span_from(model, semicolon + 1) : spec_preset(model);
  if (!text.p) text = next_of_script(p->mock);
  return spec_read(&p->spec, text, &p->arena, why);
}

static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1; }

/* Gemini's requests name the model in their path, and whether they ask for a stream. */
static void read_path(struct peer *p, struct span path) {
  static const struct span folder = SPAN("/models/");
  size_t at = span_search(path, folder), end = path.n, n = 0;
  if (p->ask.route < ROUTE_GENERATE || p->ask.route > ROUTE_GEMINI_EMBED || at == path.n) return;
  while (path.p[end - 1] != ':') end--;
  char *model = arena_alloc(&p->arena, path.n);
  for (at += folder.n; at + 1 < end; at++) {
    bool escape = path.p[at] == '%' && at + 2 < end && hex_digit(path.p[at + 1]) >= 0 && hex_digit(path.p[at + 2]) >= 0;
    model[n++] = escape ? (char)(hex_digit(path.p[at + 1]) << 4 | hex_digit(path.p[at + 2])) : path.p[at];
    if (escape) at += 2;
  }
  bool streams = span_ends(path, SPAN(":streamGenerateContent")), events = span_search(p->head.target, SPAN("alt=sse")) < p->head.target.n;
  p->ask.model = span_of(model, n);
  p->ask.stream = streams && events;
  p->ask.list = streams && !events;
}

static void read_ask(struct peer *p) {
  struct span path, body = buf_span(&p->body);
  span_cut(p->head.target, '?', &path);
  static const struct { const char *suffix; enum mock_route route; } routes[] = {
    { "/chat/completions", ROUTE_CHAT }, { "/completions", ROUTE_COMPLETIONS }, { "/embeddings", ROUTE_EMBEDDINGS },
    { "/responses", ROUTE_RESPONSES }, { "/messages", ROUTE_MESSAGES }, { "/messages/count_tokens", ROUTE_COUNT_TOKENS },
    { ":generateContent", ROUTE_GENERATE }, { ":streamGenerateContent", ROUTE_GENERATE }, { ":countTokens", ROUTE_GEMINI_TOKENS }, { ":embedContent", ROUTE_GEMINI_EMBED },
  };
  p->ask = (struct ask){ .route = ROUTE_ECHO, .body = body };
  for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
    if (span_ends(path, span_cstr(routes[i].suffix)) && p->ask.route == ROUTE_ECHO) p->ask.route = routes[i].route;
  struct json v;
  read_path(p, path);
  struct json_error e;
  if (p->ask.route == ROUTE_ECHO && converse_ask(path, &p->ask, &p->arena)) return;
  if (!json_read(body, &v, &e)) return;
  p->ask.stream |= json_get(v, SPAN("stream")).type == JSON_TRUE;
  p->ask.wants_usage = json_at(v, "stream_options.include_usage").type == JSON_TRUE;
  struct json model = json_get(v, SPAN("model"));
  if (model.type == JSON_STRING) json_unescape(model, &p->arena, &p->ask.model);
}

static void log_request(struct peer *p) {
  if (!p->mock->record) return;
  fprintf(p->mock->record, "%.*s %.*s\n", SPAN_FMT(p->head.method), SPAN_FMT(p->head.target));
  for (size_t i = 0; i < p->head.count; i++) fprintf(p->mock->record, "%.*s: %.*s\n", SPAN_FMT(p->head.headers[i].name), SPAN_FMT(p->head.headers[i].value));
  fprintf(p->mock->record, "\n%.*s\n\n", SPAN_FMT(buf_span(&p->body)));
  fflush(p->mock->record);
}

static void take_request(struct peer *p) {
  const char *why = NULL;
  read_ask(p);
  log_request(p);
  struct span path;
  p->state = ANSWERING;
  span_cut(p->head.target, '?', &path);
  if (span_eq(p->head.method, SPAN("GET")) && span_ends(path, SPAN("/models"))) {
    p->spec = spec_default();
    answer_body(p, 200, SPAN("application/json"), SPAN("{\"object\":\"list\",\"data\":[{\"id\":\"mock\",\"object\":\"model\",\"created\":1700000000,\"owned_by\":\"weir-mock\"}]}"));
    return;
  }
  if (!choose_spec(p, &why)) {
    struct buf b = { 0 };
    buf_add(&b, SPAN("{\"error\":{\"message\":"));
    json_write_string(&b, arena_printf(&p->arena, "weir-mock: %s", why));
    buf_add(&b, SPAN(",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}"));
    p->spec = spec_default();
    answer_body(p, 400, SPAN("application/json"), buf_span(&b));
    buf_free(&b);
    return;
  }
  if (p->spec.model.p) p->ask.model = p->spec.model;
  const char *unsigned_kind = p->ask.route == ROUTE_CONVERSE && p->mock->aws_secret ? sign_wrong(&p->head, buf_span(&p->body), p->mock->aws_id, p->mock->aws_secret) : NULL;
  if (unsigned_kind) p->spec.status = 403, p->spec.type = span_cstr(unsigned_kind);
  if (p->spec.delay) at_time(p, p->spec.delay, answer_now);
  else answer_now(&p->timer);
}

/* ---- bytes in */
void feed_peer(struct peer *p) {
  while (!p->ending && (p->state == READING_HEAD || p->state == READING_BODY)) {
    struct span in = buf_span(&p->in);
    if (p->state == READING_HEAD) {
      size_t size = http_head_end(in, &p->scanned);
      if (!size) return;
      struct span head = arena_copy(&p->arena, span_of(in.p, size));
      if (http_read_request(head, &p->head) != HTTP_OK) { hang_up(p); return; }
      buf_consume(&p->in, size);
      p->keep_alive = p->head.keep_alive;
      http_body_init(&p->decoder, &p->head);
      if (p->head.expect_continue) buf_add(&p->out, SPAN("HTTP/1.1 100 Continue\r\n\r\n")), push(p);
      p->state = READING_BODY;
      continue;
    }
    struct span piece = { 0 };
    struct step s = http_body_feed(&p->decoder, in, &piece);
    if (piece.n && s.kind == STEP_EVENT) buf_add(&p->body, piece);
    buf_consume(&p->in, s.used);
    if (s.kind == STEP_BAD || buf_size(&p->body) > BODY_MOST) { hang_up(p); return; }
    if (s.kind == STEP_DONE) take_request(p);
    else if (s.kind == STEP_MORE) return;
  }
}

static void received(struct op *op, int result, struct span data, bool more) {
  struct peer *p = container(op, struct peer, sock.recv);
  (void)more;
  if (result <= 0) {
    if (p->state == STREAMING || p->state == STUCK || p->state == ANSWERING) p->mock->cancelled++;
    hang_up(p);
    return;
  }
  buf_add(&p->in, data);
  feed_peer(p);
  if (!p->ending) read_on(p);
}

static void read_on(struct peer *p) {
  if (op_busy(&p->sock.recv) || p->ending) return;
  p->sock.recv.done = received;
  p->sock.loop->calls->recv(p->sock.loop, &p->sock.recv, p->sock.fd, false);
}

static void accepted(struct op *op, int result, struct span data, bool more) {
  struct mock *m = container(op, struct mock, accept);
  (void)data;
  if (result >= 0) {
    struct peer *p = mem_zero(sizeof *p);
    p->mock = m;
    p->sock.loop = m->loop;
    p->sock.fd = result;
    p->next = m->peers;
    p->link = &m->peers;
    if (p->next) p->next->link = &p->next;
    m->peers = p;
    m->open++;
    read_on(p);
  }
  if (!more) m->loop->calls->accept(m->loop, op, m->fd);
}

void mock_serve(struct mock *m) {
  m->accept.done = accepted;
  m->loop->calls->accept(m->loop, &m->accept, m->fd);
}
