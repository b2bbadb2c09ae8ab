/* dialect.h: what weir understands of the providers' wire formats.
   A dialect is one file of src/dialect. In pass-through its bytes are forwarded as they are; this
   room only reads them: what was asked, what an event means, what a failure is, what was used; and
   writes what weir itself has to say in the caller's dialect. Pure, no state but the structs here. */
#ifndef WEIR_DIALECT_H
#define WEIR_DIALECT_H

#include "weir/frame.h"
#include "weir/http.h"
#include "weir/json.h"
#include "weir/mem.h"
#include "weir/sse.h"

/* Why an attempt failed; the words are promises (INTERFACE 5). */
enum fault {
  FAULT_NONE, FAULT_AUTH, FAULT_QUOTA, FAULT_RATE_LIMITED, FAULT_OVERLOADED, FAULT_CONTEXT_TOO_LONG,
  FAULT_CONTENT_FILTERED, FAULT_REFUSED, FAULT_BAD_REQUEST, FAULT_NOT_FOUND, FAULT_TIMEOUT, FAULT_CONNECTION,
  FAULT_PROTOCOL, FAULT_TLS, FAULT_EMPTY, FAULT_INVALID, FAULT_COUNT
};
const char *fault_word(enum fault f);                    /* "" for FAULT_NONE */
bool fault_named(struct span word, enum fault *out);
const char *const *fault_words(size_t *count);           /* for nearest-name messages */

enum dialect { DIALECT_CHAT, DIALECT_RESPONSES, DIALECT_MESSAGES, DIALECT_GEMINI, DIALECT_CONVERSE, DIALECT_COUNT };
const char *dialect_word(enum dialect d);                /* "chat", "responses", "messages", "gemini", "converse" */
/* Known words; "cohere" gives false and *later = true. */
bool dialect_named(struct span word, enum dialect *out, bool *later);

/* Of dialects that one provider serves side by side the first: chat for responses. */
enum dialect dialect_family(enum dialect d);

/* What a client can ask of a known route. A provider of dialect chat or responses is an OpenAI-like
   one and serves the first five; one of dialect messages the next two, one of gemini and one of converse one of the last. */
enum operation {
  OP_CHAT, OP_COMPLETIONS, OP_EMBEDDINGS, OP_RESPONSES, OP_MESSAGES, OP_COUNT_TOKENS, OP_GENERATE, OP_GENERATE_ARRAY,
  OP_GEMINI_TOKENS, OP_GEMINI_EMBED, OP_GEMINI_EMBEDS, OP_CONVERSE,
  OP_INPUT_TOKENS,                                       /* of a responses request: what count_tokens is to messages */
  OP_COUNT
};
struct operation_info {
  enum operation operation;
  enum dialect dialect;                                  /* of its errors and events */
  const char *path;                                      /* client side: "/v1/chat/completions"; with {model} in it no client asks for it */
  const char *suffix;                                    /* behind a provider's base URL: "/chat/completions"; converse has the model before it */
  bool streams;                                          /* may be asked to stream */
};
const struct operation_info *operation_info(enum operation o);
/* By exact client path, or NULL. Of a stream without alt=sse it is OP_GENERATE_ARRAY, whose answer is one list. */
const struct operation_info *operation_by_path(struct span path);
/* Gemini's paths name the model: raw, as it stands there. False: this path has none. */
bool operation_path_model(struct span path, struct span *model);
/* It asks how many tokens something is, which costs nothing; for vectors. */
static inline bool operation_counts(const struct operation_info *o) { return o->operation == OP_COUNT_TOKENS || o->operation == OP_GEMINI_TOKENS || o->operation == OP_INPUT_TOKENS; }
static inline bool operation_embeds(const struct operation_info *o) {
  return o->operation == OP_EMBEDDINGS || o->operation == OP_GEMINI_EMBED || o->operation == OP_GEMINI_EMBEDS;
}
bool operation_served(const struct operation_info *o, enum dialect provider);
/* What a provider of that dialect is asked when the dialect of the question is free. */
const struct operation_info *operation_own(enum dialect provider);
/* What stands behind the path of a provider's base URL for it: "/chat/completions", "/models/gemini-2.5-pro:generateContent"; and in
   its query, empty for nothing. Where a dialect's base has a version that this one lacks, it is added. */
