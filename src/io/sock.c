#include "weir/io.h"
#include "weir/log.h"
#include <sys/socket.h>

/* Closing a descriptor does not end its requests, and a request could meet the next file of that number. Hence
   the order: shut it down so that everything ends by itself, cancel what does not, wait for each op's last
   completion, close, and tell the owner from a posted message so that it is never told inside its own call. */

static struct sock *sock_of(struct message *m) { return (struct sock *)((char *)m - offsetof(struct sock, ended)); }

static void ended_run(struct message *m) {
  struct sock *s = sock_of(m);
  s->recv.done = s->kept[0];
  s->watch.done = s->kept[1];
  s->send.op.done = s->kept[2];
  s->closing = false;
  s->closed(s);
}

static void close_when_idle(struct sock *s) {
  if (op_busy(&s->recv) || op_busy(&s->watch) || op_busy(&s->send.op)) return;
  if (s->fd >= 0) s->loop->calls->close(s->loop, s->fd);
  s->fd = -1;
  s->ended.run = ended_run;
  loop_post(s->loop, &s->ended);
}

static void recv_ended(struct op *op, int result, struct span data, bool more) {
  (void)result, (void)data;
  if (!more) close_when_idle((struct sock *)((char *)op - offsetof(struct sock, recv)));
}

static void watch_ended(struct op *op, int result, struct span data, bool more) {
  (void)result, (void)data;
  if (!more) close_when_idle((struct sock *)((char *)op - offsetof(struct sock, watch)));
}

static void send_ended(struct op *op, int result, struct span data, bool more) {
  (void)result, (void)data;
  if (!more) close_when_idle((struct sock *)((char *)op - offsetof(struct sock, send.op)));
}

void sock_close(struct sock *s, void (*closed)(struct sock *s)) {
  require(!s->closing);
  s->closing = true;
  s->closed = closed;
  s->kept[0] = s->recv.done;
  s->kept[1] = s->watch.done;
  s->kept[2] = s->send.op.done;
  s->recv.done = recv_ended;
  s->watch.done = watch_ended;
  s->send.op.done = send_ended;
  if (s->fd >= 0) s->loop->calls->shutdown(s->loop, s->fd, SHUT_RDWR);
  s->loop->calls->cancel(s->loop, &s->recv);
  s->loop->calls->cancel(s->loop, &s->watch);
  s->loop->calls->cancel(s->loop, &s->send.op);
  close_when_idle(s);
}
