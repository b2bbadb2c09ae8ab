/* Which files are read: the search order, include, policies, the hash, and what is watched. */
#include "rig.h"

#define LAB "provider \"vllm\" {}\n"

static void the_search_order(void **state) {
  (void)state;
  if (!access("/etc/weir/weir.lua", F_OK)) skip();
  rig_write("weir.lua", LAB "workers(1)");
  rig_write("other/mine.lua", LAB "workers(2)");
  rig_write("given.lua", LAB "workers(3)");
  struct loaded l = rig_load_file(NULL);
  assert_int_equal(l.conf->workers, 1);
  assert_span(l.conf->file, "weir.lua");
  conf_drop(l.conf);
  setenv("WEIR_CONFIG", "other/mine.lua", 1);
  l = rig_load_file(NULL);
  assert_int_equal(l.conf->workers, 2);
  assert_span(l.conf->sources.folder, "other");
  conf_drop(l.conf);
  l = rig_load_file("given.lua");
  assert_int_equal(l.conf->workers, 3);
  conf_drop(l.conf);
  setenv("WEIR_CONFIG", "none.lua", 1);
  l = rig_load_file(NULL);
  assert_string_equal(l.errors, "none.lua: No such file or directory\n");
  setenv("WEIR_CONFIG", "", 1);
  l = rig_load_file(NULL);
  assert_int_equal(l.conf->workers, 1);
  conf_drop(l.conf);
}

static void no_file_at_all(void **state) {
  (void)state;
  if (!access("/etc/weir/weir.lua", F_OK)) skip();
  struct loaded l = rig_load_file(NULL);
  assert_non_null(l.conf);
  assert_string_equal(l.warnings, "there is no provider: set OPENAI_API_KEY, or write provider \"openai\" { key = "
    "… }\n");
  assert_null(l.conf->default_provider);
  uint64_t print = 0;
  assert_false(conf_files_changed(l.conf, &print));
  rig_write("weir.lua", LAB);                                 /* a file that appears is noticed */
  assert_true(conf_files_changed(l.conf, &print));
  conf_drop(l.conf);
  assert_int_equal(remove("weir.lua"), 0);

  setenv("GROQ_API_KEY", "g", 1);
  setenv("ANTHROPIC_API_KEY", "a", 1);
  setenv("OPENAI_API_KEY", "o", 1);
  setenv("AZURE_OPENAI_API_KEY", "z", 1);                     /* no place to go to */
  setenv("XAI_API_KEY", "", 1);
  l = rig_load_file(NULL);
  assert_string_equal(l.warnings, "");
  assert_int_equal(l.conf->provider_count, 3);
  assert_span(l.conf->providers[0].name, "openai");
  assert_span(l.conf->providers[1].name, "anthropic");
  assert_span(l.conf->providers[2].name, "groq");
  assert_ptr_equal(l.conf->default_provider, &l.conf->providers[0]);
  assert_span(secret_use(l.conf->providers[2].endpoints->accounts->auth_line), "authorization: Bearer g\r\n");
  assert_span(l.conf->listeners[0].spec, "127.0.0.1:8080");
  assert_span(l.conf->file, "");
  assert_int_equal(strlen(l.conf->hash), 64);
  conf_drop(l.conf);

  unsetenv("OPENAI_API_KEY");
  l = rig_load_file(NULL);
  assert_span(l.conf->default_provider->name, "anthropic");
  conf_drop(l.conf);
  setenv("GROQ_API_KEY", "do-not-show\n", 1);
  l = rig_load_file(NULL);
  assert_string_equal(l.errors, "provider 'groq': environment variable 'GROQ_API_KEY' holds a control character\n");
  /* A file without a provider has those of the environment too. */
  setenv("GROQ_API_KEY", "g", 1);
  struct conf *c = rig_good("workers(1)");
  assert_int_equal(c->provider_count, 2);
  assert_null(c->default_provider);
  conf_drop(c);
}

