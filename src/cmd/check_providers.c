/* check_providers.c: weir check --providers: each endpoint is connected to as weir would: name, TCP, TLS. No request is sent, so no key is. */
#include <stdio.h>
#include "cmd.h"
#include "link.h"
#include "weir/conf.h"
#include "weir/vm.h"

static void print_account(const struct endpoint *e) {
  size_t keys = 0;
  for (size_t i = 0; i < e->account_count; i++) keys += e->accounts[i].key != NULL;
  if (!keys) printf("    key: none\n");
  else printf("    key: %zu account%s\n", keys, keys == 1 ? "" : "s");
}

static bool check_endpoint(const struct conf *c, const struct provider *p, const struct endpoint *e, struct names *names) {
  char why[256] = "";
  struct link_to to = { .tls_name = e->tls_name };
  struct link k = { .fd = -1 };
  uint64_t begun = link_now_ns();
  bool good = names_find_endpoint(names, e, &to, why, sizeof why);
  double name_ms = (double)(link_now_ns() - begun) / 1e6;
  printf("  %.*s%s%.*s\n", SPAN_FMT(e->text), e->region.n ? "  region " : "", SPAN_FMT(e->region));
  print_account(e);
  if (good && e->url.tls) {
    char *ca = e->ca.n ? mem_cstr(e->ca) : NULL;
    to.trust = tls_trust_load(ca, why, sizeof why);
    good = to.trust != NULL;
    mem_free(ca);
  }
  if (good && !link_open(&k, &to, conf_setting(c, NULL, p, SET_CONNECT), conf_setting(c, NULL, p, SET_TLS))) {
    snprintf(why, sizeof why, "%s", k.why);
    good = false;
  }
  if (e->proxy) printf("    through the proxy %.*s\n", SPAN_FMT(e->proxy->name));
  if (!good) printf("    FAILED: %s\n", why);
  else printf("    connected%s: %.1f ms for the name (%d address%s), %.1f ms for TCP\n", e->proxy ? " to the proxy" : "", name_ms, to.count, to.count == 1 ? "" : "es", k.connect_ms);
  if (good && k.tls) {
    struct buf bye = { 0 };
    printf("    TLS 1.2, %s, chain good for %.*s, %.1f ms\n", tls_suite(k.tls), SPAN_FMT(e->tls_name), k.tls_ms);
    tls_close_notify(k.tls, &bye);
    buf_free(&bye);
  } else if (good) {
    printf("    no TLS: keys and texts travel as they are\n");
  }
  if (good) link_close(&k);
  if (to.trust) tls_trust_drop(to.trust);
  return good;
}

int check_providers(const char *file) {
  struct buf errors = { 0 }, warnings = { 0 };
  const char *why = "";
  unsigned failed = 0, count = 0;
  vm_thread_enter();
  struct conf *c = conf_load(file, &errors, &warnings);
  fprintf(stderr, "%.*s%.*s", SPAN_FMT(buf_span(&warnings)), SPAN_FMT(buf_span(&errors)));
  buf_free(&errors);
  buf_free(&warnings);
  if (!c) return 1;
  struct names *names = names_open(&why);
  if (!names) fprintf(stderr, "names cannot be asked for: %s\n", why);
  for (size_t i = 0; i < c->provider_count; i++) {
    const struct provider *p = &c->providers[i];
    printf("%.*s speaks %s\n", SPAN_FMT(p->name), dialect_word(p->dialect));
    for (size_t k = 0; k < p->endpoint_count; k++, count++) failed += !check_endpoint(c, p, &p->endpoints[k], names);
  }
  if (!c->provider_count) printf("no providers\n");
  printf("%u of %u endpoints can be reached. No request was sent. weir speaks TLS 1.2 to providers, no TLS 1.3\n", count - failed, count);
  names_close(names);
  conf_drop(c);
  return failed ? 1 : 0;
}
