/* contents.c: contents of exchanges on their way to the ledger: the request as policies left it, the answer as the client got it, both up
   to a size. Off unless `ledger { contents = … }` names the team, key, user or model. */
#include "contents.h"
#include "exchange.h"
#include "story.h"
#include "worker.h"
#include "weir/ledger.h"

struct kept_contents {
  struct span request;                /* in the arena */
  char *answer;
  size_t answer_size, most;
  bool cut;
};

/* A name, or the start of one with '*' behind it. */
static bool named(const struct contents_conf *c, enum contents_scope scope, struct span name) {
  for (size_t i = 0; name.n && i < c->counts[scope]; i++) {
    struct span pattern = c->names[scope][i];
    if (span_eq(pattern, name)) return true;
    if (pattern.n && pattern.p[pattern.n - 1] == '*' && span_starts(name, span_of(pattern.p, pattern.n - 1))) return true;
  }
  return false;
}

static bool wanted(const struct exchange *x, const struct contents_conf *c) {
  const struct key *k = x->req.key;
  if (k && (named(c, CONTENTS_TEAM, k->team) || named(c, CONTENTS_KEY, k->name))) return true;
  return named(c, CONTENTS_USER, k && k->user.n ? k->user : x->req.user) || named(c, CONTENTS_MODEL, x->req.model);
}

/* As policies left it: what they took out of the messages does not stand in the ledger either. */
static struct span request_text_of(struct exchange *x, struct kept_contents *k) {
  const struct policy_req *r = &x->req;
  struct buf out = { 0 };
  struct span text = x->body;
  if (r->seen) {
    buf_byte(&out, '{');
    for (size_t i = 0; i < r->seen_count && buf_size(&out) <= k->most; i++) {
      if (i) buf_byte(&out, ',');
      buf_add(&out, r->seen[i].key.text);
      buf_byte(&out, ':');
      buf_add(&out, r->seen[i].value.text);
    }
    buf_byte(&out, '}');
    text = buf_span(&out);
  }
  k->cut |= text.n > k->most || !x->body_done;
  if (text.n > k->most) text.n = k->most;
  text = arena_copy(&x->arena, text);
  buf_free(&out);
  return text;
}

void contents_begin(struct exchange *x) {
  const struct contents_conf *c = &x->gen->conf->ledger.contents;
  if (!c->any || x->contents || !x->worker->gateway->ledger || !wanted(x, c)) return;
  struct kept_contents *k = x->contents = arena_zero(&x->arena, sizeof *k);
  k->most = c->size;
  k->answer = arena_alloc(&x->arena, k->most);
  k->request = request_text_of(x, k);
}

void contents_add(struct exchange *x, struct span body) {
  struct kept_contents *k = x->contents;
  size_t room = k->most - k->answer_size, n = body.n < room ? body.n : room;
  if (n) memcpy(k->answer + k->answer_size, body.p, n);
  k->answer_size += n;
  k->cut |= n < body.n;
}

/* Without the character that the bound went through; of no text (an encoded answer) nothing. */
static struct span whole_characters(struct span s, bool *cut) {
  for (int i = 0; i < 4 && s.n; i++, s.n--)
    if (span_utf8(s)) return s;
  *cut |= s.n > 0;
  return (struct span){ 0 };
}

void contents_end(struct exchange *x) {
  struct ledger *l = x->worker->gateway->ledger;
  if (!l) return;
  contents_begin(x);
  struct kept_contents *k = x->contents;
  if (!k) return;
  struct span request = whole_characters(k->request, &k->cut), answer = whole_characters(span_of(k->answer, k->answer_size), &k->cut);
  if (!ledger_contents(l, story_sequence(x), span_cstr(x->id), request, answer, k->cut)) log_warn("%s: its contents are not kept: the store does not keep up", x->id);
}
