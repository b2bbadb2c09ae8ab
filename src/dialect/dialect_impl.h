/* dialect_impl.h: what the files of this folder share. A dialect is a struct of functions; event.c,
   answer.c and failure.c are the same for all and call them. */
#ifndef WEIR_DIALECT_IMPL_H
#define WEIR_DIALECT_IMPL_H

#include "../wire/json_pull.h"
#include "weir/dialect.h"
#include "weir/sha256.h"

/* Most top level members of one event; no provider sends a quarter of it. */
enum { EVENT_MEMBERS = PULL_NAMES };

static const struct json json_absent = { JSON_NONE, { NULL, 0 } };

/* ---- walking. Pieces are met one by one; a sink says what becomes of them. */
struct pieces {
  struct delta *out;                  /* NULL: they are only counted */
  struct buf *text;                   /* when set: text (or thinking) is appended here, unescaped */
  struct arena *scratch;              /* for text */
  bool thinking;                      /* text takes thinking instead of text */
  int last_choice;                    /* of what stands in text, -1 nothing */
  bool real, tools;
  size_t count;                       /* deltas; may be more than DELTA_MOST, then only so many are in out */
  size_t content;                     /* of them text, thinking and tool parts */
  uint64_t bytes;                     /* of text and arguments, unescaped */
  struct span finish;                 /* the first one */
};

/* Most members looked for are absent, and so is what would be in them. */
static inline struct json json_in(struct json object, struct span name) {
  return object.type == JSON_OBJECT ? json_get(object, name) : json_absent;
}
static inline struct json json_under(struct json v, const char *path) {
  return v.type == JSON_OBJECT || v.type == JSON_ARRAY ? json_at(v, path) : json_absent;
}

/* Content of a string value as it stands, without its quotes; empty for anything else. */
static inline struct span string_raw(struct json v) {
  return v.type == JSON_STRING ? span_of(v.text.p + 1, v.text.n - 2) : (struct span){ NULL, 0 };
}
static inline bool string_full(struct json v) { return v.type == JSON_STRING && v.text.n > 2; }
/* The other way: such content as a string again. */
static inline void buf_quote(struct buf *out, struct span raw) {
  buf_byte(out, '"'), buf_add(out, raw), buf_byte(out, '"');
}
static inline struct json string_of(struct arena *a, struct span raw) {
  struct buf b = { 0 };
  buf_quote(&b, raw);
  struct json v = { JSON_STRING, arena_copy(a, buf_span(&b)) };
  buf_free(&b);
  return v;
}

/* Keys are compared as bytes first. One that is written with escapes ("\u0063hoices") is rare and means the same to a
   client, so a walk that found no name for a key asks key_escaped and then goes on with key_plain. A letter's escape
   takes six bytes and no name looked for is shorter than four letters: a key of ten bytes, quotes included, needs no
   look. */
static inline bool key_is(struct json key, struct span name) {
  return key.text.n == name.n + 2 && memcmp(key.text.p + 1, name.p, name.n) == 0;
}
static inline bool key_escaped(struct json key) {
  return key.text.n > 10 && memchr(key.text.p, '\\', key.text.n) != NULL;
}
/* The key's value in plain bytes when it fits in room, quotes included; else the key itself. */
struct json key_plain(struct json key, char room[64]);

/* Whether "name" in quotes, a key or a value, stands somewhere in the text. name: at most 30 bytes. */
static inline bool stands_quoted(struct span text, struct span name) {
  char needle[32];
  needle[0] = '"';
  memcpy(needle + 1, name.p, name.n);
  needle[name.n + 1] = '"';
  return span_search(text, span_of(needle, name.n + 2)) < text.n;
}

/* Bytes of a string's content once unescaped. */
uint64_t string_bytes(struct json v);
int64_t json_count(struct json v);                       /* a count of tokens: 0..1e15, else -1 */
/* The sum of counts from a list of any length, within the same bounds. to: 0 or more. */
static inline int64_t usage_add(int64_t to, int64_t n) {
  const int64_t most = 1000000000000000;
  return n <= 0 ? to : n < most - to ? to + n : most;
}
bool json_truthy(struct json v);                         /* as JavaScript has it */

/* What an event said that turns out to be none, or to be an error, does not count. */
static inline void pieces_forget(struct pieces *p) { *p = (struct pieces){ .out = p->out }; }
void piece_text(struct pieces *p, enum delta_kind kind, int choice, struct json string);
/* One part of a tool call; members that are absent, null or "" are left out. */
void piece_tool(struct pieces *p, int choice, int index, struct json id, struct json name, struct json arguments);
void piece_finish(struct pieces *p, int choice, struct span finish);
void piece_usage(struct pieces *p, const struct usage *usage);

