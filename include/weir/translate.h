/* translate.h: one dialect said in another: chat and messages both ways, responses and gemini as providers of both.
   Requests, whole answers and streams go over the middle model of src/dialect/talk.h and said.h: a dialect is read into it by one
   file and written from it by another, so that a further dialect is no matter of pairs. What both can say stays exact (texts,
   numbers and schemas keep their bytes); what the other one can only come near to is done and named (a loss); what it cannot say is
   refused, with the field's place and what is nearest. Nothing is left out in silence. Pure. */
#ifndef WEIR_TRANSLATE_H
#define WEIR_TRANSLATE_H

#include "weir/dialect.h"

/* What a provider of that dialect is asked when a client asks o: o itself, its counterpart in the provider's dialect, or NULL when
   neither is served there. */
const struct operation_info *operation_at(const struct operation_info *o, enum dialect provider);

/* ---- requests */
enum {
  TRANSLATE_LIMIT = 4096,                                /* messages' max_tokens, where nobody knows the model's own */
  TRANSLATE_LEAST = 16,                                  /* the least output that responses takes as a limit */
};
/* Tokens of thinking for an effort (minimal, low, medium, high, xhigh, max), where one dialect names it and the other counts. */
enum { TRANSLATE_BUDGETS = 6 };
extern const int64_t translate_budgets[TRANSLATE_BUDGETS];
extern const char *const translate_efforts[TRANSLATE_BUDGETS];
struct translating {
  struct arena *arena;                                   /* of all that is told below, and of what is made on the way */
  struct span model;                                     /* as the provider knows it */
  struct span provider;                                  /* its name: thinking that another one signed is left out. Empty: not looked at */
  int64_t max_output;                                    /* the model's limit; 0 unknown */
  bool old_limit_name;                                   /* chat: max_tokens, for servers that know nothing newer */
  bool ask_usage;                                        /* chat: a stream's usage is asked for */
  const int64_t *budgets;                                /* NULL: translate_budgets */
  int8_t reasoning;                                      /* the model thinks: 1, 0, -1 nobody knows */
  bool stream;                                           /* gemini as a client: its path asks for a stream */
  bool strict;                                           /* what would be a loss is refused */
  const struct span *allowed;                            /* words of fields that may be left out (weir.allow_loss) */
  size_t allowed_count;
  /* told: */
  struct span losses;                                    /* "seed, metadata"; empty: exact */
  int64_t limit;                                         /* the output limit where the request gave none and one must stand there; 0 else */
  struct span *customs;                                  /* names of tools that take free text and were sent as functions of one string */
  size_t custom_count;
  bool one_call;                                         /* at most one was asked for, and the provider cannot be kept to it: of an answer's calls the first is kept */
  struct span field, why;                                /* refused: "messages[2].content[0].input_audio", a sentence */
};
/* members: of a body (json_read_object). False: refused. */
bool translate_request(const struct operation_info *from, const struct operation_info *to, const struct json_member *members, size_t count,
                       struct translating *t, struct buf *out);
/* Adds a word to a list of losses, once. */
void loss_add(struct buf *words, struct span word);
/* The words that weir.allow_loss takes, beside those of loss_words. */
extern const char *const translate_words[];
extern const size_t translate_word_count;

#define TRANSLATE_SEAL "weir1:"                          /* begins signatures of thinking on their way through a client of another dialect */

/* ---- answers. Usage is written as weir counted it (usage_read), so that no count is told twice or left out. */
struct translate_names {
  struct span id;                                        /* weir's request id: the answer's own is made of it */
  struct span model;                                     /* where the provider names none */
  struct span provider;                                  /* its name, which goes with signatures of thinking; may be empty */
  int64_t created;                                       /* unix time */
  bool usage;                                            /* chat streams: the client asked for the usage */
  const struct span *customs;                            /* as translating told them */
  size_t custom_count;
  bool one_call;                                         /* likewise */
  struct buf *losses;                                    /* words of what the answer holds and the client's dialect has no place for are added: "tools, phase". May be NULL */
};
/* A 2xx answer that answer_read has found good. False and *why: it cannot be said, as tool arguments that are no JSON object. */
bool translate_answer(const struct operation_info *from, const struct operation_info *to, struct span body, const struct translate_names *n,
                      struct buf *out, const char **why);

/* A stream. What it writes is legal in the client's dialect whatever comes in: blocks open and close in turn, tools are numbered from
   zero, the terminator stands at the provider's own end alone. */
struct translation;
struct translation *translation_new(const struct operation_info *from, const struct operation_info *to, const struct translate_names *n,
                                    size_t most);        /* most: bytes that may wait for their turn */
/* One event of the provider's, which event_read has found in order and no error. Gives the fault that the stream has run into, FAULT_NONE
   while it is well; *why then. What was written before stands in out, and an error event may follow it. */
enum fault translation_event(struct translation *t, const struct sse_event *e, struct buf *out, const char **why);
/* The provider's bytes have ended where its dialect has no event for the end (event_may_end). */
enum fault translation_end(struct translation *t, struct buf *out, const char **why);
void translation_free(struct translation *t);            /* NULL is fine */

#endif
