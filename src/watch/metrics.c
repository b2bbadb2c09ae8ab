/* metrics.c: a shard is a table from the series' full text to its number. Only its owner adds entries, under the shard's lock;
   numbers move by relaxed atomics without it. */
#include "weir/metrics.h"
#include <pthread.h>
#include <stdlib.h>
#include "weir/money.h"
#include "weir/table.h"

enum { LONGEST_SERIES = 512, MOST_TARGETS = 1000, MOST_VERSIONS = 256, BUCKETS = 20 };

struct cell {
  int64_t value;
  char series[];
};
struct histogram { uint64_t bucket[BUCKETS + 1], sum_ns, count; };
/* The way to a series that was counted before, by a hash of its labels: a request counts in half a dozen of them. */
struct quick { uint64_t hash; struct cell *cell; };
/* The same for the tokens of a model, whose classes are counted together. */
enum { CLASSES = 6 };
struct quick_tokens { uint64_t hash; struct cell *of[CLASSES]; };
enum { QUICK = 256, QUICK_TOKENS = 64 };
struct metrics {
  struct quick quick[QUICK];
  struct quick_tokens tokens[QUICK_TOKENS];
  pthread_mutex_t lock;
  struct table cells;
  struct histogram overhead, first_event;
  int64_t streams, reloads[2], lost;
  unsigned targets, versions;         /* distinct ones: names that callers invent must not grow the process */
};

static const uint64_t bound_us[BUCKETS] = { 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 60000000 };

struct metrics *metrics_new(void) {
  struct metrics *m = mem_zero(sizeof *m);
  pthread_mutex_init(&m->lock, NULL);
  return m;
}

void metrics_free(struct metrics *m) {
  for (size_t at = 0;;) {
    struct table_entry *e = table_next(&m->cells, &at);
    if (!e) break;
    mem_free(e->value);
  }
  table_free(&m->cells);
  pthread_mutex_destroy(&m->lock);
  mem_free(m);
}

/* ---- series text, built without printf: it is made several times per request */
struct series {
  char text[LONGEST_SERIES];
  size_t n;
};

static void put(struct series *s, struct span t) {
  size_t room = sizeof s->text - s->n;
  if (t.n > room) t.n = room;
  memcpy(s->text + s->n, t.p, t.n);
  s->n += t.n;
}

static void label(struct series *s, const char *name, struct span value) {
  put(s, s->text[s->n - 1] == '{' ? SPAN("") : SPAN(","));
  put(s, span_cstr(name));
  put(s, SPAN("=\""));
  if (value.n > 120) value.n = 120;
  for (size_t i = 0; i < value.n; i++) {
    char c = value.p[i];
    if (c == '"' || c == '\\') put(s, SPAN("\\"));
    put(s, (unsigned char)c < 0x20 ? SPAN("?") : span_of(&c, 1));
  }
  put(s, SPAN("\""));
}

static struct series series(const char *name) {
  struct series s;
  s.n = 0;
  put(&s, span_cstr(name));
  put(&s, SPAN("{"));
  return s;
}

static struct cell *cell_of(struct metrics *m, struct series *s) {
  put(s, SPAN("}"));
  struct span key = span_of(s->text, s->n);
  struct cell *c = table_get(&m->cells, key);
  if (c) return c;
  c = mem_zero(sizeof *c + key.n + 1);
  memcpy(c->series, key.p, key.n);
  pthread_mutex_lock(&m->lock);
  table_set(&m->cells, span_of(c->series, key.n), c);
  pthread_mutex_unlock(&m->lock);
  return c;
}

/* A counter stays at its end: what providers say of tokens is added up, and they may say anything. */
static int64_t plus(int64_t a, int64_t b) {
  int64_t sum;
  return __builtin_add_overflow(a, b, &sum) ? (b < 0 ? INT64_MIN : INT64_MAX) : sum;
}

static void add(int64_t *value, int64_t n) { __atomic_store_n(value, plus(*value, n), __ATOMIC_RELAXED); }   /* one writer */

static struct quick *quick(struct metrics *m, uint64_t family, struct span a, struct span b) {
  uint64_t h = span_hash(a, span_hash(b, family));
  struct quick *q = &m->quick[h % QUICK];
  if (q->hash != h) *q = (struct quick){ h, NULL };
  return q;
}

/* ---- counting */
void metrics_request(struct metrics *m, enum dialect d, struct span model, int status) {
  struct quick *q = quick(m, 1000 + (uint64_t)status * 16 + d, model, SPAN(""));
  if (q->cell) { add(&q->cell->value, 1); return; }
  struct series s = series("weir_requests_total");
  char digits[3] = { (char)('0' + status / 100 % 10), (char)('0' + status / 10 % 10), (char)('0' + status % 10) };
  label(&s, "dialect", span_cstr(dialect_word(d)));
  label(&s, "model", model);
  label(&s, "status", status ? span_of(digits, 3) : SPAN("0"));
  q->cell = cell_of(m, &s);
  add(&q->cell->value, 1);
}

