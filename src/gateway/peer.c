/* peer.c: whom a client is, where proxies stand before weir that trusted_proxies names. */
#include "client.h"
#include "worker.h"
#include "weir/peer.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

static bool trusted(const struct conf *c, const char *ip) {
  struct sockaddr_storage a = { .ss_family = AF_INET };
  if (!strcmp(ip, "unix")) return c->trusted_unix;
  if (!c->trusted_count) return false;
  if (inet_pton(AF_INET, ip, &((struct sockaddr_in *)&a)->sin_addr) == 1) return conf_trusts(c, &a);
  a.ss_family = AF_INET6;
  return inet_pton(AF_INET6, ip, &((struct sockaddr_in6 *)&a)->sin6_addr) == 1 && conf_trusts(c, &a);
}

enum peer_start peer_header(struct client *c, struct span window, size_t *used) {
  struct proxy_header h;
  struct step s = proxy_header_read(window, &h);
  *used = 0;
  if (s.kind == STEP_MORE) return PEER_MORE;
  if (s.kind == STEP_DONE && !s.used) return PEER_PLAIN;
  if (!trusted(c->worker->gen->conf, c->ip)) return PEER_STRANGER;
  if (s.kind != STEP_DONE) return PEER_BROKEN;
  if (h.ip[0]) snprintf(c->ip, sizeof c->ip, "%s", h.ip);              /* else the proxy asks for itself */
  *used = s.used;
  return PEER_TOLD;
}

/* The right-most address that no trusted proxy has, over all lines of a header; where a node hides itself, the one that
   told of it. What stands left of it anybody can have written. false: there is no such header. */
static bool told(struct exchange *x, enum http_name name, bool rfc7239, char out[PEER_TEXT]) {
  const struct http_head *h = x->head;
  char ip[PEER_TEXT];
  bool any = false, next = true;                         /* next: it is the node to the right that counts */
  for (size_t i = 0; i < h->count; i++) {
    if (h->names[i] != name) continue;
    struct forwarded f = { h->headers[i].value, rfc7239 };
    any = true;
    while (forwarded_next(&f, ip)) {
      if (!ip[0]) { next = true; continue; }
      if (next || !trusted(x->gen->conf, ip)) memcpy(out, ip, PEER_TEXT);
      next = false;
    }
  }
  if (next) snprintf(out, PEER_TEXT, "%s", x->client->ip);
  return any;
}

void peer_choose(struct exchange *x) {
  const struct conf *c = x->gen->conf;
  char list[PEER_TEXT], forwarded[PEER_TEXT];
  if ((!c->trusted_count && !c->trusted_unix) || !x->client || !trusted(c, x->client->ip)) return;
  bool a = told(x, HTTP_X_FORWARDED_FOR, false, list), b = told(x, HTTP_FORWARDED, true, forwarded);
  if (!a && !b) return;
  if (a && b && strcmp(list, forwarded)) return;         /* one of them is the client's own invention, and weir cannot tell which */
  x->req.ip = arena_copy(&x->arena, span_cstr(a ? list : forwarded));
}
