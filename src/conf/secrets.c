/* Where secrets come from. Their bytes go from the environment, a file or a program straight into a
   struct secret: never into Lua's memory, a message, or an arena. */
#include "load.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST_SECRET = 64 << 10, MOST_ARGUMENTS = 64 };
static const char secret_name[] = "weir.secret";

/* ---- the value in Lua: an opaque box; empty when the secret could not be had */
static int box_free(lua_State *L) {
  struct secret **box = luaL_checkudata(L, 1, secret_name);
  secret_drop(*box);
  *box = NULL;
  return 0;
}

static int box_text(lua_State *L) {
  lua_pushliteral(L, "secret");
  return 1;
}

static struct secret **box_push(lua_State *L) {
  struct secret **box = lua_newuserdatauv(L, sizeof *box, 0);
  *box = NULL;
  if (luaL_newmetatable(L, secret_name)) {
    lua_pushcfunction(L, box_free);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, box_text);
    lua_setfield(L, -2, "__tostring");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
  }
  lua_setmetatable(L, -2);
  return box;
}

struct secret *secret_at(lua_State *L, int index, bool *is) {
  struct secret **box = luaL_testudata(L, index, secret_name);
  *is = box != NULL;
  return box ? *box : NULL;
}

/* NULL when the bytes cannot be a key: what is sent in a header must not be able to end it. */
static struct secret *secret_checked(struct span bytes, bool cut, const char **why) {
  while (cut && bytes.n && (bytes.p[bytes.n - 1] == '\n' || bytes.p[bytes.n - 1] == '\r')) bytes.n--;
  if (!bytes.n) return *why = "is empty", NULL;
  for (size_t i = 0; i < bytes.n; i++)
    if ((unsigned char)bytes.p[i] < 0x20 || bytes.p[i] == 0x7f) return *why = "holds a control character", NULL;
  return secret_new(bytes);
}

/* All bytes of a descriptor, at most LONGEST_SECRET, until its end or the time is over. */
struct taken { char bytes[LONGEST_SECRET + 1]; size_t n; };

static uint64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool wait_for(int fd, uint64_t until) {
  for (;;) {
    uint64_t now = now_ms();
    struct pollfd p = { fd, POLLIN, 0 };
    if (now >= until) return false;
    int n = poll(&p, 1, (int)(until - now));
    if (n > 0) return true;
    if (n < 0 && errno != EINTR) return false;
  }
}

static const char *take(int fd, struct taken *t, uint64_t until) {
  while (t->n <= LONGEST_SECRET) {
    if (until && !wait_for(fd, until)) return "took too long";
    ssize_t n = read(fd, t->bytes + t->n, sizeof t->bytes - t->n);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) return error_text(errno);
    if (!n) return NULL;
    t->n += (size_t)n;
  }
  return "is longer than 64 KB";
}

struct secret *file_secret(const char *path, bool guarded, const char **why) {
  struct stat st;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return *why = error_text(errno), NULL;
  *why = fstat(fd, &st) ? error_text(errno) : !S_ISREG(st.st_mode) ? "is no regular file" : NULL;
  if (!*why && guarded && st.st_mode & S_IROTH) *why = "may be read by everybody; take that away with chmod o-rwx";
  struct taken *t = *why ? NULL : mem_zero(sizeof *t);
  struct secret *secret = NULL;
  if (t) *why = take(fd, t, 0);
  if (t && !*why) secret = secret_checked(span_of(t->bytes, t->n), true, why);
  if (t) secret_wipe(t, sizeof *t);
  mem_free(t);
  close(fd);
  return secret;
}

/* ---- programs */
/* A process group of its own, so that what the program started ends with it; default signals; its
   complaints go nowhere, since they may quote what it handles. */
static int program_start(char *const *arguments, int out, pid_t *pid) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  int error = posix_spawnp(pid, arguments[0], &files, &attributes, arguments, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  return error;
}

static const char *program_end(pid_t pid, uint64_t until, bool failed) {
  int status = 0, fd = (int)syscall(SYS_pidfd_open, pid, 0);
  bool ended = !failed && fd >= 0 && wait_for(fd, until);
  if (fd >= 0) close(fd);
  kill(-pid, SIGKILL);                             /* what is left of its group; none when all went well */
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return "cannot be waited for";
  if (failed) return NULL;
  if (!ended) return "took too long";
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? NULL : "failed";
}

struct secret *command_secret(char *const *arguments, unsigned limit_ms, const char **why) {
  int ends[2], error;
  pid_t pid;
  uint64_t until = now_ms() + limit_ms;
  struct secret *secret = NULL;
  if (pipe2(ends, O_CLOEXEC)) return *why = error_text(errno), NULL;
  error = program_start(arguments, ends[1], &pid);
  close(ends[1]);
  if (error) return close(ends[0]), *why = error_text(error), NULL;
  struct taken *t = mem_zero(sizeof *t);
  *why = take(ends[0], t, until);
  close(ends[0]);
  const char *end = program_end(pid, until, *why != NULL);
  if (!*why) *why = end;
  if (!*why) secret = secret_checked(span_of(t->bytes, t->n), true, why);
  secret_wipe(t, sizeof *t);
  mem_free(t);
  return secret;
}

