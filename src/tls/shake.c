#include "inside.h"
#include "weir/secret.h"
#include <errno.h>
#include <sys/random.h>

enum { ENTROPY = 48, SESSION_SECONDS = 24 * 3600 };

/* Layout of tls_session.bytes. The tag ties a session to the name and the trust it was made under: a resumed handshake
   shows no certificate. */
enum {
  SAVED_ID_SIZE = 0, SAVED_ID = 1, SAVED_SUITE = 33, SAVED_SECRET = 35, SAVED_TAG = 83, SAVED_BORN = 91, SAVED_END = 95,
};
_Static_assert(SAVED_END <= sizeof ((struct tls_session *)0)->bytes, "a session fits");

/* "" for what cannot be a host name: verification then fails, whatever the certificate says. */
static void name_copy(char *to, struct span name) {
  if (name.n && name.p[name.n - 1] == '.') name.n--;
  bool good = name.n && name.n <= NAME_MOST && name.p[0] != '.';
  for (size_t i = 0; i < name.n && good; i++) good = name.p[i] > ' ' && name.p[i] < 0x7F && name.p[i] != '*';
  if (!good) name.n = 0;
  if (name.n) memcpy(to, name.p, name.n);
  to[name.n] = 0;
}

static bool name_is_address(const char *name) {
  unsigned char address[16];
  return tls_address_of(name, address) > 0;
}

/* Its bufs are counted as such. */
static void account(struct tls *t) {
  size_t now = tls_memory(t) - (t->shake ? t->shake->verify.chain.cap + t->shake->late.cap : 0);
  mem_note(MEM_TLS, (int64_t)now - (int64_t)t->noted);
  t->noted = (uint32_t)now;
}

struct tls *tls_new(struct tls_trust *trust, struct span server_name, const struct tls_session *session) {
  require(trust);
  struct tls *t = mem_zero(sizeof *t);
  t->hello = mem_zero(sizeof *t->hello);
  t->hello->trust = tls_trust_ref(trust);
  if (session) t->hello->session = *session;
  name_copy(t->hello->name, server_name);
  account(t);
  return t;
}

static void hello_free(struct tls *t) {
  if (!t->hello) return;
  tls_trust_drop(t->hello->trust);
  secret_wipe(t->hello, sizeof *t->hello);
  mem_free(t->hello);
  t->hello = NULL;
}

void tls_shake_free(struct tls *t) {
  if (!t->shake) return;
  tls_verify_end(&t->shake->verify);
  buf_free(&t->shake->late);
  secret_wipe(t->shake, sizeof *t->shake);
  mem_free(t->shake);
  t->shake = NULL;
}

static void session_free(struct tls *t) {
  if (!t->session) return;
  secret_wipe(t->session, sizeof *t->session);
  mem_free(t->session);
  t->session = NULL;
}

void tls_free(struct tls *t) {
  if (!t) return;
  mem_note(MEM_TLS, -(int64_t)t->noted);
  hello_free(t);
  tls_shake_free(t);
  session_free(t);
  secret_wipe(t, sizeof *t);
  mem_free(t);
}

static uint64_t session_tag(const struct hello *h) { return span_hash(span_cstr(h->name), h->trust->id); }

static bool session_offer(const struct hello *h, br_ssl_session_parameters *out) {
  const unsigned char *b = h->session.bytes;
  uint64_t tag;
  uint32_t born, now = (uint32_t)tls_verify_clock(NULL);
  memcpy(&tag, b + SAVED_TAG, sizeof tag);
  memcpy(&born, b + SAVED_BORN, sizeof born);
  if (!h->session.valid || tag != session_tag(h) || now - born > SESSION_SECONDS) return false;
  *out = (br_ssl_session_parameters){ .session_id_len = b[SAVED_ID_SIZE], .version = TLS_1_2 };
  memcpy(out->session_id, b + SAVED_ID, sizeof out->session_id);
  memcpy(&out->cipher_suite, b + SAVED_SUITE, sizeof out->cipher_suite);
  memcpy(out->master_secret, b + SAVED_SECRET, sizeof out->master_secret);
  return true;
}

