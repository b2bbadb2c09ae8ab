/* What can be told only when all files have run: defaults, references between words, the hash. */
#include "load.h"
#include "weir/sha256.h"
#include <stdlib.h>
#include <unistd.h>

static bool spec_local(struct span spec) {
  struct sockaddr_storage a;
  socklen_t size;
  const char *why;
  return conf_address(spec, &a, &size, &why) && address_local(&a);
}

static bool spec_same(struct span a, struct span b) {
  struct sockaddr_storage x, y;
  socklen_t m, n;
  const char *why;
  return conf_address(a, &x, &m, &why) && conf_address(b, &y, &n, &why) && m == n && !memcmp(&x, &y, m);
}

/* Nobody could get in, and nobody is to get in unasked. */
static void listener_unkeyed(struct load *l, struct span spec) {
  if (l->guarded)
    warning_add(l, "\"%.*s\" asks for keys and there is none any more: nobody gets in; weir key mint NAME makes one",
                SPAN_FMT(spec));
  else
    problem_add(l, "\"%.*s\" is not loopback and there is no key: make one with weir key mint NAME; or, if everybody "
                "who reaches it may use it, write listen { \"%.*s\", open = true }", SPAN_FMT(spec), SPAN_FMT(spec));
}

static void listener_check(struct load *l, size_t number) {
  const struct listener *own = &l->conf->listeners[number];
  struct span spec = own->spec;
  if (!own->open && !own->local && !l->conf->keys.count) listener_unkeyed(l, spec);
  if (spec_same(spec, l->conf->admin.spec)) problem_add(l, "\"%.*s\" is the address of admin too", SPAN_FMT(spec));
  for (size_t i = 0; i < number; i++) {
    if (!spec_same(spec, l->listeners[i].listener.spec)) continue;
    problem_add(l, "\"%.*s\" stands twice; the first is at %s", SPAN_FMT(spec), place_text(l, l->listeners[i].at));
    return;
  }
}

static void listeners_take(struct load *l) {
  struct conf *c = l->conf;
  c->listener_count = l->listener_count ? l->listener_count : 1;
  c->listeners = arena_zero(&c->arena, c->listener_count * sizeof *c->listeners);
  c->listeners[0].spec = SPAN("127.0.0.1:8080");
  for (size_t i = 0; i < l->listener_count; i++) c->listeners[i] = l->listeners[i].listener;
  for (size_t i = 0; i < c->listener_count; i++) c->listeners[i].local = spec_local(c->listeners[i].spec);
}

static void listeners_finish(struct load *l) {
  struct conf *c = l->conf;
  listeners_take(l);
  if (!c->admin.spec.n) c->admin.spec = SPAN("127.0.0.1:9090");
  l->within = SPAN("listen");
  for (size_t i = 0; i < l->listener_count; i++) {
    l->at = l->listeners[i].at;
    listener_check(l, i);
  }
  l->at = l->admin_at;
  l->within = SPAN("admin");
  if (!spec_local(c->admin.spec) && !c->admin_token)
    warning_add(l, "without a token only /livez, /readyz and /metrics are served off loopback");
  l->within = (struct span){ 0 };
}

static void default_finish(struct load *l) {
  struct conf *c = l->conf;
  if (!l->default_provider.n) {
    if (!c->file.n && c->provider_count) c->default_provider = &c->providers[0];
    return;
  }
  l->at = l->once[ONCE_DEFAULT_PROVIDER];
  if ((c->default_provider = conf_provider(c, l->default_provider))) return;
  const char **names = arena_alloc(&l->scratch, (c->provider_count + 1) * sizeof *names);
  for (size_t i = 0; i < c->provider_count; i++) names[i] = arena_cstr(&l->scratch, c->providers[i].name);
  l->within = SPAN("default_provider");
  problem_unknown(l, "provider", l->default_provider, names, c->provider_count);
  l->within = (struct span){ 0 };
}

static void secrets_finish(struct load *l) {
  struct conf *c = l->conf;
  for (size_t i = 0; i < c->secret_count; i++) {
    if (l->secrets[i].amended) continue;
    l->at = l->secrets[i].at;
    l->within = arena_printf(&l->scratch, "secret '%.*s'", SPAN_FMT(c->secrets[i].name));
    problem_add(l, "a table must follow: { env \"NAME\", host = \"judge.internal\" }");
    l->within = (struct span){ 0 };
  }
}

