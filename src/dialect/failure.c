/* failure.c: what a refusal means. Codes and types decide where they are known, then the status,
   then the vague types; English is read for one thing alone, a prompt that is too long. */
#include "dialect_impl.h"

/* A word of a code or type field, compared without case. Vague ones stand beside any status and count where there is
 * none. */
struct error_word {
  const char *word;
  enum fault fault;
  bool vague;
};
static const struct error_word words[] = {
  { "invalid_api_key", FAULT_AUTH, false },
  { "authentication_error", FAULT_AUTH, false },
  { "invalid_authentication_error", FAULT_AUTH, false },
  { "incorrect_api_key_error", FAULT_AUTH, false },
  { "InvalidApiKey", FAULT_AUTH, false },
  { "API_KEY_INVALID", FAULT_AUTH, false },
  { "UNAUTHENTICATED", FAULT_AUTH, false },
  { "account_deactivated", FAULT_AUTH, false },
  { "unsupported_country_region_territory", FAULT_AUTH, false },
  { "permission_error", FAULT_AUTH, true },
  { "permission_denied", FAULT_AUTH, true },
  { "permission_denied_error", FAULT_AUTH, true },
  { "AccessDeniedException", FAULT_AUTH, false },
  { "UnrecognizedClientException", FAULT_AUTH, false },
  { "insufficient_quota", FAULT_QUOTA, false },
  { "billing_error", FAULT_QUOTA, false },
  { "billing_hard_limit_reached", FAULT_QUOTA, false },
  { "billing_not_active", FAULT_QUOTA, false },
  { "insufficient_balance", FAULT_QUOTA, false },
  { "insufficient_credits", FAULT_QUOTA, false },
  { "enforced_spend_limit_reached", FAULT_QUOTA, false },
  { "exceeded_current_quota_error", FAULT_QUOTA, false },
  { "Arrearage", FAULT_QUOTA, false },
  { "budget_exceeded", FAULT_QUOTA, false },
  { "rate_limit_exceeded", FAULT_RATE_LIMITED, false },
  { "rate_limit_error", FAULT_RATE_LIMITED, false },
  { "rate_limited", FAULT_RATE_LIMITED, false },
  { "rate_limit_reached_error", FAULT_RATE_LIMITED, false },
  { "too_many_requests", FAULT_RATE_LIMITED, false },
  { "RateLimitReached", FAULT_RATE_LIMITED, false },
  { "RESOURCE_EXHAUSTED", FAULT_RATE_LIMITED, false },
  { "limit_requests", FAULT_RATE_LIMITED, false },
  { "limit_burst_rate", FAULT_RATE_LIMITED, false },
  { "ThrottlingException", FAULT_RATE_LIMITED, false },
  { "ModelNotReadyException", FAULT_OVERLOADED, false },
  { "overloaded_error", FAULT_OVERLOADED, false },
  { "overloaded", FAULT_OVERLOADED, false },
  { "server_is_overloaded", FAULT_OVERLOADED, false },
  { "engine_overloaded_error", FAULT_OVERLOADED, false },
  { "engine_overloaded", FAULT_OVERLOADED, false },
  { "slow_down", FAULT_OVERLOADED, false },
  { "capacity_exceeded", FAULT_OVERLOADED, false },
  { "service_tier_capacity_exceeded", FAULT_OVERLOADED, false },
  { "service_unavailable", FAULT_OVERLOADED, false },
  { "service_unavailable_error", FAULT_OVERLOADED, false },
  { "UNAVAILABLE", FAULT_OVERLOADED, false },
  { "ModelServingError", FAULT_OVERLOADED, false },
  { "api_error", FAULT_OVERLOADED, true },
  { "server_error", FAULT_OVERLOADED, true },
  { "internal_error", FAULT_OVERLOADED, true },
  { "internal_server_error", FAULT_OVERLOADED, true },
  { "InternalServerError", FAULT_OVERLOADED, true },
  { "INTERNAL", FAULT_OVERLOADED, true },
  { "conflict_error", FAULT_OVERLOADED, true },
  { "timeout_error", FAULT_TIMEOUT, false },
  { "request_timeout", FAULT_TIMEOUT, false },
  { "RequestTimeOut", FAULT_TIMEOUT, false },
  { "ModelTimeoutException", FAULT_TIMEOUT, false },
  { "DEADLINE_EXCEEDED", FAULT_TIMEOUT, false },
  { "context_length_exceeded", FAULT_CONTEXT_TOO_LONG, false },
  { "context_window_exceeded", FAULT_CONTEXT_TOO_LONG, false },
  { "exceed_context_size_error", FAULT_CONTEXT_TOO_LONG, false },
  { "model_context_window_exceeded", FAULT_CONTEXT_TOO_LONG, false },
  { "content_filter", FAULT_CONTENT_FILTERED, false },
  { "content_policy_violation", FAULT_CONTENT_FILTERED, false },
  { "ResponsibleAIPolicyViolation", FAULT_CONTENT_FILTERED, false },
  { "data_inspection_failed", FAULT_CONTENT_FILTERED, false },
  { "DataInspectionFailed", FAULT_CONTENT_FILTERED, false },
  { "invalid_prompt", FAULT_CONTENT_FILTERED, false },
  { "bio_policy", FAULT_CONTENT_FILTERED, false },
  { "moderation_blocked", FAULT_CONTENT_FILTERED, false },
  { "image_content_policy_violation", FAULT_CONTENT_FILTERED, false },
  { "model_not_found", FAULT_NOT_FOUND, false },
  { "DeploymentNotFound", FAULT_NOT_FOUND, false },
  { "invalid_model", FAULT_NOT_FOUND, false },
  { "model_decommissioned", FAULT_NOT_FOUND, false },
  { "not_found_error", FAULT_NOT_FOUND, true },
  { "NotFoundError", FAULT_NOT_FOUND, true },
  { "NOT_FOUND", FAULT_NOT_FOUND, true },
  { "resource_not_found_error", FAULT_NOT_FOUND, true },
  { "unsupported_parameter", FAULT_BAD_REQUEST, true },
  { "invalid_request_error", FAULT_BAD_REQUEST, true },
  { "BadRequestError", FAULT_BAD_REQUEST, true },
  { "INVALID_ARGUMENT", FAULT_BAD_REQUEST, true },
  { "FAILED_PRECONDITION", FAULT_BAD_REQUEST, true },
  { "request_too_large", FAULT_BAD_REQUEST, true },
  { "tool_use_failed", FAULT_BAD_REQUEST, true },
};

