/* admin.c: the operators' listener, on housekeeping's loop: /livez /readyz /metrics. */
#include "story.h"
#include "worker.h"
#include "weir/models.h"
#include <arpa/inet.h>
#include <stdio.h>

enum { ADMIN_MOST = 64, ADMIN_HEAD_MOST = 16 * 1024, ADMIN_IDLE_S = 30, BEAT_LATE_MS = 5000 };

struct admin_client {
  struct sock sock;
  struct admin *admin;
  struct admin_client *next, **link;
  struct buf in, out;
  size_t scanned;
  struct timer timer;
  bool closing, ending;
};
struct admin {
  struct gateway *gateway;
  struct op accept;
  struct timer again;
  int fd;
  struct admin_client *clients;
  unsigned count;
  struct http_head *head;
};

static void closed(struct sock *s) {
  struct admin_client *c = container(s, struct admin_client, sock);
  *c->link = c->next;
  if (c->next) c->next->link = c->link;
  c->admin->count--;
  buf_free(&c->in);
  buf_free(&c->out);
  mem_free(c);
}

static void client_end(struct admin_client *c) {
  if (c->ending) return;
  c->ending = true;
  timer_stop(&c->sock.loop->wheel, &c->timer);
  sock_close(&c->sock, closed);
}

static void read_more(struct admin_client *c);
static void go_on(struct admin_client *c);

static void sent(struct op *op, int result, struct span data, bool more) {
  struct admin_client *c = container(op, struct admin_client, sock.send.op);
  (void)data;
  (void)more;
  buf_clear(&c->out);
  if (result < 0 || c->closing) { client_end(c); return; }
  go_on(c);
}

static void reply(struct admin_client *c, int status, struct span type, struct span body, bool keep_alive) {
  bool head_only = span_eq(c->admin->head->method, SPAN("HEAD"));
  keep_alive &= !c->admin->gateway->handed_over;
  http_write_status(&c->out, status);
  http_write_header(&c->out, SPAN("content-type"), type);
  http_write_header_u64(&c->out, SPAN("content-length"), body.n);
  if (!keep_alive) buf_add(&c->out, SPAN("connection: close\r\n"));
  http_write_end(&c->out);
  if (!head_only) buf_add(&c->out, body);
  c->closing = !keep_alive;
  struct span s = buf_span(&c->out);
  struct iovec iov = { (void *)s.p, s.n };
  c->sock.send.op.done = sent;
  c->sock.loop->calls->send(c->sock.loop, &c->sock.send, c->sock.fd, &iov, 1);
}

/* ---- what is served */
bool gateway_live(const struct gateway *g, struct buf *out) {
  bool all = true;
  for (unsigned i = 0; i < g->worker_count; i++) {
    uint64_t awake = __atomic_load_n(&g->workers[i].loop->awake_ms, __ATOMIC_RELAXED), now = g->house->now_ms;
    bool well = !awake || now < awake + BEAT_LATE_MS;    /* it waits for events, or has just begun with some */
    if (out) buf_printf(out, "worker %u: %s\n", i, well ? "alive" : "no heartbeat");
    all &= well;
  }
  return all;
}

static void write_metrics(struct gateway *g, struct buf *out) {
  struct metrics **shards = mem_alloc((g->worker_count + 1) * sizeof *shards);
  for (unsigned i = 0; i < g->worker_count; i++) shards[i] = g->workers[i].metrics;
  shards[g->worker_count] = g->metrics;
  metrics_memory(g->metrics, "bodies", (int64_t)__atomic_load_n(&g->held, __ATOMIC_RELAXED));
  static const char *const kinds[MEM_KINDS] = { [MEM_ARENAS] = "arenas", [MEM_BUFFERS] = "buffers", [MEM_HELD] = "held", [MEM_TLS] = "tls" };
  for (int k = 0; k < MEM_KINDS; k++) metrics_memory(g->metrics, kinds[k], mem_held((enum mem_kind)k));
  metrics_write(shards, g->worker_count + 1, out);
  mem_free(shards);
  policy_metrics_write(out);
  models_metrics_write(out);
  story_metrics(g, out);
  buf_printf(out, "# HELP weir_worker_clients Client connections by worker.\n# TYPE weir_worker_clients gauge\n");
  for (unsigned i = 0; i < g->worker_count; i++)
    buf_printf(out, "weir_worker_clients{worker=\"%u\"} %u\n", i, __atomic_load_n(&g->workers[i].open_clients, __ATOMIC_RELAXED));
  if (g->access_log)
    buf_printf(out, "# TYPE weir_access_log_dropped_total counter\nweir_access_log_dropped_total %llu\n", (unsigned long long)log_sink_dropped(g->access_log));
}

/* A page in a browser could be made to ask a name that resolves to this machine: only addresses and localhost are answered. */
static bool host_ok(const struct admin *a, struct span host) {
  struct span name = host;
  char text[64];
  unsigned char ip[16];
  uint16_t port;
  struct span configured, spec = a->gateway->newest->conf->admin.spec;
  if (span_starts(spec, SPAN("unix:"))) return true;     /* no browser gets there */
  if (name.n && name.p[0] == '[') {
    size_t end = span_find(name, ']');
    name = end < name.n ? span_of(name.p + 1, end - 1) : name;
  } else {
    span_cut(host, ':', &name);
  }
  if (span_ieq(name, SPAN("localhost"))) return true;
  if (address_split(spec, &configured, &port) && span_ieq(name, configured)) return true;
  if (name.n >= sizeof text) return false;
  memcpy(text, name.p, name.n);
  text[name.n] = 0;
  return inet_pton(AF_INET, text, ip) == 1 || inet_pton(AF_INET6, text, ip) == 1;
}

