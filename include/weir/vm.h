/* vm.h: a Lua 5.4 state that untrusted text may run in: memory account, sandbox, clock on every call,
   library functions that cannot run long in C. Nothing here knows policies. Used by weir.lua too.

   For bindings (C functions that Lua calls):
   - Work on the lua_State that is given to you. It is a coroutine of the pool, never vm_state().
   - To call Lua from inside, use lua_call, or vm_call where errors are to be held: such a call belongs to the one that
     is running and shares its time and steps.
   - A call whose time is up is left by longjmp, past every lua_pcall inside. What must be released belongs to Lua (a
     userdata with __gc) or to somebody who outlives the call; the same rule as for any error.
   - There are no weak tables: '__mode' means nothing, in the registry too.
   Threads that call need 1 MB of stack, and SIGRTMIN+1 unblocked. */
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
/* A state with the sandbox's library (INTERFACE 4 "Language") and nothing else in its globals. Never NULL. A vm is used
   by one thread at a time, on any thread; it is freed outside of its calls. */
struct vm *vm_new(const struct vm_limits *limits);
void vm_free(struct vm *vm);           /* NULL is fine */
lua_State *vm_state(struct vm *vm);
struct vm *vm_of(lua_State *L);
size_t vm_memory(const struct vm *vm);
/* A little garbage collection, for an idle moment; true while there is more to do. */
bool vm_idle(struct vm *vm);            /* 20 to 200 us */
bool vm_idle_wanted(const struct vm *vm);   /* whether vm_idle would do anything */
/* The owner's pointer, for bindings. */
void vm_set_owner(struct vm *vm, void *owner);
void *vm_owner(lua_State *L);

/* Loads Lua text (never bytecode) as a function on the stack, with `env` (stack index, 0 = a fresh table that sees the
   globals) as its own _ENV. name is shown in messages ("policies/guard.lua"). False: message on the stack. */
bool vm_load(lua_State *L, struct span text, const char *name, int env);
/* Makes every global table, the string metatable and what hangs under them read-only; later assignment to a global raises,
   from C too. A frozen table keeps its identity and its metamethods; its fields stand behind it, so C reads them with
   lua_getfield, not lua_rawget. */
void vm_freeze(struct vm *vm);

/* Calls under the clock. Function and arguments on the stack of L; results as lua_pcall / lua_resume.
   A call that used more than call_ms of this thread's CPU time ends at its next Lua instruction, up to 4 ms late and
   never early; nothing inside can hold that, and its pending __close are not run. Running out of memory is not held by
   pcall either. Every failure leaves one text: message, then "\n\tfile:line: in …" for the innermost 22 frames.
   vm_call cannot wait: a yield in it is an error. After an error in vm_resume, read the text and drop the coroutine. */
enum vm_result { VM_OK, VM_YIELD, VM_ERROR, VM_MEMORY, VM_TIMEOUT };
enum vm_result vm_call(lua_State *L, int nargs, int nresults);
enum vm_result vm_resume(lua_State *co, int nargs, int *nresults);
/* A coroutine from the vm's pool, kept alive until given back; it may be given back in any state. One that waits or
   failed has its pending __close run then, under a clock of its own. Neither fails. vm_coroutine_back is for one whose last
   vm_resume gave VM_OK. */
lua_State *vm_coroutine(struct vm *vm);
void vm_coroutine_back(struct vm *vm, lua_State *co);
void vm_coroutine_drop(struct vm *vm, lua_State *co);
/* Loading and testing a file has another clock: */
void vm_set_call_ms(struct vm *vm, unsigned ms);

/* Takes n steps (of about 4 ns) from the running call's budget; raises when it is spent or the call's time is up. For
   bindings that loop in C. */
void vm_spend(lua_State *L, uint64_t n);

/* Readies the thread for calls (signal mask, its CPU clock). The first call of a thread does it too. */
void vm_thread_enter(void);

#endif
