#include "scene.h"

#include <pthread.h>
#include <stdatomic.h>

/* Several threads with a vm each: who loops is ended, who does not is left alone. */

struct job {
  pthread_t thread;
  const char *text;
  int rounds;
  int ended[VM_TIMEOUT + 1];
};
static atomic_int guilty;

static void *job_run(void *arg) {
  struct job *j = arg;
  struct vm_limits limits = { 0 };
  vm_thread_enter();
  struct vm *vm = vm_new(&limits);
  vm_freeze(vm);
  lua_State *L = vm_state(vm);
  bool loaded = vm_load(L, span_cstr(j->text), "test.lua", 0);
  for (int i = 0; loaded && (j->rounds ? i < j->rounds : atomic_load(&guilty) > 0); i++) {
    lua_settop(L, 1);
    lua_pushvalue(L, 1);
    j->ended[vm_call(L, 0, 0)]++;
  }
  vm_free(vm);
  if (j->rounds) atomic_fetch_sub(&guilty, 1);
  return NULL;
}

#ifdef __SANITIZE_THREAD__
/* That sanitizer holds signals back until the thread calls into the C library, which a bare loop never does. */
#define LOOP "while true do local s = ('x'):rep(300) .. 'y' end"
#else
#define LOOP "while true do end"
#endif

/* Calls that may be ended though they were short: a virtual machine's processor is taken away at times, and the thread's clock goes on.
   Signals that went to the wrong thread would end one for each of the guilty's. */
enum { STOLEN = 3 };

static void test_only_the_guilty(void **state) {
  (void)state;
  struct job jobs[] = {
    { .text = LOOP, .rounds = 30 }, { .text = "local n = 0 for i = 1, 50 do n = n + i end return n" },
    { .text = LOOP, .rounds = 30 }, { .text = "local t = {} for i = 1, 20 do t[i] = ('x'):rep(i) end return table.concat(t)" },
  };
  atomic_store(&guilty, 2);
  for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&jobs[i].thread, NULL, job_run, &jobs[i]), 0);
  for (int i = 0; i < 4; i++) pthread_join(jobs[i].thread, NULL);
  for (int i = 0; i < 4; i++) {
    assert_int_equal(jobs[i].ended[VM_ERROR], 0);
    assert_int_equal(jobs[i].ended[VM_MEMORY], 0);
    if (jobs[i].rounds) assert_int_equal(jobs[i].ended[VM_TIMEOUT], jobs[i].rounds);
    else assert_true(jobs[i].ended[VM_OK] > 100 && jobs[i].ended[VM_TIMEOUT] <= STOLEN);
  }
}

/* Threads that come and go, each with a call or two: their timers go with them. */
static void test_coming_and_going(void **state) {
  (void)state;
  for (int round = 0; round < 40; round++) {
    struct job jobs[] = { { .text = "return 1", .rounds = 3 }, { .text = "return 1", .rounds = 300 } };
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&jobs[i].thread, NULL, job_run, &jobs[i]), 0);
    for (int i = 0; i < 2; i++) pthread_join(jobs[i].thread, NULL);
    for (int i = 0; i < 2; i++) assert_int_equal(jobs[i].ended[VM_OK], jobs[i].rounds);
  }
}

/* After a pause the turns of the clock have ended; the next call starts them again. */
static void test_after_a_pause(void **state) {
  for (int round = 0; round < 5; round++) {
    struct timespec pause = { 0, 60000000 };
    nanosleep(&pause, NULL);
    assert_int_equal(run(*state, LOOP), VM_TIMEOUT);
  }
}

/* A call that waits for something else than the processor has used no time. */
static int sleep_long(lua_State *L) {
  struct timespec pause = { 0, 30000000 };
  (void)L;
  while (nanosleep(&pause, &pause)) {}
  return 0;
}

static void test_only_cpu_time_counts(void **state) {
  (void)state;
  struct vm_limits limits = { 0 };
  struct vm *vm = vm_new(&limits);
  lua_pushcfunction(vm_state(vm), sleep_long);
  lua_setglobal(vm_state(vm), "sleep");
  expect_text(vm, "sleep() return 'woke'", "woke");
  vm_free(vm);
}

/* A vm that is made and loaded on one thread and called on another. */
static void *call_there(void *arg) {
  struct vm *vm = arg;
  lua_State *L = vm_state(vm);
  lua_pushvalue(L, 1);
  bool well = vm_call(L, 0, 0) == VM_TIMEOUT;
  lua_settop(L, 1);
  return well ? vm : NULL;
}

static void test_handed_over(void **state) {
  struct vm *vm = *state;
  lua_settop(vm_state(vm), 0);
  assert_true(vm_load(vm_state(vm), SPAN(LOOP), "test.lua", 0));
  for (int i = 0; i < 3; i++) {
    pthread_t thread;
    void *result;
    assert_int_equal(pthread_create(&thread, NULL, call_there, vm), 0);
    pthread_join(thread, &result);
    assert_ptr_equal(result, vm);
    assert_ptr_equal(call_there(vm), vm);
  }
}

int main(void) {
  log_set_level(LOG_OFF);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_only_the_guilty), cmocka_unit_test(test_coming_and_going), cmocka_unit_test(test_after_a_pause),
    cmocka_unit_test(test_only_cpu_time_counts), cmocka_unit_test(test_handed_over),
  };
  return cmocka_run_group_tests(tests, vm_setup, vm_teardown);
}
