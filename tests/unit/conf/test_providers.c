/* provider, endpoint, model: what they give, and what is said when they are wrong. */
#include "rig.h"

struct bad { const char *text, *errors; };

static void catalogue(void **state) {
  static const char *const wanted[] = {
    "openai", "anthropic", "azure", "mistral", "deepseek", "qwen", "groq", "xai", "openrouter", "together", "fireworks",
    "perplexity", "cerebras", "ollama", "vllm", "llamacpp", "lmstudio", "cohere", "tokenmix", "litellm", "portkey", "vercel",
    "cloudflare", "mlflow", "helicone",
  };
  const struct catalogue_provider *p;
  struct url url;
  const char *why;
  (void)state;
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) assert_non_null(catalogue_provider(span_cstr(wanted[i])));
  for (size_t i = 0; (p = catalogue_at(i)); i++) {
    assert_ptr_equal(catalogue_provider(span_cstr(p->name)), p);
    if (p->url) assert_true(url_split(span_cstr(p->url), &url, &why));
    else assert_non_null(p->quirks->url_form);
    assert_true(p->key_variable || p->quirks->local);
  }
  assert_null(catalogue_provider(SPAN("opena")));
  p = catalogue_provider(SPAN("anthropic"));
  assert_int_equal(p->dialect, DIALECT_MESSAGES);
  assert_string_equal(p->auth_header, "x-api-key");
  assert_string_equal(p->extra_header, "anthropic-version: 2023-06-01");
  assert_null(catalogue_provider(SPAN("azure"))->url);
}

static void a_name_of_the_catalogue_needs_only_its_key(void **state) {
  struct conf *c = rig_good("provider \"openai\" { key = { env \"SECRET_A\", env \"SECRET_B\" } }\n"
                            "provider \"anthropic\" { key = env \"SECRET_A\" }\n"
                            "provider \"azure\" { key = env \"SECRET_A\", url = "
                              "\"https://X.openai.azure.com/openai/v1/\" }\n");
  (void)state;
  assert_int_equal(c->provider_count, 3);
  const struct provider *p = conf_provider(c, SPAN("openai"));
  const struct endpoint *e = p->endpoints;
  assert_true(p->catalogue);
  assert_int_equal(p->dialect, DIALECT_CHAT);
  assert_int_equal(p->number, 0);
  assert_int_equal(p->endpoint_count, 1);
  assert_span(e->text, "https://api.openai.com/v1");
  assert_span(e->url.path, "/v1");
  assert_span(e->host_header, "api.openai.com");
  assert_span(e->tls_name, "api.openai.com");
  assert_span(e->ca, "");
  assert_span(e->pool_key, "https|api.openai.com|443|api.openai.com|");
  assert_int_equal(e->weight, 1);
  assert_int_equal(e->account_count, 2);
  assert_int_equal(e->accounts[1].index, 1);
  assert_span(secret_use(e->accounts[0].key), "sk-do-not-show-1");
  assert_span(secret_use(e->accounts[1].auth_line), "authorization: Bearer sk-do-not-show-2\r\n");
  assert_int_equal(p->when_absent.name.n, 0);
  p = conf_provider(c, SPAN("anthropic"));
  assert_int_equal(p->dialect, DIALECT_MESSAGES);
  assert_span(p->when_absent.name, "anthropic-version");
  assert_span(p->when_absent.value, "2023-06-01");
  assert_span(secret_use(p->endpoints->accounts->auth_line), "x-api-key: sk-do-not-show-1\r\n");
  p = conf_provider(c, SPAN("azure"));
  assert_span(secret_use(p->endpoints->accounts->auth_line), "api-key: sk-do-not-show-1\r\n");
  assert_span(p->endpoints->url.path, "/openai/v1");
  assert_span(p->endpoints->pool_key, "https|x.openai.azure.com|443|x.openai.azure.com|");
  assert_null(conf_provider(c, SPAN("nobody")));
  conf_drop(c);
}

