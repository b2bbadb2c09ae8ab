#include "room.h"
#include <time.h>

/* Registry key of the table that keeps the coroutines alive: light userdata of each to itself. */
static const char coroutines_key;

enum { TIDY_NS = 500000 };            /* of each call's end, while memory is short */
/* The collector begins when half as much again is in use as its last cycle left, and does a short piece of work (2^8 bytes: 20 to
   200 us) at a time: 8 units for 16 bytes of new memory, so that a cycle is spread over an eighth of what is in use. By default it
   is 100: all of 15 MB are then marked within one call, for 5 ms. */
enum { GC_PAUSE = 150, GC_WORK = 8, GC_STEP = 8 };

/* ---- the memory account */
/* The fields of a table lie in a hash whose size doubles. To move them takes Lua the square of their number when a
   policy has chosen integer keys that meet in one place, and nothing can interrupt that: 65,536 fields take 7 s, the
   4,096 that move into a hash of 8,192 take 30 ms. So a hash that code of a short call makes larger than that is refused; what C functions make (decoded
   JSON has text for keys, which nobody can choose so) and what is made while a file loads is not. The new hash is told
   by its size, a power of two of nodes, and by the Lua function that is running. */
enum { NODE = 24, MOST_FIELDS = 8192, SHORT_MS = 100 };

static bool outgrown(struct vm *vm, size_t kind, size_t wants) {
  size_t nodes = wants / NODE;
  lua_Debug at;
  if (kind || nodes <= MOST_FIELDS || wants % NODE || nodes & (nodes - 1)) return false;
  if (!vm->depth || !vm->run || vm->cap == SIZE_MAX || vm->call_ms >= SHORT_MS ) return false;
  if (!lua_getstack(vm->run->co, 0, &at) || !lua_getinfo(vm->run->co, "S", &at) || *at.what == 'C') return false;
  return vm->outgrown = true;
}

static void *account(void *arg, void *p, size_t had, size_t wants) {
  struct vm *vm = arg;
  if (!p && outgrown(vm, had, wants)) return NULL;
  if (!p) had = 0;                                 /* then it tells the kind of object */
  if (!wants) {
    vm->used -= had;
    piece_free(&vm->pieces, p, had);
    return NULL;
  }
  if (wants > had && wants - had > vm->cap - (vm->used < vm->cap ? vm->used : vm->cap)) return NULL;
  bool sure = vm->cap == SIZE_MAX;
  void *to = p ? piece_resize(&vm->pieces, p, had, wants, sure) : piece_new(&vm->pieces, wants, sure);
  if (to) vm->used += wants - had;
  return to;
}

size_t vm_lift(struct vm *vm) {
  size_t cap = vm->cap;
  vm->cap = SIZE_MAX;
  return cap;
}

void vm_unlift(struct vm *vm, size_t cap) { vm->cap = cap; }
size_t vm_memory(const struct vm *vm) { return vm->used; }

/* ---- the state */
static int panic(lua_State *L) {
  log_error("Lua error outside of a call: %s", lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "no text");
  require(!"a protected call around Lua");
  return 0;
}

static int open_all(lua_State *L) {
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &coroutines_key);
  sandbox_open(L);
  return 0;
}

struct vm *vm_new(const struct vm_limits *limits) {
  struct vm *vm = mem_zero(sizeof *vm);
  vm->limit = limits->memory ? limits->memory : DEFAULT_MEMORY;
  vm->steps_given = limits->steps;
  vm_set_call_ms(vm, limits->call_ms);
  vm->cap = SIZE_MAX;
  vm->main = lua_newstate(account, vm);
  require(vm->main);
  *(struct vm **)lua_getextraspace(vm->main) = vm;
  lua_atpanic(vm->main, panic);
  lua_pushcfunction(vm->main, open_all);
  lua_call(vm->main, 0, 0);
  lua_gc(vm->main, LUA_GCINC, GC_PAUSE, GC_WORK, GC_STEP);
  lua_gc(vm->main, LUA_GCCOLLECT);
  vm->full_at = vm->idle_from = vm->used;
  vm->cap = vm->limit;
  return vm;
}

