/* io.h: the narrow waist between weir and the kernel. One loop per thread; behind it stands io_uring
   (src/io/ring.c), epoll where that is refused (src/io/epoll.c), or a seeded simulation for tests (src/io/sim.c).

   Glossary
     op      one operation in flight, embedded in the object that waits for it. Its owner may not be
             freed before `done` ran; nothing is allocated per operation.
     turn    run turn_end, submit and wait in one system call, run all completions from one place (sends first),
             run due timers, then posted messages. No callback runs inside a submit.
     result  bytes, or one of enum io_result: nothing above this line knows errno.

   How to drive it:
     struct loop *l = loop_new(LOOP_ANY, &options, &why);      (on the thread that will use it)
     l->turn_end = flush; l->owner = me;
     while (running) loop_turn(l);
     loop_free(l); */
#ifndef WEIR_IO_H
#define WEIR_IO_H

#include <sys/socket.h>
#include <sys/uio.h>
#include "weir/mem.h"
#include "weir/wheel.h"

enum io_result {
  IO_END = 0,                         /* orderly end of the peer's bytes */
  IO_RESET = -1,                      /* reset or broken pipe */
  IO_REFUSED = -2, IO_UNREACHABLE = -3, IO_TIMED_OUT = -4,
  IO_CANCELLED = -5,
  IO_NO_DESCRIPTORS = -6,             /* EMFILE, ENFILE */
  IO_NO_MEMORY = -7,
  IO_FAILED = -8,                     /* anything else; logged once with its errno */
};
const char *io_result_text(int result);

struct loop;
struct op;
/* `data` is set by recv alone and lives until done returns. `more`: a multishot op goes on. */
typedef void op_done(struct op *op, int result, struct span data, bool more);

struct op {                           /* zeroed: idle */
  op_done *done;
  struct loop *loop;
  uint32_t slot;                      /* 0: idle; else place in the loop's table of ops in flight */
  uint8_t kind;
  bool cancelled;
  bool ready;                         /* the last recv left bytes behind, so the next need not poll first */
  int fd;
  unsigned mask;                      /* poll: the events asked for */
};
static inline bool op_busy(const struct op *op) { return op->slot != 0; }

enum { SEND_PARTS = 4 };
struct op_send {
  struct op op;
  /* The owner's: nothing has to start when this send is done, so the loop need not look before something else
     happens. Its done still runs before any other callback of the loop. A loop turn whose sends are all lazy
     costs one system call less; what waits for done (a close, the next part) is not lazy. */
  bool lazy;
  struct sending *way;                /* the loop's, while it is in flight */
};
struct sending {                      /* one of the loop's own; an idle socket has none */
  union { struct op_send *batch; struct sending *spare; } next;
  size_t wanted, sent;
  char *copy;
  uint32_t place;
  uint16_t lent;
  bool failed;
  struct msghdr msg;
  struct iovec parts[SEND_PARTS];     /* what is not sent yet */
};

/* A message from another thread: run(m) is called on the loop's thread. Embedded, posted once at a time. */
struct message {
  struct message *next;
  void (*run)(struct message *m);
};

struct loop_calls {
  bool simulated;                     /* its descriptors are not the kernel's */
  /* Multishot: done for every accepted descriptor (result), cloexec, TCP_NODELAY set where it applies.
     After an error with more=false the owner re-arms. */
  void (*accept)(struct loop *l, struct op *op, int fd);
  /* One-shot into a buffer of the loop's, lent for the time of done. `soon`: data is believed to be
     there already, else the socket is polled first. */
  void (*recv)(struct loop *l, struct op *op, int fd, bool soon);
  /* One-shot into the caller's own memory, which stays until done; result is the bytes, data is empty. */
  void (*recv_into)(struct loop *l, struct op *op, int fd, char *p, size_t n);
  /* Sends all of it; done once, with the total, or an error. The bytes stay until done, except that parts may point
     into data that a recv is lending right now: the loop keeps those, and copies what the peer does not take at once.
     Usually it completes within the turn that asked; a peer that does not read makes it wait. */
  void (*send)(struct loop *l, struct op_send *s, int fd, const struct iovec *parts, int count);
  void (*connect)(struct loop *l, struct op *op, int fd, const struct sockaddr *to, socklen_t n);
  /* Multishot poll; result is the poll mask. */
  void (*poll)(struct loop *l, struct op *op, int fd, unsigned mask);
  /* done will run with IO_CANCELLED (or with what came first). Idle ops are let be. */
  void (*cancel)(struct loop *l, struct op *op);
  int  (*socket)(struct loop *l, int family);                 /* stream socket, NODELAY; < 0: io_result */
  void (*shutdown)(struct loop *l, int fd, int how);
  void (*close)(struct loop *l, int fd);
  void (*turn)(struct loop *l, uint64_t most_ms);             /* submit, wait at most that long, complete */
  void (*wake)(struct loop *l);                               /* from any thread */
  void (*free)(struct loop *l);
};

