/* hex.h: one hex digit. */
#ifndef AUTH_HEX_H
#define AUTH_HEX_H

#include "weir/span.h"

/* Its value, or -1. */
static inline int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = ascii_lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

#endif
