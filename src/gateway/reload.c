/* reload.c: the next generation, loaded aside. A broken file changes nothing and says file, line, reason. */
#include "gateway.h"

struct waiter {
  struct waiter *next;
  reload_done *done;
  void *arg;
};
struct reload {
  struct gateway *gateway;
  pthread_t thread;
  struct message finished;
  struct waiter *now, *later;         /* asked before this load began; while it ran */
  struct generation *loaded;
  struct buf errors, warnings;
  bool running;
};

static void tell(struct waiter *list, bool accepted, struct span text) {
  while (list) {
    struct waiter *w = list;
    list = w->next;
    if (w->done) w->done(w->arg, accepted, text);
    mem_free(w);
  }
}

static void *load(void *arg) {
  struct reload *r = arg;
  struct gateway *g = r->gateway;
  struct conf *c = conf_reload(g->config_file, g->newest->conf, &r->errors, &r->warnings);   /* newest is replaced only after this */
  r->loaded = c ? generation_of(c, g->worker_count, g->generations + 1, &r->errors, &r->warnings) : NULL;
  if (r->loaded && g->tests && !g->tests(r->loaded->conf, &r->errors)) {
    generation_free(r->loaded);
    r->loaded = NULL;
  }
  loop_post(g->house, &r->finished);
  return NULL;
}

static void begin(struct reload *r) {
  r->now = r->later;
  r->later = NULL;
  r->running = true;
  r->loaded = NULL;
  buf_clear(&r->errors);
  buf_clear(&r->warnings);
  notify_reloading();
  require(pthread_create(&r->thread, NULL, load, r) == 0);
}

static void each_line(enum log_level level, const char *what, struct span text) {
  while (text.n) {
    struct span line;
    text = span_cut(text, '\n', &line);
    if (line.n) log_line(level, "%s%.*s", what, SPAN_FMT(line));
  }
}

static void finished(struct message *m) {
  struct reload *r = container(m, struct reload, finished);
  struct gateway *g = r->gateway;
  pthread_join(r->thread, NULL);
  r->running = false;
  metrics_reload(g->metrics, r->loaded != NULL);
  each_line(LOG_WARN, "", buf_span(&r->warnings));
  struct buf text = { 0 };
  if (r->loaded) {
    struct buf restart = { 0 };
    if (conf_restart_needed(g->started, r->loaded->conf, &restart))
      buf_printf(&text, "needs a restart to take effect: %.*s\n", SPAN_FMT(buf_span(&restart)));
    buf_free(&restart);
    g->generations++;
    log_set_level(r->loaded->conf->log_level);
    log_info("generation %u is live (%.12s)", r->loaded->number, r->loaded->conf->hash);
    each_line(LOG_WARN, "", buf_span(&text));
    buf_printf(&text, "generation %u is live\n", r->loaded->number);
    generation_publish(g, r->loaded);
  } else {
    each_line(LOG_ERROR, "reload refused: ", buf_span(&r->errors));
    buf_add(&text, buf_span(&r->errors));
  }
  bool accepted = r->loaded != NULL;
  r->loaded = NULL;
  notify_reloaded(g, accepted ? SPAN("") : buf_span(&r->errors));
  struct waiter *list = r->now;
  r->now = NULL;
  tell(list, accepted, buf_span(&text));
  buf_free(&text);
  generation_bury(g);
  if (r->later) begin(r);
}

void reload_start(struct gateway *g, reload_done *done, void *arg) {
  struct reload *r = g->reload;
  if (g->draining) {
    if (done) done(arg, false, SPAN("weir is ending\n"));
    return;
  }
  if (!r) {
    r = g->reload = mem_zero(sizeof *r);
    r->gateway = g;
    r->finished.run = finished;
  }
  struct waiter *w = mem_zero(sizeof *w);
  *w = (struct waiter){ r->later, done, arg };
  r->later = w;
  if (!r->running) begin(r);
}

void reload_free(struct gateway *g) {
  struct reload *r = g->reload;
  if (!r) return;
  struct waiter *later = r->later;
  r->later = NULL;
  tell(later, false, SPAN("weir is ending\n"));
  while (r->running) loop_turn(g->house);                /* its thread posts to this loop when it is done */
  buf_free(&r->errors);
  buf_free(&r->warnings);
  mem_free(r);
  g->reload = NULL;
}
