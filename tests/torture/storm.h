/* storm.h: the whole gateway on the simulated loop among clients and providers that misbehave, all of it from one seed.

   Glossary
     asked    one request of a client, known by its id, which weir keeps
     story    what a provider means to answer to it, and how much of that a client may see
     fate     how the bytes of an answer end: well, closed, reset, or never */
#ifndef STORM_H
#define STORM_H

#include "../../src/cmd/scene.h"

enum { MOST_ASKED = 64, CONNECTIONS = 128, PROVIDERS = 4, FIRST_PORT = 20000, JUDGE = 3 };

enum speech { SPEECH_CHAT, SPEECH_RESPONSES, SPEECH_MESSAGES, SPEECH_RAW };
struct story {
  struct story *next;
  struct buf body;                    /* as planned; what was sent may be less */
  size_t limit;                       /* a client sees no more than this */
  bool stream, legal;                 /* legal: all of it is an answer that needs no ending of weir's */
  bool open_end;                      /* its end is the connection's: a cut cannot be told from it */
  int status;
};
struct asked {
  char id[24];
  enum speech speech;
  bool stream, answers;               /* answers: the policy itself does */
  bool answered;                      /* a whole response came */
  unsigned ended;
  struct story *stories;
};

struct storm {
  uint64_t seed, random, hunger;       /* hunger: chance of the allocator */
  struct scene *scene;
  struct loop *loop;
  struct arena arena;
  struct asked asked[MOST_ASKED];
  unsigned asked_count;
  bool starving, draining;            /* allocations fail; the worker takes no more */
  struct peer *providers;
  struct visitor *visitors;
  struct timer timer;
  uint64_t due_ms;                    /* of the next look, set again at each */
  struct { unsigned requests, answers, streams, cut, errors, left; } seen;
};

uint64_t chance(struct storm *s, uint64_t below);
static inline bool one_in(struct storm *s, uint64_t n) { return chance(s, n) == 0; }
_Noreturn void storm_fail(struct storm *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void storm_wake(struct storm *s, uint64_t due_ms);       /* a look at that time or earlier */

/* provider.c */
void providers_open(struct storm *s);
void providers_look(struct storm *s);
void providers_close(struct storm *s);

/* visitor.c: the clients */
void visitor_come(struct storm *s);
bool visitors_look(struct storm *s);                     /* true while one is there */
void visitors_close(struct storm *s);

/* judge.c: what a client got, against the stories. whole: the framing says it is all of it. left: the client itself went away. */
void judge_answer(struct storm *s, struct asked *a, const struct http_head *head, struct span body, bool whole, bool left);

#endif
