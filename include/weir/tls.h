/* tls.h: TLS 1.2 between buffers, client side. No descriptor is known here: the worker moves the
   bytes, this room only computes. Its shape does not show whether BearSSL's engine or its bare record
   contexts work behind it.

   Life of a connection:
     t = tls_new(…)                       on the worker
     tls_shake(t, in, &used, &out) …      on a handshake thread, with nobody else touching t, until READY
     tls_open / tls_seal                  on the worker
     tls_close_notify, tls_free */
#ifndef WEIR_TLS_H
#define WEIR_TLS_H

#include "weir/mem.h"
#include "weir/step.h"

/* Trust anchors: decoded once, shared by reference between all threads. Chains found good under them are remembered
   for a day at most, so that their signatures are not computed again. */
struct tls_trust;
/* A file of PEM certificates. path NULL: the system's roots (/etc/ssl/certs/ca-certificates.crt,
   /etc/pki/tls/certs/ca-bundle.crt). NULL and text on failure. A certificate that is no authority
   is trusted as itself. */
struct tls_trust *tls_trust_load(const char *path, char *text, size_t text_size);
struct tls_trust *tls_trust_ref(struct tls_trust *t);
void tls_trust_drop(struct tls_trust *t);
size_t tls_trust_count(const struct tls_trust *t);
size_t tls_trust_skipped(const struct tls_trust *t);   /* certificates of a kind BearSSL cannot use */

/* What is remembered to resume a session; plain bytes, no pointers, belongs to a pool. Holds a secret. */
struct tls_session {
  bool valid;
  unsigned char bytes[96];
};

enum tls_failure {
  TLS_NO_FAILURE, TLS_EXPIRED, TLS_NOT_YET_VALID, TLS_WRONG_HOST, TLS_UNKNOWN_CA, TLS_BAD_CHAIN,
  TLS_NO_COMMON, TLS_ALERT, TLS_BROKEN, TLS_CUT,
};
const char *tls_failure_text(enum tls_failure f);      /* "certificate expired", … */

struct tls;
/* server_name: the DNS name that the certificate must bear (case-blind; "*." stands for one label) and that is sent as
   SNI. An IP address is not sent, and must stand in the certificate as an address (SAN iPAddress).
   session: resumed from when valid, made under the same name and trust, and not a day old; lent for the call. */
struct tls *tls_new(struct tls_trust *trust, struct span server_name, const struct tls_session *session);
void tls_free(struct tls *t);

/* Handshake, pure computation. Takes bytes from the peer (none on the first call), adds what must be sent to *out.
   MORE: send *out, bring more bytes. DONE: the connection is ready (bytes after step.used are records for tls_open).
   BAD: tls_failure_of says why; *out may hold an alert to send. An end of file before DONE is TLS_CUT, which only the
   caller can see. TLS_NO_COMMON may come with an alert number, too. */
struct step tls_shake(struct tls *t, struct span in, struct buf *out);
enum tls_failure tls_failure_of(const struct tls *t);
unsigned tls_alert_of(const struct tls *t);            /* alert number when TLS_ALERT */
void tls_session_save(struct tls *t, struct tls_session *out);   /* once, after DONE: t forgets it */
bool tls_resumed(const struct tls *t);
const char *tls_suite(const struct tls *t);            /* "ECDHE_RSA_AES_128_GCM_SHA256" */

/* Decrypts what stands at the start of bytes[0..n), in place. EVENT: *plain lies inside bytes (may be empty),
   used bytes are done with, call again with the rest. MORE (used 0): a record is not whole yet, bring it again with
   more behind it (at most 16 KB + 325). DONE: close_notify. BAD: broken or fatal alert. */
struct step tls_open(struct tls *t, char *bytes, size_t n, struct span *plain);
/* Encrypts plain as records of at most 16 KB and appends them to *out. plain is left as it is. */
void tls_seal(struct tls *t, struct span plain, struct buf *out);
void tls_close_notify(struct tls *t, struct buf *out);
size_t tls_memory(const struct tls *t);                /* bytes held now, for the memory account */

/* Handshake threads: they only compute. A job is embedded in its waiter and may not be freed before done ran. */
struct tls_pool;
struct tls_job {
  struct tls_job *next;
  struct tls *tls;
  struct buf in, out;                 /* in: bytes from the peer, used ones are consumed */
  struct step step;
  void (*done)(struct tls_job *j);    /* on the handshake thread: hand it back to the worker */
};
struct tls_pool *tls_pool_new(unsigned threads);
void tls_pool_submit(struct tls_pool *p, struct tls_job *j);
void tls_pool_free(struct tls_pool *p);                /* finishes what is queued */

#endif
