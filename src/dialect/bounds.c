/* bounds.c: the most that a request can come to, from its bytes. A token is never shorter than a byte of what the model reads, and
   everything it reads stands in the body, but for what a provider puts around it, and for what is fetched elsewhere: files, stored
   conversations, images behind an address, what a provider's own tools find. Then only the model's window bounds it. Pictures and
   pages are fetched in that sense even when their bytes are here: their tokens go by their size, not by how well they are packed. */
#include "cursor.h"
#include "dialect_impl.h"

enum {
  SEARCHES_ASSUMED = 16,              /* nobody states how many searches a model may make, or how much of each it reads */
  TEMPLATE_TOKENS = 64,               /* what chat templates add around the messages: the longest known has about 70, some of them for brackets of the body */
  TOOLS_TOKENS = 600,                 /* Anthropic's own instructions on tools: 530 for the model with the longest */
  COMPLETIONS_OUTPUT = 16,            /* of /v1/completions when its request does not say */
};

/* Keys that bring in what the body does not hold. */
#define BRINGS(KEY) KEY("image_url") KEY("file_id") KEY("file_url") KEY("video_url") KEY("image") KEY("cachePoint") KEY("file_data") KEY("audio") \
  KEY("vector_store_ids") KEY("url") KEY("inlineData") KEY("inline_data") KEY("fileData") KEY("source")
#define KEY_NAME(name) SPAN(name),
#define KEY_BIT(name) JSON_KEY_BIT(name) |
static const struct span brings[] = { BRINGS(KEY_NAME) };
static const uint64_t brings_keys = BRINGS(KEY_BIT) 0;

/* A key that is one of these names, though it is written with escapes (json_key_bit is every bit then): no search finds it as it stands.
   text: of a container. */
static bool escaped_key(uint64_t keys, struct span text, const struct span *names, size_t count) {
  const char *end = text.p + text.n;
  if (keys != ~0ull || span_search(text, SPAN("\\u00")) == text.n) return false;
  for (const char *at = text.p; at < end;) {
    if (*at != '"') { at++; continue; }
    struct json key = cursor_value(&at);
    if (*cursor_space(at) != ':' || span_find(key.text, '\\') == key.text.n) continue;
    for (size_t i = 0; i < count; i++)
      if (json_string_is(key, names[i])) return true;
  }
  return false;
}

/* A value that reads so makes the bound wider, never narrower. */
static bool has_key(uint64_t keys, struct span text, struct span name) {
  return keys & json_key_bit(name) && (stands_quoted(text, name) || escaped_key(keys, text, &name, 1));
}

static bool brings_in(uint64_t keys, struct span text) {
  enum { SOURCE = sizeof brings / sizeof *brings - 1 };
  for (size_t i = 0; i < SOURCE && keys & brings_keys; i++)
    if (keys & json_key_bit(brings[i]) && stands_quoted(text, brings[i])) return true;
  return escaped_key(keys, text, brings, SOURCE) || (has_key(keys, text, brings[SOURCE]) && stands_quoted(text, SPAN("base64")));       /* messages: pictures and documents */
}

/* Gemini's tools are lists of functions, and what it runs itself. */
static bool functions_alone(struct json tool) {
  struct json_iter i = json_iter(tool);
  struct json key, v;
  while (tool.type == JSON_OBJECT && json_next(&i, &key, &v))
    if (!json_string_is(key, SPAN("functionDeclarations")) && !json_string_is(key, SPAN("function_declarations"))) return false;
  return true;
}

/* A tool that runs at the provider: whatever is neither a function nor a custom one. */
static void bound_tool(struct json tool, enum dialect d, struct request_bounds *out) {
  struct json type = json_in(tool, SPAN("type"));
  if (d == DIALECT_GEMINI && functions_alone(tool)) return;
  if (json_string_is(type, SPAN("function")) || json_string_is(type, SPAN("custom")) || (d == DIALECT_MESSAGES && type.type != JSON_STRING)) return;
  int64_t uses = json_count(json_in(tool, SPAN("max_uses")));
  out->beyond = true;
  out->searches = usage_add(out->searches, uses >= 0 ? uses : SEARCHES_ASSUMED);
}