/* A path as it is asked for, behind the base. */
static void asked_at(const struct provider *p, enum operation o, const char *model, const char *wanted) {
  struct buf out = { 0 };
  endpoint_path(p->endpoints, operation_info(o), span_cstr(model), false, &out);
  assert_span(buf_span(&out), wanted);
  buf_free(&out);
}

static void azure(void **state) {
  struct conf *c = rig_good("provider \"azure\" { key = env \"SECRET_A\", url = \"https://x.openai.azure.com\", api_version = \"2024-10-21\" }");
  const struct provider *p = c->providers;
  (void)state;
  assert_true(p->endpoints->deployments);
  assert_span(p->endpoints->url.path, "/openai");
  assert_span(p->endpoints->url.query, "api-version=2024-10-21");
  asked_at(p, OP_CHAT, "my gpt/5", "/deployments/my%20gpt%2F5/chat/completions");
  asked_at(p, OP_EMBEDDINGS, "small", "/deployments/small/embeddings");
  asked_at(p, OP_RESPONSES, "small", "/responses");
  conf_drop(c);
  c = rig_good("provider \"azure\" { key = env \"SECRET_A\", url = \"https://x.openai.azure.com/\" }");
  assert_false(c->providers->endpoints->deployments);
  assert_span(c->providers->endpoints->url.path, "/openai/v1");
  asked_at(c->providers, OP_CHAT, "gpt", "/chat/completions");
  conf_drop(c);
  c = rig_good("provider \"azure\" { key = env \"SECRET_A\", url = \"https://x.openai.azure.com/\", api_version = \"preview\" }");
  assert_false(c->providers->endpoints->deployments);
  assert_span(c->providers->endpoints->url.path, "/openai/v1");
  assert_span(c->providers->endpoints->url.query, "api-version=preview");
  conf_drop(c);
  c = rig_good("provider \"azure\" { key = env \"SECRET_A\", endpoint { url = \"https://x.openai.azure.com/openai/deployments/one?api-version=2024-10-21\" } }");
  assert_false(c->providers->endpoints->deployments);
  asked_at(c->providers, OP_CHAT, "gpt", "/chat/completions");
  conf_drop(c);
  rig_bad("provider \"azure\" { key = env \"SECRET_A\" }",
          "weir.lua:1: provider 'azure': url is missing; it has none of its own: url = \"https://NAME.openai.azure.com\"\n");
  rig_bad("provider \"azure\" { key = env \"SECRET_A\", url = \"https://x\", api_version = \"1&key=2\" }",
          "weir.lua:1: provider 'azure': api_version must be a date such as \"2024-10-21\", or \"preview\"\n");
  rig_bad("provider \"groq\" { key = env \"SECRET_A\", api_version = \"1\" }",
          "weir.lua:1: provider 'groq': api_version is of azure alone; a query may stand in the url\n");
}