static const struct error_word *word_find(struct span text) {
  static const struct error_word throttled = { "Throttling", FAULT_RATE_LIMITED,
                                               false }; /* Qwen: Throttling.RateQuota and others */
  if (span_istarts(text, SPAN("Throttling"))) return &throttled;
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (span_ieq(text, span_cstr(words[i].word))) return &words[i];
  return NULL;
}

static enum fault status_fault(int status) {
  switch (status) {
  case 0:   return FAULT_OVERLOADED;               /* an event that names no cause: the provider failed */
  case 401: case 403: return FAULT_AUTH;
  case 402: return FAULT_QUOTA;
  case 404: case 410: return FAULT_NOT_FOUND;
  case 408: case 504: case 524: return FAULT_TIMEOUT;
  case 409: case 424: case 425: case 498: return FAULT_OVERLOADED;
  case 429: return FAULT_RATE_LIMITED;
  case 501: case 505: return FAULT_BAD_REQUEST;
  default:
    return status >= 400 && status < 500   ? FAULT_BAD_REQUEST
           : status >= 500 && status < 600 ? FAULT_OVERLOADED
                                           : FAULT_PROTOCOL;
  }
}

/* The fields an error can name its cause in, most exact first. */
struct error_fields {
  struct json error;                               /* the object that tells, or the whole document */
  struct json code, message;
  struct json causes[8];
  size_t count;
};

static void cause_add(struct error_fields *f, struct json v) {
  if (string_full(v) && f->count < sizeof f->causes / sizeof *f->causes) f->causes[f->count++] = v;
}

/* Messages are texts, but validation errors of FastAPI servers are lists, alone or inside the message. */
static struct json message_of(struct json error, struct json document) {
  struct json m = json_get(error, SPAN("message"));
  if (m.type == JSON_OBJECT) document = m;
  if (m.type == JSON_STRING) return m;
  struct json outer = json_get(document, SPAN("error")), detail = json_get(document, SPAN("detail"));
  if (outer.type == JSON_STRING) return outer;
  if (detail.type == JSON_STRING) return detail;
  m = json_at(detail, "0.msg");
  return m.type == JSON_STRING ? m : json_get(document, SPAN("message"));
}

static void fields_read(struct json document, struct error_fields *f) {
  *f = (struct error_fields){ 0 };
  struct json_iter i = json_iter(document);
  struct json key, first;
  if (document.type == JSON_ARRAY && json_next(&i, &key, &first)) document = first;    /* Gemini wraps it in [ ] */
  struct json inner = json_get(document, SPAN("error"));
  f->error = inner.type == JSON_OBJECT ? inner : document;
  f->message = message_of(f->error, document);
  f->code = json_get(f->error, SPAN("code"));
  struct json type = json_get(f->error, SPAN("type"));
  cause_add(f, f->code);
  cause_add(f, json_at(f->error, "innererror.code"));
  cause_add(f, json_at(f->error, "details.error_code"));
  cause_add(f, json_at(f->error, "metadata.error_type"));
  cause_add(f, type);
  cause_add(f, json_get(f->error, SPAN("status")));
  if (inner.type == JSON_OBJECT) cause_add(f, json_get(document, SPAN("code")));
  if (!string_full(f->code) && f->code.type != JSON_NUMBER) f->code = type;
}

