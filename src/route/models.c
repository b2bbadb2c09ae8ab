/* models.c: a table of models under one lock, held for some arithmetic at most.
   The estimate is linear: for each kind of content the rule of thumb times a factor of the model's own. Each report moves the factors
   towards what would have been right, in proportion to what each contributed (normalised least mean squares), within bounds: one odd
   report moves little, and a provider that reports nonsense cannot move them far. */
#include <math.h>
#include <pthread.h>

#include "weir/log.h"
#include "weir/models.h"
#include "weir/table.h"

#define STEP 0.3                      /* of the way to what would have been right */
#define LOW 0.25                      /* factors stay between */
#define HIGH 4.0
#define MARGIN_FIRST 0.15             /* of a model of which nothing is known */
#define MARGIN_LEAST 0.03
#define MARGIN_MOST 0.30
enum { ALWAYS = 64, SOMETIMES = 64, ERROR_OVER = 20, OWN_MOST = 20000, OWN_OVER = 64 };

struct known {
  struct span name;
  double factor[PART_COUNT];
  double error;                       /* mean of |estimate - report| / report of the newest ones */
  unsigned samples, asked;
  int64_t own;                        /* tokens beyond the body's bound */
  unsigned own_age;
  bool gone;                          /* its provider did not know it, the last time */
  bool told[2];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct table names;
static unsigned gone;                 /* atomic: how many are; most of the time none, and nobody needs the lock */
static unsigned owns;                 /* atomic: how many have tokens of their own */
static __thread bool apart;

void models_apart(bool is) { apart = is; }

/* NULL: not known, or no room. The lock is held. */
static struct known *known_of(struct span name, bool make) {
  struct known *k = table_get(&names, name);
  if (k || !make || !name.n || names.live >= MODELS_MOST) return k;
  k = mem_zero(sizeof *k);
  k->name = span_of(mem_cstr(name), name.n);
  for (int i = 0; i < PART_COUNT; i++) k->factor[i] = 1;
  table_set(&names, k->name, k);
  return k;
}

/* ---- counting */
static double estimate(const struct known *k, const struct request_measure *m) {
  double sum = 0;
  for (int i = 0; i < PART_COUNT; i++) sum += m->of[i] * (k ? k->factor[i] : 1);
  return sum;
}

static double margin(const struct known *k) {
  if (!k || k->samples < 4) return MARGIN_FIRST;
  double m = 2 * k->error;
  return m < MARGIN_LEAST ? MARGIN_LEAST : m > MARGIN_MOST ? MARGIN_MOST : m;
}

void models_count(struct span name, const struct request_measure *m, struct token_count *out) {
  pthread_mutex_lock(&lock);
  const struct known *k = apart ? NULL : known_of(name, false);
  double all = estimate(k, m), media = m->of[PART_MEDIA] * (k ? k->factor[PART_MEDIA] : 1), least = (all - media) * (1 - margin(k)) + media / 4;
  pthread_mutex_unlock(&lock);
  out->tokens = (int64_t)ceil(all);
  out->least = (int64_t)least;
}

bool models_learns(struct span name) {
  if (apart) return false;
  pthread_mutex_lock(&lock);
  struct known *k = known_of(name, true);
  bool yes = k && (k->samples < ALWAYS || k->asked++ % SOMETIMES == 0);
  pthread_mutex_unlock(&lock);
  return yes;
}

static double within(double v, double low, double high) { return v < low ? low : v > high ? high : v; }

static void learn(struct known *k, const struct request_measure *m, double reported) {
  double off = reported - estimate(k, m), power = 1e-9, share = ++k->samples < ERROR_OVER ? 1.0 / k->samples : 1.0 / ERROR_OVER;
  k->error += share * (within(fabs(off) / reported, 0, 10) - k->error);
  for (int i = 0; i < PART_COUNT; i++) power += m->of[i] * m->of[i];
  for (int i = 0; i < PART_COUNT; i++) k->factor[i] = within(k->factor[i] + STEP * off * m->of[i] / power, LOW, HIGH);
}

void models_learn(struct span name, const struct request_measure *m, int64_t reported) {
  if (apart || reported <= 0) return;
  pthread_mutex_lock(&lock);
  struct known *k = known_of(name, true);
  if (k) learn(k, m, (double)reported);
  pthread_mutex_unlock(&lock);
}

/* ---- what a provider puts around a request */
void models_beyond(struct span name, int64_t tokens) {
  if (apart || (tokens <= 0 && !__atomic_load_n(&owns, __ATOMIC_RELAXED))) return;
  pthread_mutex_lock(&lock);
  struct known *k = known_of(name, tokens > 0);
  if (k) {
    int64_t before = k->own;
    if (tokens > OWN_MOST) tokens = OWN_MOST;
    if (tokens >= k->own || ++k->own_age >= OWN_OVER) k->own = tokens > 0 ? tokens : 0, k->own_age = 0;
    if (!before && k->own) __atomic_add_fetch(&owns, 1, __ATOMIC_RELAXED);
    if (before && !k->own) __atomic_sub_fetch(&owns, 1, __ATOMIC_RELAXED);
  }
  pthread_mutex_unlock(&lock);
}

int64_t models_own_tokens(struct span name) {
  if (apart || !__atomic_load_n(&owns, __ATOMIC_RELAXED)) return 0;
  pthread_mutex_lock(&lock);
  const struct known *k = known_of(name, false);
  int64_t own = k ? k->own : 0;
  pthread_mutex_unlock(&lock);
  return own;
}

/* ---- who is gone */
bool models_vanished(struct span name) {
  if (apart) return false;
  pthread_mutex_lock(&lock);
  struct known *k = known_of(name, true);
  bool news = k && !k->gone;
  if (news) __atomic_add_fetch(&gone, 1, __ATOMIC_RELAXED);
  if (news) k->gone = true;
  pthread_mutex_unlock(&lock);
  return news;
}

void models_back(struct span name) {
  if (apart || !__atomic_load_n(&gone, __ATOMIC_RELAXED)) return;
  pthread_mutex_lock(&lock);
  struct known *k = known_of(name, false);
  if (k && k->gone) {
    k->gone = false;
    __atomic_sub_fetch(&gone, 1, __ATOMIC_RELAXED);
  }
  pthread_mutex_unlock(&lock);
}

bool models_tell(struct span name, enum models_told what) {
  if (apart) return false;
  pthread_mutex_lock(&lock);
  struct known *k = known_of(name, true);
  bool first = k && !k->told[what];
  if (k) k->told[what] = true;
  pthread_mutex_unlock(&lock);
  return first;
}

/* ---- what is shown of it */
static void label_write(struct buf *out, struct span s) {
  for (size_t i = 0; i < s.n; i++) {
    if (s.p[i] == '\\' || s.p[i] == '"') buf_byte(out, '\\');
    buf_byte(out, (unsigned char)s.p[i] < 0x20 ? '?' : s.p[i]);
  }
}

static void state_write(const struct known *k, const char *state, bool is, bool *any, struct buf *out) {
  if (!is) return;
  if (!*any) buf_add(out, SPAN("# HELP weir_model_state Models that their provider says it does not know, or will end.\n# TYPE weir_model_state gauge\n"));
  *any = true;
  buf_add(out, SPAN("weir_model_state{model=\""));
  label_write(out, k->name);
  buf_printf(out, "\",state=\"%s\"} 1\n", state);
}

void models_metrics_write(struct buf *out) {
  struct table_entry *e;
  bool any = false;
  pthread_mutex_lock(&lock);
  for (size_t at = 0; (e = table_next(&names, &at));) {
    const struct known *k = e->value;
    if (!k->samples) continue;
    if (!any) buf_add(out, SPAN("# HELP weir_estimate_error_ratio How far off counted input tokens were from the reported ones, lately.\n# TYPE weir_estimate_error_ratio gauge\n"));
    any = true;
    buf_add(out, SPAN("weir_estimate_error_ratio{model=\""));
    label_write(out, k->name);
    buf_printf(out, "\"} %.4f\n", k->error);
  }
  any = false;
  for (size_t at = 0; (e = table_next(&names, &at));) {
    const struct known *k = e->value;
    state_write(k, "gone", k->gone, &any, out);
    state_write(k, "deprecated", k->told[MODELS_DEPRECATED], &any, out);
  }
  pthread_mutex_unlock(&lock);
}
