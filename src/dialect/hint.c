/* hint.c: what the caller of a refused request can do: whether it may pass again, elsewhere, or smaller. Where weir does not know, it
   says nothing. */
#include "dialect_impl.h"

static const char *const of_fault[FAULT_COUNT] = {
  [FAULT_AUTH] = "send a key of this weir that is valid and may ask for this model",
  [FAULT_QUOTA] = "a retry will not help: weir's own account has no credit left; another provider may answer",
  [FAULT_RATE_LIMITED] = "a retry after a pause may pass, and another model may answer now",
  [FAULT_OVERLOADED] = "a retry after a pause may pass, and another model may answer now",
  [FAULT_CONTEXT_TOO_LONG] = "a retry will not help: make the prompt smaller, or ask a model with a larger window",
  [FAULT_CONTENT_FILTERED] = "a retry will not help: change the content; another model may judge it otherwise",
  [FAULT_REFUSED] = "a retry seldom helps: change the content; another model may answer it",
  [FAULT_BAD_REQUEST] = "a retry will not help: the request has to be changed",
  [FAULT_NOT_FOUND] = "a retry will not help: GET /v1/models tells the names that can be asked for",
  [FAULT_TIMEOUT] = "a retry may pass; so may a smaller prompt, a faster model or a larger x-weir-timeout",
  [FAULT_CONNECTION] = "a retry or another provider may answer: nothing is wrong with the request",
  [FAULT_PROTOCOL] = "a retry or another provider may answer: nothing is wrong with the request",
  [FAULT_TLS] = "a retry or another provider may answer: nothing is wrong with the request",
  [FAULT_EMPTY] = "a retry or another model may answer",
  [FAULT_INVALID] = "a retry or another model may answer",
};
static const struct { const char *word, *hint; } of_word[] = {
  { "capped", "a retry helps once money is back in the budget; a cheaper model may still be paid for" },
  { "limited", "a retry after the pause that retry-after tells may pass" },
  { "drained", "a retry will be answered by the weir that follows this one" },
};

struct span error_hint(const struct error *e) {
  enum fault f = e->fault;
  if (e->hint.n) return e->hint;
  for (size_t i = 0; i < sizeof of_word / sizeof *of_word; i++)
    if (span_eq(e->word, span_cstr(of_word[i].word))) return span_cstr(of_word[i].hint);
  if (e->word.n && !fault_named(e->word, &f)) return SPAN("");
  if (f == FAULT_AUTH && e->tried_count) return SPAN("a retry will not help: weir's own account was refused; another provider may answer");
  return of_fault[f] ? span_cstr(of_fault[f]) : SPAN("");
}