static void what_the_catalogue_knows_can_be_said_otherwise(void **state) {
  struct conf *c = rig_good(
    "provider \"groq\" { key = env \"SECRET_A\", auth = \"X-Own: Token\", usage_option = true, usage_always = false, bills_cancelled = false, tells_cost = true,\n"
    "  free = true, thinking = \"hidden\", reasoning_tokens = \"outside\", limit_name = \"max_completion_tokens\", dated_names = \"digits\", price_name = \"xai\" }\n"
    "provider \"cloudflare\" { key = env \"SECRET_A\", url = \"https://gateway.ai.cloudflare.com/v1/a/b/compat\" }\n"
    "provider \"portkey\" { key = env \"SECRET_A\" }\n"
    "provider \"anthropic\" { key = env \"SECRET_A\", auth = \"bearer\" }\n");
  const struct provider *p = c->providers;
  (void)state;
  assert_span(secret_use(p->endpoints->accounts->auth_line), "X-Own: Token sk-do-not-show-1\r\n");
  assert_span(p->auth_name, "X-Own");
  const struct catalogue_quirks *q = p->quirks;
  assert_true(!q->usage_always && !q->bills_cancelled && q->tells_cost && q->free && q->new_limit_name && !q->old_limit_name && q->dated_digits);
  assert_int_equal(q->thinking, THINKING_HIDDEN);
  assert_int_equal(q->reasoning, REASONING_OUTSIDE);
  assert_string_equal(q->price_name, "xai");
  assert_true(catalogue_provider(SPAN("groq"))->quirks->bills_cancelled);          /* the catalogue itself is as it was */
  assert_span(secret_use(c->providers[1].endpoints->accounts->auth_line), "cf-aig-authorization: Bearer sk-do-not-show-1\r\n");
  assert_span(secret_use(c->providers[2].endpoints->accounts->auth_line), "x-portkey-api-key: sk-do-not-show-1\r\n");
  assert_span(secret_use(c->providers[3].endpoints->accounts->auth_line), "authorization: Bearer sk-do-not-show-1\r\n");
  conf_drop(c);
  rig_bad("provider \"groq\" { key = env \"SECRET_A\", thinking = \"hiden\" }", "weir.lua:1: provider 'groq': unknown thinking 'hiden'; did you mean 'hidden'?\n");
  rig_bad("provider \"groq\" { key = env \"SECRET_A\", auth = \"a b: c\" }",
          "weir.lua:1: provider 'groq': auth must be \"bearer\", the name of a header such as \"x-api-key\", or one with what stands before the key in it, "
          "\"authorization: Token\"; not \"a b: c\"\n");
}

/* A variable that happens to be set does not make weir call a server of one's own. */
static void servers_of_ones_own_are_named(void **state) {
  (void)state;
  setenv("LITELLM_API_KEY", "sk-do-not-show-3", 1);
  struct loaded l = rig_load("");
  assert_int_equal(l.conf->provider_count, 0);
  conf_drop(l.conf);
  struct conf *c = rig_good("provider \"litellm\" {}\nprovider \"ollama\" {}\nprovider \"mlflow\" {}");
  assert_span(secret_use(c->providers->endpoints->accounts->key), "sk-do-not-show-3");
  assert_null(c->providers[1].endpoints->accounts->key);
  conf_drop(c);
  unsetenv("LITELLM_API_KEY");
  conf_drop(rig_good("provider \"litellm\" {}"));
}

static void keys_from_the_usual_variable(void **state) {
  (void)state;
  setenv("OPENAI_API_KEY", "sk-do-not-show-3", 1);
  struct conf *c = rig_good("provider \"openai\"\n");
  assert_span(secret_use(c->providers->endpoints->accounts->key), "sk-do-not-show-3");
  conf_drop(c);
  /* It goes to its own place only. */
  c = rig_good("provider \"openai\" { url = \"http://10.0.0.1/v1\" }");
  assert_int_equal(c->providers->endpoints->account_count, 1);
  assert_null(c->providers->endpoints->accounts->key);
  assert_null(c->providers->endpoints->accounts->auth_line);
  conf_drop(c);
  struct loaded l = rig_load("provider \"groq\" {}");
  assert_string_equal(l.warnings, "weir.lua:1: provider 'groq': it has no key, and GROQ_API_KEY is not set: its "
    "requests will be refused\n");
  conf_drop(l.conf);
  setenv("GROQ_API_KEY", "do-not-show\r\nx: y", 1);
  rig_bad("provider \"groq\" {}", "weir.lua:1: provider 'groq': environment variable 'GROQ_API_KEY' holds a control "
    "character\n");
}

