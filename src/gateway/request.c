/* request.c: what a request asks for, and what is sent upstream in its name. */
#include "attempt.h"
#include "exchange.h"
#include "foreign.h"
#include "pool.h"
#include "sign.h"
#include "worker.h"
#include <endian.h>
#include <stdio.h>

enum { SCAN_MOST = SINK_HIGH };       /* of a multipart body before its model part: more is not read meanwhile */

static enum dialect dialect_by_head(const struct conf *c, const struct http_head *h, struct span path) {
  if (http_known(h, HTTP_ANTHROPIC_VERSION).p) return DIALECT_MESSAGES;
  if (span_starts(path, SPAN("/v1beta/"))) return DIALECT_GEMINI;
  /* A key of weir's own may come in any header, so this one says Gemini only where there is a provider of it. */
  return http_known(h, HTTP_X_GOOG_API_KEY).p && route_provider(c, DIALECT_GEMINI) ? DIALECT_GEMINI : DIALECT_CHAT;
}

void request_asked(struct exchange *x) {
  const struct http_head *h = x->head;
  struct span path;
  span_cut(h->target, '?', &path);
  x->asked = span_eq(h->method, SPAN("POST")) ? operation_by_path(path) : NULL;
  x->dialect = x->asked ? x->asked->dialect : dialect_by_head(x->gen->conf, h, path);
}

bool request_is_metered(const struct exchange *x, const struct http_head *h) {
  struct span path, name;
  span_cut(h->target, '?', &path);
  if (path.n < 2 || path.p[0] != '/' || !policy_counts(x->gen->vms[x->worker->number])) return false;
  span_cut(span_from(path, 1), '/', &name);
  struct provider *p = conf_provider(x->gen->conf, name);
  return p && tap_operation(h->method, span_from(path, 1 + name.n), p);
}

/* ---- identity */
static bool id_ok(struct span s) {
  if (!s.n || s.n > 64) return false;
  for (size_t i = 0; i < s.n; i++) {
    char c = s.p[i];
    bool ok = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' || c == '-';
    if (!ok) return false;
  }
  return true;
}

/* Eight digits at once: a nibble in each byte, then what makes it a letter added where it is above 9. */
static void hex_half(char *out, uint32_t half) {
  uint64_t v = __builtin_bswap32(half);
  v = (v | v << 16) & 0x0000FFFF0000FFFFu;
  v = (v | v << 8) & 0x00FF00FF00FF00FFu;
  v = (v >> 4 | v << 8) & 0x0F0F0F0F0F0F0F0Fu;
  v += 0x3030303030303030u + ((v + 0x0606060606060606u) >> 4 & 0x0101010101010101u) * ('a' - '0' - 10);
  v = htole64(v);
  memcpy(out, &v, sizeof v);
}

static void hex(char *out, uint64_t v) {
  hex_half(out, (uint32_t)(v >> 32));
  hex_half(out + 8, (uint32_t)v);
}

static bool trace_ok(struct span s) {
  if (s.n != 55 || s.p[2] != '-' || s.p[35] != '-' || s.p[52] != '-' || !span_starts(s, SPAN("00-"))) return false;
  for (size_t i = 3; i < 55; i++)
    if (i != 35 && i != 52 && !memchr("0123456789abcdef", s.p[i], 16)) return false;
  return true;
}

void request_choose_id(struct exchange *x) {
  struct worker *w = x->worker;
  struct span own = x->head ? http_known(x->head, HTTP_X_REQUEST_ID) : (struct span){ 0 };
  char digits[32];
  hex(digits, worker_random(w));
  hex(digits + 16, worker_random(w));
  if (id_ok(own)) {
    memcpy(x->id, own.p, own.n);
    x->id[own.n] = 0;
  } else {
    memcpy(x->id, "req_", 4);
    memcpy(x->id + 4, digits, 32);
    x->id[36] = 0;
  }
  struct span trace = x->head ? http_known(x->head, HTTP_TRACEPARENT) : (struct span){ 0 };
  memcpy(x->trace, "00-", 3);
  memcpy(x->trace + 3, digits + 16, 16);
  memcpy(x->trace + 19, digits, 16);
  x->trace[35] = '-';
  hex(x->trace + 36, worker_random(w));
  memcpy(x->trace + 52, "-01", 4);
  if (trace_ok(trace)) {                                 /* same trace, weir's own span */
    memcpy(x->trace + 3, trace.p + 3, 32);
    memcpy(x->trace + 53, trace.p + 53, 2);
    x->traced = true;
  }
  x->req.id = span_cstr(x->id);
}

