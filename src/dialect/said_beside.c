/* said_beside.c: what an answer tells beside its text: how likely its words were (of chat and gemini, both ways), and the sources that it cites,
   as gemini has them. */
#include "said.h"

/* ---- how likely words were: among weir's own a list of chat's shape */
static bool any(struct json list) { return list.type == JSON_ARRAY && json_iter(list).at != json_iter(list).end; }

void probable_hear(struct translation *t, struct json list) { t->probable = any(list) ? list : json_absent; }

struct json probable_take(struct translation *t) {
  struct json list = t->probable;
  t->probable = json_absent;
  return list;
}

void probable_rest(struct translation *t) {
  static const struct json nothing = { JSON_STRING, { "\"\"", 2 } };
  if (t->probable.type == JSON_ARRAY && !t->finish) said(t, &(struct said){ .kind = SAID_TEXT, .v = nothing, .logprobs = t->probable });
  t->probable = json_absent;
}

/* { token, tokenId, logProbability }; the bytes of a token are not told. False: it is no such object. */
static bool token_read(struct json_writer *w, struct json token) {
  struct json text = json_in(token, SPAN("token")), value = json_in(token, SPAN("logProbability"));
  if (text.type != JSON_STRING) return false;
  json_begin(w, '{');
  field_raw(w, SPAN("token"), text.text);
  field_raw(w, SPAN("logprob"), value.type == JSON_NUMBER ? value.text : SPAN("0"));       /* a value that is zero is left out */
  field_null(w, SPAN("bytes"));
  return true;
}

static void tops_read(struct json_writer *w, struct json list) {
  struct json_iter i = json_iter(list);
  struct json key, item;
  field_array(w, SPAN("top_logprobs"));
  while (list.type == JSON_ARRAY && json_next(&i, &key, &item))
    if (token_read(w, item)) json_end(w, '}');
  json_end(w, ']');
}

void probable_hear_gemini(struct translation *t, struct json result) {
  struct json chosen = json_in(result, SPAN("chosenCandidates")), tops = json_in(result, SPAN("topCandidates")), key, item, top;
  struct json_iter i = json_iter(chosen), k = json_iter(tops);
  struct json_writer w = { .out = &t->probable_text };
  bool more = tops.type == JSON_ARRAY;
  t->probable = json_absent;
  if (!any(chosen)) return;
  buf_clear(&t->probable_text);
  json_begin(&w, '[');
  while (json_next(&i, &key, &item)) {
    top = json_absent;
    more = more && json_next(&k, &key, &top);
    if (!token_read(&w, item)) continue;
    tops_read(&w, json_in(top, SPAN("candidates")));
    json_end(&w, '}');
  }
  json_end(&w, ']');
  struct json list = { JSON_ARRAY, buf_span(&t->probable_text) };
  if (t->whole) list.text = arena_copy(&t->arena, list.text);
  probable_hear(t, list);
}

static bool token_write(struct json_writer *w, struct json token) {
  struct json text = json_in(token, SPAN("token")), value = json_in(token, SPAN("logprob"));
  if (text.type != JSON_STRING || value.type != JSON_NUMBER) return false;
  json_begin(w, '{');
  field_raw(w, SPAN("token"), text.text);
  field_raw(w, SPAN("logProbability"), value.text);
  json_end(w, '}');
  return true;
}

void probable_write_gemini(struct json_writer *w, struct span list) {
  struct json v = { JSON_ARRAY, list }, key, item, other;
  if (!list.n) return;
  field_object(w, SPAN("logprobsResult"));
  field_array(w, SPAN("topCandidates"));
  for (struct json_iter i = json_iter(v); json_next(&i, &key, &item);) {
    struct json tops = json_in(item, SPAN("top_logprobs"));
    struct json_iter k = json_iter(tops);
    json_begin(w, '{');
    field_array(w, SPAN("candidates"));
    while (tops.type == JSON_ARRAY && json_next(&k, &key, &other)) token_write(w, other);
    json_end(w, ']');
    json_end(w, '}');
  }
  json_end(w, ']');
  field_array(w, SPAN("chosenCandidates"));
  for (struct json_iter i = json_iter(v); json_next(&i, &key, &item);) token_write(w, item);
  json_end(w, ']');
  json_end(w, '}');
}

struct buf probable_whole(const struct translation *t) {
  struct buf list = { 0 };
  for (size_t i = 0; i < t->all_count; i++) {
    struct span some = t->all[i].logprobs.text;
    if (!some.n) continue;
    buf_byte(&list, buf_size(&list) ? ',' : '[');
    buf_add(&list, span_of(some.p + 1, some.n - 2));
  }
  if (buf_size(&list)) buf_byte(&list, ']');
  return list;
}

/* ---- sources: other dialects count in characters of the text, gemini in bytes */
enum {
  SPOKEN_MOST = 256 << 10,             /* of the text that is kept to count in */
  SPOKEN_CHOICES = 8,                  /* of so many answers */
  CITED_MOST = 128,                    /* each is looked for in that text */
  SEGMENT_MOST = 4096,                 /* of a segment's own text: it may be left out */
};

