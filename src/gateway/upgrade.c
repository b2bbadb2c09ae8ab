/* upgrade.c: another process takes over. The running one starts the program again, as it was started itself, with the listeners, the
   control socket and the lock of the runtime directory; it goes on as if nothing were until that process says that it serves, then
   it accepts no more and drains. A successor that ends before it says so, or says nothing in time, changes nothing.

   What is handed over stands in the successor's environment: WEIR_LISTEN_FDS (include/weir/io.h) and WEIR_UPGRADE, "lock,control,ready",
   three descriptors: the lock file of the runtime directory, the listening control.sock, and a socket on which the successor
   writes "ready 1" (it has the same runtime directory) or "ready 0". */
#include "gateway.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READY_MS = 50000, ARGUMENTS = 64, COMMAND_MOST = 65536 };

struct upgrade {
  struct gateway *gateway;
  struct sock sock;                   /* the successor says here that it is ready */
  struct timer limit;
  struct buf said;
  pid_t child;
  bool late, stopped;
  reload_done *done;
  void *arg;
};

/* ---- the successor's side */
static struct { int lock, control, ready; } handed = { -1, -1, -1 };

static int one_of(struct span *list) {
  struct span word;
  uint64_t fd;
  *list = span_cut(*list, ',', &word);
  if (!span_u64(word, &fd) || fd > INT32_MAX || fcntl((int)fd, F_SETFD, FD_CLOEXEC)) return -1;
  return (int)fd;
}

void upgrade_begin(void) {
  const char *text = getenv("WEIR_UPGRADE");
  struct stat st;
  if (!text) return;
  struct span list = span_cstr(text);
  handed.lock = one_of(&list);
  handed.control = one_of(&list);
  handed.ready = one_of(&list);
  if (handed.ready >= 0 && (fstat(handed.ready, &st) || !S_ISSOCK(st.st_mode))) handed.ready = -1;
  unsetenv("WEIR_UPGRADE");                              /* programs that weir starts have no part in it */
}

static int taken(int *fd) {
  int had = *fd;
  *fd = -1;
  return had;
}

int upgrade_lock(const char *path) {
  struct stat a, b;
  bool same = handed.lock >= 0 && !fstat(handed.lock, &a) && !stat(path, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
  return same ? taken(&handed.lock) : -1;
}

int upgrade_control(void) { return taken(&handed.control); }

bool upgrade_waiting(void) { return handed.ready >= 0; }

void upgrade_ready(bool same_folder) {
  char text[] = "ready 0\n";
  if (handed.ready < 0) return;
  text[6] = same_folder ? '1' : '0';
  log_info("took over from process %d", (int)getppid());
  if (send(handed.ready, text, sizeof text - 1, MSG_NOSIGNAL) < 0) log_warn("the process before this one cannot be told: %s", strerror(errno));
  close(taken(&handed.ready));
  if (handed.lock >= 0) close(taken(&handed.lock));
  if (handed.control >= 0) close(taken(&handed.control));
}

/* ---- the predecessor's side: the end of it */
static void closed(struct sock *s) {
  struct upgrade *u = container(s, struct upgrade, sock);
  u->gateway->upgrade = NULL;
  buf_free(&u->said);
  mem_free(u);
}

static void tell(struct upgrade *u, bool accepted, struct span text) {
  reload_done *done = u->done;
  u->done = NULL;
  if (done) done(u->arg, accepted, text);
}

static void end(struct upgrade *u) {
  timer_stop(&u->sock.loop->wheel, &u->limit);
  if (!u->sock.closing) sock_close(&u->sock, closed);
}

/* It has ended, or will at once: nothing of it may stay that could serve. */
static void failed(struct upgrade *u) {
  char text[160], how[64];
  int status = 0;
  kill(u->child, SIGKILL);
  while (waitpid(u->child, &status, 0) < 0 && errno == EINTR) {}
  if (u->late) snprintf(how, sizeof how, "was not ready within %d s", READY_MS / 1000);
  else if (WIFEXITED(status)) snprintf(how, sizeof how, "ended with exit code %d", WEXITSTATUS(status));
  else snprintf(how, sizeof how, "was ended by signal %d", WTERMSIG(status));
  snprintf(text, sizeof text, "the new process (%d) %s before it served: see its lines in the log; this one goes on\n", (int)u->child, how);
  if (!u->stopped) log_error("upgrade refused: %.*s", (int)strcspn(text, "\n"), text);
  tell(u, false, u->stopped ? SPAN("weir is ending\n") : span_cstr(text));
  end(u);
}

static void succeeded(struct upgrade *u, bool same_folder) {
  char text[80];
  struct span said = span_of(text, (size_t)snprintf(text, sizeof text, "process %d serves now\n", (int)u->child));
  log_info("%.*s; what is under way here goes on", (int)said.n - 1, said.p);
  tell(u, true, said);
  end(u);                                                /* first: a drain gives up an upgrade that is under way */
  house_hand_over(u->gateway, same_folder);
}

static void heard(struct op *op, int result, struct span data, bool more) {
  struct upgrade *u = container(op, struct upgrade, sock.recv);
  (void)more;
  if (result > 0) buf_add(&u->said, data);
  struct span said = buf_span(&u->said);
  bool given_up = u->stopped || u->late;
  if (!given_up && span_find(said, '\n') < said.n && span_starts(said, SPAN("ready "))) succeeded(u, said.p[6] == '1');
  else if (result > 0 && said.n < 64) op->loop->calls->recv(op->loop, op, u->sock.fd, false);
  else failed(u);
}

static void late(struct timer *t) {
  struct upgrade *u = container(t, struct upgrade, limit);
  u->late = true;
  kill(u->child, SIGKILL);                               /* its end is heard */
}

void upgrade_stop(struct gateway *g) {
  struct upgrade *u = g->upgrade;
  if (!u || u->sock.closing) return;
  u->stopped = true;
  kill(u->child, SIGKILL);
}

/* ---- and its start */
/* The words of this process's command line as the kernel has them: nobody has taken any of them away. */
static bool command_read(char *text, char *argv[ARGUMENTS]) {
  int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC), count = 0;
  ssize_t n = fd < 0 ? -1 : read(fd, text, COMMAND_MOST - 1);
  if (fd >= 0) close(fd);
  if (n <= 0 || n == COMMAND_MOST - 1) return false;
  text[n] = 0;
  for (char *at = text; at < text + n && count < ARGUMENTS - 1; at += strlen(at) + 1) argv[count++] = at;
  argv[count] = NULL;
  return count > 0 && count < ARGUMENTS - 1;
}

