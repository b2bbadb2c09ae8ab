/* http_chars.h: which bytes may stand where, and the shape of an authority; for src/wire only. */
#ifndef WEIR_WIRE_HTTP_CHARS_H
#define WEIR_WIRE_HTTP_CHARS_H

#include "weir/span.h"

enum {
  CHAR_TOKEN = 1,    /* RFC 9110 5.6.2 */
  CHAR_VALUE = 2,    /* field values and reason phrases: tab, space, visible, 0x80 to 0xff */
  CHAR_TARGET = 4,   /* request targets: visible ASCII without " # < > and backslash */
  CHAR_HOST = 8,     /* letters, digits, "." "-" "_" */
  CHAR_BOUNDARY = 16,/* RFC 2046 5.1.1, bchars; a space among them may not be the last */
  CHAR_PATH = 32     /* letters, digits, "/" ":" "-" "_": what can neither be decoded nor make a segment of dots */
};
extern const unsigned char http_chars[256];
static inline bool char_is(char c, unsigned kind) { return http_chars[(unsigned char)c] & kind; }

/* Value of a hex digit, or 16 for any other byte. */
extern const unsigned char http_hex[256];
static inline unsigned hex_value(char c) { return http_hex[(unsigned char)c]; }

/* A host with an optional port, as in Host, in absolute-form targets and in URLs; the text holds no
   NUL. Refused: user info, an empty host or port, empty labels, percent escapes, zone names, ports
   over 65535 or 0. */
struct authority {
  struct span host;                   /* IPv6 without its brackets */
  bool ipv6, port_given;
  uint16_t port;                      /* 0 when not given */
};
bool authority_read(struct span text, struct authority *out, const char **why);

#endif
