/* Lua tells the line of a statement only. A statement of weir.lua can be fifty lines long, so the
   line of a field is found again in the text. Only good enough to point: when in doubt, the statement. */
#include "load.h"

enum token_kind { TOKEN_END, TOKEN_NAME, TOKEN_STRING, TOKEN_SIGN };
struct token {
  enum token_kind kind;
  struct span text;                   /* a string without its quotes, escapes as written */
  unsigned line;
};
struct lexer {
  struct span s;
  size_t at;
  unsigned line;
};

static char peek(const struct lexer *x, size_t ahead) { return x->at + ahead < x->s.n ? x->s.p[x->at + ahead] : 0; }

static void skip(struct lexer *x, size_t n) {
  for (; n && x->at < x->s.n; n--) x->line += x->s.p[x->at++] == '\n';
}

static bool word_char(char c) {
  return c == '_' || (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z');
}

/* "[[", "[=[": the number of '=' signs plus 2, or 0 when no long bracket opens here. */
static size_t long_open(const struct lexer *x) {
  size_t n = 1;
  if (peek(x, 0) != '[') return 0;
  while (peek(x, n) == '=') n++;
  return peek(x, n) == '[' ? n + 1 : 0;
}

static struct span long_text(struct lexer *x, size_t open) {
  skip(x, open);
  size_t start = x->at;
  while (x->at < x->s.n) {
    size_t n = 1;
    if (peek(x, 0) == ']') {
      while (peek(x, n) == '=') n++;
      if (n + 1 == open && peek(x, n) == ']') {
        struct span text = span_of(x->s.p + start, x->at - start);
        skip(x, open);
        return text;
      }
    }
    skip(x, 1);
  }
  return span_of(x->s.p + start, x->s.n - start);
}

static void blanks(struct lexer *x) {
  for (;;) {
    char c = peek(x, 0);
    if (c == ' ' || (c >= '\t' && c <= '\r')) {
      skip(x, 1);
    } else if (c == '-' && peek(x, 1) == '-') {
      skip(x, 2);
      size_t open = long_open(x);
      if (open) long_text(x, open);
      else while (x->at < x->s.n && peek(x, 0) != '\n') skip(x, 1);
    } else {
      return;
    }
  }
}

static struct span quoted(struct lexer *x) {
  char quote = peek(x, 0);
  skip(x, 1);
  size_t start = x->at;
  while (x->at < x->s.n && peek(x, 0) != quote && peek(x, 0) != '\n') skip(x, peek(x, 0) == '\\' ? 2 : 1);
  struct span text = span_of(x->s.p + start, x->at - start);
  skip(x, 1);
  return text;
}

static struct token token_next(struct lexer *x) {
  blanks(x);
  struct token t = { TOKEN_SIGN, span_of(x->s.p + x->at, 1), x->line };
  char c = peek(x, 0);
  size_t open = long_open(x), n = 0;
  if (x->at >= x->s.n) {
    t.kind = TOKEN_END;
  } else if (c == '"' || c == '\'' || open) {
    t.kind = TOKEN_STRING;
    t.text = open ? long_text(x, open) : quoted(x);
  } else if (word_char(c)) {
    while (word_char(peek(x, n))) n++;
    t.kind = TOKEN_NAME;
    t.text = span_of(x->s.p + x->at, n);
    skip(x, n);
  } else {
    n = (c == '=' || c == '<' || c == '>' || c == '~') && peek(x, 1) == '=' ? 2 : 1;
    t.text = span_of(x->s.p + x->at, n);
    skip(x, n);
  }
  return t;
}

static struct lexer lexer_at_line(struct span text, unsigned line) {
  struct lexer x = { text, 0, 1 };
  while (x.line < line && x.at < text.n) skip(&x, 1);
  return x;
}

static bool sign_is(struct token t, char c) { return t.kind == TOKEN_SIGN && t.text.n == 1 && t.text.p[0] == c; }

/* Whether the statement goes on after its brackets have closed: `provider "x" { … }`. */
static bool chained(struct token t) { return t.kind == TOKEN_STRING || sign_is(t, '{') || sign_is(t, '('); }

/* One walk over a statement serves both: with want_key the name or string before '=', else a string. */
static unsigned line_of(struct span text, unsigned line, struct span wanted, bool want_key) {
  struct lexer x = lexer_at_line(text, line);
  struct token before = { 0 }, last = { 0 }, t;
  int depth = 0;
  bool closed = false;
  while ((t = token_next(&x)).kind != TOKEN_END) {
    if (closed && !chained(t)) break;
    closed = false;
    bool bracketed = sign_is(last, ']') && before.kind == TOKEN_STRING;
    struct token key = bracketed ? before : last;
    if (want_key && sign_is(t, '=') && key.kind != TOKEN_SIGN && span_eq(key.text, wanted)) return key.line;
    if (!want_key && depth > 0 && t.kind == TOKEN_STRING && span_eq(t.text, wanted)) return t.line;
    if (sign_is(t, '{') || sign_is(t, '(')) depth++;
    if (sign_is(t, '}') || sign_is(t, ')')) {
      if (--depth < 0) break;
      closed = depth == 0;
    }
    before = last;
    last = t;
  }
  return line;
}

unsigned line_of_key(struct span text, unsigned line, struct span key) { return line_of(text, line, key, true); }

unsigned line_of_string(struct span text, unsigned line, struct span string) {
  return line_of(text, line, string, false);
}

bool require_next(struct span text, size_t *at, struct span *name) {
  struct lexer x = { text, *at, 1 };
  struct token t;
  while ((t = token_next(&x)).kind != TOKEN_END) {
    if (t.kind != TOKEN_NAME || !span_eq(t.text, SPAN("require"))) continue;
    t = token_next(&x);
    if (sign_is(t, '(')) t = token_next(&x);
    if (t.kind != TOKEN_STRING) continue;
    *name = t.text;
    *at = x.at;
    return true;
  }
  return false;
}
