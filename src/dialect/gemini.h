/* gemini.h: what the files of the gemini dialect share. */
#ifndef WEIR_DIALECT_GEMINI_H
#define WEIR_DIALECT_GEMINI_H

#include "dialect_impl.h"

bool gemini_filtered(struct span finish);                /* why an answer, or a prompt, was withheld */
bool gemini_broken(struct span finish);                  /* the model called a tool in a way that cannot be read */
/* Why a prompt was blocked, in an answer without candidates; empty when it was not. */
struct span gemini_blocked(struct json document);

/* Gemini signs its thoughts, texts and calls, and wants each signature back on what it signed. Through clients of other dialects they
   travel in the fields that those have for signatures of thinking, with a mark that says whose they are and of what. */
enum signature_of { SIGNED_THOUGHT, SIGNED_TEXT, SIGNED_CALL };
struct json signature_mark(struct arena *a, enum signature_of of, struct span raw);       /* a JSON string; raw: content of one, perhaps empty */
/* Of a string with such a mark: what is behind it. False: it has none, so it is another provider's. */
bool signature_marked(struct json v, enum signature_of *of, struct span *raw);
/* The other way: what a provider of messages signed, or keeps back, in the field that Gemini's clients have for signatures. v: a string. */
enum wrapped { SIGNED_BY_MESSAGES, REDACTED_BY_MESSAGES };
struct json signature_wrap(struct arena *a, enum wrapped kind, struct json v);
bool signature_wrapped(struct arena *a, struct json v, enum wrapped *kind, struct json *out);

/* ---- requests, their members flat (request_flat) */
enum gemini_role { GEMINI_SYSTEM, GEMINI_USER, GEMINI_MODEL, GEMINI_TOOL };
bool gemini_request(const struct json_member *members, size_t count, struct request_facts *out, const char **why);
void gemini_texts(const struct json_member *members, size_t count, void (*add)(void *arg, enum gemini_role role, struct json text), void *arg);
void gemini_unsigned(struct json contents, struct buf *out);             /* without thoughts and signatures */

/* ---- weir's own words */
void gemini_model(struct json_writer *w, struct span name);
struct span gemini_status(int status);                   /* "INVALID_ARGUMENT" */
void gemini_details(struct json_writer *w, double retry_after);

#endif
