#include "weir/money.h"

enum { PICO_DIGITS = 12, MOST_DIGITS = 30, MOST_EXPONENT = 40 };

/* A decimal as one whole number and the power of ten it is to be multiplied by. */
struct decimal {
  unsigned __int128 digits;
  int power;
};

static bool exponent_read(struct span tail, int *out) {
  bool negative = tail.n && tail.p[0] == '-';
  uint64_t e;
  if (tail.n && (tail.p[0] == '-' || tail.p[0] == '+')) tail = span_from(tail, 1);
  if (!span_u64(tail, &e) || e > MOST_EXPONENT) return false;
  *out = negative ? -(int)e : (int)e;
  return true;
}

static bool decimal_read(struct span text, struct decimal *out) {
  int places = 0, digits = 0, exponent = 0;
  size_t i = 0;
  bool point = false;
  *out = (struct decimal){ 0, 0 };
  for (; i < text.n && (text.p[i] == '.' || (text.p[i] >= '0' && text.p[i] <= '9')); i++) {
    if (text.p[i] == '.' && point) return false;
    if (text.p[i] == '.') { point = true; continue; }
    if (++digits > MOST_DIGITS) return false;
    out->digits = out->digits * 10 + (unsigned)(text.p[i] - '0');
    places += point;
  }
  if (!digits) return false;
  if (i < text.n && (ascii_lower(text.p[i]) != 'e' || !exponent_read(span_from(text, i + 1), &exponent))) return false;
  out->power = exponent - places;
  return true;
}

/* *left: digits other than zero did not fit and were rounded up. */
static bool scaled(struct span text, int places, picodollars *out, bool *left, const char **why) {
  struct decimal d;
  *why = "is no amount of money";
  *left = false;
  if (!decimal_read(text, &d)) return false;
  int shift = PICO_DIGITS + places + d.power;
  for (; shift > 0 && d.digits && d.digits <= INT64_MAX; shift--) d.digits *= 10;
  for (; shift < 0; shift++, d.digits /= 10) *left |= d.digits % 10 != 0;
  d.digits += *left;
  if (d.digits > INT64_MAX) return *why = "is more than 9,223,372 dollars", false;
  *out = (picodollars)d.digits;
  return true;
}

bool money_read(struct span decimal, picodollars *out, const char **why) {
  bool left;
  picodollars v;
  if (!scaled(decimal, 0, &v, &left, why)) return false;
  if (left) return *why = "has more than 12 decimals", false;
  *out = v;
  return true;
}

bool money_read_scaled(struct span decimal, int places, picodollars *out, const char **why) {
  bool left;
  return scaled(decimal, places, out, &left, why);
}

size_t money_text(picodollars v, char out[MONEY_TEXT]) {
  uint64_t size = v < 0 ? -(uint64_t)v : (uint64_t)v, unit = (uint64_t)MONEY_USD;
  uint64_t dollars = size / unit, part = size % unit;
  char digits[MONEY_TEXT], *at = out;
  int n = 0;
  if (v < 0) *at++ = '-';
  do digits[n++] = (char)('0' + dollars % 10);
  while (dollars /= 10);
  while (n) *at++ = digits[--n];
  if (part) {
    *at = '.';
    for (int i = PICO_DIGITS; i; i--, part /= 10) at[i] = (char)('0' + part % 10);
    for (at += 1 + PICO_DIGITS; at[-1] == '0';) at--;
  }
  *at = 0;
  return (size_t)(at - out);
}

void money_add_text(struct buf *b, picodollars v) {
  char text[MONEY_TEXT];
  buf_add(b, span_of(text, money_text(v, text)));
}
