/* The way of a connection whose record contexts could not be taken over: BearSSL's engine to the end. */
#include "inside.h"

enum { LATE_MOST = 4096 };              /* answers to HelloRequests that no sealed data took along */

static void engine_feed(br_ssl_engine_context *e, const char *bytes, size_t n) {
  while (n) {
    size_t room;
    unsigned char *p = br_ssl_engine_recvrec_buf(e, &room);
    if (!p) return;                     /* failed or closed; the caller looks at the state */
    if (room > n) room = n;
    memcpy(p, bytes, room);
    br_ssl_engine_recvrec_ack(e, room);
    bytes += room;
    n -= room;
  }
}

static struct step engine_ended(struct tls *t, size_t used) {
  int error = t->shake->client.eng.err;
  if (!error) {
    t->state = TLS_PEER_CLOSED;
    return (struct step){ STEP_DONE, used };
  }
  if (error < BR_ERR_RECV_FATAL_ALERT || error >= BR_ERR_SEND_FATAL_ALERT) return tls_fail(t, TLS_BROKEN, 0);
  t->alert = (uint8_t)(error - BR_ERR_RECV_FATAL_ALERT);
  return tls_fail(t, TLS_ALERT, used);
}

struct step tls_engine_open(struct tls *t, char *bytes, size_t n, struct span *plain) {
  br_ssl_engine_context *e = &t->shake->client.eng;
  size_t size, length = 0;
  struct step frame = tls_record_frame(t, bytes, n, &size);
  if (frame.kind == STEP_BAD) return tls_fail(t, TLS_BROKEN, 0);
  if (frame.kind == STEP_MORE) return frame;
  engine_feed(e, bytes, size);
  tls_shake_drain(t->shake, &t->shake->late);
  if (br_ssl_engine_current_state(e) & BR_SSL_CLOSED) return engine_ended(t, size);
  if (buf_size(&t->shake->late) > LATE_MOST) return tls_fail(t, TLS_BROKEN, size);
  const unsigned char *p = br_ssl_engine_recvapp_buf(e, &length);
  if (p && length) {
    memcpy(bytes + RECORD_HEADER, p, length);
    br_ssl_engine_recvapp_ack(e, length);
    *plain = span_of(bytes + RECORD_HEADER, length);
  }
  return (struct step){ STEP_EVENT, size };
}

static void engine_add_late(struct tls *t, struct buf *out) {
  buf_add(out, buf_span(&t->shake->late));
  buf_clear(&t->shake->late);
}

void tls_engine_seal(struct tls *t, struct span plain, struct buf *out) {
  br_ssl_engine_context *e = &t->shake->client.eng;
  engine_add_late(t, out);
  while (plain.n) {
    size_t room;
    unsigned char *p = br_ssl_engine_sendapp_buf(e, &room);
    if (!p) return;                     /* the peer closed meanwhile */
    if (room > plain.n) room = plain.n;
    memcpy(p, plain.p, room);
    br_ssl_engine_sendapp_ack(e, room);
    br_ssl_engine_flush(e, 0);
    tls_shake_drain(t->shake, out);
    plain = span_from(plain, room);
  }
}

void tls_engine_close(struct tls *t, struct buf *out) {
  br_ssl_engine_close(&t->shake->client.eng);
  engine_add_late(t, out);
  tls_shake_drain(t->shake, out);
}
