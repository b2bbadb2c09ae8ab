#include "inside.h"
#include <arpa/inet.h>

enum { CANDIDATES_MOST = 16, CHAIN_USUAL = 4096, DAYS_0_TO_1970 = 719528 };
time_t (*tls_verify_clock)(time_t *) = time;

static struct verify *verify_of(const br_x509_class **ctx) { return (struct verify *)(void *)ctx; }

static void verify_start_chain(const br_x509_class **ctx, const char *server_name) {
  (void)server_name;                    /* weir keeps the name itself: the engine's is empty where no SNI is sent */
  struct verify *v = verify_of(ctx);
  buf_clear(&v->chain);
  buf_reserve(&v->chain, CHAIN_USUAL);
  v->count = 0;
  v->too_large = false;
}

static void verify_start_cert(const br_x509_class **ctx, uint32_t length) {
  struct verify *v = verify_of(ctx);
  if (v->count == CERTS_MOST || length > CHAIN_MOST - buf_size(&v->chain)) v->too_large = true;
}

static void verify_append(const br_x509_class **ctx, const unsigned char *bytes, size_t n) {
  struct verify *v = verify_of(ctx);
  if (!v->too_large) buf_add(&v->chain, span_of((const char *)bytes, n));
}

static void verify_end_cert(const br_x509_class **ctx) {
  struct verify *v = verify_of(ctx);
  if (!v->too_large) v->ends[v->count++] = buf_size(&v->chain);
}

static struct span verify_cert(const struct verify *v, unsigned i) {
  size_t from = i ? v->ends[i - 1] : 0;
  return span_of(buf_span(&v->chain).p + from, v->ends[i] - from);
}

static void verify_hash(const struct verify *v, unsigned char out[32]) {
  br_sha256_context h;
  br_sha256_init(&h);
  br_sha256_update(&h, v->name, strlen(v->name) + 1);
  for (unsigned i = 0; i < v->count; i++) br_sha256_update(&h, &v->ends[i], sizeof v->ends[i]);
  br_sha256_update(&h, buf_span(&v->chain).p, buf_size(&v->chain));
  br_sha256_out(&h, out);
}

/* BearSSL wants each certificate to be followed by its issuer; servers send them in other orders, and with others
   between. Finds the path from the first one; a certificate that cannot be read leaves the order as it is. */
static unsigned verify_path(const struct verify *v, const struct cert certs[], bool readable, unsigned path[]) {
  unsigned n = 0;
  bool taken[CERTS_MOST] = { false };
  if (!readable) {
    for (; n < v->count; n++) path[n] = n;
    return n;
  }
  for (unsigned at = 0; n < v->count;) {
    path[n++] = at;
    taken[at] = true;
    unsigned i, next = 0;
    for (i = 1; i < v->count; i++) {
      next = (at + i) % v->count;
      if (!taken[next] && span_eq(certs[next].subject, certs[at].issuer)) break;
    }
    if (i >= v->count) break;
    at = next;
  }
  return n;
}

/* Only anchors that bear a name of this chain: BearSSL hashes each name anew for each certificate. */
static size_t verify_candidates(const struct verify *v, const struct cert certs[], br_x509_trust_anchor out[]) {
  size_t n = 0;
  for (size_t i = 0; i < v->trust->count && n < CANDIDATES_MOST; i++) {
    const br_x509_trust_anchor *a = &v->trust->anchors[i];
    struct span dn = span_of((const char *)a->dn.data, a->dn.len);
    bool wanted = !(a->flags & BR_X509_TA_CA) && span_eq(dn, certs[0].subject);
    for (unsigned c = 0; c < v->count && !wanted; c++) wanted = span_eq(dn, certs[c].issuer);
    if (wanted) out[n++] = *a;
  }
  return n;
}

size_t tls_address_of(const char *name, unsigned char out[16]) {
  if (inet_pton(AF_INET, name, out) == 1) return 4;
  return inet_pton(AF_INET6, name, out) == 1 ? 16 : 0;
}

/* The name, where it is an address: only an address in the certificate counts (RFC 9525 6.5), never the same text as a DNS name. */
static bool verify_address(const struct verify *v, const struct cert *leaf) {
  unsigned char address[16];
  size_t n = tls_address_of(v->name, address);
  return !n || tls_cert_has_address(leaf, span_of((const char *)address, n));
}

