#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "../../../src/tls/inside.h"
#include "peer.h"
#include "scene.h"

static const uint16_t suites[] = {
  BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
  BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
};

/* A pair for each suite, by records and by engine: every test of this file holds for both. */
static struct peer *peer;
static struct tls *client;

static void pair_up(unsigned way) {
  peer = peer_new("good middle", NULL);
  br_ssl_engine_set_suites(&peer->ctx.eng, &suites[way % 3], 1);
  tls_keep_engine = way >= 3;
  client = peer_connect(peer, trust, "good.test");
  tls_keep_engine = false;
  assert_int_equal(client->by_engine, way >= 3);
}

static void part(void) {
  tls_free(client);
  peer_free(peer);
}

#define EACH_WAY(way) (void)state; if (!have) skip(); for (unsigned way = 0; way < 6; way++)

static struct buf text_of(size_t n, uint32_t seed) {
  struct buf b = { 0 };
  char *p = buf_reserve(&b, n ? n : 1);
  for (size_t i = 0; i < n; i++) p[i] = (char)((seed = seed * 1664525 + 1013904223) >> 24);
  buf_commit(&b, n);
  return b;
}

/* Opens all of wire, given in pieces of `split` bytes (0: at once), into *got; the last answer that was not EVENT. */
static struct step open_all(struct tls *t, struct span wire, size_t split, struct buf *got) {
  struct buf held = { 0 };
  struct step s = { STEP_MORE, 0 };
  while (wire.n && s.kind == STEP_MORE) {
    size_t n = split && split < wire.n ? split : wire.n;
    buf_add(&held, span_of(wire.p, n));
    wire = span_from(wire, n);
    do {
      struct span plain;
      char *at = held.p + held.at;
      size_t size = buf_size(&held);
      s = tls_open(t, at, size, &plain);
      assert_true(s.used <= size);
      if (s.kind == STEP_MORE) assert_int_equal(s.used, 0);
      if (s.kind != STEP_EVENT) break;
      assert_true(s.used > 0);
      assert_true(plain.p >= at && plain.p + plain.n <= at + s.used);
      if (got) buf_add(got, plain);
      buf_consume(&held, s.used);
    } while (buf_size(&held));
    if (s.kind == STEP_EVENT) s.kind = STEP_MORE;
  }
  buf_free(&held);
  return s;
}

static void both_directions(void **state) {
  static const size_t sizes[] = { 1, 2, 15, 16, 17, 100, 1000, 16383, 16384, 16385, 32768, 32769, 100000, 1 << 20 };
  EACH_WAY(way) {
    pair_up(way);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      struct buf text = text_of(sizes[i], (uint32_t)i), copy = text_of(sizes[i], (uint32_t)i), out = { 0 }, got = { 0 };
      tls_seal(client, buf_span(&text), &out);
      assert_true(span_eq(buf_span(&text), buf_span(&copy)));
      assert_true(buf_size(&out) <= sizes[i] + (sizes[i] / RECORD_PLAIN_MOST + 1) * 29);
      peer_take(peer, &out, &got);
      assert_true(span_eq(buf_span(&got), buf_span(&text)));
      buf_clear(&got);
      peer_say(peer, buf_span(&text));
      assert_int_equal(open_all(client, buf_span(&peer->sent), 0, &got).kind, STEP_MORE);
      assert_true(span_eq(buf_span(&got), buf_span(&text)));
      buf_clear(&peer->sent);
      buf_free(&text), buf_free(&copy), buf_free(&out), buf_free(&got);
    }
    part();
  }
}

static void every_split(void **state) {
  EACH_WAY(way) {
    pair_up(way);
    for (size_t split = 1; split < 60; split++) {
      struct buf got = { 0 };
      peer_say(peer, SPAN("first"));
      peer_say(peer, SPAN("a second record that is longer"));
      assert_int_equal(open_all(client, buf_span(&peer->sent), split, &got).kind, STEP_MORE);
      assert_true(span_eq(buf_span(&got), SPAN("firsta second record that is longer")));
      buf_clear(&peer->sent);
      buf_free(&got);
    }
    part();
  }
}

