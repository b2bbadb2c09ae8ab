/* judge.c: is what a client got the start of what a provider sent, or does it end as the dialect ends? */
#include "storm.h"
#include "weir/json.h"

enum { SHOWN = 300 };
static int shown(struct span s) { return (int)(s.n < SHOWN ? s.n : SHOWN); }

/* ---- endings that weir itself writes */
static struct span error_start(enum speech speech) {
  return speech == SPEECH_CHAT ? SPAN("data: {\"error\":{") : speech == SPEECH_MESSAGES ? SPAN("event: error\ndata: {\"type\":\"error\",") : SPAN("event: error\ndata: {");
}

/* One event and nothing behind it; where the client left in the middle of it, the start of one. */
static bool is_error_event(enum speech speech, struct span text, bool whole) {
  struct span start = error_start(speech);
  if (!whole && text.n < start.n) return span_starts(start, text);
  if (!span_starts(text, start)) return false;
  size_t end = span_search(text, SPAN("\n\n"));
  return end == text.n ? !whole : end + 2 == text.n;
}

static bool is_error_body(struct span body) {
  struct json document, error;
  struct json_error e;
  if (!json_read(body, &document, &e)) return false;
  error = json_get(document, SPAN("error"));
  return error.type == JSON_OBJECT && json_get(error, SPAN("weir")).type == JSON_OBJECT;
}

static struct span without_heartbeats(enum speech speech, struct span body) {
  struct span beat = speech == SPEECH_MESSAGES ? SPAN("event: ping\ndata: {\"type\":\"ping\"}\n\n") : SPAN(": ping\n\n");
  while (span_starts(body, beat)) body = span_from(body, beat.n);
  return body;
}

/* ---- streams */
static size_t common(struct span a, struct span b) {
  size_t n = 0;
  while (n < a.n && n < b.n && a.p[n] == b.p[n]) n++;
  return n;
}

static size_t event_boundary(struct span text, size_t at) {
  while (at >= 2 && !(text.p[at - 1] == '\n' && text.p[at - 2] == '\n')) at--;
  return at >= 2 ? at : 0;
}

static bool stream_fits(const struct asked *a, const struct story *t, struct span body, bool whole) {
  struct span told = span_of(t->body.p + t->body.at, t->limit);
  size_t n = common(body, told), at;
  if (n == body.n && (!whole || (t->legal && n == told.n))) return true;
  at = event_boundary(told, n);
  return is_error_event(a->speech, span_from(body, at), whole);
}

static void judge_stream(struct storm *s, struct asked *a, struct span body, bool whole, bool left) {
  struct span rest = without_heartbeats(a->speech, body);
  s->seen.streams++;
  if (!whole && !left) storm_fail(s, "%s: a stream was closed without an end after %zu bytes", a->id, body.n);
  if (a->answers && (!whole || span_search(body, SPAN("from the policy")) < body.n)) return;
  if (!rest.n && !whole) return;
  if (is_error_event(a->speech, rest, whole)) { s->seen.errors++; return; }
  for (const struct story *t = a->stories; t; t = t->next)
    if (t->stream && stream_fits(a, t, rest, whole)) return;
  storm_fail(s, "%s: %s stream of %zu bytes is no story told:\n%.*s\n…\n%.*s", a->id, whole ? "a whole" : "the start of a", rest.n,
             shown(rest), rest.p, shown(rest), rest.p + rest.n - shown(rest));
}

/* ---- whole answers */
/* unread: weir passes it on without a look at what it says. */
static bool whole_fits(const struct story *t, int status, struct span body, bool whole, bool unread) {
  struct span told = buf_span(&t->body);
  if (t->stream || t->status != status) return false;
  if (!whole || (t->open_end && unread)) return span_starts(told, body);
  return t->legal && span_eq(body, told);
}

static void judge_whole(struct storm *s, struct asked *a, int status, struct span body, bool whole, bool left) {
  bool flows = body.n > 200000 || a->speech == SPEECH_RAW;         /* larger than hold_answer, or never held */
  if (!whole && !left) s->seen.cut++;
  if (!whole && !left && !flows && body.n) storm_fail(s, "%s: an answer of status %d was cut after %zu bytes", a->id, status, body.n);
  if (a->answers && status == 200 && span_search(body, SPAN("from the policy")) < body.n) return;
  if (!whole && !body.n) return;
  if (status >= 400 && (!whole || is_error_body(body))) { s->seen.errors++; return; }
  for (const struct story *t = a->stories; t; t = t->next)
    if (whole_fits(t, status, body, whole, flows || status >= 400)) return;
  storm_fail(s, "%s: an answer of status %d with %zu bytes is no story told:\n%.*s", a->id, status, body.n, shown(body), body.p);
}

void judge_answer(struct storm *s, struct asked *a, const struct http_head *head, struct span body, bool whole, bool left) {
  struct span id = http_header(head, SPAN("x-request-id"));
  bool own = head->status == 408 || head->status == 431 || head->status == 413;      /* said before the head was understood */
  if (!own && !span_eq(id, span_cstr(a->id))) storm_fail(s, "%s was given the answer to %.*s", a->id, SPAN_FMT(id));
  s->seen.answers += whole;
  if (whole) a->answered = true;
  if (head->status == 200 && span_istarts(head->content_type, SPAN("text/event-stream"))) judge_stream(s, a, body, whole, left);
  else judge_whole(s, a, head->status, body, whole, left);
}
