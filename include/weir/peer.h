/* peer.h: whom a connection or a request is from, as a proxy before weir tells it: the header of the PROXY protocol
   (versions 1 and 2, haproxy's proxy-protocol.txt), X-Forwarded-For, Forwarded (RFC 7239). Pure; whether the one who
   tells it is to be believed is the caller's matter. */
#ifndef WEIR_PEER_H
#define WEIR_PEER_H

#include "weir/mem.h"
#include "weir/step.h"

enum { PEER_TEXT = 46 };              /* an address as text with its NUL */

/* An address in its one usual form: "2001:db8::1", "192.0.2.1" also for "::ffff:192.0.2.1". false: it is none. */
bool peer_address(struct span text, char out[PEER_TEXT]);

/* A PROXY header at the start of a connection. */
struct proxy_header {
  char ip[PEER_TEXT];                 /* of the client; "" when the proxy speaks for itself (LOCAL) or cannot tell (UNKNOWN) */
  uint16_t port;
};
enum { PROXY_HEADER_MOST = 16 + 4096 };                  /* what version 2 may hold with its extensions, which are skipped */
/* Over a window that only grows. DONE: the header is `used` bytes long; 0: what stands there is no PROXY header. MORE (used 0):
   it may become one. BAD: it is a broken one. */
struct step proxy_header_read(struct span window, struct proxy_header *out);

/* The nodes of a X-Forwarded-For (rfc7239 false) or Forwarded line, from the left, which is the client's end. */
struct forwarded {
  struct span rest;
  bool rfc7239;
};
/* false at the end. *ip is "" for what names no address: "unknown", "_hidden", a pair without for=, what cannot be read. */
bool forwarded_next(struct forwarded *f, char ip[PEER_TEXT]);

#endif