static bool session_is_offered(const struct hello *h, const br_ssl_session_parameters *now) {
  const unsigned char *b = h->session.bytes;
  return h->session.valid && now->session_id_len && now->session_id_len == b[SAVED_ID_SIZE] &&
         !memcmp(now->session_id, b + SAVED_ID, now->session_id_len);
}

static void session_keep(struct tls *t) {
  const br_ssl_session_parameters *p = &t->shake->client.eng.session;
  if (!p->session_id_len) return;
  t->session = mem_zero(sizeof *t->session);
  if (t->resumed) {                     /* with the day it was made: a session is not prolonged by its use */
    *t->session = t->hello->session;
    return;
  }
  unsigned char *b = t->session->bytes;
  uint64_t tag = session_tag(t->hello);
  uint32_t born = (uint32_t)tls_verify_clock(NULL);
  t->session->valid = true;
  b[SAVED_ID_SIZE] = p->session_id_len;
  memcpy(b + SAVED_ID, p->session_id, sizeof p->session_id);
  memcpy(b + SAVED_SUITE, &p->cipher_suite, sizeof p->cipher_suite);
  memcpy(b + SAVED_SECRET, p->master_secret, sizeof p->master_secret);
  memcpy(b + SAVED_TAG, &tag, sizeof tag);
  memcpy(b + SAVED_BORN, &born, sizeof born);
}

static void entropy_read(unsigned char out[ENTROPY]) {
  ssize_t n;
  do n = getrandom(out, ENTROPY, 0);
  while (n < 0 && errno == EINTR);
  require(n == ENTROPY);
}

static bool shake_begin(struct tls *t) {
  unsigned char entropy[ENTROPY];
  struct hello *h = t->hello;
  struct shake *s = t->shake = mem_alloc(sizeof *s);
  s->late = (struct buf){ 0 };
  s->client = *tls_suite_template();
  tls_verify_init(&s->verify, h->trust, h->name);
  br_ssl_engine_context *e = &s->client.eng;
  br_ssl_engine_set_x509(e, &s->verify.vtable);
  br_ssl_engine_set_buffers_bidi(e, s->in, sizeof s->in, s->out, sizeof s->out);
  entropy_read(entropy);
  br_ssl_engine_inject_entropy(e, entropy, sizeof entropy);
  secret_wipe(entropy, sizeof entropy);
  bool resume = session_offer(h, &e->session);
  if (!resume) h->session.valid = false;
  return br_ssl_client_reset(&s->client, name_is_address(h->name) ? NULL : h->name, resume);
}

void tls_shake_drain(struct shake *s, struct buf *out) {
  size_t n;
  unsigned char *p;
  while ((p = br_ssl_engine_sendrec_buf(&s->client.eng, &n))) {
    buf_add(out, span_of((const char *)p, n));
    br_ssl_engine_sendrec_ack(&s->client.eng, n);
  }
}

struct step tls_fail(struct tls *t, enum tls_failure f, size_t used) {
  t->state = TLS_FAILED;
  t->failure = (uint8_t)f;
  return (struct step){ STEP_BAD, used };
}

static bool shake_saw_server_hello(const br_ssl_engine_context *e) {
  static const unsigned char none[sizeof e->server_random];
  return memcmp(e->server_random, none, sizeof none) != 0;
}

