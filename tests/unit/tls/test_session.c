/* What is remembered from one handshake to the next: sessions, and chains found good. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "../../../src/tls/inside.h"
#include "peer.h"

static struct tls_trust *trust;
static bool have;
static br_ssl_session_cache_lru sessions;
static unsigned char store[8192];
static time_t clock_ahead;

static time_t shifted_clock(time_t *out) {
  time_t now = time(NULL) + clock_ahead;
  if (out) *out = now;
  return now;
}

static int before_all(void **state) {
  (void)state;
  tls_verify_clock = shifted_clock;
  have = certs_make();
  return 0;
}

static int after_all(void **state) {
  (void)state;
  certs_remove();
  return 0;
}

static int before_each(void **state) {
  (void)state;
  clock_ahead = 0;
  br_ssl_session_cache_lru_init(&sessions, store, sizeof store);
  trust = have ? certs_trust("anchors") : NULL;
  return 0;
}

static int after_each(void **state) {
  (void)state;
  tls_trust_drop(trust);
  return 0;
}

#define NEED_CERTS() do { (void)state; if (!have) skip(); } while (0)

/* One connection with a word each way; the session it leaves goes to *session. */
static bool connect_resumed(struct tls_trust *under, const char *name, struct tls_session *session) {
  struct peer *p = peer_new("good middle", &sessions);
  peer_start(p);
  struct tls *t = tls_new(under, span_cstr(name), session);
  assert_int_equal(peer_shake(p, t, 0), STEP_DONE);
  struct buf out = { 0 }, got = { 0 };
  struct span plain;
  tls_seal(t, SPAN("ping"), &out);
  peer_take(p, &out, &got);
  assert_true(span_eq(buf_span(&got), SPAN("ping")));
  peer_say(p, SPAN("pong"));
  assert_int_equal(tls_open(t, p->sent.p + p->sent.at, buf_size(&p->sent), &plain).kind, STEP_EVENT);
  assert_true(span_eq(plain, SPAN("pong")));
  bool resumed = tls_resumed(t);
  tls_session_save(t, session);
  struct tls_session again;
  tls_session_save(t, &again);
  assert_false(again.valid);
  buf_free(&out), buf_free(&got);
  tls_free(t);
  peer_free(p);
  return resumed;
}

static void resumed(void **state) {
  NEED_CERTS();
  struct tls_session s = { 0 };
  assert_false(connect_resumed(trust, "good.test", &s));
  assert_true(s.valid);
  for (int i = 0; i < 3; i++) {
    assert_true(connect_resumed(trust, "good.test", &s));
    assert_true(s.valid);
  }
}

static void resumed_by_engine(void **state) {
  NEED_CERTS();
  struct tls_session s = { 0 };
  tls_keep_engine = true;
  assert_false(connect_resumed(trust, "good.test", &s));
  assert_true(connect_resumed(trust, "good.test", &s));
  tls_keep_engine = false;
  assert_true(connect_resumed(trust, "good.test", &s));
}

static void not_for_another_name_or_trust(void **state) {
  NEED_CERTS();
  struct tls_session s = { 0 }, copy;
  assert_false(connect_resumed(trust, "good.test", &s));
  copy = s;
  assert_false(connect_resumed(trust, "also.good.test", &copy));
  struct tls_trust *reloaded = certs_trust("anchors");
  copy = s;
  assert_false(connect_resumed(reloaded, "good.test", &copy));
  tls_trust_drop(reloaded);
  copy = s;
  copy.valid = false;
  assert_false(connect_resumed(trust, "good.test", &copy));
  assert_true(connect_resumed(trust, "good.test", &s));
}

/* A day after the certificate was seen it must be seen again, however often the session was used. */
static void not_after_a_day(void **state) {
  NEED_CERTS();
  struct tls_session s = { 0 };
  assert_false(connect_resumed(trust, "good.test", &s));
  clock_ahead = 20 * 3600;
  assert_true(connect_resumed(trust, "good.test", &s));
  clock_ahead = 24 * 3600 + 10;
  assert_false(connect_resumed(trust, "good.test", &s));
  clock_ahead = 0;                      /* a clock set back: the session seems to come from the future */
  assert_false(connect_resumed(trust, "good.test", &s));
}

static void forgotten_by_the_server(void **state) {
  NEED_CERTS();
  struct tls_session s = { 0 }, other = { 0 };
  assert_false(connect_resumed(trust, "good.test", &s));
  br_ssl_session_cache_lru_init(&sessions, store, sizeof store);
  assert_false(connect_resumed(trust, "good.test", &s));
  assert_true(connect_resumed(trust, "good.test", &s));
  assert_false(connect_resumed(trust, "good.test", &other));
  assert_true(memcmp(&s, &other, sizeof s) != 0);
}

static enum tls_failure handshake(const char *chain, const char *name) {
  struct peer *p = peer_new(chain, NULL);
  peer_start(p);
  struct tls *t = tls_new(trust, span_cstr(name), NULL);
  peer_shake(p, t, 0);
  enum tls_failure f = tls_failure_of(t);
  tls_free(t);
  peer_free(p);
  return f;
}