static void largest_and_empty(void **state) {
  EACH_WAY(way) {
    pair_up(way);
    struct buf most = text_of(RECORD_PLAIN_MOST, 7), got = { 0 };
    peer_say_record(peer, RECORD_DATA, buf_span(&most));
    peer_say_record(peer, RECORD_DATA, SPAN(""));
    peer_say_record(peer, RECORD_DATA, SPAN("x"));
    assert_int_equal(open_all(client, buf_span(&peer->sent), 0, &got).kind, STEP_MORE);
    assert_int_equal(buf_size(&got), RECORD_PLAIN_MOST + 1);
    struct buf out = { 0 };
    tls_seal(client, SPAN(""), &out);
    assert_int_equal(buf_size(&out), 0);
    buf_free(&most), buf_free(&got), buf_free(&out);
    part();
  }
}

static void close_notify(void **state) {
  EACH_WAY(way) {
    pair_up(way);
    struct buf got = { 0 }, out = { 0 };
    struct span plain;
    peer_say(peer, SPAN("last words"));
    br_ssl_engine_close(&peer->ctx.eng);
    peer_collect(peer);
    assert_int_equal(open_all(client, buf_span(&peer->sent), 0, &got).kind, STEP_DONE);
    assert_true(span_eq(buf_span(&got), SPAN("last words")));
    struct step again = tls_open(client, peer->sent.p, buf_size(&peer->sent), &plain);
    assert_int_equal(again.kind, STEP_DONE);
    assert_int_equal(again.used, 0);
    tls_close_notify(client, &out);
    assert_true(buf_size(&out) > 0);
    peer_take(peer, &out, NULL);
    assert_int_equal(br_ssl_engine_current_state(&peer->ctx.eng), BR_SSL_CLOSED);
    assert_int_equal(br_ssl_engine_last_error(&peer->ctx.eng), 0);
    tls_close_notify(client, &out);
    assert_int_equal(buf_size(&out), 0);
    buf_free(&got), buf_free(&out);
    part();
  }
}

static void own_close(void **state) {
  EACH_WAY(way) {
    pair_up(way);
    struct buf got = { 0 }, out = { 0 };
    tls_seal(client, SPAN("the end"), &out);
    tls_close_notify(client, &out);
    peer_take(peer, &out, &got);
    assert_true(span_eq(buf_span(&got), SPAN("the end")));
    assert_int_equal(br_ssl_engine_current_state(&peer->ctx.eng), BR_SSL_CLOSED);
    assert_int_equal(br_ssl_engine_last_error(&peer->ctx.eng), 0);
    buf_free(&got), buf_free(&out);
    part();
  }
}

static void alerts(void **state) {
  EACH_WAY(way) {
    pair_up(way);
    struct buf got = { 0 };
    struct span plain;
    peer_say_record(peer, RECORD_ALERT, SPAN("\x01\x5a"));    /* user_canceled: a warning says nothing */
    peer_say_record(peer, RECORD_DATA, SPAN("on"));
    peer_say_record(peer, RECORD_ALERT, SPAN("\x02\x50"));
    peer_say_record(peer, RECORD_DATA, SPAN("never read"));
    assert_int_equal(open_all(client, buf_span(&peer->sent), 0, &got).kind, STEP_BAD);
    assert_true(span_eq(buf_span(&got), SPAN("on")));
    assert_int_equal(tls_failure_of(client), TLS_ALERT);
    assert_int_equal(tls_alert_of(client), 80);
    assert_int_equal(tls_open(client, peer->sent.p, buf_size(&peer->sent), &plain).kind, STEP_BAD);
    struct buf out = { 0 };
    tls_seal(client, SPAN("into the void"), &out);
    tls_close_notify(client, &out);
    assert_int_equal(buf_size(&out), 0);
    buf_free(&got);
    part();
  }
}

/* A wish for a new handshake is passed over, and the connection goes on in both directions. */
static void hello_request(void **state) {
  EACH_WAY(way) {
    pair_up(way);
    struct buf got = { 0 }, out = { 0 }, back = { 0 };
    for (int i = 0; i < 3; i++) {
      peer_say_record(peer, RECORD_HANDSHAKE, span_of("\0\0\0\0", 4));
      peer_say_record(peer, RECORD_DATA, SPAN("."));
    }
    assert_int_equal(open_all(client, buf_span(&peer->sent), 0, &got).kind, STEP_MORE);
    assert_true(span_eq(buf_span(&got), SPAN("...")));
    tls_seal(client, SPAN("still here"), &out);
    peer_take(peer, &out, &back);
    /* The engine answers with a warning, which a server of BearSSL takes ill. */
    if (client->by_engine) assert_int_equal(peer->ctx.eng.err, BR_ERR_RECV_FATAL_ALERT + 100);
    else assert_true(span_eq(buf_span(&back), SPAN("still here")));
    buf_free(&got), buf_free(&out), buf_free(&back);
    part();
  }
}

