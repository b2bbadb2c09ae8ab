/* Every example of doc/policies.md is a file that loads: the policies together, used by the page's own weir.lua. */
#include "rig.h"
#include <sys/stat.h>

static struct span page_read(struct arena *a) {
  static const char *const places[] = { "doc/policies.md", "../doc/policies.md" };
  for (size_t i = 0; i < 2; i++) {
    FILE *f = fopen(places[i], "r");
    if (!f) continue;
    char *text = arena_alloc(a, 1 << 20);
    size_t n = fread(text, 1, 1 << 20, f);
    fclose(f);
    return span_of(text, n);
  }
  return (struct span){ NULL, 0 };
}

struct example { struct span name, text; };

/* The next fenced Lua block; its first line is a comment that names the file. */
static bool example_next(struct span *page, struct example *out) {
  size_t at = span_search(*page, SPAN("\n```lua\n"));
  if (at == page->n) return false;
  *page = span_from(*page, at + 8);
  out->text = span_of(page->p, span_search(*page, SPAN("\n```\n")) + 1);
  *page = span_from(*page, out->text.n);
  struct span first;
  span_cut(out->text, '\n', &first);
  if (!span_starts(first, SPAN("-- ")))
    fail_msg("an example begins with '%.*s', not with a comment that names its file", SPAN_FMT(first));
  out->name = span_from(first, 3);
  return true;
}

static void file_write(const char *folder, struct span name, struct span text) {
  char path[300];
  snprintf(path, sizeof path, "%s/%.*s", folder, SPAN_FMT(name));
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  assert_int_equal(fwrite(text.p, 1, text.n, f), text.n);
  fclose(f);
}

static void load_with_use(const char *folder, struct span name) {
  char path[300], uses[400];
  struct buf errors = { 0 }, warnings = { 0 };
  snprintf(uses, sizeof uses,
           "provider \"lab\" { dialect = \"chat\", url = \"http://127.0.0.1:8000/v1\" }\nuse \"%.*s\"\n",
           SPAN_FMT(name));
  file_write(folder, SPAN("try.lua"), span_cstr(uses));
  snprintf(path, sizeof path, "%s/try.lua", folder);
  struct conf *conf = conf_load(path, &errors, &warnings);
  if (!conf) fail_msg("%.*s", SPAN_FMT(buf_span(&errors)));
  struct policy_vm *vm = policy_vm_new(conf, &errors, &warnings);
  if (!vm) fail_msg("%.*s: %.*s", SPAN_FMT(name), SPAN_FMT(buf_span(&errors)));
  if (buf_size(&warnings)) fail_msg("%.*s: %.*s", SPAN_FMT(name), SPAN_FMT(buf_span(&warnings)));
  bool hooks = false;
  for (int h = 0; h < HOOK_COUNT; h++) hooks |= policy_has(vm, (enum hook)h);
  assert_true(hooks);
  policy_vm_free(vm);
  conf_drop(conf);
  buf_free(&errors);
  buf_free(&warnings);
}

static void load_whole(const char *folder) {
  char path[300];
  struct buf errors = { 0 }, warnings = { 0 };
  snprintf(path, sizeof path, "%s/weir.lua", folder);
  struct conf *conf = conf_load(path, &errors, &warnings);
  if (!conf) fail_msg("%.*s", SPAN_FMT(buf_span(&errors)));
  struct policy_vm *vm = policy_vm_new(conf, &errors, &warnings);
  if (!vm) fail_msg("%.*s", SPAN_FMT(buf_span(&errors)));
  policy_vm_free(vm);
  conf_drop(conf);
  buf_free(&errors);
  buf_free(&warnings);
}

static void test_examples_load(void **state) {
  (void)state;
  struct arena a = { 0 };
  struct example examples[40];
  size_t count = 0, policies = 0;
  char folder[] = "/tmp/weir-doc-XXXXXX", path[300], shipped[4096];
  struct span page = page_read(&a);
  if (!page.p) {
    print_message("skipped: doc/policies.md is not below the working folder\n");
    skip();
  }
  vm_thread_enter();
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/policies", folder);
  assert_int_equal(mkdir(path, 0700), 0);
  assert_non_null(realpath("policies", shipped));
  setenv("WEIR_POLICIES", shipped, 1);
  while (count < 40 && example_next(&page, &examples[count]))
    file_write(folder, examples[count].name, examples[count].text), count++;
  for (size_t i = 0; i < count; i++) {
    struct span name = examples[i].name;
    if (!span_starts(name, SPAN("policies/")) || span_ends(name, SPAN(".test.lua")) ||
        span_eq(name, SPAN("policies/util.lua")))
      continue;
    load_with_use(folder, span_of(name.p + 9, name.n - 9 - 4));
    policies++;
  }
  assert_true(policies >= 8);
  load_whole(folder);
  char command[320];
  snprintf(command, sizeof command, "rm -r %s", folder);
  assert_int_equal(system(command), 0);
  arena_end(&a);
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test(test_examples_load) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
