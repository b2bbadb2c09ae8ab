/* scene.h: a trust in the root of the certificates, for all tests of a program: cmocka_run_group_tests(tests, before_all, after_all). */
#ifndef TEST_TLS_SCENE_H
#define TEST_TLS_SCENE_H

#include "certs.h"

static struct tls_trust *trust;
static bool have;                       /* openssl made the certificates */

static int before_all(void **state) {
  (void)state;
  if ((have = certs_make())) trust = certs_trust("anchors");
  return 0;
}

static int after_all(void **state) {
  (void)state;
  tls_trust_drop(trust);
  certs_remove();
  return 0;
}

#define NEED_CERTS() do { (void)state; if (!have) skip(); } while (0)

#endif
