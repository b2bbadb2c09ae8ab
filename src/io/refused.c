#include "refused.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

static _Thread_local char text[320];

/* The sysctl's value, or -1 where the kernel has none (before 6.6). */
static int sysctl_disabled(void) {
  char digits[16] = "";
  int fd = open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t n = read(fd, digits, sizeof digits - 1);
  close(fd);
  return n > 0 ? atoi(digits) : -1;
}

static const char *running(void) {
  static _Thread_local struct utsname u;
  return uname(&u) == 0 ? u.release : "an unknown kernel";
}

static void tell_permission(void) {
  int disabled = sysctl_disabled();
  if (disabled == 2 || (disabled == 1 && geteuid() != 0))
    snprintf(text, sizeof text,
             "io_uring disabled by sysctl kernel.io_uring_disabled=%d; set 0, or 1 and put weir's group in "
             "kernel.io_uring_group", disabled);
  else
    snprintf(text, sizeof text,
             "io_uring blocked by seccomp (a container's default profile, or a unit's SystemCallFilter): use the "
             "shipped profile weir-seccomp.json, or allow io_uring_setup io_uring_enter io_uring_register");
}

static void tell_memory(size_t need) {
  struct rlimit lock = { 0 };
  getrlimit(RLIMIT_MEMLOCK, &lock);
  if (lock.rlim_cur == RLIM_INFINITY || geteuid() == 0)
    snprintf(text, sizeof text, "io_uring: the kernel is out of memory for a ring of %zu KiB", need / 1024);
  else
    snprintf(text, sizeof text,
             "RLIMIT_MEMLOCK is %llu KiB per user, a worker's ring needs %zu KiB: raise it, in a unit with "
             "LimitMEMLOCK=64M", (unsigned long long)lock.rlim_cur / 1024, need / 1024);
}

const char *refused_text(const char *step, int error, size_t need) {
  struct rlimit files = { 0 };
  switch (error) {
  case EPERM: case EACCES: tell_permission(); break;
  case ENOSYS: case EINVAL:
    snprintf(text, sizeof text, "io_uring (%s: %s): weir needs Linux >= 6.1 with CONFIG_IO_URING; running %s", step,
             strerror(error), running());
    break;
  case ENOMEM: tell_memory(need); break;
  case EMFILE: case ENFILE:
    getrlimit(RLIMIT_NOFILE, &files);
    snprintf(text, sizeof text, "io_uring: out of file descriptors, RLIMIT_NOFILE is %llu: raise it, in a unit with "
             "LimitNOFILE=", (unsigned long long)files.rlim_cur);
    break;
  default: snprintf(text, sizeof text, "io_uring (%s): %s", step, strerror(error));
  }
  return text;
}

const char *refused_missing(const char *what) {
  snprintf(text, sizeof text, "io_uring here lacks %s: weir needs Linux >= 6.1; running %s", what, running());
  return text;
}
