/* talk.c: what readers and writers of requests share: places, verdicts, objects whose members are all accounted for. */
#include "talk.h"

const char *const translate_words[] = {
  "allowed_tools", "annotations", "audio", "cache_control", "cached_content", "citations", "container", "context", "context_management", "custom", "defer_loading", "description", "detail", "display",
  "document", "eager_input_streaming", "file_id", "filename", "frequency_penalty", "function_call", "functions", "image", "inference_geo", "input_audio", "is_error",
  "logit_bias", "logprobs", "max_tokens", "mcp_servers", "metadata", "modalities", "n", "name", "parallel_tool_calls", "prediction", "prefill", "presence_penalty",
  "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning_effort", "refusal", "response_format", "safety_identifier", "safety_settings",
  "search_result", "seed", "service_tier", "stop", "store", "strict", "system", "temperature", "thread", "title", "tool_choice", "tools", "top_k", "top_logprobs",
  "user", "user_id", "verbosity", "video_url", "web_search", "web_search_options",
};
const size_t translate_word_count = sizeof translate_words / sizeof *translate_words;

static bool is_translated(const struct operation_info *o) { return o->operation == OP_CHAT || o->operation == OP_MESSAGES || o->operation == OP_GENERATE || o->operation == OP_GENERATE_ARRAY ||
          o->operation == OP_CONVERSE; }

const struct operation_info *operation_at(const struct operation_info *o, enum dialect provider) {
  if (is_translated(o) && o->dialect != provider) return operation_own(provider);
  return operation_served(o, provider) ? o : NULL;
}

/* ---- places */
static const struct place *place_new(struct talk *t, struct place p) {
  struct place *new = arena_alloc(t->arena, sizeof *new);
  *new = p;
  return new;
}

const struct place *place_in(struct talk *t, const struct place *up, const char *name) {
  return place_new(t, (struct place){ up, span_cstr(name), 0 });
}

const struct place *place_at(struct talk *t, const struct place *up, size_t index) { return place_new(t, (struct place){ up, { NULL, 0 }, index }); }

static void place_write(const struct place *p, struct buf *out) {
  if (!p) return;
  place_write(p->up, out);
  if (!p->name.n) { buf_printf(out, "[%zu]", p->index); return; }
  if (buf_size(out)) buf_byte(out, '.');
  buf_add(out, p->name);
}

/* ---- verdicts. The first refusal is the one that is told. */
static void fail(struct talk *t, const struct place *place, struct span why) {
  struct buf field = { 0 };
  if (t->failed) return;
  t->failed = true;
  place_write(place, &field);
  t->how->field = arena_copy(t->arena, buf_span(&field));
  t->how->why = arena_printf(t->arena, "'%.*s' %.*s", SPAN_FMT(buf_span(&field)), SPAN_FMT(why));
  buf_free(&field);
}

static bool allowed(const struct talk *t, struct span word) {
  for (size_t i = 0; i < t->how->allowed_count; i++)
    if (span_eq(t->how->allowed[i], word)) return true;
  return false;
}

/* Words that may not stand in a header are the client's own keys. There may be any number of those, and what is told of them has an end. */
enum { LOSSES_MOST = 2048 };
void loss_add(struct buf *words, struct span word) {
  struct span left = buf_span(words), one;
  if (left.n > LOSSES_MOST) return;
  if (!word.n || word.n > 64 || !http_value_ok(word) || memchr(word.p, ',', word.n)) word = SPAN("unknown");
  while (left.n) {
    left = span_cut(left, ',', &one);
    if (span_eq(span_trim(one), word)) return;
  }
  if (buf_size(words)) buf_add(words, SPAN(", "));
  buf_add(words, word);
  if (buf_size(words) > LOSSES_MOST) buf_add(words, SPAN(", unknown"));
}

static void note(struct talk *t, struct span word) { loss_add(&t->losses, word); }

void talk_lose(struct talk *t, const struct place *place, struct span word) {
  if (t->how->strict && !allowed(t, word)) fail(t, place, SPAN("cannot be said exactly in the provider's dialect, and loss = \"strict\" asks for that: leave it out, or allow its loss in a policy"));
  else note(t, word);
}

void part_lose_cache(struct talk *t, const struct part *p) {
  if (json_given(p->cache)) talk_lose(t, p->place, SPAN("cache_control"));
}

void talk_refuse(struct talk *t, const struct place *place, struct span word, const char *instead) {
  if (allowed(t, word)) note(t, word);
  else fail(t, place, arena_printf(t->arena, "cannot be said in the provider's dialect: %s", instead));
}

