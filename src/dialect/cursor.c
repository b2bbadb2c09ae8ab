#include "cursor.h"

/* A quote ends the string unless an odd number of backslashes stands before it. */
const char *cursor_string_far(const char *start, const char *at) {
  for (;; at++) {
    at = rawmemchr(at, '"');
    const char *slash = at;
    while (slash > start && slash[-1] == '\\') slash--;
    if ((at - slash) % 2 == 0) return at + 1;
    start = at + 1;
  }
}

const char *cursor_container(const char *at) {
  for (unsigned depth = 0;; at++) {
    switch (*at) {
    case '"': at = cursor_string(at) - 1; break;
    case '{': case '[': depth++; break;
    case '}': case ']': if (!--depth) return at + 1;
    }
  }
}
