/* From a model name to candidates, or to a message that helps. */
#include "weir/route.h"
#include "weir/translate.h"

enum { MOST_SHOWN = 8, LONGEST_SHOWN = 120 };

uint32_t route_default_next_on(void) { return FAULTS_RETRYABLE | 1u << FAULT_AUTH | 1u << FAULT_QUOTA; }

static struct provider *first_serving(const struct conf *c, const struct operation_info *o) {
  if (c->default_provider && operation_served(o, c->default_provider->dialect)) return c->default_provider;
  for (size_t i = 0; i < c->provider_count; i++)
    if (operation_served(o, c->providers[i].dialect)) return &c->providers[i];
  return NULL;
}

struct provider *route_provider(const struct conf *c, enum dialect d) {
  if (c->default_provider && dialect_family(c->default_provider->dialect) == dialect_family(d)) return c->default_provider;
  for (size_t i = 0; i < c->provider_count; i++)
    if (dialect_family(c->providers[i].dialect) == dialect_family(d)) return &c->providers[i];
  /* chat is also the guess for a request that does not say: an explicit default is better than nothing */
  return d == DIALECT_CHAT ? c->default_provider : NULL;
}

/* A client's text may be long; messages quote its start, cut between characters. */
static struct span shown(struct span s) {
  if (s.n <= LONGEST_SHOWN) return s;
  s.n = LONGEST_SHOWN;
  while (s.n && ((unsigned char)s.p[s.n] & 0xC0) == 0x80) s.n--;
  return s;
}

static struct provider *provider_of(const struct conf *c, struct span name, struct span *model) {
  struct span head;
  *model = span_cut(name, '/', &head);
  return model->n ? conf_provider(c, head) : NULL;
}

static void candidate_add(struct route *out, struct provider *p, struct span model, struct span name) {
  if (out->count < ROUTE_MOST_TARGETS) out->candidates[out->count++] = (struct candidate){ p, model, name };
}

/* ---- messages */
struct names { const char **list; size_t count; };

static void name_add(struct names *n, const struct key *k, struct arena *a, const char *fmt, struct span x,
                     struct span y) {
  struct span name = arena_printf(a, fmt, SPAN_FMT(x), SPAN_FMT(y));
  if (!k || key_allows(k, name)) n->list[n->count++] = name.p;
}

/* Aliases and the models that are known by name, those that the key may use (NULL: all). */
static struct names names_known(const struct conf *c, const struct key *k, struct arena *a) {
  size_t most = c->alias_count;
  for (size_t i = 0; i < c->provider_count; i++) most += c->providers[i].model_count;
  struct names n = { arena_alloc(a, (most + 1) * sizeof *n.list), 0 };
  for (size_t i = 0; i < c->alias_count; i++) name_add(&n, k, a, "%.*s%.*s", c->aliases[i].name, SPAN(""));
  for (size_t i = 0; i < c->provider_count; i++)
    for (size_t j = 0; j < c->providers[i].model_count; j++)
      name_add(&n, k, a, "%.*s/%.*s", c->providers[i].name, c->providers[i].models[j].name);
  return n;
}

static const char *text_of(struct arena *a, struct buf *text) {
  const char *copy = arena_cstr(a, buf_span(text));
  buf_free(text);
  return copy;
}

const char *route_unknown(const struct conf *c, const struct operation_info *o, struct span model, const struct key *k,
                          struct arena *a) {
  struct buf text = { 0 };
  struct names known = names_known(c, k, a);
  const char *nearest = span_nearest(model, known.list, known.count);
  buf_printf(&text, "model '%.*s' is not known here", SPAN_FMT(shown(model)));
  if (nearest) {
    buf_printf(&text, "; did you mean '%s'?", nearest);
    return text_of(a, &text);
  }
  if (!first_serving(c, o))
    buf_printf(&text, ", and no provider of dialect %s is configured", dialect_word(o->dialect));
  for (size_t i = 0; i < known.count && i < MOST_SHOWN; i++)
    buf_printf(&text, "%s '%s'", i ? "," : "; known:", known.list[i]);
  return text_of(a, &text);
}

