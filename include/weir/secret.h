/* secret.h: bytes that are sent to where they belong and shown nowhere. The struct is opaque so
   that no printf can reach it; secret_use is the one way to the bytes and is grep-able. */
#ifndef WEIR_SECRET_H
#define WEIR_SECRET_H

#include "weir/mem.h"

struct secret;
struct secret *secret_new(struct span bytes);             /* copies; one reference */
struct secret *secret_ref(struct secret *s);
void secret_drop(struct secret *s);                       /* NULL is fine; wiped with the last reference */
struct span secret_use(const struct secret *s);           /* lent: only to write it to its peer or to compare */
bool secret_eq(const struct secret *s, struct span given);/* constant time in the length of `given` */
void secret_wipe(void *p, size_t n);                      /* memset that is not optimised away */

#endif