static unsigned verify_minimal(struct verify *v, const struct cert certs[], const unsigned path[], unsigned n,
                               int64_t now) {
  br_x509_trust_anchor candidates[CANDIDATES_MOST];
  br_x509_minimal_context *m = &v->minimal;
  *m = *tls_suite_minimal_template();
  m->trust_anchors = candidates;
  m->trust_anchors_num = verify_candidates(v, certs, candidates);
  br_x509_minimal_set_time(m, (uint32_t)(now / 86400 + DAYS_0_TO_1970), (uint32_t)(now % 86400));
  unsigned char address[16];            /* BearSSL knows DNS names alone: without a name it judges the chain */
  m->vtable->start_chain(&m->vtable, tls_address_of(v->name, address) ? NULL : v->name);
  for (unsigned i = 0; i < n; i++) {
    struct span c = verify_cert(v, path[i]);
    m->vtable->start_cert(&m->vtable, (uint32_t)c.n);
    if (c.n) m->vtable->append(&m->vtable, (const unsigned char *)c.p, c.n);
    m->vtable->end_cert(&m->vtable);
  }
  unsigned error = m->vtable->end_chain(&m->vtable);
  m->trust_anchors = NULL;
  m->trust_anchors_num = 0;
  if (!error) v->key = m->vtable->get_pkey(&m->vtable, &v->usages);
  return error;
}

static enum tls_failure verify_failure(const struct cert certs[], const unsigned path[], unsigned n, int64_t now,
                                       unsigned error) {
  switch (error) {
  case BR_ERR_X509_EXPIRED:
    for (unsigned i = 0; i < n; i++) {
      if (now > certs[path[i]].not_after) return TLS_EXPIRED;
      if (now < certs[path[i]].not_before) return TLS_NOT_YET_VALID;
    }
    return TLS_EXPIRED;
  case BR_ERR_X509_BAD_SERVER_NAME: return TLS_WRONG_HOST;
  case BR_ERR_X509_NOT_TRUSTED: return TLS_UNKNOWN_CA;
  default: return TLS_BAD_CHAIN;
  }
}

static void verify_remember(struct verify *v, const struct cert certs[], int64_t now) {
  v->proof.from = certs[0].not_before;
  v->proof.until = now + CHAIN_TRUSTED_SECONDS;
  for (unsigned i = 0; i < v->count; i++) {
    if (certs[i].not_before > v->proof.from) v->proof.from = certs[i].not_before;
    if (certs[i].not_after < v->proof.until) v->proof.until = certs[i].not_after;
  }
  v->proof.usages = v->usages;
  tls_chain_key_copy(&v->proof, v->key);
  tls_chain_remember(&v->trust->chains, &v->proof);
}

static unsigned verify_end_chain(const br_x509_class **ctx) {
  struct verify *v = verify_of(ctx);
  struct cert certs[CERTS_MOST];
  unsigned path[CERTS_MOST];
  int64_t now = tls_verify_clock(NULL);
  v->key = NULL;
  v->failure = TLS_BAD_CHAIN;
  if (v->too_large) return BR_ERR_X509_LIMIT_EXCEEDED;
  if (!v->count) return BR_ERR_X509_EMPTY_CHAIN;
  verify_hash(v, v->proof.hash);
  if (tls_chain_known(&v->trust->chains, v->proof.hash, now, &v->proof)) {
    v->key = &v->proof.key;
    v->usages = v->proof.usages;
    v->failure = TLS_NO_FAILURE;
    return 0;
  }
  bool leaf = tls_cert_read(verify_cert(v, 0), &certs[0]), readable = leaf;
  for (unsigned i = 1; i < v->count; i++) readable = tls_cert_read(verify_cert(v, i), &certs[i]) && readable;
  unsigned n = verify_path(v, certs, readable, path);
  unsigned error = verify_minimal(v, certs, path, n, now);
  if (!error && !(leaf && verify_address(v, &certs[0]))) error = BR_ERR_X509_BAD_SERVER_NAME;
  /* BearSSL does not look at what a certificate may be used for beyond its key. */
  if (!error && !(leaf && tls_cert_is_for_servers(&certs[0]))) error = BR_ERR_X509_FORBIDDEN_KEY_USAGE;
  v->failure = error ? verify_failure(certs, path, n, now, error) : TLS_NO_FAILURE;
  if (!error && readable) verify_remember(v, certs, now);
  return error;
}

static const br_x509_pkey *verify_get_pkey(const br_x509_class *const *ctx, unsigned *usages) {
  const struct verify *v = (const struct verify *)(const void *)ctx;
  if (usages) *usages = v->usages;
  return v->key;
}

static const br_x509_class verify_class = {
  sizeof(struct verify), verify_start_chain, verify_start_cert, verify_append,
  verify_end_cert,       verify_end_chain,   verify_get_pkey,
};

void tls_verify_init(struct verify *v, struct tls_trust *trust, const char *name) {
  *v = (struct verify){ .vtable = &verify_class, .trust = trust, .name = name };
}

void tls_verify_end(struct verify *v) { buf_free(&v->chain); }