void metrics_attempt(struct metrics *m, struct span target, enum fault f) {
  struct quick *q = quick(m, 100 + f, target, SPAN(""));
  if (q->cell) { add(&q->cell->value, 1); return; }
  struct series s = series("weir_attempts_total");
  size_t bare = s.n;
  label(&s, "target", target);
  label(&s, "fault", f ? span_cstr(fault_word(f)) : SPAN("none"));
  s.text[s.n] = '}';
  if (!table_get(&m->cells, span_of(s.text, s.n + 1)) && m->targets++ >= MOST_TARGETS) {
    s.n = bare;
    label(&s, "target", SPAN("other"));
    label(&s, "fault", f ? span_cstr(fault_word(f)) : SPAN("none"));
  }
  q->cell = cell_of(m, &s);
  add(&q->cell->value, 1);
}

void metrics_served(struct metrics *m, struct span target, struct span version) {
  struct quick *q = quick(m, 1, target, version);
  if (q->cell) { add(&q->cell->value, 1); return; }
  struct series s = series("weir_served_total");
  size_t bare = s.n;
  label(&s, "target", target);
  label(&s, "version", version);
  s.text[s.n] = '}';
  if (!table_get(&m->cells, span_of(s.text, s.n + 1)) && m->versions++ >= MOST_VERSIONS) {
    s.n = bare;
    label(&s, "target", SPAN("other"));
    label(&s, "version", SPAN("other"));
  }
  q->cell = cell_of(m, &s);
  add(&q->cell->value, 1);
}

static void observe(struct histogram *h, uint64_t ns) {
  uint64_t us = ns / 1000;
  unsigned i = 0;
  while (i < BUCKETS && us > bound_us[i]) i++;
  add((int64_t *)&h->bucket[i], 1);
  add((int64_t *)&h->sum_ns, (int64_t)ns);
  add((int64_t *)&h->count, 1);
}

void metrics_overhead(struct metrics *m, uint64_t ns) { observe(&m->overhead, ns); }
void metrics_first_event(struct metrics *m, uint64_t ns) { observe(&m->first_event, ns); }
void metrics_streams(struct metrics *m, int change) { add(&m->streams, change); }
void metrics_reload(struct metrics *m, bool accepted) { add(&m->reloads[accepted], 1); }
void metrics_move(int64_t *gauge, int change) { add(gauge, change); }

static struct cell *tokens_cell(struct metrics *m, struct span model, const char *class) {
  struct series s = series("weir_tokens_total");
  label(&s, "model", model);
  label(&s, "class", span_cstr(class));
  return cell_of(m, &s);
}

void metrics_tokens(struct metrics *m, struct span model, const struct usage *u) {
  static const char *const classes[CLASSES] = { "input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning" };
  const int64_t counts[CLASSES] = { u->input, u->cache_read, u->cache_write, u->cache_write_1h, u->output, u->reasoning };
  uint64_t h = span_hash(model, 2);
  struct quick_tokens *q = &m->tokens[h % QUICK_TOKENS];
  if (q->hash != h) *q = (struct quick_tokens){ .hash = h };
  for (int i = 0; i < CLASSES; i++) {
    if (counts[i] <= 0) continue;
    if (!q->of[i]) q->of[i] = tokens_cell(m, model, classes[i]);
    add(&q->of[i]->value, counts[i]);
  }
}

void metrics_spend(struct metrics *m, struct span model, int64_t amount) {
  struct quick *q = quick(m, 3, model, SPAN(""));
  if (!q->cell) {
    struct series s = series("weir_spend_usd_total");
    label(&s, "model", model);
    q->cell = cell_of(m, &s);
  }
  add(&q->cell->value, money_sum(q->cell->value, amount) - q->cell->value);
}

void metrics_lost(struct metrics *m) { add(&m->lost, 1); }

int64_t *metrics_connections(struct metrics *m, struct span endpoint, const char *state) {
  struct series s = series("weir_upstream_connections");
  label(&s, "endpoint", endpoint);
  label(&s, "state", span_cstr(state));
  return &cell_of(m, &s)->value;
}

void metrics_memory(struct metrics *m, const char *kind, int64_t bytes) {
  struct series s = series("weir_memory_bytes");
  label(&s, "kind", span_cstr(kind));
  __atomic_store_n(&cell_of(m, &s)->value, bytes, __ATOMIC_RELAXED);
}

/* ---- exposition */
static int64_t load(const void *p) { return __atomic_load_n((const int64_t *)p, __ATOMIC_RELAXED); }

