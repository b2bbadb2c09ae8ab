/* What a load has looked at, so that a change of it is noticed: files with their size and times, names
   that were not there, and the sets of names that patterns stood for. */
#include "load.h"
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <sys/stat.h>

struct watched {
  struct watched *next;
  struct span path;
  bool pattern;
  uint64_t seen;                      /* as it was before it was read */
};

static uint64_t file_state(const char *path) {
  struct stat st;
  uint64_t facts[5] = { 0 };
  if (!stat(path, &st)) {
    facts[0] = 1;
    facts[1] = st.st_ino;
    facts[2] = (uint64_t)st.st_size;
    facts[3] = (uint64_t)st.st_mtim.tv_sec;
    facts[4] = (uint64_t)st.st_mtim.tv_nsec;
  }
  return span_hash(span_of((const char *)facts, sizeof facts), 0);
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* glob tells of a folder that cannot be read by this alone. A missing one is a pattern that fits nothing. */
static _Thread_local int glob_error;
static int glob_stops(const char *path, int error) {
  (void)path;
  if (error == ENOENT || error == ENOTDIR) return 0;
  glob_error = error;
  return 1;
}

/* glob sorts by the locale; weir by bytes, so that the order is the same everywhere. */
struct span *glob_sorted(struct arena *a, struct span pattern, size_t *count, const char **why) {
  glob_t found = { 0 };
  *count = 0;
  *why = NULL;
  int result = glob(pattern.p, GLOB_NOSORT, glob_stops, &found);
  if (result == GLOB_ABORTED) *why = error_text(glob_error);
  else if (result == GLOB_NOSPACE) *why = error_text(ENOMEM);
  if (result) return globfree(&found), NULL;
  struct span *paths = arena_alloc(a, (found.gl_pathc + 1) * sizeof *paths);
  qsort(found.gl_pathv, found.gl_pathc, sizeof *found.gl_pathv, by_bytes);
  for (size_t i = 0; i < found.gl_pathc; i++) paths[(*count)++] = arena_copy(a, span_cstr(found.gl_pathv[i]));
  globfree(&found);
  return paths;
}

static uint64_t pattern_state(struct span pattern) {
  struct arena a = { 0 };
  size_t count;
  uint64_t h = 1;
  const char *why;
  struct span *paths = glob_sorted(&a, pattern, &count, &why);
  if (why) h = 2;
  for (size_t i = 0; i < count; i++) h = span_hash(paths[i], h);
  arena_end(&a);
  return h;
}

static uint64_t state_now(const struct watched *w) {
  return w->pattern ? pattern_state(w->path) : file_state(w->path.p);
}

static uint64_t mix(uint64_t h, uint64_t state) {
  h = span_hash(span_of((const char *)&state, sizeof state), h);
  return h ? h : 1;                   /* 0 means "as loaded" */
}

void watch_add(struct conf *c, struct span path, bool pattern) {
  struct watched **end = &c->watched;
  for (; *end; end = &(*end)->next)
    if ((*end)->pattern == pattern && span_eq((*end)->path, path)) return;
  struct watched *w = arena_zero(&c->arena, sizeof *w);
  w->path = arena_copy(&c->arena, path);
  w->pattern = pattern;
  w->seen = state_now(w);
  *end = w;
}

void watch_finish(struct conf *c) {
  c->fingerprint = 1;
  for (const struct watched *w = c->watched; w; w = w->next) c->fingerprint = mix(c->fingerprint, w->seen);
}

bool conf_files_changed(const struct conf *c, uint64_t *fingerprint) {
  uint64_t now = 1, before = *fingerprint ? *fingerprint : c->fingerprint;
  for (const struct watched *w = c->watched; w; w = w->next) now = mix(now, state_now(w));
  *fingerprint = now;
  return now != before;
}
