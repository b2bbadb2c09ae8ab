/* Every word of weir.lua: what it gives, and what is said when it is wrong. */
#include "rig.h"

struct bad { const char *text, *errors; };

static void all_bad(const struct bad *list, size_t count) {
  for (size_t i = 0; i < count; i++) rig_bad(list[i].text, list[i].errors);
}
#define ALL_BAD(list) all_bad(list, sizeof list / sizeof *list)

static void an_empty_file_has_all_defaults(void **state) {
  static const double usual[SET_COUNT] = {
    3, 5, 600, 120, 600, 60, 1800, 15, 55, 2, 600, 10, 75, 65536, 67108864, 262144, 16777216, 2, 0, 1024, 2048, 8192, 16384, 32768, 49152,
  };
  struct loaded l = rig_load("-- nothing\n");
  struct conf *c = l.conf;
  (void)state;
  assert_non_null(c);
  assert_string_equal(l.warnings, "weir.lua: there is no provider: set OPENAI_API_KEY, or write provider \"openai\" "
    "{ key = … }\n");
  assert_int_equal(c->listener_count, 1);
  assert_span(c->listeners[0].spec, "127.0.0.1:8080");
  assert_false(c->listeners[0].open);
  assert_span(c->admin.spec, "127.0.0.1:9090");
  assert_null(c->admin_token);
  for (int i = 0; i < SET_COUNT; i++) assert_true(c->defaults.value[i] == usual[i]);
  assert_int_equal(c->defaults.given, (1u << SET_COUNT) - 1);
  assert_int_equal(c->workers, 0);
  assert_int_equal(c->memory, 0);
  assert_int_equal(c->lua_memory, 0);
  assert_int_equal(c->log_level, LOG_INFO);
  assert_span(c->access_log, "stdout");
  assert_span(c->file, "weir.lua");
  assert_span(c->sources.folder, ".");
  assert_int_equal(c->trusted_count, 0);
  conf_drop(c);
}

