/* HTTP proxies on the way to providers: what `proxy` says in a provider, and the usual variables of the environment.
   User name and password go straight into a ready header line, never into an arena or a message. */
#include "load.h"
#include "weir/sha256.h"
#include <arpa/inet.h>
#include <stdlib.h>

enum { LONGEST_USER_INFO = 1024, KEY_HEX = 16 };

/* ---- user info to "proxy-authorization: Basic …\r\n" (RFC 7617) */
static const char digits64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static char *base64_write(char *to, const unsigned char *p, size_t n) {
  for (size_t i = 0; i < n; i += 3) {
    size_t left = n - i;
    uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0u);
    *to++ = digits64[v >> 18];
    *to++ = digits64[v >> 12 & 63];
    *to++ = left > 1 ? digits64[v >> 6 & 63] : '=';
    *to++ = left > 2 ? digits64[v & 63] : '=';
  }
  return to;
}

static int hex_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = ascii_lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "user:password" with percent escapes undone; false when an escape is broken. */
static bool user_info_decode(struct span info, unsigned char *out, size_t *n) {
  *n = 0;
  for (size_t i = 0; i < info.n; i++) {
    char c = info.p[i];
    if (c == '%') {
      int high = info.n - i > 2 ? hex_of(info.p[i + 1]) : -1, low = info.n - i > 2 ? hex_of(info.p[i + 2]) : -1;
      if (high < 0 || low < 0) return false;
      c = (char)(high << 4 | low);
      i += 2;
    }
    out[(*n)++] = (unsigned char)c;
  }
  return true;
}

static struct secret *auth_line(struct span info, const char **why) {
  static const struct span start = SPAN("proxy-authorization: Basic ");
  unsigned char plain[LONGEST_USER_INFO + 1];
  char line[sizeof "proxy-authorization: Basic " + (LONGEST_USER_INFO + 1) / 3 * 4 + 8], *at = line;
  struct secret *secret = NULL;
  size_t n = 0;
  if (info.n > LONGEST_USER_INFO) return *why = "its user and password are longer than 1024 bytes", NULL;
  if (!user_info_decode(info, plain, &n)) {
    *why = "in its user or password a percent sign is not followed by two hex digits";
  } else {
    if (span_find(info, ':') == info.n) plain[n++] = ':';          /* a user without a password */
    memcpy(at, start.p, start.n);
    at = base64_write(at + start.n, plain, n);
    memcpy(at, "\r\n", 2);
    secret = secret_new(span_of(line, (size_t)(at - line) + 2));
  }
  secret_wipe(plain, sizeof plain);
  secret_wipe(line, sizeof line);
  return secret;
}

/* ---- one proxy */
/* Connections of other credentials are not shared; what tells them apart must not tell them. */
static struct span key_of(struct arena *a, const struct proxy *p) {
  char hex[SHA256_HEX];
  if (!p->auth_line) return arena_printf(a, "%.*s", SPAN_FMT(p->name));
  sha256_hex_of(secret_use(p->auth_line), hex);
  return arena_printf(a, "%.*s#%.*s", SPAN_FMT(p->name), KEY_HEX, hex);
}

/* "http://user:password@host:port", the scheme and a last "/" may be missing. The password may hold an "@". */
static bool proxy_parse(struct load *l, struct span text, struct proxy *out, const char **why) {
  struct arena *a = &l->conf->arena;
  struct url url;
  size_t scheme = span_search(text, SPAN("://"));
  if (scheme < text.n) {
    struct span name = span_of(text.p, scheme);
    if (!span_ieq(name, SPAN("http"))) {
      *why = span_ieq(name, SPAN("https")) ? "weir speaks no TLS to a proxy: only http:// proxies can be used" : "only http:// proxies can be used";
      return false;
    }
    text = span_from(text, scheme + 3);
  }
  size_t end = span_find(text, '/'), at = end;
  while (at && text.p[at - 1] != '@') at--;
  struct span whole = arena_printf(a, "http://%.*s", SPAN_FMT(span_from(text, at)));
  if (!url_split(whole, &url, why)) return false;
  if (url.path.n || url.query.p) return *why = "a proxy has no path", false;
  out->host = arena_cstr(a, url.host);
  out->port = url.port;
  out->name = arena_printf(a, url.ipv6 ? "[%s]:%u" : "%s:%u", out->host, out->port);
  if (at > 1) {
    struct secret *line = auth_line(span_of(text.p, at - 1), why);
    if (!line) return false;
    out->auth_line = secret_kept(l, line);
    secret_drop(line);
  }
  out->key = key_of(a, out);
  return true;
}

