#include "serve.h"
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include "weir/log.h"
#include "weir/sse.h"

void sse_line(struct buf *b, struct span name, struct span data) { sse_write(b, name, data); }

static int usage(void) {
  fputs("weir-mock: a provider that speaks chat, completions, embeddings, responses, messages, gemini and converse, and misbehaves on request\n\n"
        "  weir-mock [--listen 127.0.0.1:9100] [--tls 127.0.0.1:9443 --cert FILE --key FILE [--tls-delay MS]]\n"
        "            [--play FOLDER] [--script FILE] [--record FILE] [--loop uring | epoll] [--aws ID:SECRET]\n\n"
        "A request's behaviour: header x-mock, or model 'mock-429' 'mock-stall' …, or model 'mock;status=503;delay=20', or the next\n"
        "line of the script. Words: status retry-after code type delay first gap events stall reset cut end bad error tools size\n"
        "split input output cached reasoning empty garbage html json hang drop no-length no-done refuse close text finish model play\n"
        "--aws: requests of converse must be signed with these (or bear a key).\n",
        stderr);
  return 2;
}

static bool load_script(struct mock *m, const char *path) {
  FILE *f = fopen(path, "r");
  static struct buf text;
  if (!f) return false;
  for (size_t n; (n = fread(buf_reserve(&text, 4096), 1, 4096, f)) > 0;) buf_commit(&text, n);
  fclose(f);
  m->script = m->script_at = buf_span(&text);
  return true;
}

static int port_of(int fd) {
  struct sockaddr_storage a;
  socklen_t n = sizeof a;
  if (getsockname(fd, (struct sockaddr *)&a, &n)) return 0;
  return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port : ((struct sockaddr_in *)&a)->sin_port);
}

int main(int argc, char **argv) {
  static struct mock m;
  const char *listen_at = "127.0.0.1:9100", *tls = NULL, *cert = NULL, *key = NULL, *why = NULL;
  enum loop_kind kind = LOOP_ANY;
  unsigned tls_delay = 0;
  char text[256];
  for (int i = 1; i < argc; i++) {
    struct span w = span_cstr(argv[i]);
    if (i + 1 >= argc) return usage();
    const char *value = argv[++i];
    if (span_eq(w, SPAN("--listen"))) listen_at = value;
    else if (span_eq(w, SPAN("--tls"))) tls = value;
    else if (span_eq(w, SPAN("--cert"))) cert = value;
    else if (span_eq(w, SPAN("--key"))) key = value;
    else if (span_eq(w, SPAN("--tls-delay"))) tls_delay = (unsigned)atoi(value);
    else if (span_eq(w, SPAN("--loop"))) {
      if (!loop_kind_read(span_cstr(value), &kind)) return usage();
    }
    else if (span_eq(w, SPAN("--play"))) m.play_folder = value;
    else if (span_eq(w, SPAN("--aws"))) {                /* two texts of one argument */
      char *colon = strchr(argv[i], ':');
      if (!colon) return usage();
      *colon = 0;
      m.aws_id = argv[i], m.aws_secret = colon + 1;
    }
    else if (span_eq(w, SPAN("--record"))) m.record = fopen(value, "w");
    else if (span_eq(w, SPAN("--script"))) {
      if (!load_script(&m, value)) return fprintf(stderr, "weir-mock: cannot read %s\n", value), 1;
    } else return usage();
  }
  signal(SIGPIPE, SIG_IGN);
  struct ring_options o = { 0 };
  m.loop = loop_new(kind, &o, &why);
  if (!m.loop) return fprintf(stderr, "weir-mock: %s\n", why), 2;
  m.fd = listen_open(span_cstr(listen_at), text, sizeof text);
  if (m.fd < 0) return fprintf(stderr, "weir-mock: cannot listen on %s: %s\n", listen_at, text), 2;
  if (tls && (!cert || !key || !mock_tls_listen(tls, cert, key, port_of(m.fd), tls_delay, &why)))
    return fprintf(stderr, "weir-mock: TLS: %s\n", why ? why : "--cert and --key are needed"), 2;
  mock_serve(&m);
  log_info("weir-mock listens on %s%s%s", listen_at, tls ? " and, with TLS, on " : "", tls ? tls : "");
  for (;;) loop_turn(m.loop);
}
