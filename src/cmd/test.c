/* test.c: weir test: runs x.test.lua files against the whole gateway on a simulated loop. doc/policies.md describes `t`. */
#include "cmd.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "scene.h"
#include "test_lua.h"
#include "weir/vm.h"

struct tally { unsigned passed, failed; };

static char *folder_of(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? mem_cstr(span_of(path, (size_t)(slash - path))) : mem_cstr(SPAN("."));
}

/* One test function in a vm of its own, so that nothing of one test reaches the next. */
static void run_one(const char *path, struct span text, const char *folder, const char *name, struct tally *tally) {
  struct buf why = { 0 };
  if (test_run(path, text, folder, name, &why)) {
    tally->passed++;
  } else {
    tally->failed++;
    fprintf(stdout, "FAILED %s: %s\n  %.*s\n", path, name, SPAN_FMT(buf_span(&why)));
  }
  buf_free(&why);
}

static void run_file(const char *path, struct tally *tally) {
  struct buf text = { 0 }, why = { 0 }, names = { 0 };
  char *folder = folder_of(path);
  if (!file_read(path, &text)) {
    printf("FAILED %s: cannot be read\n", path);
    tally->failed++;
  } else if (!test_names(path, buf_span(&text), &names, &why)) {
    printf("FAILED %s\n  %.*s\n", path, SPAN_FMT(buf_span(&why)));
    tally->failed++;
  }
  struct span left = buf_span(&names);
  while (left.n) {
    struct span one;
    left = span_cut(left, '\n', &one);
    char *name = mem_cstr(one);
    if (one.n) run_one(path, buf_span(&text), folder, name, tally);
    mem_free(name);
  }
  mem_free(folder);
  buf_free(&text);
  buf_free(&why);
  buf_free(&names);
}

static int is_test(const struct dirent *e) {
  struct span name = span_cstr(e->d_name);
  return span_ends(name, SPAN(".test.lua"));
}

static void run_path(const char *path, struct tally *tally) {
  struct stat st;
  struct dirent **list = NULL;
  if (stat(path, &st) || !S_ISDIR(st.st_mode)) {
    run_file(path, tally);
    return;
  }
  int n = scandir(path, &list, is_test, alphasort);
  for (int i = 0; i < n; i++) {
    struct buf file = { 0 };
    buf_printf(&file, "%s/%s", path, list[i]->d_name);
    char *name = mem_cstr(buf_span(&file));
    run_file(name, tally);
    mem_free(name);
    buf_free(&file);
    mem_free(list[i]);
  }
  mem_free(list);
}

/* On a thread of its own; the tests' gateways log nothing of theirs but what the process logs. */
bool test_policies_of(const struct conf *c, struct buf *errors) {
  bool good = true;
  vm_thread_enter();
  log_mute_thread(true);
  for (size_t i = 0; i < c->use_count; i++) {
    struct span source = c->uses[i].source->path;
    bool again = false;
    for (size_t k = 0; k < i; k++) again |= c->uses[k].source == c->uses[i].source;
    if (again || !span_ends(source, SPAN(".lua"))) continue;
    struct buf file = { 0 }, text = { 0 }, names = { 0 }, why = { 0 };
    buf_printf(&file, "%.*s.test.lua", (int)source.n - 4, source.p);
    char *path = mem_cstr(buf_span(&file)), *folder = folder_of(path);
    bool there = file_read(path, &text);
    if (there && !test_names(path, buf_span(&text), &names, &why)) {
      buf_printf(errors, "%s: %.*s\n", path, SPAN_FMT(buf_span(&why)));
      good = false;
    }
    for (struct span left = buf_span(&names), one; left.n;) {
      left = span_cut(left, '\n', &one);
      char *name = mem_cstr(one);
      buf_clear(&why);
      if (one.n && !test_run(path, buf_span(&text), folder, name, &why)) {
        buf_printf(errors, "%s: the test %s fails: %.*s\n", path, name, SPAN_FMT(buf_span(&why)));
        good = false;
      }
      mem_free(name);
    }
    mem_free(folder);
    mem_free(path);
    buf_free(&file);
    buf_free(&text);
    buf_free(&names);
    buf_free(&why);
  }
  log_mute_thread(false);
  return good;
}

int cmd_test(struct args *a) {
  struct tally tally = { 0 };
  log_set_level(args_flag(a, "--verbose") ? LOG_INFO : LOG_OFF);
  vm_thread_enter();
  if (!a->count) run_path("policies", &tally);
  for (int i = 0; i < a->count; i++) run_path(a->words[i], &tally);
  printf("%u passed, %u failed\n", tally.passed, tally.failed);
  return tally.failed != 0;
}
