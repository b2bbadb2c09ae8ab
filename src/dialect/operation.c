/* operation.c: dialects and operations by name and path, and where a provider is asked for one. */
#include "weir/dialect.h"
#include "weir/log.h"

static const char *const dialects[DIALECT_COUNT] = { "chat", "responses", "messages", "gemini", "converse" };

static const struct operation_info operations[OP_COUNT] = {
  { OP_CHAT,         DIALECT_CHAT,      "/v1/chat/completions",      "/chat/completions",      true },
  { OP_COMPLETIONS,  DIALECT_CHAT,      "/v1/completions",           "/completions",           true },
  { OP_EMBEDDINGS,   DIALECT_CHAT,      "/v1/embeddings",            "/embeddings",            false },
  { OP_RESPONSES,    DIALECT_RESPONSES, "/v1/responses",             "/responses",             true },
  { OP_MESSAGES,     DIALECT_MESSAGES,  "/v1/messages",              "/messages",              true },
  { OP_COUNT_TOKENS, DIALECT_MESSAGES,  "/v1/messages/count_tokens", "/messages/count_tokens", false },
  { OP_GENERATE,     DIALECT_GEMINI,    "/v1beta/models/{model}:generateContent", ":generateContent", true },
  { OP_GENERATE_ARRAY, DIALECT_GEMINI,  "/v1beta/models/{model}:streamGenerateContent", ":streamGenerateContent", false },
  { OP_GEMINI_TOKENS, DIALECT_GEMINI,   "/v1beta/models/{model}:countTokens", ":countTokens", false },
  { OP_GEMINI_EMBED, DIALECT_GEMINI,    "/v1beta/models/{model}:embedContent", ":embedContent", false },
  { OP_GEMINI_EMBEDS, DIALECT_GEMINI,   "/v1beta/models/{model}:batchEmbedContents", ":batchEmbedContents", false },
  { OP_CONVERSE,     DIALECT_CONVERSE,  "/model/{model}/converse",   "/converse",              true },
  { OP_INPUT_TOKENS, DIALECT_RESPONSES, "/v1/responses/input_tokens", "/responses/input_tokens", false },
};

const char *dialect_word(enum dialect d) { return (unsigned)d < DIALECT_COUNT ? dialects[d] : ""; }

bool dialect_named(struct span word, enum dialect *out, bool *later) {
  *later = span_eq(word, SPAN("cohere"));
  for (unsigned d = 0; d < DIALECT_COUNT; d++)
    if (span_eq(word, span_cstr(dialects[d]))) {
      *out = (enum dialect)d;
      return true;
    }
  return false;
}

const struct operation_info *operation_info(enum operation o) {
  require((unsigned)o < OP_COUNT);
  return &operations[o];
}

bool operation_path_model(struct span path, struct span *model) {
  static const struct span folders[] = { SPAN("/v1beta/models/"), SPAN("/v1/models/"), SPAN("/v1beta/tunedModels/"), SPAN("/v1beta/dynamic/") };
  size_t colon = path.n;
  while (colon && path.p[colon - 1] != ':') colon--;
  for (size_t i = 0; colon && i < sizeof folders / sizeof *folders; i++) {
    if (!span_starts(path, folders[i]) || colon - 1 <= folders[i].n) continue;
    size_t from = i < 2 ? folders[i].n : SPAN("/v1beta/").n;
    *model = span_of(path.p + from, colon - 1 - from);
    return true;
  }
  return false;
}

static const struct operation_info *gemini_by_path(struct span path) {
  struct span model;
  for (unsigned o = OP_GENERATE; o < OP_COUNT; o++)
    if (operations[o].dialect == DIALECT_GEMINI && span_ends(path, span_cstr(operations[o].suffix))) return operation_path_model(path, &model) ? &operations[o] : NULL;
  return NULL;
}

