/* key: what it gives, what is said when it is wrong, the folder keys/, and which listeners ask. */
#include "rig.h"

#define LAB "provider \"vllm\" {}\n"
#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B64 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C64 "CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC"
#define HASH_FORM "\"sha256:\" and the 64 hex digits of the key's SHA-256 (weir key mint makes both)"

struct bad { const char *text, *errors; };

static void what_a_key_gives(void **state) {
  (void)state;
  struct conf *c = rig_good(LAB "key \"search-team\" { hash = \"sha256:" A64 "\", team = \"search\", user = \"ann\",\n"
                            "  models = { \"smart\", \"vllm/*\" }, tags = { zone = \"eu\", [\"cost.center\"] = \"4711\" }, "
                            "expires = \"2027-01-31\" }\n"
                            "key \"plain\" { hash = { \"sha256:" B64 "\", { \"sha256:" C64 "\", expires = "
                            "\"2026-01-02T03:04:05Z\" } } }");
  assert_int_equal(c->keys.count, 2);
  const struct key *k = &c->keys.list[0];
  assert_span(k->name, "search-team");
  assert_span(k->team, "search");
  assert_span(k->user, "ann");
  assert_int_equal(k->hash_count, 1);
  assert_int_equal(k->hashes[0].digest[0], 0xaa);
  assert_true(k->hashes[0].until == KEY_FOREVER);
  assert_int_equal(k->model_count, 2);
  assert_span(k->models[0], "smart");
  assert_span(k->models[1], "vllm/*");
  assert_int_equal(k->tag_count, 2);
  assert_span(k->tags[0].name, "cost.center");
  assert_span(k->tags[0].value, "4711");
  assert_span(k->tags[1].name, "zone");
  assert_span(k->expires, "2027-01-31");
  assert_int_equal(k->until, 1801440000);              /* 2027-02-01T00:00:00Z */
  assert_span(k->file, "weir.lua");
  assert_int_equal(k->line, 2);
  k = &c->keys.list[1];
  assert_int_equal(k->hash_count, 2);
  assert_true(k->hashes[0].until == KEY_FOREVER && k->until == KEY_FOREVER);
  assert_int_equal(k->hashes[1].digest[31], 0xcc);
  assert_int_equal(k->hashes[1].until, 1767323045);
  assert_int_equal(k->team.n + k->user.n + k->expires.n + k->model_count + k->tag_count, 0);
  assert_ptr_equal(keys_owner(&c->keys, k->hashes[1].digest), k);
  conf_drop(c);
}

