#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "../../../src/tls/inside.h"
#include "certs.h"

static bool have;
static const char system_roots[] = "/etc/ssl/certs/ca-certificates.crt";

static int before_all(void **state) {
  (void)state;
  have = certs_make();
  return 0;
}

static int after_all(void **state) {
  (void)state;
  certs_remove();
  return 0;
}

static const char *scratch(const char *text, size_t n) {
  static char path[64];
  strcpy(path, "/tmp/weir-trust-XXXXXX");
  int fd = mkstemp(path);
  require(fd >= 0 && write(fd, text, n) == (ssize_t)n && !close(fd));
  return path;
}

static void unusable_files(void **state) {
  (void)state;
  static const char *const texts[] = {
    "", "nothing here", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
    "-----BEGIN CERTIFICATE-----\nMIIB!!!!\n-----END CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\nMIIB",
    "-----BEGIN CERTIFICATE-----", "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n",
  };
  char why[200];
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    const char *path = scratch(texts[i], strlen(texts[i]));
    why[0] = 0;
    assert_null(tls_trust_load(path, why, sizeof why));
    assert_non_null(strstr(why, path));
    assert_non_null(strstr(why, "no certificate"));
    unlink(path);
  }
  assert_null(tls_trust_load("/nowhere/at/all.pem", why, sizeof why));
  assert_non_null(strstr(why, "/nowhere/at/all.pem"));
  assert_null(tls_trust_load("/tmp", why, sizeof why));
}

