/* compare.c: weir compare: what weir costs, and whether bytes change on the way. Pairs of the same call, one direct to the provider and
   one through weir, right after each other and in turns the one or the other first, so that what changes with time meets both. */
#include "compare.h"
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "cmd.h"
#include "weir/log.h"
#include "weir/route.h"
#include "weir/translate.h"
#include "weir/vm.h"

enum { MOST_FILES = 64, MOST_LANES = 256, MOST_PAIRS = 1000000, MOST_MEMBERS_HERE = 256 };

struct lane {
  struct compare *of;
  pthread_t thread;
  unsigned number;
  struct side sides[SIDES];
};
struct compare {
  struct conf *conf;
  struct arena arena;
  const char *model, *through;
  const struct operation_info *operation;
  struct target target;
  bool stream;
  struct url url;                     /* of weir */
  struct span socket;                 /* path, when weir listens on one; p NULL else */
  struct link_to to[SIDES];
  struct tls_trust *trusts[SIDES];
  struct buf requests[MOST_FILES][SIDES];
  size_t files;
  struct lane *lanes;
  unsigned lane_count;
  struct pair *pairs;
  size_t count;
  struct findings found;
};

static bool refuse(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static bool refuse(const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  fputs("weir compare: ", stderr);
  vfprintf(stderr, fmt, args);
  fputc('\n', stderr);
  va_end(args);
  return false;
}

/* ---- what is sent */
/* The saved body with another model, and asked to stream where that was said; every other byte as it stands. */
static bool compose_body(struct compare *c, struct span from, struct span model, struct buf *out, const char **why) {
  struct json_member *members = arena_alloc(&c->arena, MOST_MEMBERS_HERE * sizeof *members);
  size_t count;
  struct json_error e;
  if (!json_read_object(from, members, MOST_MEMBERS_HERE, &count, &e)) return *why = e.why, false;
  bool first = true;
  buf_byte(out, '{');
  for (size_t i = 0; i < count; i++) {
    struct span name;
    json_unescape(members[i].key, &c->arena, &name);
    if (span_eq(name, SPAN("model")) || (c->stream && span_eq(name, SPAN("stream")))) continue;
    if (!first) buf_byte(out, ',');
    first = false;
    buf_add(out, members[i].key.text);
    buf_byte(out, ':');
    buf_add(out, members[i].value.text);
  }
  buf_add(out, first ? SPAN("\"model\":") : SPAN(",\"model\":"));
  json_write_string(out, model);
  buf_add(out, c->stream ? SPAN(",\"stream\":true}") : SPAN("}"));
  return true;
}

static void add_usual(struct buf *out, size_t length) {
  buf_add(out, SPAN("content-type: application/json\r\naccept: */*\r\naccept-encoding: identity\r\nuser-agent: weir-compare\r\n"));
  http_write_header_u64(out, SPAN("content-length"), length);
  http_write_end(out);
}

static void compose_direct(struct compare *c, struct span body, struct buf *out) {
  const struct endpoint *e = c->target.endpoint;
  const struct provider *p = c->target.provider;
  bool absolute = e->proxy && !e->url.tls;
  buf_add(out, SPAN("POST "));
  if (absolute) buf_add(out, SPAN("http://")), buf_add(out, e->host_header);
  buf_add(out, e->url.path);
  endpoint_path(e, c->operation, c->target.model, c->stream, out);
  if (e->url.query.n) buf_byte(out, '?'), buf_add(out, e->url.query);
  buf_add(out, SPAN(" HTTP/1.1\r\nhost: "));
  buf_add(out, e->host_header);
  buf_add(out, SPAN("\r\n"));
  if (absolute && e->proxy->auth_line) buf_add(out, secret_use(e->proxy->auth_line));
  if (c->target.account && c->target.account->auth_line) buf_add(out, secret_use(c->target.account->auth_line));
  for (size_t i = 0; i < p->header_count; i++) http_write_header(out, p->headers[i].name, p->headers[i].value);
  if (p->when_absent.name.n) http_write_header(out, p->when_absent.name, p->when_absent.value);
  add_usual(out, body.n);
  buf_add(out, body);
}

static bool compose_through(struct compare *c, struct span body, struct buf *out) {
  const char *key = getenv("WEIR_KEY");
  buf_add(out, SPAN("POST "));
  buf_add(out, c->url.path);
  buf_add(out, span_cstr(c->operation->path));
  buf_add(out, SPAN(" HTTP/1.1\r\nhost: "));
  buf_add(out, c->socket.p ? SPAN("localhost") : url_host_header(&c->url, &c->arena));
  buf_add(out, SPAN("\r\n"));
  if (key && !http_value_ok(span_cstr(key))) return refuse("$WEIR_KEY cannot stand in a header");
  if (key && *key) http_write_header(out, SPAN("authorization"), arena_printf(&c->arena, "Bearer %s", key));
  if (c->target.provider->when_absent.name.n) http_write_header(out, c->target.provider->when_absent.name, c->target.provider->when_absent.value);
  add_usual(out, body.n);
  buf_add(out, body);
  return true;
}

static bool add_request(struct compare *c, const char *file, struct span text) {
  const char *why = NULL;
  struct span models[SIDES] = { c->target.model, span_cstr(c->model) };
  for (int s = 0; s < SIDES; s++) {
    struct buf body = { 0 };
    struct buf *out = &c->requests[c->files][s];
    bool good = compose_body(c, text, models[s], &body, &why);
    if (good && s == SIDE_DIRECT) compose_direct(c, buf_span(&body), out);
    else if (good) good = compose_through(c, buf_span(&body), out);
    buf_free(&body);
    if (!good) return why ? refuse("%s: %s", file, why) : false;
  }
  c->files++;
  return true;
}

static const char *usual_request(const struct operation_info *o) {
  switch (o->operation) {
  case OP_COMPLETIONS: return "{\"prompt\":\"Say hello.\",\"max_tokens\":16}";
  case OP_EMBEDDINGS: return "{\"input\":\"hello\"}";
  case OP_RESPONSES: return "{\"input\":\"Say hello, in one word.\"}";
  case OP_MESSAGES: return "{\"max_tokens\":64,\"messages\":[{\"role\":\"user\",\"content\":\"Say hello, in one word.\"}]}";
  default: return "{\"messages\":[{\"role\":\"user\",\"content\":\"Say hello, in one word.\"}]}";
  }
}

static bool add_requests(struct compare *c, const char **files, size_t count) {
  if (!count) return add_request(c, "the usual request", span_cstr(usual_request(c->operation)));
  for (size_t i = 0; i < count; i++) {
    struct buf text = { 0 };
    bool good = file_read(files[i], &text) || refuse("%s cannot be read", files[i]);
    good = good && add_request(c, files[i], buf_span(&text));
    buf_free(&text);
    if (!good) return false;
  }
  return true;
}

/* ---- where to */
static bool find_target(struct compare *c, const char *path) {
  static const enum operation usual[] = { OP_CHAT, OP_MESSAGES, OP_RESPONSES };
  const struct operation_info *given = path ? operation_by_path(span_cstr(path)) : NULL;
  const char *why = NULL;
  if (path && !given) return refuse("--path %s is not a path that weir reads", path);
  for (size_t i = 0; i < (given ? 1 : sizeof usual / sizeof *usual); i++) {
    struct route r = { 0 };
    int status;
    c->operation = given ? given : operation_info(usual[i]);
    why = route_model(c->conf, c->operation, span_cstr(c->model), &c->arena, &r, &status);
    if (why) continue;
    const struct provider *p = r.candidates[0].provider;
    struct model_facts m;
    conf_model(c->conf, p, r.candidates[0].model, &m);
    if (operation_at(c->operation, m.dialect) != c->operation) {           /* direct, nobody translates */
      why = arena_printf(&c->arena, "%s is served in the dialect %s, and not at %s", c->model, dialect_word(m.dialect), c->operation->path).p;
      continue;
    }
    route_pick(&r.candidates[0], NULL, 0, 0, 0, &c->target);
    if (c->stream && !c->operation->streams) return refuse("%s has no streams", c->operation->path);
    return true;
  }
  return refuse("%s", why);
}

static bool find_provider(struct compare *c, struct names *names) {
  const struct endpoint *e = c->target.endpoint;
  char why[256];
  struct link_to *to = &c->to[SIDE_DIRECT];
  if (!names_find_endpoint(names, e, to, why, sizeof why)) return refuse("%.*s: %s", SPAN_FMT(e->text), why);
  if (!e->url.tls) return true;
  c->trusts[SIDE_DIRECT] = to->trust = tls_trust_load(e->ca.n ? arena_cstr(&c->arena, e->ca) : NULL, why, sizeof why);
  to->tls_name = e->tls_name;
  return to->trust || refuse("%s", why);
}

/* What was said, else the first listener of weir.lua. */
static bool find_weir(struct compare *c, struct names *names) {
  char why[256];
  const char *what;
  struct span spec = c->conf->listeners[0].spec;
  struct link_to *to = &c->to[SIDE_THROUGH];
  if (!c->through) c->through = span_starts(spec, SPAN("unix:")) ? arena_cstr(&c->arena, spec)
                                                                 : arena_printf(&c->arena, "http://%.*s%c", SPAN_FMT(spec), 0).p;
  struct span text = span_cstr(c->through);
  if (span_starts(text, SPAN("unix:"))) {
    struct sockaddr_un *a = (struct sockaddr_un *)&to->addresses[0].to;
    c->socket = span_from(text, 5);
    if (c->socket.n >= sizeof a->sun_path) return refuse("--through: the path is too long");
    *a = (struct sockaddr_un){ .sun_family = AF_UNIX };
    memcpy(a->sun_path, c->socket.p, c->socket.n);
    to->addresses[0].n = sizeof *a;
    to->count = 1;
    return true;
  }
  if (!url_split(text, &c->url, &what)) return refuse("--through %s: %s", c->through, what);
  if (!names_find(names, c->url.host, c->url.port, to, why, sizeof why)) return refuse("%s: %s", c->through, why);
  if (!c->url.tls) return true;
  c->trusts[SIDE_THROUGH] = to->trust = tls_trust_load(NULL, why, sizeof why);
  to->tls_name = c->url.host;
  return to->trust || refuse("%s", why);
}

static bool find_both(struct compare *c) {
  const char *why = "";
  struct names *names = names_open(&why);
  if (!names) return refuse("names: %s", why);
  bool good = find_provider(c, names) && find_weir(c, names);
  names_close(names);
  return good;
}

/* ---- the processor time of weir, when it is on this machine */
static bool is_local(const struct compare *c) {
  const struct sockaddr_storage *to = &c->to[SIDE_THROUGH].addresses[0].to;
  char text[96];
  struct span s = address_text((const struct sockaddr *)to, c->to[SIDE_THROUGH].addresses[0].n, text, sizeof text);
  return to->ss_family == AF_UNIX || span_starts(s, SPAN("127.")) || span_starts(s, SPAN("0.0.0.0:")) || span_starts(s, SPAN("[::1]")) || span_starts(s, SPAN("[::]"));
}

/* Who listens on control.sock: the pid, or 0. */
static int control_pid(struct compare *c) {
  struct sockaddr_un a = { .sun_family = AF_UNIX };
  struct ucred peer = { 0 };
  socklen_t n = sizeof peer;
  int length = snprintf(a.sun_path, sizeof a.sun_path, "%.*s/control.sock", SPAN_FMT(c->conf->runtime_dir));
  int fd = length < (int)sizeof a.sun_path ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
  if (fd < 0) return 0;
  if (connect(fd, (struct sockaddr *)&a, sizeof a) || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n)) peer.pid = 0;
  close(fd);
  return peer.pid;
}

