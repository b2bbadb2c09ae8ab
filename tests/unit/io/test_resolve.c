/* Names, against a name server of the test's own on UDP and TCP. */
#include "world.h"
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* The server answers by name: NAME.test, with A records 10.0.0.1.. and TTL as its table says. */
static struct {
  const char *name;
  int code, addresses, ttl, delay_ms;
  bool silent, only_tcp, alias;
  unsigned asked;                     /* A questions */
} zone[] = {
  { "one", 0, 1, 60, 0, false, false, false, 0 },
  { "three", 0, 3, 60, 0, false, false, false, 0 },
  { "brief", 0, 1, 1, 0, false, false, false, 0 },
  { "nothing", 0, 0, 60, 0, false, false, false, 0 },
  { "nx", 3, 0, 60, 0, false, false, false, 0 },
  { "broken", 2, 0, 60, 0, false, false, false, 0 },
  { "late", 0, 1, 60, 150, false, false, false, 0 },
  { "silent", 0, 0, 60, 0, true, false, false, 0 },
  { "large", 0, 16, 60, 0, false, true, false, 0 },
  { "alias", 0, 1, 60, 0, false, false, true, 0 },
};
enum { ZONE = sizeof zone / sizeof *zone };
static int udp, tcp;
static char servers[64];

static size_t put(unsigned char *p, const char *bytes, size_t n) { memcpy(p, bytes, n); return n; }

/* Builds the answer to question q of n bytes; 0: none. */
static size_t reply(const unsigned char *q, size_t n, unsigned char *a, bool over_tcp) {
  char label[64] = "";
  size_t end = 12;
  if (n < 17) return 0;
  memcpy(label, q + 13, q[12] < 63 ? q[12] : 63);
  while (end < n && q[end]) end += q[end] + 1u;
  end += 5;
  bool v4 = q[end - 3] == 1;
  int at = 0;
  while (at < ZONE && strcasecmp(zone[at].name, label)) at++;
  bool known = at < ZONE;
  if (known && v4) __atomic_add_fetch(&zone[at].asked, 1, __ATOMIC_SEQ_CST);
  if (known && zone[at].silent) return 0;
  if (known && zone[at].delay_ms) usleep((unsigned)zone[at].delay_ms * 1000);
  bool cut = known && zone[at].only_tcp && !over_tcp, alias = known && zone[at].alias;
  int count = known && v4 && !cut ? zone[at].addresses : 0, code = known ? zone[at].code : 3;
  memcpy(a, q, end);
  a[2] = (unsigned char)(0x80 | (cut ? 2 : 0) | (q[2] & 1));
  a[3] = (unsigned char)(0x80 | code);
  memcpy(a + 6, "\0\0\0\0\0\0", 6);
  a[7] = (unsigned char)(count + alias);
  if (alias) {                                     /* CNAME "real" in the root, TTL 2 */
    end += put(a + end, "\xC0\x0C\0\5\0\1\0\0\0\2\0\6\4real\0", 18);
  }
  for (int i = 0; i < count; i++) {
    end += alias ? put(a + end, "\4real\0", 6) : put(a + end, "\xC0\x0C", 2);
    end += put(a + end, "\0\1\0\1\0\0\0", 7);
    a[end++] = (unsigned char)zone[at].ttl;
    end += put(a + end, "\0\4\x0A\0\0", 5);
    a[end++] = (unsigned char)(i + 1);
  }
  return end;
}

static void *serve_udp(void *arg) {
  unsigned char q[1500], a[1500];
  struct sockaddr_in from;
  (void)arg;
  for (;;) {
    socklen_t n = sizeof from;
    ssize_t got = recvfrom(udp, q, sizeof q, 0, (struct sockaddr *)&from, &n);
    if (got <= 0) return NULL;
    size_t size = reply(q, (size_t)got, a, false);
    if (size) sendto(udp, a, size, 0, (struct sockaddr *)&from, n);
  }
}

static void *serve_tcp(void *arg) {
  unsigned char q[1500], a[1500];
  (void)arg;
  for (int fd; (fd = accept(tcp, NULL, NULL)) >= 0; close(fd))
    for (;;) {
      if (recv(fd, q, 2, MSG_WAITALL) != 2) break;
      size_t n = (size_t)q[0] << 8 | q[1];
      if (n > sizeof q || recv(fd, q, n, MSG_WAITALL) != (ssize_t)n) break;
      size_t size = reply(q, n, a + 2, true);
      a[0] = (unsigned char)(size >> 8);
      a[1] = (unsigned char)size;
      for (size_t i = 0; i < size + 2; i += 50) {  /* in pieces, so that one readiness brings several reads */
        size_t part = size + 2 - i < 50 ? size + 2 - i : 50;
        if (send(fd, a + i, part, MSG_NOSIGNAL) < 0) break;
        usleep(300);
      }
    }
  return NULL;
}

