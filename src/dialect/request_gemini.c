/* request_gemini.c: what a generateContent request asks, read where it stands. Its options stand in an object of their own; so that all that
   reads and changes members need not know that, they are members of the request with a dot in their names, "generationConfig.topP". */
#include "gemini.h"

#define CONFIG "generationConfig"

/* max_output_tokens is maxOutputTokens. */
static struct span camel(struct arena *a, struct span name) {
  char *p = arena_alloc(a, name.n + 1);
  size_t n = 0;
  if (!memchr(name.p ? name.p : "", '_', name.n)) return name;
  for (size_t i = 0; i < name.n; i++)
    if (name.p[i] == '_' && i && i + 1 < name.n && name.p[i + 1] >= 'a' && name.p[i + 1] <= 'z') p[n++] = (char)(name.p[++i] - 'a' + 'A');
    else p[n++] = name.p[i];
  return span_of(p, n);
}

/* A name that is written with escapes is the same name. */
static struct span name_of(struct arena *a, struct json key) {
  struct span plain;
  bool good = json_unescape(key, a, &plain);
  for (size_t i = 0; i < plain.n; i++) good &= plain.p[i] != '"' && plain.p[i] != '\\' && (unsigned char)plain.p[i] >= 0x20;
  if (!good) return string_raw(key);
  return camel(a, plain);
}

static struct json key_of(struct arena *a, const char *before, struct json key) {
  struct span name = name_of(a, key);
  return (struct json){ JSON_STRING, arena_printf(a, "\"%s%.*s\"", before, SPAN_FMT(name)) };
}

bool request_flat(const struct operation_info *o, const struct json_member *members, size_t count, struct arena *a, struct json_member **out, size_t *out_count, const char **why) {
  struct json config = json_absent;
  struct json_member inner[EVENT_MEMBERS];
  size_t inner_count = 0, n = 0;
  if (o->dialect != DIALECT_GEMINI) {
    *out = arena_alloc(a, (count + 1) * sizeof **out);
    if (count) memcpy(*out, members, count * sizeof **out);
    *out_count = count;
    return true;
  }
  for (size_t i = 0; i < count; i++) {
    struct span name = name_of(a, members[i].key);
    if (span_starts(name, SPAN(CONFIG "."))) return *why = "a field 'generationConfig.…' is none: it stands in generationConfig", false;
    if (!span_eq(name, SPAN(CONFIG)) || members[i].value.type == JSON_NULL) continue;
    if (config.type != JSON_NONE) return *why = "'generationConfig' stands twice", false;
    config = members[i].value;
  }
  if (config.type != JSON_NONE && (config.type != JSON_OBJECT || !json_read_object(config.text, inner, EVENT_MEMBERS, &inner_count, NULL)))
    return *why = "'generationConfig' must be an object, with each field once", false;
  *out = arena_alloc(a, (count + inner_count + 1) * sizeof **out);
  for (size_t i = 0; i < count; i++)
    if (members[i].value.text.p != config.text.p) (*out)[n++] = (struct json_member){ key_of(a, "", members[i].key), members[i].value };
  for (size_t i = 0; i < inner_count; i++) (*out)[n++] = (struct json_member){ key_of(a, CONFIG ".", inner[i].key), inner[i].value };
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < i; k++)
      if (span_eq((*out)[i].key.text, (*out)[k].key.text)) return *why = "a field stands twice, in both of its spellings", false;
  *out_count = n;
  return true;
}

void request_nest(const struct json_member *members, size_t count, struct buf *out) {
  static const struct span start = SPAN(CONFIG ".");
  bool first = true, any = false;
  buf_byte(out, '{');
  for (size_t i = 0; i < count; i++) {
    if (span_starts(string_raw(members[i].key), start)) { any = true; continue; }
    if (!first) buf_byte(out, ',');
    first = false;
    buf_add(out, members[i].key.text);
    buf_byte(out, ':');
    buf_add(out, members[i].value.text);
  }
  if (any) buf_add(out, first ? SPAN("\"" CONFIG "\":{") : SPAN(",\"" CONFIG "\":{"));
  first = true;
  for (size_t i = 0; any && i < count; i++) {
    struct span name = string_raw(members[i].key);
    if (!span_starts(name, start)) continue;
    if (!first) buf_byte(out, ',');
    first = false;
    buf_byte(out, '"');
    buf_add(out, span_from(name, start.n));
    buf_add(out, SPAN("\":"));
    buf_add(out, members[i].value.text);
  }
  if (any) buf_byte(out, '}');
  buf_byte(out, '}');
}

/* ---- facts */
/* Signatures, files and caches are valid only where they were made. A value that reads so binds needlessly, and is escaped in texts. */
static bool is_bound(const struct json_member *members, size_t count) {
  static const struct span names[] = { SPAN("thoughtSignature"), SPAN("thought_signature"), SPAN("fileUri"), SPAN("file_uri") };
  struct span contents = json_member_of(members, count, SPAN("contents")).text;
  struct json cached = json_member_of(members, count, SPAN("cachedContent"));
  if (cached.type == JSON_STRING) return true;
  for (size_t i = 0; contents.n && i < sizeof names / sizeof *names; i++)
    if (stands_quoted(contents, names[i])) return true;
  return false;
}

