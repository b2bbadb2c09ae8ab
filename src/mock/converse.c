/* converse.c: what the mock says as Bedrock: Converse and ConverseStream, the latter in AWS's frames. As in say.c nothing of weir's own
   readers and writers of it is used. */
#include "mock.h"
#include <stdio.h>

/* ---- frames */
static uint32_t checksum(struct span s) {
  uint32_t crc = ~0u;
  for (size_t i = 0; i < s.n; i++) {
    crc ^= (unsigned char)s.p[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
  }
  return ~crc;
}

static void number(struct buf *b, uint32_t v) {
  for (int shift = 24; shift >= 0; shift -= 8) buf_byte(b, (char)(v >> shift));
}

static void header(struct buf *b, struct span name, struct span value) {
  buf_byte(b, (char)name.n);
  buf_add(b, name);
  buf_add(b, span_of("\7\0", 2));
  buf_byte(b, (char)value.n);
  buf_add(b, value);
}

void converse_frame(struct buf *b, bool exception, struct span name, struct span payload) {
  struct buf head = { 0 }, all = { 0 };
  header(&head, exception ? SPAN(":exception-type") : SPAN(":event-type"), name);
  header(&head, SPAN(":content-type"), SPAN("application/json"));
  header(&head, SPAN(":message-type"), exception ? SPAN("exception") : SPAN("event"));
  number(&all, (uint32_t)(16 + buf_size(&head) + payload.n));
  number(&all, (uint32_t)buf_size(&head));
  number(&all, checksum(buf_span(&all)));
  buf_add(&all, buf_span(&head));
  buf_add(&all, payload);
  number(&all, checksum(buf_span(&all)));
  buf_add(b, buf_span(&all));
  buf_free(&head), buf_free(&all);
}

/* ---- what is asked: /model/ID/converse, /model/ID/converse-stream */
static int digit(char c) { return c >= '0' && c <= '9' ? c - '0' : ascii_lower(c) >= 'a' && ascii_lower(c) <= 'f' ? ascii_lower(c) - 'a' + 10 : -1; }

static struct span decoded(struct span s, struct arena *a) {
  char *p = arena_alloc(a, s.n + 1);
  size_t n = 0;
  for (size_t i = 0; i < s.n; i++) {
    bool code = s.p[i] == '%' && i + 2 < s.n && digit(s.p[i + 1]) >= 0 && digit(s.p[i + 2]) >= 0;
    p[n++] = code ? (char)(digit(s.p[i + 1]) << 4 | digit(s.p[i + 2])) : s.p[i];
    if (code) i += 2;
  }
  return span_of(p, n);
}

bool converse_ask(struct span path, struct ask *q, struct arena *a) {
  size_t at = span_search(path, SPAN("/model/"));
  q->stream = span_ends(path, SPAN("/converse-stream"));
  size_t tail = q->stream ? 16 : 9;
  if (at >= path.n || (!q->stream && !span_ends(path, SPAN("/converse"))) || path.n < at + 7 + tail) return false;
  q->route = ROUTE_CONVERSE;
  q->model = decoded(span_of(path.p + at + 7, path.n - at - 7 - tail), a);
  return true;
}

/* ---- answers */
static void add_usage(struct buf *b, const struct spec *s) {
  buf_printf(b, "\"usage\":{\"inputTokens\":%ld,\"outputTokens\":%ld,\"totalTokens\":%ld", s->input, s->output, s->input + s->output);
  if (s->cached >= 0) buf_printf(b, ",\"cacheReadInputTokens\":%ld,\"cacheWriteInputTokens\":0", s->cached);
  buf_byte(b, '}');
}

static struct span finish_of(const struct spec *s) { return s->finish.p ? s->finish : s->tools ? SPAN("tool_use") : s->refuse ? SPAN("content_filtered") : SPAN("end_turn"); }

void converse_whole(const struct spec *s, struct span text, struct buf *b) {
  buf_add(b, SPAN("{\"metrics\":{\"latencyMs\":5},\"output\":{\"message\":{\"content\":["));
  if (!s->tools && text.n) buf_add(b, SPAN("{\"text\":")), json_write_string(b, text), buf_byte(b, '}');
  for (unsigned i = 0; i < s->tools; i++) buf_printf(b, "%s{\"toolUse\":{\"input\":{\"n\":%u},\"name\":\"tool_%u\",\"toolUseId\":\"tooluse_%u\"}}", i ? "," : "", i, i, i);
  buf_add(b, SPAN("],\"role\":\"assistant\"}},\"stopReason\":"));
  json_write_string(b, finish_of(s));
  if (s->input >= 0) buf_byte(b, ','), add_usage(b, s);
  buf_byte(b, '}');
}

struct list { struct pieces *out; struct arena *a; size_t room; };

static void piece(struct list *l, const char *name, struct span payload) {
  struct pieces *p = l->out;
  struct buf b = { 0 };
  if (p->count == l->room) {
    l->room = l->room ? 2 * l->room : 64;
    struct span *more = arena_alloc(l->a, l->room * sizeof *more);
    if (p->count) memcpy(more, p->list, p->count * sizeof *more);
    p->list = more;
  }
  converse_frame(&b, false, span_cstr(name), payload);
  p->list[p->count++] = arena_copy(l->a, buf_span(&b));
  buf_free(&b);
}

static void calls(struct list *l, const struct spec *s) {
  for (unsigned i = 0; i < s->tools; i++) {
    piece(l, "contentBlockStart", arena_printf(l->a, "{\"contentBlockIndex\":%u,\"start\":{\"toolUse\":{\"name\":\"tool_%u\",\"toolUseId\":\"tooluse_%u\"}}}", i, i, i));
    piece(l, "contentBlockDelta", arena_printf(l->a, "{\"contentBlockIndex\":%u,\"delta\":{\"toolUse\":{\"input\":\"{\\\"n\\\"\"}}}", i));
    piece(l, "contentBlockDelta", arena_printf(l->a, "{\"contentBlockIndex\":%u,\"delta\":{\"toolUse\":{\"input\":\":%u}\"}}}", i, i));
    piece(l, "contentBlockStop", arena_printf(l->a, "{\"contentBlockIndex\":%u}", i));
  }
}

/* The padding is as long as chance has it there. */
void converse_stream(const struct spec *s, struct span text, struct arena *a, struct pieces *out) {
  struct list l = { out, a, 0 };
  struct buf b = { 0 };
  piece(&l, "messageStart", SPAN("{\"p\":\"abcdefghij\",\"role\":\"assistant\"}"));
  out->first = out->count;
  calls(&l, s);
  for (size_t at = 0, end; !s->tools && at < text.n; at = end) {
    end = say_cut(s, text, at);
    buf_add(&b, SPAN("{\"contentBlockIndex\":0,\"delta\":{\"text\":"));
    json_write_string(&b, span_of(text.p + at, end - at));
    buf_add(&b, SPAN("},\"p\":\"abc\"}"));
    piece(&l, "contentBlockDelta", buf_span(&b));
    buf_clear(&b);
  }
  if (!s->tools) piece(&l, "contentBlockStop", SPAN("{\"contentBlockIndex\":0}"));
  if (!s->no_done) {
    buf_add(&b, SPAN("{\"stopReason\":"));
    json_write_string(&b, finish_of(s));
    buf_byte(&b, '}');
    piece(&l, "messageStop", buf_span(&b));
    buf_clear(&b);
  }
  buf_add(&b, SPAN("{\"metrics\":{\"latencyMs\":5},"));
  add_usage(&b, s);
  buf_byte(&b, '}');
  if (s->input >= 0) piece(&l, "metadata", buf_span(&b));
  buf_free(&b);
}

/* ---- errors */
struct span converse_error_kind(const struct spec *s) {
  static const struct { int status; struct span name; } kinds[] = {
    { 400, SPAN("ValidationException") }, { 403, SPAN("AccessDeniedException") }, { 404, SPAN("ResourceNotFoundException") }, { 408, SPAN("ModelTimeoutException") },
    { 424, SPAN("ModelErrorException") }, { 429, SPAN("ThrottlingException") }, { 503, SPAN("ServiceUnavailableException") },
  };
  if (s->type.p) return s->type;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (kinds[i].status == s->status) return kinds[i].name;
  return SPAN("InternalServerException");
}

void converse_error_event(struct buf *out) { converse_frame(out, true, SPAN("serviceUnavailableException"), SPAN("{\"message\":\"The server had an error\"}")); }
