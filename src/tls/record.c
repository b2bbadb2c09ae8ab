#include "inside.h"
#include "weir/secret.h"

bool tls_keep_engine;

struct step tls_record_frame(const struct tls *t, const char *bytes, size_t n, size_t *size) {
  const unsigned char *h = (const unsigned char *)bytes;
  if (n < RECORD_HEADER) return (struct step){ STEP_MORE, 0 };
  size_t length = (size_t)h[3] << 8 | h[4];
  if (h[0] < RECORD_ALERT || h[0] > RECORD_DATA || h[1] != 3 || h[2] != 3) return (struct step){ STEP_BAD, 0 };
  const br_sslrec_in_class *const *in = t->by_engine ? &t->shake->client.eng.in.vtable : &t->in.vtable;
  if (!(*in)->check_length(in, length)) return (struct step){ STEP_BAD, 0 };
  *size = RECORD_HEADER + length;
  return (struct step){ n < *size ? STEP_MORE : STEP_EVENT, 0 };
}

static struct step record_alert(struct tls *t, struct span alert, size_t used) {
  if (alert.n != 2) return tls_fail(t, TLS_BROKEN, used);
  unsigned level = (unsigned char)alert.p[0], what = (unsigned char)alert.p[1];
  if (level != ALERT_WARNING) {
    t->alert = (uint8_t)what;
    return tls_fail(t, TLS_ALERT, used);
  }
  if (what != ALERT_CLOSE_NOTIFY) return (struct step){ STEP_EVENT, used };
  t->state = TLS_PEER_CLOSED;
  return (struct step){ STEP_DONE, used };
}

/* A server may ask for a new handshake (HelloRequest: four zeros) and a client may ignore it. Nothing else is due. */
static bool record_is_hello_request(struct span message) {
  for (size_t i = 0; i < message.n; i++)
    if (message.p[i]) return false;
  return true;
}

struct step tls_record_open(struct tls *t, char *bytes, size_t n, struct span *plain) {
  size_t size, length;
  struct step frame = tls_record_frame(t, bytes, n, &size);
  if (frame.kind == STEP_BAD) return tls_fail(t, TLS_BROKEN, 0);
  if (frame.kind == STEP_MORE) return frame;
  int type = bytes[0];
  length = size - RECORD_HEADER;
  unsigned char *text = t->in.vtable->decrypt(&t->in.vtable, type, TLS_1_2, bytes + RECORD_HEADER, &length);
  if (!text) return tls_fail(t, TLS_BROKEN, 0);
  struct span content = span_of((const char *)text, length);
  if (type == RECORD_DATA) *plain = content;
  else if (type == RECORD_ALERT) return record_alert(t, content, size);
  else if (!record_is_hello_request(content)) return tls_fail(t, TLS_BROKEN, size);
  return (struct step){ STEP_EVENT, size };
}

static void record_add(struct tls *t, enum record_type type, struct span part, struct buf *out) {
  char *at = buf_reserve(out, t->lead + part.n + t->trail) + t->lead;
  size_t size = part.n;
  if (part.n) memcpy(at, part.p, part.n);
  unsigned char *start = t->out.vtable->encrypt(&t->out.vtable, type, TLS_1_2, at, &size);
  require((char *)start == at - t->lead && size == t->lead + part.n + t->trail);
  buf_commit(out, size);
}

void tls_record_seal(struct tls *t, enum record_type type, struct span plain, struct buf *out) {
  size_t records = (plain.n + RECORD_PLAIN_MOST - 1) / RECORD_PLAIN_MOST;
  if (records > 1) buf_reserve(out, plain.n + records * (t->lead + t->trail));
  while (plain.n > RECORD_PLAIN_MOST) {
    record_add(t, type, span_of(plain.p, RECORD_PLAIN_MOST), out);
    plain = span_from(plain, RECORD_PLAIN_MOST);
  }
  record_add(t, type, plain, out);
}

static bool record_adopt(struct tls *t, const br_ssl_engine_context *e) {
  const br_sslrec_in_class *in = e->in.vtable;
  const br_sslrec_out_class *out = e->out.vtable;
  if (in == &br_sslrec_in_gcm_vtable.inner && out == &br_sslrec_out_gcm_vtable.inner) {
    t->in.gcm = e->in.gcm;
    t->out.gcm = e->out.gcm;
    return true;
  }
  if (in != &br_sslrec_in_chapol_vtable.inner || out != &br_sslrec_out_chapol_vtable.inner) return false;
  t->in.chapol = e->in.chapol;
  t->out.chapol = e->out.chapol;
  return true;
}

static void record_measure(struct tls *t) {
  size_t start = RECORD_HEADER, end = RECORD_HEADER + RECORD_PLAIN_MOST;
  t->out.vtable->max_plaintext(&t->out.vtable, &start, &end);
  t->lead = (uint16_t)start;
  t->trail = (uint16_t)(RECORD_HEADER + RECORD_PLAIN_MOST - end);
}

