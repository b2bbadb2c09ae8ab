/* The mapped file: what lies where, and how it is changed.

   Every word of the tables is changed by put() under the lock, which writes the word's place and old value into the undo
   log first. commit() empties the log; until then undo() takes all back. Who gets the lock after a dead owner undoes what
   stands in the log: so each step between two commits is whole or not there. Outside of it are what lies in an item that is free, slots
   that a process holds without cells, the claiming of a slot by its owner (settle.c), and the ledger's ring with a lock of its own.

   Tables grow in place: the mapping is as large as the file may ever be, and only what is handed out has blocks. */
#ifndef CELLS_ROOM_H
#define CELLS_ROOM_H

#include <pthread.h>
#include "weir/cells.h"
#include "weir/zone.h"

#define FILE_MAGIC "weircel1"
enum {
  INSTANCES = 16,                     /* processes at once: two while an upgrade runs, and tests */
  PARTS = 60, BUCKETS = PARTS + 1,    /* the part that runs and the 60 before it: never less than the window */
  HEADS = 1 << 16,
  UNDO_WORDS = 8192,                  /* far above 16 rolling cells that have all 61 buckets to clear */
  RING_SIZE = 1 << 22,                /* some five thousand records: what a very busy weir makes while the store waits for its disk */
};

enum { SLOT_BITS = 20, SLOT_MASK = (1 << SLOT_BITS) - 1 };          /* a slot's name: its generation, its number */
struct undo { int64_t at, old; };     /* at: in words, from the start of the file */
struct shared_lock { pthread_mutex_t mutex; } __attribute__((aligned(64)));

/* Items of one size, numbered from 1. */
enum item_kind { ITEM_CELL, ITEM_SLOT, ITEM_BLOCK, ITEM_KINDS };
struct items { int64_t free, high, ready, used; };      /* first free, ever used, with blocks on disk, in use */

struct file {
  char magic[8];                      /* written last when a file is made */
  int64_t layout;                     /* a hash of all sizes: another program's file is not read */
  char boot[48];
  uint64_t seed;                      /* of names' hashes, so that nobody can choose names that meet */
  struct shared_lock lock, ring_lock;
  struct items items[ITEM_KINDS];
  int64_t hand;                       /* where eviction looks next */
  int64_t orphans, orphan_count;      /* first slot of the list */
  int64_t wants;                      /* first cell of the list */
  int64_t busy, evicted;              /* atomic; for the metrics */
  int64_t asked __attribute__((aligned(64)));           /* atomic: 1: some slot's owner could not get the lock to settle */
  int64_t turns;                      /* atomic */
  int64_t ring_head __attribute__((aligned(64)));       /* bytes ever written */
  int64_t ring_tail __attribute__((aligned(64)));       /* bytes ever taken */
  int64_t instances[INSTANCES];       /* 1: has been someone's since its slots were last settled */
  int64_t undo_count __attribute__((aligned(64)));
  struct undo undo[UNDO_WORDS];
  int64_t heads[HEADS];               /* first cell of each chain */
};

struct cell {
  int64_t link;                       /* next of its chain, or of the free ones */
  int64_t name_size;                  /* -1: free */
  int64_t hash, spec, value_size;     /* of name and value; kind, window and seconds */
  int64_t refs;                       /* open slots that name it */
  int64_t start, end;                 /* of the window that runs, in ms; of a rolling one start is the newest part's number */
  int64_t spent, reserved;            /* in it; of a rolling one: in all its buckets */
  int64_t before, before_spent, before_reserved;        /* the window before: what was open at its turn settles there */
  int64_t block;                      /* of a rolling one */
  int64_t used_ms, cap;               /* last use, and the cap it brought */
  int64_t granted, grant_epoch;
  int64_t want, want_better, want_link;                 /* want 0: not on the list */
  int64_t spare[3];
  char text[192];                     /* name, then value */
};
struct block { int64_t link; struct { int64_t spent, reserved; } part[BUCKETS]; };

/* HELD: of a process that keeps it for the next who opens one. CLAIMED: its owner is ending it. ASKED: settle it at `actual`, then it is
   nobody's; ASKED_COUNT: then it is open again, without cells. */
enum slot_state { SLOT_FREE, SLOT_HELD, SLOT_OPEN, SLOT_CLAIMED, SLOT_ASKED, SLOT_ASKED_COUNT, SLOT_ORPHAN };
struct entry { int64_t cell, epoch, amount; };
struct slot {
  int64_t link;
  int64_t tag;                        /* atomic: generation << 8 | state; the generation is part of the slot's name */
  int64_t owner, count, note_size;
  int64_t counted;                    /* 1: it had cells, which were settled at `actual` */
  int64_t actual[CELL_KINDS];         /* valid in SLOT_ASKED and SLOT_ASKED_COUNT too */
  struct entry entry[CELLS_MOST_SCOPES];
  char note[CELLS_NOTE];
};

/* Where the ring and the tables begin; the ring behind the head of the file. */
enum { PAGE = 4096, MOST_SLOTS = 1 << 16, MOST_CELLS = 1 << 20, MOST_BLOCKS = 1 << 17 };
#define PAGES(n)  (((n) + PAGE - 1) / PAGE * PAGE)
#define RING_AT   PAGES(sizeof(struct file))
#define SLOTS_AT  (RING_AT + RING_SIZE)
#define CELLS_AT  PAGES(SLOTS_AT + MOST_SLOTS * sizeof(struct slot))
#define BLOCKS_AT PAGES(CELLS_AT + MOST_CELLS * sizeof(struct cell))

