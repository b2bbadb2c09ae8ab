/* The file: made, mapped, and who of its users is alive. A process is alive while it holds the lock on its own byte of the
   file, beyond all that is mapped: the kernel drops it with the last descriptor, whatever became of the process's number. */
#include "room.h"
#include "weir/log.h"
#include "weir/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OPEN_PATIENCE_MS = 2000 };
static const int64_t BYTES_AT = 1LL << 40;

static struct flock byte_of(int64_t n) {
  return (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = BYTES_AT + n, .l_len = 1 };
}

bool byte_lock(const struct cells *c, int64_t n) {
  struct flock l = byte_of(n);
  return fcntl(c->fd, F_OFD_SETLK, &l) == 0;
}

static void byte_unlock(const struct cells *c, int64_t n) {
  struct flock l = byte_of(n);
  l.l_type = F_UNLCK;
  fcntl(c->fd, F_OFD_SETLK, &l);
}

static bool byte_held(const struct cells *c, int64_t n) {              /* by another */
  struct flock l = byte_of(n);
  return fcntl(c->fd, F_OFD_GETLK, &l) != 0 || l.l_type != F_UNLCK;
}

static bool wait_for(struct cells *c, bool (*got)(struct cells *c)) {
  for (int i = 0; i < OPEN_PATIENCE_MS / 5; i++) {
    if (got(c)) return true;
    nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
  }
  return false;
}

static bool door_lock(struct cells *c) { return byte_lock(c, DOOR_BYTE); }

static void boot_id(char out[48]) {
  memset(out, 0, 48);
  int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (read(fd, out, 47) < 0) out[0] = 0;
  close(fd);
}

static bool file_ours(const struct file *f) {
  char boot[48];
  boot_id(boot);
  return memcmp(f->magic, FILE_MAGIC, sizeof f->magic) == 0 && f->layout == file_layout() && memcmp(f->boot, boot, sizeof boot) == 0;
}

static bool anyone_alive(const struct cells *c) {
  for (int64_t i = 0; i < INSTANCES; i++)
    if (byte_held(c, i)) return true;
  return false;
}

/* Nobody else has it mapped. What another boot or another program left is thrown away. */
static const char *file_make(struct cells *c) {
  struct file *f = c->f;
  if (ftruncate(c->fd, 0) || ftruncate(c->fd, (off_t)file_size())) return "the file cannot be made as large as it may grow (sparse)";
  if (posix_fallocate(c->fd, 0, (off_t)item_specs[ITEM_SLOT].at)) return "no space for it on its file system";
  f->layout = file_layout();
  boot_id(f->boot);
  if (getrandom(&f->seed, sizeof f->seed, 0) != sizeof f->seed) return "the system gives no random bytes";
  for (int k = 0; k < ITEM_KINDS; k++)
    if (!item_ready(c, (enum item_kind)k)) return "no space for it on its file system";
  commit(c);
  if (!lock_init(f)) return "the C library has no robust locks";
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  memcpy(f->magic, FILE_MAGIC, sizeof f->magic);
  return NULL;
}

static bool file_locked(struct cells *c) { return lock_take(c); }

/* Nobody is alive: a lock that still looks held is nobody's, and its owner's step is undone. */
static const char *file_take_over(struct cells *c, bool alone) {
  if (alone) {
    undo(c);
    __atomic_store_n(&c->f->asked, 0, __ATOMIC_RELAXED);
    return lock_init(c->f) ? NULL : "the C library has no robust locks";
  }
  if (!wait_for(c, file_locked)) return "another weir holds its lock and does not move (is it stopped?)";
  lock_drop(c);
  return NULL;
}

/* Under the door's lock, so no byte changes hands meanwhile but by dying. */
static size_t bury(struct cells *c) {
  size_t n = 0;
  if (!lock_take(c)) return 0;
  for (int64_t i = 0; i < INSTANCES; i++)
    if (i != c->instance && c->f->instances[i] && !byte_held(c, i)) n += settle_dead(c, i);
  lock_drop(c);
  return n;
}

static const char *instance_take(struct cells *c) {
  for (int64_t i = 0; i < INSTANCES; i++) {
    if (__atomic_load_n(&c->f->instances[i], __ATOMIC_ACQUIRE) || !byte_lock(c, i)) continue;
    c->instance = i;
    if (!lock_take(c)) return "another weir holds its lock and does not move (is it stopped?)";
    put(c, &c->f->instances[i], 1);
    lock_drop(c);
    return NULL;
  }
  return "too many processes use it";
}

static const char *enter(struct cells *c, struct cells_opened *out) {
  const char *why;
  struct stat st;
  if (!wait_for(c, door_lock)) return "another weir is opening it";
  bool alone = !anyone_alive(c);
  out->fresh = fstat(c->fd, &st) || (size_t)st.st_size != file_size() || !file_ours(c->f);
  if (out->fresh && !alone) why = "a running weir of another version uses it";
  else why = out->fresh ? file_make(c) : file_take_over(c, alone);
  if (!why) bury(c);
  if (!why) why = instance_take(c);
  if (!why) out->orphans = (size_t)c->f->orphan_count;
  byte_unlock(c, DOOR_BYTE);
  return why;
}

struct cells *cells_open(const char *path, struct cells_opened *out, const char **why) {
  static _Thread_local char text[512];
  struct cells *c = mem_zero(sizeof *c);
  *out = (struct cells_opened){ 0 };
  c->instance = -1;
  c->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  c->base = c->fd < 0 ? MAP_FAILED : mmap(NULL, file_size(), PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
  c->f = (struct file *)(void *)c->base;
  const char *wrong = c->base == MAP_FAILED ? strerror(errno) : enter(c, out);
  if (!wrong) return c;
  snprintf(text, sizeof text, "%s: %s", path, wrong);
  *why = text;
  cells_close(c);
  return NULL;
}

/* The descriptor goes first: with it the bytes, so that whoever comes finds us gone and settles what is open. */
void cells_close(struct cells *c) {
  if (!c) return;
  if (c->fd >= 0) close(c->fd);
  if (c->base != MAP_FAILED) munmap(c->base, file_size());
  mem_free(c);
}

size_t cells_tend(struct cells *c) {
  size_t n = 0;
  if (door_lock(c)) {
    n = bury(c);
    byte_unlock(c, DOOR_BYTE);
  }
  return n;
}
