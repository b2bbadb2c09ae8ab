/* Zone files (RFC 8536): a list of transitions, and for the time after the last of them a rule such as
   "CET-1CEST,M3.5.0,M10.5.0/3" in the file's last line. */
#include "room.h"
#include "weir/mem.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { HEAD = 44, MOST_FILE = 1 << 20, DAY = 86400, HOUR = 3600 };

/* When in a year the clocks change: 'M' the week-th weekday of a month (5: the last), 'J' a day from 1 that never counts
   29 February, 'N' a day from 0. */
struct change { char kind; int month, week, day; int32_t at; };
struct zone {
  size_t count;
  int64_t *times;                     /* begin of each offset but the first */
  int32_t *offsets;                   /* count + 1 */
  bool rule, summer;                  /* there is a rule; it knows summer time */
  int32_t offset, summer_offset;
  struct change begin, end;
};

/* ---- the rule */
static bool rule_name(struct span *s) {
  size_t n = 0;
  if (s->n && s->p[0] == '<') {
    n = span_find(*s, '>') + 1;
    if (n > s->n) return false;
  } else {
    while (n < s->n && isalpha((unsigned char)s->p[n])) n++;
  }
  *s = span_from(*s, n);
  return n >= 3;
}

static bool rule_number(struct span *s, int most, int *out) {
  size_t n = 0;
  *out = 0;
  while (n < s->n && n < 4 && s->p[n] >= '0' && s->p[n] <= '9') *out = *out * 10 + (s->p[n++] - '0');
  *s = span_from(*s, n);
  return n > 0 && *out <= most;
}

static bool rule_sign(struct span *s, char c) {
  bool there = s->n && s->p[0] == c;
  if (there) *s = span_from(*s, 1);
  return there;
}

static bool rule_time(struct span *s, int32_t *out) {      /* [+-]h[:m[:s]] */
  int h, m = 0, sec = 0;
  bool minus = rule_sign(s, '-');
  if (!minus) rule_sign(s, '+');
  if (!rule_number(s, 167, &h)) return false;
  if (rule_sign(s, ':') && !rule_number(s, 59, &m)) return false;
  if (rule_sign(s, ':') && !rule_number(s, 59, &sec)) return false;
  *out = (minus ? -1 : 1) * (h * HOUR + m * 60 + sec);
  return true;
}

static bool rule_change(struct span *s, struct change *c) {
  *c = (struct change){ .kind = 'N', .at = 2 * HOUR };
  if (!rule_sign(s, ',')) return false;
  if (rule_sign(s, 'M')) {
    c->kind = 'M';
    if (!rule_number(s, 12, &c->month) || !c->month || !rule_sign(s, '.') || !rule_number(s, 5, &c->week) || !c->week ||
        !rule_sign(s, '.') || !rule_number(s, 6, &c->day))
      return false;
  } else {
    if (rule_sign(s, 'J')) c->kind = 'J';
    if (!rule_number(s, 365, &c->day)) return false;
  }
  return !rule_sign(s, '/') || rule_time(s, &c->at);
}

/* Offsets in the rule count west of UTC, ours count east. */
static bool rule_read(struct zone *z, struct span s) {
  int32_t west;
  if (!s.n) return true;
  if (!rule_name(&s) || !rule_time(&s, &west)) return false;
  z->rule = true;
  z->offset = -west;
  if (!s.n) return true;
  z->summer = true;
  z->summer_offset = z->offset + HOUR;
  if (!rule_name(&s)) return false;
  if (s.n && s.p[0] != ',') {
    if (!rule_time(&s, &west)) return false;
    z->summer_offset = -west;
  }
  return rule_change(&s, &z->begin) && rule_change(&s, &z->end) && !s.n;
}

static int64_t change_time(const struct change *c, int64_t year) {       /* as the clock on the wall shows it */
  int64_t january = (year - 1970) * 12, day;
  if (c->kind == 'M') {
    int64_t first = first_of(january + c->month - 1), next = first_of(january + c->month);
    day = first + (c->day - (first + 4) % 7 + 14) % 7 + (c->week - 1) * 7;        /* 1 January 1970 was a Thursday */
    if (day >= next) day -= 7;
  } else {
    bool leap = first_of(january + 2) - first_of(january + 1) == 29;
    day = first_of(january) + c->day - (c->kind == 'J' && !(leap && c->day >= 60));
  }
  return day * DAY + c->at;
}

static int32_t rule_offset(const struct zone *z, int64_t t) {
  if (!z->summer) return z->offset;
  int64_t year = 1970 + floor_div(month_of(floor_div(t + z->offset, DAY)), 12);
  int64_t begin = change_time(&z->begin, year) - z->offset, end = change_time(&z->end, year) - z->summer_offset;
  bool summer = begin < end ? t >= begin && t < end : !(t >= end && t < begin);
  return summer ? z->summer_offset : z->offset;
}

