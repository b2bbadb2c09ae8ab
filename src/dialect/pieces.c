/* pieces.c: the small shared parts of reading: keys, counts, and what becomes of a piece of content. */
#include "dialect_impl.h"

struct json key_plain(struct json key, char room[64]) {
  struct arena a = { 0 };
  struct span text;
  json_unescape(key, &a, &text);
  struct json plain = key;
  if (text.n + 2 <= 64) {
    room[0] = '"';
    if (text.n) memcpy(room + 1, text.p, text.n);
    room[text.n + 1] = '"';
    plain.text = span_of(room, text.n + 2);
  }
  arena_end(&a);
  return plain;
}

/* \uXXXX of a surrogate counts two bytes, so that a pair makes the four of its character. */
static uint64_t escape_bytes(const char *at) {
  unsigned high = (unsigned char)at[2] | 0x20, second = (unsigned char)at[3] | 0x20;
  if (at[2] != '0') return high == 'd' && second >= '8' ? 2 : 3;
  if (at[3] >= '8') return 3;
  return at[3] != '0' || at[4] >= '8' ? 2 : 1;
}

uint64_t string_bytes(struct json v) {
  struct span s = string_raw(v);
  if (!s.n || !memchr(s.p, '\\', s.n)) return s.n;
  uint64_t bytes = 0;
  for (const char *at = s.p, *end = at + s.n; at < end;) {
    bool escape = *at == '\\', unicode = escape && at[1] == 'u';
    bytes += unicode ? escape_bytes(at) : 1;
    at += unicode ? 6 : escape ? 2 : 1;
  }
  return bytes;
}

int64_t json_count(struct json v) {
  enum { PLAIN_MOST = 15 };
  int64_t n = 0;
  size_t i = 0;
  if (v.type != JSON_NUMBER) return -1;
  for (; i < v.text.n && i < PLAIN_MOST && (unsigned)(v.text.p[i] - '0') <= 9; i++) n = n * 10 + (v.text.p[i] - '0');
  if (i == v.text.n) return n;
  return json_i64(v, &n) && n >= 0 && n <= 1000000000000000 ? n : -1;
}

bool json_truthy(struct json v) {
  double n;
  switch (v.type) {
  case JSON_NONE: case JSON_NULL: case JSON_FALSE: return false;
  case JSON_STRING: return string_full(v);
  case JSON_NUMBER: return !json_f64(v, &n) || n != 0;
  default: return true;
  }
}

static void text_append(struct pieces *p, int choice, struct json string) {
  struct span text;
  json_unescape(string, p->scratch, &text);
  if (p->last_choice >= 0 && p->last_choice != choice) buf_byte(p->text, '\n');
  p->last_choice = choice;
  buf_add(p->text, text);
}

/* The next place to fill; NULL when the deltas are only counted or out is full. */
static struct delta *delta_next(struct pieces *p, enum delta_kind kind, int choice) {
  struct delta *d = p->out && p->count < DELTA_MOST ? &p->out[p->count] : NULL;
  p->count++;
  p->content += kind <= DELTA_TOOL;
  if (d) *d = (struct delta){ .kind = kind, .choice = choice, .usage = USAGE_NONE };
  return d;
}

void piece_text(struct pieces *p, enum delta_kind kind, int choice, struct json string) {
  if (!string_full(string)) return;
  p->real = true;
  struct delta *d = delta_next(p, kind, choice);
  if (d) d->text = string;
  p->bytes += string_bytes(string);
  if (p->text && p->thinking == (kind == DELTA_THINKING)) text_append(p, choice, string);
}

static bool argument_full(struct json v) {
  return string_full(v) || (v.type == JSON_OBJECT && json_iter(v).at != json_iter(v).end);
}

void piece_tool(struct pieces *p, int choice, int index, struct json id, struct json name, struct json arguments) {
  bool has_id = string_full(id), has_name = string_full(name), has_arguments = argument_full(arguments);
  if (!has_id && !has_name && !has_arguments) return;
  p->tools = true;
  if (has_name || has_arguments) p->real = true;
  struct delta *d = delta_next(p, DELTA_TOOL, choice);
  if (d) {
    d->tool_index = index;
    if (has_id) d->tool_id = id;
    if (has_name) d->tool_name = name;
    if (has_arguments) d->tool_arguments = arguments;
  }
  p->bytes += (has_name ? string_bytes(name) : 0);
  if (has_arguments) p->bytes += arguments.type == JSON_STRING ? string_bytes(arguments) : arguments.text.n;
}

void piece_finish(struct pieces *p, int choice, struct span finish) {
  if (!p->finish.n) p->finish = finish;
  struct delta *d = delta_next(p, DELTA_FINISH, choice);
  if (d) d->finish = finish;
}

void piece_usage(struct pieces *p, const struct usage *usage) {
  struct delta *d = delta_next(p, DELTA_USAGE, 0);
  if (d) d->usage = *usage;
}
