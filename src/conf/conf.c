/* A configuration from its start to its end, and what is asked of it. */
#include "load.h"
#include <stdlib.h>
#include <unistd.h>

/* The file to load; NULL: none is there. Names that are looked for on the way are watched, when there is a c. */
static const char *file_found(struct conf *c, const char *given) {
  static const char *const usual[] = { "./weir.lua", "/etc/weir/weir.lua" };
  const char *variable = getenv("WEIR_CONFIG");
  if (given) return given;
  if (variable && *variable) return variable;
  for (size_t i = 0; i < 2; i++) {
    if (c) watch_add(c, span_cstr(usual[i]), false);
    if (!access(usual[i], F_OK)) return usual[i];
  }
  return NULL;
}

const char *conf_find(const char *given) { return file_found(NULL, given); }

static void file_load(struct load *l, struct span file) {
  struct conf *c = l->conf;
  const char *why;
  if (span_starts(file, SPAN("./"))) file = span_from(file, 2);
  c->file = arena_copy(&c->arena, file);
  c->sources.folder = arena_copy(&c->sources.arena, path_folder(c->file));
  watch_add(c, c->file, false);
  const struct source *source = sources_read_at(&c->sources, c->file, &why);
  if (source) load_run(l, source);
  else problem_add(l, "%.*s: %s", SPAN_FMT(c->file), why);
}

static struct conf *load(struct load *l, const char *given, struct buf *errors, struct buf *warnings) {
  struct conf *c = l->conf = mem_zero(sizeof *c);
  c->refs = 1;
  c->log_level = LOG_INFO;
  c->ledger = (struct ledger_conf){ LEDGER_AUTO, 90 * 86400.0, (uint64_t)1 << 30, { .keep = 7 * 86400.0, .size = 16 << 10 } };
  const char *file = file_found(c, given);
  if (file) file_load(l, span_cstr(file));
  else if (l->keys_only) problem_add(l, "there is no weir.lua, here or in /etc/weir: --config FILE says where it is");
  if (l->keys_only) conf_finish_keys(l);
  else if (!file || c->sources.list) conf_finish(l);
  problems_write(l, errors, warnings);
  bool failed = l->error_count > 0;
  arena_end(&l->scratch);
  if (failed) conf_drop(c), c = NULL;
  return c;
}

struct conf *conf_load(const char *file, struct buf *errors, struct buf *warnings) {
  struct load l = { 0 };
  return load(&l, file, errors, warnings);
}

struct conf *conf_reload(const char *file, const struct conf *running, struct buf *errors, struct buf *warnings) {
  struct load l = { .guarded = running->keys.count > 0 };
  return load(&l, file, errors, warnings);
}

struct conf *conf_load_story(const char *file, struct buf *errors) {
  struct load l = { .story = true };
  struct buf warnings = { 0 };
  struct conf *c = load(&l, file, errors, &warnings);
  buf_free(&warnings);
  return c;
}

struct conf *conf_load_keys(const char *file, struct buf *errors) {
  struct load l = { .keys_only = true };
  return load(&l, file, errors, errors);
}

struct conf *conf_ref(struct conf *c) {
  __atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
  return c;
}

void conf_drop(struct conf *c) {
  if (!c || __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL)) return;
  price_table_free(&c->prices.shipped);
  price_table_free(&c->prices.file);
  arena_end(&c->arena);
  arena_end(&c->sources.arena);
  mem_free(c);
}

struct provider *conf_provider(const struct conf *c, struct span name) {
  for (size_t i = 0; i < c->provider_count; i++)
    if (span_eq(c->providers[i].name, name)) return &c->providers[i];
  return NULL;
}

struct alias *conf_alias(const struct conf *c, struct span name) {
  for (size_t i = 0; i < c->alias_count; i++)
    if (span_eq(c->aliases[i].name, name)) return &c->aliases[i];
  return NULL;
}

double conf_setting(const struct conf *c, const struct alias *a, const struct provider *p, enum setting s) {
  if (a && a->settings.given & 1u << s) return a->settings.value[s];
  if (p && p->settings.given & 1u << s) return p->settings.value[s];
  return c->defaults.value[s];
}

bool conf_asks(const struct conf *c, const struct listener *bound) {
  bool open = bound->open;
  for (size_t i = 0; i < c->listener_count; i++)
    if (span_eq(c->listeners[i].spec, bound->spec)) open = c->listeners[i].open;
  return !open && (c->keys.count || !bound->local);
}

static bool listeners_same(const struct conf *a, const struct conf *b) {
  if (a->listener_count != b->listener_count) return false;
  for (size_t i = 0; i < a->listener_count; i++)
    if (!span_eq(a->listeners[i].spec, b->listeners[i].spec)) return false;
  return true;
}

bool conf_restart_needed(const struct conf *running, const struct conf *next, struct buf *out) {
  const struct { const char *word; bool same; } words[] = {
    { "listen", listeners_same(running, next) },
    { "admin", span_eq(running->admin.spec, next->admin.spec) },
    { "workers", running->workers == next->workers },
    { "state", span_eq(running->state_dir, next->state_dir) },
    { "ledger", (running->ledger.mode == LEDGER_OFF) == (next->ledger.mode == LEDGER_OFF) },
    { "runtime", span_eq(running->runtime_dir, next->runtime_dir) },
    { "log.access", span_eq(running->access_log, next->access_log) },
  };
  bool needed = false;
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    if (words[i].same) continue;
    buf_printf(out, "%s%s", needed ? ", " : "", words[i].word);
    needed = true;
  }
  return needed;
}
