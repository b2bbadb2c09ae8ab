/* record.c: what is kept of an exchange that has ended: metrics, the access log's line, the ledger's record. Names mean the same in
   both. What can be worked out later stands in no record. */
#include "contents.h"
#include "exchange.h"
#include "story.h"
#include "worker.h"
#include <stdio.h>
#include "weir/record.h"
#include "weir/tape.h"

static struct span model_label(const struct exchange *x) {
  if (x->route.alias) return x->route.alias->name;
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
static bool is_newest(const struct policy_note *notes, const struct policy_note *note) {
  while (notes != note && !span_eq(notes->key, note->key)) notes = notes->next;
  return notes == note;
}

static void notes_field(struct json_writer *w, const char *name, const struct policy_note *notes) {
  if (!notes) return;
  json_key(w, span_cstr(name));
  json_begin(w, '{');
  for (const struct policy_note *note = notes; note; note = note->next) {
    if (!is_newest(notes, note) || !note->value.n) continue;
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

static void line_write(struct exchange *x, struct json_writer *w) {
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
  json_end(w, '}');
}

/* ---- the ledger's record */
static void pairs_of(struct record *r, enum ledger_column c, const struct policy_note *notes) {
  if (!notes) return;
  record_pairs(r, c);
  for (const struct policy_note *note = notes; note; note = note->next)
    if (is_newest(notes, note)) record_pair(r, note->key, note->value);
  record_pairs_end(r);
}

static void who_of(struct exchange *x, struct record *r) {
  const struct key *k = x->req.key;
  record_text(r, L_PARENT, x->parent_id);
  record_text(r, L_POLICY, x->parent_policy);
  record_text(r, L_IP, x->req.ip);
  record_text(r, L_USER, k && k->user.n ? k->user : x->req.user);
  record_text(r, L_SESSION, x->req.session);
  if (!k) return;
  record_text(r, L_KEY, k->name);
  record_text(r, L_TEAM, k->team);
  if (!k->tag_count) return;
  record_pairs(r, L_KEY_TAGS);
  for (size_t i = 0; i < k->tag_count; i++) record_pair(r, k->tags[i].name, k->tags[i].value);
  record_pairs_end(r);
}

static void failed_of(struct exchange *x, struct record *r) {
  if (!x->tried_count) return;
  record_failed(r);
  for (size_t i = 0; i < x->tried_count; i++) {
    const struct tried *t = &x->tried[i];
    record_try(r, t->target, t->fault, t->status, t->ms, x->tried_cost[i]);
  }
  record_failed_end(r);
}

static void usage_of(struct exchange *x, struct record *r) {
  const struct usage *u = &x->usage;
  record_number(r, L_INPUT, u->input);
  record_number(r, L_CACHE_READ, u->cache_read);
  record_number(r, L_CACHE_WRITE, u->cache_write);
  record_number(r, L_CACHE_WRITE_1H, u->cache_write_1h);
  record_number(r, L_OUTPUT, u->output);
  record_number(r, L_REASONING, u->reasoning);
  record_number(r, L_AUDIO_IN, u->audio_in);
  record_number(r, L_IMAGE_IN, u->image_in);
  record_number(r, L_AUDIO_OUT, u->audio_out);
  record_number(r, L_IMAGE_OUT, u->image_out);
  record_number(r, L_SEARCHES, u->searches);
  record_number(r, L_TOOL_CALLS, u->tool_calls);
  if (x->fees > 0) record_number(r, L_FEES, x->fees);
  if (x->usage_reported) record_number(r, L_REPORTED, 1);
  if (x->cost || (x->target_name.n && !x->cost_unknown)) record_number(r, L_COST, x->cost);
  if (x->cost_unknown) record_number(r, L_UNPRICED, 1);
  if (x->estimate > 0) record_number(r, L_ESTIMATE, x->estimate);
  if (x->output_limit) record_number(r, L_OUTPUT_LIMIT, x->output_limit);
}

static void what_of(struct exchange *x, struct record *r) {
  record_text(r, L_METHOD, x->req.method);
  record_text(r, L_PATH, x->path);
  record_text(r, L_MODEL, x->req.model);
  if (x->route.alias) record_text(r, L_ALIAS, x->route.alias->name);
  record_word(r, L_DIALECT, span_cstr(dialect_word(x->dialect)));
  if (x->req.prompt.n) record_text(r, L_PROMPT, x->req.prompt);
  else if (story_prompt(x)) record_prompt(r, x->prompt_hash);
  if (x->req.stream) record_number(r, L_STREAM, 1);
  if (x->raw) record_number(r, L_RAW, 1);
}

static void came_of(struct exchange *x, struct record *r) {
  record_number(r, L_STATUS, x->status);
  record_text(r, L_END, x->end_word);
  record_text(r, L_TARGET, x->target_name);
  record_text(r, L_SERVED, x->served_model);
  record_text(r, L_LOSS, x->loss);
  failed_of(x, r);
  record_number(r, L_ATTEMPTS, x->begun);
  record_number(r, L_MS, (int64_t)((x->worker->loop->now_ns - x->begun_ns) / 1000000));
  if (x->first_event_ns) record_number(r, L_FIRST_EVENT_MS, (int64_t)(x->first_event_ns / 1000000));
  record_number(r, L_OVERHEAD_US, (int64_t)(x->overhead_ns / 1000));
  record_number(r, L_BYTES, (int64_t)x->answer_bytes);
  record_conf(r, x->gen->number, span_cstr(x->gen->conf->hash));
}

static void reads_of(struct exchange *x, struct record *r) {
  struct buf out = { 0 };
  if (!x->req.tape) return;
  tape_write(x->req.tape, &out);
  record_reads(r, buf_span(&out));
  buf_free(&out);
}

static struct span record_write(struct exchange *x, char room[CELLS_RECORD], bool whole) {
  enum { SHORT = 256 };
  struct record r;
  record_begin(&r, room, CELLS_RECORD, story_sequence(x));
  if (!whole) r.most = SHORT;
  record_word(&r, L_ID, span_cstr(x->id));
  who_of(x, &r);
  what_of(x, &r);
  came_of(x, &r);
  usage_of(x, &r);
  if (whole) reads_of(x, &r), pairs_of(&r, L_NOTES, x->req.notes), pairs_of(&r, L_TAGS, x->req.tags);
  return record_end(&r);
}

/* What policies noted can be too long, and names that a client made up: none keeps itself out of the ledger by them. */
static void ledger_record(struct exchange *x) {
  struct gateway *g = x->worker->gateway;
  char room[CELLS_RECORD];
  struct span record = record_write(x, room, true);
  if (!record.n) record = record_write(x, room, false);
  if (!record.n || cells_append(g->cells, record) != CELLS_OK) metrics_lost(x->worker->metrics);
  else ledger_appended(g->ledger);
}

static void access_line(struct exchange *x) {
  struct buf out = worker_buf(x->worker);
  struct json_writer w = { .out = &out };
  line_write(x, &w);
  log_sink_line(x->worker->gateway->access_log, buf_span(&out));
  worker_buf_back(x->worker, &out);
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
  if (g->access_log) access_line(x);
  contents_end(x);
  if (g->ledger) ledger_record(x);
  story_end(x);
}
