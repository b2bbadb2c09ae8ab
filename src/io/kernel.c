#include "kernel.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <time.h>
#include <unistd.h>
#include "weir/log.h"

static int failed_with(int error) {
  static uint8_t told[512];
  if (error > 0 && error < (int)sizeof told && !__atomic_exchange_n(&told[error], 1, __ATOMIC_RELAXED))
    log_warn("a socket operation failed: %s (errno %d); told once per errno", strerror(error), error);
  return IO_FAILED;
}

/* The one place where errno becomes weir's words. */
int kernel_result(int error) {
  switch (error) {
  case ECONNRESET: case EPIPE: case ECONNABORTED: return IO_RESET;
  case ECONNREFUSED: case ENOENT: return IO_REFUSED;       /* ENOENT: the path of a Unix socket */
  case EHOSTUNREACH: case ENETUNREACH: case ENETDOWN: case EHOSTDOWN: case EADDRNOTAVAIL: return IO_UNREACHABLE;
  case ETIMEDOUT: return IO_TIMED_OUT;
  case ECANCELED: return IO_CANCELLED;
  case EMFILE: case ENFILE: return IO_NO_DESCRIPTORS;
  case ENOMEM: case ENOBUFS: return IO_NO_MEMORY;
  default: return failed_with(error);
  }
}

bool kernel_accept_transient(int error) {
  return error == ECONNABORTED || error == EPROTO || error == EINTR || error == EAGAIN || error == ENETDOWN;
}

uint64_t kernel_clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void kernel_shrink(int fd) {
  int bytes = SOCKET_BYTES;                        /* the kernel makes that its own least */
  if (TORTURED) (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

void kernel_nodelay(int fd) {
  int one = 1;
  (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

int kernel_socket(int family, int flags) {
  int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
  if (fd < 0) return kernel_result(errno);
  kernel_shrink(fd);
  kernel_nodelay(fd);
  return fd;
}

void kernel_wake(int event_fd) {
  uint64_t one = 1;
  while (write(event_fd, &one, sizeof one) < 0 && errno == EINTR) {}
}

void send_advance(struct op_send *s, size_t n) {
  s->way->sent += n;
  while (s->way->msg.msg_iovlen && n >= s->way->msg.msg_iov->iov_len) {
    n -= s->way->msg.msg_iov->iov_len;
    s->way->msg.msg_iov++;
    s->way->msg.msg_iovlen--;
  }
  if (!s->way->msg.msg_iovlen) return;
  s->way->msg.msg_iov->iov_base = (char *)s->way->msg.msg_iov->iov_base + n;
  s->way->msg.msg_iov->iov_len -= n;
}
