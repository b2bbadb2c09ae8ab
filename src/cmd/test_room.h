/* test_room.h: what the files of a policy test share.
     test_lua.c        the words of t, and the driver
     test_value.c      Lua values as text of weir.lua, as JSON, and back
     test_script.c     what scripted providers and fetched services say, and what they were sent */
#ifndef WEIR_TEST_ROOM_H
#define WEIR_TEST_ROOM_H

#include "scene.h"
#include "weir/vm.h"

enum { FIRST_PORT = 20000, MOST_PROVIDERS = 32, CALL_MS = 1000, MOST_DEPTH = 64 };

/* Answers in their order: the last one goes on. `answers` is a registry reference to a list of tables. */
struct reply_to { struct reply_to *next; struct url url; struct span text; int answers; unsigned at; };
struct upstream_script { struct upstream_script *next; struct span target; int answers; unsigned at; };
struct test {
  struct arena arena;
  struct vm *vm;
  lua_State *L;                       /* registry access */
  const char *folder;
  struct scene *scene;
  struct buf uses;                    /* lines of weir.lua */
  struct span providers[MOST_PROVIDERS];
  struct buf models[MOST_PROVIDERS];  /* what t.model says of theirs, as text of weir.lua */
  size_t provider_count;
  struct upstream_script *scripts;
  struct reply_to *replies;
  struct buf ended_notes;             /* of the exchange that ended last, as JSON */
  struct span ended_word;
  struct buf sent, fetched;           /* during the request that is asked: JSON objects with commas between */
  struct buf log;                     /* its lines */
};

/* Options as weir.lua has them; raises on what is no plain data. */
void test_write_value(lua_State *L, int i, struct buf *out, int depth);
/* Raises nothing: what JSON cannot say is null. */
void test_write_json(lua_State *L, int i, struct buf *out, int depth);
void test_push_json(lua_State *L, struct json v, struct arena *a);
/* Of the table at stack index i. */
bool test_field_text(lua_State *L, int i, const char *name, struct arena *a, struct span *out);
double test_field_number(lua_State *L, int i, const char *name, double absent);

/* Two scene_answer_fn; arg is the test. */
void test_provider_answers(void *arg, const struct http_head *head, struct span body, struct scene_reply *out);
void test_fetch_answers(void *arg, const struct http_head *head, struct span body, struct scene_reply *out);

#endif
