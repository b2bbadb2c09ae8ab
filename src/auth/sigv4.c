#include "weir/sigv4.h"
#include "weir/secret.h"
#include <stdio.h>
#include <time.h>

void sigv4_date(int64_t unix_time, char out[SIGV4_DATE]) {
  time_t t = (time_t)unix_time;
  struct tm tm;
  if (!gmtime_r(&t, &tm) || strftime(out, SIGV4_DATE, "%Y%m%dT%H%M%SZ", &tm) != SIGV4_DATE - 1) memcpy(out, "19700101T000000Z", SIGV4_DATE);
}

static bool unreserved(char c) {
  return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') || c == '-' || c == '_' || c == '.' || c == '~';
}

static void path_write(struct span path, struct buf *out) {
  if (!path.n) buf_byte(out, '/');
  for (size_t i = 0; i < path.n; i++)
    if (unreserved(path.p[i]) || path.p[i] == '/') buf_byte(out, path.p[i]);
    else buf_printf(out, "%%%02X", (unsigned char)path.p[i]);
}

/* By bytes; of two that begin alike the shorter one first. */
static int order(struct span a, struct span b) {
  int c = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
  return c ? c : a.n < b.n ? -1 : a.n > b.n;
}

static int pair_order(struct span a, struct span b) {
  struct span names[2], values[2] = { span_cut(a, '=', &names[0]), span_cut(b, '=', &names[1]) };
  int c = order(names[0], names[1]);
  return c ? c : order(values[0], values[1]);
}

/* Pairs in their order; what is behind the last of SIGV4_HEADERS_MOST is no query of ours. */
static void query_write(struct span query, struct buf *out) {
  struct span pairs[SIGV4_HEADERS_MOST], one;
  size_t n = 0;
  while (query.n && n < SIGV4_HEADERS_MOST) {
    query = span_cut(query, '&', &one);
    if (!one.n) continue;
    size_t at = n++;
    for (; at && pair_order(one, pairs[at - 1]) < 0; at--) pairs[at] = pairs[at - 1];
    pairs[at] = one;
  }
  for (size_t i = 0; i < n; i++) {
    if (i) buf_byte(out, '&');
    buf_add(out, pairs[i]);
    if (!memchr(pairs[i].p, '=', pairs[i].n)) buf_byte(out, '=');
  }
}

static int name_order(struct span a, struct span b) {
  for (size_t i = 0; i < a.n && i < b.n; i++) {
    int c = (unsigned char)ascii_lower(a.p[i]) - (unsigned char)ascii_lower(b.p[i]);
    if (c) return c;
  }
  return a.n < b.n ? -1 : a.n > b.n;
}

/* White space at the ends goes, and runs of it within are one space. */
static void value_write(struct span value, struct buf *out) {
  value = span_trim(value);
  for (size_t i = 0; i < value.n; i++) {
    bool space = value.p[i] == ' ' || value.p[i] == '\t';
    if (!space) buf_byte(out, value.p[i]);
    else if (value.p[i - 1] != ' ' && value.p[i - 1] != '\t') buf_byte(out, ' ');
  }
}

/* A name that stands twice is one line, its values in their order. */
static void headers_write(const struct sigv4_request *r, struct buf *out, struct buf *names) {
  const struct http_header *sorted[SIGV4_HEADERS_MOST];
  size_t n = 0;
  for (size_t i = 0; i < r->count && n < SIGV4_HEADERS_MOST; i++) {
    size_t at = n++;
    for (; at && name_order(r->headers[i].name, sorted[at - 1]->name) < 0; at--) sorted[at] = sorted[at - 1];
    sorted[at] = &r->headers[i];
  }
  for (size_t i = 0; i < n; i++) {
    bool same = i && span_ieq(sorted[i]->name, sorted[i - 1]->name);
    if (i) buf_byte(out, same ? ',' : '\n');
    if (i && !same) buf_byte(names, ';');
    for (size_t k = 0; !same && k < sorted[i]->name.n; k++) {
      buf_byte(out, ascii_lower(sorted[i]->name.p[k]));
      buf_byte(names, ascii_lower(sorted[i]->name.p[k]));
    }
    if (!same) buf_byte(out, ':');
    value_write(sorted[i]->value, out);
  }
  if (n) buf_byte(out, '\n');
}

void sigv4_canonical(const struct sigv4_request *r, struct buf *out, struct buf *names) {
  buf_add(out, r->method);
  buf_byte(out, '\n');
  path_write(r->path, out);
  buf_byte(out, '\n');
  query_write(r->query, out);
  buf_byte(out, '\n');
  headers_write(r, out, names);
  buf_byte(out, '\n');
  buf_add(out, buf_span(names));
  buf_byte(out, '\n');
  buf_add(out, span_cstr(r->body_hash));
}

static struct span digest_span(const unsigned char digest[SHA256_SIZE]) { return span_of((const char *)digest, SHA256_SIZE); }

static void key_of(const struct sigv4_key *k, const char date[SIGV4_DATE], unsigned char out[SHA256_SIZE]) {
  struct span secret = k->key, steps[] = { k->region, k->service, SPAN("aws4_request") };
  size_t n = secret.n + 4;
  char *first = mem_alloc(n);
  memcpy(first, "AWS4", 4);
  memcpy(first + 4, secret.p, secret.n);
  sha256_hmac(span_of(first, n), span_of(date, 8), out);
  secret_wipe(first, n);
  mem_free(first);
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) sha256_hmac(digest_span(out), steps[i], out);
}

void sigv4_write(const struct sigv4_request *r, const struct sigv4_key *k, const char date[SIGV4_DATE], struct buf *out) {
  struct buf text = { 0 }, names = { 0 };
  unsigned char key[SHA256_SIZE], digest[SHA256_SIZE];
  char hex[SHA256_HEX];
  sigv4_canonical(r, &text, &names);
  sha256_hex_of(buf_span(&text), hex);
  buf_clear(&text);
  buf_printf(&text, "AWS4-HMAC-SHA256\n%s\n%.8s/%.*s/%.*s/aws4_request\n%s", date, date, SPAN_FMT(k->region), SPAN_FMT(k->service), hex);
  key_of(k, date, key);
  sha256_hmac(digest_span(key), buf_span(&text), digest);
  secret_wipe(key, sizeof key);
  sha256_hex(digest, hex);
  buf_printf(out, "authorization: AWS4-HMAC-SHA256 Credential=%.*s/%.8s/%.*s/%.*s/aws4_request, SignedHeaders=%.*s, Signature=%s\r\n",
             SPAN_FMT(k->id), date, SPAN_FMT(k->region), SPAN_FMT(k->service), SPAN_FMT(buf_span(&names)), hex);
  buf_free(&text);
  buf_free(&names);
}
