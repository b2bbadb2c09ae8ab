#include "cmd.h"
#include <stdio.h>
#include <stdlib.h>
#include "../gateway/gateway.h"

/* The runtime directory is the configuration's word, but a file that is broken now must still reach the running weir, so that its
   answer says what is wrong: then a line `runtime "…"` is looked for in the text. */
static char *runtime_of_text(const char *file) {
  char line[1024], folder[512], *found = NULL;
  FILE *f = fopen(file ? file : "weir.lua", "r");
  while (f && !found && fgets(line, sizeof line, f))
    if (sscanf(line, " runtime ( \"%500[^\"]\"", folder) == 1 || sscanf(line, " runtime \"%500[^\"]\"", folder) == 1) found = mem_cstr(span_cstr(folder));
  if (f) fclose(f);
  return found;
}

static char *runtime_by_default(void) {
  const char *set = getenv("RUNTIME_DIRECTORY"), *user = getenv("XDG_RUNTIME_DIR");
  struct buf b = { 0 };
  if (set) buf_printf(&b, "%s", set);
  else buf_printf(&b, "%s/weir", user ? user : "/run");
  char *folder = mem_cstr(buf_span(&b));
  buf_free(&b);
  return folder;
}

int cmd_reload(struct args *a) {
  const char *file = args_value(a, "--config"), *folder = args_value(a, "--runtime");
  if (!args_done(a, "reload")) return 2;
  struct buf errors = { 0 }, warnings = { 0 }, out = { 0 };
  struct conf *c = NULL;
  log_set_level(LOG_OFF);
  if (!folder) {
    c = conf_load(file, &errors, &warnings);
    char *named = c ? mem_cstr(c->runtime_dir) : runtime_of_text(file ? file : getenv("WEIR_CONFIG"));
    folder = named ? named : runtime_by_default();
  }
  int code = control_ask(folder, "reload", &out);
  struct span text = buf_span(&out);
  fprintf(code ? stderr : stdout, "%.*s", SPAN_FMT(text));
  if (code == 2 && !c && buf_size(&errors)) {
    text = buf_span(&errors);
    fprintf(stderr, "%.*s", SPAN_FMT(text));
  }
  if (c) conf_drop(c);
  return code;
}
