/* mock.h: weir-mock, a provider that speaks the dialects and misbehaves on request; for the demo, the tests and the benchmark.

   A request's behaviour is a spec, "word=value; word; …", taken from the first of: the header x-mock; the model name
   ("mock-429", "mock-stall": the presets of spec.c; or "mock;status=503;delay=20"); the next line of --script. */
#ifndef WEIR_MOCK_H
#define WEIR_MOCK_H

#include "weir/http.h"
#include "weir/io.h"
#include "weir/json.h"

/* What one request gets. Events are counted from 1; 0: never. Times in milliseconds. */
struct spec {
  int status;                         /* 200 */
  double retry_after;                 /* seconds; < 0: no header */
  struct span code, type;             /* of an error body */
  unsigned delay, first, gap;         /* before the head; before the first event; between events */
  unsigned events;                    /* pieces of text in a stream (default: the words of the text) */
  unsigned stall, reset, cut, end, bad, error;   /* after event k: silence; RST; close; clean end without terminator; a broken event; an error event */
  unsigned tools;                     /* tool calls instead of text */
  unsigned size;                      /* text of so many bytes */
  unsigned split;                     /* send at most so many bytes at a time */
  long input, output, cached, reasoning;   /* usage; input < 0: none is reported */
  bool empty, garbage, html, json, hang, drop, no_length, no_done, refuse, close;
  struct span text, finish, model, play;
};
/* Adds a spec's words to what is there. False: *why names the word. */
bool spec_read(struct spec *s, struct span text, struct arena *a, const char **why);
struct spec spec_default(void);
/* "mock-429" -> its spec; p NULL when the name is no preset. */
struct span spec_preset(struct span model);

/* What a body of that route asks. */
enum mock_route { ROUTE_CHAT, ROUTE_COMPLETIONS, ROUTE_EMBEDDINGS, ROUTE_RESPONSES, ROUTE_MESSAGES, ROUTE_COUNT_TOKENS, ROUTE_CONVERSE,
                  ROUTE_GENERATE, ROUTE_GEMINI_TOKENS, ROUTE_GEMINI_EMBED, ROUTE_ECHO };
struct ask {
  enum mock_route route;
  bool stream, wants_usage;
  bool list;                          /* gemini: a stream as one list */
  struct span model;
  struct span body;
};
/* A whole answer of the route's dialect; an error body; one stream as pieces, each an event or more that are sent in one go. */
void say_whole(const struct ask *q, const struct spec *s, struct buf *out);
void say_error(const struct ask *q, const struct spec *s, struct buf *out);
struct pieces {
  struct span *list;
  size_t count, first;                /* first: index of the first one with content */
};
void say_stream(const struct ask *q, const struct spec *s, struct arena *a, struct pieces *out);
/* An error event of the dialect, for `error=k`. */
void say_error_event(const struct ask *q, struct buf *out);

/* Where a stream's text is cut next. */
size_t say_cut(const struct spec *s, struct span text, size_t at);

/* converse.c: Bedrock's Converse. False: the path asks for something else. */
bool converse_ask(struct span path, struct ask *q, struct arena *a);
void converse_whole(const struct spec *s, struct span text, struct buf *b);
void converse_stream(const struct spec *s, struct span text, struct arena *a, struct pieces *out);
struct span converse_error_kind(const struct spec *s);
void converse_error_event(struct buf *out);
void converse_frame(struct buf *b, bool exception, struct span name, struct span payload);
/* sign.c: NULL: the signature is right, or the request bears a key instead; else the kind of the error. */
const char *sign_wrong(const struct http_head *h, struct span body, const char *id, const char *secret);

/* TLS in front of a listener: a thread per connection that only copies (bounded; the demo and the tests need no more). */
bool mock_tls_listen(const char *spec, const char *cert, const char *key, int to_port, unsigned delay_ms, const char **why);

#endif