int32_t zone_offset(const struct zone *z, int64_t t) {
  if (!z) return 0;
  if (z->rule && (!z->count || t >= z->times[z->count - 1])) return rule_offset(z, t);
  size_t low = 0, high = z->count;                         /* transitions that are not after t */
  while (low < high) {
    size_t mid = (low + high) / 2;
    if (z->times[mid] <= t) low = mid + 1;
    else high = mid;
  }
  return z->offsets[low];
}

/* ---- the file */
static int64_t big(const char *p, size_t n) {
  uint64_t v = (unsigned char)p[0] & 0x80 ? UINT64_MAX : 0;
  for (size_t i = 0; i < n; i++) v = v << 8 | (unsigned char)p[i];
  return (int64_t)v;
}

enum { N_UTC, N_STD, N_LEAP, N_TIMES, N_TYPES, N_CHARS, NUMBERS };
static bool head_read(struct span s, int64_t n[NUMBERS]) {
  if (s.n < HEAD || memcmp(s.p, "TZif", 4) != 0) return false;
  for (size_t i = 0; i < NUMBERS; i++) {
    n[i] = big(s.p + 20 + 4 * i, 4);
    if (n[i] < 0 || n[i] > MOST_FILE) return false;
  }
  return true;
}

static size_t body_size(const int64_t n[NUMBERS], int64_t width) {
  return (size_t)(n[N_TIMES] * (width + 1) + n[N_TYPES] * 6 + n[N_CHARS] + n[N_LEAP] * (width + 4) + n[N_STD] + n[N_UTC]);
}

/* Transitions in order, and types that there are; the first type is that of the time before them all. */
static bool body_read(struct zone *z, const char *p, const int64_t n[NUMBERS]) {
  const char *which = p + n[N_TIMES] * 8, *types = which + n[N_TIMES];
  z->count = (size_t)n[N_TIMES];
  z->times = mem_alloc((z->count + 1) * sizeof *z->times);
  z->offsets = mem_alloc((z->count + 1) * sizeof *z->offsets);
  if (n[N_TYPES] < 1) return false;
  z->offsets[0] = (int32_t)big(types, 4);
  for (size_t i = 0; i < z->count; i++) {
    int64_t type = (unsigned char)which[i];
    z->times[i] = big(p + 8 * i, 8);
    if (type >= n[N_TYPES] || (i && z->times[i] <= z->times[i - 1])) return false;
    z->offsets[i + 1] = (int32_t)big(types + 6 * type, 4);
  }
  for (size_t i = 0; i <= z->count; i++)
    if (z->offsets[i] < -DAY || z->offsets[i] > DAY) return false;
  return true;
}

static bool file_read(struct zone *z, struct span s) {
  int64_t n[NUMBERS];
  struct span rule;
  if (!head_read(s, n) || s.p[4] < '2' || s.n < HEAD + body_size(n, 4)) return false;       /* version 1 ends in 2037: too old */
  s = span_from(s, HEAD + body_size(n, 4));
  if (!head_read(s, n) || s.n < HEAD + body_size(n, 8) + 2 || !body_read(z, s.p + HEAD, n)) return false;
  s = span_from(s, HEAD + body_size(n, 8));
  if (s.p[0] != '\n') return false;
  span_cut(span_from(s, 1), '\n', &rule);
  return rule_read(z, rule);
}

struct zone *zone_read(struct span file, const char **why) {
  struct zone *z = mem_zero(sizeof *z);
  if (file_read(z, file)) return z;
  zone_free(z);
  *why = "not a zone file of version 2 or later";
  return NULL;
}

static bool name_plain(struct span name) {
  for (size_t i = 0; i < name.n; i++)
    if (!isalnum((unsigned char)name.p[i]) && !strchr("_+-/", name.p[i])) return false;
  return name.n > 0 && name.n < 64 && name.p[0] != '/';
}

struct zone *zone_load(struct span name, const char **why) {
  const char *folder = getenv("TZDIR");
  struct buf path = { 0 }, file = { 0 };
  struct zone *z = NULL;
  *why = "no such zone";
  if (span_eq(name, SPAN("UTC"))) {
    z = mem_zero(sizeof *z);
    z->rule = true;
    return z;
  }
  if (!name_plain(name)) return NULL;
  buf_printf(&path, "%s/%.*s", folder ? folder : "/usr/share/zoneinfo", SPAN_FMT(name));
  buf_byte(&path, 0);
  int fd = open(path.p, O_RDONLY | O_CLOEXEC);
  buf_free(&path);
  if (fd < 0) {
    if (errno == ENOENT && access(folder ? folder : "/usr/share/zoneinfo", R_OK)) *why = "the system has no zone files (package tzdata)";
    return NULL;
  }
  for (ssize_t got = 1; got > 0 && buf_size(&file) < MOST_FILE;) {
    got = read(fd, buf_reserve(&file, 8192), 8192);
    if (got > 0) buf_commit(&file, (size_t)got);
  }
  close(fd);
  z = zone_read(buf_span(&file), why);
  buf_free(&file);
  return z;
}

void zone_free(struct zone *z) {
  if (!z) return;
  mem_free(z->times);
  mem_free(z->offsets);
  mem_free(z);
}
