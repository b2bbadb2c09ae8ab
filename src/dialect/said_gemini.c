/* said_gemini.c: answers of the gemini dialect, heard. Each of several candidates is an answer. */
#include "gemini.h"
#include "said.h"

enum { HEARD_NONE, HEARD_SAYS, HEARD_THINKS, LEAVES_MOST = 4096, STEPS_MOST = 20 * 1000 * 1000,
       CALLS_APART = 1000 };           /* calls without ids are numbered; those of another answer begin so much higher */

static void say(struct translation *t, enum said_kind kind, struct json v) { said(t, &(struct said){ .kind = kind, .v = v }); }

/* ---- texts and thoughts */
static void sign(struct translation *t, enum signature_of of, struct span raw) { say(t, SAID_SIGNATURE, signature_mark(&t->arena, of, raw)); }

/* A thought that nobody signed is marked as well: so it is known again when it comes home. */
static void block_over(struct translation *t) {
  if (t->heard == HEARD_NONE) return;
  if (t->heard == HEARD_THINKS && !t->heard_signed) sign(t, SIGNED_THOUGHT, (struct span){ NULL, 0 });
  say(t, SAID_BREAK, json_absent);
  t->heard = HEARD_NONE;
  t->heard_signed = false;
}

static void text_hear(struct translation *t, bool thought, struct json text, struct span signature) {
  int kind = thought ? HEARD_THINKS : HEARD_SAYS;
  if (string_full(text)) {
    if (t->finish) said_fault(t, FAULT_PROTOCOL, "content after the finish");
    if (t->heard != kind) block_over(t);
    t->heard = kind;
    said(t, &(struct said){ .kind = thought ? SAID_THINKING : SAID_TEXT, .v = text, .logprobs = thought ? json_absent : probable_take(t) });
  }
  if (!signature.n) return;
  if (thought && t->heard == HEARD_THINKS) {
    if (!t->heard_signed) sign(t, SIGNED_THOUGHT, signature);
    t->heard_signed = true;
    return;
  }
  block_over(t);
  sign(t, SIGNED_TEXT, signature);
  say(t, SAID_BREAK, json_absent);
}

/* ---- calls whose arguments come in pieces: places ("$.list[0].name") and values */
struct leaf { struct leaf *next; struct span path; struct buf value; bool string, done; };
struct partial_call { struct json name, id; struct span signature; struct leaf *leaves, **end; size_t count, steps; };

/* The next step of a path: a name, or an index. False: there is none. */
static bool path_step(struct span *path, struct span *step, bool *index) {
  struct span s = *path;
  *index = s.n && s.p[0] == '[';
  if (!s.n || (s.p[0] != '.' && !*index)) return false;
  s = span_from(s, 1);
  if (*index) {
    *path = span_cut(s, ']', step);
    if (step->n >= 2 && (step->p[0] == '\'' || step->p[0] == '"')) *index = false, *step = span_of(step->p + 1, step->n - 2);
  } else {
    size_t n = 0;
    while (n < s.n && s.p[n] != '.' && s.p[n] != '[') n++;
    *step = span_of(s.p, n);
    *path = span_from(s, n);
  }
  return true;
}

static bool path_under(struct span path, unsigned depth, struct span *step, bool *index, bool *last) {
  struct span left = span_starts(path, SPAN("$")) ? span_from(path, 1) : path;
  for (unsigned i = 0; i <= depth; i++)
    if (!path_step(&left, step, index)) return false;
  *last = !left.n;
  return true;
}

static bool same_start(struct span a, struct span b, unsigned depth) {
  for (unsigned i = 0; i <= depth; i++) {
    struct span x, y;
    bool index, last;
    if (!path_under(a, i, &x, &index, &last) || !path_under(b, i, &y, &index, &last) || !span_eq(x, y)) return false;
  }
  return true;
}

/* Counted, so that a call of very many deep arguments is a fault and no worker is away for minutes. */
static bool alike(struct partial_call *c, const struct leaf *a, const struct leaf *b, unsigned depth) {
  c->steps += (depth + 1) * (depth + 2);
  return c->steps <= STEPS_MOST && same_start(a->path, b->path, depth);
}

static void leaf_write(struct json_writer *w, const struct leaf *l) {
  struct span v = buf_span(&l->value);
  struct buf quoted = { 0 };
  if (l->string) buf_quote(&quoted, v), v = buf_span(&quoted);
  json_raw(w, v);
  buf_free(&quoted);
}

/* All leaves that share the steps before `depth` with `first`. */
static void level_write(struct partial_call *c, struct json_writer *w, struct leaf *first, unsigned depth) {
  struct span step;
  bool list = false, last = false, index;
  if (depth >= JSON_DEPTH - 2 || !path_under(first->path, depth, &step, &list, &last)) { first->done = true; json_raw(w, SPAN("{}")); return; }
  json_begin(w, list ? '[' : '{');
  for (struct leaf *l = first; l && c->steps <= STEPS_MOST; l = l->next) {
    if (l->done || (depth && !alike(c, first, l, depth - 1)) || !path_under(l->path, depth, &step, &index, &last) || index != list) continue;
    if (!list) json_key(w, step);
    if (last) l->done = true, leaf_write(w, l);
    else level_write(c, w, l, depth + 1);
    for (struct leaf *same = l->next; same; same = same->next) same->done |= alike(c, l, same, depth);       /* said in two ways: the first counts */
  }
  json_end(w, list ? ']' : '}');
}

