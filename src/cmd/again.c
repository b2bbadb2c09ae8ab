/* again.c: what policies would decide for a request of the ledger. They see the request as far as it was kept, and of the world what was
   recorded; faults of targets come from the record, in its order. Nothing is sent, and no counter of this machine is touched. */
#include "again_play.h"
#include "../gateway/exchange.h"
#include "../gateway/worker.h"
#include "weir/vm.h"

void play_say(struct play *p, struct span text) {
  struct again_step *s = arena_alloc(p->arena, sizeof *s);
  *s = (struct again_step){ NULL, text };
  *p->out->last = s;
  p->out->last = &s->next;
}

static double begun_at(void *arg) { return (double)ledger_begun_ms(((struct play *)arg)->row->number[L_SEQUENCE]) / 1000; }

/* ---- the request, as far as it was kept */
static struct policy_note *notes_of(struct play *p, struct span json) {
  struct policy_note *list = NULL;
  struct json all, key, value;
  if (!json.n || !json_read(json, &all, NULL)) return NULL;
  for (struct json_iter i = json_iter(all); json_next(&i, &key, &value);) {
    struct policy_note *n = arena_zero(p->arena, sizeof *n);
    n->next = list;
    json_unescape(key, p->arena, &n->key);
    if (value.type == JSON_STRING) json_unescape(value, p->arena, &n->value);
    list = n;
  }
  return list;
}

static void tags_of_key(struct play *p, struct key *k) {
  size_t n = 0;
  struct policy_note *list = notes_of(p, p->row->text[L_KEY_TAGS]);
  for (const struct policy_note *t = list; t; t = t->next) n++;
  k->tags = arena_alloc(p->arena, (n + 1) * sizeof *k->tags);
  for (const struct policy_note *t = list; t; t = t->next) k->tags[k->tag_count++] = (struct key_tag){ t->key, t->value };
}

/* That of the configuration, else one made of what the record says of it. */
static const struct key *key_of(struct play *p) {
  struct span name = p->row->text[L_KEY];
  if (!name.n) return NULL;
  for (size_t i = 0; i < p->conf->keys.count; i++)
    if (span_eq(p->conf->keys.list[i].name, name)) return &p->conf->keys.list[i];
  struct key *k = arena_zero(p->arena, sizeof *k);
  *k = (struct key){ .name = name, .team = p->row->text[L_TEAM], .user = p->row->text[L_USER] };
  tags_of_key(p, k);
  return k;
}

static struct span made_up_body(struct play *p) {
  struct buf out = { 0 };
  struct json_writer w = { .out = &out };
  json_begin(&w, '{');
  json_key(&w, SPAN("model")), json_str(&w, p->row->text[L_MODEL]);
  if (p->req.stream) json_key(&w, SPAN("stream")), json_bool(&w, true);
  json_key(&w, SPAN("messages")), json_begin(&w, '['), json_end(&w, ']');
  json_end(&w, '}');
  struct span body = arena_copy(p->arena, buf_span(&out));
  buf_free(&out);
  return body;
}

static void body_of(struct play *p) {
  struct policy_req *r = &p->req;
  const char *why;
  r->body = p->kept ? p->kept->request : made_up_body(p);
  r->members = arena_alloc(p->arena, MOST_MEMBERS * sizeof *r->members);
  r->body_keys = ~0ull;
  if (!json_read_object(r->body, r->members, MOST_MEMBERS, &r->member_count, NULL)) r->member_count = 0;
  if (r->operation) request_read(r->operation, r->members, r->member_count, &r->facts, &why);
}

static void request_of(struct play *p) {
  const struct ledger_row *row = p->row;
  struct http_head *head = arena_zero(p->arena, sizeof *head);
  head->method = row->text[L_METHOD];
  head->target = row->text[L_PATH];
  p->req = (struct policy_req){
    .arena = p->arena, .operation = row->number[L_RAW] == 1 ? NULL : operation_by_path(row->text[L_PATH]), .id = row->text[L_ID], .path = row->text[L_PATH],
    .ip = row->text[L_IP], .method = row->text[L_METHOD], .head = head, .model = row->text[L_MODEL], .stream = row->number[L_STREAM] == 1,
    .session = row->text[L_SESSION], .user = row->text[L_USER], .key = key_of(p), .tags = notes_of(p, row->text[L_TAGS]), .tape = &p->tape,
    .deadline = begun_at(p) + conf_setting(p->conf, NULL, NULL, SET_TOTAL) };
  if (row->text[L_PROMPT].n && row->text[L_PROMPT].p[0] != '#') p->req.prompt = row->text[L_PROMPT];
  body_of(p);
}

