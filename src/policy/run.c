#include "room.h"
#include <time.h>

const char *const hook_words[HOOK_COUNT] = { "on_request", "on_attempt", "on_response",
                                             "on_chunk",   "on_failure", "on_done" };

bool policy_has(const struct policy_vm *pv, enum hook h) { return pv->lists[h].count; }

static double real_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double policy_now(struct policy_vm *pv) { return pv->now ? pv->now(pv->now_arg) : real_now(); }

void policy_set_clock(struct policy_vm *pv, double (*now)(void *arg), void *arg) {
  pv->now = now;
  pv->now_arg = arg;
}

/* ---- into Lua */

/* The hook and its arguments, whose number it gives. Nothing of it allocates, so no protected call is needed around it. */
static int hook_push(lua_State *co, struct policy_vm *pv, const struct frame *f) {
  static const enum kind_id subjects[HOOK_COUNT] = {
    [HOOK_ATTEMPT] = KIND_ATTEMPT, [HOOK_RESPONSE] = KIND_RESPONSE, [HOOK_CHUNK] = KIND_CHUNK,
    [HOOK_FAILURE] = KIND_ATTEMPT, [HOOK_DONE] = KIND_USAGE,
  };
  uint64_t exchange = req_serial(pv, f->subject->req);
  lua_rawgeti(co, LUA_REGISTRYINDEX, f->instance->hooks[f->hook]);
  kind_push(co, KIND_REQ, exchange, 0);
  if (f->hook == HOOK_REQUEST) return 1;
  kind_push(co, subjects[f->hook], f->hook == HOOK_CHUNK ? exchange : f->serial, 0);
  if (f->hook != HOOK_FAILURE) return 2;
  kind_push(co, KIND_FAULT, f->serial, 0);
  return 3;
}

/* ---- failures */

static const char *remedy(enum vm_result r) {
  switch (r) {
  case VM_TIMEOUT:
    return "do less in one call: what is the same for every request belongs in a local of the file, and searching "
           "text to weir.matcher";
  case VM_MEMORY: return "keep less in tables, make large ones while the file loads, or raise lua_memory in weir.lua";
  default: return "mend the policy, or write on_error = \"pass\" in it if requests shall go on without it";
  }
}

/* message is "file:line: what" and, behind it, the traceback. */
static void failure_log(struct policy_vm *pv, const struct frame *f, enum vm_result r, struct span message) {
  const struct instance *in = f->instance;
  uint64_t missed = 0;
  if (!error_count_add(in->errors[f->hook], policy_now(pv), &missed)) return;
  size_t cut = span_search(message, SPAN("\n\t"));
  struct span what = span_of(message.p, cut), trace = span_from(message, cut);
  struct span id = f->subject->req->id;
  if (trace.n > 1000) trace.n = 1000;
  log_error("%.*s (policy '%.*s' in %s, request %.*s; on_error = \"%s\"): %s.%.*s", SPAN_FMT(what), SPAN_FMT(in->name),
            hook_words[f->hook], SPAN_FMT(id), in->pass ? "pass" : "deny", remedy(r), SPAN_FMT(trace));
  if (missed)
    log_error("policy '%.*s' failed in %s %llu times more since the line before", SPAN_FMT(in->name),
              hook_words[f->hook], (unsigned long long)missed);
}

static void failure_decide(const struct frame *f, struct decision *out) {
  static const enum decision_kind kinds[HOOK_COUNT] = {
    [HOOK_REQUEST] = DECIDE_DENY, [HOOK_ATTEMPT] = DECIDE_DENY, [HOOK_RESPONSE] = DECIDE_DENY,
    [HOOK_CHUNK] = DECIDE_STOP,   [HOOK_FAILURE] = DECIDE_FAIL,
  };
  if (f->hook == HOOK_DONE) return;
  *out = (struct decision){ .kind = kinds[f->hook], .policy = f->instance->name, .retry_after = -1, .error = true };
  out->message = arena_printf(f->subject->req->arena, "the policy '%.*s' failed; the log of weir says why",
                              SPAN_FMT(f->instance->name));
  out->code = SPAN("policy_error");
  if (out->kind == DECIDE_DENY) out->status = 500;
  if (out->kind == DECIDE_STOP) out->as = SPAN("error");
}

/* True when the chain ends with it. */
static bool failed(struct policy_vm *pv, const struct frame *f, enum vm_result r, struct span message,
                   struct decision *out) {
  failure_log(pv, f, r, message);
  if (f->instance->pass) return false;
  failure_decide(f, out);
  return f->hook != HOOK_DONE;
}

