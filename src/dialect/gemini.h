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

#endif
