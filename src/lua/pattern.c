#include "pattern.h"

enum { MOST_DEPTH = 200, SPEND_AT = 4096 };

/* ---- character classes */
enum { ALPHA = 1, CNTRL = 2, DIGIT = 4, LOWER = 8, PUNCT = 16, SPACE = 32, UPPER = 64, HEX = 128 };
#define CTL CNTRL
#define SPC (CNTRL | SPACE)
#define PUN PUNCT
#define DIG (DIGIT | HEX)
#define UHX (ALPHA | UPPER | HEX)
#define UPP (ALPHA | UPPER)
#define LHX (ALPHA | LOWER | HEX)
#define LOW (ALPHA | LOWER)
static const unsigned char kinds[256] = {
  CTL, CTL, CTL, CTL, CTL, CTL, CTL, CTL, CTL, SPC, SPC, SPC, SPC, SPC, CTL, CTL,
  CTL, CTL, CTL, CTL, CTL, CTL, CTL, CTL, CTL, CTL, CTL, CTL, CTL, CTL, CTL, CTL,
  SPACE, PUN, PUN, PUN, PUN, PUN, PUN, PUN, PUN, PUN, PUN, PUN, PUN, PUN, PUN, PUN,
  DIG, DIG, DIG, DIG, DIG, DIG, DIG, DIG, DIG, DIG, PUN, PUN, PUN, PUN, PUN, PUN,
  PUN, UHX, UHX, UHX, UHX, UHX, UHX, UPP, UPP, UPP, UPP, UPP, UPP, UPP, UPP, UPP,
  UPP, UPP, UPP, UPP, UPP, UPP, UPP, UPP, UPP, UPP, UPP, PUN, PUN, PUN, PUN, PUN,
  PUN, LHX, LHX, LHX, LHX, LHX, LHX, LOW, LOW, LOW, LOW, LOW, LOW, LOW, LOW, LOW,
  LOW, LOW, LOW, LOW, LOW, LOW, LOW, LOW, LOW, LOW, LOW, PUN, PUN, PUN, PUN, CTL,
};
/* By the lower-case letter that stands behind '%'. */
static const unsigned char classes[256] = {
  ['a'] = ALPHA, ['c'] = CNTRL, ['d'] = DIGIT, ['g'] = ALPHA | DIGIT | PUNCT, ['l'] = LOWER, ['p'] = PUNCT, ['s'] = SPACE,
  ['u'] = UPPER, ['w'] = ALPHA | DIGIT, ['x'] = HEX,
};

static inline bool class_has(unsigned char name, unsigned char c) {
  unsigned char class = classes[name | 0x20];
  if (!(kinds[name] & ALPHA)) return name == c;
  if (class) return !(kinds[c] & class) == !!(kinds[name] & UPPER);
  if ((name | 0x20) == 'z') return !c == (name == 'z');              /* old, and still in Lua 5.4 */
  return name == c;
}

/* ---- sets: each is read once into bits, since it is tried on many bytes */
static void set_add(struct set *set, unsigned char c) { set->bits[c >> 6] |= 1ull << (c & 63); }

static void set_add_class(struct set *set, unsigned char name) {
  if (kinds[name] & LOWER && classes[name]) set->kinds |= classes[name];
  else if (!(kinds[name] & ALPHA)) set_add(set, name);
  else for (unsigned c = 0; c < 256; c++)
    if (class_has(name, (unsigned char)c)) set_add(set, (unsigned char)c);
}

static inline bool set_has(const struct set *set, unsigned char c) {
  return ((set->bits[c >> 6] >> (c & 63) & 1) || kinds[c] & set->kinds) != set->inverted;
}

/* Past the ']' of the set that begins at p. One in the first place is of the set. */
static const char *set_end(struct pattern *m, const char *p) {
  if (*++p == '^') p++;
  do {
    if (p == m->end) luaL_error(m->L, "malformed pattern (missing ']')");
    if (*p++ == '%' && p < m->end) p++;
  } while (*p != ']');
  return p + 1;
}

static const struct set *set_read(struct pattern *m, const char *p) {
  struct set *set = &m->sets[m->set_count++ % KEPT_SETS];
  const char *end = set_end(m, p), *close = end - 1;
  *set = (struct set){ .at = p, .end = end, .inverted = p[1] == '^' };
  m->steps += 10 + (uint64_t)(end - p);
  if (set->inverted) p++;
  while (++p < close) {
    if (*p == '%') {
      set_add_class(set, (unsigned char)*++p);
    } else if (p[1] == '-' && p + 2 < close) {
      for (unsigned c = (unsigned char)*p; c <= (unsigned char)p[2]; c++) set_add(set, (unsigned char)c);
      p += 2;
    } else {
      set_add(set, (unsigned char)*p);
    }
  }
  return set;
}

