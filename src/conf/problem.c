#include "load.h"
#include <stdio.h>

void *list_add(struct arena *a, void *items, size_t *count, size_t size) {
  size_t n = (*count)++;
  if (!n || (n >= 4 && !(n & (n - 1)))) {
    void *moved = arena_alloc(a, (n < 4 ? 4 : n * 2) * size);
    if (n) memcpy(moved, items, n * size);
    items = moved;
  }
  memset((char *)items + n * size, 0, size);
  return items;
}

/* Texts may quote a file or the environment: what would break a line or drive a terminal is shown as '?'. */
static struct span one_line(struct span s) {
  char *p = (char *)s.p;
  for (size_t i = 0; i < s.n; i++)
    if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f) p[i] = '?';
  return s;
}

static void note(struct load *l, bool warning, const char *fmt, va_list args) {
  l->problems = list_add(&l->scratch, l->problems, &l->problem_count, sizeof *l->problems);
  struct problem *p = &l->problems[l->problem_count - 1];
  struct span text = arena_vprintf(&l->scratch, fmt, args);
  if (l->within.n) text = arena_printf(&l->scratch, "%.*s: %.*s", SPAN_FMT(l->within), SPAN_FMT(text));
  *p = (struct problem){ l->at, one_line(text), warning };
  l->error_count += !warning;
}

void problem_add(struct load *l, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  note(l, false, fmt, args);
  va_end(args);
}

void warning_add(struct load *l, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  note(l, true, fmt, args);
  va_end(args);
}

void unknown_word(struct buf *out, const char *what, struct span word, const char *const *known, size_t count) {
  const char *nearest = span_nearest(word, known, count);
  size_t shown = word.n > 80 ? 80 : word.n;
  buf_printf(out, "unknown %s '%.*s%s'", what, (int)shown, word.p, shown < word.n ? "…" : "");
  if (nearest) {
    buf_printf(out, "; did you mean '%s'?", nearest);
    return;
  }
  for (size_t i = 0; i < count; i++) buf_printf(out, "%s %s", i ? "," : "; known:", known[i]);
}

void problem_unknown(struct load *l, const char *what, struct span word, const char *const *known, size_t count) {
  struct buf text = { 0 };
  unknown_word(&text, what, word, known, count);
  problem_add(l, "%.*s", SPAN_FMT(buf_span(&text)));
  buf_free(&text);
}

const char *place_text(struct load *l, struct place at) {
  if (!at.source) return "the environment";
  return arena_printf(&l->scratch, "%.*s:%u", SPAN_FMT(at.source->path), at.line).p;
}

static size_t source_number(const struct load *l, const struct source *source) {
  size_t n = 1;
  if (!source) return 0;
  for (const struct source *s = l->conf->sources.list; s && s != source; s = s->next) n++;
  return n;
}

static bool stands_after(const struct load *l, const struct problem *a, const struct problem *b) {
  size_t x = source_number(l, a->at.source), y = source_number(l, b->at.source);
  return x != y ? x > y : a->at.line > b->at.line;
}

/* In the order of the files and their lines; at one place in the order they were found. */
static void sort(struct load *l) {
  for (size_t i = 1; i < l->problem_count; i++)
    for (size_t j = i; j && stands_after(l, &l->problems[j - 1], &l->problems[j]); j--) {
      struct problem swap = l->problems[j];
      l->problems[j] = l->problems[j - 1];
      l->problems[j - 1] = swap;
    }
}

void problems_write(struct load *l, struct buf *errors, struct buf *warnings) {
  size_t shown = 0;
  sort(l);
  for (size_t i = 0; i < l->problem_count; i++) {
    struct problem *p = &l->problems[i];
    struct buf *out = p->warning ? warnings : errors;
    if (!p->warning && ++shown > MOST_PROBLEMS) continue;
    if (p->at.source) buf_printf(out, "%.*s:", SPAN_FMT(p->at.source->path));
    if (p->at.source && p->at.line) buf_printf(out, "%u:", p->at.line);
    buf_printf(out, "%s%.*s\n", p->at.source ? " " : "", SPAN_FMT(p->text));
  }
  if (shown > MOST_PROBLEMS) buf_printf(errors, "and %zu more\n", shown - MOST_PROBLEMS);
}
