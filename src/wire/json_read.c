/* json_read.c: one strict pass over a document. The tree is walked with a stack of expected
   closing brackets, so a hostile document costs neither recursion nor memory. */
#include "json_scan.h"

/* Every read_ function gives the place after what it read, or NULL once it has failed. */
__attribute__((cold)) const char *reader_fail(struct reader *r, const char *at, const char *why) {
  r->error = (struct json_error){ (size_t)(at - r->start), why };
  return NULL;
}

/* at: after the opening quote. Gives the place after the closing one; *plain: nothing but plain ASCII. */
static inline const char *read_string(struct reader *r, const char *at, bool *plain) {
  at = scan_plain_some(at, r->end);
  if (at < r->end && *at == '"') {
    *plain = true;
    return at + 1;
  }
  at = SCAN_BEST(scan_rest_checked)(r, at, plain);
  return at ? at + 1 : NULL;
}

static const char *read_number(struct reader *r, const char *at) {
  const char *end = r->end, *digits;
  if (*at == '-') at++;
  if (at == end || (unsigned)(*at - '0') > 9) return reader_fail(r, at, "digit expected");
  at = *at == '0' ? at + 1 : scan_digits(at, end);
  if (at < end && *at == '.') {
    at = scan_digits(digits = at + 1, end);
    if (at == digits) return reader_fail(r, at, "digit expected");
  }
  if (at < end && (*at | 0x20) == 'e') {
    digits = at + 1;
    if (digits < end && (*digits == '+' || *digits == '-')) digits++;
    at = scan_digits(digits, end);
    if (at == digits) return reader_fail(r, at, "digit expected");
  }
  return at;
}

static const char *read_word(struct reader *r, const char *at, struct span word) {
  if ((size_t)(r->end - at) < word.n || memcmp(at, word.p, word.n) != 0) return reader_fail(r, at, "unknown word");
  return at + word.n;
}

/* Anything but an array or object. */
static inline const char *read_scalar(struct reader *r, const char *at) {
  bool plain;
  if (at == r->end) return reader_fail(r, at, "value expected");
  if (*at == '"') return read_string(r, at + 1, &plain);
  switch (*at) {
  case 't': return read_word(r, at, SPAN("true"));
  case 'f': return read_word(r, at, SPAN("false"));
  case 'n': return read_word(r, at, SPAN("null"));
  case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9':
    return read_number(r, at);
  default:  return reader_fail(r, at, "value expected");
  }
}

/* A key with its colon. */
static inline const char *read_key(struct reader *r, const char *at, struct json *key, bool *plain) {
  at = scan_space(at, r->end);
  if (at == r->end || *at != '"') return reader_fail(r, at, "key expected");
  const char *start = at;
  at = read_string(r, at + 1, plain);
  if (!at) return NULL;
  *key = (struct json){ JSON_STRING, span_of(start, (size_t)(at - start)) };
  at = scan_space(at, r->end);
  return at < r->end && *at == ':' ? at + 1 : reader_fail(r, at, "':' expected");
}

/* One value with all that is in it; at its first byte. It lies inside `depth` containers. */
static const char *read_tree(struct reader *r, const char *at, unsigned depth) {
  const char *end = r->end;
  unsigned base = depth;
  char closing[JSON_DEPTH + 1];
  struct json key;
  bool plain;
value:
  if (at < end && (*at == '{' || *at == '[')) {
    if (depth == JSON_DEPTH) return reader_fail(r, at, "nested too deep");
    closing[++depth] = *at == '{' ? '}' : ']';
    at = scan_space(at + 1, end);
    if (at < end && *at == closing[depth]) goto close;
    if (closing[depth] == ']') goto value;
    goto member;
  }
  at = read_scalar(r, at);
  if (!at) return NULL;
after:
  if (depth == base) return at;
  at = scan_space(at, end);
  if (at == end) return reader_fail(r, at, "the document ends too early");
  if (*at == ',') {
    at = scan_space(at + 1, end);
    if (closing[depth] == ']') goto value;
    goto member;
  }
  if (*at == closing[depth]) goto close;
  return reader_fail(r, at, closing[depth] == ']' ? "',' or ']' expected" : "',' or '}' expected");
close:
  depth--;
  at++;
  goto after;
member:
  at = read_key(r, at, &key, &plain);
  if (!at) return NULL;
  r->keys |= plain ? json_key_bit(span_of(key.text.p + 1, key.text.n - 2)) : ~0ull;
  at = scan_space(at, end);
  goto value;
}

