/* A chain as a hostile server sends it: the first byte says how it is cut, then each certificate with two bytes of
   length. Nothing is trusted, so no chain may be found good. Certificates that both weir's reader and BearSSL's take
   must read the same. */
#include <stdlib.h>
#include "../src/tls/inside.h"

#define MUST(cond) do { if (!(cond)) abort(); } while (0)

static bool within(struct span s, struct span all) { return !s.n || (s.p >= all.p && s.p + s.n <= all.p + all.n); }

static void add_dn(void *ctx, const void *bytes, size_t n) { buf_add(ctx, span_of(bytes, n)); }

static bool same_key(const br_x509_pkey *a, const br_x509_pkey *b) {
  if (a->key_type != b->key_type) return false;
  if (a->key_type == BR_KEYTYPE_EC)
    return a->key.ec.curve == b->key.ec.curve && a->key.ec.qlen == b->key.ec.qlen &&
           !memcmp(a->key.ec.q, b->key.ec.q, a->key.ec.qlen);
  return a->key.rsa.nlen == b->key.rsa.nlen && a->key.rsa.elen == b->key.rsa.elen &&
         !memcmp(a->key.rsa.n, b->key.rsa.n, a->key.rsa.nlen) && !memcmp(a->key.rsa.e, b->key.rsa.e, a->key.rsa.elen);
}

static void cert_check(struct span der) {
  struct cert c;
  br_x509_pkey key;
  br_x509_decoder_context d;
  struct buf dn = { 0 };
  if (!tls_cert_read(der, &c)) return;
  MUST(within(c.subject, der) && within(c.issuer, der) && within(c.spki, der) && within(c.extensions, der));
  tls_cert_is_ca(&c);
  tls_cert_is_for_servers(&c);
  tls_cert_has_address(&c, SPAN("\xC0\x00\x02\x07"));
  bool have_key = tls_cert_key(&c, &key);
  br_x509_decoder_init(&d, add_dn, &dn);
  br_x509_decoder_push(&d, der.p, der.n);
  const br_x509_pkey *theirs = br_x509_decoder_get_pkey(&d);
  if (theirs) {
    MUST(span_eq(c.subject, buf_span(&dn)));
    MUST(!have_key || same_key(&key, theirs));
  }
  buf_free(&dn);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct tls_trust nobody;
  if (!nobody.refs) {
    nobody.refs = 1;
    tls_chain_memory_init(&nobody.chains);
  }
  if (size < 1) return 0;
  struct verify *v = mem_alloc(sizeof *v);
  size_t piece = data[0] + 1;
  struct span in = span_of((const char *)data + 1, size - 1);
  tls_verify_init(v, &nobody, "fuzz.test");
  v->vtable->start_chain(&v->vtable, "fuzz.test");
  while (in.n >= 2) {
    size_t n = (size_t)(unsigned char)in.p[0] << 8 | (unsigned char)in.p[1];
    in = span_from(in, 2);
    struct span cert = span_of(in.p, n < in.n ? n : in.n);
    in = span_from(in, cert.n);
    char *copy = mem_alloc(cert.n);        /* of its own size, so that a look past its end is seen */
    if (cert.n) memcpy(copy, cert.p, cert.n);
    cert_check(span_of(copy, cert.n));
    mem_free(copy);
    v->vtable->start_cert(&v->vtable, (uint32_t)cert.n);
    while (cert.n) {
      size_t k = piece < cert.n ? piece : cert.n;
      v->vtable->append(&v->vtable, (const unsigned char *)cert.p, k);
      cert = span_from(cert, k);
    }
    v->vtable->end_cert(&v->vtable);
  }
  unsigned usages, error = v->vtable->end_chain(&v->vtable);
  MUST(error && v->failure && !v->vtable->get_pkey(&v->vtable, &usages));
  tls_verify_end(v);
  mem_free(v);
  return 0;
}
