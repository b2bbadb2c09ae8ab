/* Signature Version 4: AWS's published vectors (the "aws-sig-v4-test-suite" requests of 2015-08-30), and requests to Bedrock whose
   signatures were computed with another implementation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "weir/secret.h"
#include "weir/sigv4.h"

static const char nothing[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

struct vector {
  const char *what, *method, *path, *query;
  const char *headers[4][2];          /* beside host and x-amz-date, in the order they are sent */
  const char *names, *signature;
};
static const struct vector vectors[] = {
  { "get-vanilla", "GET", "/", "", { { 0 } }, "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
  { "post-vanilla", "POST", "/", "", { { 0 } }, "host;x-amz-date", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b" },
  { "get-vanilla-query-order-key-case", "GET", "/", "Param2=value2&Param1=value1", { { 0 } }, "host;x-amz-date",
    "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500" },
  { "get-header-value-trim", "GET", "/", "", { { "My-Header1", " value1" }, { "My-Header2", " \"a   b   c\"" } },
    "host;my-header1;my-header2;x-amz-date", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736" },
  { "get-header-key-duplicate", "GET", "/", "", { { "My-Header1", "value2" }, { "My-Header1", "value2" }, { "My-Header1", "value1" } },
    "host;my-header1;x-amz-date", "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea" },
};

static void published(void **state) {
  (void)state;
  struct secret *key = secret_new(SPAN("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"));
  const struct sigv4_key k = { SPAN("AKIDEXAMPLE"), secret_use(key), SPAN("us-east-1"), SPAN("service") };
  for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
    const struct vector *v = &vectors[i];
    struct http_header headers[6] = { { SPAN("X-Amz-Date"), SPAN("20150830T123600Z") } };
    size_t n = 1;
    struct buf out = { 0 }, want = { 0 };
    for (int h = 0; h < 4 && v->headers[h][0]; h++) headers[n++] = (struct http_header){ span_cstr(v->headers[h][0]), span_cstr(v->headers[h][1]) };
    headers[n++] = (struct http_header){ SPAN("Host"), SPAN("example.amazonaws.com") };
    struct sigv4_request r = { span_cstr(v->method), span_cstr(v->path), span_cstr(v->query), headers, n, nothing };
    sigv4_write(&r, &k, "20150830T123600Z", &out);
    buf_printf(&want, "authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=%s, Signature=%s\r\n", v->names, v->signature);
    if (!span_eq(buf_span(&out), buf_span(&want))) fail_msg("%s: %.*s", v->what, SPAN_FMT(buf_span(&out)));
    buf_free(&out);
    buf_free(&want);
  }
  secret_drop(key);
}

static const struct http_header bedrock[] = {
  { SPAN("host"), SPAN("bedrock-runtime.us-east-1.amazonaws.com") }, { SPAN("content-type"), SPAN("application/json") },
  { SPAN("x-amz-date"), SPAN("20260102T030405Z") }, { SPAN("x-amz-security-token"), SPAN("EXAMPLETOKEN") },
};

/* A path that is encoded already is encoded again: the model's ':' is %3A in it. */
static void bedrock_requests(void **state) {
  (void)state;
  struct secret *key = secret_new(SPAN("wEiRsEcReTkEyExAmPlE/0000000000000000000"));
  const struct sigv4_key k = { SPAN("AKIDEXAMPLE0000WEIR"), secret_use(key), SPAN("us-east-1"), SPAN("bedrock") };
  struct sigv4_request r = { SPAN("POST"), SPAN("/model/acme.demo-v1%3A0/converse-stream"), SPAN(""), bedrock, 3,
                             "c3335e07d6e89650bf94cb98664be69f8774dbc3198df221f113db0a59ea14f0" };
  struct buf out = { 0 }, names = { 0 };
  sigv4_canonical(&r, &out, &names);
  assert_true(span_eq(buf_span(&out), SPAN("POST\n/model/acme.demo-v1%253A0/converse-stream\n\ncontent-type:application/json\n"
    "host:bedrock-runtime.us-east-1.amazonaws.com\nx-amz-date:20260102T030405Z\n\ncontent-type;host;x-amz-date\n"
    "c3335e07d6e89650bf94cb98664be69f8774dbc3198df221f113db0a59ea14f0")));
  buf_clear(&out);
  sigv4_write(&r, &k, "20260102T030405Z", &out);
  assert_true(span_ends(buf_span(&out), SPAN("Signature=59bbc0d68a517a8b9bd12651565ddfa2fb9f8350839f0c91c97cc34420a875b6\r\n")));
  r.count = 4;
  buf_clear(&out);
  sigv4_write(&r, &k, "20260102T030405Z", &out);
  assert_true(span_ends(buf_span(&out), SPAN("Signature=bc78e1fedeb98c34e556228becbc1dff7e21253ac1c3182330116bf7d24f1080\r\n")));
  buf_free(&out);
  buf_free(&names);
  secret_drop(key);
}

/* As botocore signs for an endpoint below a folder, with an ARN in the path. */
static void an_arn(void **state) {
  (void)state;
  static const struct http_header headers[] = {
    { SPAN("host"), SPAN("127.0.0.1:33249") }, { SPAN("x-amz-date"), SPAN("20261121T022815Z") }, { SPAN("content-type"), SPAN("application/json") },
  };
  struct secret *key = secret_new(SPAN("sec"));
  const struct sigv4_key k = { SPAN("AKIDX"), secret_use(key), SPAN("us-east-1"), SPAN("bedrock") };
  struct sha256 h;
  unsigned char digest[SHA256_SIZE];
  char hex[SHA256_HEX];
  sha256_init(&h);
  sha256_feed(&h, SPAN("{\"messages\": [{\"role\": \"user\", \"content\": [{\"text\": \"hi\"}]}]}"));
  sha256_end(&h, digest);
  sha256_hex(digest, hex);
  struct sigv4_request r = { SPAN("POST"), SPAN("/bedrock/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.acme.demo-v1%3A0/converse"),
                             SPAN(""), headers, 3, hex };
  struct buf out = { 0 };
  sigv4_write(&r, &k, "20261121T022815Z", &out);
  assert_true(span_ends(buf_span(&out), SPAN("Signature=26b606c7d5d28e896d63c40ec4bc02573f46ff9be76621eb2fc2e5fa86ecdc6d\r\n")));
  buf_free(&out);
  secret_drop(key);
}

static void odd_queries_and_dates(void **state) {
  (void)state;
  struct sigv4_request r = { SPAN("GET"), SPAN("/a b/~"), SPAN("b&a=2&&a-b=1&a=1"), bedrock, 1, nothing };
  struct buf out = { 0 }, names = { 0 };
  sigv4_canonical(&r, &out, &names);
  assert_true(span_starts(buf_span(&out), SPAN("GET\n/a%20b/~\na=1&a=2&a-b=1&b=\nhost:")));
  buf_free(&out);
  buf_free(&names);
  char date[SIGV4_DATE];
  sigv4_date(1440938160, date);
  assert_string_equal(date, "20150830T123600Z");
  sigv4_date(0, date);
  assert_string_equal(date, "19700101T000000Z");
  sigv4_date(INT64_MAX, date);                           /* a clock that is none ends in a signature that is none */
  assert_string_equal(date, "19700101T000000Z");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(published), cmocka_unit_test(bedrock_requests), cmocka_unit_test(an_arn), cmocka_unit_test(odd_queries_and_dates),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
