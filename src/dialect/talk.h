/* talk.h: the middle model of a request. A reader for each dialect fills it from a body, a writer for each makes a body of it.
   Strings, numbers and schemas are values in place, so that they keep their bytes. A reader takes the members of an object one by
   one; what it did not take is a loss, so nothing can be forgotten by mistake. */
#ifndef WEIR_DIALECT_TALK_H
#define WEIR_DIALECT_TALK_H

#include "dialect_impl.h"
#include "weir/translate.h"

/* Where a value stands, for messages: messages[2].content[0]. */
struct place {
  const struct place *up;
  struct span name;                   /* empty: an item of a list */
  size_t index;
};

enum part_kind {
  PART_TEXT, PART_REFUSAL, PART_IMAGE, PART_PDF, PART_AUDIO, PART_THINKING, PART_REDACTED, PART_CALL, PART_RESULT,
  PART_FILE,                          /* CAN_FILES: other files, documents at an address, files that were uploaded */
};
struct part {
  struct part *next;
  enum part_kind kind;
  const struct place *place;
  bool plain;                         /* it was the whole content, as a string */
  bool error;                         /* RESULT: the tool failed */
  bool answered;                      /* CALL: a result of it was read */
  bool titled;                        /* PDF: the model is shown the title */
  bool custom;                        /* CALL, RESULT: of a tool that takes free text; arguments are that text, plain (CAN_CUSTOM) */
  struct json text;                   /* TEXT, REFUSAL, THINKING: string. REDACTED: its data. PDF, FILE: its title */
  struct json signature;              /* THINKING: string, NONE when nobody signed it */
  struct json url;                    /* IMAGE, FILE at an address: string */
  struct json file;                   /* IMAGE, FILE that was uploaded: its id */
  struct json detail;                 /* IMAGE: string (CAN_DETAIL) */
  struct span mime, data;             /* IMAGE, PDF, AUDIO, FILE inline: raw content of JSON strings */
  struct span id;                     /* CALL, RESULT: plain */
  struct json name;                   /* CALL: string */
  struct span arguments;              /* CALL: a JSON object; with CAN_ARGUMENTS any text */
  struct json cache;                  /* cache_control: object */
  struct part *inner, **inner_end;    /* RESULT */
};
enum role { ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT };
struct turn {
  struct turn *next;
  enum role role;
  const struct place *place;
  struct part *parts, **end;
};
struct tool {
  struct tool *next;
  struct json name, description, schema, strict, cache;
  bool aside;                         /* it is told, and may not be called now */
  bool custom, wrapped;               /* it takes free text (CAN_CUSTOM); it does, and stands as a function of one string here */
  struct json grammar;                /* custom: { syntax, definition } */
};
/* A field without a place of its own here. The writer takes those that its dialect has; of the others some are a loss, and some cannot
   be left out. */
struct extra {
  struct extra *next;
  struct span word;
  const struct place *place;
  const char *instead;                /* NULL: a loss; else refused, and what is nearest */
  struct json v;                      /* NONE: the request's member of that word */
};
enum effort { EFFORT_UNTOLD, EFFORT_NONE, EFFORT_MINIMAL, EFFORT_LOW, EFFORT_MEDIUM, EFFORT_HIGH, EFFORT_XHIGH, EFFORT_MAX };
enum choice { CHOICE_UNTOLD, CHOICE_AUTO, CHOICE_NONE, CHOICE_ANY, CHOICE_ONE };
/* What only some writers say. A reader gives it to those alone; for the others it is a loss or a refusal at once, or said otherwise. */
enum {
  CAN_DETAIL = 1, CAN_CUSTOM = 2, CAN_FILES = 4, CAN_ARGUMENTS = 8, CAN_ALLOWED = 16, CAN_DISPLAY = 32, CAN_FORMAT_NOTE = 64,
};
struct talk {
  struct translating *how;
  enum dialect from, to;
  uint32_t can;                       /* CAN_… of the writer */
  struct arena *arena;
  bool failed;
  struct buf losses;
  uint64_t steps;                     /* talk_step */
  bool custom_calls;                  /* reading chat: a part is CALL, custom */
  size_t documents;                   /* converse: named so far */
  struct buf thought;                 /* reading gemini: raw content of a thought that comes in pieces */
  struct part *thought_part;          /* and its part */
  struct turn *turns, **turns_end;    /* without the instructions at the start */
  struct part *system, **system_end;
  struct tool *tools, **tools_end;
  struct extra *extras;
  enum choice choice;
  struct json choice_name;
  const struct place *narrowed;       /* what says that some tools stand aside; NULL: nothing does */
  bool one_call;                      /* no parallel calls */
  const struct object *body;
  bool stream;
  struct json max_tokens, temperature, top_p;
  struct json stops;                  /* a string or a list of them */
  enum effort effort;
  int64_t budget;                     /* of thinking; 0 untold */
  bool shown;                         /* thinking is to be told (CAN_DISPLAY) */
  const struct place *effort_place;
  bool effort_named, effort_counted;  /* messages: the effort was a word beside `thinking`; it was made of a budget */
  bool claude;                        /* converse: the model takes `thinking` as messages have it */
  struct json thinking;               /* then: the object */
  enum { FORMAT_TEXT, FORMAT_JSON, FORMAT_SCHEMA } format;
  struct json format_name, schema, format_strict, format_note;
  const struct place *format_place;
  struct json user;                   /* who asks: string */
  const struct place *user_place;
  enum { TIER_FIELD_UNTOLD, TIER_FIELD_AUTO, TIER_FIELD_STANDARD } tier;
};

