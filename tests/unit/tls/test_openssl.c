/* Against another implementation: `openssl s_server` over loopback. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "../../../src/tls/inside.h"
#include "scene.h"

struct server {
  pid_t pid;
  int in, port;
  FILE *out;
};

/* cert, options: what follows `openssl s_server`, parted by spaces */
static struct server server_start(const char *cert, const char *options) {
  struct server s = { 0 };
  char command[600], line[300];
  int to[2], from[2];
  snprintf(command, sizeof command, "cd %s && exec openssl s_server -accept 127.0.0.1:0 %s %s", certs_dir, cert,
           options);
  require(!pipe2(to, O_CLOEXEC) && !pipe2(from, O_CLOEXEC));
  s.pid = fork();
  if (!s.pid) {
    dup2(to[0], 0), dup2(from[1], 1), dup2(open("/dev/null", O_WRONLY), 2);
    execl("/bin/sh", "sh", "-c", command, NULL);
    _exit(127);
  }
  close(to[0]), close(from[1]);
  s.in = to[1];
  s.out = fdopen(from[0], "r");
  while (!s.port && fgets(line, sizeof line, s.out)) sscanf(line, "ACCEPT 127.0.0.1:%d", &s.port);
  if (!s.port) printf("no server from: %s\n", command);
  require(s.port);
  return s;
}

static void server_stop(struct server *s) {
  kill(s->pid, SIGKILL);
  waitpid(s->pid, NULL, 0);
  close(s->in);
  fclose(s->out);
}

static void server_type(struct server *s, const char *text) {
  require(write(s->in, text, strlen(text)) == (ssize_t)strlen(text));
}

/* A blocking connection; piece is how much is read at a time. */
struct line {
  int fd;
  size_t piece;
  struct tls *tls;
  struct buf in, out;
  struct step last;
};

static void line_flush(struct line *l) {
  while (buf_size(&l->out)) {
    ssize_t n = write(l->fd, l->out.p + l->out.at, buf_size(&l->out));
    if (n <= 0) break;
    buf_consume(&l->out, (size_t)n);
  }
  buf_clear(&l->out);
}

static bool line_read(struct line *l) {
  ssize_t n = read(l->fd, buf_reserve(&l->in, l->piece), l->piece);
  if (n > 0) buf_commit(&l->in, (size_t)n);
  return n > 0;
}

static void line_up(struct line *l, const struct server *s, const struct tls_session *session, size_t piece) {
  struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)s->port) };
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  *l = (struct line){ .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .piece = piece };
  struct timeval patience = { .tv_sec = 10 };
  setsockopt(l->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  require(!connect(l->fd, (struct sockaddr *)&to, sizeof to));
  l->tls = tls_new(trust, SPAN("good.test"), session);
  do {
    l->last = tls_shake(l->tls, buf_span(&l->in), &l->out);
    buf_consume(&l->in, l->last.used);
    line_flush(l);
  } while (l->last.kind == STEP_MORE && line_read(l));
}

static void line_say(struct line *l, struct span text) {
  tls_seal(l->tls, text, &l->out);
  line_flush(l);
}

/* Reads until `want` bytes came, or the end. */
static void line_hear(struct line *l, struct buf *got, size_t want) {
  while (buf_size(got) < want) {
    struct span plain;
    l->last = tls_open(l->tls, l->in.p + l->in.at, buf_size(&l->in), &plain);
    if (l->last.kind == STEP_EVENT) buf_add(got, plain);
    buf_consume(&l->in, l->last.used);
    if (l->last.kind == STEP_EVENT) continue;
    if (l->last.kind != STEP_MORE || !line_read(l)) return;
  }
}

static void line_down(struct line *l) {
  tls_close_notify(l->tls, &l->out);
  line_flush(l);
  close(l->fd);
  tls_free(l->tls);
  buf_free(&l->in), buf_free(&l->out);
}

static const char ec[] = "-cert good.pem -key good.key -cert_chain middle.pem";
static const char rsa[] = "-cert rsa.pem -key rsa.key";

static void suites_and_curves(void **state) {
  NEED_CERTS();
  static const struct { const char *cert, *options, *suite; } cases[] = {
    { ec, "-rev -cipher ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE_ECDSA_AES_128_GCM_SHA256" },
    { ec, "-rev -cipher ECDHE-ECDSA-AES256-GCM-SHA384 -curves P-256", "ECDHE_ECDSA_AES_256_GCM_SHA384" },
    { ec, "-rev -cipher ECDHE-ECDSA-CHACHA20-POLY1305 -curves P-384", "ECDHE_ECDSA_CHACHA20_POLY1305_SHA256" },
    { rsa, "-rev -cipher ECDHE-RSA-AES128-GCM-SHA256 -curves P-521", "ECDHE_RSA_AES_128_GCM_SHA256" },
    { rsa, "-rev -cipher ECDHE-RSA-AES256-GCM-SHA384 -curves X25519", "ECDHE_RSA_AES_256_GCM_SHA384" },
    { rsa, "-rev -cipher ECDHE-RSA-CHACHA20-POLY1305", "ECDHE_RSA_CHACHA20_POLY1305_SHA256" },
    { ec, "-rev -alpn http/1.1,h2", "ECDHE_ECDSA_AES_128_GCM_SHA256" },
    { ec, "-rev -verify 1", "ECDHE_ECDSA_AES_128_GCM_SHA256" },
    { rsa, "-rev -max_send_frag 512", "ECDHE_RSA_AES_128_GCM_SHA256" },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct server s = server_start(cases[i].cert, cases[i].options);
    struct line l;
    struct buf got = { 0 };
    line_up(&l, &s, NULL, 1 + i * 37);
    assert_int_equal(l.last.kind, STEP_DONE);
    assert_string_equal(tls_suite(l.tls), cases[i].suite);
    assert_false(l.tls->by_engine);
    for (int round = 0; round < 5; round++) {
      buf_clear(&got);
      line_say(&l, SPAN("stream of tokens\n"));
      line_hear(&l, &got, 17);
      assert_true(span_eq(buf_span(&got), SPAN("snekot fo maerts\n")));
    }
    buf_free(&got);
    line_down(&l);
    server_stop(&s);
  }
}

