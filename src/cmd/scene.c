#include "scene.h"
#include "../gateway/worker.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "weir/vm.h"

enum { CLIENT_PORT = 1, LONGEST_S = 3600, TURNS_MOST = 2000000 };

struct server {
  struct server *next;
  int fd;
  scene_answer_fn *answer;
  void *arg;
};
struct peer {                         /* one connection to a server */
  struct peer *next;
  struct scene *scene;
  struct server *server;
  int fd;
  struct buf in, out;
  struct timer timer;                 /* a delayed reply */
  struct scene_reply reply;
  size_t part;                        /* next of its parts */
  bool waiting, close;
};
struct scene {
  struct gateway gateway;
  struct worker worker;
  struct loop *loop;
  struct server *servers;
  struct peer *peers;
  struct http_head *head;
  char folder[64];
  char *text, *policies;              /* what reloads are made from */
  unsigned generations;
};

struct worker *scene_worker(struct scene *s) { return &s->worker; }
struct loop *scene_loop(struct scene *s) { return s->loop; }

/* ---- the configuration is a file like any other, in a folder of its own */
static bool write_config(struct scene *s, struct span text, const char *policies) {
  char path[96];
  snprintf(s->folder, sizeof s->folder, "%s/weir-scene.XXXXXX", getenv("TMPDIR") && strlen(getenv("TMPDIR")) < 32 ? getenv("TMPDIR") : "/tmp");
  if (!mkdtemp(s->folder)) return false;
  snprintf(path, sizeof path, "%s/policies", s->folder);
  char *real = policies ? realpath(policies, NULL) : NULL;
  bool good = !real || !symlink(real, path);
  mem_free(real);
  snprintf(path, sizeof path, "%s/weir.lua", s->folder);
  FILE *f = fopen(path, "w");
  if (!f) return false;
  good &= fwrite(text.p, 1, text.n, f) == text.n;
  return !fclose(f) && good;
}

static void remove_config(struct scene *s) {
  char path[96];
  if (!s->folder[0]) return;
  snprintf(path, sizeof path, "%s/policies", s->folder);
  unlink(path);
  snprintf(path, sizeof path, "%s/weir.lua", s->folder);
  unlink(path);
  rmdir(s->folder);
}

static double clock_of(void *arg) { return 1700000000.0 + (double)((struct scene *)arg)->loop->now_ns / 1e9; }

static struct generation *load(struct scene *s, struct buf *errors) {
  struct buf warnings = { 0 };
  struct generation *gen = NULL;
  char path[96];
  if (write_config(s, span_cstr(s->text), s->policies)) {
    snprintf(path, sizeof path, "%s/weir.lua", s->folder);
    gen = generation_load(path, 1, ++s->generations, errors, &warnings);
  } else {
    buf_printf(errors, "no temporary folder for the test's configuration\n");
  }
  buf_free(&warnings);
  remove_config(s);
  return gen;
}

/* Budgets and limits of a test are counted in a file that nobody else sees. */
static bool open_cells(struct scene *s, struct generation *gen, struct buf *errors) {
  char path[64];
  struct cells_opened opened;
  const char *why;
  if (s->gateway.cells || !policy_counts(gen->vms[0])) return true;
  snprintf(path, sizeof path, "/tmp/weir-scene-cells.XXXXXX");
  int fd = mkstemp(path);
  s->gateway.cells = fd < 0 ? NULL : cells_open(path, &opened, &why);
  if (fd >= 0) close(fd), unlink(path);
  if (!s->gateway.cells) buf_printf(errors, "no file for the test's budgets: %s\n", fd < 0 ? "no temporary file" : why);
  return s->gateway.cells;
}

bool scene_reload(struct scene *s, struct buf *errors) {
  struct generation *gen = load(s, errors);
  if (!gen) return false;
  if (!open_cells(s, gen, errors)) {
    generation_drop(&s->gateway, gen);
    return false;
  }
  policy_set_clock(gen->vms[0], clock_of, s);
  generation_publish(&s->gateway, gen);
  return true;
}