struct loop {
  const struct loop_calls *calls;
  struct wheel wheel;
  uint64_t now_ns, now_ms;            /* monotonic, read once per turn */
  void (*turn_end)(struct loop *l);   /* before submitting: flush what callbacks left dirty */
  void *owner;
  /* posted messages: a lock-free stack, taken whole once per turn */
  struct message *posted;
  bool wake_sent;                     /* true: awake, or on its way there */
  uint64_t awake_ms;                  /* atomic: when this turn's wait ended; 0: it waits. For who looks whether it still turns */
  struct sending *spare_sends;        /* for the next ones */
  unsigned spare_send_count;
  unsigned in_flight;                 /* ops of owners; a loop is drained by turning it until this is 0 */
  struct {                            /* for metrics */
    uint64_t turns, enters, completions, no_buffers, short_sends, stale;
  } stats;
};

struct ring_options {
  unsigned entries;                   /* SQ size; 0 = 1024, halved on ENOMEM down to 256 */
  unsigned buffers, buffer_size;      /* provided buffers; 0 = 128 of 16384 bytes */
  bool plain;                         /* as on a kernel without DEFER_TASKRUN */
};
enum loop_kind { LOOP_ANY, LOOP_URING, LOOP_EPOLL };       /* any: io_uring, or epoll where that is refused */
bool loop_kind_read(struct span word, enum loop_kind *out);     /* "auto", "uring", "epoll" */
/* NULL and *why (static or thread-local text: which switch refuses io_uring and what to do) on failure. */
struct loop *loop_new(enum loop_kind kind, const struct ring_options *o, const char **why);
struct loop *ring_new(const struct ring_options *o, const char **why);      /* LOOP_URING */
/* What the kernel gave and, of epoll, why: "io_uring, DEFER_TASKRUN, …", "epoll, since io_uring disabled by …". */
const char *loop_description(const struct loop *l);
bool loop_substitute(const struct loop *l);             /* epoll, though nobody asked for it */

void loop_turn(struct loop *l);       /* one turn as the glossary says; waits until something happens */
/* From any thread. The loop must outlive the call, not only the run of the message: so threads that post to a loop
   have ended, or said so, before it is freed. */
void loop_post(struct loop *l, struct message *m);
/* Runs what was posted, oldest first: a part of every turn, and for who cleans up after a loop whose thread has ended. */
void loop_posted(struct loop *l);
/* No op may be in flight. On the loop's thread, or on another once that has ended. */
void loop_free(struct loop *l);
void loop_init(struct loop *l, const struct loop_calls *calls, uint64_t now_ns);   /* for backends */
void sending_take(struct loop *l, struct op_send *s, const struct iovec *parts, int count);   /* for backends: sets way, wanted, msg, parts */
void sending_back(struct loop *l, struct op_send *s);   /* and its copy goes */
void loop_woke(struct loop *l, uint64_t now_ns);      /* for backends: right after the wait, before any callback */

/* A socket with the ops it can have in flight, closed in the one safe order: shutdown, cancel what is
   in flight, wait for every last completion, close. */
struct sock {
  struct loop *loop;
  int fd;                             /* -1: none */
  bool closing;
  struct op recv, watch;
  struct op_send send;
  void (*closed)(struct sock *s);
  op_done *kept[3];                   /* private: the owners' done while closing; put back before `closed` */
  struct message ended;               /* private */
};
/* Starts closing: after this none of the owner's done callbacks runs, and `closed` runs exactly once,
   never inside this call, when the descriptor is closed and the memory may go. */
void sock_close(struct sock *s, void (*closed)(struct sock *s));

/* Listeners. spec: "127.0.0.1:8080", "[::1]:8080", "unix:/path". A descriptor of that address inherited
   from a service manager or a predecessor (LISTEN_FDS protocol, sd_listen_fds(3), WEIR_LISTEN_FDS) is used instead of
   binding. Unix sockets: a stale path of nobody is replaced. Gives the descriptor, or -1 and *why (in `text`). */