static void listen_and_admin(void **state) {
  static const struct bad list[] = {
    { "listen \"0.0.0.0:8080\"", "weir.lua:1: listen: \"0.0.0.0:8080\" is not loopback and there is no key: make one "
      "with weir key mint NAME; or, if everybody who reaches it may use it, write listen { \"0.0.0.0:8080\", open = true "
      "}\n" },
    { "\nlisten { \"[::]:8080\", open = false }", "weir.lua:2: listen: \"[::]:8080\" is not loopback and there is no "
      "key: make one with weir key mint NAME; or, if everybody who reaches it may use it, write listen { \"[::]:8080\", "
      "open = true }\n" },
    { "listen \"127.0.0.1:70000\"", "weir.lua:1: listen: \"127.0.0.1:70000\": the port must be from 1 to 65535\n" },
    { "listen \"127.0.0.1:0\"", "weir.lua:1: listen: \"127.0.0.1:0\": the port must be from 1 to 65535\n" },
    { "listen \"8080\"", "weir.lua:1: listen: \"8080\": it must be \"address:port\" or \"unix:/path\"\n" },
    { "listen \"example.com:80\"", "weir.lua:1: listen: \"example.com:80\": the address must be an IP address such as "
      "\"127.0.0.1\", \"0.0.0.0\" or \"[::1]\"\n" },
    { "listen \"::1:80\"", "weir.lua:1: listen: \"::1:80\": the address must be an IP address such as \"127.0.0.1\", "
      "\"0.0.0.0\" or \"[::1]\"\n" },
    { "listen \"unix:weir.sock\"", "weir.lua:1: listen: \"unix:weir.sock\": the path of a socket must be absolute: "
      "\"unix:/run/weir/weir.sock\"\n" },
    { "listen(8080)", "weir.lua:1: listen: the address must be a string, not a number\n" },
    { "listen {}", "weir.lua:1: listen: the address must be a string, not nothing\n" },
    { "listen { \"127.0.0.1:1\", \"127.0.0.1:2\" }", "weir.lua:1: listen: it holds more than one address\n" },
    { "listen { \"127.0.0.1:1\", opn = true }", "weir.lua:1: listen: unknown field 'opn'; did you mean 'open'?\n" },
    { "listen { \"127.0.0.1:1\", open = 1 }", "weir.lua:1: listen: open must be true or false, not a number\n" },
    { "listen \"127.0.0.1:81\"\nlisten \"localhost:81\"", "weir.lua:2: listen: \"localhost:81\" stands twice; the "
      "first is at weir.lua:1\n" },
    { "listen \"127.0.0.1:9090\"", "weir.lua:1: listen: \"127.0.0.1:9090\" is the address of admin too\n" },
    { "admin \"127.0.0.1:1\"\n\nadmin \"127.0.0.1:2\"", "weir.lua:3: admin: 'admin' stands twice; the first is at "
      "weir.lua:1\n" },
    { "admin { \"127.0.0.1:1\", token = \"abc\" }", "weir.lua:1: admin: token must be env \"NAME\", credential "
      "\"NAME\", file \"PATH\" "
      "or command { … }, not a string\n" },
    { "admin \"here\"", "weir.lua:1: admin: \"here\": it must be \"address:port\" or \"unix:/path\"\n" },
  };
  (void)state;
  ALL_BAD(list);
  struct loaded l = rig_load("listen \"127.0.0.1:81\"\nlisten \"[::1]:81\"\nlisten { \"0.0.0.0:82\", open = true }\n"
                             "listen \"unix:/run/weir.sock\"\nadmin { \"0.0.0.0:99\", token = env \"SECRET_A\" }\n"
                             "provider \"lab\" { dialect = \"chat\", url = \"http://127.0.0.1:8000/v1\" }");
  assert_string_equal(l.errors, "");
  assert_string_equal(l.warnings, "");
  assert_int_equal(l.conf->listener_count, 4);
  assert_span(l.conf->listeners[1].spec, "[::1]:81");
  assert_true(l.conf->listeners[2].open);
  assert_span(l.conf->listeners[3].spec, "unix:/run/weir.sock");
  assert_span(l.conf->admin.spec, "0.0.0.0:99");
  assert_span(secret_use(l.conf->admin_token), "sk-do-not-show-1");
  conf_drop(l.conf);
  l = rig_load("admin \"0.0.0.0:99\"\nprovider \"vllm\" {}");
  assert_string_equal(l.warnings, "weir.lua:1: admin: without a token only /livez, /readyz and /metrics are served "
    "off loopback\n");
  conf_drop(l.conf);
}