static enum tls_failure refusal(const char *cert, const char *options, unsigned *alert) {
  struct server s = server_start(cert, options);
  struct line l;
  line_up(&l, &s, NULL, 999);
  enum tls_failure f = tls_failure_of(l.tls);
  *alert = tls_alert_of(l.tls);
  assert_int_equal(l.last.kind, f ? STEP_BAD : STEP_DONE);
  line_down(&l);
  server_stop(&s);
  return f;
}

static void refusals(void **state) {
  NEED_CERTS();
  unsigned alert;
  assert_int_equal(refusal(ec, "-tls1_3", &alert), TLS_NO_COMMON);
  assert_int_equal(alert, 70);
  assert_int_equal(refusal(ec, "-cipher ECDHE-ECDSA-AES128-SHA256", &alert), TLS_NO_COMMON);
  assert_int_equal(alert, 40);
  assert_int_equal(refusal(rsa, "-cipher AES128-GCM-SHA256", &alert), TLS_NO_COMMON);
  assert_int_equal(refusal(ec, "-Verify 1", &alert), TLS_ALERT);
  assert_int_equal(refusal("-cert expired.pem", "-key expired.key", &alert), TLS_EXPIRED);
  assert_int_equal(refusal("-cert stranger.pem", "-key stranger.key", &alert), TLS_UNKNOWN_CA);
  assert_int_equal(refusal("-cert wild.pem", "-key wild.key", &alert), TLS_WRONG_HOST);
}

static void resumption(void **state) {
  NEED_CERTS();
  struct server s = server_start(ec, "-rev -tls1_2");
  struct tls_session session = { 0 };
  for (int round = 0; round < 3; round++) {
    struct line l;
    struct buf got = { 0 };
    line_up(&l, &s, &session, 300);
    assert_int_equal(l.last.kind, STEP_DONE);
    assert_int_equal(tls_resumed(l.tls), round > 0);
    tls_session_save(l.tls, &session);
    assert_true(session.valid);
    line_say(&l, SPAN("abc\n"));
    line_hear(&l, &got, 4);
    assert_true(span_eq(buf_span(&got), SPAN("cba\n")));
    buf_free(&got);
    line_down(&l);
  }
  server_stop(&s);
}

static void large_answer(void **state) {
  NEED_CERTS();
  enum { SIZE = 3000000 };
  static const size_t pieces[] = { 777, 16384, 100000 };
  FILE *f = fopen(certs_path("large", "bin"), "w");
  require(f);
  for (unsigned i = 0; i < SIZE; i++) putc((char)(i * 2654435761u >> 24), f);
  fclose(f);
  struct server s = server_start(rsa, "-WWW");
  for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
    struct line l;
    struct buf got = { 0 };
    line_up(&l, &s, NULL, pieces[k]);
    assert_int_equal(l.last.kind, STEP_DONE);
    line_say(&l, SPAN("GET /large.bin HTTP/1.0\r\n\r\n"));
    line_hear(&l, &got, SIZE * 2);
    assert_int_equal(l.last.kind, STEP_DONE);
    size_t head = span_search(buf_span(&got), SPAN("\r\n\r\n")) + 4;
    assert_int_equal(buf_size(&got) - head, SIZE);
    for (unsigned i = 0; i < SIZE; i++) {
      if (got.p[got.at + head + i] == (char)(i * 2654435761u >> 24)) continue;
      fail_msg("byte %u differs", i);
    }
    buf_free(&got);
    line_down(&l);
  }
  server_stop(&s);
}

/* The server asks for a new handshake in the midst of data. */
static void hello_request(void **state) {
  NEED_CERTS();
  struct server s = server_start(ec, "-tls1_2");
  struct line l;
  struct buf got = { 0 };
  line_up(&l, &s, NULL, 50);
  assert_int_equal(l.last.kind, STEP_DONE);
  server_type(&s, "one\n");
  line_hear(&l, &got, 4);
  server_type(&s, "r\n");               /* HelloRequest */
  usleep(100000);
  server_type(&s, "two\n");
  line_say(&l, SPAN("heard\n"));
  line_hear(&l, &got, 8);
  assert_true(span_eq(buf_span(&got), SPAN("one\ntwo\n")));
  buf_free(&got);
  line_down(&l);
  server_stop(&s);
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(suites_and_curves), cmocka_unit_test(refusals), cmocka_unit_test(resumption),
    cmocka_unit_test(large_answer), cmocka_unit_test(hello_request),
  };
  return cmocka_run_group_tests(tests, before_all, after_all);
}
