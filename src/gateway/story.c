/* story.c: the ledger as the gateway uses it: when there is one, which sources it keeps, what names an exchange's record, and the slot
   that stands for an exchange from its first attempt until its record is in the ring. */
#include "attempt.h"
#include "contents.h"
#include "exchange.h"
#include "story.h"
#include "worker.h"
#include <stdio.h>
#include "weir/ledger.h"

static struct ledger_limits limits_of(const struct conf *c) {
  return (struct ledger_limits){ .keep = c->ledger.keep, .max_size = c->ledger.max_size, .contents_keep = c->ledger.contents.keep };
}

/* A ledger that nobody asked for is made where it can be; one that was asked for is waited for. */
void story_open(struct gateway *g) {
  const struct conf *c = g->newest->conf;
  const char *why = NULL;
  char *dir = mem_cstr(c->state_dir);
  struct ledger_options o = { .cells = g->cells, .dir = dir, .limits = limits_of(c), .needed = c->ledger.mode == LEDGER_ON };
  if (c->ledger.mode != LEDGER_OFF) g->ledger = ledger_open(&o, &why);
  if (!g->ledger && why) log_warn("no ledger is kept: %s; `state` names another folder, ledger \"off\" silences this", why);
  mem_free(dir);
}

/* Files beside and below weir.lua keep their places; a policy that is shipped goes into policies/, where it is looked for first.
   Others are named by whole paths, and are read where they are. */
static struct span kept_name(const struct conf *c, const struct source *s, struct arena *a) {
  struct span folder = c->sources.folder, path = s->path;
  bool below = span_eq(folder, SPAN(".")) || !folder.n ? path.n && path.p[0] != '/' : span_starts(path, folder) && path.n > folder.n && path.p[folder.n] == '/';
  if (below && !span_eq(folder, SPAN(".")) && folder.n) path = span_from(path, folder.n + 1);
  while (below && span_starts(path, SPAN("./"))) path = span_from(path, 2);
  if (below) return span_eq(s->path, c->file) ? SPAN("weir.lua") : path;
  if (!span_ends(path, SPAN(".lua"))) return (struct span){ 0 };
  size_t at = span_search(path, SPAN("/policies/"));
  return at < path.n ? arena_printf(a, "policies/%.*s", SPAN_FMT(span_from(path, at + 10))) : (struct span){ 0 };
}

void story_generation(struct gateway *g, const struct conf *c) {
  struct arena a = { 0 };
  size_t n = 0, most = 0;
  if (!g->ledger) return;
  struct ledger_limits limits = limits_of(c);
  ledger_limit(g->ledger, &limits);
  for (const struct source *s = c->sources.list; s; s = s->next) most++;
  struct ledger_source *sources = arena_alloc(&a, (most + 1) * sizeof *sources);
  for (const struct source *s = c->sources.list; s; s = s->next) {
    struct span name = kept_name(c, s, &a);
    if (name.n) sources[n++] = (struct ledger_source){ name, s->bytes };
  }
  if (n) ledger_keep(g->ledger, c->hash, sources, n);
  arena_end(&a);
}

/* Of its beginning, by the wall clock; one of a kind, since each worker has some of the numbers and does not go back. Where the clock was
   set back it does, to other numbers of a millisecond: else all would be of the time it was wrong. */
int64_t story_sequence(struct exchange *x) {
  const int64_t back = (int64_t)2000 << LEDGER_SEQUENCE_BITS;
  struct worker *w = x->worker;
  const unsigned shift = LEDGER_SEQUENCE_BITS;
  if (x->sequence) return x->sequence;
  int64_t ago = (int64_t)((w->loop->now_ns - x->begun_ns) / 1000000), begun = worker_wall_ms(w) - (x->begun_ns ? ago : 0);
  int64_t step = w->gateway->worker_count ? w->gateway->worker_count : 1, low = (begun << shift) + w->number;
  if (low <= w->last_sequence) low = w->last_sequence - low > back ? low + (step << 12) : w->last_sequence + step;
  return x->sequence = w->last_sequence = low;
}

size_t story_note(struct exchange *x, char note[CELLS_NOTE]) {
  return ledger_note(note, story_sequence(x), span_cstr(x->id), x->req.key ? x->req.key->name : (struct span){ 0 }, x->attempts[0]->target.name, x->req.model);
}

/* The newer one says of whom it is asked now. */
void story_witness(struct exchange *x, uint64_t slot) {
  if (!x->worker->gateway->ledger) return;
  story_end(x);
  x->witness = slot;
}

void story_begin(struct exchange *x) {
  char note[CELLS_NOTE];
  struct cells_held held;
  const struct cells_amount none = { 0 };
  contents_begin(x);
  if (x->witness) return;
  size_t n = story_note(x, note);
  if (cells_reserve(x->worker->gateway->cells, NULL, 0, &none, span_of(note, n), worker_wall_ms(x->worker), &held) == CELLS_OK) x->witness = held.slot;
}

void story_end(struct exchange *x) {
  if (x->witness) cells_release(x->worker->gateway->cells, x->witness);
  x->witness = 0;
}

/* The same on every machine and for ever: it names prompts in old records too. Two lanes, since a step waits for the one before. */
static uint64_t fingerprint(struct span s) {
  const uint64_t by = 0x9e3779b97f4a7c15u;
  uint64_t a = s.n * by, b = ~a, w[2];
  for (; s.n; s = span_from(s, s.n < sizeof w ? s.n : sizeof w)) {
    if (s.n < sizeof w) w[0] = w[1] = 0;
    memcpy(w, s.p, s.n < sizeof w ? s.n : sizeof w);
    a = (a ^ w[0]) * by, a = a << 29 | a >> 35;
    b = (b ^ w[1]) * by, b = b << 29 | b >> 35;
  }
  a = (a ^ (b << 32 | b >> 32)) * 0xbf58476d1ce4e5b9u;
  return a ^ a >> 31;
}

bool story_prompt(struct exchange *x) {
  const struct operation_info *o = x->req.operation ? x->req.operation : x->metered;
  if (x->prompt_hash || !o || !x->req.member_count || x->req.prompt.n) return x->prompt_hash;
  struct span of = request_instructions(o, x->req.members, x->req.member_count);
  if (of.n) x->prompt_hash = fingerprint(of);
  return x->prompt_hash;
}

void story_metrics(struct gateway *g, struct buf *out) {
  struct ledger_figures f;
  if (!g->ledger) return;
  ledger_figures(g->ledger, &f);
  const struct { const char *name, *type, *help; uint64_t value; } figures[] = {
    { "weir_ledger_records_total", "counter", "Records written to the ledger.", f.records },
    { "weir_ledger_orphans_total", "counter", "Exchanges of processes that died, found by what they had reserved.", f.orphans },
    { "weir_ledger_grants_total", "counter", "Promises to budgets that were put on disk.", f.grants },
    { "weir_ledger_errors_total", "counter", "Failures of the ledger.", f.errors },
    { "weir_ledger_lost", "gauge", "1: the ledger cannot be written.", f.lost },
    { "weir_ledger_waiting_bytes", "gauge", "Records on their way to the ledger.", f.waiting },
    { "weir_ledger_size_bytes", "gauge", "The database.", (uint64_t)f.size },
  };
  for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %llu\n", figures[i].name, figures[i].help, figures[i].name, figures[i].type, figures[i].name, (unsigned long long)figures[i].value);
  buf_printf(out, "# HELP weir_ledger_lag_seconds How long the oldest record has waited at most.\n# TYPE weir_ledger_lag_seconds gauge\nweir_ledger_lag_seconds %.3f\n", f.lag);
}
