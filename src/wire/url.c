#include "weir/url.h"
#include "http_chars.h"
#include <arpa/inet.h>

enum { LONGEST_HOST = 253, LONGEST_LABEL = 63, HTTP_PORT = 80, HTTPS_PORT = 443 };

static bool refuse(const char **why, const char *text) {
  *why = text;
  return false;
}

static bool ipv6_ok(struct span host) {
  char text[INET6_ADDRSTRLEN];
  struct in6_addr address;
  if (host.n >= sizeof text) return false;
  memcpy(text, host.p, host.n);
  text[host.n] = 0;
  return inet_pton(AF_INET6, text, &address) == 1;
}

/* Labels of 1 to 63 bytes; one dot at the end is the root's. host is not empty. */
static bool name_ok(struct span host) {
  size_t label = 0;
  if (host.p[host.n - 1] == '.') host.n--;
  if (host.n > LONGEST_HOST) return false;
  for (size_t i = 0; i < host.n; i++) {
    if (!char_is(host.p[i], CHAR_HOST)) return false;
    if (host.p[i] != '.') label++;
    else if (!label) return false;
    else label = 0;
    if (label > LONGEST_LABEL) return false;
  }
  return label > 0;
}

static bool port_read(struct span text, uint16_t *port) {
  uint64_t v;
  if (text.n > 5 || !span_u64(text, &v) || !v || v > 65535) return false;
  *port = (uint16_t)v;
  return true;
}

bool authority_read(struct span text, struct authority *out, const char **why) {
  struct span port;
  *out = (struct authority){ 0 };
  if (span_find(text, '@') < text.n) return refuse(why, "user info is not allowed");
  out->ipv6 = text.n && text.p[0] == '[';
  size_t n = span_find(text, out->ipv6 ? ']' : ':');
  if (out->ipv6) {
    if (n == text.n) return refuse(why, "the IPv6 address has no closing bracket");
    out->host = span_of(text.p + 1, n - 1);
    if (!ipv6_ok(out->host)) return refuse(why, "the IPv6 address is malformed");
    n++;
  } else {
    out->host = span_of(text.p, n);
    if (!n) return refuse(why, "the host is empty");
    if (!name_ok(out->host)) return refuse(why, "the host is malformed");
  }
  if (n == text.n) return true;
  port = span_from(text, n + 1);
  if (text.p[n] != ':' || !port_read(port, &out->port)) return refuse(why, "the port is not a number from 1 to 65535");
  out->port_given = true;
  return true;
}

/* A name whose last label is a number is an address to some resolvers ("127.1", "0x7f.1"): only the
   plain dotted form of four is taken. */
static bool address_ok(struct span host) {
  char text[INET_ADDRSTRLEN];
  struct in_addr address;
  if (host.p[host.n - 1] == '.') host.n--;
  size_t start = host.n;
  while (start && host.p[start - 1] != '.') start--;
  struct span last = span_from(host, start);
  bool hex = span_istarts(last, SPAN("0x")), number = true;
  for (size_t i = hex ? 2 : 0; i < last.n; i++) number &= hex ? hex_value(last.p[i]) < 16 : hex_value(last.p[i]) < 10;
  if (!number) return true;
  if (host.n >= sizeof text) return false;
  memcpy(text, host.p, host.n);
  text[host.n] = 0;
  return inet_pton(AF_INET, text, &address) == 1;
}

/* The byte a percent escape at s.p[i] stands for, or -1 when it is malformed. */
static int escape_at(struct span s, size_t i) {
  if (s.n - i < 3) return -1;
  unsigned high = hex_value(s.p[i + 1]), low = hex_value(s.p[i + 2]);
  return high > 15 || low > 15 ? -1 : (int)(high << 4 | low);
}

/* One byte of s, decoded, at *i, which is moved behind it. */
static char decoded_next(struct span s, size_t *i) {
  int escape = s.p[*i] == '%' ? escape_at(s, *i) : -1;
  char c = s.p[*i];
  *i += escape < 0 ? 1 : 3;
  return escape < 0 ? c : (char)escape;
}

static bool chars_ok(struct span s, const char **why) {
  for (size_t i = 0; i < s.n; i++) {
    if (s.p[i] == '#') return refuse(why, "a fragment is not allowed");
    if (!char_is(s.p[i], CHAR_TARGET)) return refuse(why, "it holds a byte that must be percent-encoded");
    if (s.p[i] == '%' && escape_at(s, i) < 0) return refuse(why, "a percent sign is not followed by two hex digits");
  }
  return true;
}