static void call_say(struct translation *t, struct json name, struct json id, struct span signature, struct json arguments) {
  if (t->names.one_call && t->heard_calls) return;       /* one was asked for; the loss was told with the request */
  int64_t call = t->heard_calls++;
  struct span own = t->heard_id.n ? t->heard_id : t->names.id.n > 24 ? span_from(t->names.id, t->names.id.n - 24) : t->names.id;
  static const struct json nothing = { JSON_OBJECT, { "{}", 2 } };
  if (t->finish) said_fault(t, FAULT_PROTOCOL, "content after the finish");
  block_over(t);
  if (signature.n) sign(t, SIGNED_CALL, signature), say(t, SAID_BREAK, json_absent);
  if (!string_full(id)) id = (struct json){ JSON_STRING, arena_printf(&t->arena, "\"call_%.*s_%lld\"", SPAN_FMT(own), (long long)(call + t->choice * CALLS_APART)) };
  said(t, &(struct said){ .kind = SAID_CALL, .call = call, .id = id, .name = name });
  said(t, &(struct said){ .kind = SAID_ARGUMENTS, .call = call, .v = arguments.type == JSON_OBJECT ? arguments : nothing });
}

void said_partial_free(struct translation *t) {
  for (struct leaf *l = t->partial ? t->partial->leaves : NULL; l; l = l->next) buf_free(&l->value);
  t->partial = NULL;
}

static void partial_over(struct translation *t) {
  struct partial_call *c = t->partial;
  struct buf object = { 0 };
  struct json_writer w = { .out = &object };
  struct json arguments;
  if (!c) return;
  t->partial = NULL;
  if (c->leaves) level_write(c, &w, c->leaves, 0);
  else buf_add(&object, SPAN("{}"));
  struct span kept = arena_copy(&t->arena, buf_span(&object));
  buf_free(&object);
  if (c->steps > STEPS_MOST) { said_fault(t, FAULT_INVALID, "a tool call has too many arguments"); return; }
  if (!json_read(kept, &arguments, NULL) || arguments.type != JSON_OBJECT) { said_fault(t, FAULT_INVALID, "the arguments of a tool call cannot be put together"); return; }
  call_say(t, c->name, c->id, c->signature, arguments);
}

static void leaf_free(void *leaf) { buf_free(&((struct leaf *)leaf)->value); }

static void leaf_add(struct translation *t, struct partial_call *c, struct json piece) {
  static const struct span kinds[] = { SPAN("stringValue"), SPAN("numberValue"), SPAN("boolValue"), SPAN("nullValue") };
  struct span path = string_raw(json_in(piece, SPAN("jsonPath")));
  struct json v = json_absent;
  struct leaf *l = c->leaves;
  for (size_t i = 0; i < 4 && v.type == JSON_NONE; i++) v = json_in(piece, kinds[i]);
  if (!path.n || v.type == JSON_NONE) return;
  while (l && !span_eq(l->path, path)) l = l->next;
  if (!l) {
    if (c->count++ == LEAVES_MOST) { said_fault(t, FAULT_INVALID, "a tool call has too many arguments"); return; }
    l = arena_zero(&t->arena, sizeof *l);
    arena_on_end(&t->arena, leaf_free, l);
    l->path = arena_copy(&t->arena, path);
    l->string = v.type == JSON_STRING && json_in(piece, SPAN("nullValue")).type == JSON_NONE;
    *c->end = l;
    c->end = &l->next;
  }
  struct span text = l->string ? string_raw(v) : json_in(piece, SPAN("nullValue")).type != JSON_NONE ? SPAN("null") : v.text;
  if (text.n > said_room(t)) { said_fault(t, FAULT_INVALID, "the answer is larger than max_answer"); return; }
  t->waiting += text.n;
  if (!l->string) buf_clear(&l->value);
  buf_add(&l->value, text);
}

static struct json kept(struct translation *t, struct json v) {
  if (v.type == JSON_STRING) v.text = arena_copy(&t->arena, v.text);
  return v;
}

static void call_hear(struct translation *t, struct json call, struct span signature) {
  struct json name = json_in(call, SPAN("name")), id = json_in(call, SPAN("id")), pieces = json_in(call, SPAN("partialArgs")), key, item;
  bool more = json_in(call, SPAN("willContinue")).type == JSON_TRUE;
  if (string_full(name)) {
    partial_over(t);
    if (!more && pieces.type != JSON_ARRAY) { call_say(t, name, id, signature, json_in(call, SPAN("args"))); return; }
    t->partial = arena_zero(&t->arena, sizeof *t->partial);
    *t->partial = (struct partial_call){ .name = kept(t, name), .id = kept(t, id), .end = &t->partial->leaves };
  }
  if (!t->partial) return;
  if (signature.n) t->partial->signature = arena_copy(&t->arena, signature);
  struct json_iter i = json_iter(pieces);
  while (pieces.type == JSON_ARRAY && json_next(&i, &key, &item)) leaf_add(t, t->partial, item);
  if (!more) partial_over(t);
}

