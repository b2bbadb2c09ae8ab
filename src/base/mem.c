#include "weir/mem.h"
#include "weir/log.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef WEIR_TORTURE
/* With WEIR_TORTURE_ALLOC=n every nth large piece of memory is refused. */
static bool refused(size_t n) {
  static unsigned tries;
  static int every = -1;
  if (every < 0) every = atoi(getenv("WEIR_TORTURE_ALLOC") ? getenv("WEIR_TORTURE_ALLOC") : "0");
  return every && n >= 8192 && __atomic_add_fetch(&tries, 1, __ATOMIC_RELAXED) % (unsigned)every == 0;
}
#else
static bool refused(size_t n) { return (void)n, false; }
#endif

void *mem_try(size_t n) { return refused(n) ? NULL : malloc(n ? n : 1); }
void mem_free(void *p) { free(p); }

void *mem_alloc(size_t n) {
  void *p = malloc(n ? n : 1);
  require(p);
  return p;
}

void *mem_zero(size_t n) {
  void *p = calloc(1, n ? n : 1);
  require(p);
  return p;
}

void *mem_grow(void *p, size_t n) {
  p = realloc(p, n ? n : 1);
  require(p);
  return p;
}

char *mem_cstr(struct span s) {
  char *p = mem_alloc(s.n + 1);
  if (s.n) memcpy(p, s.p, s.n);
  p[s.n] = 0;
  return p;
}

/* ---- accounts */
enum { GATHERED_MOST = 32 * 1024 };
static int64_t held[MEM_KINDS];       /* atomic */
static _Thread_local int64_t gathered[MEM_KINDS];
static _Thread_local bool known;      /* that its rest is to be counted when the thread ends */
static pthread_key_t leaving;
static pthread_once_t leaving_once = PTHREAD_ONCE_INIT;

static void gathered_add(enum mem_kind k) {
  __atomic_add_fetch(&held[k], gathered[k], __ATOMIC_RELAXED);
  gathered[k] = 0;
}

void mem_settle(void) {
  for (int k = 0; k < MEM_KINDS; k++) gathered_add((enum mem_kind)k);
}

static void thread_leaves(void *arg) {
  (void)arg;
  mem_settle();
  known = false;                                   /* another destructor may still free something */
}

static void leaving_make(void) { require(pthread_key_create(&leaving, thread_leaves) == 0); }

void mem_note(enum mem_kind k, int64_t change) {
  if (__builtin_expect(!known, 0)) {
    known = true;
    pthread_once(&leaving_once, leaving_make);
    pthread_setspecific(leaving, &known);
  }
  gathered[k] += change;
  if (gathered[k] > GATHERED_MOST || gathered[k] < -GATHERED_MOST) gathered_add(k);
}

int64_t mem_held(enum mem_kind k) {
  int64_t n = __atomic_load_n(&held[k], __ATOMIC_RELAXED) + gathered[k];
  return n > 0 ? n : 0;
}

struct arena_block {
  struct arena_block *next;
  size_t size;
};
struct arena_release {
  struct arena_release *next;
  void (*run)(void *arg);
  void *arg;
};
enum { FIRST_BLOCK = 1024, SMALL = 4096, LARGEST_STEP = 65536, LARGEST_KEPT = 4096 };

static char *block_new(struct arena *a, size_t size) {
  struct arena_block *b = mem_alloc(sizeof *b + size);
  b->size = size;
  mem_note(MEM_ARENAS, (int64_t)size);
  b->next = a->blocks;
  a->blocks = b;
  a->total += size;
  return (char *)(b + 1);
}

static void *arena_block_add(struct arena *a, size_t n) {
  size_t size = a->total < SMALL ? FIRST_BLOCK : a->total < LARGEST_STEP ? a->total : LARGEST_STEP;   /* small ones grow slowly: thousands are held */
  bool alone = n > size / 2;                       /* a large one gets its own block; the current goes on */
  if (alone) size = n;
  char *p = block_new(a, size);
  if (!alone) a->at = p + n, a->end = p + size;
  return p;
}

void *arena_alloc(struct arena *a, size_t n) {
  n = n ? (n + 15) & ~(size_t)15 : 16;
  if ((size_t)(a->end - a->at) < n) return arena_block_add(a, n);
  void *p = a->at;
  a->at += n;
  return p;
}

void arena_room(struct arena *a, size_t n) {
  n = (n + 15) & ~(size_t)15;
  if ((size_t)(a->end - a->at) >= n) return;
  if (a->blocks && !a->blocks->next && a->at == (char *)(a->blocks + 1)) arena_end(a);   /* kept empty, and too small */
  a->at = block_new(a, n);
  a->end = a->at + n;
}

