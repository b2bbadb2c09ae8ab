#include "room.h"

/* A handle is a light userdata: 48 bits of serial, 8 that are the kind's own, 8 of kind. All light userdata of a state
   have one metatable, and a state of policies has no others; no policy can make one. */
enum { KIND_BITS = 8, SERIAL_SHIFT = 16, ASKED = 1 };
_Static_assert(sizeof(void *) == 8, "a handle is as wide as a pointer");

static const struct kind *const kinds[KINDS] = {
  [KIND_REQ] = &kind_req,           [KIND_REQ_HEADERS] = &kind_req_headers,
  [KIND_ATTEMPT] = &kind_attempt,   [KIND_ATTEMPT_HEADERS] = &kind_attempt_headers,
  [KIND_RESPONSE] = &kind_response, [KIND_RESPONSE_HEADERS] = &kind_response_headers,
  [KIND_CHUNK] = &kind_chunk,       [KIND_FAULT] = &kind_fault,
  [KIND_USAGE] = &kind_usage,       [KIND_CHOICE] = &kind_choice,
};

/* An answer that a policy of the running run got from weir.ask. */
struct asked {
  struct asked *next;
  uint64_t serial;
  const void *of;
};

static uintptr_t word_at(lua_State *L, int at) { return (uintptr_t)lua_touserdata(L, at); }
static enum kind_id kind_of(uintptr_t word) { return (enum kind_id)(word & ((1u << KIND_BITS) - 1)); }
static unsigned extra_of(uintptr_t word) { return (uint8_t)(word >> KIND_BITS); }
static uint64_t serial_of(uintptr_t word) { return word >> SERIAL_SHIFT; }

void kind_push(lua_State *L, enum kind_id kind, uint64_t serial, unsigned extra) {
  uintptr_t word = serial << SERIAL_SHIFT | extra << KIND_BITS | kind;
  lua_pushlightuserdata(L, (void *)word);
}

bool kind_at(lua_State *L, int at, enum kind_id kind, uint64_t *serial, unsigned *extra) {
  uintptr_t word = word_at(L, at);
  if (!lua_islightuserdata(L, at) || kind_of(word) != kind) return false;
  *serial = serial_of(word);
  *extra = extra_of(word);
  return true;
}

/* ---- answers of weir.ask */

static const struct asked *asked_find(const struct frame *f, uintptr_t word) {
  const struct asked *a = f->run ? f->run->asked : NULL;
  while (a && a->serial != serial_of(word)) a = a->next;
  return a;
}

void asked_push(lua_State *L, enum kind_id kind, const void *of) {
  struct policy_vm *pv = policy_of(L);
  struct policy_run *run = pv->frame->run;
  struct asked *a = arena_alloc(&run->kept, sizeof *a);
  *a = (struct asked){ run->asked, ++pv->serial, of };
  run->asked = a;
  kind_push(L, kind, a->serial, ASKED);
}

const void *asked_of(lua_State *L, const struct frame *f) {
  uintptr_t word = word_at(L, 1);
  const struct asked *a = extra_of(word) == ASKED ? asked_find(f, word) : NULL;
  return a ? a->of : NULL;
}

void kind_push_like(lua_State *L, enum kind_id kind) {
  uintptr_t word = word_at(L, 1);
  kind_push(L, kind, serial_of(word), extra_of(word));
}

/* ---- which are good */

static struct frame *live_frame(lua_State *L, uintptr_t word) {
  struct frame *f = policy_of(L)->frame;
  if (!f || f->hook == HOOK_COUNT) return NULL;
  if (extra_of(word) == ASKED) return asked_find(f, word) ? f : NULL;
  if (kind_of(word) == KIND_CHUNK && f->hook != HOOK_CHUNK) return NULL;
  return serial_of(word) == (kinds[kind_of(word)]->of_exchange ? f->subject->req->serial : f->serial) ? f : NULL;
}

static int refuse_stale(lua_State *L, const struct kind *k) {
  if (k->of_exchange && k != &kind_chunk)
    return luaL_error(L, "this %s is stale: it is of another exchange, and good only in hooks of its own", k->name);
  return luaL_error(
      L, "this %s is stale: it is good only in the call that was given it; keep the values you need in req.state",
      k->name);
}

static struct frame *need_frame(lua_State *L, uintptr_t word) {
  struct frame *f = live_frame(L, word);
  if (!f) refuse_stale(L, kinds[kind_of(word)]);
  return f;
}

struct frame *check_handle(lua_State *L, int at, const struct kind *k, const char *call) {
  if (!lua_islightuserdata(L, at) || kind_of(word_at(L, at)) != k->id)
    luaL_error(L, "%s: the %s is missing before it, not a %s; call it with a colon", call, k->name,
               luaL_typename(L, at));
  return need_frame(L, word_at(L, at));
}

/* ---- fields */

static size_t method_count(const struct kind *k) {
  size_t n = 0;
  while (k->methods && k->methods[n].name) n++;
  return n;
}