/* ---- hooks */
const struct decision *play_hook(struct play *p, struct policy_run *run, enum hook h, const struct policy_subject *s) {
  enum policy_result r = POLICY_DONE;
  *run = (struct policy_run){ .decision = { .kind = DECIDE_PASS, .retry_after = -1 } };
  if (policy_has(p->vm, h)) r = policy_run_start(p->vm, run, h, s);
  while (r == POLICY_WAITS) {
    struct policy_answer answer;
    tape_played(run, p->arena, &answer);
    r = policy_run_resume(run, run->wait.kind == WAIT_SLEEP ? NULL : &answer);
  }
  return &run->decision;
}

struct span play_denial(struct play *p, const struct decision *d) {
  play_say(p, arena_printf(p->arena, "%.*s denies with %d: %.*s", SPAN_FMT(d->policy), d->status, SPAN_FMT(d->message)));
  return d->error ? SPAN("internal") : d->word.n ? arena_copy(p->arena, d->word) : SPAN("denied");
}

/* False: it ends there. */
static bool on_request(struct play *p) {
  struct policy_run run;
  struct policy_subject s = { .req = &p->req };
  const struct decision *d = play_hook(p, &run, HOOK_REQUEST, &s);
  int status = 0;
  if (d->kind == DECIDE_DENY) return p->out->outcome = play_denial(p, d), false;
  if (d->kind == DECIDE_ANSWER) {
    play_say(p, arena_printf(p->arena, "%.*s answers itself", SPAN_FMT(d->policy)));
    return p->out->outcome = SPAN("answered"), false;
  }
  const struct operation_info *o = p->req.operation ? p->req.operation : operation_info(OP_CHAT);
  const char *refused = p->req.target_count ? route_names(p->conf, o, p->req.targets, p->req.target_count, p->arena, &p->route, &status)
                                            : route_model(p->conf, o, p->req.model, p->arena, &p->route, &status);
  if (!refused) return true;
  play_say(p, arena_printf(p->arena, "refused with %d: %s", status, refused));
  return p->out->outcome = SPAN("refused"), false;
}

/* The next recorded failure of that target. */
static bool fault_of(struct play *p, struct span target, struct policy_fault *out) {
  struct json key, one;
  struct json_iter at = p->failed;
  while (json_next(&at, &key, &one)) {
    struct span word = { 0 };
    int64_t status = 0;
    if (!json_string_is(json_get(one, SPAN("target")), target)) continue;
    json_unescape(json_get(one, SPAN("fault")), p->arena, &word);
    json_i64(json_get(one, SPAN("status")), &status);
    *out = (struct policy_fault){ .kind = FAULT_CONNECTION, .status = (int)status, .target = target, .phase = "head", .retry_after = -1 };
    fault_named(word, &out->kind);
    p->failed = at;
    return true;
  }
  return false;
}

static enum decision_kind on_failure(struct play *p, struct policy_attempt *view, struct policy_fault *f, const char *was, uint32_t next_on) {
  struct policy_run run;
  struct policy_subject s = { .req = &p->req, .attempt = view, .fault = f };
  const struct decision *d = play_hook(p, &run, HOOK_FAILURE, &s);
  enum decision_kind kind = d->kind == DECIDE_PASS ? next_on & 1u << f->kind ? DECIDE_NEXT : DECIDE_FAIL : d->kind;
  const char *does = kind == DECIDE_RETRY ? "is tried again" : kind == DECIDE_NEXT ? "the next one" : "that is the end";
  play_say(p, arena_printf(p->arena, "%.*s: %s%s; %s%s%.*s", SPAN_FMT(f->target), fault_word(f->kind), was, does, d->kind == DECIDE_PASS ? "" : ", says ",
                      SPAN_FMT(d->kind == DECIDE_PASS ? (struct span){ 0 } : d->policy)));
  return kind;
}

enum attempt_end { ENDED, RETRY, NEXT };

