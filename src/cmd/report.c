/* weir report: what the ledger says of spend and quality, grouped by any of its names. It reads the database while weir runs, and the
   configuration only for where that is and for what other targets of a chain would have cost. */
#include "cmd.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "../gateway/gateway.h"
#include "weir/ledger.h"

enum { MOST_BY = 8, KEY_MOST = 1024 };
enum by_kind { BY_COLUMN, BY_PROVIDER, BY_DAY, BY_HOUR, BY_MONTH, BY_TAG };
struct by { enum by_kind kind; enum ledger_column column; struct span name, tag; };
struct numbers { uint32_t *of; size_t count, cap; };
struct group {
  struct span by[MOST_BY];
  uint64_t requests, answered, faulty, refused, denied, priced_not, compared;
  picodollars cost, fees, cheapest, compared_cost;
  int64_t input, cache_read, cache_write, output, reasoning, searches, tool_calls;
  struct numbers ms, first_ms;
};
struct report {
  struct arena arena;
  struct by by[MOST_BY];
  size_t by_count;
  struct table groups;
  const struct conf *conf;            /* NULL: nothing is known of chains and prices */
};

/* ---- words of the command line */
static bool by_read(struct report *r, struct span words) {
  static const enum ledger_column columns[] = { L_MODEL, L_ALIAS, L_TARGET, L_SERVED, L_KEY, L_TEAM, L_USER, L_SESSION, L_PROMPT, L_DIALECT, L_END,
                                                L_STATUS, L_POLICY, L_PATH, L_CONF, L_IP, L_LOSS };
  static const struct { const char *name; enum by_kind kind; } others[] = { { "provider", BY_PROVIDER }, { "day", BY_DAY }, { "hour", BY_HOUR }, { "month", BY_MONTH } };
  while (words.n) {
    struct span word;
    struct by b = { .kind = BY_COLUMN, .column = L_COLUMNS };
    words = span_cut(words, ',', &word);
    word = span_trim(word);
    b.name = word;
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
      if (span_eq(word, span_cstr(ledger_column_name(columns[i])))) b.column = columns[i];
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
      if (span_eq(word, span_cstr(others[i].name))) b.kind = others[i].kind;
    if (span_starts(word, SPAN("tag:")) && word.n > 4) b.kind = BY_TAG, b.tag = span_from(word, 4);
    if ((b.kind == BY_COLUMN && b.column == L_COLUMNS) || r->by_count == MOST_BY)
      return fprintf(stderr, "weir report: --by takes up to %d of model, alias, target, provider, served, key, team, user, session, prompt, dialect, end, status, "
                     "policy, path, conf, ip, loss, day, hour, month, tag:NAME; not '%.*s'\n", MOST_BY, SPAN_FMT(word)), false;
    r->by[r->by_count++] = b;
  }
  return true;
}

/* "7d", "12h", "30m", "2w": so long ago; "2026-11-01", "2026-11-01T12:00:00Z": then, UTC. */
static bool time_read(const char *text, int64_t now_ms, int64_t *out) {
  static const struct { char unit; double seconds; } units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 7 * 86400 } };
  struct span s = span_cstr(text);
  struct tm tm = { 0 };
  double n;
  for (size_t i = 0; s.n > 1 && i < sizeof units / sizeof *units; i++)
    if (s.p[s.n - 1] == units[i].unit && span_double(span_of(s.p, s.n - 1), &n) && n >= 0 && n < 1e9)
      return *out = now_ms - (int64_t)(n * units[i].seconds * 1000), true;
  const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
  if (!end) memset(&tm, 0, sizeof tm), end = strptime(text, "%Y-%m-%d", &tm);
  if (!end || (*end && strcmp(end, "Z"))) return false;
  int day = tm.tm_mday;
  *out = (int64_t)timegm(&tm) * 1000;
  return tm.tm_mday == day;                              /* there is no 30th of February */
}

