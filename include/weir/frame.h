/* frame.h: messages of an AWS event stream (application/vnd.amazon.eventstream), as Bedrock answers in them.
   A message is a prelude (its length and that of its headers, with a CRC-32 of both), headers, a payload, and a CRC-32 of all of
   it; numbers are big-endian. The caller keeps the unfinished one, as with sse.h: it feeds a window that starts where the last
   message ended and only grows. Limits are botocore's (eventstream.py). */
#ifndef WEIR_FRAME_H
#define WEIR_FRAME_H

#include "weir/mem.h"
#include "weir/step.h"

enum {
  FRAME_PRELUDE = 12, FRAME_LEAST = 16,
  FRAME_HEADERS_MOST = 128 << 10, FRAME_PAYLOAD_MOST = 24 << 20,
  FRAME_HEADER_COUNT = 64             /* headers of one message; beyond it the stream is BAD */
};

struct frame_reader {                 /* zeroed: at the start of a stream */
  uint32_t total, headers;            /* of the unfinished message, once its prelude was found whole */
  bool known, bad;
  const char *why;                    /* of BAD, for a log: "its checksum is wrong" */
};
struct aws_frame { struct span raw, headers, payload; };

/* EVENT: one message stands at the window's start and took step.used bytes; its checksums are right and its headers well-formed,
   each name once. MORE (used 0): the window holds no whole message. BAD: lengths, checksums or headers that are none. */
struct step frame_feed(struct frame_reader *r, struct span window, struct aws_frame *out);

enum frame_type {
  FRAME_TRUE, FRAME_FALSE, FRAME_I8, FRAME_I16, FRAME_I32, FRAME_I64, FRAME_BYTES, FRAME_STRING, FRAME_TIME, FRAME_UUID, FRAME_TYPES
};
struct frame_header {
  struct span name;
  enum frame_type type;
  struct span value;                  /* content of BYTES and STRING, else the big-endian bytes; empty for TRUE and FALSE */
};
/* Takes the first header off *headers (lent). False at the end, and for what is no header (*headers is not empty then). */
bool frame_header_next(struct span *headers, struct frame_header *out);
/* A header of type STRING by its name; p NULL when there is none. */
struct span frame_string(const struct aws_frame *f, struct span name);

#endif