static enum attempt_end attempt(struct play *p, const struct candidate *c, unsigned number, uint32_t next_on) {
  struct provider *provider = c->provider;
  struct target target = { .provider = provider, .endpoint = provider->endpoints, .model = c->model, .name = c->name };
  if (provider->endpoint_count && provider->endpoints->account_count) target.account = provider->endpoints->accounts;
  struct policy_attempt view = { .number = number, .target = &target, .deadline = p->req.deadline, .arena = p->arena };
  struct policy_subject s = { .req = &p->req, .attempt = &view };
  struct policy_run run;
  struct policy_fault fault;
  const char *was = ", as it was";
  const struct decision *d = play_hook(p, &run, HOOK_ATTEMPT, &s);
  if (d->kind == DECIDE_SKIP || (d->kind == DECIDE_DENY && d->word.n && !d->error)) {
    play_say(p, arena_printf(p->arena, "%.*s is left out by %.*s: %.*s", SPAN_FMT(c->name), SPAN_FMT(d->policy), SPAN_FMT(d->message)));
    p->out->outcome = SPAN("nothing left");
    return NEXT;
  }
  if (d->kind == DECIDE_DENY) return p->out->outcome = play_denial(p, d), ENDED;
  if (!fault_of(p, c->name, &fault)) {
    play_say(p, arena_printf(p->arena, "%.*s is asked", SPAN_FMT(c->name)));
    p->out->outcome = arena_copy(p->arena, c->name);
    if (play_judge(p, &view) != JUDGED_BAD) return ENDED;
    fault = (struct policy_fault){ .kind = FAULT_INVALID, .status = (int)p->row->number[L_STATUS], .target = c->name, .phase = "head", .retry_after = -1 };
    was = "";
  } else if (fault.kind == FAULT_INVALID) {
    play_refused(p, c->name);
  }
  p->out->outcome = arena_printf(p->arena, "%s", fault_word(fault.kind));
  p->req.attempts = number;
  enum decision_kind kind = on_failure(p, &view, &fault, was, next_on);
  return kind == DECIDE_RETRY ? RETRY : kind == DECIDE_NEXT ? NEXT : ENDED;
}

static void attempts(struct play *p) {
  uint32_t next_on = p->req.next_on ? p->req.next_on : p->route.next_on ? p->route.next_on : route_default_next_on();
  unsigned number = 1;
  for (size_t i = 0; i < p->route.count && number <= MOST_TRIED; number++) {
    enum attempt_end end = attempt(p, &p->route.candidates[i], number, next_on);
    if (end == ENDED) return;
    i += end == NEXT;
  }
}

static void tell_changes(struct play *p) {
  for (const struct policy_edit *e = p->req.edits; e; e = e->next)
    play_say(p, e->json.p ? arena_printf(p->arena, "sets %.*s to %.*s", SPAN_FMT(e->word), SPAN_FMT(e->json)) : arena_printf(p->arena, "leaves %.*s out", SPAN_FMT(e->word)));
  for (const struct policy_note *n = p->req.notes; n; n = n->next)
    play_say(p, arena_printf(p->arena, "notes %.*s = %.*s", SPAN_FMT(n->key), SPAN_FMT(n->value)));
}

static void run_all(struct play *p) {
  struct json failed = { 0 };
  if (p->row->text[L_FAILED].n) json_read(p->row->text[L_FAILED], &failed, NULL);
  p->failed = json_iter(failed);
  if (on_request(p)) attempts(p);
  tell_changes(p);
  p->out->missing = p->tape.missing;
  p->out->cut = p->tape.full;
  p->out->chunks = p->req.stream && policy_has(p->vm, HOOK_CHUNK);
  policy_req_end(&p->req);
}

bool again_run(struct again *out, struct arena *a, struct conf *c, const struct ledger_row *row, const struct ledger_kept *kept) {
  struct buf errors = { 0 };
  struct play *p = arena_zero(a, sizeof *p);
  *out = (struct again){ .arena = a };
  out->last = &out->steps;
  *p = (struct play){ .out = out, .arena = a, .row = row, .kept = kept && kept->request.n && !kept->cut ? kept : NULL, .cut = kept && kept->cut, .conf = c };
  policy_world_begin();
  p->vm = policy_vm_new(c, &errors, NULL);
  bool good = p->vm && tape_play(&p->tape, row->text[L_READS]);
  if (!p->vm) play_say(p, arena_printf(a, "the policies do not load: %.*s", SPAN_FMT(span_trim(buf_span(&errors)))));
  if (good) {
    policy_set_clock(p->vm, begun_at, p);
    request_of(p);
    run_all(p);
  }
  if (p->vm) policy_vm_free(p->vm);
  policy_world_end();
  buf_free(&errors);
  return good;
}

struct span again_was(const struct ledger_row *row) {
  struct span end = row->text[L_END], target = row->text[L_TARGET];
  if (target.n && row->number[L_STATUS] >= 200 && row->number[L_STATUS] < 300) return target;
  if (span_eq(end, SPAN("done")) && !target.n) return SPAN("answered");
  return end;
}
