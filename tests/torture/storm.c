/* storm.c: one storm for each seed, for some seconds or one seed again:

     storm [--seconds N] [--seed N] [--verbose]

   A failing seed is printed, and replays: nothing but the seed decides what happens. The last line is
   "N passed, N failed". */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "storm.h"
#include "../../src/gateway/exchange.h"
#include "../../src/gateway/pool.h"
#include "../../src/gateway/worker.h"
#include "weir/vm.h"

enum { TURNS_MOST = 3000000 };
void *__wrap_mem_try(size_t n);
void *__real_mem_try(size_t n);
void __wrap_check_failed(bool *told, const char *cond, const char *file, int line);

static struct storm *now;             /* the storm whose allocations may fail */
static bool verbose;

static const char config[] =
    "listen \"127.0.0.1:1\"\nadmin \"127.0.0.1:2\"\nlog { access = \"off\", level = \"error\" }\n"
    "provider \"a\" { dialect = \"chat\", url = \"http://127.0.0.1:20000/v1\" }\n"
    "provider \"b\" { dialect = \"chat\", url = \"http://127.0.0.1:20001/v1\" }\n"
    "provider \"m\" { dialect = \"messages\", url = \"http://127.0.0.1:20002\" }\n"
    "model \"chain\" { \"a/x\", \"b/y\" }\n"
    "defaults { total = 60, between_events = 5, first_event = 9, head = 9, hold_head = 3, idle_pool = 5, warm = 0 }\n";

/* What the program itself takes never fails, what a peer can make large may. */
void *__wrap_mem_try(size_t n) {
  if (!now || !now->starving) return __real_mem_try(n);
  now->hunger = now->hunger * 6364136223846793005u + 1442695040888963407u;
  return (now->hunger >> 33) % (n >= 8192 ? 4 : 2000) ? __real_mem_try(n) : NULL;
}

void __wrap_check_failed(bool *told, const char *cond, const char *file, int line) {
  (void)told;
  if (now) storm_fail(now, "check failed: %s (%s:%d)", cond, file, line);
}

uint64_t chance(struct storm *s, uint64_t below) {       /* splitmix64 */
  uint64_t z = s->random += 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return below ? (z ^ z >> 31) % below : 0;
}

void storm_fail(struct storm *s, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  printf("FAILED seed %llu at %.3f s: ", (unsigned long long)s->seed, (double)s->loop->now_ms / 1000);
  vprintf(fmt, args);
  printf("\nagain: SEED=%llu make torture\n0 passed, 1 failed\n", (unsigned long long)s->seed);
  va_end(args);
  fflush(stdout);
  now = NULL;
  abort();
}

/* A program that ends by itself, or by a sanitizer, says which seed it was. */
void __sanitizer_set_death_callback(void (*f)(void)) __attribute__((weak));
static void tell(void) {
  if (now) fprintf(stderr, "FAILED in seed %llu\nagain: SEED=%llu make torture\n", (unsigned long long)now->seed, (unsigned long long)now->seed);
  now = NULL;
}

static void dying(int number) {
  tell();
  signal(number, SIG_DFL);
  raise(number);
}

static void woken(struct timer *t) { (void)t; }

void storm_wake(struct storm *s, uint64_t due_ms) {
  if (due_ms < s->due_ms) s->due_ms = due_ms;
}

/* ---- every exchange ends once, and its policies hear of it once */
static void exchange_ended(void *arg, const struct exchange *x) {
  struct storm *s = arg;
  for (unsigned i = 0; i < s->asked_count; i++) {
    if (strcmp(s->asked[i].id, x->id)) continue;
    if (s->asked[i].ended++) storm_fail(s, "%s ended twice", x->id);
    if (s->starving || !x->req.path.p || !policy_has(x->gen->vms[0], HOOK_DONE)) return;
    const struct policy_note *n = x->req.notes;
    while (n && strcmp(n->key.p, "ended")) n = n->next;
    if (!n || !span_eq(n->value, SPAN("1"))) storm_fail(s, "%s: on_done ran %.*s times", x->id, n ? (int)n->value.n : 1, n ? n->value.p : "0");
    return;
  }
}

/* ---- a turn */
static bool turn(struct storm *s) {
  s->due_ms = UINT64_MAX;
  providers_look(s);
  bool any = visitors_look(s);
  if (s->due_ms != UINT64_MAX) timer_set(&s->loop->wheel, &s->timer, s->due_ms > s->loop->now_ms ? s->due_ms : s->loop->now_ms);
  else timer_stop(&s->loop->wheel, &s->timer);
  scene_turn(s->scene);
  return any;
}

static void reload(struct storm *s) {
  struct buf errors = { 0 };
  bool starving = s->starving;
  s->starving = false;
  if (!scene_reload(s->scene, &errors)) storm_fail(s, "a reload was refused: %.*s", SPAN_FMT(buf_span(&errors)));
  s->starving = starving;
  buf_free(&errors);
}

