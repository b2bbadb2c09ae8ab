/* call.h: one HTTP request and its response on a leased connection. */
#ifndef WEIR_GATEWAY_CALL_H
#define WEIR_GATEWAY_CALL_H

#include "gateway.h"

struct call_calls;
struct call {
  const struct call_calls *calls;
  struct worker *worker;
  struct pool *pool;
  struct upstream *conn;
  struct span method;
  struct buf head_bytes;              /* request head; kept for the stale retry */
  struct iovec body[SEND_PARTS - 1];
  int body_parts;
  bool streamed;                      /* the request body comes piece by piece: no stale retry once a piece went */
  bool sent;                          /* on a connection that stood, as far as it went */
  bool sent_all, reused, retried, got_bytes, got_head, ended, paused;
  bool unclosed;                      /* TLS whose connection ended without a close_notify: a body that lasts until then may be cut (RFC 9112 9.8) */
  uint64_t sent_ms;
  struct http_body decoder;
  double connect_s, tls_s;
  void (*pin)(void *arg), (*unpin)(void *arg);           /* who holds the body's memory while the kernel reads it */
  void *pin_arg;
};
struct call_calls {
  void (*head)(struct call *c, const struct http_head *h);               /* once, not for 1xx */
  void (*body)(struct call *c, struct span data);                        /* lent; may end the call */
  void (*end)(struct call *c);                                           /* whole; the connection is back in its pool */
  void (*fail)(struct call *c, enum fault f, const char *phase, const char *why);
  void (*room)(struct call *c);                                          /* a streamed request body may go on; may be NULL */
};
void call_start(struct call *c);                         /* pool, head_bytes, body set; never calls back inside */
void call_write(struct call *c, struct span piece);      /* streamed body, already framed */
void call_written(struct call *c);                       /* no more pieces */
size_t call_waiting(const struct call *c);
void call_pause(struct call *c);                         /* backpressure: do not read on */
void call_resume(struct call *c);
void call_stop(struct call *c);                          /* no callback after this; the connection is closed unless it ended */

/* call.c, told by the connection: */
void call_connected(struct call *c, struct upstream *u);
void call_connect_failed(struct call *c, enum fault f, const char *why);
void call_bytes(struct call *c, struct span bytes);
void call_peer_ended(struct call *c, int result);
void call_sent(struct call *c);                          /* everything given to upstream_send is out */

#endif
