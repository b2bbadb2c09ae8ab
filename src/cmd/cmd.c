/* cmd.c: which command, and its words. */
#include "cmd.h"
#include <stdio.h>
#include "weir/mem.h"

static const struct { const char *name, *what; int (*run)(struct args *a); } commands[] = {
  { "run", "serve: weir run [--config FILE] [--watch] [--loop auto | uring | epoll]", cmd_run },
  { "check", "check configuration and policies: weir check [--config FILE] [--explain MODEL [--request FILE] | --system --providers]", cmd_check },
  { "test", "run policy tests: weir test [--verbose] [FILE or FOLDER …]", cmd_test },
  { "reload", "make a running weir load its files again: weir reload [--config FILE]", cmd_reload },
  { "upgrade", "make a running weir start the program again and hand over to it: weir upgrade [--config FILE]; see doc/operations.md", cmd_upgrade },
  { "compare", "the same calls direct and through weir: weir compare --model MODEL [--through URL] [--request FILE]… [--stream]; see doc/operations.md", cmd_compare },
  { "key", "client keys: weir key mint | list | revoke | rotate; weir key help says more", cmd_key },
  { "report", "spend and quality from the ledger: weir report [--by model,team,tag:NAME,day,…] [--since 7d] [--until DATE] [--json | --csv]", cmd_report },
  { "why", "the story of a request: weir why ID", cmd_why },
  { "version", "print version, event loop and libraries", cmd_version },
};
static const char *const later[] = { "backtest", "top" };

const char *args_value(struct args *a, const char *name) {
  size_t n = strlen(name);
  for (int i = 0; i < a->count; i++) {
    const char *w = a->words[i], *value = NULL;
    int taken = 0;
    if (!strcmp(w, name) && i + 1 < a->count) value = a->words[i + 1], taken = 2;
    else if (!strncmp(w, name, n) && w[n] == '=') value = w + n + 1, taken = 1;
    if (!taken) continue;
    for (int k = i; k + taken < a->count; k++) a->words[k] = a->words[k + taken];
    a->count -= taken;
    return value;
  }
  return NULL;
}

bool args_flag(struct args *a, const char *name) {
  for (int i = 0; i < a->count; i++) {
    if (strcmp(a->words[i], name)) continue;
    for (int k = i; k + 1 < a->count; k++) a->words[k] = a->words[k + 1];
    a->count--;
    return true;
  }
  return false;
}

bool file_read(const char *path, struct buf *out) {
  FILE *f = fopen(path, "r");
  if (!f) return false;
  for (size_t n; (n = fread(buf_reserve(out, 4096), 1, 4096, f)) > 0;) buf_commit(out, n);
  fclose(f);
  return true;
}

bool args_done(const struct args *a, const char *command) {
  if (a->count) fprintf(stderr, "weir %s: '%s' is not understood; see weir help\n", command, a->words[0]);
  return !a->count;
}

static int help(FILE *to) {
  fputs("weir: a gateway for large language models\n\n", to);
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) fprintf(to, "  weir %-8s %s\n", commands[i].name, commands[i].what);
  fputs("\nConfiguration: --config FILE, $WEIR_CONFIG, ./weir.lua, /etc/weir/weir.lua; with none of them the providers\n"
        "whose usual key variables (OPENAI_API_KEY, …) are set.\n", to);
  return to == stdout ? 0 : 2;
}

int cmd_main(int argc, char **argv) {
  if (argc < 2) return help(stderr);
  struct span name = span_cstr(argv[1]);
  if (span_eq(name, SPAN("help")) || span_eq(name, SPAN("--help")) || span_eq(name, SPAN("-h"))) return help(stdout);
  if (span_eq(name, SPAN("--version"))) name = SPAN("version");
  const char *known[sizeof commands / sizeof *commands];
  struct args a = { argc - 2, argv + 2 };
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
    known[i] = commands[i].name;
    if (span_eq(name, span_cstr(commands[i].name))) return commands[i].run(&a);
  }
  for (size_t i = 0; i < sizeof later / sizeof *later; i++)
    if (span_eq(name, span_cstr(later[i]))) return fprintf(stderr, "weir %s is not in this version\n", later[i]), 2;
  const char *near = span_nearest(name, known, sizeof known / sizeof *known);
  fprintf(stderr, "weir: unknown command '%s'%s%s%s\n", argv[1], near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
  return 2;
}