static void includes(void **state) {
  (void)state;
  rig_write("teams/b.lua", "model \"b\" { \"vllm/b\" }\n");
  rig_write("teams/a.lua", "\nmodel \"a\" { \"vllm/a\" }\ninclude \"deep/*.lua\"");
  rig_write("teams/deep/x.lua", "model \"x\" { \"vllm/x\" }\n");
  rig_write("teams/.hidden.lua", "nonsense()");
  rig_write("teams/note.txt", "nonsense()");
  struct conf *c = rig_good(LAB "include \"teams/*.lua\"\ninclude \"nothing/*.lua\"\nmodel \"z\" { \"vllm/z\" }");
  assert_int_equal(c->alias_count, 4);
  assert_span(c->aliases[0].name, "a");
  assert_span(c->aliases[1].name, "x");
  assert_span(c->aliases[2].name, "b");
  assert_span(c->aliases[3].name, "z");
  const struct source *s = c->sources.list;
  assert_span(s->path, "weir.lua");
  assert_span(s->next->path, "teams/a.lua");
  assert_span(s->next->next->path, "teams/deep/x.lua");
  assert_span(s->next->next->next->path, "teams/b.lua");
  assert_null(s->next->next->next->next);
  conf_drop(c);

  /* Each file tells of its own mistakes, and the others are read all the same. */
  rig_write("teams/a.lua", "\nmodl \"a\" {}\n");
  rig_write("teams/b.lua", "model \"b\" {");
  rig_bad("include \"teams/*.lua\"\nworkers(0)", "weir.lua:2: workers must be from 1 to 1024, not 0\n"
          "teams/a.lua:2: unknown word 'modl'; did you mean 'model'?\nteams/b.lua:1: unexpected symbol near <eof>\n");
  rig_write("teams/a.lua", "local x = 1\nx.y = 2");
  rig_write("teams/b.lua", "");
  rig_bad("include \"teams/*.lua\"", "teams/a.lua:2: attempt to index a number value (local 'x')\n");
  rig_bad("include \"none.lua\"", "weir.lua:1: include \"none.lua\": No such file or directory\n");
  rig_bad("include(7)", "weir.lua:1: include takes a string: include \"teams/*.lua\"\n");
}

/* What cannot be looked into is not empty: the keys in it would be gone, and a listener on loopback open to all. */
static void folders_that_cannot_be_read(void **state) {
  (void)state;
  assert_int_equal(symlink("teams", "teams"), 0);
  rig_bad("include \"teams/*.lua\"", "weir.lua:1: include \"teams/*.lua\": Too many levels of symbolic links\n");
  assert_int_equal(symlink("keys", "keys"), 0);
  rig_bad(LAB, "weir.lua: the client keys in keys: Too many levels of symbolic links\n");
  assert_int_equal(remove("keys"), 0);
  struct conf *c = rig_good(LAB "include \"weir.lua/*.lua\"");
  uint64_t print = 0;
  assert_false(conf_files_changed(c, &print));
  assert_int_equal(symlink("keys", "keys"), 0);                /* --watch sees it come */
  assert_true(conf_files_changed(c, &print));
  conf_drop(c);
  assert_int_equal(remove("keys"), 0);
  assert_int_equal(remove("teams"), 0);

  /* A folder, a link that leads nowhere and a name with spaces among the files. */
  rig_write("teams/a b.lua", "model \"a\" { \"vllm/a\" }");
  c = rig_good(LAB "include \"teams/*.lua\"");
  assert_int_equal(c->alias_count, 1);
  conf_drop(c);
  assert_int_equal(symlink("nowhere", "teams/c.lua"), 0);
  rig_bad(LAB "include \"teams/*.lua\"", "weir.lua:2: include \"teams/c.lua\": No such file or directory\n");
  assert_int_equal(remove("teams/c.lua"), 0);
  assert_int_equal(mkdir("teams/d.lua", 0700), 0);
  rig_bad(LAB "include \"teams/*.lua\"", "weir.lua:2: include \"teams/d.lua\": it is no regular file\n");
}

static void includes_that_go_round(void **state) {
  char name[32], text[64];
  (void)state;
  rig_bad("include \"weir.lua\"", "weir.lua:1: include \"weir.lua\" leads back to a file that is being read\n");
  rig_write("a.lua", "include \"b.lua\"");
  rig_write("b.lua", "\ninclude \"./a.lua\"");
  rig_bad("include \"a.lua\"", "b.lua:2: include \"./a.lua\" leads back to a file that is being read\n");
  assert_int_equal(symlink("weir.lua", "link.lua"), 0);
  rig_bad("include \"link.lua\"", "weir.lua:1: include \"link.lua\" leads back to a file that is being read\n");
  for (int i = 0; i < 20; i++) {
    snprintf(name, sizeof name, "n%d.lua", i);
    snprintf(text, sizeof text, "include \"n%d.lua\"", i + 1);
    rig_write(name, text);
  }
  rig_bad("include \"n0.lua\"", "n15.lua:1: includes are nested deeper than 16\n");
  /* The clock holds for included files too. */
  rig_write("a.lua", "\nwhile true do end");
  rig_bad("include \"a.lua\"", "a.lua:2: stopped after 1000 ms of CPU time in one call\n");
}

