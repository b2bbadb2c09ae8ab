#include "world.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>

static void test_address_split(void **state) {
  (void)state;
  static const struct { const char *spec, *host; int port; } cases[] = {
    { "127.0.0.1:8080", "127.0.0.1", 8080 }, { "[::1]:8080", "::1", 8080 }, { "api.example:443", "api.example", 443 },
    { "h:0", "h", 0 }, { "h:65535", "h", 65535 }, { "h:65536", NULL, 0 }, { "h:", NULL, 0 }, { "h", NULL, 0 },
    { "", NULL, 0 }, { ":80", NULL, 0 }, { "::1:80", NULL, 0 }, { "[::1]", NULL, 0 }, { "[::1:80", NULL, 0 },
    { "[]:80", NULL, 0 }, { "h:80x", NULL, 0 }, { "h:-1", NULL, 0 }, { "h:000080", NULL, 0 }, { "[", NULL, 0 },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct span host = { 0 };
    uint16_t port = 0;
    bool good = address_split(span_cstr(cases[i].spec), &host, &port);
    if (good != (cases[i].host != NULL)) fail_msg("%s", cases[i].spec);
    if (!good) continue;
    assert_true(span_eq(host, span_cstr(cases[i].host)));
    assert_int_equal(port, cases[i].port);
  }
}

static int open_at(const char *spec, char *text) { return listen_open(span_cstr(spec), text, 160); }

static const char *name_of(int fd, char *text) {
  struct sockaddr_storage a = { 0 };
  socklen_t n = sizeof a;
  assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
  struct span s = address_text((struct sockaddr *)&a, n, text, 160);
  assert_int_equal(strlen(text), s.n);
  return text;
}

static void test_binds(void **state) {
  (void)state;
  char text[160], name[160];
  int one = 0;
  socklen_t n = sizeof one;
  int fd = open_at("127.0.0.1:0", text);
  assert_true(fd >= 0);
  assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
  assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
  getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, &n);
  assert_true(one);
  assert_memory_equal(name_of(fd, name), "127.0.0.1:", 10);
  assert_int_equal(open_at(name, text), -1);       /* taken */
  assert_string_equal(text, "Address already in use");
  close(fd);
  fd = open_at("[::1]:0", text);
  if (fd >= 0) assert_memory_equal(name_of(fd, name), "[::1]:", 6), close(fd);
  else print_message("skipped: no IPv6 here (%s)\n", text);
}

static void test_refuses_what_is_no_address(void **state) {
  (void)state;
  static const char *const bad[] = { "", "8080", "localhost:8080", "127.0.0.1", "::1:80", "[::1]", "1.2.3:80", "unix:" };
  char text[160], path[160];
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    text[0] = 0;
    assert_int_equal(open_at(bad[i], text), -1);
    assert_true(strlen(text) > 10);
  }
  snprintf(path, sizeof path, "unix:/%0120d", 0);
  assert_int_equal(open_at(path, text), -1);
  assert_non_null(strstr(text, "107"));
}

static void test_unix(void **state) {
  (void)state;
  char spec[160], text[160], name[160], *path = spec + 5, *dir = spec + 5;
  strcpy(spec, "unix:/tmp/weir-test-XXXXXX");
  assert_non_null(mkdtemp(dir));
  strcat(spec, "/s");
  int fd = open_at(spec, text);
  assert_true(fd >= 0);
  assert_string_equal(name_of(fd, name), spec);
  assert_int_equal(open_at(spec, text), -1);       /* somebody listens */
  assert_non_null(strstr(text, "in use"));
  close(fd);
  fd = open_at(spec, text);                        /* now it is stale */
  assert_true(fd >= 0);
  close(fd);
  unlink(path);
  struct sockaddr_un other = { .sun_family = AF_UNIX };
  memcpy(other.sun_path, path, strlen(path));
  fd = socket(AF_UNIX, SOCK_DGRAM, 0);             /* alive, only not a stream */
  assert_int_equal(bind(fd, (struct sockaddr *)&other, sizeof other), 0);
  assert_int_equal(open_at(spec, text), -1);
  assert_non_null(strstr(text, "in use"));
  close(fd);
  unlink(path);
  close(open(path, O_CREAT | O_WRONLY, 0600));
  assert_int_equal(open_at(spec, text), -1);       /* a file of somebody's is not ours to remove */
  assert_non_null(strstr(text, "no socket"));
  assert_int_equal(access(path, F_OK), 0);
  unlink(path);
  *strrchr(path, '/') = 0;
  rmdir(path);
}

/* A path goes with the process that made it, unless it was left to a successor or is somebody else's by now. */
static void test_unix_path_goes(void **state) {
  (void)state;
  char spec[160], text[160], list[16], *path = spec + 5;
  strcpy(spec, "unix:/tmp/weir-test-XXXXXX");
  assert_non_null(mkdtemp(path));
  strcat(spec, "/s");
  int fd = open_at(spec, text);
  assert_true(fd >= 0);
  listen_tidy();
  assert_int_equal(access(path, F_OK), -1);
  close(fd);

  fd = open_at(spec, text);
  listen_leave();
  snprintf(list, sizeof list, "%d", fd);
  setenv("WEIR_LISTEN_FDS", list, 1);
  assert_int_equal(open_at(spec, text), fd);       /* inherited: not made here */
  unsetenv("WEIR_LISTEN_FDS");
  listen_tidy();
  assert_int_equal(access(path, F_OK), 0);
  close(fd);

  fd = open_at(spec, text);
  unlink(path);
  close(open(path, O_CREAT | O_WRONLY, 0600));     /* not that socket any more */
  listen_tidy();
  assert_int_equal(access(path, F_OK), 0);
  close(fd);
  unlink(path);
  *strrchr(path, '/') = 0;
  rmdir(path);
}

