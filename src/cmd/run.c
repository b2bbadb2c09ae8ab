#include "cmd.h"
#include "../gateway/gateway.h"

int cmd_run(struct args *a) {
  struct run_options o = { .config = args_value(a, "--config"), .watch = args_flag(a, "--watch"), .tests = test_policies_of };
  return args_done(a, "run") ? gateway_run(&o) : 2;
}
