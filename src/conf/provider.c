/* provider and endpoint: what stands in their tables. */
#include "load.h"
#include <errno.h>
#include <unistd.h>

static const char endpoint_name[] = "weir.endpoint";

/* ---- fields of both */
static bool read_ca(struct load *l, const struct field *f, void *into) {
  struct span path;
  struct field plain = { f->name, read_span, 0 };
  if (!read_span(l, &plain, &path)) return false;
  path = path_join(&l->conf->arena, path_folder(l->at.source->path), path);
  watch_add(l->conf, path, false);
  if (access(path.p, R_OK)) return problem_add(l, "ca '%s': %s", path.p, error_text(errno)), false;
  *(struct span *)((char *)into + f->offset) = path;
  return true;
}

static bool read_url(struct load *l, const struct field *f, void *into) {
  struct endpoint_draft *e = (struct endpoint_draft *)((char *)into + f->offset);
  struct field plain = { f->name, read_span, 0 };
  e->url_bad = !read_span(l, &plain, &e->url);
  return !e->url_bad;
}

static bool read_weight(struct load *l, const struct field *f, void *into) {
  uint64_t n;
  if (!read_whole(l, f->name, "", 1, 1000000, &n)) return false;
  ((struct endpoint_draft *)into)->weight = (unsigned)n;
  return true;
}

/* ---- endpoint */
#define AT(member) offsetof(struct endpoint_draft, member)
static const struct field endpoint_fields[] = {
  { "url", read_url, 0 }, { "key", read_accounts, AT(accounts) }, { "key_id", read_accounts, AT(ids) },
  { "session", read_accounts, AT(sessions) }, { "region", read_span, AT(region) },
  { "weight", read_weight, 0 }, { "tls_name", read_span, AT(tls_name) }, { "ca", read_ca, AT(ca) },
  { "proxy", read_proxy, AT(proxy) },
};
#undef AT

int word_endpoint(lua_State *L) {
  struct load *l = word_enter(L);
  lua_settop(L, 1);
  l->within = SPAN("endpoint");
  if (sink_is(L, 1)) return sink_push(L);
  if (!lua_istable(L, 1)) return problem_add(l, "a table { … } must follow, not %s", kind_of(L, 1)), sink_push(L);
  struct endpoint_draft *e = arena_zero(&l->scratch, sizeof *e);
  e->at = l->at;
  e->weight = 1;
  e->next = l->endpoints;
  l->endpoints = e;
  fields_read(l, 1, endpoint_fields, sizeof endpoint_fields / sizeof *endpoint_fields, e, NULL, false);
  struct endpoint_draft **box = lua_newuserdatauv(L, sizeof *box, 0);
  *box = e;
  if (luaL_newmetatable(L, endpoint_name)) {
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
  }
  lua_setmetatable(L, -2);
  return 1;
}

/* ---- fields of a provider */
static bool read_dialect(struct load *l, const struct field *f, void *into) {
  const char *names[DIALECT_COUNT];
  struct provider_draft *d = into;
  struct span word;
  bool later = false;
  struct field plain = { f->name, read_span, 0 };
  d->dialect_given = d->dialect_bad = true;
  if (!read_span(l, &plain, &word)) return false;
  if (dialect_named(word, &d->provider.dialect, &later)) return d->dialect_bad = false, true;
  for (int i = 0; i < DIALECT_COUNT; i++) names[i] = dialect_word((enum dialect)i);
  if (later) problem_add(l, "dialect '%.*s' is not in this version", SPAN_FMT(word));
  else problem_unknown(l, "dialect", word, names, DIALECT_COUNT);
  return false;
}

/* What weir itself writes, or must never pass on. */
static const char *header_refused(struct span name) {
  static const char *const framing[] = {
    "host", "connection", "content-length", "content-type", "transfer-encoding", "te", "trailer", "upgrade",
    "keep-alive", "expect", "proxy-connection", "proxy-authorization", "accept-encoding",
  };
  static const char *const secret[] = { "authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie" };
  if (name.n && !header_name_ok(name)) return "is no name of a header";
  for (size_t i = 0; i < sizeof framing / sizeof *framing; i++)
    if (span_ieq(name, span_cstr(framing[i]))) return "is written by weir itself";
  for (size_t i = 0; i < sizeof secret / sizeof *secret; i++)
    if (span_ieq(name, span_cstr(secret[i]))) return "carries a secret; write key = env \"NAME\" instead";
  if (span_istarts(name, SPAN("x-weir-"))) return "never goes to a provider";
  return name.n ? NULL : "is empty";
}

static void header_add(struct load *l, struct provider *p, struct span name) {
  struct span value;
  struct field plain = { arena_printf(&l->scratch, "header '%.*s'", SPAN_FMT(name)).p, read_span, 0 };
  const char *why = header_refused(name);
  for (size_t i = 0; !why && i < p->header_count; i++)
    if (span_ieq(p->headers[i].name, name)) why = "stands twice";
  if (why) return problem_add(l, "%s %s", plain.name, why);
  if (!read_span(l, &plain, &value)) return;
  p->headers = list_add(&l->conf->arena, p->headers, &p->header_count, sizeof *p->headers);
  p->headers[p->header_count - 1] = (struct http_header){ name, span_trim(value) };
}

