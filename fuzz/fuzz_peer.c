/* A PROXY header under every split: MORE until it says what the whole says, and what it says is an address in its usual
   form. The same bytes as lines of forwarded nodes, whose addresses are read back as themselves. */
#include <arpa/inet.h>
#include <stdlib.h>
#include "weir/peer.h"

#define MUST(cond) do { if (!(cond)) abort(); } while (0)

static void usual(const char *ip) {
  char again[PEER_TEXT];
  unsigned char bytes[16];
  MUST(memchr(ip, 0, PEER_TEXT));
  if (!ip[0]) return;
  MUST(inet_pton(strchr(ip, ':') ? AF_INET6 : AF_INET, ip, bytes) == 1);
  MUST(peer_address(span_cstr(ip), again) && !strcmp(ip, again));
}

static struct step read_header(struct span text, size_t n, struct proxy_header *out) {
  char *copy = mem_alloc(n ? n : 1);               /* so that a byte read behind the window is seen */
  if (n) memcpy(copy, text.p, n);
  struct step s = proxy_header_read(span_of(copy, n), out);
  mem_free(copy);
  MUST(s.used <= n && s.kind != STEP_EVENT);
  usual(out->ip);
  MUST(s.kind == STEP_DONE || (!s.used && !out->ip[0]) || s.kind == STEP_BAD);
  return s;
}

static void header(struct span text) {
  struct proxy_header whole, part;
  struct step last = read_header(text, text.n, &whole);
  bool settled = false;
  for (size_t n = 0; n < text.n; n++) {
    struct step s = read_header(text, n, &part);
    MUST(s.kind == STEP_MORE ? !settled : s.kind == last.kind && s.used == last.used);
    if (s.kind == STEP_DONE) MUST(!strcmp(part.ip, whole.ip) && part.port == whole.port);
    settled |= s.kind != STEP_MORE;
  }
  if (text.n >= PROXY_HEADER_MOST) MUST(last.kind != STEP_MORE);
}

static void list(struct span text, bool rfc7239) {
  struct forwarded f = { text, rfc7239 };
  char ip[PEER_TEXT];
  size_t left = text.n + 1;
  while (forwarded_next(&f, ip)) {
    MUST(left--);
    usual(ip);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct span text = span_of((const char *)data, size);
  if (size > 1024) return 0;                       /* every prefix is fed */
  header(text);
  list(text, false);
  list(text, true);
  return 0;
}
