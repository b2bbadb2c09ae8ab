/* measure.c: how much a request says, and what kind of model it needs. */
#include "dialect_impl.h"
#include "weir/measure.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

const char *const ability_words[ABLE_COUNT] = {
  "images", "pdf", "audio", "tools", "parallel_tools", "json_schema", "prefill", "temperature",
};

/* ---- how much. Rules of thumb for today's tokenizers; a run of one character makes long tokens. */
enum { RUN_SHORT = 4 };
static const double per_letter = 1 / 4.8, per_digit = 0.45, per_sign = 0.6, of_2_bytes = 0.55, of_3_bytes = 0.8, of_4_bytes = 1.8;
static const double in_run = 1 / 16.0, per_image = 1000, per_message = 4, per_tools_byte = 1 / 4.2, per_document_byte = 1 / 60.0, per_audio_byte = 1 / 500.0;

/* Kinds of bytes; the others of a character of several are NOTHING. */
enum { NOTHING, LETTER, DIGIT, SIGN, OF_2, OF_3, OF_4, ESCAPE, KINDS };
static const unsigned char kinds[256] = {
  [0 ... 0x1f] = SIGN, ['!' ... '/'] = SIGN, [':' ... '@'] = SIGN, ['['] = SIGN, [']' ... '`'] = SIGN, ['{' ... 0x7f] = SIGN,
  [' '] = LETTER, ['a' ... 'z'] = LETTER, ['A' ... 'Z'] = LETTER, ['0' ... '9'] = DIGIT, ['\\'] = ESCAPE,
  [0xc0 ... 0xdf] = OF_2, [0xe0 ... 0xef] = OF_3, [0xf0 ... 0xff] = OF_4,
};

/* How many of the sixteen bytes at p are letters and spaces before anything else is, with the byte before them known; none where three
   bytes in a row are the same, the first two perhaps before p (run). Most text is counted so, without a look at each byte. */
static size_t letters(const char *p, bool run) {
#ifdef __SSE2__
  __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p), before = _mm_loadu_si128((const __m128i *)(const void *)(p - 1));
  __m128i place = _mm_sub_epi8(_mm_or_si128(v, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
  __m128i letter = _mm_cmpeq_epi8(_mm_min_epu8(place, _mm_set1_epi8(25)), place);
  unsigned counted = (unsigned)_mm_movemask_epi8(_mm_or_si128(letter, _mm_cmpeq_epi8(v, _mm_set1_epi8(' '))));
  unsigned n = (unsigned)__builtin_ctz(~counted), same = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, before)) & ((1u << n) - 1);
  return same & (same >> 1 | run) ? 0 : n;
#else
  (void)p, (void)run;
  return 0;
#endif
}

static void text_measure(struct span raw, struct request_measure *m) {
  size_t n[KINDS] = { 0 }, again[KINDS] = { 0 }, others = 0;
  unsigned run = 0;
  int before = -1;
  for (size_t i = 0; i < raw.n; i++) {
    if (i && raw.n - i >= 16 && (unsigned char)raw.p[i - 1] == before) {
      size_t plain = letters(raw.p + i, run);
      if (plain) {
        i += plain;
        if (i == raw.n) break;
        before = (unsigned char)raw.p[i - 1];
        run = before == (unsigned char)raw.p[i - 2];
      }
    }
    unsigned char c = (unsigned char)raw.p[i], kind = kinds[c];
    if (c != before) run = 0;
    else again[kind] += ++run > RUN_SHORT;
    before = c;
    if (kind == LETTER) continue;                        /* most are, and what nobody counts costs least */
    others++;
    n[kind]++;
    if (kind != ESCAPE) continue;
    bool unicode = i + 1 < raw.n && raw.p[i + 1] == 'u';
    n[unicode ? OF_3 : SIGN]++;
    i += unicode ? 5 : 1;
    others += unicode ? 5 : 1;
  }
  n[LETTER] = raw.n > others ? raw.n - others : 0;
  for (int k = LETTER; k <= SIGN; k++) {
    double count = (double)(n[k] - again[k]) + (double)again[k] * in_run;
    m->of[k == LETTER ? PART_TEXT : PART_SIGNS] += count * (k == LETTER ? per_letter : k == DIGIT ? per_digit : per_sign);
  }
  m->of[PART_OTHER] += (double)n[OF_2] * of_2_bytes + (double)n[OF_3] * of_3_bytes + (double)n[OF_4] * of_4_bytes;
}

static bool one_of(struct json key, const struct span *names, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (key_is(key, names[i])) return true;
  return false;
}
#define ONE_OF(key, names) one_of((key), (names), sizeof (names) / sizeof *(names))

