/* cursor.h: a walk that never goes back, for the one path taken on every chunk of every stream.
   json_next hands out values whole, so it looks for the end of each, and a walk into the value then
   looks at the same bytes again. A cursor enters a value first and meets its end on the way. Only
   for text that json_read has accepted: every string and container is known to be closed. */
#ifndef WEIR_DIALECT_CURSOR_H
#define WEIR_DIALECT_CURSOR_H

#include "weir/json.h"

/* Past the string whose content starts at `start` and holds no backslash before `at`. */
const char *cursor_string_far(const char *start, const char *at);
/* Past the container whose first bracket stands at `at`. */
const char *cursor_container(const char *at);

static inline const char *cursor_space(const char *at) {
  while ((unsigned char)*at <= ' ') at++;
  return at;
}

/* Past the string whose opening quote stands at `at`. Most are short: ids, words, one token of text. */
static inline const char *cursor_string(const char *at) {
  const char *start = at + 1, *near = at + 32;
  for (at = start; at < near; at++) {
    if (*at == '"') return at + 1;
    /* A branch: made into a conditional move, each byte waited for the one before it. */
    if (__builtin_expect(*at == '\\', 0)) break;
  }
  return cursor_string_far(start, at);
}

/* The value at *at, which is moved past it. */
static inline struct json cursor_value(const char **at) {
  const char *start = *at, *end = start;
  enum json_type type = JSON_NUMBER;
  switch (*start) {
  case '"': end = cursor_string(start); type = JSON_STRING; break;
  case '{': end = cursor_container(start); type = JSON_OBJECT; break;
  case '[': end = cursor_container(start); type = JSON_ARRAY; break;
  case 'n': end += 4; type = JSON_NULL; break;
  case 't': end += 4; type = JSON_TRUE; break;
  case 'f': end += 5; type = JSON_FALSE; break;
  default:  while ((unsigned char)*end > ' ' && *end != ',' && *end != '}' && *end != ']') end++;
  }
  *at = end;
  return (struct json){ type, { start, (size_t)(end - start) } };
}

/* The key at *at, which is moved to its value. */
static inline struct json cursor_key(const char **at) {
  const char *start = *at, *end = cursor_string(start);
  *at = cursor_space(cursor_space(end) + 1);
  return (struct json){ JSON_STRING, { start, (size_t)(end - start) } };
}

/* Into a container, and on from behind a value: to the next key or item, or the closing bracket. */
static inline const char *cursor_enter(const char *at) { return cursor_space(at + 1); }
static inline const char *cursor_next(const char *at) {
  at = cursor_space(at);
  return *at == ',' ? cursor_space(at + 1) : at;
}

#endif
