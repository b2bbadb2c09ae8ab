/* From what a cell is known by to the cell: chains over a hash, texts kept whole, the idle make room. */
#include "room.h"
#include "weir/sha256.h"

enum { NAME_MOST = 63, VALUE_MOST = 127, HASHED = 33, LOOKS = 64 };

/* Texts as they are kept. A long one keeps its start, then '#' and half of its SHA-256; one with a NUL, which could not be
   listed as a string, only the latter. */
struct known { char text[NAME_MOST + VALUE_MOST]; int64_t name_size, value_size, hash, spec; };

static size_t keep(char *to, struct span s, size_t most) {
  unsigned char digest[SHA256_SIZE];
  char hex[SHA256_HEX];
  struct sha256 h;
  bool nul = s.n && memchr(s.p, 0, s.n);
  size_t start = nul ? 0 : most - HASHED;
  if (s.n <= most && !nul) {
    if (s.n) memcpy(to, s.p, s.n);
    return s.n;
  }
  sha256_init(&h);
  sha256_feed(&h, s);
  sha256_end(&h, digest);
  sha256_hex(digest, hex);
  memcpy(to, s.p, start);
  to[start] = '#';
  memcpy(to + start + 1, hex, HASHED - 1);
  return start + HASHED;
}

static int64_t spec_of(const struct cell_id *id) {
  bool timed = id->window.kind == WINDOW_ROLLING || id->window.kind == WINDOW_FIXED;
  if (id->kind == CELL_CONCURRENT) return CELL_CONCURRENT | WINDOW_TOTAL << 8;
  return (int64_t)id->kind | (int64_t)id->window.kind << 8 | (timed ? (int64_t)id->window.seconds << 32 : 0);
}

static void know(const struct cells *c, const struct cell_id *id, struct known *k) {
  k->name_size = (int64_t)keep(k->text, id->name, NAME_MOST);
  k->value_size = (int64_t)keep(k->text + k->name_size, id->value, VALUE_MOST);
  k->spec = spec_of(id);
  k->hash = (int64_t)span_hash(span_of(k->text, (size_t)(k->name_size + k->value_size)),
                               c->f->seed ^ (uint64_t)k->spec ^ (uint64_t)k->name_size << 24);
}

static int64_t *head_of(const struct cells *c, int64_t hash) { return &c->f->heads[(uint64_t)hash % HEADS]; }

static bool is(const struct cell *x, const struct known *k) {
  return x->hash == k->hash && x->spec == k->spec && x->name_size == k->name_size && x->value_size == k->value_size &&
         memcmp(x->text, k->text, (size_t)(k->name_size + k->value_size)) == 0;
}

static void cell_drop(struct cells *c, int64_t i) {
  struct cell *x = cell_at(c, i);
  int64_t *at = head_of(c, x->hash);
  while (*at != i) at = &cell_at(c, *at)->link;
  put(c, at, x->link);
  if (x->block) item_give(c, ITEM_BLOCK, x->block);
  put(c, &x->name_size, -1);                               /* eviction and listings pass it by */
  item_give(c, ITEM_CELL, i);
}

/* A clock's hand over the table, a few steps each time. It prefers what has passed to growing. */
static bool evict(struct cells *c, int64_t now_ms, const int64_t *kept, size_t count) {
  struct file *f = c->f;
  int64_t high = f->items[ITEM_CELL].high;
  for (int n = 0; n < LOOKS && n < high; n++) {
    int64_t i = f->hand % high + 1;
    bool needed = false;
    put(c, &f->hand, i);
    for (size_t k = 0; k < count; k++) needed |= kept[k] == i;
    if (needed || cell_at(c, i)->name_size < 0 || !cell_idle(cell_at(c, i), now_ms)) continue;
    cell_drop(c, i);
    __atomic_add_fetch(&f->evicted, 1, __ATOMIC_RELAXED);
    return true;
  }
  return false;
}

/* A free cell is nobody's, so what it holds needs no undo but the words that say that it is free. */
static int64_t cell_make(struct cells *c, const struct known *k, int64_t now_ms, const int64_t *kept, size_t count) {
  struct items *t = &c->f->items[ITEM_CELL];
  bool rolling = (k->spec >> 8 & 0xFF) == WINDOW_ROLLING;
  if (!t->free && t->high == t->ready) {
    evict(c, now_ms, kept, count);
    commit(c);                                             /* what is evicted stays so: its words are written over now */
  }
  int64_t i = item_take(c, ITEM_CELL), b = i && rolling ? item_take(c, ITEM_BLOCK) : 0;
  if (!i || (rolling && !b)) {
    undo(c);
    return 0;
  }
  struct cell *x = cell_at(c, i);
  int64_t *head = head_of(c, k->hash);
  memset((char *)x + offsetof(struct cell, hash), 0, sizeof *x - offsetof(struct cell, hash));
  x->hash = k->hash, x->spec = k->spec, x->value_size = k->value_size, x->block = b, x->used_ms = now_ms;
  memcpy(x->text, k->text, (size_t)(k->name_size + k->value_size));
  if (b) memset((char *)item_at(c, ITEM_BLOCK, b) + sizeof(int64_t), 0, sizeof(struct block) - sizeof(int64_t));
  put(c, &x->name_size, k->name_size);
  put(c, &x->link, *head);
  put(c, head, i);
  commit(c);
  return i;
}

/* A text that is kept by a hash is another one than it, so these are not found here. */
static bool is_as_said(const struct cell *x, const struct cell_id *id) {
  return x->name_size == (int64_t)id->name.n && x->value_size == (int64_t)id->value.n && x->spec == spec_of(id) &&
         memcmp(x->text, id->name.p, id->name.n) == 0 && (!id->value.n || memcmp(x->text + id->name.n, id->value.p, id->value.n) == 0);
}

static int64_t find(struct cells *c, const struct cell_id *id, bool make, int64_t now_ms, const int64_t *kept, size_t count) {
  struct known k;
  know(c, id, &k);
  for (int64_t i = *head_of(c, k.hash); i; i = cell_at(c, i)->link)
    if (is(cell_at(c, i), &k)) return i;
  return make ? cell_make(c, &k, now_ms, kept, count) : 0;
}

int64_t cell_find(struct cells *c, const struct cell_id *id, bool make, int64_t now_ms, const int64_t *kept, size_t count) {
  int64_t hint = id->hint ? *id->hint : 0;
  if (hint > 0 && hint <= c->f->items[ITEM_CELL].high && id->name.n && is_as_said(cell_at(c, hint), id)) return hint;
  int64_t i = find(c, id, make, now_ms, kept, count);
  if (id->hint) *id->hint = i;
  return i;
}

void cell_texts(const struct cell *x, char name[64], char value[128]) {
  memcpy(name, x->text, (size_t)x->name_size);
  name[x->name_size] = 0;
  memcpy(value, x->text + x->name_size, (size_t)x->value_size);
  value[x->value_size] = 0;
}
