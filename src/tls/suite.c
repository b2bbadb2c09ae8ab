#include "inside.h"

/* AES-GCM first: with AES-NI it is ten times as fast here as ChaCha20. */
static const struct { uint16_t suite; const char *name; } offered[] = {
  { BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ECDHE_ECDSA_AES_128_GCM_SHA256" },
  { BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE_RSA_AES_128_GCM_SHA256" },
  { BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "ECDHE_ECDSA_AES_256_GCM_SHA384" },
  { BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "ECDHE_RSA_AES_256_GCM_SHA384" },
  { BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE_ECDSA_CHACHA20_POLY1305_SHA256" },
  { BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE_RSA_CHACHA20_POLY1305_SHA256" },
};
enum { OFFERED = sizeof offered / sizeof *offered, WEAKEST_RSA_BYTES = 256 };

static const br_hash_class *const hashes[] = { &br_sha256_vtable, &br_sha384_vtable, &br_sha512_vtable };
static const int hash_ids[] = { br_sha256_ID, br_sha384_ID, br_sha512_ID };

static br_ssl_client_context client_template;
static br_x509_minimal_context minimal_template;
static pthread_once_t template_once = PTHREAD_ONCE_INIT;

static void template_make(void) {
  static const char *protocols[] = { "http/1.1" };
  br_ssl_engine_context *e = &client_template.eng;
  uint16_t suites[OFFERED];
  for (size_t i = 0; i < OFFERED; i++) suites[i] = offered[i].suite;
  br_ssl_client_zero(&client_template);
  br_ssl_engine_set_versions(e, BR_TLS12, BR_TLS12);
  br_ssl_engine_set_suites(e, suites, OFFERED);
  br_ssl_engine_set_default_rsavrfy(e);
  br_ssl_engine_set_default_ecdsa(e);
  br_ssl_engine_set_prf_sha256(e, &br_tls12_sha256_prf);
  br_ssl_engine_set_prf_sha384(e, &br_tls12_sha384_prf);
  br_ssl_engine_set_default_aes_gcm(e);
  br_ssl_engine_set_default_chapol(e);
  br_ssl_engine_set_protocol_names(e, protocols, 1);
  br_ssl_engine_add_flags(e, BR_OPT_NO_RENEGOTIATION);

  br_x509_minimal_init(&minimal_template, &br_sha256_vtable, NULL, 0);
  br_x509_minimal_set_rsa(&minimal_template, br_ssl_engine_get_rsavrfy(e));
  br_x509_minimal_set_ecdsa(&minimal_template, br_ssl_engine_get_ec(e), br_ssl_engine_get_ecdsa(e));
  br_x509_minimal_set_minrsa(&minimal_template, WEAKEST_RSA_BYTES);
  for (size_t i = 0; i < sizeof hashes / sizeof *hashes; i++) {
    br_ssl_engine_set_hash(e, hash_ids[i], hashes[i]);
    br_x509_minimal_set_hash(&minimal_template, hash_ids[i], hashes[i]);
  }
}

const br_ssl_client_context *tls_suite_template(void) {
  pthread_once(&template_once, template_make);
  return &client_template;
}

const br_x509_minimal_context *tls_suite_minimal_template(void) {
  pthread_once(&template_once, template_make);
  return &minimal_template;
}

const char *tls_suite_name(unsigned suite) {
  for (size_t i = 0; i < OFFERED; i++)
    if (offered[i].suite == suite) return offered[i].name;
  return "";
}

/* The engine's own errors; those of a chain are told apart in verify.c, alerts in shake.c. */
enum tls_failure tls_suite_failure(int error) {
  switch (error) {
  case BR_ERR_UNSUPPORTED_VERSION:
  case BR_ERR_BAD_CIPHER_SUITE:
  case BR_ERR_BAD_COMPRESSION:
  case BR_ERR_INVALID_ALGORITHM: return TLS_NO_COMMON;
  case BR_ERR_WRONG_KEY_USAGE: return TLS_BAD_CHAIN;
  default: return TLS_BROKEN;
  }
}

/* RFC 5246, 7.2.2; 0: nothing to say. */
unsigned tls_suite_alert_for(enum tls_failure f) {
  enum { BAD_CERTIFICATE = 42, CERTIFICATE_EXPIRED = 45, UNKNOWN_CA = 48, DECODE_ERROR = 50, PROTOCOL_VERSION = 70 };
  switch (f) {
  case TLS_EXPIRED:
  case TLS_NOT_YET_VALID: return CERTIFICATE_EXPIRED;
  case TLS_WRONG_HOST:
  case TLS_BAD_CHAIN: return BAD_CERTIFICATE;
  case TLS_UNKNOWN_CA: return UNKNOWN_CA;
  case TLS_NO_COMMON: return PROTOCOL_VERSION;
  case TLS_BROKEN: return DECODE_ERROR;
  default: return 0;
  }
}

const char *tls_failure_text(enum tls_failure f) {
  switch (f) {
  case TLS_NO_FAILURE: return "no failure";
  case TLS_EXPIRED: return "certificate expired";
  case TLS_NOT_YET_VALID: return "certificate not yet valid";
  case TLS_WRONG_HOST: return "certificate is for another host";
  case TLS_UNKNOWN_CA: return "certificate not issued by a trusted authority";
  case TLS_BAD_CHAIN: return "certificate chain is not valid";
  case TLS_NO_COMMON: return "no common TLS version or cipher suite (weir speaks TLS 1.2)";
  case TLS_ALERT: return "peer sent a TLS alert";
  case TLS_BROKEN: return "peer broke the TLS protocol";
  case TLS_CUT: return "connection ended during the TLS handshake";
  }
  return "unknown failure";
}
