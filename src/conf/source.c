/* Files are read once per load, so that every Lua state of a generation is built from the same bytes. */
#include "load.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LARGEST_SOURCE = 16 << 20 };

struct span path_folder(struct span path) {
  size_t n = path.n;
  while (n && path.p[n - 1] != '/') n--;
  if (!n) return SPAN(".");
  return span_of(path.p, n > 1 ? n - 1 : 1);
}

struct span path_join(struct arena *a, struct span folder, struct span path) {
  if ((path.n && path.p[0] == '/') || !folder.n || span_eq(folder, SPAN("."))) return arena_copy(a, path);
  bool slash = folder.p[folder.n - 1] == '/';
  return arena_printf(a, "%.*s%s%.*s", SPAN_FMT(folder), slash ? "" : "/", SPAN_FMT(path));
}

const char *error_text(int number) {
  const char *text = strerrordesc_np(number);
  return text ? text : "unknown error";
}

static const char *descriptor_read(int fd, struct arena *a, struct span *out) {
  struct stat st;
  if (fstat(fd, &st)) return error_text(errno);
  if (!S_ISREG(st.st_mode)) return "it is no regular file";
  if (st.st_size > LARGEST_SOURCE) return "it is larger than 16 MB";
  size_t size = (size_t)st.st_size, have = 0;
  char *p = arena_alloc(a, size + 1);
  while (have < size) {
    ssize_t n = read(fd, p + have, size - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error_text(errno);
    if (!n) break;
    have += (size_t)n;
  }
  p[have] = 0;
  *out = span_of(p, have);
  return NULL;
}

/* path: as the process sees it. */
const struct source *sources_read_at(struct sources *s, struct span whole, const char **why) {
  struct span bytes;
  struct source **end = &s->list;
  for (; *end; end = &(*end)->next)
    if (span_eq((*end)->path, whole)) return *end;
  int fd = open(whole.p, O_RDONLY | O_CLOEXEC | O_NONBLOCK);         /* a FIFO must not hold the load */
  if (fd < 0) return *why = error_text(errno), NULL;
  *why = descriptor_read(fd, &s->arena, &bytes);
  close(fd);
  if (*why) return NULL;
  struct source *source = arena_zero(&s->arena, sizeof *source);
  source->path = arena_copy(&s->arena, whole);
  source->bytes = bytes;
  return *end = source;
}

const struct source *sources_read(struct sources *s, struct span path, const char **why) {
  return sources_read_at(s, path_join(&s->arena, s->folder, path), why);
}

/* "guard", "team/guard": segments that do not start with a dot. */
static bool policy_name_ok(struct span name) {
  if (!name.n || name.n > 200 || name.p[name.n - 1] == '/') return false;
  for (size_t i = 0; i < name.n; i++) {
    bool first = !i || name.p[i - 1] == '/';
    if (name.p[i] == '/' ? first : !name_char(name.p[i]) || (first && name.p[i] == '.')) return false;
  }
  return true;
}

static struct span beside_binary(struct arena *a) {
  char path[PATH_MAX];
  ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
  if (n <= 0) return span_of(NULL, 0);
  struct span folder = path_folder(path_folder(span_of(path, (size_t)n)));
  return path_join(a, folder, SPAN("policies"));
}

size_t policy_folders(struct sources *s, struct span out[4]) {
  size_t n = 0;
  char absolute[PATH_MAX];
  const char *given = getenv("WEIR_POLICIES");
  if (s->folder.n) out[n++] = path_join(&s->arena, s->folder, SPAN("policies"));
  if (given && *given && realpath(given, absolute)) out[n++] = arena_copy(&s->arena, span_cstr(absolute));
  out[n++] = SPAN("/usr/share/weir/policies");
  struct span binary = beside_binary(&s->arena);
  if (binary.n) out[n++] = binary;
  return n;
}

/* Found by the file's being there: one that is there and cannot be read is an error, not a reason to
   take another folder's. */
const struct source *sources_policy(struct sources *s, struct span name, const char **why) {
  struct span folders[4];
  if (!policy_name_ok(name)) return *why = "it is no name of a policy", NULL;
  struct span file = arena_printf(&s->arena, "%.*s.lua", SPAN_FMT(name));
  size_t count = policy_folders(s, folders);
  for (size_t i = 0; i < count; i++) {
    struct span path = path_join(&s->arena, folders[i], file);
    if (!access(path.p, F_OK)) return sources_read_at(s, path, why);
  }
  *why = "it is not in policies/ beside weir.lua, nor among the shipped ones";
  return NULL;
}
