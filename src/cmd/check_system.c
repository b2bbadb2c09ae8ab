/* check_system.c: weir check --system: what of this machine weir needs, what there is, and what to do about the difference. It tries what
   can be tried: the rings are made, the roots are read, the folders are asked about. */
#include <ares.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include "cmd.h"
#include "weir/conf.h"
#include "weir/io.h"
#include "weir/tls.h"
#include "weir/vm.h"

enum { RINGS_MOST = 257, FEW_DESCRIPTORS = 4096, LEAST_MAJOR = 6, LEAST_MINOR = 1 };
static const time_t built_after = 1767225600;   /* 2026-01-01: a clock before it is wrong, and every certificate not yet valid */

struct verdicts { unsigned bad, warned; };

static void say(struct verdicts *v, char sign, const char *what, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static void say(struct verdicts *v, char sign, const char *what, const char *fmt, ...) {
  va_list args;
  v->bad += sign == 'b';
  v->warned += sign == 'w';
  printf("%-5s %-12s ", sign == 'b' ? "BAD" : sign == 'w' ? "warn" : "good", what);
  va_start(args, fmt);
  vprintf(fmt, args);
  va_end(args);
  putchar('\n');
}

/* A small file's first line; empty when it is not there. */
static struct span first_line(const char *path, char *text, size_t size) {
  FILE *f = fopen(path, "r");
  if (!f || !fgets(text, (int)size, f)) text[0] = 0;
  if (f) fclose(f);
  struct span line = span_cstr(text);
  span_cut(line, '\n', &line);
  return line;
}

/* ---- kernel */
static void check_kernel(struct verdicts *v) {
  struct utsname u;
  unsigned major = 0, minor = 0;
  char text[32];
  uname(&u);
  sscanf(u.release, "%u.%u", &major, &minor);
  bool old = major < LEAST_MAJOR || (major == LEAST_MAJOR && minor < LEAST_MINOR);
  say(v, old ? 'w' : 'g', "kernel", "%s %s on %s%s", u.sysname, u.release, u.machine, old ? "; weir is made for Linux 6.1, and runs on epoll before" : "");
  struct span disabled = first_line("/proc/sys/kernel/io_uring_disabled", text, sizeof text);
  if (!disabled.n) say(v, 'g', "sysctl", "no kernel.io_uring_disabled here: io_uring is for everybody");
  else say(v, span_eq(disabled, SPAN("2")) ? 'w' : 'g', "sysctl", "kernel.io_uring_disabled=%.*s%s", SPAN_FMT(disabled),
           span_eq(disabled, SPAN("0")) ? "" : span_eq(disabled, SPAN("1")) ? ": for root and the group in kernel.io_uring_group" : ": set 0, or 1 with weir's group");
  struct span backlog = first_line("/proc/sys/net/core/somaxconn", text, sizeof text);
  uint64_t n;
  if (span_u64(backlog, &n)) say(v, n < 1024 ? 'w' : 'g', "sysctl", "net.core.somaxconn=%.*s%s", SPAN_FMT(backlog), n < 1024 ? ": bursts of new clients are refused above it" : "");
}

/* As many rings at once as `weir run` makes, of the same size: whatever the limit is called, this finds it. */
static void check_rings(struct verdicts *v, unsigned workers) {
  struct loop *rings[RINGS_MOST];
  struct ring_options small = { .entries = 256, .buffers = 16, .buffer_size = 16384 }, usual = { 0 };
  unsigned made = 0, wanted = workers + 1 < RINGS_MOST ? workers + 1 : RINGS_MOST;
  const char *why = "";
  struct rlimit lock;
  getrlimit(RLIMIT_MEMLOCK, &lock);
  while (made < wanted && (rings[made] = ring_new(made ? &usual : &small, &why))) made++;
  if (made < wanted && !made) say(v, 'w', "io_uring", "%s; until then weir runs on epoll, which costs more", why);
  else if (made < wanted) say(v, 'w', "io_uring", "%u of %u rings for %u workers, the others run on epoll: %s", made, wanted, workers, why);
  else say(v, 'g', "io_uring", "%s; %u rings for %u worker%s", loop_description(rings[made - 1]), made, workers, workers == 1 ? "" : "s");
  while (made) loop_free(rings[--made]);
  if (lock.rlim_cur == RLIM_INFINITY) say(v, 'g', "memlock", "RLIMIT_MEMLOCK is unlimited");
  else if (!geteuid()) say(v, 'g', "memlock", "RLIMIT_MEMLOCK is %llu KiB, and not asked of root", (unsigned long long)lock.rlim_cur / 1024);
  else say(v, lock.rlim_cur < 64 << 20 ? 'w' : 'g', "memlock", "RLIMIT_MEMLOCK is %llu KiB for all of this user's rings%s", (unsigned long long)lock.rlim_cur / 1024,
           lock.rlim_cur < 64 << 20 ? "; LimitMEMLOCK=64M is on the safe side" : "");
}

/* ---- limits */
static void check_descriptors(struct verdicts *v) {
  struct rlimit r;
  getrlimit(RLIMIT_NOFILE, &r);
  unsigned long long most = (unsigned long long)r.rlim_max, at_once = most > 256 ? (most - 128) / 2 : 64;
  say(v, most < 1024 ? 'b' : most < FEW_DESCRIPTORS ? 'w' : 'g', "descriptors", "RLIMIT_NOFILE is %llu at most: %llu requests at once%s", most, at_once,
      most < FEW_DESCRIPTORS ? "; raise LimitNOFILE=" : "");
}

static void check_memory(struct verdicts *v, const struct conf *c) {
  char text[64];
  uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE), limit = 0, bound = c && c->memory ? c->memory : ram / 4;
  struct span group = first_line("/sys/fs/cgroup/memory.max", text, sizeof text);
  if (!span_u64(group, &limit)) limit = 0;
  bool over = limit && bound > limit / 2;
  say(v, over ? 'w' : 'g', "memory", "%llu MB%s; bodies may take %llu MB%s", (unsigned long long)(ram >> 20),
      limit && limit < ram ? ", of which a control group gives less" : "", (unsigned long long)(bound >> 20),
      over ? ", more than half of what the control group gives: write memory(…)" : "");
}