/* Segments as the most liberal server sees them: decoded, cut at "/" and backslash also where these
   were escaped, without a ";parameter". */
static bool path_ok(struct span path, const char **why) {
  size_t dots = 0;
  bool only_dots = true, parameter = false;
  for (size_t i = 0; i < path.n;) {
    char c = decoded_next(path, &i);
    bool ends = c == '/' || c == '\\';
    if (!c) return refuse(why, "the path holds an encoded NUL");
    if (c == ';') parameter = true;
    if (!ends && !parameter) only_dots &= c == '.', dots++;
    if (!ends && i < path.n) continue;
    if (only_dots && (dots == 1 || dots == 2)) return refuse(why, "the path holds a \".\" or \"..\" segment");
    if (ends) dots = 0, only_dots = true, parameter = false;
  }
  return true;
}

static struct span cut_query(struct span s, struct span *path) {
  struct span query = span_cut(s, '?', path);
  return query.p ? query : (struct span){ NULL, 0 };
}

bool url_split(struct span text, struct url *out, const char **why) {
  struct authority authority;
  *out = (struct url){ 0 };
  out->tls = span_istarts(text, SPAN("https://"));
  if (!out->tls && !span_istarts(text, SPAN("http://"))) return refuse(why, "the scheme is not http or https");
  text = span_from(text, out->tls ? 8 : 7);
  if (!chars_ok(text, why)) return false;
  size_t n = 0;
  while (n < text.n && text.p[n] != '/' && text.p[n] != '?') n++;
  if (!authority_read(span_of(text.p, n), &authority, why)) return false;
  if (!authority.ipv6 && !address_ok(authority.host)) return refuse(why, "the IPv4 address is malformed");
  out->host = authority.host;
  out->ipv6 = authority.ipv6;
  out->port_given = authority.port_given;
  out->port = authority.port_given ? authority.port : out->tls ? HTTPS_PORT : HTTP_PORT;
  out->query = cut_query(span_from(text, n), &out->path);
  if (!path_ok(out->path, why)) return false;
  while (out->path.n && out->path.p[out->path.n - 1] == '/') out->path.n--;
  return true;
}

struct span url_host_header(const struct url *u, struct arena *a) {
  const char *open = u->ipv6 ? "[" : "", *close = u->ipv6 ? "]" : "";
  if (u->port == (u->tls ? HTTPS_PORT : HTTP_PORT)) return arena_printf(a, "%s%.*s%s", open, SPAN_FMT(u->host), close);
  return arena_printf(a, "%s%.*s%s:%u", open, SPAN_FMT(u->host), close, u->port);
}

bool target_split(struct span target, struct span *path, struct span *query, const char **why) {
  if (!target.n || target.p[0] != '/') return refuse(why, "the target does not start with \"/\"");
  size_t plain = 0;
  while (plain < target.n && char_is(target.p[plain], CHAR_PATH)) plain++;
  bool fine = plain == target.n || target.p[plain] == '?';                 /* as most are: the path needs no further look */
  if (!chars_ok(fine ? span_from(target, plain) : target, why)) return false;
  *query = cut_query(target, path);
  return fine || path_ok(*path, why);
}

/* Whether a "name=value" is of that name, however its name is encoded. */
static bool param_named(struct span param, struct span name) {
  size_t i = 0, j = 0, n = span_find(param, '=');
  param.n = n;
  while (i < n && j < name.n)
    if (decoded_next(param, &i) != name.p[j++]) return false;
  return i == n && j == name.n;
}

static size_t params_named(struct span query, struct span name) {
  size_t count = 0;
  for (struct span param, rest = query; rest.p;) {
    rest = span_cut(rest, '&', &param);
    count += param_named(param, name);
  }
  return count;
}

struct span query_without(struct span query, struct span name, struct arena *a) {
  if (!query.n || !params_named(query, name)) return query;
  char *start = arena_alloc(a, query.n), *at = start;
  bool first = true;
  for (struct span param, rest = query; rest.p;) {
    rest = span_cut(rest, '&', &param);
    if (param_named(param, name)) continue;
    if (!first) *at++ = '&';
    first = false;
    if (param.n) memcpy(at, param.p, param.n);
    at += param.n;
  }
  return span_of(start, (size_t)(at - start));
}

struct span query_value(struct span query, struct span name) {
  for (struct span param, value, rest = query; rest.p;) {
    rest = span_cut(rest, '&', &param);
    if (!param_named(param, name)) continue;
    struct span head;
    value = span_cut(param, '=', &head);
    return value.p ? value : span_of(param.p + param.n, 0);
  }
  return (struct span){ NULL, 0 };
}
