/* The whole request path on the simulated loop, policies on. The input is the client's bytes, a line "=====", and what
   the provider sends, one connection's bytes after the other between further such lines. Whatever comes, the client gets well-formed
   HTTP or a closed connection, and nothing is left in flight. */
#include <stdlib.h>
#include "../src/cmd/scene.h"
#include "../src/gateway/worker.h"
#include "weir/vm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct scene *scene;
static struct span answers;

static const char config[] =
    "listen \"127.0.0.1:1\"\nadmin \"127.0.0.1:2\"\nlog { access = \"off\", level = \"error\" }\n"
    "provider \"a\" { dialect = \"chat\", url = \"http://127.0.0.1:20000/v1\" }\n"
    "provider \"b\" { dialect = \"chat\", url = \"http://127.0.0.1:20001/v1\" }\n"
    "provider \"m\" { dialect = \"messages\", url = \"http://127.0.0.1:20002\" }\n"
    "model \"chain\" { \"a/x\", \"b/y\" }\n"
    "defaults { total = 60, between_events = 5, first_event = 9, head = 9, hold_head = 3 }\n"
    "use \"everything\"\n";

static struct span next_part(struct span *left) {
  struct span whole = *left;
  size_t at = span_search(whole, SPAN("\n=====\n"));
  *left = at < whole.n ? span_from(whole, at + 7) : (struct span){ NULL, 0 };
  return span_of(whole.p, at);
}

static void answer(void *arg, const struct http_head *head, struct span body, struct scene_reply *out) {
  (void)arg;
  (void)head;
  (void)body;
  struct span part = next_part(&answers);
  if (span_eq(part, SPAN("silence"))) out->kind = REPLY_SILENCE;
  else if (span_eq(part, SPAN("reset"))) out->kind = REPLY_RESET;
  else buf_add(&out->bytes, part);
  out->close = !span_ends(part, SPAN("\r\n\r\n"));
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  struct buf errors = { 0 };
  (void)argc;
  (void)argv;
  vm_thread_enter();
  log_set_level(LOG_OFF);
  scene = scene_new(span_of(config, sizeof config - 1), "fuzz/policies", 1, &errors);
  if (!scene) {
    fprintf(stderr, "%.*s", SPAN_FMT(buf_span(&errors)));
    exit(2);
  }
  for (uint16_t port = 20000; port < 20003; port++) scene_serve(scene, port, answer, NULL);
  scene_serve(scene, 80, answer, NULL);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena a = { 0 };
  struct scene_answer got;
  answers = span_of((const char *)data, size);
  struct span request = next_part(&answers);
  scene_ask(scene, request, &a, &got);
  if (got.head && !got.complete && !got.closed) abort();   /* an answer that neither ends nor breaks off */
  if (got.broken) abort();                               /* bytes that are no HTTP response */
  if (scene_worker(scene)->open_exchanges) abort();      /* something is left behind */
  arena_end(&a);
  return 0;
}