/* ---- what is asked */
static bool refuse(struct exchange *x, int status, const char *word, const char *code, const char *message) {
  exchange_fail(x, status, span_cstr(word), span_cstr(code), message, NULL);
  return false;
}

static void keep_span(struct exchange *x, struct span *s) {
  if (s->n && s->p >= x->body.p && s->p < x->body.p + x->body.n) *s = arena_copy(&x->arena, *s);
}

/* The body may go before the exchange does. */
static void keep_names(struct exchange *x) {
  struct span *names[] = { &x->req.model, &x->req.user, &x->req.session };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) keep_span(x, names[i]);
  for (struct policy_note *n = x->req.tags; n; n = n->next) keep_span(x, &n->key), keep_span(x, &n->value);
}

/* Gemini's requests name the model in their path, and whether they ask for a stream. */
static bool path_tells(const struct operation_info *o) { return o->dialect == DIALECT_GEMINI; }

static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1; }

static void read_path(struct exchange *x, const struct operation_info *o, struct span path) {
  struct policy_req *r = &x->req;
  struct span raw;
  if (!path_tells(o)) return;
  r->facts.stream = o->operation == OP_GENERATE && span_ends(path, SPAN(":streamGenerateContent"));
  if (!operation_path_model(path, &raw)) return;
  char *p = arena_alloc(&x->arena, raw.n + 1);
  size_t n = 0;
  for (size_t i = 0; i < raw.n; i++) {
    bool escape = raw.p[i] == '%' && i + 2 < raw.n && hex_digit(raw.p[i + 1]) >= 0 && hex_digit(raw.p[i + 2]) >= 0;
    p[n++] = escape ? (char)(hex_digit(raw.p[i + 1]) << 4 | hex_digit(raw.p[i + 2])) : raw.p[i];
    if (escape) i += 2;
  }
  if (span_utf8(span_of(p, n))) r->model = span_of(p, n);
}

static bool read_body(struct exchange *x) {
  struct policy_req *r = &x->req;
  struct json_error e;
  size_t n = 0;
  r->body = x->body;
  uint64_t keys = 0;
  if (!json_read_object_keys(x->body, x->worker->members, MOST_MEMBERS, &n, &e, &keys)) {
    struct span why = arena_printf(&x->arena, "the request body is no JSON object: %s at byte %zu", e.why, e.at);
    return refuse(x, 400, "bad_request", "", why.p);
  }
  r->body_keys = keys;
  const char *why = NULL;
  if (!request_flat(r->operation, x->worker->members, n, &x->arena, &r->members, &r->member_count, &why) ||
      !request_read_keys(r->operation, r->members, r->member_count, keys, &r->facts, &why))
    return refuse(x, 400, "bad_request", "", why);
  read_path(x, r->operation, x->path);
  r->stream = r->facts.stream;
  who_of_body(x);
  if (r->facts.model.type == JSON_STRING) json_unescape(r->facts.model, &x->arena, &r->model);
  if (x->body_memory) keep_names(x);
  return admit_model(x, r->model);
}