static void a_provider_of_ones_own(void **state) {
  rig_write("ca.pem", "x");
  struct conf *c = rig_good(
    "provider \"lab\" { dialect = \"messages\", url = \"https://[::1]:8443/api/v1?x=1\", tls_name = "
      "\"Lab.internal\", ca = \"ca.pem\", region = \"eu\",\n"
    "  key = env \"SECRET_A\", headers = { [\"x-team\"] = \" search \", [\"X-App\"] = \"weir\" },\n"
    "  models = { [\"m/2\"] = { window = 1000, max_output = 10 }, a = {} } }");
  const struct provider *p = c->providers;
  const struct endpoint *e = p->endpoints;
  (void)state;
  assert_false(p->catalogue);
  assert_int_equal(p->dialect, DIALECT_MESSAGES);
  assert_true(e->url.tls && e->url.ipv6);
  assert_int_equal(e->url.port, 8443);
  assert_span(e->url.query, "x=1");
  assert_span(e->host_header, "[::1]:8443");
  assert_span(e->tls_name, "Lab.internal");
  assert_span(e->ca, "ca.pem");
  assert_span(e->region, "eu");
  assert_span(e->pool_key, "https|::1|8443|lab.internal|ca.pem");
  assert_span(secret_use(e->accounts->auth_line), "x-api-key: sk-do-not-show-1\r\n");
  assert_span(p->when_absent.name, "anthropic-version");
  assert_int_equal(p->header_count, 2);
  assert_span(p->headers[0].name, "X-App");
  assert_span(p->headers[1].value, "search");
  assert_int_equal(p->model_count, 2);
  assert_span(p->models[0].name, "a");
  assert_int_equal(p->models[0].window, 0);
  assert_span(p->models[1].name, "m/2");
  assert_int_equal(p->models[1].window, 1000);
  assert_int_equal(p->models[1].max_output, 10);
  conf_drop(c);
}

static void signing(void **state) {
  (void)state;
  struct conf *c = rig_good("provider \"bedrock\" { region = \"cn-north-1\", key = env \"SECRET_A\", key_id = env \"SECRET_B\" }\n"
                            "provider \"b\" { dialect = \"converse\", url = \"https://bedrock-runtime.eu-west-1.amazonaws.com\", key = env \"SECRET_A\" }");
  const struct endpoint *e = c->providers->endpoints;
  assert_int_equal(c->providers->dialect, DIALECT_CONVERSE);
  assert_span(e->text, "https://bedrock-runtime.cn-north-1.amazonaws.com.cn");
  struct signing with = account_signing(account_line(e->accounts));
  assert_true(e->accounts->signs && !e->accounts->renewal);
  assert_span(with.id, "sk-do-not-show-2");
  assert_span(with.key, "sk-do-not-show-1");
  assert_int_equal(with.session.n, 0);
  e = c->providers[1].endpoints;
  assert_span(e->region, "eu-west-1");
  assert_span(secret_use(e->accounts->auth_line), "authorization: Bearer sk-do-not-show-1\r\n");
  assert_false(e->accounts->signs);
  conf_drop(c);
  rig_bad("provider \"bedrock\" { key = env \"SECRET_A\" }", "weir.lua:1: provider 'bedrock': region is missing: region = \"us-east-1\", or set AWS_REGION\n");
  rig_bad("provider \"b\" { dialect = \"converse\", url = \"http://127.0.0.1:1\", key = env \"SECRET_A\", key_id = env \"SECRET_B\" }",
          "weir.lua:1: provider 'b': region is missing: region = \"us-east-1\", or set AWS_REGION\n");
  rig_bad("provider \"bedrock\" { region = \"r\", key = env \"SECRET_A\", key_id = { env \"SECRET_A\", env \"SECRET_B\" } }",
          "weir.lua:1: provider 'bedrock': there are 2 key_id for 1 key: one for each is needed\n");
  rig_bad("provider \"bedrock\" { region = \"r\", key = env \"SECRET_A\", session = env \"SECRET_A\" }", "weir.lua:1: provider 'bedrock': session needs the key_id it was issued with\n");
  rig_bad("provider \"openai\" { key = env \"SECRET_A\", key_id = env \"SECRET_B\" }",
          "weir.lua:1: provider 'openai': key_id and session are for providers that are signed for: of the dialect converse\n");
  rig_bad("provider \"bedrock\" { region = \"r\", key = env \"SECRET_A\", key_id = \"AKID\" }",
          "weir.lua:1: provider 'bedrock': key_id must be env \"NAME\", credential \"NAME\", file \"PATH\" or command { … }, not a string\n");
}

