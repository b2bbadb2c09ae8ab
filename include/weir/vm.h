/* vm.h: a Lua 5.4 state that untrusted text may run in: memory account, sandbox, clock on every call,
   library functions that cannot run long in C. Nothing here knows policies. Used by weir.lua too. */
#ifndef WEIR_VM_H
#define WEIR_VM_H

#include <lua.h>
#include <lauxlib.h>
#include "weir/mem.h"

struct vm;

struct vm_limits {
  size_t memory;                      /* bytes; 0 = 8 MB. Over it the running call fails with a memory error */
  unsigned call_ms;                   /* CPU time of one call before it is interrupted; 0 = 5 */
  uint64_t steps;                     /* budget of the C library functions per call; 0 = the default that keeps them under call_ms */
};
/* A state with the sandbox's library (INTERFACE 4 "Language") and nothing else in its globals. */
struct vm *vm_new(const struct vm_limits *limits);
void vm_free(struct vm *vm);
lua_State *vm_state(struct vm *vm);
struct vm *vm_of(lua_State *L);
size_t vm_memory(const struct vm *vm);
/* A little garbage collection, for an idle moment; true while there is more to do. */
bool vm_idle(struct vm *vm);
/* The owner's pointer, for bindings. */
void vm_set_owner(struct vm *vm, void *owner);
void *vm_owner(lua_State *L);

/* Loads Lua text (never bytecode) as a function on the stack, with `env` (stack index, 0 = a fresh table that sees the
   globals) as its own _ENV. name is shown in messages ("policies/guard.lua"). False: message on the stack. */
bool vm_load(lua_State *L, struct span text, const char *name, int env);
/* Makes every global table, the string metatable and what hangs under them read-only; later assignment to a global raises. */
void vm_freeze(struct vm *vm);

/* Calls under the clock. Function and arguments on the stack of L; results as lua_pcall / lua_resume.
   The monitor thread arms a count hook on exactly this call when it used more than call_ms of this
   thread's CPU time; such a call ends in an error that pcall and xpcall inside it cannot swallow.
   Errors carry a traceback (message, then "\n\tfile:line: in hook …"). */
enum vm_result { VM_OK, VM_YIELD, VM_ERROR, VM_MEMORY, VM_TIMEOUT };
enum vm_result vm_call(lua_State *L, int nargs, int nresults);
enum vm_result vm_resume(lua_State *co, int nargs, int *nresults);
/* A coroutine from the vm's pool, kept alive until given back; it may be given back in any state. */
lua_State *vm_coroutine(struct vm *vm);
void vm_coroutine_drop(struct vm *vm, lua_State *co);
/* Loading and testing a file has another clock: */
void vm_set_call_ms(struct vm *vm, unsigned ms);

/* Takes n steps from the running call's budget; raises when it is spent. For bindings that loop in C. */
void vm_spend(lua_State *L, uint64_t n);

/* Must run once on each thread that calls vm_call (signal mask, the thread's CPU clock). */
void vm_thread_enter(void);

#endif
