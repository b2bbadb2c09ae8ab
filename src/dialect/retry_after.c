#include "weir/dialect.h"
#include <time.h>

static int month_of(struct span s) {
  static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  for (int i = 0; i < 12; i++)
    if (span_eq(s, span_of(names + 3 * i, 3))) return i;
  return -1;
}

static bool number(struct span s, uint64_t most, int *out) {
  uint64_t n;
  if (!span_u64(s, &n) || n > most) return false;
  *out = (int)n;
  return true;
}

static bool clock_read(struct span s, struct tm *tm) {
  return s.n == 8 && s.p[2] == ':' && s.p[5] == ':' && number(span_of(s.p, 2), 23, &tm->tm_hour) &&
         number(span_of(s.p + 3, 2), 59, &tm->tm_min) && number(span_of(s.p + 6, 2), 60, &tm->tm_sec);
}

/* "06 Nov 1994" or "06-Nov-94" in three spans. */
static bool day_read(struct span day, struct span month, struct span year, struct tm *tm) {
  int y;
  if (!number(day, 31, &tm->tm_mday) || !tm->tm_mday || !number(year, 9999, &y)) return false;
  tm->tm_mon = month_of(month);
  if (year.n == 2) y += y < 70 ? 2000 : 1900;
  tm->tm_year = y - 1900;
  return tm->tm_mon >= 0 && y >= 1970;
}

/* The three forms of RFC 9110 5.6.7: "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT" and
   "Sun Nov  6 08:49:37 1994". */
static bool date_read(struct span s, double *unix_time) {
  struct span word[6];
  size_t n = 0;
  struct tm tm = { 0 };
  for (struct span rest = s; rest.n && n < 6;) {
    rest = span_trim(rest);
    rest = span_cut(rest, ' ', &word[n]);
    if (word[n].n) n++;
  }
  bool ok = false;
  if (n == 6) {
    ok = day_read(word[1], word[2], word[3], &tm) && clock_read(word[4], &tm) && span_eq(word[5], SPAN("GMT"));
  } else if (n == 4) {
    struct span day, month, year = span_cut(span_cut(word[1], '-', &day), '-', &month);
    ok = day_read(day, month, year, &tm) && clock_read(word[2], &tm) && span_eq(word[3], SPAN("GMT"));
  } else if (n == 5) {
    ok = day_read(word[2], word[1], word[4], &tm) && clock_read(word[3], &tm);
  }
  *unix_time = ok ? (double)timegm(&tm) : 0;
  return ok;
}

static double milliseconds(struct span s) {
  double ms;
  return span_double(s, &ms) && ms >= 0 && ms < 1e15 ? ms / 1000 : -1;
}

double retry_after_read(const struct http_head *head, double now) {
  double seconds = milliseconds(http_header(head, SPAN("retry-after-ms"))), date;
  if (seconds < 0) seconds = milliseconds(http_header(head, SPAN("x-ms-retry-after-ms")));
  if (seconds >= 0) return seconds;
  struct span value = span_trim(http_header(head, SPAN("retry-after")));
  if (!value.n) return -1;
  if (span_double(value, &seconds)) return seconds >= 0 && seconds < 1e12 ? seconds : -1;
  if (!date_read(value, &seconds)) return -1;
  if (now < 0) now = date_read(http_header(head, SPAN("date")), &date) ? date : (double)time(NULL);
  return seconds > now ? seconds - now : 0;
}