static void what_may_not_come(void **state) {
  static const struct { int type; struct span text; } cases[] = {
    { RECORD_HANDSHAKE, SPAN("\x01\x00\x00\x00") }, { RECORD_HANDSHAKE, SPAN("\x02\x00\x00\x02\x03\x03") },
    { RECORD_CHANGE, SPAN("\x01") }, { 24, SPAN("x") }, { 0, SPAN("x") },
  };
  EACH_WAY(way) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
      pair_up(way);
      peer_say_record(peer, cases[i].type, cases[i].text);
      assert_int_equal(open_all(client, buf_span(&peer->sent), 0, NULL).kind, STEP_BAD);
      assert_int_equal(tls_failure_of(client), TLS_BROKEN);
      part();
    }
  }
}

/* Any byte changed, a record left out, twice or in another order: refused, and nothing opens any more. */
static void tampering(void **state) {
  EACH_WAY(way) {
    size_t size = 1, step = way % 3 == 2 ? 4 : 3;
    for (size_t at = 0; at < size; at += step) {
      pair_up(way);
      peer_say_record(peer, RECORD_DATA, SPAN("twenty bytes of text"));
      size = buf_size(&peer->sent);
      peer->sent.p[peer->sent.at + at] ^= 0x41;
      peer_say_record(peer, RECORD_DATA, SPAN("more"));
      struct step s = open_all(client, buf_span(&peer->sent), 0, NULL);
      assert_true(s.kind == STEP_BAD || (s.kind == STEP_MORE && (at == 3 || at == 4)));   /* the length is there */
      part();
    }
    for (int how = 0; how < 3; how++) {
      pair_up(way);
      struct buf one = { 0 }, two = { 0 }, wire = { 0 }, got = { 0 };
      peer_say(peer, SPAN("one"));
      buf_add(&one, buf_span(&peer->sent));
      buf_clear(&peer->sent);
      peer_say(peer, SPAN("two"));
      buf_add(&two, buf_span(&peer->sent));
      if (how == 0) buf_add(&wire, buf_span(&two));
      if (how == 1) buf_add(&wire, buf_span(&one)), buf_add(&wire, buf_span(&one));
      if (how == 2) buf_add(&wire, buf_span(&two)), buf_add(&wire, buf_span(&one));
      assert_int_equal(open_all(client, buf_span(&wire), 0, &got).kind, STEP_BAD);
      assert_int_equal(buf_size(&got), how == 1 ? 3 : 0);
      assert_int_equal(tls_failure_of(client), TLS_BROKEN);
      buf_free(&one), buf_free(&two), buf_free(&wire), buf_free(&got);
      part();
    }
  }
}

static void headers(void **state) {
  static const struct { struct span bytes; enum step_kind kind; } cases[] = {
    { SPAN(""), STEP_MORE }, { SPAN("\x17"), STEP_MORE }, { SPAN("\x17\x03\x03\x00"), STEP_MORE },
    { SPAN("\x17\x03\x03\x00\x20"), STEP_MORE }, { SPAN("\x17\x03\x03\x40\x10"), STEP_MORE },
    { SPAN("\x17\x03\x03\x40\x19"), STEP_BAD }, { SPAN("\x17\x03\x03\xff\xff"), STEP_BAD },
    { SPAN("\x17\x03\x03\x00\x0f"), STEP_BAD }, { SPAN("\x17\x03\x03\x00\x00"), STEP_BAD },
    { SPAN("\x17\x03\x01\x00\x20"), STEP_BAD }, { SPAN("\x17\x02\x03\x00\x20"), STEP_BAD },
    { SPAN("\x14\x03\x03\x00\x20"), STEP_BAD }, { SPAN("\x18\x03\x03\x00\x20"), STEP_BAD },
    { SPAN("HTTP/1.1 200"), STEP_BAD },
  };
  EACH_WAY(way) {
    pair_up(way);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
      struct span plain;
      char bytes[16] = "";
      memcpy(bytes, cases[i].bytes.p, cases[i].bytes.n);
      client->state = TLS_READY;
      struct step s = tls_open(client, bytes, cases[i].bytes.n, &plain);
      assert_int_equal(s.kind, cases[i].kind);
      assert_int_equal(s.used, 0);
    }
    part();
  }
}