/* systemd gives a list when a unit has several. */
static struct span first_folder(struct arena *a, const char *list) {
  struct span first;
  span_cut(span_cstr(list), ':', &first);
  return arena_copy(a, first);
}

static const char *given(const char *variable) {
  const char *value = getenv(variable);
  return value && *value ? value : NULL;
}

struct span conf_default_runtime(struct arena *a) {
  const char *run = given("RUNTIME_DIRECTORY"), *xdg = given("XDG_RUNTIME_DIR");
  if (run) return first_folder(a, run);
  if (xdg) return arena_printf(a, "%s/weir", xdg);
  return geteuid() ? arena_printf(a, "/tmp/weir-%u", (unsigned)geteuid()) : SPAN("/run/weir");
}

/* Folders lie where weir.lua says, seen from weir.lua: whoever asks from elsewhere finds the same ones. */
struct span conf_folder_path(struct arena *a, const char *file, struct span folder) {
  if (!folder.n || folder.p[0] == '/') return arena_copy(a, folder);
  char *base = arena_cstr(a, file && *file ? path_folder(span_cstr(file)) : SPAN("."));
  char *real = realpath(*base ? base : ".", NULL);
  struct span path = arena_printf(a, "%s/%.*s", real ? real : base, SPAN_FMT(folder));
  mem_free(real);
  return path;
}

static void folders_finish(struct conf *c) {
  char *file = arena_cstr(&c->arena, c->file);
  c->state_dir = conf_folder_path(&c->arena, file, c->state_dir);
  c->runtime_dir = conf_folder_path(&c->arena, file, c->runtime_dir);
  const char *state = given("STATE_DIRECTORY"), *home = given("HOME");
  if (!c->state_dir.n) {
    if (state) c->state_dir = first_folder(&c->arena, state);
    else if (home) c->state_dir = arena_printf(&c->arena, "%s/.local/state/weir", home);
    else c->state_dir = SPAN("/var/lib/weir");
  }
  if (!c->runtime_dir.n) c->runtime_dir = conf_default_runtime(&c->arena);
}

static void feed(struct sha256 *h, struct span s) {
  uint64_t n = s.n;
  sha256_feed(h, span_of((const char *)&n, sizeof n));
  sha256_feed(h, s);
}

/* Over names and bytes of all files; names as seen from weir.lua, so that the same files elsewhere are
   the same generation. Without a file: over the providers that the environment gave. */
static void hash_finish(struct conf *c) {
  struct sha256 h;
  unsigned char digest[SHA256_SIZE];
  sha256_init(&h);
  for (const struct source *s = c->sources.list; s; s = s->next) {
    struct span name = s->path, folder = c->sources.folder;
    bool below = folder.n && name.n > folder.n && span_starts(name, folder) && name.p[folder.n] == '/';
    if (below) name = span_from(name, folder.n + 1);
    feed(&h, name);
    feed(&h, s->bytes);
  }
  for (size_t i = 0; i < c->provider_count && !c->file.n; i++) feed(&h, c->providers[i].name);
  sha256_end(&h, digest);
  sha256_hex(digest, c->hash);
}

void conf_finish_keys(struct load *l) {
  listeners_take(l);
  keys_finish(l);
  folders_finish(l->conf);
}

void conf_finish(struct load *l) {
  struct conf *c = l->conf;
  settings_fill(&c->defaults);
  keys_finish(l);
  listeners_finish(l);
  proxies_read(l);
  providers_finish(l);
  prices_finish(l);
  default_finish(l);
  aliases_finish(l);
  uses_finish(l);
  secrets_finish(l);
  cors_finish(l);
  folders_finish(c);
  if (!c->access_log.n) c->access_log = SPAN("stdout");
  hash_finish(c);
  watch_finish(c);
  l->at = (struct place){ c->file.n ? c->sources.list : NULL, 0 };
  if (!c->provider_count)
    warning_add(l, "there is no provider: set OPENAI_API_KEY, or write provider \"openai\" { key = … }");
}
