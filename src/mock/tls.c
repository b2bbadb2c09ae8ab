/* tls.c: TLS in front of the mock, by threads that copy: BearSSL's server side and two blocking sockets. */
#include "mock.h"
#include <arpa/inet.h>
#include <bearssl.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

struct front {
  int fd, to_port;
  unsigned delay_ms;                  /* before the handshake is answered */
  br_x509_certificate *chain;
  size_t chain_count;
  br_skey_decoder_context key;
  br_ssl_session_cache_lru cache;
  unsigned char cache_bytes[16384];
  pthread_mutex_t lock;
};
struct relay {
  struct front *front;
  int client, mock;
  br_ssl_server_context server;
  unsigned char buffer[BR_SSL_BUFSIZE_BIDI];
};

/* ---- PEM */
static void collect(void *to, const void *bytes, size_t n) { buf_add(to, span_of(bytes, n)); }

static bool read_all(const char *path, struct buf *out) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : 0;
  while (fd >= 0 && (n = read(fd, buf_reserve(out, 4096), 4096)) > 0) buf_commit(out, (size_t)n);
  if (fd >= 0) close(fd);
  return n == 0;
}

/* Calls take(arg, name, der) for each object of a PEM file. */
static bool each_object(const char *path, void (*take)(struct front *f, const char *name, struct span der), struct front *f) {
  struct buf text = { 0 }, der = { 0 };
  br_pem_decoder_context pem;
  if (!read_all(path, &text)) return false;
  br_pem_decoder_init(&pem);
  br_pem_decoder_setdest(&pem, collect, &der);
  struct span s = buf_span(&text);
  while (s.n) {
    size_t n = br_pem_decoder_push(&pem, s.p, s.n);
    s = span_from(s, n);
    int event = br_pem_decoder_event(&pem);
    if (event == BR_PEM_BEGIN_OBJ) buf_clear(&der), br_pem_decoder_setdest(&pem, collect, &der);
    if (event == BR_PEM_END_OBJ) take(f, br_pem_decoder_name(&pem), buf_span(&der));
  }
  buf_free(&text);
  buf_free(&der);
  return true;
}

static void take_cert(struct front *f, const char *name, struct span der) {
  if (strcmp(name, "CERTIFICATE")) return;
  f->chain = mem_grow(f->chain, (f->chain_count + 1) * sizeof *f->chain);
  f->chain[f->chain_count++] = (br_x509_certificate){ (unsigned char *)mem_cstr(der), der.n };
}

static void take_key(struct front *f, const char *name, struct span der) {
  if (strstr(name, "PRIVATE KEY")) br_skey_decoder_push(&f->key, der.p, der.n);
}

/* ---- one connection */
static bool pump_once(struct relay *r, struct pollfd *p) {
  br_ssl_engine_context *e = &r->server.eng;
  unsigned state = br_ssl_engine_current_state(e);
  size_t n;
  unsigned char *at;
  if (state & BR_SSL_CLOSED) return false;
  if (state & BR_SSL_SENDREC) {
    at = br_ssl_engine_sendrec_buf(e, &n);
    ssize_t w = send(r->client, at, n, MSG_NOSIGNAL);
    if (w <= 0) return false;
    br_ssl_engine_sendrec_ack(e, (size_t)w);
    return true;
  }
  if (state & BR_SSL_RECVAPP) {
    at = br_ssl_engine_recvapp_buf(e, &n);
    ssize_t w = send(r->mock, at, n, MSG_NOSIGNAL);
    if (w <= 0) return false;
    br_ssl_engine_recvapp_ack(e, (size_t)w);
    return true;
  }
  p[0].events = state & BR_SSL_RECVREC ? POLLIN : 0;
  p[1].events = state & BR_SSL_SENDAPP ? POLLIN : 0;
  p[0].revents = p[1].revents = 0;
  if (poll(p, 2, 600000) <= 0) return false;
  if (p[0].revents) {
    at = br_ssl_engine_recvrec_buf(e, &n);
    ssize_t got = at ? recv(r->client, at, n, 0) : 0;
    if (got <= 0) return false;
    br_ssl_engine_recvrec_ack(e, (size_t)got);
  }
  if (p[1].revents && (at = br_ssl_engine_sendapp_buf(e, &n))) {
    ssize_t got = recv(r->mock, at, n, 0);
    if (got <= 0) {
      br_ssl_engine_close(e);
      return true;
    }
    br_ssl_engine_sendapp_ack(e, (size_t)got);
    br_ssl_engine_flush(e, 0);
  }
  return true;
}

static void *relay_run(void *arg) {
  struct relay *r = arg;
  struct pollfd p[2] = { { r->client, 0, 0 }, { r->mock, 0, 0 } };
  if (r->front->delay_ms) usleep(r->front->delay_ms * 1000);
  while (pump_once(r, p)) {}
  close(r->client);
  close(r->mock);
  mem_free(r);
  return NULL;
}

static void start_server(struct relay *r) {
  struct front *f = r->front;
  int type = br_skey_decoder_key_type(&f->key);
  if (type == BR_KEYTYPE_EC) br_ssl_server_init_full_ec(&r->server, f->chain, f->chain_count, BR_KEYTYPE_EC, br_skey_decoder_get_ec(&f->key));
  else br_ssl_server_init_full_rsa(&r->server, f->chain, f->chain_count, br_skey_decoder_get_rsa(&f->key));
  br_ssl_engine_set_versions(&r->server.eng, BR_TLS12, BR_TLS12);
  br_ssl_engine_set_buffer(&r->server.eng, r->buffer, sizeof r->buffer, 1);
  br_ssl_server_reset(&r->server);
}

static void *accept_run(void *arg) {
  struct front *f = arg;
  for (;;) {
    int fd = accept(f->fd, NULL, NULL);
    if (fd < 0) continue;
    struct relay *r = mem_zero(sizeof *r);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)f->to_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int on = 1;
    pthread_t t;
    r->front = f;
    r->client = fd;
    r->mock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(r->mock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    start_server(r);
    if (connect(r->mock, (struct sockaddr *)&a, sizeof a) || pthread_create(&t, NULL, relay_run, r)) {
      close(fd);
      close(r->mock);
      mem_free(r);
    } else {
      pthread_detach(t);
    }
  }
  return NULL;
}

bool mock_tls_listen(const char *spec, const char *cert, const char *key, int to_port, unsigned delay_ms, const char **why) {
  static char text[256];
  struct front *f = mem_zero(sizeof *f);
  pthread_t t;
  br_skey_decoder_init(&f->key);
  if (!each_object(cert, take_cert, f) || !f->chain_count) return *why = "the certificate file holds none", false;
  if (!each_object(key, take_key, f) || !br_skey_decoder_key_type(&f->key)) return *why = "the key file holds none", false;
  f->to_port = to_port;
  f->delay_ms = delay_ms;
  f->fd = listen_open(span_cstr(spec), text, sizeof text);
  if (f->fd < 0) return *why = text, false;
  return !pthread_create(&t, NULL, accept_run, f);
}