/* ---- places and verdicts */
const struct place *place_in(struct talk *t, const struct place *up, const char *name);
const struct place *place_at(struct talk *t, const struct place *up, size_t index);
/* The field is left out, or said less exactly: told, or refused where losses are. */
void talk_lose(struct talk *t, const struct place *place, struct span word);
/* Of writers whose dialect keeps caches without being asked. */
void part_lose_cache(struct talk *t, const struct part *p);
/* It cannot be said. Without a word that a policy may allow, or where none did, the request is refused. instead: what is nearest. */
void talk_refuse(struct talk *t, const struct place *place, struct span word, const char *instead);
void talk_wrong(struct talk *t, const struct place *place, const char *why);     /* the request itself is wrong */

/* Before each item of one list that is looked through for an item of another. False: there were so many that the request is refused, in
   place of a worker that is away for minutes. */
bool talk_step(struct talk *t);
/* Sets aside the tools that are not named. */
void tools_keep(struct talk *t, const struct span *names, size_t count);

/* ---- objects whose every member is accounted for */
struct object {
  struct talk *talk;
  const struct place *place;
  struct json_member *members;
  size_t count;
  bool *taken;
};
bool object_open(struct talk *t, struct json v, const struct place *place, struct object *out);    /* false: refused, it is none or has a key twice */
struct json object_take(struct object *o, const char *name);             /* JSON_NONE when absent or null */
struct json object_take_type(struct object *o, const char *name, enum json_type type);   /* another type: refused */
const struct place *object_place(const struct object *o, const char *name);
void object_rest(struct object *o);                                      /* what was not taken is lost, by its own name */
bool json_given(struct json v);
size_t list_length(struct json list);                                    /* view.c; 0 of what is no list */

/* ---- building */
struct turn *turn_add(struct talk *t, enum role role, const struct place *place);
struct part *part_add(struct talk *t, struct part ***end, enum part_kind kind, const struct place *place);
struct tool *tool_add(struct talk *t);
void extra_add(struct talk *t, const struct place *place, struct span word, const char *instead);
void extra_value(struct talk *t, const struct place *place, struct span word, const char *instead, struct json v);
struct json extra_take(struct talk *t, const char *word);                /* the writer says it: its value, or NONE */
void extras_settle(struct talk *t);                                      /* what no writer took */
struct span talk_string(struct talk *t, struct json v);                  /* a string's plain content */
struct json talk_quoted(struct talk *t, struct span plain);              /* a JSON string of it, made */
struct json talk_joined(struct talk *t, struct span before, struct json string, struct span behind);   /* the same around one */

/* A signature, or redacted thinking, back from a client: *value as its provider gave it. False: told as a loss, since it is another
   provider's, or it or the thinking (text) was changed. */
bool talk_unseal(struct talk *t, struct json *value, struct json text, const struct place *place);

enum effort effort_of_budget(const struct talk *t, int64_t tokens);      /* the highest that it pays for; never max, which few know */

/* Ids of calls: messages takes letters, digits, _ and - alone. Others are written so that they can be read back. */
struct span id_narrow(struct arena *a, struct span id);
struct span id_widen(struct arena *a, struct span id);

void field_data_url(struct json_writer *w, struct span name, struct span mime, struct span data);   /* "data:image/png;base64,…" */

void talk_read_chat(struct talk *t, struct object *body);
void talk_read_messages(struct talk *t, struct object *body);
void talk_read_gemini(struct talk *t, struct object *body);
void talk_write_chat(struct talk *t, struct buf *out);
void talk_write_messages(struct talk *t, struct buf *out);
void talk_write_gemini(struct talk *t, struct buf *out);
void talk_write_converse(struct talk *t, struct buf *out);

/* talk_write_messages.c: what converse does as messages do */
/* Turns of one role that follow each other become one; instructions among them the user's. False: refused, since the first is not the user's. */
bool talk_alternates(struct talk *t);
bool talk_instructs(struct talk *t);                                     /* anything stands in t->system, JSON mode as an instruction; more than text is refused */
bool part_says_nothing(const struct part *p);
int64_t effort_budget(const struct talk *t, enum effort e);              /* tokens of thinking */
/* talk_write_converse.c */
bool converse_is_claude(struct span model);
void talk_write_responses(struct talk *t, struct buf *out);

#endif