static bool answer_models(struct exchange *x) {
  const struct conf *c = x->gen->conf;
  size_t n = c->alias_count, at = 0;
  for (size_t i = 0; i < c->provider_count; i++) n += c->providers[i].model_count;
  struct span *names = arena_alloc(&x->arena, (n + 1) * sizeof *names);
  for (size_t i = 0; i < c->alias_count; i++) names[at++] = c->aliases[i].name;
  for (size_t i = 0; i < c->provider_count; i++)
    for (size_t m = 0; m < c->providers[i].model_count; m++)
      names[at++] = arena_printf(&x->arena, "%.*s/%.*s", SPAN_FMT(c->providers[i].name), SPAN_FMT(c->providers[i].models[m].name));
  const struct key *k = x->req.key;
  n = 0;
  for (size_t i = 0; i < at; i++)
    if (!k || key_allows(k, names[i])) names[n++] = names[i];
  struct buf out = { 0 };
  models_write(x->dialect, names, n, time(NULL), &out);
  answer_text_of_weir(x, (struct span){ 0 }, buf_span(&out));
  buf_free(&out);
  exchange_end(x, SPAN("done"));
  return false;
}

static bool is_multipart(const struct exchange *x) {
  return span_istarts(x->head->content_type, SPAN("multipart/form-data"));
}

/* What is passed through unread can neither be signed nor, in frames, be counted. */
static bool raw_refused(struct exchange *x, const struct provider *p) {
  if (p->dialect != DIALECT_CONVERSE) return false;
  x->dialect = DIALECT_CHAT;
  refuse(x, 404, "not_found", "", arena_printf(&x->arena, "%.*s is reached at /v1/chat/completions and /v1/messages: what it speaks itself is not in this version", SPAN_FMT(p->name)).p);
  return true;
}

/* Streamed through to one provider: no reading, no failover. */
static bool go_raw(struct exchange *x, struct provider *p) {
  if (raw_refused(x, p)) return false;
  x->raw = true;
  x->raw_provider = p;
  x->body_chunked = x->head->framing == HTTP_CHUNKED && !x->body_size;
  return true;
}

/* What can be read of it bounds its cost; what cannot has none that is known. */
static void read_metered(struct exchange *x, const struct provider *p) {
  struct policy_req *r = &x->req;
  const struct operation_info *o = tap_operation(r->method, x->raw_path, p);
  const char *why;
  size_t n;
  if (!o || !x->body_done || !json_read_object_keys(x->body, x->worker->members, MOST_MEMBERS, &n, NULL, &r->body_keys)) return;
  if (!request_flat(o, x->worker->members, n, &x->arena, &r->members, &r->member_count, &why)) return;
  if (!request_read(o, r->members, r->member_count, &r->facts, &why)) return;
  read_path(x, o, x->raw_path);
  if (r->facts.model.type == JSON_STRING) json_unescape(r->facts.model, &x->arena, &r->model);
  who_of_body(x);
  if (x->body_memory) keep_names(x);
  x->metered = o;
}

static bool default_raw(struct exchange *x) {
  struct provider *p = route_provider(x->gen->conf, x->dialect);
  if (!p) return refuse(x, 404, "not_found", "", arena_printf(&x->arena, "no provider of dialect %s is configured", dialect_word(x->dialect)).p);
  x->scanning = is_multipart(x) && !x->body_done;
  if (!x->scanning && !admit_unread(x, p)) return false;
  return go_raw(x, p);
}

static bool named_raw(struct exchange *x) {
  struct span name;
  span_cut(span_from(x->path, 1), '/', &name);
  struct provider *p = conf_provider(x->gen->conf, name);
  if (p) {
    x->raw_path = span_from(x->path, 1 + name.n);
    x->dialect = p->dialect;
    read_metered(x, p);
    return admit_unread(x, p) && go_raw(x, p);
  }
  static const char *const later[] = { "v2", "model" };
  for (size_t i = 0; i < sizeof later / sizeof *later; i++)
    if (span_eq(name, span_cstr(later[i]))) return refuse(x, 404, "not_found", "", arena_printf(&x->arena, "/%s/… is not in this version", later[i]).p);
  return refuse(x, 404, "not_found", "", "no such path: weir serves /v1/… and /{provider}/…");
}

