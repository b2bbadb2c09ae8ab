#include "cmd.h"
#include <ares.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <lua.h>
#include "weir/io.h"

int cmd_version(struct args *a) {
  if (!args_done(a, "version")) return 2;
  struct ring_options o = { .entries = 256, .buffers = 8, .buffer_size = 4096 };
  const char *why = NULL;
  struct utsname u;
  struct loop *l = loop_new(LOOP_ANY, &o, &why);
  uname(&u);
  printf("weir %s\n", WEIR_VERSION);
  printf("loop   %s\n", l ? loop_description(l) : why);
  printf("kernel %s %s\n", u.sysname, u.release);
  printf("with   %s, c-ares %s, BearSSL 0.6 (TLS 1.2)\n", LUA_RELEASE, ares_version(NULL));
  if (l) loop_free(l);
  return 0;
}
