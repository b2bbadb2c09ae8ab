#include "weir/dialect.h"
#include "weir/log.h"

static const char *const dialects[DIALECT_COUNT] = { "chat", "responses", "messages" };

static const struct operation_info operations[OP_COUNT] = {
  { OP_CHAT,         DIALECT_CHAT,      "/v1/chat/completions",      "/chat/completions",      true },
  { OP_COMPLETIONS,  DIALECT_CHAT,      "/v1/completions",           "/completions",           true },
  { OP_EMBEDDINGS,   DIALECT_CHAT,      "/v1/embeddings",            "/embeddings",            false },
  { OP_RESPONSES,    DIALECT_RESPONSES, "/v1/responses",             "/responses",             true },
  { OP_MESSAGES,     DIALECT_MESSAGES,  "/v1/messages",              "/messages",              true },
  { OP_COUNT_TOKENS, DIALECT_MESSAGES,  "/v1/messages/count_tokens", "/messages/count_tokens", false },
};

const char *dialect_word(enum dialect d) { return (unsigned)d < DIALECT_COUNT ? dialects[d] : ""; }

bool dialect_named(struct span word, enum dialect *out, bool *later) {
  *later = span_eq(word, SPAN("gemini")) || span_eq(word, SPAN("converse")) || span_eq(word, SPAN("cohere"));
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

const struct operation_info *operation_by_path(struct span path) {
  for (unsigned o = 0; o < OP_COUNT; o++)
    if (span_eq(path, span_cstr(operations[o].path))) return &operations[o];
  return NULL;
}

const struct operation_info *operation_own(enum dialect provider) {
  return operation_info(provider == DIALECT_MESSAGES ? OP_MESSAGES : provider == DIALECT_RESPONSES ? OP_RESPONSES : OP_CHAT);
}

bool operation_served(const struct operation_info *o, enum dialect provider) {
  return (o->dialect == DIALECT_MESSAGES) == (provider == DIALECT_MESSAGES);
}
