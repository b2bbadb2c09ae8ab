/* chunks.c: the way of an event past the policies' on_chunk, once there is one.
   A policy sees a chunk when it comes in. What holds ask for stays here, in order, until enough text came behind it: a stop leaves
   out all of it, and a replace may reach back into it. At release an event goes out in the bytes it came in, unless something changed
   it; then told_event names what else has to change. */
#include "attempt.h"
#include "exchange.h"
#include "worker.h"

enum { CHUNKS_MOST = 256 * 1024, SLOTS = 64 };

/* One delta of an event. Its text stands at data[at..at+n), quotes included; n 0: it has none that can be changed. */
struct piece {
  enum delta_kind kind;
  int choice;
  size_t at, n;
  size_t bytes;                       /* of content, unescaped */
  bool changed;
  struct span text;                   /* when changed: plain; owned when the event is held */
};
struct held {
  struct held *next, *before;
  uint64_t at_ms;
  size_t size;
  struct sse_event event;             /* spans into bytes */
  struct span data;
  struct event_state after;           /* of the stream, with this event */
  int closed;                         /* choice that ends with it, -1 none */
  size_t piece_count;
  struct piece *pieces;
  char *bytes;
};
struct chunks {
  struct told *told;
  struct held *first, *last;
  size_t size;
  uint64_t closed;                    /* bit per slot: nothing more comes for that choice */
  size_t *content;                    /* SLOTS: bytes held, by choice; NULL: nothing was held yet */
};

static unsigned slot_of(int choice) { return (unsigned)choice % SLOTS; }

static struct chunks *chunks_of(struct attempt *a) {
  if (!a->chunks) {
    a->chunks = mem_zero(sizeof *a->chunks);
    a->chunks->told = told_new(a->exchange->req.operation, (size_t)exchange_setting(a->exchange, SET_MAX_ANSWER));
  }
  return a->chunks;
}

static void held_free(struct held *h) {
  for (size_t i = 0; i < h->piece_count; i++)
    if (h->pieces[i].changed) mem_free((char *)h->pieces[i].text.p);
  mem_free(h);
}

static void held_pop(struct chunks *k) {
  struct held *h = k->first;
  k->first = h->next;
  if (k->first) k->first->before = NULL;
  else k->last = NULL;
  k->size -= h->size;
  mem_note(MEM_HELD, -(int64_t)h->size);
  for (size_t i = 0; i < h->piece_count; i++) k->content[slot_of(h->pieces[i].choice)] -= h->pieces[i].bytes;
  held_free(h);
}

void chunks_free(struct chunks *k) {
  if (!k) return;
  while (k->first) held_pop(k);
  told_free(k->told);
  mem_free(k->content);
  mem_free(k);
}

/* ---- out */
static void write_changed(struct exchange *x, const struct sse_event *e, struct span data, const struct changes *c) {
  struct buf out = { 0 }, whole = { 0 };
  const char *at = data.p;
  for (size_t i = 0; i < c->count; i++) {
    buf_add(&whole, span_of(at, (size_t)(c->of[i].from.p - at)));
    buf_add(&whole, c->of[i].to);
    at = c->of[i].from.p + c->of[i].from.n;
  }
  buf_add(&whole, span_of(at, (size_t)(data.p + data.n - at)));
  if (e->data_lines == 1) {                              /* everything around the data stays as it came */
    buf_add(&out, span_of(e->raw.p, (size_t)(e->data.p - e->raw.p)));
    buf_add(&out, buf_span(&whole));
    const char *behind = e->data.p + e->data.n;
    buf_add(&out, span_of(behind, (size_t)(e->raw.p + e->raw.n - behind)));
  } else {
    sse_write(&out, e->name, buf_span(&whole));
  }
  exchange_write(x, buf_span(&out));
  buf_free(&whole);
  buf_free(&out);
}

/* Weir ends the stream with an error of its own. */
static void close_with_error(struct exchange *x, int status, struct span word, struct span why) {
  struct error e = { .status = status, .word = word, .message = why };
  answer_error(x, &e, -1);
}

