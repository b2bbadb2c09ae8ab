/* failure.c: what a refusal means. Codes and types decide where they are known, then the status,
   then the vague types; English is read for one thing alone, a prompt that is too long. */
#include "dialect_impl.h"

/* Words of code and type fields, compared without case. Vague ones stand beside any status and count where there is
   none. */
struct error_words {
  enum fault fault;
  bool vague;
  const char *words[20];
};
static const struct error_words known[] = {
  { FAULT_AUTH, false, {
    "invalid_api_key", "authentication_error", "invalid_authentication_error", "incorrect_api_key_error",
    "InvalidApiKey", "API_KEY_INVALID", "UNAUTHENTICATED", "account_deactivated",
    "unsupported_country_region_territory",
    "AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException", "IncompleteSignatureException", "ExpiredTokenException",
    "MissingAuthenticationTokenException" } },
  { FAULT_AUTH, true, { "permission_error", "permission_denied", "permission_denied_error" } },
  { FAULT_QUOTA, false, {
    "insufficient_quota", "billing_error", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance",
    "insufficient_credits", "enforced_spend_limit_reached", "exceeded_current_quota_error", "Arrearage",
    "budget_exceeded", "ServiceQuotaExceededException" } },
  { FAULT_RATE_LIMITED, false, {
    "rate_limit_exceeded", "rate_limit_error", "rate_limited", "rate_limit_reached_error", "too_many_requests",
    "RateLimitReached", "RESOURCE_EXHAUSTED", "limit_requests", "limit_burst_rate", "ThrottlingException" } },
  { FAULT_OVERLOADED, false, {
    "overloaded_error", "overloaded", "server_is_overloaded", "engine_overloaded_error", "engine_overloaded",
    "slow_down", "capacity_exceeded", "service_tier_capacity_exceeded", "service_unavailable",
    "service_unavailable_error",
    "UNAVAILABLE", "ModelServingError", "ModelNotReadyException", "ServiceUnavailableException" } },
  { FAULT_OVERLOADED, true, {
    "api_error", "server_error", "internal_error", "internal_server_error", "InternalServerError", "INTERNAL",
    "conflict_error", "InternalServerException", "ModelStreamErrorException", "ModelErrorException" } },
  { FAULT_TIMEOUT, false, {
    "timeout_error", "request_timeout", "RequestTimeOut", "ModelTimeoutException", "DEADLINE_EXCEEDED" } },
  { FAULT_CONTEXT_TOO_LONG, false, {
    "context_length_exceeded", "context_window_exceeded", "exceed_context_size_error",
    "model_context_window_exceeded" } },
  { FAULT_CONTENT_FILTERED, false, {
    "content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation", "data_inspection_failed",
    "DataInspectionFailed", "invalid_prompt", "bio_policy", "moderation_blocked", "image_content_policy_violation" } },
  { FAULT_NOT_FOUND, false, { "model_not_found", "DeploymentNotFound", "invalid_model", "model_decommissioned", "ResourceNotFoundException" } },
  { FAULT_NOT_FOUND, true, { "not_found_error", "NotFoundError", "NOT_FOUND", "resource_not_found_error" } },
  { FAULT_BAD_REQUEST, true, {
    "unsupported_parameter", "invalid_request_error", "BadRequestError", "INVALID_ARGUMENT", "FAILED_PRECONDITION",
    "request_too_large", "tool_use_failed", "ValidationException" } },
};

static const struct error_words *word_find(struct span text) {
  static const struct error_words throttled = { .fault = FAULT_RATE_LIMITED };
  if (span_istarts(text, SPAN("Throttling"))) return &throttled;       /* Qwen: Throttling.RateQuota and others */
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    for (const char *const *word = known[i].words; *word; word++)
      if (span_ieq(text, span_cstr(*word))) return &known[i];
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
    if (status < 400 || status > 599) return FAULT_PROTOCOL;
    return status < 500 ? FAULT_BAD_REQUEST : FAULT_OVERLOADED;
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
  struct json m = json_in(error, SPAN("message"));
  if (m.type == JSON_OBJECT) document = m;
  if (m.type == JSON_STRING) return m;
  struct json outer = json_in(document, SPAN("error")), detail = json_in(document, SPAN("detail"));
  if (outer.type == JSON_STRING) return outer;
  if (detail.type == JSON_STRING) return detail;
  m = json_under(detail, "0.msg");
  if (m.type != JSON_STRING) m = json_in(document, SPAN("message"));
  return m.type == JSON_STRING ? m : json_in(document, SPAN("Message"));              /* AWS, now and then */
}