/* ---- one dialect */
struct reading {
  const struct operation_info *operation;
  struct event_state *state;
  struct span name;                   /* of the event: line */
  struct span data;
  const struct json_member *members;
  size_t count;
  struct event_facts *out;
  uint64_t choices[EVENT_OPEN_CHOICES / 64];             /* as they were in *state */
  bool inside;                        /* the value of `inner` was read on the way */
};
/* What an answer holds, before the fault is decided. */
struct answer_parts {
  bool shaped;                        /* it has this dialect's shape */
  bool pending;                       /* it names work that goes on elsewhere (background, deferred) */
  struct json error;                  /* the error in a 2xx, or NONE */
  struct json usage, model;
  struct usage counts;                /* what usage says, when it was read on the way: `counted` */
  bool counted;
  struct json tier;                   /* service_tier beside the usage */
  int64_t searches, tool_calls;       /* told by the items of the answer and not by its usage; 0 none */
};
struct dialect_impl {
  /* The member of a data object whose value, an array or object that begins with `opens`, is read while it is checked. What was
     found counts once *event is called. No name: there is none. */
  struct span inner;
  char opens;
  void (*inside)(struct reading *r, struct json_pull *value, struct pieces *p);
  /* A whole answer in one pass, as `answer` below; false: it is no JSON object. NULL: json_read comes first. */
  bool (*whole)(const struct operation_info *o, struct span body, struct answer_parts *parts, struct pieces *p);
  /* Reads a data object into *r->out: class, finish, fault, usage, model, error. */
  void (*event)(struct reading *r, struct pieces *p);
  /* The same event's pieces alone, for event_deltas. */
  void (*pieces)(const struct operation_info *o, struct span name, struct json data, struct pieces *p);
  void (*usage)(struct json usage, struct usage *out);
  void (*answer)(const struct operation_info *o, struct json document, struct answer_parts *parts, struct pieces *p);
  /* What an answer that said nothing is, from why it ended. */
  enum fault (*silence)(struct span finish);
  /* Phrases that mean the prompt is longer than the model's window; lower case, NULL at the end. */
  const char *const *overflow;
};
extern const struct dialect_impl dialect_chat, dialect_responses, dialect_messages, dialect_gemini, dialect_converse;
const struct dialect_impl *dialect_impl(enum dialect d);

/* ---- seal.c: signatures of thinking, as a client carries them. Without a provider's name nothing is sealed, and all is taken. */
void seal_begin(struct sha256 *s);
void seal_text(struct sha256 *s, struct json string);    /* thinking that it belongs to, piece by piece */
struct json seal_close(struct arena *a, const struct sha256 *s, struct span provider, struct json value);   /* a JSON string */
/* value: plain; text: of the thinking, plain. False: it is not this provider's, or was changed. */
bool seal_open(struct arena *a, struct span text, struct span provider, struct span *value);

/* Input, cached and output counts of both OpenAI shapes, which differ in names alone. */
struct usage_names { struct span input, input_details, output, output_details; };
void usage_read_openai(struct json usage, const struct usage_names *names, struct usage *out);
void usage_pull_openai(struct json_pull *pull, const struct usage_names *names, struct usage *out);      /* the object that comes next */
void usage_tier(struct json tier, struct usage *out);    /* "priority", "flex", …; anything else changes nothing */

/* ---- failures */
/* Reads an error (a body, an event's data, or the error object itself) that came with `status`, 0 for an event. */
void error_read(enum dialect d, int status, struct json document, struct failure *out);
/* Makes *out an error event as `document` tells it. */
void event_fail(enum dialect d, struct json document, struct event_facts *out);
void event_protocol(struct event_facts *out, struct span why);   /* why: a literal, no escapes */

/* What the caller can do: the error's own hint, or one by its word and fault; empty: none is known. */
struct span error_hint(const struct error *e);

/* ---- writing */
static inline void event_begin(struct buf *out, struct span name) {
  if (name.n) buf_add(out, SPAN("event: ")), buf_add(out, name), buf_byte(out, '\n');
  buf_add(out, SPAN("data: "));
}
static inline void event_end(struct buf *out) { buf_add(out, SPAN("\n\n")); }
static inline void field_str(struct json_writer *w, struct span name, struct span value) {
  json_key(w, name), json_str(w, value.p ? value : SPAN(""));
}
static inline void field_int(struct json_writer *w, struct span name, int64_t value) {
  json_key(w, name), json_int(w, value);
}
static inline void field_bool(struct json_writer *w, struct span name, bool value) {
  json_key(w, name), json_bool(w, value);
}
static inline void field_null(struct json_writer *w, struct span name) { json_key(w, name), json_null(w); }
static inline void field_raw(struct json_writer *w, struct span name, struct span json) {
  json_key(w, name), json_raw(w, json);
}
static inline void field_quoted(struct json_writer *w, struct span name, struct span raw) {   /* raw: as string_raw gives it */
  struct buf b = { 0 };
  buf_quote(&b, raw);
  field_raw(w, name, buf_span(&b));
  buf_free(&b);
}
static inline void field_object(struct json_writer *w, struct span name) { json_key(w, name), json_begin(w, '{'); }
static inline void field_array(struct json_writer *w, struct span name) { json_key(w, name), json_begin(w, '['); }

#endif