/* The data of an event that was read before, so it is valid: an object, or [DONE], or nothing. */
static bool document_of(struct span data, struct json *out) {
  while (data.n && (unsigned char)data.p[0] <= ' ') data = span_from(data, 1);
  while (data.n && (unsigned char)data.p[data.n - 1] <= ' ') data.n--;
  *out = (struct json){ JSON_OBJECT, data };
  return data.n && data.p[0] == '{';
}

/* False: the exchange has ended. */
static bool emit(struct attempt *a, const struct sse_event *e, struct span data, const struct piece *pieces, size_t n, const struct event_state *after) {
  struct exchange *x = a->exchange;
  struct arena *scratch = &x->worker->scratch;
  struct changes c = { .arena = scratch };
  struct json document;
  bool known = true;
  for (size_t i = 0; i < n; i++) {
    if (!pieces[i].changed) continue;
    struct buf text = { 0 };
    json_write_string(&text, pieces[i].text);
    change_add(&c, span_of(data.p + pieces[i].at, pieces[i].n), arena_copy(scratch, buf_span(&text)));
    buf_free(&text);
  }
  if ((c.count || x->req.operation->dialect == DIALECT_RESPONSES) && document_of(data, &document))
    known = told_event(a->chunks->told, e->name, document, &c);
  if (!known) {
    log_warn("%s: a text that policies changed is told again, and was too long to be kept: the stream ends here", x->id);
    close_with_error(x, 500, SPAN("internal"), SPAN("the answer is larger than what policies may change"));
    x->terminated = true;
    exchange_end(x, SPAN("internal"));
    return false;
  }
  if (after->terminated) answer_trace(x);
  if (c.count) write_changed(x, e, data, &c);
  else exchange_write(x, e->raw);
  x->events = *after;
  return true;
}

void chunks_stop(struct attempt *a, struct span as, struct span why, int status, struct span word) {
  struct exchange *x = a->exchange;
  a->stopped = true;
  if (span_eq(as, SPAN("error"))) {
    close_with_error(x, status, word, why);
  } else {
    struct buf out = { 0 };
    answer_trace(x);
    stop_write(x->req.operation, &x->events, a->chunks ? a->chunks->told : NULL, as, span_cstr(x->id), x->served_model.n ? x->served_model : x->req.model, time(NULL), &out);
    exchange_write(x, buf_span(&out));
    x->sink->calls->end(x->sink);
    buf_free(&out);
  }
  x->terminated = true;
  exchange_end(x, span_eq(word, SPAN("internal")) ? SPAN("stopped") : word);
}

/* The policy closes the stream. The exchange ends here. */
static void stop_by_policy(struct attempt *a, const struct decision *d) {
  struct exchange *x = a->exchange;
  struct span why = arena_copy(&x->arena, d->message);
  bool broke = d->kind == DECIDE_DENY;
  log_info("%s: stopped by %.*s: %.*s", x->id, SPAN_FMT(d->policy), SPAN_FMT(why));
  chunks_stop(a, broke ? SPAN("error") : d->as, why, broke ? d->status : 500, broke ? SPAN("internal") : SPAN("stopped"));
}

/* ---- held */
static bool holds(const struct policy_req *req) {
  for (const struct policy_hold *h = req->holds; h; h = h->next)
    if (h->bytes > 0 || h->seconds > 0) return true;
  return false;
}

/* When the piece may go as far as time is concerned: 0 at once, UINT64_MAX never. */
static uint64_t piece_due(const struct chunks *k, const struct policy_req *req, const struct held *h, int choice, size_t own) {
  unsigned slot = slot_of(choice);
  size_t behind = k->content[slot] - own;
  uint64_t due = 0;
  if (k->closed >> slot & 1) return 0;
  for (const struct policy_hold *w = req->holds; w; w = w->next) {
    if ((w->bytes >= 0 && (double)behind >= w->bytes) || w->seconds == 0) continue;
    uint64_t until = w->seconds < 0 ? UINT64_MAX : h->at_ms + (uint64_t)(w->seconds * 1000) + 1;
    if (until > due) due = until;
  }
  return due;
}

