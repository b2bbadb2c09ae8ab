/* use: which policies run, in which order, with which options. */
#include "load.h"
#include <dirent.h>
#include <unistd.h>

static bool read_as(struct load *l, const struct field *f, void *into) {
  struct span name;
  struct field plain = { f->name, read_span, 0 };
  if (!read_span(l, &plain, &name)) return false;
  for (size_t i = 0; i < name.n; i++)
    if (!name_char(name.p[i]) || name.n > 64)
      return problem_add(l, "as: a name has at most 64 letters, digits, '_', '-' and '.'"), false;
  ((struct use_draft *)into)->use.name = name;
  return true;
}

/* `as` is taken out, so that the policy is not asked for it. */
static void use_amend(struct load *l, size_t index) {
  static const struct field as = { "as", read_as, 0 };
  struct use_draft *d = &l->uses[index];
  lua_State *L = l->lua;
  lua_pushliteral(L, "as");
  if (lua_rawget(L, 2) != LUA_TNIL) {
    struct place at = l->at;
    l->at = place_of_key(l, SPAN("as"));
    read_as(l, &as, d);
    l->at = at;
    lua_pushliteral(L, "as");
    lua_pushnil(L);
    lua_rawset(L, 2);
  }
  lua_pop(L, 1);
  value_read(l, 2, &d->use.options);
}

int word_use(lua_State *L) {
  struct load *l = word_enter(L);
  struct span name;
  if (!argument_name(l, "use", "use \"fallback\"", &name)) return sink_push(L);
  l->within = arena_printf(&l->scratch, "use '%.*s'", SPAN_FMT(name));
  l->uses = list_add(&l->scratch, l->uses, &l->use_count, sizeof *l->uses);
  struct use_draft *d = &l->uses[l->use_count - 1];
  d->at = l->at;
  d->use.policy = name;
  d->use.options.type = VALUE_TABLE;
  d->use.line = l->at.line;
  d->use.file = l->at.source->path;
  return handle_push(L, use_amend, l->use_count - 1);
}

/* ---- once all is read */
static void names_in(struct load *l, struct span folder, const char ***names, size_t *count) {
  DIR *d = opendir(arena_cstr(&l->scratch, folder));
  if (!d) return;
  for (struct dirent *e; (e = readdir(d));) {
    struct span name = span_cstr(e->d_name);
    if (!span_ends(name, SPAN(".lua")) || span_ends(name, SPAN(".test.lua")) || name.p[0] == '.') continue;
    *names = list_add(&l->scratch, *names, count, sizeof **names);
    (*names)[*count - 1] = arena_cstr(&l->scratch, span_of(name.p, name.n - 4));
  }
  closedir(d);
}

static void policy_missing(struct load *l, struct span name, const char *why) {
  struct span folders[4];
  const char **names = NULL;
  size_t count = 0, folder_count = policy_folders(&l->conf->sources, folders);
  for (size_t i = 0; i < folder_count; i++) names_in(l, folders[i], &names, &count);
  const char *nearest = span_nearest(name, names, count);
  if (nearest) problem_add(l, "%s; did you mean '%s'?", why, nearest);
  else problem_add(l, "%s", why);
}

/* Places that are looked at before the file is found: a file that appears there takes its place. */
static void watch_policy(struct load *l, struct span name) {
  struct span folders[4];
  size_t count = policy_folders(&l->conf->sources, folders);
  for (size_t i = 0; i < count; i++) {
    struct span path = arena_printf(&l->scratch, "%.*s/%.*s.lua", SPAN_FMT(folders[i]), SPAN_FMT(name));
    watch_add(l->conf, path, false);
    if (!access(path.p, F_OK)) return;
  }
}

static size_t source_count(const struct conf *c) {
  size_t n = 0;
  for (const struct source *s = c->sources.list; s; s = s->next) n++;
  return n;
}

/* What a policy requires belongs to the generation too: it is read now, so that hash and watch know it.
   One that is missing is the policy's own error when it runs. */
static void requires_read(struct load *l, const struct source *source, unsigned depth) {
  struct span name;
  const char *why;
  for (size_t at = 0; depth && require_next(source->bytes, &at, &name);) {
    size_t before = source_count(l->conf);
    watch_policy(l, name);
    const struct source *found = sources_policy(&l->conf->sources, name, &why);
    if (found && source_count(l->conf) > before) requires_read(l, found, depth - 1);
  }
}

static void use_check(struct load *l, size_t index) {
  struct use *u = &l->uses[index].use;
  const char *why = NULL;
  watch_policy(l, u->policy);
  u->source = sources_policy(&l->conf->sources, u->policy, &why);
  if (!u->source) policy_missing(l, u->policy, why);
  else requires_read(l, u->source, MOST_INCLUDES);
  bool named = u->name.n > 0;
  if (!named) u->name = u->policy;
  for (size_t i = 0; i < index; i++) {
    const struct use *other = &l->uses[i].use;
    if (!span_eq(other->name, u->name)) continue;
    const char *first = place_text(l, l->uses[i].at);
    if (named) problem_add(l, "the name '%.*s' is taken by the use at %s", SPAN_FMT(u->name), first);
    else problem_add(l, "it is used at %s already; give this one a name of its own with as = \"…\"", first);
    return;
  }
}

void uses_finish(struct load *l) {
  struct conf *c = l->conf;
  c->uses = arena_zero(&c->arena, l->use_count * sizeof *c->uses);
  c->use_count = l->use_count;
  for (size_t i = 0; i < l->use_count; i++) {
    l->at = l->uses[i].at;
    l->within = arena_printf(&l->scratch, "use '%.*s'", SPAN_FMT(l->uses[i].use.policy));
    use_check(l, i);
    c->uses[i] = l->uses[i].use;
  }
  l->within = (struct span){ 0 };
}
