#include "http_chars.h"
#include "http_fields.h"

struct span http_header(const struct http_head *h, struct span name) {
  for (size_t i = 0; i < h->count; i++)
    if (h->headers[i].name.n == name.n && span_ieq(h->headers[i].name, name)) return h->headers[i].value;
  return (struct span){ NULL, 0 };
}

bool http_header_lists(const struct http_head *h, struct span name, struct span token) {
  for (size_t i = 0; i < h->count; i++) {
    if (!span_ieq(h->headers[i].name, name)) continue;
    for (struct span item, rest = h->headers[i].value; rest.p;) {
      rest = span_cut(rest, ',', &item);
      if (span_ieq(span_trim(item), token)) return true;
    }
  }
  return false;
}

static struct span after_blanks(struct span s) {
  while (s.n && (s.p[0] == ' ' || s.p[0] == '\t')) s.p++, s.n--;
  return s;
}

static size_t token_size(struct span s) {
  size_t n = 0;
  while (n < s.n && char_is(s.p[n], CHAR_TOKEN)) n++;
  return n;
}

/* Size of the quoted string at the start of s with both quotes, or 0 when it does not end. */
static size_t quoted_size(struct span s, bool *escapes) {
  *escapes = false;
  for (size_t i = 1; i < s.n; i++) {
    if (s.p[i] == '"') return i + 1;
    if (s.p[i] == '\\') i++, *escapes = true;
  }
  return 0;
}

/* Takes one "name=value" off s; false when it is not one. */
static bool param_take(struct span *s, struct span *name, struct span *value) {
  *name = span_of(s->p, token_size(*s));
  *s = span_from(*s, name->n);
  if (!name->n || !s->n || s->p[0] != '=') return false;
  *s = span_from(*s, 1);
  bool quoted = s->n && s->p[0] == '"', escapes = false;
  size_t n = quoted ? quoted_size(*s, &escapes) : token_size(*s);
  if (!n) return false;
  *value = quoted && !escapes ? span_of(s->p + 1, n - 2) : span_of(s->p, n);
  *s = span_from(*s, n);
  return true;
}

int params_seek(struct span value, struct span name, struct span *found) {
  struct span have, given, rest;
  int count = 0;
  *found = (struct span){ NULL, 0 };
  if (!value.n) return 0;
  for (rest = span_from(value, span_find(value, ';')); rest.n;) {
    rest = after_blanks(span_from(rest, 1));
    if (!rest.n || rest.p[0] == ';') continue;              /* ";;" and a last ";" are common and harmless */
    if (!param_take(&rest, &have, &given)) return -1;
    rest = after_blanks(rest);
    if (rest.n && rest.p[0] != ';') return -1;
    if (span_ieq(have, name)) *found = given, count++;
  }
  return count;
}

struct span http_param(struct span value, struct span name) {
  struct span found;
  return params_seek(value, name, &found) == 1 ? found : (struct span){ NULL, 0 };
}