/* ---- gathering */
static struct span by_value(struct report *r, const struct by *b, const struct ledger_row *row, char *text, size_t size) {
  static const char *const formats[] = { [BY_DAY] = "%Y-%m-%d", [BY_HOUR] = "%Y-%m-%dT%H", [BY_MONTH] = "%Y-%m" };
  struct span v = { 0 };
  struct json json;
  time_t at = (time_t)(ledger_begun_ms(row->number[L_SEQUENCE]) / 1000);
  struct tm tm;
  switch (b->kind) {
  case BY_COLUMN:
    if (ledger_column_is_text(b->column)) return row->text[b->column];
    return row->number[b->column] < 0 ? v : span_of(text, (size_t)snprintf(text, size, "%lld", (long long)row->number[b->column]));
  case BY_PROVIDER:
    span_cut(row->text[L_TARGET], '/', &v);
    return v;
  case BY_TAG:
    if (json_read(row->text[L_TAGS], &json, NULL) && (json = json_get(json, b->tag)).type == JSON_STRING) json_unescape(json, &r->arena, &v);
    if (!v.n && json_read(row->text[L_KEY_TAGS], &json, NULL) && (json = json_get(json, b->tag)).type == JSON_STRING) json_unescape(json, &r->arena, &v);
    return v;
  default: return span_of(text, strftime(text, size, formats[b->kind], gmtime_r(&at, &tm)));
  }
}

static struct group *group_of(struct report *r, const struct ledger_row *row) {
  char text[MOST_BY][24];
  struct span by[MOST_BY];
  struct buf key = { 0 };
  for (size_t i = 0; i < r->by_count; i++) {
    by[i] = by_value(r, &r->by[i], row, text[i], sizeof text[i]);
    buf_printf(&key, "%zu:", by[i].n);
    buf_add(&key, by[i]);
  }
  buf_byte(&key, '.');
  struct group *g = table_get(&r->groups, buf_span(&key));
  if (!g) {
    g = arena_zero(&r->arena, sizeof *g);
    for (size_t i = 0; i < r->by_count; i++) g->by[i] = arena_copy(&r->arena, by[i]);
    table_set(&r->groups, arena_copy(&r->arena, buf_span(&key)), g);
  }
  buf_free(&key);
  return g;
}

