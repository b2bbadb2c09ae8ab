/* cells.h: the counters of budgets and limits, in one file that all workers and, while one weir replaces another, both
   processes have mapped. What is in it is exact after kill -9: each step either happened or did not.

   The way of a request:
     cells_reserve    before an attempt is sent: all its scopes in one step, or none and who refused
     cells_extend     when a stream needs more than it reserved
     cells_settle     once, with what it came to; or cells_count, and the slot stays as a witness without cells
     cells_append     its record, for the store
     cells_release    of the witness, now that the record is there; or when nothing was sent
   None of these makes a system call, unless a table must grow or another process was stopped inside the lock. What concerns no cell, a
   witness that comes or goes, takes no lock either, but for a slot now and then.

   cell: one counter: a name ("team-day"), a scope value ("search"), a kind and a window. Caps are no part of it: each
         call brings its own, so that the newest configuration decides.
   slot: one open reservation, over up to CELLS_MOST_SCOPES cells.
   epoch: one turn of a cell's window, named by its start. A reservation keeps its epoch and settles there; epochs never go
         back, whatever the clock does.
   orphan: the slot of a process that died. It was settled at its reservation; who finds it writes its record.
   grant: how far a durable cell may be used before the store must have promised more on disk; after a power loss, when
         this file is gone, what was promised counts as spent. */
#ifndef WEIR_CELLS_H
#define WEIR_CELLS_H

#include "weir/span.h"

enum cell_kind {
  CELL_MONEY,                         /* picodollars */
  CELL_TOKENS,
  CELL_REQUESTS,
  CELL_CONCURRENT,                    /* reservations that are open now; settles at nothing and has no window */
  CELL_KINDS
};
enum window_kind {
  WINDOW_TOTAL,                       /* never turns */
  WINDOW_SESSION,                     /* turns when it was not used for CELLS_SESSION_IDLE_MS */
  WINDOW_ROLLING,                     /* the last `seconds`, in 60 parts: what leaves, leaves a part at a time */
  WINDOW_FIXED,                       /* seconds since 1970, divided by `seconds` */
  WINDOW_DAY, WINDOW_MONTH            /* of the calendar, in the zone's time */
};
struct zone;                          /* weir/zone.h */
struct cell_window {
  enum window_kind kind;
  uint32_t seconds;                   /* 1 to 10 years; of rolling and fixed ones only */
  const struct zone *zone;            /* NULL: UTC. No part of a cell's identity: another zone counts from the next turn on */
};

/* What a cell is known by. Names and values of any length; those above 63 and 127 bytes, or with a NUL, are kept by a hash. Lent for the call. */
struct cell_id {
  struct span name, value;
  enum cell_kind kind;
  struct cell_window window;
  int64_t *hint;                      /* NULL, or its caller's note of which cell it was last, at first 0: looked at before the tables are,
                                         and right again afterwards, whatever stood in it. One thread's */
};
struct cells_scope {
  struct cell_id id;
  int64_t cap;                        /* CELLS_NO_CAP: only counted */
  bool durable;                       /* needs a grant: budgets, not limits */
};
/* One figure for each kind: each cell of a reservation takes that of its kind. */
struct cells_amount { int64_t of[CELL_KINDS]; };

#define CELLS_NO_CAP          INT64_MAX
#define CELLS_SESSION_IDLE_MS (24 * 3600 * 1000LL)   /* longer than anyone's conversation pauses; ids are the client's choice anyway */
enum {
  CELLS_MOST_SCOPES = 16,
  CELLS_NOTE = 128,                   /* bytes that a slot keeps for its owner */
  CELLS_RECORD = 16384,               /* the longest record of the ledger's ring */
};

enum cells_result {
  CELLS_OK,
  CELLS_CAPPED,                       /* a cap would be exceeded */
  CELLS_UNGRANTED,                    /* a durable cell waits for its grant (cells_want); may be tried again then */
  CELLS_BUSY,                         /* whoever holds the lock did not move for 20 ms; from then on it is told at once, until
                                         someone had it again. May be tried again */
  CELLS_FULL,                         /* no room for another cell, slot or record, or too many scopes */
  CELLS_GONE,                         /* no such slot: settled before, or another process's */
};

struct cells;
struct cells_opened {
  bool fresh;                         /* nothing was counted before: grants must be seeded (cells_seed) */
  size_t orphans;                     /* slots of the dead that were settled: cells_orphan */
};
/* Maps the file, which is made when it is not there, is of another boot or of another layout that nobody uses. Settles what
   dead processes left. NULL, and why: a message that lives until the next call of this thread. Off the hot path. */
struct cells *cells_open(const char *path, struct cells_opened *out, const char **why);
/* Open slots stay and become orphans of the next who opens. NULL is nothing. */
void cells_close(struct cells *c);
/* Once a second or so, from a thread that may wait: settles what dead processes left and what could not be settled at once.
   Gives the number of new orphans. */
size_t cells_tend(struct cells *c);

/* ---- reservations. now_ms: Unix time in milliseconds, of the wall clock. */
struct cells_refusal {
  size_t scope;                       /* index of the one that refused */
  int64_t asked, cap, spent, reserved;/* reserved: by others; asked alone may be above the cap, then waiting is of no use */
  int64_t granted;                    /* CELLS_UNGRANTED: the grant that was too small */
  int64_t frees_ms;                   /* when the window turns, or enough of a rolling one has left it; 0: it never does by itself */
};
struct cells_held {
  uint64_t slot;                      /* of CELLS_OK; never 0 */
  int64_t left[CELLS_MOST_SCOPES];    /* of each scope: cap - spent - reserved, this reservation included */
  bool wants;                         /* some cell wants a grant: wake the one that calls cells_want */
  struct cells_refusal refusal;       /* of CELLS_CAPPED and CELLS_UNGRANTED */
};
/* All scopes or none. note: up to CELLS_NOTE bytes that an orphan is found with (who asked what): longer ones are cut.
   Amounts are not negative. No scope at all is a slot too. */