/* Nanoseconds that all its threads ran; 0 when that cannot be read. */
static uint64_t cpu_of(int pid) {
  char path[320];
  uint64_t sum = 0;
  snprintf(path, sizeof path, "/proc/%d/task", pid);
  DIR *tasks = opendir(path);
  if (!tasks) return 0;
  for (struct dirent *e; (e = readdir(tasks));) {
    struct buf text = { 0 };
    struct span ran;
    uint64_t ns;
    snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, e->d_name);
    if (e->d_name[0] != '.' && file_read(path, &text)) {
      span_cut(buf_span(&text), ' ', &ran);
      if (span_u64(ran, &ns)) sum += ns;
    }
    buf_free(&text);
  }
  closedir(tasks);
  return sum;
}

/* ---- the pairs */
static void run_pair(struct lane *l, size_t i) {
  struct compare *c = l->of;
  struct pair *p = &c->pairs[i];
  struct answer answers[SIDES] = { 0 };
  struct arena a = { 0 };
  for (int turn = 0; turn < SIDES; turn++) {
    int s = (i + (size_t)turn) % SIDES ? SIDE_THROUGH : SIDE_DIRECT;
    compare_call(&l->sides[s], buf_span(&c->requests[i % c->files][s]), c->operation, &a, &answers[s]);
    p->side[s].head_ms = answers[s].head_ms;
    p->side[s].first_ms = answers[s].first_ms;
    p->side[s].total_ms = answers[s].total_ms;
    if (answers[s].why[0] && !p->why[0]) snprintf(p->why, sizeof p->why, "%s: %s", s == SIDE_DIRECT ? "direct" : "through weir", answers[s].why);
  }
  p->good = !p->why[0];
  p->same = p->good && !bodies_differ(buf_span(&answers[0].body), buf_span(&answers[1].body), &p->differs_at);
  for (int s = 0; s < SIDES; s++) buf_free(&answers[s].body);
  arena_end(&a);
}