static void what_is_refused(void **state) {
  (void)state;
  static const struct bad list[] = {
    { "key \"a\" {}", "weir.lua:1: key 'a': hash is missing: " HASH_FORM "\n" },
    { "key \"a\"", "weir.lua:1: key 'a': a table must follow: { hash = \"sha256:…\" }\n" },
    { "key \"a\" \"sha256:" A64 "\"", "weir.lua:1: key 'a': a table { … } must follow, not a string\n"
      "weir.lua:1: key 'a': a table must follow: { hash = \"sha256:…\" }\n" },
    { "key { hash = 1 }", "weir.lua:1: key takes a string: key \"search-team\" { hash = \"sha256:…\" }\n" },
    { "key \"a b\" {}", "weir.lua:1: key 'a b': a name holds letters, digits, '.', '_' and '-' only\n" },
    { "key \"..\" {}", "weir.lua:1: key '..': a name does not start with '.': its file would be a hidden one\n" },
    { "\nkey \"a\" {\n  team = \"x\",\n  hash = \"weir_do-not-show-at-all\",\n}", "weir.lua:4: key 'a': hash must be "
      HASH_FORM "\n" },
    { "key \"a\" { hash = \"sha256:" A64 "a\" }", "weir.lua:1: key 'a': hash must be " HASH_FORM "\n" },
    { "key \"a\" { hash = \"sha1:" A64 "\" }", "weir.lua:1: key 'a': hash must be " HASH_FORM "\n" },
    { "key \"a\" { hash = env \"SECRET_A\" }", "weir.lua:1: key 'a': hash must be " HASH_FORM ", not a secret\n" },
    { "key \"a\" { hash = {} }", "weir.lua:1: key 'a': hash is an empty list\n" },
    { "key \"a\" { hash = { 7 } }", "weir.lua:1: key 'a': hash must be " HASH_FORM ", not a number\n" },
    { "key \"a\" { hash = { { \"sha256:" A64 "\", ends = \"2027-01-31\" } } }", "weir.lua:1: key 'a': unknown field "
      "'ends'; known: expires\n" },
    { "key \"a\" { hash = { \"sha256:" A64 "\", \"sha256:" A64 "\" } }", "weir.lua:1: key 'a': a hash stands twice in it\n" },
    { "key \"a\" { hash = \"sha256:" A64 "\" }\nkey \"b\" { hash = \"sha256:" A64 "\" }",
      "weir.lua:2: key 'b': its hash is that of key 'a' too\n" },
    { "key \"a\" { hash = \"sha256:" A64 "\" }\n\nkey \"a\" { hash = \"sha256:" B64 "\" }",
      "weir.lua:3: key 'a': it stands twice; the first is at weir.lua:1\n" },
    { "key \"a\" { hash = \"sha256:" A64 "\",\n  model = { \"x\" } }", "weir.lua:2: key 'a': unknown field 'model'; did you "
      "mean 'models'?\n" },
    { "key \"a\" { hash = \"sha256:" A64 "\", models = \"x\" }", "weir.lua:1: key 'a': models must be a list such as "
      "{ \"smart\", \"openai/*\" }, not a string\n" },
    { "key \"a\" { hash = \"sha256:" A64 "\", models = {} }", "weir.lua:1: key 'a': models is an empty list; leave it out "
      "and the key may use every model\n" },
    { "key \"a\" { hash = \"sha256:" A64 "\", models = {\n  \"good\",\n  \"*/gpt\",\n  \"a**\" } }",
      "weir.lua:3: key 'a': model \"*/gpt\": '*' stands for the rest of a name: only at its end, and once\n"
      "weir.lua:4: key 'a': model \"a**\": '*' stands for the rest of a name: only at its end, and once\n" },
    { "key \"a\" { hash = \"sha256:" A64 "\", tags = { [\"a b\"] = \"x\", c = 7 } }",
      "weir.lua:1: key 'a': tag 'a b': a name holds letters, digits, '.', '_' and '-' only\n"
      "weir.lua:1: key 'a': tag 'c' must be a string, not a number\n" },
    { "key \"a\" { hash = \"sha256:" A64 "\", tags = { \"x\" } }",
      "weir.lua:1: key 'a': a value stands here without a name: write [\"name\"] = …\n" },
    { "key \"a\" { hash = \"sha256:" A64 "\", expires = \"2027-02-30\" }", "weir.lua:1: key 'a': expires must be a day such "
      "as \"2027-01-31\" or a time such as \"2027-01-31T12:00:00Z\", in UTC, not \"2027-02-30\"\n" },
    { "key \"a\" { hash = \"sha256:" A64 "\", expires = 2027 }", "weir.lua:1: key 'a': expires must be a string, not a "
      "number\n" },
    { "key \"a\" { hash = \"sha256:" A64 "\", team = \"\" }", "weir.lua:1: key 'a': team is empty\n" },
    { "key = \"x\"", "weir.lua:1: 'key' takes its value without '='\n" },
  };
  for (size_t i = 0; i < sizeof list / sizeof *list; i++) rig_bad(list[i].text, list[i].errors);
}

static void the_folder_is_always_read(void **state) {
  (void)state;
  rig_write("keys/b.lua", "key \"b\" { hash = \"sha256:" B64 "\" }");
  rig_write("keys/a.lua", "key \"a\" { hash = \"sha256:" A64 "\" }");
  rig_write("keys/.a.lua.x7", "nonsense(");
  rig_write("keys/note.txt", "nonsense(");
  struct conf *c = rig_good("key \"own\" { hash = \"sha256:" C64 "\" }\n" LAB);
  assert_int_equal(c->keys.count, 3);
  assert_span(c->keys.list[0].name, "own");
  assert_span(c->keys.list[1].name, "a");
  assert_span(c->keys.list[1].file, "keys/a.lua");
  assert_span(c->keys.list[2].name, "b");
  uint64_t print = 0;
  char hash[65];
  memcpy(hash, c->hash, 65);
  assert_false(conf_files_changed(c, &print));
  rig_write("keys/c.lua", "");                           /* a file that comes, and one that goes */
  assert_true(conf_files_changed(c, &print));
  assert_int_equal(unlink("keys/b.lua"), 0);
  assert_true(conf_files_changed(c, &print));
  conf_drop(c);
  c = rig_good("include \"keys/*.lua\"\n" LAB);          /* by hand too: not twice */
  assert_int_equal(c->keys.count, 1);
  assert_string_not_equal(c->hash, hash);
  conf_drop(c);
  rig_write("keys/d.lua", "\nkey \"a\" { hash = \"sha256:" B64 "\" }");
  rig_bad(LAB, "keys/d.lua:2: key 'a': it stands twice; the first is at keys/a.lua:1\n");
  rig_write("keys/d.lua", "key \"d\" {");
  rig_bad(LAB, "keys/d.lua:1: unexpected symbol near <eof>\n");
}

