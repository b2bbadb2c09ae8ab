/* house.c: the process from start to end: listeners, threads, signals, drain. */
#include "story.h"
#include "worker.h"
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include "weir/ledger.h"
#include "weir/vm.h"

enum { WATCH_MS = 300, PRICES_MS = 3600 * 1000, GONE_MS = 2000, LISTEN_TRIES = 30 };

struct house {
  struct gateway *gateway;
  struct op signals;
  int signal_fd;
  struct timer watch, drain, prices;
  const struct conf *watched;
  uint64_t fingerprint;
  bool changed;
  pthread_mutex_t lock;               /* workers report that they stand */
  pthread_cond_t stands;
  unsigned standing;
  const char *failed;
  pthread_t trust_thread;
  bool trust_loads;                   /* it was started, and is joined at the end */
};
static struct house house;

/* ---- workers */
static void nothing(struct message *m) { (void)m; }

static void stop_worker(struct message *m) {
  struct worker *w = container(m, struct worker, stop);
  __atomic_store_n(&w->stop_posted, false, __ATOMIC_SEQ_CST);
  worker_drain(w);
  if (__atomic_load_n(&w->stop_wanted, __ATOMIC_SEQ_CST) == STOP_NOW) w->stopping = true;
}

static void report(const char *failed) {
  pthread_mutex_lock(&house.lock);
  if (failed) house.failed = failed;
  house.standing++;
  pthread_cond_broadcast(&house.stands);
  pthread_mutex_unlock(&house.lock);
}

/* Connections are handed to all workers from the first one on. */
static void wait_for_all(const struct gateway *g) {
  pthread_mutex_lock(&house.lock);
  while (house.standing < g->worker_count) pthread_cond_wait(&house.stands, &house.lock);
  pthread_mutex_unlock(&house.lock);
}

/* The last turn is for the closes that were asked for last: nothing else would submit them before the process ends. */
static void worker_end(struct worker *w) {
  uint64_t due = w->loop->now_ms + GONE_MS;
  struct message last = { .run = nothing };
  worker_cut(w);
  loop_post(w->loop, &last);                             /* so that the turn that sends it does not wait */
  loop_turn(w->loop);
  worker_close_all(w);
  while (!worker_quiet(w) && w->loop->now_ms < due) loop_turn(w->loop);
  loop_post(w->loop, &last);
  loop_turn(w->loop);
}

static void *worker_main(void *arg) {
  struct worker *w = arg;
  const char *why = NULL;
  struct ring_options options = { 0 };
  struct loop *l = loop_new(w->gateway->loop_kind, &options, &why);
  if (!l) {
    report(why);
    return NULL;
  }
  if (!worker_init(w, w->gateway, w->number, l)) {
    report("no randomness from the kernel");
    return NULL;
  }
  worker_active(w);
  report(NULL);
  if (!w->number) {
    wait_for_all(w->gateway);
    worker_accept(w, w->gateway->listeners, w->gateway->listener_count);
  }
  while (!w->stopping && !(w->draining && worker_idle(w))) loop_turn(l);
  worker_end(w);
  __atomic_sub_fetch(&w->gateway->workers_left, 1, __ATOMIC_RELEASE);
  loop_post(w->gateway->house, &w->ended);
  return NULL;
}

static bool start_workers(struct gateway *g, const char **why) {
  pthread_mutex_init(&house.lock, NULL);
  pthread_cond_init(&house.stands, NULL);
  g->workers_left = g->worker_count;
  for (unsigned i = 0; i < g->worker_count; i++) {
    struct worker *w = &g->workers[i];
    w->gateway = g;
    w->number = i;
    w->stop.run = stop_worker;
    w->ended.run = nothing;
    w->metrics = metrics_new();
    require(pthread_create(&w->thread, NULL, worker_main, w) == 0);
  }
  wait_for_all(g);
  *why = house.failed;
  return !*why;
}

/* ---- signals, drain, watch */
static void stop_all(struct gateway *g, int how) {
  for (unsigned i = 0; i < g->worker_count; i++) {
    struct worker *w = &g->workers[i];
    __atomic_store_n(&w->stop_wanted, how, __ATOMIC_SEQ_CST);
    if (!__atomic_exchange_n(&w->stop_posted, true, __ATOMIC_SEQ_CST)) loop_post(w->loop, &w->stop);
  }
}

static void drain_over(struct timer *t) {
  (void)t;
  log_warn("the drain time is over: what still runs is cut");
  stop_all(house.gateway, STOP_NOW);
}

