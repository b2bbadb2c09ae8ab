/* JSON against jansson (what is accepted and what it says), against a plain check of names, against
   itself (both kinds of block, a value spliced in place of another, strings written and read again). */
#include "../src/wire/json_scan.h"
#include "jansson_tree.h"
#include "weir/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void string_same(struct json ours, struct span theirs) {
  struct arena a = { 0 };
  struct buf b = { 0 };
  struct span text, again;
  struct json read;
  require(json_unescape(ours, &a, &text));
  require(span_eq(text, theirs));
  require(json_string_is(ours, text));
  json_write_string(&b, text);
  require(json_read(buf_span(&b), &read, NULL) && json_unescape(read, &a, &again) && span_eq(text, again));
  buf_free(&b);
  arena_end(&a);
}

static void number_same(struct json ours, const void *theirs) {
  int64_t whole = 0;
  double real = 0, again = 0;
  struct buf b = { 0 };
  struct json read;
  if (tree_type(theirs) == TREE_INTEGER) require(json_i64(ours, &whole) && whole == tree_integer(theirs));
  require(json_f64(ours, &real));
  again = tree_type(theirs) == TREE_REAL ? tree_real(theirs) : real;
  require(memcmp(&real, &again, sizeof real) == 0);
  json_write_f64(&b, real);
  require(json_read(buf_span(&b), &read, NULL) && json_f64(read, &again) && memcmp(&real, &again, sizeof real) == 0);
  buf_free(&b);
}

static size_t count_of(struct json v) {
  struct json_iter i = json_iter(v);
  struct json key, item;
  size_t n = 0;
  while (json_next(&i, &key, &item)) n++;
  return n;
}

static void value_same(struct json ours, const void *theirs);

static void object_same(struct json ours, const void *theirs) {
  struct json_iter i = json_iter(ours);
  struct json key, item;
  if (count_of(ours) != tree_count(theirs)) return;    /* duplicates: the last one counts there */
  while (json_next(&i, &key, &item)) {
    struct arena a = { 0 };
    struct span name;
    require(json_unescape(key, &a, &name));
    void *value = tree_member(theirs, name);
    require(value && json_get(ours, name).text.p == item.text.p);
    value_same(item, value);
    arena_end(&a);
  }
}

static void value_same(struct json ours, const void *theirs) {
  struct json_iter i = json_iter(ours);
  struct json key, item;
  size_t n = 0;
  enum tree_type type = tree_type(theirs);
  switch (ours.type) {
  case JSON_NULL:   require(type == TREE_NULL); break;
  case JSON_FALSE:  require(type == TREE_FALSE); break;
  case JSON_TRUE:   require(type == TREE_TRUE); break;
  case JSON_NUMBER: require(type == TREE_INTEGER || type == TREE_REAL); number_same(ours, theirs); break;
  case JSON_STRING: require(type == TREE_STRING); string_same(ours, tree_string(theirs)); break;
  case JSON_OBJECT: require(type == TREE_OBJECT); object_same(ours, theirs); break;
  case JSON_ARRAY:
    require(type == TREE_ARRAY && count_of(ours) == tree_count(theirs));
    while (json_next(&i, &key, &item)) value_same(item, tree_item(theirs, n++));
    break;
  default: require(false);
  }
}

/* Every member's name once unescaped and folded, plainly. */
static struct span folded(struct json key, struct arena *a) {
  struct span s;
  char *to, *at;
  (void)json_unescape(key, a, &s);
  at = to = arena_cstr(a, s);
  for (size_t i = 0; i < s.n; i++) {
    struct span rest = span_from(s, i);
    if (span_starts(rest, SPAN("\xC5\xBF"))) *at++ = 's', i += 1;
    else if (span_starts(rest, SPAN("\xE2\x84\xAA"))) *at++ = 'k', i += 2;
    else *at++ = ascii_lower(s.p[i]);
  }
  return span_of(to, (size_t)(at - to));
}

/* No key anywhere below v may lack its bit. */
static void keys_told(struct json v, uint64_t keys) {
  struct json_iter i = json_iter(v);
  struct json key, item;
  while (json_next(&i, &key, &item)) {
    struct arena a = { 0 };
    struct span name;
    if (key.type == JSON_STRING && json_unescape(key, &a, &name)) require(keys & json_key_bit(name));
    keys_told(item, keys);
    arena_end(&a);
  }
}