enum cells_result cells_reserve(struct cells *c, const struct cells_scope *scopes, size_t count,
                                const struct cells_amount *amount, struct span note, int64_t now_ms, struct cells_held *out);
/* `more` on top, in the reservation's own epochs; where such an epoch is not known any more the whole reservation moves into
   today's. scopes: those of the reservation, in their order; their caps count. Refused: it stays as it was. */
enum cells_result cells_extend(struct cells *c, uint64_t slot, const struct cells_scope *scopes, size_t count,
                               const struct cells_amount *more, int64_t now_ms, struct cells_held *out);
/* What it came to, which may be more than was reserved. Takes effect exactly once: OK or GONE, never BUSY: where the lock
   cannot be had, the next who has it does it. */
enum cells_result cells_settle(struct cells *c, uint64_t slot, const struct cells_amount *actual);
/* The same, but the slot stays open, without cells and with its note, until it is released. */
enum cells_result cells_count(struct cells *c, uint64_t slot, const struct cells_amount *actual);
enum cells_result cells_release(struct cells *c, uint64_t slot);

struct cell_state {
  int64_t spent, reserved;            /* of the window that now_ms lies in */
  int64_t granted;
  int64_t start_ms, end_ms;           /* of the window; 0: none. Of a rolling one: the end of its oldest used part's stay */
};
/* When the window that now_ms lies in ends; 0: it has no place on a clock. Not for each request: a zone's calendar takes a while. */
int64_t cells_window_end(const struct cell_window *w, int64_t now_ms);
/* A cell that was never used reads as zeros. OK or BUSY. */
enum cells_result cells_read(struct cells *c, const struct cell_id *id, int64_t now_ms, struct cell_state *out);

/* One cell after the other, for listings; *at begins at 0. False at the end, or when busy. Names are cut as kept. */
struct cell_listed {
  char name[64], value[128];
  enum cell_kind kind;
  enum window_kind window;
  uint32_t seconds;
  int64_t cap;                        /* as last brought */
  struct cell_state state;
};
bool cells_each(struct cells *c, size_t *at, int64_t now_ms, struct cell_listed *out);

/* Changes whenever something was settled or granted: a request that waits for room looks again. */
uint64_t cells_turns(const struct cells *c);

struct cells_figures { size_t cells, slots, orphans, ledger_bytes, ledger_room; uint64_t busy, evicted; };       /* slots: open, and those other processes hold */
void cells_figures(const struct cells *c, struct cells_figures *out);

/* ---- orphans. Each is given again (also to the next process) until it is done. False: none. */
struct cells_orphan {
  uint64_t slot;
  struct cells_amount amount;         /* what it came to; where that was not said, the largest reserved figure of each kind */
  char note[CELLS_NOTE];
  size_t note_size;
};
bool cells_orphan(struct cells *c, struct cells_orphan *out);
void cells_orphan_done(struct cells *c, uint64_t slot);

/* ---- grants, for the store's thread. cells_want takes the next cell that wants one; the store promises at least
   `asked` of that epoch on disk, better `better`, then says so. */
struct cells_want {
  char name[64], value[128];          /* as kept, NUL at the end */
  enum cell_kind kind;
  struct cell_window window;          /* without zone */
  int64_t epoch_ms;                   /* start of the window's turn; of a rolling window the grant is for all of it */
  int64_t end_ms;                     /* of the turn, where the clock or the calendar says it; else 0 */
  int64_t granted, asked, better;     /* totals of the epoch */
};
bool cells_want(struct cells *c, struct cells_want *out);
/* Of an epoch that has passed it does nothing. A total below the present one does not lower it. */
enum cells_result cells_grant(struct cells *c, const struct cells_want *w, int64_t total);
/* After cells_open said fresh: what was promised of an epoch that may still run counts as spent. Before any traffic. end_ms: as the
   want had it; 0: as the id's window says. */
enum cells_result cells_seed(struct cells *c, const struct cell_id *id, int64_t epoch_ms, int64_t end_ms, int64_t total, int64_t now_ms);

/* ---- the ledger's ring: records of workers on their way to the store. A record is there whole or not at all, and stays over
   kill -9 until it was taken. */
/* OK, BUSY, or FULL: the store does not keep up. Up to CELLS_RECORD bytes. */
enum cells_result cells_append(struct cells *c, struct span record);
/* Takes the role of the one reader; false: another process has it. It goes with the process. */
bool cells_drain_begin(struct cells *c);
/* The next record not yet looked at, lent until cells_drained; false: none. */
bool cells_drain(struct cells *c, struct span *record);
/* All that were looked at are safe elsewhere. Those that were not acknowledged are given again by the next reader. */
void cells_drained(struct cells *c);
/* For a reader that keeps its place with what it takes, so that nothing is taken twice when it dies between the two: what the file
   is known by, the place behind the last record looked at, and going on behind such a place. */
int64_t cells_ring_name(const struct cells *c);
int64_t cells_drain_place(const struct cells *c);
void cells_drain_skip(struct cells *c, int64_t place);

#endif
