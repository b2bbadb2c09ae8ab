/* tape.c: readings of policies, recorded and played. */
#include "room.h"
#include "weir/tape.h"

struct policy_tape *tape_new(struct arena *a) {
  struct policy_tape *t = arena_alloc(a, offsetof(struct policy_tape, entries));
  memset(t, 0, offsetof(struct policy_tape, entries));
  t->arena = a;
  return t;
}

void tape_keep(struct policy_tape *t, const char *what, struct span name, struct span json) {
  struct buf out = { 0 };
  struct json_writer w = { .out = &out };
  if (t->full || t->plays) return;
  if (json.n > TAPE_VALUE || t->size > TAPE_MOST) {
    t->full = true;
    return;
  }
  json_begin(&w, '[');
  json_str(&w, span_cstr(what));
  json_str(&w, name.n > TAPE_VALUE ? span_of(name.p, TAPE_VALUE) : name);
  json_raw(&w, json);
  json_end(&w, ']');
  if (t->size + buf_size(&out) <= TAPE_MOST) {
    struct tape_entry *e = arena_alloc(t->arena, sizeof *e);
    *e = (struct tape_entry){ NULL, arena_copy(t->arena, buf_span(&out)) };
    t->size += buf_size(&out) + 1;
    if (t->last) t->last->next = e;
    else t->first = e;
    t->last = e;
  } else {
    t->full = true;
  }
  buf_free(&out);
}

void tape_write(const struct policy_tape *t, struct buf *out) {
  if (!t->first && !t->full) return;
  buf_byte(out, '[');
  for (const struct tape_entry *e = t->first; e; e = e->next) {
    buf_add(out, e->json);
    if (e->next) buf_byte(out, ',');
  }
  if (t->full) buf_add(out, t->first ? SPAN(",\"full\"") : SPAN("\"full\""));
  buf_byte(out, ']');
}

bool tape_play(struct policy_tape *t, struct span json) {
  struct json all, key, entry;
  *t = (struct policy_tape){ .plays = true };
  if (!json.n) return true;
  if (!json_read(json, &all, NULL) || all.type != JSON_ARRAY) return false;
  for (struct json_iter i = json_iter(all); json_next(&i, &key, &entry);) {
    if (entry.type != JSON_ARRAY) t->full = true;
    else if (t->count < TAPE_PLAYED) t->entries[t->count++] = entry;
  }
  return true;
}

/* What a budget or limit has room for is not recorded. */
static bool cap_word(const char *what) { return !strcmp(what, "budget") || !strcmp(what, "tokens") || !strcmp(what, "requests") || !strcmp(what, "concurrent"); }

/* The first entry of that kind and name that was not taken yet. */
static size_t entry_of(const struct policy_tape *t, const char *what, struct span name, struct json *value) {
  struct json key;
  if (name.n > TAPE_VALUE) name.n = TAPE_VALUE;
  for (size_t i = 0; i < t->count; i++) {
    struct json_iter at = json_iter(t->entries[i]);
    if (t->used[i] || !json_next(&at, &key, value) || !json_string_is(*value, span_cstr(what))) continue;
    if (json_next(&at, &key, value) && json_string_is(*value, name) && json_next(&at, &key, value)) return i;
  }
  *value = (struct json){ 0 };
  return t->count;
}

struct json tape_take(struct policy_tape *t, const char *what, struct span name) {
  struct json value;
  size_t i = entry_of(t, what, name, &value);
  if (i < t->count) t->used[i] = true;
  else t->missing += !cap_word(what);
  return value;
}

struct json tape_skip(struct policy_tape *t, const char *what, struct span name) {
  struct json value;
  size_t n = entry_of(t, what, name, &value);
  for (size_t i = 0; i <= n && n < t->count; i++) t->used[i] = true;
  return value;
}

/* ---- for the bindings */
struct policy_tape *tape_of(struct policy_vm *pv) {
  struct frame *f = pv->frame;
  if (!f || f->hook == HOOK_COUNT || f->hook == HOOK_CHUNK || f->hook == HOOK_DONE) return NULL;
  return f->subject->req->tape;
}

/* The answer to what the run waits for. URLs may hold secrets behind their '?'. */
static struct span name_of(const struct policy_wait *w) {
  struct url url;
  const char *why;
  if (w->kind == WAIT_ASK) return w->question->model;
  return url_split(w->url, &url, &why) ? url.host : (struct span){ 0 };
}

