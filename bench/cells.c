/* How many reservations a second the cells take: reserve and settle, over 1 and 6 scopes, by one and by two threads.
   bench/cells [seconds]; the file lies in $TMPDIR, or in /dev/shm as it would in a runtime directory. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "weir/cells.h"

enum { MOST = 6 };
struct run { struct cells *c; size_t scopes; int number; bool apart; double seconds; uint64_t done, busy; };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A key's day and session, a team's month, everyone's day, tokens a minute, requests at once: what a busy gateway has. */
static void scopes_make(struct cells_scope s[MOST], const char *value) {
  static const struct { const char *name; enum cell_kind kind; struct cell_window window; } list[MOST] = {
    { "key-day", CELL_MONEY, { WINDOW_DAY, 0, NULL } },       { "tokens", CELL_TOKENS, { WINDOW_ROLLING, 60, NULL } },
    { "team-month", CELL_MONEY, { WINDOW_MONTH, 0, NULL } },  { "session", CELL_MONEY, { WINDOW_SESSION, 0, NULL } },
    { "all-day", CELL_MONEY, { WINDOW_DAY, 0, NULL } },       { "at-once", CELL_CONCURRENT, { WINDOW_TOTAL, 0, NULL } },
  };
  for (int i = 0; i < MOST; i++)
    s[i] = (struct cells_scope){ { span_cstr(list[i].name), span_cstr(value), list[i].kind, list[i].window, NULL }, INT64_MAX / 2, false };
}

static void *run(void *arg) {
  struct run *r = arg;
  struct cells_scope s[MOST];
  struct cells_amount a = { .of = { 1000000, 3000, 1, 1 } };
  struct cells_held h;
  int64_t t = 1700000000000;
  char value[16];
  snprintf(value, sizeof value, "key %d", r->apart ? r->number : 0);
  scopes_make(s, value);
  for (double end = now() + r->seconds; now() < end;) {
    for (int i = 0; i < 200; i++) {
      if (cells_reserve(r->c, s, r->scopes, &a, SPAN("0123456789abcdef0123456789abcdef"), t, &h) == CELLS_OK) {
        cells_settle(r->c, h.slot, &a);
        r->done++;
      } else {
        r->busy++;
      }
    }
    t += 1;
  }
  return NULL;
}

static void line(struct cells *c, size_t scopes, int threads, double seconds) {
  struct run r[2] = { { c, scopes, 0, false, seconds, 0, 0 }, { c, scopes, 1, false, seconds, 0, 0 } };
  pthread_t t[2];
  for (int i = 0; i < threads; i++)
    if (pthread_create(&t[i], NULL, run, &r[i])) exit(1);
  for (int i = 0; i < threads; i++) pthread_join(t[i], NULL);
  double each = (double)(r[0].done + r[1].done) / seconds;
  printf("%zu scope%s  %d thread%s  %9.0f reservations/s  %6.0f ns each  %lu busy\n", scopes, scopes > 1 ? "s" : " ", threads, threads > 1 ? "s" : " ",
         each, 1e9 / each, r[0].busy + r[1].busy);
}

int main(int argc, char **argv) {
  struct cells_opened o;
  const char *why, *folder = getenv("TMPDIR");
  char path[512];
  double seconds = argc > 1 ? atof(argv[1]) : 1;
  snprintf(path, sizeof path, "%s/weir-bench-cells.%d", folder ? folder : "/dev/shm", (int)getpid());
  struct cells *c = cells_open(path, &o, &why);
  if (!c) return fprintf(stderr, "%s\n", why), 1;
  for (int threads = 1; threads <= 2; threads++) {
    line(c, 1, threads, seconds);
    line(c, MOST, threads, seconds);
  }
  cells_close(c);
  return unlink(path) != 0;
}
