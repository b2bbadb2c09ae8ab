/* error.c: weir's own errors in the caller's dialect. The status decides the type field, the fault or
   weir's word the code, so that an SDK raises the class it would raise for the provider itself. */
#include "gemini.h"

static struct span word_of(const struct error *e, int status) {
  if (e->word.n) return e->word;
  if (e->fault != FAULT_NONE) return span_cstr(fault_word(e->fault));
  switch (status) {
  case 401: case 403: return SPAN("auth");
  case 404: return SPAN("not_found");
  case 408: case 504: return SPAN("timeout");
  case 429: return SPAN("limited");
  case 503: return SPAN("overloaded");
  default:  return status < 500 ? SPAN("bad_request") : SPAN("internal");
  }
}

static bool is_budget(const struct error *e) {
  return span_eq(e->word, SPAN("capped")) || span_eq(e->code, SPAN("insufficient_quota"));
}

/* What an upstream said about weir's own account never shows as the client's: INTERFACE 3. */
static bool is_account(const struct error *e) {
  return (e->fault == FAULT_AUTH || e->fault == FAULT_QUOTA) && e->tried_count;
}

static int status_of(enum dialect d, const struct error *e) {
  int status = e->status ? e->status : fault_status(e->fault);
  if (is_account(e) && status < 500) return fault_status(e->fault);
  if (is_budget(e) && (status == 402 || status == 429)) return d == DIALECT_MESSAGES ? 402 : 429;
  if (d == DIALECT_MESSAGES && status == 503 && e->fault == FAULT_OVERLOADED) return 529;
  return status;
}

static struct span messages_type(int status) {
  switch (status) {
  case 401: return SPAN("authentication_error");
  case 402: return SPAN("billing_error");
  case 403: return SPAN("permission_error");
  case 404: return SPAN("not_found_error");
  case 409: return SPAN("conflict_error");
  case 413: return SPAN("request_too_large");
  case 429: return SPAN("rate_limit_error");
  case 503: case 529: return SPAN("overloaded_error");
  case 408: case 504: return SPAN("timeout_error");
  default:  return status < 500 ? SPAN("invalid_request_error") : SPAN("api_error");
  }
}

static struct span openai_type(const struct error *e, int status) {
  if (status == 402 || (status == 429 && is_budget(e))) return SPAN("insufficient_quota");
  if (status == 403) return SPAN("permission_error");
  if (status == 429) return SPAN("rate_limit_error");
  if (status < 500) return SPAN("invalid_request_error");
  return e->fault == FAULT_AUTH || e->fault == FAULT_QUOTA ? SPAN("api_error") : SPAN("server_error");
}

/* Empty: null. */
static struct span openai_code(const struct error *e, int status) {
  if (e->code.n) return e->code;
  if (status == 402 || (status == 429 && is_budget(e))) return SPAN("insufficient_quota");
  if (e->word.n && !span_eq(e->word, SPAN("limited"))) return e->word;
  switch (e->fault) {
  case FAULT_CONTEXT_TOO_LONG:  return SPAN("context_length_exceeded");
  case FAULT_CONTENT_FILTERED:  return SPAN("content_filter");
  case FAULT_NOT_FOUND:         return SPAN("model_not_found");
  case FAULT_BAD_REQUEST:       return status == 413 ? SPAN("request_too_large") : SPAN("");
  default: break;
  }
  switch (status) {
  case 401: return SPAN("invalid_api_key");
  case 413: return SPAN("request_too_large");
  case 429: return SPAN("rate_limit_exceeded");
  default:  return status >= 500 || e->fault != FAULT_NONE ? word_of(e, status) : SPAN("");
  }
}

static void str_or_null(struct json_writer *w, struct span name, struct span value) {
  if (value.n) field_str(w, name, value);
  else field_null(w, name);
}

