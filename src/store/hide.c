/* hide.c: what looks like a secret does not stand in the ledger: keys of well-known forms, tokens, private keys. */
#include "room.h"

/* What they begin with, and how many more letters, digits, '-' and '_' make one of them (with '.' for signed tokens). */
static const struct form { const char *start; size_t least; } forms[] = {
  { "sk-", 16 }, { "pk-", 16 }, { "rk-", 16 }, { "sk_live_", 12 }, { "rk_live_", 12 }, { "sk_test_", 12 }, { "weir_", 32 }, { "ghp_", 20 }, { "gho_", 20 },
  { "ghs_", 20 }, { "ghu_", 20 }, { "github_pat_", 20 }, { "glpat-", 16 }, { "xoxb-", 16 }, { "xoxp-", 16 }, { "xapp-", 16 }, { "AKIA", 16 }, { "ASIA", 16 },
  { "AIza", 30 }, { "hf_", 20 }, { "gsk_", 20 }, { "xai-", 20 }, { "npm_", 30 }, { "eyJ", 30 }, { "ya29.", 20 },
};

static bool word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-'; }

/* How many bytes of a secret stand at the start of s; 0: none. */
static size_t secret_at(struct span s) {
  struct span line = span_of(s.p, s.n < 48 ? s.n : 48);
  if (span_starts(s, SPAN("-----BEGIN ")) && span_search(line, SPAN("PRIVATE KEY")) < line.n) {
    size_t end = span_search(s, SPAN("-----END ")), tail = span_search(span_from(s, end + 9 > s.n ? s.n : end + 9), SPAN("-----"));
    size_t n = end + 9 + tail + 5;
    return n < s.n ? n : s.n;                            /* one that was cut: all that follows */
  }
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    size_t n = strlen(forms[i].start), more = 0;
    if (*s.p != *forms[i].start || !span_starts(s, span_cstr(forms[i].start))) continue;
    while (n + more < s.n && (word(s.p[n + more]) || s.p[n + more] == '.')) more++;
    while (more && s.p[n + more - 1] == '.') more--;     /* of the sentence */
    if (more >= forms[i].least) return n + more;
  }
  return 0;
}

void secrets_hide(struct span text, struct buf *out) {
  size_t from = 0;
  for (size_t i = 0; i < text.n; i++) {
    bool begins = !i || !word(text.p[i - 1]) || (text.p[i - 1] == 'n' && i > 1 && text.p[i - 2] == '\\');     /* "\n" of JSON */
    size_t n = begins ? secret_at(span_from(text, i)) : 0;
    if (!n) continue;
    buf_add(out, span_of(text.p + from, i - from));
    buf_add(out, SPAN("[secret]"));
    from = i + n;
    i = from - 1;
  }
  buf_add(out, span_from(text, from));
}