static void settings(void **state) {
  static const struct bad list[] = {
    { "defaults { connect = -1 }", "weir.lua:1: defaults: connect must be from 0.001 to 86400 seconds, not -1\n" },
    { "defaults { connect = 0 }", "weir.lua:1: defaults: connect must be from 0.001 to 86400 seconds, not 0\n" },
    { "defaults { total = 0/0 }", "weir.lua:1: defaults: total must be from 0.001 to 31536000 seconds, not -nan\n" },
    { "defaults {\n  head = 1,\n  tls = \"5\",\n}", "weir.lua:3: defaults: tls must be a number, not a string\n" },
    { "defaults { warm = 1.5 }", "weir.lua:1: defaults: warm must be a whole number, not 1.5\n" },
    { "defaults { max_head = 10 }", "weir.lua:1: defaults: max_head must be from 1024 to 16777216 bytes, not 10\n" },
    { "defaults { conect = 3 }", "weir.lua:1: defaults: unknown field 'conect'; did you mean 'connect'?\n" },
    { "defaults { whole = \"assemble\" }", "weir.lua:1: defaults: whole = \"assemble\" is not in this version\n" },
    { "defaults { whole = \"no\" }", "weir.lua:1: defaults: whole must be \"buffer\" or \"assemble\"\n" },
    { "defaults { loss = \"some\" }", "weir.lua:1: defaults: loss must be \"tell\" or \"strict\"\n" },
    { "defaults { on_store_loss = \"wait\" }", "weir.lua:1: defaults: on_store_loss must be \"refuse\" or \"pass\"\n" },
    { "provider \"vllm\" { on_store_loss = \"pass\" }", "weir.lua:1: provider 'vllm': on_store_loss has no effect here, since it is about weir's own "
      "store; write it in defaults\n" },
    { "ledger { keep = 1 }", "weir.lua:1: ledger: keep must be from 60 to 3153600000 seconds, not 1\n" },
    { "ledger \"on\"", "weir.lua:1: ledger: a table { … } or \"off\" must follow, not a string\n" },
    { "defaults { connect = 3 }\ndefaults { connect = 4 }", "weir.lua:2: defaults: connect stands twice\n" },
    { "defaults { 3 }", "weir.lua:1: defaults: a value stands here without the name of its field\n" },
    { "defaults { [2.5] = 3 }", "weir.lua:1: defaults: a key is neither a name nor in the sequence 1, 2, 3, …\n" },
    { "defaults(3)", "weir.lua:1: defaults: a table { … } must follow, not a number\n" },
    { "provider \"vllm\" { connect = -1 }", "weir.lua:1: provider 'vllm': connect must be from 0.001 to 86400 "
      "seconds, not -1\n" },
    { "provider \"vllm\" {}\nmodel \"m\" { \"vllm/m\", total = false }", "weir.lua:2: model 'm': total must be a "
      "number, not false\n" },
  };
  (void)state;
  ALL_BAD(list);
  struct conf *c = rig_good(
    "defaults { connect = 0.25, tls = 6, head = minutes(2), first_event = hours(1), first_event_reasoning = days(1), "
      "between_events = 61,\n"
    "  total = 100, hold_head = 0, idle_pool = 0, queue = 2, drain = 1, header_time = 2, client_idle = 3, max_head = "
      "kb(32),\n"
    "  max_body = mb(1), hold_answer = 0, max_answer = 7, whole = \"buffer\", loss = \"tell\" }\n"
    "defaults { warm = 0, on_store_loss = \"pass\" }\nledger { keep = days(3), max_size = mb(5) }\n"
    "provider \"vllm\" { connect = 1, tls = 2, loss = \"strict\" }\n"
    "model \"m\" { \"vllm/x\", connect = 9, loss = \"tell\" }");
  static const double given[SET_COUNT] = { 0.25, 6, 120, 3600, 86400, 61, 100, 0, 0, 2, 1, 2, 3, 32768, 1048576, 0,
    7, 0, 0, 1024, 2048, 8192, 16384, 32768, 49152 };
  for (int i = 0; i < SET_COUNT; i++) assert_true(c->defaults.value[i] == given[i]);
  struct provider *p = conf_provider(c, SPAN("vllm"));
  struct alias *a = conf_alias(c, SPAN("m"));
  assert_true(conf_setting(c, a, p, SET_CONNECT) == 9);
  assert_true(conf_setting(c, NULL, p, SET_CONNECT) == 1);
  assert_true(conf_setting(c, NULL, NULL, SET_CONNECT) == 0.25);
  assert_true(conf_setting(c, a, p, SET_TLS) == 2);
  assert_true(conf_setting(c, a, p, SET_TOTAL) == 100);
  assert_true(c->pass_on_store_loss && c->ledger.mode == LEDGER_ON && c->ledger.keep == 3 * 86400 && c->ledger.max_size == 5 << 20);
  assert_true(conf_setting(c, a, p, SET_LOSS) == 0 && conf_setting(c, NULL, p, SET_LOSS) == 1 && conf_setting(c, NULL, NULL, SET_LOSS) == 0);
  conf_drop(c);
}