static inline const struct set *set_of(struct pattern *m, const char *p) {
  for (unsigned i = 0; i < m->set_count && i < KEPT_SETS; i++)
    if (m->sets[i].at == p) return &m->sets[i];
  return set_read(m, p);
}

/* ---- items: a character, '.', a class or a set */
static inline const char *item_end(struct pattern *m, const char *p) {
  if (*p == '[') return set_of(m, p)->end;
  if (*p != '%') return p + 1;
  if (p + 1 == m->end) luaL_error(m->L, "malformed pattern (ends with '%%')");
  return p + 2;
}

static inline bool item_has(struct pattern *m, const char *p, const char *s) {
  m->steps++;
  if (s >= m->subject_end) return false;
  unsigned char c = (unsigned char)*s;
  switch (*p) {
    case '.': return true;
    case '%': return class_has((unsigned char)p[1], c);
    case '[': return set_has(set_of(m, p), c);
    default: return (unsigned char)*p == c;
  }
}

/* Where the bytes from s on that the item has end; or those that it has not. */
static const char *run_end(struct pattern *m, const char *p, const char *s, bool has) {
  const char *from = s, *to = m->subject_end;
  if (*p == '[') {
    const struct set *set = set_of(m, p);
    while (s < to && set_has(set, (unsigned char)*s) == has) s++;
  } else if (*p == '%') {
    while (s < to && class_has((unsigned char)p[1], (unsigned char)*s) == has) s++;
  } else if (*p == '.') {
    if (has) s = to;
  } else if (has) {
    while (s < to && *s == *p) s++;
  } else {
    s = memchr(s, *p, (size_t)(to - s));
    if (!s) s = to;
  }
  m->steps += 1 + (uint64_t)(s - from) / 4;
  return s;
}

static const char *here(struct pattern *m, const char *s, const char *p);

static inline void breathe(struct pattern *m) {
  if (m->steps >= SPEND_AT) pattern_spend(m);
}

/* The byte that the rest p of the pattern must begin with, or -1 when that is not plain to see. */
static int next_byte(const struct pattern *m, const char *p) {
  if (p == m->end || strchr("(%.[)$", *p)) return -1;
  if (p + 1 < m->end && strchr("*?-", p[1])) return -1;
  return (unsigned char)*p;
}

/* The rest of the pattern at s, spared the attempt where its first byte is not there. */
static inline const char *try_rest(struct pattern *m, const char *s, const char *p, int next) {
  if (next < 0 || m->depth == 0) return here(m, s, p);
  m->steps++;
  return s < m->subject_end && (unsigned char)*s == next ? here(m, s, p) : NULL;
}

static const char *most(struct pattern *m, const char *s, const char *p, const char *end) {
  int next = next_byte(m, end + 1);
  for (const char *to = run_end(m, p, s, true);; to--) {
    const char *found = try_rest(m, to, end + 1, next);
    if (found || to == s) return found;
  }
}

static const char *least(struct pattern *m, const char *s, const char *p, const char *end) {
  int next = next_byte(m, end + 1);
  for (;; s++) {
    const char *found = try_rest(m, s, end + 1, next);
    if (found) return found;
    if (!item_has(m, p, s)) return NULL;
  }
}

/* ---- captures */
static const char *capture_begin(struct pattern *m, const char *s, const char *p, int kind) {
  if (m->level >= MOST_CAPTURES) luaL_error(m->L, "too many captures");
  m->capture[m->level].at = s;
  m->capture[m->level].n = kind;
  m->level++;
  const char *found = here(m, s, p);
  if (!found) m->level--;
  return found;
}

static const char *capture_end(struct pattern *m, const char *s, const char *p) {
  int i = m->level - 1;
  while (i >= 0 && m->capture[i].n != CAPTURE_OPEN) i--;
  if (i < 0) luaL_error(m->L, "invalid pattern capture");
  m->capture[i].n = s - m->capture[i].at;
  const char *found = here(m, s, p);
  if (!found) m->capture[i].n = CAPTURE_OPEN;
  return found;
}

/* The text of capture `digit` again. */
static const char *capture_again(struct pattern *m, const char *s, char digit) {
  int i = digit - '1';
  if (i < 0 || i >= m->level || m->capture[i].n == CAPTURE_OPEN) luaL_error(m->L, "invalid capture index %%%d", i + 1);
  ptrdiff_t n = m->capture[i].n;
  if (n == CAPTURE_POSITION || m->subject_end - s < n) return NULL;
  m->steps += 1 + (uint64_t)n / 32;
  return memcmp(m->capture[i].at, s, (size_t)n) == 0 ? s + n : NULL;
}

