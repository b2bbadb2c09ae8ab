/* mint.c: new keys, and keys as text of weir.lua. */
#include <errno.h>
#include <sys/random.h>
#include "weir/keys.h"
#include "weir/secret.h"

enum { RANDOM = 32, PREFIX = 5 };

static bool random_bytes(unsigned char *out, size_t n) {
  for (size_t have = 0; have < n;) {
    ssize_t got = getrandom(out + have, n - have, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    have += (size_t)got;
  }
  return true;
}

/* base64url without padding (RFC 4648 5). */
static void text_of(const unsigned char *bytes, size_t n, char *out) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  unsigned held = 0, bits = 0;
  for (size_t i = 0; i < n; i++) {
    held = held << 8 | bytes[i];
    for (bits += 8; bits >= 6; bits -= 6) *out++ = digits[held >> (bits - 6) & 63];
  }
  if (bits) *out++ = digits[held << (6 - bits) & 63];
  *out = 0;
}

bool key_mint(char text[KEY_MINTED + 1], unsigned char digest[SHA256_SIZE]) {
  unsigned char bytes[RANDOM];
  struct sha256 h;
  if (!random_bytes(bytes, sizeof bytes)) return false;
  memcpy(text, "weir_", PREFIX);
  text_of(bytes, sizeof bytes, text + PREFIX);
  sha256_init(&h);
  sha256_feed(&h, span_of(text, KEY_MINTED));
  sha256_end(&h, digest);
  secret_wipe(bytes, sizeof bytes);
  secret_wipe(&h, sizeof h);
  return true;
}

/* ---- as text */
static void string_write(struct span s, struct buf *out) {
  buf_byte(out, '"');
  for (size_t i = 0; i < s.n; i++) {
    unsigned char c = (unsigned char)s.p[i];
    if (c < 0x20 || c == 0x7f) buf_printf(out, "\\%03u", c);
    else if (c == '"' || c == '\\') buf_byte(out, '\\'), buf_byte(out, (char)c);
    else buf_byte(out, (char)c);
  }
  buf_byte(out, '"');
}

static void field_write(const char *name, struct span value, struct buf *out) {
  if (!value.n) return;
  buf_printf(out, "  %s = ", name);
  string_write(value, out);
  buf_add(out, SPAN(",\n"));
}

static void hashes_write(const struct key *k, struct buf *out) {
  char text[KEY_HASH_TEXT + 1], until[KEY_UNTIL_TEXT + 1];
  bool list = k->hash_count > 1 || k->hashes[0].until != KEY_FOREVER;
  buf_add(out, list ? SPAN("  hash = {\n") : SPAN("  hash = "));
  for (size_t i = 0; i < k->hash_count; i++) {
    const struct key_hash *h = &k->hashes[i];
    key_hash_write(h->digest, text);
    if (list) buf_add(out, SPAN("    "));
    if (h->until == KEY_FOREVER) {
      buf_printf(out, "\"%s\",\n", text);
    } else {
      key_until_write(h->until, until);
      buf_printf(out, "{ \"%s\", expires = \"%s\" },\n", text, until);
    }
  }
  if (list) buf_add(out, SPAN("  },\n"));
}

void key_write(const struct key *k, struct buf *out) {
  buf_add(out, SPAN("key "));
  string_write(k->name, out);
  buf_add(out, SPAN(" {\n"));
  hashes_write(k, out);
  field_write("team", k->team, out);
  field_write("user", k->user, out);
  for (size_t i = 0; i < k->model_count; i++) {
    buf_add(out, i ? SPAN(", ") : SPAN("  models = { "));
    string_write(k->models[i], out);
  }
  if (k->model_count) buf_add(out, SPAN(" },\n"));
  for (size_t i = 0; i < k->tag_count; i++) {
    buf_add(out, i ? SPAN(", [") : SPAN("  tags = { ["));
    string_write(k->tags[i].name, out);
    buf_add(out, SPAN("] = "));
    string_write(k->tags[i].value, out);
  }
  if (k->tag_count) buf_add(out, SPAN(" },\n"));
  field_write("expires", k->expires, out);
  buf_add(out, SPAN("}\n"));
}