/* Slots that are held, in rows that threads have nearly to themselves. */
enum { SPARE_ROWS = 16, SPARES = 64 };
struct spares {
  bool busy;                          /* atomic: a thread is at it */
  unsigned count;
  int64_t slots[SPARES];
} __attribute__((aligned(64)));

struct cells {
  char *base;
  struct file *f;
  int fd;
  int64_t instance;
  struct spares spares[SPARE_ROWS];
  int64_t ring_read;                  /* the reader's place; only while it has the role */
  bool reads;
  bool stuck;                         /* atomic: the lock was not to be had for long; so do not wait again */
};

/* ---- lock.c */
bool lock_take(struct cells *c);                 /* with what a dead owner left undone; false: busy */
void lock_drop(struct cells *c);                 /* with commit */
bool ring_lock_take(struct cells *c);
void ring_lock_drop(struct cells *c);
bool lock_init(struct file *f);
bool put(struct cells *c, int64_t *word, int64_t value);
void commit(struct cells *c);
void undo(struct cells *c);
static inline bool add(struct cells *c, int64_t *word, int64_t n) { return !n || put(c, word, *word + n); }

/* ---- item.c */
extern const struct item_spec { size_t at, size, most, step; } item_specs[ITEM_KINDS];
size_t file_size(void);
char *ring_start(const struct cells *c);
int64_t file_layout(void);
bool item_ready(struct cells *c, enum item_kind k);               /* the first of a table, when a file is made */
int64_t item_take(struct cells *c, enum item_kind k);             /* 0: full */
void item_give(struct cells *c, enum item_kind k, int64_t i);
static inline struct cell *cell_at(const struct cells *c, int64_t i) { return (struct cell *)(void *)(c->base + CELLS_AT) + (i - 1); }
static inline struct slot *slot_at(const struct cells *c, int64_t i) { return (struct slot *)(void *)(c->base + SLOTS_AT) + (i - 1); }
static inline struct block *block_at(const struct cells *c, int64_t i) { return (struct block *)(void *)(c->base + BLOCKS_AT) + (i - 1); }
static inline void *item_at(const struct cells *c, enum item_kind k, int64_t i) {
  return c->base + item_specs[k].at + (size_t)(i - 1) * item_specs[k].size;
}

/* ---- window.c: pure */
void window_bounds(const struct cell_window *w, int64_t now_ms, int64_t *start_ms, int64_t *end_ms);
int64_t window_part_ms(uint32_t seconds);
int64_t floor_div(int64_t a, int64_t b);
int64_t first_of(int64_t month);                                  /* its first day since 1970; months count from January 1970 */
int64_t month_of(int64_t day);

/* ---- cell.c: the arithmetic of one cell */
enum cell_kind cell_kind_of(const struct cell *x);
struct cell_window cell_window_of(const struct cell *x);
bool window_valid(const struct cell_id *id);
void cell_turn(struct cells *c, struct cell *x, const struct cell_window *w, int64_t now_ms);
void cell_turn_to(struct cells *c, struct cell *x, int64_t start, int64_t end, int64_t now_ms);   /* of a cell that was never used */
/* spent + reserved of that epoch; false: it is not known any more. */
bool cell_used(const struct cell *x, int64_t epoch, int64_t *spent, int64_t *reserved);
void cell_add(struct cells *c, struct cell *x, int64_t epoch, int64_t spent, int64_t reserved);
int64_t cell_frees_ms(const struct cells *c, const struct cell *x, int64_t excess);
bool cell_idle(const struct cell *x, int64_t now_ms);             /* nothing in it matters any more */
int64_t cell_grant_epoch(const struct cell *x, int64_t now_ms);
int64_t sum(int64_t a, int64_t b);                                /* stays at the ends */

/* ---- find.c */
/* The cell's number; made when it is not there and `make`. 0: none, or no room. `keep`: cells that must not be evicted.
   Commits when it makes one. */
int64_t cell_find(struct cells *c, const struct cell_id *id, bool make, int64_t now_ms, const int64_t *keep, size_t kept);
void cell_texts(const struct cell *x, char name[64], char value[128]);

/* ---- spare.c: slots of this process that nobody uses */
int64_t spare_take(struct cells *c);                              /* 0: none at hand */
bool spare_put(struct cells *c, int64_t slot);                    /* false: enough are held, or another thread is at it */
size_t spares_held(const struct cells *c);

/* ---- settle.c, slot.c, grant.c */
void slot_free(struct cells *c, int64_t at);                      /* and commits */
void settle_asked(struct cells *c);                               /* under the lock */
size_t settle_dead(struct cells *c, int64_t instance);            /* under the lock */
void want_push(struct cells *c, int64_t cell, int64_t asked, int64_t better);
bool grant_wanted(const struct cell *x, int64_t cap, int64_t amount, int64_t used, int64_t *better);

/* ---- file.c */
enum { DOOR_BYTE = INSTANCES, READER_BYTE };               /* 0 to INSTANCES - 1: who is alive */
bool byte_lock(const struct cells *c, int64_t n);

#endif
