/* file.c: one key, one file: keys/NAME.lua. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "weir/keys.h"

static bool failed(struct arena *a, const char **why, struct span path) {
  const char *text = strerrordesc_np(errno);
  *why = arena_printf(a, "%.*s: %s", SPAN_FMT(path), text ? text : "unknown error").p;
  return false;
}

struct span key_file_path(struct span folder, struct span name, struct arena *a) {
  return arena_printf(a, "%.*s/%.*s.lua", SPAN_FMT(folder), SPAN_FMT(name));
}

/* The weir that serves often runs as a user of its own, who reads its files through their group: what an operator
   makes gets the group of the folder that it stands in. Where that may not be set, the modes stand alone. */
static void group_set(int fd, gid_t group) {
  if (fchown(fd, (uid_t)-1, group)) return;
}

/* A descriptor of the folder, which is made when it is missing; -1. */
static int folder_open(struct span folder, struct arena *a, const char **why) {
  struct stat above;
  struct span parent = arena_printf(a, "%.*s/..", SPAN_FMT(folder));
  const char *path = arena_cstr(a, folder);
  bool made = !mkdir(path, 0750);
  if (!made && errno != EEXIST) return failed(a, why, folder), -1;
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return failed(a, why, folder), -1;
  if (made && !fchmod(fd, 0750) && !stat(parent.p, &above)) group_set(fd, above.st_gid);
  return fd;
}

static bool text_write(int fd, struct span text) {
  while (text.n) {
    ssize_t n = write(fd, text.p, text.n);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    text = span_from(text, (size_t)n);
  }
  return true;
}

/* Puts the finished file in its place. A plain rename would silently take the place of a key that was minted meanwhile. */
static bool put(const char *temporary, const char *path, bool replace) {
  if (!replace && !renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE)) return true;
  if (!replace && errno != EINVAL && errno != ENOSYS) return false;
  if (!replace && !access(path, F_OK)) return errno = EEXIST, false;    /* a file system without that flag */
  return !rename(temporary, path);
}

bool key_file_write(struct span folder, struct span name, struct span text, bool replace, struct arena *a,
                    const char **why, bool *taken) {
  struct stat st;
  struct span path = key_file_path(folder, name, a);
  char *temporary = arena_cstr(a, arena_printf(a, "%.*s/.%.*s.XXXXXX", SPAN_FMT(folder), SPAN_FMT(name)));
  *taken = false;
  int folder_fd = folder_open(folder, a, why);
  if (folder_fd < 0) return false;
  int fd = mkostemp(temporary, O_CLOEXEC);
  bool good = fd >= 0;
  if (good && !fstat(folder_fd, &st)) group_set(fd, st.st_gid);
  good = good && text_write(fd, text) && !fchmod(fd, 0640) && !fsync(fd) && put(temporary, path.p, replace);
  int error = errno;
  if (fd >= 0) close(fd);
  if (fd >= 0 && !good) unlink(temporary);
  if (good) fsync(folder_fd);
  close(folder_fd);
  errno = error;
  *taken = !good && error == EEXIST;
  return good || failed(a, why, path);
}

bool key_file_remove(struct span folder, struct span name, struct arena *a, const char **why) {
  struct span path = key_file_path(folder, name, a);
  int fd = open(arena_cstr(a, folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bool good = !unlink(path.p);
  if (!good) failed(a, why, path);
  if (fd >= 0) fsync(fd), close(fd);
  return good;
}
