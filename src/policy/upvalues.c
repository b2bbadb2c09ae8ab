#include "room.h"

/* Which variables of the file a hook assigns. Lua tells nobody, so the function is dumped and its instructions
   are read: the format is that of Lua 5.4, and a dump that looks otherwise is passed over in silence. */
enum { SETUPVAL = 10, SETTABUP = 15, MOST_UPVALUES = 255, MOST_FUNCTIONS = 64, NO_LINE = -0x80 };
enum { TAG_FLOAT = 0x13, TAG_INTEGER = 0x03, TAG_SHORT = 0x04, TAG_LONG = 0x14 };

struct dump {
  const unsigned char *at, *end;
  bool bad;
};
struct found {                                         /* line of the first assignment to each upvalue; 0 none */
  unsigned line[MOST_UPVALUES];
};

static const unsigned char *take(struct dump *d, size_t n) {
  const unsigned char *p = d->at;
  if (d->bad || (size_t)(d->end - d->at) < n) {
    d->bad = true;
    return NULL;
  }
  d->at += n;
  return p;
}

static unsigned take_byte(struct dump *d) {
  const unsigned char *p = take(d, 1);
  return p ? *p : 0;
}

/* Seven bits a byte, the highest first; the last byte has the eighth bit. */
static size_t take_size(struct dump *d) {
  size_t n = 0;
  for (int i = 0; i < 10; i++) {
    unsigned byte = take_byte(d);
    n = n << 7 | (byte & 0x7f);
    if (byte & 0x80) return n;
  }
  d->bad = true;
  return 0;
}

static void skip_string(struct dump *d) {
  size_t n = take_size(d);
  if (n) take(d, n - 1);
}

static void skip_constants(struct dump *d) {
  for (size_t n = take_size(d); n && !d->bad; n--) {
    unsigned tag = take_byte(d);
    if (tag == TAG_FLOAT || tag == TAG_INTEGER) take(d, 8);
    else if (tag == TAG_SHORT || tag == TAG_LONG) skip_string(d);
  }
}

/* Upvalue (of this function) that the instruction assigns, or a field of; -1 none. */
static int assigned(const unsigned char *code) {
  uint32_t i;
  memcpy(&i, code, 4);
  unsigned op = i & 0x7f;
  return op == SETUPVAL ? (int)(i >> 16 & 0xff) : op == SETTABUP ? (int)(i >> 7 & 0xff) : -1;
}

static void read_function(struct dump *d, const int *outer, struct found *found, int depth);

/* own: for each upvalue of the function, the one of the outermost function that it is, or -1. */
static void read_lines(struct dump *d, unsigned line, const unsigned char *code, size_t count, const int *own,
                       size_t own_count, struct found *found) {
  size_t lines = take_size(d);
  const unsigned char *deltas = take(d, lines);
  size_t places = take_size(d);
  struct dump absolute = *d;
  for (size_t i = 0; i < places * 2 && !d->bad; i++) take_size(d);
  if (d->bad || lines != count) return;
  for (size_t i = 0; i < count; i++) {
    int delta = (signed char)deltas[i], up = assigned(code + 4 * i);
    if (delta != NO_LINE) line += (unsigned)delta;
    else take_size(&absolute), line = (unsigned)take_size(&absolute);
    if (up < 0 || (size_t)up >= own_count || own[up] < 0) continue;
    unsigned *first = &found->line[own[up]];
    if (!*first || line < *first) *first = line;
  }
}

static void read_function(struct dump *d, const int *outer, struct found *found, int depth) {
  int own[MOST_UPVALUES];
  skip_string(d);                                      /* the file */
  unsigned line = (unsigned)take_size(d);
  take_size(d);                                        /* last line */
  take(d, 3);
  size_t count = take_size(d);
  const unsigned char *code = take(d, d->bad || count > SIZE_MAX / 4 ? SIZE_MAX : count * 4);
  skip_constants(d);
  size_t upvalues = take_size(d);
  if (upvalues > MOST_UPVALUES || depth > 200) d->bad = true;
  for (size_t i = 0; i < upvalues && !d->bad; i++) {
    const unsigned char *u = take(d, 3);               /* in the stack of the outer function, index, kind */
    own[i] = !u ? -1 : !outer ? (int)i : u[0] ? -1 : outer[u[1]];
  }
  for (size_t n = take_size(d); n && !d->bad; n--) read_function(d, own, found, depth + 1);
  read_lines(d, line, code, d->bad ? 0 : count, own, upvalues, found);
  for (size_t n = take_size(d); n && !d->bad; n--) skip_string(d), take_size(d), take_size(d);
  for (size_t n = take_size(d); n && !d->bad; n--) skip_string(d);
}

static int write_dump(lua_State *L, const void *p, size_t n, void *to) {
  (void)L;
  buf_add(to, span_of(p, n));
  return 0;
}

static bool read_dump(lua_State *L, struct found *found) {
  static const unsigned char head[] = "\x1bLua\x54\x00\x19\x93\r\n\x1a\n\x04\x08\x08";
  struct buf bytes = { 0 };
  memset(found, 0, sizeof *found);
  lua_dump(L, write_dump, &bytes, 0);
  struct dump d = { (const unsigned char *)bytes.p, (const unsigned char *)bytes.p + bytes.end, false };
  const unsigned char *p = take(&d, sizeof head - 1);
  bool known = p && !memcmp(p, head, sizeof head - 1) && take(&d, 8 + 8 + 1);
  if (known) read_function(&d, NULL, found, 0);
  buf_free(&bytes);
  return known && !d.bad;
}

struct walk {
  const void *seen[MOST_FUNCTIONS];
  size_t count;
  const char *hook;
  struct buf *out;
};

static bool first_visit(struct walk *w, const void *function) {
  for (size_t i = 0; i < w->count; i++)
    if (w->seen[i] == function) return false;
  if (w->count == MOST_FUNCTIONS) return false;
  w->seen[w->count++] = function;
  return true;
}

static void tell(lua_State *L, struct walk *w, const char *name, unsigned line) {
  lua_Debug info;
  lua_pushvalue(L, -1);
  lua_getinfo(L, ">S", &info);
  buf_printf(
      w->out,
      "%s:%u: '%s' is changed inside %s, but it is one worker's own and is lost at a reload; keep what lasts in "
      "weir.shared, and what belongs to one request in req.state\n",
      info.short_src, line, name, w->hook);
}

/* The function on top, and the functions it can call by their local names. */
static void visit(lua_State *L, struct walk *w, int depth) {
  struct found found;
  const char *name;
  if (depth > 16 || lua_iscfunction(L, -1) || !first_visit(w, lua_topointer(L, -1)) || !lua_checkstack(L, 8)) return;
  if (!read_dump(L, &found)) return;
  for (int i = 1; i <= MOST_UPVALUES && (name = lua_getupvalue(L, -1, i)); i++) {
    bool function = lua_isfunction(L, -1);
    if (function) visit(L, w, depth + 1);
    lua_pop(L, 1);
    if (found.line[i - 1] && strcmp(name, "_ENV")) tell(L, w, name, found.line[i - 1]);
  }
}

void upvalues_warn(lua_State *L, int function, const char *hook, struct buf *warnings) {
  struct walk w = { .hook = hook, .out = warnings };
  if (!lua_checkstack(L, 4)) return;
  lua_rawgeti(L, LUA_REGISTRYINDEX, function);
  visit(L, &w, 0);
  lua_pop(L, 1);
}