static bool failed_value(struct policy_vm *pv, const struct frame *f, struct buf *why, struct decision *out) {
  struct buf message = { 0 };
  buf_printf(&message, "%.*s:%u: %.*s", SPAN_FMT(f->instance->file), f->instance->lines[f->hook],
             SPAN_FMT(buf_span(why)));
  bool ends = failed(pv, f, VM_ERROR, buf_span(&message), out);
  buf_free(&message);
  return ends;
}

static struct span error_text(lua_State *L) {
  struct span s = SPAN("an error that is no text");
  if (lua_type(L, -1) == LUA_TSTRING) s.p = lua_tolstring(L, -1, &s.n);
  return s;
}

/* ---- out of Lua */

static void unreturned(const struct frame *f) {
  if (f->instance->told_unreturned) return;
  f->instance->told_unreturned = true;
  log_warn(
      "%.*s:%u: %s made a decision and did not return it, so it has no effect: write return weir.… (policy '%.*s')",
      SPAN_FMT(f->instance->file), f->instance->lines[f->hook], hook_words[f->hook], SPAN_FMT(f->instance->name));
}

/* In on_chunk: from now on, until the same policy says otherwise. */
static void hold_chunks(const struct frame *f, const struct hold_wish *w) {
  struct policy_req *req = f->subject->req;
  struct policy_hold *h = req->holds;
  while (h && h->owner != f->instance) h = h->next;
  if (!h) {
    h = arena_alloc(req->arena, sizeof *h);
    *h = (struct policy_hold){ .next = req->holds, .owner = f->instance };
    req->holds = h;
  }
  h->bytes = w->bytes;
  h->seconds = w->seconds;
}

static double longer(double a, double b) { return a > b ? a : b; }

/* In on_response. Without seconds it is no matter of time. */
static void hold_response(struct decision *all, const struct decision *d) {
  if (all->kind == DECIDE_REPLACE) return;
  if (all->kind != DECIDE_HOLD) { *all = *d; return; }
  struct hold_wish *w = &all->hold;
  w->tokens = longer(w->tokens, d->hold.tokens);
  w->bytes = longer(w->bytes, d->hold.bytes);
  w->seconds = w->seconds < 0 || d->hold.seconds < 0 ? -1 : longer(w->seconds, d->hold.seconds);
  w->until_done |= d->hold.until_done;
}

/* The first of what a hook returned joins what earlier policies said. True when the chain ends. */
static bool take(struct policy_vm *pv, lua_State *L, int results, struct frame *f, struct decision *all) {
  if (!results || lua_isnil(L, 1)) {
    if (__builtin_expect(f->chose, false)) unreturned(f);
    return false;
  }
  struct decision d = { .kind = DECIDE_PASS };
  struct buf why = { 0 };
  if (!choice_take(L, 1, f, &d, &why)) {
    bool ends = failed_value(pv, f, &why, all);
    buf_free(&why);
    return ends;
  }
  bool weak = d.kind == DECIDE_ACCEPT && (all->kind == DECIDE_REPLACE || all->kind == DECIDE_HOLD);
  if (d.kind == DECIDE_PASS || weak) return false;
  if (f->hook == HOOK_CHUNK) {
    if (d.kind == DECIDE_HOLD || d.hold.bytes >= 0 || d.hold.seconds >= 0) hold_chunks(f, &d.hold);
    if (d.kind == DECIDE_HOLD) return false;
    d.back += all->back;                                 /* an earlier policy has taken these already */
  } else if (d.kind == DECIDE_HOLD) {
    hold_response(all, &d);
    return false;
  }
  if (d.kind == DECIDE_DENY && !d.message.n)
    d.message = arena_printf(f->subject->req->arena, "refused by the policy '%.*s'", SPAN_FMT(d.policy));
  *all = d;
  return d.kind != DECIDE_ACCEPT && d.kind != DECIDE_REPLACE;
}

/* ---- runs */

/* After memory ran out: what the failed call left (the stack of a deep recursion above all, which a collection under
   need does not shrink) must not make the next one fail too. */
static void collect(struct policy_vm *pv) { lua_gc(pv->lua, LUA_GCCOLLECT); }

static void coroutine_drop(struct policy_run *run) {
  if (run->co) vm_coroutine_drop(run->vm->vm, run->co);
  run->co = NULL;
}