void talk_wrong(struct talk *t, const struct place *place, const char *why) { fail(t, place, span_cstr(why)); }

enum { STEPS_MOST = 100 * 1000 * 1000 };
bool talk_step(struct talk *t) {
  static const char *const lists[DIALECT_COUNT] = { [DIALECT_CHAT] = "messages", [DIALECT_MESSAGES] = "messages", [DIALECT_GEMINI] = "contents" };
  if (++t->steps <= STEPS_MOST) return true;
  if (!t->failed) talk_wrong(t, place_in(t, NULL, lists[t->from]), "calls and answers too many tools to be said in the provider's dialect");
  return false;
}

void tools_keep(struct talk *t, const struct span *names, size_t count) {
  for (struct tool *tool = t->tools; tool; tool = tool->next) {
    struct span own = talk_string(t, tool->name);
    tool->aside = true;
    for (size_t i = 0; i < count && tool->aside && talk_step(t); i++) tool->aside = !span_eq(names[i], own);
  }
}

/* ---- objects */
bool json_given(struct json v) { return v.type != JSON_NONE && v.type != JSON_NULL; }

bool object_open(struct talk *t, struct json v, const struct place *place, struct object *out) {
  struct json_member members[EVENT_MEMBERS];
  struct json_error e = { 0, "" };
  size_t n = 0;
  if (v.type != JSON_OBJECT) return talk_wrong(t, place, "must be an object"), false;
  if (!json_read_object(v.text, members, EVENT_MEMBERS, &n, &e)) return talk_wrong(t, place, e.why), false;
  *out = (struct object){ t, place, arena_alloc(t->arena, (n + 1) * sizeof *members), n, arena_zero(t->arena, n + 1) };
  if (n) memcpy(out->members, members, n * sizeof *members);
  return true;
}

struct json object_take(struct object *o, const char *name) {
  for (size_t i = 0; i < o->count; i++) {
    if (!json_string_is(o->members[i].key, span_cstr(name))) continue;
    o->taken[i] = true;
    return json_given(o->members[i].value) ? o->members[i].value : json_absent;
  }
  return json_absent;
}

const struct place *object_place(const struct object *o, const char *name) { return place_in(o->talk, o->place, name); }

static const char *type_words(enum json_type type) {
  static const char *const words[] = { [JSON_NUMBER] = "must be a number", [JSON_STRING] = "must be a string", [JSON_ARRAY] = "must be a list",
                                       [JSON_OBJECT] = "must be an object", [JSON_TRUE] = "must be true or false" };
  return words[type];
}

struct json object_take_type(struct object *o, const char *name, enum json_type type) {
  struct json v = object_take(o, name);
  bool is = v.type == type || (type == JSON_TRUE && v.type == JSON_FALSE);
  if (v.type == JSON_NONE || is) return v;
  talk_wrong(o->talk, object_place(o, name), type_words(type));
  return json_absent;
}

void object_rest(struct object *o) {
  for (size_t i = 0; i < o->count; i++) {
    if (o->taken[i] || !json_given(o->members[i].value)) continue;
    struct span name = talk_string(o->talk, o->members[i].key);
    struct place *p = arena_alloc(o->talk->arena, sizeof *p);
    *p = (struct place){ o->place, name, 0 };
    talk_lose(o->talk, p, name);
  }
}

/* ---- building */
struct turn *turn_add(struct talk *t, enum role role, const struct place *place) {
  struct turn *n = arena_zero(t->arena, sizeof *n);
  *n = (struct turn){ .role = role, .place = place, .end = &n->parts };
  *t->turns_end = n;
  t->turns_end = &n->next;
  return n;
}

struct part *part_add(struct talk *t, struct part ***end, enum part_kind kind, const struct place *place) {
  struct part *n = arena_zero(t->arena, sizeof *n);
  *n = (struct part){ .kind = kind, .place = place, .inner_end = &n->inner };
  **end = n;
  *end = &n->next;
  return n;
}

struct tool *tool_add(struct talk *t) {
  struct tool *n = arena_zero(t->arena, sizeof *n);
  *t->tools_end = n;
  t->tools_end = &n->next;
  return n;
}

void extra_add(struct talk *t, const struct place *place, struct span word, const char *instead) {
  struct extra *e = arena_alloc(t->arena, sizeof *e);
  *e = (struct extra){ t->extras, word, place, instead, json_absent };
  t->extras = e;
}

void extra_value(struct talk *t, const struct place *place, struct span word, const char *instead, struct json v) {
  extra_add(t, place, word, instead);
  t->extras->v = v;
}

