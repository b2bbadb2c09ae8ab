#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "../../../src/tls/inside.h"
#include "peer.h"
#include "scene.h"

static enum tls_failure outcome_with(struct tls_trust *under, const char *chain, const char *name) {
  struct peer *p = peer_new(chain, NULL);
  peer_start(p);
  struct tls *t = tls_new(under, span_cstr(name), NULL);
  enum step_kind k = peer_shake(p, t, 0);
  enum tls_failure f = tls_failure_of(t);
  assert_int_equal(k, f ? STEP_BAD : STEP_DONE);
  if (f && tls_suite_alert_for(f)) {
    assert_int_equal(p->ctx.eng.err, BR_ERR_RECV_FATAL_ALERT + tls_suite_alert_for(f));
    assert_int_equal(tls_shake(t, span_of(NULL, 0), &(struct buf){ 0 }).kind, STEP_BAD);
  }
  tls_free(t);
  peer_free(p);
  return f;
}

static enum tls_failure outcome(const char *chain, const char *name) { return outcome_with(trust, chain, name); }

static void good_chains(void **state) {
  NEED_CERTS();
  assert_int_equal(outcome("good middle", "good.test"), TLS_NO_FAILURE);
  assert_int_equal(outcome("good middle root", "good.test"), TLS_NO_FAILURE);
  assert_int_equal(outcome("good middle", "also.good.test"), TLS_NO_FAILURE);
  assert_int_equal(outcome("good middle", "GOOD.Test"), TLS_NO_FAILURE);
  assert_int_equal(outcome("good middle", "good.test."), TLS_NO_FAILURE);
  assert_int_equal(outcome("rsa", "good.test"), TLS_NO_FAILURE);
  assert_int_equal(outcome("under_big", "good.test"), TLS_NO_FAILURE);
  assert_int_equal(outcome("common", "only.common.test"), TLS_NO_FAILURE);
  assert_int_equal(outcome("server_use", "good.test"), TLS_NO_FAILURE);
}

static void disordered_chains(void **state) {
  NEED_CERTS();
  assert_int_equal(outcome("good root middle", "good.test"), TLS_NO_FAILURE);
  assert_int_equal(outcome("good other middle stranger root", "good.test"), TLS_NO_FAILURE);
  assert_int_equal(outcome("good expired middle", "good.test"), TLS_NO_FAILURE);
  assert_int_equal(outcome("good good good middle", "good.test"), TLS_NO_FAILURE);
  assert_int_equal(outcome("good", "good.test"), TLS_UNKNOWN_CA);
  assert_int_equal(outcome("middle good", "good.test"), TLS_WRONG_HOST);
}

static void names(void **state) {
  NEED_CERTS();
  assert_int_equal(outcome("wild", "a.wild.test"), TLS_NO_FAILURE);
  assert_int_equal(outcome("wild", "A.WILD.test"), TLS_NO_FAILURE);
  assert_int_equal(outcome("wild", "wild.test"), TLS_WRONG_HOST);
  assert_int_equal(outcome("wild", "a.b.wild.test"), TLS_WRONG_HOST);
  assert_int_equal(outcome("wild", "awild.test"), TLS_WRONG_HOST);
  assert_int_equal(outcome("good middle", "bad.test"), TLS_WRONG_HOST);
  assert_int_equal(outcome("good middle", "a.good.test"), TLS_WRONG_HOST);
  assert_int_equal(outcome("good middle", "good.tes"), TLS_WRONG_HOST);
  assert_int_equal(outcome("good middle", "xgood.test"), TLS_WRONG_HOST);
  assert_int_equal(outcome("good middle", "127.0.0.1"), TLS_WRONG_HOST);
}