struct scene *scene_new(struct span weir_lua, const char *policies, uint64_t seed, struct buf *errors) {
  struct scene *s = mem_zero(sizeof *s);
  s->text = mem_cstr(weir_lua);
  s->policies = policies ? mem_cstr(span_cstr(policies)) : NULL;
  s->gateway.newest = load(s, errors);
  if (s->gateway.newest && !open_cells(s, s->gateway.newest, errors)) generation_drop(&s->gateway, s->gateway.newest), s->gateway.newest = NULL;
  if (!s->gateway.newest) {
    mem_free(s->text);
    mem_free(s->policies);
    mem_free(s);
    return NULL;
  }
  struct sim_options o = { .seed = seed };
  s->loop = sim_new(&o);
  s->gateway.workers = &s->worker;
  s->gateway.worker_count = 1;
  s->worker.simulated = true;
  s->head = mem_zero(sizeof *s->head);
  worker_init(&s->worker, &s->gateway, 0, s->loop);
  if (seed) for (int i = 0; i < 4; i++) s->worker.random[i] = seed * 0x9E3779B97F4A7C15u + (uint64_t)i;      /* the same seed, the same run */
  policy_set_cells(s->worker.gen->vms[0], s->gateway.cells);
  policy_set_clock(s->worker.gen->vms[0], clock_of, s);
  int fd = sim_listen(s->loop, CLIENT_PORT);
  worker_accept(&s->worker, &fd, 1);
  return s;
}

/* ---- scripted peers: looked at after each turn */
static void peer_write(struct peer *p) {
  struct loop *l = p->scene->loop;
  struct span left = buf_span(&p->out);
  if (left.n) buf_consume(&p->out, sim_write(l, p->fd, left));
  if (!buf_size(&p->out) && p->close && p->fd >= 0) {
    l->calls->close(l, p->fd);
    p->fd = -1;
  }
}

struct scene_part *scene_part(struct scene_reply *r, double after) {
  r->parts = mem_grow(r->parts, (r->part_count + 1) * sizeof *r->parts);
  struct scene_part *part = &r->parts[r->part_count++];
  *part = (struct scene_part){ .after = after };
  return part;
}

static void reply_free(struct scene_reply *r) {
  for (size_t i = 0; i < r->part_count; i++) buf_free(&r->parts[i].bytes);
  mem_free(r->parts);
  buf_free(&r->bytes);
  *r = (struct scene_reply){ 0 };
}

static void peer_break(struct peer *p) {
  sim_reset(p->scene->loop, p->fd);
  p->scene->loop->calls->close(p->scene->loop, p->fd);
  p->fd = -1;
}

static void part_next(struct timer *t);

/* The clock of the next part, or the end of the reply. */
static void part_wait(struct peer *p) {
  if (p->part < p->reply.part_count) {
    p->timer.done = part_next;
    timer_set(&p->scene->loop->wheel, &p->timer, p->scene->loop->now_ms + (uint64_t)(p->reply.parts[p->part].after * 1000));
    return;
  }
  p->waiting = false;
  p->close = p->reply.close;
  bool reset = p->reply.reset;
  reply_free(&p->reply);
  peer_write(p);
  if (reset && p->fd >= 0) peer_break(p);
}

static void part_next(struct timer *t) {
  struct peer *p = container(t, struct peer, timer);
  buf_add(&p->out, buf_span(&p->reply.parts[p->part++].bytes));
  peer_write(p);
  part_wait(p);
}

static void peer_reply(struct timer *t) {
  struct peer *p = container(t, struct peer, timer);
  if (p->reply.kind == REPLY_RESET) {
    p->waiting = false;
    reply_free(&p->reply);
    peer_break(p);
    return;
  }
  buf_add(&p->out, buf_span(&p->reply.bytes));
  peer_write(p);
  part_wait(p);
}

