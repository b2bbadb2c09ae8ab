/* bounds.c: the most that a request can come to, from its bytes. A token is never shorter than a byte of what the model reads, and
   everything it reads stands in the body, but for what is fetched elsewhere: files, stored conversations, images behind an address,
   what a provider's own tools find. Then only the model's window bounds it. */
#include "dialect_impl.h"

/* A search brings at most so many results into the answer; nobody states how many searches a model may make. */
enum { SEARCHES_ASSUMED = 16 };

/* Keys below the top level that bring in what the body does not hold. Known by length and last character alone, so a body may be
   thought to hold one when it does not: that only makes the bound wider. */
static bool brings_in(uint64_t keys, struct span body) {
  static const struct span rare[] = { SPAN("image_url"), SPAN("file_id"), SPAN("file_url"), SPAN("video_url"), SPAN("image"), SPAN("cachePoint"),
                                      SPAN("file_data"), SPAN("audio"),   SPAN("url"),      SPAN("vector_store_ids") };
  for (size_t i = 0; i < sizeof rare / sizeof *rare; i++) {
    if (!(keys & json_key_bit(rare[i]))) continue;
    char quoted[32];
    size_t n = rare[i].n;
    quoted[0] = '"';
    memcpy(quoted + 1, rare[i].p, n);
    quoted[n + 1] = '"';
    if (span_search(body, span_of(quoted, n + 2)) < body.n) return true;
  }
  return false;
}

/* A tool that runs at the provider: whatever is neither a function nor a custom one. */
static int64_t tool_searches(struct json tools, enum dialect d, bool *fetches) {
  struct json_iter i = json_iter(tools);
  struct json key, tool;
  int64_t searches = 0;
  while (tools.type == JSON_ARRAY && json_next(&i, &key, &tool)) {
    struct json type = json_in(tool, SPAN("type"));
    bool plain = json_string_is(type, SPAN("function")) || json_string_is(type, SPAN("custom")) || (d == DIALECT_MESSAGES && type.type != JSON_STRING);
    if (plain) continue;
    int64_t uses = json_count(json_in(tool, SPAN("max_uses")));
    *fetches = true;
    searches += uses >= 0 ? uses : SEARCHES_ASSUMED;
  }
  return searches;
}

static int64_t count_of(const struct json_member *members, size_t n, struct span name, int64_t otherwise) {
  int64_t v = json_count(json_member_of(members, n, name));
  return v >= 1 ? v : otherwise;
}

void request_bounds(const struct operation_info *o, struct span body, const struct json_member *members, size_t count, uint64_t keys,
                    struct request_bounds *out) {
  static const struct span stored[] = { SPAN("previous_response_id"), SPAN("conversation"), SPAN("container"), SPAN("context_management"), SPAN("mcp_servers") };
  *out = (struct request_bounds){ .input = (int64_t)body.n, .choices = 1 };
  for (size_t i = 0; i < sizeof stored / sizeof *stored; i++) {
    struct json v = json_member_of(members, count, stored[i]);
    out->beyond |= v.type != JSON_NONE && v.type != JSON_NULL;
  }
  struct json prompt = json_member_of(members, count, SPAN("prompt"));
  out->beyond |= o->operation == OP_RESPONSES && prompt.type == JSON_OBJECT;
  out->beyond |= brings_in(keys, body);
  out->searches = tool_searches(json_member_of(members, count, SPAN("tools")), o->dialect, &out->beyond);
  if (json_member_of(members, count, SPAN("web_search_options")).type == JSON_OBJECT) out->beyond = true, out->searches += SEARCHES_ASSUMED;
  if (o->dialect == DIALECT_CHAT) out->choices = count_of(members, count, SPAN("n"), 1);
  if (o->operation == OP_COMPLETIONS) {
    int64_t best = count_of(members, count, SPAN("best_of"), 1);
    if (best > out->choices) out->choices = best;
    int64_t prompts = 0;
    struct json_iter i = json_iter(prompt);
    struct json key, item;
    while (prompt.type == JSON_ARRAY && json_next(&i, &key, &item)) prompts += item.type != JSON_NUMBER;
    if (prompts > 1) out->choices *= prompts;
  }
  out->no_output = o->operation == OP_EMBEDDINGS || o->operation == OP_COUNT_TOKENS;
}
