/* client.h: an accepted socket. */
#ifndef WEIR_GATEWAY_CLIENT_H
#define WEIR_GATEWAY_CLIENT_H

#include "exchange.h"

enum client_state { CLIENT_IDLE, CLIENT_HEAD, CLIENT_BODY, CLIENT_BUSY, CLIENT_LINGER, CLIENT_CLOSED };
struct client {
  struct sock sock;
  struct sink sink;
  struct worker *worker;
  struct client *next, **link, *next_dirty;
  struct exchange *exchange;
  struct exchange *lent;              /* the kernel receives into its body: pinned, also when it has ended */
  struct buf in;                      /* bytes not understood yet: a partial head, or pipelined requests */
  struct buf out, flying;             /* filled; being sent */
  size_t scanned;
  struct timer timer;
  uint64_t due_ms;                    /* when the timer means it */
  enum client_state state;
  bool fresh;                         /* nothing was understood yet: a PROXY header may come */
  bool dirty, pumping, minor0, keep_alive, chunked, ended, half_closed;
  struct http_body body;              /* decoder of the request body */
  size_t lingered;
  unsigned listener;                  /* number of the one it came in by */
  char ip[46];
};
struct client *client_open(struct worker *w, int fd, struct span ip);
void client_flush(struct client *c);
void client_close(struct client *c);
void client_refuse(struct client *c, int status, const char *message);   /* syntax errors: answer in JSON, then close */
void client_next(struct client *c);                      /* the exchange has ended: read on, or close */
void client_read_on(struct client *c);                   /* a streamed request body has room again */
void client_drain(struct client *c);

/* peer.c: whom a client is, where trusted_proxies stand before it. */
enum peer_start { PEER_MORE, PEER_PLAIN, PEER_TOLD, PEER_STRANGER, PEER_BROKEN };
/* The first bytes of a connection: may they be a PROXY header, are they none, was one read (*used, and c->ip is what it says), did
   it come from an address that may send none, is it broken? */
enum peer_start peer_header(struct client *c, struct span window, size_t *used);

#endif