/* Encoded bytes, which no tokenizer sees: the kind of media decides. */
static const struct span binary[] = { SPAN("data"), SPAN("file_data"), SPAN("bytes"), SPAN("url"), SPAN("image_url"), SPAN("file_url"), SPAN("uri"), SPAN("fileUri") };
static const struct span silent[] = {
  SPAN("type"), SPAN("role"), SPAN("id"), SPAN("tool_call_id"), SPAN("tool_use_id"), SPAN("call_id"), SPAN("signature"), SPAN("encrypted_content"),
  SPAN("media_type"), SPAN("mimeType"), SPAN("mime_type"), SPAN("file_id"), SPAN("cache_control"), SPAN("thoughtSignature"), SPAN("thought_signature"),
};

static void media_measure(struct json key, struct json v, double per_byte, struct request_measure *m) {
  struct span text = string_raw(v);
  bool inside = !key_is(key, SPAN("url")) || span_starts(text, SPAN("data:"));
  m->of[PART_MEDIA] += per_byte > 0 ? (inside ? (double)text.n * per_byte : per_image) : per_image;
}

static void value_measure(struct json key, struct json v, double media, struct request_measure *m);

/* What the bytes in an object are, as it says itself: 0 a picture, else tokens for each byte. The first of these names that it has tells. */
static double kind_of_media(struct json object, double outer) {
  static const struct span tell[] = {
    SPAN("media_type"), SPAN("mimeType"), SPAN("mime_type"), SPAN("image_url"), SPAN("input_audio"), SPAN("file"), SPAN("file_data"),
  };
  enum { TYPES = 3, IMAGE = 3, AUDIO, NONE = sizeof tell / sizeof *tell };
  size_t first = NONE;
  struct span type = { NULL, 0 };
  struct json_iter i = json_iter(object);
  char room[64];
  for (struct json key, v; json_next(&i, &key, &v);) {
    if (key_escaped(key)) key = key_plain(key, room);
    for (size_t k = 0; k < first; k++) {
      if (!key_is(key, tell[k])) continue;
      if (k < TYPES && !string_full(v)) break;
      if (k < TYPES) type = string_raw(v);
      first = k;
    }
  }
  if (first < TYPES) return span_starts(type, SPAN("image/")) ? 0 : span_starts(type, SPAN("audio/")) ? per_audio_byte : per_document_byte;
  return first == IMAGE ? 0 : first == AUDIO ? per_audio_byte : first == NONE ? outer : per_document_byte;
}

static void object_measure(struct json object, double media, struct request_measure *m) {
  struct json_iter i = json_iter(object);
  double kind = kind_of_media(object, media);
  for (struct json key, v; json_next(&i, &key, &v);) {
    if (key_is(key, SPAN("role"))) m->of[PART_FRAME] += per_message;
    if (!ONE_OF(key, silent)) value_measure(key, v, kind, m);
  }
}

static void value_measure(struct json key, struct json v, double media, struct request_measure *m) {
  struct json_iter i = json_iter(v);
  struct json none, item;
  switch (v.type) {
  case JSON_STRING:
    if (ONE_OF(key, binary)) media_measure(key, v, media, m);
    else text_measure(string_raw(v), m);
    break;
  case JSON_ARRAY:
    while (json_next(&i, &none, &item))
      if (item.type == JSON_NUMBER) m->of[PART_SIGNS] += 1;              /* a prompt may be a list of token numbers */
      else value_measure(key, item, media, m);
    break;
  case JSON_OBJECT: object_measure(v, media, m); break;
  default: break;
  }
}

void request_measure(const struct json_member *members, size_t count, struct request_measure *out) {
  static const struct span said[] = {
    SPAN("messages"), SPAN("input"), SPAN("prompt"), SPAN("system"), SPAN("instructions"), SPAN("contents"), SPAN("systemInstruction"),
    SPAN("system_instruction"), SPAN("suffix"), SPAN("message"), SPAN("documents"),
  };
  static const struct span schemas[] = { SPAN("tools"), SPAN("functions"), SPAN("toolConfig"), SPAN("response_format"), SPAN("text"), SPAN("output_config") };
  *out = (struct request_measure){ .of[PART_FRAME] = per_message };
  for (size_t i = 0; i < count; i++) {
    if (ONE_OF(members[i].key, said)) value_measure(members[i].key, members[i].value, 0, out);
    else if (ONE_OF(members[i].key, schemas)) out->of[PART_TOOLS] += (double)members[i].value.text.n * per_tools_byte;
  }
}

