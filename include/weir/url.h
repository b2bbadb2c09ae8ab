/* url.h: absolute http and https URLs of providers, and request targets of clients. */
#ifndef WEIR_URL_H
#define WEIR_URL_H

#include "weir/mem.h"

struct url {
  bool tls;                           /* https */
  struct span host;                   /* lower or upper case as given; IPv6 without its brackets */
  bool ipv6;
  uint16_t port;                      /* given, or 80 or 443 */
  bool port_given;
  struct span path;                   /* "/v1", without a trailing '/'; empty for "/" and "" */
  struct span query;                  /* without '?' */
};
/* Refuses: other schemes, user info, fragments, empty or bad hosts (also those that are an address
   to some readers only, such as 127.1 or 0x7f.1), spaces, controls and bytes that are not ASCII, bad
   percent escapes, an empty port, 0, and ports over 65535, "." and ".." segments as below. *why is a
   static text. Spans point into `text`. */
bool url_split(struct span text, struct url *out, const char **why);
/* "host:port" with IPv6 brackets, port only when not the scheme's own: for Host headers. */
struct span url_host_header(const struct url *u, struct arena *a);

/* A request target in origin form: path and query; refuses controls, spaces, fragments, bad percent
   escapes, and paths that still hold "." or ".." segments once decoded (also %2e, between %2f or %5c,
   or with a ";parameter") or an encoded NUL, so that a path prefix decides what it seems to decide.
   query is without '?'; p NULL when there is none. "*" is refused. */
bool target_split(struct span target, struct span *path, struct span *query, const char **why);
/* Query without the parameters of that name ("key"), in the arena or as given. Names are compared
   decoded ("%6bey" is "key" to a server), case as it stands. */
struct span query_without(struct span query, struct span name, struct arena *a);
/* First value of that name, raw, not decoded; empty when it has no "="; p NULL when absent. */
struct span query_value(struct span query, struct span name);

#endif
