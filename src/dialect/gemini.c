/* gemini.c: Gemini generateContent. A stream is partial answers, one an event, and ends with its bytes: it may end once each candidate
   has told why it finished. Usage stands in most events and is that of the whole stream so far. */
#include "gemini.h"

static const char *const overflow[] = {
  "input token count", "exceeds the maximum number of tokens", "maximum number of tokens allowed", "context length", "context window", NULL,
};

/* The prompt was blocked, by a reason that says no more. As an end of an answer "OTHER" means something else. */
#define BLOCKED SPAN("PROMPT_BLOCKED")

static bool one_of(struct span word, const struct span *words, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (span_eq(word, words[i])) return true;
  return false;
}

bool gemini_filtered(struct span finish) {
  static const struct span words[] = {
    SPAN("SAFETY"), SPAN("PROHIBITED_CONTENT"), SPAN("BLOCKLIST"), SPAN("SPII"), SPAN("RECITATION"), SPAN("IMAGE_SAFETY"),
    SPAN("IMAGE_PROHIBITED_CONTENT"), SPAN("IMAGE_RECITATION"), SPAN("MODEL_ARMOR"), SPAN("JAILBREAK"), BLOCKED,
  };
  return one_of(finish, words, sizeof words / sizeof *words);
}

bool gemini_broken(struct span finish) {
  static const struct span words[] = { SPAN("MALFORMED_FUNCTION_CALL"), SPAN("UNEXPECTED_TOOL_CALL"), SPAN("TOO_MANY_TOOL_CALLS") };
  return one_of(finish, words, sizeof words / sizeof *words);
}

static enum fault gemini_silence(struct span finish) {
  if (gemini_filtered(finish)) return FAULT_CONTENT_FILTERED;
  return gemini_broken(finish) ? FAULT_INVALID : FAULT_EMPTY;
}

struct span gemini_blocked(struct json document) {
  struct span reason = string_raw(json_under(document, "promptFeedback.blockReason"));
  if (!reason.n || json_under(document, "candidates.0").type == JSON_OBJECT) return (struct span){ NULL, 0 };
  return gemini_filtered(reason) ? reason : BLOCKED;
}

/* ---- usage: what was read from the cache stands inside the prompt's count; thoughts stand beside the candidates', what a tool brought
   in beside the prompt's. A count that is zero is left out. */
static int64_t up(int64_t n) { return n > 0 ? n : 0; }

static int64_t modality(struct json details, const struct span *names, size_t count) {
  struct json_iter i = json_iter(details);
  struct json key, item;
  int64_t sum = -1;
  while (details.type == JSON_ARRAY && json_next(&i, &key, &item)) {
    if (!one_of(string_raw(json_in(item, SPAN("modality"))), names, count)) continue;
    sum = usage_add(up(sum), json_count(json_in(item, SPAN("tokenCount"))));
  }
  return sum;
}

static void gemini_usage(struct json usage, struct usage *out) {
  static const struct span audio[] = { SPAN("AUDIO") }, pictures[] = { SPAN("IMAGE"), SPAN("VIDEO"), SPAN("DOCUMENT") };
  struct json brought = json_in(usage, SPAN("promptTokensDetails")), made = json_in(usage, SPAN("candidatesTokensDetails"));
  int64_t prompt = json_count(json_in(usage, SPAN("promptTokenCount"))), cached = json_count(json_in(usage, SPAN("cachedContentTokenCount")));
  int64_t tools = json_count(json_in(usage, SPAN("toolUsePromptTokenCount"))), total = json_count(json_in(usage, SPAN("totalTokenCount")));
  int64_t said = json_count(json_in(usage, SPAN("candidatesTokenCount"))), thought = json_count(json_in(usage, SPAN("thoughtsTokenCount")));
  *out = USAGE_NONE;
  if (said < 0) said = json_count(json_in(usage, SPAN("responseTokenCount")));
  out->cache_read = cached;
  if (prompt >= 0 || tools >= 0) out->input = up(up(prompt) - up(cached)) + up(tools);
  if (said >= 0 || thought >= 0 || (prompt >= 0 && total >= 0)) out->output = up(said) + up(thought);
  out->reasoning = thought;
  if (out->output >= 0) out->reasoning_place = REASONING_ADDED;
  out->audio_in = modality(brought, audio, 1);
  out->image_in = modality(brought, pictures, 3);
  out->audio_out = modality(made, audio, 1);
  out->image_out = modality(made, pictures, 1);
  usage_tier(json_in(usage, SPAN("serviceTier")), out);
}

/* ---- parts */
/* Vertex may send a call's arguments as places and values, one after the other. */
static void partial_read(struct pieces *p, int choice, int index, struct json list) {
  struct json_iter i = json_iter(list);
  struct json key, item;
  while (list.type == JSON_ARRAY && json_next(&i, &key, &item)) {
    p->real = p->tools = true;
    piece_tool(p, choice, index, json_absent, json_absent, json_in(item, SPAN("stringValue")));
  }
}

static void call_read(struct pieces *p, int choice, int index, struct json call) {
  piece_tool(p, choice, index, json_in(call, SPAN("id")), json_in(call, SPAN("name")), json_in(call, SPAN("args")));
  partial_read(p, choice, index, json_in(call, SPAN("partialArgs")));
}

static bool media(struct json part) {
  static const struct span names[] = { SPAN("inlineData"), SPAN("fileData"), SPAN("executableCode"), SPAN("codeExecutionResult"), SPAN("toolCall"), SPAN("toolResponse") };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (json_in(part, names[i]).type == JSON_OBJECT) return true;
  return false;
}

