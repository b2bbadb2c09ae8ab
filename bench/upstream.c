/* upstream.c: the provider of the benchmark. One thread, epoll, loopback: answers a chat completion at once and costs
   as little as it can, so that what is measured is the gateway. bench/load.c reads what it streams.

     upstream PORT

   What it does with a request stands in the request's own header (all fields optional):
     x-bench: think=2000                       answer after 2000 us
     x-bench: digest=1                         read the body whole and put its Adler-32 into the answer
     x-bench: chunks=200 gap=10000 size=32     a stream of 200 chunks of 32 bytes of text, one each 10000 us; gap=0: as fast as it goes
   GET /stats answers with counters. A chunk's text opens with "@NNNNNNN TTTTTTTTTTTTTTTTTTT ": its number and the monotonic
   nanosecond it was written at. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "weir/log.h"
#include "weir/mem.h"

enum { HEAD_MOST = 16384, READ_SIZE = 256 * 1024, BURST = 16, SIZE_MOST = 16384, STAMP_AT = 9, STAMP_DIGITS = 19, NUMBER_DIGITS = 7 };

struct wish { long think_us, digest, chunks, gap_us, size; };

struct line {                         /* one connection */
  int fd;
  struct buf head;                    /* of a head that came in pieces */
  struct buf unsent;                  /* what the socket did not take */
  uint64_t body_left, due_ns;
  struct wish wish;
  long next;                          /* the stream's next chunk */
  uint32_t adler_a, adler_b;
  size_t place;                       /* in the heap, from 1; 0: not there */
  bool reading_body, answering, streaming, blocked, bad_body, first_byte;
};

static struct { uint64_t accepted, requests, chunks, streams_open, refused; } stats;
static int poller;
static char scratch[READ_SIZE];

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- a heap of lines, the next due on top */
static struct line **heap;
static size_t heap_count, heap_room;

static void heap_put(size_t place, struct line *l) { heap[place] = l, l->place = place; }

static void heap_up(size_t at, struct line *l) {
  for (; at > 1 && heap[at / 2]->due_ns > l->due_ns; at /= 2) heap_put(at, heap[at / 2]);
  heap_put(at, l);
}

static void heap_down(size_t at, struct line *l) {
  for (size_t child; (child = at * 2) <= heap_count; at = child) {
    if (child < heap_count && heap[child + 1]->due_ns < heap[child]->due_ns) child++;
    if (heap[child]->due_ns >= l->due_ns) break;
    heap_put(at, heap[child]);
  }
  heap_put(at, l);
}

static void heap_add(struct line *l, uint64_t due_ns) {
  if (heap_count + 2 > heap_room) heap = mem_grow(heap, (heap_room = heap_room * 2 + 64) * sizeof *heap);
  l->due_ns = due_ns;
  heap_up(++heap_count, l);
}

static void heap_drop(struct line *l) {
  size_t at = l->place;
  if (!at) return;
  struct line *last = heap[heap_count--];
  l->place = 0;
  if (last == l) return;
  heap_up(at, last);
  heap_down(last->place, last);
}

/* ---- what is said */
static const char answer_text[] =
  "The river rose by a hand in the night, and in the morning the keeper opened two boards of the weir. Below it the water "
  "ran white for an hour, then the mill had its level again and the eels went down to the sea.";

