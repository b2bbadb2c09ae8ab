#include "room.h"

/* Everything runs on coroutines. A run that must end at once is left by longjmp from its hook: between two
   instructions the global state of Lua is whole, and the coroutine that is left halfway is only read and collected
   from then on. So nothing inside (pcall, handlers, to-be-closed variables, error storms) can hold the end up. */

enum vm_result vm_run_result(int status) {
  switch (status) {
    case LUA_OK: return VM_OK;
    case LUA_YIELD: return VM_YIELD;
    case LUA_ERRMEM: return VM_MEMORY;
    default: return status >= ABANDONED ? (enum vm_result)(status - ABANDONED) : VM_ERROR;
  }
}

/* A state that is not the run's own is one that a binding called with lua_pcall: it ends in an error, which our
   pcall does not hold, and its caller's run is abandoned a moment later. */
_Noreturn void vm_run_abandon(lua_State *L, enum vm_result why) {
  struct run *r = vm_of(L)->run;
  if (r && r->co == L) longjmp(r->abandon, why);
  lua_pushliteral(L, "the call was ended");
  lua_error(L);
  __builtin_unreachable();
}

static void hook(lua_State *L, lua_Debug *ar) {
  (void)ar;
  if (vm_of(L)->doomed) vm_run_abandon(L, VM_TIMEOUT);
  lua_sethook(L, NULL, 0, 0);
}

void vm_run_interrupt(struct vm *vm) {
  vm->doomed = 1;
  if (!vm->run) return;
  lua_sethook(vm->run->co, hook, LUA_MASKCOUNT, 1);
  lua_sethook(vm->main, hook, LUA_MASKCOUNT, 1);
}

static void run_begin(struct run *r, struct vm *vm, lua_State *co) {
  r->outer = vm->run;
  r->co = co;
  vm->run = r;
  if (vm->doomed) vm_run_interrupt(vm);
}

static void run_end(struct run *r, struct vm *vm) {
  vm->run = r->outer;
  if (!vm->doomed) return;
  lua_sethook(r->co, NULL, 0, 0);
  lua_sethook(vm->main, NULL, 0, 0);
  if (r->outer) vm_run_interrupt(vm);
}

int vm_run_resume(struct vm *vm, lua_State *co, int nargs, int *nresults) {
  struct run r;
  *nresults = 0;
  run_begin(&r, vm, co);
  int why = setjmp(r.abandon);
  int status = why ? ABANDONED + why : lua_resume(co, r.outer ? r.outer->co : NULL, nargs, nresults);
  run_end(&r, vm);
  return status;
}

/* To-be-closed variables are closed here, so it is a run under the clock as any other. */
bool vm_run_reset(struct vm *vm, lua_State *co) {
  struct clock_call c;
  struct run r;
  clock_begin(&c, vm);
  run_begin(&r, vm, co);
  bool abandoned = setjmp(r.abandon);
  if (!abandoned) lua_resetthread(co);
  run_end(&r, vm);
  clock_end(&c, vm);
  return !abandoned;
}

/* Replaces the error object of co by its message: on the stack of `to`. */
static enum vm_result fail(struct vm *vm, lua_State *co, int status, lua_State *to) {
  struct buf text = { 0 };
  vm_fault_tell(vm, co, status, &text);
  if (to != co) vm_coroutine_drop(vm, co);
  size_t cap = vm_lift(vm);
  require(lua_checkstack(vm->main, 2));
  lua_pushlstring(vm->main, text.p, text.end);
  if (to != vm->main) lua_xmove(vm->main, to, 1);
  vm_unlift(vm, cap);
  buf_free(&text);
  return vm_run_result(status);
}

static enum vm_result results_move(struct vm *vm, lua_State *co, int count, lua_State *to, int wanted) {
  if (wanted == LUA_MULTRET) wanted = count;
  if (wanted < count) lua_pop(co, count - wanted), count = wanted;
  if (!lua_checkstack(to, wanted + 1)) return fail(vm, co, LUA_ERRMEM, to);
  lua_xmove(co, to, count);
  for (; count < wanted; count++) lua_pushnil(to);
  vm_coroutine_back(vm, co);
  return VM_OK;
}

static enum vm_result call_over(struct clock_call *c, struct vm *vm, enum vm_result result) {
  clock_end(c, vm);
  if (!vm->depth) vm_tidy(vm);
  return result;
}

enum vm_result vm_call(lua_State *L, int nargs, int nresults) {
  struct vm *vm = vm_of(L);
  lua_State *co = vm_coroutine(vm);
  struct clock_call c;
  int count;
  if (!lua_checkstack(co, nargs + 1)) {
    lua_pop(L, nargs + 1);
    return fail(vm, co, LUA_ERRMEM, L);
  }
  lua_xmove(L, co, nargs + 1);
  clock_begin(&c, vm);
  int status = vm_run_resume(vm, co, nargs, &count);
  enum vm_result result = status == LUA_OK ? results_move(vm, co, count, L, nresults) : fail(vm, co, status, L);
  return call_over(&c, vm, result == VM_YIELD ? VM_ERROR : result);
}

enum vm_result vm_resume(lua_State *co, int nargs, int *nresults) {
  struct vm *vm = vm_of(co);
  struct clock_call c;
  clock_begin(&c, vm);
  int status = vm_run_resume(vm, co, nargs, nresults);
  enum vm_result result = status == LUA_OK ? VM_OK : status == LUA_YIELD ? VM_YIELD : fail(vm, co, status, co);
  return call_over(&c, vm, result);
}

void vm_spend(lua_State *L, uint64_t n) {
  struct vm *vm = vm_of(L);
  if (vm->doomed) vm_run_abandon(L, VM_TIMEOUT);
  if (n > vm->steps_left) {
    vm->steps_left = 0;
    luaL_error(L, "the library functions have done all the work that one call may ask of them");
  }
  vm->steps_left -= n;
}