/* Two connections with the same keys, one by records and one by engine, over random sizes in random order: the same
   bytes out, the same text in. */
static void same_as_engine(void **state) {
  NEED_CERTS();
  for (unsigned way = 0; way < 3; way++) {
    pair_up(way + 3);
    struct tls twin = { .state = TLS_READY, .shake = client->shake };
    assert_true(tls_record_take(&twin));
    uint32_t seed = 99 + way;
    for (int round = 0; round < 400; round++) {
      seed = seed * 1664525 + 1013904223;
      size_t n = round % 20 == 19 ? seed >> 16 : (seed >> 8) % 700 + 1;
      struct buf text = text_of(n, seed), a = { 0 }, b = { 0 };
      if (seed & 0x80) {
        tls_seal(client, buf_span(&text), &a);
        tls_seal(&twin, buf_span(&text), &b);
        assert_true(span_eq(buf_span(&a), buf_span(&b)));
        buf_clear(&a);
        peer_take(peer, &b, &a);
      } else {
        peer_say(peer, buf_span(&text));
        open_all(client, buf_span(&peer->sent), 0, &a);
        open_all(&twin, buf_span(&peer->sent), 1 + seed % 5000, &b);
        assert_true(span_eq(buf_span(&b), buf_span(&text)));
        buf_clear(&peer->sent);
      }
      assert_true(span_eq(buf_span(&a), buf_span(&text)));
      buf_free(&text), buf_free(&a), buf_free(&b);
    }
    part();
  }
}

/* Contexts that would not do what the engine does are found out before they are used. */
static void disagreement_keeps_the_engine(void **state) {
  NEED_CERTS();
  log_set_level(LOG_OFF);
  for (unsigned way = 0; way < 3; way++) {
    for (int side = 0; side < 2; side++) {
      pair_up(way + 3);
      br_ssl_engine_context *e = &client->shake->client.eng, before = *e;
      struct tls twin = { .state = TLS_READY, .shake = client->shake };
      assert_true(tls_record_take(&twin));
      assert_memory_equal(&before, e, sizeof before);
      assert_true(tls_record_agrees(&twin, e));
      if (side) twin.out.gcm.seq++;
      else twin.in.gcm.seq++;
      assert_false(tls_record_agrees(&twin, e));
      assert_memory_equal(&before, e, sizeof before);
      part();
    }
  }
  log_set_level(LOG_INFO);
}

/* An engine that is not where it should be, or whose contexts are of another kind, keeps its connection. */
static void engine_that_is_kept(void **state) {
  NEED_CERTS();
  log_set_level(LOG_OFF);
  pair_up(3);
  struct tls twin = { .state = TLS_READY, .shake = client->shake };
  br_ssl_engine_context *e = &client->shake->client.eng;
  e->application_data = 0;
  assert_false(tls_record_take(&twin));
  e->application_data = 1;
  br_sslrec_out_class strange = *e->out.vtable;
  e->out.vtable = &strange;
  assert_false(tls_record_take(&twin));
  e->out.vtable = &br_sslrec_out_gcm_vtable.inner;
  assert_true(tls_record_take(&twin));
  part();
  log_set_level(LOG_INFO);
}

static void memory(void **state) {
  NEED_CERTS();
  struct tls_session session;
  pair_up(0);
  tls_session_save(client, &session);
  assert_true(tls_memory(client) <= 700);
  part();
  pair_up(3);
  assert_true(tls_memory(client) > BR_SSL_BUFSIZE_BIDI);
  part();
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(both_directions), cmocka_unit_test(every_split), cmocka_unit_test(largest_and_empty),
    cmocka_unit_test(close_notify), cmocka_unit_test(own_close), cmocka_unit_test(alerts),
    cmocka_unit_test(hello_request), cmocka_unit_test(what_may_not_come), cmocka_unit_test(tampering),
    cmocka_unit_test(headers), cmocka_unit_test(same_as_engine), cmocka_unit_test(disagreement_keeps_the_engine),
    cmocka_unit_test(engine_that_is_kept), cmocka_unit_test(memory),
  };
  return cmocka_run_group_tests(tests, before_all, after_all);
}