/* ---- what it needs */
static unsigned media_type_needs(struct span type) {
  if (span_starts(type, SPAN("image/"))) return ABLE_BIT(ABLE_IMAGES);
  if (span_starts(type, SPAN("audio/"))) return ABLE_BIT(ABLE_AUDIO);
  return span_starts(type, SPAN("application/pdf")) ? ABLE_BIT(ABLE_PDF) : 0;
}

/* "data:application/pdf;base64,…" */
static unsigned data_url_needs(struct json v) {
  struct span text = string_raw(v);
  return span_starts(text, SPAN("data:")) ? media_type_needs(span_from(text, 5)) : 0;
}

static unsigned object_needs(struct json o) {
  static const struct span types[] = { SPAN("media_type"), SPAN("mimeType"), SPAN("mime_type") };
  struct json type = json_in(o, SPAN("type"));
  unsigned needs = 0;
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) needs |= media_type_needs(string_raw(json_in(o, types[i])));
  if (json_string_is(type, SPAN("image_url")) || json_string_is(type, SPAN("input_image")) || json_string_is(type, SPAN("image"))) needs |= ABLE_BIT(ABLE_IMAGES);
  if (json_string_is(type, SPAN("input_audio"))) needs |= ABLE_BIT(ABLE_AUDIO);
  return needs | data_url_needs(json_in(o, SPAN("file_data")));
}

/* What callers hand to their own tools may look like anything. */
static const struct span own_data[] = { SPAN("arguments"), SPAN("input"), SPAN("args"), SPAN("parameters"), SPAN("input_schema"), SPAN("response") };

static unsigned value_needs(struct json v) {
  struct json_iter i = json_iter(v);
  unsigned needs = v.type == JSON_OBJECT ? object_needs(v) : 0;
  for (struct json key, item; json_next(&i, &key, &item);)
    if ((item.type == JSON_OBJECT || item.type == JSON_ARRAY) && !(v.type == JSON_OBJECT && ONE_OF(key, own_data))) needs |= value_needs(item);
  return needs;
}

static bool may_hold_media(uint64_t keys) {
#define KEY(name) json_key_bit(SPAN(name))
  const uint64_t rare = KEY("image_url") | KEY("source") | KEY("input_audio") | KEY("file_data") | KEY("inlineData") | KEY("inline_data") | KEY("fileData");
  return keys & rare;
}

static bool begun_answer(struct json list) {
  struct json_iter i = json_iter(list);
  struct json key, item, last = json_absent;
  while (list.type == JSON_ARRAY && json_next(&i, &key, &item)) last = item;
  return json_string_is(json_in(last, SPAN("role")), SPAN("assistant"));
}

static bool other_than_one(struct json v) {
  double n;
  return v.type == JSON_NUMBER && json_f64(v, &n) && (n < 1 || n > 1);
}

unsigned request_needs(const struct operation_info *o, const struct json_member *members, size_t count, uint64_t keys) {
  unsigned needs = 0;
  bool media = may_hold_media(keys), schema = false;
  for (size_t i = 0; i < count; i++) {
    struct json key = members[i].key, v = members[i].value;
    bool list = v.type == JSON_ARRAY && json_iter(v).at != json_iter(v).end;
    if (key_is(key, SPAN("tools")) && list) needs |= ABLE_BIT(ABLE_TOOLS);
    else if (key_is(key, SPAN("parallel_tool_calls")) && v.type == JSON_TRUE) needs |= ABLE_BIT(ABLE_PARALLEL_TOOLS);
    else if (key_is(key, SPAN("temperature")) && other_than_one(v)) needs |= ABLE_BIT(ABLE_TEMPERATURE);
    else if (media && list && (key_is(key, SPAN("messages")) || key_is(key, SPAN("input")) || key_is(key, SPAN("contents")))) needs |= value_needs(v);
    if (o->operation == OP_MESSAGES && key_is(key, SPAN("messages")) && begun_answer(v)) needs |= ABLE_BIT(ABLE_PREFILL);
    schema |= key_is(key, SPAN("response_format")) || key_is(key, SPAN("text")) || key_is(key, SPAN("output_config")) || key_is(key, SPAN("output_format"));
  }
  if (schema && request_schema(o, members, count).type == JSON_OBJECT) needs |= ABLE_BIT(ABLE_JSON_SCHEMA);
  return needs & ABLE_BIT(ABLE_TOOLS) ? needs : needs & ~ABLE_BIT(ABLE_PARALLEL_TOOLS);
}