static bool read_headers(struct load *l, const struct field *f, void *into) {
  struct provider_draft *d = into;
  lua_State *L = l->lua;
  size_t count;
  if (!lua_istable(L, -1)) return problem_type(l, f->name, "a table such as { [\"x-team\"] = \"search\" }"), false;
  struct span *names = keys_sorted(l, lua_gettop(L), &count);
  struct place at = l->at;
  for (size_t i = 0; i < count; i++, l->at = at) {
    l->at = place_of_key(l, names[i]);
    lua_pushlstring(L, names[i].p, names[i].n);
    lua_rawget(L, -2);
    header_add(l, &d->provider, names[i]);
    lua_pop(L, 1);
  }
  return true;
}

static bool read_tokens(struct load *l, const struct field *f, void *into) {
  uint64_t n;
  if (!read_whole(l, f->name, "tokens", 1, 1000000000, &n)) return false;
  *(int64_t *)((char *)into + f->offset) = (int64_t)n;
  return true;
}

static bool read_whether(struct load *l, const struct field *f, void *into) {
  bool yes;
  struct field plain = { f->name, read_bool, 0 };
  if (!read_bool(l, &plain, &yes)) return false;
  *(int8_t *)((char *)into + f->offset) = yes;
  return true;
}

/* images = true, tools = false, … */
static bool read_ability(struct load *l, const struct field *f, void *into) {
  struct abilities *able = &((struct model_data *)into)->able;
  bool yes;
  struct field plain = { f->name, read_bool, 0 };
  if (!read_bool(l, &plain, &yes)) return false;
  *(yes ? &able->can : &able->cannot) |= (uint16_t)ABLE_BIT(f->offset);
  return true;
}

static bool read_day(struct load *l, const struct field *f, void *into) {
  struct span text;
  struct field plain = { f->name, read_span, 0 };
  if (!read_span(l, &plain, &text)) return false;
  int32_t day = price_day(text);
  if (!day) return problem_add(l, "%s must be a day such as \"2027-01-31\", not \"%.*s\"", f->name, SPAN_FMT(text)), false;
  *(int32_t *)((char *)into + f->offset) = day;
  return true;
}

static bool read_model_dialect(struct load *l, const struct field *f, void *into) {
  struct span word;
  struct field plain = { f->name, read_span, 0 };
  if (!read_span(l, &plain, &word)) return false;
  bool responses = span_eq(word, SPAN("responses"));
  if (!responses && !span_eq(word, SPAN("chat"))) return problem_add(l, "%s of a model must be \"chat\" or \"responses\"", f->name), false;
  ((struct model_data *)into)->responses = responses;
  return true;
}

bool models_read(struct load *l, const char *what, struct model_data **models, size_t *model_count) {
  static const struct field fields[] = {
    { "window", read_tokens, offsetof(struct model_data, window) }, { "max_output", read_tokens, offsetof(struct model_data, max_output) },
    { "reasoning", read_whether, offsetof(struct model_data, reasoning) }, { "hidden", read_whether, offsetof(struct model_data, hidden) },
    { "price", read_price, offsetof(struct model_data, price) }, { "deprecated", read_day, offsetof(struct model_data, deprecated) },
    { "region", read_span, offsetof(struct model_data, region) }, { "images", read_ability, ABLE_IMAGES }, { "pdf", read_ability, ABLE_PDF },
    { "audio", read_ability, ABLE_AUDIO }, { "tools", read_ability, ABLE_TOOLS }, { "parallel_tools", read_ability, ABLE_PARALLEL_TOOLS },
    { "json_schema", read_ability, ABLE_JSON_SCHEMA }, { "prefill", read_ability, ABLE_PREFILL }, { "temperature", read_ability, ABLE_TEMPERATURE },
    { "dialect", read_model_dialect, 0 },
  };
  lua_State *L = l->lua;
  size_t count;
  if (!lua_istable(L, -1)) return problem_type(l, what, "a table such as { [\"gpt-5\"] = { window = 400000 } }"), false;
  struct span *names = keys_sorted(l, lua_gettop(L), &count), within = l->within;
  struct place at = l->at;
  for (size_t i = 0; i < count; i++, l->at = at, l->within = within) {
    l->at = place_of_key(l, names[i]);
    l->within = arena_printf(&l->scratch, "%.*s: model '%.*s'", SPAN_FMT(within), SPAN_FMT(names[i]));
    *models = list_add(&l->conf->arena, *models, model_count, sizeof **models);
    struct model_data *m = &(*models)[*model_count - 1];
    *m = (struct model_data){ .name = names[i], .reasoning = -1, .hidden = -1, .responses = -1 };
    lua_pushlstring(L, names[i].p, names[i].n);
    lua_rawget(L, -2);
    if (lua_istable(L, -1)) fields_read(l, -1, fields, sizeof fields / sizeof *fields, m, NULL, false);
    else problem_type(l, "it", "a table");
    lua_pop(L, 1);
  }
  return true;
}

