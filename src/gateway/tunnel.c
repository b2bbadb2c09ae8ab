/* tunnel.c: CONNECT through an HTTP proxy, between the connection to the proxy and the TLS handshake. It lives on what
   is left of the connect clock. Whatever the proxy says is about the way, not about the provider: its refusals are
   connection faults. */
#include "making.h"
#include "worker.h"
#include <stdio.h>

enum { LONGEST_ANSWER = 16 * 1024 };

static void tunnel_timer(struct timer *t) {
  struct upstream *u = container(t, struct upstream, timer);
  snprintf(u->making->why, sizeof u->making->why, "the proxy %s did not answer CONNECT in time", u->pool->via);
  upstream_fail(u, FAULT_TIMEOUT, u->making->why);
}

void tunnel_request(struct buf *out, struct span host, uint16_t port, const struct secret *auth) {
  bool v6 = span_find(host, ':') < host.n;
  const char *open = v6 ? "[" : "", *close = v6 ? "]" : "";
  buf_printf(out, "CONNECT %s%.*s%s:%u HTTP/1.1\r\n", open, SPAN_FMT(host), close, port);
  buf_printf(out, "host: %s%.*s%s:%u\r\n", open, SPAN_FMT(host), close, port);
  if (auth) buf_add(out, secret_use(auth));
  buf_add(out, SPAN("\r\n"));
}

void tunnel_start(struct upstream *u) {
  struct pool *p = u->pool;
  struct loop *l = u->sock.loop;
  u->state = UP_TUNNEL;
  u->timer.done = tunnel_timer;
  timer_set(&l->wheel, &u->timer, u->making->phase_due_ms > l->now_ms ? u->making->phase_due_ms : l->now_ms);
  struct buf head = worker_buf(p->worker);
  tunnel_request(&head, span_cstr(p->host), p->port, p->proxy_auth);
  upstream_send(u, buf_span(&head), NULL, 0);
  secret_wipe(head.p, head.cap);                         /* its memory is used again for what others see */
  worker_buf_back(p->worker, &head);
  upstream_read(u, false);
}

static void refused(struct upstream *u, int status) {
  const char *via = u->pool->via;
  if (status == 407) snprintf(u->making->why, sizeof u->making->why, "the proxy %s asks for %scredentials (407)", via, u->pool->proxy_auth ? "other " : "");
  else if (status == 403) snprintf(u->making->why, sizeof u->making->why, "the proxy %s does not let weir through (403)", via);
  else snprintf(u->making->why, sizeof u->making->why, "the proxy %s answered CONNECT with %d", via, status);
  upstream_fail(u, FAULT_CONNECTION, u->making->why);
}

static void broken(struct upstream *u, const char *what) {
  snprintf(u->making->why, sizeof u->making->why, "the proxy %s %s", u->pool->via, what);
  upstream_fail(u, FAULT_CONNECTION, u->making->why);
}

void tunnel_ended(struct upstream *u) { broken(u, "closed the connection before it answered CONNECT"); }

/* The head that ends at `size`, and what stands behind it: of the tunnel already, when it stands. False: the answer is
   still to come. */
static bool answered(struct upstream *u, size_t size) {
  struct http_head *h = u->pool->worker->head;
  enum http_error e = http_read_response(span_of(buf_span(&u->plain).p, size), SPAN("HEAD"), h);   /* no body is meant, whatever it announces */
  u->scanned = 0;
  if (e != HTTP_OK) { broken(u, "answered CONNECT with something that is no HTTP"); return true; }
  if (h->status == 101) { broken(u, "answered CONNECT with 101"); return true; }
  int status = h->status;
  buf_consume(&u->plain, size);
  if (status < 200) return false;
  if (status > 299) { refused(u, status); return true; }
  struct buf behind = u->plain;
  u->plain = (struct buf){ 0 };
  timer_stop(&u->sock.loop->wheel, &u->timer);
  upstream_shake(u, buf_span(&behind));
  buf_free(&behind);
  return true;
}

void tunnel_bytes(struct upstream *u, struct span data) {
  buf_add(&u->plain, data);
  for (;;) {
    size_t size = http_head_end(buf_span(&u->plain), &u->scanned);
    if (size > LONGEST_ANSWER || (!size && buf_size(&u->plain) > LONGEST_ANSWER)) { broken(u, "answered CONNECT at too great a length"); return; }
    if (!size) { upstream_read(u, false); return; }
    if (answered(u, size)) return;
  }
}
