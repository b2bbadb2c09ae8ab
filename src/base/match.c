#include "weir/match.h"
#include "weir/mem.h"

/* A node's children are a dense row of 256 states: needles are few and short, feeding is hot. */
struct node {
  uint32_t next[256];
  int32_t needle;                                  /* the first needle that ends here, or -1 */
};
struct match {
  struct node *nodes;
  size_t used;
};
enum { LARGEST = 1 << 20, MOST_NODES = 1 << 16 };

static uint32_t node_new(struct match *m) {
  m->nodes = mem_grow(m->nodes, (m->used + 1) * sizeof *m->nodes);
  memset(&m->nodes[m->used], 0, sizeof *m->nodes);
  m->nodes[m->used].needle = -1;
  return (uint32_t)m->used++;
}

static void add(struct match *m, struct span needle, int32_t index) {
  uint32_t at = 0;
  for (size_t i = 0; i < needle.n; i++) {
    unsigned char c = (unsigned char)needle.p[i];
    uint32_t to = m->nodes[at].next[c];
    if (!to) {
      to = node_new(m);
      m->nodes[at].next[c] = to;
    }
    at = to;
  }
  if (m->nodes[at].needle < 0) m->nodes[at].needle = index;
}

/* Breadth first: a missing child becomes the child of the longest proper suffix. */
static void link_suffixes(struct match *m) {
  uint32_t *queue = mem_alloc(m->used * sizeof *queue), *suffix = mem_zero(m->used * sizeof *suffix);
  size_t head = 0, tail = 0;
  for (int c = 0; c < 256; c++)
    if (m->nodes[0].next[c]) queue[tail++] = m->nodes[0].next[c];
  while (head < tail) {
    struct node *n = &m->nodes[queue[head]];
    struct node *s = &m->nodes[suffix[queue[head++]]];
    if (n->needle < 0) n->needle = s->needle;
    for (int c = 0; c < 256; c++) {
      uint32_t to = n->next[c];
      if (!to) { n->next[c] = s->next[c]; continue; }
      suffix[to] = s->next[c];
      queue[tail++] = to;
    }
  }
  mem_free(queue);
  mem_free(suffix);
}

struct match *match_new(const struct span *needles, size_t count) {
  size_t total = 0;
  for (size_t i = 0; i < count; i++) {
    if (!needles[i].n) return NULL;
    total += needles[i].n;
  }
  if (!count || total > LARGEST || total > MOST_NODES) return NULL;
  struct match *m = mem_zero(sizeof *m);
  node_new(m);
  for (size_t i = 0; i < count; i++) add(m, needles[i], (int32_t)i);
  link_suffixes(m);
  return m;
}

void match_free(struct match *m) {
  if (!m) return;
  mem_free(m->nodes);
  mem_free(m);
}


long match_feed(const struct match *m, uint32_t *state, struct span in, size_t *end) {
  uint32_t at = *state;
  for (size_t i = 0; i < in.n; i++) {
    at = m->nodes[at].next[(unsigned char)in.p[i]];
    if (m->nodes[at].needle >= 0) {
      *state = at;
      *end = i + 1;
      return m->nodes[at].needle;
    }
  }
  *state = at;
  *end = in.n;
  return -1;
}