/* A model's name as one segment of a path: what it holds moves nothing. */
void model_segment_write(struct span name, struct buf *out);
void operation_path(const struct operation_info *o, struct span base, struct span model, bool stream, struct buf *out);
struct span operation_query(const struct operation_info *o, bool stream);
/* As what a question of weir's own is written for it: its own operation, or chat, which is translated then. */
const struct operation_info *operation_question(enum dialect provider);

/* ---- requests */
struct request_facts {
  struct json model;                                     /* string in the body, or JSON_NONE */
  bool stream;
  bool reasoning;                                        /* asks for thinking or names an effort: the longer first-event clock */
  bool wants_usage;                                      /* chat: stream_options.include_usage is true */
  struct json stream_options;                            /* chat: as sent, or JSON_NONE */
  bool bound;                                            /* carries state valid only where it was made: previous_response_id, conversation,
                                                            item_reference, a thread, encrypted reasoning, file ids, thinking signatures */
  int64_t max_tokens;                                    /* -1: not given; of two names in one body the larger */
  struct json metadata, litellm_metadata;                /* what a caller tags it with, as sent, or JSON_NONE */
  struct span user, session;                             /* user (safety_identifier, metadata.user_id); metadata.session_id (user_id). Raw JSON
                                                            string content, in the body */
};
/* The members of a body as all of these functions take them. Gemini's stand in one level more than others': what is in its generationConfig
   are members too, "generationConfig.topP"; and each name is in the first of its two spellings. Others are copied. False: *why. */
bool request_flat(const struct operation_info *o, const struct json_member *members, size_t count, struct arena *a, struct json_member **out, size_t *out_count, const char **why);
void request_nest(const struct json_member *members, size_t count, struct buf *out);     /* a gemini body of such members */
/* members: of the body (json_read_object). false: *why says what is wrong, for a 400 ("'model' must be a string"). A missing
   model is not an error here. */
bool request_read(const struct operation_info *o, const struct json_member *members, size_t count, struct request_facts *out, const char **why);
/* The same when it is known which keys the body holds (json_read_object_keys): a body that cannot hold bound state is not walked. */
bool request_read_keys(const struct operation_info *o, const struct json_member *members, size_t count, uint64_t keys, struct request_facts *out, const char **why);
/* Text of all messages of that role ("" = all roles), joined with newlines, unescaped, appended to *out. Roles: system (also
   developer, `system`, `instructions`), user, assistant, tool. */
void request_text(const struct operation_info *o, const struct json_member *members, size_t count, struct span role, struct buf *out);
/* The instructions that begin the prompt (system, developer, `instructions`), as they stand in the body; empty: none. */
struct span request_instructions(const struct operation_info *o, const struct json_member *members, size_t count);
/* Whether the answer was asked to be JSON, with a schema or without. */
bool request_wants_json(const struct operation_info *o, const struct json_member *members, size_t count);
/* The JSON schema that it brings for its answer; JSON_NONE when it brings none. */
struct json request_schema(const struct operation_info *o, const struct json_member *members, size_t count);
/* What may be left out of a request with bound state, so that another account can serve it; a bit each. thinking: signed and
   redacted thinking, encrypted reasoning. Files, containers, references and results of hosted tools are what is asked, and stay. */
enum loss { LOSS_THINKING, LOSS_PREVIOUS_RESPONSE_ID, LOSS_CONVERSATION, LOSS_COUNT };
extern const char *const loss_words[LOSS_COUNT];
/* The body without them. Whether what is left is still bound tells request_read. */
void loss_write(const struct operation_info *o, const struct json_member *members, size_t count, uint32_t losses, struct buf *out);
void loss_messages(struct json list, struct buf *out);   /* the list of messages or items alone, without thinking */
/* The body's member that a policy's word means: messages -> "messages"/"input"/"prompt", max_tokens -> the one the caller used, else the
   operation's own name for it; stop, temperature, top_p, tools likewise. NULL: this operation has none. */
const char *request_member(const struct operation_info *o, const struct json_member *members, size_t count, struct span word);

