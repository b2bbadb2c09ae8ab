/* What one round costs the loop: an echo server, or a proxy between clients and an echo server, runs alone on CPU 0;
   its load (another process with a loop of its own) on CPU 1. Prints CPU time and system calls per round.

     make && cc -O2 -D_GNU_SOURCE -Iinclude bench/loop_echo.c build/lib/io.a build/lib/base.a -l:liburing.a -o build/loop_echo
     build/loop_echo echo|proxy [connections [bytes [seconds [uring|epoll]]]] */
#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "weir/io.h"
#include "weir/log.h"

struct line {                         /* one direction-less end: what it reads goes to `to` */
  struct sock s;
  struct line *to;
  size_t got;
  char bytes[65536];
};
static size_t message_size = 512;
static uint64_t rounds;
static uint16_t backend_port;
static struct op acceptor;

static void read_on(struct line *x) { x->s.loop->calls->recv(x->s.loop, &x->s.recv, x->s.fd, false); }

static struct line *line_new(struct loop *l, int fd, op_done *came, op_done *sent) {
  struct line *x = mem_zero(sizeof *x);
  x->s = (struct sock){ .loop = l, .fd = fd };
  x->s.recv.done = came;
  x->s.send.op.done = sent;
  x->s.send.lazy = true;
  return x;
}

static struct line *line_of(struct op *op) { return (struct line *)((char *)op - offsetof(struct line, s.recv)); }
static void line_over(struct sock *s) { (void)s; }

static void sent(struct op *op, int result, struct span data, bool more) { (void)op, (void)result, (void)data, (void)more; }

/* Echo and proxy alike: what came goes on, whole messages are rounds. */
static void relay(struct op *op, int result, struct span data, bool more) {
  struct line *x = line_of(op);
  (void)more;
  if (result <= 0) {
    if (!x->s.closing) sock_close(&x->s, line_over);
    return;
  }
  if (op_busy(&x->to->s.send.op)) fprintf(stderr, "a send is still on its way\n"), exit(1);
  struct iovec part = { (void *)data.p, data.n };
  op->loop->calls->send(op->loop, &x->to->s.send, x->to->s.fd, &part, 1);
  read_on(x);
  x->got += data.n;
  while (x->got >= message_size) x->got -= message_size, rounds++;
}

static void dialled(struct op *op, int result, struct span data, bool more) {
  struct line *x = line_of(op);
  (void)data, (void)more;
  require(result == 0);
  x->s.recv.done = relay;
  read_on(x);
  read_on(x->to);
}

static int dial(struct loop *l, struct op *op, uint16_t port) {
  struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  int fd = l->calls->socket(l, AF_INET);
  l->calls->connect(l, op, fd, (struct sockaddr *)&a, sizeof a);
  return fd;
}

static void accepted(struct op *op, int fd, struct span data, bool more) {
  (void)data, (void)more;
  require(fd >= 0);
  struct line *near = line_new(op->loop, fd, relay, sent);
  near->to = near;
  if (!backend_port) {
    read_on(near);
    return;
  }
  struct line *far = line_new(op->loop, -1, dialled, sent);
  far->to = near;
  near->to = far;
  far->s.fd = dial(op->loop, &far->s.recv, backend_port);
}

/* The load: each connection sends a message, waits for all of it, sends the next. */
static void ask(struct line *x) {
  struct iovec part = { x->bytes, message_size };
  x->s.loop->calls->send(x->s.loop, &x->s.send, x->s.fd, &part, 1);
}

static void answered(struct op *op, int result, struct span data, bool more) {
  struct line *x = line_of(op);
  (void)more;
  require(result > 0);
  read_on(x);
  x->got += data.n;
  if (x->got < message_size) return;
  x->got = 0;
  ask(x);
}

static void load_dialled(struct op *op, int result, struct span data, bool more) {
  struct line *x = line_of(op);
  (void)data, (void)more;
  require(result == 0);
  x->s.recv.done = answered;
  read_on(x);
  ask(x);
}

static void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  (void)sched_setaffinity(0, sizeof set, &set);
}

static int listener(struct loop *l, uint16_t *port) {
  char why[128];
  struct sockaddr_in a;
  socklen_t n = sizeof a;
  int fd = listen_open(SPAN("127.0.0.1:0"), why, sizeof why);
  require(fd >= 0 && getsockname(fd, (struct sockaddr *)&a, &n) == 0);
  *port = ntohs(a.sin_port);
  acceptor.done = accepted;
  l->calls->accept(l, &acceptor, fd);
  return fd;
}

static enum loop_kind kind = LOOP_URING;

static struct loop *loop_made(void) {
  const char *why;
  struct loop *l = loop_new(kind, NULL, &why);
  if (!l) fprintf(stderr, "%s\n", why), exit(1);
  return l;
}

static void load_run(uint16_t port, int tell, int connections) {
  pin(1);
  struct loop *l = loop_made();
  uint16_t mine = 0;
  acceptor = (struct op){ 0 };                     /* what fork left there is of the parent's loop */
  listener(l, &mine);
  require(write(tell, &mine, sizeof mine) == sizeof mine);
  for (int i = 0; i < connections; i++) {
    struct line *x = line_new(l, -1, load_dialled, sent);
    x->s.fd = dial(l, &x->s.recv, port);
  }
  for (;;) loop_turn(l);
}

static double cpu_seconds(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void run_until(struct loop *l, uint64_t end_ns) {
  while (l->now_ns < end_ns) loop_turn(l);
}

int main(int argc, char **argv) {
  bool proxy = argc > 1 && !strcmp(argv[1], "proxy");
  int connections = argc > 2 ? atoi(argv[2]) : 64, seconds = argc > 4 ? atoi(argv[4]) : 3, told[2];
  message_size = argc > 3 ? (size_t)atoi(argv[3]) : 512;
  if (argc > 5 && !loop_kind_read(span_cstr(argv[5]), &kind)) return 1;
  if (message_size > 65536 || pipe(told)) return 1;
  pin(0);
  struct loop *l = loop_made();
  uint16_t port;
  listener(l, &port);
  pid_t load = fork();
  if (!load) load_run(port, told[1], connections);
  uint16_t theirs;
  require(read(told[0], &theirs, sizeof theirs) == sizeof theirs);
  if (proxy) backend_port = theirs;
  run_until(l, l->now_ns + 500000000);
  double cpu = cpu_seconds();
  uint64_t done = rounds, enters = l->stats.enters, turns = l->stats.turns, from = l->now_ns;
  run_until(l, from + (uint64_t)seconds * 1000000000u);
  double each = (double)(rounds - done) / (proxy ? 2 : 1), wall = (double)(l->now_ns - from) / 1e9;
  printf("%s, %d connections, %zu bytes (%s): %.0f rounds/s, CPU %.2f us/round (%.0f%% busy), %.3f enters/round, "
         "%.1f rounds/turn, no buffer %llu, short %llu\n", proxy ? "proxy" : "echo", connections, message_size,
         loop_description(l), each / wall, (cpu_seconds() - cpu) * 1e6 / each, (cpu_seconds() - cpu) * 100 / wall,
         (double)(l->stats.enters - enters) / each, each / (double)(l->stats.turns - turns),
         (unsigned long long)l->stats.no_buffers, (unsigned long long)l->stats.short_sends);
  kill(load, SIGKILL);
  waitpid(load, NULL, 0);
  return 0;
}
