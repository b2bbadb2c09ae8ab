/* sources.c: the files that a generation was made of, under their hash: generations/HASH/weir.lua, …/policies/x.lua. So `weir why` can
   read the very configuration that a decision was made with. */
#include "room.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool name_good(struct span name) {
  if (!name.n || name.p[0] == '/' || memchr(name.p, 0, name.n)) return false;
  while (name.n) {
    struct span part;
    name = span_cut(name, '/', &part);
    if (!part.n || span_eq(part, SPAN("..")) || span_eq(part, SPAN("."))) return false;
  }
  return true;
}

static bool write_file(const char *path, struct span bytes) {
  char *folder = mem_cstr(span_cstr(path));
  *strrchr(folder, '/') = 0;
  bool good = folders_make(folder);
  mem_free(folder);
  int fd = good ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
  if (fd < 0) return false;
  while (bytes.n) {
    ssize_t n = write(fd, bytes.p, bytes.n);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    bytes = span_from(bytes, (size_t)n);
  }
  return close(fd) == 0 && !bytes.n;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
  (void)st, (void)kind, (void)at;
  return remove(path);
}

static void remove_tree(const char *path) { nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

/* Those used longest ago go; what a process left half written goes too. */
static void drop_oldest(const char *folder) {
  for (;;) {
    char path[4096], oldest[4096] = "";
    struct stat st;
    struct timespec first = { 0 };
    size_t count = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
      if (e->d_name[0] == '.') continue;
      if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, e->d_name) >= sizeof path || stat(path, &st)) continue;
      count++;
      bool older = !oldest[0] || st.st_mtim.tv_sec < first.tv_sec || (st.st_mtim.tv_sec == first.tv_sec && st.st_mtim.tv_nsec < first.tv_nsec);
      if (!older) continue;
      first = st.st_mtim;
      memcpy(oldest, path, sizeof path);
    }
    if (d) closedir(d);
    if (count <= LEDGER_GENERATIONS) return;
    remove_tree(oldest);
  }
}

/* Made beside its place and moved there: it is whole or not there. */
bool kept_write(const char *dir, const char *hash, const struct ledger_source *sources, size_t count) {
  char folder[2048], place[2200], half[2200], path[4096];
  if ((size_t)snprintf(folder, sizeof folder, "%s/generations", dir) >= sizeof folder || !name_good(span_cstr(hash)) || strchr(hash, '/') || !folders_make(folder)) return false;
  snprintf(place, sizeof place, "%s/%s", folder, hash);
  snprintf(half, sizeof half, "%s/.%s.new", folder, hash);
  if (!utimensat(AT_FDCWD, place, NULL, 0)) return true;
  remove_tree(half);
  bool good = folders_make(half);
  for (size_t i = 0; good && i < count; i++) {
    good = name_good(sources[i].name) && (size_t)snprintf(path, sizeof path, "%s/%.*s", half, SPAN_FMT(sources[i].name)) < sizeof path &&
      write_file(path, sources[i].bytes);
  }
  good = good && !rename(half, place);
  if (!good) remove_tree(half);
  drop_oldest(folder);
  return good;
}
