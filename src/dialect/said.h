/* said.h: the middle model of an answer: what a model said, piece by piece. A reader for each dialect hears it in events or in a whole
   answer; a writer for each tells it as a stream, another as a whole answer. */
#ifndef WEIR_DIALECT_SAID_H
#define WEIR_DIALECT_SAID_H

#include "dialect_impl.h"
#include "weir/translate.h"

enum said_kind {
  SAID_TEXT, SAID_THINKING, SAID_REFUSAL,
  SAID_SIGNATURE,                     /* of the thinking under way */
  SAID_REDACTED,
  SAID_CALL, SAID_ARGUMENTS,
  SAID_CITATION, SAID_OTHER,          /* objects of the provider's own */
  SAID_BREAK,                         /* a block is over */
  SAID_FINISH,
  SAID_END,                           /* the provider's terminator */
};
enum finish { FINISH_UNTOLD, FINISH_STOP, FINISH_LENGTH, FINISH_CALLS, FINISH_FILTER };
struct said {
  enum said_kind kind;
  struct json v;                      /* a string in place; ARGUMENTS may be a whole object; FINISH: the provider's own word */
  int64_t call;                       /* CALL, ARGUMENTS */
  struct json id, name;               /* CALL */
  bool custom;                        /* CALL: its ARGUMENTS are free text, in strings */
  struct json logprobs;               /* TEXT: a list, of chat's shape */
  enum finish finish;
  struct json stop, details;          /* FINISH: which own stop was hit; more about a refusal */
};

enum { OPEN_MOST = EVENT_OPEN_BLOCKS };
struct heard_block {
  int64_t index;
  enum { HEARD_TEXT, HEARD_THINKING, HEARD_CALL, HEARD_OTHER, HEARD_HOSTED } kind;
  int64_t call;
  bool argued;
  struct span object;                 /* HOSTED: a call of the provider's own tool, whose input comes in pieces */
  struct buf input;                   /* they: raw string content */
};
/* An item of a response. Several may be open at once; what is said of those behind the first one waits until it is over. */
struct heard_item {
  struct heard_item *next;
  struct span id;                     /* raw string content */
  int64_t index, call;
  enum { ITEM_MESSAGE, ITEM_REASONING, ITEM_CALL, ITEM_CUSTOM, ITEM_OTHER } kind;
  bool over, argued, thought;
  uint64_t texts, summaries, notes;   /* a bit for each part: its text, its annotations have been said */
  int64_t part;                       /* whose text came last */
  struct said *waiting;
  size_t count, cap;
};
struct call_told {                    /* a call on its way to messages, whose blocks do not overlap */
  struct call_told *next;
  int64_t call;
  struct span id, name;               /* raw string content; name empty: not come yet */
  struct buf arguments;               /* raw string content, for the judgement whether they are whole */
  size_t sent;                        /* of them */
  bool open, over;
  bool custom, closed;                /* its text stands as { "input": text }; with its end */
};
struct partial_call;                  /* said_gemini.c */
struct citation_told {
  struct citation_told *next;
  struct span object;
  size_t from, to;                    /* writing gemini: bytes of the text said before its block, and with it; to is 0 while that is open */
};
struct text_place { struct text_place *next; size_t part, from; };       /* writing gemini: which part holds the text behind so many bytes */

struct translation {
  const struct operation_info *from, *to;
  struct translate_names names;
  struct arena arena;
  size_t most, waiting;
  struct buf *out;
  enum fault fault;
  const char *why;
  struct usage usage;
  bool has_usage;
  struct span model;                  /* raw string content, from the provider */
  bool started, ended, refused;
  enum finish finish;
  int64_t calls;
  int64_t heard_calls;                /* reading gemini, responses: calls so far */
  int heard;                          /* reading gemini: a text or thought is under way */
  bool heard_signed;                  /* and was signed */
  struct span heard_id;               /* of the answer, raw */
  struct partial_call *partial;       /* a call that comes in pieces */
  /* reading messages */
  struct heard_block blocks[OPEN_MOST];
  size_t block_count;
  bool told_usage;                    /* reading converse: metadata came */
  /* reading responses */
  struct heard_item *items, **items_end, *front;
  size_t item_count;
  struct json probable;               /* how likely the text of this event was: a list of chat's shape, until a text takes it */
  struct buf probable_text;
  struct sha256 thought;                                 /* over the thinking under way, once there is any */
  bool thought_begun;
  /* writing chat */
  uint64_t thinking_bytes, characters, block_start;
  struct span signature;
  int64_t thinking_count, citation_count, other_count;
  struct citation_told *citations, **citations_end;
  bool custom;                        /* the call under way takes free text */
  bool unwrapping;                    /* and comes as a function's, whose arguments wait */
  int64_t unwrapped;                  /* its number */
  struct buf wrapped;                 /* raw string content */
  /* writing messages */
  enum { OPEN_NONE, OPEN_TEXT, OPEN_THINKING, OPEN_CALL, OPEN_REDACTED } open;
  int64_t index;                      /* of the block that is open, or comes next */
  struct span reason, stop;           /* the provider's own word for the finish, where it is one of messages'; the stop that was hit: raw */
  struct call_told *told, **told_end;
  struct citation_told *others, **others_end;            /* objects of the provider's own */
  /* writing gemini */
  struct buf spoken;                  /* its text, plain: places of citations are counted in it */
  size_t spoken_from;                 /* where the block under way begins */
  bool spoken_cut;                    /* there was too much of it to keep */
  struct text_place *places, **places_end;
  /* Several answers at once: each behind the first is a translation of its own, which the first one keeps. */
  int64_t choice;
  struct translation *lanes, *lane_next;
  /* whole answers */
  bool whole;
  struct said *all;
  size_t all_count, all_cap;
};

