/* compare_tell.c: percentiles, differences, the report of weir compare. */
#include "compare.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

bool bodies_differ(struct span a, struct span b, size_t *at) {
  size_t n = a.n < b.n ? a.n : b.n, i = 0;
  while (i < n && a.p[i] == b.p[i]) i++;
  *at = i;
  return i < n || a.n != b.n;
}

/* ---- headers */
/* What weir says itself or renames (doc/operations.md, Headers), and what is about one connection alone. */
static bool promised(struct span name) {
  static const char *const names[] = { "x-request-id", "traceparent", "server-timing", "connection", "keep-alive", "transfer-encoding", "content-length" };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (span_ieq(name, span_cstr(names[i]))) return true;
  return span_istarts(name, SPAN("x-weir-"));
}

static bool promised_to_go(struct span name) { return promised(name) || span_ieq(name, SPAN("request-id")); }

static struct span value_of(const struct http_head *h, struct span name) {
  struct span v = http_header(h, name);
  return v.p ? v : SPAN("");
}

void heads_differ(const struct http_head *direct, const struct http_head *again, const struct http_head *through, struct buf *out) {
  for (size_t i = 0; i < direct->count; i++) {
    struct span name = direct->headers[i].name, value = value_of(direct, name);
    if (promised_to_go(name) || span_ieq(name, SPAN("date"))) continue;
    if (!http_header(through, name).p) buf_printf(out, "%.*s: only direct\n", SPAN_FMT(name));
    else if (!span_eq(value, value_of(through, name)) && span_eq(value, value_of(again, name)))
      buf_printf(out, "%.*s: '%.*s' direct, '%.*s' through weir\n", SPAN_FMT(name), SPAN_FMT(value), SPAN_FMT(value_of(through, name)));
  }
  for (size_t i = 0; i < through->count; i++)
    if (!promised(through->headers[i].name) && !http_header(direct, through->headers[i].name).p)
      buf_printf(out, "%.*s: only through weir\n", SPAN_FMT(through->headers[i].name));
}

/* ---- percentiles */
enum { HEAD, FIRST, TOTAL, TIMES };
static const char *const time_words[TIMES] = { "head", "first_event", "total" };
static const struct { const char *word; double at; } points[] = { { "p50", 0.5 }, { "p90", 0.9 }, { "p99", 0.99 } };
enum { POINTS = sizeof points / sizeof *points };
struct row { double direct[POINTS], through[POINTS], added[POINTS]; size_t count; };

