/* record.h: an exchange's record on its way from a worker to the store, through the cells' ring: a head, then the JSON object that the
   database keeps. A worker writes it once, field by field, into memory that is there; the store's thread puts what came in together one
   behind another, and what all of a batch have in common into the batch's own row. It does not read them again: nobody but a weir of this
   layout writes into the ring, and a record is there whole or not at all.

     struct record r;
     record_begin(&r, room, size, sequence);
     record_text(&r, L_ID, id); record_number(&r, L_STATUS, 200); …
     cells_append(cells, record_end(&r)); */
#ifndef WEIR_RECORD_H
#define WEIR_RECORD_H

#include "weir/dialect.h"
#include "weir/ledger.h"

enum { RECORD_VERSION = 2, RECORD_CONF = 64 };
struct record_head {
  int64_t sequence;
  uint16_t version, size;             /* size: of all of it */
  uint32_t generation;                /* of the process; with a configuration only */
  char conf[RECORD_CONF];             /* its hash; zeros: none */
};

struct record {
  char *start, *at, *end;             /* private, all but `most` */
  bool full;                          /* something found no room: the record is no good */
  bool some;                          /* something stands in the list that is open */
  size_t most;                        /* texts are cut so that each takes about so many bytes; 0: they are not */
};

/* room: sizeof(struct record_head) and more. */
void record_begin(struct record *r, char *room, size_t size, int64_t sequence);
void record_conf(struct record *r, unsigned generation, struct span hash);
/* Each column once, in any order. A number below 0, and a text that is empty, are left out. */
void record_number(struct record *r, enum ledger_column c, int64_t v);
void record_text(struct record *r, enum ledger_column c, struct span s);
void record_word(struct record *r, enum ledger_column c, struct span s);   /* a text of which it is known that JSON takes it as it is */
void record_prompt(struct record *r, uint64_t hash);     /* L_PROMPT, of a prompt that has no name */
void record_reads(struct record *r, struct span json);   /* L_READS: valid JSON, in which what looks like a secret is hidden */
/* L_NOTES, L_TAGS, L_KEY_TAGS: pairs of texts. */
void record_pairs(struct record *r, enum ledger_column c);
void record_pair(struct record *r, struct span name, struct span value);
void record_pairs_end(struct record *r);
/* L_FAILED: attempts that failed. status and ms below 1, and a cost that is none, are left out, but for ms. */
void record_failed(struct record *r);
void record_try(struct record *r, struct span target, enum fault f, int status, int64_t ms, int64_t cost);
void record_failed_end(struct record *r);
/* Whole, lent from `room`; empty: it found no room. Once. */
struct span record_end(struct record *r);

#endif