static void which_listeners_ask(void **state) {
  (void)state;
  const struct listener local = { .spec = SPAN("127.0.0.1:81"), .local = true };
  const struct listener far = { .spec = SPAN("0.0.0.0:82") }, open = { .spec = SPAN("0.0.0.0:83"), .open = true };
  const struct listener path = { .spec = SPAN("unix:/run/w.sock"), .local = true };
#define LISTEN "listen \"127.0.0.1:81\"\nlisten { \"0.0.0.0:83\", open = true }\nlisten \"unix:/run/w.sock\"\n" LAB
  struct conf *c = rig_good(LISTEN);
  assert_true(c->listeners[0].local && !c->listeners[1].local && c->listeners[2].local);
  assert_false(conf_asks(c, &local));
  assert_false(conf_asks(c, &path));
  assert_false(conf_asks(c, &open));
  assert_true(conf_asks(c, &far));                       /* not named any more: it is still bound, and asks */
  conf_drop(c);
  c = rig_good(LISTEN "listen \"0.0.0.0:82\"\nkey \"a\" { hash = \"sha256:" A64 "\", expires = \"2000-01-01\" }");
  assert_true(conf_asks(c, &local));                     /* also when all have expired */
  assert_true(conf_asks(c, &path));
  assert_false(conf_asks(c, &open));
  assert_true(conf_asks(c, &far));
  conf_drop(c);
  c = rig_good("listen { \"127.0.0.1:81\", open = true }\nlisten \"0.0.0.0:83\"\n" LAB
               "key \"a\" { hash = \"sha256:" A64 "\" }");
  assert_false(conf_asks(c, &local));                    /* open is read anew at each load */
  assert_true(conf_asks(c, &open));
  conf_drop(c);
}

static void the_last_key_may_go(void **state) {
  (void)state;
  struct buf errors = { 0 }, warnings = { 0 };
  rig_write("keys/a.lua", "key \"a\" { hash = \"sha256:" A64 "\" }");
  struct conf *with = rig_good("listen \"0.0.0.0:82\"\n" LAB);
  assert_int_equal(unlink("keys/a.lua"), 0);
  struct conf *c = conf_reload("weir.lua", with, &errors, &warnings);
  assert_non_null(c);
  assert_int_equal(buf_size(&errors), 0);
  assert_span(buf_span(&warnings), "weir.lua:1: listen: \"0.0.0.0:82\" asks for keys and there is none any more: nobody "
              "gets in; weir key mint NAME makes one\n");
  assert_true(conf_asks(c, &c->listeners[0]));
  buf_clear(&warnings);
  assert_null(conf_reload("weir.lua", c, &errors, &warnings));       /* there was none before: a mistake, not a revocation */
  assert_true(span_starts(buf_span(&errors), SPAN("weir.lua:1: listen: \"0.0.0.0:82\" is not loopback and there is no key")));
  conf_drop(with);
  conf_drop(c);
  buf_free(&errors);
  buf_free(&warnings);
}

/* What commands load: nothing is run, nothing but keys can be wrong. */
static void keys_alone(void **state) {
  (void)state;
  struct buf errors = { 0 };
  rig_write("keys/b.lua", "key \"b\" { hash = \"sha256:" B64 "\" }");
  rig_write("more/c.lua", "key \"c\" { hash = \"sha256:" C64 "\" }");
  rig_write("weir.lua", "provider \"x\" { key = { env \"NOT_SET\", command { \"touch\", \"ran\" } }, endpoint { url = 3 } }\n"
            "provider \"y\" { key = file \"none\", nonsense = credential \"z\" }\nuse \"missing\" { a = usd(2), b = minutes(3) }\n"
            "whatever \"x\" { y = 1 }\ninclude \"more/*.lua\"\nruntime \"here\"\nlisten \"0.0.0.0:82\"\n"
            "for i, n in ipairs { \"p\", \"q\" } do secret(n) { env(n), host = n } end\n"
            "key \"a\" { hash = \"sha256:" A64 "\" }\n");
  struct conf *c = conf_load_keys("weir.lua", &errors);
  if (!c) fail_msg("%.*s", SPAN_FMT(buf_span(&errors)));
  assert_int_equal(c->keys.count, 3);
  assert_span(c->keys.list[0].name, "c");
  assert_span(c->keys.list[2].name, "b");
  assert_span(c->runtime_dir, rig_path("here"));
  assert_span(c->sources.folder, ".");
  assert_int_equal(c->listener_count, 1);
  assert_false(c->listeners[0].local || c->listeners[0].open);
  assert_int_not_equal(access("ran", F_OK), 0);
  conf_drop(c);
  rig_write("weir.lua", "key \"a\" {}\nkey (");
  assert_null(conf_load_keys("weir.lua", &errors));
  assert_span(buf_span(&errors), "weir.lua:2: unexpected symbol near <eof>\n");
  buf_clear(&errors);
  assert_null(conf_load_keys("none.lua", &errors));
  assert_span(buf_span(&errors), "none.lua: No such file or directory\n");
  buf_clear(&errors);
  assert_int_equal(unlink("weir.lua"), 0);
  if (access("/etc/weir/weir.lua", F_OK)) {
    assert_null(conf_find(NULL));
    assert_null(conf_load_keys(NULL, &errors));
    assert_span(buf_span(&errors), "there is no weir.lua, here or in /etc/weir: --config FILE says where it is\n");
  }
  buf_free(&errors);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(what_a_key_gives, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(what_is_refused, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(the_folder_is_always_read, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(which_listeners_ask, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(the_last_key_may_go, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(keys_alone, rig_begin, rig_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