static double time_of(const struct pair *p, int side, int which) {
  return which == HEAD ? p->side[side].head_ms : which == FIRST ? p->side[side].first_ms : p->side[side].total_ms;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Of a sorted list, the nearest rank. */
static void percentiles(double *list, size_t n, double out[POINTS]) {
  qsort(list, n, sizeof *list, by_size);
  for (int i = 0; i < POINTS; i++) {
    size_t rank = (size_t)(points[i].at * (double)n + 0.999999);
    out[i] = list[rank ? rank - 1 : 0];
  }
}

/* `added` are percentiles of the pairs' differences: what is slow for both sides of a pair cancels out. */
static struct row row_of(const struct findings *f, int which) {
  struct row r = { 0 };
  double *list[3];
  for (int i = 0; i < 3; i++) list[i] = mem_alloc(f->count * sizeof(double));
  for (size_t i = 0; i < f->count; i++) {
    double d = time_of(&f->pairs[i], SIDE_DIRECT, which), t = time_of(&f->pairs[i], SIDE_THROUGH, which);
    if (!f->pairs[i].good || d < 0 || t < 0) continue;
    list[0][r.count] = d;
    list[1][r.count] = t;
    list[2][r.count++] = t - d;
  }
  if (r.count) {
    percentiles(list[0], r.count, r.direct);
    percentiles(list[1], r.count, r.through);
    percentiles(list[2], r.count, r.added);
  }
  for (int i = 0; i < 3; i++) mem_free(list[i]);
  return r;
}

struct sums { size_t failed, same, different; const struct pair *first; const char *why; };
static struct sums sums_of(const struct findings *f) {
  struct sums s = { 0 };
  for (size_t i = 0; i < f->count; i++) {
    const struct pair *p = &f->pairs[i];
    if (!p->good) {
      s.failed++;
      if (!s.why) s.why = p->why;
    } else if (p->same) {
      s.same++;
    } else {
      s.different++;
      if (!s.first) s.first = p;
    }
  }
  return s;
}

/* ---- as text */
static void print_row(const char *name, const double v[POINTS]) {
  printf("  %-16s", name);
  for (int i = 0; i < POINTS; i++) printf(" %10.3f", v[i]);
  printf("\n");
}

static void print_bytes(const struct findings *f, const struct sums *s) {
  if (!s->different) {
    printf("\nbytes: equal in all %zu pairs\n", s->same);
  } else {
    printf("\nbytes: equal in %zu pairs, different in %zu, the first time from byte %zu on\n", s->same, s->different, s->first->differs_at);
    if (f->direct_differs)
      printf("  two direct answers differ as well, from byte %zu on: this provider does not say the same twice\n", f->direct_differs_at);
  }
  if (!f->headers.n) {
    printf("headers: none that weir does not promise to change\n");
    return;
  }
  printf("headers that differ:\n");
  for (struct span left = f->headers, line; left.n;) {
    left = span_cut(left, '\n', &line);
    if (line.n) printf("  %.*s\n", SPAN_FMT(line));
  }
}

size_t findings_print(const struct findings *f) {
  struct sums s = sums_of(f);
  printf("%s: direct at %.*s, and through %s\n", f->model, SPAN_FMT(f->url), f->through);
  printf("%zu pairs%s, %u at a time, %zu request%s\n", f->count - s.failed, f->stream ? " of streams" : "", f->lanes, f->files, f->files == 1 ? "" : "s");
  if (s.failed) printf("%zu pairs failed and are not counted; the first: %s\n", s.failed, s.why);
  printf("connecting, once: direct %.3f ms", f->connect_ms[SIDE_DIRECT]);
  if (f->tls_ms[SIDE_DIRECT] > 0) printf(" and %.3f ms for TLS", f->tls_ms[SIDE_DIRECT]);
  printf("; weir %.3f ms\n", f->connect_ms[SIDE_THROUGH]);
  for (int t = 0; t < TIMES; t++) {
    struct row r = row_of(f, t);
    if (!r.count) continue;
    printf("\n%-18s", t == HEAD ? "to the head, ms" : t == FIRST ? "to content, ms" : "to the end, ms");
    for (int i = 0; i < POINTS; i++) printf(" %10s", points[i].word);
    printf("\n");
    print_row("direct", r.direct);
    print_row("through", r.through);
    print_row("added", r.added);
  }
  if (f->cpu_pid) printf("\nprocessor: %.1f us of weir (pid %d) per request\n", f->cpu_us, f->cpu_pid);
  else printf("\nprocessor: not known: %s\n", f->cpu_why);
  print_bytes(f, &s);
  return s.failed;
}

/* ---- as JSON */
static void json_points(struct json_writer *w, const char *name, const double v[POINTS]) {
  json_key(w, span_cstr(name));
  json_begin(w, '{');
  for (int i = 0; i < POINTS; i++) {
    json_key(w, span_cstr(points[i].word));
    json_num(w, round(v[i] * 1000) / 1000);
  }
  json_end(w, '}');
}

static void json_times(struct json_writer *w, const struct findings *f) {
  json_key(w, SPAN("ms"));
  json_begin(w, '{');
  for (int t = 0; t < TIMES; t++) {
    struct row r = row_of(f, t);
    if (!r.count) continue;
    json_key(w, span_cstr(time_words[t]));
    json_begin(w, '{');
    json_points(w, "direct", r.direct);
    json_points(w, "through", r.through);
    json_points(w, "added", r.added);
    json_end(w, '}');
  }
  json_end(w, '}');
}

static void json_bytes(struct json_writer *w, const struct findings *f, const struct sums *s) {
  json_key(w, SPAN("bytes"));
  json_begin(w, '{');
  json_key(w, SPAN("equal"));
  json_int(w, (int64_t)s->same);
  json_key(w, SPAN("different"));
  json_int(w, (int64_t)s->different);
  json_key(w, SPAN("first_difference"));
  if (s->first) json_int(w, (int64_t)s->first->differs_at);
  else json_null(w);
  json_key(w, SPAN("direct_answers_differ"));
  json_bool(w, f->direct_differs);
  json_end(w, '}');
  json_key(w, SPAN("headers"));
  json_begin(w, '[');
  for (struct span left = f->headers, line; left.n;) {
    left = span_cut(left, '\n', &line);
    if (line.n) json_str(w, line);
  }
  json_end(w, ']');
}

size_t findings_json(const struct findings *f) {
  struct sums s = sums_of(f);
  struct buf out = { 0 };
  struct json_writer w = { .out = &out };
  json_begin(&w, '{');
  json_key(&w, SPAN("model"));
  json_str(&w, span_cstr(f->model));
  json_key(&w, SPAN("direct"));
  json_str(&w, f->url);
  json_key(&w, SPAN("through"));
  json_str(&w, span_cstr(f->through));
  json_key(&w, SPAN("pairs"));
  json_int(&w, (int64_t)(f->count - s.failed));
  json_key(&w, SPAN("failed"));
  json_int(&w, (int64_t)s.failed);
  json_key(&w, SPAN("why"));
  if (s.why) json_str(&w, span_cstr(s.why));
  else json_null(&w);
  json_times(&w, f);
  json_key(&w, SPAN("cpu_us_per_request"));
  if (f->cpu_pid) json_num(&w, round(f->cpu_us * 10) / 10);
  else json_null(&w);
  json_bytes(&w, f, &s);
  json_end(&w, '}');
  printf("%.*s\n", SPAN_FMT(buf_span(&out)));
  buf_free(&out);
  return s.failed;
}
