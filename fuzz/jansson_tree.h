/* jansson_tree.h: jansson's reading of a document behind names of its own, since its header and
   weir/json.h claim the same ones. */
#ifndef JANSSON_TREE_H
#define JANSSON_TREE_H

#include "weir/span.h"

enum tree_type { TREE_NULL, TREE_FALSE, TREE_TRUE, TREE_INTEGER, TREE_REAL, TREE_STRING, TREE_ARRAY, TREE_OBJECT };

/* NULL when refused; *on_purpose then tells whether weir accepts such documents on purpose: numbers
   keep their text and may be of any size, \u0000 is a character like others, lone surrogate escapes are
   for whoever unescapes. */
void *tree_read(struct span document, bool *on_purpose);
void tree_free(void *tree);
enum tree_type tree_type(const void *v);
size_t tree_count(const void *v);
void *tree_item(const void *array, size_t i);
void *tree_member(const void *object, struct span name);     /* the last one of that name */
struct span tree_string(const void *v);
long long tree_integer(const void *v);
double tree_real(const void *v);

#endif
