/* control.c: control.sock in the runtime directory: one line in, an answer out, first line "ok" or "refused". */
#include "gateway.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LINE_MOST = 1024, ASK_WAIT_S = 60 };

struct control_client {
  struct sock sock;
  struct control *control;
  struct control_client *next, **link;
  struct buf in, out;
  bool waiting, ending;               /* a reload runs for it: the memory stays until it is told */
  bool closed;
};
struct control {
  struct gateway *gateway;
  struct op accept;
  struct timer again;
  int fd, lock_fd;
  bool given;                         /* control.sock is a predecessor's */
  bool left;                          /* control.sock is a successor's */
  char *path;
  struct control_client *clients;
};

static void client_free(struct control_client *c) {
  if (!c->closed || c->waiting) return;
  *c->link = c->next;
  if (c->next) c->next->link = c->link;
  buf_free(&c->in);
  buf_free(&c->out);
  mem_free(c);
}

static void closed(struct sock *s) {
  struct control_client *c = container(s, struct control_client, sock);
  c->closed = true;
  client_free(c);
}

static void client_end(struct control_client *c) {
  if (c->ending) return;
  c->ending = true;
  sock_close(&c->sock, closed);
}

static void sent(struct op *op, int result, struct span data, bool more) {
  (void)result;
  (void)data;
  (void)more;
  client_end(container(op, struct control_client, sock.send.op));
}

static void reply(struct control_client *c, bool ok, struct span text) {
  if (c->ending) return;
  buf_add(&c->out, ok ? SPAN("ok\n") : SPAN("refused\n"));
  buf_add(&c->out, text);
  struct span s = buf_span(&c->out);
  struct iovec iov = { (void *)s.p, s.n };
  c->sock.send.op.done = sent;
  c->sock.loop->calls->send(c->sock.loop, &c->sock.send, c->sock.fd, &iov, 1);
}

static void reloaded(void *arg, bool accepted, struct span text) {
  struct control_client *c = arg;
  c->waiting = false;
  reply(c, accepted, text);
  client_free(c);
}

static void received(struct op *op, int result, struct span data, bool more) {
  struct control_client *c = container(op, struct control_client, sock.recv);
  (void)more;
  if (result <= 0) { client_end(c); return; }
  buf_add(&c->in, data);
  struct span all = buf_span(&c->in), line;
  size_t end = span_find(all, '\n');
  if (end == all.n) {
    if (all.n > LINE_MOST) client_end(c);
    else c->sock.loop->calls->recv(c->sock.loop, op, c->sock.fd, false);
    return;
  }
  span_cut(all, '\n', &line);
  if (span_eq(line, SPAN("reload"))) {
    c->waiting = true;
    reload_start(c->control->gateway, reloaded, c);
  } else if (span_eq(line, SPAN("upgrade"))) {
    c->waiting = true;
    upgrade_start(c->control->gateway, reloaded, c);
  } else if (span_eq(line, SPAN("version"))) {
    reply(c, true, SPAN("weir " WEIR_VERSION "\n"));
  } else {
    reply(c, false, SPAN("unknown command\n"));
  }
}

static void accepted(struct op *op, int result, struct span data, bool more) {
  struct control *k = container(op, struct control, accept);
  struct loop *l = k->gateway->house;
  (void)data;
  if (result >= 0) {
    struct control_client *c = mem_zero(sizeof *c);
    c->control = k;
    c->sock.loop = l;
    c->sock.fd = result;
    c->next = k->clients;
    c->link = &k->clients;
    if (c->next) c->next->link = &c->next;
    k->clients = c;
    c->sock.recv.done = received;
    l->calls->recv(l, &c->sock.recv, result, false);
  }
  if (result == IO_CANCELLED && k->left)
    for (int fd; (fd = listen_next(k->fd)) >= 0;) accepted(op, fd, data, true);
  if (more || result == IO_CANCELLED) return;
  if (result >= 0) l->calls->accept(l, op, k->fd);
  else timer_set(&l->wheel, &k->again, l->now_ms + 100); /* out of descriptors: some will close */
}

static void accept_again(struct timer *t) {
  struct control *k = container(t, struct control, again);
  k->gateway->house->calls->accept(k->gateway->house, &k->accept, k->fd);
}

/* 0, or the errno of the first folder that is not there and cannot be made. */
static int make_folders(const char *path) {
  char *p = mem_cstr(span_cstr(path));
  int error = 0;
  for (char *at = p + 1; *at && !error; at++)
    if (*at == '/') {
      *at = 0;
      if (mkdir(p, 0755) && errno != EEXIST) error = errno;
      *at = '/';
    }
  if (!error && mkdir(p, 0700) && errno != EEXIST) error = errno;
  mem_free(p);
  return error;
}

