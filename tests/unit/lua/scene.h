/* scene.h: a vm to run text in, and checks of how it ended. */
#ifndef TESTS_LUA_SCENE_H
#define TESTS_LUA_SCENE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <time.h>

#include "weir/log.h"
#include "weir/vm.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SLOWER = 12 };
#else
enum { SLOWER = 1 };
#endif

static inline int vm_setup(void **state) {
  struct vm_limits limits = { .call_ms = 5 * SLOWER, .steps = 1000000 };
  struct vm *vm = vm_new(&limits);
  vm_freeze(vm);
  *state = vm;
  return 0;
}

static inline int vm_teardown(void **state) {
  vm_free(*state);
  return 0;
}

static inline double cpu_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Loads and calls; the results or the message are on the stack of the main state, which was emptied before. */
static inline enum vm_result run(struct vm *vm, const char *text) {
  lua_State *L = vm_state(vm);
  lua_settop(L, 0);
  if (!vm_load(L, span_cstr(text), "test.lua", 0)) fail_msg("%s: %s", text, lua_tostring(L, -1));
  return vm_call(L, 0, LUA_MULTRET);
}

static inline const char *told(struct vm *vm) { return lua_tostring(vm_state(vm), -1); }

static inline void expect_text(struct vm *vm, const char *text, const char *result) {
  if (run(vm, text) != VM_OK) fail_msg("%s: %s", text, told(vm));
  if (!told(vm)) fail_msg("%s: no text", text);
  assert_string_equal(told(vm), result);
}

static inline void expect_error(struct vm *vm, const char *text, const char *part) {
  if (run(vm, text) != VM_ERROR) fail_msg("%s: no error", text);
  if (!strstr(told(vm), part)) fail_msg("%s: '%s' is not in: %s", text, part, told(vm));
}

#endif