struct json extra_take(struct talk *t, const char *word) {
  for (struct extra **e = &t->extras; *e; e = &(*e)->next) {
    if (!span_eq((*e)->word, span_cstr(word))) continue;
    struct json v = (*e)->v;
    *e = (*e)->next;
    if (v.type != JSON_NONE) return v;
    return json_member_of(t->body->members, t->body->count, span_cstr(word));
  }
  return json_absent;
}

/* The tools that stand aside are not sent: most dialects have no other word for it. */
static void tools_narrow(struct talk *t) {
  struct tool **link = &t->tools;
  talk_lose(t, t->narrowed, SPAN("allowed_tools"));
  for (struct tool *tool = t->tools; tool; tool = tool->next)
    if (!tool->aside) *link = tool, link = &tool->next;
  *link = NULL;
  t->tools_end = link;
}

void extras_settle(struct talk *t) {
  for (const struct extra *e = t->extras; e; e = e->next)
    if (e->instead) talk_refuse(t, e->place, e->word, e->instead);
    else talk_lose(t, e->place, e->word);
}

struct span talk_string(struct talk *t, struct json v) {
  struct span s = SPAN("");
  if (v.type == JSON_STRING) json_unescape(v, t->arena, &s);
  return s;
}

static struct json kept(struct talk *t, struct buf *b) {
  struct json v = { JSON_STRING, arena_copy(t->arena, buf_span(b)) };
  buf_free(b);
  return v;
}

struct json talk_quoted(struct talk *t, struct span plain) {
  struct buf b = { 0 };
  json_write_string(&b, plain);
  return kept(t, &b);
}

struct json talk_joined(struct talk *t, struct span before, struct json string, struct span behind) {
  struct buf b = { 0 };
  buf_byte(&b, '"');
  json_write_escaped(&b, before);
  buf_add(&b, string_raw(string));
  json_write_escaped(&b, behind);
  buf_byte(&b, '"');
  return kept(t, &b);
}

void field_data_url(struct json_writer *w, struct span name, struct span mime, struct span data) {
  struct buf url = { 0 };
  buf_printf(&url, "data:%.*s;base64,", SPAN_FMT(mime));
  buf_add(&url, data);
  field_str(w, name, buf_span(&url));
  buf_free(&url);
}

/* ---- thinking, named and counted */
const int64_t translate_budgets[TRANSLATE_BUDGETS] = { 1024, 2048, 8192, 16384, 32768, 49152 };
const char *const translate_efforts[TRANSLATE_BUDGETS] = { "minimal", "low", "medium", "high", "xhigh", "max" };

int64_t effort_budget(const struct talk *t, enum effort e) { return (t->how->budgets ? t->how->budgets : translate_budgets)[e - EFFORT_MINIMAL]; }

enum effort effort_of_budget(const struct talk *t, int64_t tokens) {
  enum effort e = EFFORT_XHIGH;
  while (e > EFFORT_MINIMAL && effort_budget(t, e) > tokens) e--;
  return e;
}

bool talk_unseal(struct talk *t, struct json *value, struct json text, const struct place *place) {
  struct span plain = talk_string(t, *value);
  if (!t->how->provider.n || value->type != JSON_STRING) return true;
  if (!seal_open(t->arena, talk_string(t, text), t->how->provider, &plain)) return talk_lose(t, place, SPAN("thinking")), false;
  *value = talk_quoted(t, plain);
  return true;
}

/* ---- ids */
static const char marked[] = "weirx_";

static bool narrow(struct span id) {
  for (size_t i = 0; i < id.n; i++) {
    char c = id.p[i];
    bool ok = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
    if (!ok) return false;
  }
  return id.n && !span_starts(id, span_cstr(marked));
}

struct span id_narrow(struct arena *a, struct span id) {
  static const char digits[] = "0123456789abcdef";
  if (narrow(id)) return id;
  size_t at = sizeof marked - 1;
  char *p = arena_alloc(a, at + 2 * id.n);
  memcpy(p, marked, at);
  for (size_t i = 0; i < id.n; i++) {
    p[at++] = digits[(unsigned char)id.p[i] >> 4];
    p[at++] = digits[id.p[i] & 15];
  }
  return span_of(p, at);
}

static int digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