/* Whole requests only: length-framed or without a body, as weir sends them on parsed routes; chunked ones are decoded. */
static bool whole_request(struct peer *p, struct arena *a, struct span *body, size_t *used) {
  size_t scanned = 0, size = http_head_end(buf_span(&p->in), &scanned);
  struct http_body decoder;
  struct buf decoded = { 0 };
  if (!size || http_read_request(span_of(p->in.p + p->in.at, size), p->scene->head) != HTTP_OK) return false;
  struct span in = span_from(buf_span(&p->in), size);
  http_body_init(&decoder, p->scene->head);
  *used = size;
  for (;;) {
    struct span piece = { 0 };
    struct step s = http_body_feed(&decoder, in, &piece);
    *used += s.used;
    in = span_from(in, s.used);
    if (s.kind == STEP_EVENT) { buf_add(&decoded, piece); continue; }
    *body = arena_copy(a, buf_span(&decoded));
    buf_free(&decoded);
    return s.kind == STEP_DONE;
  }
}

static void peer_look(struct peer *p) {
  char bytes[4096];
  bool ended = false;
  size_t n, used;
  struct arena a = { 0 };
  struct span body;
  if (p->fd < 0) return;
  while ((n = sim_read(p->scene->loop, p->fd, bytes, sizeof bytes, &ended))) buf_add(&p->in, span_of(bytes, n));
  peer_write(p);
  if (ended && p->fd >= 0) {
    timer_stop(&p->scene->loop->wheel, &p->timer);
    p->scene->loop->calls->close(p->scene->loop, p->fd);
    p->fd = -1;
    return;
  }
  if (!p->waiting && p->fd >= 0 && whole_request(p, &a, &body, &used)) {
    p->waiting = true;
    p->reply = (struct scene_reply){ 0 };
    p->part = 0;
    p->timer.done = peer_reply;
    p->server->answer(p->server->arg, p->scene->head, body, &p->reply);
    buf_consume(&p->in, used);
    if (p->reply.kind != REPLY_SILENCE) timer_set(&p->scene->loop->wheel, &p->timer, p->scene->loop->now_ms + (uint64_t)(p->reply.delay * 1000));
  }
  arena_end(&a);
}

static void look_at_peers(struct scene *s) {
  for (struct server *v = s->servers; v; v = v->next)
    for (int fd; (fd = sim_accept(s->loop, v->fd)) >= 0;) {
      struct peer *p = mem_zero(sizeof *p);
      *p = (struct peer){ .next = s->peers, .scene = s, .server = v, .fd = fd, .timer = { .done = peer_reply } };
      s->peers = p;
    }
  for (struct peer *p = s->peers; p; p = p->next) peer_look(p);
}

void scene_serve(struct scene *s, uint16_t port, scene_answer_fn *answer, void *arg) {
  struct server *v = mem_zero(sizeof *v);
  *v = (struct server){ s->servers, sim_listen(s->loop, port), answer, arg };
  s->servers = v;
}

/* ---- the client */
struct reader {
  struct buf in;
  struct buf body;
  struct http_body decoder;
  bool headed;
  struct scene_piece *pieces;
  size_t piece_count;
};

/* When how much of the body was there. */
static void note_piece(struct reader *r, double at) {
  size_t had = r->piece_count ? r->pieces[r->piece_count - 1].upto : 0, have = buf_size(&r->body);
  if (have == had) return;
  r->pieces = mem_grow(r->pieces, (r->piece_count + 1) * sizeof *r->pieces);
  r->pieces[r->piece_count++] = (struct scene_piece){ at, have };
}

/* True when the response is whole, or broken beyond reading on. */
static bool read_response(struct scene *s, struct reader *r, struct span method, struct arena *a, struct scene_answer *out) {
  if (!r->headed) {
    size_t scanned = 0, size = http_head_end(buf_span(&r->in), &scanned);
    if (!size) return false;
    if (http_read_response(span_of(r->in.p + r->in.at, size), method, s->head) != HTTP_OK) return out->broken = true;
    if (s->head->status < 200) {
      buf_consume(&r->in, size);
      return read_response(s, r, method, a, out);
    }
    out->head = http_head_keep(s->head, a);
    out->status = s->head->status;
    http_body_init(&r->decoder, s->head);
    buf_consume(&r->in, size);
    r->headed = true;
  }
  for (;;) {
    struct span piece = { 0 };
    struct step step = http_body_feed(&r->decoder, buf_span(&r->in), &piece);
    if (step.kind == STEP_EVENT) buf_add(&r->body, piece);
    buf_consume(&r->in, step.used);
    if (step.kind == STEP_EVENT) continue;
    out->complete = step.kind == STEP_DONE;
    out->broken = step.kind == STEP_BAD;
    return step.kind != STEP_MORE;
  }
}