/* A question of weir's own (weir.ask), written as a request of chat, responses or messages. */
struct question_turn { struct span role, text; };        /* role: system, user, assistant; plain text */
struct question {
  struct span model;
  const struct question_turn *turns;
  size_t turn_count;
  int64_t max_tokens;                                    /* 0: not given */
  double temperature, top_p;                             /* -1: not given */
  const struct span *stops;                              /* responses has no word for them */
  size_t stop_count;
  struct span more;                                      /* a JSON object of further members, which count for more; or empty */
  bool newer_limit;                                      /* chat: max_completion_tokens, which OpenAI's newer models insist on */
};
void question_write(const struct operation_info *o, const struct question *q, struct buf *out);

/* The most that a request can come to before anything of the answer is known. */
struct request_bounds {
  int64_t input;                                         /* tokens: no token is shorter than a byte of the body, and a few stand around it */
  bool beyond;                                           /* the model reads what is not in the body: only its window bounds the input */
  int64_t choices;                                       /* answers asked for, each of up to max_tokens */
  int64_t output;                                        /* tokens, when the request gives no limit: the operation's own; -1: the model's */
  int64_t searches;                                      /* by the provider's own tools */
  bool no_output;                                        /* embeddings, count_tokens */
  bool later;                                            /* its answer is made in the background: it goes on whoever leaves, and its usage is told elsewhere */
  bool caches, caches_1h;                                /* it asks for prompt caching; for an hour */
  bool audio_in, audio_out;
  bool fast;                                             /* it asks for speed "fast" */
  uint32_t tiers;                                        /* bit per enum service_tier it can be served at */
};
/* keys: as json_read_object_keys gave them, or ~0. */
void request_bounds(const struct operation_info *o, struct span body, const struct json_member *members, size_t count, uint64_t keys, struct request_bounds *out);
/* With one more member, or other contents of one; json.p NULL: it is left out, which makes nothing narrower. */
void request_bounds_edit(const struct operation_info *o, struct span member, struct span json, struct request_bounds *out);

/* ---- usage: what an attempt used, as its provider told. -1 is "not told" (absent is not zero); the last present value of each
   field wins. Input stands apart from what the cache did: all input is input + cache_read + cache_write + cache_write_1h, whatever
   the provider's own counts overlap. output is all output; reasoning, audio_out and image_out are told parts of it, audio_in and
   image_in of input (so that a newer total may come without its parts). weir/price.h has the disjoint classes (usage_meters). */
enum service_tier { TIER_UNTOLD, TIER_STANDARD, TIER_PRIORITY, TIER_FLEX, TIER_BATCH, TIER_COUNT };
const char *tier_word(enum service_tier t);              /* "" for TIER_UNTOLD, "standard", … */
/* Whether reasoning was counted inside the provider's output count. */
enum reasoning_place { REASONING_UNTOLD, REASONING_INSIDE, REASONING_ADDED };
struct usage {
  int64_t input, cache_read, cache_write, cache_write_1h;  /* cache_write: lives 5 minutes (or the provider's only kind) */
  int64_t output, reasoning;
  int64_t audio_in, image_in, audio_out, image_out;
  int64_t searches, tool_calls;                          /* web searches that the provider ran; calls of its other tools */
  int64_t cost;                                          /* picodollars, as the provider itself says it (OpenRouter, Perplexity, xAI) */
  uint16_t tier;                                         /* enum service_tier: the one it was served at */
  uint16_t reasoning_place;                              /* enum reasoning_place: how output came to be */
  uint16_t fast, us;                                     /* messages: served at speed "fast"; kept in the United States. 0 untold, 1 yes, 2 no */
};
#define USAGE_NONE ((struct usage){ -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0 })
void usage_merge(struct usage *into, const struct usage *newer);
/* Reads a usage object in that dialect's shape. */
void usage_read(enum dialect d, struct json usage, struct usage *out);
/* For the last usage of an attempt at a provider that is known to count reasoning beside its output: adds it, unless that was done
   or (not always) the provider's own total said that it is inside. Twice is as once. */