static void serve(struct admin_client *c, const struct http_head *h) {
  struct gateway *g = c->admin->gateway;
  struct span path, text = SPAN("text/plain; charset=utf-8");
  bool keep = h->keep_alive && h->framing == HTTP_NO_BODY;
  span_cut(h->target, '?', &path);
  struct buf body = { 0 };
  int status = 200;
  if (!host_ok(c->admin, h->host)) {
    status = 403;
    buf_add(&body, SPAN("ask this listener by its address, not by another name\n"));
  } else if (!span_eq(h->method, SPAN("GET")) && !span_eq(h->method, SPAN("HEAD"))) {
    status = 405;
    buf_add(&body, SPAN("only GET\n"));
  } else if (span_eq(path, SPAN("/livez"))) {
    status = gateway_live(g, &body) ? 200 : 503;
  } else if (span_eq(path, SPAN("/readyz"))) {
    bool ready = !g->draining || g->handed_over;         /* of weir, not of this process: who asks may have come too early for the next one */
    status = ready ? 200 : 503;
    buf_add(&body, ready ? SPAN("ready\n") : SPAN("draining\n"));
  } else if (span_eq(path, SPAN("/metrics"))) {
    text = SPAN("text/plain; version=0.0.4; charset=utf-8");
    write_metrics(g, &body);
  } else {
    status = 404;
    bool later = span_eq(path, SPAN("/")) || span_starts(path, SPAN("/api/"));
    buf_add(&body, later ? SPAN("the dashboard is not in this version; see /livez /readyz /metrics\n") : SPAN("see /livez /readyz /metrics\n"));
  }
  reply(c, status, text, buf_span(&body), keep);
  buf_free(&body);
}

/* The next request, which may be here already. */
static void go_on(struct admin_client *c) {
  size_t size = http_head_end(buf_span(&c->in), &c->scanned);
  if (!size && buf_size(&c->in) <= ADMIN_HEAD_MOST) { read_more(c); return; }
  enum http_error e = size ? http_read_request(span_of(c->in.p + c->in.at, size), c->admin->head) : HTTP_HEAD_TOO_LARGE;
  if (e != HTTP_OK) {
    c->admin->head->method = SPAN("GET");
    reply(c, http_error_status(e), SPAN("text/plain"), span_cstr(http_error_text(e)), false);
    return;
  }
  serve(c, c->admin->head);
  buf_consume(&c->in, size);
  c->scanned = 0;
}

static void received(struct op *op, int result, struct span data, bool more) {
  struct admin_client *c = container(op, struct admin_client, sock.recv);
  (void)more;
  if (result <= 0) { client_end(c); return; }
  buf_add(&c->in, data);
  go_on(c);
}

static void read_more(struct admin_client *c) {
  timer_set(&c->sock.loop->wheel, &c->timer, c->sock.loop->now_ms + ADMIN_IDLE_S * 1000);
  c->sock.recv.done = received;
  c->sock.loop->calls->recv(c->sock.loop, &c->sock.recv, c->sock.fd, false);
}

static void timed_out(struct timer *t) { client_end(container(t, struct admin_client, timer)); }

static void accepted(struct op *op, int result, struct span data, bool more) {
  struct admin *a = container(op, struct admin, accept);
  struct loop *l = a->gateway->house;
  (void)data;
  if (result >= 0 && a->count < ADMIN_MOST) {
    struct admin_client *c = mem_zero(sizeof *c);
    c->admin = a;
    c->sock.loop = l;
    c->sock.fd = result;
    c->timer.done = timed_out;
    c->next = a->clients;
    c->link = &a->clients;
    if (c->next) c->next->link = &c->next;
    a->clients = c;
    a->count++;
    read_more(c);
  } else if (result >= 0) {
    l->calls->close(l, result);
  }
  if (result == IO_CANCELLED && a->gateway->handed_over)
    for (int fd; (fd = listen_next(a->fd)) >= 0;) accepted(op, fd, data, true);
  if (more || result == IO_CANCELLED) return;
  if (result >= 0) l->calls->accept(l, &a->accept, a->fd);
  else timer_set(&l->wheel, &a->again, l->now_ms + 100); /* out of descriptors: some will close */
}

static void accept_again(struct timer *t) {
  struct admin *a = container(t, struct admin, again);
  a->gateway->house->calls->accept(a->gateway->house, &a->accept, a->fd);
}

struct admin *admin_open(struct gateway *g, int fd) {
  struct admin *a = mem_zero(sizeof *a);
  a->gateway = g;
  a->fd = fd;
  a->head = mem_zero(sizeof *a->head);
  a->accept.done = accepted;
  a->again.done = accept_again;
  g->house->calls->accept(g->house, &a->accept, fd);
  return a;
}

/* What is being answered goes out; nobody may go on asking a process that will soon be gone. */
void admin_leave(struct admin *a) {
  struct loop *l = a->gateway->house;
  timer_stop(&l->wheel, &a->again);
  l->calls->cancel(l, &a->accept);
  for (struct admin_client *c = a->clients, *next; c; c = next) {
    next = c->next;
    if (op_busy(&c->sock.send.op)) c->closing = true;
    else client_end(c);
  }
}

void admin_close(struct admin *a) {
  struct loop *l = a->gateway->house;
  timer_stop(&l->wheel, &a->again);
  l->calls->cancel(l, &a->accept);
  for (struct admin_client *c = a->clients, *next; c; c = next) {
    next = c->next;
    client_end(c);
  }
  while (a->clients || op_busy(&a->accept)) loop_turn(l);
  mem_free(a->head);
  mem_free(a);
}