/* ---- %b and %f; p is behind the letter */
static const char *balanced(struct pattern *m, const char *s, const char *p) {
  if (p >= m->end - 1) luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
  if (s >= m->subject_end || *s != p[0]) return NULL;
  const char *from = s;
  for (size_t open = 1; ++s < m->subject_end;) {
    if (*s == p[1]) {
      if (--open == 0) break;
    } else if (*s == p[0]) {
      open++;
    }
  }
  m->steps += (uint64_t)(s - from) / 4 + 1;
  return s < m->subject_end ? s + 1 : NULL;
}

static bool frontier(struct pattern *m, const char *s, const char *p, const char **end) {
  if (*p != '[') luaL_error(m->L, "missing '[' after '%%f' in pattern");
  *end = item_end(m, p);
  m->steps += 2;
  unsigned char before = s == m->subject ? 0 : (unsigned char)s[-1], after = s == m->subject_end ? 0 : (unsigned char)*s;
  const struct set *set = set_of(m, p);
  return !set_has(set, before) && set_has(set, after);
}

/* ---- the matcher: where the rest p of the pattern, matched at s, ends; or NULL.
   What may be tried in more than one way is tried by recursion, the rest in the loop. */
static const char *rest(struct pattern *m, const char *s, const char *p) {
  const char *end, *found;
  while (p != m->end) {
    m->steps++;
    breathe(m);
    switch (*p) {
      case '(': return p[1] == ')' ? capture_begin(m, s, p + 2, CAPTURE_POSITION) : capture_begin(m, s, p + 1, CAPTURE_OPEN);
      case ')': return capture_end(m, s, p + 1);
      case '$':
        if (p + 1 == m->end) return s == m->subject_end ? s : NULL;
        break;
      case '%':
        if (p[1] == 'b') {
          if (!(s = balanced(m, s, p + 2))) return NULL;
          p += 4;
          continue;
        }
        if (p[1] == 'f') {
          if (!frontier(m, s, p + 2, &end)) return NULL;
          p = end;
          continue;
        }
        if (kinds[(unsigned char)p[1]] & DIGIT) {
          if (!(s = capture_again(m, s, p[1]))) return NULL;
          p += 2;
          continue;
        }
        break;
    }
    end = item_end(m, p);
    bool once = item_has(m, p, s);
    switch (*end) {
      case '*':
        if (once) return most(m, s, p, end);
        break;
      case '-':
        if (once) return least(m, s, p, end);
        break;
      case '?':
        if (once && (found = here(m, s + 1, end + 1))) return found;
        break;
      case '+': return once ? most(m, s + 1, p, end) : NULL;
      default:
        if (!once) return NULL;
        s++;
        p = end;
        continue;
    }
    p = end + 1;
  }
  return s;
}

static const char *here(struct pattern *m, const char *s, const char *p) {
  if (m->depth-- == 0) luaL_error(m->L, "pattern too complex");
  s = rest(m, s, p);
  m->depth++;
  return s;
}

/* ---- from outside */
void pattern_init(struct pattern *m, lua_State *L, struct span subject, struct span text) {
  m->L = L;
  m->subject = subject.p;
  m->subject_end = subject.p + subject.n;
  m->start = text.p;
  m->end = text.p + text.n;
  m->steps = 0;
  m->lead = LEAD_UNKNOWN;
  m->set_count = 0;
}

const char *pattern_at(struct pattern *m, const char *s) {
  m->depth = MOST_DEPTH;
  m->level = 0;
  return here(m, s, m->start);
}

/* A capture may stand before the first item. What may match nothing is no lead. */
static void lead_find(struct pattern *m) {
  const char *p = m->start;
  m->lead = LEAD_NONE;
  while (*p == '(' && p[1] != ')') p++;
  if (p - m->start > MOST_CAPTURES) return;        /* the matcher refuses them, before it looks further */
  if (p == m->end || strchr("().$", *p)) return;
  if (*p == '%' && (p[1] == 'b' || p[1] == 'f' || kinds[(unsigned char)p[1]] & DIGIT)) return;
  const char *end = item_end(m, p);
  if (end < m->end && strchr("*?-", *end)) return;
  m->lead = *p == '%' ? LEAD_CLASS : *p == '[' ? LEAD_SET : LEAD_BYTE;
  m->lead_at = p;
}

const char *pattern_skip(struct pattern *m, const char *s) {
  if (m->lead == LEAD_UNKNOWN) lead_find(m);
  if (m->lead == LEAD_NONE || s >= m->subject_end) return s;
  return run_end(m, m->lead_at, s, false);
}

void pattern_spend(struct pattern *m) {
  uint64_t steps = m->steps;
  m->steps = 0;
  vm_spend(m->L, steps);
}
