/* The pattern functions against Lua's own: same results, same number of them, same error message.
   Input: operation and start, length of the pattern, length of the replacement; then pattern, replacement, subject. */
#include <stdlib.h>

#include <lualib.h>

#include "weir/log.h"
#include "weir/vm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS = 100000, MOST_MATCHES = 40 };
enum op { FIND, MATCH, GMATCH, GSUB, GSUB_TABLE, GSUB_FUNCTION, OPS };
struct input {
  enum op op;
  int start;
  struct span pattern, replacement, subject;
};

static struct span take(struct span *from, size_t n) {
  struct span s = span_of(from->p, n < from->n ? n : from->n);
  *from = span_from(*from, s.n);
  return s;
}

static void push(lua_State *L, struct span s) { lua_pushlstring(L, s.p, s.n); }

static void push_function(lua_State *L, const char *name) {
  lua_getglobal(L, "string");
  lua_getfield(L, -1, name);
  lua_remove(L, -2);
}

/* A replacement that is told by what it is given: the captures joined, or nil when the first is empty. */
static int joined(lua_State *L) {
  int count = lua_gettop(L);
  luaL_Buffer b;
  if (lua_type(L, 1) == LUA_TSTRING && lua_rawlen(L, 1) == 0) return 0;
  luaL_buffinit(L, &b);
  for (int i = 1; i <= count; i++) {
    lua_pushvalue(L, i);
    luaL_addvalue(&b);
    luaL_addchar(&b, '|');
  }
  luaL_pushresult(&b);
  return 1;
}

static int indexed(lua_State *L) {
  lua_remove(L, 1);
  return joined(L);
}

static int gmatch_all(lua_State *L) {
  int count = lua_gettop(L) - 1;
  lua_call(L, count, 1);
  for (int i = 0; i < MOST_MATCHES; i++) {
    luaL_checkstack(L, 40, "");
    lua_pushvalue(L, 1);
    int top = lua_gettop(L);
    lua_call(L, 0, LUA_MULTRET);
    if (lua_gettop(L) < top) break;
    lua_pushliteral(L, ";");
  }
  return lua_gettop(L) - 1;
}

/* Leaves the results, or one message, on the stack; the status is pushed last. */
static void drive(lua_State *L, const struct input *in) {
  static const char *const names[OPS] = { "find", "match", "gmatch", "gsub", "gsub", "gsub" };
  lua_settop(L, 0);
  int args = 2;
  if (in->op == GMATCH) {
    lua_pushcfunction(L, gmatch_all);
    args++;
  }
  push_function(L, names[in->op]);
  push(L, in->subject);
  push(L, in->pattern);
  if (in->op <= GMATCH) {
    lua_pushinteger(L, in->start);
    args++;
  } else {
    if (in->op == GSUB) {
      push(L, in->replacement);
    } else if (in->op == GSUB_FUNCTION) {
      lua_pushcfunction(L, joined);
    } else {
      lua_newtable(L);
      lua_newtable(L);
      lua_pushcfunction(L, indexed);
      lua_setfield(L, -2, "__index");
      lua_setmetatable(L, -2);
    }
    args++;
    if (in->start) lua_pushinteger(L, in->start + 2), args++;
  }
  int status = lua_pcall(L, args, LUA_MULTRET, 0);
  lua_pushinteger(L, status);
}

static bool spent(lua_State *L) {
  return lua_type(L, -2) == LUA_TSTRING && strstr(lua_tostring(L, -2), "library functions have done all the work");
}

static void compare(lua_State *ours, lua_State *theirs) {
  if (lua_gettop(ours) != lua_gettop(theirs)) abort();
  for (int i = 1; i <= lua_gettop(ours); i++) {
    size_t m, n;
    if (lua_type(ours, i) != lua_type(theirs, i)) abort();
    if (lua_isnil(ours, i)) continue;
    const char *a = lua_tolstring(ours, i, &m), *b = lua_tolstring(theirs, i, &n);
    if (!a || !b || m != n || memcmp(a, b, n)) abort();
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct vm *vm;
  static lua_State *theirs;
  if (!vm) {
    struct vm_limits limits = { .memory = 64 << 20, .steps = STEPS };
    vm = vm_new(&limits);
    theirs = luaL_newstate();
    luaL_openlibs(theirs);
  }
  if (size < 3) return 0;
  struct span rest = span_of((const char *)data + 3, size - 3);
  struct input in = { .op = data[0] % OPS, .start = (data[0] / OPS) % 8 - 2 };
  in.pattern = take(&rest, data[1]);
  in.replacement = take(&rest, data[2]);
  in.subject = take(&rest, 400);
  vm_set_call_ms(vm, 0);                           /* gives the steps anew */
  drive(vm_state(vm), &in);
  if (spent(vm_state(vm))) return 0;               /* then Lua's own would take as long */
  drive(theirs, &in);
  compare(vm_state(vm), theirs);
  return 0;
}
