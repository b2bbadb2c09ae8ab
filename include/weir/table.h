/* table.h: hash table from span to pointer. Keys are lent: they must live as long as their entry. */
#ifndef WEIR_TABLE_H
#define WEIR_TABLE_H

#include "weir/span.h"

struct table_entry {
  struct span key;
  void *value;                        /* NULL: free slot (key.p NULL) or removed (key.p not NULL) */
};
struct table {                        /* zeroed: empty */
  struct table_entry *slots;
  size_t cap, used, live;
};
void *table_get(const struct table *t, struct span key);          /* NULL when absent */
void table_set(struct table *t, struct span key, void *value);    /* value NULL removes */
/* Next live entry from *at on (start with 0), or NULL at the end. Order is of no meaning. */
struct table_entry *table_next(const struct table *t, size_t *at);
void table_free(struct table *t);

#endif
