/* What the catalogue knows of a provider, where weir.lua knows better: how it takes a key, counts, tells and charges. */
#include "load.h"

static struct provider_draft *draft_of(void *into) { return into; }

static bool token_char(char c) { return name_char(c) || (c && strchr("!#$%&'*+^`|~", c)); }

bool header_name_ok(struct span name) {
  for (size_t i = 0; i < name.n; i++)
    if (!token_char(name.p[i])) return false;
  return name.n > 0;
}

/* One of a few words; -1 and a problem: none of them. */
static int word_of(struct load *l, const char *name, const char *const *words, size_t count) {
  struct span word;
  struct field plain = { name, read_span, 0 };
  if (!read_span(l, &plain, &word)) return -1;
  for (size_t i = 0; i < count; i++)
    if (span_eq(word, span_cstr(words[i]))) return (int)i;
  problem_unknown(l, arena_printf(&l->scratch, "%s", name).p, word, words, count);
  return -1;
}

/* "bearer", "x-api-key", "cf-aig-authorization: Bearer": a header's name, and what stands before the key in it. */
bool read_auth(struct load *l, const struct field *f, void *into) {
  struct span text, name, scheme;
  struct field plain = { f->name, read_span, 0 };
  if (!read_span(l, &plain, &text)) return false;
  if (span_ieq(text, SPAN("bearer"))) return draft_of(into)->auth = "authorization", true;
  scheme = span_trim(span_cut(text, ':', &name));
  bool good = header_name_ok(name) && (scheme.n ? header_name_ok(scheme) : name.n == text.n);
  if (!good)
    return problem_add(l, "auth must be \"bearer\", the name of a header such as \"x-api-key\", or one with what stands before the key in it, "
                       "\"authorization: Token\"; not \"%.*s\"", SPAN_FMT(text)), false;
  draft_of(into)->auth = scheme.n ? arena_printf(&l->conf->arena, "%.*s: %.*s", SPAN_FMT(name), SPAN_FMT(scheme)).p : arena_cstr(&l->conf->arena, name);
  return true;
}

bool read_thinking(struct load *l, const struct field *f, void *into) {
  static const char *const words[] = { [THINKING_HIDDEN] = "hidden", [THINKING_SHOWN] = "shown", [THINKING_WHEN_ASKED] = "hidden_when_asked" };
  int at = word_of(l, f->name, words, 3);
  if (at >= 0) draft_of(into)->quirks.thinking = (enum thinking)at;
  return at >= 0;
}

bool read_reasoning(struct load *l, const struct field *f, void *into) {
  static const char *const words[] = { [REASONING_AS_TOLD] = "inside", [REASONING_OUTSIDE] = "outside", [REASONING_ALWAYS_OUTSIDE] = "always_outside" };
  int at = word_of(l, f->name, words, 3);
  if (at >= 0) draft_of(into)->quirks.reasoning = (enum reasoning_rule)at;
  return at >= 0;
}

bool read_limit_name(struct load *l, const struct field *f, void *into) {
  static const char *const words[] = { "max_tokens", "max_completion_tokens" };
  int at = word_of(l, f->name, words, 2);
  if (at < 0) return false;
  draft_of(into)->quirks.old_limit_name = at == 0;
  draft_of(into)->quirks.new_limit_name = at == 1;
  return true;
}

/* How dates stand behind names of models: "-2025-08-07" or "-20250929". */
bool read_dated_names(struct load *l, const struct field *f, void *into) {
  static const char *const words[] = { "none", "dashes", "digits" };
  int at = word_of(l, f->name, words, 3);
  if (at < 0) return false;
  draft_of(into)->quirks.dated_dashes = at == 1;
  draft_of(into)->quirks.dated_digits = at == 2;
  return true;
}

bool read_price_name(struct load *l, const struct field *f, void *into) {
  struct span name;
  struct field plain = { f->name, read_span, 0 };
  if (!read_span(l, &plain, &name)) return false;
  draft_of(into)->quirks.price_name = arena_cstr(&l->conf->arena, name);
  return true;
}
