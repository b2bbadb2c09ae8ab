#include "weir/peer.h"
#include <arpa/inet.h>

enum {
  V1_MOST = 107,                      /* proxy-protocol.txt 2.1, with its CRLF */
  V2_FIXED = 16,
  V2_LOCAL = 0x20, V2_PROXY = 0x21,   /* version and command */
  V2_STREAM = 1,
  V2_INET = 1, V2_INET6 = 2, V2_UNIX = 3,
  V2_INET_SIZE = 12, V2_INET6_SIZE = 36, V2_UNIX_SIZE = 216,
};
static const struct span v1_start = { "PROXY ", 6 }, v2_start = { "\r\n\r\n\0\r\nQUIT\n", 12 };

static const struct step more = { STEP_MORE, 0 }, bad = { STEP_BAD, 0 }, none = { STEP_DONE, 0 };

bool peer_address(struct span text, char out[PEER_TEXT]) {
  static const unsigned char mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
  unsigned char ip[16];
  char copy[PEER_TEXT];
  out[0] = 0;
  if (!text.n || text.n >= sizeof copy || memchr(text.p, 0, text.n)) return false;
  memcpy(copy, text.p, text.n);
  copy[text.n] = 0;
  if (inet_pton(AF_INET, copy, ip) == 1) return inet_ntop(AF_INET, ip, out, PEER_TEXT) != NULL;
  if (inet_pton(AF_INET6, copy, ip) != 1) return false;
  if (!memcmp(ip, mapped, sizeof mapped)) return inet_ntop(AF_INET, ip + sizeof mapped, out, PEER_TEXT) != NULL;
  return inet_ntop(AF_INET6, ip, out, PEER_TEXT) != NULL;
}

/* Whether the window begins with `start`, or so far as it goes. */
static bool begins(struct span window, struct span start) {
  size_t n = window.n < start.n ? window.n : start.n;
  return !memcmp(window.p, start.p, n);
}

/* ---- version 1: "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n" */
static bool port_ok(struct span text, uint16_t *port) {
  uint64_t v;
  if (text.n > 5 || !span_u64(text, &v) || v > 65535 || (text.n > 1 && text.p[0] == '0')) return false;
  *port = (uint16_t)v;
  return true;
}

static bool v1_address(struct span text, bool v6, char out[PEER_TEXT]) {
  return (span_find(text, ':') < text.n) == v6 && peer_address(text, out);
}

static bool v1_line(struct span line, struct proxy_header *out) {
  struct span protocol, from, to, from_port;
  char other[PEER_TEXT];
  uint16_t other_port;
  struct span rest = span_cut(line, ' ', &protocol);
  if (span_eq(protocol, SPAN("UNKNOWN"))) return true;   /* whatever follows is to be ignored */
  bool v6 = span_eq(protocol, SPAN("TCP6"));
  if (!v6 && !span_eq(protocol, SPAN("TCP4"))) return false;
  rest = span_cut(rest, ' ', &from);
  rest = span_cut(rest, ' ', &to);
  rest = span_cut(rest, ' ', &from_port);
  if (!v1_address(to, v6, other) || !port_ok(from_port, &out->port) || !port_ok(rest, &other_port)) return false;
  return v1_address(from, v6, out->ip);
}

static struct step v1_read(struct span window, struct proxy_header *out) {
  struct span seen = span_of(window.p, window.n < V1_MOST ? window.n : V1_MOST);
  size_t end = span_find(seen, '\n');
  if (end == seen.n) return window.n < V1_MOST ? more : bad;
  if (seen.p[end - 1] != '\r') return bad;
  if (!v1_line(span_of(seen.p + v1_start.n, end - 1 - v1_start.n), out)) {
    *out = (struct proxy_header){ 0 };
    return bad;
  }
  return (struct step){ STEP_DONE, end + 1 };
}

/* ---- version 2: binary */
static struct step v2_read(struct span window, struct proxy_header *out) {
  const unsigned char *p = (const unsigned char *)window.p;
  if (window.n > 12 && p[12] != V2_LOCAL && p[12] != V2_PROXY) return bad;
  if (window.n < V2_FIXED) return more;
  size_t length = (size_t)p[14] << 8 | p[15], size = V2_FIXED + length;
  unsigned family = p[13] >> 4, transport = p[13] & 15;
  static const size_t least[] = { 0, V2_INET_SIZE, V2_INET6_SIZE, V2_UNIX_SIZE };
  if (size > PROXY_HEADER_MOST || family > V2_UNIX || transport > 2) return bad;
  if (p[12] == V2_PROXY && length < least[family]) return bad;
  if (window.n < size) return more;
  struct step done = { STEP_DONE, size };
  if (p[12] == V2_LOCAL || transport != V2_STREAM) return done;
  char text[PEER_TEXT];
  size_t at = family == V2_INET ? V2_FIXED + 8 : V2_FIXED + 32;        /* behind both addresses: the ports */
  if (family != V2_INET && family != V2_INET6) return done;
  inet_ntop(family == V2_INET ? AF_INET : AF_INET6, p + V2_FIXED, text, sizeof text);
  peer_address(span_cstr(text), out->ip);
  out->port = (uint16_t)(p[at] << 8 | p[at + 1]);
  return done;
}

struct step proxy_header_read(struct span window, struct proxy_header *out) {
  *out = (struct proxy_header){ 0 };
  if (!window.n) return more;
  bool v1 = begins(window, v1_start), v2 = begins(window, v2_start);
  if (!v1 && !v2) return none;
  if (window.n < (v1 ? v1_start.n : v2_start.n)) return more;
  return v1 ? v1_read(window, out) : v2_read(window, out);
}