/* Each number at each level: taken, and nearer than what stands further out; or refused, where it could do nothing. */
static void each_setting_at_each_level(void **state) {
  (void)state;
  static const struct { const char *word; enum setting setting; double value[3]; const char *at; } words[] = {
    { "connect", SET_CONNECT, { 1, 2, 4 }, "dpm" }, { "tls", SET_TLS, { 1, 2, 4 }, "dpm" }, { "head", SET_HEAD, { 1, 2, 4 }, "dpm" },
    { "first_event", SET_FIRST_EVENT, { 1, 2, 4 }, "dpm" }, { "first_event_reasoning", SET_FIRST_EVENT_REASONING, { 1, 2, 4 }, "dpm" },
    { "between_events", SET_BETWEEN_EVENTS, { 1, 2, 4 }, "dpm" }, { "total", SET_TOTAL, { 1, 2, 4 }, "dpm" },
    { "hold_head", SET_HOLD_HEAD, { 1, 2, 4 }, "dpm" }, { "hold_answer", SET_HOLD_ANSWER, { 1, 2, 4 }, "dpm" },
    { "max_answer", SET_MAX_ANSWER, { 1, 2, 4 }, "dpm" }, { "idle_pool", SET_IDLE_POOL, { 1, 2, 4 }, "dp" }, { "warm", SET_WARM, { 1, 3, 4 }, "dp" },
    { "queue", SET_QUEUE, { 1, 3, 4 }, "dpm" }, { "drain", SET_DRAIN, { 1, 2, 4 }, "d" }, { "header_time", SET_HEADER_TIME, { 1, 2, 4 }, "d" },
    { "client_idle", SET_CLIENT_IDLE, { 1, 2, 4 }, "d" }, { "max_head", SET_MAX_HEAD, { 1024, 2048, 4096 }, "d" }, { "max_body", SET_MAX_BODY, { 1, 2, 4 }, "d" },
  };
  enum { NUMBERS = sizeof words / sizeof *words };
  assert_int_equal(NUMBERS, SET_LOSS);                         /* behind them stands what is a word, not a number */
  double usual[SET_COUNT];
  struct conf *empty = rig_good("provider \"vllm\" {}");
  memcpy(usual, empty->defaults.value, sizeof usual);
  conf_drop(empty);
  for (size_t i = 0; i < NUMBERS; i++)
    for (unsigned levels = 0; levels < 8; levels++) {
      char text[512], d[64] = "", p[64] = "", m[64] = "";
      bool taken = true;
      double nearest[2];
      for (int k = 0; k < 3; k++)
        if (levels & 1u << k) taken &= strchr(words[i].at, "dpm"[k]) != NULL;
      if (levels & 1) snprintf(d, sizeof d, "defaults { %s = %g }", words[i].word, words[i].value[0]);
      if (levels & 2) snprintf(p, sizeof p, "%s = %g", words[i].word, words[i].value[1]);
      if (levels & 4) snprintf(m, sizeof m, ", %s = %g", words[i].word, words[i].value[2]);
      snprintf(text, sizeof text, "%s\nprovider \"vllm\" { %s }\nmodel \"m\" { \"vllm/x\"%s }", d, p, m);
      struct loaded l = rig_load(text);
      if (!taken) {
        assert_null(l.conf);
        assert_non_null(strstr(l.errors, " has no effect here, since "));
        continue;
      }
      if (!l.conf) fail_msg("%s: %s", text, l.errors);
      struct provider *provider = conf_provider(l.conf, SPAN("vllm"));
      nearest[0] = levels & 2 ? words[i].value[1] : levels & 1 ? words[i].value[0] : usual[words[i].setting];
      nearest[1] = levels & 4 ? words[i].value[2] : nearest[0];
      assert_true(conf_setting(l.conf, NULL, provider, words[i].setting) == nearest[0]);
      assert_true(conf_setting(l.conf, conf_alias(l.conf, SPAN("m")), provider, words[i].setting) == nearest[1]);
      conf_drop(l.conf);
    }
}

