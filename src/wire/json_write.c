/* json_write.c: JSON into a buf. Whatever it is given, what it writes is valid. */
#include "json_scan.h"
#include "weir/log.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Bytes of a broken character that one U+FFFD stands for: its longest valid beginning (WHATWG Encoding). */
static size_t broken_part(const char *at, const char *end) {
  const unsigned char *p = (const unsigned char *)at;
  size_t left = (size_t)(end - at), n = 1;
  unsigned c = p[0], low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
  unsigned high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
  if (c < 0xC2 || c > 0xF4) return 1;
  for (size_t want = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4; n < want && n < left && p[n] >= low && p[n] <= high; n++)
    low = 0x80, high = 0xBF;
  return n;
}

static void write_escape(struct buf *b, unsigned char c) {
  static const char shorts[32] = { ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't' };
  char *p = buf_reserve(b, 6);
  char letter = c >= 0x20 ? (char)c : shorts[c];
  p[0] = '\\';
  p[1] = letter ? letter : 'u';
  if (!letter) {
    p[2] = p[3] = '0';
    p[4] = (char)('0' + (c >> 4));
    p[5] = "0123456789abcdef"[c & 15];
  }
  buf_commit(b, letter ? 2 : 6);
}

void json_write_escaped(struct buf *b, struct span utf8) {
  if (!utf8.n) return;
  const char *at = utf8.p, *end = at + utf8.n, *run = at;
  while ((at = scan_plain(at, end)) < end) {
    size_t wide = (signed char)*at < 0 ? scan_utf8(at, end) : 0;
    if (wide) {
      at += wide;
      continue;
    }
    buf_add(b, span_of(run, (size_t)(at - run)));
    if ((signed char)*at < 0) {
      buf_add(b, SPAN("\xEF\xBF\xBD"));
      at += broken_part(at, end);
    } else {
      write_escape(b, (unsigned char)*at++);
    }
    run = at;
  }
  buf_add(b, span_of(run, (size_t)(end - run)));
}

void json_write_string(struct buf *b, struct span utf8) {
  buf_reserve(b, utf8.n + 2);
  buf_byte(b, '"');
  json_write_escaped(b, utf8);
  buf_byte(b, '"');
}

/* The fewest digits that read back, as d.ddde±x; gives their number and the exponent. Fifteen are
   never too many but for subnormal numbers, seventeen always enough. At a power of two the doubles
   below are denser than those above, so the nearest sixteen digits may fail where the next ones up
   do not. */
static int shortest_digits(double v, char digits[18], int *exponent) {
  char text[40];
  for (int n = v < DBL_MIN ? 1 : 15; n <= 17; n++)
    for (int up = 0; up <= (n == 16); up++) {
      snprintf(text, sizeof text, "%.*e", n - 1, v);
      char *e = strchr(text, 'e');
      if (up && (e[-1] == '9' || fabs(frexp(v, &(int){ 0 })) != 0.5)) continue;
      e[-1] = (char)(e[-1] + up);
      if (n < 17 && strtod(text, NULL) != v) continue;
      *exponent = atoi(e + 1);
      digits[0] = text[0];
      memcpy(digits + 1, e - (n - 1), (size_t)n - 1);
      while (n > 1 && digits[n - 1] == '0') n--;
      return n;
    }
  return 0;
}

