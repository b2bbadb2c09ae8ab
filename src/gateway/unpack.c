/* unpack.c: what a provider encodes although it was asked not to (gzip, deflate), as text. */
#include "attempt.h"
#include <zlib.h>

enum { AT_ONCE = 16 * 1024, ANY_HEADER = 32 /* zlib: gzip or zlib, as the first bytes say */ };

struct unpack {
  z_stream z;
  bool bare;                          /* deflate without zlib's header, as some send it */
  bool begun, ended;
};

struct unpack *unpack_new(struct span encoding) {
  bool known = span_ieq(encoding, SPAN("gzip")) || span_ieq(encoding, SPAN("x-gzip")) || span_ieq(encoding, SPAN("deflate"));
  if (!known) return NULL;
  struct unpack *u = mem_zero(sizeof *u);
  if (inflateInit2(&u->z, MAX_WBITS + ANY_HEADER) == Z_OK) return u;
  mem_free(u);
  return NULL;
}

void unpack_free(struct unpack *u) {
  if (!u) return;
  inflateEnd(&u->z);
  mem_free(u);
}

bool unpack_ended(const struct unpack *u) { return u->ended; }

/* One further member of a gzip file goes on where the one before ended. */
static bool step(struct unpack *u, struct span packed, int *result) {
  *result = inflate(&u->z, Z_NO_FLUSH);
  if (*result == Z_DATA_ERROR && !u->begun && !u->bare && !u->z.total_out) {
    u->bare = true;
    u->z.next_in = (Bytef *)packed.p;
    u->z.avail_in = (uInt)packed.n;
    return inflateReset2(&u->z, -MAX_WBITS) == Z_OK;
  }
  if (*result == Z_STREAM_END) {
    u->ended = true;
    if (u->z.avail_in && !u->bare && inflateReset(&u->z) == Z_OK) u->ended = false, *result = Z_OK;
  }
  return *result == Z_OK || *result == Z_STREAM_END || *result == Z_BUF_ERROR;
}

bool unpack_feed(struct unpack *u, struct span packed, size_t most, struct buf *out, const char **why) {
  size_t before = buf_size(out);
  if (u->ended && packed.n) return *why = "bytes stand behind the end of the encoded answer", false;
  u->z.next_in = (Bytef *)packed.p;
  u->z.avail_in = (uInt)packed.n;
  for (int result = Z_OK; !u->ended;) {
    u->z.next_out = (Bytef *)buf_reserve(out, AT_ONCE);
    u->z.avail_out = AT_ONCE;
    if (!step(u, packed, &result)) return *why = "the encoded answer is broken", false;
    size_t got = AT_ONCE - u->z.avail_out;
    buf_commit(out, got);
    if (buf_size(out) - before > most) return *why = "the encoded answer is larger than max_answer when it is decoded", false;
    if (result == Z_BUF_ERROR || (!u->z.avail_in && u->z.avail_out)) break;
  }
  u->begun |= packed.n > 0;
  return true;
}