static void weir_write(struct json_writer *w, const struct error *e, int status) {
  field_object(w, SPAN("weir"));
  field_str(w, SPAN("id"), e->id);
  field_str(w, SPAN("fault"), word_of(e, status));
  field_array(w, SPAN("tried"));
  for (size_t i = 0; i < e->tried_count; i++) {
    const struct tried *t = &e->tried[i];
    json_begin(w, '{');
    field_str(w, SPAN("target"), t->target);
    str_or_null(w, SPAN("fault"), span_cstr(fault_word(t->fault)));
    if (t->status) field_int(w, SPAN("status"), t->status);
    else field_null(w, SPAN("status"));
    field_int(w, SPAN("ms"), t->ms);
    json_end(w, '}');
  }
  json_end(w, ']');
  str_or_null(w, SPAN("hint"), error_hint(e));
  json_end(w, '}');
}

/* The error object; without its brackets it stands flat in a responses event. */
static void openai_fields(struct json_writer *w, const struct error *e, int status) {
  field_str(w, SPAN("message"), e->message);
  str_or_null(w, SPAN("param"), e->param);
  str_or_null(w, SPAN("code"), openai_code(e, status));
}

static void openai_error(struct json_writer *w, const struct error *e, int status) {
  field_object(w, SPAN("error"));
  openai_fields(w, e, status);
  field_str(w, SPAN("type"), openai_type(e, status));
  weir_write(w, e, status);
  json_end(w, '}');
}

/* Anthropic's words for conversations that it keeps and another provider does not: its SDKs send all of the talk then. */
static void thread_details(struct json_writer *w, struct span param) {
  bool lost = span_eq(param, SPAN("thread.previous_message_id"));
  if (!lost && !span_eq(param, SPAN("thread"))) return;
  field_object(w, SPAN("details"));
  field_str(w, SPAN("error_code"), lost ? SPAN("thread_not_found") : SPAN("thread_unsupported_request"));
  if (!lost) field_raw(w, SPAN("unsupported"), SPAN("[\"thread\"]"));
  json_end(w, '}');
}

static void messages_error(struct json_writer *w, const struct error *e, int status) {
  field_str(w, SPAN("type"), SPAN("error"));
  field_object(w, SPAN("error"));
  field_str(w, SPAN("type"), messages_type(status));
  field_str(w, SPAN("message"), e->message);
  thread_details(w, e->param);
  weir_write(w, e, status);
  json_end(w, '}');
  field_str(w, SPAN("request_id"), e->id);
}

static void gemini_error(struct json_writer *w, const struct error *e, int status) {
  field_object(w, SPAN("error"));
  field_int(w, SPAN("code"), status);
  field_str(w, SPAN("message"), e->message);
  field_str(w, SPAN("status"), gemini_status(status));
  gemini_details(w, e->retry_after);
  weir_write(w, e, status);
  json_end(w, '}');
}

int error_write(enum dialect d, const struct error *e, struct buf *out) {
  struct json_writer w = { .out = out };
  int status = status_of(d, e);
  json_begin(&w, '{');
  if (d == DIALECT_MESSAGES) messages_error(&w, e, status);
  else if (d == DIALECT_GEMINI) gemini_error(&w, e, status);
  else openai_error(&w, e, status);
  json_end(&w, '}');
  return status;
}

/* Flat as the specification has it and nested as OpenAI sends it: SDKs read one or the other. */
static void responses_error_event(struct json_writer *w, const struct event_state *s, const struct error *e,
                                  int status) {
  field_str(w, SPAN("type"), SPAN("error"));
  field_int(w, SPAN("sequence_number"), s->started ? s->sequence + 1 : 0);
  openai_fields(w, e, status);
  openai_error(w, e, status);
}

void error_write_event(const struct operation_info *o, const struct event_state *s, const struct error *e,
                       struct buf *out) {
  struct json_writer w = { .out = out };
  int status = status_of(o->dialect, e);
  event_begin(out, o->dialect == DIALECT_CHAT || o->dialect == DIALECT_GEMINI ? SPAN("") : SPAN("error"));
  json_begin(&w, '{');
  switch (o->dialect) {
  case DIALECT_MESSAGES:  messages_error(&w, e, status); break;
  case DIALECT_GEMINI:    gemini_error(&w, e, status); break;
  case DIALECT_RESPONSES: responses_error_event(&w, s, e, status); break;
  default:                openai_error(&w, e, status); break;
  }
  json_end(&w, '}');
  event_end(out);
}
