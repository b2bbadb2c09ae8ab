/* The first byte chooses the suite, the next two how the wire is cut. The rest is a script that writes the wire:
   records under the right keys of any type, bytes as they are, and bytes changed in what was written so far. */
#include <stdlib.h>
#include "../src/tls/inside.h"

#define MUST(cond) do { if (!(cond)) abort(); } while (0)

static const unsigned char key[32] = "a key that both sides know of   ", iv[12] = "and the iv ";

static void ends_make(struct tls *us, struct tls *peer, unsigned suite) {
  br_ssl_engine_context e = tls_suite_template()->eng;
  *us = (struct tls){ .state = TLS_READY };
  *peer = (struct tls){ .state = TLS_READY, .lead = RECORD_HEADER, .trail = 16 };
  if (suite % 3 == 2) {
    br_sslrec_in_chapol_vtable.init(&us->in.chapol.vtable.in, e.ichacha, e.ipoly, key, iv);
    br_sslrec_out_chapol_vtable.init(&peer->out.chapol.vtable.out, e.ichacha, e.ipoly, key, iv);
    return;
  }
  size_t key_size = suite % 3 ? 32 : 16;
  br_sslrec_in_gcm_vtable.init(&us->in.gcm.vtable.in, e.iaes_ctr, key, key_size, e.ighash, iv);
  br_sslrec_out_gcm_vtable.init(&peer->out.gcm.vtable.out, e.iaes_ctr, key, key_size, e.ighash, iv);
  peer->lead += 8;
}

static unsigned script_byte(struct span *script) {
  if (!script->n) return 0;
  unsigned b = (unsigned char)script->p[0];
  *script = span_from(*script, 1);
  return b;
}

static struct span script_take(struct span *script, size_t n) {
  if (n > script->n) n = script->n;
  struct span s = span_of(script->p, n);
  *script = span_from(*script, n);
  return s;
}

static void wire_write(struct tls *peer, struct span script, struct buf *wire) {
  static const enum record_type types[] = { RECORD_DATA, RECORD_ALERT, RECORD_HANDSHAKE, RECORD_CHANGE };
  static char large[RECORD_PLAIN_MOST];
  while (script.n && buf_size(wire) < 100000) {
    unsigned op = script_byte(&script);
    if (op < 192) {
      tls_record_seal(peer, types[op % 4], script_take(&script, op / 4), wire);
    } else if (op < 200) {
      tls_record_seal(peer, RECORD_DATA, span_of(large, sizeof large - script_byte(&script)), wire);
    } else if (op < 224) {
      buf_add(wire, script_take(&script, op - 200));
    } else if (buf_size(wire)) {
      size_t back = script_byte(&script) + 1;
      if (back <= buf_size(wire)) wire->p[wire->end - back] ^= (char)(op - 223);
    }
  }
}

struct outcome {
  struct step end;
  enum tls_failure failure;
  unsigned alert, events;
  struct buf text;
};

static bool more_pieces(struct tls *t, struct buf *held, struct outcome *o) {
  while (buf_size(held)) {
    struct span plain;
    char *at = held->p + held->at;
    size_t n = buf_size(held);
    o->end = tls_open(t, at, n, &plain);
    MUST(o->end.used <= n);
    MUST(plain.p >= at && plain.p + plain.n <= at + n);
    if (o->end.kind == STEP_MORE) {
      MUST(!o->end.used && !plain.n && n < RECORD_HEADER + RECORD_PLAIN_MOST + 325);
      return true;
    }
    if (o->end.kind != STEP_EVENT) return false;
    MUST(o->end.used >= RECORD_HEADER + 16 && plain.n <= RECORD_PLAIN_MOST && plain.n + 21 <= o->end.used);
    o->events++;
    buf_add(&o->text, plain);
    buf_consume(held, o->end.used);
  }
  return true;
}

static struct outcome wire_read(struct tls t, struct span wire, size_t first, size_t step) {
  struct outcome o = { 0 };
  struct buf held = { 0 };
  bool on = true;
  for (size_t piece = first; on && wire.n; piece = piece == first ? step : first) {
    size_t n = piece < wire.n ? piece : wire.n;
    buf_add(&held, span_of(wire.p, n));
    wire = span_from(wire, n);
    on = more_pieces(&t, &held, &o);
  }
  if (!on) {
    struct span plain;
    struct step again = tls_open(&t, held.p + held.at, buf_size(&held), &plain);
    MUST(again.kind == o.end.kind && !again.used && !plain.n);
  }
  o.failure = tls_failure_of(&t);
  o.alert = tls_alert_of(&t);
  MUST((o.end.kind == STEP_BAD) == (o.failure != TLS_NO_FAILURE));
  buf_free(&held);
  return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 3) return 0;
  struct tls us, peer;
  struct buf wire = { 0 };
  ends_make(&us, &peer, data[0]);
  wire_write(&peer, span_of((const char *)data + 3, size - 3), &wire);
  struct outcome whole = wire_read(us, buf_span(&wire), buf_size(&wire) + 1, 1);
  struct outcome split = wire_read(us, buf_span(&wire), data[1] + 1, (size_t)data[2] * 8 + 1);
  MUST(whole.end.kind == split.end.kind && whole.failure == split.failure && whole.alert == split.alert);
  MUST(whole.events == split.events && span_eq(buf_span(&whole.text), buf_span(&split.text)));
  buf_free(&whole.text), buf_free(&split.text), buf_free(&wire);
  return 0;
}
