#include "attempt.h"
#include "exchange.h"
#include "sign.h"
#include "worker.h"
#include "weir/sigv4.h"

static void body_hash(const struct iovec *parts, int count, char out[SHA256_HEX]) {
  struct sha256 s;
  unsigned char digest[SHA256_SIZE];
  sha256_init(&s);
  for (int i = 0; i < count; i++) sha256_feed(&s, span_of(parts[i].iov_base, parts[i].iov_len));
  sha256_end(&s, digest);
  sha256_hex(digest, out);
}

/* AWS wants host and all of x-amz- signed; what boxes on the way may change is not. */
static bool is_signed(struct span name) {
  return span_ieq(name, SPAN("host")) || span_ieq(name, SPAN("content-type")) || span_istarts(name, SPAN("x-amz-"));
}

static size_t lines_read(struct span lines, struct http_header out[SIGV4_HEADERS_MOST]) {
  struct span line, name;
  size_t n = 0;
  while (lines.n && n < SIGV4_HEADERS_MOST) {
    lines = span_cut(lines, '\n', &line);
    struct span value = span_cut(line, ':', &name);
    while (value.n && (value.p[value.n - 1] == '\r' || value.p[value.n - 1] == ' ')) value.n--;
    if (name.n && is_signed(name)) out[n++] = (struct http_header){ name, value };
  }
  return n;
}

void sign_head(struct exchange *x, const struct attempt *a, size_t path_at, size_t path_end, const struct iovec *parts, int count, struct buf *head) {
  const struct account *account = a->target.account;
  struct http_header headers[SIGV4_HEADERS_MOST];
  char date[SIGV4_DATE], hash[SHA256_HEX];
  if (!account || !account->signs) return;
  struct signing with = account_signing(a->key_line);
  body_hash(parts, count, hash);
  sigv4_date(worker_wall_ms(x->worker) / 1000, date);
  http_write_header(head, SPAN("x-amz-date"), span_cstr(date));
  if (with.session.n) http_write_header(head, SPAN("x-amz-security-token"), with.session);
  struct span all = buf_span(head), path, query = span_cut(span_of(all.p + path_at, path_end - path_at), '?', &path), none;
  struct span lines = span_cut(span_from(all, path_end), '\n', &none);
  struct sigv4_request r = { x->req.method, path, query, headers, lines_read(lines, headers), hash };
  struct sigv4_key k = { with.id, with.key, a->target.endpoint->region, SPAN("bedrock") };
  struct buf line = { 0 };
  sigv4_write(&r, &k, date, &line);                      /* headers lie in head, which may move */
  buf_add(head, buf_span(&line));
  buf_free(&line);
}