/* ---- `proxy` in a provider or endpoint */
bool read_proxy(struct load *l, const struct field *f, void *into) {
  struct proxy_draft *d = (struct proxy_draft *)((char *)into + f->offset);
  lua_State *L = l->lua;
  const char *why = "it must not hold a control character";
  bool is, text = lua_type(L, -1) == LUA_TSTRING;
  struct secret *secret = secret_at(L, -1, &is);
  d->given = true;
  if (sink_is(L, -1) || (is && !secret)) return true;
  if (lua_isboolean(L, -1) && !lua_toboolean(L, -1)) return true;
  if (!text && !is) return problem_type(l, f->name, "\"http://host:port\", a secret that holds that, or false"), false;
  struct span given = is ? secret_use(secret) : (struct span){ 0 };
  if (text) given.p = lua_tolstring(L, -1, &given.n);
  struct proxy *p = arena_zero(&l->conf->arena, sizeof *p);
  if (!proxy_parse(l, given, p, &why)) return problem_add(l, "%s: %s", f->name, why), false;
  if (text && p->auth_line)
    warning_add(l, "%s holds a password that everybody sees who reads this file; proxy = env \"NAME\" keeps it out", f->name);
  d->proxy = p;
  return true;
}

/* ---- the environment: lower case first, since that is what most programs read; an empty one is none */
static const struct proxy *variable_read(struct load *l, const char *lower, const char *upper) {
  const char *names[] = { lower, upper }, *why;
  for (size_t i = 0; i < 2; i++) {
    const char *value = getenv(names[i]);
    if (!value || !*value) continue;
    struct proxy *p = arena_zero(&l->conf->arena, sizeof *p);
    if (!proxy_parse(l, span_cstr(value), p, &why)) p->bad = arena_printf(&l->conf->arena, "%s: %s", names[i], why).p;
    return p;
  }
  return NULL;
}

void proxies_read(struct load *l) {
  struct conf *c = l->conf;
  const struct proxy *all = variable_read(l, "all_proxy", "ALL_PROXY");
  const char *none = getenv("no_proxy");
  if (!none || !*none) none = getenv("NO_PROXY");
  c->proxy_http = variable_read(l, "http_proxy", "HTTP_PROXY");
  c->proxy_https = variable_read(l, "https_proxy", "HTTPS_PROXY");
  if (!c->proxy_http) c->proxy_http = all;
  if (!c->proxy_https) c->proxy_https = all;
  c->proxy_none = arena_copy(&c->arena, span_cstr(none));
}

static bool address_of(struct span host, struct sockaddr_storage *out) {
  char text[INET6_ADDRSTRLEN];
  *out = (struct sockaddr_storage){ 0 };
  if (host.n > 1 && host.p[0] == '[' && host.p[host.n - 1] == ']') host = span_of(host.p + 1, host.n - 2);
  if (!host.n || host.n >= sizeof text) return false;
  memcpy(text, host.p, host.n);
  text[host.n] = 0;
  out->ss_family = AF_INET;
  if (inet_pton(AF_INET, text, &((struct sockaddr_in *)out)->sin_addr) == 1) return true;
  out->ss_family = AF_INET6;
  return inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)out)->sin6_addr) == 1;
}

static struct span without_dot(struct span host) {
  if (host.n && host.p[host.n - 1] == '.') host.n--;
  return host;
}

/* "example.com" stands for itself and for all below it, as ".example.com" and "*.example.com" do. */
static bool name_covers(struct span entry, struct span host) {
  if (span_starts(entry, SPAN("*."))) entry = span_from(entry, 1);
  if (entry.n && entry.p[0] == '.') entry = span_from(entry, 1);
  entry = without_dot(entry);
  if (!entry.n || entry.n > host.n) return false;
  size_t before = host.n - entry.n;
  return span_ieq(span_from(host, before), entry) && (!before || host.p[before - 1] == '.');
}

static bool entry_covers(struct span entry, const struct url *u, const struct sockaddr_storage *address) {
  struct network network;
  struct sockaddr_storage own;
  if (span_eq(entry, SPAN("*"))) return true;
  if (address && network_read(entry, &network)) return network_holds(&network, address);
  size_t colon = entry.n;                                /* "host:port", "[::1]:port" */
  while (colon && entry.p[colon - 1] >= '0' && entry.p[colon - 1] <= '9') colon--;
  uint64_t port;
  bool one = span_find(entry, ':') + 1 == colon || (colon > 1 && entry.p[0] == '[' && entry.p[colon - 2] == ']');
  if (colon && entry.p[colon - 1] == ':' && one && span_u64(span_from(entry, colon), &port)) {
    if (port != u->port) return false;
    entry.n = colon - 1;
  }
  if (!address) return name_covers(entry, without_dot(u->host));
  return address_of(entry, &own) && !memcmp(&own, address, sizeof own);
}

static bool host_is_near(const struct url *u, const struct sockaddr_storage *address) {
  struct span host = without_dot(u->host);
  return address ? address_local(address) : name_covers(SPAN("localhost"), host);
}

const struct proxy *conf_proxy(const struct conf *c, const struct url *u) {
  const struct proxy *p = u->tls ? c->proxy_https : c->proxy_http;
  struct sockaddr_storage a, *address = address_of(u->host, &a) ? &a : NULL;
  if (!p || host_is_near(u, address)) return NULL;
  for (size_t i = 0; i < c->proxy_none.n;) {
    size_t start = i;
    while (i < c->proxy_none.n && !strchr(", \t", c->proxy_none.p[i])) i++;
    if (i > start && entry_covers(span_of(c->proxy_none.p + start, i - start), u, address)) return NULL;
    i++;
  }
  return p;
}
