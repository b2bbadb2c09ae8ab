/* seal.c: what carries thinking home (a signature, encrypted reasoning) on its way through a client.
   It says which provider it is of, and a checksum over it and the thinking it belongs to: what another provider made, or what was changed
   on the way, is left out and named, in place of being refused by the provider. No key is in it: the provider verifies its own signature
   itself, so nobody wins by making one up, and every weir of a fleet reads it, before and after a restart. */
#include "dialect_impl.h"
#include "weir/translate.h"

enum { SUM = 16 };                    /* hex digits */
static const struct span mark = SPAN(TRANSLATE_SEAL);

void seal_begin(struct sha256 *s) { sha256_init(s); }

void seal_text(struct sha256 *s, struct json string) {
  struct arena scratch = { 0 };
  struct span text = { NULL, 0 };
  if (string.type == JSON_STRING) json_unescape(string, &scratch, &text);
  sha256_feed(s, text);
  arena_end(&scratch);
}

static void sum_of(struct sha256 s, struct span provider, struct span value, char out[SHA256_HEX]) {
  unsigned char digest[SHA256_SIZE];
  sha256_feed(&s, span_of("", 1));
  sha256_feed(&s, provider);
  sha256_feed(&s, span_of("", 1));
  sha256_feed(&s, value);
  sha256_end(&s, digest);
  sha256_hex(digest, out);
  out[SUM] = 0;
}

struct json seal_close(struct arena *a, const struct sha256 *s, struct span provider, struct json value) {
  struct span plain = { NULL, 0 };
  char sum[SHA256_HEX];
  if (value.type != JSON_STRING || !provider.n) return value;
  json_unescape(value, a, &plain);
  sum_of(*s, provider, plain, sum);
  struct span text = arena_printf(a, "\"%.*s%.*s:%s:%.*s\"", SPAN_FMT(mark), SPAN_FMT(provider), sum, SPAN_FMT(string_raw(value)));
  return (struct json){ JSON_STRING, text };
}

bool seal_open(struct arena *a, struct span text, struct span provider, struct span *value) {
  struct span left = *value, whose, sum;
  struct sha256 s;
  char want[SHA256_HEX];
  if (!provider.n) return true;
  if (!span_starts(left, mark)) return false;
  left = span_cut(span_from(left, mark.n), ':', &whose);
  left = span_cut(left, ':', &sum);
  sha256_init(&s);
  sha256_feed(&s, text);
  sum_of(s, provider, left, want);
  *value = arena_copy(a, left);
  return span_eq(whose, provider) && span_eq(sum, span_cstr(want));
}
