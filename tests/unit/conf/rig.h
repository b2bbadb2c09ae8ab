/* rig.h: a folder of one's own for a test of the configuration, with files written into it. The tests
   run inside that folder, so that messages carry short names. */
#ifndef CONF_RIG_H
#define CONF_RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weir/conf.h"

static char rig_folder[64];

static inline int rig_remove(const char *path, const struct stat *st, int kind, struct FTW *f) {
  (void)st, (void)kind, (void)f;
  return remove(path);
}

/* Variables that the machine may have set and that would answer in place of the test. */
static inline int rig_begin(void **state) {
  static const char *const variables[] = {
    "WEIR_CONFIG", "WEIR_POLICIES", "CREDENTIALS_DIRECTORY", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR",
    "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY",
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK", "AWS_REGION", "AWS_DEFAULT_REGION",
  };
  (void)state;
  for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) unsetenv(variables[i]);
  for (size_t i = 0; catalogue_at(i); i++)
    if (catalogue_at(i)->key_variable) unsetenv(catalogue_at(i)->key_variable);
  snprintf(rig_folder, sizeof rig_folder, "/tmp/weir-conf-XXXXXX");
  assert_non_null(mkdtemp(rig_folder));
  assert_int_equal(chdir(rig_folder), 0);
  setenv("SECRET_A", "sk-do-not-show-1", 1);
  setenv("SECRET_B", "sk-do-not-show-2", 1);
  return 0;
}

static inline int rig_end(void **state) {
  (void)state;
  assert_int_equal(chdir("/"), 0);
  return nftw(rig_folder, rig_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* How weir names a file or folder that was given relative to the test's folder. */
static inline const char *rig_path(const char *name) {
  static char path[256];
  snprintf(path, sizeof path, "%s/%s", rig_folder, name);
  return path;
}

static inline void rig_write(const char *path, const char *text) {
  char folder[256];
  snprintf(folder, sizeof folder, "%s", path);
  for (char *p = folder + 1; (p = strchr(p, '/')); p++) {
    *p = 0;
    assert_true(mkdir(folder, 0755) == 0 || errno == EEXIST);
    *p = '/';
  }
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0);
  assert_int_equal(fclose(f), 0);
}

struct loaded {
  struct conf *conf;
  char errors[8192], warnings[4096];
};

static inline void rig_text(struct buf *from, char *to, size_t size) {
  assert_true(buf_size(from) < size);
  if (buf_size(from)) memcpy(to, from->p + from->at, buf_size(from));
  to[buf_size(from)] = 0;
  buf_free(from);
}

static inline struct loaded rig_load_file(const char *file) {
  struct buf errors = { 0 }, warnings = { 0 };
  struct loaded l;
  l.conf = conf_load(file, &errors, &warnings);
  rig_text(&errors, l.errors, sizeof l.errors);
  rig_text(&warnings, l.warnings, sizeof l.warnings);
  assert_true(!l.conf == (l.errors[0] != 0));
  assert_null(strstr(l.errors, "do-not-show"));
  assert_null(strstr(l.warnings, "do-not-show"));
  return l;
}

static inline struct loaded rig_load(const char *text) {
  rig_write("weir.lua", text);
  return rig_load_file("weir.lua");
}

/* A conf that must load, without a warning. */
static inline struct conf *rig_good(const char *text) {
  struct loaded l = rig_load(text);
  if (!l.conf || *l.warnings) fail_msg("%s\n%s%s", text, l.errors, l.warnings);
  return l.conf;
}

/* What must be refused, with exactly this text. */
static inline void rig_bad(const char *text, const char *errors) {
  struct loaded l = rig_load(text);
  conf_drop(l.conf);
  if (strcmp(l.errors, errors)) fail_msg("%s\ngives\n%sbut not\n%s", text, l.errors, errors);
}

#define assert_span(given, text) do { \
  struct span span_ = (given); \
  if (!span_eq(span_, span_cstr(text))) fail_msg("'%.*s' is not '%s'", SPAN_FMT(span_), text); \
} while (0)

#endif
