/* Where windows begin and end. Pure. */
#include "room.h"

enum { DAY = 86400 };

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

/* When a day of the zone's calendar begins: the first second whose local time is not before its midnight, which some days do
   not have. By halving between the farthest offsets there are; it is asked only when a window turns. */
static int64_t midnight(const struct zone *z, int64_t day) {
  int64_t early = day * DAY - 16 * 3600, late = day * DAY + 16 * 3600;
  if (!z) return day * DAY;
  while (early < late) {
    int64_t mid = floor_div(early + late, 2);
    if (mid + zone_offset(z, mid) >= day * DAY) late = mid;
    else early = mid + 1;
  }
  return early;
}

/* Days since 1970 of the first of a month; month counts from January 1970. The year begins in March, so that the day that
   comes and goes is its last (H. Hinnant, "chrono-compatible low-level date algorithms"). */
int64_t first_of(int64_t month) {
  int64_t year = 1970 + floor_div(month, 12), m = month - floor_div(month, 12) * 12;
  if (m < 2) year--;
  int64_t era = floor_div(year, 400), of_era = year - era * 400, of_year = (153 * ((m + 10) % 12) + 2) / 5;
  return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* The month that a day lies in: near enough by division, then stepped. */
int64_t month_of(int64_t day) {
  int64_t m = floor_div(day * 100, 3044);
  while (first_of(m) > day) m--;
  while (first_of(m + 1) <= day) m++;
  return m;
}

int64_t window_part_ms(uint32_t seconds) { return (int64_t)seconds * 1000 / PARTS + ((int64_t)seconds * 1000 % PARTS != 0); }

void window_bounds(const struct cell_window *w, int64_t now_ms, int64_t *start_ms, int64_t *end_ms) {
  int64_t now = floor_div(now_ms, 1000), day, month, start = 0, end = 0;
  switch (w->kind) {
  case WINDOW_TOTAL: case WINDOW_SESSION: case WINDOW_ROLLING: break;           /* these have no place on a clock */
  case WINDOW_FIXED:
    start = floor_div(now, w->seconds) * w->seconds;
    end = start + w->seconds;
    break;
  case WINDOW_DAY:
    day = floor_div(now + zone_offset(w->zone, now), DAY);
    start = midnight(w->zone, day);
    end = midnight(w->zone, day + 1);
    break;
  case WINDOW_MONTH:
    month = month_of(floor_div(now + zone_offset(w->zone, now), DAY));
    start = midnight(w->zone, first_of(month));
    end = midnight(w->zone, first_of(month + 1));
    break;
  }
  *start_ms = start * 1000;
  *end_ms = end * 1000;
}

int64_t cells_window_end(const struct cell_window *w, int64_t now_ms) {
  int64_t start, end;
  window_bounds(w, now_ms, &start, &end);
  return end;
}
