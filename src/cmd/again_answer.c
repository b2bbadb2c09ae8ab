/* again_answer.c: on_response run again, over a whole answer or the held start of a stream as they were kept: what the client got. An answer
   that a policy refused or replaced was kept nowhere; who did so, and why, stands on the tape. */
#include "again_play.h"
#include "../gateway/start.h"

static void unknown(struct play *p, const char *why) { p->out->unjudged = why; }

/* The verdict that the tape has of that target; false: none. */
static bool verdict(struct play *p, const char *what, struct span target, struct span *policy, struct span *why) {
  struct json key, value, v = tape_skip(&p->tape, what, target);
  struct json_iter i = json_iter(v);
  *policy = *why = (struct span){ 0 };
  if (v.type != JSON_ARRAY) return false;
  if (json_next(&i, &key, &value)) json_unescape(value, p->arena, policy);
  if (json_next(&i, &key, &value)) json_unescape(value, p->arena, why);
  return true;
}

void play_refused(struct play *p, struct span target) {
  struct span policy, why;
  if (!verdict(p, "reject", target, &policy, &why)) return;
  play_say(p, arena_printf(p->arena, "%.*s answered, and %.*s refused that: %.*s", SPAN_FMT(target), SPAN_FMT(policy), SPAN_FMT(why)));
  unknown(p, "an answer that was refused is not kept");
}

/* What the decision comes to; *held: it wants to see more. */
static enum judgement decided(struct play *p, const struct decision *d, struct span target, bool *held) {
  *held = d->kind == DECIDE_HOLD;
  switch (d->kind) {
  case DECIDE_DENY: return p->out->outcome = play_denial(p, d), JUDGED_END;
  case DECIDE_REJECT:
    play_say(p, arena_printf(p->arena, "%.*s refuses the answer of %.*s: %.*s", SPAN_FMT(d->policy), SPAN_FMT(target), SPAN_FMT(d->message)));
    return JUDGED_BAD;
  case DECIDE_REPLACE:
    play_say(p, arena_printf(p->arena, "%.*s puts its own words in the place of the answer", SPAN_FMT(d->policy)));
    return p->out->outcome = SPAN("replaced"), JUDGED_END;
  default: return JUDGED_GOOD;
  }
}

static enum judgement ask(struct play *p, struct policy_attempt *view, struct policy_response *r, struct hold_wish *hold, bool *held) {
  struct policy_run run;
  struct policy_subject s = { .req = &p->req, .attempt = view, .response = r };
  const struct decision *d = play_hook(p, &run, HOOK_RESPONSE, &s);
  enum judgement j = decided(p, d, view->target->name, held);
  *hold = d->hold;
  return j;
}

static void usage_of(const struct ledger_row *row, struct usage *u) {
  u->input = row->number[L_INPUT], u->cache_read = row->number[L_CACHE_READ], u->cache_write = row->number[L_CACHE_WRITE];
  u->cache_write_1h = row->number[L_CACHE_WRITE_1H], u->output = row->number[L_OUTPUT], u->reasoning = row->number[L_REASONING];
}

static enum judgement judge_whole(struct play *p, struct policy_attempt *view, struct policy_response *r) {
  struct answer_facts f;
  struct hold_wish hold;
  bool held;
  answer_read(p->req.operation, p->kept->answer, &f);
  r->body = p->kept->answer;
  r->finish = f.finish;
  r->done = true;
  usage_of(p->row, &r->usage);
  return ask(p, view, r, &hold, &held);
}

/* ---- the held start of a stream: judged at its first content, and again when there is as much as was asked for */
struct replay {
  struct start *start;
  struct event_state state;
  struct sse sse;
  struct arena scratch;
  size_t at;                          /* read of the answer */
  struct usage usage;
  struct hold_wish wish;
  bool more;                          /* a wish stands */
};

/* False: the answer ends before. */
static bool gather(struct play *p, struct replay *y) {
  struct sse_event e;
  struct delta deltas[DELTA_MOST];
  struct step s;
  while ((s = sse_feed(&y->sse, span_from(p->kept->answer, y->at), &e)).kind == STEP_EVENT) {
    struct event_facts f;
    y->at += s.used;
    event_read(p->req.operation, &y->state, &e, &y->scratch, &f);
    if (f.has_usage) usage_merge(&y->usage, &f.usage);
    if (y->more || f.real || f.finish.n) start_event(y->start, &e, &f, deltas, p->arena, &y->scratch);
    arena_reset(&y->scratch);
    if (f.class == EVENT_ERROR) return false;
    if (y->more ? start_met(y->start, &y->wish) : f.real || f.finish.n || f.terminal) return true;
  }
  return false;
}

static enum judgement judge_start(struct play *p, struct policy_attempt *view, struct policy_response *r, struct replay *y) {
  bool held = true;
  while (held) {
    if (!gather(p, y)) return unknown(p, "the answer was kept up to a place before that which was judged"), JUDGED_GOOD;
    start_tell(y->start, p->arena, r);
    r->usage = y->usage;
    if (r->done) usage_of(p->row, &r->usage);
    enum judgement j = ask(p, view, r, &y->wish, &held);
    bool amount = y->wish.tokens >= 0 || y->wish.bytes >= 0 || y->wish.until_done;
    if (!held || y->wish.seconds == 0 || (y->more && start_met(y->start, &y->wish)) || (!amount && y->wish.seconds < 0)) return j;
    if (!amount) return unknown(p, "how much of the stream had come when it was judged, which was a matter of time"), JUDGED_GOOD;
    if (start_met(y->start, &y->wish)) return j;
    y->more = true;
  }
  return JUDGED_GOOD;
}

/* ---- */
static const char *not_there(const struct play *p, struct span target) {
  const struct ledger_row *row = p->row;
  if (!span_eq(row->text[L_TARGET], target) || row->number[L_STATUS] < 200 || row->number[L_STATUS] > 299) return "it gave no answer to the client then";
  if (!p->kept || !p->kept->answer.n) return p->cut ? "the answer was not kept whole" : "the answer was not kept";
  if (!p->req.operation) return "it was streamed through unread";
  if (p->req.stream && p->kept->answer.p[0] == '[') return "the answer was kept as one list, and came as a stream";
  return NULL;
}

enum judgement play_judge(struct play *p, struct policy_attempt *view) {
  struct span target = view->target->name, policy, why;
  struct http_head *head = arena_zero(p->arena, sizeof *head);
  struct policy_response r = { .status = (int)p->row->number[L_STATUS], .head = head, .model = p->row->text[L_SERVED], .usage = USAGE_NONE };
  if (!policy_has(p->vm, HOOK_RESPONSE)) return JUDGED_GOOD;
  if (verdict(p, "replace", target, &policy, &why)) {
    play_say(p, arena_printf(p->arena, "%.*s put its own words in the place of the answer", SPAN_FMT(policy)));
    return unknown(p, "an answer that was replaced is not kept"), JUDGED_GOOD;
  }
  const char *none = not_there(p, target);
  if (none) return unknown(p, none), JUDGED_GOOD;
  play_say(p, arena_printf(p->arena, "the answer of %.*s is judged, as it was kept", SPAN_FMT(target)));
  if (p->kept->answer.p[0] == '{') return judge_whole(p, view, &r);
  struct replay y = { .start = start_new(p->req.operation, p->kept->answer.n), .usage = USAGE_NONE };
  enum judgement j = judge_start(p, view, &r, &y);
  start_free(y.start);
  arena_end(&y.scratch);
  return j;
}
