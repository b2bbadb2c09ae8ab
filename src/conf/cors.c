/* cors: which web pages may call weir from a browser. */
#include "load.h"

enum { LONGEST_ORIGIN = 300 };

static struct span lowered(struct arena *a, struct span s) {
  s = arena_copy(a, s);
  for (size_t i = 0; i < s.n; i++) ((char *)s.p)[i] = ascii_lower(s.p[i]);
  return s;
}

/* Of apps that have a scheme of their own ("capacitor://localhost", "chrome-extension://abc"): scheme and host, as they are. */
static bool own_scheme(struct span text, const char **why) {
  size_t n = span_search(text, SPAN("://"));
  struct span rest = n < text.n ? span_from(text, n + 3) : (struct span){ 0 };
  *why = "it must be \"https://app.example\", as a browser writes an origin, or \"*\"";
  if (!n || !rest.n) return false;
  for (size_t i = 0; i < text.n; i++) {
    char c = text.p[i];
    bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || (i < n && c == '+');
    if (!letter && !(i >= n && i < n + 3) && !(i > n + 3 && (c == ':' || c == '_'))) return false;
  }
  return true;
}

/* As a browser sends it: lower case, no port that the scheme has anyhow, no path. */
static bool origin_read(struct load *l, struct span text, struct span *out, const char **why) {
  struct arena *a = &l->conf->arena;
  struct url url;
  *out = lowered(a, text);
  if (text.n > LONGEST_ORIGIN) return *why = "it is longer than 300 bytes", false;
  if (span_eq(text, SPAN("*"))) return true;
  if (!span_starts(*out, SPAN("http://")) && !span_starts(*out, SPAN("https://"))) return own_scheme(*out, why);
  if (!url_split(*out, &url, why)) return false;
  if (url.path.n || url.query.p || text.p[text.n - 1] == '/') return *why = "an origin has no path, nor a \"/\" at its end", false;
  *out = arena_printf(a, "%s://%.*s", url.tls ? "https" : "http", SPAN_FMT(url_host_header(&url, a)));
  return true;
}

static void origin_add(struct load *l) {
  struct conf *c = l->conf;
  struct span text, origin;
  const char *why;
  struct field item = { "an origin", read_span, 0 };
  if (!read_span(l, &item, &text)) return;
  if (!origin_read(l, text, &origin, &why)) return problem_add(l, "\"%.*s\": %s", SPAN_FMT(text), why);
  c->origins = list_add(&c->arena, c->origins, &c->origin_count, sizeof *c->origins);
  c->origins[c->origin_count - 1] = origin;
  c->any_origin |= span_eq(origin, SPAN("*"));
}

int word_cors(lua_State *L) {
  struct load *l = word_enter(L);
  lua_settop(L, 1);
  l->within = SPAN("cors");
  if (sink_is(L, 1) || !word_once(l, ONCE_CORS, "cors")) return sink_push(L);
  if (!lua_istable(L, 1)) return origin_add(l), 0;
  fields_read(l, 1, NULL, 0, NULL, NULL, true);
  for (size_t i = 0; i < lua_rawlen(L, 1); i++) {
    lua_rawgeti(L, 1, (lua_Integer)i + 1);
    origin_add(l);
    lua_pop(L, 1);
  }
  if (l->conf->any_origin && l->conf->origin_count > 1) problem_add(l, "\"*\" stands for every origin: write it alone");
  return 0;
}

void cors_finish(struct load *l) {
  const struct conf *c = l->conf;
  l->at = l->once[ONCE_CORS];
  l->within = SPAN("cors");
  for (size_t i = 0; c->any_origin && i < c->listener_count; i++) {
    if (conf_asks(c, &c->listeners[i])) continue;
    warning_add(l, "with \"*\" every page that a browser opens may use \"%.*s\", which asks for no key", SPAN_FMT(c->listeners[i].spec));
  }
  l->within = (struct span){ 0 };
}
