#include "weir/secret.h"

struct secret {
  int refs;
  size_t n;
  char bytes[];
};

struct secret *secret_new(struct span bytes) {
  struct secret *s = mem_alloc(sizeof *s + bytes.n);
  s->refs = 1;
  s->n = bytes.n;
  if (bytes.n) memcpy(s->bytes, bytes.p, bytes.n);
  return s;
}

struct secret *secret_ref(struct secret *s) {
  __atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
  return s;
}

void secret_drop(struct secret *s) {
  if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL)) return;
  secret_wipe(s->bytes, s->n);
  mem_free(s);
}

struct span secret_use(const struct secret *s) { return span_of(s->bytes, s->n); }

bool secret_eq(const struct secret *s, struct span given) {
  unsigned char differs = given.n != s->n;
  for (size_t i = 0; i < given.n; i++) differs |= (unsigned char)(given.p[i] ^ s->bytes[s->n ? i % s->n : 0]);
  return !differs;
}

void secret_wipe(void *p, size_t n) {
  memset(p, 0, n);
  __asm__ volatile("" : : "r"(p) : "memory");
}
