/* inside.h: what the files of this folder share. Its functions bear the folder's name, for they end in one program with
   those of all others.
   A connection passes through three rooms: shake.c (BearSSL's engine does the handshake, verify.c judges the chain),
   then record.c (the negotiated record contexts alone) or, where those do not agree with the engine, engine.c. */
#ifndef WEIR_TLS_INSIDE_H
#define WEIR_TLS_INSIDE_H

#include <bearssl.h>
#include <pthread.h>
#include <time.h>
#include "weir/log.h"
#include "weir/tls.h"

enum {
  TLS_1_2 = 0x0303,
  RECORD_HEADER = 5,
  RECORD_PLAIN_MOST = 16384,
  NAME_MOST = 253,                      /* a DNS name in text */
  CHAIN_MOST = 65536,                   /* what a server may send as its chain */
  CERTS_MOST = 12,
};
enum record_type { RECORD_CHANGE = 20, RECORD_ALERT = 21, RECORD_HANDSHAKE = 22, RECORD_DATA = 23 };
enum { ALERT_WARNING = 1, ALERT_FATAL = 2, ALERT_CLOSE_NOTIFY = 0 };

/* der.c: just enough of X.509 to find anchors, order a chain, tell which date was wrong and see what a key is for.
   Every span lies inside the bytes given. BearSSL judges what a peer sends; this may refuse more, never accept more, but for
   one thing that BearSSL cannot read: addresses in a certificate. */
struct cert {
  struct span issuer, subject;          /* whole encodings, as BearSSL hashes them */
  struct span spki, extensions;         /* contents; extensions may be empty */
  int64_t not_before, not_after;        /* seconds since 1970 */
};
bool tls_cert_read(struct span der, struct cert *out);
bool tls_cert_key(const struct cert *c, br_x509_pkey *out);   /* RSA or a NIST curve; lent from the bytes */
bool tls_cert_is_ca(const struct cert *c);
bool tls_cert_has_address(const struct cert *c, struct span address);     /* 4 or 16 bytes, among its alternative names */
bool tls_cert_is_for_servers(const struct cert *c);       /* by its extended key usage, if it has one */

/* chains.c: chains found good, so that their signatures are not checked again within a day. */
struct chain_proof {
  unsigned char hash[32];               /* of name and chain */
  int64_t from, until;                  /* seconds since 1970 */
  unsigned usages;
  br_x509_pkey key;                     /* points into bytes */
  unsigned char bytes[BR_X509_BUFSIZE_KEY];
};
enum { CHAINS_KEPT = 32, CHAIN_TRUSTED_SECONDS = 24 * 3600 };
struct chain_memory {
  pthread_mutex_t lock;
  struct chain_proof *kept[CHAINS_KEPT];
  unsigned next;
};
void tls_chain_memory_init(struct chain_memory *m);
void tls_chain_memory_end(struct chain_memory *m);
bool tls_chain_known(struct chain_memory *m, const unsigned char hash[32], int64_t now, struct chain_proof *out);
void tls_chain_remember(struct chain_memory *m, const struct chain_proof *proof);
void tls_chain_key_copy(struct chain_proof *to, const br_x509_pkey *key);

struct tls_trust {
  int refs;
  uint64_t id;                          /* differs for every load: sessions made under another trust are not resumed */
  size_t count, skipped, cap;
  br_x509_trust_anchor *anchors;
  struct arena memory;                  /* names and keys of the anchors */
  struct chain_memory chains;           /* the one part that changes; has its own lock */
};

/* verify.c: a chain validator in BearSSL's sense around its "minimal" one. */
struct verify {
  const br_x509_class *vtable;          /* first, as BearSSL wants it */
  struct tls_trust *trust;
  const char *name;
  struct buf chain;
  size_t ends[CERTS_MOST];
  unsigned count;
  bool too_large;
  enum tls_failure failure;
  const br_x509_pkey *key;
  unsigned usages;
  struct chain_proof proof;
  br_x509_minimal_context minimal;
};
void tls_verify_init(struct verify *v, struct tls_trust *trust, const char *name);
void tls_verify_end(struct verify *v);
size_t tls_address_of(const char *name, unsigned char out[16]);/* 4 or 16 when the name is an IP address, else 0 */
extern time_t (*tls_verify_clock)(time_t *);   /* the wall clock; tests set it */

/* suite.c: what weir offers, and what went wrong in weir's words. */
const br_ssl_client_context *tls_suite_template(void);
const br_x509_minimal_context *tls_suite_minimal_template(void);
const char *tls_suite_name(unsigned suite);
enum tls_failure tls_suite_failure(int error);
unsigned tls_suite_alert_for(enum tls_failure f);

/* What is known before the handshake and needed only until its end. */
struct hello {
  struct tls_trust *trust;
  struct tls_session session;
  char name[NAME_MOST + 1];
};

/* The working set of a handshake, and of the whole connection where the engine stays. */
struct shake {
  br_ssl_client_context client;
  struct verify verify;
  struct buf late;                      /* engine only: records to be sent before the next ones */
  unsigned char in[BR_SSL_BUFSIZE_INPUT], out[BR_SSL_BUFSIZE_OUTPUT];
};
void tls_shake_free(struct tls *t);
void tls_shake_drain(struct shake *s, struct buf *out);        /* takes what the engine wants sent */

union record_in {
  const br_sslrec_in_class *vtable;
  br_sslrec_gcm_context gcm;
  br_sslrec_chapol_context chapol;
};
union record_out {
  const br_sslrec_out_class *vtable;
  br_sslrec_gcm_context gcm;
  br_sslrec_chapol_context chapol;
};

enum tls_state { TLS_SHAKING, TLS_READY, TLS_PEER_CLOSED, TLS_FAILED };
struct tls {
  uint8_t state, failure, alert;
  bool resumed, by_engine, close_sent;
  uint16_t suite;
  uint16_t lead, trail;                 /* bytes a sealed record has before and after its text */
  uint32_t noted;                       /* of its memory, in the process's account */
  struct hello *hello;                  /* until the handshake ended */
  struct shake *shake;                  /* during the handshake, and while by_engine */
  struct tls_session *session;          /* until saved */
  union record_in in;
  union record_out out;
};

/* A record at the start of bytes. EVENT: header is sound and the record whole, *size is its length with header. */
struct step tls_record_frame(const struct tls *t, const char *bytes, size_t n, size_t *size);
bool tls_record_take(struct tls *t);        /* takes the contexts over from the engine, if they agree with it */
bool tls_record_agrees(const struct tls *t, const br_ssl_engine_context *e);
struct step tls_record_open(struct tls *t, char *bytes, size_t n, struct span *plain);
void tls_record_seal(struct tls *t, enum record_type type, struct span plain, struct buf *out);
struct step tls_engine_open(struct tls *t, char *bytes, size_t n, struct span *plain);
void tls_engine_seal(struct tls *t, struct span plain, struct buf *out);
void tls_engine_close(struct tls *t, struct buf *out);
struct step tls_fail(struct tls *t, enum tls_failure f, size_t used);

extern bool tls_keep_engine;            /* tests: never take the contexts over */

#endif
