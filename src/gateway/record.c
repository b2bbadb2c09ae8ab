/* record.c: what is kept of an exchange that has ended: metrics, the access log's line, the ledger's record. The line is the record's
   beginning: names mean the same in both. */
#include "gateway.h"
#include <stdio.h>
#include "weir/ledger.h"

static struct span model_label(const struct exchange *x) {
  if (x->route.alias) return x->route.alias->name;
  if (!x->tried_count && !x->target_name.n) return SPAN("other");
  const struct candidate *c = x->route.count ? &x->route.candidates[x->at < x->route.count ? x->at : 0] : NULL;
  if (c && c->provider)
    for (size_t i = 0; i < c->provider->model_count; i++)
      if (span_eq(c->provider->models[i].name, c->model)) return c->name;
  return SPAN("other");
}

static void field(struct json_writer *w, const char *name, struct span value) {
  if (!value.n) return;
  json_key(w, span_cstr(name));
  json_str(w, value);
}

static void number(struct json_writer *w, const char *name, int64_t value) {
  if (value < 0) return;
  json_key(w, span_cstr(name));
  json_int(w, value);
}

static void flag(struct json_writer *w, const char *name, bool value) {
  if (!value) return;
  json_key(w, span_cstr(name));
  json_bool(w, true);
}

static void money(struct json_writer *w, const char *name, picodollars value) {
  char text[MONEY_TEXT];
  if (value < 0) return;
  json_key(w, span_cstr(name));
  json_str(w, span_of(text, money_text(value, text)));
}

static void write_tried(struct exchange *x, struct json_writer *w) {
  if (!x->tried_count) return;
  json_key(w, SPAN("failed"));
  json_begin(w, '[');
  for (size_t i = 0; i < x->tried_count; i++) {
    const struct tried *t = &x->tried[i];
    json_begin(w, '{');
    field(w, "target", t->target);
    field(w, "fault", span_cstr(fault_word(t->fault)));
    if (t->status) number(w, "status", t->status);
    number(w, "ms", t->ms);
    if (x->tried_cost[i] > 0) money(w, "cost", x->tried_cost[i]);
    json_end(w, '}');
  }
  json_end(w, ']');
}

static void key_fields(const struct key *k, struct json_writer *w) {
  field(w, "key", k->name);
  field(w, "team", k->team);
  field(w, "user", k->user);
  if (!k->tag_count) return;
  json_key(w, SPAN("key_tags"));
  json_begin(w, '{');
  for (size_t i = 0; i < k->tag_count; i++) json_key(w, k->tags[i].name), json_str(w, k->tags[i].value);
  json_end(w, '}');
}

/* Newest first: the first of a key counts. */
static void notes_field(struct json_writer *w, const char *name, const struct policy_note *notes) {
  if (!notes) return;
  json_key(w, span_cstr(name));
  json_begin(w, '{');
  for (const struct policy_note *note = notes; note; note = note->next) {
    bool newer = false;
    for (const struct policy_note *q = notes; q != note; q = q->next) newer |= span_eq(q->key, note->key);
    if (newer || !note->value.n) continue;
    json_key(w, note->key);
    json_str(w, note->value);
  }
  json_end(w, '}');
}

static void usage_fields(const struct usage *u, struct json_writer *w) {
  number(w, "input", u->input);
  number(w, "cache_read", u->cache_read);
  number(w, "cache_write", u->cache_write);
  number(w, "cache_write_1h", u->cache_write_1h);
  number(w, "output", u->output);
  number(w, "reasoning", u->reasoning);
}

static size_t time_text(char text[40]) {
  struct timespec t;
  struct tm tm;
  clock_gettime(CLOCK_REALTIME, &t);
  gmtime_r(&t.tv_sec, &tm);
  size_t n = strftime(text, 40, "%Y-%m-%dT%H:%M:%S", &tm);
  return n + (size_t)snprintf(text + n, 40 - n, ".%03ldZ", t.tv_nsec / 1000000);
}

