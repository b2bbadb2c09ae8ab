/* Addresses to listen on, and networks that are trusted. */
#include "load.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

static bool refuse(const char **why, const char *text) {
  *why = text;
  return false;
}

static bool unix_address(struct span path, struct sockaddr_storage *out, socklen_t *size, const char **why) {
  struct sockaddr_un *u = (struct sockaddr_un *)out;
  if (!path.n || path.p[0] != '/')
    return refuse(why, "the path of a socket must be absolute: \"unix:/run/weir/weir.sock\"");
  if (path.n >= sizeof u->sun_path) return refuse(why, "the path of the socket is longer than 107 bytes");
  u->sun_family = AF_UNIX;
  memcpy(u->sun_path, path.p, path.n);
  *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n + 1);
  return true;
}

static bool text_of(struct span s, char *out, size_t size) {
  if (!s.n || s.n >= size || memchr(s.p, 0, s.n)) return false;
  memcpy(out, s.p, s.n);
  out[s.n] = 0;
  return true;
}

bool conf_address(struct span spec, struct sockaddr_storage *out, socklen_t *size, const char **why) {
  char text[INET6_ADDRSTRLEN];
  struct sockaddr_in *v4 = (struct sockaddr_in *)out;
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
  uint64_t port;
  memset(out, 0, sizeof *out);
  if (span_starts(spec, SPAN("unix:"))) return unix_address(span_from(spec, 5), out, size, why);
  size_t colon = spec.n;
  while (colon && spec.p[colon - 1] != ':') colon--;
  if (!colon) return refuse(why, "it must be \"address:port\" or \"unix:/path\"");
  struct span host = span_of(spec.p, colon - 1), digits = span_from(spec, colon);
  if (digits.n > 5 || !span_u64(digits, &port) || !port || port > 65535)
    return refuse(why, "the port must be from 1 to 65535");
  if (span_eq(host, SPAN("localhost"))) host = SPAN("127.0.0.1");
  bool brackets = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
  if (brackets) host = span_of(host.p + 1, host.n - 2);
  void *to = brackets ? (void *)&v6->sin6_addr : &v4->sin_addr;
  if (!text_of(host, text, sizeof text) || inet_pton(brackets ? AF_INET6 : AF_INET, text, to) != 1)
    return refuse(why, "the address must be an IP address such as \"127.0.0.1\", \"0.0.0.0\" or \"[::1]\"");
  out->ss_family = brackets ? AF_INET6 : AF_INET;
  if (brackets) v6->sin6_port = htons((uint16_t)port);
  else v4->sin_port = htons((uint16_t)port);
  *size = brackets ? sizeof *v6 : sizeof *v4;
  return true;
}

/* As IPv6; v4 as v4-mapped. false for a path. */
static bool ip_of(const struct sockaddr_storage *a, unsigned char ip[16]) {
  static const unsigned char mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
  if (a->ss_family == AF_INET6) {
    memcpy(ip, &((const struct sockaddr_in6 *)a)->sin6_addr, 16);
    return true;
  }
  memcpy(ip, mapped, 12);
  memcpy(ip + 12, &((const struct sockaddr_in *)a)->sin_addr, 4);
  return a->ss_family == AF_INET;
}

bool address_local(const struct sockaddr_storage *a) {
  static const unsigned char one[16] = { [15] = 1 };
  unsigned char ip[16];
  if (a->ss_family == AF_UNIX) return true;
  if (!ip_of(a, ip)) return false;
  return !memcmp(ip, one, 16) || (ip[10] == 0xff && ip[11] == 0xff && ip[12] == 127 && !memcmp(ip, one, 10));
}

bool network_read(struct span text, struct network *out) {
  char address[INET6_ADDRSTRLEN];
  struct sockaddr_storage a = { 0 };
  struct span host, bits = span_cut(text, '/', &host);
  uint64_t n;
  bool v6 = span_find(host, ':') < host.n;
  if (!text_of(host, address, sizeof address)) return false;
  void *to = v6 ? (void *)&((struct sockaddr_in6 *)&a)->sin6_addr : (void *)&((struct sockaddr_in *)&a)->sin_addr;
  a.ss_family = v6 ? AF_INET6 : AF_INET;
  if (inet_pton(a.ss_family, address, to) != 1 || !ip_of(&a, out->ip)) return false;
  if (!bits.p) n = v6 ? 128 : 32;
  else if (!span_u64(bits, &n) || n > (v6 ? 128 : 32)) return false;
  out->bits = (unsigned)n + (v6 ? 0 : 96);
  return true;
}

static bool inside(const struct network *n, const unsigned char ip[16]) {
  unsigned bytes = n->bits / 8, rest = n->bits % 8;
  if (memcmp(n->ip, ip, bytes)) return false;
  return !rest || !((n->ip[bytes] ^ ip[bytes]) >> (8 - rest));
}

bool network_holds(const struct network *n, const struct sockaddr_storage *a) {
  unsigned char ip[16];
  return ip_of(a, ip) && inside(n, ip);
}

bool conf_trusts(const struct conf *c, const struct sockaddr_storage *peer) {
  unsigned char ip[16];
  if (!ip_of(peer, ip)) return false;
  for (size_t i = 0; i < c->trusted_count; i++)
    if (inside(&c->trusted[i], ip)) return true;
  return false;
}