enum reasoning_rule { REASONING_AS_TOLD, REASONING_OUTSIDE, REASONING_ALWAYS_OUTSIDE };
void usage_reasoning(struct usage *u, enum reasoning_rule rule);

/* ---- streams */
enum event_class {
  EVENT_LIFECYCLE,                                       /* role chunks, starts, pings, comments: no content yet */
  EVENT_REAL,                                            /* non-empty text or thinking, tool name or arguments, refusal, media */
  EVENT_FINISH,                                          /* says why generation ended; may also carry text: then it is REAL with finish set */
  EVENT_TERMINATOR,                                      /* [DONE], message_stop, response.completed/incomplete */
  EVENT_ERROR,                                           /* the dialect's error event, response.failed, or an unreadable event */
};
struct event_facts {
  enum event_class class;
  bool real;                                             /* content stands in it, whatever the class */
  bool terminal;                                         /* nothing may follow it */
  struct span finish;                                    /* "stop", "length", "tool_calls", … as sent; empty when none */
  enum fault fault;                                      /* EVENT_ERROR: what it is. With finish: what a stream without content is (empty, content_filtered, refused) */
  struct span code;                                      /* of an error, as sent */
  struct span message;                                   /* of an error: raw JSON string content */
  double retry_after;                                    /* seconds, 0 unknown */
  bool has_usage;
  struct usage usage;
  struct span model;                                     /* served model, raw string content; empty when not in this event */
  bool usage_only;                                       /* chat: it says nothing but usage: `choices` is empty */
  struct span usage_null;                                /* chat: the member `"usage":null` with its comma, in place; empty when there is none */
  uint64_t deltas;                                       /* pieces of text, thinking or tools in it */
  uint64_t delta_bytes;                                  /* theirs, unescaped */
};
/* What the gateway remembers of one stream. Zeroed: fresh. Plain data: a copy is a state of its own, so an attempt and its
   client may each have one. All but the first two are event_read's and the writers' own. */
enum { EVENT_OPEN_CHOICES = 128, EVENT_OPEN_BLOCKS = 8 };
struct event_state {
  bool finished, terminated;
  bool started;                                          /* messages: message_start seen; responses: sequence holds a number; converse: metadata seen */
  bool said;                                             /* a real event was seen */
  int64_t sequence;                                      /* responses: last sequence_number, for an error event of weir's own */
  int64_t output;                                        /* messages: output_tokens as last reported */
  uint64_t choices[EVENT_OPEN_CHOICES / 64];             /* chat: bit per choice seen and not finished */
  uint64_t begun[EVENT_OPEN_CHOICES / 64];               /* responses: bit per output_index of an open item; messages: of a block ever begun */
  int32_t blocks[EVENT_OPEN_BLOCKS];                     /* messages: indexes of the open blocks */
  uint32_t block_count;
};
/* What the bytes of a stream are cut into events by: text, or AWS's frames for converse. Zeroed: at the start of a stream. */
struct event_source { struct sse sse; struct frame_reader frames; };
bool event_stream_is(const struct operation_info *o, struct span content_type);
/* As sse_feed. An error message among frames is an event "error" with { "error": { code, message, status_code } }, in scratch. */
struct step event_next(const struct operation_info *o, struct event_source *s, struct span window, struct arena *scratch, struct sse_event *out);
const char *event_broken(const struct operation_info *o, const struct event_source *s);  /* why it was BAD */
/* Reads one event of a stream. EVENT_ERROR with FAULT_PROTOCOL: data that is no JSON object (and not [DONE]), a key twice in it,
   content after the terminator, what messages and responses may not say now (content of a block or item that is not open, the end of
   a block that never was, a second start), more than DELTA_MOST pieces. Spans in out are lent from e or scratch;
   an event of one data line needs no memory. Cost of a 300 byte chunk: about twice json_read_object alone. */
void event_read(const struct operation_info *o, struct event_state *s, const struct sse_event *e, struct arena *scratch, struct event_facts *out);
/* Whether the bytes of a stream may end here: a terminator was seen (chat: [DONE], or a finish on providers that send none
   is not enough; completions likewise; gemini, which has none: each candidate has finished; converse: its finish has come). */