static void drain(struct gateway *g) {
  if (g->draining) {
    log_info("ending at once");
    timer_stop(&g->house->wheel, &house.drain);
    stop_all(g, STOP_NOW);
    return;
  }
  upgrade_stop(g);
  __atomic_store_n(&g->draining, true, __ATOMIC_SEQ_CST);
  double seconds = conf_setting(g->newest->conf, NULL, NULL, SET_DRAIN);
  log_info("draining for at most %g s; a second signal ends at once", seconds);
  notify_stopping(seconds);
  if (g->ledger) ledger_hurry(g->ledger);                /* a successor's records are its work too, until it ends */
  house.drain.done = drain_over;
  timer_set(&g->house->wheel, &house.drain, g->house->now_ms + (uint64_t)(seconds * 1000));
  stop_all(g, STOP_DRAIN);
}

/* The successor speaks for weir from here on: to the service manager, at the admin listener, at control.sock. */
void house_hand_over(struct gateway *g, bool same_folder) {
  notify_leave();
  listen_leave();
  control_leave(g->control, same_folder);
  admin_leave(g->admin);
  __atomic_store_n(&g->handed_over, true, __ATOMIC_RELAXED);
  if (!g->draining) drain(g);
}

static void on_signal(struct op *op, int result, struct span data, bool more) {
  struct gateway *g = house.gateway;
  struct signalfd_siginfo info;
  (void)data;
  if (result < 0) return;
  while (read(house.signal_fd, &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGHUP || info.ssi_signo == SIGUSR1) log_sink_reopen(g->access_log);   /* it may have been rotated */
    if (info.ssi_signo == SIGHUP) reload_start(g, NULL, NULL);
    else if (info.ssi_signo == SIGUSR2) upgrade_start(g, NULL, NULL);
    else if (info.ssi_signo != SIGUSR1) drain(g);
  }
  if (!more) g->house->calls->poll(g->house, op, house.signal_fd, POLLIN);
}

/* The load has warned already; a file grows old while weir runs, too. */
static void prices_age(struct timer *t) {
  struct gateway *g = house.gateway;
  struct buf old = { 0 };
  if (conf_prices_old(g->newest->conf, time(NULL), &old)) log_warn("%.*s", SPAN_FMT(buf_span(&old)));
  buf_free(&old);
  timer_set(&g->house->wheel, t, g->house->now_ms + PRICES_MS);
}

/* Files are looked at every 300 ms; a change is acted on once they have rested that long. */
static void watch(struct timer *t) {
  struct gateway *g = house.gateway;
  const struct conf *c = g->newest->conf;
  if (house.watched != c) {                              /* a newer load: it knows what it read */
    house.watched = c;
    house.fingerprint = 0;
    house.changed = false;
  }
  if (conf_files_changed(c, &house.fingerprint)) {
    house.changed = true;
  } else if (house.changed) {
    house.changed = false;
    reload_start(g, NULL, NULL);
  }
  generation_bury(g);
  timer_set(&g->house->wheel, t, g->house->now_ms + WATCH_MS);
}

/* ---- start */
static unsigned cores(void) {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) ? 1 : (unsigned)CPU_COUNT(&set);
}

static void say_lines(enum log_level level, struct span text) {
  while (text.n) {
    struct span line;
    text = span_cut(text, '\n', &line);
    if (line.n) log_line(level, "%.*s", SPAN_FMT(line));
  }
}

/* A stream needs two descriptors; some are kept for files, the rings and the admin listener. */
static void raise_descriptors(struct gateway *g) {
  struct rlimit r;
  if (getrlimit(RLIMIT_NOFILE, &r)) return;
  r.rlim_cur = r.rlim_max;
  setrlimit(RLIMIT_NOFILE, &r);
  g->most_clients = r.rlim_cur > 256 ? (unsigned)((r.rlim_cur - 128) / 2 > 10000000 ? 10000000 : (r.rlim_cur - 128) / 2) : 64;
  g->most_waiting = g->most_clients / 2;
  if (r.rlim_cur < 1024) log_warn("only %lu descriptors are allowed: each stream needs two", (unsigned long)r.rlim_cur);
}

/* The ring of a process that was killed a moment ago is taken down behind its back, and holds the address until then. */
static int listen_patiently(struct span spec, char *text, size_t size) {
  int fd = -1;
  for (int tries = 0; fd < 0 && tries < LISTEN_TRIES; tries++) {
    if (tries) nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
    errno = 0;
    fd = listen_open(spec, text, size);
    if (errno != EADDRINUSE) break;
  }
  return fd;
}

