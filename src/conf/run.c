/* Runs weir.lua and what it includes. The words are no globals but answers of the environment's __index,
   so that an assignment to one of them, or to any global, is seen and refused. */
#include "load.h"
#include <errno.h>
#include <sys/stat.h>

struct word {
  const char *name;
  lua_CFunction run;                  /* NULL: not in this version */
  bool keys;                          /* runs for keys_only too: what keys need, and plain arithmetic */
};
static const struct word words[] = {
  { "listen", word_listen, true }, { "admin", word_admin, false }, { "provider", word_provider, false },
  { "endpoint", word_endpoint, false }, { "default_provider", word_default_provider, false },
  { "key", word_key, true }, { "model", word_model, false }, { "use", word_use, false },
  { "include", word_include, true }, { "defaults", word_defaults, false }, { "secret", word_secret, false },
  { "workers", word_workers, false }, { "memory", word_memory, false }, { "lua_memory", word_lua_memory, false },
  { "state", word_state, false }, { "runtime", word_runtime, true }, { "trusted_proxies", word_trusted_proxies, false },
  { "log", word_log, false }, { "ledger", word_ledger, false }, { "cors", word_cors, false }, { "env", word_env, false }, { "credential", word_credential, false },
  { "file", word_file, false }, { "command", word_command, false }, { "minutes", word_minutes, true },
  { "hours", word_hours, true }, { "days", word_days, true }, { "kb", word_kb, true }, { "mb", word_mb, true },
  { "usd", word_usd, true }, { "prices", word_prices, false },
};
enum { WORDS = sizeof words / sizeof *words, LATER_WORDS = 0 };       /* those stand last */

static const char environment_key, sink_key, handle_name[] = "weir.word", sink_name[] = "weir.sink";

struct load *load_of(lua_State *L) { return vm_owner(L); }

struct load *word_enter(lua_State *L) {
  struct load *l = load_of(L);
  lua_Debug ar;
  l->lua = L;                                      /* words run on a coroutine of the vm */
  l->at = (struct place){ l->frame ? l->frame->source : NULL, 0 };
  l->within = (struct span){ 0 };
  for (int level = 1; lua_getstack(L, level, &ar) && !l->at.line; level++)
    if (lua_getinfo(L, "l", &ar) && ar.currentline > 0) l->at.line = (unsigned)ar.currentline;
  return l;
}

bool word_once(struct load *l, enum once which, const char *word) {
  struct place *first = &l->once[which];
  if (first->source) return problem_add(l, "'%s' stands twice; the first is at %s", word, place_text(l, *first)), false;
  *first = l->at;
  return true;
}

/* ---- sinks */
int sink_push(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &sink_key);
  return 1;
}

bool sink_is(lua_State *L, int index) { return luaL_testudata(L, index, sink_name) != NULL; }

static void sink_make(lua_State *L) {
  static const char *const events[] = { "__call", "__index", "__concat", "__add", "__sub", "__mul", "__div", "__unm" };
  lua_newuserdatauv(L, 0, 0);
  luaL_newmetatable(L, sink_name);
  for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
    lua_pushcfunction(L, sink_push);
    lua_setfield(L, -2, events[i]);
  }
  lua_pushboolean(L, false);
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &sink_key);
}

/* ---- handles: what `provider "name"` gives */
static int handle_call(lua_State *L) {
  struct handle *h = luaL_checkudata(L, 1, handle_name);
  struct load *l = word_enter(L);
  l->at = h->at;
  l->within = h->within;
  if (sink_is(L, 2)) return sink_push(L);
  if (h->amended || !lua_istable(L, 2)) {
    if (h->amended) problem_add(l, "it has two tables");
    else problem_add(l, "a table { … } must follow, not %s", kind_of(L, 2));
    return sink_push(L);
  }
  h->amended = true;
  h->amend(l, h->index);
  lua_settop(L, 1);
  return 1;
}

