/* What a record of the ledger costs: the worker's part (writing it and putting it into the ring) and the store's thread, in ns of
   each thread's own processor time, and what it takes on the disk. bench/ledger [seconds]; the folder lies in $TMPDIR, or in /tmp. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "weir/record.h"

static double clock_of(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
  (void)st, (void)kind, (void)at;
  return remove(path);
}

/* As of an ordinary request: whole answer, a key with a team, tokens and a price. */
static struct span record_of(char room[CELLS_RECORD], int64_t sequence, unsigned i) {
  static const struct { enum ledger_column c; const char *text; } texts[] = {
    { L_IP, "127.0.0.1" }, { L_KEY, "search-team" }, { L_TEAM, "search" }, { L_METHOD, "POST" }, { L_PATH, "/v1/chat/completions" }, { L_MODEL, "smart" },
    { L_ALIAS, "smart" }, { L_END, "done" }, { L_TARGET, "anthropic/claude-sonnet-4-5" }, { L_SERVED, "claude-sonnet-4-5-20250929" },
    { L_DIALECT, "chat" } };
  struct record r;
  char id[40];
  for (int k = 0; k < 36; k++) id[k] = "0123456789abcdef"[(sequence >> k ^ i) & 15];
  record_begin(&r, room, CELLS_RECORD, sequence);
  record_text(&r, L_ID, span_of(id, 36));
  for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) record_text(&r, texts[k].c, span_cstr(texts[k].text));
  const int64_t numbers[][2] = { { L_STATUS, 200 }, { L_ATTEMPTS, 1 }, { L_MS, 1234 }, { L_OVERHEAD_US, 40 }, { L_BYTES, 900 },
                                 { L_INPUT, 240 }, { L_OUTPUT, 128 }, { L_REPORTED, 1 }, { L_COST, 2640000000 } };
  for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) record_number(&r, (enum ledger_column)numbers[k][0], numbers[k][1]);
  record_prompt(&r, 0x9e3779b97f4a7c15u);
  record_conf(&r, 3, SPAN("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"));
  return record_end(&r);
}

int main(int argc, char **argv) {
  struct cells_opened o;
  struct ledger_figures f = { 0 };
  const char *why = "", *tmp = getenv("TMPDIR");
  char folder[300], path[320], room[CELLS_RECORD];
  double seconds = argc > 1 ? atof(argv[1]) : 2, rate = argc > 2 ? atof(argv[2]) : 20000;
  snprintf(folder, sizeof folder, "%s/weir-bench-ledger.%d", tmp ? tmp : "/tmp", (int)getpid());
  snprintf(path, sizeof path, "%s/cells", folder);
  if (mkdir(folder, 0700)) return perror(folder), 1;
  struct cells *c = cells_open(path, &o, &why);
  struct ledger *l = c ? ledger_open(&(struct ledger_options){ .cells = c, .dir = folder, .limits = { .max_size = 1 << 30 } }, &why) : NULL;
  if (!l) return fprintf(stderr, "%s\n", why), 1;
  double began = clock_of(CLOCK_MONOTONIC), all = clock_of(CLOCK_PROCESS_CPUTIME_ID), own = clock_of(CLOCK_THREAD_CPUTIME_ID), paused = 0;
  unsigned n = 0, lost = 0;
  for (double now = began; now < began + seconds; now = clock_of(CLOCK_MONOTONIC)) {
    for (; n < (now - began) * rate; n++) {
      int64_t sequence = (int64_t)(1.7e12 + (now - began) * 1000) * (1 << LEDGER_SEQUENCE_BITS) + n;
      lost += cells_append(c, record_of(room, sequence, n)) != CELLS_OK;
      ledger_appended(l);
    }
    double before = clock_of(CLOCK_THREAD_CPUTIME_ID);
    usleep(1000);
    paused += clock_of(CLOCK_THREAD_CPUTIME_ID) - before;
  }
  own = clock_of(CLOCK_THREAD_CPUTIME_ID) - own - paused;
  for (int i = 0; i < 100 && f.records + lost < n; i++) usleep(20000), ledger_figures(l, &f);
  all = clock_of(CLOCK_PROCESS_CPUTIME_ID) - all - own - paused;
  ledger_close(l);
  struct stat st;
  snprintf(path, sizeof path, "%s/" LEDGER_FILE, folder);
  stat(path, &st);
  printf("%u records, %u lost; writer %.0f ns each, store's thread %.0f ns each, %.0f bytes on disk each\n", n, lost, own / n * 1e9, all / n * 1e9, (double)st.st_size / n);
  cells_close(c);
  return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
