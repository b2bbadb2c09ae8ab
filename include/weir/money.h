/* money.h: whole picodollars. No float ever holds money: text becomes picodollars exactly or not at all, sums saturate upward. */
#ifndef WEIR_MONEY_H
#define WEIR_MONEY_H

#include "weir/mem.h"

typedef int64_t picodollars;          /* 1e-12 USD */
#define MONEY_USD ((picodollars)1000000000000)
#define MONEY_MOST INT64_MAX          /* 9,223,372 USD: more than that counts as this */

/* "2.5", "0.000001", "1e-06": exactly, and not below zero. false: *why completes "usd(…) …". */
bool money_read(struct span decimal, picodollars *out, const char **why);
/* The same times 10^places (0..12), and rounded up where digits are left over: with places 6 a price per token is read as the
   price of a million. */
bool money_read_scaled(struct span decimal, int places, picodollars *out, const char **why);

/* Shortest decimal text: "0.00225", "20", "-1.5". Gives the length. */
enum { MONEY_TEXT = 24 };
size_t money_text(picodollars v, char out[MONEY_TEXT]);
void money_add_text(struct buf *b, picodollars v);

static inline picodollars money_sum(picodollars a, picodollars b) {
  picodollars sum;
  if (__builtin_add_overflow(a, b, &sum)) return a < 0 ? INT64_MIN : MONEY_MOST;
  return sum;
}

#endif
