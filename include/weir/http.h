/* http.h: HTTP/1.1 message syntax (RFC 9110, 9112), strict, in both directions. Pure: no descriptor,
   no allocation. What can be read in two ways is refused, since a proxy and a server that read it
   differently is how requests are smuggled. */
#ifndef WEIR_HTTP_H
#define WEIR_HTTP_H

#include "weir/mem.h"
#include "weir/step.h"

enum { HTTP_MOST_HEADERS = 100, HTTP_LONGEST_TARGET = 8192 };

struct http_header {
  struct span name, value;            /* value trimmed of leading and trailing space and tab */
};

/* How the body that follows is framed. */
enum http_framing { HTTP_NO_BODY, HTTP_LENGTH, HTTP_CHUNKED, HTTP_UNTIL_CLOSE };

/* Why a head is refused; http_error_status and http_error_text say it to a client. */
enum http_error {
  HTTP_OK,
  HTTP_BAD_REQUEST_LINE, HTTP_BAD_HEADER, HTTP_BAD_HOST, HTTP_BAD_FRAMING, HTTP_BAD_CHUNK,   /* 400 */
  HTTP_TARGET_TOO_LONG,                                                                      /* 414 */
  HTTP_EXPECTATION,                                                                          /* 417 */
  HTTP_HEAD_TOO_LARGE,                                                                       /* 431 */
  HTTP_TRANSFER_CODING,                                                                      /* 501 */
  HTTP_VERSION,                                                                              /* 505 */
  HTTP_BAD_STATUS_LINE,                                                                      /* 502, responses only */
};
int http_error_status(enum http_error e);
const char *http_error_text(enum http_error e);    /* names the rule that was broken, in a few words */

/* Headers that are asked for on every request, settled while a head is read: which each of its headers is, and where the first of each
   stands. All others are HTTP_OTHER, as are all in a head that was not read but made. */
enum http_name {
  HTTP_OTHER,
  HTTP_ACCEPT_ENCODING, HTTP_ANTHROPIC_VERSION, HTTP_API_KEY, HTTP_AUTHORIZATION, HTTP_CONNECTION, HTTP_CONTENT_LENGTH, HTTP_CONTENT_TYPE,
  HTTP_COOKIE, HTTP_EXPECT, HTTP_FORWARDED, HTTP_HOST, HTTP_KEEP_ALIVE, HTTP_LITELLM_CUSTOMER_ID, HTTP_LITELLM_END_USER_ID,
  HTTP_LITELLM_METADATA, HTTP_LITELLM_SESSION_ID, HTTP_LITELLM_TAGS, HTTP_LITELLM_TIMEOUT, HTTP_ORIGIN, HTTP_PORTKEY_METADATA,
  HTTP_PORTKEY_TIMEOUT, HTTP_PORTKEY_TRACE_ID, HTTP_TE, HTTP_TRACEPARENT, HTTP_TRAILER, HTTP_TRANSFER_ENCODING, HTTP_UPGRADE, HTTP_VIA,
  HTTP_WEIR_INCLUDE, HTTP_WEIR_PROMPT, HTTP_WEIR_SESSION, HTTP_WEIR_TAGS, HTTP_WEIR_TIMEOUT, HTTP_X_API_KEY, HTTP_X_FORWARDED_FOR,
  HTTP_X_GOOG_API_KEY, HTTP_X_REAL_IP, HTTP_X_REQUEST_ID,
  HTTP_NAMES
};

/* A head; all spans point into the bytes it was read from. */
struct http_head {
  struct span method, target;         /* request; origin form ("/…"), or "*" for OPTIONS */
  int status;                         /* response */
  struct span reason;
  int minor;                          /* HTTP/1.minor, 0 or 1 */
  size_t count;
  enum http_framing framing;
  uint64_t length;                    /* for HTTP_LENGTH */
  bool keep_alive;                    /* as version and Connection say; never after HTTP_UNTIL_CLOSE */
  bool expect_continue;               /* Expect: 100-continue, in HTTP/1.1 only */
  bool upgrade;                       /* an Upgrade header is present and Connection names it; HTTP/1.1 only */
  struct span host;                   /* with its port; p NULL when an HTTP/1.0 request has none */
  struct span content_type;           /* p NULL when absent */
  struct span bytes;                  /* the head it was read from */
  uint8_t first[HTTP_NAMES];          /* place of the first header of that name, from 1; 0: there is none */
  uint8_t names[HTTP_MOST_HEADERS];   /* enum http_name of each header */
  struct http_header headers[HTTP_MOST_HEADERS];   /* last: http_head_keep copies as many as there are */
};

/* A copy of a head and of its bytes in the arena; only headers[0..count) of it may be touched. */
struct http_head *http_head_keep(const struct http_head *h, struct arena *a);

size_t http_head_kept(const struct http_head *h);        /* bytes that this takes of it */