struct span id_widen(struct arena *a, struct span id) {
  if (!span_starts(id, span_cstr(marked))) return id;
  struct span code = span_from(id, sizeof marked - 1);
  char *p = arena_alloc(a, code.n / 2 + 1);
  for (size_t i = 0; i + 1 < code.n; i += 2) {
    if (digit(code.p[i]) < 0 || digit(code.p[i + 1]) < 0) return id;
    p[i / 2] = (char)(digit(code.p[i]) << 4 | digit(code.p[i + 1]));
  }
  return code.n % 2 || !span_utf8(span_of(p, code.n / 2)) ? id : span_of(p, code.n / 2);
}

/* ---- the request as a whole */
static unsigned unit_of(const char *p, const char *end) {
  unsigned v = 0;
  if (end - p < 6 || p[0] != '\\' || p[1] != 'u') return 0;
  for (int i = 2; i < 6; i++) v = v << 4 | (unsigned)(digit(ascii_lower(p[i])) & 15);
  return v;
}

/* "\ud800" alone is no character: what a server makes of it nobody knows. */
static bool lone_surrogate(struct span json) {
  const char *end = json.p + json.n, *at = json.p;
  while (at < end && (at = memchr(at, '\\', (size_t)(end - at)))) {
    unsigned v = unit_of(at, end);
    if (v < 0xD800 || v > 0xDFFF) { at += 2; continue; }
    unsigned low = unit_of(at + 6, end);
    if (v > 0xDBFF || low < 0xDC00 || low > 0xDFFF) return true;
    at += 12;
  }
  return false;
}

/* Of tools that take free text and stood as functions, whose calls are told as what they are (said_write_chat.c). */
static void customs_tell(struct talk *t) {
  size_t n = 0;
  for (const struct tool *tool = t->tools; tool; tool = tool->next) n += tool->wrapped;
  if (!n) return;
  t->how->customs = arena_alloc(t->arena, n * sizeof *t->how->customs);
  t->how->custom_count = 0;
  for (const struct tool *tool = t->tools; tool; tool = tool->next)
    if (tool->wrapped) t->how->customs[t->how->custom_count++] = arena_copy(t->arena, talk_string(t, tool->name));      /* the body goes first */
}

bool translate_request(const struct operation_info *from, const struct operation_info *to, const struct json_member *members, size_t count,
                       struct translating *how, struct buf *out) {
  static void (*const readers[DIALECT_COUNT])(struct talk *, struct object *) = { [DIALECT_CHAT] = talk_read_chat, [DIALECT_MESSAGES] = talk_read_messages,
                                                                               [DIALECT_GEMINI] = talk_read_gemini };
  static void (*const writers[DIALECT_COUNT])(struct talk *, struct buf *) = {
    [DIALECT_CHAT] = talk_write_chat, [DIALECT_MESSAGES] = talk_write_messages, [DIALECT_RESPONSES] = talk_write_responses, [DIALECT_GEMINI] = talk_write_gemini,
    [DIALECT_CONVERSE] = talk_write_converse,
  };
  static const uint32_t can[DIALECT_COUNT] = {
    [DIALECT_RESPONSES] = CAN_DETAIL | CAN_CUSTOM | CAN_FILES | CAN_ARGUMENTS | CAN_ALLOWED | CAN_DISPLAY | CAN_FORMAT_NOTE,
    [DIALECT_GEMINI] = CAN_ALLOWED,
  };
  struct talk t = { .how = how, .arena = how->arena, .from = from->dialect, .to = to->dialect, .can = can[to->dialect] };
  struct object body = { &t, NULL, (struct json_member *)members, count, arena_zero(how->arena, count + 1) };
  t.body = &body;
  t.claude = to->dialect == DIALECT_CONVERSE && converse_is_claude(how->model);
  t.turns_end = &t.turns, t.system_end = &t.system, t.tools_end = &t.tools;
  how->losses = how->field = how->why = (struct span){ NULL, 0 };
  how->limit = 0;
  how->customs = NULL, how->custom_count = 0;
  how->one_call = false;
  for (size_t i = 0; i < count; i++) {
    if (!lone_surrogate(members[i].value.text) && !lone_surrogate(members[i].key.text)) continue;
    struct place where = { NULL, talk_string(&t, members[i].key), 0 };
    talk_wrong(&t, &where, "holds half of a character (a lone surrogate escape)");
  }
  if (!t.failed) readers[from->dialect](&t, &body);
  if (!t.failed && t.narrowed && !(t.can & CAN_ALLOWED)) tools_narrow(&t);
  if (!t.failed) writers[to->dialect](&t, out);
  if (!t.failed) extras_settle(&t);
  if (t.failed) buf_clear(out);
  else how->losses = arena_copy(how->arena, buf_span(&t.losses)), customs_tell(&t);
  buf_free(&t.losses);
  return !t.failed;
}
