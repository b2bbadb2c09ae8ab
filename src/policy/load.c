#include "room.h"

/* ---- small helpers of the whole folder */

struct buf *scratch_begin(struct policy_vm *pv) {
  if (pv->scratch.cap > 1 << 20) buf_free(&pv->scratch); /* one large body does not hold its room for ever */
  buf_clear(&pv->scratch);
  return &pv->scratch;
}

void push_span(lua_State *L, struct span s) { lua_pushlstring(L, s.n ? s.p : "", s.n); }

void push_span_or_nil(lua_State *L, struct span s) {
  if (s.n) lua_pushlstring(L, s.p, s.n);
  else lua_pushnil(L);
}

void push_text(lua_State *L, int at) {
  at = lua_absindex(L, at);
  lua_getglobal(L, "tostring");
  lua_pushvalue(L, at);
  lua_call(L, 1, 1);
}

struct span check_span(lua_State *L, int at) {
  struct span s;
  luaL_checktype(L, at, LUA_TSTRING);
  s.p = lua_tolstring(L, at, &s.n);
  return s;
}

/* ---- a policy file's table */

/* The line on which the word first stands in the file; the last line when it does not. */
static unsigned line_of(struct span text, struct span word) {
  size_t at = word.n ? span_search(text, word) : text.n;
  unsigned line = 1;
  while (text.n && text.p[text.n - 1] == '\n') text.n--;
  if (at > text.n) at = text.n;
  for (size_t i = 0; i < at; i++) line += text.p[i] == '\n';
  return line;
}

/* Raises with the place of `word` in the policy's file. */
static int refuse(lua_State *L, const struct instance *in, struct span word, const char *what) {
  const struct source *s = in->use->source;
  lua_pushfstring(L, "%s:%d: %s", lua_pushlstring(L, s->path.p, s->path.n), (int)line_of(s->bytes, word), what);
  return lua_error(L);
}

static void read_on_error(lua_State *L, struct instance *in) {
  static const char *const roads[] = { "deny", "pass" };
  struct span road = { NULL, 0 };
  if (lua_type(L, -1) == LUA_TSTRING) road = check_span(L, -1);
  in->pass = span_eq(road, SPAN("pass"));
  if (in->pass || span_eq(road, SPAN("deny"))) return;
  const char *nearest = span_nearest(road, roads, 2);
  refuse(L, in, SPAN("on_error"),
         lua_pushfstring(L, "on_error is \"deny\" or \"pass\"%s%s%s", nearest ? "; did you mean '" : "",
                         nearest ? nearest : "", nearest ? "'?" : ""));
}

static void read_hook(lua_State *L, struct instance *in, enum hook h) {
  lua_Debug info;
  if (!lua_isfunction(L, -1))
    refuse(L, in, span_cstr(hook_words[h]),
           lua_pushfstring(L, "%s is a function, not a %s", hook_words[h], luaL_typename(L, -1)));
  lua_pushvalue(L, -1);
  lua_getinfo(L, ">S", &info);
  in->lines[h] = info.linedefined > 0 ? (unsigned)info.linedefined : 1;
  lua_pushvalue(L, -1);
  in->hooks[h] = luaL_ref(L, LUA_REGISTRYINDEX);
}

static void read_field(lua_State *L, struct instance *in, struct span name) {
  const char *known[HOOK_COUNT + 1];
  if (span_eq(name, SPAN("on_error"))) return read_on_error(L, in);
  for (int h = 0; h < HOOK_COUNT; h++) {
    known[h] = hook_words[h];
    if (span_eq(name, span_cstr(hook_words[h]))) return read_hook(L, in, (enum hook)h);
  }
  known[HOOK_COUNT] = "on_error";
  struct buf *b = scratch_begin(policy_of(L));
  unknown_word(b, "field of a policy", name, known, HOOK_COUNT + 1);
  push_span(L, buf_span(b));
  refuse(L, in, name, lua_tostring(L, -1));
}

static void read_policy(lua_State *L, struct instance *in, int table) {
  if (!lua_istable(L, table))
    refuse(L, in, SPAN(""), "a policy file ends with return and a table of its hooks: return policy");
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING)
      refuse(L, in, SPAN("return"), "the table of a policy has names alone: its hooks, and on_error");
    read_field(L, in, check_span(L, -2));
  }
}

static int use_enter(lua_State *L) {
  struct instance *in = policy_of(L)->frame->instance;
  const struct source *source = in->use->source;
  env_begin(L);
  lua_pushlstring(L, source->path.p, source->path.n);
  env_push(L);
  if (!vm_load(L, source->bytes, lua_tostring(L, -2), lua_gettop(L))) return lua_error(L);
  lua_call(L, 0, 1);
  if (!in->options_read) options_unread(L, in->use);
  read_policy(L, in, lua_gettop(L));
  env_end(L);
  return 0;
}

/* ---- errors of loading */

/* Whether a message says where: "….lua:12: …", or in the configuration file. */
static bool names_place(struct span message, const struct use *use) {
  size_t end = span_find(message, ' '), mark = span_search(message, SPAN(".lua:"));
  return mark < end || (use->file.n && span_starts(message, use->file));
}

