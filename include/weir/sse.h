/* sse.h: server-sent events (WHATWG HTML, "Parsing an event stream").
   The caller keeps the unfinished event: it feeds a window that starts where the last event ended
   and only grows until the next one is complete, so an event is always seen whole and forwarded as
   the bytes it came in. */
#ifndef WEIR_SSE_H
#define WEIR_SSE_H

#include "weir/mem.h"
#include "weir/step.h"

enum { SSE_LARGEST = 16 << 20 };      /* bytes of one event; beyond it the stream is BAD */

struct sse {                          /* zeroed: at the start of a stream (a BOM may follow) */
  size_t scanned;                     /* bytes of the window that were looked at: they hold no event end */
  size_t line;                        /* where in the window the unfinished line starts */
  size_t name_at, name_n;             /* what the whole lines of the unfinished event said */
  size_t data_at, data_n;
  unsigned data_lines;
  bool started, after_cr, bad;
};

struct sse_event {
  struct span raw;                    /* all its bytes, comments and the closing blank line included */
  struct span name;                   /* value of the last event: field; empty when there was none */
  struct span data;                   /* value of the first data: line */
  unsigned data_lines;                /* 0: only comments, ids or names; more than 1: use sse_data */
};

/* EVENT: one event (blank-line terminated block) stands at the window's start and took step.used
   bytes; a CR LF whose LF has not come yet is not waited for: a LF at the start of the next window
   belongs to this event's end and is handed out as an event with no data and no name.
   MORE (used 0): the window holds no whole event yet. BAD: over SSE_LARGEST.
   Line ends are LF, CR LF or CR in any mix. */
struct step sse_feed(struct sse *s, struct span window, struct sse_event *out);

/* The event's data, all lines joined with LF: lent when there is one line, else made in the arena. */
struct span sse_data(const struct sse_event *e, struct arena *a);
/* Whether the data is the "[DONE]" of the chat dialect, white space around it ignored. */
bool sse_is_done(const struct sse_event *e);

/* Writers. name may be empty. A line end in data or text starts a further line of the same kind, as
   the grammar has it; name is cut at one. */
void sse_write(struct buf *b, struct span name, struct span data);
void sse_write_comment(struct buf *b, struct span text);

#endif