static int unknown_field(lua_State *L, const struct kind *k) {
  const char *known[64];
  char what[64];
  size_t n = 0;
  if (lua_type(L, 2) != LUA_TSTRING)
    return luaL_error(L, "fields of %s have names, this one is a %s", k->name, luaL_typename(L, 2));
  for (size_t i = 0; i < k->count && n < 64; i++) known[n++] = k->fields[i].name;
  for (const luaL_Reg *m = k->methods; m && m->name && n < 64; m++) known[n++] = m->name;
  snprintf(what, sizeof what, "field of %s", k->name);
  return refuse_unknown(L, what, check_span(L, 2), known, n);
}

/* Lua keeps one string of each short text, so a name is known by its address. The place of the field that the key at
   index 2 names, behind all fields that of a method; raises for another key. */
static size_t field_at(lua_State *L, const struct kind *k) {
  const void *const *names = policy_of(L)->names[k->id], *key = lua_topointer(L, 2);
  size_t i = 0;
  while (names[i] != key && names[i]) i++;
  if (!names[i]) unknown_field(L, k);
  return i;
}

/* A decision is only returned. */
static int refuse_index(lua_State *L, const struct kind *k) {
  return luaL_error(L, "a %s has no fields; return it from the hook", k->name);
}

static int handle_index(lua_State *L) {
  uintptr_t word = word_at(L, 1);
  const struct kind *k = kinds[kind_of(word)];
  if (k == &kind_choice) return refuse_index(L, k);
  struct frame *f = need_frame(L, word);
  if (k->index) return k->index(L, f);
  size_t i = field_at(L, k);
  if (i < k->count) return k->fields[i].get(L, f);
  lua_pushcfunction(L, k->methods[i - k->count].func);
  return 1;
}

static int read_only(lua_State *L, const struct kind *k, const char *name) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  bool any = false;
  for (size_t i = 0; i < k->count; i++) {
    if (!k->fields[i].set) continue;
    luaL_addstring(&b, any ? " " : "; these can be: ");
    luaL_addstring(&b, k->fields[i].name);
    any = true;
  }
  luaL_pushresult(&b);
  return luaL_error(L, "%s.%s cannot be written%s", k->name, name, lua_tostring(L, -1));
}

static int handle_newindex(lua_State *L) {
  uintptr_t word = word_at(L, 1);
  const struct kind *k = kinds[kind_of(word)];
  if (k == &kind_choice) return refuse_index(L, k);
  struct frame *f = need_frame(L, word);
  if (k->index && !k->newindex)
    return luaL_error(L, "%s cannot be written; set headers of an attempt in on_attempt: attempt.headers", k->name);
  if (k->newindex) return k->newindex(L, f), 0;
  size_t i = field_at(L, k);
  if (i >= k->count || !k->fields[i].set) return read_only(L, k, lua_tostring(L, 2));
  k->fields[i].set(L, f, 3);
  return 0;
}

static int handle_pairs(lua_State *L) {
  const struct kind *k = kinds[kind_of(word_at(L, 1))];
  if (!k->list) return luaL_error(L, "pairs cannot walk %s; read its fields by name", k->name);
  lua_getglobal(L, "pairs");
  k->list(L, need_frame(L, word_at(L, 1)));
  lua_call(L, 1, 3);
  return 3;
}

static int handle_tostring(lua_State *L) {
  lua_pushstring(L, kinds[kind_of(word_at(L, 1))]->name);
  return 1;
}

/* The global getmetatable, which says of a handle what it is. Upvalue: Lua's own. */
static int metatable_call(lua_State *L) {
  if (lua_islightuserdata(L, 1)) return handle_tostring(L);
  return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

/* ---- set up */

/* The table on top keeps the strings. */
static void names_keep(lua_State *L, const void **names, size_t at, const char *name) {
  lua_pushstring(L, name);
  names[at] = lua_topointer(L, -1);
  lua_pushboolean(L, true);
  lua_rawset(L, -3);
}

void handles_setup(lua_State *L) {
  static const luaL_Reg events[] = {
    { "__index", handle_index }, { "__newindex", handle_newindex }, { "__pairs", handle_pairs },
    { "__tostring", handle_tostring }, { NULL, NULL },
  };
  static const char names_key;
  lua_newtable(L);
  for (int id = 0; id < KINDS; id++) {
    const struct kind *k = kinds[id];
    size_t n = method_count(k);
    const void **names = policy_of(L)->names[id] = mem_zero((k->count + n + 1) * sizeof *names);
    for (size_t i = 0; i < k->count; i++) names_keep(L, names, i, k->fields[i].name);
    for (size_t i = 0; i < n; i++) names_keep(L, names, k->count + i, k->methods[i].name);
  }
  lua_rawsetp(L, LUA_REGISTRYINDEX, &names_key);
  lua_pushlightuserdata(L, NULL);
  luaL_newlib(L, events);
  lua_setmetatable(L, -2);
  lua_pop(L, 1);
  lua_getglobal(L, "getmetatable");
  lua_pushcclosure(L, metatable_call, 1);
  lua_setglobal(L, "getmetatable");
}

void handles_drop(struct policy_vm *pv) {
  for (int id = 0; id < KINDS; id++) mem_free(pv->names[id]);
}
