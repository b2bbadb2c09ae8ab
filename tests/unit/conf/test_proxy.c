/* Proxies on the way to providers: what is written, what the environment says, who is left out. */
#include "rig.h"

static const struct proxy *way_to(const struct conf *c, const char *url) {
  struct url u;
  const char *why;
  assert_true(url_split(span_cstr(url), &u, &why));
  return conf_proxy(c, &u);
}

static struct conf *loaded(const char *text) {
  struct buf errors = { 0 }, warnings = { 0 };
  rig_write("weir.lua", text);
  struct conf *c = conf_load("weir.lua", &errors, &warnings);
  if (!c) fail_msg("%.*s", SPAN_FMT(buf_span(&errors)));
  assert_null(strstr(buf_size(&warnings) ? buf_span(&warnings).p : "", "swordfish"));
  buf_free(&errors);
  buf_free(&warnings);
  return c;
}

static void environment(const char *http, const char *https, const char *all, const char *none) {
  const char *const pairs[][2] = { { "HTTP_PROXY", http }, { "HTTPS_PROXY", https }, { "ALL_PROXY", all }, { "NO_PROXY", none } };
  for (size_t i = 0; i < 4; i++) {
    if (pairs[i][1]) setenv(pairs[i][0], pairs[i][1], 1);
    else unsetenv(pairs[i][0]);
  }
}

static void test_environment(void **state) {
  (void)state;
  environment("http://plain:3128", "tls.example:3129/", NULL, NULL);
  struct conf *c = loaded("");
  assert_string_equal(way_to(c, "http://a.example/")->host, "plain");
  assert_string_equal(way_to(c, "https://a.example/")->host, "tls.example");
  assert_int_equal(way_to(c, "https://a.example/")->port, 3129);
  conf_drop(c);
  environment(NULL, "", "HTTP://[2001:db8::1]", NULL);
  setenv("http_proxy", "lower:1", 1);
  c = loaded("");
  assert_string_equal(way_to(c, "http://a.example/")->host, "lower");
  assert_true(span_eq(way_to(c, "https://a.example/")->name, SPAN("[2001:db8::1]:80")));
  unsetenv("http_proxy");
  conf_drop(c);
  environment(NULL, NULL, NULL, NULL);
  c = loaded("");
  assert_null(way_to(c, "https://a.example/"));
  conf_drop(c);
}

static void test_left_out(void **state) {
  static const struct { const char *none, *url; bool direct; } cases[] = {
    { "", "http://a.example", false },
    { "", "http://localhost:1", true },
    { "", "http://x.LocalHost", true },
    { "", "http://127.9.9.9", true },
    { "", "http://[::1]:80", true },
    { "", "http://[::ffff:127.0.0.1]", true },
    { "", "http://127.example", false },
    { "*", "http://a.example", true },
    { "a.example", "http://a.example", true },
    { "a.example", "http://A.EXAMPLE.", true },
    { "a.example.", "http://b.a.example", true },
    { ".a.example", "http://a.example", true },
    { "*.a.example", "http://b.a.example", true },
    { "a.example", "http://ba.example", false },
    { "a.example", "http://a.example.com", false },
    { "b, a.example ,,c", "http://a.example", true },
    { "b a.example\tc", "http://a.example", true },
    { "a.example:80", "http://a.example", true },
    { "a.example:80", "http://a.example:81", false },
    { "a.example:", "http://a.example:81", false },
    { ",", "http://a.example", false },
    { ".", "http://a.example", false },
    { "10.0.0.0/8", "http://10.1.2.3", true },
    { "10.0.0.0/8", "http://11.1.2.3", false },
    { "10.1.2.3", "http://10.1.2.3", true },
    { "10.1.2.3:8000", "http://10.1.2.3:8000", true },
    { "10.1.2.3:8000", "http://10.1.2.3:8001", false },
    { "2.3", "http://10.1.2.3", false },
    { "2001:db8::/32", "http://[2001:db8:1::1]", true },
    { "2001:db8::1", "http://[2001:DB8:0::1]", true },
    { "[2001:db8::1]:80", "http://[2001:db8::1]", true },
    { "[2001:db8::1]:81", "http://[2001:db8::1]", false },
    { "[2001:db8::1]", "http://[2001:db8::1]", true },
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    environment("http://p:1", NULL, NULL, cases[i].none);
    struct conf *c = loaded("");
    if (!way_to(c, cases[i].url) != cases[i].direct) fail_msg("NO_PROXY=%s %s", cases[i].none, cases[i].url);
    conf_drop(c);
  }
  environment(NULL, NULL, NULL, NULL);
}