/* The members of both, the object left open. */
static void line_begin(struct exchange *x, struct json_writer *w) {
  char when[40];
  json_begin(w, '{');
  field(w, "time", span_of(when, time_text(when)));
  field(w, "id", span_cstr(x->id));
  field(w, "parent", x->parent_id);
  field(w, "policy", x->parent_policy);
  field(w, "ip", x->req.ip);
  if (x->req.key) key_fields(x->req.key, w);
  field(w, "method", x->req.method);
  field(w, "path", x->path);
  field(w, "model", x->req.model);
  number(w, "status", x->status);
  field(w, "end", x->end_word);
  field(w, "target", x->target_name);
  field(w, "served", x->served_model);
  field(w, "loss", x->loss);
  flag(w, "raw", x->raw);
  flag(w, "stream", x->req.stream);
  number(w, "ms", (int64_t)((x->worker->loop->now_ns - x->begun_ns) / 1000000));
  if (x->first_event_ns) number(w, "first_event_ms", (int64_t)(x->first_event_ns / 1000000));
  number(w, "bytes", (int64_t)x->answer_bytes);
  usage_fields(&x->usage, w);
  if (x->cost || (x->target_name.n && !x->cost_unknown)) money(w, "cost", x->cost);
  write_tried(x, w);
  notes_field(w, "notes", x->req.notes);
  number(w, "generation", x->gen->number);
}

/* A name for the prompt: the caller's own, else of the instructions that begin it, so that all requests of one prompt are found together. */
void record_prompt(struct exchange *x) {
  uint64_t h = 0xcbf29ce484222325u;                      /* FNV-1a, 64 bit */
  if (x->req.prompt.n || !x->req.operation || !x->req.member_count) return;
  struct span of = request_instructions(x->req.operation, x->req.members, x->req.member_count);
  if (!of.n) return;
  for (size_t i = 0; i < of.n; i++) h = (h ^ (unsigned char)of.p[i]) * 0x100000001b3u;
  x->req.prompt = arena_printf(&x->arena, "#%016llx", (unsigned long long)h);
}

/* What only the ledger keeps. */
static void ledger_fields(struct exchange *x, struct json_writer *w) {
  if (!(x->req.key && x->req.key->user.n)) field(w, "user", x->req.user);
  field(w, "session", x->req.session);
  notes_field(w, "tags", x->req.tags);
  record_prompt(x);
  field(w, "prompt", x->req.prompt);
  field(w, "alias", x->route.alias ? x->route.alias->name : (struct span){ 0 });
  field(w, "dialect", span_cstr(dialect_word(x->dialect)));
  flag(w, "reported", x->usage_reported);
  number(w, "attempts", x->begun);
  flag(w, "unpriced", x->cost_unknown);
  if (x->estimate > 0) money(w, "estimate", x->estimate);
  if (x->output_limit) number(w, "output_limit", x->output_limit);
  number(w, "overhead_us", (int64_t)(x->overhead_ns / 1000));
  field(w, "conf", span_cstr(x->gen->conf->hash));
  number(w, "ended", worker_wall_ms(x->worker));
  number(w, "sequence", story_sequence(x));
}

static void ledger_record(struct exchange *x, struct json_writer *w, struct buf *line) {
  struct gateway *g = x->worker->gateway;
  ledger_fields(x, w);
  json_end(w, '}');
  if (buf_size(line) > CELLS_RECORD) {                   /* what policies noted is what can be so long */
    x->req.notes = x->req.tags = NULL;
    buf_clear(line);
    *w = (struct json_writer){ .out = line };
    line_begin(x, w);
    ledger_fields(x, w);
    json_end(w, '}');
  }
  if (buf_size(line) > CELLS_RECORD || cells_append(g->cells, buf_span(line)) != CELLS_OK) metrics_lost(x->worker->metrics);
  else ledger_appended(g->ledger);
}

void answer_record(struct exchange *x) {
  struct metrics *m = x->worker->metrics;
  struct gateway *g = x->worker->gateway;
  struct span label = model_label(x);
  metrics_request(m, x->dialect, label, x->status);
  if (x->counted_open) metrics_streams(m, -1);
  if (x->overhead_ns) metrics_overhead(m, x->overhead_ns);
  if (x->usage_reported) metrics_tokens(m, label, &x->usage);
  if (x->cost > 0) metrics_spend(m, label, x->cost);
  if (x->served_model.n && x->target_name.n) metrics_served(m, x->target_name, x->served_model);
  if (!g->access_log && !g->ledger) return;
  struct buf out = worker_buf(x->worker);
  struct json_writer w = { .out = &out };
  line_begin(x, &w);
  if (g->access_log) {
    struct json_writer closed = w;
    size_t size = buf_size(&out);
    json_end(&closed, '}');
    log_sink_line(g->access_log, buf_span(&out));
    out.end -= buf_size(&out) - size;                    /* open again, for the ledger's part */
  }
  if (g->ledger) ledger_record(x, &w, &out);
  story_end(x);
  worker_buf_back(x->worker, &out);
}
