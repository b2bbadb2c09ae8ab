/* log.h: one line per message to stderr; checks that report and checks that end the process.
   A secret is never an argument of any of these. */
#ifndef WEIR_LOG_H
#define WEIR_LOG_H

#include "weir/span.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };
void log_set_level(enum log_level level);
bool log_level_named(struct span name, enum log_level *out);
void log_mute_thread(bool muted);     /* for simulations run beside the real thing */
/* This thread's messages go to tap as well, whatever level is wanted (from info on) and muted or not. NULL: no more. */
void log_tap_thread(void (*tap)(void *arg, enum log_level level, struct span text), void *arg);
/* cold, as the failures below: what leads here is laid out apart from what runs for every request */
void log_line(enum log_level level, const char *fmt, ...) __attribute__((cold, format(printf, 2, 3)));
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

/* check: reports a broken assumption once per place and goes on; gives the truth of its condition. */
#define check(cond) \
  ({ bool holds_ = (cond); if (__builtin_expect(!holds_, 0)) { static bool told_; check_failed(&told_, #cond, __FILE__, __LINE__); } holds_; })
/* require: without it nothing may go on. */
#define require(cond) do { if (__builtin_expect(!(cond), 0)) require_failed(#cond, __FILE__, __LINE__); } while (0)
void check_failed(bool *told, const char *cond, const char *file, int line) __attribute__((cold));
_Noreturn void require_failed(const char *cond, const char *file, int line) __attribute__((cold));

/* Line sink for the access log: lines are queued and written by a thread of the log's own, so a
   full pipe never holds a worker. When 4 MB wait, further lines are dropped and counted. */
struct log_sink;
struct log_sink *log_sink_open(struct span target, const char **why);   /* "stdout", "stderr" or a path */
void log_sink_line(struct log_sink *s, struct span line);               /* adds the line end */
/* Opens the path again before the next line, after a log rotation. NULL and standard streams are let be. */
void log_sink_reopen(struct log_sink *s);
uint64_t log_sink_dropped(const struct log_sink *s);
void log_sink_close(struct log_sink *s);                                /* writes what waits */

#endif