void scene_ask(struct scene *s, struct span request, struct arena *a, struct scene_answer *out) {
  struct loop *l = s->loop;
  struct reader r = { 0 };
  struct span method;
  int fd = sim_connect(l, CLIENT_PORT);
  uint64_t limit = l->now_ms + LONGEST_S * 1000ull, begun = l->now_ns;
  *out = (struct scene_answer){ 0 };
  span_cut(request, ' ', &method);
  for (unsigned turn = 0; turn < TURNS_MOST && l->now_ms < limit; turn++) {
    char bytes[8192];
    bool ended = false;
    if (request.n) request = span_from(request, sim_write(l, fd, request));
    size_t n;
    while ((n = sim_read(l, fd, bytes, sizeof bytes, &ended))) buf_add(&r.in, span_of(bytes, n));
    bool whole = read_response(s, &r, method, a, out);
    note_piece(&r, (double)(l->now_ns - begun) / 1e9);
    if (whole) break;
    if (ended) {
      out->closed = true;
      out->complete = r.headed && http_body_may_end(&r.decoder);
      break;
    }
    loop_turn(l);
    look_at_peers(s);
    if (!sim_busy(l) && wheel_next(&l->wheel) == UINT64_MAX && !request.n) break;      /* nothing will ever happen */
  }
  out->body = arena_copy(a, buf_span(&r.body));
  out->pieces = arena_alloc(a, r.piece_count * sizeof *r.pieces + 1);
  if (r.piece_count) memcpy(out->pieces, r.pieces, r.piece_count * sizeof *r.pieces);
  out->piece_count = r.piece_count;
  mem_free(r.pieces);
  buf_free(&r.body);
  buf_free(&r.in);
  l->calls->close(l, fd);
  for (unsigned turn = 0; turn < 4 || (turn < TURNS_MOST && sim_ready(l)); turn++) {   /* all that follows from that, no time passes */
    loop_turn(l);
    look_at_peers(s);
  }
}

static void passed(struct timer *t) { (void)t; }

void scene_turn(struct scene *s) {
  loop_turn(s->loop);
  look_at_peers(s);
}

void scene_advance(struct scene *s, double seconds) {
  struct timer t = { .done = passed };
  timer_set(&s->loop->wheel, &t, s->loop->now_ms + (uint64_t)(seconds * 1000));
  for (unsigned turn = 0; timer_armed(&t) && turn < TURNS_MOST; turn++) {
    loop_turn(s->loop);
    look_at_peers(s);
  }
}

void scene_free(struct scene *s) {
  worker_close_all(&s->worker);
  for (unsigned turn = 0; !worker_quiet(&s->worker) && turn < 10000; turn++) loop_turn(s->loop);
  check(worker_quiet(&s->worker));
  while (s->peers) {
    struct peer *p = s->peers;
    s->peers = p->next;
    timer_stop(&s->loop->wheel, &p->timer);
    if (p->fd >= 0) s->loop->calls->close(s->loop, p->fd);
    buf_free(&p->in);
    buf_free(&p->out);
    reply_free(&p->reply);
    mem_free(p);
  }
  while (s->servers) {
    struct server *v = s->servers;
    s->servers = v->next;
    mem_free(v);
  }
  worker_free(&s->worker);
  metrics_free(s->worker.metrics);
  generation_drop(&s->gateway, s->gateway.newest);
  cells_close(s->gateway.cells);
  loop_free(s->loop);
  mem_free(s->head);
  mem_free(s->text);
  mem_free(s->policies);
  mem_free(s);
}