static void keep_fetch(const struct policy_answer *a, struct json_writer *w) {
  if (!a || !a->ok) {
    json_key(w, SPAN("why")), json_str(w, span_cstr(a && a->why ? a->why : "no answer came"));
    return;
  }
  json_key(w, SPAN("status")), json_int(w, a->status);
  struct span type = a->head ? http_header(a->head, SPAN("content-type")) : (struct span){ 0 };
  if (type.n) json_key(w, SPAN("type")), json_str(w, type);
  json_key(w, SPAN("body")), json_str(w, a->body);
}

static void keep_ask(const struct policy_answer *a, struct json_writer *w) {
  if (a && a->ok && a->response) {
    if (a->response->operation) json_key(w, SPAN("path")), json_str(w, span_cstr(a->response->operation->path));
    json_key(w, SPAN("body")), json_str(w, a->response->body);
  } else {
    json_key(w, SPAN("fault")), json_str(w, span_cstr(fault_word(a && a->fault ? a->fault->kind : FAULT_CONNECTION)));
    json_key(w, SPAN("status")), json_int(w, a && a->fault ? a->fault->status : 0);
  }
}

void tape_answer(const struct policy_run *run, const struct policy_answer *a) {
  struct policy_tape *t = run->subject.req->tape;
  struct buf out = { 0 };
  struct json_writer w = { .out = &out };
  if (!t || t->full || t->plays || (run->wait.kind != WAIT_FETCH && run->wait.kind != WAIT_ASK)) return;
  json_begin(&w, '{');
  if (run->wait.kind == WAIT_FETCH) keep_fetch(a, &w);
  else keep_ask(a, &w);
  json_end(&w, '}');
  tape_keep(t, run->wait.kind == WAIT_FETCH ? "fetch" : "ask", name_of(&run->wait), buf_span(&out));
  buf_free(&out);
}

void tape_verdict(struct policy_tape *t, struct span target, const struct decision *d) {
  enum { WHY_MOST = 512 };
  struct buf out = { 0 };
  struct json_writer w = { .out = &out };
  struct span why = d->message;
  if (!t) return;
  if (why.n > WHY_MOST) why.n = WHY_MOST;
  json_begin(&w, '[');
  json_str(&w, d->policy);
  json_str(&w, why);
  json_end(&w, ']');
  tape_keep(t, d->kind == DECIDE_REJECT ? "reject" : "replace", target, buf_span(&out));
  buf_free(&out);
}

bool tape_played(const struct policy_run *run, struct arena *a, struct policy_answer *out) {
  struct policy_tape *t = run->subject.req->tape;
  *out = (struct policy_answer){ .why = "not known: it was not recorded" };
  if (run->wait.kind == WAIT_SLEEP) return true;
  struct json v = tape_take(t, run->wait.kind == WAIT_FETCH ? "fetch" : "ask", name_of(&run->wait));
  struct json status = json_get(v, SPAN("status")), fault = json_get(v, SPAN("fault"));
  int64_t number = 0;
  if (v.type != JSON_OBJECT) return false;
  json_i64(status, &number);
  json_unescape(json_get(v, SPAN("body")), a, &out->body);
  out->status = (int)number;
  if (run->wait.kind == WAIT_FETCH) {
    struct http_head *head = arena_zero(a, sizeof *head);
    struct span why = { 0 };
    out->ok = json_get(v, SPAN("why")).type != JSON_STRING;
    if (!out->ok && json_unescape(json_get(v, SPAN("why")), a, &why)) out->why = arena_cstr(a, why);
    out->head = head;
  } else if (fault.type == JSON_STRING) {
    struct policy_fault *f = arena_zero(a, sizeof *f);
    struct span word = { 0 };
    json_unescape(fault, a, &word);
    *f = (struct policy_fault){ .kind = FAULT_CONNECTION, .status = (int)number, .phase = "head", .retry_after = -1 };
    fault_named(word, &f->kind);
    out->fault = f;
  } else {
    struct policy_response *r = arena_zero(a, sizeof *r);
    struct answer_facts f;
    struct span path = { 0 };
    json_unescape(json_get(v, SPAN("path")), a, &path);
    const struct operation_info *o = operation_by_path(path);
    if (!o) return false;
    answer_read(o, out->body, &f);
    *r = (struct policy_response){ .status = 200, .body = out->body, .model = f.model, .finish = f.finish, .usage = f.usage, .done = true, .operation = o };
    out->response = r;
    out->ok = true;
  }
  return true;
}
