/* Drafts of providers to what an attempt needs: addresses, accounts, ready header lines. */
#include "load.h"
#include <arpa/inet.h>
#include <stdlib.h>

static const struct http_header anthropic_version = { { "anthropic-version", 17 }, { "2023-06-01", 10 } };

static bool local_host(struct span host) {
  char text[64];
  unsigned char v6[16];
  static const unsigned char one[16] = { [15] = 1 };
  if (span_ieq(host, SPAN("localhost")) || span_starts(host, SPAN("127."))) return true;
  if (host.n >= sizeof text) return false;
  memcpy(text, host.p, host.n);
  text[host.n] = 0;
  return inet_pton(AF_INET6, text, v6) == 1 && !memcmp(v6, one, 16);
}

/* Requests to it would come back to weir, and again. */
static bool own_listener(const struct load *l, const struct url *u) {
  struct sockaddr_storage a;
  socklen_t size;
  const char *why;
  if (!local_host(u->host)) return false;
  for (size_t i = 0; i < l->conf->listener_count; i++) {
    if (!conf_address(l->conf->listeners[i].spec, &a, &size, &why) || a.ss_family == AF_UNIX) continue;
    if (((struct sockaddr_in *)&a)->sin_port == htons(u->port)) return true;      /* sockaddr_in6 has it there too */
  }
  return false;
}

struct secret *auth_line_make(const char *header, struct span key) {
  struct span name = span_cstr(header);
  struct span scheme = span_ieq(name, SPAN("authorization")) ? SPAN(": Bearer ") : span_find(name, ':') < name.n ? SPAN(" ") : SPAN(": ");
  size_t n = name.n + scheme.n + key.n + 2;
  char *line = mem_alloc(n), *at = line;
  memcpy(at, name.p, name.n);
  memcpy(at += name.n, scheme.p, scheme.n);
  memcpy(at += scheme.n, key.p, key.n);
  memcpy(at + key.n, "\r\n", 2);
  struct secret *secret = secret_new(span_of(line, n));
  secret_wipe(line, n);
  mem_free(line);
  return secret;
}

/* A catalogue name with another dialect is another server, and takes keys as that dialect's do. */
static const char *auth_header_of(const struct provider_draft *d) {
  enum dialect family = dialect_family(d->provider.dialect);
  if (d->auth) return d->auth;
  if (d->known && dialect_family(d->known->dialect) == family) return d->known->auth_header;
  return family == DIALECT_MESSAGES ? "x-api-key" : family == DIALECT_GEMINI ? "x-goog-api-key" : "authorization";
}

static struct account *accounts_build(struct load *l, const struct provider_draft *d, const struct endpoint_draft *e, size_t *count) {
  const struct accounts *from = &e->accounts;
  const char *header = auth_header_of(d);
  size_t n = from->count ? from->count : 1;
  struct account *accounts = arena_zero(&l->conf->arena, n * sizeof *accounts);
  for (size_t i = 0; i < n; i++) accounts[i].index = (unsigned)i;
  for (size_t i = 0; i < from->count; i++) {
    struct secret *line = auth_line_make(header, secret_use(from->keys[i]));
    accounts[i].key = from->keys[i];
    accounts[i].auth_line = secret_kept(l, line);
    secret_drop(line);
    accounts[i].renewal = renewal_of(l, from->keys[i], header);
  }
  if (d->provider.dialect == DIALECT_CONVERSE) aws_accounts(l, e, accounts);
  else if (e->ids.given || e->sessions.given) problem_add(l, "key_id and session are for providers that are signed for: of the dialect converse");
  *count = n;
  return accounts;
}

/* The usual variable is for the usual place alone: a key is not sent elsewhere unasked. */
static void usual_key(struct load *l, struct provider_draft *d, bool usual_place) {
  const char *variable = d->known ? d->known->key_variable : NULL, *why;
  if (d->self.accounts.given) return;
  if (d->provider.dialect == DIALECT_CONVERSE && d->known) { aws_usual_key(l, &d->self, usual_place); return; }
  if (!variable || !usual_place) return;
  struct secret *secret = getenv(variable) ? secret_from_environment(variable, &why) : NULL;
  if (!secret && getenv(variable)) problem_add(l, "environment variable '%s' %s", variable, why);
  else if (!secret && !d->quirks.local) warning_add(l, "it has no key, and %s is not set: its requests will be refused", variable);
  if (!secret) return;
  struct accounts *a = &d->self.accounts;
  a->keys = list_add(&l->conf->arena, a->keys, &a->count, sizeof *a->keys);
  a->keys[a->count - 1] = secret_kept(l, secret);
  secret_drop(secret);
}

static struct span nearer(struct span own, struct span wider) { return own.n ? own : wider; }

static struct span lowered(struct arena *a, struct span s) {
  s = arena_copy(a, s);
  for (size_t i = 0; i < s.n; i++) ((char *)s.p)[i] = ascii_lower(s.p[i]);
  return s;
}