static void fields_read(struct json document, struct error_fields *f) {
  *f = (struct error_fields){ 0 };
  struct json_iter i = json_iter(document);
  struct json key, first;
  if (document.type == JSON_ARRAY && json_next(&i, &key, &first)) document = first;    /* Gemini wraps it in [ ] */
  struct json inner = json_in(document, SPAN("error"));
  f->error = inner.type == JSON_OBJECT ? inner : document;
  f->message = message_of(f->error, document);
  f->code = json_in(f->error, SPAN("code"));
  struct json type = json_in(f->error, SPAN("type"));
  cause_add(f, f->code);
  cause_add(f, json_under(f->error, "innererror.code"));
  cause_add(f, json_under(f->error, "details.error_code"));
  cause_add(f, json_under(f->error, "metadata.error_type"));
  cause_add(f, json_under(f->error, "details.0.reason"));  /* Google: API_KEY_INVALID with a 400 */
  cause_add(f, type);
  cause_add(f, json_in(f->error, SPAN("status")));
  if (inner.type == JSON_OBJECT) cause_add(f, json_in(document, SPAN("code")));
  if (!string_full(f->code) && f->code.type != JSON_NUMBER) f->code = type;
}

/* A status that only the body tells: OpenRouter's number, Azure's "429", Groq's status_code. */
static int body_status(const struct error_fields *f) {
  uint64_t text;
  int64_t n = json_count(json_in(f->error, SPAN("status_code")));
  if (n < 0) n = json_count(f->code);
  if (n < 0) n = json_count(json_in(f->error, SPAN("statusCode")));
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
    struct span delay = string_raw(json_in(item, SPAN("retryDelay")));
    double seconds;
    bool given = span_ends(delay, SPAN("s")) && span_double(span_of(delay.p, delay.n - 1), &seconds);
    if (given && seconds >= 0 && seconds < 1e12) out->retry_after = seconds;
    for (violations = json_iter(json_in(item, SPAN("violations"))); json_next(&violations, &key, &violation);) {
      struct span quota = string_raw(json_in(violation, SPAN("quotaId")));
      if (out->fault == FAULT_RATE_LIMITED && span_search(quota, SPAN("PerDay")) < quota.n) out->fault = FAULT_QUOTA;
    }
  }
}

/* A moderated request is refused with 403 by some, which is not about the account. */
static bool moderated(const struct error_fields *f) {
  struct json reasons = json_under(f->error, "metadata.reasons"), flagged = json_under(f->error, "metadata.flagged_input");
  if (json_truthy(reasons) || json_truthy(flagged)) return true;
  for (size_t i = 0; i < f->count; i++) {
    struct span cause = string_raw(f->causes[i]);
    if (phrase_in(cause, SPAN("guardrail")) || phrase_in(cause, SPAN("moderation"))) return true;
  }
  return false;
}

static enum fault fields_fault(enum dialect d, int status, const struct error_fields *f) {
  const struct error_words *vague = NULL;
  if (status == 403 && moderated(f)) return FAULT_CONTENT_FILTERED;
  for (size_t i = 0; i < f->count; i++) {
    const struct error_words *w = word_find(string_raw(f->causes[i]));
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
  details_read(json_in(f.error, SPAN("details")), out);
  out->account = out->fault == FAULT_AUTH || out->fault == FAULT_QUOTA;
}

/* "ThrottlingException:http://…" in the head, or "com.amazon.bedrock#ThrottlingException" in the body. */
static struct span aws_kind(const struct http_head *head, struct json document) {
  struct span kind = head ? http_header(head, SPAN("x-amzn-errortype")) : SPAN(""), tail;
  span_cut(kind, ':', &kind);
  if (kind.n) return kind;
  kind = string_raw(json_in(document, SPAN("__type")));
  tail = span_cut(kind, '#', &kind);
  return tail.n ? tail : kind;
}

void failure_read(enum dialect d, int status, const struct http_head *head, struct span body, struct failure *out) {
  struct json document;
  if (!json_read(body, &document, NULL)) document = json_absent;       /* HTML of a proxy: the status is all there is */
  error_read(d, status, document, out);
  struct span kind = aws_kind(head, document);
  const struct error_words *w = kind.n ? word_find(kind) : NULL;
  if (w && !w->vague) out->fault = w->fault;
  if (!out->code.n) out->code = kind;
  out->account = out->fault == FAULT_AUTH || out->fault == FAULT_QUOTA;
  double wait = head ? retry_after_read(head, -1) : -1;
  if (wait >= 0) out->retry_after = wait;
}