void ground_text(struct translation *t, struct json text) {
  struct arena scratch = { 0 };
  struct span plain;
  t->spoken_cut |= text.text.n > SPOKEN_MOST - buf_size(&t->spoken) || t->choice >= SPOKEN_CHOICES;
  if (t->spoken_cut) return;
  json_unescape(text, &scratch, &plain);
  buf_add(&t->spoken, plain);
  arena_end(&scratch);
}

void ground_part(struct translation *t, size_t part) {
  struct text_place *p = arena_alloc(&t->arena, sizeof *p);
  *p = (struct text_place){ NULL, part, buf_size(&t->spoken) };
  *t->places_end = p;
  t->places_end = &p->next;
}

void ground_break(struct translation *t) {
  for (struct citation_told *c = t->citations; c; c = c->next)
    if (!c->to) c->to = buf_size(&t->spoken);
  t->spoken_from = buf_size(&t->spoken);
}

/* Chat's count from the start of the answer, those of others from that of their block. What cites no page has no place here. */
void ground_cite(struct translation *t, struct json v) {
  struct json inner = json_in(v, SPAN("url_citation")), about = inner.type == JSON_OBJECT ? inner : v;
  if (!string_full(json_in(about, SPAN("url"))) || t->spoken_cut || t->citation_count == CITED_MOST) { said_lose(t, SPAN("annotations")); return; }
  struct citation_told *c = arena_zero(&t->arena, sizeof *c);
  c->object = said_keep(t, about.text);
  c->from = inner.type == JSON_OBJECT ? 0 : t->spoken_from;
  if (!c->object.n) return;
  t->citation_count++;
  *t->citations_end = c;
  t->citations_end = &c->next;
}

/* The byte where a character begins, or the text ends. False: the text is shorter. */
static bool byte_at(struct span text, size_t from, int64_t characters, size_t *at) {
  for (*at = from; *at < text.n; (*at)++) {
    if (((unsigned char)text.p[*at] & 0xC0) == 0x80) continue;
    if (!characters--) return true;
  }
  return !characters;
}

/* Which bytes of the text it is about. False: nobody can tell. */
static bool cited_bytes(struct translation *t, const struct citation_told *c, size_t *from, size_t *to) {
  struct json v = { JSON_OBJECT, c->object };
  struct span text = buf_span(&t->spoken);
  int64_t start = json_count(json_in(v, SPAN("start_index"))), end = json_count(json_in(v, SPAN("end_index")));
  bool placed = start >= 0 && end >= start;
  *from = c->from;
  *to = c->to ? c->to : text.n;
  if (!placed || json_in(v, SPAN("content")).type == JSON_STRING) said_lose(t, SPAN("annotations"));        /* its whole block is told, and no words of the page */
  if (placed && !(byte_at(text, c->from, start, from) && byte_at(text, *from, end - start, to))) { said_lose(t, SPAN("annotations")); return false; }
  return *to > *from && !t->spoken_cut;
}

static void support_write(struct translation *t, struct json_writer *w, int64_t chunk, size_t from, size_t to) {
  const struct text_place *place = NULL;
  for (const struct text_place *p = t->places; p && p->from <= from; p = p->next) place = p;
  size_t base = place ? place->from : 0;
  if (place && place->next && to > place->next->from) to = place->next->from, said_lose(t, SPAN("annotations"));    /* a segment is of one part */
  json_begin(w, '{');
  field_object(w, SPAN("segment"));
  if (place && place->part) field_int(w, SPAN("partIndex"), (int64_t)place->part);
  field_int(w, SPAN("startIndex"), (int64_t)(from - base));
  field_int(w, SPAN("endIndex"), (int64_t)(to - base));
  if (to - from <= SEGMENT_MOST) field_str(w, SPAN("text"), span_of(t->spoken.p + t->spoken.at + from, to - from));
  json_end(w, '}');
  field_array(w, SPAN("groundingChunkIndices"));
  json_int(w, chunk);
  json_end(w, ']');
  json_end(w, '}');
}

void ground_write(struct translation *t, struct json_writer *w) {
  int64_t chunk = 0;
  if (!t->citations) return;
  field_object(w, SPAN("groundingMetadata"));
  field_array(w, SPAN("groundingChunks"));
  for (const struct citation_told *c = t->citations; c; c = c->next) {
    struct json v = { JSON_OBJECT, c->object }, title = json_in(v, SPAN("title"));
    json_begin(w, '{');
    field_object(w, SPAN("web"));
    field_raw(w, SPAN("uri"), json_in(v, SPAN("url")).text);
    if (title.type == JSON_STRING) field_raw(w, SPAN("title"), title.text);
    json_end(w, '}');
    json_end(w, '}');
  }
  json_end(w, ']');
  field_array(w, SPAN("groundingSupports"));
  for (const struct citation_told *c = t->citations; c; c = c->next, chunk++) {
    size_t from, to;
    if (cited_bytes(t, c, &from, &to)) support_write(t, w, chunk, from, to);
  }
  json_end(w, ']');
  json_end(w, '}');
}
