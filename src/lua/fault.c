#include "room.h"

enum { MOST_TEXT = 4096, MOST_FRAMES = 22, MOST_LOOKED_AT = 12 };

/* The place of the innermost Lua function, as in "policies/guard.lua:12: ". */
static void place_tell(lua_State *co, struct buf *out) {
  lua_Debug at;
  for (int level = 0; level < MOST_LOOKED_AT && lua_getstack(co, level, &at); level++) {
    lua_getinfo(co, "Sl", &at);
    if (at.currentline <= 0) continue;
    buf_printf(out, "%s:%d: ", at.short_src, at.currentline);
    return;
  }
}

/* Only the innermost frames: to find the outermost of a deep recursion takes time by its square. */
static void frames_tell(lua_State *co, struct buf *out) {
  lua_Debug at;
  for (int level = 0; lua_getstack(co, level, &at); level++) {
    if (level == MOST_FRAMES) return buf_printf(out, "\n\t…");
    lua_getinfo(co, "Sln", &at);
    buf_printf(out, "\n\t%s:", at.short_src);
    if (at.currentline > 0) buf_printf(out, "%d:", at.currentline);
    if (*at.namewhat) buf_printf(out, " in %s '%s'", at.namewhat, at.name);
    else if (*at.what == 'm') buf_printf(out, " in main chunk");
    else if (*at.what != 'C') buf_printf(out, " in function <%s:%d>", at.short_src, at.linedefined);
    else buf_printf(out, " in ?");
  }
}

static void text_tell(lua_State *L, struct buf *out) {
  size_t n;
  const char *p = lua_tolstring(L, -1, &n);
  buf_add(out, span_of(p, n < MOST_TEXT ? n : MOST_TEXT));
}

static int to_text(lua_State *L) {
  size_t n;
  vm_tostring_push(L, 1, &n);
  return 1;
}

/* An error object that is a table may have a __tostring; that is Lua code, so it runs as any other. */
static void object_tell(struct vm *vm, lua_State *co, struct buf *out) {
  const char *kind = lua_typename(co, lua_type(co, -1));
  lua_State *other = vm_coroutine(vm);
  int count;
  lua_pushcfunction(other, to_text);
  lua_xmove(co, other, 1);
  bool has = luaL_getmetafield(other, -1, "__tostring") != LUA_TNIL;
  if (has) lua_pop(other, 1);
  if (has && vm_run_resume(vm, other, 1, &count) == LUA_OK && lua_type(other, -1) == LUA_TSTRING) text_tell(other, out);
  else buf_printf(out, "(error object is a %s value)", kind);
  vm_coroutine_drop(vm, other);
}

static void error_tell(struct vm *vm, lua_State *co, struct buf *out) {
  if (lua_type(co, -1) != LUA_TSTRING && lua_type(co, -1) != LUA_TNUMBER) return object_tell(vm, co, out);
  text_tell(co, out);
  lua_pop(co, 1);
}

void vm_fault_tell(struct vm *vm, lua_State *co, int status, struct buf *out) {
  size_t cap = vm_lift(vm);
  enum vm_result result = vm_run_result(status);
  if (result == VM_ERROR) {
    vm_unlift(vm, cap);
    error_tell(vm, co, out);
    cap = vm_lift(vm);
  } else {
    place_tell(co, out);
    if (status == LUA_ERRMEM) lua_pop(co, 1);
    if (result == VM_MEMORY && vm->outgrown) buf_printf(out, "a table grew over 8192 fields in a hook");
    else if (result == VM_MEMORY) buf_printf(out, "over the limit of %zu KB of Lua memory", vm->limit >> 10);
    else if (result == VM_TIMEOUT) buf_printf(out, "stopped after %u ms of CPU time in one call", vm->call_ms);
    else buf_printf(out, "this call may not wait");
  }
  frames_tell(co, out);
  vm_unlift(vm, cap);
}