static void long_names_in_messages(void **state) {
  const char *folder = "a-folder-with-a-name-that-is-long-enough-to-be-cut/by-the-lua-library-when-it-tells";
  char path[256], errors[512];
  (void)state;
  snprintf(path, sizeof path, "%s/weir.lua", folder);
  rig_write(path, "local x = nil\nx()");
  struct loaded l = rig_load_file(path);
  snprintf(errors, sizeof errors, "%s:2: attempt to call a nil value (local 'x')\n", path);
  assert_string_equal(l.errors, errors);
}

static const struct value *member(const struct value *table, const char *key) {
  for (size_t i = 0; i < table->count; i++)
    if (table->pairs[i].key.type == VALUE_STRING && span_eq(table->pairs[i].key.s,
      span_cstr(key))) return &table->pairs[i].value;
  fail_msg("no %s", key);
  return NULL;
}

static void options(void **state) {
  (void)state;
  rig_write("policies/p.lua", "return {}");
  struct conf *c = rig_good(LAB "use \"p\" { 10, 2.5, \"x\\0y\", zeta = true, alpha = { { b = 1 }, [3] = \"t\", [-1] "
    "= 0, [0.5] = false },\n"
                            "  cap = usd(2.5), tiny = usd \"0.000000000001\", as = \"mine\", day = days(1), text = "
                              "\"é\" }\n"
                            "use \"p\"\nuse \"p\" { as = \"third\" }");
  assert_int_equal(c->use_count, 3);
  const struct use *u = c->uses;
  assert_span(u->policy, "p");
  assert_span(u->name, "mine");
  assert_int_equal(u->line, 2);
  assert_span(u->file, "weir.lua");
  assert_span(u->source->path, "policies/p.lua");
  assert_span(u->source->bytes, "return {}");
  const struct value *o = &u->options;
  assert_int_equal(o->type, VALUE_TABLE);
  assert_int_equal(o->count, 9);
  assert_int_equal(o->pairs[0].key.i, 1);
  assert_int_equal(o->pairs[0].value.type, VALUE_INT);
  assert_int_equal(o->pairs[0].value.i, 10);
  assert_int_equal(o->pairs[1].value.type, VALUE_NUM);
  assert_true(o->pairs[1].value.d == 2.5);
  assert_true(span_eq(o->pairs[2].value.s, SPAN("x\0y")));
  assert_span(o->pairs[3].key.s, "alpha");                    /* then names, bytewise */
  assert_span(o->pairs[4].key.s, "cap");
  assert_span(o->pairs[8].key.s, "zeta");
  assert_true(member(o, "zeta")->b);
  assert_int_equal(member(o, "cap")->type, VALUE_MONEY);
  assert_int_equal(member(o, "cap")->i, 2500000000000);
  assert_int_equal(member(o, "tiny")->i, 1);
  assert_int_equal(member(o, "day")->i, 86400);
  assert_span(member(o, "text")->s, "é");
  const struct value *alpha = member(o, "alpha");             /* 1..n, numbers, names */
  assert_int_equal(alpha->count, 4);
  assert_int_equal(alpha->pairs[0].key.i, 1);
  assert_int_equal(member(&alpha->pairs[0].value, "b")->i, 1);
  assert_int_equal(alpha->pairs[1].key.i, -1);
  assert_int_equal(alpha->pairs[2].key.type, VALUE_NUM);
  assert_int_equal(alpha->pairs[3].key.i, 3);
  assert_span(c->uses[1].name, "p");
  assert_int_equal(c->uses[1].options.type, VALUE_TABLE);
  assert_int_equal(c->uses[1].options.count, 0);
  assert_int_equal(c->uses[2].options.count, 0);
  assert_ptr_equal(c->uses[2].source, u->source);             /* read once */
  conf_drop(c);
}

