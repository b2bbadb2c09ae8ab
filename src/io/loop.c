#include "weir/io.h"
#include "weir/log.h"

const char *io_result_text(int result) {
  static const char *const texts[] = {
    "end of stream", "connection reset", "connection refused", "host unreachable", "timed out", "cancelled",
    "out of file descriptors", "out of memory", "input/output error",
  };
  if (result > 0) return "ok";
  unsigned i = (unsigned)-result;
  return i < sizeof texts / sizeof *texts ? texts[i] : "unknown result";
}

static void time_set(struct loop *l, uint64_t now_ns) {
  l->now_ns = now_ns;
  l->now_ms = now_ns / 1000000;
}

void loop_init(struct loop *l, const struct loop_calls *calls, uint64_t now_ns) {
  *l = (struct loop){ .calls = calls, .wake_sent = true };
  time_set(l, now_ns);
  wheel_init(&l->wheel, l->now_ms);
}

/* While wake_sent is true nobody needs to write the eventfd: the loop looks at `posted` before it sleeps. It says
   false first and looks afterwards, a poster posts first and looks at wake_sent afterwards; so one of the two sees
   the other. */
static bool posted_before_sleep(struct loop *l) {
  __atomic_store_n(&l->wake_sent, false, __ATOMIC_SEQ_CST);
  return __atomic_load_n(&l->posted, __ATOMIC_SEQ_CST) != NULL;
}

void loop_post(struct loop *l, struct message *m) {
  m->next = __atomic_load_n(&l->posted, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(&l->posted, &m->next, m, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {}
  if (!__atomic_exchange_n(&l->wake_sent, true, __ATOMIC_SEQ_CST)) l->calls->wake(l);
}

void loop_woke(struct loop *l, uint64_t now_ns) {
  __atomic_store_n(&l->wake_sent, true, __ATOMIC_SEQ_CST);
  time_set(l, now_ns);
  __atomic_store_n(&l->awake_ms, l->now_ms, __ATOMIC_RELAXED);
}

/* The stack is taken whole, so what a message posts waits for the next turn; oldest first. */
void loop_posted(struct loop *l) {
  if (!__atomic_load_n(&l->posted, __ATOMIC_RELAXED)) return;
  struct message *newest = __atomic_exchange_n(&l->posted, NULL, __ATOMIC_ACQUIRE), *oldest = NULL;
  while (newest) {
    struct message *m = newest;
    newest = m->next;
    m->next = oldest;
    oldest = m;
  }
  while (oldest) {
    struct message *m = oldest;
    oldest = m->next;
    m->run(m);
  }
}

static uint64_t until_timer(const struct loop *l) {
  uint64_t next = wheel_next(&l->wheel);
  if (next == UINT64_MAX) return UINT64_MAX;
  uint64_t due = l->wheel.now_ms + next;
  return due > l->now_ms ? due - l->now_ms : 0;
}

void loop_turn(struct loop *l) {
  if (l->turn_end) l->turn_end(l);
  uint64_t most_ms = until_timer(l);
  if (posted_before_sleep(l)) most_ms = 0;
  __atomic_store_n(&l->awake_ms, 0, __ATOMIC_RELAXED);
  l->calls->turn(l, most_ms);
  wheel_turn(&l->wheel, l->now_ms);
  loop_posted(l);
  l->stats.turns++;
}

/* ---- sends */
enum { SPARE_SENDS = 256 };

void sending_take(struct loop *l, struct op_send *s, const struct iovec *parts, int count) {
  struct sending *w = l->spare_sends;
  if (w) {
    l->spare_sends = w->next.spare;
    l->spare_send_count--;
  } else {
    w = mem_alloc(sizeof *w);
  }
  s->way = w;
  w->next.batch = NULL;
  w->wanted = w->sent = 0;
  w->copy = NULL;
  w->lent = 0;
  w->failed = false;
  for (int i = 0; i < count; i++) w->wanted += (w->parts[i] = parts[i]).iov_len;
  w->msg = (struct msghdr){ .msg_iov = w->parts, .msg_iovlen = (size_t)count };
}

void sending_back(struct loop *l, struct op_send *s) {
  struct sending *w = s->way;
  s->way = NULL;
  mem_free(w->copy);
  if (l->spare_send_count == SPARE_SENDS) {
    mem_free(w);
    return;
  }
  w->next.spare = l->spare_sends;
  l->spare_sends = w;
  l->spare_send_count++;
}

void loop_free(struct loop *l) {
  if (!l) return;
  check(l->in_flight == 0);
  for (struct sending *w = l->spare_sends, *next; w; w = next) {
    next = w->next.spare;
    mem_free(w);
  }
  l->calls->free(l);
}