static void *lane_run(void *arg) {
  struct lane *l = arg;
  for (size_t i = l->number; i < l->of->count; i += l->of->lane_count) run_pair(l, i);
  return NULL;
}

/* Not counted: opens every connection, here and in weir. Of the first lane's answers it learns which headers differ, and of a second
   direct one what differs by itself. */
static bool warm_up(struct compare *c, struct buf *headers) {
  struct answer direct = { 0 }, again = { 0 }, through = { 0 };
  struct arena a = { 0 };
  bool good = true;
  for (unsigned i = 0; i < c->lane_count && good; i++) {
    struct side *s = c->lanes[i].sides;
    compare_call(&s[SIDE_DIRECT], buf_span(&c->requests[0][SIDE_DIRECT]), c->operation, &a, &direct);
    if (direct.why[0]) good = refuse("direct: %s", direct.why);
    if (good) compare_call(&s[SIDE_THROUGH], buf_span(&c->requests[0][SIDE_THROUGH]), c->operation, &a, &through);
    if (good && through.why[0]) good = refuse("through weir: %s", through.why);
    if (!good || i) continue;
    for (int k = 0; k < SIDES; k++) c->found.connect_ms[k] = s[k].link.connect_ms, c->found.tls_ms[k] = s[k].link.tls_ms;
    compare_call(&s[SIDE_DIRECT], buf_span(&c->requests[0][SIDE_DIRECT]), c->operation, &a, &again);
    if (again.why[0]) { good = refuse("direct: %s", again.why); continue; }
    heads_differ(direct.head, again.head, through.head, headers);
    c->found.direct_differs = bodies_differ(buf_span(&direct.body), buf_span(&again.body), &c->found.direct_differs_at);
  }
  buf_free(&direct.body);
  buf_free(&again.body);
  buf_free(&through.body);
  arena_end(&a);
  return good;
}

