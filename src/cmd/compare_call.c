/* compare_call.c: one call on one connection, with its times. */
#include "compare.h"
#include <stdio.h>
#include "weir/sse.h"

enum { MOST_ANSWER = 64 << 20 };

/* The first real event of a stream, found as weir finds it. */
struct watch {
  const struct operation_info *operation;
  struct event_state state;
  struct sse sse;
  struct buf window;
  struct arena scratch;
  bool stream, seen, broken;
};

static void watch_feed(struct watch *w, struct span piece) {
  if (!w->stream || w->seen || w->broken) return;
  buf_add(&w->window, piece);
  while (!w->seen) {
    struct sse_event e;
    struct event_facts f;
    struct step s = sse_feed(&w->sse, buf_span(&w->window), &e);
    if (s.kind == STEP_BAD) w->broken = true;
    if (s.kind != STEP_EVENT) return;
    event_read(w->operation, &w->state, &e, &w->scratch, &f);
    w->seen = f.real;
    buf_consume(&w->window, s.used);
    arena_reset(&w->scratch);
  }
}

static void watch_end(struct watch *w) {
  buf_free(&w->window);
  arena_end(&w->scratch);
}

struct reading {
  struct buf head;
  struct http_body decoder;
  struct watch watch;
  uint64_t begun_ns;
  bool headed, any;
};

static double since(uint64_t begun_ns) { return (double)(link_now_ns() - begun_ns) / 1e6; }

static void fail(struct answer *out, const char *why) { snprintf(out->why, sizeof out->why, "%s", why); }

/* True when the head is there: *rest is what came behind it. */
static bool take_head(struct reading *r, struct span bytes, struct arena *a, struct answer *out, struct span *rest) {
  size_t scanned = 0, size;
  buf_add(&r->head, bytes);
  struct http_head *h = arena_alloc(a, sizeof *h);
  while ((size = http_head_end(buf_span(&r->head), &scanned))) {
    enum http_error e = http_read_response(span_of(r->head.p + r->head.at, size), SPAN("POST"), h);
    if (e != HTTP_OK) return fail(out, http_error_text(e)), false;
    out->head = http_head_keep(h, a);
    buf_consume(&r->head, size);
    scanned = 0;
    if (h->status < 200) continue;
    out->status = h->status;
    out->head_ms = since(r->begun_ns);
    http_body_init(&r->decoder, h);
    r->watch.stream = span_istarts(h->content_type, SPAN("text/event-stream"));
    *rest = buf_span(&r->head);
    return r->headed = true;
  }
  return false;
}

/* True when the answer is whole. */
static bool take_body(struct reading *r, struct span bytes, struct answer *out) {
  for (;;) {
    struct span piece = { 0 };
    struct step s = http_body_feed(&r->decoder, bytes, &piece);
    bytes = span_from(bytes, s.used);
    if (s.kind == STEP_DONE) return true;
    if (s.kind == STEP_BAD) fail(out, "broken chunked framing");
    if (s.kind != STEP_EVENT) return false;
    watch_feed(&r->watch, piece);
    if (r->watch.seen && out->first_ms < 0) out->first_ms = since(r->begun_ns);
    buf_add(&out->body, piece);
    if (buf_size(&out->body) > MOST_ANSWER) return fail(out, "the answer is larger than 64 MB"), false;
  }
}

static void read_answer(struct side *s, struct reading *r, struct arena *a, struct answer *out) {
  struct span bytes;
  for (bool whole = false; !whole && !out->why[0];) {
    int n = link_read(&s->link, &bytes);
    if (n > 0) {
      r->any = true;
      if (r->headed || take_head(r, bytes, a, out, &bytes)) whole = take_body(r, bytes, out);
      continue;
    }
    if (!n && r->headed && http_body_may_end(&r->decoder)) break;
    fail(out, n ? s->link.why : "the connection ended early");
  }
  out->total_ms = since(r->begun_ns);
}

static void side_close(struct side *s) {
  if (s->opened) link_close(&s->link);
  s->opened = false;
}

/* The provider's text is not shown: it may quote the key. */
static void tell_status(const struct operation_info *o, struct answer *out) {
  struct failure f;
  failure_read(o->dialect, out->status, out->head, buf_span(&out->body), &f);
  snprintf(out->why, sizeof out->why, "status %d%s%s", out->status, f.fault ? ", " : "", fault_word(f.fault));
}

void compare_call(struct side *s, struct span request, const struct operation_info *o, struct arena *a, struct answer *out) {
  for (bool again = true; again;) {
    bool reused = s->opened;
    struct reading r = { .watch.operation = o };
    buf_free(&out->body);
    *out = (struct answer){ .head_ms = -1, .first_ms = -1, .total_ms = -1 };
    again = false;
    if (!reused && !link_open(&s->link, s->to, s->connect_s, s->tls_s)) return fail(out, s->link.why);
    s->opened = true;
    r.begun_ns = link_now_ns();
    if (link_send(&s->link, request)) read_answer(s, &r, a, out);
    else fail(out, s->link.why);
    if (out->why[0] || !out->head->keep_alive || out->head->framing == HTTP_UNTIL_CLOSE) side_close(s);
    again = out->why[0] && reused && !r.any;
    if (!out->why[0] && (out->status < 200 || out->status > 299)) tell_status(o, out);
    watch_end(&r.watch);
    buf_free(&r.head);
  }
}
