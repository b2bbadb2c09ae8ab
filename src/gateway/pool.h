/* pool.h: connections to providers: found or made, lent, kept, closed. */
#ifndef WEIR_GATEWAY_POOL_H
#define WEIR_GATEWAY_POOL_H

#include "gateway.h"

enum upstream_state {
  UP_RESOLVING, UP_CONNECTING, UP_TUNNEL, UP_SHAKING, UP_IDLE, UP_BUSY, UP_FAILED, UP_CLOSED,
  UP_WAITING,                         /* for a loan of another worker, or for its turn to be made */
  UP_LENDING,                         /* parts from its loop, to go to another worker */
};
struct upstream {
  struct sock sock;
  struct pool *pool;
  struct call *call;                  /* NULL: idle, or being warmed */
  struct upstream *next, **link;      /* in pool->idle; next alone in pool->waiting */
  struct loan *loan;                  /* UP_WAITING, UP_LENDING; NULL: none */
  struct upstream *next_dirty, *all_next, **all_link;
  enum upstream_state state;
  bool dirty, junk;                   /* junk: bytes came that nobody asked for: never reused */
  bool behind;                        /* more records stand behind the bytes being delivered */
  bool shake_running;
  bool queued, opening;               /* in pool->waiting; counted in pool->opening */
  bool warming;                       /* made ahead of its use */
  unsigned uses;
  struct buf in;                      /* TLS: bytes that are no whole record yet */
  struct buf plain;                   /* a response head that is not whole yet */
  size_t scanned;
  struct buf out, flying;             /* filled; being sent */
  struct iovec parts[SEND_PARTS - 1]; /* large body, lent by the call, sent after out */
  int part_count;
  void (*unpin)(void *arg);           /* runs when the kernel no longer reads the lent parts */
  void *unpin_arg;
  struct tls *tls;
  struct making *making;              /* making.h; NULL once it stands */
  struct timer timer;
  uint64_t idle_since_ms;
};
struct pool {
  struct worker *worker;
  struct span key;                    /* owned */
  char *host, *tls_name, *name;       /* owned; name "host:port" for metrics */
  char *via, *dial;                   /* owned; the proxy as "host:port", NULL: none; the host that is connected to */
  struct secret *proxy_auth;          /* a reference; the header line for the proxy, or NULL */
  uint16_t port, dial_port;
  bool tls;
  struct tls_trust *trust;
  struct upstream *idle;              /* newest first */
  struct upstream *all;
  unsigned idle_count, busy_count;    /* atomic: other workers look */
  struct siblings *siblings;          /* the pools of all workers to this endpoint */
  struct upstream *waiting, **waiting_last;    /* for their turn, oldest first */
  unsigned opening;                   /* connections that are being made */
  bool warming;                       /* one is made ahead */
  unsigned warm_failed;               /* in a row */
  uint64_t warm_from_ms;              /* no earlier: the last one failed */
  struct timer warm_timer;
  int64_t *idle_gauge, *busy_gauge;   /* the shard's */
  double idle_s;
  unsigned warm;                      /* idle ones to have, over all workers */
  struct tls_session session;
  uint64_t used_ms;
};
/* The worker's pool for an endpoint; clocks are those of the newest configuration that asked. */
struct pool *pool_of(struct worker *w, const struct endpoint *e, const struct conf *c, const struct provider *p);
struct pool *pool_for_url(struct worker *w, const struct url *u, const struct proxy *via, struct tls_trust *trust, struct arena *scratch);
/* Over a proxy and without TLS a request names its target whole ("GET http://host/path") and bears the proxy's credentials. */
static inline bool pool_absolute(const struct pool *p) { return p->via && !p->tls; }
void pool_close(struct pool *p);                         /* closes every connection; the pool may go when `all` is empty */
void pool_free(struct pool *p);
/* A connection for the call, an idle one unless fresh. Answers by call_connected (may be inside this call) or
   call_connect_failed (never inside). */
void pool_lease(struct pool *p, struct call *c, bool fresh);
/* Sends head bytes (copied) and parts (lent until unpin, or until the call lets the connection go). */
void upstream_send(struct upstream *u, struct span bytes, const struct iovec *parts, int count);
size_t upstream_waiting(const struct upstream *u);
void upstream_flush(struct upstream *u);
void upstream_read(struct upstream *u, bool soon);
void upstream_idle(struct upstream *u);                  /* back to its pool */
void upstream_close(struct upstream *u);                 /* from its call too: no callback follows */
/* Between pool.c, connect.c, upstream.c and tunnel.c: */
void upstream_ready(struct upstream *u);                 /* it stands: to its call, or among the idle */
void upstream_free(struct upstream *u);                  /* closed, and no handshake of it runs */
void upstream_fail(struct upstream *u, enum fault f, const char *why);   /* before its request was sent; the call hears of it later */
void upstream_shake(struct upstream *u, struct span in); /* the way to the provider stands: TLS, with what came already */
void shake_bytes(struct upstream *u, struct span data);  /* of the handshake */
void tunnel_request(struct buf *out, struct span host, uint16_t port, const struct secret *auth);   /* CONNECT; auth may be NULL */
void tunnel_start(struct upstream *u);                   /* the proxy is connected */
void tunnel_bytes(struct upstream *u, struct span data);
void tunnel_ended(struct upstream *u);
void upstream_open(struct upstream *u);                  /* lend.c: at once, or when its turn comes */
void upstream_resolve(struct upstream *u);               /* its turn has come */
void upstream_serve(struct upstream *u, struct call *c); /* one that is unlisted, or was adopted */
void upstream_warm(struct pool *p);
void pool_let_one_go(struct worker *w);                  /* lend.c: descriptors are short: the oldest idle connection closes */
/* lend.c: between the pools of all workers to one endpoint */
void siblings_join(struct pool *p);
void siblings_leave(struct pool *p);
bool lend_ask(struct upstream *u);                       /* false: nobody has an idle one */
void lend_parted(struct upstream *u, int result);        /* UP_LENDING: its read has ended */
void lend_broken(struct upstream *u);                    /* UP_LENDING: it is being closed */
void lend_forget(struct upstream *u);                    /* it waits for its loan no longer */
void turn_leave(struct upstream *u);                     /* it waits for its turn no longer */
void turn_over(struct upstream *u);                      /* it stands, or never will: the next one's turn */
struct upstream *turn_for_any(const struct pool *p);     /* waits longest, and may have a connection that was used before */
void keep_warm(struct pool *p);
void warm_over(struct upstream *u, bool well);
/* and what it needs of pool.c: out of the idle list; off this thread; into a pool of this one */
void upstream_unlist(struct upstream *u);
void upstream_part(struct upstream *u);
void upstream_adopt(struct pool *p, struct upstream *u);
void upstream_discard(struct upstream *u);               /* adopted, but no loop turns any more */

#endif
