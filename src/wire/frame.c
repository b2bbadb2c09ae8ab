#include "weir/frame.h"

/* CRC-32 of IEEE 802.3, as zlib computes it, a nibble at a time. */
static uint32_t crc_of(const char *p, size_t n) {
  static const uint32_t nibbles[16] = {
    0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
    0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
  };
  uint32_t crc = ~0u;
  for (size_t i = 0; i < n; i++) {
    crc ^= (unsigned char)p[i];
    crc = crc >> 4 ^ nibbles[crc & 15];
    crc = crc >> 4 ^ nibbles[crc & 15];
  }
  return ~crc;
}

static uint32_t u16_at(const char *p) { return (uint32_t)(unsigned char)p[0] << 8 | (unsigned char)p[1]; }
static uint32_t u32_at(const char *p) { return u16_at(p) << 16 | u16_at(p + 2); }

/* ---- headers */
bool frame_header_next(struct span *headers, struct frame_header *out) {
  static const unsigned char sizes[FRAME_TYPES] = { 0, 0, 1, 2, 4, 8, 0, 0, 8, 16 };
  struct span left = *headers;
  size_t name = left.n ? (unsigned char)left.p[0] : 0, at = 1 + name;
  if (!name || left.n < at + 1) return false;
  unsigned type = (unsigned char)left.p[at++];
  if (type >= FRAME_TYPES) return false;
  size_t size = sizes[type];
  if (type == FRAME_BYTES || type == FRAME_STRING) {
    if (left.n < at + 2) return false;
    size = u16_at(left.p + at);
    at += 2;
  }
  if (left.n - at < size) return false;
  *out = (struct frame_header){ span_of(left.p + 1, name), (enum frame_type)type, span_of(left.p + at, size) };
  *headers = span_from(left, at + size);
  return true;
}

struct span frame_string(const struct aws_frame *f, struct span name) {
  struct span left = f->headers;
  struct frame_header h;
  while (frame_header_next(&left, &h))
    if (h.type == FRAME_STRING && span_eq(h.name, name)) return h.value;
  return (struct span){ NULL, 0 };
}

/* A name that stands twice could mean one thing here and another elsewhere. */
static bool headers_good(struct span headers) {
  struct span names[FRAME_HEADER_COUNT];
  struct frame_header h;
  size_t n = 0;
  while (frame_header_next(&headers, &h)) {
    for (size_t i = 0; i < n; i++)
      if (span_eq(names[i], h.name)) return false;
    if (n == FRAME_HEADER_COUNT || !span_utf8(h.name)) return false;
    names[n++] = h.name;
  }
  return !headers.n;
}

/* ---- messages */
static struct step bad(struct frame_reader *r, const char *why) {
  r->bad = true;
  if (!r->why) r->why = why;
  return (struct step){ STEP_BAD, 0 };
}

/* Nothing in the prelude is believed before its checksum. */
static const char *prelude_read(struct frame_reader *r, const char *p) {
  r->total = u32_at(p);
  r->headers = u32_at(p + 4);
  if (crc_of(p, 8) != u32_at(p + 8)) return "the checksum of its prelude is wrong";
  if (r->total < FRAME_LEAST || r->headers > r->total - FRAME_LEAST) return "its lengths contradict each other";
  if (r->headers > FRAME_HEADERS_MOST || r->total - FRAME_LEAST - r->headers > FRAME_PAYLOAD_MOST) return "it is too large";
  r->known = true;
  return NULL;
}

struct step frame_feed(struct frame_reader *r, struct span window, struct aws_frame *out) {
  const char *why = NULL;
  if (r->bad) return (struct step){ STEP_BAD, 0 };
  if (!r->known && window.n < FRAME_PRELUDE) return (struct step){ STEP_MORE, 0 };
  if (!r->known) why = prelude_read(r, window.p);
  if (why) return bad(r, why);
  if (window.n < r->total) return (struct step){ STEP_MORE, 0 };
  size_t end = r->total - 4;
  struct span headers = span_of(window.p + FRAME_PRELUDE, r->headers);
  if (crc_of(window.p, end) != u32_at(window.p + end)) return bad(r, "its checksum is wrong");
  if (!headers_good(headers)) return bad(r, "its headers are none");
  *out = (struct aws_frame){ span_of(window.p, r->total), headers, span_of(window.p + FRAME_PRELUDE + r->headers, end - FRAME_PRELUDE - r->headers) };
  r->known = false;
  return (struct step){ STEP_EVENT, r->total };
}