void vm_free(struct vm *vm) {
  if (!vm) return;
  check(!vm->depth);
  vm->cap = SIZE_MAX;
  lua_close(vm->main);
  check(!vm->used);
  pieces_end(&vm->pieces);
  mem_free(vm);
}

lua_State *vm_state(struct vm *vm) { return vm->main; }
struct vm *vm_of(lua_State *L) { return *(struct vm **)lua_getextraspace(L); }
void vm_set_owner(struct vm *vm, void *owner) { vm->owner = owner; }
void *vm_owner(lua_State *L) { return vm_of(L)->owner; }

void vm_set_call_ms(struct vm *vm, unsigned ms) {
  vm->call_ms = ms ? ms : DEFAULT_CALL_MS;
  vm->steps_left = vm->steps_given ? vm->steps_given : (uint64_t)vm->call_ms * STEPS_PER_MS;
}

/* ---- collection */
/* A cycle is begun when a quarter more is in use than after the last one, and then carried to its end, a
   turn at a time; so most of them are done before the running collector would begin one inside a call. */
static bool grown(const struct vm *vm) { return vm->used >= vm->idle_from + vm->idle_from / 4 + 65536; }
bool vm_idle_wanted(const struct vm *vm) { return vm->collecting || grown(vm); }

bool vm_idle(struct vm *vm) {
  if (vm->depth || !vm_idle_wanted(vm)) return false;
  vm->collecting = !lua_gc(vm->main, LUA_GCSTEP, 0);
  if (vm->collecting) return true;
  vm->collecting = vm->again = !vm->again && grown(vm);  /* it may have begun inside a call, before what is garbage now was left */
  if (!vm->collecting) vm->idle_from = vm->used;
  return vm->collecting;
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* Above five eighths of the limit a cycle is carried on after each call, a short piece at a time. One in a single piece (7 ms for 8 MB) is
   left for a state that fills faster than that. */
void vm_tidy(struct vm *vm) {
  if (vm->used < vm->limit / 8 * 5 || (!vm->collecting && vm->used < vm->idle_from + vm->limit / 8)) return;
  if (vm->used > vm->limit - vm->limit / 16 && vm->used > vm->full_at + vm->limit / 16) {
    lua_gc(vm->main, LUA_GCCOLLECT);
    vm->full_at = vm->idle_from = vm->used;
    vm->collecting = false;
    return;
  }
  int64_t until = now_ns() + TIDY_NS;
  do vm->collecting = !lua_gc(vm->main, LUA_GCSTEP, 0);
  while (vm->collecting && now_ns() < until);
  if (!vm->collecting) vm->idle_from = vm->full_at = vm->used;
}

/* ---- the pool of coroutines */
lua_State *vm_coroutine(struct vm *vm) {
  if (vm->spare_count) return vm->spares[--vm->spare_count];
  lua_State *L = vm->main;
  size_t cap = vm_lift(vm);
  require(lua_checkstack(L, 4));
  lua_rawgetp(L, LUA_REGISTRYINDEX, &coroutines_key);
  lua_State *co = lua_newthread(L);
  lua_rawsetp(L, -2, co);
  lua_pop(L, 1);
  vm_unlift(vm, cap);
  return co;
}

void vm_coroutine_forget(struct vm *vm, lua_State *co) {
  lua_State *L = vm->main;
  size_t cap = vm_lift(vm);
  require(lua_checkstack(L, 4));
  lua_rawgetp(L, LUA_REGISTRYINDEX, &coroutines_key);
  lua_pushnil(L);
  lua_rawsetp(L, -2, co);
  lua_pop(L, 1);
  vm_unlift(vm, cap);
}

void vm_coroutine_back(struct vm *vm, lua_State *co) {
  lua_settop(co, 0);
  if (vm->spare_count == SPARES) return vm_coroutine_forget(vm, co);
  vm->spares[vm->spare_count++] = co;
}

void vm_coroutine_drop(struct vm *vm, lua_State *co) {
  lua_Debug frame;
  bool clean = lua_status(co) == LUA_OK;
  if (clean && lua_getstack(co, 0, &frame)) return vm_coroutine_forget(vm, co);  /* it was abandoned */
  if (!clean && !vm_run_reset(vm, co)) return vm_coroutine_forget(vm, co);
  vm_coroutine_back(vm, co);
}
