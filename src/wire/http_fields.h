/* http_fields.h: the header lines of a head, and what those that frame the message say; for src/wire only. */
#ifndef WEIR_WIRE_HTTP_FIELDS_H
#define WEIR_WIRE_HTTP_FIELDS_H

#include "weir/http.h"

/* What the framing and connection headers said, over all their lines. */
struct fields {
  struct span host;
  uint64_t length;
  unsigned hosts, lengths, other_codings;
  bool bad_length;                    /* not a number, too large, or two that differ */
  bool bad_coding;                    /* an empty element, or anything behind chunked */
  bool coding_seen, chunked;
  bool close, keep_alive, names_upgrade, upgrade;
  bool expect_continue, expect_other;
};

enum http_name http_name_of(struct span name);     /* of a token */

/* Reads lines from p to end, where the last four bytes before end must be CR LF CR LF. */
enum http_error http_fields_read(const char *p, const char *end, struct http_head *out, struct fields *f);

/* The rules that requests and responses share: sets framing for a coded or counted body, and leaves
   it when neither header is there. */
enum http_error fields_framing(const struct fields *f, struct http_head *out);

/* First byte at or behind p that may not stand in a value; there must be one before end. */
const char *value_end(const char *p, const char *end);

/* How often a header value has that parameter, the last one of them in *found; -1 when any parameter
   is malformed. */
int params_seek(struct span value, struct span name, struct span *found);

#endif