/* One port for both, which the first try need not find free. */
static uint16_t sockets_open(void) {
  for (int tries = 0; tries < 100; tries++) {
    struct sockaddr_in a = world_address(0);
    socklen_t n = sizeof a;
    udp = socket(AF_INET, SOCK_DGRAM, 0);
    tcp = socket(AF_INET, SOCK_STREAM, 0);
    bool bound = !bind(udp, (struct sockaddr *)&a, n) && !getsockname(udp, (struct sockaddr *)&a, &n);
    if (bound && !bind(tcp, (struct sockaddr *)&a, n) && !listen(tcp, 8)) return ntohs(a.sin_port);
    close(udp);
    close(tcp);
  }
  return 0;
}

static int start_server(void **state) {
  static pthread_t threads[2];
  uint16_t port = sockets_open();
  (void)state;
  if (!port) return -1;
  snprintf(servers, sizeof servers, "127.0.0.1:%u", port);
  return pthread_create(&threads[0], NULL, serve_udp, NULL) | pthread_create(&threads[1], NULL, serve_tcp, NULL);
}

static unsigned asked_for(const char *name) {
  for (int i = 0; i < ZONE; i++)
    if (!strcmp(zone[i].name, name)) return __atomic_load_n(&zone[i].asked, __ATOMIC_SEQ_CST);
  return 0;
}

/* A resolver on a loop, asked and answered there. */
struct bench {
  struct world *w;
  struct resolver *r;
};
static struct bench bench_open(void) {
  const char *why = "";
  struct bench b = { .w = world_new(NULL, NULL) };
  b.r = resolver_new(b.w->loop, &why);
  assert_non_null(b.r);
  assert_true(resolver_servers(b.r, servers));
  return b;
}
static void bench_close(struct bench *b) {
  resolver_free(b->r);
  world_free(b->w);
}

struct waiter {
  struct resolve_ask ask;
  int done;
  uint64_t at_ms;
};
static void waited(struct resolve_ask *a) {
  struct waiter *w = (struct waiter *)a;
  w->done++;
  w->at_ms = a->back->now_ms;
}

static void ask(struct bench *b, struct waiter *w, const char *name) {
  *w = (struct waiter){ .ask.done = waited };
  resolver_ask(b->r, &w->ask, b->w->loop, span_cstr(name));
  assert_int_equal(w->done, 0);
}
static bool ask_wait(struct bench *b, struct waiter *w, const char *name) {
  ask(b, w, name);
  world_until(b->w, w->done);
  assert_int_equal(w->done, 1);
  return w->ask.found;
}

static uint32_t v4_of(const struct address *a) { return ntohl(((const struct sockaddr_in *)&a->to)->sin_addr.s_addr); }
static uint16_t port_of(const struct address *a) { return ntohs(((const struct sockaddr_in *)&a->to)->sin_port); }

static void test_finds(void **state) {
  (void)state;
  struct bench b = bench_open();
  struct waiter w;
  struct address list[RESOLVE_MOST];
  assert_int_equal(resolver_cached(b.r, SPAN("one.test"), 443, list), 0);
  assert_true(ask_wait(&b, &w, "one.test"));
  assert_string_equal(w.ask.why, "");
  assert_int_equal(resolver_cached(b.r, SPAN("ONE.Test"), 443, list), 1);
  assert_int_equal(v4_of(&list[0]), 0x0A000001);
  assert_int_equal(port_of(&list[0]), 443);
  assert_int_equal(list[0].n, sizeof(struct sockaddr_in));
  bench_close(&b);
}

static void test_rotates(void **state) {
  (void)state;
  struct bench b = bench_open();
  struct waiter w;
  struct address list[RESOLVE_MOST];
  unsigned firsts = 0;
  assert_true(ask_wait(&b, &w, "three.test"));
  for (int i = 0; i < 3; i++) {
    assert_int_equal(resolver_cached(b.r, SPAN("three.test"), 80, list), 3);
    firsts |= 1u << (v4_of(&list[0]) & 15);
    unsigned all = 0;
    for (int j = 0; j < 3; j++) all |= 1u << (v4_of(&list[j]) & 15);
    assert_int_equal(all, 0xE);
  }
  assert_int_equal(firsts, 0xE);
  bench_close(&b);
}

