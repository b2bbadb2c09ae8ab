/* peer.h: a TLS server in this process, BearSSL's own, and a wire of memory between it and weir's client. */
#ifndef TEST_TLS_PEER_H
#define TEST_TLS_PEER_H

#include "certs.h"

enum { PEER_CHAIN = 6 };
struct peer {
  br_ssl_server_context ctx;
  br_skey_decoder_context key;
  br_x509_certificate chain[PEER_CHAIN];
  struct buf files[PEER_CHAIN];
  unsigned links;
  unsigned char io[BR_SSL_BUFSIZE_BIDI];
  struct buf sent;                      /* what the server put on the wire and the client did not take yet */
};

/* names: the leaf and what follows it, parted by spaces */
static inline struct peer *peer_new(const char *names, br_ssl_session_cache_lru *sessions) {
  struct peer *p = mem_zero(sizeof *p);
  char copy[200], *rest = copy, *name;
  snprintf(copy, sizeof copy, "%s", names);
  br_skey_decoder_init(&p->key);
  while ((name = strsep(&rest, " "))) {
    require(p->links < PEER_CHAIN);
    struct buf *f = &p->files[p->links];
    *f = file_bytes(certs_path(name, "der"));
    p->chain[p->links++] = (br_x509_certificate){ (unsigned char *)f->p + f->at, buf_size(f) };
    if (p->links > 1) continue;
    struct buf k = file_bytes(certs_path(name, "k8"));
    br_skey_decoder_push(&p->key, k.p + k.at, buf_size(&k));
    require(!br_skey_decoder_last_error(&p->key));
    buf_free(&k);
  }
  if (br_skey_decoder_key_type(&p->key) == BR_KEYTYPE_RSA)
    br_ssl_server_init_full_rsa(&p->ctx, p->chain, p->links, br_skey_decoder_get_rsa(&p->key));
  else
    br_ssl_server_init_full_ec(&p->ctx, p->chain, p->links, BR_KEYTYPE_EC, br_skey_decoder_get_ec(&p->key));
  br_ssl_engine_set_buffer(&p->ctx.eng, p->io, sizeof p->io, 1);
  if (sessions) br_ssl_server_set_cache(&p->ctx, &sessions->vtable);
  return p;
}

static inline void peer_start(struct peer *p) { require(br_ssl_server_reset(&p->ctx)); }

static inline void peer_free(struct peer *p) {
  for (unsigned i = 0; i < p->links; i++) buf_free(&p->files[i]);
  buf_free(&p->sent);
  mem_free(p);
}

static inline void peer_collect(struct peer *p) {
  size_t n;
  unsigned char *from;
  while ((from = br_ssl_engine_sendrec_buf(&p->ctx.eng, &n))) {
    buf_add(&p->sent, span_of((const char *)from, n));
    br_ssl_engine_sendrec_ack(&p->ctx.eng, n);
  }
}

/* Gives the server what the client sent; plain text that comes out is added to *got. */
static inline void peer_take(struct peer *p, struct buf *wire, struct buf *got) {
  size_t n;
  unsigned char *at;
  while (buf_size(wire)) {
    while ((at = br_ssl_engine_recvapp_buf(&p->ctx.eng, &n))) {
      if (got) buf_add(got, span_of((const char *)at, n));
      br_ssl_engine_recvapp_ack(&p->ctx.eng, n);
    }
    peer_collect(p);
    at = br_ssl_engine_recvrec_buf(&p->ctx.eng, &n);
    if (!at) break;
    if (n > buf_size(wire)) n = buf_size(wire);
    memcpy(at, wire->p + wire->at, n);
    buf_consume(wire, n);
    br_ssl_engine_recvrec_ack(&p->ctx.eng, n);
  }
  while ((at = br_ssl_engine_recvapp_buf(&p->ctx.eng, &n))) {
    if (got) buf_add(got, span_of((const char *)at, n));
    br_ssl_engine_recvapp_ack(&p->ctx.eng, n);
  }
  peer_collect(p);
}

static inline void peer_say(struct peer *p, struct span text) {
  while (text.n) {
    size_t n;
    unsigned char *at = br_ssl_engine_sendapp_buf(&p->ctx.eng, &n);
    require(at);
    if (n > text.n) n = text.n;
    memcpy(at, text.p, n);
    br_ssl_engine_sendapp_ack(&p->ctx.eng, n);
    br_ssl_engine_flush(&p->ctx.eng, 0);
    peer_collect(p);
    text = span_from(text, n);
  }
}

/* A record of any type under the server's keys, past its engine's head. */
static inline void peer_say_record(struct peer *p, int type, struct span text) {
  br_ssl_engine_context *e = &p->ctx.eng;
  size_t n = text.n;
  char room[RECORD_PLAIN_MOST + 64];
  if (n) memcpy(room + 32, text.p, n);
  unsigned char *start = e->out.vtable->encrypt(&e->out.vtable, type, TLS_1_2, room + 32, &n);
  buf_add(&p->sent, span_of((const char *)start, n));
}

/* Runs the handshake, `split` bytes at a time towards the client (0: all at once). The answer is that of tls_shake;
   MORE when nothing moves any more. */
static inline enum step_kind peer_shake(struct peer *p, struct tls *t, size_t split) {
  struct buf out = { 0 }, piece = { 0 };
  struct step s = tls_shake(t, span_of(NULL, 0), &out);
  while (s.kind == STEP_MORE) {
    peer_take(p, &out, NULL);
    peer_collect(p);
    buf_clear(&out);
    size_t n = buf_size(&p->sent) - buf_size(&piece);
    if (!n) break;
    if (split && n > split) n = split;
    buf_add(&piece, span_of(p->sent.p + p->sent.at + buf_size(&piece), n));
    s = tls_shake(t, buf_span(&piece), &out);
    require(s.used <= buf_size(&piece));
    buf_consume(&piece, s.used);
    buf_consume(&p->sent, s.used);
  }
  peer_take(p, &out, NULL);
  buf_free(&out);
  buf_free(&piece);
  return s.kind;
}

/* Client and server with the handshake behind them. */
static inline struct tls *peer_connect(struct peer *p, struct tls_trust *trust, const char *name) {
  peer_start(p);
  struct tls *t = tls_new(trust, span_cstr(name), NULL);
  enum step_kind k = peer_shake(p, t, 0);
  if (k != STEP_DONE) printf("%s (client), %d (server)\n", tls_failure_text(tls_failure_of(t)), p->ctx.eng.err);
  require(k == STEP_DONE);
  return t;
}

#endif