/* An address must stand in the certificate as one. */
static void addresses(void **state) {
  NEED_CERTS();
  assert_int_equal(outcome("address middle", "192.0.2.7"), TLS_NO_FAILURE);
  assert_int_equal(outcome("address middle", "2001:db8::7"), TLS_NO_FAILURE);
  assert_int_equal(outcome("address middle", "2001:DB8:0::0:7"), TLS_NO_FAILURE);
  assert_int_equal(outcome("address middle", "good.test"), TLS_NO_FAILURE);
  assert_int_equal(outcome("address middle", "192.0.2.8"), TLS_WRONG_HOST);
  assert_int_equal(outcome("address middle", "192.0.2.9"), TLS_WRONG_HOST);
  assert_int_equal(outcome("address middle", "2001:db8::8"), TLS_WRONG_HOST);
  assert_int_equal(outcome("address middle", "::ffff:192.0.2.7"), TLS_WRONG_HOST);
  assert_int_equal(outcome("as_name middle", "192.0.2.7"), TLS_WRONG_HOST);
  assert_int_equal(outcome("as_common middle", "192.0.2.7"), TLS_WRONG_HOST);
  assert_int_equal(outcome("address_other", "192.0.2.7"), TLS_UNKNOWN_CA);
  assert_int_equal(outcome("address_old", "192.0.2.7"), TLS_EXPIRED);
  assert_int_equal(outcome("address_client", "192.0.2.7"), TLS_BAD_CHAIN);
}

/* Nothing is said to a peer when there is no name that its certificate could bear. */
static void names_that_are_none(void **state) {
  NEED_CERTS();
  char longest[300];
  memset(longest, 'a', sizeof longest);
  const struct span none[] = {
    SPAN(""), SPAN("."), SPAN(".wild.test"), SPAN("*.wild.test"), SPAN("good.test\0.evil"), SPAN("good.test "),
    SPAN("g\xC3\xB6.test"), span_of(longest, 254), span_of(longest, 300),
  };
  for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
    struct tls *t = tls_new(trust, none[i], NULL);
    struct buf out = { 0 };
    assert_int_equal(tls_shake(t, span_of(NULL, 0), &out).kind, STEP_BAD);
    assert_int_equal(tls_failure_of(t), TLS_WRONG_HOST);
    assert_int_equal(buf_size(&out), 0);
    tls_free(t);
  }
}

static void bad_chains(void **state) {
  NEED_CERTS();
  assert_int_equal(outcome("expired", "good.test"), TLS_EXPIRED);
  assert_int_equal(outcome("future", "good.test"), TLS_NOT_YET_VALID);
  assert_int_equal(outcome("under_expired middle_expired", "good.test"), TLS_EXPIRED);
  assert_int_equal(outcome("stranger", "good.test"), TLS_UNKNOWN_CA);
  assert_int_equal(outcome("stranger other", "good.test"), TLS_UNKNOWN_CA);
  assert_int_equal(outcome("self", "good.test"), TLS_UNKNOWN_CA);
  assert_int_equal(outcome("forged", "good.test"), TLS_UNKNOWN_CA);
  assert_int_equal(outcome("forged root", "good.test"), TLS_BAD_CHAIN);
  assert_int_equal(outcome("forged imposter", "good.test"), TLS_UNKNOWN_CA);
  assert_int_equal(outcome("under_not_ca not_ca", "good.test"), TLS_BAD_CHAIN);
  assert_int_equal(outcome("weak", "good.test"), TLS_BAD_CHAIN);
  assert_int_equal(outcome("client_only", "good.test"), TLS_BAD_CHAIN);
  assert_int_equal(outcome("under_constrained constrained", "good.test"), TLS_BAD_CHAIN);
}

