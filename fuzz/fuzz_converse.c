/* fuzz_converse.c: Bedrock's Converse over byte soup: requests of chat and messages said to it, its whole answers and its streams said to
   them. Byte 0: bit 0 whose client, bits 1 and 2 what follows; byte 1: how a stream is split, and whether losses are refused, and whose
   model. A stream is made of lines, each an event's name and its payload, in frames that are right, since soup has no checksums; a name
   that begins with '!' is an exception's. What comes out must be JSON, or a stream that is the same under any split, in order whatever
   came, and legal once an error event has ended it. */
#include <zlib.h>
#include "weir/log.h"
#include "weir/translate.h"

enum { MEMBERS = 64 };
static const struct translate_names names = { .id = SPAN("req_1"), .model = SPAN("m"), .provider = SPAN("bedrock"), .created = 1, .usage = true };

static void request(const struct operation_info *from, struct span body, bool strict, struct span model) {
  struct json_member members[MEMBERS];
  struct arena arena = { 0 };
  struct buf out = { 0 };
  struct translating how = { .arena = &arena, .strict = strict, .model = model };
  size_t n;
  if (json_read_object(body, members, MEMBERS, &n, NULL)) {
    bool good = translate_request(from, operation_info(OP_CONVERSE), members, n, &how, &out);
    require(good || (how.why.n && span_utf8(how.why) && !buf_size(&out)));
    require(!good || (json_read_object(buf_span(&out), members, MEMBERS, &n, NULL) && http_value_ok(how.losses) && !(strict && how.losses.n)));
  }
  buf_free(&out);
  arena_end(&arena);
}

static void answer(const struct operation_info *to, struct span body) {
  struct answer_facts f;
  struct buf out = { 0 };
  const char *why = NULL;
  answer_read(operation_info(OP_CONVERSE), body, &f);
  if (f.fault != FAULT_INVALID) {
    bool good = translate_answer(operation_info(OP_CONVERSE), to, body, &names, &out, &why);
    require(good == !why);
    if (good) answer_read(to, buf_span(&out), &f);
    require(!good || f.fault != FAULT_INVALID);
  }
  buf_free(&out);
}

static void add_u32(struct buf *b, uint32_t v) {
  for (int i = 24; i >= 0; i -= 8) buf_byte(b, (char)(v >> i));
}

static uint32_t crc(const struct buf *b, size_t from) {
  struct span s = span_from(buf_span(b), from);
  return (uint32_t)crc32(0, (const Bytef *)s.p, (uInt)s.n);
}

static void add_header(struct buf *b, struct span name, struct span value) {
  if (value.n > 255) value.n = 255;
  buf_byte(b, (char)name.n);
  buf_add(b, name);
  buf_byte(b, 7), buf_byte(b, 0), buf_byte(b, (char)value.n);
  buf_add(b, value);
}

static void add_message(struct buf *b, struct span name, struct span payload) {
  struct buf head = { 0 };
  size_t from = buf_size(b);
  bool exception = name.n && name.p[0] == '!';
  add_header(&head, exception ? SPAN(":exception-type") : SPAN(":event-type"), exception ? span_from(name, 1) : name);
  add_header(&head, SPAN(":message-type"), exception ? SPAN("exception") : SPAN("event"));
  add_u32(b, (uint32_t)(FRAME_LEAST + buf_size(&head) + payload.n));
  add_u32(b, (uint32_t)buf_size(&head));
  add_u32(b, crc(b, from));
  buf_add(b, buf_span(&head));
  buf_add(b, payload);
  add_u32(b, crc(b, from));
  buf_free(&head);
}

static void stream(const struct operation_info *to, struct span bytes, size_t step, struct buf *out) {
  const struct operation_info *from = operation_info(OP_CONVERSE);
  struct translation *t = translation_new(from, to, &names, 1 << 16);
  struct event_source source = { 0 };
  struct event_state state = { 0 };
  struct sse_event e;
  const char *why;
  size_t at = 0;
  bool over = false;
  for (size_t given = 0; given < bytes.n && !over;) {
    struct arena scratch = { 0 };
    given = bytes.n - given > step ? given + step : bytes.n;
    for (struct step s; !over && (s = event_next(from, &source, span_of(bytes.p + at, given - at), &scratch, &e)).kind != STEP_MORE; at += s.used) {
      struct event_facts f;
      require(s.kind == STEP_EVENT);
      event_read(from, &state, &e, &scratch, &f);
      over = f.class == EVENT_ERROR || translation_event(t, &e, out, &why) != FAULT_NONE;
    }
    arena_end(&scratch);
  }
  if (!over && !state.terminated && event_may_end(from, &state)) translation_end(t, out, &why);
  translation_free(t);
}

static void in_order(const struct operation_info *o, struct span bytes) {
  struct event_state state = { 0 };
  struct sse sse = { 0 };
  struct sse_event e;
  for (struct step s; (s = sse_feed(&sse, bytes, &e)).kind == STEP_EVENT; bytes = span_from(bytes, s.used)) {
    struct event_facts f;
    struct arena scratch = { 0 };
    event_read(o, &state, &e, &scratch, &f);
    require(f.class != EVENT_ERROR);
    arena_end(&scratch);
  }
  require(!bytes.n);
}

static void streams(const struct operation_info *to, struct span lines, size_t step) {
  struct buf frames = { 0 }, whole = { 0 }, pieces = { 0 };
  while (lines.n) {
    struct span name, payload;
    lines = span_cut(lines, '\n', &name);
    lines = span_cut(lines, '\n', &payload);
    add_message(&frames, name, payload);
  }
  stream(to, buf_span(&frames), SIZE_MAX, &whole);
  stream(to, buf_span(&frames), step, &pieces);
  require(span_eq(buf_span(&whole), buf_span(&pieces)));
  in_order(to, buf_span(&whole));
  buf_free(&frames), buf_free(&whole), buf_free(&pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2) return 0;
  const struct operation_info *client = operation_info(data[0] & 1 ? OP_MESSAGES : OP_CHAT);
  struct span rest = span_of((const char *)data + 2, size - 2);
  switch (data[0] >> 1 & 3) {
  case 0: request(client, rest, data[1] & 1, data[1] & 2 ? SPAN("anthropic.claude") : data[1] & 4 ? SPAN("amazon.nova") : SPAN("m")); break;
  case 1: answer(client, rest); break;
  default: streams(client, rest, 1 + data[1] % 64);
  }
  return 0;
}