static void signing_from_the_environment(void **state) {
  (void)state;
  setenv("AWS_ACCESS_KEY_ID", "AKDONOTSHOW", 1);
  setenv("AWS_SECRET_ACCESS_KEY", "sk-do-not-show-4", 1);
  setenv("AWS_SESSION_TOKEN", "do-not-show-5", 1);
  setenv("AWS_DEFAULT_REGION", "us-west-2", 1);
  struct conf *c = rig_good("provider \"bedrock\"\nprovider \"b\" { dialect = \"converse\", url = \"http://127.0.0.1:1\", key = env \"AWS_SECRET_ACCESS_KEY\" }");
  for (int i = 0; i < 2; i++) {
    const struct endpoint *e = c->providers[i].endpoints;
    assert_span(e->region, "us-west-2");
    struct signing with = account_signing(e->accounts->auth_line);
    assert_true(e->accounts->signs);
    assert_span(with.id, "AKDONOTSHOW");
    assert_span(with.key, "sk-do-not-show-4");
    assert_span(with.session, "do-not-show-5");
  }
  assert_span(c->providers->endpoints->text, "https://bedrock-runtime.us-west-2.amazonaws.com");
  conf_drop(c);
  setenv("AWS_BEARER_TOKEN_BEDROCK", "do-not-show-6", 1);
  c = rig_good("provider \"bedrock\"");
  assert_span(secret_use(c->providers->endpoints->accounts->auth_line), "authorization: Bearer do-not-show-6\r\n");
  conf_drop(c);
  c = rig_good("provider \"bedrock\" { url = \"http://127.0.0.1:1\" }");    /* it is sent to its own place only; what signs is not sent */
  assert_true(c->providers->endpoints->accounts->signs);
  conf_drop(c);
}

static void endpoints(void **state) {
  struct conf *c = rig_good(
    "provider \"azure\" { key = env \"SECRET_A\", region = \"any\",\n"
    "  endpoint { url = \"https://eu.example/v1\", region = \"eu\", weight = 3 },\n"
    "  endpoint { url = \"https://us.example/v1\", key = { env \"SECRET_B\", env \"SECRET_A\" }, tls_name = \"us\" } "
      "}");
  const struct endpoint *e = c->providers->endpoints;
  (void)state;
  assert_int_equal(c->providers->endpoint_count, 2);
  assert_int_equal(e[0].weight, 3);
  assert_int_equal(e[1].weight, 1);
  assert_span(e[0].region, "eu");
  assert_span(e[1].region, "any");
  assert_span(e[0].text, "https://eu.example/v1");
  assert_int_equal(e[0].account_count, 1);
  assert_int_equal(e[1].account_count, 2);
  assert_span(secret_use(e[1].accounts[0].auth_line), "api-key: sk-do-not-show-2\r\n");
  assert_span(e[1].tls_name, "us");
  assert_string_not_equal(e[0].pool_key.p, e[1].pool_key.p);
  conf_drop(c);
  c = rig_good("provider \"vllm\" { endpoint { key = env \"SECRET_A\" }, endpoint { key = env \"SECRET_B\" } }");
  e = c->providers->endpoints;
  assert_span(e[1].text, "http://127.0.0.1:8000/v1");
  assert_span(e[1].pool_key, e[0].pool_key.p);
  assert_span(secret_use(e[1].accounts->key), "sk-do-not-show-2");
  conf_drop(c);
}

