/* generation.c: one loaded set of weir.lua and policies: all of it or nothing. */
#include "story.h"
#include "worker.h"

/* Each CA file once per generation; endpoints borrow, the generation holds the reference. */
static struct tls_trust *trust_of(struct generation *gen, struct span ca, struct buf *errors) {
  for (size_t i = 0; i < gen->trust_count; i++)
    if (span_eq(gen->trusts[i].path, ca)) return gen->trusts[i].trust;
  char text[256], *path = ca.n ? mem_cstr(ca) : NULL;
  struct tls_trust *t = tls_trust_load(path, text, sizeof text);
  if (!t) buf_printf(errors, "%s: %s\n", path ? path : "system roots", text);
  mem_free(path);
  if (!t) return NULL;
  gen->trusts = mem_grow(gen->trusts, (gen->trust_count + 1) * sizeof *gen->trusts);
  gen->trusts[gen->trust_count++] = (struct trust_entry){ ca, t };
  return t;
}

static bool attach_trust(struct generation *gen, struct buf *errors) {
  struct conf *c = gen->conf;
  bool good = true;
  for (size_t i = 0; i < c->provider_count; i++)
    for (size_t j = 0; j < c->providers[i].endpoint_count; j++) {
      struct endpoint *e = &c->providers[i].endpoints[j];
      if (!e->url.tls) continue;
      e->trust = trust_of(gen, e->ca, errors);
      good &= e->trust != NULL;
    }
  return good;
}

struct generation *generation_load(const char *file, unsigned workers, unsigned number, struct buf *errors, struct buf *warnings) {
  struct conf *c = conf_load(file, errors, warnings);
  return c ? generation_of(c, workers, number, errors, warnings) : NULL;
}

struct generation *generation_of(struct conf *c, unsigned workers, unsigned number, struct buf *errors, struct buf *warnings) {
  struct generation *gen = mem_zero(sizeof *gen);
  gen->refs = 1;
  gen->number = number;
  gen->conf = c;
  if (!attach_trust(gen, errors)) {
    generation_free(gen);
    return NULL;
  }
  gen->worker_count = workers;
  gen->vms = mem_zero((workers + 1) * sizeof *gen->vms);
  for (unsigned i = 0; i < workers; i++) {
    struct buf again = { 0 };                            /* said once, not once per worker */
    gen->vms[i] = policy_vm_new(gen->conf, errors, i ? &again : warnings);
    buf_free(&again);
    if (gen->vms[i]) continue;
    generation_free(gen);
    return NULL;
  }
  return gen;
}

void generation_free(struct generation *gen) {
  for (unsigned i = 0; i < gen->worker_count; i++)
    if (gen->vms[i]) policy_vm_free(gen->vms[i]);
  mem_free(gen->vms);
  for (size_t i = 0; i < gen->trust_count; i++) tls_trust_drop(gen->trusts[i].trust);
  mem_free(gen->trusts);
  if (gen->conf) conf_drop(gen->conf);
  mem_free(gen);
}

/* The last reference may fall on a worker in the middle of its turn; closing Lua states takes milliseconds, so that is left to
   housekeeping. Without one (simulation) it is done here. */
void generation_drop(struct gateway *g, struct generation *gen) {
  if (__atomic_sub_fetch(&gen->refs, 1, __ATOMIC_ACQ_REL)) return;
  if (!g->house) {
    generation_free(gen);
    return;
  }
  gen->next = __atomic_load_n(&g->retired, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(&g->retired, &gen->next, gen, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {}
}

void generation_bury(struct gateway *g) {
  struct generation *gen = __atomic_exchange_n(&g->retired, NULL, __ATOMIC_ACQUIRE);
  while (gen) {
    struct generation *next = gen->next;
    log_info("generation %u is closed", gen->number);
    generation_free(gen);
    gen = next;
  }
}

void generation_publish(struct gateway *g, struct generation *gen) {
  struct generation *old = g->newest;
  story_generation(g, gen->conf);
  g->newest = gen;
  for (unsigned i = 0; i < gen->worker_count; i++) policy_set_cells(gen->vms[i], g->cells);
  for (unsigned i = 0; i < g->worker_count; i++) worker_offer(&g->workers[i], gen);
  if (old) generation_drop(g, old);
}