/* Finds the end of a head in a window that only grows: keeps *scanned so that no byte is looked at
   twice. Gives the head's size including the blank line, or 0 while it is not complete. Leading
   empty lines (CRLF) before a request line are part of it (RFC 9112 2.2). *scanned is 0 at the start
   of every head. A blank line of a bare LF also ends the head: its reader then refuses it. */
size_t http_head_end(struct span window, size_t *scanned);

/* Reads a whole head, as http_head_end cut it. Request rules: exactly one Host (HTTP/1.1), valid
   token method, no obs-fold, no space before a colon, no bare CR or LF, no NUL, only one
   Content-Length (digits only, equal duplicates are refused too), Transfer-Encoding only "chunked"
   once and never with Content-Length, never in HTTP/1.0. A length is at most INT64_MAX. Targets are
   visible ASCII without " # < > and backslash; percent escapes are target_split's matter (url.h).
   Absolute-form targets are reduced to their origin form (host then is the target's authority; the
   Host header must be valid all the same); one with a query needs a path. CONNECT is refused. More
   than HTTP_MOST_HEADERS is HEAD_TOO_LARGE. Only Expect: 100-continue is known (417 else).
   After an error *out says nothing. */
enum http_error http_read_request(struct span head, struct http_head *out);

/* The same for a response to a request of `method`: HEAD, 1xx, 204 and 304 have no body. LF-only
   line ends are refused. Content-Length duplicates that are equal are accepted here (RFC 9110 8.6),
   Content-Length with chunked is refused. A 1xx or 204 that announces a body all the same is not
   kept alive. Statuses are 100 to 599. */
enum http_error http_read_response(struct span head, struct span method, struct http_head *out);

/* First value of a header, name compared case-blind; p is NULL when absent. */
struct span http_header(const struct http_head *h, struct span name);
static inline struct span http_known(const struct http_head *h, enum http_name name) {
  return h->first[name] ? h->headers[h->first[name] - 1].value : (struct span){ NULL, 0 };
}
/* Whether a comma-separated list header names `token` (case-blind), over all its lines. */
bool http_header_lists(const struct http_head *h, struct span name, struct span token);

/* Body decoder. EVENT: *out holds decoded bytes (lent, never empty), go on with the rest, also when
   the rest is empty: only DONE tells the end, and it may come with nothing left to use. DONE: the
   body has ended, step.used bytes belong to it (trailers included and dropped); further calls say so
   again. MORE: all bytes were used. BAD: chunk framing is broken (sizes: hex digits only, at most 16,
   up to INT64_MAX; extensions skipped, at most 4 KB of them per message; bare LF refused; trailers at
   most 8 KB, with the syntax of headers). */
struct http_body {
  enum http_framing framing;
  uint64_t left;                      /* of the length or of the current chunk */
  uint64_t total;                     /* decoded so far */
  unsigned state, digits;             /* place in the chunk framing, digits of the size being read */
  unsigned overhead;                  /* extension bytes, later trailer bytes, bounded */
};
void http_body_init(struct http_body *b, const struct http_head *head);
struct step http_body_feed(struct http_body *b, struct span in, struct span *out);
/* The connection ended: true when the body may end here (HTTP_UNTIL_CLOSE, or already done). */
bool http_body_may_end(const struct http_body *b);

/* Writers. Header values are checked by their callers where they come from outside. */
void http_write_status(struct buf *b, int status);                      /* "HTTP/1.1 200 OK\r\n"; 100 to 999 */
void http_write_header(struct buf *b, struct span name, struct span value);
/* The same with name, colon and space in one piece; written out where it is called. */
static inline void http_write_line(struct buf *b, struct span start, struct span value) {
  buf_put(b, start);
  buf_put(b, value);
  buf_put(b, SPAN("\r\n"));
}
void http_write_header_u64(struct buf *b, struct span name, uint64_t value);
void http_write_end(struct buf *b);                                     /* the blank line */
void http_write_chunk(struct buf *b, struct span data);                 /* nothing for empty data */
void http_write_last_chunk(struct buf *b);
const char *http_reason(int status);                                    /* "" for an unknown one */
/* True when the bytes may stand in a header value: no CR, LF, NUL or other control but tab. */
bool http_value_ok(struct span value);
bool http_token_ok(struct span token);

/* Value of a parameter such as boundary in "multipart/form-data; boundary=x"; quotes removed when
   nothing is escaped in it, else kept; p NULL when absent, given twice, or when a parameter before or
   behind it is malformed. */
struct span http_param(struct span value, struct span name);

/* Finds the text value of the form part `name` at the start of a multipart/form-data body.
   EVENT: found, *out is its value, used = its end. MORE: not seen yet in this window (feed a longer
   window). DONE: the body has no such part. BAD: not multipart as RFC 7578 has it, or in a way that
   another reader could see differently (a boundary within a line, LF line ends, padding, a preamble,
   an escape in a name, a file or an encoding where the text is looked for). Stateless: each call reads
   the window from its start, so the caller bounds the window. Of parts with the same name the first
   is found. */
struct step multipart_find(struct span window, struct span boundary, struct span name, struct span *out);

#endif