bool event_may_end(const struct operation_info *o, const struct event_state *s);
/* Whether an event that was just read tells all that its stream used, not only what it used so far. */
bool event_usage_whole(const struct operation_info *o, const struct event_state *s, const struct event_facts *f);

/* The pieces of an event that a policy sees, one at a time, in order. */
enum delta_kind { DELTA_TEXT, DELTA_THINKING, DELTA_TOOL, DELTA_USAGE, DELTA_FINISH };
struct delta {
  enum delta_kind kind;
  int choice;                                            /* chat choice index, output_index, 0 for messages */
  struct json text;                                      /* TEXT, THINKING: the JSON string in place in the event's data */
  int tool_index;                                        /* TOOL */
  struct json tool_id, tool_name, tool_arguments;        /* strings in place, JSON_NONE when not in this piece; a messages block that starts
                                                            with its whole input has it here as the object */
  struct span finish;
  struct usage usage;
};
enum { DELTA_MOST = 64 };
/* Gives the number of deltas (0 for lifecycle). `data` is the event's data (valid JSON), lent by out. Texts come in the order of the
   data and apart from each other, so changes of them are spliced from left to right. Where thinking is told twice in one chunk
   (reasoning and reasoning_details) it is one delta. What responses repeats at the end of an item (…done, response.completed) is none. */
size_t event_deltas(const struct operation_info *o, struct span name, struct json data, struct delta out[DELTA_MOST]);
/* Both at once, for a dialect that event_gives_deltas: what on_chunk sees costs hardly more than reading the event. */
size_t event_read_deltas(const struct operation_info *o, struct event_state *s, const struct sse_event *e, struct arena *scratch,
                         struct event_facts *out, struct delta deltas[DELTA_MOST]);
static inline bool event_gives_deltas(const struct operation_info *o) { return o->dialect == DIALECT_CHAT; }

/* ---- what the client of a stream was told. Kept where policies see the chunks: responses says a text again when its part, its item
   and the response end, chat may say its thinking twice in one chunk, and both may tell tokens beside the text; what a policy changed
   is changed there too. It knows besides what closing the stream takes. */
struct change {
  struct span from;                                      /* a value in an event's data, exact bytes */
  struct span to;                                        /* JSON that stands there instead */
};
struct changes {
  struct change *of;                                     /* in the order of the data */
  size_t count, cap;
  struct arena *arena;                                   /* of the list, and of what told_event adds */
};
void change_add(struct changes *c, struct span from, struct span to);    /* wherever it belongs in the order */
struct told;
struct told *told_new(const struct operation_info *o, size_t most);      /* most: bytes it may keep; what is over cannot be changed */
void told_free(struct told *t);                          /* NULL is fine */
/* The event comes in: as event_deltas, and a text or a tool's input that a server tells only where others repeat it is a delta too. *closed: in
   responses the choice (output_index) whose item ends here, else -1. Events are given in their order, each once. */
size_t told_deltas(struct told *t, struct span name, struct json data, struct delta out[DELTA_MOST], int *closed);
/* The same for an event whose deltas event_read_deltas gave. */
void told_seen(struct told *t, struct json data);
/* The event goes out, perhaps later, with those changes of deltas' texts (their `to` a JSON string): adds the ones that follow from
   them. False: what would have to be changed is not known any more, so it may not be sent. */
bool told_event(struct told *t, struct span name, struct json data, struct changes *c);

/* ---- whole answers */
struct answer_facts {
  enum fault fault;                                      /* FAULT_NONE: it says something. empty, content_filtered, refused, invalid (not this dialect's shape) */
  struct span finish;
  struct usage usage;
  bool has_usage;
  struct span model;
  bool has_tools;
};
/* body: a 2xx answer. FAULT_INVALID when it is not JSON, no object, or not this dialect's shape; the error's fault when it holds an
   error and nothing else. Embeddings: empty without data. Work that goes on elsewhere (background, deferred) is FAULT_NONE. */
void answer_read(const struct operation_info *o, struct span body, struct answer_facts *out);
void answer_text(const struct operation_info *o, struct json document, bool thinking, struct buf *out);