/* A listener given on by number, by a predecessor and by a service manager. */
static void test_inherited(void **state) {
  (void)state;
  char text[160], name[160], list[64];
  int first = open_at("127.0.0.1:0", text), unrelated = open_at("127.0.0.1:0", text);
  assert_true(first >= 0);
  fcntl(first, F_SETFD, 0);
  snprintf(list, sizeof list, "%d, %d", unrelated, first);
  setenv("WEIR_LISTEN_FDS", list, 1);
  assert_int_equal(open_at(name_of(first, name), text), first);
  assert_true(fcntl(first, F_GETFD) & FD_CLOEXEC);
  setenv("WEIR_LISTEN_FDS", "junk,,99999999999,-1,1000", 1);
  assert_int_equal(open_at(name, text), -1);       /* nothing usable in the list, and the address is taken */
  unsetenv("WEIR_LISTEN_FDS");

  char pid[32], count[16];
  snprintf(pid, sizeof pid, "%d", (int)getpid());
  snprintf(count, sizeof count, "%d", first - 2);  /* descriptors 3 .. first */
  setenv("LISTEN_PID", pid, 1);
  setenv("LISTEN_FDS", count, 1);
  assert_int_equal(open_at(name, text), first);
  setenv("LISTEN_PID", "1", 1);                    /* meant for somebody else */
  assert_int_equal(open_at(name, text), -1);
  unsetenv("LISTEN_PID");
  unsetenv("LISTEN_FDS");
  close(first);
  close(unrelated);
}

static void test_address_text(void **state) {
  (void)state;
  char text[80], tiny[6];
  struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(41234), .sin_addr.s_addr = htonl(0x0A000001) };
  struct sockaddr_un u = { .sun_family = AF_UNIX, .sun_path = "/run/weir.sock" }, hidden = { .sun_family = AF_UNIX, .sun_path = "\0abc" };
  struct sockaddr odd = { .sa_family = AF_UNSPEC };
  assert_true(span_eq(address_text((void *)&a, sizeof a, text, sizeof text), SPAN("10.0.0.1:41234")));
  assert_true(span_eq(address_text((void *)&a, sizeof a, tiny, sizeof tiny), SPAN("10.0.")));
  assert_true(span_eq(address_text((void *)&u, sizeof u, text, sizeof text), SPAN("unix:/run/weir.sock")));
  assert_true(span_eq(address_text((void *)&u, offsetof(struct sockaddr_un, sun_path), text, sizeof text), SPAN("unix:")));
  assert_true(span_eq(address_text((void *)&hidden, offsetof(struct sockaddr_un, sun_path) + 4, text, sizeof text), SPAN("unix:@abc")));
  assert_true(span_eq(address_text(&odd, sizeof odd, text, sizeof text), SPAN("(no address)")));
  assert_int_equal(address_text((void *)&a, sizeof a, NULL, 0).n, 0);
}

/* What nobody asked for is closed, and its path goes when the one before had made it; a connection is taken without waiting. */
static void test_left_by_a_predecessor(void **state) {
  (void)state;
  char text[160], list[64], path[64] = "unix:/tmp/weir-left-XXXXXX";
  assert_non_null(mkdtemp(path + 5));
  strcat(path, "/s");
  int kept = open_at("127.0.0.1:0", text), other = open_at("127.0.0.1:0", text), made = open_at(path, text);
  assert_true(listen_made(made) && !listen_made(kept));
  struct sockaddr_in a;
  socklen_t n = sizeof a;
  assert_int_equal(getsockname(kept, (struct sockaddr *)&a, &n), 0);
  assert_int_equal(listen_next(kept), -1);
  int near = socket(AF_INET, SOCK_STREAM, 0);
  assert_int_equal(connect(near, (struct sockaddr *)&a, n), 0);
  int far = listen_next(kept);
  assert_true(far >= 0);
  assert_int_equal(listen_next(kept), -1);
  snprintf(list, sizeof list, "%d,%d,junk,%d", kept, other, made);
  setenv("WEIR_LISTEN_FDS", list, 1);
  snprintf(list, sizeof list, "%d", made);
  setenv("WEIR_LISTEN_PATHS", list, 1);
  listen_rest_close(&kept, 1);
  assert_true(fcntl(kept, F_GETFD) >= 0);
  assert_int_equal(fcntl(other, F_GETFD), -1);
  assert_int_equal(fcntl(made, F_GETFD), -1);
  assert_int_equal(access(path + 5, F_OK), -1);
  unsetenv("WEIR_LISTEN_FDS");
  unsetenv("WEIR_LISTEN_PATHS");
  listen_leave();
  close(near);
  close(far);
  close(kept);
  *strrchr(path, '/') = 0;
  rmdir(path + 5);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_address_split), cmocka_unit_test(test_binds), cmocka_unit_test(test_refuses_what_is_no_address),
    cmocka_unit_test(test_unix), cmocka_unit_test(test_unix_path_goes), cmocka_unit_test(test_inherited), cmocka_unit_test(test_left_by_a_predecessor), cmocka_unit_test(test_address_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
