/* told_impl.h: what is remembered of a stream's text. told.c is the same for all dialects and holds chat's part,
   told_responses.c the part of the one dialect that says everything again; write_responses.c closes from it. */
#ifndef WEIR_DIALECT_TOLD_IMPL_H
#define WEIR_DIALECT_TOLD_IMPL_H

#include "dialect_impl.h"

/* Where in an item a text stands. */
enum told_list { TOLD_CONTENT, TOLD_SUMMARY, TOLD_INPUT };
/* How a kind of text is told in pieces, and again at its end. */
struct told_family {
  struct span delta, done;            /* types of events */
  struct span member;                 /* of the second one: the whole text */
  struct span part;                   /* type of the content part, empty where it is no part */
  enum told_list list;
};
struct told_part {
  const struct told_family *family;   /* NULL: no piece of it has come yet */
  int item, index;
  enum told_list list;
  bool shown;                         /* policies have seen a text of it */
  bool said, changed;                 /* the client has; and not as the provider said it */
  bool done;                          /* its text has been told again */
  bool listed, over;                  /* added as a part; done as a part */
  struct buf text;                    /* as the client got it, in JSON's escapes without quotes */
};
struct told_item {
  int index;
  bool over;
  struct span id;                     /* JSON string */
  struct span item;                   /* JSON: as it was added or, when it is over, as the client got it whole */
};
enum { TOLD_PARTS = 1024, TOLD_ITEMS = 1024 };

struct told {
  const struct operation_info *operation;
  struct arena arena;
  size_t size, most;
  bool opened;                        /* what the first event says of all of them is known */
  bool full;                          /* too much came: texts are not kept any more */
  bool changed;                       /* some text was */
  int calls;                          /* gemini: so far, since an event numbers its own alone */
  struct span id, model, created;     /* chat: JSON values that stand in every chunk */
  struct span response;               /* responses: the object of the newest event that had it whole */
  struct told_part *parts;
  struct told_item *items;
  size_t part_count, part_cap, item_count, item_cap;
};

/* A copy, counted. Empty when there is no room for it. */
struct span told_keep(struct told *t, struct span s);
bool told_room(struct told *t, size_t n);
/* The change of exactly this value, or NULL. */
const struct change *change_of(const struct changes *c, struct span from);

size_t told_responses_deltas(struct told *t, struct span name, struct json data, struct delta *out, size_t count, int *closed);
void told_responses_event(struct told *t, struct span name, struct json data, struct changes *c);
struct told_part *told_part_find(const struct told *t, int item, enum told_list list, int index);

#endif