static bool open_listeners(struct gateway *g) {
  const struct conf *c = g->newest->conf;
  char text[256];
  g->listeners = mem_zero((c->listener_count + 1) * sizeof *g->listeners);
  g->bound = mem_zero(c->listener_count * sizeof *g->bound);
  for (size_t i = 0; i < c->listener_count; i++) {
    int fd = listen_patiently(c->listeners[i].spec, text, sizeof text);
    if (fd < 0) {
      log_error("cannot listen on %.*s: %s", SPAN_FMT(c->listeners[i].spec), text);
      return false;
    }
    g->bound[g->listener_count] = c->listeners[i];
    g->bound[g->listener_count].spec = span_cstr(mem_cstr(c->listeners[i].spec));   /* outlives this configuration */
    g->listeners[g->listener_count++] = fd;
  }
  g->admin_fd = listen_patiently(c->admin.spec, text, sizeof text);
  if (g->admin_fd < 0) {
    log_error("cannot listen on %.*s (admin): %s", SPAN_FMT(c->admin.spec), text);
    return false;
  }
  g->listeners[g->listener_count] = g->admin_fd;         /* there is room for one more, which nobody counts */
  listen_rest_close(g->listeners, g->listener_count + 1);
  return true;
}

static void *load_system_trust(void *arg) {
  struct gateway *g = arg;
  char text[256];
  struct tls_trust *t = tls_trust_load(NULL, text, sizeof text);
  if (!t) log_warn("weir.fetch cannot use https: %s", text);
  __atomic_store_n(&g->system_trust, t, __ATOMIC_RELEASE);
  return NULL;
}

static bool load_first(struct gateway *g) {
  struct buf errors = { 0 }, warnings = { 0 };
  struct conf *c = conf_load(g->config_file, &errors, &warnings);
  struct generation *gen = NULL;
  if (c) {
    g->worker_count = c->workers ? c->workers : cores();
    gen = generation_of(c, g->worker_count, 1, &errors, &warnings);
  }
  if (gen && upgrade_waiting() && g->tests && !g->tests(gen->conf, &errors)) {     /* as at a reload: what serves now is good */
    generation_free(gen);
    gen = NULL;
  }
  say_lines(LOG_WARN, buf_span(&warnings));
  say_lines(LOG_ERROR, buf_span(&errors));
  buf_free(&errors);
  buf_free(&warnings);
  if (!gen) return false;
  g->generations = 1;
  g->newest = gen;
  g->started = conf_ref(gen->conf);
  log_set_level(gen->conf->log_level);
  return true;
}

static bool open_access_log(struct gateway *g) {
  struct span target = g->newest->conf->access_log;
  const char *why = NULL;
  if (span_eq(target, SPAN("off"))) return true;
  g->access_log = log_sink_open(target, &why);
  if (!g->access_log) log_error("access log %.*s: %s", SPAN_FMT(target), why);
  return g->access_log != NULL;
}

static void block_signals(sigset_t *set) {
  sigemptyset(set);
  sigaddset(set, SIGTERM);
  sigaddset(set, SIGINT);
  sigaddset(set, SIGHUP);
  sigaddset(set, SIGUSR1);
  sigaddset(set, SIGUSR2);
  pthread_sigmask(SIG_BLOCK, set, NULL);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);                              /* a file that may not grow is an error, not an end */
}

static void first_line(struct gateway *g) {
  const struct conf *c = g->newest->conf;
  const struct loop *l = g->workers[0].loop;
  for (size_t i = 0; i < c->listener_count; i++)
    log_info("weir %s listens on %.*s (%s, %u worker%s, %zu provider%s, %s%.*s)", WEIR_VERSION, SPAN_FMT(c->listeners[i].spec), loop_description(l),
             g->worker_count, g->worker_count == 1 ? "" : "s", c->provider_count, c->provider_count == 1 ? "" : "s",
             c->file.n ? "" : "no weir.lua: providers from the environment", SPAN_FMT(c->file));
  for (unsigned i = 1; i < g->worker_count; i++)         /* memory may be locked for some rings, and not for all */
    if (loop_substitute(g->workers[i].loop) && !loop_substitute(l)) log_warn("worker %u: %s", i, loop_description(g->workers[i].loop));
}