static uint64_t held_due(const struct chunks *k, const struct policy_req *req, const struct held *h) {
  uint64_t due = 0;
  for (size_t i = 0; i < h->piece_count; i++) {
    size_t own = 0;
    if (!h->pieces[i].bytes) continue;
    for (size_t j = 0; j < h->piece_count; j++)
      if (h->pieces[j].choice == h->pieces[i].choice) own += h->pieces[j].bytes;
    uint64_t d = piece_due(k, req, h, h->pieces[i].choice, own);
    if (d > due) due = d;
  }
  return due;
}

/* Lets go what may go, from the front; all of it when told so. False: the exchange has ended. */
static bool release(struct attempt *a, bool all) {
  struct exchange *x = a->exchange;
  struct chunks *k = a->chunks;
  uint64_t now = x->worker->loop->now_ms, due = 0;
  while (k->first) {
    struct held *h = k->first;
    due = all || k->size > CHUNKS_MOST ? 0 : held_due(k, &x->req, h);
    if (due > now) break;
    if (!emit(a, &h->event, h->data, h->pieces, h->piece_count, &h->after)) return false;
    held_pop(k);
  }
  a->hold_due_ms = k->first && due != UINT64_MAX ? due : 0;
  if (a->hold_due_ms) exchange_clock(x);
  return true;
}

static struct span moved(struct span s, struct span from, const char *to) { return s.p ? span_of(to + (s.p - from.p), s.n) : s; }

static void hold(struct attempt *a, const struct sse_event *e, struct span data, const struct piece *pieces, size_t n) {
  struct chunks *k = a->chunks;
  if (!k->content) k->content = mem_zero(SLOTS * sizeof *k->content);
  size_t extra = e->data_lines > 1 || !e->raw.n ? data.n : 0;    /* its data is not among its bytes */
  struct held *h = mem_alloc(sizeof *h + n * sizeof *pieces + e->raw.n + extra);
  *h = (struct held){ .before = k->last, .at_ms = a->exchange->worker->loop->now_ms, .event = *e, .after = a->events, .piece_count = n };
  h->pieces = (struct piece *)(h + 1);
  h->bytes = (char *)(h->pieces + n);
  h->size = sizeof *h + n * sizeof *pieces + e->raw.n + extra;
  if (e->raw.n) memcpy(h->bytes, e->raw.p, e->raw.n);
  h->event.raw = span_of(h->bytes, e->raw.n);
  h->event.name = moved(e->name, e->raw, h->bytes);
  h->event.data = moved(e->data, e->raw, h->bytes);
  h->data = h->event.data;
  if (extra) {
    memcpy(h->bytes + e->raw.n, data.p, data.n);
    h->data = h->event.data = span_of(h->bytes + e->raw.n, data.n);
  }
  for (size_t i = 0; i < n; i++) {
    struct piece *p = &h->pieces[i];
    *p = pieces[i];
    if (p->changed) p->text = span_of(mem_cstr(p->text), p->text.n);
    k->content[slot_of(p->choice)] += p->bytes;
  }
  k->size += h->size;
  mem_note(MEM_HELD, (int64_t)h->size);
  if (k->last) k->last->next = h;
  else k->first = h;
  k->last = h;
}

/* ---- in */
static struct span plain_of(const struct piece *p, struct span data, struct arena *scratch) {
  struct span text;
  if (p->changed) return p->text;
  json_unescape((struct json){ JSON_STRING, span_of(data.p + p->at, p->n) }, scratch, &text);
  return text;
}

/* Takes up to `back` bytes from the end of a piece; gives how many. owned: its text is in memory of its own. */
static size_t cut_end(struct piece *p, struct span data, size_t back, bool owned, struct arena *scratch) {
  struct span text = plain_of(p, data, scratch);
  size_t cut = back < text.n ? back : text.n;
  if (!cut) return 0;
  struct span kept = span_of(text.p, text.n - cut);
  if (owned) {
    char *copy = mem_cstr(kept);
    if (p->changed) mem_free((char *)p->text.p);
    kept.p = copy;
  }
  p->text = kept;
  p->changed = true;
  p->bytes -= cut;
  return cut;
}

