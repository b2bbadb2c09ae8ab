/* model: aliases and their chains. */
#include "load.h"

enum { MOST_TARGETS = 16 };           /* as many as a route holds */

static bool read_next_on(struct load *l, const struct field *f, void *into) {
  struct alias_draft *d = into;
  lua_State *L = l->lua;
  size_t count;
  const char *const *words = fault_words(&count);
  if (!lua_istable(L, -1))
    return problem_type(l, f->name, "a list of faults such as { \"rate_limited\", \"overloaded\" }"), false;
  d->alias.next_on = 1u << FAULT_NONE;             /* given, be it empty */
  struct place at = l->at;
  for (size_t i = 1; i <= lua_rawlen(L, -1); i++, l->at = at) {
    struct span word;
    struct field plain = { "a fault", read_span, 0 };
    enum fault fault;
    lua_rawgeti(L, -1, (lua_Integer)i);
    if (read_span(l, &plain, &word)) {
      if (at.source) l->at.line = line_of_string(at.source->bytes, at.line, word);
      if (fault_named(word, &fault)) d->alias.next_on |= 1u << fault;
      else problem_unknown(l, "fault", word, words, count);
    }
    lua_pop(L, 1);
  }
  return true;
}

static bool read_budget(struct load *l, const struct field *f, void *into) {
  return read_number(l, f->name, "seconds", 0.001, 365 * 86400, &((struct alias_draft *)into)->alias.latency_budget);
}

static bool read_factor(struct load *l, const struct field *f, void *into) {
  return read_number(l, f->name, "times", 0.001, 1e6, &((struct alias_draft *)into)->alias.max_price_factor);
}

static void targets_read(struct load *l, struct alias_draft *d) {
  lua_State *L = l->lua;
  size_t place_count = 0;
  struct place at = l->at;
  for (size_t i = 1; i <= lua_rawlen(L, 2); i++, l->at = at) {
    struct span name;
    struct field plain = { "a target", read_span, 0 };
    lua_rawgeti(L, 2, (lua_Integer)i);
    if (read_span(l, &plain, &name)) {
      d->alias.targets = list_add(&l->conf->arena, d->alias.targets, &d->alias.target_count, sizeof *d->alias.targets);
      d->alias.targets[d->alias.target_count - 1] = name;
      d->places = list_add(&l->scratch, d->places, &place_count, sizeof *d->places);
      if (at.source) l->at.line = line_of_string(at.source->bytes, at.line, name);
      d->places[place_count - 1] = l->at;
    } else {
      d->target_bad = true;
    }
    lua_pop(L, 1);
  }
}

static void alias_amend(struct load *l, size_t index) {
  static const struct field fields[] = {
    { "next_on", read_next_on, 0 }, { "latency_budget", read_budget, 0 }, { "max_price_factor", read_factor, 0 },
  };
  struct alias_draft *d = &l->aliases[index];
  l->level = LEVEL_MODEL;
  fields_read(l, 2, fields, sizeof fields / sizeof *fields, d, &d->alias.settings, true);
  targets_read(l, d);
}

int word_model(lua_State *L) {
  struct load *l = word_enter(L);
  struct span name;
  if (!argument_name(l, "model", "model \"smart\" { \"openai/gpt-5\" }", &name)) return sink_push(L);
  l->within = arena_printf(&l->scratch, "model '%.*s'", SPAN_FMT(name));
  for (size_t i = 0; i < l->alias_count; i++)
    if (span_eq(l->aliases[i].alias.name, name))
      return problem_add(l, "it stands twice; the first is at %s", place_text(l, l->aliases[i].at)), sink_push(L);
  l->aliases = list_add(&l->scratch, l->aliases, &l->alias_count, sizeof *l->aliases);
  l->aliases[l->alias_count - 1].at = l->at;
  l->aliases[l->alias_count - 1].alias.name = name;
  return handle_push(L, alias_amend, l->alias_count - 1);
}

/* ---- once all is read */
static struct provider *target_provider(struct load *l, struct span target) {
  struct conf *c = l->conf;
  struct span name, model = span_cut(target, '/', &name);
  struct provider *p = conf_provider(c, name);
  if (p && model.n) return p;
  if (p) {
    problem_add(l, "target '%.*s' names no model: \"%.*s/gpt-5\"", SPAN_FMT(target), SPAN_FMT(p->name));
    return NULL;
  }
  for (size_t i = 0; i < l->alias_count; i++)
    if (span_eq(l->aliases[i].alias.name, target))
      return problem_add(l, "target '%.*s' is an alias; name its targets", SPAN_FMT(target)), NULL;
  if (!model.p) {
    problem_add(l, "target '%.*s' names no provider: \"provider/%.*s\"", SPAN_FMT(target), SPAN_FMT(target));
    return NULL;
  }
  const char **names = arena_alloc(&l->scratch, (c->provider_count + 1) * sizeof *names);
  for (size_t i = 0; i < c->provider_count; i++) names[i] = arena_cstr(&l->scratch, c->providers[i].name);
  struct buf text = { 0 };
  unknown_word(&text, "provider", name, names, c->provider_count);
  problem_add(l, "target '%.*s': %.*s", SPAN_FMT(target), SPAN_FMT(buf_span(&text)));
  buf_free(&text);
  return NULL;
}

static void alias_check(struct load *l, const struct alias_draft *d) {
  if (!d->alias.target_count && d->target_bad) return;
  if (!d->alias.target_count) return problem_add(l, "it has no target: model \"smart\" { \"openai/gpt-5\" }");
  if (d->alias.target_count > MOST_TARGETS) problem_add(l, "it has more than %d targets", MOST_TARGETS);
  for (size_t i = 0; i < d->alias.target_count; i++) {
    l->at = d->places[i];
    target_provider(l, d->alias.targets[i]);
  }
  l->at = d->at;
  if (d->alias.next_on & 1u << FAULT_BAD_REQUEST)
    warning_add(l, "with bad_request in next_on each target is asked what the first one has refused");
}

void aliases_finish(struct load *l) {
  struct conf *c = l->conf;
  c->aliases = arena_zero(&c->arena, l->alias_count * sizeof *c->aliases);
  c->alias_count = l->alias_count;
  for (size_t i = 0; i < l->alias_count; i++) {
    l->at = l->aliases[i].at;
    l->within = arena_printf(&l->scratch, "model '%.*s'", SPAN_FMT(l->aliases[i].alias.name));
    alias_check(l, &l->aliases[i]);
    c->aliases[i] = l->aliases[i].alias;
  }
  l->within = (struct span){ 0 };
}