static unsigned chains_kept(void) {
  unsigned n = 0;
  while (n < CHAINS_KEPT && trust->chains.kept[n]) n++;
  return n;
}

static void chains_are_remembered(void **state) {
  NEED_CERTS();
  assert_int_equal(handshake("good middle", "good.test"), TLS_NO_FAILURE);
  assert_int_equal(chains_kept(), 1);
  assert_int_equal(handshake("good middle", "good.test"), TLS_NO_FAILURE);
  assert_int_equal(chains_kept(), 1);
  assert_int_equal(handshake("rsa", "good.test"), TLS_NO_FAILURE);
  assert_int_equal(handshake("rsa", "good.test"), TLS_NO_FAILURE);
  assert_int_equal(chains_kept(), 2);
  /* It is the proof that is used: one with the wrong key spoils the handshake. */
  struct chain_proof *proof = trust->chains.kept[0];
  proof->bytes[20] ^= 1;
  assert_int_not_equal(handshake("good middle", "good.test"), TLS_NO_FAILURE);
  proof->bytes[20] ^= 1;
  assert_int_equal(handshake("good middle", "good.test"), TLS_NO_FAILURE);
}

static void a_proof_is_for_one_name_and_chain(void **state) {
  NEED_CERTS();
  assert_int_equal(handshake("good middle", "good.test"), TLS_NO_FAILURE);
  assert_int_equal(handshake("good middle", "bad.test"), TLS_WRONG_HOST);
  assert_int_equal(handshake("good middle", "also.good.test"), TLS_NO_FAILURE);
  assert_int_equal(chains_kept(), 2);
  assert_int_equal(handshake("good", "good.test"), TLS_UNKNOWN_CA);
  assert_int_equal(handshake("stranger middle", "good.test"), TLS_UNKNOWN_CA);
  assert_int_equal(handshake("expired", "good.test"), TLS_EXPIRED);
  assert_int_equal(chains_kept(), 2);
}

static void a_proof_ends(void **state) {
  NEED_CERTS();
  assert_int_equal(handshake("good middle", "good.test"), TLS_NO_FAILURE);
  int64_t until = trust->chains.kept[0]->until;
  assert_in_range(until, time(NULL) + CHAIN_TRUSTED_SECONDS - 60, time(NULL) + CHAIN_TRUSTED_SECONDS);
  clock_ahead = CHAIN_TRUSTED_SECONDS + 100;
  assert_int_equal(handshake("good middle", "good.test"), TLS_NO_FAILURE);
  assert_int_equal(chains_kept(), 1);
  assert_true(trust->chains.kept[0]->until > until);
  /* Not past the end of a certificate: 2040-01-01, so this proof is shorter than a day. */
  clock_ahead = 2208988800 - time(NULL) - 1000;
  assert_int_equal(handshake("good middle", "good.test"), TLS_NO_FAILURE);
  assert_int_equal(trust->chains.kept[0]->until, 2208988800);
  clock_ahead += 2000;
  assert_int_equal(handshake("good middle", "good.test"), TLS_EXPIRED);
  clock_ahead = 1500000000 - time(NULL);
  assert_int_equal(handshake("good middle", "good.test"), TLS_NOT_YET_VALID);
}

static void proofs_make_room(void **state) {
  (void)state;
  struct chain_memory m;
  struct chain_proof p = { .until = 100 }, got;
  unsigned char point[65] = { 4 };
  tls_chain_memory_init(&m);
  br_x509_pkey key = { .key_type = BR_KEYTYPE_EC, .key.ec = { BR_EC_secp256r1, point, sizeof point } };
  for (unsigned i = 0; i < CHAINS_KEPT + 5; i++) {
    p.hash[0] = (unsigned char)i;
    point[1] = (unsigned char)i;
    tls_chain_key_copy(&p, &key);
    tls_chain_remember(&m, &p);
  }
  for (unsigned i = 0; i < CHAINS_KEPT + 5; i++) {
    p.hash[0] = (unsigned char)i;
    assert_int_equal(tls_chain_known(&m, p.hash, 50, &got), i >= 5);
    if (i < 5) continue;
    assert_ptr_equal(got.key.key.ec.q, got.bytes);
    assert_int_equal(got.key.key.ec.q[1], i);
  }
  assert_true(tls_chain_known(&m, p.hash, 100, &got));
  assert_false(tls_chain_known(&m, p.hash, 101, &got));
  assert_false(tls_chain_known(&m, p.hash, -1, &got));
  tls_chain_memory_end(&m);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, before_each, after_each)

int main(void) {
  const struct CMUnitTest tests[] = {
    EACH(resumed), EACH(resumed_by_engine), EACH(not_for_another_name_or_trust), EACH(not_after_a_day),
    EACH(forgotten_by_the_server), EACH(chains_are_remembered), EACH(a_proof_is_for_one_name_and_chain),
    EACH(a_proof_ends), EACH(proofs_make_room),
  };
  return cmocka_run_group_tests(tests, before_all, after_all);
}