static struct span with_version(struct arena *a, struct span query, struct span version) {
  if (!version.n) return query;
  struct span rest = query_without(query, SPAN("api-version"), a);
  return arena_printf(a, "api-version=%.*s%s%.*s", SPAN_FMT(version), rest.n ? "&" : "", SPAN_FMT(rest));
}

/* Azure: a url that names the resource alone gets the path that goes with or without an api-version. */
static void deployments_build(struct load *l, const struct provider_draft *d, struct endpoint *out) {
  struct url *u = &out->url;
  if (!d->quirks.deployments) {
    if (d->api_version.n) problem_add(l, "api_version is of azure alone; a query may stand in the url");
    return;
  }
  for (size_t i = 0; i < d->api_version.n; i++)
    if (!name_char(d->api_version.p[i])) return problem_add(l, "api_version must be a date such as \"2024-10-21\", or \"preview\"");
  u->query = with_version(&l->conf->arena, u->query, d->api_version);
  bool versioned = query_value(u->query, SPAN("api-version")).p;
  if (!u->path.n) u->path = versioned && !span_eq(d->api_version, SPAN("preview")) ? SPAN("/openai") : SPAN("/openai/v1");
  out->deployments = versioned && !span_ends(u->path, SPAN("/v1")) && span_search(u->path, SPAN("/deployments/")) >= u->path.n;
}

/* These are asked of a deployment; all else of the resource. */
void endpoint_path(const struct endpoint *e, const struct operation_info *o, struct span model, bool stream, struct buf *out) {
  bool of_one = o->operation == OP_CHAT || o->operation == OP_COMPLETIONS || o->operation == OP_EMBEDDINGS;
  if (e->deployments && of_one) {
    buf_add(out, SPAN("/deployments/"));
    model_segment_write(model, out);
  }
  operation_path(o, e->url.path, model, stream, out);
}

static void endpoint_build(struct load *l, struct provider_draft *d, const struct endpoint_draft *e,
                           struct endpoint *out) {
  struct arena *a = &l->conf->arena;
  const struct accounts *keys = e->accounts.given ? &e->accounts : &d->self.accounts;
  bool converse = d->provider.dialect == DIALECT_CONVERSE;
  const char *why;
  out->text = nearer(e->url, d->self.url);
  if (!out->text.n && d->known && d->known->url) out->text = span_cstr(d->known->url);
  if (e->url_bad || (!e->url.n && d->self.url_bad)) return;
  out->region = nearer(e->region, d->self.region);
  if (converse && !out->text.n && d->known) {
    out->region = aws_region(out->region, (struct span){ 0 });
    if (!out->region.n) return problem_add(l, "region is missing: region = \"us-east-1\", or set AWS_REGION");
    out->text = aws_url(l, out->region);
  }
  if (!out->text.n && d->quirks.url_form) return problem_add(l, "url is missing; it has none of its own: url = \"%s\"", d->quirks.url_form);
  if (!out->text.n) return problem_add(l, "url is missing");
  if (!url_split(out->text, &out->url, &why)) return problem_add(l, "url: %s", why);
  deployments_build(l, d, out);
  if (own_listener(l, &out->url))
    problem_add(l, "url: it is weir's own listen address; requests would go round in circles");
  out->tls_name = nearer(nearer(e->tls_name, d->self.tls_name), out->url.host);
  out->ca = nearer(e->ca, d->self.ca);
  if (converse) out->region = arena_copy(a, aws_region(out->region, out->url.host));
  out->weight = e->weight;
  out->host_header = url_host_header(&out->url, a);
  out->host_line = arena_printf(a, " HTTP/1.1\r\nhost: %.*s\r\n", SPAN_FMT(out->host_header));
  out->proxy = e->proxy.given ? e->proxy.proxy : d->self.proxy.given ? d->self.proxy.proxy : conf_proxy(l->conf, &out->url);
  if (out->proxy && out->proxy->bad) return problem_add(l, "%s; proxy = false goes without it", out->proxy->bad);
  struct span host = lowered(a, out->url.host), name = lowered(a, out->tls_name);
  struct span via = out->proxy ? out->proxy->key : (struct span){ 0 };
  out->pool_key = arena_printf(a, "%s|%.*s|%u|%.*s|%.*s%s%.*s", out->url.tls ? "https" : "http", SPAN_FMT(host),
                               out->url.port, SPAN_FMT(name), SPAN_FMT(out->ca), via.n ? "|" : "", SPAN_FMT(via));
  if (!out->url.tls && (out->ca.n || e->tls_name.n || d->self.tls_name.n))
    warning_add(l, "ca and tls_name have no use with an http:// url");
  if (!out->url.tls && keys->count && !local_host(host))
    warning_add(l, "its key is sent unencrypted to %.*s", SPAN_FMT(host));
  if (e->accounts.given && e != &d->self) out->accounts = accounts_build(l, d, e, &out->account_count);
}