static void settings_where_they_can_do_nothing(void **state) {
  (void)state;
  static const struct bad list[] = {
    { "provider \"vllm\" {\n  max_body = mb(1),\n  warm = 1 }\nmodel \"m\" { \"vllm/m\", drain = 1,\n warm = 3 }",
      "weir.lua:2: provider 'vllm': max_body has no effect here, since it is about clients; write it in defaults\n"
      "weir.lua:4: model 'm': drain has no effect here, since it is about clients; write it in defaults\n"
      "weir.lua:5: model 'm': warm has no effect here, since connections are a provider's; write it there or in defaults\n" },
    { "provider \"vllm\" { budgets = { hgh = 5 } }", "weir.lua:1: provider 'vllm': unknown effort 'hgh'; did you mean 'high'?\n" },
    { "defaults { budgets = { high = 0.5 } }", "weir.lua:1: defaults: budgets.high must be from 1 to 10000000 tokens, not 0.5\n" },
    { "defaults { budgets = 5 }", "weir.lua:1: defaults: budgets must be a table such as { low = 2048, medium = 8192 }, not a number\n" },
    { "provider \"vllm\" { loss = 1 }", "weir.lua:1: provider 'vllm': loss must be \"tell\" or \"strict\"\n" },
  };
  for (size_t i = 0; i < sizeof list / sizeof *list; i++) rig_bad(list[i].text, list[i].errors);
}

static void small_words(void **state) {
  static const struct bad list[] = {
    { "workers(0)", "weir.lua:1: workers must be from 1 to 1024, not 0\n" },
    { "workers(1.5)", "weir.lua:1: workers must be a whole number, not 1.5\n" },
    { "workers \"4\"", "weir.lua:1: workers must be a number, not a string\n" },
    { "workers(1) workers(2)", "weir.lua:1: 'workers' stands twice; the first is at weir.lua:1\n" },
    { "workers = 4", "weir.lua:1: 'workers' takes its value without '='\n" },
    { "memory(5)", "weir.lua:1: memory must be from 1048576 to 17592186044416 bytes, not 5\n" },
    { "lua_memory(kb(1))", "weir.lua:1: lua_memory must be from 262144 to 17179869184 bytes, not 1024\n" },
    { "memory(mb \"x\")", "weir.lua:1: mb must be a number, not a string\n" },
    { "defaults { head = minutes(-1) }", "weir.lua:1: minutes must be from 0 to 1e+15, not -1\n" },
    { "state {}", "weir.lua:1: state takes a string: state \"/var/lib/weir\"\n" },
    { "runtime \"\"", "weir.lua:1: runtime is empty\n" },
    { "trusted_proxies { \"10.0.0.0/33\", \"x\" }", "weir.lua:1: trusted_proxies: \"10.0.0.0/33\" is no network such "
      "as \"10.0.0.0/8\" "
      "or \"fd00::/8\", nor \"unix\"\nweir.lua:1: trusted_proxies: \"x\" is no network such as \"10.0.0.0/8\" or \"fd00::/8\", nor \"unix\"\n" },
    { "log { level = \"wran\" }", "weir.lua:1: log: unknown level 'wran'; did you mean 'warn'?\n" },
    { "log { access = \"stdot\" }", "weir.lua:1: log: access must be \"stdout\", \"stderr\", \"off\" or a path with "
      "a '/', not \"stdot\"\n" },
    { "log \"info\"", "weir.lua:1: log: a table { … } must follow, not a string\n" },
    { "default_provider \"opnai\"\nprovider \"openai\" { key = env \"SECRET_A\" }",
      "weir.lua:1: default_provider: unknown provider 'opnai'; did you mean 'openai'?\n" },
  };
  (void)state;
  ALL_BAD(list);
  struct conf *c = rig_good("workers(4) memory(mb(512)) lua_memory(mb(16)) state \"/s\" runtime \"r\"\n"
                            "trusted_proxies { \"10.0.0.0/8\", \"fd00::/9\", \"192.168.1.7\" }\n"
                            "log { level = \"error\", access = \"./a.log\" }\n"
                            "provider \"vllm\" {} provider \"ollama\" {} default_provider \"ollama\"");
  assert_int_equal(c->workers, 4);
  assert_int_equal(c->memory, 512 << 20);
  assert_int_equal(c->lua_memory, 16 << 20);
  assert_span(c->state_dir, "/s");
  assert_span(c->runtime_dir, rig_path("r"));
  assert_int_equal(c->trusted_count, 3);
  assert_int_equal(c->log_level, LOG_ERROR);
  assert_span(c->access_log, "./a.log");
  assert_ptr_equal(c->default_provider, conf_provider(c, SPAN("ollama")));
  conf_drop(c);
  c = rig_good("trusted_proxies \"10.1.2.3\" log { access = \"off\" } provider \"vllm\" {}");
  assert_int_equal(c->trusted_count, 1);
  assert_null(c->default_provider);
  conf_drop(c);
}