static void bound_tools(struct json tools, enum dialect d, struct request_bounds *out) {
  struct json_iter i = json_iter(tools);
  struct json key, tool;
  bool any = false;
  while (tools.type == JSON_ARRAY && json_next(&i, &key, &tool)) any = true, bound_tool(tool, d, out);
  if (tools.type == JSON_OBJECT && d == DIALECT_GEMINI) bound_tool(tools, d, out);     /* Google takes one for a list of one */
  if (any && d == DIALECT_MESSAGES) out->input += TOOLS_TOKENS;
}

static void bound_tier(struct json v, struct request_bounds *out) {
  static const struct { struct span word; uint32_t tiers; } known[] = {
    { SPAN("default"), 1u << TIER_STANDARD }, { SPAN("standard"), 1u << TIER_STANDARD }, { SPAN("standard_only"), 1u << TIER_STANDARD },
    { SPAN("flex"), 1u << TIER_FLEX | 1u << TIER_STANDARD },
  };
  out->tiers = ~0u;                                      /* "auto" is what the account's owner has set there */
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (json_string_is(v, known[i].word)) out->tiers = known[i].tiers;
}

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t times(int64_t a, int64_t b) {
  int64_t product;
  return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

static int64_t count_of(struct json v) { return larger(json_count(v), 1); }

/* A list of prompts is answered one by one; a list of token numbers is one prompt. */
static int64_t prompts_in(struct json prompt) {
  struct json_iter i = json_iter(prompt);
  struct json key, item;
  int64_t n = 0;
  while (prompt.type == JSON_ARRAY && json_next(&i, &key, &item)) n += item.type != JSON_NUMBER;
  return larger(n, 1);
}

struct answers { int64_t n, best, prompts; };            /* asked for */

/* Members that say something, shorter names first. W_SCHEMA: their keys are names of the caller's own: schemas, not contents. */
enum word {
  W_OTHER, W_STORED, W_SCHEMA, W_TOOLS, W_THREAD, W_SEARCH, W_TIER, W_SPEED, W_BACKGROUND, W_N, W_BEST_OF, W_PROMPT, W_CANDIDATES, W_MODALITIES, W_CHAT_AUDIO,
  W_CACHE_CONTROL,
};
static const struct { struct span name; enum word word; } words[] = {
  { SPAN("n"), W_N },
  { SPAN("text"), W_SCHEMA },
  { SPAN("tools"), W_TOOLS }, { SPAN("speed"), W_SPEED }, { SPAN("audio"), W_CHAT_AUDIO },
  { SPAN("thread"), W_THREAD }, { SPAN("prompt"), W_PROMPT },
  { SPAN("best_of"), W_BEST_OF },
  { SPAN("metadata"), W_SCHEMA },
  { SPAN("functions"), W_SCHEMA }, { SPAN("container"), W_STORED },
  { SPAN("background"), W_BACKGROUND }, { SPAN("modalities"), W_CHAT_AUDIO },
  { SPAN("serviceTier"), W_TIER }, { SPAN("mcp_servers"), W_STORED },
  { SPAN("service_tier"), W_TIER }, { SPAN("conversation"), W_STORED }, { SPAN("data_sources"), W_STORED },
  { SPAN("cachedContent"), W_STORED }, { SPAN("cache_control"), W_CACHE_CONTROL },
  { SPAN("response_format"), W_SCHEMA },
  { SPAN("web_search_options"), W_SEARCH }, { SPAN("context_management"), W_STORED },
  { SPAN("previous_response_id"), W_STORED },
  { SPAN("generationConfig.candidateCount"), W_CANDIDATES },
  { SPAN("generationConfig.responseModalities"), W_MODALITIES },
};
enum { WORDS = sizeof words / sizeof *words };

/* A key is never shorter than its name, however it is escaped. */
static enum word word_of(struct json key) {
  struct span raw = span_of(key.text.p + 1, key.text.n - 2);
  size_t i = 0;
  bool plain = span_find(raw, '\\') == raw.n;
  while (plain && i < WORDS && words[i].name.n < raw.n) i++;
  for (; i < WORDS && words[i].name.n <= raw.n; i++)
    if (plain ? words[i].name.p[0] == raw.p[0] && memcmp(words[i].name.p, raw.p, raw.n) == 0 : json_string_is(key, words[i].name)) return words[i].word;
  return W_OTHER;
}

/* What stands in the contents of a member that is a container. */
static void bound_contents(const struct operation_info *o, enum word word, struct span text, uint64_t keys, struct request_bounds *out) {
  out->caches |= has_key(keys, text, SPAN("cache_control"));
  out->caches_1h |= out->caches && stands_quoted(text, SPAN("1h"));
  if (word == W_SCHEMA || word == W_TOOLS) return;
  out->beyond |= brings_in(keys, text) || (o->dialect == DIALECT_RESPONSES && stands_quoted(text, SPAN("item_reference")));
  out->audio_in |= has_key(keys, text, SPAN("input_audio")) || (o->dialect == DIALECT_GEMINI && span_search(text, SPAN("audio/")) < text.n);
}

static void bound_member(const struct operation_info *o, struct json key, struct json v, uint64_t keys, struct answers *asked, struct request_bounds *out) {
  bool chat = o->dialect == DIALECT_CHAT, completions = o->operation == OP_COMPLETIONS, responses = o->dialect == DIALECT_RESPONSES;
  enum word word = word_of(key);
  if (v.type == JSON_NONE || v.type == JSON_NULL) return;
  switch (word) {
  case W_STORED:     out->beyond = true; break;
  case W_THREAD:     out->beyond |= !json_string_is(json_in(v, SPAN("type")), SPAN("create")); break;
  case W_TOOLS:      bound_tools(v, o->dialect, out); break;
  case W_SEARCH:     out->beyond = true, out->searches += SEARCHES_ASSUMED; break;
  case W_TIER:       bound_tier(v, out); break;
  case W_SPEED:      out->fast |= json_string_is(v, SPAN("fast")); break;
  case W_BACKGROUND: out->later |= v.type == JSON_TRUE; break;
  case W_CANDIDATES: asked->n = larger(asked->n, count_of(v)); break;
  case W_MODALITIES: out->audio_out |= stands_quoted(v.text, SPAN("AUDIO")); break;
  case W_N:          if (chat) asked->n = larger(asked->n, count_of(v)); break;
  case W_BEST_OF:    if (completions) asked->best = larger(asked->best, count_of(v)); break;
  case W_PROMPT:
    if (completions) asked->prompts = larger(asked->prompts, prompts_in(v));
    if (responses) out->beyond |= v.type == JSON_OBJECT;
    break;
  case W_CHAT_AUDIO:
    if (!chat) break;
    out->audio_out |= stands_quoted(v.text, SPAN("audio")) || v.type == JSON_OBJECT;
    return;
  case W_CACHE_CONTROL: out->caches = true; break;       /* the whole request's */
  case W_SCHEMA: case W_OTHER: break;
  }
  if (v.type == JSON_OBJECT || v.type == JSON_ARRAY) bound_contents(o, word, v.text, keys, out);
}

void request_bounds(const struct operation_info *o, struct span body, const struct json_member *members, size_t count, uint64_t keys,
                    struct request_bounds *out) {
  struct answers asked = { 1, 1, 1 };
  *out = (struct request_bounds){ .input = (int64_t)body.n + TEMPLATE_TOKENS, .tiers = ~0u, .output = -1 };
  for (size_t i = 0; i < count; i++) {
    bound_member(o, members[i].key, members[i].value, keys, &asked, out);
  }
  if (out->caches && !out->caches_1h) out->caches_1h = stands_quoted(body, SPAN("1h"));
  out->choices = times(larger(asked.n, asked.best), asked.prompts);
  out->no_output = operation_embeds(o) || operation_counts(o);
  if (o->operation == OP_COMPLETIONS) out->output = COMPLETIONS_OUTPUT;
}

void request_bounds_edit(const struct operation_info *o, struct span member, struct span json, struct request_bounds *out) {
  struct json value;
  struct answers asked = { out->choices, 1, 1 };
  char name[64];
  if (!json.p || !json_read(json, &value, NULL)) return;
  out->input += (int64_t)json.n;
  if (member.n + 2 > sizeof name) return;
  name[0] = name[member.n + 1] = '"';
  memcpy(name + 1, member.p, member.n);
  bound_member(o, (struct json){ JSON_STRING, span_of(name, member.n + 2) }, value, ~0ull, &asked, out);
  out->choices = times(larger(asked.n, asked.best), asked.prompts);
}