static void wrong_providers(void **state) {
  static const struct bad list[] = {
    { "provider \"v1\" {}", "weir.lua:1: provider 'v1': the name is taken by weir's own paths\n" },
    { "provider \"v1beta\" {} provider \"v2\" {} provider \"model\" {}", "weir.lua:1: provider 'v1beta': the name is "
      "taken by weir's own paths\n"
      "weir.lua:1: provider 'v2': the name is taken by weir's own paths\nweir.lua:1: provider 'model': the name is "
        "taken by weir's own paths\n" },
    { "provider \"a/b\" {}", "weir.lua:1: provider 'a/b': a name holds letters, digits, '_', '-' and '.' only, and "
      "starts with none of the last two\n" },
    { "provider \".a\" {}", "weir.lua:1: provider '.a': a name holds letters, digits, '_', '-' and '.' only, and "
      "starts with none of the last two\n" },
    { "provider \"\" {}", "weir.lua:1: provider is empty\n" },
    { "provider \"vllm\" {}\nprovider \"vllm\" {}", "weir.lua:2: provider 'vllm': it stands twice; the first is at "
      "weir.lua:1\n" },
    { "provider \"opnai\" { key = env \"SECRET_A\" }", "weir.lua:1: provider 'opnai': it is not in the catalogue, so "
      "it needs dialect and url; "
      "did you mean 'openai'?\n" },
    { "provider \"lab\" { url = \"http://h/v1\" }", "weir.lua:1: provider 'lab': it is not in the catalogue, so it "
      "needs a dialect: \"chat\", "
      "\"responses\", \"messages\" or \"gemini\"\n" },
    { "provider \"lab\" { dialect = \"chat\" }", "weir.lua:1: provider 'lab': url is missing\n" },
    { "provider \"azure\" { key = env \"SECRET_A\" }", "weir.lua:1: provider 'azure': url is missing; it has none of its own: url = \"https://NAME.openai.azure.com\"\n" },
    { "provider \"vertex\" {}", "weir.lua:1: provider 'vertex': it is not in this version\n" },
    { "provider \"g\" { dialect = \"cohere\", url = \"http://h/\" }", "weir.lua:1: provider 'g': dialect 'cohere' is "
      "not in this version\n" },
    { "provider \"g\" { dialect = \"chatt\", url = \"http://h/\" }", "weir.lua:1: provider 'g': unknown dialect "
      "'chatt'; did you mean 'chat'?\n" },
    { "provider \"g\" { dialect = \"chat\", url = \"htp://h/\" }", "weir.lua:1: provider 'g': url: the scheme is not "
      "http or https\n" },
    { "provider \"g\" { dialect = \"chat\", url = \"http://do-not-show@h/\" }", "weir.lua:1: provider 'g': url: user "
      "info is not allowed\n" },
    { "provider \"g\" {\n dialect = \"chat\",\n url = 7 }", "weir.lua:3: provider 'g': url must be a string, not a "
      "number\n" },
    { "provider \"g\" { dialect = \"chat\", url = env \"SECRET_A\" }", "weir.lua:1: provider 'g': url must be a "
      "string, not a secret\n" },
    { "provider \"llamacpp\" {}", "weir.lua:1: provider 'llamacpp': url: it is weir's own listen address; requests "
      "would go round in circles\n" },
    { "provider \"vllm\" { key = \"do-not-show\" }", "weir.lua:1: provider 'vllm': key must be env \"NAME\", "
      "credential \"NAME\", file \"PATH\" "
      "or command { … }, not a string\n" },
    { "provider \"vllm\" { key = {} }", "weir.lua:1: provider 'vllm': key is an empty list\n" },
    { "provider \"vllm\" {\n  headrs = {},\n}", "weir.lua:2: provider 'vllm': unknown field 'headrs'; did you mean "
      "'headers'?\n" },
    { "provider \"vllm\" {\n  headers = {\n    [\"host\"] = \"h\",\n    [\"x-api-key\"] = \"k\", [\"a b\"] = "
      "\"x\",\n    ok = \"a\\nb\" } }",
      "weir.lua:3: provider 'vllm': header 'host' is written by weir itself\n"
      "weir.lua:4: provider 'vllm': header 'a b' is no name of a header\n"
      "weir.lua:4: provider 'vllm': header 'x-api-key' carries a secret; write key = env \"NAME\" instead\n"
      "weir.lua:5: provider 'vllm': header 'ok' holds a control character, or bytes that are not UTF-8\n" },
    { "provider \"vllm\" { headers = { a = \"1\", A = \"2\", [\"x-weir-tags\"] = \"x\" } }", "weir.lua:1: provider "
      "'vllm': header 'a' stands twice\n"
      "weir.lua:1: provider 'vllm': header 'x-weir-tags' never goes to a provider\n" },
    { "provider \"vllm\" { headers = { a = env \"SECRET_A\" } }", "weir.lua:1: provider 'vllm': header 'a' must be a "
      "string, not a secret\n" },
    { "provider \"vllm\" { price = {} }", "weir.lua:1: provider 'vllm': price: it names no price (a price of nothing is usd(0))\n" },
    { "provider \"vllm\" { models = {\n [\"m\"] = { windw = 1 },\n n = { price = {} },\n o = 7,\n p = { max_output = "
      "0 } } }",
      "weir.lua:2: provider 'vllm': model 'm': unknown field 'windw'; did you mean 'window'?\n"
      "weir.lua:3: provider 'vllm': model 'n': price: it names no price (a price of nothing is usd(0))\n"
      "weir.lua:4: provider 'vllm': model 'o': it must be a table, not a number\n"
      "weir.lua:5: provider 'vllm': model 'p': max_output must be from 1 to 1000000000 tokens, not 0\n" },
    { "provider \"vllm\" { models = { \"m\" } }", "weir.lua:1: provider 'vllm': a value stands here without a name: "
      "write [\"name\"] = …\n" },
    { "provider \"vllm\" { \"http://h\" }", "weir.lua:1: provider 'vllm': a string stands here without the name of "
      "its field; only endpoint { … } may\n" },
    { "provider \"vllm\" { ca = \"none.pem\" }", "weir.lua:1: provider 'vllm': ca 'none.pem': No such file or "
      "directory\n" },
    { "provider \"vllm\" {\n  endpoint { weight = 0 },\n  endpoint { weight = 1.5 },\n  endpoint { wieght = 1 } }",
      "weir.lua:2: endpoint: weight must be from 1 to 1000000, not 0\nweir.lua:3: endpoint: weight must be a whole "
        "number, not 1.5\n"
      "weir.lua:4: endpoint: unknown field 'wieght'; did you mean 'weight'?\n" },
    { "endpoint { url = \"http://h\" }", "weir.lua:1: endpoint stands outside a provider: provider \"azure\" { "
      "endpoint { … } }\n" },
    { "local e = endpoint {}\nprovider \"vllm\" { e, e }", "weir.lua:2: provider 'vllm': the endpoint of line 1 "
      "stands in two places\n" },
  };
  (void)state;
  for (size_t i = 0; i < sizeof list / sizeof *list; i++) rig_bad(list[i].text, list[i].errors);
}