static void wrong_uses(void **state) {
  static const struct { const char *text, *errors; } list[] = {
    { "use \"p\"\nuse \"p\"", "weir.lua:2: use 'p': it is used at weir.lua:1 already; give this one a name of its "
      "own with as = \"…\"\n" },
    { "use \"p\" { as = \"x\" }\nuse \"q\" { as = \"x\" }", "weir.lua:2: use 'q': the name 'x' is taken by the use "
      "at weir.lua:1\n" },
    { "use \"p\" {\n  a = 1,\n  f = function() end }", "weir.lua:3: use 'p': a function cannot be an option of a "
      "policy\n" },
    { "use \"p\" { [true] = 1 }", "weir.lua:1: use 'p': a key that is neither a string nor a number cannot be an "
      "option of a policy\n" },
    { "local t = {} t.t = t use \"p\" { t = t }", "weir.lua:1: use 'p': a table nested this deep, or that holds "
      "itself, cannot be an option of a policy\n" },
    { "use \"p\" { as = \"a b\" }", "weir.lua:1: use 'p': as: a name has at most 64 letters, digits, '_', '-' and "
      "'.'\n" },
    { "use \"p\" { as = 7 }", "weir.lua:1: use 'p': as must be a string, not a number\n" },
    { "use \"qq\"", "weir.lua:1: use 'qq': it is not in policies/ beside weir.lua, nor among the shipped ones; did "
      "you mean 'q'?\n" },
    { "use \"../weir\"", "weir.lua:1: use '../weir': it is no name of a policy\n" },
    { "use \"p\" { cap = usd(-1) }", "weir.lua:1: usd(-1) is no amount of money\n" },
    { "use \"p\" { cap = usd(1/3) }", "weir.lua:1: usd(0.3333333333333333) has more than 12 decimals\n" },
    { "use \"p\" { cap = usd(1e10) }", "weir.lua:1: usd(1e+10) is more than 9,223,372 dollars\n" },
    { "use \"p\" { cap = usd {} }", "weir.lua:1: usd must be a number or its decimal text, not a table\n" },
  };
  (void)state;
  rig_write("policies/p.lua", "return {}");
  rig_write("policies/q.lua", "return {}");
  rig_write("policies/qqq.test.lua", "");
  for (size_t i = 0; i < sizeof list / sizeof *list; i++) rig_bad(list[i].text, list[i].errors);
}

static void where_policies_are(void **state) {
  (void)state;
  rig_write("shipped/one.lua", "return 1");
  rig_write("shipped/two.lua", "local u, v = require \"team/util\", require(\"no_such\")\nreturn 2");
  rig_write("conf/policies/two.lua", "return 3");
  rig_write("conf/policies/team/util.lua", "return 4");
  rig_write("conf/weir.lua", LAB "use \"one\"\nuse \"two\"");
  setenv("WEIR_POLICIES", "shipped", 1);
  struct loaded l = rig_load_file("conf/weir.lua");
  assert_string_equal(l.errors, "");
  assert_span(l.conf->uses[0].source->bytes, "return 1");
  assert_span(l.conf->uses[1].source->bytes, "return 3");
  assert_span(l.conf->uses[1].source->path, "conf/policies/two.lua");
  /* A nearer file that appears takes the place of the shipped one, so it is watched. */
  uint64_t print = 0;
  assert_false(conf_files_changed(l.conf, &print));
  rig_write("conf/policies/one.lua", "return 5");
  assert_true(conf_files_changed(l.conf, &print));
  conf_drop(l.conf);

  /* What a policy requires is read with it. */
  assert_int_equal(remove("conf/policies/two.lua"), 0);
  l = rig_load_file("conf/weir.lua");
  assert_true(span_ends(l.conf->uses[1].source->path, SPAN("/shipped/two.lua")));
  const struct source *last = l.conf->sources.list;
  while (last->next) last = last->next;
  assert_span(last->path, "conf/policies/team/util.lua");
  const char *why = NULL;
  assert_ptr_equal(sources_policy(&l.conf->sources, SPAN("team/util"), &why), last);
  assert_ptr_equal(sources_read(&l.conf->sources, SPAN("policies/team/util.lua"), &why), last);
  assert_null(sources_policy(&l.conf->sources, SPAN("no_such"), &why));
  assert_string_equal(why, "it is not in policies/ beside weir.lua, nor among the shipped ones");
  assert_null(sources_read(&l.conf->sources, SPAN("none.lua"), &why));
  assert_string_equal(why, "No such file or directory");
  conf_drop(l.conf);
}

