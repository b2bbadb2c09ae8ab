#include "cmd.h"
#include <stdio.h>

int cmd_test(struct args *a) {
  (void)a;
  fprintf(stderr, "weir test is not in this version\n");
  return 2;
}
