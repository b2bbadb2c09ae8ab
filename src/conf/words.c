/* The short words: one value or a small table each. */
#include "load.h"

/* ---- listen, admin */
struct open_table {
  struct span spec;
  struct secret *token;
  bool open;
};

static bool read_token(struct load *l, const struct field *f, void *into) {
  bool is;
  struct secret *secret = secret_at(l->lua, -1, &is);
  if (!is) return problem_type(l, f->name, SECRET_FORMS), false;
  if (secret) ((struct open_table *)into)->token = secret_kept(l, secret);
  return true;
}

/* The spec, a string or the table's only item; false: a problem was noted. */
static bool spec_read(struct load *l, const struct field *fields, size_t count, struct open_table *out) {
  lua_State *L = l->lua;
  struct sockaddr_storage address;
  socklen_t size;
  const char *why;
  struct field item = { "the address", read_span, offsetof(struct open_table, spec) };
  lua_settop(L, 1);
  if (sink_is(L, 1)) return false;
  if (lua_istable(L, 1)) {
    fields_read(l, 1, fields, count, out, NULL, true);
    if (lua_rawlen(L, 1) > 1) return problem_add(l, "it holds more than one address"), false;
    lua_rawgeti(L, 1, 1);
  } else {
    lua_pushvalue(L, 1);
  }
  if (!read_span(l, &item, out)) return false;
  if (conf_address(out->spec, &address, &size, &why)) return true;
  problem_add(l, "\"%.*s\": %s", SPAN_FMT(out->spec), why);
  return false;
}

int word_listen(lua_State *L) {
  static const struct field fields[] = { { "open", read_bool, offsetof(struct open_table, open) } };
  struct load *l = word_enter(L);
  struct open_table t = { 0 };
  l->within = SPAN("listen");
  if (!spec_read(l, fields, 1, &t)) return sink_push(L);
  l->listeners = list_add(&l->scratch, l->listeners, &l->listener_count, sizeof *l->listeners);
  l->listeners[l->listener_count - 1] = (struct listener_draft){ l->at, { t.spec, t.open, false } };
  return 0;
}

int word_admin(lua_State *L) {
  static const struct field fields[] = { { "token", read_token, 0 } };
  struct load *l = word_enter(L);
  struct open_table t = { 0 };
  l->within = SPAN("admin");
  if (!word_once(l, ONCE_ADMIN, "admin") || !spec_read(l, fields, 1, &t)) return sink_push(L);
  l->admin_at = l->at;
  l->conf->admin.spec = t.spec;
  l->conf->admin_token = t.token;
  return 0;
}

/* ---- one value */
static int number_word(lua_State *L, enum once which, const char *name, const char *unit, uint64_t low, uint64_t high,
                       uint64_t *out) {
  struct load *l = word_enter(L);
  lua_settop(L, 1);
  if (word_once(l, which, name)) read_whole(l, name, unit, low, high, out);
  return 0;
}

int word_workers(lua_State *L) {
  uint64_t n = 0;
  number_word(L, ONCE_WORKERS, "workers", "", 1, 1024, &n);
  if (n) load_of(L)->conf->workers = (unsigned)n;
  return 0;
}

int word_memory(lua_State *L) {
  return number_word(L, ONCE_MEMORY, "memory", "bytes", 1 << 20, (uint64_t)1 << 44, &load_of(L)->conf->memory);
}

int word_lua_memory(lua_State *L) {
  uint64_t *out = &load_of(L)->conf->lua_memory;
  return number_word(L, ONCE_LUA_MEMORY, "lua_memory", "bytes", 256 << 10, (uint64_t)1 << 34, out);
}

static int folder_word(lua_State *L, enum once which, const char *name, const char *example, struct span *out) {
  struct load *l = word_enter(L);
  struct span given;
  if (word_once(l, which, name) && argument_name(l, name, example, &given))
    *out = path_join(&l->conf->arena, path_folder(l->at.source->path), given);
  return 0;
}

int word_state(lua_State *L) {
  return folder_word(L, ONCE_STATE, "state", "state \"/var/lib/weir\"", &load_of(L)->conf->state_dir);
}

int word_runtime(lua_State *L) {
  return folder_word(L, ONCE_RUNTIME, "runtime", "runtime \"/run/weir\"", &load_of(L)->conf->runtime_dir);
}

int word_default_provider(lua_State *L) {
  struct load *l = word_enter(L);
  if (word_once(l, ONCE_DEFAULT_PROVIDER, "default_provider"))
    argument_name(l, "default_provider", "default_provider \"openai\"", &l->default_provider);
  return 0;
}