static void number_add(struct numbers *n, int64_t v) {
  if (v < 0) return;
  if (n->count == n->cap) {
    n->cap = n->cap ? 2 * n->cap : 64;
    n->of = mem_grow(n->of, n->cap * sizeof *n->of);
  }
  n->of[n->count++] = v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

static void add(int64_t *sum, int64_t n) {
  if (n > 0 && __builtin_add_overflow(*sum, n, sum)) *sum = INT64_MAX;
}

/* The same tokens at each other target of the chain, at today's prices; the least of it. PRICE_UNKNOWN: no other has a price. */
static picodollars cheapest_other(const struct report *r, const struct ledger_row *row) {
  struct alias *alias = r->conf && row->text[L_ALIAS].n ? conf_alias(r->conf, row->text[L_ALIAS]) : NULL;
  struct usage u = USAGE_NONE;
  picodollars least = PRICE_UNKNOWN;
  u.input = row->number[L_INPUT], u.cache_read = row->number[L_CACHE_READ], u.cache_write = row->number[L_CACHE_WRITE];
  u.cache_write_1h = row->number[L_CACHE_WRITE_1H], u.output = row->number[L_OUTPUT], u.reasoning = row->number[L_REASONING];
  u.audio_in = row->number[L_AUDIO_IN], u.image_in = row->number[L_IMAGE_IN], u.audio_out = row->number[L_AUDIO_OUT];
  u.image_out = row->number[L_IMAGE_OUT], u.searches = row->number[L_SEARCHES], u.reasoning_place = REASONING_ADDED;
  for (size_t i = 0; alias && i < alias->target_count; i++) {
    struct span head, model = span_cut(alias->targets[i], '/', &head);
    struct provider *p = conf_provider(r->conf, head);
    struct model_facts facts;
    if (!p || span_eq(alias->targets[i], row->text[L_TARGET])) continue;
    conf_model(r->conf, p, model, &facts);
    struct usage copy = u;
    picodollars cost = conf_cost(p, &facts, &copy, ledger_begun_ms(row->number[L_SEQUENCE]) / 1000);
    if (cost >= 0 && (least < 0 || cost < least)) least = cost;
  }
  return least;
}

static bool is(struct span s, const char *word) { return span_eq(s, span_cstr(word)); }

static bool gather(void *arg, const struct ledger_row *row) {
  struct report *r = arg;
  struct group *g = group_of(r, row);
  struct span end = row->text[L_END], failed = row->text[L_FAILED];
  int64_t status = row->number[L_STATUS], cost = row->number[L_COST];
  bool answered = (is(end, "done") || is(end, "stopped")) && status >= 200 && status < 400;
  bool refused = is(end, "refused") || is(end, "content_filtered") || span_search(failed, SPAN("\"fault\":\"refused\"")) < failed.n ||
    span_search(failed, SPAN("\"fault\":\"content_filtered\"")) < failed.n;
  g->requests++;
  g->answered += answered;
  g->refused += refused;
  g->denied += is(end, "denied") || is(end, "capped") || is(end, "limited");
  g->faulty += failed.n > 0 || is(end, "internal");
  g->priced_not += row->number[L_UNPRICED] == 1;
  add(&g->cost, cost);
  add(&g->input, row->number[L_INPUT]);
  add(&g->cache_read, row->number[L_CACHE_READ]);
  add(&g->cache_write, row->number[L_CACHE_WRITE]);
  add(&g->cache_write, row->number[L_CACHE_WRITE_1H]);
  add(&g->output, row->number[L_OUTPUT]);
  add(&g->reasoning, row->number[L_REASONING]);
  add(&g->searches, row->number[L_SEARCHES]);
  add(&g->tool_calls, row->number[L_TOOL_CALLS]);
  add(&g->fees, row->number[L_FEES]);
  if (answered) number_add(&g->ms, row->number[L_MS]);
  number_add(&g->first_ms, row->number[L_FIRST_EVENT_MS]);
  picodollars other = answered && cost >= 0 ? cheapest_other(r, row) : PRICE_UNKNOWN;
  if (other < 0) return true;
  g->compared++;
  add(&g->cheapest, other);
  add(&g->compared_cost, cost);
  return true;
}

/* ---- printing */
static int by_number(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

/* Nearest rank; the numbers are sorted. -1: none. */
static int64_t percentile(const struct numbers *n, unsigned percent) {
  return n->count ? (int64_t)n->of[(n->count * percent + 99) / 100 - 1] : -1;
}

static int by_cost(const void *a, const void *b) {
  const struct group *x = *(struct group *const *)a, *y = *(struct group *const *)b;
  if (x->cost != y->cost) return x->cost < y->cost ? 1 : -1;
  if (x->requests != y->requests) return x->requests < y->requests ? 1 : -1;
  for (size_t i = 0; i < MOST_BY; i++) {
    int c = span_cmp(x->by[i], y->by[i]);
    if (c) return c;
  }
  return 0;
}

enum { FIGURES = 23 };
struct figure { const char *name; char text[MONEY_TEXT + 8]; bool quoted; };       /* text "": not known */

static size_t figures_of(struct group *g, struct figure f[FIGURES]) {
  size_t n = 0;
  if (g->ms.count) qsort(g->ms.of, g->ms.count, sizeof *g->ms.of, by_number);
  if (g->first_ms.count) qsort(g->first_ms.of, g->first_ms.count, sizeof *g->first_ms.of, by_number);
#define COUNT(label, value) do { f[n] = (struct figure){ .name = label }; \
    long long v_ = (long long)(value); if (v_ >= 0) snprintf(f[n].text, sizeof f[n].text, "%lld", v_); n++; } while (0)
#define MONEY(label, known, value) do { f[n] = (struct figure){ .name = label, .quoted = true }; if (known) f[n].text[money_text(value, f[n].text)] = 0; n++; } while (0)
#define RATE(label, part) do { f[n] = (struct figure){ .name = label }; snprintf(f[n].text, sizeof f[n].text, "%.4f", (double)(part) / (double)g->requests); n++; } while (0)
  COUNT("requests", g->requests);
  COUNT("answered", g->answered);
  MONEY("cost_usd", true, g->cost);
  MONEY("cost_per_answer_usd", g->answered > 0, g->cost / (picodollars)(g->answered ? g->answered : 1));
  COUNT("input", g->input);
  COUNT("cache_read", g->cache_read);
  COUNT("cache_write", g->cache_write);
  COUNT("output", g->output);
  COUNT("reasoning", g->reasoning);
  COUNT("searches", g->searches);
  COUNT("tool_calls", g->tool_calls);
  MONEY("fees_usd", true, g->fees);
  COUNT("p50_ms", percentile(&g->ms, 50));
  COUNT("p95_ms", percentile(&g->ms, 95));
  COUNT("p99_ms", percentile(&g->ms, 99));
  COUNT("first_p50_ms", percentile(&g->first_ms, 50));
  COUNT("first_p95_ms", percentile(&g->first_ms, 95));
  RATE("fault_rate", g->faulty);
  RATE("refusal_rate", g->refused);
  RATE("denied_rate", g->denied);
  COUNT("unpriced", g->priced_not);
  MONEY("cheapest_other_usd", g->compared > 0, g->cheapest);
  MONEY("compared_with_usd", g->compared > 0, g->compared_cost);
  return n;
}

static void print_json(const struct report *r, struct group **groups, size_t count) {
  struct buf out = { 0 };
  struct json_writer w = { .out = &out };
  json_begin(&w, '[');
  for (size_t i = 0; i < count; i++) {
    struct figure f[FIGURES];
    size_t n = figures_of(groups[i], f);
    json_begin(&w, '{');
    for (size_t k = 0; k < r->by_count; k++) json_key(&w, r->by[k].name), json_str(&w, groups[i]->by[k]);
    for (size_t k = 0; k < n; k++) {
      if (!f[k].text[0]) continue;
      json_key(&w, span_cstr(f[k].name));
      if (f[k].quoted) json_str(&w, span_cstr(f[k].text));
      else json_raw(&w, span_cstr(f[k].text));
    }
    json_end(&w, '}');
  }
  json_end(&w, ']');
  printf("%.*s\n", SPAN_FMT(buf_span(&out)));
  buf_free(&out);
}

/* RFC 4180. A cell that a spreadsheet would take for a formula gets an apostrophe: names come from clients. */
static void csv_cell(struct span s, bool name) {
  bool formula = name && s.n && strchr("=+-@\t\r", s.p[0]);
  bool quote = formula || span_find(s, ',') < s.n || span_find(s, '"') < s.n || span_find(s, '\n') < s.n || span_find(s, '\r') < s.n;
  if (!quote) {
    printf("%.*s", SPAN_FMT(s));
    return;
  }
  printf("\"%s", formula ? "'" : "");
  for (size_t i = 0; i < s.n; i++) s.p[i] == '"' ? printf("\"\"") : putchar(s.p[i]);
  putchar('"');
}

static void print_csv(const struct report *r, struct group **groups, size_t count) {
  struct figure f[FIGURES];
  struct group none = { .requests = 1 };
  size_t n = figures_of(&none, f);
  for (size_t k = 0; k < r->by_count; k++) csv_cell(r->by[k].name, false), putchar(',');
  for (size_t k = 0; k < n; k++) printf("%s%s", k ? "," : "", f[k].name);
  printf("\r\n");
  for (size_t i = 0; i < count; i++) {
    figures_of(groups[i], f);
    for (size_t k = 0; k < r->by_count; k++) csv_cell(groups[i]->by[k], true), putchar(',');
    for (size_t k = 0; k < n; k++) printf("%s%s", k ? "," : "", f[k].text);
    printf("\r\n");
  }
}

static void name_print(struct span s) {
  if (!s.n) printf("-");
  for (size_t i = 0; i < s.n; i++) putchar((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f ? '?' : s.p[i]);
}

/* For people: a block each, since names are long and figures many. */
static void print_text(const struct report *r, struct group **groups, size_t count) {
  for (size_t i = 0; i < count; i++) {
    struct figure f[FIGURES];
    size_t n = figures_of(groups[i], f);
    for (size_t k = 0; k < r->by_count; k++) {
      printf("%s%.*s ", k ? "  " : "", SPAN_FMT(r->by[k].name));
      name_print(groups[i]->by[k]);
    }
    printf("%s", r->by_count ? "\n" : "");
    for (size_t k = 0; k < n; k++) {
      bool dull = !f[k].text[0] || ((k > 4) && (!strcmp(f[k].text, "0") || !strcmp(f[k].text, "0.0000")));
      if (!dull) printf("  %-20s %s\n", f[k].name, f[k].text);
    }
  }
  if (!count) printf("no requests in that time\n");
}

static void print(struct report *r, bool json, bool csv) {
  size_t n = 0, at = 0;
  struct group **groups = arena_alloc(&r->arena, (r->groups.live + 1) * sizeof *groups);
  for (struct table_entry *e; (e = table_next(&r->groups, &at));) groups[n++] = e->value;
  qsort(groups, n, sizeof *groups, by_cost);
  if (json) print_json(r, groups, n);
  else if (csv) print_csv(r, groups, n);
  else print_text(r, groups, n);
  for (size_t i = 0; i < n; i++) mem_free(groups[i]->ms.of), mem_free(groups[i]->first_ms.of);
}

struct ledger_reader *report_open(const char *config, const char *state, struct conf **out, const char *command) {
  struct buf errors = { 0 };
  const char *why = "", *file = conf_find(config);
  struct conf *c = file || !state ? conf_load_story(config, &errors) : NULL;
  struct ledger_reader *r = NULL;
  char *dir = state ? mem_cstr(span_cstr(state)) : c ? mem_cstr(c->state_dir) : NULL;
  if (!c && (!state || config)) fprintf(stderr, "%.*s", SPAN_FMT(buf_span(&errors)));
  if (dir && !(r = ledger_read_open(dir, &why))) fprintf(stderr, "weir %s: %s\n", command, why);
  mem_free(dir);
  buf_free(&errors);
  *out = c;
  return r;
}

int cmd_report(struct args *a) {
  const char *config = args_value(a, "--config"), *state = args_value(a, "--state"), *by = args_value(a, "--by");
  const char *since = args_value(a, "--since"), *until = args_value(a, "--until"), *why = "";
  bool json = args_flag(a, "--json"), csv = args_flag(a, "--csv");
  int64_t now = (int64_t)time(NULL) * 1000, from = now - 7 * 86400000ll, to = INT64_MAX;
  struct report r = { 0 };
  struct conf *c = NULL;
  if (!args_done(a, "report") || !by_read(&r, span_cstr(by ? by : "model"))) return 2;
  if ((since && !time_read(since, now, &from)) || (until && !time_read(until, now, &to)))
    return fprintf(stderr, "weir report: a time is \"7d\", \"12h\", \"30m\", \"2w\", or a date such as 2026-11-01 or 2026-11-01T12:00:00Z (UTC)\n"), 2;
  if (json && csv) return fprintf(stderr, "weir report: --json or --csv, not both\n"), 2;
  struct ledger_reader *reader = report_open(config, state, &c, "report");
  r.conf = c;
  bool good = reader && ledger_read_range(reader, from, to, gather, &r, &why);
  if (reader && !good) fprintf(stderr, "weir report: %s\n", why);
  if (good) print(&r, json, csv);
  ledger_read_close(reader);
  table_free(&r.groups);
  arena_end(&r.arena);
  conf_drop(c);
  return good ? 0 : 1;
}