/* The peer's sealing context, made from the opening one: both directions use the same struct. */
static union record_out record_peer(const union record_in *in) {
  union record_out peer;
  if (in->vtable == &br_sslrec_in_gcm_vtable.inner) {
    peer.gcm = in->gcm;
    peer.gcm.vtable.out = &br_sslrec_out_gcm_vtable;
  } else {
    peer.chapol = in->chapol;
    peer.chapol.vtable.out = &br_sslrec_out_chapol_vtable;
  }
  return peer;
}

static bool trial_engine_seals(br_ssl_engine_context *e, struct span text, struct span sealed) {
  size_t n;
  unsigned char *p = br_ssl_engine_sendapp_buf(e, &n);
  if (!p || n < text.n) return false;
  memcpy(p, text.p, text.n);
  br_ssl_engine_sendapp_ack(e, text.n);
  br_ssl_engine_flush(e, 0);
  p = br_ssl_engine_sendrec_buf(e, &n);
  return p && span_eq(span_of((const char *)p, n), sealed);
}

static bool trial_engine_opens(br_ssl_engine_context *e, struct span record, struct span text) {
  size_t n;
  while (record.n) {
    unsigned char *p = br_ssl_engine_recvrec_buf(e, &n);
    if (!p) return false;
    if (n > record.n) n = record.n;
    memcpy(p, record.p, n);
    br_ssl_engine_recvrec_ack(e, n);
    record = span_from(record, n);
  }
  const unsigned char *p = br_ssl_engine_recvapp_buf(e, &n);
  return p && span_eq(span_of((const char *)p, n), text);
}

/* One record each way, by copies of the contexts and by a copy of the engine, with the keys just agreed. weir reads
   structs of BearSSL here, so it asks BearSSL whether it read them well.
   Takes a few of a handshake's thousand microseconds. */
bool tls_record_agrees(const struct tls *t, const br_ssl_engine_context *e) {
  static const struct span text = SPAN("data: {\"weir\":\"does this read the same?\"}\n\n");
  br_ssl_engine_context engine = *e;
  struct tls here = *t, there = { .lead = t->lead, .trail = t->trail, .out = record_peer(&t->in) };
  struct buf sealed = { 0 }, coming = { 0 };
  struct span plain = { 0 };
  tls_record_seal(&here, RECORD_DATA, text, &sealed);
  tls_record_seal(&there, RECORD_DATA, text, &coming);
  bool good = trial_engine_seals(&engine, text, buf_span(&sealed));
  good = good && trial_engine_opens(&engine, buf_span(&coming), text);
  struct step s = tls_record_open(&here, coming.p + coming.at, buf_size(&coming), &plain);
  good = good && s.kind == STEP_EVENT && s.used == buf_size(&coming) && span_eq(plain, text);
  buf_free(&sealed);
  buf_free(&coming);
  secret_wipe(&engine, sizeof engine);
  secret_wipe(&here, sizeof here);
  secret_wipe(&there, sizeof there);
  return good;
}

bool tls_record_take(struct tls *t) {
  static bool told;
  const br_ssl_engine_context *e = &t->shake->client.eng;
  if (tls_keep_engine) return false;
  if (record_adopt(t, e)) {
    record_measure(t);
    if (tls_record_agrees(t, e)) return true;
  }
  if (!__atomic_exchange_n(&told, true, __ATOMIC_RELAXED))
    log_warn("tls: record contexts and engine of this BearSSL do not agree; the engine stays, 40 KB per connection");
  return false;
}

struct step tls_open(struct tls *t, char *bytes, size_t n, struct span *plain) {
  *plain = span_of(bytes, 0);
  if (t->state == TLS_PEER_CLOSED) return (struct step){ STEP_DONE, 0 };
  if (t->state != TLS_READY) return (struct step){ STEP_BAD, 0 };
  return t->by_engine ? tls_engine_open(t, bytes, n, plain) : tls_record_open(t, bytes, n, plain);
}

void tls_seal(struct tls *t, struct span plain, struct buf *out) {
  if (!plain.n || t->state == TLS_FAILED || !check(t->state != TLS_SHAKING && !t->close_sent)) return;
  if (t->by_engine) tls_engine_seal(t, plain, out);
  else tls_record_seal(t, RECORD_DATA, plain, out);
}

void tls_close_notify(struct tls *t, struct buf *out) {
  if (t->state == TLS_SHAKING || t->state == TLS_FAILED || t->close_sent) return;
  t->close_sent = true;
  if (t->by_engine) tls_engine_close(t, out);
  else tls_record_seal(t, RECORD_ALERT, span_of((const char[]){ ALERT_WARNING, ALERT_CLOSE_NOTIFY }, 2), out);
}