/* ---- trusted_proxies */
static void network_add(struct load *l) {
  struct conf *c = l->conf;
  struct span text;
  struct network network;
  struct field item = { "a network", read_span, 0 };
  if (!read_span(l, &item, &text)) return;
  if (span_eq(text, SPAN("unix"))) {
    c->trusted_unix = true;
    return;
  }
  if (!network_read(text, &network)) {
    problem_add(l, "\"%.*s\" is no network such as \"10.0.0.0/8\" or \"fd00::/8\", nor \"unix\"", SPAN_FMT(text));
    return;
  }
  c->trusted = list_add(&c->arena, c->trusted, &c->trusted_count, sizeof *c->trusted);
  c->trusted[c->trusted_count - 1] = network;
}

int word_trusted_proxies(lua_State *L) {
  struct load *l = word_enter(L);
  lua_settop(L, 1);
  l->within = SPAN("trusted_proxies");
  if (!word_once(l, ONCE_TRUSTED_PROXIES, "trusted_proxies")) return sink_push(L);
  if (!lua_istable(L, 1)) return network_add(l), 0;
  fields_read(l, 1, NULL, 0, NULL, NULL, true);
  for (size_t i = 0; i < lua_rawlen(L, 1); i++) {
    lua_rawgeti(L, 1, (lua_Integer)i + 1);
    network_add(l);
    lua_pop(L, 1);
  }
  return 0;
}

/* ---- log */
static bool read_level(struct load *l, const struct field *f, void *into) {
  static const char *const levels[] = { "debug", "info", "warn", "error", "off" };
  struct conf *c = into;
  struct span word;
  struct field plain = { f->name, read_span, 0 };
  if (!read_span(l, &plain, &word)) return false;
  if (log_level_named(word, &c->log_level)) return true;
  problem_unknown(l, "level", word, levels, 5);
  return false;
}

static bool read_access(struct load *l, const struct field *f, void *into) {
  struct conf *c = into;
  struct span word;
  struct field plain = { f->name, read_span, 0 };
  if (!read_span(l, &plain, &word)) return false;
  bool name = span_eq(word, SPAN("stdout")) || span_eq(word, SPAN("stderr")) || span_eq(word, SPAN("off"));
  if (!name && span_find(word, '/') == word.n) {
    problem_add(l, "access must be \"stdout\", \"stderr\", \"off\" or a path with a '/', not \"%.*s\"", SPAN_FMT(word));
    return false;
  }
  c->access_log = name ? word : path_join(&c->arena, path_folder(l->at.source->path), word);
  return true;
}

int word_log(lua_State *L) {
  static const struct field fields[] = { { "level", read_level, 0 }, { "access", read_access, 0 } };
  struct load *l = word_enter(L);
  lua_settop(L, 1);
  l->within = SPAN("log");
  if (!word_once(l, ONCE_LOG, "log")) return sink_push(L);
  if (lua_istable(L, 1)) fields_read(l, 1, fields, 2, l->conf, NULL, false);
  else if (!sink_is(L, 1)) problem_add(l, "a table { … } must follow, not %s", kind_of(L, 1));
  return 0;
}

/* ---- ledger */
static bool read_keep(struct load *l, const struct field *f, void *into) {
  return read_number(l, f->name, "seconds", 60, 36500.0 * 86400, &((struct ledger_conf *)into)->keep);
}

static bool read_max_size(struct load *l, const struct field *f, void *into) {
  return read_whole(l, f->name, "bytes", 1 << 20, (uint64_t)1 << 44, &((struct ledger_conf *)into)->max_size);
}

/* A name, or a list of them. */
static bool read_scope(struct load *l, const struct field *f, enum contents_scope scope, struct contents_conf *c) {
  struct field item = { f->name, read_span, 0 };
  bool list = lua_istable(l->lua, -1);
  size_t n = list ? lua_rawlen(l->lua, -1) : 1;
  for (size_t i = 0; i < n; i++) {
    struct span name;
    if (list) lua_rawgeti(l->lua, -1, (lua_Integer)i + 1);
    bool good = read_span(l, &item, &name);
    if (list) lua_pop(l->lua, 1);
    if (!good) return false;
    c->names[scope] = list_add(&l->conf->arena, c->names[scope], &c->counts[scope], sizeof name);
    c->names[scope][c->counts[scope] - 1] = arena_copy(&l->conf->arena, name);
    c->any = true;
  }
  return true;
}
static bool read_team(struct load *l, const struct field *f, void *into) { return read_scope(l, f, CONTENTS_TEAM, into); }
static bool read_key(struct load *l, const struct field *f, void *into) { return read_scope(l, f, CONTENTS_KEY, into); }
static bool read_user(struct load *l, const struct field *f, void *into) { return read_scope(l, f, CONTENTS_USER, into); }
static bool read_model(struct load *l, const struct field *f, void *into) { return read_scope(l, f, CONTENTS_MODEL, into); }

static bool read_contents_keep(struct load *l, const struct field *f, void *into) {
  return read_number(l, f->name, "seconds", 60, 36500.0 * 86400, &((struct contents_conf *)into)->keep);
}