static void members_same(struct span document, struct json v) {
  enum { MOST = 32 };
  struct json_member members[MOST];
  struct span names[MOST];
  struct json_iter i = json_iter(v);
  struct json key, item;
  struct arena a = { 0 };
  size_t n = 0, count;
  bool twice = false;
  while (n < MOST && json_next(&i, &key, &item)) {
    names[n] = folded(key, &a);
    for (size_t k = 0; k < n; k++) twice |= span_eq(names[k], names[n]);
    n++;
  }
  uint64_t keys;
  bool whole = !json_next(&i, &key, &item), ok = json_read_object_keys(document, members, MOST, &count, NULL, &keys);
  for (size_t k = 0; ok && k < count; k++) keys_told(members[k].value, keys);
  require(ok == (v.type == JSON_OBJECT && whole && !twice));
  i = json_iter(v);
  for (size_t k = 0; ok && k < count; k++) {
    require(json_next(&i, &key, &item));
    require(span_eq(key.text, members[k].key.text) && key.text.p == members[k].key.text.p);
    struct json value = members[k].value;
    require(item.type == value.type && item.text.p == value.text.p && item.text.n == value.text.n);
  }
  arena_end(&a);
}

/* One value of the document, chosen by the input, in place of another: what stands around it stays. */
static void splice(struct json v, size_t choice) {
  struct json_iter i = json_iter(v);
  struct json key, item, target = { JSON_NONE, { NULL, 0 } }, with = { JSON_NULL, SPAN("null") };
  size_t n = count_of(v), at = 0;
  if (!n) return;
  for (size_t k = 0; json_next(&i, &key, &item); k++) {
    if (k == choice % n) target = item, at = k;
    if (k == choice / 7 % n) with = item;
  }
  struct buf b = { 0 };
  struct json again;
  buf_add(&b, span_of(v.text.p, (size_t)(target.text.p - v.text.p)));
  buf_add(&b, with.text);
  buf_add(&b, span_of(target.text.p + target.text.n, (size_t)(v.text.p + v.text.n - target.text.p - target.text.n)));
  require(json_read(buf_span(&b), &again, NULL) && again.text.n == buf_size(&b));
  struct json_iter was = json_iter(v), is = json_iter(again);
  struct json old_key, old_item;
  for (size_t k = 0; k < n; k++) {
    require(json_next(&was, &old_key, &old_item) && json_next(&is, &key, &item));
    require(key.type == old_key.type && span_eq(key.text, old_key.text));
    require(span_eq(item.text, k == at ? with.text : old_item.text));
  }
  require(!json_next(&is, &key, &item));
  buf_free(&b);
}

/* The first few places that could be strings, by each kind of block. */
static void blocks_same(struct span s) {
#if WEIR_SIMD > 1
  if (!__builtin_cpu_supports("avx2")) return;
  size_t at = 0;
  for (int k = 0; k < 4 && (at += span_find(span_from(s, at), '"')) < s.n; k++) {
    struct reader base = { .start = s.p, .end = s.p + s.n }, avx2 = base, avx512 = base;
    bool plain[3] = { false, false, false };
    const char *p = s.p + ++at;
    if ((at > 1 && p[-2] & 0x80) || (at > 2 && p[-3] & 0x80)) continue;     /* scan_rest_checked may rely on it */
    const char *one = scan_rest_checked_base(&base, p, &plain[0]), *two = scan_rest_checked_avx2(&avx2, p, &plain[1]);
    require(one == two && (one ? plain[0] == plain[1] : base.error.why && avx2.error.why));
    if (!scan_avx512()) continue;
    const char *three = scan_rest_checked_avx512(&avx512, p, &plain[2]);
    require(one == three && (one ? plain[0] == plain[2] : avx512.error.why != NULL));
  }
#else
  (void)s;
#endif
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  struct span document = span_of((const char *)data, n);
  struct json v = { JSON_NONE, { NULL, 0 } };
  struct json_error err = { SIZE_MAX, NULL };
  bool ok = json_read(document, &v, &err), on_purpose = false;
  bool nul = n && memchr(data, 0, n);             /* jansson takes one after the value for the end */
  void *theirs = nul ? NULL : tree_read(document, &on_purpose);
  blocks_same(document);
  if (!ok) {
    require(err.at <= n && err.why);
    require(!theirs || strcmp(err.why, "nested too deep") == 0);
    struct json_member members[4];
    size_t count;
    require(!json_read_object(document, members, 4, &count, NULL) && count == 0);
  } else {
    require(theirs || on_purpose);
    require(v.text.p >= document.p && v.text.p + v.text.n <= document.p + n);
    if (theirs) value_same(v, theirs);
    members_same(document, v);
    splice(v, n * 31 + data[n / 2]);
  }
  tree_free(theirs);
  return 0;
}