static int by_series(const void *a, const void *b) { return strcmp((*(struct cell *const *)a)->series, (*(struct cell *const *)b)->series); }

static void write_histogram(struct metrics *const *shards, size_t count, size_t offset, const char *name, const char *help, struct buf *out) {
  buf_printf(out, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name);
  int64_t total = 0, sum = 0;
  for (unsigned i = 0; i <= BUCKETS; i++) {
    for (size_t k = 0; k < count; k++) total += load(&((struct histogram *)((char *)shards[k] + offset))->bucket[i]);
    if (i < BUCKETS) buf_printf(out, "%s_bucket{le=\"%g\"} %lld\n", name, (double)bound_us[i] / 1e6, (long long)total);
    else buf_printf(out, "%s_bucket{le=\"+Inf\"} %lld\n", name, (long long)total);
  }
  for (size_t k = 0; k < count; k++) sum += load(&((struct histogram *)((char *)shards[k] + offset))->sum_ns);
  buf_printf(out, "%s_sum %.9f\n%s_count %lld\n", name, (double)sum / 1e9, name, (long long)total);
}

static const struct { const char *name, *type, *help; } families[] = {
  { "weir_attempts_total", "counter", "Attempts at targets, by how they ended." },
  { "weir_memory_bytes", "gauge", "Memory held, by kind." },
  { "weir_requests_total", "counter", "Requests answered." },
  { "weir_served_total", "counter", "Answers by the model version that the provider named." },
  { "weir_spend_usd_total", "counter", "What was spent, in US dollars, as the price table has it." },
  { "weir_tokens_total", "counter", "Tokens as providers reported them." },
  { "weir_upstream_connections", "gauge", "Connections to providers." },
};

/* Merges equal series of all shards; they come sorted, so a family's stand together. */
static void write_cells(struct metrics *const *shards, size_t count, struct buf *out) {
  size_t n = 0, at;
  for (size_t k = 0; k < count; k++) n += shards[k]->cells.live;
  struct cell **all = mem_alloc((n + 1) * sizeof *all);
  n = 0;
  for (size_t k = 0; k < count; k++) {
    struct table_entry *e;
    for (at = 0; (e = table_next(&shards[k]->cells, &at));) all[n++] = e->value;
  }
  qsort(all, n, sizeof *all, by_series);
  size_t family = SIZE_MAX;
  for (size_t i = 0; i < n;) {
    int64_t sum = 0;
    size_t first = i;
    for (; i < n && strcmp(all[i]->series, all[first]->series) == 0; i++) sum = plus(sum, load(&all[i]->value));
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
      size_t length = strlen(families[f].name);
      if (f == family || strncmp(all[first]->series, families[f].name, length) || all[first]->series[length] != '{') continue;
      buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", families[f].name, families[f].help, families[f].name, families[f].type);
      family = f;
    }
    char dollars[MONEY_TEXT];
    bool money = !strncmp(all[first]->series, "weir_spend_usd_total{", 21);
    if (money) buf_printf(out, "%s %.*s\n", all[first]->series, (int)money_text(sum, dollars), dollars);
    else buf_printf(out, "%s %lld\n", all[first]->series, (long long)sum);
  }
  mem_free(all);
}

void metrics_write(struct metrics *const *shards, size_t count, struct buf *out) {
  int64_t streams = 0, accepted = 0, refused = 0, lost = 0;
  for (size_t k = 0; k < count; k++) pthread_mutex_lock(&shards[k]->lock);
  write_cells(shards, count, out);
  for (size_t k = 0; k < count; k++) pthread_mutex_unlock(&shards[k]->lock);
  for (size_t k = 0; k < count; k++) {
    streams += load(&shards[k]->streams);
    accepted += load(&shards[k]->reloads[1]);
    refused += load(&shards[k]->reloads[0]);
    lost += load(&shards[k]->lost);
  }
  buf_printf(out, "# HELP weir_streams_open Streams past their content point.\n# TYPE weir_streams_open gauge\nweir_streams_open %lld\n", (long long)streams);
  buf_printf(out, "# HELP weir_reloads_total Reloads by result.\n# TYPE weir_reloads_total counter\nweir_reloads_total{result=\"accepted\"} %lld\nweir_reloads_total{result=\"refused\"} %lld\n",
             (long long)accepted, (long long)refused);
  buf_printf(out, "# HELP weir_records_lost_total Records of exchanges that the ledger had no room for.\n# TYPE weir_records_lost_total counter\nweir_records_lost_total %lld\n", (long long)lost);
  write_histogram(shards, count, offsetof(struct metrics, overhead), "weir_overhead_seconds", "Time from a request's last byte to its first attempt's send.", out);
  write_histogram(shards, count, offsetof(struct metrics, first_event), "weir_first_event_seconds", "Time from a request to its stream's first content.", out);
}
