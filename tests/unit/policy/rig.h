/* rig.h: a small configuration made by hand, policies given as text, and requests given as JSON. */
#ifndef RIG_H
#define RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "weir/log.h"
#include "weir/policy.h"
#include "weir/vm.h"

struct rig {
  struct conf conf;
  struct provider providers[3];
  struct endpoint endpoints[3];
  struct alias alias;
  struct span alias_targets[2];
  struct auth_secret secret;
  struct use uses[8];
  struct source sources[8];
  struct policy_vm *vm;
  struct buf errors, warnings;
  double now;
};

static inline void rig_provider(struct rig *r, unsigned i, const char *name, enum dialect d, const char *url,
                                const char *region) {
  const char *why;
  r->endpoints[i] = (struct endpoint){ .text = span_cstr(url), .region = span_cstr(region), .weight = 1 };
  assert_true(url_split(r->endpoints[i].text, &r->endpoints[i].url, &why));
  r->providers[i] = (struct provider){
    .name = span_cstr(name), .dialect = d, .endpoints = &r->endpoints[i], .endpoint_count = 1, .number = i
  };
}

static inline void rig_init(struct rig *r) {
  vm_thread_enter();
  memset(r, 0, sizeof *r);
  rig_provider(r, 0, "openai", DIALECT_CHAT, "https://api.openai.example/v1", "eu");
  rig_provider(r, 1, "lab", DIALECT_CHAT, "http://127.0.0.1:8000/v1", "");
  rig_provider(r, 2, "anthropic", DIALECT_MESSAGES, "https://api.anthropic.example", "us");
  r->alias_targets[0] = SPAN("openai/gpt-5");
  r->alias_targets[1] = SPAN("lab/small");
  r->alias = (struct alias){ .name = SPAN("smart"), .targets = r->alias_targets, .target_count = 2 };
  r->secret = (struct auth_secret){ .name = SPAN("judge"), .host = SPAN("judge.internal"), .secret = NULL };
  r->conf = (struct conf){
    .refs = 1,
    .providers = r->providers,
    .provider_count = 3,
    .default_provider = &r->providers[0],
    .aliases = &r->alias,
    .alias_count = 1,
    .uses = r->uses,
    .secrets = &r->secret,
    .secret_count = 1,
    .file = SPAN("weir.lua"),
  };
  r->now = 1700000000;
}

/* A policy by its text; its file is policies/NAME.lua. */
static inline struct use *rig_use(struct rig *r, const char *name, const char *text) {
  size_t i = r->conf.use_count++;
  char *path = NULL;
  assert_true(asprintf(&path, "policies/%s.lua", name) > 0);
  arena_on_end(&r->conf.arena, free, path);
  r->sources[i] = (struct source){ .path = span_cstr(path), .bytes = span_cstr(text) };
  r->uses[i] = (struct use){
    .policy = span_cstr(name), .name = span_cstr(name), .options = { .type = VALUE_TABLE }, .source = &r->sources[i],
    .line = (unsigned)i + 3, .file = SPAN("weir.lua"),
  };
  return &r->uses[i];
}

static inline double rig_now(void *arg) { return ((struct rig *)arg)->now; }

static inline bool rig_try(struct rig *r) {
  r->vm = policy_vm_new(&r->conf, &r->errors, &r->warnings);
  if (r->vm) policy_set_clock(r->vm, rig_now, r);
  return r->vm;
}

static inline void rig_load(struct rig *r) {
  if (!rig_try(r)) fail_msg("%.*s", SPAN_FMT(buf_span(&r->errors)));
}

static inline void rig_end(struct rig *r) {
  policy_vm_free(r->vm);
  buf_free(&r->errors);
  buf_free(&r->warnings);
  arena_end(&r->conf.sources.arena);
  arena_end(&r->conf.arena);
}

static inline void rig_with(struct rig *r, const char *text) {
  rig_init(r);
  rig_use(r, "guard", text);
  rig_load(r);
}

static inline void assert_in(struct span text, const char *part) {
  if (span_search(text, span_cstr(part)) == text.n) fail_msg("'%s' is not in: %.*s", part, SPAN_FMT(text));
}
static inline void assert_span(struct span got, const char *wanted) {
  if (!span_eq(got, span_cstr(wanted))) fail_msg("'%.*s' is not '%s'", SPAN_FMT(got), wanted);
}

/* ---- an exchange */
struct ask {
  struct arena arena;
  struct policy_req req;
  struct http_head head;
  struct json_member members[64];
  struct policy_run run;
};