static bool replaced(const char *variable) {
  static const char *const names[] = { "WEIR_LISTEN_FDS=", "WEIR_LISTEN_PATHS=", "WEIR_UPGRADE=", "LISTEN_FDS=", "LISTEN_PID=", "LISTEN_FDNAMES=" };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strncmp(variable, names[i], strlen(names[i]))) return true;
  return false;
}

static char *list_of(const char *name, const int *fds, size_t count, bool paths_only) {
  struct buf b = { 0 };
  bool first = true;
  buf_printf(&b, "%s=", name);
  for (size_t i = 0; i < count; i++) {
    if (fds[i] < 0 || (paths_only && !listen_made(fds[i]))) continue;
    buf_printf(&b, "%s%d", first ? "" : ",", fds[i]);
    first = false;
  }
  char *text = mem_cstr(buf_span(&b));
  buf_free(&b);
  return text;
}

/* Descriptors above the first `listeners` are lock, control and ready. Gives errno. */
static int spawn(struct upgrade *u, char **argv, const int *fds, size_t count, size_t listeners) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t how;
  sigset_t none;
  size_t n = 0, size = 0;
  while (environ[size]) size++;
  char **env = mem_zero((size + 4) * sizeof *env);
  char *ours[3] = { list_of("WEIR_LISTEN_FDS", fds, listeners, false), list_of("WEIR_LISTEN_PATHS", fds, listeners, true),
                    list_of("WEIR_UPGRADE", fds + listeners, count - listeners, false) };
  for (size_t i = 0; i < size; i++)
    if (!replaced(environ[i])) env[n++] = environ[i];
  for (size_t i = 0; i < 3; i++) env[n++] = ours[i];
  sigemptyset(&none);
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&how);
  posix_spawnattr_setsigmask(&how, &none);
  posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK);
  for (size_t i = 0; i < count; i++) posix_spawn_file_actions_adddup2(&actions, fds[i], fds[i]);   /* to itself: it stays open there */
  int error = posix_spawnp(&u->child, argv[0], &actions, &how, argv, env);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&how);
  for (size_t i = 0; i < 3; i++) mem_free(ours[i]);
  mem_free(env);
  return error;
}

static int start(struct upgrade *u, struct gateway *g, const int pair[2]) {
  char *text = mem_alloc(COMMAND_MOST), *argv[ARGUMENTS];
  size_t n = 0;
  int *fds = mem_zero((g->listener_count + 4) * sizeof *fds);
  for (; n < g->listener_count; n++) fds[n] = g->listeners[n];
  fds[n++] = g->admin_fd;
  control_descriptors(g->control, &fds[n], &fds[n + 1]);
  fds[n + 2] = pair[1];
  int error = command_read(text, argv) ? spawn(u, argv, fds, n + 3, n) : E2BIG;
  if (error) log_error("upgrade refused: %s cannot be started: %s; this one goes on", text, strerror(error));
  mem_free(fds);
  mem_free(text);
  return error;
}

static void refuse(const char *why, reload_done *done, void *arg) {
  char text[256];
  snprintf(text, sizeof text, "%s\n", why);
  log_warn("no upgrade: %s", why);
  if (done) done(arg, false, span_cstr(text));
}

void upgrade_start(struct gateway *g, reload_done *done, void *arg) {
  int pair[2];
  if (g->draining) { refuse("this weir is ending", done, arg); return; }
  if (g->upgrade) { refuse("one is under way", done, arg); return; }
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) { refuse(strerror(errno), done, arg); return; }
  struct upgrade *u = mem_zero(sizeof *u);
  *u = (struct upgrade){ .gateway = g, .sock = { .loop = g->house, .fd = pair[0] } };
  int error = start(u, g, pair);
  close(pair[1]);
  if (error) {
    close(pair[0]);
    mem_free(u);
    if (done) done(arg, false, SPAN("the program cannot be started: the log says why\n"));
    return;
  }
  log_info("upgrade: process %d starts", (int)u->child);
  g->upgrade = u;
  u->done = done;
  u->arg = arg;
  u->sock.recv.done = heard;
  u->limit.done = late;
  g->house->calls->recv(g->house, &u->sock.recv, u->sock.fd, false);
  timer_set(&g->house->wheel, &u->limit, g->house->now_ms + READY_MS);
}
