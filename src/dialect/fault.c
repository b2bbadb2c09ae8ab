#include "weir/dialect.h"

/* The words are promises to users: none is ever renamed. */
static const char *const words[FAULT_COUNT] = {
  [FAULT_NONE] = "", [FAULT_AUTH] = "auth", [FAULT_QUOTA] = "quota", [FAULT_RATE_LIMITED] = "rate_limited",
  [FAULT_OVERLOADED] = "overloaded", [FAULT_CONTEXT_TOO_LONG] = "context_too_long",
  [FAULT_CONTENT_FILTERED] = "content_filtered", [FAULT_REFUSED] = "refused", [FAULT_BAD_REQUEST] = "bad_request",
  [FAULT_NOT_FOUND] = "not_found", [FAULT_TIMEOUT] = "timeout", [FAULT_CONNECTION] = "connection",
  [FAULT_PROTOCOL] = "protocol", [FAULT_TLS] = "tls", [FAULT_EMPTY] = "empty", [FAULT_INVALID] = "invalid",
};

const char *fault_word(enum fault f) { return (unsigned)f < FAULT_COUNT ? words[f] : ""; }

bool fault_named(struct span word, enum fault *out) {
  for (unsigned f = FAULT_NONE + 1; f < FAULT_COUNT; f++)
    if (span_eq(word, span_cstr(words[f]))) {
      *out = (enum fault)f;
      return true;
    }
  return false;
}

const char *const *fault_words(size_t *count) {
  *count = FAULT_COUNT - 1;
  return words + 1;
}

int fault_status(enum fault f) {
  switch (f) {
  case FAULT_BAD_REQUEST: case FAULT_CONTEXT_TOO_LONG: case FAULT_CONTENT_FILTERED: case FAULT_REFUSED:
    return 400;
  case FAULT_NOT_FOUND:    return 404;
  case FAULT_RATE_LIMITED: return 429;
  case FAULT_OVERLOADED:   return 503;
  case FAULT_TIMEOUT:      return 504;
  case FAULT_NONE: case FAULT_COUNT:
    return 500;
  default:                                         /* auth and quota are about weir's account, not the client's key */
    return 502;
  }
}
