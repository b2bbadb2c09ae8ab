#include "room.h"

/* Lua says how large what it gives back is, so a list for each size is all that small pieces need: no search, no header. The sizes are
   those that the C library's own pieces have, 8 above a multiple of 16. What is given back beyond PIECES_KEPT goes to the C library. */
enum { PIECES_KEPT = 256 << 10 };
struct piece { struct piece *next; };

static bool is_small(size_t n) { return n <= PIECE_MOST; }
static size_t list_of(size_t n) { return (n + 7) / 16; }
static size_t size_of(size_t list) { return list * 16 + 8; }

static void *fresh(size_t n, bool sure) { return sure ? mem_alloc(n) : mem_try(n); }

void *piece_new(struct pieces *s, size_t n, bool sure) {
  if (!is_small(n)) return fresh(n, sure);
  size_t list = list_of(n);
  struct piece *p = s->free[list];
  if (!p) return fresh(size_of(list), sure);
  s->free[list] = p->next;
  s->kept -= size_of(list);
  return p;
}

void piece_free(struct pieces *s, void *p, size_t n) {
  if (!p || !is_small(n) || s->kept >= PIECES_KEPT) return mem_free(p);
  size_t list = list_of(n);
  struct piece *q = p;
  q->next = s->free[list];
  s->free[list] = q;
  s->kept += size_of(list);
}

/* What shrinks stays where it is when there is no other room. */
void *piece_resize(struct pieces *s, void *p, size_t had, size_t wants, bool sure) {
  if (!is_small(had) && !is_small(wants)) return mem_grow(p, wants);
  if (is_small(had) && is_small(wants) && list_of(had) == list_of(wants)) return p;
  void *to = piece_new(s, wants, sure);
  if (!to) return wants < had ? p : NULL;
  memcpy(to, p, had < wants ? had : wants);
  piece_free(s, p, had);
  return to;
}

void pieces_end(struct pieces *s) {
  for (size_t list = 0; list < PIECE_LISTS; list++)
    for (struct piece *p = s->free[list], *next; p; p = next) {
      next = p->next;
      mem_free(p);
    }
  *s = (struct pieces){ 0 };
}