bool request_understand(struct exchange *x) {
  struct policy_req *r = &x->req;
  const char *why = NULL;
  request_choose_id(x);
  r->head = x->head;
  struct span target = x->head->target;
  if (!target_split(target, &x->path, &x->query, &why)) return refuse(x, 400, "bad_request", "", why);
  r->path = x->path;
  if (!who_of_head(x)) return refuse(x, 400, "bad_request", "", "x-weir-timeout must be a number of seconds above 0");
  r->operation = x->asked;
  if (r->operation && r->operation->operation == OP_GENERATE_ARRAY && span_eq(query_value(x->query, SPAN("alt")), SPAN("sse"))) r->operation = operation_info(OP_GENERATE);
  if (r->operation) return read_body(x);
  bool list = span_eq(x->path, SPAN("/v1/models")) || span_eq(x->path, SPAN("/v1beta/models"));
  if (list && span_eq(r->method, SPAN("GET"))) return answer_models(x);
  if (span_starts(x->path, SPAN("/v1/")) || span_starts(x->path, SPAN("/v1beta/"))) return default_raw(x);
  if (x->path.n > 1 && x->path.p[0] == '/') return named_raw(x);
  return refuse(x, 404, "not_found", "", "no such path: weir serves /v1/… and /{provider}/…");
}

/* ---- multipart: the model part decides the provider, and loses its provider prefix */
static void scan_found(struct exchange *x, struct span value) {
  struct route route;
  int status = 404;
  x->scanning = false;
  x->req.model = arena_copy(&x->arena, value);
  const char *bad = route_model(x->gen->conf, operation_info(OP_CHAT), x->req.model, &x->arena, &route, &status);
  if (bad && status == 404) bad = route_unknown(x->gen->conf, operation_info(OP_CHAT), x->req.model, x->req.key, &x->arena);
  if (bad) { refuse(x, status, "not_found", "model_not_found", bad); return; }
  x->raw_provider = route.candidates[0].provider;
  if (raw_refused(x, x->raw_provider)) return;
  if (!admit_unread(x, x->raw_provider)) return;
  struct span to = route.candidates[0].model;
  if (!span_eq(to, value)) {
    struct buf whole = { 0 };
    struct span seen = buf_span(&x->prefix);
    buf_add(&whole, span_of(seen.p, (size_t)(value.p - seen.p)));
    buf_add(&whole, to);
    buf_add(&whole, span_of(value.p + value.n, (size_t)(seen.p + seen.n - value.p - value.n)));
    buf_free(&x->prefix);
    x->prefix = whole;
    x->length_change = (int64_t)to.n - (int64_t)value.n;
    x->req.model = to;
  }
  exchange_scanned(x);
}

void request_scan(struct exchange *x) {
  struct span boundary = http_param(x->head->content_type, SPAN("boundary")), value = { 0 };
  struct span window = buf_span(&x->prefix);
  struct step s = boundary.n ? multipart_find(window, boundary, SPAN("model"), &value) : (struct step){ STEP_BAD, 0 };
  if (s.kind == STEP_EVENT) {
    scan_found(x, value);
  } else if (s.kind == STEP_BAD) {
    x->scanning = false;
    refuse(x, 400, "bad_request", "", "the request body is no multipart/form-data");
  } else if (s.kind == STEP_DONE || x->body_done || window.n >= SCAN_MOST) {
    x->scanning = false;                                 /* no model part, or too far in: the default provider */
    if (admit_unread(x, x->raw_provider)) exchange_scanned(x);
  }
}

/* ---- composing: headers */
static bool starts(struct span name, const char *with) { return span_istarts(name, span_cstr(with)); }
static bool is(struct span name, const char *what) { return span_ieq(name, span_cstr(what)); }

/* A family is left out whatever follows the name. */
static bool of_family(struct span n) {
  if (n.n < 7) return false;
  switch (n.p[2] | 0x20) {
  case 'w': return starts(n, "x-weir-");
  case 'f': return starts(n, "x-forwarded-");
  case 'l': return starts(n, "x-litellm-");
  case 'p': return starts(n, "x-portkey-");
  case 'o': return starts(n, "proxy-");
  default: return false;
  }
}

