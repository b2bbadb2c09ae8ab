#include "room.h"
#include <pthread.h>

/* weir.matcher { "needle", … }. The automaton is large (1 KB a node) and immutable, so all vms of the process
   that ask for the same needles share one; the place in it hangs on the exchange. */
struct shared_match {
  struct shared_match *next;
  size_t users;                                        /* under the lock */
  struct span needles;                                 /* all of them with their lengths: what names it */
  struct match *match;
};
struct held { struct held *next; struct shared_match *match; };
struct matcher {
  const void *tag;
  const struct match *match;
};
struct policy_feed {
  struct policy_feed *next;
  const struct match *match;
  const struct instance *instance;
  unsigned attempt;
  int choice;
  uint32_t state;
};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct shared_match *all;
static const char matcher_tag, metatable_key;
enum { BYTES_PER_STEP = 4, MOST_NEEDLES = 10000 };

/* ---- sharing */

static struct shared_match *shared_match_get(struct span key, const struct span *needles, size_t count) {
  struct shared_match *m;
  pthread_mutex_lock(&lock);
  for (m = all; m && !span_eq(m->needles, key); m = m->next) {}
  if (!m) {
    struct match *match = match_new(needles, count);
    if (match) {
      m = mem_zero(sizeof *m);
      *m = (struct shared_match){ all, 0, span_of(mem_cstr(key), key.n), match };
      all = m;
    }
  }
  if (m) m->users++;
  pthread_mutex_unlock(&lock);
  return m;
}

static void shared_match_drop(struct shared_match *m) {
  pthread_mutex_lock(&lock);
  if (!--m->users) {
    struct shared_match **at = &all;
    while (*at != m) at = &(*at)->next;
    *at = m->next;
    match_free(m->match);
    mem_free((char *)m->needles.p);
    mem_free(m);
  }
  pthread_mutex_unlock(&lock);
}

void matches_drop(struct policy_vm *pv) {
  for (struct held *h = pv->matches, *next; h; h = next) {
    next = h->next;
    shared_match_drop(h->match);
    mem_free(h);
  }
  pv->matches = NULL;
}

/* ---- weir.matcher */

static size_t check_needles(lua_State *L, struct span *needles, size_t count, struct buf *key) {
  for (size_t i = 0; i < count; i++) {
    if (lua_rawgeti(L, 1, (lua_Integer)i + 1) != LUA_TSTRING)
      luaL_error(L, "weir.matcher: needle %d is a %s, not a string", (int)i + 1, luaL_typename(L, -1));
    needles[i] = check_span(L, -1);
    if (!needles[i].n) luaL_error(L, "weir.matcher: needle %d is empty", (int)i + 1);
    buf_printf(key, "%zu:", needles[i].n);
    buf_add(key, needles[i]);
    lua_pop(L, 1);
  }
  return count;
}

static int matcher_call(lua_State *L) {
  struct policy_vm *pv = policy_of(L);
  check_phase(L, "weir.matcher (build it once, and keep it in a local)", IN_LOAD);
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  size_t count = lua_rawlen(L, 1);
  if (count > MOST_NEEDLES) return luaL_error(L, "weir.matcher: more than %d needles", MOST_NEEDLES);
  struct matcher *m = lua_newuserdatauv(L, sizeof *m, 1);
  struct span *needles = lua_newuserdatauv(L, count * sizeof *needles + 1, 0);
  struct buf *key = scratch_begin(pv);
  check_needles(L, needles, count, key);
  lua_settop(L, 2);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 2, 1);                          /* the needles as strings, to give back what was found */
  lua_rawgetp(L, LUA_REGISTRYINDEX, &metatable_key);
  struct shared_match *shared = count ? shared_match_get(buf_span(key), needles, count) : NULL;
  *m = (struct matcher){ &matcher_tag, shared ? shared->match : NULL };
  if (shared) {
    struct held *h = mem_alloc(sizeof *h);
    *h = (struct held){ pv->matches, shared };
    pv->matches = h;
  } else if (count) {
    return luaL_error(L, "weir.matcher: the needles are too many or too long (together at most 64 KB)");
  }
  lua_setmetatable(L, 2);
  return 1;
}

