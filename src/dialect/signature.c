#include "gemini.h"

static const struct span marks[] = { [SIGNED_THOUGHT] = SPAN("weir-gemini-thought:"), [SIGNED_TEXT] = SPAN("weir-gemini-text:"), [SIGNED_CALL] = SPAN("weir-gemini-call:") };

struct json signature_mark(struct arena *a, enum signature_of of, struct span raw) {
  return (struct json){ JSON_STRING, arena_printf(a, "\"%.*s%.*s\"", SPAN_FMT(marks[of]), SPAN_FMT(raw)) };
}

bool signature_marked(struct json v, enum signature_of *of, struct span *raw) {
  struct span s = string_raw(v);
  for (unsigned i = 0; i < sizeof marks / sizeof *marks; i++) {
    if (!span_starts(s, marks[i])) continue;
    *of = (enum signature_of)i;
    *raw = span_from(s, marks[i].n);
    return true;
  }
  return false;
}
