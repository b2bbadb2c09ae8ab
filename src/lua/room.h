/* room.h: what the files of this folder share.

   Glossary
     call     what the clock measures: the outermost vm_call, vm_resume or vm_coroutine_drop of a thread. What
              a binding calls from inside is part of it
     run      one lua_resume inside a call; runs nest when a binding calls back into Lua
     abandon  to leave a run by longjmp. Its coroutine is never run again, only read for the traceback and then
              collected, so that no pcall, no handler and no __close can delay the end
     doomed   the call has used its CPU time; every run of it ends at its next Lua instruction
     step     the unit of the budget of library functions, about 4 ns */
#ifndef LUA_ROOM_H
#define LUA_ROOM_H

#include <setjmp.h>
#include <signal.h>

#include "weir/log.h"
#include "weir/vm.h"

enum {
  DEFAULT_MEMORY = 8 << 20, DEFAULT_CALL_MS = 5,
  STEPS_PER_MS = 200000,              /* a fifth less than a millisecond holds */
  SPARES = 64,                        /* coroutines kept for the next call */
};

#ifdef __SANITIZE_ADDRESS__
enum { PIECE_MOST = 0 };              /* the sanitizer shall see each piece */
#else
enum { PIECE_MOST = 136 };            /* bytes; larger ones are the C library's */
#endif
enum { PIECE_LISTS = (PIECE_MOST + 7) / 16 + 1 };
struct pieces {                       /* memory that Lua gave back, by size */
  struct piece *free[PIECE_LISTS];
  size_t kept;                        /* bytes */
};

struct run {
  struct run *outer;
  lua_State *co;
  jmp_buf abandon;
};

struct vm {
  lua_State *main;
  struct run *volatile run;           /* innermost; read by the signal handler */
  volatile sig_atomic_t doomed;
  unsigned depth;                     /* calls of this vm within each other */
  unsigned call_ms;
  uint64_t steps_left, steps_given;   /* steps_given 0: by call_ms */
  size_t used, limit, cap;            /* bytes; cap is the limit, or all there is while weir itself must not fail */
  struct pieces pieces;
  size_t full_at;                     /* bytes in use after the last full collection */
  size_t idle_from;                   /* bytes from which an idle moment is worth a collection */
  bool outgrown;                      /* the running call was refused a table of too many fields */
  bool collecting, again;             /* a cycle is under way; it is the second one in a row */
  bool frozen;
  lua_State *spares[SPARES];
  unsigned spare_count;
  void *owner;
};

/* ---- state.c. Between lift and unlift allocations do not fail, so that API calls need no protection. */
size_t vm_lift(struct vm *vm);
void vm_unlift(struct vm *vm, size_t cap);
void vm_coroutine_forget(struct vm *vm, lua_State *co);
/* After a call: garbage near the limit is collected now, for else the emergency collection would be counted as time
   of the next call, which has done nothing. */
void vm_tidy(struct vm *vm);

/* ---- pieces.c: memory of Lua. NULL: there is none; never with `sure` */
void *piece_new(struct pieces *s, size_t n, bool sure);
void *piece_resize(struct pieces *s, void *p, size_t had, size_t wants, bool sure);
void piece_free(struct pieces *s, void *p, size_t n);
void pieces_end(struct pieces *s);

/* ---- clock.c */
struct clock_call { struct vm *outer; };
void clock_begin(struct clock_call *c, struct vm *vm);
void clock_end(struct clock_call *c, struct vm *vm);

/* ---- run.c */
/* As lua_resume, but a run that was abandoned gives ABANDONED + the reason. */
enum { ABANDONED = 100 };
int vm_run_resume(struct vm *vm, lua_State *co, int nargs, int *nresults);
/* True when co may be used again. */
bool vm_run_reset(struct vm *vm, lua_State *co);
/* Called by the signal handler and when a nested run ends: the innermost run stops at its next instruction. */
void vm_run_interrupt(struct vm *vm);
_Noreturn void vm_run_abandon(lua_State *L, enum vm_result why);
enum vm_result vm_run_result(int status);

/* ---- fault.c */
/* Why a run ended, with traceback. Takes the error object off co. */
void vm_fault_tell(struct vm *vm, lua_State *co, int status, struct buf *out);

/* ---- sandbox.c and what it opens. They raise. */
void sandbox_open(lua_State *L);
void library_base(lua_State *L);       /* into the table on the top; the others leave a table of their own there */
void library_string(lua_State *L);
void library_table(lua_State *L);
void library_utf8(lua_State *L);
void library_math(lua_State *L);
/* Copies the named functions and values of the table at -2 into the one at -1. */
void names_copy(lua_State *L, const char *const *names);
/* Field `name` of the table at -1 becomes f with the field of the table at -2 as its upvalue; stock_call does that. */
struct wrapped { const char *name; lua_CFunction f; };
void names_wrap(lua_State *L, const struct wrapped *list);
int stock_call(lua_State *L);

int pairs_in_order(lua_State *L);
int pattern_find(lua_State *L);
int pattern_match(lua_State *L);
int pattern_gmatch(lua_State *L);
int pattern_gsub(lua_State *L);

/* Pushes the text that tostring gives: no addresses. */
const char *vm_tostring_push(lua_State *L, int at, size_t *n);

/* ---- freeze.c */
/* True, and the table behind pushed, when the value at index `at` is a frozen table. */
bool frozen_push(lua_State *L, int at);

#endif
