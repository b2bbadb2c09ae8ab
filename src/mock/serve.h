/* serve.h: one mock on a loop. */
#ifndef WEIR_MOCK_SERVE_H
#define WEIR_MOCK_SERVE_H

#include <stdio.h>
#include "mock.h"

#define container(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

struct peer;
struct mock {
  struct loop *loop;
  int fd;                             /* listening */
  struct op accept;
  struct peer *peers;
  const char *play_folder;            /* recordings that `play=` may name; NULL: none */
  struct span script, script_at;
  const char *aws_id, *aws_secret;    /* what Bedrock's requests must be signed with; NULL: signatures are not looked at */
  FILE *record;                       /* requests as they came, for tests; NULL: off */
  unsigned long requests, cancelled;
  unsigned open;
};
void mock_serve(struct mock *m);
void feed_peer(struct peer *p);
void sse_line(struct buf *b, struct span name, struct span data);

#endif
