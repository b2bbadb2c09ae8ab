/* test_lua.h: the Lua side of a policy test. */
#ifndef WEIR_TEST_LUA_H
#define WEIR_TEST_LUA_H

#include "weir/mem.h"

/* The names of a test file's functions, one a line, sorted. False and *why when it does not load. */
bool test_names(const char *path, struct span text, struct buf *names, struct buf *why);
/* Runs one of them; policies are looked for in `folder`. False and *why when it fails. */
bool test_run(const char *path, struct span text, const char *folder, const char *name, struct buf *why);

#endif
