/* Zones against the C library's, and calendar windows in them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "weir/zone.h"
#include "../../../src/cells/room.h"

static const char *const names[] = { "Europe/Berlin", "America/New_York", "America/Santiago", "Asia/Kathmandu", "Australia/Lord_Howe",
                                     "Europe/Dublin", "Pacific/Apia", "Africa/Casablanca", "America/Sao_Paulo", "Asia/Tokyo", "Etc/GMT+5" };
enum { NAMES = sizeof names / sizeof *names };

static struct zone *load(const char *name) {
  const char *why;
  struct zone *z = zone_load(span_cstr(name), &why);
  if (!z) fail_msg("%s: %s", name, why);
  return z;
}

static bool there(void) {
  if (access("/usr/share/zoneinfo/Europe/Berlin", R_OK) == 0) return true;
  print_message("skipped: no zone files\n");
  return false;
}

static void as_the_c_library(void **state) {
  (void)state;
  if (!there()) skip();
  for (size_t i = 0; i < NAMES; i++) {
    struct zone *z = load(names[i]);
    setenv("TZ", names[i], 1);
    tzset();
    for (int64_t t = -1000000000; t < 5000000000; t += 86400 * 3 + 3607) {     /* 1938 to 2128: both halves of the file */
      struct tm tm;
      time_t at = t;
      localtime_r(&at, &tm);
      if (tm.tm_gmtoff != zone_offset(z, t)) fail_msg("%s at %ld: %ld, not %d", names[i], t, tm.tm_gmtoff, zone_offset(z, t));
    }
    zone_free(z);
  }
  unsetenv("TZ");
  tzset();
}

static void bounds(const char *zone, enum window_kind kind, int64_t at, int64_t start, int64_t end) {
  struct zone *z = load(zone);
  int64_t from, to;
  window_bounds(&(struct cell_window){ kind, 0, z }, at * 1000, &from, &to);
  if (from != start * 1000 || to != end * 1000) fail_msg("%s at %ld: %ld to %ld", zone, at, from / 1000, to / 1000);
  zone_free(z);
}

static void calendar_windows(void **state) {
  (void)state;
  bounds("UTC", WINDOW_DAY, 1711843200 + 5, 1711843200, 1711929600);
  if (!there()) skip();
  bounds("Europe/Berlin", WINDOW_DAY, 1711843200, 1711839600, 1711922400);                /* 2024-03-31: 23 hours */
  bounds("Europe/Berlin", WINDOW_DAY, 1730030400, 1729980000, 1730070000);                /* 2024-10-27: 25 hours */
  bounds("Europe/Berlin", WINDOW_MONTH, 1711843200, 1709247600, 1711922400);              /* March 2024 */
  bounds("America/New_York", WINDOW_MONTH, 1704085199, 1701406800, 1704085200);           /* the year's last second there */
  bounds("Asia/Kathmandu", WINDOW_DAY, 1711843200, 1711822500, 1711908900);
}

/* Every moment lies in its window, and each window begins where the last one ended. */
static void windows_follow_each_other(void **state) {
  (void)state;
  if (!there()) skip();
  for (size_t i = 0; i < NAMES; i++) {
    struct zone *z = load(names[i]);
    for (enum window_kind kind = WINDOW_DAY; kind <= WINDOW_MONTH; kind++) {
      int64_t start, end, before = 0;
      for (int64_t t = 1600000000000; t < 1900000000000; t = end) {
        window_bounds(&(struct cell_window){ kind, 0, z }, t, &start, &end);
        int64_t hours = (end - start) / 3600000;
        bool odd = (before && start != before) || start > t || end <= t || hours < (kind == WINDOW_DAY ? 22 : 27 * 24);
        if (odd) fail_msg("%s at %ld: %ld to %ld after %ld", names[i], t, start, end, before);
        before = end;
      }
    }
    zone_free(z);
  }
}

static void refused(void **state) {
  static const char *const bad[] = { "", "../../etc/passwd", "/etc/passwd", "No/Where", "Europe" };
  const char *why;
  (void)state;
  for (size_t i = 0; i < 5; i++) {
    why = NULL;
    assert_null(zone_load(span_cstr(bad[i]), &why));
    assert_non_null(why);
  }
}

/* Any file cut anywhere, or with any byte changed, is read or refused. */
static void broken_files(void **state) {
  char bytes[8192];
  const char *why;
  (void)state;
  FILE *f = fopen("/usr/share/zoneinfo/Europe/Dublin", "r");
  if (!f) skip();
  size_t n = fread(bytes, 1, sizeof bytes, f);
  fclose(f);
  for (size_t cut = 0; cut < n; cut += 7) {
    char *exact = malloc(cut + 1);
    memcpy(exact, bytes, cut);
    assert_null(zone_read(span_of(exact, cut), &why));
    free(exact);
  }
  for (size_t i = 0; i < n; i++) {
    char was = bytes[i];
    bytes[i] = (char)(was ^ (0x10 << i % 4));
    struct zone *z = zone_read(span_of(bytes, n), &why);
    for (int64_t t = 0; z && t < 5000000000; t += 1000000007) zone_offset(z, t);
    zone_free(z);
    bytes[i] = was;
  }
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test(as_the_c_library), cmocka_unit_test(calendar_windows),
                                      cmocka_unit_test(windows_follow_each_other), cmocka_unit_test(refused), cmocka_unit_test(broken_files) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