/* ---- the answer */
static void part_hear(struct translation *t, struct json part) {
  struct json text = json_in(part, SPAN("text")), call = json_in(part, SPAN("functionCall"));
  struct span signature = string_raw(json_in(part, SPAN("thoughtSignature")));
  if (call.type == JSON_OBJECT) {
    call_hear(t, call, signature);
  } else if (text.type == JSON_STRING) {
    text_hear(t, json_in(part, SPAN("thought")).type == JSON_TRUE, text, signature);
  } else if (part.type == JSON_OBJECT && json_iter(part).at != json_iter(part).end) {
    block_over(t);
    if (signature.n) sign(t, SIGNED_TEXT, signature), say(t, SAID_BREAK, json_absent);
    if (json_in(part, SPAN("thoughtSignature")).type == JSON_NONE || json_in(part, SPAN("inlineData")).type == JSON_OBJECT) say(t, SAID_OTHER, part);
  }
}

static void source_hear(struct translation *t, struct json source) {
  struct json uri = json_in(source, SPAN("uri")), title = json_in(source, SPAN("title"));
  if (!string_full(uri)) return;
  struct span object = arena_printf(&t->arena, "{\"url\":%.*s,\"title\":%.*s}", SPAN_FMT(uri.text), SPAN_FMT(title.type == JSON_STRING ? title.text : SPAN("\"\"")));
  say(t, SAID_CITATION, (struct json){ JSON_OBJECT, object });
}

static void sources_hear(struct translation *t, struct json list, bool web) {
  struct json_iter i = json_iter(list);
  struct json key, item;
  while (list.type == JSON_ARRAY && json_next(&i, &key, &item)) source_hear(t, web ? json_in(item, SPAN("web")) : item);
}

static enum finish finish_of(const struct translation *t, struct span word) {
  if (gemini_filtered(word)) return FINISH_FILTER;
  if (span_eq(word, SPAN("MAX_TOKENS"))) return FINISH_LENGTH;
  return t->heard_calls ? FINISH_CALLS : FINISH_STOP;
}

static void finish_hear(struct translation *t, struct span word) {
  partial_over(t);
  block_over(t);
  if (gemini_broken(word)) { said_fault(t, FAULT_INVALID, "the model's tool call cannot be read"); return; }
  struct json v = { JSON_STRING, arena_printf(&t->arena, "\"%.*s\"", SPAN_FMT(word)) };
  said(t, &(struct said){ .kind = SAID_FINISH, .v = v, .finish = finish_of(t, word) });
}

static void candidate_hear(struct translation *t, struct json candidate) {
  struct json parts = json_under(candidate, "content.parts"), finish = json_in(candidate, SPAN("finishReason")), key, part;
  struct json_iter i = json_iter(parts);
  if (!t->whole) said_start(t);
  if (t->to->dialect == DIALECT_CHAT) probable_hear_gemini(t, json_in(candidate, SPAN("logprobsResult")));
  while (parts.type == JSON_ARRAY && json_next(&i, &key, &part)) part_hear(t, part);
  probable_rest(t);
  sources_hear(t, json_under(candidate, "citationMetadata.citationSources"), false);
  sources_hear(t, json_under(candidate, "citationMetadata.citations"), false);
  sources_hear(t, json_under(candidate, "groundingMetadata.groundingChunks"), true);
  if (string_full(finish)) finish_hear(t, string_raw(finish));
}

void hear_gemini(struct translation *t, struct json data) {
  struct json list = json_in(data, SPAN("candidates")), id = json_in(data, SPAN("responseId")), key, candidate;
  struct json_iter i = json_iter(list);
  struct span blocked = gemini_blocked(data);
  said_model(t, json_in(data, SPAN("modelVersion")));
  said_usage(t, DIALECT_GEMINI, json_in(data, SPAN("usageMetadata")));
  if (string_full(id) && !t->heard_id.n && id.text.n <= 34) t->heard_id = said_keep(t, string_raw(id));
  while (list.type == JSON_ARRAY && json_next(&i, &key, &candidate)) {
    struct translation *lane = candidate.type == JSON_OBJECT ? said_lane(t, json_count(json_in(candidate, SPAN("index")))) : NULL;
    if (!lane || lane->fault) continue;
    candidate_hear(lane, candidate);
    said_lane_over(t, lane);
  }
  if (!blocked.n) return;
  if (!t->whole) said_start(t);
  finish_hear(t, blocked);
}

/* It says more than a stream's event only in that nothing follows. */
void hear_gemini_whole(struct translation *t, struct json document) {
  hear_gemini(t, document);
  for (struct translation *lane = t; lane && !t->fault; lane = lane == t ? t->lanes : lane->lane_next) {
    partial_over(lane);
    block_over(lane);
    said_lane_over(t, lane);
  }
}
