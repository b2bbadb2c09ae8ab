/* open.c: which loop. */
#include <stdio.h>
#include "epoll.h"
#include "ring.h"

bool loop_kind_read(struct span word, enum loop_kind *out) {
  static const struct { const char *word; enum loop_kind kind; } words[] = {
    { "auto", LOOP_ANY }, { "uring", LOOP_URING }, { "epoll", LOOP_EPOLL },
  };
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (span_eq(word, span_cstr(words[i].word))) return *out = words[i].kind, true;
  return false;
}

struct loop *loop_new(enum loop_kind kind, const struct ring_options *o, const char **why) {
  char reason[360];
  if (kind == LOOP_EPOLL) return epoll_new(o, "as asked", why);
  struct loop *l = ring_new(o, why);
  if (l || kind == LOOP_URING) return l;
  snprintf(reason, sizeof reason, "since %s", *why);
  return epoll_new(o, reason, why);
}

bool loop_substitute(const struct loop *l) {
  const char *text = epoll_description(l);
  return text && strstr(text, "since ");
}

const char *loop_description(const struct loop *l) {
  const char *text = ring_description(l);
  if (!text) text = epoll_description(l);
  return text ? text : "simulation";
}