/* Paths without a model in them are each of another length. */
#define SIZED(literal, operation) [sizeof(literal) - 1] = (operation) + 1
const struct operation_info *operation_by_path(struct span path) {
  static const unsigned char of_size[] = {
    SIZED("/v1/chat/completions", OP_CHAT), SIZED("/v1/completions", OP_COMPLETIONS), SIZED("/v1/embeddings", OP_EMBEDDINGS),
    SIZED("/v1/responses", OP_RESPONSES), SIZED("/v1/messages", OP_MESSAGES), SIZED("/v1/messages/count_tokens", OP_COUNT_TOKENS),
    SIZED("/v1/responses/input_tokens", OP_INPUT_TOKENS),
  };
  unsigned o = path.n < sizeof of_size ? of_size[path.n] : 0;
  if (o && !memcmp(path.p, operations[o - 1].path, path.n)) return &operations[o - 1];
  return span_find(path, ':') < path.n ? gemini_by_path(path) : NULL;
}

const struct operation_info *operation_own(enum dialect provider) {
  static const enum operation own[DIALECT_COUNT] = {
    [DIALECT_CHAT] = OP_CHAT, [DIALECT_RESPONSES] = OP_RESPONSES, [DIALECT_MESSAGES] = OP_MESSAGES, [DIALECT_GEMINI] = OP_GENERATE,
    [DIALECT_CONVERSE] = OP_CONVERSE,
  };
  return operation_info(own[provider]);
}

/* ---- where it is asked */
static bool versioned(struct span base) {
  for (struct span left = base, part; left.n;) {
    left = span_cut(left, '/', &part);
    if (part.n > 1 && part.p[0] == 'v' && part.p[1] >= '0' && part.p[1] <= '9') return true;
  }
  return false;
}

void model_segment_write(struct span name, struct buf *out) {
  bool dots = span_eq(name, SPAN(".")) || span_eq(name, SPAN(".."));     /* "%2E%2E" would be read as "..", and move up */
  if (dots) buf_add(out, SPAN("%25"));
  for (size_t i = 0; i < name.n; i++) {
    char c = name.p[i];
    bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c && strchr("-._~", c));
    if (plain) buf_byte(out, c);
    else buf_printf(out, "%%%02X", (unsigned char)c);
  }
}

static void gemini_path(const struct operation_info *o, struct span base, struct span model, bool stream, struct buf *out) {
  static const struct span folders[] = { SPAN("models/"), SPAN("tunedModels/"), SPAN("dynamic/") };
  struct span folder = folders[0];
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
    if (!span_starts(model, folders[i])) continue;
    folder = folders[i];
    model = span_from(model, folder.n);
    break;
  }
  if (!versioned(base)) buf_add(out, SPAN("/v1beta"));
  buf_byte(out, '/');
  buf_add(out, folder);
  model_segment_write(model, out);
  buf_add(out, o->operation == OP_GENERATE && stream ? SPAN(":streamGenerateContent") : span_cstr(o->suffix));
}

/* An ARN is one label. */
static void converse_path(struct span model, bool stream, struct buf *out) {
  buf_add(out, SPAN("/model/"));
  model_segment_write(model, out);
  buf_add(out, stream ? SPAN("/converse-stream") : SPAN("/converse"));
}

void operation_path(const struct operation_info *o, struct span base, struct span model, bool stream, struct buf *out) {
  if (o->dialect == DIALECT_GEMINI) { gemini_path(o, base, model, stream, out); return; }
  if (o->dialect == DIALECT_CONVERSE) { converse_path(model, stream, out); return; }
  if (o->dialect == DIALECT_MESSAGES && !span_ends(base, SPAN("/v1"))) buf_add(out, SPAN("/v1"));
  buf_put(out, span_cstr(o->suffix));
}

struct span operation_query(const struct operation_info *o, bool stream) {
  return o->operation == OP_GENERATE && stream ? SPAN("alt=sse") : (struct span){ NULL, 0 };
}

const struct operation_info *operation_question(enum dialect provider) {
  return provider == DIALECT_GEMINI || provider == DIALECT_CONVERSE ? operation_info(OP_CHAT) : operation_own(provider);
}

/* Chat and responses are served by the same kind of provider. */
enum dialect dialect_family(enum dialect d) { return d == DIALECT_RESPONSES ? DIALECT_CHAT : d; }

bool operation_served(const struct operation_info *o, enum dialect provider) { return dialect_family(o->dialect) == dialect_family(provider); }