/* A signature names the region that it is good for. */
static void regions_check(struct load *l, const struct endpoint *e) {
  for (size_t i = 0; i < e->account_count; i++) {
    if (!e->accounts[i].signs || e->region.n || !e->url.host.n) continue;
    problem_add(l, "region is missing: region = \"us-east-1\", or set AWS_REGION");
    return;
  }
}

/* What the name alone does not tell. */
static bool provider_described(struct load *l, struct provider_draft *d) {
  const char *names[64];
  size_t count = 0;
  bool url = d->self.url.n || d->endpoint_count;
  if (d->dialect_given) return !d->dialect_bad;
  if (d->known) return d->provider.dialect = d->known->dialect, true;
  if (catalogue_later(d->provider.name)) return problem_add(l, "it is not in this version"), false;
  while (count < 64 && catalogue_at(count)) names[count] = catalogue_at(count)->name, count++;
  const char *nearest = span_nearest(d->provider.name, names, count), *missing = url ? "a dialect" : "dialect and url";
  if (nearest) problem_add(l, "it is not in the catalogue, so it needs %s; did you mean '%s'?", missing, nearest);
  else problem_add(l, "it is not in the catalogue, so it needs %s: \"chat\", \"responses\", \"messages\" or \"gemini\"", missing);
  return false;
}

static bool urls_given(const struct provider_draft *d) {
  if (d->self.url.n) return true;
  for (size_t i = 0; i < d->endpoint_count; i++)
    if (!d->endpoints[i]->url.n) return false;
  return d->endpoint_count > 0;
}

static void provider_build(struct load *l, struct provider_draft *d, struct provider *out) {
  struct endpoint_draft *self[1] = { &d->self }, **list = d->endpoint_count ? d->endpoints : self;
  size_t count = d->endpoint_count ? d->endpoint_count : 1, shared_count;
  *out = d->provider;
  out->others = arena_printf(&l->conf->arena, "%.*s/other", SPAN_FMT(out->name));
  out->quirks = memcpy(arena_alloc(&l->conf->arena, sizeof d->quirks), &d->quirks, sizeof d->quirks);
  if (!provider_described(l, d)) return;
  out->dialect = d->provider.dialect;
  out->catalogue = d->known != NULL;
  out->auth_header = auth_header_of(d);
  span_cut(span_cstr(out->auth_header), ':', &out->auth_name);
  for (size_t i = 0; i < out->model_count; i++)
    if (out->models[i].responses >= 0 && out->dialect != DIALECT_CHAT && out->dialect != DIALECT_RESPONSES)
      problem_add(l, "model '%.*s': dialect has no effect here, since the provider speaks %s", SPAN_FMT(out->models[i].name), dialect_word(out->dialect));
  if (out->dialect == DIALECT_MESSAGES) out->when_absent = anthropic_version;
  usual_key(l, d, !urls_given(d) || (d->known && !d->known->url && d->provider.dialect != DIALECT_CONVERSE));
  struct account *shared = accounts_build(l, d, &d->self, &shared_count);
  out->endpoints = arena_zero(&l->conf->arena, count * sizeof *out->endpoints);
  out->endpoint_count = count;
  for (size_t i = 0; i < count; i++) {
    struct endpoint *e = &out->endpoints[i];
    if (d->endpoint_count) l->at = list[i]->at;
    endpoint_build(l, d, list[i], e);
    if (!e->accounts) e->accounts = shared, e->account_count = shared_count;
    regions_check(l, e);
  }
}

static void providers_from_environment(struct load *l) {
  const struct catalogue_provider *p;
  l->at = (struct place){ 0 };
  for (size_t i = 0; (p = catalogue_at(i)); i++) {
    const char *key = p->url && p->key_variable && !p->quirks->local ? getenv(p->key_variable) : NULL;
    if ((key && *key) || (p->dialect == DIALECT_CONVERSE && aws_in_environment())) provider_draft_add(l, span_cstr(p->name));
  }
}

void providers_finish(struct load *l) {
  struct conf *c = l->conf;
  if (!l->provider_count) providers_from_environment(l);
  c->providers = arena_zero(&c->arena, l->provider_count * sizeof *c->providers);
  c->provider_count = l->provider_count;
  for (size_t i = 0; i < l->provider_count; i++) {
    struct provider_draft *d = &l->providers[i];
    l->at = d->at;
    l->within = arena_printf(&l->scratch, "provider '%.*s'", SPAN_FMT(d->provider.name));
    provider_build(l, d, &c->providers[i]);
    c->providers[i].number = (unsigned)i;
  }
  l->within = (struct span){ 0 };
  for (const struct endpoint_draft *e = l->endpoints; e; e = e->next) {
    l->at = e->at;
    if (!e->taken)
      problem_add(l, "endpoint stands outside a provider: provider \"azure\" { endpoint { … } }");
  }
}