struct secret *secret_from_environment(const char *name, const char **why) {
  return secret_checked(span_cstr(getenv(name)), false, why);
}

/* ---- the words */
/* A load that only looks back needs no secret, but that there is one. */
static bool stands_in(struct load *l, struct secret **box) {
  if (l->story) *box = secret_new(SPAN("stand-in"));
  return l->story;
}

int word_env(lua_State *L) {
  struct load *l = word_enter(L);
  struct span name;
  const char *why;
  struct secret **box = (lua_settop(L, 1), box_push(L));
  if (!argument_name(l, "env", "env \"OPENAI_API_KEY\"", &name) || stands_in(l, box)) return 1;
  if (!getenv(name.p)) problem_add(l, "environment variable '%s' is not set", name.p);
  else if (!(*box = secret_from_environment(name.p, &why)))
    problem_add(l, "environment variable '%s' %s", name.p, why);
  return 1;
}

int word_credential(lua_State *L) {
  struct load *l = word_enter(L);
  struct span name;
  const char *why, *folder = getenv("CREDENTIALS_DIRECTORY");
  struct secret **box = (lua_settop(L, 1), box_push(L));
  if (!argument_name(l, "credential", "credential \"openai\"", &name) || stands_in(l, box)) return 1;
  if (memchr(name.p, '/', name.n) || name.p[0] == '.') {
    problem_add(l, "credential '%s' must be a plain name", name.p);
  } else if (!folder || !*folder) {
    problem_add(l, "credential '%s': CREDENTIALS_DIRECTORY is not set; systemd sets it for LoadCredential=", name.p);
  } else {
    struct span path = path_join(&l->scratch, span_cstr(folder), name);
    watch_add(l->conf, path, false);
    if (!(*box = file_secret(path.p, false, &why))) problem_add(l, "credential '%s': %s", name.p, why);
  }
  return 1;
}

int word_file(lua_State *L) {
  struct load *l = word_enter(L);
  struct span name;
  const char *why;
  struct secret **box = (lua_settop(L, 1), box_push(L));
  if (!argument_name(l, "file", "file \"/etc/weir/openai.key\"", &name) || stands_in(l, box)) return 1;
  struct span path = path_join(&l->scratch, path_folder(l->at.source->path), name);
  watch_add(l->conf, path, false);
  if (!(*box = file_secret(path.p, true, &why))) problem_add(l, "secret file '%s': %s", path.p, why);
  else secret_origin(l, *box, path.p, NULL);
  return 1;
}

int word_command(lua_State *L) {
  struct load *l = word_enter(L);
  const char *why = "takes its program and arguments: command { \"pass\", \"show\", \"openai\" }";
  char *arguments[MOST_ARGUMENTS + 1] = { 0 };
  struct secret **box = (lua_settop(L, 1), box_push(L));
  lua_insert(L, 1);
  size_t count = lua_istable(L, 2) ? lua_rawlen(L, 2) : 0;
  if (sink_is(L, 2)) return lua_settop(L, 1), 1;
  bool good = count && count <= MOST_ARGUMENTS;
  for (size_t i = 0; good && i < count; i++) {
    lua_rawgeti(L, 2, (lua_Integer)i + 1);
    good = lua_type(L, -1) == LUA_TSTRING && strlen(lua_tostring(L, -1)) == lua_rawlen(L, -1);
    if (good) arguments[i] = arena_cstr(&l->scratch, span_cstr(lua_tostring(L, -1)));
    lua_pop(L, 1);
  }
  lua_settop(L, 1);
  if (!good || !*arguments[0]) problem_add(l, "command %s", why);
  else if (stands_in(l, box)) return 1;
  else if (!(*box = command_secret(arguments, COMMAND_MS, &why))) problem_add(l, "command '%s': %s", arguments[0], why);
  else secret_origin(l, *box, NULL, arguments);
  return 1;
}

/* ---- as a field */
static void secret_release(void *secret) { secret_drop(secret); }

struct secret *secret_kept(struct load *l, struct secret *secret) {
  arena_on_end(&l->conf->arena, secret_release, secret_ref(secret));
  return secret;
}

static void account_add(struct load *l, const char *name, struct accounts *out) {
  bool is;
  struct secret *secret = secret_at(l->lua, -1, &is);
  if (!is) problem_type(l, name, SECRET_FORMS);
  if (!secret) return;
  out->keys = list_add(&l->conf->arena, out->keys, &out->count, sizeof *out->keys);
  out->keys[out->count - 1] = secret_kept(l, secret);
}

bool read_accounts(struct load *l, const struct field *f, void *into) {
  struct accounts *out = (struct accounts *)((char *)into + f->offset);
  lua_State *L = l->lua;
  out->given = true;
  if (!lua_istable(L, -1)) return account_add(l, f->name, out), true;
  size_t count = lua_rawlen(L, -1);
  if (!count) return problem_add(l, "%s is an empty list", f->name), false;
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, -1, (lua_Integer)i + 1);
    account_add(l, f->name, out);
    lua_pop(L, 1);
  }
  return true;
}
