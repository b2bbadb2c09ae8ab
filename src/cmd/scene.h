/* scene.h: the whole gateway in one thread on a simulated loop, with scripted providers: for policy tests and fuzzing. Time
   passes only when everybody waits.

     s = scene_new(config text, folder that holds policies/, seed, &errors)
     scene_serve(s, port, answer, arg)          what listens there
     scene_ask(s, request bytes, &answer)       a client's request; runs until it is answered */
#ifndef WEIR_SCENE_H
#define WEIR_SCENE_H

#include "../gateway/gateway.h"

struct scene;
struct scene *scene_new(struct span weir_lua, const char *policies, uint64_t seed, struct buf *errors);
void scene_free(struct scene *s);
struct worker *scene_worker(struct scene *s);
struct loop *scene_loop(struct scene *s);

/* What a scripted peer does with one request. */
struct scene_reply {
  enum { REPLY_BYTES, REPLY_SILENCE, REPLY_RESET } kind;
  struct buf bytes;                   /* raw HTTP response, taken over */
  double delay;                       /* seconds before it */
  struct scene_part { double after; struct buf bytes; } *parts;          /* further bytes, each so long behind the one before; taken over */
  size_t part_count;
  bool close;                         /* ends the connection behind it */
  bool reset;                         /* breaks it off */
};
struct scene_part *scene_part(struct scene_reply *r, double after);      /* one more, empty, good until the next */
typedef void scene_answer_fn(void *arg, const struct http_head *head, struct span body, struct scene_reply *out);
void scene_serve(struct scene *s, uint16_t port, scene_answer_fn *answer, void *arg);

struct scene_answer {
  bool complete;                      /* a whole, well-framed response came */
  bool closed;                        /* the connection ended */
  bool broken;                        /* what came is no HTTP response */
  int status;
  struct http_head *head;             /* in the arena */
  struct span body;                   /* decoded */
  struct scene_piece { double at; size_t upto; } *pieces;                /* seconds after the request, by which so much of the body was there */
  size_t piece_count;
};
/* One request on a connection of its own; the answer lies in the arena. Gives up after an hour of the simulation's time. */
void scene_ask(struct scene *s, struct span request, struct arena *a, struct scene_answer *out);
void scene_advance(struct scene *s, double seconds);
void scene_turn(struct scene *s);
/* The same files read again, as a reload does; running exchanges keep what they began with. */
bool scene_reload(struct scene *s, struct buf *errors);

#endif