static bool read_models(struct load *l, const struct field *f, void *into) {
  struct provider *p = &((struct provider_draft *)into)->provider;
  return models_read(l, f->name, &p->models, &p->model_count);
}

#define AT(member) offsetof(struct provider_draft, member)
static const struct field provider_fields[] = {
  { "dialect", read_dialect, 0 }, { "url", read_url, AT(self) }, { "key", read_accounts, AT(self.accounts) },
  { "key_id", read_accounts, AT(self.ids) }, { "session", read_accounts, AT(self.sessions) },
  { "headers", read_headers, 0 }, { "models", read_models, 0 }, { "region", read_span, AT(self.region) },
  { "tls_name", read_span, AT(self.tls_name) }, { "ca", read_ca, AT(self.ca) },
  { "proxy", read_proxy, AT(self.proxy) }, { "price", read_price, AT(provider.price) }, { "discount", read_discount, AT(provider.discount) },
  { "usage_option", read_whether, AT(provider.usage_option) }, { "auth", read_auth, 0 }, { "api_version", read_span, AT(api_version) },
  { "usage_always", read_bool, AT(quirks.usage_always) }, { "bills_cancelled", read_bool, AT(quirks.bills_cancelled) },
  { "tells_cost", read_bool, AT(quirks.tells_cost) }, { "free", read_bool, AT(quirks.free) }, { "thinking", read_thinking, 0 },
  { "reasoning_tokens", read_reasoning, 0 }, { "limit_name", read_limit_name, 0 }, { "dated_names", read_dated_names, 0 },
  { "price_name", read_price_name, 0 },
};
#undef AT

/* ---- the words */
static void endpoints_read(struct load *l, struct provider_draft *d) {
  lua_State *L = l->lua;
  for (size_t i = 1; i <= lua_rawlen(L, 2); i++) {
    lua_rawgeti(L, 2, (lua_Integer)i);
    struct endpoint_draft **box = luaL_testudata(L, -1, endpoint_name);
    if (box && (*box)->taken) problem_add(l, "the endpoint of line %u stands in two places", (*box)->at.line);
    if (!box && !sink_is(L, -1))
      problem_add(l, "%s stands here without the name of its field; only endpoint { … } may", kind_of(L, -1));
    if (box) {
      (*box)->taken = true;
      d->endpoints = list_add(&l->scratch, d->endpoints, &d->endpoint_count, sizeof *d->endpoints);
      d->endpoints[d->endpoint_count - 1] = *box;
    }
    lua_pop(L, 1);
  }
}

static void provider_amend(struct load *l, size_t index) {
  struct provider_draft *d = &l->providers[index];
  l->level = LEVEL_PROVIDER;
  fields_read(l, 2, provider_fields, sizeof provider_fields / sizeof *provider_fields, d, &d->provider.settings, true);
  endpoints_read(l, d);
}

/* The name stands in paths, in targets before a '/', and in metrics. */
static const char *name_refused(struct span name) {
  static const char *const reserved[] = { "v1", "v1beta", "v2", "model" };
  for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
    if (span_eq(name, span_cstr(reserved[i]))) return "the name is taken by weir's own paths";
  if (name.n > 64) return "the name is longer than 64 characters";
  for (size_t i = 0; i < name.n; i++)
    if (!name_char(name.p[i]) || (!i && (name.p[i] == '-' || name.p[i] == '.')))
      return "a name holds letters, digits, '_', '-' and '.' only, and starts with none of the last two";
  return NULL;
}

size_t provider_draft_add(struct load *l, struct span name) {
  l->providers = list_add(&l->scratch, l->providers, &l->provider_count, sizeof *l->providers);
  struct provider_draft *d = &l->providers[l->provider_count - 1];
  d->at = d->self.at = l->at;
  d->provider.name = name;
  d->known = catalogue_provider(name);
  d->quirks = *(d->known ? d->known->quirks : &catalogue_no_quirks);
  d->provider.discount = PRICE_PPM;
  d->provider.usage_option = -1;
  d->self.weight = 1;
  return l->provider_count - 1;
}

int word_provider(lua_State *L) {
  struct load *l = word_enter(L);
  struct span name;
  const char *why;
  if (!argument_name(l, "provider", "provider \"openai\" { key = env \"OPENAI_API_KEY\" }", &name)) return sink_push(L);
  l->within = arena_printf(&l->scratch, "provider '%.*s'", SPAN_FMT(name));
  if ((why = name_refused(name))) return problem_add(l, "%s", why), sink_push(L);
  for (size_t i = 0; i < l->provider_count; i++)
    if (span_eq(l->providers[i].provider.name, name))
      return problem_add(l, "it stands twice; the first is at %s", place_text(l, l->providers[i].at)), sink_push(L);
  return handle_push(L, provider_amend, provider_draft_add(l, name));
}