int listen_open(struct span spec, char *text, size_t text_size);
/* Removes the paths of Unix sockets that listen_open made, as far as they are still those sockets: at the end of the process. */
void listen_tidy(void);
bool listen_made(int fd);             /* its path is one of these; a successor knows them from WEIR_LISTEN_PATHS ("3,7") */
/* A connection that waits at a listener, or -1: for who has ended its accept while another process goes on accepting. The kernel wakes
   one of several rings for a connection; when that one has just ended, nobody else hears of it until the next one comes. */
int listen_next(int fd);
/* Closes what stands in WEIR_LISTEN_FDS and is not among these: nobody would serve who connects there. */
void listen_rest_close(const int *used, size_t count);
void listen_leave(void);              /* they are somebody else's to remove now: a successor's, which has the descriptors */
/* "127.0.0.1:41234" of a bound listener or a peer, for logs. */
struct span address_text(const struct sockaddr *a, socklen_t n, char *text, size_t size);
/* Splits "host:port", "[v6]:port"; false when it is neither. */
bool address_split(struct span spec, struct span *host, uint16_t *port);

/* Names to addresses (c-ares: hosts file, then A and AAAA) on a loop of a thread that may own it. Answers are cached
   by TTL (at least 1 s, at most 5 min; a failure 1 s) and shared by all threads. Families this machine has no route
   for are left out. A NULL resolver knows literals only: what a simulation uses. */
enum { RESOLVE_MOST = 16 };
struct address {
  struct sockaddr_storage to;
  socklen_t n;
};
struct resolver;
struct resolver *resolver_new(struct loop *l, const char **why);   /* NULL and *why on failure, and on a simulated loop */
/* Asks under way end as not found; its loop must turn until in_flight is 0 before it is freed. No other thread may
   use the resolver any more. */
void resolver_free(struct resolver *r);
/* Name servers to ask instead of the system's, "127.0.0.1:5353,…"; on the resolver's thread. */
bool resolver_servers(struct resolver *r, const char *servers);
/* Looks in the cache, from any thread: number of addresses with their port set (rotated from call to call so that one dead
   address does not meet everybody first), 0: not known (ask), -1: known to fail. Literals (v4, v6, also in
   brackets) are answered at once. */
int resolver_cached(struct resolver *r, struct span host, uint16_t port, struct address out[RESOLVE_MOST]);
struct resolve_ask {
  struct message message;             /* posted to the resolver's loop, and back */
  struct loop *back;                  /* done runs on this loop's thread */
  void (*done)(struct resolve_ask *a);   /* the owner's, set before asking */
  struct resolve_ask *next;           /* the resolver's: several may wait for one name */
  struct resolver *resolver;
  char host[256];
  bool found;
  char why[96];                       /* "NXDOMAIN for api.example", when not found */
};
/* From any thread: fills the cache, then runs done on `back`, never inside this call. Not cancellable; it always ends
   (5 s). */
void resolver_ask(struct resolver *r, struct resolve_ask *a, struct loop *back, struct span host);

/* The simulated loop: sockets in memory, time that moves only when everybody waits, all choices (order of completions, read
   sizes, short sends) from a seed. Single-threaded. */
struct sim_options {
  uint64_t seed;                      /* 0: no randomness: everything whole and in order */
  unsigned most_read;                 /* bytes per recv at most; 0 = 16384 */
  unsigned socket_buffer;             /* bytes in flight per direction; 0 = 65536 */
};
struct loop *sim_new(const struct sim_options *o);
/* A listener whose accept op gets what sim_connect makes; addresses are matched by port alone. */
int sim_listen(struct loop *l, uint16_t port);
/* A connection to a listener of the same simulation as an ordinary descriptor of it, for test peers that are not loop users:
   they write and read directly. */
int sim_connect(struct loop *l, uint16_t port);
/* The oldest connection waiting at a listener that has no accept op, or < 0. */
int sim_accept(struct loop *l, int listener);
size_t sim_write(struct loop *l, int fd, struct span bytes);     /* gives what fitted */
size_t sim_read(struct loop *l, int fd, char *p, size_t n, bool *ended);
void sim_reset(struct loop *l, int fd);                          /* as RST */
/* True while anything can still happen without new input from outside; loop_turn on an idle simulation returns at once. */
bool sim_busy(struct loop *l);
bool sim_ready(struct loop *l);                                  /* the same, without time passing */
unsigned sim_open(struct loop *l);                               /* descriptors in use, of both sides */

#endif