/* Layout as JavaScript's Number has it, but without the '+' of an exponent. */
void json_write_f64(struct buf *b, double v) {
  char digits[18];
  int exponent = 0;
  if (!isfinite(v)) {
    buf_add(b, SPAN("null"));
    return;
  }
  if (signbit(v)) buf_byte(b, '-');
  int n = v == 0 ? 1 : shortest_digits(fabs(v), digits, &exponent);
  if (v == 0) digits[0] = '0';
  int whole = exponent + 1;                       /* digits before the point */
  if (whole >= n && whole <= 21) {
    buf_add(b, span_of(digits, (size_t)n));
    for (; n < whole; n++) buf_byte(b, '0');
  } else if (whole > 0 && whole <= 21) {
    buf_add(b, span_of(digits, (size_t)whole));
    buf_byte(b, '.');
    buf_add(b, span_of(digits + whole, (size_t)(n - whole)));
  } else if (whole <= 0 && whole > -6) {
    buf_add(b, span_of("0.00000", (size_t)(2 - whole)));
    buf_add(b, span_of(digits, (size_t)n));
  } else {
    buf_byte(b, digits[0]);
    if (n > 1) buf_byte(b, '.');
    buf_add(b, span_of(digits + 1, (size_t)n - 1));
    buf_printf(b, "e%d", exponent);
  }
}

/* The writer. What is refused inside a container that was refused is not judged again. */
static bool bit_of(const uint64_t *bits, unsigned i) { return bits[i / 64] >> (i % 64) & 1; }
static void bit_put(uint64_t *bits, unsigned i, bool v) {
  bits[i / 64] = (bits[i / 64] & ~(1ull << (i % 64))) | (uint64_t)v << (i % 64);
}
static bool in_object(const struct json_writer *w) { return w->depth && bit_of(w->objects, w->depth); }

/* Comma where one belongs; false when no value may stand here. */
static bool value_begins(struct json_writer *w) {
  if (w->skipped) return false;
  if (in_object(w)) {
    if (!check(w->after_key)) return false;
    w->after_key = false;
    return true;
  }
  bool seen = bit_of(w->seen, w->depth);
  if (!check(w->depth || !seen)) return false;    /* one document only */
  if (seen) buf_byte(w->out, ',');
  bit_put(w->seen, w->depth, true);
  return true;
}

void json_begin(struct json_writer *w, char open) {
  bool fits = w->skipped || (check(w->depth < JSON_DEPTH) && check(open == '{' || open == '['));
  if (!fits && in_object(w) && w->after_key) json_null(w);
  if (!fits || !value_begins(w)) {
    w->skipped++;
    return;
  }
  w->depth++;
  bit_put(w->seen, w->depth, false);
  bit_put(w->objects, w->depth, open == '{');
  buf_byte(w->out, open);
}

void json_end(struct json_writer *w, char close) {
  if (w->skipped) {
    w->skipped--;
    return;
  }
  if (!check(w->depth > 0)) return;
  check(close == (in_object(w) ? '}' : ']'));
  if (!check(!w->after_key)) json_null(w);
  buf_byte(w->out, in_object(w) ? '}' : ']');
  w->depth--;
}

void json_key(struct json_writer *w, struct span name) {
  if (w->skipped || !check(in_object(w) && !w->after_key)) return;
  if (bit_of(w->seen, w->depth)) buf_byte(w->out, ',');
  bit_put(w->seen, w->depth, true);
  json_write_string(w->out, name);
  buf_byte(w->out, ':');
  w->after_key = true;
}

void json_str(struct json_writer *w, struct span s) {
  if (value_begins(w)) json_write_string(w->out, s);
}

void json_int(struct json_writer *w, int64_t v) {
  char text[20], *p = text + sizeof text;
  uint64_t left = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
  if (!value_begins(w)) return;
  do *--p = (char)('0' + left % 10); while (left /= 10);
  if (v < 0) *--p = '-';
  buf_add(w->out, span_of(p, (size_t)(text + sizeof text - p)));
}

void json_num(struct json_writer *w, double v) {
  if (value_begins(w)) json_write_f64(w->out, v);
}

void json_bool(struct json_writer *w, bool v) {
  if (value_begins(w)) buf_add(w->out, v ? SPAN("true") : SPAN("false"));
}

void json_null(struct json_writer *w) {
  if (value_begins(w)) buf_add(w->out, SPAN("null"));
}

void json_raw(struct json_writer *w, struct span valid_json) {
  if (value_begins(w)) buf_add(w->out, check(valid_json.n > 0) ? valid_json : SPAN("null"));
}