static void parts_read(struct pieces *p, int choice, struct json parts) {
  struct json_iter i = json_iter(parts);
  struct json key, part;
  int calls = 0;
  while (parts.type == JSON_ARRAY && json_next(&i, &key, &part)) {
    if (part.type != JSON_OBJECT) continue;
    struct json text = json_get(part, SPAN("text")), call = json_get(part, SPAN("functionCall"));
    bool thought = json_get(part, SPAN("thought")).type == JSON_TRUE;
    if (text.type == JSON_STRING) piece_text(p, thought ? DELTA_THINKING : DELTA_TEXT, choice, text);
    else if (call.type == JSON_OBJECT) call_read(p, choice, calls++, call);
    else p->real |= media(part);
  }
}

static void state_choice(struct event_state *s, int choice, bool finished) {
  if (choice >= EVENT_OPEN_CHOICES) return;
  uint64_t bit = (uint64_t)1 << (choice % 64), *word = &s->choices[choice / 64];
  *word = finished ? *word & ~bit : *word | bit;
}

static void candidates_read(struct pieces *p, struct event_state *s, struct json candidates) {
  struct json_iter i = json_iter(candidates);
  struct json key, candidate;
  while (candidates.type == JSON_ARRAY && json_next(&i, &key, &candidate)) {
    if (candidate.type != JSON_OBJECT) continue;
    int64_t index = json_count(json_get(candidate, SPAN("index")));
    int choice = index > 0 && index <= INT32_MAX ? (int)index : 0;
    struct json finish = json_get(candidate, SPAN("finishReason"));
    parts_read(p, choice, json_under(candidate, "content.parts"));
    if (string_full(finish)) piece_finish(p, choice, string_raw(finish));
    if (s) state_choice(s, choice, string_full(finish));
  }
}

/* Each query that it grounded its answer by. */
static int64_t searches_in(struct json candidates) {
  struct json_iter i = json_iter(candidates), k;
  struct json key, candidate, query;
  int64_t n = 0;
  while (candidates.type == JSON_ARRAY && json_next(&i, &key, &candidate)) {
    struct json queries = json_under(candidate, "groundingMetadata.webSearchQueries");
    if (queries.type != JSON_ARRAY) continue;
    for (k = json_iter(queries); json_next(&k, &key, &query);) n++;
  }
  return n;
}

/* ---- events */
static void gemini_event(struct reading *r, struct pieces *p) {
  struct json document = { JSON_OBJECT, r->data }, usage = json_get(document, SPAN("usageMetadata"));
  if (json_truthy(json_get(document, SPAN("error")))) {
    event_fail(DIALECT_GEMINI, document, r->out);
    r->state->finished = false;                          /* behind it the end of the bytes is no good end any more */
    return;
  }
  r->state->started = true;
  candidates_read(p, r->state, json_get(document, SPAN("candidates")));
  struct span blocked = gemini_blocked(document);
  if (blocked.n) piece_finish(p, 0, blocked);
  if (usage.type == JSON_OBJECT) {
    r->out->has_usage = true;
    gemini_usage(usage, &r->out->usage);
    int64_t searches = searches_in(json_get(document, SPAN("candidates")));
    if (searches) r->out->usage.searches = searches;
  }
  r->out->model = string_raw(json_get(document, SPAN("modelVersion")));
  if (!p->finish.n) return;
  r->state->finished = true;
  r->out->class = EVENT_FINISH;
  r->out->finish = p->finish;
  r->out->fault = gemini_silence(p->finish);
}

static void gemini_pieces(const struct operation_info *o, struct span name, struct json data, struct pieces *p) {
  struct json usage_told = json_in(data, SPAN("usageMetadata"));
  struct usage usage;
  (void)o, (void)name;
  if (json_truthy(json_in(data, SPAN("error")))) return;
  candidates_read(p, NULL, json_in(data, SPAN("candidates")));
  struct span blocked = gemini_blocked(data);
  if (blocked.n) piece_finish(p, 0, blocked);
  if (usage_told.type != JSON_OBJECT) return;
  gemini_usage(usage_told, &usage);
  piece_usage(p, &usage);
}

static void gemini_answer(const struct operation_info *o, struct json document, struct answer_parts *parts, struct pieces *p) {
  struct json candidates = json_in(document, SPAN("candidates"));
  if (o->operation != OP_GENERATE && o->operation != OP_GENERATE_ARRAY) {
    struct json vector = json_under(document, "embedding.values"), vectors = json_in(document, SPAN("embeddings"));
    parts->shaped = true;
    if (json_truthy(json_in(document, SPAN("error")))) parts->error = document;
    p->real = o->operation == OP_GEMINI_TOKENS || json_under(vector, "0").type == JSON_NUMBER || json_under(vectors, "0").type == JSON_OBJECT;
    return;
  }
  parts->usage = json_in(document, SPAN("usageMetadata"));
  parts->model = json_in(document, SPAN("modelVersion"));
  parts->searches = searches_in(candidates);
  if (json_truthy(json_in(document, SPAN("error")))) parts->error = document;
  parts->shaped = candidates.type == JSON_ARRAY || parts->usage.type == JSON_OBJECT || json_in(document, SPAN("promptFeedback")).type == JSON_OBJECT;
  candidates_read(p, NULL, candidates);
  struct span blocked = gemini_blocked(document);
  if (blocked.n) piece_finish(p, 0, blocked);
}

const struct dialect_impl dialect_gemini = {
  .event = gemini_event, .pieces = gemini_pieces, .usage = gemini_usage, .answer = gemini_answer,
  .silence = gemini_silence, .overflow = overflow,
};
