/* words.c: how names, patterns, hashes and ends of keys are written. */
#include <time.h>
#include "weir/keys.h"
#include "hex.h"

const char *key_name_refused(struct span name) {
  if (!name.n) return "the name is empty";
  if (name.n > KEY_LONGEST_NAME) return "the name is longer than 64 characters";
  if (name.p[0] == '.') return "a name does not start with '.': its file would be a hidden one";
  for (size_t i = 0; i < name.n; i++) {
    char c = ascii_lower(name.p[i]);
    if ((c < '0' || c > '9') && (c < 'a' || c > 'z') && c != '.' && c != '_' && c != '-')
      return "a name holds letters, digits, '.', '_' and '-' only";
  }
  return NULL;
}

const char *key_pattern_refused(struct span pattern) {
  if (!pattern.n) return "the name of a model is empty";
  if (pattern.n > 256) return "the name of a model is longer than 256 bytes";
  if (span_find(pattern, '*') + 1 < pattern.n) return "'*' stands for the rest of a name: only at its end, and once";
  return NULL;
}

/* ---- hashes */
bool key_hash_read(struct span text, unsigned char digest[SHA256_SIZE]) {
  if (text.n != KEY_HASH_TEXT || !span_starts(text, SPAN("sha256:"))) return false;
  for (size_t i = 0; i < SHA256_SIZE; i++) {
    int high = hex_digit(text.p[7 + 2 * i]), low = hex_digit(text.p[8 + 2 * i]);
    if (high < 0 || low < 0) return false;
    digest[i] = (unsigned char)(high << 4 | low);
  }
  return true;
}

void key_hash_write(const unsigned char digest[SHA256_SIZE], char out[KEY_HASH_TEXT + 1]) {
  memcpy(out, "sha256:", 7);
  sha256_hex(digest, out + 7);
}

/* ---- ends */
/* `count` digits at *p as a number in low..high; moves *p behind them and behind the sign that must follow. */
static bool number(const char **p, unsigned count, int low, int high, char sign, int *out) {
  int v = 0;
  for (; count; count--, (*p)++) {
    if (**p < '0' || **p > '9') return false;
    v = v * 10 + (**p - '0');
  }
  *out = v;
  return v >= low && v <= high && (!sign || *(*p)++ == sign);
}

bool key_until_read(struct span text, int64_t *until) {
  char copy[KEY_UNTIL_TEXT + 1] = { 0 };
  const char *p = copy;
  struct tm tm = { 0 };
  if (text.n != 10 && text.n != KEY_UNTIL_TEXT) return false;
  memcpy(copy, text.p, text.n);
  bool day = text.n == 10;
  if (!number(&p, 4, 1970, 9999, '-', &tm.tm_year) || !number(&p, 2, 1, 12, '-', &tm.tm_mon) ||
      !number(&p, 2, 1, 31, day ? 0 : 'T', &tm.tm_mday))
    return false;
  if (!day && (!number(&p, 2, 0, 23, ':', &tm.tm_hour) || !number(&p, 2, 0, 59, ':', &tm.tm_min) ||
               !number(&p, 2, 0, 59, 'Z', &tm.tm_sec)))
    return false;
  int mday = tm.tm_mday;
  tm.tm_year -= 1900;
  tm.tm_mon -= 1;
  time_t t = timegm(&tm);
  *until = (int64_t)t + (day ? 86400 : 0);
  return tm.tm_mday == mday;                       /* timegm turns 31 April into 1 May */
}

void key_until_write(int64_t until, char out[KEY_UNTIL_TEXT + 1]) {
  time_t t = (time_t)until;
  struct tm tm;
  gmtime_r(&t, &tm);
  strftime(out, KEY_UNTIL_TEXT + 1, "%Y-%m-%dT%H:%M:%SZ", &tm);
}
