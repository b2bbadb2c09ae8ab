/* json_text.c: what a validated string or number says. */
#include "json_scan.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The code point of the escape at t->at ('\\' followed by u); a pair of surrogates is one. */
static unsigned text_unicode(struct scan_text *t) {
  unsigned unit = 0, low = 0;
  scan_hex4(t->at + 2, &unit);
  t->at += 6;
  if (unit < 0xD800 || unit > 0xDFFF) return unit;
  if (unit < 0xDC00 && t->end - t->at >= 6 && t->at[0] == '\\' && t->at[1] == 'u' && scan_hex4(t->at + 2, &low) &&
      low >= 0xDC00 && low <= 0xDFFF) {
    t->at += 6;
    return 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
  }
  t->lone = true;
  return 0xFFFD;
}

/* Queues the bytes after the first, which is given. */
static int text_queue(struct scan_text *t, unsigned code) {
  if (code < 0x80) return (int)code;
  unsigned more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  for (unsigned i = 0; i < more; i++, code >>= 6) t->bytes[i] = (unsigned char)(0x80 | (code & 0x3F));
  t->left = more;
  return (int)((0xF0u << (3 - more) & 0xF0) | code);
}

int scan_text_next(struct scan_text *t) {
  if (t->left) return t->bytes[--t->left];
  if (t->at == t->end) return -1;
  if (*t->at != '\\') return (unsigned char)*t->at++;
  char c = t->at[1];
  if (c == 'u') return text_queue(t, text_unicode(t));
  t->at += 2;
  switch (c) {
  case 'b': return '\b';
  case 'f': return '\f';
  case 'n': return '\n';
  case 'r': return '\r';
  case 't': return '\t';
  default:  return (unsigned char)c;
  }
}

/* Unescaped and folded: ASCII letters to lower case, and the two letters outside ASCII whose simple
   case folding lies inside it, which Go's decoder folds too: U+017F to s, U+212A to k. */
struct folded {
  struct scan_text text;
  unsigned char back[2];
  unsigned left;
};

static int folded_unget(struct folded *f, int second, int third, int first) {
  f->left = 0;
  if (third >= 0) f->back[f->left++] = (unsigned char)third;
  if (second >= 0) f->back[f->left++] = (unsigned char)second;
  return first;
}

static int folded_next(struct folded *f) {
  if (f->left) return f->back[--f->left];
  int c = scan_text_next(&f->text);
  if (c == 0xC5) {
    int second = scan_text_next(&f->text);
    return second == 0xBF ? 's' : folded_unget(f, second, -1, c);
  }
  if (c == 0xE2) {
    int second = scan_text_next(&f->text), third = scan_text_next(&f->text);
    return second == 0x84 && third == 0xAA ? 'k' : folded_unget(f, second, third, c);
  }
  return c < 0 ? c : (unsigned char)ascii_lower((char)c);
}

bool scan_same_name(struct json a, struct json b) {
  struct folded x = { .text = scan_text(a) }, y = { .text = scan_text(b) };
  int c;
  do {
    c = folded_next(&x);
    if (c != folded_next(&y)) return false;
  } while (c >= 0);
  return true;
}

uint64_t scan_name_hash(struct json name, uint64_t seed) {
  struct folded f = { .text = scan_text(name) };
  char bytes[16] = { 0 };                         /* the last whole eight, then those after them */
  uint64_t hash = seed;
  size_t n = 0;
  for (int c; (c = folded_next(&f)) >= 0;) {
    if (n && n % 8 == 0) {
      hash = scan_name_mix(hash, scan_eight(bytes + 8));
      memcpy(bytes, bytes + 8, 8);
      memset(bytes + 8, 0, 8);
    }
    bytes[8 + n++ % 8] = (char)c;
  }
  return scan_name_mix(hash ^ n, scan_eight(bytes + 8 - (n > 8 && n % 8 ? 8 - n % 8 : 0)));
}

bool json_string_is(struct json v, struct span text) {
  if (v.type != JSON_STRING || !scan_may_be(v, text)) return false;
  struct span raw = span_of(v.text.p + 1, v.text.n - 2);
  if (!memchr(raw.p, '\\', raw.n)) return span_eq(raw, text);
  struct scan_text t = scan_text(v);
  for (size_t i = 0; i < text.n; i++)
    if (scan_text_next(&t) != (unsigned char)text.p[i]) return false;
  return scan_text_next(&t) < 0 && !t.lone;
}

