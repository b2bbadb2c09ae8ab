/* load.c: the clients of the benchmark's streams. Opens streams through a gateway to bench/upstream.c, checks that every
   chunk comes once, in order and whole, with a proper end, and takes each chunk's latency from the stamp in it.

     load PORT BODY-FILE streams=200 chunks=200 gap=10000 size=32 [seconds=2] [timeout=20] [hold=1] [name:value …]

   seconds=N: a stream that ended is followed by a new one on the same connection until N seconds have passed.
   hold=1: prints READY once every stream has had a chunk, keeps them open until its stdin ends.
   Further arguments with a colon are header lines. The last line printed is one JSON object. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "weir/log.h"
#include "weir/mem.h"

enum { READ_SIZE = 128 * 1024, LINE_MOST = 64 * 1024, OPENING_MOST = 128, NUMBER_DIGITS = 7, STAMP_DIGITS = 19 };

/* What can be wrong with a stream. */
enum fault { BAD_CONNECT, BAD_STATUS, BAD_HEAD, BAD_FRAMING, BAD_ORDER, BAD_TEXT, BAD_END, BAD_CLOSED, BAD_TIMEOUT, BAD_KINDS };
static const char *const fault_names[BAD_KINDS] = { "connect", "status", "head", "framing", "order", "text", "end", "closed", "timeout" };

enum framing { AT_SIZE, AT_DATA, AT_DATA_END, AT_LAST, UNTIL_CLOSE };

struct stream {
  int fd;
  size_t asked;                       /* bytes of the request that are sent */
  uint64_t began_ns;
  struct buf held;                    /* a head or a line that came in pieces */
  bool connecting, in_head, opened, chunked, counted_ready, keep;
  enum framing framing;
  uint64_t left;                      /* of the HTTP chunk */
  char size_text[20];
  size_t size_n;
  long next;                          /* the chunk that must come */
  bool finish, usage, done, in_event;
};

static struct { long port, streams, chunks, gap, size, seconds, timeout, hold; } want = { .streams = 1, .chunks = 100, .size = 32, .timeout = 30 };
static struct buf request;
static struct stream *all;
static int poller;
static long opened, opening, open_now, ended, ready;
static uint64_t chunks_seen, faults[BAD_KINDS], began_ns, until_ns;
static char scratch[READ_SIZE];

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- latencies: 64 steps to each doubling, so a figure is right to 1.6 % */
struct histogram { uint64_t count[64 * 64], total, most; };
static struct histogram chunk_ns, first_ns;

static void histogram_add(struct histogram *h, uint64_t v) {
  int shift = 63 - __builtin_clzll(v | 64) - 6;
  h->count[(size_t)shift * 64 + (v >> shift)]++;
  h->total++;
  if (v > h->most) h->most = v;
}

static double histogram_us(const struct histogram *h, double share) {
  uint64_t rank = (uint64_t)((double)h->total * share), seen = 0;
  for (size_t i = 0; i < sizeof h->count / sizeof *h->count; i++)
    if ((seen += h->count[i]) > rank) {
      size_t shift = i < 128 ? 0 : i / 64 - 1;
      return (double)((uint64_t)(i - shift * 64) << shift) / 1000;
    }
  return (double)h->most / 1000;
}

/* ---- the life of a stream */
static void watch(struct stream *s, int how, uint32_t events) {
  struct epoll_event e = { .events = events, .data.ptr = s };
  require(epoll_ctl(poller, how, s->fd, &e) == 0);
}

static void stream_fresh(struct stream *s) {
  s->asked = 0, s->in_head = true, s->next = 0, s->size_n = 0;
  s->opened = s->finish = s->usage = s->done = s->keep = s->in_event = false;
  s->began_ns = now_ns();
  buf_clear(&s->held);
}

static void stream_drop(struct stream *s) {
  if (s->fd < 0) return;
  if (!s->opened) opening--;
  close(s->fd);
  buf_free(&s->held);
  s->fd = -1;
  open_now--;
}

static bool stream_bad(struct stream *s, enum fault why) {
  faults[why]++;
  stream_drop(s);
  return false;
}