static bool read_contents_size(struct load *l, const struct field *f, void *into) {
  return read_whole(l, f->name, "bytes", 256, 1 << 20, &((struct contents_conf *)into)->size);
}

static bool read_contents(struct load *l, const struct field *f, void *into) {
  static const struct field fields[] = { { "team", read_team, 0 }, { "key", read_key, 0 }, { "user", read_user, 0 }, { "model", read_model, 0 },
                                         { "keep", read_contents_keep, 0 }, { "size", read_contents_size, 0 } };
  struct contents_conf *c = &((struct ledger_conf *)into)->contents;
  if (!lua_istable(l->lua, -1)) {
    problem_add(l, "%s is a table: contents = { team = { \"research\" } }, not %s", f->name, kind_of(l->lua, -1));
    return false;
  }
  fields_read(l, lua_gettop(l->lua), fields, sizeof fields / sizeof *fields, c, NULL, false);
  if (!c->any) problem_add(l, "contents says whose: team, key, user or model");
  return true;
}

int word_ledger(lua_State *L) {
  static const struct field fields[] = { { "keep", read_keep, 0 }, { "max_size", read_max_size, 0 }, { "contents", read_contents, 0 } };
  struct load *l = word_enter(L);
  struct ledger_conf *c = &l->conf->ledger;
  lua_settop(L, 1);
  l->within = SPAN("ledger");
  if (!word_once(l, ONCE_LEDGER, "ledger")) return sink_push(L);
  c->mode = LEDGER_ON;
  if (lua_istable(L, 1)) fields_read(l, 1, fields, 3, c, NULL, false);
  else if (lua_type(L, 1) == LUA_TSTRING && !strcmp(lua_tostring(L, 1), "off")) c->mode = LEDGER_OFF;
  else if (!sink_is(L, 1)) problem_add(l, "a table { … } or \"off\" must follow, not %s", kind_of(L, 1));
  return 0;
}

/* ---- secret */
struct secret_fields { struct span host; };

/* A host alone: what is compared with the host of a URL. */
static bool read_host(struct load *l, const struct field *f, void *into) {
  struct span host;
  struct field plain = { f->name, read_span, 0 };
  struct url url;
  const char *why;
  if (!read_span(l, &plain, &host)) return false;
  bool v6 = span_find(host, ':') < host.n && host.p[0] != '[';
  struct span text = arena_printf(&l->scratch, v6 ? "http://[%.*s]" : "http://%.*s", SPAN_FMT(host));
  if (!url_split(text, &url, &why) || url.port_given || url.path.n || url.query.n) {
    problem_add(l, "host must be a host alone, such as \"judge.internal\", without scheme, port or path");
    return false;
  }
  host = arena_copy(&l->conf->arena, url.host);
  for (size_t i = 0; i < host.n; i++) ((char *)host.p)[i] = ascii_lower(host.p[i]);
  ((struct secret_fields *)into)->host = host;
  return true;
}

static void secret_amend(struct load *l, size_t index) {
  static const struct field fields[] = { { "host", read_host, 0 } };
  struct secret_fields t = { 0 };
  struct auth_secret *s = &l->conf->secrets[index];
  l->secrets[index].amended = true;
  size_t before = l->error_count;
  bool is;
  fields_read(l, 2, fields, 1, &t, NULL, true);
  if (!t.host.n && l->error_count == before)
    problem_add(l, "host is missing: the only host that the secret is sent to");
  lua_rawgeti(l->lua, 2, 1);
  struct secret *secret = secret_at(l->lua, -1, &is);
  if (!is) problem_type(l, "the secret", SECRET_FORMS);
  if (lua_rawlen(l->lua, 2) > 1) problem_add(l, "it holds more than one secret");
  if (secret) s->secret = secret_kept(l, secret);
  s->host = t.host;
}

int word_secret(lua_State *L) {
  struct load *l = word_enter(L);
  struct conf *c = l->conf;
  struct span name;
  const char *example = "secret \"judge\" { env \"JUDGE_KEY\", host = \"judge.internal\" }";
  if (!argument_name(l, "secret", example, &name)) return sink_push(L);
  l->within = arena_printf(&l->scratch, "secret '%.*s'", SPAN_FMT(name));
  for (size_t i = 0; i < c->secret_count; i++)
    if (span_eq(c->secrets[i].name, name)) return problem_add(l, "the name is taken by another"), sink_push(L);
  c->secrets = list_add(&c->arena, c->secrets, &c->secret_count, sizeof *c->secrets);
  c->secrets[c->secret_count - 1].name = name;
  l->secrets = list_add(&l->scratch, l->secrets, &l->secret_count, sizeof *l->secrets);
  l->secrets[l->secret_count - 1].at = l->at;
  return handle_push(L, secret_amend, c->secret_count - 1);
}