/* Never to a provider: the client's keys and cookies, its network path, hop-by-hop headers, what weir sets itself. */
static const bool stays[HTTP_NAMES] = {
  [HTTP_TE] = true, [HTTP_VIA] = true, [HTTP_HOST] = true, [HTTP_COOKIE] = true, [HTTP_EXPECT] = true, [HTTP_API_KEY] = true, [HTTP_TRAILER] = true,
  [HTTP_UPGRADE] = true, [HTTP_X_API_KEY] = true, [HTTP_X_REAL_IP] = true, [HTTP_FORWARDED] = true, [HTTP_CONNECTION] = true,
  [HTTP_KEEP_ALIVE] = true, [HTTP_TRACEPARENT] = true, [HTTP_AUTHORIZATION] = true, [HTTP_CONTENT_LENGTH] = true, [HTTP_X_GOOG_API_KEY] = true,
  [HTTP_TRANSFER_ENCODING] = true,
};
static bool header_stays(enum http_name known, struct span n) { return stays[known] || of_family(n); }

static bool policy_sets(const struct attempt *a, struct span name) {
  for (const struct policy_header *h = a->view.headers; h; h = h->next)
    if (span_ieq(h->name, name)) return true;
  return false;
}

static bool provider_sets(const struct provider *p, struct span name) {
  for (size_t i = 0; i < p->header_count; i++)
    if (span_ieq(p->headers[i].name, name)) return true;
  return false;
}

/* Versions, options and organisations of one provider's dialect mean nothing to another. */
static bool of_dialect(struct span n) { return starts(n, "anthropic-") || starts(n, "openai-") || starts(n, "x-goog-"); }

/* What is signed, and what it is, weir says itself. */
static bool of_signature(struct span n) { return starts(n, "x-amz-") || is(n, "content-type") || is(n, "accept"); }

static void compose_headers(struct exchange *x, struct attempt *a, struct buf *out) {
  const struct http_head *h = x->head;
  const struct provider *p = a->target.provider;
  struct span listed = http_known(h, HTTP_CONNECTION);
  bool cors = x->gen->conf->origin_count > 0;            /* the page is weir's caller, not the provider's */
  bool more = listed.n && !is(listed, "keep-alive") && !is(listed, "close");
  for (size_t i = 0; i < h->count; i++) {
    struct span n = h->headers[i].name;
    enum http_name known = h->names[i];
    if (header_stays(known, n) || (!x->raw && known == HTTP_ACCEPT_ENCODING)) continue;
    if (a->foreign && of_dialect(n)) continue;
    if (n.n == p->auth_name.n && span_ieq(n, p->auth_name)) continue;
    if (p->dialect == DIALECT_CONVERSE && of_signature(n)) continue;
    if (cors && known == HTTP_ORIGIN) continue;
    if (more && http_header_lists(h, SPAN("connection"), n)) continue;
    if ((a->view.headers && policy_sets(a, n)) || (p->header_count && provider_sets(p, n))) continue;
    http_write_header(out, n, h->headers[i].value);
  }
  for (size_t i = 0; i < p->header_count; i++)
    if (!policy_sets(a, p->headers[i].name)) http_write_header(out, p->headers[i].name, p->headers[i].value);
  if (p->when_absent.name.n && (a->foreign || !http_header(h, p->when_absent.name).p) && !policy_sets(a, p->when_absent.name))
    http_write_header(out, p->when_absent.name, p->when_absent.value);
  for (const struct policy_header *ph = a->view.headers; ph; ph = ph->next) {
    bool newer = false;                                  /* newest first: the first of a name counts */
    for (const struct policy_header *q = a->view.headers; q != ph; q = q->next) newer |= span_ieq(q->name, ph->name);
    if (!newer && ph->value.p) http_write_header(out, ph->name, ph->value);
  }
  if (x->traced) http_write_header(out, SPAN("traceparent"), span_of(x->trace, 55));
  if (!x->raw) buf_put(out, SPAN("accept-encoding: identity\r\n"));
  if (p->dialect == DIALECT_CONVERSE) buf_add(out, SPAN("content-type: application/json\r\n"));
}

