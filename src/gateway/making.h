/* making.h: what making a connection takes, and a connection that stands needs no more. Between pool.c, connect.c, lend.c and tunnel.c. */
#ifndef WEIR_GATEWAY_MAKING_H
#define WEIR_GATEWAY_MAKING_H

#include "pool.h"

struct making {
  struct upstream *upstream;
  struct tls_job job;
  struct message shaken;
  struct resolve_wait *resolving;
  struct address *addresses;          /* while connecting */
  int address_count, address_at;
  uint64_t phase_due_ms;              /* all addresses together; then the handshake */
  bool timed_out;
  enum fault fail;                    /* UP_FAILED: told to the call by the timer */
  char why[160];
};
void connect_forget(struct making *m);                    /* its name is not wanted any more */

#endif