static enum tls_failure shake_failure(struct tls *t) {
  enum { HANDSHAKE_FAILURE = 40, PROTOCOL_VERSION = 70, INSUFFICIENT_SECURITY = 71 };
  struct shake *s = t->shake;
  int error = s->client.eng.err;
  if (!error) return TLS_CUT;
  if (s->verify.failure) return s->verify.failure;
  if (error < BR_ERR_RECV_FATAL_ALERT || error >= BR_ERR_SEND_FATAL_ALERT) return tls_suite_failure(error);
  t->alert = (uint8_t)(error - BR_ERR_RECV_FATAL_ALERT);
  bool refused = t->alert == HANDSHAKE_FAILURE || t->alert == PROTOCOL_VERSION || t->alert == INSUFFICIENT_SECURITY;
  return refused && !shake_saw_server_hello(&s->client.eng) ? TLS_NO_COMMON : TLS_ALERT;
}

/* The engine fails without a word to the peer. Where records are still in the clear weir says why. */
static struct step shake_failed(struct tls *t, size_t used, struct buf *out) {
  enum tls_failure f = shake_failure(t);
  unsigned alert = t->alert ? 0 : tls_suite_alert_for(f);
  if (alert && t->shake->client.eng.out.vtable == &br_sslrec_out_clear_vtable) {
    const char record[] = { RECORD_ALERT, 3, 3, 0, 2, ALERT_FATAL, (char)alert };
    buf_add(out, span_of(record, sizeof record));
  }
  tls_shake_free(t);
  hello_free(t);
  return tls_fail(t, f, used);
}

static struct step shake_done(struct tls *t, size_t used) {
  br_ssl_engine_context *e = &t->shake->client.eng;
  t->suite = e->session.cipher_suite;
  t->resumed = session_is_offered(t->hello, &e->session);
  session_keep(t);
  hello_free(t);
  t->state = TLS_READY;
  t->by_engine = !tls_record_take(t);
  if (t->by_engine) tls_verify_end(&t->shake->verify);
  else tls_shake_free(t);
  return (struct step){ STEP_DONE, used };
}

static struct step shake_on(struct tls *t, struct span in, struct buf *out) {
  if (t->state == TLS_FAILED) return (struct step){ STEP_BAD, 0 };
  if (t->state != TLS_SHAKING) return (struct step){ STEP_DONE, 0 };
  if (!t->hello->name[0]) return tls_fail(t, TLS_WRONG_HOST, 0);
  if (!t->shake && !shake_begin(t)) return shake_failed(t, 0, out);
  br_ssl_engine_context *e = &t->shake->client.eng;
  for (size_t used = 0;;) {
    tls_shake_drain(t->shake, out);
    unsigned state = br_ssl_engine_current_state(e);
    if (state & BR_SSL_CLOSED) return shake_failed(t, used, out);
    if (state & BR_SSL_SENDAPP) return shake_done(t, used);
    if (used == in.n) return (struct step){ STEP_MORE, used };
    /* The engine asks for one record's header or rest at a time, so nothing behind its last one goes into it. */
    size_t room;
    unsigned char *p = br_ssl_engine_recvrec_buf(e, &room);
    if (!check(p && room)) return tls_fail(t, TLS_BROKEN, used);
    if (room > in.n - used) room = in.n - used;
    memcpy(p, in.p + used, room);
    br_ssl_engine_recvrec_ack(e, room);
    used += room;
  }
}

struct step tls_shake(struct tls *t, struct span in, struct buf *out) {
  struct step s = shake_on(t, in, out);
  account(t);
  return s;
}

enum tls_failure tls_failure_of(const struct tls *t) { return t->failure; }
unsigned tls_alert_of(const struct tls *t) { return t->alert; }
bool tls_resumed(const struct tls *t) { return t->resumed; }
const char *tls_suite(const struct tls *t) { return tls_suite_name(t->suite); }

void tls_session_save(struct tls *t, struct tls_session *out) {
  *out = t->session ? *t->session : (struct tls_session){ 0 };
  session_free(t);
  account(t);
}

size_t tls_memory(const struct tls *t) {
  size_t n = sizeof *t;
  if (t->hello) n += sizeof *t->hello;
  if (t->shake) n += sizeof *t->shake + t->shake->verify.chain.cap + t->shake->late.cap;
  if (t->session) n += sizeof *t->session;
  return n;
}