/* "/v1/files" at a provider whose base is ".../v1" is its ".../v1/files"; "/openai/v1/files" and "/openai/files" too. */
static void compose_path(struct exchange *x, struct attempt *a, struct buf *out) {
  struct span base = a->target.endpoint->url.path, rest = x->raw_path.p ? x->raw_path : x->path;
  bool versioned = span_ends(base, SPAN("/v1")) || a->target.provider->quirks->deployments;          /* Azure's version may be in the query */
  buf_put(out, base);
  if (!x->raw) {
    endpoint_path(a->target.endpoint, foreign_operation(a), a->target.model, x->req.stream, out);
  } else {
    if (base.n && span_starts(rest, base) && (rest.n == base.n || rest.p[base.n] == '/')) rest = span_from(rest, base.n);
    else if (versioned && span_starts(rest, SPAN("/v1/"))) rest = span_from(rest, 3);
    buf_put(out, rest);
    if (!rest.n && !base.n) buf_byte(out, '/');
  }
  struct span query = a->foreign ? operation_query(foreign_operation(a), x->req.stream) : x->query.n ? query_without(x->query, SPAN("key"), &a->arena) : x->query;
  struct span fixed = a->target.endpoint->url.query;
  if (query.n && a->target.provider->quirks->deployments && query_value(fixed, SPAN("api-version")).p) query = query_without(query, SPAN("api-version"), &a->arena);
  if (fixed.n) buf_byte(out, '?'), buf_put(out, fixed);
  if (query.n) buf_byte(out, fixed.n ? '&' : '?'), buf_put(out, query);
}

/* ---- composing: the body */
static const struct policy_edit *edit_of(const struct policy_edit *list, struct exchange *x, struct span member) {
  for (; list; list = list->next) {
    const char *name = request_member(x->req.operation, x->req.members, x->req.member_count, list->word);
    if (span_eq(name ? span_cstr(name) : list->word, member)) return list;
  }
  return NULL;
}

static struct span key_text(struct exchange *x, struct json key) {
  struct span s;
  json_unescape(key, &x->arena, &s);
  return s;
}

/* Of one member: weir's own word goes before the attempt's, and that before the request's. */
static const struct policy_edit *edit_for(struct exchange *x, struct attempt *a, struct span member) {
  const struct policy_edit *e = edit_of(a->own, x, member);
  if (!e) e = edit_of(a->view.edits, x, member);
  return e ? e : edit_of(x->req.edits, x, member);
}

/* ---- composing: without bound state */
static struct span stripped(struct exchange *x, struct buf *text) {
  struct span s = arena_copy(&x->arena, buf_span(text));
  buf_free(text);
  return s;
}

static bool read_members(struct exchange *x, struct span body, struct request_facts *facts, size_t *count) {
  const struct operation_info *o = x->req.operation;
  struct json_error e;
  const char *why;
  struct json_member *flat;
  if (!json_read_object(body, x->worker->members, MOST_MEMBERS, count, &e) || !request_flat(o, x->worker->members, *count, &x->arena, &flat, count, &why)) return false;
  bool good = *count <= MOST_MEMBERS && request_read(o, flat, *count, facts, &why);
  if (good) memcpy(x->worker->members, flat, *count * sizeof *flat);
  facts->stream |= path_tells(o) && x->req.stream;
  return good;
}

bool request_may_lose(struct exchange *x) {
  struct policy_req *r = &x->req;
  struct request_facts facts;
  struct buf body = { 0 };
  size_t n = 0;
  if (!r->losses) return false;
  loss_write(r->operation, r->members, r->member_count, r->losses, &body);
  struct span text = stripped(x, &body);
  if (read_members(x, text, &facts, &n) && !facts.bound) x->unbound = text;
  return x->unbound.n;
}

static void loss_tell(struct exchange *x) {
  struct buf said = { 0 };
  for (unsigned k = 0; k < LOSS_COUNT; k++)
    if (x->req.losses >> k & 1) buf_printf(&said, "%s%s", buf_size(&said) ? ", " : "", loss_words[k]);
  x->lost = stripped(x, &said);
}

