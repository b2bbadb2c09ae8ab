/* fuzz_translate.c: requests, whole answers and streams from one dialect to another, over byte soup.
   Byte 0: bit 0 who speaks (chat, messages; with bit 3 always the client), bits 1 and 2 what follows (request, answer, stream), bit 3 whether the provider speaks
   responses in place of the other one, bit 4 whether signatures are sealed, bit 5 whether gemini stands in place of the other one, bit 6 who of the two, bit 7 whether one call alone was asked for; byte 1: how a stream is split, and whether losses are refused. What comes out must be JSON that its own reader takes; what was said without a loss must come back as it is; a stream must
   be the same under any split, in order whatever came, and legal once an error event has ended it. */
#include "weir/log.h"
#include "weir/translate.h"
#include "translated.h"

static bool responses;                /* the provider's dialect */
static bool gemini;                   /* one of the two is gemini, the other this: */
static enum operation beside;
static const struct operation_info *other(const struct operation_info *o) {
  if (gemini) return operation_info(o->operation == OP_GENERATE ? beside : OP_GENERATE);
  return operation_info(o->operation == OP_CHAT ? OP_MESSAGES : OP_CHAT);
}
static const struct operation_info *provider_of(const struct operation_info *client) { return responses ? operation_info(OP_RESPONSES) : other(client); }

enum { MEMBERS = 64 };
static bool translate(const struct operation_info *from, struct span body, struct translating *how, struct buf *out) {
  struct json_member members[MEMBERS];
  size_t n;
  how->model = SPAN("m");
  if (!json_read_object(body, members, MEMBERS, &n, NULL)) return false;
  bool good = translate_request(from, provider_of(from), members, n, how, out);
  require(good || (how->why.n && span_utf8(how->why) && !buf_size(out)));
  if (good) require(json_read_object(buf_span(out), members, MEMBERS, &n, NULL) && http_value_ok(how->losses));
  return good;
}

static void request(const struct operation_info *from, struct span body, bool strict) {
  struct arena arena = { 0 };
  struct buf there = { 0 }, back = { 0 }, again = { 0 };
  struct translating how = { .arena = &arena, .strict = strict }, second = { .arena = &arena };
  if (translate(from, body, &how, &there)) {
    require(!strict || !how.losses.n);
    if (!responses && !how.losses.n && translate(other(from), buf_span(&there), &second, &back) && !second.losses.n && translate(from, buf_span(&back), &second, &again))
      require(second.losses.n || span_eq(buf_span(&there), buf_span(&again)));
  }
  buf_free(&there), buf_free(&back), buf_free(&again);
  arena_end(&arena);
}

static struct translate_names names = { .id = SPAN("req_1"), .model = SPAN("m"), .created = 1, .usage = true };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2) return 0;
  static const struct span customs[] = { SPAN("f"), SPAN("sql") };
  struct buf lost = { 0 };
  responses = data[0] & 8;
  gemini = !responses && data[0] & 32;
  beside = data[0] & 1 ? OP_MESSAGES : OP_CHAT;
  const struct operation_info *from = operation_info(gemini && data[0] & 64 ? OP_GENERATE : beside), *client = responses ? from : other(from);
  names.provider = data[0] & 16 ? SPAN("lab") : SPAN("");
  names.losses = &lost;
  names.one_call = data[0] & 128;
  names.customs = customs;
  names.custom_count = 2;
  struct span rest = span_of((const char *)data + 2, size - 2);
  switch (data[0] >> 1 & 3) {
  case 0: request(from, rest, data[1] & 1); break;
  case 1: answer_translated(provider_of(client), client, rest, &names); break;
  default: stream_translated(provider_of(client), client, rest, 1 + data[1] % 64, &names);
  }
  require(http_value_ok(buf_span(&lost)));
  buf_free(&lost);
  return 0;
}
