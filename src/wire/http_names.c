/* http_names.c: which of the headers that weir knows a name is. By its length there are a few, and a comparison takes eight bytes at a
   time: names are tokens, and among token bytes only capitals fold onto the letters, digits and "-" of ours. */
#include "http_fields.h"

static inline uint64_t eight(const char *p) {
  uint64_t v;
  memcpy(&v, p, sizeof v);
  return v | 0x2020202020202020u;
}

static inline uint32_t four(const char *p) {
  uint32_t v;
  memcpy(&v, p, sizeof v);
  return v | 0x20202020u;
}

/* The last piece may overlap the one before it. n is known where this is written out. */
static inline __attribute__((always_inline)) bool same(const char *name, const char *lower, size_t n) {
  if (n < 4) {
    for (size_t i = 0; i < n; i++)
      if ((name[i] | 0x20) != lower[i]) return false;
    return true;
  }
  if (n < 8) return four(name) == four(lower) && four(name + n - 4) == four(lower + n - 4);
  if (eight(name) != eight(lower) || eight(name + n - 8) != eight(lower + n - 8)) return false;
  return (n <= 16 || eight(name + 8) == eight(lower + 8)) && (n <= 24 || eight(name + 16) == eight(lower + 16));
}

#define IS(text, known) \
  if (name.n == sizeof(text) - 1 && same(name.p, text, sizeof(text) - 1)) return known

enum http_name http_name_of(struct span name) {
  switch (name.n) {
  case 2: IS("te", HTTP_TE); break;
  case 3: IS("via", HTTP_VIA); break;
  case 4: IS("host", HTTP_HOST); break;
  case 6: IS("cookie", HTTP_COOKIE); IS("origin", HTTP_ORIGIN); IS("expect", HTTP_EXPECT); break;
  case 7: IS("api-key", HTTP_API_KEY); IS("trailer", HTTP_TRAILER); IS("upgrade", HTTP_UPGRADE); break;
  case 9: IS("x-api-key", HTTP_X_API_KEY); IS("x-real-ip", HTTP_X_REAL_IP); IS("forwarded", HTTP_FORWARDED); break;
  case 10: IS("connection", HTTP_CONNECTION); IS("keep-alive", HTTP_KEEP_ALIVE); break;
  case 11: IS("traceparent", HTTP_TRACEPARENT); IS("x-weir-tags", HTTP_WEIR_TAGS); break;
  case 12: IS("content-type", HTTP_CONTENT_TYPE); IS("x-request-id", HTTP_X_REQUEST_ID); break;
  case 13: IS("authorization", HTTP_AUTHORIZATION); IS("x-weir-prompt", HTTP_WEIR_PROMPT); break;
  case 14:
    IS("content-length", HTTP_CONTENT_LENGTH); IS("x-goog-api-key", HTTP_X_GOOG_API_KEY); IS("x-weir-timeout", HTTP_WEIR_TIMEOUT);
    IS("x-weir-session", HTTP_WEIR_SESSION); IS("x-weir-include", HTTP_WEIR_INCLUDE); IS("x-litellm-tags", HTTP_LITELLM_TAGS);
    break;
  case 15: IS("accept-encoding", HTTP_ACCEPT_ENCODING); IS("x-forwarded-for", HTTP_X_FORWARDED_FOR); break;
  case 17:
    IS("transfer-encoding", HTTP_TRANSFER_ENCODING); IS("anthropic-version", HTTP_ANTHROPIC_VERSION); IS("x-litellm-timeout", HTTP_LITELLM_TIMEOUT);
    break;
  case 18: IS("x-portkey-metadata", HTTP_PORTKEY_METADATA); IS("x-portkey-trace-id", HTTP_PORTKEY_TRACE_ID); break;
  case 20: IS("x-litellm-session-id", HTTP_LITELLM_SESSION_ID); break;
  case 21: IS("x-litellm-customer-id", HTTP_LITELLM_CUSTOMER_ID); IS("x-litellm-end-user-id", HTTP_LITELLM_END_USER_ID); break;
  case 25: IS("x-portkey-request-timeout", HTTP_PORTKEY_TIMEOUT); break;
  case 29: IS("x-litellm-spend-logs-metadata", HTTP_LITELLM_METADATA); break;
  }
  return HTTP_OTHER;
}