/* From here on the request is another one, for policies too. Messages that a policy has set are treated like the client's. */
void request_lose(struct exchange *x) {
  struct policy_req *r = &x->req;
  struct request_facts facts;
  size_t n = 0;
  const char *list = request_member(r->operation, r->members, r->member_count, SPAN("messages"));
  const struct policy_edit *e = list && r->losses >> LOSS_THINKING & 1 ? edit_of(r->edits, x, span_cstr(list)) : NULL;
  struct json messages;
  if (e && e->json.p && json_read(e->json, &messages, NULL)) {
    struct buf without = { 0 };
    struct policy_edit *own = arena_alloc(&x->arena, sizeof *own);
    loss_messages(messages, &without);
    *own = (struct policy_edit){ r->edits, e->word, stripped(x, &without) };
    r->edits = own;
  }
  if (!check(x->unbound.n) || !check(read_members(x, x->unbound, &facts, &n))) return;
  x->body = r->body = x->unbound;
  x->body_size = x->body.n;
  r->members = arena_alloc(&x->arena, n * sizeof *r->members);
  memcpy(r->members, x->worker->members, n * sizeof *r->members);
  r->member_count = n;
  r->facts = facts;
  loss_tell(x);
}

/* Members that an edit names and the body lacks are added at its end. */
static void add_missing(struct exchange *x, struct attempt *a, const struct policy_edit *list, struct buf *out, bool *first) {
  for (const struct policy_edit *e = list; e; e = e->next) {
    const char *name = request_member(x->req.operation, x->req.members, x->req.member_count, e->word);
    struct span member = name ? span_cstr(name) : e->word;
    if (span_eq(member, SPAN("model")) || edit_for(x, a, member) != e || !e->json.p) continue;
    if (json_member_of(x->req.members, x->req.member_count, member).type != JSON_NONE) continue;
    if (!*first) buf_byte(out, ',');
    *first = false;
    json_write_string(out, member);
    buf_byte(out, ':');
    buf_add(out, e->json);
  }
}

static void nest(struct exchange *x, struct buf *flat) {
  struct buf out = { 0 };
  size_t n = 0;
  if (json_read_object(buf_span(flat), x->worker->members, MOST_MEMBERS, &n, NULL)) request_nest(x->worker->members, n, &out);
  buf_free(flat);
  *flat = out;
}

/* The body with its edits: each member's bytes as they came unless it was changed. */
static struct span edited_body(struct exchange *x, struct attempt *a) {
  struct buf out = { 0 };
  bool first = true, has_model = false;
  buf_byte(&out, '{');
  for (size_t i = 0; i < x->req.member_count; i++) {
    const struct json_member *m = &x->req.members[i];
    struct span name = key_text(x, m->key);
    bool model = span_eq(name, SPAN("model"));
    const struct policy_edit *e = model ? NULL : edit_for(x, a, name);
    has_model |= model;
    if (e && !e->json.p) continue;
    if (!first) buf_byte(&out, ',');
    first = false;
    buf_add(&out, m->key.text);
    buf_byte(&out, ':');
    if (model) json_write_string(&out, a->target.model);
    else buf_add(&out, e ? e->json : m->value.text);
  }
  if (!has_model && !path_tells(x->req.operation)) {
    buf_add(&out, first ? SPAN("\"model\":") : SPAN(",\"model\":"));
    json_write_string(&out, a->target.model);
    first = false;
  }
  add_missing(x, a, a->own, &out, &first);
  add_missing(x, a, a->view.edits, &out, &first);
  add_missing(x, a, x->req.edits, &out, &first);
  buf_byte(&out, '}');
  if (path_tells(x->req.operation)) nest(x, &out);
  struct span body = arena_copy(&x->arena, buf_span(&out));   /* the exchange's: the kernel may read it after the attempt */
  buf_free(&out);
  return body;
}

static bool edited(const struct exchange *x, const struct attempt *a) {
  bool in_path = path_tells(x->req.operation);
  if (a->view.edits || (in_path ? a->own != NULL : x->req.facts.model.type != JSON_STRING)) return true;
  for (const struct policy_edit *e = x->req.edits; e; e = e->next)
    if (!span_eq(e->word, SPAN("model"))) return true;
  for (const struct policy_edit *e = a->own; e; e = e->next)
    if (json_member_of(x->req.members, x->req.member_count, e->word).type != JSON_NONE) return true;
  return false;
}

