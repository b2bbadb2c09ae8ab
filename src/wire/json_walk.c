/* json_walk.c: moving inside values that json_read has accepted. Nothing is checked again, so what
   is not wanted is skipped at the speed of the string scanner. */
#include "json_scan.h"

static const char *skip_number(const char *at, const char *end) {
  while (at < end && *at != ',' && *at != '}' && *at != ']' && !scan_is_space(*at)) at++;
  return at;
}

static inline const char *skip_value(const char *at, const char *end) {
  switch (*at) {
  case '"': return scan_string(at + 1, end) + 1;
  case '{': case '[': return at[1] == *at + 2 ? at + 2 : SCAN_BEST(scan_container)(at, end);
  case 't': case 'n': return at + 4;
  case 'f': return at + 5;
  default:  return skip_number(at, end);
  }
}

static inline struct json value_at(const char *at, const char *end) {
  return (struct json){ scan_type(*at), span_of(at, (size_t)(skip_value(at, end) - at)) };
}

struct json_iter json_iter(struct json v) {
  if (v.type != JSON_ARRAY && v.type != JSON_OBJECT) return (struct json_iter){ NULL, NULL, false };
  return (struct json_iter){ v.text.p + 1, v.text.p + v.text.n - 1, v.type == JSON_OBJECT };
}

bool json_next(struct json_iter *i, struct json *key, struct json *item) {
  const char *at = scan_space(i->at, i->end);
  if (at == i->end) return false;
  *key = (struct json){ JSON_NONE, { NULL, 0 } };
  if (i->object) {
    const char *end = scan_string(at + 1, i->end) + 1;
    *key = (struct json){ JSON_STRING, span_of(at, (size_t)(end - at)) };
    at = scan_space(scan_space(end, i->end) + 1, i->end);
  }
  *item = value_at(at, i->end);
  at = scan_space(item->text.p + item->text.n, i->end);
  i->at = at < i->end ? at + 1 : at;
  return true;
}

/* Value of the first member of that name in the object at `at`, or NULL. Its end is not looked for:
   a path goes on inside it, and only the last value's end is of interest. */
static const char *find_member(const char *at, const char *end, struct span name) {
  at = scan_space(at + 1, end);
  while (*at != '}') {
    const char *past = scan_string(at + 1, end) + 1;
    struct json key = { JSON_STRING, span_of(at, (size_t)(past - at)) };
    at = scan_space(scan_space(past, end) + 1, end);
    if (scan_may_be(key, name) && json_string_is(key, name)) return at;
    at = scan_space(skip_value(at, end), end);
    if (*at == ',') at = scan_space(at + 1, end);
  }
  return NULL;
}

static const char *find_item(const char *at, const char *end, struct span index) {
  uint64_t left;
  if (!span_u64(index, &left)) return NULL;
  at = scan_space(at + 1, end);
  for (; *at != ']'; left--) {
    if (!left) return at;
    at = scan_space(skip_value(at, end), end);
    if (*at == ',') at = scan_space(at + 1, end);
  }
  return NULL;
}

struct json json_at(struct json v, const char *path) {
  const char *at = v.text.p, *end = at + v.text.n;
  if (v.type == JSON_NONE || !*path) return v;
  for (;;) {
    size_t n = (size_t)(strchrnul(path, '.') - path);
    at = *at == '{' ? find_member(at, end, span_of(path, n)) : *at == '[' ? find_item(at, end, span_of(path, n)) : NULL;
    if (!at) return (struct json){ JSON_NONE, { NULL, 0 } };
    if (!path[n]) return value_at(at, end);
    path += n + 1;
  }
}

struct json json_get(struct json object, struct span name) {
  const char *end = object.text.p + object.text.n;
  const char *at = object.type == JSON_OBJECT ? find_member(object.text.p, end, name) : NULL;
  return at ? value_at(at, end) : (struct json){ JSON_NONE, { NULL, 0 } };
}

/* Unescaping only shortens: of the name's own length a key is the name as it stands, and of a longer one the first byte tells most. */
struct json json_member_of(const struct json_member *members, size_t count, struct span name) {
  for (size_t i = 0; i < count; i++) {
    struct json key = members[i].key;
    if (key.text.n == name.n + 2 ? !memcmp(key.text.p + 1, name.p, name.n) : scan_may_be(key, name) && json_string_is(key, name)) return members[i].value;
  }
  return (struct json){ JSON_NONE, { NULL, 0 } };
}
