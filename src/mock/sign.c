/* sign.c: whether a request is signed as AWS asks for (Signature Version 4), looked at from the other side: written after AWS's page, not
   with weir's signer. */
#include <stdio.h>
#include "mock.h"
#include "weir/sha256.h"

static bool plain(char c) { return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') || (c && strchr("-_.~/", c)); }

static void add_hash(struct buf *b, struct span s) {
  char hex[SHA256_HEX];
  sha256_hex_of(s, hex);
  buf_add(b, span_cstr(hex));
}

/* The value behind `name=` in the header, up to a comma. */
static struct span field(struct span header, const char *name) {
  size_t at = span_search(header, span_cstr(name));
  struct span value = { NULL, 0 };
  if (at < header.n) span_cut(span_from(header, at + strlen(name)), ',', &value);
  return span_trim(value);
}

/* One space for a run of them. */
static void add_value(struct buf *b, struct span value) {
  value = span_trim(value);
  for (size_t i = 0; i < value.n; i++)
    if (value.p[i] != ' ' || value.p[i - 1] != ' ') buf_byte(b, value.p[i]);
}

static bool canonical(const struct http_head *h, struct span names, struct span body, struct buf *b) {
  struct span path, query = span_cut(h->target, '?', &path), left = names, name, before = { NULL, 0 };
  buf_printf(b, "%.*s\n", SPAN_FMT(h->method));
  for (size_t i = 0; i < path.n; i++)
    if (plain(path.p[i])) buf_byte(b, path.p[i]);
    else buf_printf(b, "%%%02X", (unsigned char)path.p[i]);
  buf_printf(b, "\n%.*s\n", SPAN_FMT(query));
  while (left.n) {
    left = span_cut(left, ';', &name);
    struct span value = http_header(h, name);
    if (!value.p || (before.n && strncmp(before.p, name.p, name.n) >= 0)) return false;
    buf_printf(b, "%.*s:", SPAN_FMT(name));
    add_value(b, value);
    buf_byte(b, '\n');
    before = name;
  }
  buf_printf(b, "\n%.*s\n", SPAN_FMT(names));
  add_hash(b, body);
  return true;
}

/* Everything that AWS says of itself must be signed. */
static bool all_signed(const struct http_head *h, struct span names) {
  for (size_t i = 0; i < h->count; i++) {
    struct span n = h->headers[i].name;
    bool wanted = span_istarts(n, SPAN("x-amz-")) || span_ieq(n, SPAN("host")), found = false;
    for (struct span left = names, one; wanted && left.n;) left = span_cut(left, ';', &one), found |= span_ieq(one, n);
    if (wanted && !found) return false;
  }
  return true;
}

const char *sign_wrong(const struct http_head *h, struct span body, const char *id, const char *secret) {
  struct span given = http_header(h, SPAN("authorization")), date = http_header(h, SPAN("x-amz-date"));
  if (span_starts(given, SPAN("Bearer "))) return NULL;
  if (!span_starts(given, SPAN("AWS4-HMAC-SHA256 "))) return "MissingAuthenticationTokenException";
  struct span credential = field(given, "Credential="), names = field(given, "SignedHeaders="), signature = field(given, "Signature="), who, part;
  struct span scope = span_cut(credential, '/', &who);
  if (!span_eq(who, span_cstr(id))) return "UnrecognizedClientException";
  if (date.n != 16 || !span_starts(scope, span_of(date.p, 8)) || !span_ends(scope, SPAN("/bedrock/aws4_request")) || !all_signed(h, names)) return "IncompleteSignatureException";
  struct buf text = { 0 }, asked = { 0 };
  unsigned char key[SHA256_SIZE];
  char hex[SHA256_HEX], first[160];
  bool whole = canonical(h, names, body, &text);
  buf_printf(&asked, "AWS4-HMAC-SHA256\n%.*s\n%.*s\n", SPAN_FMT(date), SPAN_FMT(scope));
  add_hash(&asked, buf_span(&text));
  snprintf(first, sizeof first, "AWS4%s", secret);
  struct span with = span_cstr(first);
  for (struct span left = scope; left.n; with = span_of((const char *)key, sizeof key)) {
    left = span_cut(left, '/', &part);
    unsigned char next[SHA256_SIZE];
    sha256_hmac(with, part, next);
    memcpy(key, next, sizeof key);
  }
  unsigned char made[SHA256_SIZE];
  sha256_hmac(with, buf_span(&asked), made);
  sha256_hex(made, hex);
  buf_free(&text), buf_free(&asked);
  return whole && span_eq(signature, span_cstr(hex)) ? NULL : "InvalidSignatureException";
}
