/* link.h: one connection to a server, used by commands that call somebody themselves. It blocks: what a command measures is not
   mixed with other work on its thread, and it works where io_uring is refused.

     names = names_open(&why)                 asks as weir does: hosts file, name servers
     names_find(names, host, port, …)
     link_open(&k, …)                         connects, shakes hands
     link_send, link_read …
     link_close(&k) */
#ifndef WEIR_LINK_H
#define WEIR_LINK_H

#include "weir/conf.h"
#include "weir/io.h"
#include "weir/tls.h"
#include "weir/url.h"

/* Where a server is: its addresses, and what TLS needs to know. */
struct link_to {
  struct address addresses[RESOLVE_MOST];
  int count;
  struct tls_trust *trust;            /* NULL: no TLS; borrowed */
  struct span tls_name;
  const struct proxy *via;            /* NULL: none; else the addresses are its own, and TLS goes through a tunnel to `url` */
  const struct url *url;
};

struct names;
struct names *names_open(const char **why);
void names_close(struct names *n);    /* NULL is fine */
/* The addresses to connect to for an endpoint: its own, or its proxy's. */
bool names_find_endpoint(struct names *n, const struct endpoint *e, struct link_to *out, char *why, size_t why_size);
/* n may be NULL: literal addresses alone. false and the reason in `why`. */
bool names_find(struct names *n, struct span host, uint16_t port, struct link_to *out, char *why, size_t why_size);

struct link {
  int fd;                             /* -1: closed */
  struct tls *tls;
  struct buf in;                      /* TLS: records that came; the first `used` bytes of it were handed out */
  size_t used;
  double connect_ms, tls_ms;          /* how long opening took */
  double wait_s;                      /* for each read and write */
  char why[160];                      /* of the last failure */
};
/* Zeroed, then opened. false: *why says it; nothing is left open. */
bool link_open(struct link *k, const struct link_to *to, double connect_s, double tls_s);
bool link_send(struct link *k, struct span bytes);
/* More bytes, lent until the next call. 1: *out holds some; 0: the peer ended well; -1: failed. */
int link_read(struct link *k, struct span *out);
void link_close(struct link *k);
uint64_t link_now_ns(void);

#endif
