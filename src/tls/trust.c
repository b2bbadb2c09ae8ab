#include "inside.h"
#include <errno.h>
#include <stdio.h>

enum { BUNDLE_MOST = 16 << 20 };

static bool file_read(const char *path, struct buf *out) {
  FILE *f = fopen(path, "re");
  if (!f) return false;
  size_t got;
  do {
    got = fread(buf_reserve(out, 65536), 1, 65536, f);
    buf_commit(out, got);
  } while (got && buf_size(out) <= BUNDLE_MOST);
  bool good = !ferror(f) && buf_size(out) <= BUNDLE_MOST;
  if (!good && !ferror(f)) errno = EFBIG;
  fclose(f);
  return good;
}

enum { BASE64_SPACE = 64, BASE64_PAD = 65, BASE64_BAD = 66 };

static void base64_table(unsigned char table[256]) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  memset(table, BASE64_BAD, 256);
  for (unsigned i = 0; i < 64; i++) table[(unsigned char)digits[i]] = (unsigned char)i;
  table[' '] = table['\t'] = table['\r'] = table['\n'] = BASE64_SPACE;
  table['='] = BASE64_PAD;
}

/* A whole bundle goes through here at every start: a quarter of a megabyte, hence the table and the bare pointers. */
static bool base64_read(const unsigned char table[256], struct span text, struct buf *out) {
  unsigned char *to = (unsigned char *)buf_reserve(out, text.n / 4 * 3 + 3), *start = to;
  uint32_t bits = 0;
  unsigned have = 0, padding = 0;
  for (size_t i = 0; i < text.n; i++) {
    unsigned v = table[(unsigned char)text.p[i]];
    if (v == BASE64_SPACE) continue;
    if (v == BASE64_PAD) {
      padding++;
      continue;
    }
    if (v == BASE64_BAD || padding) return false;
    bits = bits << 6 | v;
    if (++have < 4) continue;
    *to++ = (unsigned char)(bits >> 16);
    *to++ = (unsigned char)(bits >> 8);
    *to++ = (unsigned char)bits;
    have = 0;
  }
  if (have >= 2) *to++ = (unsigned char)(have == 2 ? bits >> 4 : bits >> 10);
  if (have == 3) *to++ = (unsigned char)(bits >> 2);
  buf_commit(out, (size_t)(to - start));
  return have != 1 && padding <= 2;
}

/* Cuts the next certificate out of a PEM text; false at its end. Other objects are passed over. */
static bool pem_next(struct span *text, struct span *base64) {
  static const struct span begin = SPAN("-----BEGIN CERTIFICATE-----"), end = SPAN("-----END CERTIFICATE-----");
  size_t at = span_search(*text, begin);
  if (at == text->n) return false;
  *text = span_from(*text, at + begin.n);
  size_t stop = span_search(*text, end);
  *base64 = span_of(text->p, stop);
  *text = span_from(*text, stop == text->n ? stop : stop + end.n);
  return true;
}

static void *trust_copy(struct tls_trust *t, const void *p, size_t n) {
  return (void *)arena_copy(&t->memory, span_of(p, n)).p;
}

static void trust_add(struct tls_trust *t, struct span der) {
  struct cert c;
  br_x509_pkey key;
  if (!tls_cert_read(der, &c) || !tls_cert_key(&c, &key)) {
    t->skipped++;
    return;
  }
  if (key.key_type == BR_KEYTYPE_RSA) {
    key.key.rsa.n = trust_copy(t, key.key.rsa.n, key.key.rsa.nlen);
    key.key.rsa.e = trust_copy(t, key.key.rsa.e, key.key.rsa.elen);
  } else {
    key.key.ec.q = trust_copy(t, key.key.ec.q, key.key.ec.qlen);
  }
  if (t->count == t->cap) {
    t->cap = t->cap ? t->cap * 2 : 32;
    t->anchors = mem_grow(t->anchors, t->cap * sizeof *t->anchors);
  }
  t->anchors[t->count++] = (br_x509_trust_anchor){
    .dn = { trust_copy(t, c.subject.p, c.subject.n), c.subject.n },
    .flags = tls_cert_is_ca(&c) ? BR_X509_TA_CA : 0,
    .pkey = key,
  };
}

static struct tls_trust *trust_new(void) {
  static uint64_t loads;
  struct tls_trust *t = mem_zero(sizeof *t);
  t->refs = 1;
  t->id = __atomic_add_fetch(&loads, 1, __ATOMIC_RELAXED);
  tls_chain_memory_init(&t->chains);
  return t;
}

static bool trust_find(const char *path, struct buf *text, char *why, size_t why_size) {
  static const char *const system_roots[] = {
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
  };
  if (path) {
    if (file_read(path, text)) return true;
    snprintf(why, why_size, "%s: %s", path, strerror(errno));
    return false;
  }
  for (size_t i = 0; i < sizeof system_roots / sizeof *system_roots; i++) {
    buf_clear(text);
    if (file_read(system_roots[i], text)) return true;
  }
  snprintf(why, why_size, "no system roots: neither %s nor %s can be read", system_roots[0], system_roots[1]);
  return false;
}

struct tls_trust *tls_trust_load(const char *path, char *text, size_t text_size) {
  struct buf pem = { 0 }, der = { 0 };
  if (!trust_find(path, &pem, text, text_size)) {
    buf_free(&pem);
    return NULL;
  }
  struct tls_trust *t = trust_new();
  struct span rest = buf_span(&pem), base64;
  unsigned char table[256];
  base64_table(table);
  while (pem_next(&rest, &base64)) {
    buf_clear(&der);
    if (base64_read(table, base64, &der)) trust_add(t, buf_span(&der));
    else t->skipped++;
  }
  buf_free(&pem);
  buf_free(&der);
  if (t->count) {
    t->anchors = mem_grow(t->anchors, t->count * sizeof *t->anchors);
    return t;
  }
  snprintf(text, text_size, "%s: %s", path ? path : "system roots",
           t->skipped ? "holds no certificate that can be used" : "holds no certificate in PEM form");
  tls_trust_drop(t);
  return NULL;
}

struct tls_trust *tls_trust_ref(struct tls_trust *t) {
  __atomic_add_fetch(&t->refs, 1, __ATOMIC_RELAXED);
  return t;
}

void tls_trust_drop(struct tls_trust *t) {
  if (!t || __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL)) return;
  tls_chain_memory_end(&t->chains);
  arena_end(&t->memory);
  mem_free(t->anchors);
  mem_free(t);
}

size_t tls_trust_count(const struct tls_trust *t) { return t->count; }
size_t tls_trust_skipped(const struct tls_trust *t) { return t->skipped; }
