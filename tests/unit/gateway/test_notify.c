/* What a service manager hears: each datagram as it arrives at its socket, and signs of life while every worker turns. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>
#include "../../../src/gateway/worker.h"

struct scene {
  struct gateway gateway;
  struct generation gen;
  struct conf conf;
  struct listener listener;
  struct worker workers[2];
  int manager;
  char text[1024];
};

static struct scene *scene_new(void) {
  struct scene *s = mem_zero(sizeof *s);
  struct sim_options o = { 0 };
  struct sockaddr_un a = { .sun_family = AF_UNIX };
  char name[64];
  snprintf(name, sizeof name, "@weir-notify-%d", (int)getpid());
  memcpy(a.sun_path + 1, name + 1, strlen(name) - 1);
  s->manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(s->manager, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))), 0);
  setenv("NOTIFY_SOCKET", name, 1);
  s->listener.spec = SPAN("127.0.0.1:8080");
  s->conf.listeners = &s->listener;
  s->conf.listener_count = 1;
  s->gen.conf = &s->conf;
  s->gen.number = 3;
  s->gateway.newest = &s->gen;
  s->gateway.house = sim_new(&o);
  s->gateway.workers = s->workers;
  s->gateway.worker_count = 2;
  for (unsigned i = 0; i < 2; i++) s->workers[i].loop = sim_new(&o);
  return s;
}

static void scene_end(struct scene *s) {
  notify_end(&s->gateway);
  loop_free(s->gateway.house);
  for (unsigned i = 0; i < 2; i++) loop_free(s->workers[i].loop);
  close(s->manager);
  mem_free(s);
  unsetenv("NOTIFY_SOCKET");
  unsetenv("WATCHDOG_USEC");
  unsetenv("WATCHDOG_PID");
  unsetenv("WEIR_LISTEN_FDS");
}

/* The next datagram, or "". */
static const char *heard(struct scene *s) {
  ssize_t n = recv(s->manager, s->text, sizeof s->text - 1, 0);
  s->text[n > 0 ? n : 0] = 0;
  return s->text;
}

static void test_states(void **state) {
  (void)state;
  struct scene *s = scene_new();
  char pid[32];
  unsigned long long at = 0;
  snprintf(pid, sizeof pid, "\nMAINPID=%d\n", (int)getpid());
  notify_ready(&s->gateway);
  assert_memory_equal(heard(s), "READY=1\n", 8);
  assert_non_null(strstr(s->text, pid));
  assert_non_null(strstr(s->text, "\nSTATUS=serves on 127.0.0.1:8080; 2 workers, 0 providers, generation 3"));
  assert_string_equal(heard(s), "");                     /* no watchdog was asked for */
  notify_reloading();
  assert_int_equal(sscanf(heard(s), "RELOADING=1\nMONOTONIC_USEC=%llu\n", &at), 1);
  assert_true(at > 0);
  notify_reloaded(&s->gateway, SPAN("weir.lua:1: no\nMAINPID=1\n"));
  assert_memory_equal(heard(s), "READY=1\nSTATUS=", 15);
  assert_non_null(strstr(s->text, "refused: weir.lua:1: no"));
  assert_null(strstr(s->text, "MAINPID"));               /* one line is told, and no more */
  notify_stopping(600);
  assert_string_equal(heard(s), "STOPPING=1\nEXTEND_TIMEOUT_USEC=630000000\nSTATUS=drains for at most 600 s");
  s->gateway.draining = true;
  notify_reloaded(&s->gateway, SPAN(""));                /* it ended too late: not ready any more */
  assert_string_equal(heard(s), "");
  notify_leave();
  notify_stopping(600);
  assert_string_equal(heard(s), "");
  scene_end(s);
}

static unsigned signs(struct scene *s, unsigned turns) {
  unsigned n = 0;
  while (turns--) {
    loop_turn(s->gateway.house);
    while (*heard(s)) n += !strcmp(s->text, "WATCHDOG=1\n");
  }
  return n;
}

static void test_signs_of_life(void **state) {
  (void)state;
  struct scene *s = scene_new();
  setenv("WATCHDOG_USEC", "4000000", 1);
  setenv("WATCHDOG_PID", "1", 1);
  notify_ready(&s->gateway);
  assert_int_equal(signs(s, 4), 0);                      /* meant for another process */
  setenv("WEIR_LISTEN_FDS", "", 1);
  notify_ready(&s->gateway);                             /* whose place this one took */
  uint64_t begun = s->gateway.house->now_ms;
  assert_in_range(signs(s, 40), 2, 40);
  s->workers[1].loop->awake_ms = 1;                      /* it began a turn long ago */
  s->gateway.house->now_ms += 10000;
  log_mute_thread(true);
  assert_int_equal(signs(s, 40), 0);
  log_mute_thread(false);
  s->workers[1].loop->awake_ms = 0;
  assert_in_range(signs(s, 40), 1, 40);
  assert_true(s->gateway.house->now_ms >= begun);
  scene_end(s);
}

static void test_no_manager(void **state) {
  (void)state;
  struct scene *s = scene_new();
  static const char *const none[] = { "", "/", "relative", "vsock:2:1" };
  for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
    setenv("NOTIFY_SOCKET", none[i], 1);
    notify_ready(&s->gateway);
    assert_string_equal(heard(s), "");
  }
  scene_end(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_states), cmocka_unit_test(test_signs_of_life), cmocka_unit_test(test_no_manager),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