static struct matcher *check_matcher(lua_State *L, const char *call) {
  struct matcher *m = lua_touserdata(L, 1);
  if (!m || lua_type(L, 1) != LUA_TUSERDATA || lua_rawlen(L, 1) < sizeof *m || m->tag != &matcher_tag)
    luaL_error(L, "%s: call it with a colon on what weir.matcher gave", call);
  return m;
}

static struct span check_haystack(lua_State *L, int at, const char *call) {
  if (lua_type(L, at) != LUA_TSTRING) luaL_error(L, "%s: the text is a string, not a %s", call, luaL_typename(L, at));
  struct span text = check_span(L, at);
  vm_spend(L, text.n / BYTES_PER_STEP);
  return text;
}

/* The needle and where it begins, counted as string.find does; before 1 when an earlier feed held its start. */
static int push_found(lua_State *L, long needle, size_t end) {
  lua_getiuservalue(L, 1, 1);
  lua_rawgeti(L, -1, needle + 1);
  lua_pushinteger(L, (lua_Integer)end - (lua_Integer)lua_rawlen(L, -1) + 1);
  return 2;
}

static int find_call(lua_State *L) {
  struct matcher *m = check_matcher(L, "matcher:find(text)");
  struct span text = check_haystack(L, 2, "matcher:find(text)");
  uint32_t state = 0;
  size_t end = 0;
  long needle = m->match ? match_feed(m->match, &state, text, &end) : -1;
  if (needle < 0) return lua_pushnil(L), 1;
  return push_found(L, needle, end);
}

/* The place of this matcher in this exchange. Another attempt's answer begins anew; choices run side by side. */
static uint32_t *feed_state(const struct matcher *m, struct frame *f) {
  struct policy_req *req = f->subject->req;
  int choice = f->hook == HOOK_CHUNK ? f->subject->chunk->choice : 0;
  struct policy_feed *feed = req->feeds;
  while (feed && (feed->match != m->match || feed->instance != f->instance || feed->choice != choice))
    feed = feed->next;
  if (!feed) {
    feed = arena_alloc(req->arena, sizeof *feed);
    *feed = (struct policy_feed){ req->feeds, m->match, f->instance, req->attempts, choice, 0 };
    req->feeds = feed;
  }
  if (feed->attempt != req->attempts) feed->attempt = req->attempts, feed->state = 0;
  return &feed->state;
}

/* Reads all of the text whatever it finds, so that the next feed goes on from its end. */
static int feed_call(lua_State *L) {
  struct matcher *m = check_matcher(L, "matcher:feed(req, text)");
  struct frame *f = check_handle(L, 2, &kind_req, "matcher:feed(req, text)");
  struct span text = check_haystack(L, 3, "matcher:feed(req, text)");
  if (!m->match) return lua_pushnil(L), 1;
  uint32_t *state = feed_state(m, f);
  size_t end = 0, at = 0;
  long first = match_feed(m->match, state, text, &end);
  for (at = end; at < text.n; ) {
    size_t used = 0;
    match_feed(m->match, state, span_from(text, at), &used);
    at += used;
  }
  if (first < 0) return lua_pushnil(L), 1;
  return push_found(L, first, end);
}

static int unknown_method(lua_State *L) {
  static const char *const known[] = { "find", "feed" };
  if (lua_type(L, 2) != LUA_TSTRING)
    return luaL_error(L, "a matcher has no items; call matcher:find(text) or matcher:feed(req, text)");
  struct span word = check_span(L, 2);
  if (span_eq(word, SPAN("find"))) return lua_pushcfunction(L, find_call), 1;
  if (span_eq(word, SPAN("feed"))) return lua_pushcfunction(L, feed_call), 1;
  return refuse_unknown(L, "method of a matcher", word, known, 2);
}

void match_setup(lua_State *L) {
  static const luaL_Reg words[] = { { "matcher", matcher_call }, { NULL, NULL } };
  lua_newtable(L);
  lua_pushcfunction(L, unknown_method);
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, "matcher");
  lua_setfield(L, -2, "__name");
  lua_pushliteral(L, "matcher");
  lua_setfield(L, -2, "__metatable");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &metatable_key);
  luaL_setfuncs(L, words, 0);
}