static void counts_and_skips(void **state) {
  (void)state;
  if (!have) skip();
  struct buf all = { 0 }, one = file_bytes(certs_path("anchors", "pem"));
  buf_add(&all, SPAN("a word before\r\n"));
  buf_add(&all, buf_span(&one));
  buf_free(&one);
  one = file_bytes(certs_path("edwards", "pem"));
  buf_add(&all, buf_span(&one));
  buf_free(&one);
  buf_add(&all, SPAN("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
  one = file_bytes(certs_path("self", "pem"));
  buf_add(&all, buf_span(&one));
  buf_free(&one);
  const char *path = scratch(all.p + all.at, buf_size(&all));
  char why[200] = "";
  struct tls_trust *t = tls_trust_load(path, why, sizeof why);
  assert_non_null(t);
  assert_int_equal(tls_trust_count(t), 4);
  assert_int_equal(tls_trust_skipped(t), 2);
  for (size_t i = 0; i < 4; i++) assert_int_equal(t->anchors[i].flags, i < 3 ? BR_X509_TA_CA : 0);
  assert_ptr_equal(tls_trust_ref(t), t);
  tls_trust_drop(t);
  assert_int_equal(tls_trust_count(t), 4);
  tls_trust_drop(t);
  unlink(path);
  buf_free(&all);
}

static void add_dn(void *ctx, const void *bytes, size_t n) { buf_add(ctx, span_of(bytes, n)); }

/* The same certificate through weir's reader and through BearSSL's. */
static bool same_as_bearssl(struct span der) {
  struct buf dn = { 0 };
  br_x509_decoder_context d;
  struct cert c;
  br_x509_pkey mine = { 0 };
  br_x509_decoder_init(&d, add_dn, &dn);
  br_x509_decoder_push(&d, der.p, der.n);
  const br_x509_pkey *theirs = br_x509_decoder_get_pkey(&d);
  bool good = tls_cert_read(der, &c) && tls_cert_key(&c, &mine);
  assert_int_equal(good, theirs != NULL);
  if (good) {
    assert_true(span_eq(c.subject, buf_span(&dn)));
    assert_int_equal(tls_cert_is_ca(&c), br_x509_decoder_isCA(&d));
    assert_int_equal(c.not_before, ((int64_t)d.notbefore_days - 719528) * 86400 + d.notbefore_seconds);
    assert_int_equal(c.not_after, ((int64_t)d.notafter_days - 719528) * 86400 + d.notafter_seconds);
    assert_int_equal(mine.key_type, theirs->key_type);
    if (mine.key_type == BR_KEYTYPE_RSA) {
      assert_int_equal(mine.key.rsa.nlen, theirs->key.rsa.nlen);
      assert_memory_equal(mine.key.rsa.n, theirs->key.rsa.n, mine.key.rsa.nlen);
      assert_int_equal(mine.key.rsa.elen, theirs->key.rsa.elen);
      assert_memory_equal(mine.key.rsa.e, theirs->key.rsa.e, mine.key.rsa.elen);
    } else {
      assert_int_equal(mine.key.ec.curve, theirs->key.ec.curve);
      assert_int_equal(mine.key.ec.qlen, theirs->key.ec.qlen);
      assert_memory_equal(mine.key.ec.q, theirs->key.ec.q, mine.key.ec.qlen);
    }
  }
  buf_free(&dn);
  return good;
}

static void pem_to_buf(void *ctx, const void *bytes, size_t n) { buf_add(ctx, span_of(bytes, n)); }

/* Every root of the system, cut out of the bundle by BearSSL's PEM reader. */
static void system_bundle(void **state) {
  (void)state;
  char why[200];
  if (access(system_roots, R_OK)) {
    printf("%s is not there: skipped\n", system_roots);
    skip();
  }
  struct tls_trust *t = tls_trust_load(NULL, why, sizeof why);
  assert_non_null(t);
  struct buf text = file_bytes(system_roots), der = { 0 };
  br_pem_decoder_context pem;
  size_t good = 0, bad = 0;
  br_pem_decoder_init(&pem);
  br_pem_decoder_setdest(&pem, pem_to_buf, &der);
  while (buf_size(&text)) {
    buf_consume(&text, br_pem_decoder_push(&pem, text.p + text.at, buf_size(&text)));
    int event = br_pem_decoder_event(&pem);
    if (event == BR_PEM_BEGIN_OBJ) buf_clear(&der);
    if (event != BR_PEM_END_OBJ) continue;
    if (same_as_bearssl(buf_span(&der))) good++;
    else bad++;
  }
  assert_true(good > 50);
  assert_int_equal(tls_trust_count(t), good);
  assert_int_equal(tls_trust_skipped(t), bad);
  buf_free(&text), buf_free(&der);
  tls_trust_drop(t);
}

/* A certificate cut or changed at every place: never a byte outside it (each try has a copy of its own size, which the
   sanitizers watch), and what is found lies inside. */
static void broken_certificates(void **state) {
  (void)state;
  if (!have) skip();
  static const char *const names[] = { "good", "rsa", "root", "constrained", "edwards" };
  for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
    struct buf whole = file_bytes(certs_path(names[k], "der"));
    size_t n = buf_size(&whole);
    for (size_t at = 0; at < n; at++) {
      for (int how = 0; how < 4; how++) {
        size_t size = how ? n : at;
        char *copy = mem_alloc(size);
        memcpy(copy, whole.p + whole.at, size);
        if (how) copy[at] ^= (char)(how == 1 ? 0x80 : how == 2 ? 0x01 : 0x7F);
        struct cert c;
        br_x509_pkey key;
        bool read = tls_cert_read(span_of(copy, size), &c);
        if (!how) assert_false(read);
        if (read) {
          assert_true(c.subject.p > copy && c.subject.p + c.subject.n <= copy + size);
          assert_true(c.issuer.p > copy && c.issuer.p + c.issuer.n <= copy + size);
          tls_cert_is_ca(&c);
          if (tls_cert_key(&c, &key) && key.key_type == BR_KEYTYPE_EC) assert_in_range(key.key.ec.qlen, 1, size);
        }
        mem_free(copy);
      }
    }
    buf_free(&whole);
  }
}

static void dates(void **state) {
  (void)state;
  if (!have) skip();
  struct buf der = file_bytes(certs_path("expired", "der"));
  struct cert c;
  assert_true(tls_cert_read(buf_span(&der), &c));
  assert_int_equal(c.not_before, 1577836800);
  assert_int_equal(c.not_after, 1609459200);
  buf_free(&der);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(unusable_files), cmocka_unit_test(counts_and_skips), cmocka_unit_test(system_bundle),
    cmocka_unit_test(broken_certificates), cmocka_unit_test(dates),
  };
  return cmocka_run_group_tests(tests, before_all, after_all);
}