const char *reader_value(struct reader *r, const char *at, unsigned depth) { return read_tree(r, at, depth); }

static struct reader reader_of(struct span document) {
  static const char nothing[1] = "";
  const char *start = document.n ? document.p : nothing;
  return (struct reader){ start, start + document.n, { 0, NULL }, 0 };
}

/* The first byte of the document's value, or NULL. */
static const char *read_start(struct reader *r) {
  const char *at = scan_space(r->start, r->end);
  if (at == r->end) return reader_fail(r, at, "empty document");
  if (span_starts(span_of(r->start, (size_t)(r->end - r->start)), SPAN("\xEF\xBB\xBF")))
    return reader_fail(r, at, "starts with a byte order mark");
  return at;
}

static bool read_end(struct reader *r, const char *at, struct json_error *err) {
  if (at) {
    at = scan_space(at, r->end);
    if (at != r->end) at = reader_fail(r, at, "something stands after the document");
  }
  if (err) *err = r->error;
  return at != NULL;
}

bool json_read(struct span document, struct json *out, struct json_error *err) {
  struct reader r = reader_of(document);
  const char *start = read_start(&r), *at = start ? read_tree(&r, start, 0) : NULL;
  if (!read_end(&r, at, err)) return false;
  *out = (struct json){ scan_type(*start), span_of(start, (size_t)(at - start)) };
  return true;
}

/* Names seen so far: chains by hash through the members' numbers. Whole hashes are compared first, and
   where they are to meet cannot be known from outside, since the seed is an address. */
enum { SLOTS = 64 };
struct names {
  uint16_t first[SLOTS];              /* member number + 1; 0: none */
  uint16_t next[JSON_MOST_MEMBERS];
  uint64_t hash[JSON_MOST_MEMBERS];
};

static bool names_add(struct names *n, const struct json_member *members, size_t count, bool plain) {
  struct json key = members[count].key;
  uint64_t seed = (uintptr_t)n, hash = plain ? scan_plain_hash(key, seed) : scan_name_hash(key, seed);
  uint16_t *slot = &n->first[hash % SLOTS];
  for (unsigned i = *slot; i; i = n->next[i - 1])
    if (n->hash[i - 1] == hash && scan_same_name(members[i - 1].key, key)) return false;
  n->hash[count] = hash;
  n->next[count] = *slot;
  *slot = (uint16_t)(count + 1);
  return true;
}

/* The members of the object whose first one starts at `at`. */
static const char *read_members(struct reader *r, const char *at, struct json_member *members, size_t most,
                                size_t *count) {
  struct names names;
  memset(names.first, 0, sizeof names.first);
  for (size_t i = 0;; i++) {
    struct json key;
    bool plain;
    at = read_key(r, at, &key, &plain);
    if (!at) return NULL;
    if (i == most) return reader_fail(r, key.text.p, "too many members");
    members[i].key = key;
    if (!names_add(&names, members, i, plain)) return reader_fail(r, key.text.p, "the key stands twice");
    const char *value = at = scan_space(at, r->end);
    at = at < r->end && (*at == '{' || *at == '[') ? read_tree(r, at, 1) : read_scalar(r, at);
    if (!at) return NULL;
    members[i].value = (struct json){ scan_type(*value), span_of(value, (size_t)(at - value)) };
    *count = i + 1;
    at = scan_space(at, r->end);
    if (at == r->end) return reader_fail(r, at, "the document ends too early");
    if (*at == '}') return at + 1;
    if (*at != ',') return reader_fail(r, at, "',' or '}' expected");
    at++;
  }
}

static const char *read_object(struct reader *r, const char *at, struct json_member *members, size_t most,
                               size_t *count) {
  if (*at != '{') return reader_fail(r, at, "not an object");
  at = scan_space(at + 1, r->end);
  if (at < r->end && *at == '}') return at + 1;
  return read_members(r, at, members, most < JSON_MOST_MEMBERS ? most : JSON_MOST_MEMBERS, count);
}

bool json_read_object_keys(struct span document, struct json_member *members, size_t most, size_t *count,
                           struct json_error *err, uint64_t *keys) {
  struct reader r = reader_of(document);
  const char *at = read_start(&r);
  *count = 0;
  if (at) at = read_object(&r, at, members, most, count);
  *keys = r.keys;
  if (read_end(&r, at, err)) return true;
  *count = 0;
  return false;
}

bool json_read_object(struct span document, struct json_member *members, size_t most, size_t *count,
                      struct json_error *err) {
  uint64_t keys;
  return json_read_object_keys(document, members, most, count, err, &keys);
}