static void stream_open(struct stream *s) {
  struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)want.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  int one = 1;
  s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  require(s->fd >= 0);
  setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  open_now++, opening++;
  stream_fresh(s);
  s->connecting = true;
  if (connect(s->fd, (struct sockaddr *)&a, sizeof a) && errno != EINPROGRESS) {
    stream_bad(s, BAD_CONNECT);
    return;
  }
  watch(s, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

static bool stream_ask(struct stream *s) {
  struct span rest = span_from(buf_span(&request), s->asked);
  ssize_t n = send(s->fd, rest.p, rest.n, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n < 0) return errno == EAGAIN || stream_bad(s, s->connecting ? BAD_CONNECT : BAD_CLOSED);
  s->connecting = false;
  s->asked += (size_t)n;
  if ((size_t)n == rest.n) watch(s, EPOLL_CTL_MOD, EPOLLIN);
  return true;
}

/* The body has ended as its framing says; was everything there? */
static bool stream_ended(struct stream *s, uint64_t now) {
  if (s->next != want.chunks || !s->finish || !s->usage || !s->done || s->in_event) return stream_bad(s, BAD_END);
  ended++;
  if (now >= until_ns) {
    stream_drop(s);
    return false;
  }
  if (!s->keep) {
    stream_drop(s);
    stream_open(s);
    return false;
  }
  stream_fresh(s);
  opening++;
  watch(s, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
  return stream_ask(s);
}

/* ---- what a line of the event stream says */
static uint64_t number(const char *p, int digits) {
  uint64_t v = 0;
  while (digits--) v = v * 10 + (uint64_t)(*p++ - '0');
  return v;
}

static bool chunk_seen(struct stream *s, struct span text, uint64_t now) {
  size_t fixed = 1 + NUMBER_DIGITS + 1 + STAMP_DIGITS + 1;
  if (s->finish || s->done) return stream_bad(s, BAD_ORDER);
  if (text.n < fixed + (size_t)want.size + 1 || text.p[fixed + (size_t)want.size] != '"') return stream_bad(s, BAD_TEXT);
  for (long i = 0; i < want.size; i++)
    if (text.p[fixed + (size_t)i] != "the water goes over the weir "[i % 29]) return stream_bad(s, BAD_TEXT);
  if ((long)number(text.p + 1, NUMBER_DIGITS) != s->next) return stream_bad(s, BAD_ORDER);
  uint64_t stamp = number(text.p + 1 + NUMBER_DIGITS + 1, STAMP_DIGITS);
  histogram_add(&chunk_ns, now > stamp ? now - stamp : 0);
  if (s->next++ == 0) {
    histogram_add(&first_ns, now - s->began_ns);
    s->opened = true;
    opening--;
    if (!s->counted_ready) s->counted_ready = true, ready++;
  }
  chunks_seen++;
  return true;
}

static bool line_seen(struct stream *s, struct span line, uint64_t now) {
  if (line.n && line.p[line.n - 1] == '\r') line.n--;
  if (!line.n) s->in_event = false;
  if (!line.n || line.p[0] == ':') return true;
  if (!span_starts(line, SPAN("data:")) || s->in_event) return stream_bad(s, BAD_TEXT);
  s->in_event = true;
  struct span data = span_trim(span_from(line, 5));
  if (s->done) return stream_bad(s, BAD_ORDER);
  if (span_eq(data, SPAN("[DONE]"))) return s->done = true;
  size_t at = span_search(data, SPAN("\"content\":\"@"));
  if (at < data.n) return chunk_seen(s, span_from(data, at + 11), now);
  if (span_search(data, SPAN("\"finish_reason\":\"stop\"")) < data.n) s->finish = true;
  else if (span_search(data, SPAN("\"completion_tokens\":")) < data.n) s->usage = true;
  else if (span_search(data, SPAN("\"role\":\"assistant\"")) == data.n || s->next) return stream_bad(s, BAD_TEXT);
  return true;
}

static bool text_read(struct stream *s, struct span text, uint64_t now) {
  while (text.n) {
    const char *end = memchr(text.p, '\n', text.n);
    if (!end) {
      buf_add(&s->held, text);
      return buf_size(&s->held) < LINE_MOST || stream_bad(s, BAD_TEXT);
    }
    struct span line = span_of(text.p, (size_t)(end - text.p));
    text = span_from(text, line.n + 1);
    if (!buf_size(&s->held)) {
      if (!line_seen(s, line, now)) return false;
      continue;
    }
    buf_add(&s->held, line);
    bool good = line_seen(s, buf_span(&s->held), now);
    if (!good) return false;
    buf_clear(&s->held);
  }
  return true;
}

/* ---- HTTP: the answer's head and its framing */
static bool head_seen(struct stream *s, struct span head) {
  struct span line, name;
  if (!span_starts(head, SPAN("HTTP/1.1 200 "))) return stream_bad(s, BAD_STATUS);
  bool events = false;
  s->framing = UNTIL_CLOSE, s->keep = true;
  while (head.n) {
    head = span_cut(head, '\n', &line);
    struct span value = span_cut(line, ':', &name);
    if (value.n && value.p[value.n - 1] == '\r') value.n--;
    value = span_trim(value);
    if (span_ieq(name, SPAN("transfer-encoding")) && span_ieq(value, SPAN("chunked"))) s->framing = AT_SIZE;
    if (span_ieq(name, SPAN("content-type"))) events = span_istarts(value, SPAN("text/event-stream"));
    if (span_ieq(name, SPAN("connection")) && span_ieq(value, SPAN("close"))) s->keep = false;
  }
  s->in_head = false;
  if (s->framing == UNTIL_CLOSE) s->keep = false;
  return events || stream_bad(s, BAD_HEAD);
}

/* A byte of a chunk's size line; true while all is well. */
static bool size_byte(struct stream *s, char c) {
  if (c != '\n') {
    if (s->size_n + 1 >= sizeof s->size_text) return stream_bad(s, BAD_FRAMING);
    s->size_text[s->size_n++] = c;
    return true;
  }
  char *end;
  s->size_text[s->size_n] = 0;
  s->left = strtoull(s->size_text, &end, 16);
  if (end == s->size_text) return stream_bad(s, BAD_FRAMING);
  s->framing = s->left ? AT_DATA : AT_LAST;
  s->size_n = 0;
  return true;
}

static bool body_read(struct stream *s, struct span in, uint64_t now) {
  while (in.n) {
    if (s->framing == UNTIL_CLOSE) return text_read(s, in, now);
    if (s->framing == AT_DATA) {
      size_t take = in.n < s->left ? in.n : (size_t)s->left;
      if (!text_read(s, span_of(in.p, take), now)) return false;
      in = span_from(in, take);
      if (!(s->left -= take)) s->framing = AT_DATA_END;
      continue;
    }
    char c = in.p[0];
    in = span_from(in, 1);
    if (s->framing == AT_SIZE) {
      if (!size_byte(s, c)) return false;
    } else if (c == '\n') {
      if (s->framing == AT_LAST) return in.n ? stream_bad(s, BAD_FRAMING) : stream_ended(s, now);
      s->framing = AT_SIZE;
    } else if (c != '\r') return stream_bad(s, BAD_FRAMING);
  }
  return true;
}

static bool stream_read(struct stream *s, struct span in, uint64_t now) {
  if (!s->in_head) return body_read(s, in, now);
  buf_add(&s->held, in);
  struct span held = buf_span(&s->held);
  size_t at = span_search(held, SPAN("\r\n\r\n"));
  if (at == held.n) return held.n < LINE_MOST || stream_bad(s, BAD_HEAD);
  if (!head_seen(s, span_of(held.p, at + 2))) return false;
  size_t left = held.n - at - 4;
  buf_clear(&s->held);
  return body_read(s, span_from(in, in.n - left), now);
}

static void stream_ready(struct stream *s, uint32_t events) {
  if (s->fd < 0) return;
  if (events & EPOLLOUT && !stream_ask(s)) return;
  if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
  ssize_t n = recv(s->fd, scratch, sizeof scratch, MSG_DONTWAIT);
  if (n < 0 && errno == EAGAIN) return;
  uint64_t now = now_ns();
  if (n > 0) stream_read(s, span_of(scratch, (size_t)n), now);
  else if (n == 0 && !s->in_head && s->framing == UNTIL_CLOSE) stream_ended(s, now);
  else stream_bad(s, s->connecting ? BAD_CONNECT : BAD_CLOSED);
}

/* ---- the run */
/* Streams start spread over one gap, so that their chunks do not come in step; streams that are to be held start as fast as
   they get their first chunk, OPENING_MOST at a time. Gives the milliseconds to wait at most. */
static int open_more(void) {
  while (opened < want.streams) {
    uint64_t due = began_ns + (want.hold ? 0 : (uint64_t)want.gap * 1000 * (uint64_t)opened / (uint64_t)want.streams), now = now_ns();
    if (want.hold && opening >= OPENING_MOST) return 100;
    if (due > now) return due - now < 100000000 ? (int)((due - now) / 1000000) : 100;
    stream_open(&all[opened++]);
  }
  return 100;
}

static void run(void) {
  bool told = false;
  uint64_t deadline = began_ns + (uint64_t)want.timeout * 1000000000u;
  while (opened < want.streams || open_now) {
    struct epoll_event events[256];
    int n = epoll_wait(poller, events, 256, open_more());
    for (int i = 0; i < n; i++) {
      if (events[i].data.ptr) stream_ready(events[i].data.ptr, events[i].events);
      else if (read(0, scratch, sizeof scratch) <= 0) return;         /* hold: whoever asked has seen enough */
    }
    if (want.hold && !told && (ready == want.streams || open_now < opened)) {
      told = true;
      printf(ready == want.streams && open_now == opened ? "READY\n" : "LOST\n");
      fflush(stdout);
    }
    if (want.hold || now_ns() < deadline) continue;
    want.streams = opened;
    for (long i = 0; i < want.streams; i++)
      if (all[i].fd >= 0) stream_bad(&all[i], BAD_TIMEOUT);
  }
}

static bool option(const char *word) {
  static const struct { const char *name; long *to; } names[] = {
    { "streams", &want.streams }, { "chunks", &want.chunks }, { "gap", &want.gap }, { "size", &want.size },
    { "seconds", &want.seconds }, { "timeout", &want.timeout }, { "hold", &want.hold },
  };
  struct span name;
  uint64_t v;
  struct span value = span_cut(span_cstr(word), '=', &name);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (span_eq(name, span_cstr(names[i].name)) && span_u64(value, &v) && v < 1000000000) return *names[i].to = (long)v, true;
  return false;
}

static void request_make(const char *body_file, char **words, int count) {
  static char body[2 * 1024 * 1024];
  int fd = open(body_file, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, body, sizeof body);
  if (n <= 0) perror(body_file), exit(2);
  close(fd);
  struct buf headers = { 0 };
  for (int i = 0; i < count; i++) {
    if (strchr(words[i], ':')) buf_printf(&headers, "%s\r\n", words[i]);
    else if (!option(words[i])) fprintf(stderr, "load: what is %s?\n", words[i]), exit(2);
  }
  buf_printf(&request, "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAccept: text/event-stream\r\n"
             "x-bench: chunks=%ld gap=%ld size=%ld\r\nContent-Length: %zd\r\n%.*s\r\n",
             want.chunks, want.gap, want.size, n, SPAN_FMT(buf_span(&headers)));
  buf_add(&request, span_of(body, (size_t)n));
  buf_free(&headers);
}

static void report(double seconds) {
  uint64_t bad = 0;
  printf("{\"streams\":%ld,\"chunks\":%llu,\"seconds\":%.6f,\"still_open\":%ld,\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"most\":%.1f,"
         "\"first50\":%.1f,\"first99\":%.1f,\"faults\":{", ended, (unsigned long long)chunks_seen, seconds, open_now,
         histogram_us(&chunk_ns, 0.5), histogram_us(&chunk_ns, 0.99), histogram_us(&chunk_ns, 0.999), (double)chunk_ns.most / 1000,
         histogram_us(&first_ns, 0.5), histogram_us(&first_ns, 0.99));
  for (int i = 0, any = 0; i < BAD_KINDS; i++)
    if (faults[i]) printf("%s\"%s\":%llu", any++ ? "," : "", fault_names[i], (unsigned long long)faults[i]), bad += faults[i];
  printf("},\"bad\":%llu}\n", (unsigned long long)bad);
}

int main(int argc, char **argv) {
  if (argc < 3) return fprintf(stderr, "usage: load PORT BODY-FILE [name=number | name:value]…\n"), 2;
  signal(SIGPIPE, SIG_IGN);
  struct rlimit files;
  if (!getrlimit(RLIMIT_NOFILE, &files)) files.rlim_cur = files.rlim_max, setrlimit(RLIMIT_NOFILE, &files);
  want.port = atol(argv[1]);
  request_make(argv[2], argv + 3, argc - 3);
  all = mem_zero((size_t)want.streams * sizeof *all);
  poller = epoll_create1(EPOLL_CLOEXEC);
  if (want.hold) {
    struct epoll_event e = { .events = EPOLLIN, .data.ptr = NULL };
    require(epoll_ctl(poller, EPOLL_CTL_ADD, 0, &e) == 0);
  }
  began_ns = now_ns();
  until_ns = began_ns + (uint64_t)want.seconds * 1000000000u;
  run();
  report((double)(now_ns() - began_ns) / 1e9);
  return 0;
}