/* ---- failures */
struct failure {
  enum fault fault;
  struct span code;                                      /* as sent, raw */
  struct span message;                                   /* raw JSON string content, or empty */
  double retry_after;                                    /* seconds; -1 not given */
  bool account;                                          /* about weir's own account (401, 402, account 403): never shown to the client as it is */
};
/* From status, headers and body of a non-2xx answer, per wire/errors.md; English text is read for context_too_long alone. */
void failure_read(enum dialect d, int status, const struct http_head *head, struct span body, struct failure *out);
/* Seconds from a Retry-After (number or HTTP date, `now` = unix time, or -1: the answer's Date) or retry-after-ms; -1 when absent or bad. */
double retry_after_read(const struct http_head *head, double now);
/* What the head of an answer says is left of the limits of the account that asked; -1: it does not say. Of several counts of tokens
   the scarcest. false: it says nothing that can be used, which is a count and when it is whole again. now: unix time. */
enum { LIMITS_LONGEST = 31 * 86400 };                     /* seconds: what is told to last longer is not believed */
struct limits_told {
  int64_t requests, tokens;                              /* left */
  double requests_reset, tokens_reset;                   /* seconds until they are whole again */
};
bool limits_read(const struct http_head *h, double now, struct limits_told *out);
/* By default; never bad_request. A bit per fault. */
enum {
  FAULTS_RETRYABLE = 1u << FAULT_RATE_LIMITED | 1u << FAULT_OVERLOADED | 1u << FAULT_TIMEOUT | 1u << FAULT_CONNECTION | 1u << FAULT_PROTOCOL |
                     1u << FAULT_TLS | 1u << FAULT_EMPTY | 1u << FAULT_INVALID,
};
static inline bool fault_retryable(enum fault f) { return FAULTS_RETRYABLE >> f & 1; }

/* ---- weir's own words */
struct tried {
  struct span target;
  enum fault fault;
  int status;                                            /* 0: none came */
  unsigned ms;
};
struct error {
  int status;
  enum fault fault;
  struct span word;                                      /* weir's word when it is no fault: "denied", "capped", …; empty = fault_word */
  struct span message;                                   /* plain UTF-8 */
  struct span code;                                      /* chat, responses: the code field; empty: chosen from status and fault. messages has none */
  struct span param;
  struct span id;                                        /* request id */
  struct span hint;                                      /* what the caller can do; empty: chosen from word and fault */
  double retry_after;                                    /* seconds, where a dialect tells it in the body; 0: none */
  const struct tried *tried;
  size_t tried_count;
};
/* The JSON body of an error answer; `error.weir = { id, fault, tried, hint }` in it. status (0: fault_status) may be changed to the
   dialect's own (messages: overloaded 529, capped 402) and is given back. auth and quota of a target that was tried are never a
   status below 500, whatever status says. */
int error_write(enum dialect d, const struct error *e, struct buf *out);
/* The same as an event of a running stream (with its event: line and closing blank line), after which nothing may follow. */
void error_write_event(const struct operation_info *o, const struct event_state *s, const struct error *e, struct buf *out);
/* Status that a spent chain shows for its first fault: connection tls protocol empty invalid auth quota 502, timeout 504, rate_limited 429, overloaded 503 … */
int fault_status(enum fault f);

/* weir.answer(text): a whole answer or a whole legal stream saying `text`, usage zero. `created` is unix time. Embeddings and
   count_tokens cannot say a text: an empty list, zero tokens. */
void answer_write(const struct operation_info *o, bool stream, struct span id, struct span model, struct span text, int64_t created, struct buf *out);
/* weir.stop(why, as): closes a running stream in the dialect's order; nothing when it has ended. as: "length", "filter"; ("error" is
   error_write_event). s: what the client has seen; t: what it was told, or NULL: then responses goes straight to response.incomplete
   with no items in it, and chat chunks carry an id of weir's own. */
void stop_write(const struct operation_info *o, const struct event_state *s, const struct told *t, struct span as, struct span id, struct span model, int64_t created, struct buf *out);
void heartbeat_write(enum dialect d, struct buf *out);
/* GET /v1/models in that dialect's shape. */
void models_write(enum dialect d, const struct span *names, size_t count, int64_t created, struct buf *out);

#endif
