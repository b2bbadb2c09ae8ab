#include "cmd.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "../gateway/gateway.h"

/* The runtime directory is the configuration's word. The file is not loaded for it: that may run commands, and a file that is
   broken now must still reach the running weir, so that its answer says what is wrong. A line `runtime "…"` is looked for. */
static char *runtime_of_text(const char *file) {
  char line[1024], folder[512], *found = NULL;
  FILE *f = fopen(file, "r");
  while (f && !found && fgets(line, sizeof line, f))
    if (sscanf(line, " runtime ( \"%500[^\"]\"", folder) == 1 || sscanf(line, " runtime \"%500[^\"]\"", folder) == 1) found = mem_cstr(span_cstr(folder));
  if (f) fclose(f);
  return found;
}

/* One word to the running weir, and what it answers. */
static int tell(struct args *a, const char *word) {
  const char *file = args_value(a, "--config"), *given = args_value(a, "--runtime");
  if (!args_done(a, word)) return 2;
  const char *named = getenv("WEIR_CONFIG");
  const char *config = file ? file : named ? named : !access("weir.lua", R_OK) ? "weir.lua" : "/etc/weir/weir.lua";
  char *folder = given ? mem_cstr(span_cstr(given)) : runtime_of_text(config);
  struct arena scratch = { 0 };
  struct buf out = { 0 };
  if (folder && !given) {
    char *absolute = mem_cstr(conf_folder_path(&scratch, config, span_cstr(folder)));
    mem_free(folder);
    folder = absolute;
  }
  if (!folder) folder = mem_cstr(conf_default_runtime(&scratch));
  int code = control_ask(folder, word, &out);
  fprintf(code ? stderr : stdout, "%.*s", SPAN_FMT(buf_span(&out)));
  buf_free(&out);
  mem_free(folder);
  arena_end(&scratch);
  return code > 2 ? 2 : code;
}

int cmd_reload(struct args *a) { return tell(a, "reload"); }
int cmd_upgrade(struct args *a) { return tell(a, "upgrade"); }
