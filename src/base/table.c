#include "weir/table.h"
#include "weir/mem.h"

static struct table_entry *find(const struct table *t, struct span key) {
  struct table_entry *removed = NULL;
  for (size_t i = span_hash(key, (uintptr_t)t) & (t->cap - 1);; i = (i + 1) & (t->cap - 1)) {
    struct table_entry *e = &t->slots[i];
    if (!e->key.p) return removed ? removed : e;
    if (!e->value) { if (!removed) removed = e; continue; }
    if (span_eq(e->key, key)) return e;
  }
}

void *table_get(const struct table *t, struct span key) { return t->cap ? find(t, key)->value : NULL; }

static void grow(struct table *t) {
  struct table old = *t;
  t->cap = 16;
  while (t->cap < old.live * 4) t->cap *= 2;
  t->slots = mem_zero(t->cap * sizeof *t->slots);
  t->used = t->live;
  for (size_t i = 0; i < old.cap; i++)
    if (old.slots[i].value) *find(t, old.slots[i].key) = old.slots[i];
  mem_free(old.slots);
}

void table_set(struct table *t, struct span key, void *value) {
  static const char empty[1];
  if (!key.p) key.p = empty;                       /* p NULL marks a free slot */
  if ((t->used + 1) * 4 > t->cap * 3) grow(t);
  struct table_entry *e = find(t, key);
  if (!e->value && !value) return;
  if (!e->value) {
    if (!e->key.p) t->used++;
    t->live++;
  } else if (!value) {
    t->live--;
  }
  e->key = key;
  e->value = value;
}

struct table_entry *table_next(const struct table *t, size_t *at) {
  while (*at < t->cap) {
    struct table_entry *e = &t->slots[(*at)++];
    if (e->value) return e;
  }
  return NULL;
}

void table_free(struct table *t) {
  mem_free(t->slots);
  *t = (struct table){ 0 };
}