static void run_pairs(struct compare *c) {
  bool local = is_local(c);
  int pid = local ? control_pid(c) : 0;
  uint64_t before = pid ? cpu_of(pid) : 0;
  for (unsigned i = 1; i < c->lane_count; i++)
    if (pthread_create(&c->lanes[i].thread, NULL, lane_run, &c->lanes[i])) lane_run(&c->lanes[i]), c->lanes[i].thread = 0;
  lane_run(&c->lanes[0]);
  for (unsigned i = 1; i < c->lane_count; i++)
    if (c->lanes[i].thread) pthread_join(c->lanes[i].thread, NULL);
  uint64_t after = before ? cpu_of(pid) : 0;
  if (after > before) c->found.cpu_pid = pid, c->found.cpu_us = (double)(after - before) / 1000 / (double)c->count;
  c->found.cpu_why = !local ? "weir is not on this machine" : pid ? "the kernel does not tell it"
                                                                  : "no weir answers at control.sock of this configuration's runtime folder";
}

static size_t measure(struct compare *c, bool json) {
  struct buf headers = { 0 };
  size_t failed = 1;
  const struct conf *conf = c->conf;
  const struct provider *p = c->target.provider;
  c->pairs = mem_zero(c->count * sizeof *c->pairs);
  c->lanes = mem_zero(c->lane_count * sizeof *c->lanes);
  for (unsigned i = 0; i < c->lane_count; i++) {
    c->lanes[i].of = c;
    c->lanes[i].number = i;
    for (int s = 0; s < SIDES; s++)
      c->lanes[i].sides[s] = (struct side){ .to = &c->to[s], .link.wait_s = conf_setting(conf, NULL, p, SET_HEAD),
                                            .connect_s = conf_setting(conf, NULL, p, SET_CONNECT), .tls_s = conf_setting(conf, NULL, p, SET_TLS) };
  }
  if (!json) fprintf(stderr, "%zu calls of %s at %.*s\n", 2 * c->count + 2 * c->lane_count + 1, c->operation->path, SPAN_FMT(c->target.name));
  if (warm_up(c, &headers)) {
    run_pairs(c);
    struct findings *f = &c->found;
    f->model = c->model, f->through = c->through, f->url = c->target.endpoint->text, f->pairs = c->pairs, f->count = c->count;
    f->files = c->files, f->lanes = c->lane_count, f->stream = c->stream, f->headers = buf_span(&headers);
    failed = json ? findings_json(f) : findings_print(f);
  }
  for (unsigned i = 0; i < c->lane_count; i++)
    for (int s = 0; s < SIDES; s++)
      if (c->lanes[i].sides[s].opened) link_close(&c->lanes[i].sides[s].link);
  mem_free(c->lanes);
  mem_free(c->pairs);
  buf_free(&headers);
  return failed;
}