static bool reaches(const struct piece *p, const struct piece *from) { return p->n && p->choice == from->choice && p->kind == from->kind; }

/* A replacement that began in earlier chunks: their ends go, as far as they are here. */
static void reach_back(struct chunks *k, struct piece *pieces, size_t i, struct span data, size_t back, struct arena *scratch) {
  const struct piece *from = &pieces[i];
  while (back && i-- > 0)
    if (reaches(&pieces[i], from)) back -= cut_end(&pieces[i], data, back, false, scratch);
  for (struct held *h = k->last; back && h; h = h->before)
    for (size_t j = h->piece_count; back && j-- > 0;) {
      struct piece *p = &h->pieces[j];
      if (!reaches(p, from)) continue;
      size_t cut = cut_end(p, h->data, back, true, scratch);
      k->content[slot_of(p->choice)] -= cut;
      back -= cut;
    }
}

static size_t content_of(const struct delta *d, struct arena *scratch) {
  struct json v = d->kind == DELTA_TOOL ? d->tool_arguments : d->text;
  struct span text;
  if (d->kind > DELTA_TOOL) return 0;
  if (v.type != JSON_STRING) return v.text.n;
  json_unescape(v, scratch, &text);
  return text.n;
}

static struct piece piece_of(const struct delta *d, struct span data, struct arena *scratch) {
  struct piece p = { .kind = d->kind, .choice = d->choice, .bytes = content_of(d, scratch) };
  if (d->kind > DELTA_THINKING) return p;
  p.at = (size_t)(d->text.text.p - data.p);
  p.n = d->text.text.n;
  return p;
}

static void mark_closed(struct chunks *k, const struct delta *deltas, size_t n, int closed) {
  for (size_t i = 0; i < n; i++) {
    uint64_t bit = 1ull << slot_of(deltas[i].choice);
    if (deltas[i].kind <= DELTA_TOOL) k->closed &= ~bit;
    else if (deltas[i].kind == DELTA_FINISH) k->closed |= bit;
  }
  if (closed >= 0) k->closed |= 1ull << slot_of(closed);
}

bool chunks_event(struct attempt *a, const struct sse_event *e, const struct event_facts *f, size_t count) {
  struct exchange *x = a->exchange;
  struct policy_vm *vm = x->gen->vms[x->worker->number];
  struct arena *scratch = &x->worker->scratch;
  struct chunks *k = chunks_of(a);
  struct span data = sse_data(e, scratch);
  struct json document;
  struct delta *deltas = worker_deltas(x->worker);
  struct piece pieces[DELTA_MOST];
  int closed = -1;
  size_t n = 0;
  if (document_of(data, &document)) {
    n = count;
    if (count == CHUNKS_UNREAD) n = told_deltas(k->told, e->name, document, deltas, &closed);
    else told_seen(k->told, document);
  }
  for (size_t i = 0; i < n; i++) {
    struct decision d;
    struct piece *p = &pieces[i];
    *p = piece_of(&deltas[i], data, scratch);
    enum decision_kind kind = policy_chunk(vm, &x->req, &deltas[i], &d);
    if (kind == DECIDE_STOP || kind == DECIDE_DENY) {
      stop_by_policy(a, &d);
      return false;
    }
    if (kind != DECIDE_DROP && kind != DECIDE_REPLACE) continue;
    p->changed = true;
    p->text = kind == DECIDE_REPLACE ? d.text : SPAN("");
    p->bytes = p->text.n;
    if (d.back) reach_back(k, pieces, i, data, d.back, scratch);
  }
  mark_closed(k, deltas, n, closed);
  if (!k->first && !holds(&x->req)) return emit(a, e, data, pieces, n, &a->events);
  hold(a, e, data, pieces, n);
  return release(a, f->terminal || f->class == EVENT_ERROR);
}

bool chunks_flush(struct attempt *a) { return !a->chunks || release(a, true); }

bool chunks_time(struct attempt *a) {
  struct worker *w = a->exchange->worker;
  a->hold_due_ms = 0;
  bool on = release(a, false);
  arena_reset(&w->scratch);
  return on;
}
