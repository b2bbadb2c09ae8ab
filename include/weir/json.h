/* json.h: JSON read lazily and in place, written so that it cannot be invalid.
   Bodies are large and weir changes one value in them, so nothing is turned into a tree: a document
   is validated in one pass, its members are found as spans, numbers keep their text, and a change
   is a splice of one span. */
#ifndef WEIR_JSON_H
#define WEIR_JSON_H

#include "weir/mem.h"

enum { JSON_DEPTH = 128 };

enum json_type { JSON_NONE, JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json_error {
  size_t at;                          /* byte offset */
  const char *why;                    /* static text */
};

/* A value in place: `text` is its exact bytes, quotes or brackets included. */
struct json {
  enum json_type type;
  struct span text;
};

/* Validates a whole document: RFC 8259 grammar, UTF-8 (no BOM), depth at most JSON_DEPTH, nothing
   but white space after it. Lone surrogate escapes are allowed here (json_unescape tells).
   Strings are looked at 16 to 64 bytes at a time (SSE2; AVX2 where the processor has it; plain words
   elsewhere). err->at is the first fault, but within a string's 64 bytes another may be named first.
   err may be NULL. */
bool json_read(struct span document, struct json *out, struct json_error *err);

/* As json_read for a document that must be an object, and fills members[0..*count) with its top
   level members in the order of the document, in the same single pass. More than `most` members
   (at most JSON_MOST_MEMBERS), or a key that stands twice (compared unescaped and ASCII case-folded,
   U+017F being an s and U+212A a k) is an error: some servers read the first, some the last, some
   match "Model". *count is 0 then. */
enum { JSON_MOST_MEMBERS = 1024 };
struct json_member {
  struct json key;                    /* the string with its quotes */
  struct json value;
};
bool json_read_object(struct span document, struct json_member *members, size_t most, size_t *count,
                      struct json_error *err);
/* The same, and tells which keys may stand in the document below its top level, whose keys are in `members`: a bit per length and last
   character, so that a reader that looks for rare keys need not walk a long document that cannot hold them. A key with escapes sets
   every bit. */
bool json_read_object_keys(struct span document, struct json_member *members, size_t most, size_t *count, struct json_error *err, uint64_t *keys);
/* Length and last character: so the usual names of a chat body do not meet the rare ones of bound state. */
static inline uint64_t json_key_bit(struct span name) { return name.n ? 1ull << ((name.n + 2u * (unsigned char)name.p[name.n - 1]) & 63) : 1; }
#define JSON_KEY_BIT(literal) (1ull << ((sizeof(literal) - 1 + 2u * (unsigned char)(literal)[sizeof(literal) - 2]) & 63))   /* a constant */
/* The member of that name (key compared unescaped, exact case), or a value of type JSON_NONE. */
struct json json_member_of(const struct json_member *members, size_t count, struct span name);

/* Walking inside values that json_read has accepted: no check is made again and nothing is
   allocated. Iteration: struct json_iter i = json_iter(v); while (json_next(&i, &key, &item)) … */
struct json_iter {
  const char *at, *end;
  bool object;
};
struct json_iter json_iter(struct json v);                               /* of an array or object; else empty */
bool json_next(struct json_iter *i, struct json *key, struct json *item);  /* key NONE in arrays */
/* Member by path "choices.0.delta.content": names and array indexes, exact case, JSON_NONE when
   something on the way is absent or of another type. Duplicates: the first one is taken. */
struct json json_at(struct json v, const char *path);
struct json json_get(struct json object, struct span name);

/* Whether a string value equals text once unescaped. */
bool json_string_is(struct json v, struct span text);
/* The string's content. Without escapes it is lent from the document, else made in the arena.
   false when it holds a lone surrogate escape (*out then has U+FFFD there). */
bool json_unescape(struct json v, struct arena *a, struct span *out);
bool json_i64(struct json v, int64_t *out);                   /* whole numbers only ("1e3" and "2.0" too) */
bool json_f64(struct json v, double *out);                    /* false beyond a double's range ("1e400") */

/* Writers into a buf. */
void json_write_string(struct buf *b, struct span utf8);       /* quoted and escaped; bad UTF-8 becomes U+FFFD */
void json_write_escaped(struct buf *b, struct span utf8);      /* the same without the quotes */
void json_write_f64(struct buf *b, double v);                  /* shortest text that reads back; not finite: null */

/* A writer that keeps count of commas and nesting: calls out of order are a check() failure and
   leave the document valid (a container that may not stand is left out whole, a key without a value
   gets null). Zeroed state plus out is a fresh one. */
struct json_writer {
  struct buf *out;
  unsigned depth;                     /* open containers, at most JSON_DEPTH */
  unsigned skipped;                   /* open containers that were refused */
  uint64_t seen[JSON_DEPTH / 64 + 1]; /* bit per depth: something stands there already */
  uint64_t objects[JSON_DEPTH / 64 + 1];
  bool after_key;
};
void json_begin(struct json_writer *w, char open);             /* '{' or '[' */
void json_end(struct json_writer *w, char close);
void json_key(struct json_writer *w, struct span name);
void json_str(struct json_writer *w, struct span s);
void json_int(struct json_writer *w, int64_t v);
void json_num(struct json_writer *w, double v);
void json_bool(struct json_writer *w, bool v);
void json_null(struct json_writer *w);
void json_raw(struct json_writer *w, struct span valid_json);

#endif