static const char *unknown_provider(const struct conf *c, struct span name, struct arena *a, int *status) {
  struct buf text = { 0 };
  struct span head;
  const char **list = arena_alloc(a, (c->provider_count + 1) * sizeof *list);
  for (size_t i = 0; i < c->provider_count; i++) list[i] = arena_cstr(a, c->providers[i].name);
  span_cut(name, '/', &head);
  *status = 404;
  buf_printf(&text, "target '%.*s': ", SPAN_FMT(shown(name)));
  unknown_word(&text, "provider", head, list, c->provider_count);
  return text_of(a, &text);
}

static const char *mismatch(const struct operation_info *o, struct span name, enum dialect speaks, struct arena *a,
                            int *status) {
  *status = 400;
  return arena_printf(a, "model '%.*s' is at a provider of dialect %s, which does not serve %s: translation of that "
                      "is not in this version; ask for it at %s", SPAN_FMT(shown(name)), dialect_word(speaks),
                      o->path, operation_own(speaks)->path ? operation_own(speaks)->path : operation_info(OP_CHAT)->path).p;
}

/* ---- routes */
static const char *alias_route(const struct conf *c, const struct operation_info *o, struct alias *alias,
                               struct arena *a, struct route *out, int *status) {
  enum dialect last = DIALECT_CHAT;
  out->alias = alias;
  if (alias->next_on) out->next_on = alias->next_on;
  for (size_t i = 0; i < alias->target_count; i++) {
    struct span model;
    struct provider *p = provider_of(c, alias->targets[i], &model);
    if (!check(p)) continue;                       /* conf_load has looked */
    last = p->dialect;
    if (operation_at(o, p->dialect)) candidate_add(out, p, model, alias->targets[i]);
  }
  return out->count ? NULL : mismatch(o, alias->name, last, a, status);
}

static const char *target_route(const struct operation_info *o, struct provider *p, struct span model, struct span name,
                                struct arena *a, struct route *out, int *status) {
  if (!operation_at(o, p->dialect)) return mismatch(o, name, p->dialect, a, status);
  candidate_add(out, p, model, name);
  return NULL;
}

/* As a provider knows it: gpt-5 at the default provider is "openai/gpt-5" in headers and metrics. */
static const char *whole_route(const struct conf *c, const struct operation_info *o, struct span model, struct arena *a,
                               struct route *out, int *status) {
  struct provider *p = first_serving(c, o);
  if (!p || !model.n) {
    *status = 404;
    return route_unknown(c, o, model, NULL, a);
  }
  candidate_add(out, p, model, arena_printf(a, "%.*s/%.*s", SPAN_FMT(p->name), SPAN_FMT(model)));
  return NULL;
}

static void route_begin(struct route *out) {
  out->alias = NULL;
  out->count = 0;
  out->next_on = route_default_next_on();
}

const char *route_model(const struct conf *c, const struct operation_info *o, struct span model, struct arena *a,
                        struct route *out, int *status) {
  struct alias *alias = conf_alias(c, model);
  struct span at_provider;
  route_begin(out);
  if (alias) return alias_route(c, o, alias, a, out, status);
  struct provider *p = provider_of(c, model, &at_provider);
  if (p) return target_route(o, p, at_provider, model, a, out, status);
  return whole_route(c, o, model, a, out, status);
}

const char *route_names(const struct conf *c, const struct operation_info *o, const struct span *names, size_t count,
                        struct arena *a, struct route *out, int *status) {
  struct alias *alias = count == 1 ? conf_alias(c, names[0]) : NULL;
  const char *why = NULL;
  route_begin(out);
  if (alias) return alias_route(c, o, alias, a, out, status);
  for (size_t i = 0; i < count && !why; i++) {
    struct span model;
    struct provider *p = provider_of(c, names[i], &model);
    if (p) why = target_route(o, p, model, names[i], a, out, status);
    else if (span_find(names[i], '/') < names[i].n) why = unknown_provider(c, names[i], a, status);
    else why = whole_route(c, o, names[i], a, out, status);
  }
  if (!why && !count) *status = 404, why = "the list of targets is empty";
  return why;
}
