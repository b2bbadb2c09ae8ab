#include "weir/peer.h"

/* The end of a list element: at `stop` outside of quotes, or the end of the text. */
static size_t element_end(struct span s, char stop, bool quotes) {
  bool quoted = false;
  for (size_t i = 0; i < s.n; i++) {
    char c = s.p[i];
    if (quotes && c == '"') quoted = !quoted;
    else if (quoted && c == '\\') i++;
    else if (!quoted && c == stop) return i;
  }
  return s.n;
}

static struct span element_cut(struct span *rest, char stop, bool quotes) {
  size_t n = element_end(*rest, stop, quotes);
  struct span one = span_of(rest->p, n);
  *rest = n < rest->n ? span_from(*rest, n + 1) : (struct span){ 0 };
  return span_trim(one);
}

static bool port_ok(struct span s) {
  if (!s.n || s.n > 6 || s.p[0] != ':') return !s.n;
  for (size_t i = 1; i < s.n; i++)
    if (s.p[i] < '0' || s.p[i] > '9') return false;
  return s.n > 1;
}

/* "192.0.2.1", "192.0.2.1:80", "[2001:db8::1]", "[2001:db8::1]:80", and bare "2001:db8::1", which many write. */
static void node_read(struct span node, char ip[PEER_TEXT]) {
  ip[0] = 0;
  if (node.n && node.p[0] == '[') {
    size_t n = span_find(node, ']');
    struct span inner = span_of(node.p + 1, n ? n - 1 : 0);
    if (n < node.n && span_find(inner, ':') < inner.n && port_ok(span_from(node, n + 1))) peer_address(inner, ip);
    return;
  }
  size_t n = span_find(node, ':');
  bool one = n < node.n && span_find(span_from(node, n + 1), ':') == node.n - n - 1;
  if (!one) peer_address(node, ip);
  else if (port_ok(span_from(node, n))) peer_address(span_of(node.p, n), ip);
}

/* The for= of "for=192.0.2.1;proto=http"; escapes in a quoted one stand for nothing that an address has. */
static struct span for_of(struct span element) {
  struct span found = { 0 };
  while (element.p) {
    struct span name, value = element_cut(&element, ';', true);
    value = span_trim(span_cut(value, '=', &name));
    if (!span_ieq(span_trim(name), SPAN("for"))) continue;
    if (found.p) return (struct span){ 0 };              /* twice: which one is meant? */
    bool quoted = value.n > 1 && value.p[0] == '"' && value.p[value.n - 1] == '"';
    found = quoted ? span_of(value.p + 1, value.n - 2) : value;
  }
  return found;
}

bool forwarded_next(struct forwarded *f, char ip[PEER_TEXT]) {
  while (f->rest.n) {
    struct span element = element_cut(&f->rest, ',', f->rfc7239);
    if (!element.n) continue;                            /* an empty element of a list counts for nothing (RFC 9110 5.6.1) */
    node_read(f->rfc7239 ? for_of(element) : element, ip);
    return true;
  }
  return false;
}
