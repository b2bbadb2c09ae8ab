/* compare.h: weir compare: the same call direct and through weir, in pairs.
     compare.c         words of the command, what is sent, the pairs
     compare_call.c    one call on one connection, with its times
     compare_tell.c    percentiles, differences, the report */
#ifndef WEIR_COMPARE_H
#define WEIR_COMPARE_H

#include "link.h"
#include "weir/dialect.h"
#include "weir/http.h"

/* One side of the comparison: a connection, and where it leads. Each lane has its own two. */
struct side {
  const struct link_to *to;
  struct link link;
  double connect_s, tls_s;
  bool opened;                        /* a connection stands */
};

/* One answer. Times in ms from the request's first byte; < 0: did not happen. */
struct answer {
  double head_ms, first_ms, total_ms;
  int status;                         /* 0: none came */
  struct http_head *head;             /* in the arena given */
  struct buf body;                    /* decoded */
  char why[192];                      /* empty: good */
};
/* Sends the request, reads the answer. A connection that went stale is made anew once, and the clock begins again. */
void compare_call(struct side *s, struct span request, const struct operation_info *o, struct arena *a, struct answer *out);

/* What is kept of a pair. */
enum { SIDE_DIRECT, SIDE_THROUGH, SIDES };
struct pair {
  struct { double head_ms, first_ms, total_ms; } side[SIDES];
  bool good;
  bool same;                          /* the bodies are equal */
  size_t differs_at;                  /* first byte that is not */
  char why[224];                      /* of a pair that failed */
};
/* The place of the first differing byte; false when there is none. */
bool bodies_differ(struct span a, struct span b, size_t *at);

/* What differs between two heads: "x-foo: only direct", a line each, into *out. Those that weir promises to add or to rename, framing
   and those that `again` (a second direct answer) shows to change by themselves are left out. */
void heads_differ(const struct http_head *direct, const struct http_head *again, const struct http_head *through, struct buf *out);

struct findings {
  const char *model, *through;
  struct span url;                    /* of the provider */
  const struct pair *pairs;
  size_t count, files;
  unsigned lanes;
  bool stream;
  double connect_ms[SIDES], tls_ms[SIDES];
  int cpu_pid;                        /* 0: not known, see cpu_why */
  double cpu_us;                      /* per request through weir */
  const char *cpu_why;
  bool direct_differs;                /* two direct answers were not equal either */
  size_t direct_differs_at;
  struct span headers;                /* of heads_differ */
};
/* Both give the number of pairs that failed. */
size_t findings_print(const struct findings *f);
size_t findings_json(const struct findings *f);

#endif