static void compare_end(struct compare *c) {
  for (size_t i = 0; i < MOST_FILES; i++)
    for (int s = 0; s < SIDES; s++) {
      if (c->requests[i][s].p) secret_wipe(c->requests[i][s].p, c->requests[i][s].cap);
      buf_free(&c->requests[i][s]);
    }
  for (int s = 0; s < SIDES; s++)
    if (c->trusts[s]) tls_trust_drop(c->trusts[s]);
  arena_end(&c->arena);
  conf_drop(c->conf);
  mem_free(c);
}

static bool number(struct args *a, const char *name, size_t most, size_t *out) {
  const char *text = args_value(a, name);
  uint64_t n;
  if (!text) return true;
  if (!span_u64(span_cstr(text), &n) || !n || n > most) return refuse("%s takes a number from 1 to %zu", name, most);
  *out = n;
  return true;
}

int cmd_compare(struct args *a) {
  const char *config = args_value(a, "--config"), *through = args_value(a, "--through"), *model = args_value(a, "--model");
  const char *path = args_value(a, "--path"), *files[MOST_FILES];
  bool stream = args_flag(a, "--stream"), json = args_flag(a, "--json");
  size_t file_count = 0, count = 20, lanes = 1;
  for (const char *f; (f = args_value(a, "--request"));) {
    if (file_count == MOST_FILES) return refuse("at most %d requests", MOST_FILES), 2;
    files[file_count++] = f;
  }
  if (!number(a, "--count", MOST_PAIRS, &count) || !number(a, "--concurrency", MOST_LANES, &lanes) || !args_done(a, "compare")) return 2;
  if (!model) return refuse("--model MODEL is missing: what both sides are asked for, as \"provider/model\" or an alias"), 2;
  vm_thread_enter();
  struct buf errors = { 0 }, warnings = { 0 };
  struct conf *conf = conf_load(config, &errors, &warnings);
  fprintf(stderr, "%.*s", SPAN_FMT(buf_span(&errors)));
  buf_free(&errors);
  buf_free(&warnings);
  if (!conf) return 1;
  struct compare *c = mem_zero(sizeof *c);
  *c = (struct compare){ .conf = conf, .model = model, .through = through, .stream = stream, .count = count,
                         .lane_count = (unsigned)(lanes < count ? lanes : count) };
  bool good = find_target(c, path) && find_both(c) && add_requests(c, files, file_count) && !measure(c, json);
  compare_end(c);
  return good ? 0 : 1;
}