static void warnings(void **state) {
  struct loaded l = rig_load("provider \"lab\" { dialect = \"chat\", url = \"http://lab.internal/v1\", key = env "
    "\"SECRET_A\", tls_name = \"x\" }");
  (void)state;
  assert_string_equal(l.warnings, "weir.lua:1: provider 'lab': ca and tls_name have no use with an http:// url\n"
                                  "weir.lua:1: provider 'lab': its key is sent unencrypted to lab.internal\n");
  conf_drop(l.conf);
  l = rig_load("provider \"vllm\" {} provider \"anthropic\" { key = env \"SECRET_A\" }\n"
               "model \"m\" { \"vllm/a\", \"anthropic/b\", next_on = { \"bad_request\" } }");
  assert_string_equal(l.warnings, "weir.lua:2: model 'm': with bad_request in next_on each target is asked what the "
                                    "first one has refused\n");
  conf_drop(l.conf);
}

static void models(void **state) {
  static const struct bad list[] = {
    { "model \"m\" {}", "weir.lua:2: model 'm': it has no target: model \"smart\" { \"openai/gpt-5\" }\n" },
    { "model \"m\"", "weir.lua:2: model 'm': it has no target: model \"smart\" { \"openai/gpt-5\" }\n" },
    { "model \"m\" { \"vlm/x\" }", "weir.lua:2: model 'm': target 'vlm/x': unknown provider 'vlm'; did you mean "
      "'vllm'?\n" },
    { "model \"m\" { \"vllm/\" }", "weir.lua:2: model 'm': target 'vllm/' names no model: \"vllm/gpt-5\"\n" },
    { "model \"m\" { \"gpt-5\" }", "weir.lua:2: model 'm': target 'gpt-5' names no provider: \"provider/gpt-5\"\n" },
    { "model \"m\" { \"vllm/x\" }\nmodel \"n\" { \"m\" }", "weir.lua:3: model 'n': target 'm' is an alias; name its "
      "targets\n" },
    { "model \"m\" { \"vllm/x\" }\nmodel \"m\" { \"vllm/x\" }", "weir.lua:3: model 'm': it stands twice; the first "
      "is at weir.lua:2\n" },
    { "model \"m\" { 7 }", "weir.lua:2: model 'm': a target must be a string, not a number\n" },
    { "model \"m\" {\n  \"vllm/x\",\n  \"vllm2/x\",\n  next_on = {\n    \"timeout\",\n    \"ratelimited\" } }",
      "weir.lua:4: model 'm': target 'vllm2/x': unknown provider 'vllm2'; did you mean 'vllm'?\n"
      "weir.lua:7: model 'm': unknown fault 'ratelimited'; did you mean 'rate_limited'?\n" },
    { "model \"m\" { \"vllm/x\", next_on = \"timeout\" }", "weir.lua:2: model 'm': next_on must be a list of faults "
      "such as "
      "{ \"rate_limited\", \"overloaded\" }, not a string\n" },
    { "model \"m\" { \"vllm/x\", max_price_factor = 0 }", "weir.lua:2: model 'm': max_price_factor must be from 0.001 to "
      "1000000 times, not 0\n" },
    { "model \"m\" { \"vllm/x\", latency_budget = 0 }", "weir.lua:2: model 'm': latency_budget must be from 0.001 to "
      "31536000 seconds, not 0\n" },
    { "model \"m\" { \"vllm/1\", \"vllm/2\", \"vllm/3\", \"vllm/4\", \"vllm/5\", \"vllm/6\", \"vllm/7\", \"vllm/8\", "
      "\"vllm/9\", \"vllm/10\", \"vllm/11\", "
      "\"vllm/12\", \"vllm/13\", \"vllm/14\", \"vllm/15\", \"vllm/16\", \"vllm/17\" }", "weir.lua:2: model 'm': it "
        "has more than 16 targets\n" },
  };
  char text[1024];
  (void)state;
  for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
    snprintf(text, sizeof text, "provider \"vllm\" {}\n%s", list[i].text);
    rig_bad(text, list[i].errors);
  }
  struct conf *c = rig_good("model \"smart\" { \"vllm/a\", \"vllm/b/c\", next_on = { \"timeout\", \"empty\" }, "
    "latency_budget = 20 }\n"
                            "model \"vllm/x\" { \"vllm/y\", next_on = {} }\nmodel \"plain\" { \"vllm/y\" }\nprovider "
                              "\"vllm\" {}");
  const struct alias *a = conf_alias(c, SPAN("smart"));
  assert_int_equal(a->target_count, 2);
  assert_span(a->targets[1], "vllm/b/c");
  assert_int_equal(a->next_on, 1u << FAULT_NONE | 1u << FAULT_TIMEOUT | 1u << FAULT_EMPTY);
  assert_true(a->latency_budget == 20);
  assert_int_equal(conf_alias(c, SPAN("vllm/x"))->next_on, 1u << FAULT_NONE);
  assert_int_equal(conf_alias(c, SPAN("plain"))->next_on, 0);
  assert_null(conf_alias(c, SPAN("dumb")));
  conf_drop(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(catalogue),
    cmocka_unit_test_setup_teardown(a_name_of_the_catalogue_needs_only_its_key, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(azure, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(what_the_catalogue_knows_can_be_said_otherwise, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(servers_of_ones_own_are_named, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(keys_from_the_usual_variable, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(a_provider_of_ones_own, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(endpoints, rig_begin, rig_end), cmocka_unit_test_setup_teardown(signing, rig_begin, rig_end), cmocka_unit_test_setup_teardown(signing_from_the_environment, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(wrong_providers, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(warnings, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(models, rig_begin, rig_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