static void folders_come_from_the_environment(void **state) {
  (void)state;
  const char *text = "provider \"vllm\" {}";
  setenv("HOME", "/home/x", 1);
  setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
  struct conf *c = rig_good(text);
  assert_span(c->state_dir, "/home/x/.local/state/weir");
  assert_span(c->runtime_dir, "/run/user/7/weir");
  conf_drop(c);
  setenv("STATE_DIRECTORY", "/var/lib/weir:/var/lib/other", 1);
  setenv("RUNTIME_DIRECTORY", "/run/weir", 1);
  c = rig_good(text);
  assert_span(c->state_dir, "/var/lib/weir");
  assert_span(c->runtime_dir, "/run/weir");
  conf_drop(c);
}

static void unknown_and_later_words(void **state) {
  static const struct bad list[] = {
    { "provder \"openai\" { key = env \"SECRET_A\" }", "weir.lua:1: unknown word 'provder'; did you mean "
      "'provider'?\n" },
    { "x = 3", "weir.lua:1: 'x' is assigned as a global; write 'local x'\n" },
    { "listn = 3", "weir.lua:1: unknown word 'listn'; did you mean 'listen', without '='?\n" },
    { "function f() end", "weir.lua:1: 'f' is assigned as a global; write 'local f'\n" },
    { "-- one\nlocal t = nil\nprint(t.x)", "weir.lua:3: attempt to index a nil value (local 't')\n" },
    { "provider \"x\" {", "weir.lua:1: unexpected symbol near <eof>\n" },
    { "error(\"mine\", 0)", "weir.lua: mine\n" },
    { "error({})", "weir.lua: (error object is a table value)\n" },
    { "while true do end", "weir.lua:1: stopped after 1000 ms of CPU time in one call\n" },
    { "provider \"vllm\" { key = envv \"SECRET_A\" } defaults { total = minuts(3) + 1 }",
      "weir.lua:1: unknown word 'envv'; did you mean 'env'?\nweir.lua:1: unknown word 'minuts'; did you mean "
        "'minutes'?\n" },
    { "provider \"vllm\"\nprovider()", "weir.lua:2: provider takes a string: provider \"openai\" { key = env "
      "\"OPENAI_API_KEY\" }\n" },
    { "provider \"vllm\" {} {}", "weir.lua:1: provider 'vllm': it has two tables\n" },
    { "workers(2) (3)", "weir.lua:1: attempt to call a nil value\n" },
    { "provider \"vllm\" \"x\"", "weir.lua:1: provider 'vllm': a table { … } must follow, not a string\n" },
    { "model \"\\1\" {}", "weir.lua:1: model holds a control character, or bytes that are not UTF-8\n" },
  };
  (void)state;
  ALL_BAD(list);
  /* Lua's own library is there, locals are free, and what has no word is not. */
  conf_drop(rig_good("local url = (\"http://127.0.0.1:%d/v1\"):format(7000)\n"
                     "for i, name in ipairs { \"a\", \"b\" } do provider(name) { dialect = \"chat\", url = url } end"));
  rig_bad("io.open(\"x\")", "weir.lua:1: unknown word 'io'; known: listen, admin, provider, endpoint, "
    "default_provider, key, model, use, include, "
          "defaults, secret, workers, memory, lua_memory, state, runtime, trusted_proxies, log, ledger, cors, env, credential, "
            "file, command, minutes, "
          "hours, days, kb, mb, usd, prices\n");
}