bool json_unescape(struct json v, struct arena *a, struct span *out) {
  *out = span_of("", 0);
  if (v.type != JSON_STRING) return false;
  struct span raw = span_of(v.text.p + 1, v.text.n - 2);
  size_t plain = span_find(raw, '\\');
  *out = raw;
  if (plain == raw.n) return true;
  char *to = arena_alloc(a, raw.n);
  size_t n = 0;
  struct scan_text t = scan_text(v);
  while (t.at < t.end) {                                     /* runs by memcpy, escapes one by one */
    size_t run = span_find(span_of(t.at, (size_t)(t.end - t.at)), '\\');
    memcpy(to + n, t.at, run);
    n += run;
    t.at += run;
    while (t.left || (t.at < t.end && *t.at == '\\')) to[n++] = (char)scan_text_next(&t);
  }
  *out = span_of(to, n);
  return !t.lone;
}

/* A number as sign, significant digits (no zeros at either end) and a power of ten. */
struct decimal {
  bool negative, more;                /* more: digits beyond those kept, not all zero */
  size_t n;
  int64_t exponent;                   /* value = digits * 10^exponent */
  char digits[800];                   /* a double is decided by at most 768 */
};

enum { FAR = 1000000000 };            /* exponents are clamped here: far beyond any range, far below overflow */

static int64_t decimal_exponent(const char *at, const char *end) {
  int64_t v = 0;
  bool negative = at < end && *at == '-';
  if (at < end && (*at == '-' || *at == '+')) at++;
  for (; at < end; at++) v = v < FAR ? v * 10 + (*at - '0') : FAR;
  return negative ? -v : v;
}

static void decimal_read(struct span text, struct decimal *d) {
  const char *at = text.p, *end = at + text.n;
  bool fraction = false;
  size_t zeros = 0;                   /* seen and not yet known to be inner ones */
  d->negative = *at == '-';
  d->more = false;
  d->n = 0;
  d->exponent = 0;
  for (at += d->negative; at < end && (*at | 0x20) != 'e'; at++) {
    if (*at == '.') { fraction = true; continue; }
    d->exponent -= fraction;
    if (*at == '0') { zeros += d->n > 0; continue; }
    for (; zeros; zeros--) if (d->n < sizeof d->digits) d->digits[d->n++] = '0'; else d->exponent++;
    if (d->n < sizeof d->digits) d->digits[d->n++] = *at;
    else d->more = true, d->exponent++;
  }
  d->exponent += (int64_t)zeros;
  if (at < end) d->exponent += decimal_exponent(at + 1, end);
  if (!d->n) d->exponent = 0;
}

/* Digits alone, and few enough to be whole: as nearly all whole numbers are written. */
static bool plain_i64(struct span text, int64_t *out) {
  int64_t value = 0;
  if (text.n > 18) return false;
  for (size_t i = 0; i < text.n; i++) {
    unsigned digit = (unsigned)(text.p[i] - '0');
    if (digit > 9) return false;
    value = value * 10 + digit;
  }
  *out = value;
  return true;
}

bool json_i64(struct json v, int64_t *out) {
  struct decimal d;
  if (v.type != JSON_NUMBER) return false;
  if (plain_i64(v.text, out)) return true;
  decimal_read(v.text, &d);
  if (d.more || d.exponent < 0 || (int64_t)d.n + d.exponent > 19) return false;
  uint64_t whole = 0;
  for (size_t i = 0; i < d.n + (size_t)d.exponent; i++)
    whole = whole * 10 + (uint64_t)(i < d.n ? d.digits[i] - '0' : 0);
  if (whole > (uint64_t)INT64_MAX + d.negative) return false;
  *out = d.negative ? (int64_t)(0 - whole) : (int64_t)whole;
  return true;
}

bool json_f64(struct json v, double *out) {
  static const double tens[] = { 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
                                 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
  struct decimal d;
  char text[sizeof d.digits + 32];
  if (v.type != JSON_NUMBER) return false;
  decimal_read(v.text, &d);
  double value = 0;
  if (d.n <= 15 && d.exponent >= -22 && d.exponent <= 22) {  /* both factors exact, so one rounding */
    for (size_t i = 0; i < d.n; i++) value = value * 10 + (d.digits[i] - '0');
    value = d.exponent < 0 ? value / tens[-d.exponent] : value * tens[d.exponent];
  } else {                                                   /* no decimal point: no locale */
    size_t n = d.n;
    memcpy(text, d.digits, n);
    if (d.more) text[n++] = '1', d.exponent--;
    snprintf(text + n, sizeof text - n, "e%lld", (long long)d.exponent);
    value = strtod(text, NULL);
  }
  if (!isfinite(value)) return false;
  *out = d.negative ? -value : value;
  return true;
}