int handle_push(lua_State *L, void (*amend)(struct load *l, size_t index), size_t index) {
  struct load *l = load_of(L);
  struct handle *h = lua_newuserdatauv(L, sizeof *h, 0);
  *h = (struct handle){ amend, index, l->at, l->within, false };
  if (luaL_newmetatable(L, handle_name)) {
    lua_pushcfunction(L, handle_call);
    lua_setfield(L, -2, "__call");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
  }
  lua_setmetatable(L, -2);
  return 1;
}

/* ---- the environment */
static int environment_index(lua_State *L) {
  const char *names[WORDS];
  if (lua_type(L, 2) != LUA_TSTRING) return 0;
  size_t n;
  const char *p = lua_tolstring(L, 2, &n);
  bool keys_only = load_of(L)->keys_only;
  for (size_t i = 0; i < WORDS; i++) {
    names[i] = words[i].name;
    if (!span_eq(span_of(p, n), span_cstr(names[i]))) continue;
    if (keys_only && !words[i].keys) return sink_push(L);
    if (words[i].run) return lua_pushcfunction(L, words[i].run), 1;
    problem_add(word_enter(L), "'%s' is not in this version", names[i]);
    return sink_push(L);
  }
  lua_pushglobaltable(L);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, -2) != LUA_TNIL) return 1;
  if (!keys_only) problem_unknown(word_enter(L), "word", span_of(p, n), names, WORDS - LATER_WORDS);
  return sink_push(L);
}

static int environment_assign(lua_State *L) {
  struct load *l = word_enter(L);
  const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";
  for (size_t i = 0; i < WORDS; i++)
    if (!strcmp(words[i].name, name)) return problem_add(l, "'%s' takes its value without '='", name), 0;
  const char *names[WORDS];
  for (size_t i = 0; i < WORDS; i++) names[i] = words[i].name;
  const char *nearest = span_nearest(span_cstr(name), names, WORDS);
  if (nearest) problem_add(l, "unknown word '%s'; did you mean '%s', without '='?", name, nearest);
  else problem_add(l, "'%s' is assigned as a global; write 'local %s'", name, name);
  return 0;
}

static void environment_make(lua_State *L) {
  lua_newtable(L);
  lua_newtable(L);
  lua_pushcfunction(L, environment_index);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, environment_assign);
  lua_setfield(L, -2, "__newindex");
  lua_pushboolean(L, false);
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &environment_key);
}

/* ---- files */
/* The file that a message starts with; Lua shortens long names at their start. */
static const struct source *source_named(const struct load *l, struct span name, const struct source *other) {
  bool cut = span_starts(name, SPAN("..."));
  if (cut) name = span_from(name, 3);
  for (const struct source *s = l->conf->sources.list; s; s = s->next)
    if (cut ? span_ends(s->path, name) : span_eq(s->path, name)) return s;
  return other;
}

/* The error on top of the stack: "name:12: what", with more lines below that are a traceback. */
static void lua_problem(struct load *l, const struct source *source) {
  lua_State *L = l->lua;
  struct span text = SPAN("an error that is no text was raised");
  uint64_t line = 0;
  if (lua_type(L, -1) == LUA_TSTRING) text.p = lua_tolstring(L, -1, &text.n);
  span_cut(text, '\n', &text);
  for (size_t i = 0; i < text.n && !line; i++) {
    size_t digits = i + 1;
    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9') digits++;
    if (text.p[i] != ':' || digits >= text.n || text.p[digits] != ':') continue;
    if (!span_u64(span_of(text.p + i + 1, digits - i - 1), &line) || !line) continue;
    source = source_named(l, span_of(text.p, i), source);
    text = span_trim(span_from(text, digits + 1));
    break;
  }
  l->within = (struct span){ 0 };
  l->at = (struct place){ source, (unsigned)line };
  problem_add(l, "%.*s", SPAN_FMT(text));
}

/* results: 0, or 1 for what a file returns, left for `take`. */
static void file_run_for(struct load *l, const struct source *source, int results, void (*take)(struct load *l)) {
  lua_State *L = l->lua;
  struct frame frame = { l->frame, source, 0, 0 };
  struct stat st;
  int top = lua_gettop(L);
  if (!stat(source->path.p, &st)) frame.device = st.st_dev, frame.inode = st.st_ino;
  l->frame = &frame;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &environment_key);
  bool well = vm_load(L, source->bytes, source->path.p, top + 1);
  if (well && !frame.outer) well = vm_call(L, 0, results) == VM_OK;
  else if (well) well = lua_pcall(L, 0, results, 0) == LUA_OK;
  l->frame = frame.outer;
  l->lua = L;
  if (!well) lua_problem(l, source);
  else if (take) take(l);
  lua_settop(L, top);
}