void said(struct translation *t, const struct said *s);
void said_fault(struct translation *t, enum fault f, const char *why);   /* the first one counts */
/* What may still be kept. What is counted once it is kept may come to more than there was room for. */
static inline size_t said_room(const struct translation *t) { return t->waiting < t->most ? t->most - t->waiting : 0; }
void said_usage(struct translation *t, enum dialect d, struct json usage);
void said_model(struct translation *t, struct json model);
struct span said_keep(struct translation *t, struct span s);             /* counted; empty when there is no room, which is a fault */
/* Whether arguments (raw string content, or plain) are a JSON object; empty ones are. */
bool said_object(struct translation *t, struct span raw, struct span *plain);

/* A loss that shows in the answer alone. */
void said_lose(struct translation *t, struct span word);
/* The translation of one of several answers. NULL: it is not the first, and the client's dialect has no place for it (told as a loss). What
   was heard for it is over with said_lane_over, which brings its faults home. */
struct translation *said_lane(struct translation *t, int64_t choice);
void said_lane_over(struct translation *t, const struct translation *lane);
void said_lanes_sync(struct translation *t);             /* all of them know what is known of the whole: model, usage */
bool said_finished(const struct translation *t);         /* each of them has said why it ended */

/* said_beside.c: how likely words were, and sources */
void probable_hear(struct translation *t, struct json list);             /* chat's; said with the next text */
void probable_hear_gemini(struct translation *t, struct json result);
struct json probable_take(struct translation *t);
void probable_rest(struct translation *t);               /* no text took it */
void probable_write_gemini(struct json_writer *w, struct span list);     /* a member logprobsResult; nothing for an empty span */
struct buf probable_whole(const struct translation *t);  /* of the whole answer, a list; empty: none */
void ground_text(struct translation *t, struct json text);
void ground_part(struct translation *t, size_t part);    /* whole answers: text that follows stands in that part */
void ground_cite(struct translation *t, struct json citation);
void ground_break(struct translation *t);
void ground_write(struct translation *t, struct json_writer *w);         /* a member groundingMetadata, where something was cited */

void said_start(struct translation *t);                  /* the client's stream begins, if it has not */
bool said_custom(const struct translation *t, struct json name);         /* a tool that takes free text, sent as a function */
/* Of arguments (raw string content) of such a function the text, as a JSON string; what is none stays as it is. In the arena. */
struct json said_unwrapped(struct translation *t, struct span raw);

void hear_chat(struct translation *t, struct json data);
void hear_chat_whole(struct translation *t, struct json document);
void hear_messages(struct translation *t, struct span name, struct json data);
void hear_messages_whole(struct translation *t, struct json document);
void hear_gemini(struct translation *t, struct json data);
void hear_gemini_whole(struct translation *t, struct json document);
void said_partial_free(struct translation *t);           /* a call of gemini's that never ended */
void hear_converse(struct translation *t, struct span name, struct json data);
void hear_converse_whole(struct translation *t, struct json document);
void hear_responses(struct translation *t, struct span name, struct json data);
void hear_responses_whole(struct translation *t, struct json document);
void tell_chat_start(struct translation *t);
void tell_chat(struct translation *t, const struct said *s);
void tell_chat_whole(struct translation *t);
void tell_gemini_start(struct translation *t);
void tell_gemini(struct translation *t, const struct said *s);
void tell_gemini_whole(struct translation *t);
void tell_messages_start(struct translation *t);
void tell_messages(struct translation *t, const struct said *s);
void tell_messages_whole(struct translation *t);

#endif