static void own_anchors(void **state) {
  NEED_CERTS();
  struct tls_trust *self = certs_trust("self"), *selfca = certs_trust("selfca"), *middle = certs_trust("middle");
  assert_int_equal(outcome_with(self, "self", "good.test"), TLS_NO_FAILURE);
  assert_int_equal(outcome_with(self, "self", "bad.test"), TLS_WRONG_HOST);
  assert_int_equal(outcome_with(self, "selfca", "good.test"), TLS_UNKNOWN_CA);
  assert_int_equal(outcome_with(selfca, "selfca", "good.test"), TLS_NO_FAILURE);
  assert_int_equal(outcome_with(middle, "good middle", "good.test"), TLS_NO_FAILURE);
  assert_int_equal(outcome_with(middle, "good", "good.test"), TLS_NO_FAILURE);
  struct tls_trust *address = certs_trust("address_self");
  assert_int_equal(outcome_with(address, "address_self", "192.0.2.7"), TLS_NO_FAILURE);
  assert_int_equal(outcome_with(address, "address_self", "192.0.2.8"), TLS_WRONG_HOST);
  tls_trust_drop(address);
  struct tls_trust *many = certs_trust("many");
  assert_int_equal(tls_trust_count(many), 28);
  assert_int_equal(outcome_with(many, "good middle", "good.test"), TLS_NO_FAILURE);
  assert_int_equal(outcome_with(many, "rsa", "good.test"), TLS_UNKNOWN_CA);
  tls_trust_drop(many);
  tls_trust_drop(self);
  tls_trust_drop(selfca);
  tls_trust_drop(middle);
}