static void check_processor(struct verdicts *v, unsigned workers) {
  cpu_set_t set;
  int cores = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
#ifdef __x86_64__
  __builtin_cpu_init();
  bool aes = __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
  say(v, aes ? 'g' : 'w', "processor", "%d core%s, %u worker%s; %s; %s", cores, cores == 1 ? "" : "s", workers, workers == 1 ? "" : "s",
      aes ? "AES-NI and PCLMULQDQ for TLS records" : "no AES-NI: TLS records cost ten times as much",
      __builtin_cpu_supports("avx512vbmi2") ? "AVX-512 for JSON" : __builtin_cpu_supports("avx2") ? "AVX2 for JSON" : "no AVX2: JSON by SSE2");
#else
  say(v, 'g', "processor", "%d core%s, %u worker%s; TLS records and JSON without special instructions", cores, cores == 1 ? "" : "s", workers, workers == 1 ? "" : "s");
#endif
}

/* ---- names, roots, clock */
static void check_names(struct verdicts *v) {
  struct ring_options small = { .entries = 256, .buffers = 8, .buffer_size = 4096 };
  const char *why = "";
  struct loop *l = loop_new(LOOP_ANY, &small, &why);
  struct resolver *r = l ? resolver_new(l, &why) : NULL;
  if (r) say(v, 'g', "names", "c-ares %s", ares_version(NULL));
  else say(v, 'b', "names", "c-ares %s: %s", ares_version(NULL), why);
  if (r) resolver_free(r);
  while (l && l->in_flight) loop_turn(l);
  if (l) loop_free(l);
}

static bool asks_roots(const struct conf *c) {
  for (size_t p = 0; c && p < c->provider_count; p++)
    for (size_t e = 0; e < c->providers[p].endpoint_count; e++)
      if (c->providers[p].endpoints[e].url.tls && !c->providers[p].endpoints[e].ca.n) return true;
  return !c;
}

static void check_roots(struct verdicts *v, const struct conf *c) {
  char why[256];
  struct tls_trust *t = tls_trust_load(NULL, why, sizeof why);
  if (t) say(v, 'g', "roots", "%zu trusted authorities%s", tls_trust_count(t), tls_trust_skipped(t) ? "; a few of a kind that is not used" : "");
  else say(v, asks_roots(c) ? 'b' : 'w', "roots", "%s: the package ca-certificates", why);
  if (t) tls_trust_drop(t);
}

static void check_clock(struct verdicts *v) {
  struct timex t = { 0 };
  time_t now = time(NULL);
  struct tm utc;
  char text[32];
  int state = adjtimex(&t);
  strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
  if (now < built_after) say(v, 'b', "clock", "%s is before weir was made: certificates and keys are judged by it", text);
  else if (state == TIME_ERROR || t.status & STA_UNSYNC) say(v, 'w', "clock", "%s; the kernel does not know it as synchronised", text);
  else say(v, 'g', "clock", "%s, synchronised", text);
}

/* ---- folders: made by weir when they are not there */
static void check_folder(struct verdicts *v, char sign, const char *what, struct span folder) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%.*s", SPAN_FMT(folder));
  if (!access(path, W_OK | X_OK)) { say(v, 'g', what, "%.*s can be written", SPAN_FMT(folder)); return; }
  int why = errno;
  while (why == ENOENT && strrchr(path, '/') && strlen(path) > 1) {
    *strrchr(path, '/') = 0;
    if (!*path) strcpy(path, "/");
    if (!access(path, W_OK | X_OK)) { say(v, 'g', what, "%.*s is not there and can be made", SPAN_FMT(folder)); return; }
    if (errno != ENOENT) why = errno;
  }
  say(v, sign, what, "%.*s: %s: %s", SPAN_FMT(folder), path, strerror(why));
}

static unsigned cores(void) {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) ? 1 : (unsigned)CPU_COUNT(&set);
}

int check_system(const char *file) {
  struct verdicts v = { 0 };
  struct buf errors = { 0 }, warnings = { 0 };
  struct arena a = { 0 };
  vm_thread_enter();
  struct conf *c = conf_load(file, &errors, &warnings);
  unsigned workers = c && c->workers ? c->workers : cores();
  check_kernel(&v);
  check_rings(&v, workers);
  check_descriptors(&v);
  check_memory(&v, c);
  check_processor(&v, workers);
  check_names(&v);
  check_roots(&v, c);
  check_clock(&v);
  check_folder(&v, 'b', "runtime", c ? c->runtime_dir : conf_default_runtime(&a));
  if (c) check_folder(&v, 'w', "state", c->state_dir);
  else say(&v, 'w', "weir.lua", "does not load here, so the rest was looked at as if there were none; `weir check` says why");
  printf("%s\n", v.bad ? "weir cannot run here as it is" : v.warned ? "weir runs here" : "all good");
  if (c) conf_drop(c);
  arena_end(&a);
  buf_free(&errors);
  buf_free(&warnings);
  return v.bad ? 1 : 0;
}
