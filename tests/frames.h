/* frames.h: messages of AWS event streams as a provider writes them, for tests, fuzz targets and benchmarks. Their checksums come from
   zlib, so that weir's own are not judged by themselves. Link with -lz. */
#ifndef TEST_FRAMES_H
#define TEST_FRAMES_H

#include <zlib.h>
#include "weir/mem.h"

static inline void add_u32(struct buf *b, uint32_t v) {
  for (int i = 24; i >= 0; i -= 8) buf_byte(b, (char)(v >> i));
}

/* Over all that stands in b behind its first `from` bytes. */
static inline void add_crc(struct buf *b, size_t from) {
  struct span s = span_from(buf_span(b), from);
  add_u32(b, (uint32_t)crc32(0, (const Bytef *)s.p, (uInt)s.n));
}

/* A header whose value is text, of at most 255 bytes here. */
static inline void add_header(struct buf *b, const char *name, struct span value) {
  if (value.n > 255) value.n = 255;
  buf_byte(b, (char)strlen(name));
  buf_add(b, span_cstr(name));
  buf_byte(b, 7), buf_byte(b, 0), buf_byte(b, (char)value.n);
  buf_add(b, value);
}

static inline void add_message(struct buf *b, struct span headers, struct span payload) {
  size_t from = buf_size(b);
  add_u32(b, (uint32_t)(16 + headers.n + payload.n));
  add_u32(b, (uint32_t)headers.n);
  add_crc(b, from);
  buf_add(b, headers);
  buf_add(b, payload);
  add_crc(b, from);
}

/* type: "event", "exception", or another one, which is none of Bedrock's. */
static inline void add_event(struct buf *b, const char *type, struct span name, struct span payload) {
  struct buf head = { 0 };
  add_header(&head, !strcmp(type, "exception") ? ":exception-type" : ":event-type", name);
  add_header(&head, ":message-type", span_cstr(type));
  add_message(b, buf_span(&head), payload);
  buf_free(&head);
}

#endif