static void report(struct policy_vm *pv, const struct use *use, struct span message) {
  message.n = span_search(message, SPAN("\n\t"));
  if (!names_place(message, use))
    buf_printf(pv->errors, "%.*s:%u: use \"%.*s\": ", SPAN_FMT(use->file), use->line, SPAN_FMT(use->policy));
  for (size_t i = 0; i < message.n; i++) buf_byte(pv->errors, message.p[i] == '\n' ? ' ' : message.p[i]);
  buf_byte(pv->errors, '\n');
}

static bool guarded(struct policy_vm *pv, lua_CFunction f, const struct use *use) {
  lua_State *L = pv->lua;
  struct span message = SPAN("an error that is no text");
  lua_pushcfunction(L, f);
  if (vm_call(L, 0, 0) == VM_OK) return true;
  if (lua_type(L, -1) == LUA_TSTRING) message.p = lua_tolstring(L, -1, &message.n);
  report(pv, use, message);
  lua_pop(L, 1);
  return false;
}

/* ---- the vm */

static int library_setup(lua_State *L) {
  handles_setup(L);
  weir_setup(L);
  env_names(L);
  return 0;
}

static int library_done(lua_State *L) {
  env_setup(L);
  return 0;
}

static void instance_init(struct policy_vm *pv, size_t i) {
  struct instance *in = &pv->instances[i];
  const struct use *use = &pv->conf->uses[i];
  *in = (struct instance){ .name = use->name, .file = use->source->path, .use = use, .index = i };
  for (int h = 0; h < HOOK_COUNT; h++) in->hooks[h] = LUA_NOREF;
}

static bool instance_load(struct policy_vm *pv, struct instance *in) {
  struct frame f = { .instance = in, .hook = HOOK_COUNT };
  pv->frame = &f;
  bool ok = guarded(pv, use_enter, in->use);
  pv->frame = NULL;
  for (int h = 0; ok && h < HOOK_COUNT; h++) {
    if (in->hooks[h] == LUA_NOREF) continue;
    in->errors[h] = error_count_of(in->name, (enum hook)h);
    if (pv->warnings) upvalues_warn(pv->lua, in->hooks[h], hook_words[h], pv->warnings);
  }
  return ok;
}

static void lists_fill(struct policy_vm *pv) {
  for (int h = 0; h < HOOK_COUNT; h++) {
    struct hook_list *list = &pv->lists[h];
    list->of = mem_alloc((pv->instance_count + 1) * sizeof *list->of);
    for (size_t i = 0; i < pv->instance_count; i++) {
      struct instance *in = &pv->instances[h == HOOK_DONE ? pv->instance_count - 1 - i : i];
      if (in->hooks[h] != LUA_NOREF) list->of[list->count++] = in;
    }
  }
}

struct policy_vm *policy_vm_new(struct conf *conf, struct buf *errors, struct buf *warnings) {
  static const struct use none = { .file = { "weir", 4 } };
  struct policy_vm *pv = mem_zero(sizeof *pv);
  struct vm_limits limits = { .memory = conf->lua_memory, .call_ms = LOAD_MS };
  pv->vm = vm_new(&limits);
  pv->lua = vm_state(pv->vm);
  pv->conf = conf;
  pv->text_limit = conf->lua_memory ? conf->lua_memory : 8 << 20;
  pv->errors = errors;
  pv->warnings = warnings;
  pv->instance_count = conf->use_count;
  pv->instances = mem_zero((conf->use_count + 1) * sizeof *pv->instances);
  vm_set_owner(pv->vm, pv);
  bool ok = guarded(pv, library_setup, &none);
  if (ok) vm_freeze(pv->vm);
  ok = ok && guarded(pv, library_done, &none);
  bool library = ok;
  for (size_t i = 0; library && i < conf->use_count; i++) {
    instance_init(pv, i);
    ok &= instance_load(pv, &pv->instances[i]);
  }
  if (ok) lists_fill(pv);
  else policy_vm_free(pv), pv = NULL;
  if (!ok) return NULL;
  vm_set_call_ms(pv->vm, CALL_MS);
  pv->errors = pv->warnings = NULL;
  return pv;
}

void policy_vm_free(struct policy_vm *pv) {
  if (!pv) return;
  vm_free(pv->vm);
  matches_drop(pv);
  handles_drop(pv);
  caps_drop(pv);
  for (int h = 0; h < HOOK_COUNT; h++) mem_free(pv->lists[h].of);
  mem_free(pv->instances);
  buf_free(&pv->scratch);
  arena_end(&pv->text);
  arena_end(&pv->view);
  mem_free(pv);
}

bool policy_counts(const struct policy_vm *pv) { return pv->caps; }
void policy_set_cells(struct policy_vm *pv, struct cells *cells) { pv->cells = cells; }
void policy_set_health(struct policy_vm *pv, const struct health *h, const uint64_t *now_ms) { pv->health = h, pv->now_ms = now_ms; }

size_t policy_memory(const struct policy_vm *pv) { return vm_memory(pv->vm); }
bool policy_idle(struct policy_vm *pv) { return vm_idle(pv->vm); }
bool policy_idle_wanted(const struct policy_vm *pv) { return vm_idle_wanted(pv->vm); }