static void many_errors_in_order(void **state) {
  struct buf text = { 0 };
  (void)state;
  rig_bad("model \"a\" { \"nope/x\" }\nlisten \"1\"\nprovider \"v1\" {}\n\nuse \"gaurd\"\n",
          "weir.lua:1: model 'a': target 'nope/x': unknown provider 'nope'\n"
          "weir.lua:2: listen: \"1\": it must be \"address:port\" or \"unix:/path\"\n"
          "weir.lua:3: provider 'v1': the name is taken by weir's own paths\n"
          "weir.lua:5: use 'gaurd': it is not in policies/ beside weir.lua, nor among the shipped ones\n");
  for (int i = 0; i < 60; i++) buf_printf(&text, "workers(0)\n");
  buf_byte(&text, 0);
  struct loaded l = rig_load(text.p);
  assert_non_null(strstr(l.errors, "weir.lua:50: 'workers' stands twice; the first is at weir.lua:1\nand 10 more\n"));
  buf_free(&text);
}

static void missing_file(void **state) {
  (void)state;
  struct loaded l = rig_load_file("none.lua");
  assert_string_equal(l.errors, "none.lua: No such file or directory\n");
  l = rig_load_file(".");
  assert_string_equal(l.errors, ".: it is no regular file\n");
}

static void secrets_for_policies(void **state) {
  static const struct bad list[] = {
    { "secret \"j\" { env \"SECRET_A\" }", "weir.lua:1: secret 'j': host is missing: the only host that the secret "
      "is sent to\n" },
    { "secret \"j\" { host = \"h\" }", "weir.lua:1: secret 'j': the secret must be env \"NAME\", credential "
      "\"NAME\", file \"PATH\" or "
      "command { … }, not nothing\n" },
    { "secret \"j\" { env \"SECRET_A\", host = \"https://h/\" }", "weir.lua:1: secret 'j': host must be a host "
      "alone, such as "
      "\"judge.internal\", without scheme, port or path\n" },
    { "secret \"j\" { env \"SECRET_A\", host = \"h:80\" }", "weir.lua:1: secret 'j': host must be a host alone, such "
      "as "
      "\"judge.internal\", without scheme, port or path\n" },
    { "secret \"j\" { env \"SECRET_A\", env \"SECRET_B\", host = \"h\" }", "weir.lua:1: secret 'j': it holds more "
      "than one secret\n" },
    { "secret \"j\"", "weir.lua:1: secret 'j': a table must follow: { env \"NAME\", host = \"judge.internal\" }\n" },
    { "secret \"j\" { env \"SECRET_A\", host = \"h\" }\nsecret \"j\" { env \"SECRET_A\", host = \"h\" }",
      "weir.lua:2: secret 'j': the name is taken by another\n" },
  };
  (void)state;
  ALL_BAD(list);
  struct conf *c = rig_good("provider \"vllm\" {}\nsecret \"judge\" { env \"SECRET_A\", host = \"Judge.Internal\" }\n"
                            "secret \"six\" { env \"SECRET_B\", host = \"::1\" }");
  assert_int_equal(c->secret_count, 2);
  assert_span(c->secrets[0].name, "judge");
  assert_span(c->secrets[0].host, "judge.internal");
  assert_span(secret_use(c->secrets[0].secret), "sk-do-not-show-1");
  assert_span(c->secrets[1].host, "::1");
  conf_drop(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(an_empty_file_has_all_defaults, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(listen_and_admin, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(settings, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(each_setting_at_each_level, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(settings_where_they_can_do_nothing, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(small_words, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(folders_come_from_the_environment, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(unknown_and_later_words, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(many_errors_in_order, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(missing_file, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(secrets_for_policies, rig_begin, rig_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