static void every_suite(void **state) {
  NEED_CERTS();
  static const struct { const char *chain; uint16_t suite; const char *name; } cases[] = {
    { "good middle", BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ECDHE_ECDSA_AES_128_GCM_SHA256" },
    { "good middle", BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "ECDHE_ECDSA_AES_256_GCM_SHA384" },
    { "good middle", BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE_ECDSA_CHACHA20_POLY1305_SHA256" },
    { "rsa", BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE_RSA_AES_128_GCM_SHA256" },
    { "rsa", BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "ECDHE_RSA_AES_256_GCM_SHA384" },
    { "rsa", BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE_RSA_CHACHA20_POLY1305_SHA256" },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct peer *p = peer_new(cases[i].chain, NULL);
    br_ssl_engine_set_suites(&p->ctx.eng, &cases[i].suite, 1);
    struct tls *t = peer_connect(p, trust, "good.test");
    assert_string_equal(tls_suite(t), cases[i].name);
    tls_free(t);
    peer_free(p);
  }
}

/* What the client offers, and that nothing but TLS 1.2 with an AEAD suite is taken. */
static void hello_contents(void **state) {
  NEED_CERTS();
  static const char *const both[] = { "h2", "http/1.1" };
  struct peer *p = peer_new("good middle", NULL);
  br_ssl_engine_set_protocol_names(&p->ctx.eng, (const char **)both, 2);
  struct tls *t = peer_connect(p, trust, "good.test");
  assert_string_equal(br_ssl_engine_get_server_name(&p->ctx.eng), "good.test");
  assert_string_equal(br_ssl_engine_get_selected_protocol(&p->ctx.eng), "http/1.1");
  assert_int_equal(p->ctx.eng.session.version, TLS_1_2);
  tls_free(t);
  size_t n = 0;
  const br_suite_translated *offers = br_ssl_server_get_client_suites(&p->ctx, &n);
  static const uint16_t want[] = { 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8 };
  for (size_t i = 0; i < n; i++) {
    bool known = false;
    for (size_t k = 0; k < 6; k++) known |= offers[i][0] == want[k];
    assert_true(known);
  }
  peer_free(p);

  p = peer_new("good middle", NULL);
  peer_start(p);
  t = tls_new(trust, SPAN("127.0.0.1"), NULL);
  peer_shake(p, t, 0);
  assert_string_equal(br_ssl_engine_get_server_name(&p->ctx.eng), "");
  tls_free(t);
  peer_free(p);
}

static void nothing_in_common(void **state) {
  NEED_CERTS();
  static const uint16_t cbc = BR_TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256;
  for (int which = 0; which < 2; which++) {
    struct peer *p = peer_new("good middle", NULL);
    if (which) br_ssl_engine_set_versions(&p->ctx.eng, BR_TLS10, BR_TLS11);
    else br_ssl_engine_set_suites(&p->ctx.eng, &cbc, 1);
    peer_start(p);
    struct tls *t = tls_new(trust, SPAN("good.test"), NULL);
    assert_int_equal(peer_shake(p, t, 0), STEP_BAD);
    assert_int_equal(tls_failure_of(t), TLS_NO_COMMON);
    tls_free(t);
    peer_free(p);
  }
}

static void every_split(void **state) {
  NEED_CERTS();
  static const size_t splits[] = { 1, 2, 3, 4, 5, 6, 7, 11, 64, 100, 555, 1400 };
  for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
    struct peer *p = peer_new("good middle", NULL);
    peer_start(p);
    struct tls *t = tls_new(trust, SPAN("good.test"), NULL);
    assert_int_equal(peer_shake(p, t, splits[i]), STEP_DONE);
    tls_free(t);
    peer_free(p);
  }
}

/* Bytes behind the server's last handshake record stay with the caller, whatever they are. */
static void takes_no_byte_too_many(void **state) {
  NEED_CERTS();
  br_ssl_session_cache_lru sessions;
  unsigned char store[4096];
  br_ssl_session_cache_lru_init(&sessions, store, sizeof store);
  struct tls_session saved = { 0 };
  for (int round = 0; round < 2; round++) {
    struct peer *p = peer_new("good middle", &sessions);
    peer_start(p);
    struct tls *t = tls_new(trust, SPAN("good.test"), &saved);
    struct buf out = { 0 };
    struct step s = { STEP_MORE, 0 };
    struct span plain;
    while (s.kind == STEP_MORE) {
      s = tls_shake(t, buf_span(&p->sent), &out);
      buf_consume(&p->sent, s.used);
      if (s.kind == STEP_DONE) break;
      peer_take(p, &out, NULL);
      if (!round && (br_ssl_engine_current_state(&p->ctx.eng) & BR_SSL_SENDAPP)) peer_say(p, SPAN("early words"));
    }
    assert_int_equal(s.kind, STEP_DONE);
    assert_int_equal(tls_resumed(t), round);
    if (!round) {
      struct step o = tls_open(t, p->sent.p + p->sent.at, buf_size(&p->sent), &plain);
      assert_int_equal(o.kind, STEP_EVENT);
      assert_true(span_eq(plain, SPAN("early words")));
      assert_int_equal(o.used, buf_size(&p->sent));
    }
    tls_session_save(t, &saved);
    assert_true(saved.valid);
    buf_free(&out);
    tls_free(t);
    peer_free(p);
  }
}

/* The server's flights of one good handshake with keys that do not change: enough to cut it anywhere. */
static void cut_anywhere(void **state) {
  NEED_CERTS();
  for (size_t cut = 0, total = 1; cut < total; cut++) {
    struct peer *p = peer_new("good middle", NULL);
    peer_start(p);
    struct tls *t = tls_new(trust, SPAN("good.test"), NULL);
    struct buf out = { 0 };
    assert_int_equal(tls_shake(t, span_of(NULL, 0), &out).kind, STEP_MORE);
    peer_take(p, &out, NULL);
    total = buf_size(&p->sent);
    struct step s = tls_shake(t, span_of(p->sent.p + p->sent.at, cut), &out);
    assert_int_equal(s.kind, STEP_MORE);
    assert_int_equal(s.used, cut);
    buf_free(&out);
    tls_free(t);
    peer_free(p);
  }
}

/* One byte of the server's flights changed: it must never come to a finished handshake. */
static void changed_anywhere(void **state) {
  NEED_CERTS();
  struct peer *p = peer_new("good middle", NULL);
  for (size_t at = 0, total = 1; at < total; at += 5) {
    peer_start(p);
    struct tls *t = tls_new(trust, SPAN("good.test"), NULL);
    struct buf out = { 0 };
    size_t passed = 0;
    bool changed = false;                /* signatures differ in length, so the last places are not always there */
    struct step s = tls_shake(t, span_of(NULL, 0), &out);
    while (s.kind == STEP_MORE) {
      buf_clear(&p->sent);
      peer_take(p, &out, NULL);
      buf_clear(&out);
      size_t n = buf_size(&p->sent);
      if (!n) break;
      if (at >= passed && at < passed + n) {
        p->sent.p[p->sent.at + at - passed] ^= (char)(1 + at % 127);
        changed = true;
      }
      passed += n;
      if (passed > total) total = passed;
      s = tls_shake(t, buf_span(&p->sent), &out);
    }
    assert_true(s.kind != STEP_DONE || !changed);
    buf_free(&out);
    tls_free(t);
  }
  peer_free(p);
}

static enum tls_failure after_bytes(struct span bytes, unsigned *alert) {
  struct tls *t = tls_new(trust, SPAN("good.test"), NULL);
  struct buf out = { 0 };
  tls_shake(t, span_of(NULL, 0), &out);
  struct step s = tls_shake(t, bytes, &out);
  enum tls_failure f = tls_failure_of(t);
  assert_int_equal(s.kind, f ? STEP_BAD : STEP_MORE);
  *alert = tls_alert_of(t);
  buf_free(&out);
  tls_free(t);
  return f;
}

static void garbage_and_alerts(void **state) {
  NEED_CERTS();
  unsigned alert;
  assert_int_equal(after_bytes(SPAN("HTTP/1.1 400 Bad Request\r\n\r\n"), &alert), TLS_NO_COMMON);
  assert_int_equal(after_bytes(SPAN("\x16\x03\x03\x00\x04\x02\xff\xff\xff"), &alert), TLS_NO_FAILURE);
  assert_int_equal(after_bytes(SPAN("\x16\x03\x03\xff\xff"), &alert), TLS_BROKEN);
  assert_int_equal(after_bytes(SPAN("\x17\x03\x03\x00\x01x"), &alert), TLS_BROKEN);
  assert_int_equal(after_bytes(SPAN("\x16\x03\x03\x00\x04\x00\x00\x00\x00"), &alert), TLS_NO_FAILURE);
  assert_int_equal(after_bytes(SPAN("\x15\x03\x03\x00\x02\x02\x50"), &alert), TLS_ALERT);
  assert_int_equal(alert, 80);
  assert_int_equal(after_bytes(SPAN("\x15\x03\x03\x00\x02\x02\x28"), &alert), TLS_NO_COMMON);
  assert_int_equal(alert, 40);
  assert_int_equal(after_bytes(SPAN("\x15\x03\x01\x00\x02\x02\x46"), &alert), TLS_NO_COMMON);
  assert_int_equal(after_bytes(SPAN("\x15\x03\x03\x00\x02\x01\x00"), &alert), TLS_CUT);
  uint32_t seed = 12345;
  for (int round = 0; round < 300; round++) {
    char soup[400];
    for (size_t i = 0; i < sizeof soup; i++) soup[i] = (char)((seed = seed * 1664525 + 1013904223) >> 24);
    if (round & 1) memcpy(soup, "\x16\x03\x03\x01\x00\x02\x00\x00", 8);
    after_bytes(span_of(soup, sizeof soup), &alert);
  }
}

static void early_end(void **state) {
  NEED_CERTS();
  struct tls *t = tls_new(trust, SPAN("good.test"), NULL);
  struct span plain;
  struct buf out = { 0 };
  tls_close_notify(t, &out);
  assert_int_equal(buf_size(&out), 0);
  char none[1] = "";
  assert_int_equal(tls_open(t, none, 0, &plain).kind, STEP_BAD);
  assert_true(tls_memory(t) < 1500);
  tls_free(t);
  tls_free(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(good_chains), cmocka_unit_test(disordered_chains), cmocka_unit_test(names),
    cmocka_unit_test(addresses),
    cmocka_unit_test(names_that_are_none),
    cmocka_unit_test(bad_chains), cmocka_unit_test(own_anchors), cmocka_unit_test(every_suite),
    cmocka_unit_test(hello_contents), cmocka_unit_test(nothing_in_common), cmocka_unit_test(every_split),
    cmocka_unit_test(takes_no_byte_too_many), cmocka_unit_test(cut_anywhere), cmocka_unit_test(changed_anywhere),
    cmocka_unit_test(garbage_and_alerts), cmocka_unit_test(early_end),
  };
  return cmocka_run_group_tests(tests, before_all, after_all);
}