/* ---- afterwards nothing may be left */
static void rest(struct storm *s) {
  struct worker *w = scene_worker(s->scene);
  s->starving = false;
  visitors_close(s);
  for (unsigned i = 0; i < 1000 && sim_ready(s->loop); i++) scene_turn(s->scene);
  if (w->clients) storm_fail(s, "a client that left is still there");
  if (w->open_exchanges) storm_fail(s, "%u exchanges are open though all clients have left", w->open_exchanges);
  uint64_t until = s->loop->now_ms + 120000;
  for (unsigned i = 0; i < TURNS_MOST && s->loop->now_ms < until && wheel_next(&s->loop->wheel) != UINT64_MAX; i++) turn(s);
  for (unsigned i = 0; i < 1000 && sim_ready(s->loop); i++) turn(s);
  for (unsigned i = 0; i < s->asked_count; i++)
    if (s->asked[i].answered && s->asked[i].ended != 1) storm_fail(s, "%s was answered and ended %u times", s->asked[i].id, s->asked[i].ended);
  for (size_t at = 0;;) {
    struct table_entry *e = table_next(&w->pools, &at);
    if (!e) break;
    const struct pool *p = e->value;
    if (p->all) storm_fail(s, "a connection to %s is kept two minutes", p->name);
  }
  if (w->gateway->held) storm_fail(s, "%llu bytes of request bodies are still counted", (unsigned long long)w->gateway->held);
  if (w->dirty || w->dirty_up) storm_fail(s, "something is still to be flushed");
  if (s->loop->in_flight != (s->draining ? 0 : 1)) storm_fail(s, "%u operations are in flight", s->loop->in_flight);
  unsigned listeners = PROVIDERS + (s->draining ? 0 : 1);
  if (sim_open(s->loop) != listeners) storm_fail(s, "%u descriptors are open, %u listen", sim_open(s->loop), listeners);
  if (w->gen->refs != 2) storm_fail(s, "the newest generation has %d references", w->gen->refs);
}

static void storm_run(uint64_t seed) {
  struct storm *s = mem_zero(sizeof *s);
  struct buf text = { 0 }, errors = { 0 };
  s->seed = s->random = s->hunger = seed;
  buf_add(&text, span_cstr(config));
  if (!one_in(s, 3)) buf_add(&text, SPAN("use \"all\"\n"));
  s->scene = scene_new(buf_span(&text), "tests/torture/policies", 1 + chance(s, UINT32_MAX), &errors);
  if (!s->scene) {
    fprintf(stderr, "%.*s", SPAN_FMT(buf_span(&errors)));
    exit(2);
  }
  s->loop = scene_loop(s->scene);
  s->timer.done = woken;
  scene_worker(s->scene)->on_end = exchange_ended;
  scene_worker(s->scene)->on_end_arg = s;
  providers_open(s);
  s->starving = one_in(s, 4);
  now = s;
  unsigned visitors = 1 + (unsigned)chance(s, 20);
  bool drains = one_in(s, 8), any = true;
  for (unsigned i = 0; any || visitors; i++) {
    if (i > TURNS_MOST) storm_fail(s, "no end is in sight");
    if (visitors && (!any || one_in(s, 30))) visitor_come(s), visitors--;
    if (one_in(s, 400) && i < 4000) reload(s);
    if (drains && one_in(s, 300)) worker_drain(scene_worker(s->scene)), drains = false, s->draining = true;
    any = turn(s);
  }
  rest(s);
  timer_stop(&s->loop->wheel, &s->timer);
  now = NULL;
  providers_close(s);
  if (verbose) printf("seed %llu: %u requests, %u whole answers, %u streams, %u errors, %u cut, %u left%s%s\n", (unsigned long long)seed, s->seen.requests, s->seen.answers,
                      s->seen.streams, s->seen.errors, s->seen.cut, s->seen.left, s->starving ? ", starving" : "", s->draining ? ", draining" : "");
  scene_free(s->scene);
  for (unsigned i = 0; i < s->asked_count; i++)
    for (struct story *t = s->asked[i].stories; t; t = t->next) buf_free(&t->body);
  arena_end(&s->arena);
  buf_free(&text);
  mem_free(s);
}

int main(int argc, char **argv) {
  double seconds = 20;
  uint64_t seed = 0, runs = 0;
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "--verbose")) verbose = true;
    else if (i + 1 < argc && !strcmp(argv[i], "--seconds")) seconds = atof(argv[++i]);
    else if (i + 1 < argc && !strcmp(argv[i], "--seed")) seed = strtoull(argv[++i], NULL, 10);
    else { fprintf(stderr, "storm [--seconds N] [--seed N] [--verbose]\n"); return 2; }
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(tell);
  else signal(SIGSEGV, dying);
  signal(SIGABRT, dying);
  vm_thread_enter();
  log_set_level(getenv("STORM_LOG") ? LOG_INFO : LOG_OFF);
  if (seed) {
    storm_run(seed);
    printf("1 passed, 0 failed\n");
    return 0;
  }
  time_t begun = time(NULL);
  uint64_t first = ((uint64_t)begun * 2654435761u ^ (uint64_t)getpid() << 20) % 1000000000u;
  printf("seeds from %llu\n", (unsigned long long)first + 1);
  for (; difftime(time(NULL), begun) < seconds; runs++) storm_run(first + runs + 1);
  printf("%llu passed, 0 failed\n", (unsigned long long)runs);
  return 0;
}