static size_t answer_write(char *to, size_t room, uint32_t digest) {
  char body[1024];
  int n = snprintf(body, sizeof body,
    "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"mock\",\"choices\":[{\"index\":0,"
    "\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":211,"
    "\"completion_tokens\":48,\"total_tokens\":259},\"system_fingerprint\":\"%08x\"}", answer_text, digest);
  return (size_t)snprintf(to, room, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", n, body);
}

#define EVENT(delta, finish) \
  "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"mock\"," \
  "\"choices\":[{\"index\":0,\"delta\":{" delta "},\"finish_reason\":" finish "}]}\n\n"
static const char event_open[] = EVENT("\"role\":\"assistant\",\"content\":\"\"", "null");
static const char event_end[] = EVENT("", "\"stop\"");

static void http_chunk(struct buf *b, const char *text) { buf_printf(b, "%zx\r\n%s\r\n", strlen(text), text); }

/* Every chunk of one size is the same but for its number and its stamp. */
static struct { char *bytes; size_t n, number_at; long size; } form;

static void form_for(long size) {
  if (form.bytes && form.size == size) return;
  struct buf event = { 0 }, b = { 0 };
  char *text = mem_alloc((size_t)size + 1);
  for (long i = 0; i < size; i++) text[i] = "the water goes over the weir "[i % 29];
  text[size] = 0;
  buf_printf(&event, EVENT("\"content\":\"@%0*d %0*d %s\"", "null"), NUMBER_DIGITS, 0, STAMP_DIGITS, 0, text);
  buf_byte(&event, 0);
  http_chunk(&b, buf_span(&event).p);
  mem_free(form.bytes);
  form.n = buf_size(&b), form.size = size;
  form.bytes = mem_alloc(form.n);
  memcpy(form.bytes, buf_span(&b).p, form.n);
  form.number_at = span_search(span_of(form.bytes, form.n), SPAN("\"@")) + 2;
  buf_free(&event), buf_free(&b);
  mem_free(text);
}

static void digits(char *to, int n, uint64_t v) {
  while (n > 0) to[--n] = (char)('0' + v % 10), v /= 10;
}

/* ---- sending */
static void watch(struct line *l, uint32_t events) {
  struct epoll_event e = { .events = events | EPOLLRDHUP, .data.ptr = l };
  epoll_ctl(poller, EPOLL_CTL_MOD, l->fd, &e);
}

/* False when the line is broken. What the socket does not take waits in l->unsent. */
static bool line_send(struct line *l, struct span s) {
  ssize_t n = buf_size(&l->unsent) ? 0 : send(l->fd, s.p, s.n, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n < 0 && errno != EAGAIN) return false;
  if (n < 0) n = 0;
  if ((size_t)n == s.n) return true;
  buf_add(&l->unsent, span_from(s, (size_t)n));
  if (!l->blocked) watch(l, EPOLLIN | EPOLLOUT);
  l->blocked = true;
  return true;
}

static bool line_drain(struct line *l) {
  struct span s = buf_span(&l->unsent);
  ssize_t n = send(l->fd, s.p, s.n, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n < 0) return errno == EAGAIN;
  buf_consume(&l->unsent, (size_t)n);
  if (buf_size(&l->unsent)) return true;
  buf_free(&l->unsent);
  l->blocked = false;
  watch(l, EPOLLIN);
  if (l->streaming && !l->place) heap_add(l, now_ns());
  return true;
}

static void line_close(struct line *l) {
  if (l->streaming) stats.streams_open--;
  heap_drop(l);
  close(l->fd);
  buf_free(&l->head), buf_free(&l->unsent);
  mem_free(l);
}

/* ---- answering */
static bool stream_open(struct line *l) {
  static struct buf b;
  buf_clear(&b);
  buf_add(&b, SPAN("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"));
  http_chunk(&b, event_open);
  stats.streams_open++;
  l->streaming = true;
  l->next = 0;
  heap_add(l, now_ns());
  return line_send(l, buf_span(&b));
}

static bool stream_end(struct line *l) {
  static struct buf b;
  char usage[320];
  buf_clear(&b);
  snprintf(usage, sizeof usage, "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"mock\","
           "\"choices\":[],\"usage\":{\"prompt_tokens\":211,\"completion_tokens\":%ld,\"total_tokens\":%ld}}\n\n", l->wish.chunks, l->wish.chunks + 211);
  http_chunk(&b, event_end);
  http_chunk(&b, usage);
  http_chunk(&b, "data: [DONE]\n\n");
  buf_add(&b, SPAN("0\r\n\r\n"));
  l->answering = l->streaming = false;
  stats.streams_open--;
  return line_send(l, buf_span(&b));
}

/* The stream's time has come: one chunk, or a burst of them when it has no gap. */
static bool stream_go_on(struct line *l) {
  form_for(l->wish.size);
  for (int i = 0; i < (l->wish.gap_us ? 1 : BURST) && l->next < l->wish.chunks && !l->blocked; i++) {
    digits(form.bytes + form.number_at, NUMBER_DIGITS, (uint64_t)l->next++);
    digits(form.bytes + form.number_at + NUMBER_DIGITS + 1, STAMP_DIGITS, now_ns());
    stats.chunks++;
    if (!line_send(l, span_of(form.bytes, form.n))) return false;
  }
  uint64_t due = l->due_ns + (uint64_t)l->wish.gap_us * 1000;
  heap_drop(l);
  if (l->next == l->wish.chunks) return stream_end(l);
  uint64_t now = now_ns();
  if (!l->blocked) heap_add(l, due > now ? due : now);
  return true;
}

static bool answer(struct line *l) {
  static char plain[2048];
  static size_t plain_n;
  char one[2048];
  l->answering = false;
  if (l->bad_body) return stats.refused++, line_send(l, SPAN("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
  if (l->wish.digest) return line_send(l, span_of(one, answer_write(one, sizeof one, l->adler_b << 16 | l->adler_a)));
  if (!plain_n) plain_n = answer_write(plain, sizeof plain, 0);
  return line_send(l, span_of(plain, plain_n));
}

static bool respond(struct line *l) {
  stats.requests++;
  l->answering = true;
  if (l->wish.think_us) return heap_add(l, now_ns() + (uint64_t)l->wish.think_us * 1000), true;
  return l->wish.chunks && !l->bad_body ? stream_open(l) : answer(l);
}

static bool line_due(struct line *l) {
  if (l->wish.think_us) {
    l->wish.think_us = 0;
    heap_drop(l);
    return l->wish.chunks && !l->bad_body ? stream_open(l) : answer(l);
  }
  return stream_go_on(l);
}

/* ---- reading */
static void wish_read(struct wish *w, struct span s) {
  static const struct { const char *name; size_t at; } fields[] = {
    { "think", offsetof(struct wish, think_us) }, { "digest", offsetof(struct wish, digest) }, { "chunks", offsetof(struct wish, chunks) },
    { "gap", offsetof(struct wish, gap_us) }, { "size", offsetof(struct wish, size) },
  };
  while (s.n) {
    struct span word, name;
    s = span_cut(span_trim(s), ' ', &word);
    struct span value = span_cut(word, '=', &name);
    uint64_t v;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
      if (span_eq(name, span_cstr(fields[i].name)) && span_u64(value, &v)) *(long *)((char *)w + fields[i].at) = (long)(v < 1000000000 ? v : 0);
  }
  if (w->size > SIZE_MOST) w->size = SIZE_MOST;
}

static bool stats_answer(struct line *l) {
  char body[256], all[400];
  int n = snprintf(body, sizeof body, "{\"accepted\":%llu,\"requests\":%llu,\"chunks\":%llu,\"open\":%llu,\"refused\":%llu}",
                   (unsigned long long)stats.accepted, (unsigned long long)stats.requests, (unsigned long long)stats.chunks,
                   (unsigned long long)stats.streams_open, (unsigned long long)stats.refused);
  n = snprintf(all, sizeof all, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", n, body);
  return line_send(l, span_of(all, (size_t)n));
}

/* A whole head, its empty line included. */
static bool head_read(struct line *l, struct span head) {
  if (span_starts(head, SPAN("GET /stats "))) return stats_answer(l);
  bool sized = false;
  l->wish = (struct wish){ 0 };
  l->body_left = 0, l->bad_body = false, l->first_byte = true;
  l->adler_a = 1, l->adler_b = 0;
  while (head.n) {
    struct span line, name;
    head = span_cut(head, '\n', &line);
    struct span value = span_cut(line, ':', &name);
    if (value.n && value.p[value.n - 1] == '\r') value.n--;
    if (name.n == 14 && span_ieq(name, SPAN("content-length"))) sized = span_u64(span_trim(value), &l->body_left);
    if (name.n == 7 && span_ieq(name, SPAN("x-bench"))) wish_read(&l->wish, value);
  }
  if (!sized) return stats.refused++, line_send(l, SPAN("HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\n\r\n"));
  l->reading_body = l->body_left > 0;
  return l->reading_body || respond(l);
}

/* A body must be the one JSON object that was sent: its ends are looked at always, the rest when asked. */
static bool body_read(struct line *l, struct span s) {
  if (l->first_byte && s.p[0] != '{') l->bad_body = true;
  l->first_byte = false;
  for (size_t i = 0; l->wish.digest && i < s.n; i++) {
    l->adler_a = (l->adler_a + (unsigned char)s.p[i]) % 65521;
    l->adler_b = (l->adler_b + l->adler_a) % 65521;
  }
  l->body_left -= s.n;
  if (l->body_left) return true;
  if (s.p[s.n - 1] != '}') l->bad_body = true;
  l->reading_body = false;
  return respond(l);
}

static bool line_read(struct line *l, struct span s) {
  while (s.n) {
    if (l->answering) return false;                      /* nothing may come while an answer is on its way */
    if (l->reading_body) {
      size_t take = s.n < l->body_left ? s.n : (size_t)l->body_left;
      if (!body_read(l, span_of(s.p, take))) return false;
      s = span_from(s, take);
      continue;
    }
    size_t held = buf_size(&l->head);
    if (held) buf_add(&l->head, s);
    struct span all = held ? buf_span(&l->head) : s;
    size_t at = span_search(all, SPAN("\r\n\r\n"));
    if (at == all.n) {
      if (!held) buf_add(&l->head, s);
      return all.n < HEAD_MOST;
    }
    s = span_from(s, at + 4 - held);
    if (!head_read(l, span_of(all.p, at + 4))) return false;
    buf_clear(&l->head);
  }
  return true;
}

static bool line_ready(struct line *l, uint32_t events) {
  if (events & (EPOLLHUP | EPOLLERR)) return false;
  if (events & EPOLLOUT && !line_drain(l)) return false;
  if (!(events & EPOLLIN)) return !(events & EPOLLRDHUP);
  if (l->reading_body && !l->first_byte && !l->wish.digest && l->body_left > 65536)  /* what nobody looks at is not copied */
    for (ssize_t n; l->body_left > 65536; l->body_left -= (uint64_t)n)
      if ((n = recv(l->fd, NULL, l->body_left - 4096, MSG_TRUNC | MSG_DONTWAIT)) <= 0) return n < 0 && errno == EAGAIN;
  ssize_t n = recv(l->fd, scratch, sizeof scratch, MSG_DONTWAIT);
  if (n <= 0) return n < 0 && errno == EAGAIN;
  return line_read(l, span_of(scratch, (size_t)n));
}

static void lines_accept(int listener) {
  for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0; stats.accepted++) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct line *l = mem_zero(sizeof *l);
    struct epoll_event e = { .events = EPOLLIN | EPOLLRDHUP, .data.ptr = l };
    l->fd = fd;
    require(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e) == 0);
  }
}

static int listener_open(const char *port) {
  struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 4096)) perror("upstream: bind"), exit(1);
  struct epoll_event e = { .events = EPOLLIN, .data.ptr = NULL };
  require(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e) == 0);
  return fd;
}

static void turn(int listener) {
  struct epoll_event events[256];
  struct timespec wait = { 1, 0 };
  uint64_t now = now_ns();
  for (size_t most = heap_count; most && heap_count && heap[1]->due_ns <= now; most--) {
    struct line *l = heap[1];
    if (!line_due(l)) line_close(l);
  }
  if (heap_count) {
    now = now_ns();
    uint64_t left = heap[1]->due_ns > now ? heap[1]->due_ns - now : 0;
    if (left < 1000000000) wait = (struct timespec){ 0, (long)left };
  }
  int n = epoll_pwait2(poller, events, 256, &wait, NULL);
  for (int i = 0; i < n; i++) {
    struct line *l = events[i].data.ptr;
    if (!l) lines_accept(listener);
    else if (!line_ready(l, events[i].events)) line_close(l);
  }
}

int main(int argc, char **argv) {
  if (argc != 2) return fprintf(stderr, "usage: upstream PORT\n"), 2;
  signal(SIGPIPE, SIG_IGN);
  poller = epoll_create1(EPOLL_CLOEXEC);
  int listener = listener_open(argv[1]);
  for (;;) turn(listener);
}