/* The model's value with what weir itself adds to the body behind it: all other bytes stay where they are. */
static struct span model_and_own(struct exchange *x, struct attempt *a) {
  struct buf text = { 0 };
  json_write_string(&text, a->target.model);
  for (const struct policy_edit *e = a->own; e; e = e->next) {
    buf_byte(&text, ',');
    json_write_string(&text, e->word);
    buf_byte(&text, ':');
    buf_add(&text, e->json);
  }
  struct span fresh = arena_copy(&x->arena, buf_span(&text));
  buf_free(&text);
  return fresh;
}

bool request_ready(struct exchange *x, struct attempt *a, struct translating *t) {
  x->loss = x->lost;
  return !a->foreign || foreign_translate(a, edited(x, a) || a->own ? edited_body(x, a) : x->body, t);
}

static int compose_body(struct exchange *x, struct attempt *a, struct iovec *parts) {
  struct span body = x->body, model = x->req.facts.model.text;
  if (a->foreign) {
    body = a->body;
  } else if (edited(x, a)) {
    body = edited_body(x, a);
  } else if (!path_tells(x->req.operation) && (a->own || !json_string_is(x->req.facts.model, a->target.model))) {
    struct span fresh = model_and_own(x, a);
    size_t before = (size_t)(model.p - body.p), behind = before + model.n;
    parts[0] = (struct iovec){ (void *)body.p, before };
    parts[1] = (struct iovec){ (void *)fresh.p, fresh.n };
    parts[2] = (struct iovec){ (void *)(body.p + behind), body.n - behind };
    return 3;
  }
  parts[0] = (struct iovec){ (void *)body.p, body.n };
  return 1;
}

static void compose_framing(struct exchange *x, struct buf *head, size_t length) {
  const struct http_head *h = x->head;
  if (!x->raw || x->body_size) http_write_header_u64(head, SPAN("content-length"), length);
  else if (h->framing == HTTP_CHUNKED) http_write_header(head, SPAN("transfer-encoding"), SPAN("chunked"));
  else if (h->framing == HTTP_LENGTH) http_write_header_u64(head, SPAN("content-length"), (uint64_t)((int64_t)h->length + x->length_change));
}

int request_compose(struct exchange *x, struct attempt *a, struct buf *head, struct iovec *parts) {
  struct endpoint *e = a->target.endpoint;
  int count = x->raw ? 0 : compose_body(x, a, parts);
  if (x->raw && x->body_size) parts[count++] = (struct iovec){ (void *)x->body.p, x->body.n };     /* it was read, and goes as it came */
  size_t length = 0;
  for (int i = 0; i < count; i++) length += parts[i].iov_len;
  if (!head->p) *head = worker_buf(x->worker);
  buf_put(head, x->req.method);
  buf_byte(head, ' ');
  const struct pool *p = a->call.pool;
  if (pool_absolute(p)) buf_put(head, SPAN("http://")), buf_put(head, e->host_header);
  size_t path_at = buf_size(head);
  compose_path(x, a, head);
  size_t path_end = buf_size(head);
  buf_put(head, e->host_line);
  if (pool_absolute(p) && p->proxy_auth) buf_put(head, secret_use(p->proxy_auth));
  a->key_line = a->target.account ? account_line(a->target.account) : NULL;
  if (a->key_line && !a->target.account->signs) buf_put(head, secret_use(a->key_line));
  compose_headers(x, a, head);
  compose_framing(x, head, length);
  sign_head(x, a, path_at, path_end, parts, count, head);
  http_write_end(head);
  /* Small bodies travel in one piece with the head: no lent memory, one send. */
  if (length <= 16384) {
    for (int i = 0; i < count; i++) buf_put(head, span_of(parts[i].iov_base, parts[i].iov_len));
    return 0;
  }
  return count;
}