/* Runs a hook from its beginning, or on from where it waited. What it returned is then all that stands on co. */
static enum vm_result hook_run(struct policy_vm *pv, lua_State *co, struct frame *f, bool fresh, int *results) {
  int given = fresh ? hook_push(co, pv, f) : 0;
  check(!pv->frame);
  pv->frame = f;
  enum vm_result r = vm_resume(co, given, results);
  pv->frame = NULL;
  return r;
}

enum outcome { GOES_ON, ENDS, WAITS };

/* Starts or resumes the policy whose turn it is. */
static enum outcome step(struct policy_run *run, bool fresh) {
  struct policy_vm *pv = run->vm;
  struct frame f = {
    .instance = pv->lists[run->hook].of[run->at],
    .hook = run->hook,
    .subject = &run->subject,
    .run = run,
    .serial = run->serial,
    .choices = &run->choices,
  };
  int results;
  bool ends;
  if (!run->co) run->co = vm_coroutine(pv->vm);
  else if (fresh) lua_settop(run->co, 0);
  lua_State *co = run->co;
  enum vm_result r = hook_run(pv, co, &f, fresh, &results);
  if (r == VM_YIELD) return WAITS;
  if (r == VM_OK) {
    ends = take(pv, co, results, &f, &run->decision);
  } else {
    ends = failed(pv, &f, r, error_text(co), &run->decision);
    coroutine_drop(run);
    if (r == VM_MEMORY) collect(pv);
  }
  return ends ? ENDS : GOES_ON;
}

static enum policy_result run_on(struct policy_run *run, bool fresh) {
  size_t count = run->vm->lists[run->hook].count;
  for (; run->at < count; run->at++, fresh = true) {
    enum outcome o = step(run, fresh);
    if (o == WAITS) return POLICY_WAITS;
    if (o == ENDS) break;
  }
  run->wait.kind = WAIT_NONE;
  if (run->co) vm_coroutine_back(run->vm->vm, run->co);   /* after a failure there is none */
  run->co = NULL;
  arena_end(&run->kept);
  return POLICY_DONE;
}

enum policy_result policy_run_start(struct policy_vm *pv, struct policy_run *run, enum hook h,
                                    const struct policy_subject *s) {
  *run =
      (struct policy_run){ .vm = pv, .hook = h, .subject = *s, .decision = { .kind = DECIDE_PASS, .retry_after = -1 } };
  if (!pv->lists[h].count) return POLICY_DONE;
  run->serial = ++pv->serial;
  return run_on(run, true);
}

enum policy_result policy_run_resume(struct policy_run *run, const struct policy_answer *a) {
  if (!check(run->co && run->wait.kind != WAIT_NONE)) return POLICY_DONE;
  tape_answer(run, a);
  run->answer = a;
  enum policy_result r = run_on(run, false);
  run->answer = NULL;
  return r;
}

void policy_run_cancel(struct policy_run *run) {
  if (run->co) coroutine_drop(run);
  arena_end(&run->kept);
  run->wait.kind = WAIT_NONE;
}

/* ---- chunks */

static bool chunk_step(struct policy_vm *pv, struct frame *f, struct decision *out) {
  lua_State *co = vm_coroutine(pv->vm);
  int results;
  bool ends;
  enum vm_result r = hook_run(pv, co, f, true, &results);
  if (r == VM_OK) ends = take(pv, co, results, f, out);
  else ends = failed(pv, f, r, error_text(co), out);
  if (r == VM_OK) vm_coroutine_back(pv->vm, co);
  else vm_coroutine_drop(pv->vm, co);
  if (r == VM_MEMORY) collect(pv);
  if (out->kind == DECIDE_REPLACE) f->replaced = true, f->text = out->text;
  return ends;
}

enum decision_kind policy_chunk(struct policy_vm *pv, struct policy_req *req, const struct delta *d,
                                struct decision *out) {
  const struct hook_list *list = &pv->lists[HOOK_CHUNK];
  struct policy_subject s = { .req = req, .chunk = d };
  struct frame f = { .hook = HOOK_CHUNK, .subject = &s };
  *out = (struct decision){ .kind = DECIDE_PASS, .retry_after = -1 };
  for (size_t i = 0; i < list->count; i++) {
    struct choice *choices = NULL;
    f.instance = list->of[i];
    f.choices = &choices;
    f.chose = false;
    f.serial = ++pv->serial;
    if (chunk_step(pv, &f, out)) break;
  }
  return out->kind;
}
