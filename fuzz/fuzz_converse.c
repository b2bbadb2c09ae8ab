/* fuzz_converse.c: Bedrock's Converse over byte soup: requests of chat and messages said to it, its whole answers and its streams said to
   them. Byte 0: bit 0 whose client, bits 1 and 2 what follows; byte 1: how a stream is split, and whether losses are refused, and whose
   model. A stream is made of lines, each an event's name and its payload, in frames that are right, since soup has no checksums; a name
   that begins with '!' is an exception's. What comes out must be JSON, or a stream that is the same under any split, in order whatever
   came, and legal once an error event has ended it. */
#include "../tests/frames.h"
#include "translated.h"
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

static void streams(const struct operation_info *to, struct span lines, size_t step) {
  struct buf frames = { 0 };
  while (lines.n) {
    struct span name, payload;
    lines = span_cut(lines, '\n', &name);
    lines = span_cut(lines, '\n', &payload);
    bool exception = span_starts(name, SPAN("!"));
    add_event(&frames, exception ? "exception" : "event", exception ? span_from(name, 1) : name, payload);
  }
  stream_translated(operation_info(OP_CONVERSE), to, buf_span(&frames), step, &names);
  buf_free(&frames);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2) return 0;
  const struct operation_info *client = operation_info(data[0] & 1 ? OP_MESSAGES : OP_CHAT);
  struct span rest = span_of((const char *)data + 2, size - 2);
  switch (data[0] >> 1 & 3) {
  case 0: request(client, rest, data[1] & 1, data[1] & 2 ? SPAN("anthropic.claude") : data[1] & 4 ? SPAN("amazon.nova") : SPAN("m")); break;
  case 1: answer_translated(operation_info(OP_CONVERSE), client, rest, &names); break;
  default: streams(client, rest, 1 + data[1] % 64);
  }
  return 0;
}