void *arena_zero(struct arena *a, size_t n) { return memset(arena_alloc(a, n), 0, n); }

char *arena_cstr(struct arena *a, struct span s) {
  char *p = arena_alloc(a, s.n + 1);
  if (s.n) memcpy(p, s.p, s.n);
  p[s.n] = 0;
  return p;
}

struct span arena_copy(struct arena *a, struct span s) { return span_of(arena_cstr(a, s), s.n); }

struct span arena_vprintf(struct arena *a, const char *fmt, va_list args) {
  va_list again;
  va_copy(again, args);
  int n = vsnprintf(NULL, 0, fmt, again);
  va_end(again);
  require(n >= 0);
  char *p = arena_alloc(a, (size_t)n + 1);
  vsnprintf(p, (size_t)n + 1, fmt, args);
  return span_of(p, (size_t)n);
}

struct span arena_printf(struct arena *a, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  struct span s = arena_vprintf(a, fmt, args);
  va_end(args);
  return s;
}

void arena_on_end(struct arena *a, void (*release)(void *arg), void *arg) {
  struct arena_release *r = arena_alloc(a, sizeof *r);
  *r = (struct arena_release){ a->releases, release, arg };
  a->releases = r;
}

void arena_end(struct arena *a) {
  for (struct arena_release *r = a->releases; r; r = r->next) r->run(r->arg);
  for (struct arena_block *b = a->blocks, *next; b; b = next) {
    next = b->next;
    mem_note(MEM_ARENAS, -(int64_t)b->size);
    mem_free(b);
  }
  *a = (struct arena){ 0 };
}

void arena_reset(struct arena *a) {
  for (struct arena_release *r = a->releases; r; r = r->next) r->run(r->arg);
  a->releases = NULL;
  struct arena_block *keep = NULL;                 /* the largest that may be: the next use is likely to need as much */
  for (struct arena_block *b = a->blocks; b; b = b->next)
    if (b->size <= LARGEST_KEPT && (!keep || b->size > keep->size)) keep = b;
  for (struct arena_block *b = a->blocks, *next; b; b = next) {
    next = b->next;
    if (b == keep) continue;
    mem_note(MEM_ARENAS, -(int64_t)b->size);
    mem_free(b);
  }
  *a = (struct arena){ 0 };
  if (!keep) return;
  keep->next = NULL;
  a->blocks = keep;
  a->at = (char *)(keep + 1);
  a->end = a->at + keep->size;
  a->total = keep->size;
}

char *buf_reserve(struct buf *b, size_t n) {
  if (b->p && b->cap - b->end >= n) return b->p + b->end;
  size_t have = buf_size(b);
  if (b->at && b->cap - have >= n && b->at >= have) {      /* enough room once moved to the front */
    memcpy(b->p, b->p + b->at, have);
  } else {
    size_t cap = b->cap ? b->cap * 2 : 512;
    while (cap < have + n) cap *= 2;
    char *p = mem_alloc(cap);
    if (have) memcpy(p, b->p + b->at, have);
    mem_free(b->p);
    mem_note(MEM_BUFFERS, (int64_t)(cap - b->cap));
    b->p = p;
    b->cap = cap;
  }
  b->at = 0;
  b->end = have;
  return b->p + b->end;
}

void buf_consume(struct buf *b, size_t n) {
  require(n <= buf_size(b));
  b->at += n;
  if (b->at == b->end) b->at = b->end = 0;
}

void buf_add(struct buf *b, struct span s) {
  if (!s.n) return;
  memcpy(buf_reserve(b, s.n), s.p, s.n);
  b->end += s.n;
}

void buf_byte(struct buf *b, char c) {
  *buf_reserve(b, 1) = c;
  b->end++;
}

void buf_vprintf(struct buf *b, const char *fmt, va_list args) {
  va_list again;
  va_copy(again, args);
  int n = vsnprintf(NULL, 0, fmt, again);
  va_end(again);
  require(n >= 0);
  vsnprintf(buf_reserve(b, (size_t)n + 1), (size_t)n + 1, fmt, args);
  b->end += (size_t)n;
}

void buf_printf(struct buf *b, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  buf_vprintf(b, fmt, args);
  va_end(args);
}

void buf_free(struct buf *b) {
  if (b->p) mem_note(MEM_BUFFERS, -(int64_t)b->cap);
  mem_free(b->p);
  *b = (struct buf){ 0 };
}