static inline void ask_header(struct ask *a, const char *name, const char *value) {
  a->head.headers[a->head.count++] = (struct http_header){ span_cstr(name), span_cstr(value) };
}

static inline void ask_init(struct ask *a, enum operation o, const char *body) {
  struct json_error err;
  const char *why;
  memset(a, 0, sizeof *a);
  a->req = (struct policy_req){
    .arena = &a->arena,
    .operation = operation_info(o),
    .id = SPAN("req-1"),
    .path = span_cstr(operation_info(o)->path),
    .ip = SPAN("10.1.2.3"),
    .method = SPAN("POST"),
    .head = &a->head,
    .body = span_cstr(body),
    .members = a->members,
    .deadline = 1700000030,
    .random = 42,
  };
  assert_true(json_read_object(a->req.body, a->members, 64, &a->req.member_count, &err));
  assert_true(request_read(a->req.operation, a->members, a->req.member_count, &a->req.facts, &why));
  if (a->req.facts.model.type == JSON_STRING) json_unescape(a->req.facts.model, &a->arena, &a->req.model);
  a->req.stream = a->req.facts.stream;
  a->req.user = a->req.facts.user;
  a->req.session = a->req.facts.session;
}

static inline void ask_end(struct ask *a) {
  policy_req_end(&a->req);
  arena_end(&a->arena);
}

static inline enum policy_result ask_run(struct rig *r, struct ask *a, enum hook h, struct policy_subject s) {
  s.req = &a->req;
  return policy_run_start(r->vm, &a->run, h, &s);
}

static inline struct decision *ask_request(struct rig *r, struct ask *a) {
  assert_int_equal(ask_run(r, a, HOOK_REQUEST, (struct policy_subject){ 0 }), POLICY_DONE);
  return &a->run.decision;
}

static inline struct span ask_note(const struct ask *a, const char *key) {
  for (const struct policy_note *n = a->req.notes; n; n = n->next)
    if (span_eq(n->key, span_cstr(key))) return n->value;
  return (struct span){ NULL, 0 };
}

static inline struct span edit_of(const struct policy_edit *e, const char *word) {
  for (; e; e = e->next)
    if (span_eq(e->word, span_cstr(word))) return e->json.p ? e->json : SPAN("(removed)");
  return SPAN("(none)");
}

static const char CHAT_BODY[] =
  "{\"model\":\"smart\",\"messages\":[{\"role\":\"system\",\"content\":\"be brief\"},"
  "{\"role\":\"user\",\"content\":\"hel\\u006co\"}],\"max_tokens\":50}";

/* Code that asserts, run as on_request of one policy over a chat request: ends the test when it raises. */
static inline void rig_lua(const char *code) {
  struct rig r;
  struct ask a;
  char *text = NULL;
  assert_true(asprintf(&text, "return { on_request = function(req)\n%s\nend }", code) > 0);
  rig_with(&r, text);
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct decision *d = ask_request(&r, &a);
  bool failed = d->error;
  ask_end(&a);
  rig_end(&r);
  free(text);
  if (failed) fail_msg("the Lua code raised; see the log above");
}

/* ---- what is logged meanwhile */
struct capture { int saved, fd; };
static inline struct capture capture_begin(void) {
  char path[] = "/tmp/weir-log-XXXXXX";
  struct capture c = { dup(2), mkstemp(path) };
  unlink(path);
  dup2(c.fd, 2);
  return c;
}
static inline struct span capture_end(struct capture c, char out[8192]) {
  dup2(c.saved, 2);
  ssize_t n = pread(c.fd, out, 8191, 0);
  close(c.saved);
  close(c.fd);
  out[n > 0 ? n : 0] = 0;
  return span_cstr(out);
}

/* The log line that this code's failure gives, run as on_request. */
static inline void rig_raises(const char *code, const char *part) {
  struct rig r;
  struct ask a;
  char *text = NULL, log[8192];
  assert_true(asprintf(&text, "return { on_request = function(req)\n%s\nend }", code) > 0);
  static double later;                                 /* failures of one second are not all logged */
  rig_with(&r, text);
  r.now += later += 10;
  ask_init(&a, OP_CHAT, CHAT_BODY);
  struct capture c = capture_begin();
  struct decision *d = ask_request(&r, &a);
  struct span said = capture_end(c, log);
  assert_true(d->error);
  assert_in(said, part);
  ask_end(&a);
  rig_end(&r);
  free(text);
}

#endif
