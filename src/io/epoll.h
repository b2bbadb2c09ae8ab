/* epoll.h: the loop over epoll. */
#ifndef WEIR_IO_EPOLL_H
#define WEIR_IO_EPOLL_H

#include "weir/io.h"

/* Of the options only buffer_size means something here. `reason`: why this loop was taken, for its description. NULL and
   *why (thread-local text) on failure. */
struct loop *epoll_new(const struct ring_options *o, const char *reason, const char **why);
const char *epoll_description(const struct loop *l);    /* NULL: another loop */

#endif
