#include "cmd.h"
#include <stdio.h>
#include "../gateway/gateway.h"

int cmd_run(struct args *a) {
  struct run_options o = { .config = args_value(a, "--config"), .watch = args_flag(a, "--watch"), .tests = test_policies_of };
  const char *loop = args_value(a, "--loop");
  if (loop && !loop_kind_read(span_cstr(loop), &o.loop)) {
    fprintf(stderr, "weir run: --loop is auto, uring or epoll, not '%s'\n", loop);
    return 2;
  }
  return args_done(a, "run") ? gateway_run(&o) : 2;
}
