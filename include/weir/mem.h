/* mem.h: the one door to the allocator, arenas and growing buffers.
   Running out of memory in mem_alloc ends the process; what a peer can make large goes through
   mem_try and is refused politely. */
#ifndef WEIR_MEM_H
#define WEIR_MEM_H

#include <stdarg.h>
#include "weir/span.h"

void *mem_alloc(size_t n);            /* never NULL */
void *mem_zero(size_t n);             /* never NULL, zeroed */
void *mem_try(size_t n);              /* may be NULL */
void *mem_grow(void *p, size_t n);    /* realloc, never NULL */
void mem_free(void *p);
char *mem_cstr(struct span s);        /* owned copy, NUL at the end */

/* What the process holds, by kind: arenas and bufs are counted by themselves, the rest by who owns it. Each thread gathers its changes,
   so that a sum is off by up to 32 KB for each of them. */
enum mem_kind { MEM_ARENAS, MEM_BUFFERS, MEM_HELD, MEM_TLS, MEM_KINDS };      /* MEM_HELD: stream events that policies hold back */
void mem_note(enum mem_kind k, int64_t change);
void mem_settle(void);                /* what this thread has gathered is added now */
int64_t mem_held(enum mem_kind k);

/* An arena: bump memory with one end. Everything in it dies together, after the releases linked
   to it have run, newest first. A zeroed arena is a valid empty one. */
struct arena_block;
struct arena_release;
struct arena {
  struct arena_block *blocks;
  struct arena_release *releases;
  char *at, *end;
  size_t total;                       /* bytes asked from the allocator */
};
void *arena_alloc(struct arena *a, size_t n);      /* aligned to 16; never NULL */
void *arena_zero(struct arena *a, size_t n);
/* Room for n bytes in one block, when it is known what will be needed: a fresh block is not larger. */
void arena_room(struct arena *a, size_t n);
struct span arena_copy(struct arena *a, struct span s);
char *arena_cstr(struct arena *a, struct span s);
struct span arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct span arena_vprintf(struct arena *a, const char *fmt, va_list args);
/* Runs release(arg) when the arena ends. */
void arena_on_end(struct arena *a, void (*release)(void *arg), void *arg);
void arena_end(struct arena *a);                   /* leaves an empty, usable arena */
/* As arena_end, but keeps one small block for the next use: for what begins and ends many times a second. */
void arena_reset(struct arena *a);

/* A growing window of bytes: bytes are appended at the end and consumed at the start.
   A zeroed buf is a valid empty one. */
struct buf {
  char *p;
  size_t at, end, cap;                /* content is p[at..end) */
};
static inline struct span buf_span(const struct buf *b) { return span_of(b->p ? b->p + b->at : NULL, b->end - b->at); }
static inline size_t buf_size(const struct buf *b) { return b->end - b->at; }
char *buf_reserve(struct buf *b, size_t n);        /* room for n more bytes, at the returned place */
static inline void buf_commit(struct buf *b, size_t n) { b->end += n; }
void buf_consume(struct buf *b, size_t n);         /* from the start */
void buf_add(struct buf *b, struct span s);
/* The same where it is written often and in small pieces: inlined while there is room. */
static inline void buf_put(struct buf *b, struct span s) {
  if (!s.n) return;
  if (b->cap - b->end < s.n || !b->p) { buf_add(b, s); return; }
  memcpy(b->p + b->end, s.p, s.n);
  b->end += s.n;
}
void buf_byte(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list args);
static inline void buf_clear(struct buf *b) { b->at = b->end = 0; }
void buf_free(struct buf *b);                      /* leaves an empty, usable buf */

#endif