/* A status that only the body tells: OpenRouter's number, Azure's "429", Groq's status_code. */
static int body_status(const struct error_fields *f) {
  uint64_t text;
  int64_t n = json_count(json_get(f->error, SPAN("status_code")));
  if (n < 0) n = json_count(f->code);
  if (n < 0) n = json_count(json_get(f->error, SPAN("statusCode")));
  if (n < 0 && span_u64(string_raw(f->code), &text) && text < 1000) n = (int64_t)text;
  return n >= 400 && n < 600 ? (int)n : 0;
}

static bool phrase_in(struct span text, struct span phrase) {
  for (size_t i = 0; i + phrase.n <= text.n; i++)
    if (ascii_lower(text.p[i]) == phrase.p[0] && span_istarts(span_from(text, i), phrase)) return true;
  return false;
}

/* The one place where English decides. */
static bool says_too_long(enum dialect d, struct span message) {
  enum { READ_MOST = 2048 };
  if (message.n > READ_MOST) message.n = READ_MOST;
  for (const char *const *phrase = dialect_impl(d)->overflow; *phrase; phrase++)
    if (phrase_in(message, span_cstr(*phrase))) return true;
  return false;
}

/* Google's details: how long to wait, and whether a whole day's quota is gone. */
static void details_read(struct json details, struct failure *out) {
  struct json_iter i = json_iter(details), violations;
  struct json key, item, violation;
  if (details.type != JSON_ARRAY) return;
  while (json_next(&i, &key, &item)) {
    struct span delay = string_raw(json_get(item, SPAN("retryDelay")));
    double seconds;
    if (delay.n > 1 && delay.p[delay.n - 1] == 's' && span_double(span_of(delay.p, delay.n - 1), &seconds) &&
        seconds >= 0)
      out->retry_after = seconds;
    for (violations = json_iter(json_get(item, SPAN("violations"))); json_next(&violations, &key, &violation);) {
      struct span quota = string_raw(json_get(violation, SPAN("quotaId")));
      if (out->fault == FAULT_RATE_LIMITED && span_search(quota, SPAN("PerDay")) < quota.n) out->fault = FAULT_QUOTA;
    }
  }
}

/* A moderated request is refused with 403 by some, which is not about the account. */
static bool moderated(const struct error_fields *f) {
  struct json reasons = json_at(f->error, "metadata.reasons"), flagged = json_at(f->error, "metadata.flagged_input");
  if (json_truthy(reasons) || json_truthy(flagged)) return true;
  for (size_t i = 0; i < f->count; i++) {
    struct span cause = string_raw(f->causes[i]);
    if (phrase_in(cause, SPAN("guardrail")) || phrase_in(cause, SPAN("moderation"))) return true;
  }
  return false;
}

static enum fault fields_fault(enum dialect d, int status, const struct error_fields *f) {
  const struct error_word *vague = NULL;
  if (status == 403 && moderated(f)) return FAULT_CONTENT_FILTERED;
  for (size_t i = 0; i < f->count; i++) {
    const struct error_word *w = word_find(string_raw(f->causes[i]));
    if (!w) continue;
    if (w->vague) {
      if (!vague) vague = w;
      continue;
    }
    /* Groq: a request larger than the limit per minute can never pass there. */
    return status == 413 && w->fault == FAULT_RATE_LIMITED ? FAULT_CONTEXT_TOO_LONG : w->fault;
  }
  enum fault fault = status ? status_fault(status) : vague ? vague->fault : FAULT_OVERLOADED;
  bool readable = !status || status == 400 || status == 413 || status == 422;
  return readable && says_too_long(d, string_raw(f->message)) ? FAULT_CONTEXT_TOO_LONG : fault;
}

void error_read(enum dialect d, int status, struct json document, struct failure *out) {
  struct error_fields f;
  fields_read(document, &f);
  if (!status) status = body_status(&f);
  *out = (struct failure){ .retry_after = -1, .message = string_raw(f.message) };
  out->code = f.code.type == JSON_NUMBER ? f.code.text : string_raw(f.code);
  out->fault = fields_fault(d, status, &f);
  details_read(json_get(f.error, SPAN("details")), out);
  out->account = out->fault == FAULT_AUTH || out->fault == FAULT_QUOTA;
}

void failure_read(enum dialect d, int status, const struct http_head *head, struct span body, struct failure *out) {
  struct json document;
  if (!json_read(body, &document, NULL)) document = json_absent;       /* HTML of a proxy: the status is all there is */
  error_read(d, status, document, out);
  struct span kind = head ? http_header(head, SPAN("x-amzn-errortype")) : SPAN("");
  span_cut(kind, ':', &kind);                                          /* "ThrottlingException:http://…" */
  const struct error_word *w = kind.n ? word_find(kind) : NULL;
  if (w && !w->vague) out->fault = w->fault;
  if (!out->code.n) out->code = kind;
  out->account = out->fault == FAULT_AUTH || out->fault == FAULT_QUOTA;
  double wait = head ? retry_after_read(head, -1) : -1;
  if (wait >= 0) out->retry_after = wait;
}