static void test_failures(void **state) {
  (void)state;
  struct bench b = bench_open();
  struct waiter w;
  struct address list[RESOLVE_MOST];
  assert_false(ask_wait(&b, &w, "nx.test"));
  assert_string_equal(w.ask.why, "NXDOMAIN for nx.test");
  assert_int_equal(resolver_cached(b.r, SPAN("nx.test"), 80, list), -1);
  unsigned before = asked_for("nx");
  assert_false(ask_wait(&b, &w, "nx.test"));       /* from the cache, with its reason */
  assert_string_equal(w.ask.why, "NXDOMAIN for nx.test");
  assert_int_equal(asked_for("nx"), before);
  world_pass(b.w, 1100);
  assert_int_equal(resolver_cached(b.r, SPAN("nx.test"), 80, list), 0);
  assert_false(ask_wait(&b, &w, "nothing.test"));
  assert_string_equal(w.ask.why, "no address for nothing.test");
  assert_false(ask_wait(&b, &w, "broken.test"));
  assert_true(strstr(w.ask.why, "for broken.test") != NULL);
  static char longest[300];
  memset(longest, 'x', sizeof longest - 1);
  assert_false(ask_wait(&b, &w, longest));
  assert_string_equal(w.ask.why, "not a name");
  assert_false(ask_wait(&b, &w, ""));
  assert_int_equal(resolver_cached(b.r, SPAN("a\0b"), 80, list), -1);
  bench_close(&b);
}

static void test_ttl(void **state) {
  (void)state;
  struct bench b = bench_open();
  struct waiter w;
  struct address list[RESOLVE_MOST];
  assert_true(ask_wait(&b, &w, "brief.test"));
  assert_true(ask_wait(&b, &w, "one.test"));
  assert_true(ask_wait(&b, &w, "alias.test"));     /* its alias lives 2 s, its address 60 */
  assert_int_equal(resolver_cached(b.r, SPAN("brief.test"), 80, list), 1);
  world_pass(b.w, 1200);
  assert_int_equal(resolver_cached(b.r, SPAN("brief.test"), 80, list), 0);
  assert_int_equal(resolver_cached(b.r, SPAN("alias.test"), 80, list), 1);
  world_pass(b.w, 1000);
  assert_int_equal(resolver_cached(b.r, SPAN("alias.test"), 80, list), 0);
  assert_int_equal(resolver_cached(b.r, SPAN("one.test"), 80, list), 1);
  bench_close(&b);
}

static void test_one_question_for_many(void **state) {
  (void)state;
  struct bench b = bench_open();
  static struct waiter many[50];
  unsigned before = asked_for("late");
  for (int i = 0; i < 50; i++) ask(&b, &many[i], i % 2 ? "late.test" : "LATE.test");
  for (int i = 0; i < 50; i++) {
    world_until(b.w, many[i].done);
    assert_true(many[i].ask.found);
  }
  assert_int_equal(asked_for("late") - before, 1);
  bench_close(&b);
}

static void test_over_tcp(void **state) {
  (void)state;
  struct bench b = bench_open();
  struct waiter w;
  struct address list[RESOLVE_MOST];
  assert_true(ask_wait(&b, &w, "large.test"));
  assert_int_equal(resolver_cached(b.r, SPAN("large.test"), 80, list), RESOLVE_MOST);
  bench_close(&b);
}

static void test_ends_in_time(void **state) {
  (void)state;
  struct bench b = bench_open();
  struct waiter w, second;
  uint64_t start = b.w->loop->now_ms;
  ask(&b, &w, "silent.test");
  world_pass(b.w, 3000);
  ask(&b, &second, "silent.test");                 /* joins, and shares the end */
  for (int i = 0; i < 100000 && !(w.done && second.done); i++) loop_turn(b.w->loop);
  assert_int_equal(w.done + second.done, 2);
  assert_false(w.ask.found || second.ask.found);
  assert_string_equal(w.ask.why, "name servers timed out for silent.test");
  assert_true(w.at_ms - start >= 4000 && w.at_ms - start < 5500);
  bench_close(&b);                                 /* while c-ares still tries */
}

static void test_literals(void **state) {
  (void)state;
  struct bench b = bench_open();
  struct waiter w;
  struct address list[RESOLVE_MOST];
  for (int i = 0; i < 2; i++) {
    struct resolver *r = i ? b.r : NULL;
    assert_int_equal(resolver_cached(r, SPAN("192.0.2.7"), 81, list), 1);
    assert_int_equal(v4_of(&list[0]), 0xC0000207);
    assert_int_equal(port_of(&list[0]), 81);
    assert_int_equal(resolver_cached(r, SPAN("::1"), 81, list), 1);
    assert_int_equal(list[0].to.ss_family, AF_INET6);
    assert_int_equal(list[0].n, sizeof(struct sockaddr_in6));
    assert_int_equal(resolver_cached(r, SPAN("[::1]"), 82, list), 1);
    assert_int_equal(ntohs(((struct sockaddr_in6 *)&list[0].to)->sin6_port), 82);
    assert_int_equal(resolver_cached(r, SPAN("[127.0.0.1]"), 82, list), i ? 0 : -1);
  }
  assert_true(ask_wait(&b, &w, "127.0.0.1"));
  struct bench none = { .w = b.w };
  assert_false(ask_wait(&none, &w, "one.test"));
  assert_string_equal(w.ask.why, "no resolver");
  bench_close(&b);
}