static void test_credentials(void **state) {
  static const struct { const char *text, *line; } cases[] = {
    { "http://user:swordfish@p:1", "proxy-authorization: Basic dXNlcjpzd29yZGZpc2g=\r\n" },
    { "user:sword%40fis%3ah@p:1", "proxy-authorization: Basic dXNlcjpzd29yZEBmaXM6aA==\r\n" },
    { "http://user@p", "proxy-authorization: Basic dXNlcjo=\r\n" },
    { "http://u:a@b@p", "proxy-authorization: Basic dTphQGI=\r\n" },
  };
  (void)state;
  struct span keys[4];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    setenv("PROXY", cases[i].text, 1);
    struct conf *c = loaded("provider \"vllm\" { proxy = env \"PROXY\" }");
    const struct endpoint *e = &c->providers[0].endpoints[0];
    assert_non_null(e->proxy);
    assert_string_equal(e->proxy->host, "p");
    assert_true(span_eq(secret_use(e->proxy->auth_line), span_cstr(cases[i].line)));
    assert_int_equal(span_search(e->pool_key, SPAN("swordfish")), e->pool_key.n);
    assert_true(span_search(e->pool_key, SPAN("p:")) < e->pool_key.n);
    keys[i] = span_of(mem_cstr(e->pool_key), e->pool_key.n);
    for (size_t k = 0; k < i; k++) assert_false(span_eq(keys[k], keys[i]));
    conf_drop(c);
  }
  for (size_t i = 0; i < 4; i++) mem_free((char *)keys[i].p);
}

static void test_refused(void **state) {
  static const struct { const char *field, *message; } cases[] = {
    { "proxy = \"socks5://user:swordfish@p\"", "proxy: only http:// proxies can be used" },
    { "proxy = \"https://user:swordfish@p\"", "proxy: weir speaks no TLS to a proxy: only http:// proxies can be used" },
    { "proxy = \"http://user:swordfish@p/x\"", "proxy: a proxy has no path" },
    { "proxy = \"http://user:swordfish%4@p\"", "proxy: in its user or password a percent sign is not followed by two hex digits" },
    { "proxy = \"http://user:swordfish@p:0\"", "proxy: the port is not a number from 1 to 65535" },
    { "proxy = \"http://user:swordfish@\"", "proxy: the host is empty" },
    { "proxy = true", "proxy must be \"http://host:port\", a secret that holds that, or false, not true" },
    { "proxy = {}", "proxy must be \"http://host:port\", a secret that holds that, or false, not a table" },
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[256], wanted[256];
    struct buf errors = { 0 }, warnings = { 0 };
    snprintf(text, sizeof text, "provider \"vllm\" { %s }", cases[i].field);
    snprintf(wanted, sizeof wanted, "weir.lua:1: provider 'vllm': %s\n", cases[i].message);
    rig_write("weir.lua", text);
    assert_null(conf_load("weir.lua", &errors, &warnings));
    buf_byte(&errors, 0);
    assert_string_equal(buf_span(&errors).p, wanted);
    buf_free(&errors);
    buf_free(&warnings);
  }
}

/* One that cannot be used stands in the way of those alone that would go through it. */
static void test_unusable_environment(void **state) {
  struct buf errors = { 0 }, warnings = { 0 };
  (void)state;
  environment(NULL, NULL, "socks5h://user:swordfish@p:1", NULL);
  conf_drop(loaded("provider \"vllm\" {}\nprovider \"openai\" { key = env \"SECRET_A\", proxy = false }"));
  rig_write("weir.lua", "provider \"openai\" { key = env \"SECRET_A\" }");
  assert_null(conf_load("weir.lua", &errors, &warnings));
  buf_byte(&errors, 0);
  assert_string_equal(buf_span(&errors).p,
                      "weir.lua:1: provider 'openai': ALL_PROXY: only http:// proxies can be used; proxy = false goes without it\n");
  buf_free(&errors);
  buf_free(&warnings);
  environment(NULL, NULL, NULL, NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_environment, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(test_left_out, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(test_credentials, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(test_refused, rig_begin, rig_end),
    cmocka_unit_test_setup_teardown(test_unusable_environment, rig_begin, rig_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