static const char *refused(int error) {
  bool rights = error == EACCES || error == EPERM || error == EROFS;
  return rights ? "weir may not write there: give the folder to the user that weir runs as, or name another with `runtime`" : strerror(error);
}

static char *path_in(const char *folder, const char *name) {
  struct buf b = { 0 };
  buf_printf(&b, "%s/%s", folder, name);
  char *p = mem_cstr(buf_span(&b));
  buf_free(&b);
  return p;
}

static bool socket_address(const char *path, struct sockaddr_un *a) {
  *a = (struct sockaddr_un){ .sun_family = AF_UNIX };
  size_t n = strlen(path);
  if (n >= sizeof a->sun_path) return false;
  memcpy(a->sun_path, path, n + 1);
  return true;
}

struct control *control_open(struct gateway *g, const char *runtime_dir, const char **why) {
  struct sockaddr_un a;
  int error = make_folders(runtime_dir);
  if (error) return *why = refused(error), NULL;
  char *lock = path_in(runtime_dir, "lock");
  int lock_fd = upgrade_lock(lock), given = lock_fd >= 0 ? upgrade_control() : -1;
  if (lock_fd < 0) lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  mem_free(lock);
  if (lock_fd < 0) return *why = refused(errno), NULL;
  if (flock(lock_fd, LOCK_EX | LOCK_NB)) {
    close(lock_fd);
    return *why = "another weir runs on this runtime directory", NULL;
  }
  char *path = path_in(runtime_dir, "control.sock");
  int fd = given >= 0 ? given : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool good = given >= 0;
  if (!good) {
    unlink(path);
    mode_t mask = umask(0177);
    good = fd >= 0 && socket_address(path, &a) && !bind(fd, (struct sockaddr *)&a, sizeof a) && !listen(fd, 16);
    umask(mask);
  }
  if (!good) {
    *why = errno ? strerror(errno) : "the path of control.sock is too long";
    if (fd >= 0) close(fd);
    close(lock_fd);
    mem_free(path);
    return NULL;
  }
  struct control *k = mem_zero(sizeof *k);
  *k = (struct control){ .gateway = g, .fd = fd, .lock_fd = lock_fd, .path = path, .given = given >= 0 };
  k->accept.done = accepted;
  k->again.done = accept_again;
  g->house->calls->accept(g->house, &k->accept, fd);
  return k;
}

bool control_inherited(const struct control *k) { return k->given; }

void control_descriptors(const struct control *k, int *lock, int *control) {
  *lock = k->lock_fd;
  *control = k->fd;
}

void control_leave(struct control *k, bool same_folder) {
  struct loop *l = k->gateway->house;
  if (!same_folder) return;
  k->left = true;
  timer_stop(&l->wheel, &k->again);
  l->calls->cancel(l, &k->accept);
}

void control_close(struct control *k) {
  struct loop *l = k->gateway->house;
  timer_stop(&l->wheel, &k->again);
  l->calls->cancel(l, &k->accept);
  for (struct control_client *c = k->clients, *next; c; c = next) {
    next = c->next;
    c->waiting = false;
    client_end(c);
  }
  while (k->clients || op_busy(&k->accept)) loop_turn(l);
  if (!k->left) unlink(k->path);
  close(k->fd);
  close(k->lock_fd);
  mem_free(k->path);
  mem_free(k);
}

int control_ask(const char *runtime_dir, const char *command, struct buf *out) {
  struct sockaddr_un a;
  char *path = path_in(runtime_dir, "control.sock");
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct timeval limit = { .tv_sec = ASK_WAIT_S };
  bool good = fd >= 0 && socket_address(path, &a) && !connect(fd, (struct sockaddr *)&a, sizeof a);
  bool none = errno == ENOENT || errno == ENOTDIR || errno == ECONNREFUSED;
  if (!good) buf_printf(out, "no weir answers at %s: %s\n", path, strerror(errno));
  mem_free(path);
  if (!good) {
    if (fd >= 0) close(fd);
    return none ? 2 : 3;
  }
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  struct buf answer = { 0 };
  buf_printf(&answer, "%s\n", command);
  struct span s = buf_span(&answer);
  good = send(fd, s.p, s.n, MSG_NOSIGNAL) == (ssize_t)s.n;
  buf_clear(&answer);
  for (ssize_t n; good && (n = recv(fd, buf_reserve(&answer, 4096), 4096, 0)) > 0;) buf_commit(&answer, (size_t)n);
  close(fd);
  struct span first, rest = span_cut(buf_span(&answer), '\n', &first);
  bool ok = span_eq(first, SPAN("ok")), refused = span_eq(first, SPAN("refused"));
  if (ok || refused) buf_add(out, rest);
  else buf_add(out, SPAN("weir did not answer\n"));
  buf_free(&answer);
  return ok ? 0 : refused ? 1 : 3;
}