static void test_hosts_file(void **state) {
  (void)state;
  struct bench b = bench_open();
  struct waiter w;
  struct address list[RESOLVE_MOST];
  assert_true(ask_wait(&b, &w, "localhost"));
  int n = resolver_cached(b.r, SPAN("localhost"), 80, list);
  assert_true(n >= 1);
  for (int i = 0; i < n; i++)
    if (list[i].to.ss_family == AF_INET) assert_int_equal(v4_of(&list[i]), INADDR_LOOPBACK);
  assert_true(ask_wait(&b, &w, "no-file-says.localhost"));               /* RFC 6761, 6.3 */
  assert_int_equal(resolver_cached(b.r, SPAN("no-file-says.localhost"), 80, list), 2);
  assert_int_equal(v4_of(&list[0]), INADDR_LOOPBACK);
  bench_close(&b);
}

/* Freed with questions open: they end, and memory goes once the loop turned. */
static void test_freed_while_asking(void **state) {
  (void)state;
  struct bench b = bench_open();
  struct waiter w;
  ask(&b, &w, "silent.test");
  world_pass(b.w, 20);
  resolver_free(b.r);
  world_until(b.w, w.done);
  assert_false(w.ask.found);
  assert_string_equal(w.ask.why, "shut down while asking for silent.test");
  world_free(b.w);
}

/* Made-up names do not fill the memory, and what is asked for often still works. */
static void test_many_names(void **state) {
  (void)state;
  struct bench b = bench_open();
  struct waiter w;
  struct address list[RESOLVE_MOST];
  char name[64];
  for (int i = 0; i < 1500; i++) {
    snprintf(name, sizeof name, "one.n%d.test", i);
    if (!ask_wait(&b, &w, name)) fail_msg("%s", w.ask.why);
    assert_int_equal(resolver_cached(b.r, span_cstr(name), 80, list), 1);
  }
  int known = 0;
  for (int i = 0; i < 1500; i++) {
    snprintf(name, sizeof name, "one.n%d.test", i);
    known += resolver_cached(b.r, span_cstr(name), 80, list) == 1;
  }
  assert_true(known <= 1024);
  bench_close(&b);
}

/* From another thread's loop: done runs there. */
static int ended, may_free;
static void *asks_elsewhere(void *arg) {
  struct bench *b = arg, mine = { .w = world_new(NULL, NULL), .r = b->r };
  struct waiter w;
  struct address list[RESOLVE_MOST];
  static const char *const names[] = { "one.test", "three.test", "nx.test", "late.test", "brief.test" };
  for (int i = 0; i < 40; i++) {
    const char *name = names[i % 5];
    int known = resolver_cached(b->r, span_cstr(name), 80, list);
    if (!known && ask_wait(&mine, &w, name) != (i % 5 != 2)) fail_msg("%s: %s", name, w.ask.why);
  }
  __atomic_add_fetch(&ended, 1, __ATOMIC_SEQ_CST);
  while (!__atomic_load_n(&may_free, __ATOMIC_SEQ_CST)) usleep(1000);   /* the resolver may be posting still */
  world_free(mine.w);
  return NULL;
}

static void test_from_other_threads(void **state) {
  (void)state;
  struct bench b = bench_open();
  pthread_t threads[3];
  ended = may_free = 0;
  for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, asks_elsewhere, &b), 0);
  world_until(b.w, __atomic_load_n(&ended, __ATOMIC_SEQ_CST) == 3);
  __atomic_store_n(&may_free, 1, __ATOMIC_SEQ_CST);
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  bench_close(&b);
}

static int on_epoll(void **state) { (void)state; world_kind = LOOP_EPOLL; return 0; }
static int on_ring(void **state) { (void)state; world_kind = LOOP_URING; return 0; }
#define EPOLL(name) { "epoll: " #name, name, on_epoll, on_ring, NULL }

int main(void) {
  const struct CMUnitTest tests[] = {
    EPOLL(test_finds), EPOLL(test_over_tcp), EPOLL(test_freed_while_asking), EPOLL(test_many_names), EPOLL(test_from_other_threads),
    cmocka_unit_test(test_finds), cmocka_unit_test(test_rotates), cmocka_unit_test(test_failures),
    cmocka_unit_test(test_ttl), cmocka_unit_test(test_one_question_for_many), cmocka_unit_test(test_over_tcp),
    cmocka_unit_test(test_literals), cmocka_unit_test(test_hosts_file), cmocka_unit_test(test_freed_while_asking),
    cmocka_unit_test(test_many_names), cmocka_unit_test(test_from_other_threads), cmocka_unit_test(test_ends_in_time),
  };
  return cmocka_run_group_tests(tests, start_server, NULL);
}
