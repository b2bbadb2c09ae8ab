/* who.c: in whose name a request comes and what it is tagged with: weir's own headers, those of the gateways that its clients may
   have been written for, and what the dialects' bodies say of it. The first that names a thing counts; weir's own come first. What its
   key says of it no client can say otherwise: budgets count by it. */
#include "exchange.h"

enum { TAGS_MOST = 64, TAG_LONGEST = 256, NAME_LONGEST = 255 };

static struct policy_note *tag_find(const struct exchange *x, struct span key) {
  for (struct policy_note *n = x->req.tags; n; n = n->next)
    if (span_eq(n->key, key)) return n;
  return NULL;
}

static bool key_says(const struct key *k, struct span name) {
  for (size_t i = 0; k && i < k->tag_count; i++)
    if (span_eq(k->tags[i].name, name)) return true;
  return false;
}

static void tag_add(struct exchange *x, struct span key, struct span value) {
  size_t count = 0;
  if (key_says(x->req.key, key)) return;
  if (!key.n || key.n > TAG_LONGEST || value.n > TAG_LONGEST || tag_find(x, key)) return;
  for (struct policy_note *n = x->req.tags; n; n = n->next) count++;
  if (count >= TAGS_MOST) return;
  struct policy_note *n = arena_alloc(&x->arena, sizeof *n);
  *n = (struct policy_note){ x->req.tags, key, value, { 0 } };
  x->req.tags = n;
}

/* "team:search" and "team=search" name a value; a word alone is there: "true". */
static void tag_add_word(struct exchange *x, struct span word, const char *separators) {
  word = span_trim(word);
  for (size_t i = 0; i < word.n; i++) {
    if (!strchr(separators, word.p[i])) continue;
    tag_add(x, span_trim(span_of(word.p, i)), span_trim(span_from(word, i + 1)));
    return;
  }
  tag_add(x, word, SPAN("true"));
}

static void tags_of_list(struct exchange *x, struct span list, const char *separators) {
  while (list.n) {
    struct span one;
    list = span_cut(list, ',', &one);
    tag_add_word(x, one, separators);
  }
}

static struct span plain(struct exchange *x, struct json v) {
  struct span s = v.text;
  if (v.type == JSON_STRING) json_unescape(v, &x->arena, &s);
  return s;
}

static void tags_of_array(struct exchange *x, struct json list) {
  struct json_iter i = json_iter(list);
  struct json key, item;
  while (json_next(&i, &key, &item))
    if (item.type == JSON_STRING) tag_add_word(x, plain(x, item), ":=");
}

/* Scalars of an object are tags; some names mean who or which conversation. */
static void tags_of_object(struct exchange *x, struct json object) {
  if (object.type != JSON_OBJECT) return;
  struct json_iter i = json_iter(object);
  struct json key, item;
  while (json_next(&i, &key, &item)) {
    if (item.type == JSON_NONE || item.type == JSON_NULL || item.type == JSON_OBJECT) continue;
    struct span name = plain(x, key);
    if (item.type == JSON_ARRAY) {
      if (span_eq(name, SPAN("tags"))) tags_of_array(x, item);
    } else if (span_eq(name, SPAN("_user"))) {
      if (!x->req.user.n) x->req.user = plain(x, item);
    } else if (!span_eq(name, SPAN("user_id")) && !span_eq(name, SPAN("session_id"))) {
      tag_add(x, name, plain(x, item));
    }
  }
}

static void tags_of_json(struct exchange *x, struct span text) {
  struct json document;
  if (text.n && json_read(text, &document, NULL)) tags_of_object(x, document);
}

/* Seconds that the caller gives the request, in weir's own words or in those of the gateways it came from; 0: none. < 0: no number. */
static double asked_seconds(const struct http_head *h) {
  static const struct { enum http_name name; double unit; } forms[] = {
    { HTTP_WEIR_TIMEOUT, 1 }, { HTTP_LITELLM_TIMEOUT, 1 }, { HTTP_PORTKEY_TIMEOUT, 0.001 },
  };
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    struct span text = http_known(h, forms[i].name);
    double value;
    if (text.p && span_double(text, &value) && value > 0) return value * forms[i].unit;
    if (text.p && !i) return -1;                         /* others' words are taken where they make sense */
  }
  return 0;
}

static struct span first(struct span a, struct span b) { return a.n ? a : b; }

/* Names are scopes of budgets and stand in records: a long one is cut, at a whole character. */
static struct span name_of(struct span s) {
  if (s.n <= NAME_LONGEST) return s;
  s.n = NAME_LONGEST;
  while (s.n && (s.p[s.n] & 0xC0) == 0x80) s.n--;
  return s;
}

bool who_of_head(struct exchange *x) {
  struct policy_req *r = &x->req;
  const struct http_head *h = x->head;
  r->deadline = asked_seconds(h);
  r->session = first(http_known(h, HTTP_WEIR_SESSION), first(http_known(h, HTTP_LITELLM_SESSION_ID), http_known(h, HTTP_PORTKEY_TRACE_ID)));
  r->user = first(http_known(h, HTTP_LITELLM_CUSTOMER_ID), http_known(h, HTTP_LITELLM_END_USER_ID));
  if (r->key && r->key->user.n) r->user = r->key->user;
  r->session = name_of(r->session);
  r->prompt = name_of(http_known(h, HTTP_WEIR_PROMPT));
  x->wants_estimate = h->first[HTTP_WEIR_INCLUDE] && http_header_lists(h, SPAN("x-weir-include"), SPAN("estimate"));
  tags_of_list(x, http_known(h, HTTP_WEIR_TAGS), "=");
  tags_of_list(x, http_known(h, HTTP_LITELLM_TAGS), ":=");
  tags_of_json(x, http_known(h, HTTP_LITELLM_METADATA));
  tags_of_json(x, http_known(h, HTTP_PORTKEY_METADATA));
  r->user = name_of(r->user);
  return r->deadline >= 0;
}

/* s: what stands between the quotes of a string of the body. */
static struct span unescaped(struct exchange *x, struct span s) {
  if (!s.n || !memchr(s.p, '\\', s.n)) return s;
  return plain(x, (struct json){ JSON_STRING, span_of(s.p - 1, s.n + 2) });
}

void who_of_body(struct exchange *x) {
  struct policy_req *r = &x->req;
  if (!r->user.n) r->user = unescaped(x, r->facts.user);
  if (!r->session.n) r->session = unescaped(x, r->facts.session);
  tags_of_object(x, r->facts.metadata);
  tags_of_object(x, r->facts.litellm_metadata);
  r->user = name_of(r->user);
  r->session = name_of(r->session);
}
