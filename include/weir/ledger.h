/* ledger.h: the store: one record of each exchange that has ended, and what was promised to durable budgets, in an SQLite database
   in the state directory. One thread of its own does all of it; workers only put records into the cells' ring (weir/cells.h) and wake it.

   record: as weir/record.h lays it out in the ring. Its sequence names it: the time of its beginning in milliseconds, shifted left
           by LEDGER_SEQUENCE_BITS, and what makes it one of a kind among those of a process.
   batch:  records that were taken out of the ring together, as JSON, in one row of the database, with the place in the ring behind
           them: so each is there once, whoever dies when. The view `exchanges` shows them one by one.
   lost:   the database cannot be written (disk full, file broken, another weir's). Records wait in the ring until it can be again;
           what does not fit there any more is lost, and counted by who could not append.
   contents: of requests and answers, only where weir.lua asks for them; without what looks like a secret. */
#ifndef WEIR_LEDGER_H
#define WEIR_LEDGER_H

#include "weir/cells.h"
#include "weir/json.h"
#include "weir/money.h"

enum { LEDGER_SEQUENCE_BITS = 22 };
#define LEDGER_FILE "ledger.db"

struct ledger;
struct ledger_options {
  struct cells *cells;                /* outlives the ledger */
  const char *dir;                    /* made when it is not there */
  struct ledger_limits {
    double keep;                      /* seconds; records that began earlier are deleted, a few at a time */
    uint64_t max_size;                /* bytes of the database; above: the oldest are deleted */
    double contents_keep;             /* as keep, of contents */
  } limits;
  bool needed;                        /* go on without it when it cannot be opened, and try again; else that is NULL */
};
/* Opens or makes the database, seeds the cells with what was promised (before any traffic), starts the thread. NULL, and why in
   a message that lives until the next call: only when it is not needed. */
struct ledger *ledger_open(const struct ledger_options *o, const char **why);
/* Takes what is in the ring, then ends. NULL is nothing. */
void ledger_close(struct ledger *l);
/* Another process may have begun to use the same cells: its wishes are looked at without being woken. */
void ledger_hurry(struct ledger *l);
void ledger_limit(struct ledger *l, const struct ledger_limits *limits);  /* of a newer configuration; any thread */

/* ---- for workers: cheap, any thread */
bool ledger_lost(const struct ledger *l);
void ledger_appended(struct ledger *l);                  /* a record is in the ring */
void ledger_wanted(struct ledger *l);                    /* a cell wants a grant: now */

/* What was asked and answered, before its record. Copies; false: too much waits for the store. cut: not all of it. */
bool ledger_contents(struct ledger *l, int64_t sequence, struct span id, struct span request, struct span answer, bool cut);

/* ---- a generation's sources, kept under DIR/generations/HASH, so that its decisions can be made again. Takes copies. */
struct ledger_source { struct span name, bytes; };       /* name: relative, below the generation's folder */
void ledger_keep(struct ledger *l, const char *hash, const struct ledger_source *sources, size_t count);
enum { LEDGER_GENERATIONS = 30 };                        /* kept; the oldest go */

struct ledger_figures {
  uint64_t records, orphans, grants, errors;             /* since the start */
  bool lost;
  double lag;                                            /* seconds that the oldest record in the ring may have waited */
  size_t waiting;                                        /* bytes in the ring */
  int64_t size;                                          /* of the database, bytes */
};
void ledger_figures(struct ledger *l, struct ledger_figures *out);

/* ---- reading, also while a weir writes: commands. Columns are known by number, also in the ring: new ones go to the end. */
enum ledger_column {
  L_SEQUENCE, L_ENDED, L_ID, L_PARENT, L_POLICY, L_IP, L_KEY, L_TEAM, L_USER, L_KEY_TAGS, L_METHOD, L_PATH, L_MODEL, L_STATUS, L_END, L_TARGET,
  L_SERVED, L_LOSS, L_RAW, L_STREAM, L_MS, L_FIRST_EVENT_MS, L_BYTES, L_INPUT, L_CACHE_READ, L_CACHE_WRITE, L_CACHE_WRITE_1H, L_OUTPUT,
  L_REASONING, L_COST, L_FAILED, L_NOTES, L_GENERATION, L_SESSION, L_TAGS, L_PROMPT, L_ALIAS, L_DIALECT, L_ATTEMPTS, L_REPORTED, L_UNPRICED,
  L_ESTIMATE, L_OUTPUT_LIMIT, L_OVERHEAD_US, L_CONF, L_ORPHAN, L_AUDIO_IN, L_IMAGE_IN, L_AUDIO_OUT, L_IMAGE_OUT, L_SEARCHES, L_READS,
  L_TOOL_CALLS, L_FEES, L_COLUMNS
};
const char *ledger_column_name(enum ledger_column c);    /* in the database */
bool ledger_column_is_text(enum ledger_column c);
/* One row; lent for the callback. Money in picodollars, times in Unix milliseconds. */
struct ledger_row {
  struct span text[L_COLUMNS];        /* p NULL: absent, or a number */
  int64_t number[L_COLUMNS];          /* -1: absent, or a text */
};
struct ledger_reader;
struct ledger_reader *ledger_read_open(const char *dir, const char **why);
void ledger_read_close(struct ledger_reader *r);
/* Exchanges that began in [from_ms, to_ms), about in the order in which they ended; `each` gives false to stop. False: *why. */
bool ledger_read_range(struct ledger_reader *r, int64_t from_ms, int64_t to_ms, bool (*each)(void *arg, const struct ledger_row *row), void *arg, const char **why);
/* Those of that id, then those whose parent it is. */
bool ledger_read_id(struct ledger_reader *r, struct span id, bool (*each)(void *arg, const struct ledger_row *row), void *arg, const char **why);
/* Its contents, when they were kept: text in the arena. */
struct ledger_kept { struct span request, answer; bool cut; };
bool ledger_read_contents(struct ledger_reader *r, struct span id, int64_t sequence, struct arena *a, struct ledger_kept *out);
static inline int64_t ledger_begun_ms(int64_t sequence) { return sequence >> LEDGER_SEQUENCE_BITS; }

/* ---- orphans: what a slot's note holds, so that its record can be written by who finds it: eight bytes of sequence, "ID\tKEY\tTARGET\tMODEL" */
size_t ledger_note(char out[CELLS_NOTE], int64_t sequence, struct span id, struct span key, struct span target, struct span model);

#endif