static int house_turns(struct gateway *g, const struct run_options *o, sigset_t *set) {
  struct loop *l = g->house;
  house.signal_fd = signalfd(-1, set, SFD_NONBLOCK | SFD_CLOEXEC);
  house.signals.done = on_signal;
  l->calls->poll(l, &house.signals, house.signal_fd, POLLIN);
  if (o->watch) {
    house.watch.done = watch;
    timer_set(&l->wheel, &house.watch, l->now_ms + WATCH_MS);
  }
  house.prices.done = prices_age;
  timer_set(&l->wheel, &house.prices, l->now_ms + PRICES_MS);
  if (g->newest->conf->use_count) {
    house.trust_loads = !pthread_create(&house.trust_thread, NULL, load_system_trust, g);
  }
  first_line(g);
  notify_ready(g);
  upgrade_ready(control_inherited(g->control));
  while (__atomic_load_n(&g->workers_left, __ATOMIC_ACQUIRE)) {
    loop_turn(l);
    if (__atomic_load_n(&g->retired, __ATOMIC_RELAXED)) generation_bury(g);
  }
  log_info("weir has ended");
  return 0;
}

/* The workers' loops go last of what may still post to them: a reload, handshakes, names. */
static void house_end(struct gateway *g) {
  for (unsigned i = 0; i < g->worker_count; i++) pthread_join(g->workers[i].thread, NULL);
  if (house.trust_loads) pthread_join(house.trust_thread, NULL);         /* a weir that ends at once: it may still read */
  reload_free(g);
  upgrade_stop(g);
  while (g->upgrade) loop_turn(g->house);
  if (g->control) control_close(g->control);
  if (g->admin) admin_close(g->admin);
  g->house->calls->cancel(g->house, &house.signals);
  notify_end(g);
  timer_stop(&g->house->wheel, &house.watch);
  timer_stop(&g->house->wheel, &house.drain);
  timer_stop(&g->house->wheel, &house.prices);
  loop_turn(g->house);
  tls_pool_free(g->shakes);
  resolver_free(g->resolver);
  while (g->house->in_flight) loop_turn(g->house);
  for (unsigned i = 0; i < g->worker_count; i++) g->workers[i].ended_all = true;
  for (unsigned i = 0; i < 2 * g->worker_count; i++) loop_posted(g->workers[i % g->worker_count].loop);   /* loans asked for too late, and their answers */
  for (unsigned i = 0; i < g->worker_count; i++) {
    worker_free(&g->workers[i]);
    loop_free(g->workers[i].loop);
  }
  conf_drop(g->started);
  generation_drop(g, g->newest);
  generation_bury(g);
  if (g->system_trust) tls_trust_drop(g->system_trust);
  log_sink_close(g->access_log);
  counters_close(g);
}

static int run(struct gateway *g, const struct run_options *o) {
  const char *why = NULL;
  sigset_t set;
  g->config_file = o->config;
  g->tests = o->tests;
  g->loop_kind = o->loop;
  house.gateway = g;
  block_signals(&set);
  raise_descriptors(g);
  g->memory_default = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 4;
  vm_thread_enter();
  upgrade_begin();
  if (!load_first(g) || !open_access_log(g)) return 1;
  if (!open_listeners(g)) return 2;
  struct ring_options options = { .entries = 256, .buffers = 16, .buffer_size = 16384 };
  g->house = loop_new(g->loop_kind, &options, &why);
  if (!g->house) {
    log_error("%s", why);
    return 2;
  }
  g->metrics = metrics_new();
  g->runtime_dir = mem_cstr(g->newest->conf->runtime_dir);
  g->control = control_open(g, g->runtime_dir, &why);
  if (!g->control) {
    log_error("runtime folder %s: %s", g->runtime_dir, why);
    return 2;
  }
  if (!counters_open(g, &why)) {
    log_error("%s/cells: %s", g->runtime_dir, why);
    return 2;
  }
  g->resolver = resolver_new(g->house, &why);
  if (!g->resolver) {
    log_error("names: %s", why);
    return 2;
  }
  g->shakes = tls_pool_new(g->worker_count > 1 ? 2 : 1);
  for (int k = 0; k < MEM_KINDS; k++) g->memory_base += mem_held((enum mem_kind)k);
  g->workers = mem_zero(g->worker_count * sizeof *g->workers);
  for (unsigned i = 0; i < g->worker_count; i++) policy_set_cells(g->newest->vms[i], g->cells);
  story_generation(g, g->newest->conf);
  if (!start_workers(g, &why)) {
    log_error("%s", why);
    return 2;
  }
  g->admin = admin_open(g, g->admin_fd);
  int code = house_turns(g, o, &set);
  house_end(g);
  return code;
}

int gateway_run(const struct run_options *o) {
  int code = run(mem_zero(sizeof(struct gateway)), o);
  if (upgrade_waiting()) listen_leave();                 /* they are still served by the process that started this one */
  listen_tidy();
  return code;
}
