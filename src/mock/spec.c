#include "mock.h"

struct spec spec_default(void) {
  return (struct spec){ .status = 200, .retry_after = -1, .input = 9, .output = 12, .cached = -1, .reasoning = -1 };
}

static const struct { const char *name, *spec; } presets[] = {
  { "mock-400", "status=400;type=invalid_request_error;code=invalid_value" },
  { "mock-401", "status=401;type=invalid_request_error;code=invalid_api_key" },
  { "mock-429", "status=429;retry-after=1;type=requests;code=rate_limit_exceeded" },
  { "mock-quota", "status=429;type=insufficient_quota;code=insufficient_quota" },
  { "mock-500", "status=500;type=server_error" },
  { "mock-503", "status=503;type=server_error" },
  { "mock-529", "status=529;type=overloaded_error" },
  { "mock-empty", "empty" }, { "mock-garbage", "garbage" }, { "mock-html", "html" }, { "mock-json", "json" },
  { "mock-hang", "hang" }, { "mock-drop", "drop" },
  { "mock-stall", "stall=2" }, { "mock-reset", "reset=2" }, { "mock-cut", "cut=2" }, { "mock-end", "end=2" },
  { "mock-bad", "bad=2" }, { "mock-error", "error=2" }, { "mock-error-first", "error=0x" },
  { "mock-slow", "gap=300" }, { "mock-tools", "tools=2" }, { "mock-refuse", "refuse" },
};

struct span spec_preset(struct span model) {
  for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
    if (span_eq(model, span_cstr(presets[i].name))) return span_cstr(presets[i].spec);
  return (struct span){ 0 };
}

static bool number(struct span v, unsigned *out) {
  uint64_t n;
  if (span_eq(v, SPAN("0x"))) return *out = ~0u, true;   /* before the first event */
  return span_u64(v, &n) && n < 1u << 31 && (*out = (unsigned)n, true);
}

static bool long_number(struct span v, long *out) {
  uint64_t n;
  if (span_eq(v, SPAN("none"))) return *out = -1, true;
  return span_u64(v, &n) && (*out = (long)n, true);
}

static bool set_number(struct spec *s, struct span k, struct span v, bool *good) {
  const struct { const char *name; unsigned *at; } words[] = {
    { "delay", &s->delay }, { "first", &s->first }, { "gap", &s->gap }, { "events", &s->events }, { "stall", &s->stall }, { "reset", &s->reset },
    { "cut", &s->cut }, { "end", &s->end }, { "bad", &s->bad }, { "error", &s->error }, { "tools", &s->tools }, { "size", &s->size }, { "split", &s->split },
  };
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (span_eq(k, span_cstr(words[i].name))) return *good = number(v, words[i].at), true;
  const struct { const char *name; long *at; } longs[] = { { "input", &s->input }, { "output", &s->output }, { "cached", &s->cached }, { "reasoning", &s->reasoning } };
  for (size_t i = 0; i < sizeof longs / sizeof *longs; i++)
    if (span_eq(k, span_cstr(longs[i].name))) return *good = long_number(v, longs[i].at), true;
  return false;
}

static bool set_other(struct spec *s, struct span k, struct span v, bool *good) {
  const struct { const char *name; bool *at; } flags[] = {
    { "empty", &s->empty }, { "garbage", &s->garbage }, { "html", &s->html }, { "json", &s->json }, { "hang", &s->hang }, { "drop", &s->drop },
    { "no-length", &s->no_length }, { "no-done", &s->no_done }, { "refuse", &s->refuse }, { "close", &s->close },
  };
  for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
    if (span_eq(k, span_cstr(flags[i].name))) return *flags[i].at = true;
  const struct { const char *name; struct span *at; } texts[] = {
    { "text", &s->text }, { "finish", &s->finish }, { "model", &s->model }, { "play", &s->play }, { "code", &s->code }, { "type", &s->type },
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    if (span_eq(k, span_cstr(texts[i].name))) return *texts[i].at = v, true;
  if (span_eq(k, SPAN("retry-after"))) return *good = span_double(v, &s->retry_after), true;
  unsigned status;
  if (span_eq(k, SPAN("status"))) return *good = number(v, &status) && status >= 100 && status < 600 && (s->status = (int)status, true), true;
  return false;
}

bool spec_read(struct spec *s, struct span text, struct arena *a, const char **why) {
  text = arena_copy(a, text);
  while (text.n) {
    struct span one, key;
    bool good = true;
    text = span_cut(text, ';', &one);
    struct span value = span_trim(span_cut(one, '=', &key));
    key = span_trim(key);
    if (!key.n) continue;
    if (set_number(s, key, value, &good) || set_other(s, key, value, &good)) {
      if (good) continue;
      return *why = arena_printf(a, "bad value for '%.*s'", SPAN_FMT(key)).p, false;
    }
    return *why = arena_printf(a, "unknown word '%.*s'", SPAN_FMT(key)).p, false;
  }
  return true;
}