static void file_run(struct load *l, const struct source *source) { file_run_for(l, source, 0, NULL); }

static bool runs_already(const struct load *l, struct span path) {
  struct stat st;
  if (stat(path.p, &st)) return false;
  for (const struct frame *f = l->frame; f; f = f->outer)
    if (f->device == st.st_dev && f->inode == st.st_ino) return true;
  return false;
}

static size_t depth(const struct load *l) {
  size_t n = 0;
  for (const struct frame *f = l->frame; f; f = f->outer) n++;
  return n;
}

static void include_one(struct load *l, struct span path) {
  const char *why;
  struct place at = l->at;
  if (runs_already(l, path))
    return problem_add(l, "include \"%.*s\" leads back to a file that is being read", SPAN_FMT(path));
  if (depth(l) > MOST_INCLUDES) return problem_add(l, "includes are nested deeper than %d", MOST_INCLUDES);
  watch_add(l->conf, path, false);
  const struct source *source = sources_read_at(&l->conf->sources, path, &why);
  if (!source) return problem_add(l, "include \"%.*s\": %s", SPAN_FMT(path), why);
  file_run(l, source);
  l->at = at;
  l->within = (struct span){ 0 };
}

/* The files in keys/ beside weir.lua, but for what it has included by itself. */
static void include_keys(struct load *l, const struct source *main) {
  size_t count;
  const char *why;
  struct conf *c = l->conf;
  struct span pattern = path_join(&l->scratch, c->sources.folder, SPAN("keys/*.lua"));
  watch_add(c, pattern, true);
  struct span *paths = glob_sorted(&l->scratch, pattern, &count, &why);
  l->at = (struct place){ main, 0 };
  l->within = (struct span){ 0 };
  if (why) problem_add(l, "the client keys in %.*s: %s", SPAN_FMT(path_folder(pattern)), why);
  for (size_t i = 0; i < count; i++) {
    bool read = false;
    for (const struct source *s = c->sources.list; s; s = s->next) read |= span_eq(s->path, paths[i]);
    l->at = (struct place){ main, 0 };
    if (!read) include_one(l, paths[i]);
  }
}

int word_include(lua_State *L) {
  struct load *l = word_enter(L);
  struct span given;
  size_t count;
  const char *why = NULL;
  if (!argument_name(l, "include", "include \"teams/*.lua\"", &given)) return sink_push(L);
  struct span pattern = path_join(&l->scratch, path_folder(l->at.source->path), given);
  bool wild = strpbrk(pattern.p, "*?[") != NULL;
  if (wild) watch_add(l->conf, pattern, true);
  struct span *paths = wild ? glob_sorted(&l->scratch, pattern, &count, &why) : (count = 1, &pattern);
  if (why) problem_add(l, "include \"%.*s\": %s", SPAN_FMT(pattern), why);
  for (size_t i = 0; i < count; i++) include_one(l, paths[i]);
  return 0;
}

static void vm_begin(struct load *l) {
  struct vm_limits limits = { .memory = LOAD_MEMORY, .call_ms = LOAD_MS };
  vm_thread_enter();
  l->vm = vm_new(&limits);
  l->lua = vm_state(l->vm);
  vm_set_owner(l->vm, l);
  sink_make(l->lua);
  environment_make(l->lua);
}

static void vm_end(struct load *l) {
  vm_free(l->vm);
  l->vm = NULL;
  l->lua = NULL;
}

void load_run(struct load *l, const struct source *source) {
  vm_begin(l);
  file_run(l, source);
  include_keys(l, source);
  vm_end(l);
}

void load_table(struct load *l, const struct source *source, void (*take)(struct load *l)) {
  vm_begin(l);
  file_run_for(l, source, 1, take);
  vm_end(l);
}
