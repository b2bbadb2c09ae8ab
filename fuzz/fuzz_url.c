/* The input is a URL, a target and a query at once; its first line end, if any, ends a name to look for. */
#include <stdio.h>
#include <stdlib.h>
#include "weir/url.h"

#define MUST(cond) do { if (!(cond)) abort(); } while (0)

static bool within(struct span s, struct span all) {
  return !s.p || (s.p >= all.p && s.p + s.n <= all.p + all.n);
}

static void url_check(struct span text) {
  struct url u, again;
  const char *why = NULL;
  if (!url_split(text, &u, &why)) {
    MUST(why);
    return;
  }
  MUST(within(u.host, text) && within(u.path, text) && within(u.query, text));
  MUST(u.host.n && u.port);
  MUST(!u.path.n || (u.path.p[0] == '/' && u.path.p[u.path.n - 1] != '/'));
  struct arena a = { 0 };
  struct span host = url_host_header(&u, &a);
  struct span mark = u.query.p ? SPAN("?") : SPAN("");
  struct span built = arena_printf(&a, "%s://%.*s%.*s%.*s%.*s", u.tls ? "https" : "http", SPAN_FMT(host),
                                   SPAN_FMT(u.path), SPAN_FMT(mark), SPAN_FMT(u.query));
  MUST(url_split(built, &again, &why));
  MUST(again.tls == u.tls && again.port == u.port && again.ipv6 == u.ipv6 && span_eq(again.host, u.host));
  MUST(span_eq(again.path, u.path) && span_eq(again.query, u.query));
  arena_end(&a);
}

/* An independent and slower look at the promise on dot segments. */
static void dots_check(struct span path) {
  char *plain = mem_alloc(path.n + 1);
  size_t n = 0;
  for (size_t i = 0; i < path.n; i++) {
    unsigned c = (unsigned char)path.p[i];
    if (c == '%') {
      char hex[3] = { path.p[i + 1], path.p[i + 2], 0 };
      c = (unsigned)strtoul(hex, NULL, 16);
      i += 2;
    }
    plain[n++] = (char)(c == '\\' ? '/' : c);
  }
  plain[n] = 0;
  MUST(strlen(plain) == n);
  for (char *at = plain; at; at = strchr(at, '/')) {
    at += *at == '/';
    size_t segment = strcspn(at, "/;");
    MUST(!(segment == 1 && at[0] == '.') && !(segment == 2 && at[0] == '.' && at[1] == '.'));
  }
  mem_free(plain);
}

static void target_check(struct span text) {
  struct span path, query;
  const char *why = NULL;
  if (!target_split(text, &path, &query, &why)) {
    MUST(why);
    return;
  }
  MUST(within(path, text) && within(query, text));
  MUST(path.n + query.n + (query.p != NULL) == text.n);
  dots_check(path);
}

static void query_check(struct span text) {
  size_t n = span_find(text, '\n');
  struct span name = n < text.n ? span_of(text.p, n) : SPAN("key"), query = n < text.n ? span_from(text, n + 1) : text;
  struct arena a = { 0 };
  struct span value = query_value(query, name), without = query_without(query, name, &a);
  MUST(within(value, text));
  MUST(without.n <= query.n);
  if (!value.p) MUST(span_eq(without, query));
  if (without.n) MUST(!query_value(without, name).p);
  arena_end(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *copy = mem_alloc(size);
  if (size) memcpy(copy, data, size);
  url_check(span_of(copy, size));
  target_check(span_of(copy, size));
  query_check(span_of(copy, size));
  mem_free(copy);
  return 0;
}
