#include "weir/log.h"
#include "weir/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static enum log_level threshold = LOG_INFO;
static __thread bool thread_muted;
static __thread void (*thread_tap)(void *arg, enum log_level level, struct span text);
static __thread void *tap_arg;
static const char *const names[] = { "debug", "info", "warn", "error", "off" };

void log_set_level(enum log_level level) { threshold = level; }
static bool wants(enum log_level level) { return (level >= threshold && !thread_muted) || (thread_tap && level >= LOG_INFO); }
void log_mute_thread(bool muted) { thread_muted = muted; }
void log_tap_thread(void (*tap)(void *arg, enum log_level level, struct span text), void *arg) {
  thread_tap = tap;
  tap_arg = arg;
}

bool log_level_named(struct span name, enum log_level *out) {
  for (int i = LOG_DEBUG; i <= LOG_OFF; i++)
    if (span_eq(name, span_cstr(names[i]))) return *out = (enum log_level)i, true;
  return false;
}

/* One write per line, so that lines of several threads do not mix. Control bytes are shown as '?':
   a message may quote what a peer sent. */
void log_line(enum log_level level, const char *fmt, ...) {
  if (!wants(level)) return;
  char line[2048];
  struct timespec t;
  struct tm tm;
  clock_gettime(CLOCK_REALTIME, &t);
  gmtime_r(&t.tv_sec, &tm);
  size_t n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
  n += (size_t)snprintf(line + n, sizeof line - n, ".%03ldZ %s ", t.tv_nsec / 1000000, names[level]);
  size_t head = n;
  va_list args;
  va_start(args, fmt);
  int m = vsnprintf(line + n, sizeof line - n - 1, fmt, args);
  va_end(args);
  if (m > 0) n += (size_t)m < sizeof line - n - 1 ? (size_t)m : sizeof line - n - 2;
  for (size_t i = head; i < n; i++)
    if ((unsigned char)line[i] < 0x20 && line[i] != '\t') line[i] = line[i] == '\n' ? ' ' : '?';
  if (thread_tap && level >= LOG_INFO) thread_tap(tap_arg, level, span_of(line + head, n - head));
  if (level < threshold || thread_muted) return;
  line[n++] = '\n';
  while (write(STDERR_FILENO, line, n) < 0 && errno == EINTR) {}
}

void check_failed(bool *told, const char *cond, const char *file, int line) {
  if (__atomic_exchange_n(told, true, __ATOMIC_RELAXED)) return;
  log_error("check failed, going on: %s (%s:%d)", cond, file, line);
}

_Noreturn void require_failed(const char *cond, const char *file, int line) {
  log_error("cannot go on: %s (%s:%d)", cond, file, line);
  abort();
}

enum { MOST_WAITING = 4 << 20 };
struct log_sink {
  pthread_mutex_t lock;
  pthread_cond_t filled;
  pthread_t writer;
  struct buf waiting;
  uint64_t dropped;
  int fd;
  bool owned, closing, reopen;
  char *path;                         /* NULL for standard streams */
};

static void write_all(int fd, struct span s) {
  while (s.n) {
    ssize_t n = write(fd, s.p, s.n);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;                            /* a log that cannot be written is not worth dying for */
    s = span_from(s, (size_t)n);
  }
}

static void reopen(struct log_sink *s) {
  int fd = open(s->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (fd < 0) {
    log_warn("access log %s: %s", s->path, strerror(errno));
    return;
  }
  close(s->fd);
  s->fd = fd;
}

void log_sink_reopen(struct log_sink *s) {
  if (!s || !s->path) return;
  pthread_mutex_lock(&s->lock);
  s->reopen = true;
  pthread_mutex_unlock(&s->lock);
}

static void *writer_run(void *arg) {
  struct log_sink *s = arg;
  struct buf mine = { 0 };
  pthread_mutex_lock(&s->lock);
  for (;;) {
    while (!buf_size(&s->waiting) && !s->closing) pthread_cond_wait(&s->filled, &s->lock);
    if (!buf_size(&s->waiting)) break;
    struct buf full = s->waiting;
    s->waiting = mine;
    mine = full;
    bool again = s->reopen;
    s->reopen = false;
    pthread_mutex_unlock(&s->lock);
    if (again) reopen(s);
    write_all(s->fd, buf_span(&mine));
    buf_clear(&mine);
    pthread_mutex_lock(&s->lock);
  }
  pthread_mutex_unlock(&s->lock);
  buf_free(&mine);
  return NULL;
}

struct log_sink *log_sink_open(struct span target, const char **why) {
  bool out = span_eq(target, SPAN("stdout")), err = span_eq(target, SPAN("stderr"));
  int fd = out ? STDOUT_FILENO : STDERR_FILENO;
  char *path = NULL;
  if (!out && !err) {
    path = mem_cstr(target);
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd < 0) {
      *why = strerror(errno);
      mem_free(path);
      return NULL;
    }
  }
  struct log_sink *s = mem_zero(sizeof *s);
  s->fd = fd;
  s->owned = !out && !err;
  s->path = path;
  pthread_mutex_init(&s->lock, NULL);
  pthread_cond_init(&s->filled, NULL);
  require(pthread_create(&s->writer, NULL, writer_run, s) == 0);
  return s;
}

void log_sink_line(struct log_sink *s, struct span line) {
  pthread_mutex_lock(&s->lock);
  bool was_empty = !buf_size(&s->waiting);
  if (buf_size(&s->waiting) + line.n > MOST_WAITING) s->dropped++;
  else buf_add(&s->waiting, line), buf_byte(&s->waiting, '\n');
  if (was_empty) pthread_cond_signal(&s->filled);
  pthread_mutex_unlock(&s->lock);
}

uint64_t log_sink_dropped(const struct log_sink *s) { return __atomic_load_n(&s->dropped, __ATOMIC_RELAXED); }

void log_sink_close(struct log_sink *s) {
  if (!s) return;
  pthread_mutex_lock(&s->lock);
  s->closing = true;
  pthread_cond_signal(&s->filled);
  pthread_mutex_unlock(&s->lock);
  pthread_join(s->writer, NULL);
  if (s->owned) close(s->fd);
  buf_free(&s->waiting);
  mem_free(s->path);
  mem_free(s);
}