static void the_hash_names_the_sources(void **state) {
  (void)state;
  rig_write("policies/p.lua", "return {}");
  const char *text = LAB "use \"p\"";
  struct conf *a = rig_good(text), *b = rig_good(text);
  assert_string_equal(a->hash, b->hash);
  conf_drop(b);
  rig_write("policies/p.lua", "return { }");
  b = rig_good(text);
  assert_string_not_equal(a->hash, b->hash);
  conf_drop(b);
  rig_write("policies/p.lua", "return {}");
  rig_write("elsewhere/policies/p.lua", "return {}");
  rig_write("elsewhere/weir.lua", text);
  struct loaded l = rig_load_file("elsewhere/weir.lua");
  assert_string_equal(a->hash, l.conf->hash);
  conf_drop(l.conf);
  conf_drop(a);
}

static void changed_files(void **state) {
  uint64_t print = 0, other = 0;
  (void)state;
  rig_write("teams/a.lua", "");
  rig_write("policies/p.lua", "return {}");
  rig_write("k", "x");
  assert_int_equal(chmod("k", 0600), 0);
  struct conf *c = rig_good("provider \"vllm\" { key = file \"k\" }\nuse \"p\"\ninclude \"teams/*.lua\"");
  assert_false(conf_files_changed(c, &print));
  assert_false(conf_files_changed(c, &print));
  const char *const paths[] = { "weir.lua", "policies/p.lua", "teams/a.lua", "k" };
  for (size_t i = 0; i < 4; i++) {
    FILE *f = fopen(paths[i], "a");
    fputs(" ", f);
    fclose(f);
    assert_true(conf_files_changed(c, &print));
    assert_false(conf_files_changed(c, &print));
  }
  rig_write("teams/b.lua", "");                               /* the set that the pattern names */
  assert_true(conf_files_changed(c, &print));
  assert_false(conf_files_changed(c, &print));
  rig_write("teams/b.txt", "");
  assert_false(conf_files_changed(c, &print));
  rig_write("keys/k.lua", "");                                /* always included */
  assert_true(conf_files_changed(c, &print));
  assert_false(conf_files_changed(c, &print));
  assert_int_equal(remove("teams/b.lua"), 0);
  assert_true(conf_files_changed(c, &print));
  assert_int_equal(rename("weir.lua", "w"), 0);
  assert_true(conf_files_changed(c, &print));
  assert_true(conf_files_changed(c, &other));                 /* zero stands for the load */
  assert_int_equal(print, other);
  conf_drop(c);
}

static void what_needs_a_restart(void **state) {
  struct buf out = { 0 };
  (void)state;
  struct conf *a = rig_good(LAB "workers(1) state \"/s\" runtime \"/r\"");
  struct conf *b = rig_good(LAB "workers(1) state \"/s\" runtime \"/r\" listen \"127.0.0.1:8080\" memory(mb(99)) log "
    "{ level = \"error\" }");
  assert_false(conf_restart_needed(a, b, &out));
  assert_int_equal(buf_size(&out), 0);
  conf_drop(b);
  b = rig_good(LAB "workers(2) state \"/s2\" runtime \"/r2\" listen \"127.0.0.1:8080\" listen \"[::1]:1\" admin "
    "\"127.0.0.1:1\"");
  assert_true(conf_restart_needed(a, b, &out));
  assert_span(buf_span(&out), "listen, admin, workers, state, runtime");
  conf_drop(b);
  buf_clear(&out);
  b = rig_good(LAB "workers(1) state \"/s\" runtime \"/r\" log { access = \"off\" }");
  assert_true(conf_restart_needed(a, b, &out));
  assert_span(buf_span(&out), "log.access");
  conf_drop(a);
  conf_drop(b);
  buf_clear(&out);
  b = rig_good(LAB "workers(2) state \"/s2\" runtime \"/r2\" listen \"127.0.0.1:8080\" listen \"[::1]:1\" admin "
    "\"127.0.0.1:1\"");
  a = rig_good(LAB "workers(2) state \"/s2\" runtime \"/r2\" listen \"127.0.0.1:8080\" listen \"[::1]:2\" admin "
    "\"127.0.0.1:1\"");
  assert_true(conf_restart_needed(a, b, &out));
  assert_span(buf_span(&out), "listen");
  conf_drop(a);
  conf_drop(b);
  buf_free(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(the_search_order, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(no_file_at_all, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(includes, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(includes_that_go_round, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(folders_that_cannot_be_read, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(long_names_in_messages, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(options, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(wrong_uses, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(where_policies_are, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(the_hash_names_the_sources, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(changed_files, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(what_needs_a_restart, rig_begin, rig_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
