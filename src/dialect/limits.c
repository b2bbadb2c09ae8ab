/* limits.c: what a provider says of the limits of an account, in the heads of its answers:
     x-ratelimit-remaining-requests: 59      x-ratelimit-reset-requests: 1s          OpenAI, Azure, Groq and those like them
     x-ratelimit-remaining: 5                x-ratelimit-reset: 1741305600000        OpenRouter
     anthropic-ratelimit-input-tokens-remaining: 0      …-reset: 2026-01-01T00:00:00Z */
#include "weir/dialect.h"
#include <time.h>

/* "6m0s", "20ms", "1h2m3.5s"; -1: it is none. */
static double duration(struct span s) {
  static const struct { struct span unit; double seconds; } units[] = {
    { SPAN("ms"), 1e-3 }, { SPAN("us"), 1e-6 }, { SPAN("µs"), 1e-6 }, { SPAN("ns"), 1e-9 }, { SPAN("h"), 3600 }, { SPAN("m"), 60 }, { SPAN("s"), 1 },
  };
  enum { UNITS = sizeof units / sizeof *units };
  double sum = 0, n;
  if (!s.n) return -1;
  while (s.n) {
    size_t digits = 0, u = 0;
    while (digits < s.n && ((s.p[digits] >= '0' && s.p[digits] <= '9') || s.p[digits] == '.')) digits++;
    if (!digits || !span_double(span_of(s.p, digits), &n)) return -1;
    s = span_from(s, digits);
    while (u < UNITS && !span_starts(s, units[u].unit)) u++;
    if (u == UNITS) return -1;
    s = span_from(s, units[u].unit.n);
    sum += n * units[u].seconds;
  }
  return sum < 1e12 ? sum : -1;
}

static bool two(struct span s, size_t at, int most, int *out) {
  uint64_t n;
  if (s.n < at + 2 || !span_u64(span_of(s.p + at, 2), &n) || n > (uint64_t)most) return false;
  *out = (int)n;
  return true;
}

/* "2026-01-31T12:00:00Z", with a fraction or an offset; -1: it is none. */
static double instant(struct span s) {
  struct tm tm = { 0 };
  uint64_t year;
  int hours = 0, minutes = 0;
  bool good = s.n >= 20 && s.p[4] == '-' && s.p[7] == '-' && (s.p[10] == 'T' || s.p[10] == 't') && s.p[13] == ':' && s.p[16] == ':';
  if (!good || !span_u64(span_of(s.p, 4), &year) || !two(s, 5, 12, &tm.tm_mon) || !two(s, 8, 31, &tm.tm_mday) || !two(s, 11, 23, &tm.tm_hour) ||
      !two(s, 14, 59, &tm.tm_min) || !two(s, 17, 60, &tm.tm_sec)) return -1;
  tm.tm_year = (int)year - 1900;
  tm.tm_mon--;
  size_t at = 19;
  while (at < s.n && (s.p[at] == '.' || (s.p[at] >= '0' && s.p[at] <= '9'))) at++;
  struct span zone = span_from(s, at);
  bool offset = zone.n == 6 && (zone.p[0] == '+' || zone.p[0] == '-') && two(zone, 1, 23, &hours) && two(zone, 4, 59, &minutes);
  if (!offset && !span_ieq(zone, SPAN("z"))) return -1;
  int seconds = (hours * 60 + minutes) * 60;
  return (double)timegm(&tm) - (offset && zone.p[0] == '-' ? -seconds : seconds);
}

/* Bare numbers are seconds, or times: Unix ones in seconds or milliseconds. */
static double seconds_read(struct span s, double now) {
  double n;
  s = span_trim(s);
  if (span_double(s, &n)) {
    if (n >= 1e11) n = n / 1000 - now;
    else if (n >= 1e9) n -= now;
    return n > 0 ? n : n == 0 ? 0 : -1;
  }
  if ((n = duration(s)) >= 0) return n;
  n = instant(s);
  return n < 0 ? -1 : n > now ? n - now : 0;
}

/* Seconds from now; -1: it cannot be read. */
static double reset_read(struct span s, double now) {
  double n = seconds_read(s, now);
  return n >= 0 && n <= LIMITS_LONGEST ? n : -1;
}

struct pair { int64_t left; double reset; };             /* -1: not told */

static void take(struct pair *p, bool reset, struct span value, double now) {
  uint64_t n;
  if (reset) p->reset = reset_read(value, now);
  else if (span_u64(span_trim(value), &n) && n < INT64_MAX) p->left = (int64_t)n;
}

/* The scarcer of two counts of tokens. */
static void scarcer(struct pair *a, const struct pair *b) {
  if (b->left >= 0 && b->reset >= 0 && (a->left < 0 || a->reset < 0 || b->left < a->left)) *a = *b;
}

bool limits_read(const struct http_head *h, double now, struct limits_told *out) {
  enum { REQUESTS, TOKENS, INPUT, OUTPUT, KINDS };
  static const struct span kinds[KINDS] = { SPAN("requests"), SPAN("tokens"), SPAN("input-tokens"), SPAN("output-tokens") };
  static const struct span openai = SPAN("x-ratelimit-"), anthropic = SPAN("anthropic-ratelimit-");
  struct pair of[KINDS] = { { -1, -1 }, { -1, -1 }, { -1, -1 }, { -1, -1 } };
  for (size_t i = 0; i < h->count; i++) {
    struct span name = h->headers[i].name, what, kind;
    if (h->names[i] != HTTP_OTHER) continue;
    if (span_istarts(name, openai)) {
      kind = span_cut(span_from(name, openai.n), '-', &what);
      if (!kind.n) kind = kinds[REQUESTS];
    } else if (span_istarts(name, anthropic)) {
      name = span_from(name, anthropic.n);
      size_t dash = name.n;
      while (dash && name.p[dash - 1] != '-') dash--;
      if (!dash) continue;
      kind = span_of(name.p, dash - 1);
      what = span_from(name, dash);
    } else {
      continue;
    }
    bool reset = span_ieq(what, SPAN("reset"));
    if (!reset && !span_ieq(what, SPAN("remaining"))) continue;
    for (int k = 0; k < KINDS; k++)
      if (span_ieq(kind, kinds[k])) take(&of[k], reset, h->headers[i].value, now);
  }
  scarcer(&of[TOKENS], &of[INPUT]);
  scarcer(&of[TOKENS], &of[OUTPUT]);
  *out = (struct limits_told){ of[REQUESTS].left, of[TOKENS].left, of[REQUESTS].reset, of[TOKENS].reset };
  return (out->requests >= 0 && out->requests_reset >= 0) || (out->tokens >= 0 && out->tokens_reset >= 0);
}
