/* signature.c: signatures of one provider on their way through a client of another dialect. */
#include "gemini.h"

static const struct span marks[] = { [SIGNED_THOUGHT] = SPAN("weir-gemini-thought:"), [SIGNED_TEXT] = SPAN("weir-gemini-text:"), [SIGNED_CALL] = SPAN("weir-gemini-call:") };
static const struct span wraps[] = { [SIGNED_BY_MESSAGES] = SPAN("weir-messages-thinking:"), [REDACTED_BY_MESSAGES] = SPAN("weir-messages-redacted:") };

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

/* ---- in base64, as Gemini's clients read the field */
static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

struct json signature_wrap(struct arena *a, enum wrapped kind, struct json v) {
  struct span parts[2] = { wraps[kind], string_raw(v) };
  size_t n = parts[0].n + parts[1].n, at = 0;
  unsigned char *plain = arena_alloc(a, n + 3);
  char *out = arena_alloc(a, (n + 2) / 3 * 4 + 2);
  memcpy(plain, parts[0].p, parts[0].n);
  if (parts[1].n) memcpy(plain + parts[0].n, parts[1].p, parts[1].n);
  memset(plain + n, 0, 3);
  out[at++] = '"';
  for (size_t i = 0; i < n; i += 3) {
    unsigned bits = (unsigned)plain[i] << 16 | (unsigned)plain[i + 1] << 8 | plain[i + 2];
    for (int k = 3; k >= 0; k--) out[at + (size_t)(3 - k)] = (size_t)(3 - k) > n - i ? '=' : digits[bits >> (6 * k) & 63];
    at += 4;
  }
  out[at++] = '"';
  return (struct json){ JSON_STRING, span_of(out, at) };
}

/* Both alphabets; -1: it is no digit. */
static int digit_of(char c) {
  if (c == '-') c = '+';
  if (c == '_') c = '/';
  const char *p = c ? strchr(digits, c) : NULL;
  return p ? (int)(p - digits) : -1;
}

bool signature_wrapped(struct arena *a, struct json v, enum wrapped *kind, struct json *out) {
  struct span s = string_raw(v);
  unsigned bits = 0, have = 0;
  char *plain = arena_alloc(a, s.n + 2);
  size_t n = 1;
  plain[0] = '"';
  for (size_t i = 0; i < s.n && s.p[i] != '='; i++) {
    int d = digit_of(s.p[i]);
    if (d < 0) return false;
    bits = bits << 6 | (unsigned)d;
    have += 6;
    if (have >= 8) have -= 8, plain[n++] = (char)(bits >> have & 255);
  }
  struct span text = span_of(plain + 1, n - 1);
  for (unsigned i = 0; i < sizeof wraps / sizeof *wraps; i++) {
    if (!span_starts(text, wraps[i])) continue;
    struct json_error e;
    plain[n] = '"';
    char *start = plain + wraps[i].n;
    start[0] = '"';
    *kind = (enum wrapped)i;
    return json_read(span_of(start, n + 1 - wraps[i].n), out, &e) && out->type == JSON_STRING;
  }
  return false;
}
