/* test_json_fixtures.h: recorded provider answers for the tests of JSON and SSE. They are not part of
   the project: looked for in $WEIR_FIXTURES or ../shared/fixtures, and done without when absent. */
#ifndef TEST_JSON_FIXTURES_H
#define TEST_JSON_FIXTURES_H

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include "weir/mem.h"

/* Runs each(path, content) for every file that ends in `suffix`; gives how many there were. */
static inline size_t fixtures_each(const char *suffix, void (*each)(const char *path, struct span content)) {
  const char *given = getenv("WEIR_FIXTURES");
  char pattern[512];
  glob_t found;
  size_t count = 0;
  snprintf(pattern, sizeof pattern, "%s/*/*%s", given ? given : "../shared/fixtures", suffix);
  if (glob(pattern, 0, NULL, &found) != 0) {
    printf("no fixtures at %s: skipped\n", pattern);
    return 0;
  }
  for (; count < found.gl_pathc; count++) {
    struct buf b = { 0 };
    FILE *f = fopen(found.gl_pathv[count], "rb");
    for (size_t n = 1; f && n; buf_commit(&b, n)) n = fread(buf_reserve(&b, 65536), 1, 65536, f);
    if (f) fclose(f);
    each(found.gl_pathv[count], buf_span(&b));
    buf_free(&b);
  }
  globfree(&found);
  return count;
}

#endif
