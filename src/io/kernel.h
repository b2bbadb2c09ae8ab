/* kernel.h: what the two loops on the kernel share: its words for failures, its clock, its sockets. */
#ifndef WEIR_IO_KERNEL_H
#define WEIR_IO_KERNEL_H

#include "weir/io.h"

/* A build with -DWEIR_TORTURE: queues and buffers so small that each turn overflows them, every second loop as on an old
   kernel, with sends cut to a few bytes. Nothing of it is in other builds. */
#ifdef WEIR_TORTURE
enum { TORTURED = 1, ENTRIES = 4, LEAST_ENTRIES = 4, BUFFERS = 3, BUFFER_SIZE = 7, MOST_READ = 7, MOST_SENT = 11, SOCKET_BYTES = 1 };
#else
enum { TORTURED = 0, ENTRIES = 1024, LEAST_ENTRIES = 256, BUFFERS = 128, BUFFER_SIZE = 16384, MOST_READ = 1 << 30, MOST_SENT = 1 << 30, SOCKET_BYTES = 0 };
#endif
#define LONGEST_WAIT_MS (3600u * 1000)

int kernel_result(int error);                      /* errno to an io_result */
bool kernel_accept_transient(int error);           /* a connection that died in the queue says nothing about the listener */
uint64_t kernel_clock_ns(void);
void kernel_shrink(int fd);                        /* where TORTURED */
void kernel_nodelay(int fd);                       /* accepted sockets inherit it from their listener, which saves a call for each */
int kernel_socket(int family, int flags);          /* < 0: io_result */
void kernel_wake(int event_fd);                    /* from any thread */
/* Takes n bytes off the front of what is not sent yet. */
void send_advance(struct op_send *s, size_t n);

#endif