bool gemini_request(const struct json_member *members, size_t count, struct request_facts *out, const char **why) {
  struct json limit = json_member_of(members, count, SPAN(CONFIG ".maxOutputTokens")), thinking = json_member_of(members, count, SPAN(CONFIG ".thinkingConfig"));
  int64_t n;
  *out = (struct request_facts){ .max_tokens = -1 };
  if (limit.type != JSON_NONE && limit.type != JSON_NULL) {
    if (limit.type != JSON_NUMBER || !json_i64(limit, &n)) return *why = "'maxOutputTokens' must be a whole number", false;
    if (n > 0) out->max_tokens = n;
  }
  struct json budget = json_in(thinking, SPAN("thinkingBudget"));
  out->reasoning = thinking.type == JSON_OBJECT && json_count(budget) != 0;
  out->bound = is_bound(members, count);
  out->metadata = json_member_of(members, count, SPAN("metadata"));
  out->litellm_metadata = json_member_of(members, count, SPAN("litellm_metadata"));
  return true;
}

/* ---- texts */
void gemini_texts(const struct json_member *members, size_t count, void (*add)(void *arg, enum gemini_role role, struct json text), void *arg) {
  struct json contents = json_member_of(members, count, SPAN("contents")), system = json_member_of(members, count, SPAN("systemInstruction")), key, content, part;
  struct json_iter parts = json_iter(json_in(system, SPAN("parts"))), i = json_iter(contents);
  while (json_next(&parts, &key, &part)) add(arg, GEMINI_SYSTEM, json_in(part, SPAN("text")));
  if (contents.type == JSON_OBJECT) i = (struct json_iter){ NULL, NULL, false };
  for (bool one = contents.type == JSON_OBJECT; one || json_next(&i, &key, &content); one = false) {
    if (one) content = contents;
    enum gemini_role role = json_string_is(json_in(content, SPAN("role")), SPAN("model")) ? GEMINI_MODEL : GEMINI_USER;
    struct json list = json_in(content, SPAN("parts"));
    parts = json_iter(list);
    while (list.type == JSON_ARRAY && json_next(&parts, &key, &part)) {
      struct json result = json_in(part, SPAN("functionResponse"));
      if (result.type != JSON_OBJECT) result = json_in(part, SPAN("function_response"));
      struct json_iter told = json_iter(json_in(result, SPAN("response")));
      struct json name, value;
      if (json_in(part, SPAN("thought")).type != JSON_TRUE) add(arg, role, json_in(part, SPAN("text")));
      while (result.type == JSON_OBJECT && json_next(&told, &name, &value)) add(arg, GEMINI_TOOL, value);
    }
  }
}

/* ---- without what is valid only where it was made: thoughts and signatures */
static void part_write(struct json part, struct buf *out) {
  struct json_iter i = json_iter(part);
  bool first = true;
  buf_byte(out, '{');
  for (struct json key, value; json_next(&i, &key, &value);) {
    if (json_string_is(key, SPAN("thoughtSignature")) || json_string_is(key, SPAN("thought_signature"))) continue;
    if (!first) buf_byte(out, ',');
    first = false;
    buf_add(out, key.text);
    buf_byte(out, ':');
    buf_add(out, value.text);
  }
  buf_byte(out, '}');
}

static void parts_write(struct json parts, struct buf *out) {
  struct json_iter i = json_iter(parts);
  bool first = true;
  buf_byte(out, '[');
  for (struct json key, part; json_next(&i, &key, &part);) {
    if (json_in(part, SPAN("thought")).type == JSON_TRUE) continue;
    if (!first) buf_byte(out, ',');
    first = false;
    if (part.type == JSON_OBJECT) part_write(part, out);
    else buf_add(out, part.text);
  }
  buf_byte(out, ']');
}

void gemini_unsigned(struct json contents, struct buf *out) {
  struct json_iter i = json_iter(contents), members;
  bool first = true;
  if (contents.type != JSON_ARRAY) { buf_add(out, contents.text); return; }
  buf_byte(out, '[');
  for (struct json none, content, key, value; json_next(&i, &none, &content); first = false) {
    bool begun = false;
    if (!first) buf_byte(out, ',');
    if (content.type != JSON_OBJECT) { buf_add(out, content.text); continue; }
    buf_byte(out, '{');
    for (members = json_iter(content); json_next(&members, &key, &value); begun = true) {
      if (begun) buf_byte(out, ',');
      buf_add(out, key.text);
      buf_byte(out, ':');
      if (json_string_is(key, SPAN("parts")) && value.type == JSON_ARRAY) parts_write(value, out);
      else buf_add(out, value.text);
    }
    buf_byte(out, '}');
  }
  buf_byte(out, ']');
}
